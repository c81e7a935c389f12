//! Bodies of the fuzz targets: each takes any bytes, and panics where a promise is broken. No part of the public API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a fuzz target reports")]

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::String,
    sync::Arc,
    vec,
    vec::Vec,
};
use core::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    num::NonZeroUsize,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use ppsp_core::{
    Bin, ChunkAddressing, ChunkId, ChunkRange, ContentStore, Hash, HashAlg, Instant, MemoryStore, Read, StoreError,
    StoredSize, SwarmMetadata, Write, peak_of, peaks, uncles,
};

use crate::{
    Datagrams, Endpoint, EndpointConfig, Event, PeerKey, Stats, StoreDone, SwarmConfig, SwarmKey, SwarmMut,
    wire::{
        ChannelId, Format, Handshake, Message, Options, ParseError, Reader, SupportedMessages, Writer, encoded_len,
        split_channel,
    },
};

mod live;

/// A datagram, read in every format: reading ends, and what was read is written and reads the same again.
pub fn datagram(data: &[u8]) {
    let Some((channel, payload)) = split_channel(data) else { return assert!(data.len() < 4) };
    let mut buffer = vec![0; data.len() + 64];
    for addressing in ChunkAddressing::ALL {
        for (hash_len, signature_len) in [(0, None), (20, Some(64)), (32, None), (64, Some(1))] {
            for chunk_size in [512, 1024, u32::MAX] {
                let format = Format { addressing, chunk_size, hash_len, signature_len, content_length: None };
                let mut reader = Reader::new(payload);
                let mut messages = 0;
                while let Some(read) = reader.next(&format) {
                    messages += 1;
                    assert!(messages <= payload.len());
                    let Ok(message) = read else {
                        assert!(reader.next(&format).is_none(), "an error is the last");
                        break;
                    };
                    let mut writer = Writer::new(&mut buffer, channel);
                    if writer.put(&message, &format).is_err() {
                        // The nominal end of a byte range may lie beyond the last 64-bit number.
                        assert!(matches!(addressing, ChunkAddressing::Byte64), "{message:?} {format:?}");
                        continue;
                    }
                    assert_eq!(encoded_len(&message, &format), Some(writer.len() - 4));
                    let len = writer.finish();
                    let mut again = Reader::new(&buffer[4..len]);
                    assert_eq!(again.next(&format), Some(Ok(message)));
                    assert_eq!(again.next(&format), None);
                }
            }
        }
    }
}

/// A HANDSHAKE: what was read is written and reads the same again; as the first datagram to an endpoint it brings no
/// longer answer, and as the second one no harm.
pub fn handshake(data: &[u8]) {
    let mut payload = vec![0];
    payload.extend_from_slice(data);
    let mut reader = Reader::new(&payload);
    let known = match reader.handshake() {
        Ok(handshake) => Some(handshake.expect("it begins as a HANDSHAKE")),
        Err(ParseError::UnknownOption(_)) => {
            assert!(reader.rest().is_empty(), "nothing is skipped");
            Some(*reader.cut_short().expect("what came before"))
        }
        Err(_) => {
            assert!(reader.cut_short().is_none());
            None
        }
    };
    if let Some(handshake) = known {
        let mut buffer = vec![0; payload.len() + 64];
        let mut writer = Writer::new(&mut buffer, ChannelId(1));
        let format = Film::new(1, ChunkAddressing::Range32).format();
        assert_eq!(writer.put(&Message::Handshake(handshake), &format), Ok(()));
        let len = writer.finish();
        assert_eq!(Reader::new(&buffer[4..len]).handshake(), Ok(Some(handshake)));
    }

    let film = Film::new(3, ChunkAddressing::Range32);
    let remote = stranger(0);
    let now = Instant::from_micros(1);
    let mut buffer = [0; 2048];
    let mut ep = Endpoint::new(EndpointConfig::default(), [1; 32], now);
    let key = ep.open(now, film.config(), Box::new(film.full())).unwrap();
    let first = [&[0; 4], &payload[..]].concat();
    for _ in 0..2 {
        ep.handle(now, [Datagrams::one(remote, &first)]);
        let mut answered = 0;
        while let Some(transmit) = ep.poll_transmit(now, NonZeroUsize::MIN, &mut buffer) {
            answered += transmit.len;
        }
        assert!(answered <= first.len(), "an unproven address gets no more than it sent");
        while let Some(event) = ep.poll_event() {
            assert!(matches!(event, Event::Complete { .. }), "{event:?}");
        }
    }

    let peer = stranger(1);
    ep.connect(now, key, peer).unwrap();
    let transmit = ep.poll_transmit(now, NonZeroUsize::MIN, &mut buffer).expect("an opening handshake");
    let hello = Reader::new(&buffer[4..transmit.len]).handshake().unwrap().unwrap();
    let second = [&hello.source.0.to_be_bytes(), &payload[..]].concat();
    for _ in 0..2 {
        ep.handle(now, [Datagrams::one(peer, &second)]);
        let mut datagrams = 0;
        while ep.poll_transmit(now, NonZeroUsize::MIN, &mut buffer).is_some() {
            datagrams += 1;
            assert!(datagrams < 20);
        }
        while ep.poll_event().is_some() {}
    }
}

