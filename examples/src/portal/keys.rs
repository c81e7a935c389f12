//! The keys that sign tokens: read from the database, replaced by new ones in time. Which one signs when is the ring's to say,
//! so that all processes of a Portal agree.

use std::sync::RwLock;

use ppsp_auth::token::{KeyRing, KeySet, SigningKey};

use super::{
    Refusal,
    db::{Db, DbError, audit, signing_keys},
    first_start::PORTAL,
    id::random_secret,
};

/// The ring as it was read last.
pub(super) struct Ring(RwLock<KeyRing>);

impl Ring {
    /// Reads it.
    pub(super) async fn load(db: &Db, unix_now: u64) -> Result<Self, Refusal> {
        Ok(Self(RwLock::new(rotated(db, unix_now).await?)))
    }

    /// Reads it again, with a new key where one is due. A key is published long before it signs, so that it suffices to do
    /// this every few minutes.
    pub(super) async fn refresh(&self, db: &Db, unix_now: u64) -> Result<(), Refusal> {
        let ring = rotated(db, unix_now).await?;
        *self.0.write().unwrap_or_else(std::sync::PoisonError::into_inner) = ring;
        Ok(())
    }

    /// The key that signs now.
    pub(super) fn signer(&self, unix_now: u64) -> SigningKey {
        self.read(|ring| ring.signer(unix_now).clone())
    }

    /// The keys with which tokens of now may be signed.
    pub(super) fn published(&self, unix_now: u64) -> KeySet {
        self.read(|ring| ring.published(unix_now))
    }

    fn read<T>(&self, what: impl FnOnce(&KeyRing) -> T) -> T {
        what(&self.0.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

/// The ring of the database, after a new key was added and old ones were removed, where that is due.
async fn rotated(db: &Db, unix_now: u64) -> Result<KeyRing, Refusal> {
    let seed = random_secret();
    let ring = db.write(move |tx| {
        let mut keys = signing_keys::all(tx)?.into_iter();
        let Some((key, signs_from)) = keys.next() else { return Err(DbError::Content) };
        let mut ring = KeyRing::new(key, signs_from);
        for (key, signs_from) in keys {
            ring.add(key, signs_from).map_err(|_| DbError::Content)?;
        }
        for gone in ring.forget(unix_now) {
            signing_keys::forget(tx, gone)?;
        }
        if unix_now >= ring.next_due(PERIOD) {
            let signs_from = unix_now + KeyRing::AHEAD;
            ring.add(SigningKey::from_seed(seed.as_bytes()), signs_from).map_err(|_| DbError::Content)?;
            signing_keys::add(tx, &seed, signs_from)?;
            audit::add(tx, unix_now, PORTAL, "new signing key", "")?;
        }
        Ok(ring)
    });
    Ok(ring.await?)
}

/// How long each key signs, in seconds.
const PERIOD: u64 = 30 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::portal::db::Place;

    #[tokio::test]
    async fn keys_come_and_go_and_all_processes_agree() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(Place::File(dir.path().join("db"))).await.unwrap();
        assert!(Ring::load(&db, 0).await.is_err(), "a Portal without keys");
        let start = 1_800_000_000;
        db.write(move |tx| signing_keys::add(tx, &random_secret(), start)).await.unwrap();
        let (a, b) = (Ring::load(&db, start).await.unwrap(), Ring::load(&db, start).await.unwrap());
        let first = a.signer(start).id();
        assert_eq!(b.signer(start).id(), first);

        // A period later there is a second key, published and not yet in use.
        let due = start + PERIOD - KeyRing::AHEAD;
        b.refresh(&db, due - 1).await.unwrap();
        assert_eq!(b.published(due).keys().len(), 1);
        b.refresh(&db, due).await.unwrap();
        a.refresh(&db, due).await.unwrap();
        assert_eq!((a.published(due).keys().len(), a.signer(due).id()), (2, first));
        assert_eq!(a.published(due), b.published(due));

        let second = a.signer(due + KeyRing::AHEAD).id();
        assert_ne!(second, first);
        assert_eq!(b.signer(due + KeyRing::AHEAD).id(), second);
        let later = due + KeyRing::AHEAD + KeyRing::BEHIND;
        a.refresh(&db, later).await.unwrap();
        assert_eq!(a.published(later).keys().len(), 1);
        assert_eq!(db.read(signing_keys::all).await.unwrap().len(), 1);
    }
}
