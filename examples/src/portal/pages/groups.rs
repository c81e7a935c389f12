//! Catalogue groups, for admins: which there are, and the rules about each.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use http::HeaderMap;
use ppsp_auth::policy::What;
use serde::Deserialize;

use super::{
    Visitor, encode,
    form::{Asked, Form, Said, Sent},
    frame::{Frame, failed, page},
    rules::{Rules, Ruling},
};
use crate::portal::{Caller, Portal, groups::Group};

#[derive(Template)]
#[template(path = "groups.html")]
struct GroupsPage {
    frame: Frame,
    groups: Vec<Group>,
}

#[derive(Deserialize)]
pub(super) struct Named {
    #[serde(default)]
    name: String,
}

/// `GET /admin/groups`: all; with a name the one, which need not have any content yet.
pub(super) async fn groups(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Asked(Named { name }): Asked<Named>,
) -> Response {
    if !name.trim().is_empty() {
        return Redirect::to(&address(name.trim())).into_response();
    }
    let frame = Frame::of(&portal, &caller, "groups", "Catalogue groups");
    match portal.groups(&caller).await {
        Ok(groups) => page(&GroupsPage { frame, groups }),
        Err(refusal) => failed(frame, &refusal),
    }
}

#[derive(Template)]
#[template(path = "group.html")]
struct GroupPage {
    frame: Frame,
    name: String,
    rules: Rules,
}

/// `GET /admin/groups/{group}`.
pub(super) async fn group(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Path(name): Path<String>,
) -> Response {
    show(&portal, &caller, name, Ruling::default(), Said::default()).await
}

async fn show(portal: &Portal, caller: &Caller, name: String, typed: Ruling, said: Said) -> Response {
    let frame = Frame::of(portal, caller, "groups", format!("Group {name}"));
    let action = format!("{}/rule", address(&name));
    match Rules::about(portal, caller, What::Group(name.clone()), action, typed, said).await {
        Ok(rules) => page(&GroupPage { frame, name, rules }),
        Err(refusal) => failed(frame, &refusal),
    }
}

/// `POST /admin/groups/{group}/rule`.
pub(super) async fn rule(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Path(name): Path<String>,
    headers: HeaderMap,
    Sent(form): Sent<Form<Ruling>>,
) -> Response {
    let ruling = match form.checked(&portal, &caller, &headers) {
        Ok(ruling) => ruling,
        Err(response) => return *response,
    };
    match ruling.decide(&portal, &caller, What::Group(name.clone())).await {
        Ok(()) => Redirect::to(&address(&name)).into_response(),
        Err(problem) => problem.on(show(&portal, &caller, name, ruling, problem.said()).await),
    }
}

fn address(name: &str) -> String {
    format!("/admin/groups/{}", encode(name))
}
