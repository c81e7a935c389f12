//! Who may do what in the PPSP system: SCRAM, Digest, Bearer and access tokens, client and peer identifiers.
//!
//! The crate decides and computes; it opens no socket, reads no clock and draws no chance.
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

extern crate alloc;
#[cfg(test)]
#[macro_use]
extern crate std;

pub mod assertion;
pub mod bearer;
pub mod digest;
#[doc(hidden)]
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod gatekeeper;
pub mod grant;
pub mod http_auth;
pub mod identity;
pub mod introspection;
mod json;
pub mod oauth;
mod password;
pub mod policy;
pub mod scram;
mod secret;
pub mod throttle;
pub mod token;
mod user;

pub use password::{Password, PasswordError};
pub use secret::Secret;
pub use user::{UserName, UserNameError};
