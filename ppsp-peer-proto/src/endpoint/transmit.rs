//! From what is due to datagrams.

use alloc::vec::Vec;
use core::num::NonZeroUsize;

use arrayvec::ArrayVec;
use ppsp_core::{ChunkRange, Instant, RangeSet, Read};

use super::{Endpoint, Transmit, channel::Phase, live::munro_len, timers::Timer, windows::Change};
use crate::wire::{ChannelId, Format, Handshake, Message, MessageType, Options, Writer, data_overhead, integrity_len};

/// Bytes before the first message: the channel ID.
const PREFIX: usize = 4;
/// ACK messages in a datagram at most.
const MAX_ACKS: usize = 64;

/// What came of an attempt to write a chunk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Wrote {
    /// The chunk is in the datagram.
    Chunk,
    /// A last chunk shorter than the others is in the datagram: nothing goes behind it.
    Last,
    /// Hashes that go ahead of it are in the datagram.
    Hashes,
    /// Nothing: the store lost the chunk or its hashes, or holds something else. It is no longer held.
    Lost,
    /// Nothing: there is nothing to send, or it must wait, or it does not fit behind what is there.
    Nothing,
}

impl Endpoint {
    pub(super) fn transmit(&mut self, now: Instant, max_segments: NonZeroUsize, buf: &mut [u8]) -> Option<Transmit> {
        if let Some(&(destination, their_id, version)) = self.farewells.front() {
            let len = farewell(buf, their_id, version);
            if len > 0 {
                self.farewells.pop_front();
                return Some(self.sent(Transmit { destination, len, segment_size: None }, 1));
            }
        }
        while let Some(i) = self.shared.ready.pop_front() {
            let Some(channel) = self.channels.get_mut(i) else { continue };
            channel.in_ready = false;
            let destination = channel.remote;
            let (len, segment) = match channel.phase {
                Phase::Up => self.write_run(now, i, max_segments, buf),
                _ if channel.must_send => (self.write_handshake(now, i, buf), 0),
                _ => (0, 0),
            };
            self.schedule(i);
            if len == 0 {
                continue;
            }
            let segments = if segment == 0 { 1 } else { len.div_ceil(segment) };
            if let Some(channel) = self.channels.get_mut(i) {
                channel.sent = now;
                channel.unanswered = channel.unanswered.saturating_add(segments as u32);
                if channel.is_up() {
                    // There may be more; if not, the next turn finds out.
                    self.shared.wake(i, channel);
                }
            }
            let segment_size = if segments > 1 { NonZeroUsize::new(segment) } else { None };
            return Some(self.sent(Transmit { destination, len, segment_size }, segments));
        }
        None
    }

    fn sent(&mut self, transmit: Transmit, datagrams: usize) -> Transmit {
        self.shared.stats.datagrams_out += datagrams as u64;
        self.shared.stats.bytes_out += transmit.len as u64;
        transmit
    }

    /// Writes a run of datagrams to one peer: the first with all that is due, the rest with chunks, as long as they
    /// are equally long. Returns the bytes written and the length of the first datagram.
    fn write_run(&mut self, now: Instant, i: usize, max_segments: NonZeroUsize, buf: &mut [u8]) -> (usize, usize) {
        self.ask(now, i);
        let Some(channel) = self.channels.get_mut(i) else { return (0, 0) };
        let Some(swarm) = self.swarms.get(channel.swarm) else { return (0, 0) };
        let mut usual = channel.up.path.limit();
        channel.up.begin_run(now, usual);
        // Several DATA messages in a datagram: not for drafts, and not where one of them may be the short last chunk.
        // What else is due does not go along: a probe may well be lost.
        let mut max_segments = max_segments.get();
        let mut probes = false;
        if channel.wants_service() && !channel.draft && channel.up.rtt.srtt().is_some() && !channel.has_control() {
            let waiting = channel.up.queued.len().saturating_mul(u64::from(swarm.state.metadata.chunk_size));
            let waiting = waiting.min(channel.up.room() as u64);
            if let Some(size) = channel.up.path.probe(now, waiting).filter(|&size| size <= buf.len()) {
                (usual, max_segments, probes) = (size, 1, true);
            }
        }
        let before = self.shared.stats.content_sent;
        let first = self.write_datagram(now, i, buf, None, usual);
        if first == 0 {
            return (0, 0);
        }
        let mut len = first;
        for _ in 1..max_segments {
            let Some(rest) = buf.get_mut(len..).filter(|rest| rest.len() >= first) else { break };
            let next = self.write_datagram(now, i, rest, Some(first), usual);
            len += next;
            if next != first {
                break;
            }
        }
        let content = self.shared.stats.content_sent - before;
        if let Some(channel) = self.channels.get_mut(i) {
            channel.up.end_run(now, len, content);
            if probes {
                channel.up.path.on_probe(channel.up.datagrams, first);
            }
        }
        (len, first)
    }

