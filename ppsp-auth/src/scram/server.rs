//! Where people sign in. Nothing is kept between the two messages: the state travels in the `sid`, sealed by a key that
//! all processes of a Portal share, so that any of them can go on and strangers cannot fill a table.
//!
//! Passwords are never stretched here: a login costs a few hashes, whoever asks and whatever for.

use alloc::{string::String, vec::Vec};
use core::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use subtle::ConstantTimeEq;

use super::{
    MAX_MESSAGE_LEN, Nonce, ScramError, Verifier,
    message::{ClientFinal, ClientFirst, ServerFinal, ServerFirst, auth_message, nonce_text},
};
use crate::{Secret, UserName};

/// The server of a Portal. It has no state; one serves all exchanges.
#[derive(Clone, Debug)]
pub struct Server {
    seal: Secret,
    decoys: Secret,
    iterations: u32,
}

impl Server {
    /// How long a client may take for its answer. Stretching the password is the most of it.
    pub const LIFETIME: Duration = Duration::from_secs(120);

    /// `key` is the Portal's and the same in all its processes; keys for here are derived from it. `iterations` is what
    /// the accounts have (600 000 as a rule), and what is said of accounts that do not exist. It is brought into
    /// [`Verifier::ITERATIONS`].
    pub fn new(key: &Secret, iterations: u32) -> Self {
        Self {
            seal: key.derive("scram sid"),
            decoys: key.derive("scram decoys"),
            iterations: iterations.clamp(*Verifier::ITERATIONS.start(), *Verifier::ITERATIONS.end()),
        }
    }

    /// Reads a client-first message. The caller then looks up the account by [`Hello::name`].
    pub fn hear(&self, client_first: &str) -> Result<Hello, ScramError> {
        let ClientFirst { header, bare, name, nonce } = ClientFirst::read(client_first)?;
        Ok(Hello { header: header.into(), bare: bare.into(), name, nonce: nonce.into() })
    }

    /// Answers it. `verifier` is the account's, `None` where there is none: such a name is asked for a password like
    /// any other, with a salt that stays the same, and refused in the end. `nonce` is fresh chance.
    pub fn challenge(
        &self,
        hello: &Hello,
        verifier: Option<&Verifier>,
        nonce: &Nonce,
        now_unix_s: u64,
    ) -> ServerChallenge {
        let expires_unix_s = now_unix_s.saturating_add(Self::LIFETIME.as_secs());
        let mut sealed: Vec<u8> =
            [&expires_unix_s.to_be_bytes()[..], nonce, hello.header.as_bytes(), hello.bare.as_bytes()].concat();
        sealed.extend(self.seal.tag(&[&sealed]));
        let message = self.server_first(hello, verifier, nonce);
        ServerChallenge { sid: BASE64URL_NOPAD.encode(&sealed), message }
    }

    /// Goes on with an exchange by its `sid`. The caller then looks up the account again, by [`Exchange::name`].
    ///
    /// # Errors
    ///
    /// [`ScramError::Sid`] where it was not made with this key, [`ScramError::Expired`].
    pub fn resume(&self, sid: &str, now_unix_s: u64) -> Result<Exchange<'_>, ScramError> {
        if sid.len() > MAX_SID_LEN {
            return Err(ScramError::Sid);
        }
        let bytes = BASE64URL_NOPAD.decode(sid.as_bytes()).map_err(|_| ScramError::Sid)?;
        let (sealed, tag) = bytes.split_last_chunk::<32>().ok_or(ScramError::Sid)?;
        if !bool::from(self.seal.tag(&[sealed]).ct_eq(tag)) {
            return Err(ScramError::Sid);
        }
        let (expires, rest) = sealed.split_first_chunk().ok_or(ScramError::Sid)?;
        let (nonce, first) = rest.split_first_chunk().ok_or(ScramError::Sid)?;
        let expires_unix_s = u64::from_be_bytes(*expires);
        if now_unix_s > expires_unix_s {
            return Err(ScramError::Expired);
        }
        let hello = self.hear(core::str::from_utf8(first).map_err(|_| ScramError::Sid)?)?;
        let (id, _) = tag.split_first_chunk().ok_or(ScramError::Sid)?;
        Ok(Exchange { server: self, hello, nonce: *nonce, once: Once { id: *id, expires_unix_s } })
    }

    fn server_first(&self, hello: &Hello, verifier: Option<&Verifier>, nonce: &Nonce) -> String {
        let decoy = self.decoy(&hello.name);
        let Verifier { salt, iterations, .. } = verifier.unwrap_or(&decoy);
        ServerFirst::write(&hello.nonce, &nonce_text(nonce), salt, *iterations)
    }

    /// The account of who has none: always the same, and no password fits. It is made for everybody, so that nobody's
    /// answer comes sooner.
    fn decoy(&self, name: &UserName) -> Verifier {
        let make = |what: &str| self.decoys.tag(&[what.as_bytes(), name.as_str().as_bytes()]);
        let mut salt = [0; 16];
        salt.copy_from_slice(&make("salt:")[..16]);
        Verifier {
            salt,
            iterations: self.iterations,
            stored_key: Secret::new(make("stored key:")),
            server_key: Secret::new(make("server key:")),
        }
    }
}

