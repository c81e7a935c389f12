use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::fmt;

use ppsp_core::{ChunkId, ChunkRange, Instant, RangeSet};
use rand_core::Rng;

use super::{
    below,
    windows::{Windows, Wish},
};
use crate::PeerKey;

/// Decides what to ask of whom (RFC 7574 §9.1). Told of every change, so that it may keep an index of its own.
///
/// Nothing is told while the number of chunks is unknown, nor in a swarm that holds everything; `on_size` comes first.
pub trait Picker: Send + fmt::Debug {
    /// The number of chunks is known.
    fn on_size(&mut self, chunks: u64, rng: &mut dyn Rng);

    /// A peer announced chunks that it had not announced before.
    fn on_have(&mut self, range: ChunkRange);

    /// A peer that had announced `had` is gone.
    fn on_gone(&mut self, had: &RangeSet);

    /// Chunks may be asked for again: the request ran out of time, its peer went, or the store lost them.
    fn on_lapsed(&mut self, range: ChunkRange);

    /// What readers wait for has changed: each window begins at the chunk that its reader needs next. None: nobody reads.
    fn on_windows(&mut self, windows: &[ChunkRange]);

    /// Pushes to `out` what to ask of the peer that `cx` is about: at most `budget` chunks, all of them from
    /// [`PickContext::next`], none twice. May push less than it could; it is called again until it pushes nothing.
    fn pick(&mut self, cx: &mut PickContext<'_>, budget: u64, out: &mut Vec<ChunkRange>);
}

/// What a picker sees when it is asked about a peer.
pub struct PickContext<'a> {
    /// The time.
    pub now: Instant,
    /// The endpoint's generator: the only source of chance.
    pub rng: &'a mut dyn Rng,
    /// The peer that would be asked.
    pub peer: PeerKey,
    /// Chunks that came of late in a second, from all peers.
    pub pace: u64,
    /// What is held.
    pub held: &'a RangeSet,
    /// What is under way: asked of some peer, or being written.
    pub busy: &'a RangeSet,
    /// What is wanted, with what the windows name; `None`: everything.
    pub wanted: Option<&'a RangeSet>,
    /// What the peer announced.
    pub peer_has: &'a RangeSet,
    /// How many other peers have some of these chunks, but not all that there are.
    pub others: &'a dyn Fn(ChunkRange) -> usize,
}

impl PickContext<'_> {
    /// The next run of chunks from `from` up to `last` that the peer has and that are wanted, not held and not under way.
    pub fn next(&self, from: ChunkId, last: ChunkId) -> Option<ChunkRange> {
        let mut at = from;
        loop {
            let has = self.peer_has.next_set(at).filter(|r| r.first() <= last)?;
            let lacks = self.held.next_gap(has.first())?;
            let free = self.busy.next_gap(lacks.first())?;
            let run = match self.wanted {
                Some(wanted) => wanted.next_set(free.first())?,
                None => free,
            };
            if run.first() == has.first() {
                let end = has.last().min(lacks.last()).min(free.last()).min(run.last()).min(last);
                return ChunkRange::new(run.first(), end);
            }
            at = run.first();
        }
    }
}

/// What readers wait for in order; elsewhere the rarest first, a block of neighbouring chunks at a time.
///
/// Blocks keep the index small whatever the size of the content, the requests long, and the hashes on the wire few. A
/// block that was begun is finished before another is begun, so that it can soon be passed on.
#[derive(Debug, Default)]
pub struct RarestFirst {
    windows: Windows,
    index: Option<Index>,
}

/// While the size is unknown only so many chunks are asked of a peer at a time: a proof tells the size.
const BEFORE_SIZE: u64 = 32;
/// Blocks looked at in order of rarity before the lot decides.
const LOOK_AT: usize = 128;

impl Picker for RarestFirst {
    fn on_size(&mut self, chunks: u64, rng: &mut dyn Rng) {
        self.index = Some(Index::new(chunks, rng));
    }

