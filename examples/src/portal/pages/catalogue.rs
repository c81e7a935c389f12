//! The catalogue, and the page of each content.

use askama::Template;
use axum::{
    Form as Sent,
    extract::{Path, Query, State},
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, header};
use ppsp_auth::policy::{Effect, Policy, What, Who};
use ppsp_core::descriptor::Descriptor;
use serde::Deserialize;

use super::{
    Form, Frame, Visitor, failed, page, then,
    view::{Time, parse_time, size},
};
use crate::portal::{Caller, Portal, Refusal, catalogue::Content};

/// Content as a list shows it.
struct Item {
    id: String,
    title: String,
    group: String,
    publisher: String,
    size: String,
    created: Time,
}

impl From<Content> for Item {
    fn from(Content { id, title, group, publisher, length, created }: Content) -> Self {
        Self { id, title, group, publisher, size: size(length), created: Time::of(created) }
    }
}

#[derive(Template)]
#[template(path = "catalogue.html")]
struct CataloguePage {
    frame: Frame,
    q: String,
    items: Vec<Item>,
    next: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Sought {
    #[serde(default)]
    q: String,
    #[serde(default)]
    after: String,
}

/// `GET /catalogue`.
pub(super) async fn catalogue(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Query(Sought { q, after }): Query<Sought>,
) -> Response {
    let frame = Frame::of(&portal, &caller, "Catalogue");
    match portal.catalogue(&caller, &q, &after).await {
        Ok(found) => page(&CataloguePage {
            frame,
            q,
            items: found.items.into_iter().map(Into::into).collect(),
            next: found.after,
        }),
        Err(refusal) => failed(Some(frame), refusal),
    }
}

/// A policy as a page shows it.
struct Rule {
    /// What a form says to remove it.
    who: String,
    name: String,
    allows: bool,
    when: String,
}

#[derive(Template)]
#[template(path = "content.html")]
struct ContentPage {
    frame: Frame,
    item: Item,
    swarms: Vec<String>,
    may_change: bool,
    rules: Vec<Rule>,
    /// Where forms about rules go.
    action: String,
    portal: String,
}

/// `GET /content/{id}`.
pub(super) async fn content(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
) -> Response {
    let frame = Frame::of(&portal, &caller, "");
    match show(&portal, &caller, &id, frame).await {
        Ok(shown) => page(&shown),
        Err(refusal) => failed(Some(Frame::of(&portal, &caller, "")), refusal),
    }
}

async fn show(portal: &Portal, caller: &Caller, id: &str, mut frame: Frame) -> Result<ContentPage, Refusal> {
    let details = portal.content(caller, id).await?;
    let what = What::Content(id.to_owned());
    let rules = if details.may_change { rules(portal, caller, what).await? } else { Vec::new() };
    frame.title.clone_from(&details.content.title);
    Ok(ContentPage {
        frame,
        item: details.content.into(),
        swarms: details.swarms,
        may_change: details.may_change,
        rules,
        action: format!("/content/{id}/rule"),
        portal: portal.issuer().to_owned(),
    })
}

async fn rules(portal: &Portal, caller: &Caller, what: What) -> Result<Vec<Rule>, Refusal> {
    let shown = |policy: Policy| {
        let (kind, name) = match &policy.who {
            Who::User(name) => ("user", name),
            Who::Group(name) => ("group", name),
        };
        let when = match (policy.from, policy.until) {
            (None, None) => "always".to_owned(),
            (Some(from), None) => format!("from {}", Time::of(from).people),
            (None, Some(until)) => format!("until {}", Time::of(until).people),
            (Some(from), Some(until)) => format!("from {} until {}", Time::of(from).people, Time::of(until).people),
        };
        let allows = policy.effect == Effect::Allow;
        Rule { who: format!("{kind}:{name}"), name: format!("{kind} {name}"), allows, when }
    };
    Ok(portal.policies(caller, what).await?.into_iter().map(shown).collect())
}

#[derive(Template)]
#[template(path = "group.html")]
struct GroupPage {
    frame: Frame,
    name: String,
    rules: Vec<Rule>,
    action: String,
}

/// `GET /groups/{group}`: the rules about a catalogue group.
pub(super) async fn group(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Path(name): Path<String>,
) -> Response {
    let frame = Frame::of(&portal, &caller, format!("Group {name}"));
    match rules(&portal, &caller, What::Group(name.clone())).await {
        Ok(rules) => page(&GroupPage { frame, action: format!("{}/rule", group_page(&name)), name, rules }),
        Err(refusal) => failed(Some(frame), refusal),
    }
}

fn group_page(name: &str) -> String {
    format!("/groups/{}", percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC))
}

