use alloc::{boxed::Box, vec, vec::Vec};

use crate::{Bin, Hash};

/// The hashes of a tree that are known to be right, in memory: a sparse map from nodes to hashes.
///
/// Six levels of 64 neighbouring leaves, 126 nodes, share a page: level after level, siblings side by side. Level 6 is the
/// bottom of the next band of pages. A page knows the pages right below it, so a lookup is a walk down from the top page,
/// one step per band; fingers, the page of each band that was looked at last, spare neighbours that walk. What it costs
/// depends on the height of the tree, and on nothing that a peer could choose.
#[derive(Clone, Debug)]
pub(crate) struct Proven {
    hash_len: usize,
    pages: Vec<Page>,
    /// For each page the 64 below it, or [`NONE`].
    below: Vec<u32>,
    /// Pages out of use.
    free: Vec<u32>,
    /// How many of those keep their memory.
    spare: usize,
    /// The page that all others hang from, and where it belongs.
    top: Option<(usize, Place)>,
    fingers: [(u64, u32); BANDS],
}

impl Proven {
    pub(crate) const fn new(hash_len: usize) -> Self {
        Self {
            hash_len,
            pages: Vec::new(),
            below: Vec::new(),
            free: Vec::new(),
            spare: 0,
            top: None,
            fingers: [(u64::MAX, NONE); BANDS],
        }
    }

    pub(crate) fn clear(&mut self) {
        if let Some((page, place)) = self.top.take() {
            self.fingers = [(u64::MAX, NONE); BANDS];
            self.release(page, place.band);
        }
    }

    /// What is known of a node with this hash, and of its sibling.
    ///
    /// Without a branch on what is found, so that the cache misses of one call and the next overlap.
    #[inline]
    pub(crate) fn look(&mut self, node: Bin, hash: &[u8]) -> Look {
        let (place, slot) = locate(node);
        let Some(page) = self.find(place).and_then(|page| self.pages.get(page)) else { return Look::default() };
        let known = page.known(slot);
        let Some(stored) = page.at(slot, self.hash_len) else { return Look::default() };
        // All functions have hashes of whole words.
        let (stored_words, words) = (stored.as_chunks::<4>().0, hash.as_chunks::<4>().0);
        let differ = stored_words
            .iter()
            .zip(words)
            .fold(0, |differ, (&a, &b)| differ | (u32::from_ne_bytes(a) ^ u32::from_ne_bytes(b)));
        let (own, beside) = (known >> (slot & 1) & 1 != 0, known >> (!slot & 1) & 1 != 0);
        Look { known: own, equal: own & (differ == 0) & (stored.len() == hash.len()), sibling_known: beside }
    }

    /// The hash of a node. Takes `&mut self` to remember the page.
    #[inline]
    pub(crate) fn get(&mut self, node: Bin) -> Option<&[u8]> {
        let (place, slot) = locate(node);
        let page = self.find(place)?;
        self.pages.get(page)?.get(slot, self.hash_len)
    }

    /// As [`get`](Self::get), by value.
    pub(crate) fn hash(&mut self, node: Bin) -> Option<Hash> {
        Hash::from_bytes(self.get(node)?)
    }

    /// Enters a node. `true` if it was not there.
    pub(crate) fn set(&mut self, node: Bin, hash: &Hash) -> bool {
        let (place, slot) = locate(node);
        let len = self.hash_len;
        let Some(page) = self.find(place).or_else(|| self.add(place)) else { return false };
        self.pages.get_mut(page).is_some_and(|page| page.set(slot, len, hash))
    }

    /// Enters a left node and its right sibling, or one of them. `true` for what was not there.
    #[inline]
    pub(crate) fn set_pair(&mut self, node: Bin, left: Option<&Hash>, right: Option<&Hash>) -> (bool, bool) {
        let (place, slot) = locate(node);
        let len = self.hash_len;
        let Some(page) = self.find(place).or_else(|| self.add(place)) else { return (false, false) };
        let Some(page) = self.pages.get_mut(page) else { return (false, false) };
        let slot = slot & !1;
        let left = left.is_some_and(|hash| page.set(slot, len, hash));
        (left, right.is_some_and(|hash| page.set(slot + 1, len, hash)))
    }

