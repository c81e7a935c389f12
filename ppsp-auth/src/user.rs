//! Names of users. Owns the rule which names there are; who has one is the Portal's to know.

use alloc::string::String;
use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The name of a user: 1 to 64 of the letters `a` to `z`, digits, and `.` `_` `-` `@`.
///
/// Capital letters are read as small ones, so that `Alice` and `alice` are one person and nobody can look like another
/// by the case of a letter. Other scripts are left out for the same reason: to tell their look-alikes apart is more
/// than a name for signing in is worth.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

impl UserName {
    /// The longest name, in bytes, which are characters here.
    pub const MAX_LEN: usize = 64;

    /// The name in small letters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for UserName {
    type Err = UserNameError;

    fn from_str(text: &str) -> Result<Self, UserNameError> {
        if text.is_empty() {
            return Err(UserNameError::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(UserNameError::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte)) {
            return Err(UserNameError::Character);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl TryFrom<String> for UserName {
    type Error = UserNameError;

    fn try_from(text: String) -> Result<Self, UserNameError> {
        text.parse()
    }
}

impl From<UserName> for String {
    fn from(name: UserName) -> Self {
        name.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no name of a user.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum UserNameError {
    /// Nothing was given.
    #[error("a user name has at least one character")]
    Empty,
    /// More than [`UserName::MAX_LEN`] characters.
    #[error("a user name has at most 64 characters")]
    TooLong,
    /// A character that no name has.
    #[error("a user name has only letters a to z, digits, and . _ - @")]
    Character,
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn names() {
        let name = |text: &str| text.parse::<UserName>().map(String::from);
        assert_eq!(name("Alice"), Ok("alice".to_string()));
        assert_eq!(name("bob.m_1-x@example.org"), Ok("bob.m_1-x@example.org".to_string()));
        assert_eq!(name(&"a".repeat(64)), Ok("a".repeat(64)));
        assert_eq!(name(""), Err(UserNameError::Empty));
        assert_eq!(name(&"a".repeat(65)), Err(UserNameError::TooLong));
        for bad in ["a b", "a,b", "a=b", "a:b", "é", "a\0", "а"] {
            assert_eq!(name(bad), Err(UserNameError::Character), "{bad}");
        }
    }

    #[test]
    fn as_json() {
        assert_eq!(serde_json::from_str::<UserName>("\"Alice\"").unwrap().as_str(), "alice");
        assert!(serde_json::from_str::<UserName>("\"a b\"").is_err());
        assert_eq!(serde_json::to_string(&"x".parse::<UserName>().unwrap()).unwrap(), "\"x\"");
    }
}
