//! The catalogue.

use axum::{
    extract::{Path, State},
    response::IntoResponse,
};
use http::{StatusCode, header};
use serde::{Deserialize, Serialize};

use super::{Asked, Json, Sent};
use crate::portal::{
    Caller, Portal, Refusal,
    catalogue::{Content, Details, NewContent},
};

#[derive(Serialize)]
struct Shown {
    id: String,
    title: String,
    group: String,
    publisher: String,
    length: Option<u64>,
    created: u64,
}

#[derive(Serialize)]
struct Detailed {
    #[serde(flatten)]
    content: Shown,
    swarms: Vec<String>,
}

impl From<Content> for Shown {
    fn from(Content { id, title, group, publisher, length, created }: Content) -> Self {
        Self { id, title, group, publisher, length, created }
    }
}

impl From<Details> for Detailed {
    fn from(Details { content, swarms, .. }: Details) -> Self {
        Self { content: content.into(), swarms }
    }
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

/// `GET /api/v1/catalogue?q=&group=&after=`: the newest first; `after` is what to go on with.
pub(super) async fn catalogue(
    State(portal): State<Portal>,
    caller: Caller,
    Asked(Sought { q, group, after }): Asked<Sought>,
) -> Result<impl IntoResponse, Refusal> {
    #[derive(Serialize)]
    struct List {
        content: Vec<Shown>,
        after: Option<String>,
    }
    let page = portal.catalogue(&caller, &q, &group, &after).await?;
    Ok(Json(List { content: page.items.into_iter().map(Shown::from).collect(), after: page.after }))
}

/// `GET /api/v1/content/{id}`.
pub(super) async fn show(
    State(portal): State<Portal>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Refusal> {
    Ok(Json(Detailed::from(portal.content(&caller, &id).await?)))
}

/// `GET /api/v1/content/{id}/descriptor`.
pub(super) async fn descriptor(
    State(portal): State<Portal>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Refusal> {
    let text = portal.descriptor(&caller, &id).await?;
    Ok(([(header::CONTENT_TYPE, "application/dash+xml")], text))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    title: String,
    group: String,
    descriptor: String,
}

/// `POST /api/v1/content`.
pub(super) async fn publish(
    State(portal): State<Portal>,
    caller: Caller,
    Sent(New { title, group, descriptor }): Sent<New>,
) -> Result<impl IntoResponse, Refusal> {
    let details = portal.publish(&caller, NewContent { title, group, descriptor }).await?;
    Ok((StatusCode::CREATED, Json(Detailed::from(details))))
}

/// `DELETE /api/v1/content/{id}`.
pub(super) async fn remove(
    State(portal): State<Portal>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Refusal> {
    portal.remove_content(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
