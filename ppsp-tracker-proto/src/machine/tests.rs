use super::*;
use crate::{
    Gate, Principal,
    message::{AbilityNat, Find, Stat, StatReport, SwarmAction},
};
use Action::{Join, Leave};
use PeerMode::{Leech, Seeder};
use alloc::{collections::BTreeMap, format, string::String, vec};
use core::{cell::Cell, net::IpAddr};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// Gives consecutive identifiers, and knows what it gave.
#[derive(Default)]
struct Doorkeeper {
    given: Cell<u64>,
    barred: Option<&'static str>,
}

impl Gate for Doorkeeper {
    fn may(&self, swarm: &str, _: PeerMode) -> bool {
        self.barred.is_none_or(|barred| !swarm.starts_with(barred))
    }

    fn assign(&self, principal: &Principal, _: IpAddr) -> Identifier {
        self.given.set(self.given.get() + 1);
        id(u8::MAX, self.given.get() << 8 | principal.session as u64)
    }

    fn assigned(&self, id: Identifier, principal: &Principal, _: IpAddr) -> bool {
        let bytes = id.as_bytes();
        bytes[0] == u8::MAX && u128::from(bytes[11]) == principal.session
    }
}

fn id(first: u8, number: u64) -> Identifier {
    let mut bytes = [0; 12];
    bytes[0] = first;
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Identifier::from_bytes(bytes)
}

fn principal(number: u8) -> Principal {
    Principal { client: id(1, number.into()), session: number.into() }
}

fn home(number: u8) -> IpAddr {
    [203, 0, 113, number].into()
}

struct World {
    tracker: Tracker,
    gate: Doorkeeper,
    now: Instant,
    transactions: u64,
}

type Answer = (Code, Response<'static>);

impl World {
    fn new(config: Config) -> Self {
        let tracker = Tracker::new(config, [7; 32]);
        Self { tracker, gate: Doorkeeper::default(), now: Instant::from_micros(1), transactions: 0 }
    }

    fn send(&mut self, body: &[u8], who: Option<Principal>, remote: IpAddr) -> (Code, Vec<u8>) {
        let mut out = vec![];
        let context = Context { remote, principal: who, gate: &self.gate };
        let code = self.tracker.handle(self.now, &context, body, &mut out);
        let response = Response::read(&out).unwrap();
        assert_eq!(response.code, code);
        if code != Code::OK {
            // RFC 7846 §4.3: errors have empty bodies.
            assert_eq!((response.peer_addr, response.results.len(), response.peer_id), (None, 0, None));
        }
        (code, out)
    }

    fn body(&mut self, peer_id: Identifier, data: RequestData<'_>) -> Vec<u8> {
        self.transactions += 1;
        let transaction_id = format!("t{}", self.transactions).into();
        let mut body = vec![];
        let peer_id = peer_id.to_string().into();
        Request { transaction_id, peer_id, data, unknown: Default::default() }.write(&mut body);
        body
    }

    fn ask(&mut self, who: u8, peer_id: Identifier, data: RequestData<'_>) -> Answer {
        let body = self.body(peer_id, data);
        let (code, out) = self.send(&body, Some(principal(who)), home(who));
        (code, Response::read(Vec::leak(out)).unwrap())
    }

    fn connect(&mut self, who: u8, peer_id: Identifier, actions: &[(&str, Action, PeerMode)]) -> Answer {
        self.ask(who, peer_id, RequestData::Connect(connect(actions, who)))
    }

    /// Registers, and gives the assigned identifier.
    fn register(&mut self, who: u8, actions: &[(&str, Action, PeerMode)]) -> Identifier {
        let (code, response) = self.connect(who, principal(who).client, actions);
        assert_eq!(code, Code::OK);
        response.peer_id.unwrap().parse().unwrap()
    }

    fn find(&mut self, who: u8, peer_id: Identifier, swarm: &str) -> Answer {
        self.ask(who, peer_id, RequestData::Find(Find { swarm_id: swarm.into(), peer_num: None }))
    }

    fn report(&mut self, who: u8, peer_id: Identifier, swarm: &str, up: u64, down: u64) -> Code {
        let stat = Stat { swarm_id: swarm.into(), uploaded_bytes: up, downloaded_bytes: down, ..Stat::default() };
        self.ask(who, peer_id, RequestData::StatReport(StatReport { stats: vec![stat] })).0
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
    }
}

fn connect(actions: &[(&str, Action, PeerMode)], who: u8) -> Connect<'static> {
    let action = |&(swarm, action, mode): &(&str, Action, PeerMode)| SwarmAction {
        swarm_id: String::from(swarm).into(),
        action: action.into(),
        peer_mode: mode.into(),
    };
    Connect { peer_num: None, addrs: vec![host(who)], actions: actions.iter().map(action).collect() }
}

