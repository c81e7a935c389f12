//! What is decided, apart from how it is carried out: which chunks to ask of whom, and whom to serve.
//!
//! RFC 7574 §9 leaves both to the implementation. Each policy is a trait with a good default.

mod choker;
mod live;
mod picker;
mod windows;

pub use choker::{Candidate, Choker, Reciprocal};
pub use live::LivePicker;
pub(crate) use live::PIECE as LIVE_PIECE;
pub use picker::{PickContext, Picker, RarestFirst};
use rand_core::Rng;

/// A number below `n`, near enough to evenly for a lot; zero where `n` is zero.
pub(crate) fn below(rng: &mut dyn Rng, n: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(n)) >> 64) as u64
}
