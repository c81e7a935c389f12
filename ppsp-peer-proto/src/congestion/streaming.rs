use alloc::{boxed::Box, collections::VecDeque};
use core::time::Duration;

use ppsp_core::Instant;

use super::{Acked, Controller, ControllerFactory, RttEstimator};

/// Parameters of [`Streaming`].
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct StreamingConfig {
    /// Window before anything is known of the path, in datagrams.
    pub init_cwnd: usize,
    /// The window never falls below so many datagrams.
    pub min_cwnd: usize,
    /// Most bytes in flight.
    pub max_cwnd: usize,
    /// Queuing delay at which to back off when it lasts for a round trip. More than LEDBAT's TARGET, for LEDBAT would
    /// keep a queue of that length standing, and less than what a deep buffer holds.
    pub max_queue: Duration,
    /// Datagrams lost of a hundred at which to back off; in startup a few more. What is lost by chance on a bad path is less.
    pub max_loss: u32,
}

impl Default for StreamingConfig {
    fn default() -> Self {
        Self { init_cwnd: 10, min_cwnd: 4, max_cwnd: 32 << 20, max_queue: Duration::from_millis(120), max_loss: 5 }
    }
}

/// Makes [`Streaming`] controllers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct StreamingFactory(pub StreamingConfig);

impl ControllerFactory for StreamingFactory {
    fn build(&self, now: Instant, datagram: usize) -> Box<dyn Controller> {
        Box::new(Streaming::new(self.0, now, datagram))
    }
}

/// Congestion control for content that is being watched: sends at the rate at which the path delivers, in the manner of
/// BBR, so that losses by chance do not slow it down.
///
/// * The bandwidth of the path is the most that was delivered in any of the last ten rounds; a round is a round trip. The
///   window is twice what that bandwidth delivers in the least round-trip time; what goes out is paced.
/// * It begins by trying more than twice the rate that was delivered, until three rounds bring no more (startup), and lets
///   the queue that came of this run empty (drain). From then on it tries a quarter more for one round trip in eight,
///   and a quarter less for the next. Every ten seconds the window is halved for a moment, to see the round-trip
///   time without our queue. After a round in which there was little to send it begins with a first window again.
/// * It is no bully. A queue longer than `max_queue` for a whole round, losses beyond `max_loss` (in startup a few
///   datagrams more), or a timeout lower a ceiling over the bandwidth to less than what was delivered; it rises again in
///   the rounds that are free of these. So it takes a queue of LEDBAT's for what it is, and leaves a queue that a
///   loss-based flow keeps full.
/// * Nothing in it depends on the delays that the receiver reports (RFC 7574 §12.6.4, Threat ACK.2). A receiver that
///   lies about them gains nothing; one that is late with acknowledgements is taken for a long path, and has
///   `max_queue` at most of it.
#[derive(Debug)]
pub struct Streaming {
    config: StreamingConfig,
    mss: usize,
    phase: Phase,
    rtt: RttEstimator,
    /// The least round-trip time of late in microseconds, and when it was seen.
    least: Option<(u64, Instant)>,
    /// Bytes delivered in all.
    delivered: u64,
    /// How much had been delivered when; oldest first. Says what had been when a datagram was sent.
    history: VecDeque<(Instant, u64)>,
    /// Most bytes a second in each of the last rounds, the running one first.
    rates: [u64; ROUNDS],
    /// Bytes a second that are not exceeded since the path was found congested.
    ceiling: u64,
    round: Round,
    /// The bandwidth that startup has to beat, and how many rounds failed to.
    full: (u64, u32),
    /// Bytes lost and delivered since they were last weighed.
    lost: u64,
    arrived: u64,
    /// Congestion met by datagrams that were sent until then is accounted for.
    reduced: Option<Instant>,
    /// Nothing has been acknowledged since the last timeout.
    stalled: bool,
    queuing: Option<u64>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    /// More than twice the rate, until that brings no more.
    Startup,
    /// Less, until the queue of startup is gone; since when.
    Drain(Instant),
    /// Which of the gains, and since when.
    Cruise(usize, Instant),
    /// A lower window until then, to see the least round-trip time; and what was seen.
    Look(Instant, Option<u64>),
}