fn host(who: u8) -> PeerAddr<'static> {
    PeerAddr {
        ip: [10, 0, 0, who].into(),
        port: 7000 + u16::from(who),
        priority: 1,
        kind: Some(AddrKind::Host.into()),
        connection: None,
        asn: None,
        peer_protocol: None,
    }
}

fn listed(response: &Response<'_>) -> BTreeSet<String> {
    let peers = response.results[0].peers.as_ref().unwrap();
    peers.iter().map(|peer| peer.peer_id.to_string()).collect()
}

/// RFC 7846 §4.1.1, Table 6, row by row, as far as the tracker's state shows it.
#[test]
fn table_6() {
    type Row = (&'static [(&'static str, Action, PeerMode)], Option<PeerMode>, bool, usize);
    // What is asked, as what it was registered before, whether it is valid, how many are registered afterwards.
    let rows: [Row; 9] = [
        (&[("b", Join, Leech)], None, true, 1),
        (&[("a", Leave, Leech)], None, false, 0),
        (&[("a", Leave, Leech)], Some(Leech), true, 0),
        (&[("b", Join, Leech), ("a", Leave, Leech)], None, false, 0),
        (&[("b", Join, Leech), ("a", Leave, Leech)], Some(Leech), true, 1),
        (&[("b", Join, Seeder), ("c", Join, Seeder)], None, true, 1),
        (&[("b", Join, Seeder)], Some(Seeder), false, 0),
        (&[("a", Join, Seeder)], Some(Seeder), false, 0),
        (&[("a", Leave, Seeder)], Some(Seeder), true, 0),
    ];
    for (actions, before, valid, after) in rows {
        let mut world = World::new(Config::default());
        let peer = match before {
            Some(mode) => world.register(1, &[("a", Join, mode)]),
            None => principal(1).client,
        };
        let (code, response) = world.connect(1, peer, actions);
        assert_eq!(code, if valid { Code::OK } else { Code::FORBIDDEN }, "{actions:?}");
        assert_eq!(world.tracker.stats().peers, after, "{actions:?}");
        assert_eq!(world.tracker.poll_timeout().is_some(), after > 0);
        assert_eq!(response.results.len(), if valid { actions.len() } else { 0 });
    }
}

