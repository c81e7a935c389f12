//! What a directory keeps of a registered peer, wherever it keeps it. Which swarms the peer is in, and with what, is kept
//! beside it: each directory names swarms its own way.

use core::{hash::Hasher as _, net::IpAddr};

use ppsp_core::{Identifier, Instant};

use crate::{
    Addrs, Principal,
    message::{AbilityNat, PeerAddr, PeerNum},
};

/// A registered peer (RFC 7846 §2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The peer identifier that the tracker assigned.
    pub id: Identifier,
    /// Who registered it. Nobody else may speak for it.
    pub principal: Principal,
    /// From where. Requests from elsewhere are refused.
    pub remote: IpAddr,
    /// When it registered.
    pub since: Instant,
    /// Its last accepted request: the track timer runs from here.
    pub seen: Instant,
    /// The request that registered it.
    pub opening: Transaction,
    /// Its last accepted request.
    pub last: Transaction,
    /// What lists are made by.
    pub profile: Profile,
    /// Where it can be reached.
    pub addrs: Addrs,
}

/// Properties of a peer that peer lists are made by (RFC 7846 §3.2.2). Unknown ones are zero or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// Its NAT traversal.
    pub nat: Option<AbilityNat>,
    /// Links to other peers.
    pub links: u32,
    /// Upload bandwidth in Kbit/s.
    pub bandwidth: u32,
    /// Autonomous system of the first address that names one.
    pub asn: u32,
    /// Highest priority of its addresses.
    pub priority: u32,
    /// It has addresses of IPv4.
    pub ipv4: bool,
    /// It has addresses of IPv6.
    pub ipv6: bool,
}

impl Profile {
    /// RFC 7846 §3.2.2: the scope of a list also tells the state of the peer that asks.
    pub fn learn(&mut self, scope: &PeerNum<'_>) {
        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        self.nat = scope.ability_nat.as_ref().and_then(|ability| ability.known()).or(self.nat);
        self.links = scope.concurrent_links.map_or(self.links, narrow);
        self.bandwidth = scope.upload_bandwidth.map_or(self.bandwidth, narrow);
    }

    /// From the addresses that others are told.
    pub fn learn_addrs(&mut self, addrs: &[PeerAddr<'_>]) {
        self.ipv4 = addrs.iter().any(|addr| addr.ip.is_ipv4());
        self.ipv6 = addrs.iter().any(|addr| addr.ip.is_ipv6());
        self.priority = addrs.iter().map(|addr| addr.priority).max().unwrap_or(0);
        self.asn = addrs.iter().find_map(|addr| addr.asn.as_deref()?.parse().ok()).unwrap_or(0);
    }
}

/// Fingerprints of a request: RFC 7846 §4.3 wants a repeated one recognised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transaction {
    /// Of the transaction_id, together with whose it is.
    pub id: u64,
    /// Of the whole body.
    pub content: u64,
}

impl Transaction {
    /// The `key` must be secret, and the same for all nodes that share a directory.
    pub fn of(
        key: [u64; 2],
        principal: &Principal,
        remote: IpAddr,
        peer_id: &str,
        transaction_id: &str,
        body: &[u8],
    ) -> Self {
        let mut id = Fingerprint::new(key);
        id.part(principal.client.as_bytes()).part(&principal.session.to_be_bytes());
        match remote {
            IpAddr::V4(ip) => id.part(&ip.octets()),
            IpAddr::V6(ip) => id.part(&ip.octets()),
        };
        id.part(peer_id.as_bytes()).part(transaction_id.as_bytes());
        let mut content = Fingerprint::new(key);
        content.part(body);
        Self { id: id.end(), content: content.end() }
    }
}

/// SipHash of length-prefixed parts. `core` has no other keyed hash whose value is the same on every node.
#[expect(deprecated, reason = "the successor is in std and cannot be given a key")]
struct Fingerprint(core::hash::SipHasher);

#[expect(deprecated, reason = "as above")]
impl Fingerprint {
    fn new([first, second]: [u64; 2]) -> Self {
        Self(core::hash::SipHasher::new_with_keys(first, second))
    }

    fn part(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.write(&(bytes.len() as u64).to_be_bytes());
        self.0.write(bytes);
        self
    }

    fn end(&self) -> u64 {
        self.0.finish()
    }
}
