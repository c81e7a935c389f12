//! The two headers (RFC 7616 §3.3, §3.4): text to parts and back.

use alloc::{
    format,
    string::{String, ToString},
};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

use super::{Algorithm, DigestError, user_hash};
use crate::http_auth::{Auth, HttpAuthError, Params};

/// `WWW-Authenticate: Digest …`
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Challenge {
    pub(super) realm: String,
    pub(super) nonce: String,
    pub(super) opaque: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) stale: bool,
    pub(super) userhash: bool,
}

impl Challenge {
    /// The first that can be answered (§3.7).
    pub(super) fn read(header: &str) -> Result<Self, DigestError> {
        let list = Auth::read_list(header)?;
        list.iter().find_map(Self::of).ok_or(DigestError::Unsupported)
    }

    fn of(auth: &Auth<'_>) -> Option<Self> {
        let offers_auth = auth.get("qop")?.split([',', ' ']).any(|qop| qop.eq_ignore_ascii_case("auth"));
        let flag = |name| auth.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if !auth.is(SCHEME) || !offers_auth {
            return None;
        }
        Some(Self {
            realm: auth.get("realm")?.to_string(),
            nonce: auth.get("nonce")?.to_string(),
            opaque: auth.get("opaque").map(str::to_string),
            algorithm: Algorithm::read(auth.get("algorithm")).ok()?,
            stale: flag("stale"),
            userhash: flag("userhash"),
        })
    }

    pub(super) fn write(&self) -> String {
        // §3.3: which parameters have quotes and which have not is prescribed.
        let mut params = Params::default()
            .quoted("realm", &self.realm)
            .quoted("qop", "auth")
            .bare("algorithm", self.algorithm.name())
            .quoted("nonce", &self.nonce)
            .bare("charset", "UTF-8");
        if self.userhash {
            params = params.bare("userhash", "true");
        }
        if let Some(opaque) = &self.opaque {
            params = params.quoted("opaque", opaque);
        }
        if self.stale {
            params = params.bare("stale", "true");
        }
        Auth::new(SCHEME, params).to_string()
    }
}

/// `Authorization: Digest …`
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Credentials {
    pub(super) user: User,
    pub(super) realm: String,
    pub(super) nonce: String,
    pub(super) opaque: Option<String>,
    pub(super) uri: String,
    pub(super) algorithm: Algorithm,
    /// As it stands there: it is hashed so.
    pub(super) nc: String,
    /// What it means; not zero.
    pub(super) count: u32,
    pub(super) cnonce: String,
    pub(super) response: [u8; 32],
}

/// Whose credentials they are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum User {
    Name(String),
    Hash([u8; 32]),
}

impl User {
    pub(super) fn hash(&self, realm: &str) -> [u8; 32] {
        match self {
            Self::Name(name) => user_hash(name, realm),
            Self::Hash(hash) => *hash,
        }
    }
}

impl Credentials {
    pub(super) fn read(header: &str) -> Result<Self, DigestError> {
        let auth = Auth::read(header)?;
        if !auth.is(SCHEME) || !auth.get("qop").is_some_and(|qop| qop.eq_ignore_ascii_case("auth")) {
            return Err(DigestError::Unsupported);
        }
        let algorithm = Algorithm::read(auth.get("algorithm"))?;
        let malformed = HttpAuthError::Malformed;
        let text = |name| auth.get(name).map(str::to_string).ok_or(malformed);
        let nc = text("nc")?;
        // §3.5: exactly eight hexadecimal digits. No sign, which `from_str_radix` would take.
        let digits = nc.len() == 8 && nc.bytes().all(|byte| byte.is_ascii_hexdigit());
        let count = u32::from_str_radix(&nc, 16).ok().filter(|&count| digits && count > 0).ok_or(malformed)?;
        let username = text("username")?;
        // §3.4: both forms of the name MUST be treated as an error.
        if auth.get("username*").is_some() {
            return Err(malformed.into());
        }
        let user = match auth.get("userhash") {
            Some(flag) if flag.eq_ignore_ascii_case("true") => User::Hash(hash(&username).ok_or(malformed)?),
            _ => User::Name(username),
        };
        Ok(Self {
            user,
            realm: text("realm")?,
            nonce: text("nonce")?,
            opaque: text("opaque").ok(),
            uri: text("uri")?,
            algorithm,
            nc,
            count,
            cnonce: text("cnonce")?,
            response: hash(&text("response")?).ok_or(malformed)?,
        })
    }

    pub(super) fn write(&self) -> String {
        // §3.4: which parameters have quotes and which have not is prescribed.
        let (username, hashed) = match &self.user {
            User::Name(name) => (name.clone(), false),
            User::Hash(hash) => (HEXLOWER.encode(hash), true),
        };
        let mut params = Params::default()
            .quoted("username", username)
            .quoted("realm", &self.realm)
            .quoted("uri", &self.uri)
            .bare("algorithm", self.algorithm.name())
            .quoted("nonce", &self.nonce)
            .bare("nc", &self.nc)
            .quoted("cnonce", &self.cnonce)
            .bare("qop", "auth")
            .quoted("response", HEXLOWER.encode(&self.response));
        if let Some(opaque) = &self.opaque {
            params = params.quoted("opaque", opaque);
        }
        if hashed {
            params = params.bare("userhash", "true");
        }
        Auth::new(SCHEME, params).to_string()
    }
}

/// A nonce count as it is sent.
pub(super) fn nc_text(count: u32) -> String {
    format!("{count:08x}")
}

const SCHEME: &str = "Digest";

fn hash(hex: &str) -> Option<[u8; 32]> {
    HEXLOWER_PERMISSIVE.decode(hex.as_bytes()).ok()?.try_into().ok()
}
