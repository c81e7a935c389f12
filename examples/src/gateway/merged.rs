//! Which layers are put together, for players that know nothing of layers: how that is done is in `together`.
//!
//! Merged are layers whose segments are files of their own, in MP4 and of one codec. How long a merged segment is, is known only when
//! its layers are here: where segments are ranges of one file no manifest could say where they are, and `dependencyId` stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use ppsp_core::descriptor::{Descriptor, Part, Representation, Resources};

use super::Item;
use crate::layers::{Segment, Track};

/// The layers of one Representation.
#[derive(Debug)]
pub(super) struct Merged {
    /// Its swarms, as they stand in URLs.
    id: String,
    /// The base first.
    layers: Vec<Arc<Item>>,
}

impl Merged {
    /// Most layers of one Representation: a request has room for their swarms.
    const MOST_LAYERS: usize = 16;

    /// The swarms of a Representation and of what it needs as one name, the base first. Whoever makes a descriptor decides what it puts
    /// together, and never what another one does: the uppermost swarm alone would not tell them apart.
    pub(super) fn id(descriptor: &Descriptor, id: &str) -> Option<String> {
        let chain = descriptor.layers(id).ok()?;
        let swarms = chain.iter().map(|layer| Some(layer.swarm.as_ref()?.metadata.id.to_string()));
        Some(swarms.collect::<Option<Vec<_>>>()?.join("+"))
    }

    /// Which layers of these swarms are merged, each by [`Self::id`].
    pub(super) fn all(descriptor: &Descriptor, items: &[Arc<Item>]) -> BTreeMap<String, Arc<Self>> {
        let resources = descriptor.resources().unwrap_or_default();
        let whole: BTreeSet<&str> =
            resources.iter().filter(|one| is_whole(one)).map(|one| &*one.representation).collect();
        let mut all = BTreeMap::new();
        for one in descriptor.representations().iter().filter(|one| !one.dependencies.is_empty()) {
            let Ok(chain) = descriptor.layers(&one.id) else { continue };
            let fits = |layer: &Representation| {
                layer.codecs == one.codecs
                    && layer.mime.as_deref().is_some_and(|mime| mime.ends_with("/mp4"))
                    && whole.contains(&*layer.id)
            };
            if !chain.iter().all(fits) {
                continue;
            }
            let Some(id) = Self::id(descriptor, &one.id) else { continue };
            let item = |id| items.iter().find(|item| item.id == id).cloned();
            let layers: Option<Vec<_>> = id.split('+').map(item).collect();
            if let Some(new) = layers.map(|layers| Self { id: id.clone(), layers }).filter(Self::is_held) {
                all.insert(id, Arc::new(new));
            }
        }
        all
    }

    /// The swarms of its layers, by which it is known.
    pub(super) fn name(&self) -> &str {
        &self.id
    }

    /// The layer that is of use with all others: its segments give theirs the names.
    pub(super) fn top(&self) -> Option<&Item> {
        self.layers.last().map(|item| &**item)
    }

    /// The layer that needs no other.
    pub(super) fn base(&self) -> Option<&Arc<Item>> {
        self.layers.first()
    }

    /// All layers, the base first.
    pub(super) fn layers(&self) -> &[Arc<Item>] {
        &self.layers
    }

    /// Which segment has this name; 0 is the initialization segment.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.top()?.parts().iter().position(|part| part.name == name)
    }

    /// How many bytes of layers this segment is made of.
    pub(super) fn length(&self, number: usize) -> u64 {
        let parts = self.layers.iter().filter_map(|item| item.parts().get(number));
        parts.map(length).fold(0, u64::saturating_add)
    }

    /// How many bytes are in memory while this segment is made: its layers, and as much again for what is made of them. Something is known
    /// of each sample besides, of which there are never more than bytes.
    pub(super) fn room(&self, number: usize) -> u64 {
        let length = self.length(number);
        (self.length(0) + length) * 2 + length.min(Segment::MAX_SAMPLES as u64) * Segment::SAMPLE
    }

    /// Is no segment longer than what is held in memory, and does each layer have all of them?
    fn is_held(&self) -> bool {
        let Some(base) = self.base() else { return false };
        let segments = base.parts().len();
        let same = self.layers.iter().all(|item| item.parts().len() == segments);
        let few = self.layers.len() <= Self::MOST_LAYERS && self.length(0) <= Track::MAX_LEN;
        segments > 1 && same && few && (1..segments).all(|number| self.length(number) <= Segment::MAX_LEN)
    }
}

