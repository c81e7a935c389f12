//! What the gateway counts, for Prometheus. No names and no addresses.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{
        MetricType,
        counter::{ConstCounter, Counter},
        family::Family,
        gauge::{ConstGauge, Gauge},
        histogram::Histogram,
    },
    registry::Registry,
};

use super::Gateway;

/// The counters of one gateway.
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) requests: Family<[(&'static str, &'static str); 1], Counter>,
    /// Bytes of content handed to players.
    pub(super) bytes: Counter,
    /// Players that are being served.
    pub(super) readers: Gauge,
    /// Answers that broke off.
    pub(super) broken: Counter,
    /// From a request to its first byte.
    pub(super) first_byte: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0];
        Self {
            requests: Family::default(),
            bytes: Counter::default(),
            readers: Gauge::default(),
            broken: Counter::default(),
            first_byte: Histogram::new(seconds),
        }
    }
}

impl Metrics {
    /// `status` is an HTTP status.
    pub(super) fn request(&self, status: u16) {
        let class = match status {
            ..400 => "good",
            400..500 => "refused",
            _ => "failed",
        };
        self.requests.get_or_create(&[("answer", class)]).inc();
    }

    /// All of them, and those of the peer behind.
    pub(super) fn registry(&self, gateway: &Gateway) -> Registry {
        let mut registry = Registry::with_prefix("ppsp_gateway");
        registry.register("requests", "Requests by the class of their answer", self.requests.clone());
        registry.register("bytes", "Bytes of content handed to players", self.bytes.clone());
        registry.register("readers", "Answers with content that are under way", self.readers.clone());
        registry.register("broken", "Answers that broke off because content did not come", self.broken.clone());
        registry.register("first_byte_seconds", "From a request to its first byte of content", self.first_byte.clone());
        registry.register_collector(Box::new(Looked(gateway.clone())));
        registry
    }
}

/// Reads what the peer counts anyway.
#[derive(Debug)]
struct Looked(Gateway);

impl Collector for Looked {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stats = self.0.peer().stats();
        let (mut peers, mut from_seeds, mut from_peers, mut uploaded) = (0, 0, 0, 0);
        for status in self.0.open_swarms().iter().map(|(_, swarm)| swarm.status()) {
            peers += status.peers.values().filter(|moved| moved.up).count() as u64;
            let (seeds, others) = status.by_kind();
            (from_seeds, from_peers) = (from_seeds + seeds, from_peers + others);
            uploaded += status.uploaded;
        }
        let gauge = ConstGauge::new(peers);
        gauge.encode(encoder.encode_descriptor("peers", "Peers connected to", None, gauge.metric_type())?)?;
        let all = from_seeds + from_peers;
        let offload = ConstGauge::new(if all == 0 { 0.0 } else { from_peers as f64 / all as f64 });
        let what = "Part of the content received that came from peers who were fetching it too";
        offload.encode(encoder.encode_descriptor("offload_ratio", what, None, offload.metric_type())?)?;
        let content = [("from_seeds", from_seeds), ("from_peers", from_peers), ("to_peers", uploaded)];
        family(&mut encoder, "content_bytes", "Bytes of content by direction", "direction", content)?;
        let udp = [("in", stats.bytes_in), ("out", stats.bytes_out)];
        family(&mut encoder, "udp_bytes", "Bytes in datagrams by direction", "direction", udp)?;
        let chunks = [
            ("accepted", stats.chunks_accepted),
            ("corrupt", stats.dropped_corrupt),
            ("unproven", stats.dropped_unproven),
            ("duplicate", stats.dropped_duplicate),
            ("unrequested", stats.dropped_unrequested),
            ("late", stats.requests_lapsed),
        ];
        family(&mut encoder, "chunks", "Chunks by what became of them", "result", chunks)
    }
}

fn family(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    label: &'static str,
    counts: impl IntoIterator<Item = (&'static str, u64)>,
) -> fmt::Result {
    let mut encoder = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    let mut counts = counts.into_iter();
    counts.try_for_each(|(value, count)| ConstCounter::new(count).encode(encoder.encode_family(&[(label, value)])?))
}
