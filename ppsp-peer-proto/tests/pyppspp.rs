//! What PyPPSPP puts on the wire, towards our endpoint: an option that is not registered, a wrong bitmap of messages, no
//! content integrity. It is not to be talked with, but neither to be harmed by.

use std::{fs, net::SocketAddr, num::NonZeroUsize, path::Path, time::Duration};

use ppsp_core::{ChunkRange, HashAlg, Instant, MemoryStore, SwarmMetadata};
use ppsp_peer_proto::{
    Datagrams, Endpoint, EndpointConfig, Event, PeerKey, Reason, SwarmConfig, SwarmKey,
    wire::{ChannelId, Format, Message, MessageType, Reader, split_channel},
};

const CHUNK: u32 = 1024;

fn remote() -> SocketAddr {
    "192.0.2.9:7002".parse().unwrap()
}

/// The captured datagrams of its leecher and of its seeder.
fn capture() -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/pyppspp/vod-7chunks-7162B.jsonl");
    let (mut leecher, mut seeder) = (Vec::new(), Vec::new());
    for line in fs::read_to_string(path).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let bytes = unhex(line["hex"].as_str().unwrap());
        if line["dir"] == "L>S" { leecher.push(bytes) } else { seeder.push(bytes) }
    }
    (leecher, seeder)
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// The content of the capture, from its DATA.
fn content() -> Vec<u8> {
    let (_, seeder) = capture();
    let mut chunks = vec![Vec::new(); 7];
    for datagram in seeder.iter().filter(|d| d[4] == 1) {
        chunks[usize::from(datagram[8])] = datagram[21..].to_vec();
    }
    chunks.concat()
}

/// Its handshake as it would be with a hash tree: method 1 instead of 0, and the hash function that then has to be named.
fn with_integrity(handshake: &[u8]) -> Vec<u8> {
    let at = 4 + 5 + 4 + 23;
    assert_eq!(handshake[at..at + 4], [3, 0, 6, 2], "method 0, then 32-bit ranges");
    [&handshake[..at], &[3, 1, 4, 0], &handshake[at + 2..]].concat()
}

/// The datagram with another channel ID before it.
fn to(channel: ChannelId, datagram: &[u8]) -> Vec<u8> {
    [&channel.0.to_be_bytes()[..], &datagram[4..]].concat()
}

struct Ours {
    ep: Endpoint,
    key: SwarmKey,
    now: Instant,
    format: Format,
    peer: Option<PeerKey>,
    down: Option<Reason>,
}

impl Ours {
    fn open(seeding: bool) -> Self {
        let now = Instant::from_micros(1_700_000_000_000_000);
        let (full, tree) = MemoryStore::from_content(HashAlg::Sha1, CHUNK, content());
        let metadata = SwarmMetadata { hash: HashAlg::Sha1, ..SwarmMetadata::of_root(&tree.root) };
        let store = if seeding { full } else { MemoryStore::new(HashAlg::Sha1, CHUNK) };
        let mut ep = Endpoint::new(EndpointConfig::default(), [3; 32], now);
        let format = Format {
            addressing: metadata.addressing,
            chunk_size: CHUNK,
            hash_len: 20,
            signature_len: None,
            content_length: None,
        };
        let key = ep.open(now, SwarmConfig::new(metadata), Box::new(store)).unwrap();
        Self { ep, key, now, format, peer: None, down: None }
    }

    fn receive(&mut self, datagram: &[u8]) {
        self.ep.handle(self.now, [Datagrams::one(remote(), datagram)]);
    }

    fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        self.ep.handle_timeout(self.now);
        while let Some(transmit) = self.ep.poll_transmit(self.now, NonZeroUsize::MIN, &mut buffer) {
            out.push(buffer[..transmit.len].to_vec());
            assert!(out.len() < 1000, "endless output");
        }
        while let Some(event) = self.ep.poll_event() {
            match event {
                Event::PeerUp { peer, .. } => self.peer = Some(peer),
                Event::PeerDown { reason, .. } => self.down = Some(reason),
                _ => {}
            }
        }
        out
    }

    fn pass(&mut self, time: Duration) -> Vec<Vec<u8>> {
        let until = self.now + time;
        let mut out = self.drain();
        while let Some(at) = self.ep.poll_timeout().filter(|&at| at <= until) {
            self.now = at;
            out.extend(self.drain());
        }
        self.now = until;
        out
    }

    fn messages<'a>(&self, datagram: &'a [u8]) -> Vec<Message<'a>> {
        let mut reader = Reader::new(split_channel(datagram).unwrap().1);
        let mut messages = Vec::new();
        while let Some(message) = reader.next(&self.format) {
            messages.push(message.unwrap());
        }
        messages
    }

    /// Its handshake with a hash tree; returns our channel.
    fn shake(&mut self) -> ChannelId {
        self.receive(&with_integrity(&capture().0[0]));
        let answers = self.drain();
        assert_eq!(answers.len(), 1);
        match self.messages(&answers[0])[0] {
            Message::Handshake(hello) => hello.source,
            other => panic!("{other:?}"),
        }
    }

    fn chunks(&self, datagrams: &[Vec<u8>]) -> Vec<u64> {
        let data = |m: &Message<'_>| match m {
            Message::Data { range, .. } => Some(range.first()),
            _ => None,
        };
        datagrams.iter().flat_map(|d| self.messages(d).iter().filter_map(data).collect::<Vec<_>>()).collect()
    }
}

/// "No integrity protection" (method 0, which erratum 4880 removes) does not fit the swarm: RFC 7574 §3.1.1 step 2, no answer.
#[test]
fn no_integrity_no_answer() {
    let (leecher, seeder) = capture();
    let mut ours = Ours::open(true);
    for datagram in [&leecher[0], &seeder[0]] {
        for _ in 0..3 {
            ours.receive(&to(ChannelId::NONE, datagram));
            assert_eq!(ours.drain(), Vec::<Vec<u8>>::new());
        }
    }
    assert_eq!(ours.ep.stats().dropped_handshakes, 6);
    assert_eq!(ours.pass(Duration::from_secs(60)).len(), 0);
}

/// Option 10 has no length and no meaning: what stands before it counts, what follows does not.
#[test]
fn an_unregistered_option_ends_the_handshake_and_nothing_more() {
    let mut ours = Ours::open(true);
    let hello = with_integrity(&capture().0[0]);
    ours.receive(&hello);
    let answers = ours.drain();
    assert_eq!(answers.len(), 1);
    assert!(answers[0].len() <= hello.len());
    let messages = ours.messages(&answers[0]);
    let Message::Handshake(answer) = messages[0] else { panic!("{messages:?}") };
    assert_eq!(answer.options.chunk_size, Some(CHUNK), "it named one, so do we");
    assert!(messages.contains(&Message::Have { range: ChunkRange::new(0, 6) }));

    // The same with each option that nobody knows, and with bytes behind it that look like something.
    let cut = hello.len() - 18;
    assert_eq!(hello[cut], 10);
    for option in 10..=254 {
        let mut ours = Ours::open(true);
        for tail in [&[][..], &[0; 40], &[255, 8, 0, 0, 0, 0, 0, 0, 0, 6]] {
            ours.receive(&[&hello[..cut], &[option], tail].concat());
            assert_eq!(ours.drain().len(), 1, "option {option}");
        }
        assert_eq!(ours.ep.stats().dropped_unknown_message, 3);
    }
}

/// It fetches everything; it never acknowledges the last chunks, but says HAVE of everything in the end. That counts.
#[test]
fn have_counts_as_ack() {
    let mut ours = Ours::open(true);
    let id = ours.shake();
    let (leecher, _) = capture();
    ours.receive(&to(id, &leecher[1]));
    let sent = ours.pass(Duration::from_millis(1));
    let first = ours.chunks(&sent);
    assert!(!first.is_empty() && first.len() <= 7, "{first:?}");
    let mut got = first;
    let mut turns = 0;
    // ACK 0..4 and 5, as captured; what follows an ACK it would not read, and we may send it all the same.
    for datagram in &leecher[2..4] {
        ours.receive(&to(id, datagram));
        let sent = ours.pass(Duration::from_millis(5));
        got.extend(ours.chunks(&sent));
        turns += 1;
    }
    assert_eq!(turns, 2);
    got.sort_unstable();
    got.dedup();
    assert_eq!(got, [0, 1, 2, 3, 4, 5, 6]);
    ours.receive(&to(id, &leecher[4]));
    assert_eq!(ours.messages(&leecher[4]), [Message::Have { range: ChunkRange::new(0, 6) }]);
    let after = ours.pass(Duration::from_secs(5));
    assert_eq!(ours.chunks(&after), [0; 0]);
    assert_eq!(ours.ep.stats().chunks_lost, 0, "all arrived: {:?}", ours.ep.stats());
    // RFC 7574 §8.4: its closing HANDSHAKE carries its versions.
    ours.receive(&to(id, &leecher[5]));
    assert_eq!(ours.drain().len(), 0);
    assert_eq!(ours.down, Some(Reason::Closed));
}

