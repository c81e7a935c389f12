use core::time::Duration;

/// A moment on the embedder's clock, in microseconds.
///
/// The library never reads a clock: every moment comes in as an argument. The clock must not go backwards. Its epoch is
/// free, but the value also goes out as the timestamp of DATA messages (RFC 7574 §8.6), so the Unix epoch is the
/// natural choice: take the wall clock once at start and add a monotonic clock to it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Instant(u64);

impl Instant {
    /// The last representable moment.
    pub const MAX: Self = Self(u64::MAX);

    /// From microseconds since the embedder's epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the embedder's epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Later by `d`; saturates.
    #[must_use]
    pub const fn saturating_add(self, d: Duration) -> Self {
        let micros = d.as_micros();
        if micros > u64::MAX as u128 { Self::MAX } else { Self(self.0.saturating_add(micros as u64)) }
    }

    /// Time passed since `earlier`; zero where that is later.
    #[must_use]
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl core::ops::Add<Duration> for Instant {
    type Output = Self;
    /// Saturates.
    fn add(self, d: Duration) -> Self {
        self.saturating_add(d)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn saturates_at_both_ends() {
        let one = Instant::from_micros(1);
        assert_eq!(one.saturating_since(Instant::from_micros(5)), Duration::ZERO);
        assert_eq!(one + Duration::MAX, Instant::MAX);
        assert_eq!((one + Duration::from_millis(2)).as_micros(), 2001);
    }
}
