//! The endpoint: all swarms and peers of one socket.
//!
//! One file for each concern: `handshake` opens and closes channels, `receive` turns bytes into meaning and has chunks
//! verified, `download` asks for chunks, `upload` serves them, `push` sends what nobody has asked for, `announce` tells
//! what is held, `transmit` writes datagrams, `uplink` keeps them from filling the way out of the host, `pex` exchanges
//! addresses, `supply` takes content that came by another way, `integrity` says what is right, `live` what is peculiar to
//! live streams. `channel` and `swarm` hold the state that they share. This file holds the calling contract.

mod announce;
mod bans;
mod channel;
mod chunk_map;
mod config;
mod download;
mod event;
mod handshake;
mod integrity;
mod ledger;
mod live;
mod meter;
mod order;
mod path_mtu;
mod pex;
mod push;
mod receive;
mod slab;
mod stats;
mod supply;
mod swarm;
mod timers;
mod transmit;
mod uplink;
mod upload;
mod view;
mod windows;

use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet, VecDeque},
    vec::Vec,
};
use core::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    time::Duration,
};

use ppsp_core::{
    Bin, ChunkRange, Claim, ContentStore, Instant, MetadataError, RangeSet, StoreError, SwarmId, SwarmMetadata,
    Verdict, Verifier, live::LiveError,
};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

use self::{
    bans::Bans,
    channel::{Channel, Phase},
    chunk_map::ChunkMap,
    integrity::Integrity,
    live::Live,
    meter::{Bucket, Meter},
    receive::Batch,
    slab::Slab,
    swarm::{Store, SwarmState},
    timers::{Timer, Timers},
    uplink::Uplink,
    upload::Beside,
    windows::{Change, Windows},
};
use crate::{policy::Candidate, wire::ChannelId};

pub use config::{Congestion, EndpointConfig, SwarmConfig};
pub use event::{Event, PeerKey, Reason, SwarmKey};
pub use live::{LiveOptions, PushError};
pub use stats::{PeerStats, Stats};
pub use supply::SupplyError;
pub use view::{Swarm, SwarmMut};

/// Received bytes, borrowed for the call: one datagram, or several of `stride` bytes each (GRO).
#[derive(Clone, Copy, Debug)]
pub struct Datagrams<'a> {
    /// Who sent them.
    pub remote: SocketAddr,
    /// The bytes.
    pub data: &'a [u8],
    /// Length of each datagram but the last.
    pub stride: usize,
}

impl<'a> Datagrams<'a> {
    /// A single datagram.
    pub fn one(remote: SocketAddr, data: &'a [u8]) -> Self {
        Self { remote, data, stride: data.len() }
    }
}

/// Bytes to send: the first `len` of the buffer given to [`Endpoint::poll_transmit`].
#[must_use]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Transmit {
    /// Where to.
    pub destination: SocketAddr,
    /// Bytes written.
    pub len: usize,
    /// Length of each datagram but the last, where there is more than one (GSO).
    pub segment_size: Option<NonZeroUsize>,
}

/// What [`Endpoint::handle_store`] is told.
#[non_exhaustive]
#[derive(Debug)]
pub enum StoreDone {
    /// These may be read now, after [`Read::Pending`](ppsp_core::Read::Pending).
    Readable(ChunkRange),
    /// These are held now, after [`Write::Queued`](ppsp_core::Write::Queued).
    Written(ChunkRange),
    /// There is room again, after [`Write::Busy`](ppsp_core::Write::Busy).
    Room,
    /// It failed; the swarm stands still.
    Failed(StoreError),
}

