//! The media descriptor: what a Portal gives to those who want to watch.
//!
//! It is a DASH MPD (ISO/IEC 23009-1), so that any DASH player reads it, with elements of our own namespace,
//! `urn:ppsp:descriptor:1`, which players that do not know it pass over:
//!
//! ```xml
//! <MPD xmlns="urn:mpeg:dash:schema:mpd:2011" xmlns:ppsp="urn:ppsp:descriptor:1" type="static" …>
//!   <ProgramInformation><Title>A film</Title></ProgramInformation>
//!   <Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="800000">
//!     <ppsp:Swarm id="47a0…" hash="sha256" chunkSize="1024" length="734003200"/>
//!     <BaseURL>film.mp4</BaseURL>
//!   </Representation></AdaptationSet></Period>
//!   <ppsp:Trackers><ppsp:Tracker tier="0">https://tracker.example.org/</ppsp:Tracker></ppsp:Trackers>
//!   <ppsp:Signature kid="…">base64 of an Ed25519 signature</ppsp:Signature>
//! </MPD>
//! ```
//!
//! `ppsp:Swarm` stands in each Representation that can be had from a swarm. Its attributes are those of
//! [`SwarmMetadata`]: `id` in hexadecimal, `integrity` (`merkle-tree`, `sign-all`, `unified-merkle-tree`),
//! `hash` and `addressing` by name, `chunkSize` and `length` in bytes, `discardWindow` in chunks; what is left out is the RFC's
//! default. Of a live stream the document says `type="dynamic"`. Trackers of the lowest `tier` are asked first (RFC 7846 §1.2.2).
//!
//! `ppsp:Signature` is the last element of the document. Signed are the bytes of the document without those between its start tag
//! and its end tag. Core knows no signatures: who signs and checks hands in a function.
//!
//! Content of several qualities and languages is a set of swarms, one for each Representation; `dash` says how the files of a
//! Representation lie in its swarm. [`Descriptor::resources`] tells which files these are, [`Descriptor::set_parts`] how long,
//! [`Descriptor::parts`] where in the swarm each is, and [`Descriptor::to_playable`] makes a manifest that any player reads.
//!
//! What the reader does not know it keeps, and writes again. Two older forms are read too, see [`Descriptor::parse`].

mod dash;
mod import;
mod representation;
mod signature;
mod swarm;
#[cfg(test)]
mod tests;
mod xml;

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

pub use dash::{DashError, File, Layer, Part, Parts, Reference, Resources, Timeline, Wrong};
use representation::representation;
pub use representation::{Kind, Representation};
pub use signature::SignatureError;
use xml::{Element, Node};

use crate::{Link, SwarmId, SwarmMetadata};

/// A media descriptor. What it says is not proven: see [`parse_signed`](Self::parse_signed).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Descriptor {
    root: Element,
}

/// A swarm, and how much of a live stream peers keep.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Swarm {
    /// What every peer must know of it.
    pub metadata: SwarmMetadata,
    /// The live discard window in chunks (RFC 7574 §7.9).
    pub discard_window: Option<u64>,
}

impl Descriptor {
    /// The namespace of our elements.
    pub const NAMESPACE: &str = "urn:ppsp:descriptor:1";
    /// The media type of descriptors (ISO/IEC 23009-1 Annex C).
    pub const MEDIA_TYPE: &str = "application/dash+xml";
    /// Longest document, in bytes.
    pub const MAX_LEN: usize = xml::MAX_LEN;
    /// Most trackers that are read.
    pub const MAX_TRACKERS: usize = 32;
    /// Most Representations that are read.
    pub const MAX_REPRESENTATIONS: usize = 1024;

    /// Reads a descriptor. Its signature, if it has one, is not looked at.
    ///
    /// Two older forms become the same thing: an MPD that holds `Trackers`, `SwarmID` and `RootFP` without our namespace, and a
    /// `StreamInfo` document with `Trackers`, each `Tracker` with its `tier`, and `SwarmID`. In these, names count
    /// without their prefix and in whatever case; a swarm ID is a root hash in hexadecimal.
    ///
    /// # Errors
    ///
    /// Everything that is not a document of one of these forms within the limits. Entities beyond the five of XML are refused.
    pub fn parse(xml: &[u8]) -> Result<Self, DescriptorError> {
        Self::from_root(xml::parse(xml)?.root)
    }

    fn from_root(root: Element) -> Result<Self, DescriptorError> {
        let new = Self { root: import::modern(root)? };
        let mut count = 0;
        new.visit(&mut |_, _| count += 1);
        if count > Self::MAX_REPRESENTATIONS || new.tracker_elements().count() > Self::MAX_TRACKERS {
            return Err(DescriptorError::TooMuch { at: 0 });
        }
        // What is wrong in a swarm is said now, and not when it is asked for.
        let mut wrong = None;
        new.visit(&mut |element, _| {
            for swarm in element.elements().filter(|child| child.is(Self::NAMESPACE, "Swarm")) {
                wrong = wrong.take().or(swarm::read(swarm).err());
            }
        });
        wrong.map_or(Ok(new), Err)
    }

