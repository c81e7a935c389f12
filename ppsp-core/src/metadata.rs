use alloc::{boxed::Box, vec::Vec};
use core::{borrow::Borrow, fmt};

use crate::{Hash, HashAlg};

/// What every peer must know of a swarm before it joins (RFC 7574 §3.1). Comes from a trusted source: a link, a descriptor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SwarmMetadata {
    /// Root hash of static content, public key of a live stream.
    pub id: SwarmId,
    /// Bytes in a chunk, all but the last of the content.
    pub chunk_size: u32,
    /// How ranges of chunks are written on the wire.
    pub addressing: ChunkAddressing,
    /// How content is protected.
    pub integrity: IntegrityMethod,
    /// Function of the hash tree.
    pub hash: HashAlg,
    /// Length of static content in bytes. Where it is not known it is found out (RFC 7574 §5.6); where it is, peers
    /// that claim another are not believed.
    pub content_length: Option<u64>,
}

impl SwarmMetadata {
    /// Chunk size that the RFC recommends (§8.1).
    pub const DEFAULT_CHUNK_SIZE: u32 = 1024;
    /// Smallest chunk size accepted (RFC 7574 §8.1: a minimum of 512 bytes SHOULD be used). It is also what keeps a chunk
    /// from being mistaken for the two child hashes of an inner node, which are at most 128 bytes.
    pub const MIN_CHUNK_SIZE: u32 = 512;
    /// Largest chunk size accepted: a DATA message and its hashes must fit a UDP datagram.
    pub const MAX_CHUNK_SIZE: u32 = 60 * 1024;

    /// Static content with the RFC's defaults (Table 8): 1024-byte chunks, SHA-256 Merkle hash tree, 32-bit chunk ranges.
    pub fn of_root(root: &Hash) -> Self {
        Self {
            id: SwarmId::from_root(root),
            chunk_size: Self::DEFAULT_CHUNK_SIZE,
            addressing: ChunkAddressing::default(),
            integrity: IntegrityMethod::MerkleTree,
            hash: HashAlg::Sha256,
            content_length: None,
        }
    }

    /// A live stream with the RFC's defaults: as [`of_root`](Self::of_root), with a Unified Merkle Tree signed with this key.
    #[cfg(feature = "signature")]
    pub fn of_key(key: &crate::signature::PublicKey) -> Self {
        Self {
            id: key.swarm_id(),
            chunk_size: Self::DEFAULT_CHUNK_SIZE,
            addressing: ChunkAddressing::default(),
            integrity: IntegrityMethod::UnifiedMerkleTree,
            hash: HashAlg::Sha256,
            content_length: None,
        }
    }

    /// Are these values possible together? Every crate may rely on this having been checked once.
    pub fn check(&self) -> Result<(), MetadataError> {
        if self.chunk_size == u32::MAX {
            return Err(MetadataError::VariableChunkSize);
        }
        if !(Self::MIN_CHUNK_SIZE..=Self::MAX_CHUNK_SIZE).contains(&self.chunk_size) {
            return Err(MetadataError::ChunkSize);
        }
        if self.integrity == IntegrityMethod::MerkleTree && self.id.as_bytes().len() != self.hash.len() {
            return Err(MetadataError::IdLength);
        }
        if let Some(length) = self.content_length {
            let chunks = length.div_ceil(u64::from(self.chunk_size)).max(1);
            if chunks > self.addressing.max_chunks(self.chunk_size) {
                return Err(MetadataError::TooLong);
            }
        }
        Ok(())
    }

    /// Number of chunks, where the length is known. Empty content is one chunk of length zero.
    pub fn chunks(&self) -> Option<u64> {
        self.content_length.map(|length| length.div_ceil(u64::from(self.chunk_size.max(1))).max(1))
    }
}

/// Identifier of a swarm (RFC 7574 §7.4): 1 to 1024 bytes.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SwarmId(Box<[u8]>);

impl SwarmId {
    /// Longest identifier accepted: an RSA key of 4096 bits and its exponent fit with room to spare.
    pub const MAX_LEN: usize = 1024;

    /// From its bytes; `None` where there are none, or more than [`MAX_LEN`](Self::MAX_LEN).
    pub fn new(bytes: impl Into<Vec<u8>>) -> Option<Self> {
        let bytes = bytes.into();
        (1..=Self::MAX_LEN).contains(&bytes.len()).then(|| Self(bytes.into_boxed_slice()))
    }

