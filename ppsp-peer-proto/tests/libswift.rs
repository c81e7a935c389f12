//! Interoperation with libswift, the implementation by the authors of RFC 7574, which speaks a draft of it.
//!
//! Two things stand in for it: datagrams captured between two of its own peers, and [`Libswift`], a model of what it does
//! with ours. The model has its own parser and hash tree, written after libswift's behaviour and not after our codec.

use std::{collections::BTreeMap, fs, net::SocketAddr, num::NonZeroUsize, path::Path, time::Duration};

use ppsp_core::{
    Bin, ChunkAddressing, ChunkRange, Claim, Hash, HashAlg, Instant, MemoryStore, RangeSet, SwarmMetadata, WindowStore,
    hash_chunks, hash_pairs, live::Signing, peak_of, root_from_peaks, signature::PublicKey,
};
use ppsp_peer_proto::{Datagrams, Endpoint, EndpointConfig, Event, LiveOptions, Reason, SwarmConfig, SwarmKey};

const CHUNK: usize = 1024;
const BOTH: [ChunkAddressing; 2] = [ChunkAddressing::Range32, ChunkAddressing::Bin32];

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn vector(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/libswift").join(name)).unwrap()
}

/// The captured datagrams, with the side that sent each.
fn capture(name: &str) -> Vec<(Side, Vec<u8>)> {
    let text = String::from_utf8(vector(name)).unwrap();
    let datagram = |line: &str| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let side = if line["dir"] == "leecher->seeder" { Side::Leecher } else { Side::Seeder };
        (side, unhex(line["hex"].as_str().unwrap()))
    };
    text.lines().map(datagram).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Side {
    Leecher,
    Seeder,
}

/// Content, its capture, and libswift's channel IDs in it.
#[derive(Clone, Copy, Debug)]
struct Case {
    content: &'static str,
    capture: &'static str,
    chunks: u64,
}

const CASES: [Case; 2] = [
    Case { content: "hello.bin", capture: "v1_sha1_chunk32_hello.jsonl", chunks: 1 },
    Case { content: "f7162.bin", capture: "v1_sha1_chunk32_f7162.jsonl", chunks: 7 },
];

impl Case {
    fn content(&self) -> Vec<u8> {
        vector(self.content)
    }

    fn capture(&self) -> Vec<(Side, Vec<u8>)> {
        capture(self.capture)
    }
}

/// Our side: an endpoint with one swarm.
#[derive(Debug)]
struct Ours {
    ep: Endpoint,
    key: SwarmKey,
    now: Instant,
    events: Vec<Event>,
}

impl Ours {
    fn open(metadata: &SwarmMetadata, store: MemoryStore) -> Self {
        let now = Instant::from_micros(1_700_000_000_000_000);
        let mut ep = Endpoint::new(EndpointConfig::default(), [9; 32], now);
        let key = ep.open(now, SwarmConfig::new(metadata.clone()), Box::new(store)).unwrap();
        Self { ep, key, now, events: Vec::new() }
    }

    fn seed(content: &[u8], addressing: ChunkAddressing) -> Self {
        let (store, tree) = MemoryStore::from_content(HashAlg::Sha1, CHUNK as u32, content.to_vec());
        Self::open(&metadata(&tree.root, addressing), store)
    }

    fn leech(root: &Hash, addressing: ChunkAddressing) -> Self {
        Self::open(&metadata(root, addressing), MemoryStore::new(HashAlg::Sha1, CHUNK as u32))
    }

    fn connect(&mut self) {
        self.ep.connect(self.now, self.key, theirs()).unwrap();
    }

    fn receive(&mut self, datagram: &[u8]) {
        self.ep.handle(self.now, [Datagrams::one(theirs(), datagram)]);
    }

    /// All datagrams that wait to be sent.
    fn drain(&mut self) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        self.ep.handle_timeout(self.now);
        while let Some(transmit) = self.ep.poll_transmit(self.now, NonZeroUsize::new(8).unwrap(), &mut buffer) {
            assert_eq!(transmit.destination, theirs());
            let stride = transmit.segment_size.map_or(transmit.len, NonZeroUsize::get);
            out.extend(buffer[..transmit.len].chunks(stride).map(<[u8]>::to_vec));
        }
        while let Some(event) = self.ep.poll_event() {
            self.events.push(event);
        }
        assert!(self.ep.poll_timeout().is_none_or(|at| at > self.now), "nothing is due any more");
        out
    }

    /// Lets time pass, and sends what is due meanwhile.
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

    fn is_complete(&self) -> bool {
        self.ep.swarm(self.key).unwrap().is_complete()
    }

    fn down(&self) -> Option<Reason> {
        self.events.iter().find_map(|event| match event {
            Event::PeerDown { reason, .. } => Some(*reason),
            _ => None,
        })
    }

    /// The content, read from the store.
    fn content(&mut self) -> Vec<u8> {
        let mut store = self.ep.close(self.now, self.key).unwrap();
        let size = store.held(&mut |_| {}).unwrap();
        let mut content = Vec::new();
        for chunk in 0..size.chunks.unwrap() {
            let mut out = [0; CHUNK];
            if let ppsp_core::Read::Ready(len) = store.read_chunk(chunk, &mut out).unwrap() {
                content.extend_from_slice(&out[..len]);
            }
        }
        content
    }
}

fn theirs() -> SocketAddr {
    "192.0.2.7:7001".parse().unwrap()
}

