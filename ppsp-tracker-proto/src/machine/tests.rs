use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::cell::{Cell, RefCell};

use proptest::prelude::*;

use super::*;
use crate::message::{AddrKind, Connect, Find, PeerAddr, Stat, SwarmAction};

/// Allows everything but what is forbidden; gives out identifiers by number.
#[derive(Default)]
struct Door {
    next: Cell<u64>,
    forbidden: RefCell<BTreeSet<String>>,
}

impl Gate for Door {
    fn may(&self, _: &Principal, swarm: &str, _: PeerMode) -> bool {
        !self.forbidden.borrow().contains(swarm)
    }

    fn assign(&self, principal: &Principal, _: IpAddr) -> Identifier {
        self.next.set(self.next.get() + 1);
        let mut bytes = [0xff; 12];
        bytes[..8].copy_from_slice(&(self.next.get() << 16 | u64::from(principal.session as u16)).to_be_bytes());
        Identifier::from_bytes(bytes)
    }

    fn assigned(&self, id: Identifier, principal: &Principal, _: IpAddr) -> bool {
        id.as_bytes()[6..8] == (principal.session as u16).to_be_bytes()
    }
}

struct World {
    tracker: Tracker,
    door: Door,
    now: Instant,
    transaction: u64,
}

fn principal(number: u128) -> Principal {
    let mut bytes = [0; 12];
    bytes[8..].copy_from_slice(&(number as u32).to_be_bytes());
    Principal { client: Identifier::from_bytes(bytes), session: number }
}

fn ip(number: u8) -> IpAddr {
    [192, 0, 2, number].into()
}

fn host(port: u16) -> PeerAddr<'static> {
    let kind = Some(AddrKind::Host.into());
    PeerAddr { ip: [10, 0, 0, 1].into(), port, priority: 1, kind, connection: None, asn: None, peer_protocol: None }
}

fn act(swarm: &str, action: Action, mode: PeerMode) -> SwarmAction<'_> {
    SwarmAction { swarm_id: swarm.into(), action: action.into(), peer_mode: mode.into() }
}

/// What came back.
#[derive(Debug)]
struct Answer {
    code: Code,
    id: String,
    peers: BTreeMap<String, Vec<String>>,
    reflexive: Option<PeerAddr<'static>>,
    body: Vec<u8>,
}

impl World {
    fn new(config: TrackerConfig) -> Self {
        let now = Instant::from_micros(1_000_000);
        Self { tracker: Tracker::new(config, [7; 32]), door: Door::default(), now, transaction: 0 }
    }

    fn send(&mut self, who: Option<u128>, from: IpAddr, body: &[u8]) -> Answer {
        let context = Context { remote: from, principal: who.map(principal), gate: &self.door };
        let mut out = Vec::new();
        let code = self.tracker.handle(self.now, &context, body, &mut out);
        let response = Response::read(&out).unwrap();
        assert_eq!(response.code, code);
        if code != Code::OK {
            // RFC 7846 §4.3: an empty message-body.
            assert!(response.peer_addr.is_none() && response.results.is_empty() && response.peer_id.is_none());
        }
        let list = |result: &SwarmResult<'_>| {
            let peers = result.peers.as_ref()?.iter().map(|peer| peer.peer_id.clone().into_owned()).collect();
            Some((result.swarm_id.clone().into_owned(), peers))
        };
        Answer {
            code,
            id: response.peer_id.clone().unwrap_or_default().into_owned(),
            peers: response.results.iter().filter_map(list).collect(),
            reflexive: response.peer_addr.as_ref().map(|addr| Addr::of(addr).to_message()),
            body: out,
        }
    }

    fn ask(&mut self, who: u128, id: &str, data: RequestData<'_>) -> Answer {
        self.transaction += 1;
        let transaction_id = self.transaction.to_string().into();
        let request = Request { transaction_id, peer_id: id.into(), data, unknown: Default::default() };
        let mut body = Vec::new();
        request.write(&mut body);
        self.send(Some(who), ip(who as u8), &body)
    }

    fn connect(
        &mut self,
        who: u128,
        id: &str,
        actions: &[(&str, Action, PeerMode)],
        scope: Option<PeerNum<'_>>,
    ) -> Answer {
        let actions = actions.iter().map(|(swarm, action, mode)| act(swarm, *action, *mode)).collect();
        self.ask(
            who,
            id,
            RequestData::Connect(Connect { peer_num: scope, addrs: vec![host(4000 + who as u16)], actions }),
        )
    }

    /// Registers and returns the identifier.
    fn join(&mut self, who: u128, swarm: &str, mode: PeerMode) -> String {
        let client = principal(who).client.to_string();
        let answer = self.connect(who, &client, &[(swarm, Action::Join, mode)], None);
        assert_eq!(answer.code, Code::OK);
        assert_ne!(answer.id, client);
        answer.id
    }

    fn find(&mut self, who: u128, id: &str, swarm: &str) -> Answer {
        self.ask(who, id, RequestData::Find(Find { swarm_id: swarm.into(), peer_num: None }))
    }

    fn stat(&mut self, who: u128, id: &str, swarm: &str, uploaded: u64, downloaded: u64) -> Answer {
        let stat =
            Stat { swarm_id: swarm.into(), uploaded_bytes: uploaded, downloaded_bytes: downloaded, ..Stat::default() };
        self.ask(who, id, RequestData::StatReport(StatReport { stats: vec![stat] }))
    }

    fn alive(&mut self, who: u128, id: &str) -> Code {
        self.ask(who, id, RequestData::StatReport(StatReport::default())).code
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now + Duration::from_secs(seconds);
        self.tracker.handle_timeout(self.now);
    }
}