/// A round trip.
#[derive(Clone, Copy, Debug, Default)]
struct Round {
    /// The acknowledgement of a datagram sent from then on ends it.
    start: Option<Instant>,
    /// Its least round-trip time, of datagrams sent after the last reduction.
    least: Option<u64>,
    /// None of its datagrams was sent for want of more.
    limited: bool,
}

impl Streaming {
    /// A controller for datagrams of at most `datagram` bytes. Parameters that make no sense are moved to the next that
    /// do.
    pub fn new(config: StreamingConfig, now: Instant, datagram: usize) -> Self {
        Self {
            mss: datagram.clamp(1, 1 << 16),
            phase: Phase::Startup,
            rtt: RttEstimator::new(),
            least: None,
            delivered: 0,
            history: VecDeque::from([(now, 0)]),
            rates: [0; ROUNDS],
            ceiling: u64::MAX,
            round: Round::default(),
            full: (0, 0),
            lost: 0,
            arrived: 0,
            reduced: None,
            stalled: false,
            queuing: None,
            config,
        }
    }

    /// Bytes a second that the path is believed to deliver to us.
    pub fn bandwidth(&self) -> u64 {
        self.rates.iter().copied().max().unwrap_or(0).min(self.ceiling)
    }

    /// Is it still trying more than twice the rate?
    pub const fn in_startup(&self) -> bool {
        matches!(self.phase, Phase::Startup)
    }

    /// What was delivered between the sending of a datagram and now, as bytes a second.
    fn sample(&mut self, now: Instant, sent: Instant) -> Option<u64> {
        let after = self.history.partition_point(|&(at, _)| at <= sent);
        let &(from, before) = self.history.get(after.saturating_sub(1))?;
        let least = self.least.map_or(1, |(least, _)| least).max(1);
        let time = micros(now.saturating_since(from));
        // An acknowledgement that is out of order, of a datagram older than what is remembered.
        if time < least {
            return None;
        }
        let bytes = self.delivered.saturating_sub(before);
        Some(clamp(u128::from(bytes) * 1_000_000 / u128::from(time.max(1))))
    }

    /// Notes how much has been delivered until now.
    fn remember(&mut self, now: Instant) {
        let grain = self.rtt.srtt().unwrap_or_default() / 32;
        match self.history.back_mut() {
            Some((at, delivered)) if *at == now => *delivered = self.delivered,
            Some(&mut (at, _)) if now.saturating_since(at) < grain || now < at => return,
            _ => self.history.push_back((now, self.delivered)),
        }
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
    }

    /// A round trip is over.
    fn end_round(&mut self, now: Instant) {
        let bandwidth = self.bandwidth();
        let least = self.least.map_or(0, |(least, _)| least);
        self.queuing = self.round.least.map(|seen| seen.saturating_sub(least)).or(self.queuing);
        let queue = self.round.least.is_some_and(|seen| seen.saturating_sub(least) > micros(self.config.max_queue));
        let sum = self.lost.saturating_add(self.arrived);
        let weighed = sum >= WEIGHED * self.mss as u64;
        let many = self.loses_many();
        let losses = weighed && many;
        if weighed {
            (self.lost, self.arrived) = (0, 0);
        }
        if queue || losses {
            self.back_off(now, 7, 8);
            if self.in_startup() {
                self.phase = Phase::Drain(now);
            }
        } else if self.ceiling < u64::MAX && !many {
            // A datagram a round more, and a part: so it finds its place again soon, on fast paths too.
            let datagram = self.rate_of(self.mss as u64);
            self.ceiling = self.ceiling.saturating_add(self.ceiling / 32).saturating_add(datagram);
            if self.ceiling / 2 > self.rates.iter().copied().max().unwrap_or(0) {
                self.ceiling = u64::MAX;
            }
        }
        if self.in_startup() && !self.round.limited {
            if bandwidth / 5 * 4 >= self.full.0 {
                self.full = (bandwidth, 0);
            } else {
                self.full.1 += 1;
                // No faster, and a queue: the path is full.
                if self.full.1 >= 3 || self.round.least.is_some_and(|seen| seen.saturating_sub(least) > least / 16) {
                    self.phase = Phase::Drain(now);
                    // What was forgiven is.
                    (self.lost, self.arrived) = (0, 0);
                }
            }
        }
        self.rates.rotate_right(1);
        self.rates[0] = 0;
        self.round = Round { start: Some(now), least: None, limited: false };
    }

