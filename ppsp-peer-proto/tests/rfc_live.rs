//! RFC 7574 §6 message by message: puppets and a live source. First the Unified Merkle Tree, then Sign All.

mod common;

use common::*;
use ppsp_core::{Bin, ChunkRange, Claim, HashAlg, IntegrityMethod, WindowStore, live::Munro, signature::PublicKey};
use ppsp_peer_proto::{
    Event, Reason,
    sim::{Access, Broadcast, LinkConfig, NodeId, Peer, Speech},
    wire::{ChannelId, Message, MessageType},
};

/// A stream of 64 KiB a second with a munro in every half of one, of which so many chunks have been made.
fn stream(chunks: u64) -> (Broadcast, Speech, NodeId) {
    stream_of(IntegrityMethod::UnifiedMerkleTree, chunks)
}

fn stream_of(integrity: IntegrityMethod, chunks: u64) -> (Broadcast, Speech, NodeId) {
    let link = LinkConfig::perfect(ms(5));
    let mut show = Broadcast::protected(integrity, 1, 64 * 1024, 1 << 20, link, Access::UNLIMITED);
    while show.pushed() < chunks {
        show.run(ms(40));
    }
    let speech = show.speech();
    let puppet = show.world.add_puppet(addr("10.8.0.1:1000"));
    (show, speech, puppet)
}

/// Kinds of messages and what they name, datagram by datagram.
fn datagrams(show: &mut Broadcast, line: &Line, wait: u64) -> Vec<Vec<(MessageType, Option<ChunkRange>)>> {
    show.world.run_for(ms(wait));
    let received = show.world.puppet_take(line.puppet);
    let parsed = received.iter().map(|one| line.speech.parse(&one.bytes).1);
    parsed
        .map(|messages| messages.iter().map(|message| (message.message_type(), range_of(message))).collect())
        .collect()
}

fn range_of(message: &Message<'_>) -> Option<ChunkRange> {
    match message {
        Message::Integrity { range, .. } | Message::SignedIntegrity { range, .. } | Message::Data { range, .. } => {
            Some(*range)
        }
        Message::Have { range } => *range,
        _ => None,
    }
}

fn leaf(chunk: u64) -> ChunkRange {
    ChunkRange::single(chunk)
}

// §6.1.2.4: not in the second datagram, which is to an address that is not proven; from the fourth on.
#[test]
fn no_munro_before_the_handshake_is_complete() {
    let (mut show, speech, puppet) = stream(70);
    let source = show.world.address(show.source);
    let opening = speech.opening(ChannelId(0x5000_0001));
    show.world.puppet_send(puppet, source, opening);
    show.world.run_for(ms(50));
    let answer = show.world.puppet_take(puppet).remove(0);
    let (_, messages) = speech.parse(&answer.bytes);
    let kinds: Vec<_> = messages.iter().map(Message::message_type).collect();
    // §6.1.2.3: HAVE only of what is signed; six chunks of the third munro are there and not announced.
    assert_eq!(kinds, [MessageType::Handshake, MessageType::Have]);
    assert_eq!(range_of(&messages[1]), Some(range(0, 63)));
    let Message::Handshake(hello) = &messages[0] else { panic!() };
    // §7.7, §7.9: the algorithm and the window are named.
    assert_eq!((hello.options.live_signature, hello.options.discard_window), (Some(15), Some(1 << 14)));

    let line = Line { puppet, remote: source, speech, ours: ChannelId(0x5000_0001), theirs: hello.source };
    line.say(&mut show.world, &[Message::PexReq]);
    line.say(&mut show.world, &[Message::Request { range: leaf(3) }]);
    let first = datagrams(&mut show, &line, 50).into_iter().find(|one| !one.is_empty()).expect("a fourth datagram");
    let munro = Some(range(32, 63));
    assert_eq!(first[..2], [(MessageType::Integrity, munro), (MessageType::SignedIntegrity, munro)], "{first:?}");
}

// §6.1.2.4: not in the first datagram, but in the third.
#[test]
fn the_third_datagram_holds_the_rightmost_munro() {
    let (mut show, speech, puppet) = stream(64);
    let to = show.world.address(puppet);
    let source = show.source;
    show.world.act(source, |peer: &mut Peer, now| peer.connect(now, to)).expect("a call");
    let line = Line::pick_up(&mut show.world, puppet, &speech, 0x5000_0001, &[]);
    let third = datagrams(&mut show, &line, 50).remove(0);
    let munro = Some(range(32, 63));
    assert_eq!(third[..2], [(MessageType::Integrity, munro), (MessageType::SignedIntegrity, munro)], "{third:?}");
}