/// Operations on a small world: three endpoints of one swarm, strangers that send what they like, and a line that loses,
/// turns, repeats and spoils datagrams. See `World::check` and `World::finish` for what must hold.
pub fn endpoint(data: &[u8]) {
    let mut bytes = Bytes(data);
    let mut world = World::new(&mut bytes);
    for _ in 0..200 {
        if bytes.is_empty() {
            break;
        }
        world.step(&mut bytes);
        world.check();
    }
    world.finish();
}

/// The same with a live stream, in a Unified Merkle Tree or Sign All: its source, two viewers, and strangers that say what
/// they have heard in other ways. The source ends, or starts again. See `Studio::check`, `overhear` and `finish`.
pub fn live_endpoint(data: &[u8]) {
    live::run(&mut Bytes(data));
}

/// The first byte by byte, zeros when there are no more.
#[derive(Debug)]
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn next(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&first, rest)) => {
                self.0 = rest;
                first
            }
            None => 0,
        }
    }

    fn below(&mut self, n: usize) -> usize {
        usize::from(self.next()) % n.max(1)
    }

    fn bit(&mut self) -> bool {
        self.next() & 1 != 0
    }

    fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

const CHUNK: usize = 512;
const ALG: HashAlg = HashAlg::Sha1;
const ENDPOINTS: usize = 3;
const FILMS: usize = 2;
const BUFFER: usize = 32 * 1024;

fn home(e: usize) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 0, 0, e as u8 + 1), 7000))
}

/// Strangers live at private and at public addresses.
fn stranger(n: usize) -> SocketAddr {
    let ip = if n.is_multiple_of(2) { [10, 0, 1, n as u8 + 1] } else { [192, 0, 2, n as u8 + 1] };
    SocketAddr::new(IpAddr::from(ip), 9000)
}

/// The content of a world, and all that is true of it.
#[derive(Debug)]
struct Film {
    content: Vec<u8>,
    chunks: u64,
    metadata: SwarmMetadata,
    hashes: BTreeMap<Bin, Hash>,
}

impl Film {
    fn new(length: usize, addressing: ChunkAddressing) -> Arc<Self> {
        let content: Vec<u8> = (0..length).map(|i| (i * 31 + i / CHUNK * 7) as u8).collect();
        let (mut store, tree) = MemoryStore::from_content(ALG, CHUNK as u32, content.clone());
        let all = (0..4 * tree.chunks).filter_map(Bin::new);
        let hashes = all.filter_map(|node| Some((node, store.read_hash(node).unwrap()?))).collect();
        let metadata =
            SwarmMetadata { chunk_size: CHUNK as u32, hash: ALG, addressing, ..SwarmMetadata::of_root(&tree.root) };
        Arc::new(Self { content, chunks: tree.chunks, metadata, hashes })
    }

    fn config(&self) -> SwarmConfig {
        SwarmConfig::new(self.metadata.clone())
    }

    fn format(&self) -> Format {
        Format {
            addressing: self.metadata.addressing,
            chunk_size: CHUNK as u32,
            hash_len: ALG.len(),
            signature_len: None,
            content_length: None,
        }
    }

    fn chunk(&self, chunk: ChunkId) -> &[u8] {
        self.content.chunks(CHUNK).nth(chunk as usize).unwrap_or_default()
    }

    fn full(&self) -> MemoryStore {
        MemoryStore::from_content(ALG, CHUNK as u32, self.content.clone()).0
    }
}

/// A store that is given nothing but the truth, or panics; and that may be slow, full or broken.
#[derive(Debug)]
struct Witness {
    film: Arc<Film>,
    inner: MemoryStore,
    mood: Arc<AtomicU8>,
}

impl Witness {
    const GOOD: u8 = 0;
    const SLOW: u8 = 1;
    const FULL: u8 = 2;
    const BROKEN: u8 = 3;

    fn broken(&self) -> Result<u8, StoreError> {
        match self.mood.load(Ordering::Relaxed) {
            Self::BROKEN => Err(StoreError("broken".into())),
            mood => Ok(mood),
        }
    }
}

impl ContentStore for Witness {
    fn read_chunk(&mut self, chunk: ChunkId, out: &mut [u8]) -> Result<Read, StoreError> {
        match self.broken()? {
            Self::SLOW => Ok(Read::Pending),
            _ => self.inner.read_chunk(chunk, out),
        }
    }

