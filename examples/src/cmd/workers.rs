//! More sockets for one swarm: each with an endpoint and a thread of its own, over the same store.
//!
//! The endpoints know nothing of each other. The system gives each peer to one socket and stays with it, so channel IDs
//! mean what they mean to one endpoint, and each endpoint has its share of the limits.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, UdpSocket},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use ppsp_peer_proto::{Endpoint, EndpointConfig, Event, Reason, SwarmConfig, SwarmKey};
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};

use super::session::{CLOSE_SEND, TICK, swarm_failure};
use crate::{
    cli::exit::Failure,
    net::{Clock, Counters, Driver, Socket},
    store::FileStore,
};

/// Peers whose bytes are counted one by one: a seed may meet any number in its life.
const MAX_ACCOUNTS: usize = 1024;

/// What an endpoint has done so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    /// Peers that are up.
    pub(super) peers: usize,
    /// Bytes of content received.
    pub(super) downloaded: u64,
    /// Bytes of content sent.
    pub(super) uploaded: u64,
    /// Bytes from and to each peer, as far as known, of the first `MAX_ACCOUNTS` peers.
    pub(super) moved: BTreeMap<SocketAddr, (u64, u64)>,
    /// Bytes in datagrams, in and out.
    pub(super) udp: (u64, u64),
    /// Datagrams.
    pub(super) network: Counters,
}

impl Tally {
    /// Looks at an endpoint again. A swarm that is closed keeps what it had.
    pub(super) fn update(&mut self, driver: &Driver, swarm: SwarmKey) {
        self.network = driver.socket().counters();
        let stats = driver.endpoint.stats();
        self.udp = (stats.bytes_in, stats.bytes_out);
        let Some(swarm) = driver.endpoint.swarm(swarm) else { return };
        (self.downloaded, self.uploaded) = (swarm.downloaded(), swarm.uploaded());
        self.peers = 0;
        for stats in swarm.peers().filter_map(|peer| driver.endpoint.peer(peer)) {
            self.peers += 1;
            if self.moved.len() >= MAX_ACCOUNTS && !self.moved.contains_key(&stats.remote) {
                continue;
            }
            let moved = self.moved.entry(stats.remote).or_default();
            *moved = (moved.0.max(stats.downloaded), moved.1.max(stats.uploaded));
        }
    }

    /// Adds what another endpoint has done.
    pub(super) fn add(&mut self, other: &Self) {
        self.peers += other.peers;
        self.downloaded += other.downloaded;
        self.uploaded += other.uploaded;
        self.network.add(&other.network);
        self.udp = (self.udp.0 + other.udp.0, self.udp.1 + other.udp.1);
        for (addr, (down, up)) in &other.moved {
            let moved = self.moved.entry(*addr).or_default();
            *moved = (moved.0 + down, moved.1 + up);
        }
    }
}

/// What a worker tells at once.
pub(super) enum Told {
    /// A peer is up.
    Up(SocketAddr),
    /// A peer is gone.
    Down(SocketAddr, Reason),
    /// The worker has ended for this reason.
    Failed(Failure),
}

/// The threads.
pub(super) struct Workers {
    stop: watch::Sender<bool>,
    told: mpsc::UnboundedReceiver<Told>,
    tallies: Vec<Arc<Mutex<Tally>>>,
}

impl Workers {
    /// Starts a thread for each socket.
    pub(super) fn start(
        sockets: Vec<UdpSocket>,
        config: &EndpointConfig,
        store: &FileStore,
        clock: Clock,
    ) -> Result<Self, Failure> {
        let (stop, stopped) = watch::channel(false);
        let (tell, told) = mpsc::unbounded_channel();
        let mut tallies = Vec::new();
        for socket in sockets {
            let tally = Arc::new(Mutex::new(Tally::default()));
            tallies.push(Arc::clone(&tally));
            let (config, store, stopped, tell) = (config.clone(), store.clone(), stopped.clone(), tell.clone());
            thread::Builder::new()
                .name("socket".to_owned())
                .spawn(move || {
                    let worker = Worker { config, store, clock, tally, stopped, tell: &tell };
                    if let Err(failure) = worker.run(socket) {
                        _ = tell.send(Told::Failed(failure));
                    }
                })
                .map_err(|e| Failure::other(format!("cannot start a thread: {e}")))?;
        }
        Ok(Self { stop, told, tallies })
    }

