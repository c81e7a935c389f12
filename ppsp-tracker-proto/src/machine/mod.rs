//! The tracker of RFC 7846 §2.3 in memory: request bodies go in, response bodies come out.
//!
//! It carries out what [`transition`] decides. HTTP, authentication and the clock are its driver's.

mod answers;
mod directory;
mod slab;
#[cfg(test)]
mod tests;

use alloc::{borrow::Cow, string::ToString as _, vec::Vec};
use core::time::Duration;

use answers::Answers;
use directory::Directory;
use ppsp_core::{Identifier, Instant};
use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng as _};

use crate::{
    Addrs, Candidate, Context, Counters, Ends, Held, ListPolicy, Membership, Population, Profile, Record, Registration,
    Step, Subject, Totals, Transaction,
    message::{
        Action, AddrKind, Code, Connect, PeerAddr, PeerInfo, PeerMode, PeerNum, Request, RequestData, Response,
        SwarmResult,
    },
    reachable, sample, take_report, transition,
};

/// Limits and times of a [`Tracker`].
///
/// Where a limit would be exceeded the request is answered with 05, and nothing changes. A body is limited by
/// [`MAX_REQUEST`](crate::message::MAX_REQUEST), a list by [`MAX_LIST`](crate::MAX_LIST).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// A peer that is silent for as long is forgotten (RFC 7846 §2.3.2 D).
    pub track_timeout: Duration,
    /// How peer lists are made.
    pub lists: ListPolicy,
    /// Most registered peers.
    pub max_peers: usize,
    /// Most swarms with members.
    pub max_swarms: usize,
    /// Most memberships of all peers together.
    pub max_memberships: usize,
    /// Most memberships of a peer.
    pub max_memberships_per_peer: usize,
    /// Most registered peers of a session.
    pub max_peers_per_session: usize,
    /// Bytes for answers that are kept for repeated requests. Beyond that the oldest are forgotten; none is kept longer
    /// than a minute.
    pub max_answers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            track_timeout: Duration::from_secs(90),
            lists: ListPolicy::default(),
            max_peers: 2_000_000,
            max_swarms: 200_000,
            max_memberships: 4_000_000,
            max_memberships_per_peer: 64,
            max_peers_per_session: 64,
            max_answers: 16 << 20,
        }
    }
}

/// What a tracker did so far, and holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Peers that are registered now. Without any the tracker is in INIT, else in STARTED (RFC 7846 Figure 4).
    pub peers: usize,
    /// Swarms that have members now.
    pub swarms: usize,
    /// Memberships now.
    pub memberships: usize,
    /// Answers by error code; those without error first.
    pub answers: [u64; 7],
    /// Answers that were given a second time.
    pub repeated: u64,
    /// Peers that registered.
    pub registered: u64,
    /// Peers that were silent for too long.
    pub expired: u64,
    /// Memberships that ended because the gate did not let the principal stay.
    pub barred: u64,
    /// Reports that contradict an earlier one or the mode.
    pub doubtful: u64,
}

/// A swarm, as the operator sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwarmView<'a> {
    /// The `swarm_id`.
    pub swarm_id: &'a str,
    /// How many members there are.
    pub population: Population,
    /// What they reported.
    pub totals: Totals,
}

/// A tracker with its directory in memory.
///
/// [`handle`](Self::handle) is to be called for each request; [`handle_timeout`](Self::handle_timeout) when
/// [`poll_timeout`](Self::poll_timeout) says so. Each call costs as much as its own request and what is due.
pub struct Tracker {
    config: Config,
    directory: Directory,
    answers: Answers,
    rng: ChaCha8Rng,
    /// Of the fingerprints of transactions.
    key: [u64; 2],
    stats: Stats,
}