/// One UDP socket's worth of protocol: all swarms and peers on it. No I/O, clock, thread or entropy inside.
///
/// Call **inputs** and **commands** in any order, then drain the **outputs** whenever convenient. No call is forbidden
/// at any moment; [`poll_timeout`](Self::poll_timeout) names the latest moment at which the next drain is due.
pub struct Endpoint {
    channels: Slab<Channel>,
    swarms: Slab<swarm::Swarm>,
    /// Channels by the ID that their peer puts before its datagrams.
    by_id: BTreeMap<ChannelId, usize>,
    /// Channels by swarm and address.
    at: BTreeSet<(usize, SocketAddr, usize)>,
    by_swarm_id: BTreeMap<SwarmId, usize>,
    by_key: BTreeMap<SwarmKey, usize>,
    /// Handshakes answered and not completed, by age.
    half_open: BTreeSet<(Instant, usize)>,
    /// Channels that others opened, complete: how many, and from where.
    inbound: usize,
    inbound_from: BTreeMap<(IpAddr, u16), usize>,
    /// When a newcomer last found no place, and those that are silent had to make room.
    room_made_at: Option<Instant>,
    /// Closing HANDSHAKEs to be sent: where to, to which channel, whether with the version.
    farewells: VecDeque<(SocketAddr, ChannelId, bool)>,
    next_key: u64,
    /// Swarms that the embedder changed.
    stirred: Vec<(usize, Change)>,
    shared: Shared,
    // Kept between calls for their capacity.
    /// Channels whose peers said something in the datagrams that are being handled.
    answered: Vec<usize>,
    proven: Vec<Claim>,
    claims: Vec<Claim>,
    verdicts: Vec<Verdict>,
    late_haves: Vec<ChunkRange>,
    hashes: Vec<Bin>,
    beside: Beside,
}

/// What all parts of the endpoint use.
struct Shared {
    config: EndpointConfig,
    rng: ChaCha20Rng,
    /// The last `now`.
    now: Instant,
    stats: Stats,
    timers: Timers,
    /// Channels that may have something to send.
    ready: VecDeque<usize>,
    events: VecDeque<Event>,
    bans: Bans,
    /// Bytes asked for and not received.
    requested: usize,
    upload: Option<Bucket>,
    uplink: Uplink,
    download: Option<Bucket>,
    /// Channels that wait for the uplink or the upload limit, in turn.
    throttled: VecDeque<usize>,
    picked: Vec<ChunkRange>,
}

impl Shared {
    /// The channel may have something to send.
    fn wake(&mut self, i: usize, channel: &mut Channel) {
        if !core::mem::replace(&mut channel.in_ready, true) {
            self.ready.push_back(i);
        }
    }

    /// When a chunk of so many bytes may be sent, where the uplink or the upload limit bids it wait.
    fn must_wait(&mut self, now: Instant, bytes: u64) -> Option<Instant> {
        let buckets = [self.uplink.bucket(), self.upload.as_mut()].into_iter().flatten();
        buckets.map(|bucket| bucket.ready_at(now, bytes)).max().filter(|&at| at > now)
    }

    /// Bytes that the uplink and the upload limit let pass now.
    fn may_pass(&mut self, now: Instant) -> u64 {
        let buckets = [self.uplink.bucket(), self.upload.as_mut()].into_iter().flatten();
        buckets.map(|bucket| bucket.ready(now)).min().unwrap_or(u64::MAX)
    }

    fn tell(&mut self, event: Event) {
        // Events about swarms are merged, so that there are few of them at a time.
        let of_peer = matches!(event, Event::PeerUp { .. } | Event::PeerDown { .. });
        if of_peer && self.events.len() >= self.config.max_events {
            self.stats.dropped_events += 1;
        } else {
            self.events.push_back(event);
        }
    }
}

/// Commands.
impl Endpoint {
    /// `seed` is all the chance the endpoint ever uses: same seed and same inputs, same outputs. It must be hard to
    /// guess, for channel IDs are drawn from it.
    pub fn new(config: EndpointConfig, seed: [u8; 32], now: Instant) -> Self {
        // A burst of a tenth of a second, and whole datagrams in any case.
        let bucket = |limit: Option<u64>| limit.map(|rate| Bucket::new(now, rate, (rate / 10).max(64 * 1024)));
        Self {
            channels: Slab::new(),
            swarms: Slab::new(),
            by_id: BTreeMap::new(),
            at: BTreeSet::new(),
            by_swarm_id: BTreeMap::new(),
            by_key: BTreeMap::new(),
            half_open: BTreeSet::new(),
            inbound: 0,
            inbound_from: BTreeMap::new(),
            room_made_at: None,
            farewells: VecDeque::new(),
            next_key: 0,
            stirred: Vec::new(),
            shared: Shared {
                rng: ChaCha20Rng::from_seed(seed),
                now,
                stats: Stats::default(),
                timers: Timers::new(now),
                ready: VecDeque::new(),
                events: VecDeque::new(),
                bans: Bans::new(config.max_bans, config.ban_time),
                requested: 0,
                upload: bucket(config.upload_limit),
                uplink: Uplink::new(now),
                download: bucket(config.download_limit),
                throttled: VecDeque::new(),
                picked: Vec::new(),
                config,
            },
            answered: Vec::new(),
            proven: Vec::new(),
            claims: Vec::new(),
            verdicts: Vec::new(),
            late_haves: Vec::new(),
            hashes: Vec::new(),
            beside: Beside::default(),
        }
    }

