//! Tests that walk through pages in Chromium.

use std::path::{Path, PathBuf};

/// The directory of the walks, where all that they need is there: Node, its packages, Chromium, and what else is `needed`. In
/// CI it has to be.
pub fn ready(needed: &[(bool, &'static str)]) -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    let node = std::process::Command::new("node").arg("--version").output().is_ok();
    let chromium = std::env::var_os("CHROMIUM").is_some() || Path::new("/usr/bin/chromium").exists();
    let packages = dir.join("node_modules/playwright-core").exists();
    let always = [
        (node, "Node (Debian: nodejs)"),
        (packages, "the packages (npm ci in examples/tests/browser)"),
        (chromium, "Chromium (Debian: chromium)"),
    ];
    let missing: Vec<_> = always.iter().chain(needed).filter(|(there, _)| !there).map(|(_, what)| *what).collect();
    if missing.is_empty() {
        return Some(dir);
    }
    assert!(std::env::var_os("CI").is_none(), "missing: {missing:?}");
    eprintln!("skipped: missing are {}", missing.join(", "));
    None
}
