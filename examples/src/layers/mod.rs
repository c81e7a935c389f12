//! Temporal layers: pictures that no other picture is made of are an enhancement of those that remain.
//!
//! A base without them plays in any decoder, with fewer pictures a second; the enhancement holds the others. Both are fragmented MP4
//! (ISO/IEC 14496-12) with the same description of what is in them, and merged in decode order they are again, picture by picture and
//! tick by tick, what they were made of.
//!
//! One idea a file: `boxes` reads boxes, [`Track`] what an initialization segment says, [`Segment`] a media segment as samples,
//! [`merge()`] puts layers together, [`divide`] takes them apart, and `h264` tells the pictures that nobody needs. What is read
//! is a stranger's: sizes and counts are believed only where the bytes are there.

mod boxes;
mod error;
mod h264;
mod merge;
mod segment;
#[cfg(test)]
mod tests;
mod track;

pub(crate) use boxes::boxes;
pub use error::Unreadable;
pub use merge::{divide, merge, part};
pub use segment::{Sample, Segment};
pub use track::Track;
