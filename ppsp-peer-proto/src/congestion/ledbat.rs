use alloc::{boxed::Box, collections::VecDeque, sync::Arc};
use core::time::Duration;

use ppsp_core::Instant;

use super::{Acked, Controller, ControllerFactory, RttEstimator, minima::Minima};

/// Parameters of [`Ledbat`], with the names of RFC 6817 §2.5. The defaults obey that RFC; RFC 7574 §8.15 allows a
/// deployer to be more aggressive, up to TCP and beyond, and so are values beyond its bounds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LedbatConfig {
    /// TARGET: delay that our datagrams may add to the queues of the network. RFC 6817: 100 ms or less. Less, so that
    /// there is something to see beside a flow that keeps a queue of 100 ms full.
    pub target: Duration,
    /// GAIN of growth in hundredths, as far as there is no queue; beside one a part of it, down to a sixteenth, where round
    /// trips are short. RFC 6817: 100 or less.
    pub gain: u32,
    /// How much of the window a queue of twice TARGET takes in a round trip, in hundredths; one of three times TARGET
    /// takes double, and so on, but never more than half of the window.
    pub decrease_gain: u32,
    /// BASE_HISTORY: minutes that the base delay is remembered. RFC 6817: 10.
    pub base_history: usize,
    /// CURRENT_FILTER: the least of so many last delays is the current one, as far as they are not older than one round
    /// trip. RFC 6817: at least 4. At most 16 are used.
    pub current_filter: usize,
    /// INIT_CWND in datagrams. RFC 6817 says 2 and allows as much as TCP: by RFC 6928 that is 10, and what a player asks
    /// for first, a few chunks with their hashes, is then one round trip away instead of three.
    pub init_cwnd: usize,
    /// MIN_CWND in datagrams. RFC 6817: 2.
    pub min_cwnd: usize,
    /// ALLOWED_INCREASE in datagrams: how far the window may be ahead of what is used of it. RFC 6817: 1.
    pub allowed_increase: usize,
    /// Most bytes in flight.
    pub max_cwnd: usize,
    /// Start as RFC 5681 does, doubling every round trip (RFC 6817 §2.2 allows it).
    pub slow_start: bool,
}

impl Default for LedbatConfig {
    fn default() -> Self {
        Self {
            target: Duration::from_millis(80),
            gain: 100,
            decrease_gain: 100,
            base_history: 10,
            current_filter: 4,
            init_cwnd: 10,
            min_cwnd: 2,
            allowed_increase: 1,
            max_cwnd: 32 << 20,
            slow_start: true,
        }
    }
}

/// Makes [`Ledbat`] controllers.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct LedbatFactory(Arc<LedbatConfig>);

impl LedbatFactory {
    /// Of controllers with these parameters, which they share.
    pub fn new(config: LedbatConfig) -> Self {
        Self(Arc::new(config))
    }
}

impl ControllerFactory for LedbatFactory {
    fn build(&self, now: Instant, datagram: usize) -> Box<dyn Controller> {
        Box::new(Ledbat::with(Arc::clone(&self.0), now, datagram))
    }
}

