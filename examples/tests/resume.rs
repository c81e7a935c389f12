//! Processes that die, files that change.

mod common;

use std::{fs, time::Instant};

use common::{Place, damage};
use rustix::process::Signal;

const MIB: usize = 1 << 20;

#[test]
fn a_killed_leecher_resumes() {
    let place = Place::new();
    let bytes = place.content("f", 6 * MIB);
    let (_seed, link) = place.seed("f", &["--upload-limit", "2MiB/s"]);
    let args = ["get", &link, "-o", "copy", "--listen", "127.0.0.1:0"];

    let mut first = place.start(args);
    first.held(4 * MIB as u64);
    first.kill();
    assert!(place.exists("copy.part") && !place.exists("copy"));

    let mut second = place.start(args);
    let kept = second.event("opened")["bytes"].as_u64().unwrap();
    assert!(kept > 0, "checkpoints had been made");
    let complete = second.event("complete");
    assert_eq!(second.end().0, Some(0));
    assert_eq!(place.read("copy"), bytes);
    let fetched = complete["downloaded"].as_u64().unwrap();
    assert!(fetched <= bytes.len() as u64 - kept, "{fetched} fetched, {kept} were there");
}

#[test]
fn an_interrupted_leecher_saves_all_and_leaves_at_once() {
    let place = Place::new();
    let bytes = place.content("f", 4 * MIB);
    let (mut seed, link) = place.seed("f", &["--upload-limit", "2MiB/s"]);
    let args = ["get", &link, "-o", "copy", "--listen", "127.0.0.1:0"];

    let mut first = place.start(args);
    let held = first.held(MIB as u64);
    let asked = Instant::now();
    first.signal(Signal::INT);
    let (code, stderr) = first.end();
    assert_eq!((code, stderr.as_str()), (Some(130), ""));
    // Generous: the promise is 2 s.
    assert!(asked.elapsed().as_secs() < 10, "{:?}", asked.elapsed());
    assert_eq!(first.count("closed"), 1, "{:?}", first.heard);
    seed.wait("the goodbye", |value| value["state"] == "down" && value["reason"] == "closed");

    let mut second = place.start(args);
    let opened = second.event("opened");
    assert!(opened["bytes"].as_u64() >= Some(held), "{opened}");
    assert_eq!((&opened["how"], &opened["hashed"]), (&"loaded".into(), &0.into()), "a clean end needs no check");
    second.event("complete");
    assert_eq!(place.read("copy"), bytes);
}

#[test]
fn every_end_is_told_once() {
    let place = Place::new();
    place.content("f", MIB);
    let (mut seed, link) = place.seed("f", &[]);
    let mut kept = place.start(["get", &link, "-o", "kept", "--listen", "127.0.0.1:0", "--seed-after"]);
    kept.event("complete");
    kept.signal(Signal::INT);
    assert_eq!(kept.end().0, Some(130));
    assert_eq!(kept.count("closed"), 1, "{:?}", kept.heard);
    for seed_after in ["no", "1s"] {
        let seed_after = format!("--seed-after={seed_after}");
        let mut got =
            place.start(["get", &link, "-o", &format!("copy{seed_after}"), "--listen", "127.0.0.1:0", &seed_after]);
        assert_eq!(got.end().0, Some(0));
        assert_eq!(got.count("closed"), 1, "{:?}", got.heard);
    }
    seed.signal(Signal::TERM);
    assert_eq!(seed.end().0, Some(130));
    assert_eq!(seed.count("closed"), 1, "{:?}", seed.heard);
    let mut alone = place.start(["get", &link, "-o", "never", "--listen", "127.0.0.1:0", "--timeout", "1s"]);
    assert_eq!(alone.end().0, Some(3));
    assert_eq!(alone.count("closed"), 1, "{:?}", alone.heard);
}

#[test]
fn a_damaged_state_file_costs_a_check_and_no_more() {
    let place = Place::new();
    let bytes = place.content("f", 8 * MIB);
    let (_seed, link) = place.seed("f", &["--upload-limit", "2MiB/s"]);
    let args = ["get", &link, "-o", "copy", "--listen", "127.0.0.1:0"];
    for blow in ["tear", "flip", "version", "empty", "remove"] {
        let mut first = place.start(args);
        let so_far = first.event("opened")["bytes"].as_u64().unwrap();
        first.held(so_far + 1);
        first.signal(Signal::INT);
        first.end();
        if blow == "remove" {
            fs::remove_file(place.path("copy.ppsp")).unwrap();
        } else {
            damage(&place.path("copy.ppsp"), |state| match blow {
                "tear" => state.truncate(state.len() / 2),
                "flip" => state[40] ^= 1,
                "version" => state[9] = 99,
                _ => state.clear(),
            });
        }
        let mut second = place.start(args);
        let opened = second.event("opened");
        assert!(opened["bytes"].as_u64() > Some(so_far), "{blow}: {opened}");
        assert_eq!(opened["how"], "checked", "{blow}");
        second.signal(Signal::INT);
        second.end();
        assert_eq!(second.last("warning").is_some(), blow != "remove", "{blow}: {:?}", second.heard);
    }
    place.run(args).succeeded();
    assert_eq!(place.read("copy"), bytes);
}