/// A client-first message that was read.
#[derive(Clone, Debug)]
pub struct Hello {
    header: String,
    bare: String,
    name: UserName,
    nonce: String,
}

impl Hello {
    /// Who wants to sign in. Not yet proven.
    pub const fn name(&self) -> &UserName {
        &self.name
    }
}

/// What goes to the client first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerChallenge {
    /// The state of the exchange, which comes back with the client-final message. A token of HTTP; nothing in it is
    /// hidden from the client, and nothing in it can be changed.
    pub sid: String,
    /// The server-first message.
    pub message: String,
}

/// An exchange that goes on.
#[derive(Clone, Debug)]
pub struct Exchange<'a> {
    server: &'a Server,
    hello: Hello,
    nonce: Nonce,
    once: Once,
}

impl Exchange<'_> {
    /// Who wants to sign in. Not yet proven.
    pub const fn name(&self) -> &UserName {
        &self.hello.name
    }

    /// Checks the client-final message against the account, `None` where there is none. An account that got another
    /// verifier since the challenge fails like a wrong password.
    ///
    /// # Errors
    ///
    /// [`ScramError::WrongCredentials`], for a user that does not exist too; [`ScramError::Nonce`] and
    /// [`ScramError::ChannelBinding`] where the message is of another exchange; what the reader finds wrong.
    pub fn verify(self, client_final: &str, verifier: Option<&Verifier>) -> Result<LoggedIn, ScramError> {
        let message = ClientFinal::read(client_final)?;
        // RFC 5802 §5.1: the server MUST verify that the nonce is the one it sent, and `c=` what the header was.
        if message.nonce.strip_prefix(&*self.hello.nonce) != Some(&nonce_text(&self.nonce)) {
            return Err(ScramError::Nonce);
        }
        if message.binding != self.hello.header.as_bytes() {
            return Err(ScramError::ChannelBinding);
        }
        let server_first = self.server.server_first(&self.hello, verifier, &self.nonce);
        let decoy = self.server.decoy(&self.hello.name);
        let signed = auth_message(&self.hello.bare, &server_first, message.without_proof);
        let signature =
            verifier.unwrap_or(&decoy).check(&signed, &message.proof).ok_or(ScramError::WrongCredentials)?;
        let message = ServerFinal::write(&signature);
        Ok(LoggedIn { name: self.hello.name, once: self.once, message })
    }
}

/// A client that has proven who it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct LoggedIn {
    /// Who it is.
    pub name: UserName,
    /// What the caller must record before it acts on this.
    pub once: Once,
    /// The server-final message, the server's own proof.
    pub message: String,
}

/// A `sid` that was used. Nothing in the exchange itself stops a client-final message from being sent twice, so who
/// acts on a login first records `id` where all processes of the Portal see it, in one step that fails when it is
/// already there (a unique key), and refuses the login then. After `expires_unix_s` the record may go. Only proven
/// users make records.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Once {
    /// Of this `sid` alone.
    pub id: [u8; 16],
    /// The last second in which the `sid` is good.
    pub expires_unix_s: u64,
}

/// Expiry, nonce, a message and a tag, in base64.
const MAX_SID_LEN: usize = (8 + 18 + MAX_MESSAGE_LEN + 32).div_ceil(3) * 4;
