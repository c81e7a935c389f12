//! Accounts: who may make one, and who may change which.

use std::net::IpAddr;

use ppsp_auth::{UserName, scram::Verifier, throttle::Verdict, token::Role};

pub use super::db::users::User;
use super::{
    Caller, Portal, Refusal,
    db::{audit, sessions, users},
    lock,
    names::{self, EVERYONE},
    unix_now,
};

/// What an admin changes of an account.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Shut it out, or let it in again.
    pub banned: Option<bool>,
    /// Its role.
    pub role: Option<Role>,
    /// The user groups that it is to be in.
    pub groups: Option<Vec<String>>,
}

impl Caller {
    /// Whether it signed in lately. Who finds an open session must not be able to make it their own.
    pub fn is_fresh(&self) -> bool {
        unix_now() <= self.session.created.saturating_add(FRESH)
    }
}

impl Portal {
    /// Makes an account: for an admin any; for strangers, where that is open to them, one of a viewer, not too fast.
    ///
    /// The client computes the verifier; the Portal never sees a password. All accounts have the same number of iterations:
    /// else it would show which ones exist.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`], [`Refusal::Conflict`] where the name is taken, [`Refusal::Wait`], [`Refusal::Invalid`], and
    /// those of the database.
    pub async fn add_user(
        &self,
        caller: Option<&Caller>,
        name: UserName,
        role: Role,
        verifier: Verifier,
        remote: IpAddr,
    ) -> Result<User, Refusal> {
        self.check_iterations(&verifier)?;
        match caller {
            Some(caller) => caller.must_be_admin()?,
            None if !self.open_registration() => {
                return Err(Refusal::Forbidden("an admin makes accounts here"));
            }
            None if role != Role::Viewer => {
                return Err(Refusal::Forbidden("who registers for itself becomes a viewer"));
            }
            None => {
                if let Verdict::Wait(wait) = lock(&self.0.registrations).admit(self.now(), remote) {
                    return Err(Refusal::Wait(wait));
                }
            }
        }
        let now = unix_now();
        let who = caller.map_or_else(|| name.clone(), |caller| caller.name().clone());
        let added = self.db().write(move |tx| {
            if !users::add(tx, &name, role, &verifier, now)? {
                return Err(Refusal::Conflict("this user name is taken"));
            }
            audit::add(tx, now, who.as_str(), "add user", &format!("{name} as {role}"))?;
            users::find(tx, &name)?.ok_or(NO_USER)
        });
        let user = added.await?;
        self.0.metrics.registration();
        Ok(user)
    }

    /// So many accounts whose names come after this one, at most 200.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`], and those of the database.
    pub async fn users(&self, caller: &Caller, after: &str, most: u64) -> Result<Vec<User>, Refusal> {
        caller.must_be_admin()?;
        let after = after.to_owned();
        Ok(self.db().read(move |tx| users::list(tx, &after, most.min(200))).await?)
    }

    /// Changes an account. Who is shut out is signed out everywhere.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`], [`Refusal::NotFound`], [`Refusal::Invalid`], [`Refusal::Conflict`] where no admin would be left,
    /// and those of the database.
    pub async fn change_user(&self, caller: &Caller, name: UserName, change: Change) -> Result<User, Refusal> {
        caller.must_be_admin()?;
        if let Some(groups) = &change.groups {
            if groups.len() > MAX_GROUPS {
                return Err(Refusal::invalid("a user is in at most 64 groups"));
            }
            groups.iter().try_for_each(|group| names::group(group))?;
            if groups.iter().any(|group| group == EVERYONE) {
                return Err(Refusal::invalid("everybody is in the group 'everyone', and cannot be put there"));
            }
        }
        let (now, who) = (unix_now(), caller.name().clone());
        let changed = self.db().write(move |tx| {
            let about = name.as_str();
            users::find(tx, &name)?.ok_or(NO_USER)?;
            if let Some(banned) = change.banned {
                users::set_banned(tx, &name, banned)?;
                if banned {
                    sessions::revoke_all(tx, &name, now)?;
                }
                audit::add(tx, now, who.as_str(), if banned { "ban" } else { "unban" }, about)?;
            }
            if let Some(role) = change.role {
                users::set_role(tx, &name, role)?;
                audit::add(tx, now, who.as_str(), "set role", &format!("{name}: {role}"))?;
            }
            if let Some(groups) = &change.groups {
                users::set_groups(tx, &name, groups)?;
                audit::add(tx, now, who.as_str(), "set groups", &format!("{name}: {}", groups.join(", ")))?;
            }
            if users::admins(tx)? == 0 {
                return Err(Refusal::Conflict("this is the last admin"));
            }
            users::find(tx, &name)?.ok_or(NO_USER)
        });
        changed.await
    }

    /// Gives an account another password: the own one soon after signing in, and for an admin any. All other sessions of the
    /// account end.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`], [`Refusal::NotSignedIn`] where the login is too long ago, [`Refusal::NotFound`],
    /// [`Refusal::Invalid`], and those of the database.
    pub async fn set_verifier(&self, caller: &Caller, name: UserName, verifier: Verifier) -> Result<(), Refusal> {
        self.check_iterations(&verifier)?;
        let (now, mine) = (unix_now(), name == *caller.name());
        if !mine {
            caller.must_be_admin()?;
        } else if !caller.is_fresh() {
            return Err(Refusal::NotSignedIn("sign in again to change the password"));
        }
        let (caller, account) = (caller.clone(), name.clone());
        let set = self.db().write(move |tx| {
            users::find(tx, &name)?.ok_or(NO_USER)?;
            users::set_verifier(tx, &name, &verifier)?;
            for session in sessions::of_user(tx, &name, u64::MAX)? {
                if session.id != caller.session.id {
                    sessions::revoke(tx, session.id, now)?;
                }
            }
            audit::add(tx, now, caller.name().as_str(), "set password", name.as_str())?;
            Ok::<_, Refusal>(())
        });
        set.await?;
        self.forget_addresses(&account);
        Ok(())
    }

    fn check_iterations(&self, verifier: &Verifier) -> Result<(), Refusal> {
        if verifier.iterations() == self.iterations() {
            return Ok(());
        }
        Err(Refusal::invalid(format!("passwords are hashed {} times here", self.iterations())))
    }
}

const NO_USER: Refusal = Refusal::NotFound("there is no such user");

/// The most user groups of one user.
pub const MAX_GROUPS: usize = 64;

/// For so many seconds after signing in one may change the own password.
pub const FRESH: u64 = 15 * 60;
