//! The addresses of a peer in few bytes. Which addresses are worth keeping is decided in `addresses.rs`.

use alloc::{borrow::Cow, boxed::Box, vec::Vec};
use core::net::IpAddr;

use crate::{
    MAX_KEPT_ADDRS,
    message::{AddrKind, Connection, PeerAddr},
};

/// Longest `asn` and `peer_protocol` that are kept; longer ones are left out.
pub const MAX_KEPT_TEXT: usize = 16;

/// At most [`MAX_KEPT_ADDRS`] addresses, packed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addrs(Box<[u8]>);

impl Addrs {
    /// Packs addresses. Those of a type that RFC 7846 does not know are left out: nobody could tell what they are for.
    pub fn pack(addrs: &[PeerAddr<'_>]) -> Self {
        let mut out = Vec::with_capacity(addrs.len() * 32);
        let known = |addr: &&PeerAddr<'_>| addr.kind.as_ref().is_none_or(|kind| kind.known().is_some());
        for addr in addrs.iter().filter(known).take(MAX_KEPT_ADDRS) {
            let short = |text: &Option<Cow<'_, str>>| text.as_ref().is_some_and(|text| text.len() <= MAX_KEPT_TEXT);
            let kind = addr.kind.as_ref().and_then(|kind| kind.known()).map_or(0, |kind| kind as u8 + 1);
            let connection = addr.connection.as_ref().and_then(|word| word.known()).map_or(0, |word| word as u8 + 1);
            let flag = |set: bool, bit: u8| if set { bit } else { 0 };
            let texts = flag(short(&addr.asn), ASN) | flag(short(&addr.peer_protocol), PROTOCOL);
            out.push(kind | connection << 2 | flag(addr.ip.is_ipv6(), IPV6) | texts);
            out.extend(addr.port.to_be_bytes());
            out.extend(addr.priority.to_be_bytes());
            match addr.ip {
                IpAddr::V4(ip) => out.extend(ip.octets()),
                IpAddr::V6(ip) => out.extend(ip.octets()),
            }
            for text in [&addr.asn, &addr.peer_protocol].into_iter().filter(|text| short(text)).flatten() {
                out.push(text.len() as u8);
                out.extend(text.as_bytes());
            }
        }
        Self(out.into_boxed_slice())
    }

    /// From packed bytes; none if they are not what [`Self::pack`] gives.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = Unpack(bytes);
        let count = rest.by_ref().count();
        (rest.0.is_empty() && count <= MAX_KEPT_ADDRS).then(|| Self(bytes.into()))
    }

    /// The packed bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The addresses.
    pub fn iter(&self) -> impl Iterator<Item = PeerAddr<'_>> {
        Unpack(&self.0)
    }
}

/// Ends at the first byte that cannot be read.
struct Unpack<'a>(&'a [u8]);

impl<'a> Iterator for Unpack<'a> {
    type Item = PeerAddr<'a>;

    fn next(&mut self) -> Option<PeerAddr<'a>> {
        let mut rest = self.0;
        let flags = take::<1>(&mut rest)?[0];
        let port = u16::from_be_bytes(take(&mut rest)?);
        let priority = u32::from_be_bytes(take(&mut rest)?);
        let ip = if flags & IPV6 == 0 { take::<4>(&mut rest)?.into() } else { take::<16>(&mut rest)?.into() };
        let kind = match flags & 3 {
            0 => None,
            1 => Some(AddrKind::Host.into()),
            2 => Some(AddrKind::Reflexive.into()),
            _ => Some(AddrKind::Proxy.into()),
        };
        let connection = match flags >> 2 & 3 {
            0 => None,
            1 => Some(Connection::Wireless.into()),
            2 => Some(Connection::Wired.into()),
            _ => return None,
        };
        let mut text = |bit: u8| {
            if flags & bit == 0 {
                return Some(None);
            }
            let length = usize::from(take::<1>(&mut rest)?[0]);
            let (text, after) = rest.split_at_checked(length).filter(|_| length <= MAX_KEPT_TEXT)?;
            rest = after;
            core::str::from_utf8(text).ok().map(|text| Some(Cow::Borrowed(text)))
        };
        let (asn, peer_protocol) = (text(ASN)?, text(PROTOCOL)?);
        self.0 = (flags & !KNOWN == 0).then_some(rest)?;
        Some(PeerAddr { ip, port, priority, kind, connection, asn, peer_protocol })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*first)
}

// Bits 0 and 1 are the type, 2 and 3 the connection.
const IPV6: u8 = 1 << 4;
const ASN: u8 = 1 << 5;
const PROTOCOL: u8 = 1 << 6;
const KNOWN: u8 = 0x7F;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Word;
    use alloc::vec;
    use proptest::prelude::*;

    #[test]
    fn all_that_matters_is_kept() {
        let full = PeerAddr {
            ip: "2001:db8::7".parse().unwrap(),
            port: 8080,
            priority: 7,
            kind: Some(AddrKind::Proxy.into()),
            connection: Some(Connection::Wireless.into()),
            asn: Some("64496".into()),
            peer_protocol: Some("PPSP-PP".into()),
        };
        let bare = PeerAddr {
            ip: [192, 0, 2, 1].into(),
            kind: None,
            connection: None,
            asn: None,
            peer_protocol: None,
            ..full.clone()
        };
        let strange = PeerAddr { kind: Some(Word::Other("CARRIER".into())), ..full.clone() };
        let long = PeerAddr { asn: Some("6".repeat(MAX_KEPT_TEXT + 1).into()), ..full.clone() };
        let packed = Addrs::pack(&[full.clone(), strange, bare.clone(), long]);
        let expected = [full.clone(), bare, PeerAddr { asn: None, ..full.clone() }];
        assert!(packed.iter().eq(expected));
        assert_eq!(Addrs::pack(&vec![full; 20]).iter().count(), MAX_KEPT_ADDRS);
    }

    proptest! {
        #[test]
        fn any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(addrs) = Addrs::from_bytes(&bytes) {
                let list: Vec<_> = addrs.iter().collect();
                prop_assert_eq!(Addrs::pack(&list), addrs);
            }
        }
    }
}
