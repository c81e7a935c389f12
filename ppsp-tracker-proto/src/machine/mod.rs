//! The tracker: RFC 7846's state machines (Figures 4 and 5) over a directory in memory.

mod directory;
mod reports;
mod selection;
mod slab;
#[cfg(test)]
mod tests;
mod transactions;

use alloc::{borrow::Cow, boxed::Box, vec::Vec};
use core::{net::IpAddr, time::Duration};

use directory::{Directory, Entry, Place, Seat, SwarmNumber};
use ppsp_core::{Identifier, Instant};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
pub use reports::{Flag, Flags, Inconsistency, check_step, check_totals};
pub use selection::{ListPolicy, Shares, Wanted, rank};
use transactions::{Seen, Transactions};

use crate::{
    Gate, Next, Principal, decide, is_registered, may_see,
    message::{Action, Code, PeerInfo, PeerMode, PeerNum, Request, RequestData, Response, StatReport, SwarmResult},
    registration::{Ability, Addr, Progress, Registration},
};

/// What a tracker allows and how long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrackerConfig {
    /// The track timer: a peer that is silent for so long is forgotten (RFC 7846 §2.3.2 D).
    pub track_timer: Duration,
    /// How lists are made.
    pub lists: ListPolicy,
    /// Registrations in all; further ones get 05.
    pub max_peers: usize,
    /// Swarms in all; requests that need another one get 05.
    pub max_swarms: usize,
    /// Swarms of one peer; more get 03.
    pub max_swarms_per_peer: usize,
    /// Registrations of one session; a further one ends the one that was silent for longest. Peers register for each swarm by
    /// itself, and adaptive content has one for each Representation: a few films are some dozens.
    pub max_peers_per_session: usize,
    /// Registrations from one address; further ones get 05. Many people may share one behind a NAT.
    pub max_peers_per_address: usize,
    /// Bytes of answers kept for those who ask again (RFC 7846 §4.3); older ones make room, and requests that are repeated
    /// after that are done again.
    pub max_answers: usize,
    /// How long an answer is kept.
    pub keep_answers: Duration,
}

impl Default for TrackerConfig {
    fn default() -> Self {
        Self {
            track_timer: Duration::from_secs(90),
            lists: ListPolicy::default(),
            max_peers: 4_000_000,
            max_swarms: 1_000_000,
            max_swarms_per_peer: 64,
            max_peers_per_session: 128,
            max_peers_per_address: 4096,
            max_answers: 64 << 20,
            keep_answers: Duration::from_secs(30),
        }
    }
}

/// Where a request comes from, and from whom.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The address that it came from.
    pub remote: IpAddr,
    /// Who sent it, if that was proven.
    pub principal: Option<Principal>,
    /// What they may do.
    pub gate: &'a dyn Gate,
}

/// A tracker with everything in memory.
///
/// Request bodies go in with what HTTP knows of them, response bodies come out. Each peer identifier has the states of RFC 7846
/// Figure 5; START and PEER REGISTERED are passed within one call, so that the init timer never runs: there is nothing to
/// wait for between a CONNECT and its answer. What is not [`handle`](Self::handle)d by the caller at all, because it is
/// overloaded, gets [`Code::UNAVAILABLE`] by [`Response::empty`].
///
/// A database in its place uses the same [`decide`], [`ListPolicy`] and [`Registration`].
pub struct Tracker {
    config: TrackerConfig,
    random: ChaCha8Rng,
    directory: Directory,
    transactions: Transactions,
    flags: Flags,
    stats: TrackerStats,
    drawn: Vec<Place>,
}

/// What a tracker has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TrackerStats {
    /// CONNECT requests that were answered with 00.
    pub connects: u64,
    /// FIND requests that were answered with 00.
    pub finds: u64,
    /// STAT_REPORT requests that were answered with 00.
    pub stat_reports: u64,
    /// Requests that were repeated, and got the answer that they had.
    pub repeated: u64,
    /// Requests by the error code they were answered with: 01 to 06.
    pub errors: [u64; 6],
    /// Registrations that ended because the track timer ran out.
    pub timed_out: u64,
    /// Memberships that ended because they are no longer allowed.
    pub revoked: u64,
}

