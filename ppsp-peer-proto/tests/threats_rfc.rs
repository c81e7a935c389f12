//! RFC 7574 §12.6, "Limit Potential Damage and Resource Exhaustion by Bad or Broken Peers": one test for each threat, with
//! its name. And §12.1, the attacks on the handshake, which §12.6.1 refers to.

mod common;

use common::*;
use ppsp_core::{ChunkAddressing, ChunkRange, HashAlg};
use ppsp_peer_proto::{
    ConnectError, Event, Reason,
    policy::Reciprocal,
    sim::{
        Access, Acquaintance, Chance, Character, Content, Gives, LinkConfig, Manners, NodeId, Peer, Speech, Swarm,
        has_message, node_address, secs,
    },
    wire::{ChannelId, Handshake, Message, MessageType, Options, Writer},
};

/// A seed, and a puppet that may speak to it.
fn stage(
    seed: u64,
    build: impl Fn(ppsp_peer_proto::sim::Builder) -> ppsp_peer_proto::sim::Builder,
) -> (Swarm, NodeId, Speech) {
    let mut swarm = build(Swarm::builder(seed).content(400_000).leechers(0)).build();
    let puppet = swarm.world.add_puppet(node_address(900));
    let speech = Speech::new(&swarm.content);
    (swarm, puppet, speech)
}

/// Lets a late leecher fetch everything: the seed has taken no harm.
fn still_serves(swarm: &mut Swarm, target: NodeId) {
    let content = swarm.content.clone();
    let n = swarm.world.nodes() as u64 + 500;
    let mut peer = Peer::new(node_address(n), Default::default(), Chance::bytes(swarm.world.seed(), "late", n));
    let store = ppsp_peer_proto::sim::SimStore::empty(&content);
    peer.join(swarm.world.now(), &content, ppsp_peer_proto::SwarmConfig::new(content.metadata()), store);
    let late = swarm.world.add(peer, Access::UNLIMITED);
    swarm.world.connect(late, target);
    let done = swarm.world.run_until(|w| w.peer(late).completed().is_some(), s(15));
    assert!(done.is_ok(), "{}: a leecher is not served any more: {done:?}", swarm.world.context());
}

/// Adds a character that every leecher calls.
fn tempt(swarm: &mut Swarm, n: u64, manners: Manners) -> NodeId {
    let chance = Chance::new(swarm.world.seed(), "tempter", n);
    let id = swarm.world.add(Character::new(node_address(n), &swarm.content, manners, chance), Access::UNLIMITED);
    for leecher in swarm.leechers.clone() {
        swarm.world.connect(leecher, id);
    }
    id
}

// §12.6.1: "Secured against DoS Amplification attacks as described in Section 12.1." §12.1.1: "PPSPP does not send back much
// more data than it received, unless it knows it is talking to a live peer."
#[test]
fn handshake_amplification() {
    each_seed(|seed| {
        let (mut swarm, puppet, speech) = stage(seed, |b| b.content(2 << 20));
        let victim = swarm.world.add_puppet(addr("192.168.7.7:7777"));
        let (target, victim_at) = (swarm.world.address(swarm.seed()), swarm.world.address(victim));
        let all = swarm.content.everything();
        let mut sent = 0;
        for n in 0..50 {
            let mut messages = vec![speech.hello(ChannelId(0x4000_0000 + n / 2))];
            messages.extend(speech.request(all));
            messages.push(Message::PexReq);
            let opening = speech.datagram(ChannelId::NONE, &messages);
            sent += opening.len();
            swarm.world.puppet_spoof(puppet, victim_at, target, opening);
            swarm.world.run_for(ms(100));
        }
        swarm.world.run_for(s(60));
        let got = swarm.world.puppet_take(victim);
        let bytes: usize = got.iter().map(|r| r.bytes.len()).sum();
        println!("{sent} bytes in the victim's name brought it {bytes} in {} datagrams", got.len());
        assert!(bytes <= sent, "{bytes} > {sent}");
        assert!(got.len() <= 50, "no more datagrams than there were: {}", got.len());
        assert!(got.iter().all(|r| data_of(&speech, &r.bytes).is_empty()), "no heavy payload");
    });
}

