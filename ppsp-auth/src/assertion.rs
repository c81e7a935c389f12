//! How a tracker or another service proves to a Portal who it is: a short JSON Web Token signed with its own key
//! (RFC 7523 §2.2 and §3, `private_key_jwt`). Also how the Portal makes sure that each counts once.
//!
//! Which services are registered, and with which keys, is not known here.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    string::String,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    json::{self, OneOrMany},
    oauth::{Form, FormWriter, OauthError, OauthErrorCode},
    token::{
        SigningKey, TokenError, TokenText, VerifyingKey,
        jws::{self, Unverified},
    },
};

/// The longest life of an assertion, in seconds.
pub const MAX_LIFETIME: u64 = 300;

/// The longest identifier of a service, in bytes.
pub const MAX_SERVICE: usize = 128;

/// The value of `client_assertion_type` (RFC 7523 §2.2).
pub const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a service says to prove itself. It is for one request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Assertion {
    /// The service's identifier at the Portal: `iss` and `sub`.
    pub service: String,
    /// The Portal's URL: `aud`.
    pub audience: String,
    /// When it was made, in Unix seconds: `iat`.
    pub issued: u64,
    /// A random number of its own: `jti`.
    pub id: u128,
}

impl Assertion {
    /// The assertion as a signed token that lives for a minute.
    pub fn sign(&self, key: &SigningKey) -> TokenText {
        let payload = json::write(&Written {
            iss: &self.service,
            sub: &self.service,
            aud: &self.audience,
            iat: self.issued,
            exp: self.issued.saturating_add(60),
            jti: alloc::format!("{:032x}", self.id),
        });
        TokenText::new(jws::sign(key, "JWT", &payload))
    }

    /// A form with the assertion added (RFC 7523 §2.2).
    pub fn add_to(&self, form: FormWriter, key: &SigningKey) -> FormWriter {
        form.with("client_assertion_type", ASSERTION_TYPE).with("client_assertion", self.sign(key).as_str())
    }
}

/// An assertion that came with a request and is not checked yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Presented {
    text: TokenText,
    service: String,
}

impl Presented {
    /// Takes the assertion of a request.
    ///
    /// # Errors
    /// [`OauthErrorCode::InvalidClient`] where there is none, or none of the right form.
    pub fn read(form: &Form) -> Result<Self, OauthError> {
        if form.one("client_assertion_type")? != Some(ASSERTION_TYPE) {
            return Err(OauthError::new(OauthErrorCode::InvalidClient, "a client assertion is needed"));
        }
        let text = TokenText::new(form.required("client_assertion")?);
        Self::parse(text)
            .map_err(|_| OauthError::new(OauthErrorCode::InvalidClient, "the client assertion is malformed"))
    }

    /// Takes an assertion apart.
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn parse(text: TokenText) -> Result<Self, TokenError> {
        let jws = Unverified::parse(text.as_str())?;
        let claims: Read = json::read(jws.unproven()).ok_or(TokenError::Malformed)?;
        if claims.iss.is_empty() || claims.iss.len() > MAX_SERVICE {
            return Err(TokenError::Malformed);
        }
        Ok(Self { service: claims.iss, text })
    }

