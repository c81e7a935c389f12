//! Content of swarms over HTTP, for players: `GET /<swarm>[/<name>]` while it comes, with ranges.
//!
//! One idea a file: [`Access`] says who may ask, `range` which bytes are meant, [`Item`] is what can be asked for, `body` sends
//! content while it comes, `merged` tells which layers are one to players, `together` makes them one, `spool` keeps that until it is
//! sent, `answer` says all of this. What is asked for is fetched by a [`Peer`], whose readers decide what comes first.

mod access;
mod answer;
mod body;
mod library;
mod merged;
mod metrics;
mod range;
mod spool;
mod together;

use std::{
    collections::BTreeMap,
    fmt,
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ppsp_core::descriptor::{Descriptor, Kind, Representation};

use tokio::sync::Semaphore;

use crate::{
    account::path_part,
    cli::exit::Failure,
    live::Look,
    peer::{Peer, Swarm},
};

pub use access::Access;
pub use body::{Answered, Broadcast, Content};
pub use library::{Item, media_type};

use merged::Merged;
use metrics::Metrics;

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

/// What belongs together: the Representations of one content.
#[derive(Clone, Debug)]
pub struct Programme {
    /// Its identifier in the catalogue, and what the Portal says of it.
    pub content: Option<(String, Descriptor)>,
    /// Each Representation.
    pub items: Vec<Arc<Item>>,
}

impl Programme {
    /// Most programmes that a gateway remembers.
    const MOST: usize = 256;

    /// The paths of what players open.
    pub fn paths(&self) -> Vec<String> {
        match self.manifest() {
            Some(path) => vec![path],
            None => self.items.iter().map(|item| item.path()).collect(),
        }
    }

    /// The path of the manifest, where a player finds by it what it needs: it has to know the codecs of segments beforehand.
    fn manifest(&self) -> Option<String> {
        let (id, descriptor) = self.content.as_ref()?;
        let named = |one: &Representation| one.swarm.is_some() && one.codecs.is_some();
        descriptor.representations().iter().any(named).then(|| format!("/mpd/{}/manifest.mpd", path_part(id)))
    }

    /// The best picture that needs nothing beside it, for players that know nothing of manifests: its files one after the other.
    fn picture(&self) -> Option<&Item> {
        let representations = self.content.as_ref()?.1.representations();
        let alone = |one: &&Representation| one.kind == Kind::Video && one.dependencies.is_empty();
        let best = representations.iter().filter(alone).max_by_key(|one| one.bandwidth)?;
        let id = best.swarm.as_ref()?.metadata.id.to_string();
        self.items.iter().map(|item| &**item).find(|item| item.id == id)
    }
}

/// A gateway. A clone is the same one.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    peer: Peer,
    /// The directory that content is kept in.
    cache: PathBuf,
    access: Access,
    patience: Duration,
    find: Find,
    items: Mutex<BTreeMap<String, Arc<Item>>>,
    /// By the identifier in the catalogue.
    programmes: Mutex<BTreeMap<String, Programme>>,
    /// By the swarms of all layers.
    merged: Mutex<BTreeMap<String, Arc<Merged>>>,
    /// For layers that are put together, in [`ROOM_UNIT`]s.
    room: Arc<Semaphore>,
    metrics: Arc<Metrics>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("peer", &self.peer).field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Without content yet. What is fetched is kept in `cache`.
    pub fn new(peer: Peer, cache: PathBuf, access: Access, patience: Duration, find: Find) -> Self {
        let (items, programmes, merged, metrics) = Default::default();
        let room = Arc::new(Semaphore::new((ROOM / ROOM_UNIT) as usize));
        Self(Arc::new(Inner { peer, cache, access, patience, find, items, programmes, merged, room, metrics }))
    }

    /// More that can be asked for; where a swarm is known already, that stays, and learns of which files it consists.
    pub fn add(&self, mut programme: Programme) -> Programme {
        let mut items = self.items();
        for item in &mut programme.items {
            let known = items.entry(item.id.clone()).or_insert_with(|| Arc::clone(item));
            known.learn(item);
            *item = Arc::clone(known);
        }
        if let Some((_, descriptor)) = &programme.content {
            let new = Merged::all(descriptor, &items);
            self.0.merged.lock().unwrap_or_else(PoisonError::into_inner).extend(new);
        }
        drop(items);
        if let Some((id, _)) = &programme.content {
            let mut known = self.programmes();
            if known.len() >= Programme::MOST && !known.contains_key(id) {
                known.pop_first();
            }
            known.insert(id.clone(), programme.clone());
        }
        programme
    }

    fn programmes(&self) -> MutexGuard<'_, BTreeMap<String, Programme>> {
        self.0.programmes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the Portal.
    async fn find(&self, id: &str) -> Result<Programme, Failure> {
        Ok(self.add((self.0.find)(id.to_owned()).await?))
    }

    fn items(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Item>>> {
        self.0.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn item(&self, id: &str) -> Option<Arc<Item>> {
        self.items().get(id).cloned()
    }

    /// The layers of these swarms, where they are put together here.
    fn merged(&self, id: &str) -> Option<Arc<Merged>> {
        self.0.merged.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    fn peer(&self) -> &Peer {
        &self.0.peer
    }

    /// Live streams that somebody asked for, and how they stand.
    fn stations(&self) -> Vec<(Arc<Item>, Look)> {
        let items: Vec<_> = self.items().values().cloned().collect();
        items.into_iter().filter_map(|item| Some((Arc::clone(&item), item.look()?))).collect()
    }

    /// Swarms that somebody asked for.
    fn open_swarms(&self) -> Vec<(Arc<Item>, Swarm)> {
        let items: Vec<_> = self.items().values().cloned().collect();
        items.into_iter().filter_map(|item| Some((item.clone(), item.opened()?.clone()))).collect()
    }
}