/// RFC 7846 §2.3.2.
#[test]
fn error_conditions() {
    let mut world = World::new(Config::default());
    // A) Nothing but invalid actions.
    assert_eq!(world.connect(1, principal(1).client, &[("a", Leave, Leech)]).0, Code::FORBIDDEN);
    // B) Not registered.
    for peer in [principal(1).client, principal(2).client, id(9, 9)] {
        assert_eq!(world.find(1, peer, "a").0, Code::FORBIDDEN);
        assert_eq!(world.ask(1, peer, RequestData::StatReport(StatReport::default())).0, Code::FORBIDDEN);
    }
    let body = world.body(principal(1).client, RequestData::Connect(connect(&[("a", Join, Leech)], 1)));
    assert_eq!(world.send(&body, None, home(1)).0, Code::AUTHENTICATION_REQUIRED);
    assert_eq!(world.tracker.stats().peers, 0);
    // C) Invalid actions and swarms in TRACKING: the peer stays.
    let peer = world.register(1, &[("a", Join, Leech)]);
    assert_eq!(world.connect(1, peer, &[("b", Leave, Leech)]).0, Code::FORBIDDEN);
    assert_eq!(world.find(1, peer, "b").0, Code::FORBIDDEN);
    assert_eq!(world.report(1, peer, "b", 0, 0), Code::FORBIDDEN);
    assert_eq!(world.find(1, peer, "a").0, Code::OK);
    // D) Silence.
    world.pass(89);
    assert_eq!(world.report(1, peer, "a", 0, 0), Code::OK);
    world.pass(89);
    assert_eq!(world.find(1, peer, "a").0, Code::OK);
    let due = world.tracker.poll_timeout().unwrap();
    assert_eq!(due, world.now + Duration::from_secs(90));
    world.tracker.handle_timeout(Instant::from_micros(due.as_micros() - 1));
    assert_eq!(world.tracker.stats().peers, 1);
    world.tracker.handle_timeout(due);
    assert_eq!((world.tracker.stats().peers, world.tracker.stats().swarms), (0, 0));
    assert_eq!((world.tracker.stats().expired, world.tracker.poll_timeout()), (1, None));
}

/// RFC 7846 §4.1.3: without stats it keeps the registration alive.
#[test]
fn keep_alive() {
    let mut world = World::new(Config::default());
    let peer = world.register(1, &[("a", Join, Leech)]);
    for _ in 0..5 {
        world.pass(60);
        assert_eq!(world.ask(1, peer, RequestData::StatReport(StatReport::default())).0, Code::OK);
    }
    world.pass(90);
    assert_eq!(world.ask(1, peer, RequestData::StatReport(StatReport::default())).0, Code::FORBIDDEN);
}

/// RFC 7846 §4.3: 01 and 02, with the transaction if it could be read.
#[test]
fn unreadable() {
    let mut world = World::new(Config::default());
    for (body, code, transaction) in [
        (&b"{"[..], Code::BAD_REQUEST, ""),
        (&b"{\"PPSPTrackerProtocol\":{\"version\":1,\"transaction_id\":\"7\"}}"[..], Code::BAD_REQUEST, "7"),
        (&b"{\"PPSPTrackerProtocol\":{\"version\":2,\"transaction_id\":\"7\"}}"[..], Code::UNSUPPORTED_VERSION, "7"),
    ] {
        let (found, out) = world.send(body, Some(principal(1)), home(1));
        assert_eq!((found, &*Response::read(&out).unwrap().transaction_id), (code, transaction));
    }
    assert_eq!(world.tracker.stats().answers, [0, 2, 1, 0, 0, 0, 0]);
}

#[test]
fn who_speaks_for_a_peer() {
    let mut world = World::new(Config::default());
    let peer = world.register(1, &[("a", Join, Leech)]);
    let find = RequestData::Find(Find { swarm_id: "a".into(), peer_num: None });
    // Another client, another session of the same client, another address.
    assert_eq!(world.ask(2, peer, find.clone()).0, Code::FORBIDDEN);
    let body = world.body(peer, find.clone());
    let other = Principal { session: 9, ..principal(1) };
    assert_eq!(world.send(&body, Some(other), home(1)).0, Code::FORBIDDEN);
    let body = world.body(peer, find.clone());
    assert_eq!(world.send(&body, Some(principal(1)), home(2)).0, Code::FORBIDDEN);
    // An identifier of its own choice, and no identifier at all.
    assert_eq!(world.connect(1, id(2, 2), &[("a", Join, Leech)]).0, Code::FORBIDDEN);
    let strange = b"{\"PPSPTrackerProtocol\":{\"version\":1,\"request_type\":\"FIND\",\"transaction_id\":\"7\",\
        \"peer_id\":\"656164657221\",\"swarm_id\":\"a\"}}";
    assert_eq!(world.send(strange, Some(principal(1)), home(1)).0, Code::FORBIDDEN);
    // None of that harms the peer.
    assert_eq!(world.ask(1, peer, find).0, Code::OK);
    assert_eq!(world.tracker.stats().peers, 1);
}

