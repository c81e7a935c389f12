use alloc::{format, string::String, vec::Vec};
use core::{fmt, str::FromStr};

use ppsp_core::Identifier;
use serde::{Deserialize, Serialize};

use super::{KeySet, SigningKey, TokenText, jws};
use crate::{
    grant::Grants,
    json::{self, OneOrMany},
};

/// The longest life of an access token, in seconds.
pub const MAX_LIFETIME: u64 = 900;

/// By how many seconds the clocks of Portal and reader may differ, where nothing else is said.
pub const DEFAULT_LEEWAY: u64 = 60;

/// What a user is to the Portal.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Sees and fetches what is allowed to it.
    #[default]
    Viewer,
    /// Also publishes content.
    Publisher,
    /// May do everything.
    Admin,
}

impl Role {
    /// The name, as in tokens and at the Portal's interface.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Publisher => "publisher",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A text that names no [`Role`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a role is one of viewer, publisher and admin")]
pub struct UnknownRole;

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        [Self::Viewer, Self::Publisher, Self::Admin].into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}

/// What an access token says (RFC 7519 §4.1, RFC 9068 §2.2). Times are Unix seconds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Claims {
    /// `iss`: the Portal's URL.
    pub issuer: String,
    /// `sub`: the client identifier.
    pub client: Identifier,
    /// `aud`: for whom the token is; the Portal's own URL, or [`TRACKERS`].
    pub audience: Vec<String>,
    /// `iat`: when it was made.
    pub issued: u64,
    /// `nbf`: from when on it counts.
    pub not_before: u64,
    /// `exp`: from when on it counts no more; at most [`MAX_LIFETIME`] after `issued`.
    pub expires: u64,
    /// `jti`: a random number of its own.
    pub id: u128,
    /// `sid`: the login from which it comes.
    pub session: u128,
    /// `role`.
    pub role: Role,
    /// `authorization_details` (RFC 9396 §9.1).
    pub grants: Grants,
}

/// The audience of tokens for trackers.
pub const TRACKERS: &str = "ppsp-tracker";

/// Why a token is not accepted.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than [`MAX_TOKEN`](super::MAX_TOKEN).
    #[error("the token is too long")]
    TooLong,
    /// Not three parts in base64url with JSON in them, or a claim is missing or of another form.
    #[error("the token is malformed")]
    Malformed,
    /// Not signed with EdDSA.
    #[error("the token is signed with an algorithm that is not accepted")]
    Algorithm,
    /// A token of another kind.
    #[error("the token is of another type")]
    Type,
    /// It has extensions that must be understood.
    #[error("the token needs an extension that is not known here")]
    Critical,
    /// It names no key, or one that the issuer does not publish.
    #[error("the token is signed with an unknown key")]
    UnknownKey,
    /// The signature is false.
    #[error("the token's signature is false")]
    Signature,
    /// From somebody else.
    #[error("the token is from another issuer")]
    Issuer,
    /// For somebody else.
    #[error("the token is for another audience")]
    Audience,
    /// Its times contradict each other, or it would live longer than it may.
    #[error("the token lives longer than is allowed")]
    Lifetime,
    /// Its time has not come, as far as this clock is right.
    #[error("the token is not valid yet; is the clock right?")]
    NotYet,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
}

/// A checked access token: its issuer made it, for the reader, and it was in its time.
///
/// Only [`Expectation::check`] makes one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccessToken(Claims);

impl AccessToken {
    /// What it says.
    pub fn claims(&self) -> &Claims {
        &self.0
    }

    /// Takes what it says.
    pub fn into_claims(self) -> Claims {
        self.0
    }
}

impl Claims {
    /// The claims as a signed token (RFC 7519 §7.1, RFC 9068 §2.1).
    ///
    /// # Errors
    /// [`TokenError::Lifetime`] where no reader would accept the times, [`TokenError::TooLong`] where the grants do not fit.
    pub fn sign(&self, key: &SigningKey) -> Result<TokenText, TokenError> {
        self.check_lifetime()?;
        let payload = json::write(&self.written());
        let text = jws::sign(key, ACCESS_TOKEN, &payload);
        if text.len() > jws::MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        Ok(TokenText::new(text))
    }

