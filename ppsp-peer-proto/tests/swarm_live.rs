//! Live streams: who watches is in time, whoever the others are.

mod common;

use std::time::Duration;

use common::*;
use ppsp_core::{IntegrityMethod, MemoryStore, SwarmMetadata, WindowStore, live::Munro};
use ppsp_peer_proto::{
    EndpointConfig, Event,
    sim::{Access, Broadcast, Chance, LinkConfig, NodeId, Peer},
    wire::Message,
};

/// 1 Mbit/s.
const BITRATE: u64 = 128_000;
/// How far watchers are behind.
const DELAY: Duration = Duration::from_secs(5);

fn plenty() -> Access {
    Access { up: Some(BITRATE * 4), down: Some(BITRATE * 10), queue: None }
}

/// Paths of 50 ms there and back that lose one of a hundred.
fn link() -> LinkConfig {
    LinkConfig::perfect(ms(25)).loss(10_000)
}

fn broadcast(seed: u64, seconds: u64) -> Broadcast {
    Broadcast::new(seed, BITRATE, BITRATE * seconds, link(), Access::up(BITRATE * 4))
}

/// The same, with each chunk signed (RFC 7574 §6.1.1).
fn sign_all(seed: u64, seconds: u64) -> Broadcast {
    let access = Access::up(BITRATE * 4);
    Broadcast::protected(IntegrityMethod::SignAll, seed, BITRATE, BITRATE * seconds, link(), access)
}

#[test]
fn one_source_and_one_viewer() {
    each_seed(|seed| {
        [broadcast(seed, 20), sign_all(seed, 20)].into_iter().for_each(one_viewer);
    });
}

fn one_viewer(mut show: Broadcast) {
    let source = show.source;
    show.run(s(3));
    let id = show.watch(plenty(), DELAY, &[source]);
    show.run(s(16));
    let viewer = &show.watchers[0];
    assert!(viewer.shown() > 1000 && viewer.continuity() > 0.999, "{viewer:?}");
    // RFC 7574 §6.1.2.4: it tunes in where the stream is.
    let tuned = |event: &Event| matches!(event, Event::TunedIn { chunk, .. } if *chunk >= 320);
    assert!(show.events(id).iter().any(tuned), "{:?}", show.events(id));
}

/// Watchers with uplinks of half the bitrate to three times it, each of whom knows the source and some others. They
/// come one after another.
fn crowd(seed: u64, show: &mut Broadcast, viewers: usize, over: Duration) {
    let tenths = [5, 10, 10, 15, 15, 20, 25, 30];
    let mut chance = Chance::new(seed, "crowd", 0);
    for n in show.watchers.len()..show.watchers.len() + viewers {
        let up = BITRATE * tenths[n % tenths.len()] / 10;
        let mut others: Vec<NodeId> = show.present().map(|watcher| watcher.peer).collect();
        chance.shuffle(&mut others);
        others.truncate(10);
        others.insert(0, show.source);
        show.watch(Access { up: Some(up), down: Some(BITRATE * 10), queue: None }, DELAY, &others);
        show.run(over / viewers as u32);
    }
}

/// Mean continuity, and what the source sent, as times the stream.
fn report(show: &Broadcast) -> (f64, f64) {
    // Who has only just come has nothing to show yet.
    let begun = show.present().filter(|watcher| watcher.has_begun());
    let all: Vec<f64> = begun.map(|watcher| watcher.continuity()).collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let worst = all.iter().copied().fold(1.0, f64::min);
    let sent = show.world.peer(show.source).stats().bytes_out as f64 / (show.pushed() as f64 * 1024.0);
    println!("FIGURE {} viewers: continuity {mean:.4}, worst {worst:.4}; {sent:.2} times the stream sent", all.len());
    (mean, sent)
}

/// Twenty viewers for a minute; `PPSP_VIEWERS=100 PPSP_SECONDS=180` for more of both.
#[test]
fn a_crowd_with_comings_and_goings() {
    one_seed(|seed| {
        let set = |name, usual| std::env::var(name).map_or(usual, |n| n.parse().expect("a number"));
        let (viewers, seconds) = (set("PPSP_VIEWERS", 20), set("PPSP_SECONDS", 60));
        let mut show = broadcast(seed, seconds as u64);
        show.run(s(3));
        crowd(seed, &mut show, viewers, s(10));
        // Of ten one each minute goes without a word, and another comes.
        let pause = s(600) / viewers as u32;
        let mut goes = 5;
        while !show.is_over() {
            show.run(pause);
            show.leave(goes);
            goes += 10;
            crowd(seed + goes as u64, &mut show, 1, s(0));
        }
        let (continuity, sent) = report(&show);
        assert!(continuity >= 0.99 && sent <= 4.0);
    });
}