fn metadata(root: &Hash, addressing: ChunkAddressing) -> SwarmMetadata {
    SwarmMetadata { hash: HashAlg::Sha1, addressing, ..SwarmMetadata::of_root(root) }
}

fn root_of(content: &[u8]) -> Hash {
    MemoryStore::from_content(HashAlg::Sha1, CHUNK as u32, content.to_vec()).1.root
}

fn channel(datagram: &[u8]) -> u32 {
    u32::from_be_bytes(datagram[..4].try_into().unwrap())
}

/// The channel ID that a HANDSHAKE names.
fn source(datagram: &[u8]) -> u32 {
    assert_eq!(datagram[4], 0, "a HANDSHAKE");
    u32::from_be_bytes(datagram[5..9].try_into().unwrap())
}

/// The datagram with another channel ID before it, and where it is a HANDSHAKE with another source in it.
fn patched(datagram: &[u8], to: u32, source: Option<u32>) -> Vec<u8> {
    let mut datagram = datagram.to_vec();
    datagram[..4].copy_from_slice(&to.to_be_bytes());
    if let Some(source) = source {
        datagram[5..9].copy_from_slice(&source.to_be_bytes());
    }
    datagram
}

/// A message as libswift reads it.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Msg {
    Hello {
        source: u32,
        options: Vec<(u8, Vec<u8>)>,
    },
    Data {
        chunk: u64,
        data: Vec<u8>,
    },
    Ack {
        range: ChunkRange,
    },
    Have {
        range: ChunkRange,
    },
    Integrity {
        range: ChunkRange,
        hash: Hash,
    },
    Request {
        range: ChunkRange,
    },
    PexReq,
    /// CANCEL, CHOKE, UNCHOKE: read and ignored.
    Ignored,
}

/// libswift's reading of a datagram's messages. `None`: it drops the datagram.
fn read(payload: &[u8], addressing: ChunkAddressing) -> Option<Vec<Msg>> {
    let mut at = payload;
    let mut messages = Vec::new();
    while !at.is_empty() {
        let kind = take(&mut at, 1)?[0];
        messages.push(match kind {
            0 => {
                let source = u32::from_be_bytes(take(&mut at, 4)?.try_into().unwrap());
                let options = read_options(&mut at)?;
                Msg::Hello { source, options }
            }
            1 => {
                let range = read_range(&mut at, addressing)?;
                assert_eq!(range.len(), 1);
                take(&mut at, 8)?;
                let len = at.len().min(CHUNK);
                Msg::Data { chunk: range.first(), data: take(&mut at, len)?.to_vec() }
            }
            2 => {
                let range = read_range(&mut at, addressing)?;
                take(&mut at, 8)?;
                Msg::Ack { range }
            }
            3 => Msg::Have { range: read_range(&mut at, addressing)? },
            4 => {
                let range = read_range(&mut at, addressing)?;
                Msg::Integrity { range, hash: Hash::from_bytes(take(&mut at, 20)?).unwrap() }
            }
            6 => Msg::PexReq,
            8 => Msg::Request { range: read_range(&mut at, addressing)? },
            9 => {
                read_range(&mut at, addressing)?;
                Msg::Ignored
            }
            10 | 11 => Msg::Ignored,
            _ => return None,
        });
    }
    Some(messages)
}

/// Options 0 to 6 are read, 8 is read wrongly: what is skipped is the length of the swarm ID. Any other drops the
/// datagram.
fn read_options(at: &mut &[u8]) -> Option<Vec<(u8, Vec<u8>)>> {
    let mut options: Vec<(u8, Vec<u8>)> = Vec::new();
    loop {
        let code = take(at, 1)?[0];
        let value = match code {
            0 | 1 | 3 | 4 | 5 | 6 => take(at, 1)?.to_vec(),
            2 => {
                let len = take(at, 2)?;
                let len = usize::from(len[0]) << 8 | usize::from(len[1]);
                take(at, len)?.to_vec()
            }
            8 => {
                take(at, 1)?;
                let skipped = options.iter().find(|o| o.0 == 2).map_or(0, |o| o.1.len());
                let skipped = skipped.min(at.len());
                take(at, skipped)?;
                if at.is_empty() {
                    return Some(options); // and all that followed is lost
                }
                continue;
            }
            255 => return Some(options),
            _ => return None,
        };
        options.push((code, value));
    }
}

fn take<'a>(at: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = at.split_at_checked(len)?;
    *at = rest;
    Some(taken)
}

fn read_range(at: &mut &[u8], addressing: ChunkAddressing) -> Option<ChunkRange> {
    let first = u32::from_be_bytes(take(at, 4)?.try_into().unwrap());
    match addressing {
        ChunkAddressing::Bin32 => Bin::new(first.into()).map(Bin::range),
        _ => {
            let last = u32::from_be_bytes(take(at, 4)?.try_into().unwrap());
            ChunkRange::new(first.into(), last.into())
        }
    }
}

fn write_range(out: &mut Vec<u8>, range: ChunkRange, addressing: ChunkAddressing) {
    match addressing {
        ChunkAddressing::Bin32 => {
            let bin = Bin::exactly(range).expect("libswift names bins").number();
            out.extend_from_slice(&(bin as u32).to_be_bytes());
        }
        _ => {
            out.extend_from_slice(&(range.first() as u32).to_be_bytes());
            out.extend_from_slice(&(range.last() as u32).to_be_bytes());
        }
    }
}

/// libswift's tree: hashes by node, where those above what is held are verified.
#[derive(Debug)]
struct Tree {
    root: Hash,
    peaks: Vec<Claim>,
    chunks: Option<u64>,
    hashes: BTreeMap<Bin, Hash>,
    held: RangeSet,
    data: BTreeMap<u64, Vec<u8>>,
}