#[test]
fn damaged_content_is_fetched_again() {
    let place = Place::new();
    let bytes = place.content("f", 2 * MIB);
    let (_seed, link) = place.seed("f", &["--upload-limit", "1MiB/s"]);
    let args = ["get", &link, "-o", "copy", "--listen", "127.0.0.1:0"];
    let mut first = place.start(args);
    first.held(200_000);
    first.kill();
    damage(&place.path("copy.part"), |part| {
        for byte in part.iter_mut().step_by(5000) {
            *byte ^= 0xff;
        }
        part.truncate(150_000);
    });
    place.run(args).succeeded();
    assert_eq!(place.read("copy"), bytes);
}

#[test]
fn a_seed_hashes_once() {
    let place = Place::new();
    place.content("f", MIB);
    let start = |more: &[&str]| {
        let mut seed = place.start(["seed", "f", "--listen", "127.0.0.1:0"].iter().chain(more));
        let how = seed.event("opened");
        let link = seed.link();
        seed.signal(Signal::INT);
        assert_eq!(seed.end().0, Some(130));
        (how["how"].as_str().unwrap().to_owned(), how["hashed"].as_u64().unwrap(), link)
    };
    let (how, hashed, first) = start(&[]);
    assert_eq!((how.as_str(), hashed), ("hashed", MIB as u64));
    let (how, hashed, second) = start(&[]);
    assert_eq!((how.as_str(), hashed), ("loaded", 0));
    let swarm = |link: &str| link.split('?').next().unwrap().to_owned();
    assert_eq!(swarm(&first), swarm(&second));
    assert_eq!(start(&["--rehash"]).0, "hashed");
    assert_eq!(start(&["--state-dir", "elsewhere"]).0, "hashed");
    assert_eq!(start(&["--state-dir", "elsewhere"]).0, "loaded");
    assert_eq!(fs::read_dir(place.path("elsewhere")).unwrap().count(), 2, "state and tree");
}

#[test]
fn one_state_directory_for_files_of_one_name() {
    let place = Place::new();
    fs::create_dir(place.path("a")).unwrap();
    fs::create_dir(place.path("b")).unwrap();
    place.content("a/m", 100_000);
    place.content("b/m", 50_000);
    let start = |file: &str| {
        let mut seed = place.start(["seed", file, "--listen", "127.0.0.1:0", "--state-dir", "state"]);
        seed.link(); // comes after `opened`
        let how = seed.last("opened").unwrap()["how"].clone();
        (seed, how)
    };
    // Both at once: neither has the other's lock.
    let (one, two) = (start("a/m"), start("b/m"));
    assert_eq!((&one.1, &two.1), (&"hashed".into(), &"hashed".into()));
    drop((one, two));
    assert_eq!((start("a/m").1, start("b/m").1), ("loaded".into(), "loaded".into()));
}

#[test]
fn changed_content_is_an_error_that_names_the_file() {
    let place = Place::new();
    place.content("f", 100_000);
    drop(place.seed("f", &[]));
    let seed = || place.run(["seed", "f", "--listen", "127.0.0.1:0"]);
    damage(&place.path("f"), |bytes| bytes[70_000] ^= 1);
    seed().failed(5, &["f: the file has changed", "chunk 68", "--rehash"]);
    damage(&place.path("f"), |bytes| bytes.push(1));
    seed().failed(5, &["f: the file has changed", "100000 bytes", "100001"]);
    let (_seed, _) = place.seed("f", &["--rehash"]);
}

#[test]
fn content_that_changes_while_it_is_shared_ends_the_seed() {
    let place = Place::new();
    place.content("f", 100_000);
    let (mut seed, _) = place.seed("f", &[]);
    damage(&place.path("f"), |bytes| bytes[5] ^= 1);
    let (code, stderr) = seed.end();
    assert_eq!(code, Some(5), "{stderr}");
    assert_eq!(seed.count("closed"), 1, "{:?}", seed.heard);
    assert!(stderr.contains("f: the file has changed"), "{stderr}");
    assert_eq!(seed.last("error").unwrap()["code"], 5);
}

#[test]
fn a_link_with_a_wrong_length_does_not_spoil_the_right_one() {
    let place = Place::new();
    let bytes = place.content("f", 300_000);
    let (_seed, link) = place.seed("f", &[]);
    assert!(link.contains("cl=300000"), "{link}");
    let get = |link: &str| place.run(["get", link, "-o", "copy", "--listen", "127.0.0.1:0", "--timeout", "2s"]);
    assert_ne!(get(&link.replace("cl=300000", "cl=300001")).code, 0);
    get(&link).succeeded();
    assert_eq!(place.read("copy"), bytes);
}
