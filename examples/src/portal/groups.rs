//! Catalogue groups: those in which somebody finds something, and for admins all.

use std::collections::BTreeMap;

use super::{
    Caller, Portal, Refusal,
    access::Access,
    db::{content, policies},
    unix_now,
};

/// A catalogue group.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// How much content it has.
    pub content: u64,
    /// How many policies are about it.
    pub policies: u64,
}

impl Portal {
    /// The catalogue groups in which who asks finds something, in the order of names, at most [`MAX_CHOICE`].
    ///
    /// # Errors
    ///
    /// Those of the database.
    pub async fn visible_groups(&self, caller: &Caller) -> Result<Vec<String>, Refusal> {
        let (now, user) = (unix_now(), caller.user.clone());
        let read = self.db().read(move |tx| {
            let access = Access::of(tx, user.clone())?;
            let Some(name) = access.search("", "").user else { return Ok(content::groups(tx, MAX_CHOICE)?) };
            let mut visible = Vec::new();
            for group in content::groups_for(tx, &name, access.groups(), MAX_CHOICE)? {
                // Nobody is told of a group in which everything is denied, or allowed at another time alone.
                let found = content::search(tx, &access.search("", &group), "", LOOKED_AT)?;
                if found.iter().any(|content| access.may_have(content, now)) {
                    visible.push(group);
                }
            }
            Ok(visible)
        });
        read.await
    }

    /// All catalogue groups that have content or policies, in the order of names, at most [`MAX_GROUPS`] of each kind.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`], and those of the database.
    pub async fn groups(&self, caller: &Caller) -> Result<Vec<Group>, Refusal> {
        caller.must_be_admin()?;
        let read = self
            .db()
            .read(|tx| Ok::<_, Refusal>((content::group_sizes(tx, MAX_GROUPS)?, policies::groups(tx, MAX_GROUPS)?)));
        let (sizes, policies) = read.await?;
        let mut all: BTreeMap<String, Group> = BTreeMap::new();
        for (name, content) in sizes {
            all.entry(name).or_default().content = content;
        }
        for (name, policies) in policies {
            all.entry(name).or_default().policies = policies;
        }
        Ok(all.into_iter().map(|(name, group)| Group { name, ..group }).collect())
    }
}

/// The most catalogue groups to choose from in the catalogue.
pub const MAX_CHOICE: u64 = 100;

/// The most catalogue groups that an admin is shown.
pub const MAX_GROUPS: u64 = 1000;

/// So much of a group's content, the newest, is looked at to know whether there is something for who asks.
const LOOKED_AT: u64 = 100;
