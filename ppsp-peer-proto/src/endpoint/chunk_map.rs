use alloc::{collections::VecDeque, vec::Vec};

use ppsp_core::{ChunkId, ChunkRange};

/// A sparse map from chunks to small numbers, made for what is under way: neighbours come and go together.
///
/// Neighbouring chunks share a block of 64, found by the block looked at last or by a search over few blocks; blocks are
/// used again, so that a window that moves over the content allocates nothing.
#[derive(Debug, Default)]
pub(super) struct ChunkMap {
    /// Numbers of the blocks in use, in order, and their places in `blocks`.
    index: VecDeque<(u64, u32)>,
    blocks: Vec<Block>,
    /// A place out of use, which holds the next as its first value; `blocks.len()` or more: there is none.
    free: u32,
    /// Entry of `index` found last.
    latest: u32,
    len: u32,
}

#[derive(Clone, Debug)]
struct Block {
    /// Bit per chunk.
    used: u64,
    values: [u32; 64],
}

impl ChunkMap {
    /// Enters a chunk; returns what was there.
    pub(super) fn insert(&mut self, chunk: ChunkId, value: u32) -> Option<u32> {
        let at = self.enter(chunk / 64);
        let (bit, slot) = bit(chunk);
        let block = self.block_mut(at)?;
        let old = core::mem::replace(block.values.get_mut(slot)?, value);
        let was = block.used & bit != 0;
        block.used |= bit;
        self.len += u32::from(!was);
        was.then_some(old)
    }

    pub(super) fn remove(&mut self, chunk: ChunkId) -> Option<u32> {
        let at = self.find(chunk / 64)?;
        self.latest = at as u32;
        let (bit, slot) = bit(chunk);
        let block = self.block_mut(at)?;
        if block.used & bit == 0 {
            return None;
        }
        block.used &= !bit;
        let value = *block.values.get(slot)?;
        if block.used == 0 {
            self.release(at);
        }
        self.len -= 1;
        Some(value)
    }

    pub(super) fn get(&self, chunk: ChunkId) -> Option<u32> {
        let (bit, slot) = bit(chunk);
        let block = self.block(self.find(chunk / 64)?)?;
        if block.used & bit != 0 { block.values.get(slot).copied() } else { None }
    }

    /// Takes out the chunks of a range, in order.
    pub(super) fn drain(&mut self, range: ChunkRange, mut each: impl FnMut(ChunkId, u32)) {
        let mut at = self.lower(range.first() / 64);
        while let Some((number, mask)) = self.overlap(at, range) {
            let Some(block) = self.block_mut(at) else { return };
            let mut hit = block.used & mask;
            block.used &= !mask;
            let emptied = block.used == 0;
            self.len -= hit.count_ones();
            while hit != 0 {
                let slot = hit.trailing_zeros();
                hit &= hit - 1;
                if let Some(&value) = self.block(at).and_then(|block| block.values.get(slot as usize)) {
                    each(number * 64 + u64::from(slot), value);
                }
            }
            if emptied {
                self.release(at);
            } else {
                at += 1;
            }
        }
    }