    /// Writes a datagram of at most `usual` bytes, unless a chunk alone needs more; where `exactly`, only one with
    /// chunks and of at most that length. Returns its length; zero: there was nothing to say.
    fn write_datagram(
        &mut self,
        now: Instant,
        i: usize,
        buf: &mut [u8],
        exactly: Option<usize>,
        usual: usize,
    ) -> usize {
        let Some(channel) = self.channels.get_mut(i) else { return 0 };
        let Some(swarm) = self.swarms.get(channel.swarm) else { return 0 };
        let format = swarm.state.format();
        let usual = exactly.unwrap_or(usual.max(512)).min(buf.len());
        // A chunk that does not fit the usual datagram goes in a larger one, in Sign All with its signature.
        let signature = swarm.state.integrity.live().filter(|live| live.sign_all);
        let signature = signature.map_or(0, |live| live.signed_len(&format));
        let least = PREFIX + signature + data_overhead(&format) + format.chunk_size as usize;
        let room = exactly.unwrap_or(usual.max(least)).min(buf.len());
        let several = !channel.draft;
        let their_id = channel.their_id;
        channel.up.datagrams = channel.up.datagrams.wrapping_add(1);
        self.beside.clear();
        let mut writer = Writer::new(buf.get_mut(..room).unwrap_or_default(), their_id);
        if exactly.is_none() {
            self.write_control(now, i, &mut writer, &format, usual);
        }
        loop {
            let wrote = self.write_chunk(now, i, &mut writer, &format, exactly.is_some());
            // RFC 7574 §8.6: several DATA messages; but a peer that named no chunk size understands one.
            if wrote != Wrote::Chunk || !several || writer.remaining() < least - PREFIX {
                break;
            }
        }
        let Some(channel) = self.channels.get_mut(i) else { return 0 };
        // The munro alone is no reason to speak.
        let only_munro = self.beside.munro.is_some() && writer.len() == PREFIX + munro_len(&format);
        let due = exactly.is_none()
            && (channel.must_send || now.saturating_since(channel.sent) >= self.shared.config.keep_alive);
        if (writer.has_messages() && !only_munro) || due {
            channel.must_send = false;
            if let Some((munro, follower)) = self.beside.munro.zip(channel.follower.as_mut()) {
                follower.told(now, munro);
            }
            writer.finish()
        } else {
            0
        }
    }