    /// Who it says it is from: whose key is to be looked up.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Checks the assertion with the key of [`service`](Self::service), for the Portal of this name, and that it is its
    /// first time.
    ///
    /// # Errors
    /// See [`AssertionError`]. The answer to the service is `invalid_client`, whatever the reason.
    pub fn check(
        &self,
        key: &VerifyingKey,
        audience: &str,
        leeway: u64,
        unix_now: u64,
        replays: &mut ReplayTable,
    ) -> Result<(), AssertionError> {
        let jws = Unverified::parse(self.text.as_str())?;
        // What was made for other purposes has another type. Other libraries write none.
        if jws.has_type() && !jws.is("JWT") {
            return Err(TokenError::Type.into());
        }
        if jws.kid().is_some_and(|kid| kid != key.id()) {
            return Err(TokenError::UnknownKey.into());
        }
        let claims: Read = json::read(&jws.verify(key)?).ok_or(TokenError::Malformed)?;
        // RFC 7523 §3 (2): the subject of a client's assertion is the client.
        if claims.iss != claims.sub || claims.jti.is_empty() || claims.jti.len() > 256 {
            return Err(TokenError::Malformed.into());
        }
        if !claims.aud.0.iter().any(|name| name == audience) {
            return Err(TokenError::Audience.into());
        }
        let earliest = unix_now.saturating_add(leeway);
        if claims.nbf.max(claims.iat).is_some_and(|from| earliest < from) {
            return Err(TokenError::NotYet.into());
        }
        // RFC 7523 §3 (4): one that would live unreasonably long is refused, so that the table stays small.
        if claims.exp > earliest.saturating_add(MAX_LIFETIME) {
            return Err(TokenError::Lifetime.into());
        }
        let until = claims.exp.saturating_add(leeway);
        if unix_now >= until {
            return Err(TokenError::Expired.into());
        }
        replays.admit(&self.service, &claims.jti, until, unix_now)
    }
}

/// Why an assertion is not accepted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum AssertionError {
    /// As a token it is not sound.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// It was used before.
    #[error("the assertion was used before")]
    Replayed,
    /// The service used as many in the last minutes as are remembered of one.
    #[error("the service has used too many assertions in the last minutes")]
    TooMany,
}

/// The assertions that were accepted and have not expired: each counts once (RFC 7523 §3 (7)).
///
/// Only registered services get in here, and each has its own room: one that uses too many shuts out itself alone. The
/// table belongs to one process; where several serve one Portal, an assertion counts once at each until it expires.
#[derive(Clone, Debug)]
pub struct ReplayTable {
    /// By service: until when, and a hash of its name.
    seen: BTreeMap<String, BTreeSet<(u64, [u8; 16])>>,
    per_service: usize,
}

impl ReplayTable {
    /// Remembers at most so many assertions of one service; those of [`DEFAULT_ASSERTIONS`] suffice for 100 requests a
    /// second.
    pub fn new(per_service: usize) -> Self {
        Self { seen: BTreeMap::new(), per_service }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.seen.values().map(BTreeSet::len).sum()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets those that have expired, of all services. [`Presented::check`] does so for its own.
    pub fn sweep(&mut self, unix_now: u64) {
        self.seen.retain(|_, seen| {
            expire(seen, unix_now);
            !seen.is_empty()
        });
    }

    fn admit(&mut self, service: &str, jti: &str, until: u64, unix_now: u64) -> Result<(), AssertionError> {
        if !self.seen.contains_key(service) {
            // Services come and go; those that are gone must not stay in memory.
            self.sweep(unix_now);
        }
        let seen = self.seen.entry(service.to_owned()).or_default();
        expire(seen, unix_now);
        let hash = Sha256::digest(jti);
        // The same assertion has the same expiry: it cannot be changed without the key.
        let entry = (until, core::array::from_fn(|i| hash[i]));
        if seen.contains(&entry) {
            return Err(AssertionError::Replayed);
        }
        if seen.len() >= self.per_service {
            return Err(AssertionError::TooMany);
        }
        seen.insert(entry);
        Ok(())
    }
}

impl Default for ReplayTable {
    fn default() -> Self {
        Self::new(DEFAULT_ASSERTIONS)
    }
}

fn expire(seen: &mut BTreeSet<(u64, [u8; 16])>, unix_now: u64) {
    while seen.first().is_some_and(|(until, _)| *until <= unix_now) {
        seen.pop_first();
    }
}

/// How many assertions of one service are remembered, where nothing else is said.
pub const DEFAULT_ASSERTIONS: usize = 12_000;

#[derive(Serialize)]
struct Written<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
    jti: String,
}

#[derive(Deserialize)]
struct Read {
    iss: String,
    sub: String,
    aud: OneOrMany,
    iat: Option<u64>,
    nbf: Option<u64>,
    exp: u64,
    jti: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const PORTAL: &str = "https://portal.example";

    fn key() -> SigningKey {
        SigningKey::from_seed(&[8; 32])
    }

    fn assertion(id: u128) -> Assertion {
        Assertion { service: "tracker-1".into(), audience: PORTAL.into(), issued: NOW, id }
    }

