//! Content of swarms over HTTP, for players: `GET /<swarm>[/<name>]` while it comes, with ranges.
//!
//! One idea a file: [`Access`] says who may ask, `range` which bytes are meant, [`Item`] is what can be asked for and [`Programme`] what
//! of that belongs together, `swarms` has the swarms open that are read and `stations` the live streams that are watched,
//! `body` sends content while it comes, `merged` tells which layers are one to players, `together` makes them one, `spool` keeps that until it is
//! sent, `answer` says all of this. What is asked for is fetched by a [`Peer`], whose readers decide what comes first.

mod access;
mod answer;
mod body;
mod library;
mod merged;
mod metrics;
mod programme;
mod range;
mod spool;
mod stations;
mod swarms;
mod together;

use std::{
    fmt,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Semaphore;

use crate::{cli::exit::Failure, peer::Peer};

pub use access::Access;
pub use body::{Answered, Broadcast, Content};
pub use library::{Item, media_type};
pub use programme::Programme;
pub use swarms::Keeping;

use metrics::Metrics;
use programme::Known;
use stations::Stations;
use swarms::Swarms;

/// How long a player waits for content that does not come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Bytes that are in memory at a time of layers, of what is made of them, and of what is known of their samples.
const ROOM: u64 = 64 << 20;
/// What is counted of it.
const ROOM_UNIT: u64 = 1 << 10;

/// Finds what a content identifier of the catalogue means, for whoever is signed in.
pub type Find = Box<dyn Fn(String) -> Finding + Send + Sync>;

/// That takes a while.
pub type Finding = Pin<Box<dyn Future<Output = Result<Programme, Failure>> + Send>>;

/// A gateway. A clone is the same one.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    swarms: Arc<Swarms>,
    stations: Stations,
    access: Access,
    patience: Duration,
    find: Find,
    known: Mutex<Known>,
    /// For layers that are put together, in [`ROOM_UNIT`]s.
    room: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("swarms", &self.swarms).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Without content yet. What is fetched is kept in `cache`. Has to be called in a runtime of tokio.
    pub fn new(peer: Peer, cache: PathBuf, access: Access, patience: Duration, keeping: Keeping, find: Find) -> Self {
        let stations = Stations::new(peer.clone(), patience);
        let swarms = Arc::new(Swarms::new(peer, cache, patience, keeping));
        tokio::spawn(Swarms::tidy(Arc::downgrade(&swarms), keeping));
        let (known, metrics) = Default::default();
        let room = Arc::new(Semaphore::new((ROOM / ROOM_UNIT) as usize));
        Self(Arc::new(Inner { swarms, stations, access, patience, find, known, room, metrics }))
    }

    /// More that can be asked for, as long as the gateway runs. Its swarms stay open once somebody has asked for them.
    pub fn add(&self, programme: Programme) {
        programme.items().iter().for_each(|item| self.0.swarms.keep(&item.id));
        self.known().add(Arc::new(programme), true);
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the Portal.
    async fn find(&self, id: &str) -> Result<Arc<Programme>, Failure> {
        let programme = Arc::new((self.0.find)(id.to_owned()).await?);
        self.known().add(Arc::clone(&programme), false);
        Ok(programme)
    }

    /// Asks the Portal about what is not known.
    async fn programme(&self, id: &str) -> Result<Arc<Programme>, Failure> {
        let known = self.known().get(id);
        match known {
            Some(programme) => Ok(programme),
            None => self.find(id).await,
        }
    }
}