    /// Is more lost than by chance? At the beginning a few more can be: those that lean on hashes in one that was lost are taken
    /// for lost with it, and who backs off then is slow for a second.
    fn loses_many(&self) -> bool {
        let sum = self.lost.saturating_add(self.arrived);
        let by_chance = if self.in_startup() { self.datagrams(FORGIVEN) } else { 0 };
        let lost = self.lost.saturating_sub(by_chance);
        lost.saturating_mul(100) > sum.saturating_mul(u64::from(self.config.max_loss))
    }

    /// Lowers the ceiling to a part of what came through of late.
    fn back_off(&mut self, now: Instant, times: u64, parts: u64) {
        let of_late = self.rates.iter().take(3).copied().max().unwrap_or(0).min(self.ceiling);
        let floor = self.rate_of(self.datagrams(self.config.min_cwnd));
        self.ceiling = (of_late / parts * times).max(floor).max(1);
        self.reduced = Some(now);
        self.round.least = None;
        (self.lost, self.arrived) = (0, 0);
    }

    /// What is let go in a round trip after one in which there was little to send, whatever is known of the path, as long as it
    /// is not found congested: little is known then (the restart window of RFC 5681 §4.1).
    fn restart_window(&self) -> u64 {
        match self.phase {
            Phase::Cruise(..) if self.round.limited && self.ceiling == u64::MAX => {
                self.datagrams(self.config.init_cwnd)
            }
            _ => 0,
        }
    }

    /// The rate that so many bytes in a round trip are.
    fn rate_of(&self, bytes: u64) -> u64 {
        let least = self.least.map_or(100_000, |(least, _)| least).max(1);
        clamp(u128::from(bytes) * 1_000_000 / u128::from(least))
    }

    /// What the path holds without a queue.
    fn on_path(&self) -> u64 {
        let least = self.least.map_or(0, |(least, _)| least);
        clamp(u128::from(self.bandwidth()) * u128::from(least) / 1_000_000)
    }

    fn datagrams(&self, count: usize) -> u64 {
        count.max(1).saturating_mul(self.mss) as u64
    }

    /// Goes on to the next phase where its time has come.
    fn turn(&mut self, now: Instant, in_flight: u64) {
        let least = Duration::from_micros(self.least.map_or(0, |(least, _)| least).max(1000));
        match self.phase {
            Phase::Startup => {}
            Phase::Drain(since) => {
                if in_flight <= self.on_path() || now.saturating_since(since) > least.saturating_mul(4) {
                    // Not all flows at once.
                    let turn = 2 + now.as_micros() as usize % (GAINS.len() - 2);
                    self.phase = Phase::Cruise(turn, now);
                }
            }
            Phase::Cruise(turn, since) => {
                // What was too much is given time to drain, and no more than that.
                let over = if turn == 1 {
                    in_flight <= self.on_path() || now.saturating_since(since) > least.saturating_mul(4)
                } else {
                    now.saturating_since(since) >= least
                };
                if over {
                    self.phase = Phase::Cruise((turn + 1) % GAINS.len(), now);
                }
                if self.least.is_some_and(|(_, seen)| now.saturating_since(seen) > LOOK_AGAIN) {
                    let round_trip = self.rtt.srtt().unwrap_or(least);
                    self.phase = Phase::Look(now + round_trip + LOOK, None);
                }
            }
            Phase::Look(until, seen) => {
                if now >= until {
                    self.least = seen.map(|seen| (seen, now)).or(self.least.map(|(least, _)| (least, now)));
                    self.phase = Phase::Cruise(2, now);
                }
            }
        }
    }
}