    /// Writes all but hashes and chunks: CHOKE and UNCHOKE, CANCEL, REQUEST, HAVE, PEX, ACK. The ACKs stand last, for
    /// there are implementations that read nothing behind an ACK.
    fn write_control(&mut self, now: Instant, i: usize, writer: &mut Writer<'_>, format: &Format, usual: usize) {
        let fits = |writer: &Writer<'_>, message: &Message<'_>| {
            crate::wire::encoded_len(message, format).is_some_and(|len| writer.len() + len <= usual)
        };
        let Self { channels, swarms, .. } = self;
        let Some(channel) = channels.get_mut(i) else { return };
        let Some(swarm) = swarms.get_mut(channel.swarm) else { return };
        let addressing = format.addressing;
        let aligned = addressing.is_bins() || channel.draft;

        // RFC 7574 §6.1.2.4: from the third datagram on, until the peer indicates that it has a chunk of it or of a
        // later one.
        if let Some((live, follower)) = swarm.state.integrity.live().zip(channel.follower.as_ref())
            && let Some(munro) = live.untold(now, &channel.have, follower)
            && writer.len() + munro_len(format) <= usual
            && live.write(munro, writer, format).is_ok()
        {
            self.beside.munro = Some(munro.node);
        }
        if channel.up.tell {
            channel.up.tell = false;
            let (message, kind) = match channel.up.choked {
                true => (Message::Choke, MessageType::Choke),
                false => (Message::Unchoke, MessageType::Unchoke),
            };
            if channel.understands(kind) {
                let _ = writer.put(&message, format);
            }
        }
        // What is not understood is not sent (RFC 7574 §7.10).
        if !channel.understands(MessageType::Cancel) {
            channel.down.to_cancel.clear();
        }
        // What cannot be named, because the content turned out to be shorter, is dropped.
        let named = |message: &Message<'_>| crate::wire::encoded_len(message, format).is_some();
        'cancels: while let Some(first) = channel.down.to_cancel.first() {
            let Some(run) = channel.down.to_cancel.run_at(first) else { break };
            for range in addressing.pieces(run) {
                let message = Message::Cancel { range };
                if named(&message) && (!fits(writer, &message) || writer.put(&message, format).is_err()) {
                    break 'cancels;
                }
                channel.down.to_cancel.remove(range);
            }
            // What lies beyond what the method can name has no pieces.
            if channel.down.to_cancel.first() == Some(first) {
                channel.down.to_cancel.remove(run);
            }
        }
        let mut said = None;
        while let Some(&range) = channel.down.to_request.front() {
            // What was taken back meanwhile is not asked for after all.
            if !channel.down.asked.has_in(range, usize::try_from(range.len()).unwrap_or(usize::MAX)) {
                channel.down.to_request.pop_front();
                let mut left = RangeSet::new();
                channel.down.asked.each_in(range, |entry| _ = left.insert(ChunkRange::single(entry.chunk)));
                let pieces: Vec<ChunkRange> = left.runs().flat_map(|run| addressing.pieces(run)).collect();
                pieces.into_iter().rev().for_each(|piece| channel.down.to_request.push_front(piece));
                continue;
            }
            // RFC 7574 §5.3: whoever knows what is held next to a chunk leaves out the hashes above both. Of what it has
            // itself the peer was told nothing, for §3.2 would not have it told what it cannot use; this it can.
            if channel.is_told_little(&swarm.state)
                && channel.understands(MessageType::Have)
                && let Some(near) = swarm.state.held_near(range.first()).filter(|&near| channel.have.contains(near))
                && let held = Some(swarm.state.interval(near, aligned))
                && held != said
            {
                let have = Message::Have { range: held };
                if fits(writer, &have) && writer.put(&have, format).is_ok() {
                    said = held;
                }
            }
            let message = Message::Request { range };
            if named(&message) && (!fits(writer, &message) || writer.put(&message, format).is_err()) {
                break;
            }
            channel.down.to_request.pop_front();
        }
        if !channel.understands(MessageType::Have) {
            channel.announce.clear();
        }
        while let Some(chunk) = channel.announce.first() {
            // The store may have lost it meanwhile.
            if !swarm.state.held.contains(chunk) {
                channel.announce.remove(ChunkRange::single(chunk));
                continue;
            }
            let range = swarm.state.interval(chunk, aligned);
            let message = Message::Have { range: Some(range) };
            if !fits(writer, &message) || writer.put(&message, format).is_err() {
                break;
            }
            channel.announce.remove(range);
        }
        if channel.pex.is_due() {
            self.write_pex(now, i, writer, format);
        }
        self.write_acks(i, writer, format, aligned, usual);
    }

    /// RFC 7574 §4.3.2: an ACK names the biggest complete interval around the chunk. One interval, one message; the
    /// delay sample of the newest chunk in it.
    fn write_acks(&mut self, i: usize, writer: &mut Writer<'_>, format: &Format, aligned: bool, usual: usize) {
        let Self { channels, swarms, .. } = self;
        let Some(channel) = channels.get_mut(i) else { return };
        let Some(swarm) = swarms.get_mut(channel.swarm) else { return };
        if !channel.understands(MessageType::Ack) {
            channel.down.acks.clear();
        }
        let Some(&(oldest, delay)) = channel.down.acks.first() else { return };
        let one = Message::Ack { range: ChunkRange::single(oldest), delay };
        let Some(len) = crate::wire::encoded_len(&one, format) else { return channel.down.acks.clear() };
        // The oldest first, or their sender would take them for lost while it hears of later ones; among those that fit
        // this datagram from the newest on, so that the first delay seen of an interval is its newest.
        let fit = usual.saturating_sub(writer.len()) / len;
        let portion = fit.min(MAX_ACKS).min(channel.down.acks.len());
        let mut told: ArrayVec<ChunkRange, MAX_ACKS> = ArrayVec::new();
        for (chunk, delay) in channel.down.acks.drain(..portion).rev() {
            if told.iter().any(|range| range.contains(chunk)) {
                continue;
            }
            let range = swarm.state.interval(chunk, aligned);
            if writer.put(&Message::Ack { range, delay }, format).is_ok() {
                _ = told.try_push(range);
            }
        }
        // Of the others those go too that are in the same intervals.
        channel.down.acks.retain(|&(chunk, _)| !told.iter().any(|range| range.contains(chunk)));
    }

    /// Writes the chunk next in turn, with the hashes that its receiver misses before it.
    fn write_chunk(
        &mut self,
        now: Instant,
        i: usize,
        writer: &mut Writer<'_>,
        format: &Format,
        only_chunk: bool,
    ) -> Wrote {
        let Self { channels, swarms, shared, .. } = self;
        let Some(channel) = channels.get_mut(i).filter(|c| c.wants_service()) else { return Wrote::Nothing };
        let slot = channel.swarm;
        let Some(swarm) = swarms.get_mut(slot).filter(|s| !s.state.failed) else { return Wrote::Nothing };
        let Some(chunk) = channel.up.front(&swarm.state.held, channel.draft) else { return Wrote::Nothing };
        let chunk_len = swarm.state.chunk_len(chunk);
        // RFC 7574 §8.6: several DATA messages only where none of them carries the last chunk, if that is shorter.
        let short = chunk_len < format.chunk_size as usize;
        if short && !self.beside.is_empty() {
            return Wrote::Nothing;
        }
        let mut hashes = core::mem::take(&mut self.hashes);
        channel.up.missing_hashes(now, chunk, &channel.have, &swarm.state, &self.beside, &mut hashes);
        let data_len = data_overhead(format) + chunk_len;
        let hash_len = integrity_len(format);
        let munro = channel.up.missing_munro(now, chunk, &channel.have, &swarm.state, &self.beside).cloned();
        let live = swarm.state.integrity.live().filter(|_| munro.is_some());
        let signed_len = live.map_or(0, |live| live.signed_len(format));
        let whole = signed_len + hashes.len() * hash_len + data_len;
        let start = writer.len();

        let outcome = 'outcome: {
            if writer.remaining() < whole {
                // RFC 7574 §5.4: if hashes and DATA do not fit one datagram, the hashes MUST be sent first.
                // The stream's last munro is in every datagram as long as the peer does not know of it.
                let alone = writer.len() == PREFIX + self.beside.munro.map_or(0, |_| munro_len(format));
                if only_chunk || !alone || (hashes.is_empty() && munro.is_none()) {
                    break 'outcome Ok(Wrote::Nothing);
                }
                if let Some(munro) = munro {
                    // RFC 7574 §6.1.2.3: both messages in a single datagram.
                    let wrote = swarm.state.integrity.live().map(|live| live.write(&munro, writer, format));
                    if wrote.is_none_or(|wrote| wrote.is_err()) {
                        break 'outcome Ok(Wrote::Nothing);
                    }
                    channel.up.ahead.push(munro.node);
                    break 'outcome Ok(Wrote::Hashes);
                }
                let usual = shared.config.max_datagram.max(512);
                let fit = ((usual - PREFIX) / hash_len).min(writer.remaining() / hash_len).max(1);
                let ahead = hashes.get(..fit.min(hashes.len())).unwrap_or_default();
                match write_hashes(writer, swarm, ahead, format) {
                    Ok(true) => channel.up.ahead.extend_from_slice(ahead),
                    Ok(false) => break 'outcome Ok(Wrote::Lost),
                    Err(error) => break 'outcome Err(error),
                }
                break 'outcome Ok(Wrote::Hashes);
            }
            // What stands before the first chunk is not under way yet, what stands before others is.
            let more = if self.beside.is_empty() { start + whole } else { whole };
            if let Err(at) = channel.up.may_send(now, more) {
                channel.up.wake_at = at;
                break 'outcome Ok(Wrote::Nothing);
            }
            if let Some(at) = shared.must_wait(now, chunk_len as u64) {
                shared.uplink.on_held_back();
                if channel.up.hold_back(now) {
                    shared.throttled.push_back(i);
                }
                shared.timers.set_by(Timer::Upload, at);
                break 'outcome Ok(Wrote::Nothing);
            }
            if let Some((live, munro)) = swarm.state.integrity.live().zip(munro.as_ref())
                && live.write(munro, writer, format).is_err()
            {
                break 'outcome Ok(Wrote::Nothing);
            }
            match write_hashes(writer, swarm, &hashes, format) {
                Ok(true) => {}
                Ok(false) => break 'outcome Ok(Wrote::Lost),
                Err(error) => break 'outcome Err(error),
            }
            // RFC 7574 §8.6: the timestamp is the current system time with microsecond accuracy.
            if writer.data_header(chunk, now.as_micros(), format).is_err() {
                break 'outcome Ok(Wrote::Nothing);
            }
            match swarm.store.0.read_chunk(chunk, writer.spare()) {
                Ok(Read::Ready(len)) if len == chunk_len => writer.advance(len),
                Ok(Read::Pending) => {
                    channel.up.parked = true;
                    break 'outcome Ok(Wrote::Nothing);
                }
                Ok(Read::Missing | Read::Ready(_)) => break 'outcome Ok(Wrote::Lost),
                Err(error) => break 'outcome Err(error),
            }
            channel.up.on_sent(now, chunk, writer.len() - start, writer.len());
            self.beside.insert(chunk);
            channel.idle_since = now;
            swarm.state.uploaded += chunk_len as u64;
            shared.stats.content_sent += chunk_len as u64;
            shared.stats.chunks_sent += 1;
            if let Some(bucket) = shared.uplink.bucket() {
                bucket.take((writer.len() - start) as u64);
            }
            if let Some(limit) = &mut shared.upload {
                limit.take(chunk_len as u64);
            }
            Ok(if short { Wrote::Last } else { Wrote::Chunk })
        };
        self.hashes = hashes;
        match outcome {
            Ok(Wrote::Nothing) => {
                writer.truncate(start);
                Wrote::Nothing
            }
            Ok(Wrote::Lost) => {
                writer.truncate(start);
                let one = ChunkRange::single(chunk);
                swarm.state.held.remove(one);
                if swarm.state.indexed {
                    swarm.picker.on_lapsed(one);
                }
                channel.up.dequeue(one);
                shared.wake(i, channel);
                self.stirred.push((slot, Change::Turned));
                Wrote::Nothing
            }
            Ok(wrote) => wrote,
            Err(error) => {
                writer.truncate(start);
                self.fail(slot, error);
                Wrote::Nothing
            }
        }
    }
}

/// Writes INTEGRITY messages. `false`: a hash is missing, or did not fit.
fn write_hashes(
    writer: &mut Writer<'_>,
    swarm: &mut super::swarm::Swarm,
    nodes: &[ppsp_core::Bin],
    format: &Format,
) -> Result<bool, ppsp_core::StoreError> {
    for &node in nodes {
        let Some(hash) = swarm.hash(node)? else { return Ok(false) };
        let message = Message::Integrity { range: node.range(), hash: hash.as_bytes() };
        if writer.put(&message, format).is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Writes a closing HANDSHAKE (RFC 7574 §8.4): an all zeros source channel, and options that are empty or hold the
/// version.
fn farewell(buf: &mut [u8], their_id: ChannelId, version: bool) -> usize {
    let format = Format {
        addressing: ppsp_core::ChunkAddressing::default(),
        chunk_size: 0,
        hash_len: 0,
        signature_len: None,
        content_length: None,
    };
    let options = Options { version: version.then_some(1), ..Options::default() };
    let mut writer = Writer::new(buf, their_id);
    match writer.put(&Message::Handshake(Handshake { source: ChannelId::NONE, options }), &format) {
        Ok(()) => writer.finish(),
        Err(_) => 0,
    }
}
