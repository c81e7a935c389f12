//! The Peer-to-Peer Streaming Tracker Protocol (PPSTP, RFC 7846): its messages, the rules of the tracker, and the tracker
//! in memory.
//!
//! HTTP, TLS, clocks and databases stay outside. The crate is `no_std` with `alloc`, and pure: no I/O, no entropy, no
//! thread, and no panic on any input. [`Tracker`] keeps everything in memory; a directory elsewhere is made of
//! [`transition`], [`ListPolicy`] and [`Record`].
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod actions;
mod addresses;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod gate;
mod machine;
pub mod message;
mod packed;
mod record;
mod registration;
mod reports;
mod selection;
mod transition;

pub use actions::{Next, Refusal, check_actions};
pub use addresses::{MAX_KEPT_ADDRS, reachable};
pub use gate::{Gate, Principal};
pub use machine::{Config, Stats, SwarmView, Tracker};
pub use packed::{Addrs, MAX_KEPT_TEXT};
pub use record::{BadRecord, Membership, Record};
pub use registration::{Profile, Registration, Transaction};
pub use reports::{Counters, Doubt, Totals, take_report};
pub use selection::{Candidate, Draw, ListPolicy, MAX_LIST, Population, sample};
pub use transition::{Context, Decision, Ends, Held, Step, Subject, transition};