    /// The first page of a band at or after `from`, up to `last`.
    pub(crate) fn next_page(&mut self, band: u32, from: u64, last: u64) -> Option<u64> {
        let (_, top) = self.top.filter(|(_, top)| top.band >= band)?;
        let mut at = from.max(top.number << (LEVELS * (top.band - band)));
        while at <= last {
            // The lowest page above that is there tells how far the gap reaches.
            let (found, mut next) = self.lowest(Place { band, number: at })?;
            if found == band {
                return Some(at);
            }
            // `next` is missing in the band below `found`: look at those right of it.
            let number = next >> LEVELS;
            let page = self.find(Place { band: found, number })?;
            let row = self.below.get(page * FAN..(page + 1) * FAN)?;
            let digit = (next % FAN as u64) as usize;
            let beside = row.iter().enumerate().skip(digit).find(|&(_, &child)| child != NONE).map(|(i, _)| i as u64);
            next = match beside {
                Some(digit) => (number << LEVELS) | digit,
                None => number.checked_add(1)? << LEVELS,
            };
            at = next.checked_shl(LEVELS * (found - 1 - band))?.max(at + 1);
        }
        None
    }

    /// Drops all nodes of a page, and all below it. The top page stays.
    pub(crate) fn drop_page(&mut self, band: u32, number: u64) {
        let Some(page) = self.find(Place { band, number }) else { return };
        let Some(above) = self.find(Place { band: band + 1, number: number >> LEVELS }) else { return };
        if let Some(entry) = self.below.get_mut(above * FAN + (number % FAN as u64) as usize) {
            *entry = NONE;
        }
        for (finger, shift) in self.fingers.iter_mut().take(band as usize + 1).rev().zip((0..).step_by(LEVELS as usize))
        {
            if finger.0 >> shift == number {
                *finger = (u64::MAX, NONE);
            }
        }
        self.release(page, band);
    }

    /// Number of pages in use.
    #[cfg(test)]
    pub(crate) fn pages(&self) -> usize {
        self.pages.len() - self.free.len()
    }

    #[inline]
    fn find(&mut self, place: Place) -> Option<usize> {
        match self.fingers.get(place.band as usize) {
            Some(&(number, page)) if number == place.number => Some(page as usize),
            _ => self.walk(place),
        }
    }

    fn walk(&mut self, place: Place) -> Option<usize> {
        match self.lowest(place) {
            Some((band, number)) if band == place.band => {
                self.fingers.get(band as usize).filter(|finger| finger.0 == number).map(|finger| finger.1 as usize)
            }
            _ => None,
        }
    }

    /// The band of the lowest page that is there at or above a place, and the number of the page that is missing below
    /// it, or that was sought. `None` where not even the top page is above the place.
    fn lowest(&mut self, place: Place) -> Option<(u32, u64)> {
        let (top, top_place) = self.top?;
        let number_at = |band: u32| place.number >> (LEVELS * (band - place.band));
        if place.band > top_place.band || number_at(top_place.band) != top_place.number {
            return None;
        }
        let (mut band, mut page) = (top_place.band, top);
        while band > place.band {
            let number = number_at(band - 1);
            match self.below.get(page * FAN + (number % FAN as u64) as usize) {
                Some(&child) if child != NONE => {
                    band -= 1;
                    page = child as usize;
                    *self.fingers.get_mut(band as usize)? = (number, child);
                }
                _ => return Some((band, number)),
            }
        }
        *self.fingers.get_mut(band as usize)? = (place.number, page as u32);
        Some((band, place.number))
    }

    /// Adds a page, and what is missing between it and the top.
    fn add(&mut self, place: Place) -> Option<usize> {
        let (mut top, mut at) = match self.top {
            Some(top) => top,
            None => (self.take()?, place),
        };
        while at.band < place.band || place.number >> (LEVELS * (at.band - place.band)) != at.number {
            let page = self.take()?;
            *self.below.get_mut(page * FAN + (at.number % FAN as u64) as usize)? = top as u32;
            (top, at) = (page, Place { band: at.band + 1, number: at.number >> LEVELS });
            self.top = Some((top, at));
        }
        self.top = Some((top, at));
        loop {
            let (band, number) = self.lowest(place)?;
            let above = self.find(Place { band, number: place.number >> (LEVELS * (band - place.band)) })?;
            if band == place.band {
                return Some(above);
            }
            let page = self.take()?;
            *self.below.get_mut(above * FAN + (number % FAN as u64) as usize)? = page as u32;
        }
    }

