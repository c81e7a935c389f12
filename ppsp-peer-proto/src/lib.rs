//! The Peer-to-Peer Streaming Peer Protocol (PPSPP, RFC 7574) as a sans-IO state machine.
//!
//! An [`Endpoint`] is one UDP socket's worth of protocol: all swarms and all peers on it. Received bytes and the time go
//! in, bytes to send and [`Event`]s come out. There is no socket, clock, thread or source of entropy in this crate, so it
//! runs wherever the embedder runs, and the same inputs give the same outputs, byte for byte.
//!
//! | module | what it holds |
//! |---|---|
//! | the root | [`Endpoint`] and what goes in and out of it |
//! | [`policy`] | which chunks to ask of whom ([`policy::Picker`]), whom to serve ([`policy::Choker`]) |
//! | [`congestion`] | how fast to send: LEDBAT (RFC 6817) behind [`congestion::Controller`] |
//! | [`wire`] | the messages and options of RFC 7574 §7 and §8, read and written |
//!
//! What is implemented: the whole of the wire format, static content protected by a Merkle hash tree, and live streams in a
//! Unified Merkle Tree or with each chunk signed, as Sign All has it (RFC 7574 §6, [`LiveOptions`]).
//!
//! # Example
//!
//! Two endpoints, and a loop that stands for the network:
//!
//! ```
//! use std::{net::SocketAddr, num::NonZeroUsize};
//!
//! use ppsp_core::{HashAlg, Instant, MemoryStore, SwarmMetadata};
//! use ppsp_peer_proto::{Datagrams, Endpoint, EndpointConfig, Event, SwarmConfig};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Content with its hash tree, and the one thing that a leecher has to know from a source it trusts: the root hash.
//! let (full, tree) = MemoryStore::from_content(HashAlg::Sha256, 1024, vec![7; 100_000]);
//! let metadata = SwarmMetadata::of_root(&tree.root);
//!
//! // An endpoint for each socket. A program takes the seeds from the system's generator and the time from its clock.
//! let mut now = Instant::from_micros(0);
//! let address: [SocketAddr; 2] = ["10.0.0.1:6778".parse()?, "10.0.0.2:6778".parse()?];
//! let mut peers = [[1; 32], [2; 32]].map(|seed| Endpoint::new(EndpointConfig::default(), seed, now));
//! peers[0].open(now, SwarmConfig::new(metadata.clone()), Box::new(full))?;
//! let empty = MemoryStore::new(metadata.hash, metadata.chunk_size);
//! let swarm = peers[1].open(now, SwarmConfig::new(metadata), Box::new(empty))?;
//! peers[1].connect(now, swarm, address[0])?;
//!
//! let mut buffer = vec![0; 65_487];
//! let segments = NonZeroUsize::new(16).unwrap_or(NonZeroUsize::MIN);
//! 'fetch: loop {
//!     for (from, to) in [(0, 1), (1, 0)] {
//!         // A driver sends these bytes to `run.destination`; here they arrive at once.
//!         while let Some(run) = peers[from].poll_transmit(now, segments, &mut buffer) {
//!             let stride = run.segment_size.map_or(run.len, NonZeroUsize::get);
//!             peers[to].handle(now, [Datagrams { remote: address[from], data: &buffer[..run.len], stride }]);
//!         }
//!         while let Some(event) = peers[from].poll_event() {
//!             if from == 1 && event == (Event::Complete { swarm }) {
//!                 break 'fetch;
//!             }
//!         }
//!     }
//!     // A driver sleeps until a datagram comes or the time is due; here only the latter can happen.
//!     let due = peers.iter().filter_map(Endpoint::poll_timeout).min();
//!     now = now.max(due.ok_or("nothing will ever happen")?);
//!     peers.iter_mut().for_each(|peer| peer.handle_timeout(now));
//! }
//! assert_eq!(peers[1].swarm(swarm).and_then(|swarm| swarm.content_length()), Some(100_000));
//! # Ok(())
//! # }
//! ```
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

/// The README's example is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
