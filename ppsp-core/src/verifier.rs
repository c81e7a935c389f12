use alloc::vec::Vec;
use core::{iter, mem, slice};

use crate::{
    Bin, ChunkId, ChunkRange, Claim, Hash, HashAlg, IntegrityMethod, MetadataError, RangeSet, SwarmMetadata,
    hash_chunks, hash_pairs, is_filled, peak_of, peaks,
    proven::{LEVELS, Proven},
    root_bin, root_from_peaks,
};
use together::Together;

/// A chunk as it came from a peer, with the hashes that came from the same peer.
#[derive(Clone, Copy, Debug)]
pub struct Unverified<'a> {
    /// Which chunk it is said to be.
    pub chunk: ChunkId,
    /// Its bytes.
    pub data: &'a [u8],
    /// Claims of the same datagram, then claims kept from earlier datagrams of the same peer. Where several name one
    /// node, the first counts.
    pub claims: [&'a [Claim]; 2],
}

/// What came of a chunk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It is the content's chunk.
    Accepted,
    /// It is not, or the hashes that came with it are not: its sender is to blame.
    Corrupt,
    /// It cannot be told: hashes are missing, or the size of the content is not known. Nobody is to blame.
    Unproven,
}

/// Checks chunks of static content against the root hash of its tree (RFC 7574 §5), and keeps the hashes that are needed
/// for the chunks still missing.
///
/// A proof is applied whole or not at all: what is not [`Accepted`](Verdict::Accepted) changes nothing. A climb from a
/// chunk towards the root ends only at a hash that is proven; claims are but steps on the way, so that two chunks cannot
/// vouch for each other.
///
/// # The size of the content
///
/// RFC 7574 §5.6.1 holds that peak hashes which lead to the root hash prove the number of chunks. They do not, as the hash
/// of a node says neither how high the node is nor whether it is filled:
///
/// * All peaks moved up or down some levels lead to the same root. The root itself, public as it is, passes as the single
///   peak of 1, 2, 4… chunks.
/// * An incomplete node passes as a filled one: a tree of 5 chunks passes as one of 6, 7 or 8.
/// * Where the tree is thought too low, the two child hashes of an inner node pass as a last chunk of twice the length of
///   a hash. Longer chunks cannot be forged like that, which is why no smaller chunk size than
///   [`SwarmMetadata::MIN_CHUNK_SIZE`] is accepted.
///
/// So, unless the metadata gives the content length, the size is learned in three steps:
///
/// 1. Peaks that lead to the root are *believed*. Other peaks that do replace them, and nobody is blamed for a chunk that
///    does not fit them unless it came with these very peaks. A chunk of exactly two hashes' length proves nothing yet.
/// 2. With the first accepted chunk the height of the tree is *settled*: that chunk's bytes are no pair of hashes. From
///    here on the number of chunks is an upper bound. It shrinks when peaks of fewer chunks lead to the root, as these
///    prove that the rest is empty, or when a chunk proves to be followed by nothing.
/// 3. With the last chunk the size is *certain*: a leaf that holds bytes is not empty.
///
/// So [`offer_peaks`](Self::offer_peaks) is to be called with every list of claims until
/// [`size_certain`](Self::size_certain), and [`chunks`](Self::chunks) read again after calls that take `&mut self`.
/// Content that is a single chunk of exactly two hashes' length can be proven only with its length in the metadata.
#[derive(Clone, Debug)]
pub struct Verifier {
    alg: HashAlg,
    chunk_size: usize,
    max_chunks: u64,
    root: Hash,
    chunks: Option<u64>,
    content_length: Option<u64>,
    trust: Trust,
    peaks: Vec<Claim>,
    proven: Proven,
    /// Was the root, being a filled node, given to the store?
    root_handed: bool,
    /// Scratch: the steps of a climb.
    path: Vec<Step>,
    /// Scratch: the climbs of a batch.
    together: Together,
}

