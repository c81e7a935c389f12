//! The messages of a Portal's OAuth endpoints: refreshing (RFC 6749 §6), revoking (RFC 7009) and the errors of both, and the
//! form in which requests travel.
//!
//! Who may do what is decided elsewhere; asking about a token is in [`introspection`](crate::introspection).

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{json, token::TokenText};

/// The media type of requests.
pub const FORM: &str = "application/x-www-form-urlencoded";

/// The longest request that is read, in bytes.
pub const MAX_FORM: usize = 128 << 10;

/// The most parameters of one request.
pub const MAX_PARAMETERS: usize = 256;

/// The most pieces of content for which one token is asked.
pub const MAX_CONTENT: usize = 64;

/// The longest text of a parameter that is neither a token nor a swarm, in bytes.
pub const MAX_NAME: usize = 256;

/// The parameters of a request (RFC 6749 appendix B). Values are wiped when dropped: there are tokens among them.
pub struct Form(Vec<(String, Zeroizing<String>)>);

impl Form {
    /// Reads a form.
    ///
    /// # Errors
    /// [`OauthErrorCode::InvalidRequest`] beyond [`MAX_FORM`] or [`MAX_PARAMETERS`], and where it is no form.
    pub fn parse(body: &[u8]) -> Result<Self, OauthError> {
        let bad = OauthError::new(OauthErrorCode::InvalidRequest, "the form is malformed or too long");
        if body.len() > MAX_FORM || body.iter().filter(|&&byte| byte == b'&').count() >= MAX_PARAMETERS {
            return Err(bad);
        }
        let pairs = body.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
            let at = pair.iter().position(|&byte| byte == b'=').unwrap_or(pair.len());
            let value = pair.get(at + 1..).unwrap_or_default();
            Some((decode(&pair[..at])?.to_string(), decode(value)?))
        });
        pairs.collect::<Option<_>>().map(Self).ok_or(bad)
    }

    /// The value of a parameter that may stand once. RFC 6749 §3.1: without a value it is as if it were not there.
    ///
    /// # Errors
    /// [`OauthErrorCode::InvalidRequest`] where it stands twice.
    pub fn one<'a>(&'a self, name: &'a str) -> Result<Option<&'a str>, OauthError> {
        let mut values = self.all(name);
        match (values.next(), values.next()) {
            // RFC 6749 §3.2: parameters MUST NOT be included more than once.
            (_, Some(_)) => Err(OauthError::new(OauthErrorCode::InvalidRequest, "a parameter stands twice")),
            (value, None) => Ok(value),
        }
    }

    /// The value of a parameter that must stand once.
    ///
    /// # Errors
    /// [`OauthErrorCode::InvalidRequest`] where it stands twice or not at all.
    pub fn required<'a>(&'a self, name: &'a str) -> Result<&'a str, OauthError> {
        let missing = OauthError::new(OauthErrorCode::InvalidRequest, "a parameter is missing");
        self.one(name)?.ok_or(missing)
    }

    /// All values of a parameter, without the empty ones.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }
}

/// Writes a form.
#[derive(Default)]
pub struct FormWriter(Zeroizing<String>);

impl FormWriter {
    /// Adds a parameter.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        encode(name, &mut self.0);
        self.0.push('=');
        encode(value, &mut self.0);
        self
    }

    /// The form as text.
    pub fn finish(self) -> Zeroizing<String> {
        self.0
    }
}

/// Asks for a new access token (RFC 6749 §6).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RefreshRequest {
    /// The refresh token.
    pub refresh_token: TokenText,
    /// For whom the access token is to be (as in RFC 8693 §2.1); the Portal itself where nothing is said.
    pub audience: Option<String>,
    /// The content that it is to open, by catalogue identifiers; at most [`MAX_CONTENT`]. All that the client may have,
    /// where the list is empty.
    pub content: Vec<String>,
}

