//! From received bytes to what they mean.

use alloc::vec::Vec;
use core::ops::Range;

use arrayvec::ArrayVec;
use ppsp_core::{Bin, ChunkId, ChunkRange, Claim, Hash, Instant, StoreError, Unverified, Verdict, Write};

use super::{Datagrams, Endpoint, Event, PeerKey, Reason, channel::Phase, timers::Timer};
use crate::wire::{ChannelId, Format, Message, ParseError, Reader, split_channel};

/// Chunks after which a batch is verified, whatever waits behind it: as much as stays in the processor's cache.
pub(super) const BATCH: usize = 128;
/// Chunks that one datagram can hold: no chunk but the last is shorter than 512 bytes.
const MOST_IN_DATAGRAM: usize = 128;
/// Room in a batch.
pub(super) const MAX_BATCH: usize = BATCH + MOST_IN_DATAGRAM;
/// Hashes taken from one datagram: the peaks, and the uncles of as many chunks as a large one holds.
const MAX_CLAIMS: usize = 1024;
/// Hashes that a batch keeps room for.
const USUAL_CLAIMS: usize = 2048;
/// Chunks that cannot be proven although they were asked for after others of the kind, and hashes in a row that might be
/// peaks and are not, before their sender is taken for an attacker. A loss can make a whole window of chunks useless, and
/// uncle hashes can look like peaks.
const MAX_IN_VAIN: u32 = 256;

/// Chunks of one swarm that wait to be verified together; they borrow from the received bytes.
pub(super) struct Batch<'a> {
    /// Slot of the swarm.
    swarm: usize,
    chunks: ArrayVec<Arrived<'a>, MAX_BATCH>,
    /// Hashes of the datagrams of `chunks`.
    claims: Vec<Claim>,
}

pub(super) struct Arrived<'a> {
    /// Slot of the channel, and who lived there when the chunk came.
    pub(super) channel: usize,
    pub(super) peer: PeerKey,
    pub(super) chunk: ChunkId,
    pub(super) timestamp: u64,
    pub(super) data: &'a [u8],
    /// Of `Batch::claims`.
    pub(super) claims: Range<usize>,
    pub(super) fate: Fate,
}

/// What becomes of a chunk that came.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    Waiting,
    /// Verified and with the store. `ack`: an ACK is due, with the delay that follows from this timestamp.
    Kept {
        ack: Option<u64>,
    },
    /// Verified, and there is no room for it.
    Refused,
    /// Twice in the batch.
    Duplicate,
    Corrupt,
    Unproven,
}

impl Batch<'_> {
    /// An empty batch. `claims` is a list that is kept for its capacity.
    pub(super) const fn new(claims: Vec<Claim>) -> Self {
        Self { swarm: 0, chunks: ArrayVec::new_const(), claims }
    }

    /// The list back. Not by value: a batch is large.
    pub(super) fn take_claims(&mut self) -> Vec<Claim> {
        self.claims.clear();
        self.claims.shrink_to(USUAL_CLAIMS);
        core::mem::take(&mut self.claims)
    }
}

