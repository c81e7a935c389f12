//! Ed25519 keys as JSON Web Keys (RFC 7517, RFC 8037 §2), named by their thumbprints (RFC 7638).

use alloc::{borrow::Cow, format, string::String};
use core::{fmt, str::FromStr};

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use ed25519_dalek::{Signature, Signer, Verifier};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use crate::json;

/// The name of a key: the SHA-256 thumbprint of its public part (RFC 7638), as text in hexadecimal: people type it, and what
/// begins with a hyphen would be a flag to their programs.
///
/// A key cannot be taken for another one, whoever wrote the list it stands in.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId([u8; 32]);

impl KeyId {
    /// The thumbprint.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl FromStr for KeyId {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let mut id = [0; 32];
        (text.len() == 64).then_some(()).ok_or(KeyError::Malformed)?;
        HEXLOWER.decode_mut(text.as_bytes(), &mut id).map(|_| Self(id)).map_err(|_| KeyError::Malformed)
    }
}

/// Why a text is not taken for a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No JSON Web Key, or too long for one.
    #[error("this is no JSON Web Key")]
    Malformed,
    /// A key of another type, curve, algorithm or use.
    #[error("only Ed25519 keys for signatures are used here")]
    Unsupported,
    /// Not a point of the curve, or one of the few for which anybody can make signatures.
    #[error("the public key is not sound")]
    Weak,
    /// The public part does not belong to the private one, or the name not to the key.
    #[error("the parts of the key do not belong together")]
    Mismatch,
}

/// A signature that does not belong to message and key.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the signature is not one of this key over this message")]
pub struct BadSignature;

/// The public part of a key.
#[derive(Clone, Eq, PartialEq)]
pub struct VerifyingKey {
    key: ed25519_dalek::VerifyingKey,
    id: KeyId,
}

impl VerifyingKey {
    /// From the 32 octets of RFC 8032 §5.1.5.
    ///
    /// # Errors
    /// [`KeyError::Weak`] where they are no point of the curve or one of small order.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::Weak)?;
        if key.is_weak() {
            return Err(KeyError::Weak);
        }
        Ok(Self { id: thumbprint(&key), key })
    }

    /// Reads a JSON Web Key of at most [`MAX_JWK`] bytes. Members that say nothing about the key's use are ignored.
    ///
    /// # Errors
    /// See [`KeyError`]. A key with its private part is [`KeyError::Malformed`]: it has no business in public.
    pub fn from_jwk(text: &str) -> Result<Self, KeyError> {
        if text.len() > MAX_JWK {
            return Err(KeyError::Malformed);
        }
        json::read::<Jwk<'_>>(text.as_bytes()).ok_or(KeyError::Malformed)?.public()
    }

    /// The key as a JSON Web Key with its name, to be published.
    pub fn to_jwk(&self) -> String {
        let x = BASE64URL_NOPAD.encode(self.key.as_bytes());
        format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","use":"sig","alg":"EdDSA","kid":"{}"}}"#, self.id)
    }

    /// The 32 octets of RFC 8032 §5.1.5.
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.key.as_bytes()
    }

    /// The key's name.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether this key signed the message (RFC 8037 §3.1.2).
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> Result<(), BadSignature> {
        // Keys of small order, under which a signature means nothing, are refused when they are read: the stricter check
        // would only cost a tenth more.
        self.key.verify(message, &Signature::from_bytes(signature)).map_err(|_| BadSignature)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.id)
    }
}

/// A key that signs. The private part is wiped when dropped and shown by nothing but [`SigningKey::to_jwk`].
#[derive(Clone)]
pub struct SigningKey {
    key: ed25519_dalek::SigningKey,
    id: KeyId,
}