    /// A page with nothing in it.
    fn take(&mut self) -> Option<usize> {
        let index = match self.free.pop() {
            Some(index) => index as usize,
            None => {
                u32::try_from(self.pages.len()).ok().filter(|&index| index != NONE)?;
                self.pages.push(Page { valid: [0; 2], lines: Box::default() });
                self.below.resize(self.pages.len() * FAN, NONE);
                // So that to release a page needs no memory.
                self.free.reserve(self.pages.len() - self.free.len());
                self.pages.len() - 1
            }
        };
        let page = self.pages.get_mut(index)?;
        if page.lines.is_empty() {
            let lines = line_of(SLOTS, self.hash_len).0;
            page.lines = vec![Line([0; 64]); lines].into_boxed_slice();
        } else {
            self.spare -= 1;
        }
        Some(index)
    }

    /// Empties a page and those below it.
    fn release(&mut self, page: usize, band: u32) {
        if band > 0 {
            for i in page * FAN..(page + 1) * FAN {
                let Some(child) = self.below.get_mut(i) else { return };
                let child = core::mem::replace(child, NONE);
                if child != NONE {
                    self.release(child as usize, band - 1);
                }
            }
        }
        if let Some(emptied) = self.pages.get_mut(page) {
            emptied.valid = [0; 2];
            // A few pages wait for their next use, more would be memory that nobody needs. Those with memory lie on top.
            if self.spare >= SPARE {
                emptied.lines = Box::default();
                self.free.push(page as u32);
                let last = self.free.len() - 1;
                self.free.swap(last - self.spare, last);
            } else {
                self.spare += 1;
                self.free.push(page as u32);
            }
        }
    }
}

/// What is known of a node.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Look {
    pub(crate) known: bool,
    /// Is its hash known to be this one?
    pub(crate) equal: bool,
    pub(crate) sibling_known: bool,
}

/// Levels of a page.
pub(crate) const LEVELS: u32 = 6;

/// Where a page belongs: its band, leaves first, and its number in there.
#[derive(Clone, Copy, Debug)]
struct Place {
    band: u32,
    number: u64,
}

#[derive(Clone, Debug)]
struct Page {
    /// Slots in use.
    valid: [u64; 2],
    lines: Box<[Line]>,
}

/// A line of the processor's cache: two siblings of up to 32 bytes each, or one longer hash.
#[derive(Clone, Debug)]
#[repr(align(64))]
struct Line([u8; 64]);

impl Page {
    /// What of the pair at a slot is in use, the left one in the lowest bit.
    #[inline]
    fn known(&self, slot: usize) -> u64 {
        self.valid[slot >> 6 & 1] >> (slot & 62) & 3
    }

    #[inline]
    fn get(&self, slot: usize, len: usize) -> Option<&[u8]> {
        if self.valid[slot >> 6 & 1] >> (slot & 63) & 1 == 0 {
            return None;
        }
        self.at(slot, len)
    }

    #[inline]
    fn at(&self, slot: usize, len: usize) -> Option<&[u8]> {
        let (line, offset) = line_of(slot, len);
        self.lines.get(line)?.0.get(offset..offset + len)
    }

    #[inline]
    fn set(&mut self, slot: usize, len: usize, hash: &Hash) -> bool {
        let hash = hash.as_bytes();
        let (line, offset) = line_of(slot, len);
        let Some(bytes) = self.lines.get_mut(line).and_then(|line| line.0.get_mut(offset..offset + len)) else {
            return false;
        };
        if hash.len() != len {
            return false;
        }
        bytes.copy_from_slice(hash);
        let (word, bit) = (&mut self.valid[slot >> 6 & 1], 1 << (slot & 63));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }
}

