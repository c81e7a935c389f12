use alloc::vec::Vec;

use ppsp_core::Instant;

/// The least of the values of the last minutes, the running one included (RFC 6817 §2.4.2). A minute without values
/// counts for nothing.
///
/// Kept is of each minute the least, and only where nothing less has come since: the first is the least of all, and on
/// a path that does nothing there is no more than one.
#[derive(Clone, Debug)]
pub(super) struct Minima {
    /// Minute and value; both grow.
    least: Vec<(u64, i64)>,
    /// The running minute.
    current: u64,
    minutes: u32,
}

impl Minima {
    pub(super) fn new(minutes: usize) -> Self {
        Self { least: Vec::new(), current: 0, minutes: u32::try_from(minutes.max(1)).unwrap_or(u32::MAX) }
    }

    pub(super) fn insert(&mut self, now: Instant, value: i64) {
        self.current = self.current.max(now.as_micros() / 60_000_000);
        let since = (self.current + 1).saturating_sub(u64::from(self.minutes));
        let old = self.least.iter().take_while(|(minute, _)| *minute < since).count();
        self.least.drain(..old);
        while self.least.pop_if(|(_, least)| *least >= value).is_some() {}
        if self.least.last().is_none_or(|(minute, _)| *minute < self.current) {
            if self.least.is_empty() {
                // Most have no more than that ever.
                self.least.reserve_exact(1);
            }
            self.least.push((self.current, value));
        }
    }

    pub(super) fn clear(&mut self) {
        self.least.clear();
    }

    pub(super) fn min(&self) -> Option<i64> {
        self.least.first().map(|(_, least)| *least)
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

    #[test]
    fn one_minimum_for_each_minute() {
        let mut next = 1_u64;
        let mut numbers = move || {
            next = next.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            next >> 33
        };
        for minutes in [1, 2, 10] {
            let mut minima = Minima::new(minutes);
            let mut all: Vec<(u64, i64)> = Vec::new();
            let mut now = 5;
            for _ in 0..1000 {
                now += if numbers() % 3 == 0 { numbers() % 5 } else { 0 };
                let value = (numbers() % 100) as i64 - 50;
                minima.insert(minute(now), value);
                all.push((now, value));
                all.retain(|(minute, _)| minute + minutes as u64 > now);
                assert_eq!(minima.min(), all.iter().map(|(_, value)| *value).min());
                assert!(minima.least.len() <= minutes);
            }
        }
    }
}