/// Low Extra Delay Background Transport (RFC 6817): fills the path until its queue is TARGET long, and makes room for
/// everyone who fills it more.
///
/// Where it does more or other than the RFC's §2.4.2:
///
/// * The window follows what was in flight during the last round trips instead of at this acknowledgement. Many
///   acknowledgements are handled before anything is sent, and each would else take the window down with it. It never
///   falls below INIT_CWND for want of use.
/// * Slow start ends at a loss, or when the queue reaches three quarters of TARGET; the window goes back to its half then,
///   for that is what filled the queue, one round trip ago. It is taken up again after a timeout, and after silence
///   (RFC 5681 §4.1), then up to what filled the path without its queue.
/// * The window grows by GAIN each round trip, near TARGET as far from it, and shrinks by a part of itself for what the
///   queue has beyond TARGET. RFC 6817 does both by a number of datagrams, which keeps the shares of flows as unequal as
///   they are; so they meet where all are equal. Beside a queue, on round trips shorter than twice TARGET, GAIN is a part of itself, down to a sixteenth: else
///   windows would grow as fast as those of whom there should be room for.
/// * On a path without a queue, where nothing was lost for two seconds, the window grows by a sixteenth in a round trip:
///   datagram by datagram, a gigabit on a long path would take minutes.
/// * A flow that comes late takes the queue of those before it for part of the base delay, would let them starve, and a
///   sender that never pauses does so with its own once BASE_HISTORY has forgotten how the path was without. So two round
///   trips after slow start, and where the least delay was not seen again for twelve seconds or twenty round trips, the window
///   is closed to MIN_CWND for two round trips, as LEDBAT++ does. All flows of a bottleneck see the queue become shorter
///   then, so they close at the same moment the next time, and see the path without any of them.
/// * Growing delay never shrinks the window faster than losses would: by half in a round trip.
/// * A receiver that reports small delays to be sent more (RFC 7574 §12.6.4, Threat ACK.2) is found out by the round-trip
///   time, which it can only make longer: a queue of which the round trips show more than TARGET beyond what the
///   one-way delay admits stops the growth. It does not shrink the window, since the queue may be one that
///   acknowledgements wait in. A liar gains one TARGET of delay, and no more.
/// * A queue longer than the whole round trip is none: the receiver's clock was set, and measurement begins anew.
#[derive(Debug)]
pub struct Ledbat {
    config: Arc<LedbatConfig>,
    mss: usize,
    cwnd: usize,
    ssthresh: usize,
    slow_start: bool,
    /// Part of a byte, in 1/1024, that the window has grown or shrunk by and that is not in `cwnd` yet.
    fraction: i64,
    target: u64,
    rtt: RttEstimator,
    /// The delay that all others are counted from, so that they may wrap.
    reference: Option<u64>,
    base: Minima,
    current: VecDeque<Sample>,
    queuing: Option<u64>,
    /// The round trips show a queue that the one-way delays do not.
    doubtful: bool,
    flight: Flight,
    /// The delay now, as samples count it.
    level: Option<i64>,
    /// The least delay since the window was closed the last time, and when it was last seen.
    lowest: Option<(i64, Instant)>,
    /// When the window is to be closed, to see the path without our queue.
    close_at: Option<Instant>,
    /// The window stays closed until then; the base delay before that.
    closed: Option<(Instant, Option<i64>)>,
    /// When something was lost the last time, or nothing had been sent yet.
    lost: Instant,
    /// Losses of datagrams sent until then are accounted for.
    reduced: Option<Instant>,
    last_sent: Option<Instant>,
}

impl Ledbat {
    /// A controller for datagrams of at most `datagram` bytes. Parameters that make no sense are moved to the next that
    /// do.
    pub fn new(config: LedbatConfig, now: Instant, datagram: usize) -> Self {
        Self::with(Arc::new(config), now, datagram)
    }

    fn with(config: Arc<LedbatConfig>, now: Instant, datagram: usize) -> Self {
        let mss = datagram.clamp(1, 1 << 16);
        Self {
            mss,
            cwnd: config.init_cwnd.max(1).saturating_mul(mss),
            ssthresh: usize::MAX,
            slow_start: config.slow_start,
            fraction: 0,
            target: micros(config.target).clamp(1000, 60_000_000),
            rtt: RttEstimator::new(),
            reference: None,
            base: Minima::new(config.base_history.min(24 * 60)),
            current: VecDeque::new(),
            queuing: None,
            doubtful: false,
            flight: Flight { start: now, before: 0, current: 0 },
            level: None,
            lowest: None,
            close_at: None,
            closed: None,
            lost: now,
            reduced: None,
            last_sent: None,
            config,
        }
    }

    /// Is the window still doubling every round trip?
    pub const fn in_slow_start(&self) -> bool {
        self.slow_start
    }

    /// update_base_delay(), update_current_delay() and the queuing delay that follows.
    fn measure(&mut self, now: Instant, acked: &Acked) {
        let rtt = acked.rtt.map(micros);
        let one_way = acked.one_way_delay.map(|delay| {
            let reference = *self.reference.get_or_insert(delay);
            delay.wrapping_sub(reference).cast_signed()
        });
        if let (Some(delay), Some(base), Some(rtt)) = (one_way, self.base.min(), rtt)
            && since(delay, base) > rtt.saturating_add(self.target)
        {
            self.base.clear();
            self.current.clear();
        }
        if let Some(delay) = one_way {
            self.base.insert(now, delay);
        }

        if self.current.len() >= self.config.current_filter.clamp(1, 16) {
            self.current.pop_front();
        }
        self.current.push_back(Sample { at: now, one_way, rtt });
        // RFC 6817 §2.5: CURRENT_FILTER MUST be limited such that samples are not older than an RTT.
        let round_trip = self.rtt.srtt().unwrap_or(RttEstimator::INITIAL_RTO);
        while self.current.len() > 1 && self.current.front().is_some_and(|s| s.at + round_trip < now) {
            self.current.pop_front();
        }

        let one_way = self.current.iter().filter_map(|s| s.one_way).min();
        self.level = one_way.or(self.current.back().and_then(|s| s.rtt).and_then(|rtt| i64::try_from(rtt).ok()));
        let one_way = one_way.zip(self.base.min()).map(|(delay, base)| since(delay, base));
        let round = self.current.iter().filter_map(|s| s.rtt).min();
        let round = round.zip(self.rtt.min()).map(|(rtt, least)| rtt.saturating_sub(micros(least)));
        self.queuing = match (one_way, round) {
            (Some(one_way), Some(round)) => {
                self.doubtful = one_way < self.target && round >= 2 * self.target;
                Some(one_way.max(round.saturating_sub(self.target).min(self.target)))
            }
            (None, None) => self.queuing,
            (one_way, round) => one_way.or(round),
        };
    }

