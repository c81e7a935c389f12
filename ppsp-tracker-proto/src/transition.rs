//! What becomes of a request: RFC 7846 §2.3.2, and §4.1.1 with Table 6, for the states of Figure 5.
//!
//! Pure functions of what is recorded and what is asked, so that every directory decides alike.

use alloc::vec::Vec;
use core::net::IpAddr;

use ppsp_core::Identifier;

use crate::{
    Gate, Principal,
    message::{Action, Code, PeerMode, Request, RequestData, SwarmAction},
    registration::Registration,
};

/// The state of a registration after a CONNECT (RFC 7846 Figure 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The peer is registered, and its track timer starts anew.
    Tracking,
    /// The peer left its last swarm: its registration is deleted.
    Terminate,
}

/// A CONNECT that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the swarm actions are not allowed in this state")]
pub struct Refusal {
    /// The error code of the answer.
    pub code: Code,
    /// True when the registration ends with the refusal.
    pub terminate: bool,
}

/// What becomes of a request of a registered peer, or of one that wants to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Memberships, by their place among those joined, that the principal is no longer allowed: they end, whatever the
    /// result. When none is left, so does the registration.
    pub revoked: Vec<usize>,
    /// Is it done?
    pub result: Result<Next, Refusal>,
}

/// Decides on a request. `joined` are the swarms of the peer with its mode in each, or none while it is not registered (START).
/// The peer identifier has been checked.
///
/// The gate is asked for each membership and each JOIN: who may no longer take part is taken out, and gets 03.
pub fn decide(
    request: &Request<'_>,
    joined: Option<&[(&str, PeerMode)]>,
    principal: &Principal,
    gate: &dyn Gate,
) -> Decision {
    let refuse = |code| Err(Refusal { code, terminate: joined.is_none() });
    let all = joined.unwrap_or_default();
    let revoked: Vec<usize> = (0..all.len()).filter(|&at| !gate.may(principal, all[at].0, all[at].1)).collect();
    let is_member = |swarm: &str| all.iter().enumerate().any(|(at, one)| one.0 == swarm && !revoked.contains(&at));
    if !all.is_empty() && revoked.len() == all.len() {
        return Decision { revoked, result: refuse(Code::FORBIDDEN) };
    }
    let result = match &request.data {
        RequestData::Connect(connect) => {
            let rest: Vec<_> = (0..all.len()).filter(|at| !revoked.contains(at)).map(|at| all[at]).collect();
            check_actions(joined.map(|_| &rest[..]), &connect.actions).and_then(|next| {
                let may = |action: &SwarmAction<'_>| match (action.action.known(), action.peer_mode.known()) {
                    (Some(Action::Join), Some(mode)) => gate.may(principal, &action.swarm_id, mode),
                    _ => true,
                };
                if connect.actions.iter().all(may) { Ok(next) } else { refuse(Code::FORBIDDEN) }
            })
        }
        // RFC 7846 §2.3.2 B: FIND and STAT_REPORT of a peer that is not registered.
        _ if joined.is_none() => refuse(Code::FORBIDDEN),
        // §2.3.2 C: a swarm that it is not in.
        RequestData::Find(find) if !is_member(&find.swarm_id) => refuse(Code::FORBIDDEN),
        RequestData::StatReport(report) if !report.stats.iter().all(|stat| is_member(&stat.swarm_id)) => {
            refuse(Code::FORBIDDEN)
        }
        RequestData::Find(_) | RequestData::StatReport(_) => Ok(Next::Tracking),
    };
    Decision { revoked, result }
}

/// Is it a request of a registered peer? `found` is what is recorded under the peer identifier that it names; `Ok(false)` is the
/// first CONNECT, which names the client, or what a peer without a registration asks.
///
/// # Errors
/// [`Code::FORBIDDEN`] for the identifier of another client, of another address, or one that was never assigned.
pub fn is_registered<S>(
    id: Identifier,
    found: Option<&Registration<S>>,
    principal: &Principal,
    remote: IpAddr,
    gate: &dyn Gate,
) -> Result<bool, Code> {
    match found {
        Some(peer) => {
            let own = peer.principal == *principal && peer.remote == remote;
            if own && gate.assigned(id, principal, remote) { Ok(true) } else { Err(Code::FORBIDDEN) }
        }
        None if id == principal.client => Ok(false),
        None => Err(Code::FORBIDDEN),
    }
}

