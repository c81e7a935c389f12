//! What readers wait for, as a picker sees it.

use alloc::vec::Vec;

use arrayvec::ArrayVec;
use ppsp_core::{ChunkId, ChunkRange};

use super::{PIECE, PickContext, below};

/// Chunks of a window that are needed so soon that they come in order.
const HEAD: u64 = 128;
/// Chunks that a reader may lack while others behind them are fetched: so many, or what comes in [`FAR`] seconds. Viewers
/// of the same would otherwise each fetch something else, and none of them what the others need next.
const LACK: u64 = 512;
const FAR: u64 = 4;
/// Where others who are fetching it too are asked for nothing yet, counted from where the reader is: they had better give it
/// to those who lack what they need next.
const NEAR: u64 = 640;
/// So many at first, for the sake of the first picture; a quarter of a chunk more for each that was read.
const LACK_AT_FIRST: u64 = 256;

/// One of so many is few.
const FEW: usize = 4;

/// Pieces that lots are drawn of, and those that are looked at for them.
const LOTS: usize = 32;
const LOOK_AT: usize = 96;

/// What readers wait for.
#[derive(Debug, Default)]
pub(super) struct Windows {
    list: Vec<Window>,
    /// The window that is looked at first.
    turn: usize,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    range: ChunkRange,
    /// Where its reader began to read on.
    origin: ChunkId,
}

/// What to do about windows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wish {
    /// This for a reader.
    Take(ChunkRange),
    /// Nothing: readers lack so much that nothing else may stand in their way.
    Nothing,
    /// Whatever.
    Anything,
}

impl Windows {
    pub(super) fn set(&mut self, windows: &[ChunkRange]) {
        let old = core::mem::take(&mut self.list);
        self.list.extend(windows.iter().map(|&range| {
            let first = range.first();
            let reads_on = |old: &&Window| old.range.first() <= first && first.saturating_sub(1) <= old.range.last();
            Window { range, origin: old.iter().find(reads_on).map_or(first, |old| old.origin) }
        }));
    }

    /// The most urgent run of chunks that the peer can give, of so many, where that is known.
    ///
    /// The head of a window comes in order, the rest of it from random places, so that those who read the same have
    /// something for each other. Who has everything is asked for what is rare among them.
    pub(super) fn pick(&mut self, cx: &mut PickContext<'_>, chunks: Option<u64>, budget: u64) -> Wish {
        // What lies past the end is nothing that could be lacking.
        let all = chunks.and_then(|chunks| ChunkRange::with_len(0, chunks));
        let has_all = all.is_some_and(|all| cx.peer_has.covers(all));
        let reach = |cx: &PickContext<'_>, window: &Window| -> Option<(ChunkId, ChunkId)> {
            let range = all.map_or(Some(window.range), |all| window.range.intersection(all))?;
            let near = range.first().saturating_add(NEAR.max(cx.pace.saturating_mul(FAR)));
            let last = reach(cx, range, window.origin);
            Some((if has_all { last } else { last.min(near) }, range.last()))
        };
        let (before, from) = self.list.split_at_checked(self.turn).unwrap_or((&[], &self.list));
        let turns = from.iter().zip(self.turn..).chain(before.iter().zip(0..));
        let free = turns.filter_map(|(window, n)| {
            let (last, end) = reach(cx, window)?;
            Some((cx.next(window.range.first(), last)?, window, last, end, n))
        });
        let nearest = free.min_by_key(|(run, window, ..)| (run.first() - window.range.first()) / PIECE);
        let Some((mut run, &Window { range, origin }, last, end, n)) = nearest else {
            let lacking = self.list.iter().filter_map(|window| reach(cx, window)).any(|(last, end)| last < end);
            return if lacking { Wish::Nothing } else { Wish::Anything };
        };
        self.turn = (n + 1) % self.list.len();
        let first = range.first();
        // It is not asked for what others have, or enough of them, as long as there is anything else among the next pieces.
        let rare = if has_all { rare(cx, run.first(), first, end, origin) } else { None };
        if let Some(rare) = rare {
            run = rare;
        } else if has_all || run.first() - first >= HEAD {
            let at = run.first() + below(cx.rng, last - run.first() + 1) / PIECE * PIECE;
            run = cx.next(at, last).unwrap_or(run);
        }
        // Aligned: what has a subtree in common needs few hashes.
        let end = (run.first() | (PIECE - 1)).min(run.first().saturating_add(budget.saturating_sub(1)));
        ChunkRange::new(run.first(), run.last().min(end)).map_or(Wish::Anything, Wish::Take)
    }
}

/// By lot one of the next pieces that nobody else is known to have, of as many as there are others who are about to need
/// them too: it is of use to all of them that each fetches another. Who is alone there gets the next. Those that a first picture
/// waits for are rare as long as no more than a quarter of the others have them: all who come ask for the same, and those few
/// would have to give it to all.
fn rare(cx: &mut PickContext<'_>, from: ChunkId, first: ChunkId, last: ChunkId, origin: ChunkId) -> Option<ChunkRange> {
    let near = ChunkRange::new(first.saturating_sub(HEAD), last)?;
    let there = (cx.others)(near);
    let most = there.clamp(1, LOTS);
    let mut lots: ArrayVec<ChunkRange, LOTS> = ArrayVec::new();
    let mut at = Some(from);
    for _ in 0..LOOK_AT {
        let Some(run) = at.filter(|_| lots.len() < most).and_then(|at| cx.next(at, last)) else { break };
        let end = run.last().min(run.first() | (PIECE - 1));
        let few = if run.first().saturating_sub(origin) < HEAD { there / FEW } else { 0 };
        if (cx.others)(ChunkRange::single(run.first())) <= few {
            lots.extend(ChunkRange::new(run.first(), end));
        }
        at = end.checked_add(1);
    }
    lots.get(below(cx.rng, lots.len() as u64) as usize).copied()
}

/// The chunk of a window up to which no more are lacking than may be.
fn reach(cx: &PickContext<'_>, window: ChunkRange, origin: ChunkId) -> ChunkId {
    let begun = LACK_AT_FIRST + window.first().saturating_sub(origin) / 4;
    let mut left = LACK.min(begun).max(cx.pace.saturating_mul(FAR));
    let mut at = window.first();
    while let Some(gap) = cx.held.next_gap(at).filter(|gap| gap.first() <= window.last()) {
        if gap.len() >= left || gap.last() >= window.last() {
            return gap.first().saturating_add(left - 1).min(window.last());
        }
        left -= gap.len();
        at = gap.last() + 1;
    }
    window.last()
}
