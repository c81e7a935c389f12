use ppsp_core::{ChunkAddressing, ChunkId, ChunkRange};

use super::{ChannelId, Format, Message, MessageType};

/// Writes a datagram into the caller's buffer, whole messages only.
#[derive(Debug)]
pub struct Writer<'b> {
    out: Buffer<'b>,
}

impl<'b> Writer<'b> {
    /// Starts a datagram to `channel` at the front of `buf`. Where not even the channel ID fits, nothing does, and the
    /// datagram stays empty.
    pub fn new(buf: &'b mut [u8], channel: ChannelId) -> Self {
        let mut out = Buffer { buf, len: 0 };
        if out.put(&channel.0.to_be_bytes()).is_none() {
            out = Buffer { buf: &mut [], len: 0 };
        }
        Self { out }
    }

    /// Appends a message, or leaves the datagram as it was where it does not fit or its range cannot be named.
    pub fn put(&mut self, message: &Message<'_>, format: &Format) -> Result<(), Full> {
        self.whole(|out| write(message, format, out))
    }

    /// Appends a DATA message up to its chunk, which is to be copied to the front of [`spare`](Self::spare) and counted
    /// with [`advance`](Self::advance). Check first that [`remaining`](Self::remaining) has room for both.
    pub fn data_header(&mut self, chunk: ChunkId, timestamp: u64, format: &Format) -> Result<(), Full> {
        self.whole(|out| write_data_header(ChunkRange::single(chunk), timestamp, format, out))
    }

    /// The part of the buffer that is not written yet.
    pub fn spare(&mut self) -> &mut [u8] {
        self.out.buf.get_mut(self.out.len..).unwrap_or_default()
    }

    /// Counts `len` bytes at the front of [`spare`](Self::spare) as written; not more than there are.
    pub fn advance(&mut self, len: usize) {
        self.out.len += len.min(self.remaining());
    }

    /// Takes back all but the first `len` bytes; the channel ID stays.
    pub fn truncate(&mut self, len: usize) {
        self.out.len = self.out.len.min(len.max(CHANNEL_LEN));
    }

    /// Bytes written, the channel ID included.
    #[allow(clippy::len_without_is_empty, reason = "the channel ID is always there")]
    pub const fn len(&self) -> usize {
        self.out.len
    }

    /// Bytes that still fit.
    pub const fn remaining(&self) -> usize {
        self.out.buf.len() - self.out.len
    }

    /// Has any message been written? A datagram without is a keep-alive (RFC 7574 §8.14).
    pub const fn has_messages(&self) -> bool {
        self.out.len > CHANNEL_LEN
    }

    /// Length of the datagram.
    pub const fn finish(self) -> usize {
        self.out.len
    }

    fn whole(&mut self, write: impl FnOnce(&mut Buffer<'b>) -> Option<()>) -> Result<(), Full> {
        let before = self.out.len;
        write(&mut self.out).ok_or_else(|| {
            self.out.len = before;
            Full
        })
    }
}

/// A message does not fit the datagram, or cannot be written at all in the swarm's format.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("message does not fit the datagram")]
pub struct Full;

/// Length of a message on the wire; `None` where it cannot be written in this format.
pub fn encoded_len(message: &Message<'_>, format: &Format) -> Option<usize> {
    let mut len = Count(0);
    write(message, format, &mut len)?;
    Some(len.0)
}

/// Bytes of a DATA message besides its chunk.
pub const fn data_overhead(format: &Format) -> usize {
    1 + format.addressing.spec_len() + 8
}

/// Bytes of an INTEGRITY message.
pub const fn integrity_len(format: &Format) -> usize {
    1 + format.addressing.spec_len() + format.hash_len
}

/// Where messages are written to: a buffer, or a count. There is one definition of what a message looks like.
pub(super) trait Sink {
    /// Appends all of `bytes`, or `None`.
    fn put(&mut self, bytes: &[u8]) -> Option<()>;
}

#[derive(Debug)]
struct Buffer<'b> {
    buf: &'b mut [u8],
    /// Never more than the buffer is long.
    len: usize,
}

impl Sink for Buffer<'_> {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len.checked_add(bytes.len())?;
        self.buf.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }
}

struct Count(usize);

impl Sink for Count {
    fn put(&mut self, bytes: &[u8]) -> Option<()> {
        self.0 = self.0.checked_add(bytes.len())?;
        Some(())
    }
}

fn write(message: &Message<'_>, format: &Format, out: &mut impl Sink) -> Option<()> {
    let code = message.message_type().code();
    match *message {
        Message::Handshake(handshake) => {
            out.put(&[code])?;
            out.put(&handshake.source.0.to_be_bytes())?;
            handshake.options.write(out)
        }
        Message::Data { range, timestamp, data } => {
            // What is longer than a chunk would be read as a chunk and something else.
            if range.len() != 1 || u64::try_from(data.len()).ok()? > u64::from(format.chunk_size) {
                return None;
            }
            write_data_header(range, timestamp, format, out)?;
            out.put(data)
        }
        Message::Ack { range, delay } => {
            write_spec(code, range, format, out)?;
            out.put(&delay.to_be_bytes())
        }
        Message::Have { range: Some(range) } | Message::Request { range } | Message::Cancel { range } => {
            write_spec(code, range, format, out)
        }
        Message::Have { range: None } => {
            out.put(&[code])?;
            match format.addressing {
                ChunkAddressing::Bin32 => out.put(&[0xFF; 4]),
                ChunkAddressing::Bin64 => out.put(&[0xFF; 8]),
                _ => None,
            }
        }
        Message::Integrity { range, hash } => {
            if hash.is_empty() || hash.len() != format.hash_len {
                return None;
            }
            write_spec(code, range, format, out)?;
            out.put(hash)
        }
        Message::SignedIntegrity { range, timestamp, signature } => {
            if Some(signature.len()) != format.signature_len {
                return None;
            }
            write_spec(code, range, format, out)?;
            out.put(&timestamp.to_be_bytes())?;
            out.put(signature)
        }
        Message::PexReq | Message::Choke | Message::Unchoke => out.put(&[code]),
        Message::PexResV4(address) => {
            out.put(&[code])?;
            out.put(&address.ip().octets())?;
            out.put(&address.port().to_be_bytes())
        }
        Message::PexResV6(address) => {
            out.put(&[code])?;
            out.put(&address.ip().octets())?;
            out.put(&address.port().to_be_bytes())
        }
        Message::PexResCert(certificate) => {
            out.put(&[code])?;
            out.put(&u16::try_from(certificate.len()).ok()?.to_be_bytes())?;
            out.put(certificate)
        }
    }
}

fn write_data_header(range: ChunkRange, timestamp: u64, format: &Format, out: &mut impl Sink) -> Option<()> {
    write_spec(MessageType::Data.code(), range, format, out)?;
    out.put(&timestamp.to_be_bytes())
}

/// Message type and chunk specification: what most messages start with.
fn write_spec(code: u8, range: ChunkRange, format: &Format, out: &mut impl Sink) -> Option<()> {
    let mut spec = [0; 1 + ChunkAddressing::MAX_SPEC_LEN];
    let (head, tail) = spec.split_first_mut()?;
    *head = code;
    let len = format.addressing.write_spec(range, format.chunk_size, format.content_length, tail)?;
    out.put(spec.get(..=len)?)
}

const CHANNEL_LEN: usize = 4;
