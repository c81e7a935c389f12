//! Signing in: SCRAM-SHA-256 in HTTP (RFC 7804).

use axum::{
    Extension,
    extract::State,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use ppsp_auth::scram::Challenge;
use serde::{Deserialize, Serialize};

use super::{Asked, Error, Json, authorization};
use crate::{
    http::Remote,
    portal::{Portal, Refusal, SignIn, cookie},
};

/// `cookie=1`: the refresh token is to come as a cookie.
#[derive(Deserialize)]
pub(super) struct Wanted {
    #[serde(default)]
    cookie: u8,
}

#[derive(Serialize)]
struct SignedIn<'a> {
    client_id: String,
    session: String,
    name: &'a str,
    role: &'static str,
    access_token: &'a str,
    token_type: &'static str,
    expires_in: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
}

/// `GET /api/v1/login`.
pub(super) async fn login(
    State(portal): State<Portal>,
    Extension(remote): Extension<Remote>,
    Asked(wanted): Asked<Wanted>,
    headers: HeaderMap,
) -> Response {
    let answered = match authorization(&headers) {
        Ok(Some(header)) => portal.sign_in(header, remote.ip()).await,
        Ok(None) => Ok(SignIn::Challenge(portal.invitation())),
        Err(refusal) => Err(refusal),
    };
    match answered {
        Ok(SignIn::Challenge(challenge)) => challenged(&challenge, "go on as RFC 7804 says"),
        // RFC 7804 §5: an exchange that failed may begin again.
        Err(refusal @ Refusal::NotSignedIn(_)) => challenged(&portal.invitation(), &refusal.to_string()),
        Err(refusal) => refusal.into_response(),
        Ok(SignIn::Done(done)) => {
            let cookie = (wanted.cookie == 1).then(|| cookie::set(&done.refresh_token));
            let body = SignedIn {
                client_id: done.client.to_string(),
                session: format!("{:032x}", done.session),
                name: done.name.as_str(),
                role: done.role.as_str(),
                access_token: done.access_token.as_str(),
                token_type: "Bearer",
                expires_in: done.expires_in,
                refresh_token: cookie.is_none().then_some(done.refresh_token.as_str()),
            };
            let mut response = Json(body).into_response();
            put(&mut response, HeaderName::from_static("authentication-info"), &done.proof.to_string());
            if let Some(cookie) = cookie {
                put(&mut response, header::SET_COOKIE, &cookie);
            }
            response
        }
    }
}

fn challenged(challenge: &Challenge, why: &str) -> Response {
    let body = Json(Error { error: "not_signed_in", message: why.into() });
    let mut response = (StatusCode::UNAUTHORIZED, body).into_response();
    put(&mut response, header::WWW_AUTHENTICATE, &challenge.to_string());
    response
}

fn put(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
