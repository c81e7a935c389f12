use std::{fs, path::Path, sync::Mutex};

use http::HeaderValue;
use ppsp_auth::{
    Secret,
    digest::{Accounts, DigestError, DigestLimits, DigestServer},
};
use ppsp_tracker_proto::Principal;
use sha2::{Digest as _, Sha256};

use super::{REALM, named_by};
use crate::{cli::exit::Failure, net::Clock, tracker::lock};

/// The door for names and passwords (RFC 7616).
///
/// The client identifier of an account is known to its owner: see [`Digest::principal`].
#[derive(Debug)]
pub struct Digest {
    server: Mutex<DigestServer>,
    clock: Clock,
}

impl Digest {
    /// With the accounts of this file: lines `name:ppsp-tracker:HASH`, where HASH is the SHA-256 of `name:ppsp-tracker:password`.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or has other lines.
    pub fn open(file: &Path, clock: Clock) -> Result<Self, Failure> {
        let failed = |e: &dyn std::fmt::Display| Failure::usage(format!("{}: {e}", file.display()));
        let text = zeroize::Zeroizing::new(fs::read_to_string(file).map_err(|e| failed(&e))?);
        let accounts = Accounts::parse(REALM, &text).map_err(|e| failed(&e))?;
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| Failure::other(format!("the system gives no random numbers: {e}")))?;
        let server = DigestServer::new(&Secret::new(key), accounts, DigestLimits::default());
        Ok(Self { server: Mutex::new(server), clock })
    }

    /// The principal of the account of this name: the start of the SHA-256 of `ppsp digest client`, a zero byte and the name.
    pub fn principal(name: &str) -> Principal {
        let hash = Sha256::new().chain_update(b"ppsp digest client\0").chain_update(name).finalize();
        named_by(&hash.into())
    }

    pub(super) fn admit(&self, header: &str, method: &str, target: &str) -> Result<Principal, DigestError> {
        lock(&self.server).verify(self.clock.now(), header, method, target).map(Self::principal)
    }

    /// `None` where the system gives no chance for a nonce.
    pub(super) fn challenge(&self, stale: bool) -> Option<HeaderValue> {
        let mut salt = [0; 8];
        getrandom::fill(&mut salt).ok()?;
        HeaderValue::try_from(lock(&self.server).challenge(self.clock.now(), &salt, stale)).ok()
    }
}
