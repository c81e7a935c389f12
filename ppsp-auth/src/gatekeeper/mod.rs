//! A tracker's decision about bearer tokens: checked by the Portal's public keys, confirmed by the Portal every few seconds,
//! and by the keys alone while the Portal is away.
//!
//! Owned here: what is known of each token, which questions to the Portal are under way, in which catalogue groups swarms
//! are, and which sessions must be asked about again. Not here: how the Portal is reached, and what a membership is.
//!
//! # Calling contract
//!
//! [`ask`](Gatekeeper::ask) for each request. [`Decision::Ask`] names a question: send
//! [`question`](Gatekeeper::question) to the Portal, give what comes back to [`answer`](Gatekeeper::answer), or say
//! [`portal_away`](Gatekeeper::portal_away); then all that wait for it ask again. [`Decision::Wait`] names a question that
//! another request has asked. Tell of memberships by [`watch`](Gatekeeper::watch) and [`unwatch`](Gatekeeper::unwatch),
//! and at [`poll_timeout`](Gatekeeper::poll_timeout) pull [`poll_question`](Gatekeeper::poll_question) and
//! [`poll_ended`](Gatekeeper::poll_ended) until they have nothing: so a client that was banned loses its memberships within
//! the time of the cache, however silent it is.
//!
//! ```
//! use ppsp_auth::{gatekeeper::{Decision, Gatekeeper}, grant::Action, introspection::Introspection, token::TokenText};
//! use ppsp_core::Instant;
//!
//! /// A request that shows a token and wants to join a swarm. Where it waits, others go on.
//! fn serve(gatekeeper: &mut Gatekeeper, now: Instant, token: &TokenText, swarm: &str) -> bool {
//!     loop {
//!         match gatekeeper.ask(now, token, &[swarm]) {
//!             Decision::Allowed(access) => return access.may(swarm, Action::Leech).is_ok(),
//!             Decision::Refused(_) => return false,
//!             Decision::Ask(id) => {
//!                 let Some(question) = gatekeeper.question(id) else { continue };
//!                 match post_to_portal(&question.write().finish()) {
//!                     Some(body) => match Introspection::read(body.as_bytes()) {
//!                         Ok(answer) => gatekeeper.answer(now, id, &answer),
//!                         Err(_) => gatekeeper.portal_away(now, id),
//!                     },
//!                     None => gatekeeper.portal_away(now, id),
//!                 }
//!             }
//!             Decision::Wait(id) => wait_for(id),
//!         }
//!     }
//! }
//! # fn post_to_portal(_: &str) -> Option<String> { None }
//! # fn wait_for(_: ppsp_auth::gatekeeper::QuestionId) {}
//! ```
//!
//! # The clock
//!
//! Inside time is monotonic. The Unix time that tokens need is set at construction and goes on with the monotonic clock;
//! [`set_clock`](Gatekeeper::set_clock) corrects it. Give it the `Date` of the Portal's answers: then the Portal's clock
//! counts, and a tracker whose own clock is off by minutes refuses nobody for long. Until the first answer the clocks may
//! differ by [`Expectation::leeway`].

mod groups;
#[cfg(test)]
mod tests;

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    string::String,
    sync::Arc,
    vec::Vec,
};
use core::time::Duration;

use hashbrown::HashMap;
use ppsp_core::{Identifier, Instant};
use sha2::{Digest as _, Sha256};

use self::groups::Groups;
use crate::{
    grant::{Action, Refusal},
    introspection::{Introspection, IntrospectionRequest, MAX_SWARMS},
    token::{Claims, Expectation, KeySet, Role, TokenError, TokenText},
};

/// How a [`Gatekeeper`] decides, and its limits.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GatekeeperConfig {
    /// What tokens must be.
    pub expectation: Expectation,
    /// How long the Portal's yes counts.
    pub positive: Duration,
    /// How long the Portal's no counts before it is asked again. A no is not forgotten after that: it is only asked
    /// whether it still holds, and while the Portal is away it does.
    pub negative: Duration,
    /// How long the catalogue groups of a swarm count.
    pub groups: Duration,
    /// How long an answer is waited for; then the Portal counts as away.
    pub patience: Duration,
    /// How long the Portal is not asked after it was away. Then one question goes out; the others follow its answer.
    pub retry: Duration,
    /// The most tokens known at a time. At the limit new ones are refused ([`Denial::Busy`]) until old ones expire.
    pub max_tokens: usize,
    /// The most questions under way. At the limit tokens that would need one are refused ([`Denial::Busy`]).
    pub max_questions: usize,
    /// The most swarms whose groups are remembered. At the limit those are forgotten that were learned first.
    pub max_swarms: usize,
}

