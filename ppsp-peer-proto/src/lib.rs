//! The Peer-to-Peer Streaming Peer Protocol (PPSPP, RFC 7574) as a sans-IO state machine.
//!
//! Bytes and time go in, bytes and events come out: see [`Endpoint`].
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

pub mod congestion;
mod endpoint;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
pub mod policy;
#[cfg(feature = "sim")]
#[doc(hidden)]
pub mod sim;
pub mod wire;

pub use endpoint::*;
