use core::{num::NonZeroU32, time::Duration};

use ppsp_core::Instant;

/// How large the datagrams to a peer may be.
///
/// RFC 7574 §8.1: a variant of PLPMTUD (RFC 4821) whose probes are real messages, several DATA messages in one datagram.
/// It starts with what fits nearly everywhere. While there are chunks enough to fill it, one larger datagram at a time is
/// tried; its ACK proves the size. Nothing but a probe is ever longer than what is proven, the socket forbids fragments,
/// and what is proven is given up when nothing arrives any more. Where even the first size is too large, as in tunnels, it
/// shrinks to what was seen to arrive.
#[derive(Clone, Debug)]
pub(super) struct PathMtu {
    /// What is sent without a probe.
    base: u32,
    /// Longest that may be sent: the base, or the longest probe that arrived.
    proven: u32,
    /// Sizes from here on are not tried.
    ceiling: u32,
    /// Length of the probe under way.
    probe: Option<NonZeroU32>,
    /// Number of the last probe's datagram.
    probe_number: u32,
    /// Longest datagram not above the base that was seen to arrive.
    seen: u32,
    /// No probe before.
    next_at: Instant,
    /// Sizes that were tried with success.
    step: u8,
    /// Probes of the next size that were lost.
    failures: u8,
    /// Datagrams lost that were longer than what was seen to arrive.
    suspects: u8,
    /// Timeouts since a large datagram arrived.
    timeouts: u8,
    /// How often sizes were given up.
    retries: u8,
}

/// The datagram that a chunk travels in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Carrier {
    /// Counted by the channel.
    pub(super) number: u32,
    /// Its length up to the end of the chunk.
    pub(super) len: u32,
}

