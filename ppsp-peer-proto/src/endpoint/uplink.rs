//! The way out of this host, which all channels share.
//!
//! The congestion control of a channel sees its own path alone. Where many channels begin at once they have filled the queue
//! of the uplink, and lost what it does not hold, before one of them can tell; and what waits there can neither be taken
//! back (RFC 7574 §3.8) nor be put in a better order. So one rate for all of them, as in a congestion manager (RFC 3124):
//! what has to wait, waits here.

use core::time::Duration;

use arrayvec::ArrayVec;
use ppsp_core::Instant;

use super::meter::Bucket;

/// What the uplink lets pass, as far as the acknowledgements of all channels tell.
///
/// * The queue is what half of the bytes waited at least, so that those who lie about their delays move nothing as long
///   as they are less than half (§12.6.4, Threat ACK.2).
/// * A long queue is the uplink's own pace made visible: what came through in that time is its rate. As much as stands in
///   the queue is held back at once, so that it drains.
/// * From then on the rate follows the queue: up while it is shorter than [`TARGET`], down while it is longer.
/// * With fewer than [`MANY`] channels each one's own control is enough, and its view of the path is the better one.
#[derive(Debug)]
pub(super) struct Uplink {
    /// `None`: it was never full.
    bucket: Option<Bucket>,
    /// Somebody had to wait, in the span that is being measured.
    held_back: bool,
    span: Span,
    /// What was sent before met a queue that has been acted on.
    acted: Instant,
}

/// What was acknowledged in a while.
#[derive(Debug)]
struct Span {
    /// The first acknowledgement; what it names arrived before.
    since: Option<Instant>,
    /// Bytes that arrived since.
    bytes: u64,
    /// Bytes by how long they waited.
    waits: [u64; WAITS],
    /// Some of the channels, as many as matter.
    channels: ArrayVec<usize, MANY>,
}

/// The queue to have on average: enough that the uplink never runs dry.
const TARGET: Duration = Duration::from_millis(60);
/// The queue at which the rate is measured anew.
const LONG: Duration = Duration::from_millis(150);
/// The least time, and the least bytes, in which a rate can be measured.
const SPAN: Duration = Duration::from_millis(100);
const ENOUGH: u64 = 8 * 1024;
/// Channels that are too many to find their shares by themselves.
const MANY: usize = 3;
/// Waits are told apart in steps of 8 ms, up to half a second.
const STEP: Duration = Duration::from_millis(8);
const WAITS: usize = 64;
/// Bytes a second that are let pass in any case.
const LEAST_RATE: u64 = 16 * 1024;

impl Uplink {
    pub(super) fn new(now: Instant) -> Self {
        Self { bucket: None, held_back: false, span: Span::default(), acted: now }
    }

    /// Bytes a second; `None`: no limit is known.
    pub(super) fn rate(&self) -> Option<u64> {
        self.bucket.as_ref().map(Bucket::rate)
    }

    /// What limits what is sent, where something does.
    pub(super) fn bucket(&mut self) -> Option<&mut Bucket> {
        self.bucket.as_mut()
    }

    /// A chunk has to wait for its turn.
    pub(super) fn on_held_back(&mut self) {
        self.held_back = true;
    }

    /// Bytes that were sent at `sent` have arrived, after waiting in queues for so long.
    pub(super) fn on_ack(&mut self, now: Instant, channel: usize, sent: Instant, bytes: u64, queue: Duration) {
        if sent < self.acted {
            return;
        }
        self.span.add(now, channel, bytes, queue);
        let time = self.span.time(now);
        if time < SPAN || self.span.bytes < ENOUGH {
            return;
        }
        let span = core::mem::take(&mut self.span);
        let held_back = core::mem::take(&mut self.held_back);
        if !span.channels.is_full() {
            return;
        }
        let queue = span.median();
        let delivered = bytes_in(span.bytes, time, Duration::from_secs(1));
        if queue > LONG {
            let rate = self.rate().map_or(delivered, |rate| rate.min(delivered)) / 100 * 97;
            self.set(now, rate);
            if let Some(bucket) = &mut self.bucket {
                bucket.take(bytes_in(bucket.rate(), Duration::from_secs(1), queue - TARGET / 2));
            }
            self.acted = now;
        } else if let Some(rate) = self.rate().filter(|_| held_back || queue > TARGET) {
            // A twentieth more in each span where there is no queue, a twentieth less where it is twice as long as it
            // should be.
            let (target, queue) = (micros(TARGET), micros(queue));
            let step = rate / 20;
            let rate = match target.checked_sub(queue) {
                Some(room) => rate.saturating_add(step.saturating_mul(room) / target),
                None => rate - step.min(step.saturating_mul(queue - target) / target),
            };
            self.set(now, rate);
        }
    }

    fn set(&mut self, now: Instant, rate: u64) {
        let rate = rate.clamp(LEAST_RATE, 1 << 48);
        // Runs of datagrams stay whole, and timers of a millisecond keep the pace.
        let depth = (rate / 100).max(2 * 1452);
        self.bucket.get_or_insert_with(|| Bucket::new(now, rate, depth)).set(now, rate, depth);
    }
}

impl Default for Span {
    fn default() -> Self {
        Self { since: None, bytes: 0, waits: [0; WAITS], channels: ArrayVec::new() }
    }
}

