//! What is signed.

use alloc::boxed::Box;

use super::{LiveError, NtpTime};
use crate::{Bin, ChunkAddressing, ChunkId, Hash, HashAlg, IntegrityMethod, SwarmMetadata};

/// A node of the tree that the source has signed (RFC 7574 §6.1.2.1); in Sign All the leaf of a chunk. Its signature may
/// be borrowed, as from a datagram.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Munro<S = Box<[u8]>> {
    /// The node.
    pub node: Bin,
    /// When it was signed, by the source's clock.
    pub time: NtpTime,
    /// Its hash.
    pub hash: Hash,
    /// The signature; of what, says [`Signing`].
    pub signature: S,
}

/// What a munro's signature covers.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Signing {
    /// Chunk specification, timestamp and hash, as they are on the wire (RFC 7574 §6.1.2.2).
    #[default]
    Rfc,
    /// As libswift has it: the hash alone, and timestamps are microseconds of Unix time. So neither place nor time of a
    /// munro are protected: who has any munro can pass it off as another. Only for benign networks.
    Libswift,
}

impl Signing {
    /// The moment that the timestamp of a SIGNED_INTEGRITY message means.
    pub const fn read_time(self, wire: u64) -> NtpTime {
        match self {
            Self::Rfc => NtpTime::from_bits(wire),
            Self::Libswift => NtpTime::from_unix_micros(wire),
        }
    }

    /// The timestamp of a SIGNED_INTEGRITY message.
    pub const fn write_time(self, time: NtpTime) -> u64 {
        match self {
            Self::Rfc => time.to_bits(),
            Self::Libswift => time.to_unix_micros(),
        }
    }
}

/// What is the same for all munros of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) alg: HashAlg,
    pub(super) chunk_size: u32,
    addressing: ChunkAddressing,
    /// Is each chunk signed?
    pub(super) sign_all: bool,
    pub(super) signing: Signing,
}

impl Form {
    pub(super) fn new(metadata: &SwarmMetadata, signing: Signing) -> Result<Self, LiveError> {
        metadata.check()?;
        if !metadata.integrity.is_live() {
            return Err(LiveError::Method);
        }
        Ok(Self {
            alg: metadata.hash,
            chunk_size: metadata.chunk_size,
            addressing: metadata.addressing,
            sign_all: metadata.integrity == IntegrityMethod::SignAll,
            signing,
        })
    }

    /// Chunks that can be named.
    pub(super) fn max_chunks(&self) -> u64 {
        // The length in bytes has to fit, too.
        self.addressing.max_chunks(self.chunk_size).min(u64::MAX / u64::from(self.chunk_size)).min(1 << 63)
    }

    /// The message that is signed, in pieces: `body` is the hash, or the chunk in Sign All. `None` where the node
    /// cannot be named.
    pub(super) fn message<'a>(
        &self,
        node: Bin,
        time: NtpTime,
        body: &'a [u8],
        head: &'a mut [u8; HEAD],
    ) -> Option<[&'a [u8]; 2]> {
        if self.signing == Signing::Libswift {
            return Some([&[], body]);
        }
        // RFC 7574 §6.1.2.2: the on-the-wire representation of the chunk specification, the timestamp, the hash. A
        // munro has its full width, wherever the content ends.
        let len = self.addressing.write_spec(node.range(), self.chunk_size, None, head)?;
        head.get_mut(len..len + 8)?.copy_from_slice(&self.signing.write_time(time).to_be_bytes());
        Some([head.get(..len + 8)?, body])
    }
}

/// Bytes of the longest chunk specification and a timestamp.
pub(super) const HEAD: usize = ChunkAddressing::MAX_SPEC_LEN + 8;

/// The height of munros over so many chunks.
pub(super) fn height(form: &Form, chunks_per_signature: u32) -> Result<u32, LiveError> {
    // RFC 7574 §6.1.2.1: MUST be a fixed power of 2, MUST be larger than 1.
    let fits =
        chunks_per_signature.is_power_of_two() && (2..=super::MAX_CHUNKS_PER_SIGNATURE).contains(&chunks_per_signature);
    match form.sign_all {
        true => Ok(0),
        false if fits => Ok(chunks_per_signature.ilog2()),
        false => Err(LiveError::ChunksPerSignature),
    }
}

/// The first chunk of the munro that a chunk lies under.
pub(super) const fn first_of(chunk: ChunkId, height: u32) -> ChunkId {
    chunk >> height << height
}
