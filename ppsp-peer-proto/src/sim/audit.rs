//! A wiretap that knows the RFC: reads every datagram of a swarm and checks it against the rules that show on the wire.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
    vec::Vec,
};
use core::{cell::RefCell, net::SocketAddr};

use ppsp_core::{Bin, ChunkRange, RangeSet};

use super::{Content, Sight, Speech, Verdict, secs};
use crate::wire::{ChannelId, Message, MessageType};

/// What an [`auditor`] counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Audit {
    /// Datagrams read.
    pub datagrams: u64,
    /// DATA messages.
    pub data: u64,
    /// INTEGRITY messages.
    pub hashes: u64,
    /// INTEGRITY messages whose receiver knew the hash already, from the same peer.
    pub needless: u64,
    /// REQUEST messages.
    pub requests: u64,
    /// HAVE messages.
    pub haves: u64,
    /// ACK messages.
    pub acks: u64,
    /// CANCEL messages.
    pub cancels: u64,
    /// Keep-alives.
    pub keep_alives: u64,
}

/// A tap for [`World::tap`](super::World::tap) that panics where a datagram breaks a rule, and what it counts.
///
/// `complete`: who had all from the start. `lossless`: nothing gets lost, so that every chunk must be provable by what was sent
/// before it.
pub fn auditor(
    content: &Arc<Content>,
    complete: &[SocketAddr],
    lossless: bool,
) -> (impl FnMut(&Sight<'_>) -> Verdict + 'static, Rc<RefCell<Audit>>) {
    let counts = Rc::new(RefCell::new(Audit::default()));
    let mut auditor = Auditor {
        speech: Speech::new(content),
        peaks: content.peaks(),
        chunks: content.chunks(),
        complete: complete.iter().copied().collect(),
        lossless,
        calls: BTreeMap::new(),
        flows: BTreeMap::new(),
        could_hold: BTreeMap::new(),
    };
    let shared = Rc::clone(&counts);
    let tap = move |sight: &Sight<'_>| {
        auditor.read(sight, &mut shared.borrow_mut());
        Verdict::Pass
    };
    (tap, counts)
}

struct Auditor {
    speech: Speech,
    peaks: Vec<Bin>,
    chunks: u64,
    complete: BTreeSet<SocketAddr>,
    lossless: bool,
    /// The channel that the source of a handshake chose to be reached on: (source, channel) → the other end's channel.
    calls: BTreeMap<(SocketAddr, ChannelId), ChannelId>,
    /// One direction of a channel: from, to, the channel it is sent to.
    flows: BTreeMap<(SocketAddr, SocketAddr, ChannelId), Flow>,
    /// Chunks that were sent to an address, by anybody.
    could_hold: BTreeMap<SocketAddr, RangeSet>,
}

/// What went in one direction.
#[derive(Default)]
struct Flow {
    /// The channel in the other direction.
    back: ChannelId,
    /// Hashes sent, and those that its receiver can prove.
    claimed: BTreeSet<Bin>,
    proven: BTreeSet<Bin>,
    announced: RangeSet,
    requested: RangeSet,
    sent: RangeSet,
}

