//! The audit log.

use axum::{extract::State, response::IntoResponse};
use serde::{Deserialize, Serialize};

use super::{Asked, Json};
use crate::portal::{Caller, Portal, Refusal};

#[derive(Serialize)]
struct Shown {
    id: String,
    at: u64,
    who: String,
    what: String,
    about: String,
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

/// `GET /api/v1/audit?who=&what=&after=`: the newest first; `after` is the entry to go on with.
pub(super) async fn list(
    State(portal): State<Portal>,
    caller: Caller,
    Asked(Sought { who, what, after }): Asked<Sought>,
) -> Result<impl IntoResponse, Refusal> {
    #[derive(Serialize)]
    struct List {
        entries: Vec<Shown>,
        after: Option<String>,
    }
    let entries = portal.audit(&caller, &who, &what, &after).await?;
    let after = entries.last().map(|entry| entry.id.clone());
    let shown = entries.into_iter().map(|entry| Shown {
        id: entry.id,
        at: entry.at,
        who: entry.who,
        what: entry.what,
        about: entry.about,
    });
    Ok(Json(List { entries: shown.collect(), after }))
}
