//! What readers wait for: it is asked for first, room is made for it, and it is not left with a peer that is late.

use alloc::vec::Vec;
use core::time::Duration;

use ppsp_core::{ChunkId, ChunkRange, Instant, RangeSet};

use super::{
    Endpoint,
    channel::Channel,
    download::{context, request, take_back},
    timers::Timer,
};
use crate::wire::MessageType;

/// What is wanted, and what of it somebody waits for.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// Each begins at the chunk that its reader needs next.
    list: Vec<ChunkRange>,
    /// As they were when the way was last cleared for them.
    settled: Vec<ChunkRange>,
    /// What the embedder wants beside them; `None`: everything.
    named: Option<RangeSet>,
    /// Of a live stream, what there is of it.
    bound: Option<Option<ChunkRange>>,
    /// All of it together.
    wanted: Option<RangeSet>,
}

/// What the embedder changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Change {
    /// Readers moved on over what is held: there may be more to ask for.
    Moved,
    /// Anything else.
    Turned,
}

impl Windows {
    /// What to fetch, but for the windows.
    pub(super) fn want(&mut self, ranges: Option<&[ChunkRange]>) {
        self.named = ranges.map(|ranges| ranges.iter().copied().collect());
        self.join();
    }

    /// The windows are these; `None`: as they were.
    pub(super) fn set(&mut self, windows: &[ChunkRange], held: &RangeSet) -> Option<Change> {
        if windows == self.list {
            return None;
        }
        // Who watches live goes on without what did not come in time.
        let live = self.bound.is_some();
        let within = |old: ChunkRange, new: ChunkRange| {
            old.contains(new.first().saturating_sub(1)) || old.first() == new.first()
        };
        let on = |(&old, &new): (&ChunkRange, &ChunkRange)| {
            (begins_in(old, new, held) || (live && within(old, new))) && new.last() >= old.last()
        };
        let moved = windows.len() == self.list.len() && self.list.iter().zip(windows).all(on);
        if moved && self.settled == self.list {
            self.settled.clear();
            self.settled.extend_from_slice(windows);
        }
        self.list.clear();
        self.list.extend_from_slice(windows);
        self.join();
        Some(if moved { Change::Moved } else { Change::Turned })
    }

    /// There is nothing but this, whatever is wished for.
    pub(super) fn bound(&mut self, all: Option<ChunkRange>) {
        self.bound = Some(all);
        self.join();
    }

    /// What to fetch; `None`: everything.
    pub(super) fn wanted(&self) -> Option<&RangeSet> {
        self.wanted.as_ref()
    }

    /// Does nobody read?
    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Windows that began anew since this was last asked.
    fn settle(&mut self, held: &RangeSet) -> Vec<ChunkRange> {
        let settled = core::mem::take(&mut self.settled);
        let anew = |new: &&ChunkRange| !settled.iter().any(|&old| begins_in(old, **new, held));
        let begun = self.list.iter().filter(anew).copied().collect();
        self.settled = settled;
        self.settled.clone_from(&self.list);
        begun
    }

    fn join(&mut self) {
        self.wanted.clone_from(&self.named);
        if let Some(wanted) = &mut self.wanted {
            wanted.extend(self.list.iter().copied());
        }
        if let Some(bound) = self.bound {
            let bound: RangeSet = bound.into_iter().collect();
            match &mut self.wanted {
                Some(wanted) => wanted.intersect_with(&bound),
                None => self.wanted = Some(bound),
            }
        }
    }
}

/// Did the reader of one window get to the beginning of another by reading on?
fn begins_in(old: ChunkRange, new: ChunkRange, held: &RangeSet) -> bool {
    match new.first().checked_sub(1) {
        Some(read) if new.first() > old.first() => {
            read <= old.last() && ChunkRange::new(old.first(), read).is_some_and(|read| held.covers(read))
        }
        _ => new.first() == old.first(),
    }
}

/// How often to look whether what readers need next is late.
const PERIOD: Duration = Duration::from_millis(50);
/// What readers will need within this time, at the rate at which the content comes, is looked after.
const SOON: Duration = Duration::from_secs(2);
/// Chunks under way that are looked at for each window.
const LOOK_AT: usize = 32;

