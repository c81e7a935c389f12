//! What peers put on the wire, read by an auditor that knows the RFC; and peers of other houses.

mod common;

use std::{cell::RefCell, rc::Rc};

use common::*;
use ppsp_core::{Bin, ChunkAddressing, ChunkRange, Hash, HashAlg, MemoryStore, hash_chunks, hash_pairs};
use ppsp_peer_proto::{
    Congestion, EndpointConfig, Reason, SwarmConfig,
    sim::{
        Access, Acquaintance, Chance, Content, LinkConfig, NodeId, Peer, Speech, StoreFaults, Swarm, Verdict, auditor,
        node_address, secs,
    },
    wire::{ChannelId, Handshake, Message, Options, split_channel},
};

/// RFC 7574 §5.3, §5.4, §5.6.2, §3.2, §3.7: every datagram of many swarms is read.
#[test]
fn what_peers_say_is_what_the_rfc_allows() {
    each_seed(|seed| {
        for addressing in ChunkAddressing::ALL {
            for (length, leechers) in [(0, 1), (700, 2), (150_000, 1), (131_072, 3), (99_999, 5), (600_000, 1)] {
                let mut swarm = Swarm::builder(seed)
                    .content(length)
                    .addressing(addressing)
                    .leechers(leechers)
                    .link(LinkConfig::default().jitter(ms(5)))
                    .build();
                let seeds: Vec<_> = swarm.seeds.iter().map(|id| swarm.world.address(*id)).collect();
                let (tap, counts) = auditor(&swarm.content, &seeds, true);
                swarm.world.tap(tap);
                swarm.run(s(20));
                swarm.world.run_for(s(60));
                let counts = *counts.borrow();
                assert!(counts.data >= swarm.content.chunks() * leechers as u64);
                if leechers == 1 {
                    println!("{addressing:?}, {length} bytes: {counts:?}");
                    // Table 1: a hash for each chunk but one, and the peaks. Before the first acknowledgement a hash may go twice.
                    let least = swarm.content.chunks() - 1;
                    assert!(counts.hashes <= least + 50, "{counts:?}");
                }
            }
        }
    });
}

/// The same with losses, where more is said than would be needed.
#[test]
fn what_peers_say_when_much_is_lost() {
    each_seed(|seed| {
        let link = LinkConfig::default().jitter(ms(5)).loss(30_000).duplicate(10_000).reorder(10_000, ms(20));
        let mut swarm = Swarm::builder(seed).content(200_000).leechers(5).link(link).build();
        let seeds: Vec<_> = swarm.seeds.iter().map(|id| swarm.world.address(*id)).collect();
        let (tap, counts) = auditor(&swarm.content, &seeds, false);
        swarm.world.tap(tap);
        let at = swarm.run(s(60));
        println!("complete at {:.2} s: {:?}", secs(at), counts.borrow());
    });
}

/// RFC 7574 §5.5, Table 1: what a simple progressive download is sent, hash by hash.
#[test]
fn table_1_of_the_rfc() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).chunks(8).leechers(0).build();
        let speech = Speech::new(&swarm.content);
        let puppet = swarm.world.add_puppet(node_address(70));
        let to = swarm.world.address(swarm.seed());
        let line = Line::dial(&mut swarm.world, puppet, to, &speech, 0x4444_4444, &[]);
        let mut sent = Vec::new();
        for chunk in 0..8 {
            line.say(&mut swarm.world, &[Message::Request { range: ChunkRange::single(chunk) }]);
            let nodes = line.hear(&mut swarm.world, ms(50), |m| match m {
                Message::Integrity { range, .. } => Bin::exactly(*range).map(Bin::number),
                _ => None,
            });
            line.say(&mut swarm.world, &[Message::Ack { range: range(0, chunk), delay: 10_000 }]);
            sent.push(nodes);
        }
        // The table leaves out the peak, here the root: its chunks are told from another source.
        let expected: [&[u64]; 8] = [&[7, 11, 5, 2], &[], &[6], &[], &[13, 10], &[], &[14], &[]];
        assert_eq!(sent, expected);
    });
}

