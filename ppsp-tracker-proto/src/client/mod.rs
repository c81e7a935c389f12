//! A peer's side of the tracker protocol: it registers, stays registered, asks for peers and leaves.

#[cfg(test)]
mod tests;
mod tiers;

use alloc::{
    borrow::Cow,
    collections::VecDeque,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{net::SocketAddr, time::Duration};

use ppsp_core::{Identifier, Instant};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use rand_core::Rng;
use tiers::Tiers;

use crate::message::{
    Action, Code, Connect, Find, MAX_PEERS, PeerAddr, PeerMode, Request, RequestData, Response, Stat, StatReport,
    SwarmAction,
};

/// How a client of trackers behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientConfig {
    /// Between two STAT_REPORTs. Must be well below the track timer of trackers, which RFC 7846 does not name; ours is 90 s.
    pub report_every: Duration,
    /// Between two FINDs for a swarm, at least.
    pub find_every: Duration,
    /// How long an answer may take.
    pub patience: Duration,
    /// How often a request is sent to one tracker before the next is asked.
    pub attempts: u32,
    /// The first pause before a request is repeated; each further one is twice as long, give or take a quarter.
    pub first_pause: Duration,
    /// The longest pause.
    pub longest_pause: Duration,
    /// When a better tier is tried again.
    pub look_up_every: Duration,
    /// How long leaving may take in all.
    pub leave_within: Duration,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            report_every: Duration::from_secs(30),
            find_every: Duration::from_secs(15),
            patience: Duration::from_secs(20),
            attempts: 2,
            first_pause: Duration::from_secs(1),
            longest_pause: Duration::from_secs(60),
            look_up_every: Duration::from_secs(600),
            leave_within: Duration::from_secs(10),
        }
    }
}

/// What a peer takes part in: one registration (RFC 7846 Table 6 allows a LEECH one swarm, a SEEDER several).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participation {
    /// How.
    pub mode: PeerMode,
    /// Identifiers of the swarms.
    pub swarms: Vec<String>,
    /// Where the peer can be reached.
    pub addrs: Vec<PeerAddr<'static>>,
}

/// What a peer did in a swarm so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Bytes sent.
    pub uploaded: u64,
    /// Bytes received.
    pub downloaded: u64,
    /// Kbit/s that could be sent in addition; 0 where that is not known.
    pub bandwidth: u64,
    /// Peers.
    pub links: u64,
}

/// A request that is to be sent: POST, with [`MEDIA_TYPE`](crate::message::MEDIA_TYPE).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Names it for the answer.
    pub id: u64,
    /// The tracker's URL.
    pub tracker: String,
    /// The body.
    pub body: Vec<u8>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientEvent {
    /// A tracker took the registration.
    Registered {
        /// Its URL.
        tracker: String,
        /// The peer identifier that it assigned.
        peer_id: String,
        /// Where it sees us.
        reflexive: Option<SocketAddr>,
    },
    /// Peers of a swarm. The addresses of one peer stand together, the best first.
    Peers {
        /// The swarm.
        swarm: String,
        /// Their addresses.
        peers: Vec<Vec<SocketAddr>>,
    },
    /// The tracker wants proof of who we are, or better proof: [`TrackerClient::authorized`] goes on.
    Unauthorized {
        /// Its URL.
        tracker: String,
    },
    /// A tracker did not help; others are asked, and it again later.
    Failed {
        /// Its URL.
        tracker: String,
        /// Why.
        why: Failure,
    },
    /// The registration has ended, as was wished.
    Left,
}

/// Why a tracker did not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Failure {
    /// No answer, or none that can be read.
    Unreachable,
    /// It answered with this code: 01 and 02 mean that it will never help, 03 that it refuses us, 04 and 05 that it cannot now.
    Refused(Code),
}