// §6.1.2.1, §6.1.2.3: the munro's hash, its signature, the uncles up to the munro, the chunk; the munro only where the
// peer has no chunk of it.
#[test]
fn a_chunk_comes_behind_its_munro() {
    let (mut show, speech, puppet) = stream(64);
    let source = show.world.address(show.source);
    // Who has a chunk of the last munro need not be told where the stream is.
    let have = Message::Have { range: Some(leaf(63)) };
    let line = Line::dial(&mut show.world, puppet, source, &speech, 0x5000_0001, &[have]);
    datagrams(&mut show, &line, 100);
    line.say(&mut show.world, &[Message::Request { range: leaf(8) }]);
    let carriers = |sent: Vec<Vec<(MessageType, Option<ChunkRange>)>>| {
        sent.into_iter().find(|one| one.iter().any(|(kind, _)| *kind == MessageType::Data)).expect("a chunk")
    };
    let sent = carriers(datagrams(&mut show, &line, 50));
    let munro = Some(range(0, 31));
    assert_eq!(sent[..2], [(MessageType::Integrity, munro), (MessageType::SignedIntegrity, munro)]);
    let uncles = [range(16, 31), range(0, 7), range(12, 15), range(10, 11), leaf(9)];
    let expected = uncles.iter().map(|&uncle| (MessageType::Integrity, Some(uncle)));
    assert!(sent[2..7].iter().copied().eq(expected), "{sent:?}");
    assert_eq!(sent[7..], [(MessageType::Data, Some(leaf(8)))]);

    line.say(&mut show.world, &[Message::Request { range: leaf(40) }]);
    let sent = carriers(datagrams(&mut show, &line, 50));
    assert!(sent.iter().all(|(kind, _)| *kind != MessageType::SignedIntegrity), "it has chunk 63: {sent:?}");
}

// §3.7: a peer MAY send some other chunks than those that were asked for. The source does with what nobody has yet, whether
// the peer is choked or not; what it was told already is not sent.
#[test]
fn a_source_pushes_what_is_new() {
    let (mut show, speech, puppet) = stream(64);
    let source = show.world.address(show.source);
    let have = Message::Have { range: Some(leaf(63)) };
    let line = Line::dial(&mut show.world, puppet, source, &speech, 0x5000_0001, &[have]);
    show.run(s(1));
    let mut chunks = line.chunks(&mut show.world, ms(50));
    chunks.sort_unstable();
    // Who acknowledges nothing gets no more than congestion control lets under way.
    assert!(chunks.len() >= 8 && chunks.iter().copied().eq(64..64 + chunks.len() as u64), "{chunks:?}");
}

// §3.7: so does a viewer whom nobody asks for anything with what has just come.
#[test]
fn a_viewer_with_upload_to_spare_passes_on_what_is_new() {
    let (mut show, speech, puppet) = stream(64);
    let source = show.source;
    let viewer = show.watch_with(Access::UNLIMITED, s(5), &[source], Box::new(WindowStore::new()));
    show.run(ms(500));
    let remote = show.world.address(viewer);
    let line = Line::dial(&mut show.world, puppet, remote, &speech, 0x5000_0001, &[]);
    show.run(s(1));
    let chunks = line.chunks(&mut show.world, ms(50));
    assert!(chunks.len() >= 8 && chunks.iter().all(|&chunk| chunk >= 64), "{chunks:?}");
}

// §6.1.2.3, §12.6.5: nobody can have what is not signed yet. Whoever says so is told the munro all the same, for there may be
// two sources with one key.
#[test]
fn who_claims_what_nobody_can_have_is_told_what_is_signed() {
    let (mut show, speech, puppet) = stream(64);
    let source = show.world.address(show.source);
    let have = Message::Have { range: Some(range(64, 95)) };
    let line = Line::dial(&mut show.world, puppet, source, &speech, 0x5000_0001, &[have]);
    show.run(s(1));
    let told = line.hear(&mut show.world, ms(50), |message| match message {
        Message::SignedIntegrity { range, .. } => Some(*range),
        _ => None,
    });
    assert!(told.contains(&range(64, 95)), "{told:?}");
}

