//! Every limit of `EndpointConfig`, and what happens at it.

mod common;

use std::time::Duration;

use common::*;
use ppsp_core::{ChunkRange, Instant};
use ppsp_peer_proto::{
    ConnectError, EndpointConfig, Event, Reason, SwarmConfig,
    sim::{
        Access, Acquaintance, Builder, Chance, Character, Gives, LinkConfig, Manners, NodeId, Peer, SimStore, Speech,
        Swarm, node_address,
    },
    wire::{ChannelId, Message},
};

/// A seed with this configuration, and its language.
fn seed_with(seed: u64, length: usize, tweak: impl Fn(&mut EndpointConfig) + 'static) -> (Swarm, Speech) {
    let swarm = Swarm::builder(seed).content(length).leechers(0).seed_config(tweak).build();
    let speech = Speech::new(&swarm.content);
    (swarm, speech)
}

/// A leecher with this configuration that knows nobody, beside a seed that it does not know.
fn leecher_with(seed: u64, length: usize, tweak: impl Fn(&mut EndpointConfig) + 'static) -> (Swarm, Speech) {
    leecher_in(Swarm::builder(seed).content(length), tweak)
}

fn leecher_in(builder: Builder, tweak: impl Fn(&mut EndpointConfig) + 'static) -> (Swarm, Speech) {
    let swarm = builder.acquaintance(Acquaintance::Nobody).leecher_config(tweak).build();
    let speech = Speech::new(&swarm.content);
    (swarm, speech)
}

/// So many puppets, each with a complete handshake where it gets one.
fn dial_many(swarm: &mut Swarm, target: NodeId, speech: &Speech, count: u64) -> Vec<Line> {
    let to = swarm.world.address(target);
    let mut lines = Vec::new();
    for n in 0..count {
        let puppet = swarm.world.add_puppet(node_address(600 + n));
        if let Some(line) = Line::open(&mut swarm.world, puppet, to, speech, 0x4000_0000 + n as u32, &[]) {
            line.say(&mut swarm.world, &[]);
            lines.push(line);
        }
    }
    lines
}

fn add_late(swarm: &mut Swarm, n: u64) -> NodeId {
    let content = swarm.content.clone();
    let mut peer = Peer::new(node_address(n), EndpointConfig::default(), Chance::bytes(swarm.world.seed(), "late", n));
    peer.join(swarm.world.now(), &content, SwarmConfig::new(content.metadata()), SimStore::empty(&content));
    swarm.world.add(peer, Access::UNLIMITED)
}

#[test]
fn max_peers() {
    each_seed(|seed| {
        let (mut swarm, speech) = leecher_with(seed, 100_000, |c| (c.max_peers, c.max_inbound) = (10, 6));
        let a = swarm.leecher();
        // Outside in: no more than max_inbound. Inside out: the rest.
        assert_eq!(dial_many(&mut swarm, a, &speech, 12).len(), 6);
        let results: Vec<_> = (0..6)
            .map(|n| swarm.world.act(a, |peer: &mut Peer, now| peer.connect(now, node_address(800 + n))).map(|_| ()))
            .collect();
        let full = Err(ConnectError::TooManyPeers);
        assert_eq!(results, [Ok(()), Ok(()), Ok(()), Ok(()), full, full]);
        // A place that is given up can be had again: unanswered calls end.
        swarm.world.run_for(s(60));
        swarm.world.connect(a, swarm.seeds[0]);
        swarm.run(s(20));
    });
}

#[test]
fn max_inbound() {
    each_seed(|seed| {
        let (mut swarm, speech) = seed_with(seed, 100_000, |c| c.max_inbound = 5);
        let target = swarm.seed();
        let lines = dial_many(&mut swarm, target, &speech, 9);
        assert_eq!(lines.len(), 5);
        assert!(swarm.world.peer(target).stats().dropped_handshakes >= 4);
        // One goes, one may come.
        lines[2].say(&mut swarm.world, &[speech.goodbye()]);
        let late = add_late(&mut swarm, 700);
        swarm.world.connect(late, target);
        let done = swarm.world.run_until(|w| w.peer(late).completed().is_some(), s(10));
        assert!(done.is_ok(), "{done:?}");
    });
}

