//! What is one's own: sessions and the password.

use askama::Template;
use axum::{
    Form as Sent,
    extract::{Query, State},
    response::Response,
};
use http::HeaderMap;
use serde::Deserialize;

use super::{Form, Frame, Visitor, failed, page, sign_in::verifier, then, view::Time};
use crate::portal::{Caller, Portal, Refusal, sessions::Session};

/// A session as a page shows it.
pub(super) struct Shown {
    id: String,
    user: String,
    client: String,
    created: Time,
    seen: Time,
    this: bool,
}

impl Shown {
    pub(super) fn of(session: &Session, caller: &Caller) -> Self {
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
pub(super) struct SessionsPage {
    pub(super) frame: Frame,
    pub(super) sessions: Vec<Shown>,
    /// Where its forms go.
    pub(super) action: &'static str,
    pub(super) of_all: bool,
}

/// `GET /sessions`.
pub(super) async fn sessions(State(portal): State<Portal>, Visitor(caller): Visitor) -> Response {
    let frame = Frame::of(&portal, &caller, "Your sessions");
    match portal.sessions(&caller, None).await {
        Ok(found) => page(&SessionsPage {
            frame,
            sessions: found.iter().map(|session| Shown::of(session, &caller)).collect(),
            action: "/sessions",
            of_all: false,
        }),
        Err(refusal) => failed(Some(frame), refusal),
    }
}

#[derive(Deserialize)]
pub(super) struct Ended {
    session: String,
}

/// `POST /sessions`: ends one.
pub(super) async fn end_session(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    headers: HeaderMap,
    Sent(form): Sent<Form<Ended>>,
) -> Response {
    end(&portal, &caller, &headers, form, "/sessions").await
}

pub(super) async fn end(
    portal: &Portal,
    caller: &Caller,
    headers: &HeaderMap,
    form: Form<Ended>,
    next: &str,
) -> Response {
    let fields = match form.checked(portal, caller, headers) {
        Ok(fields) => fields,
        Err(response) => return response,
    };
    let id = u128::from_str_radix(&fields.session, 16).map_err(|_| Refusal::NotFound("there is no such session"));
    let done = match id {
        Ok(id) => portal.end_session(caller, id).await,
        Err(refusal) => Err(refusal),
    };
    then(portal, caller, done, next)
}

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage {
    frame: Frame,
    iterations: u32,
    done: bool,
}

#[derive(Deserialize)]
pub(super) struct Done {
    #[serde(default)]
    done: u8,
}

/// `GET /password`.
pub(super) async fn password(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Query(Done { done }): Query<Done>,
) -> Response {
    let frame = Frame::of(&portal, &caller, "Your password");
    page(&PasswordPage { frame, iterations: portal.iterations(), done: done == 1 })
}

#[derive(Deserialize)]
pub(super) struct NewPassword {
    pub(super) verifier: String,
}

/// `POST /password`.
pub(super) async fn changed(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    headers: HeaderMap,
    Sent(form): Sent<Form<NewPassword>>,
) -> Response {
    let fields = match form.checked(&portal, &caller, &headers) {
        Ok(fields) => fields,
        Err(response) => return response,
    };
    let done = match verifier(&fields.verifier) {
        Ok(verifier) => portal.set_verifier(&caller, caller.name().clone(), verifier).await,
        Err(refusal) => Err(refusal),
    };
    then(&portal, &caller, done, "/password?done=1")
}
