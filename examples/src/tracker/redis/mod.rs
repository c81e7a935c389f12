//! Registrations in Redis, for several tracker nodes that answer as one.
//!
//! Nodes keep nothing of peers: each request is decided by the rules of `ppsp-tracker-proto` on what Redis has, and what it changes
//! is written if nobody else changed it meanwhile. While Redis is away the answer is 05, and peers ask again.

mod keys;
mod list;
mod step;
mod store;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use ppsp_auth::Secret;
use ppsp_core::{Identifier, Instant};
use ppsp_tracker_proto::{
    Flag, Flags, Gate, TrackerConfig, TrackerStats, check_totals, is_registered, may_see,
    message::{Code, Request, RequestData, Response, SwarmResult},
    registration::Registration,
};

use self::{
    step::{Refused, Step, step},
    store::{Answer, Store},
};
use super::{
    directory::{Answered, Asker, Population, Report, report},
    lock,
};

pub use store::RedisError;

/// The registrations of a tracker of several nodes.
#[derive(Debug)]
pub struct RedisDirectory {
    store: Store,
    config: TrackerConfig,
    away: AtomicBool,
    /// Of this node.
    stats: Mutex<TrackerStats>,
    /// Of this node.
    flags: Mutex<Flags>,
    /// Peers and swarms of all nodes, as of a second ago.
    there: Mutex<(usize, usize)>,
    /// When this node last heard of a session that has peers.
    heard: Mutex<HashMap<u128, Instant>>,
}

/// Why a request is not granted.
enum Trouble {
    Refused(Code),
    Redis(RedisError),
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        Self::Redis(error)
    }
}

impl From<Code> for Trouble {
    fn from(code: Code) -> Self {
        Self::Refused(code)
    }
}

impl RedisDirectory {
    /// In the Redis of this URL, which need not be there yet.
    ///
    /// # Errors
    ///
    /// [`RedisError`] for what is no URL of a Redis.
    pub fn new(url: &str, config: TrackerConfig) -> Result<Self, RedisError> {
        let store = Store::new(url, config.track_timer, config.keep_answers)?;
        let (stats, flags, there, heard) = Default::default();
        Ok(Self { store, config, away: AtomicBool::new(true), stats, flags, there, heard })
    }

    /// The key of peer identifiers that all nodes use: the first one brings it.
    ///
    /// # Errors
    ///
    /// [`RedisError`].
    pub async fn shared_key(&self, own: &Secret) -> Result<Secret, RedisError> {
        let key = self.store.shared_key(own.as_bytes()).await?;
        self.away.store(false, Ordering::Relaxed);
        Ok(Secret::new(key))
    }

    /// Whether Redis answers.
    pub fn ready(&self) -> bool {
        !self.away.load(Ordering::Relaxed)
    }

    pub(super) async fn handle(&self, now: Instant, asker: Asker<'_>, body: &[u8], out: &mut Vec<u8>) -> Answered {
        let request = match Request::read(body) {
            Ok(request) => request,
            Err(bad) => {
                let code = bad.code();
                Response::empty(code, bad.transaction_id.unwrap_or_default()).write(out);
                return self.count(code, false);
            }
        };
        let begun = out.len();
        let done = self.answer(now, &asker, &request, body, out).await;
        let code = match done {
            Ok(code) => code,
            Err(Trouble::Refused(code)) => code,
            Err(Trouble::Redis(error)) => {
                self.lost(&error);
                out.truncate(begun);
                Response::empty(Code::UNAVAILABLE, request.transaction_id.clone()).write(out);
                // Whatever it was before: it is asked about as long as nobody knows.
                return self.count(Code::UNAVAILABLE, true);
            }
        };
        let peers = self.store.of_session(asker.principal.session, now).await;
        let registered = peers.map_or(true, |peers| !peers.is_empty());
        if registered {
            lock(&self.heard).insert(asker.principal.session, now);
        }
        self.count(code, registered)
    }

