//! What was changed, by whom and when. No secret goes in here, and it does not grow for ever.

use super::{DbError, Tx, params};
use crate::portal::id::fresh_id;

/// An entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its identifier; identifiers grow with time.
    pub id: String,
    /// Unix second in which it happened.
    pub at: u64,
    /// Who did it: a user, or the Portal itself.
    pub who: String,
    /// What was done, in a word or two.
    pub what: String,
    /// To what.
    pub about: String,
}

/// What entries tell of.
pub const WHATS: [&str; 20] = [
    "add user",
    "allow",
    "ban",
    "deny",
    "end session",
    "enrol",
    "first start",
    "new signing key",
    "publish",
    "refresh token used twice",
    "remove content",
    "remove policy",
    "reset admin",
    "set groups",
    "set password",
    "set role",
    "set tracker",
    "sign in",
    "sign out",
    "unban",
];

/// The most entries in one part of the log.
pub const PAGE: u64 = 200;

/// Adds an entry, in the transaction that makes the change.
pub fn add(tx: &mut Tx<'_>, unix_now: u64, who: &str, what: &str, about: &str) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO audit (id, at, who, what, about) VALUES ($1, $2, $3, $4, $5)",
        params![fresh_id(unix_now), unix_now, who, what, about],
    )
    .map(drop)
}

/// So many entries that are older than this identifier (the newest where it is empty), newest first: of this user and of this
/// kind, where they are not empty.
pub fn list(tx: &mut Tx<'_>, who: &str, what: &str, before: &str, most: u64) -> Result<Vec<Entry>, DbError> {
    // Behind every identifier, none of which has a letter after f.
    let before = if before.is_empty() { "g" } else { before };
    let sql = "SELECT id, at, who, what, about FROM audit WHERE id < $1 AND ($3 = '' OR who = $3) \
               AND ($4 = '' OR what = $4) ORDER BY id DESC LIMIT $2";
    let rows = tx.rows(sql, params![before, most, who, what])?;
    Ok(rows.into_iter().map(|(id, at, who, what, about)| Entry { id, at, who, what, about }).collect())
}

/// Forgets what happened before this second, and of the rest all but the newest so many.
pub fn forget(tx: &mut Tx<'_>, before: u64, keep: u64) -> Result<(), DbError> {
    tx.execute("DELETE FROM audit WHERE at < $1", params![before])?;
    let oldest = tx.row::<(String,)>("SELECT id FROM audit ORDER BY id DESC LIMIT 1 OFFSET $1", params![keep])?;
    if let Some((oldest,)) = oldest {
        tx.execute("DELETE FROM audit WHERE id <= $1", params![oldest])?;
    }
    Ok(())
}
