//! RSA keys as RFC 3110 writes them, and signatures by them with what has to be blinded.

use alloc::vec::Vec;

use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use rsa::{BoxedUint, traits::PrivateKeyParts};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{KeyError, PublicKey};

/// RFC 3110 §2: length of the exponent, exponent, modulus; leading zero octets are prohibited in both.
pub(super) fn parse(tuple: &[u8]) -> Result<rsa::PublicKey, KeyError> {
    // RFC 3110 §2: three octets are for exponents longer than 255 bytes. None that long is accepted: they would cost the
    // verifier a thousand times as much.
    let (&length, rest) = tuple.split_first().ok_or(KeyError::Length)?;
    let (exponent, modulus) = rest.split_at_checked(length.into()).ok_or(KeyError::Length)?;
    if !is_shortest(exponent) || exponent.len() > 5 {
        return Err(KeyError::Exponent);
    }
    if !is_shortest(modulus) || modulus.len() > PublicKey::MAX_RSA_BITS / 8 {
        return Err(KeyError::Modulus);
    }
    let sizes = PublicKey::MIN_RSA_BITS..=PublicKey::MAX_RSA_BITS;
    rsa::PublicKey::new_with_size_limits(number(modulus), number(exponent), sizes).map_err(|error| match error {
        rsa::Error::InvalidExponent | rsa::Error::PublicExponentTooSmall | rsa::Error::PublicExponentTooLarge => {
            KeyError::Exponent
        }
        _ => KeyError::Modulus,
    })
}

/// A private key of RSA and the secret from which its blinding is derived.
pub(super) struct RsaPrivateKey {
    pub(super) key: rsa::PrivateKey,
    blinding: Zeroizing<[u8; 32]>,
}

impl RsaPrivateKey {
    pub(super) fn new(key: rsa::PrivateKey) -> Self {
        let exponent = Zeroizing::new(key.d().to_be_bytes());
        let secret = Sha256::new().chain_update(b"ppsp RSA blinding").chain_update(&*exponent).finalize();
        Self { key, blinding: Zeroizing::new(secret.into()) }
    }

    pub(super) fn sign_sha1(&self, message: &[&[u8]]) -> rsa::Result<Vec<u8>> {
        let hash = digest::<Sha1>(message);
        self.key.pkcs1v15_sign_prehash_with_rng::<Sha1, _>(&mut self.masks(&hash), &hash)
    }

    pub(super) fn sign_sha256(&self, message: &[&[u8]]) -> rsa::Result<Vec<u8>> {
        let hash = digest::<Sha256>(message);
        self.key.pkcs1v15_sign_prehash_with_rng::<Sha256, _>(&mut self.masks(&hash), &hash)
    }

    /// The numbers that mask one private operation.
    fn masks(&self, hash: &[u8]) -> ChaCha20Rng {
        let seed = Sha256::new().chain_update(self.blinding.as_slice()).chain_update(hash).finalize();
        ChaCha20Rng::from_seed(seed.into())
    }
}

/// The hash of the pieces, one after another.
pub(super) fn digest<D: Digest>(message: &[&[u8]]) -> sha2::digest::Output<D> {
    message.iter().fold(D::new(), |digest, piece| digest.chain_update(piece)).finalize()
}

fn is_shortest(number: &[u8]) -> bool {
    number.first().is_some_and(|&first| first != 0)
}

fn number(bytes: &[u8]) -> BoxedUint {
    BoxedUint::from_be_slice_vartime(bytes)
}
