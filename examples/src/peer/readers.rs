//! Where the content of a swarm is read, and what follows from it for what is fetched.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use ppsp_core::ChunkRange;

/// So far ahead of a reader everything else waits.
const WINDOW: u64 = 4 << 20;
/// Who read up to an end will most likely read on from there: players ask for a segment at a time.
const TRAIL: Duration = Duration::from_secs(10);
/// Most ends remembered.
const MAX_TRAILS: usize = 4;

/// Somebody who reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Reading {
    pub(super) id: u64,
    /// The byte it needs next, and before which it stops.
    pub(super) at: u64,
    pub(super) end: u64,
}

/// The readers of one swarm.
#[derive(Debug, Default)]
pub(super) struct Readers {
    last_id: u64,
    /// By number: from which byte on, and before which.
    reading: BTreeMap<u64, (u64, u64)>,
    /// Ends that were reached, the newest last.
    trails: Vec<(Instant, u64)>,
}

impl Readers {
    /// One more, who reads from here up to there.
    pub(super) fn add(&mut self, from: u64, end: u64) -> u64 {
        self.last_id += 1;
        self.trails.retain(|&(_, place)| place != from);
        self.reading.insert(self.last_id, (from, end));
        self.last_id
    }

    /// It needs this byte next.
    pub(super) fn advance(&mut self, id: u64, to: u64) {
        if let Some((from, _)) = self.reading.get_mut(&id) {
            *from = to;
        }
    }

    /// It is gone; where it had all it wanted, somebody will go on from there.
    pub(super) fn remove(&mut self, id: u64) {
        let Some((from, end)) = self.reading.remove(&id) else { return };
        if from >= end {
            self.trails.retain(|&(_, place)| place != end);
            self.trails.push((Instant::now(), end));
            if self.trails.len() > MAX_TRAILS {
                self.trails.remove(0);
            }
        }
    }

    /// Does anybody read, or has just done?
    pub(super) fn is_any(&mut self) -> bool {
        self.trails.retain(|(since, _)| since.elapsed() < TRAIL);
        !self.reading.is_empty() || !self.trails.is_empty()
    }

    /// Where they are.
    pub(super) fn places(&self) -> Vec<u64> {
        self.reading.values().map(|&(from, _)| from).collect()
    }

    /// All of them.
    pub(super) fn reading(&self) -> Vec<Reading> {
        self.reading.iter().map(|(&id, &(at, end))| Reading { id, at, end }).collect()
    }

    /// What is to come first: from which byte on, and in which chunks of this size; of those who read, then of those who will go on.
    pub(super) fn windows(&self, chunk_size: u64, length: Option<u64>) -> Vec<(u64, ChunkRange)> {
        let length = length.unwrap_or(u64::MAX);
        let trails = self.trails.iter().rev().map(|&(_, place)| (place, u64::MAX));
        let all = self.reading.values().copied().chain(trails);
        all.filter_map(|(from, end)| {
            let end = end.min(from.saturating_add(WINDOW)).min(length);
            (from < end).then(|| Some((from, ChunkRange::new(from / chunk_size, (end - 1) / chunk_size)?)))?
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u64, last: u64) -> ChunkRange {
        ChunkRange::new(first, last).unwrap()
    }

    fn windows(readers: &Readers, length: Option<u64>) -> Vec<ChunkRange> {
        readers.windows(1024, length).into_iter().map(|(_, window)| window).collect()
    }

    #[test]
    fn windows_follow_their_readers() {
        let mut readers = Readers::default();
        assert!(!readers.is_any());
        let one = readers.add(0, 1 << 30);
        let two = readers.add(5_000, 5_001);
        assert_eq!(windows(&readers, None), [run(0, 4095), run(4, 4)]);
        readers.advance(one, 1025);
        assert_eq!(windows(&readers, Some(3000))[0], run(1, 2), "not beyond the end");
        readers.remove(one);
        assert_eq!(windows(&readers, None), [run(4, 4)], "who breaks off wishes nothing any more");
        readers.advance(two, 5_001);
        assert_eq!(windows(&readers, None), []);
        readers.remove(two);
        assert!(readers.is_any());
        assert_eq!(windows(&readers, None), [run(4, (5_001 + WINDOW - 1) / 1024)], "the next segment");
        readers.add(5_001, 9_000);
        assert_eq!(windows(&readers, None), [run(4, 8)]);
    }

    #[test]
    fn few_ends_are_remembered() {
        let mut readers = Readers::default();
        for end in 0..100 {
            let id = readers.add(end, end);
            readers.remove(id);
        }
        assert_eq!(readers.windows(1, None).len(), MAX_TRAILS);
    }
}
