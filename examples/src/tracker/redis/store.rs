//! What is asked of Redis. Records of peers are the truth; the sets beside them are found by, and what in them is true no more
//! is taken out when it is met.

use std::{net::IpAddr, time::Duration};

use ppsp_core::{Identifier, Instant};
use ppsp_tracker_proto::{
    message::{Code, PeerMode},
    registration::Registration,
};
pub use redis::RedisError;
use redis::{
    Client, Pipeline, RedisResult, Script,
    aio::{ConnectionManager, ConnectionManagerConfig},
    pipe,
};
use sha2::{Digest, Sha256};

use super::keys;

/// The way to Redis. It comes back by itself after a loss.
pub(super) struct Store {
    manager: ConnectionManager,
    replace: Script,
    track_timer: Duration,
    keep_answers: Duration,
}

/// A record of a peer, and how it stands in Redis.
pub(super) struct Found {
    pub(super) bytes: Vec<u8>,
    pub(super) peer: Registration<String>,
}

/// What is known of a transaction.
pub(super) enum Answer {
    /// Nothing.
    New,
    /// The same request was answered so.
    Repeated(Code, Vec<u8>),
    /// Another request had the same name.
    Reused,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

impl Store {
    pub(super) fn new(url: &str, track_timer: Duration, keep_answers: Duration) -> RedisResult<Self> {
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_number_of_retries(1)
            .set_concurrency_limit(IN_FLIGHT);
        let manager = ConnectionManager::new_lazy_with_config(Client::open(url)?, config)?;
        Ok(Self { manager, replace: Script::new(REPLACE), track_timer, keep_answers })
    }

    pub(super) async fn shared_key(&self, own: &[u8; 32]) -> RedisResult<[u8; 32]> {
        let mut pipe = pipe();
        pipe.cmd("SET").arg(keys::PEER_KEY).arg(&own[..]).arg("NX").ignore();
        pipe.cmd("GET").arg(keys::PEER_KEY);
        let (key,): (Vec<u8>,) = self.run(&pipe).await?;
        key.try_into().map_err(|_| (redis::ErrorKind::UnexpectedReturnType, "ppsp:key:peer is no key").into())
    }

    pub(super) async fn load(&self, id: &Identifier) -> RedisResult<Option<Found>> {
        let mut pipe = pipe();
        pipe.cmd("GET").arg(keys::peer(id));
        let (bytes,): (Option<Vec<u8>>,) = self.run(&pipe).await?;
        Ok(bytes.and_then(read))
    }

    /// Writes a record, or deletes it, if it still is what it was. Any request resets the track timer (RFC 7846 §2.3.1).
    pub(super) async fn replace(
        &self,
        id: &Identifier,
        before: Option<&[u8]>,
        after: Option<&Registration<String>>,
    ) -> RedisResult<bool> {
        let after = after.map(Registration::to_bytes).unwrap_or_default();
        let life = self.track_timer.as_millis() as u64;
        let mut call = self.replace.key(keys::peer(id));
        call.arg(before.unwrap_or_default()).arg(after).arg(life);
        call.invoke_async(&mut self.manager.clone()).await
    }

    /// Brings the sets in line with a record that was changed.
    pub(super) async fn index(
        &self,
        now: Instant,
        id: &Identifier,
        before: Option<&Registration<String>>,
        after: Option<&Registration<String>>,
    ) -> RedisResult<()> {
        let mut pipe = pipe();
        let gone = places(before).into_iter().filter(|place| !places(after).contains(place));
        for place in gone {
            pipe.cmd("ZREM").arg(place).arg(id.as_bytes()).ignore();
        }
        for place in places(after) {
            self.add(&mut pipe, &place, now, id.as_bytes());
        }
        for membership in after.iter().flat_map(|peer| &peer.memberships) {
            self.add(&mut pipe, keys::SWARMS, now, keys::swarm(&membership.swarm).as_bytes());
        }
        self.run(&pipe).await
    }

