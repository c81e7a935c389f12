//! One swarm, from opening to closing: what `seed` and `get` share.

use std::{
    collections::VecDeque,
    io,
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use ppsp_peer_proto::{ConnectError, EndpointConfig, Event, SwarmKey};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};

use super::{
    metrics::Shown,
    signals::Signals,
    usage,
    workers::{self, Tally, Told, Workers},
};
use crate::{
    cli::{
        args::{CongestionMode, NetArgs, Pex},
        exit::{Exit, Failure},
        output::{Output, Progress, one_line},
        units::HostPort,
    },
    net::{Clock, Driver, Socket},
    peer::{
        Figures, Status,
        book::{PeerBook, explain, name},
    },
    store::{FileError, FileStore},
    trackers::{self, Trackers},
};

/// Between two looks at progress, peers and the clock.
pub(super) const TICK: Duration = Duration::from_millis(200);
/// Between two checkpoints of the store.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(1500);
/// Span over which rates are taken.
const RATE_SPAN: Duration = Duration::from_secs(3);
/// With fewer peers than that, trackers are asked for more.
const FEW_PEERS: usize = 4;
/// How long closing may take: telling the trackers, sending the last datagrams, and making the store durable.
pub(super) const CLOSE_SEND: Duration = Duration::from_millis(300);
const CLOSE_SAVE: Duration = Duration::from_millis(1400);
const CLOSE_LEAVE: Duration = Duration::from_millis(1500);

/// What is to be waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// All content under its final name; give up when no peer answered for so long.
    Fetch { patience: Duration },
    /// Serve others, for a time or for ever.
    Serve { until: Option<Instant> },
}

/// One swarm on one socket, or on several.
pub(super) struct Session<'a> {
    pub(super) out: &'a mut Output,
    signals: &'a mut Signals,
    driver: Driver,
    swarm: SwarmKey,
    store: FileStore,
    book: PeerBook,
    started: Instant,
    /// When a peer was last up.
    last_up: Instant,
    samples: VecDeque<(Instant, u64, u64)>,
    /// What the endpoint here has done.
    own: Tally,
    /// What all endpoints have done.
    tally: Tally,
    /// Of the swarm here, while somebody looks at counters.
    status: Status,
    shown: Option<Shown>,
    workers: Workers,
    trackers: Option<Trackers>,
    /// What the trackers said last that was of no help.
    no_help: Option<String>,
    /// Why no tracker is asked any more.
    refused: Option<String>,
    last_checkpoint: Instant,
    checkpoint: Option<JoinHandle<Result<bool, FileError>>>,
}

impl<'a> Session<'a> {
    /// Opens the swarm on the first socket here, on each of the others in a thread, and says `listening`.
    pub(super) fn open(
        out: &'a mut Output,
        signals: &'a mut Signals,
        args: &NetArgs,
        store: FileStore,
        mut sockets: Vec<UdpSocket>,
    ) -> Result<Self, Failure> {
        let no_socket = |e: io::Error| Failure::network(format!("the socket failed: {e}"));
        let config = workers::share(endpoint_config(args, store.is_finished()), sockets.len());
        let clock = Clock::new();
        let first = Socket::new(sockets.swap_remove(0)).map_err(no_socket)?;
        let (driver, swarm) = workers::open(config.clone(), &store, clock, first)?;
        let addr = driver.local_addr().map_err(no_socket)?;
        let workers = Workers::start(sockets, &config, &store, clock)?;
        out.listening(addr);
        let now = Instant::now();
        Ok(Self {
            out,
            signals,
            driver,
            swarm,
            store,
            book: PeerBook::default(),
            started: now,
            last_up: now,
            samples: VecDeque::new(),
            own: Tally::default(),
            tally: Tally::default(),
            status: Status::default(),
            shown: None,
            workers,
            trackers: None,
            no_help: None,
            refused: None,
            last_checkpoint: now,
            checkpoint: None,
        })
    }

    /// Peers to connect to.
    pub(super) fn give_peers(&mut self, peers: &[SocketAddr]) {
        let own = self.driver.local_addr().ok();
        peers.iter().filter(|&&addr| Some(addr) != own).for_each(|&addr| self.book.give(addr, Instant::now()));
    }

    /// Where counters are shown from now on.
    pub(super) fn show(&mut self, shown: Option<Shown>) {
        self.shown = shown;
    }

