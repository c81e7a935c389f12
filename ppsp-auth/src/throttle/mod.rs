//! How fast strangers may try: sign-ins ([`LoginThrottle`]) and registrations ([`RateLimiter`]).
//!
//! Owns who has to wait and how long. Counts live in this process: with several processes each has its own, and a
//! stranger has as many times the allowance as there are processes.

mod lru;
mod prefix;
mod rate;

use core::{net::IpAddr, time::Duration};

use lru::Lru;
use ppsp_core::Instant;
use prefix::Prefix;
pub use rate::{Rate, RateLimit, RateLimiter};

use crate::UserName;

/// May this go on?
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Yes.
    Allowed,
    /// Not before this time has passed (HTTP status 429 and `Retry-After`).
    Wait(Duration),
}

/// What failed sign-ins cost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LoginLimits {
    /// Failures that cost nothing: people mistype.
    pub free: u32,
    /// What the first failure after those costs; each further one costs twice as much.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// One failure is forgiven each time this passes without another.
    pub forgive: Duration,
    /// The most entries in each of the three tables. In a full one the entry that was not used for longest makes room
    /// and is forgotten: that gives its owner the free failures again, at the price of as many attempts as there are
    /// entries.
    pub entries: usize,
    /// The most addresses that are kept as an account's own; the one that was not used for longest makes room.
    pub own_addresses: usize,
}

impl Default for LoginLimits {
    fn default() -> Self {
        Self {
            free: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(15 * 60),
            forgive: Duration::from_secs(15 * 60),
            entries: 65_536,
            own_addresses: 16,
        }
    }
}

/// Slows down who guesses passwords, without locking anybody out.
///
/// Three counts of failures: of an address, whatever the account; of an account, from addresses where nobody ever
/// signed in to it; and of an account at an address where somebody did. Who tries from an address of the account's own
/// meets the last count alone, so that no number of failures elsewhere, even at other accounts from the same address,
/// keeps the owner out there; at a new address owners wait with the strangers while their account is under attack. An
/// address is an IPv4 address or the first 64 bits of an IPv6 address, which is what one customer has.
///
/// A success takes back its own attempt and no more: with one account of their own nobody cleans an address for guesses
/// at others.
///
/// ```
/// use core::time::Duration;
/// use ppsp_auth::throttle::{LoginLimits, LoginThrottle, Verdict};
/// use ppsp_core::Instant;
///
/// let mut throttle = LoginThrottle::new(LoginLimits { free: 0, ..LoginLimits::default() });
/// let (alice, stranger) = ("alice".parse()?, "192.0.2.7".parse()?);
/// let now = Instant::from_micros(0);
/// assert_eq!(throttle.attempt(now, &alice, stranger), Verdict::Allowed);
/// assert_eq!(throttle.attempt(now, &alice, stranger), Verdict::Wait(Duration::from_secs(1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct LoginThrottle {
    limits: LoginLimits,
    addresses: Lru<Prefix, Failures>,
    accounts: Lru<UserName, Failures>,
    own: Lru<(UserName, Prefix), Failures>,
}

impl LoginThrottle {
    /// Without any failure.
    pub const fn new(limits: LoginLimits) -> Self {
        let LoginLimits { entries, .. } = limits;
        Self { limits, addresses: Lru::new(entries), accounts: Lru::new(entries), own: Lru::new(entries) }
    }

    /// Somebody is about to try a password. Where that is allowed it counts as a failure from now on, until
    /// [`succeeded`](Self::succeeded) takes it back: many attempts at the same time are as many failures. Where it is
    /// not, nothing counts.
    pub fn attempt(&mut self, now: Instant, account: &UserName, address: IpAddr) -> Verdict {
        let prefix = Prefix::of(address);
        let key = (account.clone(), prefix);
        let (limits, mut wait) = (self.limits, Duration::ZERO);
        if let Some(failures) = self.own.get_mut(&key) {
            wait = failures.wait(now, &limits);
            if wait.is_zero() {
                failures.add(now, &limits);
            }
        } else {
            let address = self.addresses.get(&prefix).copied().unwrap_or_default();
            let others = self.accounts.get(account).copied().unwrap_or_default();
            wait = wait.max(address.wait(now, &limits)).max(others.wait(now, &limits));
            if wait.is_zero() {
                self.addresses.get_or_default(&prefix).add(now, &limits);
                self.accounts.get_or_default(account).add(now, &limits);
            }
        }
        if wait.is_zero() { Verdict::Allowed } else { Verdict::Wait(wait) }
    }

    /// The attempt that was allowed was right. From now on the address is one of the account's own.
    pub fn succeeded(&mut self, account: &UserName, address: IpAddr) {
        let prefix = Prefix::of(address);
        let key = (account.clone(), prefix);
        if let Some(failures) = self.own.get_mut(&key) {
            *failures = Failures::default();
            return;
        }
        for failures in [self.addresses.get_mut(&prefix), self.accounts.get_mut(account)].into_iter().flatten() {
            failures.count = failures.count.saturating_sub(1);
        }
        let all = (account.clone(), Prefix::FIRST)..=(account.clone(), Prefix::LAST);
        if self.own.count(all.clone()) >= self.limits.own_addresses {
            self.own.remove_oldest_of(all);
        }
        self.own.get_or_default(&key);
    }

    /// The account is gone, or its password is another's: no address is its own any more.
    pub fn forget(&mut self, account: &UserName) {
        let all = (account.clone(), Prefix::FIRST)..=(account.clone(), Prefix::LAST);
        while self.own.remove_oldest_of(all.clone()) {}
    }
}

/// Failures that are not yet forgiven.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Failures {
    count: u32,
    /// When the last one was.
    last: Instant,
}

impl Failures {
    fn at(self, now: Instant, limits: &LoginLimits) -> u32 {
        let forgiven = now.saturating_since(self.last).as_micros() / limits.forgive.as_micros().max(1);
        self.count.saturating_sub(u32::try_from(forgiven).unwrap_or(u32::MAX))
    }

    fn add(&mut self, now: Instant, limits: &LoginLimits) {
        *self = Self { count: self.at(now, limits).saturating_add(1), last: now };
    }

    /// How long after the last failure the next attempt may come, less what has passed.
    fn wait(self, now: Instant, limits: &LoginLimits) -> Duration {
        let Some(doublings) = self.count.checked_sub(limits.free.saturating_add(1)) else { return Duration::ZERO };
        let wait = limits.first_wait.saturating_mul(1 << doublings.min(31)).min(limits.longest_wait);
        wait.saturating_sub(now.saturating_since(self.last))
    }
}

#[cfg(test)]
mod tests;