/// RFC 7574 §5.6.2: the 7162-byte file of Figure 4. Peaks 3, 9 and 12 first, then the uncles of chunk 0.
#[test]
fn peaks_of_the_rfc() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).content(7162).leechers(0).build();
        let speech = Speech::new(&swarm.content);
        let puppet = swarm.world.add_puppet(node_address(70));
        let to = swarm.world.address(swarm.seed());
        let line =
            Line::dial(&mut swarm.world, puppet, to, &speech, 0x4444_4444, &[Message::Request { range: range(0, 0) }]);
        let nodes = line.hear(&mut swarm.world, ms(50), |m| match m {
            Message::Integrity { range, .. } => Bin::exactly(*range).map(Bin::number),
            Message::Data { range, .. } => Some(1000 + range.first()),
            _ => None,
        });
        assert_eq!(nodes, [3, 9, 12, 5, 2, 1000]);
    });
}

/// A store that is not the simulator's own.
#[test]
fn content_in_memory() {
    each_seed(|seed| {
        let content = Content::new(seed, 300_077, 1024, HashAlg::Sha256, ChunkAddressing::Range32);
        let (full, tree) = MemoryStore::from_content(HashAlg::Sha256, 1024, content.bytes().to_vec());
        assert_eq!(tree.root.as_bytes(), content.metadata().id.as_bytes());
        let mut swarm = Swarm::builder(seed).seeds(0).leechers(0).link(LinkConfig::default().loss(10_000)).build();
        swarm.content = content.clone();
        for n in 0..4 {
            let store = if n == 0 { full.clone() } else { MemoryStore::new(HashAlg::Sha256, 1024) };
            let mut peer = Peer::new(node_address(n), EndpointConfig::default(), Chance::bytes(seed, "memory", n));
            peer.join_with(swarm.world.now(), &content, SwarmConfig::new(content.metadata()), Box::new(store));
            let id = swarm.world.add(peer, Access::UNLIMITED);
            if n == 0 { swarm.seeds.push(id) } else { swarm.leechers.push(id) }
        }
        for leecher in swarm.leechers.clone() {
            swarm.world.connect(leecher, swarm.seeds[0]);
        }
        swarm.run(s(30));
    });
}

/// A swarm such as libswift's: SHA-1 and 32-bit ranges or bins.
fn draft_swarm(seed: u64, addressing: ChunkAddressing, length: usize) -> (Swarm, Speech) {
    let swarm = Swarm::builder(seed)
        .content(length)
        .hash(HashAlg::Sha1)
        .addressing(addressing)
        .acquaintance(Acquaintance::Nobody)
        .build();
    let speech = Speech::new(&swarm.content);
    (swarm, speech)
}

/// What libswift names in a handshake: neither supported messages (8) nor chunk size (9).
fn draft_options(speech: &Speech) -> Options<'_> {
    Options { supported: None, chunk_size: None, ..speech.options() }
}

/// A receiver as naive as can be: keeps every hash it is sent, and proves chunks against the root alone.
struct Naive {
    content: std::sync::Arc<Content>,
    hashes: std::collections::BTreeMap<u64, Hash>,
    peaks: Vec<Bin>,
    got: Vec<u64>,
}

