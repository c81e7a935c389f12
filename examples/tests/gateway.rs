//! Players ask the gateway: content comes over HTTP while it comes from the swarm.

mod common;

use std::{
    io::{Read, Write},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    process::Command,
};

use common::{
    PATIENCE, Place, Ppsp,
    origin::{Habit, WebServer},
    player::{Answer, Player, path_of},
};
use ppsp_core::descriptor::Descriptor;
use ppsp_examples::{
    net::Socket,
    peer::{Above, Origin, Peer, Sources, Swarm, write_hash_file},
    store::{FileStore, Places, SeedOptions},
};
use ppsp_peer_proto::EndpointConfig;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
use serde_json::Value;

const MIB: usize = 1 << 20;

/// A gateway that plays some links.
struct Running {
    process: Ppsp,
    addr: SocketAddr,
    /// The paths of what it plays.
    paths: Vec<String>,
}

impl Running {
    fn start(place: &Place, links: &[&str], more: &[&str]) -> Self {
        Self::keeping("cache", place, links, more)
    }

    /// With a directory of its own for what it fetches.
    fn keeping(cache: &str, place: &Place, links: &[&str], more: &[&str]) -> Self {
        let args = ["gateway", "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--cache", cache];
        let mut process = place.start(args.iter().chain(more).chain(links));
        let addr = process.event("gateway")["addr"].as_str().unwrap().parse().unwrap();
        let paths = links.iter().map(|_| path_of(&process.event("playable"))).collect();
        process.event("ready");
        Self { process, addr, paths }
    }

    fn player(&self) -> Player {
        Player::to(self.addr)
    }

    fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.player().ask("GET", path, headers)
    }

    fn status(&self) -> Value {
        serde_json::from_slice(&self.get("/status", &[]).body).unwrap()
    }

    /// Asks for the status until it is so.
    fn until(&self, what: &str, so: impl Fn(&Value) -> bool) {
        let end = std::time::Instant::now() + PATIENCE;
        let mut player = self.player();
        loop {
            let status = serde_json::from_slice(&player.ask("GET", "/status", &[]).body).unwrap();
            if so(&status) {
                return;
            }
            assert!(std::time::Instant::now() < end, "{what}: {status}");
        }
    }
}

#[test]
fn ten_thousand_ranges_are_those_of_the_file() {
    let place = Place::new();
    let bytes = place.content("movie.mp4", 5 * MIB + 77);
    let (_seed, link) = place.seed("movie.mp4", &[]);
    let gateway = Running::start(&place, &[&link], &[]);
    let path = &gateway.paths[0];
    assert!(path.ends_with("/movie.mp4"), "{path}");
    let mut player = gateway.player();
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    let mut chance = |below: usize| {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        (x >> 16) as usize % below
    };
    for _ in 0..10_000 {
        let first = chance(bytes.len());
        let (range, expected) = match chance(8) {
            0 => {
                let count = chance(5000) + 1;
                (format!("bytes=-{count}"), bytes.len() - count..bytes.len())
            }
            1 if bytes.len() - first < 100_000 => (format!("bytes={first}-"), first..bytes.len()),
            _ => {
                let last = first + chance(10_000);
                (format!("bytes={first}-{last}"), first..(last + 1).min(bytes.len()))
            }
        };
        let answer = player.ask("GET", path, &[("Range", &range)]);
        assert_eq!(answer.status, 206, "{range}");
        let told = format!("bytes {}-{}/{}", expected.start, expected.end - 1, bytes.len());
        assert_eq!(answer.header("content-range"), told);
        assert!(answer.body == bytes[expected], "{range}");
    }
    let all = player.ask("GET", path, &[]);
    assert_eq!((all.status, all.header("content-type"), all.header("accept-ranges")), (200, "video/mp4", "bytes"));
    assert!(all.body == bytes);
}

