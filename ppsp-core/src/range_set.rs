use alloc::{
    boxed::Box,
    collections::{BTreeMap, btree_map},
};
use core::{fmt, iter::FusedIterator};

use crate::{ChunkId, ChunkRange};

/// A set of chunks, over all 2^64 of them.
///
/// Small for both extremes: "everything" is one part, and "every other chunk" costs a bit per chunk and not an interval.
/// A set that a stranger describes is to be bounded by its [`parts`](Self::parts).
///
/// Chunks lie in blocks of 512. A block is in exactly one of three states: absent from both maps (empty), inside one run
/// of `full`, or in `mixed` with a bitmap that is neither all zeros nor all ones. Runs of `full` neither overlap nor
/// touch. So equal sets have equal representations.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct RangeSet {
    /// First block of a run of full blocks to its last.
    full: BTreeMap<u64, u64>,
    /// Bitmaps of the partly filled blocks.
    mixed: BTreeMap<u64, Box<Bits>>,
    /// Number of chunks, modulo 2^64: the full set has as many.
    count: u64,
}

impl RangeSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { full: BTreeMap::new(), mixed: BTreeMap::new(), count: 0 }
    }

    /// Adds a range. `true` if any of it was missing.
    pub fn insert(&mut self, range: ChunkRange) -> bool {
        let before = self.size();
        let (first, last) = (range.first() / BLOCK, range.last() / BLOCK);
        let (from, to) = (offset(range.first()), offset(range.last()));
        if first == last {
            self.insert_in_block(first, from, to);
        } else {
            // The ends may be partial, all between is whole.
            if from != 0 {
                self.insert_in_block(first, from, TOP);
            }
            if to != TOP {
                self.insert_in_block(last, 0, to);
            }
            let (first, last) = (first + u64::from(from != 0), last - u64::from(to != TOP));
            if first <= last {
                self.insert_blocks(first, last);
            }
        }
        self.size() != before
    }

    /// Takes a range out. `true` if any of it was there.
    pub fn remove(&mut self, range: ChunkRange) -> bool {
        let before = self.size();
        let (first, last) = (range.first() / BLOCK, range.last() / BLOCK);
        let (from, to) = (offset(range.first()), offset(range.last()));
        if first == last {
            self.remove_in_block(first, from, to);
        } else {
            if from != 0 {
                self.remove_in_block(first, from, TOP);
            }
            if to != TOP {
                self.remove_in_block(last, 0, to);
            }
            let (first, last) = (first + u64::from(from != 0), last - u64::from(to != TOP));
            if first <= last {
                self.remove_blocks(first, last);
            }
        }
        self.size() != before
    }

    /// Takes everything out.
    pub fn clear(&mut self) {
        *self = Self::new();
    }

    /// Adds all of `other`.
    pub fn union_with(&mut self, other: &Self) {
        for (&first, &last) in &other.full {
            self.insert_blocks(first, last);
        }
        for (&block, bits) in &other.mixed {
            self.insert_bits(block, bits);
        }
    }

    /// Takes all of `other` out.
    pub fn subtract(&mut self, other: &Self) {
        for (&first, &last) in &other.full {
            self.remove_blocks(first, last);
        }
        for (&block, bits) in &other.mixed {
            self.remove_bits(block, bits);
        }
    }

    /// Keeps only what is in `other` too.
    pub fn intersect_with(&mut self, other: &Self) {
        let mut both = Self::new();
        for (&block, bits) in &self.mixed {
            match other.block(block) {
                Block::Empty => {}
                Block::Full(_) => both.insert_bits(block, bits),
                Block::Mixed(others) => {
                    let mut bits = **bits;
                    bits.iter_mut().zip(others).for_each(|(word, other)| *word &= other);
                    both.insert_bits(block, &bits);
                }
            }
        }
        for (&first, &last) in &self.full {
            for (&block, bits) in other.mixed.range(first..=last) {
                both.insert_bits(block, bits);
            }
            for (&start, &end) in other.full.range(other.full_key(first)..=last) {
                let (start, end) = (start.max(first), end.min(last));
                if start <= end {
                    both.insert_blocks(start, end);
                }
            }
        }
        *self = both;
    }

    /// Is the chunk in the set?
    pub fn contains(&self, chunk: ChunkId) -> bool {
        match self.block(chunk / BLOCK) {
            Block::Empty => false,
            Block::Full(_) => true,
            Block::Mixed(bits) => has(bits, offset(chunk)),
        }
    }

    /// Is all of the range in the set?
    pub fn covers(&self, range: ChunkRange) -> bool {
        self.find_gap(range.first()).is_none_or(|gap| gap > range.last())
    }

    /// Is any of the range in the set?
    pub fn intersects(&self, range: ChunkRange) -> bool {
        self.find_set(range.first()).is_some_and(|chunk| chunk <= range.last())
    }

    /// Is the set empty?
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.full.is_empty()
    }

    /// Number of chunks; saturates for the set of all 2^64. Costs nothing.
    pub fn len(&self) -> u64 {
        if self.count == 0 && !self.full.is_empty() { u64::MAX } else { self.count }
    }

    /// Number of chunks of `range` that are in the set; saturates. Costs O(parts in the range).
    pub fn count(&self, range: ChunkRange) -> u64 {
        let (first, last) = (range.first() / BLOCK, range.last() / BLOCK);
        let full = self.full.range(self.full_key(first)..=last).filter_map(|(&start, &end)| {
            ChunkRange::between(start * BLOCK, end * BLOCK + (BLOCK - 1)).intersection(range).map(ChunkRange::len)
        });
        let mixed = self.mixed.range(first..=last).map(|(&block, bits)| {
            let from = if block == first { offset(range.first()) } else { 0 };
            let to = if block == last { offset(range.last()) } else { TOP };
            words(from, to).map(|(i, mask)| u64::from((bits[i] & mask).count_ones())).sum()
        });
        full.chain(mixed).fold(0, u64::saturating_add)
    }

    /// The first chunk.
    pub fn first(&self) -> Option<ChunkId> {
        self.find_set(0)
    }

    /// The last chunk.
    pub fn last(&self) -> Option<ChunkId> {
        let full = self.full.last_key_value().map(|(_, &last)| last * BLOCK + (BLOCK - 1));
        let mixed = self
            .mixed
            .last_key_value()
            .and_then(|(&block, bits)| Some(block * BLOCK + u64::from(last_one(bits, TOP)?)));
        full.max(mixed)
    }

    /// The first run at or after `from`, without what of it lies before `from`.
    pub fn next_set(&self, from: ChunkId) -> Option<ChunkRange> {
        let first = self.find_set(from)?;
        let last = self.find_gap(first).map_or(ChunkId::MAX, |gap| gap.saturating_sub(1));
        Some(ChunkRange::between(first, last))
    }

    /// The first run of missing chunks at or after `from`, without what of it lies before `from`. The last gap of all
    /// ends at `u64::MAX`.
    pub fn next_gap(&self, from: ChunkId) -> Option<ChunkRange> {
        let first = self.find_gap(from)?;
        let last = self.find_set(first).map_or(ChunkId::MAX, |chunk| chunk.saturating_sub(1));
        Some(ChunkRange::between(first, last))
    }

    /// The whole run around a chunk; `None` where the chunk is not in the set.
    pub fn run_at(&self, chunk: ChunkId) -> Option<ChunkRange> {
        if !self.contains(chunk) {
            return None;
        }
        let first = self.rfind_gap(chunk).map_or(0, |gap| gap.saturating_add(1));
        let last = self.find_gap(chunk).map_or(ChunkId::MAX, |gap| gap.saturating_sub(1));
        Some(ChunkRange::between(first, last))
    }

    /// The runs in order, each as long as it can be.
    pub fn runs(&self) -> Runs<'_> {
        self.runs_in(ChunkRange::between(0, ChunkId::MAX))
    }

    /// What the set holds of `range`, as runs in order.
    pub fn runs_in(&self, range: ChunkRange) -> Runs<'_> {
        let (first, last) = (range.first() / BLOCK, range.last() / BLOCK);
        Runs {
            full: self.full.range(self.full_key(first)..=last),
            mixed: self.mixed.range(first..=last),
            next_full: None,
            next_mixed: None,
            bits: None,
            ready: None,
            bounds: range,
        }
    }

    /// Number of parts stored, each of up to 80 bytes: runs of full blocks and bitmaps. The bound of the set's memory.
    pub fn parts(&self) -> usize {
        self.full.len() + self.mixed.len()
    }

    /// Differs from one set to a larger one.
    fn size(&self) -> (u64, bool) {
        (self.count, self.full.is_empty())
    }

    /// Key of the first run of full blocks that reaches `block` or lies after it, or `block` itself.
    fn full_key(&self, block: u64) -> u64 {
        match self.full.range(..=block).next_back() {
            Some((&first, &last)) if last >= block => first,
            _ => block,
        }
    }

    fn block(&self, block: u64) -> Block<'_> {
        if let Some(bits) = self.mixed.get(&block) {
            return Block::Mixed(bits);
        }
        match self.full.range(..=block).next_back() {
            Some((&first, &last)) if last >= block => Block::Full((first, last)),
            _ => Block::Empty,
        }
    }

    /// The first chunk of the set at or after `from`.
    fn find_set(&self, from: ChunkId) -> Option<ChunkId> {
        let block = from / BLOCK;
        match self.block(block) {
            Block::Full(_) => return Some(from),
            Block::Mixed(bits) => {
                if let Some(bit) = first_one(bits, offset(from)) {
                    return Some(block * BLOCK + u64::from(bit));
                }
            }
            Block::Empty => {}
        }
        let full = self.full.range(block + 1..).next().map(|(&first, _)| first * BLOCK);
        let mixed = self.mixed.range(block + 1..).next();
        let mixed = mixed.and_then(|(&block, bits)| Some(block * BLOCK + u64::from(first_one(bits, 0)?)));
        match (full, mixed) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// The first chunk outside the set at or after `from`. At most four blocks are looked at, as every mixed block has a
    /// gap and runs of full blocks do not touch.
    fn find_gap(&self, from: ChunkId) -> Option<ChunkId> {
        let mut from = from;
        loop {
            let block = from / BLOCK;
            let last = match self.block(block) {
                Block::Empty => return Some(from),
                Block::Full((_, last)) => last,
                Block::Mixed(bits) => match first_one(&inverted(bits), offset(from)) {
                    Some(bit) => return Some(block * BLOCK + u64::from(bit)),
                    None => block,
                },
            };
            from = (last + 1).checked_mul(BLOCK)?;
        }
    }

    /// The last chunk outside the set at or before `from`.
    fn rfind_gap(&self, from: ChunkId) -> Option<ChunkId> {
        let mut from = from;
        loop {
            let block = from / BLOCK;
            let first = match self.block(block) {
                Block::Empty => return Some(from),
                Block::Full((first, _)) => first,
                Block::Mixed(bits) => match last_one(&inverted(bits), offset(from)) {
                    Some(bit) => return Some(block * BLOCK + u64::from(bit)),
                    None => block,
                },
            };
            from = (first * BLOCK).checked_sub(1)?;
        }
    }

    /// Adds part of a block, or all of it.
    fn insert_in_block(&mut self, block: u64, from: u32, to: u32) {
        if let Some(bits) = self.mixed.get_mut(&block) {
            let mut added = 0;
            for (i, mask) in words(from, to) {
                added += (mask & !bits[i]).count_ones();
                bits[i] |= mask;
            }
            self.count = self.count.wrapping_add(u64::from(added));
            if added != 0 && **bits == ONES {
                self.mixed.remove(&block);
                self.join_full(block, block);
            }
        } else if (from, to) == (0, TOP) {
            self.insert_blocks(block, block);
        } else if let Block::Empty = self.block(block) {
            let mut bits = ZEROS;
            words(from, to).for_each(|(i, mask)| bits[i] |= mask);
            self.mixed.insert(block, Box::new(bits));
            self.count = self.count.wrapping_add(u64::from(to - from + 1));
        }
    }

    /// Takes out part of a block, or all of it.
    fn remove_in_block(&mut self, block: u64, from: u32, to: u32) {
        if let Some(bits) = self.mixed.get_mut(&block) {
            let mut taken = 0;
            for (i, mask) in words(from, to) {
                taken += (mask & bits[i]).count_ones();
                bits[i] &= !mask;
            }
            self.count = self.count.wrapping_sub(u64::from(taken));
            if **bits == ZEROS {
                self.mixed.remove(&block);
            }
        } else if let Block::Full(run) = self.block(block) {
            self.cut_full(run, block, block);
            let mut bits = ONES;
            words(from, to).for_each(|(i, mask)| bits[i] &= !mask);
            if bits != ZEROS {
                self.mixed.insert(block, Box::new(bits));
            }
            self.count = self.count.wrapping_sub(u64::from(to - from + 1));
        }
    }

    /// Adds the chunks of a bitmap to a block.
    fn insert_bits(&mut self, block: u64, bits: &Bits) {
        if let Some(mine) = self.mixed.get_mut(&block) {
            let before = ones(mine);
            mine.iter_mut().zip(bits).for_each(|(word, other)| *word |= other);
            self.count = self.count.wrapping_add(u64::from(ones(mine) - before));
            if **mine == ONES {
                self.mixed.remove(&block);
                self.join_full(block, block);
            }
        } else if *bits != ZEROS && matches!(self.block(block), Block::Empty) {
            self.mixed.insert(block, Box::new(*bits));
            self.count = self.count.wrapping_add(u64::from(ones(bits)));
        }
    }

    /// Takes the chunks of a bitmap out of a block.
    fn remove_bits(&mut self, block: u64, bits: &Bits) {
        if let Block::Full(run) = self.block(block) {
            self.cut_full(run, block, block);
            self.mixed.insert(block, Box::new(inverted(bits)));
            self.count = self.count.wrapping_sub(u64::from(ones(bits)));
        } else if let Some(mine) = self.mixed.get_mut(&block) {
            let before = ones(mine);
            mine.iter_mut().zip(bits).for_each(|(word, other)| *word &= !other);
            self.count = self.count.wrapping_sub(u64::from(before - ones(mine)));
            if **mine == ZEROS {
                self.mixed.remove(&block);
            }
        }
    }

    /// Adds whole blocks.
    fn insert_blocks(&mut self, first: u64, last: u64) {
        if let Block::Full((_, end)) = self.block(first)
            && end >= last
        {
            return;
        }
        let mut missing = last - first + 1;
        for (&start, &end) in self.full.range(self.full_key(first)..=last) {
            missing -= end.min(last) - start.max(first) + 1;
        }
        self.count = self.count.wrapping_add((missing).wrapping_mul(BLOCK));
        self.remove_mixed(first, last);
        self.join_full(first, last);
    }

    /// Takes out whole blocks.
    fn remove_blocks(&mut self, first: u64, last: u64) {
        self.remove_mixed(first, last);
        while let Some((&start, &end)) = self.full.range(self.full_key(first)..=last).next() {
            self.cut_full((start, end), first.max(start), last.min(end));
            self.count = self.count.wrapping_sub((last.min(end) - first.max(start) + 1).wrapping_mul(BLOCK));
        }
    }

    /// Drops the bitmaps of a span of blocks.
    fn remove_mixed(&mut self, first: u64, last: u64) {
        while let Some((&block, bits)) = self.mixed.range(first..=last).next() {
            self.count = self.count.wrapping_sub(u64::from(ones(bits)));
            self.mixed.remove(&block);
        }
    }

    /// Enters a span into `full`, together with the runs that it overlaps or touches. Does not count.
    fn join_full(&mut self, first: u64, last: u64) {
        let (mut start, mut end) = (first, last);
        if let Some((&before, &before_end)) = self.full.range(..=first).next_back()
            && before_end.saturating_add(1) >= first
        {
            start = before;
            end = end.max(before_end);
        }
        while let Some((&next, &next_end)) = self.full.range(first..=last + 1).next() {
            self.full.remove(&next);
            end = end.max(next_end);
        }
        self.full.insert(start, end);
    }

    /// Takes `first..=last` out of a run of `full` that holds it. Does not count.
    fn cut_full(&mut self, (start, end): (u64, u64), first: u64, last: u64) {
        if start < first {
            self.full.insert(start, first - 1);
        } else {
            self.full.remove(&start);
        }
        if last < end {
            self.full.insert(last + 1, end);
        }
    }
}