// §3.1.1 step 2: "If any check by Peer Q fails, or if Peers P and Q are not in the same swarm, Peer Q MUST NOT send a HANDSHAKE
// (or any other) message back".
#[test]
fn handshake_that_does_not_check_is_not_answered() {
    each_seed(|seed| {
        let (mut swarm, puppet, speech) = stage(seed, |b| b);
        let target = swarm.world.address(swarm.seed());
        let good = speech.options();
        let other = Content::new(seed + 1, 1000, 1024, HashAlg::Sha256, ChunkAddressing::Range32);
        let id_of_other = other.metadata().id;
        let me = ChannelId(0x5555_5555);
        let wrong: Vec<(&str, ChannelId, ChannelId, Options<'_>)> = vec![
            ("another swarm", ChannelId::NONE, me, Options { swarm_id: Some(id_of_other.as_bytes()), ..good }),
            ("no swarm ID", ChannelId::NONE, me, Options { swarm_id: None, ..good }),
            (
                "part of the swarm ID",
                ChannelId::NONE,
                me,
                Options { swarm_id: good.swarm_id.map(|id| &id[..20]), ..good },
            ),
            ("another version only", ChannelId::NONE, me, Options { version: Some(9), min_version: Some(9), ..good }),
            ("no version", ChannelId::NONE, me, Options { version: None, ..good }),
            ("another hash function", ChannelId::NONE, me, Options { hash: Some(0), ..good }),
            ("an unknown hash function", ChannelId::NONE, me, Options { hash: Some(77), ..good }),
            ("another addressing", ChannelId::NONE, me, Options { addressing: Some(0), ..good }),
            ("another integrity method", ChannelId::NONE, me, Options { integrity: Some(3), ..good }),
            ("no integrity", ChannelId::NONE, me, Options { integrity: Some(0), ..good }),
            ("another chunk size", ChannelId::NONE, me, Options { chunk_size: Some(2048), ..good }),
            ("variable chunk size", ChannelId::NONE, me, Options { chunk_size: Some(u32::MAX), ..good }),
            ("a channel that is not there", ChannelId(0x7777_7777), me, good),
            ("a closing handshake", ChannelId::NONE, ChannelId::NONE, good),
        ];
        for (what, to, source, options) in wrong {
            let before = swarm.world.peer(swarm.seed()).stats();
            let datagram = speech.datagram(to, &[Message::Handshake(Handshake { source, options })]);
            swarm.world.puppet_send(puppet, target, datagram);
            swarm.world.run_for(s(20));
            let answers = swarm.world.puppet_take(puppet);
            assert!(answers.is_empty(), "{what}: {answers:?}");
            let after = swarm.world.peer(swarm.seed()).stats();
            let counted =
                |s: &ppsp_peer_proto::Stats| s.dropped_handshakes + s.dropped_malformed + s.dropped_unknown_channel;
            assert_eq!(counted(&after), counted(&before) + 1, "{what}: counted once");
        }
        // RFC 7574 §7.2 and RFC 6709 §4.1: a range of versions that includes ours is good.
        let range = Options { version: Some(3), min_version: Some(1), ..good };
        let datagram =
            speech.datagram(ChannelId::NONE, &[Message::Handshake(Handshake { source: me, options: range })]);
        swarm.world.puppet_send(puppet, target, datagram);
        swarm.world.run_for(s(1));
        assert!(!swarm.world.puppet_take(puppet).is_empty());
        // §3.1: a HANDSHAKE is the first message, and a datagram without says nothing to nobody.
        for messages in [&[][..], &[Message::PexReq], &[Message::Choke, speech.hello(me)]] {
            let datagram = speech.datagram(ChannelId::NONE, messages);
            swarm.world.puppet_send(puppet, target, datagram);
            swarm.world.run_for(s(12));
            let fresh = |r: &ppsp_peer_proto::sim::Received| speech.parse(&r.bytes).0 != me;
            assert!(!swarm.world.puppet_take(puppet).iter().any(fresh));
        }
        let target = swarm.seed();
        still_serves(&mut swarm, target);
    });
}

// §12.1, attack 2: "attackers try to deny service to other peers by allocating lots of state at a PPSPP peer."
#[test]
fn handshake_flood() {
    each_seed(|seed| {
        let (mut swarm, puppet, speech) = stage(seed, |b| b);
        let target = swarm.world.address(swarm.seed());
        for n in 0..2000_u32 {
            let mut messages = vec![speech.hello(ChannelId(0x4000_0000 + n))];
            messages.extend(speech.have(swarm.content.everything()));
            messages.extend(speech.request(swarm.content.everything()));
            let opening = speech.datagram(ChannelId::NONE, &messages);
            let source = addr(&format!("192.168.{}.{}:99", n >> 8, n & 255));
            swarm.world.puppet_spoof(puppet, source, target, opening);
        }
        swarm.world.run_for(s(1));
        let target = swarm.seed();
        still_serves(&mut swarm, target);
        // And what was half open is forgotten in time: the flood leaves nothing behind.
        swarm.world.run_for(s(400));
        assert_eq!(swarm.world.poll_timeout(), None);
        let ups = swarm.world.peer(target).events().iter().filter(|(_, e)| matches!(e, Event::PeerUp { .. })).count();
        assert_eq!(ups, 1);
    });
}

// §12.1, attack 3: "attackers send bogus, e.g., REQUEST and HAVE messages appearing to come from victim Peer A". §12.1.3:
// "channel IDs serve to authenticate a peer."
#[test]
fn handshake_spoofed_messages_without_the_channel_id() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).content(2 << 20).access(Access::both(400_000)).build();
        let puppet = swarm.world.add_puppet(node_address(900));
        let speech = Speech::new(&swarm.content);
        let mut chance = Chance::new(seed, "guess", 0);
        let (seed_at, leecher_at) = (swarm.world.address(swarm.seed()), swarm.world.address(swarm.leecher()));
        swarm.world.run_for(ms(500));
        let before = swarm.world.peer(swarm.seed()).stats();
        for _ in 0..500 {
            let guess = ChannelId(chance.next_u64() as u32 | 1);
            let messages = [speech.goodbye(), Message::Choke];
            for message in messages {
                let datagram = speech.datagram(guess, &[message]);
                swarm.world.puppet_spoof(puppet, leecher_at, seed_at, datagram.clone());
                swarm.world.puppet_spoof(puppet, seed_at, leecher_at, datagram);
            }
        }
        swarm.run(s(20));
        let after = swarm.world.peer(swarm.seed()).stats();
        assert_eq!(after.dropped_unknown_channel - before.dropped_unknown_channel, 1000);
        assert_eq!(swarm.world.peer(swarm.leecher()).times_up(seed_at), 1);
    });
}

