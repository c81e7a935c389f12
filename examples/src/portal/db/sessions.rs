//! Sessions: each login, from the first token to the last.

use ppsp_auth::{UserName, token::RefreshState};
use ppsp_core::Identifier;

use super::{DbError, Tx, params};

/// A session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Session {
    /// Its identifier, which is the `sid` of its tokens.
    pub id: u128,
    /// Whose it is.
    pub user: UserName,
    /// The client identifier that was given out for it.
    pub client: Identifier,
    /// Unix second of the login.
    pub created: u64,
    /// Unix second of the last refresh.
    pub seen: u64,
    /// Unix second in which it was revoked.
    pub revoked: Option<u64>,
}

/// Adds a session. `refresh_key` is that of its refresh tokens.
pub fn add(tx: &mut Tx<'_>, session: &Session, refresh_key: &str, refresh: &RefreshState) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO sessions (id, user_name, client, created, seen, refresh_key, refresh_current, refresh_rotated,
         refresh_repeated) VALUES ($1, $2, $3, $4, $4, $5, $6, $7, $8)",
        params![
            text(session.id),
            session.user.as_str(),
            session.client.to_string(),
            session.created,
            refresh_key,
            &refresh.current[..],
            refresh.rotated,
            refresh.repeated
        ],
    )
    .map(drop)
}

/// The session of this identifier.
pub fn find(tx: &mut Tx<'_>, id: u128) -> Result<Option<Session>, DbError> {
    let sql = "SELECT id, user_name, client, created, seen, revoked FROM sessions WHERE id = $1";
    tx.row(sql, params![text(id)])?.map(session).transpose()
}

/// The session to which a refresh token belongs, and what is kept of its tokens.
pub fn of_refresh_key(tx: &mut Tx<'_>, key: &str) -> Result<Option<(Session, RefreshState)>, DbError> {
    let sql = "SELECT id, user_name, client, created, seen, revoked FROM sessions WHERE refresh_key = $1";
    let Some(row) = tx.row(sql, params![key])? else { return Ok(None) };
    let sql = "SELECT refresh_current, refresh_previous, refresh_rotated, refresh_repeated FROM sessions
         WHERE refresh_key = $1";
    let row = (row, tx.row::<(Vec<u8>, Option<Vec<u8>>, u64, bool)>(sql, params![key])?.ok_or(DbError::Content)?);
    let (row, (current, previous, rotated, repeated)) = row;
    let hash = |bytes: Vec<u8>| bytes.try_into().map_err(|_| DbError::Content);
    let state = RefreshState { current: hash(current)?, previous: previous.map(hash).transpose()?, rotated, repeated };
    Ok(Some((session(row)?, state)))
}

/// Keeps what became of its tokens by a refresh.
pub fn refresh(tx: &mut Tx<'_>, id: u128, state: &RefreshState, unix_now: u64) -> Result<(), DbError> {
    tx.execute(
        "UPDATE sessions SET refresh_current = $2, refresh_previous = $3, refresh_rotated = $4, refresh_repeated = $5,
         seen = $6 WHERE id = $1",
        params![
            text(id),
            &state.current[..],
            state.previous.as_ref().map(|hash| &hash[..]),
            state.rotated,
            state.repeated,
            unix_now
        ],
    )
    .map(drop)
}

/// Ends a session; `false` where it had ended, or never was.
pub fn revoke(tx: &mut Tx<'_>, id: u128, unix_now: u64) -> Result<bool, DbError> {
    let sql = "UPDATE sessions SET revoked = $2 WHERE id = $1 AND revoked IS NULL";
    Ok(tx.execute(sql, params![text(id), unix_now])? == 1)
}

/// Ends all sessions of a user; returns how many there were.
pub fn revoke_all(tx: &mut Tx<'_>, user: &UserName, unix_now: u64) -> Result<u64, DbError> {
    let sql = "UPDATE sessions SET revoked = $2 WHERE user_name = $1 AND revoked IS NULL";
    tx.execute(sql, params![user.as_str(), unix_now])
}

/// The sessions of a user that go on, the newest first, up to so many.
pub fn of_user(tx: &mut Tx<'_>, user: &UserName, most: u64) -> Result<Vec<Session>, DbError> {
    let sql = "SELECT id, user_name, client, created, seen, revoked FROM sessions
         WHERE user_name = $1 AND revoked IS NULL ORDER BY created DESC, id LIMIT $2";
    tx.rows(sql, params![user.as_str(), most])?.into_iter().map(session).collect()
}

/// All sessions that go on, the newest first, up to so many.
pub fn all(tx: &mut Tx<'_>, most: u64) -> Result<Vec<Session>, DbError> {
    let sql = "SELECT id, user_name, client, created, seen, revoked FROM sessions
         WHERE revoked IS NULL ORDER BY created DESC, id LIMIT $1";
    tx.rows(sql, params![most])?.into_iter().map(session).collect()
}

/// Forgets those that nobody refreshed since, revoked or not.
pub fn forget(tx: &mut Tx<'_>, seen_before: u64) -> Result<u64, DbError> {
    tx.execute("DELETE FROM sessions WHERE seen < $1", params![seen_before])
}

fn text(id: u128) -> String {
    format!("{id:032x}")
}

type Columns = (String, String, String, u64, u64, Option<u64>);

fn session((id, user, client, created, seen, revoked): Columns) -> Result<Session, DbError> {
    Ok(Session {
        id: u128::from_str_radix(&id, 16).map_err(|_| DbError::Content)?,
        user: user.parse().map_err(|_| DbError::Content)?,
        client: client.parse().map_err(|_| DbError::Content)?,
        created,
        seen,
        revoked,
    })
}