/// A swarm, for operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwarmView<'a> {
    /// Its identifier.
    pub id: &'a str,
    /// SEEDERs in it.
    pub seeders: usize,
    /// LEECHes in it.
    pub leeches: usize,
    /// Bytes that its peers reported as sent, those included that left.
    pub uploaded: u64,
    /// Bytes that they reported as received.
    pub downloaded: u64,
}

impl Tracker {
    /// A tracker without peers. Lists are drawn by chance from the seed.
    pub fn new(config: TrackerConfig, seed: [u8; 32]) -> Self {
        Self {
            config,
            random: ChaCha8Rng::from_seed(seed),
            directory: Directory::default(),
            transactions: Transactions::new(config.max_answers, config.keep_answers),
            flags: Flags::default(),
            stats: TrackerStats::default(),
            drawn: Vec::new(),
        }
    }

    /// Answers a request: appends the body of the response and returns its code.
    pub fn handle(&mut self, now: Instant, context: &Context<'_>, body: &[u8], out: &mut Vec<u8>) -> Code {
        // RFC 7846 §2.3.2 D, even where the driver's timer is late.
        self.handle_timeout(now);
        let code = self.answer(now, context, body, out);
        if let Some(count) = code.0.checked_sub(1).and_then(|at| self.stats.errors.get_mut(usize::from(at))) {
            *count += 1;
        }
        code
    }

    /// Forgets the peers whose track timer has run out, at most a thousand at a time.
    pub fn handle_timeout(&mut self, now: Instant) {
        for _ in 0..1000 {
            let Some(place) = self.directory.expired(now, self.config.track_timer) else { break };
            self.directory.remove(place);
            self.stats.timed_out += 1;
        }
    }

    /// Ends all registrations of a session: it was revoked.
    pub fn end_session(&mut self, session: u128) {
        let places: Vec<Place> = self.directory.of_session(session).collect();
        for place in places {
            self.stats.revoked += self.directory.get(place).map_or(0, |entry| entry.peer.memberships.len() as u64);
            self.directory.remove(place);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.directory.next_due()
    }

    /// Has this session a registration?
    pub fn has_session(&self, session: u128) -> bool {
        self.directory.of_session(session).next().is_some()
    }

    /// Registrations.
    pub fn peer_count(&self) -> usize {
        self.directory.peer_count()
    }

    /// Swarms with a peer.
    pub fn swarm_count(&self) -> usize {
        self.directory.swarm_count()
    }

    /// What it has done.
    pub const fn stats(&self) -> &TrackerStats {
        &self.stats
    }

    /// All swarms, in no order.
    pub fn swarms(&self) -> impl Iterator<Item = SwarmView<'_>> {
        self.directory.swarms().map(|swarm| SwarmView {
            id: &swarm.name,
            seeders: swarm.of(PeerMode::Seeder).len(),
            leeches: swarm.of(PeerMode::Leech).len(),
            uploaded: swarm.uploaded,
            downloaded: swarm.downloaded,
        })
    }

    /// All peers, in no order: identifier, and bytes reported as sent and received.
    pub fn peers(&self) -> impl Iterator<Item = (Identifier, u64, u64)> {
        self.directory.peers().map(|Entry { id, peer, .. }| {
            let sum = |of: fn(&crate::registration::Membership<Seat>) -> u64| {
                peer.memberships.iter().map(of).fold(0, u64::saturating_add)
            };
            (*id, sum(|one| one.uploaded), sum(|one| one.downloaded))
        })
    }

    /// The last reports that cannot be true, the oldest first.
    pub fn flags(&self) -> impl Iterator<Item = &Flag> {
        self.flags.iter()
    }

    /// Reports that could not be true, in all.
    pub fn flag_count(&self) -> u64 {
        self.flags.count()
    }