/// A peer's client of its trackers: one registration, kept at one tracker of several.
///
/// Sans-IO. The caller sends what [`poll_request`](Self::poll_request) gives, as HTTP POST with credentials of its own, hands the
/// answer in, and sleeps until [`poll_timeout`](Self::poll_timeout). One request is under way at a time.
///
/// RFC 7846 §4.3: a request without a valid response is repeated with identical content, the `transaction_id` too: first at the
/// same tracker, then at the others, tier by tier. A tracker that does not know us (03 after a restart, or because our address
/// changed) gets a new CONNECT.
#[derive(Debug)]
pub struct TrackerClient {
    config: ClientConfig,
    random: ChaCha8Rng,
    client: Identifier,
    participation: Participation,
    counters: Vec<Counters>,
    tiers: Tiers,
    state: State,
    pending: Option<Pending>,
    next_id: u64,
    transactions: u64,
    prefix: u32,
    next_report: Instant,
    next_look_up: Instant,
    /// For each swarm: is it wished to find peers, and from when on that is allowed.
    finds: Vec<(bool, Instant)>,
    /// To leave as soon as the CONNECT under way is answered.
    leaves: bool,
    /// When leaving is over in any case.
    leave_by: Option<Instant>,
    events: VecDeque<ClientEvent>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Not registered, and wants to be.
    Out,
    /// Registered under this identifier.
    In(String),
    /// Wants to be out; the identifier to leave under.
    Leaving(String),
    /// Out for good.
    Left,
}

#[derive(Clone, Debug)]
struct Pending {
    id: u64,
    kind: Kind,
    body: Vec<u8>,
    /// How often it was sent to this tracker.
    attempts: u32,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Connect,
    Find(usize),
    Report,
    Leave,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// To be sent from then on.
    Due(Instant),
    /// Sent; given up then.
    Sent(Instant),
    /// Waits for credentials.
    Unauthorized,
}

impl TrackerClient {
    /// A client that registers at once. `client` is the client identifier; trackers of a tier are asked in an order drawn from
    /// the seed.
    pub fn new(
        config: ClientConfig,
        seed: [u8; 32],
        now: Instant,
        client: Identifier,
        participation: Participation,
        tiers: Vec<Vec<String>>,
    ) -> Self {
        let mut random = ChaCha8Rng::from_seed(seed);
        let tiers = Tiers::new(tiers, &mut random);
        let swarms = participation.swarms.len();
        Self {
            config,
            client,
            counters: alloc::vec![Counters::default(); swarms],
            finds: alloc::vec![(false, now); swarms],
            participation,
            tiers,
            state: State::Out,
            pending: None,
            next_id: 0,
            transactions: 0,
            prefix: random.next_u32(),
            next_report: now,
            next_look_up: now + config.look_up_every,
            leaves: false,
            leave_by: None,
            events: VecDeque::new(),
            random,
        }
    }

    /// What the peer did in a swarm so far; goes out with the next report.
    pub fn count(&mut self, swarm: &str, counters: Counters) {
        if let Some(at) = self.participation.swarms.iter().position(|known| known == swarm) {
            self.counters[at] = counters;
        }
    }

    /// Peers run short in a swarm: FIND, as soon as that is allowed again.
    pub fn find(&mut self, swarm: &str) {
        if let Some(at) = self.participation.swarms.iter().position(|known| known == swarm) {
            self.finds[at].0 = true;
        }
    }

    /// Where the peer can be reached from now on; a tracker hears of it with the next registration.
    pub fn set_addrs(&mut self, addrs: Vec<PeerAddr<'static>>) {
        self.participation.addrs = addrs;
    }

    /// There are new credentials: what was refused without them goes out again, at once the first time.
    pub fn authorized(&mut self, now: Instant) {
        let Some(mut pending) = self.pending.take_if(|pending| pending.phase == Phase::Unauthorized) else { return };
        let pause = if pending.attempts <= 1 { Duration::ZERO } else { self.pause(pending.attempts) };
        pending.phase = Phase::Due(now + pause);
        self.pending = Some(pending);
    }

    /// Ends the registration: LEAVE, said to the tracker as far as it answers, and
    /// [`leave_within`](ClientConfig::leave_within) at most. [`ClientEvent::Left`] follows in any case.
    pub fn leave(&mut self) {
        let connects = self
            .pending
            .as_ref()
            .is_some_and(|pending| pending.kind == Kind::Connect && matches!(pending.phase, Phase::Sent(_)));
        match core::mem::replace(&mut self.state, State::Left) {
            State::In(id) if !self.tiers.is_empty() => {
                self.pending = None;
                self.tiers.go_home();
                self.state = State::Leaving(id);
            }
            // The tracker may have registered us already.
            State::Out if connects => {
                self.leaves = true;
                self.state = State::Out;
            }
            State::In(_) | State::Out => self.left(),
            other => self.state = other,
        }
    }