    /// Scores are microseconds of the Unix time, which a double holds for another 250 years; nodes have to agree on it within some
    /// seconds.
    fn add(&self, pipe: &mut Pipeline, set: &str, now: Instant, member: &[u8]) {
        pipe.cmd("ZADD").arg(set).arg(now.as_micros()).arg(member).ignore();
        pipe.cmd("PEXPIRE").arg(set).arg(2 * self.track_timer.as_millis() as u64).ignore();
    }

    /// The peers of a session and when they were last heard, the one that was silent for longest first.
    pub(super) async fn of_session(&self, session: u128, now: Instant) -> RedisResult<Vec<(Identifier, Instant)>> {
        let mut pipe = pipe();
        let set = keys::session(session);
        self.trim(&mut pipe, &set, now);
        pipe.cmd("ZRANGE").arg(set).arg(0).arg(-1).arg("WITHSCORES");
        let (found,): (Vec<(Vec<u8>, u64)>,) = self.run(&pipe).await?;
        let read = |(id, micros): (Vec<u8>, u64)| Some((identifier(id)?, Instant::from_micros(micros)));
        Ok(found.into_iter().filter_map(read).collect())
    }

    /// All peers, and those of an address.
    pub(super) async fn count_peers(&self, remote: IpAddr, now: Instant) -> RedisResult<(usize, usize)> {
        let mut pipe = pipe();
        for set in [keys::PEERS, &keys::address(remote)] {
            self.trim(&mut pipe, set, now);
            pipe.cmd("ZCARD").arg(set);
        }
        self.run(&pipe).await
    }

    /// All swarms once these are among them.
    pub(super) async fn swarms_with(&self, joined: &[&str], now: Instant) -> RedisResult<usize> {
        let mut pipe = pipe();
        self.trim(&mut pipe, keys::SWARMS, now);
        pipe.cmd("ZCARD").arg(keys::SWARMS);
        for swarm in joined {
            pipe.cmd("ZSCORE").arg(keys::SWARMS).arg(keys::swarm(swarm));
        }
        let found: Vec<Option<f64>> = self.run(&pipe).await?;
        let all = found.first().copied().flatten().unwrap_or(0.0) as usize;
        Ok(all + found.iter().skip(1).filter(|score| score.is_none()).count())
    }

    pub(super) async fn population(&self, now: Instant) -> RedisResult<(usize, usize)> {
        let mut pipe = pipe();
        for set in [keys::PEERS, keys::SWARMS] {
            self.trim(&mut pipe, set, now);
            pipe.cmd("ZCARD").arg(set);
        }
        self.run(&pipe).await
    }

    pub(super) async fn count_giving(&self, swarm: &str, now: Instant) -> RedisResult<usize> {
        let mut pipe = pipe();
        self.trim(&mut pipe, &keys::giving(swarm), now);
        pipe.cmd("ZCARD").arg(keys::giving(swarm));
        let (count,): (usize,) = self.run(&pipe).await?;
        Ok(count)
    }

    /// Members by chance, each once.
    pub(super) async fn sample(
        &self,
        swarm: &str,
        mode: PeerMode,
        count: usize,
        now: Instant,
    ) -> RedisResult<Vec<(Identifier, Registration<String>)>> {
        let (set, mut draw) = (keys::members(swarm, mode), pipe());
        self.trim(&mut draw, &set, now);
        draw.cmd("ZRANDMEMBER").arg(&set).arg(count);
        let (ids,): (Vec<Vec<u8>>,) = self.run(&draw).await?;
        let ids: Vec<Identifier> = ids.into_iter().filter_map(identifier).collect();
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let mut get = pipe();
        ids.iter().for_each(|id| _ = get.cmd("GET").arg(keys::peer(id)));
        let records: Vec<Option<Vec<u8>>> = self.run(&get).await?;
        let (mut found, mut stale) = (Vec::with_capacity(ids.len()), pipe());
        for (id, bytes) in ids.into_iter().zip(records) {
            let peer = bytes.and_then(read).map(|found| found.peer);
            let is_member =
                |peer: &Registration<String>| peer.memberships.iter().any(|one| one.swarm == swarm && one.mode == mode);
            match peer.filter(is_member) {
                Some(peer) => found.push((id, peer)),
                None => _ = stale.cmd("ZREM").arg(&set).arg(id.as_bytes()).ignore(),
            }
        }
        if stale.cmd_iter().next().is_some() {
            self.run::<()>(&stale).await?;
        }
        Ok(found)
    }

