//! Live streams cross from process to process.

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::fs::PermissionsExt,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread,
};

use common::{
    PATIENCE, Place, Ppsp,
    player::{ask, path_of},
};
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

// A stream of whole chunks, too: what is empty in its last munro proves it.
#[test]
fn the_end_of_a_stream_of_whole_chunks_is_seen() {
    let place = Place::new();
    let bytes = place.content("bytes", 75 * 1024);
    let (mut source, link, mut stdin) = live(&place, &[]);
    stdin.write_all(&bytes[..64 * 1024]).unwrap();
    // Who takes the silence for the end would have to be silent for long.
    let (mut viewer, _) = watch(&place, &link, None, &["-o", "seen", "--timeout", "1h"]);
    let (mut recorder, _) = watch(&place, &link, None, &["--record", "kept", "--timeout", "1h"]);
    viewer.event("tuned_in");
    recorder.event("tuned_in");
    stdin.write_all(&bytes[64 * 1024..]).unwrap();
    drop(stdin);
    let root = source.event("ended")["root"].clone();
    let (code, stderr) = recorder.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(recorder.last("recorded").unwrap()["swarm"], root);
    assert!(place.read("kept") == bytes);
    assert_eq!(viewer.end().0, Some(0));
    let seen = place.read("seen");
    assert!(!seen.is_empty() && bytes.ends_with(&seen), "{} bytes", seen.len());
    // Nobody is connected any more: the source has nothing to wait for.
    assert_eq!(source.end().0, Some(0));
}

#[test]
fn a_source_that_records_has_on_demand_content_in_the_end() {
    let place = Place::new();
    let bytes = place.content("bytes", 100 * 1024 + 1);
    let (mut source, _, mut stdin) = live(&place, &["--record", "show.ts", "--window", "128KiB"]);
    stdin.write_all(&bytes[..50 * 1024]).unwrap();
    source.wait("some", |value| value["event"] == "progress" && value["bytes"] == 50 * 1024);
    assert!(place.exists("show.ts.part"), "it grows");
    stdin.write_all(&bytes[50 * 1024..]).unwrap();
    drop(stdin);
    let root = source.event("ended")["root"].clone();
    let (code, stderr) = source.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(source.last("recorded").unwrap()["swarm"], root);
    assert_eq!(source.last("opened").unwrap()["how"], "loaded", "nothing is hashed again");
    assert!(place.read("show.ts") == bytes);
    let link = source.last("link").unwrap()["link"].as_str().unwrap().to_owned();
    let (mut seed, again) = place.seed("show.ts", &[]);
    assert_eq!(seed.last("opened").unwrap()["how"], "loaded");
    assert_eq!(again.split('?').next(), link.split('?').next());
    seed.signal(Signal::INT);
    seed.end();

    // Whatever ends it, what is there is kept.
    let (mut source, _, mut stdin) = live(&place, &["--record", "cut.ts"]);
    stdin.write_all(&bytes[..40 * 1024]).unwrap();
    source.wait("some", |value| value["event"] == "progress" && value["bytes"] == 40 * 1024);
    source.signal(Signal::INT);
    assert_eq!(source.end().0, Some(130));
    assert_eq!(source.last("recorded").unwrap()["bytes"], 40 * 1024);
    assert!(place.read("cut.ts") == bytes[..40 * 1024]);
    place.run(["live", "bytes", "--record", "cut.ts"]).failed(1, &["cut.ts", "not written over"]);
}

/// The number that stands behind this in a page of counters.
fn count(page: &str, name: &str) -> f64 {
    let found = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {name}: {page}")).parse().unwrap()
}

/// How the stream stands at a process that shows its counters, once that is as it should be.
fn status_of(metrics: &serde_json::Value, wanted: impl Fn(&serde_json::Value) -> bool) -> serde_json::Value {
    let addr = path_and_addr(metrics).0;
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let (head, body) = ask(&addr, "/status", "");
        if head.starts_with("HTTP/1.1 200") {
            let status: serde_json::Value = serde_json::from_slice(&body).unwrap();
            let swarm = status["swarms"][0].clone();
            if wanted(&swarm) {
                return swarm;
            }
        }
        assert!(std::time::Instant::now() < end, "{head} {}", String::from_utf8_lossy(&body));
        thread::yield_now();
    }
}

