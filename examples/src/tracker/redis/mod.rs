//! Registrations in Redis, for several tracker nodes that answer as one.
//!
//! Nodes keep nothing of peers: each request is decided by the rules of `ppsp-tracker-proto` on what Redis has, and what it changes
//! is written if nobody else changed it meanwhile. While Redis is away the answer is 05, and peers ask again.

mod keys;
mod link;
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
    time::Duration,
};

use ppsp_core::{Identifier, Instant};
use ppsp_tracker_proto::{
    Flag, Flags, TrackerConfig, TrackerStats, check_totals, is_registered, may_see,
    message::{Code, Request, RequestData, Response, SwarmResult},
    registration::Registration,
};
use tokio::sync::Semaphore;

use self::{
    step::{Refused, Step, step},
    store::{Seen, Store},
};
use super::{
    directory::{Answered, Asker, Population, Report, report},
    gate::Assigner,
    lock,
};

pub use store::RedisError;

/// The registrations of a tracker of several nodes.
#[derive(Debug)]
pub struct RedisDirectory {
    store: Store,
    config: TrackerConfig,
    /// Requests that may be under way.
    turns: Semaphore,
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
        let (turns, away) = (Semaphore::new(MOST_REQUESTS), AtomicBool::new(true));
        let (stats, flags, there, heard) = Default::default();
        Ok(Self { store, config, turns, away, stats, flags, there, heard })
    }

    /// Connects, and agrees with the other nodes on the key of peer identifiers.
    ///
    /// # Errors
    ///
    /// [`RedisError`]. [`Directory::forget`](super::directory::Directory::forget) tries again.
    pub async fn meet(&self, assigner: &Assigner) -> Result<(), RedisError> {
        self.store.meet(assigner).await?;
        if self.away.swap(false, Ordering::Relaxed) {
            tracing::info!("Redis answers");
        }
        Ok(())
    }

    /// Whether Redis answers.
    pub fn ready(&self) -> bool {
        !self.away.load(Ordering::Relaxed)
    }

    pub(super) async fn handle(&self, now: Instant, asker: Asker<'_>, body: &[u8], out: &mut Vec<u8>) -> Answered {
        let (read, begun) = (Request::read(body), out.len());
        let transaction_id = match &read {
            Ok(request) => request.transaction_id.clone(),
            Err(bad) => bad.transaction_id.clone().unwrap_or_default(),
        };
        let done = async {
            // Who finds no room is not kept waiting, so that those who wait stay few.
            let _turn = self.turns.try_acquire().map_err(|_| Code::UNAVAILABLE)?;
            let code = match &read {
                Ok(request) => self.answer(now, &asker, request, body, out).await?,
                Err(bad) => {
                    Response::empty(bad.code(), transaction_id.clone()).write(out);
                    bad.code()
                }
            };
            let registered = !self.store.of_session(asker.principal.session, now).await?.is_empty();
            Ok((code, registered))
        };
        let (code, registered) = match tokio::time::timeout(DEADLINE, done).await {
            Ok(Ok(done)) => done,
            failed => {
                if let Ok(Err(Trouble::Redis(error))) = &failed {
                    self.lost(error);
                }
                out.truncate(begun);
                Response::empty(Code::UNAVAILABLE, transaction_id.clone()).write(out);
                // Whatever it was before: it is asked about as long as nobody knows.
                (Code::UNAVAILABLE, true)
            }
        };
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
        loop {
            match self.store.claim(&key, body).await? {
                Seen::New => break,
                // Who may no longer be there is not told who was.
                Seen::Repeated(_) if !may_see(request, &asker.principal, asker.gate) => break,
                Seen::Repeated(answer) => {
                    out.extend(answer);
                    lock(&self.stats).repeated += 1;
                    return Ok(Code::OK);
                }
                // Another node is at it, and its answer counts.
                Seen::Busy => tokio::time::sleep(SOON).await,
                // RFC 7846 §4.3: reused if and only if all of the content is identical.
                Seen::Reused => {
                    Response::empty(Code::BAD_REQUEST, request.transaction_id.clone()).write(out);
                    return Ok(Code::BAD_REQUEST);
                }
            }
        }
        match self.process(now, asker, request).await {
            Ok(response) => {
                response.write(out);
                self.store.remember(&key, body, &out[begun..]).await?;
                Ok(Code::OK)
            }
            // What was not done may be tried again.
            Err(Trouble::Refused(code)) => {
                self.store.release(&key).await?;
                Response::empty(code, request.transaction_id.clone()).write(out);
                Ok(code)
            }
            Err(error) => Err(error),
        }
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
            let known = is_registered(named, peer, &asker.principal, remote, asker.gate)?;
            let before = found.filter(|_| known);
            let new = Registration {
                principal: asker.principal,
                remote,
                addrs: Box::default(),
                ability: Default::default(),
                memberships: Vec::new(),
            };
            let peer = before.as_ref().map(|found| found.peer.clone());
            let Step { after, done, revoked } = step(request, peer, new, asker.gate, &self.config);
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

    /// Ends a registration; returns how many memberships it had.
    async fn remove(&self, now: Instant, id: &Identifier) -> Result<u64, RedisError> {
        let Some(peer) = self.store.take(id).await? else { return Ok(0) };
        self.store.index(now, id, Some(&peer), None).await?;
        Ok(peer.memberships.len() as u64)
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
                let ended = self.remove(now, &id).await?;
                lock(&self.stats).revoked += ended;
            }
        }
        lock(&self.heard).remove(&session);
        Ok(())
    }

    /// Looks whether Redis is there, and what is in it.
    pub(super) async fn look(&self, now: Instant, assigner: &Assigner) {
        // Whoever was silent for longer is gone, or elsewhere.
        lock(&self.heard).retain(|_, heard| now.saturating_since(*heard) <= self.config.track_timer);
        let look = async {
            self.meet(assigner).await?;
            self.store.population(now).await
        };
        match look.await {
            Ok(there) => *lock(&self.there) = there,
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

/// For all of a request, however many commands it takes.
const DEADLINE: Duration = Duration::from_secs(4);
/// Requests under way at a time; more get 05.
const MOST_REQUESTS: usize = 4096;
/// Between two looks for the answer that another node makes.
const SOON: Duration = Duration::from_millis(50);
/// How often a change is tried again because another node was quicker.
const ATTEMPTS: usize = 8;
