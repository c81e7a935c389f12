//! Nodes in a network in virtual time.
//!
//! Time jumps exactly to the next datagram or the earliest `poll_timeout`, and nothing is called in between: a machine that
//! forgets to say when it is due stands still here as it would with a real driver.

use alloc::{boxed::Box, collections::BinaryHeap, vec::Vec};
use core::{any::Any, cmp::Reverse, fmt, mem, net::SocketAddr, time::Duration};

use ppsp_core::Instant;

use super::{Access, Arrival, LinkConfig, MAX_UDP, Netem, Port, Trunk};

/// Something with an address that sends and receives datagrams.
pub trait Node: Any {
    /// Where it is reached when it is added to a world.
    fn address(&self) -> SocketAddr;

    /// A datagram has arrived.
    fn handle(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]);

    /// Datagrams that arrived at the same moment, in order.
    fn handle_batch(&mut self, now: Instant, batch: &[Arrival]) {
        for arrival in batch {
            self.handle(now, arrival.source, &arrival.bytes);
        }
    }

    /// Time has come to `now`, which is not before what [`poll_timeout`](Self::poll_timeout) said.
    fn handle_timeout(&mut self, now: Instant);

    /// Gives all that waits to be sent.
    fn poll_transmit(&mut self, now: Instant, out: &mut Outbox);

    /// When it wants to be called.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// Where a [`Node`] puts what it sends.
#[derive(Debug, Default)]
pub struct Outbox {
    datagrams: Vec<Outgoing>,
    spare: Vec<Vec<u8>>,
    /// For nodes to write in, one for all of them: it stays in the processor's cache.
    pub(super) buffer: Vec<u8>,
}

#[derive(Debug)]
struct Outgoing {
    source: Option<SocketAddr>,
    destination: SocketAddr,
    bytes: Vec<u8>,
}

impl Outbox {
    /// Sends from the node's own address.
    pub fn send(&mut self, destination: SocketAddr, bytes: &[u8]) {
        self.push(None, destination, bytes);
    }

    /// Sends with a source address that is not the node's own.
    pub fn send_as(&mut self, source: SocketAddr, destination: SocketAddr, bytes: &[u8]) {
        self.push(Some(source), destination, bytes);
    }

    /// A buffer of at least this length, to be put back.
    pub(super) fn take_buffer(&mut self, len: usize) -> Vec<u8> {
        let mut buffer = mem::take(&mut self.buffer);
        buffer.resize(buffer.len().max(len), 0);
        buffer
    }

    fn push(&mut self, source: Option<SocketAddr>, destination: SocketAddr, bytes: &[u8]) {
        let mut copy = self.spare.pop().unwrap_or_default();
        copy.clear();
        copy.extend_from_slice(bytes);
        self.datagrams.push(Outgoing { source, destination, bytes: copy });
    }
}

/// Names a node of a world.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct NodeId(pub(super) u32);

/// A datagram that is being sent, as a [`Tap`] sees it.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// When.
    pub now: Instant,
    /// Who really sends it.
    pub node: NodeId,
    /// Whom it says it is from.
    pub source: SocketAddr,
    /// Whom it is for.
    pub destination: SocketAddr,
    /// UDP payload.
    pub bytes: &'a [u8],
}

/// What a [`Tap`] does with a datagram.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Nothing: the network decides.
    Pass,
    /// It is lost.
    Drop,
}

/// Sees every datagram that is sent, and may lose it.
pub type Tap = Box<dyn FnMut(&Sight<'_>) -> Verdict>;

/// Why [`World::run_until`] gave up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Timeout {
    /// The limit was reached.
    Limit(Instant),
    /// No datagram is on the way and nobody waits for anything: nothing can happen any more.
    Idle(Instant),
}

impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(at) => write!(f, "the limit was reached at {} s", secs(*at)),
            Self::Idle(at) => write!(f, "nothing can happen any more since {} s", secs(*at)),
        }
    }
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Steps {
    /// Batches of datagrams handed to nodes.
    pub batches: u64,
    /// Calls of `handle_timeout`.
    pub timeouts: u64,
    /// Calls of `handle_timeout` after which nothing was sent and the next one was due at once.
    pub idle_timeouts: u64,
}

