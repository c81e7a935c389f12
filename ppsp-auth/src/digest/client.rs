//! Who asks to be let in: answers challenges, and counts its requests.

use alloc::string::{String, ToString};

use data_encoding::BASE64;

use super::{
    DigestError, Signed, check_name, ha1,
    header::{Challenge, Credentials, User, nc_text},
    user_hash,
};
use crate::{Password, Secret};

/// A client of one server. The password stays here, the hash of it is made for each realm.
#[derive(Debug)]
pub struct DigestClient {
    name: String,
    password: Password,
    session: Option<Session>,
}

/// RFC 7616 §3.6: lasts from one challenge to the next.
#[derive(Debug)]
struct Session {
    challenge: Challenge,
    ha1: Secret,
    /// Of the last request.
    count: u32,
}

impl DigestClient {
    /// Before the first challenge.
    ///
    /// # Errors
    ///
    /// [`DigestError::Name`].
    pub fn new(name: &str, password: Password) -> Result<Self, DigestError> {
        check_name(name)?;
        Ok(Self { name: name.to_string(), password, session: None })
    }

    /// Takes the `WWW-Authenticate` header of a 401 response. The request can be sent again where this is `Ok`.
    ///
    /// # Errors
    ///
    /// [`DigestError::WrongCredentials`] where credentials were sent already and the server does not say that only the
    /// nonce was stale (RFC 7616 §3.3): the next challenge starts anew. [`DigestError::Unsupported`] where no challenge
    /// can be answered.
    pub fn challenged(&mut self, www_authenticate: &str) -> Result<(), DigestError> {
        let challenge = Challenge::read(www_authenticate)?;
        let refused = self.session.take().is_some_and(|session| session.count > 0) && !challenge.stale;
        if refused {
            return Err(DigestError::WrongCredentials);
        }
        let ha1 = ha1(&self.name, &challenge.realm, &self.password);
        self.session = Some(Session { challenge, ha1, count: 0 });
        Ok(())
    }

    /// The `Authorization` header of the next request; `None` before a challenge. `uri` is the request target as it is
    /// sent, `cnonce` fresh chance.
    pub fn authorization(&mut self, method: &str, uri: &str, cnonce: &[u8; 16]) -> Option<String> {
        let Session { challenge, ha1, count } = self.session.as_mut()?;
        *count = count.checked_add(1)?;
        let Challenge { realm, nonce, opaque, algorithm, userhash, .. } = challenge;
        let (nc, cnonce) = (nc_text(*count), BASE64.encode(cnonce));
        let signed = Signed { algorithm: *algorithm, nonce, nc: &nc, cnonce: &cnonce, method, uri };
        let response = signed.response(ha1);
        let user = if *userhash { User::Hash(user_hash(&self.name, realm)) } else { User::Name(self.name.clone()) };
        let credentials = Credentials {
            user,
            realm: realm.clone(),
            nonce: nonce.clone(),
            opaque: opaque.clone(),
            uri: uri.to_string(),
            algorithm: *algorithm,
            nc,
            count: *count,
            cnonce,
            response,
        };
        Some(credentials.write())
    }
}
