//! The rules of the tracker, in one place: what becomes of a registration when a request arrives (RFC 7846 §2.3, §4.3).
//!
//! Pure: it looks at what is kept and what is asked, and the directory carries out what it says. The actions of a CONNECT
//! are checked in `actions.rs`.

use alloc::vec::Vec;
use core::net::IpAddr;

use ppsp_core::Identifier;

use crate::{
    Gate, Next, Principal, Registration, Transaction, check_actions,
    message::{Action, Code, PeerMode, Request, RequestData},
};

/// Who asks, as the transport knows it.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// The address that the request comes from.
    pub remote: IpAddr,
    /// Who was authenticated, if anyone.
    pub principal: Option<Principal>,
    /// What that principal may do.
    pub gate: &'a dyn Gate,
}

/// Which registration a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// None yet: the request names the client, as the first CONNECT does. It may be a repetition: then the registration
    /// is the one with this [`Registration::opening`].
    Opening,
    /// The registration of this peer.
    Peer(Identifier),
    /// None there can be.
    Nobody,
}

impl Subject {
    /// Reads the `peer_id` of a request of this principal.
    pub fn of(peer_id: &str, principal: &Principal) -> Self {
        match peer_id.parse() {
            Ok(client) if client == principal.client => Self::Opening,
            Ok(id) => Self::Peer(id),
            Err(_) => Self::Nobody,
        }
    }
}

/// A registration, and the swarms it is in.
#[derive(Clone, Copy, Debug)]
pub struct Held<'a> {
    /// What is kept of the peer.
    pub registration: &'a Registration,
    /// Its swarms, and its mode in each.
    pub joined: &'a [(&'a str, PeerMode)],
}

/// What to do with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What to answer.
    pub step: Result<Step, Code>,
    /// What ends, whatever is answered.
    pub ends: Ends,
}

/// A request that is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// START → PEER REGISTERED → TRACKING: the peer is registered under this identifier, then its actions are done.
    Register(Identifier),
    /// TRACKING → TRACKING: what is asked is done, and the track timer starts anew.
    Track,
    /// The request was granted before: it gets the same answer, and nothing changes.
    Repeat,
}

/// What ends with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ends {
    /// Memberships, by their place in [`Held::joined`]: the principal may not be there any more.
    Memberships(Vec<usize>),
    /// The registration: TERMINATE.
    Registration,
}

impl Ends {
    const NOTHING: Self = Self::Memberships(Vec::new());
}

/// Decides on a request.
///
/// `held` is the registration that [`Subject`] names, if it is there and its track timer has not expired; `earlier` is a
/// transaction with the same [`Transaction::id`] that the directory remembers, if it does.
pub fn transition(
    request: &Request<'_>,
    transaction: Transaction,
    asker: &Context<'_>,
    held: Option<Held<'_>>,
    earlier: Option<Transaction>,
) -> Decision {
    let refuse = |code| Decision { step: Err(code), ends: Ends::NOTHING };
    let Some(principal) = asker.principal else { return refuse(Code::AUTHENTICATION_REQUIRED) };
    let repetition = [earlier, held.map(|held| held.registration.last), held.map(|held| held.registration.opening)]
        .into_iter()
        .flatten()
        .find(|earlier| earlier.id == transaction.id)
        .map(|earlier| earlier == transaction);
    match held {
        None => match repetition {
            Some(true) if may_join(request, asker) => Decision { step: Ok(Step::Repeat), ends: Ends::NOTHING },
            Some(true) => refuse(Code::FORBIDDEN),
            Some(false) => refuse(Code::BAD_REQUEST),
            None => Decision { step: start(request, asker, &principal), ends: Ends::NOTHING },
        },
        // Another client, session or address: none of the business of the registered peer, which stays.
        Some(Held { registration, .. })
            if (registration.principal, registration.remote) != (principal, asker.remote) =>
        {
            refuse(Code::FORBIDDEN)
        }
        Some(held) => track(request, asker, held.joined, repetition),
    }
}

