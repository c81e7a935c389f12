//! What a manifest (ISO/IEC 23009-1) says of its files, and how they lie in swarms.
//!
//! A Representation's swarm is one byte stream: the files that its segments come from, each once and whole, joined in the order in
//! which the manifest first refers to them (the initialization segment, then the media segments). A single file is its own
//! stream. So the manifest itself tells the order and the names of the parts; what it does not tell, their lengths, stands in
//! `ppsp:Parts`, next to `ppsp:Swarm`:
//!
//! ```xml
//! <ppsp:Swarm id="47a0…" hash="sha256" chunkSize="1024" length="31427"/>
//! <ppsp:Parts>832 11064 9725 9806</ppsp:Parts>
//! <ppsp:Origin>https://cdn.example.org/film/</ppsp:Origin>
//! ```
//!
//! Names are paths relative to the manifest (RFC 3986 §5.2), percent-decoded: a part `video/1.m4s` is at that place below the
//! origin too. Nothing outside of the manifest's directory has a name.
//!
//! Read are finished manifests (`type="static"`) of one Period whose Representations have an `id` each. Elements count by their
//! names without prefix, as they do for players.

mod duration;
mod error;
mod layers;
mod name;
mod parts;
mod playable;
mod segments;
mod split;
mod template;
#[cfg(test)]
mod tests;

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};
use core::{ops::Range, time::Duration};

pub use error::{DashError, Wrong};
pub(super) use parts::origin;
pub use parts::{Part, Parts};
pub use split::{Layer, Timeline};

use super::{Descriptor, xml::Element};

/// What the manifest refers to for one Representation.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resources {
    /// The Representation's `id`.
    pub representation: String,
    /// In the order of the presentation: the initialization segment, then media segments.
    pub references: Vec<Reference>,
    /// So many references are certain, from the first on. Those behind may be missing: where the number of segments follows from
    /// durations, which are rounded, the last may not exist, and one more may.
    pub certain: usize,
}

/// A segment, as the manifest refers to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reference {
    /// Its file: the path relative to the manifest.
    pub name: String,
    /// Which bytes of the file; `None` for all.
    pub range: Option<Range<u64>>,
}

/// A file from which segments come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct File<'a> {
    /// The path relative to the manifest.
    pub name: &'a str,
    /// The manifest refers to so many bytes of it, at least.
    pub min_len: u64,
    /// Must it exist?
    pub certain: bool,
}

impl Resources {
    /// The files, in the order in which they are joined.
    pub fn files(&self) -> Vec<File<'_>> {
        let mut files: Vec<File<'_>> = Vec::new();
        let mut known = BTreeMap::new();
        for (at, Reference { name, range }) in self.references.iter().enumerate() {
            let next = files.len();
            let slot = *known.entry(name.as_str()).or_insert(next);
            if slot == next {
                files.push(File { name, min_len: 0, certain: at < self.certain });
            }
            if let (Some(file), Some(range)) = (files.get_mut(slot), range) {
                file.min_len = file.min_len.max(range.end);
            }
        }
        files
    }
}

impl Descriptor {
    /// Most references of a manifest that are read.
    pub const MAX_REFERENCES: usize = 65_536;
    /// Longest path of a file, in bytes.
    pub const MAX_NAME: usize = 512;

    /// What each Representation consists of, in the order of the document.
    ///
    /// # Errors
    ///
    /// [`DashError`] where the manifest cannot become swarms.
    pub fn resources(&self) -> Result<Vec<Resources>, DashError> {
        let mut budget = Self::MAX_REFERENCES;
        self.places()?.iter().map(|place| place.resources(&mut budget)).collect()
    }

    /// How long the presentation is (`mediaPresentationDuration`); `None` where that is not said, or is no duration.
    pub fn duration(&self) -> Option<Duration> {
        let nanos = duration::nanoseconds(self.root.attribute("mediaPresentationDuration")?)?;
        u64::try_from(nanos).ok().map(Duration::from_nanos)
    }

    /// All Representations, where they stand.
    fn places(&self) -> Result<Vec<Place<'_>>, DashError> {
        let root = &self.root;
        if root.attribute("type").is_some_and(|kind| kind.trim() == "dynamic") {
            return Err(DashError::Live);
        }
        let mut remote = false;
        root.walk(&mut |element| remote |= element.attributes.iter().any(|(name, _)| is_remote(name)));
        if remote {
            return Err(DashError::Remote);
        }
        let periods: Vec<_> = named(root, "Period").collect();
        let [period] = periods[..] else {
            return Err(if periods.is_empty() { DashError::Empty } else { DashError::Periods(periods.len()) });
        };
        let sets = named(period, "AdaptationSet");
        let places = sets.flat_map(|set| named(set, "Representation").map(move |element| (set, element)));
        let places: Vec<_> = places.map(|(set, element)| Place { root, period, set, element }).collect();
        let mut ids = BTreeSet::new();
        for place in &places {
            if place.id().is_empty() {
                return Err(DashError::NoId);
            }
            if !ids.insert(place.id()) {
                return Err(DashError::Twice(error::shown(place.id())));
            }
        }
        if places.is_empty() { Err(DashError::Empty) } else { Ok(places) }
    }

    /// The Representation with this id, where it stands.
    fn place(&self, id: &str) -> Result<Place<'_>, DashError> {
        let found = self.places()?.into_iter().find(|place| place.id() == id);
        found.ok_or_else(|| DashError::Unknown(error::shown(id)))
    }
}

/// A Representation, and what it stands in.
#[derive(Clone, Copy)]
struct Place<'a> {
    root: &'a Element,
    period: &'a Element,
    set: &'a Element,
    element: &'a Element,
}

impl<'a> Place<'a> {
    fn id(&self) -> &'a str {
        self.element.attribute("id").unwrap_or_default()
    }

    /// Where relative references begin: relative itself, to the manifest.
    fn base(&self) -> Result<String, DashError> {
        let levels = [self.root, self.period, self.set, self.element];
        // Of several, which are alternatives, the first.
        let urls = levels.into_iter().filter_map(|level| named(level, "BaseURL").next());
        let resolved = urls.map(Element::content).try_fold(String::new(), |base, url| name::resolve(&base, &url));
        resolved.map_err(|wrong| self.error(wrong))
    }

    fn resources(&self, budget: &mut usize) -> Result<Resources, DashError> {
        let (references, certain) = segments::references(self, &self.base()?, budget).map_err(|e| self.error(e))?;
        Ok(Resources { representation: self.id().to_owned(), references, certain })
    }

    fn error(&self, wrong: Wrong) -> DashError {
        DashError::In { representation: error::shown(self.id()), wrong }
    }
}

/// The children of this name.
fn named<'a>(element: &'a Element, name: &'a str) -> impl Iterator<Item = &'a Element> {
    element.elements().filter(move |child| child.local() == name)
}

/// `xlink:href`, by whatever prefix: what it names would stand in the place of the element.
fn is_remote(attribute: &str) -> bool {
    attribute.split_once(':').is_some_and(|(_, local)| local == "href")
}