    /// The answer to a request, whatever its HTTP status. `retry_after` is what that header says.
    pub fn handle_response(&mut self, now: Instant, id: u64, retry_after: Option<Duration>, body: &[u8]) {
        let Some(pending) = self.pending.take_if(|pending| pending.id == id && matches!(pending.phase, Phase::Sent(_)))
        else {
            return;
        };
        let own = Request::read(&pending.body).map(|request| request.transaction_id.into_owned()).unwrap_or_default();
        let response = match Response::read(body) {
            // An error may come from one that could not read the transaction.
            Ok(response) if response.transaction_id == own || response.code != Code::OK => response,
            _ => return self.failed(now, pending, None, Failure::Unreachable),
        };
        match response.code {
            Code::OK => self.succeeded(now, &pending, &response),
            // Credentials that are refused again and again are as good as none.
            Code::AUTHENTICATION_REQUIRED if pending.attempts > self.config.attempts => {
                self.give_up(now, pending, retry_after, Failure::Refused(response.code), false);
            }
            Code::AUTHENTICATION_REQUIRED => {
                let tracker = self.tiers.current().to_string();
                self.pending = Some(Pending { phase: Phase::Unauthorized, ..pending });
                self.event(ClientEvent::Unauthorized { tracker });
            }
            // It does not know us, or not any more, or from another address: a new registration.
            Code::FORBIDDEN if matches!(pending.kind, Kind::Find(_) | Kind::Report) => self.state = State::Out,
            code @ (Code::BAD_REQUEST | Code::UNSUPPORTED_VERSION) => {
                self.give_up(now, pending, None, Failure::Refused(code), true);
            }
            Code::FORBIDDEN => self.give_up(now, pending, None, Failure::Refused(Code::FORBIDDEN), false),
            code => self.failed(now, pending, retry_after, Failure::Refused(code)),
        }
    }

    /// There is no answer, and none will come.
    pub fn handle_failure(&mut self, now: Instant, id: u64) {
        if let Some(pending) =
            self.pending.take_if(|pending| pending.id == id && matches!(pending.phase, Phase::Sent(_)))
        {
            self.failed(now, pending, None, Failure::Unreachable);
        }
    }

