//! Trackers, for admins: which are known, and which are let in.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use http::HeaderMap;
use serde::Deserialize;

use super::{
    Visitor,
    form::{Form, Sent},
    frame::{Frame, failed, page},
    view::Time,
};
use crate::portal::{Portal, trackers::State as TrackerState};

/// A tracker as a page shows it.
struct Known {
    id: String,
    url: String,
    name: String,
    state: TrackerState,
    created: Time,
}

#[derive(Template)]
#[template(path = "trackers.html")]
struct TrackersPage {
    frame: Frame,
    trackers: Vec<Known>,
    portal: String,
}

/// `GET /admin/trackers`.
pub(super) async fn trackers(State(portal): State<Portal>, Visitor(caller): Visitor) -> Response {
    let frame = Frame::of(&portal, &caller, "trackers", "Trackers");
    match portal.trackers(&caller).await {
        Ok(found) => {
            let trackers = found.into_iter().map(|tracker| Known {
                id: tracker.id,
                url: tracker.url,
                name: tracker.name,
                state: tracker.state,
                created: Time::of(tracker.created),
            });
            page(&TrackersPage { frame, trackers: trackers.collect(), portal: portal.issuer().to_owned() })
        }
        Err(refusal) => failed(frame, &refusal),
    }
}

#[derive(Deserialize)]
pub(super) struct Verdict {
    tracker: String,
    state: String,
}

/// `POST /admin/trackers`.
pub(super) async fn set_state(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    headers: HeaderMap,
    Sent(form): Sent<Form<Verdict>>,
) -> Response {
    let fields = match form.checked(&portal, &caller, &headers) {
        Ok(fields) => fields,
        Err(response) => return *response,
    };
    let state = if fields.state == "approved" { TrackerState::Approved } else { TrackerState::Revoked };
    match portal.set_tracker_state(&caller, &fields.tracker, state).await {
        Ok(_) => Redirect::to("/admin/trackers").into_response(),
        Err(refusal) => failed(Frame::of(&portal, &caller, "trackers", ""), &refusal),
    }
}
