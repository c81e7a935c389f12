//! The public key that is the swarm ID of a live stream.

use alloc::vec::Vec;
use core::fmt;

use rsa::signature::MultipartVerifier;
use sha1::Sha1;
use sha2::Sha256;

use super::{BadSignature, SignatureAlgorithm, rsa_key};
use crate::SwarmId;

/// A public key, parsed from a swarm ID and sound.
///
/// There is one way to write a key, and others are refused: equal keys have equal swarm IDs.
#[derive(Clone)]
pub struct PublicKey {
    id: SwarmId,
    algorithm: SignatureAlgorithm,
    key: Key,
}

#[derive(Clone)]
enum Key {
    /// Of both algorithms with RSA.
    Rsa(rsa::PublicKey),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
}

impl PublicKey {
    /// Fewest bits of an RSA modulus accepted. RFC 5702 §2.1 allows 512, which anybody can factor for little money.
    pub const MIN_RSA_BITS: usize = 1024;
    /// Most bits of an RSA modulus (RFC 3110 §2).
    pub const MAX_RSA_BITS: usize = 4096;
    /// Length of the longest signature in bytes.
    pub const MAX_SIGNATURE_LEN: usize = Self::MAX_RSA_BITS / 8;

    /// From the bytes of a swarm ID: the number of the algorithm, then the key (RFC 7574 §8.9).
    ///
    /// # Errors
    ///
    /// [`KeyError`].
    pub fn parse(swarm_id: &[u8]) -> Result<Self, KeyError> {
        let (&code, key) = swarm_id.split_first().ok_or(KeyError::Length)?;
        let algorithm = SignatureAlgorithm::from_code(code).ok_or(KeyError::Algorithm(code))?;
        let key = match algorithm {
            SignatureAlgorithm::RsaSha1 | SignatureAlgorithm::RsaSha256 => Key::Rsa(rsa_key::parse(key)?),
            // RFC 6605 §4: the point as x and y, each as long as the curve's field.
            SignatureAlgorithm::EcdsaP256Sha256 => {
                let point = uncompressed::<65>(key)?;
                Key::P256(p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| KeyError::Point)?)
            }
            SignatureAlgorithm::EcdsaP384Sha384 => {
                let point = uncompressed::<97>(key)?;
                Key::P384(p384::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| KeyError::Point)?)
            }
            SignatureAlgorithm::Ed25519 => Key::Ed25519(ed25519(key.try_into().map_err(|_| KeyError::Length)?)?),
        };
        let id = SwarmId::new(swarm_id).ok_or(KeyError::Length)?;
        Ok(Self { id, algorithm, key })
    }

    /// The algorithm of the key.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The swarm ID of what is signed with this key.
    pub fn swarm_id(&self) -> SwarmId {
        self.id.clone()
    }

    /// The bytes of the swarm ID: what [`parse`](Self::parse) read.
    pub fn as_bytes(&self) -> &[u8] {
        self.id.as_bytes()
    }

    /// Length of each signature in bytes (RFC 7574 §8.9), at most [`MAX_SIGNATURE_LEN`](Self::MAX_SIGNATURE_LEN).
    pub fn signature_len(&self) -> usize {
        match &self.key {
            // RFC 7574 §8.9: in RSA this is the length of the modulus.
            Key::Rsa(key) => rsa::traits::PublicKeyParts::size(key),
            // RFC 7574 §8.9: 64 and 96 bytes, respectively.
            Key::P256(_) => 64,
            Key::P384(_) => 96,
            // RFC 8080 §4.
            Key::Ed25519(_) => 64,
        }
    }

    /// Whether the key's owner signed the pieces of this message, one after another.
    ///
    /// # Errors
    ///
    /// [`BadSignature`], also for one of another length.
    pub fn verify(&self, message: &[&[u8]], signature: &[u8]) -> Result<(), BadSignature> {
        // RSA libraries differ in whether they take what is longer or shorter than the modulus.
        if signature.len() != self.signature_len() {
            return Err(BadSignature);
        }
        match &self.key {
            Key::Rsa(key) if self.algorithm == SignatureAlgorithm::RsaSha1 => {
                key.pkcs1v15_verify_prehash::<Sha1>(&rsa_key::digest::<Sha1>(message), signature).ok()
            }
            Key::Rsa(key) => key.pkcs1v15_verify_prehash::<Sha256>(&rsa_key::digest::<Sha256>(message), signature).ok(),
            Key::P256(key) => verify_p256(key, message, signature),
            Key::P384(key) => p384::ecdsa::Signature::from_slice(signature)
                .and_then(|signature| key.multipart_verify(message, &signature))
                .ok(),
            // Keys of small order, under which a signature means nothing, are refused when they are parsed.
            Key::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .and_then(|signature| key.multipart_verify(message, &signature))
                .ok(),
        }
        .ok_or(BadSignature)
    }

    pub(super) fn of_rsa(algorithm: SignatureAlgorithm, exponent: &[u8], modulus: &[u8]) -> Result<Self, KeyError> {
        let length = u8::try_from(exponent.len()).map_err(|_| KeyError::Exponent)?;
        Self::joined(algorithm, &[&[length], exponent, modulus])
    }

    /// Of a point in the form of SEC 1, not compressed.
    pub(super) fn of_point(algorithm: SignatureAlgorithm, sec1: &[u8]) -> Result<Self, KeyError> {
        Self::joined(algorithm, &[sec1.get(1..).unwrap_or_default()])
    }

    pub(super) fn of_ed25519(key: &ed25519_dalek::VerifyingKey) -> Result<Self, KeyError> {
        Self::joined(SignatureAlgorithm::Ed25519, &[key.as_bytes()])
    }

    fn joined(algorithm: SignatureAlgorithm, key: &[&[u8]]) -> Result<Self, KeyError> {
        let id: Vec<u8> = core::iter::once(algorithm.code()).chain(key.concat()).collect();
        Self::parse(&id)
    }
}

