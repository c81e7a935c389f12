//! Content that the embedder had from somewhere else, such as a web server: held to the same hashes as what peers send.

use alloc::vec::Vec;

use arrayvec::ArrayVec;
use ppsp_core::{Bin, ChunkId, ChunkRange, Claim, Hash, Instant, TreeBuilder, Unverified, Verdict};

use super::{
    Endpoint, PeerKey, SwarmKey,
    receive::{Arrived, BATCH, Fate},
};

/// In the place of a channel: nobody is acknowledged, and nobody is to blame.
const NOBODY: usize = usize::MAX;

/// Height of the nodes whose chunks are verified together.
const TOP: u32 = BATCH.ilog2();

/// Why content that was supplied was not taken, or not all of it.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SupplyError {
    /// No such swarm, or its store has failed.
    #[error("no such swarm, or it has failed")]
    UnknownSwarm,
    /// How many chunks there are is not known yet, and the hashes do not prove it.
    #[error("the size of the content is not known yet")]
    SizeUnknown,
    /// These are not whole chunks of the content, or more than [`Endpoint::MAX_SUPPLY`].
    #[error("these bytes are not whole chunks of the content, or too many")]
    Misshapen,
    /// They are not the content's, or the hashes are not: whoever gave them is to blame.
    #[error("these bytes, or the hashes with them, are not those of the content")]
    Corrupt,
    /// Hashes between these chunks and what is known are missing.
    #[error("hashes to verify these bytes by are missing")]
    Unproven,
    /// The store has no room.
    #[error("the store has no room")]
    NoRoom,
}

impl Endpoint {
    /// Most chunks supplied at a time.
    pub const MAX_SUPPLY: u64 = 1 << 16;

    /// Takes chunks that came by another way than from peers: `data` is the content from chunk `first` on, in whole chunks; only
    /// the content's last may be short. Returns how many of them were new. Each goes the way of one that a peer sent: it is
    /// verified, stored, announced and served, events tell of it, and a peer that it was asked of is told that it need not send
    /// it. Only counters tell it apart.
    ///
    /// `hashes` are those that lead from these chunks to the root: first the peaks (RFC 7574 §5.6.1), while they are not known, then
    /// uncles (§5.2) in any order. Hashes below the nodes that the chunks fill are computed and need not be given. What peers have
    /// proven need not either: where chunks fill a node whose hash is known, no hash is needed at all.
    ///
    /// # Errors
    ///
    /// [`SupplyError`]. Chunks that were good are kept in any case, others never.
    pub fn supply(
        &mut self,
        now: Instant,
        swarm: SwarmKey,
        first: ChunkId,
        data: &[u8],
        hashes: &[Claim],
    ) -> Result<u64, SupplyError> {
        self.advance(now);
        let slot = self.swarm_slot(swarm).ok_or(SupplyError::UnknownSwarm)?;
        self.offer(slot, hashes);
        let swarm = self.swarms.get(slot).filter(|s| !s.state.failed).ok_or(SupplyError::UnknownSwarm)?;
        let metadata = &swarm.state.metadata;
        let (alg, size) = (metadata.hash, metadata.chunk_size);
        let chunk_size = (size as usize).max(1);
        let all = swarm.state.all().ok_or(SupplyError::SizeUnknown)?;
        let count = data.len().div_ceil(chunk_size).max(1) as u64;
        let range = ChunkRange::with_len(first, count).filter(|&range| all.covers(range) && count <= Self::MAX_SUPPLY);
        let range = range.ok_or(SupplyError::Misshapen)?;
        // Where the length is not known yet, the last chunk tells it.
        if !data.len().is_multiple_of(chunk_size) && range.last() != all.last() {
            return Err(SupplyError::Misshapen);
        }
        // The tree of each node that the chunks fill, as tall as they come.
        let mut trees: Vec<(Bin, &[u8], Vec<Claim>)> = Vec::new();
        for node in Bin::cover(range) {
            let bytes = |chunk: ChunkId| (chunk - first) as usize * chunk_size;
            let end = bytes(node.last_chunk() + 1).min(data.len());
            let Some(below) = data.get(bytes(node.first_chunk())..end) else { return Err(SupplyError::Misshapen) };
            let mut tree: Vec<Claim> = Vec::new();
            let mut builder = TreeBuilder::new(alg, size);
            let mut sink = |at: Bin, hash: &Hash| {
                let at = Bin::at(at.height(), node.first_chunk() + at.first_chunk());
                tree.extend(at.map(|node| Claim { node, hash: *hash }));
            };
            builder.push(below, &mut sink);
            builder.finish(&mut sink);
            trees.push((node, below, tree));
        }
        let tops = |(node, _, tree): &(Bin, _, Vec<Claim>)| tree.iter().rfind(|claim| claim.node == *node).copied();
        let tops: Vec<Claim> = trees.iter().filter_map(tops).collect();
        if range == all {
            // Then these are the peaks.
            self.offer(slot, &tops);
        }
        let (mut taken, mut wrong) = (0, None);
        for (node, below, tree) in &trees {
            // The tallest first, for all groups; then the nodes of each group.
            let mut above: Vec<Claim> = tree.iter().filter(|claim| claim.node.height() >= TOP).copied().collect();
            above.extend_from_slice(&tops);
            above.extend_from_slice(hashes);
            let group = (1usize << TOP).saturating_mul(chunk_size);
            for (chunk, bytes) in (node.first_chunk()..).step_by(1 << TOP).zip(pieces(below, group)) {
                let top = Bin::at(TOP.min(node.height()), chunk).unwrap_or(*node);
                let inside = |claim: &&Claim| claim.node.height() < TOP && top.contains(claim.node);
                let inside: Vec<Claim> = tree.iter().filter(inside).copied().collect();
                let part = self.supply_group(now, slot, chunk, bytes, [&inside, &above]);
                taken += part.0;
                wrong = wrong.or(part.1);
            }
        }
        self.after_chunks(now, slot);
        wrong.map_or(Ok(taken), Err)
    }