/// After a new start of the tracker, or its own silence, a peer registers under the identifier that it was given before.
#[test]
fn registers_again() {
    let mut world = World::new(Config::default());
    let peer = world.register(1, &[("a", Join, Leech)]);
    world.pass(100);
    let (code, response) = world.connect(1, peer, &[("a", Join, Leech)]);
    assert_eq!((code, response.peer_id.unwrap().parse()), (Code::OK, Ok(peer)));
    // That of another session is not its own.
    world.pass(100);
    assert_eq!(world.connect(2, peer, &[("a", Join, Leech)]).0, Code::FORBIDDEN);
}

/// RFC 7846 §4.3.
#[test]
fn repeated_transactions() {
    // Without memory for answers a repetition changes nothing either.
    for max_answers in [16 << 20, 0] {
        let mut world = World::new(Config { max_answers, ..Config::default() });
        world.register(2, &[("a", Join, Leech)]);
        let connect = RequestData::Connect(connect(&[("a", Join, Seeder), ("b", Join, Seeder)], 1));
        let body = world.body(principal(1).client, connect);
        let first = world.send(&body, Some(principal(1)), home(1));
        assert_eq!(first.0, Code::OK);
        assert_eq!(world.send(&body, Some(principal(1)), home(1)), first);
        assert_eq!((world.tracker.stats().peers, world.tracker.stats().repeated), (2, 1));
        // The same name for something else.
        let body = [&body[..], b" "].concat();
        assert_eq!(world.send(&body, Some(principal(1)), home(1)).0, Code::BAD_REQUEST);
        let peer: Identifier = Response::read(&first.1).unwrap().peer_id.unwrap().parse().unwrap();
        // The same name of somebody else is another transaction.
        world.transactions -= 1;
        world.register(3, &[("a", Join, Leech)]);
        let body = world.body(peer, RequestData::Find(Find { swarm_id: "a".into(), peer_num: None }));
        let first = world.send(&body, Some(principal(1)), home(1));
        let again = world.send(&body, Some(principal(1)), home(1));
        assert_eq!((first.0, again.0), (Code::OK, Code::OK));
        assert_eq!(listed(&Response::read(&first.1).unwrap()), listed(&Response::read(&again.1).unwrap()));
        assert!(max_answers == 0 || first == again);
    }
    // The last LEAVE has no registration left to answer from.
    let mut world = World::new(Config::default());
    let peer = world.register(1, &[("a", Join, Leech)]);
    let body = world.body(peer, RequestData::Connect(connect(&[("a", Leave, Leech)], 1)));
    let first = world.send(&body, Some(principal(1)), home(1));
    assert_eq!((first.0, world.tracker.stats().peers), (Code::OK, 0));
    assert_eq!(world.send(&body, Some(principal(1)), home(1)), first);
}

#[test]
fn who_gets_a_list() {
    let mut world = World::new(Config::default());
    let seeder = world.register(1, &[("a", Join, Seeder)]);
    let (_, response) = world.connect(2, principal(2).client, &[("a", Join, Leech)]);
    assert_eq!(listed(&response), BTreeSet::from([seeder.to_string()]));
    let leech = response.peer_id.clone().unwrap().into_owned();
    // Never its own session.
    let mine = world.connect(1, principal(1).client, &[("a", Join, Leech)]).1;
    assert_eq!(listed(&mine), BTreeSet::from([leech.clone()]));
    // A SEEDER only with peer_num; then LEECHes.
    let (_, response) = world.connect(3, principal(3).client, &[("a", Join, Seeder)]);
    assert_eq!(response.results[0].peers, None);
    let with_scope = Connect { peer_num: Some(PeerNum::default()), ..connect(&[("a", Join, Seeder)], 4) };
    let (_, response) = world.ask(4, principal(4).client, RequestData::Connect(with_scope));
    assert_eq!(listed(&response), BTreeSet::from([leech, mine.peer_id.unwrap().into_owned()]));
    // Nobody without addresses.
    let bare = Connect { addrs: vec![], ..connect(&[("b", Join, Seeder)], 5) };
    assert_eq!(world.ask(5, principal(5).client, RequestData::Connect(bare)).0, Code::OK);
    let (_, response) = world.connect(6, principal(6).client, &[("b", Join, Leech)]);
    assert_eq!(listed(&response), BTreeSet::new());
}

