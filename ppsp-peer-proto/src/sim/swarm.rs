use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    sync::Arc,
    vec::Vec,
};
use core::{fmt, net::SocketAddr, time::Duration};

use ppsp_core::{ChunkAddressing, ChunkRange, HashAlg, Instant};

use super::{Access, Chance, Content, LinkConfig, NodeId, Peer, SimStore, StoreFaults, World, secs};
use crate::{
    Congestion, EndpointConfig, SwarmConfig,
    policy::{Choker, Picker},
};

/// A world with one swarm in it: seeds, leechers and who knows whom.
#[derive(Debug)]
pub struct Swarm {
    /// Where it lives.
    pub world: World,
    /// What it is about.
    pub content: Arc<Content>,
    /// Who has everything from the start.
    pub seeds: Vec<NodeId>,
    /// Who has nothing at the start.
    pub leechers: Vec<NodeId>,
}

/// Whom leechers know at the start, as a tracker would tell them.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Acquaintance {
    /// Nobody; the test connects them.
    Nobody,
    /// The seeds.
    Seeds,
    /// The seeds and so many leechers at random.
    Some(usize),
    /// The seeds and every leecher that came before.
    Everybody,
    /// The one before, and so many others at random in all, of which the seeds are as likely as any: as a tracker tells
    /// in a large swarm.
    Neighbours(usize),
}

type Tweak = Box<dyn Fn(&mut EndpointConfig)>;

/// Makes a [`Swarm`].
pub struct Builder {
    seed: u64,
    length: usize,
    chunk_size: u32,
    hash: HashAlg,
    addressing: ChunkAddressing,
    length_known: bool,
    seeds: usize,
    leechers: usize,
    link: LinkConfig,
    seed_access: Access,
    leecher_access: Access,
    acquaintance: Acquaintance,
    join_over: Duration,
    skew: bool,
    faults: StoreFaults,
    config: Vec<Tweak>,
    seed_config: Vec<Tweak>,
    leecher_config: Vec<Tweak>,
    congestion: Congestion,
    choker: Option<Box<dyn Fn() -> Box<dyn Choker>>>,
    picker: Option<Box<dyn Fn() -> Box<dyn Picker>>>,
}

impl Builder {
    /// Length of the content in bytes.
    #[must_use]
    pub fn content(mut self, length: usize) -> Self {
        self.length = length;
        self
    }

    /// Length of the content in chunks of the present chunk size, all full.
    #[must_use]
    pub fn chunks(self, chunks: usize) -> Self {
        let size = self.chunk_size as usize;
        self.content(chunks * size)
    }

    /// Hash function.
    #[must_use]
    pub fn hash(mut self, hash: HashAlg) -> Self {
        self.hash = hash;
        self
    }

    /// Chunk addressing method.
    #[must_use]
    pub fn addressing(mut self, addressing: ChunkAddressing) -> Self {
        self.addressing = addressing;
        self
    }

    /// Chunk size in bytes; before [`chunks`](Self::chunks).
    #[must_use]
    pub fn chunk_size(mut self, chunk_size: u32) -> Self {
        self.chunk_size = chunk_size;
        self
    }

    /// Leechers know the length of the content beforehand.
    #[must_use]
    pub fn length_known(mut self) -> Self {
        self.length_known = true;
        self
    }

    /// How many have everything.
    #[must_use]
    pub fn seeds(mut self, seeds: usize) -> Self {
        self.seeds = seeds;
        self
    }

    /// How many have nothing.
    #[must_use]
    pub fn leechers(mut self, leechers: usize) -> Self {
        self.leechers = leechers;
        self
    }

    /// All links.
    #[must_use]
    pub fn link(mut self, link: LinkConfig) -> Self {
        self.link = link;
        self
    }

    /// How everybody is connected to the network.
    #[must_use]
    pub fn access(mut self, access: Access) -> Self {
        (self.seed_access, self.leecher_access) = (access, access);
        self
    }

    /// How seeds are connected to the network.
    #[must_use]
    pub fn seed_access(mut self, access: Access) -> Self {
        self.seed_access = access;
        self
    }

    /// How leechers are connected to the network.
    #[must_use]
    pub fn leecher_access(mut self, access: Access) -> Self {
        self.leecher_access = access;
        self
    }

    /// Whom leechers know.
    #[must_use]
    pub fn acquaintance(mut self, acquaintance: Acquaintance) -> Self {
        self.acquaintance = acquaintance;
        self
    }

    /// Leechers come at random moments of this time.
    #[must_use]
    pub fn join_over(mut self, time: Duration) -> Self {
        self.join_over = time;
        self
    }

    /// All clocks are right. Without this, each but the first seed's is ahead by a time of its own.
    #[must_use]
    pub fn same_clocks(mut self) -> Self {
        self.skew = false;
        self
    }

    /// All stores are slow in this way.
    #[must_use]
    pub fn store_faults(mut self, faults: StoreFaults) -> Self {
        self.faults = faults;
        self
    }

