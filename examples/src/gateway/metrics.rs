//! What the gateway counts, for Prometheus. No names and no addresses.

use std::{sync::Arc, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use super::Gateway;
use crate::peer::{Piece, registry_of};

/// A player that waited longer in the middle stood still, most likely.
const STALL: Duration = Duration::from_millis(500);

type Labelled<N> = Family<[(&'static str, &'static str); 1], N>;

/// The counters of one gateway.
#[derive(Debug)]
pub(super) struct Metrics {
    pub(super) requests: Labelled<Counter>,
    /// Bytes of content handed to players.
    pub(super) bytes: Counter,
    /// Players that are being served.
    pub(super) readers: Gauge,
    /// Answers that broke off.
    pub(super) broken: Counter,
    /// From a request to its first byte.
    pub(super) first_byte: Histogram,
    /// Segments put together, by whether all of their layers came in time.
    merged: Labelled<Counter>,
    /// Waits in the middle, and their seconds.
    stalls: Counter,
    stalled: Counter<f64, std::sync::atomic::AtomicU64>,
    /// Chunks by whether they were there when a reader came to them.
    reads: Labelled<Counter>,
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
            merged: Family::default(),
            stalls: Counter::default(),
            stalled: Counter::default(),
            reads: Family::default(),
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

    /// A piece of a swarm was read for a player; the wait before its `first` is how it begins.
    pub(super) fn read(&self, piece: &Piece, first: bool) {
        let found = if piece.waited.is_zero() { "there" } else { "awaited" };
        self.reads.get_or_create(&[("chunk", found)]).inc_by(piece.chunks);
        if !first && piece.waited > STALL {
            self.stalls.inc();
            self.stalled.inc_by(piece.waited.as_secs_f64());
        }
    }

    /// A segment was put together.
    pub(super) fn merged(&self, all_layers: bool) {
        let layers = if all_layers { "all" } else { "fewer" };
        self.merged.get_or_create(&[("layers", layers)]).inc();
    }

    /// All of them, and those of the peer behind.
    pub(super) fn registry(&self, gateway: &Gateway) -> Registry {
        let inner = Arc::clone(&gateway.0);
        let mut registry = registry_of(move || {
            let mut figures = inner.swarms.figures();
            figures.merge(&inner.stations.figures());
            figures
        });
        registry.register("ttff_seconds", "From a request to its first byte of content", self.first_byte.clone());
        registry.register("stalls", "Waits of more than half a second after the first byte", self.stalls.clone());
        registry.register("stall_seconds", "What these waits took in all", self.stalled.clone());
        registry.register("reads", "Chunks by whether they were there when a player came to them", self.reads.clone());
        let count = |found| self.reads.get_or_create(&[("chunk", found)]).get();
        let (there, awaited) = (count("there"), count("awaited"));
        let continuity = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
        continuity.set(if there + awaited == 0 { 1.0 } else { there as f64 / (there + awaited) as f64 });
        registry.register("continuity_ratio", "Part of these chunks that were there", continuity);
        let gateway = registry.sub_registry_with_prefix("gateway");
        gateway.register("requests", "Requests by the class of their answer", self.requests.clone());
        gateway.register("bytes", "Bytes of content handed to players", self.bytes.clone());
        gateway.register("merged", "Segments of layers by whether all came in time", self.merged.clone());
        gateway.register("readers", "Answers with content that are under way", self.readers.clone());
        gateway.register("broken", "Answers that broke off because content did not come", self.broken.clone());
        registry
    }
}
