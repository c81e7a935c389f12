//! What is decided, apart from how it is carried out: which chunks to ask of whom, and whom to serve.
//!
//! RFC 7574 §9 leaves both to the implementation. Each policy is a trait with a good default.

mod choker;
mod live;
mod picker;
mod windows;

pub use choker::{Candidate, Choker, Reciprocal};
pub use live::LivePicker;
pub use picker::{PickContext, Picker, RarestFirst};
use rand_core::Rng;

/// Chunks that are asked for together where somebody waits: an aligned block of so many. Shorter than the groups that a server
/// may serve out of order, a quarter of an ordinary munro; so short that little is with a slow peer, and that those who read
/// the same soon have something for each other.
pub(crate) const PIECE: u64 = 8;

/// A number below `n`, near enough to evenly for a lot; zero where `n` is zero.
pub(crate) fn below(rng: &mut dyn Rng, n: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(n)) >> 64) as u64
}
