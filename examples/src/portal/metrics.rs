//! What the Portal counts, for Prometheus. No names and no addresses.

use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

type Labelled = Family<[(&'static str, &'static str); 1], Counter>;

/// The counters of one process.
pub(super) struct Metrics {
    registry: Registry,
    logins: Labelled,
    tokens: Labelled,
    introspections: Labelled,
    registrations: Counter,
    requests: Labelled,
}

impl Default for Metrics {
    fn default() -> Self {
        let metrics = Self {
            registry: Registry::with_prefix("ppsp_portal"),
            logins: Labelled::default(),
            tokens: Labelled::default(),
            introspections: Labelled::default(),
            registrations: Counter::default(),
            requests: Labelled::default(),
        };
        let Self { mut registry, logins, tokens, introspections, registrations, requests } = metrics;
        registry.register("logins", "Logins by their end", logins.clone());
        registry.register("tokens", "Access tokens that were given out, by audience", tokens.clone());
        registry.register("introspections", "Answers to trackers, by answer", introspections.clone());
        registry.register("registrations", "Accounts that were made", registrations.clone());
        registry.register("requests", "Requests by the class of their answer", requests.clone());
        Self { registry, logins, tokens, introspections, registrations, requests }
    }
}

impl Metrics {
    pub(super) fn login(&self, end: &'static str) {
        self.logins.get_or_create(&[("end", end)]).inc();
    }

    pub(super) fn token(&self, audience: &'static str) {
        self.tokens.get_or_create(&[("audience", audience)]).inc();
    }

    pub(super) fn introspection(&self, active: bool) {
        self.introspections.get_or_create(&[("answer", if active { "active" } else { "inactive" })]).inc();
    }

    pub(super) fn registration(&self) {
        self.registrations.inc();
    }

    /// `status` is an HTTP status.
    pub(super) fn request(&self, status: u16) {
        let class = match status {
            ..400 => "good",
            400..500 => "refused",
            _ => "failed",
        };
        self.requests.get_or_create(&[("answer", class)]).inc();
    }

    /// All of them.
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }
}