    fn answer(&mut self, now: Instant, context: &Context<'_>, body: &[u8], out: &mut Vec<u8>) -> Code {
        let refuse = |code, transaction_id: &str, out: &mut Vec<u8>| {
            // RFC 7846 §4.3: no peer_addr and no swarm_result.
            Response::empty(code, Cow::Borrowed(transaction_id)).write(out);
            code
        };
        let request = match Request::read(body) {
            Ok(request) => request,
            Err(bad) => return refuse(bad.code(), bad.transaction_id.as_deref().unwrap_or_default(), out),
        };
        let Some(principal) = context.principal else {
            return refuse(Code::AUTHENTICATION_REQUIRED, &request.transaction_id, out);
        };
        let key = self.transactions.key(principal, context.remote, &request.transaction_id);
        match self.transactions.look(now, &key, body) {
            Seen::New => {}
            // Who may no longer be there is not told who was.
            Seen::Repeated(..) if !may_see(&request, &principal, context.gate) => {}
            Seen::Repeated(code, answer) => {
                out.extend_from_slice(answer);
                self.stats.repeated += 1;
                return code;
            }
            // RFC 7846 §4.3: reused if and only if all of the content is identical.
            Seen::Reused => return refuse(Code::BAD_REQUEST, &request.transaction_id, out),
        }
        let begun = out.len();
        let code = match self.process(now, context, principal, &request, out) {
            Ok(()) => Code::OK,
            Err(code) => {
                out.truncate(begun);
                return refuse(code, &request.transaction_id, out);
            }
        };
        self.transactions.remember(now, key, body, code, &out[begun..]);
        code
    }

    fn process(
        &mut self,
        now: Instant,
        context: &Context<'_>,
        principal: Principal,
        request: &Request<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), Code> {
        let remote = context.remote.to_canonical();
        let id = request.peer_id.parse::<Identifier>().map_err(|_| Code::FORBIDDEN)?;
        let found = self.directory.find(&id);
        let peer = found.and_then(|place| self.directory.get(place)).map(|entry| &entry.peer);
        let known = if is_registered(id, peer, &principal, remote, context.gate)? { found } else { None };
        let mut joined: Vec<(&str, PeerMode)> = Vec::new();
        if let Some(entry) = known.and_then(|place| self.directory.get(place)) {
            joined.extend(entry.peer.memberships.iter().map(|one| (self.directory.name(one.swarm.swarm), one.mode)));
        }
        let decision = decide(request, known.map(|_| &joined[..]), &principal, context.gate);
        // Memberships that are no longer allowed end, whatever was asked.
        if let (Some(place), false) = (known, decision.revoked.is_empty()) {
            self.stats.revoked += decision.revoked.len() as u64;
            for at in decision.revoked.iter().rev() {
                self.directory.leave(place, *at);
            }
            if self.directory.get(place).is_some_and(|entry| entry.peer.memberships.is_empty()) {
                self.directory.remove(place);
            }
        }
        let next = match decision.result {
            Ok(next) => next,
            Err(refusal) => {
                if let (Some(place), true) = (known, refusal.terminate) {
                    self.directory.remove(place);
                }
                return Err(refusal.code);
            }
        };
        if let Some(entry) = known.and_then(|place| self.directory.get_mut(place)) {
            // Any message resets the track timer (RFC 7846 §2.3.1).
            entry.seen = now;
        }
        let mut response = Response::empty(Code::OK, Cow::Borrowed(&request.transaction_id));
        let mut results = Vec::new();
        match (&request.data, known) {
            (RequestData::Connect(connect), known) => {
                let place = match known {
                    Some(place) => place,
                    None => self.register(now, context, principal, remote)?,
                };
                if let Err(code) = self.room_for(place, connect) {
                    if known.is_none() {
                        self.directory.remove(place);
                    }
                    return Err(code);
                }
                let entry = self.directory.get_mut(place).ok_or(Code::INTERNAL)?;
                entry.peer.hear(connect, known.is_none());
                response.peer_id = Some(Cow::Owned(alloc::string::ToString::to_string(&entry.id)));
                response.peer_addr = entry.peer.reflexive();
                for action in &connect.actions {
                    let mut result =
                        SwarmResult { swarm_id: Cow::Borrowed(&action.swarm_id), ..SwarmResult::default() };
                    match (action.action.known(), action.peer_mode.known()) {
                        (Some(Action::Join), Some(mode)) => {
                            self.directory.join(place, &action.swarm_id, mode);
                            // RFC 7846 §4.1.1: a LEECH gets a list, a SEEDER where it asks for one.
                            if mode == PeerMode::Leech || connect.peer_num.is_some() {
                                let scope = connect.peer_num.as_ref();
                                result.peers = Some(self.list(place, &action.swarm_id, mode, true, scope));
                            }
                        }
                        _ => {
                            let entry = self.directory.get(place).ok_or(Code::INTERNAL)?;
                            let named = |number: SwarmNumber| *self.directory.name(number) == *action.swarm_id;
                            let at = entry.peer.memberships.iter().position(|one| named(one.swarm.swarm));
                            self.directory.leave(place, at.ok_or(Code::INTERNAL)?);
                        }
                    }
                    results.push(result);
                }
                if next == Next::Terminate {
                    self.directory.remove(place);
                }
                self.stats.connects += 1;
            }
            (RequestData::Find(find), Some(place)) => {
                let entry = self.directory.get_mut(place).ok_or(Code::INTERNAL)?;
                if let Some(said) = &find.peer_num {
                    entry.peer.ability.update(said);
                }
                let number = self.directory.swarm_by_name(&find.swarm_id).ok_or(Code::INTERNAL)?;
                let entry = self.directory.get(place).ok_or(Code::INTERNAL)?;
                let membership = entry.peer.memberships.iter().find(|one| one.swarm.swarm == number);
                let mode = membership.map(|one| one.mode).ok_or(Code::INTERNAL)?;
                let peers = self.list(place, &find.swarm_id, mode, false, find.peer_num.as_ref());
                results.push(SwarmResult {
                    swarm_id: Cow::Borrowed(&find.swarm_id),
                    failed: false,
                    peers: Some(peers),
                });
                self.stats.finds += 1;
            }
            (RequestData::StatReport(report), Some(place)) => {
                self.report(now, place, report)?;
                results.extend(
                    report
                        .stats
                        .iter()
                        .map(|stat| SwarmResult { swarm_id: Cow::Borrowed(&stat.swarm_id), ..SwarmResult::default() }),
                );
                self.stats.stat_reports += 1;
            }
            (_, None) => return Err(Code::FORBIDDEN),
        }
        response.results = results;
        response.write(out);
        Ok(())
    }

