use std::io;

use super::{Pin, TlsError};

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// Not a URL that can be asked.
    #[error("{0}: not a usable URL: {1}")]
    Url(String, &'static str),
    /// `http://` where it is not allowed.
    #[error(
        "{0}: without TLS everybody on the way could read along; use https (http only with --insecure-http, on loopback)"
    )]
    Plain(String),
    /// Nobody listens, the name is unknown, the network is away.
    #[error("cannot reach {0}: {1}")]
    Connect(String, io::Error),
    /// No authority that this system trusts vouches for the server, and no pin was given.
    #[error(
        "{host}: this system does not trust the server's certificate ({reason}); if its fingerprint is {pin}, give --pin"
    )]
    Untrusted {
        /// The server.
        host: String,
        /// What its key is.
        pin: Pin,
        /// What the authorities say.
        reason: String,
    },
    /// Another server than the one that is known.
    #[error("{host}: the server's key is {seen} and not {known}: another server answers there, or it got a new key")]
    WrongPin {
        /// The server.
        host: String,
        /// What it should be.
        known: Pin,
        /// What it is.
        seen: Pin,
    },
    /// The handshake failed otherwise.
    #[error("{0}: no TLS connection: {1}")]
    Tls(String, String),
    /// No answer in time.
    #[error("{0} did not answer in time")]
    Timeout(String),
    /// The connection broke, or what came is not HTTP.
    #[error("{0}: {1}")]
    Broken(String, String),
    /// More than was asked for.
    #[error("{0}: the answer is longer than {1} bytes")]
    TooLong(String, usize),
    /// TLS cannot be used here.
    #[error(transparent)]
    Setup(#[from] TlsError),
}
