//! Passwords as people type them. Owns which texts are passwords and the one form in which they are hashed; how they
//! are hashed is SCRAM's and Digest's.

use alloc::string::{String, ToString};
use core::fmt;

use precis_profiles::{
    OpaqueString,
    precis_core::{
        self,
        profile::{Profile, Rules},
    },
};
use thiserror::Error;
use zeroize::Zeroizing;

/// A password in its normal form, by the profile OpaqueString (RFC 8265 §4.2): letters composed (NFC), every space a
/// plain one, nothing else changed. Zeroed when dropped; `Debug` does not show it.
///
/// The profile knows the characters of Unicode 6.3; younger ones, such as most new emoji, are refused, because systems
/// do not agree on their normal form.
///
/// ```
/// use ppsp_auth::{Password, PasswordError};
///
/// assert!(Password::new("correct horse").is_ok());
/// assert_eq!(Password::new("two\nlines").err(), Some(PasswordError::Control));
/// // Who chooses a new one is held to a length.
/// assert_eq!(Password::choose("pencil").err(), Some(PasswordError::TooShort));
/// ```
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// The longest password, in bytes of UTF-8 as given.
    pub const MAX_LEN: usize = 1024;
    /// The least number of characters of a new password. What was chosen before this rule still opens its account.
    pub const MIN_NEW_CHARS: usize = 8;

    /// A password to sign in with.
    pub fn new(text: &str) -> Result<Self, PasswordError> {
        if text.is_empty() {
            return Err(PasswordError::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(PasswordError::TooLong);
        }
        if text.chars().any(char::is_control) {
            return Err(PasswordError::Control);
        }
        if text.is_ascii() {
            return Ok(Self(Zeroizing::new(text.to_string())));
        }
        // Step by step rather than by `enforce`, so that what lies between the steps is zeroed too.
        let profile = OpaqueString::new();
        profile.prepare(text)?;
        let spaced = Zeroizing::new(profile.additional_mapping_rule(text)?.into_owned());
        let composed = Zeroizing::new(profile.normalization_rule(spaced.as_str())?.into_owned());
        // RFC 8264 §7: what is allowed is said of what comes out. U+0387, which anybody may write, becomes U+00B7, which has its place only
        // between two letters l; whoever types that would be refused.
        profile.prepare(composed.as_str())?;
        Ok(Self(composed))
    }

    /// A new password for an account: as [`new`](Self::new), and of at least [`MIN_NEW_CHARS`](Self::MIN_NEW_CHARS)
    /// characters.
    pub fn choose(text: &str) -> Result<Self, PasswordError> {
        let password = Self::new(text)?;
        if password.0.chars().count() < Self::MIN_NEW_CHARS {
            return Err(PasswordError::TooShort);
        }
        Ok(password)
    }

    /// What is hashed.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// Why a text is no password.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum PasswordError {
    /// Nothing was given.
    #[error("the password is empty")]
    Empty,
    /// More than [`Password::MAX_LEN`] bytes.
    #[error("the password is longer than 1024 bytes")]
    TooLong,
    /// A new password of fewer than [`Password::MIN_NEW_CHARS`] characters.
    #[error("a new password has at least 8 characters")]
    TooShort,
    /// A line break, a tab or another control character.
    #[error("the password has a control character, such as a tab or a line break")]
    Control,
    /// A character that OpaqueString does not allow: not assigned, or invisible and without meaning where it stands.
    #[error("the password has a character that not every keyboard and system writes the same way")]
    Character,
}

impl From<precis_core::Error> for PasswordError {
    fn from(_: precis_core::Error) -> Self {
        // The library's error names the character and its place, which is too much to say of a password.
        Self::Character
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form(text: &str) -> Result<String, PasswordError> {
        Password::new(text).map(|password| password.0.to_string())
    }

    #[test]
    fn normal_forms() {
        // RFC 8265 §4.3, examples 2 to 4 and 7: case and spaces stay, an ogham space becomes plain, all symbols are
        // good.
        assert_eq!(form("Correct Horse Battery Staple").unwrap(), "Correct Horse Battery Staple");
        assert_eq!(form("πßå").unwrap(), "πßå");
        assert_eq!(form("Jack of \u{2666}s").unwrap(), "Jack of ♦s");
        assert_eq!(form("foo\u{1680}bar").unwrap(), "foo bar");
        // Composed and not composed are the same password.
        assert_eq!(form("A\u{30A}ngstro\u{308}m"), form("\u{C5}ngstr\u{F6}m"));
        // RFC 7804 §2.2: NFC, not NFKC.
        assert_eq!(form("½ ´").unwrap(), "½ ´");
    }

    #[test]
    fn refusals() {
        assert_eq!(form(""), Err(PasswordError::Empty));
        assert_eq!(form(&"a".repeat(1025)), Err(PasswordError::TooLong));
        assert!(form(&"a".repeat(1024)).is_ok());
        for control in ["a\tb", "a\n", "\0", "a\u{7F}b", "a\u{85}b"] {
            assert_eq!(form(control), Err(PasswordError::Control));
        }
        assert_eq!(form("a\u{378}"), Err(PasswordError::Character));
        assert_eq!((form("l\u{387}l").unwrap(), form("a\u{387}")), ("l\u{B7}l".into(), Err(PasswordError::Character)));
        assert_eq!(Password::choose("seven77").err(), Some(PasswordError::TooShort));
        assert!(Password::choose("ŝępťêmb€").is_ok());
    }

    #[test]
    fn is_not_shown() {
        assert_eq!(std::format!("{:?}", Password::new("pencil").unwrap()), "Password(…)");
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own(text in "\\PC{0,40}") {
            if let Ok(once) = form(&text) {
                prop_assert_eq!(form(&once), Ok(once));
            }
        }
    }
}