    fn write_chunk(&mut self, chunk: ChunkId, data: &[u8]) -> Result<Write, StoreError> {
        assert!(chunk < self.film.chunks);
        assert_eq!(data, self.film.chunk(chunk), "a store is given true chunks only");
        match self.broken()? {
            Self::FULL => Ok(Write::Busy),
            mood => {
                let write = self.inner.write_chunk(chunk, data)?;
                Ok(if mood == Self::SLOW { Write::Queued } else { write })
            }
        }
    }

    fn read_hash(&mut self, node: Bin) -> Result<Option<Hash>, StoreError> {
        self.broken()?;
        self.inner.read_hash(node)
    }

    fn write_hash(&mut self, node: Bin, hash: &Hash) -> Result<(), StoreError> {
        // Until the first chunk the tree may be thought higher or lower than it is; see `Verifier`.
        if let Some(truth) = self.film.hashes.get(&node).filter(|_| !self.inner.chunks().is_empty()) {
            assert_eq!(truth, hash, "a store is given true hashes only");
        }
        self.broken()?;
        self.inner.write_hash(node, hash)
    }

    fn set_size(&mut self, chunks: u64, content_length: Option<u64>) -> Result<(), StoreError> {
        if let Some(length) = content_length {
            assert_eq!((chunks, length), (self.film.chunks, self.film.content.len() as u64));
        }
        self.broken()?;
        self.inner.set_size(chunks, content_length)
    }

    fn held(&mut self, each: &mut dyn FnMut(ChunkRange)) -> Result<StoredSize, StoreError> {
        self.broken()?;
        self.inner.held(each)
    }
}

/// An endpoint and what is known of it.
struct Host {
    ep: Endpoint,
    now: Instant,
    mood: Arc<AtomicU8>,
    /// Its swarms, where they are open.
    keys: [Option<SwarmKey>; FILMS],
    /// Their stores, where they are not.
    stores: [Option<Box<dyn ContentStore>>; FILMS],
    peers: Vec<PeerKey>,
    last: [u64; 20],
    /// Addresses that may be sent to freely: we called them, or they echoed a channel.
    proven: BTreeSet<SocketAddr>,
    /// Bytes from and to the others.
    balance: BTreeMap<SocketAddr, (usize, usize)>,
    /// Channels that it told its peers.
    told: BTreeMap<SocketAddr, Vec<ChannelId>>,
}

struct World {
    films: [Arc<Film>; FILMS],
    hosts: Vec<Host>,
    now: Instant,
    /// Datagrams under way: from, to, bytes.
    line: VecDeque<Flying>,
    buffer: Vec<u8>,
}

