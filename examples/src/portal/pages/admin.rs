//! What admins see: users, trackers, all sessions, the audit log.

use askama::Template;
use axum::{
    Extension, Form as Sent,
    extract::{Path, Query, State},
    response::{IntoResponse, Response},
};
use http::HeaderMap;
use ppsp_auth::{UserName, token::Role};
use serde::Deserialize;

use super::{
    Form, Frame, Visitor, failed,
    own::{Ended, NewPassword, SessionsPage, Shown, end},
    page,
    sign_in::{NewAccount, verifier},
    then,
    view::Time,
};
use crate::{
    http::Remote,
    portal::{Caller, Portal, Refusal, accounts::Change, db::audit, trackers::State as TrackerState},
};

/// A user as a page shows it.
struct Person {
    name: String,
    role: &'static str,
    banned: bool,
    groups: String,
    created: Time,
}

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    frame: Frame,
    users: Vec<Person>,
    iterations: u32,
    next: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct After {
    #[serde(default)]
    after: String,
}

/// `GET /admin/users`.
pub(super) async fn users(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Query(After { after }): Query<After>,
) -> Response {
    let frame = Frame::of(&portal, &caller, "Users");
    match portal.users(&caller, &after, PAGE).await {
        Ok(found) => {
            let next = (found.len() as u64 == PAGE).then(|| found.last().map(|user| user.name.to_string())).flatten();
            let users = found.into_iter().map(|user| Person {
                name: user.name.to_string(),
                role: user.role.as_str(),
                banned: user.banned,
                groups: user.groups.join(", "),
                created: Time::of(user.created),
            });
            page(&UsersPage { frame, users: users.collect(), iterations: portal.iterations(), next })
        }
        Err(refusal) => failed(Some(frame), refusal),
    }
}

/// `POST /admin/users`: a new one.
pub(super) async fn add_user(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Extension(remote): Extension<Remote>,
    headers: HeaderMap,
    Sent(form): Sent<Form<NewAccount>>,
) -> Response {
    let new = match form.checked(&portal, &caller, &headers) {
        Ok(new) => new,
        Err(response) => return *response,
    };
    let done = match new.read() {
        Ok((name, verifier, role)) => portal.add_user(Some(&caller), name, role, verifier, remote.ip()).await.map(drop),
        Err(refusal) => Err(refusal),
    };
    then(&portal, &caller, done, "/admin/users")
}

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage {
    frame: Frame,
    person: Person,
    iterations: u32,
}

/// `GET /admin/users/{name}`.
pub(super) async fn user(State(portal): State<Portal>, Visitor(caller): Visitor, Path(name): Path<String>) -> Response {
    let frame = Frame::of(&portal, &caller, name.clone());
    // A change of nothing tells what there is.
    let found = match parse(&name) {
        Ok(name) => portal.change_user(&caller, name, Change::default()).await,
        Err(refusal) => Err(refusal),
    };
    match found {
        Ok(user) => page(&UserPage {
            frame,
            person: Person {
                name: user.name.to_string(),
                role: user.role.as_str(),
                banned: user.banned,
                groups: user.groups.join(", "),
                created: Time::of(user.created),
            },
            iterations: portal.iterations(),
        }),
        Err(refusal) => failed(Some(frame), refusal),
    }
}

#[derive(Deserialize)]
pub(super) struct Changes {
    role: String,
    groups: String,
    #[serde(default)]
    banned: String,
}

/// `POST /admin/users/{name}`.
pub(super) async fn change_user(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Path(name): Path<String>,
    headers: HeaderMap,
    Sent(form): Sent<Form<Changes>>,
) -> Response {
    let fields = match form.checked(&portal, &caller, &headers) {
        Ok(fields) => fields,
        Err(response) => return *response,
    };
    let next = format!("/admin/users/{name}");
    let done = change(&portal, &caller, &name, &fields).await;
    then(&portal, &caller, done, &next)
}

async fn change(portal: &Portal, caller: &Caller, name: &str, fields: &Changes) -> Result<(), Refusal> {
    let role = match fields.role.as_str() {
        "viewer" => Role::Viewer,
        "publisher" => Role::Publisher,
        "admin" => Role::Admin,
        _ => return Err(Refusal::invalid("there is no such role")),
    };
    let groups = fields.groups.split(',').map(str::trim).filter(|group| !group.is_empty());
    let change = Change {
        banned: Some(fields.banned == "on"),
        role: Some(role),
        groups: Some(groups.map(str::to_owned).collect()),
    };
    portal.change_user(caller, parse(name)?, change).await.map(drop)
}