impl Auditor {
    fn read(&mut self, sight: &Sight<'_>, counts: &mut Audit) {
        let speech = self.speech.clone();
        let (to, messages) = speech.parse(sight.bytes);
        let (source, destination) = (sight.source, sight.destination);
        counts.datagrams += 1;
        counts.keep_alives += u64::from(messages.is_empty());
        let check = |good: bool, rule: &str, message: &Message<'_>| {
            assert!(good, "at {} s {source} → {destination}: {rule}: {:?}", secs(sight.now), Brief(message),);
        };
        let mut back = ChannelId::NONE;
        for (i, message) in messages.iter().enumerate() {
            if let Message::Handshake(hello) = message {
                check(i == 0, "RFC 7574 §3.1: a HANDSHAKE is first", message);
                if hello.source != ChannelId::NONE {
                    back = hello.source;
                    self.calls.insert((source, hello.source), to);
                    if to != ChannelId::NONE {
                        self.calls.insert((destination, to), hello.source);
                    }
                }
            }
        }
        if to == ChannelId::NONE {
            let heavy = |m: &Message<'_>| matches!(m, Message::Data { .. } | Message::Integrity { .. });
            for message in &messages {
                check(!heavy(message), "RFC 7574 §3.1.1: no heavy payload in the first datagram", message);
            }
            // Its HAVEs belong to the channel that the answer will name.
            let flow = self.flows.entry((source, destination, back)).or_default();
            messages.iter().for_each(|m| flow.note(m));
            return;
        }
        if let Some(&known) = self.calls.get(&(destination, to)) {
            back = known;
        }
        // What the other end said in its first datagram, under the name it had then.
        let first = self.flows.remove(&(destination, source, to));
        let theirs = self.flows.entry((destination, source, back)).or_default();
        if let Some(first) = first {
            theirs.announced.union_with(&first.announced);
            theirs.requested.union_with(&first.requested);
        }
        theirs.back = to;
        let announced = theirs.announced.clone();
        let requested = theirs.requested.clone();
        let early = self.flows.remove(&(source, destination, back)).filter(|_| back != to);
        let flow = self.flows.entry((source, destination, to)).or_default();
        if let Some(early) = early {
            flow.announced.union_with(&early.announced);
            flow.requested.union_with(&early.requested);
        }
        // Who holds a chunk knows what proves it.
        let mut hashes: Vec<Bin> = Vec::new();
        for message in &messages {
            match *message {
                Message::Integrity { range, .. } => {
                    counts.hashes += 1;
                    match Bin::exactly(range) {
                        Some(node) => hashes.push(node),
                        None => check(false, "RFC 7574 §5.4: a hash is that of a node", message),
                    }
                }
                Message::Data { range, .. } => {
                    counts.data += 1;
                    check(requested.covers(range), "nobody asked for that", message);
                    check(range.last() < self.chunks, "beyond the end", message);
                    let (peaks, uncles): (Vec<Bin>, Vec<Bin>) =
                        hashes.iter().partition(|node| self.peaks.contains(node));
                    check(
                        hashes.iter().take(peaks.len()).all(|node| self.peaks.contains(node)),
                        "RFC 7574 §5.6.2: peaks come before uncles",
                        message,
                    );
                    check(
                        uncles.windows(2).all(|w| w[0].height() > w[1].height()),
                        "RFC 7574 §5.4: uncles are sorted by height, descending",
                        message,
                    );
                    for chunk in announced.runs() {
                        flow.prove_held(chunk, &self.peaks, self.chunks);
                    }
                    counts.needless += hashes.iter().filter(|node| flow.proven.contains(node)).count() as u64;
                    flow.claimed.extend(hashes.drain(..));
                    if self.lossless {
                        check(
                            flow.prove(range.first(), &self.peaks),
                            "RFC 7574 §5.4: a hash that its receiver misses was not sent",
                            message,
                        );
                    }
                    flow.sent.insert(range);
                    self.could_hold.entry(destination).or_default().insert(range);
                }
                Message::Have { range: Some(range) } | Message::Ack { range, .. } => {
                    let held = self.could_hold.entry(source).or_default();
                    check(
                        self.complete.contains(&source) || held.covers(range),
                        "RFC 7574 §3.2: announced, but not held",
                        message,
                    );
                    match message {
                        Message::Have { .. } => counts.haves += 1,
                        _ => counts.acks += 1,
                    }
                    flow.note(message);
                }
                Message::Request { range } => {
                    counts.requests += 1;
                    check(announced.covers(range), "RFC 7574 §3.7: asked for what was not announced", message);
                    flow.note(message);
                }
                Message::Cancel { .. } => counts.cancels += 1,
                _ => {}
            }
        }
        // Hashes without a chunk go ahead of it.
        flow.claimed.extend(hashes);
    }
}

impl Flow {
    fn note(&mut self, message: &Message<'_>) {
        match *message {
            Message::Have { range: Some(range) } | Message::Ack { range, .. } => {
                self.announced.insert(range);
            }
            Message::Request { range } => {
                self.requested.insert(range);
            }
            _ => {}
        }
    }

    /// Can the receiver prove a chunk with what was sent? Then it knows more afterwards.
    fn prove(&mut self, chunk: u64, peaks: &[Bin]) -> bool {
        // The root proves the peaks where all of them are known.
        if peaks.iter().all(|peak| self.claimed.contains(peak)) {
            self.proven.extend(peaks);
        }
        let mut path = Vec::new();
        let mut node = Bin::leaf(chunk);
        loop {
            let Some(at) = node else { return false };
            if self.proven.contains(&at) {
                break;
            }
            let Some(sibling) = at.sibling() else { return false };
            if !self.claimed.contains(&sibling) && !self.proven.contains(&sibling) {
                return false;
            }
            path.extend([at, sibling]);
            node = at.parent();
        }
        self.proven.extend(path);
        true
    }

    /// The receiver holds chunks, from whomever: it knows all that proves them.
    fn prove_held(&mut self, range: ChunkRange, peaks: &[Bin], chunks: u64) {
        self.proven.extend(peaks);
        let whole = Bin::cover(range).filter(|node| node.first_chunk() < chunks);
        for top in whole {
            if self.proven.contains(&top) && top.is_leaf() {
                continue;
            }
            // All nodes below a range held, and the path up from it.
            let mut below = alloc::vec![top];
            while let Some(node) = below.pop() {
                if self.proven.insert(node) || node == top {
                    below.extend(node.children().into_iter().flat_map(|(a, b)| [a, b]));
                }
            }
            let mut node = Some(top);
            while let Some(at) = node.filter(|at| !peaks.contains(at)) {
                self.proven.extend(at.sibling());
                self.proven.insert(at);
                node = at.parent();
            }
        }
    }
}

/// A message without its bytes.
struct Brief<'a>(&'a Message<'a>);

impl core::fmt::Debug for Brief<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Message::Data { range, .. } => write!(f, "{:?} {range:?}", MessageType::Data),
            other => write!(f, "{other:?}"),
        }
    }
}