impl GatekeeperConfig {
    /// Tokens of one session that are known at a time. At the limit new ones are refused ([`Denial::Busy`]).
    pub const MAX_SESSION_TOKENS: usize = 32;

    /// A yes counts for 10 s, a no for 5 s, groups for a minute; 5 s of patience, 2 s until the next try; 50 000 tokens,
    /// 1000 questions, 65 536 swarms.
    pub fn new(expectation: Expectation) -> Self {
        Self {
            expectation,
            positive: Duration::from_secs(10),
            negative: Duration::from_secs(5),
            groups: Duration::from_secs(60),
            patience: Duration::from_secs(5),
            retry: Duration::from_secs(2),
            max_tokens: 50_000,
            max_questions: 1000,
            max_swarms: 1 << 16,
        }
    }
}

/// A question to the Portal.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct QuestionId(u64);

/// What becomes of a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// The token counts; each swarm is still to be looked at with [`Access::may`].
    Allowed(Access),
    /// The request is refused.
    Refused(Denial),
    /// This question has to be sent to the Portal; then ask again.
    Ask(QuestionId),
    /// This question is under way; after its answer ask again.
    Wait(QuestionId),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Denial {
    /// The token itself is not sound.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The Portal says that the token does not count: it was revoked, or its user banned.
    #[error("the token was revoked")]
    Revoked,
    /// A limit was reached; later again.
    #[error("too many tokens or questions are under way; try again later")]
    Busy,
}

/// A token that counts: who shows it, and what it grants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Access {
    claims: Arc<Claims>,
    groups: Vec<(String, Arc<[String]>)>,
    unix_now: u64,
}

impl Access {
    /// Whose token it is.
    pub fn client(&self) -> Identifier {
        self.claims.client
    }

    /// The session it belongs to.
    pub fn session(&self) -> u128 {
        self.claims.session
    }

    /// What its user is to the Portal.
    pub fn role(&self) -> Role {
        self.claims.role
    }

    /// Whether a swarm may be joined in this mode now; one of the swarms that were named when it was asked.
    ///
    /// # Errors
    /// See [`Refusal`]. A swarm whose groups are not known is in none.
    pub fn may(&self, swarm: &str, action: Action) -> Result<(), Refusal> {
        let groups = self.groups.iter().find(|(name, _)| name == swarm).map_or(&[][..], |(_, groups)| groups);
        self.claims.grants.allows(swarm, groups, action, self.unix_now)
    }
}

/// The machine. See the [module](self) for how it is called.
#[derive(Debug)]
pub struct Gatekeeper {
    config: GatekeeperConfig,
    keys: KeySet,
    /// A token named a key that is not there.
    key_missing: bool,
    /// Unix microseconds at a moment.
    clock: (Instant, u64),
    tokens: HashMap<TokenHash, Known>,
    by_expiry: BTreeSet<(u64, TokenHash)>,
    sessions: HashMap<u128, Session>,
    /// When watched sessions have to be asked about.
    due: BTreeSet<(Instant, u128)>,
    ended: VecDeque<u128>,
    /// Oldest first.
    questions: BTreeMap<QuestionId, Question>,
    next_question: u64,
    groups: Groups,
    /// The Portal did not answer last time; the next try is then.
    away: Option<Instant>,
}

/// Tokens are known by their hashes: their texts are secrets, and long.
type TokenHash = [u8; 32];

