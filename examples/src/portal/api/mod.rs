//! The interface for programs: JSON over HTTP, and the endpoints of OAuth. Here requests are read and answers written; what
//! happens in between is the [`Portal`]'s.
//!
//! An error is `{"error": code, "message": sentence}`, at the endpoints of OAuth what RFC 6749 §5.2 says. Times are Unix seconds.

mod audit;
mod content;
mod health;
mod login;
mod oauth;
mod policies;
mod sessions;
mod trackers;
mod users;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, FromRequest, FromRequestParts, OptionalFromRequestParts, Query, Request, State},
    response::{IntoResponse, Response},
    routing::{delete, get, patch, post, put},
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};
use ppsp_auth::{
    UserName,
    bearer::{self, BearerChallenge, BearerError, BearerRefusal},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{Caller, Portal, Refusal, pages, sign_in::REALM};

/// All routes.
pub(super) fn routes() -> Router<Portal> {
    Router::new()
        .route("/api/v1/login", get(login::login))
        .route("/oauth/token", post(oauth::token))
        .route("/oauth/introspect", post(oauth::introspect))
        .route("/oauth/revoke", post(oauth::revoke))
        .route("/.well-known/jwks.json", get(oauth::jwks))
        .route("/.well-known/oauth-authorization-server", get(oauth::metadata))
        .route("/api/v1/users", get(users::list).post(users::add))
        .route("/api/v1/users/{name}", patch(users::change))
        .route("/api/v1/users/{name}/verifier", put(users::set_verifier))
        .route("/api/v1/catalogue", get(content::catalogue))
        .route("/api/v1/content", post(content::publish))
        .route("/api/v1/content/{id}", get(content::show).delete(content::remove))
        .route("/api/v1/content/{id}/descriptor", get(content::descriptor))
        .route(
            "/api/v1/content/{id}/policies",
            get(policies::about_content).put(policies::put_content).delete(policies::remove_content),
        )
        .route(
            "/api/v1/groups/{group}/policies",
            get(policies::about_group).put(policies::put_group).delete(policies::remove_group),
        )
        .route("/api/v1/sessions", get(sessions::list))
        .route("/api/v1/sessions/{id}", delete(sessions::end))
        .route("/api/v1/trackers", get(trackers::list).post(trackers::enrol))
        .route("/api/v1/trackers/{id}", patch(trackers::set_state))
        .route("/api/v1/audit", get(audit::list))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .fallback(missing)
        .method_not_allowed_fallback(async || {
            let body = Json(Error { error: "method_not_allowed", message: "this address has other methods".into() });
            (StatusCode::METHOD_NOT_ALLOWED, body)
        })
}

/// What is at no address: a page for browsers, which say that they read those.
async fn missing(State(portal): State<Portal>, headers: HeaderMap) -> Response {
    let reads_pages = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if reads_pages.is_some_and(|accept| accept.contains("text/html")) {
        return pages::missing(portal, headers).await;
    }
    Refusal::NotFound("there is nothing at this address").into_response()
}

/// The most bytes of a request's body.
const MAX_BODY: usize = 1 << 20;

/// An answer in JSON.
struct Json<T>(T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        match serde_json::to_vec(&self.0) {
            Ok(body) => (kind, body).into_response(),
            Err(error) => Refusal::Fault(error.to_string()).into_response(),
        }
    }
}

/// The JSON in a request's body.
struct Sent<T>(T);

impl<T: DeserializeOwned> FromRequest<Portal> for Sent<T> {
    type Rejection = Response;

    async fn from_request(request: Request, portal: &Portal) -> Result<Self, Response> {
        let body = Bytes::from_request(request, portal).await.map_err(|rejection| {
            let message = format!("the body cannot be read: it has {MAX_BODY} bytes at most, and comes as a whole");
            (rejection.status(), Json(Error { error: "invalid_request", message })).into_response()
        })?;
        let read = serde_json::from_slice(&body);
        read.map(Self)
            .map_err(|error| Refusal::invalid(format!("the body is not what is expected: {error}")).into_response())
    }
}

/// The parameters of a request's URL.
struct Asked<T>(T);

impl<T: DeserializeOwned> FromRequestParts<Portal> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Refusal> {
        let query = Query::from_request_parts(parts, portal).await;
        query.map(|Query(asked)| Self(asked)).map_err(|rejection| Refusal::invalid(rejection.body_text()))
    }
}

/// Who shows an access token (RFC 6750 §2.1).
impl FromRequestParts<Portal> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Refusal> {
        let found = <Self as OptionalFromRequestParts<Portal>>::from_request_parts(parts, portal).await?;
        found.ok_or(Refusal::NotSignedIn(NO_TOKEN))
    }
}

impl OptionalFromRequestParts<Portal> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Option<Self>, Refusal> {
        let Some(header) = authorization(&parts.headers)? else { return Ok(None) };
        let token = bearer::token(header).map_err(|error| match error {
            BearerError::OtherScheme => Refusal::NotSignedIn(NO_TOKEN),
            error => Refusal::invalid(error.to_string()),
        })?;
        portal.caller(token).await.map(Some)
    }
}

/// The only `Authorization` header.
fn authorization(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(header), None) => {
            header.to_str().map(Some).map_err(|_| Refusal::invalid("the Authorization header is malformed"))
        }
        (Some(_), Some(_)) => Err(Refusal::invalid("there is more than one Authorization header")),
    }
}

/// A user name in a path.
fn user_name(text: &str) -> Result<UserName, Refusal> {
    text.parse().map_err(|error: ppsp_auth::UserNameError| Refusal::invalid(error.to_string()))
}

#[derive(Serialize)]
struct Error {
    error: &'static str,
    message: String,
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        if let Some(inner) = self.inner() {
            tracing::error!("{}: {inner}", self.code());
        }
        let status = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = Json(Error { error: self.code(), message: self.to_string() });
        let mut response = (status, body).into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if let Self::NotSignedIn(why) = self {
            // RFC 6750 §3.1: no error code for who showed no token.
            let refusal = (why != NO_TOKEN).then_some(BearerRefusal::InvalidToken);
            let challenge = BearerChallenge { realm: REALM, refusal, ..BearerChallenge::default() }.to_string();
            if let Ok(challenge) = HeaderValue::from_str(&challenge) {
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            }
        }
        response
    }
}

const NO_TOKEN: &str = "this needs an access token: sign in at /api/v1/login";
