//! What is decided, apart from how it is carried out: which chunks to ask of whom, and whom to serve.
//!
//! RFC 7574 §9 leaves both to the implementation. Each policy is a trait with a good default.

mod choker;
mod picker;

pub use choker::{Candidate, Choker, Reciprocal};
pub use picker::{PickContext, Picker, RarestFirst};