    /// The next thing that one of them tells; `None` where there is none, or all have ended.
    pub(super) async fn next(&mut self) -> Option<Told> {
        self.told.recv().await
    }

    /// Adds what they have done.
    pub(super) fn add_to(&self, tally: &mut Tally) {
        for one in &self.tallies {
            tally.add(&one.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    /// Has them say goodbye to their peers, and waits for that a little.
    pub(super) async fn close(&mut self) {
        self.stop.send_replace(true);
        let ended = async { while self.told.recv().await.is_some() {} };
        _ = timeout(2 * CLOSE_SEND, ended).await;
    }
}

/// What a thread works with.
struct Worker<'a> {
    config: EndpointConfig,
    store: FileStore,
    clock: Clock,
    tally: Arc<Mutex<Tally>>,
    stopped: watch::Receiver<bool>,
    tell: &'a mpsc::UnboundedSender<Told>,
}

impl Worker<'_> {
    fn run(self, socket: UdpSocket) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| Failure::other(format!("cannot start: {e}")))?;
        runtime.block_on(async {
            let socket = Socket::new(socket).map_err(|e| Failure::network(format!("the socket failed: {e}")))?;
            let (driver, swarm) = open(self.config.clone(), &self.store, self.clock, socket)?;
            self.drive(driver, swarm).await
        })
    }

    async fn drive(self, mut driver: Driver, swarm: SwarmKey) -> Result<(), Failure> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopped = self.stopped.clone();
        let mut outcome = Ok(());
        while outcome.is_ok() {
            tokio::select! {
                biased;
                _ = stopped.wait_for(|stop| *stop) => break,
                _ = tick.tick() => self.account(&driver, swarm),
                turned = driver.turn() => turned.map_err(|e| Failure::network(format!("the socket failed: {e}")))?,
            }
            while let Some(event) = driver.endpoint.poll_event() {
                // Who hears it may have ended already, and then this ends too.
                match event {
                    Event::PeerUp { remote, .. } => _ = self.tell.send(Told::Up(remote)),
                    Event::PeerDown { remote, reason, .. } => _ = self.tell.send(Told::Down(remote, reason)),
                    Event::SwarmFailed { .. } => outcome = Err(swarm_failure(&mut driver, swarm, &self.store)),
                    _ => {}
                }
            }
        }
        self.account(&driver, swarm);
        _ = driver.endpoint.close(driver.now(), swarm);
        _ = driver.flush(CLOSE_SEND).await;
        outcome
    }

    fn account(&self, driver: &Driver, swarm: SwarmKey) {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).update(driver, swarm);
    }
}

/// Puts an endpoint with one swarm on a socket.
pub(super) fn open(
    config: EndpointConfig,
    store: &FileStore,
    clock: Clock,
    socket: Socket,
) -> Result<(Driver, SwarmKey), Failure> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| Failure::other(format!("the system gives no random numbers: {e}")))?;
    let mut endpoint = Endpoint::new(config, seed, clock.now());
    let swarm = endpoint
        .open(clock.now(), SwarmConfig::new(store.metadata()), Box::new(store.clone()))
        .map_err(Failure::other)?;
    Ok((Driver::new(endpoint, socket, clock), swarm))
}

/// The part of an endpoint in limits that hold for `sockets` of them together.
pub(super) fn share(mut config: EndpointConfig, sockets: usize) -> EndpointConfig {
    let sockets = sockets.max(1);
    for peers in [&mut config.max_peers, &mut config.max_inbound] {
        *peers = peers.div_ceil(sockets);
    }
    for limit in [&mut config.upload_limit, &mut config.download_limit].into_iter().flatten() {
        *limit = limit.div_ceil(sockets as u64);
    }
    config
}
