//! Who may have which content, and when: the rules as `ppsp-auth` decides by them. There is one for each pair of who and what.

use ppsp_auth::policy::{Effect, Policy, What, Who};

use super::{DbError, Tx, params};

/// Adds a policy; one about the same users and the same content is replaced.
pub fn put(tx: &mut Tx<'_>, policy: &Policy) -> Result<(), DbError> {
    let ((who_kind, who), (what_kind, what)) = (who(&policy.who), what(&policy.what));
    let effect = match policy.effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
    };
    tx.execute(
        "INSERT INTO policies (who_kind, who, what_kind, what, effect, opens, closes) VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (who_kind, who, what_kind, what) DO UPDATE
         SET effect = excluded.effect, opens = excluded.opens, closes = excluded.closes",
        params![who_kind, who, what_kind, what, effect, policy.from, policy.until],
    )
    .map(drop)
}

/// Removes the policy about these; `false` where there is none.
pub fn remove(tx: &mut Tx<'_>, whom: &Who, about: &What) -> Result<bool, DbError> {
    let ((who_kind, who), (what_kind, what)) = (who(whom), what(about));
    let removed = tx.execute(
        "DELETE FROM policies WHERE who_kind = $1 AND who = $2 AND what_kind = $3 AND what = $4",
        params![who_kind, who, what_kind, what],
    )?;
    Ok(removed == 1)
}

/// The policies about one user or user group.
pub fn of(tx: &mut Tx<'_>, whom: &Who) -> Result<Vec<Policy>, DbError> {
    let (kind, name) = who(whom);
    let rows = tx.rows(
        "SELECT who_kind, who, what_kind, what, effect, opens, closes FROM policies
         WHERE who_kind = $1 AND who = $2 ORDER BY what_kind, what",
        params![kind, name],
    )?;
    rows.into_iter().map(policy).collect()
}

/// How many there are about one user or user group.
pub fn count(tx: &mut Tx<'_>, whom: &Who) -> Result<u64, DbError> {
    let (kind, name) = who(whom);
    let sql = "SELECT COUNT(*) FROM policies WHERE who_kind = $1 AND who = $2";
    Ok(tx.row::<(u64,)>(sql, params![kind, name])?.map_or(0, |(count,)| count))
}

/// The policies about one piece of content, or about one catalogue group.
pub fn about(tx: &mut Tx<'_>, about: &What) -> Result<Vec<Policy>, DbError> {
    let (kind, name) = what(about);
    let rows = tx.rows(
        "SELECT who_kind, who, what_kind, what, effect, opens, closes FROM policies
         WHERE what_kind = $1 AND what = $2 ORDER BY who_kind, who",
        params![kind, name],
    )?;
    rows.into_iter().map(policy).collect()
}

/// Each catalogue group that policies are about, up to so many, and how many there are.
pub fn groups(tx: &mut Tx<'_>, most: u64) -> Result<Vec<(String, u64)>, DbError> {
    let sql = "SELECT what, COUNT(*) FROM policies WHERE what_kind = 'group' GROUP BY what ORDER BY what LIMIT $1";
    tx.rows(sql, params![most])
}

fn who(who: &Who) -> (&'static str, &str) {
    match who {
        Who::User(name) => ("user", name),
        Who::Group(name) => ("group", name),
    }
}

fn what(what: &What) -> (&'static str, &str) {
    match what {
        What::Content(id) => ("content", id),
        What::Group(name) => ("group", name),
    }
}

type Columns = (String, String, String, String, String, Option<u64>, Option<u64>);

fn policy((who_kind, who, what_kind, what, effect, from, until): Columns) -> Result<Policy, DbError> {
    let who = match who_kind.as_str() {
        "user" => Who::User(who),
        "group" => Who::Group(who),
        _ => return Err(DbError::Content),
    };
    let what = match what_kind.as_str() {
        "content" => What::Content(what),
        "group" => What::Group(what),
        _ => return Err(DbError::Content),
    };
    let effect = match effect.as_str() {
        "allow" => Effect::Allow,
        "deny" => Effect::Deny,
        _ => return Err(DbError::Content),
    };
    Ok(Policy { who, what, effect, from, until })
}
