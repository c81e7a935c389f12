//! Which peers a list names (RFC 7846 §4.1.1, §4.1.2). The directory draws members at random; which of them are told, and
//! how many SEEDERs may be among them, is decided here.

use alloc::vec::Vec;
use core::time::Duration;

use ppsp_core::Instant;
use rand_core::Rng;

use crate::{
    Registration,
    message::{AbilityNat, PeerMode, PeerNum},
};

/// Most peers that a list names: RFC 7846 §3.2.2 wants less than 30.
pub const MAX_LIST: usize = 29;

/// How lists are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListPolicy {
    /// Peers in a list for those who do not say how many they want; at most [`MAX_LIST`].
    pub default_count: usize,
    /// While fewer LEECHes of a swarm have content, each list has a SEEDER. From then on SEEDERs are spared: new LEECHes
    /// are told LEECHes alone.
    pub spare_seeders_from: usize,
}

impl Default for ListPolicy {
    fn default() -> Self {
        Self { default_count: 20, spare_seeders_from: 8 }
    }
}

/// How many members a swarm has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Population {
    /// SEEDERs.
    pub seeders: usize,
    /// LEECHes.
    pub leeches: usize,
    /// LEECHes that reported to have received something.
    pub with_content: usize,
}

/// How many members to draw at random, all different, and how many of them to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Draw {
    /// SEEDERs to draw.
    pub seeders: usize,
    /// LEECHes to draw.
    pub leeches: usize,
    /// Peers to tell.
    pub count: usize,
}

/// A member that was drawn, or the one that asks.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// What is kept of it.
    pub registration: &'a Registration,
    /// How it takes part in the swarm.
    pub mode: PeerMode,
}

impl ListPolicy {
    /// How many members to draw for a list. About twice as many as wanted, so that there is something to choose from, in
    /// the proportion of the swarm.
    ///
    /// `joins` is true when the asker joins with this very request.
    pub fn draw(
        &self,
        mode: PeerMode,
        joins: bool,
        scope: Option<&PeerNum<'_>>,
        population: Population,
        rng: &mut impl Rng,
    ) -> Draw {
        let wanted = scope.and_then(|scope| scope.peer_count).map_or(self.default_count, |count| count as usize);
        let count = wanted.min(MAX_LIST);
        if count == 0 {
            return Draw::default();
        }
        let few_have_content = population.with_content < self.spare_seeders_from;
        let seeders = match mode {
            // Peers that both have everything have nothing to say to each other.
            PeerMode::Seeder => 0,
            PeerMode::Leech if joins && !few_have_content => 0,
            PeerMode::Leech => population.seeders,
        };
        let all = seeders + population.leeches;
        // Some fall away: the asker itself, those without addresses.
        let drawn = (2 * count + 4).min(all);
        let share = (drawn * seeders + below(rng, all.max(1))) / all.max(1);
        let share = share.max(usize::from(few_have_content)).min(seeders).max(drawn.saturating_sub(population.leeches));
        Draw { seeders: share, leeches: (drawn - share.min(drawn)).min(population.leeches), count }
    }

    /// Puts those that are told first, the best in front, and drops the others.
    ///
    /// Never told are peers of the asker's own session, those whose track timer expired, and those without addresses.
    /// Then what the asker can reach counts most, NAT traversal next, then the same autonomous system, then what the
    /// scope of the request prefers, and at last the priority; chance decides among equals.
    #[expect(clippy::too_many_arguments, reason = "what a list depends on; there is no whole to it")]
    pub fn choose(
        &self,
        asker: Candidate<'_>,
        scope: Option<&PeerNum<'_>>,
        population: Population,
        count: usize,
        now: Instant,
        track_timeout: Duration,
        drawn: &mut Vec<Candidate<'_>>,
        rng: &mut impl Rng,
    ) {
        let live = |other: &Registration| now.saturating_since(other.seen) < track_timeout;
        drawn.retain(|Candidate { registration: other, .. }| {
            other.principal.session != asker.registration.principal.session && live(other) && !other.addrs.is_empty()
        });
        drawn.sort_by_cached_key(|candidate| {
            let other = candidate.registration;
            let rank = rank(asker.registration, other, scope, now);
            core::cmp::Reverse((rank, other.profile.priority, rng.next_u32()))
        });
        let seeder = drawn.iter().position(|candidate| candidate.mode == PeerMode::Seeder);
        if let Some(seeder) = seeder.filter(|&at| at >= count && count > 0)
            && population.with_content < self.spare_seeders_from
        {
            drawn.swap(seeder, count - 1);
        }
        drawn.truncate(count);
    }
}

