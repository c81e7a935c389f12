//! SCRAM-SHA-256 (RFC 5802, RFC 7677): a client proves that it knows a password without showing it, and the server
//! proves that it knows the account. In HTTP by the headers of RFC 7804.
//!
//! Owns the messages, the headers, what is computed and in which order; accounts and connections are the caller's.
//!
//! ```text
//! Client::new ── client-first ──▶ Server::hear ─▶ Hello::challenge
//! Client::prove ◀── server-first, sid ──┘
//!      └── client-final, sid ──▶ Server::resume ─▶ Exchange::verify
//! ProofSent::finish ◀── server-final ──┘
//! ```
//!
//! Each arrow consumes what was before it, so that no step can be left out or taken twice.
//!
//! Choices: no channel binding is offered (RFC 7804 §5 has none), so `p=` is refused and `n` and `y` are good; a name
//! to act as (`a=`) may only be the own name; mandatory extensions (`m=`) are refused, others ignored (RFC 5802 §5.1);
//! one round-trip reauthentication (RFC 7804 §5.1) is not offered.

mod client;
mod header;
mod message;
mod server;
#[cfg(test)]
mod tests;
mod verifier;

pub use client::{Client, ProofSent};
pub use header::{AuthenticationInfo, Authorization, Challenge};
pub use server::{Exchange, Hello, LoggedIn, Once, Server, ServerChallenge};
use thiserror::Error;
pub use verifier::Verifier;

use crate::{UserNameError, http_auth::HttpAuthError};

/// Bytes of chance for one nonce. It is sent as 24 characters of base64.
pub type Nonce = [u8; 18];

/// The longest SCRAM message that is read, in bytes.
pub const MAX_MESSAGE_LEN: usize = 1024;

/// Why an exchange ends. None of them says whether an account exists.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ScramError {
    /// Not a message of the grammar (RFC 5802 §7), or not the one that is due.
    #[error("the SCRAM message is malformed")]
    Malformed,
    /// Longer than [`MAX_MESSAGE_LEN`].
    #[error("the SCRAM message is too long")]
    TooLong,
    /// The HTTP header around the message cannot be read.
    #[error(transparent)]
    Header(#[from] HttpAuthError),
    /// The header is of another scheme than SCRAM-SHA-256.
    #[error("the credentials are not for SCRAM-SHA-256")]
    OtherScheme,
    /// The client's name is none of ours.
    #[error(transparent)]
    Name(#[from] UserNameError),
    /// A mandatory extension, which nobody knows.
    #[error("the SCRAM message asks for an extension that is not supported")]
    Extension,
    /// The client wants the proof bound to the TLS channel, or bound it although it said that it does not.
    #[error("channel binding is not supported")]
    ChannelBinding,
    /// The client wants to act as somebody else.
    #[error("to sign in as one user and act as another is not possible")]
    OtherIdentity,
    /// The nonce is not the one of this exchange.
    #[error("the nonce is not the one of this exchange")]
    Nonce,
    /// Fewer iterations would let a false server test passwords cheaply, more would keep a client busy for minutes.
    #[error("an iteration count of {0} is not between 4096 and 10000000")]
    Iterations(u32),
    /// The `sid` was not made here, or was changed.
    #[error("the session identifier of the exchange is not known")]
    Sid,
    /// Too much time passed between the two messages.
    #[error("the exchange has expired")]
    Expired,
    /// Wrong password, or no such user; it does not say which.
    #[error("the user name or the password is wrong")]
    WrongCredentials,
    /// The server sent an error in place of its proof.
    #[error("the server refused the user name or the password")]
    Refused,
    /// The server does not know the account: it only claims to be what it is.
    #[error("the server could not prove that it knows this account")]
    ServerNotProven,
}
