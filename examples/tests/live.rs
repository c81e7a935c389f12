//! Live streams cross from process to process.

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    process::{ChildStdin, Command, Stdio},
    thread,
};

use common::{PATIENCE, Place, Ppsp, player::path_of};
use ppsp_core::{
    Link, SwarmMetadata, WindowStore,
    live::LiveSource,
    signature::{PrivateKey, SignatureAlgorithm, Signer},
};
use ppsp_examples::{live::LivePeer, net::Socket};
use ppsp_peer_proto::{EndpointConfig, LiveOptions};
use rustix::process::Signal;

const LOOPBACK: &str = "127.0.0.1:0";

/// A source on the air, its link, and what is written to it.
fn live(place: &Place, more: &[&str]) -> (Ppsp, String, ChildStdin) {
    let args = ["live", "-", "--json", "--listen"];
    let listen: &[&str] = if more.contains(&"--listen") { &[] } else { &[LOOPBACK] };
    let args = if listen.is_empty() { &args[..3] } else { &args[..] };
    let (mut source, stdin) = Ppsp::start_open(place.command(args.iter().chain(listen).chain(more)));
    let link = source.link();
    (source, link, stdin)
}

/// Somebody who watches, and knows this peer only.
fn watch(place: &Place, link: &str, peer: Option<&str>, more: &[&str]) -> (Ppsp, String) {
    let link = match peer {
        Some(_) => link.split("&ia=").next().unwrap(),
        None => link,
    };
    let mut args = vec!["get", link, "--listen", LOOPBACK, "--pex", "off", "--delay", "2s"];
    args.extend(peer.iter().flat_map(|peer| ["--peer", peer]));
    let mut viewer = place.start(args.iter().chain(more));
    let addr = viewer.event("listening")["addr"].as_str().unwrap().to_owned();
    (viewer, addr)
}

fn chunk_of(tuned_in: &serde_json::Value) -> usize {
    tuned_in["chunk"].as_u64().unwrap() as usize * 1024
}

/// A transport stream, as it is made: of ffmpeg's test source, second by second.
fn transport_stream(seconds: &str) -> Option<Command> {
    let here = Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    assert!(here || std::env::var_os("CI").is_none(), "ffmpeg is not here");
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-re", "-f", "lavfi", "-i", "testsrc2=size=320x240:rate=25", "-t", seconds]);
    ffmpeg.args(["-c:v", "mpeg2video", "-g", "1", "-b:v", "2M", "-f", "mpegts", "-"]);
    here.then_some(ffmpeg)
}

/// What a decoder makes of it: a digest of each picture.
fn pictures(file: &std::path::Path) -> Vec<String> {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-i"]).arg(file).args(["-an", "-f", "framemd5", "-"]);
    let out = ffmpeg.output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    let frames = text.lines().filter(|line| !line.starts_with('#'));
    frames.filter_map(|line| line.rsplit(',').next()).map(|digest| digest.trim().to_owned()).collect()
}

/// What a viewer has shown: all from its first byte on, but for what it says it has left out. On a machine that is busy some may be.
fn without_skipped(viewer: &Ppsp, sent: &[u8], from: usize) -> Vec<u8> {
    let (mut shown, mut at) = (Vec::new(), from);
    for gone in viewer.heard.iter().filter(|value| value["event"] == "skipped") {
        let first = gone["first"].as_u64().unwrap() as usize * 1024;
        shown.extend_from_slice(&sent[at..first]);
        at = first + gone["chunks"].as_u64().unwrap() as usize * 1024;
    }
    shown.extend_from_slice(&sent[at..]);
    shown
}