impl Span {
    fn add(&mut self, now: Instant, channel: usize, bytes: u64, wait: Duration) {
        match self.since {
            None => self.since = Some(now),
            Some(_) => self.bytes = self.bytes.saturating_add(bytes),
        }
        let step = usize::try_from(wait.as_micros() / STEP.as_micros()).unwrap_or(WAITS);
        if let Some(waited) = self.waits.get_mut(step.min(WAITS - 1)) {
            *waited = waited.saturating_add(bytes);
        }
        if !self.channels.contains(&channel) {
            _ = self.channels.try_push(channel);
        }
    }

    fn time(&self, now: Instant) -> Duration {
        self.since.map_or(Duration::ZERO, |since| now.saturating_since(since))
    }

    /// What half of the bytes waited at least.
    fn median(&self) -> Duration {
        let half = self.waits.iter().copied().fold(0, u64::saturating_add).div_ceil(2);
        let mut less = 0_u64;
        let shorter = self.waits.iter().take_while(|&&bytes| {
            less = less.saturating_add(bytes);
            less < half
        });
        STEP * u32::try_from(shorter.count()).unwrap_or(0)
    }
}

/// What `bytes` in a time are in another.
fn bytes_in(bytes: u64, time: Duration, other: Duration) -> u64 {
    let bytes = u128::from(bytes) * other.as_micros() / time.as_micros().max(1);
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
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

    /// So many channels that always have something to send, over an uplink of `rate` bytes a second with an endless queue
    /// and 20 ms from there back to an acknowledgement. Returns the bytes that went through, and the longest wait.
    fn run(
        uplink: &mut Uplink,
        channels: usize,
        rate: u64,
        times: core::ops::Range<u64>,
        lie: impl Fn(usize) -> Option<Duration>,
    ) -> (u64, Duration) {
        const LEN: u64 = 1000;
        let mut free = times.start * 1000;
        let mut flying = std::collections::VecDeque::new();
        let (mut passed, mut longest) = (0, Duration::ZERO);
        let mut turn = 0;
        for now in times {
            // What all of them want to send in a millisecond: twice what can pass.
            for _ in 0..(2 * rate / 1000 / LEN).max(1) {
                let may = uplink.bucket().is_none_or(|bucket| bucket.ready(at(now)) >= LEN);
                if !may {
                    uplink.on_held_back();
                    break;
                }
                if let Some(bucket) = uplink.bucket() {
                    bucket.take(LEN);
                }
                let wait = free.saturating_sub(now * 1000);
                free = free.max(now * 1000) + LEN * 1_000_000 / rate;
                flying.push_back((free / 1000 + 20, now, turn % channels, Duration::from_micros(wait)));
                turn += 1;
                longest = longest.max(Duration::from_micros(wait));
            }
            while let Some((_, sent, channel, wait)) = flying.pop_front_if(|ack| ack.0 <= now) {
                passed += LEN;
                uplink.on_ack(at(now), channel, at(sent), LEN, lie(channel).unwrap_or(wait));
            }
        }
        (passed, longest)
    }

    #[test]
    fn finds_the_rate_and_keeps_the_queue_short() {
        for rate in [64_000, 192_000, 1_250_000, 12_500_000] {
            let mut uplink = Uplink::new(at(0));
            run(&mut uplink, 20, rate, 0..3000, |_| None);
            let (passed, longest) = run(&mut uplink, 20, rate, 3000..13_000, |_| None);
            assert!(passed > rate * 10 / 100 * 95, "{rate}: {passed}");
            assert!(longest < ms(200), "{rate}: {longest:?}");
        }
    }

    #[test]
    fn leaves_a_few_to_themselves() {
        let mut uplink = Uplink::new(at(0));
        run(&mut uplink, MANY - 1, 100_000, 0..3000, |_| None);
        assert_eq!(uplink.rate(), None);
    }

    // RFC 7574 §12.6.4, Threat ACK.2.
    #[test]
    fn who_lies_moves_nothing_alone() {
        let lies = |channel| (channel < 9).then(|| ms(10_000));
        let mut uplink = Uplink::new(at(0));
        for span in 0..100 {
            for channel in 0..20 {
                let wait = lies(channel).unwrap_or(ms(5));
                uplink.on_ack(at(span * 110 + 100), channel, at(span * 110 + 50), 1000, wait);
            }
        }
        assert_eq!(uplink.rate(), None);
        // Nor do they hide a queue.
        let mut uplink = Uplink::new(at(0));
        run(&mut uplink, 20, 192_000, 0..3000, |channel| (channel < 9).then_some(Duration::ZERO));
        let rate = uplink.rate().unwrap_or(u64::MAX);
        assert!((150_000..230_000).contains(&rate), "{rate}");
    }

    #[test]
    fn extremes_do_no_harm() {
        let mut uplink = Uplink::new(at(0));
        for n in 0..1000_u64 {
            let wait = Duration::from_micros(if n % 2 == 0 { u64::MAX } else { 0 });
            uplink.on_ack(at(n * 200), n as usize % 5, at(n * 200), u64::MAX >> (n % 64), wait);
            uplink.on_held_back();
            assert!(uplink.rate().is_none_or(|rate| (LEAST_RATE..=1 << 48).contains(&rate)));
        }
    }
}
