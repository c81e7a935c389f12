//! Content crosses a swarm, whatever its size and however it is written.

mod common;

use std::{cell::Cell, rc::Rc};

use common::*;
use ppsp_core::{ChunkAddressing, ChunkRange, HashAlg, Instant};
use ppsp_peer_proto::{
    ConnectError, Event, Reason,
    sim::{
        Access, Acquaintance, Chance, Content, LinkConfig, Peer, SimStore, Speech, StoreFaults, Swarm, Verdict, World,
        node_address, secs,
    },
    wire::{ChannelId, Message},
    *,
};

#[test]
fn one_seed_and_thirty_leechers_with_loss_jitter_and_reorder() {
    one_seed(|seed| {
        let link = LinkConfig::perfect(ms(15)).jitter(ms(10)).loss(10_000).reorder(10_000, ms(20));
        let mut swarm = Swarm::builder(seed)
            .content(2 << 20)
            .leechers(30)
            .link(link)
            .seed_access(Access::both(2_500_000))
            .leecher_access(Access::both(2_500_000))
            .join_over(s(2))
            .build();
        let at = swarm.run(s(120));
        let total = swarm.world.net().total();
        println!(
            "complete at {:.2} s, {:.2} copies from the seed, {:.3} bytes sent for a byte of content, {:.2} datagrams for a chunk",
            secs(at),
            swarm.copies_from_seeds(),
            total.sent_bytes as f64 / (30 << 21) as f64,
            total.sent as f64 / (30 << 11) as f64,
        );
        for &id in &swarm.leechers {
            assert_eq!(swarm.world.peer(id).downloaded(), 2 << 20, "no byte twice");
            assert_eq!(swarm.world.peer(id).ledger().unwrap().rewritten(), 0);
        }
    });
}

/// RFC 7574 §5.6: sizes around powers of two have one peak, or many.
#[test]
fn content_of_every_awkward_size() {
    each_seed(|seed| {
        for length in
            [0, 1, 1023, 1024, 1025, 2048, 2049, 3 * 1024, 1023 * 1024, 1024 * 1024, 1025 * 1024, 1025 * 1024 - 1]
        {
            let mut swarm = Swarm::builder(seed).content(length).build();
            swarm.run(s(20));
            let leecher = swarm.world.peer(swarm.leecher());
            assert_eq!(leecher.downloaded(), length as u64);
            let chunks = swarm.content.chunks();
            assert!(
                leecher.events().iter().any(|(_, e)| matches!(e, Event::SizeKnown { chunks: n, .. } if *n == chunks))
            );
        }
    });
}

#[test]
fn a_hundred_thousand_chunks() {
    one_seed(|seed| {
        let mut swarm = Swarm::builder(seed).chunk_size(512).chunks(100_000).build();
        let at = swarm.run(s(120));
        println!("51 MB at {:.2} s, {:?}", secs(at), swarm.world.steps());
    });
}

#[test]
fn every_addressing_method_with_every_hash_function() {
    each_seed(|seed| {
        for addressing in ChunkAddressing::ALL {
            for hash in HashAlg::ALL {
                let mut swarm = Swarm::builder(seed)
                    .content(70 * 1024 + 77)
                    .addressing(addressing)
                    .hash(hash)
                    .leechers(2)
                    .link(LinkConfig::default().loss(20_000))
                    .build();
                swarm.run(s(60));
            }
        }
    });
}

#[test]
fn every_chunk_size() {
    each_seed(|seed| {
        for chunk_size in [512, 1000, 1024, 1300, 4096, 8192, 60 * 1024] {
            let mut swarm = Swarm::builder(seed)
                .chunk_size(chunk_size)
                .content(20 * chunk_size as usize + 9)
                .leechers(2)
                .link(LinkConfig::default().loss(10_000))
                .build();
            swarm.run(s(60));
        }
    });
}

/// The length may be part of the metadata (RFC 7574 §3.1 (f)).
#[test]
fn a_length_known_beforehand() {
    each_seed(|seed| {
        for length in [0, 1, 5000, 1025 * 1024] {
            let mut swarm = Swarm::builder(seed).content(length).length_known().leechers(2).build();
            swarm.run(s(20));
        }
    });
}

