//! What a tracker keeps of a peer (RFC 7846 §2.2, CONNECT), in a form that fits memory and databases alike.

use alloc::{
    borrow::Cow,
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};
use core::{cmp::Reverse, net::IpAddr, time::Duration};

use ppsp_core::Identifier;

use crate::{
    Inconsistency, Principal, check_step,
    message::{AbilityNat, AddrKind, Connect, Connection, PeerAddr, PeerMode, PeerNum, Stat},
    reachable,
};

/// A registered peer. `S` names a swarm: its identifier, or a number for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration<S> {
    /// Whose it is.
    pub principal: Principal,
    /// Where its requests come from, and must come from.
    pub remote: IpAddr,
    /// Where others may reach it, the best first.
    pub addrs: Box<[Addr]>,
    /// What it said of itself.
    pub ability: Ability,
    /// The swarms it takes part in.
    pub memberships: Vec<Membership<S>>,
}

impl<S> Registration<S> {
    /// Takes down what a CONNECT says of the peer itself. What a later one does not say stays as it was.
    pub fn hear(&mut self, connect: &Connect<'_>, is_first: bool) {
        if is_first || !connect.addrs.is_empty() {
            let mut addrs: Vec<Addr> = reachable(&connect.addrs, self.remote).iter().map(Addr::of).collect();
            // The observed one comes last from there and goes first here among equals: others can reach it, most likely.
            addrs.reverse();
            addrs.sort_by_key(|addr| Reverse(addr.priority));
            self.addrs = addrs.into();
        }
        if let Some(said) = &connect.peer_num {
            self.ability.update(said);
        }
    }

    /// RFC 7846 §4.1.1: the public address of the peer, as the tracker sees it.
    pub fn reflexive(&self) -> Option<PeerAddr<'static>> {
        let seen = |addr: &&Addr| addr.kind == AddrKind::Reflexive && addr.ip == self.remote;
        self.addrs.iter().find(seen).map(Addr::to_message)
    }

    /// Are both the same peer, which has registered twice? One login may run several peers, but not at one address and port.
    pub fn is_same_peer(&self, other: &Self) -> bool {
        let shared = |addr: &Addr| other.addrs.iter().any(|one| (one.ip, one.port) == (addr.ip, addr.port));
        self.principal.session == other.principal.session && self.addrs.iter().any(shared)
    }
}

/// A peer in a swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership<S> {
    /// The swarm.
    pub swarm: S,
    /// How the peer takes part.
    pub mode: PeerMode,
    /// Bytes that it reported as sent.
    pub uploaded: u64,
    /// Bytes that it reported as received.
    pub downloaded: u64,
}

impl<S> Membership<S> {
    /// Has it something to give? SEEDERs have; a LEECH does once it reported that it received something.
    pub const fn has_content(&self) -> bool {
        matches!(self.mode, PeerMode::Seeder) || self.downloaded > 0
    }

    /// Takes a report down. `since` is how long ago the one before was, at most.
    pub fn report(&mut self, stat: &Stat<'_>, since: Duration) -> Progress {
        let had = self.has_content();
        let sent = check_step(self.uploaded, stat.uploaded_bytes, since);
        let received = check_step(self.downloaded, stat.downloaded_bytes, since);
        (self.uploaded, self.downloaded) = (stat.uploaded_bytes, stat.downloaded_bytes);
        let has = self.has_content();
        Progress { sent, received, content: (had != has).then_some(has) }
    }
}

/// What a report says that was not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes sent since the report before.
    pub sent: Result<u64, Inconsistency>,
    /// Bytes received since.
    pub received: Result<u64, Inconsistency>,
    /// Whether the peer has content from now on, where that changed.
    pub content: Option<bool>,
}

/// What a peer says of itself (RFC 7846 §3.2.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ability {
    /// Its way through NATs.
    pub nat: Option<AbilityNat>,
    /// Links to other peers.
    pub links: u32,
    /// Seconds that it is online.
    pub online: u32,
    /// Most that it can send, in Kbit/s.
    pub bandwidth: u32,
}

