//! The hash functions, hashes, and hashing many messages at once.
//!
//! Owns what a leaf and an inner node are, and which backend hashes them. The vector instructions are `kernel`'s.

use core::{array, fmt};

use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

pub use backend::HashBackend;

mod backend;
#[cfg(target_arch = "x86_64")]
mod constants;
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "entering functions compiled for instructions that not every x86-64 processor has")]
mod kernel;
#[cfg(not(target_arch = "x86_64"))]
mod kernel {
    pub(super) fn is_available(backend: super::HashBackend) -> bool {
        backend == super::HashBackend::Portable
    }

    pub(super) fn hash(_: super::HashBackend, _: super::HashAlg, _: super::Batch<'_>, _: &mut [super::Hash]) -> usize {
        0
    }
}
#[cfg(test)]
mod tests;

/// Merkle hash tree functions (RFC 7574 §7.6, Table 5).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum HashAlg {
    /// SHA-1, 20 bytes.
    Sha1,
    /// SHA-224, 28 bytes.
    Sha224,
    /// SHA-256, 32 bytes: the default.
    #[default]
    Sha256,
    /// SHA-384, 48 bytes.
    Sha384,
    /// SHA-512, 64 bytes.
    Sha512,
}

impl HashAlg {
    /// Every function, in the order of its code.
    pub const ALL: [Self; 5] = [Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// Length of a hash in bytes.
    #[allow(clippy::len_without_is_empty, reason = "no hash is empty")]
    pub const fn len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The code of RFC 7574 Table 5.
    pub const fn code(self) -> u8 {
        match self {
            Self::Sha1 => 0,
            Self::Sha224 => 1,
            Self::Sha256 => 2,
            Self::Sha384 => 3,
            Self::Sha512 => 4,
        }
    }

    /// From the code of RFC 7574 Table 5; `None` for unassigned codes.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The name as people type it: `sha1` … `sha512`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha224 => "sha224",
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of a block in bytes.
    const fn block(self) -> usize {
        match self {
            Self::Sha1 | Self::Sha224 | Self::Sha256 => 64,
            Self::Sha384 | Self::Sha512 => 128,
        }
    }
}

/// A hash of up to 64 bytes, inline.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct Hash {
    len: u8,
    bytes: [u8; Self::MAX_LEN],
}

impl Hash {
    /// Length of the longest hash.
    pub const MAX_LEN: usize = 64;

    /// The empty hash: all zeros, for leaves past the end of the content (RFC 7574 §5.1).
    pub const fn empty(alg: HashAlg) -> Self {
        Self { len: alg.len() as u8, bytes: [0; Self::MAX_LEN] }
    }

    /// From its bytes; `None` where there are more than 64.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut hash = Self { len: u8::try_from(bytes.len()).ok()?, bytes: [0; Self::MAX_LEN] };
        hash.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        Some(hash)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Is it all zeros?
    pub fn is_empty(&self) -> bool {
        // Nearly always the first sixteen decide.
        self.bytes.as_chunks().0.iter().all(|piece| u128::from_ne_bytes(*piece) == 0)
    }
}

impl AsRef<[u8]> for Hash {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

/// Hashes chunks: `out[i]` becomes the leaf hash of `chunks[i]`. Stops at the shorter of the two.
///
/// Neighbours of equal length are hashed side by side: the more of them, the less time each takes. From sixteen on
/// nothing more is gained.
pub fn hash_chunks(alg: HashAlg, chunks: &[&[u8]], out: &mut [Hash]) {
    let backend = HashBackend::current();
    let mut rest = out;
    for run in chunks.chunk_by(|a, b| a.len() == b.len()) {
        let (out, later) = rest.split_at_mut(run.len().min(rest.len()));
        hash_equal(backend, alg, run.get(..out.len()).unwrap_or_default(), out);
        rest = later;
    }
}

/// Hashes pairs of children: `out[i]` becomes the parent's hash. Stops at the shorter of the two.
///
/// RFC 7574 §5.1: the parent of two empty hashes is empty as well, not a hash of zeros.
pub fn hash_pairs(alg: HashAlg, pairs: &[[Hash; 2]], out: &mut [Hash]) {
    let backend = HashBackend::current();
    for (pairs, out) in pairs.chunks(SIDE_BY_SIDE).zip(out.chunks_mut(SIDE_BY_SIDE)) {
        let count = pairs.len().min(out.len());
        let (Some(pairs), Some(out)) = (pairs.get(..count), out.get_mut(..count)) else { return };
        let done = match count {
            _ if backend == HashBackend::Portable => 0,
            1 => join::<1>(backend, alg, pairs, out),
            2..=4 => join::<4>(backend, alg, pairs, out),
            _ => join::<SIDE_BY_SIDE>(backend, alg, pairs, out),
        };
        for (index, ([left, right], out)) in pairs.iter().zip(out).enumerate() {
            if left.is_empty() && right.is_empty() {
                *out = Hash::empty(alg);
            } else if index >= done || [left, right].iter().any(|child| usize::from(child.len) != alg.len()) {
                *out = hash_parts(alg, &[left.as_bytes(), right.as_bytes()]);
            }
        }
    }
}

/// Messages of one length, to be hashed side by side.
#[derive(Clone, Copy)]
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "no kernel reads it"))]
struct Batch<'a> {
    /// Their whole blocks; what follows those is passed over.
    bodies: &'a [&'a [u8]],
    /// As many blocks that come after, the same number in each, padding included. `None`: there are no bytes beside the
    /// bodies, and one block of padding.
    ends: Option<&'a [&'a [u8]]>,
}

