//! The tables in memory: peers, swarms, who is in which, and who was silent longest. What may be done to them is decided
//! elsewhere.

use alloc::{boxed::Box, vec::Vec};
use core::hash::BuildHasher as _;

use hashbrown::{DefaultHashBuilder, HashTable};
use ppsp_core::{Identifier, Instant};

use super::slab::{NONE, Slab};
use crate::{Counters, Population, Registration, Totals, message::PeerMode};

pub(super) struct Directory {
    peers: Slab<Peer>,
    swarms: Slab<Swarm>,
    by_id: HashTable<u32>,
    by_opening: HashTable<u32>,
    /// The first peer of each session; the others follow through [`Peer::next`].
    by_session: HashTable<u32>,
    by_name: HashTable<u32>,
    hasher: DefaultHashBuilder,
    /// The two ends of the list of peers by [`Registration::seen`].
    oldest: u32,
    newest: u32,
    parts: usize,
}

pub(super) struct Peer {
    pub(super) registration: Registration,
    /// Its swarms; seldom more than one.
    pub(super) parts: Vec<Part>,
    older: u32,
    newer: u32,
    /// Others of the same session.
    previous: u32,
    next: u32,
}

/// A membership.
pub(super) struct Part {
    pub(super) swarm: u32,
    /// Its place among the members of its mode.
    at: u32,
    pub(super) mode: PeerMode,
    pub(super) counters: Counters,
}

pub(super) struct Swarm {
    pub(super) name: Box<str>,
    /// By mode.
    members: [Vec<u32>; 2],
    pub(super) with_content: usize,
    pub(super) totals: Totals,
}

impl Swarm {
    pub(super) fn members(&self, mode: PeerMode) -> &[u32] {
        &self.members[mode as usize]
    }

    pub(super) fn population(&self) -> Population {
        Population {
            seeders: self.members(PeerMode::Seeder).len(),
            leeches: self.members(PeerMode::Leech).len(),
            with_content: self.with_content,
        }
    }
}

impl Directory {
    pub(super) fn new() -> Self {
        Self {
            peers: Slab::new(),
            swarms: Slab::new(),
            by_id: HashTable::new(),
            by_opening: HashTable::new(),
            by_session: HashTable::new(),
            by_name: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            oldest: NONE,
            newest: NONE,
            parts: 0,
        }
    }

    /// Adds a peer that is in no swarm yet; none if its identifier is taken.
    pub(super) fn register(&mut self, registration: Registration) -> Option<u32> {
        if self.find(registration.id).is_some() {
            return None;
        }
        let Registration { id, opening, .. } = registration;
        let session = registration.principal.session;
        let first = self.first_of(session).unwrap_or(NONE);
        let peer = Peer { registration, parts: Vec::new(), older: NONE, newer: NONE, previous: NONE, next: first };
        let at = self.peers.insert(peer);
        let Self { peers, hasher, .. } = self;
        let of = |at: u32| peers.get(at).map(|peer| &peer.registration);
        let hash = |at: &u32| of(*at).map_or(0, |peer| hasher.hash_one(peer.id));
        self.by_id.insert_unique(hasher.hash_one(id), at, hash);
        self.by_opening.insert_unique(opening.id, at, |&at| of(at).map_or(0, |peer| peer.opening.id));
        let hash = |at: &u32| of(*at).map_or(0, |peer| hasher.hash_one(peer.principal.session));
        match self.by_session.find_mut(hasher.hash_one(session), |&other| other == first) {
            Some(head) => *head = at,
            None => drop(self.by_session.insert_unique(hasher.hash_one(session), at, hash)),
        }
        if let Some(first) = self.peers.get_mut(first) {
            first.previous = at;
        }
        self.append(at);
        Some(at)
    }

    /// Removes a peer from everywhere.
    pub(super) fn remove(&mut self, at: u32) {
        while let Some(part) = self.peers.get(at).and_then(|peer| peer.parts.last()) {
            self.leave(at, part.swarm);
        }
        self.unlink(at);
        let Some(peer) = self.peers.remove(at) else { return };
        let Registration { id, opening, principal, .. } = peer.registration;
        if let Ok(entry) = self.by_id.find_entry(self.hasher.hash_one(id), |&other| other == at) {
            entry.remove();
        }
        if let Ok(entry) = self.by_opening.find_entry(opening.id, |&other| other == at) {
            entry.remove();
        }
        if let Some(next) = self.peers.get_mut(peer.next) {
            next.previous = peer.previous;
        }
        if let Some(previous) = self.peers.get_mut(peer.previous) {
            previous.next = peer.next;
        } else if let Ok(mut entry) =
            self.by_session.find_entry(self.hasher.hash_one(principal.session), |&other| other == at)
        {
            if peer.next == NONE {
                entry.remove();
            } else {
                *entry.get_mut() = peer.next;
            }
        }
    }

    /// The track timer of a peer starts anew.
    pub(super) fn touch(&mut self, at: u32, now: Instant) {
        if self.newest != at {
            self.unlink(at);
            self.append(at);
        }
        if let Some(peer) = self.peers.get_mut(at) {
            peer.registration.seen = now;
        }
    }

    /// The peer joins a swarm that it is not in.
    pub(super) fn join(&mut self, at: u32, name: &str, mode: PeerMode) {
        let swarm = self.find_swarm(name).unwrap_or_else(|| {
            let swarm = Swarm {
                name: name.into(),
                members: [Vec::new(), Vec::new()],
                with_content: 0,
                totals: Totals::default(),
            };
            let swarm = self.swarms.insert(swarm);
            let Self { swarms, hasher, .. } = self;
            let hash = |&at: &u32| swarms.get(at).map_or(0, |swarm| hasher.hash_one(&*swarm.name));
            self.by_name.insert_unique(hasher.hash_one(name), swarm, hash);
            swarm
        });
        let (Some(peer), Some(group)) = (self.peers.get_mut(at), self.swarms.get_mut(swarm)) else { return };
        let members = &mut group.members[mode as usize];
        peer.parts.reserve_exact(1);
        peer.parts.push(Part { swarm, at: members.len() as u32, mode, counters: Counters::default() });
        members.push(at);
        self.parts += 1;
    }