impl Tracker {
    /// A tracker without peers. The seed must be secret and never used again.
    pub fn new(config: Config, seed: [u8; 32]) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed);
        let key = [rng.next_u64(), rng.next_u64()];
        let answers = Answers::new(config.max_answers);
        Self { config, directory: Directory::new(), answers, rng, key, stats: Stats::default() }
    }

    /// Answers a request: appends the body of the response, and gives its error code.
    pub fn handle(&mut self, now: Instant, asker: &Context<'_>, body: &[u8], out: &mut Vec<u8>) -> Code {
        self.handle_timeout(now);
        let code = match Request::read(body) {
            Ok(request) => self.answer(now, asker, &request, body, out),
            Err(unreadable) => refuse(unreadable.code(), unreadable.transaction_id.unwrap_or_default(), out),
        };
        self.stats.answers[usize::from(code.0).min(6)] += 1;
        code
    }

    /// Forgets the peers whose track timer expired (RFC 7846 §2.3.2 D).
    pub fn handle_timeout(&mut self, now: Instant) {
        while let Some((at, seen)) = self.directory.oldest()
            && now.saturating_since(seen) >= self.config.track_timeout
        {
            self.directory.remove(at);
            self.stats.expired += 1;
        }
    }

    /// Ends all registrations of a session, and gives their number.
    pub fn end_session(&mut self, session: u128) -> usize {
        let peers: Vec<u32> = self.directory.of_session(session).collect();
        peers.iter().for_each(|&at| self.directory.remove(at));
        peers.len()
    }

    /// Ends all registrations of a client, and gives their number. Looks at every peer.
    pub fn end_client(&mut self, client: Identifier) -> usize {
        let of_client = self.directory.peers().filter(|(_, peer)| peer.registration.principal.client == client);
        let peers: Vec<u32> = of_client.map(|(at, _)| at).collect();
        peers.iter().for_each(|&at| self.directory.remove(at));
        peers.len()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due; none without peers.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.directory.oldest().map(|(_, seen)| seen + self.config.track_timeout)
    }

    /// What it did, and what it holds.
    pub fn stats(&self) -> Stats {
        Stats {
            peers: self.directory.peer_count(),
            swarms: self.directory.swarm_count(),
            memberships: self.directory.part_count(),
            ..self.stats
        }
    }

    /// All swarms, in no order.
    pub fn swarms(&self) -> impl Iterator<Item = SwarmView<'_>> {
        self.directory.swarms().map(|swarm| SwarmView {
            swarm_id: &swarm.name,
            population: swarm.population(),
            totals: swarm.totals,
        })
    }

    /// All that is kept of a peer.
    pub fn peer(&self, id: Identifier) -> Option<Record> {
        let peer = self.directory.peer(self.directory.find(id)?)?;
        let joined = peer.parts.iter().filter_map(|part| {
            let swarm_id = self.directory.swarm(part.swarm)?.name.to_string();
            Some(Membership { swarm_id, mode: part.mode, counters: part.counters })
        });
        Some(Record { registration: peer.registration.clone(), joined: joined.collect() })
    }

    fn answer(
        &mut self,
        now: Instant,
        asker: &Context<'_>,
        request: &Request<'_>,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Code {
        let name = || Cow::Borrowed(&*request.transaction_id);
        let Some(principal) = asker.principal else { return refuse(Code::AUTHENTICATION_REQUIRED, name(), out) };
        let transaction =
            Transaction::of(self.key, &principal, asker.remote, &request.peer_id, &request.transaction_id, body);
        let at = match Subject::of(&request.peer_id, &principal) {
            Subject::Opening => self.directory.find_opening(transaction.id),
            Subject::Peer(id) => self.directory.find(id),
            Subject::Nobody => None,
        };
        let peer = at.and_then(|at| self.directory.peer(at));
        let parts = peer.map_or(&[][..], |peer| &peer.parts);
        let swarm = |at| self.directory.swarm(at).map_or("", |swarm| &swarm.name);
        let joined: Vec<_> = parts.iter().map(|part| (swarm(part.swarm), part.mode)).collect();
        let held = peer.map(|peer| Held { registration: &peer.registration, joined: &joined });
        let earlier = self.answers.get(transaction.id);
        let decision = transition(request, transaction, asker, held, earlier.map(|answer| answer.transaction));

        if let Ends::Memberships(barred) = &decision.ends {
            let swarms: Vec<_> = barred.iter().filter_map(|&part| parts.get(part)).map(|part| part.swarm).collect();
            self.stats.barred += swarms.len() as u64;
            swarms.iter().for_each(|&swarm| at.into_iter().for_each(|at| self.directory.leave(at, swarm)));
        }
        let start = out.len();
        let code = match (decision.step, at) {
            (Err(code), _) => refuse(code, name(), out),
            (Ok(Step::Repeat), at) => {
                self.stats.repeated += 1;
                match (self.answers.get(transaction.id), at) {
                    (Some(answer), _) => {
                        out.extend_from_slice(&answer.body);
                        return answer.code;
                    }
                    (None, Some(at)) => self.respond(now, at, request, out),
                    (None, None) => refuse(Code::INTERNAL, name(), out),
                }
            }
            (Ok(Step::Register(id)), _) => {
                let registration = Registration {
                    id,
                    principal,
                    remote: asker.remote,
                    since: now,
                    seen: now,
                    opening: transaction,
                    last: transaction,
                    profile: Profile::default(),
                    addrs: Addrs::default(),
                };
                let peers = self.directory.of_session(principal.session).count();
                if !self.has_room(None, request)
                    || self.directory.peer_count() >= self.config.max_peers
                    || peers >= self.config.max_peers_per_session
                {
                    refuse(Code::UNAVAILABLE, name(), out)
                } else if let Some(at) = self.directory.register(registration) {
                    self.stats.registered += 1;
                    self.act(at, asker, request);
                    self.respond(now, at, request, out)
                } else {
                    // An identifier was assigned twice.
                    refuse(Code::INTERNAL, name(), out)
                }
            }
            (Ok(Step::Track), Some(at)) if self.has_room(Some(at), request) => {
                self.directory.touch(at, now);
                if let Some(registration) = self.directory.registration_mut(at) {
                    registration.last = transaction;
                }
                self.act(at, asker, request);
                self.respond(now, at, request, out)
            }
            (Ok(Step::Track), Some(_)) => refuse(Code::UNAVAILABLE, name(), out),
            (Ok(Step::Track), None) => refuse(Code::INTERNAL, name(), out),
        };
        if decision.ends == Ends::Registration
            && let Some(at) = at
        {
            self.directory.remove(at);
        }
        // RFC 7846 §4.3: who gets 04 or 05 tries the same request again, and hopes for another answer.
        if matches!(code, Code::OK | Code::BAD_REQUEST | Code::FORBIDDEN) {
            self.answers.remember(now, transaction, code, &out[start..]);
        }
        code
    }

    /// Whether the swarms that a request joins still find room.
    fn has_room(&self, at: Option<u32>, request: &Request<'_>) -> bool {
        let RequestData::Connect(connect) = &request.data else { return true };
        let of = |action| connect.actions.iter().filter(move |other| other.action.known() == Some(action));
        let joins = of(Action::Join).count();
        let new = of(Action::Join).filter(|join| self.directory.find_swarm(&join.swarm_id).is_none()).count();
        let held = at.and_then(|at| self.directory.peer(at)).map_or(0, |peer| peer.parts.len());
        let leaves = of(Action::Leave).count();
        joins == 0
            || (held + joins).saturating_sub(leaves) <= self.config.max_memberships_per_peer
                && (self.directory.part_count() + joins).saturating_sub(leaves) <= self.config.max_memberships
                && self.directory.swarm_count() + new <= self.config.max_swarms
    }

    /// Does what is asked.
    fn act(&mut self, at: u32, asker: &Context<'_>, request: &Request<'_>) {
        let scope = scope(request);
        if let (Some(scope), Some(registration)) = (scope, self.directory.registration_mut(at)) {
            registration.profile.learn(scope);
        }
        match &request.data {
            RequestData::Connect(connect) => {
                self.learn_addrs(at, asker, connect);
                let of = |action| connect.actions.iter().filter(move |other| other.action.known() == Some(action));
                for leave in of(Action::Leave) {
                    if let Some(swarm) = self.directory.find_swarm(&leave.swarm_id) {
                        self.directory.leave(at, swarm);
                    }
                }
                for join in of(Action::Join) {
                    let mode = join.peer_mode.known().unwrap_or(PeerMode::Leech);
                    self.directory.join(at, &join.swarm_id, mode);
                }
            }
            RequestData::Find(_) => {}
            RequestData::StatReport(report) => {
                for stat in &report.stats {
                    let doubt = self.directory.report(at, &stat.swarm_id, |mode, counters: &mut Counters, totals| {
                        take_report(stat, mode, counters, totals)
                    });
                    self.stats.doubtful += u64::from(doubt.flatten().is_some());
                    if let Some(registration) = self.directory.registration_mut(at) {
                        let narrow = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
                        registration.profile.links = narrow(stat.concurrent_links);
                        registration.profile.bandwidth = narrow(stat.available_bandwidth);
                    }
                }
            }
        }
    }

    /// New addresses replace the old ones; a CONNECT without any changes none.
    fn learn_addrs(&mut self, at: u32, asker: &Context<'_>, connect: &Connect<'_>) {
        if let Some(registration) = self.directory.registration_mut(at).filter(|_| !connect.addrs.is_empty()) {
            let addrs = reachable(&connect.addrs, asker.remote);
            registration.profile.learn_addrs(&addrs);
            registration.addrs = Addrs::pack(&addrs);
        }
    }

    /// Writes what a request that was granted is answered with (RFC 7846 §4.2).
    fn respond(&mut self, now: Instant, at: u32, request: &Request<'_>, out: &mut Vec<u8>) -> Code {
        let Some(peer) = self.directory.peer(at) else {
            return refuse(Code::INTERNAL, Cow::Borrowed(&request.transaction_id), out);
        };
        let lists = Lists { directory: &self.directory, config: &self.config, now, asker: at };
        let mut response = Response::empty(Code::OK, Cow::Borrowed(&request.transaction_id));
        let scope = scope(request);
        match &request.data {
            RequestData::Connect(connect) => {
                response.peer_id = Some(peer.registration.id.to_string().into());
                response.peer_addr = observed(connect, &peer.registration.addrs);
                for action in &connect.actions {
                    let joins = action.action.known() == Some(Action::Join);
                    let mode = action.peer_mode.known().unwrap_or(PeerMode::Leech);
                    // RFC 7846 §4.1.1: a LEECH gets a list, a SEEDER only if it says what list.
                    let listed = joins && (mode == PeerMode::Leech || scope.is_some());
                    let peers = listed.then(|| lists.list(&action.swarm_id, true, scope, &mut self.rng));
                    response.results.push(SwarmResult { swarm_id: (&*action.swarm_id).into(), failed: false, peers });
                }
            }
            RequestData::Find(find) => {
                let peers = Some(lists.list(&find.swarm_id, false, scope, &mut self.rng));
                response.results.push(SwarmResult { swarm_id: (&*find.swarm_id).into(), failed: false, peers });
            }
            RequestData::StatReport(report) => {
                for stat in &report.stats {
                    let swarm_id = (&*stat.swarm_id).into();
                    response.results.push(SwarmResult { swarm_id, failed: false, peers: None });
                }
            }
        }
        response.write(out);
        Code::OK
    }
}

