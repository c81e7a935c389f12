//! A network of datagrams in virtual time: who hears what, and when.
//!
//! Sans-IO like all else: [`Netem::send`] takes a datagram in, [`Netem::poll_deliver`] gives it out at the other end,
//! [`Netem::poll_timeout`] says when. Chance comes from the seed alone, one stream per directed link, so that
//! what happens on one link does not change what happens on another.
//!
//! A datagram takes this way: the sender's **uplink** (a rate and a queue, shared by all that it sends), the **link** of the
//! pair (rate and queue, loss, delay, jitter, reordering, duplication, MTU), the receiver's **downlink** (shared by all
//! that it is sent). Links may be laid over a **trunk**: one rate and one queue for all of them, in the place of their own.

use alloc::{
    collections::{BTreeMap, BinaryHeap},
    vec::Vec,
};
use core::{cmp::Reverse, net::SocketAddr, time::Duration};

use ppsp_core::Instant;

use super::Chance;

/// A place in the network where one node is plugged in.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Port(pub(super) u32);

/// A rate with one queue that several links share: the bottleneck at which their flows meet.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Trunk(u32);

/// The way from one node to another, in that direction. Chances are per million datagrams.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LinkConfig {
    /// Time on the way.
    pub delay: Duration,
    /// Additional time on the way, evenly from zero to this. Order is kept.
    pub jitter: Duration,
    /// Datagrams lost.
    pub loss: u32,
    /// Datagrams that arrive twice.
    pub duplicate: u32,
    /// Datagrams held back by up to [`reorder_by`](Self::reorder_by), so that later ones overtake them.
    pub reorder: u32,
    /// How far a reordered datagram falls back.
    pub reorder_by: Duration,
    /// Bytes a second, headers included; `None`: no limit.
    pub rate: Option<u64>,
    /// Bytes that may wait for the rate; what comes beyond is dropped.
    pub queue: usize,
    /// Largest datagram that passes, in bytes of UDP payload.
    pub mtu: usize,
}

impl LinkConfig {
    /// A link that loses nothing and takes `delay`.
    pub const fn perfect(delay: Duration) -> Self {
        Self {
            delay,
            jitter: Duration::ZERO,
            loss: 0,
            duplicate: 0,
            reorder: 0,
            reorder_by: Duration::from_millis(10),
            rate: None,
            queue: 256 * 1024,
            mtu: MAX_UDP,
        }
    }

    /// With jitter.
    #[must_use]
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// With losses, per million.
    #[must_use]
    pub const fn loss(mut self, per_million: u32) -> Self {
        self.loss = per_million;
        self
    }

    /// With duplicates, per million.
    #[must_use]
    pub const fn duplicate(mut self, per_million: u32) -> Self {
        self.duplicate = per_million;
        self
    }

    /// With `per_million` held back by up to `by`.
    #[must_use]
    pub const fn reorder(mut self, per_million: u32, by: Duration) -> Self {
        self.reorder = per_million;
        self.reorder_by = by;
        self
    }

    /// With a rate in bytes a second and a queue of so many bytes before it.
    #[must_use]
    pub const fn rate(mut self, rate: u64, queue: usize) -> Self {
        self.rate = Some(rate);
        self.queue = queue;
        self
    }

    /// With a largest datagram.
    #[must_use]
    pub const fn mtu(mut self, mtu: usize) -> Self {
        self.mtu = mtu;
        self
    }
}

impl Default for LinkConfig {
    /// 10 ms and nothing else.
    fn default() -> Self {
        Self::perfect(Duration::from_millis(10))
    }
}

/// How a node is connected to the network: what all its links share.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Access {
    /// Bytes a second out; `None`: no limit.
    pub up: Option<u64>,
    /// Bytes a second in; `None`: no limit.
    pub down: Option<u64>,
    /// Bytes that may wait for each of the two; `None`: a quarter of a second's worth, at least 64 KiB.
    pub queue: Option<usize>,
}

impl Access {
    /// No limit.
    pub const UNLIMITED: Self = Self { up: None, down: None, queue: None };

    /// The same rate both ways.
    pub const fn both(rate: u64) -> Self {
        Self { up: Some(rate), down: Some(rate), queue: None }
    }

    /// Only what goes out is limited.
    pub const fn up(rate: u64) -> Self {
        Self { up: Some(rate), down: None, queue: None }
    }
}

