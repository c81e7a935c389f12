//! What to ask of whom while a stream is watched live.

use alloc::vec::Vec;

use ppsp_core::{ChunkId, ChunkRange, RangeSet};
use rand_core::Rng;

use super::{PIECE, PickContext, Picker, below};

/// Picks for viewers of a live stream, who all need the same at the same time.
///
/// What is needed within a moment comes in order, from other viewers. Of the rest of a window each viewer takes what
/// few others have. Whoever has all up to the last chunk is the source, or as near to it as can be: it is there for
/// what nobody else has, and each viewer waits with that for a time by lot, as those do who report losses to a
/// multicast source (RFC 5401 §3.2). Few wait shortly; once one of them has it, the others take it from there.
#[derive(Debug, Default)]
pub struct LivePicker {
    windows: Vec<ChunkRange>,
    /// Of this viewer's lots.
    seed: Option<u64>,
}

/// Pieces that are looked at for the rarest.
const LOOK_AT: usize = 96;
/// So small a part of a window is urgent.
const URGENT: u64 = 4;
/// So small a part of a window is the longest wait.
const WAIT: u64 = 2;

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
        // Where nobody reads, all that is wanted, as recorders do.
        let everything = ChunkRange::with_len(0, u64::MAX).filter(|_| self.windows.is_empty());
        for range in self.windows.iter().copied().chain(everything) {
            let wanted = cx.wanted.and_then(|wanted| Some((wanted.next_set(range.first())?.first(), wanted.last()?)));
            let window = wanted.and_then(|(first, end)| ChunkRange::new(first, range.last().min(end)));
            if let Some(picked) = window.and_then(|window| pick(cx, seed, window, budget)) {
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
    let has_all = cx.peer_has.covers(window);
    if !has_all && let Some(run) = cx.next(first, (first + window.len() / URGENT).min(last)) {
        return cut(run);
    }
    // Where nobody else has anything there is nobody to wait for.
    let alone = (cx.others)(window) == 0;
    let mut best: Option<(usize, u64, ChunkRange)> = None;
    let mut at = Some(first);
    for _ in 0..LOOK_AT {
        let Some(piece) = at.and_then(|at| cx.next(at, last)).and_then(cut) else { break };
        at = piece.last().checked_add(1);
        let copies = (cx.others)(ChunkRange::single(piece.first()));
        let waits =
            copies == 0 && !alone && !is_due(seed, piece.first() / PIECE, last - piece.last(), window.len() / WAIT);
        if waits || (has_all && copies > 0) {
            continue;
        }
        let lot = below(cx.rng, u64::MAX);
        if best.is_none_or(|best| (copies, lot) < (best.0, best.1)) {
            best = Some((copies, lot, piece));
        }
    }
    best.map(|(.., piece)| piece)
}

/// Has this viewer waited long enough for this piece? Of all viewers as many have as is the fourth power of the part of
/// the longest wait that has passed, in chunks made since.
fn is_due(seed: u64, piece: ChunkId, waited: u64, longest: u64) -> bool {
    let part = waited.saturating_mul(1 << 16).checked_div(longest).unwrap_or(1 << 16).min(1 << 16);
    let square = (part * part) >> 16;
    (lot(seed, piece) >> 48) < (square * square) >> 16
}

/// A number that depends on both in no visible way: the finalizer of MurmurHash3.
const fn lot(seed: u64, piece: ChunkId) -> u64 {
    let mut x = seed ^ piece.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
    x = (x ^ (x >> 33)).wrapping_mul(0xC4CE_B9FE_1A85_EC53);
    x ^ (x >> 33)
}
