use core::fmt;

use ppsp_core::{ChunkAddressing, SwarmId};

use super::{ChannelId, MessageType, ParseError, reader::Cursor, writer::Sink};

/// A HANDSHAKE message (RFC 7574 §8.4).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Handshake<'a> {
    /// The channel on which its sender wants to receive; [`ChannelId::NONE`] closes.
    pub source: ChannelId,
    /// Protocol options.
    pub options: Options<'a>,
}

/// Protocol options of a handshake (RFC 7574 §7); what is `None` is not in the list.
///
/// Codes are those of the wire: whether a value is known and fits the swarm is for the reader to judge, and a value
/// from the future is worth an answer that says so.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Options<'a> {
    /// Highest protocol version the sender speaks (§7.2).
    pub version: Option<u8>,
    /// Lowest protocol version the sender speaks (§7.3).
    pub min_version: Option<u8>,
    /// Swarm identifier (§7.4), 1 to [`SwarmId::MAX_LEN`] bytes.
    pub swarm_id: Option<&'a [u8]>,
    /// Content integrity protection method (§7.5).
    pub integrity: Option<u8>,
    /// Merkle hash tree function (§7.6).
    pub hash: Option<u8>,
    /// Live signature algorithm (§7.7), a DNSSEC algorithm number.
    pub live_signature: Option<u8>,
    /// Chunk addressing method (§7.8).
    pub addressing: Option<u8>,
    /// Live discard window (§7.9) in chunks, with byte ranges in bytes. [`Options::KEEPS_ALL`] in every width. Written
    /// only together with a known chunk addressing method, which says how wide it is.
    pub discard_window: Option<u64>,
    /// Messages that the sender understands (§7.10); all where it does not say.
    pub supported: Option<SupportedMessages>,
    /// Bytes in a chunk (§7.11).
    pub chunk_size: Option<u32>,
}

impl<'a> Options<'a> {
    /// Live discard window of a peer that discards no chunks (§7.9).
    pub const KEEPS_ALL: u64 = u64::MAX;

    /// Reads options up to and with the end option. `self` holds what was read where an error ends it.
    pub(super) fn read(&mut self, input: &mut Cursor<'a>) -> Result<(), ParseError> {
        loop {
            // RFC 7574 §7.1: a peer MUST conclude the list with the end option.
            let code = input.u8()?;
            let fresh = match code {
                VERSION => set(&mut self.version, input.u8()?),
                MIN_VERSION => set(&mut self.min_version, input.u8()?),
                SWARM_ID => {
                    let len = usize::from(input.u16()?);
                    if !(1..=SwarmId::MAX_LEN).contains(&len) {
                        return Err(ParseError::BadOption(code));
                    }
                    set(&mut self.swarm_id, input.take(len)?)
                }
                INTEGRITY => set(&mut self.integrity, input.u8()?),
                HASH => set(&mut self.hash, input.u8()?),
                LIVE_SIGNATURE => set(&mut self.live_signature, input.u8()?),
                ADDRESSING => set(&mut self.addressing, input.u8()?),
                DISCARD_WINDOW => {
                    // RFC 7574 §7.9: the Chunk Addressing Method MUST appear before it in the list.
                    let method = self.known_addressing().ok_or(ParseError::BadOption(code))?;
                    let window = match method.window_len() {
                        4 => match input.u32()? {
                            u32::MAX => Self::KEEPS_ALL,
                            window => u64::from(window),
                        },
                        _ => input.u64()?,
                    };
                    set(&mut self.discard_window, window)
                }
                SUPPORTED => {
                    let len = usize::from(input.u8()?);
                    let bitmap = input.take(len)?;
                    if len > SupportedMessages::MAX_LEN {
                        return Err(ParseError::BadOption(code));
                    }
                    set(&mut self.supported, SupportedMessages::from_bitmap(bitmap))
                }
                CHUNK_SIZE => set(&mut self.chunk_size, input.u32()?),
                END => return Ok(()),
                // Nothing says how long it is: neither it nor what follows can be skipped.
                unknown => return Err(ParseError::UnknownOption(unknown)),
            };
            if !fresh {
                return Err(ParseError::BadOption(code));
            }
        }
    }

    /// Writes the options and the end option.
    // RFC 7574 §7: the list MUST be sorted on code value (ascending).
    pub(super) fn write(&self, out: &mut impl Sink) -> Option<()> {
        if let Some(version) = self.version {
            out.put(&[VERSION, version])?;
        }
        if let Some(version) = self.min_version {
            out.put(&[MIN_VERSION, version])?;
        }
        if let Some(id) = self.swarm_id {
            if !(1..=SwarmId::MAX_LEN).contains(&id.len()) {
                return None;
            }
            out.put(&[SWARM_ID])?;
            out.put(&u16::try_from(id.len()).ok()?.to_be_bytes())?;
            out.put(id)?;
        }
        if let Some(method) = self.integrity {
            out.put(&[INTEGRITY, method])?;
        }
        if let Some(function) = self.hash {
            out.put(&[HASH, function])?;
        }
        if let Some(algorithm) = self.live_signature {
            out.put(&[LIVE_SIGNATURE, algorithm])?;
        }
        if let Some(method) = self.addressing {
            out.put(&[ADDRESSING, method])?;
        }
        if let Some(window) = self.discard_window {
            out.put(&[DISCARD_WINDOW])?;
            match (self.known_addressing()?.window_len(), window) {
                (4, Self::KEEPS_ALL) => out.put(&u32::MAX.to_be_bytes())?,
                // More than fits but not all: the most that can be said without saying more than is true.
                (4, window) => out.put(&u32::try_from(window).unwrap_or(u32::MAX).min(u32::MAX - 1).to_be_bytes())?,
                (_, window) => out.put(&window.to_be_bytes())?,
            }
        }
        if let Some(supported) = &self.supported {
            let bitmap = supported.bitmap();
            out.put(&[SUPPORTED, u8::try_from(bitmap.len()).ok()?])?;
            out.put(bitmap)?;
        }
        if let Some(size) = self.chunk_size {
            out.put(&[CHUNK_SIZE])?;
            out.put(&size.to_be_bytes())?;
        }
        out.put(&[END])
    }

