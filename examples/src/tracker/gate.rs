//! What the machine asks about a request that came through a door.

use std::{net::IpAddr, sync::Mutex, time::SystemTime};

use ppsp_auth::{
    Secret,
    gatekeeper::Access,
    grant::Action,
    identity::{PeerIdentifierKey, Registration, RegistrationCounter},
};
use ppsp_core::Identifier;
use ppsp_tracker_proto::{Gate, Principal, message::PeerMode};

use super::lock;

/// Gives peers their identifiers.
#[derive(Debug)]
pub struct Assigner {
    key: Mutex<Secret>,
    counter: Mutex<RegistrationCounter>,
}

impl Assigner {
    /// With the key that all nodes of a tracker share.
    pub fn new(key: Secret) -> Self {
        Self { key: Mutex::new(key), counter: Mutex::default() }
    }

    /// The key.
    pub fn key(&self) -> Secret {
        lock(&self.key).clone()
    }

    /// Another key from now on: what was assigned before is known no more.
    pub fn set_key(&self, key: Secret) {
        *lock(&self.key) = key;
    }

    /// The gate for a request of somebody with this access; without one it may do all.
    pub fn gate<'a>(&'a self, access: Option<&'a Access>) -> RequestGate<'a> {
        RequestGate { assigner: self, access }
    }
}

/// The gate of one request.
#[derive(Clone, Copy, Debug)]
pub struct RequestGate<'a> {
    assigner: &'a Assigner,
    access: Option<&'a Access>,
}

impl Gate for RequestGate<'_> {
    fn may(&self, _: &Principal, swarm: &str, mode: PeerMode) -> bool {
        let action = match mode {
            PeerMode::Leech => Action::Leech,
            PeerMode::Seeder => Action::Seeder,
        };
        self.access.is_none_or(|access| access.may(swarm, action).is_ok())
    }

    fn assign(&self, principal: &Principal, remote: IpAddr) -> Identifier {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let registration = lock(&self.assigner.counter).register(now.as_millis() as u64).unwrap_or(Registration::MAX);
        PeerIdentifierKey::new(self.assigner.key()).assign(principal.client, remote, principal.session, registration)
    }

    fn assigned(&self, id: Identifier, principal: &Principal, remote: IpAddr) -> bool {
        PeerIdentifierKey::new(self.assigner.key()).check(id, principal.client, remote, principal.session).is_ok()
    }
}
