//! Congestion control, end to end: endpoints over emulated paths and shared bottlenecks, in virtual time.

mod common;

use std::{sync::Arc, time::Duration};

use common::*;
use ppsp_core::ChunkRange;
use ppsp_peer_proto::{
    Congestion,
    congestion::{ControllerFactory, LedbatFactory, StreamingFactory},
    sim::{Flows, HEADERS, LinkConfig, Peer, RenoFactory, Swarm, jain, secs},
};

const MIB: usize = 1 << 20;
/// What the flows meet at: 10 Mbit/s, on paths of 20 ms each way.
const RATE: u64 = 1_250_000;

fn ledbat() -> Arc<dyn ControllerFactory> {
    Arc::new(LedbatFactory::default())
}

fn streaming() -> Arc<dyn ControllerFactory> {
    Arc::new(StreamingFactory::default())
}

/// The part of a rate that so many bytes of payload in a time are, in per cent; most datagrams are of 1094 bytes or less.
fn share(bytes: u64, rate: u64, time: Duration) -> f64 {
    bytes as f64 * (1094 + HEADERS) as f64 / 1094.0 / (rate as f64 * time.as_secs_f64()) * 100.0
}

/// Shares of all flows over a time.
fn shares(flows: &mut Flows, rate: u64, time: Duration) -> Vec<f64> {
    flows.measure(time).into_iter().map(|bytes| share(bytes, rate, time)).collect()
}

/// 1 Gbit/s over 50 ms each way holds 12.5 MB; the queue before it as much again.
#[test]
fn ledbat_fills_a_gigabit_on_a_long_path() {
    one_seed(|seed| {
        let rate = 125_000_000;
        let mut flows = Flows::new(seed, rate, 12_500_000, LinkConfig::perfect(ms(50)), 448 * MIB);
        flows.add(ledbat());
        let seconds: Vec<f64> = (0..5).map(|_| shares(&mut flows, rate, s(1))[0]).collect();
        println!("FIGURE LEDBAT, 1 Gbit/s, 50 ms each way, 1st to 5th second: {seconds:.0?} % (5th ≥ 90)");
        assert!(seconds[4] >= 90.0, "{seconds:.0?}");
    });
}

#[test]
fn ledbat_flows_that_begin_together_share_alike() {
    each_seed(|seed| {
        let mut flows = Flows::new(seed, 2 * RATE, 1_000_000, LinkConfig::perfect(ms(20)), 24 * MIB);
        for _ in 0..8 {
            flows.add(ledbat());
        }
        flows.world.run_for(s(10));
        let got = flows.measure(s(20));
        let used = share(got.iter().sum(), 2 * RATE, s(20));
        println!("FIGURE 8 LEDBAT flows, 10 s to 30 s: Jain {} ‰ (≥ 950), {used:.0} % used", jain(&got));
        assert!(jain(&got) >= 950 && used >= 95.0, "{got:?}");
    });
}

/// Each comes when those before it have filled the queue, and takes that for the length of the path at first.
#[test]
fn ledbat_flows_that_come_late_share_alike() {
    one_seed(|seed| {
        let mut flows = Flows::new(seed, 2 * RATE, 1_000_000, LinkConfig::perfect(ms(20)), 40 * MIB);
        for _ in 0..8 {
            flows.add(ledbat());
            flows.world.run_for(s(3));
        }
        flows.world.run_for(s(30));
        let got = flows.measure(s(30));
        let used = share(got.iter().sum(), 2 * RATE, s(30));
        println!(
            "FIGURE 8 LEDBAT flows, one every 3 s, 30 s to 60 s after the last: Jain {} ‰ (≥ 950), {used:.0} % used",
            jain(&got)
        );
        assert!(jain(&got) >= 950 && used >= 95.0, "{got:?}");
    });
}

/// RFC 6817: "yield in the presence of competing TCP flows".
#[test]
fn ledbat_yields_to_a_loss_based_flow() {
    one_seed(|seed| {
        for queue in [125_000, 250_000, 500_000] {
            let mut flows = Flows::new(seed, RATE, queue, LinkConfig::perfect(ms(20)), 80 * MIB);
            let (a, b) = (flows.add(ledbat()), 1);
            flows.world.run_for(s(10));
            flows.add(Arc::new(RenoFactory));
            flows.world.run_for(s(10));
            let both = shares(&mut flows, RATE, s(30));
            flows.end(b);
            let after = shares(&mut flows, RATE, s(10))[a];
            println!(
                "FIGURE a queue of {} ms: LEDBAT keeps {:.1} % (≤ 10) beside Reno with {:.1} %, {after:.0} % in the 10 s after",
                queue * 1000 / RATE as usize,
                both[a],
                both[b]
            );
            assert!(both[a] <= 10.0 && both[a] + both[b] >= 95.0 && after >= 80.0, "{both:?} {after}");
        }
    });
}

fn watch(seed: u64, link: LinkConfig, mib: usize) -> f64 {
    let mut swarm = Swarm::builder(seed).content(mib * MIB).link(link).congestion(Congestion::Streaming).build();
    secs(swarm.run(s(60)))
}