impl Verifier {
    /// A verifier that knows the root hash and, where the metadata gives it, the length of the content.
    pub fn new(metadata: &SwarmMetadata) -> Result<Self, MetadataError> {
        metadata.check()?;
        if metadata.integrity != IntegrityMethod::MerkleTree {
            return Err(MetadataError::Integrity);
        }
        let mut verifier = Self {
            alg: metadata.hash,
            chunk_size: metadata.chunk_size as usize,
            // Of more chunks the length in bytes would not fit.
            max_chunks: (u64::MAX / u64::from(metadata.chunk_size))
                .min(metadata.addressing.max_chunks(metadata.chunk_size)),
            root: Hash::from_bytes(metadata.id.as_bytes()).ok_or(MetadataError::IdLength)?,
            chunks: None,
            content_length: None,
            trust: Trust::Believed,
            peaks: Vec::new(),
            proven: Proven::new(metadata.hash.len()),
            root_handed: false,
            path: Vec::new(),
            together: Together::default(),
        };
        if let (Some(chunks), length) = (metadata.chunks(), metadata.content_length) {
            verifier.begin(chunks);
            verifier.content_length = length;
            verifier.trust = Trust::Certain;
            verifier.collect_peaks();
        }
        Ok(verifier)
    }

    /// Number of chunks: given by the metadata, or what the peaks say. Final once [`size_certain`](Self::size_certain).
    pub fn chunks(&self) -> Option<u64> {
        self.chunks
    }

    /// Are there peaks that lead to the root? They may still change until [`size_certain`](Self::size_certain).
    pub fn peaks_proven(&self) -> bool {
        !self.peaks.is_empty()
    }

    /// Is the height of the tree beyond doubt, so that the number of chunks can only shrink? It is from the first
    /// accepted chunk on, or if the metadata gave the length.
    pub fn size_settled(&self) -> bool {
        self.trust > Trust::Believed
    }

    /// Is the number of chunks beyond doubt? It is if the metadata gave the length or the last chunk was accepted.
    pub fn size_certain(&self) -> bool {
        self.trust == Trust::Certain
    }

    /// Length of the content in bytes: given by the metadata, or found by the last chunk.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// The peaks, left to right, for peers that have none yet; empty as long as they are not known.
    pub fn peaks(&self) -> &[Claim] {
        &self.peaks
    }

    /// Takes the claims of a datagram, in their order, that may begin with the peaks (RFC 7574 §5.6.2). `true` if they do:
    /// if their first few lead to the root hash and agree with what is known of the size. Appends peaks that are new to
    /// `proven`; those that are but believed so far, see [`Verifier`], come with the first chunk that is accepted.
    pub fn offer_peaks(&mut self, claims: &[Claim], proven: &mut Vec<Claim>) -> bool {
        let run = peak_run(claims);
        if !self.peaks.is_empty() && run.get(..self.peaks.len()) == Some(&self.peaks) {
            return true;
        }
        // The longest run first, as honest peers put nothing behind the peaks that could follow them.
        let mut budget = PEAK_BUDGET;
        for len in (1..=run.len()).rev() {
            let Some((candidate, last)) = run.get(..len).and_then(|run| Some((run, run.last()?.node))) else {
                continue;
            };
            let chunks = last.last_chunk() + 1;
            let top = root_bin(chunks);
            let fits = match (self.chunks, self.trust) {
                (None, _) | (_, Trust::Believed) => chunks <= self.max_chunks,
                // At the settled height, peaks of fewer chunks prove that the rest is empty.
                (Some(known), Trust::Settled) => top == root_bin(known) && chunks < known,
                (Some(known), Trust::Certain) => chunks == known && self.peaks.is_empty(),
            };
            let cost = top.height() - last.height();
            if !fits || cost > budget {
                continue;
            }
            budget -= cost;
            if root_from_peaks(self.alg, candidate).is_some_and(|(root, _)| root == self.root) {
                self.adopt(chunks, candidate, proven);
                return true;
            }
        }
        false
    }

