//! Telling peers what is held (RFC 7574 §3.2).
//!
//! Nobody acknowledges a HAVE. Each names the biggest interval around it, so that later ones make up for one that got
//! lost (§4.3.1); but the last has none after it. So what a peer does not ask for though it lacks it is told again.

use core::time::Duration;

use ppsp_core::{ChunkId, ChunkRange, Instant, RangeSet};

use super::{Endpoint, channel::Channel, swarm::SwarmState, timers::Timer};
use crate::{
    policy::{PIECE, below},
    wire::MessageType,
};

/// First pause before HAVEs are said again; it doubles up to the keep-alive.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest wait of a HAVE for company.
const LONGEST_WAIT: Duration = Duration::from_millis(500);
/// The same where whole blocks are told.
const LONGEST_WAIT_BLOCKS: Duration = Duration::from_millis(200);
/// What is held back for the rest of its block is looked at so often, and told where it was held back the last time already.
const LONGEST_HOLD: Duration = Duration::from_secs(1);
/// Intervals that are told again at a time: about a datagram.
const AT_A_TIME: usize = 64;

/// When to tell a peer again.
#[derive(Debug, Default)]
pub(super) struct Reminder {
    at: Option<Instant>,
    times: u32,
}

impl Reminder {
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.at
    }

    /// The peer was told something, or showed that it had heard.
    pub(super) fn begin(&mut self, now: Instant) {
        *self = Self { at: Some(now + FIRST_PAUSE), times: 0 };
    }

    fn next(&mut self, now: Instant, longest: Duration) {
        self.times = (self.times + 1).min(16);
        self.at = Some(now + (FIRST_PAUSE * (1 << self.times)).min(longest.max(FIRST_PAUSE)));
    }
}

impl Endpoint {
    /// HAVEs of what has come since the last ones are due.
    pub(super) fn announce(&mut self, now: Instant, slot: usize) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(swarm) = swarms.get_mut(slot) else { return };
        let state = &mut swarm.state;
        state.announce_at = None;
        let mut fresh = core::mem::take(&mut state.fresh);
        state.hold_back_begun(now, &mut fresh);
        if !state.fresh.is_empty() {
            let at = now + state.have_delay(now, shared.config.have_delay);
            state.announce_at = Some(at);
            shared.timers.set_by(Timer::Swarm(slot), at);
        }
        if fresh.is_empty() && !state.complete {
            return;
        }
        let chunks = state.chunks();
        for &i in &state.channels {
            let Some(channel) = channels.get_mut(i).filter(|c| c.is_up()) else { continue };
            // RFC 7574 §3.2: no HAVE to peers that have the complete content, but a last one, by which both know that they
            // do not need each other.
            if channel.is_complete(chunks) && !state.complete {
                continue;
            }
            channel.announce.union_with(&fresh);
            // Nor of what the peer has itself.
            if channel.is_told_little(state) {
                channel.announce.subtract(&channel.have);
            }
            if !channel.announce.is_empty() {
                channel.reminder.begin(now);
                shared.wake(i, channel);
            }
        }
        self.pass_on(now, slot, &fresh);
    }

    /// The timer of a channel went off: tells the peer again what it lacks and does not ask for.
    pub(super) fn check_announcements(&mut self, now: Instant, i: usize) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(channel) = channels.get_mut(i).filter(|c| c.reminder.at.is_some_and(|at| at <= now)) else { return };
        let Some(swarm) = swarms.get(channel.swarm) else { return };
        channel.reminder.at = None;
        // Who is choked has reason not to ask; who asks has heard.
        if !channel.up.queued.is_empty() {
            return channel.reminder.begin(now);
        }
        let from = below(&mut shared.rng, swarm.state.chunks().unwrap_or(0));
        let lacking = swarm.state.runs_beyond(&channel.have, from);
        let before = channel.announce.is_empty();
        channel.announce.extend(lacking.take(AT_A_TIME));
        if channel.announce.is_empty() {
            return;
        }
        channel.reminder.next(now, shared.config.keep_alive);
        if before {
            shared.wake(i, channel);
        }
    }
}

impl Channel {
    /// Is the peer told nothing of what it has itself? It will not ask for that, and of what came from it an ACK tells. In a
    /// live swarm it goes by HAVEs which munros it need not send (RFC 7574 §6.1.2.4).
    pub(super) fn is_told_little(&self, state: &SwarmState) -> bool {
        !state.complete && state.integrity.live().is_none() && self.understands(MessageType::Ack)
    }
}

