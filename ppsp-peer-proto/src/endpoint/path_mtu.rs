use core::{num::NonZeroU32, time::Duration};

use ppsp_core::Instant;

/// How large the datagrams to a peer may be.
///
/// RFC 7574 §8.1: a variant of PLPMTUD (RFC 4821) whose probes are real messages, several DATA messages in one datagram.
/// It starts with what fits everywhere. While there are chunks enough to fill it, one larger datagram at a time is tried;
/// its ACK proves the size. Nothing but a probe is ever longer than what is proven, the socket forbids fragments, and
/// what is proven is given up when large datagrams stop arriving. So is what usually fits everywhere, on paths with tunnels
/// that take less.
#[derive(Clone, Debug)]
pub(super) struct PathMtu {
    /// What is sent without a probe.
    base: u32,
    /// Longest that is known to arrive.
    proven: u32,
    /// Sizes from here on are not tried.
    ceiling: u32,
    /// Sizes that were tried with success.
    step: u8,
    /// Length of the probe under way.
    probe: Option<NonZeroU32>,
    /// Probes of the next size that were lost.
    failures: u8,
    /// No probe before.
    next_at: Instant,
    /// Chunks lost in datagrams of more than the least size since one arrived.
    missing_usual: u8,
    /// Timeouts since a large datagram arrived.
    timeouts: u8,
    /// How often sizes were given up.
    retries: u8,
}

/// What a chunk travels in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Carrier {
    /// A datagram that fits everywhere.
    #[default]
    Small,
    /// One that fits nearly everywhere.
    Usual,
    /// A longer one, of a size that is proven.
    Large,
    /// One that is tried.
    Probe,
}