impl Ability {
    /// From a request; what it does not say stays as it was.
    pub fn update(&mut self, said: &PeerNum<'_>) {
        let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        self.nat = said.ability_nat.as_ref().and_then(|word| word.known()).or(self.nat);
        self.links = said.concurrent_links.map_or(self.links, small);
        self.online = said.online_time.map_or(self.online, small);
        self.bandwidth = said.upload_bandwidth.map_or(self.bandwidth, small);
    }

    /// From a report.
    pub fn report(&mut self, stat: &Stat<'_>) {
        let small = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        self.links = small(stat.concurrent_links);
        self.bandwidth = self.bandwidth.max(small(stat.available_bandwidth));
    }
}

/// An address of a peer, without what can be told in fewer bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addr {
    /// The address.
    pub ip: IpAddr,
    /// The port.
    pub port: u16,
    /// The larger, the better.
    pub priority: u32,
    /// What it is for NAT traversal.
    pub kind: AddrKind,
    /// Its access network.
    pub connection: Option<Connection>,
    /// Its autonomous system; 0 where that is not known.
    pub asn: u32,
    /// Did it name the peer protocol as `PPSP-PP`?
    pub ppspp: bool,
}

/// The name of RFC 7574's protocol in `peer_protocol`, as RFC 7846 §4.1.1.1 writes it.
pub const PEER_PROTOCOL: &str = "PPSP-PP";

impl Addr {
    /// From a request. An address without a type is a HOST's; other peer protocols and ASNs that are no numbers are forgotten.
    pub fn of(addr: &PeerAddr<'_>) -> Self {
        Self {
            ip: addr.ip.to_canonical(),
            port: addr.port,
            priority: addr.priority,
            kind: addr.kind.as_ref().and_then(|word| word.known()).unwrap_or(AddrKind::Host),
            connection: addr.connection.as_ref().and_then(|word| word.known()),
            asn: addr.asn.as_ref().and_then(|asn| asn.parse().ok()).unwrap_or(0),
            ppspp: addr.peer_protocol.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(PEER_PROTOCOL)),
        }
    }

    /// For a response.
    pub fn to_message(&self) -> PeerAddr<'static> {
        PeerAddr {
            ip: self.ip,
            port: self.port,
            priority: self.priority,
            kind: Some(self.kind.into()),
            connection: self.connection.map(Into::into),
            asn: (self.asn != 0).then(|| Cow::Owned(self.asn.to_string())),
            peer_protocol: self.ppspp.then_some(Cow::Borrowed(PEER_PROTOCOL)),
        }
    }
}

impl Registration<String> {
    /// As bytes, for a database.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = alloc::vec![FORMAT];
        out.extend(self.principal.client.as_bytes());
        out.extend(self.principal.session.to_be_bytes());
        write_ip(&mut out, self.remote);
        out.push(self.ability.nat.map_or(0, |nat| nat as u8 + 1));
        for number in [self.ability.links, self.ability.online, self.ability.bandwidth] {
            out.extend(number.to_be_bytes());
        }
        out.push(self.addrs.len() as u8);
        for addr in &self.addrs {
            write_ip(&mut out, addr.ip);
            out.extend(addr.port.to_be_bytes());
            out.extend(addr.priority.to_be_bytes());
            out.push(addr.kind as u8 | addr.connection.map_or(0, |one| one as u8 + 1) << 2 | u8::from(addr.ppspp) << 4);
            out.extend(addr.asn.to_be_bytes());
        }
        out.extend((self.memberships.len() as u16).to_be_bytes());
        for membership in &self.memberships {
            out.push(membership.mode as u8);
            out.extend(membership.uploaded.to_be_bytes());
            out.extend(membership.downloaded.to_be_bytes());
            out.extend((membership.swarm.len() as u16).to_be_bytes());
            out.extend(membership.swarm.as_bytes());
        }
        out
    }

    /// From such bytes; `None` where they are others.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut input = Input(bytes);
        if input.take::<1>()? != [FORMAT] {
            return None;
        }
        let principal =
            Principal { client: Identifier::from_bytes(input.take()?), session: u128::from_be_bytes(input.take()?) };
        let remote = input.ip()?;
        let nat = match input.byte()? {
            0 => None,
            1 => Some(AbilityNat::NoNat),
            2 => Some(AbilityNat::Stun),
            3 => Some(AbilityNat::Turn),
            _ => return None,
        };
        let ability = Ability { nat, links: input.number()?, online: input.number()?, bandwidth: input.number()? };
        let mut addrs = Vec::new();
        for _ in 0..input.byte()? {
            let (ip, port, priority) = (input.ip()?, u16::from_be_bytes(input.take()?), input.number()?);
            let bits = input.byte()?;
            let kind = match bits & 3 {
                0 => AddrKind::Host,
                1 => AddrKind::Reflexive,
                2 => AddrKind::Proxy,
                _ => return None,
            };
            let connection = match bits >> 2 & 3 {
                0 => None,
                1 => Some(Connection::Wireless),
                2 => Some(Connection::Wired),
                _ => return None,
            };
            addrs.push(Addr { ip, port, priority, kind, connection, asn: input.number()?, ppspp: bits >> 4 & 1 == 1 });
        }
        let mut memberships = Vec::new();
        for _ in 0..u16::from_be_bytes(input.take()?) {
            let mode = match input.byte()? {
                0 => PeerMode::Seeder,
                1 => PeerMode::Leech,
                _ => return None,
            };
            let (uploaded, downloaded) = (u64::from_be_bytes(input.take()?), u64::from_be_bytes(input.take()?));
            let length = u16::from_be_bytes(input.take()?).into();
            let swarm = core::str::from_utf8(input.slice(length)?).ok()?.into();
            memberships.push(Membership { swarm, mode, uploaded, downloaded });
        }
        input.0.is_empty().then_some(Self { principal, remote, addrs: addrs.into(), ability, memberships })
    }
}