#[test]
fn a_transport_stream_over_three_hops_and_a_gateway() {
    let place = Place::new();
    let Some(mut ffmpeg) = transport_stream("9") else { return eprintln!("skipped: ffmpeg is not here") };
    let (mut source, link, mut stdin) = live(&place, &[]);
    let mut ffmpeg = ffmpeg.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut made = ffmpeg.stdout.take().unwrap();
    let sending = thread::spawn(move || {
        let (mut sent, mut bytes) = (Vec::new(), [0; 4096]);
        loop {
            let len = made.read(&mut bytes).unwrap();
            if len == 0 {
                // The end shows by a short chunk.
                assert!(sent.len() % 1024 != 0, "another length, please");
                return sent;
            }
            stdin.write_all(&bytes[..len]).unwrap();
            sent.extend_from_slice(&bytes[..len]);
        }
    });
    let (first, addr) = watch(&place, &link, None, &["-o", "1.ts"]);
    let (second, addr) = watch(&place, &link, Some(&addr), &["-o", "2.ts"]);
    let (third, _) = watch(&place, &link, Some(&addr), &["-o", "3.ts"]);
    let mut gateway = place.start(["gateway", "--listen", LOOPBACK, "--udp", LOOPBACK, "--cache", "c", &link]);
    let addr = gateway.event("gateway")["addr"].as_str().unwrap().to_owned();
    let path = path_of(&gateway.event("playable"));
    gateway.event("ready");

    let refused = ask(&addr, &path, "Range: bytes=100-\r\n");
    assert!(refused.0.starts_with("HTTP/1.1 416") && refused.1.starts_with(b"this is a live stream"), "{}", refused.0);
    let (head, seen) = ask(&addr, &path, "Range: bytes=0-\r\n");
    let lower = head.to_lowercase();
    assert!(head.starts_with("HTTP/1.1 200") && lower.contains("content-type: video/mp2t"), "{head}");
    assert!(lower.contains("transfer-encoding: chunked") && !lower.contains("content-length"), "{head}");

    let sent = sending.join().unwrap();
    ffmpeg.wait().unwrap();
    assert!(
        !seen.is_empty() && sent.ends_with(&seen),
        "{} of {} bytes at the gateway's player",
        seen.len(),
        sent.len()
    );
    fs::write(place.path("sent.ts"), &sent).unwrap();
    let all = pictures(&place.path("sent.ts"));
    for (mut viewer, file) in [(first, "1.ts"), (second, "2.ts"), (third, "3.ts")] {
        let (code, stderr) = viewer.end();
        assert_eq!(code, Some(0), "{file}: {stderr}");
        let from = chunk_of(viewer.last("tuned_in").unwrap());
        assert!(place.read(file) == without_skipped(&viewer, &sent, from), "{file}");
        if viewer.count("skipped") == 0 {
            // The picture that tuning in cut through is none.
            let seen = pictures(&place.path(file));
            assert!(seen.len() > 25 && all.ends_with(&seen[1..]), "{file}: {} of {} pictures", seen.len(), all.len());
        }
    }
    let ended = source.event("ended");
    assert_eq!(ended["bytes"], sent.len());
}

/// Asks for a live stream and reads it to its end.
fn ask(addr: &str, path: &str, more: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{more}\r\n").unwrap();
    let mut stream = BufReader::new(stream);
    let (mut head, mut body) = (String::new(), Vec::new());
    while !head.ends_with("\r\n\r\n") {
        stream.read_line(&mut head).unwrap();
    }
    if !head.to_lowercase().contains("transfer-encoding: chunked") {
        stream.read_to_end(&mut body).unwrap();
        return (head, body);
    }
    loop {
        let mut size = String::new();
        stream.read_line(&mut size).unwrap();
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut piece = vec![0; size + 2];
        stream.read_exact(&mut piece).unwrap();
        if size == 0 {
            return (head, body);
        }
        body.extend_from_slice(&piece[..size]);
    }
}

