use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use ppsp_auth::{
    gatekeeper::{Access, Decision, Denial, Gatekeeper, GatekeeperConfig, QuestionId},
    token::{Expectation, KeySet, TRACKERS, TokenText},
};
use tokio::sync::watch;

use crate::{
    net::Clock,
    tracker::{
        lock,
        portal::{Portal, PortalError},
    },
};

/// The door for access tokens (RFC 6750): the Portal confirms each of them every few seconds.
#[derive(Debug)]
pub struct Bearer {
    portal: Arc<Portal>,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    gatekeeper: Gatekeeper,
    /// Questions that were sent. When one goes, all that wait for it ask again.
    sent: HashMap<QuestionId, watch::Sender<()>>,
    asked: Asked,
}

/// What came of questions, since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asked {
    /// The Portal answered.
    pub answered: u64,
    /// It did not.
    pub failed: u64,
}

impl Bearer {
    /// The door of the tokens of this Portal, which are signed with these keys.
    pub fn new(portal: Arc<Portal>, keys: KeySet, clock: Clock) -> Arc<Self> {
        let config = GatekeeperConfig::new(Expectation::new(portal.issuer(), TRACKERS));
        let gatekeeper = Gatekeeper::new(config, keys, clock.now(), portal.unix_now());
        let state = State { gatekeeper, sent: HashMap::new(), asked: Asked::default() };
        Arc::new(Self { portal, clock, state: Mutex::new(state) })
    }

    /// Lets in who shows a token that counts; waits for the Portal where that has to be asked.
    pub(super) async fn admit(self: &Arc<Self>, token: &TokenText, swarms: &[&str]) -> Result<Access, Denial> {
        loop {
            let mut answered = {
                let mut state = lock(&self.state);
                match state.gatekeeper.ask(self.clock.now(), token, swarms) {
                    Decision::Allowed(access) => return Ok(access),
                    Decision::Refused(denial) => return Err(denial),
                    Decision::Ask(id) => {
                        self.send(&mut state, id);
                        state.subscribe(id)
                    }
                    Decision::Wait(id) => state.subscribe(id),
                }
            };
            // The other end goes with the answer, and that is what is waited for.
            _ = answered.changed().await;
        }
    }

    /// A session has a membership from now on.
    pub fn watch(&self, session: u128) {
        lock(&self.state).gatekeeper.watch(self.clock.now(), session);
    }

    /// It has none any more.
    pub fn unwatch(&self, session: u128) {
        lock(&self.state).gatekeeper.unwatch(session);
    }

    /// Asks again about the sessions that are watched, and keeps the Portal's keys up to date. `ended` is told of sessions that
    /// are over. Never ends.
    pub async fn run(self: Arc<Self>, mut ended: impl FnMut(u128)) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut fetched = Instant::now();
        loop {
            tick.tick().await;
            let (over, key_missing) = self.poll();
            over.into_iter().for_each(&mut ended);
            let age = fetched.elapsed();
            if age >= KEYS_EVERY || (key_missing && age >= KEYS_SOONEST) {
                fetched = Instant::now();
                let door = Arc::clone(&self);
                tokio::spawn(async move {
                    match door.portal.keys().await {
                        Ok(keys) => lock(&door.state).gatekeeper.set_keys(keys),
                        Err(error) => tracing::warn!("the Portal's keys could not be fetched again: {error}"),
                    }
                });
            }
        }
    }

    /// How many tokens are known, and what came of questions about them.
    pub fn counts(&self) -> (usize, Asked) {
        let state = lock(&self.state);
        (state.gatekeeper.len(), state.asked)
    }

    /// Whether the Portal did not answer last time.
    pub fn is_portal_away(&self) -> bool {
        lock(&self.state).gatekeeper.is_portal_away()
    }

    fn poll(self: &Arc<Self>) -> (Vec<u128>, bool) {
        let mut state = lock(&self.state);
        let now = self.clock.now();
        while let Some(id) = state.gatekeeper.poll_question(now) {
            self.send(&mut state, id);
        }
        let over = std::iter::from_fn(|| state.gatekeeper.poll_ended(now)).collect();
        (over, state.gatekeeper.key_missing())
    }

    /// Sends a question in a task of its own: who waits for the answer may go away meanwhile.
    fn send(self: &Arc<Self>, state: &mut State, id: QuestionId) {
        let Some(request) = state.gatekeeper.question(id).cloned() else { return };
        state.sent.entry(id).or_insert_with(|| watch::Sender::new(()));
        let door = Arc::clone(self);
        tokio::spawn(async move {
            let answer = door.portal.introspect(&request).await;
            let mut state = lock(&door.state);
            let (now, away) = (door.clock.now(), state.gatekeeper.is_portal_away());
            match answer {
                Ok(answer) => {
                    state.asked.answered += 1;
                    state.gatekeeper.set_clock(now, door.portal.unix_now());
                    state.gatekeeper.answer(now, id, &answer);
                    if away {
                        tracing::info!("the Portal answers again");
                    }
                }
                Err(error) => {
                    state.asked.failed += 1;
                    state.gatekeeper.portal_away(now, id);
                    if let PortalError::Refused(_) = error {
                        tracing::error!("{error}; is this tracker still approved?");
                    } else if !away {
                        tracing::warn!("{error}; tokens are served by their signatures alone meanwhile");
                    }
                }
            }
            state.sent.remove(&id);
        });
    }
}

impl State {
    fn subscribe(&mut self, id: QuestionId) -> watch::Receiver<()> {
        // A question that is not under way any more has no sender: who waits for it asks again at once.
        self.sent.get(&id).map_or_else(|| watch::channel(()).1, watch::Sender::subscribe)
    }
}

/// Between two looks at what is due. Answers count for seconds: nothing is late by that.
const TICK: Duration = Duration::from_millis(100);
/// New keys are published long before they sign.
const KEYS_EVERY: Duration = Duration::from_secs(300);
/// Anybody can show a token that names an unknown key.
const KEYS_SOONEST: Duration = Duration::from_secs(60);
