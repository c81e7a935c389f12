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
pub mod gatekeeper;
pub mod grant;
pub mod identity;
pub mod introspection;
mod json;
pub mod oauth;
pub mod policy;
mod secret;
pub mod token;

pub use secret::Secret;