// RFC 7574 §6.1.1: most of it comes from other viewers, with the source's signatures.
#[test]
fn a_crowd_where_each_chunk_is_signed() {
    one_seed(|seed| {
        let mut show = sign_all(seed, 30);
        show.run(s(3));
        crowd(seed, &mut show, 10, s(5));
        show.run(s(15));
        let (continuity, sent) = report(&show);
        assert!(continuity >= 0.99 && sent <= 4.0);
    });
}

// RFC 7574 §6.1.2, last paragraph; §5.1: the stream ends within a munro, with a short chunk.
#[test]
fn a_recorder_goes_on_as_a_seed_of_static_content() {
    each_seed(|seed| {
        let mut show = Broadcast::new(seed, BITRATE, BITRATE * 4 + 77 * 1024 + 5, link(), Access::up(BITRATE * 4));
        let source = show.source;
        show.window = None;
        let store = MemoryStore::new(Default::default(), 1024);
        let recorder = show.watch_with(plenty(), DELAY, &[source], Box::new(store));
        show.world.act(recorder, |peer: &mut Peer, now| peer.want(now, None));
        show.run(s(6));
        assert!(show.is_over());
        let tree = show.finish().expect("all of it was made here");
        show.run(s(4));
        let recorded = show.world.act(recorder, |peer: &mut Peer, now| {
            let (now, key) = (peer.local(now), peer.swarm());
            let tree = peer.endpoint().recorded(now, key).expect("a store in memory");
            (tree, peer.endpoint().close(now, key).expect("its store"))
        });
        assert_eq!(recorded.0.as_ref(), Some(&tree));
        assert_eq!(show.content.hash(ppsp_core::root_bin(tree.chunks)), tree.root);
        // Nothing is hashed again: all hashes are there that prove what is held.
        let config = ppsp_peer_proto::SwarmConfig::new(SwarmMetadata::of_root(&tree.root));
        let mut seed = Peer::new(addr("10.9.9.9:1"), EndpointConfig::default(), [1; 32]);
        let key = seed.join_with(show.world.now(), &show.content, config, recorded.1);
        let swarm = seed.endpoint().swarm(key).expect("just opened");
        assert!(swarm.is_complete() && swarm.content_length() == Some(show.content.length()));
    });
}

// RFC 7574 §6.2: who starts late gets what is still there, and what is not takes no memory.
#[test]
fn what_is_before_the_window_is_forgotten_and_the_rest_can_be_had() {
    one_seed(|seed| {
        let mut show = broadcast(seed, 60);
        let source = show.source;
        show.window = Some(1000);
        let early = show.watch_with(plenty(), DELAY, &[source], Box::new(WindowStore::new()));
        show.run(s(25));
        let held = show.world.peer(early).held().clone();
        assert!(held.len() <= 1000 && held.last() >= Some(2500), "{held:?}");
        // The source is gone, and with it what the other keeps no more.
        show.fail();
        let late = show.watch(plenty(), s(20), &[early]);
        show.run(s(12));
        let (held, mut got) = (show.world.peer(early).held(), show.world.peer(late).held().clone());
        assert!(held.len() > 900, "{held:?}");
        got.intersect_with(held);
        assert_eq!(&got, held);
    });
}

/// What the source that failed had not signed was never announced; the next one makes it again.
#[test]
fn a_source_that_failed_is_replaced() {
    one_seed(|seed| {
        [broadcast(seed, 40), sign_all(seed, 40)].into_iter().for_each(replaced);
    });
}

fn replaced(mut show: Broadcast) {
    show.run(s(3));
    let source = show.source;
    let first = show.watch(plenty(), DELAY, &[source]);
    show.watch(plenty(), DELAY, &[source, first]);
    show.run(s(8));
    show.fail();
    show.run(ms(500));
    show.restart(Access::up(BITRATE * 4));
    show.run(s(8));
    // What the first one had announced and nobody had fetched yet is lost with it.
    let before: Vec<u64> = show.present().map(|watcher| watcher.shown()).collect();
    show.run(s(8));
    for (watcher, before) in show.present().zip(before) {
        assert!(watcher.shown() - before > 990, "{watcher:?}");
        assert!(watcher.continuity() > 0.85, "{watcher:?}");
        assert!(!show.events(watcher.peer).iter().any(|event| matches!(event, Event::TwoSources { .. })));
    }
}

/// A puppet that comes to a peer with a munro.
fn tell(show: &mut Broadcast, peer: NodeId, munro: &Munro) -> Line {
    let speech = show.speech();
    let puppet = show.world.add_puppet(addr("10.8.0.1:1000"));
    show.world.set_path(puppet, peer, LinkConfig::perfect(ms(5)));
    let remote = show.world.address(peer);
    let range = munro.node.range();
    let integrity = Message::Integrity { range, hash: munro.hash.as_bytes() };
    let signed = Message::SignedIntegrity { range, timestamp: munro.time.to_bits(), signature: &munro.signature };
    Line::dial(&mut show.world, puppet, remote, &speech, 0x5000_0001, &[integrity, signed])
}

