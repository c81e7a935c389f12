use alloc::{boxed::Box, format, string::String, vec::Vec};
use core::ops::Range;

use crate::{
    Bin, ChunkId, ChunkRange, ContentStore, Hash, HashAlg, RangeSet, Read, StoreError, StoredSize, Tree, TreeBuilder,
    Write,
};

/// Content and hashes in memory: for tests, for small content, and as the simplest example of a [`ContentStore`].
///
/// Content lies in one piece that grows up to the furthest chunk written, but never beyond a limit: 1 GiB, unless
/// [`with_limit`](Self::with_limit) sets another.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    hash_len: usize,
    chunk_size: u64,
    limit: u64,
    content: Vec<u8>,
    held: RangeSet,
    size: StoredSize,
    /// Hashes one after another in the order of bin numbers; one of all zeros is missing.
    hashes: Vec<u8>,
}

impl MemoryStore {
    /// Most bytes of content that a store takes by default.
    pub const DEFAULT_LIMIT: u64 = 1 << 30;

    /// An empty store. `alg` and `chunk_size` are those of the swarm.
    pub fn new(alg: HashAlg, chunk_size: u32) -> Self {
        Self {
            hash_len: alg.len(),
            chunk_size: u64::from(chunk_size.max(1)),
            limit: Self::DEFAULT_LIMIT,
            content: Vec::new(),
            held: RangeSet::new(),
            size: StoredSize::default(),
            hashes: Vec::new(),
        }
    }

    /// A store that holds all of `content`, and its tree. Content that is there already is not held to the limit.
    pub fn from_content(alg: HashAlg, chunk_size: u32, content: Vec<u8>) -> (Self, Tree) {
        let mut store = Self::new(alg, chunk_size);
        store.limit = store.limit.max(content.len() as u64);
        let mut builder = TreeBuilder::new(alg, chunk_size);
        let mut sink = |node: Bin, hash: &Hash| store.put_hash(node, hash);
        builder.push(&content, &mut sink);
        let tree = builder.finish(&mut sink);
        store.content = content;
        store.size = StoredSize { chunks: Some(tree.chunks), content_length: Some(tree.content_length) };
        store.held.extend(ChunkRange::with_len(0, tree.chunks));
        (store, tree)
    }

    /// With another limit of the content's length, in bytes.
    #[must_use]
    pub fn with_limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// The content, once all of it is held and its length is known.
    pub fn content(&self) -> Option<&[u8]> {
        let all = ChunkRange::with_len(0, self.size.chunks?)?;
        let length = usize::try_from(self.size.content_length?).ok()?;
        if self.held.covers(all) { self.content.get(..length) } else { None }
    }

    /// As [`content`](Self::content), by value.
    pub fn into_content(mut self) -> Option<Vec<u8>> {
        let length = self.content()?.len();
        self.content.truncate(length);
        Some(self.content)
    }

    /// The chunks held.
    pub fn chunks(&self) -> &RangeSet {
        &self.held
    }