    /// START: a registration without memberships.
    fn register(
        &mut self,
        now: Instant,
        context: &Context<'_>,
        principal: Principal,
        remote: IpAddr,
    ) -> Result<Place, Code> {
        let own: Vec<Place> = self.directory.of_session(principal.session).collect();
        if own.len() >= self.config.max_peers_per_session {
            let seen = |place: &Place| self.directory.get(*place).map(|entry| entry.seen);
            if let Some(&oldest) = own.iter().min_by_key(|place| seen(place)) {
                self.directory.remove(oldest);
            }
        }
        if self.directory.peer_count() >= self.config.max_peers
            || self.directory.of_address(remote) >= self.config.max_peers_per_address
        {
            return Err(Code::UNAVAILABLE);
        }
        let id = context.gate.assign(&principal, remote);
        // An identifier that is in use would be the gate's fault; nobody gets another's registration by it.
        if self.directory.find(&id).is_some() || id == principal.client {
            return Err(Code::INTERNAL);
        }
        let peer = Registration {
            principal,
            remote,
            addrs: Box::default(),
            ability: Ability::default(),
            memberships: Vec::with_capacity(1),
        };
        Ok(self.directory.insert(id, peer, now, now + self.config.track_timer))
    }

    /// Is there room for what a CONNECT joins?
    fn room_for(&self, place: Place, connect: &crate::message::Connect<'_>) -> Result<(), Code> {
        let joins = connect.actions.iter().filter(|action| action.action.known() == Some(Action::Join));
        let new = joins.clone().filter(|action| self.directory.swarm_by_name(&action.swarm_id).is_none()).count();
        let held = self.directory.get(place).map_or(0, |entry| entry.peer.memberships.len());
        if held + joins.count() > self.config.max_swarms_per_peer {
            Err(Code::FORBIDDEN)
        } else if self.directory.swarm_count() + new > self.config.max_swarms {
            Err(Code::UNAVAILABLE)
        } else {
            Ok(())
        }
    }