impl Endpoint {
    pub(super) fn on_received<'a>(&mut self, now: Instant, received: &Datagrams<'a>, batch: &mut Batch<'a>) {
        let stride = received.stride.max(1);
        let mut latest = None;
        for datagram in received.data.chunks(stride) {
            self.shared.stats.datagrams_in += 1;
            self.shared.stats.bytes_in += datagram.len() as u64;
            let Some((id, payload)) = split_channel(datagram) else {
                self.shared.stats.dropped_malformed += 1;
                continue;
            };
            if id == ChannelId::NONE {
                self.on_first_datagram(now, received.remote, payload, datagram.len());
                continue;
            }
            // RFC 7574 §3.1.1, steps 3 and 7: what does not carry our channel ID is discarded. The address must be the
            // peer's as well: a channel ID that leaked is of no use elsewhere.
            let slot = latest.filter(|&(known, _)| known == id).map(|(_, i)| i);
            let slot = slot.or_else(|| self.by_id.get(&id).copied());
            let channel = slot.and_then(|i| Some((i, self.channels.get_mut(i)?)));
            let Some((i, channel)) = channel.filter(|(_, c)| c.id == id && c.remote == received.remote) else {
                self.shared.stats.dropped_unknown_channel += 1;
                continue;
            };
            latest = Some((id, i));
            channel.heard = now;
            channel.confirmed |= channel.is_up();
            channel.unanswered = 0;
            self.on_datagram(now, i, payload, batch);
        }
    }

    fn on_datagram<'a>(&mut self, now: Instant, i: usize, payload: &'a [u8], batch: &mut Batch<'a>) {
        // What a channel left that was dropped in the middle of a datagram is not this one's.
        self.late_haves.clear();
        let Some(channel) = self.channels.get(i) else { return };
        let Some(swarm) = self.swarms.get(channel.swarm) else { return };
        let (slot, their_id, peer) = (channel.swarm, channel.their_id, channel.key);
        let format = swarm.state.format();
        let mut reader = Reader::new(payload);
        match channel.phase {
            Phase::Opening { .. } => {
                if self.on_second_datagram(now, i, &mut reader) {
                    self.on_messages(now, i, &mut reader, &format);
                }
                return;
            }
            Phase::HalfOpen { .. } => {}
            Phase::Up => {}
        }
        // RFC 7574 §3.1: a HANDSHAKE is always the first message in a datagram.
        match reader.handshake() {
            Ok(None) => {}
            // RFC 7574 §8.4: an all zeros source channel closes.
            Ok(Some(handshake)) if handshake.source == ChannelId::NONE => {
                return self.drop_channel(now, i, Reason::Closed, false);
            }
            // The second datagram once more, because the first was sent once more.
            Ok(Some(handshake)) if handshake.source == their_id => {}
            Err(ParseError::UnknownOption(_)) => return self.shared.stats.dropped_unknown_message += 1,
            _ => return self.shared.stats.dropped_malformed += 1,
        }
        if self.channels.get(i).is_some_and(|c| c.is_half_open()) {
            // RFC 7574 §3.1.1, step 7: chanQ came back, the handshake is complete.
            self.channel_up(now, i);
            if self.channels.get(i).is_none() {
                return;
            }
        }
        if batch.swarm != slot {
            self.verify(now, batch);
            batch.swarm = slot;
        }
        let claims_from = batch.claims.len();
        let chunks_from = batch.chunks.len();
        let mut only_chunks = true;
        let mut offered = claims_from;
        while let Some(message) = reader.next(&format) {
            match message {
                Ok(Message::Integrity { range, hash }) => {
                    if batch.claims.len() - claims_from < MAX_CLAIMS
                        && let (Some(node), Some(hash)) = (Bin::exactly(range), Hash::from_bytes(hash))
                    {
                        batch.claims.push(Claim { node, hash });
                    }
                }
                Ok(Message::Data { range, timestamp, data }) => {
                    // Once for each list of hashes, and for those that went ahead.
                    if batch.claims.len() > offered || batch.chunks.len() == chunks_from {
                        self.on_peaks(i, batch, claims_from);
                        offered = batch.claims.len();
                    }
                    let chunk = range.first();
                    let claims = claims_from..batch.claims.len();
                    if self.expects(now, i, chunk, timestamp) && self.is_signed(now, i, chunk, data) {
                        let fate = Fate::Waiting;
                        // There is room for all that a datagram can hold.
                        _ = batch.chunks.try_push(Arrived { channel: i, peer, chunk, timestamp, data, claims, fate });
                    } else if self.channels.get(i).is_none() {
                        return;
                    }
                }
                Ok(Message::SignedIntegrity { range, timestamp, signature }) => {
                    self.on_munro(now, i, (range, timestamp, signature), &mut batch.claims, claims_from);
                    if self.channels.get(i).is_none() {
                        return;
                    }
                }
                Ok(message) => {
                    // Messages are processed in their order, and an invalid one ends the datagram: what follows a chunk
                    // waits for the verdict on it. Chunks stand last in a datagram, so this is rare.
                    if batch.chunks.len() > chunks_from {
                        self.verify(now, batch);
                        if self.channels.get(i).is_none() {
                            return;
                        }
                        return self.on_rest(now, i, message, &mut reader, &format);
                    }
                    only_chunks = false;
                    self.on_message(now, i, message);
                    if self.channels.get(i).is_none() {
                        return;
                    }
                }
                Err(error) => self.count_error(error),
            }
        }
        if !only_chunks {
            self.after_messages(now, i);
        }
        if batch.chunks.len() == chunks_from && batch.claims.len() > claims_from {
            // Hashes without a chunk: for the chunk of a later datagram.
            self.on_peaks(i, batch, claims_from);
            let count = batch.claims.len() - claims_from;
            if self.channels.get(i).is_some_and(|c| c.down.is_full_of_claims(count)) {
                // Those that must go may be what the chunks that wait need.
                self.verify(now, batch);
            }
            let rest = batch.claims.len() - count;
            if let Some(channel) = self.channels.get_mut(i) {
                channel.down.keep_claims(batch.claims.get(rest..).unwrap_or_default());
            }
            batch.claims.truncate(rest);
        }
        if batch.chunks.len() >= BATCH {
            self.verify(now, batch);
        }
    }

    fn on_rest(&mut self, now: Instant, i: usize, first: Message<'_>, reader: &mut Reader<'_>, format: &Format) {
        self.on_message(now, i, first);
        self.on_messages(now, i, reader, format);
    }

    /// Processes messages that are neither hashes nor chunks; those have no business here.
    pub(super) fn on_messages(&mut self, now: Instant, i: usize, reader: &mut Reader<'_>, format: &Format) {
        while self.channels.get(i).is_some() {
            match reader.next(format) {
                Some(Ok(message)) => self.on_message(now, i, message),
                Some(Err(error)) => self.count_error(error),
                None => break,
            }
        }
        self.after_messages(now, i);
    }

    fn count_error(&mut self, error: ParseError) {
        match error {
            ParseError::UnknownMessage(_) | ParseError::UnknownOption(_) => {
                self.shared.stats.dropped_unknown_message += 1;
            }
            _ => self.shared.stats.dropped_malformed += 1,
        }
    }

    fn on_message(&mut self, now: Instant, i: usize, message: Message<'_>) {
        let Some(channel) = self.channels.get_mut(i) else { return };
        match message {
            Message::Have { range: Some(range) } => {
                // It counts as an ACK too, but the ACK that may follow in this datagram brings the delay.
                self.late_haves.push(range);
                self.on_holds(i, range);
            }
            Message::Have { range: None } => {}
            Message::Ack { range, delay } => {
                if channel.up.bytes == 0 {
                    // RFC 7574 §12.6.4, threat ACK.1: nothing was sent that could have arrived.
                    self.shared.stats.ignored_unfounded += 1;
                    return;
                }
                let (ours, arrived) = channel.up.on_ack(now, range, Some(delay));
                if let Some(follower) = &mut channel.follower {
                    follower.on_ours(ours);
                }
                if let Some((arrived, queue)) = arrived.and_then(|arrived| Some((arrived, arrived.queue?))) {
                    self.shared.uplink.on_ack(now, i, arrived.sent, arrived.bytes as u64, queue);
                }
                self.on_holds(i, range);
                self.on_room(i);
            }
            Message::Request { range } => self.on_request(now, i, range),
            Message::Cancel { range } => {
                // RFC 7574 §12.6.7, threat CANCEL.1: what was never asked for is not there to be taken back.
                if !channel.up.dequeue(range) {
                    self.shared.stats.ignored_unfounded += 1;
                }
            }
            Message::Choke => {
                channel.down.choked = true;
                // RFC 7574 §3.9: it cannot expect answers to any outstanding ones.
                self.release_all(i, false);
            }
            // RFC 7574 §12.6.9, threat UNCHOKE.1: without a CHOKE before it changes nothing.
            Message::Unchoke => {
                channel.down.choked = false;
                channel.down.look_again();
                self.shared.wake(i, channel);
            }
            Message::PexReq => {
                self.on_pex_request(now, i);
                if let Some(channel) = self.channels.get_mut(i).filter(|c| c.pex.is_due()) {
                    self.shared.wake(i, channel);
                }
            }
            Message::PexResV4(address) => self.on_pex_response(now, i, address.into()),
            Message::PexResV6(address) => self.on_pex_response(now, i, address.into()),
            // Membership certificates are for other swarms than these; hashes, munros and chunks have no business before the
            // handshake is complete.
            Message::PexResCert(_)
            | Message::SignedIntegrity { .. }
            | Message::Integrity { .. }
            | Message::Data { .. }
            | Message::Handshake(_) => self.shared.stats.dropped_malformed += 1,
        }
    }

    /// All messages of a datagram have been processed.
    fn after_messages(&mut self, now: Instant, i: usize) {
        let mut haves = core::mem::take(&mut self.late_haves);
        if let Some(channel) = self.channels.get_mut(i) {
            let mut acked = false;
            for range in haves.drain(..) {
                let (ours, arrived) = channel.up.on_ack(now, range, None);
                if let Some(follower) = &mut channel.follower {
                    follower.on_ours(ours);
                }
                acked |= arrived.is_some();
            }
            if acked {
                self.on_room(i);
            }
        }
        haves.clear();
        self.late_haves = haves;
        if self.answered.last() != Some(&i) {
            self.answered.push(i);
        }
        self.schedule(i);
    }

    /// All datagrams of a call have been processed. What their ACKs passed over is lost: only now, for one datagram does
    /// not always hold all ACKs that are due, and those in the next may well be for chunks sent before.
    pub(super) fn after_datagrams(&mut self, now: Instant) {
        while let Some(i) = self.answered.pop() {
            if let Some(channel) = self.channels.get_mut(i) {
                self.shared.stats.chunks_lost += channel.up.check_overtaken(now);
                self.schedule(i);
            }
        }
    }

    /// The congestion window may have room again.
    fn on_room(&mut self, i: usize) {
        if let Some(channel) = self.channels.get_mut(i).filter(|c| c.wants_service()) {
            self.shared.wake(i, channel);
        }
    }

    fn on_request(&mut self, now: Instant, i: usize, range: ChunkRange) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(channel) = channels.get_mut(i) else { return };
        let Some(swarm) = swarms.get_mut(channel.swarm) else { return };
        if channel.up.choked {
            // RFC 7574 §12.6.8, threat CHOKE.1: discard and resend the CHOKE, assuming it got lost.
            channel.up.tell = true;
            return shared.wake(i, channel);
        }
        let range = match swarm.state.all() {
            Some(all) => range.intersection(all),
            None => Some(range),
        };
        let Some(range) = range else { return shared.stats.ignored_unfounded += 1 };
        let max = shared.config.max_queued_requests;
        if !channel.up.enqueue(now, range, if channel.is_up() { max } else { max.min(16) }) {
            shared.stats.dropped_over_limit += 1;
            return;
        }
        channel.idle_since = now;
        if channel.is_up() {
            shared.wake(i, channel);
        }
    }

    /// Peak hashes stand first in a datagram, or in those that went ahead of it (RFC 7574 §5.4, §5.6.2); as long as they
    /// are unknown, tries whether they do.
    fn on_peaks(&mut self, i: usize, batch: &Batch<'_>, from: usize) {
        let Some(slot) = self.channels.get(i).map(|c| c.swarm) else { return };
        let Some(swarm) = self.swarms.get_mut(slot) else { return };
        if swarm.state.integrity.wants_peaks().is_none() {
            return;
        }
        let claims = batch.claims.get(from..).unwrap_or_default();
        let begins = |claim: &Claim| claim.node.first_chunk() == 0;
        let mut joined = Vec::new();
        let peaks = if claims.first().is_some_and(begins) {
            claims
        } else {
            let ahead = self.channels.get(i).map(|c| c.down.claims.as_slice()).unwrap_or_default();
            let Some(start) = ahead.iter().position(begins).filter(|_| !claims.is_empty()) else { return };
            joined.extend_from_slice(ahead.get(start..).unwrap_or_default());
            joined.extend_from_slice(claims);
            &joined
        };
        let Some(channel) = self.channels.get_mut(i).filter(|c| c.down.false_peaks < MAX_IN_VAIN) else { return };
        self.proven.clear();
        let Some(verifier) = swarm.state.integrity.wants_peaks() else { return };
        let believed = verifier.chunks();
        if verifier.offer_peaks(peaks, &mut self.proven) {
            // One peer cannot make us change our mind for ever.
            channel.down.false_peaks += u32::from(believed.is_some_and(|n| verifier.chunks() != Some(n)));
            let kept = swarm.store.keep(&self.proven);
            self.after_proof(slot, kept);
        } else {
            // RFC 7574 §12.6.5, threat INTEGRITY.1: bogus hashes cost work. So many and no more.
            channel.down.false_peaks += 1;
        }
    }

    /// Something was proven: the size may be known now.
    pub(super) fn after_proof(&mut self, slot: usize, kept: Result<(), StoreError>) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(swarm) = swarms.get_mut(slot) else { return };
        let mut result = kept;
        let state = &mut swarm.state;
        let size = state.chunks().filter(|_| state.integrity.peaks_proven());
        let length = state.integrity.content_length();
        if let Some(chunks) = size.filter(|_| (size, length) != state.told_size) {
            result = result.and_then(|()| swarm.store.0.set_size(chunks, length));
            if core::mem::replace(&mut state.told_size, (size, length)).0 != size {
                shared.tell(Event::SizeKnown { swarm: state.key, chunks });
                state.indexed = false;
                for &i in &state.channels {
                    let Some(channel) = channels.get_mut(i) else { continue };
                    // What was announced beyond the end is not chunks.
                    if let Some(beyond) = ChunkRange::new(chunks, ChunkId::MAX) {
                        channel.have.remove(beyond);
                    }
                    channel.down.look_again();
                    shared.wake(i, channel);
                }
                let members = state.channels.clone();
                swarm.index(&mut shared.rng, members.iter().filter_map(|&i| channels.get(i)));
            }
        }
        if let Err(error) = result {
            self.fail(slot, error);
        }
    }

    /// Is this chunk one to verify? What is held already is acknowledged again, for the ACK may have been lost.
    fn expects(&mut self, now: Instant, i: usize, chunk: ChunkId, timestamp: u64) -> bool {
        let Some(channel) = self.channels.get_mut(i) else { return false };
        let Some(swarm) = self.swarms.get(channel.swarm) else { return false };
        // RFC 7574 §12.6.3, threat DATA.2: chunks nobody asked for are not worth a hash.
        if channel.down.credit == 0 {
            self.shared.stats.dropped_unrequested += 1;
            return false;
        }
        // What is asked of this peer is neither held nor being written.
        let asked = channel.down.asked.contains(chunk);
        if !asked && (swarm.state.held.contains(chunk) || swarm.state.writing.contains(chunk)) {
            channel.down.credit -= 1;
            channel.down.on_late(chunk);
            if channel.down.acks.len() < MAX_BATCH {
                channel.down.acks.push((chunk, now.as_micros().wrapping_sub(timestamp)));
            }
            self.shared.stats.dropped_duplicate += 1;
            self.shared.wake(i, channel);
            return false;
        }
        !swarm.state.failed
    }

    /// Verifies the chunks that have gathered, and takes those that are good. Leaves the hashes that came after them.
    pub(super) fn verify(&mut self, now: Instant, batch: &mut Batch<'_>) {
        let slot = batch.swarm;
        let claims = batch.chunks.last().map_or(0, |arrived| arrived.claims.end);
        let Some(swarm) = self.swarms.get_mut(slot).filter(|s| !s.state.failed && !batch.chunks.is_empty()) else {
            batch.chunks.clear();
            batch.claims.drain(..claims);
            return;
        };
        let channels = &self.channels;
        batch.chunks.retain(|a| channels.get(a.channel).is_some_and(|c| c.key == a.peer));
        let mut unverified: ArrayVec<Unverified<'_>, MAX_BATCH> = ArrayVec::new_const();
        unverified.extend(batch.chunks.iter().map(|a| Unverified {
            chunk: a.chunk,
            data: a.data,
            claims: [
                batch.claims.get(a.claims.clone()).unwrap_or_default(),
                channels.get(a.channel).map(|c| c.down.claims.as_slice()).unwrap_or_default(),
            ],
        }));
        self.proven.clear();
        swarm.state.integrity.verify(&unverified, &mut self.verdicts, &mut self.proven);
        drop(unverified);
        let kept = swarm.store.keep(&self.proven);
        self.after_proof(slot, kept);
        for (arrived, verdict) in batch.chunks.iter_mut().zip(&self.verdicts) {
            arrived.fate = match verdict {
                Verdict::Accepted => Fate::Refused,
                Verdict::Corrupt => Fate::Corrupt,
                Verdict::Unproven => Fate::Unproven,
            };
        }
        if let Err(error) = self.store_runs(slot, &mut batch.chunks) {
            self.fail(slot, error);
        }
        for arrived in &batch.chunks {
            match arrived.fate {
                Fate::Kept { ack } => self.on_kept(now, slot, arrived, ack),
                Fate::Refused => self.on_refused(slot, arrived.chunk),
                Fate::Duplicate => {
                    self.shared.stats.dropped_duplicate += 1;
                    if let Some(channel) = self.channels.get_mut(arrived.channel) {
                        channel.down.credit = channel.down.credit.saturating_sub(1);
                    }
                }
                Fate::Waiting | Fate::Corrupt | Fate::Unproven => {}
            }
        }
        // Only now, for to drop a channel is to give up what was asked of it.
        for arrived in &batch.chunks {
            match arrived.fate {
                Fate::Corrupt => {
                    // RFC 7574 §12.6.3, threat DATA.1. The hashes were the same peer's: there is nobody else to blame.
                    self.shared.stats.dropped_corrupt += 1;
                    self.drop_channel(now, arrived.channel, Reason::Corrupt, true);
                }
                Fate::Unproven => {
                    // RFC 7574 §5.3: if some additional data is still missing, the message SHOULD be dropped.
                    self.shared.stats.dropped_unproven += 1;
                    self.ask_again(now, slot, arrived.channel, arrived.chunk);
                }
                _ => {}
            }
        }
        let mut last = usize::MAX;
        for arrived in &batch.chunks {
            if arrived.channel != last {
                last = arrived.channel;
                self.check_overtaken(last);
                self.schedule(last);
            }
        }
        batch.chunks.clear();
        batch.claims.drain(..claims);
        self.after_chunks(now, slot);
    }

    /// Hands chunks that are proven, marked [`Fate::Refused`] until then, to the store: neighbours together.
    pub(super) fn store_runs(&mut self, slot: usize, chunks: &mut [Arrived<'_>]) -> Result<(), StoreError> {
        let Some(swarm) = self.swarms.get_mut(slot).filter(|s| !s.state.failed) else { return Ok(()) };
        let state = &mut swarm.state;
        let mut order: ArrayVec<(ChunkId, usize), MAX_BATCH> = ArrayVec::new_const();
        let accepted = chunks.iter().enumerate().filter(|(_, arrived)| arrived.fate == Fate::Refused);
        order.extend(accepted.map(|(k, arrived)| (arrived.chunk, k)));
        order.sort_unstable();
        let mut before = None;
        order.retain(|&mut (chunk, k)| {
            let twice = before.replace(chunk) == Some(chunk);
            if let Some(arrived) = chunks.get_mut(k).filter(|_| twice) {
                arrived.fate = Fate::Duplicate;
            }
            !twice
        });
        let mut rest = order.as_slice();
        while let Some(&(first, _)) = rest.first() {
            let neighbours = (0..).zip(rest).take_while(|(n, (chunk, _))| chunk - first == *n).count();
            let mut data: ArrayVec<&[u8], MAX_BATCH> = ArrayVec::new_const();
            data.extend(rest.iter().take(neighbours).filter_map(|&(_, k)| Some(chunks.get(k)?.data)));
            let (count, answer) = swarm.store.0.write_run(first, &data)?;
            // A store that takes nothing has no room.
            let (count, answer) = if count == 0 { (neighbours, Write::Busy) } else { (count.min(neighbours), answer) };
            let (run, others) = rest.split_at(count);
            rest = others;
            let Some(range) = ChunkRange::with_len(first, count as u64) else { continue };
            match answer {
                Write::Done => {
                    state.busy.remove(range);
                    state.held.insert(range);
                    state.fresh.insert(range);
                    state.integrity.forget(&state.held, range);
                }
                Write::Queued => {
                    state.writing.insert(range);
                    state.busy.insert(range);
                }
                Write::Busy => {
                    state.busy.remove(range);
                    state.stuffed = true;
                    continue;
                }
            }
            // One ACK for the run, in the place of its oldest chunk and with the timestamp of its newest; one for each chunk
            // where it came from several peers, or where an ACK cannot name the run: because it is not held yet, or by
            // nodes of the tree only.
            let oldest = run.iter().map(|&(_, k)| k).min();
            let newest = run.iter().map(|&(_, k)| k).max();
            let sender = |k: usize| chunks.get(k).map(|arrived| arrived.channel);
            let draft = newest.and_then(sender).and_then(|i| self.channels.get(i)).is_some_and(|c| c.draft);
            let whole = answer == Write::Done
                && !state.metadata.addressing.is_bins()
                && !draft
                && run.iter().all(|&(_, k)| sender(k) == newest.and_then(sender));
            let timestamp = newest.and_then(|k| Some(chunks.get(k)?.timestamp));
            for &(_, k) in run {
                if let Some(arrived) = chunks.get_mut(k) {
                    let ack = if whole { timestamp.filter(|_| Some(k) == oldest) } else { Some(arrived.timestamp) };
                    arrived.fate = Fate::Kept { ack };
                }
            }
        }
        Ok(())
    }

    /// The store took a chunk.
    fn on_kept(&mut self, now: Instant, slot: usize, arrived: &Arrived<'_>, ack: Option<u64>) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(swarm) = swarms.get_mut(slot) else { return };
        let chunk = arrived.chunk;
        let owner = swarm.state.asked_of.remove(chunk).map(|owner| owner as usize);
        if owner.is_some() {
            shared.requested = shared.requested.saturating_sub(swarm.state.metadata.chunk_size as usize);
        }
        swarm.state.downloaded += arrived.data.len() as u64;
        swarm.state.meter.add(now, arrived.data.len() as u64);
        shared.stats.chunks_accepted += 1;
        // The one it was asked of last need not send it.
        if let Some(j) = owner.filter(|&j| j != arrived.channel)
            && let Some(other) = channels.get_mut(j)
        {
            other.down.cancel(chunk);
            shared.wake(j, other);
        }
        let Some(channel) = channels.get_mut(arrived.channel).filter(|c| c.key == arrived.peer) else { return };
        // What was pushed and is of use pays for the next that is not; and it is no answer to what was asked for.
        if channel.follower.is_some() && !channel.down.is_awaited(chunk) {
            channel.down.on_pushed();
        } else {
            channel.down.credit = channel.down.credit.saturating_sub(1);
            channel.down.on_arrival(now, chunk);
        }
        channel.down.meter.add(now, arrived.data.len() as u64);
        channel.down.bytes += arrived.data.len() as u64;
        channel.down.false_peaks = 0;
        channel.idle_since = now;
        if let Some(timestamp) = ack {
            channel.down.acks.push((chunk, now.as_micros().wrapping_sub(timestamp)));
        }
        shared.wake(arrived.channel, channel);
    }

    /// The store had no room for a chunk: it is as if it had not come.
    fn on_refused(&mut self, slot: usize, chunk: ChunkId) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(swarm) = swarms.get_mut(slot) else { return };
        shared.stats.dropped_busy += 1;
        swarm.picker.on_lapsed(ChunkRange::single(chunk));
        if let Some(owner) = swarm.state.release(chunk) {
            shared.requested = shared.requested.saturating_sub(swarm.state.metadata.chunk_size as usize);
            if let Some(channel) = channels.get_mut(owner) {
                channel.down.asked.forget(chunk);
            }
        }
    }

    /// A chunk came in vain: it is asked for again, of others first.
    ///
    /// RFC 7574 §12.6.5, threat INTEGRITY.1: if the hashes do not check out, Peer A will stop asking Peer T.
    pub(super) fn ask_again(&mut self, now: Instant, slot: usize, i: usize, chunk: ChunkId) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(channel) = channels.get_mut(i) else { return };
        let Some(swarm) = swarms.get_mut(slot) else { return };
        channel.down.on_unproven(now, chunk);
        if swarm.state.asked_of.get(chunk) == Some(i as u32) {
            swarm.state.release(chunk);
            shared.requested = shared.requested.saturating_sub(swarm.state.metadata.chunk_size as usize);
            swarm.picker.on_lapsed(ChunkRange::single(chunk));
        }
        if channel.down.in_vain >= MAX_IN_VAIN {
            return self.drop_channel(now, i, Reason::Misbehaved, true);
        }
        self.feed_starving(Some(slot));
        if let Some(channel) = self.channels.get_mut(i) {
            channel.down.look_again();
            self.shared.wake(i, channel);
        }
    }

    /// More is held than before: tells the embedder now and the peers soon.
    pub(super) fn after_chunks(&mut self, now: Instant, slot: usize) {
        if self.swarms.get(slot).is_none_or(|swarm| swarm.state.fresh.is_empty()) {
            return;
        }
        self.discard(slot);
        let Self { swarms, shared, .. } = self;
        let Some(swarm) = swarms.get_mut(slot) else { return };
        let state = &mut swarm.state;
        if !core::mem::replace(&mut state.told_progress, true) {
            shared.tell(Event::Progress { swarm: state.key });
        }
        let complete = state.has_all_wanted();
        if complete && !state.complete {
            state.complete = true;
            shared.tell(Event::Complete { swarm: state.key });
        }
        // RFC 7574 §3.2: a policy determines when the HAVE is sent: soon, but with others if there are others.
        if state.announce_at.is_none() {
            let at = if complete { now } else { now + state.have_delay(now, shared.config.have_delay) };
            state.announce_at = Some(at);
            shared.timers.set_by(Timer::Swarm(slot), at);
        }
    }
}
