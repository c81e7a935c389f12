//! What a descriptor says of a Representation.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use percent_encoding::percent_decode_str;

use super::{Descriptor, Swarm, dash, swarm, xml::Element};
#[cfg(doc)]
use crate::Link;

/// One form of the content: a quality, a language, or all there is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Representation {
    /// Its `id`.
    pub id: String,
    /// What it is for.
    pub kind: Kind,
    /// Its media type, where that is said.
    pub mime: Option<String>,
    /// Its codecs (RFC 6381), where they are said.
    pub codecs: Option<String>,
    /// Bits a second, where that is said.
    pub bandwidth: Option<u64>,
    /// Its language (RFC 5646), where that is said.
    pub language: Option<String>,
    /// Width of the picture, where that is said.
    pub width: Option<u32>,
    /// Height of the picture, where that is said.
    pub height: Option<u32>,
    /// Identifiers of the Representations without which it cannot be shown; see [`Descriptor::layers`].
    pub dependencies: Vec<String>,
    /// The last part of its `BaseURL`. From a stranger: [`Link::file_name`] tells whether it is safe to use.
    pub name: Option<String>,
    /// Where it can be had.
    pub swarm: Option<Swarm>,
    /// Where its files can be had without peers: each at its name below this URL of http or https. From a stranger, like all here.
    pub origin: Option<String>,
}

/// What a Representation is for.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Pictures, perhaps with sound.
    Video,
    /// Sound alone.
    Audio,
    /// Subtitles.
    Text,
    /// Something else, or it is not said.
    Other,
}

/// What is said of a Representation, by itself and by the AdaptationSet that it stands in.
pub(super) fn representation(element: &Element, set: &Element) -> Representation {
    let inherited = |name| element.attribute(name).or_else(|| set.attribute(name)).map(str::to_owned);
    let number = |name| inherited(name).and_then(|text| text.trim().parse().ok());
    let base = element.elements().find(|child| child.is(&element.namespace, "BaseURL")).map(Element::content);
    let swarm = element.elements().find(|child| child.is(Descriptor::NAMESPACE, "Swarm"));
    let (mime, codecs) = (inherited("mimeType"), inherited("codecs"));
    let dependencies = element.attribute("dependencyId").unwrap_or_default();
    Representation {
        id: element.attribute("id").unwrap_or_default().to_owned(),
        kind: Kind::of(set.attribute("contentType"), mime.as_deref(), codecs.as_deref()),
        mime,
        codecs,
        bandwidth: element.attribute("bandwidth").and_then(|text| text.parse().ok()),
        language: set.attribute("lang").map(str::to_owned),
        width: number("width"),
        height: number("height"),
        dependencies: dependencies.split_ascii_whitespace().map(str::to_owned).collect(),
        name: base.as_deref().and_then(last_part),
        swarm: swarm.and_then(|swarm| swarm::read(swarm).ok()),
        origin: dash::origin(element),
    }
}

impl Kind {
    /// By what the AdaptationSet says, else by the media type, which for containers leaves the codecs to ask.
    fn of(content_type: Option<&str>, mime: Option<&str>, codecs: Option<&str>) -> Self {
        let main = mime.and_then(|mime| mime.split('/').next()).unwrap_or_default().trim();
        let codecs = codecs.unwrap_or_default();
        let is_text =
            mime == Some("application/ttml+xml") || ["stpp", "wvtt"].iter().any(|text| codecs.starts_with(text));
        match content_type.map_or(main, str::trim).to_ascii_lowercase().as_str() {
            "video" => Self::Video,
            "audio" => Self::Audio,
            "text" => Self::Text,
            "application" if is_text => Self::Text,
            _ => Self::Other,
        }
    }
}

/// The name at the end of a URL.
fn last_part(url: &str) -> Option<String> {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let name = percent_decode_str(path.rsplit('/').next()?).decode_utf8().ok()?.into_owned();
    (!name.is_empty()).then_some(name)
}
