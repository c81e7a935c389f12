//! A seed with several sockets.

mod common;

use common::Place;
use rustix::process::Signal;
use serde_json::Value;

const LEECHERS: usize = 6;

#[test]
fn several_sockets_serve_as_one() {
    let place = Place::new();
    let bytes = place.content("f", 300_000);
    let (mut seed, link) = place.seed("f", &["--sockets", "3"]);
    let addr = seed.last("listening").unwrap()["addr"].as_str().unwrap().to_owned();

    // No other program slips in between them, not even one that shares its address too.
    for sockets in ["1", "2"] {
        let second = place.run(["seed", "f", "--state-dir", "s", "--listen", &addr, "--sockets", sockets]);
        second.failed(3, &["another program uses this port"]);
    }

    let mut leechers: Vec<_> = (0..LEECHERS)
        .map(|n| {
            place.start([
                "get",
                &link,
                "-o",
                &format!("copy{n}"),
                "--listen",
                "127.0.0.1:0",
                "--seed-after",
                "--pex=off",
            ])
        })
        .collect();
    let mut addrs = Vec::new();
    for (n, leecher) in leechers.iter_mut().enumerate() {
        leecher.event("complete");
        addrs.push(leecher.last("listening").unwrap()["addr"].clone());
        assert_eq!(place.read(&format!("copy{n}")), bytes);
    }
    // All of them are told of and counted, by whichever socket they are served.
    seed.wait("the sum of peers", |value| value["event"] == "progress" && value["peers"] == LEECHERS);
    seed.signal(Signal::INT);
    assert_eq!(seed.end().0, Some(130));
    assert_eq!(seed.count("peer"), LEECHERS, "each came up once");
    let closed = seed.last("closed").unwrap();
    let peers = closed["peers"].as_array().unwrap();
    let up = |value: &Value| value["uploaded"].as_u64().unwrap();
    for addr in &addrs {
        let one = peers.iter().find(|peer| peer["addr"] == *addr).unwrap_or_else(|| panic!("{addr} in {closed}"));
        assert!(up(one) >= bytes.len() as u64, "{one}");
    }
    assert_eq!(up(closed), peers.iter().map(up).sum::<u64>());
    // Each socket says goodbye to its peers.
    for leecher in &mut leechers {
        let down = leecher.wait("the end", |value| value["event"] == "peer" && value["state"] == "down");
        assert_eq!((&down["addr"], &down["reason"]), (&addr.as_str().into(), &"closed".into()));
    }
}

#[test]
fn each_socket_has_its_part_of_a_limit() {
    let place = Place::new();
    place.content("f", 400_000);
    let (_seed, link) = place.seed("f", &["--sockets", "4", "--upload-limit", "800KB/s"]);
    // One peer has to do with one socket: 200 KB a second.
    let got = place.run(["get", &link, "-o", "copy", "--json"]);
    got.succeeded();
    let seconds = got.event("complete")["seconds"].as_f64().unwrap();
    assert!(seconds > 0.9, "{seconds}");
}

#[test]
fn the_number_of_sockets_is_checked() {
    let place = Place::new();
    place.content("f", 10);
    for number in ["0", "65", "two"] {
        place.run(["seed", "f", "--sockets", number]).failed(2, &["--sockets"]);
    }
    std::fs::write(place.path("c.toml"), "sockets = 0\n").unwrap();
    place.run(["seed", "f", "--config", "c.toml"]).failed(2, &["sockets is not between 1 and 64"]);
    place.run(["bench", "loopback", "--store", "memory", "--sockets", "2"]).failed(2, &["--store file"]);
}
