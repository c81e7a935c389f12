//! What to ask of whom while a stream is watched live.

use alloc::vec::Vec;

use ppsp_core::{ChunkId, ChunkRange, RangeSet};
use rand_core::Rng;

use super::{PickContext, Picker, below};

/// Picks for viewers of a live stream, who all need the same at the same time.
///
/// What is needed within a moment is asked of anybody, in order. Of the rest of a window each viewer takes what few
/// others have, by lot; what nobody but one peer has – the source, mostly – is taken by few viewers at first, each of whom drew another
/// lot, and by more of them the sooner it is needed. So the source gives everything a few times and the viewers give it to each other.
#[derive(Debug, Default)]
pub struct LivePicker {
    windows: Vec<ChunkRange>,
    /// Of this viewer's lots.
    seed: Option<u64>,
}

/// Longest request: a quarter of an ordinary munro.
const PIECE: u64 = 8;
/// Pieces that are looked at for the rarest.
const LOOK_AT: usize = 96;
/// Viewers that take what only the source has as soon as it is there, of all those that are known.
const FIRST: u64 = 2;
/// So small a part of a window is urgent, and so small a part is asked of the source though others have it.
const URGENT: u64 = 4;
const URGENT_OF_SOURCE: u64 = 8;

impl Picker for LivePicker {
    // A live stream has no size, and rarity is looked up when it is needed.
    fn on_size(&mut self, _chunks: u64, _rng: &mut dyn Rng) {}
    fn on_have(&mut self, _range: ChunkRange) {}
    fn on_gone(&mut self, _had: &RangeSet) {}
    fn on_lapsed(&mut self, _range: ChunkRange) {}

    fn on_windows(&mut self, windows: &[ChunkRange]) {
        self.windows.clear();
        self.windows.extend_from_slice(windows);
    }

    fn pick(&mut self, cx: &mut PickContext<'_>, budget: u64, out: &mut Vec<ChunkRange>) {
        let seed = *self.seed.get_or_insert_with(|| cx.rng.next_u64());
        let all = ChunkRange::with_len(0, u64::MAX);
        let end = cx.wanted.and_then(RangeSet::last);
        for range in self.windows.iter().copied().chain(all.filter(|_| self.windows.is_empty())) {
            let first =
                cx.wanted.and_then(|wanted| wanted.next_set(range.first())).map_or(range.first(), ChunkRange::first);
            let Some(window) = end.and_then(|end| ChunkRange::new(first, range.last().min(end))) else { continue };
            if let Some(picked) = pick(cx, seed, window, budget) {
                return out.push(picked);
            }
        }
    }
}

fn pick(cx: &mut PickContext<'_>, seed: u64, window: ChunkRange, budget: u64) -> Option<ChunkRange> {
    let (first, last) = (window.first(), window.last());
    let cut = |run: ChunkRange| {
        let end = run.last().min(run.first() | (PIECE - 1)).min(run.first().saturating_add(budget.saturating_sub(1)));
        ChunkRange::new(run.first(), end)
    };
    // Whoever has all up to the last chunk is the source, or as near to it as can be: it is there for what nobody else has.
    let has_all = cx.peer_has.covers(window);
    let parts = if has_all { URGENT_OF_SOURCE } else { URGENT };
    if let Some(run) = cx.next(first, (first + window.len() / parts).min(last)) {
        return cut(run);
    }
    let viewers = (cx.others)(window) as u64 + 1;
    let mut best: Option<(usize, u64, ChunkRange)> = None;
    let mut at = Some(first);
    for _ in 0..LOOK_AT {
        let Some(piece) = at.and_then(|at| cx.next(at, last)).and_then(cut) else { break };
        at = piece.last().checked_add(1);
        let copies = (cx.others)(ChunkRange::single(piece.first()));
        if has_all && copies > 0 {
            continue;
        }
        if copies == 0 {
            // The lot of this viewer for this piece, against the part of the viewers that takes it now.
            let waits = window.len() - (piece.first() - first);
            let part = viewers * waits / window.len().max(1);
            if lot(seed, piece.first() / PIECE) % viewers >= FIRST.max(part / 2) {
                continue;
            }
        }
        let order = (copies, below(cx.rng, u64::MAX), piece);
        if best.is_none_or(|best| (order.0, order.1) < (best.0, best.1)) {
            best = Some(order);
        }
    }
    best.map(|(.., piece)| piece)
}

/// A number that depends on both in no visible way (the finalizer of MurmurHash3).
const fn lot(seed: u64, piece: ChunkId) -> u64 {
    let mut x = seed ^ piece.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    x = (x ^ (x >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    x ^ (x >> 33)
}