#[test]
fn a_source_goes_on_where_it_was() {
    let place = Place::new();
    place.run(["key", "new", "-o", "key"]).succeeded();
    let bytes = place.content("bytes", 256 * 1024);
    let (mut source, link, mut stdin) = live(&place, &["--key", "key"]);
    assert_eq!(source.last("link").unwrap()["first_chunk"], 0);
    let (mut viewer, _) = watch(&place, &link, None, &["-o", "seen"]);
    viewer.wait("the source", |value| value["event"] == "peer" && value["state"] == "up");
    // Five munros, and a part of one that is lost.
    stdin.write_all(&bytes[..170 * 1024]).unwrap();
    let from = chunk_of(&viewer.event("tuned_in"));
    source.wait("all of it", |value| value["event"] == "progress" && value["bytes"] == 170 * 1024);
    // The key has one source at a time.
    place.run(["live", "bytes", "--key", "key"]).failed(1, &["key", "one at a time"]);
    viewer.held((160 * 1024 - from) as u64);
    let addr = source.last("listening").unwrap()["addr"].as_str().unwrap().to_owned();
    // Without a word to those who watch.
    source.kill();
    drop(stdin);

    let (mut source, again, mut stdin) = live(&place, &["--key", "key", "--listen", &addr]);
    assert_eq!(again, link);
    assert_eq!(source.last("link").unwrap()["first_chunk"], 160);
    stdin.write_all(&bytes[170 * 1024..200 * 1024 + 5]).unwrap();
    drop(stdin);
    source.event("ended");
    let (code, stderr) = viewer.end();
    assert_eq!(code, Some(0), "{stderr}");
    let seen = place.read("seen");
    assert!(seen == [&bytes[from..160 * 1024], &bytes[170 * 1024..200 * 1024 + 5]].concat(), "{} bytes", seen.len());
    source.signal(Signal::INT);
    assert_eq!(source.end().0, Some(130));

    // Also behind an end.
    let (mut source, _, mut stdin) = live(&place, &["--key", "key"]);
    assert_eq!(source.last("link").unwrap()["first_chunk"], 192);
    stdin.write_all(&bytes[..65 * 1024]).unwrap();
    source.wait("all of it", |value| value["event"] == "progress" && value["bytes"] == 65 * 1024);
    source.kill();
    let (source, _, _stdin) = live(&place, &["--key", "key"]);
    assert_eq!(source.last("link").unwrap()["first_chunk"], 256);
}

#[test]
fn each_chunk_may_be_signed() {
    let place = Place::new();
    let bytes = place.content("bytes", 150 * 1024 + 7);
    let (mut source, link, mut stdin) = live(&place, &["--integrity", "sign-all"]);
    // RFC 7574 Table 4: the link says which method it is.
    assert!(link.contains("cp=2"), "{link}");
    let (mut viewer, _) = watch(&place, &link, None, &["-o", "seen"]);
    viewer.wait("the source", |value| value["event"] == "peer" && value["state"] == "up");
    // A chunk is there at once: no munro has to be full.
    stdin.write_all(&bytes[..3 * 1024]).unwrap();
    let from = chunk_of(&viewer.event("tuned_in"));
    stdin.write_all(&bytes[3 * 1024..]).unwrap();
    drop(stdin);
    source.event("ended");
    let (code, stderr) = viewer.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(place.read("seen") == bytes[from..], "{} bytes from {from}", place.read("seen").len());
    source.signal(Signal::INT);
    assert_eq!(source.end().0, Some(130));
}

