//! The user's side of a Portal: signing in, the login that is kept, and what can be asked with it.
//!
//! Three parts: [`Logins`] keeps what a login gave, [`sign_in`] gets it, and an [`Account`] is a login at work. No password is
//! kept anywhere, and none is sent: the Portal gets proofs (RFC 7804).

mod error;
mod logins;
mod portal;
mod sign_in;

pub use error::AccountError;
pub use logins::{Login, Logins};
pub(crate) use portal::path_part;
pub use portal::{Account, open_http, settle};
pub use sign_in::{SignedIn, sign_in};