fn path_and_addr(metrics: &serde_json::Value) -> (String, String) {
    let url = metrics["url"].as_str().unwrap();
    let (addr, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    (addr.to_owned(), format!("/{path}"))
}

fn counters_of(metrics: &serde_json::Value) -> String {
    let (addr, path) = path_and_addr(metrics);
    String::from_utf8(ask(&addr, &path, "").1).unwrap()
}

#[test]
fn how_a_stream_stands_is_counted_at_both_ends() {
    let place = Place::new();
    let bytes = place.content("bytes", 200 * 1024 + 9);
    let shows = ["--metrics-listen", LOOPBACK];
    let (source, link, mut stdin) = live(&place, &["--metrics-listen", LOOPBACK, "--window", "128KiB"]);
    let at_source = source.last("metrics").unwrap().clone();
    stdin.write_all(&bytes[..100 * 1024]).unwrap();
    let (mut viewer, _) = watch(&place, &link, None, &["-o", "seen", "--record", "kept", shows[0], shows[1]]);
    let at_viewer = viewer.last("metrics").unwrap().clone();
    let first = viewer.event("tuned_in")["chunk"].clone();
    let swarm = status_of(&at_viewer, |swarm| swarm["live"]["recorded_bytes"] == 96 * 1024);
    assert_eq!(swarm["swarm"], link[5..].split(['?', '/']).next().unwrap());
    let stands = &swarm["live"];
    assert_eq!((&stands["edge"], &stands["first"], &stands["ended"]), (&96.into(), &first, &false.into()));
    assert_eq!((&stands["window_first"], &stands["window_chunks"]), (&0.into(), &96.into()));
    assert_eq!(stands["two_sources"], false);
    assert!(stands["behind_seconds"].as_f64().is_some() && swarm["peers"][0]["up"] == true, "{swarm}");

    stdin.write_all(&bytes[100 * 1024..190 * 1024]).unwrap();
    let swarm = status_of(&at_source, |swarm| swarm["live"]["edge"] == 160 && swarm["live"]["window_chunks"] == 128);
    let stands = &swarm["live"];
    assert_eq!((&stands["window_first"], &stands["first"]), (&32.into(), &0.into()), "the window has moved on");
    assert_eq!((&stands["recorded_bytes"], &stands["next"]), (&serde_json::Value::Null, &serde_json::Value::Null));
    let page = counters_of(&at_source);
    let seen =
        ["streams", "edge_chunks", "window_chunks", "two_sources"].map(|n| count(&page, &format!("ppsp_live_{n}")));
    assert_eq!(seen, [1.0, 160.0, 128.0, 0.0], "{page}");
    assert_eq!(count(&page, "ppsp_connections"), 1.0);

    status_of(&at_viewer, |swarm| swarm["live"]["recorded_bytes"] == 160 * 1024);
    let page = counters_of(&at_viewer);
    assert_eq!(count(&page, "ppsp_live_first_chunk"), first.as_f64().unwrap());
    assert_eq!(count(&page, "ppsp_live_recorded_bytes_total"), 163_840.0);
    for name in ["stalls_total", "skipped_chunks_total", "behind_seconds"] {
        count(&page, &format!("ppsp_live_{name}"));
    }
    assert_eq!(count(&page, "ppsp_chunks_total{result=\"good\"}"), 160.0);
    drop(stdin);
    let (code, stderr) = viewer.end();
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(ask(&path_and_addr(&at_source).0, "/elsewhere", "").0.split(' ').nth(1), Some("404"));
}

#[test]
fn two_sources_with_one_key_are_told() {
    let place = Place::new();
    place.run(["key", "new", "-o", "key"]).succeeded();
    // What keeps a second source away is the file: a copy of it is another one.
    fs::copy(place.path("key"), place.path("copy")).unwrap();
    let (_first, link, mut one) = live(&place, &["--key", "key"]);
    let (second, same, mut other) = live(&place, &["--key", "copy"]);
    assert_eq!(link.split('?').next(), same.split('?').next());
    let addr = second.last("listening").unwrap()["addr"].as_str().unwrap();
    let args = ["get", &link, "--peer", addr, "--listen", LOOPBACK, "-o", "seen", "--metrics-listen", LOOPBACK];
    let mut viewer = place.start(args);
    let metrics = viewer.event("metrics");
    one.write_all(&[1; 64 * 1024]).unwrap();
    other.write_all(&[2; 64 * 1024]).unwrap();
    let warned = viewer.event("warning")["message"].as_str().unwrap().to_owned();
    assert!(warned.contains("two sources"), "{warned}");
    status_of(&metrics, |swarm| swarm["live"]["two_sources"] == true);
    assert_eq!(count(&counters_of(&metrics), "ppsp_live_two_sources"), 1.0);
}

/// Bytes that a process has in memory.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// A viewer, what it has shown or left out, and who waits for that.
struct Shown {
    process: Child,
    bytes: Arc<(Mutex<u64>, Condvar)>,
}

impl Shown {
    fn start(mut command: Command) -> Self {
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let bytes = Arc::<(Mutex<u64>, Condvar)>::default();
        let add = |count: u64, to: &(Mutex<u64>, Condvar)| {
            *to.0.lock().unwrap() += count;
            to.1.notify_all();
        };
        let (mut stdout, shown) = (process.stdout.take().unwrap(), Arc::clone(&bytes));
        thread::spawn(move || {
            let mut piece = vec![0; 1 << 16];
            while let Ok(len @ 1..) = stdout.read(&mut piece) {
                add(len as u64, &shown);
            }
        });
        let (stderr, left_out) = (BufReader::new(process.stderr.take().unwrap()), Arc::clone(&bytes));
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some(chunks) = line.strip_prefix("left out: ").and_then(|rest| rest.split(' ').next()) {
                    add(chunks.parse::<u64>().unwrap() * 1024, &left_out);
                }
            }
        });
        Self { process, bytes }
    }

    /// Waits until so many bytes have been shown or left out.
    fn wait(&self, wanted: u64) {
        let (bytes, more) = &*self.bytes;
        let held = bytes.lock().unwrap();
        let waited = more.wait_timeout_while(held, PATIENCE, |bytes| *bytes < wanted).unwrap();
        assert!(!waited.1.timed_out(), "the viewer stands still");
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

// As much as ten minutes of 4 Mbit/s, as fast as the viewer takes it: source and viewer keep their windows and nothing else.
#[test]
fn memory_does_not_grow_with_the_stream() {
    const STREAM: u64 = 300 << 20;
    const WINDOW: u64 = 16 << 20;
    const PIECE: usize = 1 << 20;
    let place = Place::new();
    let (source, link, mut stdin) = live(&place, &["--window", "16MiB"]);
    let mut viewer = Shown::start(
        place.command(["get", &link, "-o", "-", "--listen", LOOPBACK, "--pex", "off", "--delay", "300ms"]),
    );
    let mut piece = place.content("piece", PIECE);
    // What was there before it tuned in it does not show.
    stdin.write_all(&piece).unwrap();
    viewer.wait(1024);
    let mut written = 0;
    let mut after_a_third = None;
    while written < STREAM {
        piece[0] = piece[0].wrapping_add(1);
        stdin.write_all(&piece).unwrap();
        written += PIECE as u64;
        viewer.wait(written.saturating_sub(WINDOW * 3 / 4));
        if after_a_third.is_none() && written >= STREAM / 3 {
            after_a_third = Some([source.id(), viewer.process.id()].map(resident));
        }
    }
    let [source_before, viewer_before] = after_a_third.unwrap();
    let [source_now, viewer_now] = [source.id(), viewer.process.id()].map(resident);
    let most = 8 << 20;
    assert!(source_now < source_before + most, "source: {source_before} bytes, then {source_now}");
    assert!(viewer_now < viewer_before + most, "viewer: {viewer_before} bytes, then {viewer_now}");
    stdin.write_all(b"the end").unwrap();
    drop(stdin);
    assert!(viewer.process.wait().unwrap().success());
}

#[test]
fn a_source_that_sends_nothing_is_told() {
    let place = Place::new();
    let (mut source, _, stdin) = live(&place, &[]);
    let warned = source.event("warning")["message"].as_str().unwrap().to_owned();
    assert!(warned.contains("nothing has come from the input yet"), "{warned}");
    drop(stdin);
    let (code, stderr) = source.end();
    assert_eq!(code, Some(1), "{stderr}");
    let failed = source.last("error").unwrap()["message"].as_str().unwrap();
    assert!(failed.contains("ended before its first byte"), "{failed}");
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
    let kinds = [
        ("PRIVATE KEY", "MC4CAQAwBQYDK2VuBCIEIAcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH", "1.3.101.110"), // X25519
        ("PUBLIC KEY", "AAAA", "PUBLIC KEY"),
        ("CERTIFICATE", "AAAA", "CERTIFICATE"),
        ("ENCRYPTED PRIVATE KEY", "AAAA", "encrypted"),
    ];
    for (label, base64, word) in kinds {
        fs::write(place.path("other"), format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")).unwrap();
        fs::set_permissions(place.path("other"), fs::Permissions::from_mode(0o600)).unwrap();
        place.run(["live", "bytes", "--key", "other"]).failed(2, &["other", word]);
    }
    place.run(["live", "bytes", "--key", "key", "--chunks-per-signature", "3"]).failed(2, &["power of two"]);
    let says = |more: &[&str]| place.run(["live", "bytes", "--key", "key"].iter().chain(more));
    says(&["--window", "1KB"]).failed(2, &["--window", "too little"]);
    says(&["--window", "10min"]).failed(2, &["--window", "--bitrate"]);
    says(&["--window", "10 apples"]).failed(2, &["--window", "10min"]);
    says(&["--latency", "1s"]).failed(2, &["--bitrate"]);
    says(&["--latency", "1s", "--bitrate", "4Mbit/s", "--chunks-per-signature", "8"])
        .failed(2, &["cannot be used with"]);
    // 256 chunks in a second of this stream: of four times as many there has to be room.
    says(&["--latency", "1s", "--bitrate", "4Mbit/s", "--window", "1s"]).failed(2, &["--window", "1.00 MiB"]);
    says(&["--record", "bytes"]).failed(1, &["bytes", "not written over"]);
    let both = ["live", "bytes", "--key", "key", "--integrity", "sign-all", "--chunks-per-signature", "8"];
    place.run(both).failed(2, &["each chunk is signed", "--chunks-per-signature"]);
    place.run(["live", "bytes", "--key", "key", "--integrity", "none"]).failed(2, &["unified-merkle-tree, sign-all"]);
    fs::set_permissions(place.path("key"), fs::Permissions::from_mode(0o644)).unwrap();
    place.run(["live", "bytes", "--key", "key"]).failed(1, &["other users", "chmod 600"]);
    fs::set_permissions(place.path("key"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(place.path("key.place"), "what?").unwrap();
    place.run(["live", "bytes", "--key", "key"]).failed(1, &["key.place", "how far the stream has come"]);
    // Two munros from the end of what can be named.
    fs::write(place.path("key.place"), format!("{:020} off-air\n", (1_u64 << 32) - 64)).unwrap();
    let place_of = |chunks: u64| assert!(place.read("key.place").starts_with(format!("{chunks:020}").as_bytes()));
    let ten_minutes = ["--bitrate", "4Mbit/s", "--window", "10min", "--record", "last.ts"];
    let ends = ["--key", "key", "--addressing", "range32"];
    let (mut source, link, mut stdin) = live(&place, &[&ends[..], &ten_minutes].concat());
    assert!(link.contains("ld=292968"), "{link}");
    _ = stdin.write_all(&[7; 80 * 1024]);
    let warned = source.event("warning")["message"].as_str().unwrap().to_owned();
    assert!(warned.contains("can name no more chunks"), "{warned}");
    source.event("ended");
    let (code, stderr) = source.end();
    assert_eq!(code, Some(1), "{stderr}");
    place_of(1 << 32);
    // What was broadcast is kept.
    assert_eq!(place.read("last.ts"), [7; 64 * 1024]);

    let get = |more: &[&str]| place.run(["get", &link, "--listen", LOOPBACK].iter().chain(more));
    get(&[]).failed(2, &["no end", "--record"]);
    get(&["-o", "-", "--json"]).failed(2, &["--json"]);
    get(&["-o", "bytes"]).failed(1, &["bytes", "not written over"]);
    // A port that is taken leaves nothing in the way of the next try.
    let taken = std::net::UdpSocket::bind(LOOPBACK).unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    place.run(["get", &link, "--record", "new", "-o", "new.ts", "--listen", &listen]).failed(3, &["uses this port"]);
    place.run(["live", "bytes", "--record", "new", "--listen", &listen]).failed(3, &["uses this port"]);
    assert!(!["new", "new.ts", "new.part", "new.ppsp-tree"].iter().any(|name| place.exists(name)));
    get(&["-o", "new", "--publish"]).failed(2, &["--publish", "--record"]);
    get(&["--record", "new", "--publish"]).failed(4, &["nobody is signed in", "ppsp login"]);
    assert!(!place.exists("new.part"));
    let no_key = format!("ppsp:{}?cp=3&ia=127.0.0.1:9", "00".repeat(33));
    place.run(["get", &no_key, "-o", "new", "--record", "kept"]).failed(2, &["no public key"]);
    assert!(!place.exists("new") && !place.exists("kept.part"));
    get(&["--record", "bytes"]).failed(1, &["bytes", "not written over"]);
    get(&["-o", "nobody.ts", "--timeout", "1s"]).failed(3, &["no peer answered"]);
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
    let got = place.run(["get", &link.to_string(), "--record", "x", "--listen", LOOPBACK, "--timeout", "2s"]);
    got.failed(3, &["clock of this machine", "UTC"]);
    assert!(!place.exists("x") && !place.exists("x.part"), "nothing was there to record");
}
