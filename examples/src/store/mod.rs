//! Content in files: [`FileStore`] keeps the content of one swarm, its hash tree and what is known of both.
//!
//! Three files belong to it (see [`Places`]). Bytes become durable in this order: content, then hash tree, then the state
//! that claims them; the state is replaced as a whole. So the state never claims what the disk does not have, and a crash
//! at any moment costs what came after the last [`checkpoint`](FileStore::checkpoint) and no more. The hash tree is not
//! believed when it is opened: it is proven from the root of the swarm (see `check`).

#[cfg(not(unix))]
compile_error!("FileStore reads and writes at offsets in the way of Unix; other systems are not supported yet");

mod check;
mod compare;
mod content_file;
mod error;
mod hashing;
mod open;
mod places;
mod read_at;
mod reader;
mod recording;
mod state;
mod tree_file;

#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
};

use ppsp_core::{
    Bin, ChunkId, ChunkRange, Claim, ContentStore, Hash, RangeSet, Read, StoreError, StoredSize, SwarmMetadata, Write,
};

use content_file::ContentFile;
use places::{replace_file, stamp_of, sync_parent};
use reader::{Finished, Reader};
use tree_file::TreeFile;

pub use compare::compare;
pub use error::FileError;
pub use open::{Notice, Observer, Opened, SeedOptions};
pub use places::Places;
pub use recording::{Recorded, Recording};
pub use state::{Stamp, State, StateError};

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use state::fuzz as fuzz_state;

/// Blocks of content or pages of the tree written under one hold of the lock, while a checkpoint is made.
const FLUSH_AT_ONCE: usize = 16;

/// A [`ContentStore`] over files. Clones are handles to the same store: one for each endpoint, one for whoever makes its
/// progress durable. Once the content is finished, handles read it side by side; before that they take turns.
#[derive(Debug)]
pub struct FileStore {
    shared: Arc<Shared>,
    reader: Reader,
}

impl Clone for FileStore {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), reader: Reader::default() }
    }
}

#[derive(Debug)]
struct Shared {
    places: Places,
    /// Held while a checkpoint is made, so that an older one never replaces a newer.
    checkpoint: Mutex<()>,
    inner: Mutex<Inner>,
    /// Set once all lies in files that do not change any more.
    finished: OnceLock<Finished>,
}

#[derive(Debug)]
struct Inner {
    metadata: SwarmMetadata,
    content: ContentFile,
    tree: TreeFile,
    held: RangeSet,
    chunks: Option<u64>,
    length: Option<u64>,
    /// Where the content lies now: the final name or that of the part.
    path: PathBuf,
    /// The content lies complete under its final name, and looked like this then.
    finished: Option<Stamp>,
    /// Something is not in the state file yet.
    dirty: bool,
}

impl FileStore {
    /// What the swarm is, with the content length where it is known.
    pub fn metadata(&self) -> SwarmMetadata {
        let inner = self.inner();
        SwarmMetadata { content_length: inner.length, ..inner.metadata.clone() }
    }

    /// Where the content lies: under its final name once it is complete and durable.
    pub fn path(&self) -> PathBuf {
        self.inner().path.clone()
    }

    /// Is the content complete, durable, and under its final name?
    pub fn is_finished(&self) -> bool {
        self.inner().finished.is_some()
    }

    /// Number of chunks held.
    pub fn held_chunks(&self) -> u64 {
        self.inner().held.len()
    }

    /// Bytes of content held.
    pub fn held_bytes(&self) -> u64 {
        let inner = self.inner();
        let full = inner.held.len() * u64::from(inner.metadata.chunk_size);
        match (inner.chunks, inner.length) {
            (Some(chunks), Some(length)) if inner.held.contains(chunks - 1) => {
                full - (chunks * u64::from(inner.metadata.chunk_size) - length)
            }
            _ => full,
        }
    }

    /// Makes everything held so far durable, and completes the content under its final name once all of it is held.
    /// `false` where there was nothing to do.
    ///
    /// Waits for the disk: not for the thread that drives the endpoint, which meanwhile goes on with its own handle.
    ///
    /// # Errors
    ///
    /// A full disk, mostly. What the state file said before is still true then.
    pub fn checkpoint(&self) -> Result<bool, FileError> {
        let _serial = self.shared.checkpoint.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(snapshot) = self.snapshot()? else { return Ok(false) };
        let saved = self.save(&snapshot);
        if saved.is_err() {
            self.inner().dirty = true;
        }
        saved.map(|()| true)
    }

