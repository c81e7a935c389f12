//! How long content takes over emulated paths, in virtual time: the same on every machine. Prints a table.

use std::time::{Duration, Instant};

use ppsp_peer_proto::{
    Congestion,
    sim::{Access, LinkConfig, Swarm, secs},
};

const MIB: usize = 1 << 20;
const LIMIT: Duration = Duration::from_secs(600);

fn main() {
    // Where `cargo test --benches` comes by, there is nothing to test.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    let ms = Duration::from_millis;
    println!("{:<62} {:>10} {:>10} {:>10}", "simulated: time to transfer", "LEDBAT", "streaming", "libswift");
    path("16 MiB, 10 ms each way, no loss", "3.7 s", 16 * MIB, LinkConfig::perfect(ms(10)));
    path("16 MiB, 10 ms each way, 1 % loss each way", "15-18 s", 16 * MIB, LinkConfig::perfect(ms(10)).loss(10_000));
    path("16 MiB, 50 ms each way, no loss", "18 s", 16 * MIB, LinkConfig::perfect(ms(50)));
    let bottleneck = LinkConfig::perfect(ms(20)).rate(1_250_000, 64 * 1024);
    path("8 MiB, 20 ms each way, 1.25 MB/s with a queue of 64 KiB", "8.5 s", 8 * MIB, bottleneck);
    path("8 MiB, the same, 0.5 % loss each way", "14-20 s", 8 * MIB, bottleneck.loss(5_000));
    println!();
    println!("{:<62} {:>10} {:>10}   took", "simulated", "reached", "figure");
    for rate in [1_000_000, 12_500_000] {
        let name = format!("8 MiB, 1 seed, 8 leechers, {} Mbit/s each, 20 ms", rate / 125_000);
        row(&name, "2.5 copies", || {
            let build = Swarm::builder(1).content(8 * MIB).leechers(8).access(Access::both(rate));
            let mut swarm = build.link(LinkConfig::perfect(ms(20))).build();
            swarm.run(LIMIT);
            format!("{:.2} copies", swarm.copies_from_seeds())
        });
    }
}

fn path(name: &str, libswift: &str, length: usize, link: LinkConfig) {
    let [ledbat, streaming] = [Congestion::Background, Congestion::Streaming].map(|congestion| {
        let mut swarm = Swarm::builder(1).content(length).link(link).congestion(congestion).build();
        format!("{:.2} s", secs(swarm.run(LIMIT)))
    });
    println!("{name:<62} {ledbat:>10} {streaming:>10} {libswift:>10}");
}

fn row(name: &str, figure: &str, measure: impl FnOnce() -> String) {
    let began = Instant::now();
    let reached = measure();
    println!("{name:<62} {reached:>10} {figure:>10}   {:.1} s", began.elapsed().as_secs_f64());
}
