use alloc::{boxed::Box, sync::Arc, vec::Vec};
use core::time::Duration;

use ppsp_core::{
    ChunkAddressing, ChunkId, ChunkRange, ContentStore, HashAlg, Instant, IntegrityMethod, SwarmMetadata,
    live::{LiveSource, Munro, NtpTime},
    signature::{PrivateKey, SignatureAlgorithm, Signer},
};

use super::{Access, Chance, Content, LinkConfig, NodeId, Peer, SimStore, Speech, World, node_address};
use crate::{Congestion, EndpointConfig, Event, LiveOptions, PushError, SwarmConfig, policy::LivePicker};

/// A live stream: its source, those who watch, and the content that the source makes, second by second, at a fixed
/// rate.
#[derive(Debug)]
pub struct Broadcast {
    /// Where it takes place.
    pub world: World,
    /// All that is broadcast, beforehand.
    pub content: Arc<Content>,
    /// Bytes of content in a second.
    pub bitrate: u64,
    /// The source.
    pub source: NodeId,
    /// Those who watch, and those who have left.
    pub watchers: Vec<Watcher>,
    /// What peers keep, in chunks.
    pub window: Option<u64>,
    metadata: SwarmMetadata,
    seed: u64,
    began: Instant,
    pushed: ChunkId,
    /// The source has not ended or failed.
    on_air: bool,
}

/// Chunks under a munro.
const CHUNKS_PER_SIGNATURE: u32 = 32;

/// Somebody who watches a [`Broadcast`], always so much behind what they found when they came: what is not there when
/// it is its turn is never shown.
#[derive(Clone, Debug)]
pub struct Watcher {
    /// Where.
    pub peer: NodeId,
    delay: Duration,
    /// When the stream was found, and the chunk that was the next one then.
    tuned: Option<(Instant, ChunkId)>,
    next: ChunkId,
    shown: u64,
    missed: u64,
    gone: bool,
}

impl Watcher {
    /// Part of the chunks that were there in time.
    pub fn continuity(&self) -> f64 {
        let all = self.shown + self.missed;
        if all == 0 { 0.0 } else { self.shown as f64 / all as f64 }
    }

    /// Was anything to be shown yet?
    pub fn has_begun(&self) -> bool {
        self.shown + self.missed > 0
    }

    /// Chunks that were shown.
    pub fn shown(&self) -> u64 {
        self.shown
    }
}

impl Broadcast {
    /// How often the source makes something and watchers look.
    const TICK: Duration = Duration::from_millis(40);
    /// A watcher waits so long for the first picture.
    const START: Duration = Duration::from_secs(2);

    /// A stream of `length` bytes that has not begun, in a Unified Merkle Tree. The source is connected to the network by
    /// `access`.
    pub fn new(seed: u64, bitrate: u64, length: u64, link: LinkConfig, access: Access) -> Self {
        Self::protected(IntegrityMethod::UnifiedMerkleTree, seed, bitrate, length, link, access)
    }

    /// The same, with the method of live content that is given.
    pub fn protected(
        integrity: IntegrityMethod,
        seed: u64,
        bitrate: u64,
        length: u64,
        link: LinkConfig,
        access: Access,
    ) -> Self {
        let mut world = World::new(seed, link);
        let content = Content::new(seed, length as usize, 1024, HashAlg::Sha256, ChunkAddressing::Range32);
        let metadata = SwarmMetadata { integrity, ..SwarmMetadata::of_key(Self::key(1).public_key()) };
        let source = Self::station(&mut world, &content, &metadata, seed, access, 0);
        let began = world.now();
        Self {
            world,
            content,
            bitrate,
            source,
            watchers: Vec::new(),
            window: Some(1 << 14),
            metadata,
            seed,
            began,
            pushed: 0,
            on_air: true,
        }
    }

