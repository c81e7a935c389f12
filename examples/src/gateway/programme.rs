//! What a gateway knows of: content of the catalogue, and links.

use std::{collections::BTreeMap, sync::Arc};

use ppsp_core::descriptor::{Descriptor, Kind, Representation};

use super::{Item, merged::Merged};
use crate::account::path_part;

/// What belongs together: the Representations of one content.
#[derive(Debug)]
pub struct Programme {
    content: Option<(String, Descriptor)>,
    items: Vec<Arc<Item>>,
    /// Layers that are one to players, by their swarms.
    merged: BTreeMap<String, Arc<Merged>>,
}

impl Programme {
    /// What a link leads to; or content, by its identifier in the catalogue and what the Portal says of it.
    pub fn new(content: Option<(String, Descriptor)>, items: Vec<Item>) -> Self {
        let items: Vec<_> = items.into_iter().map(Arc::new).collect();
        let merged = content.as_ref().map(|(_, descriptor)| Merged::all(descriptor, &items)).unwrap_or_default();
        Self { content, items, merged }
    }

    /// Its identifier in the catalogue.
    pub(super) fn id(&self) -> Option<&str> {
        self.content.as_ref().map(|(id, _)| &**id)
    }

    pub(super) fn descriptor(&self) -> Option<&Descriptor> {
        self.content.as_ref().map(|(_, descriptor)| descriptor)
    }

    /// Each Representation.
    pub(super) fn items(&self) -> &[Arc<Item>] {
        &self.items
    }

    pub(super) fn item(&self, swarm: &str) -> Option<&Arc<Item>> {
        self.items.iter().find(|item| item.id == swarm)
    }

    /// The layers of these swarms, where they are put together.
    pub(super) fn merged(&self, swarms: &str) -> Option<&Arc<Merged>> {
        self.merged.get(swarms)
    }

    /// The paths of what players open.
    pub fn paths(&self) -> Vec<String> {
        match self.manifest() {
            Some(path) => vec![path],
            None => self.items.iter().map(|item| item.path()).collect(),
        }
    }

    /// The path of the manifest, where a player finds by it what it needs: it has to know the codecs of segments beforehand.
    pub(super) fn manifest(&self) -> Option<String> {
        let (id, descriptor) = self.content.as_ref()?;
        let named = |one: &Representation| one.swarm.is_some() && one.codecs.is_some();
        descriptor.representations().iter().any(named).then(|| format!("/mpd/{}/manifest.mpd", path_part(id)))
    }

    /// The best picture that needs nothing beside it, for players that know nothing of manifests: its files one after the other.
    pub(super) fn picture(&self) -> Option<&Item> {
        let representations = self.descriptor()?.representations();
        let alone = |one: &&Representation| one.kind == Kind::Video && one.dependencies.is_empty();
        let best = representations.iter().filter(alone).max_by_key(|one| one.bandwidth)?;
        self.item(&best.swarm.as_ref()?.metadata.id.to_string()).map(|item| &**item)
    }
}

/// Programmes in the order in which they were asked for, the newest last. Those that the gateway was given by its owner stay; of
/// others few are remembered, and whoever wants one that is forgotten has the Portal asked again.
#[derive(Debug, Default)]
pub(super) struct Known(Vec<(Arc<Programme>, bool)>);

impl Known {
    /// Most of those that were found.
    const MOST: usize = 64;

    /// One more, in the place of an earlier one of the same content.
    pub(super) fn add(&mut self, programme: Arc<Programme>, given: bool) {
        let same = |(known, _): &(Arc<Programme>, bool)| known.id().is_some() && known.id() == programme.id();
        let before = self.0.iter().position(same).map(|at| self.0.remove(at));
        self.0.push((programme, given || before.is_some_and(|(_, given)| given)));
        if self.0.iter().filter(|(_, given)| !given).count() > Self::MOST
            && let Some(oldest) = self.0.iter().position(|(_, given)| !given)
        {
            self.0.remove(oldest);
        }
    }

    /// Somebody asks for this content.
    pub(super) fn get(&mut self, content: &str) -> Option<Arc<Programme>> {
        let at = self.0.iter().position(|(known, _)| known.id() == Some(content))?;
        let found = self.0.remove(at);
        self.0.push(found);
        self.0.last().map(|(programme, _)| Arc::clone(programme))
    }

    /// A swarm as its link shows it, else as the newest content does that it belongs to.
    pub(super) fn item(&self, swarm: &str) -> Option<Arc<Item>> {
        let links = self.0.iter().filter(|(known, _)| known.id().is_none());
        let contents = self.0.iter().rev().filter(|(known, _)| known.id().is_some());
        links.chain(contents).find_map(|(known, _)| known.item(swarm)).cloned()
    }

    /// Each swarm of each.
    pub(super) fn items(&self) -> impl Iterator<Item = &Arc<Item>> {
        self.0.iter().flat_map(|(known, _)| known.items())
    }
}

#[cfg(test)]
mod tests {
    use ppsp_core::Link;

    use super::*;
    use crate::peer::Sources;

    fn item(content: Option<&str>, swarm: u8) -> Item {
        let link: Link = format!("ppsp:{}", format!("{swarm:02x}").repeat(32)).parse().unwrap();
        Item::new(content, link, None, None, Sources::default())
    }

    fn content(id: &str, swarm: u8) -> Arc<Programme> {
        let metadata = item(None, swarm).link.metadata;
        let descriptor = Descriptor::of_file("a film", "film.mp4", "video/mp4", &metadata);
        Arc::new(Programme::new(Some((id.to_owned(), descriptor)), vec![item(Some(id), swarm)]))
    }

    #[test]
    fn what_was_given_stays_and_of_others_the_newest() {
        let mut known = Known::default();
        known.add(Arc::new(Programme::new(None, vec![item(None, 7)])), true);
        known.add(content("given", 1), true);
        known.add(content("first", 7), false);
        for n in 0..200 {
            known.add(content(&format!("c{n}"), 9), false);
            assert!(known.get("first").is_some(), "it is asked for all the time");
        }
        assert_eq!(known.0.len(), Known::MOST + 2);
        assert!(known.get("c0").is_none() && known.get("c199").is_some() && known.get("given").is_some());
        // Found again it is what it was.
        known.add(content("given", 2), false);
        assert_eq!((known.0.len(), known.get("given").unwrap().items()[0].id.get(..2)), (Known::MOST + 2, Some("02")));
        (0..200).for_each(|n| known.add(content(&format!("d{n}"), 9), false));
        assert!(known.get("given").is_some() && known.get("first").is_none());
        let path = |swarm: &str| known.item(&swarm.repeat(32)).map(|item| item.path());
        assert_eq!(path("07"), Some(format!("/{}", "07".repeat(32))));
        assert_eq!(path("09"), Some(format!("/content/d199/{}", "09".repeat(32))));
        assert_eq!(path("ff"), None);
    }
}
