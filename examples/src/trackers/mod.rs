//! A peer and its trackers: [`TrackerClient`] over HTTPS, in a task of its own, so that no tracker keeps a datagram waiting.
//!
//! What a peer does in its swarm goes in ([`Trackers::count`], [`Trackers::find`], …), what the trackers say comes out
//! ([`Trackers::next`]). How the peer proves who it is are its [`Credentials`].

mod credentials;
mod wire;

use std::{collections::BTreeSet, net::SocketAddr, pin::Pin, sync::Arc, time::Duration};

use ppsp_core::Identifier;
pub use ppsp_tracker_proto::Counters;
use ppsp_tracker_proto::{
    ClientConfig, ClientEvent, Failure, Participation, TrackerClient,
    message::{AddrKind, Code, PeerAddr, PeerMode},
    registration::PEER_PROTOCOL,
};
use tokio::sync::{mpsc, watch};

pub use credentials::{Credentials, CredentialsError};
pub use wire::check;
use wire::{Sent, Wire};

use crate::net::Clock;

/// What a peer takes part in.
#[derive(Clone, Debug)]
pub struct Membership {
    /// The swarm's identifier, as PPSTP writes it.
    pub swarm: String,
    /// As whom: with a Portal, the client identifier of the login.
    pub client: Identifier,
    /// Where the peer can be reached.
    pub addrs: Vec<SocketAddr>,
    /// Whether it has all content already.
    pub seeds: bool,
    /// URLs of trackers, in tiers. The part behind `#` may hold the fingerprint of a tracker's key.
    pub tiers: Vec<Vec<String>>,
}

/// What the trackers say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Told {
    /// One took the registration.
    Registered {
        /// Its URL.
        tracker: String,
        /// The peer identifier that it assigned.
        peer_id: String,
        /// Where it sees us.
        reflexive: Option<SocketAddr>,
    },
    /// Peers of the swarm: the addresses of each, the best first.
    Peers(Vec<Vec<SocketAddr>>),
    /// One did not help; others are asked, and it again later.
    Failed {
        /// Its URL.
        tracker: String,
        /// Why, in a sentence.
        why: String,
    },
    /// Nobody proves any more who we are: no tracker is asked from now on.
    Refused(String),
}

/// A membership that is kept alive at the trackers. It ends with [`leave`](Self::leave); who drops it is forgotten by the
/// trackers in time.
#[derive(Debug)]
pub struct Trackers {
    commands: mpsc::UnboundedSender<Command>,
    counters: watch::Sender<Counters>,
    told: mpsc::Receiver<Told>,
    ended: bool,
}

#[derive(Clone, Copy, Debug)]
enum Command {
    Find,
    Seed,
    Leave,
}

impl Trackers {
    /// Registers, and keeps registered. `insecure` allows `http` on loopback.
    pub fn start(membership: Membership, credentials: Arc<Credentials>, insecure: bool) -> Self {
        let (commands, to_do) = mpsc::unbounded_channel();
        let (counters, counted) = watch::channel(Counters::default());
        let (tell, told) = mpsc::channel(16);
        let clock = Clock::new();
        let client = new_client(&membership, membership.seeds, clock);
        let wire = Wire::new(membership.client, credentials, insecure);
        let task =
            Task { membership, client, clock, wire, to_do, counted, tell, refusing: BTreeSet::new(), turning: false };
        tokio::spawn(task.run());
        Self { commands, counters, told, ended: false }
    }

    /// What is said next. Never ends once nothing will be said any more.
    pub async fn next(&mut self) -> Told {
        if !self.ended {
            if let Some(told) = self.told.recv().await {
                return told;
            }
            self.ended = true;
        }
        std::future::pending().await
    }

    /// What the peer did so far; goes out with the next report.
    pub fn count(&self, counters: Counters) {
        self.counters.send_replace(counters);
    }

    /// Peers run short.
    pub fn find(&self) {
        _ = self.commands.send(Command::Find);
    }

    /// All content is there: the peer goes on as a SEEDER.
    pub fn seed(&self) {
        _ = self.commands.send(Command::Seed);
    }

    /// Ends the membership; waits until the tracker has heard of it, and no longer than `within`.
    pub async fn leave(&mut self, within: Duration) {
        _ = self.commands.send(Command::Leave);
        let ended = async { while self.told.recv().await.is_some() {} };
        _ = tokio::time::timeout(within, ended).await;
        self.ended = true;
    }
}

fn new_client(membership: &Membership, seeds: bool, clock: Clock) -> TrackerClient {
    let mut seed = [0; 32];
    // It makes no secrets: only pauses and transaction identifiers that differ.
    if getrandom::fill(&mut seed).is_err() {
        seed[..8].copy_from_slice(&clock.now().as_micros().to_be_bytes());
    }
    let own = Participation {
        mode: if seeds { PeerMode::Seeder } else { PeerMode::Leech },
        swarms: vec![membership.swarm.clone()],
        addrs: membership.addrs.iter().map(|&addr| host(addr)).collect(),
    };
    TrackerClient::new(ClientConfig::default(), seed, clock.now(), membership.client, own, membership.tiers.clone())
}

fn host(addr: SocketAddr) -> PeerAddr<'static> {
    PeerAddr {
        ip: addr.ip().to_canonical(),
        port: addr.port(),
        priority: 1,
        kind: Some(AddrKind::Host.into()),
        connection: None,
        asn: None,
        peer_protocol: Some(PEER_PROTOCOL.into()),
    }
}

