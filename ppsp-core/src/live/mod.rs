//! Live content: what a source signs, and how it is known to be the source's (RFC 7574 §6.1). Feature `signature`.
//!
//! Owns the tree that grows, its munros, and which of them are believed. It knows no peer and no clock; the time comes
//! in as an argument, in UTC, as signatures are dated.
//!
//! * **Unified Merkle Tree** (§6.1.2), the default: chunks are the leaves of one tree. Whenever it has grown by a
//!   certain number
//!   of chunks, a power of two, the source signs the node above them, the *munro*. Chunks are proven against
//!   munros as those of static content are against the root.
//! * **Sign All** (§6.1.1): each chunk is signed. Here that is a munro of one chunk, with a signature over the chunk
//!   itself.
//!
//! ```
//! use ppsp_core::live::{LiveConfig, LiveSource, LiveVerifier, NtpTime, Signing};
//! use ppsp_core::signature::{PrivateKey, SignatureAlgorithm, Signer};
//! use ppsp_core::{HashAlg, SwarmMetadata, Unverified, Verdict};
//!
//! let key = PrivateKey::generate(SignatureAlgorithm::Ed25519, &[7; 32])?;
//! let metadata = SwarmMetadata::of_key(key.public_key());
//! let now = NtpTime::from_unix_micros(1_800_000_000_000_000);
//!
//! // The source signs every second chunk's munro.
//! let mut hashes = Vec::new();
//! let mut source = LiveSource::new(&metadata, Signing::Rfc, 2, Box::new(key))?;
//! assert!(source.push(now, &[1; 1024], &mut |node, hash| hashes.push((node, *hash)))?.is_none());
//! let munro = source.push(now, &[2; 1024], &mut |node, hash| hashes.push((node, *hash)))?.expect("two chunks");
//!
//! // A viewer that gets the munro and the hash of chunk 1 believes chunk 0.
//! let mut viewer = LiveVerifier::new(&metadata, LiveConfig::default())?;
//! let (mut proven, mut verdicts) = (Vec::new(), Vec::new());
//! viewer.offer(now, &munro, &mut proven)?;
//! let uncle = hashes.iter().find(|(node, _)| node.first_chunk() == 1 && node.is_leaf()).copied();
//! let uncle = uncle.map(|(node, hash)| ppsp_core::Claim { node, hash }).into_iter().collect::<Vec<_>>();
//! viewer.verify(&[Unverified { chunk: 0, data: &[1; 1024], claims: [&uncle, &[]] }], &mut verdicts, &mut proven);
//! assert_eq!(verdicts, [Verdict::Accepted]);
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # A stream that ends within a munro
//!
//! The last munro is signed over its full width all the same. The leaves behind the last chunk are empty, with hashes
//! of zeros (§5.1), which is just what the tree of finished content has there. Whoever sends a chunk of it sends those
//! hashes too, where they are needed, as zeros; when they lead to a signed munro they *prove* that nothing follows.
//! Only chunks that exist are announced. The last chunk may be short. [`LiveVerifier::is_ended`] tells whether that has
//! been proven. Where a stream ends with a whole munro nothing in the protocol says so.
//!
//! # From live to on demand
//!
//! Who has seen every munro from chunk 0 on has the tree of the finished content: [`LiveVerifier::tree`] and
//! [`LiveSource::finish`] give its root hash, peaks and length, and every hash above the munros has been handed out by
//! then. No chunk is hashed again (§6.1.2, last paragraph).
//!
//! # A source that starts again
//!
//! [`LiveSource::starting_at`] goes on at the munro boundary behind the last one that was signed. It does not know the
//! hashes before it, so it has no root hash in the end; those who recorded the whole do. Two sources that use one key
//! at the same time sign different munros for the same place, or much later times for earlier places:
//! [`Refusal::TwoSources`].

mod munro;
mod ntp;
mod source;
mod subtree;
#[cfg(test)]
mod tests;
mod verifier;

pub use munro::{Munro, Signing};
pub use ntp::NtpTime;
pub use source::{Finished, LiveSource, SourceError};
pub use verifier::{LiveConfig, LiveVerifier, Offered, Refusal};

use core::time::Duration;

use crate::{MetadataError, signature::KeyError};

/// Most chunks under a munro.
pub const MAX_CHUNKS_PER_SIGNATURE: u32 = 4096;
/// Chunks under a munro unless something else is said.
pub const DEFAULT_CHUNKS_PER_SIGNATURE: u32 = 32;

/// How many chunks to put under a munro where the first of them is to wait for its signature no longer than `latency`: the largest
/// power of two of chunks that a stream of so many bytes a second fills in that time. The more they are, the less signatures cost. At
/// least 2, at most [`MAX_CHUNKS_PER_SIGNATURE`] (RFC 7574 §6.1.2.1).
pub const fn chunks_per_signature(bytes_per_second: u64, chunk_size: u32, latency: Duration) -> u32 {
    const MICROS: u128 = 1_000_000;
    let chunk_size = if chunk_size == 0 { 1 } else { chunk_size as u128 };
    let chunks = (bytes_per_second as u128).saturating_mul(latency.as_micros()) / (MICROS * chunk_size);
    match chunks {
        0..=2 => 2,
        chunks if chunks >= MAX_CHUNKS_PER_SIGNATURE as u128 => MAX_CHUNKS_PER_SIGNATURE,
        chunks => 1 << chunks.ilog2(),
    }
}

/// Why there can be no live stream like this.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LiveError {
    /// The metadata makes no sense.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The swarm ID is no public key.
    #[error("the swarm ID is no public key: {0}")]
    Key(#[from] KeyError),
    /// The content integrity protection method is one of static content.
    #[error("the content integrity protection method is not one of live content: Unified Merkle Tree or Sign All")]
    Method,
    /// The key that signs is not the swarm's.
    #[error("the private key does not belong to the swarm ID")]
    OtherKey,
    /// RFC 7574 §6.1.2.1: a power of two, and larger than 1.
    #[error("the number of chunks for each signature is not a power of two from 2 to {}", MAX_CHUNKS_PER_SIGNATURE)]
    ChunksPerSignature,
}