#[test]
fn addresses() {
    let mut world = World::new(Config::default());
    let (_, response) = world.connect(1, principal(1).client, &[("a", Join, Seeder)]);
    let reflexive = PeerAddr { ip: home(1), kind: Some(AddrKind::Reflexive.into()), ..host(1) };
    assert_eq!(response.peer_addr, Some(reflexive.clone()));
    let (_, response) = world.connect(2, principal(2).client, &[("a", Join, Leech)]);
    assert_eq!(response.results[0].peers.as_ref().unwrap()[0].addrs, [host(1), reflexive]);
    // RFC 7846 §4.1.1: one that used STUN is not told its address.
    let stun = PeerAddr { ip: [198, 51, 100, 7].into(), kind: Some(AddrKind::Reflexive.into()), ..host(3) };
    let connect = Connect { addrs: vec![host(3), stun], ..connect(&[("a", Join, Leech)], 3) };
    assert_eq!(world.ask(3, principal(3).client, RequestData::Connect(connect)).1.peer_addr, None);
}

#[test]
fn seeders_are_spared_once_enough_have_content() {
    let mut world = World::new(Config::default());
    let seeder = world.register(1, &[("a", Join, Seeder)]).to_string();
    let leeches: Vec<_> = (2..100).map(|who| (who, world.register(who, &[("a", Join, Leech)]))).collect();
    let new = |world: &mut World, who| listed(&world.connect(who, principal(who).client, &[("a", Join, Leech)]).1);
    for who in 100..110 {
        let list = new(&mut world, who);
        assert!(list.contains(&seeder) && list.len() == 20);
    }
    for &(who, peer) in &leeches[..8] {
        assert_eq!(world.report(who, peer, "a", 0, 1), Code::OK);
    }
    for who in 110..120 {
        let list = new(&mut world, who);
        assert!(!list.contains(&seeder) && list.len() == 20);
    }
    // As soon as one of them leaves, the SEEDER helps again.
    let (who, peer) = leeches[0];
    assert_eq!(world.connect(who, peer, &[("a", Leave, Leech)]).0, Code::OK);
    assert!(new(&mut world, 120).contains(&seeder));
}

#[test]
fn counts_below_thirty() {
    let mut world = World::new(Config::default());
    for who in 2..60 {
        world.register(who, &[("a", Join, Leech)]);
    }
    let peer = world.register(1, &[("a", Join, Leech)]);
    for (wanted, given) in [(Some(0), 0), (Some(1), 1), (Some(29), 29), (Some(u64::MAX), 29), (None, 20)] {
        let peer_num = wanted.map(|wanted| PeerNum { peer_count: Some(wanted), ..PeerNum::default() });
        let find = RequestData::Find(Find { swarm_id: "a".into(), peer_num });
        assert_eq!(listed(&world.ask(1, peer, find).1).len(), given);
    }
}