    /// The peaks may stand first among the hashes.
    fn offer(&mut self, slot: usize, hashes: &[Claim]) {
        let Some(swarm) = self.swarms.get_mut(slot) else { return };
        let Some(verifier) = swarm.state.integrity.wants_peaks() else { return };
        self.proven.clear();
        if verifier.offer_peaks(hashes, &mut self.proven) {
            let kept = swarm.store.keep(&self.proven);
            self.after_proof(slot, kept);
        }
    }

    /// Verifies and stores a group of chunks; how many are new, and what was wrong with the others.
    fn supply_group(
        &mut self,
        now: Instant,
        slot: usize,
        first: ChunkId,
        data: &[u8],
        claims: [&[Claim]; 2],
    ) -> (u64, Option<SupplyError>) {
        let Some(swarm) = self.swarms.get_mut(slot).filter(|s| !s.state.failed) else {
            return (0, Some(SupplyError::UnknownSwarm));
        };
        let state = &mut swarm.state;
        let size = (state.metadata.chunk_size as usize).max(1);
        let mut chunks: ArrayVec<Arrived<'_>, BATCH> = ArrayVec::new_const();
        for (chunk, data) in (first..).zip(pieces(data, size)) {
            if state.held.contains(chunk) || state.writing.contains(chunk) {
                continue;
            }
            let (timestamp, fate) = (now.as_micros(), Fate::Waiting);
            let peer = PeerKey(u64::MAX);
            _ = chunks.try_push(Arrived { channel: NOBODY, peer, chunk, timestamp, data, claims: 0..0, fate });
        }
        let unverified: ArrayVec<Unverified<'_>, BATCH> =
            chunks.iter().map(|a| Unverified { chunk: a.chunk, data: a.data, claims }).collect();
        self.proven.clear();
        state.integrity.verify(&unverified, &mut self.verdicts, &mut self.proven);
        let kept = swarm.store.keep(&self.proven);
        self.after_proof(slot, kept);
        let mut wrong = None;
        for (arrived, verdict) in chunks.iter_mut().zip(&self.verdicts) {
            (arrived.fate, wrong) = match verdict {
                Verdict::Accepted => (Fate::Refused, wrong),
                Verdict::Corrupt => (Fate::Corrupt, Some(SupplyError::Corrupt)),
                Verdict::Unproven => (Fate::Unproven, wrong.or(Some(SupplyError::Unproven))),
            };
        }
        if let Err(error) = self.store_runs(slot, &mut chunks) {
            self.fail(slot, error);
        }
        let mut taken = 0;
        for arrived in &chunks {
            match arrived.fate {
                Fate::Kept { .. } => {
                    taken += 1;
                    self.on_supplied(slot, arrived.chunk, arrived.data.len());
                }
                Fate::Refused => wrong = wrong.or(Some(SupplyError::NoRoom)),
                _ => {}
            }
        }
        (taken, wrong)
    }

