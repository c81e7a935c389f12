use alloc::vec::Vec;
use core::fmt;

use ppsp_core::{ChunkId, ChunkRange, Instant};
use rand_core::Rng;

/// Decides what to ask of whom (RFC 7574 §9.1). Told of every change, so that it may keep an index of its own.
pub trait Picker: Send + fmt::Debug {
    /// The number of chunks is known.
    fn on_size(&mut self, chunks: u64);
}

/// What a picker sees when it is asked.
pub struct PickContext<'a> {
    /// The time.
    pub now: Instant,
    /// The endpoint's generator: the only source of chance.
    pub rng: &'a mut dyn Rng,
}

/// From the playhead in order, then rarest first.
#[derive(Debug, Default)]
pub struct RarestFirst {
    playhead: Option<ChunkId>,
    _x: Vec<ChunkRange>,
}

impl Picker for RarestFirst {
    fn on_size(&mut self, _chunks: u64) {
        let _ = self.playhead;
    }
}