    /// A request that has not been answered before, and is remembered.
    async fn answer(
        &self,
        now: Instant,
        asker: &Asker<'_>,
        request: &Request<'_>,
        body: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Code, Trouble> {
        let begun = out.len();
        let key = keys::answer(&asker.principal, asker.remote, &request.transaction_id);
        match self.store.answer(&key, body).await? {
            Answer::New => {}
            Answer::Repeated(..) if !may_see(request, &asker.principal, &asker.gate) => {}
            Answer::Repeated(code, answer) => {
                out.extend(answer);
                lock(&self.stats).repeated += 1;
                return Ok(code);
            }
            // RFC 7846 §4.3: reused if and only if all of the content is identical.
            Answer::Reused => {
                Response::empty(Code::BAD_REQUEST, request.transaction_id.clone()).write(out);
                return Ok(Code::BAD_REQUEST);
            }
        }
        let code = match self.process(now, asker, request).await {
            Ok(response) => {
                response.write(out);
                Code::OK
            }
            Err(Trouble::Refused(code)) => {
                Response::empty(code, request.transaction_id.clone()).write(out);
                code
            }
            Err(error) => return Err(error),
        };
        if code != Code::UNAVAILABLE {
            self.store.remember(&key, body, code, &out[begun..]).await?;
        }
        Ok(code)
    }

    async fn process<'a>(
        &self,
        now: Instant,
        asker: &Asker<'_>,
        request: &'a Request<'a>,
    ) -> Result<Response<'a>, Trouble> {
        let remote = asker.remote.to_canonical();
        let named = request.peer_id.parse::<Identifier>().map_err(|_| Code::FORBIDDEN)?;
        for _ in 0..ATTEMPTS {
            let found = self.store.load(&named).await?;
            let peer = found.as_ref().map(|found| &found.peer);
            let known = is_registered(named, peer, &asker.principal, remote, &asker.gate)?;
            let before = found.filter(|_| known);
            let new = Registration {
                principal: asker.principal,
                remote,
                addrs: Box::default(),
                ability: Default::default(),
                memberships: Vec::new(),
            };
            let peer = before.as_ref().map(|found| found.peer.clone());
            let Step { after, done, revoked } = step(request, peer, new, &asker.gate, &self.config);
            let id = match &before {
                Some(_) => named,
                None if after.is_none() => return Err(done.err().map_or(Code::FORBIDDEN, Refused::code).into()),
                None => {
                    self.room(now, asker, remote).await?;
                    asker.gate.assign(&asker.principal, remote)
                }
            };
            // What is refused does not reset the track timer.
            let done = match done {
                Err(refused) if revoked == 0 && after.is_some() => return Err(refused.code().into()),
                done => done,
            };
            if let Ok(done) = &done {
                self.room_for_swarms(now, &done.joins).await?;
            }
            let written = before.as_ref().map(|found| &found.bytes[..]);
            if !self.store.replace(&id, written, after.as_ref()).await? {
                // Another node was quicker.
                continue;
            }
            let old = before.as_ref().map(|found| &found.peer);
            self.store.index(now, &id, old, after.as_ref()).await?;
            lock(&self.stats).revoked += revoked;
            let done = done.map_err(Refused::code)?;
            return self.respond(now, id, request, after, done).await;
        }
        Err(Code::UNAVAILABLE.into())
    }

    async fn respond<'a>(
        &self,
        now: Instant,
        id: Identifier,
        request: &'a Request<'a>,
        after: Option<Registration<String>>,
        done: step::Done<'a>,
    ) -> Result<Response<'a>, Trouble> {
        let mut response = Response::empty(Code::OK, request.transaction_id.clone());
        if done.is_connect {
            response.peer_id = Some(id.to_string().into());
            response.peer_addr = done.reflexive.clone();
        }
        for stat in &done.reported {
            self.report(now, id, stat).await?;
        }
        for result in done.results {
            let mut written = SwarmResult { swarm_id: result.swarm.into(), ..SwarmResult::default() };
            if let (Some(wish), Some(own)) = (result.list, &after) {
                written.peers =
                    Some(list::draw(&self.store, &self.config.lists, now, &id, own, result.swarm, &wish).await?);
            }
            response.results.push(written);
        }
        let mut stats = lock(&self.stats);
        match &request.data {
            RequestData::Connect(_) => stats.connects += 1,
            RequestData::Find(_) => stats.finds += 1,
            RequestData::StatReport(_) => stats.stat_reports += 1,
        }
        Ok(response)
    }

    /// Adds a report to the totals of its swarm, and tells the operator what cannot be true.
    async fn report(&self, now: Instant, id: Identifier, of: &step::Reported<'_>) -> Result<(), RedisError> {
        let (sent, received) = (of.progress.sent.unwrap_or(0), of.progress.received.unwrap_or(0));
        let (uploaded, downloaded) = self.store.add_bytes(of.swarm, sent, received).await?;
        let totals = check_totals(uploaded, downloaded).err().filter(|_| received > 0);
        if let Some(why) = of.progress.sent.err().or(of.progress.received.err()).or(totals) {
            lock(&self.flags).raise(Flag { at: now, peer: id, swarm: of.swarm.into(), why });
        }
        Ok(())
    }

    /// Is there room for one more? The session's own peer that was silent for longest makes some.
    async fn room(&self, now: Instant, asker: &Asker<'_>, remote: IpAddr) -> Result<(), Trouble> {
        let own = self.store.of_session(asker.principal.session, now).await?;
        if own.len() >= self.config.max_peers_per_session
            && let Some((oldest, _)) = own.first()
        {
            self.remove(now, oldest).await?;
        }
        let (all, at_address) = self.store.count_peers(remote, now).await?;
        if all >= self.config.max_peers || at_address >= self.config.max_peers_per_address {
            return Err(Code::UNAVAILABLE.into());
        }
        Ok(())
    }

    async fn room_for_swarms(&self, now: Instant, joins: &[&str]) -> Result<(), Trouble> {
        if !joins.is_empty() && self.store.swarms_with(joins, now).await? > self.config.max_swarms {
            return Err(Code::UNAVAILABLE.into());
        }
        Ok(())
    }

    async fn remove(&self, now: Instant, id: &Identifier) -> Result<(), RedisError> {
        if let Some(found) = self.store.load(id).await?
            && self.store.replace(id, Some(&found.bytes), None).await?
        {
            lock(&self.stats).revoked += found.peer.memberships.len() as u64;
            self.store.index(now, id, Some(&found.peer), None).await?;
        }
        Ok(())
    }

    /// Ends the registrations of a session that this node heard of last: tokens that it saw may have expired because the peer
    /// went on to another node, which then knows better.
    ///
    /// # Errors
    ///
    /// [`RedisError`]: some may be left.
    pub async fn end_session(&self, session: u128, now: Instant) -> Result<(), RedisError> {
        let Some(heard) = lock(&self.heard).get(&session).copied() else { return Ok(()) };
        for (id, when) in self.store.of_session(session, now).await? {
            if when <= heard {
                self.remove(now, &id).await?;
            }
        }
        lock(&self.heard).remove(&session);
        Ok(())
    }

    /// Looks whether Redis is there, and what is in it.
    pub(super) async fn look(&self, now: Instant) {
        // Whoever was silent for longer is gone, or elsewhere.
        lock(&self.heard).retain(|_, heard| now.saturating_since(*heard) <= self.config.track_timer);
        match self.store.population(now).await {
            Ok(there) => {
                *lock(&self.there) = there;
                if self.away.swap(false, Ordering::Relaxed) {
                    tracing::info!("Redis answers");
                }
            }
            Err(error) => self.lost(&error),
        }
    }

    pub(super) fn population(&self) -> Population {
        let (peers, swarms) = *lock(&self.there);
        Population { peers, swarms, flagged: lock(&self.flags).count(), done: *lock(&self.stats) }
    }

    pub(super) fn reports(&self) -> Vec<Report> {
        lock(&self.flags).iter().map(report).collect()
    }

    fn count(&self, code: Code, registered: bool) -> Answered {
        let mut stats = lock(&self.stats);
        let at = usize::from(code.0).checked_sub(1);
        if let Some(count) = at.and_then(|at| stats.errors.get_mut(at)) {
            *count += 1;
        }
        Answered { code, registered }
    }

    fn lost(&self, error: &RedisError) {
        if !self.away.swap(true, Ordering::Relaxed) {
            tracing::warn!("Redis does not answer: {error}");
        }
    }
}

/// How often a change is tried again because another node was quicker.
const ATTEMPTS: usize = 8;
