use alloc::vec::Vec;
use core::net::SocketAddr;

use ppsp_core::{ChunkId, ChunkRange, RangeSet, Read, StoreError, SwarmMetadata};

use super::{
    PeerKey,
    channel::Channel,
    slab::Slab,
    swarm::{self, SwarmState},
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
        self.state.verifier.content_length()
    }

    /// Is all content held, or all that is wanted?
    pub fn is_complete(&self) -> bool {
        self.state.complete
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
    pub(super) stirred: &'a mut Vec<usize>,
}

impl SwarmMut<'_> {
    /// Most windows that count; of more, the first.
    pub const MAX_WINDOWS: usize = 64;

    /// What to fetch; `None` for everything. What is under way and not wanted any more is cancelled.
    pub fn want(&mut self, ranges: Option<&[ChunkRange]>) {
        self.swarm.state.asked_for = ranges.map(|ranges| ranges.iter().copied().collect());
        self.look_again();
    }

    /// What readers wait for: a window each, from the chunk that it needs next to how far ahead of it things are urgent. Windows
    /// come before all else, in order and in turn, whether they are wanted otherwise or not. Where one begins elsewhere than
    /// those before, what is under way outside of all of them is cancelled, so that it does not stand in the way. No windows:
    /// nobody reads. Also decides on the congestion control of the swarm's channels where that is
    /// [`Congestion::Automatic`](super::Congestion::Automatic).
    pub fn set_windows(&mut self, windows: &[ChunkRange]) {
        let state = &mut self.swarm.state;
        let windows = windows.get(..Self::MAX_WINDOWS).unwrap_or(windows);
        let follows =
            |first: ChunkId| state.windows.iter().any(|old| old.contains(first) || old.last() == first.wrapping_sub(1));
        state.sought |= windows.iter().any(|window| !follows(window.first()));
        state.windows.clear();
        state.windows.extend_from_slice(windows);
        self.swarm.picker.on_windows(windows);
        self.look_again();
    }

    fn look_again(&mut self) {
        let state = &mut self.swarm.state;
        state.wanted.clone_from(&state.asked_for);
        if let Some(wanted) = &mut state.wanted {
            wanted.extend(state.windows.iter().copied());
        }
        // Whether that is held already is told by an event, as ever.
        state.complete &= state.has_all_wanted();
        self.stirred.push(self.slot);
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