impl Naive {
    fn take(&mut self, messages: &[Message<'_>]) {
        for message in messages {
            match *message {
                Message::Integrity { range, hash } => {
                    let node = Bin::exactly(range).expect("libswift closes the channel on any other range");
                    self.hashes.entry(node.number()).or_insert(Hash::from_bytes(hash).unwrap());
                }
                Message::Data { range, data, .. } => {
                    let chunk = range.first();
                    let alg = self.content.metadata().hash;
                    let mut hash = [Hash::empty(alg)];
                    hash_chunks(alg, &[data], &mut hash);
                    let mut node = Bin::leaf(chunk).unwrap();
                    while !self.peaks.contains(&node) {
                        let sibling = node.sibling().unwrap();
                        let other = *self
                            .hashes
                            .get(&sibling.number())
                            .unwrap_or_else(|| panic!("{sibling:?} was not sent before chunk {chunk}"));
                        self.hashes.insert(node.number(), hash[0]);
                        let pair = if node.is_left() { [hash[0], other] } else { [other, hash[0]] };
                        hash_pairs(alg, &[pair], &mut hash);
                        node = node.parent().unwrap();
                    }
                    let peak = self.hashes.get(&node.number()).expect("the peaks come before the first chunk");
                    assert_eq!(*peak, hash[0], "chunk {chunk} does not verify");
                    self.got.push(chunk);
                }
                _ => {}
            }
        }
    }
}

/// libswift as leecher of ours (facts: needs peaks before the first DATA also for one chunk; one DATA per datagram; ranges that are
/// aligned; asks for chunk 0 first; never sends CANCEL, CHOKE, UNCHOKE).
#[test]
fn libswift_fetches_from_us() {
    each_seed(|seed| {
        for addressing in [ChunkAddressing::Range32, ChunkAddressing::Bin32] {
            for length in [1, 1024, 7162, 100_000] {
                let (mut swarm, speech) = draft_swarm(seed, addressing, length);
                let to = swarm.world.address(swarm.seed());
                let puppet = swarm.world.add_puppet(node_address(70));
                let me = ChannelId(0x1234_5678);
                let hello = Message::Handshake(Handshake { source: me, options: draft_options(&speech) });
                let opening = speech.datagram(ChannelId::NONE, &[hello]);
                swarm.world.puppet_send(puppet, to, opening);
                swarm.world.run_for(ms(50));
                let answers = swarm.world.puppet_take(puppet);
                let (channel, messages) = speech.parse(&answers[0].bytes);
                assert_eq!(channel, me);
                let Some(Message::Handshake(hello)) = messages.first() else { panic!("{messages:?}") };
                assert_eq!((hello.options.supported, hello.options.chunk_size), (None, None), "it would drop 8 and 9");
                assert_eq!((hello.options.version, hello.options.integrity), (Some(1), Some(1)));
                let line = Line { puppet, remote: to, speech: speech.clone(), ours: me, theirs: hello.source };
                let chunks = swarm.content.chunks();
                let mut naive = Naive {
                    content: swarm.content.clone(),
                    hashes: Default::default(),
                    peaks: swarm.content.peaks(),
                    got: Vec::new(),
                };
                let pieces: Vec<_> = addressing.pieces(range(0, chunks - 1)).collect();
                line.say(&mut swarm.world, &[Message::Request { range: range(0, 0) }]);
                for range in pieces {
                    line.say(&mut swarm.world, &[Message::Request { range }]);
                }
                for _ in 0..1000 {
                    swarm.world.run_for(ms(10));
                    for received in swarm.world.puppet_take(puppet) {
                        let (_, messages) = speech.parse(&received.bytes);
                        let data = messages.iter().filter(|m| matches!(m, Message::Data { .. })).count();
                        assert!(data <= 1, "one DATA in a datagram: only the last of several would be acknowledged");
                        let aligned = |m: &Message<'_>| match m {
                            Message::Have { range: Some(r) } | Message::Ack { range: r, .. } => {
                                Bin::exactly(*r).is_some()
                            }
                            _ => true,
                        };
                        assert!(messages.iter().all(aligned), "{messages:?}");
                        naive.take(&messages);
                        for chunk in data_of(&speech, &received.bytes) {
                            let ack = Message::Ack { range: ChunkRange::single(chunk), delay: 10_000 };
                            let datagram = speech.datagram(line.theirs, &[ack]);
                            swarm.world.puppet_send(puppet, to, datagram);
                        }
                    }
                    if (0..chunks).all(|chunk| naive.got.contains(&chunk)) {
                        break;
                    }
                }
                naive.got.sort_unstable();
                naive.got.dedup();
                assert!(naive.got.iter().copied().eq(0..chunks), "{:?} of {chunks}", naive.got);
            }
        }
    });
}

