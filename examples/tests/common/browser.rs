//! Tests that walk through pages in Chromium.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// What is needed beyond that to watch.
pub const TO_WATCH: [Needed; 2] = [
    (
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("player/node_modules/dashjs").exists(),
        "dash.js (npm ci in examples/player)",
    ),
    (|| runs("ffmpeg", "-version"), "ffmpeg (Debian: ffmpeg)"),
];

/// Whether it is there, and what it is called.
pub type Needed = (fn() -> bool, &'static str);

/// The directory of the walks, where all that they need is there: Node, its packages, Chromium, and what else is `needed`. In
/// CI it has to be.
pub fn ready(needed: &[Needed]) -> Option<PathBuf> {
    let missing: Vec<_> = ALWAYS.iter().chain(needed).filter(|(there, _)| !there()).map(|(_, what)| *what).collect();
    if missing.is_empty() {
        return Some(directory());
    }
    assert!(std::env::var_os("CI").is_none(), "missing: {missing:?}");
    eprintln!("skipped: missing are {}", missing.join(", "));
    None
}

/// Takes a walk that has to know these facts; what it has to tell.
#[track_caller]
pub fn walk(dir: &Path, script: &str, steps: &[&str], facts: &Value) -> String {
    let mut command = Command::new("node");
    command.arg(script).args(steps).current_dir(dir);
    let ended = super::run_with(command, &facts.to_string());
    let told = ended.stdout.strip_suffix("all is well\n");
    assert!(ended.code == 0 && told.is_some(), "{}{}", ended.stdout, ended.stderr);
    told.unwrap_or_default().to_owned()
}

/// Where pictures are kept.
pub fn shots(walk: &str) -> PathBuf {
    let wanted = std::env::var_os("SHOTS").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let dir = wanted.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).join("pictures").join(walk));
    fs::create_dir_all(&dir).unwrap();
    fs::canonicalize(dir).unwrap()
}

const ALWAYS: [Needed; 3] = [
    (|| runs("node", "--version"), "Node (Debian: nodejs)"),
    (|| directory().join("node_modules/playwright-core").exists(), "the packages (npm ci in examples/tests/browser)"),
    (
        || std::env::var_os("CHROMIUM").is_some() || Path::new("/usr/bin/chromium").exists(),
        "Chromium (Debian: chromium)",
    ),
];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser")
}

fn runs(program: &str, argument: &str) -> bool {
    Command::new(program).arg(argument).output().is_ok()
}
