//! Sessions.

use axum::{
    extract::{Path, State},
    response::IntoResponse,
};
use http::StatusCode;
use ppsp_auth::UserName;
use serde::{Deserialize, Serialize};

use super::{Asked, Json};
use crate::portal::{Caller, Portal, Refusal, sessions::Session};

#[derive(Serialize)]
struct Shown {
    id: String,
    user: UserName,
    client_id: String,
    created: u64,
    seen: u64,
    /// Whether it is the one that asks.
    current: bool,
}

/// Whose sessions: of this user, of all users, or one's own.
#[derive(Deserialize)]
pub(super) struct Whose {
    user: Option<UserName>,
    #[serde(default)]
    all: u8,
}

/// `GET /api/v1/sessions`, for admins also `?user=` and `?all=1`.
pub(super) async fn list(
    State(portal): State<Portal>,
    caller: Caller,
    Asked(whose): Asked<Whose>,
) -> Result<impl IntoResponse, Refusal> {
    #[derive(Serialize)]
    struct List {
        sessions: Vec<Shown>,
    }
    let sessions = if whose.all == 1 {
        portal.all_sessions(&caller).await?
    } else {
        portal.sessions(&caller, whose.user.as_ref()).await?
    };
    let shown = |session: Session| Shown {
        id: format!("{:032x}", session.id),
        current: session.id == caller.session.id,
        user: session.user,
        client_id: session.client.to_string(),
        created: session.created,
        seen: session.seen,
    };
    Ok(Json(List { sessions: sessions.into_iter().map(shown).collect() }))
}

/// `DELETE /api/v1/sessions/{id}`.
pub(super) async fn end(
    State(portal): State<Portal>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Refusal> {
    let id = u128::from_str_radix(&id, 16).map_err(|_| Refusal::NotFound("there is no such session"))?;
    portal.end_session(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
