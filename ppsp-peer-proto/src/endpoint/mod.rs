//! The endpoint: all swarms and peers of one socket.

mod config;
mod event;
mod stats;
mod view;

use alloc::{boxed::Box, vec::Vec};
use core::{fmt, net::SocketAddr, num::NonZeroUsize};

use ppsp_core::{ChunkRange, ContentStore, Instant, MetadataError, StoreError};

pub use config::{EndpointConfig, SwarmConfig};
pub use event::{Event, PeerKey, Reason, SwarmKey};
pub use stats::{PeerStats, Stats};
pub use view::{Swarm, SwarmMut};

/// Received bytes, borrowed for the call: one datagram, or several of `stride` bytes each (GRO).
#[derive(Clone, Copy, Debug)]
pub struct Datagrams<'a> {
    /// Who sent them.
    pub remote: SocketAddr,
    /// The bytes.
    pub data: &'a [u8],
    /// Length of each datagram but the last.
    pub stride: usize,
}

impl<'a> Datagrams<'a> {
    /// A single datagram.
    pub fn one(remote: SocketAddr, data: &'a [u8]) -> Self {
        Self { remote, data, stride: data.len() }
    }
}

/// Bytes to send: the first `len` of the buffer given to [`Endpoint::poll_transmit`].
#[must_use]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Transmit {
    /// Where to.
    pub destination: SocketAddr,
    /// Bytes written.
    pub len: usize,
    /// Length of each datagram but the last, where there is more than one (GSO).
    pub segment_size: Option<NonZeroUsize>,
}

/// What [`Endpoint::handle_store`] is told.
#[non_exhaustive]
#[derive(Debug)]
pub enum StoreDone {
    /// These may be read now, after [`Read::Pending`](ppsp_core::Read::Pending).
    Readable(ChunkRange),
    /// These are held now, after [`Write::Queued`](ppsp_core::Write::Queued).
    Written(ChunkRange),
    /// There is room again, after [`Write::Busy`](ppsp_core::Write::Busy).
    Room,
    /// It failed; the swarm stands still.
    Failed(StoreError),
}

/// One UDP socket's worth of protocol: all swarms and peers on it. No I/O, clock, thread or entropy inside.
///
/// Call **inputs** and **commands** in any order, then drain the **outputs** whenever convenient. No call is forbidden
/// at any moment; [`poll_timeout`](Self::poll_timeout) names the latest moment at which the next drain is due.
pub struct Endpoint {
    _x: Vec<Event>,
}

/// Commands.
impl Endpoint {
    /// `seed` is all the chance the endpoint ever uses: same seed and same inputs, same outputs.
    pub fn new(config: EndpointConfig, seed: [u8; 32], now: Instant) -> Self {
        todo!()
    }

    /// Opens a swarm over `store`.
    pub fn open(
        &mut self,
        now: Instant,
        config: SwarmConfig,
        store: Box<dyn ContentStore>,
    ) -> Result<SwarmKey, OpenError> {
        todo!()
    }

    /// Closes a swarm: its peers get a closing HANDSHAKE with the next datagrams. Hands the store back.
    pub fn close(&mut self, now: Instant, swarm: SwarmKey) -> Option<Box<dyn ContentStore>> {
        todo!()
    }

    /// Starts a handshake. The key returned is the one in later events.
    pub fn connect(&mut self, now: Instant, swarm: SwarmKey, remote: SocketAddr) -> Result<PeerKey, ConnectError> {
        todo!()
    }

    /// Ends a channel, with a closing HANDSHAKE.
    pub fn disconnect(&mut self, now: Instant, peer: PeerKey) {
        todo!()
    }

    /// A look at a swarm.
    pub fn swarm(&self, swarm: SwarmKey) -> Option<Swarm<'_>> {
        todo!()
    }

    /// A hold of a swarm.
    pub fn swarm_mut(&mut self, swarm: SwarmKey) -> Option<SwarmMut<'_>> {
        todo!()
    }

    /// What is known of a peer.
    pub fn peer(&self, peer: PeerKey) -> Option<PeerStats> {
        todo!()
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        todo!()
    }
}

/// Inputs. None fails: what a stranger sends is counted, never an error.
impl Endpoint {
    /// Takes what one receive call returned; chunks in it are hashed together.
    pub fn handle<'a>(&mut self, now: Instant, received: impl IntoIterator<Item = Datagrams<'a>>) {
        todo!()
    }

    /// Time has come to `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        todo!()
    }

    /// What the store owed after `Pending`, `Queued` or `Busy` is there.
    pub fn handle_store(&mut self, now: Instant, swarm: SwarmKey, done: StoreDone) {
        todo!()
    }
}

/// Outputs.
impl Endpoint {
    /// Writes the next run of datagrams for one destination at the front of `buf`: at most `max_segments` of equal
    /// length, of which the last may be shorter. `None`: nothing to send now.
    pub fn poll_transmit(&mut self, now: Instant, max_segments: NonZeroUsize, buf: &mut [u8]) -> Option<Transmit> {
        todo!()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        todo!()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), at the latest; no later than the last `now` while output
    /// waits. Constant time.
    pub fn poll_timeout(&self) -> Option<Instant> {
        todo!()
    }
}

/// Why a swarm cannot be opened.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is open already.
    #[error("swarm is already open")]
    AlreadyOpen,
    /// Its metadata makes no sense, or asks for what is not supported.
    #[error("{0}")]
    Metadata(#[from] MetadataError),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// What the store holds does not belong to this swarm.
    #[error("stored content belongs to another swarm")]
    WrongContent,
}

/// Why a peer cannot be reached for.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConnectError {
    /// No such swarm.
    #[error("no such swarm")]
    UnknownSwarm,
    /// The limit is reached; try after a `PeerDown`.
    #[error("too many peers")]
    TooManyPeers,
    /// There is a channel to this address already.
    #[error("already connected to this address")]
    AlreadyConnected,
    /// The address misbehaved and stays out for a time.
    #[error("address is banned for a time")]
    Banned,
    /// The address is not one to send to.
    #[error("not an address to send to")]
    BadAddress,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}