impl World {
    fn new(bytes: &mut Bytes<'_>) -> Self {
        let addressing = ChunkAddressing::ALL[bytes.below(5)];
        let length = match bytes.below(8) {
            0 => bytes.below(3) * 511,
            1 => CHUNK * (1 + bytes.below(4)),
            2 => CHUNK * 200 + bytes.below(CHUNK),
            _ => bytes.below(256) * 67,
        };
        // The other one has another length in any case, and so another root.
        let films = [Film::new(length, addressing), Film::new(200_000 + length, ChunkAddressing::Range32)];
        let now = Instant::from_micros(1_000_000_000);
        let mut hosts: Vec<_> = (0..ENDPOINTS).map(|e| Host::new(e, now, &films, bytes)).collect();
        // Who calls whom at first.
        let calls = bytes.next();
        for (bit, (e, to)) in [(1, 0), (2, 0), (1, 2), (2, 1), (0, 1), (0, 2)].into_iter().enumerate() {
            if calls >> bit & 1 != 0 {
                hosts[e].connect(now, 0, home(to));
            }
        }
        Self { films, hosts, now, line: VecDeque::new(), buffer: vec![0; BUFFER] }
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) {
        let op = bytes.next();
        let which = bytes.next();
        // Most of it is about one swarm.
        let (e, w) = (usize::from(which) % ENDPOINTS, usize::from(which >= 0xC0));
        let now = self.now;
        match op % 26 {
            0 => {
                let remote = match bytes.below(8) {
                    n @ 0..ENDPOINTS => home(n),
                    n => stranger(n),
                };
                self.hosts[e].connect(now, w, remote);
            }
            1 => {
                if let Some(&peer) = self.hosts[e].peers.get(bytes.below(8)) {
                    self.hosts[e].ep.disconnect(now, peer);
                }
            }
            2 => {
                if bytes.next() < 64 {
                    self.hosts[e].close(now, w);
                } else {
                    self.hosts[e].reopen(now, w, &self.films[w]);
                }
            }
            3 => {
                let chunks: Vec<_> = (0..bytes.below(4)).filter_map(|_| any_range(bytes)).collect();
                let all = bytes.bit();
                if let Some(mut swarm) = self.hosts[e].swarm(w) {
                    swarm.want(if all { None } else { Some(&chunks) });
                }
            }
            4 => {
                let windows: Vec<_> = (0..bytes.below(4)).filter_map(|_| any_range(bytes)).collect();
                if let Some(mut swarm) = self.hosts[e].swarm(w) {
                    swarm.set_windows(&windows);
                }
            }
            5 => {
                let range = any_range(bytes).unwrap_or(ChunkRange::single(0));
                let done = match bytes.below(4) {
                    0 => StoreDone::Readable(range),
                    1 | 2 => StoreDone::Written(range),
                    _ => StoreDone::Room,
                };
                self.hosts[e].store_done(now, w, done);
            }
            6 => {
                let mood = bytes.below(12);
                let mood = if mood <= 3 { mood as u8 } else { Witness::GOOD };
                self.hosts[e].mood.store(mood, Ordering::Relaxed);
            }
            7 | 8 => {
                let unit = [1, 20, 300, 5_000, 40_000, 700_000, 4_000_000, 30_000_000][bytes.below(8)];
                self.now = self.now + Duration::from_micros(unit * (1 + u64::from(bytes.next())));
            }
            9 => {
                // A clock that is behind.
                let behind = Duration::from_micros(u64::from(bytes.next()) * 1000);
                let before = Instant::from_micros(now.as_micros() - behind.as_micros() as u64);
                self.hosts[e].ep.handle_timeout(before);
            }
            10 | 11 => self.hosts[e].timeout(now),
            12..=14 => {
                let len = [0, 1, 3, 4, 9, 14, 60, 200, 600, 1000, 1452, BUFFER][bytes.below(12)];
                let segments = 1 + bytes.below(40);
                for _ in 0..=bytes.below(8) {
                    if !self.transmit(e, segments, len) {
                        break;
                    }
                }
            }
            15..=17 => {
                for _ in 0..=bytes.below(16) {
                    self.deliver(bytes);
                }
            }
            18 => {
                let host = &mut self.hosts[e];
                for _ in 0..=bytes.below(8) {
                    host.event();
                }
            }
            19 => {
                let mut learned = [home(0); 3];
                let len = bytes.below(4);
                if let Some(mut swarm) = self.hosts[e].swarm(w) {
                    let n = swarm.take_learned(&mut learned[..len]);
                    let _ = swarm.take_error();
                    learned[..n].iter().for_each(|address| assert!(address.ip().is_ipv4() || address.port() != 0));
                }
            }
            20 | 21 => {
                for _ in 0..=bytes.below(4) {
                    self.hum();
                }
            }
            _ => self.attack(e, w, bytes),
        }
    }

    /// A round in which everything works as it should.
    fn hum(&mut self) {
        for e in 0..ENDPOINTS {
            self.hosts[e].timeout(self.now);
            for _ in 0..8 {
                if !self.transmit(e, 4, BUFFER) {
                    break;
                }
            }
        }
        self.arrive_all();
        self.now = self.now + Duration::from_millis(5);
    }

    /// A stranger, or somebody in a neighbour's name, sends something.
    fn attack(&mut self, e: usize, w: usize, bytes: &mut Bytes<'_>) {
        let from = match bytes.below(8) {
            n @ 0..ENDPOINTS => home(n),
            n => stranger(n),
        };
        let host = &mut self.hosts[e];
        let channels = host.told.get(&from).cloned().unwrap_or_default();
        let channel = match bytes.below(4) {
            0 | 1 => channels.last().copied().unwrap_or(ChannelId::NONE),
            2 => ChannelId::NONE,
            _ => channels.first().copied().unwrap_or(ChannelId(u32::from(bytes.next()))),
        };
        let datagram = if bytes.below(6) == 0 {
            let mut raw = channel.0.to_be_bytes().to_vec();
            let len = bytes.below(80);
            raw.extend_from_slice(bytes.take(len));
            raw
        } else {
            self.films[w].composed(channel, bytes)
        };
        let stride = if bytes.below(8) == 0 { 1 + bytes.below(64) } else { datagram.len() };
        self.hosts[e].receive(self.now, from, &datagram, stride);
    }

    /// The next datagram under way reaches its end, or something else becomes of it.
    fn deliver(&mut self, bytes: &mut Bytes<'_>) {
        let Some((from, to, datagram)) = next_on(&mut self.line, bytes) else { return };
        self.arrive(from, to, &datagram);
    }

