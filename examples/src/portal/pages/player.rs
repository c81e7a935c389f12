//! dash.js, which plays adaptive content in the page, as `build.rs` found it.

include!(concat!(env!("OUT_DIR"), "/player.rs"));