impl RefreshRequest {
    /// Reads the parameters.
    ///
    /// # Errors
    /// An [`OauthError`] to be sent back.
    pub fn read(form: &Form) -> Result<Self, OauthError> {
        if form.required("grant_type")? != "refresh_token" {
            return Err(OauthError::new(OauthErrorCode::UnsupportedGrantType, "only refresh_token is supported"));
        }
        let content: Vec<String> = form.all("content").map(String::from).collect();
        let audience = form.one("audience")?.map(String::from);
        if content.len() > MAX_CONTENT || content.iter().chain(&audience).any(|name| name.len() > MAX_NAME) {
            return Err(OauthError::new(OauthErrorCode::InvalidRequest, "too much is asked for at once"));
        }
        Ok(Self { refresh_token: TokenText::new(form.required("refresh_token")?), audience, content })
    }

    /// The request as a form.
    pub fn write(&self) -> Zeroizing<String> {
        let form = FormWriter::default()
            .with("grant_type", "refresh_token")
            .with("refresh_token", self.refresh_token.as_str());
        let form = self.audience.iter().fold(form, |form, audience| form.with("audience", audience));
        self.content.iter().fold(form, |form, content| form.with("content", content)).finish()
    }
}

/// Tokens that were given out (RFC 6749 §5.1). The answer must not be cached (`Cache-Control: no-store`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenResponse {
    /// The access token.
    pub access_token: TokenText,
    /// Its life, in seconds.
    pub expires_in: u64,
    /// The refresh token from now on; none where it goes another way.
    pub refresh_token: Option<TokenText>,
}

impl TokenResponse {
    /// Reads the answer. `None` where it is malformed, longer than [`MAX_FORM`], or its token is of another type.
    pub fn read(body: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Read {
            access_token: TokenText,
            token_type: String,
            expires_in: u64,
            refresh_token: Option<TokenText>,
        }
        let read: Read = (body.len() <= MAX_FORM).then(|| json::read(body)).flatten()?;
        // RFC 6749 §5.1: the value is case insensitive.
        read.token_type.eq_ignore_ascii_case("Bearer").then(|| Self {
            access_token: read.access_token,
            expires_in: read.expires_in,
            refresh_token: read.refresh_token,
        })
    }

    /// The answer as JSON.
    pub fn write(&self) -> Zeroizing<String> {
        #[derive(Serialize)]
        struct Written<'a> {
            access_token: &'a str,
            token_type: &'static str,
            expires_in: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            refresh_token: Option<&'a str>,
        }
        Zeroizing::new(json::write(&Written {
            access_token: self.access_token.as_str(),
            token_type: "Bearer",
            expires_in: self.expires_in,
            refresh_token: self.refresh_token.as_ref().map(TokenText::as_str),
        }))
    }
}

/// Asks that a token be revoked, and the session with it (RFC 7009 §2.1).
///
/// Tokens are told apart by their form, so that the hint of the RFC is not needed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RevocationRequest {
    /// An access or refresh token.
    pub token: TokenText,
}

impl RevocationRequest {
    /// Reads the parameters. RFC 7009 §2.2: a token that is not known is revoked; there is no error for it.
    ///
    /// # Errors
    /// An [`OauthError`] to be sent back.
    pub fn read(form: &Form) -> Result<Self, OauthError> {
        form.required("token").map(|token| Self { token: TokenText::new(token) })
    }

    /// The request as a form.
    pub fn write(&self) -> Zeroizing<String> {
        FormWriter::default().with("token", self.token.as_str()).finish()
    }
}

/// An error of an OAuth endpoint (RFC 6749 §5.2).
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}", self.description.as_deref().unwrap_or(self.code.as_str()))]
pub struct OauthError {
    /// What is wrong, for programs.
    pub code: OauthErrorCode,
    /// The same for people.
    pub description: Option<String>,
}