impl Tree {
    fn empty(root: Hash) -> Self {
        Self {
            root,
            peaks: Vec::new(),
            chunks: None,
            hashes: BTreeMap::new(),
            held: RangeSet::new(),
            data: BTreeMap::new(),
        }
    }

    /// As long as the size is unknown every hash is taken for a peak.
    fn offer_hash(&mut self, node: Bin, hash: Hash) -> bool {
        let Some(chunks) = self.chunks else {
            if self.peaks.last().is_some_and(|last| {
                node.height() >= last.node.height() || node.first_chunk() != last.node.last_chunk() + 1
            }) {
                self.peaks.clear();
            }
            self.peaks.push(Claim { node, hash });
            if let Some((_, chunks)) =
                root_from_peaks(HashAlg::Sha1, &self.peaks).filter(|(root, _)| *root == self.root)
            {
                self.chunks = Some(chunks);
                self.hashes.extend(self.peaks.iter().map(|c| (c.node, c.hash)));
            }
            return false;
        };
        let Some(peak) = peak_of(node.first_chunk(), chunks) else { return false };
        if node == peak {
            return self.hashes.get(&node) == Some(&hash);
        }
        if node.parent().is_some_and(|parent| self.held.covers(parent.range())) {
            return self.hashes.get(&node) == Some(&hash);
        }
        self.hashes.insert(node, hash);
        if !node.is_leaf() {
            return false;
        }
        // Climbs to the peak, or to a node that is verified because something below it is held.
        let (mut at, mut up) = (node, hash);
        while at != peak && !self.held.intersects(at.range()) {
            self.hashes.insert(at, up);
            let (left, right) = at.parent().and_then(Bin::children).unwrap();
            let Some(pair) = self.hashes.get(&left).zip(self.hashes.get(&right)) else { break };
            let mut out = [up];
            hash_pairs(HashAlg::Sha1, &[[*pair.0, *pair.1]], &mut out);
            up = out[0];
            at = at.parent().unwrap();
        }
        self.hashes.get(&at) == Some(&up) && (at == peak || self.held.intersects(at.range()))
    }

    fn offer_data(&mut self, chunk: u64, data: &[u8]) -> bool {
        if self.chunks.is_none_or(|chunks| chunk >= chunks) {
            return false;
        }
        if self.held.contains(chunk) {
            return true;
        }
        let mut hash = [self.root];
        hash_chunks(HashAlg::Sha1, &[data], &mut hash);
        let leaf = Bin::leaf(chunk).unwrap();
        // A leaf whose parent's subtree holds something must match what came for it.
        if !self.offer_hash(leaf, hash[0]) && self.hashes.get(&leaf) != Some(&hash[0]) {
            return false;
        }
        self.held.insert(ChunkRange::single(chunk));
        self.data.insert(chunk, data.to_vec());
        true
    }

    /// The biggest complete bin around a chunk.
    fn cover(&self, chunk: u64) -> ChunkRange {
        let mut bin = Bin::leaf(chunk).unwrap();
        while let Some(parent) = bin.parent().filter(|p| self.held.covers(p.range())) {
            bin = parent;
        }
        bin.range()
    }

    fn is_complete(&self) -> bool {
        self.chunks.is_some_and(|n| self.held.len() == n)
    }
}

/// A model of libswift with one channel.
#[derive(Debug)]
struct Libswift {
    addressing: ChunkAddressing,
    tree: Tree,
    initiator: bool,
    id: u32,
    /// Our endpoint's channel, once known.
    peer: Option<u32>,
    peer_has: RangeSet,
    asked: RangeSet,
    last_move: Duration,
    hellos: u32,
    closed: bool,
    /// What is wrong with what came, as libswift sees it.
    complaints: Vec<String>,
    out: Vec<Vec<u8>>,
}

impl Libswift {
    fn leech(root: Hash, addressing: ChunkAddressing) -> Self {
        Self {
            addressing,
            tree: Tree::empty(root),
            initiator: true,
            id: 0x52d9_3826,
            peer: None,
            peer_has: RangeSet::new(),
            asked: RangeSet::new(),
            last_move: Duration::ZERO,
            hellos: 0,
            closed: false,
            complaints: Vec::new(),
            out: Vec::new(),
        }
    }

    fn seed(content: &[u8], addressing: ChunkAddressing) -> Self {
        let (mut store, tree) = MemoryStore::from_content(HashAlg::Sha1, CHUNK as u32, content.to_vec());
        let mut this = Self { initiator: false, id: 0x52d8_ebaa, ..Self::leech(tree.root, addressing) };
        this.tree.chunks = Some(tree.chunks);
        this.tree.peaks = tree.peaks.clone();
        this.tree.held.insert(ChunkRange::with_len(0, tree.chunks).unwrap());
        this.tree.data = content.chunks(CHUNK).map(<[u8]>::to_vec).enumerate().map(|(i, c)| (i as u64, c)).collect();
        for node in (0..4 * tree.chunks).filter_map(Bin::new) {
            if let Some(hash) = ppsp_core::ContentStore::read_hash(&mut store, node).unwrap() {
                this.tree.hashes.insert(node, hash);
            }
        }
        this
    }

    fn say(&mut self, messages: &[u8]) {
        let mut datagram = self.peer.unwrap_or(0).to_be_bytes().to_vec();
        datagram.extend_from_slice(messages);
        self.out.push(datagram);
    }

