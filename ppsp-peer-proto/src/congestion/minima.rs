use alloc::collections::VecDeque;

use ppsp_core::Instant;

/// The least of the values of the last minutes: one minimum for each minute, the running one included (RFC 6817 §2.4.2).
/// A minute without values counts for nothing.
#[derive(Clone, Debug)]
pub(super) struct Minima {
    /// Newest last; never empty.
    minutes: VecDeque<Option<i64>>,
    current: u64,
}

impl Minima {
    pub(super) fn new(minutes: usize) -> Self {
        Self { minutes: core::iter::repeat_n(None, minutes.max(1)).collect(), current: 0 }
    }

    pub(super) fn insert(&mut self, now: Instant, value: i64) {
        let minute = now.as_micros() / 60_000_000;
        let passed = minute.saturating_sub(self.current);
        self.current = self.current.max(minute);
        for _ in 0..passed.min(self.minutes.len() as u64) {
            self.minutes.pop_front();
            self.minutes.push_back(None);
        }
        if let Some(last) = self.minutes.back_mut() {
            *last = Some(last.map_or(value, |least| least.min(value)));
        }
    }

    pub(super) fn clear(&mut self) {
        self.minutes.iter_mut().for_each(|minute| *minute = None);
    }

    pub(super) fn min(&self) -> Option<i64> {
        self.minutes.iter().flatten().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(m: u64) -> Instant {
        Instant::from_micros(m * 60_000_000 + 17)
    }

    #[test]
    fn minutes_expire() {
        let mut minima = Minima::new(3);
        assert_eq!(minima.min(), None);
        minima.insert(minute(100), -5);
        minima.insert(minute(100), 9);
        minima.insert(minute(101), 7);
        minima.insert(minute(102), 8);
        assert_eq!(minima.min(), Some(-5));
        minima.insert(minute(103), 9);
        assert_eq!(minima.min(), Some(7));
        minima.insert(minute(105), 10);
        assert_eq!(minima.min(), Some(9), "an idle minute takes a place");
        minima.insert(minute(1000), 20);
        assert_eq!(minima.min(), Some(20));
        minima.insert(minute(999), 21);
        assert_eq!(minima.min(), Some(20), "a clock that goes back does no harm");
        minima.clear();
        assert_eq!(minima.min(), None);
    }
}