#[test]
fn what_http_asks_of_a_server_of_ranges() {
    let place = Place::new();
    let bytes = place.content("movie.webm", 100_000);
    let (_seed, link) = place.seed("movie.webm", &[]);
    let gateway = Running::start(&place, &[&link], &[]);
    let path = &gateway.paths[0];
    let mut player = gateway.player();

    let head = player.ask("HEAD", path, &[]);
    assert_eq!(
        (head.status, head.header("content-length"), head.header("content-type")),
        (200, "100000", "video/webm")
    );
    let head = player.ask("HEAD", path, &[("Range", "bytes=10-19")]);
    assert_eq!(
        (head.status, head.header("content-length"), head.header("content-range")),
        (206, "10", "bytes 10-19/100000")
    );
    let tag = head.header("etag").to_owned();

    // RFC 9110 §13.1.5: a range of what it has; of something else, all of this.
    let same = player.ask("GET", path, &[("Range", "bytes=10-19"), ("If-Range", &tag)]);
    assert_eq!((same.status, &same.body[..]), (206, &bytes[10..20]));
    let other = player.ask("GET", path, &[("Range", "bytes=10-19"), ("If-Range", "\"other\"")]);
    assert_eq!((other.status, other.body.len()), (200, bytes.len()));

    let beyond = player.ask("GET", path, &[("Range", "bytes=100000-")]);
    assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */100000"));
    assert!(beyond.text().contains("100000 bytes"));

    let post = player.ask("POST", path, &[("Content-Length", "0")]);
    assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD, OPTIONS"));
    let strange = player.ask("GET", "/00ff/movie.webm", &[]);
    assert_eq!(strange.status, 404);
    let list = player.ask("GET", "/", &[]);
    assert!(list.text().contains(path.as_str()), "{}", list.text());
}

#[test]
fn a_length_that_no_link_tells_is_learned_first() {
    let place = Place::new();
    let bytes = place.content("movie.mp4", 3 * MIB + 5);
    let (_seed, link) = place.seed("movie.mp4", &[]);
    let short = link.replace(&format!("cl={}&", bytes.len()), "");
    assert_ne!(short, link);
    let gateway = Running::start(&place, &[&short], &[]);
    let answer = gateway.get(&gateway.paths[0], &[("Range", "bytes=-7")]);
    let told = format!("bytes {}-{}/{}", bytes.len() - 7, bytes.len() - 1, bytes.len());
    assert_eq!(answer.header("content-range"), told);
    assert!(answer.body == bytes[bytes.len() - 7..]);
}

#[test]
fn who_breaks_off_the_first_request_spoils_nothing_for_the_next() {
    let place = Place::new();
    let seeds = ["1.mp4", "2.mp4", "3.mp4", "4.mp4", "5.mp4", "6.mp4"].map(|name| {
        place.content(name, 10_000);
        place.seed(name, &[])
    });
    let links = seeds.each_ref().map(|(_, link)| &**link);
    let gateway = Running::start(&place, &links, &[]);
    for path in &gateway.paths {
        gateway.player().send("GET", path, &[]);
        let whole = gateway.get(path, &[]);
        assert_eq!((whole.status, whole.body.len()), (200, 10_000), "{}", String::from_utf8_lossy(&whole.body));
    }
}

#[test]
fn a_seek_does_not_wait_for_what_was_played_before() {
    let place = Place::new();
    let bytes = place.content("movie.mp4", 12 * MIB);
    // All of it would take most of a minute.
    let (_seed, link) = place.seed("movie.mp4", &["--upload-limit", "256KiB/s"]);
    let gateway = Running::start(&place, &[&link], &[]);
    let path = &gateway.paths[0];
    let mut first = gateway.player();
    first.send("GET", path, &[]);
    assert_eq!(first.head().status, 200);
    // The index of many films is at their end: a player goes there, and back.
    let tail = gateway.get(path, &[("Range", "bytes=-10000")]);
    assert!(tail.body == bytes[bytes.len() - 10_000..]);
    gateway.until("both are gone but one", |status| status["swarms"][0]["reading"].as_array().unwrap().len() == 1);
    drop(first);
    gateway.until("nobody reads", |status| status["swarms"][0]["reading"] == serde_json::json!([]));
    let middle = gateway.get(path, &[("Range", "bytes=6000000-6009999")]);
    assert!(middle.body == bytes[6_000_000..6_010_000]);
    let held = gateway.status()["swarms"][0]["held_bytes"].as_u64().unwrap();
    assert!(held < bytes.len() as u64, "that was no seek");
}

