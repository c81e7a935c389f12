//! The room of the PPSP tracker protocol (RFC 7846): messages, the tracker's machine, the peer's tracker client.
//!
//! Nothing is built here yet; the crate only keeps its place in the workspace.
#![no_std]
#![forbid(unsafe_code)]