/// A token whose signature was right.
#[derive(Debug)]
struct Known {
    /// What it says, with the grants and the expiry that the Portal last named.
    claims: Arc<Claims>,
    /// When it goes, by its own expiry.
    kept_until: u64,
    verdict: Verdict,
    question: Option<QuestionId>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Verdict {
    Unasked,
    Active { until: Instant },
    Inactive { until: Instant },
}

/// The tokens of a login. The one that lives longest stands for all: it is the one that is asked about.
#[derive(Debug)]
struct Session {
    tokens: BTreeSet<(u64, TokenHash)>,
    /// The one that lives longest.
    text: TokenText,
    watched: bool,
    due: Option<Instant>,
}

#[derive(Debug)]
struct Question {
    token: TokenHash,
    request: IntrospectionRequest,
    overdue: Instant,
}

impl Gatekeeper {
    /// Knows no token yet. `unix_now` is in seconds.
    pub fn new(config: GatekeeperConfig, keys: KeySet, now: Instant, unix_now: u64) -> Self {
        Self {
            groups: Groups::new(config.max_swarms),
            config,
            keys,
            key_missing: false,
            clock: (now, unix_now.saturating_mul(1_000_000)),
            tokens: HashMap::new(),
            by_expiry: BTreeSet::new(),
            sessions: HashMap::new(),
            due: BTreeSet::new(),
            ended: VecDeque::new(),
            questions: BTreeMap::new(),
            next_question: 0,
            away: None,
        }
    }

    /// Decides about a request that shows this token and names these swarms.
    pub fn ask(&mut self, now: Instant, token: &TokenText, swarms: &[&str]) -> Decision {
        self.advance(now);
        match self.decide(now, token, swarms) {
            Ok(decision) => decision,
            Err(denial) => Decision::Refused(denial),
        }
    }

    /// The Portal's answer to a question. A question that is not under way is ignored.
    pub fn answer(&mut self, now: Instant, id: QuestionId, answer: &Introspection) {
        let Some(question) = self.questions.remove(&id) else { return };
        self.away = None;
        let Some(known) = self.tokens.get_mut(&question.token) else { return };
        known.question = None;
        let session = known.claims.session;
        match answer {
            Introspection::Active(active)
                if active.claims.session == session && active.claims.client == known.claims.client =>
            {
                self.groups.learn(now, &question.request.swarms, &active.swarm_groups);
                known.claims = Arc::new(active.claims.clone());
                known.verdict = Verdict::Active { until: now + self.config.positive };
                // Before the yes runs out: requests of a session that is watched need not wait for the next one.
                self.schedule(session, now + self.config.positive * 3 / 4);
            }
            _ => {
                known.verdict = Verdict::Inactive { until: now + self.config.negative };
                // That an older token counts no more says nothing about the session.
                let newest = self.sessions.get(&session).and_then(Session::newest);
                if newest == Some(question.token) {
                    self.end(session);
                }
            }
        }
    }

    /// The Portal did not answer this question. Until it answers one, tokens are served by what is known of them: not
    /// beyond their expiry, and never those that it called invalid.
    pub fn portal_away(&mut self, now: Instant, id: QuestionId) {
        let Some(question) = self.questions.remove(&id) else { return };
        self.away = Some(now + self.config.retry);
        let Some(known) = self.tokens.get_mut(&question.token) else { return };
        known.question = None;
        let session = known.claims.session;
        self.schedule(session, now + self.config.retry);
    }

    /// A session has a membership: it is asked about again and again, until [`unwatch`](Self::unwatch) or its end.
    pub fn watch(&mut self, now: Instant, session: u128) {
        self.advance(now);
        let Some(found) = self.sessions.get_mut(&session) else {
            // It ended between the decision and this call.
            self.ended.push_back(session);
            return;
        };
        if found.watched {
            return;
        }
        match found.newest().and_then(|token| self.tokens.get(&token)).map(|known| known.verdict) {
            Some(Verdict::Inactive { .. }) => self.ended.push_back(session),
            Some(Verdict::Active { until }) => {
                found.watched = true;
                let left = until.saturating_since(now).saturating_sub(self.config.positive / 4);
                self.schedule(session, now + left);
            }
            Some(Verdict::Unasked) | None => {
                found.watched = true;
                self.schedule(session, now);
            }
        }
    }