#[test]
fn what_does_not_come_is_said_so() {
    let place = Place::new();
    place.content("movie.mp4", 8 * MIB);
    let (seed, link) = place.seed("movie.mp4", &["--upload-limit", "1MiB/s"]);
    let gateway = Running::start(&place, &[&link], &["--timeout", "1s"]);
    let path = gateway.paths[0].clone();
    let mut player = gateway.player();
    player.send("GET", &path, &[]);
    assert_eq!(player.head().status, 200);
    seed.kill();
    // What was promised and does not come ends the connection.
    let mut rest = Vec::new();
    let read = player.0.read_to_end(&mut rest);
    assert!(read.is_err() || rest.len() < 8 * MIB);
    // Where nothing is promised yet there is a sentence.
    let answer = gateway.get(&path, &[("Range", "bytes=-1000")]);
    assert_eq!(answer.status, 502);
    assert!(answer.text().contains("no peer gave what comes next within 1 s"), "{}", answer.text());
    // What came is still there.
    assert_eq!(gateway.get(&path, &[("Range", "bytes=0-999")]).status, 206);
}

#[test]
fn what_was_fetched_is_kept_and_played_without_peers() {
    let place = Place::new();
    let bytes = place.content("movie.mp4", 2 * MIB);
    let (seed, link) = place.seed("movie.mp4", &[]);
    let mut gateway = Running::start(&place, &[&link], &[]);
    assert!(gateway.get(&gateway.paths[0], &[]).body == bytes);
    gateway.process.signal(Signal::INT);
    assert_eq!(gateway.process.end().0, Some(130));
    seed.kill();
    let gateway = Running::start(&place, &[&link], &[]);
    assert!(gateway.get(&gateway.paths[0], &[]).body == bytes);
}

#[test]
fn viewers_carry_each_other() {
    let place = Place::new();
    let bytes = place.content("movie.mp4", 4 * MIB);
    let (_seed, link) = place.seed("movie.mp4", &["--upload-limit", "2MiB/s"]);
    let gateways: Vec<Running> =
        ["one", "two", "three"].map(|cache| Running::keeping(cache, &place, &[&link], &[])).into();
    let tasks: Vec<_> = gateways
        .iter()
        .map(|gateway| {
            let (addr, path) = (gateway.addr, gateway.paths[0].clone());
            std::thread::spawn(move || Player::to(addr).ask("GET", &path, &[]).body)
        })
        .collect();
    let played: Vec<_> = tasks.into_iter().map(|task| task.join().unwrap()).collect();
    assert!(played.iter().all(|played| *played == bytes));
    let from_peers: u64 = gateways.iter().map(|one| one.status()["swarms"][0]["from_peers"].as_u64().unwrap()).sum();
    assert!(from_peers > 0, "the seed gave all of it");
    let metrics = gateways[0].get("/metrics", &[]);
    for line in [
        "ppsp_gateway_bytes_total 4194304",
        "ppsp_ttff_seconds_count 1",
        "ppsp_offload_ratio ",
        "ppsp_stalls_total ",
        "ppsp_continuity_ratio ",
        "ppsp_connections ",
        "ppsp_chunks_total{result=\"good\"} ",
        "ppsp_content_bytes_total{direction=\"out\"}",
        "ppsp_received_bytes_total{source=\"peer\"}",
    ] {
        assert!(metrics.text().contains(line), "{line}: {}", metrics.text());
    }
}