/// libswift as seed of ours: it drops a handshake with option 9 without a word; we try without after about a second.
#[test]
fn libswift_serves_us() {
    each_seed(|seed| {
        for addressing in [ChunkAddressing::Range32, ChunkAddressing::Bin32] {
            let (mut swarm, speech) = draft_swarm(seed, addressing, 50_000);
            let puppet = swarm.world.add_puppet(node_address(70));
            let a = swarm.leechers[0];
            swarm.world.connect(a, puppet);
            let chunks = swarm.content.chunks();
            let mut line: Option<Line> = None;
            let mut asked = Vec::new();
            for _ in 0..600 {
                swarm.world.run_for(ms(10));
                for received in swarm.world.puppet_take(puppet) {
                    let (channel, messages) = speech.parse(&received.bytes);
                    if channel == ChannelId::NONE {
                        let Some(Message::Handshake(hello)) = messages.first() else { panic!("{messages:?}") };
                        if hello.options.chunk_size.is_some() {
                            continue; // dropped silently
                        }
                        assert!(hello.options.supported.is_none());
                        assert!(
                            secs(received.at) > 0.5 && secs(received.at) < 2.0,
                            "after about a second: {}",
                            secs(received.at)
                        );
                        if line.is_none() {
                            let me = ChannelId(0x1234_5678);
                            line = Some(Line {
                                puppet,
                                remote: received.from,
                                speech: speech.clone(),
                                ours: me,
                                theirs: hello.source,
                            });
                            let options = Options { swarm_id: None, ..draft_options(&speech) };
                            let mut answer = vec![Message::Handshake(Handshake { source: me, options })];
                            answer.extend(speech.have(range(0, chunks - 1)));
                            line.as_ref().unwrap().say(&mut swarm.world, &answer);
                        }
                        continue;
                    }
                    let line = line.as_ref().expect("a channel");
                    assert_eq!(channel, line.ours);
                    for message in &messages {
                        match message {
                            Message::Request { range } => asked.push(*range),
                            Message::Integrity { .. } | Message::Data { .. } => panic!("{message:?}"),
                            _ => {}
                        }
                    }
                }
                if let Some(line) = &line {
                    for asked in asked.drain(..) {
                        for chunk in asked.chunks() {
                            let datagram = speech.proven_chunk(line.theirs, chunk, 0);
                            swarm.world.puppet_send(puppet, line.remote, datagram);
                        }
                    }
                }
                if swarm.world.peer(a).completed().is_some() {
                    break;
                }
            }
            assert!(swarm.world.peer(a).completed().is_some(), "{}", swarm.report());
        }
    });
}

/// Where no draft can be meant, the full handshake is repeated as it is.
#[test]
fn other_swarms_stay_with_the_full_handshake() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).acquaintance(Acquaintance::Nobody).build();
        let speech = Speech::new(&swarm.content);
        let puppet = swarm.world.add_puppet(node_address(70));
        let a = swarm.leechers[0];
        swarm.world.connect(a, puppet);
        swarm.world.run_for(s(10));
        let openings = swarm.world.puppet_take(puppet);
        assert!(openings.len() >= 3);
        for opening in &openings {
            let (_, messages) = speech.parse(&opening.bytes);
            let Some(Message::Handshake(hello)) = messages.first() else { panic!("{messages:?}") };
            assert_eq!(hello.options.chunk_size, Some(1024));
            assert_eq!(hello.options.version, Some(1));
            // RFC 7574 §3.1.1: the initiating peer MUST include the swarm ID.
            assert_eq!(hello.options.swarm_id, speech.options().swarm_id);
        }
        let channels: std::collections::BTreeSet<_> = openings
            .iter()
            .filter_map(|o| match speech.parse(&o.bytes).1.first() {
                Some(Message::Handshake(hello)) => Some(hello.source),
                _ => None,
            })
            .collect();
        assert_eq!(channels.len(), 1, "the same datagram again: one channel");
    });
}

