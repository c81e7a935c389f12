use alloc::boxed::Box;
use core::{net::SocketAddr, time::Duration};

use ppsp_core::{ChunkRange, Instant, RangeSet};

use super::{PeerKey, announce::Reminder, download::Download, live::Follower, pex::Pex, upload::Upload};
use crate::wire::{ChannelId, MessageType, SupportedMessages};

/// A channel: the conversation with one peer in one swarm (RFC 7574 §3.11).
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) key: PeerKey,
    /// Slot of its swarm.
    pub(super) swarm: usize,
    pub(super) remote: SocketAddr,
    /// We opened it.
    pub(super) outbound: bool,
    /// What the peer puts before its datagrams to us.
    pub(super) id: ChannelId,
    /// What we put before ours to it; `NONE` until it has answered.
    pub(super) their_id: ChannelId,
    pub(super) phase: Phase,
    /// The peer does not know the options 8 and 9: it speaks a draft of the protocol, as libswift does.
    pub(super) draft: bool,
    /// What the peer understands (RFC 7574 §7.10).
    pub(super) supported: SupportedMessages,

    /// A datagram came since the handshake was complete.
    pub(super) confirmed: bool,
    /// When the last datagram came.
    pub(super) heard: Instant,
    /// When the last datagram went.
    pub(super) sent: Instant,
    /// Datagrams sent since the last one came.
    pub(super) unanswered: u32,
    /// A datagram is due even if there is nothing to say.
    pub(super) must_send: bool,
    /// It stands in the ready queue.
    pub(super) in_ready: bool,
    /// Since when neither side has asked the other for anything.
    pub(super) idle_since: Instant,

    /// What the peer holds, by its HAVEs and ACKs.
    pub(super) have: RangeSet,
    /// In a live swarm.
    pub(super) follower: Option<Box<Follower>>,
    /// What we hold and have not told it yet.
    pub(super) announce: RangeSet,
    pub(super) reminder: Reminder,
    pub(super) down: Download,
    pub(super) up: Upload,
    pub(super) pex: Pex,
}

/// How far the handshake is (RFC 7574 §3.1.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// We sent the first datagram and wait for the second.
    Opening { since: Instant, tries: u32, resend_at: Instant },
    /// We sent the second datagram and wait for the third, which proves the peer's address. Until then we may send as
    /// many bytes as came.
    HalfOpen { since: Instant, allowance: usize },
    /// The peer's address is proven.
    Up,
}

impl Channel {
    pub(super) fn is_up(&self) -> bool {
        self.phase == Phase::Up
    }

    pub(super) fn is_half_open(&self) -> bool {
        matches!(self.phase, Phase::HalfOpen { .. })
    }

    /// May this message be sent to the peer?
    pub(super) fn understands(&self, message: MessageType) -> bool {
        self.supported.contains(message)
    }

    /// Is there anything to say beside hashes and chunks?
    pub(super) fn has_control(&self) -> bool {
        self.must_send
            || self.up.tell
            || self.pex.is_due()
            || !self.announce.is_empty()
            || !self.down.acks.is_empty()
            || !self.down.to_request.is_empty()
            || !self.down.to_cancel.is_empty()
    }

    /// In a live swarm: does it take from us and give to nobody, as far as can be seen?
    pub(super) fn only_takes(&self) -> bool {
        self.follower.as_ref().is_some_and(|follower| follower.only_takes())
    }

    /// Does the peer hold all of `chunks` chunks?
    pub(super) fn is_complete(&self, chunks: Option<u64>) -> bool {
        chunks.and_then(|n| ChunkRange::with_len(0, n)).is_some_and(|all| self.have.covers(all))
    }

    /// Gives back the memory of what there is nothing in, once the channel has been idle for a while: there may be
    /// thousands of its kind.
    pub(super) fn rest(&mut self, now: Instant) {
        const IDLE: Duration = Duration::from_secs(5);
        if now.saturating_since(self.idle_since) < IDLE {
            return;
        }
        let (down, up) = (&mut self.down, &mut self.up);
        down.asked.rest();
        up.sent.rest();
        for set in [
            &mut self.have,
            &mut self.announce,
            &mut down.to_cancel,
            &mut down.given_up,
            &mut up.queued,
            &mut up.presumed_lost,
        ] {
            if set.is_empty() {
                set.clear();
            }
        }
        for queue in [&mut down.to_request, &mut up.queue] {
            queue.shrink_to_fit();
        }
        down.acks.shrink_to_fit();
        down.claims.shrink_to_fit();
        up.ahead.shrink_to_fit();
    }

    /// When something is due that no datagram brings about.
    pub(super) fn deadline(&self, keep_alive: Duration, idle_timeout: Duration, half_open: Duration) -> Instant {
        match self.phase {
            Phase::Opening { resend_at, .. } => resend_at,
            Phase::HalfOpen { since, .. } => since + half_open,
            Phase::Up => {
                let mut at = (self.sent + keep_alive).min(self.dead_at(idle_timeout, keep_alive));
                for due in [
                    self.down.deadline(),
                    self.up.deadline(),
                    self.pex.deadline(),
                    self.reminder.deadline(),
                    self.forgotten_at(),
                ]
                .into_iter()
                .flatten()
                {
                    at = at.min(due);
                }
                at
            }
        }
    }

    /// RFC 7574 §3.12: dead after three minutes without a packet, if at least three datagrams were sent meanwhile.
    fn dead_at(&self, idle_timeout: Duration, keep_alive: Duration) -> Instant {
        let silence = self.heard + idle_timeout;
        if self.unanswered >= 3 { silence } else { silence.max(self.sent + keep_alive) }
    }

    /// When a peer that does not react seems to have forgotten the channel that we opened to it. Where nothing came
    /// since its answer, it may have forgotten it before the third datagram came.
    fn forgotten_at(&self) -> Option<Instant> {
        let (datagrams, silence) = if self.confirmed { (3, 10) } else { (2, 3) };
        let asked = self.outbound && !self.down.asked.is_empty() && self.unanswered >= datagrams;
        asked.then(|| self.heard + Duration::from_secs(silence))
    }

    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        self.forgotten_at().is_some_and(|at| at <= now)
    }

    pub(super) fn is_dead(&self, now: Instant, idle_timeout: Duration) -> bool {
        self.unanswered >= 3 && now.saturating_since(self.heard) >= idle_timeout
    }
}
