//! `info`, `verify`, `config`, `demo`, `bench`; configuration by file and environment.

mod common;

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt, process::Command};

use common::{Place, damage, has_openssl, run};
use rustix::process::Signal;

#[test]
fn info_explains_a_link() {
    let place = Place::new();
    let link =
        "ppsp:47a013e660d408619d894b20806b1d5086aab03b/a%20b.bin?hf=0&cl=13&ia=192.0.2.1:6778&et=http://t.example/";
    let human = place.run(["info", link]);
    human.succeeded();
    for word in [
        "a b.bin",
        "47a013e660d408619d894b20806b1d5086aab03b",
        "13 bytes",
        "sha1",
        "range32",
        "192.0.2.1:6778",
        "http://t.example/",
    ] {
        assert!(human.stdout.contains(word), "{word}: {}", human.stdout);
    }
    let info = place.run(["info", link, "--json"]).event("info");
    assert_eq!((&info["name"], &info["content_length"], &info["chunks"]), (&"a b.bin".into(), &13.into(), &1.into()));
    assert_eq!((&info["hash"], &info["live"]), (&"sha1".into(), &false.into()));
}

#[test]
fn verify_compares() {
    let place = Place::new();
    place.content("f", 100_000);
    let (_seed, link) = place.seed("f", &["--upload-limit", "1GB/s"]);
    place.run(["verify", "f", &link]).succeeded();
    fs::copy(place.path("f"), place.path("g")).unwrap();
    place.run(["verify", "g", &link]).succeeded();
    damage(&place.path("g"), |bytes| bytes[50_000] ^= 1);
    place.run(["verify", "g", &link]).failed(5, &["g: is not the content of the link"]);
    // With the tree of the true content beside it, the place is known.
    fs::copy(place.path("f.ppsp"), place.path("g.ppsp")).unwrap();
    fs::copy(place.path("f.ppsp-tree"), place.path("g.ppsp-tree")).unwrap();
    place.run(["verify", "g", &link]).failed(5, &["chunk 48, from byte 49152 on"]);
    damage(&place.path("g"), |bytes| bytes.truncate(99_999));
    place.run(["verify", "g", &link]).failed(5, &["99999 bytes", "100000"]);
    place.run(["verify", "missing", &link]).failed(1, &["missing: no such file"]);
    let json = place.run(["verify", "f", &link, "--json"]).event("verified");
    assert_eq!(json["bytes"], 100_000);
}