/// One host with many ports takes a few places and no more; others still come in.
#[test]
fn max_inbound_per_address() {
    each_seed(|seed| {
        let (mut swarm, speech) = seed_with(seed, 100_000, |c| c.max_inbound_per_address = 3);
        let to = swarm.world.address(swarm.seed());
        let mut lines = Vec::new();
        for n in 0..8_u16 {
            let puppet = swarm.world.add_puppet(addr(&format!("192.0.2.7:{}", 5000 + n)));
            let line = Line::open(&mut swarm.world, puppet, to, &speech, 0x4000_0000 + u32::from(n), &[]);
            if let Some(line) = line {
                line.say(&mut swarm.world, &[]);
                lines.push(line);
            }
        }
        assert_eq!(swarm.world.peer(swarm.seed()).remotes().len(), 3);
        lines[0].say(&mut swarm.world, &[speech.goodbye()]);
        let puppet = swarm.world.add_puppet(addr("192.0.2.7:6000"));
        let again = Line::open(&mut swarm.world, puppet, to, &speech, 0x5000_0000, &[]);
        assert!(again.is_some(), "one went, one may come");
        let late = add_late(&mut swarm, 700);
        let target = swarm.seed();
        swarm.world.connect(late, target);
        let done = swarm.world.run_until(|w| w.peer(late).completed().is_some(), s(10));
        assert!(done.is_ok(), "{done:?}");
    });
}

#[test]
fn max_half_open() {
    each_seed(|seed| {
        let (mut swarm, speech) = seed_with(seed, 100_000, |c| c.max_half_open = 4);
        let to = swarm.world.address(swarm.seed());
        let puppets: Vec<_> = (0..7).map(|n| swarm.world.add_puppet(node_address(600 + n))).collect();
        let lines: Vec<Line> = puppets
            .iter()
            .enumerate()
            .map(|(n, puppet)| {
                Line::open(&mut swarm.world, *puppet, to, &speech, 0x4000_0000 + n as u32, &[]).expect("answered")
            })
            .collect();
        // Three are forgotten, by lot, but never the one that has just come: their third datagram comes to nothing.
        for line in &lines {
            line.say(&mut swarm.world, &[]);
        }
        let up = swarm.world.peer(swarm.seed()).remotes();
        assert_eq!(up.len(), 4);
        assert!(up.contains(&swarm.world.address(puppets[6])));
        assert!(swarm.world.peer(swarm.seed()).stats().dropped_unknown_channel >= 3);
    });
}

#[test]
fn half_open_timeout() {
    each_seed(|seed| {
        let (mut swarm, speech) = seed_with(seed, 100_000, |c| c.half_open_timeout = s(3));
        let to = swarm.world.address(swarm.seed());
        for (wait, up) in [(2500, true), (3500, false)] {
            let puppet = swarm.world.add_puppet(node_address(600 + wait));
            let line = Line::open(&mut swarm.world, puppet, to, &speech, 0x4000_0000, &[]).unwrap();
            swarm.world.run_for(ms(wait - 100));
            line.say(&mut swarm.world, &[]);
            let at = swarm.world.address(puppet);
            assert_eq!(swarm.world.peer(swarm.seed()).remotes().contains(&at), up, "after {wait} ms");
        }
    });
}

#[test]
fn handshake_timeout() {
    each_seed(|seed| {
        let (mut swarm, _) = leecher_with(seed, 1000, |c| c.handshake_timeout = s(7));
        let nobody = addr("10.3.3.3:3333");
        swarm.world.act(swarm.leechers[0], |peer: &mut Peer, now| peer.connect(now, nobody).unwrap());
        let down = swarm.world.run_until(|w| w.peer(w_leecher()).down_reason(nobody).is_some(), s(60)).unwrap();
        assert_eq!(swarm.world.peer(swarm.leecher()).down_reason(nobody), Some(Reason::Unanswered));
        assert!((ms(6500)..ms(8000)).contains(&down.saturating_since(Instant::from_micros(0))), "{down:?}");
        // Somebody may be there the next time.
        assert!(swarm.world.act(swarm.leechers[0], |peer: &mut Peer, now| peer.connect(now, nobody)).is_ok());
    });
    // The builder numbers nodes in order: a seed, then leechers.
    fn w_leecher() -> NodeId {
        Swarm::builder(0).leechers(1).content(1).acquaintance(Acquaintance::Nobody).build().leecher()
    }
}

