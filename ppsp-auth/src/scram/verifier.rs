//! What a Portal keeps of a password, and how it is computed (RFC 5802 §3).

use alloc::{format, string::String};
use core::ops::RangeInclusive;

use data_encoding::BASE64;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::ScramError;
use crate::{Password, Secret};

/// What a server stores for an account, and all it ever learns of the password.
///
/// Who steals it can test guesses of the password, and can play the server, but cannot sign in. The client computes it;
/// as JSON it is `{"salt", "iterations", "stored_key", "server_key"}` with base64, as text the form that databases
/// keep.
#[derive(Clone, Debug, Eq, PartialEq, Deserialize, Serialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct Verifier {
    pub(super) salt: [u8; 16],
    pub(super) iterations: u32,
    pub(super) stored_key: Secret,
    pub(super) server_key: Secret,
}

impl Verifier {
    /// Iterations of a new account.
    pub const DEFAULT_ITERATIONS: u32 = 600_000;
    /// Iterations that are accepted. RFC 7677 §4 wants no fewer; a client that is asked for more does not follow.
    pub const ITERATIONS: RangeInclusive<u32> = 4096..=10_000_000;

    /// Stretches a new password. `salt` is chance. Takes some tenths of a second of one core with
    /// [`DEFAULT_ITERATIONS`](Self::DEFAULT_ITERATIONS).
    ///
    /// # Errors
    ///
    /// [`ScramError::Iterations`] outside of [`ITERATIONS`](Self::ITERATIONS).
    pub fn new(password: &Password, salt: [u8; 16], iterations: u32) -> Result<Self, ScramError> {
        let keys = Keys::stretch(password, &salt, iterations)?;
        Ok(Self { salt, iterations, stored_key: stored_key(&keys.client_key), server_key: keys.server_key })
    }

    /// Reads what [`to_text`](Self::to_text) writes.
    pub fn from_text(text: &str) -> Result<Self, ScramError> {
        let parse = || {
            let (iterations, rest) = text.strip_prefix("SCRAM-SHA-256$")?.split_once(':')?;
            let (salt, keys) = rest.split_once('$')?;
            let (stored, server) = keys.split_once(':')?;
            Some(Self {
                salt: base64(salt)?,
                iterations: number(iterations)?,
                stored_key: Secret::new(base64(stored)?),
                server_key: Secret::new(base64(server)?),
            })
        };
        let verifier = parse().ok_or(ScramError::Malformed)?;
        in_bounds(verifier.iterations)?;
        Ok(verifier)
    }

    /// One line of text: `SCRAM-SHA-256$<iterations>:<salt>$<stored key>:<server key>`, as RFC 5803 §2 has it.
    pub fn to_text(&self) -> Zeroizing<String> {
        let [stored, server] =
            [&self.stored_key, &self.server_key].map(|key| Zeroizing::new(BASE64.encode(key.as_bytes())));
        let salt = BASE64.encode(&self.salt);
        Zeroizing::new(format!("SCRAM-SHA-256${}:{salt}${}:{}", self.iterations, *stored, *server))
    }

    /// How often the password was hashed. A Portal where all accounts have the same number does not show by it which
    /// accounts exist; have it refuse others at registration.
    pub const fn iterations(&self) -> u32 {
        self.iterations
    }

    /// Checks a client's proof over an AuthMessage; where it is right, the server's own (RFC 5802 §3).
    pub(super) fn check(&self, auth_message: &str, proof: &[u8; 32]) -> Option<[u8; 32]> {
        let mut client_key = self.stored_key.tag(&[auth_message.as_bytes()]);
        client_key.iter_mut().zip(proof).for_each(|(byte, proof)| *byte ^= proof);
        let right = stored_key(&Secret::new(client_key)) == self.stored_key;
        client_key.zeroize();
        right.then(|| self.server_key.tag(&[auth_message.as_bytes()]))
    }
}

/// What follows from a password that was stretched.
pub(super) struct Keys {
    pub(super) client_key: Secret,
    pub(super) server_key: Secret,
}

impl Keys {
    pub(super) fn stretch(password: &Password, salt: &[u8], iterations: u32) -> Result<Self, ScramError> {
        in_bounds(iterations)?;
        let mut salted = Zeroizing::new([0; 32]);
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, salted.as_mut());
        let salted = Secret::new(*salted);
        Ok(Self {
            client_key: Secret::new(salted.tag(&[b"Client Key"])),
            server_key: Secret::new(salted.tag(&[b"Server Key"])),
        })
    }
}

