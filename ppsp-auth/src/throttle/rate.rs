//! How often something may happen: for each address, and for all together.

use core::{net::IpAddr, time::Duration};

use ppsp_core::Instant;

use super::{Verdict, lru::Lru, prefix::Prefix};

/// A bucket of tokens: so many at once, and one more each time `every` has passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Rate {
    /// What a full bucket holds. Zero is read as one.
    pub burst: u32,
    /// The time in which one token comes.
    pub every: Duration,
}

/// The two rates of a [`RateLimiter`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RateLimit {
    /// For one address: an IPv4 address, or the first 64 bits of an IPv6 address.
    pub address: Rate,
    /// For all together.
    pub all: Rate,
    /// The most addresses that are remembered. In a full table the one that was not used for longest makes room, and
    /// has a full bucket when it comes again; the rate for all still holds.
    pub entries: usize,
}

impl Default for RateLimit {
    /// For registrations (RFC 7846 §6.3: identities should cost something): five from one address and then one an hour,
    /// two hundred from everywhere and then one in ten seconds.
    fn default() -> Self {
        Self {
            address: Rate { burst: 5, every: Duration::from_secs(3600) },
            all: Rate { burst: 200, every: Duration::from_secs(10) },
            entries: 65_536,
        }
    }
}

/// Lets things happen at a rate for each address and at one for all.
#[derive(Clone, Debug)]
pub struct RateLimiter {
    limit: RateLimit,
    addresses: Lru<Prefix, Bucket>,
    all: Bucket,
}

impl RateLimiter {
    /// With all buckets full.
    pub const fn new(limit: RateLimit) -> Self {
        Self { limit, addresses: Lru::new(limit.entries), all: Bucket { full: Instant::from_micros(0) } }
    }

    /// Takes a token for this address and one of all, or neither.
    pub fn admit(&mut self, now: Instant, address: IpAddr) -> Verdict {
        let prefix = Prefix::of(address);
        let mine = self.addresses.get(&prefix).copied().unwrap_or_default();
        let wait = mine.wait(now, self.limit.address).max(self.all.wait(now, self.limit.all));
        if !wait.is_zero() {
            return Verdict::Wait(wait);
        }
        self.addresses.get_or_default(&prefix).take(now, self.limit.address);
        self.all.take(now, self.limit.all);
        Verdict::Allowed
    }
}

/// A bucket, told by the moment at which it is full again.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    full: Instant,
}

impl Bucket {
    fn wait(self, now: Instant, rate: Rate) -> Duration {
        // One token is there as soon as no more than all others are missing.
        self.full.saturating_since(now + rate.every.saturating_mul(rate.burst.max(1) - 1))
    }

    fn take(&mut self, now: Instant, rate: Rate) {
        self.full = self.full.max(now) + rate.every;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::{collections::BTreeMap, vec::Vec};
    use core::net::Ipv4Addr;
    use proptest::{collection::vec, prelude::*};

    fn at(seconds: u64) -> Instant {
        Instant::from_micros(seconds * 1_000_000)
    }

    fn rate(burst: u32, seconds: u64) -> Rate {
        Rate { burst, every: Duration::from_secs(seconds) }
    }

    #[test]
    fn addresses_and_all() {
        let limit = RateLimit { address: rate(2, 10), all: rate(3, 1), entries: 100 };
        let mut limiter = RateLimiter::new(limit);
        let address = |text: &str| text.parse().unwrap();
        let (a, b) = (address("2001:db8::1"), address("192.0.2.1"));
        assert_eq!(limiter.admit(at(0), a), Verdict::Allowed);
        assert_eq!(limiter.admit(at(0), address("2001:db8::2")), Verdict::Allowed);
        assert_eq!(limiter.admit(at(0), a), Verdict::Wait(Duration::from_secs(10)));
        assert_eq!(limiter.admit(at(0), b), Verdict::Allowed);
        assert_eq!(limiter.admit(at(0), b), Verdict::Wait(Duration::from_secs(1)));
        assert_eq!(limiter.admit(at(1), b), Verdict::Allowed);
        assert_eq!(limiter.admit(at(10), a), Verdict::Allowed);
    }

    #[test]
    fn a_full_table_forgets_the_oldest() {
        let mut limiter = RateLimiter::new(RateLimit { address: rate(1, 1000), all: rate(100, 1), entries: 2 });
        let address = |last| Ipv4Addr::new(192, 0, 2, last).into();
        for last in 0..3 {
            assert_eq!(limiter.admit(at(0), address(last)), Verdict::Allowed);
        }
        assert_eq!(limiter.addresses.count(..), 2);
        assert_ne!(limiter.admit(at(0), address(2)), Verdict::Allowed);
        assert_eq!(limiter.admit(at(0), address(0)), Verdict::Allowed);
    }

    proptest! {
        /// Beside buckets that are counted token by token, second by second.
        #[test]
        fn is_a_token_bucket(
            burst in 1_u32..4, every in 1_u64..5, all in (1_u32..6, 1_u64..3), steps in vec((0_u64..6, 0_u8..3), 0..80),
        ) {
            let (mine, all) = (rate(burst, every), rate(all.0, all.1));
            let mut limiter = RateLimiter::new(RateLimit { address: mine, all, entries: 3 });
            // When tokens were taken: a bucket is empty if the tokens that came back since do not suffice.
            let mut buckets: BTreeMap<u8, Vec<u64>> = BTreeMap::new();
            let tokens = |taken: &[u64], rate: Rate, now: u64| {
                let (mut tokens, mut progress, mut taken) = (rate.burst, 0, taken.iter().peekable());
                for second in 0..=now {
                    if second > 0 && tokens < rate.burst {
                        progress += 1;
                        if progress == rate.every.as_secs() {
                            (tokens, progress) = (tokens + 1, 0);
                        }
                    }
                    while taken.next_if_eq(&&second).is_some() {
                        tokens -= 1;
                    }
                }
                tokens
            };
            let mut now = 0;
            for (pause, who) in steps {
                now += pause;
                let has = |who: u8, rate| tokens(buckets.get(&who).map_or(&[], Vec::as_slice), rate, now) > 0;
                let allowed = has(who, mine) && has(255, all);
                let verdict = limiter.admit(at(now), Ipv4Addr::new(192, 0, 2, who).into());
                prop_assert_eq!(verdict == Verdict::Allowed, allowed, "at {}", now);
                if let Verdict::Wait(wait) = verdict {
                    // The wait is exact.
                    let mut later = limiter.clone();
                    let address = Ipv4Addr::new(192, 0, 2, who).into();
                    let just_before = at(now) + (wait - Duration::from_micros(1));
                    prop_assert_ne!(limiter.admit(just_before, address), Verdict::Allowed);
                    prop_assert_eq!(later.admit(at(now) + wait, address), Verdict::Allowed);
                }
                if allowed {
                    for who in [who, 255] {
                        buckets.entry(who).or_default().push(now);
                    }
                }
            }
        }
    }
}
