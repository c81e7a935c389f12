//! Congestion control, end to end: endpoints over emulated paths, in virtual time.

mod common;

use std::{sync::Arc, time::Duration};

use common::*;
use ppsp_peer_proto::{
    congestion::LedbatFactory,
    sim::{Flows, LinkConfig, RenoFactory, Swarm, jain, secs},
};

const MIB: usize = 1 << 20;
/// Payload of a link for each byte of its rate: IP and UDP headers take the rest.
const PAYLOAD: f64 = 1094.0 / 1122.0;

fn share(bytes: u64, rate: u64, time: Duration) -> f64 {
    bytes as f64 / PAYLOAD / (rate as f64 * time.as_secs_f64())
}

#[test]
fn x_one_gigabit() {
    one_seed(|seed| {
        let rate = 125_000_000;
        let length: usize = std::env::var("LEN").map_or(500, |t| t.parse().unwrap());
        let mut flows = Flows::new(seed, rate, 12_500_000, LinkConfig::perfect(ms(50)), length * MIB);
        let n = flows.add(Arc::new(LedbatFactory::default()));
        let mut line = Vec::new();
        for _ in 0..10 {
            let got = flows.measure(ms(500))[n];
            line.push((share(got, rate, ms(500)) * 100.0) as u32);
        }
        println!("FIGURE 1 Gbit/s, 50 ms each way: % {line:?} {:?}", flows.world.node::<ppsp_peer_proto::sim::Peer>(flows.all()[0].seed).stats());
    });
}

#[test]
fn x_fair() {
    one_seed(|seed| {
        let rate = 2_500_000;
        let mut flows = Flows::new(seed, rate, 1_000_000, LinkConfig::perfect(ms(20)), 64 * MIB);
        for late in [0, 3] {
            for _ in 0..8 { flows.add(Arc::new(LedbatFactory::default())); flows.world.run_for(ms(late * 1000)); }
            for _ in 0..3 {
            let got = flows.measure(s(10));
            println!("FIGURE fair: {:?} KiB, jain {}, sum {:.2} queue {}", got.iter().map(|x| x>>10).collect::<Vec<_>>(), jain(&got), share(got.iter().sum(), rate, s(10)), flows.queue(flows.world.now()));
            }
            flows = Flows::new(seed, rate, 1_000_000, LinkConfig::perfect(ms(20)), 64 * MIB);
        }
    });
}

#[test]
fn x_yields() {
    one_seed(|seed| {
        let rate = 1_250_000;
        for queue in [125_000, 250_000] {
        let mut flows = Flows::new(seed, rate, queue, LinkConfig::perfect(ms(20)), 128 * MIB);
        let a = flows.add(Arc::new(LedbatFactory::default()));
        flows.world.run_for(s(10));
        let b = flows.add(Arc::new(RenoFactory));
        for _ in 0..4 {
        let got = flows.measure(s(10));
        println!("FIGURE yields {queue}: {:.3} {:.3}", share(got[a], rate, s(10)), share(got[b], rate, s(10)));
        }
        flows.end(b);
        let got = flows.measure(s(10));
        println!("FIGURE yields: after {:.3}", share(got[a], rate, s(10)));
        }
    });
}

#[test]
fn x_paths() {
    let lossy = LinkConfig::perfect(ms(10)).loss(10_000);
    let rate = LinkConfig::perfect(ms(20)).rate(1_250_000, 64 * 1024);
    for (name, link, length) in [("lossy", lossy, 16), ("long", LinkConfig::perfect(ms(50)), 16), ("rate", rate, 8), ("rate loss", rate.loss(5000), 8)] {
        let mut swarm = Swarm::builder(1).content(length * MIB).link(link).build();
        let at = secs(swarm.run(s(100)));
        println!("FIGURE {name}: {at:.2}\n{}", swarm.report());
    }
}