    fn on_have(&mut self, range: ChunkRange) {
        if let Some(index) = &mut self.index {
            index.count(range, 1);
        }
    }

    fn on_gone(&mut self, had: &RangeSet) {
        if let Some(index) = &mut self.index {
            had.runs().for_each(|run| index.count(run, -1));
        }
    }

    fn on_lapsed(&mut self, range: ChunkRange) {
        if let Some(index) = &mut self.index {
            index.reopen(range);
        }
    }

    fn on_windows(&mut self, windows: &[ChunkRange]) {
        self.windows.set(windows);
    }

    fn pick(&mut self, cx: &mut PickContext<'_>, mut budget: u64, out: &mut Vec<ChunkRange>) {
        match self.windows.pick(cx, self.index.as_ref().map(|index| index.chunks), budget) {
            Wish::Take(piece) => return out.push(piece),
            Wish::Nothing => return,
            Wish::Anything => {}
        }
        match &mut self.index {
            Some(index) => index.pick(cx, &mut budget, out),
            None => take(cx, 0, ChunkId::MAX, BEFORE_SIZE, &mut budget.min(BEFORE_SIZE), out),
        }
    }
}

/// Takes what is free in `from..=last`, in order and in pieces of at most `piece` chunks.
fn take(cx: &PickContext<'_>, from: ChunkId, last: ChunkId, piece: u64, budget: &mut u64, out: &mut Vec<ChunkRange>) {
    let mut at = Some(from);
    while let Some(run) = at.filter(|_| *budget > 0).and_then(|at| cx.next(at, last)) {
        let end = run.last().min(run.first().saturating_add(piece.min(*budget) - 1));
        let Some(picked) = ChunkRange::new(run.first(), end) else { return };
        *budget -= picked.len();
        out.push(picked);
        at = end.checked_add(1);
    }
}

/// How rare each block is, and which were begun.
#[derive(Debug)]
struct Index {
    chunks: u64,
    /// A block is `1 << shift` chunks.
    shift: u32,
    /// Copies of chunks of each block among the peers, but for those peers that had everything at once: what everybody
    /// has one more of changes no order.
    copies: Vec<i64>,
    /// Peers that had everything at once.
    complete: i64,
    ranks: Ranks,
    /// What is neither held nor under way is in blocks that are fresh or open.
    open: Open,
    /// Kept for its capacity.
    done: Vec<u32>,
}

/// All blocks, in groups: first those begun, then the fresh ones by how many copies there are of them. Within a group
/// they stand by lot, so that peers that see the same rarity begin at different places.
///
/// Groups lie one after another in one table, so that a block that moves to the next group changes place with one, or
/// two for the lot. Nothing is allocated but when there are more copies than ever before.
#[derive(Debug)]
struct Ranks {
    order: Vec<u32>,
    /// Where each block stands in `order`.
    places: Vec<u32>,
    /// Where each group begins.
    starts: Vec<u32>,
    /// Marsaglia's xorshift, for the lots.
    lot: u64,
}

impl Ranks {
    /// More copies are as good as so many.
    const MOST: usize = 255;
    /// The group of blocks begun.
    const BEGUN: usize = 0;

    /// All blocks are fresh, and there are no copies.
    fn new(blocks: u32, rng: &mut dyn Rng) -> Self {
        let mut ranks = Self {
            order: (0..blocks).collect(),
            places: (0..blocks).collect(),
            starts: alloc::vec![0, 0],
            lot: rng.next_u64() | 1,
        };
        for place in 0..blocks {
            let other = place + ranks.lot(blocks - place);
            ranks.swap(place, other);
        }
        ranks
    }

    /// The group of fresh blocks that there are so many copies of.
    fn group(copies: i64, per_block: i64) -> usize {
        let copies = usize::try_from((copies.max(0) + per_block - 1) / per_block).unwrap_or(Self::MOST);
        1 + copies.min(Self::MOST)
    }

