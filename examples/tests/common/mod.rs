//! Runs the `ppsp` command as people do: real processes, real sockets on loopback, real files.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub mod browser;
pub mod origin;
pub mod player;
pub mod portal;
pub mod postgres;
pub mod redis;
pub mod system;

use std::{
    ffi::OsStr,
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Guards against a test that hangs; nothing is measured by it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Is there an ffmpeg? In CI there has to be.
pub fn has_ffmpeg() -> bool {
    let there = Command::new("ffmpeg").arg("-version").output().is_ok();
    assert!(there || std::env::var_os("CI").is_none(), "ffmpeg is missing");
    if !there {
        eprintln!("skipped: ffmpeg is missing");
    }
    there
}

/// A directory of its own for each test.
pub struct Place(TempDir);

impl Place {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file of bytes that look random.
    pub fn content(&self, name: &str, length: usize) -> Vec<u8> {
        let mut x = 0x2545_f491_4f6c_dd1d_u64 ^ length as u64;
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                (x >> 32) as u8
            })
            .collect();
        fs::write(self.path(name), &bytes).unwrap();
        bytes
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub fn exists(&self, name: &str) -> bool {
        self.path(name).exists()
    }

    /// `ppsp` with these arguments, in this directory, with an environment that says nothing about it.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ppsp"));
        command.args(args).current_dir(self.0.path()).env("HOME", self.0.path()).env_remove("XDG_DATA_HOME");
        for (key, _) in std::env::vars_os().filter(|(key, _)| key.to_string_lossy().starts_with("PPSP_")) {
            command.env_remove(key);
        }
        command
    }

    /// Starts it with `--json` and listens.
    pub fn start<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ppsp {
        let mut command = self.command(args);
        command.arg("--json");
        Ppsp::start(command)
    }

    /// Runs it as this user of the machine, with a directory for logins of its own, and says this to it.
    pub fn run_as<'a>(&self, user: &str, args: impl IntoIterator<Item = &'a str>, say: &str) -> Ended {
        let mut command = self.command(args);
        command.arg("--json").env("XDG_DATA_HOME", self.path(user));
        run_with(command, say)
    }

    /// The same for a command that goes on.
    pub fn start_as<'a>(&self, user: &str, args: impl IntoIterator<Item = &'a str>, say: &str) -> Ppsp {
        let mut command = self.command(args);
        command.arg("--json").env("XDG_DATA_HOME", self.path(user));
        Ppsp::start_with(command, say)
    }

    /// Runs it to its end.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Ended {
        run(self.command(args))
    }

    /// A seed on loopback and its link.
    pub fn seed<'a>(&self, file: &'a str, more: &[&'a str]) -> (Ppsp, String) {
        let args = ["seed", file, "--listen", "127.0.0.1:0"];
        let mut seed = self.start(args.iter().chain(more));
        let link = seed.link();
        (seed, link)
    }
}

/// Is there a program `openssl`? In CI its absence is a failure.
pub fn has_openssl() -> bool {
    let here = Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_ok();
    assert!(here || std::env::var_os("CI").is_none(), "openssl is not here");
    here
}

/// Runs a command to its end.
pub fn run(command: Command) -> Ended {
    run_with(command, "")
}

/// The same, with this on its standard input.
pub fn run_with(mut command: Command, say: &str) -> Ended {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // Who does not listen is none the worse.
    _ = child.stdin.take().unwrap().write_all(say.as_bytes());
    let (stdout, stderr) = (collect(child.stdout.take().unwrap()), collect(child.stderr.take().unwrap()));
    let end = Instant::now() + PATIENCE;
    let mut hear = |from: Receiver<String>| match from.recv_timeout(end.saturating_duration_since(Instant::now())) {
        Ok(text) => text,
        Err(_) => {
            _ = child.kill();
            _ = child.wait();
            panic!("{command:?} does not end")
        }
    };
    let (stdout, stderr) = (hear(stdout), hear(stderr));
    let status = child.wait().unwrap();
    Ended { code: status.code().unwrap_or_else(|| panic!("killed: {status:?}")), stdout, stderr }
}

/// All that comes, when it has ended.
fn collect(mut from: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut text = String::new();
        _ = from.read_to_string(&mut text);
        _ = sender.send(text);
    });
    receiver
}

