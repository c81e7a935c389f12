//! How a [`FileStore`] comes to be: what is found on disk is compared with what is wanted.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read},
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::Path,
    sync::Arc,
};

use ppsp_core::{ChunkAddressing, ChunkRange, HashAlg, IntegrityMethod, RangeSet, SwarmId, SwarmMetadata};
use rustix::fs::{FlockOperation, flock};

use super::{
    FileError, FileStore, Inner, Places, Stamp, State, check::Checker, content_file::ContentFile, describe_change,
    hashing::hash_file, io_error, places::replace_file, places::stamp_of, tree_file::TreeFile,
};

/// What opening a store tells while it works.
#[derive(Clone, Copy, Debug)]
pub enum Notice<'a> {
    /// New content is hashed.
    Hashing {
        /// Bytes hashed.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// Content on disk is hashed again, because it is not certain that it is what it was.
    Checking {
        /// Bytes hashed.
        done: u64,
        /// Bytes in all; not every one need be hashed.
        total: u64,
    },
    /// Something is not as it should be; it has been dealt with.
    Warning(&'a str),
}

/// Is told how opening a store goes on.
pub type Observer<'o> = dyn FnMut(Notice<'_>) + 'o;

/// What it took to open a store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opened {
    /// Nothing was there.
    New,
    /// The content on disk was taken as it is: its state, size, time and hash tree agree.
    Loaded,
    /// This many bytes on disk were hashed again.
    Checked(u64),
    /// All of the content was hashed.
    Hashed,
}

/// How to hash a file that is shared. What is not given is taken from its state file, else the RFC's default.
#[derive(Clone, Copy, Debug, Default)]
pub struct SeedOptions {
    /// Bytes in a chunk.
    pub chunk_size: Option<u32>,
    /// Function of the hash tree.
    pub hash: Option<HashAlg>,
    /// How ranges of chunks are written on the wire.
    pub addressing: Option<ChunkAddressing>,
    /// Forget what was known of the file before.
    pub rehash: bool,
}

impl FileStore {
    /// Opens a complete file to share it. Hashes it only where that has not been done before.
    ///
    /// # Errors
    ///
    /// All of [`FileError`]; [`FileError::Changed`] where the file was hashed before and is another now.
    pub fn seed(
        places: &Places,
        options: &SeedOptions,
        observer: &mut Observer<'_>,
    ) -> Result<(Self, Opened), FileError> {
        let path = &places.content;
        let file = open_content(places)?;
        let ground = Ground::take(places)?;
        let known = ground.read_state(observer)?.filter(|_| !options.rehash).filter(|state| state.complete);
        let fits = |state: &State| {
            let m = &state.metadata;
            options.chunk_size.is_none_or(|size| size == m.chunk_size) && options.hash.is_none_or(|hash| hash == m.hash)
        };
        let stamp = stamp_of(&file).map_err(|e| io_error(path, "read", e))?;
        if let Some(mut state) = known.filter(fits) {
            state.metadata.addressing = options.addressing.unwrap_or(state.metadata.addressing);
            state.metadata.check()?;
            return ground.seed_known(file, stamp, state, observer);
        }
        if places.part.exists() {
            return Err(FileError::Exists {
                path: places.part.clone(),
                what: "an unfinished download uses the same state files".to_owned(),
            });
        }
        ground.seed_new(file, stamp, options, observer)
    }

    /// Opens a download: a new one, one that was broken off, or one that is complete already.
    ///
    /// # Errors
    ///
    /// All of [`FileError`]; [`FileError::Exists`] and [`FileError::OtherContent`] where other content is in the way.
    pub fn download(
        places: &Places,
        metadata: &SwarmMetadata,
        observer: &mut Observer<'_>,
    ) -> Result<(Self, Opened), FileError> {
        metadata.check()?;
        check_name(places)?;
        let mut ground = Ground::take(places)?;
        let state = ground.read_state(observer)?;
        if let Some(other) = state.as_ref().filter(|state| !same_content(&state.metadata, metadata)) {
            if !places.content.exists() && !places.part.exists() {
                // What it described is gone: nobody misses it.
                ground.forget()?;
                return ground.download_part(metadata, None, observer);
            }
            let swarm = other.metadata.id.to_string();
            return Err(FileError::OtherContent { path: places.state.clone(), swarm });
        }
        match fs::metadata(&places.content) {
            Ok(_) => ground.download_existing(metadata, state, observer),
            Err(e) if e.kind() == io::ErrorKind::NotFound => ground.download_part(metadata, state, observer),
            Err(e) => Err(io_error(&places.content, "read", e)),
        }
    }
}