    /// By how much the window of congestion avoidance changes, in 1/1024 byte.
    fn change(&self, now: Instant, acked: &Acked) -> i64 {
        let queuing = self.queuing.unwrap_or(0);
        // What was sent before the last reduction saw a queue that is none of this window's.
        let stale = self.reduced.is_some_and(|reduced| acked.sent <= reduced);
        let excess = if stale { 0 } else { i128::from(queuing.saturating_sub(self.target).min(1 << 40)) };
        let bytes = wide(acked.bytes.min(1 << 24));
        let less =
            1024 * i128::from(self.config.decrease_gain.min(10_000)) * excess * bytes / (100 * i128::from(self.target));
        let more = if acked.app_limited || self.doubtful {
            0
        } else {
            let full = 1024 * i128::from(self.config.gain.min(10_000)) * bytes * wide(self.mss)
                / (100 * wide(self.cwnd.max(1)));
            if queuing >= self.target / 4 {
                let least = self.rtt.min().map_or(1, micros).max(1);
                full / i128::from((2 * self.target).div_ceil(least).clamp(1, 16))
            } else if now.saturating_since(self.lost) >= CALM {
                full.max(1024 * bytes / 16)
            } else {
                full
            }
        };
        // Half of what arrived is half of the window in a round trip.
        i64::try_from((more - less).max(-512 * bytes)).unwrap_or(0)
    }

    /// The part of the window that is on the path and not in its queue.
    fn on_path(&self) -> usize {
        let times = self.rtt.min().zip(self.rtt.srtt()).map(|(least, srtt)| (micros(least), micros(srtt).max(1)));
        let (least, srtt) = times.unwrap_or((1, 1));
        let part = wide(self.cwnd) * i128::from(least.min(srtt)) / i128::from(srtt);
        usize::try_from(part).unwrap_or(self.cwnd).max(self.datagrams(self.config.min_cwnd))
    }

    /// Closes the window for a while after slow start and where the queue has not been empty for long, and keeps it
    /// closed.
    fn look_for_base(&mut self, now: Instant) {
        if let Some(level) = self.level {
            let tolerance = i64::try_from(self.target / 32).unwrap_or(0);
            if self.lowest.is_none_or(|(lowest, _)| level <= lowest.saturating_add(tolerance)) {
                self.lowest = Some((self.lowest.map_or(level, |(lowest, _)| lowest.min(level)), now));
            }
        }
        if self.queuing.unwrap_or(0) <= self.target / 8 {
            self.close_at = None;
        }
        let round_trip = self.rtt.srtt().unwrap_or(RttEstimator::INITIAL_RTO);
        let patience = PATIENCE.max(round_trip.saturating_mul(20));
        let due = self.close_at.is_some_and(|at| at <= now)
            || self.lowest.is_some_and(|(_, at)| now.saturating_since(at) > patience);
        if self.config.slow_start && self.closed.is_none() && due {
            self.ssthresh = self.cwnd;
            // For what is on its way to come back, and for one round trip after it.
            self.closed = Some((now + round_trip + self.rtt.min().unwrap_or(round_trip), self.base.min()));
            self.close_at = None;
            self.lowest = None;
        }
        match self.closed {
            Some((until, _)) if now < until => self.cwnd = self.cwnd.min(self.datagrams(self.config.min_cwnd)),
            Some((_, base)) => {
                self.closed = None;
                self.slow_start = true;
                let lower = base.zip(self.base.min()).map_or(0, |(before, base)| since(before, base));
                if lower > self.target / 16 {
                    // Others' queue was in it: they have to come back, and may have theirs in it now.
                    self.ssthresh = (self.ssthresh / 2).max(self.datagrams(self.config.min_cwnd));
                }
                // The path was known to carry more a moment ago.
                self.cwnd = self.cwnd.max(self.ssthresh / 2);
                self.flight.current = self.cwnd;
            }
            None => {}
        }
    }

    /// The queue that ends slow start: what is on its way by then makes it longer. Where it only goes back to what was, the
    /// queue may be others'.
    fn enough(&self) -> u64 {
        if self.ssthresh == usize::MAX { self.target / 4 * 3 } else { self.target * 2 }
    }

    /// Slow start is over, because of a loss or a queue.
    fn end_slow_start(&mut self, now: Instant) {
        if core::mem::take(&mut self.slow_start) {
            let round_trip = self.rtt.srtt().unwrap_or(RttEstimator::INITIAL_RTO);
            self.close_at = Some(now + round_trip.saturating_mul(2));
        }
    }

    fn datagrams(&self, count: usize) -> usize {
        count.max(1).saturating_mul(self.mss)
    }
}

