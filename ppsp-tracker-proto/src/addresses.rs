//! Which of the addresses that a peer declares are told to others, and the one that the tracker sees (RFC 7846 §4.1.1).

use alloc::vec::Vec;
use core::net::IpAddr;

use crate::message::{AddrKind, PeerAddr};

/// Most addresses that are kept of one peer, the observed one included.
pub const MAX_KEPT_ADDRS: usize = 8;

/// The addresses of a peer that others may try, the observed one last.
///
/// Unspecified, multicast and broadcast addresses and port 0 are dropped, and loopback unless the peer is seen there
/// itself. The observed address has the port of the first HOST address (one without a type counts as such); without
/// one there is none. What exceeds [`MAX_KEPT_ADDRS`] is dropped; what a peer calls REFLEXIVE at the observed address and port
/// is not told twice.
pub fn reachable<'a>(declared: &[PeerAddr<'a>], observed: IpAddr) -> Vec<PeerAddr<'a>> {
    let observed = observed.to_canonical();
    let sound = |addr: &&PeerAddr<'_>| {
        let ip = addr.ip.to_canonical();
        let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
        let local = ip.is_loopback() && !observed.is_loopback();
        addr.port != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast && !local
    };
    let is_host = |addr: &&PeerAddr<'_>| {
        addr.kind.as_ref().is_none_or(|kind| kind.known() == Some(AddrKind::Host)) && addr.port != 0
    };
    let reflexive = declared.iter().find(is_host).map(|host| PeerAddr {
        ip: observed,
        kind: Some(AddrKind::Reflexive.into()),
        asn: None,
        ..host.clone()
    });
    let seen =
        |addr: &&PeerAddr<'_>| reflexive.as_ref().is_some_and(|seen| (seen.ip, seen.port) == (addr.ip, addr.port));
    let named = |addr: &&PeerAddr<'_>| addr.kind.as_ref().and_then(|kind| kind.known()) == Some(AddrKind::Reflexive);
    let told = declared.iter().filter(sound).filter(|addr| !(named(addr) && seen(addr)));
    let room = MAX_KEPT_ADDRS - usize::from(reflexive.is_some());
    told.take(room).cloned().chain(reflexive.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn addr(ip: &str, port: u16, kind: Option<AddrKind>) -> PeerAddr<'static> {
        let ip = ip.parse().unwrap();
        let kind = kind.map(Into::into);
        PeerAddr { ip, port, priority: 1, kind, connection: None, asn: None, peer_protocol: None }
    }

    #[test]
    fn the_observed_address_has_the_port_of_the_first_host() {
        let declared = [
            addr("198.51.100.9", 5, Some(AddrKind::Proxy)),
            addr("192.168.1.2", 7, Some(AddrKind::Host)),
            addr("2001:db8::2", 8, None),
            addr("203.0.113.1", 7, Some(AddrKind::Reflexive)),
        ];
        let found = reachable(&declared, "::ffff:203.0.113.1".parse().unwrap());
        let mut expected = declared[..3].to_vec();
        expected.push(declared[3].clone());
        assert_eq!(found, expected);
        assert_eq!(reachable(&[], [203, 0, 113, 1].into()), []);
    }

    #[test]
    fn what_nobody_can_reach_is_dropped() {
        let bad = ["0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "127.0.0.1", "::1", "::ffff:127.0.0.1"];
        let declared = bad.map(|ip| addr(ip, 7, Some(AddrKind::Proxy)));
        assert_eq!(reachable(&declared, [203, 0, 113, 1].into()), []);
        assert_eq!(reachable(&[addr("192.0.2.1", 0, None)], [203, 0, 113, 1].into()), []);
        let loopback = addr("127.0.0.1", 7, None);
        assert_eq!(reachable(core::slice::from_ref(&loopback), [127, 0, 0, 1].into())[0], loopback);
    }

    #[test]
    fn limit() {
        let many = vec![addr("192.0.2.1", 7, None); 20];
        let found = reachable(&many, [203, 0, 113, 1].into());
        assert_eq!(found.len(), MAX_KEPT_ADDRS);
        assert_eq!(found.last().unwrap().ip, IpAddr::from([203, 0, 113, 1]));
    }
}
