use alloc::collections::{BTreeMap, VecDeque};
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::time::Duration;

use ppsp_core::Instant;

/// Addresses that stay out for a time (RFC 7574 §12.7: a receiver that detects a bad sender may ignore it).
///
/// A public address is banned with all its ports, and an IPv6 address with its network of 64 bits, for these cost nothing
/// to change. At a private address many hosts
/// of a laboratory, or many processes of one host, may be at home: there it is the address with the port.
#[derive(Debug)]
pub(super) struct Bans {
    max: usize,
    time: Duration,
    until: BTreeMap<(IpAddr, u16), Instant>,
    order: VecDeque<(IpAddr, u16)>,
}

impl Bans {
    pub(super) fn new(max: usize, time: Duration) -> Self {
        Self { max, time, until: BTreeMap::new(), order: VecDeque::new() }
    }

    pub(super) fn ban(&mut self, now: Instant, remote: SocketAddr) {
        let key = origin(remote);
        if self.max == 0 {
            return;
        }
        if self.until.insert(key, now + self.time).is_some() {
            self.order.retain(|old| *old != key);
        }
        self.order.push_back(key);
        while self.order.len() > self.max {
            if let Some(oldest) = self.order.pop_front() {
                self.until.remove(&oldest);
            }
        }
    }

    pub(super) fn contains(&self, now: Instant, remote: SocketAddr) -> bool {
        self.until.get(&origin(remote)).is_some_and(|&until| now < until)
    }
}

/// Where a peer comes from, as far as that costs something to change: a public address without its port, of IPv6 the
/// network of 64 bits; a private address with its port.
pub(super) fn origin(remote: SocketAddr) -> (IpAddr, u16) {
    match remote.ip().to_canonical() {
        ip if is_private(ip) => (ip, remote.port()),
        IpAddr::V4(ip) => (ip.into(), 0),
        IpAddr::V6(ip) => (Ipv6Addr::from_bits(ip.to_bits() & !(u128::MAX >> 64)).into(), 0),
    }
}

/// Is this an address of a private network or of this host: "private, unique-local, link-local" as RFC 7574 §8.13 says
/// with RFC 1918, RFC 4193 and RFC 4291, or loopback?
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
    }
}

/// Is this an address that a datagram may be sent to?
pub(super) fn is_unicast(remote: SocketAddr) -> bool {
    let ip = remote.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    remote.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bans_end_and_are_bounded() {
        let at = |s: u64| Instant::from_micros(s * 1_000_000);
        let addr = |s: &str| s.parse::<SocketAddr>().unwrap();
        let mut bans = Bans::new(2, Duration::from_secs(10));
        bans.ban(at(0), addr("192.0.2.1:5"));
        assert!(bans.contains(at(9), addr("192.0.2.1:6")), "a public address is out with all its ports");
        assert!(bans.contains(at(9), addr("[::ffff:192.0.2.1]:6")));
        assert!(!bans.contains(at(10), addr("192.0.2.1:5")));
        bans.ban(at(0), addr("10.0.0.1:5"));
        assert!(bans.contains(at(0), addr("10.0.0.1:5")) && !bans.contains(at(0), addr("10.0.0.1:6")));
        bans.ban(at(0), addr("10.0.0.1:7"));
        bans.ban(at(0), addr("[2001:db8::1]:7"));
        assert!(bans.contains(at(0), addr("[2001:db8::2]:9")) && !bans.contains(at(0), addr("[2001:db8:0:1::1]:7")));
        assert!(!bans.contains(at(0), addr("192.0.2.1:5")), "the oldest is forgiven");
    }
}
