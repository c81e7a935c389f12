//! A player's buffer, without a clock: when pieces come in, it tells where the picture is, and when it stood still.
//!
//! Times are since "play" was pressed. The picture starts, and starts again, as soon as every track has something to show.

use std::time::Duration;

/// What is played, and what of it is there.
#[derive(Debug)]
pub(super) struct Playback {
    duration: Duration,
    /// Up to where each track is there, without a gap.
    buffered: Vec<Duration>,
    /// Where the picture was at `since`.
    position: Duration,
    since: Duration,
    running: bool,
    first_frame: Option<Duration>,
    stalls: Vec<Duration>,
}

impl Playback {
    /// Nothing is there yet.
    pub(super) fn new(duration: Duration, tracks: usize) -> Self {
        Self {
            duration,
            buffered: vec![Duration::ZERO; tracks],
            position: Duration::ZERO,
            since: Duration::ZERO,
            running: false,
            first_frame: None,
            stalls: Vec::new(),
        }
    }

    /// A track is there up to this place now.
    pub(super) fn arrived(&mut self, now: Duration, track: usize, end: Duration) {
        self.look(now);
        if let Some(buffered) = self.buffered.get_mut(track) {
            *buffered = end.min(self.duration).max(*buffered);
        }
        if !self.running && self.ahead() > self.position {
            match self.first_frame {
                None => self.first_frame = Some(now),
                Some(_) => self.stalls.push(now.saturating_sub(self.since)),
            }
            (self.running, self.since) = (true, now);
        }
    }

    /// Where the picture is.
    pub(super) fn look(&mut self, now: Duration) -> Duration {
        if !self.running {
            return self.position;
        }
        let target = self.position + now.saturating_sub(self.since);
        let ahead = self.ahead();
        if target < ahead {
            (self.position, self.since) = (target, now.max(self.since));
        } else {
            // It ran out at that moment, not only when somebody looked.
            self.since += ahead.saturating_sub(self.position);
            (self.position, self.running) = (ahead, false);
        }
        self.position
    }

    /// How long it goes on with what is there.
    pub(super) fn left(&mut self, now: Duration) -> Duration {
        self.ahead().saturating_sub(self.look(now))
    }

    /// Was all of it shown?
    pub(super) fn is_over(&mut self, now: Duration) -> bool {
        self.look(now) >= self.duration
    }

    /// When the first picture was there.
    pub(super) fn first_frame(&self) -> Option<Duration> {
        self.first_frame
    }

    /// How long each stall was.
    pub(super) fn stalls(&self) -> &[Duration] {
        &self.stalls
    }

    fn ahead(&self) -> Duration {
        self.buffered.iter().copied().min().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn it_starts_when_every_track_is_there() {
        let mut playback = Playback::new(s(4.0), 2);
        playback.arrived(s(0.2), 0, s(2.0));
        assert_eq!((playback.first_frame(), playback.look(s(0.4))), (None, s(0.0)));
        playback.arrived(s(0.5), 1, s(0.0)); // an initialization segment shows nothing
        playback.arrived(s(0.7), 1, s(2.0));
        assert_eq!(playback.first_frame(), Some(s(0.7)));
        assert_eq!(playback.look(s(1.7)), s(1.0));
        assert_eq!(playback.left(s(1.7)), s(1.0));
        assert!(playback.stalls().is_empty());
    }

    #[test]
    fn it_stalls_from_when_it_ran_out() {
        let mut playback = Playback::new(s(4.0), 1);
        playback.arrived(s(1.0), 0, s(2.0));
        // Nobody looked between 1 and 5; it stood still from 3 on.
        playback.arrived(s(5.0), 0, s(3.0));
        assert_eq!(playback.stalls(), [s(2.0)]);
        assert_eq!(playback.look(s(5.5)), s(2.5));
        assert_eq!(playback.look(s(9.0)), s(3.0));
        playback.arrived(s(9.0), 0, s(4.0));
        assert_eq!(playback.stalls(), [s(2.0), s(3.0)]);
        assert!(!playback.is_over(s(9.9)));
        assert!(playback.is_over(s(10.0)));
        assert_eq!((playback.left(s(11.0)), playback.stalls().len()), (s(0.0), 2), "the end is no stall");
    }

    #[test]
    fn it_does_not_stall_while_there_is_enough() {
        let mut playback = Playback::new(s(10.0), 1);
        for second in 0..10 {
            playback.arrived(s(f64::from(second) * 0.9), 0, s(f64::from(second + 1)));
        }
        assert!(playback.stalls().is_empty());
        assert!(playback.is_over(s(10.0)));
    }
}
