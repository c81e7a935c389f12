//! The thread behind a [`Peer`](super::Peer): it drives the endpoint, and sees to what its swarms need.

use std::{
    collections::HashMap,
    future::poll_fn,
    net::{SocketAddr, UdpSocket},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Poll,
    time::{Duration, Instant},
};

use bytes::Bytes;
use ppsp_core::{ChunkId, ChunkRange, Claim};
use ppsp_peer_proto::{ConnectError, Endpoint, EndpointConfig, Event, Stats, SupplyError, SwarmConfig, SwarmKey};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{Above, Shared, Sources, State, Status, Swarm, book::PeerBook, layers::Allowed, lock, readers::Readers};
use crate::{
    cli::exit::Failure,
    net::{Clock, Driver, Socket},
    store::{FileError, FileStore},
    trackers::{self, Counters, Trackers},
};

/// Between two looks at peers and the clock.
const TICK: Duration = Duration::from_millis(200);
/// Between two checkpoints of a store.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(1500);
/// With fewer peers than that, trackers are asked for more.
const FEW_PEERS: usize = 4;
/// For the last datagrams, and for trackers to hear that we go.
const CLOSE_SEND: Duration = Duration::from_millis(300);
const CLOSE_LEAVE: Duration = Duration::from_millis(1500);

pub(super) enum Command {
    Join(FileStore, Box<Sources>, oneshot::Sender<Result<Swarm, Failure>>),
    /// Done once what is held is durable.
    Leave(SwarmKey, oneshot::Sender<()>),
    /// Content from elsewhere.
    Supply {
        swarm: SwarmKey,
        first: ChunkId,
        data: Bytes,
        hashes: Vec<Claim>,
        answer: oneshot::Sender<Result<u64, SupplyError>>,
    },
    Close(oneshot::Sender<()>),
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Join(..) => "Join",
            Self::Leave(..) => "Leave",
            Self::Supply { .. } => "Supply",
            Self::Close(_) => "Close",
        })
    }
}

pub(super) struct Task<'a> {
    driver: Driver,
    addr: SocketAddr,
    joined: HashMap<SwarmKey, Joined>,
    to_do: mpsc::UnboundedReceiver<Command>,
    wake: Arc<Notify>,
    /// How many readers all swarms have.
    reading: Arc<AtomicUsize>,
    stats: &'a watch::Sender<Stats>,
}

/// A swarm taken part in.
struct Joined {
    shared: Arc<Shared>,
    book: PeerBook,
    trackers: Option<Trackers>,
    wants: Wants,
    /// What it stands on, if it is a layer.
    above: Option<Above>,
    complete: bool,
    last_checkpoint: Instant,
    checkpoint: Option<JoinHandle<Result<bool, FileError>>>,
}

/// What is fetched of a swarm.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wants {
    Nothing,
    /// What readers wait for.
    Windows,
    /// All: others are to be had from us, too.
    All,
}

