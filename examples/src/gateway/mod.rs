//! Content of swarms over HTTP, for players: `GET /<swarm>[/<name>]` while it comes, with ranges.
//!
//! One idea a file: [`Access`] says who may ask, `range` which bytes are meant, [`Item`] is what can be asked for, `body` sends
//! content while it comes, `answer` puts these together. What is asked for is fetched by a [`Peer`], whose readers
//! decide what comes first.

mod access;
mod answer;
mod body;
mod library;
mod metrics;
mod range;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::peer::{Peer, Swarm};

pub use access::Access;
pub use body::{Answered, Content};
pub use library::{Item, media_type};

use metrics::Metrics;

/// How long a player waits for content that does not come.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A gateway. A clone is the same one.
#[derive(Clone, Debug)]
pub struct Gateway(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    peer: Peer,
    /// The directory that content is kept in.
    cache: PathBuf,
    access: Access,
    patience: Duration,
    items: Mutex<BTreeMap<String, Arc<Item>>>,
    metrics: Arc<Metrics>,
}

impl Gateway {
    /// Without content yet. What is fetched is kept in `cache`.
    pub fn new(peer: Peer, cache: PathBuf, access: Access, patience: Duration) -> Self {
        Self(Arc::new(Inner { peer, cache, access, patience, items: Mutex::default(), metrics: Arc::default() }))
    }

    /// One more that can be asked for; where its swarm is known already, that stays.
    pub fn add(&self, item: Item) -> Arc<Item> {
        let mut items = self.items();
        Arc::clone(items.entry(item.id.clone()).or_insert_with(|| Arc::new(item)))
    }

    fn items(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Item>>> {
        self.0.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn item(&self, id: &str) -> Option<Arc<Item>> {
        self.items().get(id).cloned()
    }

    fn peer(&self) -> &Peer {
        &self.0.peer
    }

    /// Swarms that somebody asked for.
    fn open_swarms(&self) -> Vec<(Arc<Item>, Swarm)> {
        let items: Vec<_> = self.items().values().cloned().collect();
        items.into_iter().filter_map(|item| Some((item.clone(), item.opened()?.clone()))).collect()
    }
}