    fn check(text: &TokenText, now: u64, replays: &mut ReplayTable) -> Result<(), AssertionError> {
        Presented::parse(text.clone())?.check(&key().verifying_key(), PORTAL, 60, now, replays)
    }

    /// An assertion that ours would not make.
    fn signed(payload: &str) -> Result<(), AssertionError> {
        check(&TokenText::new(jws::sign(&key(), "JWT", payload)), NOW, &mut ReplayTable::default())
    }

    #[test]
    fn through_a_form_and_once() {
        let form = assertion(1).add_to(FormWriter::default().with("token", "x"), &key()).finish();
        let form = Form::parse(form.as_bytes()).unwrap();
        let presented = Presented::read(&form).unwrap();
        assert_eq!(presented.service(), "tracker-1");
        let mut replays = ReplayTable::default();
        let mut check = |now| presented.check(&key().verifying_key(), PORTAL, 60, now, &mut replays);
        assert_eq!(check(NOW), Ok(()));
        assert_eq!(check(NOW), Err(AssertionError::Replayed));
        assert_eq!(check(NOW + 119), Err(AssertionError::Replayed));
        assert_eq!(check(NOW + 120), Err(TokenError::Expired.into()));
        assert!(Presented::read(&Form::parse(b"client_assertion=x").unwrap()).is_err());
    }

    #[test]
    fn whose_for_whom_and_when() {
        let mut replays = ReplayTable::default();
        let text = assertion(1).sign(&SigningKey::from_seed(&[9; 32]));
        assert_eq!(check(&text, NOW, &mut replays), Err(TokenError::UnknownKey.into()));
        let text = Assertion { audience: "https://other.example".into(), ..assertion(1) }.sign(&key());
        assert_eq!(check(&text, NOW, &mut replays), Err(TokenError::Audience.into()));
        let text = assertion(1).sign(&key());
        assert_eq!(check(&text, NOW - 61, &mut replays), Err(TokenError::NotYet.into()));
        assert_eq!(check(&text, NOW - 60, &mut replays), Ok(()));
        let until = |exp: u64| signed(&format!(r#"{{"iss":"a","sub":"a","aud":"{PORTAL}","exp":{exp},"jti":"1"}}"#));
        assert_eq!(until(NOW + 360), Ok(()));
        assert_eq!(until(NOW + 361), Err(TokenError::Lifetime.into()));
    }

    #[test]
    fn forms_of_other_libraries() {
        let good = format!(r#"{{"iss":"a","sub":"a","aud":["x","{PORTAL}"],"exp":{},"jti":"1"}}"#, NOW + 300);
        assert_eq!(signed(&good), Ok(()));
        assert_eq!(signed(&good.replace(r#""sub":"a""#, r#""sub":"b""#)), Err(TokenError::Malformed.into()));
        assert_eq!(signed(&good.replace(r#""jti":"1""#, r#""jti":"""#)), Err(TokenError::Malformed.into()));
        assert_eq!(signed(&good.replace(r#","jti":"1""#, "")), Err(TokenError::Malformed.into()));
        let token = TokenText::new(jws::sign(&key(), "at+jwt", &good));
        assert_eq!(check(&token, NOW, &mut ReplayTable::default()), Err(TokenError::Type.into()));
    }

    #[test]
    fn a_full_table_shuts_out_one_service_until_it_empties() {
        let mut replays = ReplayTable::new(3);
        let mut use_one = |id, service: &str, issued| {
            let text = Assertion { service: service.into(), issued, ..assertion(id) }.sign(&key());
            check(&text, issued, &mut replays)
        };
        for id in 0..3 {
            assert_eq!(use_one(id, "a", NOW), Ok(()));
        }
        assert_eq!(use_one(3, "a", NOW), Err(AssertionError::TooMany));
        assert_eq!(use_one(3, "b", NOW), Ok(()));
        assert_eq!(use_one(4, "a", NOW + 120), Ok(()));
        assert_eq!(replays.len(), 2);
        replays.sweep(NOW + 240);
        assert!(replays.is_empty());
    }
}