impl Controller for Ledbat {
    fn on_sent(&mut self, now: Instant, _bytes: usize) {
        let init = self.datagrams(self.config.init_cwnd);
        let silent = self.last_sent.is_some_and(|last| now.saturating_since(last) > self.rtt.rto());
        // RFC 5681 §4.1: after an idle period of more than one timeout what the window says of the path is out of date.
        if silent && self.config.slow_start && self.cwnd > init {
            self.ssthresh = self.on_path();
            self.cwnd = init.min(self.ssthresh);
            self.slow_start = true;
        }
        self.last_sent = Some(now);
    }

    fn on_ack(&mut self, now: Instant, acked: &Acked, in_flight: usize) {
        if let Some(rtt) = acked.rtt {
            self.rtt.on_sample(now, rtt);
        }
        self.measure(now, acked);
        self.flight.note(now, in_flight, self.rtt.srtt());

        self.look_for_base(now);
        if self.closed.is_some() {
            return;
        }

        if self.slow_start {
            if self.cwnd >= self.ssthresh {
                self.slow_start = false;
            } else if self.doubtful || self.queuing.unwrap_or(0) > self.enough() {
                self.end_slow_start(now);
                self.reduced = Some(now);
                self.cwnd = (self.cwnd / 2).max(self.datagrams(self.config.min_cwnd));
                self.ssthresh = self.cwnd;
            }
        }
        let used = if self.slow_start {
            if !acked.app_limited {
                self.cwnd = self.cwnd.saturating_add(acked.bytes).min(self.ssthresh);
            }
            self.flight.most().saturating_mul(2)
        } else {
            self.fraction += self.change(now, acked);
            let whole = self.fraction / 1024;
            self.fraction %= 1024;
            self.cwnd = self.cwnd.saturating_add_signed(isize::try_from(whole).unwrap_or(0));
            self.flight.most()
        };
        let allowed = used.saturating_add(self.datagrams(self.config.allowed_increase));
        let least = self.datagrams(self.config.min_cwnd);
        self.cwnd =
            self.cwnd.min(allowed.max(self.datagrams(self.config.init_cwnd))).min(self.config.max_cwnd).max(least);
    }

    fn on_loss(&mut self, now: Instant, _bytes: usize, sent: Instant) {
        self.lost = now;
        // RFC 6817 §2.4.2: at most once per RTT. What was sent before the last reduction knew nothing of it.
        if self.reduced.is_some_and(|reduced| sent <= reduced) {
            return;
        }
        self.reduced = Some(now);
        if self.closed.is_some() {
            self.ssthresh = (self.ssthresh / 2).max(self.datagrams(self.config.min_cwnd));
            return;
        }
        self.cwnd = self.cwnd.min((self.cwnd / 2).max(self.datagrams(self.config.min_cwnd)));
        self.ssthresh = self.cwnd;
        self.end_slow_start(now);
        self.fraction = 0;
    }

    fn on_timeout(&mut self, now: Instant) {
        self.rtt.on_timeout();
        // RFC 5681 §3.1: a second timeout in a row leaves the threshold where it is.
        if self.cwnd > self.mss {
            self.ssthresh = (self.cwnd / 2).max(self.datagrams(self.config.min_cwnd));
        }
        // RFC 6817 §2.4.2: extreme congestion, or significant RTT change.
        self.cwnd = self.mss;
        self.slow_start = self.config.slow_start;
        self.closed = None;
        self.close_at = None;
        self.lost = now;
        self.fraction = 0;
        self.reduced = Some(now);
    }

    fn window(&self) -> usize {
        self.cwnd
    }

    /// A quarter more than the window in a round trip, so that pacing spreads bursts and does not itself limit; twice
    /// the window in slow start, that it may double.
    fn pacing_rate(&self) -> Option<u64> {
        let srtt = micros(self.rtt.srtt()?).max(1);
        let (times, parts) = if self.slow_start { (2, 1) } else { (5, 4) };
        let rate = u128::try_from(self.cwnd).ok()? * 1_000_000 * times / (u128::from(srtt) * parts);
        Some(u64::try_from(rate).unwrap_or(u64::MAX).max(1))
    }

    fn queuing_delay(&self) -> Option<Duration> {
        self.queuing.map(Duration::from_micros)
    }
}

/// How long without a loss before a path without a queue is believed to have room.
const CALM: Duration = Duration::from_secs(2);
/// How long a queue may stand before we look how the path is without ours.
const PATIENCE: Duration = Duration::from_secs(12);

#[derive(Clone, Copy, Debug)]
struct Sample {
    at: Instant,
    /// Relative to the reference.
    one_way: Option<i64>,
    rtt: Option<u64>,
}

/// Most bytes in flight during this round trip and the one before.
#[derive(Clone, Copy, Debug)]
struct Flight {
    start: Instant,
    before: usize,
    current: usize,
}