    fn is_fresh(&self, block: u32) -> bool {
        self.places.get(block as usize).is_some_and(|&place| place >= self.start(1))
    }

    /// The fresh blocks from a group on.
    fn from(&self, group: usize) -> impl Iterator<Item = u32> {
        self.order.get(self.start(group) as usize..).unwrap_or_default().iter().copied()
    }

    /// A block moves from one group to another.
    fn shift(&mut self, block: u32, from: usize, to: usize) {
        let end = self.order.len() as u32;
        while self.starts.len() <= to {
            self.starts.push(end);
        }
        for group in from..to {
            // To the end of its group, which the next one then begins before.
            let last = self.start(group + 1).saturating_sub(1);
            self.swap(self.place(block), last);
            self.set_start(group + 1, last);
        }
        for group in (to..from).rev() {
            let first = self.start(group + 1);
            self.swap(self.place(block), first);
            self.set_start(group + 1, first + 1);
        }
        if to == Self::BEGUN {
            return;
        }
        let start = self.start(to);
        let place = start + self.lot(self.start(to + 1) - start);
        self.swap(self.place(block), place);
    }

    fn start(&self, group: usize) -> u32 {
        self.starts.get(group).copied().unwrap_or(self.order.len() as u32)
    }

    fn set_start(&mut self, group: usize, start: u32) {
        if let Some(place) = self.starts.get_mut(group) {
            *place = start;
        }
    }

    fn place(&self, block: u32) -> u32 {
        self.places.get(block as usize).copied().unwrap_or(0)
    }

    fn swap(&mut self, a: u32, b: u32) {
        let (a, b) = (a as usize, b as usize);
        if a == b || a.max(b) >= self.order.len() {
            return;
        }
        self.order.swap(a, b);
        for place in [a, b] {
            let block = self.order.get(place).copied().unwrap_or_default();
            if let Some(slot) = self.places.get_mut(block as usize) {
                *slot = place as u32;
            }
        }
    }

    /// A number below `n`, which is not zero.
    fn lot(&mut self, n: u32) -> u32 {
        self.lot ^= self.lot << 13;
        self.lot ^= self.lot >> 7;
        self.lot ^= self.lot << 17;
        (((self.lot >> 32) * u64::from(n)) >> 32) as u32
    }
}

/// Blocks begun that may have chunks nobody was asked for. A block is open with one peer, or given back for all.
#[derive(Debug, Default)]
struct Open {
    with: BTreeMap<u32, Option<PeerKey>>,
    /// The same the other way round.
    blocks: BTreeSet<(Option<PeerKey>, u32)>,
}

impl Open {
    fn insert(&mut self, block: u32, with: Option<PeerKey>) {
        match self.with.insert(block, with) {
            Some(old) if old == with => return,
            Some(old) => self.blocks.remove(&(old, block)),
            None => false,
        };
        self.blocks.insert((with, block));
    }

    fn remove(&mut self, block: u32) {
        if let Some(with) = self.with.remove(&block) {
            self.blocks.remove(&(with, block));
        }
    }

    fn of(&self, with: Option<PeerKey>) -> impl Iterator<Item = u32> {
        self.blocks.range((with, 0)..=(with, u32::MAX)).map(|&(_, block)| block)
    }
}

impl Index {
    const MIN_SHIFT: u32 = 7;
    const MAX_BLOCKS: u64 = 1 << 15;

    fn new(chunks: u64, rng: &mut dyn Rng) -> Self {
        let shift = chunks.div_ceil(Self::MAX_BLOCKS).max(1).next_power_of_two().ilog2().max(Self::MIN_SHIFT);
        let blocks = ((chunks.max(1) - 1) >> shift) as u32 + 1;
        Self {
            chunks,
            shift,
            copies: alloc::vec![0; blocks as usize],
            complete: 0,
            ranks: Ranks::new(blocks, rng),
            open: Open::default(),
            done: Vec::new(),
        }
    }