/// Makes lists for one peer.
struct Lists<'a> {
    directory: &'a Directory,
    config: &'a Config,
    now: Instant,
    asker: u32,
}

impl<'a> Lists<'a> {
    fn list(&self, name: &str, joins: bool, scope: Option<&PeerNum<'_>>, rng: &mut ChaCha8Rng) -> Vec<PeerInfo<'a>> {
        let found = || {
            let at = self.directory.find_swarm(name)?;
            let peer = self.directory.peer(self.asker)?;
            let mode = peer.parts.iter().find(|part| part.swarm == at)?.mode;
            Some((self.directory.swarm(at)?, Candidate { registration: &peer.registration, mode }))
        };
        let Some((swarm, asker)) = found() else { return Vec::new() };
        let policy = &self.config.lists;
        let population = swarm.population();
        let draw = policy.draw(asker.mode, joins, scope, population, rng);
        let (mut drawn, mut places) = (Vec::new(), Vec::new());
        for (mode, count) in [(PeerMode::Seeder, draw.seeders), (PeerMode::Leech, draw.leeches)] {
            let members = swarm.members(mode);
            sample(rng, members.len(), count, &mut places);
            let peers = places.iter().filter_map(|&place| self.directory.peer(*members.get(place)?));
            drawn.extend(peers.map(|peer| Candidate { registration: &peer.registration, mode }));
        }
        let timeout = self.config.track_timeout;
        policy.choose(asker, scope, population, draw.count, self.now, timeout, &mut drawn, rng);
        let info = |candidate: Candidate<'a>| PeerInfo {
            peer_id: candidate.registration.id.to_string().into(),
            addrs: candidate.registration.addrs.iter().collect(),
        };
        drawn.into_iter().map(info).collect()
    }
}

/// The address that the tracker sees; none for those who asked a STUN server themselves (RFC 7846 §4.1.1).
fn observed<'a>(connect: &Connect<'_>, kept: &'a Addrs) -> Option<PeerAddr<'a>> {
    let reflexive = |addr: &PeerAddr<'_>| addr.kind.as_ref().and_then(|kind| kind.known()) == Some(AddrKind::Reflexive);
    if connect.addrs.iter().any(reflexive) {
        return None;
    }
    kept.iter().last().filter(reflexive)
}

const fn scope<'a, 'b>(request: &'b Request<'a>) -> Option<&'b PeerNum<'a>> {
    match &request.data {
        RequestData::Connect(connect) => connect.peer_num.as_ref(),
        RequestData::Find(find) => find.peer_num.as_ref(),
        RequestData::StatReport(_) => None,
    }
}

/// RFC 7846 §4.3: no `peer_addr` and no results.
fn refuse(code: Code, transaction_id: Cow<'_, str>, out: &mut Vec<u8>) -> Code {
    Response::empty(code, transaction_id).write(out);
    code
}
