use alloc::{
    boxed::Box,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    vec,
    vec::Vec,
};
use core::{cmp::Reverse, fmt, net::SocketAddr, num::NonZeroUsize, time::Duration};

use ppsp_core::{ChunkRange, ContentStore, Instant, RangeSet, Read};

use super::{Arrival, Content, Ledger, Node, NodeId, Outbox, Owed, SimStore, World, secs};
use crate::{
    ConnectError, Datagrams, Endpoint, EndpointConfig, Event, PeerKey, PeerStats, Reason, Stats, StoreDone,
    SwarmConfig, SwarmKey,
};

/// An honest peer: an [`Endpoint`] with an embedder around it, who watches it closely.
///
/// Whatever the endpoint does is checked against its contract:
///
/// * where `poll_transmit` gives something, `poll_timeout` must have said "now" before;
/// * where an event waits after the last transmission, too;
/// * a run of datagrams has at most the segments allowed, and all but the last are of one length;
/// * an address that has not proven itself gets no more bytes than came from it (RFC 7574 §12.1.1);
/// * whoever says it is complete has every byte right.
pub struct Peer {
    address: SocketAddr,
    endpoint: Endpoint,
    swarms: Vec<Joined>,
    /// The peer's clock is ahead of the world's by so much.
    skew: Duration,
    segments: NonZeroUsize,
    events_first: bool,
    timers: BinaryHeap<Reverse<(Instant, u64, Timer)>>,
    timer_number: u64,
    follow_pex: bool,
    check_proof: bool,
    partial: bool,
    redial: Option<Duration>,
    hold_until: Option<Instant>,
    accounts: BTreeMap<SocketAddr, Account>,
    unsettled: Vec<SocketAddr>,
    events: Vec<(Instant, Event)>,
    learned: Vec<SocketAddr>,
    gathered: Vec<u8>,
    runs: u64,
    run_datagrams: u64,
}

struct Joined {
    key: SwarmKey,
    content: Arc<Content>,
    ledger: Option<Arc<Ledger>>,
    latency: Duration,
    completed: Option<Instant>,
    open: bool,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Timer {
    Connect(usize, SocketAddr),
    Store(usize, Owed),
}

/// Bytes to and from one address.
#[derive(Clone, Copy, Debug, Default)]
struct Account {
    received: u64,
    sent: u64,
    /// We called first, or it has echoed our channel ID.
    proven: bool,
}

impl Peer {
    /// A peer without a swarm. `seed` is its endpoint's.
    pub fn new(address: SocketAddr, config: EndpointConfig, seed: [u8; 32]) -> Self {
        Self::with_clock(address, config, seed, Duration::ZERO)
    }

    /// A peer whose clock is ahead of the world's by `skew`.
    pub fn with_clock(address: SocketAddr, config: EndpointConfig, seed: [u8; 32], skew: Duration) -> Self {
        let follow_pex = config.pex;
        Self {
            address,
            endpoint: Endpoint::new(config, seed, Instant::from_micros(0) + skew),
            swarms: Vec::new(),
            skew,
            // Drivers differ: without GSO, and with runs of several lengths.
            segments: NonZeroUsize::new([1, 2, 10, 64][usize::from(seed[0] % 4)]).unwrap_or(NonZeroUsize::MIN),
            events_first: seed[1].is_multiple_of(2),
            timers: BinaryHeap::new(),
            timer_number: 0,
            follow_pex,
            check_proof: true,
            partial: false,
            redial: None,
            hold_until: None,
            accounts: BTreeMap::new(),
            unsettled: Vec::new(),
            events: Vec::new(),
            learned: Vec::new(),
            gathered: Vec::new(),
            runs: 0,
            run_datagrams: 0,
        }
    }

    /// Opens a swarm over a store that knows its content.
    ///
    /// # Panics
    ///
    /// Where the endpoint refuses.
    pub fn join(&mut self, now: Instant, content: &Arc<Content>, config: SwarmConfig, store: SimStore) -> SwarmKey {
        let (ledger, latency) = (store.ledger(), store.latency());
        let key = self.join_with(now, content, config, Box::new(store));
        if let Some(joined) = self.swarms.last_mut() {
            joined.ledger = Some(ledger);
            joined.latency = latency;
        }
        key
    }