/// PyPPSPP as initiator (facts): options in order 0, 1, 2, 3, 6, 7 even on demand, 8 = `ff00` (a wrong bitmap: it claims to know no REQUEST), 9,
/// then 10 with 16 bytes and no length, which nobody registered, then 255. Its swarm has no integrity; the handshake's shape is what counts here.
#[test]
fn options_nobody_knows_do_no_harm() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).hash(HashAlg::Sha1).content(50_000).leechers(0).build();
        let speech = Speech::new(&swarm.content);
        let to = swarm.world.address(swarm.seed());
        let puppet = swarm.world.add_puppet(node_address(70));
        let id = swarm.content.metadata().id;
        let mut bytes = vec![0, 0, 0, 0, 0, 0x12, 0x34, 0x56, 0x78, 0, 1, 1, 1, 2, 0, 20];
        bytes.extend_from_slice(id.as_bytes());
        bytes.extend([3, 1, 4, 0, 6, 2, 7, 0xff, 0xff, 0xff, 0xff, 8, 2, 0xff, 0, 9, 0, 0, 4, 0, 10]);
        bytes.extend([0xAB; 16]);
        bytes.push(255);
        swarm.world.puppet_send(puppet, to, bytes);
        swarm.world.run_for(ms(50));
        let answers = swarm.world.puppet_take(puppet);
        assert_eq!(answers.len(), 1, "what came before the unknown option is good");
        let (channel, messages) = speech.parse(&answers[0].bytes);
        assert_eq!(channel, ChannelId(0x1234_5678));
        let Some(Message::Handshake(hello)) = messages.first() else { panic!("{messages:?}") };
        let line = Line { puppet, remote: to, speech: speech.clone(), ours: channel, theirs: hello.source };
        line.say(&mut swarm.world, &[Message::Request { range: range(1, 3) }]);
        let mut got = Vec::new();
        // An ACK must be the last message of a datagram; a HAVE of all is the final word.
        line.hear(&mut swarm.world, ms(200), |m| {
            if let Message::Data { range, .. } = m {
                got.push(range.first());
            }
            None::<()>
        });
        assert_eq!(got, [1, 2, 3]);
        line.say(&mut swarm.world, &speech.have(swarm.content.everything()));
        swarm.world.run_for(s(30));
        let address = swarm.world.address(puppet);
        assert_eq!(swarm.world.peer(swarm.seed()).down_reason(address), Some(Reason::NotNeeded), "both have all");
    });
}

/// RFC 7574 §7.10: what a peer does not understand is not sent to it.
#[test]
fn unsupported_messages_are_not_sent() {
    each_seed(|seed| {
        use ppsp_peer_proto::wire::{MessageType, SupportedMessages};
        let mut swarm =
            Swarm::builder(seed).content(50_000).config(|c| c.pex = true).acquaintance(Acquaintance::Nobody).build();
        let speech = Speech::new(&swarm.content);
        for target in [swarm.seeds[0], swarm.leechers[0]] {
            let to = swarm.world.address(target);
            let puppet = swarm.world.add_puppet(node_address(700 + swarm.world.nodes() as u64));
            let few = [MessageType::Handshake, MessageType::Data, MessageType::Integrity, MessageType::Request]
                .into_iter()
                .fold(SupportedMessages::EMPTY, SupportedMessages::with);
            let me = ChannelId(0x4242_4242);
            let options = Options { supported: Some(few), ..speech.options() };
            let opening = speech.datagram(ChannelId::NONE, &[Message::Handshake(Handshake { source: me, options })]);
            swarm.world.puppet_send(puppet, to, opening);
            swarm.world.run_for(ms(50));
            let answer = swarm.world.puppet_take(puppet).remove(0);
            let (_, messages) = speech.parse(&answer.bytes);
            let Some(Message::Handshake(hello)) = messages.first() else { panic!("{messages:?}") };
            let line = Line { puppet, remote: to, speech: speech.clone(), ours: me, theirs: hello.source };
            line.say(&mut swarm.world, &[Message::Request { range: range(0, 5) }]);
            line.say(&mut swarm.world, &speech.have(range(0, 48)));
            let mut kinds = std::collections::BTreeSet::new();
            line.hear(&mut swarm.world, s(40), |m| {
                kinds.insert(m.message_type());
                None::<()>
            });
            assert!(kinds.iter().all(|kind| few.contains(*kind)), "{kinds:?}");
        }
    });
}