    /// Checks a batch of chunks. `verdicts` is cleared and gets one for each; `proven` gets, behind what it holds, the
    /// filled nodes whose hashes were not known before, for the content store.
    ///
    /// Every verdict is the one that the chunk gets when the batch is verified one by one, in its order: the hashes that
    /// prove a chunk must be known by then, or come with it. Only the order in which nodes are appended to `proven` may
    /// differ. Batches of 32 to 128 chunks are the fastest, and fastest where most of their chunks are neighbours, in
    /// whatever order.
    pub fn verify(&mut self, batch: &[Unverified<'_>], verdicts: &mut Vec<Verdict>, proven: &mut Vec<Claim>) {
        verdicts.clear();
        let mut rest = batch;
        while let Some((first, behind)) = rest.split_first() {
            // Before the height is settled, any chunk may change what the next one is held against.
            if self.trust == Trust::Believed || behind.is_empty() {
                verdicts.push(self.judge_alone(first, proven));
                rest = behind;
            } else {
                let (part, behind) = rest.split_at(rest.len().min(PART));
                self.verify_part(part, verdicts, proven);
                rest = behind;
            }
        }
    }

    /// Drops hashes that no missing chunk needs any more: those inside complete subtrees, except their tops. `held` are
    /// the chunks held, `range` those that came to it since the last call.
    ///
    /// RFC 7574 §5.3: the receiver MUST remember all the hashes it needs to verify missing chunks.
    pub fn forget(&mut self, held: &RangeSet, range: ChunkRange) {
        let Some(end) = self.chunks.and_then(|chunks| chunks.checked_sub(1)) else { return };
        let top = root_bin(end + 1).height();
        // A page's chunks, its top being the bottom of the next band. The page of the root is kept.
        for (band, shift) in (0..).map(|band| (band, LEVELS * (band + 1))).take_while(|&(_, shift)| shift <= top) {
            let (first, last) = (range.first() >> shift, range.last().min(end) >> shift);
            let complete = |page: u64| {
                let last = (page << shift) | ((1 << shift) - 1);
                held.covers(ChunkRange::between(page << shift, last.min(end)))
            };
            // Where no subtree of this height is complete, none that is higher is.
            if last.saturating_sub(first) < 2 && !complete(first) && (first == last || !complete(last)) {
                break;
            }
            let mut from = first;
            while let Some(page) = self.proven.next_page(band, from, last) {
                if complete(page) {
                    self.proven.drop_page(band, page);
                }
                from = page + 1;
            }
        }
    }

    /// Takes up what a content store kept: the number of chunks, the length of the content where it knew it, the chunks
    /// `held`, and its hashes, by `read`. Returns the part of `held` whose leaf hashes are proven.
    ///
    /// Nothing is believed: hashes may be torn or made up. The peaks must lead to the root hash, and the two children of
    /// each proven node to that node; only what proves itself so counts. Hashes are read where there are held chunks below
    /// them, each once. Those that missing chunks need stay in memory, those inside complete subtrees do not.
    pub fn restore(
        &mut self,
        chunks: u64,
        content_length: Option<u64>,
        held: &RangeSet,
        read: &mut dyn FnMut(Bin) -> Option<Hash>,
    ) -> RangeSet {
        let mut kept = RangeSet::new();
        let known = self.chunks.filter(|_| self.size_certain());
        if chunks == 0 || chunks > self.max_chunks || known.is_some_and(|known| known != chunks) {
            return kept;
        }
        let alg = self.alg;
        let mut read = |node| read(node).filter(|hash| usable(alg, hash));
        let mut candidate = Vec::new();
        for node in peaks(chunks) {
            // The root is known. But as it passes as the peak of a single chunk, let the store confirm it in that case.
            let trivial = node == root_bin(chunks) && (chunks > 1 || known.is_some());
            let Some(hash) = (if trivial { Some(self.root) } else { read(node) }) else { return kept };
            candidate.push(Claim { node, hash });
        }
        if root_from_peaks(self.alg, &candidate).is_none_or(|(root, _)| root != self.root) {
            return kept;
        }
        self.adopt(chunks, &candidate, &mut Vec::new());
        for peak in &candidate {
            let mut walk = Walk { alg, held, kept: &mut kept, proven: &mut self.proven };
            walk.descend(peak.node, &peak.hash, false, &mut read);
        }
        if !kept.is_empty() {
            self.trust = self.trust.max(Trust::Settled);
        }
        if kept.contains(chunks - 1) {
            self.trust = Trust::Certain;
            let size = self.chunk_size as u64;
            let fits = content_length.filter(|length| length.div_ceil(size).max(1) == chunks);
            self.content_length = self.content_length.or(fits);
        }
        kept
    }

    /// Starts over with a tree of which only the root is known.
    fn begin(&mut self, chunks: u64) {
        self.chunks = Some(chunks);
        self.peaks.clear();
        self.proven.clear();
        self.proven.set(root_bin(chunks), &self.root);
        self.root_handed = false;
    }

    /// Takes peaks that lead to the root.
    fn adopt(&mut self, chunks: u64, peaks: &[Claim], proven: &mut Vec<Claim>) {
        // At the same height what is proven stays true: a node's place and hash do not depend on the number of chunks.
        if self.chunks.map(root_bin) != Some(root_bin(chunks)) {
            self.begin(chunks);
        }
        self.chunks = Some(chunks);
        self.peaks.clear();
        self.peaks.extend_from_slice(peaks);
        for peak in peaks {
            // What is but believed is given to no store.
            if self.proven.set(peak.node, &peak.hash) && self.trust > Trust::Believed {
                proven.push(*peak);
            }
        }
    }

    /// Gives the root to the content store, once, where it is a filled node: it enters `self.proven` by another way.
    fn hand_out_root(&mut self, proven: &mut Vec<Claim>) {
        let Some(chunks) = self.chunks.filter(|chunks| chunks.is_power_of_two()) else { return };
        if !mem::replace(&mut self.root_handed, true) {
            proven.push(Claim { node: root_bin(chunks), hash: self.root });
        }
    }

    /// Where the length was given, the peaks become known by and by.
    fn collect_peaks(&mut self) {
        let Some(chunks) = self.chunks else { return };
        // The last is usually the last to become known.
        let last = peak_of(chunks - 1, chunks);
        if last.is_none_or(|last| self.proven.get(last).is_none()) {
            return;
        }
        self.peaks.clear();
        for node in peaks(chunks) {
            let Some(hash) = self.proven.hash(node) else { return self.peaks.clear() };
            self.peaks.push(Claim { node, hash });
        }
    }

    /// May this be content of a single chunk, whose hash is the root (RFC 7574 §8.16)? Bytes that could be the two
    /// children of the root are not believed.
    fn may_be_all(&self, chunk: &Unverified<'_>) -> bool {
        let len = chunk.data.len();
        self.trust == Trust::Believed && chunk.chunk == 0 && len <= self.chunk_size && len != 2 * self.alg.len()
    }

    /// The verdict on a chunk that can be judged by its number and length.
    fn misfit(&self, chunk: &Unverified<'_>) -> Option<Verdict> {
        let len = chunk.data.len();
        if len > self.chunk_size {
            return Some(Verdict::Corrupt);
        }
        let Some(chunks) = self.chunks else { return Some(Verdict::Unproven) };
        if self.trust == Trust::Believed && len == 2 * self.alg.len() {
            return Some(Verdict::Unproven);
        }
        let before = chunks.saturating_sub(1);
        let fits = if chunk.chunk == before {
            match self.content_length {
                Some(length) => length.checked_sub(before * self.chunk_size as u64) == Some(len as u64),
                None => len > 0 || chunks == 1,
            }
        } else {
            // With the number of chunks only bounded, a short chunk may prove to be the last one.
            chunk.chunk < chunks && (len == self.chunk_size || (self.trust == Trust::Settled && len > 0))
        };
        if fits { None } else { Some(self.blame(chunk)) }
    }

    /// The verdict on a chunk that contradicts what is known. While the size is only believed, the sender is to blame only
    /// if it vouches for the same peaks.
    fn blame(&self, chunk: &Unverified<'_>) -> Verdict {
        let claims = || chunk.claims.iter().copied().flatten();
        let vouched = || !self.peaks.is_empty() && self.peaks.iter().all(|peak| claims().any(|claim| claim == peak));
        if self.trust > Trust::Believed || vouched() { Verdict::Corrupt } else { Verdict::Unproven }
    }

    /// Judges a chunk that is not hashed yet; what is plainly wrong never is.
    fn judge_alone(&mut self, chunk: &Unverified<'_>, proven: &mut Vec<Claim>) -> Verdict {
        if !self.may_be_all(chunk)
            && let Some(verdict) = self.misfit(chunk)
        {
            return verdict;
        }
        let mut leaf = self.root;
        hash_chunks(self.alg, &[chunk.data], slice::from_mut(&mut leaf));
        self.judge(chunk, &leaf, proven)
    }

    fn judge(&mut self, chunk: &Unverified<'_>, leaf: &Hash, proven: &mut Vec<Claim>) -> Verdict {
        if self.may_be_all(chunk) && *leaf == self.root {
            self.begin(1);
            self.collect_peaks();
            self.accepted(chunk, proven);
            return Verdict::Accepted;
        }
        if let Some(verdict) = self.misfit(chunk) {
            return verdict;
        }
        let Some(chunks) = self.chunks else { return Verdict::Unproven };
        // While the number of chunks is but a bound, this may be the last one: then empty leaves follow it, and honest
        // peers send no hashes of those.
        let may_end = self.trust == Trust::Settled && chunk.chunk < chunks - 1;
        let short = may_end && chunk.data.len() < self.chunk_size;
        let mut end = if short { chunk.chunk + 1 } else { chunks };
        let mut climb = self.climb(chunk, leaf, end);
        if climb == Climb::Missing && may_end && !short {
            end = chunk.chunk + 1;
            climb =
                Some(self.climb(chunk, leaf, end)).filter(|&climb| climb == Climb::Proven).unwrap_or(Climb::Missing);
        }
        match climb {
            Climb::Missing => Verdict::Unproven,
            Climb::Contradicted => self.blame(chunk),
            Climb::Proven if end != chunks && !self.shrink(end) => Verdict::Unproven,
            Climb::Proven => {
                self.commit(proven);
                self.accepted(chunk, proven);
                Verdict::Accepted
            }
        }
    }

    /// Climbs from a leaf to a proven node, with everything from chunk `end` on taken for empty. Leaves the steps in
    /// `self.path`.
    fn climb(&mut self, chunk: &Unverified<'_>, leaf: &Hash, end: u64) -> Climb {
        self.path.clear();
        let Some(mut node) = Bin::leaf(chunk.chunk) else { return Climb::Missing };
        let mut hash = *leaf;
        loop {
            if let Some(known) = self.proven.get(node) {
                return if known == hash.as_bytes() { Climb::Proven } else { Climb::Contradicted };
            }
            let (Some(parent), Some(beside)) = (node.parent(), node.sibling()) else { return Climb::Missing };
            let (sibling, claimed) = if let Some(known) = self.proven.hash(beside) {
                (known, false)
            } else if beside.first_chunk() >= end {
                (Hash::empty(self.alg), false)
            } else {
                let Some(hash) = claimed(self.alg, chunk, beside) else { return Climb::Missing };
                (*hash, true)
            };
            let pair = if node.is_left() { [hash, sibling] } else { [sibling, hash] };
            self.path.push(Step { node, hash, sibling, claimed });
            hash_pairs(self.alg, &[pair], slice::from_mut(&mut hash));
            node = parent;
        }
    }

    /// Enters the steps of a climb that reached a proven node.
    fn commit(&mut self, proven: &mut Vec<Claim>) {
        let chunks = self.chunks.unwrap_or(0);
        for step in &self.path {
            let sibling = step.node.sibling().filter(|_| step.claimed).map(|node| Claim { node, hash: step.sibling });
            for claim in iter::once(Claim { node: step.node, hash: step.hash }).chain(sibling) {
                if self.proven.set(claim.node, &claim.hash) && is_filled(claim.node, chunks) {
                    proven.push(claim);
                }
            }
        }
    }

    /// Learns from a chunk that is proven.
    fn accepted(&mut self, chunk: &Unverified<'_>, proven: &mut Vec<Claim>) {
        if self.trust == Trust::Believed {
            self.trust = Trust::Settled;
            let top = self.chunks.map(root_bin);
            proven.extend(self.peaks.iter().filter(|peak| Some(peak.node) != top));
        }
        self.hand_out_root(proven);
        if self.content_length.is_none() && Some(chunk.chunk) == self.chunks.and_then(|chunks| chunks.checked_sub(1)) {
            self.content_length = Some(chunk.chunk * self.chunk_size as u64 + chunk.data.len() as u64);
            self.trust = Trust::Certain;
        }
        if self.peaks.is_empty() {
            self.collect_peaks();
        }
    }

    /// Takes `chunks` for the number of chunks, if the peaks that follow from the last climb lead to the root.
    fn shrink(&mut self, chunks: u64) -> bool {
        let mut candidate = Vec::new();
        for node in peaks(chunks) {
            let in_path = self.path.iter().find_map(|step| match step {
                step if step.node == node => Some(step.hash),
                step if step.node.sibling() == Some(node) => Some(step.sibling),
                _ => None,
            });
            let Some(hash) = in_path.or_else(|| self.proven.hash(node)) else { return false };
            candidate.push(Claim { node, hash });
        }
        if root_from_peaks(self.alg, &candidate).is_none_or(|(root, _)| root != self.root) {
            return false;
        }
        self.chunks = Some(chunks);
        self.peaks = candidate;
        true
    }
}

/// How sure the size is; see [`Verifier`].
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Trust {
    /// No more than peaks that lead to the root, if any.
    Believed,
    /// The height of the tree is right, the number of chunks an upper bound.
    Settled,
    Certain,
}

/// A node on the way up, and the sibling used.
#[derive(Clone, Copy, Debug)]
struct Step {
    node: Bin,
    hash: Hash,
    sibling: Hash,
    /// Was the sibling's hash a mere claim?
    claimed: bool,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Climb {
    Proven,
    Contradicted,
    Missing,
}

/// The way down from the peaks over stored hashes.
struct Walk<'a> {
    alg: HashAlg,
    held: &'a RangeSet,
    kept: &'a mut RangeSet,
    proven: &'a mut Proven,
}

impl Walk<'_> {
    /// Goes down from a node whose hash is proven. `true` if all its chunks are held and their leaf hashes proven; then
    /// nothing below it stays in memory. `all`: all its chunks are known to be held.
    fn descend(&mut self, node: Bin, hash: &Hash, all: bool, read: &mut dyn FnMut(Bin) -> Option<Hash>) -> bool {
        let all = all || self.held.covers(node.range());
        if !all && !self.held.intersects(node.range()) {
            return false;
        }
        let Some((left, right)) = node.children() else {
            self.kept.insert(node.range());
            return true;
        };
        let (Some(l), Some(r)) = (read(left), read(right)) else { return false };
        let mut parent = *hash;
        hash_pairs(self.alg, &[[l, r]], slice::from_mut(&mut parent));
        if parent != *hash {
            return false;
        }
        let complete = [self.descend(left, &l, all, read), self.descend(right, &r, all, read)];
        if complete != [true; 2] {
            self.proven.set(left, &l);
            self.proven.set(right, &r);
        }
        complete == [true; 2]
    }
}