impl Extend<ChunkRange> for RangeSet {
    fn extend<I: IntoIterator<Item = ChunkRange>>(&mut self, ranges: I) {
        for range in ranges {
            self.insert(range);
        }
    }
}

impl FromIterator<ChunkRange> for RangeSet {
    fn from_iter<I: IntoIterator<Item = ChunkRange>>(ranges: I) -> Self {
        let mut set = Self::new();
        set.extend(ranges);
        set
    }
}

impl From<ChunkRange> for RangeSet {
    fn from(range: ChunkRange) -> Self {
        Self::from_iter([range])
    }
}

/// The runs.
impl fmt::Debug for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.runs()).finish()
    }
}

/// The runs of a [`RangeSet`], in order; none touches the next.
#[derive(Clone, Debug)]
pub struct Runs<'a> {
    full: btree_map::Range<'a, u64, u64>,
    mixed: btree_map::Range<'a, u64, Box<Bits>>,
    /// Heads of the two sequences, drawn but not used yet.
    next_full: Option<(u64, u64)>,
    next_mixed: Option<(u64, &'a Bits)>,
    /// Bitmap under way: its block, and the bit to go on from.
    bits: Option<(u64, &'a Bits, u32)>,
    /// A piece that did not touch the run before it.
    ready: Option<ChunkRange>,
    bounds: ChunkRange,
}

impl Runs<'_> {
    /// The next run that lies within one bitmap or one run of full blocks.
    fn piece(&mut self) -> Option<ChunkRange> {
        loop {
            if let Some((block, bits, from)) = self.bits.take()
                && let Some(first) = first_one(bits, from)
            {
                let last = first_one(&inverted(bits), first).map_or(TOP, |gap| gap - 1);
                if last < TOP {
                    self.bits = Some((block, bits, last + 1));
                }
                let base = block * BLOCK;
                let piece = ChunkRange::between(base + u64::from(first), base + u64::from(last));
                match piece.intersection(self.bounds) {
                    Some(piece) => return Some(piece),
                    None => continue,
                }
            }
            self.next_full = self.next_full.or_else(|| self.full.next().map(|(&first, &last)| (first, last)));
            self.next_mixed = self.next_mixed.or_else(|| self.mixed.next().map(|(&block, bits)| (block, &**bits)));
            match (self.next_full, self.next_mixed) {
                (Some((first, last)), mixed) if mixed.is_none_or(|(block, _)| first < block) => {
                    self.next_full = None;
                    let piece = ChunkRange::between(first * BLOCK, last * BLOCK + (BLOCK - 1));
                    return piece.intersection(self.bounds);
                }
                (_, Some((block, bits))) => {
                    self.next_mixed = None;
                    self.bits = Some((block, bits, 0));
                }
                _ => return None,
            }
        }
    }
}

