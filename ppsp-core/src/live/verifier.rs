//! Which munros are believed, and which chunks.

use alloc::{boxed::Box, collections::BTreeMap, vec::Vec};
use core::{slice, time::Duration};

use super::{
    LiveError, Munro, NtpTime, Signing,
    munro::{Form, HEAD, first_of, height},
    subtree::{Climb, Step, Subtree},
};
use crate::{
    Bin, ChunkId, ChunkRange, Claim, Hash, RangeSet, SwarmMetadata, Tree, Unverified, Verdict, hash_chunks, is_filled,
    peaks, root_from_peaks, signature::PublicKey, tree::join,
};

/// What a [`LiveVerifier`] believes beside signatures.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LiveConfig {
    /// Chunks under a munro; `None`: as many as under the first munro that is signed.
    pub chunks_per_signature: Option<u32>,
    /// Chunks before the end of the last munro of which munros are kept; `None`: of all, which takes about 200 bytes
    /// for each.
    pub window: Option<u64>,
    /// Oldest munro that is believed to be the last one (RFC 7574 §12.6.5, threat INTEGRITY.2). Those before it may be
    /// as old as they are.
    pub max_age: Duration,
    /// How far the source's clock may be ahead of ours, and how far it may be set back when the source starts again.
    pub max_skew: Duration,
    /// What signatures cover.
    pub signing: Signing,
}

impl Default for LiveConfig {
    /// 65 536 chunks, 30 seconds, 10 seconds, and signatures as in the RFC.
    fn default() -> Self {
        Self {
            chunks_per_signature: None,
            window: Some(1 << 16),
            max_age: Duration::from_secs(30),
            max_skew: Duration::from_secs(10),
            signing: Signing::Rfc,
        }
    }
}

/// Checks the chunks of a live stream against munros, and these against the key that is the swarm ID.
///
/// Each call costs at most one check of a signature for each munro or signed chunk that is given to it, and none where
/// it is known already or in the wrong place or time. Memory is bounded by [`LiveConfig::window`]: only what the source
/// has signed enters, and hashes below a munro are kept only while some of its chunks are missing.
///
/// A proof is applied whole or not at all, as in [`Verifier`](crate::Verifier).
#[derive(Clone, Debug)]
pub struct LiveVerifier {
    form: Form,
    config: LiveConfig,
    key: PublicKey,
    /// Of the munros, once it is known.
    height: Option<u32>,
    /// By their first chunks.
    munros: BTreeMap<ChunkId, Subtree>,
    /// Munros that end before this chunk are not taken any more.
    floor: ChunkId,
    whole: Whole,
    /// Scratch.
    leaves: Vec<Hash>,
    path: Vec<Step>,
}

impl LiveVerifier {
    /// A verifier that knows the key and nothing else.
    ///
    /// # Errors
    ///
    /// [`LiveError`].
    pub fn new(metadata: &SwarmMetadata, config: LiveConfig) -> Result<Self, LiveError> {
        let form = Form::new(metadata, config.signing)?;
        let height = match config.chunks_per_signature {
            None if !form.sign_all => None,
            chunks => Some(height(&form, chunks.unwrap_or(0))?),
        };
        Ok(Self {
            form,
            config,
            key: PublicKey::parse(metadata.id.as_bytes())?,
            height,
            munros: BTreeMap::new(),
            floor: 0,
            whole: Whole { next: 0, stack: Vec::new(), lost: false },
            leaves: Vec::new(),
            path: Vec::new(),
        })
    }

    /// Takes a munro that a peer sent (RFC 7574 §6.1.2.3), and a copy of its signature where it was not known. Appends
    /// hashes that are known by it and were not before to `proven`.
    ///
    /// # Errors
    ///
    /// [`Refusal`]. Nothing has changed then. In Sign All munros are [`Refusal::Misplaced`], see
    /// [`offer_signed`](Self::offer_signed).
    pub fn offer<S: AsRef<[u8]>>(
        &mut self,
        now: NtpTime,
        munro: &Munro<S>,
        proven: &mut Vec<Claim>,
    ) -> Result<Offered, Refusal> {
        if self.form.sign_all {
            return Err(Refusal::Misplaced);
        }
        let body = munro.hash;
        self.accept(now, munro, body.as_bytes(), proven)
    }

