use alloc::boxed::Box;
use core::{error::Error, fmt};

use crate::{Bin, ChunkId, ChunkRange, Claim, Hash};

/// Where the chunks and hashes of one swarm are kept.
///
/// The methods are synchronous on purpose: a chunk is copied straight from the store into the outgoing datagram, and no
/// runtime is forced on the embedder. They must not block: what is not at hand is answered [`Read::Pending`], what
/// cannot be held yet [`Write::Queued`] or [`Write::Busy`], and the embedder reports later what came of it.
pub trait ContentStore: Send {
    /// Copies a chunk into the front of `out`, which is at least one chunk long.
    fn read_chunk(&mut self, chunk: ChunkId, out: &mut [u8]) -> Result<Read, StoreError>;

    /// Takes a chunk that has been verified. Every chunk but the last of the content has the full length.
    fn write_chunk(&mut self, chunk: ChunkId, data: &[u8]) -> Result<Write, StoreError>;

    /// Takes neighbouring chunks that have been verified, in order and at least one. Says how many of them, from the
    /// first on, have the answer; for the others it is called again. For stores to which one large write is cheaper
    /// than many small ones; as provided it takes the first chunk and leaves the rest.
    fn write_run(&mut self, first: ChunkId, chunks: &[&[u8]]) -> Result<(usize, Write), StoreError> {
        match chunks.first() {
            Some(data) => self.write_chunk(first, data).map(|answer| (1, answer)),
            None => Ok((0, Write::Done)),
        }
    }

    /// The hash of a filled node: one that [`write_hash`](Self::write_hash) was given, or that the store can compute.
    fn read_hash(&mut self, node: Bin) -> Result<Option<Hash>, StoreError>;

    /// Takes the hash of a filled node, proven to belong to the tree.
    fn write_hash(&mut self, node: Bin, hash: &Hash) -> Result<(), StoreError>;

    /// Takes many hashes, each as [`write_hash`](Self::write_hash) does.
    fn write_hashes(&mut self, claims: &[Claim]) -> Result<(), StoreError> {
        claims.iter().try_for_each(|claim| self.write_hash(claim.node, &claim.hash))
    }

    /// The number of chunks has been proven, and the length of the content in bytes where the last chunk is held too.
    /// May be called more than once with growing knowledge.
    fn set_size(&mut self, chunks: u64, content_length: Option<u64>) -> Result<(), StoreError>;

    /// Chunks before this one are not needed any more, nor the hashes that only they need: the stream has moved on (RFC
    /// 7574 §6.2). As provided it keeps them.
    fn discard_before(&mut self, chunk: ChunkId) -> Result<(), StoreError> {
        _ = chunk;
        Ok(())
    }

    /// The chunks held and verified when the swarm is opened, and what was known of the size then.
    fn held(&mut self, each: &mut dyn FnMut(ChunkRange)) -> Result<StoredSize, StoreError>;
}

/// What a store knows of the size of its content when a swarm is opened over it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StoredSize {
    /// Number of chunks; `None` where nothing was proven yet.
    pub chunks: Option<u64>,
    /// Length in bytes; `None` where the last chunk is not held.
    pub content_length: Option<u64>,
}

/// Answer of a [`ContentStore`] to a read.
#[must_use]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Read {
    /// This many bytes were copied to the front of the buffer.
    Ready(usize),
    /// Not at hand. The store has begun to fetch it; the endpoint will be told when it is.
    Pending,
    /// The store does not hold it.
    Missing,
}

/// Answer of a [`ContentStore`] to a write.
#[must_use]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Write {
    /// Held: it may be served and announced now.
    Done,
    /// Copied into the store's own buffer: it is announced once the endpoint is told that it is held.
    Queued,
    /// No room now: the chunk is dropped and fetched again, and requests slow down until the endpoint is told of room.
    Busy,
}

/// Why a store gave up. The swarm stops, other swarms go on.
#[derive(Debug)]
pub struct StoreError(pub Box<dyn Error + Send + Sync>);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "content store failed: {}", self.0)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}
