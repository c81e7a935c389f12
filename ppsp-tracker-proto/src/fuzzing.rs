//! Bodies of the fuzz targets: each takes any bytes, and panics where a promise is broken. No part of the public API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a fuzz target reports")]

use alloc::{borrow::Cow, string::ToString, vec::Vec};
use core::{cell::Cell, net::IpAddr, time::Duration};

use ppsp_core::{Identifier, Instant};

use crate::{
    ClientConfig, ClientEvent, Context, Counters, Gate, ListPolicy, Participation, Principal, Tracker, TrackerClient,
    TrackerConfig,
    message::{
        Action, AddrKind, Code, Connect, Find, PeerAddr, PeerMode, PeerNum, Request, RequestData, Response, Stat,
        StatReport, SwarmAction, Unknown,
    },
};

/// A request that is read is written canonically: reading and writing that again changes nothing.
pub fn tracker_request(data: &[u8]) {
    let Ok(request) = Request::read(data) else { return };
    let (mut once, mut again) = (Vec::new(), Vec::new());
    request.write(&mut once);
    // Escapes of control characters may make it longer than a body may be.
    if let Ok(request) = Request::read(&once) {
        request.write(&mut again);
        assert_eq!(once, again);
    } else {
        assert!(once.len() > data.len());
    }
}

/// The same for responses.
pub fn tracker_response(data: &[u8]) {
    let Ok(response) = Response::read(data) else { return };
    let (mut once, mut again) = (Vec::new(), Vec::new());
    response.write(&mut once);
    if let Ok(response) = Response::read(&once) {
        response.write(&mut again);
        assert_eq!(once, again);
    } else {
        assert!(once.len() > data.len());
    }
}

/// A client, and trackers that answer anything, late or not at all: it asks one thing at a time, never many times at one instant,
/// and whoever wants to leave has left in time.
pub fn tracker_client(data: &[u8]) {
    let mut bytes = data.iter().copied();
    let swarm = "5a".to_string();
    let own = Participation { mode: PeerMode::Leech, swarms: [swarm.clone()].into(), addrs: Vec::new() };
    let tiers = [["https://a/", "https://b/"].map(Into::into).into(), ["https://c/"].map(Into::into).into()].into();
    let (config, mut now) = (ClientConfig::default(), Instant::from_micros(1_000_000));
    let mut client = TrackerClient::new(config, [3; 32], now, identifier(1, 1), own, tiers);
    let (mut leaves, mut gone, mut at_once) = (false, false, 0);
    for _ in 0..128 {
        let Some(kind) = bytes.next() else { break };
        let before = now;
        match kind % 16 {
            0 => client.find(&swarm),
            1 => client.count(&swarm, Counters { uploaded: kind.into(), ..Counters::default() }),
            2 => client.authorized(now),
            3 => {
                client.leave();
                leaves = true;
            }
            4 => now = now + Duration::from_secs(bytes.next().unwrap_or(0).into()),
            // Time goes on to what is due.
            _ => now = now.max(client.poll_timeout().unwrap_or(now)),
        }
        at_once = if now == before { at_once } else { 0 };
        client.handle_timeout(now);
        while let Some(event) = client.poll_event() {
            gone |= event == ClientEvent::Left;
        }
        let Some(outgoing) = client.poll_request(now) else { continue };
        assert_eq!(client.poll_request(now), None, "one at a time");
        at_once += 1;
        assert!(at_once < 32, "many requests at one instant");
        let request = Request::read(&outgoing.body).expect("a request can be read");
        let mut answer = Response::empty(Code(bytes.next().unwrap_or(0) % 8), request.transaction_id.clone());
        let fate = bytes.next().unwrap_or(0);
        answer.peer_id = (fate & 1 == 0).then(|| Cow::Owned(identifier(2, fate.into()).to_string()));
        let mut body = Vec::new();
        answer.write(&mut body);
        let retry_after = (fate & 2 != 0).then(|| Duration::from_secs(u64::from(fate) << 8));
        match fate >> 2 & 7 {
            0 => client.handle_failure(now, outgoing.id),
            1 => {}
            2 => client.handle_response(now, outgoing.id, retry_after, data),
            3 => client.handle_response(now, outgoing.id + 1, retry_after, &body),
            _ => client.handle_response(now, outgoing.id, retry_after, &body),
        }
    }
    if !leaves {
        return;
    }
    // Nobody answers any more, and credentials do not come.
    for _ in 0..64 {
        while let Some(event) = client.poll_event() {
            gone |= event == ClientEvent::Left;
        }
        let Some(then) = client.poll_timeout() else { break };
        now = now.max(then);
        client.handle_timeout(now);
        client.poll_request(now);
    }
    while let Some(event) = client.poll_event() {
        gone |= event == ClientEvent::Left;
    }
    assert!(gone, "it has left");
    assert_eq!((client.poll_timeout(), client.poll_request(now)), (None, None));
}

