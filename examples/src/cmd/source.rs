//! What `get` is asked for: a link, an identifier in the catalogue, or the URL of content at a Portal.

use ppsp_core::{Link, descriptor::Descriptor};

use super::{
    at_portal::{self, account},
    membership::Joining,
    parse_link,
};
use crate::cli::{
    args::{GetArgs, PortalAt},
    exit::Failure,
    output::Output,
};

/// What to fetch, and the trackers that know who has it.
pub(super) struct Source {
    pub(super) link: Link,
    pub(super) joining: Option<Joining>,
}

impl Source {
    /// Finds out.
    pub(super) async fn find(args: &GetArgs, out: &Output) -> Result<Self, Failure> {
        let text = args.link.trim();
        if text.starts_with("ppsp:") {
            let link = parse_link(text)?;
            let joining = Joining::of_link(&args.net, &link, out).await?;
            return Ok(Self { link, joining });
        }
        let (at, id) = if text.contains("://") {
            let id = content_of_url(text).ok_or_else(|| {
                Failure::usage(format!("{text}: not the URL of content at a Portal, like https://PORTAL/content/ID"))
            })?;
            (PortalAt { portal: Some(at_portal::origin(text)?) }, id)
        } else if is_name(text) {
            (args.at.clone(), text.to_owned())
        } else {
            return Err(Failure::usage(
                "what to get is a link (ppsp:…), an identifier in the catalogue, or the URL of content at a Portal",
            ));
        };
        let account = account(&at)?;
        let descriptor = account.descriptor(&id).await?;
        let mut link = choose(&descriptor, args.representation.as_deref())?;
        // They get tokens, and stand in tiers.
        link.trackers.clear();
        let joining = Joining::of_content(&args.net, &account, &id, &descriptor, out).await?;
        if let Some(title) = descriptor.title() {
            out.detail(format_args!("{title}"));
        }
        Ok(Self { link, joining })
    }
}

/// The link of the Representation that was chosen, else of the first one that has a swarm.
fn choose(descriptor: &Descriptor, wanted: Option<&str>) -> Result<Link, Failure> {
    let all = descriptor.representations();
    let has = |id: &str| wanted.is_none_or(|wanted| wanted == id);
    let found = all.iter().filter(|one| has(&one.id)).find_map(|one| descriptor.link(one));
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
