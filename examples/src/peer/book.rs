//! Whom to connect to, and when to try again.

use std::{
    collections::HashMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use ppsp_peer_proto::{Endpoint, Reason, SwarmKey};

/// Addresses remembered, those given not counted.
const MAX_LEARNED: usize = 256;
/// Addresses of one peer that are tried one after the other.
const MAX_ADDRS: usize = 8;
/// Failures after which an address that another peer named is forgotten.
const LEARNED_TRIES: u32 = 3;

/// The addresses known, and how each stands.
#[derive(Debug, Default)]
pub(crate) struct PeerBook {
    peers: HashMap<SocketAddr, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// By the link or a flag: never forgotten.
    given: bool,
    state: State,
    failures: u32,
    last_reason: Option<Reason>,
    /// Other addresses of the same peer, to be tried where this one does not answer.
    others: Vec<SocketAddr>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// To be tried from then on.
    Due(Instant),
    Trying,
    Up,
    /// Not to be tried again.
    Useless,
}

impl PeerBook {
    /// An address from the link or a flag.
    pub(crate) fn give(&mut self, addr: SocketAddr, now: Instant) {
        self.add(addr, true, now);
    }

    /// All addresses that peers of a swarm have named.
    pub(crate) fn learn_from(&mut self, endpoint: &mut Endpoint, swarm: SwarmKey, now: Instant) {
        let mut learned = [SocketAddr::from(([0, 0, 0, 0], 0)); 16];
        while let Some(mut swarm) = endpoint.swarm_mut(swarm) {
            let count = swarm.take_learned(&mut learned);
            if count == 0 {
                break;
            }
            learned[..count].iter().for_each(|&addr| self.learn(addr, now));
        }
    }

    /// An address from another peer.
    pub(crate) fn learn(&mut self, addr: SocketAddr, now: Instant) {
        if self.peers.len() < MAX_LEARNED {
            self.add(addr, false, now);
        }
    }

    /// A peer that a tracker named, by all its addresses, the best first.
    pub(crate) fn learn_one_of(&mut self, addrs: &[SocketAddr], now: Instant) {
        let Some((&first, others)) = addrs.split_first() else { return };
        if self.peers.len() < MAX_LEARNED && !addrs.iter().any(|addr| self.peers.contains_key(addr)) {
            self.add(first, false, now);
            if let Some(entry) = self.peers.get_mut(&first) {
                entry.others = others.iter().copied().take(MAX_ADDRS).collect();
            }
        }
    }

    /// Is no address known?
    pub(crate) fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    fn add(&mut self, addr: SocketAddr, given: bool, now: Instant) {
        self.peers.entry(addr).or_insert(Entry {
            given,
            state: State::Due(now),
            failures: 0,
            last_reason: None,
            others: Vec::new(),
        });
    }

    /// Addresses to try now. Each is to be followed by [`tried`](Self::tried).
    pub(crate) fn due(&self, now: Instant) -> Vec<SocketAddr> {
        let due = |entry: &Entry| matches!(entry.state, State::Due(then) if then <= now);
        self.peers.iter().filter(|(_, entry)| due(entry)).map(|(addr, _)| *addr).collect()
    }

    /// A handshake is under way, or could not begin: then it is tried again later.
    pub(crate) fn tried(&mut self, addr: SocketAddr, began: bool, now: Instant) {
        if let Some(entry) = self.peers.get_mut(&addr) {
            entry.state = if began { State::Trying } else { State::Due(now + Duration::from_secs(5)) };
        }
    }

    /// A peer is up, whoever began.
    pub(crate) fn up(&mut self, addr: SocketAddr) {
        if let Some(entry) = self.peers.get_mut(&addr) {
            (entry.state, entry.failures) = (State::Up, 0);
        }
    }

    /// A peer is gone, or never came.
    pub(crate) fn down(&mut self, addr: SocketAddr, reason: Reason, now: Instant) {
        let Some(entry) = self.peers.get_mut(&addr) else { return };
        entry.failures += 1;
        entry.last_reason = Some(reason);
        let pause = Duration::from_secs(1 << entry.failures.min(5).saturating_sub(1)); // 1, 2, 4, 8, 16 s
        entry.state = match reason {
            Reason::Incompatible | Reason::Corrupt | Reason::Misbehaved => State::Useless,
            Reason::NotNeeded => State::Due(now + Duration::from_secs(60)),
            _ if !entry.given && entry.failures >= LEARNED_TRIES => State::Useless,
            _ => State::Due(now + pause),
        };
        let forgotten = !entry.given && entry.state == State::Useless && reason == Reason::Unanswered;
        let others = if reason == Reason::Unanswered { std::mem::take(&mut entry.others) } else { Vec::new() };
        if forgotten {
            self.peers.remove(&addr);
        }
        self.learn_one_of(&others, now);
    }

    /// Is there nobody left who could ever serve us?
    pub(crate) fn is_hopeless(&self) -> bool {
        !self.peers.is_empty() && self.peers.values().all(|entry| entry.state == State::Useless)
    }

    /// The peers and what became of each, for a sentence.
    pub(crate) fn describe(&self) -> String {
        let mut given: Vec<_> = self.peers.iter().filter(|(_, entry)| entry.given).collect();
        given.sort_by_key(|(addr, _)| **addr);
        let mut words: Vec<String> = given
            .iter()
            .take(4)
            .map(|(addr, entry)| match entry.last_reason {
                Some(reason) => format!("{addr} {}", explain(reason)),
                None => format!("{addr} did not answer"),
            })
            .collect();
        if given.len() > 4 {
            words.push(format!("and {} more", given.len() - 4));
        }
        words.join(", ")
    }
}

/// Why a peer is gone, in words that follow its address.
pub(crate) fn explain(reason: Reason) -> &'static str {
    match reason {
        Reason::Closed => "closed the connection",
        Reason::Unanswered => "did not answer",
        Reason::TimedOut => "fell silent",
        Reason::Incompatible => "speaks another protocol version or shares other content",
        Reason::Corrupt => "sent content that is not genuine",
        Reason::Misbehaved => "broke the protocol",
        Reason::NotNeeded => "is not needed",
        Reason::Local => "was left",
        _ => "is gone",
    }
}