    /// Opens a swarm over `store`. What the store says it holds is believed as far as its hashes lead to the root.
    pub fn open(
        &mut self,
        now: Instant,
        config: SwarmConfig,
        store: Box<dyn ContentStore>,
    ) -> Result<SwarmKey, OpenError> {
        self.advance(now);
        let SwarmConfig { metadata, picker, choker, congestion, live } = config;
        if self.by_swarm_id.contains_key(&metadata.id) {
            return Err(OpenError::AlreadyOpen);
        }
        let mut store = Store(store);
        let (integrity, held) = if metadata.integrity.is_live() {
            // What is with the store from before has lost its munros: nobody could be told that it is right.
            (Integrity::Live(Box::new(Live::new(&metadata, live.unwrap_or_default())?)), RangeSet::new())
        } else {
            let (verifier, held) = restore(&metadata, &mut store)?;
            (Integrity::Static(Box::new(verifier)), held)
        };
        self.next_key += 1;
        let key = SwarmKey(self.next_key);
        let id = metadata.id.clone();
        let known = integrity.peaks_proven();
        let mut swarm = swarm::Swarm {
            state: SwarmState {
                key,
                told_size: if known { (integrity.known_chunks(), integrity.content_length()) } else { (None, None) },
                metadata,
                integrity,
                held,
                writing: RangeSet::new(),
                busy: RangeSet::new(),
                asked_of: ChunkMap::default(),
                windows: Windows::default(),
                fresh: RangeSet::new(),
                held_back: (now, RangeSet::new()),
                announce_at: None,
                rechoke_at: None,
                hurry_at: None,
                indexed: false,
                complete: false,
                stuffed: false,
                failed: false,
                error: None,
                channels: BTreeSet::new(),
                starving: Vec::new(),
                congestion,
                learned: VecDeque::new(),
                downloaded: 0,
                meter: Meter::new(now),
                supplied: 0,
                uploaded: 0,
                told_progress: false,
                told_learned: false,
            },
            store,
            picker,
            choker,
        };
        swarm.state.complete = swarm.state.has_all_wanted();
        if swarm.state.complete {
            self.shared.tell(Event::Complete { swarm: key });
        }
        swarm.index(&mut self.shared.rng, core::iter::empty());
        let slot = self.swarms.insert(swarm);
        self.by_swarm_id.insert(id, slot);
        self.by_key.insert(key, slot);
        Ok(key)
    }

    /// Closes a swarm: its peers get a closing HANDSHAKE with the next datagrams. Hands the store back.
    pub fn close(&mut self, now: Instant, swarm: SwarmKey) -> Option<Box<dyn ContentStore>> {
        self.advance(now);
        let slot = self.by_key.remove(&swarm)?;
        self.drop_all(slot);
        let swarm = self.swarms.remove(slot)?;
        self.by_swarm_id.remove(&swarm.state.metadata.id);
        self.shared.timers.clear(Timer::Swarm(slot));
        Some(swarm.store.0)
    }

    /// Starts a handshake. The key returned is the one in later events.
    pub fn connect(&mut self, now: Instant, swarm: SwarmKey, remote: SocketAddr) -> Result<PeerKey, ConnectError> {
        self.advance(now);
        self.open_channel(now, swarm, remote)
    }

