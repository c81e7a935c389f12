//! A registration with its memberships as bytes, for directories outside of this process.
//!
//! Version, fixed fields, addresses, memberships; numbers in network byte order, lengths in front.

use alloc::{string::String, vec::Vec};
use core::net::IpAddr;

use ppsp_core::{Identifier, Instant};

use crate::{
    Addrs, Counters, Principal, Profile, Registration, Transaction,
    message::{AbilityNat, MAX_SWARM_ID, MAX_SWARMS, PeerMode},
};

/// All that a directory keeps of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// What is kept of the peer itself.
    pub registration: Registration,
    /// The swarms it is in; at most [`MAX_SWARMS`].
    pub joined: Vec<Membership>,
}

/// A peer's part in a swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Which swarm.
    pub swarm_id: String,
    /// In which mode.
    pub mode: PeerMode,
    /// What it reported.
    pub counters: Counters,
}

/// Bytes that are no record of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the bytes are no record of a peer")]
pub struct BadRecord;

impl Record {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Registration { id, principal, remote, since, seen, opening, last, profile, addrs } = &self.registration;
        let mut out = Vec::with_capacity(256);
        out.push(VERSION);
        out.extend(id.as_bytes());
        out.extend(principal.client.as_bytes());
        out.extend(principal.session.to_be_bytes());
        match remote {
            IpAddr::V4(ip) => {
                out.push(4);
                out.extend(ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(6);
                out.extend(ip.octets());
            }
        }
        let transactions = [opening.id, opening.content, last.id, last.content];
        for number in [since.as_micros(), seen.as_micros()].into_iter().chain(transactions) {
            out.extend(number.to_be_bytes());
        }
        out.push(
            profile.nat.map_or(0, |nat| nat as u8 + 1) | u8::from(profile.ipv4) << 2 | u8::from(profile.ipv6) << 3,
        );
        for number in [profile.links, profile.bandwidth, profile.asn, profile.priority] {
            out.extend(number.to_be_bytes());
        }
        out.extend((addrs.as_bytes().len() as u16).to_be_bytes());
        out.extend(addrs.as_bytes());
        for membership in &self.joined {
            out.extend((membership.swarm_id.len() as u16).to_be_bytes());
            out.extend(membership.swarm_id.as_bytes());
            out.push(membership.mode as u8);
            out.extend(membership.counters.uploaded.to_be_bytes());
            out.extend(membership.counters.downloaded.to_be_bytes());
            out.extend(membership.counters.doubtful.to_be_bytes());
        }
        out
    }

    /// Reads the bytes back.
    ///
    /// # Errors
    /// [`BadRecord`] for anything that [`Self::encode`] does not give.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadRecord> {
        decode(&mut Bytes(bytes)).ok_or(BadRecord)
    }
}

fn decode(bytes: &mut Bytes<'_>) -> Option<Record> {
    if bytes.take()? != [VERSION] {
        return None;
    }
    let id = Identifier::from_bytes(bytes.take()?);
    let client = Identifier::from_bytes(bytes.take()?);
    let principal = Principal { client, session: u128::from_be_bytes(bytes.take()?) };
    let remote = match bytes.take()? {
        [4] => bytes.take::<4>()?.into(),
        [6] => bytes.take::<16>()?.into(),
        _ => return None,
    };
    let (since, seen) = (Instant::from_micros(bytes.long()?), Instant::from_micros(bytes.long()?));
    let opening = Transaction { id: bytes.long()?, content: bytes.long()? };
    let last = Transaction { id: bytes.long()?, content: bytes.long()? };
    let [flags] = bytes.take()?;
    let nat = match flags & 3 {
        0 => None,
        1 => Some(AbilityNat::NoNat),
        2 => Some(AbilityNat::Stun),
        _ => Some(AbilityNat::Turn),
    };
    let mut number = || bytes.take().map(u32::from_be_bytes);
    let profile = Profile {
        nat,
        ipv4: flags & 4 != 0,
        ipv6: flags & 8 != 0,
        links: number()?,
        bandwidth: number()?,
        asn: number()?,
        priority: number()?,
    };
    if flags > 15 {
        return None;
    }
    let addrs = Addrs::from_bytes(bytes.slice()?)?;
    let mut joined = Vec::new();
    while !bytes.0.is_empty() {
        let swarm_id = core::str::from_utf8(bytes.slice()?).ok().filter(|id| (1..=MAX_SWARM_ID).contains(&id.len()))?;
        let mode = match bytes.take()? {
            [0] => PeerMode::Seeder,
            [1] => PeerMode::Leech,
            _ => return None,
        };
        let (uploaded, downloaded) = (bytes.long()?, bytes.long()?);
        let counters = Counters { uploaded, downloaded, doubtful: u16::from_be_bytes(bytes.take()?) };
        joined.push(Membership { swarm_id: swarm_id.into(), mode, counters });
        if joined.len() > MAX_SWARMS {
            return None;
        }
    }
    let registration = Registration { id, principal, remote, since, seen, opening, last, profile, addrs };
    Some(Record { registration, joined })
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    fn long(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    /// A length of two bytes, and as many bytes.
    fn slice(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(u16::from_be_bytes(self.take()?));
        let (slice, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(slice)
    }
}

const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{AddrKind, PeerAddr};
    use proptest::prelude::*;

    fn record(remote: IpAddr, nat: Option<AbilityNat>, swarms: &[String], numbers: [u64; 6]) -> Record {
        let [since, seen, id, content, uploaded, downloaded] = numbers;
        let addr = |port| PeerAddr {
            ip: remote,
            port,
            priority: 3,
            kind: Some(AddrKind::Host.into()),
            connection: None,
            asn: Some("64496".into()),
            peer_protocol: None,
        };
        let modes = [PeerMode::Seeder, PeerMode::Leech].into_iter().cycle();
        let counters = Counters { uploaded, downloaded, doubtful: id as u16 };
        let joined = swarms.iter().zip(modes).map(|(id, mode)| Membership { swarm_id: id.clone(), mode, counters });
        let profile = Profile { nat, links: 1, bandwidth: u32::MAX, asn: 64496, priority: 3, ipv4: true, ipv6: false };
        Record {
            registration: Registration {
                id: Identifier::from_bytes([1; 12]),
                principal: Principal { client: Identifier::from_bytes([2; 12]), session: u128::from(seen) << 64 },
                remote,
                since: Instant::from_micros(since),
                seen: Instant::from_micros(seen),
                opening: Transaction { id, content },
                last: Transaction { id: content, content: id },
                profile,
                addrs: Addrs::pack(&[addr(1), addr(2)]),
            },
            joined: joined.collect(),
        }
    }

    proptest! {
        #[test]
        fn there_and_back(
            remote: IpAddr,
            nat in 0..4usize,
            swarms in proptest::collection::vec("[0-9a-f]{1,80}", 0..5),
            numbers: [u64; 6],
            cut: prop::sample::Index,
        ) {
            let nats = [None, Some(AbilityNat::NoNat), Some(AbilityNat::Stun), Some(AbilityNat::Turn)];
            let record = record(remote, nats[nat], &swarms, numbers);
            let bytes = record.encode();
            prop_assert_eq!(Record::decode(&bytes), Ok(record.clone()));
            // A part of it is another record at most, never a panic.
            prop_assert_ne!(Record::decode(&bytes[..cut.index(bytes.len())]), Ok(record));
        }

        #[test]
        fn any_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            bytes.insert(0, VERSION);
            if let Ok(record) = Record::decode(&bytes) {
                prop_assert_eq!(record.encode(), bytes);
            }
        }
    }
}
