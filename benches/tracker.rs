//! The tracker's machine, from the body of a request to the body of its answer: without peers, and with a million of them in
//! a thousand swarms. What a registered peer takes is printed first.
#![allow(missing_docs, reason = "criterion's macros")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    hint::black_box,
    net::IpAddr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant as Clock},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ppsp_core::{Identifier, Instant};
use ppsp_tracker_proto::{
    Context, Gate, Principal, Tracker, TrackerConfig,
    message::{Code, PeerMode},
};

const SWARMS: u64 = 1000;
const MILLION: u64 = 1_000_000;

fn tracker(c: &mut Criterion) {
    let mut group = c.benchmark_group("tracker");
    group.throughput(Throughput::Elements(1)).sample_size(20).measurement_time(Duration::from_secs(5));
    for peers in [0, MILLION] {
        let before = HELD.load(Relaxed);
        let mut world = World::new(peers);
        if let Some(each) = (HELD.load(Relaxed) - before).checked_div(peers as usize) {
            println!("{each} bytes for each of {peers} peers, answers that may be repeated included");
        }
        // An empty tracker stays empty: each peer's session ends at once, which counts in. In the other, one expires.
        type Make = fn(u64) -> String;
        let connects: [(&str, Make); 2] = [("CONNECT LEECH", leech), ("CONNECT SEEDER", |n| connect(n, "SEEDER", ""))];
        for (name, body) in connects {
            group.bench_function(BenchmarkId::new(name, peers), |b| {
                b.iter_custom(|iterations| world.connects(iterations, body, peers == 0));
            });
        }
        type Ask = fn(u64, u64) -> String;
        let requests: [(&str, Ask); 2] = [("FIND", find), ("STAT_REPORT", stat_report)];
        for (name, body) in requests {
            if peers == 0 {
                world.connects(1, leech, false);
            }
            group.bench_function(BenchmarkId::new(name, peers), |b| {
                b.iter_custom(|iterations| world.requests(iterations, body));
            });
        }
    }
    group.finish();
}

/// A tracker in which as many peers are lost to silence as new ones come.
struct World {
    tracker: Tracker,
    doors: Open,
    now: Instant,
    /// Between two registrations.
    pace: Duration,
    transactions: u64,
    /// Registrations that the tracker still has, from the end of those that were made.
    alive: u64,
    out: Vec<u8>,
}

impl World {
    fn new(peers: u64) -> Self {
        let config = TrackerConfig { max_answers: 16 << 20, ..TrackerConfig::default() };
        let pace = config.track_timer / peers.max(1) as u32;
        let (tracker, now) = (Tracker::new(config, [7; 32]), Instant::from_micros(1));
        let doors = Open(Cell::new(0));
        let mut world = Self { tracker, doors, now, pace, transactions: 0, alive: peers.max(1), out: Vec::new() };
        world.connects(peers, leech, false);
        world
    }

    /// The time that new registrations take.
    fn connects(&mut self, count: u64, body: fn(u64) -> String, leave: bool) -> Duration {
        let mut spent = Duration::ZERO;
        for first in (0..count).step_by(BATCH) {
            let given = self.doors.0.get();
            let bodies: Vec<_> = (0..(count - first).min(BATCH as u64)).map(|n| (given + n, body(given + n))).collect();
            let start = Clock::now();
            for (peer, body) in &bodies {
                self.now = self.now + self.pace;
                self.handle(*peer, body);
                if leave {
                    self.tracker.end_session((*peer).into());
                }
            }
            spent += start.elapsed();
        }
        spent
    }

    /// The time that requests of registered peers take.
    fn requests(&mut self, count: u64, body: fn(u64, u64) -> String) -> Duration {
        let mut spent = Duration::ZERO;
        for first in (0..count).step_by(BATCH) {
            let bodies: Vec<_> = (0..(count - first).min(BATCH as u64))
                .map(|_| {
                    self.transactions += 1;
                    // Any of those that have some time left.
                    let back = self.transactions.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
                    let peer = self.doors.0.get() - 1 - back % self.alive.div_ceil(2);
                    (peer, body(peer, self.transactions))
                })
                .collect();
            let start = Clock::now();
            bodies.iter().for_each(|(peer, body)| self.handle(*peer, body));
            spent += start.elapsed();
        }
        spent
    }

