//! `ppsp tracker` as peers use it: requests over connections that stay open, from this process to one of its own.

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use ppsp_core::Identifier;
use ppsp_tracker_proto::message::{MEDIA_TYPE, Response};
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::TlsConnector;

use super::cores::{self, Pinned};
use crate::{
    cli::{args::TrackerBenchArgs, exit::Failure, output::Output},
    cmd::{child::Child, signals::Signals},
    http::{Pin, Trust},
    tracker::doors::CLIENT_HEADER,
};

/// `ppsp bench tracker`.
pub(in crate::cmd) async fn run(args: TrackerBenchArgs, out: &mut Output) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    tokio::select! {
        biased;
        () = signals.any() => Err(Failure::interrupted()),
        done = measure(&args, out) => done,
    }
}

/// A tracker with few peers first, then one with all of them.
async fn measure(args: &TrackerBenchArgs, out: &mut Output) -> Result<(), Failure> {
    let cores = cores::choose(args.cores)?;
    // A LEECH for each connection.
    let few = u64::from(args.connections) * LEECH_OF;
    let mut p99 = Vec::new();
    for peers in [few, args.peers].into_iter().filter(|peers| *peers >= few) {
        let dir = tempfile::tempdir().map_err(Failure::other)?;
        let data = dir.path().join("tracker");
        let mut words = vec![
            "tracker",
            "--auth",
            "none",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
            data.to_str().unwrap_or("tracker"),
        ];
        if !args.tls {
            words.push("--insecure-http");
        }
        let mut tracker = {
            let _pinned = Pinned::to(cores::of(&cores, 0));
            Child::spawn("tracker", words)?
        };
        let _pinned = Pinned::to(cores::of(&cores, 1));
        let said = tracker.wait_for("tracker").await?;
        tracker.wait_for("ready").await?;
        let target = Target::of(&said)?;
        let (ids, registered) = target.register(args.connections, peers, out).await?;
        let found = target.find(args.connections, &ids, Duration::from_secs(args.seconds.into())).await?;
        tracker.reap().await;
        p99.push(found.p99);
        let fields = json!({
            "peers": peers, "tls": args.tls, "connections": args.connections, "cores": args.cores,
            "connect_per_s": registered, "find_per_s": found.rate, "p50_us": found.p50, "p99_us": found.p99,
        });
        out.event("bench", &fields);
        out.say(format_args!(
            "{peers} peers: {registered} CONNECT/s to register them; {} FIND/s, half within {} µs, 99 % within {} µs",
            found.rate, found.p50, found.p99
        ));
    }
    if let [few, many] = p99[..] {
        let ratio = many as f64 / (few as f64).max(1.0);
        out.event("bench_summary", &json!({ "p99_ratio": ratio }));
        out.say(format_args!("the 99 % of the full tracker are {ratio:.2} times those of the empty one"));
    }
    Ok(())
}

/// Peers of one swarm; one of so many is a LEECH.
const PER_SWARM: u64 = 1000;
const LEECH_OF: u64 = 10;

/// Where the tracker is.
#[derive(Clone)]
struct Target {
    addr: String,
    tls: Option<TlsConnector>,
}

/// What questions took.
struct Found {
    rate: u64,
    p50: u32,
    p99: u32,
}

