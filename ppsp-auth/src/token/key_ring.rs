use alloc::vec::Vec;

use super::{KeyId, KeySet, SigningKey, access::MAX_LIFETIME};

/// The keys with which a Portal signs, each with the moment from which it does.
///
/// All follows from these moments, so that several processes that read the same keys from one database agree without
/// talking: the newest key whose moment has come signs; a key that is still to come is published already, so that trackers
/// know it in time; one whose successor signs stays published until the last token under it has expired.
#[derive(Clone, Debug)]
pub struct KeyRing(Vec<Dated>);

#[derive(Clone, Debug)]
struct Dated {
    /// Unix seconds.
    signs_from: u64,
    key: SigningKey,
}

/// Why a key was not taken into the ring.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// There are [`KeyRing::MAX_KEYS`] already.
    #[error("there are as many keys as a ring holds; old ones have to be forgotten first")]
    Full,
    /// The key is in the ring.
    #[error("this key is in the ring already")]
    Known,
}

impl KeyRing {
    /// The most keys that a ring holds.
    pub const MAX_KEYS: usize = 8;

    /// How long a key should be published before it signs, in seconds: trackers ask for the keys more often than that.
    pub const AHEAD: u64 = 3600;

    /// How long a key stays published after its successor began to sign, in seconds: the longest life of a token, and
    /// as much again for clocks that are off.
    pub const BEHIND: u64 = 2 * MAX_LIFETIME;

    /// A ring of one key that signs from this Unix second on, and before it as there is no other.
    pub fn new(key: SigningKey, signs_from: u64) -> Self {
        Self(alloc::vec![Dated { signs_from, key }])
    }

    /// Adds a key that signs from this Unix second on.
    ///
    /// # Errors
    /// See [`KeyRingError`].
    pub fn add(&mut self, key: SigningKey, signs_from: u64) -> Result<(), KeyRingError> {
        if self.0.iter().any(|dated| dated.key.id() == key.id()) {
            return Err(KeyRingError::Known);
        }
        if self.0.len() >= Self::MAX_KEYS {
            return Err(KeyRingError::Full);
        }
        self.0.push(Dated { signs_from, key });
        // By name where the moments are equal: whoever has the same keys has the same order.
        self.0.sort_by_key(|dated| (dated.signs_from, dated.key.id()));
        Ok(())
    }

    /// Removes the keys that are no longer published, and names them.
    pub fn forget(&mut self, unix_now: u64) -> Vec<KeyId> {
        let gone = self.first_published(unix_now);
        self.0.drain(..gone).map(|dated| dated.key.id()).collect()
    }

    /// The key that signs now.
    pub fn signer(&self, unix_now: u64) -> &SigningKey {
        &self.0[self.signer_index(unix_now)].key
    }

    /// The keys to be published now.
    pub fn published(&self, unix_now: u64) -> KeySet {
        self.0[self.first_published(unix_now)..].iter().map(|dated| dated.key.verifying_key()).collect()
    }

    /// From which Unix second on a new key should be there and published, where each is to sign for `period` seconds: the
    /// new one then signs [`KeyRing::AHEAD`] later.
    pub fn next_due(&self, period: u64) -> u64 {
        let newest = self.0.last().map_or(0, |dated| dated.signs_from);
        newest.saturating_add(period.max(Self::AHEAD)).saturating_sub(Self::AHEAD)
    }

    fn signer_index(&self, unix_now: u64) -> usize {
        // The first one signs where no moment has come: a clock that was set back must not leave a Portal without a key.
        self.0.partition_point(|dated| dated.signs_from <= unix_now).saturating_sub(1)
    }

    fn first_published(&self, unix_now: u64) -> usize {
        self.signer_index(unix_now.saturating_sub(Self::BEHIND)).min(self.signer_index(unix_now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> SigningKey {
        SigningKey::from_seed(&[n; 32])
    }

    #[test]
    fn a_rotation() {
        let mut ring = KeyRing::new(key(1), 7);
        let start = 1_000_000;
        ring.add(key(2), start + KeyRing::AHEAD).unwrap();
        let ids = |ring: &KeyRing, now| ring.published(now).keys().iter().map(|key| key.id()).collect::<Vec<_>>();
        let both = [key(1).id(), key(2).id()];
        assert_eq!(ring.signer(0).id(), both[0]);
        assert_eq!(KeyRing::new(key(1), start).next_due(86_400), start + 86_400 - KeyRing::AHEAD);
        // Published before it signs.
        assert_eq!((ring.signer(start).id(), ids(&ring, start)), (both[0], both.to_vec()));
        let change = start + KeyRing::AHEAD;
        assert_eq!(ring.signer(change - 1).id(), both[0]);
        assert_eq!(ring.signer(change).id(), both[1]);
        // The last token of the old key lives for MAX_LIFETIME more.
        assert_eq!(ids(&ring, change + MAX_LIFETIME), both);
        assert!(ring.forget(change + KeyRing::BEHIND - 1).is_empty());
        assert_eq!(ids(&ring, change + KeyRing::BEHIND), both[1..]);
        assert_eq!(ring.forget(change + KeyRing::BEHIND), both[..1]);
        assert_eq!(ring.signer(0).id(), both[1]);
        assert_eq!(ring.next_due(86_400), change + 86_400 - KeyRing::AHEAD);
    }

    #[test]
    fn the_order_of_adding_does_not_matter() {
        let (mut one, mut other) = (KeyRing::new(key(1), 0), KeyRing::new(key(1), 0));
        for n in 2..=8 {
            one.add(key(n), u64::from(n / 2) * 100).unwrap();
            other.add(key(10 - n), u64::from((10 - n) / 2) * 100).unwrap();
        }
        for now in (0..10_000).step_by(50) {
            assert_eq!(one.signer(now).id(), other.signer(now).id());
            assert_eq!(one.published(now), other.published(now));
            assert!(one.published(now).key(one.signer(now).id()).is_some());
        }
        assert_eq!(one.add(key(9), 0), Err(KeyRingError::Full));
        assert_eq!(one.add(key(3), 0), Err(KeyRingError::Known));
    }
}
