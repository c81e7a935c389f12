//! Policies: who may have which content, and when; who may say so.

use ppsp_auth::policy::{Policy, What, Who};

use super::{
    Caller, Portal, Refusal,
    catalogue::{about, changeable},
    db::{Tx, audit, policies, users},
    names, unix_now,
};

impl Portal {
    /// Sets a policy. One about the same users and the same content is replaced. Policies about content are set by its
    /// publisher and by admins, those about catalogue groups by admins.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`] where content or user are not there, [`Refusal::Forbidden`], [`Refusal::Invalid`],
    /// [`Refusal::Conflict`] beyond [`MAX_POLICIES`], and those of the database.
    pub async fn set_policy(&self, caller: &Caller, policy: Policy) -> Result<(), Refusal> {
        check(&policy)?;
        let (now, caller) = (unix_now(), caller.clone());
        let set = self.db().write(move |tx| {
            let about = may_rule(tx, &caller, &policy.what, now)?;
            let who = match &policy.who {
                Who::User(name) => {
                    let name = name.parse().map_err(|_| NO_USER)?;
                    users::find(tx, &name)?.ok_or(NO_USER)?;
                    format!("user {name}")
                }
                Who::Group(name) => format!("group {name}"),
            };
            if policies::count(tx, &policy.who)? >= MAX_POLICIES {
                return Err(Refusal::Conflict("there are too many policies about these users: use catalogue groups"));
            }
            policies::put(tx, &policy)?;
            let what = match policy.effect {
                ppsp_auth::policy::Effect::Allow => "allow",
                ppsp_auth::policy::Effect::Deny => "deny",
            };
            audit::add(tx, now, caller.name().as_str(), what, &format!("{who}: {about}"))?;
            Ok(())
        });
        set.await
    }

    /// Removes the policy about these users and this content.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`], [`Refusal::Forbidden`], and those of the database.
    pub async fn remove_policy(&self, caller: &Caller, who: Who, what: What) -> Result<(), Refusal> {
        let (now, caller) = (unix_now(), caller.clone());
        let removed = self.db().write(move |tx| {
            let about = may_rule(tx, &caller, &what, now)?;
            if !policies::remove(tx, &who, &what)? {
                return Err(Refusal::NotFound("there is no such policy"));
            }
            let who = match &who {
                Who::User(name) => format!("user {name}"),
                Who::Group(name) => format!("group {name}"),
            };
            audit::add(tx, now, caller.name().as_str(), "remove policy", &format!("{who}: {about}"))?;
            Ok(())
        });
        removed.await
    }

    /// The policies about this content, or this catalogue group.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`], [`Refusal::Forbidden`], and those of the database.
    pub async fn policies(&self, caller: &Caller, what: What) -> Result<Vec<Policy>, Refusal> {
        let (now, caller) = (unix_now(), caller.clone());
        let read = self.db().read(move |tx| {
            may_rule(tx, &caller, &what, now)?;
            Ok(policies::about(tx, &what)?)
        });
        read.await
    }
}

fn check(policy: &Policy) -> Result<(), Refusal> {
    if let Who::Group(name) = &policy.who {
        names::group(name)?;
    }
    if let What::Group(name) = &policy.what {
        names::group(name)?;
    }
    match (policy.from, policy.until) {
        (Some(from), Some(until)) if from >= until => Err(Refusal::invalid("the policy would end before it begins")),
        // What is kept has 63 bits.
        (from, until) if from.max(until) > Some(1 << 40) => Err(Refusal::invalid("times are Unix seconds")),
        _ => Ok(()),
    }
}

/// Lets pass who may set policies about this; how the audit log names it.
fn may_rule(tx: &mut Tx<'_>, caller: &Caller, what: &What, unix_now: u64) -> Result<String, Refusal> {
    match what {
        What::Content(id) => changeable(tx, caller, id, unix_now).map(|content| about(&content)),
        What::Group(name) => caller.must_be_admin().map(|()| format!("all of {name}")),
    }
}

const NO_USER: Refusal = Refusal::NotFound("there is no such user");

/// The most policies about one user, or about one user group.
pub const MAX_POLICIES: u64 = 1000;