    /// Trackers that are asked for peers and told about us, from now on.
    pub(super) fn join(&mut self, trackers: Trackers) {
        self.trackers = Some(trackers);
    }

    /// All content is there: trackers are told.
    pub(super) fn seed(&self) {
        if let Some(trackers) = &self.trackers {
            trackers.seed();
        }
    }

    /// Drives the swarm until the goal is reached. Who does not reach it is closed already.
    pub(super) async fn run(&mut self, goal: Goal) -> Result<(), Failure> {
        let Err(failure) = self.drive(goal).await else { return Ok(()) };
        let interrupted = failure.exit == Exit::Interrupted;
        match self.close().await {
            Ok(()) if interrupted => self.say_stopped(goal),
            Ok(()) => {}
            Err(unsaved) if interrupted => return Err(unsaved),
            Err(unsaved) if unsaved.message != failure.message => self.out.warn(unsaved.message),
            Err(_) => {}
        }
        Err(failure)
    }

    async fn drive(&mut self, goal: Goal) -> Result<(), Failure> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = self.signals.any() => return Err(Failure::interrupted()),
                _ = tick.tick() => {
                    if self.tick(goal).await? {
                        return Ok(());
                    }
                }
                Some(told) = self.workers.next() => self.hear(told)?,
                told = next_of(&mut self.trackers) => self.hear_tracker(told)?,
                turned = self.driver.turn() => turned.map_err(|e| Failure::network(format!("the socket failed: {e}")))?,
            }
            while let Some(event) = self.driver.endpoint.poll_event() {
                let complete = matches!(event, Event::Complete { .. });
                self.handle(event)?;
                if complete && matches!(goal, Goal::Fetch { .. }) && self.finish().await? {
                    return Ok(());
                }
            }
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), Failure> {
        let now = Instant::now();
        match event {
            Event::PeerUp { remote, .. } => self.hear(Told::Up(remote))?,
            Event::PeerDown { remote, reason, .. } => self.hear(Told::Down(remote, reason))?,
            Event::PeersLearned { .. } => self.book.learn_from(&mut self.driver.endpoint, self.swarm, now),
            Event::SwarmFailed { .. } => return Err(swarm_failure(&mut self.driver, self.swarm, &self.store)),
            _ => {}
        }
        Ok(())
    }

    /// What is told of a peer here and of one of a worker.
    fn hear(&mut self, told: Told) -> Result<(), Failure> {
        match told {
            Told::Up(remote) => {
                self.book.up(remote);
                self.out.peer_up(remote);
            }
            Told::Down(remote, reason) => {
                self.book.down(remote, reason, Instant::now());
                self.out.peer_down(remote, name(reason), explain(reason));
            }
            Told::Failed(failure) => return Err(failure),
        }
        Ok(())
    }

    fn hear_tracker(&mut self, told: trackers::Told) -> Result<(), Failure> {
        let now = Instant::now();
        match told {
            trackers::Told::Registered { tracker, peer_id, reflexive } => {
                self.no_help = None;
                self.out.registered(&tracker, &peer_id, reflexive);
            }
            trackers::Told::Peers(peers) => {
                self.out.detail_event("tracker_peers", &json!({ "peers": peers }));
                let own = self.driver.local_addr().ok();
                for addrs in peers.iter().filter(|addrs| own.is_none_or(|own| !addrs.contains(&own))) {
                    self.book.learn_one_of(addrs, now);
                }
            }
            trackers::Told::Failed { tracker, why } => {
                self.out.tracker_failed(&tracker, &why, self.no_help.is_some());
                self.no_help = Some(one_line(&format!("tracker {tracker}: {why}")));
            }
            trackers::Told::Refused(why) => {
                self.trackers = None;
                if self.book.is_empty() && !self.store.is_finished() {
                    return Err(Failure::refused(why));
                }
                self.out.warn(format_args!("no tracker is asked any more: {why}"));
                self.refused = Some(why);
            }
        }
        Ok(())
    }

    /// Tells the trackers what we do, and asks for peers where they run short.
    fn tell_trackers(&self, goal: Goal, progress: &Progress) {
        let Some(trackers) = &self.trackers else { return };
        trackers.count(trackers::Counters {
            uploaded: progress.uploaded,
            downloaded: progress.downloaded,
            bandwidth: 0,
            links: progress.peers as u64,
        });
        if matches!(goal, Goal::Fetch { .. }) && progress.peers < FEW_PEERS {
            trackers.find();
        }
    }

    fn tell_metrics(&mut self) {
        let Some(shown) = &self.shown else { return };
        self.status.update(&self.driver.endpoint, self.swarm);
        let mut figures = Figures::default();
        figures.add_endpoint(self.driver.endpoint.stats());
        figures.add(&self.status);
        // Of all sockets.
        (figures.connections, figures.sent) = (self.tally.peers as u64, self.tally.uploaded);
        figures.udp = self.tally.udp;
        shown.update(figures);
    }

    /// What is due now and then. `true`: the goal is reached.
    async fn tick(&mut self, goal: Goal) -> Result<bool, Failure> {
        let now = Instant::now();
        let progress = self.measure(now);
        self.out.progress(matches!(goal, Goal::Fetch { .. }), &progress);
        self.tell_trackers(goal, &progress);
        self.tell_metrics();
        self.checkpoint(now).await?;
        match goal {
            Goal::Serve { until } => Ok(until.is_some_and(|until| until <= now)),
            Goal::Fetch { patience } => {
                if self.driver.endpoint.swarm(self.swarm).is_some_and(|swarm| swarm.is_complete())
                    && self.finish().await?
                {
                    return Ok(true);
                }
                self.connect(now);
                if progress.peers > 0 {
                    self.last_up = now;
                } else if self.book.is_hopeless() && self.trackers.is_none() {
                    return Err(Failure::network(format!("no peer is left to ask: {}", self.book.describe())));
                } else if now.duration_since(self.last_up) >= patience {
                    return Err(self.nobody(patience));
                }
                Ok(false)
            }
        }
    }

    fn nobody(&self, patience: Duration) -> Failure {
        let waited = patience.as_secs_f64();
        let mut words: Vec<String> = [self.book.describe()].into_iter().filter(|words| !words.is_empty()).collect();
        if let Some(why) = &self.refused {
            words.push(why.clone());
            return Failure::refused(format!("no peer answered for {waited} s: {}", words.join("; ")));
        }
        words.extend(self.no_help.clone());
        if words.is_empty() {
            words.push("the trackers know of no other".to_owned());
        }
        Failure::network(format!("no peer answered for {waited} s: {}", words.join("; ")))
    }

    fn connect(&mut self, now: Instant) {
        for addr in self.book.due(now) {
            let began = match self.driver.endpoint.connect(self.driver.now(), self.swarm, addr) {
                Ok(_) => true,
                // Then it found us, or its answer is still to come.
                Err(ConnectError::AlreadyConnected) => true,
                Err(error) => {
                    self.out.detail(format_args!("peer {addr}: {error}"));
                    false
                }
            };
            self.book.tried(addr, began, now);
        }
    }

    fn measure(&mut self, now: Instant) -> Progress {
        self.own.update(&self.driver, self.swarm);
        self.tally.clone_from(&self.own);
        self.workers.add_to(&mut self.tally);
        let Some(swarm) = self.driver.endpoint.swarm(self.swarm) else { return Progress::default() };
        let Tally { peers, downloaded, uploaded, .. } = self.tally;
        self.samples.push_back((now, downloaded, uploaded));
        while self.samples.front().is_some_and(|(then, ..)| now.duration_since(*then) > RATE_SPAN) {
            self.samples.pop_front();
        }
        let (then, down, up) = self.samples.front().copied().unwrap_or((now, downloaded, uploaded));
        let span = now.duration_since(then).as_secs_f64();
        let rate = |bytes: u64| if span > 0.0 { (bytes as f64 / span) as u64 } else { 0 };
        let total = swarm.content_length().or(self.store.metadata().content_length);
        Progress {
            bytes: self.store.held_bytes(),
            total: total.or(swarm.chunks().map(|chunks| chunks * u64::from(swarm.metadata().chunk_size))),
            peers,
            down: rate(downloaded - down),
            up: rate(uploaded - up),
            downloaded,
            uploaded,
        }
    }

    /// Keeps checkpoints going, one at a time, in a thread that may wait for the disk.
    async fn checkpoint(&mut self, now: Instant) -> Result<(), Failure> {
        if let Some(running) = &mut self.checkpoint {
            if !running.is_finished() {
                return Ok(());
            }
            let done = running.await;
            self.checkpoint = None;
            done.map_err(Failure::other)??;
        }
        if now.duration_since(self.last_checkpoint) >= CHECKPOINT_EVERY {
            self.last_checkpoint = now;
            self.store.check_unchanged()?;
            let store = self.store.clone();
            self.checkpoint = Some(tokio::task::spawn_blocking(move || store.checkpoint()));
        }
        Ok(())
    }

    /// All is held: makes it durable under its final name. The swarm goes on meanwhile.
    async fn finish(&mut self) -> Result<bool, Failure> {
        let now = Instant::now();
        let progress = self.measure(now);
        self.out.progress_ended(&progress);
        let seconds = now.duration_since(self.started).as_secs_f64();
        let earlier = self.checkpoint.take();
        let store = self.store.clone();
        let mut task = tokio::task::spawn_blocking(move || store.checkpoint());
        loop {
            tokio::select! {
                biased;
                done = &mut task => {
                    done.map_err(Failure::other)??;
                    break;
                }
                () = self.signals.any() => return Err(Failure::interrupted()),
                turned = self.driver.turn() => turned.map_err(|e| Failure::network(format!("the socket failed: {e}")))?,
            }
        }
        drop(earlier); // it is done: checkpoints wait for each other
        if !self.store.is_finished() {
            return Ok(false);
        }
        let mut fields = self.result(seconds);
        fields["bytes"] = json!(self.store.held_bytes());
        fields["path"] = json!(self.store.path().to_string_lossy());
        self.out.clear();
        self.out.event("complete", &fields);
        let held = self.store.held_bytes();
        let path = self.store.path();
        self.out.say(format_args!(
            "{}: complete, {} in {seconds:.1} s ({}), every chunk verified",
            path.display(),
            crate::cli::units::bytes(held),
            crate::cli::units::rate((self.tally.downloaded as f64 / seconds.max(0.001)) as u64),
        ));
        Ok(true)
    }

    /// What has been done so far.
    fn result(&self, seconds: f64) -> Value {
        let Tally { downloaded, uploaded, moved, network, .. } = &self.tally;
        let one = |(addr, (down, up)): (&SocketAddr, &(u64, u64))| json!({ "addr": addr, "downloaded": down, "uploaded": up });
        let mut fields = json!({
            "seconds": seconds,
            "downloaded": downloaded,
            "uploaded": uploaded,
            "peers": moved.iter().map(one).collect::<Value>(),
            "datagrams_in": network.datagrams_in,
            "datagrams_out": network.datagrams_out,
            "runs_in": network.runs_in,
            "runs_out": network.runs_out,
        });
        add_usage(&mut fields);
        fields
    }

    /// Says goodbye to all peers and makes durable what is held, within two seconds. To be called once, at the end: `run`
    /// does so where it fails.
    pub(super) async fn close(&mut self) -> Result<(), Failure> {
        self.measure(Instant::now());
        let store = self.store.clone();
        let save = tokio::task::spawn_blocking(move || store.checkpoint());
        let now = self.driver.now();
        _ = self.driver.endpoint.close(now, self.swarm);
        let leaving = async {
            if let Some(trackers) = &mut self.trackers {
                trackers.leave(CLOSE_LEAVE).await;
            }
        };
        tokio::join!(self.driver.flush(CLOSE_SEND), self.workers.close(), leaving).0.ok();
        let saved = timeout(CLOSE_SAVE, save).await;
        self.measure(Instant::now());
        let fields = self.result(self.started.elapsed().as_secs_f64());
        self.out.clear();
        self.out.event("closed", &fields);
        match saved {
            Ok(saved) => {
                saved.map_err(Failure::other)??;
            }
            Err(_) => self.out.warn("the disk is slow: the last seconds of this download were not saved"),
        }
        Ok(())
    }

    fn say_stopped(&self, goal: Goal) {
        match goal {
            Goal::Serve { .. } => {
                self.out.say(format_args!("stopped; {} sent", crate::cli::units::bytes(self.tally.uploaded)));
            }
            Goal::Fetch { .. } => self.out.say(format_args!(
                "stopped; {} are kept in {}, the same command goes on from there",
                crate::cli::units::bytes(self.store.held_bytes()),
                self.store.path().display()
            )),
        }
    }

    /// The store, for the last word on a download that never began.
    pub(super) fn store(&self) -> &FileStore {
        &self.store
    }

    /// The address bound to.
    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.driver.local_addr()
    }
}

