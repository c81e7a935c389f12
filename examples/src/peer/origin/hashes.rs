//! The hash file: what of a hash tree has to lie beside content on a web server, so that blocks of it can be verified.
//!
//! Its name is the swarm's identifier in hexadecimal and `.ppsp-hashes`; it is hashes one behind the other, nothing else. First come
//! the peaks of the tree (RFC 7574 §5.6.1), left to right. Then come rows, the highest first. A row has the hashes of all filled
//! nodes of one height, left to right. The lowest row is of the blocks: the largest power of two of chunks that together have at
//! most 256 KiB, or else single chunks. Each other row is eight levels above the one below it, as long as it has two nodes. So the
//! file has about one hash for 256 KiB, and what a block needs of it are the peaks and at most 256 hashes in a piece of each row.
//!
//! Nothing in it is believed: with the bytes of a block it leads to the root hash, or both are thrown away.

use std::{
    collections::HashMap,
    fs::File,
    io::{self, BufWriter, Write},
    ops::Range,
    path::{Path, PathBuf},
};

use ppsp_core::{
    Bin, ChunkId, ChunkRange, Claim, ContentStore, Hash, HashAlg, SwarmMetadata, hash_pairs, peak_of, peaks, uncles,
};

use crate::store::FileStore;

/// Bytes of content in a block, at most, if a chunk is not longer.
const BLOCK: u32 = 256 << 10;
/// Levels between two rows, and so nodes of a row below one of the row above it.
const STEP: u32 = 8;
const PAGE: u64 = 1 << STEP;

/// The name of the hash file of a swarm.
pub fn hash_file_name(metadata: &SwarmMetadata) -> String {
    format!("{}.ppsp-hashes", metadata.id)
}

/// Writes the hash file of complete content into a directory, as a whole or not at all.
///
/// # Errors
///
/// Those of the file; [`io::ErrorKind::InvalidData`] where the store has not all hashes.
pub fn write_hash_file(store: &FileStore, directory: &Path) -> io::Result<PathBuf> {
    let metadata = store.metadata();
    let path = directory.join(hash_file_name(&metadata));
    let missing = || io::Error::new(io::ErrorKind::InvalidData, "the hash tree is not complete");
    let layout = metadata.content_length.map(|length| Layout::new(&metadata, length)).ok_or_else(missing)?;
    let mut store = store.clone();
    // With the rights that new files have here: a web server has to read it.
    let new = tempfile::Builder::new().prefix(".hashes-").make_in(directory, |path| File::create_new(path))?;
    let mut out = BufWriter::new(new);
    for node in layout.nodes() {
        let hash = store.read_hash(node).map_err(|e| io::Error::other(e.to_string()))?.ok_or_else(missing)?;
        out.write_all(hash.as_bytes())?;
    }
    let new = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    new.as_file().sync_all()?;
    new.persist(&path)?;
    Ok(path)
}

/// Where in the hash file of some content what lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    alg: HashAlg,
    chunks: u64,
    /// Height of a block.
    base: u32,
}

impl Layout {
    /// Of content of this length.
    pub(super) fn new(metadata: &SwarmMetadata, length: u64) -> Self {
        let chunk_size = metadata.chunk_size.max(1);
        let chunks = length.div_ceil(chunk_size.into()).max(1);
        Self { alg: metadata.hash, chunks, base: (BLOCK / chunk_size).max(1).ilog2() }
    }

    /// The block that a chunk of the content belongs to; the last one may be short.
    pub(super) fn block(&self, chunk: ChunkId) -> Option<ChunkRange> {
        ChunkRange::with_len(0, self.chunks)?.intersection(Bin::at(self.base, chunk)?.range())
    }

    /// The bytes of the file that prove a block: pieces that blocks near it need, too.
    pub(super) fn pieces(&self, block: ChunkRange) -> Vec<Range<u64>> {
        let len = self.alg.len() as u64;
        let peaks = u64::from(self.chunks.count_ones());
        let rows = self.pages(block).map(|page| page.at..page.at + page.count * len);
        std::iter::once(0..peaks * len).chain(rows).collect()
    }

    /// What these bytes say of a block: the peaks, then its uncles. `None` where they are no hashes.
    pub(super) fn claims(&self, block: ChunkRange, pieces: &Pieces) -> Option<Vec<Claim>> {
        let len = self.alg.len();
        let hash = |at: u64, index: u64| {
            let bytes = pieces.get(&at)?.get(index as usize * len..(index as usize + 1) * len)?;
            Hash::from_bytes(bytes)
        };
        let peaks = (0..).zip(peaks(self.chunks)).map(|(n, node)| Some(Claim { node, hash: hash(0, n)? }));
        let mut claims: Vec<Claim> = peaks.collect::<Option<_>>()?;
        let Some(peak) = peak_of(block.first(), self.chunks).filter(|peak| peak.range().covers(block)) else {
            // The short one at the end lies below several peaks, and fills each of them.
            return Some(claims);
        };
        let pages: Vec<Page> = self.pages(block).collect();
        for node in uncles(block.first(), peak).filter(|node| node.height() >= self.base) {
            let page = pages.iter().find(|page| page.height <= node.height())?;
            let first = (node.first_chunk() >> page.height) - page.first;
            let below = 1 << (node.height() - page.height);
            let below: Vec<Hash> = (first..first + below).map(|n| hash(page.at, n)).collect::<Option<_>>()?;
            claims.push(Claim { node, hash: top_of(self.alg, below)? });
        }
        Some(claims)
    }