/// What came of the datagrams of one link.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LinkStats {
    /// Datagrams put in.
    pub sent: u64,
    /// Bytes of UDP payload put in.
    pub sent_bytes: u64,
    /// Datagrams that came out, duplicates included.
    pub delivered: u64,
    /// Bytes of UDP payload that came out.
    pub delivered_bytes: u64,
    /// Lost by chance.
    pub lost: u64,
    /// Dropped at a full queue: uplink, link or downlink.
    pub overflowed: u64,
    /// Dropped because larger than the link's MTU.
    pub oversized: u64,
    /// Sent twice.
    pub duplicated: u64,
    /// Held back.
    pub reordered: u64,
    /// Dropped because the receiver was unplugged or has another address now.
    pub unreachable: u64,
    /// The most bytes that a datagram of the link ever found waiting in the link's queue or its trunk's, itself included.
    pub longest_queue: usize,
}

/// A datagram that has arrived.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Arrival {
    /// Where.
    pub port: Port,
    /// What it says to be its sender.
    pub source: SocketAddr,
    /// Whom it is for.
    pub destination: SocketAddr,
    /// UDP payload.
    pub bytes: Vec<u8>,
}

/// Largest UDP payload over IPv4.
pub const MAX_UDP: usize = 65_507;
/// Bytes of IP and UDP header that each datagram costs on a link with a rate.
pub const HEADERS: usize = 28;

/// The network.
#[derive(Debug)]
pub struct Netem {
    seed: u64,
    default_link: LinkConfig,
    ports: Vec<PortState>,
    addresses: BTreeMap<SocketAddr, Port>,
    links: Vec<Link>,
    trunks: Vec<Pipe>,
    queue: BinaryHeap<Reverse<Due>>,
    packets: Vec<Option<Packet>>,
    free: Vec<u32>,
    spare: Vec<Vec<u8>>,
    sequence: u64,
    unroutable: u64,
}

impl Netem {
    /// An empty network, whose links are `link` where nothing else is said.
    pub fn new(seed: u64, link: LinkConfig) -> Self {
        Self {
            seed,
            default_link: link,
            ports: Vec::new(),
            addresses: BTreeMap::new(),
            links: Vec::new(),
            trunks: Vec::new(),
            queue: BinaryHeap::new(),
            packets: Vec::new(),
            free: Vec::new(),
            spare: Vec::new(),
            sequence: 0,
            unroutable: 0,
        }
    }

    /// Plugs a node in.
    pub fn plug(&mut self, address: SocketAddr, access: Access) -> Port {
        let port = Port(self.ports.len() as u32);
        let (up, down) = (Pipe::default(), Pipe::default());
        self.ports.push(PortState { address, up, down, plugged: true, listed: false, links: BTreeMap::new() });
        self.list(port, address);
        self.set_access(port, access);
        port
    }

    /// Takes a node out: nothing reaches it any more, not even what is on the way.
    pub fn unplug(&mut self, port: Port) {
        let state = &mut self.ports[port.0 as usize];
        state.plugged = false;
        self.unlist(port);
    }

    /// Gives a node another address, as a NAT does that forgot it. What is on the way to the old one is lost.
    pub fn rebind(&mut self, port: Port, address: SocketAddr) {
        self.unlist(port);
        self.list(port, address);
    }

    /// The present address of a node.
    pub fn address(&self, port: Port) -> SocketAddr {
        self.ports[port.0 as usize].address
    }

    /// Sets what all links of a node share.
    pub fn set_access(&mut self, port: Port, access: Access) {
        let queue = |rate: Option<u64>| {
            access.queue.unwrap_or_else(|| rate.map_or(0, |rate| (rate as usize / 4).max(64 * 1024)))
        };
        let state = &mut self.ports[port.0 as usize];
        (state.up.rate, state.up.queue) = (access.up, queue(access.up));
        (state.down.rate, state.down.queue) = (access.down, queue(access.down));
    }

    /// Sets the link in one direction.
    pub fn set_link(&mut self, from: Port, to: Port, config: LinkConfig) {
        let index = self.link_index(from, to);
        let link = &mut self.links[index];
        link.config = config;
        (link.pipe.rate, link.pipe.queue) = (config.rate, config.queue);
    }

    /// Sets the link in both directions.
    pub fn set_path(&mut self, a: Port, b: Port, config: LinkConfig) {
        self.set_link(a, b, config);
        self.set_link(b, a, config);
    }

