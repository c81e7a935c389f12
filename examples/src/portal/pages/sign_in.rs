//! Signing in and out, and registering.

use askama::Template;
use axum::{
    Extension, Form as Sent,
    extract::{Query, State},
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, HeaderValue, header};
use ppsp_auth::{UserName, oauth::RevocationRequest, scram::Verifier, token::Role};
use serde::Deserialize;

use super::{Form, Frame, Visitor, failed, page, visitor};
use crate::{
    http::Remote,
    portal::{Portal, Refusal, cookie},
};

#[derive(Template)]
#[template(path = "login.html")]
struct Login {
    frame: Frame,
    next: String,
    registered: bool,
}

#[derive(Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
    #[serde(default)]
    registered: u8,
}

/// `GET /login`.
pub(super) async fn login(State(portal): State<Portal>, Query(asked): Query<Next>, headers: HeaderMap) -> Response {
    let next = if is_here(&asked.next) { asked.next } else { "/catalogue".to_owned() };
    if visitor(&headers, &portal).await.is_ok() {
        return Redirect::to(&next).into_response();
    }
    page(&Login { frame: Frame::of_nobody(&portal, "Sign in"), next, registered: asked.registered == 1 })
}

/// Is this a page of ours? Links to elsewhere are not followed for anybody.
fn is_here(path: &str) -> bool {
    path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\r', '\n'])
}

#[derive(Deserialize)]
pub(super) struct Nothing {}

/// `POST /logout`.
pub(super) async fn logout(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    headers: HeaderMap,
    Sent(form): Sent<Form<Nothing>>,
) -> Response {
    if let Err(response) = form.checked(&portal, &caller, &headers) {
        return response;
    }
    let shown = headers.get(header::COOKIE).and_then(|value| value.to_str().ok()).and_then(cookie::token);
    if let Some(token) = shown
        && let Err(error) = portal.revoke(RevocationRequest { token }).await
    {
        tracing::warn!("a session could not be ended: {error}");
    }
    let mut response = Redirect::to("/login").into_response();
    if let Ok(value) = HeaderValue::from_str(&cookie::unset()) {
        response.headers_mut().insert(header::SET_COOKIE, value);
    }
    response
}

#[derive(Template)]
#[template(path = "register.html")]
struct Register {
    frame: Frame,
    iterations: u32,
}

/// `GET /register`.
pub(super) async fn register(State(portal): State<Portal>) -> Response {
    if !portal.open_registration() {
        return failed(
            Some(Frame::of_nobody(&portal, "")),
            Refusal::Forbidden("an admin makes accounts here; ask for one"),
        );
    }
    page(&Register { frame: Frame::of_nobody(&portal, "Register"), iterations: portal.iterations() })
}

/// A new account, as forms send it: the verifier was computed in the browser.
#[derive(Deserialize)]
pub(super) struct NewAccount {
    pub(super) name: String,
    pub(super) verifier: String,
    #[serde(default)]
    pub(super) role: String,
}

impl NewAccount {
    pub(super) fn read(&self) -> Result<(UserName, Verifier, Role), Refusal> {
        let name = self.name.trim().parse().map_err(|e: ppsp_auth::UserNameError| Refusal::invalid(e.to_string()))?;
        let role = match self.role.as_str() {
            "" | "viewer" => Role::Viewer,
            "publisher" => Role::Publisher,
            "admin" => Role::Admin,
            _ => return Err(Refusal::invalid("there is no such role")),
        };
        Ok((name, verifier(&self.verifier)?, role))
    }
}

/// A verifier as the script in the page writes it.
pub(super) fn verifier(json: &str) -> Result<Verifier, Refusal> {
    serde_json::from_str(json)
        .map_err(|_| Refusal::invalid("the password could not be taken: the page's script did not run"))
}

/// `POST /register`.
pub(super) async fn registered(
    State(portal): State<Portal>,
    Extension(remote): Extension<Remote>,
    headers: HeaderMap,
    Sent(new): Sent<NewAccount>,
) -> Response {
    let elsewhere = headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin");
    let made = match new.read() {
        _ if elsewhere => Err(Refusal::Forbidden("the form is not from this page; load it again")),
        Ok((name, verifier, _)) => portal.add_user(None, name, Role::Viewer, verifier, remote.ip()).await.map(drop),
        Err(refusal) => Err(refusal),
    };
    match made {
        Ok(()) => Redirect::to("/login?registered=1").into_response(),
        Err(refusal) => failed(Some(Frame::of_nobody(&portal, "")), refusal),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn links_lead_to_pages_of_ours_alone() {
        for good in ["/", "/content/1?x=y", "/a//b"] {
            assert!(super::is_here(good));
        }
        for bad in ["", "https://evil/", "//evil/", "/\\evil", "javascript:x", "/a\r\nb"] {
            assert!(!super::is_here(bad), "{bad}");
        }
    }
}
