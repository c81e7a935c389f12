//! The Portal: it registers and signs in users, says who may watch what, keeps the catalogue, and answers trackers that ask
//! about clients.
//!
//! Here is what the Portal does, a file for each matter, the same whether it is asked by a program (`api`) or by a person.
//! What is true of passwords, tokens and policies is decided by `ppsp-auth`; what must not be lost is in [`db`]. Nothing that
//! matters is kept in memory alone, so that several processes with one PostgreSQL are one Portal. What each has for itself:
//! how fast strangers may try (with n processes they have n times the allowance), and which assertions of trackers it has
//! seen (each is good once at each process, for a minute).

mod access;
pub mod accounts;
mod api;
pub mod catalogue;
pub mod cookie;
pub mod db;
mod descriptor;
mod error;
mod first_start;
pub mod groups;
pub mod housekeeping;
mod id;
mod keys;
mod metrics;
pub mod names;
mod pages;
pub mod rules;
mod service;
pub mod sessions;
mod sign_in;
mod tokens;
pub mod trackers;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use ppsp_auth::{
    Secret,
    assertion::ReplayTable,
    identity::ClientIdentifierKey,
    scram::{self, Verifier},
    throttle::{LoginLimits, LoginThrottle, RateLimit, RateLimiter},
    token::{KeySet, SigningKey},
};

pub use error::Refusal;
pub use first_start::{FirstStart, reset_admin};
pub use service::{Answer, metrics, service};
pub use sessions::Caller;
pub use sign_in::{SignIn, SignedIn};

use crate::net::Clock;
use db::{Db, settings::Setting};

/// What an operator chooses.
#[derive(Clone, Debug)]
pub struct PortalConfig {
    /// The URL by which clients know the Portal; it stands in tokens as their issuer. Without it the last one that was set, and
    /// where none ever was, `address`.
    pub public_url: Option<String>,
    /// The URL that follows from where it listens.
    pub address: String,
    /// Whether strangers may make accounts for themselves.
    pub open_registration: bool,
    /// How often passwords of accounts are hashed.
    pub iterations: u32,
    /// How fast passwords may be tried.
    pub logins: LoginLimits,
    /// How fast strangers may make accounts, and trackers may enrol.
    pub registrations: RateLimit,
}

impl PortalConfig {
    /// With the usual choices.
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            public_url: None,
            address: address.into(),
            open_registration: false,
            iterations: Verifier::DEFAULT_ITERATIONS,
            logins: LoginLimits::default(),
            registrations: RateLimit::default(),
        }
    }
}

/// A Portal. A clone is the same one.
#[derive(Clone)]
pub struct Portal(Arc<Inner>);

struct Inner {
    db: Db,
    issuer: String,
    open_registration: bool,
    iterations: u32,
    clock: Clock,
    scram: scram::Server,
    clients: ClientIdentifierKey,
    /// Signs descriptors. It does not change, so that descriptors can be checked as long as there is the Portal.
    signer: SigningKey,
    forms: Secret,
    enrolment: Secret,
    ring: keys::Ring,
    throttle: Mutex<LoginThrottle>,
    registrations: Mutex<RateLimiter>,
    enrolments: Mutex<RateLimiter>,
    replays: Mutex<ReplayTable>,
    metrics: metrics::Metrics,
}

impl Portal {
    /// Opens the Portal that is in this database. Where it is empty, a new one is made, and what its operator has to know is
    /// returned once.
    ///
    /// # Errors
    ///
    /// [`Refusal::Away`] and [`Refusal::Fault`].
    pub async fn open(db: Db, config: PortalConfig) -> Result<(Self, Option<FirstStart>), Refusal> {
        let now = unix_now();
        let first = first_start::run(&db, &config, now).await?;
        let public_url = config.public_url.clone();
        let kept = db.write(move |tx| {
            if let Some(url) = &public_url {
                db::settings::put(tx, Setting::PublicUrl, url.as_bytes())?;
            }
            let key = db::settings::find(tx, Setting::Key)?;
            Ok::<_, Refusal>((key, db::settings::find(tx, Setting::PublicUrl)?))
        });
        let (key, public_url) = kept.await?;
        let key = zeroize::Zeroizing::new(key.unwrap_or_default());
        let key = key.as_slice().try_into().map(Secret::new);
        let key = key.map_err(|_| Refusal::Fault("the Portal's key is not there".into()))?;
        let issuer = public_url.and_then(|url| String::from_utf8(url).ok()).unwrap_or(config.address);
        let portal = Self(Arc::new(Inner {
            ring: keys::Ring::load(&db, now).await?,
            db,
            issuer,
            open_registration: config.open_registration,
            iterations: config.iterations,
            clock: Clock::new(),
            scram: scram::Server::new(&key.derive("scram"), config.iterations),
            clients: ClientIdentifierKey::new(key.derive("client identifiers")),
            signer: SigningKey::from_seed(key.derive("descriptors").as_bytes()),
            forms: key.derive("forms"),
            enrolment: key.derive("enrolment"),
            throttle: Mutex::new(LoginThrottle::new(config.logins)),
            registrations: Mutex::new(RateLimiter::new(config.registrations)),
            enrolments: Mutex::new(RateLimiter::new(config.registrations)),
            replays: Mutex::default(),
            metrics: metrics::Metrics::default(),
        }));
        Ok((portal, first))
    }

    /// The URL by which clients know the Portal.
    pub fn issuer(&self) -> &str {
        &self.0.issuer
    }

    /// Whether strangers may make accounts for themselves.
    pub fn open_registration(&self) -> bool {
        self.0.open_registration
    }

    /// How often a new password has to be hashed.
    pub fn iterations(&self) -> u32 {
        self.0.iterations
    }

    /// The keys with which tokens of now and descriptors may be signed.
    pub fn keys(&self) -> KeySet {
        let published = self.0.ring.published(unix_now());
        published.keys().iter().cloned().chain([self.0.signer.verifying_key()]).collect()
    }

    fn db(&self) -> &Db {
        &self.0.db
    }

    /// Time for what is measured.
    fn now(&self) -> ppsp_core::Instant {
        self.0.clock.now()
    }
}

/// Time for what is agreed on with others.
fn unix_now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// A lock on tables in which no invariant spans a panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
