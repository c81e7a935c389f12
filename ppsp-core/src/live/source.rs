//! Where a live stream begins (RFC 7574 §6.1: the injector).

use alloc::{boxed::Box, vec::Vec};

use super::{
    LiveError, Munro, NtpTime, Signing,
    munro::{Form, HEAD, first_of, height},
};
use crate::{
    Bin, ChunkId, Claim, Hash, SwarmMetadata, Tree, TreeBuilder, hash_chunks,
    signature::{PublicKey, SignError, Signer},
    tree::padded,
};

/// Makes a live stream of chunks: their tree, and its munros, signed.
///
/// Memory does not grow with the stream but for one hash per level of its tree.
#[derive(Debug)]
pub struct LiveSource {
    form: Form,
    height: u32,
    signer: Box<dyn Signer>,
    builder: TreeBuilder,
    /// The chunk where this source began.
    began: ChunkId,
    /// The chunk that comes next.
    next: ChunkId,
    /// Complete, and not signed yet because the signer failed.
    unsigned: Option<Claim>,
    /// No time that was signed is before the one signed before it, whatever the clock does.
    time: Option<NtpTime>,
    last_len: usize,
    ended: bool,
}

impl LiveSource {
    /// A source of a stream that begins. In Sign All `chunks_per_signature` does not matter.
    ///
    /// # Errors
    ///
    /// [`LiveError`], also where the signer's key is not the swarm's.
    pub fn new(
        metadata: &SwarmMetadata,
        signing: Signing,
        chunks_per_signature: u32,
        signer: Box<dyn Signer>,
    ) -> Result<Self, LiveError> {
        let form = Form::new(metadata, signing)?;
        if PublicKey::parse(metadata.id.as_bytes())?.as_bytes() != signer.public_key().as_bytes() {
            return Err(LiveError::OtherKey);
        }
        Ok(Self {
            form,
            height: height(&form, chunks_per_signature)?,
            signer,
            builder: TreeBuilder::new(form.alg, form.chunk_size),
            began: 0,
            next: 0,
            unsigned: None,
            time: None,
            last_len: 0,
            ended: false,
        })
    }

    /// Goes on with a stream of which `chunks` chunks have been signed, from the next munro boundary on.
    #[must_use]
    pub fn starting_at(mut self, chunks: u64) -> Self {
        let first = chunks.checked_next_multiple_of(1 << self.height).unwrap_or(u64::MAX);
        self.builder = TreeBuilder::starting_at(self.form.alg, self.form.chunk_size, first);
        (self.began, self.next) = (first, first);
        self
    }

    /// Takes the next chunk, of the full size unless it is the last. `sink` is given the hash of each filled node that
    /// is known by now. Returns the munro, if one is complete and signed by it: its chunks may be announced then, and
    /// not before (RFC 7574 §6.1.2.3).
    ///
    /// # Errors
    ///
    /// [`SourceError`]. The chunk was not taken then, but for [`SourceError::Sign`]: there it was, and its munro is
    /// signed with the next call.
    pub fn push(
        &mut self,
        now: NtpTime,
        chunk: &[u8],
        sink: &mut dyn FnMut(Bin, &Hash),
    ) -> Result<Option<Munro>, SourceError> {
        self.check(chunk)?;
        // Two munros are never complete at once, unless each chunk is one.
        let late = match self.unsigned.is_some() && self.height == 0 {
            true => return Err(SourceError::Unsigned),
            false => self.sign(now, &[])?,
        };
        self.builder.push(chunk, sink);
        let mut leaf = [Hash::empty(self.form.alg)];
        let this = self.next;
        self.next += 1;
        self.last_len = chunk.len();
        self.ended = chunk.len() < self.form.chunk_size as usize;
        if self.form.sign_all {
            hash_chunks(self.form.alg, &[chunk], &mut leaf);
            self.unsigned = Bin::leaf(this).map(|node| Claim { node, hash: leaf[0] });
            return self.sign(now, chunk);
        }
        if self.next != first_of(self.next, self.height) || self.ended {
            return Ok(late);
        }
        let munro = Bin::at(self.height, this);
        let mut hash = None;
        self.builder.settle(&mut |node, of| {
            if Some(node) == munro {
                hash = Some(*of);
            }
            sink(node, of);
        });
        self.unsigned = munro.zip(hash).map(|(node, hash)| Claim { node, hash });
        self.sign(now, &[]).map(|munro| munro.or(late))
    }