    fn options(&self, with_swarm: bool) -> Vec<u8> {
        let mut out = vec![0];
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&[0, 1, 1, 1]);
        if with_swarm {
            out.extend_from_slice(&[2, 0, 20]);
            out.extend_from_slice(self.tree.root.as_bytes());
        }
        let addressing = if self.addressing == ChunkAddressing::Bin32 { 0 } else { 2 };
        out.extend_from_slice(&[3, 1, 4, 0, 6, addressing, 255]);
        out
    }

    fn call(&mut self, now: Duration) {
        self.hellos += 1;
        self.last_move = now;
        let hello = self.options(true);
        self.say(&hello);
    }

    fn receive(&mut self, now: Duration, datagram: &[u8]) {
        if self.closed {
            return;
        }
        let Some((id, payload)) = datagram.split_first_chunk() else { return };
        let to = u32::from_be_bytes(*id);
        if to != 0 && to != self.id {
            return;
        }
        let Some(messages) = read(payload, self.addressing) else {
            if to != 0 {
                self.complaints.push(format!("dropped: {payload:02x?}"));
            }
            return;
        };
        if let Some(Msg::Hello { source, options }) = messages.first().cloned() {
            if source == 0 {
                self.closed = true;
                return;
            }
            let option = |code| options.iter().find(|o| o.0 == code).map(|o| o.1.as_slice());
            let addressing: &[u8] = if self.addressing == ChunkAddressing::Bin32 { &[0] } else { &[2] };
            let fits = option(0) == Some(&[1])
                && option(3) == Some(&[1])
                && option(4).is_none_or(|hash| hash == [0])
                && option(6).is_none_or(|method| method == addressing);
            if !fits {
                // What it does not support is answered by a closing handshake to channel 0.
                self.out.push(vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 255]);
                return;
            }
            if to == 0 && (self.initiator || option(2) != Some(self.tree.root.as_bytes())) {
                return;
            }
            let first = self.peer.replace(source) != Some(source);
            if to == 0 {
                let mut answer = self.options(false);
                for peak in Bin::cover(ChunkRange::with_len(0, self.tree.chunks.unwrap()).unwrap()) {
                    answer.push(3);
                    write_range(&mut answer, peak.range(), self.addressing);
                }
                self.say(&answer);
            } else if first && self.initiator {
                self.last_move = now;
            }
        }
        let datas = messages.iter().filter(|m| matches!(m, Msg::Data { .. })).count();
        let mut seen = 0;
        for message in messages {
            match message {
                Msg::Hello { .. } | Msg::Ignored | Msg::PexReq => {}
                Msg::Have { range } | Msg::Ack { range } => {
                    if Bin::exactly(range).is_none() && self.initiator {
                        self.complaints.push(format!("not aligned: {range:?}"));
                    }
                    self.peer_has.insert(range);
                }
                Msg::Integrity { range, hash } => match Bin::exactly(range) {
                    Some(node) => {
                        self.tree.offer_hash(node, hash);
                    }
                    None => {
                        self.closed = true;
                        self.complaints.push(format!("INTEGRITY of no node: {range:?}"));
                        return;
                    }
                },
                Msg::Data { chunk, data } => {
                    seen += 1;
                    // It sees only the last DATA of a datagram.
                    if seen < datas {
                        self.complaints.push(format!("chunk {chunk} stands before another"));
                        continue;
                    }
                    if self.tree.offer_data(chunk, &data) {
                        self.on_chunk(now, chunk);
                    } else {
                        self.complaints.push(format!("chunk {chunk} does not verify"));
                    }
                }
                Msg::Request { range } => self.serve(range),
            }
        }
        if self.initiator && self.asked.is_empty() && !self.tree.is_complete() {
            self.request(now, &[]);
        }
    }

    /// HAVE of the biggest bin, ACK of the chunk, the next REQUEST: in this order, in one datagram.
    fn on_chunk(&mut self, now: Duration, chunk: u64) {
        self.asked.remove(ChunkRange::single(chunk));
        self.last_move = now;
        let mut out = vec![3];
        write_range(&mut out, self.tree.cover(chunk), self.addressing);
        out.push(2);
        write_range(&mut out, ChunkRange::single(chunk), self.addressing);
        out.extend_from_slice(&26_u64.to_be_bytes());
        if self.asked.is_empty() && !self.tree.is_complete() {
            self.request(now, &out);
        } else {
            self.say(&out);
        }
    }

    /// First chunk 0, then the last one, then bins from the end, as in the capture.
    fn request(&mut self, now: Duration, before: &[u8]) {
        self.last_move = now;
        let mut out = before.to_vec();
        out.push(8);
        let range = match self.tree.chunks {
            None => ChunkRange::single(0),
            Some(chunks) => {
                let last = (0..chunks).rev().find(|&c| !self.tree.held.contains(c)).unwrap();
                let pair = Bin::leaf(last).and_then(Bin::parent).map(Bin::range).unwrap();
                let whole = pair.last() < chunks && !self.tree.held.intersects(pair);
                if whole { pair } else { ChunkRange::single(last) }
            }
        };
        write_range(&mut out, range, self.addressing);
        if self.tree.chunks.is_none() {
            out.push(6);
        }
        self.asked.insert(range);
        self.say(&out);
    }

    /// One DATA per datagram, peaks before the first one, then the uncles that the peer misses.
    fn serve(&mut self, range: ChunkRange) {
        let chunks = self.tree.chunks.unwrap();
        for chunk in range.chunks().take_while(|&c| c < chunks) {
            let peak = peak_of(chunk, chunks).unwrap();
            let mut nodes = Vec::new();
            let mut node = Bin::leaf(chunk).unwrap();
            while node != peak && !self.peer_has.intersects(node.parent().unwrap().range()) {
                nodes.push(node.sibling().unwrap());
                node = node.parent().unwrap();
            }
            nodes.reverse();
            let peaks = self.tree.peaks.iter().map(|c| c.node).filter(|_| self.peer_has.is_empty());
            let mut out = Vec::new();
            for node in peaks.chain(nodes) {
                out.push(4);
                write_range(&mut out, node.range(), self.addressing);
                out.extend_from_slice(self.tree.hashes[&node].as_bytes());
            }
            out.push(1);
            write_range(&mut out, ChunkRange::single(chunk), self.addressing);
            out.extend_from_slice(&0x0006_60da_52d9_3c53_u64.to_be_bytes());
            out.extend_from_slice(&self.tree.data[&chunk]);
            self.say(&out);
        }
    }

    /// Asks again after a second without progress; calls again, three times at most: then it tries another protocol.
    fn tick(&mut self, now: Duration) {
        if !self.initiator || self.closed || now < self.last_move + ms(1000) {
            return;
        }
        if self.peer.is_none() {
            if self.hellos < 3 {
                self.call(now);
            }
        } else if !self.tree.is_complete() {
            self.asked.clear();
            self.request(now, &[]);
        }
    }
}

