use alloc::{sync::Arc, vec::Vec};
use core::time::Duration;

use ppsp_core::{ChunkAddressing, HashAlg};

use super::{Access, Chance, Content, LinkConfig, NodeId, Peer, SimStore, Trunk, World, node_address};
use crate::{EndpointConfig, SwarmConfig, congestion::ControllerFactory};

/// Pairs of a seed and a leecher whose content passes one bottleneck. Each pair is a world of its own otherwise, so what
/// one gets more than another it owes to congestion control alone.
#[derive(Debug)]
pub struct Flows {
    /// Where they live.
    pub world: World,
    content: Arc<Content>,
    trunk: Trunk,
    flows: Vec<Flow>,
}

/// One pair.
#[derive(Clone, Copy, Debug)]
pub struct Flow {
    /// Who sends.
    pub seed: NodeId,
    /// Who is sent to.
    pub leecher: NodeId,
}

impl Flows {
    /// A bottleneck of `rate` bytes a second with a queue of so many bytes, on paths that are `link` otherwise. All flows
    /// transfer the same `length` bytes, in chunks of 1 KiB.
    pub fn new(seed: u64, rate: u64, queue: usize, link: LinkConfig, length: usize) -> Self {
        let content = Content::new(seed, length, 1024, HashAlg::Sha256, ChunkAddressing::Range32);
        let mut world = World::new(seed, link);
        let trunk = world.add_trunk(rate, queue);
        Self { world, content, trunk, flows: Vec::new() }
    }

    /// Adds a flow that begins at this moment; gives its place in the order of flows.
    pub fn add(&mut self, controller: Arc<dyn ControllerFactory>) -> usize {
        let n = self.flows.len();
        let whole = [self.content.everything()];
        let [seed, leecher] = [&whole[..], &[]].map(|held| {
            let n = self.world.nodes() as u64;
            let controller = Arc::clone(&controller);
            let config = EndpointConfig { controller, max_probed_datagram: 0, ..EndpointConfig::default() };
            let chance = |what| Chance::new(self.world.seed(), what, n);
            let skew = Duration::from_micros(chance("clock").below(1 << 50));
            let id = Chance::bytes(self.world.seed(), "endpoint", n);
            let mut peer = Peer::with_clock(node_address(n), config, id, skew);
            let swarm = SwarmConfig::new(self.content.metadata());
            peer.join(self.world.now(), &self.content, swarm, SimStore::new(&self.content, held));
            self.world.add(peer, Access::UNLIMITED)
        });
        self.world.lay(seed, leecher, self.trunk);
        let to = self.world.address(seed);
        self.world.act(leecher, |peer: &mut Peer, now| peer.connect_at(now, to));
        self.flows.push(Flow { seed, leecher });
        n
    }

    /// The flows, in the order in which they were added.
    pub fn all(&self) -> &[Flow] {
        &self.flows
    }

    /// A flow ends: both of its peers are gone.
    pub fn end(&mut self, n: usize) {
        let Flow { seed, leecher } = self.flows[n];
        self.world.remove(seed);
        self.world.remove(leecher);
    }

    /// Bytes of UDP payload that a flow got through the bottleneck so far.
    pub fn passed(&self, n: usize) -> u64 {
        let Flow { seed, leecher } = self.flows[n];
        self.world.net().link_stats(self.world.port(seed), self.world.port(leecher)).delivered_bytes
    }

    /// Bytes of UDP payload that each flow gets through the bottleneck from now on for a while.
    pub fn measure(&mut self, time: Duration) -> Vec<u64> {
        let passed = |flows: &Self| -> Vec<u64> { (0..flows.flows.len()).map(|n| flows.passed(n)).collect() };
        let before = passed(self);
        self.world.run_for(time);
        passed(self).iter().zip(before).map(|(after, before)| after - before).collect()
    }

    /// Bytes that wait for the bottleneck now.
    pub fn queue(&self) -> usize {
        self.world.net().trunk_backlog(self.trunk, self.world.now())
    }
}

/// Jain's index of fairness, in thousandths: 1000 where all have the same, 1000 / n where one has everything.
pub fn jain(shares: &[u64]) -> u64 {
    let sum: u128 = shares.iter().map(|&x| u128::from(x)).sum();
    let squares: u128 = shares.iter().map(|&x| u128::from(x) * u128::from(x)).sum();
    u64::try_from((sum * sum * 1000).checked_div(squares * shares.len() as u128).unwrap_or(1000)).unwrap_or(1000)
}
