//! A peer that plays: one socket and any number of swarms, driven by a thread of its own, and content that is read while it
//! comes.
//!
//! [`Peer`] takes swarms in; a [`Swarm`] is one of them, and hands out a [`Reader`] for each place that somebody reads at.
//! Where readers are is what the endpoint fetches first (`readers.rs`); who goes away is forgotten at once. What peers do not give in
//! time comes from a web server, where the content has one (`origin/`).

pub(crate) mod book;
mod layers;
mod metrics;
mod origin;
mod reader;
mod readers;
mod status;
mod task;

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use ppsp_core::SwarmMetadata;
use ppsp_peer_proto::{EndpointConfig, Stats};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::{
    cli::exit::Failure,
    net::{Clock, Socket},
    store::FileStore,
    trackers::Trackers,
};

pub use layers::Above;
pub use metrics::{Figures, registry_of};
pub use origin::{Origin, OriginStatus, hash_file_name, write_hash_file};
pub use reader::{Piece, ReadError, Reader};
pub use status::{Moved, Status};

use readers::Readers;
use task::{Command, Task};

/// A socket with swarms. A clone is the same one; it ends when [`Peer::close`] is called.
#[derive(Clone, Debug)]
pub struct Peer {
    addr: SocketAddr,
    config: EndpointConfig,
    commands: mpsc::UnboundedSender<Command>,
    stats: watch::Receiver<Stats>,
}

/// Registers the peer that listens at the address at trackers; the flag says whether it has all content.
pub type StartTrackers = Arc<dyn Fn(SocketAddr, bool) -> Trackers + Send + Sync>;

/// How a swarm finds its peers.
#[derive(Default)]
pub struct Sources {
    /// Peers to connect to.
    pub peers: Vec<SocketAddr>,
    /// Trackers that know more.
    pub trackers: Option<StartTrackers>,
    /// A web server with the same content, for what peers do not give in time.
    pub origin: Option<Origin>,
    /// What it is of use with, which is fetched before it.
    pub above: Option<Above>,
}

impl std::fmt::Debug for Sources {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sources").field("peers", &self.peers).finish_non_exhaustive()
    }
}

impl Peer {
    /// Starts the thread.
    ///
    /// # Errors
    ///
    /// A socket that cannot be used, with exit code 3.
    pub fn start(socket: UdpSocket, config: EndpointConfig) -> Result<Self, Failure> {
        let addr = socket.local_addr().map_err(Failure::network)?;
        let (commands, to_do) = mpsc::unbounded_channel();
        let (tell, stats) = watch::channel(Stats::default());
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| Failure::other(format!("the system gives no random numbers: {e}")))?;
        let of_task = config.clone();
        let task = move || Task::run(socket, of_task, seed, Clock::new(), to_do, &tell);
        let started = thread::Builder::new().name("peer".to_owned()).spawn(task);
        started.map_err(|e| Failure::other(format!("cannot start a thread: {e}")))?;
        Ok(Self { addr, config, commands, stats })
    }

    /// The address bound to.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// How its endpoint is configured.
    pub(crate) fn config(&self) -> EndpointConfig {
        self.config.clone()
    }

    /// A socket at the same address, on any port.
    pub(crate) fn another_socket(&self) -> Result<UdpSocket, Failure> {
        let addr = SocketAddr::new(self.addr.ip(), 0);
        let socket = Socket::bind_group(addr, 1).map_err(Failure::network)?.into_iter().next();
        socket.ok_or_else(|| Failure::network("there is no socket"))
    }

    /// Counters of its endpoint, some of a second old.
    pub fn stats(&self) -> Stats {
        *self.stats.borrow()
    }

    /// Takes part in the swarm whose content is in this store.
    ///
    /// # Errors
    ///
    /// A store whose content is not that of its swarm; a peer that has ended.
    pub async fn join(&self, store: FileStore, mut sources: Sources) -> Result<Swarm, Failure> {
        let origin = sources.origin.take().filter(|_| !store.is_finished());
        let (answer, joined) = oneshot::channel();
        _ = self.commands.send(Command::Join(store, Box::new(sources), answer));
        let (key, swarm) = joined.await.unwrap_or_else(|_| Err(ended()))?;
        if let Some(origin) = origin {
            tokio::spawn(origin::stand_by(origin, Arc::clone(&swarm.0), key, self.commands.downgrade()));
        }
        Ok(swarm)
    }

    /// Says goodbye to peers and trackers, and makes durable what is held; for two seconds at most.
    pub async fn close(&self) {
        let (answer, closed) = oneshot::channel();
        _ = self.commands.send(Command::Close(answer));
        _ = tokio::time::timeout(Duration::from_secs(4), closed).await;
    }
}

