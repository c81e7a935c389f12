//! The room of the Portal's authentication: SCRAM, client and peer identifiers, access tokens, introspection.
//!
//! Nothing is built here yet; the crate only keeps its place in the workspace.
#![no_std]
#![forbid(unsafe_code)]
