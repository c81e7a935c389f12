use ppsp_core::{ChunkId, ChunkRange};

/// Chunks in a group that may be served out of order.
pub(super) const GROUP: u64 = 64;

/// The order in which the chunks of a REQUEST are served.
///
/// Aligned groups of 64 are served in bit-reversed order: then each datagram can still be verified from those before
/// it, no hash is sent that would not be sent anyway, and datagrams of equal length come in runs, which is what makes
/// sending cheap. In order, every other datagram is longer by a hash. Shorter requests are served in order.
pub(super) fn service_order(range: ChunkRange, in_order: bool) -> impl Iterator<Item = ChunkId> {
    let mut next = Some(range.first());
    let mut group: Option<(ChunkId, u64)> = None;
    core::iter::from_fn(move || {
        if let Some((base, k)) = group {
            group = Some((base, k + 1)).filter(|g| g.1 < GROUP);
            return Some(base + reversed(k));
        }
        let chunk = next.filter(|&c| c <= range.last())?;
        if !in_order && is_group(chunk, range.last()) {
            next = chunk.checked_add(GROUP);
            group = Some((chunk, 1));
        } else {
            next = chunk.checked_add(1);
        }
        Some(chunk)
    })
}

/// Does a whole group begin at `chunk` and end by `last`?
pub(super) fn is_group(chunk: ChunkId, last: ChunkId) -> bool {
    chunk.is_multiple_of(GROUP) && last - chunk >= GROUP - 1
}

/// The place in its group of the `k`th chunk to be served.
pub(super) fn reversed(k: u64) -> u64 {
    k.reverse_bits() >> (64 - GROUP.trailing_zeros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, vec::Vec};

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
    }
}
