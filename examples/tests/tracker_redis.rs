//! A tracker of several nodes over one Redis: it answers as one of one node does, and outlives a node, and Redis for a while.

mod common;

use std::{
    collections::BTreeSet,
    net::IpAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::{PATIENCE, Place, Ppsp, redis::Redis};
use ppsp_auth::Secret;
use ppsp_core::{Identifier, Instant, Link};
use ppsp_examples::{
    http::{HttpClient, Trust},
    net::Clock,
    tracker::{
        directory::{Asker, Directory},
        doors::CLIENT_HEADER,
        gate::{Assigner, RequestGate},
        redis::RedisDirectory,
    },
};
use ppsp_tracker_proto::{
    Gate, ListPolicy, Principal, TrackerConfig, TrackerStats,
    message::{
        Action, AddrKind, Code, Connect, Find, MEDIA_TYPE, PeerAddr, PeerMode, PeerNum, Request, RequestData, Response,
        Stat, StatReport, SwarmAction,
    },
};
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A node of a tracker.
struct Node {
    directory: Directory,
    assigner: Assigner,
    /// Swarms that nobody may see.
    shut: Mutex<BTreeSet<&'static str>>,
}

/// All that its assigner allows, but for the swarms that are shut.
struct Shut<'a>(RequestGate<'a>, &'a Mutex<BTreeSet<&'static str>>);

impl Gate for Shut<'_> {
    fn may(&self, principal: &Principal, swarm: &str, mode: PeerMode) -> bool {
        self.0.may(principal, swarm, mode) && !self.1.lock().unwrap().contains(swarm)
    }

    fn assign(&self, principal: &Principal, remote: IpAddr) -> Identifier {
        self.0.assign(principal, remote)
    }

    fn assigned(&self, id: Identifier, principal: &Principal, remote: IpAddr) -> bool {
        self.0.assigned(id, principal, remote)
    }
}

