//! Who lets in. A nonce says itself when it was made, under a tag that only this process can make, so that a challenge
//! leaves nothing behind; what is counted are nonces that a right password was proven with.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
};
use core::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use ppsp_core::Instant;
use subtle::ConstantTimeEq;

use super::{
    Accounts, Algorithm, DigestError, Signed,
    header::{Challenge, Credentials},
};
use crate::Secret;

/// How long nonces are good, and how many are counted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DigestLimits {
    /// How long a nonce is good after its challenge.
    pub nonce_lifetime: Duration,
    /// The most nonces that are counted. In a full table the nonce that was made first makes room; it and all that were
    /// made before it are stale from then on, so that none can be replayed.
    pub nonces: usize,
}

impl Default for DigestLimits {
    fn default() -> Self {
        Self { nonce_lifetime: Duration::from_secs(3600), nonces: 16_384 }
    }
}

/// The server of one realm.
///
/// ```
/// use ppsp_auth::{Password, Secret, digest::{Accounts, DigestClient, DigestLimits, DigestServer, account_line}};
/// use ppsp_core::Instant;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (now, password) = (Instant::from_micros(0), Password::new("correct horse")?);
/// let accounts = Accounts::parse("tracker", &account_line("alice", "tracker", &password)?)?;
/// let mut server = DigestServer::new(&Secret::new([1; 32]), accounts, DigestLimits::default());
/// let mut client = DigestClient::new("alice", password)?;
///
/// client.challenged(&server.challenge(now, &[2; 8], false))?;
/// let header = client.authorization("POST", "/swarms", &[3; 16]).ok_or("no challenge")?;
/// assert_eq!(server.verify(now, &header, "POST", "/swarms")?, "alice");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct DigestServer {
    key: Secret,
    decoy: Secret,
    accounts: Accounts,
    limits: DigestLimits,
    counted: BTreeMap<Nonce, Counts>,
    /// A nonce made at this moment or before it may have been counted and forgotten.
    forgotten: Option<Instant>,
}

impl DigestServer {
    /// `key` is fresh chance for each process: nonces that another process gave, or this one before a restart, are
    /// stale.
    pub fn new(key: &Secret, accounts: Accounts, limits: DigestLimits) -> Self {
        Self {
            key: key.derive("digest nonce"),
            decoy: key.derive("digest decoy"),
            accounts,
            limits,
            counted: BTreeMap::new(),
            forgotten: None,
        }
    }

    /// Other accounts, from the next request on.
    pub fn set_accounts(&mut self, accounts: Accounts) {
        self.accounts = accounts;
    }

    /// A `WWW-Authenticate` header. `salt` is fresh chance; `stale` where the request failed by [`DigestError::Stale`].
    pub fn challenge(&self, now: Instant, salt: &[u8; 8], stale: bool) -> String {
        let nonce = Nonce { made: now, salt: *salt };
        let challenge = Challenge {
            realm: self.accounts.realm().to_string(),
            nonce: nonce.write(&self.key),
            opaque: None,
            algorithm: Algorithm::Sha256,
            stale,
            userhash: true,
        };
        challenge.write()
    }

    /// Checks the `Authorization` header of a request and counts it; the text is the user's name. `target` is the
    /// request target as it was received.
    ///
    /// # Errors
    ///
    /// [`DigestError::Stale`] only where the password is right (RFC 7616 §3.3), so that nobody asks a person again in
    /// vain; [`DigestError::Replayed`] where this nonce came with this count before, which the 64 highest counts of a
    /// nonce may do in any order. An unknown user fails as a wrong password does.
    pub fn verify(&mut self, now: Instant, header: &str, method: &str, target: &str) -> Result<&str, DigestError> {
        let credentials = Credentials::read(header)?;
        let Credentials { algorithm, nonce, nc, cnonce, uri, .. } = &credentials;
        if credentials.realm != self.accounts.realm() {
            return Err(DigestError::Realm);
        }
        // RFC 7616 §3.4.6: the server MUST assure that it is the same resource.
        if uri != target {
            return Err(DigestError::Target);
        }
        let (name, ha1) = self.accounts.find(&credentials.user.hash(&credentials.realm)).unwrap_or(("", &self.decoy));
        let response = Signed { algorithm: *algorithm, nonce, nc, cnonce, method, uri }.response(ha1);
        if !bool::from(response.ct_eq(&credentials.response)) || name.is_empty() {
            return Err(DigestError::WrongCredentials);
        }
        let nonce = Nonce::read(nonce, &self.key).ok_or(DigestError::Stale)?;
        count(&mut self.counted, &mut self.forgotten, self.limits, now, nonce, credentials.count)?;
        Ok(name)
    }
}

