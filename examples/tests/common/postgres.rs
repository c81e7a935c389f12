//! A PostgreSQL server of its own for a test, from the system's programs, on a socket in a temporary directory.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// A running server. Ended when dropped.
pub struct Postgres {
    child: Child,
    dir: TempDir,
}

/// The server that the tests of one process share while any of them runs.
static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());

impl Postgres {
    /// The one that other tests of this process use, or a new one, as [`start`](Self::start). It ends with the last of them.
    pub fn shared() -> Option<Arc<Self>> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = shared.upgrade() {
            return Some(server);
        }
        let server = Arc::new(Self::start()?);
        *shared = Arc::downgrade(&server);
        Some(server)
    }

    /// Starts one. `None`, with a word about it, where the programs are not installed; in CI that is a failure.
    pub fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            assert!(std::env::var_os("CI").is_none(), "PostgreSQL is not installed");
            eprintln!("skipped: PostgreSQL is not installed (Debian: postgresql-15)");
            return None;
        };
        let dir = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let data = dir.path().join("data");
        let owner = owner();
        if let Some((uid, gid)) = owner {
            // The server refuses to run as root.
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).unwrap();
            fs::create_dir(&data).unwrap();
            std::os::unix::fs::chown(&data, Some(uid), Some(gid)).unwrap();
            fs::set_permissions(&data, fs::Permissions::from_mode(0o700)).unwrap();
        }
        let run = |program: &str| {
            let mut command = Command::new(programs.join(program));
            command.current_dir("/").stdin(Stdio::null()).env("LC_ALL", "C.UTF-8");
            if let Some((uid, gid)) = owner {
                command.uid(uid).gid(gid);
            }
            command
        };
        let made = run("initdb")
            .args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--username=ppsp", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let child = run("postgres")
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(&data)
            // No port is opened: the number is only a part of the socket's name.
            .args(["-c", "listen_addresses=", "-c", "max_connections=60"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let server = Self { child, dir };
        server.wait();
        Some(server)
    }

    /// The URL of a new database on it.
    pub fn database(&self, name: &str) -> String {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (client, connection) =
                tokio_postgres::connect(&self.url("postgres"), tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        });
        self.url(name)
    }

    /// The process of the server.
    pub fn process(&self) -> &Child {
        &self.child
    }

    fn url(&self, database: &str) -> String {
        let socket = self.dir.path().join("data").to_str().unwrap().replace('/', "%2F");
        format!("postgres://ppsp@{socket}/{database}")
    }

    /// Waits until it answers.
    fn wait(&self) {
        let end = Instant::now() + super::PATIENCE;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        loop {
            let connected =
                runtime.block_on(tokio_postgres::connect(&self.url("postgres"), tokio_postgres::NoTls)).map(drop);
            match connected {
                Ok(()) => return,
                Err(error) => assert!(Instant::now() < end, "PostgreSQL does not answer: {error}"),
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGINT: the quick end that leaves nothing behind, also no shared memory.
        let pid = rustix::process::Pid::from_child(&self.child);
        _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        _ = self.child.wait();
    }
}

/// Where the programs of the newest version are.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten().map(|entry| entry.path().join("bin"));
    versions.filter(|bin| bin.join("postgres").exists()).max()
}

/// As whom the server runs where the test runs as root: the user that its package made, else nobody.
fn owner() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let home = fs::metadata(Path::new("/var/lib/postgresql"));
    Some(home.map(|home| (home.uid(), home.gid())).ok().filter(|(uid, _)| *uid != 0).unwrap_or((65_534, 65_534)))
}
