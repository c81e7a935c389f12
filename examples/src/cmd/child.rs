//! This command run again as a process of its own, heard through its JSON lines.

use std::{
    ffi::{OsStr, OsString},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{ChildStderr, ChildStdin, ChildStdout, Command},
    task::JoinHandle,
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
    /// What it said last on standard error, once that has ended.
    last_words: JoinHandle<String>,
    /// What it said that it failed of.
    failed: Option<Failure>,
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
        Self::spawn_with(name, args, [])
    }

    /// The same with these in its environment.
    pub(super) fn spawn_with<S: AsRef<OsStr>>(
        name: &str,
        args: impl IntoIterator<Item = S>,
        env: impl IntoIterator<Item = (&'static str, OsString)>,
    ) -> Result<Self, Failure> {
        Self::begin(name, args, env.into_iter().chain([(EXIT_WITH_STDIN, "1".into())]))
    }

    /// Runs it to its end, with these words on its standard input, and returns all that it said.
    pub(super) async fn run<S: AsRef<OsStr>>(
        name: &str,
        args: impl IntoIterator<Item = S>,
        env: impl IntoIterator<Item = (&'static str, OsString)>,
        say: &str,
    ) -> Result<Vec<Value>, Failure> {
        let mut child = Self::begin(name, args, env)?;
        if let Some(mut stdin) = child.stdin.take() {
            // Who does not listen says why.
            _ = stdin.write_all(say.as_bytes()).await;
        }
        let mut said = Vec::new();
        while let Some(value) = child.next().await {
            said.push(value);
        }
        match child.status().await {
            Some(status) if status.success() => Ok(said),
            status => Err(child.death(status).await),
        }
    }

    fn begin<S: AsRef<OsStr>>(
        name: &str,
        args: impl IntoIterator<Item = S>,
        env: impl IntoIterator<Item = (&'static str, OsString)>,
    ) -> Result<Self, Failure> {
        let failed = |e| Failure::other(format!("cannot start the {name} process: {e}"));
        let exe = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(exe);
        command.args(args).arg("--json");
        // What is set for this process is not meant for those.
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("PPSP_")) {
            command.env_remove(key);
        }
        command.envs(env);
        // A group of its own: Ctrl-C comes to this process only, which then ends the others in order.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().map_err(failed)?;
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().ok_or_else(|| Failure::other("a process without output"))?;
        let stderr = process.stderr.take().ok_or_else(|| Failure::other("a process without output"))?;
        let (lines, last_words) = (BufReader::new(stdout).lines(), tokio::spawn(last_line(stderr)));
        Ok(Self { name: name.to_owned(), process, lines, stdin, last_words, failed: None })
    }

    /// The next thing it says; `None` once it has ended.
    pub(super) async fn next(&mut self) -> Option<Value> {
        loop {
            let line = self.lines.next_line().await.ok()??;
            if let Ok(value) = serde_json::from_str(&line) {
                if let Some(failure) = self.failure(&value) {
                    self.failed = Some(failure);
                }
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
        let status = self.status().await;
        Err(self.death(status).await)
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

    /// Why it has ended, which nobody asked it to: its last words, or what the system says.
    pub(super) async fn ended_by_itself(&mut self) -> Failure {
        let status = self.status().await;
        self.death(status).await
    }

    async fn death(&mut self, status: Option<ExitStatus>) -> Failure {
        if let Some(failure) = self.failed.take() {
            return failure;
        }
        let how = status.map_or_else(|| "without a word".to_owned(), |status| format!("with {status}"));
        let words = timeout(END, &mut self.last_words).await.ok().and_then(Result::ok).unwrap_or_default();
        let words = if words.is_empty() { words } else { format!(": {words}") };
        Failure::other(format!("the {} process ended {how}{words}", self.name))
    }

    /// How it ended, which it has or is about to.
    async fn status(&mut self) -> Option<ExitStatus> {
        timeout(END, self.process.wait()).await.ok()?.ok()
    }

    /// Its number in the system.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.id()
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

/// The last line that says something; of a line for a log, what it is about.
async fn last_line(stderr: ChildStderr) -> String {
    const LONGEST: usize = 400;
    let mut lines = BufReader::new(stderr).split(b'\n');
    let mut last = String::new();
    while let Ok(Some(line)) = lines.next_segment().await {
        let line = String::from_utf8_lossy(&line);
        let logged = serde_json::from_str::<Value>(&line).ok();
        let line = logged.as_ref().and_then(|value| value["fields"]["message"].as_str()).unwrap_or(&line).trim();
        if !line.is_empty() && !line.starts_with("note:") {
            last = line.chars().take(LONGEST).collect();
        }
    }
    last
}
