//! Digest (RFC 7616): a shared password for a tracker that stands alone, without a Portal.
//!
//! Owns the headers, what is computed, and which requests are replays. SHA-256 is offered and both SHA-256 and
//! SHA-256-sess are understood; quality of protection is `auth` (`auth-int` would have to hash bodies before they are
//! looked at); names are hashed where the other side can (§3.4.4); the extended form `username*` is not read. MD5 is
//! never used, which is also what a challenge without `algorithm` means.

mod accounts;
mod client;
mod header;
mod server;

pub use accounts::{AccountError, Accounts, account_line};
pub use client::DigestClient;
use data_encoding::HEXLOWER;
pub use server::{DigestLimits, DigestServer};
use sha2::{Digest, Sha256};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::{Password, Secret, http_auth::HttpAuthError};

/// Why a request is not let in, or a challenge not answered.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum DigestError {
    /// The header cannot be read, or something that must be there is missing or out of form.
    #[error(transparent)]
    Header(#[from] HttpAuthError),
    /// Another scheme, algorithm or quality of protection than those above.
    #[error("neither SHA-256 nor SHA-256-sess with the protection \"auth\"")]
    Unsupported,
    /// A name that cannot stand in the header or in a line of the password file.
    #[error("a name has 1 to 64 bytes, no colon and no control character")]
    Name,
    /// Credentials for another realm.
    #[error("the credentials are for another realm")]
    Realm,
    /// RFC 7616 §3.4.6: the header is for another request than the one it came with (HTTP status 400).
    #[error("the credentials are for another request target")]
    Target,
    /// Wrong password, or no such user; it does not say which.
    #[error("the user name or the password is wrong")]
    WrongCredentials,
    /// The password is right, but the nonce is too old or forgotten: challenge again with `stale`.
    #[error("the nonce is no longer good")]
    Stale,
    /// RFC 7616 §3.4: the same nonce and count came before.
    #[error("the request was sent before")]
    Replayed,
}

/// RFC 7616 §3.3.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Algorithm {
    Sha256,
    Sha256Sess,
}

impl Algorithm {
    fn read(name: Option<&str>) -> Result<Self, DigestError> {
        let name = name.ok_or(DigestError::Unsupported)?;
        let all = [Self::Sha256, Self::Sha256Sess];
        all.into_iter().find(|it| name.eq_ignore_ascii_case(it.name())).ok_or(DigestError::Unsupported)
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha256Sess => "SHA-256-sess",
        }
    }
}

/// What `response` is made over, as it stands in the header.
#[derive(Clone, Copy)]
struct Signed<'a> {
    algorithm: Algorithm,
    nonce: &'a str,
    nc: &'a str,
    cnonce: &'a str,
    method: &'a str,
    uri: &'a str,
}

impl Signed<'_> {
    /// RFC 7616 §3.4.1, with H(A1) given.
    fn response(&self, ha1: &Secret) -> [u8; 32] {
        let mut ha1 = Zeroizing::new(HEXLOWER.encode(ha1.as_bytes()));
        if self.algorithm == Algorithm::Sha256Sess {
            // §3.4.2: the nonces are those of the first request of a session; a client that goes on uses the same
            // again.
            ha1 = Zeroizing::new(HEXLOWER.encode(&hash(&[&ha1, self.nonce, self.cnonce])));
        }
        let ha2 = HEXLOWER.encode(&hash(&[self.method, self.uri]));
        hash(&[&ha1, self.nonce, self.nc, self.cnonce, "auth", &ha2])
    }
}

/// RFC 7616 §3.4.2: H(A1), which is as good as the password in its realm.
fn ha1(name: &str, realm: &str, password: &Password) -> Secret {
    let mut sha = Sha256::new();
    for part in [name.as_bytes(), b":", realm.as_bytes(), b":", password.as_bytes()] {
        sha.update(part);
    }
    Secret::new(sha.finalize().into())
}

/// RFC 7616 §3.4.4.
fn user_hash(name: &str, realm: &str) -> [u8; 32] {
    hash(&[name, realm])
}

/// The hash of the parts with colons between them.
fn hash(parts: &[&str]) -> [u8; 32] {
    let mut sha = Sha256::new();
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            sha.update(b":");
        }
        sha.update(part);
    }
    sha.finalize().into()
}

fn check_name(name: &str) -> Result<(), DigestError> {
    let good = (1..=64).contains(&name.len()) && !name.contains(|c: char| c == ':' || c.is_control());
    if good { Ok(()) } else { Err(DigestError::Name) }
}

#[cfg(test)]
mod tests;
