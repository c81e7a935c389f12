//! A live stream, its source and its viewers, driven by operations.

use ppsp_core::{
    IntegrityMethod, RangeSet, WindowStore, hash_chunks, hash_pairs,
    live::LiveSource,
    signature::{PrivateKey, SignatureAlgorithm, Signer},
};

use super::*;
use crate::{LiveOptions, PushError, policy::LivePicker};

/// Chunks that are kept.
const WINDOW: u64 = 64;
/// Chunks made in one life of a world.
const MOST: u64 = 192;

pub(super) fn run(bytes: &mut Bytes<'_>) {
    let mut world = Studio::new(bytes);
    for _ in 0..200 {
        if bytes.is_empty() {
            break;
        }
        world.step(bytes);
        world.check();
    }
    world.finish();
}

/// What is said once, and holds for every chunk of this number: a source that starts again makes the same.
fn truth(chunk: ChunkId) -> [u8; CHUNK] {
    core::array::from_fn(|i| (i as u64 * 31 + chunk * 7 + (chunk >> 5)) as u8)
}

/// The hash of a node whose chunks are all full.
fn true_hash(node: Bin) -> Hash {
    let mut hash = [Hash::empty(HashAlg::Sha256)];
    match node.children() {
        Some((left, right)) => hash_pairs(HashAlg::Sha256, &[[true_hash(left), true_hash(right)]], &mut hash),
        None => hash_chunks(HashAlg::Sha256, &[&truth(node.first_chunk())], &mut hash),
    }
    hash[0]
}

/// A store that is given nothing but the source's, or panics.
#[derive(Debug, Default)]
struct LiveWitness {
    inner: WindowStore,
}

impl ContentStore for LiveWitness {
    fn read_chunk(&mut self, chunk: ChunkId, out: &mut [u8]) -> Result<Read, StoreError> {
        self.inner.read_chunk(chunk, out)
    }

    fn write_chunk(&mut self, chunk: ChunkId, data: &[u8]) -> Result<Write, StoreError> {
        // A short one is the last of a source.
        assert!(!data.is_empty() && truth(chunk).starts_with(data), "a store is given true chunks only");
        self.inner.write_chunk(chunk, data)
    }

    fn read_hash(&mut self, node: Bin) -> Result<Option<Hash>, StoreError> {
        self.inner.read_hash(node)
    }

    fn write_hash(&mut self, node: Bin, hash: &Hash) -> Result<(), StoreError> {
        self.inner.write_hash(node, hash)
    }

    fn set_size(&mut self, chunks: u64, content_length: Option<u64>) -> Result<(), StoreError> {
        self.inner.set_size(chunks, content_length)
    }

    fn discard_before(&mut self, chunk: ChunkId) -> Result<(), StoreError> {
        self.inner.discard_before(chunk)
    }

    fn held(&mut self, each: &mut dyn FnMut(ChunkRange)) -> Result<StoredSize, StoreError> {
        self.inner.held(each)
    }
}

/// A signed munro or chunk, as it went by.
struct Overheard {
    range: ChunkRange,
    timestamp: u64,
    signature: Vec<u8>,
}

/// The source is the first of the endpoints.
struct Studio {
    metadata: SwarmMetadata,
    width: u32,
    endpoints: Vec<Endpoint>,
    keys: Vec<Option<SwarmKey>>,
    now: Instant,
    /// Chunks made, and of them those that are signed: the next source goes on behind these.
    made: u64,
    signed: u64,
    /// The source has not ended its stream.
    on_air: bool,
    line: VecDeque<Flying>,
    overheard: VecDeque<Overheard>,
    /// Channels that the endpoints told strangers.
    told: BTreeMap<(usize, SocketAddr), ChannelId>,
    buffer: Vec<u8>,
}

