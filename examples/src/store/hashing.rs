//! Hash trees of files, built on all cores.
//!
//! The content is cut into subtrees of equal width. Threads hash them in any order and write the nodes of each, which lie side
//! by side in the tree file, straight there; what lies above them is little and comes last.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    num::NonZeroUsize,
    os::unix::fs::FileExt,
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use ppsp_core::{Bin, ChunkId, Hash, HashAlg, Tree, TreeBuilder};

use super::{
    Notice, Observer,
    tree_file::{TreeFile, read_up_to},
};

/// Bytes read at a time.
const READ_BYTES: usize = 256 << 10;
/// Bytes of content under a subtree, about: its hashes, and these alone, are in memory.
const SUBTREE_BYTES: u32 = 4 << 20;

/// Hashes a whole file and keeps every hash of a filled node in `tree`.
pub(super) fn hash_file(
    file: &File,
    length: u64,
    (alg, chunk_size): (HashAlg, u32),
    tree: &mut TreeFile,
    observer: &mut Observer<'_>,
) -> io::Result<Tree> {
    tree.clear()?;
    let content = Content { file, start: 0, length, alg, chunk_size };
    content.hash(tree, 0, cores(), &mut |done| observer(Notice::Hashing { done, total: length }))
}

/// Threads that are of use.
pub(super) fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Bytes of a file, and how they are hashed.
pub(super) struct Content<'a> {
    pub(super) file: &'a File,
    pub(super) start: u64,
    pub(super) length: u64,
    pub(super) alg: HashAlg,
    pub(super) chunk_size: u32,
}

/// A part that is hashed, and which one.
struct Part {
    number: u64,
    tree: Tree,
}

impl Content<'_> {
    /// Builds the tree. Its nodes go to `tree` as those of content from chunk `first` on, which must be the first chunk of a
    /// node that wide; in what is returned they are numbered from zero.
    ///
    /// # Errors
    ///
    /// Those of both files; `UnexpectedEof` where the content is shorter.
    pub(super) fn hash(
        &self,
        tree: &mut TreeFile,
        first: ChunkId,
        threads: usize,
        progress: &mut dyn FnMut(u64),
    ) -> io::Result<Tree> {
        let chunks = (SUBTREE_BYTES / self.chunk_size).max(1).next_power_of_two();
        let width = u64::from(chunks) * u64::from(self.chunk_size);
        let parts = self.length.div_ceil(width);
        if parts <= 1 {
            let built = self.hash_here(tree, first)?;
            progress(self.length);
            return Ok(built);
        }
        // What follows passes by the pages in memory.
        tree.forget_pages()?;
        let threads = threads.clamp(1, usize::try_from(parts).unwrap_or(usize::MAX));
        let next = AtomicU64::new(0);
        let (tell, told) = mpsc::channel();
        let tree_file = tree.file();
        let mut builder = TreeBuilder::new(self.alg, self.chunk_size);
        let mut kept = Ok(());
        let mut keep = |node: Bin, hash: &Hash| {
            let keep = || {
                let at = moved(node, first << 1)?.number() * hash.as_bytes().len() as u64;
                tree_file.write_all_at(hash.as_bytes(), at)
            };
            if kept.is_ok() {
                kept = keep();
            }
        };
        thread::scope(|scope| {
            for _ in 0..threads {
                let (tell, next, tree_file) = (tell.clone(), &next, &tree_file);
                scope.spawn(move || {
                    let mut buffers = Buffers::default();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= parts {
                            break;
                        }
                        let at = (number * width, width.min(self.length - number * width));
                        let base = (first + number * u64::from(chunks)) << 1;
                        let done = self.hash_part(at, base, tree_file, &mut buffers);
                        // Who no longer listens has heard of an error.
                        if tell.send(done.map(|tree| Part { number, tree })).is_err() {
                            break;
                        }
                    }
                });
            }
            drop(tell);
            let (mut done, mut joined) = (0, 0);
            // Parts that wait for one on their left: about as many as there are threads.
            let mut waiting = BTreeMap::new();
            for part in told {
                let part = part.inspect_err(|_| next.store(parts, Ordering::Relaxed))?;
                done += part.tree.content_length;
                progress(done);
                waiting.insert(part.number, part.tree);
                while let Some(part) = waiting.remove(&joined) {
                    builder.push_tree(&part, &mut keep).map_err(io::Error::other)?;
                    joined += 1;
                }
            }
            Ok::<_, io::Error>(())
        })?;
        let built = builder.finish(&mut keep);
        kept?;
        // The page of the last node is written as a whole, as all the others are.
        if let Some(last) = built.chunks.checked_sub(1).and_then(Bin::leaf) {
            let end = moved(last, first << 1)?;
            if let Some(hash) = tree.get(end)? {
                tree.set(end, &hash)?;
            }
        }
        Ok(built)
    }

    /// Little content, in this thread.
    fn hash_here(&self, tree: &mut TreeFile, first: ChunkId) -> io::Result<Tree> {
        let mut kept = Ok(());
        let mut keep = |node: Bin, hash: &Hash| {
            if kept.is_ok() {
                kept = moved(node, first << 1).and_then(|node| tree.set(node, hash));
            }
        };
        let mut builder = TreeBuilder::new(self.alg, self.chunk_size);
        self.read((0, self.length), &mut Vec::new(), |bytes| builder.push(bytes, &mut keep))?;
        let built = builder.finish(&mut keep);
        kept.map(|()| built)
    }

    /// Hashes the bytes `at` and writes the hashes to the file of the tree, `base` numbers further right; their tree.
    fn hash_part(&self, at: (u64, u64), base: u64, tree: &File, buffers: &mut Buffers) -> io::Result<Tree> {
        let Buffers { content, hashes } = buffers;
        let hash_len = self.alg.len();
        hashes.clear();
        let mut keep = |node: Bin, hash: &Hash| {
            let at = node.number() as usize * hash_len;
            if hashes.len() < at + hash_len {
                hashes.resize(at + hash_len, 0);
            }
            hashes[at..at + hash_len].copy_from_slice(hash.as_bytes());
        };
        let mut builder = TreeBuilder::new(self.alg, self.chunk_size);
        self.read(at, content, |bytes| builder.push(bytes, &mut keep))?;
        let built = builder.finish(&mut keep);
        tree.write_all_at(hashes, base * hash_len as u64)?;
        Ok(built)
    }

    /// Reads some bytes of the content, whole chunks at a time.
    fn read(&self, (start, length): (u64, u64), buffer: &mut Vec<u8>, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        let size = self.chunk_size as usize;
        buffer.resize(((READ_BYTES / size).max(1) * size).min(usize::try_from(length).unwrap_or(usize::MAX)), 0);
        let mut done = 0;
        while done < length {
            let want = (length - done).min(buffer.len() as u64) as usize;
            let read = read_up_to(self.file, &mut buffer[..want], self.start + start + done)?;
            if read < want {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read"));
            }
            take(&buffer[..read]);
            done += read as u64;
        }
        Ok(())
    }
}

