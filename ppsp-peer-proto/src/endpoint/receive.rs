//! From received bytes to what they mean.

use alloc::vec::Vec;
use core::ops::Range;

use ppsp_core::{Bin, ChunkId, ChunkRange, Claim, Hash, Instant, StoreError, Unverified, Verdict, Write};

use super::{Datagrams, Endpoint, Event, PeerKey, Reason, channel::Phase, timers::Timer};
use crate::wire::{ChannelId, Format, Message, ParseError, Reader, split_channel};

/// Chunks that are hashed together.
const BATCH: usize = 64;
/// Hashes taken from one datagram: the peaks and uncles of the largest tree.
const MAX_CLAIMS: usize = 128;
/// Chunks that cannot be proven although they were asked for after others of the kind, and hashes in a row that might be
/// peaks and are not, before their sender is taken for an attacker. A loss can make a whole window of chunks useless, and
/// uncle hashes can look like peaks.
const MAX_IN_VAIN: u32 = 256;

/// Chunks of one swarm that wait to be verified together; they borrow from the received bytes.
#[derive(Default)]
pub(super) struct Batch<'a> {
    /// Slot of the swarm.
    swarm: usize,
    chunks: Vec<Arrived<'a>>,
    /// Hashes of the datagrams of `chunks`.
    claims: Vec<Claim>,
}

struct Arrived<'a> {
    /// Slot of the channel, and who lived there when the chunk came.
    channel: usize,
    peer: PeerKey,
    chunk: ChunkId,
    timestamp: u64,
    data: &'a [u8],
    /// Of `Batch::claims`.
    claims: Range<usize>,
}

