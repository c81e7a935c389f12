//! A pull reader of JSON (RFC 8259) that borrows from its text. It knows no message.
//!
//! It is as liberal as the RFC's own examples ask: an object stands for a list of one, integers may be written as strings.

use alloc::{borrow::Cow, string::String, vec::Vec};

use super::MAX_DEPTH;

/// What is wrong with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The body is longer than allowed.
    #[error("the body is too long")]
    TooLong,
    /// The body is no JSON in UTF-8.
    #[error("the body is no JSON in UTF-8")]
    Syntax,
    /// Objects and lists lie too deep within each other.
    #[error("the body is nested too deep")]
    TooDeep,
    /// A member that must be there is missing.
    #[error("the member {0} is missing")]
    Missing(&'static str),
    /// A member stands twice in its object.
    #[error("the member {0} is there twice")]
    Twice(&'static str),
    /// The value of a member has another type or is out of its range.
    #[error("the value of {0} is not acceptable")]
    Value(&'static str),
    /// A list has too many elements.
    #[error("the list {0} is too long")]
    TooMany(&'static str),
    /// The version of the protocol is not supported.
    #[error("version {0} of the protocol is not supported")]
    Version(u64),
}

/// Where reading stands in a text.
pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: u8,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// Reads an object; `member` must read the value of each.
    pub(super) fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, Cow<'a, str>) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        self.enter(b'{')?;
        if !self.take(b'}') {
            loop {
                let name = self.string()?;
                self.expect(b':')?;
                member(self, name)?;
                if self.take(b'}') {
                    break;
                }
                self.expect(b',')?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads a list, or a single element in its place; `max` elements at most.
    pub(super) fn list(
        &mut self,
        name: &'static str,
        max: usize,
        mut element: impl FnMut(&mut Self) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if self.peek() != Some(b'[') {
            return element(self);
        }
        self.enter(b'[')?;
        if !self.take(b']') {
            for _ in 0..max {
                element(self)?;
                if self.take(b']') {
                    self.depth -= 1;
                    return Ok(());
                }
                self.expect(b',')?;
            }
            return Err(Fault::TooMany(name));
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads a text of 1 to `max` bytes; a number stands for its digits.
    pub(super) fn text(&mut self, name: &'static str, max: usize) -> Result<Cow<'a, str>, Fault> {
        let text = match self.peek() {
            Some(b'"') => self.string()?,
            Some(b'0'..=b'9') => Cow::Borrowed(self.skip()?),
            _ => return Err(Fault::Value(name)),
        };
        if text.is_empty() || text.len() > max { Err(Fault::Value(name)) } else { Ok(text) }
    }

    /// Reads an integer that is not negative; a string of digits stands for it.
    pub(super) fn integer(&mut self, name: &'static str) -> Result<u64, Fault> {
        let text = self.text(name, 24)?;
        if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }.ok_or(Fault::Value(name))
    }

    /// Reads any value, and gives its JSON.
    pub(super) fn skip(&mut self) -> Result<&'a str, Fault> {
        let first = self.peek().ok_or(Fault::Syntax)?;
        let start = self.at;
        match first {
            b'{' => self.object(|reader, _| reader.skip().map(|_| ()))?,
            b'[' => self.list("", usize::MAX, |reader| reader.skip().map(|_| ()))?,
            // Its escapes are checked: the value may be written again.
            b'"' => drop(self.string()?),
            _ => {
                let rest = &self.text.as_bytes()[start..];
                let end = |byte: &u8| !matches!(byte, b'+' | b'-' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z');
                self.at += rest.iter().position(end).unwrap_or(rest.len());
                let value = &self.text[start..self.at];
                if !matches!(value, "true" | "false" | "null") && !is_number(value.as_bytes()) {
                    return Err(Fault::Syntax);
                }
            }
        }
        Ok(&self.text[start..self.at])
    }

    /// Nothing but white space may follow.
    pub(super) fn end(&mut self) -> Result<(), Fault> {
        if self.peek().is_none() { Ok(()) } else { Err(Fault::Syntax) }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, Fault> {
        if self.peek() != Some(b'"') {
            return Err(Fault::Syntax);
        }
        let start = self.at + 1;
        let escaped = self.skip_string()?;
        let inner = &self.text[start..self.at - 1];
        if escaped { unescape(inner).map(Cow::Owned) } else { Ok(Cow::Borrowed(inner)) }
    }

    /// Goes behind a string that starts here, and tells whether it has escapes.
    fn skip_string(&mut self) -> Result<bool, Fault> {
        let bytes = self.text.as_bytes();
        let mut escaped = false;
        self.at += 1;
        loop {
            self.at += plain(bytes.get(self.at..).unwrap_or_default());
            match bytes.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => (escaped, self.at) = (true, self.at + 2),
                _ => return Err(Fault::Syntax),
            }
        }
        self.at += 1;
        Ok(escaped)
    }

    /// The next byte behind white space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<(), Fault> {
        if self.take(byte) { Ok(()) } else { Err(Fault::Syntax) }
    }

    fn enter(&mut self, byte: u8) -> Result<(), Fault> {
        self.expect(byte)?;
        self.depth += 1;
        if self.depth > MAX_DEPTH { Err(Fault::TooDeep) } else { Ok(()) }
    }
}

/// Writes a text as a JSON string.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text.as_bytes();
    loop {
        let (run, after) = rest.split_at(plain(rest));
        out.extend_from_slice(run);
        let Some((&byte, after)) = after.split_first() else { break };
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            _ => {
                let hex = |digit: u8| if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
                out.extend(b"\\u00");
                out.extend([hex(byte >> 4), hex(byte & 15)]);
            }
        }
        rest = after;
    }
    out.push(b'"');
}

/// How many bytes at the beginning may stand in a string as they are: up to a quote, a backslash or a control character.
///
/// Eight at a time: most of what is read and written are strings.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    // The lowest high bit that is left is that of the first byte below `limit`; `limit` is at most 128.
    let below = |word: u64, limit: u8| word.wrapping_sub(ONES * u64::from(limit)) & !word & HIGH;
    let (words, rest) = bytes.as_chunks();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let found = quote | below(word ^ (ONES * u64::from(b'\\')), 1) | below(word, 0x20);
        if found != 0 {
            return at * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
    words.len() * 8 + rest.iter().position(special).unwrap_or(rest.len())
}

fn unescape(text: &str) -> Result<String, Fault> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        if character != '\\' {
            out.push(character);
            continue;
        }
        out.push(match rest.next().ok_or(Fault::Syntax)? {
            escaped @ ('"' | '\\' | '/') => escaped,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let unit = code_unit(&mut rest)?;
                let pair = if (0xD800..0xDC00).contains(&unit) {
                    if (rest.next(), rest.next()) != (Some('\\'), Some('u')) {
                        return Err(Fault::Syntax);
                    }
                    [unit, code_unit(&mut rest)?]
                } else {
                    [unit, 0]
                };
                char::decode_utf16(pair).next().and_then(Result::ok).ok_or(Fault::Syntax)?
            }
            _ => return Err(Fault::Syntax),
        });
    }
    Ok(out)
}

fn code_unit(rest: &mut core::str::Chars<'_>) -> Result<u16, Fault> {
    (0..4).try_fold(0, |unit, _| {
        let digit = rest.next().and_then(|character| character.to_digit(16)).ok_or(Fault::Syntax)?;
        Ok(unit << 4 | digit as u16)
    })
}

/// The grammar of RFC 8259 §6.
fn is_number(text: &[u8]) -> bool {
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(text);
    if whole == 0 || whole > 1 && text[0] == b'0' {
        return false;
    }
    let mut rest = &text[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let length = digits(fraction);
        if length == 0 {
            return false;
        }
        rest = &fraction[length..];
    }
    if let Some(exponent) = rest.strip_prefix(b"e").or(rest.strip_prefix(b"E")) {
        let exponent = exponent.strip_prefix(b"+").or(exponent.strip_prefix(b"-")).unwrap_or(exponent);
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn plain_runs(bytes in proptest::collection::vec(prop_oneof![3 => 0x20..0x7Fu8, 1 => any::<u8>()], 0..64)) {
            let special = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
            prop_assert_eq!(plain(&bytes), bytes.iter().position(special).unwrap_or(bytes.len()));
        }

        #[test]
        fn there_and_back(text: String) {
            let mut out = Vec::new();
            write_string(&text, &mut out);
            let mut reader = Reader::new(core::str::from_utf8(&out).unwrap());
            let read = reader.string();
            prop_assert_eq!(read.as_deref(), Ok(&*text));
            prop_assert_eq!(reader.end(), Ok(()));
        }
    }
}