/// Nodes, network and time.
pub struct World {
    seed: u64,
    now: Instant,
    net: Netem,
    nodes: Vec<Slot>,
    /// Who is plugged in at each port.
    ports: Vec<NodeId>,
    wakes: BinaryHeap<Reverse<(Instant, NodeId)>>,
    outbox: Outbox,
    batch: Vec<Arrival>,
    tap: Option<Tap>,
    trace: Trace,
    steps: Steps,
    at_this_moment: u32,
}

struct Slot {
    node: Option<Box<dyn Node>>,
    port: Port,
    wake: Option<Instant>,
    timeouts: u64,
}

/// Calls of `handle_timeout` without anything to show for it after which a node is live-locked.
const LIVE_LOCK: u32 = 1000;
/// Deliveries and timeouts at one moment after which time does not pass any more.
const STANDSTILL: u32 = 1_000_000;

impl World {
    /// An empty world at time zero.
    pub fn new(seed: u64, link: LinkConfig) -> Self {
        Self {
            seed,
            now: Instant::from_micros(0),
            net: Netem::new(seed, link),
            nodes: Vec::new(),
            ports: Vec::new(),
            wakes: BinaryHeap::new(),
            outbox: Outbox::default(),
            batch: Vec::new(),
            tap: None,
            trace: Trace::default(),
            steps: Steps::default(),
            at_this_moment: 0,
        }
    }

    /// The seed of all chance in it.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Adds a node.
    pub fn add(&mut self, node: impl Node, access: Access) -> NodeId {
        let port = self.net.plug(node.address(), access);
        let id = NodeId(self.nodes.len() as u32);
        self.nodes.push(Slot { node: Some(Box::new(node)), port, wake: None, timeouts: 0 });
        debug_assert_eq!(port.0 as usize, self.ports.len(), "ports are plugged in one after another");
        self.ports.push(id);
        self.settle(id);
        id
    }

    /// Takes a node out without a word, as a crash does.
    pub fn remove(&mut self, id: NodeId) -> Option<Box<dyn Node>> {
        let slot = &mut self.nodes[id.0 as usize];
        slot.wake = None;
        self.net.unplug(slot.port);
        slot.node.take()
    }

    /// Nodes added so far, those that are gone included.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Is the node there?
    pub fn contains(&self, id: NodeId) -> bool {
        self.nodes[id.0 as usize].node.is_some()
    }

    /// A node, by its type.
    ///
    /// # Panics
    ///
    /// Where it is gone or of another type.
    pub fn node<N: Node>(&self, id: NodeId) -> &N {
        let node = self.nodes[id.0 as usize].node.as_deref().expect("node is gone");
        (node as &dyn Any).downcast_ref().expect("node of another type")
    }

    /// Does something to a node, then lets it send what it has to.
    ///
    /// # Panics
    ///
    /// Where it is gone or of another type.
    pub fn act<N: Node, R>(&mut self, id: NodeId, act: impl FnOnce(&mut N, Instant) -> R) -> R {
        let now = self.now;
        let node = self.nodes[id.0 as usize].node.as_deref_mut().expect("node is gone");
        let result = act((node as &mut dyn Any).downcast_mut().expect("node of another type"), now);
        self.settle(id);
        result
    }

    /// The network, to look at.
    pub fn net(&self) -> &Netem {
        &self.net
    }

    /// The address of a node.
    pub fn address(&self, id: NodeId) -> SocketAddr {
        self.net.address(self.port(id))
    }

    /// The node's place in the network.
    pub fn port(&self, id: NodeId) -> Port {
        self.nodes[id.0 as usize].port
    }

    /// Sets the links between two nodes, in both directions.
    pub fn set_path(&mut self, a: NodeId, b: NodeId, config: LinkConfig) {
        let (a, b) = (self.port(a), self.port(b));
        self.net.set_path(a, b, config);
    }