/// Any requests of a few clients, any time apart, any permissions: each is answered with a message of the right code,
/// nobody is told of itself or of a peer that is gone, and the counters agree with each other.
pub fn tracker_machine(data: &[u8]) {
    let mut bytes = data.iter().copied();
    let lists = ListPolicy { spare_seeders_from: 2, ..ListPolicy::default() };
    let mut tracker = Tracker::new(
        TrackerConfig {
            lists,
            max_peers: 12,
            max_swarms: 3,
            max_swarms_per_peer: 3,
            max_peers_per_session: 3,
            max_answers: 4096,
            ..TrackerConfig::default()
        },
        [7; 32],
    );
    let gate = Doors { given: Cell::new(0), closed: Cell::new(0) };
    let (mut now, mut out, mut known) = (Instant::from_micros(1), Vec::new(), Vec::<(u8, Identifier)>::new());
    for step in 0..64u32 {
        let Some(kind) = bytes.next() else { break };
        let mut next = || bytes.next().unwrap_or(0);
        let who = next() % 5;
        let principal = Principal { client: identifier(1, who.into()), session: who.into() };
        now = now + Duration::from_secs(next().into());
        let choice = next();
        let own = known.iter().filter(|(owner, _)| *owner == who || choice > 250).map(|(_, id)| *id);
        let peer = own.chain([principal.client]).cycle().nth(usize::from(choice % 7)).unwrap_or(principal.client);
        let mut swarm = || Cow::Borrowed(SWARMS[usize::from(next()) % SWARMS.len()]);
        let data = match kind % 8 {
            0..=3 => {
                let mut actions = Vec::new();
                for at in 0..=kind / 8 % 3 {
                    let action = if kind >> 5 >> at & 1 == 0 { Action::Join } else { Action::Leave };
                    let mode = if kind % 2 == 0 { PeerMode::Seeder } else { PeerMode::Leech };
                    actions.push(SwarmAction { swarm_id: swarm(), action: action.into(), peer_mode: mode.into() });
                }
                let ip = [next() & 0xEF, 0, 2, who].into();
                let kind = Some(AddrKind::Host.into());
                let addr =
                    PeerAddr { ip, port: 7, priority: 1, kind, connection: None, asn: None, peer_protocol: None };
                let peer_num = (choice % 2 == 0).then(PeerNum::default);
                RequestData::Connect(Connect { peer_num, addrs: [addr].into(), actions })
            }
            4 => RequestData::Find(Find { swarm_id: swarm(), peer_num: None }),
            5 => {
                let swarm_id = swarm();
                let (uploaded_bytes, downloaded_bytes) = (next().into(), next().into());
                let stat = Stat { swarm_id, uploaded_bytes, downloaded_bytes, ..Stat::default() };
                RequestData::StatReport(StatReport { stats: [stat].into() })
            }
            6 => {
                gate.closed.set(next());
                RequestData::StatReport(StatReport::default())
            }
            _ => {
                tracker.end_session(who.into());
                assert!(!tracker.has_session(who.into()));
                continue;
            }
        };
        // Some transactions have a name that others had before.
        let transaction_id = if choice % 5 == 0 { "again".into() } else { step.to_string() };
        let (transaction_id, peer_id) = (transaction_id.into(), peer.to_string().into());
        let (mut body, asked) = (Vec::new(), Request { transaction_id, peer_id, data, unknown: Unknown::default() });
        asked.write(&mut body);
        let remote = [203, 0, 113, if choice == 249 { 77 } else { who }].into();
        let context = Context { remote, principal: (choice != 248).then_some(principal), gate: &gate };
        tracker.handle_timeout(now);
        let before = tracker.stats().repeated;
        out.clear();
        let code = tracker.handle(now, &context, &body, &mut out);

        let response = Response::read(&out).unwrap();
        assert_eq!((response.code, &response.transaction_id), (code, &asked.transaction_id));
        assert_ne!(code, Code::INTERNAL);
        assert!(code == Code::OK || response.results.is_empty() && response.peer_addr.is_none());
        if let Some(id) = response.peer_id.as_ref().and_then(|id| id.parse().ok()) {
            known.retain(|(_, other)| *other != id);
            known.push((who, id));
        }
        // An answer that is repeated tells how it was then.
        if tracker.stats().repeated == before {
            for listed in response.results.iter().filter_map(|result| result.peers.as_ref()).flatten() {
                let id: Identifier = listed.peer_id.parse().unwrap();
                assert!(tracker.peers().any(|(other, ..)| other == id), "told of one that is gone");
                // One login may run several peers: another one of its own may be told of.
                let own = response.peer_id.as_deref().unwrap_or(&asked.peer_id);
                assert_ne!(listed.peer_id, own, "told of itself");
            }
        }
        let members: usize = tracker.swarms().map(|swarm| swarm.seeders + swarm.leeches).sum();
        assert!(members >= tracker.peer_count(), "a peer without a swarm");
        assert!(tracker.peer_count() <= 12 && tracker.swarm_count() <= 3 && members <= 36);
        assert_eq!(tracker.swarms().count(), tracker.swarm_count());
        assert!(tracker.peer_count() == 0 || tracker.poll_timeout().is_some());
    }
    // When nobody says anything any more, nothing is left.
    while let Some(due) = tracker.poll_timeout() {
        now = now.max(due);
        tracker.handle_timeout(now);
    }
    assert_eq!((tracker.peer_count(), tracker.swarm_count()), (0, 0));
}

