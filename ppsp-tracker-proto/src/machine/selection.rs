//! Which peers go into a list (RFC 7846 §4.1.1, §4.1.2).

use core::cmp::Reverse;

use crate::{
    message::{PeerMode, PeerNum},
    registration::{Ability, Addr},
};

/// How lists are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListPolicy {
    /// Peers in a list for who names no `peer_count`.
    pub default: usize,
    /// Most peers in any list. RFC 7846 §3.2.2: `peer_count` should be less than 30.
    pub most: usize,
    /// From so many LEECHes with content on, LEECHes that join are pointed at peers, and SEEDERs are spared. Below it
    /// every list holds a SEEDER, where there is one.
    pub spare_seeders_from: usize,
}

impl Default for ListPolicy {
    fn default() -> Self {
        Self { default: 20, most: 29, spare_seeders_from: 8 }
    }
}

/// A list that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// How the asker takes part.
    pub mode: PeerMode,
    /// Has it just joined? Who asks again found too few peers.
    pub joins: bool,
    /// What it wants.
    pub scope: Option<&'a PeerNum<'a>>,
    /// Where it is.
    pub addrs: &'a [Addr],
    /// LEECHes with content in the swarm.
    pub leeches_with_content: usize,
}

/// How many of which kind go into a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Peers in all.
    pub all: usize,
    /// SEEDERs at least, as far as there are any.
    pub seeders: usize,
    /// May more SEEDERs fill what LEECHes leave?
    pub more_seeders: bool,
}

impl ListPolicy {
    /// What this list is made of.
    ///
    /// A SEEDER gets LEECHes alone: it wants nothing of other SEEDERs. A LEECH gets a SEEDER while few have content; once
    /// there are enough it gets none when it joins, and one when it asks again.
    pub fn shares(&self, wanted: &Wanted<'_>) -> Shares {
        let named = wanted.scope.and_then(|scope| scope.peer_count).and_then(|count| usize::try_from(count).ok());
        let all = named.unwrap_or(self.default).min(self.most);
        let enough = wanted.leeches_with_content >= self.spare_seeders_from;
        match wanted.mode {
            PeerMode::Seeder => Shares { all, seeders: 0, more_seeders: false },
            PeerMode::Leech if enough => {
                Shares { all, seeders: usize::from(!wanted.joins).min(all), more_seeders: false }
            }
            PeerMode::Leech => Shares { all, seeders: 1.min(all), more_seeders: true },
        }
    }

    /// How many candidates to draw for a list of `count`: some to choose from where there are preferences.
    pub fn draws(&self, wanted: &Wanted<'_>, count: usize) -> usize {
        if wanted.has_preferences() { count * 3 } else { count }
    }
}

impl Wanted<'_> {
    /// RFC 7846 §4.1.1, implementation note: without attributes of `peer_num` a random sample will do.
    pub fn has_preferences(&self) -> bool {
        self.scope.is_some_and(|scope| {
            scope.ability_nat.is_some()
                || scope.concurrent_links.is_some()
                || scope.online_time.is_some()
                || scope.upload_bandwidth.is_some()
        })
    }

    /// How well a peer suits: the more, the better. Each wish counts once, being reachable at all most.
    pub fn suits(&self, ability: &Ability, addrs: &[Addr]) -> u32 {
        let mut points = 0;
        let mut point = |fits: bool, weight| points += if fits { weight } else { 0 };
        if let Some(scope) = self.scope {
            let wish = scope.ability_nat.as_ref().and_then(|word| word.known());
            point(wish.is_some() && (ability.nat == wish || ability.nat == Some(crate::message::AbilityNat::NoNat)), 2);
            // More links than the asker has are many; the other two are what it wants at least.
            point(scope.concurrent_links.is_some_and(|links| u64::from(ability.links) <= links), 1);
            point(scope.online_time.is_some_and(|online| u64::from(ability.online) >= online), 1);
            point(scope.upload_bandwidth.is_some_and(|rate| u64::from(ability.bandwidth) >= rate), 2);
        }
        let any = |fits: &dyn Fn(&Addr, &Addr) -> bool| {
            self.addrs.iter().any(|own| addrs.iter().any(|other| fits(own, other)))
        };
        point(any(&|own, other| own.asn != 0 && own.asn == other.asn), 2);
        point(any(&|own, other| own.ip.is_ipv4() == other.ip.is_ipv4()), 4);
        points
    }
}

