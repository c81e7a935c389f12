//! The tracker service: HTTP around the machine of `ppsp-tracker-proto`, with its doors, its Portal and its operator.
//!
//! A request goes through here in this order: a [door](doors) says who sends it, the [directory] does what it asks, and the
//! answer goes out with the HTTP status of its error code. Nothing here decides about memberships.

mod date;
pub mod directory;
pub mod doors;
pub mod gate;
pub mod kept;
mod operator;
pub mod portal;
pub mod redis;
mod service;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use ppsp_tracker_proto::message::Code;

use self::{
    directory::Directory,
    doors::{Bearer, Doors},
    gate::Assigner,
};
use crate::net::Clock;

/// A tracker. A clone is the same one.
#[derive(Clone)]
pub struct TrackerService(Arc<Inner>);

struct Inner {
    directory: Directory,
    doors: Doors,
    assigner: Assigner,
    rejected: Rejections,
    clock: Clock,
}

impl TrackerService {
    /// A tracker with these doors.
    pub fn new(directory: Directory, doors: Doors, assigner: Assigner, clock: Clock) -> Self {
        let rejected = Rejections::default();
        Self(Arc::new(Inner { directory, doors, assigner, rejected, clock }))
    }

    /// Opens the door for tokens, and ends the memberships of sessions that the Portal ends.
    pub fn open_bearer(&self, door: Arc<Bearer>) {
        let Some(place) = &self.0.doors.bearer else { return };
        if place.set(Arc::clone(&door)).is_ok() {
            let tracker = self.clone();
            tokio::spawn(door.run(move |session| {
                let tracker = tracker.clone();
                tokio::spawn(async move { tracker.0.directory.end_session(session, tracker.0.clock).await });
            }));
        }
    }

    /// Forgets peers that were silent for too long, also while nobody asks. Never ends.
    pub async fn keep_house(self) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            self.0.directory.forget(self.0.clock.now(), &self.0.assigner).await;
        }
    }

    /// Whether requests can be granted.
    pub fn ready(&self) -> bool {
        self.0.doors.ready() && self.0.directory.ready()
    }

    fn bearer(&self) -> Option<&Arc<Bearer>> {
        self.0.doors.bearer.as_ref().and_then(|door| door.get())
    }
}

/// Requests that came through no door, by error code: 01 to 06.
#[derive(Debug, Default)]
struct Rejections([AtomicU64; 6]);

impl Rejections {
    fn count(&self, code: Code) {
        if let Some(counter) = usize::from(code.0).checked_sub(1).and_then(|at| self.0.get(at)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn counts(&self) -> [u64; 6] {
        std::array::from_fn(|at| self.0[at].load(Ordering::Relaxed))
    }
}

/// A lock on tables in which no invariant spans a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