    /// A source that goes on behind so many chunks.
    fn station(
        world: &mut World,
        content: &Arc<Content>,
        metadata: &SwarmMetadata,
        seed: u64,
        access: Access,
        chunks: u64,
    ) -> NodeId {
        let key = Box::new(Self::key(1));
        let source = LiveSource::new(metadata, Default::default(), CHUNKS_PER_SIGNATURE, key);
        let mut options = LiveOptions::default();
        options.config.window = Some(1 << 14);
        options.source = Some(source.expect("a source").starting_at(chunks));
        // So that not the network but the source decides what waits.
        let upload_limit = access.up.map(|up| up * 4 / 5);
        let config = EndpointConfig { max_probed_datagram: 0, upload_limit, ..EndpointConfig::default() };
        let n = world.nodes() as u64;
        let mut peer = Peer::new(node_address(n), config, Chance::bytes(seed, "endpoint", n));
        let store = Box::new(SimStore::empty(content).live());
        peer.join_with(world.now(), content, Self::config(metadata, options), store);
        world.add(peer, access)
    }

    /// After the source has failed, another takes its place, with the same key, at the next munro. Those who watch know it.
    pub fn restart(&mut self, access: Access) {
        self.pushed = self.pushed / u64::from(CHUNKS_PER_SIGNATURE) * u64::from(CHUNKS_PER_SIGNATURE);
        self.source = Self::station(&mut self.world, &self.content, &self.metadata, self.seed, access, self.pushed);
        self.on_air = true;
        let present: Vec<NodeId> = self.present().map(|watcher| watcher.peer).collect();
        present.into_iter().for_each(|id| _ = self.world.connect(id, self.source));
    }

    /// The key of a channel.
    pub fn key(n: u8) -> PrivateKey {
        PrivateKey::generate(SignatureAlgorithm::Ed25519, &[n; 32]).expect("a key")
    }

    /// What every peer knows of the stream.
    pub fn metadata(&self) -> SwarmMetadata {
        self.metadata.clone()
    }

    fn config(metadata: &SwarmMetadata, options: LiveOptions) -> SwarmConfig {
        let mut config = SwarmConfig::new(metadata.clone());
        config.congestion = Congestion::Streaming;
        config.picker = Box::new(LivePicker::default());
        config.live = Some(options);
        config
    }

    /// Somebody comes and knows these. They will be so much behind the end of the stream.
    pub fn watch(&mut self, access: Access, delay: Duration, knows: &[NodeId]) -> NodeId {
        let store = Box::new(SimStore::empty(&self.content).live());
        self.watch_with(access, delay, knows, store)
    }

    /// As [`watch`](Self::watch), with a store of their own.
    pub fn watch_with(
        &mut self,
        access: Access,
        delay: Duration,
        knows: &[NodeId],
        store: Box<dyn ContentStore>,
    ) -> NodeId {
        let n = self.world.nodes() as u64;
        let mut options = LiveOptions::default();
        options.config.window = self.window;
        let config = EndpointConfig { max_probed_datagram: 0, ..EndpointConfig::default() };
        let mut peer = Peer::new(node_address(n), config, Chance::bytes(self.seed, "endpoint", n));
        let now = self.world.now();
        peer.join_with(now, &self.content, Self::config(&self.metadata, options), store);
        peer.want(now, Some(&[]));
        let id = self.world.add(peer, access);
        for &to in knows {
            self.world.connect(id, to);
        }
        self.watchers.push(Watcher { peer: id, delay, tuned: None, next: 0, shown: 0, missed: 0, gone: false });
        id
    }

    /// Somebody leaves without a word.
    pub fn leave(&mut self, watcher: usize) {
        self.watchers[watcher].gone = true;
        self.world.remove(self.watchers[watcher].peer);
    }

    /// Those who are still there.
    pub fn present(&self) -> impl Iterator<Item = &Watcher> {
        self.watchers.iter().filter(|watcher| !watcher.gone)
    }

    /// The source fails: nothing is made any more, and nothing sent.
    pub fn fail(&mut self) {
        self.on_air = false;
        self.world.remove(self.source);
    }