impl Eq for PublicKey {}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({}, {})", self.algorithm, self.id)
    }
}

/// Why bytes are not taken for the swarm ID of a live stream.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// The first byte is no algorithm of [`SignatureAlgorithm`].
    #[error("the key is of algorithm {0}; live streams are signed with DNSSEC algorithm 5, 8, 13, 14 or 15")]
    Algorithm(u8),
    /// Not as long as keys of the algorithm are.
    #[error("the key is shorter or longer than keys of its algorithm are")]
    Length,
    /// The exponent is even, below 3 or above 2³³ − 1, begins with zeros, or its length is written in three bytes.
    #[error("the exponent of the RSA key is not an odd number from 3 to 8589934591 in its shortest form")]
    Exponent,
    /// The modulus is even, begins with zeros, or has fewer or more bits than accepted.
    #[error(
        "the modulus of the RSA key is not an odd number of {} to {} bits in its shortest form",
        PublicKey::MIN_RSA_BITS,
        PublicKey::MAX_RSA_BITS
    )]
    Modulus,
    /// Not a point of the curve in its one form, or one of the few for which anybody can make signatures.
    #[error("the key is not a sound point of its curve")]
    Point,
}

/// A point of x and y as SEC 1 writes it; `N` is its length there.
fn uncompressed<const N: usize>(xy: &[u8]) -> Result<[u8; N], KeyError> {
    let mut point = [4; N];
    let space = point.get_mut(1..).filter(|space| space.len() == xy.len()).ok_or(KeyError::Length)?;
    space.copy_from_slice(xy);
    Ok(point)
}

fn ed25519(bytes: &[u8; 32]) -> Result<ed25519_dalek::VerifyingKey, KeyError> {
    // RFC 8032 §5.1.3: a y of p = 2²⁵⁵ − 19 or more is no encoding. The library takes it for what is left modulo p.
    let [low, middle @ .., high] = bytes;
    if *low >= 0xed && middle.iter().all(|&byte| byte == 0xff) && high & 0x7f == 0x7f {
        return Err(KeyError::Point);
    }
    let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Point)?;
    if key.is_weak() { Err(KeyError::Point) } else { Ok(key) }
}

#[cfg(not(feature = "ring"))]
fn verify_p256(key: &p256::ecdsa::VerifyingKey, message: &[&[u8]], signature: &[u8]) -> Option<()> {
    let signature = p256::ecdsa::Signature::from_slice(signature).ok()?;
    key.multipart_verify(message, &signature).ok()
}

/// ring hashes the message itself, and wants it in one piece; copying it is nothing beside the signature.
#[cfg(feature = "ring")]
fn verify_p256(key: &p256::ecdsa::VerifyingKey, message: &[&[u8]], signature: &[u8]) -> Option<()> {
    let algorithm = &ring::signature::ECDSA_P256_SHA256_FIXED;
    let key = ring::signature::UnparsedPublicKey::new(algorithm, key.to_sec1_point(false));
    key.verify(&message.concat(), signature).ok()
}
