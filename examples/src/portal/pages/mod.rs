//! The Portal's pages, for people with a browser. They are made here and work as links and forms. A script runs only where a
//! password is typed, because the password never leaves the page (the browser itself runs SCRAM and computes verifiers), and
//! where content is watched.
//!
//! Who is signed in is known by a cookie. Every form carries a token of its session. A form that is not taken comes back with
//! what was typed, and a sentence beside the field that it is about.

mod assets;
mod audit;
mod catalogue;
mod form;
mod frame;
mod groups;
mod password;
mod player;
mod rules;
mod sessions;
mod sign_in;
mod trackers;
mod users;
mod view;
mod watch;

use axum::{
    Router,
    extract::{FromRequestParts, State},
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use http::{HeaderMap, StatusCode, header, request::Parts};

use self::frame::{Frame, failed};
use super::{Caller, Portal, Refusal, cookie};

/// All routes.
pub(super) fn routes() -> Router<Portal> {
    Router::new()
        .route("/", get(async || Redirect::to("/catalogue")))
        .route("/login", get(sign_in::login))
        .route("/logout", post(sign_in::logout))
        .route("/register", get(sign_in::register).post(sign_in::registered))
        .route("/catalogue", get(catalogue::catalogue))
        .route("/content/{id}", get(catalogue::content))
        .route("/content/{id}/descriptor.mpd", get(catalogue::descriptor))
        .route("/content/{id}/watch", get(watch::watch))
        .route("/content/{id}/rule", post(catalogue::rule))
        .route("/content/{id}/remove", get(catalogue::remove).post(catalogue::removed))
        .route("/sessions", get(sessions::own).post(sessions::end_own))
        .route("/password", get(password::password).post(password::changed))
        .route("/admin/groups", get(groups::groups))
        .route("/admin/groups/{group}", get(groups::group))
        .route("/admin/groups/{group}/rule", post(groups::rule))
        .route("/admin/users", get(users::users).post(users::add))
        .route("/admin/users/{name}", get(users::user).post(users::change))
        .route("/admin/users/{name}/password", post(users::set_password))
        .route("/admin/trackers", get(trackers::trackers).post(trackers::set_state))
        .route("/admin/sessions", get(sessions::all).post(sessions::end_any))
        .route("/admin/audit", get(audit::log))
        .route("/licences", get(watch::licences))
        .route("/assets/{name}", get(assets::asset))
        .method_not_allowed_fallback(unreadable)
}

/// What is at no address, for who reads pages.
pub(super) async fn missing(portal: Portal, headers: HeaderMap) -> Response {
    let refusal = Refusal::NotFound("there is nothing at this address");
    failed(Frame::of_visitor(&portal, &headers).await, &refusal)
}

/// An address to which forms are sent, for who wants to read it.
async fn unreadable(State(portal): State<Portal>, headers: HeaderMap) -> Response {
    let refusal = Refusal::NotFound("there is nothing to read at this address: forms are sent to it");
    let mut response = failed(Frame::of_visitor(&portal, &headers).await, &refusal);
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response
}

/// Who looks at a page.
struct Visitor(Caller);

impl FromRequestParts<Portal> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Response> {
        match visitor(&parts.headers, portal).await {
            Ok(caller) => Ok(Self(caller)),
            Err(Refusal::NotSignedIn(_)) if parts.method == http::Method::GET => {
                let there = parts.uri.path_and_query().map_or("/", |path| path.as_str());
                Err(Redirect::to(&format!("/login?next={}", encode(there))).into_response())
            }
            Err(refusal) => Err(failed(Frame::of_nobody(portal, "", ""), &refusal)),
        }
    }
}

async fn visitor(headers: &HeaderMap, portal: &Portal) -> Result<Caller, Refusal> {
    const NOBODY: Refusal = Refusal::NotSignedIn("nobody is signed in here any more");
    let header = headers.get(header::COOKIE).and_then(|value| value.to_str().ok()).ok_or(NOBODY)?;
    portal.cookie_caller(&cookie::token(header).ok_or(NOBODY)?).await
}

/// A text as part of an address.
fn encode(text: &str) -> percent_encoding::PercentEncode<'_> {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
}
