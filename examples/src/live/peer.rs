//! One live swarm on one socket.

use std::{
    collections::VecDeque,
    net::{SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use ppsp_core::{ContentStore, SwarmMetadata, Tree};
use ppsp_peer_proto::{
    Congestion, ConnectError, Endpoint, EndpointConfig, Event, LiveOptions, PushError, Reason, Swarm, SwarmConfig,
    SwarmKey, policy::LivePicker,
};

use super::LiveStatus;
use crate::{
    cli::{
        exit::Failure,
        output::{Progress, one_line},
    },
    net::{Clock, Driver, Socket},
    peer::{Figures, Status, book::PeerBook},
    trackers::{self, Counters, Trackers},
};

/// Span over which rates are taken.
const RATE_SPAN: Duration = Duration::from_secs(3);
/// With fewer peers than that, trackers are asked for more.
const FEW_PEERS: usize = 4;
/// Who fell silent is called again soon: a source that was killed and started again listens where it was, and knows nobody. RFC 7574
/// §3.12 has three minutes, in which a stream is over.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
const IDLE: Duration = Duration::from_secs(8);
/// For the last datagrams, and for trackers to hear that we go.
const CLOSE_SEND: Duration = Duration::from_millis(300);
const CLOSE_LEAVE: Duration = Duration::from_millis(1500);

/// The swarm, whom we know of it, and its trackers.
#[derive(Debug)]
pub struct LivePeer {
    pub(crate) driver: Driver,
    pub(crate) swarm: SwarmKey,
    book: PeerBook,
    trackers: Option<Trackers>,
    /// What the trackers said last that was of no help.
    no_help: Option<String>,
    told: VecDeque<Told>,
    /// When a peer was last up.
    last_up: Instant,
    samples: VecDeque<(Instant, u64, u64)>,
    /// What its peers gave and got.
    status: Status,
    /// Two sources were seen.
    two_sources: bool,
}

/// What happens.
#[derive(Clone, Debug)]
pub enum Told {
    /// A peer is up.
    Up(SocketAddr),
    /// A peer is gone.
    Down(SocketAddr, Reason),
    /// There is more of the stream.
    Edge,
    /// Two sources use its key.
    TwoSources,
    /// What a tracker says.
    Tracker(trackers::Told),
}

impl LivePeer {
    /// Takes part in the swarm.
    ///
    /// # Errors
    ///
    /// A socket that cannot be used; a swarm ID that is no key.
    pub fn open(
        socket: UdpSocket,
        mut config: EndpointConfig,
        metadata: &SwarmMetadata,
        options: LiveOptions,
        store: Box<dyn ContentStore>,
    ) -> Result<Self, Failure> {
        (config.keep_alive, config.idle_timeout) = (KEEP_ALIVE, IDLE);
        let clock = Clock::new();
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| Failure::other(format!("the system gives no random numbers: {e}")))?;
        let socket = Socket::new(socket).map_err(|e| Failure::network(format!("the socket failed: {e}")))?;
        let mut endpoint = Endpoint::new(config, seed, clock.now());
        let mut swarm = SwarmConfig::new(metadata.clone());
        swarm.congestion = Congestion::Streaming;
        swarm.picker = Box::new(LivePicker::default());
        swarm.live = Some(options);
        let swarm = endpoint.open(clock.now(), swarm, store).map_err(Failure::usage)?;
        Ok(Self {
            driver: Driver::new(endpoint, socket, clock),
            swarm,
            book: PeerBook::default(),
            trackers: None,
            no_help: None,
            told: VecDeque::new(),
            last_up: Instant::now(),
            samples: VecDeque::new(),
            status: Status::default(),
            two_sources: false,
        })
    }

    /// Peers to connect to.
    pub fn give_peers(&mut self, peers: &[SocketAddr]) {
        let own = self.addr().ok();
        peers.iter().filter(|&&addr| Some(addr) != own).for_each(|&addr| self.book.give(addr, Instant::now()));
    }

    /// Trackers that know more, from now on.
    pub fn join(&mut self, trackers: Trackers) {
        self.trackers = Some(trackers);
    }

    /// Sends and receives for a moment. May be dropped at any point.
    ///
    /// # Errors
    ///
    /// A socket or a store that fails.
    pub async fn turn(&mut self) -> Result<(), Failure> {
        tokio::select! {
            biased;
            told = next_of(&mut self.trackers) => self.hear(told),
            turned = self.driver.turn() => turned.map_err(|e| Failure::network(format!("the socket failed: {e}")))?,
        }
        self.take_events()
    }

    /// What has happened.
    pub fn told(&mut self) -> Option<Told> {
        self.told.pop_front()
    }

    /// At the source: takes the next chunk of the stream.
    ///
    /// # Errors
    ///
    /// [`PushError`].
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), PushError> {
        self.driver.endpoint.push_chunk(self.driver.now(), self.swarm, chunk)
    }

    /// At the source: ends the stream. The tree of the whole, where this source made all of it.
    ///
    /// # Errors
    ///
    /// [`PushError`].
    pub fn finish(&mut self) -> Result<Option<Tree>, PushError> {
        self.driver.endpoint.finish_stream(self.driver.now(), self.swarm)
    }

    /// To be called a few times a second: calls peers, and tells trackers what is done here.
    pub fn tick(&mut self) -> Progress {
        let now = Instant::now();
        for addr in self.book.due(now) {
            let began = match self.driver.endpoint.connect(self.driver.now(), self.swarm, addr) {
                // Then it found us, or its answer is still to come.
                Ok(_) | Err(ConnectError::AlreadyConnected) => true,
                Err(_) => false,
            };
            self.book.tried(addr, began, now);
        }
        let progress = self.measure(now);
        self.status.update(&self.driver.endpoint, self.swarm);
        if progress.peers > 0 {
            self.last_up = now;
        }
        if let Some(trackers) = &self.trackers {
            let Progress { uploaded, downloaded, peers, .. } = progress;
            trackers.count(Counters { uploaded, downloaded, bandwidth: 0, links: peers as u64 });
            if peers < FEW_PEERS {
                trackers.find();
            }
        }
        progress
    }

    /// Says goodbye to peers and trackers.
    pub async fn close(&mut self) {
        _ = self.driver.endpoint.close(self.driver.now(), self.swarm);
        let leaving = async {
            if let Some(trackers) = &mut self.trackers {
                trackers.leave(CLOSE_LEAVE).await;
            }
        };
        tokio::join!(self.driver.flush(CLOSE_SEND), leaving).0.ok();
    }

    /// The swarm.
    pub fn swarm(&self) -> Option<Swarm<'_>> {
        self.driver.endpoint.swarm(self.swarm)
    }

    /// What its peers gave and got, at the last [`tick`](Self::tick).
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// How the stream stands, as far as any peer knows it.
    pub fn live_status(&mut self) -> LiveStatus {
        let mut status = LiveStatus { two_sources: self.two_sources, ..LiveStatus::default() };
        if let Some(swarm) = self.driver.endpoint.swarm(self.swarm) {
            (status.edge, status.ended) = (swarm.live_end().unwrap_or(0), swarm.is_live_ended());
        }
        if let Some(swarm) = self.driver.endpoint.swarm_mut(self.swarm) {
            let held = swarm.held();
            (status.window_first, status.window_chunks) = (held.first(), held.len());
        }
        status
    }

    /// What is counted, for a stream that stands like this.
    pub fn figures(&self, live: &LiveStatus) -> Figures {
        let mut figures = Figures::default();
        figures.add_endpoint(self.driver.endpoint.stats());
        figures.add(&self.status);
        figures.live.add(live);
        figures
    }

    /// The address bound to.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn addr(&self) -> std::io::Result<SocketAddr> {
        self.driver.local_addr()
    }

    /// How long no peer has been up; an error where none ever will be.
    pub(super) fn alone(&self, now: Instant) -> Result<Duration, Failure> {
        if self.trackers.is_none() && self.book.is_hopeless() {
            return Err(Failure::network(format!("no peer is left to ask: {}", self.book.describe())));
        }
        Ok(now.duration_since(self.last_up))
    }

    /// The peers and what became of each.
    pub(super) fn describe(&self) -> String {
        let words = [Some(self.book.describe()).filter(|words| !words.is_empty()), self.no_help.clone()];
        match words.into_iter().flatten().collect::<Vec<_>>().join("; ") {
            words if words.is_empty() => "no peer is known".to_owned(),
            words => words,
        }
    }

    /// Is nobody known who could be asked?
    pub(super) fn knows_nobody(&self) -> bool {
        self.trackers.is_none() && self.book.is_empty()
    }

    fn take_events(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        while let Some(event) = self.driver.endpoint.poll_event() {
            match event {
                Event::PeerUp { remote, .. } => {
                    self.book.up(remote);
                    self.told.push_back(Told::Up(remote));
                }
                Event::PeerDown { remote, reason, .. } => {
                    self.book.down(remote, reason, now);
                    self.told.push_back(Told::Down(remote, reason));
                }
                Event::PeersLearned { .. } => self.book.learn_from(&mut self.driver.endpoint, self.swarm, now),
                Event::TunedIn { .. } | Event::LiveEdge { .. } => self.told.push_back(Told::Edge),
                Event::TwoSources { .. } => {
                    self.two_sources = true;
                    self.told.push_back(Told::TwoSources);
                }
                Event::SwarmFailed { .. } => {
                    let why = self.driver.endpoint.swarm_mut(self.swarm).and_then(|mut swarm| swarm.take_error());
                    return Err(match why {
                        Some(error) => Failure::other(error.0),
                        None => Failure::other("the swarm failed"),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn hear(&mut self, told: trackers::Told) {
        match &told {
            trackers::Told::Peers(peers) => {
                let own = self.addr().ok();
                for addrs in peers.iter().filter(|addrs| own.is_none_or(|own| !addrs.contains(&own))) {
                    self.book.learn_one_of(addrs, Instant::now());
                }
            }
            trackers::Told::Failed { tracker, why } => {
                let again = self.no_help.replace(one_line(&format!("tracker {tracker}: {why}"))).is_some();
                // Once in a row is enough.
                if again {
                    return;
                }
            }
            trackers::Told::Refused(why) => (self.trackers, self.no_help) = (None, Some(why.clone())),
            trackers::Told::Registered { .. } => self.no_help = None,
        }
        self.told.push_back(Told::Tracker(told));
    }

    fn measure(&mut self, now: Instant) -> Progress {
        let Some(swarm) = self.driver.endpoint.swarm(self.swarm) else { return Progress::default() };
        let (downloaded, uploaded, peers) = (swarm.downloaded(), swarm.uploaded(), swarm.peers().count());
        self.samples.push_back((now, downloaded, uploaded));
        while self.samples.front().is_some_and(|(then, ..)| now.duration_since(*then) > RATE_SPAN) {
            self.samples.pop_front();
        }
        let (then, down, up) = self.samples.front().copied().unwrap_or((now, downloaded, uploaded));
        let span = now.duration_since(then).as_secs_f64();
        let rate = |bytes: u64| if span > 0.0 { (bytes as f64 / span) as u64 } else { 0 };
        let (down, up) = (rate(downloaded - down), rate(uploaded - up));
        Progress { bytes: downloaded, total: None, peers, down, up, downloaded, uploaded }
    }
}

async fn next_of(trackers: &mut Option<Trackers>) -> trackers::Told {
    match trackers {
        Some(trackers) => trackers.next().await,
        None => std::future::pending().await,
    }
}