impl Target {
    fn of(said: &Value) -> Result<Self, Failure> {
        let addr = said["addr"].as_str().unwrap_or_default().to_owned();
        let pin = said["pin"].as_str().map(str::parse::<Pin>).transpose().map_err(Failure::other)?;
        let tls = pin.map(|pin| Trust::Pin(pin).client(None)).transpose().map_err(Failure::other)?;
        Ok(Self { addr, tls: tls.map(|(config, _)| TlsConnector::from(config)) })
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let failed = |e: std::io::Error| Failure::network(format!("cannot reach the tracker: {e}"));
        let stream = TcpStream::connect(&self.addr).await.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let name = ServerName::try_from("localhost").map_err(Failure::other)?;
                Box::new(tls.connect(name, stream).await.map_err(failed)?)
            }
        };
        Ok(Connection { stream, received: BytesMut::with_capacity(16 << 10), request: Vec::new(), body: String::new() })
    }

    /// Registers so many peers; returns the identifiers of the LEECHes among them with their swarms, and how many a second.
    async fn register(&self, connections: u16, peers: u64, out: &mut Output) -> Result<(Vec<Asker>, u64), Failure> {
        let (begun, step) = (Instant::now(), u64::from(connections));
        let mut tasks = JoinSet::new();
        for first in 0..step {
            let target = self.clone();
            tasks.spawn(async move {
                let mut connection = target.connect().await?;
                let mut ids = Vec::new();
                for number in (first..peers).step_by(step as usize) {
                    let asker = Asker { number, id: client(number) };
                    let leeches = number % LEECH_OF == 0;
                    connection.body.clear();
                    let mode = if leeches { "LEECH" } else { "SEEDER" };
                    connection.body += &format!(
                        "{{\"PPSPTrackerProtocol\":{{\"version\":1,\"request_type\":\"CONNECT\",\"transaction_id\":\"r\",\
                         \"peer_id\":\"{}\",\"connect\":{{\"peer_addr\":[{{\"ip_address\":{{\"address_type\":\"ipv4\",\
                         \"address\":\"10.0.0.1\"}},\"port\":{},\"priority\":1,\"type\":\"HOST\"}}],\"swarm_action\":\
                         [{{\"swarm_id\":\"{:064x}\",\"action\":\"JOIN\",\"peer_mode\":\"{mode}\"}}]}}}}}}",
                        asker.id,
                        1024 + number % 60_000,
                        number / PER_SWARM
                    );
                    connection.ask(&asker)?;
                    let (length, id) = connection.answer(leeches).await?;
                    connection.received.advance(length);
                    if let Some(id) = id {
                        ids.push(Asker { id, ..asker });
                    }
                }
                Ok::<_, Failure>(ids)
            });
        }
        let mut askers = Vec::new();
        while let Some(done) = tasks.join_next().await {
            askers.extend(done.map_err(Failure::other)??);
        }
        out.detail(format_args!("{peers} peers are registered"));
        Ok((askers, (peers as f64 / begun.elapsed().as_secs_f64()) as u64))
    }

    /// Asks for peers, each connection one question after the other.
    async fn find(&self, connections: u16, askers: &[Asker], span: Duration) -> Result<Found, Failure> {
        let begun = Instant::now();
        let mut tasks = JoinSet::new();
        for first in 0..usize::from(connections) {
            let target = self.clone();
            // Each has peers of its own, drawn from all swarms.
            let own: Vec<Asker> = askers.iter().skip(first).step_by(usize::from(connections)).cloned().collect();
            tasks.spawn(async move {
                let mut connection = target.connect().await?;
                let mut took: Vec<u32> = Vec::new();
                while begun.elapsed() < span {
                    let at = took.len().wrapping_mul(2_654_435_761) % own.len().max(1);
                    let Some(asker) = own.get(at) else { break };
                    connection.body.clear();
                    connection.body += &format!(
                        "{{\"PPSPTrackerProtocol\":{{\"version\":1,\"request_type\":\"FIND\",\"transaction_id\":\"f{}\",\
                         \"peer_id\":\"{}\",\"find\":{{\"swarm_id\":\"{:064x}\"}}}}}}",
                        took.len(),
                        asker.id,
                        asker.number / PER_SWARM
                    );
                    let sent = Instant::now();
                    connection.ask(asker)?;
                    let (length, _) = connection.answer(false).await?;
                    connection.received.advance(length);
                    took.push(u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX));
                }
                Ok::<_, Failure>(took)
            });
        }
        let mut took = Vec::new();
        while let Some(done) = tasks.join_next().await {
            took.extend(done.map_err(Failure::other)??);
        }
        let seconds = begun.elapsed().as_secs_f64();
        took.sort_unstable();
        let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied().unwrap_or(0);
        Ok(Found { rate: (took.len() as f64 / seconds) as u64, p50: at(0.5), p99: at(0.99) })
    }
}

/// A peer that asks.
#[derive(Clone)]
struct Asker {
    number: u64,
    /// Its identifier: of the client, and later of the peer.
    id: Identifier,
}

fn client(number: u64) -> Identifier {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&(number + 1).to_be_bytes());
    Identifier::from_bytes(bytes)
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection that stays open.
struct Connection {
    stream: Box<dyn Stream>,
    received: BytesMut,
    request: Vec<u8>,
    body: String,
}

impl Connection {
    /// Makes the request of the body.
    fn ask(&mut self, asker: &Asker) -> Result<(), Failure> {
        use std::io::Write;
        self.request.clear();
        let (client, length) = (client(asker.number), self.body.len());
        write!(
            self.request,
            "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-type: {MEDIA_TYPE}\r\n{CLIENT_HEADER}: {client}\r\n\
             content-length: {length}\r\n\r\n{}",
            self.body
        )
        .map_err(Failure::other)
    }

    /// Sends it and waits for the answer; returns its length, and the identifier in it where that is wanted.
    async fn answer(&mut self, wants_id: bool) -> Result<(usize, Option<Identifier>), Failure> {
        let broken = |e: std::io::Error| Failure::network(format!("the tracker broke off: {e}"));
        self.stream.write_all(&self.request).await.map_err(broken)?;
        loop {
            if let Some((head, length)) = head(&self.received)
                && self.received.len() >= head + length
            {
                let (said, body) = (&self.received[..head], &self.received[head..head + length]);
                if !said.starts_with(b"HTTP/1.1 200") {
                    let said = String::from_utf8_lossy(&self.received[..head + length]).into_owned();
                    return Err(Failure::other(format!("the tracker refuses: {said}")));
                }
                let id = wants_id.then(|| Response::read(body).ok()?.peer_id?.parse().ok()).flatten();
                return Ok((head + length, id));
            }
            if self.stream.read_buf(&mut self.received).await.map_err(broken)? == 0 {
                return Err(Failure::network("the tracker closed the connection"));
            }
        }
    }
}

/// Where the head of an answer ends, and how long its body is.
fn head(received: &[u8]) -> Option<(usize, usize)> {
    let end = received.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&received[..end]).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok())?
    })?;
    Some((end, length))
}
