//! A table of flash crowds that watch: content is played at its bitrate while it comes, in virtual time. The same on every machine.
//!
//! Uplinks are of half the bitrate to three and a half times, one and a half on the mean; 25 ms and 1 % loss each way; the seed
//! sends at most four times the bitrate.

use std::time::Duration;

use ppsp_core::{ChunkRange, Instant};
use ppsp_peer_proto::{
    Congestion,
    sim::{Access, Acquaintance, Chance, LinkConfig, NodeId, Peer, Swarm, secs},
};

/// Bytes a second of what is played, and so in chunks of 1 KiB.
const BITRATE: u64 = 62_500;
/// So much is there before the first picture, and after a stall.
const START: f64 = 1.0;
/// So far ahead of the playhead everything else waits.
const WINDOW: f64 = 10.0;
/// Between two looks at the viewers.
const TICK: Duration = Duration::from_millis(100);

fn chunks(seconds: f64) -> u64 {
    (seconds * BITRATE as f64 / 1024.0).ceil() as u64
}

/// Somebody who watches.
struct Viewer {
    id: NodeId,
    came: Instant,
    /// Where playback is, in seconds of content.
    at: f64,
    playing: bool,
    /// Seconds until the first picture.
    first: Option<f64>,
    stalled: f64,
    played: f64,
}

impl Viewer {
    fn new(id: NodeId, came: Instant) -> Self {
        Self { id, came, at: 0.0, playing: false, first: None, stalled: 0.0, played: 0.0 }
    }

    /// Time has passed: plays what is there. `length` is that of the content in seconds.
    fn watch(&mut self, swarm: &mut Swarm, length: f64) {
        let now = swarm.world.now();
        if now <= self.came || self.at >= length {
            return;
        }
        let tick = TICK.as_secs_f64();
        let held = swarm.world.peer(self.id).held();
        let place = (self.at * BITRATE as f64 / 1024.0) as u64;
        let run = held.run_at(place).map_or(0, |run| run.last() - place + 1);
        let ahead = run as f64 * 1024.0 / BITRATE as f64;
        if !self.playing && ahead >= START.min(length - self.at) {
            self.playing = true;
            self.first.get_or_insert(secs(now) - secs(self.came));
        }
        if self.playing && ahead < tick.min(length - self.at) {
            self.playing = false;
        }
        if self.playing {
            self.at += tick;
            self.played += tick;
        } else if self.first.is_some() {
            self.stalled += tick;
        }
        let place = (self.at * BITRATE as f64 / 1024.0) as u64;
        let window = ChunkRange::new(place, place + chunks(WINDOW)).unwrap();
        swarm.world.act(self.id, |peer: &mut Peer, _| peer.set_windows(&[window]));
    }

    fn continuity(&self) -> f64 {
        self.played / (self.played + self.stalled)
    }
}

fn link() -> LinkConfig {
    LinkConfig::perfect(Duration::from_millis(25)).loss(10_000)
}

/// A film of so many seconds, and so many who come to watch it within five seconds; uplinks of half the bitrate to three and a half
/// times, one and a half on the mean.
fn crowd(seed: u64, viewers: usize, length: f64) -> (Swarm, Vec<Viewer>) {
    let mut swarm = Swarm::builder(seed)
        .chunks(chunks(length) as usize)
        .length_known()
        .leechers(viewers)
        .link(link())
        .seed_access(Access { up: Some(4 * BITRATE), down: None, queue: None })
        .acquaintance(Acquaintance::Nobody)
        .congestion(Congestion::Streaming)
        .build();
    let mut chance = Chance::new(seed, "viewers", 0);
    let all: Vec<NodeId> = swarm.leechers.clone();
    let begun = swarm.world.now();
    let mut watching = Vec::new();
    for (n, &id) in all.iter().enumerate() {
        let up = [BITRATE / 2, BITRATE * 3 / 2, BITRATE / 2, BITRATE * 3 / 2, BITRATE * 7 / 2][n % 5];
        swarm.world.set_access(id, Access { up: Some(up), down: Some(BITRATE * 8), queue: None });
        let came = begun + Duration::from_micros(chance.below(5_000_000));
        let mut known = vec![swarm.seed()];
        while known.len() < 20.min(viewers) {
            let other = all[chance.below(viewers as u64) as usize];
            if other != id && !known.contains(&other) {
                known.push(other);
            }
        }
        let known: Vec<_> = known.into_iter().map(|id| swarm.world.address(id)).collect();
        swarm.world.act(id, |peer: &mut Peer, _| known.into_iter().for_each(|to| peer.connect_at(came, to)));
        watching.push(Viewer::new(id, came));
    }
    (swarm, watching)
}

/// Until this moment.
fn watch(swarm: &mut Swarm, viewers: &mut [Viewer], length: f64, seconds: f64) {
    for _ in 0..(seconds / TICK.as_secs_f64()) as u64 {
        swarm.world.run_for(TICK);
        viewers.iter_mut().for_each(|viewer| viewer.watch(swarm, length));
    }
}

fn main() {
    // Where `cargo test --benches` comes by, there is nothing to test.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    const LENGTH: f64 = 60.0;
    println!(
        "{:>8} {:>5} {:>16} {:>8} {:>12} {:>8} {:>11}",
        "viewers", "seed", "first picture", "last", "continuity", "worst", "from peers"
    );
    for viewers in [10, 50] {
        for seed in 1..=2 {
            let (mut swarm, mut crowd) = crowd(seed, viewers, LENGTH);
            watch(&mut swarm, &mut crowd, LENGTH, LENGTH + 40.0);
            let mut first: Vec<f64> = crowd.iter().map(|viewer| viewer.first.unwrap_or(f64::INFINITY)).collect();
            first.sort_by(f64::total_cmp);
            let all = crowd.iter().map(Viewer::continuity);
            let mean = all.clone().sum::<f64>() / viewers as f64;
            let received: u64 = crowd.iter().map(|viewer| swarm.world.peer(viewer.id).downloaded()).sum();
            let from_peers = 1.0 - swarm.world.peer(swarm.seed()).uploaded() as f64 / received as f64;
            println!(
                "{viewers:>8} {seed:>5} {:>14.2} s {:>6.2} s {mean:>12.3} {:>8.3} {:>9.1} %",
                first[viewers / 2],
                first[viewers - 1],
                all.fold(1.0, f64::min),
                from_peers * 100.0
            );
        }
    }
}
