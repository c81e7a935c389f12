//! A deterministic swarm simulator: endpoints and bad peers in a network in virtual time.
//!
//! Everything happens because of one seed, and happens again with the same. A test builds a [`Swarm`] (or a [`World`] and
//! what it wants in it), runs it to a condition and looks. Whatever goes wrong is a panic that names the seed and the time.
#![allow(clippy::expect_used, clippy::panic, reason = "a test's tool: what goes wrong here must be loud")]

mod audit;
mod broadcast;
mod content;
mod crowd;
mod flows;
mod growth;
mod netem;
mod peer;
mod reno;
mod rng;
mod scripted;
mod swarm;
mod viewer;
mod world;

pub use audit::{Audit, auditor};
pub use broadcast::{Broadcast, Watcher};
pub use content::{Content, FailingStore, Ledger, Owed, SimStore, StoreFaults};
pub use crowd::Crowd;
pub use flows::{Flow, Flows, jain};
pub use growth::Growth;
pub use netem::{Access, Arrival, HEADERS, LinkConfig, LinkStats, MAX_UDP, Netem, Port, Trunk};
pub use peer::{Peer, peer_key};
pub use reno::{Reno, RenoFactory};
pub use rng::Chance;
pub use scripted::{Character, Flooder, Gives, Manners, Puppet, Received, Seen, Speech, has_message};
pub use swarm::{Acquaintance, Builder, Swarm, node_address};
pub use viewer::{Screen, Viewer};
pub use world::{Node, NodeId, Outbox, Sight, Steps, Tap, Timeout, Verdict, World, secs};
