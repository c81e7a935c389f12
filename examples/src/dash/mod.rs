//! DASH sets as swarms: a directory with a manifest and its files becomes a swarm for each Representation, and a descriptor that
//! names them. What a manifest says is [`ppsp_core::descriptor`]'s to know.
//!
//! [`split`] makes layers of a set before that is done: [`crate::layers`].
//!
//! A Representation of a single file is shared from where that lies. Files of several are joined into one first, in a directory of
//! the caller's choice; that takes as much space again.

mod error;
mod join;
mod placing;
mod split;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, File},
    io::{self, Read},
    path::{Component, Path, PathBuf},
};

use ppsp_core::descriptor::{Descriptor, Resources};

use crate::store::{FileStore, Notice, Observer, Places, SeedOptions};

pub use error::PackageError;
pub use split::{Layered, SplitSet, split};

/// What is packaged, and where to.
#[derive(Clone, Copy, Debug)]
pub struct Packaging<'a> {
    /// The manifest. Its files lie where it says, at or below its directory.
    pub manifest: &'a Path,
    /// Where joined files are kept: a directory that there is. They must stay as long as they are shared.
    pub contents: &'a Path,
    /// Where state and hash trees are kept, where not beside the content.
    pub state_dir: Option<&'a Path>,
    /// How to hash.
    pub seed: SeedOptions,
}

/// A set that can be shared.
#[derive(Debug)]
pub struct Package {
    /// The manifest with swarms and parts, not signed.
    pub descriptor: Descriptor,
    /// The content of each Representation, in the order of the manifest.
    pub contents: Vec<Content>,
}

/// The content of a Representation.
#[derive(Debug)]
pub struct Content {
    /// The Representation's `id`.
    pub representation: String,
    /// The content, hashed. Representations of one file have handles to one store.
    pub store: FileStore,
}

impl Packaging<'_> {
    /// Joins and hashes what has not been joined and hashed before. The observer is told of both together as hashing.
    ///
    /// All files are looked for before anything is written. A file gets its name when it is complete; files that are there
    /// are never overwritten.
    ///
    /// # Errors
    ///
    /// [`PackageError`], which says what to do.
    pub fn run(&self, observer: &mut Observer<'_>) -> Result<Package, PackageError> {
        let mut descriptor = read_manifest(self.manifest)?;
        let sources = self.sources(&descriptor)?;
        let total = sources.iter().map(|source| source.len() * if source.is_joined() { 2 } else { 1 }).sum();
        let mut progress = Progress { done: 0, total, observer };
        let mut stores: HashMap<PathBuf, FileStore> = HashMap::new();
        let mut contents = Vec::new();
        for (at, source) in sources.iter().enumerate() {
            let path = match &source.files[..] {
                [only] => only.path.clone(),
                _ => self.contents.join(self.joined_name(at, source)),
            };
            let mut seed = self.seed;
            if source.is_joined() && join::join(&source.files, &path, &mut |bytes| progress.add(bytes))? {
                // What was known of an earlier file of this name is of no use.
                seed.rehash = true;
            }
            let store = match stores.get(&path) {
                Some(store) => store.clone(),
                None => {
                    let places = Places::new(&path, self.state_dir);
                    FileStore::seed(&places, &seed, &mut |notice| progress.pass_on(notice))?.0
                }
            };
            progress.add(source.len());
            descriptor.set_swarm(&source.representation, &store.metadata(), None);
            descriptor.set_parts(&source.representation, &lengths(&source.files))?;
            stores.insert(path, store.clone());
            contents.push(Content { representation: source.representation.clone(), store });
        }
        Ok(Package { descriptor, contents })
    }

    /// Looks for the files of all Representations.
    fn sources(&self, manifest: &Descriptor) -> Result<Vec<Source>, PackageError> {
        let directory = self.manifest.parent().unwrap_or(Path::new(""));
        manifest.resources()?.into_iter().map(|resources| Source::find(directory, resources)).collect()
    }

    /// The name of the manifest, a number, and the extension of the media.
    fn joined_name(&self, at: usize, source: &Source) -> String {
        let stem = self.manifest.file_stem().unwrap_or_default().to_string_lossy();
        let last = source.files.last().and_then(|file| file.path.extension()).and_then(OsStr::to_str).unwrap_or("bin");
        // Segments of MP4 files have an extension of their own.
        let extension = if last == "m4s" { "mp4" } else { last };
        format!("{stem}-{at}.{extension}")
    }
}

/// The files of a Representation.
struct Source {
    representation: String,
    files: Vec<Piece>,
}

/// A file, with the length that it had when it was looked at.
struct Piece {
    path: PathBuf,
    len: u64,
}

fn lengths(files: &[Piece]) -> Vec<u64> {
    files.iter().map(|file| file.len).collect()
}

impl Source {
    fn find(directory: &Path, resources: Resources) -> Result<Self, PackageError> {
        let mut files = Vec::new();
        for file in resources.files() {
            let path = below(directory, file.name).ok_or_else(|| PackageError::Name(file.name.to_owned()))?;
            match fs::metadata(&path) {
                Ok(meta) if meta.is_file() => files.push(Piece { path, len: meta.len() }),
                Err(e) if e.kind() == io::ErrorKind::NotFound && !file.certain => break,
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    let counted = resources.certain < resources.references.len();
                    return Err(PackageError::Missing { representation: resources.representation, path, counted });
                }
                Ok(_) => return Err(PackageError::NotFile(path)),
                Err(e) => return Err(PackageError::io(&path, "read", e)),
            }
        }
        // Whether all is as long as the manifest says.
        resources.joined(&lengths(&files))?;
        Ok(Self { representation: resources.representation, files })
    }

    fn is_joined(&self) -> bool {
        self.files.len() != 1
    }

    fn len(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }
}

/// What the observer is told of all together.
struct Progress<'a, 'o> {
    done: u64,
    total: u64,
    observer: &'a mut Observer<'o>,
}

impl Progress<'_, '_> {
    fn add(&mut self, bytes: u64) {
        self.done += bytes;
        (self.observer)(Notice::Hashing { done: self.done, total: self.total });
    }

    fn pass_on(&mut self, notice: Notice<'_>) {
        (self.observer)(match notice {
            Notice::Hashing { done, .. } | Notice::Checking { done, .. } => {
                Notice::Hashing { done: self.done + done, total: self.total }
            }
            warning => warning,
        });
    }
}

fn read_manifest(path: &Path) -> Result<Descriptor, PackageError> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| PackageError::io(path, "read", e))?;
    let most = Descriptor::MAX_LEN as u64 + 1;
    file.take(most).read_to_end(&mut bytes).map_err(|e| PackageError::io(path, "read", e))?;
    Descriptor::parse(&bytes).map_err(|error| PackageError::Manifest { path: path.to_owned(), error })
}

/// The path of a name; `None` where a part of it is more than a name to this system.
fn below(directory: &Path, name: &str) -> Option<PathBuf> {
    let mut path = directory.to_owned();
    for part in name.split('/') {
        let mut components = Path::new(part).components();
        let (Some(Component::Normal(only)), None) = (components.next(), components.next()) else { return None };
        path.push(only);
    }
    Some(path)
}