impl Iterator for Runs<'_> {
    type Item = ChunkRange;

    fn next(&mut self) -> Option<ChunkRange> {
        let mut run = match self.ready.take() {
            Some(piece) => piece,
            None => self.piece()?,
        };
        while let Some(piece) = self.piece() {
            if run.last().checked_add(1) == Some(piece.first()) {
                run = ChunkRange::between(run.first(), piece.last());
            } else {
                self.ready = Some(piece);
                break;
            }
        }
        Some(run)
    }
}

impl FusedIterator for Runs<'_> {}

/// State of a block.
enum Block<'a> {
    Empty,
    /// First and last block of its run.
    Full((u64, u64)),
    Mixed(&'a Bits),
}

/// Chunks of a block, the first in the lowest bit of the first word.
type Bits = [u64; 8];

/// The words that hold bits `from..=to`, with the mask of these bits.
fn words(from: u32, to: u32) -> impl Iterator<Item = (usize, u64)> {
    (from / 64..=to / 64).map(move |i| {
        let low = if i == from / 64 { from % 64 } else { 0 };
        let high = if i == to / 64 { to % 64 } else { 63 };
        (i as usize & 7, (u64::MAX << low) & (u64::MAX >> (63 - high)))
    })
}

fn offset(chunk: ChunkId) -> u32 {
    (chunk % BLOCK) as u32
}