    /// The identifier of static content: its root hash (RFC 7574 §5.1).
    pub fn from_root(root: &Hash) -> Self {
        Self(root.as_bytes().into())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// So that maps can be asked for the bytes.
impl Borrow<[u8]> for SwarmId {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Lower-case hexadecimal digits.
impl fmt::Display for SwarmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for SwarmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Content integrity protection methods (RFC 7574 §7.5, Table 4).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum IntegrityMethod {
    /// None; only for private networks and behind an explicit switch (Erratum 4880 removes it).
    None,
    /// Merkle Hash Tree: static content, the default.
    #[default]
    MerkleTree,
    /// Sign All: live content.
    SignAll,
    /// Unified Merkle Tree: live content.
    UnifiedMerkleTree,
}

impl IntegrityMethod {
    /// The code of RFC 7574 Table 4.
    pub const fn code(self) -> u8 {
        match self {
            Self::None => 0,
            Self::MerkleTree => 1,
            Self::SignAll => 2,
            Self::UnifiedMerkleTree => 3,
        }
    }

    /// From the code of RFC 7574 Table 4; `None` for unassigned codes.
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Self::None),
            1 => Some(Self::MerkleTree),
            2 => Some(Self::SignAll),
            3 => Some(Self::UnifiedMerkleTree),
            _ => None,
        }
    }

    /// Is the swarm ID a public key?
    pub const fn is_live(self) -> bool {
        matches!(self, Self::SignAll | Self::UnifiedMerkleTree)
    }
}

/// Chunk addressing methods (RFC 7574 §7.8, Table 6).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum ChunkAddressing {
    /// 32-bit bins.
    Bin32,
    /// 64-bit byte ranges.
    Byte64,
    /// 32-bit chunk ranges: the default.
    #[default]
    Range32,
    /// 64-bit bins.
    Bin64,
    /// 64-bit chunk ranges.
    Range64,
}

impl ChunkAddressing {
    /// Every method, in the order of its code.
    pub const ALL: [Self; 5] = [Self::Bin32, Self::Byte64, Self::Range32, Self::Bin64, Self::Range64];

    /// The code of RFC 7574 Table 6.
    pub const fn code(self) -> u8 {
        match self {
            Self::Bin32 => 0,
            Self::Byte64 => 1,
            Self::Range32 => 2,
            Self::Bin64 => 3,
            Self::Range64 => 4,
        }
    }

    /// From the code of RFC 7574 Table 6; `None` for unassigned codes.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The name as people type it: `bin32`, `byte64`, `range32`, `bin64`, `range64`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bin32 => "bin32",
            Self::Byte64 => "byte64",
            Self::Range32 => "range32",
            Self::Bin64 => "bin64",
            Self::Range64 => "range64",
        }
    }

    /// Does a specification name a node of the tree, so that a range may take several?
    pub const fn is_bins(self) -> bool {
        matches!(self, Self::Bin32 | Self::Bin64)
    }

    /// The most chunks of content that the method can name.
    pub const fn max_chunks(self, chunk_size: u32) -> u64 {
        match self {
            Self::Bin32 => 1 << 31,
            Self::Range32 => 1 << 32,
            Self::Byte64 => u64::MAX / if chunk_size == 0 { 1 } else { chunk_size as u64 },
            Self::Bin64 | Self::Range64 => 1 << 63,
        }
    }
}

/// Why swarm metadata makes no sense.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MetadataError {
    /// The chunk size is out of bounds.
    #[error("chunk size is not between {} and {} bytes", SwarmMetadata::MIN_CHUNK_SIZE, SwarmMetadata::MAX_CHUNK_SIZE)]
    ChunkSize,
    /// Chunks of variable size are not supported.
    #[error("variable chunk sizes are not supported")]
    VariableChunkSize,
    /// The identifier is not as long as a root hash.
    #[error("swarm ID is not as long as a hash of the hash function")]
    IdLength,
    /// The content is not protected by a Merkle hash tree.
    #[error("content integrity protection method is not the Merkle hash tree")]
    Integrity,
    /// The content is longer than the chunk addressing method can name.
    #[error("content is too long for the chunk addressing method")]
    TooLong,
}
