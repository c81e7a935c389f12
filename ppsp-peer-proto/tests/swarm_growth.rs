//! What a peer costs must not depend on how many there are, as long as it knows but some of them.

use std::{collections::BTreeMap, time::Duration};

use ppsp_core::ChunkRange;
use ppsp_peer_proto::{
    EndpointConfig,
    sim::{Crowd, Growth, Speech, node_address, secs},
    wire::Message,
};

#[test]
fn ten_times_the_peers_cost_each_as_much() {
    let measure = |peers| {
        let growth = Growth::measure(1, peers, 256 << 10, Duration::from_secs(120));
        println!("FIGURE {peers} peers: {growth:?}");
        growth
    };
    let (few, many) = (measure(10), measure(100));
    // All who come within two seconds, and the time of some copies.
    assert!(secs(many.all) <= secs(few.all) * 2.0 + 2.0, "{:?}, {:?}", few.all, many.all);
    assert!(many.data <= 1.15, "a chunk is sent once, and seldom twice: {}", many.data);
    assert!(many.duplicates <= 0.15, "{}", many.duplicates);
    // A HAVE tells each neighbour, and there are five times as many; the rest is the same.
    let rest = |growth: &Growth| growth.messages - growth.haves;
    assert!(rest(&many) <= rest(&few) * 2.0, "{} after {}", rest(&many), rest(&few));
    assert!(many.haves <= 2.0 * Growth::NEIGHBOURS as f64, "{}", many.haves);
    assert!(many.copies <= 12.0, "{} copies from the seed", many.copies);
}

/// With an upload limit most of a crowd waits most of the time. All have their turn, and the limit is used.
#[test]
fn an_upload_limit_is_shared_by_a_crowd() {
    const PEERS: usize = 500;
    const RATE: u64 = 1 << 20;
    let mut config = EndpointConfig::default();
    config.upload_limit = Some(RATE);
    let mut crowd = Crowd::new(1, config);
    let content = crowd.content(64);
    crowd.open(&content, true);
    crowd.join(PEERS);
    crowd.pass(Duration::from_secs(1));
    let start = crowd.now();
    let range = ChunkRange::new(0, 3).expect("a range");
    (0..PEERS).for_each(|peer| crowd.say(peer, &[Message::Request { range }]));
    let speech = Speech::new(&content);
    let mut served = BTreeMap::new();
    let (mut calls, mut chunks) = (0, 0);
    while chunks < PEERS * 4 {
        let now = crowd.now();
        assert!(secs(now) - secs(start) < 10.0, "{chunks} chunks after ten seconds");
        let next = crowd.endpoint().poll_timeout().expect("there is more to do");
        calls += 1;
        let mut came = Vec::new();
        crowd.pass_to(next.max(now), |remote, datagram| {
            let (_, messages) = speech.parse(datagram);
            came.extend(messages.iter().filter_map(|message| match message {
                Message::Data { range, .. } => Some((remote, *range)),
                _ => None,
            }));
        });
        for (remote, range) in came {
            chunks += 1;
            *served.entry(remote).or_insert(0) += 1;
            let peer = (0..PEERS).find(|&n| node_address(n as u64) == remote).expect("one of ours");
            crowd.say(peer, &[Message::Ack { range, delay: 1000 }]);
        }
    }
    let took = secs(crowd.now()) - secs(start);
    let fair = (PEERS * 4 * 1024) as f64 / RATE as f64;
    println!("FIGURE {chunks} chunks to {PEERS} peers at 1 MiB/s: {took:.3} s, {calls} calls");
    assert_eq!((served.len(), served.values().max()), (PEERS, Some(&4)));
    assert!((fair * 0.85..fair * 1.05).contains(&took), "{took} s, not {fair}");
}
