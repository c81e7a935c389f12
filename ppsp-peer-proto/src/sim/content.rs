//! Content that a test knows, and a store that knows it too: a wrong byte is noticed where it is written.

use alloc::{
    boxed::Box,
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    vec,
    vec::Vec,
};
use core::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use ppsp_core::{
    Bin, ChunkAddressing, ChunkId, ChunkRange, ContentStore, Hash, HashAlg, IntegrityMethod, Read, StoreError,
    StoredSize, SwarmId, SwarmMetadata, Write, hash_chunks, hash_pairs,
};

use super::Chance;

/// Pseudo-random content with its whole hash tree, built the naive way: the judge of all that peers do.
#[derive(Debug)]
pub struct Content {
    bytes: Vec<u8>,
    metadata: SwarmMetadata,
    /// `levels[h][i]`: the node of height `h` over chunks from `i << h` on.
    levels: Vec<Vec<Hash>>,
}

impl Content {
    /// `length` bytes that depend on the seed alone.
    pub fn new(seed: u64, length: usize, chunk_size: u32, hash: HashAlg, addressing: ChunkAddressing) -> Arc<Self> {
        let mut bytes = vec![0; length];
        Chance::new(seed, "content", 0).fill(&mut bytes);
        let empty = Hash::empty(hash);
        let chunks: Vec<&[u8]> =
            if bytes.is_empty() { vec![&[][..]] } else { bytes.chunks(chunk_size as usize).collect() };
        let mut leaves = vec![empty; chunks.len()];
        hash_chunks(hash, &chunks, &mut leaves);
        let mut levels = vec![leaves];
        while let Some(below) = levels.last().filter(|level| level.len() > 1) {
            let pairs: Vec<[Hash; 2]> =
                below.chunks(2).map(|pair| [pair[0], pair.get(1).copied().unwrap_or(empty)]).collect();
            let mut level = vec![empty; pairs.len()];
            hash_pairs(hash, &pairs, &mut level);
            levels.push(level);
        }
        let root = levels[levels.len() - 1][0];
        let metadata = SwarmMetadata {
            id: SwarmId::from_root(&root),
            chunk_size,
            addressing,
            integrity: IntegrityMethod::MerkleTree,
            hash,
            content_length: None,
        };
        Arc::new(Self { bytes, metadata, levels })
    }

    /// Metadata without the length, which peers find out then (RFC 7574 §5.6).
    pub fn metadata(&self) -> SwarmMetadata {
        self.metadata.clone()
    }

    /// Metadata with the length.
    pub fn metadata_with_length(&self) -> SwarmMetadata {
        SwarmMetadata { content_length: Some(self.length()), ..self.metadata() }
    }

    /// The content.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Length in bytes.
    pub fn length(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Number of chunks; empty content is one chunk of length zero.
    pub fn chunks(&self) -> u64 {
        self.levels[0].len() as u64
    }

    /// All chunks.
    pub fn everything(&self) -> ChunkRange {
        ChunkRange::new(0, self.chunks() - 1).unwrap_or(ChunkRange::single(0))
    }

    /// One chunk; empty where there is none.
    pub fn chunk(&self, chunk: ChunkId) -> &[u8] {
        let size = u64::from(self.metadata.chunk_size);
        let start = chunk.saturating_mul(size).min(self.length());
        let end = (start + size).min(self.length());
        &self.bytes[start as usize..end as usize]
    }

    /// Any node of the tree that is as wide as the next power of two.
    pub fn hash(&self, node: Bin) -> Hash {
        let index = (node.first_chunk() >> node.height()) as usize;
        let known = self.levels.get(node.height() as usize).and_then(|level| level.get(index));
        known.copied().unwrap_or(Hash::empty(self.metadata.hash))
    }

    /// The peaks, left to right (RFC 7574 §5.6).
    pub fn peaks(&self) -> Vec<Bin> {
        Bin::cover(self.everything()).collect()
    }

    /// The uncles that lead from a chunk to its peak, top first.
    pub fn uncles(&self, chunk: ChunkId) -> Vec<Bin> {
        let peaks = self.peaks();
        let mut node = Bin::leaf(chunk);
        let mut uncles = Vec::new();
        while let Some(at) = node.filter(|at| !peaks.contains(at)) {
            uncles.extend(at.sibling());
            node = at.parent();
        }
        uncles.reverse();
        uncles
    }
}

/// How a store misbehaves, as a slow disk does. Chances are per million calls.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreFaults {
    /// Reads answered [`Read::Pending`].
    pub pending: u32,
    /// Writes answered [`Write::Queued`].
    pub queued: u32,
    /// Writes answered [`Write::Busy`].
    pub busy: u32,
    /// How long it takes until what was owed is there.
    pub latency: Duration,
}

