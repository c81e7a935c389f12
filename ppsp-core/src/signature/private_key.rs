//! Private keys in memory, and as PKCS #8.

use alloc::{
    boxed::Box,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;

use ed25519_dalek::pkcs8::KeypairBytes;
use pkcs8::{
    AssociatedOid, EncodePrivateKey, LineEnding, ObjectIdentifier, PrivateKeyInfoRef, SecretDocument,
    der::{Decode, pem::PemLabel},
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use rsa::{Generate, pkcs1::RsaPrivateKeyRef, signature::MultipartSigner, traits::PublicKeyParts};
use zeroize::Zeroizing;

use super::{KeyError, PublicKey, SignError, SignatureAlgorithm, Signer, rsa_key::RsaPrivateKey};

/// A private key in memory. It is wiped when it is dropped, and shown by nothing but [`to_pem`](Self::to_pem).
pub struct PrivateKey {
    public: PublicKey,
    key: Key,
}

enum Key {
    Rsa(RsaPrivateKey),
    P256(p256::ecdsa::SigningKey),
    P384(p384::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
}

impl PrivateKey {
    /// Bits of RSA keys that are made here.
    pub const RSA_BITS: usize = 2048;
    /// The longest PEM that is read, in bytes: an RSA key of 4096 bits takes 3.3 KiB.
    pub const MAX_PEM_LEN: usize = 8192;

    /// A new key. The seed has to be random and secret; the same one makes the same key. RSA keys take a fraction of a second.
    ///
    /// # Errors
    ///
    /// [`PrivateKeyError::NotSigning`].
    pub fn generate(algorithm: SignatureAlgorithm, seed: &[u8; 32]) -> Result<Self, PrivateKeyError> {
        let mut rng = ChaCha20Rng::from_seed(*seed);
        match algorithm {
            SignatureAlgorithm::RsaSha1 | SignatureAlgorithm::RsaSha256 => {
                let key = rsa::PrivateKey::new(&mut rng, Self::RSA_BITS).map_err(|_| PrivateKeyError::Malformed)?;
                Self::of_rsa(key)?.with_algorithm(algorithm)
            }
            SignatureAlgorithm::EcdsaP256Sha256 => Self::of_p256(p256::ecdsa::SigningKey::generate_from_rng(&mut rng)),
            SignatureAlgorithm::EcdsaP384Sha384 => Self::of_p384(p384::ecdsa::SigningKey::generate_from_rng(&mut rng)),
            SignatureAlgorithm::Ed25519 => Self::of_ed25519(ed25519_dalek::SigningKey::from_bytes(seed)),
        }
    }

    /// Reads PKCS #8 in PEM (`BEGIN PRIVATE KEY`), as this crate and `openssl genpkey` write it. A key of RSA gets
    /// [`RsaSha256`](SignatureAlgorithm::RsaSha256): for which of both it is, is not written there.
    ///
    /// # Errors
    ///
    /// [`PrivateKeyError`], which says what the text is instead.
    pub fn from_pem(pem: &str) -> Result<Self, PrivateKeyError> {
        if pem.len() > Self::MAX_PEM_LEN {
            return Err(PrivateKeyError::NoPem);
        }
        let (_, begun) = pem.split_once("-----BEGIN ").ok_or(PrivateKeyError::NoPem)?;
        match begun.split_once("-----").ok_or(PrivateKeyError::NoPem)? {
            (PrivateKeyInfoRef::PEM_LABEL, _) => {
                let (_, der) = SecretDocument::from_pem(pem).map_err(|_| PrivateKeyError::Malformed)?;
                Self::from_der(der.as_bytes())
            }
            ("ENCRYPTED PRIVATE KEY", _) => Err(PrivateKeyError::Encrypted),
            // The second is what OpenSSL may write before the third.
            ("RSA PRIVATE KEY" | "EC PARAMETERS" | "EC PRIVATE KEY", _) => Err(PrivateKeyError::Traditional),
            (label, _) => Err(PrivateKeyError::NotPrivate(label.into())),
        }
    }

    /// Reads PKCS #8 in DER.
    ///
    /// # Errors
    ///
    /// [`PrivateKeyError`].
    pub fn from_der(der: &[u8]) -> Result<Self, PrivateKeyError> {
        let info = PrivateKeyInfoRef::from_der(der).map_err(|_| PrivateKeyError::Malformed)?;
        let malformed = |_| PrivateKeyError::Malformed;
        match (info.algorithm.oid, info.algorithm.parameters_oid().ok()) {
            (RSA, None) => {
                let parts = RsaPrivateKeyRef::try_from(info.private_key).map_err(|_| PrivateKeyError::Malformed)?;
                // First of all whether it is a key that others take: checking one of any size could take any time.
                let (exponent, modulus) = (parts.public_exponent.as_bytes(), parts.modulus.as_bytes());
                PublicKey::of_rsa(SignatureAlgorithm::RsaSha256, exponent, modulus)?;
                Self::of_rsa(info.try_into().map_err(malformed)?)
            }
            (EC, Some(p256::NistP256::OID)) => Self::of_p256(info.try_into().map_err(malformed)?),
            (EC, Some(p384::NistP384::OID)) => Self::of_p384(info.try_into().map_err(malformed)?),
            (ED25519, None) => Self::of_ed25519(info.try_into().map_err(malformed)?),
            (kind, curve) => Err(PrivateKeyError::Kind(curve.unwrap_or(kind).to_string())),
        }
    }

    /// The key as PKCS #8 in PEM, for a file that only its owner can read.
    ///
    /// # Errors
    ///
    /// [`PrivateKeyError::Malformed`], where a key is too large to be written; none that is made or read here is.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, PrivateKeyError> {
        let der = match &self.key {
            Key::Rsa(key) => key.key.to_pkcs8_der(),
            Key::P256(key) => key.to_pkcs8_der(),
            Key::P384(key) => key.to_pkcs8_der(),
            // Without the public key beside it, which makes a second version of PKCS #8 that OpenSSL 3 does not read.
            Key::Ed25519(key) => KeypairBytes { secret_key: key.to_bytes(), public_key: None }.to_pkcs8_der(),
        };
        der.ok()
            .and_then(|der| der.to_pem(PrivateKeyInfoRef::PEM_LABEL, LineEnding::LF).ok())
            .ok_or(PrivateKeyError::Malformed)
    }

    /// The same key for the other algorithm of RSA.
    ///
    /// # Errors
    ///
    /// [`PrivateKeyError::NotSigning`] for [`RsaSha1`](SignatureAlgorithm::RsaSha1), unless the feature `rsasha1-signing` is on;
    /// [`PrivateKeyError::Algorithm`] where the key is none of this algorithm.
    pub fn with_algorithm(mut self, algorithm: SignatureAlgorithm) -> Result<Self, PrivateKeyError> {
        if algorithm == SignatureAlgorithm::RsaSha1 && !cfg!(feature = "rsasha1-signing") {
            return Err(PrivateKeyError::NotSigning);
        }
        match &self.key {
            Key::Rsa(key) if matches!(algorithm, SignatureAlgorithm::RsaSha1 | SignatureAlgorithm::RsaSha256) => {
                self.public = PublicKey::of_rsa(algorithm, &key.key.e_bytes(), &key.key.n_bytes())?;
                Ok(self)
            }
            _ if algorithm == self.public.algorithm() => Ok(self),
            _ => Err(PrivateKeyError::Algorithm(algorithm)),
        }
    }

    fn of_rsa(key: rsa::PrivateKey) -> Result<Self, PrivateKeyError> {
        let public = PublicKey::of_rsa(SignatureAlgorithm::RsaSha256, &key.e_bytes(), &key.n_bytes())?;
        Ok(Self { public, key: Key::Rsa(RsaPrivateKey::new(key)) })
    }

    fn of_p256(key: p256::ecdsa::SigningKey) -> Result<Self, PrivateKeyError> {
        let point = key.verifying_key().to_sec1_point(false);
        let public = PublicKey::of_point(SignatureAlgorithm::EcdsaP256Sha256, point.as_bytes())?;
        Ok(Self { public, key: Key::P256(key) })
    }

    fn of_p384(key: p384::ecdsa::SigningKey) -> Result<Self, PrivateKeyError> {
        let point = key.verifying_key().to_sec1_point(false);
        let public = PublicKey::of_point(SignatureAlgorithm::EcdsaP384Sha384, point.as_bytes())?;
        Ok(Self { public, key: Key::P384(key) })
    }

    fn of_ed25519(key: ed25519_dalek::SigningKey) -> Result<Self, PrivateKeyError> {
        let public = PublicKey::of_ed25519(&key.verifying_key())?;
        Ok(Self { public, key: Key::Ed25519(key) })
    }
}

impl Signer for PrivateKey {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&mut self, message: &[&[u8]]) -> Result<Vec<u8>, SignError> {
        let signature = match &self.key {
            Key::Rsa(key) if self.public.algorithm() == SignatureAlgorithm::RsaSha1 => {
                return key.sign_sha1(message).map_err(failed);
            }
            Key::Rsa(key) => return key.sign_sha256(message).map_err(failed),
            Key::P256(key) => {
                key.try_multipart_sign(message).map(|signature: p256::ecdsa::Signature| signature.to_vec())
            }
            Key::P384(key) => {
                key.try_multipart_sign(message).map(|signature: p384::ecdsa::Signature| signature.to_vec())
            }
            Key::Ed25519(key) => {
                key.try_multipart_sign(message).map(|signature: ed25519_dalek::Signature| signature.to_vec())
            }
        };
        signature.map_err(failed)
    }
}

/// Nothing of the private part.
impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PrivateKey({:?}, …)", self.public)
    }
}

