//! The examples and procedures of RFC 7574, step by step, between an endpoint and a scripted peer. Each test quotes what it
//! tests.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ppsp_core::{Bin, ChunkAddressing, ChunkRange, HashAlg, Instant, MemoryStore, SwarmMetadata, peaks};
use ppsp_peer_proto::{
    Datagrams, Endpoint, EndpointConfig, Event, Reason, SwarmConfig, SwarmKey,
    policy::{Candidate, Choker},
    sim::{Content, SimStore, Speech},
    wire::{ChannelId, Handshake, Message, MessageType, Options, SupportedMessages},
};

/// The scripted peer's channel ID.
const MINE: ChannelId = ChannelId(0x1111_1111);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn r(first: u64, last: u64) -> ChunkRange {
    ChunkRange::new(first, last).unwrap()
}

/// Private addresses, so that peer exchange is possible among them.
fn peer(n: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, n], 7000))
}

fn request(first: u64, last: u64) -> Message<'static> {
    Message::Request { range: r(first, last) }
}

fn have(first: u64, last: u64) -> Message<'static> {
    Message::Have { range: Some(r(first, last)) }
}

fn ack(first: u64, last: u64) -> Message<'static> {
    Message::Ack { range: r(first, last), delay: 1000 }
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// The file of RFC 7574 §5.6.1: 7162 bytes in 7 chunks, the tail chunk being 1018 bytes long.
fn seven() -> Arc<Content> {
    chunks(7)
}

fn chunks(n: usize) -> Arc<Content> {
    Content::new(7, n * 1024 - 6, 1024, HashAlg::Sha256, ChunkAddressing::Range32)
}

/// An endpoint on the table, with the time in our hands, and the language of its swarm.
struct Desk {
    ep: Endpoint,
    key: SwarmKey,
    now: Instant,
    speech: Speech,
    events: Vec<Event>,
    buffer: Vec<u8>,
}

/// A datagram that the endpoint sent.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Sent {
    to: SocketAddr,
    bytes: Vec<u8>,
}

impl Desk {
    fn seed(content: &Arc<Content>) -> Self {
        Self::with(content, true, |_| {}, |_| {})
    }

    fn leech(content: &Arc<Content>) -> Self {
        Self::with(content, false, |_| {}, |_| {})
    }

    fn with(
        content: &Arc<Content>,
        seeding: bool,
        tweak: impl FnOnce(&mut EndpointConfig),
        tweak_swarm: impl FnOnce(&mut SwarmConfig),
    ) -> Self {
        let now = Instant::from_micros(1_700_000_000_000_000);
        let mut config = EndpointConfig::default();
        tweak(&mut config);
        let mut ep = Endpoint::new(config, [5; 32], now);
        let mut swarm = SwarmConfig::new(content.metadata());
        tweak_swarm(&mut swarm);
        let store = if seeding { SimStore::complete(content) } else { SimStore::empty(content) };
        let key = ep.open(now, swarm, Box::new(store)).unwrap();
        let speech = Speech::new(content);
        let mut desk = Self { ep, key, now, speech, events: Vec::new(), buffer: vec![0; 1 << 17] };
        assert_eq!(desk.drain(), []);
        desk
    }

    fn receive(&mut self, from: SocketAddr, bytes: &[u8]) {
        self.ep.handle(self.now, [Datagrams::one(from, bytes)]);
    }

    /// Sends these messages to the endpoint's channel.
    fn say(&mut self, from: SocketAddr, to: ChannelId, messages: &[Message<'_>]) {
        let datagram = self.speech.datagram(to, messages);
        self.receive(from, &datagram);
    }

    /// Everything that the endpoint sends now. Time stands still.
    fn drain(&mut self) -> Vec<Sent> {
        let mut out = Vec::new();
        self.ep.handle_timeout(self.now);
        loop {
            let due = self.ep.poll_timeout();
            let Some(t) = self.ep.poll_transmit(self.now, NonZeroUsize::MIN, &mut self.buffer) else { break };
            assert!(due.is_some_and(|due| due <= self.now));
            out.push(Sent { to: t.destination, bytes: self.buffer[..t.len].to_vec() });
            assert!(out.len() < 10_000);
        }
        while let Some(event) = self.ep.poll_event() {
            self.events.push(event);
        }
        out
    }

    fn pass(&mut self, time: Duration) -> Vec<Sent> {
        let until = self.now + time;
        let mut out = self.drain();
        while let Some(at) = self.ep.poll_timeout().filter(|&at| at <= until) {
            self.now = at;
            out.extend(self.drain());
        }
        self.now = until;
        out
    }

    fn parse<'a>(&self, sent: &'a Sent) -> (ChannelId, Vec<Message<'a>>) {
        self.speech.parse(&sent.bytes)
    }

