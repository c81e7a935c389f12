//! What a Portal grants: who may have which content, and when.
//!
//! The rules, in this order:
//!
//! 1. A banned user may do nothing.
//! 2. An admin may have everything, and a publisher what it published.
//! 3. What a policy in force denies is denied.
//! 4. What a policy in force allows is allowed.
//! 5. Everything else is denied.
//!
//! Who may have content sees it in the catalogue and may take part in its swarms in both modes: who has fetched content
//! hands it on. Where users and policies are kept is not known here.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use crate::{
    grant::{Action, Grant, Grants, TooMuch},
    token::Role,
};

/// A user, as far as it matters for what it may do.
#[derive(Clone, Copy, Debug)]
pub struct User<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is to the Portal.
    pub role: Role,
    /// The user groups that it is in.
    pub groups: &'a [String],
    /// Whether it is shut out.
    pub banned: bool,
}

/// A piece of content.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// Its identifier in the catalogue.
    pub id: &'a str,
    /// Its catalogue group.
    pub group: &'a str,
    /// The name of the user who published it.
    pub publisher: &'a str,
    /// Its swarms, as PPSTP names them.
    pub swarms: &'a [String],
}

/// A rule about some users, some content and some time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Policy {
    /// Whom it is about.
    pub who: Who,
    /// What it is about.
    pub what: What,
    /// What it says.
    pub effect: Effect,
    /// The first Unix second in which it is in force; from ever where there is none.
    pub from: Option<u64>,
    /// The first Unix second in which it is no longer in force; for ever where there is none.
    pub until: Option<u64>,
}

/// Whom a policy is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Who {
    /// One user, by name.
    User(String),
    /// All users in a user group.
    Group(String),
}

/// What a policy is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum What {
    /// One piece of content, by its identifier.
    Content(String),
    /// All content of a catalogue group.
    Group(String),
}

/// What a policy says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Effect {
    /// These users may have this content.
    Allow,
    /// They may not, whatever allows it.
    Deny,
}

/// Whether a user may have content in this Unix second, and so sees it in the catalogue.
pub fn may_have(user: &User<'_>, content: &Content<'_>, policies: &[Policy], unix_now: u64) -> bool {
    decide(user, user.owns(content), policies.iter().filter(|policy| policy.is_about(user, content)), unix_now)
}

/// What a token that is made now and expires then should grant for some content. Windows that open or close while the
/// token lives are in it, so that trackers keep to the second.
///
/// # Errors
/// [`TooMuch`] where the content does not fit into one token.
pub fn grants(
    user: &User<'_>,
    contents: &[Content<'_>],
    policies: &[Policy],
    unix_now: u64,
    expires: u64,
) -> Result<Grants, TooMuch> {
    // Content of the same windows shares a grant.
    let mut swarms: BTreeMap<Window, Vec<String>> = BTreeMap::new();
    for content in contents {
        let about: Vec<_> = policies.iter().filter(|policy| policy.is_about(user, content)).collect();
        for window in windows(user, user.owns(content), &about, unix_now, expires) {
            swarms.entry(window).or_default().extend_from_slice(content.swarms);
        }
    }
    let grant =
        |((from, until), swarms)| Grant { swarms, actions: Action::ALL.into(), from, until, ..Grant::default() };
    Grants::new(swarms.into_iter().map(grant).collect())
}

/// The same for all content of some catalogue groups, whatever is in them.
///
/// A group of which the user is denied some content is left out: the tracker knows groups only, and would let it in. That
/// content, and the rest of its group, has to be granted by [`grants`]. `denied` tells whether the user is
/// denied some content of a group by a policy about that content, now or later.
///
/// # Errors
/// [`TooMuch`] where the groups do not fit into one token.
pub fn group_grants<'a>(
    user: &User<'_>,
    groups: impl IntoIterator<Item = &'a str>,
    policies: &[Policy],
    denied: impl Fn(&str) -> bool,
    unix_now: u64,
    expires: u64,
) -> Result<Grants, TooMuch> {
    let mut names: BTreeMap<Window, Vec<String>> = BTreeMap::new();
    for group in groups {
        let is_about = |policy: &&Policy| policy.who.includes(user) && policy.what == What::Group(group.into());
        let about: Vec<_> = policies.iter().filter(is_about).collect();
        if user.role != Role::Admin && denied(group) {
            continue;
        }
        for window in windows(user, false, &about, unix_now, expires) {
            names.entry(window).or_default().push(group.into());
        }
    }
    let grant =
        |((from, until), groups)| Grant { groups, actions: Action::ALL.into(), from, until, ..Grant::default() };
    Grants::new(names.into_iter().map(grant).collect())
}

