use alloc::{string::String, vec::Vec};

use serde::Deserialize;

use super::{
    KeyId, VerifyingKey,
    key::{Jwk, KeyError},
};
use crate::json;

/// The public keys of an issuer: a JWK Set (RFC 7517 §5).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct KeySet(Vec<VerifyingKey>);

impl KeySet {
    /// The longest JWK Set that is read, in bytes.
    pub const MAX_TEXT: usize = 64 << 10;

    /// The keys of a set that are kept: the first ones.
    pub const MAX_KEYS: usize = 32;

    /// Reads a JWK Set. RFC 7517 §5: keys of other kinds, and what is no key, are ignored.
    ///
    /// # Errors
    /// [`KeyError::Malformed`] where the text is no JWK Set or longer than [`KeySet::MAX_TEXT`].
    pub fn from_jwks(text: &[u8]) -> Result<Self, KeyError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        if text.len() > Self::MAX_TEXT {
            return Err(KeyError::Malformed);
        }
        let set: Set = json::read(text).ok_or(KeyError::Malformed)?;
        Ok(set.keys.iter().filter_map(|value| Jwk::deserialize(value).ok()?.public().ok()).collect())
    }

    /// The set as text, for `/.well-known/jwks.json` (media type `application/jwk-set+json`).
    pub fn to_jwks(&self) -> String {
        let mut text = String::from(r#"{"keys":["#);
        for (i, key) in self.0.iter().enumerate() {
            if i > 0 {
                text.push(',');
            }
            text.push_str(&key.to_jwk());
        }
        text.push_str("]}");
        text
    }

    /// The key of this name.
    pub fn key(&self, id: KeyId) -> Option<&VerifyingKey> {
        self.0.iter().find(|key| key.id() == id)
    }

    /// All keys.
    pub fn keys(&self) -> &[VerifyingKey] {
        &self.0
    }
}

impl FromIterator<VerifyingKey> for KeySet {
    /// Takes each key once, and not more than [`KeySet::MAX_KEYS`].
    fn from_iter<I: IntoIterator<Item = VerifyingKey>>(keys: I) -> Self {
        let mut set = Self::default();
        for key in keys {
            if set.0.len() < Self::MAX_KEYS && set.key(key.id()).is_none() {
                set.0.push(key);
            }
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::{super::key::tests::*, *};
    use crate::token::SigningKey;

    #[test]
    fn foreign_keys_are_ignored() {
        let key = SigningKey::from_seed(&[1; 32]).verifying_key();
        let text = format!(
            r#"{{"keys":[{{"kty":"RSA","n":"AQAB","e":"AQAB"}},7,{{"kty":"OKP","crv":"Ed25519","x":3}},{PUBLIC},{},{PRIVATE}]}}"#,
            key.to_jwk()
        );
        let set = KeySet::from_jwks(text.as_bytes()).unwrap();
        assert_eq!(set.keys(), [VerifyingKey::from_jwk(PUBLIC).unwrap(), key.clone()]);
        assert_eq!(set.key(key.id()), Some(&key));
        assert_eq!(KeySet::from_jwks(set.to_jwks().as_bytes()), Ok(set));
        assert_eq!(KeySet::from_jwks(br#"{"keys":{}}"#), Err(KeyError::Malformed));
    }

    #[test]
    fn at_the_limits() {
        let keys = |n: u8| (0..n).map(|i| SigningKey::from_seed(&[i; 32]).verifying_key()).collect::<KeySet>();
        assert_eq!(keys(33), keys(32));
        assert_eq!(keys(32).keys().len(), KeySet::MAX_KEYS);
        assert!(keys(32).to_jwks().len() < KeySet::MAX_TEXT);
        let long = format!(r#"{{"keys":[]{}}}"#, " ".repeat(KeySet::MAX_TEXT));
        assert_eq!(KeySet::from_jwks(long.as_bytes()), Err(KeyError::Malformed));
    }
}