    /// Opens a swarm over any store.
    ///
    /// # Panics
    ///
    /// Where the endpoint refuses.
    pub fn join_with(
        &mut self,
        now: Instant,
        content: &Arc<Content>,
        config: SwarmConfig,
        store: Box<dyn ContentStore>,
    ) -> SwarmKey {
        let key = match self.endpoint.open(self.local(now), config, store) {
            Ok(key) => key,
            Err(error) => panic!("cannot open the swarm: {error}"),
        };
        self.swarms.push(Joined {
            key,
            content: Arc::clone(content),
            ledger: None,
            latency: Duration::ZERO,
            completed: None,
            open: true,
        });
        key
    }

    /// Never again more than so many datagrams in a run.
    pub fn set_segments(&mut self, segments: NonZeroUsize) {
        self.segments = segments;
    }

    /// Connects to addresses learned by peer exchange, or leaves them for the test to take.
    pub fn follow_pex(&mut self, follow: bool) {
        self.follow_pex = follow;
    }

    /// Calls whoever is gone again after this time, as long as there is something to fetch.
    pub fn redial(&mut self, after: Option<Duration>) {
        self.redial = after;
    }

    /// Does not check that unproven addresses get no more than they gave. For tests in which events are lost on purpose.
    pub fn trust_everybody(&mut self) {
        self.check_proof = false;
    }

    /// Leaves events where they are, as an embedder does that does not care for them; or takes them again.
    pub fn hold_events(&mut self, hold: bool) {
        self.hold_until = hold.then(|| Instant::from_micros(0));
    }

    /// Connects to a peer of the first swarm.
    pub fn connect(&mut self, now: Instant, remote: SocketAddr) -> Result<PeerKey, ConnectError> {
        self.connect_in(now, 0, remote)
    }

    /// Connects to a peer of the n-th swarm.
    pub fn connect_in(&mut self, now: Instant, swarm: usize, remote: SocketAddr) -> Result<PeerKey, ConnectError> {
        let local = self.local(now);
        let Some(joined) = self.swarms.get(swarm) else { return Err(ConnectError::UnknownSwarm) };
        let peer = self.endpoint.connect(local, joined.key, remote)?;
        self.accounts.entry(remote).or_default().proven = true;
        Ok(peer)
    }

    /// Connects to a peer of the first swarm at a later moment. Whether it worked shows in the events.
    pub fn connect_at(&mut self, at: Instant, remote: SocketAddr) {
        self.set_timer(at, Timer::Connect(0, remote));
    }

    /// Leaves the first swarm, telling everybody.
    pub fn close(&mut self, now: Instant) -> Option<Box<dyn ContentStore>> {
        let local = self.local(now);
        let joined = self.swarms.first_mut()?;
        joined.open = false;
        self.endpoint.close(local, joined.key)
    }

    /// Ends a channel.
    pub fn disconnect(&mut self, now: Instant, peer: PeerKey) {
        self.endpoint.disconnect(self.local(now), peer);
    }

