//! Which tracker is asked: those of the first tier, the next tier only when all of a tier have failed.

use alloc::{string::String, vec::Vec};

use rand_chacha::ChaCha8Rng;
use rand_core::Rng;

/// Trackers in the order in which they are asked.
#[derive(Debug)]
pub(super) struct Tiers {
    /// Each with the number of its tier.
    order: Vec<(usize, String)>,
    current: usize,
    /// Trackers that failed since one helped.
    failed: usize,
}

impl Tiers {
    /// Within a tier chance decides, so that all of them have some peers.
    pub(super) fn new(tiers: Vec<Vec<String>>, random: &mut ChaCha8Rng) -> Self {
        let mut order = Vec::new();
        for (number, mut tier) in tiers.into_iter().enumerate() {
            for at in (1..tier.len()).rev() {
                tier.swap(at, ((u64::from(random.next_u32()) * (at as u64 + 1)) >> 32) as usize);
            }
            order.extend(tier.into_iter().map(|url| (number, url)));
        }
        Self { order, current: 0, failed: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn current(&self) -> &str {
        self.order.get(self.current).map_or("", |(_, url)| url)
    }

    /// The current one helped.
    pub(super) fn helped(&mut self) {
        self.failed = 0;
    }

    /// The current one failed: the next is asked, after the last the first again. How many rounds were made without help.
    pub(super) fn next(&mut self) -> u32 {
        self.failed += 1;
        let count = self.order.len().max(1);
        self.current = (self.current + 1) % count;
        u32::try_from(self.failed / count).unwrap_or(u32::MAX)
    }

    /// The current one will never help.
    pub(super) fn strike_out(&mut self) -> u32 {
        if self.current < self.order.len() {
            self.order.remove(self.current);
        }
        if self.current >= self.order.len() {
            self.current = 0;
        }
        u32::try_from(self.failed / self.order.len().max(1)).unwrap_or(u32::MAX)
    }

    /// Goes back to the first tier, if the current one is of another.
    pub(super) fn look_up(&mut self) {
        let tier = |at: usize| self.order.get(at).map(|(tier, _)| *tier);
        if tier(self.current) != tier(0) {
            self.current = 0;
        }
    }
}
