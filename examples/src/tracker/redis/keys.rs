//! How things are called in Redis.
//!
//! What stands in braces decides where a cluster keeps a key: everything about one swarm lies together. Swarm identifiers are
//! hashed, for they may hold anything, braces too.

use std::net::IpAddr;

use data_encoding::HEXLOWER;
use ppsp_core::Identifier;
use ppsp_tracker_proto::{Principal, message::PeerMode};
use sha2::{Digest, Sha256};

/// A registration.
pub(super) fn peer(id: &Identifier) -> String {
    format!("ppsp:peer:{{{}}}", HEXLOWER.encode(id.as_bytes()))
}

/// The short name of a swarm.
pub(super) fn swarm(id: &str) -> String {
    HEXLOWER.encode(&Sha256::digest(id)[..16])
}

/// The peers of a swarm in one mode, by when they were last heard.
pub(super) fn members(swarm_id: &str, mode: PeerMode) -> String {
    let mode = if mode == PeerMode::Seeder { "seeders" } else { "leeches" };
    format!("ppsp:swarm:{{{}}}:{mode}", swarm(swarm_id))
}

/// The LEECHes of a swarm that have content.
pub(super) fn giving(swarm_id: &str) -> String {
    format!("ppsp:swarm:{{{}}}:giving", swarm(swarm_id))
}

/// What was sent and received in a swarm.
pub(super) fn bytes(swarm_id: &str) -> String {
    format!("ppsp:swarm:{{{}}}:bytes", swarm(swarm_id))
}

/// The peers of a session.
pub(super) fn session(session: u128) -> String {
    format!("ppsp:session:{{{session:032x}}}")
}

/// The peers of an address.
pub(super) fn address(ip: IpAddr) -> String {
    format!("ppsp:address:{{{ip}}}")
}

/// An answer that may be asked for again.
pub(super) fn answer(principal: &Principal, remote: IpAddr, transaction_id: &str) -> String {
    let hash = Sha256::new()
        .chain_update(principal.client.as_bytes())
        .chain_update(principal.session.to_be_bytes())
        .chain_update(format!("{} ", remote.to_canonical()))
        .chain_update(transaction_id)
        .finalize();
    format!("ppsp:answer:{{{}}}", HEXLOWER.encode(&hash))
}

/// All peers.
pub(super) const PEERS: &str = "ppsp:peers";
/// All swarms, by their short names.
pub(super) const SWARMS: &str = "ppsp:swarms";
/// The key of peer identifiers.
pub(super) const PEER_KEY: &str = "ppsp:key:peer";
