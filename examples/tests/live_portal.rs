//! A channel in the catalogue: from the air to viewers, who find it and each other by Portal and tracker, and in the end to on-demand
//! content in its place.

mod common;

use std::{fs, io::Write, process::ChildStdin, thread};

use common::{
    Ppsp,
    player::ask,
    system::{ALICE, MEDIA, System},
};
use rustix::process::Signal;
use serde_json::Value;

const LOOPBACK: &str = "127.0.0.1:0";
const TITLE: &str = "Channel 1";

/// A system with bob, who may not watch, where alice, bob and media are signed in.
fn system() -> System {
    let system = System::start();
    system.add_user("bob", "bob's password", "viewer");
    for (user, password) in [("alice", ALICE), ("bob", "bob's password"), ("media", MEDIA)] {
        system.log_in(user, password).succeeded();
    }
    system
}

/// A channel on the air for alice, its identifier in the catalogue, and what is written to it.
fn live(system: &System, more: &[&str]) -> (Ppsp, String, ChildStdin) {
    let args =
        ["live", "-", "--portal", &system.portal.url, "--title", TITLE, "--allow", "alice", "--listen", LOOPBACK];
    let mut command = system.place.command(args.iter().chain(&["--json", "--user", "media"]).chain(more));
    command.env("XDG_DATA_HOME", system.place.path("media"));
    let (mut source, stdin) = Ppsp::start_open(command);
    let published = source.event("published");
    assert_eq!((&published["title"], &published["new"]), (&TITLE.into(), &true.into()));
    source.event("registered");
    (source, id_of(&published), stdin)
}

fn id_of(value: &Value) -> String {
    value["id"].as_str().unwrap().to_owned()
}

/// What the catalogue has for somebody: identifiers and lengths.
fn catalogue(system: &System, user: &str) -> Vec<(String, Value)> {
    let listed = system.run(user, &["catalogue"], "");
    listed.succeeded();
    let entries = listed.events().into_iter().filter(|value| value["event"] == "content");
    entries.map(|value| (id_of(&value), value["length"].clone())).collect()
}

#[test]
fn from_the_air_into_the_catalogue() {
    let system = system();
    let bytes = system.place.content("bytes", 300 * 1024 + 77);
    let (mut source, id, mut stdin) = live(&system, &["--record", "show.ts"]);
    assert_eq!(catalogue(&system, "alice"), [(id.clone(), Value::Null)], "it has no length");
    assert!(catalogue(&system, "bob").is_empty());
    assert_eq!(system.run("bob", &["get", &id, "-o", "x"], "").code, 4);
    stdin.write_all(&bytes[..100 * 1024]).unwrap();

    // By the identifier, with tokens for the tracker.
    let mut viewer = system.get("alice", &id, "seen", &["--delay", "2s"]);
    viewer.event("registered");
    let from = viewer.event("tuned_in")["chunk"].as_u64().unwrap() as usize * 1024;
    // And by a gateway.
    let (_gateway, addr) = system.gateway("alice", &[]);
    let addr = addr.to_string();
    let (head, play) = ask(&addr, &format!("/play/{id}"), "");
    assert!(head.starts_with("HTTP/1.1 200"), "{head} {}", String::from_utf8_lossy(&play));
    let play: Value = serde_json::from_slice(&play).unwrap();
    assert_eq!((&play["title"], &play["mpd"], &play["mime"]), (&TITLE.into(), &Value::Null, &"video/mp2t".into()));
    let file = play["file"].as_str().unwrap().to_owned();
    let playing = {
        let addr = addr.clone();
        thread::spawn(move || ask(&addr, &file, ""))
    };
    // It has the first byte before there is more: who writes it all now would have it come too late.
    let status = || serde_json::from_slice::<Value>(&ask(&addr, "/status", "").1).unwrap()["swarms"][0].clone();
    while status()["live"]["first"].is_null() {
        thread::yield_now();
    }
    let swarm = status();
    assert_eq!((&swarm["live"]["edge"], &swarm["swarm"]), (&96.into(), &play["swarms"][0]), "{swarm}");
    let page = String::from_utf8(ask(&addr, "/metrics", "").1).unwrap();
    assert!(page.contains("ppsp_live_streams 1\n") && page.contains("ppsp_live_edge_chunks 96\n"), "{page}");

    stdin.write_all(&bytes[100 * 1024..]).unwrap();
    drop(stdin);
    let root = source.event("ended")["root"].clone();
    let (head, played) = playing.join().unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    // All of it from where it tuned in, but for what came too late on a busy machine, and each of those chunks is counted.
    let live = status()["live"].clone();
    let mut left_out = 0;
    let mut rest = played.chunks(1024).peekable();
    for chunk in bytes[live["first"].as_u64().unwrap() as usize * 1024..].chunks(1024) {
        if rest.next_if_eq(&chunk).is_none() {
            left_out += 1;
        }
    }
    assert!(!played.is_empty() && rest.next().is_none(), "{} bytes: {live}", played.len());
    assert_eq!(live["skipped"], left_out, "{live}");
    let (code, stderr) = viewer.end();
    assert_eq!(code, Some(0), "{stderr}");
    if viewer.count("skipped") == 0 {
        assert!(system.place.read("seen") == bytes[from..]);
    }
    let swarm = status();
    assert_eq!((&swarm["live"]["ended"], &swarm["live"]["edge"]), (&true.into(), &301.into()), "{swarm}");
    let page = String::from_utf8(ask(&addr, "/metrics", "").1).unwrap();
    assert!(page.contains("ppsp_live_streams 0\n") && page.contains("ppsp_connections 0\n"), "{page}");

    // What was broadcast takes its place, for those who could watch it.
    let recorded = source.event("recorded");
    assert_eq!(recorded["swarm"], root);
    assert_eq!(source.event("opened")["how"], "loaded", "nothing is hashed again");
    let published = source.event("published");
    assert_eq!((&published["title"], &published["new"]), (&TITLE.into(), &true.into()));
    assert_eq!(id_of(&source.event("removed")), id);
    source.event("registered");
    let on_demand = id_of(&published);
    assert_eq!(catalogue(&system, "alice"), [(on_demand.clone(), bytes.len().into())]);
    assert!(catalogue(&system, "bob").is_empty());
    let mut get = system.get("alice", &on_demand, "copy", &[]);
    let (code, stderr) = get.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(system.place.read("copy") == bytes && system.place.read("show.ts") == bytes);
    assert_eq!(system.run("alice", &["get", &id, "-o", "x"], "").code, 4, "the channel is off the air");
    source.signal(Signal::INT);
    assert_eq!(source.end().0, Some(130));
}