impl SwarmState {
    /// How long HAVEs wait for company: as long as it takes that they are a small part of what goes over the wire,
    /// however many peers there are to tell.
    pub(super) fn have_delay(&self, now: Instant, least: Duration) -> Duration {
        // Bytes of a HAVE on its own, with what the network adds, as times the part that it may be. Of whole blocks there are
        // fewer, and those who watch the same wait for them.
        let (cost, longest) = if self.tells_blocks() { (64 * 8, LONGEST_WAIT_BLOCKS) } else { (64 * 16, LONGEST_WAIT) };
        let micros = (self.channels.len() as u64 * cost * 1_000_000).checked_div(self.meter.rate(now)).unwrap_or(0);
        least.max(Duration::from_micros(micros).min(longest))
    }

    /// Is content watched here that others watch, too? They ask for it by blocks. In a live swarm the newest must be known at
    /// once.
    fn tells_blocks(&self) -> bool {
        !self.complete && self.integrity.live().is_none() && !self.windows.is_empty()
    }

    /// Of what is to be told, blocks whose rest is on its way wait for it, for a second or two: one HAVE names all of it then.
    fn hold_back_begun(&mut self, now: Instant, told: &mut RangeSet) {
        if !self.tells_blocks() {
            return;
        }
        // Nobody knows how long a slow peer takes.
        let look = now.saturating_since(self.held_back.0) >= LONGEST_HOLD;
        let waited = |block| look && self.held_back.1.intersects(block);
        let mut at = told.first();
        while let Some(run) = at.and_then(|at| told.next_set(at)) {
            for block in [run.first(), run.last()].map(block_of) {
                if !self.held.covers(block) && self.busy.intersects(block) && !waited(block) {
                    self.fresh.extend(run.intersection(block));
                }
            }
            at = run.last().checked_add(1);
        }
        if look {
            self.held_back = (now, self.fresh.clone());
        }
        told.subtract(&self.fresh);
    }

    /// Something that is held under the lowest node above a chunk under which there is anything.
    pub(super) fn held_near(&self, chunk: ChunkId) -> Option<ChunkId> {
        let top = self.integrity.top_of(chunk)?;
        let mut node = ppsp_core::Bin::leaf(chunk)?;
        while node != top {
            node = node.parent()?;
            let range = node.range();
            if let Some(run) = self.held.next_set(range.first()).filter(|run| run.first() <= range.last()) {
                return Some(run.first());
            }
        }
        None
    }

    /// The runs of what we hold and a peer does not: those from a chunk on, then the others.
    pub(super) fn runs_beyond<'a>(
        &'a self,
        have: &'a RangeSet,
        from: ChunkId,
    ) -> impl Iterator<Item = ChunkRange> + use<'a> {
        let runs = move |first: ChunkId, last: ChunkId| {
            let mut at = Some(first).filter(|&first| first <= last);
            core::iter::from_fn(move || {
                loop {
                    let held = self.held.next_set(at?).filter(|run| run.first() <= last)?;
                    let lacks = have.next_gap(held.first())?;
                    if let Some(run) = held.intersection(lacks) {
                        at = run.last().checked_add(1);
                        return ChunkRange::new(run.first(), run.last().min(last));
                    }
                    at = Some(lacks.first());
                }
            })
        };
        runs(from, ChunkId::MAX).chain(from.checked_sub(1).into_iter().flat_map(move |last| runs(0, last)))
    }
}

/// What peers ask for together.
fn block_of(chunk: ChunkId) -> ChunkRange {
    let first = chunk - chunk % PIECE;
    ChunkRange::with_len(first, PIECE).unwrap_or(ChunkRange::single(chunk))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_up_to_the_keep_alive() {
        let mut reminder = Reminder::default();
        reminder.begin(Instant::from_micros(0));
        let mut now = Instant::from_micros(0);
        let mut pauses = std::vec::Vec::new();
        for _ in 0..7 {
            let at = reminder.deadline().unwrap();
            pauses.push(at.saturating_since(now).as_secs());
            now = at;
            reminder.next(now, Duration::from_secs(25));
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 25, 25]);
    }
}