    /// Takes a chunk with its signature, in Sign All (RFC 7574 §6.1.1). The chunk is the source's where the answer is
    /// `Ok`.
    ///
    /// # Errors
    ///
    /// [`Refusal`]. Nothing has changed then. In a Unified Merkle Tree chunks are not signed: [`Refusal::Misplaced`].
    pub fn offer_signed(
        &mut self,
        now: NtpTime,
        chunk: ChunkId,
        data: &[u8],
        time: NtpTime,
        signature: &[u8],
        proven: &mut Vec<Claim>,
    ) -> Result<Offered, Refusal> {
        let node = Bin::leaf(chunk).filter(|_| self.form.sign_all).ok_or(Refusal::Misplaced)?;
        if data.is_empty() || data.len() > self.form.chunk_size as usize {
            return Err(Refusal::BadSignature);
        }
        let mut hash = Hash::empty(self.form.alg);
        hash_chunks(self.form.alg, &[data], slice::from_mut(&mut hash));
        let answer = self.accept(now, &Munro { node, time, hash, signature }, data, proven)?;
        self.learn_end(chunk, chunk, data.len());
        Ok(answer)
    }

    /// Takes a munro that we have signed ourselves. `chunks` of its chunks exist, the last of them `last_len` bytes
    /// long.
    pub fn admit(&mut self, munro: &Munro, chunks: u64, last_len: usize, proven: &mut Vec<Claim>) {
        if self.place(munro).is_ok() {
            self.enter(munro.clone(), proven);
            if let Some(entry) = self.munros.get_mut(&munro.node.first_chunk()) {
                entry.filled = chunks.clamp(1, munro.node.range().len());
                entry.last_len = Some(last_len);
            }
        }
    }

