//! What people get wrong: a sentence that names the thing, the documented exit code, nothing half-written.

mod common;

use std::{fs, net::UdpSocket, os::unix::fs::PermissionsExt};

use common::Place;

const LINK: &str = "ppsp:47a013e660d408619d894b20806b1d5086aab03b47a013e660d408619d894b20/f";

#[test]
fn usage() {
    let place = Place::new();
    place.run(["seed"]).failed(2, &["<FILE>"]);
    place.run(["frobnicate"]).failed(2, &["frobnicate"]);
    place.run(["seed", "f", "--upload-limit", "5"]).failed(2, &["'5' has no unit", "5MiB/s"]);
    place.run(["seed", "f", "--upload-limit", "5 parsec/s"]).failed(2, &["parsec"]);
    place.run(["seed", "f", "--hash", "md5"]).failed(2, &["md5", "sha256"]);
    place.run(["seed", "f", "--addressing", "street"]).failed(2, &["street", "range32"]);
    place.run(["seed", "f", "--listen", "here"]).failed(2, &["'here'", "[::]:6778"]);
    place.run(["seed", "f", "--max-peers", "0"]).failed(2, &["0"]);
    place.run(["get", LINK, "--peer", "192.0.2.1"]).failed(2, &["'192.0.2.1'", "HOST:PORT"]);
    place.run(["get", LINK, "--seed-after=90"]).failed(2, &["'90' has no unit"]);
    let help = place.run(["get", "--help"]);
    help.succeeded();
    for code in ["0  done", "1  failure", "2  usage", "3  network", "5  integrity", "130  interrupted"] {
        assert!(help.stdout.contains(code), "{code}");
    }
}

#[test]
fn files_that_cannot_be_shared() {
    let place = Place::new();
    let seed = |file: &str| place.run(["seed", file, "--listen", "127.0.0.1:0"]);
    seed("missing.mp4").failed(1, &["missing.mp4: no such file"]);
    fs::create_dir(place.path("dir")).unwrap();
    seed("dir").failed(1, &["dir: not a regular file"]);
    place.content("f", 1000);
    place.run(["seed", "f", "--chunk-size", "100"]).failed(2, &["chunk size", "512"]);
    place.run(["seed", "f", "--chunk-size", "1GiB"]).failed(2, &["chunk size"]);
    place.run(["seed", "f", "--chunk-size", "5", "--state-dir", "state"]).failed(2, &["chunk size"]);
    assert!(!place.exists("f.ppsp") && !place.exists("f.ppsp-tree"));
    assert_eq!(fs::read_dir(place.path("state")).unwrap().count(), 0);

    if rustix::process::geteuid().is_root() {
        println!("skipped the rest: root may read and write everything");
        return;
    }
    fs::set_permissions(place.path("f"), fs::Permissions::from_mode(0o000)).unwrap();
    seed("f").failed(1, &["f: cannot read", "denied"]);
}

#[test]
fn keys_that_cannot_be_used() {
    let place = Place::new();
    let show = |file: &str| place.run(["key", "show", file]);
    let private = |file: &str, text: &str| {
        fs::write(place.path(file), text).unwrap();
        fs::set_permissions(place.path(file), fs::Permissions::from_mode(0o600)).unwrap();
    };
    place.run(["key", "new"]).failed(2, &["--output"]);
    place.run(["key", "new", "-o", "k", "--algorithm", "dsa"]).failed(2, &["dsa", "p256", "ed25519"]);
    place.run(["key", "new", "-o", "nowhere/k"]).failed(1, &["nowhere/k: cannot write the key", "not found"]);
    assert!(!place.exists("k"));

    place.run(["key", "new", "-o", "k"]).succeeded();
    let before = place.read("k");
    place.run(["key", "new", "-o", "k"]).failed(1, &["k: is there already", "--output"]);
    assert_eq!(place.read("k"), before);
    assert_eq!(fs::read_dir(place.path(".")).unwrap().count(), 1);

    for mode in [0o640, 0o604, 0o620] {
        fs::set_permissions(place.path("k"), fs::Permissions::from_mode(mode)).unwrap();
        show("k").failed(1, &["k: other users", "chmod 600 k"]);
    }
    show("missing").failed(1, &["missing: no such file", "ppsp key new"]);
    fs::create_dir(place.path("dir")).unwrap();
    show("dir").failed(1, &["dir: not a regular file"]);

    let pem = |label: &str, base64: &str| format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n");
    private("text", "ppsp:");
    show("text").failed(2, &["text: this is no private key in PEM"]);
    fs::write(place.path("text"), [0xff; 100]).unwrap();
    show("text").failed(2, &["text: this is no private key in PEM"]);
    fs::write(place.path("text"), " ".repeat(1 << 20)).unwrap();
    show("text").failed(2, &["text: this is no private key in PEM"]);
    private("public", &pem("PUBLIC KEY", "MAA="));
    show("public").failed(2, &["this is a PUBLIC KEY", "a PRIVATE KEY is needed"]);
    private("old", &pem("EC PRIVATE KEY", "MAA="));
    show("old").failed(2, &["not in PKCS #8", "openssl pkcs8 -topk8"]);
    private("locked", &pem("ENCRYPTED PRIVATE KEY", "MAA="));
    show("locked").failed(2, &["encrypted", "openssl pkcs8"]);
    // X25519, which is for agreeing on keys.
    private("x25519", &pem("PRIVATE KEY", "MC4CAQAwBQYDK2VuBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH"));
    show("x25519").failed(2, &["another kind (1.3.101.110)", "P-256"]);
    private("cut", &String::from_utf8_lossy(&before).replacen("M", "N", 1));
    show("cut").failed(2, &["cut: the private key is damaged"]);
}

