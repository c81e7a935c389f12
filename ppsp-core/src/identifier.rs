//! Identifiers of clients and peers: 96 bits and their text form. How they are derived is not known here.

use core::{fmt, str::FromStr};

/// A client identifier or a peer identifier.
///
/// The text form is the 24 lower-case hexadecimal digits of the 96 bits, encoded in base64 (RFC 4648 §4): always
/// 32 characters, never padded.
///
/// ```
/// use ppsp_core::Identifier;
///
/// let id = Identifier::from_bytes([0; 12]);
/// assert_eq!(id.to_string(), "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw");
/// assert_eq!(id.to_string().parse(), Ok(id));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identifier([u8; 12]);

/// Why a text is no identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentifierError {
    /// The text has another length than 32 bytes.
    #[error("an identifier has 32 characters")]
    Length,
    /// The text is not base64.
    #[error("an identifier is written in base64")]
    Base64,
    /// What the base64 encodes are not lower-case hexadecimal digits.
    #[error("an identifier encodes lower-case hexadecimal digits")]
    Hexadecimal,
}

impl Identifier {
    /// Length of the text form in bytes.
    pub const TEXT_LEN: usize = 32;

    /// The identifier of these 96 bits.
    pub const fn from_bytes(bytes: [u8; 12]) -> Self {
        Self(bytes)
    }

    /// The 96 bits.
    pub const fn as_bytes(&self) -> &[u8; 12] {
        &self.0
    }

    /// The text form, without an allocation; all of it is ASCII.
    pub fn to_text(&self) -> [u8; Self::TEXT_LEN] {
        let mut digits = [0; 24];
        for (pair, byte) in digits.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
        let mut text = [0; Self::TEXT_LEN];
        for (four, three) in text.chunks_exact_mut(4).zip(digits.chunks_exact(3)) {
            let bits = three.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte));
            for (at, character) in four.iter_mut().enumerate() {
                *character = BASE64[(bits >> (18 - 6 * at)) as usize & 63];
            }
        }
        text
    }
}

impl FromStr for Identifier {
    type Err = IdentifierError;

    fn from_str(text: &str) -> Result<Self, IdentifierError> {
        if text.len() != Self::TEXT_LEN {
            return Err(IdentifierError::Length);
        }
        let mut digits = [0; 24];
        for (three, four) in digits.chunks_exact_mut(3).zip(text.as_bytes().chunks_exact(4)) {
            let mut bits = 0_u32;
            for &character in four {
                bits = bits << 6 | sextet(character).ok_or(IdentifierError::Base64)?;
            }
            three.copy_from_slice(&bits.to_be_bytes()[1..]);
        }
        let mut bytes = [0; 12];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = digit(pair[0]).ok_or(IdentifierError::Hexadecimal)?;
            *byte = high << 4 | digit(pair[1]).ok_or(IdentifierError::Hexadecimal)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(core::str::from_utf8(&self.to_text()).unwrap_or_default())
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identifier({self})")
    }
}

fn sextet(character: u8) -> Option<u32> {
    Some(u32::from(match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

const HEX: &[u8; 16] = b"0123456789abcdef";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    /// Known answers, made with coreutils: `printf 0123456789abcdef01234567 | base64`.
    #[test]
    fn known_answers() {
        for (bytes, text) in [
            ([0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF, 1, 0x23, 0x45, 0x67], "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"),
            ([0xFF; 12], "ZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZm"),
        ] {
            let id = Identifier::from_bytes(bytes);
            assert_eq!(id.to_string(), text);
            assert_eq!(text.parse(), Ok(id));
        }
    }

    #[test]
    fn only_the_one_form_is_read() {
        let read = |text: &str| text.parse::<Identifier>();
        assert_eq!(read(""), Err(IdentifierError::Length));
        assert_eq!(read("MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMA=="), Err(IdentifierError::Length));
        assert_eq!(read("MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA="), Err(IdentifierError::Base64));
        assert_eq!(read("MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDé"), Err(IdentifierError::Base64));
        // Upper-case digits.
        assert_eq!(read("RkZGRkZGRkZGRkZGRkZGRkZGRkZGRkZG"), Err(IdentifierError::Hexadecimal));
    }

    proptest! {
        #[test]
        fn round_trip(bytes: [u8; 12]) {
            let id = Identifier::from_bytes(bytes);
            prop_assert_eq!(id.to_string().parse(), Ok(id));
        }

        #[test]
        fn what_is_read_is_written(text in "[A-Za-z0-9+/]{32}|(MD|Zm|Nj){16}") {
            if let Ok(id) = text.parse::<Identifier>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