    /// All that is under way arrives, and each host takes what is for it in one call.
    fn arrive_all(&mut self) {
        let line = core::mem::take(&mut self.line);
        for e in 0..ENDPOINTS {
            let mine: Vec<_> = line.iter().filter(|(_, to, _)| *to == home(e)).collect();
            let host = &mut self.hosts[e];
            mine.iter().for_each(|(from, _, datagram)| host.received(*from, datagram));
            host.now = host.now.max(self.now);
            host.ep.handle(self.now, mine.iter().map(|(from, _, datagram)| Datagrams::one(*from, datagram)));
        }
    }

    fn arrive(&mut self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        if let Some(e) = (0..ENDPOINTS).find(|&e| home(e) == to) {
            self.hosts[e].receive(self.now, from, datagram, datagram.len());
        }
    }

    /// Says whether there was something to send.
    fn transmit(&mut self, e: usize, segments: usize, len: usize) -> bool {
        let host = &mut self.hosts[e];
        host.now = host.now.max(self.now);
        let due = host.ep.poll_timeout();
        let segments = NonZeroUsize::new(segments).unwrap();
        let buffer = &mut self.buffer[..len];
        let Some(transmit) = host.ep.poll_transmit(self.now, segments, buffer) else { return false };
        assert!(due.is_some_and(|due| due <= host.now), "output waited, and poll_timeout did not say so: {due:?}");
        assert!((4..=len).contains(&transmit.len), "{transmit:?} in {len} bytes");
        let stride = transmit.segment_size.map_or(transmit.len, NonZeroUsize::get);
        assert!(transmit.len.div_ceil(stride) <= segments.get(), "{transmit:?}");
        for datagram in buffer[..transmit.len].chunks(stride) {
            assert!(datagram.len() >= 4, "{transmit:?}");
            host.sent(transmit.destination, datagram);
            self.line.push_back((home(e), transmit.destination, datagram.to_vec()));
        }
        while self.line.len() > 512 {
            self.line.pop_front();
        }
        true
    }

    fn check(&mut self) {
        for host in &mut self.hosts {
            host.check();
        }
    }

    /// Lets everything come to rest at this moment: no endless work without the passing of time.
    fn settle(&mut self) {
        let mut turns = 0;
        loop {
            let mut idle = true;
            for e in 0..ENDPOINTS {
                self.hosts[e].timeout(self.now);
                while self.hosts[e].event() {}
                while self.transmit(e, 16, BUFFER) {
                    idle = false;
                    turns += 1;
                    assert!(turns < 20_000, "endless output");
                }
            }
            idle &= self.line.is_empty();
            self.arrive_all();
            turns += 1;
            assert!(turns < 20_000, "endless work");
            let waits = self.hosts.iter().any(|h| h.ep.poll_timeout().is_some_and(|at| at <= self.now));
            if idle && !waits {
                return;
            }
        }
    }

