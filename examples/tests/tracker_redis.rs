//! A tracker of several nodes over one Redis: it answers as one of one node does, and outlives a node, and Redis for a while.

mod common;

use std::{collections::BTreeSet, net::IpAddr};

use common::{Place, Ppsp, redis::Redis};
use ppsp_auth::Secret;
use ppsp_core::{Identifier, Instant, Link};
use ppsp_examples::{
    http::{HttpClient, Trust},
    tracker::{
        directory::{Asker, Directory},
        gate::Assigner,
        redis::RedisDirectory,
    },
};
use ppsp_tracker_proto::{
    Principal, TrackerConfig,
    message::{
        Action, AddrKind, Code, Connect, Find, PeerAddr, PeerMode, PeerNum, Request, RequestData, Response, Stat,
        StatReport, SwarmAction,
    },
};
use proptest::prelude::*;

const KEY: [u8; 32] = [9; 32];

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A node, and what peers are called there.
struct Node<'a> {
    directory: &'a Directory,
    assigner: &'a Assigner,
}

fn over(redis: &Redis, config: TrackerConfig) -> Directory {
    Directory::Redis(Box::new(RedisDirectory::new(&redis.url(), config).unwrap()))
}

fn principal(who: u8) -> Principal {
    Principal { client: Identifier::from_bytes([who; 12]), session: who.into() }
}

fn now() -> Instant {
    let unix = std::time::SystemTime::now().duration_since(std::time::SystemTime::UNIX_EPOCH).unwrap();
    Instant::default() + unix
}

/// An answer without what differs by chance: the error code, which swarms have a list, and the ports of who is in them.
#[derive(Debug, PartialEq)]
struct Said {
    code: Code,
    registered: bool,
    reflexive: Option<u16>,
    lists: Vec<(String, Option<BTreeSet<u16>>)>,
}

impl Node<'_> {
    async fn ask(
        &self,
        who: u8,
        transaction: &str,
        id: &str,
        data: RequestData<'_>,
    ) -> (Said, Option<String>, Vec<u8>) {
        let request =
            Request { transaction_id: transaction.into(), peer_id: id.into(), data, unknown: Default::default() };
        let mut body = Vec::new();
        request.write(&mut body);
        self.send(who, &body).await
    }

    async fn send(&self, who: u8, body: &[u8]) -> (Said, Option<String>, Vec<u8>) {
        let asker =
            Asker { remote: IpAddr::from([192, 0, 2, who]), principal: principal(who), gate: self.assigner.gate(None) };
        let mut out = Vec::new();
        let answered = self.directory.handle(now(), asker, body, &mut out).await;
        let response = Response::read(&out).unwrap();
        assert_eq!(response.code, answered.code);
        let ports = |peers: &Vec<ppsp_tracker_proto::message::PeerInfo<'_>>| {
            peers.iter().map(|peer| peer.addrs.first().map_or(0, |addr| addr.port)).collect()
        };
        let lists = response.results.iter().map(|one| (one.swarm_id.to_string(), one.peers.as_ref().map(ports)));
        let said = Said {
            code: answered.code,
            registered: answered.registered,
            reflexive: response.peer_addr.as_ref().map(|addr| addr.port),
            lists: lists.collect(),
        };
        (said, response.peer_id.map(|id| id.into_owned()), out)
    }
}

