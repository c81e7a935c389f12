//! What a gateway can play: the content of a swarm, and the files that it consists of.

use std::{
    ops::Range,
    path::{Path, PathBuf},
};

use ppsp_core::{
    Link,
    descriptor::{Part, Parts},
};
use serde_json::{Value, json};

use crate::{
    account::path_part,
    peer::{Sources, Status},
};

/// Content of one swarm, as a link or the descriptor of some content shows it.
#[derive(Debug)]
pub struct Item {
    /// That content's identifier in the catalogue.
    content: Option<String>,
    /// The swarm's identifier, as it stands in URLs.
    pub(super) id: String,
    /// How the content is called, where that is known.
    pub(super) name: Option<String>,
    /// Its media type.
    pub(super) mime: String,
    /// The files that it consists of, where that is known.
    parts: Option<Parts>,
    pub(super) link: Link,
    pub(super) sources: Sources,
}

impl Item {
    /// By its link, with the peers and trackers that know more; of this content, or of none in a catalogue.
    pub fn new(
        content: Option<&str>,
        link: Link,
        mime: Option<String>,
        parts: Option<Parts>,
        sources: Sources,
    ) -> Self {
        let name = link.file_name().map(str::to_owned);
        let usual = match (&name, link.metadata.integrity.is_live()) {
            // What is sent live is a transport stream, mostly.
            (None, true) => "video/mp2t",
            (name, _) => media_type(name.as_deref().unwrap_or_default()),
        };
        let mime = mime.unwrap_or_else(|| usual.to_owned());
        let id = link.metadata.id.to_string();
        let content = content.map(str::to_owned);
        Self { content, id, name, mime, parts, link, sources }
    }

    /// The path of its URL.
    pub fn path(&self) -> String {
        let content = self.content.as_ref().map(|id| format!("/content/{}", path_part(id)));
        let name = self.name.as_ref().map(|name| format!("/{}", path_part(name)));
        format!("{}/{}{}", content.unwrap_or_default(), self.id, name.unwrap_or_default())
    }

    /// As programs read it, with what its peers gave and got.
    pub(super) fn describe(&self, status: &Status) -> Value {
        let mut shown = status.to_json();
        (shown["swarm"], shown["name"], shown["path"]) = (json!(self.id), json!(self.name), json!(self.path()));
        shown
    }

    /// Which bytes of content of this length are the file of this name; `None` where there is none. All of it has its own name, and
    /// content of a single file whatever name players like to see.
    pub(super) fn file(&self, name: &str, length: u64) -> Option<Range<u64>> {
        match &self.parts {
            Some(parts) if parts.list().len() > 1 && !name.is_empty() => {
                let whole = || (self.name.as_deref() == Some(name)).then_some(0..length);
                parts.part(name).or_else(whole).filter(|part| part.end <= length)
            }
            _ => Some(0..length),
        }
    }

    /// Is it a live stream?
    pub(super) fn is_live(&self) -> bool {
        self.link.metadata.integrity.is_live()
    }

    /// The files that it consists of, where that is known.
    pub(super) fn parts(&self) -> &[Part] {
        self.parts.as_ref().map_or(&[], Parts::list)
    }

    /// Where its content is kept, however it is called.
    pub(super) fn place(&self, cache: &Path) -> PathBuf {
        cache.join(self.id.get(..32).unwrap_or(&self.id))
    }
}

/// By the end of the name; what else players find out for themselves.
pub fn media_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    match extension.as_str() {
        "mp4" | "m4v" | "m4s" => "video/mp4",
        "webm" => "video/webm",
        "mkv" => "video/x-matroska",
        "mov" => "video/quicktime",
        "ts" | "m2ts" => "video/mp2t",
        "ogv" => "video/ogg",
        "mp3" => "audio/mpeg",
        "m4a" => "audio/mp4",
        "ogg" | "opus" => "audio/ogg",
        "flac" => "audio/flac",
        "wav" => "audio/wav",
        "vtt" => "text/vtt",
        "mpd" => "application/dash+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: Option<&str>) -> Item {
        let mut link: Link = format!("ppsp:{}", "ab".repeat(32)).parse().unwrap();
        link.name = name.map(str::to_owned);
        Item::new(None, link, None, None, Sources::default())
    }

    #[test]
    fn each_descriptor_has_its_own_files_of_a_swarm() {
        let manifest = |name: &str| {
            let list = "<SegmentList duration='1'><Initialization sourceURL='init'/>";
            let xml = format!(
                "<MPD type='static' mediaPresentationDuration='PT1S'><Period><AdaptationSet><Representation id='v'>{list}\
                 <SegmentURL media='{name}'/></SegmentList></Representation></AdaptationSet></Period></MPD>"
            );
            let mut set = ppsp_core::descriptor::Descriptor::parse(xml.as_bytes()).unwrap();
            set.set_parts("v", &[40, 60]).unwrap();
            let link: Link = format!("ppsp:{}", "ab".repeat(32)).parse().unwrap();
            Item::new(Some(name), link, None, Some(set.parts("v").unwrap()), Sources::default())
        };
        let files = |item: Item| ["init", "one", "two", ""].map(|name| item.file(name, 100));
        assert_eq!(files(item(Some("film.mp4"))), [Some(0..100), Some(0..100), Some(0..100), Some(0..100)]);
        assert_eq!(files(manifest("one")), [Some(0..40), Some(40..100), None, Some(0..100)]);
        assert_eq!(files(manifest("two")), [Some(0..40), None, Some(40..100), Some(0..100)]);
        assert_eq!(manifest("two").path(), format!("/content/two/{}", "ab".repeat(32)));
    }

    #[test]
    fn names_do_not_lead_elsewhere() {
        let named = item(Some("a film & more.mp4"));
        assert_eq!(named.path(), format!("/{}/a%20film%20%26%20more.mp4", "ab".repeat(32)));
        assert_eq!(named.mime, "video/mp4");
        for bad in [None, Some("../x"), Some("/etc/passwd"), Some("..")] {
            let item = item(bad);
            assert_eq!(item.place("/c".as_ref()), named.place("/c".as_ref()), "{bad:?}");
            assert_eq!(item.path(), format!("/{}", "ab".repeat(32)));
        }
    }
}