/// Bytes asked for and not received: how much may be in flight towards a leecher.
#[test]
fn max_requested_and_max_requested_per_peer() {
    each_seed(|seed| {
        for (all, each, expected) in [(40_000, 1_000_000, 40_000), (1_000_000, 15_000, 45_000)] {
            let (mut swarm, speech) =
                leecher_with(seed, 2 << 20, move |c| (c.max_requested, c.max_requested_per_peer) = (all, each));
            let a = swarm.leecher();
            // Three that have everything and give nothing: what is asked of them stays open until it lapses.
            let mut asked = 0;
            let mut most_of_one = 0;
            for n in 0..3 {
                let puppet = swarm.world.add_puppet(node_address(600 + n));
                swarm.world.connect(a, puppet);
                let everything = swarm.content.everything();
                let line =
                    Line::pick_up(&mut swarm.world, puppet, &speech, 0x4000_0000 + n as u32, &speech.have(everything));
                let of_one: u64 = line.asked(&mut swarm.world, ms(60)).iter().map(|r| r.len() * 1024).sum();
                most_of_one = most_of_one.max(of_one);
                asked += of_one;
            }
            assert!(asked <= expected + 1024, "{asked} bytes asked with limits {all} and {each}");
            assert!(most_of_one <= each as u64 + 1024, "{most_of_one} bytes asked of one");
            assert!(asked > 0);
        }
        // And with such limits content still comes.
        let (mut swarm, _) =
            leecher_with(seed, 200_000, |c| (c.max_requested, c.max_requested_per_peer) = (3000, 1500));
        swarm.world.connect(swarm.leechers[0], swarm.seeds[0]);
        swarm.run(s(60));
    });
}

#[test]
fn max_queued_requests() {
    each_seed(|seed| {
        let (mut swarm, speech) = seed_with(seed, 2 << 20, |c| {
            c.max_queued_requests = 8;
            c.upload_limit = Some(2000);
        });
        let to = swarm.world.address(swarm.seed());
        let puppet = swarm.world.add_puppet(node_address(600));
        let line = Line::dial(&mut swarm.world, puppet, to, &speech, 0x4444_4444, &[]);
        let requests: Vec<_> = (0..200).map(|n| Message::Request { range: ChunkRange::single(n * 7) }).collect();
        for some in requests.chunks(50) {
            line.say(&mut swarm.world, some);
        }
        let stats = swarm.world.peer(swarm.seed()).stats();
        assert!((150..=200).contains(&stats.dropped_over_limit), "{stats:?}");
        // Those remembered are served.
        let mut got = Vec::new();
        for _ in 0..100 {
            got.extend(line.chunks(&mut swarm.world, ms(300)));
            if let Some(&last) = got.last() {
                line.say(&mut swarm.world, &[Message::Ack { range: ChunkRange::single(last), delay: 10_000 }]);
            }
        }
        got.sort_unstable();
        got.dedup();
        assert!((8..=50).contains(&got.len()), "{got:?}");
    });
}

/// A queue of one is short, but it is never stuck: what was asked for twice in a row takes no place.
#[test]
fn max_queued_requests_of_one() {
    each_seed(|seed| {
        let (mut swarm, speech) = seed_with(seed, 100_000, |c| c.max_queued_requests = 1);
        let to = swarm.world.address(swarm.seed());
        let puppet = swarm.world.add_puppet(node_address(600));
        let line = Line::dial(&mut swarm.world, puppet, to, &speech, 0x4444_4444, &[]);
        for chunk in 0..20 {
            for _ in 0..3 {
                line.say(&mut swarm.world, &[Message::Request { range: ChunkRange::single(chunk) }]);
            }
            let got = line.chunks(&mut swarm.world, s(2));
            assert!(got.contains(&chunk), "chunk {chunk}: {got:?}");
            line.say(&mut swarm.world, &[Message::Ack { range: ChunkRange::single(chunk), delay: 10_000 }]);
        }
    });
}

