//! Reads finished content and its hash tree without a lock: as neither changes any more, each handle of a store reads both by
//! itself, behind caches of its own.

use std::{fs::File, io, num::NonZeroU64, sync::Arc};

use ppsp_core::{Bin, ChunkId, Hash};
use rustix::fs::{Advice, fadvise};

use super::tree_file::read_up_to;

/// Bytes of content in a block, about.
const BLOCK_BYTES: usize = 64 << 10;
/// Blocks of content kept by a handle: 8 MiB.
const BLOCKS: usize = 128;
/// Hashes in a page, and pages kept by a handle: 2 MiB of SHA-256 hashes.
const PAGE_SLOTS: u64 = 128;
const PAGES: usize = 512;
/// Blocks that the system is told of before they are read, where blocks are read one after another.
const AHEAD: u64 = 16;

/// Content that is complete, and its tree. Neither file is written to any more.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) content: Arc<File>,
    pub(super) tree: Arc<File>,
    pub(super) chunk_size: u32,
    pub(super) chunks: u64,
    pub(super) length: u64,
    pub(super) hash_len: usize,
}

/// What one handle keeps of the files in memory.
#[derive(Debug, Default)]
pub(super) struct Reader {
    blocks: Cache,
    pages: Cache,
}

impl Reader {
    /// Copies a chunk to the front of `out` and returns its length; `None` where the content is shorter.
    ///
    /// # Errors
    ///
    /// Those of the file; `UnexpectedEof` where it is shorter than its content.
    pub(super) fn chunk(&mut self, from: &Finished, chunk: ChunkId, out: &mut [u8]) -> io::Result<Option<usize>> {
        if chunk >= from.chunks {
            return Ok(None);
        }
        let size = u64::from(from.chunk_size.max(1));
        let length = (from.length - chunk * size).min(size) as usize;
        let out = out.get_mut(..length).ok_or(io::ErrorKind::InvalidInput)?;
        let in_block = (BLOCK_BYTES as u64 / size).max(1);
        let (number, start) = (chunk / in_block, (chunk % in_block * size) as usize);
        let block_len = in_block * size;
        let block = match self.blocks.find::<BLOCKS>(number) {
            Some(block) => block,
            None => {
                let before = number.checked_sub(1).and_then(|before| self.blocks.find::<BLOCKS>(before));
                // Who reads one block after another will read the next ones.
                let told = before.map_or(0, |before| tell_ahead(from, number, block_len, before.told));
                if told > 0 {
                    self.blocks.reuse::<BLOCKS>(number);
                }
                self.blocks.load::<BLOCKS>(&from.content, number, block_len as usize, told)?
            }
        };
        let short = || io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than its content");
        out.copy_from_slice(block.data.get(start..start + length).ok_or_else(short)?);
        Ok(Some(length))
    }

    /// The hash of a node; `None` where the file has none.
    ///
    /// # Errors
    ///
    /// Those of the file.
    pub(super) fn hash(&mut self, from: &Finished, node: Bin) -> io::Result<Option<Hash>> {
        let (number, slot) = (node.number() / PAGE_SLOTS, (node.number() % PAGE_SLOTS) as usize);
        let page = match self.pages.find::<PAGES>(number) {
            Some(page) => page,
            None => self.pages.load::<PAGES>(&from.tree, number, PAGE_SLOTS as usize * from.hash_len, 0)?,
        };
        let hash = page.data.get(slot * from.hash_len..(slot + 1) * from.hash_len).and_then(Hash::from_bytes);
        Ok(hash.filter(|hash| !hash.is_empty()))
    }
}

/// Has the system fetch the blocks after `number`, while this thread goes on: not for each block, but when half of those
/// that it was told of are used up. Returns up to where it was told.
fn tell_ahead(from: &Finished, number: u64, block_len: u64, told: u64) -> u64 {
    let next = number + 1;
    if told >= next + AHEAD / 2 {
        return told;
    }
    // It is a hint.
    _ = fadvise(&from.content, next * block_len, NonZeroU64::new(AHEAD * block_len), Advice::WillNeed);
    next + AHEAD
}

