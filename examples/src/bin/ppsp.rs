//! The `ppsp` command.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use ppsp_examples::{cli::args::Cli, cmd};

fn main() -> ExitCode {
    cmd::run(Cli::parse())
}