    /// Time passes: the source makes what is due, everybody watches.
    pub fn run(&mut self, time: Duration) {
        let until = self.world.now() + time;
        while self.world.now() < until {
            self.world.run_for(Self::TICK);
            self.make();
            let mut watchers = core::mem::take(&mut self.watchers);
            watchers.iter_mut().filter(|watcher| !watcher.gone).for_each(|watcher| self.look(watcher));
            self.watchers = watchers;
        }
    }

    /// The stream ends where it is; who is there has the time to fetch the rest.
    pub fn finish(&mut self) -> Option<ppsp_core::Tree> {
        self.on_air = false;
        let tree = self.world.act(self.source, |peer: &mut Peer, now| {
            let (now, key) = (peer.local(now), peer.swarm());
            peer.endpoint().finish_stream(now, key)
        });
        tree.expect("the end of the stream")
    }

    /// Chunks made so far.
    pub fn pushed(&self) -> ChunkId {
        self.pushed
    }

    /// Has everything been made?
    pub fn is_over(&self) -> bool {
        self.pushed == self.content.chunks()
    }

    /// What a peer was told of the stream.
    pub fn events(&self, id: NodeId) -> Vec<Event> {
        self.world.peer(id).events().iter().map(|&(_, event)| event).collect()
    }

    /// A munro of another source with the same key, over chunks of zeros.
    pub fn forged(&self, first: ChunkId) -> Munro {
        let key = Box::new(Self::key(1));
        let source = LiveSource::new(&self.metadata, Default::default(), CHUNKS_PER_SIGNATURE, key);
        let mut source = source.expect("a source").starting_at(first);
        let now = NtpTime::from_unix_micros(self.world.now().as_micros());
        loop {
            if let Some(munro) = source.push(now, &[0; 1024], &mut |_, _| ()).expect("a munro") {
                return munro;
            }
        }
    }

    /// What is spoken in the swarm.
    pub fn speech(&self) -> Speech {
        Speech::live(&self.content, self.metadata(), 64)
    }

    fn make(&mut self) {
        let passed = self.world.now().saturating_since(self.began).as_micros();
        let due = u64::try_from(passed).unwrap_or(u64::MAX) * self.bitrate / 1_000_000 / 1024;
        while self.on_air && self.pushed < due.min(self.content.chunks()) {
            let (content, chunk) = (Arc::clone(&self.content), self.pushed);
            let pushed = self.world.act(self.source, |peer: &mut Peer, now| {
                let (now, key) = (peer.local(now), peer.swarm());
                peer.endpoint().push_chunk(now, key, content.chunk(chunk))
            });
            match pushed {
                Ok(()) => self.pushed += 1,
                Err(PushError::NoRoom) => return,
                Err(error) => panic!("{}: {error}", self.world.context()),
            }
        }
    }

    fn look(&mut self, watcher: &mut Watcher) {
        let now = self.world.now();
        let chunks = |time: Duration| (self.bitrate * time.as_micros() as u64) / 1_000_000 / 1024;
        let Some((at, first)) = watcher.tuned else {
            let end = self.world.act(watcher.peer, |peer: &mut Peer, _| {
                let key = peer.swarm();
                peer.endpoint().swarm(key).and_then(|swarm| swarm.live_end())
            });
            if let Some(end) = end.filter(|&end| end > 0) {
                let first = end.saturating_sub(chunks(watcher.delay.saturating_sub(Self::START)));
                watcher.tuned = Some((now + Self::START, first));
                watcher.next = first;
            }
            return;
        };
        // Of the last chunks of a stream that has ended nobody expects more.
        let due = (first + chunks(now.saturating_since(at))).min(self.pushed);
        while watcher.next < due {
            let there = self.world.peer(watcher.peer).held().contains(watcher.next);
            watcher.shown += u64::from(there);
            watcher.missed += u64::from(!there);
            watcher.next += 1;
        }
        let window = ChunkRange::with_len(watcher.next, 1 << 20);
        self.world.act(watcher.peer, |peer: &mut Peer, _| peer.set_windows(window.as_slice()));
    }
}