    /// Sets the link in one direction.
    pub fn set_link(&mut self, from: NodeId, to: NodeId, config: LinkConfig) {
        let (from, to) = (self.port(from), self.port(to));
        self.net.set_link(from, to, config);
    }

    /// Adds a bottleneck that several links may share: bytes a second, and bytes that may wait.
    pub fn add_trunk(&mut self, rate: u64, queue: usize) -> Trunk {
        self.net.add_trunk(rate, queue)
    }

    /// Lays the link in one direction over a trunk.
    pub fn lay(&mut self, from: NodeId, to: NodeId, trunk: Trunk) {
        let (from, to) = (self.port(from), self.port(to));
        self.net.lay(from, to, trunk);
    }

    /// Sets what all links of a node share.
    pub fn set_access(&mut self, id: NodeId, access: Access) {
        let port = self.port(id);
        self.net.set_access(port, access);
    }

    /// Gives a node another address, without its knowledge.
    pub fn rebind(&mut self, id: NodeId, address: SocketAddr) {
        let port = self.port(id);
        self.net.rebind(port, address);
    }

    /// Lets `tap` see every datagram that is sent from now on.
    pub fn tap(&mut self, tap: impl FnMut(&Sight<'_>) -> Verdict + 'static) {
        self.tap = Some(Box::new(tap));
    }

    /// How often what happened.
    pub fn steps(&self) -> Steps {
        self.steps
    }

    /// Calls of `handle_timeout` of one node.
    pub fn timeouts(&self, id: NodeId) -> u64 {
        self.nodes[id.0 as usize].timeouts
    }

    /// A hash of all datagrams sent so far: when, from, to, bytes. Two runs with the same seed have the same.
    pub fn trace_hash(&self) -> u64 {
        self.trace.0
    }

    /// The next moment at which anything happens.
    pub fn poll_timeout(&mut self) -> Option<Instant> {
        // Forget alarms that were set anew since.
        while let Some(&Reverse((at, id))) = self.wakes.peek() {
            if self.nodes[id.0 as usize].wake == Some(at) {
                break;
            }
            self.wakes.pop();
        }
        let wake = self.wakes.peek().map(|Reverse((at, _))| *at);
        [self.net.poll_timeout(), wake].into_iter().flatten().min()
    }

    /// Lets everything happen that happens at the next moment, but not beyond `limit`. False where nothing does by then.
    pub fn step(&mut self, limit: Instant) -> bool {
        let Some(at) = self.poll_timeout().filter(|at| *at <= limit) else { return false };
        if at > self.now {
            self.now = at;
            self.at_this_moment = 0;
        }
        self.at_this_moment += 1;
        assert!(self.at_this_moment < STANDSTILL, "{}: time stands still", self.context());
        let mut batch = mem::take(&mut self.batch);
        while let Some(arrival) = self.net.poll_deliver(self.now) {
            if batch.last().is_some_and(|last| last.port != arrival.port) {
                self.deliver(&mut batch);
            }
            batch.push(arrival);
        }
        self.deliver(&mut batch);
        self.batch = batch;
        while let Some(&Reverse((at, id))) = self.wakes.peek() {
            if at > self.now {
                break;
            }
            self.wakes.pop();
            let slot = &mut self.nodes[id.0 as usize];
            if slot.wake != Some(at) {
                continue;
            }
            slot.wake = None;
            if let Some(node) = &mut slot.node {
                self.steps.timeouts += 1;
                slot.timeouts += 1;
                node.handle_timeout(self.now);
                self.settle(id);
            }
        }
        true
    }

    /// Runs until `done`, asked after each moment at which something happened. Gives the time of that moment.
    pub fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool, limit: Duration) -> Result<Instant, Timeout> {
        let limit = self.now + limit;
        loop {
            if done(self) {
                return Ok(self.now);
            }
            if !self.step(limit) {
                return Err(match self.poll_timeout() {
                    Some(_) => {
                        self.now = limit;
                        Timeout::Limit(limit)
                    }
                    None => Timeout::Idle(self.now),
                });
            }
        }
    }