    /// The store took a chunk that no peer sent.
    ///
    /// RFC 7574 §3.8: a peer that it was asked of is told by CANCEL.
    fn on_supplied(&mut self, slot: usize, chunk: ChunkId, len: usize) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(swarm) = swarms.get_mut(slot) else { return };
        swarm.state.supplied += len as u64;
        shared.stats.chunks_supplied += 1;
        let Some(owner) = swarm.state.asked_of.remove(chunk).map(|owner| owner as usize) else { return };
        shared.requested = shared.requested.saturating_sub(swarm.state.metadata.chunk_size as usize);
        if let Some(channel) = channels.get_mut(owner) {
            channel.down.cancel(chunk);
            shared.wake(owner, channel);
        }
    }
}

/// Pieces of this length and a rest. Empty content is one chunk of length zero.
fn pieces(data: &[u8], len: usize) -> impl Iterator<Item = &[u8]> {
    data.chunks(len).chain(data.is_empty().then_some(data))
}

#[cfg(test)]
mod tests {
    use std::{boxed::Box, vec};

    use ppsp_core::{ContentStore, MemoryStore, SwarmMetadata, Tree, peak_of, uncles};

    use super::*;
    use crate::{Datagrams, EndpointConfig, Event, SwarmConfig};

    const SIZE: u32 = 1024;
    const NOW: Instant = Instant::from_micros(0);

    /// Content of so many bytes, a store with its tree, and an endpoint that has nothing of it.
    fn content(len: usize) -> (Vec<u8>, MemoryStore, Tree) {
        let bytes: Vec<u8> = (0..len).map(|i| (i * 7 + i / 251) as u8).collect();
        let (store, tree) = MemoryStore::from_content(ppsp_core::HashAlg::Sha256, SIZE, bytes.clone());
        (bytes, store, tree)
    }

    fn metadata(tree: &Tree, length: Option<usize>) -> SwarmMetadata {
        SwarmMetadata { content_length: length.map(|length| length as u64), ..SwarmMetadata::of_root(&tree.root) }
    }

    fn open(metadata: &SwarmMetadata, store: MemoryStore, seed: u8) -> (Endpoint, SwarmKey) {
        let mut endpoint = Endpoint::new(EndpointConfig::default(), [seed; 32], NOW);
        let key = endpoint.open(NOW, SwarmConfig::new(metadata.clone()), Box::new(store)).unwrap();
        (endpoint, key)
    }

    fn empty(metadata: &SwarmMetadata) -> (Endpoint, SwarmKey) {
        open(metadata, MemoryStore::new(metadata.hash, metadata.chunk_size), 1)
    }

    /// Peaks, and the uncles of a chunk from this height on.
    fn hashes(store: &mut MemoryStore, tree: &Tree, chunk: ChunkId, from: u32) -> Vec<Claim> {
        let uncles = uncles(chunk, peak_of(chunk, tree.chunks).unwrap()).filter(|node| node.height() >= from);
        let uncles: Vec<Claim> =
            uncles.map(|node| Claim { node, hash: store.read_hash(node).unwrap().unwrap() }).collect();
        tree.peaks.iter().copied().chain(uncles).collect()
    }

    fn bytes_of(content: &[u8], first: usize, chunks: usize) -> &[u8] {
        &content[first * 1024..content.len().min((first + chunks) * 1024)]
    }