#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "no kernel calls it"))]
impl Batch<'_> {
    /// Without the first `count` messages.
    fn after(self, count: usize) -> Self {
        Self {
            bodies: self.bodies.get(count..).unwrap_or_default(),
            ends: self.ends.map(|ends| ends.get(count..).unwrap_or_default()),
        }
    }

    /// Length of a body.
    fn body_len(self) -> usize {
        self.bodies.first().map_or(0, |body| body.len())
    }
}

/// No backend takes more messages at once.
const SIDE_BY_SIDE: usize = 16;

/// Room for the end of a message and its padding, two blocks of the longer kind.
const END: usize = 256;

/// Hashes messages of one length, as many as there are places.
fn hash_equal(backend: HashBackend, alg: HashAlg, messages: &[&[u8]], out: &mut [Hash]) {
    let len = messages.first().map_or(0, |message| message.len());
    let done = if backend == HashBackend::Portable {
        0
    } else if len.is_multiple_of(alg.block()) {
        kernel::hash(backend, alg, Batch { bodies: messages, ends: None }, out)
    } else if messages.len() > 1 {
        let groups = messages.chunks(SIDE_BY_SIDE).zip(out.chunks_mut(SIDE_BY_SIDE));
        groups.map(|(messages, out)| pad(backend, alg, len, messages, out)).sum()
    } else {
        // Not worth the padding.
        0
    };
    for (message, out) in messages.iter().zip(out).skip(done) {
        *out = hash_parts(alg, &[message]);
    }
}

/// Hashes up to sixteen messages of `len` bytes that do not end with a block, and tells how many it has hashed.
fn pad(backend: HashBackend, alg: HashAlg, len: usize, messages: &[&[u8]], out: &mut [Hash]) -> usize {
    let block = alg.block();
    let rest = len % block;
    // A one bit and the length, an eighth of a block, follow the rest (FIPS 180-4 §5.1).
    let end = if rest + 1 + block / 8 <= block { block } else { 2 * block };
    let mut ends = [[0; END]; SIDE_BY_SIDE];
    for (room, message) in ends.iter_mut().zip(messages) {
        let bytes = message.iter().skip(len - rest).chain(&[0x80]);
        room.iter_mut().zip(bytes).for_each(|(room, byte)| *room = *byte);
        let bits = (len as u64 * 8).to_be_bytes();
        room.iter_mut().take(end).rev().zip(bits.iter().rev()).for_each(|(room, byte)| *room = *byte);
    }
    let ends = array::from_fn::<_, SIDE_BY_SIDE, _>(|i| ends[i].get(..end).unwrap_or_default());
    kernel::hash(backend, alg, Batch { bodies: messages, ends: ends.get(..messages.len()) }, out)
}

/// Hashes up to `N` pairs of hashes of the right length, whether empty or not, and tells how many it has hashed.
#[inline(never)]
fn join<const N: usize>(backend: HashBackend, alg: HashAlg, pairs: &[[Hash; 2]], out: &mut [Hash]) -> usize {
    let (len, block) = (alg.len(), alg.block());
    // Copies of a fixed length, longer than the hashes, which are followed by zeros.
    let mut joined = [[0; 2 * Hash::MAX_LEN]; N];
    for (joined, [left, right]) in joined.iter_mut().zip(pairs) {
        joined[..Hash::MAX_LEN].copy_from_slice(&left.bytes);
        joined[len..len + Hash::MAX_LEN].copy_from_slice(&right.bytes);
    }
    if 2 * len == block {
        let bodies = joined.each_ref().map(|joined| &joined[..2 * len]);
        return kernel::hash(backend, alg, Batch { bodies: &bodies[..pairs.len()], ends: None }, out);
    }
    let end = if alg == HashAlg::Sha1 { 64 } else { 128 };
    for joined in &mut joined {
        joined[2 * len] = 0x80;
        joined[end - 2..end].copy_from_slice(&(16 * len as u16).to_be_bytes());
    }
    let ends = joined.each_ref().map(|joined| &joined[..end]);
    kernel::hash(backend, alg, Batch { bodies: &[&[][..]; N][..pairs.len()], ends: Some(&ends[..pairs.len()]) }, out)
}

/// The hash of the concatenation of `parts`.
fn hash_parts(alg: HashAlg, parts: &[&[u8]]) -> Hash {
    fn run<D: Digest>(parts: &[&[u8]]) -> Hash {
        let mut digest = D::new();
        for part in parts {
            digest.update(part);
        }
        let digest = digest.finalize();
        let mut hash = Hash { len: digest.len() as u8, bytes: [0; Hash::MAX_LEN] };
        hash.bytes[..digest.len()].copy_from_slice(&digest);
        hash
    }
    match alg {
        HashAlg::Sha1 => run::<Sha1>(parts),
        HashAlg::Sha224 => run::<Sha224>(parts),
        HashAlg::Sha256 => run::<Sha256>(parts),
        HashAlg::Sha384 => run::<Sha384>(parts),
        HashAlg::Sha512 => run::<Sha512>(parts),
    }
}
