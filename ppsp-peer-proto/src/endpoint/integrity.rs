//! How a swarm's content is known to be right: static content by its root hash, live content by what its source signed.

use alloc::{boxed::Box, vec::Vec};

use ppsp_core::{Bin, ChunkId, ChunkRange, Claim, RangeSet, Unverified, Verdict, Verifier};

use super::live::Live;

#[derive(Debug)]
pub(super) enum Integrity {
    Static(Box<Verifier>),
    Live(Box<Live>),
}

impl Integrity {
    pub(super) fn verify(&mut self, batch: &[Unverified<'_>], verdicts: &mut Vec<Verdict>, proven: &mut Vec<Claim>) {
        match self {
            Self::Static(verifier) => verifier.verify(batch, verdicts, proven),
            Self::Live(live) => live.verifier.verify(batch, verdicts, proven),
        }
    }

    /// Drops hashes that no missing chunk needs any more.
    pub(super) fn forget(&mut self, held: &RangeSet, range: ChunkRange) {
        match self {
            Self::Static(verifier) => verifier.forget(held, range),
            Self::Live(live) => live.verifier.forget(held, range),
        }
    }

    /// Number of chunks, known beforehand or from the first chunk on. What peaks alone say of it is worth nothing yet.
    /// A live stream has none.
    pub(super) fn chunks(&self) -> Option<u64> {
        self.fixed().and_then(|verifier| verifier.chunks().filter(|_| verifier.size_settled()))
    }

    /// As [`chunks`](Self::chunks), be it believed only.
    pub(super) fn known_chunks(&self) -> Option<u64> {
        self.fixed().and_then(Verifier::chunks)
    }

    pub(super) fn content_length(&self) -> Option<u64> {
        self.fixed().and_then(Verifier::content_length)
    }

    pub(super) fn peaks_proven(&self) -> bool {
        self.fixed().is_some_and(Verifier::peaks_proven)
    }

    /// Is there nothing more to learn of the size?
    pub(super) fn size_certain(&self) -> bool {
        self.fixed().is_none_or(Verifier::size_certain)
    }

    /// The verifier, as long as it has to be told the peaks.
    pub(super) fn wants_peaks(&mut self) -> Option<&mut Verifier> {
        match self {
            Self::Static(verifier) if !(verifier.size_certain() && verifier.peaks_proven()) => Some(verifier),
            _ => None,
        }
    }

    /// Length of a chunk, as far as is known: only the last is shorter than the chunk size.
    pub(super) fn chunk_len(&self, chunk: ChunkId, size: u64) -> usize {
        if let Self::Live(live) = self {
            return live.verifier.chunk_len(chunk);
        }
        let len = match (self.chunks(), self.content_length()) {
            (Some(n), Some(length)) if chunk.checked_add(1) == Some(n) => length - (n - 1) * size,
            _ => size,
        };
        len as usize
    }

    /// The node that uncles of a chunk lead to: its peak, or its munro.
    pub(super) fn top_of(&self, chunk: ChunkId) -> Option<Bin> {
        match self {
            Self::Static(_) => ppsp_core::peak_of(chunk, self.chunks()?),
            Self::Live(live) => live.verifier.munro_of(chunk).map(|munro| munro.node),
        }
    }

    pub(super) fn live(&self) -> Option<&Live> {
        match self {
            Self::Static(_) => None,
            Self::Live(live) => Some(live),
        }
    }

    pub(super) fn live_mut(&mut self) -> Option<&mut Live> {
        match self {
            Self::Static(_) => None,
            Self::Live(live) => Some(live),
        }
    }

    fn fixed(&self) -> Option<&Verifier> {
        match self {
            Self::Static(verifier) => Some(verifier),
            Self::Live(_) => None,
        }
    }
}
