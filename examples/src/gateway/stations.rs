//! Live streams that somebody watches, each once, whoever shows it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::Item;
use crate::{
    cli::exit::Failure,
    live::{Listener, Look, Station, Watching},
    peer::{Figures, Peer, Sources},
};

/// Most that are watched at a time.
const MOST: usize = 16;

/// All of them.
#[derive(Debug)]
pub(super) struct Stations {
    peer: Peer,
    /// For a stream that does not come.
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// By the swarm's identifier. One that has ended is shown until another takes its place.
    on: BTreeMap<String, (Arc<Item>, Station)>,
    /// What those counted that are gone.
    left: Figures,
}

impl Stations {
    pub(super) fn new(peer: Peer, patience: Duration) -> Self {
        Self { peer, patience, state: Mutex::default() }
    }

    /// Listens to a live stream; has it watched from now on, or again where it had ended.
    pub(super) fn listen(&self, item: &Arc<Item>) -> Result<Listener, Failure> {
        let mut state = self.state();
        let State { on, left } = &mut *state;
        if let Some(listener) = on.get(&item.id).and_then(|(_, station)| station.listen()) {
            return Ok(listener);
        }
        let mut gone = on.remove(&item.id);
        if on.len() >= MOST {
            let ended = on.iter().find(|(_, (_, station))| station.has_ended()).map(|(id, _)| id.clone());
            let Some(ended) = ended else {
                return Err(Failure::refused(format!(
                    "{MOST} live streams are being watched here; end one of them first"
                )));
            };
            gone = on.remove(&ended);
        }
        if let Some((_, station)) = gone {
            left.merge(&station.look().figures.ended());
        }
        // Trackers serve a second time, too.
        let Sources { peers, trackers, .. } = item.sources.clone();
        let sources = Sources { peers, trackers, ..Sources::default() };
        let watching = Watching { patience: self.patience, window: item.link.discard_window, ..Watching::default() };
        let socket = self.peer.another_socket()?;
        let metadata = item.link.metadata.clone();
        let (station, listener) = Station::start(socket, self.peer.config(), metadata, watching, sources)?;
        on.insert(item.id.clone(), (Arc::clone(item), station));
        Ok(listener)
    }

    /// Those that somebody asked for, and how they stand.
    pub(super) fn all(&self) -> Vec<(Arc<Item>, Look)> {
        self.state().on.values().map(|(item, station)| (Arc::clone(item), station.look())).collect()
    }

    /// What they count, with those that are gone.
    pub(super) fn figures(&self) -> Figures {
        let state = self.state();
        let mut figures = state.left;
        state.on.values().for_each(|(_, station)| figures.merge(&station.look().figures));
        figures
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
