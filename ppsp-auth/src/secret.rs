//! Thirty-two secret bytes: a key, or what is as good as one. Owns how such bytes are kept, compared, shown (never) and
//! used as the key of a keyed hash; knows nothing of what they are for.

use core::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// 32 secret bytes. Zeroed when dropped, compared in constant time, and not shown by `Debug`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret([u8; 32]);

impl Secret {
    /// From bytes that are uniformly random, or the output of a hash.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Another key for one use, named by `label`: of one key that an operator keeps, each part of a service makes its own,
    /// and what one part signs means nothing to another.
    #[must_use]
    pub fn derive(&self, label: &str) -> Self {
        Self(self.tag(&[b"ppsp derived key: ", label.as_bytes()]))
    }

    /// The bytes, for who stores or uses the key.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// HMAC-SHA-256 with this key over the parts one after another. Where more than one part may vary in length, the
    /// caller separates them.
    pub(crate) fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        // RFC 2104 §2: a key shorter than a block is filled up with zeros. A whole block is a key that cannot be refused.
        let mut block = [0; 64];
        block[..32].copy_from_slice(&self.0);
        let mut mac = Hmac::<Sha256>::new(&block.into());
        block.zeroize();
        parts.iter().for_each(|part| mac.update(part));
        mac.finalize().into_bytes().into()
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_an_hmac() {
        // RFC 4231 §4.2 with its 20-byte key filled up by zeros, which HMAC does itself.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let tag = data_encoding::HEXLOWER.encode(&Secret::new(key).tag(&[b"Hi ", b"There"]));
        assert_eq!(tag, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }

    #[test]
    fn stays_secret() {
        let secret = Secret::new([7; 32]);
        assert_eq!(std::format!("{secret:?}"), "Secret(…)");
        assert_eq!(secret, secret.clone());
        assert_ne!(secret.derive("a"), secret.derive("b"));
        assert_ne!(secret.derive("a"), secret);
    }
}