/// The files of one content, locked for this process.
pub(super) struct Ground<'a> {
    places: &'a Places,
    pub(super) tree_file: Arc<File>,
    /// The tree file was there before and is not empty.
    pub(super) had_tree: bool,
    /// The tree file is of no use to anyone unless a store comes of it.
    pub(super) made: bool,
}

impl Drop for Ground<'_> {
    fn drop(&mut self) {
        if self.made {
            _ = fs::remove_file(&self.places.tree); // still locked
        }
    }
}

impl<'a> Ground<'a> {
    /// Locks the tree file: it is the one that is never replaced.
    pub(super) fn take(places: &'a Places) -> Result<Self, FileError> {
        if let Some(dir) = places.state.parent().filter(|dir| !dir.as_os_str().is_empty() && !dir.exists()) {
            if places.content.parent() == Some(dir) {
                return Err(io_error(dir, "write in this directory", io::ErrorKind::NotFound.into()));
            }
            fs::create_dir_all(dir).map_err(|e| io_error(dir, "create", e))?;
        }
        let path = &places.tree;
        let failed = |e| io_error(path, "write (--state-dir names another directory for it)", e);
        let mut tries = 3;
        loop {
            tries -= 1;
            let (tree_file, made) = open_or_make(path).map_err(failed)?;
            match flock(&tree_file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Err(FileError::Locked(places.content.clone())),
                Err(e) => return Err(io_error(path, "lock", e.into())),
            }
            let meta = tree_file.metadata().map_err(failed)?;
            // Who had it before may have removed it meanwhile: then this lock keeps nobody out.
            if meta.nlink() > 0 || tries == 0 {
                return Ok(Self { places, tree_file: Arc::new(tree_file), had_tree: meta.len() > 0, made });
            }
        }
    }