#[test]
fn links_that_make_no_sense() {
    let place = Place::new();
    let get = |link: &str| place.run(["get", link]);
    get("").failed(2, &["ppsp:"]);
    get("http://example.org/f").failed(2, &["not the URL of content"]);
    // That could be an identifier in a catalogue.
    get("hello").failed(4, &["nobody is signed in", "ppsp login"]);
    for link in ["", "hello", "http://example.org/f"] {
        assert_eq!(place.run(["info", link]).code, 2, "{link}");
        assert_eq!(place.run(["verify", "f", link]).code, 2, "{link}");
    }
    for link in ["ppsp:", "ppsp:xyz", "ppsp:47a0", &format!("{LINK}?cs=1")] {
        let ended = get(link);
        ended.failed(2, &["not a usable link"]);
        assert_eq!(place.run(["info", link]).code, 2, "{link}");
        assert_eq!(place.run(["verify", "f", link]).code, 2, "{link}");
    }
    get(&format!("{LINK}?v=9")).failed(2, &["version 9"]);
    let live = "ppsp:0d47a013e660d408619d894b20806b1d5086aab03b/channel?cp=3&ia=127.0.0.1:9";
    get(live).failed(2, &["live"]);
    let nameless = format!("{}?ia=127.0.0.1:9", LINK.trim_end_matches("/f"));
    get(&nameless).failed(2, &["--output"]);
    let sly = format!("{}/..%2F..%2Fetc%2Fpasswd?ia=127.0.0.1:9", LINK.trim_end_matches("/f"));
    get(&sly).failed(2, &["--output"]);
}

#[test]
fn nobody_to_ask() {
    let place = Place::new();
    place.run(["get", LINK]).failed(3, &["no peer and no tracker", "--peer"]);
    place.run(["get", &format!("{LINK}?et=http://example.org/t")]).failed(3, &["http://example.org/t"]);
    place.run(["get", LINK, "--peer", "no-such-host.invalid:6778"]).failed(3, &["no-such-host.invalid"]);
    // Somebody who is there and does not answer.
    let deaf = UdpSocket::bind("127.0.0.1:0").unwrap();
    let link = format!("{LINK}?ia={}", deaf.local_addr().unwrap());
    let ended = place.run(["get", &link, "--timeout", "1s"]);
    ended.failed(3, &["no peer answered for 1 s", &deaf.local_addr().unwrap().to_string()]);
    assert_eq!(fs::read_dir(place.path("")).unwrap().count(), 0, "nothing is left behind");
}

#[test]
fn peers_that_share_other_content() {
    let place = Place::new();
    place.content("f", 50_000);
    let (_seed, link) = place.seed("f", &[]);
    let addr = link.rsplit("ia=").next().unwrap();
    let ended = place.run(["get", LINK, "-o", "other", "--peer", addr, "--timeout", "1500ms"]);
    ended.failed(3, &["no peer", addr]);
}

#[test]
fn ports_in_use() {
    let place = Place::new();
    place.content("f", 1000);
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    place.run(["seed", "f", "--listen", &addr]).failed(3, &["cannot listen on", &addr, "another program"]);
    assert!(!place.exists("f.ppsp"), "found out before hashing");
    place.run(["get", &format!("{LINK}?ia=127.0.0.1:9"), "--listen", &addr]).failed(3, &[&addr]);
    place.run(["seed", "f", "--listen", "192.0.2.1:0"]).failed(3, &["192.0.2.1:0"]);
}

