//! Accounts, and the user groups that they are in.

use ppsp_auth::{UserName, scram::Verifier, token::Role};

use super::{DbError, Tx, params};

/// An account.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// Its name.
    pub name: UserName,
    /// What it is to the Portal.
    pub role: Role,
    /// Whether it is shut out.
    pub banned: bool,
    /// Unix second in which it was made.
    pub created: u64,
    /// The user groups that it was put in, in order.
    pub groups: Vec<String>,
}

/// Adds an account; `false` where the name is taken.
pub fn add(tx: &mut Tx<'_>, name: &UserName, role: Role, verifier: &Verifier, unix_now: u64) -> Result<bool, DbError> {
    let added = tx.execute(
        "INSERT INTO users (name, role, verifier, banned, created) VALUES ($1, $2, $3, 0, $4) ON CONFLICT DO NOTHING",
        params![name.as_str(), role.as_str(), verifier.to_text().as_str(), unix_now],
    )?;
    Ok(added == 1)
}

/// The account of this name.
pub fn find(tx: &mut Tx<'_>, name: &UserName) -> Result<Option<User>, DbError> {
    let row = tx.row("SELECT name, role, banned, created FROM users WHERE name = $1", params![name.as_str()])?;
    row.map(|row| with_groups(tx, row)).transpose()
}

/// So many accounts whose names come after this one, in the order of names.
pub fn list(tx: &mut Tx<'_>, after: &str, most: u64) -> Result<Vec<User>, DbError> {
    let sql = "SELECT name, role, banned, created FROM users WHERE name > $1 ORDER BY name LIMIT $2";
    tx.rows(sql, params![after, most])?.into_iter().map(|row| with_groups(tx, row)).collect()
}

/// What the account proves its password against.
pub fn verifier(tx: &mut Tx<'_>, name: &UserName) -> Result<Option<Verifier>, DbError> {
    let row = tx.row::<(String,)>("SELECT verifier FROM users WHERE name = $1", params![name.as_str()])?;
    row.map(|(text,)| Verifier::from_text(&zeroize::Zeroizing::new(text)).map_err(|_| DbError::Content)).transpose()
}

/// Replaces it.
pub fn set_verifier(tx: &mut Tx<'_>, name: &UserName, verifier: &Verifier) -> Result<(), DbError> {
    let text = verifier.to_text();
    tx.execute("UPDATE users SET verifier = $2 WHERE name = $1", params![name.as_str(), text.as_str()]).map(drop)
}

/// Shuts it out, or lets it in again.
pub fn set_banned(tx: &mut Tx<'_>, name: &UserName, banned: bool) -> Result<(), DbError> {
    tx.execute("UPDATE users SET banned = $2 WHERE name = $1", params![name.as_str(), banned]).map(drop)
}

/// Gives it another role.
pub fn set_role(tx: &mut Tx<'_>, name: &UserName, role: Role) -> Result<(), DbError> {
    tx.execute("UPDATE users SET role = $2 WHERE name = $1", params![name.as_str(), role.as_str()]).map(drop)
}

/// Puts it in these user groups and no others.
pub fn set_groups(tx: &mut Tx<'_>, name: &UserName, groups: &[String]) -> Result<(), DbError> {
    tx.execute("DELETE FROM user_groups WHERE user_name = $1", params![name.as_str()])?;
    for group in groups {
        tx.execute(
            "INSERT INTO user_groups (user_name, user_group) VALUES ($1, $2) ON CONFLICT DO NOTHING",
            params![name.as_str(), group.as_str()],
        )?;
    }
    Ok(())
}

/// How many admins are not shut out.
pub fn admins(tx: &mut Tx<'_>) -> Result<u64, DbError> {
    let row = tx.row::<(u64,)>("SELECT COUNT(*) FROM users WHERE role = 'admin' AND banned = 0", &[])?;
    Ok(row.map_or(0, |(count,)| count))
}

fn with_groups(tx: &mut Tx<'_>, row: (String, String, bool, u64)) -> Result<User, DbError> {
    let (name, role, banned, created) = row;
    let sql = "SELECT user_group FROM user_groups WHERE user_name = $1 ORDER BY user_group";
    let groups = tx.rows::<(String,)>(sql, params![name.as_str()])?.into_iter().map(|(group,)| group).collect();
    Ok(User {
        name: name.parse().map_err(|_| DbError::Content)?,
        role: role.parse().map_err(|_| DbError::Content)?,
        banned,
        created,
        groups,
    })
}
