//! What a swarm costs as it grows: one seed, and 10 to 2000 peers that each know some others, as a tracker would tell
//! them. Prints a table, in virtual time but for the last column.
//!
//! `cargo bench -p ppsp-benches --bench swarm_growth -- 10 100` for other sizes.

use std::time::{Duration, Instant};

use ppsp_peer_proto::sim::{Growth, secs};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // Where `cargo test --benches` comes by, there is nothing to test.
    if args.iter().any(|arg| arg == "--test") {
        return;
    }
    let asked: Vec<usize> = args.iter().filter_map(|arg| arg.parse().ok()).collect();
    let sizes = if asked.is_empty() { vec![10, 100, 1000, 2000] } else { asked };
    println!("1 MiB in chunks of 1 KiB, 20 Mbit/s each, 20 ms, 25 neighbours; datagrams, messages by chunk and peer");
    println!(
        "{:>6} {:>9} {:>9} {:>9} {:>8} {:>6} {:>6} {:>6} {:>6} {:>11} {:>7} {:>8}",
        "peers", "median", "all", "datagrams", "messages", "HAVE", "ACK", "REQ", "DATA", "duplicates", "copies", "took"
    );
    for peers in sizes {
        let began = Instant::now();
        let growth = Growth::measure(1, peers, 1 << 20, Duration::from_secs(3600));
        println!(
            "{peers:>6} {:>7.2} s {:>7.2} s {:>9.2} {:>8.2} {:>6.2} {:>6.2} {:>6.3} {:>6.3} {:>9.2} % {:>7.2} {:>6.1} s",
            secs(growth.median),
            secs(growth.all),
            growth.datagrams,
            growth.messages,
            growth.haves,
            growth.acks,
            growth.requests,
            growth.data,
            growth.duplicates * 100.0,
            growth.copies,
            began.elapsed().as_secs_f64(),
        );
    }
}
