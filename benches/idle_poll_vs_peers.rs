//! What an endpoint's calls cost beside 10 to 10 000 idle peers. Prints a table with the ratios to 10 peers: an idle poll
//! must not know how many there are, and a datagram hardly.

use std::{
    hint::black_box,
    net::SocketAddr,
    num::NonZeroUsize,
    ops::Range,
    time::{Duration, Instant},
};

use ppsp_benches::shuffled;
use ppsp_core::ChunkRange;
use ppsp_peer_proto::{Datagrams, EndpointConfig, sim::Crowd, wire::Message};

/// Peers, over how many swarms.
const CROWDS: [(usize, usize); 8] =
    [(10, 1), (10, 10), (100, 1), (100, 10), (1000, 1), (1000, 100), (10_000, 1), (10_000, 1000)];
/// Chunks of each content.
const CHUNKS: u64 = 64;
/// The best of so many rounds counts: others use the machine too.
const ROUNDS: usize = 9;

fn main() {
    // Where `cargo test --benches` comes by, there is nothing to test.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    println!("nanoseconds, and times the figure of the first row");
    println!(
        "{:>7} {:>7} {:>16} {:>16} {:>16} {:>16} {:>16}",
        "peers", "swarms", "idle poll", "keep-alive, one", "keep-alive, any", "REQUEST, one", "REQUEST, any"
    );
    let mut first: Option<[f64; 5]> = None;
    for (peers, swarms) in CROWDS {
        let costs = measure(peers, swarms);
        let base = *first.get_or_insert(costs);
        let cells: Vec<String> =
            costs.iter().zip(base).map(|(cost, base)| format!("{cost:>8.0} {:>6.2}x", cost / base)).collect();
        println!(
            "{peers:>7} {swarms:>7} {}",
            cells.iter().map(|cell| format!("{cell:>16}")).collect::<Vec<_>>().join(" ")
        );
    }
}

fn measure(peers: usize, swarms: usize) -> [f64; 5] {
    let mut config = EndpointConfig::default();
    config.max_idle_peers = usize::MAX;
    let mut crowd = Crowd::new(1, config);
    for _ in 0..swarms {
        let content = crowd.content(CHUNKS as usize);
        crowd.open(&content, true);
    }
    crowd.join(peers);
    // What a beginning brings about, the first HAVEs told again and the first choice of whom to serve, is over.
    crowd.pass(Duration::from_secs(6));
    assert_eq!(crowd.established(), peers);

    let now = crowd.now();
    let mut buffer = vec![0; 1 << 16];
    let idle = best(1 << 16, |_| {
        let endpoint = crowd.endpoint();
        endpoint.handle_timeout(now);
        assert!(endpoint.poll_transmit(now, NonZeroUsize::MIN, &mut buffer).is_none());
        assert!(endpoint.poll_event().is_none());
        assert!(black_box(endpoint.poll_timeout()).is_some_and(|at| at > now));
    });
    let order = shuffled(peers as u64, 7);
    let any = |n: usize| order[n % peers] as usize;
    [
        idle,
        exchange(&mut crowd, |_| 0, false),
        exchange(&mut crowd, any, false),
        exchange(&mut crowd, |_| 0, true),
        exchange(&mut crowd, any, true),
    ]
}

/// A keep-alive, to which there is nothing to say; or a REQUEST, its DATA, and the ACK of that.
fn exchange(crowd: &mut Crowd, who: impl Fn(usize) -> usize, request: bool) -> f64 {
    // One after another in memory, as in a socket's buffer.
    let mut bytes = Vec::new();
    let mut datagrams: Vec<(SocketAddr, Range<usize>)> = Vec::new();
    let variants = if who(0) == who(1) { 64 } else { crowd.peers() };
    for n in 0..variants {
        let range = ChunkRange::single((n as u64 * 7) % CHUNKS);
        let said = match request {
            true => &[Some(Message::Request { range }), Some(Message::Ack { range, delay: 1000 })][..],
            false => &[None],
        };
        for message in said {
            let (remote, datagram) = crowd.speak(who(n), message.as_slice());
            datagrams.push((remote, bytes.len()..bytes.len() + datagram.len()));
            bytes.extend(datagram);
        }
    }
    let mut buffer = vec![0; 1 << 16];
    let mut now = crowd.now();
    let (mut asked, mut sent) = (0, 0);
    let each = datagrams.len() / variants;
    let cost = best(if request { 1 << 13 } else { 1 << 14 }, |n| {
        let first = n % variants * each;
        for (remote, range) in &datagrams[first..first + each] {
            now = now.saturating_add(Duration::from_micros(1));
            let endpoint = crowd.endpoint();
            endpoint.handle(now, [Datagrams::one(*remote, &bytes[range.clone()])]);
            while endpoint.poll_transmit(now, NonZeroUsize::MIN, &mut buffer).is_some() {
                sent += 1;
            }
            while endpoint.poll_event().is_some() {}
            black_box(endpoint.poll_timeout());
        }
        asked += 1;
    });
    if request {
        assert!(sent >= asked, "{sent} answers to {asked} questions");
    }
    crowd.pass(now.saturating_since(crowd.now()));
    cost
}

/// Nanoseconds a call.
fn best(calls: usize, mut call: impl FnMut(usize)) -> f64 {
    let round = |_| {
        let began = Instant::now();
        (0..calls).for_each(&mut call);
        began.elapsed().as_secs_f64() * 1e9 / calls as f64
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}