impl Endpoint {
    pub(super) fn on_received<'a>(&mut self, now: Instant, received: &Datagrams<'a>, batch: &mut Batch<'a>) {
        let stride = received.stride.max(1);
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
            let channel = self.by_id.get(&id).and_then(|&i| Some((i, self.channels.get_mut(i)?)));
            let Some((i, channel)) = channel.filter(|(_, c)| c.remote == received.remote) else {
                self.shared.stats.dropped_unknown_channel += 1;
                continue;
            };
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
                    self.on_peaks(i, batch, claims_from);
                    let chunk = range.first();
                    let claims = claims_from..batch.claims.len();
                    if self.expects(now, i, chunk, timestamp) {
                        batch.chunks.push(Arrived { channel: i, peer, chunk, timestamp, data, claims });
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
                    self.on_message(now, i, message);
                }
                Err(error) => self.count_error(error),
            }
            if self.channels.get(i).is_none() {
                return;
            }
        }
        self.after_messages(now, i);
        if batch.chunks.len() == chunks_from && batch.claims.len() > claims_from {
            // Hashes without a chunk: for the chunk of a later datagram.
            self.on_peaks(i, batch, claims_from);
            if let Some(channel) = self.channels.get_mut(i) {
                channel.down.keep_claims(batch.claims.get(claims_from..).unwrap_or_default());
            }
            batch.claims.truncate(claims_from);
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
                channel.up.on_ack(now, range, Some(delay));
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
            // Membership certificates and live content are for other swarms than these; hashes and chunks have no
            // business before the handshake is complete.
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
                acked |= channel.up.on_ack(now, range, None);
            }
            if acked {
                self.on_room(i);
            }
        }
        haves.clear();
        self.late_haves = haves;
        if let Some(channel) = self.channels.get_mut(i) {
            self.shared.stats.chunks_lost += channel.up.check_overtaken(now);
        }
        self.schedule(i);
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
        let Some(slot) = self.channels.get(i).map(|c| c.swarm) else { return };
        let Some(swarm) = self.swarms.get_mut(slot) else { return };
        if swarm.state.verifier.size_certain() && swarm.state.verifier.peaks_proven() {
            return;
        }
        let Some(channel) = self.channels.get_mut(i).filter(|c| c.down.false_peaks < MAX_IN_VAIN) else { return };
        self.proven.clear();
        if swarm.state.verifier.offer_peaks(peaks, &mut self.proven) {
            let kept = swarm.store.keep(&self.proven);
            self.after_proof(slot, kept);
        } else {
            // RFC 7574 §12.6.5, threat INTEGRITY.1: bogus hashes cost work. So many and no more.
            channel.down.false_peaks += 1;
        }
    }

    /// Something was proven: the size may be known now.
    fn after_proof(&mut self, slot: usize, kept: Result<(), StoreError>) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(swarm) = swarms.get_mut(slot) else { return };
        let mut result = kept;
        let state = &mut swarm.state;
        let size = state.chunks().filter(|_| state.verifier.peaks_proven());
        let length = state.verifier.content_length();
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
        if swarm.state.held.contains(chunk) || swarm.state.writing.contains(chunk) {
            channel.down.credit -= 1;
            channel.down.on_late(chunk);
            if channel.down.acks.len() < BATCH {
                channel.down.acks.push((chunk, now.as_micros().wrapping_sub(timestamp)));
            }
            self.shared.stats.dropped_duplicate += 1;
            self.shared.wake(i, channel);
            return false;
        }
        !swarm.state.failed
    }

    /// Verifies the chunks that have gathered, and takes those that are good.
    pub(super) fn verify(&mut self, now: Instant, batch: &mut Batch<'_>) {
        let slot = batch.swarm;
        let Some(swarm) = self.swarms.get_mut(slot).filter(|_| !batch.chunks.is_empty()) else {
            batch.chunks.clear();
            batch.claims.clear();
            return;
        };
        let channels = &self.channels;
        batch.chunks.retain(|a| channels.get(a.channel).is_some_and(|c| c.key == a.peer));
        let unverified: Vec<Unverified<'_>> = batch
            .chunks
            .iter()
            .map(|a| Unverified {
                chunk: a.chunk,
                data: a.data,
                claims: [
                    batch.claims.get(a.claims.clone()).unwrap_or_default(),
                    channels.get(a.channel).map(|c| c.down.claims.as_slice()).unwrap_or_default(),
                ],
            })
            .collect();
        self.proven.clear();
        swarm.state.verifier.verify(&unverified, &mut self.verdicts, &mut self.proven);
        drop(unverified);
        let kept = swarm.store.keep(&self.proven);
        self.after_proof(slot, kept);
        let verdicts = core::mem::take(&mut self.verdicts);
        for (arrived, &verdict) in batch.chunks.iter().zip(&verdicts) {
            match verdict {
                Verdict::Accepted => self.take_chunk(now, slot, arrived),
                Verdict::Corrupt => {
                    // RFC 7574 §12.6.3, threat DATA.1. The hashes were the same peer's: there is nobody else to blame.
                    self.shared.stats.dropped_corrupt += 1;
                    self.drop_channel(now, arrived.channel, Reason::Corrupt, true);
                }
                Verdict::Unproven => {
                    // RFC 7574 §5.3: if some additional data is still missing, the message SHOULD be dropped.
                    self.shared.stats.dropped_unproven += 1;
                    self.ask_again(now, slot, arrived.channel, arrived.chunk);
                }
            }
        }
        self.verdicts = verdicts;
        let mut last = usize::MAX;
        for arrived in &batch.chunks {
            if arrived.channel != last {
                last = arrived.channel;
                self.check_overtaken(last);
                self.schedule(last);
            }
        }
        batch.chunks.clear();
        batch.claims.clear();
        self.after_chunks(now, slot);
    }

    /// A chunk that is proven goes to the store, its ACK to the sender.
    fn take_chunk(&mut self, now: Instant, slot: usize, arrived: &Arrived<'_>) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(swarm) = swarms.get_mut(slot) else { return };
        let state = &mut swarm.state;
        let (chunk, one) = (arrived.chunk, ChunkRange::single(arrived.chunk));
        if state.failed || state.held.contains(chunk) || state.writing.contains(chunk) {
            shared.stats.dropped_duplicate += 1; // twice in one batch
            return;
        }
        let size = state.metadata.chunk_size as usize;
        let owner = state.release(chunk);
        if owner.is_some() {
            shared.requested = shared.requested.saturating_sub(size);
        }
        match swarm.store.0.write_chunk(chunk, arrived.data) {
            Ok(Write::Done) => {
                state.held.insert(one);
                state.fresh.insert(one);
                state.verifier.forget(&state.held, one);
            }
            Ok(Write::Queued) => {
                state.writing.insert(one);
                state.busy.insert(one);
            }
            Ok(Write::Busy) => {
                state.stuffed = true;
                shared.stats.dropped_busy += 1;
                swarm.picker.on_lapsed(one);
                if let Some(channel) = owner.and_then(|j| channels.get_mut(j)) {
                    channel.down.asked.forget(chunk);
                }
                return;
            }
            Err(error) => return self.fail(slot, error),
        }
        state.downloaded += arrived.data.len() as u64;
        shared.stats.chunks_accepted += 1;
        // The one it was asked of last need not send it.
        if let Some(j) = owner.filter(|&j| j != arrived.channel)
            && let Some(other) = channels.get_mut(j)
        {
            other.down.asked.forget(chunk);
            other.down.to_cancel.insert(one);
            shared.wake(j, other);
        }
        let Some(channel) = channels.get_mut(arrived.channel) else { return };
        channel.down.credit = channel.down.credit.saturating_sub(1);
        channel.down.on_arrival(now, chunk);
        channel.down.meter.add(now, arrived.data.len() as u64);
        channel.down.bytes += arrived.data.len() as u64;
        channel.down.false_peaks = 0;
        channel.down.acks.push((chunk, now.as_micros().wrapping_sub(arrived.timestamp)));
        channel.idle_since = now;
        shared.wake(arrived.channel, channel);
    }

    /// A chunk came in vain: it is asked for again, of others first.
    ///
    /// RFC 7574 §12.6.5, threat INTEGRITY.1: if the hashes do not check out, Peer A will stop asking Peer T.
    fn ask_again(&mut self, now: Instant, slot: usize, i: usize, chunk: ChunkId) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(channel) = channels.get_mut(i) else { return };
        let Some(swarm) = swarms.get_mut(slot) else { return };
        channel.down.on_unproven(now, chunk);
        if swarm.state.asked_of.get(&chunk) == Some(&i) {
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
        let Self { swarms, shared, .. } = self;
        let Some(swarm) = swarms.get_mut(slot) else { return };
        let state = &mut swarm.state;
        if state.fresh.is_empty() {
            return;
        }
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
            let at = if complete { now } else { now + shared.config.have_delay };
            state.announce_at = Some(at);
            shared.timers.set_by(Timer::Swarm(slot), at);
        }
    }
}
