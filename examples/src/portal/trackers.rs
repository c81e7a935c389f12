//! Trackers: how they make themselves known, and who lets them in.

use std::net::IpAddr;

use ppsp_auth::{
    Secret,
    throttle::Verdict,
    token::{TokenText, VerifyingKey},
};

pub use super::db::trackers::{State, Tracker};
use super::{
    Caller, Portal, Refusal,
    db::{audit, settings, settings::Setting, trackers},
    first_start::enrolment,
    lock, names, unix_now,
};

/// What a tracker says of itself.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// Where peers find it.
    pub url: String,
    /// What people may call it.
    pub name: String,
    /// Its public key, a JSON Web Key.
    pub jwk: String,
    /// The code of the Portal, where it has it.
    pub code: Option<TokenText>,
}

impl Portal {
    /// Makes a tracker known. With the Portal's code it is approved at once, else by an admin. One that is known already
    /// learns how it stands; with the code it may have moved.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] for a wrong code, [`Refusal::Invalid`], [`Refusal::Wait`], [`Refusal::Conflict`] where too many
    /// wait for approval, and those of the database.
    pub async fn enrol(&self, enrolment: Enrolment, remote: IpAddr) -> Result<Tracker, Refusal> {
        let key = VerifyingKey::from_jwk(&enrolment.jwk).map_err(|error| Refusal::invalid(error.to_string()))?;
        check_url(&enrolment.url)?;
        names::tracker(&enrolment.name)?;
        let now = unix_now();
        let new = Tracker {
            id: key.id().to_string(),
            url: enrolment.url,
            name: enrolment.name,
            jwk: key.to_jwk(),
            state: State::Pending,
            created: now,
        };
        let shown = enrolment.code.map(|code| self.code_hash(code.as_str()));
        let id = new.id.clone();
        let (kept, known) = self
            .db()
            .read(move |tx| {
                let kept = settings::find(tx, Setting::EnrolCode)?.and_then(|kept| kept.try_into().ok());
                Ok::<_, Refusal>((kept.map(Secret::new), trackers::find(tx, &id)?.is_some()))
            })
            .await?;
        let proven = shown.is_some() && shown == kept;
        // Those that are known, or know the code, may ask as often as they like: a tracker does so at each start.
        if !(proven || known && shown.is_none())
            && let Verdict::Wait(wait) = lock(&self.0.enrolments).admit(self.now(), remote)
        {
            return Err(Refusal::Wait(wait));
        }
        if shown.is_some() && !proven {
            return Err(Refusal::Forbidden("the enrolment code is wrong"));
        }
        let state = if proven { State::Approved } else { State::Pending };
        let enrolled = self.db().write(move |tx| {
            let known = trackers::find(tx, &new.id)?;
            match &known {
                // What an admin has decided a code does not undo.
                Some(known) if state == State::Pending || known.state == State::Revoked => return Ok(known.clone()),
                None if state == State::Pending && trackers::count(tx, State::Pending)? >= MAX_PENDING => {
                    return Err(Refusal::Conflict("too many trackers wait for approval"));
                }
                _ => {}
            }
            trackers::put(tx, &Tracker { state, ..new.clone() })?;
            audit::add(tx, now, &format!("(tracker) {}", new.id), "enrol", &format!("{}: {state}", new.url))?;
            trackers::find(tx, &new.id)?.ok_or(NO_TRACKER)
        });
        enrolled.await
    }

    /// All trackers, in the order in which they came.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`], and those of the database.
    pub async fn trackers(&self, caller: &Caller) -> Result<Vec<Tracker>, Refusal> {
        caller.must_be_admin()?;
        Ok(self.db().read(trackers::all).await?)
    }

    /// Approves or revokes a tracker.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`], [`Refusal::NotFound`], and those of the database.
    pub async fn set_tracker_state(&self, caller: &Caller, id: &str, state: State) -> Result<Tracker, Refusal> {
        caller.must_be_admin()?;
        let (now, who, id) = (unix_now(), caller.name().clone(), id.to_owned());
        let set = self.db().write(move |tx| {
            let tracker = Tracker { state, ..trackers::find(tx, &id)?.ok_or(NO_TRACKER)? };
            trackers::put(tx, &tracker)?;
            audit::add(tx, now, who.as_str(), "set tracker", &format!("{id} {}: {state}", tracker.url))?;
            Ok(tracker)
        });
        set.await
    }

    fn code_hash(&self, code: &str) -> Secret {
        enrolment(&self.0.enrolment, code)
    }
}

fn check_url(url: &str) -> Result<(), Refusal> {
    let parsed = url.parse::<http::Uri>().ok().filter(|_| url.len() <= 512);
    let good = parsed.is_some_and(|uri| {
        let scheme = uri.scheme_str();
        uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && (scheme == Some("https") || scheme == Some("http"))
            && uri.query().is_none()
    });
    good.then_some(()).ok_or(Refusal::invalid("a tracker has an address like https://tracker.example/"))
}

const NO_TRACKER: Refusal = Refusal::NotFound("there is no such tracker");

/// The most trackers that wait for approval.
pub const MAX_PENDING: u64 = 64;
