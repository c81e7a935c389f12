//! What a token lets a client do: which swarms it may join, in which mode, from when until when.
//!
//! On the wire these are authorization details (RFC 9396 §2) of type `ppsp`. Who decides what is granted is not the
//! business of this module (see [`policy`](crate::policy)), nor how it travels ([`token`](crate::token),
//! [`introspection`](crate::introspection)).

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

/// The mode in which a peer takes part in a swarm (RFC 7846 §3.2.3).
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Action {
    /// It still lacks content.
    Leech,
    /// It has all content.
    Seeder,
}

impl Action {
    /// Both modes: who may fetch content may also hand it on.
    pub const ALL: [Self; 2] = [Self::Leech, Self::Seeder];
}

/// Some swarms, and what may be done in them while a window of time is open.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
// A member that we do not know may be a condition: what it narrows must not be granted without it.
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Swarm IDs as PPSTP has them: lower-case hexadecimal digits.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub swarms: Vec<String>,
    /// Catalogue groups: all swarms in them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The modes; none where the list is empty.
    pub actions: Vec<Action>,
    /// The first Unix second of the window; open from ever where there is none.
    #[serde(default, rename = "nbf", skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// The first Unix second behind the window; open for ever where there is none.
    #[serde(default, rename = "exp", skip_serializing_if = "Option::is_none")]
    pub until: Option<u64>,
}

/// All that one token grants: the sum of its grants. Bounded by [`Grants::MAX`] and the limits beside it.
///
/// ```
/// use ppsp_auth::grant::{Action, Grant, Grants, Refusal};
///
/// let news = Grant { groups: vec!["news".into()], actions: vec![Action::Leech], until: Some(2000), ..Grant::default() };
/// let grants = Grants::new(vec![news])?;
/// let groups = ["news".to_string()]; // those of the swarm
/// assert_eq!(grants.allows("a1b2", &groups, Action::Leech, 1999), Ok(()));
/// assert_eq!(grants.allows("a1b2", &groups, Action::Leech, 2000), Err(Refusal::NoLonger));
/// assert_eq!(grants.allows("a1b2", &groups, Action::Seeder, 1999), Err(Refusal::Mode));
/// # Ok::<(), ppsp_auth::grant::TooMuch>(())
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Grants(Vec<Grant>);

/// Why a client may not join. The later ones are nearer to a yes.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No grant names the swarm or a group of it.
    #[error("the token does not grant this swarm")]
    Swarm,
    /// The swarm is granted, in another mode.
    #[error("the token does not grant this swarm in this mode")]
    Mode,
    /// The window has closed.
    #[error("the time for which this swarm was granted is over")]
    NoLonger,
    /// The window opens later.
    #[error("the time for which this swarm is granted has not come yet")]
    NotYet,
}

/// More grants, or longer names in them, than a token may have.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("there are more grants, or longer names in them, than a token may have")]
pub struct TooMuch;

impl Grants {
    /// The most grants that one token has.
    pub const MAX: usize = 64;

    /// The most swarms and groups in all grants together.
    pub const MAX_NAMES: usize = 1024;

    /// The longest swarm ID, in bytes.
    pub const MAX_SWARM: usize = 1100;

    /// The longest name of a group, in bytes.
    pub const MAX_GROUP: usize = 128;

    /// Takes grants.
    ///
    /// # Errors
    /// [`TooMuch`] beyond the limits.
    pub fn new(grants: Vec<Grant>) -> Result<Self, TooMuch> {
        let names: usize = grants.iter().map(|grant| grant.swarms.len() + grant.groups.len()).sum();
        let fits = |grant: &Grant| {
            grant.actions.len() <= Action::ALL.len()
                && grant.swarms.iter().all(|swarm| swarm.len() <= Self::MAX_SWARM)
                && grant.groups.iter().all(|group| group.len() <= Self::MAX_GROUP)
        };
        if grants.len() > Self::MAX || names > Self::MAX_NAMES || !grants.iter().all(fits) {
            return Err(TooMuch);
        }
        Ok(Self(grants))
    }

    /// The grants.
    pub fn as_slice(&self) -> &[Grant] {
        &self.0
    }

    /// Whether a swarm that is in these catalogue groups may be joined in this mode at this Unix second.
    ///
    /// # Errors
    /// The [`Refusal`] of the grant that comes nearest to a yes.
    pub fn allows(&self, swarm: &str, groups: &[String], action: Action, unix_now: u64) -> Result<(), Refusal> {
        let mut refusal = Refusal::Swarm;
        for grant in &self.0 {
            match grant.allows(swarm, groups, action, unix_now) {
                Ok(()) => return Ok(()),
                Err(reason) => refusal = refusal.max(reason),
            }
        }
        Err(refusal)
    }

    /// Whether the groups of this swarm may matter: some are granted, and it is not granted without conditions by its own
    /// name.
    pub fn depends_on_groups(&self, swarm: &str) -> bool {
        let unconditional = |grant: &Grant| {
            grant.swarms.iter().any(|granted| granted == swarm)
                && Action::ALL.iter().all(|action| grant.actions.contains(action))
                && (grant.from, grant.until) == (None, None)
        };
        self.0.iter().any(|grant| !grant.groups.is_empty()) && !self.0.iter().any(unconditional)
    }
}

impl Grant {
    fn allows(&self, swarm: &str, groups: &[String], action: Action, unix_now: u64) -> Result<(), Refusal> {
        if !self.swarms.iter().any(|granted| granted == swarm)
            && !self.groups.iter().any(|granted| groups.contains(granted))
        {
            return Err(Refusal::Swarm);
        }
        if !self.actions.contains(&action) {
            return Err(Refusal::Mode);
        }
        if self.until.is_some_and(|until| unix_now >= until) {
            return Err(Refusal::NoLonger);
        }
        if self.from.is_some_and(|from| unix_now < from) {
            return Err(Refusal::NotYet);
        }
        Ok(())
    }
}

