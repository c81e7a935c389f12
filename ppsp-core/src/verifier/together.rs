//! The climbs of a batch, level by level.
//!
//! All climbs stand at the same height, in the order of their nodes. At each level the hashes above all of them are made
//! by one call, and two climbs that stand on siblings go on as one. So there is one inner hash per chunk where a batch is
//! of neighbours, in whatever order, and the hashes of a level can be made side by side.
//!
//! # Why this is sound, and the same as one by one
//!
//! A climb ends only at a hash that was proven before the batch. What another climb of the batch has computed, or a chunk
//! claims, is only ever hashed on the way there. As nobody finds two preimages of a hash, everything below an end that
//! matches is right. Where it does not match, nothing is concluded: its chunks are judged one by one, in their turn.
//!
//! Judged one by one, the first chunk of a batch below some node (its *leader*) brings the sibling of that node, and those
//! behind it find both proven. So at each step of a merged climb the leader's own claim of the sibling is required, and
//! where another climb computes that sibling, it must be the same; otherwise its chunks are left to be judged one by one.
//! And what a step proves is entered when it is the leader's turn, so that a chunk that is judged in between is held
//! against exactly what was proven before it.

use alloc::vec::Vec;

use super::{Trust, Unverified, Verdict, Verifier, claimed};
use crate::{Bin, Claim, Hash, hash_chunks, hash_pairs, is_filled, proven::Look};

/// Scratch memory of [`Verifier::verify_part`].
#[derive(Clone, Debug, Default)]
pub(super) struct Together {
    /// Of each chunk of the batch: its hash, what becomes of it, and its latest step, in `steps`.
    leaves: Vec<Hash>,
    fates: Vec<Fate>,
    latest: Vec<u32>,
    /// The climbs that are under way, in the order of their nodes, which are all of one height.
    climbs: Vec<Climb>,
    /// The hashes of these nodes, from the second level on.
    hashes: Vec<Hash>,
    steps: Vec<Step>,
    /// For each step the two hashes, left first.
    pairs: Vec<[Hash; 2]>,
}

impl Together {
    /// Inner hashes made for the last batch.
    #[cfg(test)]
    pub(super) fn inner_hashes(&self) -> usize {
        self.pairs.len()
    }
}

/// What becomes of a chunk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    /// Judged by itself; its leaf is hashed.
    Alone,
    /// Judged by itself; its leaf is not.
    Misfit,
    Proven,
    /// The same as another chunk that comes before it in the batch.
    As(u32),
}

#[derive(Clone, Copy, Debug)]
struct Climb {
    node: Bin,
    /// The first chunk of the batch below the node, by its place in the batch.
    leader: u32,
    /// Which of the level's hashes is the node's.
    hash: u32,
    look: Look,
}

/// Two siblings on the way up.
#[derive(Clone, Copy, Debug)]
struct Step {
    node: Bin,
    /// Which of the two, left first, are proven by this step.
    proves: [bool; 2],
    /// The leader's step before this one.
    before: u32,
}

