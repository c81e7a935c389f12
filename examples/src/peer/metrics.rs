//! What a peer counts, for Prometheus: the same names for all commands. No addresses, and no names of content.

use std::fmt;

use ppsp_peer_proto::Stats;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};

use super::{Peer, Status, Swarm};
use crate::{http::encode_family, live::LiveFigures};

/// The figures of a peer at some moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// Peers connected to.
    pub connections: u64,
    /// Bytes of content received from those who had all of it, from those who were fetching it too, and from web servers.
    pub received: [u64; 3],
    /// Bytes of content sent.
    pub sent: u64,
    /// Bytes in datagrams received and sent.
    pub udp: (u64, u64),
    /// Chunks, by what became of them: as [`CHUNKS`] says.
    chunks: [u64; CHUNKS.len()],
    /// Live streams.
    pub live: LiveFigures,
}

/// What becomes of chunks.
const CHUNKS: [&str; 6] = ["good", "bad", "unproven", "double", "unrequested", "late"];

impl Figures {
    /// Those of a peer and its swarms.
    pub fn of<'a>(peer: &Peer, swarms: impl IntoIterator<Item = &'a Swarm>) -> Self {
        let mut figures = Self::default();
        figures.add_endpoint(&peer.stats());
        swarms.into_iter().for_each(|swarm| figures.add(&swarm.status()));
        figures
    }

    /// With one more endpoint.
    pub fn add_endpoint(&mut self, stats: &Stats) {
        let chunks = [
            stats.chunks_accepted + stats.chunks_supplied,
            stats.dropped_corrupt,
            stats.dropped_unproven,
            stats.dropped_duplicate,
            stats.dropped_unrequested,
            stats.requests_lapsed,
        ];
        let udp = (stats.bytes_in, stats.bytes_out);
        self.merge(&Self { udp, chunks, ..Self::default() });
    }

    /// With those of others.
    pub fn merge(&mut self, other: &Self) {
        self.connections += other.connections;
        self.received.iter_mut().zip(other.received).for_each(|(all, more)| *all += more);
        self.sent += other.sent;
        (self.udp.0, self.udp.1) = (self.udp.0 + other.udp.0, self.udp.1 + other.udp.1);
        self.chunks.iter_mut().zip(other.chunks).for_each(|(all, more)| *all += more);
        self.live.merge(&other.live);
    }

    /// What has been counted until the end of these: nothing is connected any more.
    #[must_use]
    pub fn ended(&self) -> Self {
        Self { connections: 0, live: self.live.ended(), ..*self }
    }

    /// With one more swarm.
    pub fn add(&mut self, status: &Status) {
        self.connections += status.peers.values().filter(|moved| moved.up).count() as u64;
        let (seeds, peers) = status.by_kind();
        for (all, more) in self.received.iter_mut().zip([seeds, peers, status.from_origin]) {
            *all += more;
        }
        self.sent += status.uploaded;
    }

    /// Part of the content received that came from peers who were fetching it too.
    pub fn offload_ratio(&self) -> f64 {
        let [_, peers, _] = self.received;
        let all: u64 = self.received.iter().sum();
        if all == 0 { 0.0 } else { peers as f64 / all as f64 }
    }

    /// Writes them all.
    ///
    /// # Errors
    ///
    /// Those of the encoder.
    pub fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let gauge = ConstGauge::new(self.connections);
        gauge.encode(encoder.encode_descriptor("connections", "Peers connected to", None, MetricType::Gauge)?)?;
        let offload = ConstGauge::new(self.offload_ratio());
        let what = "Part of the content received that came from peers who were fetching it too";
        offload.encode(encoder.encode_descriptor("offload_ratio", what, None, MetricType::Gauge)?)?;
        let [seeds, peers, origin] = self.received;
        let content = [("in", seeds + peers + origin), ("out", self.sent)];
        encode_family(encoder, "content_bytes", "Bytes of content by direction", "direction", content)?;
        let sources = [("seed", seeds), ("peer", peers), ("origin", origin)];
        encode_family(encoder, "received_bytes", "Bytes of content received by who gave them", "source", sources)?;
        let udp = [("in", self.udp.0), ("out", self.udp.1)];
        encode_family(encoder, "udp_bytes", "Bytes in datagrams by direction", "direction", udp)?;
        let chunks = CHUNKS.into_iter().zip(self.chunks);
        encode_family(encoder, "chunks", "Chunks received, or asked for, by what became of them", "result", chunks)?;
        self.live.encode(encoder)
    }
}

/// A registry of what this looks up each time that it is read.
pub fn registry_of(look: impl Fn() -> Figures + Send + Sync + 'static) -> Registry {
    let mut registry = Registry::with_prefix("ppsp");
    registry.register_collector(Box::new(Looked(Box::new(look))));
    registry
}

struct Looked(Box<dyn Fn() -> Figures + Send + Sync>);

impl fmt::Debug for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Looked")
    }
}

impl Collector for Looked {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        (self.0)().encode(&mut encoder)
    }
}
