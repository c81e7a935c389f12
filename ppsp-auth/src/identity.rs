//! Names that nobody can choose: client identifiers, given by a Portal, and peer identifiers, given by a tracker.
//!
//! Both are derived with a keyed hash (HMAC-SHA-256, RFC 2104), so that nothing has to be stored to know them again. When
//! they are given out, and to whom, is not decided here.

use core::net::IpAddr;

use ppsp_core::Identifier;
use subtle::ConstantTimeEq;

use crate::Secret;

/// The Portal's key for client identifiers.
#[derive(Clone, Debug)]
pub struct ClientIdentifierKey(Secret);

impl ClientIdentifierKey {
    /// From a key for this purpose alone.
    pub const fn new(key: Secret) -> Self {
        Self(key)
    }

    /// The identifier of a user in a session. Another session has another one, and nobody else can tell that they belong
    /// to the same user.
    pub fn derive(&self, user: &[u8], session: u128) -> Identifier {
        // The session first: it has a fixed length, so no two pairs are the same bytes.
        let tag = self.0.tag(&[b"ppsp client identifier\0", &session.to_be_bytes(), user]);
        Identifier::from_bytes(core::array::from_fn(|i| tag[i]))
    }
}

/// A tracker's key for peer identifiers; all nodes of one tracker share it.
#[derive(Clone, Debug)]
pub struct PeerIdentifierKey(Secret);

impl PeerIdentifierKey {
    /// From a key for this purpose alone.
    pub const fn new(key: Secret) -> Self {
        Self(key)
    }

    /// The peer identifier of a registration: 40 bits of its number, then 56 bits that prove client, address, session
    /// and number.
    ///
    /// The number makes it unique within a node. Two nodes that register the same client from the same address in the same
    /// session within the same 10 ms give it the same name, which is then rightly the same peer.
    pub fn assign(&self, client: Identifier, remote: IpAddr, session: u128, registration: Registration) -> Identifier {
        let number = registration.0.to_be_bytes();
        // RFC 4291 §2.5.5.2: one address, whether the socket was opened for IPv4 or for both families.
        let (v4, v6);
        let address: &[u8] = match remote.to_canonical() {
            IpAddr::V4(address) => {
                v4 = address.octets();
                &v4
            }
            IpAddr::V6(address) => {
                v6 = address.octets();
                &v6
            }
        };
        // Only the last part may vary in length.
        let label = b"ppsp peer identifier\0";
        let tag = self.0.tag(&[label, &number, client.as_bytes(), &session.to_be_bytes(), address]);
        let mut bytes = [0; 12];
        bytes[..5].copy_from_slice(&number[3..]);
        bytes[5..].copy_from_slice(&tag[..7]);
        Identifier::from_bytes(bytes)
    }

    /// The registration in which this identifier was assigned to this client, at this address, in this session.
    ///
    /// # Errors
    /// [`NotAssigned`]: it was made up, or belongs to somebody else, to another address or to another session.
    pub fn check(
        &self,
        identifier: Identifier,
        client: Identifier,
        remote: IpAddr,
        session: u128,
    ) -> Result<Registration, NotAssigned> {
        let number = identifier.as_bytes()[..5].iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
        let registration = Registration(number);
        let assigned = self.assign(client, remote, session, registration);
        let equal: bool = assigned.as_bytes()[..].ct_eq(&identifier.as_bytes()[..]).into();
        equal.then_some(registration).ok_or(NotAssigned)
    }
}

/// A peer identifier that was not assigned to who shows it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("this peer identifier was not assigned to this client at this address in this session")]
pub struct NotAssigned;

/// The number of a registration at a tracker: 40 bits.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Registration(u64);

impl Registration {
    /// The last number.
    pub const MAX: Self = Self((1 << 40) - 1);

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// Numbers registrations, always upwards.
///
/// A number is the Unix time in units of 10 ms or, where that was given already, the next one. So numbers go on upwards
/// after a restart without anything stored, unless more than a hundred registrations in a second went on for all of the
/// node's life, or its clock was set back; keep [`last`](Self::last) where that matters.
#[derive(Clone, Copy, Debug, Default)]
pub struct RegistrationCounter {
    /// The number after the last one given.
    next: u64,
}

impl RegistrationCounter {
    /// Goes on after `last`, where it is known.
    pub fn new(last: Option<Registration>) -> Self {
        Self { next: last.map_or(0, |last| last.0 + 1) }
    }