    /// Changes everybody's configuration.
    #[must_use]
    pub fn config(mut self, tweak: impl Fn(&mut EndpointConfig) + 'static) -> Self {
        self.config.push(Box::new(tweak));
        self
    }

    /// Changes the seeds' configuration.
    #[must_use]
    pub fn seed_config(mut self, tweak: impl Fn(&mut EndpointConfig) + 'static) -> Self {
        self.seed_config.push(Box::new(tweak));
        self
    }

    /// Changes the leechers' configuration.
    #[must_use]
    pub fn leecher_config(mut self, tweak: impl Fn(&mut EndpointConfig) + 'static) -> Self {
        self.leecher_config.push(Box::new(tweak));
        self
    }

    /// Everybody's congestion control.
    #[must_use]
    pub fn congestion(mut self, congestion: Congestion) -> Self {
        self.congestion = congestion;
        self
    }

    /// Everybody's choker.
    #[must_use]
    pub fn choker(mut self, choker: impl Fn() -> Box<dyn Choker> + 'static) -> Self {
        self.choker = Some(Box::new(choker));
        self
    }

    /// Everybody's picker.
    #[must_use]
    pub fn picker(mut self, picker: impl Fn() -> Box<dyn Picker> + 'static) -> Self {
        self.picker = Some(Box::new(picker));
        self
    }

    /// Builds it. The seeds are there; the leechers know whom they know.
    pub fn build(self) -> Swarm {
        let content = Content::new(self.seed, self.length, self.chunk_size, self.hash, self.addressing);
        let mut world = World::new(self.seed, self.link);
        let mut chance = Chance::new(self.seed, "swarm", 0);
        let mut seeds = Vec::new();
        let mut leechers = Vec::new();
        for _ in 0..self.seeds {
            seeds.push(self.add(&mut world, &content, true, &[content.everything()]));
        }
        for n in 0..self.leechers {
            let id = self.add(&mut world, &content, false, &[]);
            let mut known: Vec<NodeId> = Vec::new();
            if !matches!(self.acquaintance, Acquaintance::Nobody | Acquaintance::Neighbours(_)) {
                known.extend(&seeds);
            }
            match self.acquaintance {
                Acquaintance::Nobody | Acquaintance::Seeds => {}
                Acquaintance::Everybody => known.extend(&leechers),
                Acquaintance::Neighbours(count) => {
                    let there = seeds.len() + leechers.len();
                    known.extend(leechers.last());
                    while known.len() < count.min(there) {
                        let other = chance.below(there as u64) as usize;
                        let other = seeds.iter().chain(&leechers).nth(other);
                        known.extend(other.filter(|other| !known.contains(other)));
                    }
                }
                Acquaintance::Some(count) => {
                    // A ring keeps the swarm in one piece; the rest is chance.
                    let mut others = leechers.clone();
                    known.extend(others.pop());
                    chance.shuffle(&mut others);
                    known.extend(others.iter().take(count.saturating_sub(1).min(n)));
                }
            }
            let at = world.now() + Duration::from_micros(chance.below(self.join_over.as_micros() as u64));
            let addresses: Vec<SocketAddr> = known.into_iter().map(|id| world.address(id)).collect();
            world.act(id, |peer: &mut Peer, _| addresses.into_iter().for_each(|to| peer.connect_at(at, to)));
            leechers.push(id);
        }
        Swarm { world, content, seeds, leechers }
    }

    fn add(&self, world: &mut World, content: &Arc<Content>, is_seed: bool, held: &[ChunkRange]) -> NodeId {
        let n = world.nodes() as u64;
        // Links of the simulator carry any datagram, unless a test says otherwise; most paths do not.
        let mut config = EndpointConfig { max_probed_datagram: 0, ..EndpointConfig::default() };
        self.config.iter().for_each(|tweak| tweak(&mut config));
        let special = if is_seed { &self.seed_config } else { &self.leecher_config };
        special.iter().for_each(|tweak| tweak(&mut config));
        let metadata = if self.length_known { content.metadata_with_length() } else { content.metadata() };
        let mut swarm = SwarmConfig::new(metadata);
        swarm.congestion = self.congestion;
        if let Some(choker) = &self.choker {
            swarm.choker = choker();
        }
        if let Some(picker) = &self.picker {
            swarm.picker = picker();
        }
        // RFC 6817: clocks need not agree. Time zero is the first one's.
        let skew = match n {
            0 => Duration::ZERO,
            _ if !self.skew => Duration::ZERO,
            _ => Duration::from_micros(Chance::new(self.seed, "clock", n).below(1 << 50)),
        };
        let mut peer = Peer::with_clock(node_address(n), config, Chance::bytes(self.seed, "endpoint", n), skew);
        let store = SimStore::new(content, held).faulty(self.faults, Chance::new(self.seed, "store", n));
        peer.join(world.now(), content, swarm, store);
        world.add(peer, if is_seed { self.seed_access } else { self.leecher_access })
    }
}