/// Changes whenever the form of the bytes does: others are not read.
const FORMAT: u8 = 1;

fn write_ip(out: &mut Vec<u8>, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend(ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend(ip.octets());
        }
    }
}

struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn slice(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.slice(N)?.try_into().ok()
    }

    fn byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    fn number(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn ip(&mut self) -> Option<IpAddr> {
        match self.byte()? {
            4 => Some(IpAddr::from(self.take::<4>()?)),
            6 => Some(IpAddr::from(self.take::<16>()?)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addr() -> impl Strategy<Value = Addr> {
        let kinds = prop_oneof![Just(AddrKind::Host), Just(AddrKind::Reflexive), Just(AddrKind::Proxy)];
        let nets = prop_oneof![Just(None), Just(Some(Connection::Wireless)), Just(Some(Connection::Wired))];
        (any::<IpAddr>(), any::<u16>(), any::<u32>(), kinds, nets, any::<u32>(), any::<bool>()).prop_map(
            |(ip, port, priority, kind, connection, asn, ppspp)| Addr {
                ip: ip.to_canonical(),
                port,
                priority,
                kind,
                connection,
                asn,
                ppspp,
            },
        )
    }

    proptest! {
        #[test]
        fn bytes_come_back(
            ids: ([u8; 12], u128), remote: IpAddr, addrs in prop::collection::vec(addr(), 0..9),
            ability: (u8, u32, u32, u32), memberships in prop::collection::vec(("[0-9a-f]{1,80}", any::<bool>(), any::<(u64, u64)>()), 0..5),
        ) {
            let all = [None, Some(AbilityNat::NoNat), Some(AbilityNat::Stun), Some(AbilityNat::Turn)];
            let one = Registration {
                principal: Principal { client: Identifier::from_bytes(ids.0), session: ids.1 },
                remote,
                addrs: addrs.into(),
                ability: Ability { nat: all[usize::from(ability.0 % 4)], links: ability.1, online: ability.2, bandwidth: ability.3 },
                memberships: memberships.into_iter().map(|(swarm, seeder, (uploaded, downloaded))| Membership {
                    swarm, mode: if seeder { PeerMode::Seeder } else { PeerMode::Leech }, uploaded, downloaded,
                }).collect(),
            };
            let bytes = one.to_bytes();
            prop_assert_eq!(Registration::from_bytes(&bytes), Some(one));
            for cut in 0..bytes.len() {
                prop_assert_eq!(Registration::from_bytes(&bytes[..cut]), None);
            }
        }

        #[test]
        fn nonsense_is_no_registration(bytes: Vec<u8>) {
            let _ = Registration::from_bytes(&bytes);
        }

        #[test]
        fn addresses_of_messages_come_back(addr in addr()) {
            prop_assert_eq!(Addr::of(&addr.to_message()), addr);
        }
    }
}