fn client(who: u8) -> String {
    principal(who).client.to_string()
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

impl Node {
    fn new(directory: Directory, key: u8) -> Self {
        Self { directory, assigner: Assigner::new(Secret::new([key; 32])), shut: Mutex::default() }
    }

    /// One that has met its Redis, and brought a key of its own there.
    async fn over(url: &str, config: TrackerConfig, key: u8) -> Self {
        let node = Self::new(Directory::Redis(Box::new(RedisDirectory::new(url, config).unwrap())), key);
        node.look().await;
        assert!(node.directory.ready());
        node
    }

    /// What a node does every second.
    async fn look(&self) {
        self.directory.forget(now(), &self.assigner).await;
    }

    /// The identifier of a peer that joins as a LEECH.
    async fn join(&self, who: u8, transaction: &str, swarm: &'static str) -> String {
        let data = connect(who, vec![(swarm, Action::Join, PeerMode::Leech)], false);
        self.ask(who, transaction, &client(who), data).await.1.unwrap()
    }

    async fn find(&self, who: u8, transaction: &str, id: &str, swarm: &'static str) -> Code {
        self.ask(who, transaction, id, find(swarm)).await.0.code
    }

    async fn ask(
        &self,
        who: u8,
        transaction: &str,
        id: &str,
        data: RequestData<'_>,
    ) -> (Said, Option<String>, Vec<u8>) {
        self.send(who, &body(transaction, id, data)).await
    }

    async fn send(&self, who: u8, body: &[u8]) -> (Said, Option<String>, Vec<u8>) {
        let gate = Shut(self.assigner.gate(None), &self.shut);
        let asker = Asker { remote: IpAddr::from([192, 0, 2, who]), principal: principal(who), gate: &gate };
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

fn body(transaction: &str, id: &str, data: RequestData<'_>) -> Vec<u8> {
    let request = Request { transaction_id: transaction.into(), peer_id: id.into(), data, unknown: Default::default() };
    let mut body = Vec::new();
    request.write(&mut body);
    body
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
        let a = Node::over(&redis.url(), TrackerConfig::default(), 1).await;
        let b = Node::over(&redis.url(), TrackerConfig::default(), 2).await;
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
        assert_eq!(a.find(2, "1", &client(2), "}s{").await, Code::BAD_REQUEST);
        // Reports and questions go to any node.
        assert_eq!(a.ask(2, "2", &peer, report("}s{", 0, 5)).await.0.code, Code::OK);
        assert_eq!(b.ask(1, "2", &seed, find("}s{")).await.0.lists[0].1, Some(BTreeSet::from([4002])));
        // Nobody uses another's identifier, at either.
        assert_eq!(a.find(1, "3", &peer, "}s{").await, Code::FORBIDDEN);
        assert_eq!(b.find(3, "1", &peer, "}s{").await, Code::FORBIDDEN);
        a.look().await;
        assert_eq!((a.directory.population().peers, a.directory.population().swarms), (2, 1));
        // A session that ends has ended at all nodes; but only the node that heard of it last may say so.
        b.directory.end_session(2, Clock::new()).await;
        assert_eq!(a.find(2, "3", &peer, "}s{").await, Code::OK);
        a.directory.end_session(2, Clock::new()).await;
        assert_eq!(b.find(2, "3b", &peer, "}s{").await, Code::FORBIDDEN);
        assert_eq!(a.find(2, "4", &peer, "}s{").await, Code::FORBIDDEN);
        assert!(a.ask(1, "4", &seed, find("}s{")).await.0.lists[0].1.as_ref().unwrap().is_empty());
        let (said, ..) = b.ask(1, "5", &seed, connect(1, vec![("}s{", Action::Leave, seeder)], false)).await;
        assert_eq!((said.code, said.registered), (Code::OK, false));
        assert_eq!(a.find(1, "6", &seed, "}s{").await, Code::FORBIDDEN);
    });
}

/// RFC 7846 §4.3: who repeats a request may reach another node, while the first one is still at it.
#[test]
fn a_request_that_comes_twice_at_once_is_done_once() {
    let Some(redis) = Redis::start() else { return };
    runtime().block_on(async {
        let a = Node::over(&redis.url(), TrackerConfig::default(), 1).await;
        let b = Node::over(&redis.url(), TrackerConfig::default(), 2).await;
        for who in 1..20 {
            let join = || connect(who, vec![("s", Action::Join, PeerMode::Leech)], false);
            let client = client(who);
            let (here, there) = tokio::join!(a.ask(who, "1", &client, join()), b.ask(who, "1", &client, join()));
            assert_eq!((here.0.code, &here.2), (Code::OK, &there.2));
            a.look().await;
            assert_eq!(a.directory.population().peers, usize::from(who));
        }
    });
}

#[test]
fn who_is_silent_is_forgotten_and_reports_are_checked() {
    let Some(redis) = Redis::start() else { return };
    runtime().block_on(async {
        let track_timer = Duration::from_millis(300);
        let config = TrackerConfig { track_timer, max_peers_per_session: 1, ..TrackerConfig::default() };
        let node = Node::over(&redis.url(), config, 1).await;
        let first = node.join(1, "1", "s").await;
        // One more of a session that may have one: the older one ends.
        let second = node.join(1, "2", "s").await;
        assert_eq!(node.find(1, "3", &first, "s").await, Code::FORBIDDEN);
        assert_eq!(node.ask(1, "4", &second, report("s", 0, 1 << 40)).await.0.code, Code::OK);
        assert_eq!(node.directory.population().flagged, 1);
        assert_eq!(node.directory.reports()[0].why, "too-fast");
        while node.ask(1, &format!("{:?}", now()), &second, find("t")).await.0.registered {
            // A question about a swarm that it is not in does not keep it alive.
            tokio::task::yield_now().await;
        }
        assert_eq!(node.find(1, "5", &second, "s").await, Code::FORBIDDEN);
    });
}

/// The key by which identifiers are assigned is lost with all else. Nodes that run and one that is new agree again.
#[test]
fn redis_comes_back_empty() {
    let Some(mut redis) = Redis::start() else { return };
    runtime().block_on(async {
        let a = Node::over(&redis.url(), TrackerConfig::default(), 1).await;
        a.join(1, "1", "s").await;
        redis.kill();
        assert_eq!(a.find(1, "2", &client(1), "s").await, Code::UNAVAILABLE);
        assert!(!a.directory.ready());
        a.look().await;
        assert!(!a.directory.ready());
        redis.start_again();
        // The new one comes first, and brings its key.
        let b = Node::over(&redis.url(), TrackerConfig::default(), 2).await;
        let theirs = b.join(2, "1", "s").await;
        // No request is answered by the old key.
        assert_eq!(a.find(2, "2", &theirs, "s").await, Code::UNAVAILABLE);
        a.look().await;
        assert_eq!(a.find(2, "3", &theirs, "s").await, Code::OK);
        let own = a.join(1, "3", "s").await;
        assert_eq!(b.find(1, "4", &own, "s").await, Code::OK);
        // And the other way round: those that run bring the key that they have agreed on.
        redis.kill();
        redis.start_again();
        assert_eq!(a.find(1, "5", &own, "s").await, Code::UNAVAILABLE);
        a.look().await;
        let own = a.join(1, "6", "s").await;
        let c = Node::over(&redis.url(), TrackerConfig::default(), 3).await;
        assert_eq!(c.find(1, "7", &own, "s").await, Code::OK);
    });
}

/// Redis does not answer, and nothing says that the connection is dead: a machine that vanished.
#[test]
fn a_connection_that_died_in_silence_is_replaced() {
    let Some(redis) = Redis::start() else { return };
    runtime().block_on(async {
        let wire = Wire::to(&redis);
        let node = Node::over(&wire.url(), TrackerConfig::default(), 1).await;
        let id = node.join(1, "1", "s").await;
        wire.cut();
        assert_eq!(node.find(1, "2", &id, "s").await, Code::UNAVAILABLE);
        assert!(!node.directory.ready());
        // Nobody waits for what is known to be away.
        assert_eq!(node.find(1, "3", &id, "s").await, Code::UNAVAILABLE);
        node.look().await;
        assert!(node.directory.ready());
        assert_eq!(node.find(1, "4", &id, "s").await, Code::OK);
    });
}

/// Passes on what goes to a Redis and what comes from there.
struct Wire {
    dir: tempfile::TempDir,
    cuts: Arc<AtomicUsize>,
}

impl Wire {
    fn to(redis: &Redis) -> Self {
        let (dir, cuts) = (tempfile::tempdir().unwrap(), Arc::new(AtomicUsize::new(0)));
        let listener = UnixListener::bind(dir.path().join("wire")).unwrap();
        let (target, count) = (redis.socket(), Arc::clone(&cuts));
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                let far = UnixStream::connect(&target).await.unwrap();
                let ((mut in_near, out_near), (in_far, mut out_far)) = (near.into_split(), far.into_split());
                let (count, at) = (Arc::clone(&count), count.load(Ordering::Relaxed));
                tokio::spawn(async move {
                    let (mut from, mut to) = (in_far, out_near);
                    _ = tokio::io::copy(&mut from, &mut to).await;
                });
                tokio::spawn(async move {
                    let mut bytes = [0; 4096];
                    while let Ok(length @ 1..) = in_near.read(&mut bytes).await {
                        if count.load(Ordering::Relaxed) == at {
                            out_far.write_all(&bytes[..length]).await.unwrap();
                        }
                    }
                });
            }
        });
        Self { dir, cuts }
    }

    fn url(&self) -> String {
        format!("redis+unix://{}", self.dir.path().join("wire").display())
    }

    /// Nothing goes over the connections that there are; new ones are not concerned.
    fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::Relaxed);
    }
}