    fn range(&self, block: u32) -> ChunkRange {
        let first = u64::from(block) << self.shift;
        let last = (first + (1 << self.shift) - 1).min(self.chunks.max(1) - 1);
        ChunkRange::new(first, last).unwrap_or(ChunkRange::single(first))
    }

    /// The blocks that a range touches; those past the end are left out.
    fn blocks(&self, range: ChunkRange) -> impl Iterator<Item = u32> + use<> {
        let end = self.copies.len() as u64;
        (range.first() >> self.shift).min(end) as u32..((range.last() >> self.shift) + 1).min(end) as u32
    }

    /// `sign` copies more of each chunk of a range.
    fn count(&mut self, range: ChunkRange, sign: i64) {
        // Who leaves with everything may have come by it piece by piece: then another takes the place of one that had
        // it at once, and where there is none, the pieces are counted off.
        if range.first() == 0 && range.last() >= self.chunks - 1 && self.complete + sign >= 0 {
            self.complete += sign;
            return;
        }
        for block in self.blocks(range) {
            let Some(part) = self.range(block).intersection(range) else { continue };
            let Some(copies) = self.copies.get_mut(block as usize) else { continue };
            let was = *copies;
            *copies += sign * part.len() as i64;
            let (from, to) = (Ranks::group(was, 1 << self.shift), Ranks::group(*copies, 1 << self.shift));
            if from != to && self.ranks.is_fresh(block) {
                self.ranks.shift(block, from, to);
            }
        }
    }

    /// A block is not fresh any more.
    fn begin(&mut self, block: u32) {
        if let Some(&copies) = self.copies.get(block as usize).filter(|_| self.ranks.is_fresh(block)) {
            self.ranks.shift(block, Ranks::group(copies, 1 << self.shift), Ranks::BEGUN);
        }
    }

    fn reopen(&mut self, range: ChunkRange) {
        for block in self.blocks(range) {
            if !self.ranks.is_fresh(block) {
                self.open.insert(block, None);
            }
        }
    }

    fn pick(&mut self, cx: &mut PickContext<'_>, budget: &mut u64, out: &mut Vec<ChunkRange>) {
        // What was begun with this peer, or given back by another.
        self.continue_open(cx, Some(cx.peer), budget, out);
        self.continue_open(cx, None, budget, out);
        while *budget > 0 {
            let Some(block) = self.rarest(cx) else { break };
            self.begin(block);
            let range = self.range(block);
            let before = *budget;
            take(cx, range.first(), range.last(), u64::MAX, budget, out);
            if before - *budget < range.len() {
                self.open.insert(block, Some(cx.peer));
            }
        }
        // What was begun with others, only when there is nothing else: a peer that is still receiving a block itself
        // will have the rest of it soon, and whoever has everything had better give what nobody else has.
        if out.is_empty() {
            self.continue_others(cx, budget, out);
        }
    }

    /// Takes the rest of a block that is open with whomever, by lot. What is free is in open or fresh blocks: where there
    /// are none, as towards the end, looking in vain costs nothing.
    fn continue_others(&mut self, cx: &mut PickContext<'_>, budget: &mut u64, out: &mut Vec<ChunkRange>) {
        let from = below(cx.rng, self.copies.len() as u64) as u32;
        let open = &self.open.with;
        for (&block, _) in open.range(from..).chain(open.range(..from)).take(LOOK_AT) {
            let range = self.range(block);
            take(cx, range.first(), range.last(), u64::MAX, budget, out);
            if !out.is_empty() {
                break;
            }
            if !has_left(cx, range, &[]) {
                self.done.push(block);
            }
        }
        let looked_at_all = open.len() <= LOOK_AT;
        while let Some(block) = self.done.pop() {
            self.open.remove(block);
        }
        if out.is_empty()
            && !looked_at_all
            && let Some(block) = self.any(cx)
        {
            let range = self.range(block);
            take(cx, range.first(), range.last(), u64::MAX, budget, out);
        }
    }

