//! What a transfer allocates once it is under way: counted by the allocator, over a pair of endpoints in memory.
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    net::SocketAddr,
    num::NonZeroUsize,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use ppsp_core::{HashAlg, Instant, MemoryStore, SwarmMetadata};
use ppsp_peer_proto::{Datagrams, Endpoint, EndpointConfig, SwarmConfig, SwarmKey};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CHUNK_SIZE: u32 = 1024;
const CHUNKS: u64 = 24 * 1024;

struct Pair {
    now: Instant,
    seed: Endpoint,
    leecher: Endpoint,
    swarm: SwarmKey,
    buffer: Vec<u8>,
}

impl Pair {
    fn new(largest: usize) -> Self {
        let now = Instant::from_micros(1);
        let content = (0..CHUNKS * u64::from(CHUNK_SIZE)).map(|i| (i ^ i >> 9) as u8).collect();
        let (full, tree) = MemoryStore::from_content(HashAlg::Sha256, CHUNK_SIZE, content);
        // With its length known the store of the leecher has all its memory from the beginning.
        let metadata =
            SwarmMetadata { content_length: Some(tree.content_length), ..SwarmMetadata::of_root(&tree.root) };
        let config = || {
            let mut config = EndpointConfig::default();
            config.max_probed_datagram = largest;
            config
        };
        let mut seed = Endpoint::new(config(), [1; 32], now);
        seed.open(now, SwarmConfig::new(metadata.clone()), Box::new(full)).expect("opens");
        let mut leecher = Endpoint::new(config(), [2; 32], now);
        let mut store = MemoryStore::new(HashAlg::Sha256, CHUNK_SIZE);
        ppsp_core::ContentStore::set_size(&mut store, tree.chunks, Some(tree.content_length)).expect("has room");
        let swarm = leecher.open(now, SwarmConfig::new(metadata), Box::new(store)).expect("opens");
        leecher.connect(now, swarm, address(1)).expect("connects");
        Self { now, seed, leecher, swarm, buffer: vec![0; 65_507] }
    }

    /// Runs until so many chunks are held.
    fn run(&mut self, chunks: u64) {
        while self.leecher.stats().chunks_accepted < chunks {
            let Self { now, seed, leecher, buffer, .. } = self;
            let there = pass(now, seed, address(1), leecher, buffer);
            let back = pass(now, leecher, address(2), seed, buffer);
            if !there && !back {
                let next = [self.seed.poll_timeout(), self.leecher.poll_timeout()].into_iter().flatten().min();
                self.now = self.now.max(next.expect("not complete, and nothing will ever happen"));
            }
            self.seed.handle_timeout(self.now);
            self.leecher.handle_timeout(self.now);
            while self.seed.poll_event().is_some() || self.leecher.poll_event().is_some() {}
        }
        assert!(self.leecher.swarm(self.swarm).is_some());
    }
}

/// Passes on some runs, as drivers do.
fn pass(now: &mut Instant, from: &mut Endpoint, source: SocketAddr, to: &mut Endpoint, buffer: &mut [u8]) -> bool {
    for round in 0..16 {
        let Some(run) = from.poll_transmit(*now, NonZeroUsize::MAX, buffer) else { return round > 0 };
        *now = now.saturating_add(Duration::from_micros(20));
        let stride = run.segment_size.map_or(run.len, NonZeroUsize::get);
        to.handle(*now, [Datagrams { remote: source, data: &buffer[..run.len], stride }]);
    }
    true
}

fn address(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 6778))
}

/// One test, for the allocator counts for all threads.
///
/// Lists and maps keep their room. What is left are nodes of sets: a bitmap of 512 chunks comes and goes.
#[test]
fn a_transfer_under_way_allocates_nothing_for_its_datagrams() {
    for largest in [0, 65_487] {
        let mut pair = Pair::new(largest);
        pair.run(CHUNKS / 3);
        let (before, datagrams) = (ALLOCATIONS.load(Ordering::Relaxed), pair.leecher.stats().datagrams_in);
        pair.run(CHUNKS * 9 / 10);
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before;
        let datagrams = pair.leecher.stats().datagrams_in - datagrams;
        let chunks = CHUNKS * 9 / 10 - CHUNKS / 3;
        println!("FIGURE datagrams up to {largest}: {allocations} allocations, {datagrams} datagrams, {chunks} chunks");
        assert!(allocations * 50 < chunks, "{allocations} allocations for {chunks} chunks");
    }
}