fn ended() -> Failure {
    Failure::network("the peer has ended: its socket failed")
}

/// One swarm of a [`Peer`]. A clone is the same one.
#[derive(Clone, Debug)]
pub struct Swarm(Arc<Shared>);

/// What the thread and the readers of a swarm share.
#[derive(Debug)]
struct Shared {
    store: FileStore,
    metadata: SwarmMetadata,
    readers: Mutex<Readers>,
    /// The readers are elsewhere than the endpoint knows.
    moved: AtomicBool,
    /// Wakes the thread.
    wake: Arc<Notify>,
    /// What comes of the swarm.
    state: watch::Sender<State>,
    status: Mutex<Status>,
}

/// What readers wait for.
#[derive(Clone, Debug, Default)]
struct State {
    /// Changes with whatever comes.
    step: u64,
    /// The length of the content, once it is known.
    length: Option<u64>,
    /// Why nothing will come any more.
    failed: Option<String>,
}

impl Swarm {
    /// What every peer of it knows.
    pub fn metadata(&self) -> &SwarmMetadata {
        &self.0.metadata
    }

    /// Its content.
    pub fn store(&self) -> &FileStore {
        &self.0.store
    }

    /// The length of its content, where that is known already.
    pub fn length(&self) -> Option<u64> {
        self.0.state.borrow().length
    }

    /// The length of its content: what proves it is fetched first.
    ///
    /// # Errors
    ///
    /// [`ReadError`]: nobody proves it within `patience`.
    pub async fn learn_length(&self, patience: Duration) -> Result<u64, ReadError> {
        if let Some(length) = self.length() {
            return Ok(length);
        }
        // Any chunk tells how many there are, the last one how long it is.
        let mut state = self.0.state.subscribe();
        let id = self.0.readers().add(0, u64::MAX);
        self.0.stir();
        let known = state.wait_for(|state| state.length.is_some() || state.failed.is_some());
        let known = tokio::time::timeout(patience, known).await;
        self.0.readers().remove(id);
        self.0.stir();
        match known {
            Ok(Ok(state)) => state.length.ok_or_else(|| ReadError::Failed(state.failed.clone().unwrap_or_default())),
            Ok(Err(_)) => Err(ReadError::Failed(ended().message)),
            Err(_) => Err(ReadError::Nobody { seconds: patience.as_secs() }),
        }
    }

    /// Reads the bytes from `from` on, before `end`.
    pub fn reader(&self, from: u64, end: u64, patience: Duration) -> Reader {
        Reader::new(Arc::clone(&self.0), from, end, patience)
    }

    /// How it stands, some of a second ago.
    pub fn status(&self) -> Status {
        lock(&self.0.status).clone()
    }

    /// Tells from now on when something came, or its origin failed or was well again.
    pub fn changes(&self) -> Changes {
        Changes(self.0.state.subscribe())
    }

    /// Where readers are, in bytes.
    pub fn places(&self) -> Vec<u64> {
        self.0.readers().places()
    }
}

/// What happens to a swarm.
#[derive(Debug)]
pub struct Changes(watch::Receiver<State>);

impl Changes {
    /// Waits until something has happened since this was last asked. At once where the swarm has ended.
    pub async fn next(&mut self) {
        _ = self.0.changed().await;
    }
}

impl Shared {
    fn readers(&self) -> MutexGuard<'_, Readers> {
        lock(&self.readers)
    }

    /// Has the thread look at the readers.
    fn stir(&self) {
        self.moved.store(true, Ordering::Release);
        self.wake.notify_one();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