/// Gives consecutive identifiers, and lets nobody into the swarms whose bit is set.
struct Doors {
    given: Cell<u64>,
    closed: Cell<u8>,
}

impl Gate for Doors {
    fn may(&self, _: &Principal, swarm: &str, _: PeerMode) -> bool {
        SWARMS.iter().position(|name| *name == swarm).is_some_and(|at| self.closed.get() >> at & 1 == 0)
    }

    fn assign(&self, _: &Principal, _: IpAddr) -> Identifier {
        self.given.set(self.given.get() + 1);
        identifier(2, self.given.get())
    }

    fn assigned(&self, id: Identifier, _: &Principal, _: IpAddr) -> bool {
        id.as_bytes()[0] == 2
    }
}

fn identifier(kind: u8, number: u64) -> Identifier {
    let mut bytes = [0; 12];
    bytes[0] = kind;
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Identifier::from_bytes(bytes)
}

const SWARMS: [&str; 5] = ["a", "b", "c", "d", "e"];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{fs, path::Path};

    /// Runs a body over the seeds of its corpus, whole and with one byte changed.
    fn corpus(target: &str, body: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
        let mut seeds = 0;
        for entry in fs::read_dir(folder).unwrap() {
            let mut seed = fs::read(entry.unwrap().path()).unwrap();
            body(&seed);
            for at in 0..seed.len() {
                for other in [b'"', b'{', b'0', b' ', 0xC3] {
                    let byte = core::mem::replace(&mut seed[at], other);
                    body(&seed);
                    seed[at] = byte;
                }
            }
            seeds += 1;
        }
        assert!(seeds > 0);
    }

    #[test]
    fn seeds() {
        corpus("tracker_request", tracker_request);
        corpus("tracker_response", tracker_response);
        corpus("tracker_machine", tracker_machine);
        corpus("tracker_client", tracker_client);
    }

    proptest! {
        #[test]
        fn any_bytes(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            tracker_request(&data);
            tracker_response(&data);
            tracker_machine(&data);
        }
    }
}
