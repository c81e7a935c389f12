//! Access tokens and the keys that sign them: EdDSA JSON Web Tokens (RFC 7519, RFC 8037) of the access token profile
//! (RFC 9068), keys as JSON Web Keys (RFC 7517) named by their thumbprints (RFC 7638), and refresh tokens.
//!
//! Checked here is what can be checked without asking anybody. Whether a token was revoked only its issuer knows: see
//! [`introspection`](crate::introspection) and [`gatekeeper`](crate::gatekeeper).
//!
//! ```
//! use ppsp_auth::{grant::Grants, token::{Claims, Expectation, KeyRing, Role, SigningKey, TRACKERS}};
//!
//! let now = 1_800_000_000;
//! let ring = KeyRing::new(SigningKey::from_seed(&[1; 32]), now); // from the system's generator, in earnest
//! let claims = Claims {
//!     issuer: "https://portal.example".into(),
//!     client: ppsp_core::Identifier::from_bytes([7; 12]),
//!     audience: vec![TRACKERS.into()],
//!     issued: now,
//!     not_before: now,
//!     expires: now + 600,
//!     id: 1,
//!     session: 2,
//!     role: Role::Viewer,
//!     grants: Grants::default(),
//! };
//! let text = claims.sign(ring.signer(now))?;
//!
//! // A tracker, with the keys that the Portal publishes:
//! let expected = Expectation::new("https://portal.example", TRACKERS);
//! let token = expected.check(&ring.published(now), text.as_str(), now + 1)?;
//! assert_eq!(token.claims().session, 2);
//! # Ok::<(), ppsp_auth::token::TokenError>(())
//! ```

pub(crate) mod access;
mod jwks;
pub(crate) mod jws;
mod key;
mod key_ring;
mod refresh;
mod text;

pub use access::{
    AccessToken, Claims, DEFAULT_LEEWAY, Expectation, MAX_LIFETIME, Role, TRACKERS, TokenError, UnknownRole,
};
pub use jwks::KeySet;
pub use jws::MAX_TOKEN;
pub use key::{BadSignature, KeyError, KeyId, MAX_JWK, SigningKey, VerifyingKey};
pub use key_ring::{KeyRing, KeyRingError};
pub use refresh::{REFRESH_GRACE, RefreshState, RefreshToken, Refreshed, Reused};
pub use text::TokenText;