impl Swarm {
    /// A swarm of one seed and one leecher with 64 chunks, over links of 10 ms; change what matters.
    pub fn builder(seed: u64) -> Builder {
        Builder {
            seed,
            length: 64 * 1024,
            chunk_size: 1024,
            hash: HashAlg::Sha256,
            addressing: ChunkAddressing::Range32,
            length_known: false,
            seeds: 1,
            leechers: 1,
            link: LinkConfig::default(),
            seed_access: Access::UNLIMITED,
            leecher_access: Access::UNLIMITED,
            acquaintance: Acquaintance::Everybody,
            join_over: Duration::ZERO,
            skew: true,
            faults: StoreFaults::default(),
            config: Vec::new(),
            seed_config: Vec::new(),
            leecher_config: Vec::new(),
            congestion: Congestion::default(),
            choker: None,
            picker: None,
        }
    }

    /// The first seed.
    pub fn seed(&self) -> NodeId {
        self.seeds[0]
    }

    /// The first leecher.
    pub fn leecher(&self) -> NodeId {
        self.leechers[0]
    }

    /// Do all leechers that are still there have everything?
    pub fn is_complete(&self) -> bool {
        self.leechers.iter().all(|&id| is_done(&self.world, id))
    }

    /// Runs until every leecher that is still there has everything; gives the time.
    ///
    /// # Panics
    ///
    /// With a report, where that takes longer than `limit`.
    pub fn run(&mut self, limit: Duration) -> Instant {
        let Self { world, leechers, .. } = self;
        // Who is done remains so: not all of them are asked each time.
        let mut done = 0;
        let complete = |world: &World| {
            done += leechers[done..].iter().take_while(|id| is_done(world, **id)).count();
            done == leechers.len()
        };
        match world.run_until(complete, limit) {
            Ok(at) => {
                self.check();
                at
            }
            Err(timeout) => panic!("{}: not complete: {timeout}\n{}", self.world.context(), self.report()),
        }
    }

    /// What must hold in every swarm at any time: no honest peer was named as bad by another, no store was asked for
    /// what it does not hold, or given what it held.
    ///
    /// # Panics
    ///
    /// Where it does not.
    pub fn check(&self) {
        let there = || self.seeds.iter().chain(&self.leechers).filter(|id| self.world.contains(**id));
        for &id in there() {
            let peer = self.world.peer(id);
            for (address, reason) in peer.blamed() {
                let honest = there().any(|&other| self.world.address(other) == address);
                let (context, own) = (self.world.context(), self.world.address(id));
                assert!(!honest, "{context}: {own} blames {address}, which is honest: {reason:?}\n{}", self.report());
            }
            if let Some(ledger) = peer.ledger() {
                let (context, own) = (self.world.context(), self.world.address(id));
                assert_eq!(ledger.missing(), 0, "{context}: {own} read chunks that it does not hold");
                assert_eq!(ledger.rewritten(), 0, "{context}: {own} wrote chunks that it held");
            }
        }
    }

    /// Bytes of content uploaded by all seeds, in copies of the content.
    pub fn copies_from_seeds(&self) -> f64 {
        let uploaded: u64 = self.seeds.iter().map(|id| self.world.peer(*id).uploaded()).sum();
        uploaded as f64 / self.content.length().max(1) as f64
    }

    /// A table: who got and gave how much, when it was complete, what went wrong.
    pub fn report(&self) -> String {
        let mut out = String::new();
        for (role, ids) in [("seed", &self.seeds), ("leecher", &self.leechers)] {
            for &id in ids {
                if !self.world.contains(id) {
                    out += &format!("  {role:8} {id:?} gone\n");
                    continue;
                }
                let peer = self.world.peer(id);
                let at = peer.completed().map_or_else(|| "-".to_string(), |at| format!("{:.3} s", secs(at)));
                out += &format!(
                    "  {role:8} {:22} down {:>10} up {:>10} complete {at:>10} peers {:>2} runs of {:.1}  {:?}\n",
                    self.world.address(id).to_string(),
                    peer.downloaded(),
                    peer.uploaded(),
                    peer.peers().len(),
                    peer.mean_run(),
                    peer.stats(),
                );
            }
        }
        out += &format!("  network {:?}\n  {:?}\n", self.world.net().total(), self.world.steps());
        out
    }
}

/// The address of the n-th node: private, so that peer exchange is allowed.
pub fn node_address(n: u64) -> SocketAddr {
    let n = n as u32 + 1;
    SocketAddr::from(([10, (n >> 16) as u8, (n >> 8) as u8, n as u8], 6778))
}

/// Has a leecher everything, or gone?
fn is_done(world: &World, id: NodeId) -> bool {
    !world.contains(id) || world.peer(id).completed().is_some()
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("seed", &self.seed).finish_non_exhaustive()
    }
}
