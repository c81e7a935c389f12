use core::{cmp::Reverse, fmt, time::Duration};

use ppsp_core::Instant;
use rand_core::Rng;

use super::below;
use crate::PeerKey;

/// Decides whom to serve (RFC 7574 §3.9, §9.2).
pub trait Choker: Send + fmt::Debug {
    /// Sets [`Candidate::unchoked`] of each candidate and returns when it wants to be asked next.
    /// `complete`: we hold everything, so that nobody can pay us back.
    fn rechoke(&mut self, now: Instant, complete: bool, candidates: &mut [Candidate], rng: &mut dyn Rng) -> Instant;
}

/// One peer, as the choker sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Which.
    pub peer: PeerKey,
    /// It lacks something that we hold.
    pub interested: bool,
    /// Bytes of content a second from it.
    pub down: u64,
    /// Bytes of content a second to it.
    pub up: u64,
    /// In: the present state. Out: the new one.
    pub unchoked: bool,
    /// Since when the present state has lasted.
    pub since: Instant,
    /// It has asked for chunks that it has not been sent.
    pub waiting: bool,
    /// Of a live stream: next to all that it has came from us, so that nobody seems to have anything from it.
    pub only_takes: bool,
}

impl Candidate {
    /// Does it need a slot? Who may ask and does not costs nothing, and must keep nobody out.
    fn needs_slot(&self, now: Instant) -> bool {
        let silent = self.unchoked && !self.waiting && self.up == 0;
        self.interested && !(silent && now.saturating_since(self.since) >= Duration::from_secs(1))
    }
}

/// Reciprocity with optimistic slots; a seed gives turns.
///
/// Three quarters of the slots go to the peers that give us most. The rest goes to others by lot, anew each time, so that
/// newcomers can show what they give. Once we hold everything nobody can give us anything: then three quarters of the
/// slots go in turn to those that have waited longest, for three intervals, or for one where they take slowly. Those that
/// only take a live stream come after all who pass it on.
#[derive(Debug)]
pub struct Reciprocal {
    slots: usize,
    interval: Duration,
}

impl Reciprocal {
    /// Serves `slots` peers at a time (at least one), decides anew every `interval`.
    pub fn new(slots: usize, interval: Duration) -> Self {
        Self { slots: slots.max(1), interval }
    }
}

impl Default for Reciprocal {
    fn default() -> Self {
        Self::new(16, Duration::from_secs(5))
    }
}

impl Choker for Reciprocal {
    fn rechoke(&mut self, now: Instant, complete: bool, candidates: &mut [Candidate], rng: &mut dyn Rng) -> Instant {
        let served = candidates.iter().filter(|c| c.needs_slot(now) && c.unchoked);
        let fair = served.clone().map(|c| c.up).sum::<u64>() / (served.count() as u64).max(1);
        let merit = |c: &Candidate| {
            if !complete {
                return (Reverse(c.down), 0);
            }
            let time = now.saturating_since(c.since);
            let turn = self.interval * if c.up < fair / 4 { 1 } else { 3 };
            match c.unchoked {
                true if time < turn => (Reverse(u64::MAX), 0),
                // The longest choked first; those that had their turn last.
                true => (Reverse(0), c.since.as_micros()),
                false => (Reverse(1), c.since.as_micros()),
            }
        };
        // Those that want nothing cost nothing; they may ask as soon as they do want something.
        candidates.sort_by_cached_key(|c| (c.needs_slot(now), c.only_takes, merit(c), c.peer));
        let wanting = candidates.partition_point(|c| !c.needs_slot(now));
        let (idle, interested) = candidates.split_at_mut(wanting);
        idle.iter_mut().for_each(|c| c.unchoked = true);

        let earned = (self.slots - self.slots / 4).min(interested.len());
        let lots = (self.slots - earned).min(interested.len() - earned);
        let (earners, others) = interested.split_at_mut(earned);
        earners.iter_mut().for_each(|c| c.unchoked = true);
        others.iter_mut().for_each(|c| c.unchoked = false);
        for i in 0..lots {
            let drawn = i + below(rng, (others.len() - i) as u64) as usize;
            others.swap(i, drawn);
            others[i].unchoked = true;
        }
        now + self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;
    use std::{collections::BTreeSet, vec::Vec};

    fn candidates(n: u64) -> Vec<Candidate> {
        (0..n)
            .map(|i| Candidate {
                peer: PeerKey(i),
                interested: true,
                down: i * 10,
                up: 1000 - i * 10,
                unchoked: true,
                since: Instant::default(),
                waiting: true,
                only_takes: false,
            })
            .collect()
    }

    fn unchoked(c: &[Candidate]) -> BTreeSet<u64> {
        c.iter().filter(|c| c.unchoked).map(|c| c.peer.0).collect()
    }

    #[test]
    fn givers_are_served_first_and_everybody_has_a_turn() {
        let mut rng = ChaCha8Rng::from_seed([7; 32]);
        let mut choker = Reciprocal::new(4, Duration::from_secs(5));
        let mut seen = BTreeSet::new();
        for _ in 0..200 {
            let mut c = candidates(20);
            choker.rechoke(Instant::default(), false, &mut c, &mut rng);
            let open = unchoked(&c);
            assert_eq!(open.len(), 4);
            assert!([17, 18, 19].iter().all(|p| open.contains(p)), "the three that give most: {open:?}");
            seen.extend(open);
        }
        assert_eq!(seen.len(), 20);
    }

    /// How often each of some candidates is served by a seed.
    fn turns(choker: &mut Reciprocal, mut c: Vec<Candidate>, times: usize) -> Vec<u32> {
        let mut rng = ChaCha8Rng::from_seed([7; 32]);
        let mut now = Instant::default();
        let mut turns = std::vec![0; c.len()];
        for _ in 0..times {
            let before = unchoked(&c);
            let next = choker.rechoke(now, true, &mut c, &mut rng);
            for c in &mut c {
                if c.unchoked != before.contains(&c.peer.0) {
                    c.since = now;
                }
                turns[c.peer.0 as usize] += u32::from(c.unchoked);
            }
            now = next;
        }
        turns
    }

    #[test]
    fn a_seed_gives_everybody_the_same_number_of_turns() {
        let turns = turns(&mut Reciprocal::new(4, Duration::from_secs(5)), candidates(12), 480);
        assert!(turns.iter().all(|t| (110..=220).contains(t)), "160 each would be even: {turns:?}");
    }

    #[test]
    fn who_only_takes_comes_last_and_has_a_chance() {
        let mut c = candidates(30);
        c.iter_mut().for_each(|c| c.only_takes = c.peer.0 >= 6);
        let turns = turns(&mut Reciprocal::new(8, Duration::from_secs(5)), c, 60);
        assert!(turns[..6].iter().all(|&t| t == 60), "{turns:?}");
        assert!(turns[6..].iter().all(|t| (1..=20).contains(t)), "{turns:?}");
    }

    #[test]
    fn nobody_is_choked_without_need() {
        let mut rng = ChaCha8Rng::from_seed([7; 32]);
        let mut c = candidates(9);
        c[3].interested = false;
        c[3].unchoked = false;
        Reciprocal::new(8, Duration::from_secs(5)).rechoke(Instant::default(), false, &mut c, &mut rng);
        assert_eq!(unchoked(&c).len(), 9);
        let mut one = candidates(3);
        Reciprocal::new(0, Duration::from_secs(5)).rechoke(Instant::default(), false, &mut one, &mut rng);
        assert_eq!(unchoked(&one).len(), 1);
    }
}
