//! Sessions: who is signed in, from where on, and the end of that.

use ppsp_auth::{
    UserName,
    token::{Expectation, RefreshToken, Role, TokenError, TokenText},
};

pub use super::db::sessions::Session;
use super::{
    Portal, Refusal,
    db::{self, DbError, Tx, audit, users, users::User},
    unix_now,
};

/// Who asks: a user that is signed in and not shut out, as the database knew it a moment ago.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The user.
    pub user: User,
    /// The session.
    pub session: Session,
}

impl Caller {
    /// The user's name.
    pub fn name(&self) -> &UserName {
        &self.user.name
    }

    /// Whether it is an admin.
    pub fn is_admin(&self) -> bool {
        self.user.role == Role::Admin
    }

    /// Lets only admins pass.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`].
    pub fn must_be_admin(&self) -> Result<(), Refusal> {
        if self.is_admin() { Ok(()) } else { Err(Refusal::Forbidden("only an admin may do this")) }
    }
}

impl Portal {
    /// Who shows this access token. The database is asked each time: who is shut out is out at once.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotSignedIn`], and those of the database.
    pub async fn caller(&self, token: &str) -> Result<Caller, Refusal> {
        let now = unix_now();
        let expected = Expectation::new(self.issuer(), self.issuer());
        let checked = expected.check(&self.0.ring.published(now), token, now);
        let token = checked.map_err(|error| match error {
            TokenError::Expired => Refusal::NotSignedIn("the access token has expired"),
            TokenError::Audience => Refusal::NotSignedIn("the access token is for trackers, not for the Portal"),
            _ => Refusal::NotSignedIn("the access token is not one of this Portal's"),
        })?;
        let id = token.claims().session;
        let read = self.db().read(move |tx| {
            let session = db::sessions::find(tx, id)?;
            caller(tx, session, now)
        });
        read.await
    }

    /// Who shows this refresh token, as browsers do in a cookie. It is not replaced: only [`refresh`](Self::refresh) does that.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotSignedIn`], and those of the database.
    pub async fn cookie_caller(&self, token: &TokenText) -> Result<Caller, Refusal> {
        let now = unix_now();
        let shown = RefreshToken::parse(token).ok_or(ENDED)?;
        let found = self.db().read(move |tx| {
            let Some((session, state)) = db::sessions::of_refresh_key(tx, &shown.session_key())? else {
                return Err(ENDED);
            };
            // Which successor there would be does not matter for whether the token is good.
            state.decide(&shown, &shown, now).map_err(|_| ENDED)?;
            caller(tx, Some(session), now)
        });
        found.await
    }

    /// The sessions of a user that go on, the newest first, at most 200: the own ones, or for an admin those of anybody.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`], and those of the database.
    pub async fn sessions(&self, caller: &Caller, user: Option<&UserName>) -> Result<Vec<Session>, Refusal> {
        let user = user.unwrap_or(caller.name()).clone();
        if user != *caller.name() {
            caller.must_be_admin()?;
        }
        Ok(self.db().read(move |tx| db::sessions::of_user(tx, &user, 200)).await?)
    }

    /// The sessions of all users that go on, the newest first, at most 1000.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`], and those of the database.
    pub async fn all_sessions(&self, caller: &Caller) -> Result<Vec<Session>, Refusal> {
        caller.must_be_admin()?;
        Ok(self.db().read(|tx| db::sessions::all(tx, 1000)).await?)
    }

    /// Ends a session: an own one, or for an admin any.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`], also for a session of somebody else, and those of the database.
    pub async fn end_session(&self, caller: &Caller, id: u128) -> Result<(), Refusal> {
        let (now, caller) = (unix_now(), caller.clone());
        let end = self.db().write(move |tx| {
            let session = db::sessions::find(tx, id)?;
            let mine = |session: &Session| session.user == caller.user.name || caller.is_admin();
            let session = session.filter(mine).ok_or(Refusal::NotFound("there is no such session"))?;
            if db::sessions::revoke(tx, id, now)? {
                audit::add(tx, now, caller.name().as_str(), "end session", &of(&session))?;
            }
            Ok(())
        });
        end.await
    }
}

/// The user of a session that goes on.
pub(super) fn caller(tx: &mut Tx<'_>, session: Option<Session>, unix_now: u64) -> Result<Caller, Refusal> {
    let session = session.filter(|session| goes_on(session, unix_now)).ok_or(ENDED)?;
    let user = users::find(tx, &session.user)?.filter(|user| !user.banned).ok_or(ENDED)?;
    Ok(Caller { user, session })
}

/// Whether it was neither revoked nor left alone for too long.
pub(super) fn goes_on(session: &Session, unix_now: u64) -> bool {
    session.revoked.is_none() && unix_now < session.seen.saturating_add(IDLE)
}

/// Ends the oldest sessions of a user that has too many.
pub(super) fn make_room(tx: &mut Tx<'_>, user: &UserName, unix_now: u64) -> Result<(), DbError> {
    for session in db::sessions::of_user(tx, user, MAX_SESSIONS * 2)?.iter().skip(MAX_SESSIONS as usize - 1) {
        db::sessions::revoke(tx, session.id, unix_now)?;
    }
    Ok(())
}

/// How the audit log names a session.
pub(super) fn of(session: &Session) -> String {
    format!("{:032x} of {}", session.id, session.user)
}

/// A session that nobody refreshes for so many seconds is over.
pub const IDLE: u64 = 30 * 24 * 3600;

/// The most sessions of one user. The oldest one ends when there is one more.
pub const MAX_SESSIONS: u64 = 64;

const ENDED: Refusal = Refusal::NotSignedIn("the session has ended; sign in again");
