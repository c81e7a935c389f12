//! Who watches while the content comes: soon there, hardly ever standing still, and from each other.

mod common;

use std::time::Duration;

use common::*;
use ppsp_peer_proto::{
    Congestion,
    sim::{Access, Acquaintance, Chance, LinkConfig, NodeId, Peer, Screen, Swarm, Viewer},
};

/// 1 Mbit/s.
const BITRATE: u64 = 128_000;

fn screen() -> Screen {
    Screen { bitrate: BITRATE, start: s(1), buffer: s(20), ahead: s(20) }
}

/// Paths of 50 ms there and back that lose one of a hundred.
fn link() -> LinkConfig {
    LinkConfig::perfect(ms(25)).loss(10_000)
}

/// Lets everybody watch for a time, or until all have seen everything.
fn watch(swarm: &mut Swarm, viewers: &mut [Viewer], time: Duration) {
    let until = swarm.world.now() + time;
    while swarm.world.now() < until && !viewers.iter().all(Viewer::is_gone) {
        swarm.world.run_for(Viewer::FRAME);
        viewers.iter_mut().for_each(|viewer| viewer.step(&mut swarm.world));
    }
}

/// Of ten uplinks two have half of the bitrate, three the bitrate itself, three half as much again and two plenty: once
/// and a half the bitrate on average.
fn uplinks(seed: u64, viewers: usize) -> Vec<Access> {
    let tenths = [5, 5, 10, 10, 10, 15, 15, 15, 33, 32];
    let mut rates: Vec<u64> = tenths.iter().cycle().take(viewers).map(|rate| BITRATE * rate / 10).collect();
    Chance::new(seed, "uplinks", 0).shuffle(&mut rates);
    rates.iter().map(|&up| Access { up: Some(up), down: Some(BITRATE * 10), queue: None }).collect()
}

/// Whom a tracker tells a newcomer of, beside the seed: ours names twenty.
const NEIGHBOURS: usize = 19;

/// Somebody sits down: knows the seed and some of those who came before.
fn sit_down(swarm: &mut Swarm, viewers: &mut Vec<Viewer>, chance: &mut Chance, id: NodeId) {
    let mut others: Vec<NodeId> = viewers.iter().map(Viewer::peer).collect();
    chance.shuffle(&mut others);
    for &to in swarm.seeds.iter().chain(others.iter().take(NEIGHBOURS)) {
        swarm.world.connect(id, to);
    }
    // What is read, and nothing else.
    swarm.world.act(id, |peer: &mut Peer, now| peer.want(now, Some(&[])));
    viewers.push(Viewer::new(swarm, id, screen()));
}

/// A film of so many seconds, a seed that sends so many times the bitrate, and nobody there yet.
fn cinema(seed: u64, seconds: u64, times: u64, viewers: usize) -> Swarm {
    Swarm::builder(seed)
        .content((BITRATE * seconds) as usize)
        .leechers(viewers)
        .acquaintance(Acquaintance::Nobody)
        .link(link())
        .congestion(Congestion::Streaming)
        .seed_access(Access::up(BITRATE * times))
        .build()
}

/// Some who sit down together, with uplinks of half as much again as the bitrate.
fn audience(seed: u64, seconds: u64, times: u64, viewers: usize) -> (Swarm, Vec<Viewer>) {
    let mut swarm = cinema(seed, seconds, times, viewers);
    let mut chance = Chance::new(seed, "audience", 0);
    let mut seated = Vec::new();
    for id in swarm.leechers.clone() {
        swarm.world.set_access(id, Access { up: Some(BITRATE * 3 / 2), down: Some(BITRATE * 10), queue: None });
        sit_down(&mut swarm, &mut seated, &mut chance, id);
    }
    (swarm, seated)
}

/// A film of five minutes; `PPSP_SECONDS=120` for another length.
#[test]
fn a_flash_crowd() {
    one_seed(|seed| {
        const VIEWERS: usize = 50;
        let seconds = std::env::var("PPSP_SECONDS").map_or(300, |n| n.parse().expect("a number"));
        let mut swarm = cinema(seed, seconds, 4, VIEWERS);
        let mut chance = Chance::new(seed, "crowd", 0);
        let leechers = swarm.leechers.clone();
        for (&id, access) in leechers.iter().zip(uplinks(seed, VIEWERS)) {
            swarm.world.set_access(id, access);
        }
        // All come within ten seconds.
        let mut comes: Vec<u64> = (0..VIEWERS).map(|_| chance.below(10_000)).collect();
        comes.sort_unstable();
        let mut viewers = Vec::new();
        for (&id, at) in leechers.iter().zip(comes) {
            let now = swarm.world.now().as_micros() / 1000;
            watch(&mut swarm, &mut viewers, ms(at.saturating_sub(now)));
            sit_down(&mut swarm, &mut viewers, &mut chance, id);
        }
        watch(&mut swarm, &mut viewers, s(seconds * 2));
        swarm.check();
        assert!(viewers.iter().all(Viewer::is_gone), "somebody has not seen the end");

        let continuity: Vec<f64> = viewers.iter().map(Viewer::continuity).collect();
        let mean = continuity.iter().sum::<f64>() / VIEWERS as f64;
        let worst = continuity.iter().copied().fold(1.0, f64::min);
        let mut first: Vec<f64> = viewers.iter().filter_map(|v| Some(v.first_frame()?.as_secs_f64())).collect();
        first.sort_by(f64::total_cmp);
        let got: u64 = leechers.iter().map(|&id| swarm.world.peer(id).downloaded()).sum();
        let twice: u64 = leechers.iter().map(|&id| swarm.world.peer(id).stats().dropped_duplicate).sum();
        let twice = twice as f64 * 1024.0 / got as f64;
        let share = 1.0 - swarm.world.peer(swarm.seed()).uploaded() as f64 / got as f64;
        println!(
            "FIGURE {VIEWERS} viewers: continuity {mean:.4}, worst {worst:.4}; first picture after {:.2} s, worst {:.2} s; \
             {:.1} % from peers; {:.1} % came twice; stalls {}; {:.3} bytes sent for each",
            first[VIEWERS / 2],
            first[VIEWERS - 1],
            share * 100.0,
            twice * 100.0,
            viewers.iter().map(Viewer::stalls).sum::<u32>(),
            swarm.world.net().total().sent_bytes as f64 / got as f64,
        );
        // What is missing is missing in the first quarter of a minute, while people still come.
        let lost = (1.0 - mean) * seconds as f64;
        assert!(lost <= 3.0 && worst >= 0.85, "{lost} s of continuity {mean}, worst {worst}");
        assert!(first[VIEWERS / 2] <= 1.8, "{first:?}");
        assert!(share >= 0.9, "{share}");
        // What is late with one peer is asked of another, and not of all in turn.
        assert!(twice <= 0.03, "{twice}");
    });
}