impl Studio {
    fn new(bytes: &mut Bytes<'_>) -> Self {
        let integrity = if bytes.bit() { IntegrityMethod::SignAll } else { IntegrityMethod::UnifiedMerkleTree };
        let addressing = ChunkAddressing::ALL[bytes.below(5)];
        let key = Self::key();
        let metadata = SwarmMetadata {
            chunk_size: CHUNK as u32,
            addressing,
            integrity,
            ..SwarmMetadata::of_key(key.public_key())
        };
        let now = Instant::from_micros(1_800_000_000_000_000);
        let config = EndpointConfig { ban_time: Duration::from_secs(60), ..EndpointConfig::default() };
        let endpoints = (0..ENDPOINTS).map(|e| Endpoint::new(config.clone(), [e as u8; 32], now)).collect();
        let mut studio = Self {
            metadata,
            width: 2 << bytes.below(4),
            endpoints,
            keys: vec![None; ENDPOINTS],
            now,
            made: 0,
            signed: 0,
            on_air: true,
            line: VecDeque::new(),
            overheard: VecDeque::new(),
            told: BTreeMap::new(),
            buffer: vec![0; BUFFER],
        };
        (0..ENDPOINTS).for_each(|e| studio.open(e));
        let calls = bytes.next();
        for (bit, (e, to)) in [(1, 0), (2, 0), (1, 2), (2, 1), (0, 1)].into_iter().enumerate() {
            if calls >> bit & 1 != 0 {
                studio.connect(e, home(to));
            }
        }
        studio
    }

    fn key() -> PrivateKey {
        PrivateKey::generate(SignatureAlgorithm::Ed25519, &[1; 32]).expect("of any seed")
    }

    fn per_signature(&self) -> u64 {
        if self.metadata.integrity == IntegrityMethod::SignAll { 1 } else { u64::from(self.width) }
    }

    /// Opens the swarm where it is closed: a source goes on at the next munro.
    fn open(&mut self, e: usize) {
        if self.keys[e].is_some() {
            return;
        }
        let mut options = LiveOptions::default();
        options.config.window = Some(WINDOW);
        if e == 0 {
            let source = LiveSource::new(&self.metadata, Default::default(), self.width, Box::new(Self::key()));
            let source = source.unwrap().starting_at(self.signed);
            self.made = source.next_chunk();
            self.on_air = true;
            options.source = Some(source);
        }
        let mut config = SwarmConfig::new(self.metadata.clone());
        config.picker = Box::new(LivePicker::default());
        config.live = Some(options);
        let key = self.endpoints[e].open(self.now, config, Box::new(LiveWitness::default()));
        self.keys[e] = Some(key.expect("a live swarm"));
    }

    fn close(&mut self, e: usize) {
        if let Some(key) = self.keys[e].take() {
            assert!(self.endpoints[e].close(self.now, key).is_some());
        }
    }

    fn connect(&mut self, e: usize, to: SocketAddr) {
        if let Some(key) = self.keys[e] {
            let _ = self.endpoints[e].connect(self.now, key, to);
        }
    }

    fn push(&mut self, len: usize) {
        let Some(key) = self.keys[0] else { return };
        match self.endpoints[0].push_chunk(self.now, key, &truth(self.made)[..len]) {
            Ok(()) => {
                assert!(self.on_air);
                self.made += 1;
                self.signed = self.signed.max(self.made / self.per_signature() * self.per_signature());
                // Nothing follows a short one.
                if len < CHUNK {
                    self.end();
                }
            }
            Err(PushError::NoSource) => assert!(!self.on_air),
            Err(error) => panic!("{error}"),
        }
    }