/// A line between both, 10 ms each way, that may lose one datagram.
struct Play {
    ours: Ours,
    theirs: Libswift,
    time: Duration,
    line: Vec<(Duration, bool, Vec<u8>)>,
    /// Number of the datagram that is lost.
    lost: Option<usize>,
    sent: usize,
    /// All datagrams, with who sent them: `true` for ours.
    log: Vec<(bool, Vec<u8>)>,
}

impl Play {
    fn new(ours: Ours, theirs: Libswift, lost: Option<usize>) -> Self {
        Self { ours, theirs, time: Duration::ZERO, line: Vec::new(), lost, sent: 0, log: Vec::new() }
    }

    fn run(&mut self, limit: Duration) -> bool {
        let start = self.ours.now;
        while self.time < limit {
            self.ours.now = start + self.time;
            self.theirs.tick(self.time);
            let out = self.ours.drain().into_iter().map(|d| (true, d));
            for (ours, datagram) in out.chain(self.theirs.out.drain(..).map(|d| (false, d))) {
                self.log.push((ours, datagram.clone()));
                if self.lost != Some(self.sent) {
                    self.line.push((self.time + ms(10), ours, datagram));
                }
                self.sent += 1;
            }
            if self.ours.is_complete() && self.theirs.tree.is_complete() && self.line.is_empty() {
                return true;
            }
            self.time += ms(1);
            let (due, wait) = std::mem::take(&mut self.line).into_iter().partition(|d| d.0 <= self.time);
            self.line = wait;
            self.ours.now = start + self.time;
            for (_, ours, datagram) in due {
                match ours {
                    true => self.theirs.receive(self.time, &datagram),
                    false => self.ours.receive(&datagram),
                }
            }
        }
        false
    }

    fn our_datagrams(&self) -> impl Iterator<Item = &Vec<u8>> {
        self.log.iter().filter(|d| d.0).map(|d| &d.1)
    }
}

fn seed_play(case: &Case, addressing: ChunkAddressing, lost: Option<usize>) -> Play {
    let content = case.content();
    let mut theirs = Libswift::leech(root_of(&content), addressing);
    theirs.call(Duration::ZERO);
    Play::new(Ours::seed(&content, addressing), theirs, lost)
}

fn leech_play(case: &Case, addressing: ChunkAddressing, lost: Option<usize>) -> Play {
    let content = case.content();
    let mut ours = Ours::leech(&root_of(&content), addressing);
    ours.connect();
    Play::new(ours, Libswift::seed(&content, addressing), lost)
}

/// The model says the same as the real one did: our reading of its captures is sound.
#[test]
fn the_model_replays_the_capture() {
    for case in CASES {
        let capture = case.capture();
        let content = case.content();
        let hello = &capture[0].1;
        let mut seeder = Libswift::seed(&content, ChunkAddressing::Range32);
        seeder.id = source(&capture[1].1);
        let mut leecher = Libswift::leech(root_of(&content), ChunkAddressing::Range32);
        leecher.id = source(hello);
        leecher.call(Duration::ZERO);
        assert_eq!(leecher.out.remove(0), *hello);
        seeder.receive(Duration::ZERO, hello);
        assert_eq!(seeder.out.remove(0), capture[1].1);
        leecher.receive(Duration::ZERO, &capture[1].1);
        assert_eq!(leecher.out.remove(0), capture[2].1, "REQUEST of chunk 0, PEX_REQ");
        // Its own seeder's datagrams satisfy the model.
        for (_, datagram) in capture[3..].iter().filter(|d| d.0 == Side::Seeder) {
            leecher.receive(Duration::ZERO, datagram);
        }
        assert!(leecher.tree.is_complete());
        assert_eq!(leecher.complaints, [""; 0]);
        seeder.receive(Duration::ZERO, &capture[2].1);
        assert_eq!(same_time(&seeder.out[0]), same_time(&capture[3].1), "peaks, uncles, DATA");
    }
}