    /// The peer leaves a swarm that it is in. A swarm without members is forgotten.
    pub(super) fn leave(&mut self, at: u32, swarm: u32) {
        let Some(peer) = self.peers.get_mut(at) else { return };
        let Some(index) = peer.parts.iter().position(|part| part.swarm == swarm) else { return };
        let part = peer.parts.swap_remove(index);
        self.parts -= 1;
        let Some(group) = self.swarms.get_mut(swarm) else { return };
        group.with_content -= usize::from(has_content(part.mode, part.counters));
        let members = &mut group.members[part.mode as usize];
        members.swap_remove(part.at as usize);
        if let Some(&moved) = members.get(part.at as usize)
            && let Some(moved) = self.peers.get_mut(moved)
            && let Some(other) = moved.parts.iter_mut().find(|part| part.swarm == swarm)
        {
            other.at = part.at;
        }
        if group.members.iter().all(Vec::is_empty) {
            let hash = self.hasher.hash_one(&*group.name);
            if let Ok(entry) = self.by_name.find_entry(hash, |&other| other == swarm) {
                entry.remove();
            }
            self.swarms.remove(swarm);
        }
    }

    /// Lets `change` see and change what a peer reported of a swarm.
    pub(super) fn report<T>(
        &mut self,
        at: u32,
        name: &str,
        change: impl FnOnce(PeerMode, &mut Counters, &mut Totals) -> T,
    ) -> Option<T> {
        let swarm = self.find_swarm(name)?;
        let part = self.peers.get_mut(at)?.parts.iter_mut().find(|part| part.swarm == swarm)?;
        let group = self.swarms.get_mut(swarm)?;
        let before = has_content(part.mode, part.counters);
        let found = change(part.mode, &mut part.counters, &mut group.totals);
        group.with_content =
            group.with_content + usize::from(has_content(part.mode, part.counters)) - usize::from(before);
        Some(found)
    }

    pub(super) fn find(&self, id: Identifier) -> Option<u32> {
        let is = |&at: &u32| self.peers.get(at).is_some_and(|peer| peer.registration.id == id);
        self.by_id.find(self.hasher.hash_one(id), is).copied()
    }

    pub(super) fn find_opening(&self, opening: u64) -> Option<u32> {
        let is = |&at: &u32| self.peers.get(at).is_some_and(|peer| peer.registration.opening.id == opening);
        self.by_opening.find(opening, is).copied()
    }

    pub(super) fn find_swarm(&self, name: &str) -> Option<u32> {
        let is = |&at: &u32| self.swarms.get(at).is_some_and(|swarm| &*swarm.name == name);
        self.by_name.find(self.hasher.hash_one(name), is).copied()
    }

    /// The peers of a session.
    pub(super) fn of_session(&self, session: u128) -> impl Iterator<Item = u32> {
        core::iter::successors(self.first_of(session), |&at| {
            self.peers.get(at).map(|peer| peer.next).filter(|&next| next != NONE)
        })
    }

    /// The peer that was silent longest.
    pub(super) fn oldest(&self) -> Option<(u32, Instant)> {
        self.peers.get(self.oldest).map(|peer| (self.oldest, peer.registration.seen))
    }

    pub(super) fn peer(&self, at: u32) -> Option<&Peer> {
        self.peers.get(at)
    }

    pub(super) fn registration_mut(&mut self, at: u32) -> Option<&mut Registration> {
        self.peers.get_mut(at).map(|peer| &mut peer.registration)
    }

    pub(super) fn swarm(&self, at: u32) -> Option<&Swarm> {
        self.swarms.get(at)
    }

    pub(super) fn peers(&self) -> impl Iterator<Item = (u32, &Peer)> {
        self.peers.iter()
    }

    pub(super) fn swarms(&self) -> impl Iterator<Item = &Swarm> {
        self.swarms.iter().map(|(_, swarm)| swarm)
    }

    pub(super) const fn peer_count(&self) -> usize {
        self.peers.len()
    }

    pub(super) const fn swarm_count(&self) -> usize {
        self.swarms.len()
    }

    /// Memberships of all peers.
    pub(super) const fn part_count(&self) -> usize {
        self.parts
    }

    fn first_of(&self, session: u128) -> Option<u32> {
        let is = |&at: &u32| self.peers.get(at).is_some_and(|peer| peer.registration.principal.session == session);
        self.by_session.find(self.hasher.hash_one(session), is).copied()
    }

    fn append(&mut self, at: u32) {
        let older = core::mem::replace(&mut self.newest, at);
        if let Some(peer) = self.peers.get_mut(at) {
            (peer.older, peer.newer) = (older, NONE);
        }
        match self.peers.get_mut(older) {
            Some(peer) => peer.newer = at,
            None => self.oldest = at,
        }
    }

    fn unlink(&mut self, at: u32) {
        let Some(&Peer { older, newer, .. }) = self.peers.get(at) else { return };
        match self.peers.get_mut(older) {
            Some(peer) => peer.newer = newer,
            None => self.oldest = newer,
        }
        match self.peers.get_mut(newer) {
            Some(peer) => peer.older = older,
            None => self.newest = older,
        }
    }
}

fn has_content(mode: PeerMode, counters: Counters) -> bool {
    mode == PeerMode::Leech && counters.downloaded > 0
}
