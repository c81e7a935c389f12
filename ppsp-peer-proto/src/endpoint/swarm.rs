use alloc::{
    boxed::Box,
    collections::{BTreeSet, VecDeque},
    vec::Vec,
};
use core::net::SocketAddr;

use ppsp_core::{Bin, ChunkId, ChunkRange, Claim, ContentStore, Instant, RangeSet, StoreError, SwarmMetadata};

use super::{
    Congestion, SwarmKey, channel::Channel, chunk_map::ChunkMap, integrity::Integrity, meter::Meter, slab::Slab,
    windows::Windows,
};
use crate::{
    policy::{Choker, Picker},
    wire::Format,
};

/// A swarm: one content, and what is known and under way of it.
#[derive(Debug)]
pub(super) struct Swarm {
    pub(super) state: SwarmState,
    pub(super) store: Store,
    pub(super) picker: Box<dyn Picker>,
    pub(super) choker: Box<dyn Choker>,
}

/// The part that views look at, apart from store and policies.
#[derive(Debug)]
pub(super) struct SwarmState {
    pub(super) key: SwarmKey,
    pub(super) metadata: SwarmMetadata,
    pub(super) integrity: Integrity,
    /// Verified and held by the store: served and announced.
    pub(super) held: RangeSet,
    /// Verified, with the store still writing.
    pub(super) writing: RangeSet,
    /// Asked of a peer, or being written: not to be asked for.
    pub(super) busy: RangeSet,
    /// Which channel a chunk was asked of. A chunk is asked of one peer at a time.
    pub(super) asked_of: ChunkMap,
    pub(super) windows: Windows,
    /// Held since HAVEs were last handed out.
    pub(super) fresh: RangeSet,
    /// What of it waited for the rest of its block when that was last looked at.
    pub(super) held_back: (Instant, RangeSet),
    pub(super) announce_at: Option<Instant>,
    pub(super) rechoke_at: Option<Instant>,
    /// When to look whether what readers need is late.
    pub(super) hurry_at: Option<Instant>,
    /// The picker has been told the size.
    pub(super) indexed: bool,
    pub(super) complete: bool,
    /// The store has no room.
    pub(super) stuffed: bool,
    pub(super) failed: bool,
    pub(super) error: Option<StoreError>,
    /// Slots of its channels.
    pub(super) channels: BTreeSet<usize>,
    /// Channels that found nothing to ask for, to be woken when there may be something.
    pub(super) starving: Vec<usize>,
    pub(super) congestion: Congestion,
    pub(super) learned: VecDeque<SocketAddr>,
    pub(super) downloaded: u64,
    /// Content as it comes.
    pub(super) meter: Meter,
    /// Bytes that the embedder had from elsewhere.
    pub(super) supplied: u64,
    pub(super) uploaded: u64,
    /// Events of these kinds wait to be taken.
    pub(super) told_progress: bool,
    pub(super) told_learned: bool,
    /// Number of chunks and length in bytes that the store and the embedder know of.
    pub(super) told_size: (Option<u64>, Option<u64>),
}

impl SwarmState {
    /// Number of chunks, known beforehand or from the first chunk on. What peaks alone say of it is worth nothing yet.
    pub(super) fn chunks(&self) -> Option<u64> {
        self.integrity.chunks()
    }

    /// Is what is sent congestion controlled as for somebody who watches?
    pub(super) fn streams(&self) -> bool {
        match self.congestion {
            Congestion::Automatic => !self.windows.is_empty(),
            Congestion::Background => false,
            Congestion::Streaming => true,
        }
    }

    /// All chunks, where their number is known.
    pub(super) fn all(&self) -> Option<ChunkRange> {
        self.chunks().and_then(|n| ChunkRange::with_len(0, n))
    }

    /// How the swarm writes ranges and hashes.
    pub(super) fn format(&self) -> Format {
        Format {
            addressing: self.metadata.addressing,
            chunk_size: self.metadata.chunk_size,
            hash_len: self.metadata.hash.len(),
            signature_len: self.integrity.live().map(|live| live.verifier.signature_len()),
            content_length: self.integrity.content_length(),
        }
    }

    /// Length of a chunk, as far as is known: only the last is shorter.
    pub(super) fn chunk_len(&self, chunk: ChunkId) -> usize {
        self.integrity.chunk_len(chunk, self.metadata.chunk_size.into())
    }

    /// Is everything held, or everything wanted?
    pub(super) fn has_all_wanted(&self) -> bool {
        let Some(all) = self.all() else { return false };
        match self.windows.wanted() {
            None => self.held.covers(all),
            Some(wanted) => wanted.runs().all(|r| r.intersection(all).is_none_or(|r| self.held.covers(r))),
        }
    }

    /// How many peers beside this one have some of these chunks, but not everything.
    pub(super) fn others(&self, channels: &Slab<Channel>, i: usize, range: ChunkRange) -> usize {
        let others = self.channels.iter().filter(|&&other| other != i).filter_map(|&other| channels.get(other));
        let has = |have: &RangeSet| have.intersects(range) && !self.all().is_some_and(|all| have.covers(all));
        others.filter(|other| other.is_up() && has(&other.have)).count()
    }

    /// The biggest complete interval around a chunk (RFC 7574 §4.3), where `aligned` the biggest that is a node of the tree.
    pub(super) fn interval(&self, chunk: ChunkId, aligned: bool) -> ChunkRange {
        let Some(run) = self.held.run_at(chunk) else { return ChunkRange::single(chunk) };
        if !aligned {
            return run;
        }
        let Some(mut bin) = Bin::leaf(chunk) else { return ChunkRange::single(chunk) };
        while let Some(parent) = bin.parent().filter(|p| run.covers(p.range())) {
            bin = parent;
        }
        bin.range()
    }

    /// Forgets that a chunk was asked for.
    pub(super) fn release(&mut self, chunk: ChunkId) -> Option<usize> {
        let owner = self.asked_of.remove(chunk)?;
        self.busy.remove(ChunkRange::single(chunk));
        Some(owner as usize)
    }
}

/// A store, with the little that the endpoint adds to it.
pub(super) struct Store(pub(super) Box<dyn ContentStore>);

impl Store {
    /// Hands over what was proven.
    pub(super) fn keep(&mut self, proven: &[Claim]) -> Result<(), StoreError> {
        self.0.write_hashes(proven)
    }
}

impl core::fmt::Debug for Store {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Store")
    }
}