    /// The peers that the one at this place is told of.
    fn list(
        &mut self,
        place: Place,
        swarm: &str,
        mode: PeerMode,
        joins: bool,
        scope: Option<&PeerNum<'_>>,
    ) -> Vec<PeerInfo<'static>> {
        let Self { directory, random, drawn, config, .. } = self;
        let (Some(number), Some(asker)) = (directory.swarm_by_name(swarm), directory.get(place)) else {
            return Vec::new();
        };
        let leeches_with_content = directory.swarm(number).map_or(0, |swarm| swarm.leeches_with_content as usize);
        let wanted = Wanted { mode, joins, scope, addrs: &asker.peer.addrs, leeches_with_content };
        let shares = config.lists.shares(&wanted);
        let look = |place: &Place| match directory.get(*place) {
            Some(entry) => (entry.peer.ability, &entry.peer.addrs[..]),
            None => (Ability::default(), &[][..]),
        };
        let mut chosen: Vec<Place> = Vec::with_capacity(shares.all);
        let mut draw = |of: PeerMode, count: usize, chosen: &mut Vec<Place>| {
            drawn.clear();
            // Some of those that are drawn may stand in the list already.
            let draws = config.lists.draws(&wanted, count + chosen.len());
            directory.sample(number, of, draws, place, random, drawn);
            rank(&wanted, drawn, look);
            chosen
                .extend(drawn.iter().copied().filter(|place| !chosen.contains(place)).take(count).collect::<Vec<_>>());
        };
        draw(PeerMode::Seeder, shares.seeders, &mut chosen);
        draw(PeerMode::Leech, shares.all - chosen.len(), &mut chosen);
        if shares.more_seeders && chosen.len() < shares.all {
            draw(PeerMode::Seeder, shares.all - chosen.len(), &mut chosen);
        }
        let tell = |place: &Place| {
            let entry = directory.get(*place)?;
            let peer_id = Cow::Owned(alloc::string::ToString::to_string(&entry.id));
            Some(PeerInfo { peer_id, addrs: entry.peer.addrs.iter().map(Addr::to_message).collect() })
        };
        chosen.iter().filter_map(tell).collect()
    }

    /// Takes a report down.
    fn report(&mut self, now: Instant, place: Place, report: &StatReport<'_>) -> Result<(), Code> {
        for stat in &report.stats {
            let number = self.directory.swarm_by_name(&stat.swarm_id).ok_or(Code::INTERNAL)?;
            let entry = self.directory.get_mut(place).ok_or(Code::INTERNAL)?;
            let (peer, since) = (entry.id, self.config.track_timer);
            entry.peer.ability.report(stat);
            let Some(membership) = entry.peer.memberships.iter_mut().find(|one| one.swarm.swarm == number) else {
                return Err(Code::INTERNAL);
            };
            let Progress { sent, received, content } = membership.report(stat, since);
            let Some(swarm) = self.directory.swarm_mut(number) else { continue };
            match content {
                Some(true) => swarm.leeches_with_content += 1,
                Some(false) => swarm.leeches_with_content -= 1,
                None => {}
            }
            swarm.uploaded = swarm.uploaded.saturating_add(sent.unwrap_or(0));
            swarm.downloaded = swarm.downloaded.saturating_add(received.unwrap_or(0));
            let totals = check_totals(swarm.uploaded, swarm.downloaded);
            let wrong = sent.err().or(received.err()).or(totals.err().filter(|_| received.unwrap_or(0) > 0));
            if let Some(why) = wrong {
                self.flags.raise(Flag { at: now, peer, swarm: (*stat.swarm_id).into(), why });
            }
        }
        Ok(())
    }
}

impl core::fmt::Debug for Tracker {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Tracker").field("peers", &self.peer_count()).field("stats", &self.stats).finish_non_exhaustive()
    }
}
