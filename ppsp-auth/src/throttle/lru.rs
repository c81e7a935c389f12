//! A table with a limit, where the entry that was not used for longest makes room.

use alloc::collections::BTreeMap;
use core::ops::RangeBounds;

/// Entries in the order of their keys, and in the order of their last use.
#[derive(Clone, Debug)]
pub(super) struct Lru<K, V> {
    limit: usize,
    entries: BTreeMap<K, (V, u64)>,
    by_use: BTreeMap<u64, K>,
    uses: u64,
}

impl<K: Ord + Clone, V: Default> Lru<K, V> {
    /// At most so many entries, and at least one.
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, entries: BTreeMap::new(), by_use: BTreeMap::new(), uses: 0 }
    }

    /// Uses an entry. One that is missing is made.
    pub(super) fn get_or_default(&mut self, key: &K) -> &mut V {
        if !self.entries.contains_key(key)
            && self.entries.len() >= self.limit.max(1)
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.entries.remove(&oldest);
        }
        self.uses += 1;
        let (value, used) = self.entries.entry(key.clone()).or_default();
        self.by_use.remove(used);
        *used = self.uses;
        self.by_use.insert(self.uses, key.clone());
        value
    }

    /// Uses an entry, if it is there.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        if self.entries.contains_key(key) { Some(self.get_or_default(key)) } else { None }
    }

    /// Removes the entry of these that was not used for longest. Was there one?
    pub(super) fn remove_oldest_of(&mut self, range: impl RangeBounds<K>) -> bool {
        let oldest = self.entries.range(range).min_by_key(|(_, (_, used))| *used);
        let Some((key, used)) = oldest.map(|(key, (_, used))| (key.clone(), *used)) else { return false };
        self.entries.remove(&key);
        self.by_use.remove(&used);
        true
    }

    /// Looks at an entry.
    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.entries.get(key).map(|(value, _)| value)
    }

    /// How many entries have such keys.
    pub(super) fn count(&self, range: impl RangeBounds<K>) -> usize {
        self.entries.range(range).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::{collection::vec, prelude::*};

    proptest! {
        #[test]
        fn is_a_list_in_order_of_use(limit in 1_usize..5, ops in vec((0_u8..3, 0_u8..8), 0..60)) {
            let mut lru = Lru::<u8, u32>::new(limit);
            let mut model: Vec<(u8, u32)> = Vec::new();
            for (op, key) in ops {
                let at = model.iter().position(|entry| entry.0 == key);
                match (op, at) {
                    (0, _) => {
                        let mut entry = at.map_or((key, 0), |at| model.remove(at));
                        if model.len() == limit {
                            model.remove(0);
                        }
                        entry.1 += 1;
                        *lru.get_or_default(&key) += 1;
                        model.push(entry);
                    }
                    (1, Some(at)) => {
                        let entry = model.remove(at);
                        model.push(entry);
                        prop_assert_eq!(lru.get_mut(&key).copied(), Some(entry.1));
                    }
                    (1, None) => prop_assert_eq!(lru.get_mut(&key), None),
                    _ => {
                        let oldest = model.iter().position(|entry| (key..=key + 2).contains(&entry.0));
                        prop_assert_eq!(lru.remove_oldest_of(key..=key + 2), oldest.is_some());
                        oldest.map(|at| model.remove(at));
                    }
                }
                prop_assert_eq!(lru.count(..), model.len());
                prop_assert_eq!(lru.by_use.len(), model.len());
                for key in 0..8 {
                    prop_assert_eq!(lru.get(&key), model.iter().find(|entry| entry.0 == key).map(|entry| &entry.1));
                }
            }
        }
    }
}