/// What a [`SimStore`] owes to its endpoint, shared with the [`Peer`](super::Peer) that drives both.
#[derive(Debug, Default)]
pub struct Ledger {
    /// A bit for each chunk whose read is pending, and one for each whose write is queued.
    pending: Vec<AtomicU64>,
    queued: Vec<AtomicU64>,
    busy: AtomicBool,
    any: AtomicBool,
    /// Chunks written that were held already.
    rewritten: AtomicU64,
    /// Chunks read that are not held.
    missing: AtomicU64,
    /// Reads and writes in all.
    reads: AtomicU64,
    writes: AtomicU64,
}

/// Something a store owed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Owed {
    /// A chunk that was [`Read::Pending`].
    Read(ChunkId),
    /// A chunk that was [`Write::Queued`].
    Write(ChunkId),
    /// Room after [`Write::Busy`].
    Room,
}

impl Ledger {
    fn new(chunks: u64) -> Arc<Self> {
        let words = || (0..chunks.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Self { pending: words(), queued: words(), ..Self::default() })
    }

    /// What came to be owed since the last call.
    pub fn take(&self) -> Vec<Owed> {
        let mut owed = Vec::new();
        if !self.any.swap(false, Ordering::Relaxed) {
            return owed;
        }
        let bits = |words: &[AtomicU64], each: &mut dyn FnMut(u64)| {
            for (i, word) in words.iter().enumerate() {
                let mut word = word.swap(0, Ordering::Relaxed);
                while word != 0 {
                    each(i as u64 * 64 + u64::from(word.trailing_zeros()));
                    word &= word - 1;
                }
            }
        };
        bits(&self.pending, &mut |chunk| owed.push(Owed::Read(chunk)));
        bits(&self.queued, &mut |chunk| owed.push(Owed::Write(chunk)));
        if self.busy.swap(false, Ordering::Relaxed) {
            owed.push(Owed::Room);
        }
        owed
    }

    /// Chunks written although they were held.
    pub fn rewritten(&self) -> u64 {
        self.rewritten.load(Ordering::Relaxed)
    }

    /// Chunks read although they were not held.
    pub fn missing(&self) -> u64 {
        self.missing.load(Ordering::Relaxed)
    }

    /// Calls of `read_chunk`.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Calls of `write_chunk`.
    pub fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    fn mark(&self, words: &[AtomicU64], chunk: ChunkId) {
        if let Some(word) = words.get(chunk as usize / 64) {
            word.fetch_or(1 << (chunk % 64), Ordering::Relaxed);
        }
        self.any.store(true, Ordering::Relaxed);
    }
}

/// A store of known content. It keeps no bytes, only which are held: a chunk or hash that differs from the truth is
/// a panic at the moment it is written, so that a completed swarm is a verified one.
#[derive(Debug)]
pub struct SimStore {
    content: Arc<Content>,
    held: Bits,
    hashes: Bits,
    sized: bool,
    live: bool,
    faults: StoreFaults,
    chance: Chance,
    ledger: Arc<Ledger>,
    /// Reads that were pending once and are answered now.
    ready: BTreeMap<ChunkId, ()>,
    recent: VecDeque<ChunkId>,
}

impl SimStore {
    /// A store that holds `held` of the content.
    pub fn new(content: &Arc<Content>, held: &[ChunkRange]) -> Self {
        let chunks = content.chunks();
        let mut store = Self {
            content: Arc::clone(content),
            held: Bits::new(chunks),
            hashes: Bits::new(2 * chunks.next_power_of_two()),
            sized: !held.is_empty(),
            live: false,
            faults: StoreFaults::default(),
            chance: Chance::new(0, "store", 0),
            ledger: Ledger::new(chunks),
            ready: BTreeMap::new(),
            recent: VecDeque::new(),
        };
        for chunk in held.iter().flat_map(|range| range.chunks()) {
            store.held.set(chunk);
            store.prove(chunk);
        }
        store
    }

    /// A store that holds everything.
    pub fn complete(content: &Arc<Content>) -> Self {
        Self::new(content, &[content.everything()])
    }

    /// A store that holds nothing.
    pub fn empty(content: &Arc<Content>) -> Self {
        Self::new(content, &[])
    }

    /// With faults that depend on the seed.
    #[must_use]
    pub fn faulty(mut self, faults: StoreFaults, chance: Chance) -> Self {
        (self.faults, self.chance) = (faults, chance);
        self
    }

    /// Of a live stream, where nobody knows at first which nodes above its end are not filled.
    #[must_use]
    pub fn live(mut self) -> Self {
        self.live = true;
        self
    }

