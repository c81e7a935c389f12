//! Accounts.

use axum::{
    Extension,
    extract::{Path, State},
    response::IntoResponse,
};
use http::StatusCode;
use ppsp_auth::{UserName, scram::Verifier, token::Role};
use serde::{Deserialize, Serialize};

use super::{Asked, Json, Sent, user_name};
use crate::{
    http::Remote,
    portal::{
        Caller, Portal, Refusal,
        accounts::{Change, User},
    },
};

#[derive(Serialize)]
struct Shown {
    name: UserName,
    role: Role,
    banned: bool,
    groups: Vec<String>,
    created: u64,
}

impl From<User> for Shown {
    fn from(User { name, role, banned, created, groups }: User) -> Self {
        Self { name, role, banned, groups, created }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct New {
    name: UserName,
    #[serde(default)]
    role: Role,
    verifier: Verifier,
}

/// `POST /api/v1/users`.
pub(super) async fn add(
    State(portal): State<Portal>,
    Extension(remote): Extension<Remote>,
    caller: Option<Caller>,
    Sent(new): Sent<New>,
) -> Result<impl IntoResponse, Refusal> {
    let user = portal.add_user(caller.as_ref(), new.name, new.role, new.verifier, remote.ip()).await?;
    Ok((StatusCode::CREATED, Json(Shown::from(user))))
}

#[derive(Deserialize)]
pub(super) struct After {
    #[serde(default)]
    after: String,
}

/// `GET /api/v1/users?after=`: by name, up to 200; `after` is the name to go on with.
pub(super) async fn list(
    State(portal): State<Portal>,
    caller: Caller,
    Asked(After { after }): Asked<After>,
) -> Result<impl IntoResponse, Refusal> {
    #[derive(Serialize)]
    struct List {
        users: Vec<Shown>,
        after: Option<UserName>,
    }
    const MOST: usize = 200;
    let users = portal.users(&caller, &after, MOST as u64).await?;
    let after = users.get(MOST - 1).map(|user| user.name.clone());
    Ok(Json(List { users: users.into_iter().map(Shown::from).collect(), after }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Changed {
    banned: Option<bool>,
    role: Option<Role>,
    groups: Option<Vec<String>>,
}

/// `PATCH /api/v1/users/{name}`.
pub(super) async fn change(
    State(portal): State<Portal>,
    caller: Caller,
    Path(name): Path<String>,
    Sent(Changed { banned, role, groups }): Sent<Changed>,
) -> Result<impl IntoResponse, Refusal> {
    let user = portal.change_user(&caller, user_name(&name)?, Change { banned, role, groups }).await?;
    Ok(Json(Shown::from(user)))
}

/// `PUT /api/v1/users/{name}/verifier`.
pub(super) async fn set_verifier(
    State(portal): State<Portal>,
    caller: Caller,
    Path(name): Path<String>,
    Sent(verifier): Sent<Verifier>,
) -> Result<impl IntoResponse, Refusal> {
    portal.set_verifier(&caller, user_name(&name)?, verifier).await?;
    Ok(StatusCode::NO_CONTENT)
}