#[test]
fn who_does_not_read_is_in_nobodys_way() {
    let place = Place::new();
    let bytes = place.content("movie.mp4", 24 * MIB);
    let (_seed, link) = place.seed("movie.mp4", &[]);
    let gateway = Running::start(&place, &[&link], &[]);
    let path = &gateway.paths[0];
    // They ask for all of it, and read nothing but the head; later one byte.
    let mut lazy: Vec<Player> = (0..200)
        .map(|_| {
            let mut player = gateway.player();
            player.send("GET", path, &[]);
            assert_eq!(player.head().status, 200);
            player
        })
        .collect();
    assert!(gateway.get(path, &[]).body == bytes);
    let held = gateway.process.most_memory();
    for player in &mut lazy {
        player.0.get_mut().read_exact(&mut [0]).unwrap();
    }
    assert!(gateway.get(path, &[]).body == bytes);
    let grown = gateway.process.most_memory() - held;
    assert!(grown < 16 << 20, "{} KiB more for {} bytes", grown >> 10, lazy.len());
    assert!(gateway.status()["swarms"][0]["reading"].as_array().unwrap().len() >= lazy.len());
    drop(lazy);
    gateway.until("nobody reads", |status| status["swarms"][0]["reading"] == serde_json::json!([]));
}

#[test]
fn a_thousand_connections_leave_room_for_a_viewer() {
    // As many as programs may have that ask for no more; this one asks, for itself alone.
    let limit = getrlimit(Resource::Nofile);
    let few = Rlimit { current: Some(1024.min(limit.current.unwrap_or(1024))), maximum: limit.maximum };
    setrlimit(Resource::Nofile, few).unwrap();
    let place = Place::new();
    let bytes = place.content("movie.mp4", 12 * MIB);
    let (_seed, link) = place.seed("movie.mp4", &[]);
    let gateway = Running::start(&place, &[&link], &[]);
    let more = Rlimit { current: limit.maximum.map(|most| most.min(4096)).or(Some(4096)), maximum: limit.maximum };
    setrlimit(Resource::Nofile, more).unwrap();
    // Some begin a request and go no further, some ask for a byte behind the end, some read nothing of what they asked for.
    let path = &gateway.paths[0];
    let idle: Vec<Player> = (0..1000)
        .map(|n| {
            let mut player = gateway.player();
            match n % 10 {
                0 => player.0.get_mut().write_all(b"GET / HTT").unwrap(),
                1 => player.send("GET", path, &[("Range", "bytes=99999999-")]),
                _ => player.send("GET", path, &[]),
            }
            player
        })
        .collect();
    assert!(gateway.get(path, &[]).body == bytes);
    // What they leave where it is, is not in its memory, but for a little of it.
    let most = gateway.process.most_memory();
    assert!(most < 160 << 20, "it took {} MiB", most >> 20);
    drop(idle);
    gateway.until("nobody reads", |status| status["swarms"][0]["reading"] == serde_json::json!([]));
}

#[test]
fn pages_of_others_and_names_of_others_are_refused() {
    let place = Place::new();
    place.content("movie.mp4", 1000);
    let (_seed, link) = place.seed("movie.mp4", &[]);
    let gateway = Running::start(&place, &[&link], &[]);
    let path = &gateway.paths[0];
    let rebound = gateway.get(path, &[("Host", "evil.example")]);
    assert_eq!(rebound.status, 421);
    for headers in
        [&[("Origin", "https://evil.example")][..], &[("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")]]
    {
        let refused = gateway.get(path, headers);
        assert_eq!(refused.status, 403, "{headers:?}");
        assert!(!refused.has("access-control-allow-origin"));
    }
    let origin = "http://localhost:4711";
    let asked = gateway.player().ask("OPTIONS", path, &[("Origin", origin), ("Access-Control-Request-Method", "GET")]);
    assert_eq!((asked.status, asked.header("access-control-allow-origin")), (204, origin));
    let allowed = gateway.get(path, &[("Origin", origin), ("Range", "bytes=0-9")]);
    assert_eq!((allowed.status, allowed.header("access-control-allow-origin")), (206, origin));
    assert!(allowed.header("access-control-expose-headers").contains("Content-Range"));
}