    /// Adds a trunk of so many bytes a second, headers included, with a queue of so many bytes before it.
    pub fn add_trunk(&mut self, rate: u64, queue: usize) -> Trunk {
        self.trunks.push(Pipe { rate: Some(rate), queue, free_at: 0 });
        Trunk(self.trunks.len() as u32 - 1)
    }

    /// Lays the link in one direction over a trunk, whose rate and queue count instead of the link's. Datagrams enter
    /// the trunk in the order in which they are sent, so the uplinks before it should be without a limit.
    pub fn lay(&mut self, from: Port, to: Port, trunk: Trunk) {
        let index = self.link_index(from, to);
        self.links[index].trunk = Some(trunk);
    }

    /// Bytes that wait for a trunk at this moment.
    pub fn trunk_backlog(&self, trunk: Trunk, now: Instant) -> usize {
        self.trunks[trunk.0 as usize].backlog(nanos(now))
    }

    /// The link in one direction.
    pub fn link_config(&self, from: Port, to: Port) -> LinkConfig {
        self.link(from, to).map_or(self.default_link, |link| link.config)
    }

    /// What came of the datagrams of one link.
    pub fn link_stats(&self, from: Port, to: Port) -> LinkStats {
        self.link(from, to).map_or_else(LinkStats::default, |link| link.stats)
    }

    /// Bytes that wait for a link's own rate at this moment.
    pub fn backlog(&self, from: Port, to: Port, now: Instant) -> usize {
        self.link(from, to).map_or(0, |link| link.pipe.backlog(nanos(now)))
    }

    /// What came of the datagrams of all links together.
    pub fn total(&self) -> LinkStats {
        self.links.iter().fold(LinkStats::default(), |mut sum, link| {
            let s = &link.stats;
            sum.sent += s.sent;
            sum.sent_bytes += s.sent_bytes;
            sum.delivered += s.delivered;
            sum.delivered_bytes += s.delivered_bytes;
            sum.lost += s.lost;
            sum.overflowed += s.overflowed;
            sum.oversized += s.oversized;
            sum.duplicated += s.duplicated;
            sum.reordered += s.reordered;
            sum.unreachable += s.unreachable;
            sum.longest_queue = sum.longest_queue.max(s.longest_queue);
            sum
        })
    }

    /// Datagrams to addresses where nobody is.
    pub fn unroutable(&self) -> u64 {
        self.unroutable
    }

    /// Puts a datagram in. `source` is what the datagram says: the node's own address unless it lies.
    pub fn send(&mut self, now: Instant, from: Port, source: SocketAddr, destination: SocketAddr, bytes: &[u8]) {
        if !self.ports[from.0 as usize].plugged {
            return;
        }
        let size = bytes.len() + HEADERS;
        // The uplink is paid for whether or not anybody is at the other end.
        let departed = self.ports[from.0 as usize].up.enter(nanos(now), size);
        let Some(&to) = self.addresses.get(&destination) else {
            self.unroutable += 1;
            return;
        };
        let index = self.link_index(from, to);
        let link = &mut self.links[index];
        link.stats.sent += 1;
        link.stats.sent_bytes += bytes.len() as u64;
        if bytes.len() > link.config.mtu {
            link.stats.oversized += 1;
            return;
        }
        let Some(departed) = departed else {
            link.stats.overflowed += 1;
            return;
        };
        let pipe = match link.trunk {
            Some(trunk) => &mut self.trunks[trunk.0 as usize],
            None => &mut link.pipe,
        };
        let waiting = pipe.backlog(departed) + size;
        let Some(departed) = pipe.enter(departed, size) else {
            link.stats.overflowed += 1;
            return;
        };
        link.stats.longest_queue = link.stats.longest_queue.max(waiting);
        if link.chance.hits(link.config.loss) {
            link.stats.lost += 1;
            return;
        }
        let copies = if link.chance.hits(link.config.duplicate) {
            link.stats.duplicated += 1;
            2
        } else {
            1
        };
        for _ in 0..copies {
            let arrives = self.links[index].arrival(departed);
            let mut copy = self.spare.pop().unwrap_or_default();
            copy.clear();
            copy.extend_from_slice(bytes);
            let stage = if self.ports[to.0 as usize].down.rate.is_some() { Stage::Downlink } else { Stage::Deliver };
            let packet = Packet { link: index, to, source, destination, bytes: copy };
            self.schedule(arrives, stage, packet);
        }
    }

