//! Watching in the browser. The bytes come from the gateway on the visitor's own machine: here is only the page, and the
//! scripts that are loaded with it.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use http::HeaderMap;

use super::{
    Visitor,
    frame::{Frame, failed, page, reaching_gateways},
    player,
};
use crate::portal::Portal;

#[derive(Template)]
#[template(path = "watch.html")]
struct WatchPage {
    frame: Frame,
    id: String,
    name: String,
    portal: String,
    /// Whether dash.js is here.
    adaptive: bool,
    scripts: Vec<&'static str>,
}

/// Scripts that the page's script asks for where content has so many swarms: a page that names them has them sooner.
pub(super) fn scripts(swarms: usize) -> Vec<&'static str> {
    let mut all = vec!["gateway.js", "meter.js", "picture.js", "player.js", "status.js", "words.js"];
    all.extend((swarms > 1 && player::SCRIPT.is_some()).then_some("dash.js"));
    all
}

/// `GET /content/{id}/watch`.
pub(super) async fn watch(State(portal): State<Portal>, Visitor(caller): Visitor, Path(id): Path<String>) -> Response {
    match portal.content(&caller, &id).await {
        Ok(details) => reaching_gateways(page(&WatchPage {
            frame: Frame::of(&portal, &caller, "catalogue", details.content.title),
            id: details.content.id,
            name: caller.name().to_string(),
            portal: portal.issuer().to_owned(),
            adaptive: player::SCRIPT.is_some(),
            scripts: scripts(details.swarms.len()),
        })),
        Err(refusal) => failed(Frame::of(&portal, &caller, "catalogue", ""), &refusal),
    }
}

#[derive(Template)]
#[template(path = "licences.html")]
struct LicencesPage {
    frame: Frame,
    licences: &'static [(&'static str, &'static str)],
}

/// `GET /licences`: for everybody, as the scripts are.
pub(super) async fn licences(State(portal): State<Portal>, headers: HeaderMap) -> Response {
    let mut frame = Frame::of_visitor(&portal, &headers).await;
    frame.title = "Licences".into();
    page(&LicencesPage { frame, licences: player::LICENCES })
}