// §3.1.1 step 3: "If the reply datagram is not prefixed with (destination) channel ID chanP, Peer P MUST discard the datagram.
// Peer P SHOULD continue to process datagrams from Peer Q that do meet this requirement."
#[test]
fn handshake_answer_without_the_initiators_channel() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).acquaintance(Acquaintance::Nobody).build();
        let speech = Speech::new(&swarm.content);
        let puppet = swarm.world.add_puppet(node_address(900));
        let remote = swarm.world.address(puppet);
        swarm.world.connect(swarm.leechers[0], puppet);
        swarm.world.run_for(ms(50));
        let opening = swarm.world.puppet_take(puppet).remove(0);
        let (_, messages) = speech.parse(&opening.bytes);
        let Some(Message::Handshake(hello)) = messages.first() else { panic!("{messages:?}") };
        let theirs = hello.source;
        let wrong = speech.datagram(ChannelId(theirs.0 ^ 1), &[speech.hello(ChannelId(5))]);
        swarm.world.puppet_send(puppet, opening.from, wrong);
        swarm.world.run_for(ms(100));
        assert!(!swarm.world.peer(swarm.leecher()).remotes().contains(&remote));
        // Nor may somebody else answer in the right channel.
        let thief = swarm.world.add_puppet(node_address(901));
        let right = speech.datagram(theirs, &[speech.hello(ChannelId(6))]);
        swarm.world.puppet_send(thief, opening.from, right.clone());
        swarm.world.run_for(ms(100));
        assert_eq!(swarm.world.peer(swarm.leecher()).remotes(), []);
        // The right one is still heard.
        swarm.world.puppet_send(puppet, opening.from, right);
        swarm.world.run_for(ms(100));
        assert!(swarm.world.peer(swarm.leecher()).remotes().contains(&remote));
    });
}

// "Threat HS.1: An Eclipse attack where Peers T1..Tn fill all connection slots of Peer A by initiating the connection to Peer A.
// Solution: Peer A must not let other peers fill all its available connection slots, i.e., Peer A must initiate connections itself
// too, to prevent isolation."
#[test]
fn hs_1_eclipse() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed)
            .acquaintance(Acquaintance::Nobody)
            .leecher_config(|c| (c.max_peers, c.max_inbound) = (12, 8))
            .build();
        let speech = Speech::new(&swarm.content);
        let a = swarm.leecher();
        let target = swarm.world.address(a);
        let mut got_in = 0;
        for n in 0..30 {
            let puppet = swarm.world.add_puppet(node_address(900 + n));
            let line = Line::open(
                &mut swarm.world,
                puppet,
                target,
                &speech,
                0x4000_0000 + n as u32,
                &speech.have(swarm.content.everything()),
            );
            if let Some(line) = line {
                line.say(&mut swarm.world, &[]);
                got_in += 1;
            }
        }
        assert_eq!(swarm.world.peer(a).peers().len(), 8);
        assert!(got_in >= 8);
        // The others stayed outside, or took the place of one that had been silent for a while.
        assert!(swarm.world.peer(a).stats().dropped_handshakes >= 30 - got_in);
        swarm.world.connect(a, swarm.seeds[0]);
        let at = swarm.run(s(40));
        println!("eight liars inside, complete at {:.1} s", secs(at));
    });
}

// "Threat HAVE.1: Malicious Peer T can claim to have content that it does not. Subsequently, Peer T won't respond to requests.
// Solution: Peer A will consider Peer T to be a slow peer and not ask it again."
#[test]
fn have_1_content_that_is_not_there() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed)
            .content(4 << 20)
            .acquaintance(Acquaintance::Nobody)
            .access(Access::both(500_000))
            .build();
        let liar = tempt(&mut swarm, 900, Manners { gives: Gives::Nothing, ..Manners::default() });
        swarm.world.connect(swarm.leechers[0], swarm.seeds[0]);
        let at = swarm.run(s(60));
        let asked = swarm.world.node::<Character>(liar).seen().requested;
        println!("complete at {:.1} s; the liar was asked for {asked} of 4096 chunks", secs(at));
        assert!(asked < 512, "not again and again: {asked}");
    });
}

// "Threat HAVE.2: Malicious Peer T can claim not to have content. Hence, it won't contribute. Solution: Peer and chunk selection
// algorithms external to the protocol will implement fairness and provide sharing incentives."
#[test]
fn have_2_a_free_rider() {
    one_seed(|seed| {
        let mut swarm = Swarm::builder(seed)
            .content(4 << 20)
            .leechers(5)
            .access(Access::both(500_000))
            .choker(|| Box::new(Reciprocal::new(2, ms(1000))))
            .build();
        let manners = Manners { announces: false, greedy: true, ..Manners::default() };
        let rider = Character::new(node_address(900), &swarm.content, manners, Chance::new(seed, "rider", 0));
        let rider = swarm.world.add(rider, Access::both(500_000));
        // It knows the leechers only: what a seed gives away is the seed's.
        for leecher in swarm.leechers.clone() {
            let to = swarm.world.address(leecher);
            swarm.world.act(rider, |c: &mut Character, now| c.call(now, to));
        }
        swarm.run(s(100));
        let got = swarm.world.node::<Character>(rider).seen().got_chunks;
        println!("the free rider got {got} of 4096 chunks while the others got all");
        assert!(got < 3 * 1024, "{got}");
    });
}

// "Threat DATA.1: Peer T sending bogus chunks. Solution: The content integrity protection schemes defend against this."
#[test]
fn data_1_bogus_chunks() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).leechers(1).acquaintance(Acquaintance::Nobody).build();
        let bad = tempt(&mut swarm, 900, Manners { gives: Gives::WrongBytes, ..Manners::default() });
        let bad_at = swarm.world.address(bad);
        swarm.world.run_for(s(5));
        let peer = swarm.world.peer(swarm.leecher());
        assert_eq!(peer.down_reason(bad_at), Some(Reason::Corrupt));
        assert_eq!((peer.downloaded(), peer.held().len()), (0, 0), "never stored");
        assert!(swarm.world.node::<Character>(bad).seen().acks == 0, "nor acknowledged");
        let again = swarm.world.act(swarm.leechers[0], |peer: &mut Peer, now| peer.connect(now, bad_at));
        assert_eq!(again, Err(ConnectError::Banned));
        swarm.world.connect(swarm.leechers[0], swarm.seeds[0]);
        swarm.run(s(20));
    });
}

