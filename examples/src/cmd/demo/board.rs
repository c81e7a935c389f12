//! A line for each process: in its place on a terminal, else now and then.

use std::{
    cell::Cell,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::output::{Output, on_terminal};

/// Between two rounds of lines that do not stay in their place.
const PLAIN_EVERY: Duration = Duration::from_secs(5);
/// The same for programs.
const JSON_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Board {
    all: MultiProgress,
    bars: Vec<ProgressBar>,
    /// Lines stay in their place.
    stays: bool,
    every: Duration,
    last: Cell<Instant>,
    begun: Instant,
}

impl Board {
    pub(super) fn new(out: &Output) -> Self {
        let stays = on_terminal() && out.talks();
        let target = if stays { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let every = if out.is_json() { JSON_EVERY } else { PLAIN_EVERY };
        let (all, now) = (MultiProgress::with_draw_target(target), Instant::now());
        Self { all, bars: Vec::new(), stays, every, last: Cell::new(now), begun: now }
    }

    pub(super) fn add(&mut self, name: &str) {
        let style = ProgressStyle::with_template("{prefix:12.bold}  {wide_msg}");
        let bar = self.all.add(ProgressBar::new_spinner());
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_prefix(name.to_owned());
        self.bars.push(bar);
    }

    pub(super) fn draw(&self, number: usize, line: &str) {
        if let Some(bar) = self.bars.get(number).filter(|_| self.stays) {
            bar.set_message(line.to_owned());
        }
    }

    /// Is it time for lines that do not stay?
    pub(super) fn is_due(&self) -> bool {
        let due = !self.stays && self.last.get().elapsed() >= self.every;
        if due {
            self.last.set(Instant::now());
        }
        due
    }

    /// One of those lines.
    pub(super) fn tell(&self, out: &Output, name: &str, line: &str) {
        out.say(format_args!("{:4.0} s  {name:12}  {line}", self.begun.elapsed().as_secs_f64()));
    }

    /// A sentence above the lines.
    pub(super) fn say(&self, out: &Output, text: &str) {
        self.all.suspend(|| out.say(text));
    }

    pub(super) fn clear(&mut self) {
        for bar in self.bars.drain(..) {
            bar.finish_and_clear();
        }
        _ = self.all.clear();
        self.stays = false;
    }
}