    /// How long it takes until what is owed is there.
    pub fn latency(&self) -> Duration {
        self.faults.latency
    }

    /// What it owes; for who drives the endpoint.
    pub fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.ledger)
    }

    /// Remembers the hashes that prove a chunk.
    fn prove(&mut self, chunk: ChunkId) {
        let mut node = Bin::leaf(chunk);
        // A whole tree is filled by its chunks; stop where another chunk has been.
        while let Some(at) = node.filter(|at| at.number() < self.hashes.len) {
            if self.hashes.get(at.number()) {
                break;
            }
            if at.last_chunk() < self.content.chunks() {
                self.hashes.set(at.number());
                if let Some(sibling) = at.sibling().filter(|s| s.last_chunk() < self.content.chunks()) {
                    self.hashes.set(sibling.number());
                }
            }
            node = at.parent();
        }
        for peak in self.content.peaks() {
            self.hashes.set(peak.number());
        }
    }
}

impl SimStore {
    fn check(&self, chunk: ChunkId, data: &[u8]) {
        self.ledger.writes.fetch_add(1, Ordering::Relaxed);
        assert!(chunk < self.content.chunks(), "chunk {chunk} of {} written", self.content.chunks());
        assert!(data == self.content.chunk(chunk), "wrong bytes written as chunk {chunk}");
    }

    fn take(&mut self, chunk: ChunkId, answer: Write) {
        if self.held.get(chunk) {
            self.ledger.rewritten.fetch_add(1, Ordering::Relaxed);
        }
        self.held.set(chunk);
        if answer == Write::Queued {
            self.ledger.mark(&self.ledger.queued, chunk);
        }
    }
}

impl ContentStore for SimStore {
    fn read_chunk(&mut self, chunk: ChunkId, out: &mut [u8]) -> Result<Read, StoreError> {
        self.ledger.reads.fetch_add(1, Ordering::Relaxed);
        if !self.held.get(chunk) {
            self.ledger.missing.fetch_add(1, Ordering::Relaxed);
            return Ok(Read::Missing);
        }
        if self.faults.pending > 0 && self.ready.remove(&chunk).is_none() && self.chance.hits(self.faults.pending) {
            self.ledger.mark(&self.ledger.pending, chunk);
            // The next read of it is answered; a store need not remember that for ever.
            self.ready.insert(chunk, ());
            self.recent.push_back(chunk);
            if self.recent.len() > 256 {
                self.recent.pop_front().and_then(|old| self.ready.remove(&old));
            }
            return Ok(Read::Pending);
        }
        let bytes = self.content.chunk(chunk);
        out[..bytes.len()].copy_from_slice(bytes);
        Ok(Read::Ready(bytes.len()))
    }

    fn write_chunk(&mut self, chunk: ChunkId, data: &[u8]) -> Result<Write, StoreError> {
        self.check(chunk, data);
        if self.chance.hits(self.faults.busy) {
            self.ledger.busy.store(true, Ordering::Relaxed);
            self.ledger.any.store(true, Ordering::Relaxed);
            return Ok(Write::Busy);
        }
        let answer = if self.chance.hits(self.faults.queued) { Write::Queued } else { Write::Done };
        self.take(chunk, answer);
        Ok(answer)
    }

    /// What is decided for the first chunk holds for its neighbours.
    fn write_run(&mut self, first: ChunkId, chunks: &[&[u8]]) -> Result<(usize, Write), StoreError> {
        let answer = self.write_chunk(first, chunks[0])?;
        if answer == Write::Busy {
            return Ok((1, answer));
        }
        for (chunk, data) in (first + 1..).zip(&chunks[1..]) {
            self.check(chunk, data);
            self.take(chunk, answer);
        }
        Ok((chunks.len(), answer))
    }

    fn read_hash(&mut self, node: Bin) -> Result<Option<Hash>, StoreError> {
        Ok(self.hashes.get(node.number()).then(|| self.content.hash(node)))
    }

    fn write_hash(&mut self, node: Bin, hash: &Hash) -> Result<(), StoreError> {
        let filled = node.last_chunk() < self.content.chunks();
        assert!(filled || self.live, "hash of {node:?} written, which is not filled");
        assert!(*hash == self.content.hash(node), "wrong hash written for {node:?}");
        self.hashes.set(node.number());
        Ok(())
    }

    fn set_size(&mut self, chunks: u64, content_length: Option<u64>) -> Result<(), StoreError> {
        assert_eq!(chunks, self.content.chunks(), "wrong number of chunks");
        assert!(content_length.is_none_or(|length| length == self.content.length()), "wrong length {content_length:?}");
        self.sized = true;
        Ok(())
    }

