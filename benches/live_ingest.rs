//! A source and a viewer of a live stream in memory, `poll_transmit` of the one straight into `handle` of the other. What is
//! measured is the viewer's processor time alone: datagrams in, signatures and chunks verified, chunks stored in a
//! `WindowStore`, ACKs and REQUESTs out.
#![allow(missing_docs, reason = "criterion's macros")]

use std::{net::SocketAddr, num::NonZeroUsize, time::Duration};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ppsp_benches::noise;
use ppsp_core::{
    ChunkRange, Instant, IntegrityMethod, SwarmMetadata, WindowStore,
    live::{DEFAULT_CHUNKS_PER_SIGNATURE, LiveSource},
    signature::{PrivateKey, SignatureAlgorithm, Signer},
};
use ppsp_peer_proto::{
    Congestion, Datagrams, Endpoint, EndpointConfig, LiveOptions, SwarmConfig, SwarmKey, policy::LivePicker,
};
use rustix::time::{ClockId, clock_gettime};

const CHUNK_SIZE: usize = 1024;
/// What is kept: less than the stream, so that chunks are discarded as they are in a long one.
const WINDOW: u64 = 8 << 10;
/// Chunks that are made at once.
const AT_ONCE: u64 = 512;
/// Most bytes in a run, as with a socket.
const MAX_RUN: usize = 65_487;
const SEGMENTS: NonZeroUsize = NonZeroUsize::new(16).expect("is not zero");
/// How fast bytes pass, so that time does too: 10 GB/s.
const BYTES_PER_MICROSECOND: u64 = 10_000;

struct Pair {
    now: Instant,
    source: Endpoint,
    viewer: Endpoint,
    /// The swarm, as each has it.
    swarms: [SwarmKey; 2],
    buffer: Vec<u8>,
    /// The viewer's.
    spent: Duration,
}

impl Pair {
    fn new(integrity: IntegrityMethod, algorithm: SignatureAlgorithm) -> Self {
        let now = Instant::from_micros(1_800_000_000_000_000);
        let key = PrivateKey::generate(algorithm, &[1; 32]).expect("of any seed");
        let metadata = SwarmMetadata { integrity, ..SwarmMetadata::of_key(key.public_key()) };
        let source = LiveSource::new(&metadata, Default::default(), DEFAULT_CHUNKS_PER_SIGNATURE, Box::new(key));
        let open = |seed: u8, source: Option<LiveSource>| {
            let mut endpoint = Endpoint::new(EndpointConfig::default(), [seed; 32], now);
            let mut options = LiveOptions::default();
            options.config.window = Some(WINDOW);
            options.source = source;
            let mut config = SwarmConfig::new(metadata.clone());
            config.congestion = Congestion::Streaming;
            config.picker = Box::new(LivePicker::default());
            config.live = Some(options);
            let swarm = endpoint.open(now, config, Box::new(WindowStore::new())).expect("opens");
            (endpoint, swarm)
        };
        let (source, its) = open(1, Some(source.expect("a source")));
        let (mut viewer, ours) = open(2, None);
        viewer.connect(now, ours, address(1)).expect("connects");
        Self { now, source, viewer, swarms: [its, ours], buffer: vec![0; MAX_RUN], spent: Duration::ZERO }
    }

    /// Broadcasts this; how long the viewer was busy with it.
    fn run(mut self, content: &[u8]) -> Duration {
        let mut made = 0;
        for portion in content.chunks(AT_ONCE as usize * CHUNK_SIZE) {
            for chunk in portion.chunks(CHUNK_SIZE) {
                self.source.push_chunk(self.now, self.swarms[0], chunk).expect("is taken");
                made += 1;
            }
            while self.next() < made {
                self.turn();
            }
        }
        self.spent
    }

    /// The chunk that the viewer needs next.
    fn next(&self) -> u64 {
        let swarm = self.viewer.swarm(self.swarms[1]).expect("is open");
        swarm.held().last().map_or(0, |last| {
            let kept = (last + 1).saturating_sub(WINDOW);
            swarm.held().next_gap(kept).map_or(0, |gap| gap.first())
        })
    }

    fn turn(&mut self) {
        let mut idle = true;
        for _ in 0..16 {
            let Some(sent) = self.source.poll_transmit(self.now, SEGMENTS, &mut self.buffer) else { break };
            idle = false;
            self.now = self.now.saturating_add(Duration::from_micros(1 + sent.len as u64 / BYTES_PER_MICROSECOND));
            let stride = sent.segment_size.map_or(sent.len, NonZeroUsize::get);
            let datagrams = Datagrams { remote: address(1), data: &self.buffer[..sent.len], stride };
            let begun = processor_time();
            self.viewer.handle(self.now, [datagrams]);
            self.spent += processor_time() - begun;
        }
        let window = ChunkRange::with_len(self.next(), 1 << 20);
        loop {
            let begun = processor_time();
            if let Some(mut swarm) = self.viewer.swarm_mut(self.swarms[1]) {
                swarm.set_windows(window.as_slice());
            }
            let sent = self.viewer.poll_transmit(self.now, SEGMENTS, &mut self.buffer);
            self.spent += processor_time() - begun;
            let Some(sent) = sent else { break };
            idle = false;
            let stride = sent.segment_size.map_or(sent.len, NonZeroUsize::get);
            self.source.handle(self.now, [Datagrams { remote: address(2), data: &self.buffer[..sent.len], stride }]);
        }
        if idle {
            let next = [self.source.poll_timeout(), self.viewer.poll_timeout()].into_iter().flatten().min();
            self.now = self.now.max(next.expect("not all is there, and nothing will ever happen"));
        }
        self.source.handle_timeout(self.now);
        let begun = processor_time();
        self.viewer.handle_timeout(self.now);
        while self.viewer.poll_event().is_some() {}
        self.spent += processor_time() - begun;
        while self.source.poll_event().is_some() {}
    }
}

/// Of this thread: others of the machine do not count.
fn processor_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().expect("is not negative")
}

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 6778))
}

fn ingest(c: &mut Criterion) {
    let mut group = c.benchmark_group("live ingest, the viewer's time");
    for (integrity, name, length) in [
        (IntegrityMethod::UnifiedMerkleTree, "munros of 32 chunks", 32 << 20),
        (IntegrityMethod::SignAll, "sign all", 4 << 20),
    ] {
        let content = noise(length, 1);
        group.throughput(Throughput::Bytes(length as u64)).sample_size(10);
        for algorithm in [SignatureAlgorithm::EcdsaP256Sha256, SignatureAlgorithm::Ed25519] {
            let best = (0..3).map(|_| Pair::new(integrity, algorithm).run(&content)).min().unwrap_or_default();
            println!("{name}, {algorithm}: {:.2} Gbit/s on one core", length as f64 * 8e-9 / best.as_secs_f64());
            group.bench_function(BenchmarkId::new(name, algorithm), |b| {
                b.iter_custom(|times| (0..times).map(|_| Pair::new(integrity, algorithm).run(&content)).sum());
            });
        }
    }
    group.finish();
}

criterion_group!(benches, ingest);
criterion_main!(benches);