    /// The descriptor of a plain file, or of a live stream: one Representation with the id `file`. `name` is the file's, `mime` its media
    /// type.
    pub fn of_file(title: &str, name: &str, mime: &str, swarm: &SwarmMetadata) -> Self {
        let base = Element::new("BaseURL", DASH).text(utf8_percent_encode(name, NOT_IN_PATH).to_string());
        // DASH wants a bandwidth; of a file nobody knows it.
        let representation = Element::new("Representation", DASH).with("id", "file").with("bandwidth", 0).child(base);
        let set = Element::new("AdaptationSet", DASH).with("mimeType", mime).child(representation);
        let root = Element::new("MPD", DASH).with("xmlns", DASH).with("xmlns:ppsp", Self::NAMESPACE);
        let root = if swarm.integrity.is_live() {
            // DASH wants a moment from which it is there; a channel has none.
            root.with("profiles", "urn:mpeg:dash:profile:full:2011")
                .with("type", "dynamic")
                .with("availabilityStartTime", "1970-01-01T00:00:00Z")
        } else {
            root.with("profiles", "urn:mpeg:dash:profile:isoff-on-demand:2011").with("type", "static")
        };
        let root = root
            .with("minBufferTime", "PT2S")
            .child(Element::new("ProgramInformation", DASH).child(Element::new("Title", DASH).text(title)))
            .child(Element::new("Period", DASH).child(set));
        let mut new = Self { root };
        new.set_swarm("file", swarm, None);
        new
    }

    /// The document, without a signature.
    pub fn to_xml(&self) -> String {
        let mut root = self.root.clone();
        root.remove(|element| element.is(Self::NAMESPACE, "Signature"));
        root.document()
    }

    /// Replaces all trackers: tiers in the order in which they are to be asked.
    pub fn set_trackers<S: AsRef<str>>(&mut self, tiers: &[Vec<S>]) {
        self.root.remove(|element| element.is(Self::NAMESPACE, "Trackers"));
        let prefix = self.prefix();
        let mut trackers = Element::new(&(prefix.clone() + "Trackers"), Self::NAMESPACE);
        for (tier, urls) in tiers.iter().enumerate() {
            for url in urls {
                let one = Element::new(&(prefix.clone() + "Tracker"), Self::NAMESPACE);
                trackers = trackers.child(one.with("tier", tier).text(url.as_ref()));
            }
        }
        self.root.children.push(Node::Element(trackers));
    }

    /// Says where the Representation with this id can be had. Without such a Representation nothing happens, and it is
    /// `false`.
    pub fn set_swarm(&mut self, id: &str, metadata: &SwarmMetadata, discard_window: Option<u64>) -> bool {
        let swarm = Swarm { metadata: metadata.clone(), discard_window };
        let element = swarm::write(&(self.prefix() + "Swarm"), &swarm);
        self.set_own(id, "Swarm", Some(element))
    }

    /// Replaces the title.
    pub fn set_title(&mut self, title: &str) {
        let (program, title) = (self.root.beside("ProgramInformation"), self.root.beside("Title").text(title));
        let is_program = |element: &Element| element.local() == "ProgramInformation";
        if !self.root.elements().any(is_program) {
            self.root.children.insert(0, Node::Element(program));
        }
        if let Some(program) = self.root.elements_mut().find(|element| is_program(element)) {
            program.remove(|element| element.local() == "Title");
            program.children.insert(0, Node::Element(title));
        }
    }

    /// Replaces an element of ours in the Representation with this id; `false` where there is none.
    fn set_own(&mut self, id: &str, local: &str, element: Option<Element>) -> bool {
        let Some(representation) = representation_mut(&mut self.root, id) else { return false };
        representation.remove(|element| element.is(Self::NAMESPACE, local));
        if let Some(element) = element {
            // Where ISO/IEC 23009-1 wants elements of others.
            representation.insert_before(&BEHIND_OTHERS, element);
        }
        true
    }

    /// URLs of trackers, in tiers: those of the first are asked first.
    pub fn trackers(&self) -> Vec<Vec<String>> {
        let mut all: Vec<(u32, String)> = Vec::new();
        for tracker in self.tracker_elements() {
            let tier = tracker.attribute("tier").and_then(|tier| tier.trim().parse().ok()).unwrap_or(0);
            let url = tracker.content();
            if !url.is_empty() {
                all.push((tier, url));
            }
        }
        all.sort_by_key(|(tier, _)| *tier);
        all.chunk_by(|a, b| a.0 == b.0).map(|tier| tier.iter().map(|(_, url)| url.clone()).collect()).collect()
    }

    /// All Representations, in the order of the document.
    pub fn representations(&self) -> Vec<Representation> {
        let mut found = Vec::new();
        self.visit(&mut |element, set| found.push(representation(element, set)));
        found
    }

    /// The swarms of all Representations.
    pub fn swarms(&self) -> Vec<SwarmId> {
        self.representations().into_iter().filter_map(|one| one.swarm).map(|swarm| swarm.metadata.id).collect()
    }

