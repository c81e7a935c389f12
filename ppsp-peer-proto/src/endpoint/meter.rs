use core::time::Duration;

use ppsp_core::Instant;

/// How fast bytes pass: the rate over the last one to two windows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Meter {
    start: Instant,
    now: u64,
    before: u64,
}

impl Meter {
    const WINDOW: Duration = Duration::from_millis(200);

    pub(super) fn new(now: Instant) -> Self {
        Self { start: now, now: 0, before: 0 }
    }

    pub(super) fn add(&mut self, now: Instant, bytes: u64) {
        self.turn(now);
        self.now += bytes;
    }

    /// Bytes a second.
    pub(super) fn rate(&self, now: Instant) -> u64 {
        let mut copy = *self;
        copy.turn(now);
        let span = Self::WINDOW + now.saturating_since(copy.start);
        (copy.before + copy.now).saturating_mul(1_000_000) / (span.as_micros() as u64).max(1)
    }

    fn turn(&mut self, now: Instant) {
        let passed = now.saturating_since(self.start);
        if passed >= Self::WINDOW * 2 {
            *self = Self::new(now);
        } else if passed >= Self::WINDOW {
            self.start = self.start + Self::WINDOW;
            self.before = core::mem::take(&mut self.now);
        }
    }
}

/// A token bucket: lets bytes pass at a rate, with bursts up to a depth.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    /// Bytes a second.
    rate: u64,
    depth: u64,
    /// What is in it, in millionths of a byte; negative after more passed than was there.
    level: i64,
    at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(now: Instant, rate: u64, depth: u64) -> Self {
        Self { rate: rate.max(1), depth, level: micro(depth), at: now }
    }

    /// Changes rate and depth from `now` on.
    pub(super) fn set(&mut self, now: Instant, rate: u64, depth: u64) {
        self.fill(now);
        self.rate = rate.max(1);
        self.depth = depth;
    }

    /// Bytes a second.
    pub(super) fn rate(&self) -> u64 {
        self.rate
    }

    /// The largest burst in bytes.
    pub(super) fn depth(&self) -> u64 {
        self.depth
    }

    /// May `bytes` pass now?
    pub(super) fn has(&mut self, now: Instant, bytes: u64) -> bool {
        self.fill(now);
        self.level >= micro(bytes)
    }

    /// Bytes that may pass now.
    pub(super) fn ready(&mut self, now: Instant) -> u64 {
        self.fill(now);
        u64::try_from(self.level / 1_000_000).unwrap_or(0)
    }

    /// Lets bytes pass, on credit where there are too few.
    pub(super) fn take(&mut self, bytes: u64) {
        self.level = self.level.saturating_sub(micro(bytes));
    }

    /// When `bytes` (at most the depth) may pass.
    pub(super) fn ready_at(&mut self, now: Instant, bytes: u64) -> Instant {
        self.fill(now);
        let short = u64::try_from(micro(bytes.min(self.depth)).saturating_sub(self.level)).unwrap_or(0);
        now + Duration::from_micros(short.div_ceil(self.rate))
    }

    fn fill(&mut self, now: Instant) {
        if now <= self.at {
            return;
        }
        let passed = now.saturating_since(self.at).as_micros() as u64;
        self.at = now;
        let more = i64::try_from(passed.saturating_mul(self.rate)).unwrap_or(i64::MAX);
        self.level = self.level.saturating_add(more).min(micro(self.depth));
    }
}

/// In millionths; what is more than can be said in them, some terabytes, is as good as no limit.
fn micro(bytes: u64) -> i64 {
    i64::try_from(bytes.saturating_mul(1_000_000)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    #[test]
    fn the_meter_follows_and_forgets() {
        let mut m = Meter::new(at(0));
        for ms in 0..1000 {
            m.add(at(ms), 1000);
        }
        let rate = m.rate(at(1000));
        assert!((900_000..1_100_000).contains(&rate), "{rate}");
        assert_eq!(m.rate(at(2000)), 0);
    }

    #[test]
    fn the_bucket_keeps_its_rate() {
        let mut b = Bucket::new(at(0), 1000, 100);
        assert_eq!(b.ready(at(0)), 100);
        b.take(150);
        assert_eq!(b.ready(at(0)), 0);
        assert_eq!(b.ready_at(at(0), 10), at(60));
        assert_eq!(b.ready(at(60)), 10);
        assert_eq!(b.ready(at(10_000)), 100, "no more than its depth");
    }
}
