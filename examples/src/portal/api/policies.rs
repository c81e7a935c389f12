//! Policies about content and about catalogue groups.

use axum::{
    extract::{Path, State},
    response::IntoResponse,
};
use http::StatusCode;
use ppsp_auth::{
    UserName,
    policy::{Effect, Policy, What, Who},
};
use serde::{Deserialize, Serialize};

use super::{Json, Sent, user_name};
use crate::portal::{Caller, Portal, Refusal};

/// A policy as it travels: about a user or a user group.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    #[serde(default)]
    effect: Word,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
}

#[derive(Clone, Copy, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Word {
    #[default]
    Allow,
    Deny,
}

impl Rule {
    fn who(&self) -> Result<Who, Refusal> {
        match (&self.user, &self.group) {
            (Some(user), None) => user_name(user).map(UserName::into).map(Who::User),
            (None, Some(group)) => Ok(Who::Group(group.clone())),
            _ => Err(Refusal::invalid("a policy is about one user or about one group")),
        }
    }

    fn policy(self, what: What) -> Result<Policy, Refusal> {
        let effect = match self.effect {
            Word::Allow => Effect::Allow,
            Word::Deny => Effect::Deny,
        };
        Ok(Policy { who: self.who()?, what, effect, from: self.from, until: self.until })
    }
}

impl From<Policy> for Rule {
    fn from(policy: Policy) -> Self {
        let (user, group) = match policy.who {
            Who::User(name) => (Some(name), None),
            Who::Group(name) => (None, Some(name)),
        };
        let effect = match policy.effect {
            Effect::Allow => Word::Allow,
            Effect::Deny => Word::Deny,
        };
        Self { user, group, effect, from: policy.from, until: policy.until }
    }
}

/// `GET /api/v1/content/{id}/policies`.
pub(super) async fn about_content(
    State(portal): State<Portal>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<impl IntoResponse, Refusal> {
    list(&portal, &caller, What::Content(id)).await
}

/// `PUT /api/v1/content/{id}/policies`.
pub(super) async fn put_content(
    State(portal): State<Portal>,
    caller: Caller,
    Path(id): Path<String>,
    Sent(rule): Sent<Rule>,
) -> Result<impl IntoResponse, Refusal> {
    portal.set_policy(&caller, rule.policy(What::Content(id))?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /api/v1/content/{id}/policies`, with the user or group in the body.
pub(super) async fn remove_content(
    State(portal): State<Portal>,
    caller: Caller,
    Path(id): Path<String>,
    Sent(rule): Sent<Rule>,
) -> Result<impl IntoResponse, Refusal> {
    portal.remove_policy(&caller, rule.who()?, What::Content(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /api/v1/groups/{group}/policies`.
pub(super) async fn about_group(
    State(portal): State<Portal>,
    caller: Caller,
    Path(group): Path<String>,
) -> Result<impl IntoResponse, Refusal> {
    list(&portal, &caller, What::Group(group)).await
}

/// `PUT /api/v1/groups/{group}/policies`.
pub(super) async fn put_group(
    State(portal): State<Portal>,
    caller: Caller,
    Path(group): Path<String>,
    Sent(rule): Sent<Rule>,
) -> Result<impl IntoResponse, Refusal> {
    portal.set_policy(&caller, rule.policy(What::Group(group))?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `DELETE /api/v1/groups/{group}/policies`, with the user or group in the body.
pub(super) async fn remove_group(
    State(portal): State<Portal>,
    caller: Caller,
    Path(group): Path<String>,
    Sent(rule): Sent<Rule>,
) -> Result<impl IntoResponse, Refusal> {
    portal.remove_policy(&caller, rule.who()?, What::Group(group)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn list(portal: &Portal, caller: &Caller, what: What) -> Result<impl IntoResponse + use<>, Refusal> {
    #[derive(Serialize)]
    struct List {
        policies: Vec<Rule>,
    }
    let policies = portal.policies(caller, what).await?;
    Ok(Json(List { policies: policies.into_iter().map(Rule::from).collect() }))
}
