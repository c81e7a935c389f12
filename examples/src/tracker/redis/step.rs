//! What a request makes of a registration: the rules of `ppsp-tracker-proto` on a record, without a word to Redis.

use ppsp_tracker_proto::{
    Gate, Next, TrackerConfig, decide,
    message::{Action, Code, PeerAddr, PeerMode, PeerNum, Request, RequestData},
    registration::{Membership, Progress, Registration},
};

/// What became of it.
pub(super) struct Step<'a> {
    /// The record from now on; none where it ends or never began.
    pub(super) after: Option<Registration<String>>,
    /// What is to be answered.
    pub(super) done: Result<Done<'a>, Refused>,
    /// Memberships that ended because they are no longer allowed.
    pub(super) revoked: u64,
}

/// Why nothing is done.
pub(super) struct Refused(Code);

impl Refused {
    pub(super) fn code(self) -> Code {
        self.0
    }
}

/// What is done.
#[derive(Default)]
pub(super) struct Done<'a> {
    pub(super) is_connect: bool,
    pub(super) reflexive: Option<PeerAddr<'static>>,
    pub(super) results: Vec<Part<'a>>,
    /// Swarms that were joined.
    pub(super) joins: Vec<&'a str>,
    pub(super) reported: Vec<Reported<'a>>,
}

/// A part of the answer.
pub(super) struct Part<'a> {
    pub(super) swarm: &'a str,
    pub(super) list: Option<Wish<'a>>,
}

/// A list of peers that is wished.
pub(super) struct Wish<'a> {
    pub(super) mode: PeerMode,
    pub(super) joins: bool,
    pub(super) scope: Option<&'a PeerNum<'a>>,
}

/// What a peer reported of a swarm.
pub(super) struct Reported<'a> {
    pub(super) swarm: &'a str,
    pub(super) progress: Progress,
}

/// `before` is the record, where there is one; `new` is what begins otherwise.
pub(super) fn step<'a>(
    request: &'a Request<'a>,
    before: Option<Registration<String>>,
    new: Registration<String>,
    gate: &dyn Gate,
    config: &TrackerConfig,
) -> Step<'a> {
    let is_new = before.is_none();
    let mut peer = before.unwrap_or(new);
    let joined: Vec<(&str, PeerMode)> = peer.memberships.iter().map(|one| (one.swarm.as_str(), one.mode)).collect();
    let decision = decide(request, (!is_new).then_some(&joined[..]), &peer.principal, gate);
    let revoked = decision.revoked.len() as u64;
    for at in decision.revoked.iter().rev() {
        peer.memberships.remove(*at);
    }
    let ends = |peer: &Registration<String>| is_new || (revoked > 0 && peer.memberships.is_empty());
    let refuse = |code, peer: Registration<String>, terminate: bool| {
        let after = (!terminate && !ends(&peer)).then_some(peer);
        Step { after, done: Err(Refused(code)), revoked }
    };
    let next = match decision.result {
        Ok(next) => next,
        Err(refusal) => return refuse(refusal.code, peer, refusal.terminate),
    };
    let mut done = Done::default();
    match &request.data {
        RequestData::Connect(connect) => {
            let joins = connect.actions.iter().filter(|action| action.action.known() == Some(Action::Join)).count();
            if peer.memberships.len() + joins > config.max_swarms_per_peer {
                return refuse(Code::FORBIDDEN, peer, false);
            }
            peer.hear(connect, is_new);
            (done.is_connect, done.reflexive) = (true, peer.reflexive());
            for action in &connect.actions {
                let swarm: &str = &action.swarm_id;
                let mut list = None;
                match (action.action.known(), action.peer_mode.known()) {
                    (Some(Action::Join), Some(mode)) => {
                        peer.memberships.push(Membership { swarm: swarm.into(), mode, uploaded: 0, downloaded: 0 });
                        done.joins.push(swarm);
                        // RFC 7846 §4.1.1: a LEECH gets a list, a SEEDER where it asks for one.
                        let wished = mode == PeerMode::Leech || connect.peer_num.is_some();
                        list = wished.then_some(Wish { mode, joins: true, scope: connect.peer_num.as_ref() });
                    }
                    _ => peer.memberships.retain(|one| one.swarm != swarm),
                }
                done.results.push(Part { swarm, list });
            }
        }
        RequestData::Find(find) => {
            if let Some(said) = &find.peer_num {
                peer.ability.update(said);
            }
            let swarm: &str = &find.swarm_id;
            let mode = peer.memberships.iter().find(|one| one.swarm == swarm).map(|one| one.mode);
            let list = mode.map(|mode| Wish { mode, joins: false, scope: find.peer_num.as_ref() });
            done.results.push(Part { swarm, list });
        }
        RequestData::StatReport(report) => {
            for stat in &report.stats {
                let swarm: &str = &stat.swarm_id;
                peer.ability.report(stat);
                if let Some(membership) = peer.memberships.iter_mut().find(|one| one.swarm == swarm) {
                    let progress = membership.report(stat, config.track_timer);
                    done.reported.push(Reported { swarm, progress });
                }
                done.results.push(Part { swarm, list: None });
            }
        }
    }
    Step { after: (next != Next::Terminate).then_some(peer), done: Ok(done), revoked }
}
