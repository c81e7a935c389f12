//! Where registrations are kept: in the memory of this process. A directory elsewhere is another variant; what it decides
//! comes from the same `transition` of `ppsp-tracker-proto`.

use std::{net::IpAddr, sync::Mutex};

use ppsp_auth::Secret;
use ppsp_core::Instant;
use ppsp_tracker_proto::{
    Config, Context, Principal, Stats, Totals, Tracker,
    message::{Code, PeerMode},
};

use super::{gate::RequestGate, lock};

/// The registrations of a tracker.
pub enum Directory {
    /// Of this node alone. A request holds it for microseconds, so that threads may share it.
    Memory(Mutex<Tracker>),
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

/// Reports of a swarm that do not fit together.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Inconsistent {
    /// The swarm.
    pub swarm_id: String,
    /// Its members that have the content.
    pub seeders: usize,
    /// Its other members.
    pub leeches: usize,
    /// Bytes that peers say to have sent.
    pub uploaded: u64,
    /// Bytes that peers say to have received.
    pub downloaded: u64,
    /// The part of these that nobody says to have sent.
    pub unexplained: u64,
    /// Reports that contradict an earlier one of the same peer, or its mode.
    pub doubtful: u64,
}

impl Directory {
    /// An empty one in memory. The seed must be secret and never used again.
    pub fn memory(config: Config, seed: &Secret) -> Self {
        Self::Memory(Mutex::new(Tracker::new(config, *seed.as_bytes())))
    }

    /// Answers a request: appends the body of the response, and gives its error code.
    #[expect(clippy::unused_async, reason = "a directory elsewhere has to wait")]
    pub async fn handle(&self, now: Instant, asker: Asker<'_>, body: &[u8], out: &mut Vec<u8>) -> Code {
        match self {
            Self::Memory(tracker) => lock(tracker).handle(now, &asker.context(), body, out),
        }
    }

    /// Ends the registrations of a session, and gives their number.
    pub fn end_session(&self, session: u128) -> usize {
        match self {
            Self::Memory(tracker) => lock(tracker).end_session(session),
        }
    }

    /// Forgets peers that were silent for too long.
    pub fn forget(&self, now: Instant) {
        match self {
            Self::Memory(tracker) => lock(tracker).handle_timeout(now),
        }
    }

    /// What this node did, and what there is.
    pub fn stats(&self) -> Stats {
        match self {
            Self::Memory(tracker) => lock(tracker).stats(),
        }
    }

    /// The swarms whose reports do not fit together, at most `limit`. Looks at all swarms.
    pub fn inconsistent(&self, limit: usize) -> Vec<Inconsistent> {
        match self {
            Self::Memory(tracker) => {
                let tracker = lock(tracker);
                let doubtful = tracker.swarms().filter(|swarm| is_flagged(&swarm.totals)).take(limit);
                doubtful.map(|swarm| Inconsistent {
                    swarm_id: swarm.swarm_id.to_owned(),
                    seeders: swarm.population.of(PeerMode::Seeder),
                    leeches: swarm.population.of(PeerMode::Leech),
                    uploaded: swarm.totals.uploaded,
                    downloaded: swarm.totals.downloaded,
                    unexplained: swarm.totals.unexplained(),
                    doubtful: swarm.totals.doubtful,
                }).collect()
            }
        }
    }
}

impl<'a> Asker<'a> {
    /// The same in the machine's words.
    pub fn context(&self) -> Context<'_> {
        Context { remote: self.remote, principal: Some(self.principal), gate: &self.gate }
    }
}

fn is_flagged(totals: &Totals) -> bool {
    totals.is_inconsistent() || totals.doubtful > 0
}
