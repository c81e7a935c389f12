//! The audit log, for admins: all of it, or what one did, or what was done of one kind.

use askama::Template;
use axum::{extract::State, response::Response};
use ppsp_auth::UserName;
use serde::Deserialize;

use super::{
    Visitor,
    form::Asked,
    frame::{Frame, failed, page},
    view::Time,
};
use crate::portal::{Portal, db::audit};

/// A line of the log.
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
    /// Whether there is something newer.
    later: bool,
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
pub(super) async fn log(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Asked(Sought { who, what, after }): Asked<Sought>,
) -> Response {
    let frame = Frame::of(&portal, &caller, "audit", "Audit log");
    // Of users as they write their names; of the Portal and trackers as the log names them.
    let who = who.trim().parse::<UserName>().map_or_else(|_| who.trim().to_owned(), |name| name.to_string());
    match portal.audit(&caller, &who, &what, &after).await {
        Ok(found) => {
            let next =
                (found.len() as u64 == audit::PAGE).then(|| found.last().map(|entry| entry.id.clone())).flatten();
            let line = |entry: audit::Entry| Line {
                at: Time::of(entry.at),
                who: entry.who,
                what: entry.what,
                about: entry.about,
            };
            let lines = found.into_iter().map(line).collect();
            page(&AuditPage { frame, who, what, whats: &audit::WHATS, lines, later: !after.is_empty(), next })
        }
        Err(refusal) => failed(frame, &refusal),
    }
}