    /// Ends a channel, with a closing HANDSHAKE.
    pub fn disconnect(&mut self, now: Instant, peer: PeerKey) {
        self.advance(now);
        if let Some((i, _)) = self.find(peer) {
            self.drop_channel(now, i, Reason::Local, true);
        }
    }

    /// A look at a swarm.
    pub fn swarm(&self, swarm: SwarmKey) -> Option<Swarm<'_>> {
        let state = &self.swarms.get(self.swarm_slot(swarm)?)?.state;
        Some(Swarm { state, channels: &self.channels })
    }

    /// A hold of a swarm.
    pub fn swarm_mut(&mut self, swarm: SwarmKey) -> Option<SwarmMut<'_>> {
        let slot = self.swarm_slot(swarm)?;
        Some(SwarmMut { swarm: self.swarms.get_mut(slot)?, slot, stirred: &mut self.stirred })
    }

    /// What is known of a peer; `None` once it is gone.
    pub fn peer(&self, peer: PeerKey) -> Option<PeerStats> {
        let (_, channel) = self.find(peer)?;
        let state = &self.swarms.get(channel.swarm)?.state;
        Some(PeerStats {
            remote: channel.remote,
            outbound: channel.outbound,
            up: channel.is_up(),
            has_chunks: channel.have.len(),
            complete: channel.is_complete(state.chunks()),
            downloaded: channel.down.bytes,
            uploaded: channel.up.bytes,
            download_rate: channel.down.meter.rate(self.shared.now),
            upload_rate: channel.up.meter.rate(self.shared.now),
            rtt: channel.up.rtt.srtt().or(channel.down.rtt),
            chokes_us: channel.down.choked,
            choked: channel.up.choked,
            requested: channel.down.asked.len(),
        })
    }

    /// Counters.
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }
}

/// Inputs. None fails: what a stranger sends is counted, never an error.
impl Endpoint {
    /// Takes what one receive call returned; chunks in it are hashed together.
    pub fn handle<'a>(&mut self, now: Instant, received: impl IntoIterator<Item = Datagrams<'a>>) {
        self.advance(now);
        let mut batch = Batch::new(core::mem::take(&mut self.claims));
        for datagrams in received {
            self.on_received(now, &datagrams, &mut batch);
        }
        self.verify(now, &mut batch);
        self.claims = batch.take_claims();
        self.after_datagrams(now);
    }

    /// Time has come to `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        // The wheel does not turn back, whatever the clock does.
        let now = self.shared.now;
        while let Some(timer) = self.shared.timers.take_due(now) {
            match timer {
                Timer::Channel(i) => self.on_channel_timer(now, i),
                Timer::Swarm(slot) => self.on_swarm_timer(now, slot),
                Timer::Upload => self.on_upload_timer(now),
            }
        }
    }

    /// The system refused to send a datagram of `len` bytes to `remote`, for it is too big for the way there. What was in
    /// it is lost; no larger one is tried.
    pub fn handle_too_big(&mut self, now: Instant, remote: SocketAddr, len: usize) {
        self.advance(now);
        for slot in self.by_key.values() {
            for &(.., i) in self.at.range((*slot, remote, 0)..=(*slot, remote, usize::MAX)) {
                if let Some(channel) = self.channels.get_mut(i) {
                    channel.up.path.on_refused(now, len);
                }
            }
        }
    }

    /// What the store owed after `Pending`, `Queued` or `Busy` is there.
    pub fn handle_store(&mut self, now: Instant, swarm: SwarmKey, done: StoreDone) {
        self.advance(now);
        let Some(slot) = self.swarm_slot(swarm) else { return };
        let Some(swarm) = self.swarms.get_mut(slot) else { return };
        match done {
            StoreDone::Readable(_) => {
                for &i in &swarm.state.channels {
                    if let Some(channel) = self.channels.get_mut(i).filter(|c| c.up.parked) {
                        channel.up.parked = false;
                        self.shared.wake(i, channel);
                    }
                }
            }
            StoreDone::Written(range) => {
                let mut written = swarm.state.writing.clone();
                written.intersect_with(&[range].into_iter().collect());
                swarm.state.writing.subtract(&written);
                swarm.state.busy.subtract(&written);
                let announceable = |run| match swarm.state.integrity.live_mut() {
                    Some(live) => live.announceable(run),
                    None => Some(run),
                };
                let written: RangeSet = written.runs().filter_map(announceable).collect();
                swarm.state.held.union_with(&written);
                swarm.state.fresh.union_with(&written);
                for run in written.runs() {
                    swarm.state.integrity.forget(&swarm.state.held, run);
                }
                self.after_chunks(now, slot);
            }
            StoreDone::Room => {
                swarm.state.stuffed = false;
                self.stirred.push((slot, Change::Turned));
            }
            StoreDone::Failed(error) => self.fail(slot, error),
        }
    }
}