/// Two who sign with one key are found out, and the stream goes on.
#[test]
fn a_second_source_with_the_same_key_is_told() {
    one_seed(|seed| {
        let mut show = broadcast(seed, 30);
        let source = show.source;
        show.run(s(3));
        let viewer = show.watch(plenty(), DELAY, &[source]);
        show.run(s(4));
        let twin = show.forged(320);
        let other = tell(&mut show, viewer, &twin).puppet;
        show.run(s(4));
        assert!(show.events(viewer).iter().any(|event| matches!(event, Event::TwoSources { .. })));
        assert_eq!(show.world.peer(viewer).down_reason(show.world.address(other)), None, "a relay is not to blame");
        assert!(show.watchers[0].continuity() > 0.99);
    });
}

// RFC 7574 §12.6.5, threat INTEGRITY.2: an old munro makes nobody tune in at a past point.
#[test]
fn nobody_is_lured_into_the_past() {
    one_seed(|seed| {
        let mut show = broadcast(seed, 60);
        show.run(s(3));
        let old = show.forged(0);
        show.run(s(40));
        let viewer = show.watch(plenty(), DELAY, &[]);
        tell(&mut show, viewer, &old);
        show.run(s(2));
        assert!(!show.events(viewer).iter().any(|event| matches!(event, Event::TunedIn { .. })));
        assert_eq!(show.world.peer(viewer).stats().refused_munros, 1);
        let source = show.source;
        show.world.connect(viewer, source);
        show.run(s(8));
        let tuned = |event: &Event| matches!(event, Event::TunedIn { chunk, .. } if *chunk > 5000);
        assert!(show.events(viewer).iter().any(tuned));
        assert!(show.watchers[0].continuity() > 0.99, "{:?}", show.watchers[0]);
    });
}

/// Puppets that have each come to a peer.
fn puppets(show: &mut Broadcast, to: NodeId, count: u8) -> Vec<Line> {
    let (speech, remote) = (show.speech(), show.world.address(to));
    let come = |n| {
        let puppet = show.world.add_puppet(addr(&format!("10.8.{n}.1:1000")));
        show.world.set_path(puppet, to, LinkConfig::perfect(ms(5)));
        Line::dial(&mut show.world, puppet, remote, &speech, 0x5000_0001 + u32::from(n), &[])
    };
    (0..count).map(come).collect()
}

/// Who names all that there is, as only the source can, and sends nothing of it, is not waited for.
#[test]
fn who_withholds_harms_nobody() {
    one_seed(|seed| {
        let mut show = broadcast(seed, 40);
        show.run(s(3));
        let source = show.source;
        let viewer = show.watch(plenty(), DELAY, &[source]);
        crowd(seed, &mut show, 6, s(1));
        let lines = puppets(&mut show, viewer, 6);
        let mut asked = 0;
        while !show.is_over() {
            let signed = show.pushed() / 32 * 32;
            for line in &lines {
                line.say_now(&mut show.world, &[Message::Have { range: Some(range(0, signed - 1)) }]);
                asked += line.asked(&mut show.world, ms(0)).len();
            }
            show.run(ms(100));
        }
        let (continuity, _) = report(&show);
        assert!(asked > 10, "{asked}");
        assert!(continuity >= 0.99 && show.watchers[0].continuity() >= 0.99, "{:?}", show.watchers[0]);
    });
}

/// Many who take all that the source gives and pass nothing on do not keep the others from the stream.
#[test]
fn a_source_among_leeches_reaches_the_others() {
    one_seed(|seed| {
        let mut show = broadcast(seed, 40);
        show.run(s(3));
        let source = show.source;
        let lines = puppets(&mut show, source, 24);
        crowd(seed, &mut show, 8, s(4));
        let mut taken = 0;
        while !show.is_over() {
            let signed = show.pushed() / 32 * 32;
            for line in &lines {
                let chunks = line.chunks(&mut show.world, ms(0));
                taken += chunks.len();
                let acks = chunks.iter().map(|&chunk| Message::Ack { range: range(chunk, chunk), delay: 5000 });
                let acks: Vec<Message<'_>> = acks.take(64).collect();
                line.say_now(&mut show.world, &acks);
                line.say_now(&mut show.world, &[Message::Request { range: range(signed - 32, signed - 1) }]);
            }
            show.run(ms(100));
        }
        let (continuity, sent) = report(&show);
        assert!(taken > 1000, "{taken}");
        assert!(continuity >= 0.99 && sent <= 4.0);
    });
}
