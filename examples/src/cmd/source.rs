//! What `get` is asked for: a link, an identifier in the catalogue, or the URL of content at a Portal.

use ppsp_core::{
    Link,
    descriptor::{Descriptor, Parts, Representation},
};

use super::{
    at_portal::{self, account},
    membership::Joining,
    parse_link,
};
use crate::{
    account::Account,
    cli::{
        args::{NetArgs, PortalAt},
        exit::Failure,
        output::Output,
    },
    peer::{Above, Origin},
};

/// What to fetch, and the trackers that know who has it.
pub(super) struct Source {
    pub(super) link: Link,
    /// Its media type, where that is known.
    pub(super) mime: Option<String>,
    /// The files that it consists of, where that is known.
    pub(super) parts: Option<Parts>,
    pub(super) joining: Option<Joining>,
    /// Its identifier in the catalogue, and who found it there.
    pub(super) content: Option<(Account, String)>,
    /// A web server that has it too.
    pub(super) origin: Option<Origin>,
    /// What it is of use with.
    pub(super) above: Option<Above>,
}

impl Source {
    /// What is to be fetched: of several Representations the one that is wanted, else the first.
    pub(super) async fn find(
        text: &str,
        wanted: Option<&str>,
        at: &PortalAt,
        net: &NetArgs,
        out: Option<&Output>,
    ) -> Result<Self, Failure> {
        match Named::read(text, at)? {
            Named::Link(link) => Self::of_link(*link, net, out).await,
            Named::Content { at, id } => {
                let account = account(&at)?;
                let descriptor = account.descriptor(&id).await?;
                let one = choose(&descriptor, wanted)?;
                Self::of_content(&account, &id, &descriptor, &one, net, out).await
            }
        }
    }

    async fn of_link(link: Link, net: &NetArgs, out: Option<&Output>) -> Result<Self, Failure> {
        let joining = Joining::of_link(net, &link, out).await?;
        Ok(Self { link, mime: None, parts: None, joining, content: None, origin: None, above: None })
    }

    async fn of_content(
        account: &Account,
        id: &str,
        descriptor: &Descriptor,
        one: &Representation,
        net: &NetArgs,
        out: Option<&Output>,
    ) -> Result<Self, Failure> {
        let link = descriptor.link(one);
        let mut link = link.ok_or_else(|| Failure::usage(format!("the Representation '{}' has no swarm", one.id)))?;
        // They get tokens, and stand in tiers.
        link.trackers.clear();
        let joining = Joining::of_content(net, account, id, descriptor, out).await?;
        if let (Some(title), Some(out)) = (descriptor.title(), out) {
            out.detail(title);
        }
        let parts = descriptor.parts(&one.id).ok();
        let below = descriptor.layers(&one.id).ok().and_then(|layers| layers.into_iter().rev().nth(1));
        let above = below
            .zip(parts.as_ref())
            .and_then(|(below, parts)| Above::new(below.swarm?.metadata.id, &descriptor.parts(&below.id).ok()?, parts));
        let origin = one.origin.as_deref().zip(parts.clone()).and_then(|(url, parts)| {
            // Without it there are peers still.
            let origin = Origin::new(url, &link.metadata, parts, one.bandwidth);
            origin.inspect_err(|error| tracing::warn!("the content's origin is of no use: {error}")).ok()
        });
        let content = Some((account.clone(), id.to_owned()));
        Ok(Self { link, mime: one.mime.clone(), parts, joining, content, origin, above })
    }
}

/// All that can be played of what a person named.
pub(super) struct Programme {
    /// The content's identifier in the catalogue, and what the Portal says of it.
    pub(super) content: Option<(String, Descriptor)>,
    /// Each Representation.
    pub(super) sources: Vec<Source>,
}

impl Programme {
    /// Finds out.
    pub(super) async fn find(text: &str, at: &PortalAt, net: &NetArgs, out: Option<&Output>) -> Result<Self, Failure> {
        match Named::read(text, at)? {
            Named::Link(link) => Ok(Self { content: None, sources: vec![Source::of_link(*link, net, out).await?] }),
            Named::Content { at, id } => Self::of_content(&account(&at)?, id, net, out).await,
        }
    }

    async fn of_content(account: &Account, id: String, net: &NetArgs, out: Option<&Output>) -> Result<Self, Failure> {
        let descriptor = account.descriptor(&id).await?;
        choose(&descriptor, None)?;
        let mut sources = Vec::new();
        for one in descriptor.representations().iter().filter(|one| one.swarm.is_some()) {
            sources.push(Source::of_content(account, &id, &descriptor, one, net, out).await?);
        }
        Ok(Self { content: Some((id, descriptor)), sources })
    }
}

/// What a person named.
enum Named {
    Link(Box<Link>),
    Content { at: PortalAt, id: String },
}

impl Named {
    fn read(text: &str, at: &PortalAt) -> Result<Self, Failure> {
        let text = text.trim();
        if text.starts_with("ppsp:") {
            return Ok(Self::Link(Box::new(parse_link(text)?)));
        }
        if text.contains("://") {
            let id = content_of_url(text).ok_or_else(|| {
                Failure::usage(format!("{text}: not the URL of content at a Portal, like https://PORTAL/content/ID"))
            })?;
            return Ok(Self::Content { at: PortalAt { portal: Some(at_portal::origin(text)?) }, id });
        }
        if is_name(text) {
            return Ok(Self::Content { at: at.clone(), id: text.to_owned() });
        }
        Err(Failure::usage(
            "what to get is a link (ppsp:…), an identifier in the catalogue, or the URL of content at a Portal",
        ))
    }
}

/// The Representation that was chosen, else the first one that has a swarm.
fn choose(descriptor: &Descriptor, wanted: Option<&str>) -> Result<Representation, Failure> {
    let all = descriptor.representations();
    let has = |one: &Representation| one.swarm.is_some() && wanted.is_none_or(|wanted| wanted == one.id);
    let found = all.iter().find(|one| has(one)).cloned();
    found.ok_or_else(|| {
        let ids: Vec<&str> = all.iter().filter(|one| one.swarm.is_some()).map(|one| one.id.as_str()).collect();
        Failure::usage(match wanted {
            Some(wanted) => format!("the content has no Representation '{wanted}'; it has {}", ids.join(", ")),
            None => "the descriptor names no swarm".to_owned(),
        })
    })
}

/// `…/content/ID`, and what stands behind it for browsers and programs.
fn content_of_url(url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next()?;
    let mut parts = path.split('/').skip_while(|part| *part != "content").skip(1);
    let id = parts.next()?;
    let rest: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    let known = matches!(rest[..], [] | ["descriptor"] | ["descriptor.mpd"]);
    (known && is_name(id)).then(|| id.to_owned())
}

fn is_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_content() {
        for url in [
            "https://portal/content/0a1",
            "https://portal/content/0a1/descriptor.mpd",
            "https://portal:8443/api/v1/content/0a1/descriptor?x=y",
        ] {
            assert_eq!(content_of_url(url).as_deref(), Some("0a1"), "{url}");
        }
        for url in
            ["https://portal/", "https://portal/content/", "https://portal/content/a%2Fb", "https://portal/content/a/b"]
        {
            assert_eq!(content_of_url(url), None, "{url}");
        }
    }
}
