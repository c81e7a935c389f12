//! What of a stored hash tree and its content is true: proves both down from the root, which comes from a trusted source.

use std::{fs::File, io};

use ppsp_core::{ChunkRange, Claim, Hash, HashAlg, RangeSet, hash_chunks, hash_pairs, peaks, root_from_peaks};

use super::{
    Notice, Observer,
    hashing::{Content, cores, hash_file},
    tree_file::{TreeFile, read_up_to},
};

/// Walks a stored tree from the root down.
pub(crate) struct Checker<'a, 'o> {
    pub(crate) file: &'a File,
    pub(crate) tree: &'a mut TreeFile,
    pub(crate) alg: HashAlg,
    pub(crate) chunk_size: u32,
    /// Number of chunks.
    pub(crate) chunks: u64,
    /// Nobody ever proved this number.
    pub(crate) guessed: bool,
    /// Length of the content in bytes; where it is not known, that of the file.
    pub(crate) length: u64,
    /// Chunks said to be on disk. What turns out to be false is taken out.
    pub(crate) claimed: RangeSet,
    /// Believe that the content is what it was when the claims were made, and hash only where the tree has holes.
    pub(crate) trust_content: bool,
    /// Bytes of content hashed.
    pub(crate) hashed: u64,
    pub(crate) observer: &'a mut Observer<'o>,
}

impl Checker<'_, '_> {
    /// Leaves in `claimed` only chunks whose bytes are right, and in the tree above them only hashes that are.
    pub(crate) fn check(mut self, root: &[u8]) -> io::Result<(RangeSet, u64)> {
        let mut found = Vec::new();
        for node in peaks(self.chunks) {
            // A single peak is the root, and that is known. But it passes as the peak of 1, 2, 4… chunks: where their
            // number is a guess, the file must say the same.
            let known = match self.tree.get(node)? {
                None if self.chunks.is_power_of_two() && !self.guessed => Hash::from_bytes(root),
                stored => stored,
            };
            found.extend(known.map(|hash| Claim { node, hash }));
        }
        let proven = root_from_peaks(self.alg, &found)
            .is_some_and(|(hash, chunks)| hash.as_bytes() == root && chunks == self.chunks);
        if proven {
            for peak in found {
                self.tree.set(peak.node, &peak.hash)?;
                self.descend(peak)?;
            }
        } else {
            self.rebuild_all(root)?;
        }
        Ok((self.claimed, self.hashed))
    }

    /// Nothing of the tree can be proven: only complete content can prove itself.
    fn rebuild_all(&mut self, root: &[u8]) -> io::Result<()> {
        let all = ChunkRange::with_len(0, self.chunks);
        if all.is_some_and(|all| self.claimed.covers(all)) {
            let built = hash_file(self.file, self.length, (self.alg, self.chunk_size), self.tree, self.observer);
            self.hashed += self.length;
            match built {
                Ok(built) if built.root.as_bytes() == root && built.chunks == self.chunks => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
                _ => {}
            }
        }
        self.claimed.clear();
        self.tree.clear()
    }

    /// Checks all below a node whose hash is proven.
    fn descend(&mut self, top: Claim) -> io::Result<()> {
        let mut open = vec![top];
        while let Some(here) = open.pop() {
            let Some((left, right)) = here.node.children() else {
                self.check_chunk(&here)?;
                continue;
            };
            if let (Some(l), Some(r)) = (self.tree.get(left)?, self.tree.get(right)?) {
                let mut parent = Hash::empty(self.alg);
                hash_pairs(self.alg, &[[l, r]], std::slice::from_mut(&mut parent));
                if parent == here.hash {
                    open.push(Claim { node: right, hash: r });
                    open.push(Claim { node: left, hash: l });
                    continue;
                }
            }
            self.rebuild(&here)?;
        }
        Ok(())
    }

    /// The hashes below a proven node are unknown or wrong: only its content, all of it, can make them good.
    fn rebuild(&mut self, top: &Claim) -> io::Result<()> {
        let range = top.node.range();
        if self.claimed.covers(range) {
            let (start, end) = self.bytes_of(range);
            let (before, total, observer) = (self.hashed, self.length, &mut *self.observer);
            let content =
                Content { file: self.file, start, length: end - start, alg: self.alg, chunk_size: self.chunk_size };
            let built = content.hash(self.tree, range.first(), cores(), &mut |n| {
                observer(Notice::Checking { done: before + n, total });
            });
            self.hashed += end - start;
            match built {
                Ok(built) if built.root == top.hash => return Ok(()),
                Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
                _ => {}
            }
        }
        self.claimed.remove(range);
        self.tree.clear_below(top.node)?;
        self.tree.set(top.node, &top.hash)
    }

    fn check_chunk(&mut self, leaf: &Claim) -> io::Result<()> {
        let range = leaf.node.range();
        if self.trust_content || !self.claimed.covers(range) {
            return Ok(());
        }
        let (start, end) = self.bytes_of(range);
        let mut bytes = vec![0; (end - start) as usize];
        let read = read_up_to(self.file, &mut bytes, start)?;
        let mut hash = Hash::empty(self.alg);
        hash_chunks(self.alg, &[&bytes], std::slice::from_mut(&mut hash));
        if read < bytes.len() || hash != leaf.hash {
            self.claimed.remove(range);
        }
        self.hashed += read as u64;
        if leaf.node.first_chunk().is_multiple_of(1024) {
            (self.observer)(Notice::Checking { done: self.hashed, total: self.length });
        }
        Ok(())
    }

    fn bytes_of(&self, range: ChunkRange) -> (u64, u64) {
        let size = u64::from(self.chunk_size);
        let start = range.first().saturating_mul(size).min(self.length);
        (start, range.last().saturating_add(1).saturating_mul(size).min(self.length))
    }
}