/// What a thread uses again for each subtree.
#[derive(Default)]
struct Buffers {
    content: Vec<u8>,
    hashes: Vec<u8>,
}

fn moved(node: Bin, by: u64) -> io::Result<Bin> {
    Bin::new(node.number() + by).ok_or_else(|| io::ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Read, sync::Arc};

    /// The tree file of the plain way: one builder, one slot after another.
    fn plain(bytes: &[u8], alg: HashAlg, chunk_size: u32) -> (Tree, Vec<u8>) {
        let file = Arc::new(tempfile::tempfile().unwrap());
        let mut tree = TreeFile::new(Arc::clone(&file), alg.len());
        let mut builder = TreeBuilder::new(alg, chunk_size);
        let mut keep = |node: Bin, hash: &Hash| tree.set(node, hash).unwrap();
        builder.push(bytes, &mut keep);
        let built = builder.finish(&mut keep);
        tree.flush().unwrap();
        (built, all_of(&file))
    }

    fn all_of(file: &File) -> Vec<u8> {
        let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut bytes, 0).unwrap();
        assert_eq!((&*file).read(&mut [0]).unwrap().min(1), usize::from(!bytes.is_empty()));
        bytes
    }

    #[test]
    fn every_number_of_threads_makes_the_same_file() {
        let part = SUBTREE_BYTES as usize;
        for (alg, chunk_size) in [(HashAlg::Sha256, 16_384), (HashAlg::Sha1, 10_000), (HashAlg::Sha256, 1 << 23)] {
            for length in [0, 1, 16_384, part - 1, part, part + 1, 3 * part, 5 * part + 777, 8 * part] {
                let bytes: Vec<u8> = (0..length).map(|i| (i ^ (i >> 9)) as u8).collect();
                let content = tempfile::tempfile().unwrap();
                content.write_all_at(&bytes, 0).unwrap();
                let (expected, expected_file) = plain(&bytes, alg, chunk_size);
                for threads in [1, 3] {
                    let file = Arc::new(tempfile::tempfile().unwrap());
                    let mut tree = TreeFile::new(Arc::clone(&file), alg.len());
                    let mut told = Vec::new();
                    let all = Content { file: &content, start: 0, length: length as u64, alg, chunk_size };
                    let built = all.hash(&mut tree, 0, threads, &mut |done| told.push(done)).unwrap();
                    tree.flush().unwrap();
                    assert_eq!(built, expected, "{length} bytes, {threads} threads");
                    assert!(all_of(&file) == expected_file, "{length} bytes, {threads} threads");
                    assert!(told.is_sorted() && *told.last().unwrap() == length as u64);
                }
            }
        }
    }

    #[test]
    fn a_file_that_is_shorter_is_an_error() {
        let content = tempfile::tempfile().unwrap();
        content.set_len(u64::from(SUBTREE_BYTES) * 3).unwrap();
        let mut tree = TreeFile::new(Arc::new(tempfile::tempfile().unwrap()), 32);
        let length = u64::from(SUBTREE_BYTES) * 9;
        let all = Content { file: &content, start: 0, length, alg: HashAlg::Sha256, chunk_size: 16_384 };
        let error = all.hash(&mut tree, 0, 2, &mut |_| {}).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