/// The channel ID of a peer is nobody else's, and they do not repeat.
#[test]
fn channel_ids_are_random_and_fit_beside_dtls_and_stun() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).leechers(0).build();
        let speech = Speech::new(&swarm.content);
        let to = swarm.world.address(swarm.seed());
        let mut seen = std::collections::BTreeSet::new();
        let mut bits = (0_u32, u32::MAX);
        for n in 0..60 {
            let puppet: NodeId = swarm.world.add_puppet(node_address(100 + n));
            let line =
                Line::open(&mut swarm.world, puppet, to, &speech, 0x4000_0000 + n as u32, &[]).expect("an answer");
            assert!(line.theirs.0 >> 24 >= 64, "design §4: RFC 7983");
            assert!(seen.insert(line.theirs));
            bits = (bits.0 | line.theirs.0, bits.1 & line.theirs.0);
        }
        assert_eq!(bits, (u32::MAX, 0), "every bit is used both ways: {:08x} {:08x}", bits.0, bits.1);
    });
}

/// Whatever a peer sends starts with a channel that is the receiver's, or none.
#[test]
fn no_datagram_goes_to_a_channel_that_was_closed() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed).content(2 << 20).access(Access::both(300_000)).build();
        let (a, b) = (swarm.world.address(swarm.seed()), swarm.world.address(swarm.leecher()));
        let after = Rc::new(RefCell::new(None));
        let shared = Rc::clone(&after);
        swarm.world.tap(move |sight| {
            if let Some(at) = *shared.borrow() {
                // What the closed one still sends is nothing; the other stops once it knows.
                let late = sight.now > at;
                assert!(!late || sight.source != a, "{:?} to {}", split_channel(sight.bytes), sight.destination);
                let known = sight.now > at + ms(500);
                assert!(!known || sight.source != b, "{:?}", split_channel(sight.bytes));
            }
            Verdict::Pass
        });
        swarm.world.run_for(s(2));
        swarm.world.act(swarm.seeds[0], |peer: &mut Peer, now| peer.close(now).is_some());
        *after.borrow_mut() = Some(swarm.world.now());
        swarm.world.run_for(s(60));
    });
}

/// RFC 7574 §5.4: hashes that do not fit beside their chunk go ahead of it, here the peaks alone in several datagrams.
#[test]
fn peaks_that_need_several_datagrams() {
    each_seed(|seed| {
        let mut swarm = Swarm::builder(seed)
            .chunk_size(512)
            .chunks(2_047)
            .hash(HashAlg::Sha512)
            .config(|config| config.max_datagram = 540)
            .build();
        swarm.world.tap(|sight| {
            assert!(sight.bytes.len() <= 550, "{} bytes", sight.bytes.len());
            Verdict::Pass
        });
        swarm.run(s(20));
        let vain = swarm.world.node::<Peer>(swarm.leecher()).stats().dropped_unproven;
        assert!(vain < 20, "seed {seed}: {vain} chunks in vain");
    });
}

/// RFC 7574 §8.1: probes of the path are real messages, several DATA messages in one datagram; nothing else is longer than
/// what was acknowledged. A path that takes less from one moment to the next only slows the transfer down.
#[test]
fn datagrams_grow_as_far_as_the_path_allows() {
    each_seed(|seed| {
        for (mtu, expected, shrink) in [
            (1_060, 1, 0),
            (1_172, 1, 0),
            (1_300, 1, 0),
            (1_400, 1, 0),
            (1_472, 1, 0),
            (8_972, 8, 0),
            (65_507, 63, 0),
            (65_507, 63, 2_000),
        ] {
            let link = LinkConfig::perfect(ms(5)).mtu(mtu);
            let mut swarm = Swarm::builder(seed)
                .content(24 << 20)
                .link(link)
                .seed_config(|config| config.max_probed_datagram = 65_487)
                .build();
            let (a, b) = (swarm.seed(), swarm.leecher());
            let source = swarm.world.address(a);
            let longest = Rc::new(RefCell::new([0; 2]));
            let shared = Rc::clone(&longest);
            swarm.world.tap(move |sight| {
                let [arrived, tried] = &mut *shared.borrow_mut();
                if sight.source == source {
                    let len = sight.bytes.len();
                    *tried = len.max(*tried);
                    if len <= mtu {
                        *arrived = len.max(*arrived);
                    }
                }
                Verdict::Pass
            });
            if shrink > 0 {
                swarm.world.run_for(ms(200));
                swarm.world.set_path(a, b, link.mtu(shrink));
            }
            let at = swarm.run(s(30));
            let [arrived, tried] = *longest.borrow();
            println!("MTU {mtu}, later {shrink}: {arrived} of {tried} bytes, complete at {:.2} s", secs(at));
            assert_eq!(arrived / 1024, expected);
            // The next size after the longest that arrives is tried, and given up after two losses. What is too big for a
            // tunnel of unusual size is noticed when it is lost, and a window of it may be under way then.
            let most = if mtu < 1_452 { 200 } else { 2 };
            let oversized = swarm.world.net().link_stats(swarm.world.port(a), swarm.world.port(b)).oversized;
            assert!(tried <= 65_487 && (shrink > 0 || oversized <= most), "{oversized} too big for the path");
        }
    });
}

