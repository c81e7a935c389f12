//! Registrations and swarms in memory: who is where, a sample of a swarm, and whose time is over. It decides nothing.

use alloc::{boxed::Box, collections::BinaryHeap, string::String, vec::Vec};
use core::{cmp::Reverse, hash::BuildHasher, net::IpAddr};

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use ppsp_core::{Identifier, Instant};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

use super::slab::Slab;
use crate::{
    message::PeerMode,
    registration::{Membership, Registration},
};

/// The place of a registration.
pub(super) type Place = u32;
/// The number of a swarm.
pub(super) type SwarmNumber = u32;

/// Where a peer stands in a swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    pub(super) swarm: SwarmNumber,
    /// Its place among the members of its mode.
    at: u32,
}

#[derive(Default)]
pub(super) struct Directory {
    peers: Slab<Entry>,
    // These two hold places alone: what is looked for stands in the entries.
    by_id: HashTable<Place>,
    /// The latest registration of a session; the others follow by [`Entry::sibling`].
    by_session: HashTable<Place>,
    hasher: DefaultHashBuilder,
    by_address: HashMap<IpAddr, u32>,
    swarms: Vec<Swarm>,
    free_swarms: Vec<SwarmNumber>,
    by_name: HashMap<Box<str>, SwarmNumber>,
    /// When to look at whom. A peer that was heard meanwhile is looked at again later.
    timers: BinaryHeap<Reverse<(Instant, Place, u32)>>,
    epoch: u32,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: Identifier,
    pub(super) peer: Registration<Seat>,
    /// When it was last heard.
    pub(super) seen: Instant,
    /// Tells this entry from others that had the place before.
    epoch: u32,
    sibling: Option<Place>,
}

/// A swarm, and what was reported of it.
#[derive(Debug, Default)]
pub(super) struct Swarm {
    pub(super) name: Box<str>,
    seeders: Vec<Place>,
    leeches: Vec<Place>,
    pub(super) leeches_with_content: u32,
    pub(super) uploaded: u64,
    pub(super) downloaded: u64,
}

impl Swarm {
    pub(super) fn of(&self, mode: PeerMode) -> &Vec<Place> {
        match mode {
            PeerMode::Seeder => &self.seeders,
            PeerMode::Leech => &self.leeches,
        }
    }

    fn of_mut(&mut self, mode: PeerMode) -> &mut Vec<Place> {
        match mode {
            PeerMode::Seeder => &mut self.seeders,
            PeerMode::Leech => &mut self.leeches,
        }
    }
}

impl Directory {
    pub(super) fn find(&self, id: &Identifier) -> Option<Place> {
        let is = |place: &Place| self.get(*place).is_some_and(|entry| entry.id == *id);
        self.by_id.find(self.hasher.hash_one(id), is).copied()
    }

