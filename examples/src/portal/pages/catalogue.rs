//! The catalogue, and the page of each content.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, header};
use ppsp_auth::policy::What;
use ppsp_core::descriptor::Descriptor;
use serde::Deserialize;

use super::{
    Visitor, encode,
    form::{Asked, Form, Nothing, Said, Sent},
    frame::{Frame, failed, page},
    rules::{Rules, Ruling},
    view::{Time, size},
    watch,
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
    group: String,
    /// What there is to choose from.
    groups: Vec<String>,
    items: Vec<Item>,
    next: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Sought {
    #[serde(default)]
    q: String,
    #[serde(default)]
    group: String,
    #[serde(default)]
    after: String,
}

/// `GET /catalogue`.
pub(super) async fn catalogue(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Asked(Sought { q, group, after }): Asked<Sought>,
) -> Response {
    let frame = Frame::of(&portal, &caller, "catalogue", "Catalogue");
    let found = async {
        let found = portal.catalogue(&caller, &q, &group, &after).await?;
        Ok((found, portal.visible_groups(&caller).await?))
    };
    match found.await {
        Ok((found, mut groups)) => {
            // One may come here by a link to a group that is not among the first.
            if let Err(at) = groups.binary_search(&group)
                && !group.is_empty()
            {
                groups.insert(at, group.clone());
            }
            let items = found.items.into_iter().map(Into::into).collect();
            page(&CataloguePage { frame, q, group, groups, items, next: found.after })
        }
        Err(refusal) => failed(frame, &refusal),
    }
}

#[derive(Template)]
#[template(path = "content.html")]
struct ContentPage {
    frame: Frame,
    item: Item,
    swarms: Vec<String>,
    /// What watching it takes, which is fetched while somebody looks at this page.
    scripts: Vec<&'static str>,
    /// Where who looks may change them.
    rules: Option<Rules>,
    name: String,
    portal: String,
}

/// `GET /content/{id}`.
pub(super) async fn content(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
) -> Response {
    show(&portal, &caller, &id, Ruling::default(), Said::default()).await
}

async fn show(portal: &Portal, caller: &Caller, id: &str, typed: Ruling, said: Said) -> Response {
    let frame = |title| Frame::of(portal, caller, "catalogue", title);
    let read = async {
        let details = portal.content(caller, id).await?;
        let rules = if details.may_change {
            let what = What::Content(id.to_owned());
            Some(Rules::about(portal, caller, what, format!("/content/{id}/rule"), typed, said).await?)
        } else {
            None
        };
        Ok((details, rules))
    };
    match read.await {
        Ok((details, rules)) => page(&ContentPage {
            frame: frame(details.content.title.clone()),
            item: details.content.into(),
            scripts: watch::scripts(details.swarms.len()),
            swarms: details.swarms,
            rules,
            name: caller.name().to_string(),
            portal: portal.issuer().to_owned(),
        }),
        Err(refusal) => failed(frame(String::new()), &refusal),
    }
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
    match ruling.decide(&portal, &caller, What::Content(id.clone())).await {
        Ok(()) => Redirect::to(&format!("/content/{}#rules", encode(&id))).into_response(),
        Err(problem) => problem.on(show(&portal, &caller, &id, ruling, problem.said()).await),
    }
}

/// `GET /content/{id}/descriptor.mpd`.
pub(super) async fn descriptor(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Path(id): Path<String>,
) -> Response {
    match portal.descriptor(&caller, &id).await {
        Ok(xml) => ([(header::CONTENT_TYPE, Descriptor::MEDIA_TYPE)], xml).into_response(),
        Err(refusal) => failed(Frame::of(&portal, &caller, "catalogue", ""), &refusal),
    }
}

#[derive(Template)]
#[template(path = "remove.html")]
struct RemovePage {
    frame: Frame,
    item: Item,
}

/// `GET /content/{id}/remove`: asks.
pub(super) async fn remove(State(portal): State<Portal>, Visitor(caller): Visitor, Path(id): Path<String>) -> Response {
    let frame = Frame::of(&portal, &caller, "catalogue", "Remove from the catalogue?");
    match portal.content(&caller, &id).await {
        Ok(details) if details.may_change => page(&RemovePage { frame, item: details.content.into() }),
        Ok(_) => failed(frame, &Refusal::Forbidden("only its publisher and admins may remove it")),
        Err(refusal) => failed(frame, &refusal),
    }
}

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
        Err(refusal) => failed(Frame::of(&portal, &caller, "catalogue", ""), &refusal),
    }
}
