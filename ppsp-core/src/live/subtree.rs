//! What is known below a munro.

use alloc::{boxed::Box, vec, vec::Vec};
use core::slice;

use super::Munro;
use crate::{Bin, ChunkId, Claim, Hash, HashAlg, Unverified, hash_pairs};

/// A munro, and what is known below it.
#[derive(Clone, Debug)]
pub(super) struct Subtree {
    pub(super) munro: Munro,
    /// Chunks of it that may exist: fewer than its width once it is proven that the stream ends in it.
    pub(super) filled: u64,
    /// Length of the last of them in bytes, once it was verified.
    pub(super) last_len: Option<usize>,
    /// There is another one.
    pub(super) disputed: bool,
    /// Hashes of the nodes below, the leaves first; empty as long as none is known.
    pub(super) hashes: Box<[Option<Hash>]>,
}

impl Subtree {
    pub(super) fn new(munro: Munro) -> Self {
        let filled = munro.node.range().len();
        Self { munro, filled, last_len: None, disputed: false, hashes: Box::default() }
    }

    /// Where the hash of a node below the munro is kept.
    fn slot(&self, node: Bin) -> usize {
        let width = self.munro.node.range().len();
        let level = (2 * width) - ((2 * width) >> node.height());
        (level + ((node.first_chunk() - self.munro.node.first_chunk()) >> node.height())) as usize
    }

    pub(super) fn hash(&self, node: Bin) -> Option<Hash> {
        if node == self.munro.node {
            Some(self.munro.hash)
        } else {
            self.hashes.get(self.slot(node)).copied().flatten()
        }
    }

    /// `true` if it was not known.
    pub(super) fn set(&mut self, claim: Claim) -> bool {
        if self.hashes.is_empty() {
            self.hashes = vec![None; 2 * self.munro.node.range().len() as usize - 2].into_boxed_slice();
        }
        let slot = self.slot(claim.node);
        self.hashes.get_mut(slot).is_some_and(|slot| slot.replace(claim.hash).is_none())
    }

    /// Climbs from a leaf to a node that is proven, with all from chunk `end` on taken for empty. Claims are steps on
    /// the way and never its end.
    pub(super) fn climb(
        &self,
        alg: HashAlg,
        chunk: &Unverified<'_>,
        leaf: &Hash,
        end: ChunkId,
        path: &mut Vec<Step>,
    ) -> Climb {
        path.clear();
        let Some(mut node) = Bin::leaf(chunk.chunk) else { return Climb::Missing };
        let mut hash = *leaf;
        loop {
            if let Some(known) = self.hash(node) {
                return if known == hash { Climb::Proven } else { Climb::Contradicted };
            }
            let (Some(parent), Some(beside)) = (node.parent(), node.sibling()) else { return Climb::Missing };
            let (sibling, claimed) = match self.hash(beside) {
                Some(known) => (known, false),
                None if beside.first_chunk() >= end => (Hash::empty(alg), true),
                None => {
                    let found = chunk.claims.iter().copied().flatten().find(|claim| claim.node == beside);
                    // Chunks are without gaps: only what is on the right can be empty.
                    let usable =
                        |hash: &Hash| hash.as_bytes().len() == alg.len() && (node.is_left() || !hash.is_empty());
                    let Some(hash) = found.map(|claim| claim.hash).filter(usable) else { return Climb::Missing };
                    (hash, true)
                }
            };
            let pair = if node.is_left() { [hash, sibling] } else { [sibling, hash] };
            path.push(Step { own: Claim { node, hash }, beside: Claim { node: beside, hash: sibling }, claimed });
            hash_pairs(alg, &[pair], slice::from_mut(&mut hash));
            node = parent;
        }
    }
}

/// A node on the way up, and its sibling.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) own: Claim,
    pub(super) beside: Claim,
    /// Did the sibling's hash only come with the chunk, or follow from its length?
    pub(super) claimed: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Climb {
    Proven,
    Contradicted,
    Missing,
}
