use alloc::vec::Vec;
use core::mem;

use crate::{Bin, ChunkId, ChunkRange, Hash, HashAlg, hash_chunks, hash_pairs};

/// A node of a hash tree and what is said, or known, to be its hash: the content of an INTEGRITY message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Claim {
    /// The node.
    pub node: Bin,
    /// Its hash.
    pub hash: Hash,
}

/// Top of the smallest tree that is at least `chunks` wide (RFC 7574 §5.1). No content has more than 2^63 chunks.
pub const fn root_bin(chunks: u64) -> Bin {
    let height = if chunks <= 1 { 0 } else { (chunks - 1).ilog2() + 1 };
    match Bin::at(height, 0) {
        Some(bin) => bin,
        None => Bin::ALL,
    }
}

/// The peaks of content of `chunks` chunks, left to right (RFC 7574 §5.6.1): the filled nodes whose siblings are not
/// filled. There are as many as there are ones in the binary form of `chunks`.
pub fn peaks(chunks: u64) -> impl Iterator<Item = Bin> + Clone {
    ChunkRange::with_len(0, chunks).into_iter().flat_map(Bin::cover)
}

/// The peak above a chunk; `None` where the chunk lies past the end.
pub const fn peak_of(chunk: ChunkId, chunks: u64) -> Option<Bin> {
    if chunk >= chunks {
        return None;
    }
    // Above the highest bit in which the two differ lies the part they share; that bit of `chunks` is the peak.
    Bin::at((chunk ^ chunks).ilog2(), chunk)
}

/// The sibling of a chunk's leaf and the siblings of the nodes above it, up to the children of `up_to`
/// (RFC 7574 §5.2: the "uncles"). Empty where `up_to` is not above the chunk.
pub fn uncles(chunk: ChunkId, up_to: Bin) -> impl Iterator<Item = Bin> + Clone {
    let mut node = Bin::leaf(chunk).filter(|&leaf| up_to.contains(leaf));
    core::iter::from_fn(move || {
        let here = node.filter(|node| node.height() < up_to.height())?;
        node = here.parent();
        here.sibling()
    })
}

/// Does the node stand for chunks of the content only, and not for any empty leaf past its end (RFC 7574 §5.6.1)?
pub const fn is_filled(node: Bin, chunks: u64) -> bool {
    node.last_chunk() < chunks
}

/// The root hash that peaks lead to, and how many chunks they stand for; `None` where these nodes, in this order, are
/// not the peaks of any content, or a hash has not the function's length.
///
/// RFC 7574 §5.6.1: all right of the last peak is empty. Note that peaks that lead to the right root are *not* proof of
/// the size by themselves, see [`Verifier`](crate::Verifier).
pub fn root_from_peaks(alg: HashAlg, claims: &[Claim]) -> Option<(Hash, u64)> {
    let last = claims.last()?;
    let chunks = last.node.last_chunk() + 1;
    let usable = |hash: &Hash| hash.as_bytes().len() == alg.len() && !hash.is_empty();
    if !peaks(chunks).eq(claims.iter().map(|claim| claim.node)) || !claims.iter().all(|claim| usable(&claim.hash)) {
        return None;
    }
    Some((padded(alg, claims, root_bin(chunks))?, chunks))
}

/// The hash of `top`, where these are the peaks of all that is not empty below it, left to right.
pub(crate) fn padded(alg: HashAlg, peaks: &[Claim], top: Bin) -> Option<Hash> {
    let (last, mut left) = peaks.split_last()?;
    let (mut node, mut hash) = (last.node, last.hash);
    while node != top {
        let pair = if node.is_left() {
            [hash, Hash::empty(alg)]
        } else {
            let (peak, rest) = left.split_last()?;
            left = rest;
            [peak.hash, hash]
        };
        hash_pairs(alg, &[pair], core::slice::from_mut(&mut hash));
        node = node.parent()?;
    }
    Some(hash)
}