    pub(super) fn get(&self, place: Place) -> Option<&Entry> {
        self.peers.get(place)
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut Entry> {
        self.peers.get_mut(place)
    }

    pub(super) fn swarm(&self, number: SwarmNumber) -> Option<&Swarm> {
        self.swarms.get(number as usize)
    }

    pub(super) fn swarm_mut(&mut self, number: SwarmNumber) -> Option<&mut Swarm> {
        self.swarms.get_mut(number as usize)
    }

    pub(super) fn swarm_by_name(&self, name: &str) -> Option<SwarmNumber> {
        self.by_name.get(name).copied()
    }

    pub(super) fn name(&self, number: SwarmNumber) -> &str {
        self.swarm(number).map_or("", |swarm| &swarm.name)
    }

    pub(super) fn peer_count(&self) -> usize {
        self.peers.len()
    }

    pub(super) fn swarm_count(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn of_address(&self, ip: IpAddr) -> usize {
        self.by_address.get(&ip).map_or(0, |count| *count as usize)
    }

    pub(super) fn of_session(&self, session: u128) -> impl Iterator<Item = Place> {
        let mut next = self.latest_of(session);
        core::iter::from_fn(move || {
            let place = next?;
            next = self.get(place).and_then(|entry| entry.sibling);
            Some(place)
        })
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &Entry> {
        self.peers.iter()
    }

    pub(super) fn swarms(&self) -> impl Iterator<Item = &Swarm> {
        self.swarms.iter().filter(|swarm| !swarm.name.is_empty())
    }

    /// A new registration without memberships.
    pub(super) fn insert(&mut self, id: Identifier, peer: Registration<Seat>, now: Instant, due: Instant) -> Place {
        self.epoch = self.epoch.wrapping_add(1);
        *self.by_address.entry(peer.remote).or_default() += 1;
        let session = peer.principal.session;
        let sibling = self.latest_of(session);
        let place = self.peers.insert(Entry { id, peer, seen: now, epoch: self.epoch, sibling });
        let Self { peers, hasher, .. } = self;
        let hash = |at: &Place| peers.get(*at).map_or(0, |entry| hasher.hash_one(entry.id));
        self.by_id.insert_unique(hasher.hash_one(id), place, hash);
        let hash = |at: &Place| peers.get(*at).map_or(0, |entry| hasher.hash_one(entry.peer.principal.session));
        match self.by_session.find_mut(hasher.hash_one(session), |other| Some(*other) == sibling) {
            Some(latest) => *latest = place,
            None => _ = self.by_session.insert_unique(hasher.hash_one(session), place, hash),
        }
        self.timers.push(Reverse((due, place, self.epoch)));
        if self.timers.len() > 2 * self.peers.len() + 4096 {
            self.drop_stale_timers();
        }
        place
    }

    /// Deletes a registration and all its memberships.
    pub(super) fn remove(&mut self, place: Place) {
        while let Some(last) = self.get(place).and_then(|entry| entry.peer.memberships.len().checked_sub(1)) {
            self.leave(place, last);
        }
        let Some(session) = self.get(place).map(|entry| entry.peer.principal.session) else { return };
        let before = self.of_session(session).find(|other| self.get(*other).is_some_and(|e| e.sibling == Some(place)));
        let Some(entry) = self.peers.remove(place) else { return };
        if let Ok(found) = self.by_id.find_entry(self.hasher.hash_one(entry.id), |other| *other == place) {
            found.remove();
        }
        if let Some(count) = self.by_address.get_mut(&entry.peer.remote) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&entry.peer.remote);
            }
        }
        if let Some(before) = before.and_then(|before| self.get_mut(before)) {
            before.sibling = entry.sibling;
        } else if let Ok(mut latest) = self.by_session.find_entry(self.hasher.hash_one(session), |at| *at == place) {
            match entry.sibling {
                Some(next) => *latest.get_mut() = next,
                None => _ = latest.remove(),
            }
        }
    }

    pub(super) fn join(&mut self, place: Place, name: &str, mode: PeerMode) {
        let number = self.swarm_by_name(name).unwrap_or_else(|| self.add_swarm(name));
        let (Some(swarm), Some(entry)) = (self.swarms.get_mut(number as usize), self.peers.get_mut(place)) else {
            return;
        };
        let members = swarm.of_mut(mode);
        let seat = Seat { swarm: number, at: members.len() as u32 };
        members.push(place);
        entry.peer.memberships.push(Membership { swarm: seat, mode, uploaded: 0, downloaded: 0 });
    }