#[cfg(test)]
impl DigestServer {
    /// How many nonces are counted.
    pub(super) fn counted(&self) -> usize {
        self.counted.len()
    }
}

/// Counts a request of a user who is proven.
fn count(
    counted: &mut BTreeMap<Nonce, Counts>,
    forgotten: &mut Option<Instant>,
    limits: DigestLimits,
    now: Instant,
    nonce: Nonce,
    count: u32,
) -> Result<(), DigestError> {
    let aged = |nonce: &Nonce| now.saturating_since(nonce.made) > limits.nonce_lifetime;
    while counted.first_key_value().is_some_and(|(oldest, _)| aged(oldest)) {
        counted.pop_first();
    }
    if aged(&nonce) {
        return Err(DigestError::Stale);
    }
    if !counted.contains_key(&nonce) {
        if forgotten.is_some_and(|forgotten| nonce.made <= forgotten) {
            return Err(DigestError::Stale);
        }
        if counted.len() >= limits.nonces.max(1)
            && let Some((oldest, _)) = counted.pop_first()
        {
            *forgotten = (*forgotten).max(Some(oldest.made));
        }
    }
    counted.entry(nonce).or_default().add(count)
}

/// A nonce of ours.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Nonce {
    made: Instant,
    salt: [u8; 8],
}

impl Nonce {
    fn write(self, key: &Secret) -> String {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&self.made.as_micros().to_be_bytes());
        bytes[8..16].copy_from_slice(&self.salt);
        let tag = key.tag(&[&bytes[..16]]);
        bytes[16..].copy_from_slice(&tag[..16]);
        BASE64URL_NOPAD.encode(&bytes)
    }

    /// `None` where it is not from here.
    fn read(text: &str, key: &Secret) -> Option<Self> {
        let bytes: [u8; 32] = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?.try_into().ok()?;
        let (made, rest) = bytes.split_first_chunk()?;
        let nonce = Self { made: Instant::from_micros(u64::from_be_bytes(*made)), salt: *rest.first_chunk()? };
        bool::from(nonce.write(key).as_bytes().ct_eq(text.as_bytes())).then_some(nonce)
    }
}

/// Which counts of a nonce came.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    highest: u32,
    /// Bit `i`: `highest - i` came.
    window: u64,
}

impl Counts {
    /// Requests on several connections may overtake each other; what is behind the window may have come and is stale.
    fn add(&mut self, count: u32) -> Result<(), DigestError> {
        if let Some(ahead @ 1..) = count.checked_sub(self.highest) {
            self.window = self.window.checked_shl(ahead).unwrap_or(0) | 1;
            self.highest = count;
            return Ok(());
        }
        let bit = 1_u64.checked_shl(self.highest - count).ok_or(DigestError::Stale)?;
        if self.window & bit != 0 {
            return Err(DigestError::Replayed);
        }
        self.window |= bit;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::{collection::vec, prelude::*};

    proptest! {
        #[test]
        fn counts_as_a_set_does(counts in vec(prop_oneof![1_u32..100, Just(u32::MAX)], 0..100)) {
            let (mut table, mut model) = (Counts::default(), BTreeSet::new());
            for count in counts {
                let highest = model.last().copied().unwrap_or(0);
                let expected = if count <= highest && highest - count >= 64 {
                    Err(DigestError::Stale)
                } else if model.insert(count) {
                    Ok(())
                } else {
                    Err(DigestError::Replayed)
                };
                prop_assert_eq!(table.add(count), expected);
            }
        }
    }
}
