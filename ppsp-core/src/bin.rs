use core::fmt;

use crate::{ChunkId, ChunkRange};

/// A node of the binary tree over chunks, by its bin number (RFC 7574 §4.2).
///
/// Leaves have even numbers: chunk `c` is bin `2c`. A node of height `h` has `h` ones at the bottom of its number; the
/// tallest node, of height 63, covers chunks `0..2^63` and stands for "everything". Every value but
/// `0xFFFF_FFFF_FFFF_FFFF`, the wire's "empty", is a node.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Bin(u64);

impl Bin {
    /// The node that covers every chunk below 2^63.
    pub const ALL: Self = Self(u64::MAX >> 1);

    /// The node with this bin number; `None` for the number that stands for "empty".
    pub const fn new(number: u64) -> Option<Self> {
        if number == u64::MAX { None } else { Some(Self(number)) }
    }

    /// The leaf of a chunk; `None` from chunk 2^63 on, where bin numbers end.
    pub const fn leaf(chunk: ChunkId) -> Option<Self> {
        if chunk < 1 << 63 { Some(Self(chunk << 1)) } else { None }
    }

    /// The node of height `height` whose subtree holds `chunk`; `None` where bin numbers end.
    pub const fn at(height: u32, chunk: ChunkId) -> Option<Self> {
        if height > 63 || chunk >= 1 << 63 {
            return None;
        }
        let ones = (1u64 << height) - 1;
        Some(Self(((chunk << 1) & !((ones << 1) | 1)) | ones))
    }

    /// The node that covers exactly this range, where the range is an aligned power of two.
    pub const fn exactly(range: ChunkRange) -> Option<Self> {
        let len = range.len();
        if !len.is_power_of_two() || range.first() & (len - 1) != 0 || range.last() >= 1 << 63 {
            return None;
        }
        Self::at(len.trailing_zeros(), range.first())
    }

    /// The bin number.
    pub const fn number(self) -> u64 {
        self.0
    }

    /// Height above the leaves; a leaf has 0.
    pub const fn height(self) -> u32 {
        self.0.trailing_ones()
    }

    /// Is this the leaf of a single chunk?
    pub const fn is_leaf(self) -> bool {
        self.0 & 1 == 0
    }

    /// First chunk of the subtree.
    pub const fn first_chunk(self) -> ChunkId {
        (self.0 & (self.0.wrapping_add(1))) >> 1
    }

    /// Last chunk of the subtree.
    pub const fn last_chunk(self) -> ChunkId {
        (self.0 | (self.0.wrapping_add(1))) >> 1
    }

    /// The chunks of the subtree.
    pub const fn range(self) -> ChunkRange {
        match ChunkRange::new(self.first_chunk(), self.last_chunk()) {
            Some(range) => range,
            None => ChunkRange::single(self.first_chunk()), // first ≤ last by construction
        }
    }

    /// The node above; `None` above [`Bin::ALL`].
    #[must_use]
    pub const fn parent(self) -> Option<Self> {
        let h = self.height();
        if h >= 63 {
            return None;
        }
        let span = 1u64 << h;
        // Clear the bit that tells left from right, set the one that tells height.
        Some(Self((self.0 | span) & !(span << 1)))
    }

    /// The other child of the parent; `None` for [`Bin::ALL`].
    #[must_use]
    pub const fn sibling(self) -> Option<Self> {
        let h = self.height();
        if h >= 63 { None } else { Some(Self(self.0 ^ (2 << h))) }
    }

    /// Is this the left child of its parent?
    pub const fn is_left(self) -> bool {
        let h = self.height();
        h >= 63 || self.0 & (2 << h) == 0
    }

    /// The two children, left first; `None` for a leaf.
    pub const fn children(self) -> Option<(Self, Self)> {
        let h = self.height();
        if h == 0 {
            return None;
        }
        let half = 1u64 << (h - 1);
        Some((Self(self.0 - half), Self(self.0 + half)))
    }