const SWARMS: [&str; 3] = ["a", "b", "c"];

/// Who, what, in which swarms, in which mode, and whether the transaction has the name of the one before.
type Asked = (u8, u8, u8, u8, bool, bool);

fn requests() -> impl Strategy<Value = Vec<Asked>> {
    let named_again = prop::bool::weighted(0.1);
    prop::collection::vec((1..5u8, 0..15u8, 0..3u8, 0..3u8, any::<bool>(), named_again), 1..60)
}

/// A peer as it is known in memory and in Redis.
#[derive(Clone, Default)]
struct Known {
    ids: Option<[String; 2]>,
    bodies: Option<[Vec<u8>; 2]>,
    transaction: String,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever peers ask, whoever is banned and whatever is forbidden meanwhile: the directory in memory and two nodes over
    /// Redis say the same, and count the same.
    #[test]
    fn memory_and_redis_say_the_same(asked in requests(), spare: bool) {
        let Some(redis) = Redis::start() else { return Ok(()) };
        runtime().block_on(async {
            let lists = ListPolicy { spare_seeders_from: if spare { 1 } else { 8 }, ..ListPolicy::default() };
            let config = TrackerConfig { lists, max_swarms_per_peer: 2, max_peers_per_session: 2, ..TrackerConfig::default() };
            let memory = Node::new(Directory::memory(config, &Secret::new([1; 32])), 1);
            let nodes = [Node::over(&redis.url(), config, 2).await, Node::over(&redis.url(), config, 3).await];
            let mut peers = vec![Known::default(); 5];
            for (number, (who, what, first, second, mode, named_again)) in asked.into_iter().enumerate() {
                // Where SEEDERs are spared there is one: of several any may be told.
                let mode = if spare { who == 1 } else { mode };
                let mode = if mode { PeerMode::Seeder } else { PeerMode::Leech };
                let (first, second) = (SWARMS[usize::from(first)], SWARMS[usize::from(second)]);
                let (peer, node) = (&mut peers[usize::from(who)], &nodes[number % 2]);
                let data = match what {
                    0 | 1 => connect(who, vec![(first, Action::Join, mode)], false),
                    2 => connect(who, vec![(first, Action::Join, mode), (second, Action::Join, mode)], true),
                    3 => connect(who, vec![(first, Action::Leave, mode)], false),
                    4 => connect(who, vec![(first, Action::Leave, mode), (second, Action::Join, mode)], true),
                    5 | 6 => find(first),
                    7 | 8 => report(first, 10, 20),
                    9 => report(first, 0, 0),
                    10 => {
                        // A new start, under the client's name.
                        peer.ids = None;
                        continue;
                    }
                    11 => {
                        memory.directory.end_session(who.into(), Clock::new()).await;
                        // Each node ends what it heard of last.
                        for node in &nodes {
                            node.directory.end_session(who.into(), Clock::new()).await;
                        }
                        continue;
                    }
                    12 => {
                        for node in nodes.iter().chain([&memory]) {
                            let mut shut = node.shut.lock().unwrap();
                            if !shut.remove(first) {
                                shut.insert(first);
                            }
                        }
                        continue;
                    }
                    13 => {
                        let (here, ..) = memory.send(who, b"{}").await;
                        assert_eq!(here, node.send(who, b"{}").await.0);
                        continue;
                    }
                    // The last request once more.
                    _ => RequestData::StatReport(StatReport::default()),
                };
                if !named_again {
                    peer.transaction = number.to_string();
                }
                let [id, other_id] = peer.ids.clone().unwrap_or([client(who), client(who)]);
                let bodies = [id, other_id].map(|id| body(&peer.transaction, &id, data.clone()));
                let bodies = peer.bodies.clone().filter(|_| what == 14).unwrap_or(bodies);
                let (here, id_here, _) = memory.send(who, &bodies[0]).await;
                let (there, id_there, _) = node.send(who, &bodies[1]).await;
                assert_eq!(here, there, "request {number}: {data:?}");
                peer.bodies = Some(bodies);
                if let (Some(here), Some(there)) = (id_here, id_there) {
                    peer.ids = Some([here, there]);
                }
            }
            nodes[0].look().await;
            let [a, b] = nodes.each_ref().map(|node| node.directory.population());
            let here = memory.directory.population();
            assert_eq!((here.peers, here.flagged), (a.peers, a.flagged + b.flagged));
            let all = |done: TrackerStats| [done.connects, done.finds, done.stat_reports, done.repeated, done.revoked];
            let sum = |a: [u64; 5], b: [u64; 5]| std::array::from_fn(|at| a[at] + b[at]);
            assert_eq!(all(here.done), sum(all(a.done), all(b.done)));
            assert_eq!(here.done.errors, std::array::from_fn(|at| a.done.errors[at] + b.done.errors[at]));
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

/// Redis may come after the tracker, which says so meanwhile to machines and to peers.
#[test]
fn redis_comes_after_the_tracker() {
    let Some(mut redis) = Redis::start() else { return };
    redis.kill();
    let place = Place::new();
    let (_tracker, url) = start(&place, "a", &redis);
    assert_eq!((status(&url, "/healthz"), status(&url, "/readyz")), (200, 503));
    assert_eq!(join(&url), (503, true));
    redis.start_again();
    let end = std::time::Instant::now() + PATIENCE;
    while status(&url, "/readyz") != 200 {
        assert!(std::time::Instant::now() < end, "the tracker does not find Redis");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(join(&url), (200, false));
}

fn client_of(url: &str) -> HttpClient {
    let (url, pin) = url.split_once('#').unwrap();
    HttpClient::new(url, Trust::Pin(pin.parse().unwrap()), false).unwrap()
}

fn status(url: &str, path: &str) -> u16 {
    let request = http::Request::get(path).body(bytes::Bytes::new()).unwrap();
    runtime().block_on(async { client_of(url).send(request).await.unwrap().status().as_u16() })
}

/// The status of the answer to a CONNECT, and whether it says when to try again.
fn join(url: &str) -> (u16, bool) {
    let data = connect(1, vec![("s", Action::Join, PeerMode::Leech)], false);
    let body = body(&format!("{:?}", now()), &client(1), data);
    let request = http::Request::post("/").header("content-type", MEDIA_TYPE).header(CLIENT_HEADER, client(1));
    let answer = runtime().block_on(client_of(url).send(request.body(body.into()).unwrap())).unwrap();
    (answer.status().as_u16(), answer.headers().contains_key("retry-after"))
}

#[test]
fn what_is_no_redis_is_said() {
    let place = Place::new();
    let args = ["tracker", "--auth", "none", "--data-dir", "t", "--listen", "127.0.0.1:0", "--redis"];
    for url in ["http://example.org/", "redis://192.0.2.1/", "redis://redis.example/"] {
        place.run(args.iter().chain(&[url])).failed(2, &["not the URL of a Redis on this machine"]);
    }
}
