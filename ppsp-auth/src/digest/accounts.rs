//! Who may come in, as lines of text: `name:realm:H(A1)`, like those of the program `htdigest` but with SHA-256.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
};
use core::fmt;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use thiserror::Error;
use zeroize::Zeroizing;

use super::{DigestError, check_name, ha1, user_hash};
use crate::{Password, Secret};

/// The accounts of one realm.
///
/// ```
/// use ppsp_auth::{Password, digest::{Accounts, account_line}};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let line = account_line("alice", "tracker", &Password::choose("correct horse")?)?;
/// let accounts = Accounts::parse("tracker", &format!("# who may come in\n{}\n", *line))?;
/// assert_eq!(accounts.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Accounts {
    realm: String,
    /// By the hash of the name, which is made for each request: so that a plain and a hashed name, known or not, cost
    /// the same.
    by_hash: BTreeMap<[u8; 32], (String, Secret)>,
}

impl Accounts {
    /// Reads lines. Empty lines and those that start with `#` are comments.
    pub fn parse(realm: &str, text: &str) -> Result<Self, AccountError> {
        let mut by_hash = BTreeMap::new();
        for (number, line) in
            (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty() && !line.starts_with('#'))
        {
            let parse = || {
                let (name, rest) = line.split_once(':')?;
                let (in_realm, hex) = rest.rsplit_once(':')?;
                check_name(name).ok()?;
                let bytes = Zeroizing::new(HEXLOWER_PERMISSIVE.decode(hex.trim_end().as_bytes()).ok()?);
                Some((name, in_realm, Secret::new(bytes.as_slice().try_into().ok()?)))
            };
            let (name, in_realm, ha1) = parse().ok_or(AccountError::Malformed { line: number })?;
            if in_realm != realm {
                return Err(AccountError::Realm { line: number });
            }
            if by_hash.insert(user_hash(name, realm), (name.to_string(), ha1)).is_some() {
                return Err(AccountError::Repeated { line: number });
            }
        }
        Ok(Self { realm: realm.to_string(), by_hash })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_hash.len()
    }

    /// Is there none?
    pub fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    pub(super) fn realm(&self) -> &str {
        &self.realm
    }

    pub(super) fn find(&self, hash: &[u8; 32]) -> Option<(&str, &Secret)> {
        self.by_hash.get(hash).map(|(name, ha1)| (&**name, ha1))
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accounts").field("realm", &self.realm).field("len", &self.len()).finish()
    }
}

/// The line of an account, without a line end. It is as good as the password in its realm: keep the file from others'
/// eyes.
///
/// # Errors
///
/// [`DigestError::Name`], [`DigestError::Realm`] where one has a character that would break the line.
pub fn account_line(name: &str, realm: &str, password: &Password) -> Result<Zeroizing<String>, DigestError> {
    check_name(name)?;
    if realm.contains(char::is_control) {
        return Err(DigestError::Realm);
    }
    let hex = Zeroizing::new(HEXLOWER.encode(ha1(name, realm, password).as_bytes()));
    Ok(Zeroizing::new(format!("{name}:{realm}:{}", *hex)))
}

/// Why lines are no accounts. Lines are counted from one.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum AccountError {
    /// Not a name, a realm and 64 hexadecimal digits.
    #[error("line {line} is not of the form name:realm:hash with 64 hexadecimal digits")]
    Malformed {
        /// Where.
        line: usize,
    },
    /// The account is of another realm, and could never be used.
    #[error("line {line} is for another realm")]
    Realm {
        /// Where.
        line: usize,
    },
    /// The name stands there before.
    #[error("line {line} repeats a name")]
    Repeated {
        /// Where.
        line: usize,
    },
}
