//! The catalogue: what there is, as far as who asks may have it, and how it gets there.

pub use super::db::content::Content;
use super::{
    Caller, Portal, Refusal,
    access::{Access, may_change},
    db::{Tx, audit, content, trackers},
    descriptor,
    id::fresh_id,
    names, unix_now,
};
use ppsp_auth::token::Role;

/// A part of the catalogue, the newest content first.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The content.
    pub items: Vec<Content>,
    /// Where the next part begins, where there may be more. A part may be short, even empty, and not be the last.
    pub after: Option<String>,
}

/// Content as its own page shows it.
#[derive(Clone, Debug)]
pub struct Details {
    /// What the catalogue shows.
    pub content: Content,
    /// Its swarms.
    pub swarms: Vec<String>,
    /// Whether who asks may change it.
    pub may_change: bool,
}

/// Content to be published.
#[derive(Clone, Debug)]
pub struct NewContent {
    /// What people call it.
    pub title: String,
    /// Its catalogue group.
    pub group: String,
    /// The media descriptor, in any of its forms.
    pub descriptor: String,
}

impl Portal {
    /// What the catalogue has for who asks: content with these words in its title or group, and of this group where one is
    /// named, from `after` on.
    ///
    /// # Errors
    ///
    /// [`Refusal::Invalid`] for too many words, and those of the database.
    pub async fn catalogue(&self, caller: &Caller, words: &str, group: &str, after: &str) -> Result<Page, Refusal> {
        if words.len() > 200 || group.len() > 200 || after.len() > 64 {
            return Err(Refusal::invalid("at most 200 bytes can be searched for"));
        }
        let (now, user) = (unix_now(), caller.user.clone());
        let [words, group, after] = [words, group, after].map(str::to_owned);
        let read = self.db().read(move |tx| {
            let access = Access::of(tx, user.clone())?;
            let search = access.search(&words, &group);
            let mut page = Page { items: Vec::new(), after: Some(after.clone()) };
            // What is allowed only at another time is passed over, but not without end.
            for _ in 0..8 {
                let found = content::search(tx, &search, page.after.as_deref().unwrap_or_default(), BATCH)?;
                let last = found.len() < BATCH as usize;
                for content in found {
                    page.after = Some(content.id.clone());
                    if access.may_have(&content, now) {
                        page.items.push(content);
                        if page.items.len() == PAGE {
                            return Ok(page);
                        }
                    }
                }
                if last {
                    page.after = None;
                    break;
                }
            }
            Ok(page)
        });
        read.await
    }

    /// One piece of content.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`], also for content that who asks may not have; those of the database.
    pub async fn content(&self, caller: &Caller, id: &str) -> Result<Details, Refusal> {
        let (now, user, id) = (unix_now(), caller.user.clone(), id.to_owned());
        let read = self.db().read(move |tx| {
            let access = Access::of(tx, user.clone())?;
            let content = content::find(tx, &id)?.ok_or(NO_CONTENT)?;
            let may_change = access.may_change(&content);
            if !may_change && !access.may_have(&content, now) {
                return Err(NO_CONTENT);
            }
            Ok(Details { swarms: content::swarms(tx, &id)?, content, may_change })
        });
        read.await
    }

    /// The media descriptor of content, with the trackers of now where its publisher named none, signed by the Portal.
    ///
    /// # Errors
    ///
    /// As [`content`](Self::content).
    pub async fn descriptor(&self, caller: &Caller, id: &str) -> Result<String, Refusal> {
        let details = self.content(caller, id).await?;
        let id = details.content.id;
        let (bytes, trackers) = self
            .db()
            .read(move |tx| Ok::<_, Refusal>((content::descriptor(tx, &id)?.ok_or(NO_CONTENT)?, trackers::all(tx)?)))
            .await?;
        let approved = trackers.into_iter().filter(|tracker| tracker.state == trackers::State::Approved);
        let urls: Vec<_> = approved.map(|tracker| tracker.url).collect();
        descriptor::serve(&bytes, &urls, &self.0.signer)
    }

    /// Publishes content. Its publisher and admins may have it from now on; others as policies say.
    ///
    /// # Errors
    ///
    /// [`Refusal::Forbidden`] for viewers, [`Refusal::Invalid`] for a descriptor that cannot be read or has no swarm,
    /// [`Refusal::Conflict`] where a swarm is of somebody else's content, and those of the database.
    pub async fn publish(&self, caller: &Caller, new: NewContent) -> Result<Details, Refusal> {
        if caller.user.role == Role::Viewer {
            return Err(Refusal::Forbidden("only publishers may do this"));
        }
        names::title(&new.title)?;
        names::group(&new.group)?;
        let read = descriptor::read(&new.descriptor)?;
        let now = unix_now();
        let content = Content {
            id: fresh_id(now),
            title: new.title,
            group: new.group,
            publisher: caller.name().to_string(),
            length: read.length,
            created: now,
        };
        let (publisher, swarms, bytes) = (caller.name().clone(), read.swarms, read.bytes);
        let published = self.db().write(move |tx| {
            for swarm in &swarms {
                let others = content::with_swarm(tx, swarm)?;
                if others.iter().any(|other| other.publisher != publisher.as_str()) {
                    return Err(Refusal::Conflict("somebody else has published a swarm of this descriptor"));
                }
            }
            if content::published_by(tx, &publisher)? >= MAX_CONTENT {
                return Err(Refusal::Conflict("this user has published as much as one can"));
            }
            content::add(tx, &content, &bytes, &swarms)?;
            audit::add(tx, now, publisher.as_str(), "publish", &about(&content))?;
            Ok(Details { content: content.clone(), swarms: swarms.clone(), may_change: true })
        });
        published.await
    }

    /// Takes content out of the catalogue, with the policies about it. From then on no token opens it.
    ///
    /// # Errors
    ///
    /// [`Refusal::NotFound`], [`Refusal::Forbidden`], and those of the database.
    pub async fn remove_content(&self, caller: &Caller, id: &str) -> Result<(), Refusal> {
        let (now, caller, id) = (unix_now(), caller.clone(), id.to_owned());
        let removed = self.db().write(move |tx| {
            let content = changeable(tx, &caller, &id, now)?;
            content::remove(tx, &id)?;
            audit::add(tx, now, caller.name().as_str(), "remove content", &about(&content))?;
            Ok(())
        });
        removed.await
    }
}

/// Content that the caller may change.
pub(super) fn changeable(tx: &mut Tx<'_>, caller: &Caller, id: &str, unix_now: u64) -> Result<Content, Refusal> {
    let content = content::find(tx, id)?.ok_or(NO_CONTENT)?;
    if may_change(&caller.user, &content) {
        return Ok(content);
    }
    // Who may not have it is not told that it is there.
    let visible = Access::of(tx, caller.user.clone())?.may_have(&content, unix_now);
    Err(if visible { Refusal::Forbidden("only its publisher and admins may do this") } else { NO_CONTENT })
}

/// How the audit log names content.
pub(super) fn about(content: &Content) -> String {
    format!("{} {}", content.id, content.title)
}

const NO_CONTENT: Refusal = Refusal::NotFound("there is no such content, or it is not allowed to you now");

/// The most content in one part of the catalogue.
pub const PAGE: usize = 50;

const BATCH: u64 = 100;

/// The most content of one publisher.
pub const MAX_CONTENT: u64 = 100_000;
