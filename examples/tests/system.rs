//! The whole system as people use it: a Portal, a tracker, a media server and viewers, each a process, over TLS. First the seven
//! steps from a login to a film, then what has to hold when somebody does not keep to them, or something breaks.

mod common;

use std::{fs, os::unix::fs::PermissionsExt};

use common::{
    Place, Ppsp,
    portal::{PortalClient, start_process},
    system::{ALICE, MEDIA, System, start_tracker},
};
use ppsp_core::{Identifier, Link, descriptor::Descriptor};
use serde_json::Value;

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no {name}: {value}"))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// 1: a login by SCRAM-SHA-256 gives a client identifier and a token, which nobody else can read.
#[test]
fn step_1_signing_in() {
    let system = System::start();
    let login = system.log_in("alice", ALICE);
    login.succeeded();
    let said = login.event("login");
    text(&said, "client_id").parse::<Identifier>().unwrap();
    assert_eq!((text(&said, "user"), text(&said, "role")), ("alice", "viewer"));
    let logins: Vec<_> = fs::read_dir(system.place.path("alice/ppsp/logins")).unwrap().map(Result::unwrap).collect();
    let kept = logins.iter().find(|entry| entry.path().extension().is_some_and(|end| end == "json")).unwrap();
    assert_eq!(kept.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    let file = fs::read_to_string(kept.path()).unwrap();
    let login: Value = serde_json::from_str(&file).unwrap();
    assert!(!text(&login, "access_token").is_empty() && !file.contains(ALICE), "no password is kept");

    // Wrong credentials, and a user that there is not: the same answer.
    for (user, password) in [("alice", "not alice's"), ("nobody", ALICE)] {
        let args = ["login", &system.portal.url, "--user", user, "--pin", &system.portal.pin];
        let ended = system.run("stranger", &args, password);
        assert_eq!(
            (ended.code, text(&ended.event("error"), "message")),
            (4, "the user name or the password is wrong"),
            "{ended:?}"
        );
    }
    assert!(!system.place.exists("stranger/ppsp/logins"), "nothing is kept of what failed");
    // Another server than the one that was meant, or one that nobody vouches for, hears nothing.
    let wrong = format!("sha256/{}=", "A".repeat(43));
    for (pin, word) in [(&["--pin", &wrong][..], "another server"), (&[], &system.portal.pin)] {
        let args: Vec<&str> = ["login", &system.portal.url, "--user", "alice"].iter().chain(pin).copied().collect();
        let ended = system.run("stranger", &args, ALICE);
        assert_eq!(ended.code, 3, "{ended:?}");
        assert!(text(&ended.event("error"), "message").contains(word), "{ended:?}");
    }
    // In clear only where that is asked for, and on loopback.
    let clear = system.portal.url.replace("https:", "http:");
    assert_eq!(system.run("stranger", &["login", &clear, "--user", "alice"], ALICE).code, 2);
    let far = ["login", "http://192.0.2.1:8443", "--user", "alice", "--insecure-http"];
    assert_eq!(system.run("stranger", &far, ALICE).code, 2);
}

/// 2: the catalogue leads to a descriptor, signed by the Portal, that names trackers in tiers and the swarm.
#[test]
fn step_2_catalogue_and_descriptor() {
    let system = System::start();
    system.place.content("film.mp4", 50_000);
    let (_server, id) = system.publish("film.mp4", &["--title", "A film", "--group", "films"]);
    assert_eq!(system.run("alice", &["catalogue"], "").code, 4, "nobody is signed in");
    system.log_in("alice", ALICE).succeeded();
    let found = system.run("alice", &["catalogue", "film"], "").event("content");
    assert_eq!((text(&found, "id"), text(&found, "title"), text(&found, "group")), (id.as_str(), "A film", "films"));
    assert_eq!(found["length"], 50_000);

    runtime().block_on(async {
        let alice = system.portal.client().signed_in("alice", ALICE).await;
        let (status, descriptor) = alice.get(&format!("/api/v1/content/{id}/descriptor")).await;
        assert_eq!(status, 200);
        let descriptor = Descriptor::parse(descriptor.as_str().unwrap().as_bytes()).unwrap();
        assert_eq!(descriptor.trackers(), [vec![system.tracker_url.clone()]]);
        let link: Link = {
            fs::copy(system.place.path("film.mp4"), system.place.path("same.mp4")).unwrap();
            let (_seed, link) = system.place.seed("same.mp4", &[]);
            link.parse().unwrap()
        };
        assert_eq!(descriptor.swarms(), [link.metadata.id]);
    });
}

/// 3 to 5: the peer CONNECTs with its token and the swarm, the tracker asks the Portal, the Portal confirms.
#[test]
fn steps_3_to_5_the_tracker_asks_the_portal() {
    let system = System::start();
    system.place.content("film.mp4", 50_000);
    let (_server, id) = system.publish("film.mp4", &[]);
    let before = counters(&system);
    system.log_in("alice", ALICE).succeeded();
    let mut get = system.get("alice", &id, "copy.mp4", &[]);
    get.event("registered");
    get.event("complete");
    let after = counters(&system);
    assert!(after.connects > before.connects);
    assert!(after.asked > before.asked);
    assert!(after.confirmed > before.confirmed);
}

struct Counted {
    connects: u64,
    asked: u64,
    confirmed: u64,
}

fn counters(system: &System) -> Counted {
    let tracker = system.tracker_url.split('#').next().unwrap().to_owned();
    let pin = system.tracker_url.split_once('#').unwrap().1;
    runtime().block_on(async {
        let value = |page: &Value, name: &str| -> u64 {
            let line = page.as_str().unwrap().lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.unwrap_or("0").parse().unwrap()
        };
        use ppsp_examples::http::Trust;
        let (_, page) = PortalClient::new(&tracker, Trust::Pin(pin.parse().unwrap())).get("/metrics").await;
        let (_, portal) = system.portal.client().get("/metrics").await;
        Counted {
            connects: value(&page, "ppsp_tracker_granted_total{message=\"CONNECT\"}"),
            asked: value(&page, "ppsp_tracker_introspections_total"),
            confirmed: value(&portal, "ppsp_portal_introspections_total{answer=\"active\"}"),
        }
    })
}

/// 6: the tracker assigns the peer identifier, says where it sees the peer, and lists the media server. 7: the transfer.
#[test]
fn steps_6_and_7_peers_and_the_transfer() {
    let system = System::start();
    let film = system.place.content("film.mp4", 300_000);
    let (server, id) = system.publish("film.mp4", &[]);
    let seed = server.last("listening").unwrap()["addr"].as_str().unwrap().to_owned();
    let client = text(&system.log_in("alice", ALICE).event("login"), "client_id").to_owned();

    let mut get = system.get("alice", &id, "copy.mp4", &["--seed-after"]);
    let registered = get.event("registered");
    let own = get.last("listening").unwrap()["addr"].as_str().unwrap().to_owned();
    let peer_id: Identifier = text(&registered, "peer_id").parse().unwrap();
    assert_ne!(peer_id.to_string(), client, "assigned by the tracker");
    assert_eq!(text(&registered, "reflexive"), own);
    let listed = get.event("tracker_peers");
    assert!(listed["peers"].to_string().contains(&seed), "{listed}");
    get.event("complete");
    assert_eq!(system.place.read("copy.mp4"), film);

    // Others get it from alice too: she goes on as a SEEDER, under an identifier that nobody had before.
    let again = text(&get.event("registered"), "peer_id").to_owned();
    assert_ne!(again, peer_id.to_string());
    let mut other = system.get("alice", &id, "another.mp4", &[]);
    let third = text(&other.event("registered"), "peer_id").to_owned();
    assert!(third != again && third != peer_id.to_string());
    let listed = other.event("tracker_peers")["peers"].to_string();
    assert!(listed.contains(&seed) && listed.contains(&own), "{listed}");
    other.event("complete");
    assert_eq!(system.place.read("another.mp4"), film);
}

/// A client may join only what its token allows: who, when, what. And a ban ends what is under way.
#[test]
fn what_is_not_allowed() {
    let system = System::start();
    system.place.content("film.mp4", 4_000_000);
    system.place.content("other.mp4", 9000);
    // Slow enough that it goes on for as long as this test looks.
    let (_server, id) = system.publish("film.mp4", &["--upload-limit", "40KB/s"]);
    let other = system.run("media", &["content", "list"], "");
    other.succeeded();
    let mut hidden = system.begin("media", &["publish", "other.mp4", "--listen", "127.0.0.1:0"], "");
    let hidden_id = text(&hidden.event("published"), "id").to_owned();
    system.log_in("alice", ALICE).succeeded();
    let get = |id: &str| system.run("alice", &["get", id, "-o", "x.mp4", "--listen", "127.0.0.1:0"], "");
    let refused = get(&hidden_id);
    assert_eq!(refused.code, 4, "{refused:?}");
    // When: not yet, and then within the window.
    let allow = |more: &[&str]| {
        let args = ["content", "allow", &hidden_id, "alice"];
        system.run("media", &args.iter().chain(more).copied().collect::<Vec<_>>(), "").succeeded();
    };
    allow(&["--from", "1h"]);
    assert_eq!(get(&hidden_id).code, 4);
    allow(&["--until", "1h"]);
    get(&hidden_id).succeeded();
    system.run("media", &["content", "deny", &hidden_id, "alice"], "").succeeded();
    assert_eq!(get(&hidden_id).code, 4);

    // Under way, and banned: the tracker ends the membership, and nobody lets her in again.
    let mut under_way = system.get("alice", &id, "copy.mp4", &[]);
    under_way.event("registered");
    under_way.held(1);
    assert_eq!(peers_at(&system), 3);
    system.run("admin", &["user", "ban", "alice"], "").succeeded();
    // Within the time for which the tracker believes an answer.
    while peers_at(&system) != 2 {
        std::thread::yield_now();
    }
    assert_eq!(get(&id).code, 4);
    assert_eq!(system.log_in("alice", ALICE).code, 4);
    // A session that is revoked is over as well.
    let sessions = system.run("media", &["sessions", "list"], "");
    let session = text(&sessions.event("session"), "id").to_owned();
    system.run("admin", &["sessions", "revoke", &session], "").succeeded();
    assert_eq!(system.run("media", &["catalogue"], "").code, 4);
}

fn peers_at(system: &System) -> u64 {
    let (url, pin) = system.tracker_url.split_once('#').unwrap();
    runtime().block_on(async {
        let client = PortalClient::new(url, ppsp_examples::http::Trust::Pin(pin.parse().unwrap()));
        let (_, page) = client.get("/metrics").await;
        let line = page.as_str().unwrap().lines().find_map(|line| line.strip_prefix("ppsp_tracker_peers "));
        line.unwrap().parse().unwrap()
    })
}

/// A tracker that dies takes no transfer with it, and when it is back its peers register again by themselves.
#[test]
fn a_tracker_that_dies_and_comes_back() {
    let system = System::start();
    let film = system.place.content("film.mp4", 900_000);
    let (mut server, id) = system.publish("film.mp4", &["--upload-limit", "150KB/s"]);
    system.log_in("alice", ALICE).succeeded();
    let mut get = system.get("alice", &id, "copy.mp4", &["--seed-after"]);
    get.held(1);
    let System { place, portal, tracker, tracker_url } = system;
    let addr = tracker_url.trim_start_matches("https://").split('/').next().unwrap().to_owned();
    tracker.kill();
    get.event("complete");
    assert_eq!(place.read("copy.mp4"), film);
    let (tracker, same) = start_tracker(&place, &portal, &addr);
    assert_eq!(same, tracker_url);
    // It has forgotten both, and says so when they report.
    server.event("registered");
    get.event("registered");
    let system = System { place, portal, tracker, tracker_url };
    let mut later = system.get("alice", &id, "later.mp4", &[]);
    later.event("complete");
    assert_eq!(system.place.read("later.mp4"), film);
}

/// The media server starts again: the same entry in the catalogue, and no password is needed while its session lasts.
#[test]
fn a_media_server_that_starts_again() {
    let system = System::start();
    let film = system.place.content("film.mp4", 70_000);
    let (server, id) = system.publish("film.mp4", &[]);
    server.kill();
    let args = ["publish", "film.mp4", "--listen", "127.0.0.1:0"];
    let mut server = system.begin("media", &args, "");
    let again = server.event("published");
    assert_eq!((text(&again, "id"), &again["new"]), (id.as_str(), &Value::from(false)));
    server.event("registered");
    system.log_in("alice", ALICE).succeeded();
    // By the URL of the page, as somebody copies it from a browser.
    let url = text(&again, "url").to_owned();
    let got = system.run("alice", &["get", &url, "-o", "copy.mp4", "--listen", "127.0.0.1:0"], "");
    got.succeeded();
    assert_eq!(system.place.read("copy.mp4"), film);

    system.run("media", &["content", "remove", &id], "").succeeded();
    assert_eq!(system.run("alice", &["get", &id, "-o", "x", "--listen", "127.0.0.1:0"], "").code, 4);
    system.run("alice", &["logout"], "").succeeded();
    let after = system.run("alice", &["catalogue"], "");
    assert_eq!(after.code, 4, "{after:?}");
}

/// Accounts and trackers from the command line.
#[test]
fn what_admins_do() {
    let system = System::start();
    let list = system.run("admin", &["user", "list"], "");
    let names: Vec<String> = list.events().iter().map(|user| text(user, "name").to_owned()).collect();
    assert_eq!(names, ["admin", "alice", "media"]);
    system.run("admin", &["user", "passwd", "alice"], "a new one of hers").succeeded();
    assert_eq!(system.log_in("alice", ALICE).code, 4);
    system.log_in("alice", "a new one of hers").succeeded();
    let short = system.run("alice", &["user", "passwd"], "short");
    assert_eq!(short.code, 2, "{short:?}");
    let no = system.run("alice", &["user", "list"], "");
    assert_eq!(no.code, 4, "{no:?}");
    system.run("admin", &["user", "role", "alice", "publisher"], "").succeeded();
    system.run("admin", &["user", "groups", "alice", "staff", "night shift"], "").succeeded();
    system.run("admin", &["user", "ban", "alice"], "").succeeded();
    system.run("admin", &["user", "unban", "alice"], "").succeeded();
    let list = system.run("admin", &["user", "list"], "");
    let alice = list.events().into_iter().find(|user| user["name"] == "alice").unwrap();
    assert_eq!((text(&alice, "role"), &alice["banned"]), ("publisher", &Value::from(false)));
    assert_eq!(alice["groups"].as_array().unwrap().len(), 2);
    let tracker = system.run("admin", &["trackers", "list"], "").event("tracker");
    assert_eq!((text(&tracker, "state"), text(&tracker, "url")), ("approved", system.tracker_url.as_str()));
    system.run("admin", &["trackers", "revoke", text(&tracker, "id")], "").succeeded();
    system.run("admin", &["trackers", "approve", text(&tracker, "id")], "").succeeded();
    let sessions = system.run("admin", &["sessions", "list", "--all"], "");
    assert_eq!(sessions.events().len(), 1, "those of alice have ended: {sessions:?}");
    let missing = system.run("admin", &["user", "ban", "nobody"], "");
    assert_eq!(missing.code, 4, "{missing:?}");
}

/// `seed` and `get` with a tracker and without a Portal: nobody types an address.
#[test]
fn a_tracker_without_a_portal() {
    let place = Place::new();
    let film = place.content("film.mp4", 200_000);
    let mut tracker = place.start(["tracker", "--auth", "none", "--data-dir", "t", "--listen", "127.0.0.1:0"]);
    let url = tracker.event("tracker")["tracker"].as_str().unwrap().to_owned();
    tracker.event("ready");
    let (mut seed, link) = place.seed("film.mp4", &["--tracker", &url]);
    seed.event("registered");
    // A link without the address of the seed.
    let mut link: Link = link.parse().unwrap();
    assert_eq!(link.trackers, [url]);
    link.peers.clear();
    let got = place.run(["get", &link.to_string(), "-o", "copy.mp4", "--listen", "127.0.0.1:0"]);
    got.succeeded();
    assert_eq!(place.read("copy.mp4"), film);
    // Nobody has this.
    place.content("lonely.mp4", 1000);
    let (lonely, link) = place.seed("lonely.mp4", &[]);
    lonely.kill();
    let mut link: Link = link.parse().unwrap();
    link.peers.clear();
    link.trackers = vec![tracker.last("tracker").unwrap()["tracker"].as_str().unwrap().to_owned()];
    let nobody = place.run(["get", &link.to_string(), "-o", "x.mp4", "--timeout", "1s", "--listen", "127.0.0.1:0"]);
    nobody.failed(3, &["no peer answered", "the trackers know of no other"]);
}

/// A tracker whose peers have names and passwords (RFC 7616).
#[test]
fn a_tracker_with_passwords() {
    use ppsp_auth::{Password, digest::account_line};
    let place = Place::new();
    let film = place.content("film.mp4", 20_000);
    let line = account_line("bob", "ppsp-tracker", &Password::new("bob's").unwrap()).unwrap();
    fs::write(place.path("accounts"), line.as_bytes()).unwrap();
    let args =
        ["tracker", "--auth", "digest", "--digest-file", "accounts", "--data-dir", "t", "--listen", "127.0.0.1:0"];
    let mut tracker = place.start(args);
    let url = tracker.event("tracker")["tracker"].as_str().unwrap().to_owned();
    tracker.event("ready");
    let seed = ["seed", "film.mp4", "--listen", "127.0.0.1:0", "--tracker", &url, "--tracker-user", "bob"];
    let mut seed = place.start_as("seed", seed, "bob's");
    let mut link: Link = seed.link().parse().unwrap();
    seed.event("registered");
    link.peers.clear();
    let link = link.to_string();
    let get = |user: &[&str], say: &str| {
        let args = ["get", &link, "-o", "copy.mp4", "--listen", "127.0.0.1:0"];
        place.run_as("get", args.iter().chain(user).copied(), say)
    };
    let named = ["--tracker", &url, "--tracker-user", "bob"];
    // The tracker of a link is a stranger's word.
    assert_eq!(get(&named[2..], "bob's").code, 2);
    let unnamed = get(&[], "");
    assert_eq!(unnamed.code, 4, "{unnamed:?}");
    assert!(text(&unnamed.event("error"), "message").contains("--tracker-user"));
    assert_eq!(get(&named, "guessed").code, 4);
    get(&named, "bob's").succeeded();
    assert_eq!(place.read("copy.mp4"), film);
}

/// A tracker whose peers show certificates of an authority that it knows.
#[test]
fn a_tracker_with_certificates() {
    let place = Place::new();
    let film = place.content("film.mp4", 20_000);
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    fs::write(place.path("ca.pem"), params.self_signed(&authority_key).unwrap().pem()).unwrap();
    let issuer = rcgen::Issuer::new(params, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["alice".to_owned()]).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    fs::write(place.path("alice.pem"), params.signed_by(&key, &issuer).unwrap().pem()).unwrap();
    fs::write(place.path("alice.key"), key.serialize_pem()).unwrap();

    let args =
        ["tracker", "--auth", "certificate", "--client-ca", "ca.pem", "--data-dir", "t", "--listen", "127.0.0.1:0"];
    let mut tracker = place.start(args);
    let url = tracker.event("tracker")["tracker"].as_str().unwrap().to_owned();
    tracker.event("ready");
    let shown = ["--tracker-cert", "alice.pem", "--tracker-key", "alice.key"];
    let (mut seed, link) = place.seed("film.mp4", &[&["--tracker", &url][..], &shown].concat());
    seed.event("registered");
    let mut link: Link = link.parse().unwrap();
    link.peers.clear();
    let link = link.to_string();
    let get = |more: &[&str]| {
        let args = ["get", &link, "-o", "copy.mp4", "--listen", "127.0.0.1:0"];
        place.run(args.iter().chain(more))
    };
    get(&[]).failed(4, &["--tracker-cert"]);
    let shown = [&["--tracker", &url][..], &shown].concat();
    get(&shown[..4]).failed(2, &["belong together"]);
    get(&shown).succeeded();
    assert_eq!(place.read("copy.mp4"), film);
}

/// The library that shows a process another time of day. In CI it has to be there.
fn other_clock() -> Option<std::path::PathBuf> {
    let found = fs::read_dir("/usr/lib").ok()?.filter_map(Result::ok);
    let found = found.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1")).find(|path| path.exists());
    if found.is_none() {
        assert!(std::env::var_os("CI").is_none(), "faketime is not installed");
        eprintln!("skipped: faketime is not installed (Debian: faketime)");
    }
    found
}

/// A tracker whose clock is minutes slow goes by the Portal's, and a viewer whose clock is minutes fast does not care.
#[test]
fn clocks_that_are_off_by_minutes() {
    let Some(library) = other_clock() else { return };
    let off = |command: &mut std::process::Command, by: &str| {
        command.env("LD_PRELOAD", &library).env("FAKETIME", by).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    };
    let place = Place::new();
    let film = place.content("film.mp4", 30_000);
    let portal = start_process(&place, &[]);
    let args = ["tracker", "--json", "--data-dir", "tracker", "--listen", "127.0.0.1:0", "--portal", &portal.url];
    let mut command = place.command(args.iter().chain(&["--pin", &portal.pin]));
    command.env("PPSP_ENROL_CODE", portal.first.as_ref().unwrap()["enrol_code"].as_str().unwrap());
    off(&mut command, "-11m");
    let mut tracker = Ppsp::start(command);
    let tracker_url = tracker.event("tracker")["tracker"].as_str().unwrap().to_owned();
    tracker.event("ready");
    let system = System { place, portal, tracker, tracker_url };
    system.log_in("admin", &system.admin_password()).succeeded();
    for (name, password, role) in [("alice", ALICE, "viewer"), ("media", MEDIA, "publisher")] {
        system.run("admin", &["user", "add", name, "--role", role], password).succeeded();
    }
    let (_server, id) = system.publish("film.mp4", &[]);
    system.log_in("alice", ALICE).succeeded();
    let args = ["get", &id, "-o", "copy.mp4", "--listen", "127.0.0.1:0", "--json"];
    let mut command = system.place.command(args);
    command.env("XDG_DATA_HOME", system.place.path("alice"));
    off(&mut command, "+11m");
    common::run(command).succeeded();
    assert_eq!(system.place.read("copy.mp4"), film);
}