async fn next_of(trackers: &mut Option<Trackers>) -> trackers::Told {
    match trackers {
        Some(trackers) => trackers.next().await,
        None => std::future::pending().await,
    }
}

/// Adds processor time and memory of this process, for measurements.
pub(super) fn add_usage(fields: &mut Value) {
    fields["cpu_seconds"] = json!(usage::cpu_seconds());
    fields["peak_rss_mib"] = json!(usage::peak_rss_mib());
}

/// What the swarm failed of.
pub(super) fn swarm_failure(driver: &mut Driver, swarm: SwarmKey, store: &FileStore) -> Failure {
    // A file cut short cannot be read: that it changed is the better word.
    if let Err(changed) = store.check_unchanged() {
        return changed.into();
    }
    match driver.endpoint.swarm_mut(swarm).and_then(|mut swarm| swarm.take_error()) {
        Some(error) => match error.0.downcast::<FileError>() {
            Ok(error) => Failure::from(*error),
            Err(error) => Failure::other(error),
        },
        None => Failure::other("the swarm failed"),
    }
}

/// Opens a socket, or several that share an address; the address that is in use is named.
pub(super) fn bind(addr: SocketAddr, sockets: usize) -> Result<Vec<UdpSocket>, Failure> {
    Socket::bind_group(addr, sockets).map_err(|e| {
        Failure::network(match e.kind() {
            io::ErrorKind::AddrInUse => format!("cannot listen on {addr}: another program uses this port"),
            _ => format!("cannot listen on {addr}: {e}"),
        })
    })
}