#[test]
fn preferences() {
    let mut world = World::new(Config::default());
    let join = |who: u8, asn: &'static str, nat: AbilityNat| {
        let scope = PeerNum { ability_nat: Some(nat.into()), peer_count: Some(1), ..PeerNum::default() };
        let addrs = vec![PeerAddr { asn: Some(asn.into()), ..host(who) }];
        RequestData::Connect(Connect { peer_num: Some(scope), addrs, ..connect(&[("a", Join, Leech)], who) })
    };
    let mut of = |who: u8, asn, nat| world.ask(who, principal(who).client, join(who, asn, nat)).1;
    let near = of(1, "64496", AbilityNat::Stun).peer_id.unwrap();
    (2..12).for_each(|who| drop(of(who, "64499", AbilityNat::Stun)));
    assert_eq!(listed(&of(20, "64496", AbilityNat::Stun)), BTreeSet::from([near.into_owned()]));
    // One that is not known to find a way through its NAT comes last, however near it is.
    let silent = Connect {
        addrs: vec![PeerAddr { asn: Some("64500".into()), ..host(30) }],
        ..connect(&[("a", Join, Leech)], 30)
    };
    let silent = world.ask(30, principal(30).client, RequestData::Connect(silent)).1.peer_id.unwrap();
    let list = listed(&world.ask(31, principal(31).client, join(31, "64500", AbilityNat::Stun)).1);
    assert!(list.len() == 1 && !list.contains(&*silent));
}

#[test]
fn revoked_principals_are_shown_out() {
    let mut world = World::new(Config::default());
    let peer = world.register(1, &[("a1", Join, Seeder), ("b1", Join, Seeder)]);
    let leech = world.register(2, &[("a1", Join, Leech)]);
    world.gate.barred = Some("a");
    // The membership ends with the next request, whatever it is about.
    assert_eq!(world.find(1, peer, "b1").0, Code::OK);
    let swarms = world.tracker.peer(peer).unwrap().joined;
    assert_eq!(swarms.iter().map(|membership| &*membership.swarm_id).collect::<Vec<_>>(), ["b1"]);
    assert_eq!(world.find(1, peer, "a1").0, Code::FORBIDDEN);
    // The last one takes the registration with it.
    assert_eq!(world.ask(2, leech, RequestData::StatReport(StatReport::default())).0, Code::FORBIDDEN);
    assert_eq!(world.tracker.peer(leech), None);
    // It is not let in either; leaving needs no permission.
    assert_eq!(world.connect(3, principal(3).client, &[("a1", Join, Leech)]).0, Code::FORBIDDEN);
    world.gate.barred = Some("b");
    assert_eq!(world.connect(1, peer, &[("b1", Leave, Seeder)]).0, Code::OK);
    assert_eq!(world.tracker.stats().peers, 0);
}

/// One that may not be there any more does not get an old answer again.
#[test]
fn revoked_principals_get_no_repetition() {
    let mut world = World::new(Config::default());
    let body = world.body(principal(1).client, RequestData::Connect(connect(&[("a", Join, Leech)], 1)));
    assert_eq!(world.send(&body, Some(principal(1)), home(1)).0, Code::OK);
    world.gate.barred = Some("a");
    assert_eq!(world.send(&body, Some(principal(1)), home(1)).0, Code::FORBIDDEN);
    assert_eq!(world.send(&body, Some(principal(1)), home(1)).0, Code::FORBIDDEN);
    assert_eq!(world.tracker.stats().peers, 0);
}

#[test]
fn sessions_and_clients_end() {
    let mut world = World::new(Config::default());
    for swarm in ["a", "b", "c"] {
        world.register(1, &[(swarm, Join, Leech)]);
        world.register(2, &[(swarm, Join, Seeder)]);
    }
    assert_eq!(world.tracker.end_session(1), 3);
    assert_eq!(world.tracker.end_session(1), 0);
    assert_eq!((world.tracker.stats().peers, world.tracker.stats().swarms), (3, 3));
    assert_eq!(world.tracker.end_client(principal(2).client), 3);
    assert_eq!((world.tracker.stats().peers, world.tracker.stats().memberships), (0, 0));
}

