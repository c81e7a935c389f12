use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use core::fmt;

use ppsp_core::{ChunkId, ChunkRange, Instant, RangeSet};
use rand_core::Rng;

use super::below;
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

    /// Chunks that were asked for may be asked for again: the request ran out of time, or its peer went.
    fn on_lapsed(&mut self, range: ChunkRange);

    /// Playback moved, or ended.
    fn on_playhead(&mut self, chunk: Option<ChunkId>);

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
    /// What is held.
    pub held: &'a RangeSet,
    /// What is under way: asked of some peer, or being written.
    pub busy: &'a RangeSet,
    /// What is wanted; `None`: everything.
    pub wanted: Option<&'a RangeSet>,
    /// What the peer announced.
    pub peer_has: &'a RangeSet,
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

/// From the playhead in order; elsewhere the rarest first, a block of neighbouring chunks at a time.
///
/// Blocks keep the index small whatever the size of the content, the requests long, and the hashes on the wire few. A
/// block that was begun is finished before another is begun, so that it can soon be passed on.
#[derive(Debug)]
pub struct RarestFirst {
    /// Chunks from the playhead on that come first.
    window: u64,
    playhead: Option<ChunkId>,
    index: Option<Index>,
}

impl RarestFirst {
    /// `window`: how many chunks from the playhead on come before all others, and in order.
    pub fn new(window: u64) -> Self {
        Self { window, playhead: None, index: None }
    }
}

impl Default for RarestFirst {
    /// A window of 4096 chunks.
    fn default() -> Self {
        Self::new(4096)
    }
}

