//! What operators and their machines look at: health, counters, reports that do not fit together.

use std::fmt;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use serde_json::json;

use super::{TrackerService, service::sentence};
use crate::http::{Remote, encode_family, metrics_page};

type Answer = Response<Full<Bytes>>;

impl TrackerService {
    /// Answers a request of an operator, for a listener of its own.
    pub async fn answer_operator<B>(&self, request: Request<B>) -> Answer {
        self.look(request.method(), request.uri().path(), true).unwrap_or_else(|| {
            sentence(StatusCode::NOT_FOUND, "there is /metrics, /healthz, /readyz and /operator/reports")
        })
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
                false => sentence(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "not ready: the Portal has not let this tracker in yet, or Redis is away",
                ),
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
        let (all, last) = (self.0.directory.population().flagged, self.0.directory.reports());
        let mut answer = Response::new(Full::new(Bytes::from(json!({ "flagged": all, "last": last }).to_string())));
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
        let (tracker, there) = (&self.0.0, self.0.0.directory.population());
        let (tokens, asked, away) = self.0.bearer().map_or_else(Default::default, |door| {
            let (tokens, asked) = door.counts();
            (tokens, asked, door.is_portal_away())
        });
        let gauges = [
            ("peers", "Registered peers", there.peers as u64),
            ("swarms", "Swarms with members", there.swarms as u64),
            ("tokens", "Access tokens that are known", tokens as u64),
            ("portal_away", "1 while the Portal does not answer", away.into()),
            ("ready", "1 while requests can be granted", self.0.ready().into()),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let counters = [
            ("repeated", "Requests that were repeated, and got the answer that they had", there.done.repeated),
            ("timed_out", "Peers that were silent for too long", there.done.timed_out),
            ("revoked", "Memberships that ended because they were allowed no longer", there.done.revoked),
            ("inconsistent_reports", "Reports that could not be true", there.flagged),
            ("introspections", "Questions that the Portal answered", asked.answered),
            ("introspections_failed", "Questions that the Portal did not answer", asked.failed),
        ];
        for (name, help, value) in counters {
            let counter = ConstCounter::new(value);
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let granted =
            [("CONNECT", there.done.connects), ("FIND", there.done.finds), ("STAT_REPORT", there.done.stat_reports)];
        encode_family(&mut encoder, "granted", "Requests that were granted", "message", granted)?;
        // RFC 7846 §4.3.
        let codes = ["01", "02", "03", "04", "05", "06"];
        let refused = codes.into_iter().zip(there.done.errors);
        encode_family(&mut encoder, "refused", "Requests that were refused", "error_code", refused)?;
        let rejected = codes.into_iter().zip(tracker.rejected.counts());
        encode_family(&mut encoder, "rejected", "Requests that came through no door", "error_code", rejected)
    }
}
