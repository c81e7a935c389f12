//! Values at fixed places, in pages: it grows without moving what it holds, so that no request waits for that.

use alloc::vec::Vec;

pub(super) struct Slab<T> {
    pages: Vec<Vec<Slot<T>>>,
    free: u32,
    len: usize,
}

enum Slot<T> {
    Full(T),
    /// The next free place.
    Free(u32),
}

/// No place.
const NONE: u32 = u32::MAX;

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), free: NONE, len: 0 }
    }
}

impl<T> Slab<T> {
    pub(super) fn insert(&mut self, value: T) -> u32 {
        self.len += 1;
        if let Some(slot) = self.slot_mut(self.free) {
            let at = core::mem::replace(slot, Slot::Full(value));
            let next = if let Slot::Free(next) = at { next } else { NONE };
            return core::mem::replace(&mut self.free, next);
        }
        if self.pages.last().is_none_or(|page| page.len() == PAGE) {
            self.pages.push(Vec::with_capacity(PAGE));
        }
        let before = (self.pages.len() - 1) * PAGE;
        let page = self.pages.last_mut();
        page.map_or(NONE, |page| {
            page.push(Slot::Full(value));
            (before + page.len() - 1) as u32
        })
    }

    pub(super) fn remove(&mut self, at: u32) -> Option<T> {
        let free = self.free;
        let slot = self.slot_mut(at).filter(|slot| matches!(slot, Slot::Full(_)))?;
        let Slot::Full(value) = core::mem::replace(slot, Slot::Free(free)) else { return None };
        self.free = at;
        self.len -= 1;
        Some(value)
    }

    pub(super) fn get(&self, at: u32) -> Option<&T> {
        match self.pages.get(at as usize / PAGE)?.get(at as usize % PAGE)? {
            Slot::Full(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        match self.slot_mut(at)? {
            Slot::Full(value) => Some(value),
            Slot::Free(_) => None,
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten().filter_map(|slot| match slot {
            Slot::Full(value) => Some(value),
            Slot::Free(_) => None,
        })
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    fn slot_mut(&mut self, at: u32) -> Option<&mut Slot<T>> {
        self.pages.get_mut(at as usize / PAGE)?.get_mut(at as usize % PAGE)
    }
}

const PAGE: usize = 256;