    /// Time jumps to the next timer. Says how often until `limit`, or until `done`.
    fn run(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> usize {
        let until = self.now + limit;
        let mut jumps = 0;
        loop {
            self.settle();
            self.check();
            if done(self) {
                return jumps;
            }
            match self.hosts.iter().filter_map(|h| h.ep.poll_timeout()).min() {
                Some(at) if at <= until => self.now = at,
                _ => {
                    self.now = until;
                    return jumps;
                }
            }
            jumps += 1;
            assert!(jumps < 50_000, "too many timers");
        }
    }

    /// Whatever happened: everything comes to rest, an idle world stays quiet, and two leechers that start afresh get
    /// everything.
    fn finish(mut self) {
        for host in &mut self.hosts {
            host.mood.store(Witness::GOOD, Ordering::Relaxed);
            for w in 0..FILMS {
                if let Some(all) = ChunkRange::new(0, ChunkId::MAX) {
                    host.store_done(self.now, w, StoreDone::Readable(all));
                    host.store_done(self.now, w, StoreDone::Written(all));
                }
                host.store_done(self.now, w, StoreDone::Room);
            }
        }
        // Strangers fall silent, are declared dead, and bans end.
        let jumps = self.run(Duration::from_secs(600), |_| false);
        assert!(jumps < 20_000, "{jumps} timers in ten quiet minutes");

        for host in &mut self.hosts {
            for peer in core::mem::take(&mut host.peers) {
                host.ep.disconnect(self.now, peer);
            }
            for w in 0..FILMS {
                host.close(self.now, w);
            }
        }
        self.settle();
        for e in 0..ENDPOINTS {
            for w in 0..FILMS {
                let host = &mut self.hosts[e];
                host.reopen(self.now, w, &self.films[w]);
                // Each film has its seed.
                if e != w {
                    host.swarm(w).expect("open").want(None);
                    host.connect(self.now, w, home(w));
                }
            }
        }
        let complete = |world: &Self| {
            let done =
                |h: &Host, key: Option<SwarmKey>| key.and_then(|k| h.ep.swarm(k)).is_some_and(|s| s.is_complete());
            world.hosts.iter().all(|h| h.keys.iter().all(|&key| done(h, key)))
        };
        self.run(Duration::from_secs(120), complete);
        assert!(complete(&self), "the leechers never got everything: {}", self.report());
        let mut out = [0; CHUNK];
        for host in &mut self.hosts {
            for (w, film) in self.films.iter().enumerate() {
                let mut swarm = host.swarm(w).expect("open");
                for chunk in 0..film.chunks {
                    let truth = film.chunk(chunk);
                    assert_eq!(swarm.read(chunk, &mut out).unwrap(), Read::Ready(truth.len()));
                    assert_eq!(&out[..truth.len()], truth);
                }
            }
        }
    }

    fn report(&self) -> String {
        let mut text = String::new();
        for host in &self.hosts {
            let _ = writeln!(text, "{:?}", host.ep.stats());
            for (w, film) in self.films.iter().enumerate() {
                let Some(swarm) = host.keys[w].and_then(|key| host.ep.swarm(key)) else { continue };
                let (held, chunks) = (swarm.held().len(), film.chunks);
                let _ = writeln!(text, "  {held} of {chunks} chunks, size {:?}", swarm.chunks());
                for peer in swarm.peers() {
                    let _ = writeln!(text, "    {:?}", host.ep.peer(peer));
                }
            }
        }
        text
    }
}

impl Host {
    fn new(e: usize, now: Instant, films: &[Arc<Film>; FILMS], bytes: &mut Bytes<'_>) -> Self {
        let limits = bytes.next();
        let on = |bit: u32| limits >> bit & 1 != 0;
        let usual = EndpointConfig::default();
        let config = EndpointConfig {
            pex: on(0),
            max_half_open: if on(1) { 2 } else { usual.max_half_open },
            max_inbound: if on(2) { 3 } else { usual.max_inbound },
            max_queued_requests: if on(3) { 4 } else { usual.max_queued_requests },
            max_have_parts: if on(4) { 4 } else { usual.max_have_parts },
            max_events: if on(5) { 4 } else { usual.max_events },
            upload_limit: on(6).then_some(50_000),
            download_limit: on(7).then_some(50_000),
            ban_time: Duration::from_secs(60),
            max_learned: 4,
            ..usual
        };
        let mood = Arc::new(AtomicU8::new(Witness::GOOD));
        let store = |w: usize| -> Option<Box<dyn ContentStore>> {
            let film = Arc::clone(&films[w]);
            let inner = if e == w { film.full() } else { MemoryStore::new(ALG, CHUNK as u32) };
            Some(Box::new(Witness { film, inner, mood: Arc::clone(&mood) }))
        };
        let mut host = Self {
            ep: Endpoint::new(config, [e as u8; 32], now),
            now,
            mood: Arc::clone(&mood),
            keys: [None; FILMS],
            stores: [store(0), store(1)],
            peers: Vec::new(),
            last: [0; 20],
            proven: BTreeSet::new(),
            balance: BTreeMap::new(),
            told: BTreeMap::new(),
        };
        for (w, film) in films.iter().enumerate() {
            host.reopen(now, w, film);
        }
        host
    }

    fn swarm(&mut self, w: usize) -> Option<SwarmMut<'_>> {
        self.ep.swarm_mut(self.keys[w]?)
    }

    fn connect(&mut self, now: Instant, w: usize, remote: SocketAddr) {
        let Some(key) = self.keys[w] else { return };
        if let Ok(peer) = self.ep.connect(now, key, remote) {
            self.proven.insert(remote);
            self.peers.push(peer);
        }
    }

    fn close(&mut self, now: Instant, w: usize) {
        if let Some(key) = self.keys[w].take() {
            self.stores[w] = Some(self.ep.close(now, key).expect("an open swarm"));
            assert!(self.ep.close(now, key).is_none());
        }
    }

    fn reopen(&mut self, now: Instant, w: usize, film: &Film) {
        let Some(store) = self.stores[w].take() else { return };
        if self.mood.load(Ordering::Relaxed) == Witness::BROKEN {
            self.mood.store(Witness::GOOD, Ordering::Relaxed);
        }
        self.keys[w] = Some(self.ep.open(now, film.config(), store).expect("what it stored is its own"));
    }

    fn store_done(&mut self, now: Instant, w: usize, done: StoreDone) {
        if let Some(key) = self.keys[w] {
            self.ep.handle_store(now, key, done);
        }
    }

    fn timeout(&mut self, now: Instant) {
        self.now = self.now.max(now);
        self.ep.handle_timeout(now);
    }

