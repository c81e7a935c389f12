//! A live stream that is kept, from the chunk on where keeping began.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use ppsp_core::{
    Bin, ChunkId, ChunkRange, ContentStore, Hash, IntegrityMethod, RangeSet, Read, StoreError, StoredSize, SwarmId,
    SwarmMetadata, Tree, Write,
};

use super::{
    FileError, Places, State, finish_file, io_error,
    open::Ground,
    places::{replace_file, stamp_of},
    tree_file::{TreeFile, read_up_to},
};

/// A [`ContentStore`] of a live swarm that keeps all. A clone is the same one.
///
/// While it goes on the content is in `NAME.part`, beginning with the first chunk kept: whatever happens to this process, that
/// can be played. What ended well and began with the stream becomes on-demand content without hashing anything again.
#[derive(Clone, Debug)]
pub struct Recording(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    places: Places,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    metadata: SwarmMetadata,
    content: File,
    tree: TreeFile,
    /// The chunk at the beginning of the file.
    base: Option<ChunkId>,
    held: RangeSet,
    /// Bytes held.
    bytes: u64,
}

/// What became of a recording.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// Bytes of the stream in it.
    pub bytes: u64,
    /// Its first chunk.
    pub base: ChunkId,
    /// Chunks that never came; the file has zeros there.
    pub missing: u64,
    /// As on-demand content, where it is the whole stream.
    pub whole: Option<SwarmMetadata>,
}

impl Recording {
    /// A new one of this live swarm.
    ///
    /// # Errors
    ///
    /// [`FileError`]: nothing is written over.
    pub fn create(places: Places, metadata: &SwarmMetadata) -> Result<Self, FileError> {
        let mut ground = Ground::take(&places)?;
        for path in [&places.content, &places.part, &places.state] {
            if path.symlink_metadata().is_ok() {
                return Err(FileError::InTheWay(path.clone()));
            }
        }
        if ground.had_tree {
            return Err(FileError::InTheWay(places.tree.clone()));
        }
        let content = OpenOptions::new().read(true).write(true).create_new(true).open(&places.part);
        let content = content.map_err(|e| io_error(&places.part, "write", e))?;
        let tree = TreeFile::new(Arc::clone(&ground.tree_file), metadata.hash.len());
        ground.made = false;
        drop(ground);
        let metadata = metadata.clone();
        let inner = Inner { metadata, content, tree, base: None, held: RangeSet::new(), bytes: 0 };
        Ok(Self(Arc::new(Shared { places, inner: Mutex::new(inner) })))
    }

    /// The first chunk to keep; to be said once, before any is wanted.
    pub fn begin(&self, base: ChunkId) {
        self.inner().base.get_or_insert(base);
    }

    /// Bytes held.
    pub fn bytes(&self) -> u64 {
        self.inner().bytes
    }

    /// Ends it. `tree` is that of the whole stream, where it is known: see
    /// [`recorded`](ppsp_peer_proto::Endpoint::recorded).
    ///
    /// # Errors
    ///
    /// [`FileError`]. What was kept is in the part then.
    pub fn finish(&self, tree: Option<&Tree>) -> Result<Recorded, FileError> {
        let places = &self.0.places;
        let mut inner = self.inner();
        let unwritten = |e: io::Error| io_error(&places.part, "write", e);
        let base = inner.base.unwrap_or(0);
        let end = inner.held.last().map_or(base, |last| last + 1);
        let missing = (end - base) - inner.held.len();
        let mut recorded = Recorded { bytes: inner.bytes, base, missing, whole: None };
        if inner.held.is_empty() {
            return Ok(recorded);
        }
        inner.content.sync_data().map_err(unwritten)?;
        match tree.filter(|tree| base == 0 && missing == 0 && tree.chunks == end) {
            Some(tree) => {
                let metadata = SwarmMetadata {
                    id: SwarmId::from_root(&tree.root),
                    integrity: IntegrityMethod::MerkleTree,
                    addressing: Default::default(),
                    content_length: Some(tree.content_length),
                    ..inner.metadata.clone()
                };
                metadata.check()?;
                inner.content.set_len(tree.content_length).map_err(unwritten)?;
                inner.tree.flush().map_err(|e| io_error(&places.tree, "write", e))?;
                inner.tree.file().sync_data().map_err(|e| io_error(&places.tree, "write", e))?;
                let state = State {
                    metadata: metadata.clone(),
                    chunks: Some(tree.chunks),
                    stamp: Some(stamp_of(&inner.content).map_err(unwritten)?),
                    complete: true,
                    held: inner.held.clone(),
                };
                replace_file(&places.state, &state.encode()).map_err(|e| io_error(&places.state, "write", e))?;
                recorded.whole = Some(metadata);
            }
            None => _ = fs::remove_file(&places.tree), // of no use without a root
        }
        finish_file(places)?;
        Ok(recorded)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, doing: &'static str, source: io::Error) -> StoreError {
        StoreError(Box::new(io_error(&self.0.places.part, doing, source)))
    }
}

impl Drop for Shared {
    /// What holds nothing is in nobody's way. The file of the tree is locked until it is gone.
    fn drop(&mut self) {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        if inner.held.is_empty() {
            _ = fs::remove_file(&self.places.part);
            _ = fs::remove_file(&self.places.tree);
        }
    }
}

