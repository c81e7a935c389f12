//! Which chunk of a live stream is shown when. Knows no endpoint and no socket: time comes in as an argument.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use ppsp_core::{ChunkId, ChunkRange};

/// Shows every chunk one delay after it was known to exist, in order, so that what comes late has so long to come.
///
/// What is not there when it is due makes playback stand still, a *stall*, for half a delay at most; then it goes on with the next
/// chunk that is there, and what lies between is left out.
#[derive(Debug)]
pub struct Playback {
    delay: Duration,
    next: ChunkId,
    /// Ends of the stream, and when they were first seen, as far as they are not shown.
    edges: VecDeque<(ChunkId, Instant)>,
    stalled: bool,
    stalls: u64,
    skipped: u64,
}

/// What to do now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Show this chunk.
    Show(ChunkId),
    /// These chunks did not come and are left out.
    Skip(ChunkRange),
    /// Nothing; look again when more has come, or then.
    Wait(Option<Instant>),
}

impl Playback {
    /// Begins with this chunk. Those before `end` exist.
    pub fn new(first: ChunkId, end: ChunkId, now: Instant, delay: Duration) -> Self {
        let mut edges = VecDeque::new();
        edges.push_back((end, now));
        Self { delay, next: first, edges, stalled: false, stalls: 0, skipped: 0 }
    }

    /// There are chunks up to this one, which is not there yet.
    pub fn on_edge(&mut self, end: ChunkId, now: Instant) {
        if self.edges.back().is_none_or(|&(before, _)| before < end) {
            self.edges.push_back((end, now));
        }
    }

    /// What is to be done; `next_held` is the first chunk held from a given one on.
    pub fn step(&mut self, now: Instant, next_held: impl Fn(ChunkId) -> Option<ChunkId>) -> Step {
        while self.edges.front().is_some_and(|&(end, _)| end <= self.next) {
            self.edges.pop_front();
        }
        let Some(&(_, since)) = self.edges.front() else { return Step::Wait(None) };
        let due = since + self.delay;
        if now < due {
            return Step::Wait(Some(due));
        }
        match next_held(self.next) {
            Some(chunk) if chunk == self.next => {
                self.stalled = false;
                self.next += 1;
                Step::Show(chunk)
            }
            held => {
                self.stalls += u64::from(!std::mem::replace(&mut self.stalled, true));
                let given_up = due + self.delay / 2;
                if now < given_up {
                    return Step::Wait(Some(given_up));
                }
                let gone = held.and_then(|to| ChunkRange::new(self.next, to.checked_sub(1)?));
                let Some(gone) = gone else { return Step::Wait(None) };
                self.skipped += gone.len();
                self.next = gone.last() + 1;
                Step::Skip(gone)
            }
        }
    }

    /// The chunk that is shown next.
    pub fn next(&self) -> ChunkId {
        self.next
    }

    /// How long ago the chunk that is shown next was known to exist; zero where all has been shown.
    pub fn behind(&self, now: Instant) -> Duration {
        let shown = self.edges.iter().find(|&&(end, _)| end > self.next);
        shown.map_or(Duration::ZERO, |&(_, since)| now.saturating_duration_since(since))
    }

    /// How often it stood still.
    pub fn stalls(&self) -> u64 {
        self.stalls
    }

    /// Chunks left out.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAY: Duration = Duration::from_secs(2);

    fn all(from: ChunkId) -> Option<ChunkId> {
        Some(from)
    }

    #[test]
    fn each_chunk_a_delay_after_it_was_known() {
        let start = Instant::now();
        let mut playback = Playback::new(10, 12, start, DELAY);
        assert_eq!(playback.step(start, all), Step::Wait(Some(start + DELAY)));
        let later = start + Duration::from_secs(1);
        playback.on_edge(13, later);
        playback.on_edge(13, later + DELAY);
        assert_eq!(playback.step(start + DELAY, all), Step::Show(10));
        assert_eq!(playback.step(start + DELAY, all), Step::Show(11));
        assert_eq!(playback.behind(start + DELAY), DELAY - Duration::from_secs(1), "chunk 12 was known a second later");
        assert_eq!(playback.step(start + DELAY, all), Step::Wait(Some(later + DELAY)));
        assert_eq!(playback.step(later + DELAY, all), Step::Show(12));
        assert_eq!(playback.step(later + DELAY, all), Step::Wait(None));
        assert_eq!(playback.behind(later + 2 * DELAY), Duration::ZERO);
        assert_eq!((playback.stalls(), playback.skipped(), playback.next()), (0, 0, 13));
    }

    #[test]
    fn what_does_not_come_is_waited_for_and_then_left_out() {
        let start = Instant::now();
        let mut playback = Playback::new(0, 8, start, DELAY);
        let due = start + DELAY;
        let given_up = due + DELAY / 2;
        let from_3 = |from: ChunkId| Some(from.max(3));
        assert_eq!(playback.step(due, from_3), Step::Wait(Some(given_up)));
        assert_eq!(playback.step(given_up, from_3), Step::Skip(ChunkRange::new(0, 2).unwrap()));
        assert_eq!(playback.step(given_up, from_3), Step::Show(3));
        // Nothing to go on with: that is a stall, too, and nothing is given up for nothing.
        assert_eq!(playback.step(given_up, |_| None), Step::Wait(None));
        assert_eq!(playback.step(given_up, all), Step::Show(4));
        assert_eq!((playback.stalls(), playback.skipped()), (2, 3));
    }
}