    /// The next datagram that has arrived by `now`.
    pub fn poll_deliver(&mut self, now: Instant) -> Option<Arrival> {
        while let Some(&Reverse(due)) = self.queue.peek() {
            if due.at > nanos(now) {
                return None;
            }
            self.queue.pop();
            let packet = self.packets[due.slot as usize].take()?;
            self.free.push(due.slot);
            let (link, to) = (&mut self.links[packet.link], packet.to);
            let receiver = &mut self.ports[to.0 as usize];
            if !receiver.listed || receiver.address != packet.destination {
                link.stats.unreachable += 1;
                self.spare.push(packet.bytes);
                continue;
            }
            if due.stage == Stage::Downlink {
                match receiver.down.enter(due.at, packet.bytes.len() + HEADERS) {
                    Some(at) => self.schedule(at, Stage::Deliver, packet),
                    None => {
                        link.stats.overflowed += 1;
                        self.spare.push(packet.bytes);
                    }
                }
                continue;
            }
            link.stats.delivered += 1;
            link.stats.delivered_bytes += packet.bytes.len() as u64;
            let Packet { to, source, destination, bytes, .. } = packet;
            return Some(Arrival { port: to, source, destination, bytes });
        }
        None
    }

    /// Gives the buffer of a datagram back, to be used again.
    pub fn recycle(&mut self, bytes: Vec<u8>) {
        if self.spare.len() < 4096 {
            self.spare.push(bytes);
        }
    }

    /// When to call [`poll_deliver`](Self::poll_deliver).
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.queue.peek().map(|Reverse(due)| Instant::from_micros(due.at.div_ceil(1000)))
    }

    fn link(&self, from: Port, to: Port) -> Option<&Link> {
        let index = *self.ports[from.0 as usize].links.get(&to)?;
        Some(&self.links[index])
    }

    fn link_index(&mut self, from: Port, to: Port) -> usize {
        let (seed, config, links) = (self.seed, self.default_link, &mut self.links);
        *self.ports[from.0 as usize].links.entry(to).or_insert_with(|| {
            links.push(Link {
                config,
                pipe: Pipe { rate: config.rate, queue: config.queue, free_at: 0 },
                trunk: None,
                latest: 0,
                chance: Chance::new(seed, "link", u64::from(from.0) << 32 | u64::from(to.0)),
                stats: LinkStats::default(),
            });
            links.len() - 1
        })
    }

    /// An address leads to a port from now on, and to none that it led to before.
    fn list(&mut self, port: Port, address: SocketAddr) {
        if let Some(before) = self.addresses.insert(address, port) {
            self.ports[before.0 as usize].listed = false;
        }
        let state = &mut self.ports[port.0 as usize];
        (state.address, state.listed) = (address, true);
    }

    fn unlist(&mut self, port: Port) {
        let state = &mut self.ports[port.0 as usize];
        if core::mem::take(&mut state.listed) {
            self.addresses.remove(&state.address);
        }
    }

    fn schedule(&mut self, at: u64, stage: Stage, packet: Packet) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.packets[slot as usize] = Some(packet);
                slot
            }
            None => {
                self.packets.push(Some(packet));
                self.packets.len() as u32 - 1
            }
        };
        self.sequence += 1;
        self.queue.push(Reverse(Due { at, sequence: self.sequence, slot, stage }));
    }
}

#[derive(Debug)]
struct PortState {
    address: SocketAddr,
    up: Pipe,
    down: Pipe,
    plugged: bool,
    /// Its address leads here.
    listed: bool,
    /// Links from here.
    links: BTreeMap<Port, usize>,
}

#[derive(Debug)]
struct Packet {
    link: usize,
    to: Port,
    source: SocketAddr,
    destination: SocketAddr,
    bytes: Vec<u8>,
}

/// Ordered by time, then by the order of sending.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Due {
    at: u64,
    sequence: u64,
    slot: u32,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Stage {
    Downlink,
    Deliver,
}

#[derive(Debug)]
struct Link {
    config: LinkConfig,
    pipe: Pipe,
    trunk: Option<Trunk>,
    latest: u64,
    chance: Chance,
    stats: LinkStats,
}