#[test]
fn beyond_loopback_there_is_tls_and_a_token() {
    let place = Place::new();
    let bytes = place.content("movie.mp4", 100_000);
    let (_seed, link) = place.seed("movie.mp4", &[]);
    let mut gateway =
        place.start(["gateway", &link, "--listen", "0.0.0.0:0", "--udp", "127.0.0.1:0", "--cache", "cache"]);
    let token = gateway.event("token")["token"].as_str().unwrap().to_owned();
    let port = gateway.event("gateway")["addr"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let url = format!("https://127.0.0.1:{port}{}", path_of(&gateway.event("playable")));
    gateway.event("ready");
    let mode = std::fs::metadata(place.path("cache/gateway-token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let curl = |more: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["--silent", "--insecure", "--write-out", "%{http_code}", "--output"]).arg(place.path("got"));
        common::run({
            command.args(more).arg(&url);
            command
        })
        .stdout
    };
    assert_eq!(curl(&[]), "401");
    assert_eq!(curl(&["--user", "me:wrong"]), "401");
    assert_eq!(curl(&["--user", &format!("me:{token}")]), "200");
    assert!(place.read("got") == bytes);
    assert_eq!(curl(&["--header", &format!("Authorization: Bearer {token}")]), "200");
}

#[test]
fn a_player_is_opened_and_waited_for() {
    let place = Place::new();
    let bytes = place.content("movie.mp4", 100_000);
    let (_seed, link) = place.seed("movie.mp4", &[]);
    std::fs::create_dir(place.path("bin")).unwrap();
    let script = place.path("bin/mpv");
    std::fs::write(&script, "#!/bin/sh\nexec curl --silent --output seen \"$1\"\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", place.path("bin").display(), std::env::var("PATH").unwrap());
    let mut command = place.command(["play", &link, "--udp", "127.0.0.1:0", "--cache", "cache", "--json"]);
    command.env("PATH", path);
    let played = common::run(command);
    played.succeeded();
    assert_eq!(played.event("player")["program"], "mpv");
    assert!(place.read("seen") == bytes);

    let mut command = place.command(["play", &link, "--player", "vlc", "--udp", "127.0.0.1:0", "--cache", "cache2"]);
    command.env("PATH", place.path("bin"));
    common::run(command).failed(1, &["cannot start vlc", "http://127.0.0.1:"]);

    let mut none = place.start(["play", &link, "--player", "none", "--udp", "127.0.0.1:0", "--cache", "cache"]);
    let playable = none.event("playable");
    let addr = playable["url"].as_str().unwrap().split('/').nth(2).unwrap().parse().unwrap();
    assert!(Player::to(addr).ask("GET", &path_of(&playable), &[]).body == bytes);
    none.signal(Signal::INT);
    assert_eq!(none.end().0, Some(130));
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_served() {
    let place = Place::new();
    let gateway = |more: &[&str]| place.run(["gateway", "--cache", "cache"].iter().chain(more));
    gateway(&["movie.mp4"]).failed(2, &["a link (ppsp:…), an identifier in the catalogue"]);
    let alone = format!("ppsp:{}", "ab".repeat(32));
    gateway(&["--listen", "127.0.0.1:0", &alone]).failed(3, &["nobody is known who has it"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    gateway(&["--listen", &addr]).failed(3, &["another program uses this port"]);
}

/// A swarm of a fresh peer that nobody is in but a web server. Without hashes the server has the file alone.
async fn with_origin(
    place: &Place,
    name: &str,
    length: usize,
    web: &WebServer,
    hashes: bool,
) -> (Peer, Swarm, Vec<u8>) {
    let bytes = place.content(name, length);
    let options = SeedOptions::default();
    let (seed, _) = FileStore::seed(&Places::new(&place.path(name), None), &options, &mut |_| ()).unwrap();
    let metadata = seed.metadata();
    if hashes {
        write_hash_file(&seed, &place.path("")).unwrap();
    }
    let parts = Descriptor::of_file(name, name, "video/mp4", &metadata).parts("file").unwrap();
    let origin = Some(Origin::new(&web.url(), &metadata, parts, None).unwrap());
    let copy = Places::new(&place.path(&format!("copy of {name}")), None);
    let (store, _) = FileStore::download(&copy, &metadata, &mut |_| ()).unwrap();
    let socket = Socket::bind_group("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    let peer = Peer::start(socket, EndpointConfig::default()).unwrap();
    let swarm = peer.join(store, Sources { origin, ..Sources::default() }).await.unwrap();
    (peer, swarm, bytes)
}

async fn read(swarm: &Swarm, length: usize) -> Vec<u8> {
    let mut reader = swarm.reader(0, length as u64, PATIENCE);
    let mut read = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        read.extend_from_slice(&piece.bytes);
    }
    read
}

#[test]
fn what_an_origin_does_wrong_is_said_until_it_does_it_right() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let place = Place::new();
        for (habit, said) in [(Habit::All, "it knows no ranges"), (Habit::Elsewhere, "it sends us elsewhere")] {
            let web = WebServer::of(&place.path(""), habit);
            let (name, length) = (format!("{habit:?}.mp4"), 300_000);
            let (peer, swarm, bytes) = with_origin(&place, &name, length, &web, true).await;
            let reading = async { assert!(read(&swarm, length).await == bytes, "{name}") };
            let watching = async {
                let mut changes = swarm.changes();
                let trouble = || swarm.status().origin.and_then(|origin| origin.trouble).unwrap_or_default();
                while !trouble().contains(said) {
                    changes.next().await;
                }
                assert_eq!(swarm.store().held_bytes(), 0);
                web.becomes(Habit::Good);
                while swarm.status().origin.unwrap().trouble.is_some() {
                    changes.next().await;
                }
            };
            let both = async { tokio::join!(reading, watching) };
            tokio::time::timeout(PATIENCE, both).await.expect(said);
            peer.close().await;
        }
    });
}

#[test]
fn without_hashes_only_what_the_root_proves_counts() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let place = Place::new();
        let web = WebServer::of(&place.path(""), Habit::Good);
        // A single block is proven by the root.
        let (peer, swarm, bytes) = with_origin(&place, "short.mp4", 200_001, &web, false).await;
        let short = tokio::time::timeout(PATIENCE, read(&swarm, bytes.len())).await;
        assert!(short.unwrap() == bytes);
        peer.close().await;
        let (peer, swarm, bytes) = with_origin(&place, "long.mp4", 1 << 20, &web, false).await;
        let mut reader = swarm.reader(0, bytes.len() as u64, PATIENCE);
        let said = async {
            let mut changes = swarm.changes();
            while swarm.status().origin.is_none_or(|origin| origin.trouble.is_none()) {
                changes.next().await;
            }
        };
        tokio::select! {
            read = reader.next() => panic!("it was not verified: {read:?}"),
            said = tokio::time::timeout(PATIENCE, said) => said.unwrap(),
        }
        assert!(swarm.status().origin.unwrap().trouble.unwrap().contains("cannot be verified"));
        assert_eq!(swarm.store().held_bytes(), 0);
        peer.close().await;
    });
}