    /// The members as they are written.
    pub(crate) fn written(&self) -> Written<'_> {
        Written {
            iss: &self.issuer,
            sub: self.client,
            aud: &self.audience,
            iat: self.issued,
            nbf: self.not_before,
            exp: self.expires,
            jti: hex(self.id),
            sid: hex(self.session),
            role: self.role,
            authorization_details: &self.grants,
        }
    }

    /// Reads the members; others are ignored.
    pub(crate) fn read(object: &[u8]) -> Result<Self, TokenError> {
        let read: Read = json::read(object).ok_or(TokenError::Malformed)?;
        let claims = || {
            Some(Self {
                issuer: read.iss,
                client: read.sub.parse().ok()?,
                audience: read.aud.0,
                issued: read.iat,
                not_before: read.nbf.unwrap_or(read.iat),
                expires: read.exp,
                id: from_hex(&read.jti)?,
                session: from_hex(&read.sid)?,
                role: read.role,
                grants: read.authorization_details,
            })
        };
        claims().ok_or(TokenError::Malformed)
    }

    fn check_lifetime(&self) -> Result<(), TokenError> {
        let lifetime = self.expires.checked_sub(self.issued).ok_or(TokenError::Lifetime)?;
        if lifetime == 0 || lifetime > MAX_LIFETIME || self.not_before >= self.expires {
            return Err(TokenError::Lifetime);
        }
        Ok(())
    }
}

/// What a reader expects of a token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expectation {
    /// The issuer's URL.
    pub issuer: String,
    /// The reader's own name among audiences.
    pub audience: String,
    /// By how many seconds the clocks of both may differ ([`DEFAULT_LEEWAY`]).
    ///
    /// A token is accepted so much longer and so much earlier. A clock that is off by more refuses every fresh token
    /// ([`TokenError::NotYet`], where it is slow) or shortens their life (where it is fast).
    pub leeway: u64,
}

impl Expectation {
    /// With [`DEFAULT_LEEWAY`].
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>) -> Self {
        Self { issuer: issuer.into(), audience: audience.into(), leeway: DEFAULT_LEEWAY }
    }

    /// Checks all of a token but whether it was revoked: form, signature, issuer, audience and times.
    ///
    /// # Errors
    /// See [`TokenError`]. Nothing but the key's name is said about a token whose signature is false.
    pub fn check(&self, keys: &KeySet, token: &str, unix_now: u64) -> Result<AccessToken, TokenError> {
        let jws = jws::Unverified::parse(token)?;
        // RFC 9068 §4: what was signed for other purposes must not pass for an access token.
        if !jws.is(ACCESS_TOKEN) {
            return Err(TokenError::Type);
        }
        let key = jws.kid().and_then(|kid| keys.key(kid)).ok_or(TokenError::UnknownKey)?;
        let claims = Claims::read(&jws.verify(key)?)?;
        if claims.issuer != self.issuer {
            return Err(TokenError::Issuer);
        }
        // RFC 7519 §4.1.3: a reader that is not among the audience MUST reject.
        if !claims.audience.contains(&self.audience) {
            return Err(TokenError::Audience);
        }
        claims.check_lifetime()?;
        self.check_time(&claims, unix_now)?;
        Ok(AccessToken(claims))
    }

    /// Whether a token that was checked before is still in its time.
    ///
    /// # Errors
    /// [`TokenError::NotYet`], [`TokenError::Expired`].
    pub fn check_time(&self, claims: &Claims, unix_now: u64) -> Result<(), TokenError> {
        if unix_now.saturating_add(self.leeway) < claims.not_before.max(claims.issued) {
            return Err(TokenError::NotYet);
        }
        // RFC 7519 §4.1.4: on or after "exp" it MUST NOT be accepted, but for the leeway.
        if unix_now >= claims.expires.saturating_add(self.leeway) {
            return Err(TokenError::Expired);
        }
        Ok(())
    }
}

/// 128 bits as `jti` and `sid` have them: 32 lower-case hexadecimal digits.
fn hex(value: u128) -> String {
    format!("{value:032x}")
}

fn from_hex(text: &str) -> Option<u128> {
    let exact = text.len() == 32 && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    exact.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

#[derive(Serialize)]
pub(crate) struct Written<'a> {
    iss: &'a str,
    #[serde(serialize_with = "as_text")]
    sub: Identifier,
    aud: &'a [String],
    iat: u64,
    nbf: u64,
    exp: u64,
    jti: String,
    sid: String,
    role: Role,
    authorization_details: &'a Grants,
}

fn as_text<S: serde::Serializer>(value: &impl fmt::Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

#[derive(Deserialize)]
struct Read {
    iss: String,
    sub: String,
    aud: OneOrMany,
    iat: u64,
    nbf: Option<u64>,
    exp: u64,
    jti: String,
    sid: String,
    role: Role,
    #[serde(default)]
    authorization_details: Grants,
}

const ACCESS_TOKEN: &str = "at+jwt";

#[cfg(test)]
#[path = "access_tests.rs"]
pub(crate) mod tests;
