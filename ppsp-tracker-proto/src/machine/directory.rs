//! Registrations and swarms in memory: who is where, a sample of a swarm, and whose time is over. It decides nothing.

use alloc::{boxed::Box, collections::BinaryHeap, string::String, vec::Vec};
use core::{cmp::Reverse, net::IpAddr};

use hashbrown::HashMap;
use ppsp_core::{Identifier, Instant};
use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

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

#[derive(Debug, Default)]
pub(super) struct Directory {
    peers: Vec<Option<Entry>>,
    free: Vec<Place>,
    by_id: HashMap<Identifier, Place>,
    /// The latest registration of a session; the others follow by [`Entry::sibling`].
    by_session: HashMap<u128, Place>,
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
        self.by_id.get(id).copied()
    }

    pub(super) fn get(&self, place: Place) -> Option<&Entry> {
        self.peers.get(place as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut Entry> {
        self.peers.get_mut(place as usize)?.as_mut()
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
        self.by_id.len()
    }

    pub(super) fn swarm_count(&self) -> usize {
        self.by_name.len()
    }

    pub(super) fn of_address(&self, ip: IpAddr) -> usize {
        self.by_address.get(&ip).map_or(0, |count| *count as usize)
    }

    pub(super) fn of_session(&self, session: u128) -> impl Iterator<Item = Place> {
        let mut next = self.by_session.get(&session).copied();
        core::iter::from_fn(move || {
            let place = next?;
            next = self.get(place).and_then(|entry| entry.sibling);
            Some(place)
        })
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = &Entry> {
        self.peers.iter().flatten()
    }

    pub(super) fn swarms(&self) -> impl Iterator<Item = &Swarm> {
        self.swarms.iter().filter(|swarm| !swarm.name.is_empty())
    }

    /// A new registration without memberships.
    pub(super) fn insert(&mut self, id: Identifier, peer: Registration<Seat>, now: Instant, due: Instant) -> Place {
        self.epoch = self.epoch.wrapping_add(1);
        let place = self.free.pop().unwrap_or_else(|| {
            self.peers.push(None);
            (self.peers.len() - 1) as Place
        });
        *self.by_address.entry(peer.remote).or_default() += 1;
        let sibling = self.by_session.insert(peer.principal.session, place);
        let entry = Entry { id, peer, seen: now, epoch: self.epoch, sibling };
        if let Some(slot) = self.peers.get_mut(place as usize) {
            *slot = Some(entry);
        }
        self.by_id.insert(id, place);
        self.timers.push(Reverse((due, place, self.epoch)));
        if self.timers.len() > 2 * self.by_id.len() + 4096 {
            self.drop_stale_timers();
        }
        place
    }

    /// Deletes a registration and all its memberships.
    pub(super) fn remove(&mut self, place: Place) {
        while let Some(last) = self.get(place).and_then(|entry| entry.peer.memberships.len().checked_sub(1)) {
            self.leave(place, last);
        }
        let Some(entry) = self.peers.get_mut(place as usize).and_then(Option::take) else { return };
        self.free.push(place);
        self.by_id.remove(&entry.id);
        if let Some(count) = self.by_address.get_mut(&entry.peer.remote) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&entry.peer.remote);
            }
        }
        let session = entry.peer.principal.session;
        let before = self.of_session(session).find(|other| self.get(*other).is_some_and(|e| e.sibling == Some(place)));
        match before.and_then(|before| self.get_mut(before)) {
            Some(before) => before.sibling = entry.sibling,
            None => match entry.sibling {
                Some(next) => _ = self.by_session.insert(session, next),
                None => _ = self.by_session.remove(&session),
            },
        }
    }

    pub(super) fn join(&mut self, place: Place, name: &str, mode: PeerMode) {
        let number = self.swarm_by_name(name).unwrap_or_else(|| self.add_swarm(name));
        let (Some(swarm), Some(Some(entry))) =
            (self.swarms.get_mut(number as usize), self.peers.get_mut(place as usize))
        else {
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
        let moved = members.get(seat.at as usize).and_then(|moved| self.peers.get_mut(*moved as usize)?.as_mut());
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

    /// Members by chance, each at most once: at most `count` of one kind, the asker's session left out.
    pub(super) fn sample(
        &self,
        number: SwarmNumber,
        mode: PeerMode,
        count: usize,
        session: u128,
        random: &mut ChaCha8Rng,
        out: &mut Vec<Place>,
    ) {
        let Some(members) = self.swarm(number).map(|swarm| swarm.of(mode)) else { return };
        let begun = out.len();
        let fits = |place: &Place| self.get(*place).is_some_and(|entry| entry.peer.principal.session != session);
        let mut below = |bound: usize| (u64::from(random.next_u32()) * bound as u64 >> 32) as usize;
        if members.len() <= 2 * count {
            // Few: all of them, shuffled.
            out.extend(members.iter().copied().filter(fits));
            let drawn = &mut out[begun..];
            for at in (1..drawn.len()).rev() {
                drawn.swap(at, below(at + 1));
            }
            out.truncate(begun + count);
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