/// RFC 7574 §3.8: "the HAVE message acts as an implicit CANCEL".
#[test]
fn have_counts_as_cancel() {
    let mut ours = Ours::open(true);
    let id = ours.shake();
    let (leecher, _) = capture();
    // REQUEST 0..6 and HAVE 0..6 in one datagram.
    ours.receive(&[&to(id, &leecher[1])[..], &leecher[4][4..]].concat());
    let sent = ours.pass(Duration::from_secs(5));
    assert_eq!(ours.chunks(&sent), [0; 0]);
}

/// Its bitmap claims that it does not understand REQUEST, CANCEL, CHOKE and UNCHOKE: it is not sent any (§7.10).
#[test]
fn the_wrong_bitmap_is_believed() {
    let mut ours = Ours::open(false);
    let id = ours.shake();
    let (leecher, seeder) = capture();
    ours.receive(&to(id, &leecher[4])); // HAVE of everything
    let mut sent = ours.pass(Duration::from_secs(2));
    // DATA that nobody asked for and no hash can prove.
    for datagram in seeder.iter().filter(|d| d[4] == 1) {
        ours.receive(&to(id, datagram));
        sent.extend(ours.pass(Duration::from_millis(10)));
    }
    sent.extend(ours.pass(Duration::from_secs(60)));
    for datagram in &sent {
        for message in ours.messages(datagram) {
            let kind = message.message_type();
            assert!(kind <= MessageType::SignedIntegrity, "{message:?}");
        }
    }
    assert!(sent.len() < 8, "keep-alives: {}", sent.len());
    assert!(ours.ep.swarm(ours.key).unwrap().held().is_empty());
    assert_eq!(ours.ep.stats().dropped_unrequested, 8);
}

/// What both sides sent, to either side of ours, in and out of order: all is bounded and nothing is believed that is not
/// proven.
#[test]
fn captured_datagrams_never_upset_us() {
    let (leecher, seeder) = capture();
    for seeding in [true, false] {
        let mut ours = Ours::open(seeding);
        let id = ours.shake();
        let mut out = 0;
        for datagram in leecher.iter().chain(&seeder).chain(seeder.iter().rev()).chain(&leecher[1..5]) {
            for channel in [id, ChannelId::NONE] {
                ours.receive(&to(channel, datagram));
                out += ours.pass(Duration::from_millis(20)).len();
            }
        }
        assert!(out < 80, "{out} datagrams");
        assert_eq!(ours.ep.swarm(ours.key).unwrap().held().len(), if seeding { 7 } else { 0 });
        assert_ne!(ours.down, Some(Reason::Corrupt), "without hashes nobody is to blame");
    }
}

/// A HAVE of 2^32 chunks in 9 bytes, which costs PyPPSPP 666 MB, is one interval to us; thousands of them too.
#[test]
fn a_huge_have_is_one_interval() {
    for seeding in [true, false] {
        let mut ours = Ours::open(seeding);
        let id = ours.shake();
        let huge = [&id.0.to_be_bytes()[..], &[3, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]].concat();
        for _ in 0..2000 {
            ours.receive(&huge);
        }
        ours.drain();
        let has = ours.ep.peer(ours.peer.unwrap()).unwrap().has_chunks;
        assert_eq!(has, if seeding { 7 } else { 1 << 32 });
        assert_eq!(ours.ep.stats().dropped_over_limit, 0);
        assert!(ours.pass(Duration::from_secs(20)).len() < 20);
    }
}