fn connect(who: u8, actions: Vec<(&'static str, Action, PeerMode)>, wishes: bool) -> RequestData<'static> {
    let addr = PeerAddr {
        ip: [10, 0, 0, 1].into(),
        port: 4000 + u16::from(who),
        priority: 1,
        kind: Some(AddrKind::Host.into()),
        connection: None,
        asn: None,
        peer_protocol: None,
    };
    let actions = actions.into_iter().map(|(swarm, action, mode)| SwarmAction {
        swarm_id: swarm.into(),
        action: action.into(),
        peer_mode: mode.into(),
    });
    let peer_num = wishes.then(|| PeerNum { peer_count: Some(25), ..PeerNum::default() });
    RequestData::Connect(Connect { peer_num, addrs: vec![addr], actions: actions.collect() })
}

fn find(swarm: &'static str) -> RequestData<'static> {
    RequestData::Find(Find { swarm_id: swarm.into(), peer_num: None })
}

fn report(swarm: &'static str, uploaded: u64, downloaded: u64) -> RequestData<'static> {
    let stat =
        Stat { swarm_id: swarm.into(), uploaded_bytes: uploaded, downloaded_bytes: downloaded, ..Stat::default() };
    RequestData::StatReport(StatReport { stats: vec![stat] })
}

#[test]
fn two_nodes_answer_as_one() {
    let Some(redis) = Redis::start() else { return };
    runtime().block_on(async {
        let (a, b) = (over(&redis, TrackerConfig::default()), over(&redis, TrackerConfig::default()));
        let assigners = [Assigner::new(Secret::new(KEY)), Assigner::new(Secret::new(KEY))];
        let (a, b) = (Node { directory: &a, assigner: &assigners[0] }, Node { directory: &b, assigner: &assigners[1] });
        let client = |who| principal(who).client.to_string();
        let (seeder, leech) = (PeerMode::Seeder, PeerMode::Leech);
        // One swarm's name has braces in it.
        let (said, seed, _) = a.ask(1, "1", &client(1), connect(1, vec![("}s{", Action::Join, seeder)], false)).await;
        assert_eq!((said.code, said.registered, said.reflexive), (Code::OK, true, Some(4001)));
        let seed = seed.unwrap();
        let (said, peer, body) = b.ask(2, "1", &client(2), connect(2, vec![("}s{", Action::Join, leech)], false)).await;
        assert_eq!(said.lists, [("}s{".to_owned(), Some(BTreeSet::from([4001])))]);
        let peer = peer.unwrap();
        // The answer is asked for again, at the other node; and the name of the transaction is taken.
        let again = a.ask(2, "1", &client(2), connect(2, vec![("}s{", Action::Join, leech)], false)).await;
        assert_eq!(again.2, body);
        assert_eq!(a.ask(2, "1", &client(2), find("}s{")).await.0.code, Code::BAD_REQUEST);
        // Reports and questions go to any node.
        assert_eq!(a.ask(2, "2", &peer, report("}s{", 0, 5)).await.0.code, Code::OK);
        assert_eq!(b.ask(1, "2", &seed, find("}s{")).await.0.lists[0].1, Some(BTreeSet::from([4002])));
        // Nobody uses another's identifier, at either.
        assert_eq!(a.ask(1, "3", &peer, find("}s{")).await.0.code, Code::FORBIDDEN);
        assert_eq!(b.ask(3, "1", &peer, find("}s{")).await.0.code, Code::FORBIDDEN);
        a.directory.forget(now()).await;
        assert_eq!((a.directory.population().peers, a.directory.population().swarms), (2, 1));
        // A session that ends has ended at all nodes; but only the node that heard of it last may say so.
        b.directory.end_session(2, ppsp_examples::net::Clock::new()).await;
        assert_eq!(a.ask(2, "3", &peer, find("}s{")).await.0.code, Code::OK);
        a.directory.end_session(2, ppsp_examples::net::Clock::new()).await;
        assert_eq!(b.ask(2, "3b", &peer, find("}s{")).await.0.code, Code::FORBIDDEN);
        assert_eq!(a.ask(2, "4", &peer, find("}s{")).await.0.code, Code::FORBIDDEN);
        assert!(a.ask(1, "4", &seed, find("}s{")).await.0.lists[0].1.as_ref().unwrap().is_empty());
        let (said, ..) = b.ask(1, "5", &seed, connect(1, vec![("}s{", Action::Leave, seeder)], false)).await;
        assert_eq!((said.code, said.registered), (Code::OK, false));
        assert_eq!(a.ask(1, "6", &seed, find("}s{")).await.0.code, Code::FORBIDDEN);
    });
}

#[test]
fn who_is_silent_is_forgotten_and_reports_are_checked() {
    let Some(redis) = Redis::start() else { return };
    runtime().block_on(async {
        let config = TrackerConfig {
            track_timer: std::time::Duration::from_millis(300),
            max_peers_per_session: 1,
            ..TrackerConfig::default()
        };
        let directory = over(&redis, config);
        let assigner = Assigner::new(Secret::new(KEY));
        let node = Node { directory: &directory, assigner: &assigner };
        let client = |who| principal(who).client.to_string();
        let join = || vec![("s", Action::Join, PeerMode::Leech)];
        let first = node.ask(1, "1", &client(1), connect(1, join(), false)).await.1.unwrap();
        // One more of a session that may have one: the older one ends.
        let second = node.ask(1, "2", &client(1), connect(1, join(), false)).await.1.unwrap();
        assert_eq!(node.ask(1, "3", &first, find("s")).await.0.code, Code::FORBIDDEN);
        assert_eq!(node.ask(1, "4", &second, report("s", 0, 1 << 40)).await.0.code, Code::OK);
        assert_eq!(directory.population().flagged, 1);
        assert_eq!(directory.reports()[0].why, "too-fast");
        while node.ask(1, &format!("{:?}", now()), &second, find("t")).await.0.registered {
            // A question about a swarm that it is not in does not keep it alive.
            tokio::task::yield_now().await;
        }
        assert_eq!(node.ask(1, "5", &second, find("s")).await.0.code, Code::FORBIDDEN);
    });
}

const SWARMS: [&str; 3] = ["a", "b", "c"];

fn requests() -> impl Strategy<Value = Vec<(u8, u8, u8, u8, bool)>> {
    prop::collection::vec((1..5u8, 0..8u8, 0..3u8, 0..3u8, any::<bool>()), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever peers ask: the directory in memory and two nodes over Redis say the same.
    #[test]
    fn memory_and_redis_say_the_same(asked in requests()) {
        let Some(redis) = Redis::start() else { return Ok(()) };
        runtime().block_on(async {
            let memory = Directory::memory(TrackerConfig::default(), &Secret::new([1; 32]));
            let nodes = [over(&redis, TrackerConfig::default()), over(&redis, TrackerConfig::default())];
            let assigners = [(); 3].map(|()| Assigner::new(Secret::new(KEY)));
            let memory = Node { directory: &memory, assigner: &assigners[0] };
            let [a, b] = [0, 1].map(|at| Node { directory: &nodes[at], assigner: &assigners[at + 1] });
            // How each is called, here and there.
            let mut ids = [(); 5].map(|()| None::<(String, String)>);
            for (number, (who, what, first, second, mode)) in asked.into_iter().enumerate() {
                let mode = if mode { PeerMode::Seeder } else { PeerMode::Leech };
                let (first, second) = (SWARMS[usize::from(first)], SWARMS[usize::from(second)]);
                let data = || match what {
                    0 => connect(who, vec![(first, Action::Join, mode)], false),
                    1 => connect(who, vec![(first, Action::Join, mode), (second, Action::Join, mode)], true),
                    2 => connect(who, vec![(first, Action::Leave, mode)], false),
                    3 => connect(who, vec![(first, Action::Leave, mode), (second, Action::Join, mode)], true),
                    4 | 5 => find(first),
                    6 => report(first, 10, 20),
                    _ => report(first, 0, 0),
                };
                let client = principal(who).client.to_string();
                let own = ids[usize::from(who)].clone().unwrap_or((client.clone(), client));
                let name = number.to_string();
                let node = if number % 2 == 0 { &a } else { &b };
                let (here, id_here, _) = memory.ask(who, &name, &own.0, data()).await;
                let (there, id_there, _) = node.ask(who, &name, &own.1, data()).await;
                assert_eq!(here, there, "request {number}: {:?}", data());
                if let (Some(here), Some(there)) = (id_here, id_there) {
                    ids[usize::from(who)] = Some((here, there));
                }
                if !there.registered {
                    ids[usize::from(who)] = None;
                }
            }
        });
    }
}

fn start(place: &Place, name: &str, redis: &Redis) -> (Ppsp, String) {
    let args = ["tracker", "--auth", "none", "--data-dir", name, "--listen", "127.0.0.1:0", "--redis", &redis.url()];
    let mut tracker = place.start(args);
    let url = tracker.event("tracker")["tracker"].as_str().unwrap().to_owned();
    tracker.event("ready");
    (tracker, url)
}

/// The node that a peer is registered at dies: it goes on at the other, where nobody asks who it is.
#[test]
fn a_node_dies_and_redis_is_away_for_a_while() {
    let Some(mut redis) = Redis::start() else { return };
    let place = Place::new();
    let film = place.content("film.mp4", 60_000);
    let ((a, url_a), (_b, url_b)) = (start(&place, "a", &redis), start(&place, "b", &redis));
    let (mut seed, link) = place.seed("film.mp4", &["--tracker", &url_a, "--tracker", &url_b]);
    seed.event("registered");
    a.kill();
    let mut link: Link = link.parse().unwrap();
    link.peers.clear();
    link.trackers = vec![url_b.clone()];
    let link = link.to_string();
    let get = |to: &str, more: &[&str]| {
        let args = ["get", &link, "-o", to, "--listen", "127.0.0.1:0"];
        place.run(args.iter().chain(more))
    };
    get("copy.mp4", &[]).succeeded();
    assert_eq!(place.read("copy.mp4"), film);

    redis.kill();
    get("none.mp4", &["--timeout", "20s"]).failed(3, &["busy"]);
    assert_eq!(status(&url_b, "/readyz"), 503);
    redis.start_again();
    // Empty: the seed hears that nobody knows it, and registers again.
    seed.event("registered");
    get("again.mp4", &[]).succeeded();
    assert_eq!(status(&url_b, "/readyz"), 200);
}

fn status(url: &str, path: &str) -> u16 {
    runtime().block_on(async {
        let (url, pin) = url.split_once('#').unwrap();
        let client = HttpClient::new(url, Trust::Pin(pin.parse().unwrap()), false).unwrap();
        let request = http::Request::get(path).body(bytes::Bytes::new()).unwrap();
        client.send(request).await.unwrap().status().as_u16()
    })
}

#[test]
fn what_is_no_redis_is_said() {
    let place = Place::new();
    let args = ["tracker", "--auth", "none", "--data-dir", "t", "--listen", "127.0.0.1:0", "--redis"];
    place.run(args.iter().chain(&["http://example.org/"])).failed(2, &["not the URL of a Redis"]);
}
