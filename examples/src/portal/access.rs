//! What a user may have, by the rules of [`ppsp_auth::policy`] and what the database says.

use ppsp_auth::{
    grant::Grants,
    policy::{self, Effect, Policy, What, Who},
    token::Role,
};

use super::{
    db::{
        DbError, Tx,
        content::{self, Content},
        policies,
        users::User,
    },
    names::EVERYONE,
};

/// A user and all policies about it.
pub(super) struct Access {
    user: User,
    policies: Vec<Policy>,
}

impl Access {
    /// Reads them.
    pub(super) fn of(tx: &mut Tx<'_>, mut user: User) -> Result<Self, DbError> {
        user.groups.push(EVERYONE.into());
        let mut all = policies::of(tx, &Who::User(user.name.as_str().into()))?;
        for group in &user.groups {
            all.extend(policies::of(tx, &Who::Group(group.clone()))?);
        }
        Ok(Self { user, policies: all })
    }

    /// Whether it may have this content now.
    pub(super) fn may_have(&self, content: &Content, unix_now: u64) -> bool {
        policy::may_have(&self.user(), &about(content, &[]), &self.policies, unix_now)
    }

    /// Whether it may change this content and the policies about it.
    pub(super) fn may_change(&self, content: &Content) -> bool {
        may_change(&self.user, content)
    }

    /// What a token grants that opens this content until then.
    pub(super) fn grants_of(
        &self,
        tx: &mut Tx<'_>,
        contents: &[Content],
        unix_now: u64,
        expires: u64,
    ) -> Result<Option<Grants>, DbError> {
        let swarms: Vec<_> =
            contents.iter().map(|content| content::swarms(tx, &content.id)).collect::<Result<_, _>>()?;
        let contents: Vec<_> = contents.iter().zip(&swarms).map(|(content, swarms)| about(content, swarms)).collect();
        Ok(policy::grants(&self.user(), &contents, &self.policies, unix_now, expires).ok())
    }

    /// What a token grants that opens these catalogue groups until then.
    ///
    /// Nothing is granted here of a group in which some content is denied to the user: the rest of it has to be granted by name.
    pub(super) fn grants_of_groups(
        &self,
        tx: &mut Tx<'_>,
        groups: &[String],
        unix_now: u64,
        expires: u64,
    ) -> Result<Option<Grants>, DbError> {
        let denied = self.denied_groups(tx)?;
        let is_denied = |group: &str| denied.iter().any(|denied| denied == group);
        let names = groups.iter().map(String::as_str);
        Ok(policy::group_grants(&self.user(), names, &self.policies, is_denied, unix_now, expires).ok())
    }

    /// The catalogue groups about which there is a policy that allows them, at some time.
    pub(super) fn allowed_groups(&self) -> Vec<String> {
        let groups = self.policies.iter().filter(|policy| policy.effect == Effect::Allow);
        let mut groups: Vec<_> = groups
            .filter_map(|policy| if let What::Group(group) = &policy.what { Some(group.clone()) } else { None })
            .collect();
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    /// The catalogue groups in which some content is denied to the user by a policy about that content.
    fn denied_groups(&self, tx: &mut Tx<'_>) -> Result<Vec<String>, DbError> {
        let mut groups = Vec::new();
        for policy in self.policies.iter().filter(|policy| policy.effect == Effect::Deny) {
            if let What::Content(id) = &policy.what
                && let Some(content) = content::find(tx, id)?
            {
                groups.push(content.group);
            }
        }
        Ok(groups)
    }

    /// What to look for in the catalogue.
    pub(super) fn search(&self, words: &str, group: &str) -> content::Search {
        content::Search {
            words: words.to_lowercase(),
            group: group.to_owned(),
            user: (self.user.role != Role::Admin).then(|| self.user.name.clone()),
            groups: self.user.groups.clone(),
        }
    }

    /// The user groups of the user, that of everybody among them.
    pub(super) fn groups(&self) -> &[String] {
        &self.user.groups
    }

    /// Whether it may have everything.
    pub(super) fn is_admin(&self) -> bool {
        self.user.role == Role::Admin
    }

    fn user(&self) -> policy::User<'_> {
        policy::User {
            name: self.user.name.as_str(),
            role: self.user.role,
            groups: &self.user.groups,
            banned: self.user.banned,
        }
    }
}

/// Whether a user may change content and the policies about it: an admin, and who published it.
pub(super) fn may_change(user: &User, content: &Content) -> bool {
    user.role == Role::Admin || user.role == Role::Publisher && user.name.as_str() == content.publisher
}

fn about<'a>(content: &'a Content, swarms: &'a [String]) -> policy::Content<'a> {
    policy::Content { id: &content.id, group: &content.group, publisher: &content.publisher, swarms }
}