#[test]
fn chunk_zero_lost_last_or_alone() {
    each_seed(|seed| {
        for (chunks, lost) in [(64, 0), (64, 63), (1, 0), (2, 0), (2, 1), (1025, 1024)] {
            let mut swarm = Swarm::builder(seed).chunks(chunks).build();
            let speech = Speech::new(&swarm.content);
            let mut losses = 0;
            swarm.world.tap(move |sight| {
                if losses < 3 && data_of(&speech, sight.bytes).contains(&lost) {
                    losses += 1;
                    return Verdict::Drop;
                }
                Verdict::Pass
            });
            let at = swarm.run(s(30));
            assert!(at < Instant::from_micros(12_000_000), "{chunks} chunks, {lost} lost three times: {} s", secs(at));
        }
    });
}

/// Chunk 0 comes last of all: whatever else arrives must be kept or fetched again, and the end is near.
#[test]
fn chunk_zero_is_held_up_for_seconds() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).chunks(256).build();
        let speech = Speech::new(&swarm.content);
        swarm.world.tap(move |sight| {
            let early = sight.now < Instant::from_micros(3_000_000);
            if early && data_of(&speech, sight.bytes).contains(&0) { Verdict::Drop } else { Verdict::Pass }
        });
        swarm.run(s(30));
    });
}

#[test]
fn each_of_the_first_datagrams_may_be_lost() {
    each_seed(|seed| {
        for lost in 0..12 {
            let mut swarm = Swarm::builder(seed).chunks(40).build();
            let mut n = 0;
            swarm.world.tap(move |_| {
                n += 1;
                if n - 1 == lost { Verdict::Drop } else { Verdict::Pass }
            });
            let at = swarm.run(s(20));
            assert!(secs(at) < 6.0, "datagram {lost} lost: {} s", secs(at));
        }
    });
}

/// One way dead for three seconds in the middle, then the other.
#[test]
fn silence_in_one_direction_heals() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).content(2 << 20).access(Access::both(200_000)).build();
        let (a, b) = (swarm.seed(), swarm.leecher());
        let dead = LinkConfig::default().loss(1_000_000);
        for (from, to) in [(a, b), (b, a)] {
            swarm.world.run_for(s(1));
            swarm.world.set_link(from, to, dead);
            swarm.world.run_for(s(3));
            swarm.world.set_link(from, to, LinkConfig::default());
        }
        assert!(!swarm.is_complete(), "the test is about the middle");
        swarm.run(s(40));
    });
}

#[test]
fn the_same_seed_replays_byte_for_byte() {
    each_seed(|seed| {
        let run = |seed| {
            let link = LinkConfig::default().loss(20_000).jitter(ms(5)).duplicate(5_000);
            let mut swarm = Swarm::builder(seed).content(300_000).leechers(6).link(link).join_over(s(1)).build();
            swarm.run(s(60));
            swarm.world.run_for(s(60));
            (swarm.world.trace_hash(), swarm.world.steps())
        };
        assert_eq!(run(seed), run(seed));
        assert_ne!(run(seed).0, run(seed + 1).0);
    });
}

/// `max_segments` and the grouping of what arrives are the embedder's: no combination may matter.
#[test]
fn whatever_the_length_of_runs() {
    each_seed(|seed| {
        for segments in [1, 2, 3, 64, 1000] {
            let mut swarm = Swarm::builder(seed).content(500_000).leechers(2).build();
            for id in swarm.seeds.iter().chain(&swarm.leechers) {
                swarm.world.act(*id, |peer: &mut Peer, _| peer.set_segments(segments.try_into().unwrap()));
            }
            swarm.run(s(20));
            println!("at most {segments}: {:.1} datagrams a run", swarm.world.peer(swarm.seed()).mean_run());
        }
    });
}