/// The datagram without HAVEs before the first INTEGRITY; `None` where there is none.
fn behind_haves(datagram: &[u8], addressing: ChunkAddressing) -> Option<Vec<u8>> {
    let have = if addressing == ChunkAddressing::Bin32 { 5 } else { 9 };
    let mut at = 4;
    while datagram.get(at) == Some(&3) {
        at += have;
    }
    (datagram.get(at) == Some(&4)).then(|| [&datagram[..4], &datagram[at..]].concat())
}

/// The datagram with the timestamps of DATA of chunk 0 blanked: they stand before the chunk.
fn same_time(datagram: &[u8]) -> Vec<u8> {
    let mut datagram = datagram.to_vec();
    let mut at = 4;
    while datagram[at] == 4 {
        at += 1 + 8 + 20;
    }
    assert_eq!(datagram[at], 1, "DATA");
    datagram[at + 9..at + 17].fill(0);
    datagram
}

/// What real handshakes were answered with, the model answers alike.
#[test]
fn the_model_answers_handshakes() {
    let content = vector("f7162.bin");
    for line in String::from_utf8(vector("handshake_replies.jsonl")).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let case = line["case"].as_str().unwrap();
        // Its version check compares the lowest version only.
        if case == "version2" {
            continue;
        }
        let mut model = Libswift::seed(&content, ChunkAddressing::Range32);
        model.receive(Duration::ZERO, &unhex(line["sent"].as_str().unwrap()));
        let replies: Vec<_> = line["replies"].as_array().unwrap().iter().map(|r| unhex(r.as_str().unwrap())).collect();
        if let Some(reply) = replies.first().filter(|r| channel(r) != 0) {
            model.out.iter_mut().for_each(|out| *out = patched(out, channel(out), Some(source(reply))));
        }
        assert_eq!(model.out, replies, "{case}");
    }
}

/// We seed, libswift fetches. What we send is what its own seeder sent, but for channel IDs and times.
#[test]
fn libswift_fetches_from_us() {
    for case in CASES {
        for addressing in BOTH {
            let mut play = seed_play(&case, addressing, None);
            assert!(play.run(Duration::from_secs(10)), "{case:?} {addressing:?} {:?}", play.theirs);
            assert_eq!(play.theirs.complaints, [""; 0], "{case:?} {addressing:?}");
            let content: Vec<u8> = play.theirs.tree.data.values().flatten().copied().collect();
            assert_eq!(content, case.content());
            assert!(play.time < Duration::from_secs(1), "{:?}", play.time);

            let sent: Vec<_> = play.our_datagrams().cloned().collect();
            let Some(messages) = read(&sent[0][4..], addressing) else { panic!("libswift drops {:02x?}", sent[0]) };
            let Msg::Hello { options, .. } = &messages[0] else { panic!("{messages:?}") };
            // As responder we send options 8 and 9 only if the initiator did.
            let codes: Vec<_> = options.iter().map(|o| o.0).collect();
            assert_eq!(codes, [0, 1, 3, 4, 6]);
            for message in &messages[1..] {
                let Msg::Have { range } = message else { panic!("{message:?}") };
                assert!(Bin::exactly(*range).is_some(), "HAVEs are aligned: {range:?}");
            }
            for datagram in &sent {
                let datas = read(&datagram[4..], addressing).unwrap();
                assert!(datas.iter().filter(|m| matches!(m, Msg::Data { .. })).count() <= 1, "one DATA per datagram");
            }

            // Its seeder's first datagram with a chunk, byte for byte.
            let theirs = case.capture()[3].1.clone();
            // HAVEs may go before it.
            let ours = sent.iter().find_map(|d| behind_haves(d, addressing)).expect("hashes before the first DATA");
            let ours = &ours;
            if addressing == ChunkAddressing::Range32 {
                assert_eq!(same_time(&patched(ours, channel(&theirs), None)), same_time(&theirs));
            }
            let hashes = |datagram: &[u8], addressing| {
                let messages = read(&datagram[4..], addressing).unwrap();
                let hash = |m: &Msg| match m {
                    Msg::Integrity { range, hash } => Some((*range, *hash)),
                    _ => None,
                };
                messages.iter().filter_map(hash).collect::<Vec<_>>()
            };
            assert_eq!(hashes(ours, addressing), hashes(&theirs, ChunkAddressing::Range32), "same nodes, same order");
            // And the answer to the handshake is the same, but for HAVEs that would make it longer than what it answers:
            // more than that does not go to an unproven address.
            if addressing == ChunkAddressing::Range32 {
                let answer = &case.capture()[1].1;
                assert!(answer.starts_with(&patched(&sent[0], channel(answer), Some(source(answer)))));
                assert!(sent[0].len() <= 43 && sent[0].len() + 9 > answer.len().min(43), "{}", sent[0].len());
            }
        }
    }
}

#[test]
fn libswift_fetches_from_us_whatever_datagram_is_lost() {
    for case in CASES {
        for addressing in BOTH {
            let mut play = seed_play(&case, addressing, None);
            assert!(play.run(Duration::from_secs(10)));
            for lost in 0..play.sent {
                let mut play = seed_play(&case, addressing, Some(lost));
                assert!(play.run(Duration::from_secs(20)), "{case:?} {addressing:?} {lost} {:?}", play.theirs);
                assert!(!play.theirs.closed);
            }
        }
    }
}

/// We fetch from libswift.
#[test]
fn we_fetch_from_libswift() {
    for case in CASES {
        for addressing in BOTH {
            let mut play = leech_play(&case, addressing, None);
            assert!(play.run(Duration::from_secs(10)), "{case:?} {addressing:?} {:?}", play.ours.ep.stats());
            assert_eq!(play.theirs.complaints, [""; 0], "{case:?} {addressing:?}");
            assert!(play.time < Duration::from_secs(2), "{:?}", play.time);
            assert_eq!(play.ours.content(), case.content());
        }
    }
}