/// What a finished [`TreeBuilder`] knows of content.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tree {
    /// The root hash: the identifier of the swarm.
    pub root: Hash,
    /// Number of chunks, at least 1.
    pub chunks: u64,
    /// Length in bytes.
    pub content_length: u64,
    /// The peaks, left to right.
    pub peaks: Vec<Claim>,
}

/// Builds the hash tree of content that streams by, of any length, and hands out every hash of a filled node once.
///
/// Memory does not grow with the content but for one hash per level. Chunks that lie whole in a slice of the caller are
/// hashed where they are, many at once; so slices of many chunks are fast and slices that cut through chunks are not.
///
/// ```
/// # use ppsp_core::{HashAlg, TreeBuilder};
/// let mut nodes = Vec::new();
/// let mut builder = TreeBuilder::new(HashAlg::Sha256, 1024);
/// builder.push(&[7; 3000], &mut |node, hash| nodes.push((node, *hash)));
/// let tree = builder.finish(&mut |node, hash| nodes.push((node, *hash)));
/// assert_eq!((tree.chunks, tree.content_length, tree.peaks.len(), nodes.len()), (3, 3000, 2, 4));
/// ```
#[derive(Clone, Debug)]
pub struct TreeBuilder {
    alg: HashAlg,
    chunk_size: usize,
    content_length: u64,
    /// Begin of a chunk whose end has not come yet.
    partial: Vec<u8>,
    /// Chunks under the nodes of `stack`.
    folded: u64,
    /// Leaves after those, fewer than [`GROUP`].
    leaves: Vec<Hash>,
    /// Scratch: the level above `leaves`.
    above: Vec<Hash>,
    /// Tops of the complete subtrees so far, left to right, each higher than the next.
    stack: Vec<Claim>,
}

impl TreeBuilder {
    /// A builder for content cut into chunks of `chunk_size` bytes, at least one.
    pub fn new(alg: HashAlg, chunk_size: u32) -> Self {
        Self {
            alg,
            chunk_size: chunk_size.max(1) as usize,
            content_length: 0,
            partial: Vec::new(),
            folded: 0,
            leaves: Vec::with_capacity(GROUP),
            above: Vec::with_capacity(GROUP / 2),
            stack: Vec::new(),
        }
    }

    /// As [`new`](Self::new), for content whose chunks before `first` are not known here. It has no root hash.
    #[cfg(feature = "signature")]
    pub(crate) fn starting_at(alg: HashAlg, chunk_size: u32, first: ChunkId) -> Self {
        let mut builder = Self::new(alg, chunk_size);
        builder.folded = first;
        builder.content_length = first.saturating_mul(builder.chunk_size as u64);
        builder
    }

    /// Hands out every hash that is known by now.
    #[cfg(feature = "signature")]
    pub(crate) fn settle(&mut self, sink: &mut dyn FnMut(Bin, &Hash)) {
        self.fold(sink);
    }

