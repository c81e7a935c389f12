//! Rules about who may have something, of one piece of content or of a catalogue group: a list, and a form for one more.

use ppsp_auth::{
    UserName, UserNameError,
    policy::{Effect, Policy, What, Who},
};
use serde::Deserialize;

use super::{
    form::{Problem, Said},
    view::{Time, parse_time},
};
use crate::portal::{Caller, Portal, Refusal, names};

/// What a page shows of rules.
pub(super) struct Rules {
    pub(super) all: Vec<Rule>,
    /// Where its forms go.
    pub(super) action: String,
    /// What was typed, where it was not taken.
    pub(super) typed: Ruling,
    pub(super) said: Said,
}

/// A rule as a page shows it.
pub(super) struct Rule {
    /// What a form says to remove it.
    pub(super) who: String,
    pub(super) name: String,
    pub(super) allows: bool,
    pub(super) when: String,
}

impl Rules {
    /// What there is about this.
    pub(super) async fn about(
        portal: &Portal,
        caller: &Caller,
        what: What,
        action: String,
        typed: Ruling,
        said: Said,
    ) -> Result<Self, Refusal> {
        let all = portal.policies(caller, what).await?.into_iter().map(Rule::from).collect();
        Ok(Self { all, action, typed, said })
    }
}

impl From<Policy> for Rule {
    fn from(policy: Policy) -> Self {
        let (kind, name) = match &policy.who {
            Who::User(name) => ("user", name),
            Who::Group(name) => ("group", name),
        };
        let when = match (policy.from.map(Time::of), policy.until.map(Time::of)) {
            (None, None) => "always".to_owned(),
            (Some(from), None) => format!("from {}", from.people),
            (None, Some(until)) => format!("until {}", until.people),
            (Some(from), Some(until)) => format!("from {} until {}", from.people, until.people),
        };
        let allows = policy.effect == Effect::Allow;
        Self { who: format!("{kind}:{name}"), name: format!("{kind} {name}"), allows, when }
    }
}

/// A rule as a form sends it.
#[derive(Default, Deserialize)]
pub(super) struct Ruling {
    /// `allow`, `deny` or `remove`.
    pub(super) effect: String,
    /// `user` or `group`; or both in one, as `user:alice`.
    pub(super) kind: String,
    #[serde(default)]
    pub(super) name: String,
    #[serde(default)]
    pub(super) from: String,
    #[serde(default)]
    pub(super) until: String,
}

impl Ruling {
    /// Does what it says about this.
    pub(super) async fn decide(&self, portal: &Portal, caller: &Caller, what: What) -> Result<(), Problem> {
        let (kind, name) = self.kind.split_once(':').unwrap_or((&self.kind, self.name.trim()));
        let who = match kind {
            "user" => {
                let read = name.parse().map_err(|error: UserNameError| Refusal::invalid(error.to_string()));
                Who::User(read.map(UserName::into).map_err(Problem::at("name"))?)
            }
            "group" => Who::Group(name.to_owned()),
            _ => return Err(Problem::at("name")(Refusal::invalid("a rule is about a user or a group"))),
        };
        let effect = match self.effect.as_str() {
            "allow" => Effect::Allow,
            "deny" => Effect::Deny,
            _ => return portal.remove_policy(caller, who, what).await.map_err(Problem::at("")),
        };
        if let Who::Group(name) = &who {
            names::group(name).map_err(Problem::at("name"))?;
        }
        let time = |text: &str| parse_time(text).map_err(|()| Refusal::invalid("this is not a time"));
        let from = time(&self.from).map_err(Problem::at("from"))?;
        let until = time(&self.until).map_err(Problem::at("until"))?;
        let set = portal.set_policy(caller, Policy { who, what, effect, from, until }).await;
        // All that is left to be invalid is the time.
        set.map_err(|refusal| {
            Problem::at(if matches!(refusal, Refusal::Invalid(_)) { "until" } else { "name" })(refusal)
        })
    }
}