    /// The machine itself. Its clock is [`local`](Self::local).
    pub fn endpoint(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    /// The world's time on the peer's clock.
    pub fn local(&self, now: Instant) -> Instant {
        now + self.skew
    }

    /// The first swarm.
    ///
    /// # Panics
    ///
    /// Where it was never joined.
    pub fn swarm(&self) -> SwarmKey {
        self.swarms[0].key
    }

    /// When it had everything of its first swarm; `None` where it has not, and where it did from the start.
    pub fn completed(&self) -> Option<Instant> {
        self.swarms.first().and_then(|joined| joined.completed)
    }

    /// When it had everything of its n-th swarm.
    pub fn completed_in(&self, swarm: usize) -> Option<Instant> {
        self.swarms.get(swarm).and_then(|joined| joined.completed)
    }

    /// All events so far, with the world's time.
    pub fn events(&self) -> &[(Instant, Event)] {
        &self.events
    }

    /// Addresses learned by peer exchange so far, in order.
    pub fn learned(&self) -> &[SocketAddr] {
        &self.learned
    }

    /// Counters.
    pub fn stats(&self) -> Stats {
        *self.endpoint.stats()
    }

    /// Bytes of content received and accepted in the first swarm.
    pub fn downloaded(&self) -> u64 {
        self.view().map_or(0, |swarm| swarm.downloaded())
    }

    /// Bytes of content sent in the first swarm.
    pub fn uploaded(&self) -> u64 {
        self.view().map_or(0, |swarm| swarm.uploaded())
    }

    /// Chunks held of the first swarm.
    ///
    /// # Panics
    ///
    /// Where the swarm is closed.
    pub fn held(&self) -> &RangeSet {
        match self.view() {
            Some(swarm) => swarm.held(),
            None => panic!("{} has left the swarm", self.address),
        }
    }

    /// What to fetch of the first swarm.
    pub fn want(&mut self, now: Instant, ranges: Option<&[ChunkRange]>) {
        self.partial = ranges.is_some();
        let Some(key) = self.swarms.first().map(|joined| joined.key) else { return };
        if let Some(mut swarm) = self.endpoint.swarm_mut(key) {
            swarm.want(ranges);
        }
        // What is held already is no event.
        if self.endpoint.swarm(key).is_some_and(|swarm| swarm.is_complete()) {
            self.on_complete(now, key);
        }
    }

    /// What readers of the first swarm wait for.
    pub fn set_windows(&mut self, windows: &[ChunkRange]) {
        if let Some(joined) = self.swarms.first()
            && let Some(mut swarm) = self.endpoint.swarm_mut(joined.key)
        {
            swarm.set_windows(windows);
        }
    }

    /// Keys of the peers of the first swarm whose handshake is complete.
    pub fn peers(&self) -> Vec<PeerKey> {
        self.view().map_or_else(Vec::new, |swarm| swarm.peers().collect())
    }

    /// Addresses of the peers of the first swarm whose handshake is complete.
    pub fn remotes(&self) -> Vec<SocketAddr> {
        self.peers().into_iter().filter_map(|peer| self.endpoint.peer(peer)).map(|stats| stats.remote).collect()
    }

    /// What is known of a peer.
    pub fn peer_stats(&self, peer: PeerKey) -> Option<PeerStats> {
        self.endpoint.peer(peer)
    }

    /// What is known of the peer at an address, where its handshake is complete.
    pub fn peer_at(&self, remote: SocketAddr) -> Option<(PeerKey, PeerStats)> {
        let mut peers = self.peers().into_iter().filter_map(|key| Some((key, self.endpoint.peer(key)?)));
        peers.find(|(_, stats)| stats.remote == remote)
    }

    /// Why the peer at an address went, the first time it did.
    pub fn down_reason(&self, address: SocketAddr) -> Option<Reason> {
        self.events.iter().find_map(|(_, event)| match *event {
            Event::PeerDown { remote, reason, .. } if remote == address => Some(reason),
            _ => None,
        })
    }

    /// Addresses that were named as bad.
    pub fn blamed(&self) -> impl Iterator<Item = (SocketAddr, Reason)> {
        self.events.iter().filter_map(|(_, event)| match *event {
            Event::PeerDown { remote, reason: reason @ (Reason::Corrupt | Reason::Misbehaved), .. } => {
                Some((remote, reason))
            }
            _ => None,
        })
    }

    /// How often a peer at an address came up.
    pub fn times_up(&self, address: SocketAddr) -> usize {
        let up = |event: &Event| matches!(*event, Event::PeerUp { remote, .. } if remote == address);
        self.events.iter().filter(|(_, event)| up(event)).count()
    }

    /// What the store of the first swarm went through.
    pub fn ledger(&self) -> Option<&Ledger> {
        self.swarms.first()?.ledger.as_deref()
    }

    /// Datagrams a run of transmissions had on average.
    pub fn mean_run(&self) -> f64 {
        self.run_datagrams as f64 / self.runs.max(1) as f64
    }

    fn view(&self) -> Option<crate::Swarm<'_>> {
        self.endpoint.swarm(self.swarms.first()?.key)
    }

    fn set_timer(&mut self, at: Instant, timer: Timer) {
        self.timer_number += 1;
        self.timers.push(Reverse((at, self.timer_number, timer)));
    }

    fn due_by(&self, now: Instant) -> bool {
        self.endpoint.poll_timeout().is_some_and(|at| at <= self.local(now))
    }

    fn drain_events(&mut self, now: Instant) -> bool {
        let mut any = false;
        if let Some(until) = &mut self.hold_until {
            *until = now + Duration::from_millis(1);
            return any;
        }
        while let Some(event) = self.endpoint.poll_event() {
            any = true;
            self.on_event(now, event);
        }
        any
    }