    fn held(&mut self, each: &mut dyn FnMut(ChunkRange)) -> Result<StoredSize, StoreError> {
        let chunks = self.content.chunks();
        let mut first = None;
        for chunk in 0..=chunks {
            match (self.held.get(chunk), first) {
                (true, None) => first = Some(chunk),
                (false, Some(from)) => {
                    ChunkRange::new(from, chunk - 1).into_iter().for_each(&mut *each);
                    first = None;
                }
                _ => {}
            }
        }
        Ok(StoredSize {
            chunks: self.sized.then_some(chunks),
            content_length: self.held.get(chunks - 1).then(|| self.content.length()),
        })
    }
}

/// A store that fails at the n-th write.
#[derive(Debug)]
pub struct FailingStore {
    inner: SimStore,
    writes_left: u64,
}

impl FailingStore {
    /// Fails once `writes` chunks have been written.
    pub fn new(inner: SimStore, writes: u64) -> Self {
        Self { inner, writes_left: writes }
    }
}

#[derive(Debug)]
struct DiskFull;

impl core::fmt::Display for DiskFull {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("disk full")
    }
}

impl core::error::Error for DiskFull {}

impl ContentStore for FailingStore {
    fn read_chunk(&mut self, chunk: ChunkId, out: &mut [u8]) -> Result<Read, StoreError> {
        self.inner.read_chunk(chunk, out)
    }
    fn write_chunk(&mut self, chunk: ChunkId, data: &[u8]) -> Result<Write, StoreError> {
        match self.writes_left.checked_sub(1) {
            Some(left) => {
                self.writes_left = left;
                self.inner.write_chunk(chunk, data)
            }
            None => Err(StoreError(Box::new(DiskFull))),
        }
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
    fn held(&mut self, each: &mut dyn FnMut(ChunkRange)) -> Result<StoredSize, StoreError> {
        self.inner.held(each)
    }
}

/// A fixed number of bits; beyond them all is false.
#[derive(Debug)]
struct Bits {
    words: Vec<u64>,
    len: u64,
}

impl Bits {
    fn new(len: u64) -> Self {
        Self { words: vec![0; len.div_ceil(64) as usize], len }
    }

    fn get(&self, i: u64) -> bool {
        i < self.len && self.words[(i / 64) as usize] >> (i % 64) & 1 == 1
    }

    fn set(&mut self, i: u64) {
        if i < self.len {
            self.words[(i / 64) as usize] |= 1 << (i % 64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_knows_what_it_holds() {
        let content = Content::new(3, 7 * 1024 + 1, 1024, HashAlg::Sha1, ChunkAddressing::Range32);
        assert_eq!(content.chunks(), 8);
        let mut store = SimStore::new(&content, &[ChunkRange::new(2, 3).unwrap(), ChunkRange::single(7)]);
        let mut held = Vec::new();
        let size = store.held(&mut |range| held.push((range.first(), range.last()))).unwrap();
        assert_eq!(held, [(2, 3), (7, 7)]);
        assert_eq!(size, StoredSize { chunks: Some(8), content_length: Some(7 * 1024 + 1) });
        let mut out = [0; 1024];
        assert_eq!(store.read_chunk(7, &mut out).unwrap(), Read::Ready(1));
        assert_eq!(store.read_chunk(0, &mut out).unwrap(), Read::Missing);
        // What proves chunk 2: itself, its sibling, their parent and its sibling, …
        for n in [4, 6, 5, 1, 3, 11, 7] {
            assert!(store.read_hash(Bin::new(n).unwrap()).unwrap().is_some(), "{n}");
        }
        assert!(store.read_hash(Bin::new(0).unwrap()).unwrap().is_none());
        let _ = store.write_chunk(0, content.chunk(0)).unwrap();
        assert_eq!(store.read_chunk(0, &mut out).unwrap(), Read::Ready(1024));
    }

    #[test]
    fn uncles_lead_to_the_peak() {
        let content = Content::new(3, 7 * 1024, 1024, HashAlg::Sha1, ChunkAddressing::Range32);
        let numbers = |bins: Vec<Bin>| bins.into_iter().map(Bin::number).collect::<Vec<_>>();
        // RFC 7574 §5.3, Figure 4: seven chunks, peaks 3, 9 and 12.
        assert_eq!(numbers(content.peaks()), [3, 9, 12]);
        assert_eq!(numbers(content.uncles(0)), [5, 2]);
        assert_eq!(numbers(content.uncles(6)), []);
    }

    #[test]
    #[should_panic(expected = "wrong bytes")]
    fn a_wrong_byte_is_noticed() {
        let content = Content::new(3, 100, 1024, HashAlg::Sha1, ChunkAddressing::Range32);
        let _ = SimStore::empty(&content).write_chunk(0, &[0; 100]);
    }
}