// "Threat DATA.2: Peer T sends Peer A unrequested chunks. To protect against this threat we need network-level DoS prevention."
#[test]
fn data_2_unrequested_chunks() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).acquaintance(Acquaintance::Nobody).build();
        let speech = Speech::new(&swarm.content);
        let puppet = swarm.world.add_puppet(node_address(900));
        let target = swarm.world.address(swarm.leecher());
        // It announces nothing, so that nothing can be asked of it, and sends good chunks all the same.
        let line = Line::dial(&mut swarm.world, puppet, target, &speech, 0x4444_4444, &[]);
        for chunk in 0..64 {
            let datagram = speech.proven_chunk(line.theirs, chunk, 0);
            swarm.world.puppet_send(puppet, target, datagram);
        }
        swarm.world.run_for(s(1));
        let peer = swarm.world.peer(swarm.leecher());
        assert!(peer.stats().dropped_unrequested > 0, "{:?}", peer.stats());
        assert_eq!(peer.held().len(), 0);
        // To another channel of a swarm that has it all already, too.
        swarm.world.connect(swarm.leechers[0], swarm.seeds[0]);
        swarm.run(s(20));
    });
}

// "Threat ACK.1: Peer T acknowledges wrong chunks. Solution: Peer A will detect inconsistencies with the data it sent to Peer T."
#[test]
fn ack_1_wrong_chunks() {
    each_seed(|seed| {
        let (mut swarm, puppet, speech) = stage(seed, |b| b.content(2 << 20));
        let target = swarm.world.address(swarm.seed());
        let line = Line::dial(&mut swarm.world, puppet, target, &speech, 0x4444_4444, &[]);
        let before = swarm.world.peer(swarm.seed()).stats();
        // Before anything was sent, and far beyond the end.
        for range in [range(0, 0), range(5, 500), range(4_000_000, 4_000_100)] {
            line.say(&mut swarm.world, &[Message::Ack { range, delay: 1000 }]);
        }
        let after = swarm.world.peer(swarm.seed()).stats();
        assert!(after.ignored_unfounded >= before.ignored_unfounded + 3, "{after:?}");
        // Whoever acknowledges what it did not get gets no more for it: ask for all, acknowledge all at once, again and again.
        for message in speech.request(swarm.content.everything()) {
            line.say(&mut swarm.world, &[message]);
        }
        for _ in 0..20 {
            line.say(&mut swarm.world, &[Message::Ack { range: swarm.content.everything(), delay: 0 }]);
        }
        let target = swarm.seed();
        still_serves(&mut swarm, target);
    });
}

// "Threat ACK.2: Peer T modifies timestamp in ACK to Peer A used for time-based congestion control. […] by decreasing the timestamp,
// Peer T could fake that there is no congestion when in fact there is, causing Peer A to send more data than it should."
#[test]
fn ack_2_modified_timestamps() {
    each_seed(|seed| {
        let run = |delay_lie: Option<i64>| {
            let mut swarm = Swarm::builder(seed)
                .content(16 << 20)
                .leechers(1)
                .link(LinkConfig::perfect(ms(20)))
                .seed_access(Access::up(1_000_000))
                .build();
            let manners =
                Manners { announces: false, greedy: true, delay_lie: delay_lie.unwrap_or(0), ..Manners::default() };
            let thief = Character::new(node_address(900), &swarm.content, manners, Chance::new(seed, "thief", 0));
            let thief = swarm.world.add(thief, Access::UNLIMITED);
            if delay_lie.is_some() {
                let to = swarm.world.address(swarm.seed());
                swarm.world.act(thief, |c: &mut Character, now| c.call(now, to));
            }
            swarm.world.run_for(s(15));
            let total = swarm.world.net().total();
            let honest = swarm.world.peer(swarm.leecher()).downloaded();
            (honest, swarm.world.node::<Character>(thief).seen().got_bytes, total.overflowed as f64 / total.sent as f64)
        };
        for lie in [0, -1_000_000, -50_000, 50_000, i64::MIN / 2] {
            let (honest, thief, lost) = run(Some(lie));
            println!(
                "a lie of {lie} µs: honest {} KiB, thief {} KiB, {:.1} % lost",
                honest >> 10,
                thief >> 10,
                lost * 100.0
            );
            // Loss still holds it back, and the other is not starved.
            assert!(lost < 0.15, "{lost:.3} of all datagrams overflowed");
            assert!(honest > 15 * 1_000_000 / 12, "{honest}");
        }
    });
}

// "Threat INTEGRITY.1: An amplification attack where Peer T sends bogus INTEGRITY or SIGNED_INTEGRITY messages, causing Peer A to
// checks hashes or signatures, thus spending CPU unnecessarily. Solution: If the hashes/signatures don't check out, Peer A will stop
// asking Peer T […]. Subsequent unsolicited traffic from Peer T will be ignored."
#[test]
fn integrity_1_bogus_hashes() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).acquaintance(Acquaintance::Nobody).build();
        let bad = tempt(&mut swarm, 900, Manners { gives: Gives::WrongHashes, ..Manners::default() });
        let bad_at = swarm.world.address(bad);
        swarm.world.run_for(s(5));
        let peer = swarm.world.peer(swarm.leecher());
        println!("asked for {}; {:?}", swarm.world.node::<Character>(bad).seen().requested, peer.stats());
        assert!(
            matches!(peer.down_reason(bad_at), Some(Reason::Corrupt | Reason::Misbehaved)),
            "named and dropped: {:?}",
            peer.events(),
        );
        let asked = swarm.world.node::<Character>(bad).seen().requested;
        swarm.world.run_for(s(10));
        assert_eq!(swarm.world.node::<Character>(bad).seen().requested, asked, "not asked again");

        // Hashes alone, without end, of nodes without end.
        let speech = Speech::new(&swarm.content);
        let puppet = swarm.world.add_puppet(node_address(901));
        let target = swarm.world.address(swarm.leecher());
        let line = Line::dial(&mut swarm.world, puppet, target, &speech, 0x4444_4444, &[]);
        let hash = [7; 32];
        for n in 0..200_u64 {
            let messages: Vec<_> =
                (0..30).map(|i| Message::Integrity { range: ChunkRange::single(n * 31 + i), hash: &hash }).collect();
            let datagram = speech.datagram(line.theirs, &messages);
            swarm.world.puppet_send(puppet, target, datagram);
        }
        swarm.world.run_for(s(1));
        swarm.world.connect(swarm.leechers[0], swarm.seeds[0]);
        swarm.run(s(20));
    });
}

