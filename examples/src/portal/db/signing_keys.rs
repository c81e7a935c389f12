//! The keys that sign tokens, each with the moment from which it does.

use ppsp_auth::{
    Secret,
    token::{KeyId, SigningKey},
};
use zeroize::Zeroize;

use super::{DbError, Tx, params};

/// Adds a key, by its seed.
pub fn add(tx: &mut Tx<'_>, seed: &Secret, signs_from: u64) -> Result<(), DbError> {
    let id = SigningKey::from_seed(seed.as_bytes()).id().to_string();
    tx.execute(
        "INSERT INTO signing_keys (id, seed, signs_from) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        params![id, &seed.as_bytes()[..], signs_from],
    )
    .map(drop)
}

/// All keys, the oldest first.
pub fn all(tx: &mut Tx<'_>) -> Result<Vec<(SigningKey, u64)>, DbError> {
    let rows = tx.rows::<(Vec<u8>, u64)>("SELECT seed, signs_from FROM signing_keys ORDER BY signs_from, id", &[])?;
    let key = |(mut seed, signs_from): (Vec<u8>, u64)| {
        let key = <&[u8; 32]>::try_from(&*seed).map(SigningKey::from_seed).map_err(|_| DbError::Content);
        seed.zeroize();
        Ok((key?, signs_from))
    };
    rows.into_iter().map(key).collect()
}

/// Forgets a key.
pub fn forget(tx: &mut Tx<'_>, id: KeyId) -> Result<(), DbError> {
    tx.execute("DELETE FROM signing_keys WHERE id = $1", params![id.to_string()]).map(drop)
}