    /// Is a finished content file still what it was? To be asked now and then while it is shared.
    ///
    /// # Errors
    ///
    /// [`FileError::Changed`].
    pub fn check_unchanged(&self) -> Result<(), FileError> {
        let inner = self.inner();
        let Some(then) = inner.finished else { return Ok(()) };
        let now = stamp_of(&inner.content.file()).map_err(|e| io_error(&inner.path, "read", e))?;
        match describe_change(then, now) {
            Some(what) => Err(FileError::Changed { path: inner.path.clone(), what }),
            None => Ok(()),
        }
    }

    /// Removes the files of a download of which nothing was ever held. `false`: something is held.
    pub fn discard_if_empty(&self) -> bool {
        let inner = self.inner();
        let empty = inner.held.is_empty() && inner.finished.is_none();
        if empty {
            let Places { part, state, tree, .. } = &self.shared.places;
            for path in [part, state, tree] {
                _ = fs::remove_file(path); // who finds them starts over all the same
            }
        }
        empty
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first handle to a store.
    fn new(places: Places, inner: Inner) -> Self {
        let finished = OnceLock::new();
        let shared = Shared { places, checkpoint: Mutex::new(()), inner: Mutex::new(inner), finished };
        Self { shared: Arc::new(shared), reader: Reader::default() }
    }

    /// Lets handles read by themselves, where all is there.
    fn open_to_readers(&self) -> Result<(), FileError> {
        let mut inner = self.inner();
        let (Some(_), Some(chunks), Some(length)) = (inner.finished, inner.chunks, inner.length) else { return Ok(()) };
        inner.tree.flush().map_err(|e| io_error(&self.shared.places.tree, "write", e))?;
        self.shared.finished.get_or_init(|| Finished {
            content: inner.content.file(),
            tree: inner.tree.file(),
            chunk_size: inner.metadata.chunk_size,
            chunks,
            length,
            hash_len: inner.metadata.hash.len(),
        });
        Ok(())
    }

    /// Hands the content to the operating system and notes what is held by now.
    fn snapshot(&self) -> Result<Option<Snapshot>, FileError> {
        let failed = |inner: &Inner, e| io_error(&inner.path, "write", e);
        // The endpoint waits for the lock: most is written before, a little at a time, but not for ever.
        let mut turns = 16;
        let mut inner = loop {
            let mut inner = self.inner();
            if !inner.dirty {
                return Ok(None);
            }
            let limit = if turns > 0 { FLUSH_AT_ONCE } else { usize::MAX };
            if inner.content.flush_some(limit).map_err(|e| failed(&inner, e))? < limit {
                break inner;
            }
            drop(inner);
            thread::yield_now();
            turns -= 1;
        };
        let file = inner.content.file();
        let complete = inner.is_complete();
        let stamp = match inner.finished {
            // What was hashed counts, not what the file may have become since.
            Some(stamp) => stamp,
            None => {
                if complete && let Some(length) = inner.length {
                    file.set_len(length).map_err(|e| failed(&inner, e))?;
                }
                stamp_of(&file).map_err(|e| failed(&inner, e))?
            }
        };
        let mut state = State {
            metadata: SwarmMetadata { content_length: inner.length, ..inner.metadata.clone() },
            // Before the first chunk is proven this is only what the link says.
            chunks: inner.chunks.filter(|_| !inner.held.is_empty()),
            stamp: Some(stamp),
            complete,
            held: inner.held.clone(),
        };
        if !state.length_is_proven() {
            state.metadata.content_length = None;
        }
        inner.dirty = false;
        Ok(Some(Snapshot { state, content: file, tree: inner.tree.file() }))
    }

    fn save(&self, snapshot: &Snapshot) -> Result<(), FileError> {
        let places = &self.shared.places;
        let path = self.path();
        snapshot.content.sync_data().map_err(|e| io_error(&path, "write", e))?;
        let unwritten = |e| io_error(&places.tree, "write", e);
        // What is changed meanwhile may wait: nobody believes the tree because of where it lies.
        for _ in 0..TreeFile::MAX_PAGES / FLUSH_AT_ONCE {
            if self.inner().tree.flush_some(FLUSH_AT_ONCE).map_err(unwritten)? < FLUSH_AT_ONCE {
                break;
            }
            thread::yield_now();
        }
        snapshot.tree.sync_data().map_err(|e| io_error(&places.tree, "write", e))?;
        replace_file(&places.state, &snapshot.state.encode()).map_err(|e| io_error(&places.state, "write", e))?;
        if snapshot.state.complete && path != places.content {
            finish_file(places)?;
        }
        if snapshot.state.complete {
            let mut inner = self.inner();
            inner.path.clone_from(&places.content);
            inner.finished = snapshot.state.stamp;
            drop(inner);
            self.open_to_readers()?;
        }
        Ok(())
    }
}

/// What a checkpoint is about to claim.
struct Snapshot {
    state: State,
    content: Arc<File>,
    tree: Arc<File>,
}

impl Inner {
    fn is_complete(&self) -> bool {
        self.length.is_some() && self.chunks.is_some_and(|chunks| self.held.len() == chunks)
    }

