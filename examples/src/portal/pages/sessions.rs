//! Sessions: one's own, and for admins those of all users.

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
use crate::portal::{
    Caller, Portal, Refusal,
    sessions::{IDLE, Session},
};

/// A session as a page shows it.
struct Shown {
    id: String,
    user: String,
    client: String,
    created: Time,
    seen: Time,
    this: bool,
}

impl Shown {
    fn of(session: &Session, caller: &Caller) -> Self {
        Self {
            id: format!("{:032x}", session.id),
            user: session.user.to_string(),
            client: session.client.to_string(),
            created: Time::of(session.created),
            seen: Time::of(session.seen),
            this: session.id == caller.session.id,
        }
    }
}

#[derive(Template)]
#[template(path = "sessions.html")]
struct SessionsPage {
    frame: Frame,
    sessions: Vec<Shown>,
    /// After how many days without a sign of life a session ends.
    days: u64,
    /// Where its forms go.
    action: &'static str,
    of_all: bool,
}

/// `GET /sessions`.
pub(super) async fn own(State(portal): State<Portal>, Visitor(caller): Visitor) -> Response {
    let frame = Frame::of(&portal, &caller, "sessions", "Your sessions");
    show(frame, &caller, portal.sessions(&caller, None).await, "/sessions", false)
}

/// `GET /admin/sessions`.
pub(super) async fn all(State(portal): State<Portal>, Visitor(caller): Visitor) -> Response {
    let frame = Frame::of(&portal, &caller, "all sessions", "Sessions of all users");
    show(frame, &caller, portal.all_sessions(&caller).await, "/admin/sessions", true)
}

fn show(
    frame: Frame,
    caller: &Caller,
    found: Result<Vec<Session>, Refusal>,
    action: &'static str,
    of_all: bool,
) -> Response {
    match found {
        Ok(found) => {
            let sessions = found.iter().map(|session| Shown::of(session, caller)).collect();
            page(&SessionsPage { frame, sessions, days: IDLE / (24 * 3600), action, of_all })
        }
        Err(refusal) => failed(frame, &refusal),
    }
}

#[derive(Deserialize)]
pub(super) struct Ended {
    session: String,
}

/// `POST /sessions`: ends one.
pub(super) async fn end_own(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    headers: HeaderMap,
    Sent(form): Sent<Form<Ended>>,
) -> Response {
    end(&portal, &caller, &headers, form, "/sessions").await
}

/// `POST /admin/sessions`: ends one of anybody's.
pub(super) async fn end_any(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    headers: HeaderMap,
    Sent(form): Sent<Form<Ended>>,
) -> Response {
    if let Err(refusal) = caller.must_be_admin() {
        return failed(Frame::of(&portal, &caller, "", ""), &refusal);
    }
    end(&portal, &caller, &headers, form, "/admin/sessions").await
}

async fn end(portal: &Portal, caller: &Caller, headers: &HeaderMap, form: Form<Ended>, next: &str) -> Response {
    let fields = match form.checked(portal, caller, headers) {
        Ok(fields) => fields,
        Err(response) => return *response,
    };
    let ended = async {
        let id =
            u128::from_str_radix(&fields.session, 16).map_err(|_| Refusal::NotFound("there is no such session"))?;
        portal.end_session(caller, id).await
    };
    match ended.await {
        Ok(()) => Redirect::to(next).into_response(),
        Err(refusal) => failed(Frame::of(portal, caller, "", ""), &refusal),
    }
}