#[test]
fn limits() {
    let config = Config {
        max_peers: 3,
        max_swarms: 4,
        max_memberships: 5,
        max_memberships_per_peer: 3,
        max_peers_per_session: 2,
        ..Config::default()
    };
    let mut world = World::new(config);
    let join = |world: &mut World, who: u8, swarms: &[&str]| {
        let actions: Vec<_> = swarms.iter().map(|&swarm| (swarm, Join, Seeder)).collect();
        world.connect(who, principal(who).client, &actions).0
    };
    assert_eq!(join(&mut world, 1, &["a", "b", "c", "d"]), Code::UNAVAILABLE, "memberships of a peer");
    assert_eq!(join(&mut world, 1, &["a", "b", "c"]), Code::OK);
    assert_eq!(join(&mut world, 2, &["d", "e"]), Code::UNAVAILABLE, "swarms");
    assert_eq!(join(&mut world, 2, &["a", "b", "c"]), Code::UNAVAILABLE, "memberships");
    assert_eq!(join(&mut world, 1, &["a"]), Code::OK);
    assert_eq!(join(&mut world, 1, &["b"]), Code::UNAVAILABLE, "peers of a session");
    // Who got 05 may repeat the very same request: it is looked at anew.
    let body = world.body(principal(2).client, RequestData::Connect(connect(&[("a", Join, Leech)], 2)));
    assert_eq!(world.send(&body, Some(principal(2)), home(2)).0, Code::OK);
    let body = world.body(principal(3).client, RequestData::Connect(connect(&[("a", Join, Leech)], 3)));
    assert_eq!(world.send(&body, Some(principal(3)), home(3)).0, Code::UNAVAILABLE, "peers");
    world.tracker.end_session(2);
    assert_eq!(world.send(&body, Some(principal(3)), home(3)).0, Code::OK);
}

#[test]
fn reports() {
    let mut world = World::new(Config::default());
    let peer = world.register(1, &[("a", Join, Leech)]);
    assert_eq!(world.report(1, peer, "a", 10, 100 << 20), Code::OK);
    assert_eq!(world.report(1, peer, "a", 5, 100 << 20), Code::OK);
    let view = world.tracker.swarms().next().unwrap();
    assert_eq!(view.population, Population { seeders: 0, leeches: 1, with_content: 1 });
    assert_eq!(view.totals, Totals { uploaded: 10, downloaded: 100 << 20, doubtful: 1 });
    assert!(view.totals.is_inconsistent());
    assert_eq!(world.tracker.stats().doubtful, 1);
    assert_eq!(world.tracker.peer(peer).unwrap().joined[0].counters.doubtful, 1);
}

/// The simplest tracker there can be: who is registered, and in which swarms, by nothing but Table 6.
#[derive(Default)]
struct Model {
    peers: BTreeMap<Identifier, (u8, u64, BTreeMap<u8, PeerMode>)>,
}

