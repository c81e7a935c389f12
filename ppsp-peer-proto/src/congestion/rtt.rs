use core::time::Duration;

use ppsp_core::Instant;

use super::minima::Minima;

/// Smoothed round-trip time and retransmission timeout (RFC 6298), and the least round-trip time of the last ten
/// minutes.
#[derive(Clone, Debug)]
pub struct RttEstimator {
    /// Smoothed RTT and its variation in microseconds.
    smoothed: Option<(u32, u32)>,
    least: Minima,
    backoff: u32,
}

impl RttEstimator {
    /// Timeout before the first sample (RFC 6298 §2.1, RFC 6817 §2.4.2).
    pub const INITIAL_RTO: Duration = Duration::from_secs(1);
    /// Least timeout. RFC 6298 §2.4 says one second and says also why: the clocks and the delayed acknowledgements of
    /// its time. With microseconds and an acknowledgement for each datagram less will do, and who watches cannot wait.
    pub const MIN_RTO: Duration = Duration::from_millis(250);
    /// Greatest timeout, however often it was doubled (RFC 6298 §2.5, RFC 6817 §2.4.2: at least 60 seconds).
    pub const MAX_RTO: Duration = Duration::from_secs(60);

    /// Without samples.
    pub fn new() -> Self {
        Self { smoothed: None, least: Minima::new(10), backoff: 0 }
    }

    /// A datagram that was sent once made its round trip.
    pub fn on_sample(&mut self, now: Instant, rtt: Duration) {
        let rtt = u32::try_from(rtt.as_micros()).unwrap_or(u32::MAX).min(LONGEST);
        let part = |old: u32, times: u64, new: u32| ((times * u64::from(old) + u64::from(new)) / (times + 1)) as u32;
        // RFC 6298 §2.2, §2.3 with alpha = 1/8 and beta = 1/4.
        self.smoothed = Some(match self.smoothed {
            None => (rtt, rtt / 2),
            Some((srtt, var)) => (part(srtt, 7, rtt), part(var, 3, srtt.abs_diff(rtt))),
        });
        self.least.insert(now, i64::from(rtt));
        self.backoff = 0;
    }

    /// A timeout has come: the next one is twice as long (RFC 6298 §5.5), until there is a sample again.
    pub fn on_timeout(&mut self) {
        self.backoff = self.backoff.saturating_add(1).min(16);
    }

    /// Smoothed round-trip time.
    pub fn srtt(&self) -> Option<Duration> {
        self.smoothed.map(|(srtt, _)| Duration::from_micros(srtt.into()))
    }

    /// Variation of the round-trip time.
    pub fn var(&self) -> Option<Duration> {
        self.smoothed.map(|(_, var)| Duration::from_micros(var.into()))
    }

    /// The least round-trip time of the last ten minutes in which there were any samples.
    pub fn min(&self) -> Option<Duration> {
        self.least.min().map(|least| Duration::from_micros(least.unsigned_abs()))
    }

    /// How long to wait for an acknowledgement.
    pub fn rto(&self) -> Duration {
        let once = match self.smoothed {
            None => Self::INITIAL_RTO,
            Some((srtt, var)) => {
                let variation = (4 * u64::from(var)).max(LEAST_VARIATION);
                Duration::from_micros(u64::from(srtt) + variation).max(Self::MIN_RTO)
            }
        };
        once.saturating_mul(1 << self.backoff).min(Self::MAX_RTO)
    }
}

impl Default for RttEstimator {
    fn default() -> Self {
        Self::new()
    }
}

/// On a steady path the variation tends to zero, and the first acknowledgement that is a little late would be a timeout.
/// RFC 6298 §2.3 puts the clock's granularity there; this is the patience of today's systems with a queue that fills.
const LEAST_VARIATION: u64 = 100_000;
/// Samples are cut here, far beyond any that means something, so that sums cannot overflow.
const LONGEST: u32 = 3_600_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    // RFC 6298 §2.
    #[test]
    fn smooths_and_times_out() {
        let now = Instant::from_micros(1);
        let mut rtt = RttEstimator::new();
        assert_eq!((rtt.srtt(), rtt.min(), rtt.rto()), (None, None, MS(1000)));
        rtt.on_sample(now, MS(200));
        assert_eq!((rtt.srtt(), rtt.var(), rtt.rto()), (Some(MS(200)), Some(MS(100)), MS(600)));
        rtt.on_sample(now, MS(280));
        assert_eq!((rtt.srtt(), rtt.var(), rtt.rto()), (Some(MS(210)), Some(MS(95)), MS(590)));
        assert_eq!(rtt.min(), Some(MS(200)));
        for _ in 0..100 {
            rtt.on_sample(now, MS(1));
        }
        assert_eq!(rtt.rto(), RttEstimator::MIN_RTO);
    }

    #[test]
    fn backs_off_until_a_sample() {
        let now = Instant::from_micros(1);
        let mut rtt = RttEstimator::new();
        rtt.on_timeout();
        rtt.on_timeout();
        assert_eq!(rtt.rto(), MS(4000));
        for _ in 0..1000 {
            rtt.on_timeout();
        }
        assert_eq!(rtt.rto(), RttEstimator::MAX_RTO);
        rtt.on_sample(now, Duration::MAX);
        assert_eq!(rtt.rto(), RttEstimator::MAX_RTO);
        for _ in 0..200 {
            rtt.on_sample(now, MS(100));
        }
        assert_eq!(rtt.rto(), RttEstimator::MIN_RTO);
    }

    #[test]
    fn a_longer_path_is_believed_after_ten_minutes() {
        let mut rtt = RttEstimator::new();
        for minute in 0..=11 {
            let now = Instant::from_micros(minute * 60_000_000);
            rtt.on_sample(now, MS(if minute == 0 { 20 } else { 70 }));
            assert_eq!(rtt.min(), Some(MS(if minute < 10 { 20 } else { 70 })));
        }
    }
}
