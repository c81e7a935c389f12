//! Drivers around the sans-IO crates of this workspace: files, UDP sockets, and the parts of the `ppsp` command.
#![forbid(unsafe_code)]

pub mod account;
pub mod cli;
pub mod cmd;
pub mod dash;
pub mod gateway;
pub mod http;
pub mod layers;
pub mod live;
pub mod net;
pub mod peer;
pub mod portal;
pub mod store;
pub mod tracker;
pub mod trackers;

/// Bodies of the fuzz targets.
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing {
    /// The state file's parser.
    pub fn state_file(bytes: &[u8]) {
        crate::store::fuzz_state(bytes);
    }
}