#[test]
fn a_leecher_goes_on_where_it_stopped() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).content(1 << 20).leechers(0).build();
        let held = [range(0, 99), range(200, 200), range(512, 900), range(1023, 1023)];
        let peer = leecher(seed, 100, &swarm.content, &held, |_| {});
        let id = swarm.world.add(peer, Access::UNLIMITED);
        swarm.leechers.push(id);
        swarm.world.connect(id, swarm.seeds[0]);
        swarm.run(s(20));
        let held: u64 = held.iter().map(|r| r.len()).sum();
        assert_eq!(swarm.world.peer(id).downloaded(), (1 << 20) - held * 1024, "nothing again");
    });
}

/// Two halves make a whole, without any seed.
#[test]
fn two_leechers_complete_each_other() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).content((1 << 20) + 5).seeds(0).leechers(0).build();
        let a = swarm.world.add(leecher(seed, 1, &swarm.content, &[range(0, 511)], |_| {}), Access::UNLIMITED);
        let b = swarm.world.add(leecher(seed, 2, &swarm.content, &[range(512, 1024)], |_| {}), Access::UNLIMITED);
        swarm.leechers = vec![a, b];
        swarm.world.connect(a, b);
        swarm.run(s(20));
    });
}

#[test]
fn many_swarms_on_one_socket() {
    each_seed(|seed| {
        let contents: Vec<_> = (0..4_u64)
            .map(|n| {
                Content::new(seed * 100 + n, 100_000 + n as usize, 1024, HashAlg::Sha256, ChunkAddressing::Range32)
            })
            .collect();
        let mut world = World::new(seed, LinkConfig::default().loss(10_000));
        let mut ids = Vec::new();
        for n in 0..2 {
            let mut peer = Peer::new(node_address(n), EndpointConfig::default(), Chance::bytes(seed, "endpoint", n));
            for content in &contents {
                let store = if n == 0 { SimStore::complete(content) } else { SimStore::empty(content) };
                peer.join(world.now(), content, SwarmConfig::new(content.metadata()), store);
            }
            ids.push(world.add(peer, Access::UNLIMITED));
        }
        let to = world.address(ids[0]);
        world.act(ids[1], |peer: &mut Peer, now| {
            for n in 0..4 {
                peer.connect_in(now, n, to).unwrap();
            }
        });
        let done = world.run_until(|w| (0..4).all(|n| w.peer(ids[1]).completed_in(n).is_some()), s(20));
        assert!(done.is_ok(), "{done:?}");
    });
}

#[test]
fn slow_disks() {
    each_seed(|seed| {
        for (pending, queued, busy) in [
            (300_000, 0, 0),
            (1_000_000, 0, 0),
            (0, 500_000, 0),
            (0, 1_000_000, 0),
            (0, 0, 50_000),
            (200_000, 200_000, 20_000),
        ] {
            let faults = StoreFaults { pending, queued, busy, latency: ms(20) };
            let mut swarm = Swarm::builder(seed).content(400_000).leechers(3).store_faults(faults).build();
            swarm.run(s(60));
        }
    });
}

/// A full disk stops the swarm and nothing else.
#[test]
fn a_store_that_fails_stops_its_swarm_only() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).content(300_000).leechers(1).build();
        let mut peer = Peer::new(node_address(50), EndpointConfig::default(), Chance::bytes(seed, "endpoint", 50));
        let store = sim::FailingStore::new(SimStore::empty(&swarm.content), 40);
        let content = swarm.content.clone();
        peer.join_with(Instant::from_micros(0), &content, SwarmConfig::new(content.metadata()), Box::new(store));
        let other = Content::new(seed + 1000, 50_000, 1024, HashAlg::Sha256, ChunkAddressing::Range32);
        peer.join(Instant::from_micros(0), &other, SwarmConfig::new(other.metadata()), SimStore::complete(&other));
        let id = swarm.world.add(peer, Access::UNLIMITED);
        swarm.world.connect(id, swarm.seeds[0]);
        swarm.run(s(20));
        let failed = |e: &Event| matches!(e, Event::SwarmFailed { .. });
        assert_eq!(swarm.world.peer(id).events().iter().filter(|(_, e)| failed(e)).count(), 1);
        let error = swarm.world.act(id, |peer: &mut Peer, _| {
            let key = peer.swarm();
            peer.endpoint().swarm_mut(key).unwrap().take_error()
        });
        assert!(error.unwrap().to_string().contains("disk full"));
        // The other swarm of the same endpoint serves on.
        let mut late = Peer::new(node_address(51), EndpointConfig::default(), Chance::bytes(seed, "endpoint", 51));
        late.join(swarm.world.now(), &other, SwarmConfig::new(other.metadata()), SimStore::empty(&other));
        let late = swarm.world.add(late, Access::UNLIMITED);
        swarm.world.connect(late, id);
        let done = swarm.world.run_until(|w| w.peer(late).completed().is_some(), s(20));
        assert!(done.is_ok(), "{done:?}");
    });
}

