//! What peers and swarms that do nothing keep in memory, all in: counted by the allocator.
#![allow(unsafe_code, reason = "an allocator that counts")]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use ppsp_core::ChunkRange;
use ppsp_peer_proto::{EndpointConfig, sim::Crowd, wire::Message};

struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);

// SAFETY: the system's allocator does all the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live() -> usize {
    LIVE.load(Ordering::Relaxed)
}

const KIB: usize = 1024;

/// What the peers of a measurement do before they fall silent.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Past {
    /// Nothing.
    Idle,
    /// Each announces some chunks.
    HasSome,
    /// Each asks for a chunk, gets it, and says so.
    Active,
}

/// One test, for the allocator counts for all threads.
#[test]
fn idle_peers_and_swarms_are_small() {
    channels(1, 0, Past::Idle);
    channels(1, 64, Past::Idle);
    channels(1000, 64, Past::Idle);
    channels(100, 64, Past::HasSome);
    channels(100, 64, Past::Active);
    swarms();
}

fn channels(swarms: usize, chunks: usize, past: Past) {
    const PEERS: usize = 10_000;
    let mut config = EndpointConfig::default();
    config.max_idle_peers = usize::MAX;
    let mut crowd = Crowd::new(1, config);
    for _ in 0..swarms {
        let content = crowd.content(chunks.max(1));
        crowd.open(&content, chunks > 0);
    }
    crowd.reserve(PEERS);
    let before = live();
    crowd.join(PEERS);
    for peer in 0..PEERS {
        let range = ChunkRange::single(peer as u64 % 64);
        match past {
            Past::Idle => {}
            Past::HasSome => crowd.say(peer, &[Message::Have { range: Some(range) }]),
            Past::Active => {
                crowd.say(peer, &[Message::Request { range }]);
                assert!(crowd.drain(|_, _| {}) > 0);
                crowd.say(peer, &[Message::Ack { range, delay: 0 }]);
            }
        }
    }
    crowd.pass(Duration::from_secs(60));
    let each = (live() - before) / PEERS;
    assert_eq!(crowd.established(), PEERS);
    println!("FIGURE {PEERS} channels in {swarms} swarms, {chunks} chunks, {past:?}: {each} bytes each (≤ 2048)");
    // What those have that did something before is for later.
    assert!(past != Past::Idle || each <= 2 * KIB, "{each} bytes a channel");
}

fn swarms() {
    const SWARMS: usize = 1000;
    let mut crowd = Crowd::new(1, EndpointConfig::default());
    let contents: Vec<_> = (0..SWARMS).map(|_| crowd.content(1)).collect();
    let before = live();
    contents.iter().for_each(|content| crowd.open(content, false));
    let each = (live() - before) / SWARMS;
    println!("FIGURE {SWARMS} idle swarms, nothing held: {each} bytes each (≤ 16384)");
    assert!(each <= 16 * KIB, "{each} bytes a swarm");
}