/// libswift: 15 s to 18 s.
#[test]
fn streaming_over_a_path_with_loss() {
    each_seed(|seed| {
        for (percent, limit) in [(1, 5.0), (3, 12.0)] {
            let at = watch(seed, LinkConfig::perfect(ms(10)).loss(percent * 10_000), 16);
            println!("FIGURE streaming, 10 ms and {percent} % loss each way, 16 MiB: {at:.2} s (≤ {limit})");
            assert!(at <= limit, "{at:.2} s");
        }
    });
}

/// libswift: 18 s.
#[test]
fn streaming_over_a_long_path() {
    each_seed(|seed| {
        let at = watch(seed, LinkConfig::perfect(ms(50)), 16);
        println!("FIGURE streaming, 50 ms each way, 16 MiB: {at:.2} s (≤ 2)");
        assert!(at <= 2.0, "{at:.2} s");
    });
}

/// libswift: 14 s to 20 s with loss, 8.5 s without. Headers and hashes included, 7.4 s is all that the rate allows.
#[test]
fn streaming_through_a_bottleneck() {
    each_seed(|seed| {
        for loss in [5_000, 0] {
            let at = watch(seed, LinkConfig::perfect(ms(20)).rate(RATE, 64 * 1024).loss(loss), 8);
            println!("FIGURE streaming, 1.25 MB/s, 20 ms, {} % loss, 8 MiB: {at:.2} s (≤ 8)", loss as f64 / 10_000.0);
            assert!(at <= 8.0, "{at:.2} s");
        }
    });
}

/// Alone it leaves next to nothing in the queue, however much that would hold.
#[test]
fn streaming_keeps_the_queue_short() {
    one_seed(|seed| {
        for queue in [64_000, 500_000] {
            let mut flows = Flows::new(seed, RATE, queue, LinkConfig::perfect(ms(20)), 40 * MIB);
            flows.add(streaming());
            flows.world.run_for(s(3));
            let mut waits: Vec<usize> = Vec::new();
            for _ in 0..500 {
                flows.world.run_for(ms(20));
                waits.push(flows.queue() * 1000 / RATE as usize);
            }
            let (mean, most) = (waits.iter().sum::<usize>() / waits.len(), waits.iter().max().unwrap());
            println!("FIGURE streaming alone: a queue of {mean} ms on average, {most} ms at most");
            assert!(mean <= 15 && *most <= 60, "{mean} ms, {most} ms");
        }
    });
}

/// It takes its share and leaves theirs to others, whatever the queue holds.
#[test]
fn streaming_beside_others() {
    let others = [("LEDBAT", ledbat()), ("Reno", Arc::new(RenoFactory)), ("streaming", streaming())];
    one_seed(|seed| {
        for (name, other) in &others {
            for queue in [64_000, 125_000, 250_000, 500_000] {
                let mut flows = Flows::new(seed, RATE, queue, LinkConfig::perfect(ms(20)), 64 * MIB);
                flows.add(streaming());
                flows.world.run_for(s(5));
                flows.add(Arc::clone(other));
                flows.world.run_for(s(10));
                let both = shares(&mut flows, RATE, s(30));
                println!(
                    "FIGURE a queue of {} ms: streaming {:.0} %, {name} {:.0} %",
                    queue * 1000 / RATE as usize,
                    both[0],
                    both[1]
                );
                assert!(both[0] >= 10.0 && both[1] >= 10.0 && both[0] + both[1] >= 90.0, "{both:?}");
            }
        }
    });
}

/// How far a download comes in 3 s over a path where LEDBAT crawls, whether somebody reads at the seed or not.
#[test]
fn who_reads_chooses() {
    one_seed(|seed| {
        let run = |congestion, reads: &[Option<u64>]| {
            let link = LinkConfig::perfect(ms(10)).rate(6_000_000, 256 * 1024).loss(10_000);
            let mut swarm = Swarm::builder(seed).content(32 * MIB).link(link).congestion(congestion).build();
            let (id, leecher) = (swarm.seed(), swarm.leecher());
            let mut got = Vec::new();
            for chunk in reads {
                let windows: Vec<_> = chunk.iter().map(|&chunk| ChunkRange::with_len(chunk, 4097).unwrap()).collect();
                swarm.world.act(id, |peer: &mut Peer, _| peer.set_windows(&windows));
                let before = swarm.world.peer(leecher).downloaded();
                swarm.world.run_for(s(2));
                got.push((swarm.world.peer(leecher).downloaded() - before) >> 10);
            }
            swarm.check();
            got
        };
        let turns = run(Congestion::Automatic, &[None, Some(7), None]);
        let background = run(Congestion::Background, &[None, Some(7)]);
        let streaming = run(Congestion::Streaming, &[None]);
        println!(
            "FIGURE 48 Mbit/s, 1 % loss, KiB in 2 s: nobody reads, somebody, nobody {turns:?}; background {background:?}; streaming {streaming:?}"
        );
        assert!(turns[1] > 3 * turns[0] && turns[1] > 2 * turns[2], "{turns:?}");
        assert!(background[1] < turns[1] / 2, "{background:?}");
        assert!(streaming[0] > 3 * turns[0], "{streaming:?}");
    });
}