    /// Where the bytes of a chunk lie. The last chunk ends where the content ends.
    fn bytes_of(&self, chunk: ChunkId) -> Option<Range<usize>> {
        let start = chunk.checked_mul(self.chunk_size)?;
        let end = start.checked_add(self.chunk_size)?.min(self.size.content_length.unwrap_or(u64::MAX));
        Some(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }

    fn hash_range(&self, node: Bin) -> Option<Range<usize>> {
        let start = usize::try_from(node.number()).ok()?.checked_mul(self.hash_len)?;
        Some(start..start.checked_add(self.hash_len)?)
    }

    fn put_hash(&mut self, node: Bin, hash: &Hash) {
        let Some(range) = self.hash_range(node) else { return };
        if self.hashes.len() < range.end {
            self.hashes.resize(range.end, 0);
        }
        if let Some(slot) = self.hashes.get_mut(range) {
            slot.copy_from_slice(hash.as_bytes());
        }
    }

    fn put_chunk(&mut self, chunk: ChunkId, data: &[u8]) -> Result<(), StoreError> {
        let len = data.len() as u64;
        if len > self.chunk_size {
            return Err(error(format!("chunk {chunk} is longer than a chunk")));
        }
        let start = chunk.checked_mul(self.chunk_size).ok_or_else(|| self.too_far(chunk))?;
        let end = start.checked_add(len).filter(|&end| end <= self.limit).ok_or_else(|| self.too_far(chunk))?;
        let (Ok(from), Ok(to)) = (usize::try_from(start), usize::try_from(end)) else {
            return Err(self.too_far(chunk));
        };
        if self.content.len() < to {
            self.content.try_reserve(to - self.content.len()).map_err(|e| StoreError(Box::new(e)))?;
            self.content.resize(to, 0);
        }
        if let Some(slot) = self.content.get_mut(from..to) {
            slot.copy_from_slice(data);
        }
        // Only the last chunk may be short: it tells where the content ends.
        if len < self.chunk_size {
            self.size.content_length = Some(end);
        }
        Ok(())
    }

    fn too_far(&self, chunk: ChunkId) -> StoreError {
        error(format!("chunk {chunk} lies beyond the limit of {} bytes", self.limit))
    }
}

impl ContentStore for MemoryStore {
    fn read_chunk(&mut self, chunk: ChunkId, out: &mut [u8]) -> Result<Read, StoreError> {
        if !self.held.contains(chunk) {
            return Ok(Read::Missing);
        }
        let Some(data) = self.bytes_of(chunk).and_then(|range| self.content.get(range)) else {
            return Ok(Read::Missing);
        };
        let room = out.get_mut(..data.len()).ok_or_else(|| error("buffer is shorter than a chunk".into()))?;
        room.copy_from_slice(data);
        Ok(Read::Ready(data.len()))
    }

    fn write_chunk(&mut self, chunk: ChunkId, data: &[u8]) -> Result<Write, StoreError> {
        self.write_run(chunk, &[data]).map(|(_, answer)| answer)
    }

    fn write_run(&mut self, first: ChunkId, chunks: &[&[u8]]) -> Result<(usize, Write), StoreError> {
        for (i, data) in (0..).zip(chunks) {
            self.put_chunk(first.saturating_add(i), data)?;
        }
        self.held.extend(ChunkRange::with_len(first, chunks.len() as u64));
        Ok((chunks.len(), Write::Done))
    }

    fn read_hash(&mut self, node: Bin) -> Result<Option<Hash>, StoreError> {
        let bytes = self.hash_range(node).and_then(|range| self.hashes.get(range));
        Ok(bytes.and_then(Hash::from_bytes).filter(|hash| !hash.is_empty()))
    }

    fn write_hash(&mut self, node: Bin, hash: &Hash) -> Result<(), StoreError> {
        if hash.as_bytes().len() != self.hash_len {
            return Err(error("hash of another function".into()));
        }
        // Above chunks that are never taken no hash is of use, and its number would make the table grow.
        if node.last_chunk() <= self.limit / self.chunk_size {
            self.put_hash(node, hash);
        }
        Ok(())
    }

    fn set_size(&mut self, chunks: u64, content_length: Option<u64>) -> Result<(), StoreError> {
        self.size.chunks = Some(chunks);
        self.size.content_length = content_length.or(self.size.content_length);
        if let Some(length) = content_length.filter(|&length| length <= self.limit) {
            // All the room at once, for it is cheaper so; where it is not to be had, writing will say it.
            let hashes = chunks.saturating_mul(2).saturating_mul(self.hash_len as u64);
            for (list, len) in [(&mut self.content, length), (&mut self.hashes, hashes)] {
                let more = usize::try_from(len).unwrap_or(usize::MAX).saturating_sub(list.len());
                _ = list.try_reserve_exact(more);
            }
        }
        Ok(())
    }

