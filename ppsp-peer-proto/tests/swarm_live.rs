//! Live streams: who watches is in time, whoever the others are.

mod common;

use std::time::Duration;

use common::*;
use ppsp_peer_proto::{
    Event,
    sim::{Access, Broadcast, Chance, LinkConfig},
};

/// 1 Mbit/s.
const BITRATE: u64 = 128_000;
/// How far watchers are behind.
const DELAY: Duration = Duration::from_secs(5);

fn plenty() -> Access {
    Access { up: Some(BITRATE * 4), down: Some(BITRATE * 10), queue: None }
}

fn link() -> LinkConfig {
    LinkConfig::perfect(ms(25)).loss(10_000)
}

fn broadcast(seed: u64, seconds: u64) -> Broadcast {
    Broadcast::new(seed, BITRATE, BITRATE * seconds, link(), Access::up(BITRATE * 4))
}

#[test]
fn one_source_and_one_viewer() {
    each_seed(|seed| {
        let mut show = broadcast(seed, 20);
        let source = show.source;
        show.run(s(3));
        let id = show.watch(plenty(), DELAY, &[source]);
        show.run(s(16));
        let viewer = &show.watchers[0];
        assert!(
            viewer.shown() > 1000,
            "{viewer:?} {:?} {:?} held {:?}",
            show.world.peer(id).stats(),
            show.world.peer(source).stats(),
            show.world.peer(source).held()
        );
        assert!(viewer.continuity() > 0.999, "{viewer:?} {:?}", show.world.peer(id).stats());
        let tuned: Vec<Event> = show.events(id);
        assert!(tuned.iter().any(|event| matches!(event, Event::TunedIn { chunk, .. } if *chunk >= 320)), "{tuned:?}");
    });
}

/// Watchers with uplinks of half the bitrate to three times it, each of whom knows the source and some others; one comes every so often.
fn crowd(seed: u64, show: &mut Broadcast, viewers: usize, every: Duration) {
    let tenths = [5, 10, 10, 15, 15, 20, 25, 30];
    let mut chance = Chance::new(seed, "crowd", 0);
    for n in 0..viewers {
        let up = BITRATE * tenths[n % tenths.len()] / 10;
        let mut others: Vec<_> = show.present().map(|watcher| watcher.peer).collect();
        chance.shuffle(&mut others);
        others.truncate(10);
        others.insert(0, show.source);
        show.watch(Access { up: Some(up), down: Some(BITRATE * 10), queue: None }, DELAY, &others);
        show.run(every);
    }
}

fn report(show: &Broadcast) -> (f64, f64) {
    let all: Vec<f64> = show.present().map(|watcher| watcher.continuity()).collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let worst = all.iter().copied().fold(1.0, f64::min);
    let source = show.world.peer(show.source);
    let rate = source.stats().bytes_out as f64 / (show.pushed() as f64 * 1024.0);
    println!(
        "FIGURE {} viewers: continuity {mean:.4}, worst {worst:.4}; the source sent {rate:.2} times the stream",
        all.len()
    );
    (mean, rate)
}

#[test]
fn a_crowd_watches() {
    one_seed(|seed| {
        let viewers = std::env::var("PPSP_VIEWERS").map_or(8, |n| n.parse().expect("a number"));
        let mut show = broadcast(seed, 60);
        show.run(s(3));
        crowd(seed, &mut show, viewers, ms(10_000 / viewers as u64));
        show.run(s(30));
        let (mean, rate) = report(&show);
        assert!(mean >= 0.99 && rate <= 4.0);
    });
}