impl Controller for Streaming {
    fn on_sent(&mut self, now: Instant, _bytes: usize) {
        // After a silence: it is no part of the time in which what is sent now is delivered.
        let round_trip = self.rtt.srtt().unwrap_or(RttEstimator::INITIAL_RTO);
        if self.history.back().is_none_or(|&(at, _)| now.saturating_since(at) > round_trip) {
            self.remember(now);
        }
    }

    fn on_ack(&mut self, now: Instant, acked: &Acked, in_flight: usize) {
        self.stalled = false;
        self.delivered = self.delivered.saturating_add(acked.bytes as u64);
        self.arrived = self.arrived.saturating_add(acked.bytes as u64);
        let fresh = self.reduced.is_none_or(|reduced| acked.sent > reduced);
        if let Some(rtt) = acked.rtt {
            self.rtt.on_sample(now, rtt);
            let rtt = micros(rtt).min(LONGEST);
            if self.least.is_none_or(|(least, _)| rtt <= least) {
                self.least = Some((rtt, now));
            }
            if fresh {
                self.round.least = Some(self.round.least.map_or(rtt, |least| least.min(rtt)));
            }
            if let Phase::Look(_, seen) = &mut self.phase {
                *seen = Some(seen.map_or(rtt, |least| least.min(rtt)));
            }
        }
        if let Some(rate) = self.sample(now, acked.sent) {
            // What was sent for want of more says only that the path is at least so fast.
            if !acked.app_limited || rate > self.bandwidth() {
                self.rates[0] = self.rates[0].max(rate);
            }
        }
        self.round.limited |= acked.app_limited;
        self.remember(now);
        match self.round.start {
            None => self.round.start = Some(now),
            Some(start) if acked.sent >= start && now > start => {
                // A round in which nothing could be measured does not count.
                if self.rates[0] > 0 {
                    self.end_round(now);
                } else {
                    self.round.start = Some(now);
                }
            }
            Some(_) => {}
        }
        self.turn(now, in_flight as u64);
    }