#[test]
fn we_fetch_from_libswift_whatever_datagram_is_lost() {
    for case in CASES {
        for addressing in BOTH {
            let mut play = leech_play(&case, addressing, None);
            assert!(play.run(Duration::from_secs(10)));
            for lost in 0..play.sent {
                let mut play = leech_play(&case, addressing, Some(lost));
                assert!(play.run(Duration::from_secs(20)), "{case:?} {addressing:?} {lost} {:?}", play.ours.ep.stats());
                assert_eq!(play.ours.content(), case.content());
            }
        }
    }
}

/// Our first datagram names what libswift does not know. Where it is dropped, the second after about a second is the
/// one that libswift's own leecher sends, byte for byte; its captured replies then lead to completion.
#[test]
fn a_silent_libswift_is_asked_again_in_its_draft() {
    for case in CASES {
        let capture = case.capture();
        let mut ours = Ours::leech(&root_of(&case.content()), ChunkAddressing::Range32);
        ours.connect();
        let first = ours.drain();
        assert_eq!(first.len(), 1);
        assert!(first[0].windows(5).any(|w| w == [9, 0, 0, 4, 0]), "option 9 with the chunk size: {:02x?}", first[0]);
        let began = ours.now;
        let mut second = Vec::new();
        while second.is_empty() {
            second = ours.pass(ms(10));
        }
        let waited = ours.now.saturating_since(began);
        assert!((ms(900)..=ms(1500)).contains(&waited), "{waited:?}");
        let id = source(&second[0]);
        assert_eq!(source(&first[0]), id, "the same channel");
        assert_eq!(second[0], patched(&capture[0].1, 0, Some(id)));

        let mut bytes = 0;
        let mut done = false;
        for (side, datagram) in &capture[1..capture.len() - 1] {
            if *side == Side::Seeder {
                ours.receive(&patched(datagram, id, None));
                let out = ours.pass(ms(1));
                bytes += out.iter().map(Vec::len).sum::<usize>();
                assert!(out.iter().all(|d| channel(d) == source(&capture[1].1)));
                done |= ours.is_complete();
            }
        }
        assert!(done, "{:?}", ours.ep.stats());
        assert!(bytes < 1000, "{bytes}");
        assert_eq!(ours.down(), None);
        assert_eq!(ours.ep.stats().dropped_corrupt + ours.ep.stats().dropped_malformed, 0);
        assert_eq!(ours.content(), case.content());
    }
}

/// Both first forms by turns, as long as nobody answers, and not for ever.
#[test]
fn a_libswift_that_is_away_is_not_stormed() {
    let mut ours = Ours::leech(&root_of(&vector("f7162.bin")), ChunkAddressing::Range32);
    ours.connect();
    let out = ours.pass(Duration::from_secs(60));
    assert!((4..=10).contains(&out.len()), "{}", out.len());
    let drafts = out.iter().filter(|d| d.len() == 43).count();
    assert!(drafts >= 2 && out.len() - drafts >= 2, "{drafts} of {}", out.len());
    assert_eq!(ours.down(), Some(Reason::Unanswered));
}

/// What libswift does not support it answers with a closing handshake to channel 0: it upsets nobody.
#[test]
fn a_closing_handshake_to_channel_0() {
    let mut ours = Ours::leech(&root_of(&vector("f7162.bin")), ChunkAddressing::Range32);
    ours.connect();
    assert_eq!(ours.drain().len(), 1);
    ours.receive(&unhex("000000000000000000ff"));
    assert_eq!(ours.drain().len(), 0);
    let stats = ours.ep.stats();
    assert_eq!(stats.dropped_handshakes + stats.dropped_malformed, 1);
    assert_eq!(ours.pass(ms(1100)).len(), 1, "we go on calling");
}

/// The captured datagrams of each side, verbatim but for the channel, whatever we say to them: nothing is upset, nothing is
/// sent without bound, and a seed serves what was asked for.
#[test]
fn captured_datagrams_never_upset_us() {
    for case in CASES {
        let capture = case.capture();
        for closing in [true, false] {
            let mut ours = Ours::seed(&case.content(), ChunkAddressing::Range32);
            let mut id = 0;
            let mut sent = Vec::new();
            for (side, datagram) in capture.iter().take(capture.len() - usize::from(!closing)) {
                if *side == Side::Seeder {
                    continue;
                }
                let datagram = patched(datagram, id, None);
                // Each twice: the network may repeat.
                for _ in 0..2 {
                    ours.receive(&datagram);
                    let out = ours.pass(ms(5));
                    if id == 0 {
                        id = source(&out[0]);
                    }
                    sent.extend(out);
                }
            }
            assert_eq!(ours.down(), closing.then_some(Reason::Closed));
            let chunks: Vec<u64> = sent
                .iter()
                .flat_map(|d| read(&d[4..], ChunkAddressing::Range32).expect("libswift understands it"))
                .filter_map(|m| if let Msg::Data { chunk, .. } = m { Some(chunk) } else { None })
                .collect();
            let distinct: std::collections::BTreeSet<_> = chunks.iter().copied().collect();
            assert_eq!(distinct.len() as u64, case.chunks, "{chunks:?}");
            assert!(sent.len() < 4 * case.chunks as usize + 8, "{}", sent.len());
            let stats = ours.ep.stats();
            assert_eq!(stats.dropped_malformed + stats.dropped_unknown_message, 0);
        }

        // The seeder's datagrams, also to somebody who asked for nothing yet and before the handshake.
        let mut ours = Ours::leech(&root_of(&case.content()), ChunkAddressing::Range32);
        ours.connect();
        let id = source(&ours.drain()[0]);
        let seeder: Vec<_> = capture.iter().filter(|d| d.0 == Side::Seeder).map(|d| &d.1).collect();
        for datagram in &seeder[1..] {
            ours.receive(&patched(datagram, id, None));
            assert_eq!(ours.drain().len(), 0, "no handshake yet");
        }
        for datagram in seeder.iter().chain(&seeder) {
            ours.receive(&patched(datagram, id, None));
            assert!(ours.pass(ms(1)).len() <= 3);
        }
        assert!(ours.is_complete());
        assert_eq!(ours.down(), None);
    }
}

