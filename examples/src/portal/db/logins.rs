//! Exchanges of SCRAM that ended in a login: each counts once, at whichever Portal it arrives.

use ppsp_auth::scram::Once;

use super::{DbError, Tx, params};

/// Records an exchange; `false` where it was used before.
pub fn use_once(tx: &mut Tx<'_>, once: &Once) -> Result<bool, DbError> {
    let added = tx.execute(
        "INSERT INTO used_logins (id, expires) VALUES ($1, $2) ON CONFLICT DO NOTHING",
        params![&once.id[..], once.expires_unix_s],
    )?;
    Ok(added == 1)
}

/// Forgets those that would be refused for their age.
pub fn forget(tx: &mut Tx<'_>, unix_now: u64) -> Result<u64, DbError> {
    tx.execute("DELETE FROM used_logins WHERE expires < $1", params![unix_now])
}
