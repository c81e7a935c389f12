//! Trackers.

use axum::{
    Extension,
    extract::{Path, State},
    response::IntoResponse,
};
use http::StatusCode;
use ppsp_auth::token::TokenText;
use serde::{Deserialize, Serialize};

use super::{Json, Sent};
use crate::{
    http::Remote,
    portal::{
        Caller, Portal, Refusal,
        trackers::{Enrolment, State as TrackerState, Tracker},
    },
};

#[derive(Serialize)]
struct Shown {
    id: String,
    url: String,
    name: String,
    state: &'static str,
    created: u64,
}

impl From<Tracker> for Shown {
    fn from(tracker: Tracker) -> Self {
        Self {
            id: tracker.id,
            url: tracker.url,
            name: tracker.name,
            state: tracker.state.as_str(),
            created: tracker.created,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    url: String,
    name: String,
    /// A JSON Web Key.
    key: serde_json::Value,
    code: Option<TokenText>,
}

/// `POST /api/v1/trackers`: 201 for an approved tracker, 202 for one that has to wait.
pub(super) async fn enrol(
    State(portal): State<Portal>,
    Extension(remote): Extension<Remote>,
    Sent(New { url, name, key, code }): Sent<New>,
) -> Result<impl IntoResponse, Refusal> {
    let tracker = portal.enrol(Enrolment { url, name, jwk: key.to_string(), code }, remote.ip()).await?;
    let status = if tracker.state == TrackerState::Approved { StatusCode::CREATED } else { StatusCode::ACCEPTED };
    Ok((status, Json(Shown::from(tracker))))
}

/// `GET /api/v1/trackers`.
pub(super) async fn list(State(portal): State<Portal>, caller: Caller) -> Result<impl IntoResponse, Refusal> {
    #[derive(Serialize)]
    struct List {
        trackers: Vec<Shown>,
    }
    let trackers = portal.trackers(&caller).await?;
    Ok(Json(List { trackers: trackers.into_iter().map(Shown::from).collect() }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Changed {
    state: String,
}

/// `PATCH /api/v1/trackers/{id}`.
pub(super) async fn set_state(
    State(portal): State<Portal>,
    caller: Caller,
    Path(id): Path<String>,
    Sent(Changed { state }): Sent<Changed>,
) -> Result<impl IntoResponse, Refusal> {
    let state = match state.as_str() {
        "approved" => TrackerState::Approved,
        "revoked" => TrackerState::Revoked,
        _ => return Err(Refusal::invalid("a tracker is made approved or revoked")),
    };
    Ok(Json(Shown::from(portal.set_tracker_state(&caller, &id, state).await?)))
}