/// The `authorization_details` that mean something here; others are for other services.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum Detail {
    #[serde(rename = "ppsp")]
    Ppsp(Grant),
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Grants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let details = Vec::<Detail>::deserialize(deserializer)?;
        let grants = details.into_iter().filter_map(|detail| match detail {
            Detail::Ppsp(grant) => Some(grant),
            Detail::Other => None,
        });
        Self::new(grants.collect()).map_err(D::Error::custom)
    }
}

impl Serialize for Grants {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Tagged<'a> {
            r#type: &'static str,
            #[serde(flatten)]
            grant: &'a Grant,
        }
        serializer.collect_seq(self.0.iter().map(|grant| Tagged { r#type: "ppsp", grant }))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::{collection::vec, option, prelude::*, sample::subsequence};

    fn name() -> impl Strategy<Value = String> {
        "[a-d]"
    }

    pub(crate) fn grants() -> impl Strategy<Value = Grants> {
        let actions = subsequence(Action::ALL.to_vec(), 0..=2);
        let grant = (vec(name(), 0..3), vec(name(), 0..3), actions, option::of(0..20u64), option::of(0..20u64))
            .prop_map(|(swarms, groups, actions, from, until)| Grant { swarms, groups, actions, from, until });
        vec(grant, 0..4).prop_map(|grants| Grants::new(grants).unwrap())
    }

    proptest! {
        #[test]
        fn as_the_naive_model(
            grants in grants(), swarm in name(), groups in vec(name(), 0..3), seeder: bool, now in 0..20u64,
        ) {
            let action = Action::ALL[usize::from(seeder)];
            let mut allowed = false;
            for grant in grants.as_slice() {
                let named = grant.swarms.contains(&swarm) || grant.groups.iter().any(|group| groups.contains(group));
                let open = grant.from.unwrap_or(0) <= now && now < grant.until.unwrap_or(u64::MAX);
                allowed |= named && open && grant.actions.contains(&action);
            }
            prop_assert_eq!(grants.allows(&swarm, &groups, action, now).is_ok(), allowed);
            if !grants.depends_on_groups(&swarm) {
                prop_assert_eq!(grants.allows(&swarm, &[], action, now), grants.allows(&swarm, &groups, action, now));
            }
        }

        #[test]
        fn what_is_written_is_read(grants in grants()) {
            prop_assert_eq!(serde_json::from_str::<Grants>(&serde_json::to_string(&grants).unwrap()).unwrap(), grants);
        }
    }

    #[test]
    fn the_written_form() {
        let text =
            r#"[{"type":"ppsp","swarms":["a1"],"groups":["news"],"actions":["LEECH","SEEDER"],"nbf":1,"exp":2}]"#;
        let grants: Grants = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&grants).unwrap(), text);
    }

    #[test]
    fn the_nearest_refusal() {
        let grant = |from, until, actions: &[Action]| Grant {
            swarms: vec!["a".into()],
            actions: actions.to_vec(),
            from,
            until,
            ..Grant::default()
        };
        let refusal =
            |grants: Vec<Grant>| Grants::new(grants).unwrap().allows("a", &[], Action::Leech, 10).unwrap_err();
        assert_eq!(refusal(vec![]), Refusal::Swarm);
        assert_eq!(refusal(vec![grant(None, None, &[]), Grant::default()]), Refusal::Mode);
        assert_eq!(refusal(vec![grant(None, Some(10), &Action::ALL), grant(None, None, &[])]), Refusal::NoLonger);
        assert_eq!(
            refusal(vec![grant(Some(11), None, &Action::ALL), grant(None, Some(10), &Action::ALL)]),
            Refusal::NotYet
        );
    }

    #[test]
    fn other_types_are_for_others_and_unknown_conditions_grant_nothing() {
        let read = serde_json::from_str::<Grants>;
        let other = r#"[{"type":"payment","amount":{"a":[1]},"actions":7},{"type":"ppsp","actions":[]}]"#;
        assert_eq!(read(other).unwrap().as_slice(), [Grant::default()]);
        assert!(read(r#"[{"type":"ppsp","actions":["LEECH"],"swarms":["a"],"only_on":"sundays"}]"#).is_err());
        assert!(read(r#"[{"type":"ppsp","actions":["STEAL"]}]"#).is_err());
        assert!(read(r#"[{"actions":["LEECH"]}]"#).is_err());
    }

    #[test]
    fn at_the_limits() {
        let new = |grants: Vec<Grant>| Grants::new(grants).map(drop);
        assert_eq!(new(vec![Grant::default(); Grants::MAX]), Ok(()));
        assert_eq!(new(vec![Grant::default(); Grants::MAX + 1]), Err(TooMuch));
        let swarms = |swarms| vec![Grant { swarms, ..Grant::default() }];
        assert_eq!(new(swarms(vec!["a".repeat(Grants::MAX_SWARM)])), Ok(()));
        assert_eq!(new(swarms(vec!["a".repeat(Grants::MAX_SWARM + 1)])), Err(TooMuch));
        assert_eq!(new(swarms(vec![String::new(); Grants::MAX_NAMES])), Ok(()));
        assert_eq!(new(swarms(vec![String::new(); Grants::MAX_NAMES + 1])), Err(TooMuch));
        let groups = |len| vec![Grant { groups: vec!["a".repeat(len)], ..Grant::default() }];
        assert_eq!(new(groups(Grants::MAX_GROUP)), Ok(()));
        assert_eq!(new(groups(Grants::MAX_GROUP + 1)), Err(TooMuch));
    }
}
