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
use crate::http::encode_family;

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
    /// Counters of the endpoint.
    pub stats: Stats,
}

impl Figures {
    /// Those of a peer and its swarms.
    pub fn of<'a>(peer: &Peer, swarms: impl IntoIterator<Item = &'a Swarm>) -> Self {
        let stats = peer.stats();
        let mut figures = Self { udp: (stats.bytes_in, stats.bytes_out), stats, ..Self::default() };
        swarms.into_iter().for_each(|swarm| figures.add(&swarm.status()));
        figures
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

    /// With what swarms counted that are no longer there.
    pub fn add_earlier(&mut self, earlier: &Self) {
        for (all, more) in self.received.iter_mut().zip(earlier.received) {
            *all += more;
        }
        self.sent += earlier.sent;
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
        let stats = &self.stats;
        let chunks = [
            ("good", stats.chunks_accepted + stats.chunks_supplied),
            ("bad", stats.dropped_corrupt),
            ("unproven", stats.dropped_unproven),
            ("double", stats.dropped_duplicate),
            ("unrequested", stats.dropped_unrequested),
            ("late", stats.requests_lapsed),
        ];
        encode_family(encoder, "chunks", "Chunks received, or asked for, by what became of them", "result", chunks)
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