    /// Checks a batch of chunks of a Unified Merkle Tree, as [`Verifier::verify`](crate::Verifier::verify) does. All
    /// hashes of a chunk up to its munro come with it, or are known; a hash of zeros stands for what there is not,
    /// behind the end of the stream.
    ///
    /// `proven` gets hashes that were not known before. Above the end of a stream there may be some among them of nodes
    /// that are not filled.
    pub fn verify(&mut self, batch: &[Unverified<'_>], verdicts: &mut Vec<Verdict>, proven: &mut Vec<Claim>) {
        verdicts.clear();
        for part in batch.chunks(PART) {
            let mut data: [&[u8]; PART] = [&[]; PART];
            // What is too long is not worth a hash.
            let size = self.form.chunk_size as usize;
            part.iter()
                .zip(&mut data)
                .filter(|(one, _)| one.data.len() <= size)
                .for_each(|(one, slot)| *slot = one.data);
            let mut leaves = core::mem::take(&mut self.leaves);
            leaves.resize(PART, Hash::empty(self.form.alg));
            hash_chunks(self.form.alg, data.get(..part.len()).unwrap_or_default(), &mut leaves);
            verdicts.extend(part.iter().zip(&leaves).map(|(chunk, leaf)| self.judge(chunk, leaf, proven)));
            self.leaves = leaves;
        }
    }

    /// Drops hashes that no missing chunk needs: `held` are the chunks held, `range` those that came to it since the
    /// last call.
    pub fn forget(&mut self, held: &RangeSet, range: ChunkRange) {
        let Some(height) = self.height else { return };
        for (&first, entry) in self.munros.range_mut(first_of(range.first(), height)..=range.last()) {
            // The hashes of a munro that is not full lead to the peaks in the end.
            let full = entry.filled == 1 << height;
            if full && ChunkRange::with_len(first, entry.filled).is_some_and(|all| held.covers(all)) {
                entry.hashes = Box::default();
            }
        }
    }

    /// Forgets all munros that end before a chunk, but not the last one; none of them is taken again.
    pub fn forget_before(&mut self, chunk: ChunkId) {
        self.floor = self.floor.max(chunk);
        while let Some(entry) = self.munros.first_entry() {
            let node = entry.get().munro.node;
            if self.munros.len() <= 1 || node.last_chunk() >= self.floor {
                return;
            }
            self.whole.lost |= node.first_chunk() >= self.whole.next;
            self.munros.pop_first();
        }
    }

    /// The tree of the finished stream as static content (RFC 7574 §6.1.2, last paragraph). `None` unless all munros
    /// are known from the first chunk on, and the last chunk has been verified. Appends hashes above munros that were
    /// not known before.
    pub fn tree(&self, proven: &mut Vec<Claim>) -> Option<Tree> {
        let last = self.munros.last_key_value().map(|(_, entry)| entry)?;
        let first = last.munro.node.first_chunk();
        if self.whole.lost || self.whole.next != first {
            return None;
        }
        let length = last.last_len?;
        let chunks = first + last.filled;
        let mut stack = self.whole.stack.clone();
        let mut sink = |node: Bin, hash: &Hash| proven.push(Claim { node, hash: *hash });
        if last.filled == last.munro.node.range().len() {
            join(self.form.alg, &mut stack, Claim { node: last.munro.node, hash: last.munro.hash }, &mut sink);
        } else {
            for node in peaks(chunks).filter(|peak| peak.first_chunk() >= first) {
                stack.push(Claim { node, hash: last.hash(node)? });
            }
        }
        let (root, chunks) = root_from_peaks(self.form.alg, &stack)?;
        let content_length = (chunks - 1) * u64::from(self.form.chunk_size) + length as u64;
        Some(Tree { root, chunks, content_length, peaks: stack })
    }

    /// The munro that a chunk lies under, where it is known.
    pub fn munro_of(&self, chunk: ChunkId) -> Option<&Munro> {
        self.entry_of(chunk).map(|entry| &entry.munro)
    }

    /// The last munro: where the stream is (RFC 7574 §6.1.2.4).
    pub fn rightmost(&self) -> Option<&Munro> {
        self.munros.last_key_value().map(|(_, entry)| &entry.munro)
    }

    /// Chunks known to exist, up to this one and not including it: those under munros, without what is known to be
    /// empty.
    pub fn end(&self) -> ChunkId {
        self.munros.last_key_value().map_or(0, |(first, entry)| first + entry.filled)
    }

    /// Is it proven that the stream ends in the last munro: by hashes of what is empty, or by a short chunk? Once its last chunk is
    /// verified, [`end`](Self::end) says where. A source that starts again goes on with the next munro.
    pub fn is_ended(&self) -> bool {
        let last = self.munros.last_key_value().map(|(_, entry)| entry);
        last.is_some_and(|entry| {
            let short = entry.last_len.is_some_and(|len| len < self.form.chunk_size as usize);
            short || entry.filled < entry.munro.node.range().len()
        })
    }

    /// Length of a chunk in bytes, as far as is known: only the last that a source made is shorter than the others.
    pub fn chunk_len(&self, chunk: ChunkId) -> usize {
        let last = |entry: &&Subtree| chunk - entry.munro.node.first_chunk() + 1 == entry.filled;
        let len = self.entry_of(chunk).filter(last).and_then(|entry| entry.last_len);
        len.unwrap_or(self.form.chunk_size as usize)
    }

    /// Is this node known to stand for nothing, behind the end of the stream?
    pub fn is_empty(&self, node: Bin) -> bool {
        let entry = self.entry_of(node.first_chunk());
        entry.is_some_and(|entry| node.first_chunk() >= entry.munro.node.first_chunk() + entry.filled)
    }

    /// Chunks under a munro, once that is known.
    pub fn chunks_per_signature(&self) -> Option<u64> {
        self.height.map(|height| 1 << height)
    }

    /// Length of each signature in bytes.
    pub fn signature_len(&self) -> usize {
        self.key.signature_len()
    }

    /// What signatures cover.
    pub fn signing(&self) -> Signing {
        self.form.signing
    }

    fn entry_of(&self, chunk: ChunkId) -> Option<&Subtree> {
        self.munros.get(&first_of(chunk, self.height?))
    }

    fn accept<S: AsRef<[u8]>>(
        &mut self,
        now: NtpTime,
        munro: &Munro<S>,
        body: &[u8],
        proven: &mut Vec<Claim>,
    ) -> Result<Offered, Refusal> {
        let first = self.place(munro)?;
        let known = self.munros.get(&first);
        match known {
            Some(known) if known.munro.hash == munro.hash => return Ok(Offered::Known),
            // Another signature of theirs is not worth a check.
            Some(known) if known.disputed => return Err(Refusal::TwoSources),
            _ => {}
        }
        let ahead = munro.time.micros_since(now);
        if ahead > micros(self.config.max_skew) {
            return Err(Refusal::TooNew);
        }
        let after = self.munros.range(first + 1..).next().map(|(_, entry)| entry.munro.time);
        // RFC 7574 §6.1.2.4: if the timestamp is too old, the peer MUST discard the message. That is for what moves the
        // end of the stream: what lies before it is as old as it is.
        if known.is_none() && after.is_none() && -ahead > micros(self.config.max_age) {
            return Err(Refusal::TooOld);
        }
        let mut head = [0; HEAD];
        let message = self.form.message(munro.node, munro.time, body, &mut head).ok_or(Refusal::Misplaced)?;
        self.key.verify(&message, munro.signature.as_ref()).map_err(|_| Refusal::BadSignature)?;
        // One source signs one munro for each place, and none with an earlier time than the one before it, but for what
        // its clock may have been set back when it started again. Where the signature covers neither place nor time,
        // anybody could have made it look as if.
        let before = self.munros.range(..first).next_back().map(|(_, entry)| entry.munro.time);
        let slack = micros(self.config.max_skew);
        let disorder = before.is_some_and(|before| before.micros_since(munro.time) > slack)
            || after.is_some_and(|after| munro.time.micros_since(after) > slack);
        if known.is_some() || disorder {
            if let Some(known) = self.munros.get_mut(&first) {
                known.disputed = true;
            }
            return Err(if self.form.signing == Signing::Rfc { Refusal::TwoSources } else { Refusal::Misplaced });
        }
        let Munro { node, time, hash, .. } = *munro;
        self.enter(Munro { node, time, hash, signature: munro.signature.as_ref().into() }, proven);
        Ok(Offered::New)
    }

    /// The first chunk of a munro that may stand where it does.
    fn place<S>(&self, munro: &Munro<S>) -> Result<ChunkId, Refusal> {
        let (node, height) = (munro.node, munro.node.height());
        let wide = match self.height {
            Some(known) => height == known,
            None => (1..=super::MAX_CHUNKS_PER_SIGNATURE.ilog2()).contains(&height),
        };
        let sound = munro.hash.as_bytes().len() == self.form.alg.len() && !munro.hash.is_empty();
        if !wide || !sound || node.last_chunk() >= self.form.max_chunks() {
            return Err(Refusal::Misplaced);
        }
        let oldest = self.munros.last_key_value().zip(self.config.window);
        let oldest = oldest.map_or(0, |((_, last), window)| (last.munro.node.last_chunk() + 1).saturating_sub(window));
        if node.last_chunk() < oldest.max(self.floor) {
            return Err(Refusal::Forgotten);
        }
        Ok(node.first_chunk())
    }

    /// Takes a munro for the source's.
    fn enter(&mut self, munro: Munro, proven: &mut Vec<Claim>) {
        let Munro { node, hash, .. } = munro;
        self.height = Some(node.height());
        self.munros.insert(node.first_chunk(), Subtree::new(munro));
        proven.push(Claim { node, hash });
        if let Some(window) = self.config.window {
            let end = self.munros.last_key_value().map_or(0, |(_, last)| last.munro.node.last_chunk() + 1);
            self.forget_before(end.saturating_sub(window));
        }
        // The last one may turn out not to be full.
        let last = self.munros.last_key_value().map_or(0, |(&first, _)| first);
        while self.whole.next < last
            && let Some(entry) = self.munros.get(&self.whole.next)
        {
            let claim = Claim { node: entry.munro.node, hash: entry.munro.hash };
            let mut sink = |node: Bin, hash: &Hash| proven.push(Claim { node, hash: *hash });
            join(self.form.alg, &mut self.whole.stack, claim, &mut sink);
            self.whole.next = claim.node.last_chunk() + 1;
            self.whole.lost |= entry.filled < claim.node.range().len();
        }
    }

    fn judge(&mut self, chunk: &Unverified<'_>, leaf: &Hash, proven: &mut Vec<Claim>) -> Verdict {
        let Some(height) = self.height else { return Verdict::Unproven };
        let first = first_of(chunk.chunk, height);
        let Some(entry) = self.munros.get_mut(&first) else { return Verdict::Unproven };
        let (len, size) = (chunk.data.len(), self.form.chunk_size as usize);
        // In Sign All chunks are proven by their signatures; what is known may come again.
        if len == 0 || len > size || chunk.chunk - first >= entry.filled {
            return Verdict::Corrupt;
        }
        // Nothing follows a short chunk but what a source signs that starts again, behind this munro.
        let end = if len < size { chunk.chunk + 1 } else { first + entry.filled };
        match entry.climb(self.form.alg, chunk, leaf, end, &mut self.path) {
            Climb::Missing => return Verdict::Unproven,
            Climb::Contradicted => return Verdict::Corrupt,
            Climb::Proven => {}
        }
        for step in &self.path {
            for claim in [Some(step.own), Some(step.beside).filter(|_| step.claimed)].into_iter().flatten() {
                if claim.hash.is_empty() {
                    entry.filled = entry.filled.min(claim.node.first_chunk() - first);
                } else if entry.set(claim) && is_filled(claim.node, end) {
                    proven.push(claim);
                }
            }
        }
        self.learn_end(first, chunk.chunk, len);
        Verdict::Accepted
    }

    /// A chunk was verified: perhaps nothing follows.
    fn learn_end(&mut self, first: ChunkId, chunk: ChunkId, len: usize) {
        let size = self.form.chunk_size as usize;
        let Some(entry) = self.munros.get_mut(&first) else { return };
        if len < size {
            entry.filled = entry.filled.min(chunk - first + 1);
        }
        if chunk - first + 1 == entry.filled {
            entry.last_len = Some(len);
        }
        // A source that ended within a munro and started again leaves a gap that static content cannot have.
        self.whole.lost |= first < self.whole.next && entry.filled < entry.munro.node.range().len();
    }
}

/// What was new about a munro that was offered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Offered {
    /// It was not known before.
    New,
    /// It was.
    Known,
}