/// The claims at the front that could be peaks: next to each other from chunk 0 on, each lower than the one before.
fn peak_run(claims: &[Claim]) -> &[Claim] {
    let mut next = 0;
    let mut below = u32::MAX;
    let len = claims.iter().take_while(|claim| {
        let fits = claim.node.first_chunk() == next && claim.node.height() < below;
        next = claim.node.last_chunk() + 1;
        below = claim.node.height();
        fits
    });
    claims.get(..len.count()).unwrap_or_default()
}

/// What comes with a chunk for a node, where it can be a hash. The first claim counts.
fn claimed<'a>(alg: HashAlg, chunk: &Unverified<'a>, node: Bin) -> Option<&'a Hash> {
    let found = chunk.claims.iter().copied().flatten().find(|claim| claim.node == node);
    found.map(|claim| &claim.hash).filter(|hash| usable(alg, hash))
}

/// Can this be the hash of a node that holds chunks? None of those is empty. Of another length, two hashes could be cut
/// elsewhere.
fn usable(alg: HashAlg, hash: &Hash) -> bool {
    hash.as_bytes().len() == alg.len() && !hash.is_empty()
}

/// Chunks that climb together. More cost more scratch memory than they save time.
const PART: usize = 256;
/// Hashes that one list of claims may cost before it is known whether it begins with peaks: a few times what it costs
/// where the longest run is right.
const PEAK_BUDGET: u32 = 192;

#[cfg(test)]
mod tests;
mod together;
