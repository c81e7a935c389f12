//! Who waits, who does not, and that nobody locks anybody out.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    vec::Vec,
};
use core::net::Ipv4Addr;

use proptest::{collection::vec, prelude::*};

use super::*;

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn address(last: u8) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, last).into()
}

fn wait(seconds: u64) -> Verdict {
    Verdict::Wait(Duration::from_secs(seconds))
}

#[test]
fn waits_double_and_are_forgiven() {
    let mut throttle =
        LoginThrottle::new(LoginLimits { longest_wait: Duration::from_secs(100), ..LoginLimits::default() });
    let alice = name("alice");
    let mut now = 0;
    for _ in 0..6 {
        assert_eq!(throttle.attempt(at(now), &alice, address(1)), Verdict::Allowed);
    }
    for expected in [1, 2, 4, 8, 16, 32, 64, 100, 100] {
        assert_eq!(throttle.attempt(at(now), &alice, address(1)), wait(expected));
        // Asking too early costs nothing.
        assert_eq!(throttle.attempt(at(now + expected) + Duration::ZERO, &alice, address(1)), Verdict::Allowed);
        now += expected;
    }
    // Fifteen failures; after the time of ten of them five are left, which are free.
    now += 10 * 900;
    assert_eq!(throttle.attempt(at(now), &alice, address(1)), Verdict::Allowed);
    assert_eq!(throttle.attempt(at(now), &alice, address(1)), wait(1));
}

#[test]
fn the_owner_is_not_locked_out() {
    let mut throttle = LoginThrottle::new(LoginLimits::default());
    let (alice, home) = (name("alice"), address(1));
    assert_eq!(throttle.attempt(at(0), &alice, home), Verdict::Allowed);
    throttle.succeeded(&alice, home);
    // A crowd guesses at the account, and somebody behind the owner's own address at all others.
    for i in 0..250 {
        throttle.attempt(at(0), &alice, address(i + 2));
        throttle.attempt(at(0), &name(&format!("u{i}")), home);
    }
    assert!(matches!(throttle.attempt(at(0), &alice, address(255)), Verdict::Wait(_)));
    assert!(matches!(throttle.attempt(at(0), &name("bob"), home), Verdict::Wait(_)));
    assert_eq!(throttle.attempt(at(0), &alice, home), Verdict::Allowed);
    throttle.succeeded(&alice, home);
    // Guesses from there have their own count.
    for _ in 0..6 {
        assert_eq!(throttle.attempt(at(0), &alice, home), Verdict::Allowed);
    }
    assert_eq!(throttle.attempt(at(0), &alice, home), wait(1));
    throttle.forget(&alice);
    assert!(throttle.attempt(at(0), &alice, home) != Verdict::Allowed);
}

#[test]
fn an_own_account_cleans_no_address() {
    let mut throttle = LoginThrottle::new(LoginLimits::default());
    let (mallory, there) = (name("mallory"), address(9));
    for i in 0..6 {
        assert_eq!(throttle.attempt(at(0), &name(&format!("u{i}")), there), Verdict::Allowed);
        if throttle.attempt(at(0), &mallory, there) == Verdict::Allowed {
            throttle.succeeded(&mallory, there);
        }
    }
    assert_eq!(throttle.attempt(at(0), &name("victim"), there), wait(1));
}

#[test]
fn tables_are_bounded() {
    let limits = LoginLimits { entries: 4, own_addresses: 2, free: 0, ..LoginLimits::default() };
    let mut throttle = LoginThrottle::new(limits);
    for i in 0..50 {
        let user = name(&format!("u{i}"));
        assert_eq!(throttle.attempt(at(0), &user, address(i)), Verdict::Allowed);
        if i % 2 == 0 {
            throttle.succeeded(&user, address(i));
        }
    }
    assert_eq!((throttle.addresses.count(..), throttle.accounts.count(..), throttle.own.count(..)), (4, 4, 4));
    // The newest are remembered, the oldest are forgotten.
    assert_ne!(throttle.attempt(at(0), &name("u49"), address(100)), Verdict::Allowed);
    assert_eq!(throttle.attempt(at(0), &name("u1"), address(1)), Verdict::Allowed);
    // One account keeps few addresses, and takes no room from others.
    let mut throttle = LoginThrottle::new(limits);
    throttle.succeeded(&name("alice"), address(0));
    for i in 1..50 {
        throttle.succeeded(&name("mallory"), address(i));
    }
    let kept: Vec<_> =
        (0..50).filter(|&i| throttle.own.get(&(name("mallory"), Prefix::of(address(i)))).is_some()).collect();
    assert_eq!(kept, [48, 49]);
    assert!(throttle.own.get(&(name("alice"), Prefix::of(address(0)))).is_some());
}

/// The rules in the plainest words: lists of failures, nothing forgotten for lack of room.
#[derive(Default)]
struct Model {
    counts: BTreeMap<(Option<u8>, Option<u8>), (u32, u64)>,
    own: BTreeSet<(u8, u8)>,
}

impl Model {
    fn keys(&self, account: u8, address: u8) -> Vec<(Option<u8>, Option<u8>)> {
        if self.own.contains(&(account, address)) {
            Vec::from([(Some(account), Some(address))])
        } else {
            Vec::from([(Some(account), None), (None, Some(address))])
        }
    }

    /// Seconds to wait.
    fn attempt(&mut self, now: u64, account: u8, address: u8) -> u64 {
        let keys = self.keys(account, address);
        let wait_of = |key| {
            let (count, last) = self.counts.get(key).copied().unwrap_or_default();
            let wait: u64 = if count <= 2 { 0 } else { 2_u64.pow(count - 3).min(20) };
            (last + wait).saturating_sub(now)
        };
        let wait = keys.iter().map(wait_of).max().unwrap_or(0);
        if wait == 0 {
            for key in keys {
                let (count, last) = self.counts.get(&key).copied().unwrap_or_default();
                let forgiven = (now - last) / 30;
                self.counts.insert(key, (count.saturating_sub(forgiven as u32) + 1, now));
            }
        }
        wait
    }

    fn succeeded(&mut self, account: u8, address: u8) {
        for key in self.keys(account, address) {
            if let Some((count, _)) = self.counts.get_mut(&key) {
                *count = if self.own.contains(&(account, address)) { 0 } else { count.saturating_sub(1) };
            }
        }
        self.own.insert((account, address));
    }
}

proptest! {
    #[test]
    fn keeps_the_rules(steps in vec((0_u64..25, 0_u8..3, 0_u8..3, prop::bool::weighted(0.15)), 0..120)) {
        let limits = LoginLimits {
            free: 2,
            longest_wait: Duration::from_secs(20),
            forgive: Duration::from_secs(30),
            ..LoginLimits::default()
        };
        let (mut throttle, mut model, mut now) = (LoginThrottle::new(limits), Model::default(), 0);
        for (pause, account, from, right) in steps {
            now += pause / 8 * 4;
            let user = name(&format!("u{account}"));
            let verdict = throttle.attempt(at(now), &user, address(from));
            let seconds = model.attempt(now, account, from);
            prop_assert_eq!(verdict, if seconds == 0 { Verdict::Allowed } else { wait(seconds) });
            if right && verdict == Verdict::Allowed {
                throttle.succeeded(&user, address(from));
                model.succeeded(account, from);
            }
        }
    }
}