    fn held(&mut self, each: &mut dyn FnMut(ChunkRange)) -> Result<StoredSize, StoreError> {
        self.held.runs().for_each(each);
        Ok(self.size)
    }
}

fn error(message: String) -> StoreError {
    StoreError(message.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SwarmMetadata, Unverified, Verdict, Verifier, peak_of, tree::tests::noise, uncles};
    use std::{string::ToString, vec};

    // A whole transfer from store to store, without a protocol, and a restart in its middle.
    #[test]
    fn from_store_to_store() {
        for len in [0, 1, 512, 513, 5 * 512, 40 * 512 - 1] {
            let content = noise(len, 7);
            let (mut from, tree) = MemoryStore::from_content(HashAlg::Sha1, 512, content.clone());
            assert_eq!(from.content(), Some(&content[..]));
            let metadata = SwarmMetadata { chunk_size: 512, hash: HashAlg::Sha1, ..SwarmMetadata::of_root(&tree.root) };
            let mut to = MemoryStore::new(HashAlg::Sha1, 512);
            let mut verifier = Verifier::new(&metadata).unwrap();
            let (mut verdicts, mut proven, mut buffer) = (vec![], vec![], [0; 512]);
            for chunk in 0..tree.chunks {
                if chunk == tree.chunks / 2 {
                    let mut held = RangeSet::new();
                    let size = to
                        .held(&mut |run| {
                            held.insert(run);
                        })
                        .unwrap();
                    verifier = Verifier::new(&metadata).unwrap();
                    if let Some(chunks) = size.chunks {
                        let mut read = |node| to.read_hash(node).unwrap();
                        let kept = verifier.restore(chunks, size.content_length, &held, &mut read);
                        assert_eq!((&kept, verifier.chunks()), (&held, Some(tree.chunks)));
                    }
                }
                let mut claims = tree.peaks.clone();
                for node in uncles(chunk, peak_of(chunk, tree.chunks).unwrap()) {
                    claims.push(crate::Claim { node, hash: from.read_hash(node).unwrap().unwrap() });
                }
                let Read::Ready(len) = from.read_chunk(chunk, &mut buffer).unwrap() else { panic!("not ready") };
                verifier.offer_peaks(&claims, &mut proven);
                let input = Unverified { chunk, data: &buffer[..len], claims: [&claims, &[]] };
                verifier.verify(&[input], &mut verdicts, &mut proven);
                assert_eq!(verdicts, [Verdict::Accepted]);
                assert_eq!(to.content(), None);
                assert_eq!(to.write_chunk(chunk, &buffer[..len]).unwrap(), Write::Done);
                proven.drain(..).for_each(|claim| to.write_hash(claim.node, &claim.hash).unwrap());
                to.set_size(verifier.chunks().unwrap(), verifier.content_length()).unwrap();
            }
            assert_eq!(to.hashes, from.hashes);
            assert_eq!(to.into_content(), Some(content));
        }
    }

    #[test]
    fn grows_within_its_limit() {
        let mut store = MemoryStore::new(HashAlg::Sha256, 1024).with_limit(4096);
        assert_eq!(store.write_chunk(3, &[1; 1024]).unwrap(), Write::Done);
        for chunk in [4, 1 << 40, u64::MAX] {
            let error = store.write_chunk(chunk, &[1; 1024]).unwrap_err();
            assert!(error.to_string().contains("beyond the limit of 4096 bytes"), "{error}");
        }
        store.write_hash(Bin::ALL, &Hash::from_bytes(&[1; 32]).unwrap()).unwrap();
        assert_eq!(store.hashes.len(), 0);
        assert!(store.write_hash(Bin::leaf(0).unwrap(), &Hash::empty(HashAlg::Sha1)).is_err());
        assert!(store.write_chunk(0, &[0; 1025]).is_err());
        let mut out = [0; 1024];
        assert_eq!(store.read_chunk(0, &mut out).unwrap(), Read::Missing);
        assert_eq!(store.read_chunk(3, &mut out).unwrap(), Read::Ready(1024));
        assert_eq!(out, [1; 1024]);
        assert!(store.read_chunk(3, &mut out[1..]).is_err());
        assert_eq!(store.read_hash(Bin::ALL).unwrap(), None);
        assert_eq!(store.chunks(), &RangeSet::from(ChunkRange::single(3)));
        assert_eq!(store.into_content(), None);
    }
}