    fn known_addressing(&self) -> Option<ChunkAddressing> {
        self.addressing.and_then(ChunkAddressing::from_code)
    }
}

/// The set of messages that a peer understands (RFC 7574 §7.10): 256 bits, bit X from the left for message type X.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct SupportedMessages([u8; Self::MAX_LEN]);

impl SupportedMessages {
    /// Longest bitmap in bytes.
    pub const MAX_LEN: usize = 32;

    /// No message.
    pub const EMPTY: Self = Self([0; Self::MAX_LEN]);

    /// The fourteen messages of RFC 7574.
    pub const ALL: Self = {
        let mut bits = [0; Self::MAX_LEN];
        bits[0] = 0xFF;
        bits[1] = 0xFC;
        Self(bits)
    };

    /// From a compressed bitmap: bytes that are not there are zero, bytes beyond the 32nd have no meaning.
    pub fn from_bitmap(bitmap: &[u8]) -> Self {
        let mut bits = [0; Self::MAX_LEN];
        bits.iter_mut().zip(bitmap).for_each(|(bit, &b)| *bit = b);
        Self(bits)
    }

    /// The compressed bitmap: up to the last byte that is not zero.
    pub fn bitmap(&self) -> &[u8] {
        let len = self.0.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
        self.0.get(..len).unwrap_or_default()
    }

    /// Is the message in the set?
    pub fn contains(&self, message: MessageType) -> bool {
        let (byte, bit) = place(message);
        self.0.get(byte).is_some_and(|b| b & bit != 0)
    }

    /// The set and `message`.
    #[must_use]
    pub fn with(mut self, message: MessageType) -> Self {
        let (byte, bit) = place(message);
        if let Some(b) = self.0.get_mut(byte) {
            *b |= bit;
        }
        self
    }

    /// The set less `message`.
    #[must_use]
    pub fn without(mut self, message: MessageType) -> Self {
        let (byte, bit) = place(message);
        if let Some(b) = self.0.get_mut(byte) {
            *b &= !bit;
        }
        self
    }
}

/// The messages of the set that have names.
impl fmt::Debug for SupportedMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(MessageType::ALL.iter().filter(|m| self.contains(**m))).finish()
    }
}

fn place(message: MessageType) -> (usize, u8) {
    (usize::from(message.code() / 8), 0x80 >> (message.code() % 8))
}

/// Fills an empty place; `false` where it was not empty.
fn set<T>(place: &mut Option<T>, value: T) -> bool {
    place.replace(value).is_none()
}

// RFC 7574 Table 2.
const VERSION: u8 = 0;
const MIN_VERSION: u8 = 1;
const SWARM_ID: u8 = 2;
const INTEGRITY: u8 = 3;
const HASH: u8 = 4;
const LIVE_SIGNATURE: u8 = 5;
const ADDRESSING: u8 = 6;
const DISCARD_WINDOW: u8 = 7;
const SUPPORTED: u8 = 8;
const CHUNK_SIZE: u8 = 9;
const END: u8 = 255;

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 7574 §7.10: every message except ACKs and PEXs is 11011001 11110000.
    #[test]
    fn bitmap_of_the_rfc() {
        use MessageType::*;
        let set = [Ack, PexReq, PexResV4, PexResV6, PexResCert]
            .into_iter()
            .fold(SupportedMessages::ALL, SupportedMessages::without);
        assert_eq!(set.bitmap(), [0b1101_1001, 0b1111_0000]);
        assert_eq!(SupportedMessages::from_bitmap(&[0b1101_1001, 0b1111_0000]), set);
        assert!(set.contains(Unchoke) && !set.contains(Ack));
        assert_eq!(set.without(Data).with(Data), set);
    }

    #[test]
    fn bitmaps_are_cut_after_the_last_bit() {
        assert_eq!(SupportedMessages::EMPTY.bitmap(), []);
        assert_eq!(SupportedMessages::ALL.bitmap(), [0xFF, 0xFC]);
        assert_eq!(SupportedMessages::from_bitmap(&[0xFF, 0xFC, 0, 0]), SupportedMessages::ALL);
        let future = SupportedMessages::from_bitmap(&[0, 0, 0, 1]);
        assert_eq!(future.bitmap(), [0, 0, 0, 1], "unknown messages survive");
        assert!(MessageType::ALL.iter().all(|m| SupportedMessages::ALL.contains(*m)));
        assert_eq!(
            MessageType::ALL.into_iter().fold(SupportedMessages::EMPTY, SupportedMessages::with),
            SupportedMessages::ALL
        );
        assert_eq!(SupportedMessages::from_bitmap(&[1; 40]).bitmap().len(), 32);
    }
}