    /// The title, where there is one.
    pub fn title(&self) -> Option<String> {
        let program = self.root.elements().find(|element| element.local() == "ProgramInformation")?;
        let title = program.elements().find(|element| element.local() == "Title")?.content();
        (!title.is_empty()).then_some(title)
    }

    /// A link to the swarm of this Representation, with all trackers.
    pub fn link(&self, of: &Representation) -> Option<Link> {
        let swarm = of.swarm.as_ref()?;
        let mut link = Link::new(swarm.metadata.clone());
        link.name.clone_from(&of.name);
        link.discard_window = swarm.discard_window;
        link.trackers = self.trackers().into_iter().flatten().take(Link::MAX_TRACKERS).collect();
        Some(link)
    }

    fn tracker_elements(&self) -> impl Iterator<Item = &Element> {
        let groups = self.root.elements().filter(|element| element.is(Self::NAMESPACE, "Trackers"));
        groups.flat_map(Element::elements).filter(|element| element.is(Self::NAMESPACE, "Tracker"))
    }

    /// Each Representation, with the AdaptationSet that it stands in.
    fn visit<'a>(&'a self, found: &mut impl FnMut(&'a Element, &'a Element)) {
        self.root.walk(&mut |set| {
            set.elements().filter(|child| child.local() == "Representation").for_each(|child| found(child, set));
        });
    }

    /// The prefix of our namespace, with its colon; one is declared where there is none.
    fn prefix(&mut self) -> String {
        let ours = |(name, value): &(String, String)| {
            let prefix = name.strip_prefix("xmlns:").filter(|_| value == Self::NAMESPACE)?;
            Some(prefix.to_owned() + ":")
        };
        if let Some(prefix) = self.root.attributes.iter().find_map(ours) {
            return prefix;
        }
        let mut prefix = "ppsp".to_owned();
        while self.root.attribute(&("xmlns:".to_owned() + &prefix)).is_some() {
            prefix.push('-');
        }
        self.root.set_attribute(&("xmlns:".to_owned() + &prefix), Self::NAMESPACE.to_owned());
        prefix + ":"
    }
}

/// Why a document is not a descriptor. Places are bytes from its beginning.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DescriptorError {
    /// Longer than [`Descriptor::MAX_LEN`].
    #[error("a descriptor has at most {} bytes", Descriptor::MAX_LEN)]
    TooLong,
    /// More elements, deeper, more attributes, more trackers or Representations than a descriptor has.
    #[error(
        "at byte {at}: more than a descriptor holds (depth {}, {} elements, {} attributes each, {} trackers, {} Representations)",
        xml::MAX_DEPTH,
        xml::MAX_ELEMENTS,
        xml::MAX_ATTRIBUTES,
        Descriptor::MAX_TRACKERS,
        Descriptor::MAX_REPRESENTATIONS
    )]
    TooMuch {
        /// Where.
        at: usize,
    },
    /// Not UTF-8.
    #[error("at byte {at}: not UTF-8")]
    Utf8 {
        /// Where.
        at: usize,
    },
    /// Not well-formed XML.
    #[error("at byte {at}: not well-formed XML: {what}")]
    Xml {
        /// Where.
        at: usize,
        /// What.
        what: String,
    },
    /// A document type declaration.
    #[error("at byte {at}: document type declarations are not read")]
    DocType {
        /// Where.
        at: usize,
    },
    /// An entity that XML itself does not define.
    #[error("at byte {at}: an entity that XML itself does not define")]
    Entity {
        /// Where.
        at: usize,
    },
    /// Well-formed, but of another form.
    #[error("<{0}> is not a descriptor: neither an MPD nor a StreamInfo")]
    Root(String),
    /// A swarm that makes no sense.
    #[error("the swarm's {attribute} makes no sense: {why}")]
    Swarm {
        /// Which attribute.
        attribute: &'static str,
        /// Why.
        why: String,
    },
}

fn representation_mut<'a>(element: &'a mut Element, id: &str) -> Option<&'a mut Element> {
    if element.local() == "Representation" && element.attribute("id") == Some(id) {
        return Some(element);
    }
    element.elements_mut().find_map(|child| representation_mut(child, id))
}

/// Children of a Representation that stand behind its BaseURL (ISO/IEC 23009-1 §5.3.5.3).
const BEHIND_BASE: [&str; 5] =
    ["ExtendedBandwidth", "SubRepresentation", "SegmentBase", "SegmentList", "SegmentTemplate"];
/// And those that stand behind elements of others.
const BEHIND_OTHERS: [&str; 6] =
    ["BaseURL", "ExtendedBandwidth", "SubRepresentation", "SegmentBase", "SegmentList", "SegmentTemplate"];
/// The namespace of DASH.
const DASH: &str = "urn:mpeg:dash:schema:mpd:2011";
/// What cannot stand in the path of a URL as it is.
const NOT_IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'/')
    .add(b':')
    .add(b'\\')
    .add(b'^')
    .add(b'[')
    .add(b']')
    .add(b'|');