/// `POST /admin/users/{name}/password`.
pub(super) async fn set_password(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Path(name): Path<String>,
    headers: HeaderMap,
    Sent(form): Sent<Form<NewPassword>>,
) -> Response {
    let fields = match form.checked(&portal, &caller, &headers) {
        Ok(fields) => fields,
        Err(response) => return *response,
    };
    let next = format!("/admin/users/{name}");
    let done = match (parse(&name), verifier(&fields.verifier)) {
        (Ok(name), Ok(verifier)) => portal.set_verifier(&caller, name, verifier).await,
        (Err(refusal), _) | (_, Err(refusal)) => Err(refusal),
    };
    then(&portal, &caller, done, &next)
}

fn parse(name: &str) -> Result<UserName, Refusal> {
    name.parse().map_err(|_| Refusal::NotFound("there is no such user"))
}

/// A tracker as a page shows it.
struct Known {
    id: String,
    url: String,
    name: String,
    state: String,
    created: Time,
}

#[derive(Template)]
#[template(path = "trackers.html")]
struct TrackersPage {
    frame: Frame,
    trackers: Vec<Known>,
}

/// `GET /admin/trackers`.
pub(super) async fn trackers(State(portal): State<Portal>, Visitor(caller): Visitor) -> Response {
    let frame = Frame::of(&portal, &caller, "Trackers");
    match portal.trackers(&caller).await {
        Ok(found) => {
            let trackers = found.into_iter().map(|tracker| Known {
                id: tracker.id,
                url: tracker.url,
                name: tracker.name,
                state: tracker.state.to_string(),
                created: Time::of(tracker.created),
            });
            page(&TrackersPage { frame, trackers: trackers.collect() })
        }
        Err(refusal) => failed(Some(frame), refusal),
    }
}

#[derive(Deserialize)]
pub(super) struct Verdict {
    tracker: String,
    state: String,
}

/// `POST /admin/trackers`.
pub(super) async fn set_tracker(
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
    let done = portal.set_tracker_state(&caller, &fields.tracker, state).await.map(drop);
    then(&portal, &caller, done, "/admin/trackers")
}

/// `GET /admin/sessions`.
pub(super) async fn sessions(State(portal): State<Portal>, Visitor(caller): Visitor) -> Response {
    let frame = Frame::of(&portal, &caller, "Sessions of all users");
    match portal.all_sessions(&caller).await {
        Ok(found) => page(&SessionsPage {
            frame,
            sessions: found.iter().map(|session| Shown::of(session, &caller)).collect(),
            action: "/admin/sessions",
            of_all: true,
        }),
        Err(refusal) => failed(Some(frame), refusal),
    }
}

/// `POST /admin/sessions`: ends one.
pub(super) async fn end_session(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    headers: HeaderMap,
    Sent(form): Sent<Form<Ended>>,
) -> Response {
    if let Err(refusal) = caller.must_be_admin() {
        return failed(Some(Frame::of(&portal, &caller, "")), refusal);
    }
    end(&portal, &caller, &headers, form, "/admin/sessions").await.into_response()
}

/// A line of the audit log.
struct Line {
    at: Time,
    who: String,
    what: String,
    about: String,
}

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    frame: Frame,
    who: String,
    what: String,
    /// What there is to choose from.
    whats: &'static [&'static str],
    lines: Vec<Line>,
    next: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Sought {
    #[serde(default)]
    who: String,
    #[serde(default)]
    what: String,
    #[serde(default)]
    after: String,
}

/// `GET /admin/audit`.
pub(super) async fn audit_log(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Query(Sought { who, what, after }): Query<Sought>,
) -> Response {
    let frame = Frame::of(&portal, &caller, "Audit log");
    match portal.audit(&caller, who.trim(), &what, &after).await {
        Ok(found) => {
            let next = (found.len() >= 200).then(|| found.last().map(|entry| entry.id.clone())).flatten();
            let line = |entry: audit::Entry| Line {
                at: Time::of(entry.at),
                who: entry.who,
                what: entry.what,
                about: entry.about,
            };
            page(&AuditPage {
                frame,
                who,
                what,
                whats: &audit::WHATS,
                lines: found.into_iter().map(line).collect(),
                next,
            })
        }
        Err(refusal) => failed(Some(frame), refusal),
    }
}

/// Users on a page.
const PAGE: u64 = 100;