    fn on_event(&mut self, now: Instant, event: Event) {
        self.events.push((now, event));
        match event {
            Event::PeerUp { remote, .. } => self.accounts.entry(remote).or_default().proven = true,
            Event::PeerDown { swarm, remote, .. } => {
                if let Some(after) = self.redial
                    && let Some(at) = self.swarms.iter().position(|joined| joined.key == swarm && joined.open)
                    && self.swarms[at].completed.is_none()
                {
                    self.set_timer(now + after, Timer::Connect(at, remote));
                }
            }
            Event::PeersLearned { swarm } => self.learn(now, swarm),
            Event::Complete { swarm } => self.on_complete(now, swarm),
            _ => {}
        }
    }

    fn learn(&mut self, now: Instant, swarm: SwarmKey) {
        let local = self.local(now);
        let mut room = [self.address; 16];
        if !self.follow_pex {
            return;
        }
        loop {
            let taken = self.endpoint.swarm_mut(swarm).map_or(0, |mut swarm| swarm.take_learned(&mut room));
            for &address in &room[..taken] {
                self.learned.push(address);
                if self.endpoint.connect(local, swarm, address).is_ok() {
                    self.accounts.entry(address).or_default().proven = true;
                }
            }
            if taken < room.len() {
                break;
            }
        }
    }

    /// Reads everything back.
    fn on_complete(&mut self, now: Instant, key: SwarmKey) {
        let Some(at) = self.swarms.iter().position(|joined| joined.key == key) else { return };
        let (address, content) = (self.address, Arc::clone(&self.swarms[at].content));
        let mut buffer = vec![0; content.metadata().chunk_size as usize];
        if let Some(mut swarm) = self.endpoint.swarm_mut(key) {
            for chunk in 0..content.chunks() {
                match swarm.read(chunk, &mut buffer) {
                    Ok(Read::Ready(len)) => {
                        assert!(buffer[..len] == *content.chunk(chunk), "{address} has chunk {chunk} wrong");
                    }
                    Ok(Read::Pending) => {}
                    Ok(Read::Missing) if self.partial => {}
                    other => panic!("{address} is complete, but chunk {chunk} reads {other:?}"),
                }
            }
        }
        if !self.partial {
            self.swarms[at].completed.get_or_insert(now);
        }
    }

    /// What the stores owe is due some time later.
    fn collect_debts(&mut self, now: Instant) {
        for at in 0..self.swarms.len() {
            let owed = self.swarms[at].ledger.as_ref().map_or_else(Vec::new, |ledger| ledger.take());
            let due = now + self.swarms[at].latency;
            for owed in owed {
                self.set_timer(due, Timer::Store(at, owed));
            }
        }
    }

    fn on_timer(&mut self, now: Instant, timer: Timer) {
        match timer {
            Timer::Connect(swarm, remote) => {
                if self.connect_in(now, swarm, remote) == Err(ConnectError::TooManyPeers)
                    && let Some(after) = self.redial
                {
                    self.set_timer(now + after, timer);
                }
            }
            Timer::Store(swarm, owed) => {
                let done = match owed {
                    Owed::Read(chunk) => StoreDone::Readable(ChunkRange::single(chunk)),
                    Owed::Write(chunk) => StoreDone::Written(ChunkRange::single(chunk)),
                    Owed::Room => StoreDone::Room,
                };
                let joined = &self.swarms[swarm];
                if joined.open {
                    self.endpoint.handle_store(self.local(now), joined.key, done);
                }
            }
        }
    }

    /// RFC 7574 §12.1.1: "PPSPP does not send back much more data than it received, unless it knows it is talking to a
    /// live peer." Ours sends no more at all.
    fn check_accounts(&mut self, now: Instant) {
        for remote in self.unsettled.drain(..) {
            let Some(account) = self.accounts.get(&remote) else { continue };
            assert!(
                !self.check_proof || account.proven || account.sent <= account.received,
                "{} at {} s sent {} bytes to {remote}, which sent {} and has not proven to be there",
                self.address,
                secs(now),
                account.sent,
                account.received,
            );
        }
    }
}

impl Node for Peer {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn handle(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        self.accounts.entry(from).or_default().received += datagram.len() as u64;
        self.endpoint.handle(self.local(now), [Datagrams::one(from, datagram)]);
    }

