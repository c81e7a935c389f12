use alloc::boxed::Box;
use core::time::Duration;

use ppsp_core::Instant;

use crate::congestion::{Acked, Controller, ControllerFactory, RttEstimator};

/// Makes [`Reno`] controllers.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RenoFactory;

impl ControllerFactory for RenoFactory {
    fn build(&self, _: Instant, datagram: usize) -> Box<dyn Controller> {
        Box::new(Reno::new(datagram))
    }
}

/// What everybody else on the network does, to compete with: slow start, one datagram more each round trip, half at a
/// loss (RFC 5681). It knows nothing of delay, fills every queue and paces nothing. Not for use outside of simulations.
#[derive(Debug)]
pub struct Reno {
    mss: usize,
    cwnd: usize,
    ssthresh: usize,
    /// Bytes acknowledged and not yet worth a datagram more.
    credit: usize,
    /// Losses of datagrams sent until then are accounted for.
    reduced: Option<Instant>,
    rtt: RttEstimator,
}

impl Reno {
    /// A controller for datagrams of at most `datagram` bytes.
    pub fn new(datagram: usize) -> Self {
        let mss = datagram.max(1);
        let cwnd = 10 * mss;
        Self { mss, cwnd, ssthresh: usize::MAX, credit: 0, reduced: None, rtt: RttEstimator::new() }
    }
}

impl Controller for Reno {
    fn on_sent(&mut self, _: Instant, _: usize) {}

    fn on_ack(&mut self, now: Instant, acked: &Acked, in_flight: usize) {
        if let Some(rtt) = acked.rtt {
            self.rtt.on_sample(now, rtt);
        }
        // RFC 7661: a window that is not used does not grow.
        if in_flight.saturating_add(4 * self.mss) < self.cwnd / 2 {
            return;
        }
        if self.cwnd < self.ssthresh {
            self.cwnd = self.cwnd.saturating_add(acked.bytes);
            return;
        }
        self.credit = self.credit.saturating_add(acked.bytes);
        while self.credit >= self.cwnd {
            self.credit -= self.cwnd;
            self.cwnd += self.mss;
        }
    }

    fn on_loss(&mut self, now: Instant, _: usize, sent: Instant) {
        if self.reduced.is_some_and(|reduced| sent <= reduced) {
            return;
        }
        self.reduced = Some(now);
        self.cwnd = (self.cwnd / 2).max(2 * self.mss);
        self.ssthresh = self.cwnd;
        self.credit = 0;
    }

    fn on_timeout(&mut self, now: Instant) {
        self.rtt.on_timeout();
        self.ssthresh = (self.cwnd / 2).max(2 * self.mss);
        self.cwnd = self.mss;
        self.reduced = Some(now);
    }

    fn window(&self) -> usize {
        self.cwnd
    }

    fn pacing_rate(&self) -> Option<u64> {
        None
    }

    fn queuing_delay(&self) -> Option<Duration> {
        let (least, srtt) = self.rtt.min().zip(self.rtt.srtt())?;
        Some(srtt.saturating_sub(least))
    }
}
