//! Addresses as far as one customer of a network has one.

use core::net::IpAddr;

/// An IPv4 address, or the first 64 bits of an IPv6 address (RFC 6177: a site has at least those). An IPv4 address that
/// is mapped into IPv6 is an IPv4 address.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Prefix {
    V4(u32),
    V6(u64),
}

impl Prefix {
    pub(super) const FIRST: Self = Self::V4(0);
    pub(super) const LAST: Self = Self::V6(u64::MAX);

    pub(super) fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::V4(v4.to_bits()),
            IpAddr::V6(v6) => Self::V6((v6.to_bits() >> 64) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes() {
        let of = |text: &str| Prefix::of(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert!(Prefix::FIRST <= of("0.0.0.0") && of("255.255.255.255") < of("::") && of("ffff::") <= Prefix::LAST);
    }
}
