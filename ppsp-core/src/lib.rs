//! Vocabulary and content integrity of the Peer-to-Peer Streaming Peer Protocol (PPSPP, RFC 7574).
//!
//! This crate knows chunks, sets of chunks, hash trees, swarm metadata, links and where content is kept. It knows no
//! message, no peer and no clock: those are `ppsp-peer-proto`'s. It is `no_std` with `alloc`, and pure: no I/O, no
//! entropy, no thread, and no panic on any input.
#![no_std]
#![deny(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

extern crate alloc;
#[cfg(any(test, feature = "std"))]
extern crate std;

mod addressing;
mod bin;
mod chunk;
#[cfg(feature = "descriptor")]
pub mod descriptor;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod hash;
mod identifier;
mod link;
#[cfg(feature = "signature")]
pub mod live;
mod memory;
mod metadata;
mod proven;
mod range_set;
#[cfg(feature = "signature")]
pub mod signature;
mod store;
mod time;
mod tree;
mod verifier;
mod window;

pub use addressing::BadSpec;
pub use bin::Bin;
pub use chunk::{ChunkId, ChunkRange};
pub use hash::{Hash, HashAlg, HashBackend, hash_chunks, hash_pairs};
pub use identifier::{Identifier, IdentifierError};
pub use link::{IdLength, Link, LinkError};
pub use memory::MemoryStore;
pub use metadata::{ChunkAddressing, IntegrityMethod, MetadataError, SwarmId, SwarmMetadata};
pub use range_set::{RangeSet, Runs};
pub use store::{ContentStore, Read, StoreError, StoredSize, Write};
pub use time::Instant;
pub use tree::{Claim, Misplaced, Tree, TreeBuilder, is_filled, peak_of, peaks, root_bin, root_from_peaks, uncles};
pub use verifier::{Unverified, Verdict, Verifier};
pub use window::WindowStore;
