//! The swarms that are open, each once, whoever shows it. One that nobody has read for a while is left, and opened again by whoever asks
//! for it next: what was fetched of it is in its file.

use std::{
    collections::{HashMap, HashSet},
    ops::Deref,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, timeout},
};

use super::Item;
use crate::{
    cli::exit::Failure,
    peer::{Figures, Peer, Swarm},
    store::{FileStore, Notice, Places},
};

/// How many swarms stay open, and how long. Those that a gateway was given by its owner are not counted, and stay.
#[derive(Clone, Copy, Debug)]
pub struct Keeping {
    /// So long after somebody has read it, a swarm is left.
    pub idle: Duration,
    /// Most that are open. One more, and that which nobody has read for longest is left; where all are being read, it waits.
    pub most: usize,
}

impl Default for Keeping {
    /// Ten minutes, for players that pause; and 64, of which each may have some 10 MiB in memory.
    fn default() -> Self {
        Self { idle: Duration::from_secs(600), most: 64 }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Swarms {
    peer: Peer,
    /// The directory that content is kept in.
    cache: PathBuf,
    keeping: Keeping,
    /// For a player that waits for room.
    patience: Duration,
    state: Mutex<State>,
    /// A swarm is used by nobody any more.
    freed: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// By the swarm's identifier.
    slots: HashMap<String, Slot>,
    /// Those that stay.
    kept: HashSet<String>,
    /// What those counted that were left.
    left: Figures,
}

/// The place of a swarm that is open, is being opened or is being left.
#[derive(Debug)]
struct Slot {
    item: Arc<Item>,
    swarm: Option<Swarm>,
    /// Held while it is opened or left.
    gate: Arc<tokio::sync::Mutex<()>>,
    users: usize,
    used: Instant,
}

/// Why a swarm is not open.
#[derive(Debug)]
pub(super) enum NotOpen {
    /// As many are being read as there may be.
    Full,
    Failed(Failure),
}

impl Swarms {
    pub(super) fn new(peer: Peer, cache: PathBuf, patience: Duration, keeping: Keeping) -> Self {
        Self { peer, cache, keeping, patience, state: Mutex::default(), freed: Notify::new() }
    }

    pub(super) fn cache(&self) -> &std::path::Path {
        &self.cache
    }

    /// This one stays, once it is open.
    pub(super) fn keep(&self, id: &str) {
        self.state().kept.insert(id.to_owned());
    }

    /// The swarm of this content; takes part in it from now on. A player that breaks off while that goes on leaves nothing half done: the
    /// next one finds it done.
    pub(super) async fn open(self: &Arc<Self>, item: &Arc<Item>) -> Result<Open, NotOpen> {
        let (swarms, item) = (Arc::clone(self), Arc::clone(item));
        let opening = tokio::spawn(async move {
            let user = swarms.enter(&item).await?;
            let gate = user.gate();
            let _turn = gate.lock().await;
            let known = swarms.slot(&item.id, |slot| slot.swarm.clone()).flatten();
            let swarm = match known {
                Some(swarm) => swarm,
                None => {
                    let swarm = swarms.join(&item).await.map_err(NotOpen::Failed)?;
                    swarms.slot(&item.id, |slot| slot.swarm = Some(swarm.clone()));
                    swarm
                }
            };
            Ok(Open { swarm, item, _user: user })
        });
        opening.await.unwrap_or_else(|error| Err(NotOpen::Failed(Failure::other(error))))
    }

    /// All that are open, without the word of somebody who reads them.
    pub(super) fn all(self: &Arc<Self>) -> Vec<Open> {
        let mut state = self.state();
        let open = state.slots.iter_mut().filter_map(|(id, slot)| {
            let swarm = slot.swarm.clone()?;
            slot.users += 1;
            let user = User { swarms: Arc::clone(self), id: id.clone(), reads: false };
            Some(Open { swarm, item: Arc::clone(&slot.item), _user: user })
        });
        open.collect()
    }

    /// What they count, with those that were left.
    pub(super) fn figures(&self) -> Figures {
        let state = self.state();
        let mut figures = Figures::of(&self.peer, state.slots.values().filter_map(|slot| slot.swarm.as_ref()));
        figures.merge(&state.left.ended());
        figures
    }

    /// Leaves what nobody has read for long, until nobody has these swarms any more.
    pub(super) async fn tidy(swarms: std::sync::Weak<Self>, keeping: Keeping) {
        let mut look = interval((keeping.idle / 8).max(Duration::from_millis(10)));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            look.tick().await;
            let Some(swarms) = swarms.upgrade() else { return };
            while let Some(user) = swarms.idle(keeping.idle) {
                user.leave().await;
            }
        }
    }

    async fn enter(self: &Arc<Self>, item: &Arc<Item>) -> Result<User, NotOpen> {
        let entering = async {
            loop {
                let freed = self.freed.notified();
                if let Some(user) = self.try_enter(item) {
                    return user;
                }
                match self.idle(Duration::ZERO) {
                    Some(user) => user.leave().await,
                    None => freed.await,
                }
            }
        };
        timeout(self.patience, entering).await.map_err(|_| NotOpen::Full)
    }

    /// Has one more user, where there is room.
    fn try_enter(self: &Arc<Self>, item: &Arc<Item>) -> Option<User> {
        let mut state = self.state();
        let State { slots, kept, .. } = &mut *state;
        if !slots.contains_key(&item.id) && !kept.contains(&item.id) {
            let counted = slots.keys().filter(|id| !kept.contains(*id)).count();
            if counted >= self.keeping.most {
                return None;
            }
        }
        let slot = slots.entry(item.id.clone()).or_insert_with(|| Slot {
            item: Arc::clone(item),
            swarm: None,
            gate: Arc::default(),
            users: 0,
            used: Instant::now(),
        });
        slot.users += 1;
        Some(User { swarms: Arc::clone(self), id: item.id.clone(), reads: true })
    }

    /// Of those that nobody uses, and nobody has read for so long, the one that was read least recently.
    fn idle(self: &Arc<Self>, idle: Duration) -> Option<User> {
        let mut state = self.state();
        let State { slots, kept, .. } = &mut *state;
        let may_go =
            |(id, slot): &(&String, &mut Slot)| slot.users == 0 && slot.used.elapsed() >= idle && !kept.contains(*id);
        let (id, slot) = slots.iter_mut().filter(may_go).min_by_key(|(_, slot)| slot.used)?;
        slot.users += 1;
        Some(User { swarms: Arc::clone(self), id: id.clone(), reads: false })
    }

    async fn join(&self, item: &Item) -> Result<Swarm, Failure> {
        let metadata = item.link.metadata.clone();
        let places = Places::new(&item.place(&self.cache), None);
        let opening = tokio::task::spawn_blocking(move || {
            FileStore::download(&places, &metadata, &mut |notice| {
                if let Notice::Warning(text) = notice {
                    tracing::warn!("{text}");
                }
            })
        });
        let (store, _) = opening.await.map_err(Failure::other)??;
        self.peer.join(store, item.sources.clone()).await
    }

    fn slot<T>(&self, id: &str, look: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.state().slots.get_mut(id).map(look)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A swarm that is open, and stays so as long as somebody has this.
#[derive(Debug)]
pub(super) struct Open {
    // It goes before its user does: then nothing is left of it that could hold its files.
    swarm: Swarm,
    item: Arc<Item>,
    _user: User,
}

impl Open {
    /// As what it was opened.
    pub(super) fn item(&self) -> &Item {
        &self.item
    }
}

impl Deref for Open {
    type Target = Swarm;

    fn deref(&self) -> &Swarm {
        &self.swarm
    }
}

/// Somebody for whom a swarm stays open.
#[derive(Debug)]
struct User {
    swarms: Arc<Swarms>,
    id: String,
    /// And who reads it.
    reads: bool,
}

impl User {
    fn gate(&self) -> Arc<tokio::sync::Mutex<()>> {
        self.swarms.slot(&self.id, |slot| Arc::clone(&slot.gate)).unwrap_or_default()
    }

    /// Leaves the swarm, unless somebody has come to use it.
    async fn leave(self) {
        // Who goes away meanwhile leaves nothing half done.
        let leaving = tokio::spawn(async move {
            let gate = self.gate();
            let _turn = gate.lock().await;
            let gone = {
                let mut state = self.swarms.state();
                let State { slots, left, .. } = &mut *state;
                let slot = slots.get_mut(&self.id).filter(|slot| slot.users == 1);
                slot.and_then(|slot| slot.swarm.take()).inspect(|swarm| left.add(&swarm.status()))
            };
            if let Some(swarm) = gone {
                self.swarms.peer.leave(swarm).await;
            }
        });
        _ = leaving.await;
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut state = self.swarms.state();
        if let Some(slot) = state.slots.get_mut(&self.id) {
            slot.users -= 1;
            if self.reads {
                slot.used = Instant::now();
            }
            if slot.users == 0 && slot.swarm.is_none() {
                state.slots.remove(&self.id);
            }
        }
        drop(state);
        self.swarms.freed.notify_waiters();
    }
}