    /// What the state file says; `None`, with a warning where that is due, if it says nothing.
    fn read_state(&self, observer: &mut Observer<'_>) -> Result<Option<State>, FileError> {
        let path = &self.places.state;
        let mut file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io_error(path, "read", e)),
        };
        let mut bytes = Vec::new();
        (&mut file).take(8).read_to_end(&mut bytes).map_err(|e| io_error(path, "read", e))?;
        if !State::may_begin(&bytes) {
            return Err(FileError::NotState(path.clone()));
        }
        file.read_to_end(&mut bytes).map_err(|e| io_error(path, "read", e))?;
        match State::decode(&bytes) {
            Ok(state) => Ok(Some(state)),
            Err(error) => {
                let text = format!("{}: {error}; the content is checked again", path.display());
                observer(Notice::Warning(&text));
                Ok(None)
            }
        }
    }

    fn forget(&mut self) -> Result<(), FileError> {
        let path = &self.places.state;
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(io_error(path, "remove", e)),
            _ => {}
        }
        self.had_tree = false;
        self.tree_file.set_len(0).map_err(|e| io_error(&self.places.tree, "write", e))
    }

    fn tree(&self, alg: HashAlg) -> TreeFile {
        TreeFile::new(Arc::clone(&self.tree_file), alg.len())
    }

    /// A file that was hashed before.
    fn seed_known(
        self,
        file: File,
        stamp: Stamp,
        state: State,
        observer: &mut Observer<'_>,
    ) -> Result<(FileStore, Opened), FileError> {
        let path = &self.places.content;
        let then = state.stamp.unwrap_or(stamp);
        let same_time = then == stamp;
        let changed = |what: String| FileError::Changed { path: path.clone(), what };
        if then.size != stamp.size {
            return Err(changed(describe_change(then, stamp).unwrap_or_default()));
        }
        let m = &state.metadata;
        let mut tree = self.tree(m.hash);
        let chunks = state.chunks.unwrap_or(1);
        let checker = Checker {
            file: &file,
            tree: &mut tree,
            alg: m.hash,
            chunk_size: m.chunk_size,
            chunks,
            guessed: false,
            length: stamp.size,
            claimed: state.held.clone(),
            trust_content: same_time,
            hashed: 0,
            observer,
        };
        let (held, hashed) = checker.check(m.id.as_bytes()).map_err(|e| io_error(path, "read", e))?;
        if held.len() < chunks {
            let what = match state.held.runs().flat_map(|run| run.chunks()).find(|&chunk| !held.contains(chunk)) {
                Some(chunk) => format!("chunk {chunk} is not what it was"),
                None => "its hash is another".to_owned(),
            };
            return Err(changed(what));
        }
        let opened = if hashed > 0 { Opened::Checked(hashed) } else { Opened::Loaded };
        let complete = State { stamp: Some(stamp), ..state };
        Ok((self.finished(file, tree, complete, opened != Opened::Loaded || !same_time)?, opened))
    }

    /// A file that was never hashed, or is to be hashed in another way.
    fn seed_new(
        self,
        file: File,
        stamp: Stamp,
        options: &SeedOptions,
        observer: &mut Observer<'_>,
    ) -> Result<(FileStore, Opened), FileError> {
        let path = &self.places.content;
        let hash = options.hash.unwrap_or_default();
        let mut metadata = SwarmMetadata {
            id: SwarmId::from_root(&ppsp_core::Hash::empty(hash)),
            chunk_size: options.chunk_size.unwrap_or(SwarmMetadata::DEFAULT_CHUNK_SIZE),
            addressing: options.addressing.unwrap_or_default(),
            integrity: IntegrityMethod::MerkleTree,
            hash,
            content_length: Some(stamp.size),
        };
        metadata.check()?;
        let mut tree = self.tree(hash);
        let built = hash_file(&file, stamp.size, (hash, metadata.chunk_size), &mut tree, observer)
            .map_err(|e| io_error(path, "hash", e))?;
        let now = stamp_of(&file).map_err(|e| io_error(path, "read", e))?;
        if now != stamp {
            return Err(FileError::Changed { path: path.clone(), what: "it changed while it was hashed".to_owned() });
        }
        metadata.id = SwarmId::from_root(&built.root);
        let state =
            State { metadata, chunks: Some(built.chunks), stamp: Some(stamp), complete: true, held: all(built.chunks) };
        Ok((self.finished(file, tree, state, true)?, Opened::Hashed))
    }

    /// A file lies under the final name of a download: is it what the link names?
    fn download_existing(
        mut self,
        metadata: &SwarmMetadata,
        state: Option<State>,
        observer: &mut Observer<'_>,
    ) -> Result<(FileStore, Opened), FileError> {
        let path = &self.places.content;
        let file = open_content(self.places)?;
        let stamp = stamp_of(&file).map_err(|e| io_error(path, "read", e))?;
        if let Some(mut state) = state.filter(|state| state.complete) {
            state.metadata.addressing = metadata.addressing;
            return self.seed_known(file, stamp, state, observer);
        }
        let exists = |what: String| FileError::Exists { path: path.clone(), what };
        if let Some(length) = metadata.content_length.filter(|&length| length != stamp.size) {
            return Err(exists(format!("it has {} bytes, the content {length}", stamp.size)));
        }
        if self.places.part.exists() {
            return Err(exists("and so does an unfinished download of it".to_owned()));
        }
        let mut tree = self.tree(metadata.hash);
        let built = hash_file(&file, stamp.size, (metadata.hash, metadata.chunk_size), &mut tree, observer)
            .map_err(|e| io_error(path, "hash", e))?;
        if built.root.as_bytes() != metadata.id.as_bytes() {
            tree.clear().map_err(|e| io_error(&self.places.tree, "write", e))?;
            self.made = true; // and for nothing
            return Err(exists("its hash is another".to_owned()));
        }
        let metadata = SwarmMetadata { content_length: Some(stamp.size), ..metadata.clone() };
        let state =
            State { metadata, chunks: Some(built.chunks), stamp: Some(stamp), complete: true, held: all(built.chunks) };
        Ok((self.finished(file, tree, state, true)?, Opened::Hashed))
    }

    /// The content is not there under its final name.
    fn download_part(
        mut self,
        metadata: &SwarmMetadata,
        state: Option<State>,
        observer: &mut Observer<'_>,
    ) -> Result<(FileStore, Opened), FileError> {
        let path = &self.places.part;
        let there = match fs::metadata(path) {
            Ok(meta) if !meta.is_file() => return Err(FileError::NotFile(path.clone())),
            // Nothing in it is lost by starting over.
            Ok(meta) => meta.len() > 0 || state.is_some(),
            Err(e) if e.kind() == io::ErrorKind::NotFound => false,
            Err(e) => return Err(io_error(path, "read", e)),
        };
        if there && state.is_none() && !self.had_tree {
            return Err(FileError::Stray(path.clone()));
        }
        if !there {
            self.forget()?;
            // Whenever there is a part, there is a state that tells whose it is.
            let metadata = SwarmMetadata { content_length: None, ..metadata.clone() };
            let first = State { metadata, chunks: None, stamp: None, complete: false, held: RangeSet::new() };
            let path = &self.places.state;
            replace_file(path, &first.encode()).map_err(|e| io_error(path, "write", e))?;
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|e| io_error(path, "write", e))?;
        let mut tree = self.tree(metadata.hash);
        let mut found = Found::default();
        if there {
            found = self.resume(&file, &mut tree, metadata, state, observer)?;
        }
        let length = match found.chunks {
            Some(_) => found.length,
            None => metadata.content_length,
        };
        let inner = Inner {
            metadata: metadata.clone(),
            content: ContentFile::new(Arc::new(file), metadata.chunk_size, length),
            tree,
            held: found.held,
            chunks: found.chunks.or(metadata.chunks()),
            length,
            path: path.clone(),
            finished: None,
            dirty: there,
        };
        let opened = match (there, found.hashed) {
            (false, _) => Opened::New,
            (true, 0) => Opened::Loaded,
            (true, hashed) => Opened::Checked(hashed),
        };
        // A download that ended between its last checkpoint and the final name ends here.
        let store = self.store(inner).inspect_err(|_| {
            if !there {
                _ = fs::remove_file(path);
            }
        })?;
        Ok((store, opened))
    }

    /// What of a broken-off download is good.
    fn resume(
        &self,
        file: &File,
        tree: &mut TreeFile,
        metadata: &SwarmMetadata,
        state: Option<State>,
        observer: &mut Observer<'_>,
    ) -> Result<Found, FileError> {
        let path = &self.places.part;
        let stamp = stamp_of(file).map_err(|e| io_error(path, "read", e))?;
        let proven = state.as_ref().filter(|state| state.length_is_proven());
        // Where chunks are held, their number was proven, and a link that says another is wrong.
        let proven_chunks = state.as_ref().filter(|state| !state.held.is_empty()).and_then(|state| state.chunks);
        let fits = |_: &u64| proven_chunks.is_none() || metadata.chunks() == proven_chunks;
        let known_length =
            proven.and_then(|state| state.metadata.content_length).or(metadata.content_length.filter(fits));
        let length = known_length.unwrap_or(stamp.size);
        // Where no state says how much there is, take it that all is there, and see.
        let guess = length.div_ceil(u64::from(metadata.chunk_size)).max(1);
        let said = proven_chunks.is_some();
        let (chunks, claimed, trust_content) = match state {
            Some(State { chunks: Some(chunks), held, stamp: then, .. }) if said => (chunks, held, then == Some(stamp)),
            Some(_) => (guess, RangeSet::new(), false),
            None => (guess, all(guess), false),
        };
        let (alg, chunk_size) = (metadata.hash, metadata.chunk_size);
        let guessed = !said && known_length.is_none();
        // A file that was cut off must not lend its short end to a chunk.
        let length = if known_length.is_some() || claimed.contains(chunks - 1) {
            length
        } else {
            chunks.saturating_mul(chunk_size.into())
        };
        let checker = Checker {
            file,
            tree,
            alg,
            chunk_size,
            chunks,
            guessed,
            length,
            claimed,
            trust_content,
            hashed: 0,
            observer,
        };
        let (held, hashed) = checker.check(metadata.id.as_bytes()).map_err(|e| io_error(path, "read", e))?;
        if held.is_empty() {
            // Then the size is as good as unknown: peers will prove it again.
            return Ok(Found { hashed, ..Found::default() });
        }
        let length = known_length.or_else(|| held.contains(chunks - 1).then_some(length));
        Ok(Found { held, chunks: Some(chunks), length, hashed })
    }

    /// A store over complete content; its state is written where that is due.
    fn finished(self, file: File, tree: TreeFile, state: State, save: bool) -> Result<FileStore, FileError> {
        let inner = Inner {
            content: ContentFile::new(Arc::new(file), state.metadata.chunk_size, state.metadata.content_length),
            tree,
            held: state.held,
            chunks: state.chunks,
            length: state.metadata.content_length,
            metadata: state.metadata,
            path: self.places.content.clone(),
            finished: state.stamp,
            dirty: save,
        };
        self.store(inner)
    }

    /// A store, with what was found written to its state where that is due.
    fn store(mut self, inner: Inner) -> Result<FileStore, FileError> {
        let store = FileStore::new(self.places.clone(), inner);
        store.checkpoint()?;
        store.open_to_readers()?;
        self.made = false;
        Ok(store)
    }
}

