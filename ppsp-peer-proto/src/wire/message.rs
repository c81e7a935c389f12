use core::net::{SocketAddrV4, SocketAddrV6};

use ppsp_core::ChunkRange;

use super::Handshake;

/// A message of RFC 7574 §8, borrowed from its datagram.
///
/// Ranges are ranges of chunks, whatever the swarm's chunk addressing method.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Message<'a> {
    /// Opens, answers or closes a channel (§8.4).
    Handshake(Handshake<'a>),
    /// A chunk of content (§8.6).
    Data {
        /// The chunk; the range holds exactly one.
        range: ChunkRange,
        /// The sender's clock in microseconds.
        timestamp: u64,
        /// The chunk's bytes.
        data: &'a [u8],
    },
    /// Chunks have arrived and have been verified (§8.7).
    Ack {
        /// The biggest interval of held chunks around the one that arrived.
        range: ChunkRange,
        /// One-way delay in microseconds: the receiver's clock minus the DATA's timestamp, modulo 2^64.
        delay: u64,
    },
    /// Chunks are held and have been verified (§8.5).
    Have {
        /// The chunks. `None` is the bin that stands for an empty interval, the only way to say "nothing": legal and
        /// without effect. In all other messages it is an error.
        range: Option<ChunkRange>,
    },
    /// A hash of the tree (§8.8).
    Integrity {
        /// The chunks below the node.
        range: ChunkRange,
        /// Its hash.
        hash: &'a [u8],
    },
    /// Address of a peer (§8.13).
    PexResV4(SocketAddrV4),
    /// Asks for addresses of peers (§8.13).
    PexReq,
    /// A signature over a munro or a chunk of a live swarm (§8.9).
    SignedIntegrity {
        /// The chunks below the signed node.
        range: ChunkRange,
        /// When it was signed, an NTP timestamp.
        timestamp: u64,
        /// The signature.
        signature: &'a [u8],
    },
    /// Asks for chunks (§8.10).
    Request {
        /// The chunks wanted.
        range: ChunkRange,
    },
    /// Takes back requests (§8.11).
    Cancel {
        /// The chunks no longer wanted.
        range: ChunkRange,
    },
    /// Requests are not served for now (§8.12).
    Choke,
    /// Requests are served again (§8.12).
    Unchoke,
    /// Address of a peer (§8.13). Scope and flow label are not on the wire and read as 0.
    PexResV6(SocketAddrV6),
    /// Membership certificate of a peer, X.509v3 in DER (§8.13).
    PexResCert(&'a [u8]),
}

impl Message<'_> {
    /// The type that the message starts with.
    pub const fn message_type(&self) -> MessageType {
        match self {
            Self::Handshake(_) => MessageType::Handshake,
            Self::Data { .. } => MessageType::Data,
            Self::Ack { .. } => MessageType::Ack,
            Self::Have { .. } => MessageType::Have,
            Self::Integrity { .. } => MessageType::Integrity,
            Self::PexResV4(_) => MessageType::PexResV4,
            Self::PexReq => MessageType::PexReq,
            Self::SignedIntegrity { .. } => MessageType::SignedIntegrity,
            Self::Request { .. } => MessageType::Request,
            Self::Cancel { .. } => MessageType::Cancel,
            Self::Choke => MessageType::Choke,
            Self::Unchoke => MessageType::Unchoke,
            Self::PexResV6(_) => MessageType::PexResV6,
            Self::PexResCert(_) => MessageType::PexResCert,
        }
    }
}

/// Message types (RFC 7574 §8.2, Table 7).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum MessageType {
    /// HANDSHAKE
    Handshake,
    /// DATA
    Data,
    /// ACK
    Ack,
    /// HAVE
    Have,
    /// INTEGRITY
    Integrity,
    /// PEX_RESv4
    PexResV4,
    /// PEX_REQ
    PexReq,
    /// SIGNED_INTEGRITY
    SignedIntegrity,
    /// REQUEST
    Request,
    /// CANCEL
    Cancel,
    /// CHOKE
    Choke,
    /// UNCHOKE
    Unchoke,
    /// PEX_RESv6
    PexResV6,
    /// PEX_REScert
    PexResCert,
}

impl MessageType {
    /// Every type, in the order of its code.
    pub const ALL: [Self; 14] = [
        Self::Handshake,
        Self::Data,
        Self::Ack,
        Self::Have,
        Self::Integrity,
        Self::PexResV4,
        Self::PexReq,
        Self::SignedIntegrity,
        Self::Request,
        Self::Cancel,
        Self::Choke,
        Self::Unchoke,
        Self::PexResV6,
        Self::PexResCert,
    ];

    /// The code of RFC 7574 Table 7.
    pub const fn code(self) -> u8 {
        match self {
            Self::Handshake => 0,
            Self::Data => 1,
            Self::Ack => 2,
            Self::Have => 3,
            Self::Integrity => 4,
            Self::PexResV4 => 5,
            Self::PexReq => 6,
            Self::SignedIntegrity => 7,
            Self::Request => 8,
            Self::Cancel => 9,
            Self::Choke => 10,
            Self::Unchoke => 11,
            Self::PexResV6 => 12,
            Self::PexResCert => 13,
        }
    }

    /// From the code of RFC 7574 Table 7; `None` for unassigned and reserved codes.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_round_trip() {
        for code in 0..=255 {
            assert_eq!(MessageType::from_code(code).map(MessageType::code), (code < 14).then_some(code));
        }
    }
}