#[test]
fn a_recorder_elsewhere_puts_it_into_the_catalogue() {
    let system = system();
    // In whole chunks, so that the end shows by what is empty behind it.
    let bytes = system.place.content("bytes", 105 * 1024);
    let (mut source, id, mut stdin) = live(&system, &[]);
    stdin.write_all(&bytes[..70 * 1024]).unwrap();
    let args = ["login", &system.portal.url, "--user", "media", "--pin", &system.portal.pin];
    system.run("studio", &args, MEDIA).succeeded();
    let record = ["get", &id, "--record", "show.ts", "--publish", "--listen", LOOPBACK, "--delay", "1s"];
    let refused = system.run("alice", &record, "");
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.event("error")["message"].as_str().unwrap().contains("alice may watch"), "{refused:?}");
    let mut recorder = system.begin("studio", &record, "");
    recorder.event("tuned_in");
    stdin.write_all(&bytes[70 * 1024..]).unwrap();
    drop(stdin);
    let root = source.event("ended")["root"].clone();
    assert_eq!(recorder.event("recorded")["swarm"], root);
    let published = recorder.event("published");
    assert_eq!(published["title"], TITLE);
    recorder.event("registered");
    assert_eq!(id_of(recorder.last("removed").unwrap()), id);
    // The source finds that somebody was quicker.
    let (code, stderr) = source.end();
    assert_eq!(code, Some(0), "{stderr}");
    let on_demand = id_of(&published);
    assert_eq!(catalogue(&system, "alice"), [(on_demand.clone(), bytes.len().into())]);
    let (code, stderr) = system.get("alice", &on_demand, "copy", &[]).end();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(system.place.read("copy") == bytes);
    recorder.signal(Signal::INT);
    assert_eq!(recorder.end().0, Some(130));
}

#[test]
fn a_channel_is_in_the_catalogue_once_and_as_long_as_it_is_on_the_air() {
    let system = system();
    let (mut source, id, mut stdin) = live(&system, &[]);
    stdin.write_all(&[1; 1024]).unwrap();
    // It may come back.
    source.signal(Signal::INT);
    assert_eq!(source.end().0, Some(130));
    assert_eq!(catalogue(&system, "alice"), [(id.clone(), Value::Null)]);
    let args = ["live", "bytes", "--title", TITLE, "--listen", LOOPBACK];
    fs::write(system.place.path("bytes"), [2; 1000]).unwrap();
    let mut again = system.begin("media", &args, "");
    let published = again.event("published");
    assert_eq!((&published["id"], &published["new"]), (&id.clone().into(), &false.into()));
    let (code, stderr) = again.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(id_of(again.last("removed").unwrap()), id);
    assert!(catalogue(&system, "alice").is_empty());

    // Standard input is the stream: no password is taken from it.
    let portal = system.portal.url.as_str();
    let asks = ["live", "-", "--portal", portal, "--user", "media", "--pin", &system.portal.pin, "--listen", LOOPBACK];
    let refused = system.run("stranger", &asks, MEDIA);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(refused.event("error")["message"].as_str().unwrap().contains("ppsp login"), "{refused:?}");
    // Who may not publish does not.
    assert_eq!(system.run("alice", &["live", "bytes", "--portal", portal, "--listen", LOOPBACK], "").code, 4);
}