impl PathMtu {
    /// Sizes to try, in bytes of UDP payload: below the MTUs of FDDI, of jumbo frames, and of fabrics and virtual links up
    /// to the loopback interface's, with room for the headers of IPv6 and a tunnel.
    const SIZES: [u32; 5] = [4_304, 8_928, 16_336, 32_720, 65_487];
    /// What IPv4 carries everywhere, with its headers (RFC 7574 §8.1: datagrams of 576 bytes).
    const LEAST: u32 = 548;
    /// RFC 4821 §7.3 asks for three or so lost probes, before a size is taken for too large, where they may be lost to
    /// congestion; two are enough here, for a size is tried again later.
    const FAILURES: u8 = 2;
    /// Losses that make the base shrink.
    const SUSPECTS: u8 = 3;
    /// When to try a size again that was too large, or seemed so: the first time, for it may have been congestion that
    /// took it; then after twice as long each time, up to the last (RFC 8899 §5.1.1: PMTU_RAISE_TIMER).
    const RETRY: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(600)];

    pub(super) fn new(base: usize, largest: usize) -> Self {
        let base = base.clamp(1, 65_507) as u32;
        let ceiling = (largest.min(65_507) as u32).saturating_add(1);
        Self {
            base,
            proven: base,
            ceiling,
            probe: None,
            probe_number: 0,
            seen: 0,
            next_at: Instant::default(),
            step: 0,
            failures: 0,
            suspects: 0,
            timeouts: 0,
            retries: 0,
        }
    }

    /// The longest datagram to send, but for probes.
    pub(super) fn limit(&self) -> usize {
        self.proven as usize
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

    /// Is or was this datagram the last probe?
    pub(super) fn is_probe(&self, number: u32) -> bool {
        self.probe_number == number
    }

    /// A probe went out, filled as far as whole messages fill it; no probe if it is not longer than what is proven.
    pub(super) fn on_probe(&mut self, number: u32, len: usize) {
        if len > self.proven as usize {
            self.probe = NonZeroU32::new(len as u32);
            self.probe_number = number;
        }
    }

    /// A chunk arrived.
    pub(super) fn on_arrived(&mut self, carrier: Carrier) {
        if let Some(len) = self.probe.take_if(|_| carrier.number == self.probe_number) {
            self.proven = self.proven.max(len.get());
            // One that was filled but for a part says nothing about the size that was tried.
            let size = Self::SIZES.get(usize::from(self.step)).copied().unwrap_or(0);
            self.step += u8::from(u64::from(len.get()) * 4 >= u64::from(size) * 3);
            (self.failures, self.timeouts, self.retries) = (0, 0, 0);
        } else if carrier.len > self.base {
            self.timeouts = 0;
        } else if carrier.len > self.seen {
            (self.seen, self.suspects) = (carrier.len, 0);
        }
    }

    /// A chunk was lost. `false`: that was no sign of congestion.
    pub(super) fn on_lost(&mut self, now: Instant, carrier: Carrier) -> bool {
        if self.is_probe(carrier.number) {
            if self.probe.take().is_some() {
                self.failures += 1;
                if self.failures >= Self::FAILURES {
                    self.give_up(now);
                }
            }
            return false;
        }
        // Of large ones that get lost while others arrive it is not the size.
        if carrier.len > self.seen && carrier.len <= self.base {
            self.suspects = self.suspects.saturating_add(1);
            let less = self.seen.max(Self::LEAST);
            if self.suspects >= Self::SUSPECTS && less < self.base {
                // What is proven stays so, if it is more than the base was.
                let larger = self.proven > self.base;
                self.base = less;
                self.suspects = 0;
                if !larger {
                    self.fall_back(now);
                }
            }
        }
        true
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
            self.base = self.seen.min(len.saturating_sub(1)).max(Self::LEAST).min(self.base);
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

    const MUCH: u64 = 1 << 20;

    fn at(secs: u64) -> Instant {
        Instant::from_micros(secs * 1_000_000)
    }

    fn carrier(number: u32, len: u32) -> Carrier {
        Carrier { number, len }
    }

    fn grown() -> PathMtu {
        let mut path = PathMtu::new(1452, 65_487);
        for (number, size) in (1..).zip(PathMtu::SIZES) {
            assert_eq!(path.probe(at(0), MUCH), Some(size as usize));
            path.on_probe(number, size as usize - 100);
            assert_eq!(path.probe(at(0), MUCH), None, "one at a time");
            path.on_arrived(carrier(number - 1, 1400));
            assert!(path.is_probing(), "another datagram proves nothing");
            for len in [1100, 2200] {
                path.on_arrived(carrier(number, len));
                assert_eq!(path.limit(), size as usize - 100, "all of it arrived");
            }
        }
        path
    }

    #[test]
    fn grows_step_by_step_to_the_limit() {
        assert_eq!(grown().probe(at(0), MUCH), None);
        let mut path = PathMtu::new(1452, 9000);
        assert_eq!(path.probe(at(0), 4303), None, "too little to fill it");
        path.on_probe(1, 1452);
        assert!(!path.is_probing(), "that was none");
        for (number, len) in [(2, 4304), (3, 8928)] {
            path.on_probe(number, len);
            path.on_arrived(carrier(number, 1000));
        }
        assert_eq!((path.limit(), path.probe(at(0), MUCH)), (8928, None));
        let mut path = PathMtu::new(1452, 9000);
        path.on_probe(1, 2100);
        path.on_arrived(carrier(1, 2100));
        assert_eq!((path.limit(), path.probe(at(0), MUCH)), (2100, Some(4304)));
        assert_eq!(PathMtu::new(1452, 1452).probe(at(0), MUCH), None);
    }

    #[test]
    fn lost_probes_end_the_search_for_a_while() {
        let mut path = PathMtu::new(1452, 65_487);
        let mut number = 0;
        let mut lose_two = |path: &mut PathMtu, time| {
            for _ in 0..2 {
                assert_eq!(path.probe(at(time), MUCH), Some(4304));
                number += 1;
                path.on_probe(number, 4200);
                assert!(!path.on_lost(at(time), carrier(number, 1100)), "no sign of congestion");
                assert!(!path.on_lost(at(time), carrier(number, 2200)), "nor is the rest of it");
                assert!(path.on_lost(at(time), carrier(number + 1000, 1000)));
                path.on_arrived(carrier(number + 1000, 1452));
            }
        };
        lose_two(&mut path, 1);
        assert_eq!(path.limit(), 1452);
        for time in [6, 16, 36, 76, 156, 316, 636, 1236, 1836] {
            assert_eq!(path.probe(at(time - 1), MUCH), None, "{time}");
            lose_two(&mut path, time);
        }
    }

    #[test]
    fn a_tunnel_is_noticed() {
        let mut path = PathMtu::new(1452, 65_487);
        path.on_arrived(carrier(0, 1086));
        for len in [1200, 1086, 1414] {
            assert!(path.on_lost(at(0), carrier(u32::MAX, len)));
        }
        path.on_arrived(carrier(0, 1127));
        assert_eq!(path.limit(), 1452, "it grows with what arrives");
        for len in [1168, 1209, 1168] {
            path.on_lost(at(0), carrier(u32::MAX, len));
        }
        assert_eq!(path.limit(), 1127);
        let mut path = PathMtu::new(1452, 65_487);
        (0..3).for_each(|_| _ = path.on_lost(at(0), carrier(u32::MAX, 1400)));
        assert_eq!(path.limit(), 548, "nothing ever arrived");
    }

    #[test]
    fn a_path_that_shrinks_is_noticed() {
        let mut path = grown();
        path.on_timeout(at(4));
        path.on_arrived(carrier(0, 60_000));
        path.on_timeout(at(5));
        assert!(path.limit() > 60_000);
        for _ in 0..500 {
            assert!(path.on_lost(at(5), carrier(u32::MAX, 60_000)), "a sign of congestion");
        }
        assert!(path.limit() > 60_000);
        path.on_timeout(at(6));
        assert_eq!(path.limit(), 1452);
        let mut path = grown();
        path.on_refused(at(5), 9000);
        assert_eq!(path.limit(), 1452);
        assert_eq!(path.probe(at(15), MUCH), Some(4304));
        path.on_refused(at(16), 1400);
        assert_eq!((path.limit(), path.probe(at(1000), MUCH)), (1399, None), "not even that");
    }
}
