//! Layers: content that is of use only together with other content, as an enhancement with its base (`dependencyId`).
//!
//! The base goes first: of an enhancement nothing is fetched but the segment that is needed now, until the base is here for the next
//! [`TARGET`] segments. A picture that is coarse for a while is better than one that stands still.

use std::ops::Range;

use ppsp_core::{ChunkRange, SwarmId, descriptor::Parts};

/// Segments of the base that are to be here, behind the one that is needed now, before more of what lies above it is.
const TARGET: usize = 4;

/// On what content stands.
#[derive(Clone, Debug)]
pub struct Above {
    /// The swarm of the base.
    pub(super) base: SwarmId,
    /// The bytes of each segment, of the base and of what stands on it.
    segments: Vec<(Range<u64>, Range<u64>)>,
}

impl Above {
    /// Of content with these parts on a base with those. `None` where they do not go together: each segment has to be a part.
    pub fn new(base: SwarmId, base_parts: &Parts, parts: &Parts) -> Option<Self> {
        let (below, above) = (base_parts.list(), parts.list());
        let segments = below.iter().zip(above).map(|(below, above)| (below.range.clone(), above.range.clone()));
        (below.len() == above.len() && above.len() > 1).then(|| Self { base, segments: segments.collect() })
    }

    /// What may be fetched now, and nothing else, of a window that begins with this byte, in chunks of this size; `None` where the base is
    /// far enough for all of it and for the rest. `held`: how many bytes of the base are here from one on.
    pub(super) fn allow(
        &self,
        first: u64,
        window: ChunkRange,
        chunk_size: u64,
        held: impl Fn(u64) -> u64,
    ) -> Option<ChunkRange> {
        // A chunk at the edge is of two segments; what is needed is in the second one where that begins there.
        let now = self.segments.partition_point(|(_, above)| above.end <= first);
        let (below, above) = self.segments.get(now)?;
        let target = self.segments.get(now + TARGET).or(self.segments.last()).map_or(below.end, |(below, _)| below.end);
        if held(below.start) >= target - below.start {
            return None;
        }
        let last = above.end.saturating_sub(1) / chunk_size.max(1);
        Some(ChunkRange::new(window.first(), window.last().min(last)).unwrap_or(window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_base_goes_first_up_to_the_target() {
        // Segments of 100 bytes on a base of 10 each.
        let segments = (0..20).map(|n| (n * 10..n * 10 + 10, n * 100..n * 100 + 100)).collect();
        let above = Above { base: SwarmId::new([1; 32]).unwrap(), segments };
        let window = ChunkRange::new(250, 900).unwrap();
        let allow = |have: u64| above.allow(250, window, 1, |from| have.saturating_sub(from));
        for have in [0, 10, 69] {
            assert_eq!(allow(have), ChunkRange::new(250, 299), "the rest of the third segment, with {have}");
        }
        assert_eq!(allow(70), None, "the third segment of the base and four more");
        let segment = ChunkRange::new(200, 299).unwrap();
        assert_eq!(above.allow(200, segment, 1, |_| 49), Some(segment), "who reads it reads nothing else");
        assert_eq!(above.allow(200, segment, 1, |_| 50), None);
        let last = ChunkRange::new(1950, 1999).unwrap();
        assert_eq!(above.allow(1950, last, 1, |_| 9), Some(last), "the one that is needed is");
        assert_eq!(above.allow(5000, ChunkRange::single(5000), 1, |_| 0), None);
        // A chunk at the edge is of both segments.
        assert_eq!(above.allow(0, ChunkRange::new(0, 50).unwrap(), 30, |_| 0), ChunkRange::new(0, 3));
        let second = ChunkRange::new(3, 50).unwrap();
        assert_eq!(above.allow(100, second, 30, |_| 0), ChunkRange::new(3, 6));
        assert_eq!(above.allow(99, second, 30, |_| 0), Some(ChunkRange::single(3)));
    }
}