/// Brings the candidates that suit best to the front. Those that suit alike stay in their order, which is chance.
pub fn rank<'a, T>(wanted: &Wanted<'_>, candidates: &mut [T], of: impl Fn(&T) -> (Ability, &'a [Addr])) {
    if wanted.has_preferences() {
        candidates.sort_by_cached_key(|candidate| {
            let (ability, addrs) = of(candidate);
            let priority = addrs.iter().map(|addr| addr.priority).max().unwrap_or(0);
            Reverse((wanted.suits(&ability, addrs), priority))
        });
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::message::AbilityNat;

    fn wanted(mode: PeerMode, joins: bool, with_content: usize) -> Wanted<'static> {
        Wanted { mode, joins, scope: None, addrs: &[], leeches_with_content: with_content }
    }

    #[test]
    fn seeders_are_spared_once_enough_leeches_have_content() {
        let policy = ListPolicy::default();
        let shares = |mode, joins, with| policy.shares(&wanted(mode, joins, with));
        assert_eq!(shares(PeerMode::Leech, true, 7), Shares { all: 20, seeders: 1, more_seeders: true });
        assert_eq!(shares(PeerMode::Leech, true, 8), Shares { all: 20, seeders: 0, more_seeders: false });
        assert_eq!(shares(PeerMode::Leech, false, 8), Shares { all: 20, seeders: 1, more_seeders: false });
        assert_eq!(shares(PeerMode::Seeder, true, 0), Shares { all: 20, seeders: 0, more_seeders: false });
        // RFC 7846 §3.2.2: less than 30.
        let scope = PeerNum { peer_count: Some(1000), ..PeerNum::default() };
        let many = Wanted { scope: Some(&scope), ..wanted(PeerMode::Leech, true, 0) };
        assert_eq!(policy.shares(&many).all, 29);
        let scope = PeerNum { peer_count: Some(0), ..PeerNum::default() };
        let none = Wanted { scope: Some(&scope), ..wanted(PeerMode::Leech, true, 0) };
        assert_eq!(policy.shares(&none), Shares { all: 0, seeders: 0, more_seeders: true });
    }

    #[test]
    fn who_suits_comes_first() {
        let addr = |ip: &str, asn| Addr {
            ip: ip.parse().unwrap(),
            port: 1,
            priority: 0,
            kind: crate::message::AddrKind::Host,
            connection: None,
            asn,
            ppspp: true,
        };
        let scope = PeerNum {
            peer_count: None,
            ability_nat: Some(AbilityNat::Stun.into()),
            concurrent_links: Some(5),
            online_time: Some(200),
            upload_bandwidth: Some(600),
        };
        let own = [addr("192.0.2.1", 64_496)];
        let wanted = Wanted { scope: Some(&scope), addrs: &own, ..wanted(PeerMode::Leech, true, 0) };
        let far = [addr("2001:db8::1", 1)];
        let near = [addr("198.51.100.1", 64_496)];
        let best = Ability { nat: Some(AbilityNat::Stun), links: 2, online: 300, bandwidth: 1000 };
        let mut all = alloc::vec![
            (0, Ability::default(), &far[..]),
            (1, best, &far[..]),
            (2, Ability::default(), &near[..]),
            (3, best, &near[..]),
        ];
        rank(&wanted, &mut all, |(_, ability, addrs)| (*ability, *addrs));
        let order: Vec<_> = all.iter().map(|(name, ..)| *name).collect();
        assert_eq!(order, [3, 2, 1, 0]);
        // Without attributes the order stays.
        let plain = Wanted { scope: None, ..wanted };
        let mut all: Vec<(usize, Ability)> = (0..4).map(|name| (name, best)).collect();
        rank(&plain, &mut all, |_| panic!("nobody is looked at"));
        assert_eq!(all[0].0, 0);
    }
}
