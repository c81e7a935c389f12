//! Content crosses from process to process.

mod common;

use common::Place;
use rustix::process::Signal;

const MIB: usize = 1 << 20;

#[test]
fn from_a_seed_to_a_leecher() {
    let place = Place::new();
    let bytes = place.content("movie one.bin", 3 * MIB + 77);
    let (mut seed, link) = place.seed("movie one.bin", &[]);
    assert!(link.contains("/movie%20one.bin?cl=3145805&ia=127.0.0.1:"), "{link}");

    let got = place.run(["get", &link, "-o", "copy", "--listen", "127.0.0.1:0", "--json"]);
    got.succeeded();
    assert_eq!(place.read("copy"), bytes);
    assert!(!place.exists("copy.part"));

    // The documented shape of the events.
    let shape = |name: &str, keys: &[&str]| {
        let value = got.event(name);
        keys.iter().for_each(|key| assert!(value.get(key).is_some(), "{key} in {value}"));
        value
    };
    assert!(got.stdout.starts_with("{\"event\":\""));
    let addr = shape("listening", &["addr"])["addr"].as_str().unwrap().to_owned();
    assert!(addr.starts_with("127.0.0.1:"));
    shape("progress", &["bytes", "total", "peers", "down", "up"]);
    assert_eq!(shape("peer", &["addr", "state"])["state"], "up");
    let complete = shape("complete", &["bytes", "seconds", "uploaded"]);
    assert_eq!(complete["bytes"], bytes.len());
    assert!(complete["seconds"].as_f64().unwrap() > 0.0);

    // The leecher said goodbye.
    let down = seed.wait("the leecher's end", |value| value["event"] == "peer" && value["state"] == "down");
    assert_eq!((&down["addr"], &down["reason"]), (&addr.into(), &"closed".into()));

    // A second time there is nothing to do, and it needs no peer for that.
    seed.signal(Signal::INT);
    assert_eq!(seed.end().0, Some(130));
    let again = place.run(["get", &link, "-o", "copy"]);
    again.succeeded();
    assert!(again.stderr.contains("complete and verified already"), "{again:?}");
}

#[test]
fn every_size_that_is_special() {
    let place = Place::new();
    for length in [0, 1, 1023, 1024, 1025, 2048, 64 * 1024, 100_000] {
        let name = format!("f{length}");
        let bytes = place.content(&name, length);
        let (_seed, link) = place.seed(&name, &[]);
        let copy = format!("c{length}");
        place.run(["get", &link, "-o", &copy]).succeeded();
        assert_eq!(place.read(&copy), bytes, "{length} bytes");
    }
}

#[test]
fn other_hash_functions_and_addressing_methods() {
    let place = Place::new();
    let bytes = place.content("f", 200_000);
    for (hash, addressing, chunk_size) in [
        ("sha1", "bin32", "512"),
        ("sha224", "bin64", "1024"),
        ("sha384", "range64", "1400"),
        ("sha512", "byte64", "8KiB"),
    ] {
        let (_seed, link) = place.seed("f", &["--hash", hash, "--addressing", addressing, "--chunk-size", chunk_size]);
        let copy = format!("copy-{hash}");
        place.run(["get", &link, "-o", &copy]).succeeded();
        assert_eq!(place.read(&copy), bytes, "{hash} {addressing} {chunk_size}");
    }
}

#[test]
fn leechers_serve_each_other() {
    let place = Place::new();
    let bytes = place.content("f", 3 * MIB);
    let (mut seed, link) = place.seed("f", &["--upload-limit", "2MiB/s"]);
    let mut leechers: Vec<_> = (0..3)
        .map(|n| place.start(["get", &link, "-o", &format!("copy{n}"), "--listen", "127.0.0.1:0", "--seed-after"]))
        .collect();
    for leecher in &mut leechers {
        leecher.event("complete");
    }
    let mut uploaded = 0;
    for (n, leecher) in leechers.iter_mut().enumerate() {
        leecher.signal(Signal::TERM);
        assert_eq!(leecher.end().0, Some(130));
        uploaded += leecher.last("closed").unwrap()["uploaded"].as_u64().unwrap();
        assert_eq!(place.read(&format!("copy{n}")), bytes);
    }
    assert!(uploaded > 0, "found each other by peer exchange and served each other");
    seed.signal(Signal::INT);
    seed.end();
    let sent = seed.last("closed").unwrap()["uploaded"].as_u64().unwrap();
    assert!(sent < 3 * bytes.len() as u64, "the seed sent {sent} bytes, less than every copy");
}

#[test]
fn a_leecher_seeds_after_for_a_time() {
    let place = Place::new();
    place.content("f", 10_000);
    let (seed, link) = place.seed("f", &[]);
    let got = place.run(["get", &link, "-o", "copy", "--seed-after=300ms", "--json"]);
    got.succeeded();
    let kinds: Vec<_> = got.events().iter().map(|value| value["event"].clone()).collect();
    assert_eq!(kinds.last().unwrap(), "closed");
    drop(seed);

    // A complete download is a seed: nothing is hashed, and others fetch from it.
    let mut second = place.start(["get", &link, "-o", "copy", "--seed-after", "--listen", "127.0.0.1:0"]);
    assert_eq!(second.event("opened")["how"], "loaded");
    let addr = second.event("listening")["addr"].as_str().unwrap().to_owned();
    let link = link.split("&ia=").next().unwrap();
    place.run(["get", link, "-o", "third", "--peer", &addr]).succeeded();
    assert_eq!(place.read("third"), place.read("f"));
}
