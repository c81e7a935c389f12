//! The Portal as the tracker sees it: who it is, its keys, its clock, and its answers about tokens.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use ppsp_auth::{
    assertion::Assertion,
    introspection::{Introspection, IntrospectionRequest},
    oauth::{FORM, FormWriter},
    token::{KeySet, SigningKey, TokenText},
};
use serde::Deserialize;
use serde_json::json;

use super::date;
use crate::http::{HttpClient, HttpError};

/// A Portal, and the key by which it knows this tracker.
#[derive(Debug)]
pub struct Portal {
    client: HttpClient,
    key: SigningKey,
    issuer: OnceLock<String>,
    /// By how many seconds the Portal's clock is before ours.
    ahead: AtomicI64,
}

/// How a tracker stands at its Portal.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// It may ask about clients.
    Approved,
    /// An admin has not decided yet.
    Pending,
}

/// Why the Portal does not do what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PortalError {
    /// It does not answer; later it may.
    #[error(transparent)]
    Away(#[from] HttpError),
    /// It answers, but with a failure or something that cannot be read.
    #[error("the Portal's answer cannot be used: {0}")]
    Strange(String),
    /// It refuses.
    #[error("the Portal refuses: {0}")]
    Refused(String),
}

impl Portal {
    /// A Portal to [`meet`](Self::meet). `key` is the tracker's own.
    pub fn new(client: HttpClient, key: SigningKey) -> Self {
        Self { client, key, issuer: OnceLock::new(), ahead: AtomicI64::new(0) }
    }

    /// Asks the Portal who it is, and what time it is there.
    ///
    /// # Errors
    ///
    /// [`PortalError`].
    pub async fn meet(&self) -> Result<(), PortalError> {
        #[derive(Deserialize)]
        struct Metadata {
            issuer: String,
        }
        // The name in tokens may be another than the URL by which we reach it: TLS says that it is the one meant.
        let read: Metadata =
            serde_json::from_slice(&self.get("/.well-known/oauth-authorization-server").await?).map_err(strange)?;
        self.issuer.get_or_init(|| read.issuer);
        Ok(())
    }

    /// The name of the Portal in its tokens; empty before it was met.
    pub fn issuer(&self) -> &str {
        self.issuer.get().map_or("", String::as_str)
    }

    /// How this tracker is called at the Portal.
    pub fn id(&self) -> String {
        self.key.id().to_string()
    }

    /// The Unix second by the Portal's clock, as far as it is known: that is the clock which tokens follow.
    pub fn unix_now(&self) -> u64 {
        unix_now().saturating_add_signed(self.ahead.load(Ordering::Relaxed))
    }

    /// The keys with which it signs tokens.
    ///
    /// # Errors
    ///
    /// [`PortalError`].
    pub async fn keys(&self) -> Result<KeySet, PortalError> {
        KeySet::from_jwks(&self.get("/.well-known/jwks.json").await?).map_err(strange)
    }

    /// Registers this tracker, which peers find at `url`. With the Portal's `code` it is approved at once.
    ///
    /// # Errors
    ///
    /// [`PortalError`].
    pub async fn enrol(&self, url: &str, name: &str, code: Option<&TokenText>) -> Result<Standing, PortalError> {
        let key = self.key.verifying_key().to_jwk();
        let key: serde_json::Value = serde_json::from_str(&key).map_err(strange)?;
        let mut body = json!({ "url": url, "name": name, "key": key });
        if let Some(code) = code {
            body["code"] = code.as_str().into();
        }
        let answer = self.post("/api/v1/trackers", "application/json", body.to_string().into()).await?;
        #[derive(Deserialize)]
        struct Enrolled {
            state: String,
        }
        let enrolled: Enrolled = match answer.status() {
            StatusCode::OK | StatusCode::CREATED | StatusCode::ACCEPTED => {
                serde_json::from_slice(answer.body()).map_err(strange)?
            }
            _ => return Err(refused(&answer)),
        };
        match enrolled.state.as_str() {
            "approved" => Ok(Standing::Approved),
            "pending" => Ok(Standing::Pending),
            _ => Err(PortalError::Refused("an admin has revoked this tracker".to_owned())),
        }
    }

    /// Whether an admin has approved this tracker: whoever has not been may not ask about tokens.
    ///
    /// # Errors
    ///
    /// [`PortalError`].
    pub async fn standing(&self) -> Result<Standing, PortalError> {
        let request = IntrospectionRequest { token: TokenText::new("none"), swarms: Vec::new() };
        match self.introspect(&request).await {
            Ok(_) => Ok(Standing::Approved),
            Err(PortalError::Refused(_)) => Ok(Standing::Pending),
            Err(error) => Err(error),
        }
    }

    /// Asks about a token (RFC 7662).
    ///
    /// # Errors
    ///
    /// [`PortalError`]; [`PortalError::Refused`] where the Portal does not talk to this tracker.
    pub async fn introspect(&self, request: &IntrospectionRequest) -> Result<Introspection, PortalError> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(strange)?;
        let assertion = Assertion {
            service: self.id(),
            audience: self.issuer().to_owned(),
            issued: self.unix_now(),
            id: u128::from_be_bytes(id),
        };
        let form: FormWriter = assertion.add_to(request.write(), &self.key);
        let body = Bytes::copy_from_slice(form.finish().as_bytes());
        let answer = self.post("/oauth/introspect", FORM, body).await?;
        if answer.status() != StatusCode::OK {
            return Err(refused(&answer));
        }
        Introspection::read(answer.body()).map_err(strange)
    }

    async fn get(&self, path: &str) -> Result<Bytes, PortalError> {
        let answer = self.send(Request::get(path).body(Bytes::new()).map_err(strange)?).await?;
        if answer.status() == StatusCode::OK { Ok(answer.into_body()) } else { Err(refused(&answer)) }
    }

    async fn post(&self, path: &str, kind: &str, body: Bytes) -> Result<Response<Bytes>, PortalError> {
        self.send(Request::post(path).header(header::CONTENT_TYPE, kind).body(body).map_err(strange)?).await
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, PortalError> {
        let answer = self.client.send(request).await?;
        self.look_at_clock(answer.headers());
        Ok(answer)
    }

    fn look_at_clock(&self, headers: &HeaderMap) {
        let date = headers.get(header::DATE).and_then(|date| date::read(date.to_str().ok()?));
        if let Some(date) = date {
            let ahead = date.cast_signed().saturating_sub(unix_now().cast_signed());
            // Both count whole seconds, and the answer was on its way: what is less is none.
            self.ahead.store(if ahead.abs() <= SAME { 0 } else { ahead }, Ordering::Relaxed);
        }
    }
}

/// A failure of the Portal counts as its absence; a decision as one.
fn refused(answer: &Response<Bytes>) -> PortalError {
    #[derive(Default, Deserialize)]
    struct Said {
        #[serde(default)]
        error: String,
        #[serde(default, alias = "error_description")]
        message: String,
    }
    let said: Said = serde_json::from_slice(answer.body()).unwrap_or_default();
    let sentence = match (said.error.as_str(), said.message.as_str()) {
        ("", "") => format!("status {}", answer.status()),
        (code, "") => code.to_owned(),
        (_, message) => message.to_owned(),
    };
    if answer.status().is_client_error() && answer.status() != StatusCode::TOO_MANY_REQUESTS {
        PortalError::Refused(sentence)
    } else {
        PortalError::Strange(sentence)
    }
}

fn strange(error: impl ToString) -> PortalError {
    PortalError::Strange(error.to_string())
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

const SAME: i64 = 2;
