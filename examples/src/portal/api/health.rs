//! What operators and their machines look at.

use axum::{Extension, extract::State, response::IntoResponse};
use http::Response;

use crate::{
    http::Remote,
    portal::{Portal, Refusal},
};

/// `GET /healthz`: the process lives.
pub(super) async fn alive() -> &'static str {
    "alive\n"
}

/// `GET /readyz`: the database answers too.
pub(super) async fn ready(State(portal): State<Portal>) -> Result<&'static str, Refusal> {
    portal.ready().await.map(|()| "ready\n")
}

/// `GET /metrics`, for this machine. Others are served where `--metrics-listen` says.
pub(super) async fn metrics(
    State(portal): State<Portal>,
    Extension(remote): Extension<Remote>,
) -> Result<impl IntoResponse, Refusal> {
    if !remote.ip().is_loopback() {
        return Err(Refusal::NotFound("there is nothing at this address"));
    }
    Ok(Response::map(portal.metrics_page(), axum::body::Body::new))
}
