//! The server's side of a channel: what the peer asked for, and how fast it gets it.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::time::Duration;

use ppsp_core::{Bin, ChunkId, ChunkRange, Instant, RangeSet, live::Munro};

use super::{
    Endpoint,
    channel::Channel,
    ledger::{Entry, Ledger},
    meter::{Bucket, Meter},
    order,
    path_mtu::{Carrier, PathMtu},
    swarm::SwarmState,
};
use crate::congestion::{Acked, Controller, OneWayDelay, RttEstimator};

/// What one peer asked for.
#[derive(Debug)]
pub(super) struct Upload {
    /// We do not serve the peer at present (RFC 7574 §3.9).
    pub(super) choked: bool,
    /// Since when that is so.
    pub(super) choked_since: Instant,
    /// A CHOKE or UNCHOKE is due.
    pub(super) tell: bool,
    /// In the order asked; what is no longer in `queued` is skipped.
    pub(super) queue: VecDeque<ChunkRange>,
    pub(super) queued: RangeSet,
    /// Something in `queue` may have left `queued`.
    stale: bool,
    /// The group that is being served: its first chunk, how many are done, how many there are.
    group: Option<(ChunkId, u8, u8)>,
    /// Hashes of the chunk next in turn that went ahead of it.
    pub(super) ahead: Vec<Bin>,
    /// Sent and not acknowledged.
    pub(super) sent: Ledger,
    pub(super) controller: Box<dyn Controller>,
    /// The controller is the one for what is being watched.
    pub(super) streams: bool,
    pub(super) rtt: RttEstimator,
    pub(super) path: PathMtu,
    /// Number of the datagram that is being written.
    pub(super) datagrams: u32,
    pub(super) pacer: Option<Bucket>,
    pub(super) meter: Meter,
    /// Bytes of content sent.
    pub(super) bytes: u64,
    /// When to go on, where the controller's pace says wait.
    pub(super) wake_at: Option<Instant>,
    /// The store is fetching the chunk next in turn.
    pub(super) parked: bool,
    /// It waits for the uplink or the upload limit.
    pub(super) throttled: bool,
    /// Most channels never send anything.
    sending: Option<Box<Sending>>,
    /// When something sent was last acknowledged.
    acked_at: Instant,
    reorder: u64,
    pub(super) presumed_lost: RangeSet,
    lossy_until: Instant,
    /// When the last loss was noticed. Only what was sent since vouches for the hashes that went with it or before it:
    /// what is under way since before that may have leaned on what was lost.
    vouching_since: Instant,
    /// The peer asked again for what was sent, and has acknowledged nothing since: who knows which hashes it has.
    in_doubt: bool,
    /// Chunks under way that were asked for again since something was acknowledged.
    asked_again: u32,
}

/// What an acknowledgement tells of all that it names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    /// When the newest of it was sent.
    pub(super) sent: Instant,
    pub(super) bytes: usize,
    /// How long it waited on its way.
    pub(super) queue: Option<Duration>,
}

/// What is known of a channel once something was sent.
#[derive(Debug)]
struct Sending {
    /// When it last began to wait for the uplink or the upload limit.
    held_back: Option<Instant>,
    one_way: OneWayDelay,
}

/// What has to be under way before a hash is taken for known.
#[derive(Clone, Copy, Debug)]
enum Confidence {
    Datagram,
    TwoDatagrams,
    /// Nothing but the datagram itself is enough.
    None,
}

impl Upload {
    /// One ACK names an interval, in which chunks stand that were sent long after others whose ACK is in the next
    /// datagram. What is lost is noticed by time in most cases.
    const REORDER: u64 = 64;
    const MAX_REORDER: u64 = 512;
    /// So few chunks that losing all that lean on one hash costs less than sending the hashes of each block twice.
    const FEW: u64 = 32;
    /// How long a loss makes hashes be sent twice.
    const LOSSY: Duration = Duration::from_secs(5);

