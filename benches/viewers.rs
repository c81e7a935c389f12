//! A table of flash crowds that watch: content is played at its bitrate while it comes, in virtual time. The same on every machine.
//!
//! Uplinks are of half the bitrate to three and a half times, one and a half on the mean; 25 ms and 1 % loss each way; the seed
//! sends at most four times the bitrate.

use std::time::Duration;

use ppsp_core::Instant;
use ppsp_peer_proto::{
    Congestion,
    sim::{Access, Acquaintance, Chance, LinkConfig, NodeId, Peer, Screen, Swarm, Viewer},
};

/// Bytes a second of what is played.
const BITRATE: u64 = 62_500;
/// A second is there before the first picture, and after a stall; ten are fetched ahead of what is read.
const SCREEN: Screen = Screen {
    bitrate: BITRATE,
    start: Duration::from_secs(1),
    buffer: Duration::from_secs(10),
    ahead: Duration::from_secs(10),
};

fn link() -> LinkConfig {
    LinkConfig::perfect(Duration::from_millis(25)).loss(10_000)
}

/// A film of so many seconds, and so many who will come to watch it within five seconds, with when each comes; uplinks of half the
/// bitrate to three and a half times, one and a half on the mean.
fn crowd(seed: u64, viewers: usize, length: u64) -> (Swarm, Vec<(Instant, NodeId)>) {
    let mut swarm = Swarm::builder(seed)
        .content((BITRATE * length) as usize)
        .leechers(viewers)
        .link(link())
        .seed_access(Access { up: Some(4 * BITRATE), down: None, queue: None })
        .acquaintance(Acquaintance::Nobody)
        .congestion(Congestion::Streaming)
        .build();
    let mut chance = Chance::new(seed, "viewers", 0);
    let all: Vec<NodeId> = swarm.leechers.clone();
    let begun = swarm.world.now();
    let mut coming = Vec::new();
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
        coming.push((came, id));
    }
    coming.sort();
    (swarm, coming)
}

/// Until all have seen the end, or so many seconds have passed.
fn watch(swarm: &mut Swarm, coming: Vec<(Instant, NodeId)>, seconds: u64) -> Vec<Viewer> {
    let end = swarm.world.now() + Duration::from_secs(seconds);
    let mut coming = coming.into_iter().peekable();
    let mut viewers: Vec<Viewer> = Vec::new();
    while swarm.world.now() < end && (coming.peek().is_some() || !viewers.iter().all(Viewer::is_gone)) {
        while let Some((_, id)) = coming.next_if(|(at, _)| *at <= swarm.world.now()) {
            viewers.push(Viewer::new(swarm, id, SCREEN));
        }
        swarm.world.run_for(Viewer::FRAME);
        viewers.iter_mut().for_each(|viewer| viewer.step(&mut swarm.world));
    }
    viewers
}

fn main() {
    // Where `cargo test --benches` comes by, there is nothing to test.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    const LENGTH: u64 = 60;
    println!(
        "{:>8} {:>5} {:>16} {:>8} {:>12} {:>8} {:>11}",
        "viewers", "seed", "first picture", "last", "continuity", "worst", "from peers"
    );
    for viewers in [10, 50] {
        for seed in 1..=2 {
            let (mut swarm, coming) = crowd(seed, viewers, LENGTH);
            let crowd = watch(&mut swarm, coming, LENGTH + 40);
            let first =
                crowd.iter().map(|viewer| viewer.first_frame().map_or(f64::INFINITY, |first| first.as_secs_f64()));
            let mut first: Vec<f64> = first.collect();
            first.sort_by(f64::total_cmp);
            let all = crowd.iter().map(Viewer::continuity);
            let mean = all.clone().sum::<f64>() / viewers as f64;
            let received: u64 = crowd.iter().map(|viewer| swarm.world.peer(viewer.peer()).downloaded()).sum();
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
