use alloc::collections::{BTreeMap, BTreeSet};

use ppsp_core::Instant;

/// Whose time has come.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Timer {
    /// Slot of a channel.
    Channel(usize),
    /// Slot of a swarm.
    Swarm(usize),
    /// The upload limit lets bytes pass again.
    Upload,
}

/// One alarm for each owner, the earliest at hand.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: BTreeSet<(Instant, Timer)>,
    set: BTreeMap<Timer, Instant>,
}

impl Timers {
    /// Makes sure that the alarm goes off at `at` or before. An alarm that goes off early does no harm, its owner looks
    /// at the time and sets it again; so the common case, a deadline that moves away, costs one look-up.
    pub(super) fn set_by(&mut self, timer: Timer, at: Instant) {
        match self.set.get(&timer) {
            Some(&old) if old <= at => return,
            Some(&old) => self.queue.remove(&(old, timer)),
            None => false,
        };
        self.set.insert(timer, at);
        self.queue.insert((at, timer));
    }

    pub(super) fn clear(&mut self, timer: Timer) {
        if let Some(at) = self.set.remove(&timer) {
            self.queue.remove(&(at, timer));
        }
    }

    /// The earliest alarm.
    pub(super) fn next(&self) -> Option<Instant> {
        self.queue.first().map(|&(at, _)| at)
    }

    /// Takes an alarm that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let &(at, timer) = self.queue.first()?;
        if at > now {
            return None;
        }
        self.queue.pop_first();
        self.set.remove(&timer);
        Some(timer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earlier_time_wins() {
        let at = Instant::from_micros;
        let mut t = Timers::default();
        t.set_by(Timer::Channel(1), at(10));
        t.set_by(Timer::Channel(1), at(20));
        t.set_by(Timer::Upload, at(15));
        t.set_by(Timer::Swarm(1), at(5));
        t.clear(Timer::Swarm(1));
        assert_eq!(t.next(), Some(at(10)));
        t.set_by(Timer::Channel(1), at(7));
        assert_eq!(t.take_due(at(6)), None);
        assert_eq!(t.take_due(at(100)), Some(Timer::Channel(1)));
        assert_eq!(t.take_due(at(100)), Some(Timer::Upload));
        assert_eq!(t.take_due(at(100)), None);
    }
}
