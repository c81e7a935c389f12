//! What operators and their machines look at: health, counters, reports that do not fit together.

use std::fmt;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use serde_json::json;

use super::{TrackerService, service::sentence};
use crate::http::{Remote, metrics_page};

type Answer = Response<Full<Bytes>>;

impl TrackerService {
    /// Answers a request of an operator, for a listener of its own.
    pub async fn answer_operator<B>(&self, request: Request<B>) -> Answer {
        self.look(request.method(), request.uri().path(), true)
            .unwrap_or_else(|| sentence(StatusCode::NOT_FOUND, "there is /metrics, /healthz, /readyz and /operator/reports"))
    }

    /// What peers' listener shows of it: to strangers only whether it works.
    pub(super) fn watched<B>(&self, request: &Request<B>) -> Option<Answer> {
        let here = request.extensions().get::<Remote>().is_some_and(|remote| remote.ip().is_loopback());
        self.look(request.method(), request.uri().path(), here)
    }

    fn look(&self, method: &Method, path: &str, trusted: bool) -> Option<Answer> {
        match (method, path) {
            (&Method::GET | &Method::HEAD, "/healthz") => Some(sentence(StatusCode::OK, "alive")),
            (&Method::GET | &Method::HEAD, "/readyz") => Some(match self.ready() {
                true => sentence(StatusCode::OK, "ready"),
                false => sentence(StatusCode::SERVICE_UNAVAILABLE, "not ready: the Portal has not let this tracker in yet"),
            }),
            (&Method::GET, "/metrics") if trusted => Some(self.metrics_page()),
            (&Method::GET, "/operator/reports") if trusted => Some(self.reports()),
            _ => None,
        }
    }

    fn metrics_page(&self) -> Answer {
        let mut registry = Registry::with_prefix("ppsp_tracker");
        registry.register_collector(Box::new(Looked(self.clone())));
        metrics_page(&registry)
    }

    fn reports(&self) -> Answer {
        let reports = self.0.directory.inconsistent(MAX_REPORTS);
        let mut answer = Response::new(Full::new(Bytes::from(json!({ "reports": reports }).to_string())));
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer
    }
}

/// Reads counters where they are kept. Nothing is counted twice for somebody who may never look.
struct Looked(TrackerService);

impl fmt::Debug for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Looked")
    }
}

impl Collector for Looked {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let tracker = &self.0.0;
        let stats = tracker.directory.stats();
        let flagged = tracker.directory.inconsistent(usize::MAX).len() as u64;
        let (tokens, asked, away) = self.0.bearer().map_or_else(Default::default, |door| {
            let (tokens, asked) = door.counts();
            (tokens, asked, door.is_portal_away())
        });
        let gauges = [
            ("peers", "Registered peers", stats.peers as u64),
            ("swarms", "Swarms with members", stats.swarms as u64),
            ("memberships", "Memberships of all peers", stats.memberships as u64),
            ("inconsistent_reports", "Swarms whose reports do not fit together", flagged),
            ("tokens", "Access tokens that are known", tokens as u64),
            ("portal_away", "1 while the Portal does not answer", away.into()),
            ("ready", "1 while requests can be granted", self.0.ready().into()),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let counters = [
            ("repeated", "Answers that were given a second time", stats.repeated),
            ("registered", "Peers that registered", stats.registered),
            ("expired", "Peers that were silent for too long", stats.expired),
            ("barred", "Memberships that ended because a token does not allow them any more", stats.barred),
            ("doubtful", "Reports that contradict an earlier one or the mode", stats.doubtful),
            ("introspections", "Questions that the Portal answered", asked.answered),
            ("introspections_failed", "Questions that the Portal did not answer", asked.failed),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let by_code = |counts: [u64; 7], mut encoder: MetricEncoder<'_>| {
            (0..).zip(counts).try_for_each(|(code, count): (u8, u64)| {
                ConstCounter::new(count).encode(encoder.encode_family(&[("error_code", format!("{code:02}"))])?)
            })
        };
        let kind = ConstCounter::new(0_u64).metric_type();
        by_code(stats.answers, encoder.encode_descriptor("answers", "Answers by error code", None, kind)?)?;
        let help = "Requests that came through no door, by error code";
        by_code(tracker.rejected.counts(), encoder.encode_descriptor("rejected", help, None, kind)?)
    }
}

/// The most that are shown at a time.
const MAX_REPORTS: usize = 1000;