/// RFC 5802 §3: StoredKey := H(ClientKey).
pub(super) fn stored_key(client_key: &Secret) -> Secret {
    Secret::new(Sha256::digest(client_key.as_bytes()).into())
}

pub(super) fn in_bounds(iterations: u32) -> Result<(), ScramError> {
    if Verifier::ITERATIONS.contains(&iterations) { Ok(()) } else { Err(ScramError::Iterations(iterations)) }
}

/// So many bytes of base64, in its canonical form.
pub(super) fn base64<const N: usize>(text: &str) -> Option<[u8; N]> {
    let bytes = Zeroizing::new(BASE64.decode(text.as_bytes()).ok()?);
    bytes.as_slice().try_into().ok()
}

/// RFC 5802 §7, posit-number: digits, the first not zero.
pub(super) fn number(text: &str) -> Option<u32> {
    let first = text.bytes().next()?;
    if matches!(first, b'1'..=b'9') { text.parse().ok() } else { None }
}

/// The JSON form, before it is checked.
#[derive(Deserialize, Serialize)]
struct Raw {
    salt: String,
    iterations: u32,
    stored_key: String,
    server_key: String,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.stored_key.zeroize();
        self.server_key.zeroize();
    }
}

impl From<Verifier> for Raw {
    fn from(verifier: Verifier) -> Self {
        Self {
            salt: BASE64.encode(&verifier.salt),
            iterations: verifier.iterations,
            stored_key: BASE64.encode(verifier.stored_key.as_bytes()),
            server_key: BASE64.encode(verifier.server_key.as_bytes()),
        }
    }
}

impl TryFrom<Raw> for Verifier {
    type Error = ScramError;

    fn try_from(raw: Raw) -> Result<Self, ScramError> {
        in_bounds(raw.iterations)?;
        Ok(Self {
            salt: base64(&raw.salt).ok_or(ScramError::Malformed)?,
            iterations: raw.iterations,
            stored_key: Secret::new(base64(&raw.stored_key).ok_or(ScramError::Malformed)?),
            server_key: Secret::new(base64(&raw.server_key).ok_or(ScramError::Malformed)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pencil() -> Verifier {
        let salt = base64("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        Verifier::new(&Password::new("pencil").unwrap(), salt, 4096).unwrap()
    }

    /// What PostgreSQL computes for the password and salt of RFC 7677 §3.
    const TEXT: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
        WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

    #[test]
    fn known_answer() {
        assert_eq!(pencil().to_text().as_str(), TEXT);
        assert_eq!(Verifier::from_text(TEXT), Ok(pencil()));
    }

    #[test]
    fn as_json() {
        let json = serde_json::to_string(&pencil()).unwrap();
        assert!(
            json.starts_with(r#"{"salt":"W22ZaJ0SNY7soEsUEjb6gQ==","iterations":4096,"stored_key":"WG5d"#),
            "{json}"
        );
        assert_eq!(serde_json::from_str::<Verifier>(&json).unwrap(), pencil());
        for (from, to) in [("4096", "4095"), ("gQ==", "gR=="), ("W22Z", ""), ("WG5d", "WG5d8oPm"), ("pencil", "")] {
            let bad = json.replace(from, to);
            assert_eq!(serde_json::from_str::<Verifier>(&bad).is_ok(), bad == json, "{bad}");
        }
    }

    #[test]
    fn refuses() {
        for count in [0, 1, 4095, 10_000_001, u32::MAX] {
            let password = Password::new("pencil").unwrap();
            assert_eq!(Verifier::new(&password, [0; 16], count), Err(ScramError::Iterations(count)));
        }
        for end in 0..TEXT.len() {
            assert!(Verifier::from_text(&TEXT[..end]).is_err(), "{end}");
        }
        assert_eq!(Verifier::from_text(&TEXT.replace("4096", "04096")), Err(ScramError::Malformed));
        assert_eq!(Verifier::from_text(&TEXT.replace("4096", "+4096")), Err(ScramError::Malformed));
        assert_eq!(Verifier::from_text(&TEXT.replace("4096", "4095")), Err(ScramError::Iterations(4095)));
        assert!(!format!("{:?}", pencil()).contains("WG5d"));
    }
}