/// Why a text is not taken for a private key, or a key not for an algorithm.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PrivateKeyError {
    /// Not PEM, or too long for a key.
    #[error("this is no private key in PEM")]
    NoPem,
    /// PEM of something else: its label.
    #[error("this is a {0}; a PRIVATE KEY is needed")]
    NotPrivate(String),
    /// Protected by a passphrase.
    #[error("the private key is encrypted; 'openssl pkcs8 -in FILE' writes it without its passphrase")]
    Encrypted,
    /// In the older form of OpenSSL.
    #[error("the private key is not in PKCS #8; 'openssl pkcs8 -topk8 -nocrypt -in FILE' writes it so")]
    Traditional,
    /// Of another type or curve: its object identifier.
    #[error("this is a key of another kind ({0}); live streams are signed with RSA, P-256, P-384 or Ed25519")]
    Kind(String),
    /// Not PKCS #8, or its parts do not belong together.
    #[error("the private key is damaged")]
    Malformed,
    /// The public part of it is none that is accepted.
    #[error(transparent)]
    Public(#[from] KeyError),
    /// Not a key of this algorithm.
    #[error("the key cannot sign with {0}")]
    Algorithm(SignatureAlgorithm),
    /// RSASHA1, which only is verified here.
    #[error("signing with RSASHA1 is for old receivers alone: it needs the feature rsasha1-signing")]
    NotSigning,
}

fn failed(error: impl core::error::Error + Send + Sync + 'static) -> SignError {
    SignError(Box::new(error))
}

const RSA: ObjectIdentifier = rsa::pkcs1::ALGORITHM_OID;
const EC: ObjectIdentifier = p256::elliptic_curve::ALGORITHM_OID;
const ED25519: ObjectIdentifier = ed25519_dalek::pkcs8::ALGORITHM_OID;