/// A peer that is not registered (RFC 7846 Figure 5, START).
fn start(request: &Request<'_>, asker: &Context<'_>, principal: &Principal) -> Result<Step, Code> {
    // RFC 7846 §2.3.2 B: FIND and STAT_REPORT of an unregistered peer.
    let RequestData::Connect(connect) = &request.data else { return Err(Code::FORBIDDEN) };
    let known = match Subject::of(&request.peer_id, principal) {
        Subject::Opening => None,
        // It was registered here before; its registration ended, or the tracker started anew.
        Subject::Peer(id) if asker.gate.assigned(id, principal, asker.remote) => Some(id),
        Subject::Peer(_) | Subject::Nobody => return Err(Code::FORBIDDEN),
    };
    // RFC 7846 §2.3.2 A.
    check_actions(None, &connect.actions).map_err(|refusal| refusal.code)?;
    if !may_join(request, asker) {
        return Err(Code::FORBIDDEN);
    }
    Ok(Step::Register(known.unwrap_or_else(|| asker.gate.assign(principal, asker.remote))))
}

/// A registered peer (RFC 7846 Figure 5, TRACKING).
fn track(
    request: &Request<'_>,
    asker: &Context<'_>,
    joined: &[(&str, PeerMode)],
    repetition: Option<bool>,
) -> Decision {
    let actions = match &request.data {
        RequestData::Connect(connect) => &*connect.actions,
        _ => &[],
    };
    let leaves =
        |swarm| actions.iter().any(|action| action.action.known() == Some(Action::Leave) && action.swarm_id == swarm);
    // Nobody needs a permission to leave.
    let barred: Vec<usize> =
        (0..joined.len()).filter(|&at| !asker.gate.may(joined[at].0, joined[at].1) && !leaves(joined[at].0)).collect();
    let in_swarm = |swarm: &str| (0..joined.len()).any(|at| joined[at].0 == swarm && !barred.contains(&at));
    let step = match repetition {
        Some(false) => Err(Code::BAD_REQUEST),
        Some(true) if barred.is_empty() => Ok(Step::Repeat),
        Some(true) => Err(Code::FORBIDDEN),
        None => match &request.data {
            RequestData::Connect(_) => match check_actions(Some(joined), actions) {
                Err(refusal) if refusal.terminate => {
                    return Decision { step: Err(refusal.code), ends: Ends::Registration };
                }
                Err(refusal) => Err(refusal.code),
                Ok(_) if !may_join(request, asker) => Err(Code::FORBIDDEN),
                Ok(Next::Terminate) => return Decision { step: Ok(Step::Track), ends: Ends::Registration },
                Ok(Next::Tracking) => Ok(Step::Track),
            },
            // RFC 7846 §2.3.2 C: a swarm that the peer is not in.
            RequestData::Find(find) if !in_swarm(&find.swarm_id) => Err(Code::FORBIDDEN),
            RequestData::StatReport(report) if !report.stats.iter().all(|stat| in_swarm(&stat.swarm_id)) => {
                Err(Code::FORBIDDEN)
            }
            RequestData::Find(_) | RequestData::StatReport(_) => Ok(Step::Track),
        },
    };
    let goes = |at: &usize| barred.contains(at) || step.is_ok() && leaves(joined[*at].0);
    let joins = step.is_ok() && actions.iter().any(|action| action.action.known() == Some(Action::Join));
    if !barred.is_empty() && !joins && (0..joined.len()).all(|at| goes(&at)) {
        return Decision { step: Err(Code::FORBIDDEN), ends: Ends::Registration };
    }
    Decision { step, ends: Ends::Memberships(barred) }
}

fn may_join(request: &Request<'_>, asker: &Context<'_>) -> bool {
    let RequestData::Connect(connect) = &request.data else { return true };
    connect
        .actions
        .iter()
        .filter(|action| action.action.known() == Some(Action::Join))
        .all(|action| action.peer_mode.known().is_some_and(|mode| asker.gate.may(&action.swarm_id, mode)))
}