/// While the size is unknown only so many chunks are asked of a peer at a time: a proof tells the size.
const BEFORE_SIZE: u64 = 32;
/// Longest request in the playhead's window. Shorter than the groups that a server may serve out of order.
const IN_ORDER: u64 = 32;
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

    fn on_playhead(&mut self, chunk: Option<ChunkId>) {
        self.playhead = chunk;
    }

    fn pick(&mut self, cx: &mut PickContext<'_>, mut budget: u64, out: &mut Vec<ChunkRange>) {
        if let Some(playhead) = self.playhead {
            take(cx, playhead, playhead.saturating_add(self.window), IN_ORDER, &mut budget, out);
            if !out.is_empty() {
                return;
            }
        }
        match &mut self.index {
            Some(index) => index.pick(cx, &mut budget, out),
            None => take(cx, 0, ChunkId::MAX, IN_ORDER, &mut budget.min(BEFORE_SIZE), out),
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

/// How rare each block is.
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
    /// A number by lot for each block: peers that see the same rarity begin at different places.
    lots: Vec<u32>,
    /// Blocks not begun, the rarest first.
    fresh: BTreeSet<(i64, u32, u32)>,
    /// Blocks begun that may have chunks nobody was asked for, and with whom they were begun.
    open: BTreeMap<u32, Option<PeerKey>>,
}

impl Index {
    const MIN_SHIFT: u32 = 7;
    const MAX_BLOCKS: u64 = 1 << 15;

    fn new(chunks: u64, rng: &mut dyn Rng) -> Self {
        let shift = chunks.div_ceil(Self::MAX_BLOCKS).max(1).next_power_of_two().ilog2().max(Self::MIN_SHIFT);
        let blocks = ((chunks.max(1) - 1) >> shift) as u32 + 1;
        let lots: Vec<u32> = (0..blocks).map(|_| rng.next_u32()).collect();
        let fresh = (0..blocks).zip(&lots).map(|(block, &lot)| (0, lot, block)).collect();
        Self { chunks, shift, copies: alloc::vec![0; blocks as usize], complete: 0, lots, fresh, open: BTreeMap::new() }
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
            let (Some(copies), Some(&lot)) = (self.copies.get_mut(block as usize), self.lots.get(block as usize))
            else {
                continue;
            };
            let was = *copies;
            *copies += sign * part.len() as i64;
            if self.fresh.remove(&(was, lot, block)) {
                self.fresh.insert((*copies, lot, block));
            }
        }
    }

    fn is_fresh(&self, block: u32) -> bool {
        let i = block as usize;
        match (self.copies.get(i), self.lots.get(i)) {
            (Some(&copies), Some(&lot)) => self.fresh.contains(&(copies, lot, block)),
            _ => false,
        }
    }

    fn reopen(&mut self, range: ChunkRange) {
        for block in self.blocks(range) {
            if !self.is_fresh(block) {
                self.open.insert(block, None);
            }
        }
    }

    fn pick(&mut self, cx: &mut PickContext<'_>, budget: &mut u64, out: &mut Vec<ChunkRange>) {
        // What was begun with this peer, or given back by another.
        self.continue_open(cx, |begun_with| begun_with.is_none_or(|peer| peer == cx.peer), budget, out);
        while *budget > 0 {
            let Some(block) = self.rarest(cx) else { break };
            if let (Some(&copies), Some(&lot)) = (self.copies.get(block as usize), self.lots.get(block as usize)) {
                self.fresh.remove(&(copies, lot, block));
            }
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
            self.continue_open(cx, |_| true, budget, out);
        }
    }

    fn continue_open(
        &mut self,
        cx: &PickContext<'_>,
        fit: impl Fn(Option<PeerKey>) -> bool,
        budget: &mut u64,
        out: &mut Vec<ChunkRange>,
    ) {
        let mut done = Vec::new();
        for (&block, &begun_with) in &self.open {
            if *budget == 0 {
                return;
            }
            let range = self.range(block);
            if fit(begun_with) {
                take(cx, range.first(), range.last(), u64::MAX, budget, out);
            }
            if cx.held.covers(range) {
                done.push(block);
            }
        }
        for block in done {
            self.open.remove(&block);
        }
    }

    /// The rarest block not begun of which the peer can give something.
    fn rarest(&mut self, cx: &mut PickContext<'_>) -> Option<u32> {
        let mut held = Vec::new();
        // Only peers that have everything have what no other peer has a copy of.
        let has_all = ChunkRange::with_len(0, self.chunks).is_some_and(|all| cx.peer_has.covers(all));
        let least = if has_all { i64::MIN } else { 1 };
        let found = self.fresh.range((least, 0, 0)..).take(LOOK_AT).find_map(|&key| {
            let range = self.range(key.2);
            if !cx.peer_has.intersects(range) {
                return None;
            }
            if cx.held.covers(range) {
                held.push(key);
                return None;
            }
            cx.next(range.first(), range.last()).map(|_| key.2)
        });
        held.iter().for_each(|key| {
            self.fresh.remove(key);
        });
        // A peer that has little of what is rare: any block it has, by lot.
        found.or_else(|| {
            let from = below(cx.rng, self.chunks);
            let run = cx.next(from, ChunkId::MAX).or_else(|| cx.next(0, ChunkId::MAX))?;
            let block = (run.first() >> self.shift) as u32;
            self.is_fresh(block).then_some(block)
        })
    }
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
    }

    impl Bench {
        fn new(chunks: u64) -> Self {
            let mut rng = ChaCha8Rng::from_seed([3; 32]);
            let mut picker = RarestFirst::default();
            picker.on_size(chunks, &mut rng);
            Self { picker, rng, held: RangeSet::new(), busy: RangeSet::new(), wanted: None }
        }

        fn pick(&mut self, peer_has: &RangeSet, budget: u64) -> Vec<ChunkRange> {
            let mut out = Vec::new();
            let mut cx = PickContext {
                now: Instant::default(),
                rng: &mut self.rng,
                peer: PeerKey(1),
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
    fn the_playhead_goes_before_rarity_and_in_order() {
        let mut b = Bench::new(100_000);
        b.picker.on_playhead(Some(5000));
        let picked = b.pick(&set(&[r(0, 99_999)]), 100);
        assert_eq!(picked, [r(5000, 5031), r(5032, 5063), r(5064, 5095), r(5096, 5099)]);
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