/// From when until when, as in a [`Grant`].
type Window = (Option<u64>, Option<u64>);

/// The windows between two moments in which the content may be had; a side on which nothing changes is open.
fn windows(user: &User<'_>, owns: bool, about: &[&Policy], from: u64, until: u64) -> Vec<Window> {
    // Between these moments nothing changes.
    let mut changes: Vec<u64> = about.iter().flat_map(|policy| [policy.from, policy.until]).flatten().collect();
    changes.retain(|change| from < *change && *change < until);
    changes.sort_unstable();
    changes.dedup();
    let mut windows: Vec<Window> = Vec::new();
    let mut open = false;
    for start in core::iter::once(None).chain(changes.into_iter().map(Some)) {
        let allowed = decide(user, owns, about.iter().copied(), start.unwrap_or(from));
        if allowed && !open {
            windows.push((start, None));
        } else if open
            && !allowed
            && let Some(window) = windows.last_mut()
        {
            window.1 = start;
        }
        open = allowed;
    }
    windows
}

/// The rules of this module, for policies about this user and content.
fn decide<'a>(user: &User<'_>, owns: bool, about: impl Iterator<Item = &'a Policy>, at: u64) -> bool {
    if user.banned {
        return false;
    }
    if user.role == Role::Admin || owns {
        return true;
    }
    let mut allowed = false;
    for policy in about.filter(|policy| policy.is_in_force(at)) {
        match policy.effect {
            Effect::Deny => return false,
            Effect::Allow => allowed = true,
        }
    }
    allowed
}

impl User<'_> {
    fn owns(&self, content: &Content<'_>) -> bool {
        self.role == Role::Publisher && self.name == content.publisher
    }
}

impl Policy {
    fn is_about(&self, user: &User<'_>, content: &Content<'_>) -> bool {
        let what = match &self.what {
            What::Content(id) => id == content.id,
            What::Group(group) => group == content.group,
        };
        what && self.who.includes(user)
    }

    fn is_in_force(&self, at: u64) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }
}