/// Outputs.
impl Endpoint {
    /// Writes the next run of datagrams for one destination at the front of `buf`: at most `max_segments` of equal
    /// length, of which the last may be shorter. `None`: nothing to send now.
    ///
    /// The buffer must have room for a datagram: [`EndpointConfig::max_datagram`] bytes, or a chunk and 128 bytes where
    /// that is more. With less, what does not fit stays unsent.
    pub fn poll_transmit(&mut self, now: Instant, max_segments: NonZeroUsize, buf: &mut [u8]) -> Option<Transmit> {
        self.advance(now);
        self.transmit(now, max_segments, buf)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        let event = self.shared.events.pop_front()?;
        if let Event::Progress { swarm } | Event::PeersLearned { swarm } | Event::LiveEdge { swarm } = event
            && let Some(swarm) = self.swarm_slot(swarm).and_then(|slot| self.swarms.get_mut(slot))
        {
            match event {
                Event::Progress { .. } => swarm.state.told_progress = false,
                Event::LiveEdge { .. } => {
                    if let Some(live) = swarm.state.integrity.live_mut() {
                        live.told_edge = false;
                    }
                }
                _ => swarm.state.told_learned = false,
            }
        }
        Some(event)
    }

    /// When to call [`handle_timeout`](Self::handle_timeout), at the latest; no later than the last `now` while output
    /// waits. Constant time.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let shared = &self.shared;
        let waiting = !shared.ready.is_empty()
            || !self.farewells.is_empty()
            || !shared.events.is_empty()
            || !self.stirred.is_empty();
        if waiting { Some(shared.now) } else { shared.timers.next() }
    }
}

/// Time and turns.
impl Endpoint {
    fn advance(&mut self, now: Instant) {
        self.shared.now = self.shared.now.max(now);
        while let Some((slot, change)) = self.stirred.pop() {
            let Some(swarm) = self.swarms.get_mut(slot) else { continue };
            let complete = swarm.state.has_all_wanted();
            if complete && !core::mem::replace(&mut swarm.state.complete, complete) {
                self.shared.tell(Event::Complete { swarm: swarm.state.key });
            }
            swarm.state.complete = complete;
            if change == Change::Moved {
                if swarm.state.integrity.live().is_some() {
                    self.withdraw_unwanted(slot);
                }
                self.feed_starving(Some(slot));
                continue;
            }
            self.withdraw_unwanted(slot);
            self.clear_the_way(now, slot);
            let Some(swarm) = self.swarms.get_mut(slot) else { continue };
            let channels = &self.channels;
            let members = swarm.state.channels.clone();
            swarm.index(&mut self.shared.rng, members.iter().filter_map(|&i| channels.get(i)));
            let streams = swarm.state.streams();
            for i in members {
                if let Some(channel) = self.channels.get_mut(i) {
                    if channel.up.streams != streams {
                        let controller = self.shared.config.build_controller(now, streams);
                        channel.up.set_controller(controller, streams);
                    }
                    channel.down.look_again();
                    self.shared.wake(i, channel);
                }
            }
        }
    }

    fn swarm_slot(&self, swarm: SwarmKey) -> Option<usize> {
        self.by_key.get(&swarm).copied()
    }

    fn find(&self, peer: PeerKey) -> Option<(usize, &Channel)> {
        let i = (peer.0 & 0xFF_FFFF) as usize;
        let channel = self.channels.get(i).filter(|c| c.key == peer)?;
        Some((i, channel))
    }