    pub(super) fn new(now: Instant, controller: Box<dyn Controller>, streams: bool, path: PathMtu) -> Self {
        Self {
            choked: false,
            choked_since: now,
            tell: false,
            queue: VecDeque::new(),
            queued: RangeSet::new(),
            stale: false,
            group: None,
            ahead: Vec::new(),
            sent: Ledger::default(),
            controller,
            streams,
            rtt: RttEstimator::default(),
            path,
            datagrams: 0,
            pacer: None,
            meter: Meter::new(now),
            bytes: 0,
            wake_at: None,
            parked: false,
            throttled: false,
            sending: None,
            acked_at: now,
            reorder: Self::REORDER,
            presumed_lost: RangeSet::new(),
            lossy_until: now,
            vouching_since: now,
            in_doubt: false,
            asked_again: 0,
        }
    }

    /// Another controller has the say from now on. It begins anew; what is under way counts for its window.
    pub(super) fn set_controller(&mut self, controller: Box<dyn Controller>, streams: bool) {
        (self.controller, self.streams) = (controller, streams);
        self.pacer = None;
        self.wake_at = None;
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.overdue_at(), self.late_at(), self.wake_at].into_iter().flatten().min()
    }

    fn overdue_at(&self) -> Option<Instant> {
        let oldest = self.sent.oldest()?;
        // RFC 6298 §5.3: an acknowledgement of new data restarts the timer.
        Some(oldest.since.max(self.acked_at) + self.rtt.rto())
    }

    /// When the oldest chunk under way is taken for lost because any later one overtook it: where so many were lost
    /// that the window is full of them, no further ones come to overtake it. The wait grows as the path is seen to
    /// reorder (as in RFC 8985).
    fn late_at(&self) -> Option<Instant> {
        let oldest = self.sent.oldest().filter(|_| self.sent.is_overtaken())?;
        let srtt = self.rtt.srtt()?;
        let patience = srtt * u32::try_from(self.reorder.min(256)).unwrap_or(256) / 256;
        // A receiver that is busy answers in its own time, however near it is.
        let patience = patience.max(self.rtt.var().unwrap_or_default() * 4).max(Duration::from_millis(2));
        Some(oldest.since + srtt + patience)
    }

    /// A REQUEST came.
    pub(super) fn enqueue(&mut self, now: Instant, range: ChunkRange, max: usize) -> bool {
        if self.queue.len() >= max && core::mem::take(&mut self.stale) {
            // What was cancelled or sent takes no place.
            let queued = &self.queued;
            self.queue.retain(|&range| queued.intersects(range));
        }
        if self.queue.len() >= max || self.queued.parts() >= max.saturating_mul(4) {
            return false;
        }
        // To ask again and again for what is under way is work for us and none for the peer: so much until something is
        // acknowledged, and no more.
        if self.asked_again as usize > 4 * self.sent.len().max(256) {
            return false;
        }
        // What is asked for again was lost, unless it has only just been sent.
        let patience = self.rtt.srtt().unwrap_or(self.rtt.rto());
        let mut again = Vec::new();
        self.sent.each_in(range, |entry| again.push(*entry));
        self.asked_again = self.asked_again.saturating_add(u32::try_from(again.len()).unwrap_or(u32::MAX));
        self.queued.insert(range);
        for entry in again {
            if now.saturating_since(entry.since) < patience {
                self.queued.remove(ChunkRange::single(entry.chunk));
            } else {
                self.sent.forget(entry.chunk);
                self.in_doubt = true;
                self.on_loss(now, &entry);
            }
        }
        // What has just been sent takes no place.
        if self.queued.intersects(range) {
            self.queue.push_back(range);
        }
        true
    }

    /// Takes back what was asked for.
    pub(super) fn dequeue(&mut self, range: ChunkRange) -> bool {
        let removed = self.queued.remove(range);
        self.stale |= removed;
        removed
    }

    /// Forgets everything asked for.
    pub(super) fn clear(&mut self) {
        self.queue.clear();
        self.queued.clear();
        self.group = None;
        self.ahead.clear();
    }

    /// The chunk next in turn, of those held.
    pub(super) fn front(&mut self, held: &RangeSet, in_order: bool) -> Option<ChunkId> {
        loop {
            if let Some((base, k, size)) = self.group {
                let chunk = base + order::reversed(k.into(), size.into());
                if self.queued.contains(chunk) && held.contains(chunk) {
                    return Some(chunk);
                }
                self.group = Some((base, k + 1, size)).filter(|g| g.1 < size);
                continue;
            }
            let Some(&range) = self.queue.front() else {
                self.queued.clear();
                return None;
            };
            let next = self.queued.next_set(range.first()).filter(|r| r.first() <= range.last());
            let next = next.and_then(|r| held.next_set(r.first())).filter(|r| r.first() <= range.last());
            let Some(first) = next.map(ChunkRange::first) else {
                self.queue.pop_front();
                continue;
            };
            if !self.queued.contains(first) {
                self.trim(first);
                continue;
            }
            if let Some(size) = order::group(first, range.last()).filter(|_| !in_order) {
                self.group = Some((first, 0, size as u8));
                match first.checked_add(size) {
                    Some(rest) => self.trim(rest),
                    None => self.trim(ChunkId::MAX),
                }
                continue;
            }
            self.trim(first);
            return Some(first);
        }
    }

    /// Moves the start of the first range in the queue.
    fn trim(&mut self, first: ChunkId) {
        if let Some(front) = self.queue.front_mut() {
            match ChunkRange::new(first, front.last()) {
                Some(rest) => *front = rest,
                None => {
                    self.queue.pop_front();
                }
            }
        }
    }

    /// A chunk went out, with so many bytes around it and in the whole datagram.
    pub(super) fn on_sent(&mut self, now: Instant, chunk: ChunkId, datagram: usize, whole: usize) {
        self.dequeue(ChunkRange::single(chunk));
        self.ahead.clear();
        let carrier = Carrier { number: self.datagrams, len: u32::try_from(whole).unwrap_or(u32::MAX) };
        self.sent.push(chunk, now, datagram, carrier);
        // It is on its way once more, and that it arrives proves nothing about the first time.
        if self.presumed_lost.remove(ChunkRange::single(chunk)) {
            self.sent.mark_again();
        }
        if let Some(pacer) = &mut self.pacer {
            pacer.take(datagram as u64);
        }
    }

    /// A run of datagrams begins: looks up the pace.
    pub(super) fn begin_run(&mut self, now: Instant, datagram: usize) {
        let Some(rate) = self.controller.pacing_rate() else {
            self.pacer = None;
            return;
        };
        // Deep enough that runs of datagrams stay whole and timers of a millisecond keep the pace.
        let depth = (rate / 250).max((16 * datagram as u64).min((rate / 50).max(16 * 1452)));
        self.pacer.get_or_insert_with(|| Bucket::new(now, rate, depth)).set(now, rate, depth);
    }

    /// A run of datagrams went out: bytes in all, and bytes of content in them.
    pub(super) fn end_run(&mut self, now: Instant, bytes: usize, content: u64) {
        if content > 0 {
            self.controller.on_sent(now, bytes);
            self.meter.add(now, content);
            self.bytes += content;
        }
    }

    /// Bytes that congestion control lets be sent beside what is under way.
    pub(super) fn room(&self) -> usize {
        self.controller.window().saturating_sub(self.sent.bytes())
    }

    /// May a datagram of this length go now, as far as congestion control goes? `Err` says when to try again; `None`
    /// in it: after an acknowledgement.
    pub(super) fn may_send(&mut self, now: Instant, len: usize) -> Result<(), Option<Instant>> {
        if !self.sent.is_empty() && self.sent.bytes() + len > self.controller.window() {
            return Err(None);
        }
        let Some(pacer) = &mut self.pacer else { return Ok(()) };
        if pacer.has(now, 1) { Ok(()) } else { Err(Some(pacer.ready_at(now, pacer.depth() / 2))) }
    }

    /// How many datagrams that need a hash may be under way before it is taken for known. One, on a clean path (RFC
    /// 7574 §5.3: the sender MAY optimistically skip hashes sent in unacknowledged datagrams); two where datagrams get
    /// lost, as probes do, for the loss of one would take all chunks along that lean on it, which may be many; and before
    /// the first acknowledgement.
    ///
    /// None is enough where the peer asks again: every datagram then carries all that it may lack.
    fn confidence(&self, now: Instant, have: &RangeSet) -> Confidence {
        if self.in_doubt {
            Confidence::None
        } else if (now < self.lossy_until && self.queued.len() > Self::FEW) || have.is_empty() || self.path.is_probing()
        {
            Confidence::TwoDatagrams
        } else {
            Confidence::Datagram
        }
    }

    /// Is enough of a range under way to take the hash above it for known?
    fn is_on_its_way(&self, range: ChunkRange, confidence: Confidence) -> bool {
        match confidence {
            Confidence::None => false,
            Confidence::Datagram => self.sent.has_since(range, self.vouching_since),
            Confidence::TwoDatagrams => {
                self.sent.has_two_datagrams(range, self.vouching_since, |number| self.path.is_probe(number))
            }
        }
    }

    fn sending(&mut self) -> &mut Sending {
        self.sending.get_or_insert_with(|| Box::new(Sending { held_back: None, one_way: OneWayDelay::new() }))
    }

    /// It has to wait for the uplink or the upload limit. Returns whether it did not already.
    pub(super) fn hold_back(&mut self, now: Instant) -> bool {
        let begins = !core::mem::replace(&mut self.throttled, true);
        if begins {
            self.sending().held_back = Some(now);
        }
        begins
    }

    /// When it last began to wait for the uplink or the upload limit.
    pub(super) fn held_back(&self) -> Option<Instant> {
        self.sending.as_ref()?.held_back
    }

    /// Acknowledged chunks leave the ledger. `delay`: the one-way delay, where the message has one. Returns how many of the
    /// chunks came from us, and what is known of the way of those that were under way.
    pub(super) fn on_ack(&mut self, now: Instant, range: ChunkRange, delay: Option<u64>) -> (u64, Option<Arrived>) {
        let idle = self.queued.is_empty();
        let in_flight = self.sent.bytes();
        // What was taken for lost and is announced may have come from others since.
        let late = delay.map_or(0, |_| self.presumed_lost.count(range));
        let mut chunks = late;
        let mut bytes = 0;
        let mut newest: Option<Instant> = None;
        let mut newest_at_once: Option<Instant> = None;
        let path = &mut self.path;
        self.sent.arrive_range(range, |entry| {
            path.on_arrived(entry.carrier);
            chunks += 1;
            bytes += entry.bytes;
            newest = newest.max(Some(entry.since));
            newest_at_once = newest_at_once.max(Some(entry.since).filter(|_| !entry.again));
        });
        self.presumed_lost.remove(range);
        if late > 0 {
            self.reorder = (self.reorder * 2).min(Self::MAX_REORDER);
        }
        let Some(sent) = newest else { return (chunks, None) };
        self.acked_at = now;
        self.asked_again = 0;
        self.in_doubt = false;
        // RFC 6298 §3: of what was sent twice no round trip can be measured. Taken for that of the second time, it would be
        // a shorter path than there is, and all that is reckoned from it too small.
        let rtt = newest_at_once.map(|sent| now.saturating_since(sent));
        if let Some(rtt) = rtt {
            self.rtt.on_sample(now, rtt);
        }
        // Who waits for other channels' chunks learns nothing about its own path either.
        let longest = rtt.unwrap_or(self.rtt.rto());
        let sending = self.sending();
        let app_limited = idle || sending.held_back.is_some_and(|at| at >= sent);
        let queue = delay.map(|delay| sending.one_way.queue(now, delay, longest));
        let acked = Acked { sent, bytes, one_way_delay: delay, rtt, app_limited };
        self.controller.on_ack(now, &acked, in_flight);
        (chunks, Some(Arrived { sent, bytes, queue }))
    }

    /// Takes chunks that later ones overtook for lost. They are sent again when they are asked for again.
    pub(super) fn check_overtaken(&mut self, now: Instant) -> u64 {
        let mut lost = 0;
        loop {
            let late = self.late_at().is_some_and(|at| at <= now);
            let Some(entry) = self.sent.take_overtaken(if late { 0 } else { self.reorder }) else { break };
            self.on_loss(now, &entry);
            lost += 1;
        }
        lost
    }

    fn on_loss(&mut self, now: Instant, entry: &Entry) {
        if self.path.on_lost(now, entry.carrier) {
            self.controller.on_loss(now, entry.bytes, entry.since);
        }
        self.lossy_until = now + Self::LOSSY;
        // What went before the last loss was noticed does not vouch for anything any more.
        if entry.since >= self.vouching_since {
            self.vouching_since = now;
        }
        self.presume_lost(entry.chunk);
    }

    /// An acknowledgement may yet come.
    fn presume_lost(&mut self, chunk: ChunkId) {
        self.presumed_lost.insert(ChunkRange::single(chunk));
        if self.presumed_lost.parts() > 64 {
            self.presumed_lost.clear();
        }
    }

    /// The timer of the channel went off. Returns how many chunks were lost, and whether there may be something to do.
    pub(super) fn on_timer(&mut self, now: Instant) -> (u64, bool) {
        let mut act = false;
        if self.wake_at.is_some_and(|at| at <= now) {
            self.wake_at = None;
            act = true;
        }
        let mut lost = self.check_overtaken(now);
        act |= lost > 0;
        if self.overdue_at().is_some_and(|at| at <= now) {
            self.rtt.on_timeout();
            self.lossy_until = now + Self::LOSSY;
            self.controller.on_timeout(now);
            self.path.on_timeout(now);
            self.vouching_since = now;
            while let Some(entry) = self.sent.take_oldest() {
                self.path.on_lost(now, entry.carrier);
                self.presume_lost(entry.chunk);
                lost += 1;
            }
            act = true;
        }
        (lost, act)
    }

    /// The hashes that the peer misses for a chunk, the tallest first (RFC 7574 §5.4), pushed to `out`.
    ///
    /// RFC 7574 §5.3: who holds a chunk has had its uncles, and with them computed all nodes above it. So the climb
    /// from the chunk ends below the first node under which the peer holds something. It ends at the peak at the latest
    /// (§5.6.2: the peaks go first), for what lies above is known from the peaks. Chunks `beside` it in the same
    /// datagram come with their hashes or not at all.
    pub(super) fn missing_hashes(
        &self,
        now: Instant,
        chunk: ChunkId,
        have: &RangeSet,
        state: &SwarmState,
        beside: &Beside,
        out: &mut Vec<Bin>,
    ) {
        out.clear();
        let confidence = self.confidence(now, have);
        let (Some(mut node), Some(peak)) = (Bin::leaf(chunk), state.integrity.top_of(chunk)) else { return };
        while node != peak {
            let (Some(parent), Some(sibling)) = (node.parent(), node.sibling()) else { break };
            let range = parent.range();
            if beside.intersects(range) || self.is_on_its_way(range, confidence) || have.intersects(range) {
                break;
            }
            out.push(sibling);
            node = parent;
        }
        out.reverse();
        // RFC 7574 §5.6.2: all the peak hashes with the first DATA, unless the peer has acknowledged any chunk.
        let begun = |all| beside.intersects(all) || self.is_on_its_way(all, confidence);
        if let Some(all) = state.all().filter(|&all| have.is_empty() && !begun(all)) {
            let uncles = out.len();
            out.extend(ppsp_core::peaks(all.len()));
            out.rotate_left(uncles);
        }
        out.retain(|node| !self.ahead.contains(node));
    }

    /// The munro of a chunk, where the peer misses it.
    ///
    /// RFC 7574 §6.1.2.3: it MUST be sent unless the peer indicated that it has a chunk with the same munro; here, as
    /// other hashes (§5.3), not again while what went with it is under way. In Sign All each chunk has its own (§6.1.1).
    pub(super) fn missing_munro<'a>(
        &self,
        now: Instant,
        chunk: ChunkId,
        have: &RangeSet,
        state: &'a SwarmState,
        beside: &Beside,
    ) -> Option<&'a Munro> {
        let live = state.integrity.live()?;
        let munro = live.verifier.munro_of(chunk)?;
        let range = munro.node.range();
        let known = || {
            have.intersects(range)
                || beside.munro == Some(munro.node)
                || beside.intersects(range)
                || self.is_on_its_way(range, self.confidence(now, have))
        };
        let told = self.ahead.contains(&munro.node) || (!live.sign_all && known());
        (!told).then_some(munro)
    }
}