    #[test]
    fn what_is_proven_is_held_and_told() {
        for (length, block) in
            [(0, 8), (1, 8), (1024, 1), (5000, 4), (40 * 1024, 8), (700 * 1024 + 5, 256), (600 * 1024, 512)]
        {
            for known in [true, false] {
                let (content, mut store, tree) = content(length);
                let metadata = metadata(&tree, known.then_some(length));
                let (mut endpoint, key) = empty(&metadata);
                let mut given = 0;
                for first in (0..tree.chunks as usize).step_by(block) {
                    // Of what the chunks fill themselves, no hash.
                    let data = bytes_of(&content, first, block);
                    let count = data.len().div_ceil(1024).max(1) as u64;
                    let height = if count == block as u64 { block.ilog2() } else { 0 };
                    let hashes = hashes(&mut store, &tree, first as u64, height);
                    let supplied = endpoint.supply(NOW, key, first as u64, data, &hashes);
                    if !known && given == 0 {
                        // Peaks alone prove no size: a chunk does, as for what peers send.
                        assert_eq!(supplied, Err(SupplyError::SizeUnknown), "{length}");
                        break;
                    }
                    assert_eq!(supplied, Ok(count), "{length}: {first}");
                    assert_eq!(endpoint.supply(NOW, key, first as u64, data, &hashes), Ok(0), "known already");
                    given += count;
                }
                if known {
                    let swarm = endpoint.swarm(key).unwrap();
                    assert_eq!((swarm.is_complete(), swarm.supplied(), swarm.downloaded()), (true, length as u64, 0));
                    assert_eq!(endpoint.stats().chunks_supplied, tree.chunks);
                    assert_eq!(endpoint.stats().chunks_accepted, 0);
                    assert_eq!(endpoint.poll_timeout(), Some(NOW), "events wait");
                    let events: Vec<Event> = core::iter::from_fn(|| endpoint.poll_event()).collect();
                    assert!(events.contains(&Event::Complete { swarm: key }), "{events:?}");
                    assert!(events.contains(&Event::Progress { swarm: key }), "{events:?}");
                    let mut store = endpoint.close(NOW, key).unwrap();
                    let mut out = [0; 1024];
                    for chunk in 0..tree.chunks {
                        let ppsp_core::Read::Ready(len) = store.read_chunk(chunk, &mut out).unwrap() else { panic!() };
                        assert_eq!(out[..len], *bytes_of(&content, chunk as usize, 1));
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_not_proven_is_not_held() {
        let (content, mut store, tree) = content(40 * 1024 + 10);
        let metadata = metadata(&tree, Some(content.len()));
        let (mut endpoint, key) = empty(&metadata);
        let good = hashes(&mut store, &tree, 8, 3);
        let data = bytes_of(&content, 8, 8);
        let mut supply = |first, data: &[u8], hashes: &[Claim]| endpoint.supply(NOW, key, first, data, hashes);

        let mut lie = data.to_vec();
        lie[5000] ^= 1;
        assert_eq!(supply(8, &lie, &good), Err(SupplyError::Corrupt));
        assert_eq!(supply(0, data, &good), Err(SupplyError::Unproven), "uncles of other chunks");
        let mut false_hash = good.clone();
        false_hash.last_mut().unwrap().hash = tree.root;
        assert_eq!(supply(8, data, &false_hash), Err(SupplyError::Corrupt));
        assert_eq!(supply(8, data, &[]), Err(SupplyError::Unproven));
        assert_eq!(supply(8, &data[..1000], &good), Err(SupplyError::Misshapen));
        assert_eq!(supply(39, data, &good), Err(SupplyError::Misshapen), "beyond the end");
        assert_eq!(supply(40, &content[40 * 1024..content.len() - 1], &good), Err(SupplyError::Corrupt), "too short");
        assert_eq!(supply(u64::MAX, data, &good), Err(SupplyError::Misshapen));
        assert_eq!(endpoint.supply(NOW, SwarmKey(99), 8, data, &good), Err(SupplyError::UnknownSwarm));
        assert!(endpoint.swarm(key).unwrap().held().is_empty());
        assert_eq!(endpoint.stats().chunks_supplied, 0);

        // The first is good: from then on its neighbours' hashes are known, and lies do not take their place.
        assert_eq!(endpoint.supply(NOW, key, 8, data, &good), Ok(8));
        assert_eq!(endpoint.supply(NOW, key, 0, bytes_of(&content, 0, 8), &[]), Ok(8), "fills a known node");
        assert_eq!(endpoint.supply(NOW, key, 8, &lie, &[]), Ok(0), "it is held");

        // All of it needs no hash but the root.
        let (mut endpoint, key) = empty(&metadata);
        let mut lie = content.clone();
        lie[0] ^= 1;
        assert_eq!(endpoint.supply(NOW, key, 0, &lie, &[]), Err(SupplyError::Unproven));
        assert_eq!(endpoint.supply(NOW, key, 0, &content, &[]), Ok(tree.chunks));
    }

    /// A seed and a leecher, connected, in a network without delay.
    struct Pair {
        peers: [Endpoint; 2],
        keys: [SwarmKey; 2],
        now: Instant,
    }

    const ADDRESSES: [&str; 2] = ["10.0.0.1:6778", "10.0.0.2:6778"];

    impl Pair {
        /// Passes datagrams on, at most so many.
        fn run(&mut self, mut most: usize) {
            let mut buffer = vec![0; 65_487];
            loop {
                let mut sent = false;
                for (from, to) in [(0, 1), (1, 0)] {
                    let one = core::num::NonZeroUsize::MIN;
                    while let Some(run) = Some(most)
                        .filter(|&most| most > 0)
                        .and_then(|_| self.peers[from].poll_transmit(self.now, one, &mut buffer))
                    {
                        (most, sent) = (most - 1, true);
                        let remote = ADDRESSES[from].parse().unwrap();
                        self.peers[to].handle(self.now, [Datagrams::one(remote, &buffer[..run.len])]);
                    }
                    while self.peers[from].poll_event().is_some() {}
                }
                if most == 0 {
                    return;
                }
                if !sent {
                    let due = self.peers.iter().filter_map(Endpoint::poll_timeout).min().unwrap();
                    if self.peers[1].swarm(self.keys[1]).unwrap().is_complete() {
                        return;
                    }
                    self.now = self.now.max(due);
                    self.peers.iter_mut().for_each(|peer| peer.handle_timeout(self.now));
                }
            }
        }
    }

    fn pair(metadata: &SwarmMetadata, seed: (Endpoint, SwarmKey)) -> Pair {
        let (mut leecher, key) = open(metadata, MemoryStore::new(metadata.hash, metadata.chunk_size), 2);
        leecher.connect(NOW, key, ADDRESSES[0].parse().unwrap()).unwrap();
        Pair { peers: [seed.0, leecher], keys: [seed.1, key], now: NOW }
    }

    #[test]
    fn what_was_supplied_is_served_to_others() {
        let (content, mut store, tree) = content(40 * 1024 + 10);
        let metadata = metadata(&tree, Some(content.len()));
        let mut seed = empty(&metadata);
        for first in (0..=40).step_by(8) {
            let hashes = hashes(&mut store, &tree, first, if first < 40 { 3 } else { 0 });
            seed.0.supply(NOW, seed.1, first, bytes_of(&content, first as usize, 8), &hashes).unwrap();
        }
        let mut pair = pair(&metadata, seed);
        pair.run(usize::MAX);
        assert_eq!(pair.peers[1].swarm(pair.keys[1]).unwrap().downloaded(), content.len() as u64);
    }

    #[test]
    fn a_peer_is_told_that_it_need_not_send_it() {
        let (content, mut store, tree) = content(400 * 1024);
        let metadata = metadata(&tree, Some(content.len()));
        let mut pair = pair(&metadata, open(&metadata, store.clone(), 3));
        // Until chunks are asked for, and not all have come.
        while pair.peers[1].shared.requested == 0 {
            pair.run(1);
        }
        let key = pair.keys[1];
        let asked = |pair: &Pair| {
            pair.peers[1].swarms.get(0).unwrap().state.asked_of.iter(ChunkRange::with_len(0, 400).unwrap()).count()
        };
        assert!(asked(&pair) > 0);
        for first in (0..400).step_by(16) {
            let hashes = hashes(&mut store, &tree, first, 4);
            pair.peers[1].supply(pair.now, key, first, bytes_of(&content, first as usize, 16), &hashes).unwrap();
        }
        assert_eq!((asked(&pair), pair.peers[1].shared.requested), (0, 0));
        let swarm = pair.peers[1].swarm(key).unwrap();
        assert!(swarm.is_complete());
        assert_eq!(swarm.downloaded() + swarm.supplied(), content.len() as u64);
        pair.run(1000);
        assert_eq!(pair.peers[1].stats().dropped_corrupt + pair.peers[1].stats().dropped_malformed, 0);
    }
}