impl SigningKey {
    /// From 32 random octets: the private key of RFC 8032 §5.1.5.
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        Self { id: thumbprint(&key.verifying_key()), key }
    }

    /// Reads what [`SigningKey::to_jwk`] wrote, or another private JSON Web Key.
    ///
    /// # Errors
    /// See [`KeyError`].
    pub fn from_jwk(text: &str) -> Result<Self, KeyError> {
        if text.len() > MAX_JWK {
            return Err(KeyError::Malformed);
        }
        let jwk: Jwk<'_> = json::read(text.as_bytes()).ok_or(KeyError::Malformed)?;
        let mut seed = Zeroizing::new([0; 32]);
        jwk.d.and_then(|d| octets(d, &mut seed)).ok_or(KeyError::Malformed)?;
        let key = Self::from_seed(&seed);
        if (Jwk { d: None, ..jwk }).public()? != key.verifying_key() {
            return Err(KeyError::Mismatch);
        }
        Ok(key)
    }

    /// The whole key as a JSON Web Key, for a file that only its owner can read.
    pub fn to_jwk(&self) -> Zeroizing<String> {
        let d = Zeroizing::new(BASE64URL_NOPAD.encode(self.key.as_bytes()));
        let x = BASE64URL_NOPAD.encode(self.key.verifying_key().as_bytes());
        // As long as it gets: no piece of it stays behind where a longer string grew.
        let mut text = Zeroizing::new(String::with_capacity(MAX_JWK));
        for piece in [r#"{"kty":"OKP","crv":"Ed25519","x":""#, &x, r#"","d":""#, &d, r#""}"#] {
            text.push_str(piece);
        }
        text
    }

    /// The key's name, which is that of its public part.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The public part.
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey { key: self.key.verifying_key(), id: self.id }
    }

    /// Signs (RFC 8037 §3.1.1); the same message has always the same signature.
    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.key.sign(message).to_bytes()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({}, …)", self.id)
    }
}

/// The members of a JSON Web Key that matter here.
#[derive(Deserialize)]
pub(super) struct Jwk<'a> {
    #[serde(borrow)]
    kty: Cow<'a, str>,
    crv: Option<Cow<'a, str>>,
    x: Option<Cow<'a, str>>,
    /// Where it stands in the text: a copy would have to be wiped.
    d: Option<&'a str>,
    alg: Option<Cow<'a, str>>,
    #[serde(rename = "use")]
    used_for: Option<Cow<'a, str>>,
    kid: Option<Cow<'a, str>>,
}

impl Jwk<'_> {
    pub(super) fn public(&self) -> Result<VerifyingKey, KeyError> {
        let is = |member: &Option<Cow<'_, str>>, values: &[&str]| {
            member.as_deref().is_none_or(|value| values.contains(&value))
        };
        // "Ed25519" is the name that RFC 9864 gives to the same algorithm.
        let supported = self.kty == "OKP"
            && self.crv.as_deref() == Some("Ed25519")
            && is(&self.alg, &["EdDSA", "Ed25519"])
            && is(&self.used_for, &["sig"]);
        if !supported {
            return Err(KeyError::Unsupported);
        }
        // RFC 8037 §2: "d" MUST NOT be present for public keys.
        if self.d.is_some() {
            return Err(KeyError::Malformed);
        }
        let mut x = [0; 32];
        self.x.as_deref().and_then(|text| octets(text, &mut x)).ok_or(KeyError::Malformed)?;
        let key = VerifyingKey::from_bytes(&x)?;
        match &self.kid {
            Some(kid) if KeyId::from_str(kid) != Ok(key.id) => Err(KeyError::Mismatch),
            _ => Ok(key),
        }
    }
}

/// RFC 7638 §3, RFC 8037 §2: the hash over the members "crv", "kty" and "x" in this order.
fn thumbprint(key: &ed25519_dalek::VerifyingKey) -> KeyId {
    let x = BASE64URL_NOPAD.encode(key.as_bytes());
    KeyId(Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)).into())
}

/// Exactly 32 octets in base64url without padding.
fn octets(text: &str, into: &mut [u8; 32]) -> Option<()> {
    // 43 characters are 258 bits; the decoder refuses the last two where they are not zero.
    (text.len() == 43).then_some(())?;
    BASE64URL_NOPAD.decode_mut(text.as_bytes(), into).ok().map(drop)
}