    /// What `pick` makes of the messages in these datagrams.
    fn pick<T>(&self, sent: &[Sent], pick: impl Fn(&Message<'_>) -> Option<T>) -> Vec<T> {
        sent.iter().flat_map(|d| self.parse(d).1.iter().filter_map(&pick).collect::<Vec<_>>()).collect()
    }

    fn data(&self, sent: &[Sent]) -> Vec<u64> {
        self.pick(sent, |m| match m {
            Message::Data { range, .. } => Some(range.first()),
            _ => None,
        })
    }

    fn hashes(&self, sent: &[Sent]) -> Vec<ChunkRange> {
        self.pick(sent, |m| match m {
            Message::Integrity { range, .. } => Some(*range),
            _ => None,
        })
    }

    fn requests(&self, sent: &[Sent]) -> Vec<ChunkRange> {
        self.pick(sent, |m| match m {
            Message::Request { range } => Some(*range),
            _ => None,
        })
    }

    fn haves(&self, sent: &[Sent]) -> Vec<ChunkRange> {
        self.pick(sent, |m| match m {
            Message::Have { range } => *range,
            _ => None,
        })
    }

    fn has(&self, sent: &[Sent], kind: MessageType) -> bool {
        !self.pick(sent, |m| (m.message_type() == kind).then_some(())).is_empty()
    }

    /// Opens towards the endpoint and returns the channel it chose. Half open. What goes to others meanwhile is lost.
    fn open(&mut self, from: SocketAddr, extra: &[Message<'_>]) -> ChannelId {
        let speech = self.speech.clone();
        let mut messages = vec![speech.hello(MINE)];
        messages.extend_from_slice(extra);
        self.say(from, ChannelId::NONE, &messages);
        let mut sent = self.drain();
        sent.retain(|d| d.to == from);
        assert_eq!(sent.len(), 1, "{sent:?}");
        self.answer(&sent[0]).source
    }

    /// A complete handshake.
    fn dial(&mut self, from: SocketAddr, third: &[Message<'_>]) -> ChannelId {
        let to = self.open(from, &[]);
        self.say(from, to, third);
        to
    }

    /// The HANDSHAKE that a datagram begins with.
    fn answer(&self, sent: &Sent) -> Handshake<'_> {
        let (channel, messages) = self.speech.parse(&sent.bytes);
        assert_eq!(channel, MINE);
        match messages[0] {
            Message::Handshake(Handshake { source, .. }) => Handshake { source, options: Options::default() },
            ref other => panic!("{other:?}"),
        }
    }

    /// The endpoint calls us; we answer with these messages behind the handshake. Returns its channel.
    fn called(&mut self, at: SocketAddr, extra: &[Message<'_>]) -> ChannelId {
        self.ep.connect(self.now, self.key, at).unwrap();
        let sent = self.drain();
        let to = self.caller(&sent[0]);
        let speech = self.speech.clone();
        let mut messages = vec![speech.hello(MINE)];
        messages.extend_from_slice(extra);
        self.say(at, to, &messages);
        to
    }

    /// The channel of the endpoint's first datagram.
    fn caller(&self, sent: &Sent) -> ChannelId {
        let (channel, messages) = self.parse(sent);
        assert_eq!(channel, ChannelId::NONE);
        match messages[0] {
            Message::Handshake(hello) => hello.source,
            ref other => panic!("{other:?}"),
        }
    }

    /// Gives the endpoint a chunk with all its hashes.
    fn give(&mut self, from: SocketAddr, to: ChannelId, chunk: u64) {
        let datagram = self.speech.proven_chunk(to, chunk, self.now.as_micros());
        self.receive(from, &datagram);
    }

    fn down(&self, remote: SocketAddr) -> Option<Reason> {
        self.events.iter().rev().find_map(|event| match event {
            Event::PeerDown { remote: at, reason, .. } if *at == remote => Some(*reason),
            _ => None,
        })
    }

    fn ups(&self) -> usize {
        self.events.iter().filter(|e| matches!(e, Event::PeerUp { .. })).count()
    }
}

// ---------------------------------------------------------------------------------------------------------------------------
// §8.16

/// An endpoint that seeds the RFC's file.
fn hello_world(alg: HashAlg) -> (Endpoint, SwarmMetadata, Instant) {
    let (store, tree) = MemoryStore::from_content(alg, 1024, b"Hello world!\n".to_vec());
    let metadata = SwarmMetadata { hash: alg, ..SwarmMetadata::of_root(&tree.root) };
    let now = Instant::from_micros(0x0006_60da_52a2_bc9b);
    let mut ep = Endpoint::new(EndpointConfig::default(), [8; 32], now);
    ep.open(now, SwarmConfig::new(metadata.clone()), Box::new(store)).unwrap();
    (ep, metadata, now)
}

fn exchange(ep: &mut Endpoint, now: Instant, datagram: &[u8]) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    let mut buffer = [0; 2048];
    ep.handle(now, [Datagrams::one(peer(9), datagram)]);
    while let Some(t) = ep.poll_transmit(now, NonZeroUsize::MIN, &mut buffer) {
        out.push(buffer[..t.len].to_vec());
    }
    while ep.poll_event().is_some() {}
    out
}

/// §8.16, "Example of Operation", byte for byte but for random channel IDs, our option 8 and the hash function.
///
/// The swarm ID in the RFC, 20 bytes that begin with 47a0 and end with b03b, is SHA-1 of "Hello world!\n", while the text
/// speaks of SHA-256 and 32 bytes. So the conversation is held with either function and the ID that belongs to it, and
/// the printed mixture gets no answer.
#[test]
fn example_of_operation() {
    for (alg, id) in [
        (HashAlg::Sha1, "47a013e660d408619d894b20806b1d5086aab03b"),
        (HashAlg::Sha256, "0ba904eae8773b70c75333db4de2f3ac45a8ad4ddba1b242f0b3cfc199391dd8"),
    ] {
        let (mut ep, metadata, now) = hello_world(alg);
        assert_eq!(metadata.id.as_bytes(), unhex(id), "{alg:?}");
        let (len, code) = (alg.len(), alg.code());
        // "the initiating peer sends a datagram that MUST start with an all-zeros channel ID"
        let first = format!("00000000 00 00000001 0001 0101 02{len:04x}{id} 0301 04{code:02x} 0602 0900000400 ff");
        let second = exchange(&mut ep, now, &unhex(&first.replace(' ', "")));
        assert_eq!(second.len(), 1);
        // "the returned datagram MUST consist of the channel ID from the sender's HANDSHAKE message (0x00000001); a HANDSHAKE
        // message, whose payload is a locally unused; a random channel ID; and a list of protocol options; followed by any
        // other messages": HAVE of the first chunk.
        let second = &second[0];
        assert_eq!(second[..5], [0, 0, 0, 1, 0]);
        let channel = &second[5..9];
        let theirs = channel.iter().map(|b| format!("{b:02x}")).collect::<String>();
        let options = format!("0001 0101 0301 04{code:02x} 0602 0802f8dc 0900000400 ff").replace(' ', "");
        let without_8 = unhex(&options.replace("0802f8dc", ""));
        let at = 9 + unhex("000101010301040006").len() + 1;
        assert_eq!(second[at], 8, "what we do not support of Table 7 we say: {second:02x?}");
        let skipped = 2 + usize::from(second[at + 1]);
        let rest = [&second[9..at], &second[at + skipped..]].concat();
        assert_eq!(rest, [&without_8[..], &unhex("030000000000000000")].concat());

        // "The initiating peer MAY send a request … Furthermore, it MAY add additional messages such as a PEX_REQ."
        let third = exchange(&mut ep, now, &unhex(&format!("{theirs}08000000000000000006")));
        // "The receiving peer responds to the request by sending a DATA message containing the requested content."
        assert_eq!(third.len(), 1);
        let time = now.as_micros();
        let data = b"Hello world!\n".iter().map(|b| format!("{b:02x}")).collect::<String>();
        // §5.6.2: before it the peak hash, which is the root of a tree of one chunk.
        let expected = format!("00000001 04 0000000000000000 {id} 01 0000000000000000 {time:016x} {data}");
        // A HAVE may be repeated before it.
        let mut got = third[0].clone();
        if got[4] == 3 {
            got.drain(4..13);
        }
        assert_eq!(got, unhex(&expected.replace(' ', "")), "{alg:?}");
        // The ACK ends it.
        assert!(exchange(&mut ep, now, &unhex(&format!("{theirs}0200000000000000000000000000000044"))).is_empty());
        assert_eq!((ep.stats().chunks_sent, ep.stats().dropped_malformed), (1, 0));
    }

    let (mut ep, _, now) = hello_world(HashAlg::Sha1);
    let printed = "000000000000000001000101010200144 7a013e660d408619d894b20806b1d5086aab03b0301040206020900000400ff";
    assert_eq!(exchange(&mut ep, now, &unhex(&printed.replace(' ', ""))), Vec::<Vec<u8>>::new());
}

// ---------------------------------------------------------------------------------------------------------------------------
// §5

/// Fetches chunk after chunk as §5.5 has it, with an ACK after each; says which nodes were sent before each chunk.
fn progressive(content: &Arc<Content>) -> Vec<Vec<u64>> {
    let mut desk = Desk::seed(content);
    let to = desk.dial(peer(2), &[]);
    desk.drain();
    let mut table = Vec::new();
    for chunk in 0..content.chunks() {
        desk.say(peer(2), to, &[request(chunk, chunk)]);
        let sent = desk.drain();
        assert_eq!(desk.data(&sent), [chunk]);
        // §5.4: "a datagram that MUST consist of a list of INTEGRITY messages followed by a DATA message."
        assert_eq!(sent.len(), 1);
        table.push(desk.hashes(&sent).into_iter().map(|range| Bin::exactly(range).unwrap().number()).collect());
        desk.now = desk.now + ms(20);
        desk.say(peer(2), to, &[ack(0, chunk)]);
        let sent = desk.drain();
        assert_eq!(desk.data(&sent), [0; 0]);
    }
    table
}

/// §5.5, Table 1: "In the case of a simple progressive download, of chunks 0, 2, 4, 6, etc., the sending peer will send the
/// following hashes". The table has eight chunks, so that the root is the one peak; §5.6.2 adds it before the first chunk.
/// Within a datagram the tallest goes first (§5.4).
#[test]
fn table_1() {
    let content = Content::new(8, 8 * 1024, 1024, HashAlg::Sha256, ChunkAddressing::Range32);
    let table = progressive(&content);
    let expected: [&[u64]; 8] = [&[7, 11, 5, 2], &[], &[6], &[], &[13, 10], &[], &[14], &[]];
    assert_eq!(table, expected);
    assert_eq!(table.iter().flatten().filter(|&&node| node != 7).count(), 7, "Table 1: 7 hashes in total");
}

/// The same for the seven chunks of §5.6.1, where we deviate from Table 1's way in the RFC's favour: uncles go up to the peak that
/// covers the chunk and not to the root, for what lies above follows from the peaks. That leaves out nodes 11 and 13, which
/// are not filled and whose chunk ranges would end behind the content.
#[test]
fn table_1_for_seven_chunks() {
    let table = progressive(&seven());
    let expected: [&[u64]; 7] = [&[3, 9, 12, 5, 2], &[], &[6], &[], &[10], &[], &[]];
    assert_eq!(table, expected);
}

/// §5.6.2: "Peer A replies to Peer B by including in the datagram the following messages in this specific order: first, the three
/// peak hashes of this particular file, the hashes of nodes 3, 9, and 12; second, the uncle hashes of C0, followed by the
/// DATA message containing the actual content of C0."
#[test]
fn peaks_then_uncles_then_data() {
    let content = seven();
    let mut desk = Desk::seed(&content);
    let to = desk.dial(peer(2), &[request(0, 0)]);
    let sent = desk.drain();
    assert_eq!(sent.len(), 1);
    let (channel, messages) = desk.parse(&sent[0]);
    assert_eq!(channel, MINE);
    let nodes: Vec<Bin> = [3, 9, 12, 5, 2].into_iter().map(|n| Bin::new(n).unwrap()).collect();
    let mut messages = messages.iter().filter(|m| !matches!(m, Message::Have { .. }));
    for node in nodes {
        let hash = content.hash(node);
        assert_eq!(messages.next(), Some(&Message::Integrity { range: node.range(), hash: hash.as_bytes() }));
    }
    let data = content.chunk(0);
    assert_eq!(messages.next(), Some(&Message::Data { range: r(0, 0), timestamp: desk.now.as_micros(), data }));
    assert_eq!(messages.next(), None);

    // "unless Peer B has already signaled that it knows the peak hashes by having acknowledged any chunk"
    desk.say(peer(2), to, &[ack(0, 0), request(6, 6)]);
    let sent = desk.drain();
    assert_eq!((desk.data(&sent), desk.hashes(&sent)), (vec![6], vec![]));
}

/// §5.6.2, the other side: "To establish the exact size of the file, Peer B needs to request and retrieve the last chunk containing
/// data, C6 in Figure 4. Once the last chunk has been retrieved and verified, Peer B concludes that it is 1018 bytes long".
#[test]
fn the_size_is_found_out() {
    let content = seven();
    let mut desk = Desk::leech(&content);
    let to = desk.called(peer(2), &[have(0, 6)]);
    let sent = desk.drain();
    assert!(!desk.requests(&sent).is_empty());
    assert_eq!(desk.ep.swarm(desk.key).unwrap().chunks(), None);
    desk.give(peer(2), to, 0);
    assert_eq!(desk.ep.swarm(desk.key).unwrap().chunks(), Some(7));
    assert_eq!(desk.ep.swarm(desk.key).unwrap().content_length(), None);
    let mut sent = sent;
    sent.extend(desk.drain());
    assert!(desk.requests(&sent).iter().any(|range| range.contains(6)), "{:?}", desk.requests(&sent));
    desk.give(peer(2), to, 6);
    assert_eq!(desk.ep.swarm(desk.key).unwrap().content_length(), Some(7162));
}

/// §5.4: "The list of INTEGRITY messages sent MUST be sorted in order of the tree height of the nodes, descending". And: "If the
/// INTEGRITY messages and DATA message cannot be put into a single datagram because of a limitation on datagram size, the
/// INTEGRITY messages MUST be sent first in one or more datagrams."
#[test]
fn integrity_descends_and_goes_first() {
    for (n, chunk_size, alg) in [(1000, 1024, HashAlg::Sha256), (200, 1400, HashAlg::Sha512), (77, 512, HashAlg::Sha1)]
    {
        let content = Content::new(3, n * chunk_size as usize - 1, chunk_size, alg, ChunkAddressing::Range32);
        let mut desk = Desk::seed(&content);
        let to = desk.dial(peer(2), &[]);
        desk.drain();
        let tops: Vec<Bin> = peaks(content.chunks()).collect();
        let mut known: BTreeMap<Bin, ()> = BTreeMap::new();
        for chunk in [5, 0, 70, n as u64 - 1, 33, 6, 4] {
            desk.say(peer(2), to, &[request(chunk, chunk)]);
            let sent = desk.drain();
            assert_eq!(desk.data(&sent), [chunk]);
            let nodes: Vec<Bin> = desk.hashes(&sent).into_iter().map(|range| Bin::exactly(range).unwrap()).collect();
            // Peaks are an extra list before the uncles.
            let uncles: Vec<u32> = nodes.iter().filter(|n| !tops.contains(n)).map(|n| n.height()).collect();
            assert!(uncles.is_sorted_by(|a, b| a > b), "{nodes:?}");
            let first_uncle = nodes.iter().position(|n| !tops.contains(n)).unwrap_or(nodes.len());
            assert!(nodes[first_uncle..].iter().all(|n| !tops.contains(n)), "peaks first: {nodes:?}");
            // Each hash once: "an INTEGRITY message for each hash the receiver misses".
            assert!(nodes.iter().all(|&node| known.insert(node, ()).is_none()), "{nodes:?}");
            // The chunk stands last, behind all hashes.
            let (_, last) = desk.parse(sent.last().unwrap());
            assert!(matches!(last.last(), Some(Message::Data { .. })));
            assert!(sent.iter().all(|d| d.bytes.len() <= 1452 || chunk_size > 1300), "a limit on datagram size");
            desk.now = desk.now + ms(30);
            desk.say(peer(2), to, &[ack(chunk, chunk)]);
            desk.drain();
        }
    }
}

// ---------------------------------------------------------------------------------------------------------------------------
// §3.1.1

/// §3.1.1 step 1, as initiator: "This HANDSHAKE message MUST contain: A channel ID, chanP, randomly chosen … the metadata of Swarm S …
/// MUST include the swarm ID … This first datagram MUST be prefixed with the (destination) channel ID 0 … it MUST NOT include
/// any heavy payload".
#[test]
fn step_1_the_first_datagram() {
    let content = seven();
    let mut desk = Desk::seed(&content);
    let mut channels = std::collections::BTreeSet::new();
    for n in 2..30 {
        desk.ep.connect(desk.now, desk.key, peer(n)).unwrap();
        let sent = desk.drain();
        assert_eq!((sent.len(), sent[0].to), (1, peer(n)));
        let (channel, messages) = desk.parse(&sent[0]);
        assert_eq!(channel, ChannelId::NONE);
        let Message::Handshake(hello) = messages[0] else { panic!("{messages:?}") };
        assert_ne!(hello.source, ChannelId::NONE);
        channels.insert(hello.source);
        let metadata = content.metadata();
        assert_eq!(hello.options.swarm_id, Some(metadata.id.as_bytes()));
        assert_eq!((hello.options.version, hello.options.min_version), (Some(1), Some(1)));
        assert_eq!(
            (hello.options.integrity, hello.options.hash, hello.options.addressing),
            (Some(1), Some(2), Some(2))
        );
        assert_eq!(hello.options.chunk_size, Some(1024));
        // §7.10: "peers who support only a proper subset of the PPSPP messages MUST signal which".
        let supported = hello.options.supported.unwrap();
        assert!(supported.contains(MessageType::Data) && !supported.contains(MessageType::PexResCert));
        assert!(messages[1..].iter().all(|m| matches!(m, Message::Have { .. })), "minor payload: {messages:?}");
    }
    assert_eq!(channels.len(), 28, "random");
    assert!(channels.iter().all(|c| c.0 >> 24 >= 64));
}

/// §3.1.1 step 2: "If any check by Peer Q fails, or if Peers P and Q are not in the same swarm, Peer Q MUST NOT send a HANDSHAKE (or any
/// other) message back". §7.2, §7.3 and RFC 6709 §4.1: ranges of versions must meet.
#[test]
fn step_2_silence_or_an_answer() {
    let content = seven();
    let other = chunks(6).metadata().id;
    let speech = Speech::new(&content);
    let good = speech.options();
    let silent = [
        Options { swarm_id: Some(other.as_bytes()), ..good },
        Options { swarm_id: None, ..good },
        Options { version: Some(2), min_version: Some(2), ..good },
        Options { version: Some(2), min_version: None, ..good },
        Options { version: Some(0), min_version: Some(0), ..good },
        Options { version: None, min_version: Some(1), ..good },
        Options { integrity: Some(0), ..good },
        Options { integrity: Some(2), ..good },
        Options { integrity: Some(3), ..good },
        Options { integrity: None, ..good },
        Options { hash: Some(0), ..good },
        Options { hash: Some(5), ..good },
        Options { hash: None, ..good },
        Options { addressing: Some(0), ..good },
        Options { addressing: Some(4), ..good },
        Options { addressing: Some(5), ..good },
        Options { addressing: None, ..good },
        Options { chunk_size: Some(1023), ..good },
        Options { chunk_size: Some(u32::MAX), ..good },
    ];
    let mut desk = Desk::seed(&content);
    for options in silent {
        desk.say(peer(2), ChannelId::NONE, &[Message::Handshake(Handshake { source: MINE, options })]);
        assert_eq!(desk.pass(s(20)), [], "{options:?}");
    }
    assert_eq!(desk.ep.stats().dropped_handshakes, silent.len() as u64);

    let answered = [
        good,
        Options { min_version: None, ..good },
        Options { version: Some(1), min_version: Some(0), ..good },
        Options { version: Some(255), min_version: Some(1), ..good },
        Options { version: Some(9), min_version: Some(0), ..good },
        Options { supported: None, ..good },
        Options { chunk_size: None, ..good },
        Options { supported: None, chunk_size: None, ..good },
        // Not for static content, and harmless.
        Options { discard_window: Some(1000), ..good },
        Options { live_signature: Some(13), ..good },
    ];
    for (n, options) in answered.into_iter().enumerate() {
        let from = peer(10 + n as u8);
        let datagram = speech.datagram(ChannelId::NONE, &[Message::Handshake(Handshake { source: MINE, options })]);
        desk.receive(from, &datagram);
        let sent = desk.drain();
        assert_eq!((sent.len(), sent[0].to), (1, from), "{options:?}");
        // "This reply datagram MUST be prefixed with the channel ID chanP sent by Peer P".
        let (channel, messages) = desk.parse(&sent[0]);
        assert_eq!(channel, MINE);
        let Message::Handshake(answer) = messages[0] else { panic!("{messages:?}") };
        assert_eq!(answer.options.version, Some(1), "the version both speak");
        assert_ne!(answer.source, MINE);
        assert!(sent[0].bytes.len() <= datagram.len(), "§12.1.1: no amplification");
        let named = options.chunk_size.is_some();
        assert_eq!((answer.options.chunk_size.is_some(), answer.options.supported.is_some()), (named, named));
    }
}

/// §3.1.1 step 2, "it MUST NOT include any heavy payload", and step 7: "Once Peer Q receives a datagram from Peer P that does contain the
/// channel ID chanQ … Peer Q MAY now also start sending messages with heavy payload to Peer P."
#[test]
fn heavy_payload_never_before_the_third_datagram() {
    let content = seven();
    let mut desk = Desk::seed(&content);
    let to = {
        let speech = desk.speech.clone();
        let first = speech.datagram(ChannelId::NONE, &[speech.hello(MINE), request(0, 6), have(3, 3)]);
        desk.receive(peer(2), &first);
        let sent = desk.pass(s(5));
        assert_eq!(sent.len(), 1);
        let (_, messages) = desk.parse(&sent[0]);
        assert!(messages[1..].iter().all(|m| matches!(m, Message::Have { .. })), "{messages:?}");
        assert!(sent[0].bytes.len() <= first.len());
        desk.answer(&sent[0]).source
    };
    assert_eq!(desk.ups(), 0);
    // Another channel ID is not chanQ: "MUST discard the datagram but SHOULD continue to process datagrams … that do meet this
    // requirement".
    desk.say(peer(2), ChannelId(to.0 ^ 1), &[request(0, 6)]);
    assert_eq!(desk.drain(), []);
    // Nor is chanQ from another address.
    desk.say(peer(3), to, &[request(0, 6)]);
    assert_eq!(desk.drain(), []);
    assert_eq!(desk.ups(), 0);
    // A keep-alive is enough of a third datagram; the REQUEST of the first is served, but for what a HAVE took back.
    desk.say(peer(2), to, &[]);
    let sent = desk.pass(ms(1));
    assert_eq!(desk.ups(), 1);
    let mut got = desk.data(&sent);
    got.sort_unstable();
    assert!(!got.is_empty() && got.iter().all(|c| [0, 1, 2, 4, 5, 6].contains(c)), "{got:?}");
}

/// §8.2: "In case of a lost datagram, … HANDSHAKE messages may be sent again": the same answer, no second state. §3.1.1 step 5.
#[test]
fn a_repeated_first_datagram_gets_the_same_answer() {
    let content = seven();
    let mut desk = Desk::seed(&content);
    let speech = desk.speech.clone();
    let first = speech.datagram(ChannelId::NONE, &[speech.hello(MINE)]);
    let mut answers = Vec::new();
    for _ in 0..5 {
        desk.receive(peer(2), &first);
        answers.extend(desk.pass(s(1)));
    }
    assert_eq!(answers.len(), 5);
    assert!(answers.iter().all(|a| *a == answers[0]));
    let to = desk.answer(&answers[0]).source;
    desk.say(peer(2), to, &[]);
    desk.drain();
    // Late ones are not answered, and open nothing.
    desk.receive(peer(2), &first);
    assert_eq!(desk.drain(), []);
    assert_eq!(desk.ups(), 1);
    assert_eq!(desk.ep.swarm(desk.key).unwrap().peers().count(), 1);
}

/// §3.1.1 step 3: "If the reply datagram is not prefixed with (destination) channel ID chanP, Peer P MUST discard the datagram."
/// Step 5: "Peer P MAY resend that datagram until Peer Q is considered dead".
#[test]
fn steps_3_and_5_the_reply() {
    let content = seven();
    let mut desk = Desk::leech(&content);
    desk.ep.connect(desk.now, desk.key, peer(2)).unwrap();
    let first = desk.drain();
    let chan_p = desk.caller(&first[0]);
    let speech = desk.speech.clone();
    for wrong in [chan_p.0 ^ 1, MINE.0, 1] {
        desk.say(peer(2), ChannelId(wrong), &[speech.hello(MINE), have(0, 6)]);
    }
    desk.say(peer(3), chan_p, &[speech.hello(MINE), have(0, 6)]);
    assert_eq!(desk.drain(), []);
    assert_eq!(desk.ups(), 0);
    let again = desk.pass(s(9));
    assert!((2..=6).contains(&again.len()), "{}", again.len());
    assert!(again.iter().all(|d| desk.caller(d) == chan_p), "the same channel each time");
    // Step 6: what is right is taken, at any later time, "Peer P can now send REQUEST … prefixed with the channel ID chanQ".
    desk.say(peer(2), chan_p, &[speech.hello(MINE), have(0, 6)]);
    let third = desk.drain();
    assert_eq!(desk.ups(), 1);
    assert!(third.iter().all(|d| desk.parse(d).0 == MINE));
    assert!(!desk.requests(&third).is_empty());
}

/// §3.1.1 step 4: "If any check by Peer P fails … MAY send a HANDSHAKE message to inform Peer Q it will cease communication. This closing
/// HANDSHAKE message MUST contain an all zeros channel ID and a list of protocol options. The list MUST either be empty or
/// contain the maximum version number Peer P supports … MUST be prefixed with the (destination) channel ID chanQ."
#[test]
fn step_4_a_reply_that_does_not_fit() {
    let content = seven();
    let other = chunks(6).metadata().id;
    let speech = Speech::new(&content);
    let good = Options { swarm_id: None, ..speech.options() };
    let wrong = [
        Options { version: Some(2), min_version: Some(2), ..good },
        Options { version: None, ..good },
        Options { swarm_id: Some(other.as_bytes()), ..good },
        Options { integrity: Some(0), ..good },
        Options { hash: Some(0), ..good },
        Options { addressing: Some(0), ..good },
        Options { chunk_size: Some(2048), ..good },
    ];
    for options in wrong {
        let mut desk = Desk::leech(&content);
        desk.ep.connect(desk.now, desk.key, peer(2)).unwrap();
        let first = desk.drain();
        let chan_p = desk.caller(&first[0]);
        desk.say(peer(2), chan_p, &[Message::Handshake(Handshake { source: MINE, options }), have(0, 6)]);
        let sent = desk.pass(s(300));
        assert_eq!(sent.len(), 1, "{options:?}");
        let (channel, messages) = desk.parse(&sent[0]);
        assert_eq!(channel, MINE);
        let Message::Handshake(closing) = messages[0] else { panic!("{messages:?}") };
        assert_eq!((closing.source, messages.len()), (ChannelId::NONE, 1));
        assert_eq!(closing.options, Options { version: closing.options.version, ..Options::default() });
        assert!([None, Some(1)].contains(&closing.options.version));
        assert_eq!(desk.down(peer(2)), Some(Reason::Incompatible));
    }
}

/// §3.1.1 step 8: "If Peer P decides it no longer wants to communicate with Peer Q, or vice versa, the peer SHOULD send a closing
/// HANDSHAKE message to the other". §8.4.
#[test]
fn step_8_closing() {
    let content = seven();
    for options in [Options::default(), Options { version: Some(1), ..Options::default() }] {
        let mut desk = Desk::seed(&content);
        let to = desk.dial(peer(2), &[request(0, 6)]);
        let closing = Message::Handshake(Handshake { source: ChannelId::NONE, options });
        desk.say(peer(2), to, &[closing]);
        assert_eq!(desk.pass(s(300)), [], "a farewell needs none");
        assert_eq!(desk.down(peer(2)), Some(Reason::Closed));
        desk.say(peer(2), to, &[request(0, 6)]);
        assert_eq!(desk.drain(), [], "the channel is gone");
    }
    // Our own: with the swarm all its channels close, each with a farewell; half-open ones get none.
    let mut desk = Desk::seed(&content);
    desk.dial(peer(2), &[]);
    desk.dial(peer(3), &[]);
    desk.open(peer(4), &[]);
    desk.drain();
    desk.ep.close(desk.now, desk.key).unwrap();
    let sent = desk.pass(s(300));
    let mut to: Vec<_> = sent.iter().map(|d| d.to).collect();
    to.sort_unstable();
    assert_eq!(to, [peer(2), peer(3)]);
    for datagram in &sent {
        assert_eq!(datagram.bytes[..9], [0x11, 0x11, 0x11, 0x11, 0, 0, 0, 0, 0]);
        assert_eq!(*datagram.bytes.last().unwrap(), 255);
    }
}

// ---------------------------------------------------------------------------------------------------------------------------
// §3, §3.2, §3.7, §3.8

/// §3: "If an invalid message is found in a datagram, the remaining messages MUST be discarded." §8.2 for unknown ones.
#[test]
fn what_follows_an_unknown_message_is_discarded() {
    let content = seven();
    let mut desk = Desk::seed(&content);
    let to = desk.dial(peer(2), &[]);
    desk.drain();
    let bytes = |m: Message<'_>| desk.speech.datagram(to, &[m])[4..].to_vec();
    let (before, after) = (bytes(request(1, 1)), bytes(request(2, 2)));
    for unknown in [14, 99, 255] {
        desk.receive(peer(2), &[&to.0.to_be_bytes()[..], &before, &[unknown], &after].concat());
        let sent = desk.drain();
        assert_eq!(desk.data(&sent), [1]);
        desk.now = desk.now + s(1);
        desk.say(peer(2), to, &[ack(1, 1)]);
        desk.drain();
    }
    assert_eq!(desk.ep.stats().dropped_unknown_message, 3);
    assert_eq!(desk.down(peer(2)), None);
}

/// §3.2: "whenever a receiving Peer P has successfully checked the integrity of a chunk, or interval of chunks, it MUST send a HAVE
/// message to all peers Q1..Qn it wants to allow to download those chunks." §4.3.1 and §4.3.2: the biggest interval, or bin.
#[test]
fn haves_name_the_biggest_interval() {
    for (addressing, expected) in [
        (ChunkAddressing::Range32, vec![r(0, 5)]),
        (ChunkAddressing::Bin32, vec![r(0, 3), r(4, 5)]),
        (ChunkAddressing::Byte64, vec![r(0, 5)]),
    ] {
        let content = Content::new(7, 7162, 1024, HashAlg::Sha256, addressing);
        let mut desk = Desk::leech(&content);
        let speech = desk.speech.clone();
        let to = desk.called(peer(2), &speech.have(r(0, 6)));
        let other = desk.dial(peer(3), &[]);
        desk.drain();
        let mut sent = Vec::new();
        for chunk in [5, 0, 3, 1, 2, 4] {
            desk.give(peer(2), to, chunk);
            sent.extend(desk.drain());
        }
        sent.extend(desk.pass(s(1)));
        let to_other: Vec<_> = sent.iter().filter(|d| d.to == peer(3)).cloned().collect();
        let mut haves = desk.haves(&to_other);
        haves.sort_unstable_by_key(|range| range.first());
        assert_eq!(haves, expected, "{addressing:?}");
        // §3.4: "a receiving peer that has successfully checked the integrity of a chunk … MUST send an ACK message".
        let acks = desk.pick(&sent, |m| match m {
            Message::Ack { range, .. } => Some(*range),
            _ => None,
        });
        assert!((0..6).all(|chunk| acks.iter().any(|range| range.contains(chunk))), "{acks:?}");
        // Who comes later is told at once.
        let late = desk.open(peer(4), &[]);
        assert_ne!((late, other), (MINE, MINE));
    }
}

/// §3.2: "A receiving peer MUST NOT send a HAVE message to peers for which the handshake procedure is still incomplete": what comes in
/// meanwhile waits. What is held at the time may go with the second datagram (§3.1.1 step 2).
#[test]
fn no_have_in_an_incomplete_handshake() {
    let content = seven();
    let mut desk = Desk::leech(&content);
    let to = desk.called(peer(2), &[have(0, 6)]);
    let half = desk.open(peer(3), &[]);
    desk.drain();
    desk.give(peer(2), to, 0);
    let sent = desk.pass(s(2));
    assert!(sent.iter().all(|d| d.to != peer(3)), "{sent:?}");
    desk.say(peer(3), half, &[]);
    let sent = desk.pass(ms(100));
    let to_third: Vec<_> = sent.iter().filter(|d| d.to == peer(3)).cloned().collect();
    assert_eq!(desk.haves(&to_third), [r(0, 0)]);
}

/// §3.7: "When Peer Q receives multiple REQUESTs from the same Peer P, Peer Q SHOULD process the REQUESTs in the order received."
#[test]
fn requests_in_order() {
    let content = seven();
    let mut desk = Desk::seed(&content);
    let to = desk.dial(peer(2), &[request(5, 6), request(1, 2)]);
    desk.say(peer(2), to, &[request(4, 4)]);
    let sent = desk.pass(ms(200));
    assert_eq!(desk.data(&sent)[..5], [5, 6, 1, 2, 4]);
}

/// §3.8: "The CANCEL message contains the specification of the chunks Peer P no longer wants to request. In addition, when Peer Q receives a
/// HAVE message for the urgent data from Peer P, Peer Q MUST also cancel the previous REQUEST(s) from Peer P."
#[test]
fn cancel_and_have_take_back() {
    let content = seven();
    for (taken_back, left) in [
        (vec![Message::Cancel { range: r(3, 6) }], vec![0, 1, 2]),
        (vec![Message::Cancel { range: r(0, 0) }, Message::Cancel { range: r(4, 4) }], vec![1, 2, 3, 5, 6]),
        (vec![have(0, 3)], vec![4, 5, 6]),
        (vec![have(0, 6)], vec![]),
        (vec![Message::Cancel { range: r(0, 6) }], vec![]),
    ] {
        let mut desk = Desk::seed(&content);
        let mut messages = vec![request(0, 6)];
        messages.extend(taken_back);
        desk.dial(peer(2), &messages);
        let sent = desk.pass(ms(200));
        let mut got = desk.data(&sent);
        got.sort_unstable();
        got.dedup();
        assert_eq!(got, left, "{messages:?}");
    }
}

/// §3.8 across both sides of a full queue: what was taken back takes no place in it.
#[test]
fn a_queue_of_cancelled_requests_is_empty() {
    let content = chunks(64);
    let mut desk = Desk::with(&content, true, |config| config.max_queued_requests = 4, |_| {});
    let to = desk.dial(peer(2), &[]);
    desk.drain();
    let singles: Vec<_> = [1, 9, 17, 25, 33].map(|chunk| request(chunk, chunk)).into();
    let mut messages = singles;
    messages.push(Message::Cancel { range: r(0, 63) });
    desk.say(peer(2), to, &messages);
    let sent = desk.pass(s(1));
    assert_eq!(desk.data(&sent), [0; 0]);
    desk.say(peer(2), to, &[request(40, 41)]);
    let sent = desk.pass(s(1));
    assert_eq!(desk.data(&sent)[..2], [40, 41]);
}

/// A HAVE counts as an ACK of who said it, and of nobody else: also where its sender is dropped in the middle of a datagram.
#[test]
fn a_have_acknowledges_for_its_sender_only() {
    let content = chunks(40);
    let mut desk = Desk::leech(&content);
    let bad = desk.called(peer(2), &[have(0, 39)]);
    desk.drain();
    for chunk in 0..16 {
        desk.give(peer(2), bad, chunk);
    }
    let taker = desk.dial(peer(3), &[request(0, 15)]);
    let sent = desk.drain();
    let sent_to_taker = desk.data(&sent).len();
    assert!(sent_to_taker > 0);
    let rate_before = desk.ep.stats().ignored_unfounded;
    // HAVE, a chunk with a wrong byte, and something behind it, so that the chunk is judged at once.
    let speech = desk.speech.clone();
    let mut data = content.chunk(20).to_vec();
    data[0] ^= 1;
    let nodes: Vec<Bin> = content.peaks().into_iter().chain(content.uncles(20)).collect();
    let hashes: Vec<_> = nodes.iter().map(|&node| (node.range(), content.hash(node))).collect();
    let mut messages = vec![have(0, 15)];
    messages.extend(hashes.iter().map(|(range, hash)| Message::Integrity { range: *range, hash: hash.as_bytes() }));
    messages.push(Message::Data { range: r(20, 20), timestamp: 0, data: &data });
    messages.push(Message::PexReq);
    let datagram = speech.datagram(bad, &messages);
    desk.receive(peer(2), &datagram);
    desk.say(peer(3), taker, &[]);
    desk.drain();
    assert_eq!(desk.down(peer(2)), Some(Reason::Corrupt));
    assert_eq!(desk.ep.stats().ignored_unfounded, rate_before);
    // Nothing of what is under way to the other was acknowledged: it is all lost in the end.
    desk.pass(s(20));
    assert!(desk.ep.stats().chunks_lost >= sent_to_taker as u64, "{:?}", desk.ep.stats());
}

// ---------------------------------------------------------------------------------------------------------------------------
// §3.9

/// §3.9: "When Peer B receives a CHOKE message from Peer A, it MUST NOT send new REQUEST messages and it cannot expect answers to any
/// outstanding ones … When Peer B is choked but receives a HAVE message from Peer A, it is not automatically unchoked and MUST
/// NOT send any new REQUEST messages."
#[test]
fn choked_by_a_peer() {
    let content = chunks(200);
    let mut desk = Desk::leech(&content);
    let to = desk.called(peer(2), &[have(0, 99)]);
    let sent = desk.drain();
    assert!(!desk.requests(&sent).is_empty());
    desk.give(peer(2), to, 0);
    desk.say(peer(2), to, &[Message::Choke]);
    let sent = desk.pass(s(3));
    assert_eq!(desk.requests(&sent), []);
    desk.say(peer(2), to, &[have(100, 199)]);
    let sent = desk.pass(s(40));
    assert_eq!(desk.requests(&sent), [], "a HAVE does not unchoke");
    desk.say(peer(2), to, &[Message::Unchoke]);
    let sent = desk.pass(s(1));
    assert!(!desk.requests(&sent).is_empty(), "new REQUESTs are welcome");
    // Another peer is not concerned.
    let other = desk.called(peer(3), &[have(0, 199)]);
    desk.say(peer(2), to, &[Message::Choke]);
    let sent = desk.pass(ms(200));
    let asked: Vec<_> = sent.iter().filter(|d| d.to == peer(3)).cloned().collect();
    assert!(!desk.requests(&asked).is_empty());
    assert_ne!(other, to);
}

/// Serves nobody while `shut`.
#[derive(Debug)]
struct Door(Arc<AtomicBool>);

impl Choker for Door {
    fn rechoke(&mut self, now: Instant, _: bool, candidates: &mut [Candidate], _: &mut dyn rand_core::Rng) -> Instant {
        let open = !self.0.load(Ordering::Relaxed);
        candidates.iter_mut().for_each(|c| c.unchoked = open);
        now + s(1)
    }
}

/// §3.9: "Peer A can send a CHOKE message to Peer B to signal it will no longer be responding to REQUEST messages from Peer B … Peer A MAY
/// send a subsequent UNCHOKE message to signal that it will respond to new REQUESTs from Peer B again (Peer A SHOULD discard old
/// requests)."
#[test]
fn choking_a_peer() {
    let content = chunks(200);
    let shut = Arc::new(AtomicBool::new(false));
    let door = Door(Arc::clone(&shut));
    let mut desk = Desk::with(&content, true, |_| {}, |swarm| swarm.choker = Box::new(door));
    let to = desk.dial(peer(2), &[]);
    desk.pass(s(1));
    shut.store(true, Ordering::Relaxed);
    let sent = desk.pass(s(10));
    assert!(desk.has(&sent, MessageType::Choke));
    desk.say(peer(2), to, &[request(0, 9)]);
    let sent = desk.pass(ms(500));
    assert_eq!(desk.data(&sent), [0; 0]);
    // §12.6.8: "discard and resend the CHOKE, assuming it got lost".
    assert!(desk.has(&sent, MessageType::Choke));
    shut.store(false, Ordering::Relaxed);
    let sent = desk.pass(s(2));
    assert!(desk.has(&sent, MessageType::Unchoke));
    assert_eq!(desk.data(&sent), [0; 0], "old requests are discarded");
    desk.say(peer(2), to, &[request(20, 21)]);
    let sent = desk.pass(ms(1));
    assert_eq!(desk.data(&sent), [20, 21]);
}

// ---------------------------------------------------------------------------------------------------------------------------
// §3.10, §8.13

/// §3.10.1: "Peer B MUST have exchanged messages with Peer Ci in the last 60 seconds to guarantee liveliness." §8.13: PEX_RESv4 between
/// private addresses only: "a peer MUST NOT send" a private address to a public one.
#[test]
fn only_fresh_private_peers_are_passed_on() {
    let content = chunks(50);
    let public: SocketAddr = "198.51.100.7:7000".parse().unwrap();
    let mut desk = Desk::with(&content, true, |config| config.pex = true, |_| {});
    let stale = desk.dial(peer(2), &[]);
    desk.dial(public, &[]);
    desk.pass(s(61));
    desk.dial(peer(3), &[]);
    desk.open(peer(4), &[]); // half open: unproven
    let asking = desk.dial(peer(5), &[]);
    desk.pass(s(1));
    let told = |desk: &Desk, sent: &[Sent], to: SocketAddr| {
        let sent: Vec<_> = sent.iter().filter(|d| d.to == to).cloned().collect();
        desk.pick(&sent, |m| match m {
            Message::PexResV4(address) => Some(SocketAddr::from(*address)),
            Message::PexResV6(address) => Some(SocketAddr::from(*address)),
            _ => None,
        })
    };
    desk.say(peer(5), asking, &[Message::PexReq]);
    let sent = desk.pass(s(1));
    assert_eq!(told(&desk, &sent, peer(5)), [peer(3)], "not the silent, the public, the unproven one, nor itself");
    // Heard from again, it is fresh.
    desk.pass(s(20));
    desk.say(peer(2), stale, &[]);
    desk.say(peer(5), asking, &[Message::PexReq]);
    let sent = desk.pass(s(1));
    let mut addresses = told(&desk, &sent, peer(5));
    addresses.sort_unstable();
    assert_eq!(addresses, [peer(2), peer(3)]);
    // A public address is told nothing.
    let channel = desk.dial("198.51.100.8:7000".parse().unwrap(), &[Message::PexReq]);
    let sent = desk.pass(s(1));
    assert_eq!(told(&desk, &sent, "198.51.100.8:7000".parse().unwrap()), []);
    assert_ne!(channel, asking);
}

/// §12.2, §12.6.10: answers that nobody asked for are not believed, nor are public addresses in them, and nobody is called without
/// the embedder's will.
#[test]
fn pex_answers() {
    let content = chunks(50);
    for (pex, asks) in [(false, false), (true, true)] {
        let mut desk = Desk::with(&content, false, |config| config.pex = pex, |_| {});
        let answer = [
            Message::PexResV4("10.0.0.77:7000".parse().unwrap()),
            Message::PexResV4("8.8.8.8:53".parse().unwrap()),
            Message::PexResV4("127.255.0.1:0".parse().unwrap()),
            Message::PexResV6("[fd00::7]:7000".parse().unwrap()),
            Message::PexResV6("[2001:db8::7]:7000".parse().unwrap()),
            Message::PexResV4("10.0.0.2:7000".parse().unwrap()), // itself, known
        ];
        let to = desk.called(peer(2), &answer);
        let sent = desk.drain();
        let mut learned = [peer(1); 8];
        assert_eq!(desk.ep.swarm_mut(desk.key).unwrap().take_learned(&mut learned), 0, "not asked for");
        assert_eq!(desk.has(&sent, MessageType::PexReq), asks);
        desk.say(peer(2), to, &answer);
        let sent = desk.pass(s(1));
        assert!(sent.iter().all(|d| d.to == peer(2)), "nobody was called");
        let n = desk.ep.swarm_mut(desk.key).unwrap().take_learned(&mut learned);
        let expected: &[SocketAddr] =
            if asks { &["10.0.0.77:7000".parse().unwrap(), "[fd00::7]:7000".parse().unwrap()] } else { &[] };
        assert_eq!(&learned[..n], expected);
    }
    // Between public addresses nobody asks.
    let mut desk = Desk::with(&content, false, |config| config.pex = true, |_| {});
    desk.called("198.51.100.8:7000".parse().unwrap(), &[]);
    let sent = desk.pass(s(60));
    assert!(!desk.has(&sent, MessageType::PexReq));
}

// ---------------------------------------------------------------------------------------------------------------------------
// §3.12

/// §3.12: keep-alives "are implemented as simple datagrams consisting of a four-byte channel ID only". "A guideline for declaring a peer
/// dead when using UDP consists of a three minute delay since that last packet has been received from that peer and at least
/// three datagrams having been sent to that peer during the same period. When a peer is declared dead, the channel to it is
/// closed, no more messages will be sent to that peer and the local administration about the peer is discarded."
#[test]
fn keep_alive_and_death() {
    let content = seven();
    let mut desk = Desk::leech(&content);
    let to = desk.dial(peer(2), &[]);
    desk.pass(s(1));
    let sent = desk.pass(s(100));
    assert!((3..=5).contains(&sent.len()), "{}", sent.len());
    assert!(sent.iter().all(|d| d.bytes == MINE.0.to_be_bytes()), "four bytes and no more");
    // A keep-alive of the peer is not answered, and keeps it alive.
    desk.say(peer(2), to, &[]);
    assert_eq!(desk.drain(), []);
    let heard = desk.now;
    let sent = desk.pass(s(179));
    assert_eq!(desk.down(peer(2)), None);
    assert!((6..=8).contains(&sent.len()), "{}", sent.len());
    desk.pass(s(30));
    assert_eq!(desk.down(peer(2)), Some(Reason::TimedOut), "after {:?}", desk.now.saturating_since(heard));
    assert_eq!(desk.pass(s(3600)), []);
    desk.say(peer(2), to, &[have(0, 6)]);
    assert_eq!(desk.drain(), [], "its channel is gone");
    assert_eq!(desk.ep.stats().dropped_unknown_channel, 1);
    assert_eq!(desk.ep.poll_timeout(), None, "nothing is left to be done");
}

// ---------------------------------------------------------------------------------------------------------------------------
// §7.10

/// §7.10: what a peer does not support it is not sent. "An example of the first 16 bits of the compressed bitmap for a peer supporting every
/// message except ACKs and PEXs is 11011001 11110000."
#[test]
fn what_is_not_supported_is_not_sent() {
    let content = chunks(20);
    let bitmap = SupportedMessages::from_bitmap(&[0b1101_1001, 0b1111_0000]);
    let mut desk = Desk::with(&content, false, |config| config.pex = true, |_| {});
    desk.ep.connect(desk.now, desk.key, peer(2)).unwrap();
    let sent = desk.drain();
    let to = desk.caller(&sent[0]);
    let speech = desk.speech.clone();
    let options = Options { supported: Some(bitmap), ..speech.options() };
    desk.say(peer(2), to, &[Message::Handshake(Handshake { source: MINE, options }), have(0, 9)]);
    let mut sent = desk.drain();
    for chunk in 0..10 {
        desk.give(peer(2), to, chunk);
        sent.extend(desk.drain());
    }
    sent.extend(desk.pass(s(60)));
    assert!(desk.has(&sent, MessageType::Request) && desk.has(&sent, MessageType::Have));
    for kind in [MessageType::Ack, MessageType::PexReq, MessageType::PexResV4, MessageType::PexResV6] {
        assert!(!desk.has(&sent, kind), "{kind:?}");
    }
}
