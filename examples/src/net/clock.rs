use std::time::{Duration, SystemTime};

use ppsp_core::Instant;

/// Microseconds since the Unix epoch that never go back: the wall clock is read once, a monotonic clock adds to it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: std::time::Instant,
    epoch: Instant,
}

impl Clock {
    /// Reads the wall clock.
    pub fn new() -> Self {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { start: std::time::Instant::now(), epoch: Instant::default() + since_epoch }
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.epoch + self.start.elapsed()
    }

    /// From now until `then`; zero where that has passed.
    pub fn until(&self, then: Instant) -> Duration {
        then.saturating_since(self.now())
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_from_the_unix_epoch() {
        let clock = Clock::new();
        let now = clock.now();
        assert!(now.as_micros() > 1_700_000_000_000_000);
        assert!(clock.now() >= now);
        assert_eq!(clock.until(now), Duration::ZERO);
    }
}