/// What is in the datagram that is being written.
#[derive(Debug, Default)]
pub(super) struct Beside {
    /// Chunks: numbers of blocks of 64, and a bit for each.
    chunks: Vec<(u64, u64)>,
    /// The last munro of the stream, told on the way (RFC 7574 §6.1.2.4).
    pub(super) munro: Option<Bin>,
}

impl Beside {
    pub(super) fn clear(&mut self) {
        self.chunks.clear();
        self.munro = None;
    }

    /// Is there no chunk in it?
    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(super) fn insert(&mut self, chunk: ChunkId) {
        let (block, bit) = (chunk / 64, 1 << (chunk % 64));
        match self.chunks.iter_mut().rev().find(|(known, _)| *known == block) {
            Some((_, bits)) => *bits |= bit,
            None => self.chunks.push((block, bit)),
        }
    }

    fn intersects(&self, range: ChunkRange) -> bool {
        let (first, last) = (range.first() / 64, range.last() / 64);
        self.chunks.iter().filter(|(block, _)| (first..=last).contains(block)).any(|&(block, bits)| {
            let from = if block == first { range.first() % 64 } else { 0 };
            let to = if block == last { range.last() % 64 } else { 63 };
            bits & (u64::MAX << from) & (u64::MAX >> (63 - to)) != 0
        })
    }
}