/// The new place gets what there is, forwards and back, while others watch.
#[test]
fn a_seek() {
    each_seed(|seed| {
        let (mut swarm, mut viewers) = audience(seed, 240, 12, 5);
        watch(&mut swarm, &mut viewers, s(20));
        let mut waits = Vec::new();
        // Nobody has been there, but for the second.
        for to in [200, 2, 120, 80] {
            viewers[0].seek(&mut swarm.world, to * BITRATE);
            watch(&mut swarm, &mut viewers, s(8));
            assert!(viewers[0].is_playing(), "not after 8 s at {to} s");
            waits.push(viewers[0].last_wait().as_secs_f64());
        }
        println!("FIGURE a seek takes, seconds: {waits:.2?}");
        // What is aimed at is 1 s each; one of thirty takes longer, where what was lost was just what was needed.
        let mean = waits.iter().sum::<f64>() / waits.len() as f64;
        assert!(mean <= 0.75 && waits.iter().all(|&wait| wait <= 1.5), "{waits:?}");
        swarm.check();
    });
}

/// One of those that are asked takes requests and never answers: what it was asked for comes from others in time.
#[test]
fn a_frozen_peer() {
    each_seed(|seed| {
        let (mut swarm, mut viewers) = audience(seed, 60, 8, 4);
        watch(&mut swarm, &mut viewers, s(10));
        assert!(viewers.iter().all(Viewer::is_playing));
        let before: u32 = viewers[..3].iter().map(Viewer::stalls).sum();
        let frozen = viewers.pop().expect("there are four").peer();
        let asked: usize = swarm.leechers[..3]
            .iter()
            .filter_map(|&id| Some(swarm.world.peer(id).peer_at(swarm.world.address(frozen))?.1.requested))
            .sum();
        // It goes on hearing and says no more.
        swarm.world.set_access(frozen, Access { up: Some(1), down: None, queue: Some(0) });
        watch(&mut swarm, &mut viewers, s(100));
        let stalls = viewers.iter().map(Viewer::stalls).sum::<u32>() - before;
        println!("FIGURE a frozen peer: {asked} chunks asked of it as it froze, {stalls} stalls");
        assert_eq!(stalls, 0);
        assert!(viewers.iter().all(Viewer::is_gone));
    });
}

/// Many who name everything and answer nothing hold up nobody who answers.
#[test]
fn silent_peers_are_in_nobodys_way() {
    each_seed(|seed| {
        let (mut swarm, mut viewers) = audience(seed, 60, 4, 10);
        let mut silent = viewers.split_off(1);
        // They have seen all of it, and go on hearing.
        watch(&mut swarm, &mut silent, s(40));
        for viewer in &silent {
            swarm.world.set_access(viewer.peer(), Access { up: Some(1), down: None, queue: Some(0) });
        }
        watch(&mut swarm, &mut viewers, s(100));
        let (stalls, first) = (viewers[0].stalls(), viewers[0].first_frame());
        println!("FIGURE nine of ten are silent: {stalls} stalls");
        assert!(viewers[0].is_gone() && stalls <= 2, "{stalls} stalls, first picture {first:?}");
    });
}

/// Readers of one peer at several places: each gets on at its own pace.
#[test]
fn several_readers_share() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).content(8 << 20).seeds(2).access(Access::both(600_000)).build();
        let id = swarm.leecher();
        let length = 1600;
        let mut at = [100, 3000, 6000];
        let begin = at;
        for _ in 0..60 {
            let windows = at.map(|at| range(at, at + length - 1));
            swarm.world.act(id, |peer: &mut Peer, _| peer.set_windows(&windows));
            swarm.world.run_for(ms(50));
            for at in &mut at {
                *at = swarm.world.peer(id).held().next_gap(*at).map_or(8192, |gap| gap.first()).min(8192 - length);
            }
        }
        let read: Vec<u64> = at.iter().zip(begin).map(|(at, begin)| at - begin).collect();
        println!("FIGURE three readers, chunks read in 3 s: {read:?}");
        let (least, most) = (*read.iter().min().unwrap(), *read.iter().max().unwrap());
        assert!(least * 2 > most && least > 300, "{read:?}");
        swarm.check();
    });
}