fn has(bits: &Bits, bit: u32) -> bool {
    bits[(bit / 64) as usize & 7] >> (bit % 64) & 1 != 0
}

fn ones(bits: &Bits) -> u32 {
    bits.iter().map(|word| word.count_ones()).sum()
}

fn inverted(bits: &Bits) -> Bits {
    bits.map(|word| !word)
}

/// The lowest bit that is set, from `from` on.
fn first_one(bits: &Bits, from: u32) -> Option<u32> {
    words(from, TOP).find_map(|(i, mask)| {
        let word = bits[i] & mask;
        (word != 0).then(|| i as u32 * 64 + word.trailing_zeros())
    })
}

/// The highest bit that is set, up to `to`.
fn last_one(bits: &Bits, to: u32) -> Option<u32> {
    (0..=to / 64).rev().find_map(|i| {
        let mask = if i == to / 64 { u64::MAX >> (63 - to % 64) } else { u64::MAX };
        let word = bits[i as usize & 7] & mask;
        (word != 0).then(|| i * 64 + word.ilog2())
    })
}

/// Chunks in a block.
const BLOCK: u64 = 512;
/// Last bit of a block.
const TOP: u32 = 511;
const ZEROS: Bits = [0; 8];
const ONES: Bits = [u64::MAX; 8];

#[cfg(test)]
mod tests;
