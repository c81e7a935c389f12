//! Chunks of a live stream for peers that have not asked for them (RFC 7574 §3.7: a peer receiving REQUESTs also MAY send
//! some other chunks).
//!
//! Between the HAVE of a new chunk and its first copy lie a round trip and whatever the request waits for; and each viewer
//! sees its own lack alone, so that many ask the source for the same and nobody for the rest. What nobody has yet goes to
//! some peer at once, each piece to another one: then all viewers have something to give, whenever they came.

use alloc::boxed::Box;
use core::time::Duration;

use ppsp_core::{ChunkRange, Instant, RangeSet};

use super::{Endpoint, channel::Channel, download::Download, live::Follower};
use crate::{
    policy::{PIECE, below},
    wire::MessageType,
};

/// Who waits for so many chunks is pushed no more.
const ENOUGH: u64 = 32;
/// Viewers of a live stream are never silent for so long, unless they left without a word.
const SILENCE: Duration = Duration::from_secs(2);
/// One of so many pieces goes to anybody: those who only take may be mistaken for it.
const ANYBODY: u64 = 8;
/// Chunks that a peer may send unasked without being of use, beside as many as are of use (RFC 7574 §12.6.3, threat
/// DATA.2).
const UNASKED: u64 = 64;

impl Endpoint {
    /// What has just come goes on to somebody before it is asked for, where there is upload to spare: nobody in the swarm waits
    /// for anything from here, and the uplink is not known to have been full.
    pub(super) fn pass_on(&mut self, now: Instant, slot: usize, new: &RangeSet) {
        let Some(swarm) = self.swarms.get(slot) else { return };
        let Some(live) = swarm.state.integrity.live().filter(|live| !live.is_source) else { return };
        let heard = |channel: &Channel| now.saturating_since(channel.heard) < SILENCE;
        let serves =
            |channel: &Channel| heard(channel) && (!channel.up.queued.is_empty() || !channel.up.sent.is_empty());
        let busy = || swarm.state.channels.iter().filter_map(|&i| self.channels.get(i)).any(serves);
        if self.shared.uplink.rate().is_some() || !self.shared.throttled.is_empty() || busy() {
            return;
        }
        // Who came later or watches further behind wants none of what is older.
        let newest = live.verifier.rightmost().map(|munro| munro.node.range());
        let newest = newest.and_then(|last| ChunkRange::new(last.first().saturating_sub(last.len()), last.last()));
        let mut new = new.clone();
        new.intersect_with(&newest.into_iter().collect());
        self.push(now, slot, &new);
    }

    /// Sends each piece of some chunks that are new to one peer: the one that waits for least, for its way is free. Of those
    /// that have something from others, if there are any: what is with the rest is lost to all but them.
    ///
    /// Whether the peer is choked does not matter: that is about what it asks for (§3.9).
    pub(super) fn push(&mut self, now: Instant, slot: usize, new: &RangeSet) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(swarm) = swarms.get(slot) else { return };
        let max = shared.config.max_queued_requests;
        for piece in new.runs().flat_map(pieces) {
            let members = swarm.state.channels.iter().filter_map(|&i| Some((i, channels.get(i)?)));
            let fit = members.filter(|(_, channel)| may_be_pushed(now, channel, piece));
            let waits = |channel: &Channel| channel.up.queued.len() + channel.up.sent.len() as u64;
            let anybody = below(&mut shared.rng, ANYBODY) == 0;
            let key = |c: &Channel| (!anybody && c.only_takes(), waits(c));
            let least = fit.min_by_key(|&(_, channel)| (key(channel), below(&mut shared.rng, u64::MAX)));
            let Some(i) = least.map(|(i, _)| i) else { continue };
            let Some(channel) = channels.get_mut(i) else { continue };
            if channel.up.enqueue(now, piece, max) {
                shared.wake(i, channel);
            }
        }
    }
}

/// Pieces of a run as viewers ask for them: neighbours go to the same peer.
fn pieces(run: ChunkRange) -> impl Iterator<Item = ChunkRange> {
    let mut next = Some(run.first());
    core::iter::from_fn(move || {
        let first = next?;
        let piece = ChunkRange::new(first, run.last().min(first | (PIECE - 1)))?;
        next = piece.last().checked_add(1);
        Some(piece)
    })
}

fn may_be_pushed(now: Instant, channel: &Channel, piece: ChunkRange) -> bool {
    channel.is_up()
        && now.saturating_since(channel.heard) < SILENCE
        && !channel.draft
        && channel.understands(MessageType::Data)
        && !channel.have.intersects(piece)
        && !channel.up.queued.intersects(piece)
        && channel.up.queued.len() < ENOUGH
}

impl Channel {
    /// The peer is one of a live swarm, where it may send what it was not asked for.
    pub(super) fn follow(&mut self, follower: Option<Box<Follower>>) {
        if follower.is_some() {
            self.down.credit = self.down.credit.max(UNASKED);
        }
        self.follower = follower;
    }
}

impl Download {
    /// A chunk that nobody asked for came and was of use.
    pub(super) fn on_pushed(&mut self) {
        if self.credit < UNASKED {
            self.credit += 1;
        }
    }
}
