//! Datagrams of RFC 7574 §7 and §8: bytes to messages and back.
//!
//! This module knows how messages are written, and nothing of what they mean: it keeps no state between datagrams.
//! Parsing borrows from the datagram, writing goes into the caller's buffer, and nothing is allocated.
//!
//! A message is not marked with its length. How long chunk specifications, hashes, signatures and chunks are is known
//! from the handshake and the swarm's metadata, so that every call takes a [`Format`]. Where a message is not
//! understood, neither is what follows it, and reading stops.
//!
//! ```
//! use ppsp_core::{ChunkAddressing, ChunkRange};
//! use ppsp_peer_proto::wire::{ChannelId, Format, Message, Reader, Writer, split_channel};
//!
//! let format = Format {
//!     addressing: ChunkAddressing::Bin32,
//!     chunk_size: 1024,
//!     hash_len: 32,
//!     signature_len: None,
//!     content_length: None,
//! };
//! let have = Message::Have { range: ChunkRange::new(0, 1) };
//!
//! let mut buf = [0; 1200];
//! let mut writer = Writer::new(&mut buf, ChannelId(7));
//! writer.put(&have, &format).unwrap();
//! let len = writer.finish();
//! assert_eq!(&buf[..len], [0, 0, 0, 7, 3, 0, 0, 0, 1]); // RFC 7574 §8.2: "0300000001"
//!
//! let (channel, payload) = split_channel(&buf[..len]).unwrap();
//! let mut reader = Reader::new(payload);
//! assert_eq!(channel, ChannelId(7));
//! assert_eq!(reader.next(&format), Some(Ok(have)));
//! assert_eq!(reader.next(&format), None);
//! ```

mod message;
mod options;
mod reader;
mod writer;

use core::fmt;

use ppsp_core::ChunkAddressing;

pub use message::{Message, MessageType};
pub use options::{Handshake, Options, SupportedMessages};
pub use reader::{ParseError, Reader};
pub use writer::{Full, Writer, data_overhead, encoded_len, integrity_len};

/// Number of a channel, chosen by the peer that receives on it (RFC 7574 §3.11, §8.3).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ChannelId(pub u32);

impl ChannelId {
    /// The channel before there is one: the destination of a first handshake, the source of a closing one.
    pub const NONE: Self = Self(0);
}

/// Eight hexadecimal digits, in the order of the wire.
impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// How a swarm writes ranges, hashes, signatures and chunks.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Format {
    /// How ranges of chunks are written.
    pub addressing: ChunkAddressing,
    /// Bytes in a chunk, all but the last of the content.
    pub chunk_size: u32,
    /// Bytes in the hash of an INTEGRITY message; 0 where the swarm has none.
    pub hash_len: usize,
    /// Bytes in a signature, for live swarms (RFC 7574 §8.9: it follows from the algorithm and the swarm ID).
    pub signature_len: Option<usize>,
    /// Length of the content where it is known: byte ranges that we write end there. It has no part in reading.
    pub content_length: Option<u64>,
}

/// The channel that a datagram is for, and its messages. `None` where there are not even the four bytes of a channel;
/// no message at all is a keep-alive (RFC 7574 §8.14).
pub fn split_channel(datagram: &[u8]) -> Option<(ChannelId, &[u8])> {
    let (channel, payload) = datagram.split_first_chunk()?;
    Some((ChannelId(u32::from_be_bytes(*channel)), payload))
}

#[cfg(test)]
mod tests;
