use ppsp_core::{ChunkId, ChunkRange, RangeSet};

/// Chunks in a group that may be served out of order.
const GROUP: u64 = 128;
/// Chunks in the smaller groups of what is left.
const LEAST_GROUP: u64 = 64;

/// The order in which the chunks of a REQUEST are served.
///
/// Aligned groups of 128, and of 64 where that is all there is, are served in bit-reversed order: then each datagram can
/// still be verified from those before it, no hash is sent that would not be sent anyway, and datagrams of equal length
/// come in runs, which is what makes sending cheap. In order, every other datagram is longer by a hash. Shorter requests
/// are served in order.
pub(super) fn service_order(range: ChunkRange, in_order: bool) -> impl Iterator<Item = ChunkId> {
    let mut next = Some(range.first());
    let mut rest: Option<(ChunkId, u64, u64)> = None;
    core::iter::from_fn(move || {
        if let Some((base, k, size)) = rest {
            rest = Some((base, k + 1, size)).filter(|_| k + 1 < size);
            return Some(base + reversed(k, size));
        }
        let chunk = next.filter(|&c| c <= range.last())?;
        if let Some(size) = group(chunk, range.last()).filter(|_| !in_order) {
            next = chunk.checked_add(size);
            rest = Some((chunk, 1, size));
        } else {
            next = chunk.checked_add(1);
        }
        Some(chunk)
    })
}

/// Size of the group that begins at `chunk` and ends by `last`, if there is one.
pub(super) fn group(chunk: ChunkId, last: ChunkId) -> Option<u64> {
    [GROUP, LEAST_GROUP].into_iter().find(|&size| chunk.is_multiple_of(size) && last - chunk >= size - 1)
}

/// The place in its group of the `k`th chunk to be served.
pub(super) fn reversed(k: u64, size: u64) -> u64 {
    k.reverse_bits() >> (64 - size.trailing_zeros())
}

/// How many of the last chunks before one a peer lacks that has these, counted from the first of them that it has, for that is
/// where it began to read. In steps, for a few more or less tell nothing.
pub(super) fn lacks_before(have: &RangeSet, chunk: ChunkId) -> u64 {
    const LOOK_AT: u64 = 512;
    const STEP: u64 = 16;
    let Some(begun) = have.next_set(chunk.saturating_sub(LOOK_AT)) else { return 0 };
    let before = chunk.checked_sub(1).and_then(|last| ChunkRange::new(begun.first(), last));
    before.map_or(0, |before| before.len() - have.count(before)) / STEP
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::BTreeSet, vec::Vec};

    proptest! {
        #[test]
        fn what_is_lacking_is_counted(runs in prop::collection::vec((0..2000_u64, 0..300_u64), 0..12), chunk in 0..2500_u64) {
            let have: RangeSet = runs.iter().filter_map(|&(first, more)| ChunkRange::new(first, first + more)).collect();
            let before = (chunk.saturating_sub(512)..chunk).skip_while(|&at| !have.contains(at));
            prop_assert_eq!(lacks_before(&have, chunk), before.filter(|&at| !have.contains(at)).count() as u64 / 16);
        }
    }

    #[test]
    fn who_reads_lacks_less_than_who_fetches_ahead() {
        let held = |runs: &[(u64, u64)]| runs.iter().filter_map(|&(a, b)| ChunkRange::new(a, b)).collect::<RangeSet>();
        let reads = held(&[(0, 999), (1040, 1047), (1300, 1307)]);
        let order: Vec<u64> = [1000, 1030, 1200, 1400].map(|chunk| lacks_before(&reads, chunk)).to_vec();
        assert!(order.is_sorted() && order[0] == 0 && order[3] > 20, "{order:?}");
        // After a jump there is nothing before it that is still wanted; nor for who has just come.
        assert_eq!(lacks_before(&held(&[(0, 999), (5000, 5007)]), 5010), 0);
        assert_eq!((lacks_before(&RangeSet::new(), 100), lacks_before(&RangeSet::new(), u64::MAX)), (0, 0));
    }

    #[test]
    fn every_chunk_once() {
        for (a, b) in [(0, 0), (0, 63), (5, 300), (64, 127), (63, 128), (u64::MAX - 70, u64::MAX)] {
            let range = ChunkRange::new(a, b).unwrap();
            let order: Vec<_> = service_order(range, false).collect();
            assert_eq!(order.len() as u64, range.len());
            assert!(order.iter().copied().collect::<BTreeSet<_>>().into_iter().eq(range.chunks()));
            assert!(service_order(range, true).eq(range.chunks()));
        }
        let order: Vec<_> = service_order(ChunkRange::new(60, 130).unwrap(), false).collect();
        assert_eq!(order[..8], [60, 61, 62, 63, 64, 96, 80, 112]);
        assert_eq!(order[68..], [128, 129, 130]);
        let order: Vec<_> = service_order(ChunkRange::new(128, 255).unwrap(), false).collect();
        assert_eq!(order[..4], [128, 192, 160, 224]);
    }
}
