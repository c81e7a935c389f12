use core::fmt;

/// Index of a chunk in its content, counted from zero.
pub type ChunkId = u64;

/// A run of chunks, both ends included, as the RFC counts them (RFC 7574 §4.1). Never empty.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ChunkRange {
    first: ChunkId,
    last: ChunkId,
}

impl ChunkRange {
    /// `first..=last`, or `None` where `first` is greater than `last`.
    pub const fn new(first: ChunkId, last: ChunkId) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// A single chunk.
    pub const fn single(chunk: ChunkId) -> Self {
        Self { first: chunk, last: chunk }
    }

    /// The `count` chunks from `first` on, or `None` where `count` is zero or the end does not fit 64 bits.
    pub const fn with_len(first: ChunkId, count: u64) -> Option<Self> {
        if count == 0 {
            return None;
        }
        match first.checked_add(count - 1) {
            Some(last) => Some(Self { first, last }),
            None => None,
        }
    }

    /// The range between two chunks given in either order, both included.
    pub(crate) const fn between(a: ChunkId, b: ChunkId) -> Self {
        if a <= b { Self { first: a, last: b } } else { Self { first: b, last: a } }
    }

    /// The first chunk.
    pub const fn first(self) -> ChunkId {
        self.first
    }

    /// The last chunk; it belongs to the range.
    pub const fn last(self) -> ChunkId {
        self.last
    }

    /// Number of chunks; saturates for the range of all 2^64 chunks.
    #[allow(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub const fn len(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// Does the range hold `chunk`?
    pub const fn contains(self, chunk: ChunkId) -> bool {
        self.first <= chunk && chunk <= self.last
    }

    /// Does the range hold all of `other`?
    pub const fn covers(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// What both ranges hold.
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }

    /// The chunks, in order.
    pub fn chunks(self) -> impl DoubleEndedIterator<Item = ChunkId> + Clone {
        self.first..=self.last
    }
}

impl fmt::Debug for ChunkRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..={}", self.first, self.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_included() {
        let r = ChunkRange::new(3, 5).unwrap();
        assert_eq!(r.len(), 3);
        assert!(r.contains(3) && r.contains(5) && !r.contains(6));
        assert!(r.chunks().eq([3, 4, 5]));
        assert_eq!(ChunkRange::new(5, 3), None);
        assert_eq!(ChunkRange::with_len(3, 3), Some(r));
        assert_eq!(ChunkRange::with_len(3, 0), None);
        assert_eq!(ChunkRange::with_len(u64::MAX, 2), None);
        assert_eq!(ChunkRange::new(0, u64::MAX).unwrap().len(), u64::MAX);
    }

    #[test]
    fn intersections() {
        let r = |a, b| ChunkRange::new(a, b).unwrap();
        assert_eq!(r(0, 5).intersection(r(5, 9)), Some(ChunkRange::single(5)));
        assert_eq!(r(0, 4).intersection(r(5, 9)), None);
        assert!(r(0, 9).covers(r(3, 9)) && !r(3, 9).covers(r(0, 9)));
    }
}