#[test]
fn only_what_is_wanted_is_fetched() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).content(1 << 20).leechers(0).build();
        let id = swarm.world.add(leecher(seed, 9, &swarm.content, &[], |_| {}), Access::UNLIMITED);
        swarm.world.act(id, |peer: &mut Peer, now| {
            let key = peer.swarm();
            peer.want(now, Some(&[range(100, 199), range(1000, 1023)]));
            assert!(!peer.endpoint().swarm(key).unwrap().is_complete());
        });
        swarm.world.connect(id, swarm.seeds[0]);
        swarm.world.run_for(s(10));
        let peer = swarm.world.peer(id);
        let held = peer.held();
        assert!(held.covers(range(100, 199)) && held.covers(range(1000, 1023)));
        // What came before the size was known, it could not choose.
        assert!(held.len() <= 124 + 64, "{} chunks", held.len());
        swarm.world.act(id, |peer: &mut Peer, now| peer.want(now, None));
        let done = swarm.world.run_until(|w| w.peer(id).held().len() == 1024, s(10));
        assert!(done.is_ok(), "{done:?}");
    });
}

/// RFC 7574 §9.1: what is played next comes first. Playback at half the path's rate never waits after the start.
#[test]
fn what_a_reader_waits_for_comes_first() {
    let window = |chunk| ChunkRange::with_len(chunk, 4097).unwrap();
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).content(2 << 20).seeds(3).access(Access::both(500_000)).build();
        let id = swarm.leecher();
        swarm.world.act(id, |peer: &mut Peer, _| peer.set_windows(&[window(700)]));
        swarm.world.run_for(ms(700));
        let mut waits = 0;
        for chunk in 700..1500 {
            let tick = 1024 * 1_000_000 / 250_000;
            swarm.world.run_for(std::time::Duration::from_micros(tick));
            if !swarm.world.peer(id).held().contains(chunk) {
                waits += 1;
            }
            swarm.world.act(id, |peer: &mut Peer, _| peer.set_windows(&[window(chunk + 1)]));
        }
        assert_eq!(waits, 0, "of 800 chunks");
        swarm.run(s(60));
    });
}

/// RFC 7574 §3.1.1, §3.11 and design: two that call each other at the same moment keep one channel.
#[test]
fn simultaneous_open_keeps_one_channel() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).acquaintance(Acquaintance::Nobody).build();
        let (a, b) = (swarm.seed(), swarm.leecher());
        swarm.world.connect(a, b);
        swarm.world.connect(b, a);
        swarm.run(s(10));
        swarm.world.run_for(s(5));
        let (a_at, b_at) = (swarm.world.address(a), swarm.world.address(b));
        assert!(swarm.world.peer(a).remotes().len() <= 1, "{:?}", swarm.world.peer(a).events());
        assert_eq!(swarm.world.peer(a).remotes().len(), swarm.world.peer(b).remotes().len());
        // Whoever lost a channel for it says so, and nobody is punished.
        for (peer, other) in [(a, b_at), (b, a_at)] {
            let reason = swarm.world.peer(peer).down_reason(other);
            assert!(matches!(reason, None | Some(Reason::NotNeeded | Reason::Closed)), "{reason:?}");
        }
    });
}