/// What an OAuth endpoint finds wrong (RFC 6749 §5.2, RFC 7009 §2.2.1).
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum OauthErrorCode {
    /// A parameter is missing, malformed or stands twice.
    InvalidRequest,
    /// The asker did not prove who it is.
    InvalidClient,
    /// The refresh token is unknown, expired, revoked or was used before.
    InvalidGrant,
    /// The asker may not ask this.
    UnauthorizedClient,
    /// Another way to get a token is not supported.
    UnsupportedGrantType,
    /// More is asked for than the user may have.
    InvalidScope,
    /// No token can be made for this audience (RFC 8693 §2.2.2).
    InvalidTarget,
    /// Too many requests or a fault; later again.
    TemporarilyUnavailable,
    /// A code that is not known here.
    Other(String),
}

impl OauthErrorCode {
    /// The code on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Other(code) => code,
            known => KNOWN.iter().find(|(code, _)| code == known).map_or("", |(_, text)| text),
        }
    }

    /// The HTTP status that goes with it.
    pub fn status(&self) -> u16 {
        match self {
            Self::InvalidClient => 401,
            Self::TemporarilyUnavailable => 503,
            _ => 400,
        }
    }
}

impl OauthError {
    /// With a sentence for people.
    pub fn new(code: OauthErrorCode, description: &str) -> Self {
        Self { code, description: Some(description.into()) }
    }

    /// Reads an error. `None` where it is malformed or longer than 16 KiB.
    pub fn read(body: &[u8]) -> Option<Self> {
        let read: ErrorBody = (body.len() <= 16 << 10).then(|| json::read(body)).flatten()?;
        let known = KNOWN.iter().find(|(_, text)| *text == read.error).map(|(code, _)| code.clone());
        Some(Self { code: known.unwrap_or(OauthErrorCode::Other(read.error)), description: read.error_description })
    }

    /// The error as JSON.
    pub fn write(&self) -> String {
        json::write(&ErrorBody { error: self.code.as_str().into(), error_description: self.description.clone() })
    }
}

#[derive(Deserialize, Serialize)]
struct ErrorBody {
    error: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_description: Option<String>,
}

const KNOWN: [(OauthErrorCode, &str); 8] = [
    (OauthErrorCode::InvalidRequest, "invalid_request"),
    (OauthErrorCode::InvalidClient, "invalid_client"),
    (OauthErrorCode::InvalidGrant, "invalid_grant"),
    (OauthErrorCode::UnauthorizedClient, "unauthorized_client"),
    (OauthErrorCode::UnsupportedGrantType, "unsupported_grant_type"),
    (OauthErrorCode::InvalidScope, "invalid_scope"),
    (OauthErrorCode::InvalidTarget, "invalid_target"),
    (OauthErrorCode::TemporarilyUnavailable, "temporarily_unavailable"),
];

/// RFC 6749 appendix B: UTF-8, percent-encoded, blanks as plus signs.
fn decode(text: &[u8]) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(text.len()));
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || rest.next().and_then(|&byte| char::from(byte).to_digit(16));
                (digit()? << 4 | digit()?) as u8
            }
            byte => byte,
        });
    }
    core::str::from_utf8(&bytes).ok().map(|text| Zeroizing::new(text.into()))
}

