//! A seed and a leecher in memory: `poll_transmit` of the one straight into `handle` of the other, no socket between them.
//! What this takes is what the protocol itself costs, both sides on one core.
#![allow(missing_docs, reason = "criterion's macros")]

use std::{net::SocketAddr, num::NonZeroUsize, time::Duration};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ppsp_benches::noise;
use ppsp_core::{HashAlg, Instant, MemoryStore, SwarmMetadata};
use ppsp_peer_proto::{Datagrams, Endpoint, EndpointConfig, SwarmConfig, SwarmKey};

const LENGTH: usize = 16 << 20;
const ALG: HashAlg = HashAlg::Sha256;
const CHUNK_SIZE: u32 = 1024;
/// Most bytes in a run, as with a socket.
const MAX_RUN: usize = 65_487;
/// How fast bytes pass, so that time does too: 10 GB/s.
const BYTES_PER_MICROSECOND: u64 = 10_000;

struct Pair {
    now: Instant,
    seed: Endpoint,
    leecher: Endpoint,
    swarm: SwarmKey,
    buffer: Vec<u8>,
    segments: NonZeroUsize,
    datagrams: u64,
    runs: u64,
}

impl Pair {
    fn new(full: &MemoryStore, metadata: &SwarmMetadata, segments: usize) -> Self {
        let now = Instant::from_micros(1);
        let mut seed = Endpoint::new(EndpointConfig::default(), [1; 32], now);
        seed.open(now, SwarmConfig::new(metadata.clone()), Box::new(full.clone())).expect("opens");
        let mut leecher = Endpoint::new(EndpointConfig::default(), [2; 32], now);
        let store = Box::new(MemoryStore::new(ALG, CHUNK_SIZE));
        let swarm = leecher.open(now, SwarmConfig::new(metadata.clone()), store).expect("opens");
        leecher.connect(now, swarm, address(1)).expect("connects");
        let segments = NonZeroUsize::new(segments).unwrap_or(NonZeroUsize::MIN);
        Self { now, seed, leecher, swarm, buffer: vec![0; MAX_RUN], segments, datagrams: 0, runs: 0 }
    }

    fn run(mut self) -> Self {
        while !self.leecher.swarm(self.swarm).is_some_and(|swarm| swarm.is_complete()) {
            let Self { now, seed, leecher, buffer, segments, .. } = &mut self;
            let (datagrams, runs) = pass(now, seed, address(1), leecher, *segments, buffer);
            let (_, answers) = pass(now, leecher, address(2), seed, *segments, buffer);
            self.datagrams += datagrams;
            self.runs += runs;
            if runs + answers == 0 {
                let next = [self.seed.poll_timeout(), self.leecher.poll_timeout()].into_iter().flatten().min();
                self.now = self.now.max(next.expect("not complete, and nothing will ever happen"));
            }
            self.seed.handle_timeout(self.now);
            self.leecher.handle_timeout(self.now);
            while self.seed.poll_event().is_some() || self.leecher.poll_event().is_some() {}
        }
        self
    }
}

/// Passes on what one has to send, some runs at a time as drivers do; how many datagrams in how many runs.
fn pass(
    now: &mut Instant,
    from: &mut Endpoint,
    source: SocketAddr,
    to: &mut Endpoint,
    segments: NonZeroUsize,
    buffer: &mut [u8],
) -> (u64, u64) {
    let (mut datagrams, mut runs) = (0, 0);
    while runs < 16
        && let Some(transmit) = from.poll_transmit(*now, segments, buffer)
    {
        let stride = transmit.segment_size.map_or(transmit.len, NonZeroUsize::get);
        datagrams += transmit.len.div_ceil(stride) as u64;
        runs += 1;
        *now = now.saturating_add(Duration::from_micros(1 + transmit.len as u64 / BYTES_PER_MICROSECOND));
        to.handle(*now, [Datagrams { remote: source, data: &buffer[..transmit.len], stride }]);
    }
    (datagrams, runs)
}

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 6778))
}

fn pair(c: &mut Criterion) {
    let (full, tree) = MemoryStore::from_content(ALG, CHUNK_SIZE, noise(LENGTH, 1));
    let metadata = SwarmMetadata::of_root(&tree.root);
    let mut group = c.benchmark_group("loopback pair, 16 MiB of 1 KiB chunks, SHA-256");
    group.throughput(Throughput::Bytes(LENGTH as u64)).sample_size(10);
    for segments in [1, 16, 64] {
        let once = Pair::new(&full, &metadata, segments).run();
        println!("{segments} segments at most: runs of {:.1} datagrams", once.datagrams as f64 / once.runs as f64);
        group.bench_function(BenchmarkId::new("segments", segments), |b| {
            b.iter_batched(|| Pair::new(&full, &metadata, segments), Pair::run, BatchSize::PerIteration);
        });
    }
    group.finish();
}

criterion_group!(benches, pair);
criterion_main!(benches);
