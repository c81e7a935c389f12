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
    /// Trackers of the current tier that failed since one of it helped.
    failed: usize,
    /// Times that all trackers failed since one helped.
    rounds: u32,
    /// While a better tier is tried: the tracker that helps meanwhile.
    home: Option<usize>,
    /// Which tracker of a better tier is tried next.
    trials: usize,
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
        Self { order, current: 0, failed: 0, rounds: 0, home: None, trials: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn current(&self) -> &str {
        self.order.get(self.current).map_or("", |(_, url)| url)
    }

    /// The current one helped: it stays.
    pub(super) fn helped(&mut self) {
        (self.failed, self.rounds, self.home) = (0, 0, None);
    }

    /// The current one failed: the others of its tier are asked, then the next tier, after the last the first again. How many
    /// rounds were made without help.
    pub(super) fn next(&mut self) -> u32 {
        let Some(&(tier, _)) = self.order.get(self.current) else { return self.rounds };
        let first = self.order.iter().position(|(other, _)| *other == tier).unwrap_or(0);
        let count = self.order.iter().filter(|(other, _)| *other == tier).count();
        self.failed += 1;
        if self.failed < count {
            self.current = first + (self.current - first + 1) % count;
        } else {
            self.failed = 0;
            self.current = first + count;
            if self.current >= self.order.len() {
                self.current = 0;
                self.rounds = self.rounds.saturating_add(1);
            }
        }
        self.rounds
    }

    /// The current one will never help.
    pub(super) fn strike_out(&mut self) -> u32 {
        let struck = self.current;
        let rounds = match self.home.take() {
            Some(home) => {
                self.current = home;
                self.rounds
            }
            None => {
                let rounds = self.next();
                // It no longer counts among those of its tier.
                self.failed = self.failed.saturating_sub(1);
                rounds
            }
        };
        if struck < self.order.len() {
            self.order.remove(struck);
        }
        if self.current > struck {
            self.current -= 1;
        }
        if self.current >= self.order.len() {
            self.current = 0;
        }
        rounds
    }

    /// Tries one tracker of a better tier, if there is a better one.
    pub(super) fn look_up(&mut self) {
        let Some(&(tier, _)) = self.order.get(self.current) else { return };
        let better = self.order.iter().take_while(|(other, _)| *other < tier).count();
        if better > 0 {
            self.home = Some(self.current);
            self.current = self.trials % better;
            self.trials += 1;
        }
    }

    /// The better one failed: back to the one that helps. `false` where none is being tried.
    pub(super) fn go_home(&mut self) -> bool {
        self.home.take().map(|home| self.current = home).is_some()
    }
}