#[test]
fn seed_and_get_show_what_they_count() {
    let place = Place::new();
    let bytes = place.content("movie.mp4", MIB);
    let mut seed = place.start(["seed", "movie.mp4", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]);
    let url = seed.event("metrics")["url"].as_str().unwrap().to_owned();
    let link = seed.link();
    let args =
        ["get", &link, "-o", "copy.mp4", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--seed-after"];
    let mut get = place.start(args);
    let of_get = get.event("metrics")["url"].as_str().unwrap().to_owned();
    get.event("complete");
    for (url, lines) in [
        (url, ["ppsp_content_bytes_total{direction=\"out\"} 1048576", "ppsp_connections 1"]),
        (of_get, ["ppsp_received_bytes_total{source=\"seed\"} 1048576", "ppsp_chunks_total{result=\"good\"} 1024"]),
    ] {
        let addr: SocketAddr = url.split('/').nth(2).unwrap().parse().unwrap();
        let end = std::time::Instant::now() + PATIENCE;
        loop {
            let metrics = Player::to(addr).ask("GET", "/metrics", &[]);
            if lines.iter().all(|line| metrics.text().contains(line)) {
                break;
            }
            assert!(std::time::Instant::now() < end, "{lines:?}: {}", metrics.text());
        }
        assert_eq!(Player::to(addr).ask("GET", "/", &[]).status, 404);
    }
    assert!(place.read("copy.mp4") == bytes);
}

#[test]
fn an_enhancement_waits_for_its_base() {
    const SEGMENT: usize = 64 << 10;
    let list = |id: &str, on: &str| {
        let urls: String = (0..8).map(|n| format!("<SegmentURL media=\"{id}-{n}.m4s\"/>")).collect();
        format!("<Representation id=\"{id}\"{on}><SegmentList duration=\"2\">{urls}</SegmentList></Representation>")
    };
    let xml = format!(
        "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" mediaPresentationDuration=\"PT16S\"><Period>\
         <AdaptationSet mimeType=\"video/mp4\">{}{}</AdaptationSet></Period></MPD>",
        list("base", ""),
        list("more", " dependencyId=\"base\"")
    );
    let mut set = Descriptor::parse(xml.as_bytes()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let place = Place::new();
        let socket = || Socket::bind_group("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
        let mut config = EndpointConfig::default();
        config.upload_limit = Some(384 << 10);
        let seed = Peer::start(socket(), config).unwrap();
        let viewer = Peer::start(socket(), EndpointConfig::default()).unwrap();
        let mut swarms = Vec::new();
        for id in ["base", "more"] {
            place.content(id, 8 * SEGMENT + usize::from(id == "more"));
            let options = SeedOptions::default();
            let (store, _) = FileStore::seed(&Places::new(&place.path(id), None), &options, &mut |_| ()).unwrap();
            let metadata = store.metadata();
            set.set_swarm(id, &metadata, None);
            let last = SEGMENT as u64 + u64::from(id == "more");
            set.set_parts(id, &[[SEGMENT as u64; 7].as_slice(), &[last]].concat()).unwrap();
            seed.join(store, Sources::default()).await.unwrap();
            let copy = Places::new(&place.path(&format!("copy of {id}")), None);
            let (store, _) = FileStore::download(&copy, &metadata, &mut |_| ()).unwrap();
            let base = swarms.first().map(|base: &Swarm| base.metadata().id.clone());
            let above =
                base.map(|base| Above::new(base, &set.parts("base").unwrap(), &set.parts(id).unwrap()).unwrap());
            let sources = Sources { peers: vec![seed.addr()], above, ..Sources::default() };
            swarms.push(viewer.join(store, sources).await.unwrap());
        }
        let [base, more] = &swarms[..] else { panic!() };
        // Both are read from their beginning, and nobody goes on.
        let _readers = [more, base].map(|swarm| swarm.reader(0, u64::MAX, PATIENCE));
        let watching = async {
            let second = SEGMENT as u64 / 1024;
            let mut changes = more.changes();
            loop {
                let later = more.store().held().next_set(second).is_some();
                let there = base.store().held_from(0) as usize;
                assert!(!later || there >= 5 * SEGMENT, "{there} bytes of the base are there");
                if more.store().held_from(0) > 8 * SEGMENT as u64 {
                    break;
                }
                changes.next().await;
            }
        };
        tokio::time::timeout(PATIENCE, watching).await.unwrap();
        viewer.close().await;
        seed.close().await;
    });
}
