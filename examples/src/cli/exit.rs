//! Exit codes, and the sentence that goes with each that is not zero.

use std::{fmt, process::ExitCode};

use crate::store::FileError;

/// The documented exit codes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// A failure that has no code of its own: files, mostly.
    Failure = 1,
    /// The command line, the configuration or the link makes no sense.
    Usage = 2,
    /// No peer, or none that answers; an address that cannot be used.
    Network = 3,
    /// Nobody is signed in, the password is wrong, or it is not allowed.
    Refused = 4,
    /// Content is not what it should be.
    Integrity = 5,
    /// SIGINT or SIGTERM.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command ends early: a sentence that names the thing, and the exit code.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// The sentence.
    pub message: String,
}

impl Failure {
    /// A failure with this exit code.
    pub fn new(exit: Exit, message: impl fmt::Display) -> Self {
        Self { exit, message: message.to_string() }
    }

    /// With exit code 1.
    pub fn other(message: impl fmt::Display) -> Self {
        Self::new(Exit::Failure, message)
    }

    /// With exit code 2.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// With exit code 3.
    pub fn network(message: impl fmt::Display) -> Self {
        Self::new(Exit::Network, message)
    }

    /// With exit code 4.
    pub fn refused(message: impl fmt::Display) -> Self {
        Self::new(Exit::Refused, message)
    }

    /// With exit code 5.
    pub fn integrity(message: impl fmt::Display) -> Self {
        Self::new(Exit::Integrity, message)
    }

    /// With exit code 130.
    pub fn interrupted() -> Self {
        Self::new(Exit::Interrupted, "interrupted")
    }
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Metadata(_) => Self::usage(error),
            _ if error.is_integrity() => Self::integrity(error),
            _ => Self::other(error),
        }
    }
}
