use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

/// Sends what a service logs to standard error: as lines for people, or as JSON. `PPSP_LOG` says what is logged, in the form
/// of `RUST_LOG`; without it what operators have to know. At `info` no address, no user and no single request is named.
pub fn start_logging(json: bool, verbose: bool, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (_, true) => "info,ppsp_examples=debug",
        _ => "info",
    };
    let filter = EnvFilter::try_from_env("PPSP_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    // A second service in the same process, in tests, goes on with the first one's.
    _ = if json { log.json().try_init() } else { log.with_ansi(std::io::stderr().is_terminal()).try_init() };
}