/// Any port of all addresses, of both IP versions where the system has both.
pub(super) fn bind_any(port: u16, sockets: usize) -> Result<Vec<UdpSocket>, Failure> {
    bind(SocketAddr::from(([0u16; 8], port)), sockets).or_else(|_| bind(SocketAddr::from(([0u8; 4], port)), sockets))
}

/// Finds the addresses of peers.
pub(super) async fn resolve(peers: &[HostPort]) -> Result<Vec<SocketAddr>, Failure> {
    let mut found = Vec::new();
    for HostPort(peer) in peers {
        let addrs = tokio::net::lookup_host(peer.as_str())
            .await
            .map_err(|e| Failure::network(format!("cannot find the address of peer {peer}: {e}")))?;
        found.extend(addrs);
    }
    Ok(found)
}

/// `serves`: all content is there, so that there is nobody whom we would choose.
pub(super) fn endpoint_config(args: &NetArgs, serves: bool) -> EndpointConfig {
    let mut config = EndpointConfig::default();
    if let Some(peers) = args.max_peers {
        config.max_peers = peers as usize;
        // Else fewer than `max_peers`, and none of one.
        config.max_inbound = peers as usize * if serves { 4 } else { 3 } / 4;
    }
    config.upload_limit = args.upload_limit.map(|rate| rate.0);
    config.download_limit = args.download_limit.map(|rate| rate.0);
    config.pex = args.pex.unwrap_or(Pex::Private) == Pex::Private;
    if args.congestion == Some(CongestionMode::Streaming) {
        config.controller = Arc::clone(&config.streaming);
    }
    config.handshake_timeout = Duration::from_secs(10);
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_places_are_kept_for_peers_that_we_choose() {
        for peers in [1, 2, 3, 4, 5, 100, 65_535] {
            let config = endpoint_config(&NetArgs { max_peers: Some(peers), ..NetArgs::default() }, false);
            assert_eq!(config.max_peers, peers as usize);
            assert!(config.max_inbound < config.max_peers, "{peers}: {}", config.max_inbound);
            assert_eq!(config.max_inbound == 0, peers == 1, "{peers}");
            let seed = endpoint_config(&NetArgs { max_peers: Some(peers), ..NetArgs::default() }, true);
            assert_eq!(seed.max_inbound, seed.max_peers);
        }
        let config = endpoint_config(&NetArgs::default(), false);
        assert!(config.max_inbound < config.max_peers);
    }
}