    fn end(&mut self) {
        let Some(key) = self.keys[0] else { return };
        match self.endpoints[0].finish_stream(self.now, key) {
            Ok(_) => self.signed = self.made.next_multiple_of(self.per_signature()),
            Err(error) => assert!(matches!(error, PushError::NoSource) && !self.on_air),
        }
        self.on_air = false;
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let op = bytes.next();
        let e = bytes.below(ENDPOINTS);
        match op % 20 {
            0..=3 => {
                for _ in 0..=bytes.below(12) {
                    if self.made < MOST {
                        self.push(CHUNK);
                    }
                }
            }
            4 => match bytes.below(6) {
                0 => self.push(1 + bytes.below(CHUNK - 1)),
                1 => self.end(),
                _ => {}
            },
            5 => match bytes.below(4) {
                0 => self.close(e),
                _ => self.open(e),
            },
            6 => {
                let to = bytes.below(8);
                self.connect(e, if to < ENDPOINTS { home(to) } else { stranger(to) });
            }
            7 | 8 => {
                let windows: Vec<_> = (0..bytes.below(3)).filter_map(|_| any_range(bytes)).collect();
                let all = bytes.bit();
                let Some(mut swarm) = self.keys[e].and_then(|key| self.endpoints[e].swarm_mut(key)) else { return };
                if op % 20 == 7 {
                    swarm.set_windows(&windows);
                } else {
                    swarm.want(if all { None } else { Some(&windows) });
                }
            }
            9 => {
                let unit = [1, 300, 5_000, 40_000, 700_000, 4_000_000, 30_000_000][bytes.below(7)];
                self.now = self.now + Duration::from_micros(unit * (1 + u64::from(bytes.next())));
            }
            10 => self.endpoints[e].handle_timeout(self.now),
            11 => {
                let len = [4, 60, 200, 600, 1452, BUFFER][bytes.below(6)];
                let segments = 1 + bytes.below(20);
                while self.transmit(e, segments, len) && bytes.bit() {}
            }
            12 | 13 => {
                for _ in 0..=bytes.below(16) {
                    self.deliver(bytes);
                }
            }
            14 => _ = self.endpoints[e].poll_event(),
            15..=17 => {
                for _ in 0..=bytes.below(6) {
                    self.hum();
                }
            }
            _ => self.attack(e, bytes),
        }
    }

    /// A round in which everything works as it should.
    fn hum(&mut self) {
        for e in 0..ENDPOINTS {
            self.endpoints[e].handle_timeout(self.now);
            for _ in 0..8 {
                if !self.transmit(e, 4, BUFFER) {
                    break;
                }
            }
        }
        self.arrive_all();
        self.now = self.now + Duration::from_millis(5);
    }

    fn format(&self) -> Format {
        Format {
            addressing: self.metadata.addressing,
            chunk_size: CHUNK as u32,
            hash_len: HashAlg::Sha256.len(),
            signature_len: Some(64),
            content_length: None,
        }
    }

    /// Says whether there was something to send.
    fn transmit(&mut self, e: usize, segments: usize, len: usize) -> bool {
        let due = self.endpoints[e].poll_timeout();
        let segments = NonZeroUsize::new(segments).unwrap();
        let sent = self.endpoints[e].poll_transmit(self.now, segments, &mut self.buffer[..len]);
        let Some(transmit) = sent else { return false };
        assert!(due.is_some_and(|due| due <= self.now), "output waited, and poll_timeout did not say so: {due:?}");
        assert!((4..=len).contains(&transmit.len), "{transmit:?} in {len} bytes");
        let stride = transmit.segment_size.map_or(transmit.len, NonZeroUsize::get);
        for datagram in self.buffer[..transmit.len].to_vec().chunks(stride) {
            self.overhear(e, transmit.destination, datagram);
            self.line.push_back((home(e), transmit.destination, datagram.to_vec()));
        }
        while self.line.len() > 512 {
            self.line.pop_front();
        }
        true
    }