fn encode(text: &str, into: &mut String) {
    for &byte in text.as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'*' | b'-' | b'.' | b'_' => into.push(byte.into()),
            b' ' => into.push('+'),
            _ => {
                into.push('%');
                into.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, option, prelude::*};

    fn form(text: &str) -> Form {
        Form::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    proptest! {
        #[test]
        fn forms_are_read_as_written(pairs in vec(("[ab&=+% ü]{1,3}", "\\PC{1,9}"), 0..8)) {
            let text = pairs.iter().fold(FormWriter::default(), |form, (name, value)| form.with(name, value)).finish();
            prop_assert!(text.is_ascii());
            let form = form(&text);
            let found: Vec<_> = form.0.iter().map(|(name, value)| (name.clone(), value.to_string())).collect();
            prop_assert_eq!(found, pairs);
        }

        #[test]
        fn refreshing(
            token in "\\PC{1,50}", audience in option::of("\\PC{1,20}"), content in vec("\\PC{1,9}", 0..5),
        ) {
            let request = RefreshRequest { refresh_token: TokenText::new(token), audience, content };
            prop_assert_eq!(RefreshRequest::read(&form(&request.write())), Ok(request));
        }

        #[test]
        fn answers(access in "\\PC{0,50}", refresh in option::of("\\PC{0,50}"), expires_in: u64) {
            let response = TokenResponse {
                access_token: TokenText::new(access), expires_in, refresh_token: refresh.map(TokenText::new),
            };
            prop_assert_eq!(TokenResponse::read(response.write().as_bytes()), Some(response));
        }
    }

    #[test]
    fn examples_of_rfc_6749() {
        // RFC 6749 §6.
        let request =
            RefreshRequest::read(&form("grant_type=refresh_token&refresh_token=tGzv3JOkF0XG5Qx2TlKWIA")).unwrap();
        assert_eq!(request.refresh_token.as_str(), "tGzv3JOkF0XG5Qx2TlKWIA");
        // RFC 6749 §5.1.
        let body = r#"{ "access_token":"2YotnFZFEjr1zCsicMWpAA", "token_type":"Bearer", "expires_in":3600,
            "refresh_token":"tGzv3JOkF0XG5Qx2TlKWIA", "example_parameter":"example_value" }"#;
        assert_eq!(TokenResponse::read(body.as_bytes()).unwrap().expires_in, 3600);
        assert_eq!(TokenResponse::read(body.replace("Bearer", "mac").as_bytes()), None);
        // RFC 6749 §5.2.
        let error = OauthError::read(br#"{ "error":"invalid_request" }"#).unwrap();
        assert_eq!((error.code.clone(), error.code.status()), (OauthErrorCode::InvalidRequest, 400));
        assert_eq!(error.write(), r#"{"error":"invalid_request"}"#);
        // RFC 6749 appendix B.
        assert_eq!(FormWriter::default().with("x", " %&+£€").finish().as_str(), "x=+%25%26%2B%C2%A3%E2%82%AC");
        // RFC 7009 §2.1.
        let request =
            RevocationRequest::read(&form("token=45ghiukldjahdnhzdauz&token_type_hint=refresh_token")).unwrap();
        assert_eq!(request.write().as_str(), "token=45ghiukldjahdnhzdauz");
    }

    #[test]
    fn error_codes_go_both_ways() {
        for code in KNOWN.map(|(code, _)| code).into_iter().chain([OauthErrorCode::Other("x".into())]) {
            let error = OauthError::new(code, "a sentence");
            assert_eq!(OauthError::read(error.write().as_bytes()), Some(error));
        }
    }

    #[test]
    fn what_is_refused() {
        let code = |text: &str| RefreshRequest::read(&form(text)).unwrap_err().code;
        assert_eq!(code("grant_type=password&username=a&password=b"), OauthErrorCode::UnsupportedGrantType);
        assert_eq!(code("refresh_token=a"), OauthErrorCode::InvalidRequest);
        assert_eq!(code("grant_type=refresh_token&refresh_token="), OauthErrorCode::InvalidRequest);
        let good = "grant_type=refresh_token&refresh_token=a";
        assert_eq!(code(&format!("{good}&refresh_token=b")), OauthErrorCode::InvalidRequest);
        assert_eq!(code(&format!("{good}{}", "&content=a".repeat(MAX_CONTENT + 1))), OauthErrorCode::InvalidRequest);
        assert_eq!(code(&format!("{good}&audience={}", "a".repeat(MAX_NAME + 1))), OauthErrorCode::InvalidRequest);
        for text in ["%", "%1", "%zz", "a=%ff", "%+1=1"] {
            assert!(Form::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(Form::parse("a=b&".repeat(MAX_PARAMETERS - 1).as_bytes()).is_ok());
        assert!(Form::parse("a=b&".repeat(MAX_PARAMETERS).as_bytes()).is_err());
        assert!(Form::parse(&[b'a'; MAX_FORM + 1]).is_err());
    }
}
