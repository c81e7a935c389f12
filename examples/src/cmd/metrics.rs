use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use serde_json::json;

use crate::{
    cli::{exit::Failure, output::Output, units::Listen},
    http::{Limits, Serving, Shutdown, bind, metrics_page, serve},
    peer::{Figures, registry_of},
};

/// The figures of a peer, for those who look at them meanwhile.
pub(super) type Shown = Arc<Mutex<Figures>>;

/// Serves them at `/metrics`, where that was asked for.
pub(super) async fn show(listen: Option<Listen>, out: &Output) -> Result<Option<Shown>, Failure> {
    let Some(listen) = listen else { return Ok(None) };
    // Nothing in it is worth listening to; who lets others see it says so.
    let listener = bind(listen.0, true).await?;
    let addr: SocketAddr = listener.local_addr().map_err(Failure::network)?;
    out.event("metrics", &json!({ "url": format!("http://{addr}/metrics") }));
    out.detail(format_args!("counters are at http://{addr}/metrics"));
    let shown = Shown::default();
    let looked = Arc::clone(&shown);
    let serving = Serving { tls: None, limits: Limits::default(), shutdown: Shutdown::default() };
    tokio::spawn(serve(listener, serving, move |request| {
        let looked = Arc::clone(&looked);
        let asked = request.uri().path() == "/metrics";
        async move {
            if asked {
                let registry = registry_of(move || *looked.lock().unwrap_or_else(PoisonError::into_inner));
                return metrics_page(&registry);
            }
            let mut nothing = Response::new(Full::new(Bytes::from_static(b"there is only /metrics here\n")));
            *nothing.status_mut() = StatusCode::NOT_FOUND;
            nothing
        }
    }));
    Ok(Some(shown))
}

/// Shows others from now on.
pub(super) fn update(shown: &Shown, figures: Figures) {
    *shown.lock().unwrap_or_else(PoisonError::into_inner) = figures;
}