#[test]
fn max_have_parts() {
    each_seed(|seed| {
        let (mut swarm, speech) = leecher_with(seed, 1 << 20, |c| c.max_have_parts = 16);
        let a = swarm.leecher();
        let puppet = swarm.world.add_puppet(node_address(600));
        swarm.world.connect(a, puppet);
        let line = Line::pick_up(&mut swarm.world, puppet, &speech, 0x4444_4444, &[]);
        let haves: Vec<_> = (0..400).map(|n| Message::Have { range: Some(ChunkRange::single(n * 100_000)) }).collect();
        for some in haves.chunks(100) {
            line.say(&mut swarm.world, some);
        }
        let at = swarm.world.address(puppet);
        let (_, stats) = swarm.world.peer(a).peer_at(at).unwrap();
        println!("{} chunks noted, {:?}", stats.has_chunks, swarm.world.peer(a).stats().dropped_over_limit);
        assert!(stats.has_chunks <= 32, "{}", stats.has_chunks);
        assert!(swarm.world.peer(a).stats().dropped_over_limit > 0);
        // What joins parts is always welcome.
        line.say(&mut swarm.world, &speech.have(swarm.content.everything()));
        let (_, stats) = swarm.world.peer(a).peer_at(at).unwrap();
        assert!(stats.has_chunks >= 1024, "{}", stats.has_chunks);
    });
}

/// A HAVE of everything there can be costs no memory.
#[test]
fn a_have_of_all_numbers() {
    each_seed(|seed| {
        for addressing in [ppsp_core::ChunkAddressing::Range64, ppsp_core::ChunkAddressing::Bin64] {
            let (mut swarm, speech) = leecher_in(Swarm::builder(seed).content(50_000).addressing(addressing), |_| {});
            let a = swarm.leecher();
            let puppet = swarm.world.add_puppet(node_address(600));
            swarm.world.connect(a, puppet);
            let last = if addressing == ppsp_core::ChunkAddressing::Bin64 { (1 << 63) - 1 } else { u64::MAX };
            let line = Line::pick_up(&mut swarm.world, puppet, &speech, 0x4444_4444, &speech.have(range(0, last)));
            line.say(&mut swarm.world, &speech.have(range(0, last)));
            swarm.world.connect(a, swarm.seeds[0]);
            swarm.run(s(20));
        }
    });
}

#[test]
fn max_datagram() {
    each_seed(|seed| {
        for max in [600, 1200, 1452, 9000] {
            let chunk_size = if max == 600 { 512 } else { 1024 };
            let mut swarm = Swarm::builder(seed)
                .chunk_size(chunk_size)
                .content(300_000)
                .leechers(2)
                .link(LinkConfig::default().loss(10_000))
                .config(move |c| c.max_datagram = max)
                .build();
            swarm.world.tap(move |sight| {
                assert!(sight.bytes.len() <= max, "{} > {max} at {:?}", sight.bytes.len(), sight.now);
                ppsp_peer_proto::sim::Verdict::Pass
            });
            swarm.run(s(30));
        }
    });
}

#[test]
fn keep_alive() {
    each_seed(|seed| {
        let (mut swarm, speech) = leecher_with(seed, 1000, |c| c.keep_alive = s(4));
        let a = swarm.leecher();
        let puppet = swarm.world.add_puppet(node_address(600));
        swarm.world.connect(a, puppet);
        let line = Line::pick_up(&mut swarm.world, puppet, &speech, 0x4444_4444, &[]);
        swarm.world.run_for(s(1));
        swarm.world.puppet_take(puppet);
        swarm.world.run_for(s(40));
        let got = swarm.world.puppet_take(puppet);
        assert!((8..=14).contains(&got.len()), "{} in 40 s", got.len());
        // RFC 7574 §8.14: the channel ID and nothing else.
        assert!(got.iter().all(|r| r.bytes == line.ours.0.to_be_bytes()), "{got:?}");
        assert!(got.windows(2).all(|w| w[1].at.saturating_since(w[0].at) <= ms(4100)));
    });
}

