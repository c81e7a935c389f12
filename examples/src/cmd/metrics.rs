use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::{
    cli::{exit::Failure, output::Output, units::Listen},
    http::{Limits, Serving, Shutdown, bind, json_page, metrics_page, serve},
    peer::{Figures, registry_of},
};

/// The figures of a peer, and how its swarm stands, for those who look at them meanwhile.
#[derive(Clone, Debug, Default)]
pub(super) struct Shown(Arc<Mutex<Page>>);

#[derive(Debug, Default)]
struct Page {
    figures: Figures,
    /// What is at `/status`, where there is something.
    status: Value,
}

impl Shown {
    /// Shows these from now on.
    pub(super) fn update(&self, figures: Figures) {
        self.page().figures = figures;
    }

    /// Shows how its swarm stands.
    pub(super) fn update_status(&self, swarm: Value) {
        self.page().status = json!({ "swarms": [swarm] });
    }

    fn page(&self) -> MutexGuard<'_, Page> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves them at `/metrics` and `/status`, where that was asked for.
pub(super) async fn show(listen: Option<Listen>, out: &Output) -> Result<Option<Shown>, Failure> {
    let Some(listen) = listen else { return Ok(None) };
    // Nothing in it is worth listening to; who lets others see it says so.
    let listener = bind(listen.0, true).await?;
    let addr: SocketAddr = listener.local_addr().map_err(Failure::network)?;
    out.event("metrics", &json!({ "url": format!("http://{addr}/metrics") }));
    out.detail(format_args!("counters are at http://{addr}/metrics"));
    let shown = Shown::default();
    let looked = shown.clone();
    let serving = Serving { tls: None, limits: Limits::default(), shutdown: Shutdown::default() };
    tokio::spawn(serve(listener, serving, move |request| {
        let looked = looked.clone();
        let path = request.uri().path().to_owned();
        async move {
            if path == "/metrics" {
                return metrics_page(&registry_of(move || looked.page().figures));
            }
            let page = looked.page();
            if path == "/status" && !page.status.is_null() {
                return json_page(&page.status);
            }
            let mut nothing = Response::new(Full::new(Bytes::from_static(b"there is only /metrics here\n")));
            *nothing.status_mut() = StatusCode::NOT_FOUND;
            nothing
        }
    }));
    Ok(Some(shown))
}