    /// The number of a registration now. `None` when all are used up, in the year 2318.
    pub fn register(&mut self, unix_millis: u64) -> Option<Registration> {
        let number = self.next.max(unix_millis / 10);
        (number <= Registration::MAX.0).then(|| {
            self.next = number + 1;
            Registration(number)
        })
    }

    /// The last number given.
    pub fn last(&self) -> Option<Registration> {
        self.next.checked_sub(1).map(Registration)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use std::collections::BTreeSet;

    fn key() -> PeerIdentifierKey {
        PeerIdentifierKey::new(Secret::new([3; 32]))
    }

    fn client(n: u8) -> Identifier {
        Identifier::from_bytes([n; 12])
    }

    proptest! {
        #[test]
        fn only_the_same_inputs_are_accepted(
            bytes: [u8; 12], address: IpAddr, session: u128, number in 0..1u64 << 40, bit in 0..96usize,
            other_client: [u8; 12], other_address: IpAddr, other_session: u128,
        ) {
            let (client, registration) = (Identifier::from_bytes(bytes), Registration(number));
            let id = key().assign(client, address, session, registration);
            let check = |id, client, address, session| key().check(id, client, address, session);
            prop_assert_eq!(check(id, client, address, session), Ok(registration));
            let mut tampered = *id.as_bytes();
            tampered[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(check(Identifier::from_bytes(tampered), client, address, session), Err(NotAssigned));
            let other = Identifier::from_bytes(other_client);
            prop_assert_eq!(check(id, other, address, session).is_ok(), other == client);
            let same = other_address.to_canonical() == address.to_canonical();
            prop_assert_eq!(check(id, client, other_address, session).is_ok(), same);
            prop_assert_eq!(check(id, client, address, other_session).is_ok(), other_session == session);
            prop_assert_eq!(PeerIdentifierKey::new(Secret::new([4; 32])).check(id, client, address, session), Err(NotAssigned));
            prop_assert_eq!(check(client, client, address, session), Err(NotAssigned));
        }

        /// Whatever the clock does, and with a restart in between that knows the last number.
        #[test]
        fn no_identifier_repeats(clock in vec(0..40u64, 1..200), restart in 0..200usize) {
            let mut counter = RegistrationCounter::default();
            let mut seen = BTreeSet::new();
            for (i, millis) in clock.into_iter().enumerate() {
                if i == restart {
                    counter = RegistrationCounter::new(counter.last());
                }
                let registration = counter.register(millis).unwrap();
                prop_assert!(registration.get() >= millis / 10);
                let session = u128::from(millis % 3);
                prop_assert!(seen.insert(key().assign(client(1), IpAddr::from([127, 0, 0, 1]), session, registration)));
            }
        }

        #[test]
        fn each_session_has_its_own_client_identifier(
            user in vec(any::<u8>(), 0..20), other in vec(any::<u8>(), 0..20), a: u128, b: u128,
        ) {
            let key = ClientIdentifierKey::new(Secret::new([5; 32]));
            prop_assert_eq!(key.derive(&user, a), key.derive(&user, a));
            prop_assert_eq!(key.derive(&user, a) == key.derive(&other, b), user == other && a == b);
            prop_assert_ne!(key.derive(&user, a), ClientIdentifierKey::new(Secret::new([6; 32])).derive(&user, a));
        }
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        let id = key().assign(client(1), "192.0.2.1".parse().unwrap(), 1, Registration(1));
        assert!(key().check(id, client(1), "::ffff:192.0.2.1".parse().unwrap(), 1).is_ok());
        assert!(key().check(id, client(1), "::192.0.2.1".parse().unwrap(), 1).is_err());
    }

    #[test]
    fn numbers_end_in_2318() {
        let mut counter = RegistrationCounter::default();
        assert_eq!(counter.last(), None);
        assert_eq!(counter.register(1_800_000_000_000), Some(Registration(180_000_000_000)));
        // 40 bits of 10 ms are 348 years.
        assert_eq!(counter.register((1 << 40) * 10 - 1), Some(Registration::MAX));
        assert_eq!(counter.register(0), None);
        assert_eq!(counter.last(), Some(Registration::MAX));
        assert_eq!(RegistrationCounter::new(counter.last()).register(u64::MAX), None);
    }

    #[test]
    fn nothing_secret_is_shown() {
        assert_eq!(format!("{:?}", key()), "PeerIdentifierKey(Secret(…))");
    }
}
