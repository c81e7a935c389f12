//! How live streams stand, for programs and for Prometheus.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{MetricType, counter::ConstCounter, gauge::ConstGauge},
};
use serde::Serialize;

/// How a live stream stands at who broadcasts or watches it.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct LiveStatus {
    /// The live edge: the chunk behind the last one that is known to exist.
    pub edge: u64,
    /// The stream is known to end there, or nobody broadcasts or watches it any more.
    pub ended: bool,
    /// The first chunk that is kept here for others.
    pub window_first: Option<u64>,
    /// Chunks that are kept.
    pub window_chunks: u64,
    /// The chunk that a source made first, or that a viewer showed first.
    pub first: Option<u64>,
    /// The chunk that a viewer shows next.
    pub next: Option<u64>,
    /// Seconds since that chunk was known to exist: how far behind the edge.
    pub behind_seconds: Option<f64>,
    /// How often playback stood still.
    pub stalls: u64,
    /// Chunks that were left out.
    pub skipped: u64,
    /// Two sources were seen that use its key.
    pub two_sources: bool,
    /// Bytes recorded, where it is recorded.
    pub recorded_bytes: Option<u64>,
}

/// All live streams of a process together.
#[derive(Clone, Copy, Debug, Default)]
pub struct LiveFigures {
    streams: u64,
    /// Of the one that is furthest.
    edge: u64,
    first: u64,
    /// Of the one that is most behind.
    behind_seconds: f64,
    window_chunks: u64,
    stalls: u64,
    skipped: u64,
    two_sources: u64,
    recorded_bytes: u64,
}

impl LiveFigures {
    /// With one more stream.
    pub(crate) fn add(&mut self, status: &LiveStatus) {
        self.merge(&Self {
            streams: u64::from(!status.ended),
            edge: status.edge,
            first: status.first.unwrap_or(0),
            behind_seconds: status.behind_seconds.unwrap_or(0.0),
            window_chunks: status.window_chunks,
            stalls: status.stalls,
            skipped: status.skipped,
            two_sources: status.two_sources.into(),
            recorded_bytes: status.recorded_bytes.unwrap_or(0),
        });
    }

    /// With the streams of others.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.edge = self.edge.max(other.edge);
        self.first = self.first.max(other.first);
        self.behind_seconds = self.behind_seconds.max(other.behind_seconds);
        self.streams += other.streams;
        self.window_chunks += other.window_chunks;
        self.stalls += other.stalls;
        self.skipped += other.skipped;
        self.two_sources += other.two_sources;
        self.recorded_bytes += other.recorded_bytes;
    }

    /// What has been counted until the end of these streams.
    pub(crate) fn ended(&self) -> Self {
        let Self { stalls, skipped, recorded_bytes, .. } = *self;
        Self { stalls, skipped, recorded_bytes, ..Self::default() }
    }

    /// Writes them all.
    pub(crate) fn encode(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let gauges = [
            ("live_streams", "Live streams that are broadcast or watched", self.streams),
            ("live_edge_chunks", "The furthest live edge: the chunk behind the last one known to exist", self.edge),
            ("live_first_chunk", "The chunk at which the source began, or the viewer tuned in", self.first),
            ("live_window_chunks", "Chunks of live streams that are kept for others", self.window_chunks),
            ("live_two_sources", "Live streams of which two sources were seen", self.two_sources),
        ];
        for (name, help, value) in gauges {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        let (name, help) = ("live_behind_seconds", "How long ago what is shown was known to exist, at the slowest");
        ConstGauge::new(self.behind_seconds).encode(encoder.encode_descriptor(
            name,
            help,
            None,
            MetricType::Gauge,
        )?)?;
        let counters = [
            ("live_stalls", "How often playback of a live stream stood still", self.stalls),
            ("live_skipped_chunks", "Chunks that did not come in time and were left out", self.skipped),
            ("live_recorded_bytes", "Bytes of live streams recorded", self.recorded_bytes),
        ];
        for (name, help, value) in counters {
            ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        Ok(())
    }
}