// The same with a whole wrong tree: peaks of other content.
#[test]
fn integrity_1_another_tree() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).acquaintance(Acquaintance::Nobody).build();
        let puppet = swarm.world.add_puppet(node_address(901));
        let speech = Speech::new(&swarm.content);
        let other = Speech::new(&Content::new(seed + 5, 90_000, 1024, HashAlg::Sha256, ChunkAddressing::Range32));
        swarm.world.connect(swarm.leechers[0], puppet);
        let line = Line::pick_up(&mut swarm.world, puppet, &speech, 0x4444_4444, &speech.have(range(0, 87)));
        let bad_at = swarm.world.address(puppet);
        let mut asked = 0;
        for _ in 0..300 {
            for range in line.asked(&mut swarm.world, ms(100)) {
                asked += range.len();
                for chunk in range.chunks().filter(|chunk| *chunk < 88) {
                    let datagram = other.proven_chunk(line.theirs, chunk, 0);
                    swarm.world.puppet_send(puppet, line.remote, datagram);
                }
            }
        }
        let reason = swarm.world.peer(swarm.leecher()).down_reason(bad_at);
        println!("asked for {asked} chunks in 30 s, then {reason:?}");
        assert!(matches!(reason, Some(Reason::Corrupt | Reason::Misbehaved)), "named and dropped");
        assert!((1..300).contains(&asked), "{asked}");
        swarm.world.connect(swarm.leechers[0], swarm.seeds[0]);
        swarm.run(s(20));
    });
}

// "Threat INTEGRITY.2: An attack where Peer T sends old SIGNED_INTEGRITY messages in the Unified Merkle Tree scheme". Static content has
// none: such a message has no place and no length, and ends its datagram.
#[test]
fn integrity_2_signatures_in_static_content() {
    each_seed(|seed| {
        let (mut swarm, puppet, speech) = stage(seed, |b| b);
        let target = swarm.world.address(swarm.seed());
        let line = Line::dial(&mut swarm.world, puppet, target, &speech, 0x4444_4444, &[]);
        let before = swarm.world.peer(swarm.seed()).stats();
        let mut bytes = vec![7, 0, 0, 0, 0, 0, 0, 0, 31];
        bytes.extend([9; 72]);
        line.say_bytes(&mut swarm.world, &bytes);
        let after = swarm.world.peer(swarm.seed()).stats();
        assert_eq!(
            after.dropped_malformed + after.dropped_unknown_message,
            before.dropped_malformed + before.dropped_unknown_message + 1
        );
        let target = swarm.seed();
        still_serves(&mut swarm, target);
    });
}

// "Threat REQUEST.1: Peer T could request lots from Peer A, leaving Peer A without resources for others. Solution: A limit is imposed on
// the upload capacity a single peer can consume, for example, by using an upload bandwidth scheduler that takes into account the need of
// multiple peers."
#[test]
fn request_1_requests_lots() {
    one_seed(|seed| {
        // Once at the peer's own limit, once at the network's.
        for limited in [true, false] {
            let mut swarm = Swarm::builder(seed)
                .content(8 << 20)
                .leechers(2)
                .acquaintance(Acquaintance::Seeds)
                .seed_access(if limited { Access::UNLIMITED } else { Access::up(1_000_000) })
                .seed_config(move |c| c.upload_limit = limited.then_some(900_000))
                .build();
            let manners = Manners { announces: false, greedy: true, ..Manners::default() };
            let greedy = Character::new(node_address(900), &swarm.content, manners, Chance::new(seed, "greedy", 0));
            let greedy = swarm.world.add(greedy, Access::UNLIMITED);
            let to = swarm.world.address(swarm.seed());
            swarm.world.act(greedy, |c: &mut Character, now| c.call(now, to));
            swarm.world.run_for(s(15));
            let takes = swarm.world.node::<Character>(greedy).seen().got_bytes;
            let honest: Vec<u64> = swarm.leechers.iter().map(|id| swarm.world.peer(*id).downloaded()).collect();
            println!("greedy {} KiB, honest {:?} KiB", takes >> 10, honest.iter().map(|b| b >> 10).collect::<Vec<_>>());
            assert!(honest.iter().all(|b| *b > 15 * 900_000 / 3 / 3), "a third of a fair share at least: {honest:?}");
        }
    });
}

// "Threat CANCEL.1: Peer T sends CANCEL messages for content it never requested to Peer A. Solution: Peer A will detect the
// inconsistency of the messages and ignore them."
#[test]
fn cancel_1_what_was_never_requested() {
    each_seed(|seed| {
        let (mut swarm, puppet, speech) = stage(seed, |b| b);
        let target = swarm.world.address(swarm.seed());
        let line = Line::dial(&mut swarm.world, puppet, target, &speech, 0x4444_4444, &[]);
        let before = swarm.world.peer(swarm.seed()).stats();
        line.say(&mut swarm.world, &[Message::Cancel { range: range(3, 90) }]);
        line.say(&mut swarm.world, &[Message::Cancel { range: range(1 << 30, 1 << 31) }]);
        let after = swarm.world.peer(swarm.seed()).stats();
        assert!(after.ignored_unfounded > before.ignored_unfounded, "{after:?}");
        // It takes nothing from anybody: neither from it…
        line.say(&mut swarm.world, &[Message::Request { range: range(10, 12) }]);
        assert_eq!(sorted(line.chunks(&mut swarm.world, ms(200))), [10, 11, 12]);
        // …nor from others.
        let target = swarm.seed();
        still_serves(&mut swarm, target);
    });
}