    /// Sets the timer of a channel by its deadlines. What is due already and waits for its turn to send needs none.
    fn schedule(&mut self, i: usize) {
        if let Some(channel) = self.channels.get_mut(i) {
            // After the last of what there was to say: not for each datagram that comes.
            if channel.sent == self.shared.now {
                channel.rest(self.shared.now);
            }
            let c = &self.shared.config;
            let at = channel.deadline(c.keep_alive, c.idle_timeout, c.half_open_timeout);
            if at > self.shared.now || !channel.in_ready {
                self.shared.timers.set_by(Timer::Channel(i), at);
            }
        }
    }

    fn on_channel_timer(&mut self, now: Instant, i: usize) {
        let Some(channel) = self.channels.get_mut(i) else { return };
        if channel.phase != Phase::Up {
            self.check_handshake(now, i);
        } else if channel.is_dead(now, self.shared.config.idle_timeout) {
            // RFC 7574 §3.12: when a peer is declared dead, the channel to it is closed, no more messages will be sent.
            self.drop_channel(now, i, Reason::TimedOut, false);
        } else if channel.is_forgotten(now) {
            return self.call_again(now, i);
        } else {
            channel.pex.on_timer(now);
            let (lost, act) = channel.up.on_timer(now);
            self.shared.stats.chunks_lost += lost;
            let silent = now.saturating_since(channel.sent) >= self.shared.config.keep_alive;
            if act || silent || channel.pex.is_due() {
                self.shared.wake(i, channel);
            }
            self.check_download(now, i);
            self.check_announcements(now, i);
        }
        self.schedule(i);
    }

    /// Bytes may pass again: as many channels as that is enough for have their turn, the others wait on.
    fn on_upload_timer(&mut self, now: Instant) {
        const LEAST_WAIT: Duration = Duration::from_millis(1);
        let left = self.shared.may_pass(now);
        // What those take who have their turn now; they take it only after this.
        let mut promised = 0;
        while let Some(place) = self.next_in_turn(now) {
            let Some(i) = self.shared.throttled.get(place).copied() else { return };
            if let Some(channel) = self.channels.get_mut(i).filter(|channel| channel.up.throttled) {
                let swarm = self.swarms.get(channel.swarm);
                let chunk = swarm.map_or(0, |swarm| u64::from(swarm.state.metadata.chunk_size));
                let wait = self.shared.must_wait(now, promised + chunk);
                // One may always go when the bucket is as full as it gets, however large its chunk is.
                if wait.is_some() || (promised > 0 && left < promised + chunk) {
                    let at = wait.unwrap_or(now).max(now + LEAST_WAIT);
                    return self.shared.timers.set_by(Timer::Upload, at);
                }
                promised += chunk;
                channel.up.throttled = false;
                self.shared.wake(i, channel);
            }
            self.shared.throttled.remove(place);
        }
    }