impl Endpoint {
    /// The peer holds chunks, as a HAVE or an ACK says.
    pub(super) fn on_holds(&mut self, i: usize, range: ChunkRange) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(channel) = channels.get_mut(i) else { return };
        let Some(swarm) = swarms.get_mut(channel.swarm) else { return };
        // RFC 7574 §4.2: "everything" is a bin, which covers more than there is.
        let range = match swarm.state.all() {
            Some(all) => match range.intersection(all) {
                Some(range) => range,
                None => return,
            },
            None => range,
        };
        if channel.have.covers(range) {
            return;
        }
        let limit = if channel.is_up() { shared.config.max_have_parts } else { shared.config.max_have_parts.min(64) };
        // At the limit only what joins with what is there.
        let around = ChunkRange::new(range.first().saturating_sub(1), range.last().saturating_add(1));
        if channel.have.parts() >= limit && !around.is_some_and(|around| channel.have.intersects(around)) {
            shared.stats.dropped_over_limit += 1;
            return;
        }
        // What an unproven address says costs no work but this.
        if swarm.state.indexed && channel.is_up() {
            let mut at = Some(range.first());
            while let Some(gap) = at.and_then(|at| channel.have.next_gap(at)).and_then(|gap| gap.intersection(range)) {
                swarm.picker.on_have(gap);
                at = gap.last().checked_add(1);
            }
        }
        if let Some(follower) = &mut channel.follower {
            // What there is not, nobody can have come by.
            let held = &swarm.state.held;
            let there = held
                .first()
                .zip(held.last())
                .and_then(|(first, last)| ChunkRange::new(first.max(range.first()), last.min(range.last())));
            follower.on_holds(there.map_or(0, |there| there.len() - channel.have.count(there)));
        }
        channel.have.insert(range);
        channel.slide();
        if channel.is_up() {
            channel.reminder.begin(shared.now);
        }
        if !swarm.state.held.covers(range) {
            channel.down.look_again();
        }
        channel.announce.remove(range);
        // RFC 7574 §3.8: a HAVE acts as an implicit CANCEL.
        channel.up.dequeue(range);
        if !swarm.state.complete {
            shared.wake(i, channel);
        }
    }
}

impl Channel {
    /// Is there something for the peer? While it is choked that is only what is pushed: what it asked for was discarded.
    pub(super) fn wants_service(&self) -> bool {
        self.is_up() && !self.up.parked && !self.up.queued.is_empty()
    }
}