/// `POST /groups/{group}/rule`.
pub(super) async fn group_rule(
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
    let next = group_page(&name);
    let done = decide(&portal, &caller, What::Group(name), &ruling).await;
    then(&portal, &caller, done, &next)
}

/// `GET /content/{id}/descriptor.mpd`.
pub(super) async fn descriptor(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
) -> Response {
    match portal.descriptor(&caller, &id).await {
        Ok(xml) => ([(header::CONTENT_TYPE, Descriptor::MEDIA_TYPE)], xml).into_response(),
        Err(refusal) => failed(Some(Frame::of(&portal, &caller, "")), refusal),
    }
}

#[derive(Deserialize)]
pub(super) struct Ruling {
    /// `allow`, `deny` or `remove`.
    effect: String,
    /// `user` or `group`; or both in one, as `user:alice`.
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    from: String,
    #[serde(default)]
    until: String,
}

/// `POST /content/{id}/rule`.
pub(super) async fn rule(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    headers: HeaderMap,
    Sent(form): Sent<Form<Ruling>>,
) -> Response {
    let ruling = match form.checked(&portal, &caller, &headers) {
        Ok(ruling) => ruling,
        Err(response) => return *response,
    };
    let next = format!("/content/{id}");
    let done = decide(&portal, &caller, What::Content(id), &ruling).await;
    then(&portal, &caller, done, &next)
}

async fn decide(portal: &Portal, caller: &Caller, what: What, ruling: &Ruling) -> Result<(), Refusal> {
    let (kind, name) = ruling.kind.split_once(':').unwrap_or((&ruling.kind, ruling.name.trim()));
    let who = match kind {
        "user" => Who::User(name.to_owned()),
        "group" => Who::Group(name.to_owned()),
        _ => return Err(Refusal::invalid("a rule is about a user or a group")),
    };
    let time = |text: &str| parse_time(text).map_err(|()| Refusal::invalid("the time is not one"));
    let effect = match ruling.effect.as_str() {
        "allow" => Effect::Allow,
        "deny" => Effect::Deny,
        _ => return portal.remove_policy(caller, who, what).await,
    };
    let (from, until) = (time(&ruling.from)?, time(&ruling.until)?);
    portal.set_policy(caller, Policy { who, what, effect, from, until }).await
}

#[derive(Template)]
#[template(path = "remove.html")]
struct RemovePage {
    frame: Frame,
    item: Item,
}

/// `GET /content/{id}/remove`: asks.
pub(super) async fn remove(State(portal): State<Portal>, Visitor(caller): Visitor, Path(id): Path<String>) -> Response {
    let frame = Frame::of(&portal, &caller, "Remove?");
    match portal.content(&caller, &id).await {
        Ok(details) if details.may_change => page(&RemovePage { frame, item: details.content.into() }),
        Ok(_) => failed(Some(frame), Refusal::Forbidden("only its publisher may remove it")),
        Err(refusal) => failed(Some(frame), refusal),
    }
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

/// `POST /content/{id}/remove`: does it.
pub(super) async fn removed(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
    headers: HeaderMap,
    Sent(form): Sent<Form<Nothing>>,
) -> Response {
    if let Err(response) = form.checked(&portal, &caller, &headers) {
        return *response;
    }
    match portal.remove_content(&caller, &id).await {
        Ok(()) => Redirect::to("/catalogue").into_response(),
        Err(refusal) => failed(Some(Frame::of(&portal, &caller, "")), refusal),
    }
}