impl Flight {
    fn note(&mut self, now: Instant, in_flight: usize, srtt: Option<Duration>) {
        let round = srtt.unwrap_or(RttEstimator::INITIAL_RTO);
        let age = now.saturating_since(self.start);
        if age >= round {
            self.before = if age >= round.saturating_mul(2) { 0 } else { self.current };
            self.current = 0;
            self.start = now;
        }
        self.current = self.current.max(in_flight);
    }

    fn most(&self) -> usize {
        self.current.max(self.before)
    }
}

/// Microseconds by which a delay is above the base; none where it is below.
fn since(delay: i64, base: i64) -> u64 {
    u64::try_from(delay.saturating_sub(base)).unwrap_or(0)
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn wide(bytes: usize) -> i128 {
    i128::try_from(bytes).unwrap_or(i128::MAX >> 64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    const MSS: usize = 1100;
    const START: u64 = 1_700_000_000_000_000;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(START + micros)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn ledbat() -> Ledbat {
        Ledbat::new(LedbatConfig::default(), at(0), MSS)
    }

    /// Out of slow start, with a window of `datagrams`.
    fn steady(datagrams: usize) -> Ledbat {
        let config = LedbatConfig { init_cwnd: datagrams, slow_start: false, ..LedbatConfig::default() };
        Ledbat::new(config, at(0), MSS)
    }

    fn acked(one_way_delay: u64, rtt: Duration) -> Acked {
        Acked { sent: at(0), bytes: MSS, one_way_delay: Some(one_way_delay), rtt: Some(rtt), app_limited: false }
    }

    /// One sender over one bottleneck: a queue that is served at `rate` and holds `buffer`, then propagation both ways.
    struct Path {
        rate: u64,
        buffer: Duration,
        propagation: u64,
        /// What the receiver says the delay was, given what it was and when.
        report: fn(u64, u64) -> u64,
        /// Delay of the queue that others cause at a moment.
        cross: fn(u64) -> u64,
        now: u64,
        free: u64,
        in_flight: usize,
        /// Acknowledgement at, sent, delay; no delay where it was dropped.
        flying: VecDeque<(u64, u64, Option<u64>)>,
        /// Time and true delay of the queue for each datagram.
        log: Vec<(u64, u64)>,
        delivered: u64,
    }

    impl Path {
        fn new(rate: u64, propagation: Duration) -> Self {
            Self {
                rate,
                buffer: ms(10_000),
                propagation: micros(propagation),
                report: |delay, _| delay,
                cross: |_| 0,
                now: 0,
                free: 0,
                in_flight: 0,
                flying: VecDeque::new(),
                log: Vec::new(),
                delivered: 0,
            }
        }

        fn run(&mut self, controller: &mut Ledbat, until: Duration) {
            while self.now < micros(until) {
                while self.in_flight + MSS <= controller.window() {
                    self.send(controller);
                }
                let Some((ack, sent, delay)) = self.flying.pop_front() else { break };
                self.now = ack;
                if let Some(delay) = delay {
                    let acked = Acked {
                        sent: at(sent),
                        bytes: MSS,
                        one_way_delay: Some((self.report)(delay, ack)),
                        rtt: Some(Duration::from_micros(ack - sent)),
                        app_limited: false,
                    };
                    controller.on_ack(at(ack), &acked, self.in_flight);
                    self.delivered += MSS as u64;
                } else {
                    controller.on_loss(at(ack), MSS, at(sent));
                }
                self.in_flight -= MSS;
            }
        }

        fn send(&mut self, controller: &mut Ledbat) {
            controller.on_sent(at(self.now), MSS);
            self.in_flight += MSS;
            let start = self.free.max(self.now + (self.cross)(self.now));
            let queue = start - self.now;
            if queue > micros(self.buffer) {
                // Found out with the acknowledgement of the next one.
                self.flying.push_back((self.free + 2 * self.propagation, self.now, None));
                return;
            }
            self.log.push((self.now, queue));
            self.free = start + MSS as u64 * 1_000_000 / self.rate;
            let arrival = self.free + self.propagation;
            self.flying.push_back((arrival + self.propagation, self.now, Some(arrival - self.now)));
        }

        /// Mean and greatest delay of the queue between two moments, in milliseconds.
        fn queue(&self, from: Duration, to: Duration) -> (u64, u64) {
            let delays: Vec<u64> =
                self.log.iter().filter(|(t, _)| (micros(from)..micros(to)).contains(t)).map(|&(_, d)| d).collect();
            let mean = delays.iter().sum::<u64>() / delays.len() as u64;
            (mean / 1000, delays.into_iter().max().unwrap() / 1000)
        }
    }

    const SECONDS: fn(u64) -> Duration = Duration::from_secs;

    #[test]
    fn fills_the_path_and_keeps_the_queue_at_the_target() {
        for (rate, propagation) in [(1_250_000, 20), (125_000, 40), (12_500_000, 5)] {
            let mut controller = ledbat();
            let mut path = Path::new(rate, ms(propagation));
            path.run(&mut controller, SECONDS(30));
            let before = path.delivered;
            path.run(&mut controller, SECONDS(60));
            let (mean, most) = path.queue(SECONDS(30), SECONDS(60));
            assert!((60..=105).contains(&mean) && most <= 130, "{rate}: {mean} ms, {most} ms");
            assert!(path.delivered - before > rate * 30 / 100 * 98, "{rate}: {}", path.delivered - before);
        }
    }

    #[test]
    fn slow_start_ends_before_the_queue_is_full() {
        let mut controller = ledbat();
        let mut path = Path::new(1_250_000, ms(20));
        assert_eq!(controller.window(), 10 * MSS);
        path.run(&mut controller, SECONDS(2));
        assert!(!controller.in_slow_start());
        let (_, most) = path.queue(SECONDS(0), SECONDS(2));
        assert!(most < 250, "{most} ms");
    }

    #[test]
    fn yields_to_others() {
        let mut controller = ledbat();
        let mut path = Path::new(1_250_000, ms(20));
        path.cross = |now| if (20_000_000..40_000_000).contains(&now) { 250_000 } else { 0 };
        path.run(&mut controller, SECONDS(19));
        let full = controller.window();
        path.run(&mut controller, SECONDS(39));
        assert!(controller.window() <= 3 * MSS, "{} of {full}", controller.window());
        path.run(&mut controller, SECONDS(80));
        assert!(controller.window() > full / 2, "and comes back: {} of {full}", controller.window());
    }

    #[test]
    fn a_short_buffer_is_shared_as_tcp_does() {
        let mut controller = ledbat();
        let mut path = Path::new(1_250_000, ms(20));
        path.buffer = ms(30);
        path.run(&mut controller, SECONDS(30));
        let before = path.delivered;
        path.run(&mut controller, SECONDS(60));
        assert!(path.delivered - before > 1_250_000 * 30 / 100 * 75, "{}", path.delivered - before);
    }

    #[test]
    fn clocks_may_be_wrong() {
        let expected = {
            let mut controller = ledbat();
            let mut path = Path::new(1_250_000, ms(20));
            path.run(&mut controller, SECONDS(20));
            (controller.window(), path.delivered)
        };
        let reports: [fn(u64, u64) -> u64; 4] = [
            |delay, _| delay + 5_000_000_000,
            // The receiver's clock is behind ours.
            |delay, _| delay.wrapping_sub(3_600_000_000),
            // The delay passes zero while the queue grows.
            |delay, _| delay.wrapping_sub(60_000),
            |delay, _| delay.wrapping_add(i64::MAX as u64 - 60_000),
        ];
        for (i, report) in reports.into_iter().enumerate() {
            let mut controller = ledbat();
            let mut path = Path::new(1_250_000, ms(20));
            path.report = report;
            path.run(&mut controller, SECONDS(20));
            assert_eq!((controller.window(), path.delivered), expected, "{i}");
        }
        // A clock that is fast, and one that is slow, by 100 parts in a million.
        let drifts: [fn(u64, u64) -> u64; 2] = [|d, now| d + now / 10_000, |d, now| d.wrapping_sub(now / 10_000)];
        for report in drifts {
            let mut controller = ledbat();
            let mut path = Path::new(1_250_000, ms(20));
            path.report = report;
            path.run(&mut controller, SECONDS(1000));
            let before = path.delivered;
            path.run(&mut controller, SECONDS(1100));
            let (mean, most) = path.queue(SECONDS(1000), SECONDS(1100));
            assert!(path.delivered - before > 1_250_000 * 90, "{}", path.delivered - before);
            assert!(most < 250, "{mean} ms, {most} ms");
        }
    }

    #[test]
    fn a_clock_that_is_set_is_no_queue() {
        for step in [1_i64, -1] {
            let mut controller = steady(50);
            for i in 0..1000 {
                let delay = 20_000_u64.wrapping_add_signed(if i < 500 { 0 } else { step * 3_600_000_000 });
                controller.on_ack(at(i * 1000), &acked(delay, ms(40)), 50 * MSS);
                assert!(controller.window() >= 50 * MSS);
                assert_eq!(controller.queuing_delay(), Some(Duration::ZERO));
            }
        }
    }

    // RFC 7574 §12.6.4, Threat ACK.2.
    #[test]
    fn a_liar_gains_little() {
        let mut controller = ledbat();
        let mut path = Path::new(1_250_000, ms(20));
        path.report = |_, _| 20_000;
        path.run(&mut controller, SECONDS(120));
        let (mean, most) = path.queue(SECONDS(60), SECONDS(120));
        assert!(mean <= 210 && most <= 250, "{mean} ms, {most} ms");

        // One whose reports fall while the queue grows gains no more.
        let mut controller = ledbat();
        let mut path = Path::new(1_250_000, ms(20));
        path.report = |delay, _| 1_000_000_000 - 5 * delay;
        path.run(&mut controller, SECONDS(120));
        let (mean, most) = path.queue(SECONDS(60), SECONDS(120));
        assert!(mean <= 210 && most <= 250, "{mean} ms, {most} ms");
    }

    #[test]
    fn acknowledgements_that_queue_do_not_shrink_the_window() {
        let mut controller = steady(50);
        controller.on_ack(at(0), &acked(20_000, ms(40)), 50 * MSS);
        let before = controller.window();
        for i in 0..1000 {
            controller.on_ack(at(1000 * i), &acked(20_000, ms(900)), 50 * MSS);
        }
        assert!((before..=before + MSS).contains(&controller.window()));
    }

    #[test]
    fn the_base_delay_expires() {
        let mut controller = steady(50);
        for minute in 0..12 {
            // The path grows longer by 80 ms after the first minute.
            let path = if minute == 0 { 0 } else { 80_000 };
            controller.on_ack(at(minute * 60_000_000), &acked(20_000 + path, ms(120)), 50 * MSS);
            let expected = if (1..10).contains(&minute) { 80 } else { 0 };
            assert_eq!(controller.queuing_delay(), Some(ms(expected)), "minute {minute}");
        }
    }

    #[test]
    fn the_queue_does_not_become_part_of_the_base() {
        let mut controller = ledbat();
        let mut path = Path::new(1_250_000, ms(20));
        for minutes in [10, 20, 30, 40] {
            let before = path.delivered;
            let from = Duration::from_micros(path.now);
            path.run(&mut controller, SECONDS(60 * minutes));
            let (mean, most) = path.queue(from, SECONDS(60 * minutes));
            assert!(mean <= 110 && most <= 200, "{minutes}: {mean} ms, {most} ms");
            assert!(path.delivered - before > 1_250_000 * 600 / 100 * 98, "{minutes}: {}", path.delivered - before);
        }
    }

    #[test]
    fn a_loss_while_the_window_is_closed_halves_the_one_to_come() {
        let mut controller = ledbat();
        controller.on_ack(at(0), &acked(20_000, ms(40)), 40 * MSS);
        controller.on_loss(at(1), MSS, at(0));
        for second in 0..400 {
            controller.on_ack(at(second * 1_000_000), &acked(110_000, ms(130)), 40 * MSS);
            if controller.closed.is_some() {
                break;
            }
        }
        assert_eq!(controller.window(), 2 * MSS);
        let before = controller.ssthresh;
        controller.on_loss(at(400_000_000), MSS, at(399_000_000));
        assert_eq!((controller.window(), controller.ssthresh), (2 * MSS, (before / 2).max(2 * MSS)));
        controller.on_ack(at(401_000_000), &acked(20_000, ms(40)), 40 * MSS);
        assert!(controller.closed.is_none());
    }

    #[test]
    fn one_late_datagram_is_filtered_out() {
        let mut controller = steady(50);
        for i in 0..10 {
            let late = if i == 7 { 500_000 } else { 0 };
            controller.on_ack(at(i * 1000), &acked(20_000 + late, ms(40) + Duration::from_micros(late)), 50 * MSS);
        }
        assert_eq!(controller.queuing_delay(), Some(Duration::ZERO));
    }

    #[test]
    fn losses_halve_once_a_round_trip() {
        let mut controller = steady(64);
        controller.on_loss(at(100), MSS, at(10));
        assert_eq!(controller.window(), 32 * MSS);
        for sent in [5, 20, 99, 100] {
            controller.on_loss(at(200), MSS, at(sent));
        }
        assert_eq!(controller.window(), 32 * MSS, "sent before the reduction");
        controller.on_loss(at(300), MSS, at(101));
        assert_eq!(controller.window(), 16 * MSS);
        for i in 4..40 {
            controller.on_loss(at(i * 100), MSS, at(i * 100 - 1));
        }
        assert_eq!(controller.window(), 2 * MSS);
    }

    #[test]
    fn timeouts() {
        let mut controller = ledbat();
        for i in 0..30 {
            controller.on_ack(at(i), &acked(20_000, ms(40)), 40 * MSS);
        }
        assert_eq!(controller.window(), 40 * MSS);
        controller.on_timeout(at(2_000_000));
        assert_eq!(controller.window(), MSS);
        controller.on_timeout(at(4_000_000));
        assert_eq!(controller.window(), MSS);
        controller.on_loss(at(4_000_001), MSS, at(1));
        assert_eq!(controller.window(), MSS, "a loss from before the timeout is part of it");
        assert!(controller.in_slow_start());
        for i in 0..1000 {
            let window = controller.window();
            controller.on_ack(at(5_000_000 + i), &acked(20_000, ms(40)), window);
            if controller.in_slow_start() {
                assert!(controller.window() <= 20 * MSS, "up to half of what it was");
            }
        }
        assert!(!controller.in_slow_start() && controller.window() >= 20 * MSS);
    }

    #[test]
    fn the_window_follows_its_use() {
        let mut controller = steady(10);
        // Ten seconds of free path, of which only twenty datagrams are used.
        for i in 0..10_000 {
            controller.on_ack(at(i * 1000), &acked(20_000, ms(40)), 20 * MSS);
        }
        assert_eq!(controller.window(), 21 * MSS);
        // A batch of acknowledgements before anything is sent does not take it down.
        for i in 0..20 {
            controller.on_ack(at(10_000_000), &acked(20_000, ms(40)), (20 - i) * MSS);
        }
        assert_eq!(controller.window(), 21 * MSS);
        // Disuse does, down to the initial window.
        for i in 0..1000 {
            controller.on_ack(at(11_000_000 + i * 1000), &acked(20_000, ms(40)), MSS);
        }
        assert_eq!(controller.window(), 10 * MSS);
    }

    #[test]
    fn silence_starts_slowly_again() {
        let mut controller = ledbat();
        for i in 0..90 {
            controller.on_sent(at(i), MSS);
            controller.on_ack(at(i), &acked(20_000, ms(40)), 100 * MSS);
        }
        assert_eq!(controller.window(), 100 * MSS);
        controller.on_sent(at(100_000), MSS);
        assert_eq!(controller.window(), 100 * MSS);
        controller.on_sent(at(9_000_000), MSS);
        assert_eq!(controller.window(), 10 * MSS);
        for i in 0..200 {
            controller.on_ack(at(9_000_000 + i), &acked(20_000, ms(40)), 100 * MSS);
        }
        assert!(!controller.in_slow_start());
        assert!((100 * MSS..=101 * MSS).contains(&controller.window()), "and ends where it was");
    }

    #[test]
    fn pacing() {
        let mut controller = ledbat();
        assert_eq!(controller.pacing_rate(), None);
        let mut ack = acked(20_000, ms(100));
        ack.app_limited = true;
        controller.on_ack(at(0), &ack, 10 * MSS);
        assert_eq!(controller.window(), 10 * MSS, "nothing was proven");
        assert_eq!(controller.pacing_rate(), Some(2 * 10 * 10 * MSS as u64));
        controller.on_loss(at(1), MSS, at(0));
        assert_eq!(controller.pacing_rate(), Some(5 * 10 * MSS as u64 * 10 / 8));
    }

    #[test]
    fn without_delays_the_round_trip_is_the_measure() {
        let mut controller = steady(50);
        let mut ack = acked(0, ms(40));
        ack.one_way_delay = None;
        controller.on_ack(at(0), &ack, 50 * MSS);
        assert_eq!(controller.queuing_delay(), Some(Duration::ZERO));
        for i in 0..200 {
            ack.rtt = Some(ms(340));
            controller.on_ack(at(100_000 + i), &ack, 50 * MSS);
        }
        assert_eq!(controller.queuing_delay(), Some(ms(300)));
        assert!(controller.window() < 40 * MSS);
        ack.rtt = None;
        controller.on_ack(at(200_000), &ack, 50 * MSS);
    }

    #[test]
    fn nonsense_does_no_harm() {
        let config = LedbatConfig {
            target: Duration::ZERO,
            gain: u32::MAX,
            decrease_gain: u32::MAX,
            base_history: 0,
            current_filter: 0,
            init_cwnd: 0,
            min_cwnd: 0,
            allowed_increase: 0,
            max_cwnd: 0,
            slow_start: true,
        };
        for config in [config, LedbatConfig { init_cwnd: usize::MAX, max_cwnd: usize::MAX, ..config }] {
            for datagram in [0, MSS, usize::MAX] {
                let mut controller = LedbatFactory::new(config).build(at(0), datagram);
                for i in 0..1000_u64 {
                    let wild = i.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                    let acked = Acked {
                        sent: Instant::from_micros(wild),
                        bytes: if i % 3 == 0 { usize::MAX } else { wild as usize },
                        one_way_delay: (i % 5 != 0).then_some(wild),
                        rtt: (i % 7 != 0).then_some(if i % 2 == 0 {
                            Duration::MAX
                        } else {
                            Duration::from_micros(wild)
                        }),
                        app_limited: i % 11 == 0,
                    };
                    controller.on_sent(Instant::from_micros(wild), usize::MAX);
                    controller.on_ack(Instant::from_micros(wild), &acked, wild as usize);
                    if i % 13 == 0 {
                        controller.on_loss(Instant::MAX, usize::MAX, Instant::MAX);
                        controller.on_timeout(Instant::from_micros(wild));
                    }
                    assert!(controller.window() > 0);
                    controller.pacing_rate();
                }
            }
        }
    }
}