    fn on_loss(&mut self, now: Instant, bytes: usize, sent: Instant) {
        if self.reduced.is_none_or(|reduced| sent > reduced) {
            self.lost = self.lost.saturating_add(bytes as u64);
            // Where many begin at the same time they overrun their uplink before a round tells.
            if self.in_startup() && self.loses_many() {
                self.phase = Phase::Drain(now);
            }
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        self.rtt.on_timeout();
        self.stalled = true;
        self.back_off(now, 1, 2);
    }

    fn window(&self) -> usize {
        let least = self.datagrams(self.config.min_cwnd);
        let path = self.on_path();
        // As much as waits while datagrams are sent in runs.
        let runs = (self.bandwidth() / 250).max(self.datagrams(2));
        let standing = path.min(clamp(u128::from(self.bandwidth()) * self.config.max_queue.as_micros() / 1_000_000));
        let window = match self.phase {
            _ if self.stalled => least,
            _ if path == 0 => self.datagrams(self.config.init_cwnd),
            Phase::Startup => path.saturating_mul(2).saturating_add(runs).max(self.datagrams(self.config.init_cwnd)),
            Phase::Drain(_) | Phase::Cruise(..) => {
                path.saturating_add(standing).saturating_add(runs).max(self.restart_window())
            }
            Phase::Look(..) => path / 2,
        };
        let most = self.config.max_cwnd.max(self.mss);
        usize::try_from(window.max(least)).unwrap_or(usize::MAX).min(most)
    }

    fn pacing_rate(&self) -> Option<u64> {
        let srtt = micros(self.rtt.srtt()?).max(1);
        let gain = match self.phase {
            Phase::Startup => 277,
            Phase::Drain(_) => 50,
            Phase::Cruise(turn, _) => GAINS.get(turn).copied().unwrap_or(100),
            Phase::Look(..) => 100,
        };
        let per_second = |bytes: u64| clamp(u128::from(bytes) * 1_000_000 / u128::from(srtt));
        let bandwidth = match self.bandwidth() {
            0 => per_second(self.datagrams(self.config.init_cwnd)),
            bandwidth => bandwidth.max(per_second(self.restart_window())),
        };
        Some(clamp(u128::from(bandwidth) * gain / 100).max(1))
    }

    fn queuing_delay(&self) -> Option<Duration> {
        self.queuing.map(Duration::from_micros)
    }
}

/// Rounds for which a bandwidth is remembered.
const ROUNDS: usize = 10;
/// Moments of delivery that are remembered: two round trips and more.
const HISTORY: usize = 128;
/// Rates, in hundredths of the bandwidth, in turn: more, to find out whether there is more; less, for the queue that
/// came of it.
const GAINS: [u128; 8] = [125, 75, 100, 100, 100, 100, 100, 100];
/// Datagrams of which losses are a part that means something. A thin flow sends no more in some seconds.
const WEIGHED: u64 = 30;
/// Datagrams that may be lost in a round of startup beside those that are lost by chance.
const FORGIVEN: usize = 4;
/// For how long the least round-trip time is believed.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How much longer than a round trip to look for it.
const LOOK: Duration = Duration::from_millis(50);
/// Round-trip times are cut here, far beyond any that means something.
const LONGEST: u64 = 3_600_000_000;

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Rates and windows, far below what could overflow.
fn clamp(value: u128) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX).min(1 << 48)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MSS: usize = 1100;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(1_700_000_000_000_000 + micros)
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// One sender over a bottleneck with an endless queue, then propagation there and back.
    struct Path {
        rate: u64,
        propagation: u64,
        /// Each so many-th datagram is lost; none where zero.
        loses: u64,
        /// What the receiver says the delay was, given what it was.
        report: fn(u64) -> u64,
        /// How much longer the receiver waits before it acknowledges.
        holds: fn(u64) -> u64,
        now: u64,
        free: u64,
        allowed_at: u64,
        in_flight: usize,
        sent: u64,
        /// Acknowledgement at, sent, delay; no delay where it was lost.
        flying: VecDeque<(u64, u64, Option<u64>)>,
        longest: u64,
        delivered: u64,
    }

    impl Path {
        fn new(rate: u64, propagation: u64) -> Self {
            Self {
                rate,
                propagation,
                loses: 0,
                report: |delay| delay,
                holds: |_| 0,
                now: 0,
                free: 0,
                allowed_at: 0,
                in_flight: 0,
                sent: 0,
                flying: VecDeque::new(),
                longest: 0,
                delivered: 0,
            }
        }

        fn run(&mut self, controller: &mut Streaming, until: Duration) {
            self.longest = 0;
            while self.now < micros(until) {
                let may = self.in_flight + MSS <= controller.window();
                let ack = self.flying.front().map(|f| f.0);
                if may && ack.is_none_or(|ack| self.allowed_at <= ack) {
                    self.now = self.now.max(self.allowed_at);
                    let pace = controller.pacing_rate().map_or(0, |rate| MSS as u64 * 1_000_000 / rate);
                    self.allowed_at = self.now + pace;
                    self.send(controller);
                    continue;
                }
                let Some((ack, sent, delay)) = self.flying.pop_front() else { break };
                self.now = self.now.max(ack);
                if let Some(delay) = delay {
                    let acked = Acked {
                        sent: at(sent),
                        bytes: MSS,
                        one_way_delay: Some((self.report)(delay)),
                        rtt: Some(Duration::from_micros(self.now - sent)),
                        app_limited: false,
                    };
                    controller.on_ack(at(self.now), &acked, self.in_flight);
                    self.delivered += MSS as u64;
                } else {
                    controller.on_loss(at(self.now), MSS, at(sent));
                }
                self.in_flight -= MSS;
            }
        }

        fn send(&mut self, controller: &mut Streaming) {
            controller.on_sent(at(self.now), MSS);
            self.in_flight += MSS;
            self.sent += 1;
            let queue = self.free.saturating_sub(self.now);
            self.longest = self.longest.max(queue);
            self.free = self.now + queue + MSS as u64 * 1_000_000 / self.rate;
            let back = self.free + 2 * self.propagation + (self.holds)(self.now);
            let lost = self.loses > 0 && self.sent.is_multiple_of(self.loses);
            self.flying.push_back((back, self.now, (!lost).then_some(queue)));
        }
    }

    fn streaming() -> Streaming {
        Streaming::new(StreamingConfig::default(), at(0), MSS)
    }

    #[test]
    fn finds_the_rate_and_leaves_the_queue_short() {
        for (rate, propagation) in [(1_250_000, 20_000), (125_000, 40_000), (125_000_000, 50_000), (12_500_000, 500)] {
            let mut controller = streaming();
            let mut path = Path::new(rate, propagation);
            path.run(&mut controller, ms(3000));
            assert!(!controller.in_startup());
            let before = path.delivered;
            path.run(&mut controller, ms(8000));
            let got = (path.delivered - before) / 5;
            assert!(got > rate / 100 * 97, "{rate}: {got}");
            assert!(path.longest < 2 * propagation.max(10_000), "{rate}: {} µs", path.longest);
        }
    }

    #[test]
    fn chance_losses_do_not_slow_it_down_and_many_do() {
        for (loses, least, most) in [(100, 95, 101), (30, 90, 101), (6, 0, 35)] {
            let mut controller = streaming();
            let mut path = Path::new(1_250_000, 20_000);
            path.loses = loses;
            path.run(&mut controller, ms(10_000));
            let percent = path.delivered * loses / (loses - 1) / 125_000;
            assert!((least..=most).contains(&percent), "one of {loses} lost: {percent} %");
        }
    }

    // RFC 7574 §12.6.4, Threat ACK.2.
    #[test]
    fn reported_delays_mean_nothing() {
        let run = |report| {
            let mut controller = streaming();
            let mut path = Path::new(1_250_000, 20_000);
            path.report = report;
            path.run(&mut controller, ms(5000));
            (path.delivered, controller.window())
        };
        assert_eq!(run(|delay| delay), run(|_| 0));
        assert_eq!(run(|delay| delay), run(|delay| 1_000_000_000 - 5 * delay));
    }

    /// Who holds acknowledgements back to make the path look long has no more of it than the path gives.
    #[test]
    fn late_acknowledgements_gain_little() {
        let mut controller = streaming();
        let mut path = Path::new(1_250_000, 20_000);
        path.holds = |_| 300_000;
        path.run(&mut controller, ms(20_000));
        path.run(&mut controller, ms(30_000));
        assert!(path.longest <= 200_000, "a queue of {} µs", path.longest);
    }

    #[test]
    fn a_timeout_closes_the_window_until_something_arrives() {
        let mut controller = streaming();
        let mut path = Path::new(1_250_000, 20_000);
        path.run(&mut controller, ms(3000));
        let (window, bandwidth) = (controller.window(), controller.bandwidth());
        controller.on_timeout(at(path.now));
        assert_eq!(controller.window(), 4 * MSS);
        assert!(controller.bandwidth() <= bandwidth / 2 + 1);
        path.run(&mut controller, ms(6000));
        assert!(controller.window() > window / 10 * 9, "and it comes back");
    }

    #[test]
    fn who_was_asked_for_little_may_be_sent_a_first_window_at_once() {
        let mut controller = streaming();
        // A datagram each round trip of 50 ms.
        for round in 1..60 {
            let (sent, now) = (at(round * 50_000), at((round + 1) * 50_000));
            controller.on_sent(sent, MSS);
            let acked = Acked { sent, bytes: MSS, one_way_delay: None, rtt: Some(ms(50)), app_limited: round > 20 };
            controller.on_ack(now, &acked, MSS);
        }
        assert!(!controller.in_startup() && controller.bandwidth() <= 2 * 20 * MSS as u64);
        assert!(controller.window() >= 10 * MSS);
        assert!(controller.pacing_rate().is_some_and(|rate| rate >= 150 * MSS as u64));
        // Not where the path is congested.
        controller.on_timeout(at(4_000_000));
        assert!(controller.window() < 10 * MSS);
        assert!(controller.pacing_rate().is_some_and(|rate| rate < 150 * MSS as u64));
    }

    #[derive(Clone, Debug)]
    enum Op {
        Sent(u64),
        Ack { now: u64, sent: u64, bytes: usize, rtt: Option<u64>, limited: bool, in_flight: usize },
        Loss(u64, usize, u64),
        Timeout(u64),
    }

    fn time() -> impl Strategy<Value = u64> {
        prop_oneof![0..1_000_000_u64, any::<u64>(), Just(u64::MAX)]
    }

    fn bytes() -> impl Strategy<Value = usize> {
        prop_oneof![0..100_000_usize, any::<usize>(), Just(usize::MAX)]
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            time().prop_map(Op::Sent),
            (time(), time(), bytes(), proptest::option::of(time()), any::<bool>(), bytes()).prop_map(
                |(now, sent, bytes, rtt, limited, in_flight)| Op::Ack { now, sent, bytes, rtt, limited, in_flight }
            ),
            (time(), bytes(), time()).prop_map(|(now, bytes, sent)| Op::Loss(now, bytes, sent)),
            time().prop_map(Op::Timeout),
        ]
    }

    proptest! {
        #[test]
        fn nonsense_does_no_harm(
            ops in proptest::collection::vec(op(), 0..200),
            numbers in proptest::array::uniform4(bytes()),
            queue in time(),
            max_loss in any::<u32>(),
        ) {
            let [init_cwnd, min_cwnd, max_cwnd, datagram] = numbers;
            let max_queue = Duration::from_micros(queue);
            let config = StreamingConfig { init_cwnd, min_cwnd, max_cwnd, max_queue, max_loss };
            for config in [config, StreamingConfig::default()] {
                let mut controller = StreamingFactory(config).build(Instant::from_micros(0), datagram);
                for op in &ops {
                    match *op {
                        Op::Sent(now) => controller.on_sent(Instant::from_micros(now), usize::MAX),
                        Op::Ack { now, sent, bytes, rtt, limited, in_flight } => {
                            let acked = Acked {
                                sent: Instant::from_micros(sent),
                                bytes,
                                one_way_delay: None,
                                rtt: rtt.map(Duration::from_micros),
                                app_limited: limited,
                            };
                            controller.on_ack(Instant::from_micros(now), &acked, in_flight);
                        }
                        Op::Loss(now, bytes, sent) => {
                            controller.on_loss(Instant::from_micros(now), bytes, Instant::from_micros(sent));
                        }
                        Op::Timeout(now) => controller.on_timeout(Instant::from_micros(now)),
                    }
                    prop_assert!(controller.window() > 0);
                    prop_assert!(controller.window() <= config.max_cwnd.max(datagram.clamp(1, 1 << 16)));
                    prop_assert!(controller.pacing_rate() != Some(0));
                    controller.queuing_delay();
                }
            }
        }
    }
}
