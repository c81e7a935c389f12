//! The Peer-to-Peer Streaming Tracker Protocol (PPSTP, RFC 7846): its messages, and which
//! requests the tracker's state machine allows.
//!
//! HTTP, TLS, clocks and databases stay outside. The crate is `no_std` with `alloc`, and pure: no I/O, no entropy, no
//! thread, and no panic on any input.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod addresses;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
pub mod message;
mod transition;

pub use addresses::{MAX_KEPT_ADDRS, reachable};
pub use gate::{Gate, Principal};
pub use transition::{Next, Refusal, check_actions};