    /// Takes the rest of blocks that are open with a peer, or with nobody.
    fn continue_open(
        &mut self,
        cx: &PickContext<'_>,
        with: Option<PeerKey>,
        budget: &mut u64,
        out: &mut Vec<ChunkRange>,
    ) {
        for block in self.open.of(with).take(LOOK_AT) {
            if *budget == 0 {
                break;
            }
            let range = self.range(block);
            let before = out.len();
            take(cx, range.first(), range.last(), u64::MAX, budget, out);
            // What was taken now is not under way yet. Where the budget ended it, the next time tells.
            let taken = out.get(before..).unwrap_or_default();
            if *budget > 0 && !has_left(cx, range, taken) {
                self.done.push(block);
            }
        }
        while let Some(block) = self.done.pop() {
            self.open.remove(block);
        }
    }

    /// The rarest block not begun of which the peer can give something.
    fn rarest(&mut self, cx: &mut PickContext<'_>) -> Option<u32> {
        // Only peers that have everything have what no other peer has a copy of.
        let has_all = ChunkRange::with_len(0, self.chunks).is_some_and(|all| cx.peer_has.covers(all));
        let least = if has_all { 1 } else { 2 };
        let done = &mut self.done;
        let found = self.ranks.from(least).take(LOOK_AT).find_map(|block| {
            let first = u64::from(block) << self.shift;
            let last = (first + (1 << self.shift) - 1).min(self.chunks.max(1) - 1);
            let run = cx.next(first, last);
            if run.is_none() && ChunkRange::new(first, last).is_some_and(|range| cx.held.covers(range)) {
                done.push(block);
            }
            run.map(|_| block)
        });
        while let Some(block) = self.done.pop() {
            self.begin(block);
        }
        // A peer that has little of what is rare: any block it has, by lot.
        let looked_at_all = self.ranks.order.len() - self.ranks.start(least) as usize <= LOOK_AT;
        match found {
            None if !looked_at_all => self.any(cx).filter(|&block| self.ranks.is_fresh(block)),
            found => found,
        }
    }

    /// A block of which the peer can give something, by lot.
    fn any(&self, cx: &mut PickContext<'_>) -> Option<u32> {
        let from = below(cx.rng, self.chunks);
        let run = cx.next(from, ChunkId::MAX).or_else(|| cx.next(0, from))?;
        u32::try_from(run.first() >> self.shift).ok().filter(|&block| (block as usize) < self.copies.len())
    }
}

