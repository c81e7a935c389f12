//! The endpoints of OAuth: refreshing (RFC 6749), introspection (RFC 7662), revocation (RFC 7009), keys (RFC 7517) and what
//! there is (RFC 8414).

use axum::{
    body::Bytes,
    extract::{State, rejection::BytesRejection},
    response::{IntoResponse, Response},
};
use http::{HeaderValue, StatusCode, header};
use ppsp_auth::{
    assertion::Presented,
    introspection::IntrospectionRequest,
    oauth::{Form, OauthError, OauthErrorCode, RefreshRequest, RevocationRequest},
};
use serde_json::json;

use super::Json;
use crate::portal::Portal;

/// A body with secrets in it or a sentence about why there is none.
type Answer = Result<Response, Refused>;

type Body = Result<Bytes, BytesRejection>;

/// `POST /oauth/token`.
pub(super) async fn token(State(portal): State<Portal>, body: Body) -> Answer {
    let request = RefreshRequest::read(&form(body)?)?;
    Ok(as_json(portal.refresh(request).await?.write().as_bytes()))
}

/// `POST /oauth/introspect`.
pub(super) async fn introspect(State(portal): State<Portal>, body: Body) -> Answer {
    let form = form(body)?;
    let asserted = Presented::read(&form)?;
    let answer = portal.introspect(&asserted, IntrospectionRequest::read(&form)?).await?;
    Ok(as_json(answer.write().as_bytes()))
}

/// `POST /oauth/revoke`.
pub(super) async fn revoke(State(portal): State<Portal>, body: Body) -> Answer {
    portal.revoke(RevocationRequest::read(&form(body)?)?).await?;
    Ok(StatusCode::OK.into_response())
}

/// `GET /.well-known/jwks.json`. May be kept for some minutes: keys are published an hour before they sign.
pub(super) async fn jwks(State(portal): State<Portal>) -> impl IntoResponse {
    let headers = [(header::CONTENT_TYPE, "application/jwk-set+json"), (header::CACHE_CONTROL, "public, max-age=300")];
    (headers, portal.keys().to_jwks())
}

/// `GET /.well-known/oauth-authorization-server`, with what a client has to know to make an account.
pub(super) async fn metadata(State(portal): State<Portal>) -> impl IntoResponse {
    let issuer = portal.issuer();
    Json(json!({
        "issuer": issuer,
        "token_endpoint": format!("{issuer}/oauth/token"),
        "introspection_endpoint": format!("{issuer}/oauth/introspect"),
        "revocation_endpoint": format!("{issuer}/oauth/revoke"),
        "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
        "response_types_supported": [],
        "grant_types_supported": ["refresh_token"],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "introspection_endpoint_auth_methods_supported": ["private_key_jwt"],
        "introspection_endpoint_auth_signing_alg_values_supported": ["EdDSA"],
        "authorization_details_types_supported": ["ppsp"],
        "ppsp_login_endpoint": format!("{issuer}/api/v1/login"),
        "ppsp_scram_iterations": portal.iterations(),
        "ppsp_open_registration": portal.open_registration(),
    }))
}

fn form(body: Body) -> Result<Form, OauthError> {
    let body =
        body.map_err(|_| OauthError::new(OauthErrorCode::InvalidRequest, "the form is malformed or too long"))?;
    Form::parse(&body)
}

fn as_json(body: &[u8]) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body.to_vec()).into_response()
}

/// An error as RFC 6749 §5.2 has it.
pub(super) struct Refused(OauthError);

impl From<OauthError> for Refused {
    fn from(error: OauthError) -> Self {
        Self(error)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status = match &self.0.code {
            OauthErrorCode::Other(code) if code == "server_error" => StatusCode::INTERNAL_SERVER_ERROR,
            code => StatusCode::from_u16(code.status()).unwrap_or(StatusCode::BAD_REQUEST),
        };
        let mut response = (status, as_json(self.0.write().as_bytes())).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}