/// RFC 7574 §3.12: "a three minute delay since that last packet has been received from that peer and at least three datagrams
/// having been sent to that peer during the same period."
#[test]
fn idle_timeout() {
    each_seed(|seed| {
        for (idle, keep, at_least, at_most) in [(s(20), s(2), 19, 24), (s(5), s(60), 115, 250)] {
            let (mut swarm, speech) = leecher_with(seed, 1000, move |c| (c.idle_timeout, c.keep_alive) = (idle, keep));
            let a = swarm.leecher();
            let puppet = swarm.world.add_puppet(node_address(600));
            let remote = swarm.world.address(puppet);
            swarm.world.connect(a, puppet);
            let line = Line::pick_up(&mut swarm.world, puppet, &speech, 0x4444_4444, &[]);
            // Whoever speaks lives.
            for _ in 0..30 {
                swarm.world.run_for(idle / 3);
                line.say(&mut swarm.world, &[]);
            }
            assert_eq!(swarm.world.peer(a).remotes(), [remote]);
            let since = swarm.world.now();
            swarm.world.puppet_take(puppet);
            let down = swarm.world.run_until(|w| w.peer(a).down_reason(remote).is_some(), s(400)).unwrap();
            assert_eq!(swarm.world.peer(a).down_reason(remote), Some(Reason::TimedOut));
            let after = down.saturating_since(since);
            assert!((s(at_least)..=s(at_most)).contains(&after), "{after:?} with {idle:?} and {keep:?}");
            swarm.world.run_for(ms(50));
            let unanswered = swarm.world.puppet_take(puppet).len();
            assert!(unanswered >= 3, "{unanswered} datagrams unanswered");
        }
    });
}

#[test]
fn max_idle_peers() {
    each_seed(|seed| {
        let (mut swarm, speech) = seed_with(seed, 10_000, |c| c.max_idle_peers = 3);
        let target = swarm.seed();
        let lines = dial_many(&mut swarm, target, &speech, 10);
        assert_eq!(lines.len(), 10);
        // They have all the seed could give, or nothing to ask for, and stay in touch.
        for _ in 0..60 {
            swarm.world.run_for(s(4));
            for line in &lines {
                let datagram = speech.datagram(line.theirs, &[]);
                swarm.world.puppet_send(line.puppet, line.remote, datagram);
            }
        }
        assert!(swarm.world.peer(target).peers().len() <= 3, "{}", swarm.world.peer(target).peers().len());
        // Whoever asks is not idle.
        let late = add_late(&mut swarm, 700);
        swarm.world.connect(late, target);
        let done = swarm.world.run_until(|w| w.peer(late).completed().is_some(), s(10));
        assert!(done.is_ok(), "{done:?}");
    });
}

#[test]
fn upload_limit() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed)
            .content(1 << 20)
            .leechers(3)
            .acquaintance(Acquaintance::Seeds)
            .seed_config(|c| c.upload_limit = Some(100_000))
            .build();
        swarm.world.run_for(s(2));
        let before = swarm.world.peer(swarm.seed()).uploaded();
        swarm.world.run_for(s(10));
        let rate = (swarm.world.peer(swarm.seed()).uploaded() - before) / 10;
        assert!((90_000..=110_000).contains(&rate), "{rate} bytes/s");
    });
}

#[test]
fn download_limit() {
    each_seed(|seed| {
        let mut swarm =
            Swarm::builder(seed).content(2 << 20).seeds(3).leecher_config(|c| c.download_limit = Some(100_000)).build();
        swarm.world.run_for(s(2));
        let before = swarm.world.peer(swarm.leecher()).downloaded();
        swarm.world.run_for(s(10));
        let rate = (swarm.world.peer(swarm.leecher()).downloaded() - before) / 10;
        assert!((90_000..=110_000).contains(&rate), "{rate} bytes/s");
    });
}