fn rank(asker: &Registration, other: &Registration, scope: Option<&PeerNum<'_>>, now: Instant) -> u8 {
    let (mine, theirs) = (&asker.profile, &other.profile);
    // One that declared no address may have any.
    let any_family = !mine.ipv4 && !mine.ipv6;
    let reachable = any_family || mine.ipv4 && theirs.ipv4 || mine.ipv6 && theirs.ipv6;
    let scope_of = |wanted: fn(&PeerNum<'_>) -> Option<u64>| scope.and_then(wanted);
    let nat = scope.and_then(|scope| scope.ability_nat.as_ref()?.known());
    let online = now.saturating_since(other.since).as_secs();
    let preferences = [
        (reachable, 32),
        (nat.is_some_and(|nat| traverses(nat, theirs.nat)), 16),
        (mine.asn != 0 && mine.asn == theirs.asn, 8),
        (scope_of(|scope| scope.upload_bandwidth).is_some_and(|wanted| u64::from(theirs.bandwidth) >= wanted), 1),
        (scope_of(|scope| scope.concurrent_links).is_some_and(|wanted| u64::from(theirs.links) <= wanted), 1),
        (scope_of(|scope| scope.online_time).is_some_and(|wanted| online >= wanted), 1),
    ];
    preferences.iter().map(|&(met, weight)| if met { weight } else { 0 }).sum()
}

/// Whether two peers find a way to each other. A relay at either end is enough, and so is one end without a NAT.
fn traverses(mine: AbilityNat, theirs: Option<AbilityNat>) -> bool {
    match (mine, theirs) {
        (_, Some(AbilityNat::NoNat)) => true,
        (AbilityNat::NoNat | AbilityNat::Turn, _) => true,
        (AbilityNat::Stun, theirs) => theirs.is_some(),
    }
}

/// Draws `count` different ones of the numbers below `all`, or all of them where there are fewer. The order means nothing.
pub fn sample(rng: &mut impl Rng, all: usize, count: usize, out: &mut Vec<usize>) {
    out.clear();
    if count >= all {
        out.extend(0..all);
        return;
    }
    // Robert Floyd's: each set of numbers is as likely as any other, and no number is drawn in vain.
    for last in all - count..all {
        let drawn = below(rng, last + 1);
        out.push(if out.contains(&drawn) { last } else { drawn });
    }
}

/// A number below `bound`. Its bias is too small to be seen: there are never 2³² members.
fn below(rng: &mut impl Rng, bound: usize) -> usize {
    ((u128::from(rng.next_u64()) * bound as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;
    use proptest::prelude::*;
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng as _;

    proptest! {
        #[test]
        fn samples_are_sets(seed: u64, all in 0..200usize, count in 0..80usize) {
            let mut out = Vec::new();
            sample(&mut ChaCha8Rng::seed_from_u64(seed), all, count, &mut out);
            let set: BTreeSet<_> = out.iter().copied().collect();
            prop_assert_eq!((out.len(), set.len()), (count.min(all), count.min(all)));
            prop_assert!(set.iter().all(|&drawn| drawn < all));
        }

        /// Never more than there are, always enough to fill the list if there are as many.
        #[test]
        fn draws_fit(
            seed: u64,
            seeders in 0..100usize,
            leeches in 0..100usize,
            content in 0..20usize,
            wanted in 0..40u64,
            seeder: bool,
            joins: bool,
        ) {
            let population = Population { seeders, leeches, with_content: content.min(leeches) };
            let scope = PeerNum { peer_count: Some(wanted), ..PeerNum::default() };
            let mode = if seeder { PeerMode::Seeder } else { PeerMode::Leech };
            let policy = ListPolicy::default();
            let draw = policy.draw(mode, joins, Some(&scope), population, &mut ChaCha8Rng::seed_from_u64(seed));
            prop_assert_eq!(draw.count, (wanted as usize).min(MAX_LIST));
            prop_assert!(draw.seeders <= seeders && draw.leeches <= leeches);
            let spared = seeder || joins && population.with_content >= policy.spare_seeders_from;
            let there = if spared { leeches } else { seeders + leeches };
            prop_assert!(draw.count == 0 || draw.seeders + draw.leeches >= draw.count.min(there));
            prop_assert!(!spared || draw.seeders == 0);
            let few = population.with_content < policy.spare_seeders_from;
            prop_assert!(!few || seeder || draw.count == 0 || seeders == 0 || draw.seeders > 0);
        }
    }

    /// Each member comes up about as often as any other.
    #[test]
    fn samples_are_fair() {
        let (mut rng, mut out, mut seen) = (ChaCha8Rng::seed_from_u64(1), Vec::new(), [0; 10]);
        for _ in 0..10_000 {
            sample(&mut rng, 10, 3, &mut out);
            out.iter().for_each(|&drawn| seen[drawn] += 1);
        }
        assert!(seen.iter().all(|count| (2800..3200).contains(count)), "{seen:?}");
    }
}