impl Verifier {
    /// Verifies chunks once the height of the tree is settled.
    pub(super) fn verify_part(
        &mut self,
        part: &[Unverified<'_>],
        verdicts: &mut Vec<Verdict>,
        proven: &mut Vec<Claim>,
    ) {
        let mut together = core::mem::take(&mut self.together);
        self.hash_leaves(part, &mut together);
        while !together.climbs.is_empty() {
            self.climb_level(part, &mut together);
        }
        let size = self.size();
        for (i, chunk) in part.iter().enumerate() {
            let fate = match together.fates.get(i) {
                Some(&Fate::As(leader)) => together.fates.get(leader as usize),
                fate => fate,
            };
            let fate = fate.copied().unwrap_or(Fate::Misfit);
            if let Some(slot) = together.fates.get_mut(i) {
                *slot = fate;
            }
            let verdict = match (fate, together.leaves.get(i)) {
                // Once a chunk has told something of the size, climbs that began before do not count.
                (Fate::Proven, _) if self.size() == size => {
                    self.enter(&together, i, proven);
                    self.accepted(chunk, proven);
                    Verdict::Accepted
                }
                (Fate::Misfit, _) | (_, None) => self.judge_alone(chunk, proven),
                (_, Some(leaf)) => self.judge(chunk, leaf, proven),
            };
            verdicts.push(verdict);
        }
        self.together = together;
    }

    /// What verdicts depend on beside hashes.
    fn size(&self) -> (Option<u64>, Option<u64>, Trust) {
        (self.chunks, self.content_length, self.trust)
    }

    /// Hashes the chunks, and lets those climb that cannot tell anything of the size.
    fn hash_leaves(&self, part: &[Unverified<'_>], t: &mut Together) {
        t.fates.clear();
        t.climbs.clear();
        t.steps.clear();
        t.pairs.clear();
        t.latest.clear();
        t.latest.resize(part.len(), NONE);
        if t.leaves.len() < part.len() {
            t.leaves.resize(part.len(), self.root);
        }
        let last = self.chunks.map_or(0, |chunks| chunks.saturating_sub(1));
        for (group, leaves) in part.chunks(GROUP).zip(t.leaves.chunks_mut(GROUP)) {
            let mut data: [&[u8]; GROUP] = [&[]; GROUP];
            for (chunk, slot) in group.iter().zip(&mut data) {
                let leader = t.fates.len() as u32;
                if self.misfit(chunk).is_some() {
                    t.fates.push(Fate::Misfit);
                    continue;
                }
                t.fates.push(Fate::Alone);
                *slot = chunk.data;
                let plain = if self.content_length.is_some() {
                    self.trust == Trust::Certain
                } else {
                    chunk.chunk < last && chunk.data.len() == self.chunk_size
                };
                if let Some(node) = Bin::leaf(chunk.chunk).filter(|_| plain) {
                    t.climbs.push(Climb { node, leader, hash: leader, look: Look::default() });
                }
            }
            hash_chunks(self.alg, data.get(..group.len()).unwrap_or_default(), leaves);
        }
        t.climbs.sort_unstable_by_key(|climb| climb.node);
        // A chunk that comes twice is judged one by one.
        let (mut kept, mut before) = (0, None);
        for i in 0..t.climbs.len() {
            let Some(&climb) = t.climbs.get(i) else { break };
            let twice = before == Some(climb.node) || t.climbs.get(i + 1).is_some_and(|next| next.node == climb.node);
            before = Some(climb.node);
            if !twice && let Some(slot) = t.climbs.get_mut(kept) {
                *slot = climb;
                kept += 1;
            }
        }
        t.climbs.truncate(kept);
    }

    /// Takes all climbs one level up: some end, some merge.
    fn climb_level(&mut self, part: &[Unverified<'_>], t: &mut Together) {
        let end = self.chunks.unwrap_or(0);
        let from = t.pairs.len();
        let hashes = if from == 0 { &t.leaves } else { &t.hashes };
        // All lookups of a level first: they wait for memory, and need not wait for each other.
        for climb in &mut t.climbs {
            let hash = hash_of(hashes, climb).map_or(&[][..], Hash::as_bytes);
            climb.look = self.proven.look(climb.node, hash);
        }
        let (mut next, mut kept) = (0, 0);
        while let Some(&one) = t.climbs.get(next) {
            let two = t.climbs.get(next + 1).copied().filter(|two| one.node.sibling() == Some(two.node));
            next += 1 + usize::from(two.is_some());
            let mut open = if one.node.is_left() { [Some(one), two] } else { [None, Some(one)] };
            for climb in &mut open {
                let Some(ended) = climb.filter(|climb| climb.look.known) else { continue };
                *climb = None;
                if let Some(fate) = t.fates.get_mut(ended.leader as usize)
                    && ended.look.equal
                {
                    *fate = Fate::Proven;
                }
            }
            if let [Some(left), Some(right)] = open {
                let [first, second] = if left.leader < right.leader { [left, right] } else { [right, left] };
                let claim = part.get(first.leader as usize).and_then(|chunk| claimed(self.alg, chunk, second.node));
                match claim {
                    Some(claim) if hash_of(hashes, &second) == Some(claim) => {
                        if let Some(fate) = t.fates.get_mut(second.leader as usize) {
                            *fate = Fate::As(first.leader);
                        }
                    }
                    Some(_) => continue,
                    // The second may climb on, as it does where the first could not be proven.
                    None if first.node.is_left() => open = [None, Some(second)],
                    None => open = [Some(second), None],
                }
            }
            let (climb, pair, proves) = match open {
                [Some(left), Some(right)] => {
                    let (Some(l), Some(r)) = (hash_of(hashes, &left), hash_of(hashes, &right)) else { continue };
                    (if left.leader < right.leader { left } else { right }, [*l, *r], [true; 2])
                }
                [None, None] => continue,
                [Some(climb), None] | [None, Some(climb)] => {
                    let (Some(beside), Some(hash)) = (climb.node.sibling(), hash_of(hashes, &climb)) else { continue };
                    let (sibling, claimed) = if climb.look.sibling_known {
                        let Some(known) = self.proven.hash(beside) else { continue };
                        (known, false)
                    } else if beside.first_chunk() >= end {
                        (Hash::empty(self.alg), false)
                    } else {
                        let chunk = part.get(climb.leader as usize);
                        let Some(claim) = chunk.and_then(|chunk| claimed(self.alg, chunk, beside)) else { continue };
                        (*claim, true)
                    };
                    if climb.node.is_left() {
                        (climb, [*hash, sibling], [true, claimed])
                    } else {
                        (climb, [sibling, *hash], [claimed, true])
                    }
                }
            };
            let (Some(node), Some(latest)) = (climb.node.parent(), t.latest.get_mut(climb.leader as usize)) else {
                continue;
            };
            let before = core::mem::replace(latest, t.steps.len() as u32);
            t.steps.push(Step { node: climb.node, proves, before });
            let hash = (t.pairs.len() - from) as u32;
            t.pairs.push(pair);
            if let Some(slot) = t.climbs.get_mut(kept) {
                *slot = Climb { node, leader: climb.leader, hash, look: Look::default() };
                kept += 1;
            }
        }
        t.climbs.truncate(kept);
        let pairs = t.pairs.get(from..).unwrap_or_default();
        if t.hashes.len() < pairs.len() {
            t.hashes.resize(pairs.len(), self.root);
        }
        hash_pairs(self.alg, pairs, &mut t.hashes);
    }

    /// Enters what a chunk proves that the chunks before it in the batch do not.
    fn enter(&mut self, t: &Together, leader: usize, proven: &mut Vec<Claim>) {
        let chunks = self.chunks.unwrap_or(0);
        let mut at = t.latest.get(leader).copied().unwrap_or(NONE);
        while let (Some(step), Some([left, right])) = (t.steps.get(at as usize), t.pairs.get(at as usize)) {
            at = step.before;
            let [l, r] = step.proves;
            let (new_l, new_r) = self.proven.set_pair(step.node, l.then_some(left), r.then_some(right));
            let Some((l, r)) = step.node.parent().and_then(Bin::children) else { continue };
            if new_l && is_filled(l, chunks) {
                proven.push(Claim { node: l, hash: *left });
            }
            if new_r && is_filled(r, chunks) {
                proven.push(Claim { node: r, hash: *right });
            }
        }
    }
}

fn hash_of<'a>(hashes: &'a [Hash], climb: &Climb) -> Option<&'a Hash> {
    hashes.get(climb.hash as usize)
}

/// Chunks handed to the hash function at once.
const GROUP: usize = 64;
const NONE: u32 = u32::MAX;