struct Task {
    membership: Membership,
    client: TrackerClient,
    clock: Clock,
    wire: Wire,
    to_do: mpsc::UnboundedReceiver<Command>,
    counted: watch::Receiver<Counters>,
    tell: mpsc::Sender<Told>,
    /// Trackers that want what we cannot show.
    refusing: BTreeSet<String>,
    /// A LEECH leaves to come back as a SEEDER (RFC 7846 Table 6 has no other way).
    turning: bool,
}

/// What the task waits for beside commands and time: one thing at a time.
enum Done {
    Answered(u64, Sent),
    Renewed(Result<(), CredentialsError>),
}

type Waiting = Pin<Box<dyn Future<Output = Done> + Send>>;

impl Task {
    async fn run(mut self) {
        let mut waiting: Option<Waiting> = None;
        loop {
            let now = self.clock.now();
            self.client.count(&self.membership.swarm, *self.counted.borrow_and_update());
            self.client.handle_timeout(now);
            while let Some(event) = self.client.poll_event() {
                if !self.hear(event, &mut waiting) {
                    return;
                }
            }
            if self.client.is_hopeless() {
                _ = self.tell.try_send(Told::Refused("no tracker is left that speaks this protocol (RFC 7846)".into()));
                return;
            }
            if let Some(outgoing) = self.client.poll_request(now) {
                let wire = self.wire.clone();
                // What was under way has taken too long, and is not waited for.
                waiting = Some(Box::pin(async move {
                    let answer = wire.send(&outgoing.tracker, outgoing.body).await;
                    Done::Answered(outgoing.id, answer)
                }));
            }
            let nap = self.client.poll_timeout().map(|then| self.clock.until(then));
            tokio::select! {
                done = async { waiting.as_mut().expect("looked at").await }, if waiting.is_some() => {
                    waiting = None;
                    if !self.take(done) {
                        return;
                    }
                }
                command = self.to_do.recv() => match command {
                    Some(Command::Find) => self.client.find(&self.membership.swarm),
                    Some(Command::Seed) => {
                        self.turning = true;
                        self.client.leave();
                    }
                    Some(Command::Leave) => {
                        self.turning = false;
                        self.client.leave();
                    }
                    // Nobody listens any more.
                    None => return,
                },
                () = sleep(nap) => {}
            }
        }
    }

    /// `false`: it is over.
    fn hear(&mut self, event: ClientEvent, waiting: &mut Option<Waiting>) -> bool {
        let told = match event {
            ClientEvent::Registered { tracker, peer_id, reflexive } => {
                self.refusing.clear();
                Told::Registered { tracker: plain(&tracker), peer_id, reflexive }
            }
            ClientEvent::Peers { peers, .. } => Told::Peers(peers),
            ClientEvent::Failed { tracker, why } => {
                let why = self.wire.take_trouble().unwrap_or_else(|| in_words(why));
                Told::Failed { tracker: plain(&tracker), why }
            }
            ClientEvent::Unauthorized { .. } => {
                let wire = self.wire.clone();
                *waiting = Some(Box::pin(async move { Done::Renewed(wire.renew().await) }));
                return true;
            }
            ClientEvent::Left if self.turning => {
                self.turning = false;
                self.client = new_client(&self.membership, true, self.clock);
                return true;
            }
            ClientEvent::Left => return false,
        };
        // Who does not listen for so long misses something: the next list of peers comes.
        _ = self.tell.try_send(told);
        true
    }

    /// `false`: it is over.
    fn take(&mut self, done: Done) -> bool {
        let now = self.clock.now();
        match done {
            Done::Answered(id, Sent::Answered(answer)) => {
                self.client.handle_response(now, id, answer.retry_after, &answer.body);
            }
            Done::Answered(id, Sent::Lost) => self.client.handle_failure(now, id),
            Done::Renewed(Ok(())) => self.client.authorized(now),
            Done::Answered(_, Sent::Refused(why)) | Done::Renewed(Err(CredentialsError::Refused(why))) => {
                self.refusing.insert(self.client.tracker().to_owned());
                let all = self.membership.tiers.iter().flatten().collect::<BTreeSet<_>>().len();
                if self.wire.shows_tokens() || self.refusing.len() >= all {
                    _ = self.tell.try_send(Told::Refused(why));
                    return false;
                }
                // It says no again, and then others are asked.
                self.wire.trouble(why);
                self.client.authorized(now);
            }
            // The tracker says no again, and then others are asked.
            Done::Renewed(Err(CredentialsError::Away(why))) => {
                self.wire.trouble(why);
                self.client.authorized(now);
            }
        }
        true
    }
}

async fn sleep(nap: Option<Duration>) {
    match nap {
        Some(nap) => tokio::time::sleep(nap).await,
        None => std::future::pending().await,
    }
}

/// A tracker's URL for people: without the fingerprint.
pub fn plain(tracker: &str) -> String {
    tracker.split('#').next().unwrap_or_default().to_owned()
}

fn in_words(why: Failure) -> String {
    match why {
        Failure::Refused(Code::FORBIDDEN) => {
            "it refuses: this swarm is not allowed to us, or it does not know it".into()
        }
        Failure::Refused(Code::AUTHENTICATION_REQUIRED) => "it does not believe who we are".into(),
        Failure::Refused(Code::UNAVAILABLE) => "it is busy".into(),
        Failure::Refused(code) => format!("it answers with error {:02}", code.0),
        _ => "it does not answer".into(),
    }
}