#[test]
fn ban_time_and_max_bans() {
    each_seed(|seed| {
        let (mut swarm, _) = leecher_with(seed, 1 << 20, |c| {
            c.max_bans = 3;
            c.ban_time = s(100);
        });
        let a = swarm.leecher();
        let bad: Vec<_> = (0..5)
            .map(|n| {
                let manners = Manners { gives: Gives::WrongBytes, ..Manners::default() };
                let character =
                    Character::new(node_address(600 + n), &swarm.content, manners, Chance::new(seed, "bad", n));
                let id = swarm.world.add(character, Access::UNLIMITED);
                swarm.world.connect(a, id);
                swarm.world.run_for(s(3));
                swarm.world.address(id)
            })
            .collect();
        for &at in &bad {
            assert_eq!(swarm.world.peer(a).down_reason(at), Some(Reason::Corrupt));
        }
        let banned = |world: &mut ppsp_peer_proto::sim::World| -> Vec<bool> {
            bad.iter()
                .map(|&at| {
                    world.act(a, |peer: &mut Peer, now| match peer.connect(now, at) {
                        Err(ConnectError::Banned) => true,
                        Ok(key) => {
                            peer.disconnect(now, key);
                            false
                        }
                        Err(error) => panic!("{error}"),
                    })
                })
                .collect()
        };
        assert_eq!(banned(&mut swarm.world), [false, false, true, true, true], "the oldest are forgiven");
        swarm.world.run_for(s(101));
        assert_eq!(banned(&mut swarm.world), [false; 5], "all are forgiven in time");
    });
}

#[test]
fn max_learned() {
    each_seed(|seed| {
        let (mut swarm, speech) = leecher_with(seed, 1000, |c| (c.pex, c.max_learned) = (true, 5));
        let a = swarm.leecher();
        swarm.world.act(a, |peer: &mut Peer, _| peer.follow_pex(false));
        let puppet = swarm.world.add_puppet(node_address(600));
        swarm.world.connect(a, puppet);
        let line = Line::pick_up(&mut swarm.world, puppet, &speech, 0x4444_4444, &[]);
        assert_eq!(line.count(&mut swarm.world, s(1), |m| *m == Message::PexReq), 1);
        let answer: Vec<_> =
            (1..=12).map(|n| Message::PexResV4(std::net::SocketAddrV4::new([10, 4, 0, n].into(), 4000))).collect();
        line.say(&mut swarm.world, &answer);
        let mut learned = [addr("0.0.0.0:0"); 3];
        let mut take = |swarm: &mut Swarm| {
            swarm.world.act(a, |peer: &mut Peer, _| {
                let key = peer.swarm();
                peer.endpoint().swarm_mut(key).unwrap().take_learned(&mut learned)
            })
        };
        assert_eq!((take(&mut swarm), take(&mut swarm), take(&mut swarm)), (3, 2, 0));
        assert_eq!(swarm.world.peer(a).stats().dropped_over_limit, 7);
        let told = swarm.world.peer(a).events().iter().filter(|(_, e)| matches!(e, Event::PeersLearned { .. })).count();
        assert_eq!(told, 1, "one event for many addresses");
    });
}

/// Events that nobody takes are bounded, and those that matter for good come through: what is merged is never lost.
#[test]
fn max_events() {
    each_seed(|seed| {
        let (mut swarm, speech) = leecher_with(seed, 50_000, |c| c.max_events = 10);
        let a = swarm.leecher();
        swarm.world.act(a, |peer: &mut Peer, _| {
            peer.hold_events(true);
            peer.trust_everybody();
        });
        let lines = dial_many(&mut swarm, a, &speech, 20);
        for line in &lines {
            line.say(&mut swarm.world, &[speech.goodbye()]);
        }
        swarm.world.connect(a, swarm.seeds[0]);
        swarm.world.run_for(s(20));
        let stats = swarm.world.peer(a).stats();
        assert!(stats.dropped_events >= 30, "{stats:?}");
        swarm.world.act(a, |peer: &mut Peer, _| peer.hold_events(false));
        let events = swarm.world.peer(a).events().to_vec();
        assert!(events.len() <= 10 + 4, "{}", events.len());
        assert!(events.iter().any(|(_, e)| matches!(e, Event::Complete { .. })), "{events:?}");
        assert!(swarm.is_complete());
    });
}