    /// The chunks of a range, in order.
    pub(super) fn iter(&self, range: ChunkRange) -> impl Iterator<Item = (ChunkId, u32)> + '_ {
        let mut at = self.lower(range.first() / 64);
        let mut rest = 0;
        core::iter::from_fn(move || {
            while rest == 0 {
                let (_, mask) = self.overlap(at, range)?;
                rest = self.block(at)?.used & mask;
                at += 1;
            }
            let slot = rest.trailing_zeros();
            rest &= rest - 1;
            let &(number, _) = self.index.get(at - 1)?;
            Some((number * 64 + u64::from(slot), *self.block(at - 1)?.values.get(slot as usize)?))
        })
    }

    /// Are there at least `n` chunks of a range?
    pub(super) fn has(&self, range: ChunkRange, n: usize) -> bool {
        if n > self.len() {
            return false;
        }
        let mut count = 0;
        let mut at = self.lower(range.first() / 64);
        while count < n {
            let Some((_, mask)) = self.overlap(at, range) else { return false };
            count += self.block(at).map_or(0, |block| (block.used & mask).count_ones() as usize);
            at += 1;
        }
        true
    }

    pub(super) fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The block at a place of the index, if it touches the range: its number, and the bits that lie in the range.
    fn overlap(&self, at: usize, range: ChunkRange) -> Option<(u64, u64)> {
        let &(number, _) = self.index.get(at)?;
        let (first, last) = (range.first() / 64, range.last() / 64);
        if number > last {
            return None;
        }
        let mut mask = u64::MAX;
        if number == first {
            mask &= u64::MAX << (range.first() % 64);
        }
        if number == last {
            mask &= u64::MAX >> (63 - range.last() % 64);
        }
        Some((number, mask))
    }

    fn block(&self, at: usize) -> Option<&Block> {
        self.blocks.get(self.index.get(at)?.1 as usize)
    }

    fn block_mut(&mut self, at: usize) -> Option<&mut Block> {
        self.blocks.get_mut(self.index.get(at)?.1 as usize)
    }

    fn find(&self, number: u64) -> Option<usize> {
        let at = self.lower(number);
        self.index.get(at).filter(|entry| entry.0 == number).map(|_| at)
    }

    /// Place in the index of the first block from `number` on. Mostly that is the block looked at last or one beside it.
    fn lower(&self, number: u64) -> usize {
        let latest = self.latest as usize;
        for at in [latest, latest + 1, latest.wrapping_sub(1)] {
            if self.index.get(at).is_some_and(|entry| entry.0 == number) {
                return at;
            }
        }
        self.index.partition_point(|entry| entry.0 < number)
    }

    /// Place in the index of a block, which is added where there is none.
    fn enter(&mut self, number: u64) -> usize {
        let at = self.lower(number);
        if self.index.get(at).is_none_or(|entry| entry.0 != number) {
            let place = self.free.min(self.blocks.len() as u32);
            match self.blocks.get(place as usize) {
                Some(block) => self.free = block.values[0],
                None => {
                    self.blocks.push(Block { used: 0, values: [0; 64] });
                    self.free = u32::MAX;
                }
            }
            self.index.insert(at, (number, place));
        }
        self.latest = at as u32;
        at
    }

    /// Drops an empty block.
    fn release(&mut self, at: usize) {
        if let Some((_, place)) = self.index.remove(at)
            && let Some(block) = self.blocks.get_mut(place as usize)
        {
            block.values[0] = core::mem::replace(&mut self.free, place);
        }
    }

    /// Gives memory back while nothing is under way.
    pub(super) fn rest(&mut self) {
        if self.is_empty() && !self.blocks.is_empty() {
            *self = Self::default();
        }
    }
}

fn bit(chunk: ChunkId) -> (u64, usize) {
    (1 << (chunk % 64), (chunk % 64) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::BTreeMap, vec::Vec};

    proptest! {
        #[test]
        fn behaves_like_a_map(
            steps in proptest::collection::vec((0u8..7, 0u64..700, 0u64..300, 0u32..5), 1..300),
            base in prop_oneof![Just(0), Just(1 << 40), Just(u64::MAX - 1000)],
        ) {
            let (mut map, mut model) = (ChunkMap::default(), BTreeMap::new());
            for (step, chunk, more, value) in steps {
                let chunk = base + chunk;
                let range = ChunkRange::new(chunk, chunk + more).unwrap();
                match step {
                    0..3 => prop_assert_eq!(map.insert(chunk, value), model.insert(chunk, value)),
                    3 => prop_assert_eq!(map.remove(chunk), model.remove(&chunk)),
                    4 => {
                        let mut got = Vec::new();
                        map.drain(range, |chunk, value| got.push((chunk, value)));
                        let want: Vec<_> = model.range(chunk..=chunk + more).map(|(&c, &v)| (c, v)).collect();
                        model.retain(|c, _| !range.contains(*c));
                        prop_assert_eq!(got, want);
                    }
                    5 => prop_assert!(map.iter(range).eq(model.range(chunk..=chunk + more).map(|(&c, &v)| (c, v)))),
                    _ => {
                        let count = model.range(chunk..=chunk + more).count();
                        prop_assert!(map.has(range, count) && !map.has(range, count + 1));
                        map.rest();
                    }
                }
                prop_assert_eq!(map.get(chunk), model.get(&chunk).copied());
                prop_assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
            }
        }
    }
}