/// Why a munro is not taken.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// Its signature is not the source's: the sender is to blame.
    #[error("the signature is not the source's")]
    BadSignature,
    /// It stands where no munro can be, or is none: its width is not the stream's. The sender is to blame.
    #[error("a munro of another width than the stream's, or where none can be")]
    Misplaced,
    /// It would be the last one, and is older than the last one may be: somebody replays the past, or is far behind.
    #[error("the munro is too old to be the end of the stream")]
    TooOld,
    /// It was signed in the future, by our clock.
    #[error("the munro was signed in the future; compare the clocks here and at the source")]
    TooNew,
    /// It lies before all that is kept.
    #[error("the munro lies before the window that is kept")]
    Forgotten,
    /// It is signed with the source's key, and contradicts another one that is: somebody else has the key, or two
    /// sources use it at the same time.
    #[error("two sources sign with the key of this stream: stop one of them, or, if there is only one, take a new key")]
    TwoSources,
}

/// The tree from chunk 0 on, as far as munros are known without a gap, but for the last one.
#[derive(Clone, Debug)]
struct Whole {
    /// The first chunk that does not belong to it.
    next: ChunkId,
    /// Tops of the complete subtrees, left to right.
    stack: Vec<Claim>,
    /// A munro that it needs was forgotten, or is not full.
    lost: bool,
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

/// Chunks hashed together.
const PART: usize = 64;
