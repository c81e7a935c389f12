//! What a Portal knows of itself and keeps: its key, its address, what newcomers have to show.

use super::{DbError, Tx, params};

/// What is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Setting {
    /// The key from which those for identifiers, exchanges, cookies and descriptors are derived.
    Key,
    /// The URL by which clients know the Portal, where an operator has set it.
    PublicUrl,
    /// The hash of the code by which trackers enrol.
    EnrolCode,
}

impl Setting {
    const fn name(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::PublicUrl => "public url",
            Self::EnrolCode => "enrol code",
        }
    }
}

/// The value.
pub fn find(tx: &mut Tx<'_>, setting: Setting) -> Result<Option<Vec<u8>>, DbError> {
    let row = tx.row::<(Vec<u8>,)>("SELECT value FROM settings WHERE name = $1", params![setting.name()])?;
    Ok(row.map(|(value,)| value))
}

/// Sets or replaces it.
pub fn put(tx: &mut Tx<'_>, setting: Setting, value: &[u8]) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        params![setting.name(), value],
    )
    .map(drop)
}
