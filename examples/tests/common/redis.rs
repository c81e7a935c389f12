//! A Redis server of its own for a test, from the system's program, on a socket in a temporary directory.

use std::{
    os::unix::net::UnixStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A running server. Ended when dropped.
pub struct Redis {
    child: Child,
    dir: TempDir,
}

impl Redis {
    /// Starts one. `None`, with a word about it, where the program is not installed; in CI that is a failure.
    pub fn start() -> Option<Self> {
        let dir = tempfile::Builder::new().prefix("redis").tempdir().unwrap();
        let Some(child) = spawn(&dir) else {
            assert!(std::env::var_os("CI").is_none(), "Redis is not installed");
            eprintln!("skipped: Redis is not installed (Debian: redis-server)");
            return None;
        };
        let server = Self { child, dir };
        server.wait();
        Some(server)
    }

    /// What `--redis` takes.
    pub fn url(&self) -> String {
        format!("redis+unix://{}", self.socket().display())
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// Pulls the plug: all that it had is gone.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after that, empty.
    pub fn start_again(&mut self) {
        self.child = spawn(&self.dir).unwrap();
        self.wait();
    }

    fn wait(&self) {
        let end = Instant::now() + super::PATIENCE;
        while UnixStream::connect(self.socket()).is_err() {
            assert!(Instant::now() < end, "Redis does not start");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn spawn(dir: &TempDir) -> Option<Child> {
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(dir.path().join("socket"));
    command.arg("--dir").arg(dir.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.spawn() {
        Ok(child) => Some(child),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => panic!("redis-server: {error}"),
    }
}