impl Link {
    /// When a datagram arrives that departed then.
    fn arrival(&mut self, departed: u64) -> u64 {
        let extra = match self.config.jitter.as_nanos() as u64 {
            0 => 0,
            jitter => self.chance.below(jitter),
        };
        let arrives = departed + self.config.delay.as_nanos() as u64 + extra;
        if self.chance.hits(self.config.reorder) {
            self.stats.reordered += 1;
            return arrives + self.chance.below(self.config.reorder_by.as_nanos() as u64);
        }
        // Jitter alone does not reorder: a queue somewhere on the way makes it.
        self.latest = self.latest.max(arrives);
        self.latest
    }
}

/// A rate with a drop-tail queue before it. All times in nanoseconds, so that fast links do not lose to rounding.
#[derive(Debug, Default)]
struct Pipe {
    rate: Option<u64>,
    queue: usize,
    free_at: u64,
}

impl Pipe {
    /// Bytes that wait at this moment.
    fn backlog(&self, at: u64) -> usize {
        self.rate
            .map_or(0, |rate| (u128::from(self.free_at.saturating_sub(at)) * u128::from(rate) / 1_000_000_000) as usize)
    }

    /// When the last byte is through; `None` where the queue is full.
    fn enter(&mut self, at: u64, size: usize) -> Option<u64> {
        let Some(rate) = self.rate else { return Some(at) };
        let backlog = self.backlog(at);
        if backlog > 0 && backlog + size > self.queue {
            return None;
        }
        let takes = (size as u128 * 1_000_000_000 / u128::from(rate.max(1))) as u64;
        self.free_at = self.free_at.max(at) + takes;
        Some(self.free_at)
    }
}