/// §3.8: what a CANCEL takes back is not sent; §3.2 of the design: a HAVE does the same.
#[test]
fn cancel_and_have_take_requests_back() {
    each_seed(|seed| {
        for by_have in [false, true] {
            let (mut swarm, puppet, speech) = stage(seed, |b| b.seed_config(|c| c.upload_limit = Some(20_000)));
            let target = swarm.world.address(swarm.seed());
            let line = Line::dial(&mut swarm.world, puppet, target, &speech, 0x4444_4444, &[]);
            line.say(&mut swarm.world, &[Message::Request { range: range(0, 299) }]);
            let gone = range(150, 299);
            let message = if by_have { Message::Have { range: Some(gone) } } else { Message::Cancel { range: gone } };
            line.say(&mut swarm.world, &[message]);
            let mut got = Vec::new();
            for _ in 0..200 {
                let chunks = line.chunks(&mut swarm.world, ms(100));
                for &chunk in &chunks {
                    line.say(&mut swarm.world, &[Message::Ack { range: ChunkRange::single(chunk), delay: 10_000 }]);
                }
                got.extend(chunks);
            }
            got.sort_unstable();
            got.dedup();
            assert!(got.iter().filter(|c| gone.contains(**c)).count() < 40, "hardly any of those taken back: {got:?}");
            assert!((0..150).all(|c| got.contains(&c)), "all the others: {got:?}");
        }
    });
}

fn sorted(mut chunks: Vec<u64>) -> Vec<u64> {
    chunks.sort_unstable();
    chunks.dedup();
    chunks
}

// "Threat CHOKE.1: Peer T sends REQUEST messages after Peer A sent Peer B a CHOKE message. Solution: Peer A will just discard the
// unwanted REQUESTs and resend the CHOKE, assuming it got lost."
#[test]
fn choke_1_requests_after_a_choke() {
    each_seed(|seed| {
        // One slot. Two puppets that want; one of them is choked.
        let (mut swarm, one, speech) = stage(seed, |b| {
            b.content(8 << 20)
                .choker(|| Box::new(Reciprocal::new(1, s(1000))))
                .seed_config(|c| c.upload_limit = Some(50_000))
        });
        let other = swarm.world.add_puppet(node_address(901));
        let target = swarm.world.address(swarm.seed());
        let lines = [
            Line::dial(
                &mut swarm.world,
                one,
                target,
                &speech,
                0x4444_4444,
                &speech.request(swarm.content.everything()),
            ),
            Line::dial(
                &mut swarm.world,
                other,
                target,
                &speech,
                0x5555_5555,
                &speech.request(swarm.content.everything()),
            ),
        ];
        swarm.world.run_for(s(7));
        let choked: Vec<_> = lines
            .iter()
            .filter(|line| line.count(&mut swarm.world, ms(0), |m| *m == Message::Choke) > 0)
            .cloned()
            .collect();
        assert_eq!(choked.len(), 1, "one slot, one choked");
        let line = &choked[0];
        line.hear(&mut swarm.world, s(5), |_| None::<()>);
        for _ in 0..3 {
            line.say(&mut swarm.world, &[Message::Request { range: range(0, 99) }]);
            let mut chokes = 0;
            let mut data = 0;
            line.hear(&mut swarm.world, s(2), |m| {
                chokes += usize::from(*m == Message::Choke);
                data += usize::from(matches!(m, Message::Data { .. }));
                None::<()>
            });
            assert_eq!((chokes, data), (1, 0), "the CHOKE again and nothing else");
        }
    });
}

// §3.9: "When Peer B receives a CHOKE message from Peer A, it MUST NOT send new REQUEST messages and it cannot expect answers to any
// outstanding ones". "When Peer B is choked but receives a HAVE message from Peer A, it is not automatically unchoked and MUST NOT send any
// new REQUEST messages."
#[test]
fn choked_means_no_requests() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).content(1 << 20).acquaintance(Acquaintance::Nobody).build();
        let puppet = swarm.world.add_puppet(node_address(901));
        let speech = Speech::new(&swarm.content);
        swarm.world.connect(swarm.leechers[0], puppet);
        let line = Line::pick_up(&mut swarm.world, puppet, &speech, 0x4444_4444, &speech.have(range(0, 511)));
        assert!(!line.asked(&mut swarm.world, ms(200)).is_empty());
        line.say(&mut swarm.world, &[Message::Choke]);
        line.asked(&mut swarm.world, ms(30));
        line.say(&mut swarm.world, &speech.have(range(512, 1023)));
        assert_eq!(line.asked(&mut swarm.world, s(30)), []);
        // What was asked of it is asked of others at once.
        swarm.world.connect(swarm.leechers[0], swarm.seeds[0]);
        let since = swarm.world.now();
        let at = swarm.run(s(20));
        assert!(at.saturating_since(since) < s(4), "{:?}", at.saturating_since(since));
    });
}

#[test]
fn unchoked_means_requests_again() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).content(1 << 20).acquaintance(Acquaintance::Nobody).build();
        let puppet = swarm.world.add_puppet(node_address(901));
        let speech = Speech::new(&swarm.content);
        swarm.world.connect(swarm.leechers[0], puppet);
        let line =
            Line::pick_up(&mut swarm.world, puppet, &speech, 0x4444_4444, &speech.have(swarm.content.everything()));
        line.say(&mut swarm.world, &[Message::Choke]);
        line.asked(&mut swarm.world, s(1));
        line.say(&mut swarm.world, &[Message::Unchoke]);
        assert!(!line.asked(&mut swarm.world, s(1)).is_empty());
    });
}