impl Model {
    /// Whether the request is granted.
    fn connect(&mut self, peer: Option<Identifier>, now: u64, actions: &[(u8, Action, PeerMode)]) -> bool {
        let joins: BTreeSet<_> = actions.iter().filter(|action| action.1 == Join).map(|action| action.0).collect();
        let leaves: BTreeSet<_> = actions.iter().filter(|action| action.1 == Leave).map(|action| action.0).collect();
        let twice = joins.len() + leaves.len() != actions.len() || !joins.is_disjoint(&leaves);
        let asked = |mode| actions.iter().filter(|action| action.1 == Join).all(|action| action.2 == mode);
        let Some((_, seen, held)) = peer.and_then(|peer| self.peers.get_mut(&peer)) else {
            let modes = asked(Seeder) || asked(Leech) && joins.len() == 1;
            return !twice && leaves.is_empty() && modes;
        };
        let mode = *held.values().next().unwrap();
        let known =
            leaves.iter().all(|swarm| held.contains_key(swarm)) && joins.iter().all(|swarm| !held.contains_key(swarm));
        let valid = !twice
            && known
            && match mode {
                Seeder => joins.is_empty(),
                Leech => leaves.len() == 1 && joins.len() <= 1 && asked(Leech),
            };
        if valid {
            *seen = now;
            held.retain(|swarm, _| !leaves.contains(swarm));
            held.extend(joins.iter().map(|&swarm| (swarm, mode)));
            if held.is_empty() {
                self.peers.remove(&peer.unwrap());
            }
        }
        valid
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The tracker against the model, and what must hold after each step.
    #[test]
    fn like_the_model(steps in proptest::collection::vec(
        (0..5u8, any::<u8>(), proptest::collection::vec((0..4u8, any::<bool>(), any::<bool>()), 1..4), 0..60u64, 0..4u8), 1..60)
    ) {
        let (mut world, mut model) = (World::new(Config::default()), Model::default());
        let names = ["a", "b", "c", "d"];
        for (who, which, actions, seconds, kind) in steps {
            world.pass(seconds);
            world.tracker.handle_timeout(world.now);
            let now = world.now.as_micros() / 1_000_000;
            model.peers.retain(|_, (_, seen, _)| now - *seen < 90);
            let mine: Vec<_> = model.peers.iter().filter(|(_, peer)| peer.0 == who).map(|(&id, _)| id).collect();
            let peer = mine.get(usize::from(which) % (mine.len() + 1)).copied();
            let swarm = actions[0].0;
            if kind < 2 {
                let mut actions: Vec<_> = actions.iter().map(|&(swarm, join, seeder)| {
                    (swarm, if join { Join } else { Leave }, if seeder { Seeder } else { Leech })
                }).collect();
                if kind == 0 {
                    actions.truncate(1);
                }
                let words: Vec<_> = actions.iter().map(|&(swarm, action, mode)| (names[usize::from(swarm)], action, mode)).collect();
                let (code, response) = world.connect(who, peer.unwrap_or(principal(who).client), &words);
                prop_assert_eq!(code == Code::OK, model.connect(peer, now, &actions), "{:?} {:?}", peer, actions);
                match (peer, code) {
                    (None, Code::OK) => {
                        let joined = actions.iter().map(|action| (action.0, action.2)).collect();
                        model.peers.insert(response.peer_id.unwrap().parse().unwrap(), (who, now, joined));
                    }
                    // Table 6 ends a SEEDER that joins again; what else is refused leaves a peer alone.
                    (Some(peer), Code::FORBIDDEN) if world.tracker.peer(peer).is_none() => {
                        prop_assert!(actions.iter().any(|action| action.1 == Join && action.2 == Seeder || model.peers[&peer].2.values().next() == Some(&Seeder)));
                        model.peers.remove(&peer);
                    }
                    _ => {}
                }
            } else if let Some(peer) = peer {
                let inside = model.peers[&peer].2.contains_key(&swarm);
                let code = if kind == 2 {
                    let (code, response) = world.find(who, peer, names[usize::from(swarm)]);
                    if inside {
                        let mine = model.peers[&peer].2[&swarm];
                        let others: BTreeSet<_> = model.peers.values().zip(model.peers.keys())
                            .filter(|((owner, _, held), _)| {
                                *owner != who && held.get(&swarm).is_some_and(|mode| mine == Leech || *mode == Leech)
                            })
                            .map(|(_, id)| id.to_string()).collect();
                        // So few that all of them are told.
                        prop_assert_eq!(listed(&response), others);
                    }
                    code
                } else {
                    world.report(who, peer, names[usize::from(swarm)], 1, which.into())
                };
                prop_assert_eq!(code == Code::OK, inside);
                if inside {
                    model.peers.get_mut(&peer).unwrap().1 = now;
                }
            }
            let stats = world.tracker.stats();
            prop_assert_eq!(stats.peers, model.peers.len());
            prop_assert_eq!(stats.memberships, model.peers.values().map(|peer| peer.2.len()).sum::<usize>());
            let swarms: BTreeSet<_> = model.peers.values().flat_map(|peer| peer.2.keys()).collect();
            prop_assert_eq!(stats.swarms, swarms.len());
            for (id, (_, _, held)) in &model.peers {
                let record = world.tracker.peer(*id).unwrap();
                prop_assert_eq!(record.joined.len(), held.len());
                prop_assert_eq!(Record::decode(&record.encode()), Ok(record));
            }
            let oldest = model.peers.values().map(|peer| peer.1).min();
            prop_assert_eq!(world.tracker.poll_timeout().map(|due| due.as_micros() / 1_000_000), oldest.map(|seen| seen + 90));
        }
    }
}