    /// Whose turn it is of those that wait to send, as place in the queue. Of the first few, as long as none of them has
    /// waited for long:
    ///
    /// * In a swarm that we hold whole or are the source of, who is to be sent what the fewest have: it may be that only we
    ///   can give it, and the sooner there are some copies, the sooner others can.
    /// * Of a live stream otherwise, who is to be sent the oldest: all watch it about as far behind, so it is needed the
    ///   soonest. Whoever fell behind would else be served last, having nothing that others want, and never catch up.
    /// * Elsewhere, who needs it soonest, as far as what it lacks before it tells: who reads lacks little before what it
    ///   reads next, and much before what it fetches ahead.
    fn next_in_turn(&mut self, now: Instant) -> Option<usize> {
        const LOOK_AT: usize = 16;
        const LONG: Duration = Duration::from_millis(300);
        const LONG_AHEAD: Duration = Duration::from_secs(1);
        let Self { channels, swarms, shared, .. } = self;
        let mut best: Option<((bool, u64), usize)> = None;
        for (place, &i) in shared.throttled.iter().enumerate().take(LOOK_AT) {
            let Some(channel) = channels.get_mut(i).filter(|channel| channel.up.throttled) else { return Some(place) };
            let Some(swarm) = swarms.get(channel.swarm) else { return Some(place) };
            let live = swarm.state.integrity.live();
            let has_all = swarm.state.complete || live.is_some_and(|live| live.is_source);
            let long = if has_all { LONG } else { LONG_AHEAD };
            if channel.up.held_back().is_some_and(|since| now.saturating_since(since) >= long) {
                return Some(place);
            }
            let Some(chunk) = channel.up.front(&swarm.state.held, channel.draft) else { return Some(place) };
            let last = has_all && channel.only_takes();
            let rank = if has_all {
                let members = swarm.state.channels.iter().filter_map(|&i| channels.get(i));
                let copies =
                    members.filter(|c| (c.have.contains(chunk) || c.up.sent.contains(chunk)) && !c.only_takes());
                // No more are counted than it takes to see that it is not the one.
                let most = match best {
                    Some(((false, _), _)) if last => 0,
                    Some(((known, least), _)) if known == last => usize::try_from(least).unwrap_or(usize::MAX),
                    _ => usize::MAX,
                };
                copies.take(most).count() as u64
            } else if live.is_some() {
                chunk
            } else {
                order::lacks_before(&channel.have, chunk)
            };
            if best.is_none_or(|(least, _)| (last, rank) < least) {
                best = Some(((last, rank), place));
            }
        }
        best.map(|(_, place)| place)
    }

    fn on_swarm_timer(&mut self, now: Instant, slot: usize) {
        let Some(swarm) = self.swarms.get_mut(slot) else { return };
        let state = &mut swarm.state;
        let rechoke_at = state.rechoke_at;
        if state.announce_at.is_some_and(|at| at <= now) {
            self.announce(now, slot);
        }
        if rechoke_at.is_some_and(|at| at <= now) {
            self.rechoke(now, slot);
            self.part(now, slot);
        }
        if self.swarms.get(slot).is_some_and(|swarm| swarm.state.hurry_at.is_some_and(|at| at <= now)) {
            self.hurry(now, slot);
        }
        let Some(swarm) = self.swarms.get(slot) else { return };
        let dues = [swarm.state.announce_at, swarm.state.rechoke_at, swarm.state.hurry_at];
        if let Some(at) = dues.into_iter().flatten().min() {
            self.shared.timers.set_by(Timer::Swarm(slot), at);
        }
    }

