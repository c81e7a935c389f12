use alloc::{boxed::Box, collections::BTreeMap, vec, vec::Vec};

use crate::{Bin, Hash};

/// The hashes of a tree that are known to be right, in memory: a sparse map from nodes to hashes.
///
/// Five levels of 32 neighbouring leaves, 62 nodes, share a page, so that a climb finds most of its nodes in the page it
/// looked at last, siblings lie side by side, and the nodes in use are one word. Level 5 is the bottom of the next band.
#[derive(Clone, Debug)]
pub(crate) struct Proven {
    hash_len: usize,
    /// One per five levels of the tree, leaves first.
    bands: Vec<Band>,
    pages: Vec<Page>,
    /// Pages out of use.
    free: Vec<usize>,
}

impl Proven {
    pub(crate) const fn new(hash_len: usize) -> Self {
        Self { hash_len, bands: Vec::new(), pages: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new(self.hash_len);
    }

    /// The hash of a node. Takes `&mut self` to remember the page.
    pub(crate) fn get(&mut self, node: Bin) -> Option<&[u8]> {
        let at = At::of(node);
        let page = self.find(at.band, at.page)?;
        self.pages.get(page)?.get(at.slot, self.hash_len)
    }

    /// As [`get`](Self::get), by value.
    pub(crate) fn hash(&mut self, node: Bin) -> Option<Hash> {
        Hash::from_bytes(self.get(node)?)
    }

    /// Enters a node. `true` if it was not there.
    pub(crate) fn set(&mut self, node: Bin, hash: &Hash) -> bool {
        let at = At::of(node);
        let page = match self.find(at.band, at.page) {
            Some(page) => page,
            None => self.add(at.band, at.page),
        };
        let len = self.hash_len;
        let Some(page) = self.pages.get_mut(page) else { return false };
        let bytes = page.hashes.get_mut(at.slot * len..(at.slot + 1) * len);
        if let Some(bytes) = bytes.filter(|bytes| bytes.len() == hash.as_bytes().len()) {
            bytes.copy_from_slice(hash.as_bytes());
            let new = page.valid >> at.slot & 1 == 0;
            page.valid |= 1 << at.slot;
            return new;
        }
        false
    }

    /// The first page in use of a band at or after `from`.
    pub(crate) fn next_page(&self, band: usize, from: u64) -> Option<u64> {
        self.bands.get(band)?.index.range(from..).next().map(|(&page, _)| page)
    }

    /// Drops all nodes of a page.
    pub(crate) fn drop_page(&mut self, band: usize, page: u64) {
        let Some(band) = self.bands.get_mut(band) else { return };
        band.latest = None;
        if let Some(index) = band.index.remove(&page)
            && let Some(page) = self.pages.get_mut(index)
        {
            page.valid = 0;
            // A few pages wait for their next use, more would be memory that nobody needs.
            if self.free.len() >= SPARE {
                page.hashes = Box::default();
            }
            self.free.push(index);
        }
    }

    /// Number of pages in use.
    #[cfg(test)]
    pub(crate) fn pages(&self) -> usize {
        self.pages.len() - self.free.len()
    }

    fn find(&mut self, band: usize, page: u64) -> Option<usize> {
        let band = self.bands.get_mut(band)?;
        if let Some((latest, index)) = band.latest
            && latest == page
        {
            return Some(index);
        }
        let index = *band.index.get(&page)?;
        band.latest = Some((page, index));
        Some(index)
    }

    fn add(&mut self, band: usize, page: u64) -> usize {
        let size = SLOTS * self.hash_len;
        let index = self.free.pop().unwrap_or_else(|| {
            self.pages.push(Page { valid: 0, hashes: Box::default() });
            self.pages.len() - 1
        });
        if let Some(page) = self.pages.get_mut(index)
            && page.hashes.len() != size
        {
            page.hashes = vec![0; size].into_boxed_slice();
        }
        if self.bands.len() <= band {
            self.bands.resize_with(band + 1, Band::default);
        }
        if let Some(band) = self.bands.get_mut(band) {
            band.index.insert(page, index);
            band.latest = Some((page, index));
        }
        index
    }
}

/// Levels of a page.
pub(crate) const LEVELS: u32 = 5;

#[derive(Clone, Debug, Default)]
struct Band {
    /// Page number to index in `pages`.
    index: BTreeMap<u64, usize>,
    /// The entry looked up last.
    latest: Option<(u64, usize)>,
}

#[derive(Clone, Debug)]
struct Page {
    /// Slots in use.
    valid: u64,
    hashes: Box<[u8]>,
}

impl Page {
    fn get(&self, slot: usize, len: usize) -> Option<&[u8]> {
        if self.valid >> slot & 1 == 0 {
            return None;
        }
        self.hashes.get(slot * len..(slot + 1) * len)
    }
}

/// Where a node is kept.
struct At {
    band: usize,
    page: u64,
    slot: usize,
}

impl At {
    fn of(node: Bin) -> Self {
        let height = node.height();
        let level = height % LEVELS;
        // Index of the node among those of its height.
        let index = (node.number() >> height) >> 1;
        // The widest level comes first in the page, the two nodes of the narrowest last.
        let slot = 64 - (64 >> level) + (index & ((32 >> level) - 1));
        Self { band: (height / LEVELS) as usize, page: index >> (LEVELS - level), slot: slot as usize }
    }
}

const SLOTS: usize = 62;
const SPARE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HashAlg;
    use std::collections::BTreeMap;

    #[test]
    fn behaves_like_a_map() {
        let mut model = BTreeMap::new();
        let mut map = Proven::new(32);
        let hash = |n: u64| {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&n.to_le_bytes());
            Hash::from_bytes(&bytes).unwrap()
        };
        let numbers = (0..600u64).chain((0..64).map(|h| (1 << h) - 1)).chain((1..600).map(|n| u64::MAX - n));
        for (i, number) in numbers.enumerate() {
            let node = Bin::new(number).unwrap();
            assert_eq!(map.set(node, &hash(i as u64)), model.insert(node, hash(i as u64)).is_none());
        }
        for (&node, hash) in &model {
            assert_eq!(map.hash(node), Some(*hash), "{node:?}");
        }
        for band in 0..13 {
            while let Some(page) = map.next_page(band, 0) {
                map.drop_page(band, page);
            }
        }
        assert!(map.pages() == 0 && model.keys().all(|&node| map.get(node).is_none()));
        assert!(!map.set(Bin::ALL, &Hash::empty(HashAlg::Sha1)), "a hash of another length is refused");
    }
}