    /// Runs for so long.
    pub fn run_for(&mut self, time: Duration) {
        self.run_to(self.now + time);
    }

    /// Runs up to and including `until`.
    pub fn run_to(&mut self, until: Instant) {
        while self.step(until) {}
        self.now = self.now.max(until);
    }

    /// Seed and time, for messages.
    pub fn context(&self) -> impl fmt::Display + use<> {
        struct Context(u64, Instant);
        impl fmt::Display for Context {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "seed {} at {} s", self.0, secs(self.1))
            }
        }
        Context(self.seed, self.now)
    }

    fn deliver(&mut self, batch: &mut Vec<Arrival>) {
        let Some(first) = batch.first() else { return };
        let id = self.ports.get(first.port.0 as usize).copied();
        if let Some(id) = id
            && let Some(node) = &mut self.nodes[id.0 as usize].node
        {
            self.steps.batches += 1;
            node.handle_batch(self.now, batch);
            self.settle(id);
        }
        for arrival in batch.drain(..) {
            self.net.recycle(arrival.bytes);
        }
    }

    /// Lets a node send, and calls it as long as it is due.
    fn settle(&mut self, id: NodeId) {
        let mut in_vain = 0;
        loop {
            let sent = self.transmit(id);
            let now = self.now;
            let slot = &mut self.nodes[id.0 as usize];
            let Some(node) = &mut slot.node else { return };
            let due = node.poll_timeout();
            if due.is_none_or(|due| due > now) {
                if slot.wake != due {
                    slot.wake = due;
                    self.wakes.extend(due.map(|at| Reverse((at, id))));
                }
                return;
            }
            in_vain = if sent { 0 } else { in_vain + 1 };
            if in_vain > 1 {
                self.steps.idle_timeouts += 1;
            }
            assert!(
                in_vain < LIVE_LOCK,
                "{}: node {} at {} is live-locked: it is due at {} s and does nothing",
                self.context(),
                id.0,
                self.address(id),
                due.map_or(f64::NAN, secs),
            );
            self.steps.timeouts += 1;
            slot.timeouts += 1;
            node.handle_timeout(now);
        }
    }

    fn transmit(&mut self, id: NodeId) -> bool {
        let slot = &mut self.nodes[id.0 as usize];
        let Some(node) = &mut slot.node else { return false };
        node.poll_transmit(self.now, &mut self.outbox);
        let own = self.net.address(slot.port);
        let port = slot.port;
        let mut datagrams = mem::take(&mut self.outbox.datagrams);
        let any = !datagrams.is_empty();
        for Outgoing { source, destination, bytes } in datagrams.drain(..) {
            let source = source.unwrap_or(own);
            assert!(bytes.len() <= MAX_UDP, "{}: node {} sends {} bytes at once", self.context(), id.0, bytes.len());
            self.trace.add(self.now, source, destination, &bytes);
            let verdict = match &mut self.tap {
                Some(tap) => tap(&Sight { now: self.now, node: id, source, destination, bytes: &bytes }),
                None => Verdict::Pass,
            };
            if verdict == Verdict::Pass {
                self.net.send(self.now, port, source, destination, &bytes);
            }
            self.outbox.spare.push(bytes);
        }
        self.outbox.datagrams = datagrams;
        any
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("seed", &self.seed).field("now", &self.now).finish_non_exhaustive()
    }
}

/// Seconds since the world began.
pub fn secs(at: Instant) -> f64 {
    at.as_micros() as f64 / 1e6
}

/// A running hash. Not for enemies: for telling whether two runs are the same.
#[derive(Debug)]
struct Trace(u64);

impl Default for Trace {
    fn default() -> Self {
        Self(0x9e37_79b9_7f4a_7c15)
    }
}

