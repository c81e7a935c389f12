//! Signing in and out, and registering.

use askama::Template;
use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, HeaderValue, header};
use ppsp_auth::{UserName, oauth::RevocationRequest, scram::Verifier, token::Role};
use serde::Deserialize;

use super::{
    Visitor, encode,
    form::{Asked, Form, Problem, Said, Sent},
    frame::{Frame, failed, page},
    password::verifier,
    users::role,
    visitor,
};
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
    said: Said,
}

#[derive(Deserialize)]
pub(super) struct Next {
    #[serde(default)]
    next: String,
    #[serde(default)]
    registered: String,
}

/// `GET /login`.
pub(super) async fn login(State(portal): State<Portal>, Asked(asked): Asked<Next>, headers: HeaderMap) -> Response {
    let next = if is_here(&asked.next) { asked.next } else { "/catalogue".to_owned() };
    if visitor(&headers, &portal).await.is_ok() {
        return Redirect::to(&next).into_response();
    }
    let (frame, registered) = (Frame::of_nobody(&portal, "login", "Sign in"), asked.registered == "1");
    page(&Login { frame, next, registered, said: Said::default() })
}

/// Is this a page of ours? Links to elsewhere are not followed for anybody.
fn is_here(path: &str) -> bool {
    path.starts_with('/') && !path.starts_with("//") && !path.contains(['\\', '\r', '\n'])
}

#[derive(Deserialize)]
pub(super) struct Leave {
    /// Where to go after signing in again.
    #[serde(default)]
    next: String,
}

/// `POST /logout`.
pub(super) async fn logout(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    headers: HeaderMap,
    Sent(form): Sent<Form<Leave>>,
) -> Response {
    let Leave { next } = match form.checked(&portal, &caller, &headers) {
        Ok(leave) => leave,
        Err(response) => return *response,
    };
    let shown = headers.get(header::COOKIE).and_then(|value| value.to_str().ok()).and_then(cookie::token);
    if let Some(token) = shown
        && let Err(error) = portal.revoke(RevocationRequest { token }).await
    {
        tracing::warn!("a session could not be ended: {error}");
    }
    let login = if next.is_empty() { "/login".to_owned() } else { format!("/login?next={}", encode(&next)) };
    let mut response = Redirect::to(&login).into_response();
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
    typed: NewAccount,
    said: Said,
}

/// `GET /register`.
pub(super) async fn register(State(portal): State<Portal>) -> Response {
    show(&portal, NewAccount::default(), Said::default())
}

fn show(portal: &Portal, typed: NewAccount, said: Said) -> Response {
    let frame = Frame::of_nobody(portal, "register", "Register");
    if !portal.open_registration() {
        return failed(frame, &Refusal::Forbidden("an admin makes accounts here: ask for one"));
    }
    page(&Register { frame, iterations: portal.iterations(), typed, said })
}

/// A new account, as forms send it: the verifier was computed in the browser.
#[derive(Default, Deserialize)]
pub(super) struct NewAccount {
    pub(super) name: String,
    verifier: String,
    #[serde(default)]
    pub(super) role: String,
}

impl NewAccount {
    pub(super) fn read(&self) -> Result<(UserName, Verifier, Role), Problem> {
        let name = self.name.trim().parse();
        let name = name.map_err(|e: ppsp_auth::UserNameError| Problem::at("name")(Refusal::invalid(e.to_string())))?;
        let role = if self.role.is_empty() { Ok(Role::Viewer) } else { role(&self.role) };
        Ok((name, verifier(&self.verifier).map_err(Problem::at("password"))?, role.map_err(Problem::at("role"))?))
    }
}

/// `POST /register`.
pub(super) async fn registered(
    State(portal): State<Portal>,
    Extension(remote): Extension<Remote>,
    headers: HeaderMap,
    Sent(new): Sent<NewAccount>,
) -> Response {
    let elsewhere = headers.get("sec-fetch-site").is_some_and(|site| site != "same-origin");
    let made = async {
        if elsewhere {
            return Err(Problem::at("")(Refusal::Forbidden("the form is not from this page; load it again")));
        }
        let (name, verifier, _) = new.read()?;
        portal.add_user(None, name, Role::Viewer, verifier, remote.ip()).await.map_err(Problem::at("name"))
    };
    match made.await {
        Ok(_) => Redirect::to("/login?registered=1").into_response(),
        Err(problem) => problem.on(show(&portal, new, problem.said())),
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