    fn rechoke(&mut self, now: Instant, slot: usize) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(swarm) = swarms.get_mut(slot) else { return };
        let state = &mut swarm.state;
        let chunks = state.chunks();
        let gives_all = state.complete || state.integrity.live().is_some_and(|live| live.is_source);
        let up = state.channels.iter().filter_map(|&i| channels.get(i)).filter(|c| c.is_up());
        let mut candidates: Vec<Candidate> = up
            .map(|c| Candidate {
                peer: c.key,
                interested: !c.is_complete(chunks) && !state.held.is_empty(),
                down: c.down.meter.rate(now),
                up: c.up.meter.rate(now),
                unchoked: !c.up.choked,
                since: c.up.choked_since,
                waiting: !c.up.queued.is_empty(),
                only_takes: gives_all && c.only_takes(),
            })
            .collect();
        if candidates.is_empty() {
            state.rechoke_at = None;
            return;
        }
        let next = swarm.choker.rechoke(now, gives_all, &mut candidates, &mut shared.rng);
        state.rechoke_at = Some(next.max(now + Duration::from_millis(100)));
        for candidate in candidates {
            let i = (candidate.peer.0 & 0xFF_FFFF) as usize;
            let Some(channel) = channels.get_mut(i).filter(|c| c.key == candidate.peer) else { continue };
            if channel.up.choked == candidate.unchoked {
                channel.up.choked = !candidate.unchoked;
                channel.up.choked_since = now;
                channel.up.tell = true;
                // RFC 7574 §3.9: Peer A SHOULD discard old requests.
                channel.up.clear();
                shared.wake(i, channel);
            }
        }
    }

    /// Parts with peers that are of no use: those that hold everything as we do, and the longest idle where a seed has
    /// too many.
    fn part(&mut self, now: Instant, slot: usize) {
        const GRACE: Duration = Duration::from_secs(10);
        const IDLE: Duration = Duration::from_secs(60);
        let Some(swarm) = self.swarms.get(slot) else { return };
        let chunks = swarm.state.chunks();
        if !swarm.state.all().is_some_and(|all| swarm.state.held.covers(all)) {
            return;
        }
        let mut leave = Vec::new();
        let mut idle = Vec::new();
        for &i in &swarm.state.channels {
            let Some(channel) = self.channels.get(i).filter(|c| c.is_up()) else { continue };
            let rest = now.saturating_since(channel.idle_since);
            if rest >= GRACE && channel.is_complete(chunks) {
                leave.push(i);
            } else if rest >= IDLE && channel.up.queued.is_empty() {
                idle.push((channel.idle_since, i));
            }
        }
        idle.sort_unstable();
        let excess = idle.len().saturating_sub(self.shared.config.max_idle_peers);
        leave.extend(idle.iter().take(excess).map(|&(_, i)| i));
        for i in leave {
            self.drop_channel(now, i, Reason::NotNeeded, true);
        }
    }

    /// The store failed: the swarm stands still, its peers are told.
    fn fail(&mut self, slot: usize, error: StoreError) {
        let Some(swarm) = self.swarms.get_mut(slot).filter(|s| !s.state.failed) else { return };
        swarm.state.failed = true;
        swarm.state.error = Some(error);
        self.shared.tell(Event::SwarmFailed { swarm: swarm.state.key });
        self.drop_all(slot);
    }

    fn drop_all(&mut self, slot: usize) {
        let now = self.shared.now;
        let members = self.swarms.get(slot).map(|s| s.state.channels.clone()).unwrap_or_default();
        for i in members {
            self.drop_channel(now, i, Reason::Local, true);
        }
    }
}

/// A verifier of static content, and what of it the store holds, as far as its hashes lead to the root.
fn restore(metadata: &SwarmMetadata, store: &mut Store) -> Result<(Verifier, RangeSet), OpenError> {
    let mut verifier = Verifier::new(metadata)?;
    let mut claimed = RangeSet::new();
    let size = store.0.held(&mut |range| {
        claimed.insert(range);
    })?;
    let mut held = RangeSet::new();
    if let Some(chunks) = size.chunks {
        let mut failed = None;
        let mut read = |node| match store.0.read_hash(node) {
            Ok(hash) => hash,
            Err(error) => {
                failed = Some(error);
                None
            }
        };
        held = verifier.restore(chunks, size.content_length, &claimed, &mut read);
        if let Some(error) = failed {
            return Err(error.into());
        }
    }
    if held.is_empty() && !claimed.is_empty() {
        return Err(OpenError::WrongContent);
    }
    if let Some(chunks) = verifier.chunks().filter(|_| verifier.peaks_proven())
        && (size.chunks, size.content_length) != (Some(chunks), verifier.content_length())
    {
        store.0.set_size(chunks, verifier.content_length())?;
    }
    Ok((verifier, held))
}

/// Why a swarm cannot be opened.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is open already.
    #[error("swarm is already open")]
    AlreadyOpen,
    /// Its metadata makes no sense, or asks for what is not supported.
    #[error("{0}")]
    Metadata(#[from] MetadataError),
    /// A live swarm's ID is no key, or its options make no sense.
    #[error("{0}")]
    Live(#[from] LiveError),
    /// The store failed.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// What the store holds does not belong to this swarm.
    #[error("stored content belongs to another swarm")]
    WrongContent,
}

/// Why a peer cannot be reached for.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ConnectError {
    /// No such swarm.
    #[error("no such swarm")]
    UnknownSwarm,
    /// The limit is reached; try after a `PeerDown`.
    #[error("too many peers")]
    TooManyPeers,
    /// There is a channel to this address already.
    #[error("already connected to this address")]
    AlreadyConnected,
    /// The address misbehaved and stays out for a time.
    #[error("address is banned for a time")]
    Banned,
    /// The address is not one to send to.
    #[error("not an address to send to")]
    BadAddress,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").finish_non_exhaustive()
    }
}
