//! The manifest for a player that gets everything from one place, which gets it from the swarms.

use alloc::{borrow::ToOwned, collections::BTreeMap, string::String};

use super::{DashError, is_remote};
use crate::descriptor::{BEHIND_BASE, Descriptor, Representation, representation, xml::Element};

impl Descriptor {
    /// The manifest with other URLs. `base_url` names the directory of a Representation's files: each is asked for at its name
    /// (see [`Parts::part`](super::Parts::part)) below it, percent-encoded. Representations without one are left out.
    ///
    /// All that sends players elsewhere is left out too: upper BaseURLs, `Location`, remote elements, and the like; and
    /// all of our namespace, signature and trackers included.
    ///
    /// # Errors
    ///
    /// [`DashError`] where a Representation refers to something outside of the manifest's directory, or none is left.
    pub fn to_playable(
        &self,
        mut base_url: impl FnMut(&Representation) -> Option<String>,
    ) -> Result<String, DashError> {
        let mut bases = BTreeMap::new();
        let mut budget = Self::MAX_REFERENCES;
        for place in self.places()? {
            if let Some(url) = base_url(&representation(place.element, place.set)) {
                // That its references lie inside is what they are resolved for.
                place.resources(&mut budget)?;
                bases.insert(place.id().to_owned(), url.trim_end_matches('/').to_owned() + "/" + &place.base()?);
            }
        }
        if bases.is_empty() {
            return Err(DashError::Empty);
        }
        let mut root = self.root.clone();
        clean(&mut root);
        for set in children(&mut root, "Period").flat_map(|period| children(period, "AdaptationSet")) {
            let has_base = |element: &Element| element.attribute("id").is_some_and(|id| bases.contains_key(id));
            set.remove(|element| element.local() == "Representation" && !has_base(element));
            for one in children(set, "Representation") {
                if let Some(url) = one.attribute("id").and_then(|id| bases.get(id)) {
                    let base = one.beside("BaseURL").text(url);
                    one.insert_before(&BEHIND_BASE, base);
                }
            }
        }
        for period in children(&mut root, "Period") {
            let is_set = |element: &Element| element.local() == "AdaptationSet";
            period.remove(|element| is_set(element) && !element.elements().any(|one| one.local() == "Representation"));
        }
        Ok(root.document())
    }
}

fn children<'a>(element: &'a mut Element, name: &'a str) -> impl Iterator<Item = &'a mut Element> {
    element.elements_mut().filter(move |child| child.local() == name)
}

/// Removes what is not for players, and what sends them elsewhere.
fn clean(element: &mut Element) {
    element.attributes.retain(|(name, _)| !is_remote(name));
    let unwanted = |child: &Element| {
        let scheme = child.attribute("schemeIdUri").unwrap_or_default();
        &*child.namespace == Descriptor::NAMESPACE
            || ELSEWHERE.contains(&child.local())
            || ELSEWHERE_BY_SCHEME.iter().any(|prefix| scheme.trim().starts_with(prefix))
    };
    element.remove(unwanted);
    element.elements_mut().for_each(clean);
}

/// Elements with URLs that players ask of their own accord: those of the manifest, and those of reports and the time.
const ELSEWHERE: [&str; 8] = [
    "BaseURL",
    "Location",
    "PatchLocation",
    "ContentSteering",
    "InitializationSet",
    "InitializationGroup",
    "Metrics",
    "UTCTiming",
];

/// Schemes of properties and events with such URLs.
const ELSEWHERE_BY_SCHEME: [&str; 4] = [
    "urn:mpeg:dash:event:callback",
    "urn:mpeg:dash:mpd-chaining",
    "urn:mpeg:dash:fallback",
    "urn:dvb:dash:fontdownload",
];