/// RFC 7574 §8.6: a DATA message that carries a last chunk shorter than the others stands alone in its datagram.
#[test]
fn a_short_last_chunk_stands_alone() {
    each_seed(|seed| {
        for (chunk_size, chunks) in [(512, 100), (512, 101), (512, 131), (1024, 200)] {
            let mut swarm = Swarm::builder(seed)
                .chunk_size(chunk_size)
                .content(chunk_size as usize * chunks as usize + 100)
                .length_known()
                .seed_config(|config| config.max_probed_datagram = 65_487)
                .build();
            let count = Rc::new(RefCell::new(0));
            let shared = Rc::clone(&count);
            swarm.world.tap(move |sight| {
                // DATA, and the last chunk as a 32-bit chunk range.
                let last = u32::to_be_bytes(chunks);
                let header = [&[1][..], &last, &last].concat();
                if let Some(at) = sight.bytes.windows(header.len()).position(|bytes| bytes == header) {
                    *shared.borrow_mut() += 1;
                    assert_eq!(sight.bytes.len() - at, 17 + 100, "nothing behind it");
                    assert!(at < chunk_size as usize, "at {at}: behind another chunk");
                }
                Verdict::Pass
            });
            swarm.run(s(30));
            assert!(*count.borrow() > 0);
        }
    });
}

/// RFC 7574 §8.1: on a path that takes no more than usual, to look for more costs next to nothing.
#[test]
fn probes_in_vain_cost_next_to_nothing() {
    each_seed(|seed| {
        for congestion in [Congestion::Background, Congestion::Streaming] {
            let times = [0, 65_487].map(|largest| {
                let mut swarm = Swarm::builder(seed)
                    .content(24 << 20)
                    .congestion(congestion)
                    .link(LinkConfig::perfect(ms(25)).rate(5_000_000, 250_000).mtu(1_472))
                    .seed_config(move |config| config.max_probed_datagram = largest)
                    .build();
                secs(swarm.run(s(60)))
            });
            println!("{congestion:?}: {:.2} s without probes, {:.2} s with them", times[0], times[1]);
            assert!(times[1] <= times[0] * 1.15, "{congestion:?}: {times:?}");
        }
    });
}

/// RFC 7574 §4.3: every chunk of a run that was stored at once is acknowledged, whatever an ACK can name.
#[test]
fn acks_cover_the_runs_that_are_stored() {
    each_seed(|seed| {
        for addressing in ChunkAddressing::ALL {
            for queued in [0, 1_000_000] {
                let faults = StoreFaults { queued, latency: ms(50), ..StoreFaults::default() };
                let mut swarm = Swarm::builder(seed)
                    .content(2_000_000)
                    .addressing(addressing)
                    .store_faults(faults)
                    .link(LinkConfig::perfect(ms(10)))
                    .build();
                let at = swarm.run(s(20));
                let lost = swarm.world.node::<Peer>(swarm.seed()).stats().chunks_lost;
                println!("{addressing:?}, {queued}: complete at {:.2} s, {lost} taken for lost", secs(at));
                assert!(lost == 0 && secs(at) < 1.5, "{addressing:?}, {queued}: {lost} lost, {} s", secs(at));
            }
        }
    });
}
