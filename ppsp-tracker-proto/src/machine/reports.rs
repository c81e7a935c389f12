//! What operators should know of what peers report (RFC 7846 §6.4: to allow checking for inconsistencies between the upload and
//! download report).

use alloc::{boxed::Box, collections::VecDeque};
use core::time::Duration;

use ppsp_core::{Identifier, Instant};

/// A report that cannot be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// When it came.
    pub at: Instant,
    /// Whose it is.
    pub peer: Identifier,
    /// The swarm that it is about.
    pub swarm: Box<str>,
    /// What is wrong with it.
    pub why: Inconsistency,
}

/// What is wrong with a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Inconsistency {
    /// A counter is less than it was.
    RunsBackwards,
    /// More bytes than any peer can move in the time since the report before.
    TooFast,
    /// The swarm received more than was sent in it.
    Unexplained,
}

impl Inconsistency {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RunsBackwards => "runs-backwards",
            Self::TooFast => "too-fast",
            Self::Unexplained => "unexplained",
        }
    }
}

/// The last flags, some hundreds of them.
#[derive(Clone, Debug, Default)]
pub struct Flags {
    last: VecDeque<Flag>,
    count: u64,
}

impl Flags {
    /// Adds one; the oldest makes room.
    pub fn raise(&mut self, flag: Flag) {
        self.count += 1;
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(flag);
    }

    /// All there have been.
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The last ones, the oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Flag> {
        self.last.iter()
    }
}

/// Does a step of a counter make sense? `since` is how long ago the step before was.
pub fn check_step(before: u64, after: u64, since: Duration) -> Result<u64, Inconsistency> {
    let step = after.checked_sub(before).ok_or(Inconsistency::RunsBackwards)?;
    let most = u128::from(FASTEST) * (since.as_millis() + 1000) / 1000;
    if u128::from(step) > most { Err(Inconsistency::TooFast) } else { Ok(step) }
}

/// Do the totals of a swarm explain each other? What is under way, and peers that left without a last word, need some room.
pub fn check_totals(uploaded: u64, downloaded: u64) -> Result<(), Inconsistency> {
    let explained = uploaded.saturating_add(uploaded / 4).saturating_add(ROOM);
    if downloaded > explained { Err(Inconsistency::Unexplained) } else { Ok(()) }
}

/// Flags that are kept; older ones make room.
const KEPT: usize = 256;
/// Bytes a second that no peer exceeds: 100 Gbit/s.
const FASTEST: u64 = 12_500_000_000;
/// Bytes that a swarm may have received beyond what is explained.
const ROOM: u64 = 64 << 20;
