//! Keys and signatures of live swarms (RFC 7574 §6.1, §7.7, §8.9). Feature `signature`.
//!
//! Owns what a key is, and whether a signature is one of a key over a message. What is signed is not known here: the caller
//! says it in pieces, which are taken one after another as if they were joined.
//!
//! The swarm ID of a live stream is the number of a DNSSEC algorithm and a public key in the form that DNSSEC gives it.
//!
//! | number | name | key after the number | bytes of a signature | |
//! |---|---|---|---|---|
//! | 5 | `RSASHA1` | RFC 3110: length of the exponent, exponent, modulus | as the modulus: 128 to 512 | PKCS #1 v1.5 |
//! | 8 | `RSASHA256` (RFC 5702) | the same | the same | the same |
//! | 13 | `ECDSAP256SHA256` (RFC 6605) | x and y, 32 bytes each | 64: r and s | the default |
//! | 14 | `ECDSAP384SHA384` (RFC 6605) | x and y, 48 bytes each | 96: r and s | |
//! | 15 | `ED25519` (RFC 8080) | 32 bytes of RFC 8032 §5.1.5 | 64 | the cheapest |
//!
//! ```
//! use ppsp_core::signature::{PrivateKey, PublicKey, SignatureAlgorithm, Signer};
//!
//! // A program takes the seed from the system's generator.
//! let mut channel = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256, &[7; 32])?;
//! let signature = channel.sign(&[b"chunk specification", b"timestamp", b"hash"])?;
//!
//! let swarm = channel.public_key().swarm_id();
//! let key = PublicKey::parse(swarm.as_bytes())?;
//! assert_eq!(key.signature_len(), signature.len());
//! assert!(key.verify(&[b"chunk specification", b"timestamp", b"hash"], &signature).is_ok());
//! assert!(key.verify(&[b"another"], &signature).is_err());
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
//!
//! # What it costs, and what makes it faster
//!
//! All is done in Rust, without `std`. The feature `ring` has ECDSA on P-256 verified by ring in a quarter of the time, with the same
//! answers; nothing else changes. With the feature `std` there are tables of the generators of P-256 and P-384, with which
//! signing takes less than half of the time. Figures are in `benches/README.md`.
//!
//! # What of a private key can be seen from outside
//!
//! No signature needs chance: ECDSA takes its number from key and message (RFC 6979), Ed25519 too (RFC 8032), and the
//! padding of PKCS #1 v1.5 is always the same. So a generator that fails cannot give the key away, and the same key signs the
//! same message alike.
//!
//! RSA has been attacked by the time that private operations take (RUSTSEC-2023-0071, of the crate `rsa` before 0.10).
//! Here it is 0.10, which was rewritten to calculate in constant time, and each signature is blinded besides: base, exponents and
//! moduli are masked by numbers that are derived from the private key and the message, and so unknown to whoever does not
//! have the key. They are the same for the same message, which shows the same duration again and nothing new. Each signature
//! is checked before it is handed out, so that one that went wrong in the calculation does not betray the factors.
//!
//! A signature of ECDSA can be turned into another one of the same message by anybody: it is no name for what it signs.

use alloc::{boxed::Box, vec::Vec};
use core::{error::Error, fmt};

pub use private_key::{PrivateKey, PrivateKeyError};
pub use public_key::{KeyError, PublicKey};

mod private_key;
mod public_key;
mod rsa_key;
#[cfg(test)]
mod tests;

/// The algorithms with which live swarms are signed (RFC 7574 §7.7), by their DNSSEC numbers.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum SignatureAlgorithm {
    /// 5: RSA with SHA-1 (RFC 3110). Verified only, unless the feature `rsasha1-signing` is on: SHA-1 is broken, and who can
    /// choose what is signed can have another message signed with it.
    RsaSha1,
    /// 8: RSA with SHA-256 (RFC 5702).
    RsaSha256,
    /// 13: ECDSA on P-256 with SHA-256 (RFC 6605), the default.
    #[default]
    EcdsaP256Sha256,
    /// 14: ECDSA on P-384 with SHA-384 (RFC 6605).
    EcdsaP384Sha384,
    /// 15: Ed25519 (RFC 8080), which RFC 7574 does not make mandatory.
    Ed25519,
}

impl SignatureAlgorithm {
    /// Every algorithm, in the order of its number.
    pub const ALL: [Self; 5] =
        [Self::RsaSha1, Self::RsaSha256, Self::EcdsaP256Sha256, Self::EcdsaP384Sha384, Self::Ed25519];

    /// The DNSSEC algorithm number: the value of the option of RFC 7574 §7.7, and the first byte of a live swarm ID.
    pub const fn code(self) -> u8 {
        match self {
            Self::RsaSha1 => 5,
            Self::RsaSha256 => 8,
            Self::EcdsaP256Sha256 => 13,
            Self::EcdsaP384Sha384 => 14,
            Self::Ed25519 => 15,
        }
    }

    /// From the DNSSEC algorithm number; `None` for others.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.code() == code)
    }

    /// The mnemonic of the DNSSEC registry.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RsaSha1 => "RSASHA1",
            Self::RsaSha256 => "RSASHA256",
            Self::EcdsaP256Sha256 => "ECDSAP256SHA256",
            Self::EcdsaP384Sha384 => "ECDSAP384SHA384",
            Self::Ed25519 => "ED25519",
        }
    }
}

impl fmt::Display for SignatureAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who signs a live stream: a [`PrivateKey`], or something that has one in another place, a hardware module or a process of its
/// own.
///
/// It is asked once for every signed munro or chunk, and the stream waits meanwhile.
pub trait Signer: Send + fmt::Debug {
    /// The public part of the key, and with it algorithm and swarm ID.
    fn public_key(&self) -> &PublicKey;

    /// The signature over the pieces of a message, one after another: [`PublicKey::signature_len`] bytes.
    ///
    /// # Errors
    ///
    /// [`SignError`] where the key cannot be used now. The stream cannot go on without it.
    fn sign(&mut self, message: &[&[u8]]) -> Result<Vec<u8>, SignError>;
}

/// Why a signer did not sign.
#[derive(Debug)]
pub struct SignError(pub Box<dyn Error + Send + Sync>);

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot sign: {}", self.0)
    }
}

impl Error for SignError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.0)
    }
}

/// A signature that does not belong to key and message.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the signature is not one of this key over this message")]
pub struct BadSignature;