const JOIN: Action = Action::Join;
const LEAVE: Action = Action::Leave;
const SEEDER: PeerMode = PeerMode::Seeder;
const LEECH: PeerMode = PeerMode::Leech;

#[test]
fn who_registers_twice_does_not_find_itself() {
    let mut world = World::new(TrackerConfig::default());
    let (first, again) = (world.join(1, "s", LEECH), world.join(1, "s", LEECH));
    assert_ne!(first, again);
    assert!(world.find(1, &again, "s").peers["s"].is_empty());
    // Another process of the same login, which listens at another port, is another peer.
    let client = principal(1).client.to_string();
    let other = Connect { peer_num: None, addrs: vec![host(5000)], actions: vec![act("s", JOIN, SEEDER)] };
    let other = world.ask(1, &client, RequestData::Connect(other)).id;
    assert_eq!(world.find(1, &again, "s").peers["s"], [other]);
}

#[test]
fn a_session_from_the_first_request_to_the_last() {
    let mut world = World::new(TrackerConfig::default());
    let seed = world.join(1, "s", SEEDER);
    let client = principal(2).client.to_string();
    let answer = world.connect(2, &client, &[("s", JOIN, LEECH)], None);
    assert_eq!(answer.peers["s"], core::slice::from_ref(&seed));
    // RFC 7846 §4.1.1: the public address, with the attribute REFLEXIVE.
    let reflexive = answer.reflexive.unwrap();
    assert_eq!((reflexive.ip, reflexive.port), (ip(2), 4002));
    assert_eq!(reflexive.kind, Some(AddrKind::Reflexive.into()));
    let leech = answer.id;
    assert_eq!(world.alive(2, &leech), Code::OK);
    assert_eq!(world.stat(2, &leech, "s", 0, 1000).code, Code::OK);
    assert_eq!(world.find(2, &leech, "s").peers["s"], core::slice::from_ref(&seed));
    assert_eq!(world.find(1, &seed, "s").peers["s"], core::slice::from_ref(&leech));
    // Another channel, in one request; then the end.
    let answer = world.connect(2, &leech, &[("s", LEAVE, LEECH), ("t", JOIN, LEECH)], None);
    assert_eq!((answer.code, answer.id == leech), (Code::OK, true));
    assert!(answer.peers["t"].is_empty());
    assert!(world.find(1, &seed, "s").peers["s"].is_empty());
    assert_eq!(world.connect(2, &leech, &[("t", LEAVE, LEECH)], None).code, Code::OK);
    assert_eq!(world.alive(2, &leech), Code::FORBIDDEN);
    assert_eq!((world.tracker.peer_count(), world.tracker.swarm_count()), (1, 1));
}