fn nanos(at: Instant) -> u64 {
    at.as_micros().saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    fn addr(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 6778))
    }

    fn ms(n: u64) -> Instant {
        Instant::from_micros(n * 1000)
    }

    fn pair(link: LinkConfig) -> (Netem, Port, Port) {
        let mut net = Netem::new(1, link);
        let a = net.plug(addr(1), Access::UNLIMITED);
        let b = net.plug(addr(2), Access::UNLIMITED);
        (net, a, b)
    }

    /// Everything that arrives, with its time in microseconds.
    fn drain(net: &mut Netem) -> Vec<(u64, Vec<u8>)> {
        let mut out = Vec::new();
        while let Some(at) = net.poll_timeout() {
            while let Some(arrival) = net.poll_deliver(at) {
                out.push((at.as_micros(), arrival.bytes));
            }
        }
        out
    }

    #[test]
    fn a_perfect_link_takes_its_delay() {
        let (mut net, a, _) = pair(LinkConfig::perfect(Duration::from_millis(7)));
        net.send(ms(1), a, addr(1), addr(2), b"x");
        assert_eq!(net.poll_deliver(ms(7)), None);
        assert_eq!(net.poll_timeout(), Some(ms(8)));
        assert_eq!(drain(&mut net), [(8000, b"x".to_vec())]);
        assert_eq!(net.poll_timeout(), None);
    }

    #[test]
    fn a_rate_spaces_datagrams_and_its_queue_drops_the_tail() {
        let (mut net, a, b) = pair(LinkConfig::perfect(Duration::ZERO).rate(1_000_000, 3_000));
        for n in 0..5 {
            net.send(ms(0), a, addr(1), addr(2), &[n; 972]);
        }
        let got: Vec<_> = drain(&mut net).into_iter().map(|(at, bytes)| (at, bytes[0])).collect();
        assert_eq!(got, [(1000, 0), (2000, 1), (3000, 2)]);
        assert_eq!(net.link_stats(a, b).overflowed, 2);
        assert_eq!(net.link_stats(a, b).longest_queue, 3000);
    }

    #[test]
    fn access_links_are_shared() {
        let mut net = Netem::new(1, LinkConfig::perfect(Duration::ZERO));
        let a = net.plug(addr(1), Access::up(1_000_000));
        let b = net.plug(addr(2), Access::UNLIMITED);
        net.plug(addr(3), Access { up: None, down: Some(500_000), queue: None });
        net.send(ms(0), a, addr(1), addr(2), &[1; 972]);
        net.send(ms(0), a, addr(1), addr(3), &[2; 972]);
        net.send(ms(0), b, addr(2), addr(3), &[3; 972]);
        let got: Vec<_> = drain(&mut net).into_iter().map(|(at, bytes)| (at, bytes[0])).collect();
        assert_eq!(got, [(1000, 1), (2000, 3), (4000, 2)]);
    }

    #[test]
    fn links_over_a_trunk_meet_in_its_queue() {
        let mut net = Netem::new(1, LinkConfig::perfect(Duration::ZERO));
        let [a, b, c, d] = [1, 2, 3, 4].map(|n| net.plug(addr(n), Access::UNLIMITED));
        let trunk = net.add_trunk(1_000_000, 2_000);
        net.lay(a, c, trunk);
        net.lay(b, d, trunk);
        for n in 0..2 {
            net.send(ms(0), a, addr(1), addr(3), &[n; 972]);
            net.send(ms(0), b, addr(2), addr(4), &[10 + n; 972]);
        }
        // Another link of the same node does not lie over it.
        net.send(ms(0), a, addr(1), addr(4), &[20; 972]);
        assert_eq!(net.trunk_backlog(trunk, ms(0)), 2000);
        let got: Vec<_> = drain(&mut net).into_iter().map(|(at, bytes)| (at, bytes[0])).collect();
        assert_eq!(got, [(0, 20), (1000, 0), (2000, 10)]);
        assert_eq!((net.link_stats(a, c).overflowed, net.link_stats(b, d).overflowed), (1, 1));
    }

    #[test]
    fn chances_come_true_about_as_often_as_said() {
        let link = LinkConfig::perfect(Duration::from_millis(1))
            .loss(100_000)
            .duplicate(50_000)
            .reorder(20_000, Duration::from_millis(50))
            .mtu(100);
        let (mut net, a, b) = pair(link);
        for n in 0..10_000_u64 {
            net.send(ms(n), a, addr(1), addr(2), &n.to_be_bytes());
            net.send(ms(n), a, addr(1), addr(2), &[0; 101]);
        }
        let got = drain(&mut net);
        let stats = net.link_stats(a, b);
        assert_eq!(stats.oversized, 10_000);
        assert!((900..1100).contains(&stats.lost), "{stats:?}");
        assert!((380..520).contains(&stats.duplicated), "{stats:?}");
        assert!((130..250).contains(&stats.reordered), "{stats:?}");
        assert_eq!(got.len() as u64, stats.delivered);
        assert_eq!(stats.delivered, 10_000 - stats.lost + stats.duplicated);
        let inversions = got.windows(2).filter(|w| w[0].1 > w[1].1).count() as u64;
        assert!(inversions > 100 && inversions <= stats.reordered, "{inversions}");
    }

    #[test]
    fn jitter_keeps_order() {
        let (mut net, a, _) = pair(LinkConfig::default().jitter(Duration::from_millis(40)));
        for n in 0..1000_u64 {
            net.send(ms(n), a, addr(1), addr(2), &n.to_be_bytes());
        }
        let got = drain(&mut net);
        assert!(got.windows(2).all(|w| w[0].1 < w[1].1));
        assert!(got.iter().any(|(at, bytes)| at - u64::from_be_bytes(bytes[..].try_into().unwrap()) * 1000 > 40_000));
    }

    #[test]
    fn same_seed_same_fate() {
        let run = |seed| {
            let mut net = Netem::new(seed, LinkConfig::default().loss(200_000).jitter(Duration::from_millis(5)));
            let a = net.plug(addr(1), Access::UNLIMITED);
            net.plug(addr(2), Access::UNLIMITED);
            for n in 0..100 {
                net.send(ms(n), a, addr(1), addr(2), &[n as u8]);
            }
            drain(&mut net)
        };
        assert_eq!(run(5), run(5));
        assert_ne!(run(5), run(6));
    }

    #[test]
    fn addresses_change_hands() {
        let (mut net, a, b) = pair(LinkConfig::default());
        net.send(ms(0), a, addr(1), addr(2), b"lost on the way");
        net.rebind(b, addr(9));
        net.send(ms(0), a, addr(1), addr(2), b"nobody there");
        net.send(ms(0), a, addr(1), addr(9), b"found");
        assert_eq!(drain(&mut net), vec![(10_000, b"found".to_vec())]);
        assert_eq!((net.unroutable(), net.link_stats(a, b).unreachable), (1, 1));
        net.send(ms(20), a, addr(1), addr(9), b"too late");
        net.unplug(b);
        assert!(drain(&mut net).is_empty());
    }
}
