//! Access tokens in HTTP headers (RFC 6750). Owns how a token is shown and refused; what a token says is not looked at.
//!
//! A token travels in the `Authorization` header alone. RFC 6750 §2.2 and §2.3 also know form fields and URLs; those
//! end in logs and histories, and are neither read nor written here.

use alloc::{format, string::String};
use core::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

use crate::http_auth::{Auth, HttpAuthError, Params};

/// The token of an `Authorization` header.
///
/// ```
/// use ppsp_auth::bearer::{self, BearerError};
///
/// assert_eq!(bearer::token("Bearer mF_9.B5f-4.1JqM"), Ok("mF_9.B5f-4.1JqM"));
/// assert_eq!(bearer::token("Basic QWxhZGRpbg=="), Err(BearerError::OtherScheme));
/// ```
pub fn token(authorization: &str) -> Result<&str, BearerError> {
    let auth = Auth::read(authorization)?;
    if !auth.is(SCHEME) {
        return Err(BearerError::OtherScheme);
    }
    auth.token68().ok_or(BearerError::Header(HttpAuthError::Malformed))
}

/// The `Authorization` header that shows a token.
///
/// # Errors
///
/// [`HttpAuthError::Malformed`] where the text is none that can stand there, [`HttpAuthError::TooLong`] where no reader
/// would take it.
pub fn authorization(token: &str) -> Result<Zeroizing<String>, BearerError> {
    let header = Zeroizing::new(format!("{SCHEME} {token}"));
    match self::token(&header) {
        Ok(read) if read.len() == token.len() => Ok(header),
        Ok(_) => Err(HttpAuthError::Malformed.into()),
        Err(error) => Err(error),
    }
}

/// What a `WWW-Authenticate` header says about bearer tokens (RFC 6750 §3).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct BearerChallenge<'a> {
    /// Where the token would be good.
    pub realm: &'a str,
    /// Why the one that was shown is not; `None` where none was (RFC 6750 §3.1: no error code then).
    pub refusal: Option<BearerRefusal>,
    /// A sentence for developers.
    pub description: Option<&'a str>,
    /// What a token must allow, names with spaces between them.
    pub scope: Option<&'a str>,
}

impl fmt::Display for BearerChallenge<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refusal = self.refusal.map(BearerRefusal::code);
        let rest = [("error", refusal), ("error_description", self.description), ("scope", self.scope)];
        let params = rest.into_iter().fold(Params::default().quoted("realm", self.realm), |params, (name, value)| {
            value.into_iter().fold(params, |params, value| params.quoted(name, value))
        });
        Auth::new(SCHEME, params).fmt(f)
    }
}

/// Why a token is refused (RFC 6750 §3.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BearerRefusal {
    /// The request itself is wrong.
    InvalidRequest,
    /// Expired, revoked, malformed or not from here: another token may help.
    InvalidToken,
    /// The token is good, but not for this.
    InsufficientScope,
}

impl BearerRefusal {
    /// The refusal of the first Bearer challenge in a `WWW-Authenticate` header; `None` where there is no such
    /// challenge, or none that is known.
    pub fn read(www_authenticate: &str) -> Result<Option<Self>, HttpAuthError> {
        let list = Auth::read_list(www_authenticate)?;
        let code = list.iter().find(|auth| auth.is(SCHEME)).and_then(|auth| auth.get("error"));
        Ok([Self::InvalidRequest, Self::InvalidToken, Self::InsufficientScope]
            .into_iter()
            .find(|refusal| Some(refusal.code()) == code))
    }

    /// The error code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::InvalidToken => "invalid_token",
            Self::InsufficientScope => "insufficient_scope",
        }
    }

    /// The HTTP status that goes with it.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::InvalidToken => 401,
            Self::InsufficientScope => 403,
        }
    }
}

/// Why there is no token.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum BearerError {
    /// The header does not parse, or has no token.
    #[error(transparent)]
    Header(#[from] HttpAuthError),
    /// The header is of another scheme.
    #[error("the credentials are not a bearer token")]
    OtherScheme,
}

const SCHEME: &str = "Bearer";

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn tokens() {
        // RFC 6750 §2.1
        assert_eq!(token("Bearer mF_9.B5f-4.1JqM"), Ok("mF_9.B5f-4.1JqM"));
        assert_eq!(token("bearer  a=="), Ok("a=="));
        let malformed = Err(BearerError::Header(HttpAuthError::Malformed));
        for bad in ["Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Bearer a, Bearer b", "Bearer token=\"a\"", ""] {
            assert_eq!(token(bad), malformed, "{bad}");
        }
        assert_eq!(token("Digest a"), Err(BearerError::OtherScheme));
        assert_eq!(authorization("a.b").unwrap().as_str(), "Bearer a.b");
        for bad in ["", " ", "a\nb", "a, Bearer b", "a ", ",a", " a"] {
            assert!(authorization(bad).is_err(), "{bad:?}");
        }
        assert_eq!(authorization(&"a".repeat(Auth::MAX_LEN)).err(), Some(HttpAuthError::TooLong.into()));
    }

    #[test]
    fn challenges() {
        // RFC 6750 §3
        let plain = BearerChallenge { realm: "example", ..BearerChallenge::default() };
        assert_eq!(plain.to_string(), r#"Bearer realm="example""#);
        let expired = BearerChallenge {
            refusal: Some(BearerRefusal::InvalidToken),
            description: Some("The access token expired"),
            ..plain
        };
        let text = r#"Bearer realm="example", error="invalid_token", error_description="The access token expired""#;
        assert_eq!(expired.to_string(), text);
        assert_eq!(BearerRefusal::read(text), Ok(Some(BearerRefusal::InvalidToken)));
        let scope = BearerChallenge { refusal: Some(BearerRefusal::InsufficientScope), scope: Some("a b"), ..plain };
        assert_eq!(scope.to_string(), r#"Bearer realm="example", error="insufficient_scope", scope="a b""#);
        assert_eq!(BearerRefusal::read(&plain.to_string()), Ok(None));
        assert_eq!(BearerRefusal::read("Digest error=invalid_token, Bearer error=new"), Ok(None));
        assert_eq!(BearerRefusal::InsufficientScope.status(), 403);
    }
}