    fn error(&self, doing: &'static str, source: io::Error) -> StoreError {
        StoreError(Box::new(io_error(&self.path, doing, source)))
    }
}

impl ContentStore for FileStore {
    fn read_chunk(&mut self, chunk: ChunkId, out: &mut [u8]) -> Result<Read, StoreError> {
        if let Some(finished) = self.shared.finished.get() {
            let read = self.reader.chunk(finished, chunk, out);
            let failed = |e| StoreError(Box::new(io_error(&self.shared.places.content, "read", e)));
            return read.map(|length| length.map_or(Read::Missing, Read::Ready)).map_err(failed);
        }
        let mut inner = self.inner();
        if !inner.held.contains(chunk) {
            return Ok(Read::Missing);
        }
        inner.content.read(chunk, out).map(Read::Ready).map_err(|e| inner.error("read", e))
    }

    fn write_chunk(&mut self, chunk: ChunkId, data: &[u8]) -> Result<Write, StoreError> {
        self.write_run(chunk, &[data]).map(|(_, answer)| answer)
    }

    fn write_run(&mut self, first: ChunkId, chunks: &[&[u8]]) -> Result<(usize, Write), StoreError> {
        let mut inner = self.inner();
        for (chunk, data) in (first..).zip(chunks) {
            inner.content.write(chunk, data).map_err(|e| inner.error("write", e))?;
        }
        if let Some(range) = ChunkRange::with_len(first, chunks.len() as u64) {
            inner.held.insert(range);
            inner.dirty = true;
        }
        Ok((chunks.len(), Write::Done))
    }

    fn read_hash(&mut self, node: Bin) -> Result<Option<Hash>, StoreError> {
        let failed = |e| StoreError(Box::new(io_error(&self.shared.places.tree, "read", e)));
        if let Some(finished) = self.shared.finished.get()
            && let Some(hash) = self.reader.hash(finished, node).map_err(failed)?
        {
            return Ok(Some(hash));
        }
        self.inner().tree.get(node).map_err(failed)
    }

    fn write_hash(&mut self, node: Bin, hash: &Hash) -> Result<(), StoreError> {
        self.write_hashes(&[Claim { node, hash: *hash }])
    }

    fn write_hashes(&mut self, claims: &[Claim]) -> Result<(), StoreError> {
        let mut inner = self.inner();
        let failed = |e| StoreError(Box::new(io_error(&self.shared.places.tree, "write", e)));
        claims.iter().try_for_each(|claim| inner.tree.set(claim.node, &claim.hash)).map_err(failed)
    }

    fn set_size(&mut self, chunks: u64, content_length: Option<u64>) -> Result<(), StoreError> {
        let mut inner = self.inner();
        if inner.chunks != Some(chunks) || (content_length.is_some() && inner.length != content_length) {
            inner.chunks = Some(chunks);
            if let Some(length) = content_length {
                inner.length = content_length;
                inner.content.set_end(length);
            }
            inner.dirty = true;
        }
        Ok(())
    }

    fn held(&mut self, each: &mut dyn FnMut(ChunkRange)) -> Result<StoredSize, StoreError> {
        let inner = self.inner();
        inner.held.runs().for_each(each);
        let last_held = inner.chunks.is_some_and(|chunks| inner.held.contains(chunks - 1));
        Ok(StoredSize { chunks: inner.chunks, content_length: inner.length.filter(|_| last_held) })
    }
}

/// Gives complete content its final name, which nothing may have taken meanwhile.
fn finish_file(places: &Places) -> Result<(), FileError> {
    if places.content.symlink_metadata().is_ok() {
        let what = "it appeared during the download; the finished content stays in the .part file".to_owned();
        return Err(FileError::Exists { path: places.content.clone(), what });
    }
    fs::rename(&places.part, &places.content)
        .and_then(|()| sync_parent(&places.content))
        .map_err(|e| io_error(&places.content, "write", e))
}

fn describe_change(then: Stamp, now: Stamp) -> Option<String> {
    if then.size != now.size {
        Some(format!("it had {} bytes, it has {}", then.size, now.size))
    } else if then != now {
        Some("its modification time is another".to_owned())
    } else {
        None
    }
}

fn io_error(path: &Path, doing: &'static str, source: io::Error) -> FileError {
    FileError::Io { path: path.to_owned(), doing, source }
}