/// What a process left.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// It failed with this code, and its sentence has these words in it.
    #[track_caller]
    pub fn failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, code, "{self:?}");
        for word in words {
            assert!(self.stderr.contains(word), "'{word}' is not said: {}", self.stderr);
        }
        let sentence = self.stderr.trim();
        assert!(!sentence.contains("panicked") && !sentence.is_empty(), "{sentence}");
    }

    #[track_caller]
    pub fn succeeded(&self) {
        assert_eq!(self.code, 0, "{self:?}");
    }

    pub fn events(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub fn event(&self, name: &str) -> Value {
        self.events().into_iter().find(|value| value["event"] == name).unwrap_or_else(|| panic!("no {name}: {self:?}"))
    }
}

/// A running process that speaks JSON lines. Killed when dropped.
pub struct Ppsp {
    child: Child,
    events: Receiver<Value>,
    stderr: Option<JoinHandle<String>>,
    /// All that was heard.
    pub heard: Vec<Value>,
}

impl Ppsp {
    pub fn start(command: Command) -> Self {
        Self::start_with(command, "")
    }

    /// With this on its standard input.
    pub fn start_with(command: Command, say: &str) -> Self {
        let (process, mut stdin) = Self::start_open(command);
        _ = stdin.write_all(say.as_bytes());
        process
    }

    /// With a standard input that stays open.
    pub fn start_open(mut command: Command) -> (Self, ChildStdin) {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdin = child.stdin.take().unwrap();
        let (sender, events) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let value = serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
                if sender.send(value).is_err() {
                    break;
                }
            }
        });
        let mut pipe = child.stderr.take().unwrap();
        let stderr = thread::spawn(move || {
            let mut text = String::new();
            _ = pipe.read_to_string(&mut text);
            text
        });
        (Self { child, events, stderr: Some(stderr), heard: Vec::new() }, stdin)
    }

    /// The next event that `wanted` accepts.
    #[track_caller]
    pub fn wait(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(value) => {
                    self.heard.push(value.clone());
                    if wanted(&value) {
                        return value;
                    }
                    assert!(value["event"] != "error", "waiting for {what}: {value}");
                }
                Err(RecvTimeoutError::Timeout) => panic!("no {what} in time: {:?}", self.heard.last()),
                Err(RecvTimeoutError::Disconnected) => {
                    let stderr = self.stderr.take().map(|thread| thread.join().unwrap());
                    panic!("ended before {what}: {:?} {stderr:?}", self.heard.last());
                }
            }
        }
    }

    #[track_caller]
    pub fn event(&mut self, name: &str) -> Value {
        self.wait(name, |value| value["event"] == name)
    }

    #[track_caller]
    pub fn link(&mut self) -> String {
        self.event("link")["link"].as_str().unwrap().to_owned()
    }

    /// Waits until so many bytes are held.
    #[track_caller]
    pub fn held(&mut self, bytes: u64) -> u64 {
        self.wait("progress", |value| value["event"] == "progress" && value["bytes"].as_u64() >= Some(bytes))["bytes"]
            .as_u64()
            .unwrap()
    }

    /// The number that the system knows it by.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Most bytes that it ever had in memory.
    #[track_caller]
    pub fn most_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        most.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for the end; returns exit code and what was said on standard error.
    #[track_caller]
    pub fn end(&mut self) -> (Option<i32>, String) {
        // The end of its output is the end of the process, or very near to it.
        let end = Instant::now() + PATIENCE;
        loop {
            match self.events.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(value) => self.heard.push(value),
                Err(RecvTimeoutError::Timeout) => panic!("it does not end"),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let status = self.child.wait().unwrap();
        (status.code(), self.stderr.take().map(|thread| thread.join().unwrap()).unwrap_or_default())
    }

    pub fn last(&self, event: &str) -> Option<&Value> {
        self.heard.iter().rev().find(|value| value["event"] == event)
    }

    /// How often this was said.
    pub fn count(&self, event: &str) -> usize {
        self.heard.iter().filter(|value| value["event"] == event).count()
    }

    /// As a power cut for the process.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Ppsp {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Changes a file as something other than ppsp would: later, by the clock.
pub fn damage(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
    let later = std::time::SystemTime::now() + Duration::from_secs(5);
    fs::File::options().write(true).open(path).unwrap().set_modified(later).unwrap();
}