#[test]
fn a_recorder_makes_on_demand_content_of_it() {
    let place = Place::new();
    let bytes = place.content("bytes", 300 * 1024 + 77);
    let (mut source, link, mut stdin) = live(&place, &[]);
    let key = place.path(".local/state/ppsp/live.key");
    assert_eq!(fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    stdin.write_all(&bytes[..100 * 1024]).unwrap();
    // It comes late, and keeps what came before.
    let (mut recorder, _) = watch(&place, &link, None, &["--record", "show.ts", "--seed-after"]);
    recorder.event("tuned_in");
    stdin.write_all(&bytes[100 * 1024..]).unwrap();
    drop(stdin);
    let root = source.event("ended")["root"].clone();
    let recorded = recorder.event("recorded");
    assert_eq!((&recorded["swarm"], &recorded["missing"]), (&root, &0.into()));
    assert_eq!(recorder.event("opened")["how"], "loaded", "nothing is hashed again");
    let whole = recorder.link();
    let got = place.run(["get", &whole, "-o", "copy", "--listen", LOOPBACK]);
    got.succeeded();
    assert!(place.read("copy") == bytes && place.read("show.ts") == bytes);
    recorder.signal(Signal::INT);
    assert_eq!(recorder.end().0, Some(130));
    let (mut seed, again) = place.seed("show.ts", &[]);
    assert_eq!(seed.last("opened").unwrap()["how"], "loaded");
    assert_eq!(again.split('?').next(), whole.split('?').next());
    seed.signal(Signal::INT);
    seed.end();
}

#[test]
fn what_cannot_be_is_said() {
    let place = Place::new();
    place.content("bytes", 5000);
    place.run(["key", "new", "-o", "key"]).succeeded();
    place.run(["live", "--key", "key", "--listen", LOOPBACK]).failed(1, &["ended before its first byte"]);
    place.run(["live", "nowhere", "--key", "key"]).failed(1, &["nowhere", "cannot read"]);
    fs::set_permissions(place.path("bytes"), fs::Permissions::from_mode(0o600)).unwrap();
    place.run(["live", "bytes", "--key", "bytes"]).failed(2, &["bytes", "private key"]);
    place.run(["live", "bytes", "--key", "key", "--chunks-per-signature", "3"]).failed(2, &["power of two"]);
    let both = ["live", "bytes", "--key", "key", "--integrity", "sign-all", "--chunks-per-signature", "8"];
    place.run(both).failed(2, &["each chunk is signed", "--chunks-per-signature"]);
    place.run(["live", "bytes", "--key", "key", "--integrity", "none"]).failed(2, &["unified-merkle-tree, sign-all"]);
    place.run(["live", "bytes", "--key", "key", "--window", "1KB"]).failed(2, &["--window", "too little"]);
    fs::set_permissions(place.path("key"), fs::Permissions::from_mode(0o644)).unwrap();
    place.run(["live", "bytes", "--key", "key"]).failed(1, &["other users", "chmod 600"]);
    fs::set_permissions(place.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(place.path("key.place"), "what?").unwrap();
    place.run(["live", "bytes", "--key", "key"]).failed(1, &["key.place", "how far the stream has come"]);
    // Two munros from the end of what can be named.
    fs::write(place.path("key.place"), format!("{:020} off-air\n", (1_u64 << 32) - 64)).unwrap();
    let place_of = |chunks: u64| assert!(place.read("key.place").starts_with(format!("{chunks:020}").as_bytes()));
    let (mut source, link, mut stdin) = live(&place, &["--key", "key", "--addressing", "range32"]);
    _ = stdin.write_all(&[7; 80 * 1024]);
    let warned = source.event("warning")["message"].as_str().unwrap().to_owned();
    assert!(warned.contains("can name no more chunks"), "{warned}");
    source.event("ended");
    source.kill();
    place_of(1 << 32);

    let get = |more: &[&str]| place.run(["get", &link, "--listen", LOOPBACK].iter().chain(more));
    get(&[]).failed(2, &["no end", "--record"]);
    get(&["-o", "-", "--json"]).failed(2, &["--json"]);
    get(&["-o", "bytes"]).failed(1, &["bytes", "not written over"]);
    get(&["--record", "bytes"]).failed(1, &["bytes", "not written over"]);
    get(&["-o", "new", "--timeout", "1s"]).failed(3, &["no peer answered"]);
    let (_seed, file) = place.seed("bytes", &[]);
    place.run(["get", &file, "-o", "other", "--record", "x"]).failed(2, &["--record", "live streams"]);
    place.run(["verify", "bytes", &link]).failed(2, &["live"]);
}

#[test]
fn a_clock_that_is_hours_off_is_told_from_silence() {
    let place = Place::new();
    let key = PrivateKey::generate(SignatureAlgorithm::Ed25519, &[1; 32]).unwrap();
    let metadata = SwarmMetadata::of_key(key.public_key());
    let socket = Socket::bind_group(LOOPBACK.parse().unwrap(), 1).unwrap().remove(0);
    let mut link = Link::new(metadata.clone());
    link.peers.push(socket.local_addr().unwrap());
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut options = LiveOptions::default();
            options.source = Some(LiveSource::new(&metadata, Default::default(), 32, Box::new(key)).unwrap());
            options.unix_offset = -3 * 3600 * 1_000_000;
            let config = EndpointConfig::default();
            let mut peer = LivePeer::open(socket, config, &metadata, options, Box::new(WindowStore::new())).unwrap();
            (0..64).for_each(|_| peer.push(&[1; 1024]).unwrap());
            loop {
                peer.turn().await.unwrap();
            }
        })
    });
    let got = place.run(["get", &link.to_string(), "-o", "x", "--listen", LOOPBACK, "--timeout", "2s"]);
    got.failed(3, &["clock of this machine", "UTC"]);
}