// "Threat UNCHOKE.1: Peer T sends an UNCHOKE message to Peer A without having sent a CHOKE message before. Solution: Peer A can easily
// detect this violation of protocol state, and ignore it. Note this can also happen due to loss of a CHOKE message sent by a benign peer."
#[test]
fn unchoke_1_without_a_choke() {
    each_seed(|seed| {
        let (mut swarm, puppet, speech) = stage(seed, |b| b);
        let target = swarm.world.address(swarm.seed());
        let line = Line::dial(&mut swarm.world, puppet, target, &speech, 0x4444_4444, &[]);
        for _ in 0..10 {
            line.say(&mut swarm.world, &[Message::Unchoke]);
        }
        assert!(!line.is_closed(&mut swarm.world, ms(100)), "it may be benign");
        line.say(&mut swarm.world, &[Message::Request { range: range(10, 12) }]);
        assert_eq!(sorted(line.chunks(&mut swarm.world, ms(200))), [10, 11, 12]);
    });
}

// "Threat UNCHOKE.2: Peer T sends an UNCHOKE message to Peer A, but subsequently does not respond to its REQUESTs. Solution: Peer A will
// consider Peer T to be a slow peer and not ask it again."
#[test]
fn unchoke_2_and_then_silence() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed)
            .content(4 << 20)
            .acquaintance(Acquaintance::Nobody)
            .seed_access(Access::both(500_000))
            .build();
        let puppet = swarm.world.add_puppet(node_address(901));
        let speech = Speech::new(&swarm.content);
        swarm.world.connect(swarm.leechers[0], puppet);
        let line =
            Line::pick_up(&mut swarm.world, puppet, &speech, 0x4444_4444, &speech.have(swarm.content.everything()));
        swarm.world.connect(swarm.leechers[0], swarm.seeds[0]);
        let mut asked = 0;
        let since = swarm.world.now();
        while !swarm.is_complete() {
            line.say(&mut swarm.world, &[Message::Choke]);
            line.say(&mut swarm.world, &[Message::Unchoke]);
            asked += line.asked(&mut swarm.world, ms(300)).iter().map(|r| r.len()).sum::<u64>();
            assert!(swarm.world.now().saturating_since(since) < s(60), "{}", swarm.report());
        }
        let took = swarm.world.now().saturating_since(since);
        println!("complete after {took:.1?}; asked for {asked} of 4096 chunks");
        assert!(took < s(16), "9 s at best: {took:?}");
    });
}

// §12.6.10: "Secured against amplification and Eclipse attacks as described in Section 12.2." §8.13: addresses of private networks only,
// and only in a benign environment.
#[test]
fn pex_res_unsolicited_or_public() {
    each_seed(|seed| {
        let mut swarm =
            Swarm::builder(seed).acquaintance(Acquaintance::Nobody).leecher_config(|c| c.pex = true).build();
        let puppet = swarm.world.add_puppet(node_address(901));
        let speech = Speech::new(&swarm.content);
        let a = swarm.leecher();
        swarm.world.act(a, |peer: &mut Peer, _| peer.follow_pex(false));
        swarm.world.connect(a, puppet);
        let line = Line::pick_up(&mut swarm.world, puppet, &speech, 0x4444_4444, &[]);
        let asked = line.count(&mut swarm.world, s(1), |m| *m == Message::PexReq);
        assert_eq!(asked, 1, "it asks once");
        let v4 = |text: &str| Message::PexResV4(text.parse().unwrap());
        line.say(&mut swarm.world, &[v4("8.8.8.8:53"), v4("224.0.0.1:5"), v4("10.0.0.0:0"), v4("10.1.1.1:1111")]);
        let v6 = |text: &str| Message::PexResV6(text.parse().unwrap());
        line.say(&mut swarm.world, &[v6("[2001:db8::1]:5"), v6("[fd00::1]:2222"), v6("[ff02::1]:5")]);
        // Far more than an answer has.
        for n in 0..200_u8 {
            let address = std::net::SocketAddrV4::new([10, 2, 0, n].into(), 1000);
            line.say(&mut swarm.world, &[Message::PexResV4(address)]);
        }
        let mut learned = vec![addr("0.0.0.0:0"); 300];
        let taken = swarm.world.act(a, |peer: &mut Peer, _| {
            let key = peer.swarm();
            peer.endpoint().swarm_mut(key).unwrap().take_learned(&mut learned)
        });
        learned.truncate(taken);
        assert!(learned.contains(&addr("10.1.1.1:1111")), "{learned:?}");
        assert!(
            !learned
                .iter()
                .any(|a| a.to_string().starts_with("8.8") || a.to_string().starts_with("[2001") || a.port() == 0)
        );
        assert!(learned.len() < 40, "one question, one answer's worth: {}", learned.len());
        assert_eq!(swarm.world.net().unroutable(), 0, "nobody was called unasked");
    });
}

// §3.10.1: "They MUST only be used in a benign environment": off means off.
#[test]
fn pex_res_when_switched_off() {
    each_seed(|seed| {
        let (mut swarm, puppet, speech) = stage(seed, |b| {
            b.leechers(2).acquaintance(Acquaintance::Seeds).content(4 << 20).access(Access::both(200_000))
        });
        let target = swarm.world.address(swarm.seed());
        let line = Line::dial(&mut swarm.world, puppet, target, &speech, 0x4444_4444, &[Message::PexReq]);
        let mut kinds = Vec::new();
        line.hear(&mut swarm.world, s(2), |m| {
            kinds.push(m.message_type());
            None::<()>
        });
        assert!(!kinds.contains(&MessageType::PexResV4) && !kinds.contains(&MessageType::PexReq), "{kinds:?}");
        let v4 = Message::PexResV4("10.1.1.1:1111".parse().unwrap());
        line.say(&mut swarm.world, &[v4]);
        let learned = |e: &Event| matches!(e, Event::PeersLearned { .. });
        assert!(!swarm.world.peer(swarm.seed()).events().iter().any(|(_, e)| learned(e)));
    });
}

