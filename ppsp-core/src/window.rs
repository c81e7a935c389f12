use alloc::{boxed::Box, collections::BTreeMap};

use crate::{Bin, ChunkId, ChunkRange, ContentStore, Hash, Read, StoreError, StoredSize, Write};

/// The part of a stream that is not discarded yet, in memory: for sources and viewers of live content. It is as large
/// as the live discard window (RFC 7574 §6.2), and forgets all when it is dropped.
#[derive(Clone, Debug, Default)]
pub struct WindowStore {
    chunks: BTreeMap<ChunkId, Box<[u8]>>,
    /// By the last chunk below them: those that go together stand together.
    hashes: BTreeMap<(ChunkId, Bin), Hash>,
    size: StoredSize,
}

impl WindowStore {
    /// An empty store.
    pub const fn new() -> Self {
        let size = StoredSize { chunks: None, content_length: None };
        Self { chunks: BTreeMap::new(), hashes: BTreeMap::new(), size }
    }

    /// Bytes of content that are held.
    pub fn bytes(&self) -> usize {
        self.chunks.values().map(|chunk| chunk.len()).sum()
    }

    /// Hashes that are held.
    pub fn hashes(&self) -> usize {
        self.hashes.len()
    }
}

impl ContentStore for WindowStore {
    fn read_chunk(&mut self, chunk: ChunkId, out: &mut [u8]) -> Result<Read, StoreError> {
        let Some(data) = self.chunks.get(&chunk) else { return Ok(Read::Missing) };
        let Some(room) = out.get_mut(..data.len()) else { return Ok(Read::Missing) };
        room.copy_from_slice(data);
        Ok(Read::Ready(data.len()))
    }

    fn write_chunk(&mut self, chunk: ChunkId, data: &[u8]) -> Result<Write, StoreError> {
        self.chunks.insert(chunk, data.into());
        Ok(Write::Done)
    }

    fn read_hash(&mut self, node: Bin) -> Result<Option<Hash>, StoreError> {
        Ok(self.hashes.get(&(node.last_chunk(), node)).copied())
    }

    fn write_hash(&mut self, node: Bin, hash: &Hash) -> Result<(), StoreError> {
        self.hashes.insert((node.last_chunk(), node), *hash);
        Ok(())
    }

    fn set_size(&mut self, chunks: u64, content_length: Option<u64>) -> Result<(), StoreError> {
        self.size = StoredSize { chunks: Some(chunks), content_length };
        Ok(())
    }

    fn discard_before(&mut self, chunk: ChunkId) -> Result<(), StoreError> {
        while self.chunks.first_entry().is_some_and(|entry| *entry.key() < chunk) {
            self.chunks.pop_first();
        }
        while self.hashes.first_entry().is_some_and(|entry| entry.key().0 < chunk) {
            self.hashes.pop_first();
        }
        Ok(())
    }

    fn held(&mut self, each: &mut dyn FnMut(ChunkRange)) -> Result<StoredSize, StoreError> {
        self.chunks.keys().for_each(|&chunk| each(ChunkRange::single(chunk)));
        Ok(self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_discarded_takes_no_room() {
        let mut store = WindowStore::new();
        let hash = Hash::from_bytes(&[1; 32]).unwrap();
        for chunk in 0..1000 {
            assert_eq!(store.write_chunk(chunk, &[chunk as u8; 600]).unwrap(), Write::Done);
            (0..5).filter_map(|height| Bin::at(height, chunk)).for_each(|node| store.write_hash(node, &hash).unwrap());
            store.discard_before(chunk.saturating_sub(63)).unwrap();
        }
        assert_eq!(store.bytes(), 64 * 600);
        assert!(store.hashes() <= 2 * 96, "{}", store.hashes());
        let mut out = [0; 600];
        assert_eq!(store.read_chunk(999, &mut out).unwrap(), Read::Ready(600));
        assert_eq!(out, [999_u64 as u8; 600]);
        assert_eq!(store.read_chunk(935, &mut out).unwrap(), Read::Missing);
        assert_eq!(store.read_hash(Bin::leaf(999).unwrap()).unwrap(), Some(hash));
    }
}