    /// What is due by time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.leave_by.is_some_and(|by| by <= now) {
            return self.left();
        }
        let late = |pending: &mut Pending| matches!(pending.phase, Phase::Sent(until) if until <= now);
        if let Some(pending) = self.pending.take_if(late) {
            self.failed(now, pending, None, Failure::Unreachable);
        }
    }

    /// The next request to send.
    pub fn poll_request(&mut self, now: Instant) -> Option<Outgoing> {
        if matches!(self.state, State::Leaving(_)) && self.leave_by.is_none() {
            self.leave_by = Some(now + self.config.leave_within);
        }
        if self.pending.is_none() {
            let (kind, peer_id, data) = self.next_request(now)?;
            self.transactions += 1;
            let transaction_id = Cow::Owned(format!("{:08x}-{}", self.prefix, self.transactions));
            let mut body = Vec::new();
            Request { transaction_id, peer_id: Cow::Owned(peer_id), data, unknown: Default::default() }
                .write(&mut body);
            self.pending = Some(Pending { id: 0, kind, body, attempts: 0, phase: Phase::Due(now) });
        }
        let pending = self.pending.as_mut()?;
        if !matches!(pending.phase, Phase::Due(due) if due <= now) || self.tiers.is_empty() {
            return None;
        }
        self.next_id += 1;
        pending.id = self.next_id;
        pending.attempts += 1;
        pending.phase = Phase::Sent(now + self.config.patience);
        Some(Outgoing { id: pending.id, tracker: self.tiers.current().to_string(), body: pending.body.clone() })
    }

    /// What happened since.
    pub fn poll_event(&mut self) -> Option<ClientEvent> {
        self.events.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) and then [`poll_request`](Self::poll_request); at once while
    /// events wait. `None` while nothing will happen without an answer, credentials or a command.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if !self.events.is_empty() {
            return Some(Instant::default());
        }
        if self.tiers.is_empty() {
            return None;
        }
        let next = match (&self.pending, &self.state) {
            (Some(Pending { phase: Phase::Due(at) | Phase::Sent(at), .. }), _) => Some(*at),
            (Some(_), _) | (None, State::Left) => None,
            (None, State::Out | State::Leaving(_)) => Some(Instant::default()),
            (None, State::In(_)) => {
                let finds = self.finds.iter().filter(|(wished, _)| *wished).map(|(_, from)| *from);
                finds.chain([self.next_report]).min()
            }
        };
        next.into_iter().chain(self.leave_by).min()
    }

    /// The identifier that the tracker assigned, while registered.
    pub fn peer_id(&self) -> Option<&str> {
        if let State::In(id) = &self.state { Some(id) } else { None }
    }

    /// Will no tracker ever help? All of them answered that they do not understand this client.
    pub fn is_hopeless(&self) -> bool {
        self.tiers.is_empty()
    }

    /// The tracker that is asked.
    pub fn tracker(&self) -> &str {
        self.tiers.current()
    }

    fn next_request(&mut self, now: Instant) -> Option<(Kind, String, RequestData<'static>)> {
        let Participation { mode, swarms, addrs } = &self.participation;
        let connect = |action: Action, addrs: &[PeerAddr<'static>]| {
            let act = |swarm: &String| SwarmAction {
                swarm_id: Cow::Owned(swarm.clone()),
                action: action.into(),
                peer_mode: (*mode).into(),
            };
            let actions = swarms.iter().map(act).collect();
            RequestData::Connect(Connect { peer_num: None, addrs: addrs.to_vec(), actions })
        };
        match &self.state {
            State::Left => None,
            State::Out => Some((Kind::Connect, self.client.to_string(), connect(Action::Join, addrs))),
            State::Leaving(id) => Some((Kind::Leave, id.clone(), connect(Action::Leave, &[]))),
            State::In(id) => {
                let due = self.finds.iter().position(|(wished, from)| *wished && *from <= now);
                if let Some(at) = due {
                    let find = Find { swarm_id: Cow::Owned(swarms[at].clone()), peer_num: None };
                    return Some((Kind::Find(at), id.clone(), RequestData::Find(find)));
                }
                if self.next_report > now {
                    return None;
                }
                let id = id.clone();
                if self.next_look_up <= now {
                    self.next_look_up = now + self.config.look_up_every;
                    self.tiers.look_up();
                }
                let stat = |(swarm, counters): (&String, &Counters)| Stat {
                    swarm_id: Cow::Owned(swarm.clone()),
                    uploaded_bytes: counters.uploaded,
                    downloaded_bytes: counters.downloaded,
                    available_bandwidth: counters.bandwidth,
                    concurrent_links: counters.links,
                    unknown: Default::default(),
                };
                let stats = self.participation.swarms.iter().zip(&self.counters).map(stat).collect();
                Some((Kind::Report, id, RequestData::StatReport(StatReport { stats })))
            }
        }
    }

    fn succeeded(&mut self, now: Instant, pending: &Pending, response: &Response<'_>) {
        self.tiers.helped();
        if matches!(pending.kind, Kind::Connect | Kind::Report) {
            self.next_report = now + self.jitter(self.config.report_every);
        }
        match pending.kind {
            Kind::Connect => {
                if response.results.iter().any(|result| result.failed) {
                    let tracker = self.tiers.current().to_string();
                    self.event(ClientEvent::Failed { tracker, why: Failure::Refused(Code::FORBIDDEN) });
                }
                // A tracker of another make may keep the identifier that we gave.
                let peer_id = response.peer_id.as_deref().map_or_else(|| self.client.to_string(), ToString::to_string);
                let reflexive = response.peer_addr.as_ref().map(|addr| SocketAddr::new(addr.ip, addr.port));
                self.state = State::In(peer_id.clone());
                let from = now + self.config.find_every;
                self.finds.iter_mut().for_each(|find| *find = (false, from));
                let tracker = self.tiers.current().to_string();
                if core::mem::take(&mut self.leaves) {
                    self.state = State::Leaving(peer_id);
                    return;
                }
                self.event(ClientEvent::Registered { tracker, peer_id, reflexive });
            }
            Kind::Find(at) => self.finds[at] = (false, now + self.config.find_every),
            Kind::Report => {}
            Kind::Leave => return self.left(),
        }
        for swarm in self.participation.swarms.clone() {
            let of = response.results.iter().filter(|result| *result.swarm_id == *swarm && !result.failed);
            let found: Vec<_> = of.filter_map(|result| result.peers.as_ref()).collect();
            if found.is_empty() {
                continue;
            }
            let peers = found.into_iter().flatten().take(MAX_PEERS).map(|peer| {
                peer.addrs
                    .iter()
                    .filter(|addr| addr.port != 0)
                    .map(|addr| SocketAddr::new(addr.ip, addr.port))
                    .collect()
            });
            let peers = peers.collect();
            // A newer list takes the place of one that nobody has taken.
            self.events.retain(|event| !matches!(event, ClientEvent::Peers { swarm: of, .. } if *of == swarm));
            self.event(ClientEvent::Peers { swarm, peers });
        }
    }

    /// The request goes out again: here after a pause, or at the next tracker.
    fn failed(&mut self, now: Instant, mut pending: Pending, retry_after: Option<Duration>, why: Failure) {
        if pending.attempts < self.config.attempts && !self.leaves {
            let pause = self.pause(pending.attempts);
            pending.phase = Phase::Due(now + pause.max(retry_after.unwrap_or_default().min(MOST_RETRY_AFTER)));
            self.pending = Some(pending);
            return;
        }
        self.give_up(now, pending, retry_after, why, false);
    }

    /// The next tracker is asked, with the same request: a node of the same service knows us, another one will say that it does
    /// not.
    fn give_up(
        &mut self,
        now: Instant,
        mut pending: Pending,
        retry_after: Option<Duration>,
        why: Failure,
        for_good: bool,
    ) {
        if pending.kind == Kind::Leave || self.leaves {
            return self.left();
        }
        let tracker = self.tiers.current().to_string();
        self.event(ClientEvent::Failed { tracker, why });
        pending.attempts = 0;
        // A better tracker that was only tried: the one that helps has not been silent for long, and shall not be.
        let rounds = if !for_good && self.tiers.go_home() {
            0
        } else if for_good {
            self.tiers.strike_out()
        } else {
            self.tiers.next()
        };
        if self.tiers.is_empty() {
            return;
        }
        // Rounds without help: the pauses between them grow.
        let pause = match rounds {
            0 => Duration::ZERO,
            rounds => self.pause(rounds.saturating_add(2)).max(retry_after.unwrap_or_default().min(MOST_RETRY_AFTER)),
        };
        pending.phase = Phase::Due(now + pause);
        self.pending = Some(pending);
    }

    fn left(&mut self) {
        (self.pending, self.state, self.leave_by, self.leaves) = (None, State::Left, None, false);
        self.event(ClientEvent::Left);
    }

    /// Before the next attempt, after so many.
    fn pause(&mut self, attempts: u32) -> Duration {
        let pause = self.config.first_pause.saturating_mul(1 << attempts.saturating_sub(1).min(16));
        self.jitter(pause.min(self.config.longest_pause))
    }

    fn jitter(&mut self, span: Duration) -> Duration {
        let quarter = span / 4;
        let part = (u128::from(self.random.next_u32()) * quarter.as_micros()) >> 31;
        span - quarter + Duration::from_micros(u64::try_from(part).unwrap_or(u64::MAX))
    }

    fn event(&mut self, event: ClientEvent) {
        // Nobody takes them. There is one list of peers for each swarm; of the others what matters least makes room.
        if self.events.len() >= MAX_EVENTS {
            let least = |event: &ClientEvent| {
                matches!(
                    event,
                    ClientEvent::Failed { .. } | ClientEvent::Unauthorized { .. } | ClientEvent::Registered { .. }
                )
            };
            if let Some(at) = self.events.iter().position(least) {
                self.events.remove(at);
            }
        }
        self.events.push_back(event);
    }
}

/// Events that wait, lists of peers not counted.
const MAX_EVENTS: usize = 64;
/// The longest `Retry-After` that is honoured.
const MOST_RETRY_AFTER: Duration = Duration::from_secs(300);
