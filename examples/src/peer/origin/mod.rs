//! A web server that has the content too: what readers wait for and peers do not give in time comes from there.
//!
//! Peers go first. How far a reader is behind is its *debt*: it grows while the reader waits, and shrinks by as long as what it got
//! lasts in a player. With a debt of [`LATE`] the next block that is missing comes from the origin, with nobody to ask already at
//! [`ALONE`]. Where peers gave nothing at all since the last block came from there, those behind it follow at once, up to
//! [`AHEAD`] of the reader. As soon as peers deliver again, it is their turn.
//!
//! At any time there is one request for a swarm. A server that fails is left alone for a while, longer each time; one that sends
//! what is not the content is not asked again.

mod fetch;
mod hashes;
mod late;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ppsp_core::{ChunkRange, Claim, RangeSet};
use ppsp_peer_proto::SupplyError;
use tokio::{
    sync::{mpsc::WeakUnboundedSender, oneshot},
    time::{MissedTickBehavior, interval},
};

use super::{Shared, lock, task::Command};
use fetch::Trouble;
use hashes::{Layout, Pieces};
use late::Lateness;

pub use fetch::Origin;
pub use hashes::{hash_file_name, write_hash_file};

/// A reader that is so far behind does not wait for peers any longer. Players keep some seconds ahead, and a request that a peer
/// does not answer is asked of another within about one; so this is too late for the swarm and not yet for the viewer.
const LATE: Duration = Duration::from_millis(1500);
/// The same where no peer is there. Those that will be there within that time are better.
const ALONE: Duration = Duration::from_millis(500);
/// So far ahead of a reader the origin goes on alone.
const AHEAD: u64 = 1 << 20;
/// Between two looks at the readers.
const LOOK: Duration = Duration::from_millis(100);
/// After a failure; doubled with each more, up to the longest.
const PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// Pieces of the hash file that are kept: of each some KiB.
const MAX_PIECES: usize = 64;

/// How an origin stands.
#[derive(Clone, Debug, Default)]
pub struct OriginStatus {
    /// Where it is.
    pub url: String,
    /// What was wrong with it last, until it gives something again.
    pub trouble: Option<String>,
}

/// Stands by until the swarm ends.
pub(super) async fn stand_by(origin: Origin, swarm: Arc<Shared>, commands: WeakUnboundedSender<Command>) {
    let status = OriginStatus { url: origin.url().to_owned(), trouble: None };
    lock(&swarm.status).origin = Some(status);
    let bandwidth = origin.bandwidth;
    let mut fallback = Fallback {
        origin,
        swarm,
        commands,
        lateness: Lateness::new(bandwidth),
        supplied: RangeSet::new(),
        from_peers: 0,
        pieces: Pieces::new(),
        hashless: false,
        pause: PAUSE,
    };
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut rest_until = Instant::now();
    loop {
        look.tick().await;
        if fallback.has_ended() {
            return;
        }
        while let Some(block) = fallback.next().filter(|_| rest_until <= Instant::now()) {
            match fallback.bring(block).await {
                Ok(()) => {
                    fallback.pause = PAUSE;
                    fallback.say(None);
                }
                Err(Failed::Lies) => {
                    fallback.say(Some("it sent what is not the content, and is not asked again".to_owned()));
                    return;
                }
                Err(Failed::Now(why)) => {
                    fallback.say(Some(why));
                    rest_until = Instant::now() + fallback.pause;
                    fallback.pause = (fallback.pause * 2).min(LONGEST_PAUSE);
                }
                Err(Failed::Ended) => return,
            }
        }
    }
}

/// What is known of an origin and of those who wait.
struct Fallback {
    origin: Origin,
    swarm: Arc<Shared>,
    commands: WeakUnboundedSender<Command>,
    lateness: Lateness,
    /// Chunks that came from there.
    supplied: RangeSet,
    /// Bytes that had come from peers when the last of them came.
    from_peers: u64,
    /// Of the hash file.
    pieces: Pieces,
    /// It has no hash file.
    hashless: bool,
    pause: Duration,
}

/// Why a block did not come.
enum Failed {
    /// It is not the content: never again.
    Lies,
    /// It may be better later.
    Now(String),
    /// The swarm is gone.
    Ended,
}

