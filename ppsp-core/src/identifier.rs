use core::{fmt, str::FromStr};

/// A name of 96 bits for a client or a peer. Portal and tracker give them out; nobody chooses one.
///
/// The text form is the base64 encoding (RFC 4648 §4) of the 24 lower-case hexadecimal digits: 32 characters, never padded.
///
/// ```
/// use ppsp_core::Identifier;
///
/// let identifier = Identifier::from_bytes(*b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb");
/// assert_eq!(identifier.to_string(), "MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJi");
/// assert_eq!("MDAxMTIyMzM0NDU1NjY3Nzg4OTlhYWJi".parse(), Ok(identifier));
/// ```
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Identifier([u8; 12]);

impl Identifier {
    /// The length of the text form.
    pub const TEXT_LEN: usize = 32;

    /// From its 96 bits.
    pub const fn from_bytes(bytes: [u8; 12]) -> Self {
        Self(bytes)
    }

    /// Its 96 bits.
    pub const fn as_bytes(&self) -> &[u8; 12] {
        &self.0
    }
}

impl fmt::Display for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digit = |nibble: u8| u32::from(DIGITS[usize::from(nibble)]);
        let digits = self.0.map(|byte| digit(byte >> 4) << 8 | digit(byte & 15));
        // A byte is two digits, sixteen bits; they go out six at a time.
        let (mut bits, mut held) = (0u32, 0);
        for pair in digits {
            (bits, held) = (bits << 16 | pair, held + 16);
            while held >= 6 {
                held -= 6;
                fmt::Write::write_char(f, char::from(BASE64[(bits >> held & 63) as usize]))?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Identifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identifier({self})")
    }
}

/// A text that is not the text form of an [`Identifier`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentifierError {
    /// Not 32 characters.
    #[error("an identifier is 32 characters long")]
    Length,
    /// Not the encoding of lower-case hexadecimal digits.
    #[error("an identifier is 24 lower-case hexadecimal digits in base64")]
    Malformed,
}

impl FromStr for Identifier {
    type Err = IdentifierError;

    /// Each identifier has one text form: every other one is refused.
    fn from_str(text: &str) -> Result<Self, IdentifierError> {
        let place =
            |table: &[u8], of: u8| table.iter().position(|&entry| entry == of).ok_or(IdentifierError::Malformed);
        if text.len() != Self::TEXT_LEN {
            return Err(IdentifierError::Length);
        }
        let mut bytes = [0; 12];
        let mut digits = 0;
        for group in text.as_bytes().chunks_exact(4) {
            let mut bits = 0;
            for &character in group {
                bits = bits << 6 | place(BASE64, character)? as u32;
            }
            for digit in &bits.to_be_bytes()[1..] {
                let byte: &mut u8 = &mut bytes[digits / 2];
                *byte = *byte << 4 | place(DIGITS, *digit)? as u8;
                digits += 1;
            }
        }
        Ok(Self(bytes))
    }
}

const DIGITS: &[u8; 16] = b"0123456789abcdef";
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{format, string::ToString};

    proptest! {
        #[test]
        fn one_text_form(bytes: [u8; 12], at in 0..32usize, to in 0..=127u8) {
            let identifier = Identifier::from_bytes(bytes);
            let text = identifier.to_string();
            prop_assert_eq!(text.len(), Identifier::TEXT_LEN);
            prop_assert_eq!(text.parse(), Ok(identifier));
            let mut other = text.clone().into_bytes();
            other[at] = to;
            let other = core::str::from_utf8(&other).unwrap();
            prop_assert!(other == text || other.parse() != Ok(identifier));
        }
    }

    #[test]
    fn what_is_no_identifier() {
        let parse = |text: &str| text.parse::<Identifier>().unwrap_err();
        let zero = Identifier::from_bytes([0; 12]).to_string();
        assert_eq!(zero, "MDAw".repeat(8));
        assert_eq!(parse(""), IdentifierError::Length);
        assert_eq!(parse(&format!("{zero}=")), IdentifierError::Length);
        assert_eq!(parse(&zero.replacen("MDAw", "MDA=", 1)), IdentifierError::Malformed);
        assert_eq!(parse(&zero.replacen("MDAw", "MDA-", 1)), IdentifierError::Malformed);
        // Upper-case digits, and what is no digit.
        assert_eq!(parse(&zero.replacen("MDAw", "QUJD", 1)), IdentifierError::Malformed);
        assert_eq!(parse(&zero.replacen("MDAw", "Z2dn", 1)), IdentifierError::Malformed);
        assert_eq!(parse(&"ä".repeat(16)), IdentifierError::Malformed);
    }
}
