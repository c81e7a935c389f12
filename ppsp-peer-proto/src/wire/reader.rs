use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};

use ppsp_core::{BadSpec, ChunkRange};

use super::{ChannelId, Format, Handshake, Message, MessageType, Options};

/// Reads the messages of a datagram, one after another.
///
/// After an error there is no more: messages are not marked with their length, so that behind one that is not
/// understood nothing is. What was read before it stands.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    input: Cursor<'a>,
    cut_short: Option<Handshake<'a>>,
}

impl<'a> Reader<'a> {
    /// A reader of a datagram's messages, without the channel ID; see [`split_channel`](super::split_channel).
    pub const fn new(payload: &'a [u8]) -> Self {
        Self { input: Cursor(payload), cut_short: None }
    }

    /// The next message; `None` at the end of the datagram and after an error.
    pub fn next(&mut self, format: &Format) -> Option<Result<Message<'a>, ParseError>> {
        if self.input.0.is_empty() {
            return None;
        }
        let message = self.message(format);
        if message.is_err() {
            self.input = Cursor(&[]);
        }
        Some(message)
    }

    /// The next message if it is a HANDSHAKE, which no [`Format`] is needed for; `Ok(None)` leaves another one for
    /// [`next`](Self::next).
    pub fn handshake(&mut self) -> Result<Option<Handshake<'a>>, ParseError> {
        if self.peek() != Some(MessageType::Handshake.code()) {
            return Ok(None);
        }
        let handshake = self.input.u8().and_then(|_| self.handshake_body());
        if handshake.is_err() {
            self.input = Cursor(&[]);
        }
        handshake.map(Some)
    }

    /// Code of the next message.
    pub fn peek(&self) -> Option<u8> {
        self.input.0.first().copied()
    }

    /// What has not been read.
    pub const fn rest(&self) -> &'a [u8] {
        self.input.0
    }

    /// What was read of a handshake before the option that failed with [`ParseError::UnknownOption`]. There are
    /// implementations that append an option of their own to a list that is otherwise good.
    pub const fn cut_short(&self) -> Option<&Handshake<'a>> {
        self.cut_short.as_ref()
    }

    fn message(&mut self, format: &Format) -> Result<Message<'a>, ParseError> {
        let code = self.input.u8()?;
        let input = &mut self.input;
        Ok(match MessageType::from_code(code).ok_or(ParseError::UnknownMessage(code))? {
            MessageType::Handshake => Message::Handshake(self.handshake_body()?),
            MessageType::Data => {
                let range = input.range(format)?;
                // RFC 7574 §8.6: the chunk specification describes the single chunk.
                if range.len() != 1 {
                    return Err(ParseError::BadSpec);
                }
                let timestamp = input.u64()?;
                // RFC 7574 §8.6: a datagram MAY contain multiple DATA messages when none of them carries the last
                // chunk, if that is smaller than the chunk size.
                let len = input.0.len().min(usize::try_from(format.chunk_size).unwrap_or(usize::MAX));
                Message::Data { range, timestamp, data: input.take(len)? }
            }
            MessageType::Ack => Message::Ack { range: input.range(format)?, delay: input.u64()? },
            MessageType::Have => Message::Have { range: input.spec(format)? },
            MessageType::Integrity => {
                let len = Some(format.hash_len).filter(|&len| len > 0).ok_or(ParseError::Unsized(code))?;
                Message::Integrity { range: input.range(format)?, hash: input.take(len)? }
            }
            MessageType::PexResV4 => {
                let ip = Ipv4Addr::from_bits(input.u32()?);
                Message::PexResV4(SocketAddrV4::new(ip, input.u16()?))
            }
            MessageType::PexReq => Message::PexReq,
            MessageType::SignedIntegrity => {
                let len = format.signature_len.ok_or(ParseError::Unsized(code))?;
                Message::SignedIntegrity {
                    range: input.range(format)?,
                    timestamp: input.u64()?,
                    signature: input.take(len)?,
                }
            }
            MessageType::Request => Message::Request { range: input.range(format)? },
            MessageType::Cancel => Message::Cancel { range: input.range(format)? },
            MessageType::Choke => Message::Choke,
            MessageType::Unchoke => Message::Unchoke,
            MessageType::PexResV6 => {
                let ip = Ipv6Addr::from_bits(u128::from_be_bytes(input.array()?));
                Message::PexResV6(SocketAddrV6::new(ip, input.u16()?, 0, 0))
            }
            MessageType::PexResCert => {
                let len = input.u16()?;
                Message::PexResCert(input.take(len.into())?)
            }
        })
    }

    fn handshake_body(&mut self) -> Result<Handshake<'a>, ParseError> {
        let mut handshake = Handshake { source: ChannelId(self.input.u32()?), options: Options::default() };
        match handshake.options.read(&mut self.input) {
            Ok(()) => Ok(handshake),
            Err(error) => {
                self.cut_short = matches!(error, ParseError::UnknownOption(_)).then_some(handshake);
                Err(error)
            }
        }
    }
}

/// Why a datagram could not be read to its end.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
pub enum ParseError {
    /// It ends within a message, or within a list of options.
    #[error("datagram ends within a message")]
    Truncated,
    /// A message type that is not assigned.
    #[error("message type {0} is unknown")]
    UnknownMessage(u8),
    /// A message that has no length in this swarm: a hash where there is no hash function, a signature in static
    /// content.
    #[error("message type {0} has no place in this swarm")]
    Unsized(u8),
    /// A protocol option that is not assigned.
    #[error("protocol option {0} is unknown")]
    UnknownOption(u8),
    /// A protocol option that makes no sense: twice in the list, a length out of bounds, a discard window before the
    /// chunk addressing method.
    #[error("protocol option {0} is malformed")]
    BadOption(u8),
    /// A chunk specification that names no range, or not one chunk where it must.
    #[error("chunk specification is malformed")]
    BadSpec,
}

impl From<BadSpec> for ParseError {
    fn from(_: BadSpec) -> Self {
        Self::BadSpec
    }
}

/// Bytes not read yet. The only place that takes bytes off the front.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    pub(super) fn take(&mut self, len: usize) -> Result<&'a [u8], ParseError> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(ParseError::Truncated)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ParseError> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(ParseError::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, ParseError> {
        self.array().map(|[b]| b)
    }

    pub(super) fn u16(&mut self) -> Result<u16, ParseError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ParseError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, ParseError> {
        self.array().map(u64::from_be_bytes)
    }

    fn spec(&mut self, format: &Format) -> Result<Option<ChunkRange>, ParseError> {
        let spec = self.take(format.addressing.spec_len())?;
        Ok(format.addressing.read_spec(spec, format.chunk_size)?)
    }

    fn range(&mut self, format: &Format) -> Result<ChunkRange, ParseError> {
        self.spec(format)?.ok_or(ParseError::BadSpec)
    }
}
