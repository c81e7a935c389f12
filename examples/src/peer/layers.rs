//! Layers: content that is of use only together with other content, as an enhancement with its base (`dependencyId`).
//!
//! The base goes first: of an enhancement nothing is fetched but the segment that is needed now, and that once its base is here, until the
//! base is here for the next [`TARGET`] segments too. A picture that is coarse for a while is better than one that stands still.

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

    /// What may be fetched of a window that begins with this byte, in chunks of this size. `held`: how many bytes of the base are here
    /// from one on; `is_read`: somebody waits for the base.
    pub(super) fn allow(
        &self,
        first: u64,
        window: ChunkRange,
        chunk_size: u64,
        held: impl Fn(u64) -> u64,
        is_read: bool,
    ) -> Allowed {
        // A chunk at the edge is of two segments; what is needed is in the second one where that begins there.
        let now = self.segments.partition_point(|(_, above)| above.end <= first);
        let Some((below, above)) = self.segments.get(now) else { return Allowed::All };
        let target = self.segments.get(now + TARGET).or(self.segments.last()).map_or(below.end, |(below, _)| below.end);
        let held = held(below.start);
        if held >= target - below.start {
            return Allowed::All;
        }
        if held < below.end - below.start && is_read {
            return Allowed::Nothing;
        }
        let last = above.end.saturating_sub(1) / chunk_size.max(1);
        Allowed::Only(ChunkRange::new(window.first(), window.last().min(last)).unwrap_or(window))
    }
}

/// How far the base lets a layer go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Allowed {
    /// It is far enough for all of the window, and for the rest.
    All,
    /// This, and nothing else.
    Only(ChunkRange),
    /// The base of this segment is still to come.
    Nothing,
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
        let allow = |have: u64| above.allow(250, window, 1, |from| have.saturating_sub(from), true);
        let only = |first, last| Allowed::Only(ChunkRange::new(first, last).unwrap());
        for have in [0, 10, 29] {
            assert_eq!(allow(have), Allowed::Nothing, "its base is to come, with {have}");
        }
        for have in [30, 69] {
            assert_eq!(allow(have), only(250, 299), "the rest of the third segment, with {have}");
        }
        assert_eq!(allow(70), Allowed::All, "the third segment of the base and four more");
        assert_eq!(above.allow(250, window, 1, |_| 0, false), only(250, 299), "nobody waits for the base");
        let segment = ChunkRange::new(200, 299).unwrap();
        assert_eq!(above.allow(200, segment, 1, |_| 49, true), only(200, 299), "who reads it reads nothing else");
        assert_eq!(above.allow(200, segment, 1, |_| 50, true), Allowed::All);
        let last = ChunkRange::new(1950, 1999).unwrap();
        assert_eq!(above.allow(1950, last, 1, |_| 9, false), only(1950, 1999), "the one that is needed is");
        assert_eq!(above.allow(5000, ChunkRange::single(5000), 1, |_| 0, true), Allowed::All);
        // A chunk at the edge is of both segments.
        assert_eq!(above.allow(0, ChunkRange::new(0, 50).unwrap(), 30, |_| 0, false), only(0, 3));
        let second = ChunkRange::new(3, 50).unwrap();
        assert_eq!(above.allow(100, second, 30, |_| 0, false), only(3, 6));
        assert_eq!(above.allow(99, second, 30, |_| 0, false), only(3, 3));
    }
}