#[test]
fn files_in_the_way() {
    let place = Place::new();
    place.content("f", 50_000);
    let (_seed, link) = place.seed("f", &[]);
    let get = |output: &str| place.run(["get", &link, "-o", output]);

    fs::write(place.path("notes.txt"), "mine").unwrap();
    get("notes.txt").failed(1, &["notes.txt: exists already", "--output"]);
    assert_eq!(place.read("notes.txt"), b"mine");
    // The same length, so that only the hash tells.
    let other = place.content("other", 50_000 - 1);
    fs::write(place.path("twin"), [&other[..], b"x"].concat()).unwrap();
    get("twin").failed(1, &["twin: exists already"]);
    fs::write(place.path("browser.part"), "half a page").unwrap();
    get("browser").failed(1, &["browser.part: exists already"]);
    assert_eq!(place.read("browser.part"), b"half a page");

    for name in ["notes.txt", "twin", "browser"] {
        assert!(!place.exists(&format!("{name}.ppsp")) && !place.exists(&format!("{name}.ppsp-tree")), "{name}");
    }

    get("no/such/dir/f").failed(1, &["no/such/dir"]);
    // The seed's own file: another process works on it.
    get("f").failed(1, &["f: another ppsp process"]);
    let seed = place.run(["seed", "f", "--listen", "127.0.0.1:0"]);
    seed.failed(1, &["f: another ppsp process"]);

    // A directory means: the link's name in it.
    fs::create_dir(place.path("dir")).unwrap();
    get("dir").succeeded();
    assert_eq!(place.read("dir/f"), place.read("f"));
}

#[test]
fn a_link_for_other_content() {
    let place = Place::new();
    place.content("f", 50_000);
    place.content("g", 60_000);
    let (_one, f) = place.seed("f", &[]);
    let (_two, g) = place.seed("g", &[]);
    place.run(["get", &f, "-o", "copy"]).succeeded();
    let swarm = &f["ppsp:".len()..][..64];
    place.run(["get", &g, "-o", "copy"]).failed(5, &["copy.ppsp: belongs to other content", swarm, "--output"]);
    assert_eq!(place.read("copy"), place.read("f"));
}

#[test]
fn errors_are_events_too() {
    let place = Place::new();
    let ended = place.run(["get", LINK, "--json"]);
    assert_eq!(ended.code, 3);
    let error = ended.event("error");
    assert_eq!(error["code"], 3);
    assert!(error["message"].as_str().unwrap().contains("no peer"));
}

#[test]
fn files_and_names_in_the_way() {
    let place = Place::new();
    let get = |output: &str| place.run(["get", LINK, "--peer", "127.0.0.1:9", "-o", output]);
    fs::write(place.path("q.part"), b"a browser's").unwrap();
    get("q").failed(1, &["q.part: exists already", "delete q.part to begin anew", "--output"]);
    get("nodir/").failed(1, &["nodir/: no such directory"]);
    std::os::unix::fs::symlink("nowhere", place.path("dangling")).unwrap();
    get("dangling").failed(1, &["dangling: is a symbolic link"]);
    fs::write(place.path("mine.ppsp"), b"a powerpoint").unwrap();
    get("mine").failed(1, &["mine.ppsp: is not a state file", "--state-dir"]);
    place.content("mine", 1000);
    place.run(["seed", "mine", "--listen", "127.0.0.1:0"]).failed(1, &["mine.ppsp: is not a state file"]);
    assert_eq!(place.read("mine.ppsp"), b"a powerpoint");
    assert_eq!(place.read("q.part"), b"a browser's");
}

#[test]
fn file_names_that_are_not_utf8() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let place = Place::new();
    let bytes = place.content("f", 5000);
    let (name, copy) = (OsStr::from_bytes(b"a\xff"), OsStr::from_bytes(b"copy\xff"));
    fs::rename(place.path("f"), place.path("").join(name)).unwrap();
    let mut seed = place.start([OsStr::new("seed"), name, OsStr::new("-l"), OsStr::new("127.0.0.1:0")]);
    let link = seed.link();
    let got = place.run([OsStr::new("get"), OsStr::new(&link), OsStr::new("-o"), copy, OsStr::new("--json")]);
    got.succeeded();
    assert_eq!(fs::read(place.path("").join(copy)).unwrap(), bytes);
}

#[test]
fn a_link_does_not_speak_to_the_terminal() {
    let place = Place::new();
    let link = format!("ppsp:{}/a%1b%5b2J?et=%1b%5b31mred%0a%e2%80%ae", "00".repeat(32));
    let info = place.run(["info", &link]);
    info.succeeded();
    let get = place.run(["get", &link, "-o", "x"]);
    get.failed(3, &[r"\u{1b}[31mred\n\u{202e}", "no tracker"]);
    for text in [&info.stdout, &get.stderr] {
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
    }
    let wrong = place.run(["info", &format!("{link}&cs=%1b%5b31m%e2%80%ae")]);
    wrong.failed(2, &["cs"]);
    assert!(!wrong.stderr.contains(['\u{1b}', '\u{202e}']), "{wrong:?}");
}
