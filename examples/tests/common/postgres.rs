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

use ppsp_examples::http::{Identity, Pin};
use tempfile::TempDir;

/// A running server. Ended when dropped.
pub struct Postgres {
    child: Child,
    dir: TempDir,
    programs: PathBuf,
    owner: Option<(u32, u32)>,
    port: u16,
    /// Settings.
    more: Vec<String>,
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
        Self::start_as(None)
    }

    /// Starts one that listens on loopback too, with TLS there; returns a URL that wants it, and the fingerprint of its key.
    pub fn start_with_tls() -> Option<(Self, String, Pin)> {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self::start_as(Some(port))?;
        let pin = Identity::keep(&server.dir.path().join("tls"), &[]).unwrap().pin();
        Some((server, format!("postgres://ppsp@127.0.0.1:{port}/postgres?sslmode=require"), pin))
    }

    fn start_as(tls_port: Option<u16>) -> Option<Self> {
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
        let made = run(&programs, "initdb", owner)
            .args(["--no-sync", "--auth=trust", "--encoding=UTF8", "--username=ppsp", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut more = Vec::new();
        if let Some(port) = tls_port {
            let tls = dir.path().join("tls");
            fs::create_dir(&tls).unwrap();
            Identity::keep(&tls, &["localhost".into()]).unwrap();
            for file in ["tls-cert.pem", "tls-key.pem"].map(|name| tls.join(name)) {
                let (uid, gid) = owner.unzip();
                std::os::unix::fs::chown(&file, uid, gid).unwrap();
            }
            more.extend(["listen_addresses=127.0.0.1".to_owned(), format!("port={port}"), "ssl=on".to_owned()]);
            more.push(format!("ssl_cert_file={}", tls.join("tls-cert.pem").display()));
            more.push(format!("ssl_key_file={}", tls.join("tls-key.pem").display()));
            more.push(format!("unix_socket_directories={}", data.display()));
        }
        let child = Self::spawn(&programs, &data, owner, &more);
        let mut server = Self { child, dir, programs, owner, port: tls_port.unwrap_or(5432), more };
        assert!(server.answers(), "PostgreSQL does not start");
        Some(server)
    }

    /// Pulls the plug.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again after that.
    pub fn start_again(&mut self) {
        // The other processes of the server have to notice first that it is gone: until then a new one ends at once.
        let end = Instant::now() + super::PATIENCE;
        loop {
            self.child = Self::spawn(&self.programs, &self.dir.path().join("data"), self.owner, &self.more);
            if self.answers() {
                return;
            }
            assert!(Instant::now() < end, "PostgreSQL does not start again");
        }
    }

    fn spawn(programs: &Path, data: &Path, owner: Option<(u32, u32)>, more: &[String]) -> Child {
        // No port is opened: the number is only a part of the socket's name.
        run(programs, "postgres", owner)
            .arg("-D")
            .arg(data)
            .arg("-k")
            .arg(data)
            .args(["-c", "listen_addresses=", "-c", "max_connections=60"])
            .args(more.iter().flat_map(|setting| ["-c", setting]))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    /// The URL of a new database on it.
    pub fn database(&self, name: &str) -> String {
        wait_for(async {
            let (client, connection) =
                tokio_postgres::connect(&self.url("postgres"), tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute(&format!("CREATE DATABASE {name}")).await.unwrap();
        });
        self.url(name)
    }

    fn url(&self, database: &str) -> String {
        let socket = self.dir.path().join("data").to_str().unwrap().replace('/', "%2F");
        // The port is a part of the socket's name.
        format!("postgres://ppsp@{socket}:{}/{database}", self.port)
    }

    /// Waits until it answers; `false` where it has ended.
    fn answers(&mut self) -> bool {
        let (end, url) = (Instant::now() + super::PATIENCE, self.url("postgres"));
        loop {
            match wait_for(async { tokio_postgres::connect(&url, tokio_postgres::NoTls).await.map(drop) }) {
                Ok(()) => return true,
                Err(error) => assert!(Instant::now() < end, "PostgreSQL does not answer: {error}"),
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
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

/// Runs a future in a thread of its own, so that this can be done within a runtime too.
fn wait_for<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let run = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future);
    std::thread::scope(|scope| scope.spawn(run).join().unwrap())
}

/// One of the programs, as its owner.
fn run(programs: &Path, program: &str, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(programs.join(program));
    command.current_dir("/").stdin(Stdio::null()).env("LC_ALL", "C.UTF-8");
    if let Some((uid, gid)) = owner {
        command.uid(uid).gid(gid);
    }
    command
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