/// What of a broken-off download is good.
#[derive(Default)]
struct Found {
    held: RangeSet,
    chunks: Option<u64>,
    length: Option<u64>,
    hashed: u64,
}

/// Opens a file for reading and writing. `true`: it was not there before.
fn open_or_make(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match options.open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        opened => return Ok((opened?, false)),
    }
    match options.clone().create_new(true).open(path) {
        // Another process was faster, or it is a link to nowhere.
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok((options.create(true).open(path)?, false)),
        made => Ok((made?, true)),
    }
}

/// Opens a complete content file for reading.
pub(super) fn open_content(places: &Places) -> Result<File, FileError> {
    let path = &places.content;
    match fs::metadata(path) {
        Ok(meta) if meta.is_file() => {}
        Ok(_) => return Err(FileError::NotFile(path.clone())),
        Err(e) if e.kind() == io::ErrorKind::NotFound && places.part.exists() => {
            return Err(FileError::Unfinished(path.clone()));
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(FileError::NotFound(path.clone())),
        Err(e) => return Err(io_error(path, "read", e)),
    }
    File::open(path).map_err(|e| io_error(path, "read", e))
}

/// A name that only the last step of a download would find to be impossible.
fn check_name(places: &Places) -> Result<(), FileError> {
    let path = &places.content;
    let bytes = path.as_os_str().as_bytes();
    if (bytes.ends_with(b"/") || bytes.ends_with(b"/.")) && !path.is_dir() {
        return Err(FileError::NoDirectory(path.clone()));
    }
    if path.is_symlink() && !path.try_exists().unwrap_or(true) {
        return Err(FileError::Dangling(path.clone()));
    }
    Ok(())
}

fn same_content(a: &SwarmMetadata, b: &SwarmMetadata) -> bool {
    a.id == b.id && a.chunk_size == b.chunk_size && a.hash == b.hash && a.integrity == b.integrity
}

fn all(chunks: u64) -> RangeSet {
    let mut set = RangeSet::new();
    if let Some(range) = ChunkRange::with_len(0, chunks) {
        set.insert(range);
    }
    set
}