    fn handle(&mut self, peer: u64, body: &str) {
        let principal = Principal { client: identifier(CLIENT, peer), session: peer.into() };
        let remote = (0x0B00_0000 | peer as u32).to_be_bytes().into();
        let context = Context { remote, principal: Some(principal), gate: &self.doors };
        self.out.clear();
        let code = self.tracker.handle(self.now, &context, black_box(body.as_bytes()), &mut self.out);
        assert_eq!(code, Code::OK);
        black_box(&self.out);
    }
}

/// RFC 7846 §4.1.1.1, with identifiers as ours are and one address, to which the tracker adds the one that it sees.
fn connect(n: u64, mode: &str, scope: &str) -> String {
    format!(
        r#"{{"PPSPTrackerProtocol":{{"version":1,"request_type":"CONNECT","transaction_id":"{n}","peer_id":"{}",
"connect":{{{scope}"peer_addr":[{{"ip_address":{{"address_type":"ipv4","address":"192.168.0.2"}},"port":8080,
"priority":1,"type":"HOST","connection":"wired","asn":"64496"}}],
"swarm_action":[{{"swarm_id":"{:064x}","action":"JOIN","peer_mode":"{mode}"}}]}}}}}}"#,
        identifier(CLIENT, n),
        n % SWARMS,
    )
}

fn leech(n: u64) -> String {
    connect(n, "LEECH", &format!("{SCOPE},"))
}

fn find(peer: u64, transaction: u64) -> String {
    format!(
        r#"{{"PPSPTrackerProtocol":{{"version":1,"request_type":"FIND","transaction_id":"f{transaction}",
"peer_id":"{}","find":{{"swarm_id":"{:064x}",{SCOPE}}}}}}}"#,
        identifier(PEER, peer),
        peer % SWARMS,
    )
}

fn stat_report(peer: u64, transaction: u64) -> String {
    format!(
        r#"{{"PPSPTrackerProtocol":{{"version":1,"request_type":"STAT_REPORT","transaction_id":"s{transaction}",
"peer_id":"{}","stat_report":{{"type":"STREAM_STATS","stat":[{{"swarm_id":"{:064x}","uploaded_bytes":512,
"downloaded_bytes":768,"available_bandwidth":1024000,"concurrent_links":5}}]}}}}}}"#,
        identifier(PEER, peer),
        peer % SWARMS,
    )
}

/// Lets everyone in; the numbers of clients and peers run in step.
struct Open(Cell<u64>);

impl Gate for Open {
    fn may(&self, _: &Principal, _: &str, _: PeerMode) -> bool {
        true
    }

    fn assign(&self, _: &Principal, _: IpAddr) -> Identifier {
        identifier(PEER, self.0.replace(self.0.get() + 1))
    }

    fn assigned(&self, _: Identifier, _: &Principal, _: IpAddr) -> bool {
        true
    }
}

fn identifier(kind: u8, number: u64) -> Identifier {
    let mut bytes = [kind; 12];
    bytes[4..].copy_from_slice(&number.to_be_bytes());
    Identifier::from_bytes(bytes)
}

/// Bytes that are allocated now.
static HELD: AtomicUsize = AtomicUsize::new(0);

struct Counting;

// SAFETY: the system's allocator does all of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.fetch_add(layout.size(), Relaxed);
        // SAFETY: what the caller promised us.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Five peers that suit, as in the RFC's examples.
const SCOPE: &str = r#""peer_num":{"peer_count":5,"ability_nat":"STUN","concurrent_links":"5","online_time":"200","upload_bandwidth":"600"}"#;
const CLIENT: u8 = 1;
const PEER: u8 = 2;
/// Bodies that are made at a time.
const BATCH: usize = 4096;

criterion_group!(benches, tracker);
criterion_main!(benches);
