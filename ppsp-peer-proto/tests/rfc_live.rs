//! RFC 7574 §6 message by message: puppets and a live source.

mod common;

use common::*;
use ppsp_core::{Bin, ChunkRange, Claim, WindowStore, live::Munro};
use ppsp_peer_proto::{
    Reason,
    sim::{Access, Broadcast, LinkConfig, NodeId, Peer, Speech},
    wire::{ChannelId, Message, MessageType},
};

/// A stream of 64 KiB a second with a munro in every half of one, of which so many chunks have been made.
fn stream(chunks: u64) -> (Broadcast, Speech, NodeId) {
    let mut show = Broadcast::new(1, 64 * 1024, 1 << 20, LinkConfig::perfect(ms(5)), Access::UNLIMITED);
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
