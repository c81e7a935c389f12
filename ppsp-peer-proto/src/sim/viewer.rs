use core::time::Duration;

use ppsp_core::{ChunkRange, Instant};

use super::{NodeId, Peer, Swarm, World};

/// How somebody watches.
#[derive(Clone, Copy, Debug)]
pub struct Screen {
    /// Bytes of content that are played in a second.
    pub bitrate: u64,
    /// What has to be there before the picture moves, at first and after each stall.
    pub start: Duration,
    /// What the player reads before it is played.
    pub buffer: Duration,
    /// What the player's source fetches before it is read: the length of its window.
    pub ahead: Duration,
}

/// Somebody who watches, at a [`Peer`]: plays at the bitrate, stands still where the next byte is missing, and says what
/// is needed next, as a player behind an HTTP gateway does.
#[derive(Clone, Debug)]
pub struct Viewer {
    peer: NodeId,
    screen: Screen,
    chunk: u64,
    length: u64,
    /// The next byte that is shown.
    position: u64,
    state: State,
    /// When the picture last began to wait.
    waits_since: Instant,
    first_frame: Option<Duration>,
    last_wait: Duration,
    played: Duration,
    stalled: Duration,
    stalls: u32,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    /// For the first picture, there or after a jump.
    Opening,
    Playing,
    Stalled,
    Gone,
}

impl Viewer {
    /// Time from one picture to the next: nothing is seen sooner.
    pub const FRAME: Duration = Duration::from_millis(20);

    /// Sits down before the first byte.
    pub fn new(swarm: &Swarm, peer: NodeId, screen: Screen) -> Self {
        Self {
            peer,
            screen,
            chunk: swarm.content.metadata().chunk_size.into(),
            length: swarm.content.length(),
            position: 0,
            state: State::Opening,
            waits_since: swarm.world.now(),
            first_frame: None,
            last_wait: Duration::ZERO,
            played: Duration::ZERO,
            stalled: Duration::ZERO,
            stalls: 0,
        }
    }

    /// Lets a picture's time pass, and says what is needed now.
    pub fn step(&mut self, world: &mut World) {
        let there = self.there(world);
        let enough = self.bytes(self.screen.start).min(self.length - self.position);
        let frame = self.bytes(Self::FRAME).min(self.length - self.position);
        match self.state {
            State::Gone => return,
            State::Playing if there < frame => {
                self.state = State::Stalled;
                self.waits_since = world.now();
                self.stalls += 1;
            }
            State::Playing => {
                self.position += frame;
                self.played += Self::FRAME;
            }
            State::Opening | State::Stalled if there >= enough => {
                self.last_wait = world.now().saturating_since(self.waits_since);
                self.first_frame.get_or_insert(self.last_wait);
                self.state = State::Playing;
            }
            State::Opening => {}
            State::Stalled => self.stalled += Self::FRAME,
        }
        if self.position >= self.length {
            return self.leave(world);
        }
        self.tell(world);
    }

    /// Goes on watching from another byte.
    pub fn seek(&mut self, world: &mut World, to: u64) {
        self.position = to.min(self.length);
        self.state = State::Opening;
        self.waits_since = world.now();
        self.tell(world);
    }

    /// Stops watching.
    pub fn leave(&mut self, world: &mut World) {
        self.state = State::Gone;
        world.act(self.peer, |peer: &mut Peer, _| peer.set_windows(&[]));
    }

    /// Where it watches.
    pub fn peer(&self) -> NodeId {
        self.peer
    }

    /// Has it seen everything, or left?
    pub fn is_gone(&self) -> bool {
        self.state == State::Gone
    }

    /// Does the picture move?
    pub fn is_playing(&self) -> bool {
        self.state == State::Playing
    }

    /// How long it took until the picture moved first.
    pub fn first_frame(&self) -> Option<Duration> {
        self.first_frame
    }

    /// How long it took until the picture moved again, after the last jump or stall.
    pub fn last_wait(&self) -> Duration {
        self.last_wait
    }

    /// How often it stalled.
    pub fn stalls(&self) -> u32 {
        self.stalls
    }

    /// Time played, as part of the time played and stalled.
    pub fn continuity(&self) -> f64 {
        let (played, stalled) = (self.played.as_secs_f64(), self.stalled.as_secs_f64());
        if played + stalled == 0.0 { 0.0 } else { played / (played + stalled) }
    }

    fn tell(&self, world: &mut World) {
        let window = self.window(world);
        world.act(self.peer, |peer: &mut Peer, _| peer.set_windows(window.as_slice()));
    }

    /// From the first byte that the player lacks and has room for.
    fn window(&self, world: &World) -> Option<ChunkRange> {
        let read = self.position + self.there(world).min(self.bytes(self.screen.buffer));
        let end = (read + self.bytes(self.screen.ahead)).min(self.length);
        ChunkRange::new(read / self.chunk, end.checked_sub(1)? / self.chunk)
    }

    /// Bytes that are there from the next one on.
    fn there(&self, world: &World) -> u64 {
        let run = world.peer(self.peer).held().run_at(self.position / self.chunk);
        run.map_or(0, |run| ((run.last() + 1) * self.chunk).min(self.length) - self.position)
    }

    fn bytes(&self, time: Duration) -> u64 {
        u64::try_from(u128::from(self.screen.bitrate) * time.as_micros() / 1_000_000).unwrap_or(u64::MAX)
    }
}
