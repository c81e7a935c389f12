//! A Representation becomes layers: a base, and what is of use with it alone (`dependencyId`, ISO/IEC 23009-1 §5.3.5.2).

use alloc::{borrow::ToOwned, format, string::String, vec::Vec};

use super::{DashError, Place, Wrong, named, segments::KINDS, template};
use crate::descriptor::{
    Descriptor, representation_mut,
    xml::{Element, Node},
};

/// A layer of what was one Representation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Layer {
    /// The `id` of its Representation.
    pub id: String,
    /// Bytes of media of this layer and those below it.
    pub bytes: u64,
    /// Pictures of this layer and those below it.
    pub pictures: u64,
    /// Its initialization segment: a path below the BaseURL of the AdaptationSet.
    pub initialization: String,
    /// Its media segments, one for each of what was one Representation: a template with `$Number$`.
    pub media: String,
}

/// Segments in time, where the manifest itself does not tell: those of an index in the media (ISO/IEC 14496-12 §8.16.3).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Timeline {
    /// Units in a second.
    pub timescale: u64,
    /// When the first one begins.
    pub start: u64,
    /// How long each is.
    pub durations: Vec<u64>,
}

impl Descriptor {
    /// Replaces the Representation with this `id` by layers, the base first; each depends on those before it. Segments stay where they
    /// are in time and have other names. Of bandwidth and frame rate each layer has its share.
    ///
    /// # Errors
    ///
    /// [`DashError`] where the manifest has no such Representation, or one that cannot be split; then nothing has changed.
    pub fn set_layers(&mut self, id: &str, layers: &[Layer], index: Option<&Timeline>) -> Result<(), DashError> {
        let place = self.place(id)?;
        let rate = place.element.attribute("frameRate").or_else(|| place.set.attribute("frameRate"));
        let rate = rate.and_then(Rate::read);
        let mut elements = Vec::new();
        for (at, layer) in layers.iter().enumerate() {
            let below = layers.get(..at).unwrap_or_default();
            let split = Split { place, layer, below, whole: layers.last().unwrap_or(layer), rate, index };
            elements.push(split.element().map_err(|wrong| place.error(wrong))?);
        }
        let mut new = self.clone();
        if let Some(set) = parent_mut(&mut new.root, id) {
            push_down(set, "frameRate");
            let at = set.children.iter().position(|node| is_representation(node, id)).unwrap_or(set.children.len());
            set.children.splice(at..(at + 1).min(set.children.len()), elements.into_iter().map(Node::Element));
        }
        // No name may be there twice, and nobody may depend on what is gone.
        new.places()?.iter().try_for_each(|place| new.layers(place.id()).map(drop))?;
        *self = new;
        Ok(())
    }

    /// Says that the Representation with this `id` can be shown alone: who serves it puts the layers together.
    pub fn set_independent(&mut self, id: &str) {
        if let Some(one) = representation_mut(&mut self.root, id) {
            one.attributes.retain(|(name, _)| name != "dependencyId");
        }
    }
}

/// One layer of a Representation.
struct Split<'a> {
    place: Place<'a>,
    layer: &'a Layer,
    below: &'a [Layer],
    /// The layer that has all below it.
    whole: &'a Layer,
    rate: Option<Rate>,
    index: Option<&'a Timeline>,
}