#[test]
fn keys_of_channels() {
    let place = Place::new();
    let kinds = [
        ("p256", "ECDSAP256SHA256", 13, 65, 64),
        ("p384", "ECDSAP384SHA384", 14, 97, 96),
        ("rsa2048", "RSASHA256", 8, 261, 256),
        ("ed25519", "ED25519", 15, 33, 64),
    ];
    for (kind, name, number, id_length, signature_length) in kinds {
        let made = place.run(["key", "new", "--algorithm", kind, "-o", kind, "--json"]).event("key");
        let mode = fs::metadata(place.path(kind)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{kind}");
        let shown = place.run(["key", "show", kind, "--json"]).event("key");
        assert_eq!(made, shown);
        assert_eq!((&shown["algorithm"], &shown["algorithm_number"]), (&name.into(), &number.into()));
        assert_eq!(shown["signature_length"], signature_length);
        let swarm = shown["swarm"].as_str().unwrap();
        assert_eq!((swarm.len(), u8::from_str_radix(&swarm[..2], 16)), (2 * id_length, Ok(number)));
        let human = place.run(["key", "show", kind]);
        human.succeeded();
        for word in [name, swarm, &format!("{signature_length} bytes")] {
            assert!(human.stdout.contains(word), "{word}: {}", human.stdout);
        }
    }
    // P-256 where nothing else is said; another key each time; nothing else lies about.
    let default = place.run(["key", "new", "-o", "default"]);
    default.succeeded();
    let p256 = place.run(["key", "show", "p256"]);
    assert!(default.stdout.contains("ECDSAP256SHA256 (13)") && default.stdout != p256.stdout, "{}", default.stdout);
    let files = fs::read_dir(place.path(".")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(
        files.collect::<BTreeSet<_>>(),
        ["default", "ed25519", "p256", "p384", "rsa2048"].map(String::from).into()
    );

    // Keys of OpenSSL, which has been asked for the same public key.
    if !has_openssl() {
        println!("skipped the rest: openssl is not here");
        return;
    }
    let openssl = |args: &[&str]| {
        let out = Command::new("openssl").args(args).current_dir(place.path(".")).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        out.stdout
    };
    openssl(&["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", "theirs"]);
    let theirs = place.run(["key", "show", "theirs", "--json"]).event("key");
    let public = openssl(&["pkey", "-in", "theirs", "-pubout", "-outform", "DER"]);
    let point: String = public[public.len() - 64..].iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(theirs["swarm"], format!("0d{point}"));
}

#[test]
fn configuration_file() {
    let place = Place::new();
    place.content("f", 10_000);
    let seed = |config: &str| {
        fs::write(place.path("c.toml"), config).unwrap();
        place.run(["seed", "f", "--config", "c.toml"])
    };
    seed("uplode-limit = \"5MiB/s\"").failed(2, &["c.toml", "uplode-limit"]);
    seed("upload-limit = 5").failed(2, &["c.toml", "no unit"]);
    seed("listen = [").failed(2, &["c.toml"]);
    place.run(["seed", "f", "--config", "missing.toml"]).failed(2, &["missing.toml"]);

    let defaults = place.run(["config"]);
    defaults.succeeded();
    fs::write(place.path("d.toml"), &defaults.stdout).unwrap();
    place.run(["info", "ppsp:47a0", "--config", "d.toml"]).failed(2, &["not a usable link"]);
}

#[test]
fn flag_goes_before_environment_before_file() {
    let place = Place::new();
    place.content("f", 10_000);
    fs::write(place.path("c.toml"), "hash = \"sha512\"\nlisten = \"127.0.0.1:0\"\nchunk-size = 2048\njson = true")
        .unwrap();
    let link = |env: Option<&str>, flag: Option<&str>| {
        let mut command = place.command(["seed", "f", "--rehash"]);
        command.env("PPSP_CONFIG", "c.toml");
        env.map(|hash| command.env("PPSP_HASH", hash));
        flag.map(|hash| command.args(["--hash", hash]));
        let mut seed = common::Ppsp::start(command); // JSON, as the file says
        let link = seed.link();
        seed.signal(Signal::INT);
        seed.end();
        link
    };
    assert!(link(None, None).contains("?hf=4&cs=2048&"), "the file");
    assert!(link(Some("sha1"), None).contains("?hf=0&cs=2048&"), "the environment");
    assert!(link(Some("sha1"), Some("sha384")).contains("?hf=3&cs=2048&"), "the flag");
    let mut bad = place.command(["seed", "f"]);
    bad.env("PPSP_UPLOAD_LIMIT", "7");
    run(bad).failed(2, &["'7' has no unit"]);
}

#[test]
fn what_people_see() {
    let place = Place::new();
    place.content("f", 200_000);
    let (_seed, link) = place.seed("f", &[]);
    let got = place.run(["get", &link, "-o", "a", "-v"]);
    got.succeeded();
    assert_eq!(got.stdout, "");
    for word in ["listening on", "is up", "a: complete, 195.31 KiB", "every chunk verified"] {
        assert!(got.stderr.contains(word), "{word}: {}", got.stderr);
    }
    let quiet = place.run(["get", &link, "-o", "b", "-q"]);
    assert_eq!((quiet.code, quiet.stdout.as_str(), quiet.stderr.as_str()), (0, "", ""));
}

/// A demo whose directory is in a place of its own, and whose `PATH` is this.
fn demo(place: &Place, args: &[&str], path: Option<&str>) -> Command {
    fs::create_dir_all(place.path("tmp")).unwrap();
    let mut command = place.command(["demo", "--json"].iter().chain(args));
    command.env("TMPDIR", place.path("tmp"));
    path.map(|path| command.env("PATH", path));
    command
}

#[track_caller]
fn nothing_is_left(place: &Place) {
    assert_eq!(fs::read_dir(place.path("tmp")).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn demo_tells_the_whole_story() {
    let place = Place::new();
    place.content("clip.bin", 700_000);
    let ended = run(demo(&place, &["clip.bin", "--check"], None));
    ended.succeeded();
    let steps: Vec<_> = ended.events().into_iter().filter(|value| value["event"] == "step").collect();
    assert!(steps.iter().any(|step| step["name"] == "bob is refused"), "{steps:?}");
    let demo = ended.event("demo");
    assert_eq!((&demo["verified"], demo["refused"].as_array().unwrap().len()), (&6.into(), 3), "{demo}");
    assert_eq!((&demo["bytes"][5], &demo["watched_bytes"]), (&700_000.into(), &700_000.into()), "{demo}");
    let (server, peers) = (demo["from_server"].as_u64().unwrap(), demo["from_peers"].as_u64().unwrap());
    assert!(server + peers >= 700_000 && peers > 0, "{demo}");
    assert!(demo["first_frame_seconds"].as_f64() > Some(0.0), "{demo}");
    nothing_is_left(&place);
    assert!(!place.exists("clip.bin.ppsp"), "nor beside the file");
}

#[test]
fn demo_that_is_broken_off_cleans_up() {
    let place = Place::new();
    // Without ffmpeg, and without anything to play.
    let mut demo = common::Ppsp::start(demo(&place, &[], Some("")));
    let ready = demo.event("ready");
    assert_eq!(ready["users"].as_array().unwrap().len(), 2, "{ready}");
    assert!(ready["portal"].as_str().unwrap().starts_with("http://127.0.0.1:"), "{ready}");
    demo.signal(Signal::INT);
    assert_eq!(demo.end().0, Some(130));
    nothing_is_left(&place);
    let end = std::time::Instant::now() + common::PATIENCE;
    for pid in pids(&demo) {
        while runs(pid) {
            assert!(std::time::Instant::now() < end, "{pid:?} goes on");
            std::thread::yield_now();
        }
    }
}

/// Is there such a process? One that has ended, and whose new parent has not looked yet, is none.
fn runs(pid: rustix::process::Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| !"ZX".contains(state))
}

fn pids(demo: &common::Ppsp) -> Vec<rustix::process::Pid> {
    let started = demo.heard.iter().filter(|value| value["event"] == "started");
    let pids = started.map(|value| rustix::process::Pid::from_raw(value["pid"].as_i64().unwrap() as i32).unwrap());
    let pids: Vec<_> = pids.collect();
    assert_eq!(pids.len(), 10, "Portal, tracker, media server, six peers, a gateway");
    pids
}

#[test]
fn demo_says_which_of_its_processes_died() {
    let place = Place::new();
    place.content("clip.bin", 300_000);
    let mut demo = common::Ppsp::start(demo(&place, &["clip.bin"], None));
    demo.event("ready");
    rustix::process::kill_process(pids(&demo)[1], Signal::KILL).unwrap();
    assert_eq!(demo.end().0, Some(1));
    let error = demo.last("error").unwrap()["message"].as_str().unwrap().to_owned();
    assert!(error.contains("the tracker process ended with signal: 9"), "{error}");
    nothing_is_left(&place);
}

#[test]
fn demo_says_what_is_wrong_with_what_it_is_given() {
    let place = Place::new();
    let fails = |args: &[&str], path: Option<&str>, code: i32, words: &[&str]| {
        let ended = run(demo(&place, args, path));
        let error = ended.event("error")["message"].as_str().unwrap().to_owned();
        assert_eq!(ended.code, code, "{error}");
        words.iter().for_each(|word| assert!(error.contains(word), "'{word}' is not said: {error}"));
        nothing_is_left(&place);
    };
    fails(&["missing.mp4"], None, 1, &["what is played", "missing.mp4: no such file"]);
    fails(&["."], None, 2, &["neither a video nor a manifest"]);
    fs::write(place.path("empty.bin"), "").unwrap();
    fails(&["empty.bin"], None, 2, &["empty.bin: there is nothing in it"]);
    fs::write(place.path("no.mpd"), "<html/>").unwrap();
    fails(&["no.mpd"], None, 1, &["no.mpd: not a set that can be shared"]);
    let set = "<MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static' mediaPresentationDuration='PT2S'><Period><AdaptationSet>\
               <Representation id='v'><BaseURL>away.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>";
    fs::write(place.path("set.mpd"), set).unwrap();
    fails(&["set.mpd"], None, 1, &["away.mp4: no such file", "Representation 'v'"]);
    // An ffmpeg that can read nothing.
    use std::os::unix::fs::PermissionsExt;
    fs::create_dir(place.path("bin")).unwrap();
    fs::write(place.path("bin/ffmpeg"), "#!/bin/sh\necho 'moov atom not found' >&2\nexit 1\n").unwrap();
    fs::set_permissions(place.path("bin/ffmpeg"), fs::Permissions::from_mode(0o755)).unwrap();
    place.content("clip.mp4", 3000);
    let path = format!("{}:{}", place.path("bin").display(), std::env::var("PATH").unwrap());
    fails(&["clip.mp4"], Some(&path), 1, &["clip.mp4", "moov atom not found"]);
    // Somebody else listens there.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    place.content("clip.bin", 3000);
    fails(&["clip.bin", "--listen", &addr], None, 3, &["a Portal and a tracker", &addr]);
    fails(&["clip.bin", "--listen", "192.0.2.1:80"], None, 2, &["loopback"]);
}

#[test]
fn bench_loopback_measures() {
    let place = Place::new();
    let ended = place.run(["bench", "loopback", "--size", "4MiB", "--dir", ".", "--json"]);
    ended.succeeded();
    let bench = ended.event("bench");
    for key in ["mb_per_s", "cpu_s_per_gib", "seed_cpu_s", "get_cpu_s"] {
        assert!(bench[key].as_f64() > Some(0.0), "{key}: {bench}");
    }
    assert!(bench["peak_rss_mib"].is_number() || !cfg!(target_os = "linux"), "{bench}");
    assert_eq!(bench["verified"], true);
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn bench_tracker_measures() {
    let place = Place::new();
    for tls in [&[][..], &["--tls"]] {
        let args = ["bench", "tracker", "--peers", "300", "--connections", "3", "--seconds", "1", "--json"];
        let ended = place.run(args.iter().chain(tls));
        ended.succeeded();
        let benches: Vec<_> = ended.events().into_iter().filter(|value| value["event"] == "bench").collect();
        assert_eq!(benches.iter().map(|bench| bench["peers"].as_u64()).collect::<Vec<_>>(), [Some(30), Some(300)]);
        for bench in benches {
            for key in ["connect_per_s", "find_per_s", "p50_us", "p99_us"] {
                assert!(bench[key].as_f64() > Some(0.0), "{key}: {bench}");
            }
        }
        assert!(ended.event("bench_summary")["p99_ratio"].as_f64() > Some(0.0));
    }
}

#[test]
fn bench_loopback_takes_parties_stores_and_cores() {
    let place = Place::new();
    for store in ["memory", "file"] {
        let args = ["--size=300KiB", "--dir=.", "--leechers=2", "--repeat=2", "--cores=1", "--store", store, "--json"];
        let ended = place.run(["bench", "loopback"].iter().chain(&args));
        ended.succeeded();
        let benches: Vec<_> = ended.events().into_iter().filter(|value| value["event"] == "bench").collect();
        assert_eq!(benches.len(), 2);
        for bench in benches {
            assert_eq!((&bench["store"], &bench["leechers"], &bench["cores"]), (&store.into(), &2.into(), &1.into()));
            for key in ["mb_per_s", "seed_cpu_s", "get_cpu_s", "datagrams", "run_sent", "run_received"] {
                assert!(bench[key].as_f64() > Some(0.0), "{key}: {bench}");
            }
        }
        let summary = ended.event("bench_summary");
        assert!(summary["lowest"].as_f64() <= summary["highest"].as_f64(), "{summary}");
    }
    place.run(["bench", "loopback", "--cores", "60000"]).failed(2, &["--cores 60000"]);
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn bench_refuses_sizes_that_make_no_sense_and_can_be_broken_off() {
    let place = Place::new();
    place.run(["bench", "loopback", "--dir", ".", "--size", "0"]).failed(2, &["nothing to measure"]);
    place.run(["bench", "loopback", "--dir", ".", "--size", "999999TiB"]).failed(2, &["do not fit", "are free"]);
    let mut bench = place.start(["bench", "loopback", "--dir", ".", "--size", "512MiB", "-v"]);
    bench.event("writing");
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 1);
    bench.signal(Signal::INT);
    assert_eq!(bench.end().0, Some(130));
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn an_empty_environment_variable_is_not_set() {
    let place = Place::new();
    let link = format!("ppsp:{}", "00".repeat(32));
    let mut info = place.command(["info", &link, "-v", "-v"]);
    info.env("PPSP_JSON", "").env("PPSP_QUIET", "").env("PPSP_CONFIG", "");
    let ended = run(info);
    ended.succeeded();
    assert!(ended.stdout.starts_with("name"), "{ended:?}");
}