    /// Whatever goes over the wire is as the RFC has it.
    fn overhear(&mut self, e: usize, to: SocketAddr, datagram: &[u8]) {
        let Some((_, payload)) = split_channel(datagram) else { panic!("a datagram without a channel") };
        let format = self.format();
        let mut reader = Reader::new(payload);
        let mut before = None;
        while let Some(message) = reader.next(&format) {
            let message = message.expect("what an endpoint says can be read");
            match message {
                Message::Handshake(hello) => _ = self.told.insert((e, to), hello.source),
                // RFC 7574 §6.1.2.3: in a single datagram, the hash first. §6.1.1: of a chunk.
                Message::SignedIntegrity { range, timestamp, signature } => {
                    if self.metadata.integrity == IntegrityMethod::SignAll {
                        assert_eq!(range.len(), 1);
                    } else {
                        assert!(matches!(before, Some(Message::Integrity { range: of, .. }) if of == range));
                    }
                    self.overheard.push_back(Overheard { range, timestamp, signature: signature.to_vec() });
                    self.overheard.drain(..self.overheard.len().saturating_sub(16));
                }
                // §6.1.2.3: no HAVE before the signature.
                Message::Have { range: Some(range) } => assert!(range.last() < self.signed, "{range:?}"),
                Message::Data { range, data, .. } => assert!(truth(range.first()).starts_with(data)),
                _ => {}
            }
            before = Some(message);
        }
    }

    /// The next datagram under way reaches its end, or something else becomes of it.
    fn deliver(&mut self, bytes: &mut Bytes<'_>) {
        let Some((from, to, datagram)) = next_on(&mut self.line, bytes) else { return };
        if let Some(e) = (0..ENDPOINTS).find(|&e| home(e) == to) {
            self.endpoints[e].handle(self.now, [Datagrams::one(from, &datagram)]);
        }
    }

    fn arrive_all(&mut self) {
        let line = core::mem::take(&mut self.line);
        for e in 0..ENDPOINTS {
            let mine = line.iter().filter(|(_, to, _)| *to == home(e));
            let mine = mine.map(|(from, _, datagram)| Datagrams::one(*from, datagram));
            self.endpoints[e].handle(self.now, mine);
        }
    }

    /// A stranger, or somebody in a neighbour's name, says what it has heard in another way.
    fn attack(&mut self, e: usize, bytes: &mut Bytes<'_>) {
        let from = match bytes.below(6) {
            n @ 0..ENDPOINTS => home(n),
            n => stranger(n),
        };
        let channel = self.told.get(&(e, from)).copied().filter(|_| bytes.below(4) != 0).unwrap_or(ChannelId::NONE);
        let format = self.format();
        let mut buffer = vec![0; 4000];
        let mut writer = Writer::new(&mut buffer, channel);
        if channel == ChannelId::NONE {
            let metadata = &self.metadata;
            let options = Options {
                version: Some(1),
                min_version: Some(1),
                swarm_id: Some(metadata.id.as_bytes()),
                integrity: Some(metadata.integrity.code()),
                hash: Some(metadata.hash.code()),
                addressing: Some(metadata.addressing.code()),
                chunk_size: Some(CHUNK as u32),
                supported: bytes.bit().then_some(SupportedMessages::ALL),
                live_signature: bytes.bit().then(|| if bytes.below(8) == 0 { bytes.next() } else { 15 }),
                discard_window: bytes.bit().then(|| u64::from(bytes.next())),
            };
            let source = ChannelId(1 + u32::from(bytes.next()));
            let _ = writer.put(&Message::Handshake(Handshake { source, options }), &format);
        }
        let mut hash = [0; 32];
        for _ in 0..bytes.below(8) {
            let Some(range) = any_range(bytes) else { continue };
            let chunk = range.first() % (self.made + 2);
            match bytes.below(8) {
                0 => {
                    let _ = writer.put(&Message::Have { range: Some(range) }, &format);
                }
                1 => {
                    let _ = writer.put(&Message::Request { range }, &format);
                }
                // A munro or the signature of a chunk, the right one or with a lie in it.
                2..=4 => {
                    let Some(heard) = self.overheard.get(bytes.below(self.overheard.len())) else { continue };
                    let lie = bytes.below(8);
                    let place = if lie == 1 { range } else { heard.range };
                    let time = if lie == 2 { u64::from(bytes.next()) << 56 } else { heard.timestamp };
                    let mut signature = heard.signature.clone();
                    if lie == 3 {
                        signature[bytes.below(64)] ^= 1;
                    }
                    let node = Bin::exactly(heard.range).filter(|_| lie != 4 && heard.range.len() <= 16);
                    hash = node.map_or(hash, |node| true_hash(node).as_bytes().try_into().unwrap());
                    if lie != 5 {
                        let _ = writer.put(&Message::Integrity { range: place, hash: &hash }, &format);
                    }
                    let signed = Message::SignedIntegrity { range: place, timestamp: time, signature: &signature };
                    let _ = writer.put(&signed, &format);
                }
                5 | 6 => {
                    let mut data = truth(chunk);
                    data[0] ^= u8::from(bytes.below(4) == 0);
                    let cut = if bytes.below(8) == 0 { bytes.below(CHUNK) } else { CHUNK };
                    if let Some(top) = Bin::at(self.width.ilog2(), chunk) {
                        for node in uncles(chunk, top) {
                            let hash = true_hash(node);
                            let _ =
                                writer.put(&Message::Integrity { range: node.range(), hash: hash.as_bytes() }, &format);
                        }
                    }
                    let range = ChunkRange::single(chunk);
                    let _ = writer.put(&Message::Data { range, timestamp: 0, data: &data[..cut] }, &format);
                }
                _ => {
                    let _ = writer.put(&Message::Ack { range, delay: bytes.next().into() }, &format);
                }
            }
        }
        let len = writer.finish();
        self.endpoints[e].handle(self.now, [Datagrams::one(from, &buffer[..len])]);
    }