    /// Is `other` this node or below it?
    pub const fn contains(self, other: Self) -> bool {
        self.range().covers(other.range())
    }

    /// The fewest nodes that together cover exactly `range`, left to right. At most 126; chunks from 2^63 on are left out.
    pub fn cover(range: ChunkRange) -> impl Iterator<Item = Self> + Clone {
        const LAST: ChunkId = (1 << 63) - 1;
        let mut next = Some(range.first()).filter(|&c| c <= LAST);
        let last = range.last().min(LAST);
        core::iter::from_fn(move || {
            let first = next?;
            // As tall as the alignment of the start allows, then as short as the end demands.
            let aligned = if first == 0 { 63 } else { first.trailing_zeros() };
            let left = last - first + 1;
            let height = aligned.min(left.ilog2());
            let bin = Self::at(height, first)?;
            next = bin.last_chunk().checked_add(1).filter(|&c| c <= last);
            Some(bin)
        })
    }
}

impl fmt::Debug for Bin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bin {} ({:?})", self.0, self.range())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn bin(n: u64) -> Bin {
        Bin::new(n).unwrap()
    }

    // RFC 7574 §4.2, Figure 2: the bin number tree of an interval of width 8.
    #[test]
    fn figure_2() {
        for (n, first, last, parent) in [
            (0, 0, 0, 1),
            (2, 1, 1, 1),
            (1, 0, 1, 3),
            (5, 2, 3, 3),
            (3, 0, 3, 7),
            (11, 4, 7, 7),
            (9, 4, 5, 11),
            (13, 6, 7, 11),
            (14, 7, 7, 13),
        ] {
            let b = bin(n);
            assert_eq!((b.first_chunk(), b.last_chunk()), (first, last), "{b:?}");
            assert_eq!(b.parent(), Some(bin(parent)), "{b:?}");
            assert_eq!(Bin::exactly(b.range()), Some(b));
            assert_eq!(Bin::at(b.height(), last), Some(b));
        }
        assert_eq!(bin(7).children(), Some((bin(3), bin(11))));
        assert_eq!(bin(9).sibling(), Some(bin(13)));
        assert!(bin(9).is_left() && !bin(13).is_left());
    }

    #[test]
    fn special_numbers() {
        assert_eq!(Bin::new(u64::MAX), None);
        assert_eq!(Bin::ALL.range(), ChunkRange::new(0, (1 << 63) - 1).unwrap());
        assert_eq!(Bin::ALL.height(), 63);
        assert_eq!(Bin::ALL.parent(), None);
        assert_eq!(Bin::ALL.sibling(), None);
        assert_eq!(Bin::leaf(1 << 63), None);
        // The highest number that is a node: the last leaf.
        assert_eq!(bin(u64::MAX - 1).first_chunk(), (1 << 63) - 1);
        assert!(Bin::cover(ChunkRange::new(0, u64::MAX).unwrap()).eq([Bin::ALL]));
        assert_eq!(Bin::cover(ChunkRange::single(1 << 63)).count(), 0);
    }

    #[test]
    fn cover_is_minimal_and_exact() {
        let numbers = |a, b| Bin::cover(ChunkRange::new(a, b).unwrap()).map(Bin::number).collect::<Vec<_>>();
        assert_eq!(numbers(0, 6), [3, 9, 12]);
        assert_eq!(numbers(5, 25), [10, 13, 23, 39, 49]);
        for a in 0..20 {
            for b in a..40 {
                let bins: Vec<Bin> = Bin::cover(ChunkRange::new(a, b).unwrap()).collect();
                let chunks: Vec<_> = bins.iter().flat_map(|b| b.range().chunks()).collect();
                assert!(chunks.into_iter().eq(a..=b));
                assert!(bins.windows(2).all(|w| w[0].sibling() != Some(w[1])), "two halves stay apart: {bins:?}");
            }
        }
    }
}