    /// All nodes, in the order of the file.
    fn nodes(&self) -> impl Iterator<Item = Bin> {
        let chunks = self.chunks;
        let row = move |height: u32| (0..chunks >> height).filter_map(move |n| Bin::at(height, n << height));
        peaks(chunks).chain(self.rows().into_iter().flat_map(row))
    }

    /// Heights of the rows, in the order of the file.
    fn rows(&self) -> Vec<u32> {
        let heights = (self.base..64).step_by(STEP as usize);
        let mut rows: Vec<u32> = heights.take_while(|height| self.chunks >> height >= 2).collect();
        rows.reverse();
        rows
    }

    /// The page of each row in which the uncles of a block lie, the highest first.
    fn pages(&self, block: ChunkRange) -> impl Iterator<Item = Page> {
        let Self { alg, chunks, .. } = *self;
        let peak = peak_of(block.first(), chunks).filter(|peak| peak.range().covers(block));
        let below = move |height: u32| peak.is_some_and(|peak| peak.height() > height);
        let mut at = u64::from(chunks.count_ones()) * alg.len() as u64;
        self.rows().into_iter().filter_map(move |height| {
            let count = chunks >> height;
            let first = (block.first() >> height) / PAGE * PAGE;
            let page =
                Page { height, first, count: PAGE.min(count.saturating_sub(first)), at: at + first * alg.len() as u64 };
            at += count * alg.len() as u64;
            below(height).then_some(page)
        })
    }
}

/// Bytes of the hash file by where they begin.
pub(super) type Pieces = HashMap<u64, bytes::Bytes>;

/// Neighbours in a row.
struct Page {
    height: u32,
    /// The number of the first in its row, and how many they are.
    first: u64,
    count: u64,
    /// Where in the file they begin.
    at: u64,
}

/// The hash above a power of two of neighbours.
fn top_of(alg: HashAlg, mut hashes: Vec<Hash>) -> Option<Hash> {
    while hashes.len() > 1 {
        let (pairs, _) = hashes.as_chunks::<2>();
        let mut above = vec![Hash::empty(alg); pairs.len()];
        hash_pairs(alg, pairs, &mut above);
        hashes = above;
    }
    hashes.first().copied()
}

#[cfg(test)]
mod tests {
    use ppsp_core::{MemoryStore, Tree};

    use super::*;

    fn layout(chunks: u64, chunk_size: u32) -> Layout {
        let root = Hash::empty(HashAlg::Sha256);
        let metadata = SwarmMetadata { chunk_size, ..SwarmMetadata::of_root(&root) };
        Layout::new(&metadata, chunks * u64::from(chunk_size))
    }

    #[test]
    fn what_the_file_says_of_a_block_is_what_the_tree_says() {
        // Blocks of four chunks: the rows are of heights 2 and 10.
        for chunks in [1_u64, 3, 4, 5, 8, 1023, 1024, 2048, 2049, 5000, 6143] {
            let (mut store, Tree { root, .. }) = MemoryStore::from_content(
                HashAlg::Sha256,
                512,
                (0..chunks * 512).map(|n| ((n * n) >> 7) as u8).collect(),
            );
            let layout = Layout { base: 2, chunks, alg: HashAlg::Sha256 };
            let mut hash = |node| store.read_hash(node).unwrap().unwrap();
            let file: Vec<u8> = layout.nodes().flat_map(|node| hash(node).as_bytes().to_vec()).collect();
            for first in (0..chunks).step_by(4) {
                let block = layout.block(first).unwrap();
                assert_eq!((block.first(), block.last()), (first, (first + 3).min(chunks - 1)));
                let pieces = layout.pieces(block);
                assert!(
                    pieces.iter().all(|piece| piece.end <= file.len() as u64 && piece.end - piece.start <= 32 * 256)
                );
                let cut =
                    |piece: &Range<u64>| bytes::Bytes::copy_from_slice(&file[piece.start as usize..piece.end as usize]);
                let pieces: Pieces = pieces.iter().map(|piece| (piece.start, cut(piece))).collect();
                let claims = layout.claims(block, &pieces).unwrap();
                assert!(claims.iter().all(|claim| claim.hash == hash(claim.node)), "{chunks}: {block:?}");
                assert_eq!(
                    ppsp_core::root_from_peaks(HashAlg::Sha256, &claims[..chunks.count_ones() as usize]),
                    Some((root, chunks))
                );
                let peak = peak_of(first, chunks).unwrap();
                let needed = uncles(first, peak).filter(|node| node.height() >= 2).count();
                assert_eq!(claims.len(), chunks.count_ones() as usize + if peak.height() >= 2 { needed } else { 0 });
                let short = pieces.into_iter().map(|(at, piece)| (at, piece.slice(..piece.len() - 1))).collect();
                assert_eq!(layout.claims(block, &short).is_some(), chunks == 0, "a piece cut short");
            }
        }
    }

    #[test]
    fn blocks_are_about_as_long_whatever_the_chunks() {
        for (chunk_size, blocks) in [(1024, 256), (512, 512), (3000, 64), (100_000, 2), (1 << 18, 1), (1 << 20, 1)] {
            assert_eq!(layout(1 << 20, chunk_size).block(0).unwrap().len(), blocks, "{chunk_size}");
        }
        assert_eq!(layout(5, 1024).block(256), None, "behind the end");
        // 10 TiB: some pages, and no more.
        let pieces = layout(10 << 30, 1024).pieces(ChunkRange::with_len(0, 256).unwrap());
        assert!(pieces.len() <= 5 && pieces.iter().all(|piece| piece.end - piece.start <= 256 * 32), "{pieces:?}");
    }
}