// §8.13: no private address to a public one. A puppet at a public address asks.
#[test]
fn pex_req_from_a_public_address() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed)
            .content(4 << 20)
            .leechers(2)
            .acquaintance(Acquaintance::Seeds)
            .access(Access::both(200_000))
            .config(|c| c.pex = true)
            .build();
        let speech = Speech::new(&swarm.content);
        let target = swarm.world.address(swarm.seed());
        for (at, private) in [("203.0.113.5:7000", false), ("192.168.3.3:7000", true)] {
            let puppet = swarm.world.add_puppet(addr(at));
            let line = Line::dial(&mut swarm.world, puppet, target, &speech, 0x4444_4444, &[Message::PexReq]);
            let told = line.count(&mut swarm.world, s(2), |m| matches!(m, Message::PexResV4(_)));
            assert_eq!(told > 0, private, "{at} was told {told} addresses");
        }
    });
}

// "Threat: Peer T could send a spoofed PEX_REQ or REQUEST from Peer B to Peer A, causing Peer A to send a PEX_RES/DATA to Peer B.
// Solution: the message from Peer T won't be accepted unless Peer T does a handshake first, in which case the reply goes to Peer T, not
// victim Peer B."
#[test]
fn unsolicited_messages_in_anothers_name() {
    each_seed(|seed| {
        let (mut swarm, puppet, speech) = stage(seed, |b| b.config(|c| c.pex = true));
        let victim = swarm.world.add_puppet(node_address(950));
        let (target, victim_at) = (swarm.world.address(swarm.seed()), swarm.world.address(victim));
        // Without any channel, with an invented one…
        for channel in [ChannelId::NONE, ChannelId(0x8765_4321)] {
            let datagram = speech.datagram(channel, &[Message::Request { range: range(0, 99) }, Message::PexReq]);
            swarm.world.puppet_spoof(puppet, victim_at, target, datagram);
        }
        // …and with one of the attacker's own, good but for the address.
        let line = Line::dial(&mut swarm.world, puppet, target, &speech, 0x4444_4444, &[]);
        let datagram = speech.datagram(line.theirs, &[Message::Request { range: range(0, 99) }, Message::PexReq]);
        swarm.world.puppet_spoof(puppet, victim_at, target, datagram);
        swarm.world.run_for(s(5));
        assert_eq!(swarm.world.puppet_take(victim), []);
        let to_puppet = swarm.world.puppet_take(puppet);
        assert!(
            to_puppet.iter().all(|r| !has_message(&speech.parse(&r.bytes).1, MessageType::Data)),
            "nor to the attacker"
        );
        assert!(swarm.world.peer(swarm.seed()).stats().dropped_unknown_channel >= 2);
        let target = swarm.seed();
        still_serves(&mut swarm, target);
    });
}

// §3: "Messages in a single datagram MUST be processed in the strict order in which they appear in the datagram. If an invalid message is
// found in a datagram, the remaining messages MUST be discarded."
#[test]
fn an_invalid_message_ends_its_datagram() {
    each_seed(|seed| {
        let (mut swarm, puppet, speech) = stage(seed, |b| b);
        let target = swarm.world.address(swarm.seed());
        let line = Line::dial(&mut swarm.world, puppet, target, &speech, 0x4444_4444, &[]);
        let request = |first, last| {
            let mut buffer = [0; 64];
            let mut writer = Writer::new(&mut buffer, ChannelId::NONE);
            writer.put(&Message::Request { range: range(first, last) }, speech.format()).unwrap();
            let len = writer.finish();
            buffer[4..len].to_vec()
        };
        for bad in [&[200][..], &[14], &[8, 0, 0, 0, 9, 0, 0, 0, 2]] {
            let mut bytes = request(1, 2);
            bytes.extend_from_slice(bad);
            bytes.extend(request(5, 6));
            line.say_bytes(&mut swarm.world, &bytes);
            let got = sorted(line.chunks(&mut swarm.world, ms(100)));
            assert_eq!(got, [1, 2], "before {bad:?} and not after");
            line.say(&mut swarm.world, &[Message::Ack { range: range(1, 2), delay: 10_000 }]);
        }
        let stats = swarm.world.peer(swarm.seed()).stats();
        assert_eq!((stats.dropped_unknown_message, stats.dropped_malformed), (2, 1), "{stats:?}");
    });
}

/// A HANDSHAKE in an open channel that is neither an answer nor a goodbye changes nothing.
#[test]
fn a_second_handshake_in_a_channel() {
    each_seed(|seed| {
        let (mut swarm, puppet, speech) = stage(seed, |b| b);
        let target = swarm.world.address(swarm.seed());
        let line = Line::dial(&mut swarm.world, puppet, target, &speech, 0x4444_4444, &[]);
        line.say(&mut swarm.world, &[speech.hello(ChannelId(0x6666_6666))]);
        line.say(&mut swarm.world, &[Message::Request { range: range(10, 12) }]);
        // What comes still comes on the first one.
        assert_eq!(sorted(line.chunks(&mut swarm.world, ms(300))), [10, 11, 12]);
        // A goodbye is heard, with and without options (RFC 7574 §3.1.1 step 4).
        line.say(&mut swarm.world, &[speech.goodbye()]);
        let at = swarm.world.address(puppet);
        assert_eq!(swarm.world.peer(swarm.seed()).down_reason(at), Some(Reason::Closed));
    });
}