/// Idle, libswift sends keep-alives in bursts; each is answered by itself with another. Ours are few.
#[test]
fn bursts_of_keep_alives() {
    let case = CASES[1];
    let mut play = seed_play(&case, ChunkAddressing::Range32, None);
    assert!(play.run(Duration::from_secs(10)));
    let mut ours = play.ours;
    let id = source(play.log.iter().find(|d| d.0).map(|d| &d.1).unwrap());
    ours.pass(ms(100));
    let mut out = 0;
    // As in the capture: intervals from a few milliseconds on that double, and again.
    for _ in 0..20 {
        for doubling in 0..9 {
            for _ in 0..3 {
                ours.receive(&id.to_be_bytes());
            }
            out += ours.pass(ms(4 << doubling)).len();
        }
    }
    assert!(out <= 4, "{out} datagrams in 41 s");
}

/// The closing handshake, and silence after it.
#[test]
fn the_closing_handshake_of_the_capture() {
    let case = CASES[1];
    let capture = case.capture();
    let mut play = seed_play(&case, ChunkAddressing::Range32, None);
    assert!(play.run(Duration::from_secs(10)));
    let id = source(play.log.iter().find(|d| d.0).map(|d| &d.1).unwrap());
    let mut ours = play.ours;
    ours.receive(&patched(&capture.last().unwrap().1, id, None));
    assert_eq!(ours.pass(Duration::from_secs(120)).len(), 0);
    assert_eq!(ours.down(), Some(Reason::Closed));
}

/// A viewer that is told so follows the captured live stream of libswift: its handshake without a hash function, a window and no
/// chunk size, munros with signatures over the bare hash, times in microseconds of Unix time.
#[test]
fn a_live_stream_of_libswift() {
    let captured = capture("live_umt_p256_head.jsonl");
    let opening = &captured[0].1;
    let id = PublicKey::parse(&opening[16..16 + 65]).unwrap();
    let metadata = SwarmMetadata { hash: HashAlg::Sha1, ..SwarmMetadata::of_key(&id) };
    let follow = |signing: Signing| {
        let mut live = LiveOptions::default();
        live.config.signing = signing;
        let mut config = SwarmConfig::new(metadata.clone());
        config.live = Some(live);
        // A second after the first munro was signed.
        let mut now = Instant::from_micros(0x0006_60da_5e04_9c93 + 1_000_000);
        let mut viewer = Endpoint::new(EndpointConfig::default(), [1; 32], now);
        let key = viewer.open(now, config, Box::new(WindowStore::new())).unwrap();
        let libswift: SocketAddr = "192.0.2.1:7000".parse().unwrap();
        viewer.connect(now, key, libswift).unwrap();
        let mut buffer = [0; 2048];
        let hello = viewer.poll_transmit(now, NonZeroUsize::MIN, &mut buffer).unwrap();
        let ours: [u8; 4] = buffer[..hello.len][5..9].try_into().unwrap();
        let mut sent = 0;
        for (_, datagram) in captured.iter().filter(|(side, _)| *side == Side::Seeder) {
            let mut datagram = datagram.clone();
            datagram[..4].copy_from_slice(&ours);
            sent += u64::from(datagram[4] == 1 || datagram.len() > 1100);
            now = now + ms(1);
            viewer.handle(now, [Datagrams::one(libswift, &datagram)]);
            while viewer.poll_transmit(now, NonZeroUsize::MIN, &mut buffer).is_some() {}
        }
        let stranger: SocketAddr = "192.0.2.2:7000".parse().unwrap();
        viewer.handle(now, [Datagrams::one(stranger, opening)]);
        let answer = viewer.poll_transmit(now, NonZeroUsize::MIN, &mut buffer).map(|answer| answer.destination);
        assert_eq!(answer, Some(stranger), "its opening is answered");
        let events: Vec<Event> = std::iter::from_fn(|| viewer.poll_event()).collect();
        let tuned = events.iter().any(|event| matches!(event, Event::TunedIn { chunk: 64, .. }));
        (tuned, viewer.swarm(key).unwrap().held().clone(), sent, *viewer.stats())
    };
    let (tuned, held, sent, stats) = follow(Signing::Libswift);
    assert!(tuned);
    assert!(held.contains(32) && held.contains(33) && held.len() > sent / 2, "{held:?} of {sent}: {stats:?}");
    assert_eq!((stats.dropped_corrupt, stats.dropped_malformed, stats.refused_munros), (0, 0, 0));
    // One that is not told so believes none of it.
    let (tuned, held, ..) = follow(Signing::Rfc);
    assert!(!tuned && held.is_empty());
}