    fn held(&self, e: usize) -> RangeSet {
        let swarm = self.keys[e].and_then(|key| self.endpoints[e].swarm(key));
        swarm.map(|swarm| swarm.held().clone()).unwrap_or_default()
    }

    /// Nothing is held that was not signed, and no more than the window.
    fn check(&self) {
        for e in 0..ENDPOINTS {
            let held = self.held(e);
            assert!(held.last().is_none_or(|last| last < self.signed), "{held:?}");
            assert!(held.len() <= WINDOW, "{} chunks", held.len());
            let end = self.keys[e].and_then(|key| self.endpoints[e].swarm(key)?.live_end());
            assert!(end.is_none_or(|end| end <= self.signed));
        }
    }

    /// Lets everything come to rest at this moment: no endless work without the passing of time.
    fn settle(&mut self) {
        for turns in 0.. {
            assert!(turns < 20_000, "endless work");
            let mut idle = self.line.is_empty();
            for e in 0..ENDPOINTS {
                self.endpoints[e].handle_timeout(self.now);
                while self.endpoints[e].poll_event().is_some() {}
                while self.transmit(e, 16, BUFFER) {
                    idle = false;
                }
            }
            self.arrive_all();
            if idle && !self.endpoints.iter().any(|ep| ep.poll_timeout().is_some_and(|at| at <= self.now)) {
                return;
            }
        }
    }

    /// Time jumps to the next timer, again and again.
    fn run(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) {
        let until = self.now + limit;
        for jumps in 0.. {
            assert!(jumps < 50_000, "too many timers");
            self.settle();
            self.check();
            match self.endpoints.iter().filter_map(Endpoint::poll_timeout).min() {
                _ if done(self) => return,
                Some(at) if at <= until => self.now = at,
                _ => return self.now = until,
            }
        }
    }

    /// Whatever happened: everything comes to rest, and viewers who come to the next source get all that it makes.
    fn finish(mut self) {
        // Strangers fall silent, and bans end.
        self.run(Duration::from_secs(600), |_| false);
        (0..ENDPOINTS).for_each(|e| self.close(e));
        self.settle();
        (0..ENDPOINTS).for_each(|e| self.open(e));
        let first = self.made;
        (1..ENDPOINTS).for_each(|e| self.connect(e, home(0)));
        for _ in 0..3 * self.per_signature() {
            self.push(CHUNK);
        }
        let all = ChunkRange::new(first, self.made - 1).unwrap();
        let whole = |studio: &Self| (1..ENDPOINTS).all(|e| studio.held(e).covers(all));
        self.run(Duration::from_secs(60), whole);
        assert!(whole(&self), "of {all:?} they have {:?}, {:?}", self.held(1), self.held(2));
    }
}