impl Endpoint {
    /// The windows or the wishes are others: what nobody wants any more is not asked for any more.
    pub(super) fn withdraw_unwanted(&mut self, slot: usize) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(swarm) = swarms.get_mut(slot) else { return };
        let state = &mut swarm.state;
        let Some(wanted) = state.windows.wanted() else { return };
        // Beyond the end of a live stream nothing is wanted: what was asked for there is to show where the end is.
        let end = state.integrity.live().map_or(u64::MAX, |live| live.verifier.end());
        let asked = ChunkRange::with_len(0, end).into_iter().flat_map(|all| state.asked_of.iter(all));
        let unwanted: Vec<_> = asked.filter(|&(chunk, _)| !wanted.contains(chunk)).collect();
        for (chunk, owner) in unwanted {
            if let Some(channel) = channels.get_mut(owner as usize) {
                take_back(channel, state, chunk, &mut shared.requested);
                shared.wake(owner as usize, channel);
            }
            swarm.picker.on_lapsed(ChunkRange::single(chunk));
        }
    }

    /// Readers are where nobody was: peers that can give what they need now are not kept busy with anything else.
    pub(super) fn clear_the_way(&mut self, now: Instant, slot: usize) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(swarm) = swarms.get_mut(slot) else { return };
        let state = &mut swarm.state;
        let begun = state.windows.settle(&state.held);
        if begun.is_empty() {
            return;
        }
        let max = (shared.config.max_requested_per_peer / state.metadata.chunk_size as usize) as u64;
        for i in state.channels.clone() {
            let Some(channel) = channels.get(i).filter(|channel| can_ask(channel)) else { continue };
            let cx = context(now, &mut shared.rng, channel, state, &|_| 0);
            if !begun.iter().any(|window| cx.next(window.first(), window.last()).is_some()) {
                continue;
            }
            let near = channel.down.window(now, state.metadata.chunk_size, max);
            let list = &state.windows.list;
            let needed = |chunk| list.iter().any(|w| w.contains(chunk) && chunk - w.first() < near);
            let mut in_the_way = Vec::new();
            channel.down.asked.each(|entry| {
                if !needed(entry.chunk) {
                    in_the_way.push(entry.chunk);
                }
            });
            let Some(channel) = channels.get_mut(i) else { continue };
            for chunk in in_the_way {
                take_back(channel, state, chunk, &mut shared.requested);
                swarm.picker.on_lapsed(ChunkRange::single(chunk));
            }
            if channel.down.asked.is_empty() {
                channel.down.begin_anew(now);
            }
        }
    }

    /// What readers need next may be under way: looks after it from now on.
    pub(super) fn watch(&mut self, now: Instant, slot: usize) {
        let Some(swarm) = self.swarms.get_mut(slot) else { return };
        let state = &mut swarm.state;
        if state.hurry_at.is_none() && !state.windows.is_empty() && !state.asked_of.is_empty() {
            state.hurry_at = Some(now + PERIOD);
            self.shared.timers.set_by(Timer::Swarm(slot), now + PERIOD);
        }
    }

    /// Asks for what readers need soon, and a peer will be late with, of the one that will have it here first.
    ///
    /// RFC 7574 §3.8: when urgent data is asked of another peer, the former SHOULD be sent a CANCEL.
    pub(super) fn hurry(&mut self, now: Instant, slot: usize) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(swarm) = swarms.get_mut(slot) else { return };
        let state = &mut swarm.state;
        let idle = state.windows.is_empty() || state.asked_of.is_empty();
        state.hurry_at = (!idle).then(|| now + PERIOD);
        if idle {
            return;
        }
        // As if readers were as fast as the content comes: those who are not need it later.
        let pace = Pace { rate: state.meter.rate(now), chunk: state.metadata.chunk_size.into() };
        let soon = pace.chunks(SOON).max(LOOK_AT as u64);
        let mut under_way: Vec<(ChunkId, usize, Duration)> = Vec::new();
        for &window in &state.windows.list {
            let near = ChunkRange::with_len(window.first(), soon).and_then(|near| near.intersection(window));
            let asked = near.into_iter().flat_map(|near| state.asked_of.iter(near)).take(LOOK_AT);
            under_way.extend(asked.map(|(chunk, owner)| (chunk, owner as usize, pace.time(chunk - window.first()))));
        }
        for (chunk, owner, needed) in under_way {
            let Some(other) = channels.get(owner) else { continue };
            let Some(since) = other.down.asked.get(chunk).map(|entry| entry.since) else { continue };
            let left = other.down.time_to_come(now, chunk, since);
            // Who was asked only now has hardly read it. What is taken away again and again never comes. But the peer has a hand in
            // what its round-trip time seems to be.
            let round_trip = other.down.rtt.unwrap_or_default().min(PERIOD * 4);
            let only_now = now.saturating_since(since) < round_trip * 2 + PERIOD * 2;
            if left.is_some_and(|left| only_now || left < needed + PERIOD * 4) {
                continue;
            }
            let able = state.channels.iter().filter_map(|&i| Some((i, channels.get(i)?))).filter(|&(i, channel)| {
                i != owner && can_ask(channel) && !channel.down.is_doubtful() && channel.have.contains(chunk)
            });
            let soonest = able.map(|(i, channel)| (channel.down.time_to_answer(now), i)).min();
            let soonest = soonest.filter(|&(time, _)| left.is_none_or(|left| time * 2 + PERIOD < left));
            // Nobody else has it: it was lost on its way, if what was asked for later has come. In a live swarm others will
            // have it soon.
            let lost = left.is_none() && state.integrity.live().is_none();
            let again = || Some(owner).filter(|_| lost && other.down.has_sent_since(since));
            let Some(i) = soonest.map(|(_, i)| i).or_else(again) else { continue };
            if let Some(other) = channels.get_mut(owner) {
                take_back(other, state, chunk, &mut shared.requested);
                if left.is_none() && i != owner {
                    other.down.doubt(since);
                }
                shared.wake(owner, other);
            }
            if let Some(channel) = channels.get_mut(i) {
                request(now, i, channel, state, ChunkRange::single(chunk), &mut shared.requested);
                shared.wake(i, channel);
            }
            shared.stats.requests_lapsed += 1;
        }
    }
}

/// May a peer be asked for something?
fn can_ask(channel: &Channel) -> bool {
    channel.is_up() && !channel.down.choked && channel.understands(MessageType::Request)
}

/// How fast content comes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// Bytes a second.
    pub(super) rate: u64,
    /// Bytes of a chunk.
    pub(super) chunk: u64,
}

impl Pace {
    /// The time in which so many chunks come; none where nothing does, for then all of it is late.
    fn time(self, chunks: u64) -> Duration {
        let bytes = u128::from(chunks) * u128::from(self.chunk);
        let micros = (bytes * 1_000_000).checked_div(self.rate.into()).unwrap_or(0);
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The chunks that come in a time.
    pub(super) fn chunks(self, time: Duration) -> u64 {
        let bytes = u128::from(self.rate) * time.as_micros() / 1_000_000;
        u64::try_from(bytes / u128::from(self.chunk.max(1))).unwrap_or(u64::MAX)
    }
}