    /// Ends the stream: signs the munro that is not full, if there is one, and says what the tree of the whole is.
    ///
    /// # Errors
    ///
    /// [`SourceError::Sign`], and in Sign All [`SourceError::Unsigned`]. What was not signed is not part of the stream.
    pub fn finish(mut self, now: NtpTime, sink: &mut dyn FnMut(Bin, &Hash)) -> Result<Finished, SourceError> {
        if self.form.sign_all && self.unsigned.is_some() {
            return Err(SourceError::Unsigned);
        }
        let mut munro = self.sign(now, &[])?;
        if self.next == self.began {
            return Ok(Finished { munro, tree: None });
        }
        let node = Bin::at(self.height, self.next - 1);
        // A short chunk may have filled its munro; with any other the munro was signed at once.
        let mut filled = None;
        let builder = core::mem::replace(&mut self.builder, TreeBuilder::new(self.form.alg, 1));
        let tree = builder.finish(&mut |at, hash| {
            if Some(at) == node {
                filled = Some(*hash);
            }
            sink(at, hash);
        });
        if !self.form.sign_all && (self.ended || self.next != first_of(self.next, self.height)) {
            let first = first_of(self.next - 1, self.height);
            let open: Vec<Claim> = tree.peaks.iter().filter(|peak| peak.node.first_chunk() >= first).copied().collect();
            let hash = filled.or_else(|| padded(self.form.alg, &open, node?));
            self.unsigned = node.zip(hash).map(|(node, hash)| Claim { node, hash });
            munro = self.sign(now, &[])?.or(munro);
        }
        Ok(Finished { munro, tree: (self.began == 0).then_some(tree) })
    }

    /// Would a chunk be taken as the next one, if its signer does not fail?
    ///
    /// # Errors
    ///
    /// [`SourceError`], as [`push`](Self::push).
    pub fn check(&self, chunk: &[u8]) -> Result<(), SourceError> {
        if self.ended {
            return Err(SourceError::Ended);
        }
        if chunk.is_empty() || chunk.len() > self.form.chunk_size as usize {
            return Err(SourceError::ChunkLength);
        }
        if self.next >= self.form.max_chunks() {
            return Err(SourceError::Full);
        }
        Ok(())
    }

    /// Length of the last chunk taken, in bytes.
    pub fn last_len(&self) -> usize {
        self.last_len
    }

    /// The chunk that comes next; as many chunks there are so far.
    pub fn next_chunk(&self) -> ChunkId {
        self.next
    }

    /// Chunks under a munro.
    pub fn chunks_per_signature(&self) -> u64 {
        1 << self.height
    }

    /// Signs what is complete and not signed, if anything.
    fn sign(&mut self, now: NtpTime, chunk: &[u8]) -> Result<Option<Munro>, SourceError> {
        let Some(Claim { node, hash }) = self.unsigned else { return Ok(None) };
        let time = self.time.map_or(now, |before| before.max(now));
        let mut head = [0; HEAD];
        let body = if self.form.sign_all { chunk } else { hash.as_bytes() };
        let message = self.form.message(node, time, body, &mut head).ok_or(SourceError::Full)?;
        let signature = self.signer.sign(&message)?.into_boxed_slice();
        self.unsigned = None;
        self.time = Some(time);
        Ok(Some(Munro { node, time, hash, signature }))
    }
}

/// What is left to do when a stream has ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finished {
    /// The last munro, where it was not signed before.
    pub munro: Option<Munro>,
    /// The tree of the whole as static content; `None` where the source did not make all of it, or there is nothing.
    pub tree: Option<Tree>,
}

/// Why a source did not take a chunk, or has no signature.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The chunk is empty, or longer than a chunk.
    #[error("a chunk of a live stream has at least one byte and at most the chunk size")]
    ChunkLength,
    /// A short chunk came: it was the last one.
    #[error("the stream has ended: only its last chunk can be shorter than the chunk size")]
    Ended,
    /// The chunk addressing method can name no more chunks.
    #[error("the chunk addressing method can name no more chunks; start another swarm, with 64-bit chunk ranges")]
    Full,
    /// In Sign All: the chunk before was not signed, and can be no more, for it is not kept.
    #[error("the signer failed before; start the source again behind the last chunk that was signed")]
    Unsigned,
    /// The signer failed.
    #[error(transparent)]
    Sign(#[from] SignError),
}
