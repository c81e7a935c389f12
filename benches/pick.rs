//! What it costs to decide what to ask for, by the size of the content. Prints a table with the ratios to the smallest:
//! the picker must not know how large the content is.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use ppsp_benches::shuffled;
use ppsp_core::{ChunkRange, RangeSet};
use ppsp_peer_proto::{
    policy::{PickContext, Picker, RarestFirst},
    sim::peer_key,
};
use rand_chacha::ChaCha8Rng;
use rand_core::SeedableRng;

/// Chunks under way at most, over all peers.
const UNDER_WAY: u64 = 4096;
/// Chunks to be picked in a measurement.
const CHUNKS: u64 = 100_000;
/// The best of so many rounds counts: others use the machine too.
const ROUNDS: usize = 7;

/// What the peers have.
#[derive(Clone, Copy, Debug)]
enum Peers {
    /// Everything.
    Seeds,
    /// Each half of all stretches of 64 chunks, others than the next.
    Halves,
}

fn main() {
    // Where `cargo test --benches` comes by, there is nothing to test.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    println!("nanoseconds a chunk, and times the figure of 1 MiB; chunks of 1 KiB");
    println!("{:>44} {:>9} {:>16} {:>16}", "", "1 MiB", "1 GiB", "1 TiB");
    for (peers, count) in [(Peers::Seeds, 1), (Peers::Seeds, 50), (Peers::Halves, 50)] {
        for budget in [8, 64] {
            let costs = [10, 20, 30].map(|bits| best(1 << bits, peers, count, budget));
            let name = format!("{count} {peers:?}, at most {budget} chunks a time");
            let cell = |cost: f64| format!("{cost:>8.1} {:>6.2}x", cost / costs[0]);
            println!("{name:>44} {:>9.1} {:>16} {:>16}", costs[0], cell(costs[1]), cell(costs[2]));
        }
    }
}

/// Nanoseconds a chunk: what a download takes, but for what it takes when it is known beforehand what will be picked.
fn best(chunks: u64, kind: Peers, count: u64, budget: u64) -> f64 {
    let peers: Vec<RangeSet> = (0..count).map(|peer| has(chunks, kind, peer)).collect();
    let mut least = [Duration::MAX; 2];
    let mut picked = 0;
    for _ in 0..ROUNDS {
        let mut script = VecDeque::new();
        for (least, replay) in least.iter_mut().zip([false, true]) {
            let mut rng = ChaCha8Rng::from_seed([7; 32]);
            let mut spent = Duration::ZERO;
            picked = 0;
            // Small content again and again, large content as far as that goes.
            while picked < CHUNKS {
                let (time, n) = download(chunks, &peers, budget, &mut rng, &mut script, replay);
                (spent, picked) = (spent + time, picked + n);
            }
            *least = spent.min(*least);
        }
    }
    (least[0].as_secs_f64() - least[1].as_secs_f64()) * 1e9 / picked as f64
}

fn download(
    chunks: u64,
    peers: &[RangeSet],
    budget: u64,
    rng: &mut ChaCha8Rng,
    script: &mut VecDeque<Vec<ChunkRange>>,
    replay: bool,
) -> (Duration, u64) {
    let mut picker = RarestFirst::default();
    picker.on_size(chunks, rng);
    peers.iter().flat_map(|has| has.runs()).for_each(|run| picker.on_have(run));
    let order = shuffled(peers.len() as u64, 7);
    let (mut held, mut busy) = (RangeSet::new(), RangeSet::new());
    let (mut picked, mut under_way, mut in_vain) = (0, 0, 0);
    let mut waiting = VecDeque::new();
    let mut recorded = Vec::new();
    let began = Instant::now();
    for &peer in order.iter().cycle() {
        let mut out = Vec::new();
        if replay {
            out = script.pop_front().unwrap_or_default();
        } else {
            let mut cx = PickContext {
                now: ppsp_core::Instant::from_micros(1),
                rng,
                peer: peer_key(peer),
                pace: 0,
                held: &held,
                busy: &busy,
                wanted: None,
                peer_has: &peers[peer as usize],
                others: &|_| 0,
            };
            picker.pick(&mut cx, budget, &mut out);
        }
        in_vain = if out.is_empty() { in_vain + 1 } else { 0 };
        for &range in &out {
            busy.insert(range);
            waiting.push_back(range);
            under_way += range.len();
            picked += range.len();
        }
        recorded.push(out);
        while (under_way > UNDER_WAY.min(chunks / 4) || in_vain > 0)
            && let Some(range) = waiting.pop_front()
        {
            under_way -= range.len();
            busy.remove(range);
            held.insert(range);
        }
        if in_vain > peers.len() || picked >= CHUNKS {
            break;
        }
    }
    let took = began.elapsed();
    if picked < CHUNKS {
        assert_eq!(held.len(), chunks, "all was picked, and nothing twice");
    }
    if !replay {
        script.extend(recorded);
    }
    (took, picked)
}

fn has(chunks: u64, kind: Peers, peer: u64) -> RangeSet {
    match kind {
        Peers::Seeds => ChunkRange::with_len(0, chunks).into_iter().collect(),
        // Not more stretches than an endpoint remembers of a peer.
        Peers::Halves => {
            let stretch = (chunks / 8192).max(64);
            let first = |n: u64| 2 * n + u64::from((n ^ peer).count_ones() & 1);
            let stretches = (0..chunks / stretch / 2).filter_map(|n| ChunkRange::with_len(first(n) * stretch, stretch));
            stretches.collect()
        }
    }
}
