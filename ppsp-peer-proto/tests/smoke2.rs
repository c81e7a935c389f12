//! x
use ppsp_peer_proto::sim::*;
use std::time::Duration;
#[test]
fn eight() {
    let mut l = LinkConfig::default();
    l.delay = Duration::from_millis(10);
    let a = Access { up: Some(2_000_000), down: Some(8_000_000), ..Access::UNLIMITED };
    let mut s = Swarm::builder(1).content(4 << 20).leechers(8).link(l).access(a).build();
    for i in 0..300 {
        let w = std::time::Instant::now();
        s.world.run_for(Duration::from_millis(500));
        println!("{i} {:?} complete {} wall {:?}", s.world.steps(), s.is_complete(), w.elapsed());
        for &id in s.seeds.iter().chain(&s.leechers) {
            let p = s.world.node::<Peer>(id);
            let t = p.stats();
            println!(
                "  in {} out {} acc {} sent {} | unproven {} dup {} unreq {} lapsed {} lost {}  unf {}",
                t.datagrams_in,
                t.datagrams_out,
                t.chunks_accepted,
                t.chunks_sent,
                t.dropped_unproven,
                t.dropped_duplicate,
                t.dropped_unrequested,
                t.requests_lapsed,
                t.chunks_lost,
                t.ignored_unfounded
            );
        }
        if s.is_complete() {
            break;
        }
    }
}
#[test]
fn look() {
    let mut l = LinkConfig::default();
    l.delay = Duration::from_millis(10);
    let a = Access { up: Some(2_000_000), down: Some(8_000_000), ..Access::UNLIMITED };
    let mut s = Swarm::builder(1).content(4 << 20).leechers(8).link(l).access(a).build();
    s.world.run_for(Duration::from_millis(1000));
    for k in [0usize, 4] {
        let id = s.leechers[k];
        let p = s.world.node::<Peer>(id);
        for r in p.remotes() {
            println!("{k} {:?}", p.peer_at(r).unwrap().1);
        }
    }
}
