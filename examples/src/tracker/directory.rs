//! Where registrations are kept: in the memory of this process, or in a Redis that several nodes share. Both decide by the same
//! rules of `ppsp-tracker-proto`.

use std::{net::IpAddr, sync::Mutex, time::Duration};

use ppsp_auth::Secret;
use ppsp_core::Instant;
use ppsp_tracker_proto::{Context, Flag, Principal, Tracker, TrackerConfig, TrackerStats, message::Code};
use serde::Serialize;

use super::{gate::RequestGate, lock, redis::RedisDirectory};
use crate::net::Clock;

/// The registrations of a tracker.
#[derive(Debug)]
pub enum Directory {
    /// Of this node alone. A request holds it for microseconds, so that threads may share it.
    Memory(Box<Mutex<Tracker>>),
    /// Of all nodes that share a Redis.
    Redis(Box<RedisDirectory>),
}

/// Whose request it is: where it comes from, who was authenticated, and what that one may do.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The address that the request comes from.
    pub remote: IpAddr,
    /// Who came through a door.
    pub principal: Principal,
    /// What it may do.
    pub gate: RequestGate<'a>,
}

/// What became of a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Answered {
    /// The error code of the answer.
    pub code: Code,
    /// Whether the session of who asked has a registration now.
    pub registered: bool,
}

/// What there is.
#[derive(Clone, Copy, Debug)]
pub struct Population {
    /// Registered peers.
    pub peers: usize,
    /// Swarms with members.
    pub swarms: usize,
    /// Reports that could not be true, since the start.
    pub flagged: u64,
    /// What was done, since the start.
    pub done: TrackerStats,
}

/// A report that cannot be true, for the operator.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// When it came, in Unix seconds.
    pub at: u64,
    /// Whose it is.
    pub peer: String,
    /// The swarm that it is about.
    pub swarm: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl Directory {
    /// An empty one in memory. Lists are drawn by chance from the seed.
    pub fn memory(config: TrackerConfig, seed: &Secret) -> Self {
        Self::Memory(Box::new(Mutex::new(Tracker::new(config, *seed.as_bytes()))))
    }

    /// Answers a request: appends the body of the response.
    pub async fn handle(&self, now: Instant, asker: Asker<'_>, body: &[u8], out: &mut Vec<u8>) -> Answered {
        match self {
            Self::Memory(tracker) => {
                let mut tracker = lock(tracker);
                let context = Context { remote: asker.remote, principal: Some(asker.principal), gate: &asker.gate };
                let code = tracker.handle(now, &context, body, out);
                Answered { code, registered: tracker.has_session(asker.principal.session) }
            }
            Self::Redis(directory) => directory.handle(now, asker, body, out).await,
        }
    }

    /// Ends the registrations of a session. A Redis that is away is asked again, until the registrations have expired by
    /// themselves.
    pub async fn end_session(&self, session: u128, clock: Clock) {
        match self {
            Self::Memory(tracker) => lock(tracker).end_session(session),
            Self::Redis(directory) => {
                for _ in 0..TrackerConfig::default().track_timer.as_secs() {
                    if directory.end_session(session, clock.now()).await.is_ok() {
                        break;
                    }
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Whether registrations can be read and written.
    pub fn ready(&self) -> bool {
        match self {
            Self::Memory(_) => true,
            Self::Redis(directory) => directory.ready(),
        }
    }

    /// Forgets peers that were silent for too long.
    pub async fn forget(&self, now: Instant) {
        match self {
            Self::Memory(tracker) => {
                let due = |tracker: &Tracker| tracker.poll_timeout().is_some_and(|at| at <= now);
                // A thousand at a time: requests come in between.
                while due(&lock(tracker)) {
                    lock(tracker).handle_timeout(now);
                }
            }
            // It forgets by itself.
            Self::Redis(directory) => directory.look(now).await,
        }
    }

    /// What there is, and what was done.
    pub fn population(&self) -> Population {
        match self {
            Self::Memory(tracker) => {
                let tracker = lock(tracker);
                Population {
                    peers: tracker.peer_count(),
                    swarms: tracker.swarm_count(),
                    flagged: tracker.flag_count(),
                    done: *tracker.stats(),
                }
            }
            Self::Redis(directory) => directory.population(),
        }
    }

    /// The last reports that cannot be true, the oldest first.
    pub fn reports(&self) -> Vec<Report> {
        match self {
            Self::Memory(tracker) => lock(tracker).flags().map(report).collect(),
            Self::Redis(directory) => directory.reports(),
        }
    }
}

pub(super) fn report(flag: &Flag) -> Report {
    Report {
        // The clock of the service counts from the Unix epoch.
        at: flag.at.as_micros() / 1_000_000,
        peer: flag.peer.to_string(),
        swarm: flag.swarm.to_string(),
        why: flag.why.name(),
    }
}