    /// Takes the next bytes of the content. `sink` is given the hash of each filled node that is known by now.
    pub fn push(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Bin, &Hash)) {
        self.content_length += bytes.len() as u64;
        let mut bytes = bytes;
        if !self.partial.is_empty() {
            let (head, rest) = bytes.split_at(bytes.len().min(self.chunk_size - self.partial.len()));
            self.partial.extend_from_slice(head);
            bytes = rest;
            if self.partial.len() < self.chunk_size {
                return;
            }
            self.push_partial(sink);
        }
        let (mut whole, rest) = bytes.split_at(bytes.len() - bytes.len() % self.chunk_size);
        while !whole.is_empty() {
            let room = GROUP - self.leaves.len();
            let (group, rest) = whole.split_at(whole.len().min(room * self.chunk_size));
            let mut chunks: [&[u8]; GROUP] = [&[]; GROUP];
            let count = group.len() / self.chunk_size;
            group.chunks_exact(self.chunk_size).zip(&mut chunks).for_each(|(chunk, slot)| *slot = chunk);
            self.push_chunks(chunks.get(..count).unwrap_or_default(), sink);
            whole = rest;
        }
        self.partial.extend_from_slice(rest);
    }

    /// Ends the content. `sink` is given the remaining filled nodes.
    pub fn finish(mut self, sink: &mut dyn FnMut(Bin, &Hash)) -> Tree {
        // Empty content is one chunk of length zero: that it has a root at all is what lets peers share it.
        if !self.partial.is_empty() || self.content_length == 0 {
            self.push_partial(sink);
        }
        self.fold(sink);
        let (root, chunks) = root_from_peaks(self.alg, &self.stack).unwrap_or((Hash::empty(self.alg), 0));
        Tree { root, chunks, content_length: self.content_length, peaks: self.stack }
    }

    /// Takes content that another builder has hashed, as each of several threads does with its part of a file, as the next
    /// of this one's. `part` is what that builder came to; its nodes count from zero, and its sink has had them. `sink` is
    /// given the nodes above. Nothing changes where the part does not fit.
    ///
    /// ```
    /// # use ppsp_core::{HashAlg, Misplaced, Tree, TreeBuilder};
    /// const PART: usize = 16 * 1024;
    /// let content = vec![7; 5 * PART + 3000];
    /// let hash = |part: &[u8]| {
    ///     let mut builder = TreeBuilder::new(HashAlg::Sha256, 1024);
    ///     builder.push(part, &mut |_, _| ());
    ///     builder.finish(&mut |_, _| ())
    /// };
    /// let parts: Vec<Tree> = std::thread::scope(|scope| {
    ///     let threads: Vec<_> = content.chunks(PART).map(|part| scope.spawn(move || hash(part))).collect();
    ///     threads.into_iter().flat_map(|thread| thread.join()).collect()
    /// });
    ///
    /// let mut builder = TreeBuilder::new(HashAlg::Sha256, 1024);
    /// for part in &parts {
    ///     builder.push_tree(part, &mut |_, _| ())?;
    /// }
    /// assert_eq!(builder.finish(&mut |_, _| ()), hash(&content));
    /// # Ok::<(), Misplaced>(())
    /// ```
    pub fn push_tree(&mut self, part: &Tree, sink: &mut dyn FnMut(Bin, &Hash)) -> Result<(), Misplaced> {
        let first = self.folded + self.leaves.len() as u64;
        let whole = first.checked_mul(self.chunk_size as u64) == Some(self.content_length);
        if !whole || !first.is_multiple_of(part.chunks.next_power_of_two()) {
            return Err(Misplaced);
        }
        self.fold(sink);
        self.folded += part.chunks;
        self.content_length += part.content_length;
        for peak in &part.peaks {
            if let Some(node) = Bin::at(peak.node.height(), first + peak.node.first_chunk()) {
                self.join(Claim { node, hash: peak.hash }, sink);
            }
        }
        Ok(())
    }

    fn push_partial(&mut self, sink: &mut dyn FnMut(Bin, &Hash)) {
        let mut partial = mem::take(&mut self.partial);
        self.push_chunks(&[&partial], sink);
        partial.clear();
        self.partial = partial;
    }

    /// Takes up to a group of chunks, no more than the group under way has room for.
    fn push_chunks(&mut self, chunks: &[&[u8]], sink: &mut dyn FnMut(Bin, &Hash)) {
        let known = self.leaves.len();
        self.leaves.resize(known + chunks.len(), Hash::empty(self.alg));
        let new = self.leaves.get_mut(known..).unwrap_or_default();
        hash_chunks(self.alg, chunks, new);
        tell(0, self.folded + known as u64, self.leaves.get(known..).unwrap_or_default(), sink);
        if self.leaves.len() >= GROUP {
            self.fold(sink);
        }
    }

    /// Hashes the leaves up to their peaks, a level at a time, and joins these with what is on the left.
    fn fold(&mut self, sink: &mut dyn FnMut(Bin, &Hash)) {
        // Number of the first among the nodes of its height.
        let mut first = self.folded;
        self.folded += self.leaves.len() as u64;
        let mut tops = [None; GROUP.ilog2() as usize + 1];
        for (height, top) in (0..).zip(&mut tops) {
            if self.leaves.is_empty() {
                break;
            }
            // Behind a part that was hashed elsewhere: the first one's sibling is on the left.
            if !first.is_multiple_of(2) {
                let hash = self.leaves.remove(0);
                Bin::at(height, first << height).into_iter().for_each(|node| self.join(Claim { node, hash }, sink));
                first += 1;
            }
            let (pairs, odd) = self.leaves.as_chunks::<2>();
            *top = odd.first().and_then(|&hash| {
                Some(Claim { node: Bin::at(height, (first + pairs.len() as u64 * 2) << height)?, hash })
            });
            first /= 2;
            self.above.resize(pairs.len(), Hash::empty(self.alg));
            hash_pairs(self.alg, pairs, &mut self.above);
            mem::swap(&mut self.leaves, &mut self.above);
            tell(height + 1, first << (height + 1), &self.leaves, sink);
        }
        self.leaves.clear();
        for top in tops.into_iter().rev().flatten() {
            self.join(top, sink);
        }
    }

    /// Adds a subtree on the right, and closes every node that is complete by it.
    fn join(&mut self, top: Claim, sink: &mut dyn FnMut(Bin, &Hash)) {
        join(self.alg, &mut self.stack, top, sink);
    }
}