impl Task<'_> {
    /// Drives until it is told to close, or the socket fails.
    pub(super) fn run(
        socket: UdpSocket,
        config: EndpointConfig,
        seed: [u8; 32],
        clock: Clock,
        to_do: mpsc::UnboundedReceiver<Command>,
        stats: &watch::Sender<Stats>,
    ) {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return tracing::error!("the peer cannot start: {error}"),
        };
        let done = runtime.block_on(async {
            let addr = socket.local_addr()?;
            let endpoint = Endpoint::new(config, seed, clock.now());
            let driver = Driver::new(endpoint, Socket::new(socket)?, clock);
            let task = Task {
                driver,
                addr,
                joined: HashMap::new(),
                to_do,
                wake: Arc::default(),
                reading: Arc::default(),
                stats,
            };
            task.drive().await
        });
        if let Err(error) = done {
            tracing::error!("the peer's socket failed: {error}");
        }
        runtime.shutdown_background();
    }

    async fn drive(mut self) -> std::io::Result<()> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let wake = Arc::clone(&self.wake);
        loop {
            tokio::select! {
                biased;
                command = self.to_do.recv() => match command {
                    Some(Command::Join(store, sources, answer)) => _ = answer.send(self.join(store, *sources)),
                    Some(Command::Leave(swarm, answer)) => self.leave(swarm, answer),
                    Some(Command::Supply { swarm, first, data, hashes, answer }) => {
                        let now = self.driver.now();
                        _ = answer.send(self.driver.endpoint.supply(now, swarm, first, &data, &hashes));
                    }
                    Some(Command::Close(answer)) => {
                        self.close().await;
                        _ = answer.send(());
                        return Ok(());
                    }
                    // Nobody is left who could want anything.
                    None => {
                        self.close().await;
                        return Ok(());
                    }
                },
                _ = tick.tick() => self.tick(),
                () = wake.notified() => self.follow_readers(),
                (swarm, told) = heard(&mut self.joined) => self.hear(swarm, told),
                turned = self.driver.turn() => turned?,
            }
            while let Some(event) = self.driver.endpoint.poll_event() {
                self.handle(event);
            }
        }
    }

    fn join(&mut self, store: FileStore, sources: Sources) -> Result<Swarm, Failure> {
        let now = self.driver.now();
        let metadata = store.metadata();
        let mut config = SwarmConfig::new(metadata.clone());
        config.congestion = ppsp_peer_proto::Congestion::Automatic;
        let key = self.driver.endpoint.open(now, config, Box::new(store.clone())).map_err(Failure::other)?;
        let finished = store.is_finished();
        let mut book = PeerBook::default();
        let peers = sources.peers.into_iter().filter(|&addr| addr != self.addr);
        peers.for_each(|addr| book.give(addr, Instant::now()));
        let trackers = sources.trackers.map(|start| start(self.addr, finished));
        let shared = Arc::new(Shared {
            key,
            metadata,
            store,
            readers: Mutex::new(Readers::default()),
            reading: Arc::clone(&self.reading),
            moved: AtomicBool::new(false),
            wake: Arc::clone(&self.wake),
            state: watch::Sender::new(State::default()),
            status: Mutex::new(Status::default()),
            standing_by: Mutex::default(),
        });
        let joined = Joined {
            shared: Arc::clone(&shared),
            book,
            trackers,
            wants: Wants::All,
            above: sources.above,
            complete: finished,
            last_checkpoint: Instant::now(),
            checkpoint: None,
        };
        self.joined.insert(key, joined);
        self.came(key);
        self.follow(key);
        Ok(Swarm(shared))
    }

    fn leave(&mut self, key: SwarmKey, answer: oneshot::Sender<()>) {
        let Some(Joined { shared, trackers, checkpoint, .. }) = self.joined.remove(&key) else { return };
        let now = self.driver.now();
        _ = self.driver.endpoint.close(now, key);
        shared.state.send_modify(|state| state.failed = Some("the swarm was left".to_owned()));
        if let Some(mut trackers) = trackers {
            tokio::spawn(async move { trackers.leave(CLOSE_LEAVE).await });
        }
        tokio::spawn(async move {
            if let Some(running) = checkpoint {
                _ = running.await;
            }
            let saving = tokio::task::spawn_blocking(move || {
                if let Err(error) = shared.store.checkpoint() {
                    tracing::error!("{error}");
                }
            });
            _ = saving.await;
            _ = answer.send(());
        });
    }

    fn handle(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::PeerUp { swarm, remote, .. } => {
                if let Some(joined) = self.joined.get_mut(&swarm) {
                    joined.book.up(remote);
                }
            }
            Event::PeerDown { swarm, remote, reason, .. } => {
                if let Some(joined) = self.joined.get_mut(&swarm) {
                    joined.book.down(remote, reason, now);
                }
            }
            Event::PeersLearned { swarm } => {
                if let Some(joined) = self.joined.get_mut(&swarm) {
                    joined.book.learn_from(&mut self.driver.endpoint, swarm, now);
                }
            }
            Event::SizeKnown { swarm, .. } => {
                self.came(swarm);
                self.follow(swarm);
            }
            Event::Progress { swarm } => self.came(swarm),
            Event::Complete { swarm } => {
                self.came(swarm);
                self.save(swarm, true);
            }
            Event::SwarmFailed { swarm } => {
                let why = self.driver.endpoint.swarm_mut(swarm).and_then(|mut swarm| swarm.take_error());
                let why = why.map_or_else(|| "the swarm failed".to_owned(), |error| error.0.to_string());
                if let Some(joined) = self.joined.get_mut(&swarm) {
                    joined.trackers = None;
                    joined.shared.state.send_modify(|state| state.failed = Some(why));
                }
            }
            _ => {}
        }
    }

    /// Something came: readers look again.
    fn came(&self, key: SwarmKey) {
        let (Some(joined), Some(swarm)) = (self.joined.get(&key), self.driver.endpoint.swarm(key)) else { return };
        // What is proven goes before what a link says.
        let length = swarm.content_length().or(joined.shared.metadata.content_length);
        joined.shared.state.send_modify(|state| (state.step, state.length) = (state.step.wrapping_add(1), length));
    }

    fn hear(&mut self, key: SwarmKey, told: trackers::Told) {
        let Some(joined) = self.joined.get_mut(&key) else { return };
        match told {
            trackers::Told::Peers(peers) => {
                let strangers = peers.iter().filter(|addrs| !addrs.contains(&self.addr));
                strangers.for_each(|addrs| joined.book.learn_one_of(addrs, Instant::now()));
                self.connect(key, Instant::now());
            }
            trackers::Told::Failed { why, .. } => tracing::debug!("a tracker does not help: {why}"),
            trackers::Told::Refused(why) => {
                tracing::warn!("no tracker is asked any more: {why}");
                joined.trackers = None;
            }
            trackers::Told::Registered { .. } => {}
        }
    }

    /// The endpoint learns where the readers are that moved.
    fn follow_readers(&mut self) {
        let moved = |joined: &Joined| joined.shared.moved.swap(false, Ordering::Acquire);
        let keys: Vec<SwarmKey> = self.joined.iter().filter(|(_, joined)| moved(joined)).map(|(&key, _)| key).collect();
        keys.into_iter().for_each(|key| self.follow(key));
    }

    fn follow(&mut self, key: SwarmKey) {
        let Some(joined) = self.joined.get(&key) else { return };
        let Some(swarm) = self.driver.endpoint.swarm(key) else { return };
        let chunk_size = u64::from(joined.shared.metadata.chunk_size).max(1);
        let length = swarm.content_length().or(joined.shared.metadata.content_length);
        let last = swarm.chunks().filter(|_| length.is_none()).and_then(|chunks| chunks.checked_sub(1));
        let mut readers = joined.shared.readers();
        let places = readers.windows(chunk_size, length);
        let mut wants = if readers.is_any() { Wants::All } else { Wants::Nothing };
        drop(readers);
        let mut windows = Vec::new();
        if let Some(above) = joined.above.as_ref().filter(|_| wants == Wants::All)
            && let Some(base) = self.joined.values().find(|one| one.shared.metadata.id == above.base)
        {
            let is_read = base.shared.readers().is_any();
            // Who has read a segment to its end reads nothing for a moment.
            let mut is_far = !places.is_empty() || base.shared.store.is_finished();
            for (from, window) in places {
                let held = |from| base.shared.store.held_from(from);
                let allowed = above.allow(from, window, chunk_size, held, is_read);
                is_far &= allowed == Allowed::All;
                match allowed {
                    Allowed::All => windows.push(window),
                    Allowed::Only(window) => windows.push(window),
                    Allowed::Nothing => {}
                }
            }
            if !is_far {
                wants = Wants::Windows;
            }
        } else {
            windows.extend(places.into_iter().map(|(_, window)| window));
        }
        if let Some(last) = last.filter(|_| wants != Wants::Nothing) {
            // It alone tells how long the content is.
            windows.insert(0, ChunkRange::single(last));
        }
        let Some(mut swarm) = self.driver.endpoint.swarm_mut(key) else { return };
        let Some(joined) = self.joined.get_mut(&key) else { return };
        if joined.wants != wants {
            // Where nobody plays only what is held is shared.
            joined.wants = wants;
            swarm.want(if wants == Wants::All { None } else { Some(&[]) });
        }
        swarm.set_windows(&windows);
        self.connect(key, Instant::now());
    }

    fn tick(&mut self) {
        let now = Instant::now();
        self.stats.send_replace(*self.driver.endpoint.stats());
        let keys: Vec<SwarmKey> = self.joined.keys().copied().collect();
        for key in keys {
            let Some(joined) = self.joined.get_mut(&key) else { continue };
            let mut status = lock(&joined.shared.status);
            status.update(&self.driver.endpoint, key);
            let links = status.peers.values().filter(|moved| moved.up).count();
            let (uploaded, downloaded) = (status.uploaded, status.downloaded);
            drop(status);
            if let Some(trackers) = &joined.trackers {
                trackers.count(Counters { uploaded, downloaded, bandwidth: 0, links: links as u64 });
                if joined.wants != Wants::Nothing && !joined.complete && links < FEW_PEERS {
                    trackers.find();
                }
            }
            // The base of a layer may be further now.
            let wanted = joined.wants != Wants::Nothing;
            if joined.shared.readers().is_any() != wanted || joined.above.is_some() && wanted {
                self.follow(key);
            }
            self.connect(key, now);
            self.save(key, false);
        }
    }

    /// Calls peers whose turn it is, while something is to be had from them.
    fn connect(&mut self, key: SwarmKey, now: Instant) {
        let Some(joined) =
            self.joined.get_mut(&key).filter(|joined| joined.wants != Wants::Nothing && !joined.complete)
        else {
            return;
        };
        for addr in joined.book.due(now) {
            let began = match self.driver.endpoint.connect(self.driver.now(), key, addr) {
                // Then it found us, or its answer is still to come.
                Ok(_) | Err(ConnectError::AlreadyConnected) => true,
                Err(_) => false,
            };
            joined.book.tried(addr, began, now);
        }
    }

    /// Keeps checkpoints going, one at a time, in a thread that may wait for the disk.
    fn save(&mut self, key: SwarmKey, at_once: bool) {
        let Some(joined) = self.joined.get_mut(&key) else { return };
        if joined.checkpoint.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        if joined.checkpoint.take().is_some() && joined.shared.store.is_finished() && !joined.complete {
            joined.complete = true;
            if let Some(trackers) = &joined.trackers {
                trackers.seed();
            }
        }
        if at_once || joined.last_checkpoint.elapsed() >= CHECKPOINT_EVERY {
            joined.last_checkpoint = Instant::now();
            let store = joined.shared.store.clone();
            joined.checkpoint = Some(tokio::task::spawn_blocking(move || {
                let saved = store.checkpoint();
                if let Err(error) = &saved {
                    tracing::error!("{error}");
                }
                saved
            }));
        }
    }

    async fn close(&mut self) {
        let now = self.driver.now();
        let mut saving = Vec::new();
        for (&key, joined) in &self.joined {
            let store = joined.shared.store.clone();
            saving.push(tokio::task::spawn_blocking(move || store.checkpoint()));
            joined.shared.state.send_modify(|state| state.failed = Some("the peer is closing".to_owned()));
            _ = self.driver.endpoint.close(now, key);
        }
        let leaving: Vec<_> = self.joined.drain().filter_map(|(_, joined)| joined.trackers).collect();
        let leaving: Vec<_> = leaving
            .into_iter()
            .map(|mut trackers| tokio::spawn(async move { trackers.leave(CLOSE_LEAVE).await }))
            .collect();
        _ = self.driver.flush(CLOSE_SEND).await;
        let all = async {
            for task in leaving {
                _ = task.await;
            }
            for task in saving {
                _ = task.await;
            }
        };
        _ = timeout(CLOSE_LEAVE, all).await;
    }
}

/// What a tracker of any of the swarms says next.
async fn heard(joined: &mut HashMap<SwarmKey, Joined>) -> (SwarmKey, trackers::Told) {
    poll_fn(|cx| {
        for (&key, joined) in joined.iter_mut() {
            let Some(trackers) = &mut joined.trackers else { continue };
            if let Poll::Ready(told) = pin!(trackers.next()).poll(cx) {
                return Poll::Ready((key, told));
            }
        }
        Poll::Pending
    })
    .await
}
