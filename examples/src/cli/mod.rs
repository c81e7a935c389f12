//! What a person types and reads: arguments, configuration file, units, output, exit codes.

pub mod args;
pub mod config;
pub mod exit;
pub mod output;
pub mod secret;
pub mod units;