#[test]
fn nobody_calls_the_same_address_twice() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).build();
        let to = swarm.world.address(swarm.seed());
        swarm.world.run_for(ms(200));
        let again = swarm.world.act(swarm.leechers[0], |peer: &mut Peer, now| peer.connect(now, to));
        assert_eq!(again, Err(ConnectError::AlreadyConnected));
        for (bad, error) in [
            ("0.0.0.0:5", ConnectError::BadAddress),
            ("10.0.0.9:0", ConnectError::BadAddress),
            ("255.255.255.255:9", ConnectError::BadAddress),
            ("[ff02::1]:7", ConnectError::BadAddress),
        ] {
            let result = swarm.world.act(swarm.leechers[0], |peer: &mut Peer, now| peer.connect(now, addr(bad)));
            assert_eq!(result, Err(error), "{bad}");
        }
    });
}

/// Design §8: peers that both hold everything part after a while.
#[test]
fn peers_that_both_hold_everything_part() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).leechers(3).build();
        swarm.run(s(10));
        swarm.world.run_for(s(300));
        for id in swarm.seeds.iter().chain(&swarm.leechers) {
            let peer = swarm.world.peer(*id);
            assert_eq!(peer.remotes(), [], "{:?}", peer.events());
            let mut reasons = peer.events().iter().filter_map(|(_, e)| match e {
                Event::PeerDown { reason, .. } => Some(*reason),
                _ => None,
            });
            assert!(reasons.all(|r| matches!(r, Reason::NotNeeded | Reason::Closed)), "{:?}", peer.events());
        }
        assert_eq!(swarm.world.poll_timeout(), None, "nothing is left to do");
    });
}

/// RFC 7574 §3.1.1 step 8: "the peer SHOULD send a closing HANDSHAKE message to the other".
#[test]
fn a_closing_handshake_is_understood() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).content(8 << 20).leechers(2).access(Access::both(1_000_000)).build();
        swarm.world.run_for(s(1));
        let seed_at = swarm.world.address(swarm.seed());
        swarm.world.act(swarm.seeds[0], |peer: &mut Peer, now| {
            assert!(peer.close(now).is_some());
            assert!(peer.close(now).is_none(), "once");
        });
        swarm.world.run_for(s(1));
        for &id in &swarm.leechers {
            assert_eq!(swarm.world.peer(id).down_reason(seed_at), Some(Reason::Closed));
        }
        // A single peer may be sent away as well.
        let (a, b) = (swarm.leechers[0], swarm.leechers[1]);
        let (a_at, b_at) = (swarm.world.address(a), swarm.world.address(b));
        let (key, _) = swarm.world.peer(a).peer_at(b_at).expect("leechers know each other");
        swarm.world.act(a, |peer: &mut Peer, now| peer.disconnect(now, key));
        swarm.world.run_for(s(1));
        assert_eq!(swarm.world.peer(a).down_reason(b_at), Some(Reason::Local));
        assert_eq!(swarm.world.peer(b).down_reason(a_at), Some(Reason::Closed));
    });
}

/// RFC 7574 §3.12: keep-alives keep a channel; three minutes of silence with three datagrams unanswered end it.
#[test]
fn keep_alive_and_dead_peers() {
    each_seed(|seed| {
        // Two leechers without anything to tell each other stay together…
        let mut swarm = Swarm::builder(seed).seeds(0).leechers(2).acquaintance(Acquaintance::Everybody).build();
        swarm.world.run_for(s(600));
        let (a, b) = (swarm.leechers[0], swarm.leechers[1]);
        let b_at = swarm.world.address(b);
        assert_eq!(swarm.world.peer(a).remotes(), [b_at]);
        let sent = swarm.world.peer(a).stats().datagrams_out;
        assert!((10..100).contains(&sent), "{sent} datagrams in ten minutes of silence");
        // …until one falls silent.
        let since = swarm.world.now();
        swarm.world.remove(b);
        let gone = swarm.world.run_until(|w| w.peer(a).down_reason(b_at).is_some(), s(600)).unwrap();
        let after = gone.saturating_since(since);
        assert_eq!(swarm.world.peer(a).down_reason(b_at), Some(Reason::TimedOut));
        assert!((s(150)..s(240)).contains(&after), "{after:?}");
        assert_eq!(swarm.world.poll_timeout(), None, "nothing is left to do");
    });
}

