//! Somebody who watches a live stream, or keeps it.

use std::{
    net::UdpSocket,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use ppsp_core::{ChunkId, ChunkRange, ContentStore, Read, SwarmMetadata, Tree, WindowStore};
use ppsp_peer_proto::{EndpointConfig, LiveOptions, Swarm};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{LivePeer, LiveStatus, Playback, Step, Told};
use crate::{
    cli::{exit::Failure, output::Progress},
    store::Recording,
    trackers,
};

/// Between two looks at peers and the clock.
const TICK: Duration = Duration::from_millis(200);
/// Most bytes that are shown at once.
const PIECE: usize = 64 << 10;
/// So far ahead is fetched; the stream is not as far.
const AHEAD: u64 = 1 << 20;

/// How a stream is watched.
#[derive(Clone, Debug)]
pub struct Watching {
    /// How far behind the source: so long has a chunk to come.
    pub delay: Duration,
    /// How long to go on while nothing comes.
    pub patience: Duration,
    /// Chunks that are kept, in memory: as many as the source keeps, where its link says how many, and no more than are usual.
    pub window: Option<u64>,
    /// Keeps all that is there.
    pub recording: Option<Recording>,
}

impl Watching {
    /// Three seconds behind, and half a minute of patience.
    pub const DELAY: Duration = Duration::from_secs(3);
    /// See [`DELAY`](Self::DELAY).
    pub const PATIENCE: Duration = Duration::from_secs(30);
}

impl Default for Watching {
    fn default() -> Self {
        Self { delay: Self::DELAY, patience: Self::PATIENCE, window: None, recording: None }
    }
}

/// What there is to see.
#[derive(Clone, Debug)]
pub enum Seen {
    /// The stream was found; what is shown begins with this chunk.
    TunedIn(ChunkId),
    /// The next bytes.
    Data(Bytes),
    /// Chunks that did not come; what is shown goes on behind them.
    Skipped(ChunkRange),
    /// Something about peers.
    Told(Told),
    /// How it stands.
    Progress(Progress),
    /// The stream is over. `false`: nobody said so, but nothing came for a long time.
    Ended(bool),
}

/// A swarm that is watched.
#[derive(Debug)]
pub struct Viewer {
    peer: LivePeer,
    watching: Watching,
    playback: Option<Playback>,
    /// The chunk at which it began.
    tuned_in: Option<ChunkId>,
    /// Kept from here on.
    base: ChunkId,
    tick: Interval,
    chunk: Box<[u8]>,
    skipped: Option<ChunkRange>,
    /// The last chunk of the stream was shown.
    ended: bool,
    opened: Instant,
    /// When the stream last moved on, or something came of it.
    moved: Instant,
    /// What was there then.
    seen: (ChunkId, u64),
}

impl Viewer {
    /// Takes part in the swarm, and looks for the stream.
    ///
    /// # Errors
    ///
    /// A socket that cannot be used; a swarm ID that is no key.
    pub fn open(
        socket: UdpSocket,
        config: EndpointConfig,
        metadata: &SwarmMetadata,
        watching: Watching,
    ) -> Result<Self, Failure> {
        let mut options = LiveOptions::default();
        let store: Box<dyn ContentStore> = match &watching.recording {
            Some(recording) => {
                options.config.window = None;
                Box::new(recording.clone())
            }
            None => {
                // A link comes from a stranger.
                options.config.window =
                    options.config.window.map(|usual| watching.window.map_or(usual, |of| of.min(usual)));
                Box::new(WindowStore::new())
            }
        };
        let mut peer = LivePeer::open(socket, config, metadata, options, store)?;
        // Nothing, until it is known where the stream is.
        if let Some(mut swarm) = peer.driver.endpoint.swarm_mut(peer.swarm) {
            swarm.want(Some(&[]));
        }
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let now = Instant::now();
        Ok(Self {
            peer,
            watching,
            playback: None,
            tuned_in: None,
            base: 0,
            tick,
            chunk: vec![0; metadata.chunk_size as usize].into(),
            skipped: None,
            ended: false,
            opened: now,
            moved: now,
            seen: (0, 0),
        })
    }

    /// The peer, for its addresses and trackers.
    pub fn peer(&mut self) -> &mut LivePeer {
        &mut self.peer
    }

    /// How often playback stood still, and how many chunks were left out.
    pub fn losses(&self) -> (u64, u64) {
        self.playback.as_ref().map_or((0, 0), |playback| (playback.stalls(), playback.skipped()))
    }

    /// How the stream stands.
    pub fn status(&mut self) -> LiveStatus {
        let mut status = self.peer.live_status();
        status.first = self.tuned_in;
        if let Some(playback) = &self.playback {
            status.next = Some(playback.next());
            status.behind_seconds = Some(playback.behind(Instant::now()).as_secs_f64());
        }
        (status.stalls, status.skipped) = self.losses();
        status.recorded_bytes = self.watching.recording.as_ref().map(Recording::bytes);
        status
    }

    /// The tree of all, where all was kept.
    ///
    /// # Errors
    ///
    /// A recording that cannot be written.
    pub fn recorded(&mut self) -> Result<Option<Tree>, Failure> {
        self.peer.driver.endpoint.recorded(self.peer.driver.now(), self.peer.swarm).map_err(Failure::other)
    }

    /// What comes next. Without `room` nothing is shown, but all else goes on. May be dropped at any point.
    ///
    /// # Errors
    ///
    /// Nobody answers, nothing of the stream is found, or the socket or the recording failed.
    pub async fn next(&mut self, room: bool) -> Result<Seen, Failure> {
        loop {
            while let Some(told) = self.peer.told() {
                match told {
                    Told::Edge => {
                        if let Some(first) = self.on_edge() {
                            return Ok(Seen::TunedIn(first));
                        }
                    }
                    Told::Tracker(trackers::Told::Refused(why)) if self.peer.knows_nobody() => {
                        return Err(Failure::refused(why));
                    }
                    other => return Ok(Seen::Told(other)),
                }
            }
            let mut due = None;
            if room && !self.ended {
                if let Some(gone) = self.skipped.take() {
                    return Ok(Seen::Skipped(gone));
                }
                let bytes = self.show(&mut due)?;
                if !bytes.is_empty() {
                    return Ok(Seen::Data(bytes));
                }
                if self.skipped.is_some() {
                    continue;
                }
            }
            if self.ended && self.is_settled() {
                return Ok(Seen::Ended(true));
            }
            let due = due.map(tokio::time::Instant::from_std);
            tokio::select! {
                biased;
                _ = self.tick.tick() => {
                    if let Some(seen) = self.on_tick()? {
                        return Ok(seen);
                    }
                }
                () = until(due) => {}
                turned = self.peer.turn() => turned?,
            }
        }
    }

    /// At the end of the stream: others, who are further from the source, still fetch the rest from here. For two delays at most,
    /// and no longer than there are peers.
    ///
    /// # Errors
    ///
    /// A socket that fails.
    pub async fn linger(&mut self) -> Result<(), Failure> {
        let until = Instant::now() + 2 * self.watching.delay;
        while self.peer.tick().peers > 0 && Instant::now() < until {
            tokio::select! {
                _ = self.tick.tick() => {}
                turned = self.peer.turn() => turned?,
            }
        }
        Ok(())
    }

    /// Says goodbye.
    pub async fn close(&mut self) {
        self.peer.close().await;
    }

    /// The stream has moved on. The chunk that is shown first, if it was only found now.
    fn on_edge(&mut self) -> Option<ChunkId> {
        let now = Instant::now();
        let swarm = self.peer.swarm()?;
        let end = swarm.live_end().filter(|&end| end > 0)?;
        if let Some(playback) = &mut self.playback {
            playback.on_edge(end, now);
            return None;
        }
        // The last chunk may be the last of all.
        let first = end - 1;
        self.base = first;
        if let Some(recording) = &self.watching.recording {
            // What peers have from before is kept, too.
            self.base = swarm.first_available()?.min(first);
            recording.begin(self.base);
        }
        self.playback = Some(Playback::new(first, end, now, self.watching.delay));
        self.tuned_in = Some(first);
        self.aim();
        Some(first)
    }

    /// What is shown next is fetched first; then what is kept.
    fn aim(&mut self) {
        let Some(playback) = &self.playback else { return };
        let mut windows: Vec<ChunkRange> = ChunkRange::with_len(playback.next(), AHEAD).into_iter().collect();
        if let Some(mut swarm) = self.peer.driver.endpoint.swarm_mut(self.peer.swarm) {
            if self.watching.recording.is_some() {
                let first = swarm.held().next_gap(self.base).map_or(self.base, |gap| gap.first());
                let before = playback.next().checked_sub(1);
                windows.extend(before.and_then(|last| ChunkRange::new(first, last)));
            }
            swarm.set_windows(&windows);
        }
    }

    /// Chunks whose turn it is, one behind the other.
    fn show(&mut self, due: &mut Option<Instant>) -> Result<Bytes, Failure> {
        let mut bytes = BytesMut::new();
        let Some(playback) = &mut self.playback else { return Ok(bytes.freeze()) };
        let now = Instant::now();
        while bytes.len() + self.chunk.len() <= PIECE.max(self.chunk.len()) {
            let Some(mut swarm) = self.peer.driver.endpoint.swarm_mut(self.peer.swarm) else { break };
            let held = swarm.held();
            match playback.step(now, |from| held.next_set(from).map(|run| run.first())) {
                Step::Show(chunk) => match swarm.read(chunk, &mut self.chunk).map_err(|e| Failure::other(e.0))? {
                    Read::Ready(len) => {
                        bytes.extend_from_slice(self.chunk.get(..len).unwrap_or_default());
                        // What is held has been verified, and so is the end if this is it.
                        let ended = |swarm: Swarm<'_>| swarm.is_live_ended() && swarm.live_end() == Some(chunk + 1);
                        self.ended = self.peer.swarm().is_some_and(ended);
                        if self.ended {
                            break;
                        }
                    }
                    // Neither of the stores makes anybody wait.
                    Read::Missing | Read::Pending => {
                        self.skipped = Some(ChunkRange::single(chunk));
                        break;
                    }
                },
                Step::Skip(gone) => {
                    self.skipped = Some(gone);
                    break;
                }
                Step::Wait(then) => {
                    *due = then;
                    break;
                }
            }
        }
        Ok(bytes.freeze())
    }

    fn on_tick(&mut self) -> Result<Option<Seen>, Failure> {
        let now = Instant::now();
        let progress = self.peer.tick();
        let end = self.peer.swarm().and_then(|swarm| swarm.live_end()).unwrap_or(0);
        if self.seen != (end, progress.downloaded) {
            (self.seen, self.moved) = ((end, progress.downloaded), now);
        }
        if self.playback.is_none()
            && end > 0
            && let Some(first) = self.on_edge()
        {
            return Ok(Some(Seen::TunedIn(first)));
        }
        self.aim();
        let patience = self.watching.patience;
        if self.playback.is_some() {
            let over = now.duration_since(self.moved) >= patience;
            return Ok(Some(if over { Seen::Ended(self.ended) } else { Seen::Progress(progress) }));
        }
        let seconds = patience.as_secs_f64();
        if self.peer.alone(now)? >= patience {
            return Err(Failure::network(format!("no peer answered for {seconds} s: {}", self.peer.describe())));
        }
        if now.duration_since(self.opened) >= patience && progress.peers > 0 {
            return Err(Failure::network(self.why_nothing(seconds)));
        }
        Ok(Some(Seen::Progress(progress)))
    }

    /// There are peers, and no stream.
    fn why_nothing(&self, seconds: f64) -> String {
        if self.peer.driver.endpoint.stats().refused_munros == 0 {
            return format!(
                "peers answer, and for {seconds} s none of them had anything of this stream: its source is off the air"
            );
        }
        let now = time::OffsetDateTime::now_utc();
        format!(
            "what peers have of this stream was not signed at this time: either the clock of this machine is wrong, which says \
             {}-{:02}-{:02} {:02}:{:02} UTC, or that of the source, or the source has stopped",
            now.year(),
            u8::from(now.month()),
            now.day(),
            now.hour(),
            now.minute()
        )
    }

    /// Does nothing that is kept miss any more?
    fn is_settled(&self) -> bool {
        let Some(swarm) = self.peer.swarm().filter(|_| self.watching.recording.is_some()) else { return true };
        let end = swarm.live_end().unwrap_or(0);
        swarm.held().next_gap(self.base).is_none_or(|gap| gap.first() >= end)
    }
}

async fn until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}
