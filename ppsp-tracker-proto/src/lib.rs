//! The Peer-to-Peer Streaming Tracker Protocol (PPSTP, RFC 7846): its messages, the tracker, and the peer's client of it.
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
mod client;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod machine;
pub mod message;
pub mod registration;
mod transition;

pub use addresses::{MAX_KEPT_ADDRS, reachable};
pub use client::{ClientConfig, ClientEvent, Counters, Failure, Outgoing, Participation, TrackerClient};
pub use gate::{Gate, Principal};
pub use machine::{
    Context, Flag, Flags, Inconsistency, ListPolicy, Shares, SwarmView, Tracker, TrackerConfig, TrackerStats, Wanted,
    check_step, check_totals, rank,
};
pub use transition::{Decision, Next, Refusal, check_actions, decide, is_registered, may_see};
