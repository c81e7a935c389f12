use ppsp_peer_proto::sim::*;
use std::time::Duration;
fn link(ms: u64, loss: f64) -> LinkConfig {
    let mut l = LinkConfig::default();
    l.delay = Duration::from_millis(ms);
    l.loss = (loss * 1e6) as u32;
    l
}
#[test]
fn one() {
    let mut s = Swarm::builder(1).build();
    let t = s.run(Duration::from_secs(60));
    println!("64 chunks: {t:?}");
    for (ms, loss, mib) in [(50u64, 0.0, 16usize), (10, 0.01, 16), (1, 0.0, 16)] {
        let w = std::time::Instant::now();
        let mut s = Swarm::builder(1).content(mib << 20).link(link(ms, loss)).build();
        let t = s.run(Duration::from_secs(300));
        println!("{ms} ms {loss} loss {mib} MiB: {t:?} wall {:?}", w.elapsed());
    }
}
#[test]
fn many() {
    for seed in 1..4 {
        let w = std::time::Instant::now();
        let mut s = Swarm::builder(seed)
            .content(1 << 20)
            .leechers(30)
            .link(link(10, 0.01).jitter(Duration::from_millis(3)).reorder(10000, Duration::from_millis(5)))
            .build();
        let t = s.run(Duration::from_secs(300));
        println!("30 leechers 4 MiB {t:?} wall {:?}", w.elapsed());
    }
}
#[test]
fn eight() {
    for seed in 1..4 {
        let w = std::time::Instant::now();
        let a = Access { up: Some(2_000_000), down: Some(8_000_000), ..Access::UNLIMITED };
        let mut s = Swarm::builder(seed).content(16 << 20).leechers(8).link(link(10, 0.0)).access(a).build();
        let t = s.run(Duration::from_secs(300));
        let id = s.seed();
        println!(
            "8 leechers 16 MiB {t:?} wall {:?} seed up {:.2} copies",
            w.elapsed(),
            s.world.node::<Peer>(id).uploaded() as f64 / (16 << 20) as f64
        );
    }
}
