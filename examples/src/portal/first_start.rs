//! What a new Portal makes of itself: its key, its first admin, the code by which trackers enrol. Also how an admin who has
//! forgotten the password gets in again: from the machine itself.

use std::fmt;

use ppsp_auth::{Password, Secret, UserName, scram::Verifier, token::Role};
use zeroize::Zeroizing;

use super::{
    PortalConfig, Refusal,
    db::{Db, DbError, audit, sessions, settings, settings::Setting, signing_keys, users},
    id::{random, random_code, random_secret},
    unix_now,
};

/// What the operator of a new Portal is told once; the Portal itself does not know it any more.
pub struct FirstStart {
    /// The name of the first admin.
    pub admin: UserName,
    /// Its password.
    pub password: Zeroizing<String>,
    /// The code by which trackers enrol.
    pub enrol_code: Zeroizing<String>,
}

impl fmt::Debug for FirstStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstStart").field("admin", &self.admin).finish_non_exhaustive()
    }
}

/// Makes the Portal, where none is there. Of several that try at the same time one does.
pub(super) async fn run(db: &Db, config: &PortalConfig, unix_now: u64) -> Result<Option<FirstStart>, Refusal> {
    if db.read(|tx| settings::find(tx, Setting::Key)).await?.is_some() {
        return Ok(None);
    }
    let (password, verifier) = new_password(config.iterations).await?;
    let code = Zeroizing::new(random_code::<24>());
    let (key, seed) = (random_secret(), random_secret());
    let kept_code = enrolment(&key.derive("enrolment"), &code);
    let admin = admin()?;
    let name = admin.clone();
    let made = db.write(move |tx| {
        if settings::find(tx, Setting::Key)?.is_some() {
            return Ok(false);
        }
        settings::put(tx, Setting::Key, key.as_bytes())?;
        settings::put(tx, Setting::EnrolCode, kept_code.as_bytes())?;
        signing_keys::add(tx, &seed, unix_now)?;
        users::add(tx, &name, Role::Admin, &verifier, unix_now)?;
        audit::add(tx, unix_now, PORTAL, "first start", name.as_str())?;
        Ok::<_, DbError>(true)
    });
    Ok(made.await?.then_some(FirstStart { admin, password, enrol_code: code }))
}

/// Gives the first admin a new password, lets it in where it was shut out, and ends its sessions. Returns its name and the
/// password.
///
/// # Errors
///
/// [`Refusal::Away`] and [`Refusal::Fault`].
pub async fn reset_admin(db: &Db, iterations: u32) -> Result<(UserName, Zeroizing<String>), Refusal> {
    let now = unix_now();
    let (password, verifier) = new_password(iterations).await?;
    let admin = admin()?;
    let name = admin.clone();
    let reset = db.write(move |tx| {
        if !users::add(tx, &name, Role::Admin, &verifier, now)? {
            users::set_verifier(tx, &name, &verifier)?;
            users::set_role(tx, &name, Role::Admin)?;
            users::set_banned(tx, &name, false)?;
            sessions::revoke_all(tx, &name, now)?;
        }
        audit::add(tx, now, PORTAL, "reset admin", name.as_str())
    });
    reset.await?;
    Ok((admin, password))
}

/// What is kept of an enrolment code.
pub(super) fn enrolment(key: &Secret, code: &str) -> Secret {
    key.derive(code)
}

/// A password that nobody has to remember, and its verifier.
async fn new_password(iterations: u32) -> Result<(Zeroizing<String>, Verifier), Refusal> {
    let text = Zeroizing::new(random_code::<20>());
    let password = Password::choose(&text).map_err(|error| Refusal::Fault(error.to_string()))?;
    let stretched = tokio::task::spawn_blocking(move || Verifier::new(&password, random(), iterations)).await;
    let verifier = stretched.map_err(|error| Refusal::Fault(error.to_string()))?;
    Ok((text, verifier.map_err(|error| Refusal::Fault(error.to_string()))?))
}

fn admin() -> Result<UserName, Refusal> {
    "admin".parse().map_err(|_| Refusal::Fault("no name for the admin".into()))
}

/// Who did it, in the audit log, where it was nobody else.
pub(super) const PORTAL: &str = "(portal)";
