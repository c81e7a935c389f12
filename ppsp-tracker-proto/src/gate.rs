//! What the tracker asks about those who ask it. The answers come from elsewhere: tokens, certificates, a Portal.

use core::net::IpAddr;

use ppsp_core::Identifier;

use crate::message::PeerMode;

/// Who sent a request, as the transport authenticated it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The client identifier.
    pub client: Identifier,
    /// The session at the Portal.
    pub session: u128,
}

/// What a principal may do, and the peer identifiers it is given. Asked at each request, and so expected to be quick.
pub trait Gate {
    /// May this principal take part in the swarm in this mode?
    fn may(&self, principal: &Principal, swarm: &str, mode: PeerMode) -> bool;

    /// The peer identifier of a new registration from this address. It never repeats.
    fn assign(&self, principal: &Principal, remote: IpAddr) -> Identifier;

    /// Was `id` assigned to this principal at this address?
    fn assigned(&self, id: Identifier, principal: &Principal, remote: IpAddr) -> bool;
}