/// An idle endpoint costs next to nothing: no call without a cause.
#[test]
fn idle_endpoints_sleep() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).seeds(0).leechers(20).acquaintance(Acquaintance::Everybody).build();
        swarm.world.run_for(s(30));
        let before = swarm.world.steps();
        swarm.world.run_for(s(600));
        let after = swarm.world.steps();
        let (batches, timeouts) = (after.batches - before.batches, after.timeouts - before.timeouts);
        // 190 channels, a keep-alive each way every 25 s at most.
        println!("{batches} batches, {timeouts} timeouts");
        assert!(batches <= 380 * 24 + 380, "{batches}");
        assert!(timeouts <= 2 * (380 * 24 + 380), "{timeouts}");
    });
}

/// A NAT that forgets gives a peer a new address. Channel IDs alone do not prove who somebody is: the datagrams from the new
/// address are dropped, the old channel dies in time, and only a new handshake makes a new one.
#[test]
fn a_change_of_address_is_not_followed() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).content(4 << 20).access(Access::both(500_000)).build();
        swarm.world.run_for(s(2));
        let old = swarm.world.address(swarm.leecher());
        let new = addr("10.9.9.9:40000");
        swarm.world.rebind(swarm.leechers[0], new);
        let before = swarm.world.peer(swarm.seed()).stats();
        let speech = Speech::new(&swarm.content);
        let (seed_at, called) = (swarm.world.address(swarm.seed()), Rc::new(Cell::new(false)));
        let shared = Rc::clone(&called);
        swarm.world.tap(move |sight| {
            // Not a byte goes to the new address before it has called.
            let (channel, messages) = speech.parse(sight.bytes);
            if sight.source == new && channel == ChannelId::NONE && matches!(messages[..], [Message::Handshake(_), ..])
            {
                shared.set(true);
            }
            assert!(shared.get() || (sight.source, sight.destination) != (seed_at, new), "at {} s", secs(sight.now));
            Verdict::Pass
        });
        swarm.world.run_for(s(3));
        let seed_peer = swarm.world.peer(swarm.seed());
        assert!(seed_peer.stats().dropped_unknown_channel > before.dropped_unknown_channel);
        assert!(!seed_peer.remotes().contains(&new), "never follow");
        assert_eq!(seed_peer.times_up(new), 0);
        // The leecher notices that nobody hears it and calls again.
        swarm.run(s(60));
        assert!(called.get());
        assert_eq!(swarm.world.peer(swarm.seed()).times_up(new), 1);
        swarm.world.run_for(s(400));
        assert!(!swarm.world.peer(swarm.seed()).remotes().contains(&old), "the old channel is dead");
    });
}

/// A peer that comes back after a crash finds its old channel in the way: the new handshake replaces it in time.
#[test]
fn a_peer_that_crashed_comes_back() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).content(1 << 20).access(Access::both(300_000)).build();
        swarm.world.run_for(s(2));
        let address = swarm.world.address(swarm.leecher());
        let content = swarm.content.clone();
        swarm.world.remove(swarm.leechers[0]);
        let mut peer = Peer::new(address, EndpointConfig::default(), Chance::bytes(seed, "again", 0));
        peer.join(swarm.world.now(), &content, SwarmConfig::new(content.metadata()), SimStore::empty(&content));
        let again = swarm.world.add(peer, Access::both(300_000));
        swarm.leechers.push(again);
        swarm.world.connect(again, swarm.seeds[0]);
        let at = swarm.run(s(30));
        println!("again at {:.1} s", secs(at));
    });
}

/// RFC 7574 §3.10: in a private network, leechers that know only the seed find each other.
#[test]
fn peer_exchange_spreads_addresses() {
    each_seed(|seed| {
        for pex in [true, false] {
            let mut swarm = Swarm::builder(seed)
                .content(1 << 20)
                .leechers(8)
                .acquaintance(Acquaintance::Seeds)
                .access(Access::both(100_000))
                .config(move |c| c.pex = pex)
                .build();
            swarm.world.run_for(s(20));
            for &id in &swarm.leechers {
                let peer = swarm.world.peer(id);
                if pex {
                    assert!(peer.remotes().len() >= 4, "{:?} of 8", peer.remotes());
                    assert!(!peer.learned().contains(&swarm.world.address(id)), "oneself is no news");
                } else {
                    assert_eq!(peer.remotes().len(), 1);
                }
            }
            swarm.run(s(200));
        }
    });
}

