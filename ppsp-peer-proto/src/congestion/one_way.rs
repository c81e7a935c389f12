use core::time::Duration;

use ppsp_core::Instant;

use super::minima::Minima;

/// How long datagrams to one receiver wait in queues, by the one-way delays that it reports: what they are above the
/// least of the last minutes. Its clock may be any.
#[derive(Clone, Debug)]
pub(crate) struct OneWayDelay {
    /// The delay that all others are counted from, so that they may wrap.
    reference: Option<u64>,
    least: Minima,
}

impl OneWayDelay {
    const MINUTES: usize = 10;

    pub(crate) fn new() -> Self {
        Self { reference: None, least: Minima::new(Self::MINUTES) }
    }

    /// The wait of a datagram that was acknowledged after `rtt` with a delay in microseconds, modulo 2^64.
    ///
    /// No longer than the round trip, whatever the receiver says (RFC 7574 §12.6.4, Threat ACK.2); where it says so, its
    /// clock was set, and measurement begins anew.
    pub(crate) fn queue(&mut self, now: Instant, delay: u64, rtt: Duration) -> Duration {
        let delay = delay.wrapping_sub(*self.reference.get_or_insert(delay)).cast_signed();
        let above = |least: i64| Duration::from_micros(u64::try_from(delay.saturating_sub(least)).unwrap_or(0));
        if self.least.min().is_some_and(|least| above(least) > rtt) {
            self.least.clear();
        }
        self.least.insert(now, delay);
        self.least.min().map_or(Duration::ZERO, above)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_micros(1_700_000_000_000_000 + millis * 1000)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// The receiver's clock runs `skew` behind ours.
    fn delay(millis: u64, skew: u64) -> u64 {
        (millis * 1000).wrapping_sub(skew)
    }

    #[test]
    fn counts_from_the_least() {
        for skew in [0, 1 << 40, u64::MAX, 30_000] {
            let mut path = OneWayDelay::new();
            assert_eq!(path.queue(at(0), delay(40, skew), ms(100)), ms(0));
            assert_eq!(path.queue(at(1), delay(70, skew), ms(100)), ms(30));
            assert_eq!(path.queue(at(2), delay(20, skew), ms(100)), ms(0));
            assert_eq!(path.queue(at(3), delay(70, skew), ms(100)), ms(50));
        }
    }

    // RFC 7574 §12.6.4, Threat ACK.2.
    #[test]
    fn no_queue_is_longer_than_the_round_trip() {
        let mut path = OneWayDelay::new();
        path.queue(at(0), delay(40, 0), ms(100));
        assert_eq!(path.queue(at(1), delay(4000, 0), ms(100)), ms(0), "the clock was set");
        assert_eq!(path.queue(at(2), delay(4050, 0), ms(100)), ms(50));
    }
}
