//! What a peer costs must not depend on how many there are, as long as it knows but some of them.

use std::time::Duration;

use ppsp_peer_proto::sim::{Growth, secs};

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