/// Are there chunks in a range that are neither held nor under way, besides what has just been taken of it in order?
fn has_left(cx: &PickContext<'_>, range: ChunkRange, taken: &[ChunkRange]) -> bool {
    let mut taken = taken.iter();
    let mut at = Some(range.first());
    while let Some(lacks) = at.and_then(|at| cx.held.next_gap(at)).filter(|gap| gap.first() <= range.last()) {
        let Some(free) = cx.busy.next_gap(lacks.first()).filter(|gap| gap.first() <= range.last()) else { break };
        if free.first() > lacks.last() {
            at = Some(free.first());
            continue;
        }
        // Runs are taken from their start.
        match taken.find(|run| run.last() >= free.first()) {
            Some(run) if run.first() <= free.first() => at = run.last().checked_add(1),
            _ => return true,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    struct Bench {
        picker: RarestFirst,
        rng: ChaCha8Rng,
        held: RangeSet,
        busy: RangeSet,
        wanted: Option<RangeSet>,
        peer: PeerKey,
        others: fn(ChunkRange) -> usize,
    }

    impl Bench {
        fn new(chunks: u64) -> Self {
            let mut rng = ChaCha8Rng::from_seed([3; 32]);
            let mut picker = RarestFirst::default();
            picker.on_size(chunks, &mut rng);
            Self {
                picker,
                rng,
                held: RangeSet::new(),
                busy: RangeSet::new(),
                wanted: None,
                peer: PeerKey(1),
                others: |_| 0,
            }
        }

        fn pick(&mut self, peer_has: &RangeSet, budget: u64) -> Vec<ChunkRange> {
            let mut out = Vec::new();
            let mut cx = PickContext {
                now: Instant::default(),
                rng: &mut self.rng,
                peer: self.peer,
                pace: 0,
                others: &self.others,
                held: &self.held,
                busy: &self.busy,
                wanted: self.wanted.as_ref(),
                peer_has,
            };
            self.picker.pick(&mut cx, budget, &mut out);
            let mut total = 0;
            for r in &out {
                assert!(peer_has.covers(*r) && !self.held.intersects(*r) && !self.busy.intersects(*r), "{r:?}");
                assert!(self.busy.insert(*r));
                total += r.len();
            }
            assert!(total <= budget);
            out
        }
    }

    fn r(a: u64, b: u64) -> ChunkRange {
        ChunkRange::new(a, b).unwrap()
    }

    fn set(ranges: &[ChunkRange]) -> RangeSet {
        ranges.iter().copied().collect()
    }

    #[test]
    fn the_rarest_block_comes_first() {
        let mut b = Bench::new(10 * 64);
        b.picker.on_have(r(0, 639));
        b.picker.on_have(r(0, 255));
        b.picker.on_have(r(320, 639));
        assert_eq!(b.pick(&set(&[r(0, 639)]), 64), [r(256, 319)], "only one peer has chunks 256..=319");
        b.picker.on_gone(&set(&[r(320, 639)]));
        let next = b.pick(&set(&[r(0, 639)]), 64);
        assert!(next[0].first() >= 320, "{next:?}");
    }

    #[test]
    fn a_block_begun_is_finished_first_and_lapsed_chunks_come_again() {
        let mut b = Bench::new(640);
        let all = set(&[r(0, 639)]);
        let first = b.pick(&all, 10)[0];
        let second = b.pick(&all, 54)[0];
        assert_eq!(second.first(), first.last() + 1);
        b.busy.remove(first);
        b.picker.on_lapsed(first);
        assert_eq!(b.pick(&all, 10), [first]);
        let mut left = 640 - 64;
        while left > 0 {
            left -= b.pick(&all, 100).iter().map(|r| r.len()).sum::<u64>();
        }
        assert!(b.pick(&all, 100).is_empty());
    }

    #[test]
    fn blocks_stand_by_their_copies() {
        let mut rng = ChaCha8Rng::from_seed([5; 32]);
        for blocks in [1, 2, 7, 100] {
            let mut ranks = Ranks::new(blocks, &mut rng);
            let mut groups = std::vec![1_usize; blocks as usize];
            for _ in 0..3000 {
                let block = below(&mut rng, u64::from(blocks)) as u32;
                let to = match below(&mut rng, 20) {
                    0 => Ranks::BEGUN,
                    n => 1 + below(&mut rng, n) as usize,
                };
                let from = core::mem::replace(&mut groups[block as usize], to);
                ranks.shift(block, from, to);
                let order: Vec<usize> = ranks.order.iter().map(|&block| groups[block as usize]).collect();
                assert!(order.is_sorted(), "{order:?}");
                assert!((0..blocks).all(|block| ranks.order[ranks.places[block as usize] as usize] == block));
                let fresh = |block: u32| groups[block as usize] != Ranks::BEGUN;
                assert!((0..blocks).all(|block| ranks.is_fresh(block) == fresh(block)));
                let group = to.max(1);
                assert_eq!(ranks.from(group).count(), groups.iter().filter(|&&g| g >= group).count());
            }
        }
    }

    #[test]
    fn many_peers_fetch_everything_once_though_chunks_lapse() {
        let mut rng = ChaCha8Rng::from_seed([9; 32]);
        for chunks in [1, 63, 64, 65, 1000, 5000] {
            let mut b = Bench::new(chunks);
            let peers: Vec<RangeSet> = (0..7_u64)
                .map(|peer| match peer {
                    0 => set(&[r(0, chunks - 1)]),
                    _ => (0..chunks).filter(|c| (c / 5 + peer) % 3 == 0).map(ChunkRange::single).collect(),
                })
                .collect();
            peers.iter().flat_map(|has| has.runs()).for_each(|run| b.picker.on_have(run));
            let mut under_way: Vec<ChunkRange> = Vec::new();
            let mut in_vain = 0;
            while b.held.len() < chunks {
                let peer = below(&mut rng, 7);
                b.peer = PeerKey(peer);
                let picked = b.pick(&peers[peer as usize], 1 + below(&mut rng, 100));
                in_vain = if picked.is_empty() { in_vain + 1 } else { 0 };
                assert!(in_vain < 100 || !under_way.is_empty(), "{} of {chunks}", b.held.len());
                under_way.extend(picked);
                while under_way.len() > 5 || in_vain > 20 && !under_way.is_empty() {
                    let range = under_way.swap_remove(below(&mut rng, under_way.len() as u64) as usize);
                    b.busy.remove(range);
                    if below(&mut rng, 10) == 0 {
                        b.picker.on_lapsed(range);
                    } else {
                        assert!(b.held.insert(range));
                    }
                }
            }
            assert!(b.pick(&peers[0], 10).is_empty());
        }
    }

    /// What is picked until so many chunks are.
    fn picked(b: &mut Bench, peer_has: &RangeSet, chunks: u64) -> Vec<ChunkRange> {
        let mut all = Vec::new();
        loop {
            let left = chunks - all.iter().map(|range: &ChunkRange| range.len()).sum::<u64>();
            let more = if left == 0 { Vec::new() } else { b.pick(peer_has, left) };
            if more.is_empty() {
                return all;
            }
            all.extend(more);
        }
    }

    #[test]
    fn windows_go_before_rarity_and_in_order() {
        for peer_has in [set(&[r(0, 99_999)]), set(&[r(0, 99_998)])] {
            let mut b = Bench::new(100_000);
            b.picker.on_windows(&[r(5000, 9000)]);
            let in_order: Vec<_> =
                (5000..5096).step_by(8).map(|first| r(first, first + 7)).chain([r(5096, 5099)]).collect();
            assert_eq!(picked(&mut b, &peer_has, 100), in_order);
        }
    }

    #[test]
    fn readers_have_their_turns() {
        let mut b = Bench::new(100_000);
        // A long one, a short one, and one within the first.
        b.picker.on_windows(&[r(5000, 9000), r(70, 79), r(5010, 5020)]);
        let all = set(&[r(0, 99_999)]);
        let turns = [(5000, 5007), (70, 71), (5010, 5015), (72, 79), (5016, 5020)];
        let alone = [(5008, 5009), (5021, 5023), (5024, 5031), (5032, 5035)];
        let turns: Vec<_> = turns.iter().chain(&alone).map(|&(first, last)| r(first, last)).collect();
        assert_eq!(picked(&mut b, &all, 46), turns);
        assert_eq!(b.pick(&all, 4), [r(5036, 5039)]);
        // Then what is rare, even where a window reaches beyond the end.
        b.picker.on_windows(&[r(70, 79), r(99_990, 200_000)]);
        assert_eq!(
            (b.pick(&all, 10), b.pick(&all, 10)),
            (Vec::from([r(99_990, 99_991)]), Vec::from([r(99_992, 99_999)]))
        );
        assert!(!b.pick(&all, 10).is_empty());
    }

    #[test]
    fn those_who_read_the_same_fetch_different_pieces_from_who_has_everything() {
        let all = set(&[r(0, 99_999)]);
        let mut first = BTreeSet::new();
        for seed in 0..100 {
            let mut b = Bench::new(100_000);
            b.rng = ChaCha8Rng::from_seed([seed; 32]);
            // Five others are there, and have nothing of it yet.
            b.others = |range| if range.len() > 1 { 5 } else { 0 };
            b.picker.on_windows(&[r(4992, 9000)]);
            first.extend(b.pick(&all, 100).iter().map(|range| range.first()));
        }
        assert_eq!(first, (0..5).map(|n| 4992 + n * 8).collect());
        // What others have is asked of them.
        let mut b = Bench::new(100_000);
        b.others = |range| if range.len() == 1 && range.first() < 5120 { 1 } else { 0 };
        b.picker.on_windows(&[r(4992, 9000)]);
        assert_eq!(b.pick(&all, 100), [r(5120, 5127)]);
    }

    #[test]
    fn what_a_first_picture_waits_for_is_rare_as_long_as_few_have_it() {
        let all = set(&[r(0, 99_999)]);
        let mut b = Bench::new(100_000);
        // Eight others are there; two have the first pieces, three the next, nobody what is behind them.
        b.others = |range| match range.first() {
            _ if range.len() > 1 => 8,
            5000..5032 => 2,
            5032..5200 => 3,
            _ => 0,
        };
        b.picker.on_windows(&[r(5000, 9000)]);
        let picked = b.pick(&all, 8);
        assert!(picked[0].last() < 5032 || picked[0].first() >= 5200, "{picked:?}");
        let many = (0..50).map(|_| {
            b.busy = RangeSet::new();
            b.pick(&all, 8)[0].first()
        });
        assert!(many.collect::<Vec<_>>().iter().any(|first| (5000..5032).contains(first)));
        // Once the reader has come so far that it is no first picture any more, one copy is enough.
        b.held.insert(r(5000, 5199));
        b.picker.on_windows(&[r(5200, 9000)]);
        b.others = |range| if range.len() > 1 { 8 } else { usize::from(range.first() < 5300) };
        b.busy = RangeSet::new();
        assert!(b.pick(&all, 8)[0].first() >= 5304);
    }

    #[test]
    fn nothing_is_fetched_far_ahead_of_what_a_reader_lacks() {
        let mut b = Bench::new(100_000);
        b.picker.on_windows(&[r(5000, 9000)]);
        let ahead = set(&[r(5400, 99_999)]);
        assert_eq!(b.pick(&ahead, 100), []);
        // With what lies before it, it is the reader's turn to go on.
        b.held.insert(r(5000, 5200));
        assert!(picked(&mut b, &ahead, 500).iter().all(|range| range.last() <= 5520));
        assert!(b.busy.contains(5400) || b.busy.contains(5500));
    }

    #[test]
    fn before_the_size_is_known_only_the_start_is_asked_for() {
        let mut b = Bench::new(1);
        b.picker = RarestFirst::default();
        let everything = set(&[r(0, (1 << 63) - 1)]);
        assert_eq!(b.pick(&everything, 1000), [r(0, 31)]);
        assert_eq!(b.pick(&everything, 1000), [r(32, 63)], "of another, for the first may never answer");
    }

    #[test]
    fn a_peer_with_a_single_chunk_far_down_the_list_is_asked_for_it() {
        let mut b = Bench::new(1_000_000);
        b.picker.on_have(r(0, 999_999));
        let one = set(&[ChunkRange::single(777_777)]);
        b.picker.on_have(ChunkRange::single(777_777));
        assert_eq!(b.pick(&one, 100), [ChunkRange::single(777_777)]);
    }

    #[test]
    fn only_what_is_wanted() {
        let mut b = Bench::new(1000);
        b.wanted = Some(set(&[r(10, 20), r(700, 710)]));
        let mut got = RangeSet::new();
        for _ in 0..10 {
            got.extend(b.pick(&set(&[r(0, 999)]), 7));
        }
        assert_eq!(got, b.wanted.unwrap());
    }
}
