use alloc::collections::{BTreeMap, VecDeque};

use ppsp_core::{ChunkId, ChunkRange, Instant};

/// Chunks under way in one direction of a channel, in the order in which they are expected to arrive.
///
/// The requester keeps what it asked for, the server what it sent. Owns one invariant: a chunk is under way at most once.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// In order of their sequence numbers; an entry whose number is not the one in `by_chunk` is done with.
    order: VecDeque<Entry>,
    /// Sequence number of the front of `order`.
    base: u64,
    by_chunk: BTreeMap<ChunkId, u64>,
    bytes: usize,
    /// One more than the highest sequence number that arrived.
    arrived: u64,
}

/// A chunk under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) chunk: ChunkId,
    pub(super) since: Instant,
    pub(super) bytes: usize,
}

impl Ledger {
    /// A chunk sets out. One that is under way already starts anew.
    pub(super) fn push(&mut self, chunk: ChunkId, since: Instant, bytes: usize) {
        self.forget(chunk);
        self.by_chunk.insert(chunk, self.base + self.order.len() as u64);
        self.bytes += bytes;
        self.order.push_back(Entry { chunk, since, bytes });
    }

    /// A chunk arrived.
    pub(super) fn arrive(&mut self, chunk: ChunkId) -> Option<Entry> {
        let seq = self.by_chunk.remove(&chunk)?;
        self.arrived = self.arrived.max(seq + 1);
        self.close(seq)
    }

    /// Chunks of a range arrived: calls `each` with those that were under way, in the order of their numbers.
    pub(super) fn arrive_range(&mut self, range: ChunkRange, mut each: impl FnMut(Entry)) {
        while let Some((&chunk, _)) = self.by_chunk.range(range.first()..=range.last()).next() {
            if let Some(entry) = self.arrive(chunk) {
                each(entry);
            }
        }
    }

    /// A chunk is no longer expected; that says nothing about those before it.
    pub(super) fn forget(&mut self, chunk: ChunkId) -> Option<Entry> {
        let seq = self.by_chunk.remove(&chunk)?;
        self.close(seq)
    }

    /// Takes the oldest chunk that `reorder` or more later ones overtook: it is lost.
    pub(super) fn take_overtaken(&mut self, reorder: u64) -> Option<Entry> {
        let entry = *self.oldest()?;
        (self.base + reorder < self.arrived).then(|| self.forget(entry.chunk)).flatten()
    }

    /// Has any later chunk overtaken the oldest?
    pub(super) fn is_overtaken(&self) -> bool {
        !self.is_empty() && self.base < self.arrived
    }

    /// Takes the oldest chunk.
    pub(super) fn take_oldest(&mut self) -> Option<Entry> {
        let chunk = self.oldest()?.chunk;
        self.forget(chunk)
    }

    /// The oldest chunk under way: always the front of `order`.
    pub(super) fn oldest(&self) -> Option<&Entry> {
        self.order.front()
    }

    /// A chunk under way.
    pub(super) fn get(&self, chunk: ChunkId) -> Option<&Entry> {
        self.entry(*self.by_chunk.get(&chunk)?)
    }

    /// Calls `each` with the chunks of a range that are under way.
    pub(super) fn each_in(&self, range: ChunkRange, each: impl FnMut(&Entry)) {
        self.by_chunk.range(range.first()..=range.last()).filter_map(|(_, &seq)| self.entry(seq)).for_each(each);
    }

    /// Are at least `n` chunks of a range under way?
    pub(super) fn has_in(&self, range: ChunkRange, n: usize) -> bool {
        n <= self.len() && self.by_chunk.range(range.first()..=range.last()).take(n).count() == n
    }

    /// Number of chunks under way.
    pub(super) fn len(&self) -> usize {
        self.by_chunk.len()
    }

    /// Bytes under way.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_chunk.is_empty()
    }

    fn entry(&self, seq: u64) -> Option<&Entry> {
        self.order.get(usize::try_from(seq.checked_sub(self.base)?).ok()?)
    }

    /// Settles the account of an entry that has left `by_chunk`, and drops what is done with from the front.
    fn close(&mut self, seq: u64) -> Option<Entry> {
        let entry = *self.entry(seq)?;
        self.bytes -= entry.bytes;
        while let Some(front) = self.order.front() {
            if self.by_chunk.get(&front.chunk) == Some(&self.base) {
                break;
            }
            self.order.pop_front();
            self.base += 1;
        }
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn ledger(chunks: &[ChunkId]) -> Ledger {
        let mut l = Ledger::default();
        for &c in chunks {
            l.push(c, Instant::from_micros(c), 10);
        }
        l
    }

    #[test]
    fn overtaken_chunks_are_lost_and_nothing_else() {
        let mut l = ledger(&[5, 3, 9, 1, 2, 7]);
        assert!(l.take_overtaken(3).is_none());
        l.arrive(9);
        l.arrive(1);
        assert!(l.take_overtaken(3).is_some_and(|e| e.chunk == 5), "9 and 1 came after 5, with 3 between");
        assert!(l.take_overtaken(3).is_none());
        assert_eq!((l.len(), l.bytes()), (3, 30));
        l.arrive(7);
        assert!(l.take_overtaken(3).is_some_and(|e| e.chunk == 3));
        assert!(l.take_overtaken(3).is_none(), "2 was sent right before 7");
    }

    #[test]
    fn a_chunk_sent_again_counts_once() {
        let mut l = ledger(&[1, 2, 1]);
        assert_eq!((l.len(), l.bytes()), (2, 20));
        assert_eq!(l.oldest().map(|e| e.chunk), Some(2));
        assert_eq!(l.arrive(2).map(|e| e.chunk), Some(2));
        assert_eq!(l.oldest().map(|e| e.chunk), Some(1));
        assert_eq!(l.arrive(1).map(|e| e.chunk), Some(1));
        assert_eq!((l.len(), l.bytes(), l.is_empty()), (0, 0, true));
        assert!(l.arrive(1).is_none());
    }

    #[test]
    fn ranges_arrive_once() {
        let mut l = ledger(&[1, 2, 3, 8]);
        let mut got = Vec::new();
        l.arrive_range(ChunkRange::new(0, u64::MAX - 1).unwrap(), |e| got.push(e.chunk));
        assert_eq!(got, [1, 2, 3, 8]);
        assert_eq!(l.bytes(), 0);
        assert!(l.oldest().is_none());
    }
}