    /// The last membership of a session has ended.
    pub fn unwatch(&mut self, session: u128) {
        if let Some(watched) = self.sessions.get_mut(&session) {
            watched.watched = false;
            if let Some(at) = watched.due.take() {
                self.due.remove(&(at, session));
            }
        }
    }

    /// New public keys of the Portal. Tokens that are known stay known.
    pub fn set_keys(&mut self, keys: KeySet) {
        self.keys = keys;
        self.key_missing = false;
    }

    /// Corrects the clock: it is this Unix second now.
    pub fn set_clock(&mut self, now: Instant, unix_now: u64) {
        self.clock = (now, unix_now.saturating_mul(1_000_000));
    }

    /// The next question for a session that is watched, if one is due. It is to be sent as that of [`Decision::Ask`].
    pub fn poll_question(&mut self, now: Instant) -> Option<QuestionId> {
        self.advance(now);
        while let Some(&(at, session)) = self.due.first()
            && at <= now
        {
            self.due.pop_first();
            let Some(watched) = self.sessions.get_mut(&session) else { continue };
            watched.due = None;
            let (token, text) = (watched.newest(), watched.text.clone());
            let Some(token) = token else { continue };
            let under_way = self.tokens.get(&token).is_none_or(|known| known.question.is_some());
            if under_way || self.offline(now) || self.questions.len() >= self.config.max_questions {
                self.schedule(session, now + self.config.retry.max(Duration::from_millis(1)));
                continue;
            }
            return Some(self.question_about(now, token, text, Vec::new()));
        }
        None
    }

    /// The next session that is over: the Portal said so, or its last token expired. Its memberships must end; it is no
    /// longer watched.
    pub fn poll_ended(&mut self, now: Instant) -> Option<u128> {
        self.advance(now);
        self.ended.pop_front()
    }