/// RFC 7846 Table 6 with what becomes of the registration.
#[test]
fn table_6() {
    // Swarms that are joined before, the actions, is it valid, is the peer registered after it.
    type Row<'a> = (&'a [(&'a str, PeerMode)], &'a [(&'a str, Action, PeerMode)], bool, bool);
    let rows: &[Row<'_>] = &[
        (&[], &[("a", JOIN, LEECH)], true, true),
        (&[], &[("a", LEAVE, LEECH)], false, false),
        (&[("a", LEECH)], &[("a", LEAVE, LEECH)], true, false),
        (&[], &[("a", JOIN, LEECH), ("b", LEAVE, LEECH)], false, false),
        (&[("a", LEECH)], &[("b", JOIN, LEECH), ("a", LEAVE, LEECH)], true, true),
        (&[], &[("a", JOIN, SEEDER), ("b", JOIN, SEEDER), ("c", JOIN, SEEDER)], true, true),
        (&[("a", SEEDER)], &[("b", JOIN, SEEDER)], false, false),
        (&[("a", SEEDER), ("b", SEEDER)], &[("a", LEAVE, SEEDER), ("b", LEAVE, SEEDER)], true, false),
        // Beyond the table: mixed modes, two swarms for a LEECH, a swarm twice, one that it is not in.
        (&[], &[("a", JOIN, LEECH), ("b", JOIN, SEEDER)], false, false),
        (&[], &[("a", JOIN, LEECH), ("b", JOIN, LEECH)], false, false),
        (&[], &[("a", JOIN, SEEDER), ("a", JOIN, SEEDER)], false, false),
        (&[("a", LEECH)], &[("b", JOIN, LEECH)], false, true),
        (&[("a", LEECH)], &[("b", LEAVE, LEECH)], false, true),
        (&[("a", LEECH)], &[("a", JOIN, LEECH)], false, true),
    ];
    for (at, (before, actions, valid, registered)) in rows.iter().enumerate() {
        let mut world = World::new(TrackerConfig::default());
        let mut id = principal(1).client.to_string();
        if !before.is_empty() {
            let before: Vec<_> = before.iter().map(|(swarm, mode)| (*swarm, JOIN, *mode)).collect();
            id = world.connect(1, &id, &before, None).id;
        }
        let answer = world.connect(1, &id, actions, None);
        assert_eq!(answer.code == Code::OK, *valid, "row {at}: {:?}", answer.code);
        assert!(*valid || answer.code == Code::FORBIDDEN, "row {at}");
        assert_eq!(world.tracker.peer_count(), usize::from(*registered), "row {at}");
    }
}

#[test]
fn error_conditions_and_codes() {
    let mut world = World::new(TrackerConfig::default());
    let client = principal(1).client.to_string();
    // A: only invalid actions. B: not registered.
    assert_eq!(world.connect(1, &client, &[("s", LEAVE, LEECH)], None).code, Code::FORBIDDEN);
    assert_eq!(world.find(1, &client, "s").code, Code::FORBIDDEN);
    assert_eq!(world.stat(1, &client, "s", 0, 0).code, Code::FORBIDDEN);
    assert_eq!(world.tracker.peer_count(), 0);
    // C: a swarm that it is not in; the registration stays.
    let id = world.join(1, "s", LEECH);
    assert_eq!(world.find(1, &id, "t").code, Code::FORBIDDEN);
    assert_eq!(world.stat(1, &id, "t", 0, 0).code, Code::FORBIDDEN);
    assert_eq!(world.alive(1, &id), Code::OK);
    // D: silence.
    world.pass(89);
    assert_eq!(world.tracker.peer_count(), 1);
    assert_eq!(world.alive(1, &id), Code::OK);
    world.pass(89);
    assert_eq!(world.tracker.peer_count(), 1, "what it said started the track timer anew");
    world.pass(1);
    assert_eq!((world.tracker.peer_count(), world.tracker.swarm_count()), (0, 0));
    assert_eq!((world.alive(1, &id), world.tracker.stats().timed_out), (Code::FORBIDDEN, 1));
    assert_eq!(world.tracker.poll_timeout(), None);
    // 01, 02, 06.
    assert_eq!(world.send(Some(1), ip(1), b"{\"PPSPTrackerProtocol\":").code, Code::BAD_REQUEST);
    let foreign = b"{\"PPSPTrackerProtocol\":{\"version\":2,\"transaction_id\":\"77\"}}";
    let answer = world.send(Some(1), ip(1), foreign);
    assert_eq!(answer.code, Code::UNSUPPORTED_VERSION);
    assert_eq!(Response::read(&answer.body).unwrap().transaction_id, "77");
    let mut body = Vec::new();
    let data = RequestData::StatReport(StatReport::default());
    let request = Request { transaction_id: "1".into(), peer_id: client.into(), data, unknown: Default::default() };
    request.write(&mut body);
    assert_eq!(world.send(None, ip(1), &body).code, Code::AUTHENTICATION_REQUIRED);
    assert_eq!(world.tracker.stats().errors, [1, 1, 6, 0, 0, 1]);
}

#[test]
fn nobody_uses_an_identifier_that_is_not_theirs() {
    let mut world = World::new(TrackerConfig::default());
    let id = world.join(1, "s", LEECH);
    // Its own choice, another client's, a peer's.
    let actions = [("s", JOIN, LEECH)];
    for other in [
        "656164657220".to_owned(),
        Identifier::from_bytes([9; 12]).to_string(),
        principal(1).client.to_string(),
        id.clone(),
    ] {
        assert_eq!(world.connect(2, &other, &actions, None).code, Code::FORBIDDEN, "{other}");
        assert_eq!(world.find(2, &other, "s").code, Code::FORBIDDEN);
    }
    // The right one from another address.
    let mut body = Vec::new();
    let data = RequestData::StatReport(StatReport::default());
    Request { transaction_id: "x".into(), peer_id: id.clone().into(), data, unknown: Default::default() }
        .write(&mut body);
    assert_eq!(world.send(Some(1), ip(9), &body).code, Code::FORBIDDEN);
    assert_eq!(world.alive(1, &id), Code::OK);
    // Identifiers never repeat, within a session or among sessions.
    let mut all = BTreeSet::from([id]);
    for round in 0..5 {
        for who in 2..5 {
            assert!(all.insert(world.join(who, &format!("swarm {round}"), LEECH)));
        }
    }
}

#[test]
fn a_repeated_transaction_gets_the_answer_it_had() {
    let mut world = World::new(TrackerConfig::default());
    for who in 10..60 {
        world.join(who, "s", SEEDER);
    }
    let client = principal(1).client.to_string();
    let body = |swarm: &str| {
        let actions = vec![act(swarm, JOIN, LEECH)];
        let data = RequestData::Connect(Connect { peer_num: None, addrs: vec![host(1)], actions });
        let mut body = Vec::new();
        let id = client.as_str();
        Request { transaction_id: "12345".into(), peer_id: id.into(), data, unknown: Default::default() }
            .write(&mut body);
        body
    };
    let first = world.send(Some(1), ip(1), &body("s"));
    assert_eq!((first.code, first.peers["s"].len()), (Code::OK, 20));
    let peers = world.tracker.peer_count();
    // RFC 7846 §4.3: the tracker MUST be prepared to receive a request with a repeated transaction_id.
    assert_eq!(world.send(Some(1), ip(1), &body("s")).body, first.body);
    assert_eq!(world.tracker.peer_count(), peers);
    // Reused if and only if all of the content is identical.
    assert_eq!(world.send(Some(1), ip(1), &body("t")).code, Code::BAD_REQUEST);
    // Somebody else's transactions are other ones.
    assert_eq!(world.send(Some(2), ip(1), &body("t")).code, Code::FORBIDDEN);
    // So are those from elsewhere.
    assert_ne!(world.send(Some(1), ip(9), &body("s")).body, first.body);
    // Who may no longer be in the swarm does not get its peers again.
    world.door.forbidden.borrow_mut().insert("s".into());
    assert_eq!(world.send(Some(1), ip(1), &body("s")).code, Code::FORBIDDEN);
    world.door.forbidden.borrow_mut().clear();
    // After half a minute it is a request like any other.
    world.pass(30);
    let again = world.send(Some(1), ip(1), &body("s"));
    assert!(again.code == Code::OK && again.id != first.id);
}

#[test]
fn lists_hold_others_who_are_there() {
    let mut world = World::new(TrackerConfig::default());
    let seeds: Vec<String> = (1..4).map(|who| world.join(who, "s", SEEDER)).collect();
    // While few have content, every list holds a SEEDER.
    let leeches: Vec<String> = (10..60).map(|who| world.join(who, "s", LEECH)).collect();
    for _ in 0..20 {
        let answer = world.find(10, &leeches[0], "s");
        let list = &answer.peers["s"];
        assert_eq!(list.len(), 20);
        assert!(list.iter().any(|id| seeds.contains(id)));
        assert!(!list.contains(&leeches[0]) && list.iter().collect::<BTreeSet<_>>().len() == 20);
    }
    // A SEEDER gets no list unless it asks for one, and then LEECHes.
    let client = principal(5).client.to_string();
    let answer = world.connect(5, &client, &[("s", JOIN, SEEDER)], None);
    assert!(answer.peers.is_empty());
    let scope = PeerNum { peer_count: Some(50), ..PeerNum::default() };
    let client = principal(6).client.to_string();
    let list = world.connect(6, &client, &[("s", JOIN, SEEDER)], Some(scope)).peers.remove("s").unwrap();
    assert!(list.len() == 29 && list.iter().all(|id| leeches.contains(id)), "{}", list.len());
    // Once enough LEECHes have content, those who join are pointed at them and SEEDERs are spared.
    for (at, id) in leeches.iter().enumerate().take(8) {
        world.stat(10 + at as u128, id, "s", 500, 1000);
    }
    let client = principal(70).client.to_string();
    let answer = world.connect(70, &client, &[("s", JOIN, LEECH)], None);
    assert!(answer.peers["s"].iter().all(|id| leeches.contains(id)));
    // Who asks again found too little: one SEEDER.
    let list = world.find(70, &answer.id, "s").peers.remove("s").unwrap();
    assert_eq!(list.iter().filter(|id| !leeches.contains(id)).count(), 1);
}

/// RFC 7846 §2.3.2 D: silence ends a registration at its time, not when the driver gets around to it.
#[test]
fn a_late_driver_keeps_nobody_alive() {
    let mut world = World::new(TrackerConfig::default());
    let silent = world.join(1, "s", SEEDER);
    world.now = world.now + Duration::from_secs(60);
    let other = world.join(2, "s", LEECH);
    assert!(world.find(2, &other, "s").peers["s"].contains(&silent));
    world.now = world.now + Duration::from_secs(30);
    assert!(world.find(2, &other, "s").peers["s"].is_empty());
    assert_eq!(world.alive(1, &silent), Code::FORBIDDEN);
}

#[test]
fn preferences_are_met() {
    let mut world = World::new(TrackerConfig::default());
    let mut strong = BTreeSet::new();
    for who in 10..40 {
        let client = principal(who).client.to_string();
        let rate = if who % 3 == 0 { 5000 } else { 100 };
        let scope = PeerNum { upload_bandwidth: Some(rate), ..PeerNum::default() };
        let id = world.connect(who, &client, &[("s", JOIN, LEECH)], Some(scope)).id;
        if rate == 5000 {
            strong.insert(id);
        }
    }
    let scope = PeerNum { peer_count: Some(5), upload_bandwidth: Some(600), ..PeerNum::default() };
    let client = principal(1).client.to_string();
    let list = world.connect(1, &client, &[("s", JOIN, LEECH)], Some(scope)).peers.remove("s").unwrap();
    assert!(list.len() == 5 && list.iter().filter(|id| strong.contains(*id)).count() >= 3, "{list:?}");
}

#[test]
fn who_is_no_longer_allowed_is_taken_out() {
    let mut world = World::new(TrackerConfig::default());
    let id = world.join(1, "s", LEECH);
    let actions = [("a", JOIN, SEEDER), ("b", JOIN, SEEDER)];
    let seeder = world.connect(2, &principal(2).client.to_string(), &actions, None).id;
    world.door.forbidden.borrow_mut().extend(["s".to_owned(), "a".to_owned()]);
    assert_eq!(world.connect(3, &principal(3).client.to_string(), &[("s", JOIN, LEECH)], None).code, Code::FORBIDDEN);
    // Its running membership ends at its next word.
    assert_eq!(world.alive(1, &id), Code::FORBIDDEN);
    assert_eq!(world.tracker.peer_count(), 1);
    // One of two: the other goes on.
    assert_eq!(world.alive(2, &seeder), Code::OK);
    assert_eq!(world.find(2, &seeder, "a").code, Code::FORBIDDEN);
    assert_eq!(world.find(2, &seeder, "b").code, Code::OK);
    assert_eq!(world.tracker.stats().revoked, 2);
    // A session that was revoked.
    assert!(world.tracker.has_session(2));
    world.tracker.end_session(2);
    assert!(!world.tracker.has_session(2));
    assert_eq!((world.tracker.peer_count(), world.alive(2, &seeder)), (0, Code::FORBIDDEN));
}

#[test]
fn limits() {
    let config = TrackerConfig {
        max_peers: 12,
        max_swarms: 11,
        max_swarms_per_peer: 2,
        max_peers_per_session: 2,
        max_peers_per_address: 3,
        ..TrackerConfig::default()
    };
    let mut world = World::new(config);
    // More registrations of one session: the one that was silent for longest makes room.
    let first = world.join(1, "s", LEECH);
    let second = world.join(1, "s", LEECH);
    world.pass(1);
    world.alive(1, &first);
    let third = world.join(1, "s", LEECH);
    assert_eq!(world.alive(1, &second), Code::FORBIDDEN);
    assert_eq!((world.alive(1, &first), world.alive(1, &third)), (Code::OK, Code::OK));
    // Swarms of a peer.
    let actions = [("a", JOIN, SEEDER), ("b", JOIN, SEEDER), ("c", JOIN, SEEDER)];
    assert_eq!(world.connect(2, &principal(2).client.to_string(), &actions, None).code, Code::FORBIDDEN);
    assert_eq!(world.tracker.peer_count(), 2);
    // Peers of an address: sessions 3, 259, 515 and 771 share one.
    for (at, who) in [3, 259, 515, 771].into_iter().enumerate() {
        let answer = world.connect(who, &principal(who).client.to_string(), &[("s", JOIN, LEECH)], None);
        assert_eq!(answer.code, if at < 3 { Code::OK } else { Code::UNAVAILABLE });
    }
    // Swarms and peers in all.
    let join = |world: &mut World, who: u128, swarm: String| {
        world.connect(who, &principal(who).client.to_string(), &[(&swarm, JOIN, LEECH)], None).code
    };
    for who in 10..17 {
        assert_eq!(join(&mut world, who, format!("swarm {who}")), Code::OK);
    }
    assert_eq!(world.tracker.peer_count(), 12);
    assert_eq!(join(&mut world, 20, "s".into()), Code::UNAVAILABLE);
    world.tracker.end_session(16);
    for who in 30..34 {
        world.tracker.end_session(who);
        world.tracker.end_session(who - 20);
        assert_eq!(join(&mut world, who, format!("swarm {who}")), Code::OK);
    }
    // Answers that are kept.
    let mut world = World::new(TrackerConfig { max_answers: 1000, ..TrackerConfig::default() });
    for who in 1..100 {
        world.join(who, "s", LEECH);
    }
    assert!(alloc::format!("{:?}", world.tracker.transactions).contains("bytes: "));
}

#[test]
fn reports_that_cannot_be_true_are_flagged() {
    let mut world = World::new(TrackerConfig::default());
    let seed = world.join(1, "s", SEEDER);
    let leech = world.join(2, "s", LEECH);
    world.stat(1, &seed, "s", 1 << 30, 0);
    world.stat(2, &leech, "s", 0, 1 << 30);
    assert_eq!(world.tracker.flag_count(), 0);
    world.stat(2, &leech, "s", 0, 1 << 29);
    world.stat(2, &leech, "s", 0, 1 << 60);
    world.stat(1, &seed, "s", 1 << 30, 0);
    let other = world.join(3, "s", LEECH);
    world.stat(3, &other, "s", 0, 1 << 30);
    let flags: Vec<_> = world.tracker.flags().map(|flag| (flag.peer.to_string(), flag.why)).collect();
    assert_eq!(
        flags,
        [
            (leech.clone(), Inconsistency::RunsBackwards),
            (leech, Inconsistency::TooFast),
            (other, Inconsistency::Unexplained)
        ]
    );
    let swarm = world.tracker.swarms().next().unwrap();
    assert_eq!((swarm.seeders, swarm.leeches, swarm.uploaded, swarm.downloaded), (1, 2, 1 << 30, 2 << 30));
    assert_eq!(world.tracker.peers().map(|(_, up, _)| up).max(), Some(1 << 30));
}

#[derive(Clone, Debug)]
enum Step {
    Join(u8, u8, bool),
    Leave(u8),
    Alive(u8),
    Find(u8),
    Stat(u8, u64),
    End(u8),
    Pass(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..12u8, 0..3u8, any::<bool>()).prop_map(|(who, swarm, seeder)| Step::Join(who, swarm, seeder)),
        1 => (1..12u8).prop_map(Step::Leave),
        2 => (1..12u8).prop_map(Step::Alive),
        3 => (1..12u8).prop_map(Step::Find),
        2 => (1..12u8, 0..3u64).prop_map(|(who, bytes)| Step::Stat(who, bytes)),
        1 => (1..12u8).prop_map(Step::End),
        2 => (0..60u8).prop_map(Step::Pass),
    ]
}

/// A peer of the naive model: identifier, swarm, mode, last heard, downloaded.
type Naive = (String, String, PeerMode, Instant, u64);

proptest! {
    #[test]
    fn the_directory_is_what_a_list_of_peers_would_be(steps in prop::collection::vec(step(), 1..120)) {
        let mut world = World::new(TrackerConfig::default());
        let mut model: BTreeMap<u8, Naive> = BTreeMap::new();
        for step in steps {
            match step {
                Step::Join(who, swarm, seeder) if !model.contains_key(&who) => {
                    let mode = if seeder { SEEDER } else { LEECH };
                    let swarm = format!("swarm {swarm}");
                    let id = world.join(who.into(), &swarm, mode);
                    model.insert(who, (id, swarm, mode, world.now, 0));
                }
                Step::Join(..) => {}
                Step::Leave(who) => if let Some((id, swarm, mode, ..)) = model.remove(&who) {
                    prop_assert_eq!(world.connect(who.into(), &id, &[(&swarm, LEAVE, mode)], None).code, Code::OK);
                },
                Step::Alive(who) => if let Some(peer) = model.get_mut(&who) {
                    peer.3 = world.now;
                    let id = peer.0.clone();
                    prop_assert_eq!(world.alive(who.into(), &id), Code::OK);
                },
                Step::Stat(who, bytes) => if let Some(peer) = model.get_mut(&who) {
                    (peer.3, peer.4) = (world.now, bytes);
                    let (id, swarm) = (peer.0.clone(), peer.1.clone());
                    prop_assert_eq!(world.stat(who.into(), &id, &swarm, 0, bytes).code, Code::OK);
                },
                Step::Find(who) => if let Some(peer) = model.get_mut(&who) {
                    peer.3 = world.now;
                    let (id, swarm, mode, ..) = peer.clone();
                    let answer = world.find(who.into(), &id, &swarm);
                    let found: BTreeSet<_> = answer.peers[&swarm].iter().cloned().collect();
                    // Few peers: a LEECH gets all others, a SEEDER all LEECHes.
                    let expected = model.values().filter(|other| other.0 != id && other.1 == swarm && (mode == LEECH || other.2 == LEECH));
                    let enough = model.values().filter(|one| one.1 == swarm && one.2 == LEECH && one.4 > 0).count() >= 8;
                    if !enough {
                        prop_assert_eq!(found, expected.map(|other| other.0.clone()).collect::<BTreeSet<_>>());
                    }
                },
                Step::End(who) => {
                    model.remove(&who);
                    world.tracker.end_session(who.into());
                }
                Step::Pass(seconds) => {
                    world.pass(seconds.into());
                    let now = world.now;
                    model.retain(|_, peer| peer.3 + Duration::from_secs(90) > now);
                }
            }
            prop_assert_eq!(world.tracker.peer_count(), model.len());
            let swarms: BTreeSet<_> = model.values().map(|peer| &peer.1).collect();
            prop_assert_eq!(world.tracker.swarm_count(), swarms.len());
            for swarm in world.tracker.swarms() {
                let count = |mode| model.values().filter(|peer| peer.1 == swarm.id && peer.2 == mode).count();
                prop_assert_eq!((swarm.seeders, swarm.leeches), (count(SEEDER), count(LEECH)));
            }
            prop_assert!(model.is_empty() || world.tracker.poll_timeout().is_some());
        }
    }
}