impl Inner {
    /// Where a chunk lies.
    fn offset(&self, chunk: ChunkId) -> Option<u64> {
        chunk.checked_sub(self.base?)?.checked_mul(u64::from(self.metadata.chunk_size))
    }
}

impl ContentStore for Recording {
    fn read_chunk(&mut self, chunk: ChunkId, out: &mut [u8]) -> Result<Read, StoreError> {
        let inner = self.inner();
        let Some(offset) = inner.offset(chunk).filter(|_| inner.held.contains(chunk)) else { return Ok(Read::Missing) };
        let room = out.len().min(inner.metadata.chunk_size as usize);
        let read = read_up_to(&inner.content, &mut out[..room], offset);
        read.map(Read::Ready).map_err(|e| self.error("read", e))
    }

    fn write_chunk(&mut self, chunk: ChunkId, data: &[u8]) -> Result<Write, StoreError> {
        let mut inner = self.inner();
        let Some(offset) = inner.offset(chunk) else {
            return Err(self.error("write what was before the beginning in", io::ErrorKind::InvalidInput.into()));
        };
        inner.content.write_all_at(data, offset).map_err(|e| self.error("write", e))?;
        if inner.held.insert(ChunkRange::single(chunk)) {
            inner.bytes += data.len() as u64;
        }
        Ok(Write::Done)
    }

    fn read_hash(&mut self, node: Bin) -> Result<Option<Hash>, StoreError> {
        let hash = self.inner().tree.get(node);
        hash.map_err(|e| self.error("read the hashes of", e))
    }

    fn write_hash(&mut self, node: Bin, hash: &Hash) -> Result<(), StoreError> {
        let written = self.inner().tree.set(node, hash);
        written.map_err(|e| self.error("write the hashes of", e))
    }

    // The size is that of the tree in the end.
    fn set_size(&mut self, _chunks: u64, _content_length: Option<u64>) -> Result<(), StoreError> {
        Ok(())
    }

    fn held(&mut self, _each: &mut dyn FnMut(ChunkRange)) -> Result<StoredSize, StoreError> {
        Ok(StoredSize { chunks: None, content_length: None })
    }
}

#[cfg(test)]
mod tests {
    use ppsp_core::{Claim, HashAlg, TreeBuilder};

    use super::*;
    use crate::store::{FileStore, Opened, SeedOptions};

    fn live() -> SwarmMetadata {
        let link: ppsp_core::Link = format!("ppsp:0f{}?cp=3", "11".repeat(32)).parse().unwrap();
        link.metadata
    }

    #[test]
    fn what_began_later_begins_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("show.ts");
        let mut recording = Recording::create(Places::new(&path, None), &live()).unwrap();
        recording.begin(1_000_000_000_000);
        for chunk in [0, 2] {
            let write = recording.write_chunk(1_000_000_000_000 + chunk, &[chunk as u8 + 1; 1024]);
            assert_eq!(write.unwrap(), Write::Done);
        }
        let mut out = [0; 2000];
        assert_eq!(recording.read_chunk(1_000_000_000_002, &mut out).unwrap(), Read::Ready(1024));
        assert_eq!(recording.read_chunk(1_000_000_000_001, &mut out).unwrap(), Read::Missing);
        let recorded = recording.finish(None).unwrap();
        assert_eq!((recorded.bytes, recorded.missing, recorded.whole), (2048, 1, None));
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes, [[1; 1024], [0; 1024], [3; 1024]].concat());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        let again = Recording::create(Places::new(&path, None), &live()).unwrap_err();
        assert!(matches!(again, FileError::InTheWay(_)), "{again}");
    }

    #[test]
    fn nothing_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let recording = Recording::create(Places::new(&dir.path().join("show.ts"), None), &live()).unwrap();
        assert_eq!(recording.finish(None).unwrap().bytes, 0);
        drop(recording);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn the_whole_is_a_seed_that_is_not_hashed_again() {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::new(&dir.path().join("show.ts"), None);
        let mut recording = Recording::create(places.clone(), &live()).unwrap();
        recording.begin(0);
        let mut builder = TreeBuilder::new(HashAlg::Sha256, 1024);
        let mut hashes = Vec::new();
        for chunk in 0..100_u64 {
            let data = [chunk as u8; 1024];
            let data = &data[..if chunk == 99 { 10 } else { 1024 }];
            builder.push(data, &mut |node, hash| hashes.push(Claim { node, hash: *hash }));
            assert_eq!(recording.write_chunk(chunk, data).unwrap(), Write::Done);
        }
        let tree = builder.finish(&mut |node, hash| hashes.push(Claim { node, hash: *hash }));
        recording.write_hashes(&hashes).unwrap();
        let whole = recording.finish(Some(&tree)).unwrap().whole.unwrap();
        drop(recording);
        let (store, opened) = FileStore::seed(&places, &SeedOptions::default(), &mut |_| ()).unwrap();
        assert!(matches!(opened, Opened::Loaded), "{opened:?}");
        assert_eq!(store.metadata(), whole);
        assert_eq!(store.held_bytes(), 99 * 1024 + 10);
    }
}
