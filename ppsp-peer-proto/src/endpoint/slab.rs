use alloc::{boxed::Box, vec::Vec};

/// Values in slots that are used again. A slot's number is small and dense, but says nothing about who lives there now.
///
/// Each value has a place of its own in memory: a table of large values that doubles would be half empty at worst, and
/// what has left gives its memory back.
#[derive(Debug)]
pub(super) struct Slab<T> {
    slots: Vec<Option<Box<T>>>,
    free: Vec<usize>,
    len: usize,
}

impl<T> Slab<T> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), len: 0 }
    }

    /// The slot that the next [`insert`](Self::insert) takes.
    pub(super) fn next_slot(&self) -> usize {
        self.free.last().copied().unwrap_or(self.slots.len())
    }

    pub(super) fn insert(&mut self, value: T) -> usize {
        self.len += 1;
        if let Some(slot) = self.free.pop()
            && let Some(place) = self.slots.get_mut(slot)
        {
            *place = Some(Box::new(value));
            return slot;
        }
        self.slots.push(Some(Box::new(value)));
        self.slots.len() - 1
    }

    pub(super) fn remove(&mut self, slot: usize) -> Option<T> {
        let value = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        self.len -= 1;
        Some(*value)
    }

    pub(super) fn get(&self, slot: usize) -> Option<&T> {
        self.slots.get(slot)?.as_deref()
    }

    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        self.slots.get_mut(slot)?.as_deref_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.slots.iter().enumerate().filter_map(|(i, slot)| Some((i, slot.as_deref()?)))
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }
}