/// Why a peer is gone, in a word for programs.
pub(crate) fn name(reason: Reason) -> &'static str {
    match reason {
        Reason::Closed => "closed",
        Reason::Unanswered => "unanswered",
        Reason::TimedOut => "timed-out",
        Reason::Incompatible => "incompatible",
        Reason::Corrupt => "corrupt",
        Reason::Misbehaved => "misbehaved",
        Reason::NotNeeded => "not-needed",
        Reason::Local => "local",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_again_later_and_gives_up_on_the_useless() {
        let (a, b): (SocketAddr, SocketAddr) = ("192.0.2.1:1".parse().unwrap(), "192.0.2.2:1".parse().unwrap());
        let now = Instant::now();
        let mut book = PeerBook::default();
        assert!(!book.is_hopeless());
        book.give(a, now);
        book.learn(b, now);
        assert_eq!(book.due(now).len(), 2);
        book.tried(a, true, now);
        book.tried(b, true, now);
        assert!(book.due(now + Duration::from_secs(100)).is_empty());
        for _ in 0..LEARNED_TRIES {
            book.down(a, Reason::Unanswered, now);
            book.down(b, Reason::Unanswered, now);
        }
        assert_eq!(book.due(now), []);
        assert_eq!(book.due(now + Duration::from_secs(4)), [a], "the learned one is forgotten");
        assert!(book.describe().contains("192.0.2.1:1 did not answer"));
        book.down(a, Reason::Incompatible, now);
        assert!(book.is_hopeless());
    }

    #[test]
    fn of_the_addresses_of_a_peer_one_is_tried_after_the_other() {
        let [a, b, c]: [SocketAddr; 3] =
            ["192.0.2.1:1", "192.0.2.2:1", "192.0.2.3:1"].map(|addr| addr.parse().unwrap());
        let now = Instant::now();
        let mut book = PeerBook::default();
        book.learn_one_of(&[a, b], now);
        book.learn_one_of(&[b, c], now);
        book.learn_one_of(&[a, c], now);
        let mut due = book.due(now);
        due.sort();
        assert_eq!(due, [a, b], "the last one is known by its first address");
        book.down(a, Reason::Unanswered, now);
        book.down(b, Reason::Unanswered, now);
        assert!(book.due(now).contains(&c));
    }
}
