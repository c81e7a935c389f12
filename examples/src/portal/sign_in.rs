//! Signing in by SCRAM-SHA-256: what the Portal answers to each message of an exchange, and the session in the end.

use std::net::IpAddr;

use ppsp_auth::{
    UserName,
    scram::{AuthenticationInfo, Authorization, Challenge, ScramError},
    throttle::Verdict,
    token::{RefreshState, RefreshToken, Role, TokenText},
};
use ppsp_core::Identifier;

use super::{
    Portal, Refusal,
    db::{self, audit, logins, sessions::Session, users},
    id::random,
    lock,
    sessions::make_room,
    unix_now,
};

/// What the Portal says to a message.
#[derive(Debug)]
pub enum SignIn {
    /// Go on with this.
    Challenge(Challenge),
    /// Signed in.
    Done(Box<SignedIn>),
}

/// A login.
#[derive(Debug)]
pub struct SignedIn {
    /// The Portal's own proof.
    pub proof: AuthenticationInfo,
    /// Who signed in.
    pub name: UserName,
    /// What it is.
    pub role: Role,
    /// The client identifier, of this session alone.
    pub client: Identifier,
    /// The session.
    pub session: u128,
    /// A token for the Portal.
    pub access_token: TokenText,
    /// Its life, in seconds.
    pub expires_in: u64,
    /// The first refresh token.
    pub refresh_token: TokenText,
}

impl Portal {
    /// The invitation to sign in.
    pub fn invitation(&self) -> Challenge {
        Challenge::Start { realm: Some(REALM.into()) }
    }

    /// Answers an `Authorization` header. A user that does not exist, and one with another password, are told the same.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotSignedIn`] where name or password are wrong, [`Refusal::Forbidden`] for a user that is shut out and has
    /// proven its password, [`Refusal::Wait`], [`Refusal::Invalid`], and those of the database.
    pub async fn sign_in(&self, authorization: &str, remote: IpAddr) -> Result<SignIn, Refusal> {
        match Authorization::read(authorization).map_err(refused)? {
            Authorization::First { message, .. } => self.challenge(&message).await.map(SignIn::Challenge),
            Authorization::Final { sid, message } => {
                self.finish(sid, &message, remote).await.map(|done| SignIn::Done(Box::new(done)))
            }
        }
    }

    async fn challenge(&self, client_first: &str) -> Result<Challenge, Refusal> {
        let hello = self.0.scram.hear(client_first).map_err(refused)?;
        let name = hello.name().clone();
        let verifier = self.db().read(move |tx| users::verifier(tx, &name)).await?;
        let challenge = self.0.scram.challenge(&hello, verifier.as_ref(), &random(), unix_now());
        Ok(Challenge::First { sid: challenge.sid, message: challenge.message })
    }

    async fn finish(&self, sid: String, client_final: &str, remote: IpAddr) -> Result<SignedIn, Refusal> {
        let now = unix_now();
        let exchange = self.0.scram.resume(&sid, now).map_err(refused)?;
        let name = exchange.name().clone();
        if let Verdict::Wait(wait) = lock(&self.0.throttle).attempt(self.now(), &name, remote) {
            self.0.metrics.login("throttled");
            return Err(Refusal::Wait(wait));
        }
        let read = name.clone();
        let verifier = self.db().read(move |tx| users::verifier(tx, &read)).await?;
        let login = exchange.verify(client_final, verifier.as_ref()).map_err(|error| {
            self.0.metrics.login("wrong");
            refused(error)
        })?;
        lock(&self.0.throttle).succeeded(&name, remote);

        let (session, refresh) = (u128::from_be_bytes(random()), RefreshToken::first(&random()));
        let client = self.0.clients.derive(name.as_str().as_bytes(), session);
        let (once, refresh_key, state) = (login.once, refresh.session_key(), RefreshState::new(&refresh, now));
        let opened = self.db().write(move |tx| {
            // RFC 7804 gives no protection against an exchange that is sent twice; the record does.
            if !logins::use_once(tx, &once)? {
                return Err(Refusal::NotSignedIn("this exchange was used before; sign in again"));
            }
            let user = users::find(tx, &name)?.ok_or(WRONG)?;
            if user.banned {
                return Err(Refusal::Forbidden("this account is banned"));
            }
            make_room(tx, &name, now)?;
            let session = Session { id: session, user: name.clone(), client, created: now, seen: now, revoked: None };
            db::sessions::add(tx, &session, &refresh_key, &state)?;
            audit::add(tx, now, name.as_str(), "sign in", &format!("{:032x}", session.id))?;
            Ok(user)
        });
        let user = opened.await.inspect_err(|refusal| {
            if matches!(refusal, Refusal::Forbidden(_)) {
                self.0.metrics.login("banned");
            }
        })?;
        self.0.metrics.login("done");
        Ok(SignedIn {
            proof: AuthenticationInfo { sid, message: login.message },
            access_token: self.own_token(client, session, user.role, now)?,
            expires_in: super::tokens::LIFETIME,
            refresh_token: refresh.to_text(),
            name: user.name,
            role: user.role,
            client,
            session,
        })
    }

    /// The password of this account is another one, or it is gone: addresses from which it signed in mean nothing any more.
    pub(super) fn forget_addresses(&self, name: &UserName) {
        lock(&self.0.throttle).forget(name);
    }
}

fn refused(error: ScramError) -> Refusal {
    match error {
        ScramError::WrongCredentials => WRONG,
        ScramError::Sid | ScramError::Expired => Refusal::NotSignedIn("the exchange has expired; begin again"),
        error => Refusal::invalid(error.to_string()),
    }
}

const WRONG: Refusal = Refusal::NotSignedIn("the user name or the password is wrong");

/// Where one signs in (RFC 7235 §2.2).
pub(super) const REALM: &str = "ppsp";
