use core::net::SocketAddr;

use ppsp_core::{ChunkId, ChunkRange, Read, StoreError, SwarmMetadata};

use super::PeerKey;

/// A look at one swarm.
#[derive(Clone, Copy)]
pub struct Swarm<'a> {
    _x: &'a (),
}

impl<'a> Swarm<'a> {
    /// What every peer of the swarm knows.
    pub fn metadata(&self) -> &'a SwarmMetadata {
        todo!()
    }
    /// Chunks held (a `&RangeSet` in the finished crate).
    pub fn held_chunks(&self) -> u64 {
        todo!()
    }
    /// Number of chunks, once known.
    pub fn chunks(&self) -> Option<u64> {
        todo!()
    }
    /// Length of the content in bytes, once known.
    pub fn content_length(&self) -> Option<u64> {
        todo!()
    }
    /// Is everything held?
    pub fn is_complete(&self) -> bool {
        todo!()
    }
    /// Peers whose handshake is complete.
    pub fn peers(&self) -> impl Iterator<Item = PeerKey> + 'a {
        core::iter::empty()
    }
    /// Bytes of content received and accepted.
    pub fn downloaded(&self) -> u64 {
        todo!()
    }
    /// Bytes of content sent.
    pub fn uploaded(&self) -> u64 {
        todo!()
    }
}

/// A hold of one swarm.
pub struct SwarmMut<'a> {
    _x: &'a mut (),
}

impl SwarmMut<'_> {
    /// What to fetch; `None` for everything.
    pub fn want(&mut self, _ranges: Option<&[ChunkRange]>) {
        todo!()
    }
    /// Where playback stands: chunks from here on come first and in order. `None`: nobody plays.
    pub fn set_playhead(&mut self, _chunk: Option<ChunkId>) {
        todo!()
    }
    /// Reads a chunk from the store, as the application plays.
    pub fn read(&mut self, _chunk: ChunkId, _out: &mut [u8]) -> Result<Read, StoreError> {
        todo!()
    }
    /// Addresses learned by peer exchange since the last call, at most as many as fit `out`.
    pub fn take_learned(&mut self, _out: &mut [SocketAddr]) -> usize {
        todo!()
    }
    /// Why the store failed, once.
    pub fn take_error(&mut self) -> Option<StoreError> {
        todo!()
    }
    /// The store, for the embedder's own use (flush, statistics).
    pub fn store(&mut self) -> &mut dyn ppsp_core::ContentStore {
        todo!()
    }
}
