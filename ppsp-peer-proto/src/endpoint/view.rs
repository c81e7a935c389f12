use alloc::vec::Vec;
use core::net::SocketAddr;

use ppsp_core::{ChunkId, ChunkRange, RangeSet, Read, StoreError, SwarmMetadata};

use super::{
    PeerKey,
    channel::Channel,
    slab::Slab,
    swarm::{self, SwarmState},
    windows::Change,
};

/// A look at one swarm.
#[derive(Clone, Copy, Debug)]
pub struct Swarm<'a> {
    pub(super) state: &'a SwarmState,
    pub(super) channels: &'a Slab<Channel>,
}

impl<'a> Swarm<'a> {
    /// What every peer of the swarm knows.
    pub fn metadata(&self) -> &'a SwarmMetadata {
        &self.state.metadata
    }

    /// Chunks held.
    pub fn held(&self) -> &'a RangeSet {
        &self.state.held
    }

    /// Number of chunks, once known.
    pub fn chunks(&self) -> Option<u64> {
        self.state.chunks()
    }

    /// Length of the content in bytes, once known.
    pub fn content_length(&self) -> Option<u64> {
        self.state.integrity.content_length()
    }

    /// Is all content held, or all that is wanted?
    pub fn is_complete(&self) -> bool {
        self.state.complete
    }

    /// Of a live stream: the chunk behind the last one that is known to exist; zero as long as nothing is known of the stream.
    pub fn live_end(&self) -> Option<ChunkId> {
        self.state.integrity.live().map(|live| live.verifier.end())
    }

    /// Of a live stream: is it proven that it ends soon? Once its last chunk is held, [`live_end`](Self::live_end) says where.
    pub fn is_live_ended(&self) -> bool {
        self.state.integrity.live().is_some_and(|live| live.verifier.is_ended())
    }

    /// The first chunk that a peer says it has: of a live stream, how far back it can be had.
    pub fn first_available(&self) -> Option<ChunkId> {
        let channels = self.state.channels.iter().filter_map(|&i| self.channels.get(i)).filter(|c| c.is_up());
        channels.filter_map(|channel| channel.have.first()).min()
    }

    /// Peers whose handshake is complete.
    pub fn peers(&self) -> impl Iterator<Item = PeerKey> + use<'a> {
        let channels = self.channels;
        self.state.channels.iter().filter_map(|&i| channels.get(i)).filter(|c| c.is_up()).map(|c| c.key)
    }

    /// Bytes of content received from peers and accepted.
    pub fn downloaded(&self) -> u64 {
        self.state.downloaded
    }

    /// Bytes of content that came by [`Endpoint::supply`](super::Endpoint::supply).
    pub fn supplied(&self) -> u64 {
        self.state.supplied
    }

    /// Bytes of content sent.
    pub fn uploaded(&self) -> u64 {
        self.state.uploaded
    }
}

/// A hold of one swarm.
#[derive(Debug)]
pub struct SwarmMut<'a> {
    pub(super) swarm: &'a mut swarm::Swarm,
    pub(super) slot: usize,
    /// Swarms whose channels have to look again.
    pub(super) stirred: &'a mut Vec<(usize, Change)>,
}

impl SwarmMut<'_> {
    /// Most windows that count; of more, the first.
    pub const MAX_WINDOWS: usize = 64;

    /// Chunks held.
    pub fn held(&self) -> &RangeSet {
        &self.swarm.state.held
    }

    /// What to fetch; `None` for everything. What is under way and not wanted any more is cancelled.
    pub fn want(&mut self, ranges: Option<&[ChunkRange]>) {
        let state = &mut self.swarm.state;
        state.windows.want(ranges);
        // Whether that is held already is told by an event, as ever.
        state.complete &= state.has_all_wanted();
        self.stir(Change::Turned);
    }

    /// What readers wait for, one window for each: it begins at the chunk that its reader needs next and ends where that
    /// reader has enough for now. None: nobody reads.
    ///
    /// What is in windows is wanted whatever [`want`](Self::want) says. It comes before all else: the nearer to the beginning
    /// of its window, the sooner, and readers that wait for the same number of chunks take turns. Where a reader jumps, what
    /// was asked for farther on or elsewhere makes room for what it needs now; what nobody wants any more is taken back.
    /// To say again that a window has moved on by some chunks costs little.
    ///
    /// At most [`MAX_WINDOWS`](Self::MAX_WINDOWS) count. Chunks past the end are none.
    ///
    /// Whether there are windows also decides on the congestion control of the swarm's channels where that is
    /// [`Congestion::Automatic`](super::Congestion::Automatic).
    pub fn set_windows(&mut self, windows: &[ChunkRange]) {
        let windows = windows.get(..Self::MAX_WINDOWS).unwrap_or(windows);
        let state = &mut self.swarm.state;
        let Some(change) = state.windows.set(windows, &state.held) else { return };
        let stands_still = core::mem::take(&mut state.complete);
        state.complete = stands_still && state.has_all_wanted();
        self.swarm.picker.on_windows(windows);
        // Who had nothing to do asks nobody until told to.
        let wakes = stands_still && !self.swarm.state.complete;
        self.stir(if wakes { Change::Turned } else { change });
    }

    fn stir(&mut self, change: Change) {
        if self.stirred.last() != Some(&(self.slot, change)) {
            self.stirred.push((self.slot, change));
        }
    }

    /// Reads a chunk from the store, as the application plays.
    pub fn read(&mut self, chunk: ChunkId, out: &mut [u8]) -> Result<Read, StoreError> {
        if self.swarm.state.held.contains(chunk) {
            self.swarm.store.0.read_chunk(chunk, out)
        } else {
            Ok(Read::Missing)
        }
    }

    /// Addresses learned by peer exchange since the last call, at most as many as fit `out`.
    pub fn take_learned(&mut self, out: &mut [SocketAddr]) -> usize {
        let mut n = 0;
        while n < out.len() {
            let Some(address) = self.swarm.state.learned.pop_front() else { break };
            out[n] = address;
            n += 1;
        }
        n
    }

    /// Why the store failed, once.
    pub fn take_error(&mut self) -> Option<StoreError> {
        self.swarm.state.error.take()
    }
}