/// Where a node is kept: its page, and the slot in there.
const fn locate(node: Bin) -> (Place, usize) {
    let height = node.height();
    let level = height % LEVELS;
    // Index of the node among those of its height.
    let index = (node.number() >> height) >> 1;
    // The widest level comes first in the page, the two nodes of the narrowest last.
    let slot = 128 - (128 >> level) + (index & ((64 >> level) - 1));
    (Place { band: height / LEVELS, number: index >> (LEVELS - level) }, slot as usize)
}

/// The line of a slot, and where in it the hash begins.
const fn line_of(slot: usize, hash_len: usize) -> (usize, usize) {
    if hash_len <= 32 { (slot >> 1, (slot & 1) << 5) } else { (slot, 0) }
}

/// Bands of the tallest tree.
const BANDS: usize = 64usize.div_ceil(LEVELS as usize);
/// Pages right below a page.
const FAN: usize = 1 << LEVELS;
const SLOTS: usize = 2 * FAN - 2;
const SPARE: usize = 64;
const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HashAlg;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn hash(n: u64) -> Hash {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        Hash::from_bytes(&bytes).unwrap()
    }

    #[test]
    fn behaves_like_a_map() {
        let mut model = BTreeMap::new();
        let mut map = Proven::new(32);
        let numbers = (0..600u64).chain((0..64).map(|h| (1 << h) - 1)).chain((1..600).map(|n| u64::MAX - n));
        for (i, number) in numbers.enumerate() {
            let node = Bin::new(number).unwrap();
            assert_eq!(map.set(node, &hash(i as u64)), model.insert(node, hash(i as u64)).is_none());
        }
        for (&node, hash) in &model {
            assert_eq!(map.hash(node), Some(*hash), "{node:?}");
        }
        for band in 0..BANDS as u32 - 1 {
            while let Some(page) = map.next_page(band, 0, u64::MAX) {
                map.drop_page(band, page);
            }
        }
        assert_eq!(map.pages(), 1);
        map.clear();
        assert!(map.pages() == 0 && model.keys().all(|&node| map.get(node).is_none()));
        assert!(!map.set(Bin::ALL, &Hash::empty(HashAlg::Sha1)), "a hash of another length is refused");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        // Pages that come and go, near and far.
        #[test]
        fn pages_come_and_go(
            ops in proptest::collection::vec((0u32..6, 0u32..40, 0u64..1 << 40, 0u32..40), 1..200),
        ) {
            let mut model = BTreeMap::new();
            let mut map = Proven::new(32);
            for (i, (op, height, chunk, spread)) in ops.into_iter().enumerate() {
                // Most of them close to each other.
                let chunk = chunk >> spread;
                let node = Bin::at(height, chunk).unwrap();
                let (place, _) = locate(node);
                match op {
                    0 => {
                        let in_page = |at: Place| at.band <= place.band
                            && at.number >> (LEVELS * (place.band - at.band)) == place.number;
                        if map.top.is_some_and(|(_, top)| top.band > place.band) {
                            map.drop_page(place.band, place.number);
                            model.retain(|&node, _| !in_page(locate(node).0));
                        }
                    }
                    1 => {
                        let mut used: Vec<u64> = vec![];
                        let mut from = 0;
                        while let Some(page) = map.next_page(place.band, from, place.number + 64) {
                            used.push(page);
                            from = page + 1;
                        }
                        prop_assert!(used.is_sorted());
                        for at in model.keys().map(|&node| locate(node).0) {
                            let due = at.band == place.band && at.number <= place.number + 64;
                            prop_assert!(!due || used.contains(&at.number));
                        }
                    }
                    _ => {
                        let new = model.insert(node, hash(i as u64)).is_none();
                        prop_assert_eq!(map.set(node, &hash(i as u64)), new);
                    }
                }
                if i % 16 == 0 {
                    for (&node, hash) in &model {
                        prop_assert_eq!(map.hash(node), Some(*hash));
                        let look = map.look(node, hash.as_bytes());
                        prop_assert!(look.known && look.equal);
                        prop_assert!(!map.look(node, &[9; 32]).equal && !map.look(node, &[]).equal);
                        prop_assert_eq!(look.sibling_known, model.contains_key(&node.sibling().unwrap()));
                        prop_assert_eq!(map.get(node.sibling().unwrap()).is_some(), model.contains_key(&node.sibling().unwrap()));
                    }
                }
            }
        }
    }
}
