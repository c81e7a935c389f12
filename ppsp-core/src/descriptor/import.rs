//! The two older published forms, made into the one of today.

use alloc::{borrow::ToOwned, string::String, vec::Vec};

use super::{
    DASH, Descriptor, DescriptorError, swarm,
    xml::{Element, Node},
};
use crate::{HashAlg, SwarmMetadata};

/// A root of whatever form as the root of an MPD with our elements.
pub(super) fn modern(mut root: Element) -> Result<Element, DescriptorError> {
    let name = root.local().to_ascii_lowercase();
    if name != "mpd" && name != "streaminfo" {
        return Err(DescriptorError::Root(root.local().chars().take(64).collect()));
    }
    let mut old = Old::default();
    root.walk(&mut |element| old.look(element));
    let old_ones = |element: &Element| &*element.namespace != Descriptor::NAMESPACE && is_old(element);
    if name == "mpd" {
        if old.is_empty() {
            return Ok(root);
        }
        let (ids, tiers) = old.read()?;
        purge(&mut root, &old_ones);
        let mut new = Descriptor { root };
        // One swarm for each Representation, or one for the first.
        let representations: Vec<String> = {
            let mut found = Vec::new();
            new.visit(&mut |element, _| found.push(element.attribute("id").unwrap_or_default().to_owned()));
            found
        };
        for (id, metadata) in representations.iter().zip(&ids) {
            new.set_swarm(id, metadata, None);
        }
        if !tiers.is_empty() {
            new.set_trackers(&tiers);
        }
        return Ok(new.root);
    }
    let (ids, tiers) = old.read()?;
    let first = ids.first().ok_or(DescriptorError::Swarm { attribute: "id", why: "there is no SwarmID".to_owned() })?;
    let text = |wanted: &[&str]| {
        let mut found = None;
        root.walk(&mut |element| {
            if found.is_none() && wanted.iter().any(|name| element.local().eq_ignore_ascii_case(name)) {
                found = Some(element.content());
            }
        });
        found.filter(|text| !text.is_empty())
    };
    let title = text(&["Title", "Name"]).unwrap_or_default();
    let file = text(&["BaseURL", "FileName"]).unwrap_or_else(|| title.clone());
    let mut new = Descriptor::of_file(&title, &file, "application/octet-stream", first);
    for (at, metadata) in ids.iter().enumerate().skip(1) {
        let id = alloc::format!("file{at}");
        let other = Element::new("Representation", DASH).with("id", &id).with("bandwidth", 0);
        let set = new.root.elements_mut().find(|child| child.local() == "Period");
        if let Some(set) = set.and_then(|period| period.elements_mut().next()) {
            set.children.push(Node::Element(other));
        }
        new.set_swarm(&id, metadata, None);
    }
    new.set_trackers(&tiers);
    Ok(new.root)
}

/// What the older forms say.
#[derive(Default)]
struct Old<'a> {
    swarms: Vec<&'a Element>,
    roots: Vec<&'a Element>,
    trackers: Vec<&'a Element>,
}

impl<'a> Old<'a> {
    fn look(&mut self, element: &'a Element) {
        if &*element.namespace == Descriptor::NAMESPACE {
            return;
        }
        match element.local().to_ascii_lowercase().as_str() {
            "swarmid" => self.swarms.push(element),
            "rootfp" => self.roots.push(element),
            "tracker" => self.trackers.push(element),
            _ => {}
        }
    }

    fn is_empty(&self) -> bool {
        self.swarms.is_empty() && self.roots.is_empty() && self.trackers.is_empty()
    }

    fn read(&self) -> Result<(Vec<SwarmMetadata>, Vec<Vec<String>>), DescriptorError> {
        // A root fingerprint is the root hash; where there is none, the swarm ID is.
        let named = if self.roots.is_empty() { &self.swarms } else { &self.roots };
        let mut ids = Vec::new();
        for element in named {
            let bad = || DescriptorError::Swarm {
                attribute: "id",
                why: "a SwarmID or RootFP of the older forms is a root hash in hexadecimal".to_owned(),
            };
            let id = swarm::parse_id(&element.content()).ok_or_else(bad)?;
            let hash = HashAlg::ALL.into_iter().filter(|alg| alg.len() == id.as_bytes().len());
            // Of two functions with hashes of one length, the RFC's default.
            let hash = hash.min_by_key(|alg| *alg != HashAlg::default()).ok_or_else(bad)?;
            ids.push(SwarmMetadata { id, hash, ..SwarmMetadata::of_root(&crate::Hash::empty(hash)) });
        }
        let mut all: Vec<(u32, String)> = Vec::new();
        for element in self.trackers.iter().take(Descriptor::MAX_TRACKERS) {
            let of = |wanted: &str| {
                let found = element.attributes.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                found.map(|(_, value)| value.trim().to_owned())
            };
            let inner = element.elements().map(Element::content).find(|text| text.contains("://"));
            let url =
                ["url", "href", "address"].into_iter().find_map(of).or(inner).unwrap_or_else(|| element.content());
            if !url.is_empty() {
                all.push((of("tier").and_then(|tier| tier.parse().ok()).unwrap_or(0), url));
            }
        }
        all.sort_by_key(|(tier, _)| *tier);
        let tiers = all.chunk_by(|a, b| a.0 == b.0);
        Ok((ids, tiers.map(|tier| tier.iter().map(|(_, url)| url.clone()).collect()).collect()))
    }
}

fn is_old(element: &Element) -> bool {
    ["swarmid", "rootfp", "tracker", "trackers"].iter().any(|name| element.local().eq_ignore_ascii_case(name))
}

fn purge(element: &mut Element, unwanted: &impl Fn(&Element) -> bool) {
    element.remove(unwanted);
    element.elements_mut().for_each(|child| purge(child, unwanted));
}