    /// Adds to what was sent and received in a swarm; returns the totals.
    pub(super) async fn add_bytes(&self, swarm: &str, sent: u64, received: u64) -> RedisResult<(u64, u64)> {
        let most = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX) / 1024;
        let (key, mut pipe) = (keys::bytes(swarm), pipe());
        // In KiB: so much fits that no liar makes it overflow.
        pipe.cmd("HINCRBY").arg(&key).arg("sent").arg(most(sent));
        pipe.cmd("HINCRBY").arg(&key).arg("received").arg(most(received));
        pipe.cmd("PEXPIRE").arg(&key).arg(TOTALS_KEPT.as_millis() as u64).ignore();
        let (sent, received): (u64, u64) = self.run(&pipe).await?;
        Ok((sent.saturating_mul(1024), received.saturating_mul(1024)))
    }

    /// What was answered to this request, if it was.
    pub(super) async fn answer(&self, key: &str, body: &[u8]) -> RedisResult<Answer> {
        let mut pipe = pipe();
        pipe.cmd("GET").arg(key);
        let (kept,): (Option<Vec<u8>>,) = self.run(&pipe).await?;
        let Some((digest, rest)) = kept.as_ref().and_then(|kept| kept.split_at_checked(32)) else {
            return Ok(Answer::New);
        };
        let Some((code, answer)) = rest.split_first() else { return Ok(Answer::New) };
        let same = digest == &Sha256::digest(body)[..];
        Ok(if same { Answer::Repeated(Code(*code), answer.to_vec()) } else { Answer::Reused })
    }

    pub(super) async fn remember(&self, key: &str, body: &[u8], code: Code, answer: &[u8]) -> RedisResult<()> {
        let kept = [&Sha256::digest(body)[..], &[code.0], answer].concat();
        let mut pipe = pipe();
        pipe.cmd("SET").arg(key).arg(kept).arg("PX").arg(self.keep_answers.as_millis() as u64).ignore();
        self.run(&pipe).await
    }

    /// Takes out who was silent for too long; a little later than the record is gone, which is what counts.
    fn trim(&self, pipe: &mut Pipeline, set: &str, now: Instant) {
        let last = now.as_micros().saturating_sub((self.track_timer + MARGIN).as_micros() as u64);
        pipe.cmd("ZREMRANGEBYSCORE").arg(set).arg("-inf").arg(last).ignore();
    }

    async fn run<T: redis::FromRedisValue>(&self, pipe: &Pipeline) -> RedisResult<T> {
        pipe.query_async(&mut self.manager.clone()).await
    }
}

/// The sets that a peer stands in.
fn places(peer: Option<&Registration<String>>) -> Vec<String> {
    let Some(peer) = peer else { return Vec::new() };
    let mut places = vec![keys::PEERS.to_owned(), keys::session(peer.principal.session), keys::address(peer.remote)];
    for one in &peer.memberships {
        places.push(keys::members(&one.swarm, one.mode));
        if one.mode == PeerMode::Leech && one.has_content() {
            places.push(keys::giving(&one.swarm));
        }
    }
    places
}

fn read(bytes: Vec<u8>) -> Option<Found> {
    Registration::from_bytes(&bytes).map(|peer| Found { bytes, peer })
}

fn identifier(bytes: Vec<u8>) -> Option<Identifier> {
    bytes.try_into().ok().map(Identifier::from_bytes)
}

/// Touches one key alone, as a cluster wants it.
const REPLACE: &str = "
    if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
    if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
    return 1";

/// Between the clocks of nodes and Redis, and for a request under way.
const MARGIN: Duration = Duration::from_secs(1);
/// For one answer of Redis.
const PATIENCE: Duration = Duration::from_secs(2);
/// Commands under way at a time; more wait, and with them those who ask.
const IN_FLIGHT: usize = 1024;
/// How long the totals of a swarm are kept after its last report.
const TOTALS_KEPT: Duration = Duration::from_secs(24 * 3600);