    fn receive(&mut self, now: Instant, from: SocketAddr, data: &[u8], stride: usize) {
        self.now = self.now.max(now);
        data.chunks(stride.max(1)).for_each(|datagram| self.received(from, datagram));
        self.ep.handle(now, [Datagrams { remote: from, data, stride }]);
    }

    /// Keeps account of a datagram that comes in.
    fn received(&mut self, from: SocketAddr, datagram: &[u8]) {
        self.balance.entry(from).or_default().0 += datagram.len();
        let echoes = split_channel(datagram).map(|(channel, _)| channel);
        if self.told.get(&from).is_some_and(|told| told.iter().any(|&id| Some(id) == echoes)) {
            self.proven.insert(from);
        }
    }

    fn sent(&mut self, to: SocketAddr, datagram: &[u8]) {
        let (got, gave) = self.balance.entry(to).or_default();
        *gave += datagram.len();
        assert!(self.proven.contains(&to) || *gave <= *got, "{gave} bytes to {to}, which sent {got} and is not proven");
        let Some((_, payload)) = split_channel(datagram) else { return };
        if let Ok(Some(hello)) = Reader::new(payload).handshake()
            && hello.source != ChannelId::NONE
        {
            let told = self.told.entry(to).or_default();
            if !told.contains(&hello.source) {
                told.push(hello.source);
            }
        }
    }

    fn event(&mut self) -> bool {
        let Some(event) = self.ep.poll_event() else { return false };
        match event {
            Event::PeerUp { peer, .. } => {
                if !self.peers.contains(&peer) {
                    self.peers.push(peer);
                }
                self.peers.drain(..self.peers.len().saturating_sub(64));
            }
            Event::PeerDown { peer, reason, .. } => {
                assert!(self.ep.peer(peer).is_none(), "{reason:?}");
                self.peers.retain(|&p| p != peer);
            }
            _ => {}
        }
        true
    }

    fn check(&mut self) {
        let stats = fields(self.ep.stats());
        assert!(stats.iter().zip(&self.last).all(|(now, before)| now >= before), "counters only grow");
        self.last = stats;
        for swarm in self.keys.iter().flatten().filter_map(|&key| self.ep.swarm(key)) {
            if let Some(chunks) = swarm.chunks() {
                assert!(swarm.held().last().is_none_or(|last| last < chunks));
            }
            assert!(swarm.peers().count() <= EndpointConfig::default().max_peers);
            for peer in swarm.peers() {
                let peer = self.ep.peer(peer).expect("a member");
                assert!(peer.up);
                assert!(peer.requested * CHUNK <= EndpointConfig::default().max_requested_per_peer);
            }
        }
    }
}

