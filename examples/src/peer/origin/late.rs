//! How far readers are behind.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::peer::readers::Reading;

/// Bits a second that content is taken to need where that is not known.
const USUAL: u64 = 1_000_000;

/// The debts of the readers of a swarm.
#[derive(Debug)]
pub(super) struct Lateness {
    bits: u64,
    looked: Option<Instant>,
    /// By the number of the reader: where it was, and how long it has waited beyond what came since.
    debts: BTreeMap<u64, (u64, Duration)>,
}

/// A reader that has not all it reads.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Late {
    /// The byte it needs next is not there.
    pub(super) is_waiting: bool,
    /// Bytes that are there for it.
    pub(super) held: u64,
    /// The first that is not.
    pub(super) missing: u64,
    pub(super) debt: Duration,
}

impl Lateness {
    /// For content that needs so many bits a second.
    pub(super) fn new(bandwidth: Option<u64>) -> Self {
        Self { bits: bandwidth.unwrap_or(USUAL), looked: None, debts: BTreeMap::new() }
    }

    /// Where readers are now, with how many bytes are held from a place on: those that lack something, the latest first.
    pub(super) fn look(&mut self, now: Instant, readers: &[Reading], held: impl Fn(u64) -> u64) -> Vec<Late> {
        let passed = self.looked.replace(now).map_or(Duration::ZERO, |then| now.saturating_duration_since(then));
        let before = std::mem::take(&mut self.debts);
        let mut late = Vec::new();
        for reader in readers {
            let held = held(reader.at).min(reader.end.saturating_sub(reader.at));
            let is_waiting = held == 0 && reader.at < reader.end;
            let (was_at, debt) = before.get(&reader.id).copied().unwrap_or((reader.at, Duration::ZERO));
            let came = reader.at.saturating_sub(was_at);
            let lasts = Duration::from_micros((came.saturating_mul(8_000_000) / self.bits).min(1 << 40));
            let debt = if is_waiting { debt + passed } else { debt.saturating_sub(passed) }.saturating_sub(lasts);
            self.debts.insert(reader.id, (reader.at, debt));
            if reader.at + held < reader.end {
                late.push(Late { is_waiting, held, missing: reader.at + held, debt });
            }
        }
        late.sort_by_key(|reader| std::cmp::Reverse((reader.is_waiting, reader.debt)));
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP: Duration = Duration::from_millis(100);

    /// The debt of a reader that got so many bytes in each tenth of a second, after two seconds of waiting.
    fn debt(bits: u64, bytes: u64) -> Duration {
        let mut lateness = Lateness::new(Some(bits));
        let mut now = Instant::now();
        let mut debt = Duration::ZERO;
        for step in 0..=20 {
            let reading = Reading { id: 1, at: step * bytes, end: 1 << 30 };
            debt = lateness.look(now, &[reading], |_| 0)[0].debt;
            now += STEP;
        }
        debt
    }

    #[test]
    fn who_gets_less_than_it_plays_is_behind() {
        assert_eq!(debt(1_000_000, 0), Duration::from_secs(2));
        assert_eq!(debt(1_000_000, 6_250), Duration::from_secs(1), "half of it");
        assert_eq!(debt(1_000_000, 12_500), Duration::ZERO, "just enough");
        assert_eq!(debt(1_000_000, 1 << 20), Duration::ZERO);
    }

    #[test]
    fn the_latest_comes_first_and_who_has_all_not_at_all() {
        let mut lateness = Lateness::new(None);
        let now = Instant::now();
        let reading = |id, at, end| Reading { id, at, end };
        // Bytes 100 to 199 are held.
        let held = |at| if (100..200).contains(&at) { 200 - at } else { 0 };
        lateness.look(now, &[reading(1, 0, 500)], held);
        let now = now + STEP;
        let all = [reading(1, 0, 500), reading(2, 150, 180), reading(3, 150, 500), reading(4, 300, 300)];
        let late = lateness.look(now, &all, held);
        assert_eq!(
            late,
            [
                Late { is_waiting: true, held: 0, missing: 0, debt: STEP },
                Late { is_waiting: false, held: 50, missing: 200, debt: Duration::ZERO },
            ]
        );
        // Who is gone owes nothing, and who comes anew neither.
        lateness.look(now + STEP, &[], held);
        assert_eq!(lateness.look(now + STEP * 2, &[reading(1, 0, 500)], held)[0].debt, STEP);
    }
}