impl Split<'_> {
    fn element(&self) -> Result<Element, Wrong> {
        let Self { place, layer, whole, .. } = self;
        let mut one = place.element.clone();
        if one.attribute("dependencyId").is_some() {
            return Err(Wrong::NotSplit("dependencyId"));
        }
        one.set_attribute("id", layer.id.clone());
        if let Some(bandwidth) = one.attribute("bandwidth").and_then(|text| text.trim().parse::<u64>().ok()) {
            one.set_attribute("bandwidth", format!("{}", share(bandwidth, layer.bytes, whole.bytes)));
        }
        if let Some(rate) = self.rate {
            one.set_attribute("frameRate", rate.share(layer.pictures, whole.pictures));
        }
        if !self.below.is_empty() {
            let ids: Vec<&str> = self.below.iter().map(|layer| layer.id.as_str()).collect();
            one.set_attribute("dependencyId", ids.join(" "));
        }
        one.remove(|child| child.local() == "BaseURL" || &*child.namespace == Descriptor::NAMESPACE);
        self.segments(&mut one)?;
        Ok(one)
    }

    /// The segments have the names of this layer.
    fn segments(&self, one: &mut Element) -> Result<(), Wrong> {
        let levels = [self.place.element, self.place.set, self.place.period];
        let all = || levels.iter().flat_map(|level| level.elements()).filter(|child| KINDS.contains(&child.local()));
        // They tell of bytes in files that are no more.
        for name in ["index", "bitstreamSwitching"] {
            if all().any(|element| element.attribute(name).is_some()) {
                return Err(Wrong::NotSplit(name));
            }
        }
        for name in ["RepresentationIndex", "BitstreamSwitching"] {
            if all().any(|element| named(element, name).next().is_some()) {
                return Err(Wrong::NotSplit(name));
            }
        }
        let kind = all().next().map_or("SegmentBase", Element::local);
        one.remove(|child| child.local() == "SegmentBase");
        match kind {
            "SegmentList" => self.list(one, &all().filter(|found| found.local() == kind).collect::<Vec<_>>()),
            "SegmentTemplate" => {
                if !one.elements().any(|child| child.local() == kind) {
                    let new = one.beside(kind);
                    one.children.push(Node::Element(new));
                }
                for template in one.elements_mut().filter(|child| child.local() == kind) {
                    template.remove(|child| child.local() == "Initialization");
                    self.name(template);
                }
                Ok(())
            }
            _ => self.timeline(one, &all().collect::<Vec<_>>()),
        }
    }

    fn name(&self, template: &mut Element) {
        template.set_attribute("initialization", self.layer.initialization.clone());
        template.set_attribute("media", self.layer.media.clone());
    }

    fn list(&self, one: &mut Element, levels: &[&Element]) -> Result<(), Wrong> {
        let is_url = |child: &Element| child.local() == "SegmentURL";
        let with_urls = levels.iter().find(|level| level.elements().any(is_url)).ok_or(Wrong::NoFile)?;
        let urls = with_urls.elements().filter(|child| is_url(child)).count();
        let own = one.elements().find(|child| child.local() == "SegmentList").cloned();
        let mut list = own.unwrap_or_else(|| one.beside("SegmentList"));
        list.remove(|child| is_url(child) || child.local() == "Initialization");
        let first = list.beside("Initialization").with("sourceURL", &self.layer.initialization);
        list.children.insert(0, Node::Element(first));
        for number in 1..=urls as u64 {
            let values = template::Values { number: Some(number), ..template::Values::default() };
            let media = template::expand(&self.layer.media, &values)?;
            let url = list.beside("SegmentURL").with("media", media);
            list.children.push(Node::Element(url));
        }
        one.remove(|child| child.local() == "SegmentList");
        one.children.push(Node::Element(list));
        Ok(())
    }

    /// A file with an index becomes segments.
    fn timeline(&self, one: &mut Element, levels: &[&Element]) -> Result<(), Wrong> {
        let index = self.index.ok_or(Wrong::NoFile)?;
        let mut template = one.beside("SegmentTemplate").with("timescale", index.timescale).with("startNumber", 1);
        let offset = levels.iter().find_map(|level| level.attribute("presentationTimeOffset"));
        if let Some(offset) = offset.and_then(|text| text.trim().parse::<u64>().ok()) {
            let scale = levels.iter().find_map(|level| level.attribute("timescale"));
            let scale = scale.and_then(|text| text.trim().parse().ok()).unwrap_or(1);
            template = template.with("presentationTimeOffset", share(offset, index.timescale, scale));
        }
        self.name(&mut template);
        let mut timeline = one.beside("SegmentTimeline");
        for (at, run) in index.durations.chunk_by(|a, b| a == b).enumerate() {
            let mut line = one.beside("S");
            if at == 0 {
                line = line.with("t", index.start);
            }
            line = line.with("d", run.first().copied().unwrap_or_default());
            timeline = timeline.child(if run.len() > 1 { line.with("r", run.len() - 1) } else { line });
        }
        one.children.push(Node::Element(template.child(timeline)));
        Ok(())
    }
}

/// Pictures in so many seconds.
#[derive(Clone, Copy)]
struct Rate(u64, u64);

impl Rate {
    /// `24`, `30000/1001`.
    fn read(text: &str) -> Option<Self> {
        let (pictures, seconds) = text.trim().split_once('/').unwrap_or((text.trim(), "1"));
        Some(Self(pictures.parse().ok()?, seconds.parse().ok().filter(|seconds| *seconds > 0)?))
    }

    /// That of some of the pictures.
    fn share(self, part: u64, whole: u64) -> String {
        let (mut a, mut b) = (u128::from(self.0) * u128::from(part), u128::from(self.1) * u128::from(whole.max(1)));
        let (pictures, seconds) = (a, b);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        match (pictures / a.max(1), seconds / a.max(1)) {
            (pictures, 1) => format!("{pictures}"),
            (pictures, seconds) => format!("{pictures}/{seconds}"),
        }
    }
}

/// `amount * part / whole`.
fn share(amount: u64, part: u64, whole: u64) -> u64 {
    let exact = u128::from(amount) * u128::from(part) / u128::from(whole.max(1));
    u64::try_from(exact).unwrap_or(u64::MAX)
}

/// What an element says for all of its Representations each says for itself.
fn push_down(set: &mut Element, name: &str) {
    let Some(value) = set.attribute(name).map(ToOwned::to_owned) else { return };
    set.attributes.retain(|(found, _)| found != name);
    for one in set.elements_mut().filter(|child| child.local() == "Representation") {
        if one.attribute(name).is_none() {
            one.set_attribute(name, value.clone());
        }
    }
}

fn is_representation(node: &Node, id: &str) -> bool {
    matches!(node, Node::Element(one) if one.local() == "Representation" && one.attribute("id") == Some(id))
}

/// The element that the Representation stands in.
fn parent_mut<'a>(element: &'a mut Element, id: &str) -> Option<&'a mut Element> {
    if element.children.iter().any(|node| is_representation(node, id)) {
        return Some(element);
    }
    element.elements_mut().find_map(|child| parent_mut(child, id))
}