/// Is each segment a file?
fn is_whole(resources: &Resources) -> bool {
    let references = &resources.references;
    references.iter().all(|one| one.range.is_none()) && resources.files().len() == references.len()
}

fn length(part: &Part) -> u64 {
    part.range.end - part.range.start
}

#[cfg(test)]
mod tests {
    use ppsp_core::{Hash, SwarmMetadata};

    use super::*;
    use crate::peer::Sources;

    /// Which layers of a set are merged whose two Representations consist of these, each file so long.
    fn merged(base: &str, more: &str, codecs: &str, length: u64) -> usize {
        let one = |id: &str, rest: &str, inside: &str| {
            format!("<Representation id='{id}' bandwidth='1' mimeType='video/mp4' {rest}>{inside}</Representation>")
        };
        let xml = format!(
            "<MPD type='static' mediaPresentationDuration='PT3S'><Period><AdaptationSet>{}{}</AdaptationSet></Period></MPD>",
            one("base", "codecs='avc1.4d400b'", base),
            one("more", &format!("codecs='{codecs}' dependencyId='base'"), more)
        );
        let mut set = Descriptor::parse(xml.as_bytes()).unwrap();
        let mut items = Vec::new();
        for (at, resources) in set.resources().unwrap().iter().enumerate() {
            let id = &resources.representation;
            let lengths: Vec<u64> =
                resources.files().iter().enumerate().map(|(at, _)| if at == 0 { 40 } else { length }).collect();
            let root = Hash::from_bytes(&[at as u8; 32]).unwrap();
            let length = Some(lengths.iter().sum());
            set.set_swarm(id, &SwarmMetadata { content_length: length, ..SwarmMetadata::of_root(&root) }, None);
            set.set_parts(id, &lengths).unwrap();
            let link = set.link(&set.representations()[at]).unwrap();
            let item = Item::new(Some("set"), link, None, Some(set.parts(id).unwrap()), Sources::default());
            items.push(Arc::new(item));
        }
        let all = Merged::all(&set, &items);
        if let Some(merged) = all.values().next() {
            assert_eq!((merged.layers().len(), merged.base().unwrap().parts().len()), (2, 4));
            assert_eq!(
                (merged.number("more-0"), merged.number("more-2"), merged.number("base-2")),
                (Some(0), Some(2), None)
            );
            assert_eq!((merged.length(0), merged.length(1), merged.length(9)), (80, 2 * length, 0));
        }
        all.len()
    }

    #[test]
    fn merged_is_what_consists_of_files_that_go_together() {
        const CODECS: &str = "avc1.4d400b";
        let template = |id: &str| {
            format!(
                "<SegmentTemplate initialization='{id}-0' media='{id}-$Number$'><SegmentTimeline><S d='1' r='2'/>\
                 </SegmentTimeline></SegmentTemplate>"
            )
        };
        let list = |id: &str, segments: usize| {
            let urls: String = (1..=segments).map(|n| format!("<SegmentURL media='{id}-{n}'/>")).collect();
            format!("<SegmentList duration='1'><Initialization sourceURL='{id}-0'/>{urls}</SegmentList>")
        };
        let ranges = |id: &str| {
            let urls: String = (1..=3).map(|n| format!("<SegmentURL mediaRange='{n}0-{n}9'/>")).collect();
            format!(
                "<BaseURL>{id}</BaseURL><SegmentList duration='1'><Initialization range='0-9'/>{urls}</SegmentList>"
            )
        };
        let indexed = |id: &str| format!("<BaseURL>{id}</BaseURL><SegmentBase indexRange='0-9'/>");
        assert_eq!(merged(&template("base"), &template("more"), CODECS, 100), 1);
        assert_eq!(merged(&list("base", 3), &template("more"), CODECS, 100), 1);
        assert_eq!(merged(&template("base"), &list("more", 3), CODECS, Segment::MAX_LEN / 2), 1);
        for (base, more, codecs, length) in [
            (template("base"), template("more"), "svc1.56401e", 100),
            (template("base"), list("more", 4), CODECS, 100),
            (template("base"), template("more"), CODECS, Segment::MAX_LEN / 2 + 1),
            (ranges("base"), ranges("more"), CODECS, 100),
            (indexed("base"), indexed("more"), CODECS, 100),
        ] {
            assert_eq!(merged(&base, &more, codecs, length), 0, "{base} {more} {codecs} {length}");
        }
    }
}