    fn handle_batch(&mut self, now: Instant, batch: &[Arrival]) {
        // As a socket with GRO does: datagrams of one sender and length in a row come as one.
        self.gathered.clear();
        let mut pieces: Vec<(SocketAddr, usize, usize, usize)> = Vec::with_capacity(batch.len());
        let mut open = false;
        for arrival in batch {
            self.accounts.entry(arrival.source).or_default().received += arrival.bytes.len() as u64;
            let start = self.gathered.len();
            self.gathered.extend_from_slice(&arrival.bytes);
            match pieces.last_mut() {
                Some((from, _, end, stride))
                    if open
                        && *from == arrival.source
                        && arrival.bytes.len() <= *stride
                        && !arrival.bytes.is_empty() =>
                {
                    *end += arrival.bytes.len();
                    open = arrival.bytes.len() == *stride;
                }
                _ => {
                    pieces.push((arrival.source, start, start + arrival.bytes.len(), arrival.bytes.len()));
                    open = true;
                }
            }
        }
        let gathered = &self.gathered;
        let datagrams = pieces.iter().map(|&(remote, start, end, stride)| Datagrams {
            remote,
            data: &gathered[start..end],
            stride,
        });
        self.endpoint.handle(now + self.skew, datagrams);
    }

    fn handle_timeout(&mut self, now: Instant) {
        while let Some(&Reverse((at, _, timer))) = self.timers.peek() {
            if at > now {
                break;
            }
            self.timers.pop();
            self.on_timer(now, timer);
        }
        self.endpoint.handle_timeout(self.local(now));
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut Outbox) {
        let local = self.local(now);
        if self.events_first {
            self.drain_events(now);
        }
        let mut buffer = out.take_buffer(1 << 17);
        loop {
            let due = self.due_by(now);
            let Some(transmit) = self.endpoint.poll_transmit(local, self.segments, &mut buffer) else { break };
            assert!(due, "{} at {} s sends something, but poll_timeout() did not say so", self.address, secs(now));
            let run = &buffer[..transmit.len];
            let size = transmit.segment_size.map_or(transmit.len, NonZeroUsize::get);
            let datagrams = run.len().div_ceil(size.max(1));
            assert!(!run.is_empty(), "{} sends an empty run", self.address);
            assert!(
                transmit.segment_size.is_none() || datagrams > 1,
                "{} names a segment size for one datagram",
                self.address
            );
            assert!(
                datagrams <= self.segments.get(),
                "{} sends {datagrams} datagrams where {} are allowed",
                self.address,
                self.segments
            );
            self.runs += 1;
            self.run_datagrams += datagrams as u64;
            for datagram in run.chunks(size) {
                out.send(transmit.destination, datagram);
            }
            self.accounts.entry(transmit.destination).or_default().sent += run.len() as u64;
            self.unsettled.push(transmit.destination);
        }
        out.buffer = buffer;
        let due = self.due_by(now);
        let waited = self.drain_events(now);
        assert!(
            !waited || due,
            "{} at {} s had events waiting, but poll_timeout() did not say so: {:?}",
            self.address,
            secs(now),
            self.events.last(),
        );
        self.check_accounts(now);
        self.collect_debts(now);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        // Back on the world's clock, where nothing is due before the world began.
        let endpoint = self.endpoint.poll_timeout().map(|at| {
            let since = at.saturating_since(Instant::from_micros(0));
            Instant::from_micros(0) + since.saturating_sub(self.skew)
        });
        // Events that nobody takes would be due all the time; an embedder that does not take them looks in now and then.
        let endpoint = match self.hold_until {
            Some(until) => endpoint.map(|at| at.max(until)),
            None => endpoint,
        };
        let timer = self.timers.peek().map(|Reverse((at, ..))| *at);
        [endpoint, timer].into_iter().flatten().min()
    }
}

/// The key of a peer that no endpoint knows: for policies that are tried without one.
pub fn peer_key(n: u64) -> PeerKey {
    PeerKey(n)
}

impl fmt::Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl World {
    /// A [`Peer`], to look at.
    ///
    /// # Panics
    ///
    /// Where the node is gone or not a `Peer`.
    pub fn peer(&self, id: NodeId) -> &Peer {
        self.node(id)
    }

    /// Connects one [`Peer`] to another node, in its first swarm.
    ///
    /// # Panics
    ///
    /// Where it is refused.
    pub fn connect(&mut self, from: NodeId, to: NodeId) -> PeerKey {
        let remote = self.address(to);
        let key = self.act(from, |peer: &mut Peer, now| peer.connect(now, remote));
        match key {
            Ok(key) => key,
            Err(error) => panic!("{}: cannot connect: {error}", self.context()),
        }
    }
}