/// The longest JSON Web Key that is read, in bytes.
pub const MAX_JWK: usize = 2048;

#[cfg(test)]
pub(crate) mod tests {
    use alloc::string::ToString;

    use super::*;

    // RFC 8037 appendix A.1 and A.2.
    pub(crate) const PRIVATE: &str = r#"{"kty":"OKP","crv":"Ed25519",
        "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    pub(crate) const PUBLIC: &str =
        r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    #[test]
    fn keys_of_rfc_8037() {
        let (private, public) = (SigningKey::from_jwk(PRIVATE).unwrap(), VerifyingKey::from_jwk(PUBLIC).unwrap());
        assert_eq!(private.verifying_key(), public);
        assert_eq!(public.as_bytes()[..4], [0xd7, 0x5a, 0x98, 0x01]);
        // RFC 8037 appendix A.3.
        assert_eq!(BASE64URL_NOPAD.encode(public.id().as_bytes()), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        assert_eq!(public.id().to_string().parse(), Ok(public.id()));
        assert_eq!(public.id().as_bytes()[..4], [0x90, 0xfa, 0xca, 0xfe]);
    }

    #[test]
    fn what_is_written_is_read() {
        let key = SigningKey::from_seed(&[7; 32]);
        let again = SigningKey::from_jwk(&key.to_jwk()).unwrap();
        assert_eq!(again.sign(b"x"), key.sign(b"x"));
        assert_eq!(VerifyingKey::from_jwk(&key.verifying_key().to_jwk()), Ok(key.verifying_key()));
        assert!(key.to_jwk().len() < MAX_JWK);
    }

    #[test]
    fn what_is_no_key_of_ours() {
        let change = |from: &str, to: &str| VerifyingKey::from_jwk(&PUBLIC.replace(from, to)).unwrap_err();
        assert_eq!(change("OKP", "EC"), KeyError::Unsupported);
        assert_eq!(change("Ed25519", "X25519"), KeyError::Unsupported);
        assert_eq!(change("\"OKP\"", "\"OKP\",\"use\":\"enc\""), KeyError::Unsupported);
        assert_eq!(change("\"OKP\"", "\"OKP\",\"alg\":\"ES256\""), KeyError::Unsupported);
        assert_eq!(change("\"OKP\"", "\"OKP\",\"kid\":\"1\""), KeyError::Mismatch);
        assert_eq!(change("\"OKP\"", "\"OKP\",\"kty\":\"OKP\""), KeyError::Malformed);
        assert_eq!(change("URo", "UR"), KeyError::Malformed);
        assert_eq!(change("URo", "URp"), KeyError::Malformed); // bits behind the last octet
        assert_eq!(change("URo", "URo="), KeyError::Malformed);
        // The neutral element: under it anybody can sign anything.
        assert_eq!(
            change("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", &format!("AQ{}", "A".repeat(41))),
            KeyError::Weak
        );
        assert_eq!(VerifyingKey::from_jwk(PRIVATE), Err(KeyError::Malformed));
        assert_eq!(VerifyingKey::from_jwk(&format!("{PUBLIC}{}", " ".repeat(MAX_JWK))), Err(KeyError::Malformed));
        let other = PRIVATE.replace("nWGx", "nWGy");
        assert_eq!(SigningKey::from_jwk(&other).unwrap_err(), KeyError::Mismatch);
        assert_eq!(SigningKey::from_jwk(PUBLIC).unwrap_err(), KeyError::Malformed);
    }

    #[test]
    fn nothing_private_is_shown() {
        let key = SigningKey::from_jwk(PRIVATE).unwrap();
        assert_eq!(
            format!("{key:?}"),
            "SigningKey(90facafea9b1556698540f70c0117a22ea37bd5cf3ed3c47093c1707282b4b89, …)"
        );
    }
}