    /// When to poll. Not later than the last call's `now` while something waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.ended.is_empty() {
            return Some(Instant::default());
        }
        let due = self.due.first().map(|(at, _)| *at);
        let overdue = self.questions.values().next().map(|question| question.overdue);
        let expiry = self.by_expiry.first().map(|(until, _)| {
            let after = until.saturating_mul(1_000_000).saturating_sub(self.clock.1);
            self.clock.0 + Duration::from_micros(after)
        });
        [due, overdue, expiry].into_iter().flatten().min()
    }

    /// What to send to the Portal. `None` where the question is not under way.
    pub fn question(&self, id: QuestionId) -> Option<&IntrospectionRequest> {
        self.questions.get(&id).map(|question| &question.request)
    }

    /// Whether a token named a key that is not known since the keys were set. They may be old: fetch them again, not more
    /// often than every minute, since anybody can make such tokens.
    pub fn key_missing(&self) -> bool {
        self.key_missing
    }

    /// How many tokens are known.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether no token is known.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Whether the Portal counts as away.
    pub fn is_portal_away(&self) -> bool {
        self.away.is_some()
    }

    fn decide(&mut self, now: Instant, token: &TokenText, swarms: &[&str]) -> Result<Decision, Denial> {
        let unix_now = self.unix(now);
        let hash: TokenHash = Sha256::digest(token.as_str()).into();
        if !self.tokens.contains_key(&hash) {
            self.admit(hash, token, unix_now)?;
        }
        let Some(known) = self.tokens.get(&hash) else { return Err(Denial::Busy) };
        self.config.expectation.check_time(&known.claims, unix_now)?;

        let offline = self.offline(now);
        let grants = &known.claims.grants;
        let depends = || swarms.iter().filter(|swarm| grants.depends_on_groups(swarm));
        let oldest = self.config.groups;
        let stale: Vec<String> = depends()
            .filter(|swarm| !self.groups.is_fresh(now, swarm, oldest))
            .take(MAX_SWARMS)
            .map(|&swarm| swarm.into())
            .collect();
        match known.verdict {
            // What is known to be revoked stays so while nobody can be asked.
            Verdict::Inactive { until } if now < until || offline => return Err(Denial::Revoked),
            Verdict::Active { until } if now < until && stale.is_empty() => {}
            Verdict::Active { .. } | Verdict::Unasked if offline => {}
            _ => {
                if let Some(id) = known.question {
                    return Ok(Decision::Wait(id));
                }
                if self.questions.len() >= self.config.max_questions {
                    return Err(Denial::Busy);
                }
                return Ok(Decision::Ask(self.question_about(now, hash, token.clone(), stale)));
            }
        }
        let groups = depends().filter_map(|&swarm| Some((swarm.into(), self.groups.of(swarm)?))).collect();
        Ok(Decision::Allowed(Access { claims: known.claims.clone(), groups, unix_now }))
    }

    /// Checks a token that is not known, and remembers it.
    fn admit(&mut self, hash: TokenHash, token: &TokenText, unix_now: u64) -> Result<(), Denial> {
        let checked = self.config.expectation.check(&self.keys, token.as_str(), unix_now);
        self.key_missing |= checked == Err(TokenError::UnknownKey);
        let claims = checked?.into_claims();
        let id = claims.session;
        let held = self.sessions.get(&id).map_or(0, |session| session.tokens.len());
        if self.tokens.len() >= self.config.max_tokens || held >= GatekeeperConfig::MAX_SESSION_TOKENS {
            return Err(Denial::Busy);
        }
        let kept_until = claims.expires.saturating_add(self.config.expectation.leeway);
        let session = self.sessions.entry(id).or_insert_with(|| Session {
            tokens: BTreeSet::new(),
            text: token.clone(),
            watched: false,
            due: None,
        });
        session.tokens.insert((kept_until, hash));
        if session.newest() == Some(hash) {
            session.text = token.clone();
        }
        self.by_expiry.insert((kept_until, hash));
        let claims = Arc::new(claims);
        self.tokens.insert(hash, Known { claims, kept_until, verdict: Verdict::Unasked, question: None });
        Ok(())
    }

    /// What happens by itself as time goes on.
    fn advance(&mut self, now: Instant) {
        while let Some((&id, question)) = self.questions.first_key_value()
            && question.overdue <= now
        {
            self.portal_away(now, id);
        }
        let unix_now = self.unix(now);
        while let Some(&(until, hash)) = self.by_expiry.first()
            && until <= unix_now
        {
            self.by_expiry.pop_first();
            let Some(known) = self.tokens.remove(&hash) else { continue };
            let id = known.claims.session;
            let Some(session) = self.sessions.get_mut(&id) else { continue };
            session.tokens.remove(&(known.kept_until, hash));
            if session.tokens.is_empty() {
                self.end(id);
                self.sessions.remove(&id);
            }
        }
    }

    /// A session is over: its memberships, if it has some, must end.
    fn end(&mut self, session: u128) {
        if self.sessions.get(&session).is_some_and(|session| session.watched) {
            self.unwatch(session);
            self.ended.push_back(session);
        }
    }

    /// When a session is to be asked about, if it is watched.
    fn schedule(&mut self, id: u128, at: Instant) {
        let Some(session) = self.sessions.get_mut(&id).filter(|session| session.watched) else { return };
        if let Some(before) = session.due.replace(at) {
            self.due.remove(&(before, id));
        }
        self.due.insert((at, id));
    }

    fn question_about(&mut self, now: Instant, hash: TokenHash, token: TokenText, swarms: Vec<String>) -> QuestionId {
        let id = QuestionId(self.next_question);
        self.next_question += 1;
        let request = IntrospectionRequest { token, swarms };
        self.questions.insert(id, Question { token: hash, request, overdue: now + self.config.patience });
        if let Some(known) = self.tokens.get_mut(&hash) {
            known.question = Some(id);
        }
        id
    }

    /// Whether no question may be asked because the Portal is away: one at a time tries whether it is back.
    fn offline(&self, now: Instant) -> bool {
        self.away.is_some_and(|retry| now < retry || !self.questions.is_empty())
    }

    fn unix(&self, now: Instant) -> u64 {
        let (at, unix) = self.clock;
        let micros = unix.saturating_add(now.saturating_since(at).as_micros().try_into().unwrap_or(u64::MAX));
        micros / 1_000_000
    }
}

impl Session {
    fn newest(&self) -> Option<TokenHash> {
        self.tokens.last().map(|(_, hash)| *hash)
    }
}
