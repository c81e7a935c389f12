use alloc::collections::VecDeque;

use ppsp_core::{ChunkId, ChunkRange, Instant};

use super::{chunk_map::ChunkMap, path_mtu::Carrier};

/// Chunks under way in one direction of a channel, in the order in which they are expected to arrive.
///
/// The requester keeps what it asked for, the server what it sent. Owns one invariant: a chunk is under way at most once.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// In order of their sequence numbers. The front is always under way.
    order: VecDeque<Entry>,
    /// Sequence number of the front of `order`.
    base: u64,
    /// Sequence numbers, without their upper half: there are never so many entries.
    by_chunk: ChunkMap,
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
    pub(super) carrier: Carrier,
    /// It was under way before and taken for lost: whose arrival is acknowledged nobody can tell.
    pub(super) again: bool,
    /// Not done with.
    live: bool,
}

impl Ledger {
    /// A chunk sets out. One that is under way already starts anew.
    pub(super) fn push(&mut self, chunk: ChunkId, since: Instant, bytes: usize, carrier: Carrier) {
        let seq = self.base + self.order.len() as u64;
        if let Some(old) = self.by_chunk.insert(chunk, seq as u32) {
            self.close(old);
        }
        self.bytes += bytes;
        self.order.push_back(Entry { chunk, since, bytes, carrier, again: false, live: true });
        self.drop_done();
    }

    /// The chunk that set out last was under way before.
    pub(super) fn mark_again(&mut self) {
        if let Some(entry) = self.order.back_mut() {
            entry.again = true;
        }
    }

    /// A chunk arrived.
    pub(super) fn arrive(&mut self, chunk: ChunkId) -> Option<Entry> {
        let low = self.by_chunk.remove(chunk)?;
        self.arrived = self.arrived.max(self.whole(low) + 1);
        let entry = self.close(low);
        self.drop_done();
        entry
    }

    /// Chunks of a range arrived: calls `each` with those that were under way, in the order of their numbers.
    pub(super) fn arrive_range(&mut self, range: ChunkRange, mut each: impl FnMut(Entry)) {
        let Self { order, base, by_chunk, bytes, arrived } = self;
        by_chunk.drain(range, |_, low| {
            let ahead = low.wrapping_sub(*base as u32);
            *arrived = (*arrived).max(*base + u64::from(ahead) + 1);
            if let Some(entry) = order.get_mut(ahead as usize) {
                entry.live = false;
                *bytes -= entry.bytes;
                each(*entry);
            }
        });
        self.drop_done();
    }

    /// A chunk is no longer expected; that says nothing about those before it.
    pub(super) fn forget(&mut self, chunk: ChunkId) -> Option<Entry> {
        let low = self.by_chunk.remove(chunk)?;
        let entry = self.close(low);
        self.drop_done();
        entry
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

    /// The oldest chunk under way.
    pub(super) fn oldest(&self) -> Option<&Entry> {
        self.order.front()
    }

    /// A chunk under way.
    pub(super) fn get(&self, chunk: ChunkId) -> Option<&Entry> {
        self.entry(self.by_chunk.get(chunk)?)
    }

    /// Is a chunk under way?
    pub(super) fn contains(&self, chunk: ChunkId) -> bool {
        self.by_chunk.get(chunk).is_some()
    }

    /// Calls `each` with the chunks of a range that are under way.
    pub(super) fn each_in(&self, range: ChunkRange, each: impl FnMut(&Entry)) {
        self.by_chunk.iter(range).filter_map(|(_, low)| self.entry(low)).for_each(each);
    }

    /// How many chunks set out before one that is under way, at most.
    pub(super) fn ahead_of(&self, chunk: ChunkId) -> Option<u64> {
        Some(self.whole(self.by_chunk.get(chunk)?) - self.base)
    }

    /// Calls `each` with all chunks under way, in their order.
    pub(super) fn each(&self, each: impl FnMut(&Entry)) {
        self.order.iter().filter(|entry| entry.live).for_each(each);
    }

    /// Are at least `n` chunks of a range under way?
    pub(super) fn has_in(&self, range: ChunkRange, n: usize) -> bool {
        self.by_chunk.has(range, n)
    }

    /// Did a chunk of a range set out at `since` or later?
    pub(super) fn has_since(&self, range: ChunkRange, since: Instant) -> bool {
        if self.oldest().is_none_or(|oldest| oldest.since >= since) {
            return self.has_in(range, 1);
        }
        self.by_chunk.iter(range).filter_map(|(_, low)| self.entry(low)).any(|entry| entry.since >= since)
    }

    /// Do chunks of a range travel in two datagrams that set out at `since` or later, `probe` left out?
    pub(super) fn has_two_datagrams(&self, range: ChunkRange, since: Instant, probe: impl Fn(u32) -> bool) -> bool {
        let entries = self.by_chunk.iter(range).filter_map(|(_, low)| self.entry(low));
        let numbers = entries.filter(|entry| entry.since >= since).map(|entry| entry.carrier.number);
        let mut numbers = numbers.filter(|&number| !probe(number));
        numbers.next().is_some_and(|first| numbers.any(|other| other != first))
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

    /// Gives memory back while nothing is under way.
    pub(super) fn rest(&mut self) {
        if self.is_empty() {
            self.by_chunk.rest();
            self.order = VecDeque::new();
        }
    }

    fn entry(&self, low: u32) -> Option<&Entry> {
        self.order.get(low.wrapping_sub(self.base as u32) as usize)
    }

    /// The sequence number of an entry, by its lower half.
    fn whole(&self, low: u32) -> u64 {
        self.base + u64::from(low.wrapping_sub(self.base as u32))
    }

    /// Settles the account of an entry that has left `by_chunk`.
    fn close(&mut self, low: u32) -> Option<Entry> {
        let entry = self.order.get_mut(low.wrapping_sub(self.base as u32) as usize)?;
        entry.live = false;
        self.bytes -= entry.bytes;
        Some(*entry)
    }

    /// Drops what is done with from the front.
    fn drop_done(&mut self) {
        while self.order.front().is_some_and(|front| !front.live) {
            self.order.pop_front();
            self.base += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn ledger(chunks: &[ChunkId]) -> Ledger {
        let mut l = Ledger::default();
        for &c in chunks {
            l.push(c, Instant::from_micros(c), 10, Carrier::default());
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