/// Adds a subtree on the right of complete ones, and closes every node that is complete by it.
pub(crate) fn join(alg: HashAlg, stack: &mut Vec<Claim>, mut top: Claim, sink: &mut dyn FnMut(Bin, &Hash)) {
    // Of content that does not begin with its first chunk, two neighbours of one height need not be siblings.
    while let Some(left) = stack.pop_if(|left| left.node.sibling() == Some(top.node)) {
        let pair = [left.hash, top.hash];
        hash_pairs(alg, &[pair], core::slice::from_mut(&mut top.hash));
        top.node = top.node.parent().unwrap_or(Bin::ALL);
        sink(top.node, &top.hash);
    }
    stack.push(top);
}

/// Why a part is not the next of a tree: the content so far is no multiple of its width, the next power of two of its chunks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("part of a tree at a position that is no multiple of its width")]
pub struct Misplaced;

/// Gives neighbouring nodes of one height to a sink, the first of them above chunk `first`.
fn tell(height: u32, first: ChunkId, hashes: &[Hash], sink: &mut dyn FnMut(Bin, &Hash)) {
    for (i, hash) in (0..).zip(hashes) {
        Bin::at(height, first + (i << height)).into_iter().for_each(|node| sink(node, hash));
    }
}

/// Leaves hashed together; a power of two. So many that most inner nodes are hashed side by side too.
const GROUP: usize = 256;

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{collections::BTreeMap, vec};

    /// The tree as the RFC defines it, node by node, with every node under the root: slow and obviously right.
    pub(crate) fn naive(alg: HashAlg, chunk_size: usize, content: &[u8]) -> (Hash, BTreeMap<Bin, Hash>) {
        fn go(alg: HashAlg, size: usize, content: &[u8], node: Bin, all: &mut BTreeMap<Bin, Hash>) -> Hash {
            let mut hash = [Hash::empty(alg)];
            if let Some((l, r)) = node.children() {
                let pair = [go(alg, size, content, l, all), go(alg, size, content, r, all)];
                hash_pairs(alg, &[pair], &mut hash);
            } else {
                let at = node.first_chunk() as usize * size;
                if at < content.len() || at == 0 {
                    hash_chunks(alg, &[&content[at..content.len().min(at + size)]], &mut hash);
                }
            }
            all.insert(node, hash[0]);
            hash[0]
        }
        let mut all = BTreeMap::new();
        let chunks = content.len().div_ceil(chunk_size).max(1) as u64;
        let root = go(alg, chunk_size, content, root_bin(chunks), &mut all);
        (root, all)
    }

    /// Bytes without a pattern that any chunk size could hit.
    pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut x = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut next = || {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            (x >> 32) as u8
        };
        (0..len).map(|_| next()).collect()
    }

    pub(crate) fn build(alg: HashAlg, chunk_size: u32, content: &[u8]) -> (Tree, BTreeMap<Bin, Hash>) {
        let mut all = BTreeMap::new();
        let mut sink = |node: Bin, hash: &Hash| assert!(all.insert(node, *hash).is_none(), "{node:?} twice");
        let mut builder = TreeBuilder::new(alg, chunk_size);
        builder.push(content, &mut sink);
        let tree = builder.finish(&mut sink);
        (tree, all)
    }

    #[test]
    fn geometry() {
        let numbers = |chunks| peaks(chunks).map(Bin::number).collect::<Vec<_>>();
        // RFC 7574 §5.6.1, Figure 4.
        assert_eq!(numbers(7), [3, 9, 12]);
        assert_eq!(numbers(0), []);
        assert_eq!(numbers(1 << 63), [Bin::ALL.number()]);
        for (chunks, root) in [(0, 0), (1, 0), (2, 1), (3, 3), (4, 3), (5, 7), (8, 7), (1 << 63, Bin::ALL.number())] {
            assert_eq!(root_bin(chunks).number(), root);
        }
        for chunks in 0..70 {
            for chunk in 0..80 {
                let peak = peaks(chunks).find(|peak| peak.range().contains(chunk));
                assert_eq!(peak_of(chunk, chunks), peak);
            }
        }
        // RFC 7574 §5.2, Figure 3: the uncles of C4.
        assert!(uncles(4, root_bin(7)).map(Bin::number).eq([10, 13, 3]));
        assert_eq!(uncles(4, Bin::new(3).unwrap()).count(), 0);
        assert_eq!(uncles(4, Bin::new(8).unwrap()).count(), 0);
        assert_eq!(uncles(0, Bin::ALL).count(), 63);
        assert!(is_filled(Bin::new(9).unwrap(), 7) && !is_filled(Bin::new(13).unwrap(), 7));
    }

    #[test]
    fn peaks_that_are_none() {
        let (tree, _) = build(HashAlg::Sha256, 512, &noise(512 * 7, 1));
        let peaks = tree.peaks;
        assert_eq!(root_from_peaks(HashAlg::Sha256, &peaks), Some((tree.root, 7)));
        assert_eq!(root_from_peaks(HashAlg::Sha256, &[]), None);
        assert_eq!(root_from_peaks(HashAlg::Sha256, &peaks[1..]), None);
        assert_ne!(root_from_peaks(HashAlg::Sha256, &peaks[..2]).unwrap().0, tree.root);
        assert_eq!(root_from_peaks(HashAlg::Sha1, &peaks), None, "length of another function");
        assert_eq!(root_from_peaks(HashAlg::Sha256, &[peaks[1], peaks[0], peaks[2]]), None);
        assert_eq!(root_from_peaks(HashAlg::Sha256, &[Claim { hash: Hash::empty(HashAlg::Sha256), ..peaks[0] }]), None);
    }

    #[test]
    fn parts_that_do_not_fit() {
        let mut nothing = |_: Bin, _: &Hash| ();
        let bytes = noise(64 * 7, 1);
        let two = build(HashAlg::Sha1, 7, &bytes[..14]).0;
        let mut builder = TreeBuilder::new(HashAlg::Sha1, 7);
        builder.push(&bytes[..7], &mut nothing);
        assert_eq!(builder.push_tree(&two, &mut nothing), Err(Misplaced));
        builder.push(&bytes[..8], &mut nothing);
        assert_eq!(builder.push_tree(&two, &mut nothing), Err(Misplaced), "within a chunk");
        assert_eq!(builder.finish(&mut nothing).content_length, 15);
        let mut builder = TreeBuilder::new(HashAlg::Sha1, 7);
        let short = build(HashAlg::Sha1, 7, &bytes[..13]).0;
        assert_eq!(builder.push_tree(&short, &mut nothing), Ok(()));
        assert_eq!(builder.push_tree(&two, &mut nothing), Err(Misplaced), "behind a short chunk");
        assert_eq!(builder.finish(&mut nothing), short);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn parts_equal_the_stream(
            // Of each part the height, or a length of bytes.
            parts in proptest::collection::vec(prop_oneof![(0u32..11).prop_map(Ok), (0usize..3000).prop_map(Err)], 0..8),
            alg in proptest::sample::select(&[HashAlg::Sha1, HashAlg::Sha256][..]),
            seed: u64,
        ) {
            let content = noise(8 * 1024 * 7, seed);
            let (mut nodes, mut at) = (BTreeMap::new(), 0);
            let mut builder = TreeBuilder::new(alg, 7);
            for part in parts {
                let mut sink = |node: Bin, hash: &Hash| assert!(nodes.insert(node, *hash).is_none(), "{node:?} twice");
                match part {
                    Ok(height) => {
                        let len = 7usize << height;
                        let fits = at % len == 0;
                        let (tree, below) = build(alg, 7, &content[at..][..len]);
                        prop_assert_eq!(builder.push_tree(&tree, &mut sink).is_ok(), fits);
                        if fits {
                            let first = (at / 7) as u64;
                            below.iter().for_each(|(node, hash)| {
                                sink(Bin::at(node.height(), first + node.first_chunk()).unwrap(), hash);
                            });
                            at += len;
                        }
                    }
                    Err(len) => {
                        builder.push(&content[at..][..len], &mut sink);
                        at += len;
                    }
                }
            }
            let mut sink = |node: Bin, hash: &Hash| assert!(nodes.insert(node, *hash).is_none(), "{node:?} twice");
            let tree = builder.finish(&mut sink);
            let (expected, all) = build(alg, 7, &content[..at]);
            prop_assert_eq!(tree, expected);
            prop_assert_eq!(nodes, all);
        }

        #[test]
        fn streaming_equals_the_definition(
            chunks in prop_oneof![0usize..20, 60usize..70, 120usize..140, 200usize..300],
            tail in 0usize..7,
            cuts in proptest::collection::vec(0usize..300, 0..20),
            alg in proptest::sample::select(&HashAlg::ALL[..]),
            seed: u64,
        ) {
            let content = noise(chunks * 7 + tail, seed);
            let (root, mut all) = naive(alg, 7, &content);
            let mut nodes = vec![];
            let mut builder = TreeBuilder::new(alg, 7);
            let mut rest = &content[..];
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                builder.push(head, &mut |node, hash| nodes.push((node, *hash)));
                rest = tail;
            }
            builder.push(rest, &mut |node, hash| nodes.push((node, *hash)));
            let tree = builder.finish(&mut |node, hash| nodes.push((node, *hash)));
            prop_assert_eq!(tree.root, root);
            prop_assert_eq!(tree.content_length, content.len() as u64);
            prop_assert_eq!(tree.chunks, content.len().div_ceil(7).max(1) as u64);
            prop_assert!(tree.peaks.iter().map(|c| (c.node, c.hash)).eq(peaks(tree.chunks).map(|p| (p, all[&p]))));
            prop_assert_eq!(root_from_peaks(alg, &tree.peaks), Some((root, tree.chunks)));
            // Each filled node once, and nothing else.
            all.retain(|&node, _| is_filled(node, tree.chunks));
            prop_assert_eq!(nodes.len(), all.len());
            prop_assert_eq!(nodes.into_iter().collect::<BTreeMap<_, _>>(), all);
        }
    }
}