impl PathMtu {
    /// Sizes to try, in bytes of UDP payload: below the MTUs of FDDI, of jumbo frames, and of fabrics and virtual links up
    /// to the loopback interface's, with room for the headers of IPv6 and a tunnel.
    const SIZES: [u32; 5] = [4_304, 8_928, 16_336, 32_720, 65_487];
    /// RFC 4821 §7.3 asks for three or so lost probes, before a size is taken for too large, where they may be lost to
    /// congestion; two are enough here, for a size is tried again later.
    const FAILURES: u8 = 2;
    /// When to try a size again that was too large, or seemed so: the first time, for it may have been congestion that
    /// took it; then after twice as long each time, up to the last (RFC 8899 §5.1.1: PMTU_RAISE_TIMER).
    const RETRY: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(600)];

    /// What IPv6 carries everywhere (RFC 8200 §5: 1280 bytes).
    const LEAST: u32 = 1_232;

    pub(super) fn new(base: usize, largest: usize) -> Self {
        let base = base.clamp(1, 65_507) as u32;
        let ceiling = (largest.min(65_507) as u32).saturating_add(1);
        Self {
            base,
            proven: base,
            ceiling,
            step: 0,
            probe: None,
            failures: 0,
            next_at: Instant::default(),
            missing_usual: 0,
            timeouts: 0,
            retries: 0,
        }
    }

    /// The longest datagram to send, and what its chunks travel in.
    pub(super) fn limit(&self) -> (usize, Carrier) {
        (self.proven as usize, if self.proven > self.base { Carrier::Large } else { Carrier::Usual })
    }

    /// What a chunk travels in that ends a datagram of `len` bytes.
    pub(super) fn carrier(&self, carrier: Carrier, len: usize) -> Carrier {
        if carrier == Carrier::Usual && len <= Self::LEAST as usize { Carrier::Small } else { carrier }
    }

    /// The size of a probe to send now, with `waiting` bytes to send.
    pub(super) fn probe(&self, now: Instant, waiting: u64) -> Option<usize> {
        if self.probe.is_some() || now < self.next_at {
            return None;
        }
        let size = *Self::SIZES.get(usize::from(self.step))?;
        (size < self.ceiling && waiting >= u64::from(size)).then_some(size as usize)
    }

    /// Is a probe under way? What is in it may well be lost.
    pub(super) fn is_probing(&self) -> bool {
        self.probe.is_some()
    }

    /// A probe went out, filled as far as whole messages fill it.
    pub(super) fn on_probe(&mut self, len: usize) {
        self.probe = NonZeroU32::new(len as u32);
    }

    /// A chunk arrived.
    pub(super) fn on_arrived(&mut self, carrier: Carrier) {
        if carrier != Carrier::Small {
            self.missing_usual = 0;
        }
        match carrier {
            Carrier::Small | Carrier::Usual => {}
            Carrier::Large => self.timeouts = 0,
            Carrier::Probe => {
                if let Some(len) = self.probe.take() {
                    self.proven = self.proven.max(len.get());
                    self.step += 1;
                    (self.failures, self.timeouts) = (0, 0);
                }
            }
        }
    }

    /// A chunk was lost. `false`: that was no sign of congestion.
    pub(super) fn on_lost(&mut self, now: Instant, carrier: Carrier) -> bool {
        match carrier {
            // Of large ones that get lost while others arrive it is not the size.
            Carrier::Small | Carrier::Large => true,
            Carrier::Usual => {
                self.missing_usual = self.missing_usual.saturating_add(1);
                if self.missing_usual >= 3 && self.base > Self::LEAST {
                    self.base = Self::LEAST;
                    self.fall_back(now);
                }
                true
            }
            Carrier::Probe => {
                if self.probe.take().is_some() {
                    self.failures += 1;
                    if self.failures >= Self::FAILURES {
                        self.give_up(now);
                    }
                }
                false
            }
        }
    }

    /// Nothing arrives any more: it may be the size (RFC 4821 §7.8).
    pub(super) fn on_timeout(&mut self, now: Instant) {
        self.timeouts = self.timeouts.saturating_add(1);
        if self.proven > self.base && self.timeouts > 1 {
            self.fall_back(now);
        }
    }

    /// The system refuses to send datagrams of this length.
    pub(super) fn on_refused(&mut self, now: Instant, len: usize) {
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        if len <= self.base {
            return;
        }
        self.ceiling = self.ceiling.min(len);
        if self.proven >= len {
            self.fall_back(now);
        }
    }

    fn fall_back(&mut self, now: Instant) {
        self.proven = self.base;
        self.step = 0;
        self.give_up(now);
    }

    fn give_up(&mut self, now: Instant) {
        let [first, last] = Self::RETRY;
        self.next_at = now + first.saturating_mul(1 << self.retries.min(16)).min(last);
        self.retries = self.retries.saturating_add(1);
        (self.failures, self.timeouts) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    const MUCH: u64 = 1 << 20;

    fn grown() -> PathMtu {
        let mut path = PathMtu::new(1452, 65_487);
        for size in PathMtu::SIZES {
            assert_eq!(path.probe(at(0), MUCH), Some(size as usize));
            path.on_probe(size as usize - 100);
            assert_eq!(path.probe(at(0), MUCH), None, "one at a time");
            path.on_arrived(Carrier::Probe);
            path.on_arrived(Carrier::Probe);
            assert_eq!(path.limit(), (size as usize - 100, Carrier::Large));
        }
        path
    }

    #[test]
    fn grows_step_by_step_to_the_limit() {
        assert_eq!(grown().probe(at(0), MUCH), None);
        let mut path = PathMtu::new(1452, 9000);
        assert_eq!(path.probe(at(0), 4303), None, "too little to fill it");
        path.on_probe(4304);
        path.on_arrived(Carrier::Probe);
        path.on_probe(8928);
        path.on_arrived(Carrier::Probe);
        assert_eq!(path.probe(at(0), MUCH), None);
        assert_eq!(PathMtu::new(1452, 1452).probe(at(0), MUCH), None);
    }

    #[test]
    fn lost_probes_end_the_search_for_a_while() {
        let mut path = PathMtu::new(1452, 65_487);
        for _ in 0..2 {
            path.on_probe(4200);
            assert!(!path.on_lost(at(1), Carrier::Probe), "no sign of congestion");
            assert!(!path.on_lost(at(1), Carrier::Probe));
        }
        assert_eq!(path.limit(), (1452, Carrier::Usual));
        assert_eq!(path.probe(at(5), MUCH), None);
        assert_eq!(path.probe(at(6), MUCH), Some(4304));
        for time in [6, 16, 36, 76, 156, 316, 636, 1236, 1836] {
            assert_eq!(path.probe(at(time - 1), MUCH), None, "{time}");
            for _ in 0..2 {
                assert_eq!(path.probe(at(time), MUCH), Some(4304));
                path.on_probe(4200);
                path.on_lost(at(time), Carrier::Probe);
            }
        }
    }

    #[test]
    fn a_tunnel_is_noticed() {
        let mut path = PathMtu::new(1452, 65_487);
        assert_eq!(path.carrier(Carrier::Usual, 1232), Carrier::Small);
        for carrier in [Carrier::Usual, Carrier::Small, Carrier::Usual] {
            assert!(path.on_lost(at(0), path.carrier(carrier, 1400)));
        }
        path.on_arrived(Carrier::Small);
        assert_eq!(path.limit(), (1452, Carrier::Usual));
        path.on_lost(at(0), Carrier::Usual);
        assert_eq!(path.limit(), (1232, Carrier::Usual));
    }

    #[test]
    fn a_path_that_shrinks_is_noticed() {
        let mut path = grown();
        path.on_timeout(at(4));
        path.on_arrived(Carrier::Large);
        path.on_timeout(at(5));
        assert_eq!(path.limit().1, Carrier::Large);
        path.on_timeout(at(6));
        assert_eq!(path.limit().0, 1452);
        let mut path = grown();
        path.on_refused(at(5), 9000);
        assert_eq!(path.limit(), (1452, Carrier::Usual));
        path.on_refused(at(5), 1000);
        assert_eq!(path.probe(at(10), MUCH), Some(4304));
    }
}