/// May the principal take part in the swarms whose peers the answer names? A repeated answer is for those alone.
pub fn may_see(request: &Request<'_>, principal: &Principal, gate: &dyn Gate) -> bool {
    let may = |swarm: &str, mode| gate.may(principal, swarm, mode);
    match &request.data {
        RequestData::Connect(connect) => connect.actions.iter().all(|action| {
            action.action.known() != Some(Action::Join)
                || action.peer_mode.known().is_some_and(|mode| may(&action.swarm_id, mode))
        }),
        RequestData::Find(find) => [PeerMode::Leech, PeerMode::Seeder].iter().any(|mode| may(&find.swarm_id, *mode)),
        RequestData::StatReport(_) => true,
    }
}

/// Decides on the swarm actions of a CONNECT as a whole: all of them are done, or none.
///
/// `joined` are the swarms of the peer with its mode in each, or none while it is not registered (START). The mode
/// named by a LEAVE does not matter (RFC 7846 §4.1.1: "regardless of the peer mode"); that of the membership does.
///
/// Table 6 names every row that is valid; what it does not name is refused with 03. A refusal in START deletes the
/// registration (§2.3.2 A). A refusal in TRACKING leaves it alone (§2.3.2 C), except when a SEEDER joins again, which
/// Table 6 ends. A SEEDER that leaves some of its swarms keeps the others and stays in TRACKING.
///
/// # Errors
/// [`Code::BAD_REQUEST`] if an action or mode is unknown or there is none, [`Code::FORBIDDEN`] otherwise.
pub fn check_actions(joined: Option<&[(&str, PeerMode)]>, actions: &[SwarmAction<'_>]) -> Result<Next, Refusal> {
    let refuse = |code| Refusal { code, terminate: joined.is_none() };
    let (mut joins, mut leaves, mut mode) = (0, 0, None);
    for (at, action) in actions.iter().enumerate() {
        let held = joined.unwrap_or_default().iter().find(|(swarm, _)| *swarm == action.swarm_id);
        let named = action.peer_mode.known().ok_or(refuse(Code::BAD_REQUEST))?;
        let acts_as = match (action.action.known().ok_or(refuse(Code::BAD_REQUEST))?, held) {
            (Action::Join, None) => {
                joins += 1;
                named
            }
            (Action::Leave, Some((_, held))) => {
                leaves += 1;
                *held
            }
            // Table 6: SEEDER, JOIN, TRACKING → TERMINATE.
            (Action::Join, Some(_)) if named == PeerMode::Seeder => {
                return Err(Refusal { code: Code::FORBIDDEN, terminate: true });
            }
            // A swarm that was joined already, or never.
            _ => return Err(refuse(Code::FORBIDDEN)),
        };
        // Modes do not mix, and a swarm is named once.
        let repeated = actions[..at].iter().any(|earlier| earlier.swarm_id == action.swarm_id);
        if repeated || mode.is_some_and(|mode| mode != acts_as) {
            return Err(refuse(Code::FORBIDDEN));
        }
        mode = Some(acts_as);
    }
    let Some(mode) = mode else { return Err(refuse(Code::BAD_REQUEST)) };
    match (joined, mode, joins, leaves) {
        (None, PeerMode::Leech, 1, 0) => Ok(Next::Tracking),
        (None, PeerMode::Seeder, 1.., 0) => Ok(Next::Tracking),
        (Some(_), PeerMode::Leech, 1, 1) => Ok(Next::Tracking),
        (Some(joined), PeerMode::Leech, 0, 1) | (Some(joined), PeerMode::Seeder, 0, 1..) => {
            Ok(if leaves == joined.len() { Next::Terminate } else { Next::Tracking })
        }
        (Some(_), PeerMode::Seeder, 1.., _) => Err(Refusal { code: Code::FORBIDDEN, terminate: true }),
        _ => Err(refuse(Code::FORBIDDEN)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Word;
    use Action::{Join, Leave};
    use PeerMode::{Leech, Seeder};
    use alloc::vec::Vec;

    type Held = Option<&'static [(&'static str, PeerMode)]>;

    fn check(joined: Held, actions: &[(&'static str, Action, PeerMode)]) -> Result<Next, Refusal> {
        let actions: Vec<_> = actions
            .iter()
            .map(|&(swarm, action, mode)| SwarmAction {
                swarm_id: swarm.into(),
                action: action.into(),
                peer_mode: mode.into(),
            })
            .collect();
        check_actions(joined, &actions)
    }

    const fn forbidden(terminate: bool) -> Result<Next, Refusal> {
        Err(Refusal { code: Code::FORBIDDEN, terminate })
    }

    const START: Held = None;
    const LEECH: Held = Some(&[("a", Leech)]);
    const SEEDER: Held = Some(&[("a", Seeder), ("b", Seeder)]);

    /// RFC 7846 §4.1.1, Table 6, row by row.
    #[test]
    fn table_6() {
        assert_eq!(check(START, &[("a", Join, Leech)]), Ok(Next::Tracking));
        assert_eq!(check(START, &[("a", Leave, Leech)]), forbidden(true));
        assert_eq!(check(LEECH, &[("a", Leave, Leech)]), Ok(Next::Terminate));
        assert_eq!(check(START, &[("b", Join, Leech), ("a", Leave, Leech)]), forbidden(true));
        assert_eq!(check(LEECH, &[("b", Join, Leech), ("a", Leave, Leech)]), Ok(Next::Tracking));
        assert_eq!(check(START, &[("a", Join, Seeder), ("b", Join, Seeder)]), Ok(Next::Tracking));
        assert_eq!(check(SEEDER, &[("c", Join, Seeder)]), forbidden(true));
        assert_eq!(check(SEEDER, &[("a", Join, Seeder)]), forbidden(true));
        assert_eq!(check(SEEDER, &[("a", Leave, Seeder), ("b", Leave, Seeder)]), Ok(Next::Terminate));
    }

    #[test]
    fn what_the_table_does_not_name() {
        // A LEECH takes part in one swarm.
        assert_eq!(check(START, &[("a", Join, Leech), ("b", Join, Leech)]), forbidden(true));
        assert_eq!(check(LEECH, &[("b", Join, Leech)]), forbidden(false));
        assert_eq!(check(LEECH, &[("a", Join, Leech)]), forbidden(false));
        // Modes do not mix.
        assert_eq!(check(START, &[("a", Join, Leech), ("b", Join, Seeder)]), forbidden(true));
        assert_eq!(check(LEECH, &[("a", Leave, Leech), ("b", Join, Seeder)]), forbidden(false));
        // A swarm is named once, and left only if it was joined.
        assert_eq!(check(START, &[("a", Join, Seeder), ("a", Join, Seeder)]), forbidden(true));
        assert_eq!(check(LEECH, &[("a", Leave, Leech), ("a", Leave, Leech)]), forbidden(false));
        assert_eq!(check(LEECH, &[("b", Leave, Leech)]), forbidden(false));
        // RFC 7846 §4.1.1: a LEAVE counts regardless of the mode it names.
        assert_eq!(check(LEECH, &[("a", Leave, Seeder)]), Ok(Next::Terminate));
        assert_eq!(check(SEEDER, &[("b", Leave, Seeder)]), Ok(Next::Tracking));
    }

    #[test]
    fn unknown_words_are_bad_requests() {
        let action = SwarmAction { swarm_id: "a".into(), action: Word::Other("WATCH".into()), peer_mode: Leech.into() };
        let refused = |terminate| Err(Refusal { code: Code::BAD_REQUEST, terminate });
        assert_eq!(check_actions(START, core::slice::from_ref(&action)), refused(true));
        assert_eq!(check_actions(LEECH, &[action]), refused(false));
        assert_eq!(check_actions(LEECH, &[]), refused(false));
    }
}
