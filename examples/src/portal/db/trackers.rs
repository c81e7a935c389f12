//! Trackers that are known to the Portal.

use std::{fmt, str::FromStr};

use super::{DbError, Tx, params};

/// A tracker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tracker {
    /// Its identifier: the name of its key.
    pub id: String,
    /// Where peers find it.
    pub url: String,
    /// What people call it.
    pub name: String,
    /// Its public key, a JSON Web Key.
    pub jwk: String,
    /// What it may do.
    pub state: State,
    /// Unix second in which it registered.
    pub created: u64,
}

/// What a tracker may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// Nothing yet: an admin has to approve it.
    Pending,
    /// It may ask about tokens, and peers are sent to it.
    Approved,
    /// Nothing any more.
    Revoked,
}

impl State {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Approved => "approved",
            Self::Revoked => "revoked",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for State {
    type Err = DbError;

    fn from_str(text: &str) -> Result<Self, DbError> {
        let all = [Self::Pending, Self::Approved, Self::Revoked];
        all.into_iter().find(|state| state.as_str() == text).ok_or(DbError::Content)
    }
}

/// Adds a tracker, or changes what is known of the one of this identifier.
pub fn put(tx: &mut Tx<'_>, tracker: &Tracker) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO trackers (id, url, name, jwk, state, created) VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (id) DO UPDATE SET url = excluded.url, name = excluded.name, state = excluded.state",
        params![
            tracker.id.as_str(),
            tracker.url.as_str(),
            tracker.name.as_str(),
            tracker.jwk.as_str(),
            tracker.state.as_str(),
            tracker.created
        ],
    )
    .map(drop)
}

/// The tracker of this identifier.
pub fn find(tx: &mut Tx<'_>, id: &str) -> Result<Option<Tracker>, DbError> {
    let sql = "SELECT id, url, name, jwk, state, created FROM trackers WHERE id = $1";
    tx.row(sql, params![id])?.map(tracker).transpose()
}

/// All trackers, in the order in which they registered.
pub fn all(tx: &mut Tx<'_>) -> Result<Vec<Tracker>, DbError> {
    let sql = "SELECT id, url, name, jwk, state, created FROM trackers ORDER BY created, id";
    tx.rows(sql, &[])?.into_iter().map(tracker).collect()
}

/// How many are in this state.
pub fn count(tx: &mut Tx<'_>, state: State) -> Result<u64, DbError> {
    let row = tx.row::<(u64,)>("SELECT COUNT(*) FROM trackers WHERE state = $1", params![state.as_str()])?;
    Ok(row.map_or(0, |(count,)| count))
}

/// Forgets those that nobody approved since.
pub fn forget_pending(tx: &mut Tx<'_>, created_before: u64) -> Result<u64, DbError> {
    tx.execute("DELETE FROM trackers WHERE state = 'pending' AND created < $1", params![created_before])
}

type Columns = (String, String, String, String, String, u64);

fn tracker((id, url, name, jwk, state, created): Columns) -> Result<Tracker, DbError> {
    Ok(Tracker { id, url, name, jwk, state: state.parse()?, created })
}