/// Pieces of a file, each in the one place that its number says.
#[derive(Debug, Default)]
struct Cache {
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, Default)]
struct Piece {
    number: u64,
    /// As much as the file has of it; empty: nothing was read.
    data: Vec<u8>,
    /// Up to which piece the system was told to read ahead.
    told: u64,
}

impl Cache {
    fn find<const N: usize>(&self, number: u64) -> Option<&Piece> {
        self.pieces.get((number % N as u64) as usize).filter(|piece| piece.number == number && !piece.data.is_empty())
    }

    /// Gives the place of `number` the memory of the piece two before, which a reader of one piece after another needs no
    /// longer: it is still in the processor's caches.
    fn reuse<const N: usize>(&mut self, number: u64) {
        let place = |number: u64| (number % N as u64) as usize;
        if let Some(old) = number.checked_sub(2)
            && self.find::<N>(old).is_some()
        {
            let data = std::mem::take(&mut self.pieces[place(old)].data);
            self.pieces[place(number)].data = data;
        }
    }

    fn load<const N: usize>(&mut self, file: &File, number: u64, len: usize, told: u64) -> io::Result<&Piece> {
        if self.pieces.is_empty() {
            self.pieces.resize(N, Piece::default());
        }
        let piece = &mut self.pieces[(number % N as u64) as usize];
        (piece.number, piece.told) = (number, told);
        piece.data.resize(len, 0);
        let read = read_up_to(file, &mut piece.data, number.saturating_mul(len as u64));
        piece.data.truncate(*read.as_ref().unwrap_or(&0));
        read.map(|_| &*piece)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn finished(length: usize, chunk_size: u32) -> (Vec<u8>, Finished) {
        let bytes: Vec<u8> = (0..length).map(|i| (i * 7 + i / 251) as u8).collect();
        let (content, tree) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        content.write_all_at(&bytes, 0).unwrap();
        tree.write_all_at(&[[0; 20], [1; 20], [2; 20]].concat(), 0).unwrap();
        let chunks = (length as u64).div_ceil(chunk_size.into()).max(1);
        let (content, tree) = (Arc::new(content), Arc::new(tree));
        (bytes, Finished { content, tree, chunk_size, chunks, length: length as u64, hash_len: 20 })
    }

    #[test]
    fn reads_every_chunk_in_any_order() {
        // More than the cache holds, and chunks that do not divide a block.
        for (length, chunk_size) in [(0, 1024), (1, 1024), (9 << 20, 1024), ((9 << 20) + 5, 3000), (1 << 20, 100_000)] {
            let (bytes, from) = finished(length, chunk_size);
            let mut reader = Reader::default();
            let mut out = vec![0; chunk_size as usize];
            for step in [1, 517] {
                for n in 0..from.chunks {
                    let chunk = n * step % from.chunks;
                    let start = chunk as usize * chunk_size as usize;
                    let got = reader.chunk(&from, chunk, &mut out).unwrap().unwrap();
                    assert!(out[..got] == bytes[start..(start + chunk_size as usize).min(length)], "chunk {chunk}");
                }
            }
            assert_eq!(reader.chunk(&from, from.chunks, &mut out).unwrap(), None);
        }
    }

    #[test]
    fn a_file_cut_short_is_an_error_and_a_missing_hash_is_none() {
        let (_, from) = finished(5000, 1024);
        from.content.set_len(1500).unwrap();
        let mut reader = Reader::default();
        assert_eq!(reader.chunk(&from, 0, &mut [0; 1024]).unwrap(), Some(1024));
        let error = reader.chunk(&from, 1, &mut [0; 1024]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(reader.chunk(&from, 0, &mut [0; 1000]).is_err());
        let node = |n| Bin::new(n).unwrap();
        assert_eq!(reader.hash(&from, node(0)).unwrap(), None);
        assert_eq!(reader.hash(&from, node(2)).unwrap().unwrap().as_bytes(), [2; 20]);
        assert_eq!(reader.hash(&from, node(3)).unwrap(), None);
        assert_eq!(reader.hash(&from, node(1 << 40)).unwrap(), None);
    }
}
