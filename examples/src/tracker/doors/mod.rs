//! Who is it that asks? The ways in which a request can say so: access tokens of a Portal, Digest, TLS client certificates,
//! or nothing at all on loopback.
//!
//! Owned here: from the head of a request to a [`Principal`]. What a principal may do in a swarm says its token, through
//! the [gate](super::gate); what it did says the machine.

mod bearer;
mod digest;

use std::sync::{Arc, OnceLock};

use http::{HeaderValue, header, request::Parts};
use ppsp_auth::{
    bearer::{self as bearer_header, BearerChallenge, BearerRefusal},
    digest::DigestError,
    gatekeeper::{Access, Denial},
    token::TokenText,
};
use ppsp_core::Identifier;
use ppsp_tracker_proto::{
    Principal,
    message::{Code, Request, RequestData},
};
use sha2::{Digest as _, Sha256};

pub use bearer::Bearer;
pub use digest::Digest;

use crate::http::{ClientCertificate, Pin};

/// Where accounts and tokens are good, as challenges call it.
pub const REALM: &str = "ppsp-tracker";

/// The header by which clients name themselves where nobody has to prove anything.
pub const CLIENT_HEADER: &str = "ppsp-client";

/// The doors that are open.
#[derive(Default)]
pub struct Doors {
    /// Tokens, as soon as the Portal is known and knows us.
    pub bearer: Option<OnceLock<Arc<Bearer>>>,
    /// Names and passwords of a file.
    pub digest: Option<Digest>,
    /// Certificates that the TLS server has checked.
    pub certificate: bool,
    /// Everybody, under the name that is said in [`CLIENT_HEADER`]: for tests on one machine.
    pub nobody_proves: bool,
}

/// Who came in.
#[derive(Clone, Debug)]
pub struct Admitted {
    /// As whom.
    pub principal: Principal,
    /// What its token grants; without a token, all.
    pub access: Option<Access>,
}

/// Who did not.
#[derive(Clone, Debug)]
pub struct Rejected {
    /// The error of the answer.
    pub code: Code,
    /// What would open the door: values of `WWW-Authenticate`.
    pub challenges: Vec<HeaderValue>,
}

impl Doors {
    /// Who sends this request?
    ///
    /// # Errors
    ///
    /// What to answer.
    pub async fn admit(&self, head: &Parts, body: &[u8]) -> Result<Admitted, Rejected> {
        let Some(shown) = head.headers.get(header::AUTHORIZATION) else { return self.without_header(head) };
        // RFC 9110 §11.4: the scheme is the first word, in any case.
        let shown = shown.to_str().unwrap_or_default();
        let scheme = shown.split(' ').next().unwrap_or_default();
        if scheme.eq_ignore_ascii_case("digest")
            && let Some(digest) = &self.digest
        {
            let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
            return digest.admit(shown, head.method.as_str(), target).map(everything).map_err(|error| match error {
                // RFC 7616 §3.4.6: a request that says two things about where it goes is a bad one.
                DigestError::Target => Rejected { code: Code::BAD_REQUEST, challenges: Vec::new() },
                error => self.challenge(None, error == DigestError::Stale),
            });
        }
        match (&self.bearer, bearer_header::token(shown)) {
            (Some(door), Ok(token)) => {
                let Some(door) = door.get() else { return Err(unavailable()) };
                let read = Request::read(body);
                let swarms = read.as_ref().map_or_else(|_| Vec::new(), |request| swarms_of(&request.data));
                match door.admit(&TokenText::new(token), &swarms).await {
                    Ok(access) => {
                        let principal = Principal { client: access.client(), session: access.session() };
                        Ok(Admitted { principal, access: Some(access) })
                    }
                    Err(Denial::Busy) => Err(unavailable()),
                    Err(denial) => Err(self.challenge(Some(denial), false)),
                }
            }
            _ => Err(self.challenge(None, false)),
        }
    }

    /// Whether all that are configured can be gone through.
    pub fn ready(&self) -> bool {
        self.bearer.as_ref().is_none_or(|door| door.get().is_some())
    }

    fn without_header(&self, head: &Parts) -> Result<Admitted, Rejected> {
        if self.certificate
            && let Some(ClientCertificate(pin)) = head.extensions.get()
        {
            return Ok(everything(of_certificate(pin)));
        }
        if self.nobody_proves {
            let said = head.headers.get(CLIENT_HEADER).and_then(|name| name.to_str().ok()?.parse::<Identifier>().ok());
            let client = said.unwrap_or(Identifier::from_bytes([0; 12]));
            return Ok(everything(Principal { client, ..named_by(&Sha256::digest(client.as_bytes()).into()) }));
        }
        Err(self.challenge(None, false))
    }

    /// RFC 9110 §15.5.2: 401 comes with at least one challenge. Who shows a certificate needs none of these.
    fn challenge(&self, denial: Option<Denial>, stale: bool) -> Rejected {
        let mut challenges = Vec::new();
        if self.bearer.is_some() {
            let description = denial.map(|denial| denial.to_string());
            let refusal = denial.map(|_| BearerRefusal::InvalidToken);
            let challenge = BearerChallenge { realm: REALM, refusal, description: description.as_deref(), scope: None };
            challenges.extend(HeaderValue::try_from(challenge.to_string()));
        }
        challenges.extend(self.digest.as_ref().and_then(|digest| digest.challenge(stale)));
        Rejected { code: Code::AUTHENTICATION_REQUIRED, challenges }
    }
}

/// The swarms that a request is about: what a token grants may depend on their groups.
fn swarms_of<'a>(data: &'a RequestData<'_>) -> Vec<&'a str> {
    match data {
        RequestData::Connect(connect) => connect.actions.iter().map(|action| &*action.swarm_id).collect(),
        RequestData::Find(find) => vec![&find.swarm_id],
        RequestData::StatReport(report) => report.stats.iter().map(|stat| &*stat.swarm_id).collect(),
    }
}

fn unavailable() -> Rejected {
    Rejected { code: Code::UNAVAILABLE, challenges: Vec::new() }
}

fn everything(principal: Principal) -> Admitted {
    Admitted { principal, access: None }
}

/// The principal of who shows a certificate with this key.
pub fn of_certificate(key: &Pin) -> Principal {
    named_by(key.as_bytes())
}

/// The principal of whoever is known by a hash alone: its first bytes are the client identifier, the next ones the session,
/// which is always the same. So clients know their identifiers without being told.
fn named_by(hash: &[u8; 32]) -> Principal {
    let (mut client, mut session) = ([0; 12], [0; 16]);
    client.copy_from_slice(&hash[..12]);
    session.copy_from_slice(&hash[12..28]);
    Principal { client: Identifier::from_bytes(client), session: u128::from_be_bytes(session) }
}