impl Fallback {
    fn has_ended(&self) -> bool {
        self.commands.strong_count() == 0 || self.swarm.state.borrow().failed.is_some()
    }

    fn say(&self, trouble: Option<String>) {
        if let Some(why) = &trouble {
            tracing::warn!("{}: {why}", self.origin.url());
        }
        let mut status = lock(&self.swarm.status);
        let Some(origin) = status.origin.as_mut().filter(|origin| origin.trouble != trouble) else { return };
        origin.trouble = trouble;
        drop(status);
        self.swarm.state.send_modify(|state| state.step = state.step.wrapping_add(1));
    }

    fn layout(&self) -> Option<Layout> {
        Some(Layout::new(&self.swarm.metadata, self.swarm.state.borrow().length?))
    }

    /// The block that somebody waits for and peers do not give.
    fn next(&mut self) -> Option<ChunkRange> {
        let layout = self.layout()?;
        let readers = self.swarm.readers().reading();
        let store = &self.swarm.store;
        let late = self.lateness.look(Instant::now(), &readers, |at| store.held_from(at));
        let size = u64::from(self.swarm.metadata.chunk_size).max(1);
        let (alone, quiet) = {
            let status = lock(&self.swarm.status);
            (!status.peers.values().any(|moved| moved.up), status.downloaded == self.from_peers)
        };
        let limit = if alone { ALONE } else { LATE };
        let due = late.into_iter().find(|reader| {
            let follows = (reader.missing / size).checked_sub(1).is_some_and(|before| self.supplied.contains(before));
            reader.is_waiting && reader.debt >= limit || quiet && follows && reader.held < AHEAD
        })?;
        layout.block(due.missing / size)
    }

    /// Fetches a block, and has the swarm take it.
    async fn bring(&mut self, block: ChunkRange) -> Result<(), Failed> {
        let (Some(layout), Some(length)) = (self.layout(), self.swarm.state.borrow().length) else {
            return Err(Failed::Now("the length of the content is not known".to_owned()));
        };
        let hashes = self.hashes(&layout, block).await?;
        let size = u64::from(self.swarm.metadata.chunk_size);
        let bytes = block.first() * size..length.min((block.last() + 1) * size);
        let data = self.origin.content(bytes).await.map_err(|trouble| Failed::Now(trouble.to_string()))?;
        let (answer, supplied) = oneshot::channel();
        let command = Command::Supply { swarm: self.swarm.key, first: block.first(), data, hashes, answer };
        let commands = self.commands.upgrade().ok_or(Failed::Ended)?;
        commands.send(command).map_err(|_| Failed::Ended)?;
        drop(commands);
        match supplied.await.map_err(|_| Failed::Ended)? {
            Ok(_) => {
                self.supplied.insert(block);
                self.from_peers = lock(&self.swarm.status).downloaded;
                Ok(())
            }
            Err(SupplyError::UnknownSwarm) => Err(Failed::Ended),
            Err(SupplyError::Corrupt) => Err(Failed::Lies),
            Err(SupplyError::Unproven) => {
                let name = hash_file_name(&self.swarm.metadata);
                Err(Failed::Now(format!("it has no {name}, so that what it sends cannot be verified")))
            }
            Err(error) => Err(Failed::Now(error.to_string())),
        }
    }

    /// What its hash file says of a block. Without one, there is what peers have proven, and content of a single block needs none.
    async fn hashes(&mut self, layout: &Layout, block: ChunkRange) -> Result<Vec<Claim>, Failed> {
        if self.hashless {
            return Ok(Vec::new());
        }
        if self.pieces.len() > MAX_PIECES {
            self.pieces.clear();
        }
        for piece in layout.pieces(block) {
            if self.pieces.contains_key(&piece.start) {
                continue;
            }
            match self.origin.hashes(piece.clone()).await {
                Ok(bytes) => _ = self.pieces.insert(piece.start, bytes),
                Err(Trouble::Missing(_)) => {
                    self.hashless = true;
                    return Ok(Vec::new());
                }
                Err(trouble) => return Err(Failed::Now(trouble.to_string())),
            }
        }
        layout.claims(block, &self.pieces).ok_or(Failed::Lies)
    }
}