impl Trace {
    fn add(&mut self, now: Instant, source: SocketAddr, destination: SocketAddr, bytes: &[u8]) {
        self.word(now.as_micros());
        for address in [source, destination] {
            match address.ip() {
                core::net::IpAddr::V4(ip) => self.word(u64::from(u32::from(ip))),
                core::net::IpAddr::V6(ip) => {
                    self.word((u128::from(ip) >> 64) as u64);
                    self.word(u128::from(ip) as u64);
                }
            }
            self.word(u64::from(address.port()));
        }
        self.word(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.word(u64::from_le_bytes(*word));
        }
        for &byte in rest {
            self.word(u64::from(byte));
        }
    }

    fn word(&mut self, word: u64) {
        // Folded multiplication, as in wyhash.
        let product = u128::from(self.0 ^ word).wrapping_mul(0xd6e8_feb8_6659_fd93_a076_1d64_78bd_642f);
        self.0 = (product ^ (product >> 64)) as u64 ^ self.0.rotate_left(23);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 6778))
    }

    /// Says something every `period`, answers what it hears if told to.
    struct Clock {
        address: SocketAddr,
        to: SocketAddr,
        period: Duration,
        next: Option<Instant>,
        due: bool,
        stuck: bool,
        heard: Vec<Instant>,
    }

    impl Node for Clock {
        fn address(&self) -> SocketAddr {
            self.address
        }
        fn handle(&mut self, now: Instant, _: SocketAddr, _: &[u8]) {
            self.heard.push(now);
        }
        fn handle_timeout(&mut self, now: Instant) {
            assert!(self.next.is_some_and(|next| now == next), "called at the very moment");
            if !self.stuck {
                self.due = true;
                self.next = Some(now + self.period);
            }
        }
        fn poll_transmit(&mut self, _: Instant, out: &mut Outbox) {
            if mem::take(&mut self.due) {
                out.send(self.to, b"tick");
            }
        }
        fn poll_timeout(&self) -> Option<Instant> {
            self.next
        }
    }

    fn clock(n: u8, to: u8, period: u64) -> Clock {
        Clock {
            address: addr(n),
            to: addr(to),
            period: Duration::from_millis(period),
            next: (period > 0).then(|| Instant::from_micros(period * 1000)),
            due: false,
            stuck: false,
            heard: Vec::new(),
        }
    }

    #[test]
    fn time_jumps_exactly() {
        let mut world = World::new(1, LinkConfig::default());
        let a = world.add(clock(1, 2, 30), Access::UNLIMITED);
        let b = world.add(clock(2, 1, 0), Access::UNLIMITED);
        world.run_for(Duration::from_millis(100));
        let heard: Vec<_> = world.node::<Clock>(b).heard.iter().map(|at| at.as_micros()).collect();
        assert_eq!(heard, [40_000, 70_000, 100_000]);
        assert_eq!(world.steps(), Steps { batches: 3, timeouts: 3, idle_timeouts: 0 });
        let at = world.run_until(|w| w.node::<Clock>(b).heard.len() == 5, Duration::from_secs(1));
        assert_eq!(at, Ok(Instant::from_micros(160_000)));
        let limit = world.run_until(|_| false, Duration::from_millis(1));
        assert_eq!(limit, Err(Timeout::Limit(Instant::from_micros(161_000))));
        world.remove(a);
        assert_eq!(world.run_until(|_| false, Duration::MAX), Err(Timeout::Idle(Instant::from_micros(161_000))));
    }

    #[test]
    fn traces_tell_runs_apart() {
        let run = |period, bytes_of: u8| {
            let mut world = World::new(1, LinkConfig::default());
            world.add(clock(1, bytes_of, period), Access::UNLIMITED);
            world.run_for(Duration::from_secs(1));
            world.trace_hash()
        };
        assert_eq!(run(10, 2), run(10, 2));
        assert_ne!(run(10, 2), run(11, 2));
        assert_ne!(run(10, 2), run(10, 3));
    }

    #[test]
    #[should_panic(expected = "seed 7 at 0.03 s: node 0 at 10.0.0.1:6778 is live-locked")]
    fn a_live_lock_is_found() {
        let mut world = World::new(7, LinkConfig::default());
        world.add(Clock { stuck: true, ..clock(1, 2, 30) }, Access::UNLIMITED);
        world.run_for(Duration::from_secs(1));
    }
}