/// A handshake that nobody answers is given up (RFC 7574 §3.1.1 step 5), and costs little.
#[test]
fn nobody_answers() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).leechers(1).acquaintance(Acquaintance::Nobody).build();
        let nobody = addr("10.77.0.1:9999");
        swarm.world.act(swarm.leechers[0], |peer: &mut Peer, now| peer.connect(now, nobody).unwrap());
        swarm.world.run_for(s(60));
        let peer = swarm.world.peer(swarm.leecher());
        assert_eq!(peer.down_reason(nobody), Some(Reason::Unanswered));
        assert!((3..40).contains(&peer.stats().datagrams_out), "{:?}", peer.stats());
        assert_eq!(swarm.world.poll_timeout(), None);
    });
}

/// A repeated first datagram (same address and channel ID) gets the same answer and no second state (design §8).
#[test]
fn a_repeated_opening_gets_the_same_answer() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).leechers(0).build();
        let speech = Speech::new(&swarm.content);
        let remote = swarm.world.address(swarm.seed());
        let puppet = swarm.world.add_puppet(node_address(70));
        let mut answers = Vec::new();
        for _ in 0..3 {
            let line = Line::open(&mut swarm.world, puppet, remote, &speech, 77, &[]).expect("an answer");
            answers.push(line.theirs);
        }
        assert!(answers.windows(2).all(|w| w[0] == w[1]), "{answers:?}");
        // Another channel ID is another channel.
        let other = Line::open(&mut swarm.world, puppet, remote, &speech, 78, &[]);
        assert!(other.is_none_or(|line| line.theirs != answers[0]));
    });
}

/// RFC 7574 §3.1.1: what the second datagram looks like, and that content follows the third at once.
#[test]
fn the_three_way_handshake_on_the_wire() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).leechers(0).build();
        let speech = Speech::new(&swarm.content);
        let remote = swarm.world.address(swarm.seed());
        let puppet = swarm.world.add_puppet(node_address(70));
        let opening = speech.datagram(
            ChannelId::NONE,
            &[speech.hello(ChannelId(0x1122_3344)), Message::Request { range: range(0, 3) }],
        );
        swarm.world.puppet_send(puppet, remote, opening);
        swarm.world.run_for(ms(25));
        let answers = swarm.world.puppet_take(puppet);
        assert_eq!(answers.len(), 1, "one answer, and no heavy payload before the third datagram");
        let (channel, messages) = speech.parse(&answers[0].bytes);
        assert_eq!(channel, ChannelId(0x1122_3344), "prefixed with the initiator's channel");
        let Some(Message::Handshake(hello)) = messages.first() else { panic!("{messages:?}") };
        assert!(
            hello.source != ChannelId::NONE && hello.source.0 >> 24 >= 64,
            "design §4: never a first byte below 64"
        );
        assert_eq!(hello.options.version, Some(1));
        swarm.world.run_for(s(2));
        assert!(swarm.world.puppet_take(puppet).iter().all(|r| data_of(&speech, &r.bytes).is_empty()));
        let line = Line { puppet, remote, speech: speech.clone(), ours: channel, theirs: hello.source };
        line.say(&mut swarm.world, &[]);
        let got = line.chunks(&mut swarm.world, ms(100));
        assert!(
            [0, 1, 2, 3].iter().all(|chunk| got.contains(chunk)),
            "the request of the first datagram stands: {got:?}"
        );
    });
}

fn leecher(
    seed: u64,
    n: u64,
    content: &std::sync::Arc<Content>,
    held: &[ChunkRange],
    tweak: impl Fn(&mut EndpointConfig),
) -> Peer {
    let mut config = EndpointConfig::default();
    tweak(&mut config);
    let mut peer = Peer::new(node_address(n), config, Chance::bytes(seed, "endpoint", n));
    peer.join(Instant::from_micros(0), content, SwarmConfig::new(content.metadata()), SimStore::new(content, held));
    peer
}