    /// Ends a membership; the swarm goes with its last peer.
    pub(super) fn leave(&mut self, place: Place, membership: usize) {
        let Some(entry) = self.get_mut(place) else { return };
        let Membership { swarm: seat, mode, downloaded, .. } = entry.peer.memberships.swap_remove(membership);
        let number = seat.swarm;
        let Some(swarm) = self.swarms.get_mut(number as usize) else { return };
        let members = swarm.of_mut(mode);
        members.swap_remove(seat.at as usize);
        // The last one has moved to the seat that is free.
        let moved = members.get(seat.at as usize).and_then(|moved| self.peers.get_mut(*moved));
        let memberships = moved.map(|moved| &mut moved.peer.memberships).into_iter().flatten();
        memberships.filter(|one| one.swarm.swarm == number).for_each(|one| one.swarm.at = seat.at);
        if mode == PeerMode::Leech && downloaded > 0 {
            swarm.leeches_with_content -= 1;
        }
        if swarm.seeders.is_empty() && swarm.leeches.is_empty() {
            let name = core::mem::take(swarm).name;
            self.by_name.remove(&name);
            self.free_swarms.push(number);
        }
    }

    /// Members by chance, each at most once: at most `count` of one kind, the asker left out.
    pub(super) fn sample(
        &self,
        number: SwarmNumber,
        mode: PeerMode,
        count: usize,
        asker: Place,
        random: &mut ChaCha8Rng,
        out: &mut Vec<Place>,
    ) {
        let Some(members) = self.swarm(number).map(|swarm| swarm.of(mode)) else { return };
        let begun = out.len();
        let Some(own) = self.get(asker) else { return };
        let fits = |place: &Place| {
            *place != asker && self.get(*place).is_some_and(|entry| !entry.peer.is_same_peer(&own.peer))
        };
        let mut below = |bound: usize| ((u64::from(random.next_u32()) * bound as u64) >> 32) as usize;
        if members.len() <= 2 * count {
            // Few: shuffled, as far as needed. Those that fit gather in front.
            out.extend(members);
            let (all, mut kept) = (&mut out[begun..], 0);
            for at in 0..all.len() {
                if kept == count {
                    break;
                }
                all.swap(at, at + below(all.len() - at));
                if fits(&all[at]) {
                    all.swap(kept, at);
                    kept += 1;
                }
            }
            out.truncate(begun + kept);
            return;
        }
        // At least half of what is drawn is new, so that some draws suffice.
        for _ in 0..4 * count {
            let Some(&place) = members.get(below(members.len())) else { break };
            if out.len() - begun == count {
                break;
            }
            if fits(&place) && !out[begun..].contains(&place) {
                out.push(place);
            }
        }
    }

    /// When to look next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((due, ..))| *due)
    }

    /// A registration whose time is over, one at a time. `track` is how long a peer may be silent.
    pub(super) fn expired(&mut self, now: Instant, track: core::time::Duration) -> Option<Place> {
        while let Some(&Reverse((due, place, epoch))) = self.timers.peek() {
            if due > now {
                return None;
            }
            self.timers.pop();
            let Some(entry) = self.get(place).filter(|entry| entry.epoch == epoch) else { continue };
            let due = entry.seen + track;
            if due <= now {
                return Some(place);
            }
            self.timers.push(Reverse((due, place, epoch)));
        }
        None
    }

    fn latest_of(&self, session: u128) -> Option<Place> {
        let is = |place: &Place| self.get(*place).is_some_and(|entry| entry.peer.principal.session == session);
        self.by_session.find(self.hasher.hash_one(session), is).copied()
    }

    fn add_swarm(&mut self, name: &str) -> SwarmNumber {
        let number = self.free_swarms.pop().unwrap_or_else(|| {
            self.swarms.push(Swarm::default());
            (self.swarms.len() - 1) as SwarmNumber
        });
        if let Some(swarm) = self.swarm_mut(number) {
            swarm.name = name.into();
        }
        self.by_name.insert(String::from(name).into(), number);
        number
    }

    fn drop_stale_timers(&mut self) {
        let mut timers = core::mem::take(&mut self.timers).into_vec();
        timers.retain(|Reverse((_, place, epoch))| self.get(*place).is_some_and(|entry| entry.epoch == *epoch));
        self.timers = timers.into();
    }
}