impl Film {
    /// A datagram of sound messages, whose content may be false.
    fn composed(&self, channel: ChannelId, bytes: &mut Bytes<'_>) -> Vec<u8> {
        let format = self.format();
        let mut buffer = vec![0; 1400];
        let mut writer = Writer::new(&mut buffer, channel);
        if channel == ChannelId::NONE || bytes.below(4) == 0 {
            let code = |bytes: &mut Bytes<'_>, right: u8| if bytes.below(24) == 0 { bytes.next() } else { right };
            let source = ChannelId(u32::from(bytes.below(6) as u8));
            let options = Options {
                version: Some(code(bytes, 1)),
                min_version: bytes.bit().then_some(1),
                swarm_id: Some(self.metadata.id.as_bytes()).filter(|_| bytes.below(16) != 1),
                integrity: Some(code(bytes, self.metadata.integrity.code())),
                hash: Some(code(bytes, self.metadata.hash.code())),
                addressing: Some(code(bytes, self.metadata.addressing.code())),
                supported: bytes.bit().then(|| SupportedMessages::from_bitmap(bytes.take(2))),
                chunk_size: bytes.bit().then_some(CHUNK as u32),
                ..Options::default()
            };
            let options = if source == ChannelId::NONE { Options::default() } else { options };
            let _ = writer.put(&Message::Handshake(Handshake { source, options }), &format);
        }
        for _ in 0..bytes.below(6) {
            let kind = bytes.next() % 16;
            let Some(range) = any_range(bytes) else { continue };
            let chunk = range.first() % (self.chunks + 1);
            match kind {
                0 | 1 => {
                    // A chunk with its proof, and perhaps a lie in it.
                    let mut data = self.chunk(chunk).to_vec();
                    let lie = bytes.below(8);
                    if lie == 1 {
                        data.iter_mut().take(1).for_each(|byte| *byte ^= 1);
                    }
                    let mut nodes: Vec<Bin> = peaks(self.chunks).collect();
                    if let Some(peak) = peak_of(chunk, self.chunks) {
                        nodes.extend(uncles(chunk, peak));
                    }
                    for node in nodes {
                        let Some(hash) = self.hashes.get(&node).filter(|_| lie != 2) else { continue };
                        let _ = writer.put(&Message::Integrity { range: node.range(), hash: hash.as_bytes() }, &format);
                    }
                    let range = ChunkRange::single(chunk);
                    let timestamp = u64::from(bytes.next()) << bytes.below(64);
                    let _ = writer.put(&Message::Data { range, timestamp, data: &data }, &format);
                }
                2 => {
                    let delay = u64::from(bytes.next()) << bytes.below(64);
                    let _ = writer.put(&Message::Ack { range, delay }, &format);
                }
                3 | 4 => {
                    let _ = writer.put(&Message::Have { range: Some(range) }, &format);
                }
                5 => {
                    let hash = self.hashes.values().nth(bytes.below(9)).map(Hash::as_bytes).unwrap_or(&[7; 20]);
                    let _ = writer.put(&Message::Integrity { range, hash }, &format);
                }
                6 => {
                    let ip = Ipv4Addr::from_bits(u32::from(bytes.next()) << 24 | u32::from(bytes.next()));
                    let _ = writer.put(&Message::PexResV4(SocketAddrV4::new(ip, bytes.next().into())), &format);
                }
                7 => {
                    let ip = Ipv4Addr::new(10, 0, 0, bytes.next()).to_ipv6_mapped();
                    let _ = writer.put(&Message::PexResV6(SocketAddrV6::new(ip, 1, 0, 0)), &format);
                }
                8 => {
                    let _ = writer.put(&Message::PexReq, &format);
                }
                9..=11 => {
                    let _ = writer.put(&Message::Request { range }, &format);
                }
                12 => {
                    let _ = writer.put(&Message::Cancel { range }, &format);
                }
                13 => {
                    let _ = writer.put(&Message::Choke, &format);
                }
                14 => {
                    let _ = writer.put(&Message::Unchoke, &format);
                }
                _ => {
                    let _ = writer.put(&Message::PexResCert(bytes.take(3)), &format);
                }
            }
        }
        let len = writer.finish();
        buffer.truncate(len);
        buffer
    }
}

/// A datagram under way: from whom, to whom, and its bytes.
type Flying = (SocketAddr, SocketAddr, Vec<u8>);

/// The next datagram that reaches its end, unless something else becomes of it: it may be overtaken, lost, doubled, damaged or
/// cut short.
fn next_on(line: &mut VecDeque<Flying>, bytes: &mut Bytes<'_>) -> Option<Flying> {
    let fate = bytes.next();
    if fate >= 0xF0 && line.len() > 1 {
        line.rotate_left(1);
    }
    let (from, to, mut datagram) = line.pop_front()?;
    match fate {
        0xD0..=0xD7 => return None,
        0xD8..=0xDF => line.push_back((from, to, datagram.clone())),
        0xE0..=0xE7 => {
            let at = bytes.below(datagram.len().min(256));
            if let Some(byte) = datagram.get_mut(at) {
                *byte ^= 1 << bytes.below(8);
            }
        }
        0xE8..=0xEF => datagram.truncate(bytes.below(256)),
        _ => {}
    }
    Some((from, to, datagram))
}

/// A chunk near the front, or one of the last there can be.
fn any_chunk(bytes: &mut Bytes<'_>) -> ChunkId {
    let near = u64::from(bytes.next());
    match bytes.next() {
        0xFF => u64::MAX - near,
        0xFE => u64::from(u32::MAX) - near,
        0xFD => near << 20,
        _ => near,
    }
}

/// A range; where bins are spoken often one that can be named.
fn any_range(bytes: &mut Bytes<'_>) -> Option<ChunkRange> {
    let first = any_chunk(bytes);
    let len = 1_u64 << (bytes.next() % 70).min(63);
    let aligned = bytes.next() < 0xC0;
    let first = if aligned { first & !(len - 1) } else { first };
    let last = first.saturating_add(len - 1);
    ChunkRange::new(first, if aligned { last } else { last.saturating_sub(1).max(first) })
}

fn fields(s: &Stats) -> [u64; 20] {
    [
        s.datagrams_in,
        s.datagrams_out,
        s.bytes_in,
        s.bytes_out,
        s.chunks_accepted,
        s.chunks_sent,
        s.dropped_unknown_channel,
        s.dropped_malformed,
        s.dropped_unknown_message,
        s.dropped_handshakes,
        s.dropped_corrupt,
        s.dropped_unproven,
        s.dropped_duplicate,
        s.dropped_unrequested,
        s.dropped_busy,
        s.dropped_over_limit,
        s.ignored_unfounded,
        s.requests_lapsed,
        s.chunks_lost,
        s.dropped_events,
    ]
}
