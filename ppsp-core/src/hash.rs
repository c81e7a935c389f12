use core::fmt;

use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

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
        self.bytes.iter().all(|&b| b == 0)
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
/// Takes many at once, so that an implementation may hash them side by side.
pub fn hash_chunks(alg: HashAlg, chunks: &[&[u8]], out: &mut [Hash]) {
    for (chunk, out) in chunks.iter().zip(out) {
        *out = hash_parts(alg, &[chunk]);
    }
}

/// Hashes pairs of children: `out[i]` becomes the parent's hash. Stops at the shorter of the two.
///
/// RFC 7574 §5.1: the parent of two empty hashes is empty as well, not a hash of zeros.
pub fn hash_pairs(alg: HashAlg, pairs: &[[Hash; 2]], out: &mut [Hash]) {
    for ([left, right], out) in pairs.iter().zip(out) {
        *out = if left.is_empty() && right.is_empty() {
            Hash::empty(alg)
        } else {
            hash_parts(alg, &[left.as_bytes(), right.as_bytes()])
        };
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    fn one(alg: HashAlg, data: &[u8]) -> std::string::String {
        let mut out = [Hash::empty(alg)];
        hash_chunks(alg, &[data], &mut out);
        format!("{:?}", out[0])
    }

    // FIPS 180-4 known answers for "abc".
    #[test]
    fn known_answers() {
        assert_eq!(one(HashAlg::Sha1, b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(one(HashAlg::Sha224, b"abc"), "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7");
        assert_eq!(one(HashAlg::Sha256, b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(one(HashAlg::Sha384, b"abc").starts_with("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163"));
        assert!(one(HashAlg::Sha512, b"abc").starts_with("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea2"));
    }

    // RFC 7574 §5.1: the parent of two empty hashes is empty; one empty child is hashed like any other.
    #[test]
    fn parents_of_empty_hashes() {
        let zero = Hash::empty(HashAlg::Sha1);
        let mut leaf = [zero];
        hash_chunks(HashAlg::Sha1, &[b"abc"], &mut leaf);
        let mut out = [zero; 2];
        hash_pairs(HashAlg::Sha1, &[[zero, zero], [leaf[0], zero]], &mut out);
        assert!(out[0].is_empty());
        assert!(!out[1].is_empty());
    }

    #[test]
    fn codes_round_trip() {
        for alg in HashAlg::ALL {
            assert_eq!(HashAlg::from_code(alg.code()), Some(alg));
            assert_eq!(Hash::empty(alg).as_bytes().len(), alg.len());
        }
        assert_eq!(HashAlg::from_code(5), None);
        assert_eq!(Hash::from_bytes(&[0; 65]), None);
    }
}
