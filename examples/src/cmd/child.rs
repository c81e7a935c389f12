//! This command run again as a process of its own, heard through its JSON lines.

use std::{ffi::OsStr, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{ChildStdin, ChildStdout, Command},
    time::timeout,
};

use super::{signals::EXIT_WITH_STDIN, usage};
use crate::cli::exit::{Exit, Failure};

/// How long a process may take to end after it was asked to.
const END: Duration = Duration::from_secs(5);

/// A process. It ends with this value at the latest, and when this process ends, however that comes.
pub(super) struct Child {
    name: String,
    process: tokio::process::Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Its end of file tells the process to end.
    stdin: Option<ChildStdin>,
}

/// Removes the directory in which children worked. Those that were dropped are ending, and may still write to it.
pub(super) async fn remove_after_children(dir: tempfile::TempDir) {
    const PAUSE: Duration = Duration::from_millis(10);
    for _ in 0..END.as_millis() / PAUSE.as_millis() {
        tokio::time::sleep(PAUSE).await;
        if std::fs::remove_dir_all(dir.path()).is_ok() || !dir.path().exists() {
            break;
        }
    }
}

impl Child {
    /// Starts `ppsp` with these arguments and `--json`.
    pub(super) fn spawn<S: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = S>) -> Result<Self, Failure> {
        let failed = |e| Failure::other(format!("cannot start the {name} process: {e}"));
        let exe = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(exe);
        command.args(args).arg("--json");
        // What is set for this process is not meant for those.
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("PPSP_")) {
            command.env_remove(key);
        }
        command.env(EXIT_WITH_STDIN, "1");
        // A group of its own: Ctrl-C comes to this process only, which then ends the others in order.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().map_err(failed)?;
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().ok_or_else(|| Failure::other("a process without output"))?;
        Ok(Self { name: name.to_owned(), process, lines: BufReader::new(stdout).lines(), stdin })
    }

    /// The next thing it says; `None` once it has ended.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            let line = self.lines.next_line().await.ok()??;
            if let Ok(value) = serde_json::from_str(&line) {
                return Some(value);
            }
        }
    }

    /// Waits until it says this.
    pub(super) async fn wait_for(&mut self, event: &str) -> Result<Value, Failure> {
        while let Some(value) = self.next().await {
            if value["event"] == event {
                return Ok(value);
            }
            if let Some(failure) = self.failure(&value) {
                return Err(failure);
            }
        }
        Err(Failure::other(format!("the {} process ended without a word", self.name)))
    }

    /// The failure that an `error` event tells of.
    pub(super) fn failure(&self, value: &Value) -> Option<Failure> {
        if value["event"] != "error" {
            return None;
        }
        let exit = match value["code"].as_u64() {
            Some(2) => Exit::Usage,
            Some(3) => Exit::Network,
            Some(4) => Exit::Refused,
            Some(5) => Exit::Integrity,
            Some(130) => Exit::Interrupted,
            _ => Exit::Failure,
        };
        let message = value["message"].as_str().unwrap_or("no reason given");
        Some(Failure::new(exit, format!("the {} process failed: {message}", self.name)))
    }

    /// Most memory that it has held until now, in MiB; `None` where the system does not say.
    pub(super) fn peak_rss_mib(&self) -> Option<f64> {
        usage::peak_rss_mib_of(self.process.id()?)
    }

    /// Asks it to end. What it says last can still be read.
    pub(super) fn stop(&mut self) {
        self.stdin = None;
    }

    /// Waits for its end, which is near.
    pub(super) async fn reap(&mut self) {
        self.stop();
        if timeout(END, self.process.wait()).await.is_err() {
            _ = self.process.kill().await;
        }
    }
}