/// The chunk of a stream of zeros that a munro is over, with its uncles.
fn zero_chunk(munro: &Munro, chunk: u64, say: impl FnOnce(&[Message<'_>])) {
    let mut hash = [munro.hash];
    ppsp_core::hash_chunks(HashAlg::Sha256, &[&[0; 1024]], &mut hash);
    let mut level = hash.to_vec();
    while level.len() < 5 {
        ppsp_core::hash_pairs(HashAlg::Sha256, &[[level[level.len() - 1]; 2]], &mut hash);
        level.push(hash[0]);
    }
    let uncles: Vec<Bin> = ppsp_core::uncles(chunk, munro.node).collect();
    let hashes = uncles.iter().map(|uncle| Message::Integrity {
        range: uncle.range(),
        hash: level[uncle.range().len().ilog2() as usize].as_bytes(),
    });
    let mut messages: Vec<Message<'_>> = hashes.collect();
    messages.push(Message::Data { range: leaf(chunk), timestamp: 0, data: &[0; 1024] });
    say(&messages);
}

// §3.7, and §12.6.3, threat DATA.2: what nobody asked for is taken where it is live and right, and as long as some of it is
// of use.
#[test]
fn what_is_pushed_is_taken_as_long_as_it_is_of_use() {
    let (mut show, speech, puppet) = stream(64);
    let viewer = show.watch_with(Access::UNLIMITED, s(5), &[], Box::new(WindowStore::new()));
    let munro = show.forged(64);
    let remote = show.world.address(viewer);
    let integrity = Message::Integrity { range: munro.node.range(), hash: munro.hash.as_bytes() };
    let timestamp = munro.time.to_bits();
    let signed = Message::SignedIntegrity { range: munro.node.range(), timestamp, signature: &munro.signature };
    let line = Line::dial(&mut show.world, puppet, remote, &speech, 0x5000_0001, &[integrity, signed]);
    for chunk in 64..96 {
        zero_chunk(&munro, chunk, |messages| line.say(&mut show.world, messages));
    }
    show.world.run_for(ms(50));
    assert_eq!(show.world.peer(viewer).held().len(), 32);
    assert_eq!(line.asked(&mut show.world, ms(50)), []);

    // No hash leads to these.
    let useless = Message::Data { range: leaf(200), timestamp: 0, data: &[0; 1024] };
    (0..100).for_each(|_| line.say(&mut show.world, &[useless]));
    show.world.run_for(ms(50));
    let stats = show.world.peer(viewer).stats();
    assert_eq!((stats.dropped_unproven, stats.dropped_unrequested), (64, 36));
    assert_eq!(show.world.peer(viewer).held().len(), 32);
}

// The same: a source that goes on for hours and is late now and then is listened to all the while.
#[test]
fn what_is_pushed_and_of_use_pays_for_what_is_not() {
    let (mut show, speech, puppet) = stream(64);
    let viewer = show.watch_with(Access::UNLIMITED, s(5), &[], Box::new(WindowStore::new()));
    let remote = show.world.address(viewer);
    let line = Line::dial(&mut show.world, puppet, remote, &speech, 0x5000_0001, &[]);
    for first in (64..640).step_by(32) {
        let munro = show.forged(first);
        let integrity = Message::Integrity { range: munro.node.range(), hash: munro.hash.as_bytes() };
        let timestamp = munro.time.to_bits();
        let signed = Message::SignedIntegrity { range: munro.node.range(), timestamp, signature: &munro.signature };
        line.say(&mut show.world, &[integrity, signed]);
        // Each third chunk comes twice.
        for chunk in first..first + 32 {
            for _ in 0..1 + u64::from(chunk % 3 == 0) {
                zero_chunk(&munro, chunk, |messages| line.say(&mut show.world, messages));
            }
        }
    }
    let peer = show.world.peer(viewer);
    assert_eq!((peer.held().len(), peer.stats().dropped_duplicate), (576, 192));
}

/// A viewer that knows a puppet, which brings a munro in the third datagram, and what becomes of the puppet.
fn offered(spoil: impl Fn(&mut Munro)) -> (Option<Reason>, u64) {
    let (mut show, speech, puppet) = stream(64);
    let viewer = show.watch_with(Access::UNLIMITED, s(5), &[], Box::new(WindowStore::new()));
    let mut munro = show.forged(64);
    spoil(&mut munro);
    let remote = show.world.address(viewer);
    let integrity = Message::Integrity { range: munro.node.range(), hash: munro.hash.as_bytes() };
    let timestamp = munro.time.to_bits();
    let signed = Message::SignedIntegrity { range: munro.node.range(), timestamp, signature: &munro.signature };
    Line::dial(&mut show.world, puppet, remote, &speech, 0x5000_0001, &[integrity, signed]);
    show.world.run_for(s(1));
    let peer = show.world.peer(viewer);
    (peer.down_reason(show.world.address(puppet)), peer.stats().refused_munros)
}

// §12.6.5, threat INTEGRITY.1: if the signatures do not check out, traffic of the peer is ignored.
#[test]
fn who_brings_a_false_signature_is_left() {
    assert_eq!(offered(|_| ()), (None, 0));
    assert_eq!(offered(|munro| munro.signature[0] ^= 1), (Some(Reason::Corrupt), 1));
    assert_eq!(offered(|munro| munro.node = Bin::at(5, 96).unwrap()), (Some(Reason::Corrupt), 1));
    // A munro that claims to be from long ago is signed by nobody, but is not even looked at.
    assert_eq!(
        offered(|munro| munro.time = ppsp_core::live::NtpTime::from_bits(munro.time.to_bits() - (60 << 32))).1,
        1
    );
}

// §12.6.3, threat DATA.1, in a live stream: who sends other bytes is left, and nothing of them is kept.
#[test]
fn a_polluter_is_left() {
    let (mut show, speech, puppet) = stream(64);
    let viewer = show.watch(Access::UNLIMITED, s(5), &[]);
    let source = show.source;
    show.world.connect(viewer, source);
    // Most of what is new is pushed to others, so that the viewer has to ask for it.
    (0..8).for_each(|_| _ = show.watch(Access::UNLIMITED, s(5), &[source]));
    show.run(ms(200));
    let remote = show.world.address(viewer);
    let line = Line::dial(&mut show.world, puppet, remote, &speech, 0x5000_0001, &[]);
    for _ in 0..50 {
        show.run(ms(40));
        // It claims the munro before the last one, and so to be a viewer like others.
        let last = show.pushed() / 32 * 32;
        line.say(&mut show.world, &[Message::Have { range: Some(range(last - 64, last - 33)) }]);
        let asked = line.asked(&mut show.world, ms(5));
        let Some(chunk) = asked.first().map(|range| range.first()) else { continue };
        let hash = [7; 32];
        let munro = Bin::at(5, chunk).unwrap();
        let claims: Vec<Claim> = ppsp_core::uncles(chunk, munro)
            .map(|node| Claim { node, hash: ppsp_core::Hash::from_bytes(&hash).unwrap() })
            .collect();
        let mut messages: Vec<Message<'_>> = claims
            .iter()
            .map(|claim| Message::Integrity { range: claim.node.range(), hash: claim.hash.as_bytes() })
            .collect();
        messages.push(Message::Data { range: leaf(chunk), timestamp: 0, data: &[9; 1024] });
        line.say(&mut show.world, &messages);
        if show.world.peer(viewer).down_reason(show.world.address(puppet)).is_some() {
            break;
        }
    }
    assert_eq!(show.world.peer(viewer).down_reason(show.world.address(puppet)), Some(Reason::Corrupt));
    show.run(s(3));
    assert!(show.watchers[0].continuity() > 0.99, "{:?}", show.watchers[0]);
}

// §6.1.1: SIGNED_INTEGRITY with the chunk's signature, then DATA, in one datagram; the signature is over chunk
// specification, timestamp and chunk, as they are on the wire. There are no hashes, and nothing is announced that is not
// signed.
#[test]
fn in_sign_all_each_chunk_comes_behind_its_signature() {
    let (mut show, speech, puppet) = stream_of(IntegrityMethod::SignAll, 70);
    let source = show.world.address(show.source);
    show.world.run_for(ms(30));
    show.world.puppet_send(puppet, source, speech.opening(ChannelId(0x5000_0001)));
    show.world.run_for(ms(50));
    let answer = show.world.puppet_take(puppet).remove(0);
    let (_, messages) = speech.parse(&answer.bytes);
    let [Message::Handshake(hello), Message::Have { range: Some(held) }] = &messages[..] else {
        panic!("{messages:?}")
    };
    // Table 4.
    assert_eq!(hello.options.integrity, Some(2));
    assert_eq!(*held, range(0, show.pushed() - 1));

    let line = Line { puppet, remote: source, speech, ours: ChannelId(0x5000_0001), theirs: hello.source };
    line.say(&mut show.world, &[Message::Request { range: range(3, 4) }]);
    show.world.run_for(ms(200));
    let received = show.world.puppet_take(puppet);
    let mut chunks = vec![];
    for one in &received {
        let (_, messages) = line.speech.parse(&one.bytes);
        assert!(!messages.iter().any(|message| message.message_type() == MessageType::Integrity), "{messages:?}");
        for (n, message) in messages.iter().enumerate() {
            let Message::Data { range: of, data, .. } = message else { continue };
            let Some(Message::SignedIntegrity { range, timestamp, signature }) = n.checked_sub(1).map(|n| messages[n])
            else {
                panic!("no signature in {messages:?}")
            };
            assert_eq!(range, *of);
            let chunk = u32::try_from(of.first()).unwrap().to_be_bytes();
            let key = PublicKey::parse(show.metadata().id.as_bytes()).unwrap();
            assert!(key.verify(&[&chunk, &chunk, &timestamp.to_be_bytes(), data], signature).is_ok());
            // §8.9: type, chunk specification, timestamp, signature.
            let shape = [&[7][..], &chunk, &chunk, &timestamp.to_be_bytes(), signature].concat();
            assert!(one.bytes.windows(shape.len()).any(|bytes| bytes == shape));
            assert_eq!(*data, show.content.chunk(of.first()));
            chunks.push(of.first());
        }
    }
    chunks.sort_unstable();
    assert_eq!(chunks, [3, 4]);
}

/// A viewer in Sign All, and a puppet that has announced chunk 63 to it and was asked for it.
struct Asked {
    show: Broadcast,
    viewer: NodeId,
    line: Line,
    /// Of chunk 63, which is all zeros.
    signed: Munro,
}

impl Asked {
    const CHUNK: u64 = 63;

    fn new() -> Self {
        let (mut show, speech, puppet) = stream_of(IntegrityMethod::SignAll, 64);
        let viewer = show.watch_with(Access::UNLIMITED, s(5), &[], Box::new(WindowStore::new()));
        let remote = show.world.address(viewer);
        let have = Message::Have { range: Some(range(20, Self::CHUNK)) };
        let line = Line::dial(&mut show.world, puppet, remote, &speech, 0x5000_0001, &[have]);
        // §6.1.2.4, as far as it applies: where the stream is shows by its last chunk, so that is asked for, and nothing
        // else as long as it is not known.
        assert_eq!(line.asked(&mut show.world, ms(100)), [leaf(Self::CHUNK)]);
        let signed = show.forged(Self::CHUNK);
        Self { show, viewer, line, signed }
    }

    fn say(&mut self, datagrams: &[&[Message<'_>]]) {
        for messages in datagrams {
            self.line.say(&mut self.show.world, messages);
        }
        self.show.world.run_for(ms(20));
    }

    /// What becomes of the puppet; how many chunks are held; whether the stream was found.
    fn outcome(&self) -> (Option<Reason>, u64, bool) {
        let peer = self.show.world.peer(self.viewer);
        let tuned = self.show.events(self.viewer).iter().any(|event| matches!(event, Event::TunedIn { .. }));
        (peer.down_reason(self.show.world.address(self.line.puppet)), peer.held().len(), tuned)
    }
}

fn zeros() -> Message<'static> {
    Message::Data { range: leaf(Asked::CHUNK), timestamp: 0, data: &[0; 1024] }
}

// §6.1.1: in one datagram, or the signature first in a separate one.
#[test]
fn a_signed_chunk_shows_where_the_stream_is() {
    let mut asked = Asked::new();
    let signed = asked.signed.clone();
    let signature = Message::SignedIntegrity {
        range: signed.node.range(),
        timestamp: signed.time.to_bits(),
        signature: &signed.signature,
    };
    asked.say(&[&[signature, zeros()]]);
    assert_eq!(asked.outcome(), (None, 1, true));

    let mut asked = Asked::new();
    asked.say(&[&[signature], &[zeros()]]);
    assert_eq!(asked.outcome(), (None, 1, true));
    // §6.1.1: who received it passes it on with its signature.
    let (line, world) = (&asked.line, &mut asked.show.world);
    line.say(world, &[Message::Request { range: leaf(Asked::CHUNK) }]);
    let sent = line.hear(world, ms(200), |message| match message {
        Message::SignedIntegrity { range, timestamp, signature } => Some((*range, *timestamp, signature.to_vec())),
        _ => None,
    });
    assert_eq!(sent, [(leaf(Asked::CHUNK), signed.time.to_bits(), signed.signature.to_vec())]);
}

// §12.6.3, threat DATA.1, and §12.6.5, threats INTEGRITY.1 and INTEGRITY.2, in Sign All.
#[test]
fn a_chunk_whose_signature_is_not_right_is_not_taken() {
    type Spoil = fn(&mut Asked);
    let forged: [(&str, Spoil); 4] = [
        ("another signature", |asked| asked.signed.signature[0] ^= 1),
        ("the signature of another chunk", |asked| asked.signed.signature = asked.show.forged(62).signature),
        ("a later time than was signed", |asked| {
            asked.signed.time = ppsp_core::live::NtpTime::from_bits(asked.signed.time.to_bits() + (1 << 32));
        }),
        ("nothing that was signed", |asked| asked.signed.signature = vec![0; 64].into()),
    ];
    for (what, spoil) in forged {
        let mut asked = Asked::new();
        spoil(&mut asked);
        let Asked { signed, .. } = &asked;
        let signed = signed.clone();
        let (range, timestamp) = (signed.node.range(), signed.time.to_bits());
        asked.say(&[&[Message::SignedIntegrity { range, timestamp, signature: &signed.signature }, zeros()]]);
        assert_eq!(asked.outcome(), (Some(Reason::Corrupt), 0, false), "{what}");
    }
    // Other bytes under a good signature.
    let mut asked = Asked::new();
    let signed = asked.signed.clone();
    let (range, timestamp) = (signed.node.range(), signed.time.to_bits());
    let signature = Message::SignedIntegrity { range, timestamp, signature: &signed.signature };
    asked.say(&[&[signature, Message::Data { range: leaf(Asked::CHUNK), timestamp: 0, data: &[1; 1024] }]]);
    assert_eq!(asked.outcome(), (Some(Reason::Corrupt), 0, false));
    // A signature that belongs to another place, and none at all: nothing can be told of the chunk.
    for messages in [
        &[Message::SignedIntegrity { range: leaf(5), timestamp, signature: &signed.signature }, zeros()][..],
        &[zeros()],
    ] {
        let mut asked = Asked::new();
        asked.say(&[messages]);
        assert_eq!(asked.outcome(), (None, 0, false));
        assert_eq!(asked.show.world.peer(asked.viewer).stats().dropped_unproven, 1);
    }
}

// §6.1.2.4: if the timestamp is too old, the message is discarded. §12.6.5, threat INTEGRITY.2.
#[test]
fn an_old_chunk_is_not_where_the_stream_is() {
    let (mut show, speech, puppet) = stream_of(IntegrityMethod::SignAll, 64);
    let signed = show.forged(Asked::CHUNK);
    show.run(s(40));
    let viewer = show.watch_with(Access::UNLIMITED, s(5), &[], Box::new(WindowStore::new()));
    let remote = show.world.address(viewer);
    let have = Message::Have { range: Some(leaf(Asked::CHUNK)) };
    let line = Line::dial(&mut show.world, puppet, remote, &speech, 0x5000_0001, &[have]);
    let (range, timestamp) = (signed.node.range(), signed.time.to_bits());
    line.say(&mut show.world, &[Message::SignedIntegrity { range, timestamp, signature: &signed.signature }, zeros()]);
    show.world.run_for(ms(100));
    let peer = show.world.peer(viewer);
    assert_eq!((peer.held().len(), peer.stats().refused_munros), (0, 1));
    assert!(!show.events(viewer).iter().any(|event| matches!(event, Event::TunedIn { .. })));
}

// Signatures that nobody asked for take no memory to speak of, and none of them is checked.
#[test]
fn signatures_without_chunks_are_forgotten() {
    let mut asked = Asked::new();
    let signed = asked.signed.clone();
    let (range, timestamp) = (signed.node.range(), signed.time.to_bits());
    let signature = Message::SignedIntegrity { range, timestamp, signature: &signed.signature };
    asked.say(&[&[signature]]);
    for chunk in 1000..1016 {
        let other = Message::SignedIntegrity { range: leaf(chunk), timestamp, signature: &signed.signature };
        asked.say(&[&[other]]);
    }
    asked.say(&[&[zeros()]]);
    assert_eq!(asked.outcome(), (None, 0, false));
    assert_eq!(asked.show.world.peer(asked.viewer).stats().dropped_unproven, 1);
}