/// HAVEs wait for company (RFC 7574 §3.2), but not for long.
#[test]
fn have_delay() {
    each_seed(|seed| {
        for delay in [ms(5), ms(500)] {
            let (mut swarm, speech) = leecher_with(seed, 100_000, move |c| c.have_delay = delay);
            let a = swarm.leecher();
            let to = swarm.world.address(a);
            let puppet = swarm.world.add_puppet(node_address(600));
            let line = Line::dial(&mut swarm.world, puppet, to, &speech, 0x4444_4444, &[]);
            swarm.world.connect(a, swarm.seeds[0]);
            let at = swarm.run(s(10));
            let heard = line.hear(&mut swarm.world, delay + ms(100), |m| match m {
                Message::Have { range } => *range,
                _ => None,
            });
            let told: ppsp_core::RangeSet = heard.iter().copied().collect();
            assert!(told.covers(swarm.content.everything()), "{heard:?} after {at:?}");
            println!("{delay:?}: {} HAVEs", heard.len());
        }
    });
}

/// Limits of nothing are limits too: no number in the configuration makes it panic or run wild.
#[test]
fn odd_configurations() {
    each_seed(|seed| {
        let odd: [fn(&mut EndpointConfig); 12] = [
            |c| c.max_peers = 0,
            |c| c.max_inbound = 0,
            |c| c.max_half_open = 0,
            |c| c.max_requested = 0,
            |c| c.max_requested_per_peer = 0,
            |c| c.max_queued_requests = 0,
            |c| c.max_have_parts = 0,
            |c| c.max_datagram = 0,
            |c| (c.max_bans, c.max_learned, c.max_events, c.max_idle_peers) = (0, 0, 0, 0),
            |c| (c.upload_limit, c.download_limit) = (Some(0), Some(0)),
            |c| (c.have_delay, c.ban_time, c.half_open_timeout) = (Duration::ZERO, Duration::ZERO, Duration::ZERO),
            |c| (c.idle_timeout, c.keep_alive, c.handshake_timeout) = (Duration::MAX, Duration::MAX, Duration::MAX),
        ];
        for (n, tweak) in odd.into_iter().enumerate() {
            let mut swarm =
                Swarm::builder(seed).content(20_000).acquaintance(Acquaintance::Nobody).config(tweak).build();
            for id in swarm.seeds.iter().chain(&swarm.leechers).copied().collect::<Vec<_>>() {
                swarm.world.act(id, |peer: &mut Peer, _| peer.trust_everybody());
            }
            let to = swarm.world.address(swarm.seed());
            let called = swarm.world.act(swarm.leechers[0], |peer: &mut Peer, now| peer.connect(now, to));
            assert_eq!(called.is_err(), n == 0, "{n}: {called:?}");
            swarm.world.run_for(s(10));
            println!("{n}: complete: {}", swarm.is_complete());
        }
        // Channels with the number zero stay what they are.
        let (mut swarm, speech) = seed_with(seed, 1000, |_| {});
        let puppet = swarm.world.add_puppet(node_address(600));
        let to = swarm.world.address(swarm.seed());
        assert!(Line::open(&mut swarm.world, puppet, to, &speech, ChannelId::NONE.0, &[]).is_none());
    });
}

/// A crowd that came and went without a word keeps nobody out: a newcomer takes the place of who has been silent.
#[test]
fn silent_channels_give_way_to_newcomers() {
    each_seed(|seed| {
        let (mut swarm, speech) = seed_with(seed, 100_000, |c| c.max_inbound = 5);
        let target = swarm.seed();
        let lines = dial_many(&mut swarm, target, &speech, 5);
        assert_eq!(lines.len(), 5);
        for line in &lines {
            line.say(&mut swarm.world, &[Message::Request { range: range(0, 20) }]);
        }
        swarm.world.run_for(s(60));
        let late = add_late(&mut swarm, 700);
        swarm.world.connect(late, target);
        let done = swarm.world.run_until(|w| w.peer(late).completed().is_some(), s(10));
        assert!(done.is_ok(), "{done:?}");
    });
}

/// A limit lower than a few chunks a second still lets large chunks through.
#[test]
fn download_limit_with_large_chunks() {
    each_seed(|seed| {
        for chunk_size in [8 << 10, 16 << 10, 60 << 10] {
            let mut swarm = Swarm::builder(seed)
                .chunk_size(chunk_size)
                .content(1 << 20)
                .leecher_config(|c| c.download_limit = Some(200_000))
                .build();
            let at = swarm.run(s(30));
            assert!(at.as_micros() > 3_000_000, "{at:?} for 1 MiB at 200 kB/s");
        }
    });
}