impl Who {
    fn includes(&self, user: &User<'_>) -> bool {
        match self {
            Self::User(name) => name == user.name,
            Self::Group(group) => user.groups.contains(group),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, option, prelude::*, sample::select};

    fn policy() -> impl Strategy<Value = Policy> {
        let who = prop_oneof!["[ab]".prop_map(Who::User), "[gh]".prop_map(Who::Group)];
        let what = prop_oneof!["[xy]".prop_map(What::Content), "[st]".prop_map(What::Group)];
        let effect = select(vec![Effect::Allow, Effect::Allow, Effect::Deny]);
        (who, what, effect, option::of(0..20u64), option::of(0..20u64))
            .prop_map(|(who, what, effect, from, until)| Policy { who, what, effect, from, until })
    }

    /// The rules, read aloud.
    fn model(user: &User<'_>, content: &Content<'_>, policies: &[Policy], now: u64) -> bool {
        let says = |effect| {
            policies.iter().any(|policy| {
                let who = match &policy.who {
                    Who::User(name) => user.name == name,
                    Who::Group(group) => user.groups.iter().any(|own| own == group),
                };
                let what = match &policy.what {
                    What::Content(id) => content.id == id,
                    What::Group(group) => content.group == group,
                };
                let when = (policy.from.unwrap_or(0)..policy.until.unwrap_or(u64::MAX)).contains(&now);
                policy.effect == effect && who && what && when
            })
        };
        let own = user.role == Role::Admin || user.role == Role::Publisher && user.name == content.publisher;
        !user.banned && (own || says(Effect::Allow) && !says(Effect::Deny))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn as_the_naive_model(
            policies in vec(policy(), 0..8), name in "[ab]", groups in vec("[gh]", 0..2), banned in prop::bool::weighted(0.1),
            role in select(vec![Role::Viewer, Role::Viewer, Role::Publisher, Role::Admin]), now in 0..20u64, life in 1..20u64,
        ) {
            let user = User { name: &name, role, groups: &groups, banned };
            let swarms = ["1".into(), "2".into(), "3".into()];
            let contents = [
                Content { id: "x", group: "s", publisher: "a", swarms: &swarms[..2] },
                Content { id: "y", group: "t", publisher: "b", swarms: &swarms[2..] },
            ];
            let granted = grants(&user, &contents, &policies, now, now + life).unwrap();
            let denied = |group: &str| policies.iter().any(|policy| {
                let id = if group == "s" { "x" } else { "y" };
                policy.effect == Effect::Deny && policy.what == What::Content(id.into())
            });
            let by_group = group_grants(&user, ["s", "t"], &policies, denied, now, now + life).unwrap();
            for at in now..now + life {
                for content in &contents {
                    let expected = model(&user, content, &policies, at);
                    prop_assert_eq!(may_have(&user, content, &policies, at), expected);
                    for swarm in content.swarms {
                        for action in Action::ALL {
                            prop_assert_eq!(granted.allows(swarm, &[], action, at).is_ok(), expected);
                            // Groups grant no more than that, though they may grant less.
                            let allowed = by_group.allows(swarm, &[content.group.into()], action, at).is_ok();
                            prop_assert!(!allowed || expected);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn one_grant_for_the_same_window() {
        let user = User { name: "a", role: Role::Viewer, groups: &["g".into()], banned: false };
        let policy =
            |what, from, until| Policy { who: Who::Group("g".into()), what, effect: Effect::Allow, from, until };
        let policies =
            [policy(What::Group("s".into()), None, Some(500)), policy(What::Content("z".into()), Some(50), None)];
        let swarms = ["1".into(), "2".into(), "3".into()];
        let content = |id, group, i: usize| Content { id, group, publisher: "p", swarms: &swarms[i..=i] };
        let contents = [content("x", "s", 0), content("y", "s", 1), content("z", "t", 2)];
        let granted = grants(&user, &contents, &policies, 100, 700).unwrap();
        let grant = |swarms: &[&str], until| Grant {
            swarms: swarms.iter().map(|&swarm| swarm.into()).collect(),
            actions: Action::ALL.into(),
            until,
            ..Grant::default()
        };
        assert_eq!(granted.as_slice(), [grant(&["3"], None), grant(&["1", "2"], Some(500))]);
        let many = vec!["1".into(); Grants::MAX_NAMES + 1];
        let content = Content { id: "x", group: "s", publisher: "p", swarms: &many };
        assert_eq!(grants(&user, &[content], &policies, 100, 700), Err(TooMuch));
    }

    #[test]
    fn a_group_grant() {
        let user = User { name: "a", role: Role::Viewer, groups: &[], banned: false };
        let policies = [Policy {
            who: Who::User("a".into()),
            what: What::Group("s".into()),
            effect: Effect::Allow,
            from: None,
            until: None,
        }];
        let granted = group_grants(&user, ["s", "t"], &policies, |_| false, 0, 900).unwrap();
        assert_eq!(granted.as_slice().len(), 1);
        assert_eq!(granted.as_slice()[0].groups, ["s"]);
        assert_eq!(group_grants(&user, ["s"], &policies, |group| group == "s", 0, 900), Ok(Grants::default()));
    }
}
