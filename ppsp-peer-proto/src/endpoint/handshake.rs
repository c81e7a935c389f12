//! Opening, answering and closing channels (RFC 7574 §3.1.1, §8.4, §12.1).

use alloc::{collections::btree_map::Entry, vec::Vec};
use core::{net::SocketAddr, time::Duration};

use ppsp_core::{ChunkAddressing, ChunkRange, HashAlg, Instant, RangeSet, SwarmMetadata};
use rand_core::Rng;

use super::{
    ConnectError, Endpoint, Event, PeerKey, Reason, SwarmKey,
    announce::Reminder,
    bans::{is_unicast, origin},
    channel::{Channel, Phase},
    download::Download,
    path_mtu::PathMtu,
    pex::Pex,
    swarm::SwarmState,
    timers::Timer,
    upload::Upload,
};
use crate::policy::below;
use crate::wire::{
    ChannelId, Format, Handshake, Message, MessageType, Options, ParseError, Reader, SupportedMessages, Writer,
};

/// The protocol version spoken, and the only one there is (RFC 7574 Table 3).
const VERSION: u8 = 1;
/// First pause before a handshake is sent again.
const RESEND: Duration = Duration::from_secs(1);
/// Ranges in the HAVEs of a first datagram: minor payload (RFC 7574 §3.1.1).
const FIRST_HAVES: usize = 8;

impl Endpoint {
    pub(super) fn open_channel(
        &mut self,
        now: Instant,
        key: SwarmKey,
        remote: SocketAddr,
    ) -> Result<PeerKey, ConnectError> {
        let slot = self.swarm_slot(key).ok_or(ConnectError::UnknownSwarm)?;
        if !is_unicast(remote) {
            return Err(ConnectError::BadAddress);
        }
        if self.shared.bans.contains(now, remote) {
            return Err(ConnectError::Banned);
        }
        let here = self.at.range((slot, remote, 0)..=(slot, remote, usize::MAX));
        if here.filter_map(|&(_, _, i)| self.channels.get(i)).any(|c| !c.is_half_open()) {
            return Err(ConnectError::AlreadyConnected);
        }
        if self.peer_count() >= self.shared.config.max_peers {
            return Err(ConnectError::TooManyPeers);
        }
        let phase = Phase::Opening { since: now, tries: 0, resend_at: now + RESEND };
        let i = self.add_channel(now, slot, remote, true, phase);
        let Some(channel) = self.channels.get_mut(i) else { return Err(ConnectError::UnknownSwarm) };
        channel.must_send = true;
        let key = channel.key;
        self.shared.wake(i, channel);
        self.schedule(i);
        Ok(key)
    }

    /// Channels that count against the limit: all but those whose peer's address is not proven.
    pub(super) fn peer_count(&self) -> usize {
        self.channels.len() - self.half_open.len()
    }

    fn add_channel(&mut self, now: Instant, slot: usize, remote: SocketAddr, outbound: bool, phase: Phase) -> usize {
        let id = self.new_channel_id();
        let streams = self.swarms.get(slot).is_some_and(|swarm| swarm.state.streams());
        let live = self.swarms.get(slot).is_some_and(|swarm| swarm.state.integrity.live().is_some());
        let config = &self.shared.config;
        let controller = config.build_controller(now, streams);
        let path = PathMtu::new(config.max_datagram, config.max_probed_datagram);
        self.next_key += 1;
        let key = PeerKey(self.next_key << 24 | self.channels.next_slot() as u64);
        let i = self.channels.insert(Channel {
            key,
            swarm: slot,
            remote,
            outbound,
            id,
            their_id: ChannelId::NONE,
            phase,
            draft: false,
            supported: SupportedMessages::ALL,
            confirmed: false,
            heard: now,
            sent: now,
            unanswered: 0,
            must_send: false,
            in_ready: false,
            idle_since: now,
            have: RangeSet::new(),
            follower: None,
            announce: RangeSet::new(),
            reminder: Reminder::default(),
            down: Download::new(now, live),
            up: Upload::new(now, controller, streams, path),
            pex: Pex::default(),
        });
        self.by_id.insert(id, i);
        self.at.insert((slot, remote, i));
        if let Some(swarm) = self.swarms.get_mut(slot) {
            swarm.state.channels.insert(i);
        }
        i
    }

    /// A channel ID as RFC 7574 §12.1 wants it: random, hard to guess. Its first byte is never below 64, so that
    /// datagrams can share a socket with DTLS and STUN (RFC 7983).
    fn new_channel_id(&mut self) -> ChannelId {
        loop {
            let id = ChannelId(self.shared.rng.next_u32());
            if id.0 >> 24 >= 64 && !self.by_id.contains_key(&id) {
                return id;
            }
        }
    }

    /// A datagram to channel 0: somebody opens a channel. RFC 7574 §3.1.1, step 2: if any check fails there is no
    /// answer, as the datagram may have been spoofed.
    pub(super) fn on_first_datagram(&mut self, now: Instant, remote: SocketAddr, payload: &[u8], len: usize) {
        let mut reader = Reader::new(payload);
        let handshake = match reader.handshake() {
            Ok(Some(handshake)) => handshake,
            Ok(None) => return self.shared.stats.dropped_malformed += 1,
            // Options are sorted, so all that we know came before one that we do not.
            Err(ParseError::UnknownOption(_)) => {
                self.shared.stats.dropped_unknown_message += 1;
                match reader.cut_short() {
                    Some(&handshake) => handshake,
                    None => return,
                }
            }
            Err(_) => return self.shared.stats.dropped_malformed += 1,
        };
        let Some((slot, format)) = self.check_first(now, remote, &handshake) else {
            self.shared.stats.dropped_handshakes += 1;
            return;
        };
        // RFC 7574 §8.2: a HANDSHAKE sent again is recognised and dealt with: the same answer, no second state.
        let here = self.at.range((slot, remote, 0)..=(slot, remote, usize::MAX)).map(|&(_, _, i)| i);
        for i in here {
            let Some(channel) = self.channels.get_mut(i) else { continue };
            if channel.their_id == handshake.source {
                if let Phase::HalfOpen { allowance, .. } = &mut channel.phase {
                    *allowance = len;
                    channel.must_send = true;
                    self.shared.wake(i, channel);
                }
                return;
            }
            // Both opened at the same moment: the channel stays whose initiator chose the smaller ID.
            if matches!(channel.phase, Phase::Opening { .. }) && channel.id < handshake.source {
                return;
            }
        }
        if self.inbound_full(remote) {
            self.make_room(now);
        }
        if self.inbound_full(remote) {
            self.shared.stats.dropped_handshakes += 1;
            return;
        }
        while self.half_open.len() >= self.shared.config.max_half_open.max(1) {
            let Some(any) = self.any_half_open() else { break };
            self.drop_channel(now, any, Reason::TimedOut, false);
        }
        let i = self.add_channel(now, slot, remote, false, Phase::HalfOpen { since: now, allowance: len });
        let Some(channel) = self.channels.get_mut(i) else { return };
        channel.their_id = handshake.source;
        channel.draft = handshake.options.chunk_size.is_none();
        channel.supported = handshake.options.supported.unwrap_or(SupportedMessages::ALL);
        channel.follow(self.swarms.get(slot).and_then(|swarm| swarm.state.follower(&handshake.options)));
        channel.must_send = true;
        self.half_open.insert((now, i));
        self.shared.wake(i, channel);
        self.on_messages(now, i, &mut reader, &format);
        self.schedule(i);
    }

    fn check_first(&self, now: Instant, remote: SocketAddr, handshake: &Handshake<'_>) -> Option<(usize, Format)> {
        let options = &handshake.options;
        let slot = *self.by_swarm_id.get(options.swarm_id?)?;
        let swarm = self.swarms.get(slot).filter(|s| !s.state.failed)?;
        let ours = self.by_id.get(&handshake.source).and_then(|&i| self.channels.get(i));
        let from_ourselves = ours.is_some_and(|c| c.their_id == ChannelId::NONE && c.swarm == slot);
        let fit = handshake.source != ChannelId::NONE
            && speaks_our_version(options)
            && options.integrity.is_some()
            // RFC 7574 §7.6: where there is a Merkle hash tree; libswift leaves it out of live swarms.
            && (options.hash.is_some() || swarm.state.integrity.live().is_some())
            && options.addressing.is_some()
            && fits(options, &swarm.state);
        let welcome = is_unicast(remote) && !self.shared.bans.contains(now, remote) && !from_ourselves;
        (fit && welcome).then(|| (slot, swarm.state.format()))
    }

    /// A newcomer may take the place of one that others opened and then forgot: which has neither said anything nor
    /// acknowledged what it was sent for some time. Who went without a word need not be waited for three minutes.
    fn make_room(&mut self, now: Instant) {
        const SILENCE: Duration = Duration::from_secs(10);
        if self.room_made_at.is_some_and(|at| now.saturating_since(at) < Duration::from_secs(1)) {
            return;
        }
        self.room_made_at = Some(now);
        let silent = |c: &Channel| {
            let silence = now.saturating_since(c.heard);
            let owes = c.unanswered >= 3 && silence >= SILENCE;
            !c.outbound && c.is_up() && (owes || silence >= self.shared.config.keep_alive * 2)
        };
        let gone: Vec<usize> = self.channels.iter().filter(|(_, c)| silent(c)).map(|(i, _)| i).collect();
        for i in gone {
            self.drop_channel(now, i, Reason::TimedOut, true);
        }
    }

    /// RFC 7574 §12.6.1, threat HS.1: others must not fill all slots.
    fn inbound_full(&self, remote: SocketAddr) -> bool {
        let config = &self.shared.config;
        self.inbound >= config.max_inbound
            || self.inbound_from.get(&origin(remote)).is_some_and(|&n| n >= config.max_inbound_per_address)
            || self.peer_count() >= config.max_peers
    }

    /// A handshake that waits for its third datagram, by lot over the time in which they came.
    fn any_half_open(&mut self) -> Option<usize> {
        let (first, last) = (self.half_open.first()?.0, self.half_open.last()?.0);
        let span = last.saturating_since(first).as_micros() as u64;
        let moment = first + Duration::from_micros(below(&mut self.shared.rng, span + 1));
        self.half_open.range((moment, 0)..).next().map(|&(_, i)| i)
    }

    /// The peer has forgotten a channel that we opened, as it does when it starts anew or our address changes: opens
    /// another.
    pub(super) fn call_again(&mut self, now: Instant, i: usize) {
        let Some(channel) = self.channels.get(i) else { return };
        let (slot, remote) = (channel.swarm, channel.remote);
        self.drop_channel(now, i, Reason::TimedOut, false);
        let key = self.swarms.get(slot).map(|swarm| swarm.state.key);
        // Where it may not be opened, the embedder knows by the event that the peer is gone.
        let _ = key.map(|key| self.open_channel(now, key, remote));
    }

    /// A datagram to a channel of ours that still waits for the peer's handshake: the second datagram.
    /// Says whether the channel is up now.
    pub(super) fn on_second_datagram(&mut self, now: Instant, i: usize, reader: &mut Reader<'_>) -> bool {
        let handshake = match reader.handshake() {
            Ok(Some(handshake)) => handshake,
            Err(ParseError::UnknownOption(_)) if reader.cut_short().is_some() => {
                self.shared.stats.dropped_unknown_message += 1;
                reader.cut_short().copied().unwrap_or_default()
            }
            _ => {
                self.shared.stats.dropped_malformed += 1;
                return false;
            }
        };
        let Self { channels, swarms, .. } = self;
        let Some(channel) = channels.get_mut(i) else { return false };
        let Some(swarm) = swarms.get_mut(channel.swarm) else { return false };
        let options = &handshake.options;
        if handshake.source == ChannelId::NONE {
            self.drop_channel(now, i, Reason::Closed, false);
            return false;
        }
        channel.their_id = handshake.source;
        if !speaks_our_version(options) || !fits(options, &swarm.state) {
            // RFC 7574 §3.1.1, step 4: if any check fails, P MAY send a closing HANDSHAKE.
            self.drop_channel(now, i, Reason::Incompatible, true);
            return false;
        }
        channel.draft = options.chunk_size.is_none();
        channel.supported = options.supported.unwrap_or(SupportedMessages::ALL);
        channel.follow(swarm.state.follower(options));
        // RFC 7574 §12.1.2: Peer A MUST respond immediately to the second datagram.
        channel.must_send = true;
        if let Phase::Opening { since, tries: 1, .. } = channel.phase {
            channel.down.on_rtt(now.saturating_since(since));
            channel.up.rtt.on_sample(now, now.saturating_since(since));
        }
        self.channel_up(now, i);
        true
    }

    /// The handshake is complete: both sides have shown that they receive what is sent to them.
    pub(super) fn channel_up(&mut self, now: Instant, i: usize) {
        let Some(channel) = self.channels.get_mut(i) else { return };
        if let Phase::HalfOpen { since, .. } = channel.phase {
            self.half_open.remove(&(since, i));
            self.inbound += 1;
            *self.inbound_from.entry(origin(channel.remote)).or_default() += 1;
        }
        channel.phase = Phase::Up;
        channel.idle_since = now;
        let (slot, remote, peer) = (channel.swarm, channel.remote, channel.key);
        self.shared.wake(i, channel);
        let Some(swarm) = self.swarms.get_mut(slot) else { return };
        self.shared.tell(Event::PeerUp { swarm: swarm.state.key, peer, remote });
        // What was held when the channel began and since.
        channel.announce = swarm.state.held.clone();
        channel.announce.subtract(&channel.have);
        if swarm.state.indexed {
            channel.have.runs().for_each(|run| swarm.picker.on_have(run));
        }
        channel.reminder.begin(now);
        if swarm.state.rechoke_at.is_none() {
            let at = now + Duration::from_secs(5);
            swarm.state.rechoke_at = Some(at);
            self.shared.timers.set_by(Timer::Swarm(slot), at);
        }
        self.begin_pex(now, i);
        // The peer may have been here before, or may have opened a channel while we did: one is enough.
        let others = self.at.range((slot, remote, 0)..=(slot, remote, usize::MAX)).map(|&(_, _, j)| j);
        let other = others.filter(|&j| j != i).find(|&j| self.channels.get(j).is_some_and(|c| !c.is_half_open()));
        if let Some(other) = other {
            self.drop_channel(now, other, Reason::NotNeeded, true);
        }
        let config = &self.shared.config;
        let over = self.inbound > config.max_inbound
            || self.inbound_from.get(&origin(remote)).is_some_and(|&n| n > config.max_inbound_per_address)
            || self.peer_count() > config.max_peers;
        if over && self.channels.get(i).is_some_and(|c| !c.outbound) {
            self.drop_channel(now, i, Reason::NotNeeded, true);
        }
    }

    /// Ends a channel, with a closing HANDSHAKE where `farewell`.
    pub(super) fn drop_channel(&mut self, now: Instant, i: usize, reason: Reason, farewell: bool) {
        self.release_all(i, false);
        let Some(channel) = self.channels.remove(i) else { return };
        self.by_id.remove(&channel.id);
        self.at.remove(&(channel.swarm, channel.remote, i));
        self.shared.timers.clear(Timer::Channel(i));
        if let Phase::HalfOpen { since, .. } = channel.phase {
            self.half_open.remove(&(since, i));
        } else if !channel.outbound {
            self.inbound = self.inbound.saturating_sub(1);
            if let Entry::Occupied(mut count) = self.inbound_from.entry(origin(channel.remote)) {
                *count.get_mut() -= 1;
                if *count.get() == 0 {
                    count.remove();
                }
            }
        }
        if let Some(swarm) = self.swarms.get_mut(channel.swarm) {
            swarm.state.channels.remove(&i);
            swarm.state.starving.retain(|&j| j != i);
            if swarm.state.indexed && channel.is_up() {
                swarm.picker.on_gone(&channel.have);
            }
            // Nobody was told of a handshake that was never completed.
            if !channel.is_half_open() {
                let (peer, remote) = (channel.key, channel.remote);
                self.shared.tell(Event::PeerDown { swarm: swarm.state.key, peer, remote, reason });
            }
        }
        if matches!(reason, Reason::Corrupt | Reason::Misbehaved) {
            self.shared.bans.ban(now, channel.remote);
        }
        // To an unproven address goes nothing that it did not ask for.
        if farewell && channel.their_id != ChannelId::NONE && !channel.is_half_open() {
            self.farewells.push_back((channel.remote, channel.their_id, reason == Reason::Incompatible));
            if self.farewells.len() > self.shared.config.max_peers.max(16) * 2 {
                self.farewells.pop_front();
            }
        }
    }

    /// The timer of a channel whose handshake is not complete went off.
    pub(super) fn check_handshake(&mut self, now: Instant, i: usize) {
        let Some(channel) = self.channels.get_mut(i) else { return };
        match &mut channel.phase {
            Phase::Opening { since, resend_at, .. } => {
                if now.saturating_since(*since) >= self.shared.config.handshake_timeout {
                    return self.drop_channel(now, i, Reason::Unanswered, false);
                }
                if *resend_at <= now {
                    channel.must_send = true;
                    self.shared.wake(i, channel);
                }
            }
            Phase::HalfOpen { since, .. } => {
                if now.saturating_since(*since) >= self.shared.config.half_open_timeout {
                    self.drop_channel(now, i, Reason::TimedOut, false);
                }
            }
            Phase::Up => {}
        }
    }

    /// Writes the first or second datagram of a handshake.
    pub(super) fn write_handshake(&mut self, now: Instant, i: usize, buf: &mut [u8]) -> usize {
        let Self { channels, swarms, shared, .. } = self;
        let Some(channel) = channels.get_mut(i) else { return 0 };
        let Some(swarm) = swarms.get_mut(channel.swarm) else { return 0 };
        let metadata = &swarm.state.metadata;
        let live = swarm.state.integrity.live();
        let supported = Some(supported_messages(shared.config.pex, live.is_some()));
        let full = Options {
            version: Some(VERSION),
            min_version: Some(VERSION),
            swarm_id: Some(metadata.id.as_bytes()),
            integrity: Some(metadata.integrity.code()),
            hash: Some(metadata.hash.code()),
            addressing: Some(metadata.addressing.code()),
            supported,
            chunk_size: Some(metadata.chunk_size),
            ..Options::default()
        };
        // RFC 7574 §7.7, §7.9.
        let full = live.map_or(full, |live| live.put_options(full, metadata));
        let draft = Options { supported: None, chunk_size: None, ..full };
        let (options, limit) = match &mut channel.phase {
            Phase::Opening { tries, .. } => {
                // libswift drops a datagram with the options 8 and 9: after a while of silence try without, then both
                // in turn, for the silence may have been a loss.
                let drafty = *tries % 2 == 1 && known_to_drafts(metadata);
                (if drafty { draft } else { full }, shared.config.max_datagram)
            }
            // As responder: 8 and 9 only if the initiator did; no swarm ID, which it knows.
            Phase::HalfOpen { allowance, .. } => {
                let options = if channel.draft { draft } else { full };
                (Options { swarm_id: None, ..options }, *allowance)
            }
            Phase::Up => return 0,
        };
        let limit = limit.min(buf.len()).min(shared.config.max_datagram.max(128));
        let format = swarm.state.format();
        let mut writer = Writer::new(buf.get_mut(..limit).unwrap_or_default(), channel.their_id);
        let handshake = Message::Handshake(Handshake { source: channel.id, options });
        channel.must_send = false;
        if writer.put(&handshake, &format).is_err() {
            if let Phase::Opening { resend_at, .. } = &mut channel.phase {
                *resend_at = now + RESEND;
            }
            return 0;
        }
        if let Phase::Opening { tries, resend_at, .. } = &mut channel.phase {
            *tries += 1;
            *resend_at = now + RESEND * (1 << (*tries - 1).min(3));
        }
        let aligned = swarm.state.metadata.addressing.is_bins() || channel.draft;
        // Of a live stream the last first: by it the peer finds where the stream is.
        let held = &swarm.state.held;
        let last = held.last().filter(|_| live.is_some()).and_then(|last| held.run_at(last));
        let mut untold = swarm.state.runs_beyond(&channel.have, last.map_or(0, ChunkRange::first));
        let mut run = untold.next();
        for _ in 0..FIRST_HAVES {
            let Some(rest) = run else { break };
            let range = swarm.state.interval(rest.first(), aligned);
            if writer.put(&Message::Have { range: Some(range) }, &format).is_err() {
                break;
            }
            let after = range.last().checked_add(1).and_then(|next| ChunkRange::new(next, rest.last()));
            run = after.or_else(|| untold.next());
        }
        drop(untold);
        let len = writer.finish();
        if let Phase::HalfOpen { allowance, .. } = &mut channel.phase {
            *allowance -= len.min(*allowance);
        }
        len
    }
}

/// RFC 7574 §7.2, §7.3 with RFC 6709 §4.1: do the ranges of versions meet?
fn speaks_our_version(options: &Options<'_>) -> bool {
    options.version.is_some_and(|max| options.min_version.unwrap_or(max) <= VERSION && VERSION <= max)
}

/// Does nothing in the options contradict the swarm's metadata?
fn fits(options: &Options<'_>, state: &SwarmState) -> bool {
    let metadata = &state.metadata;
    state.integrity.live().is_none_or(|live| live.fits(options))
        && options.swarm_id.is_none_or(|id| id == metadata.id.as_bytes())
        && options.integrity.is_none_or(|code| code == metadata.integrity.code())
        && options.hash.is_none_or(|code| code == metadata.hash.code())
        && options.addressing.is_none_or(|code| code == metadata.addressing.code())
        && options.chunk_size.is_none_or(|size| size == metadata.chunk_size)
}

/// May a peer of the draft that libswift speaks be in this swarm?
fn known_to_drafts(metadata: &SwarmMetadata) -> bool {
    metadata.hash == HashAlg::Sha1 && matches!(metadata.addressing, ChunkAddressing::Bin32 | ChunkAddressing::Range32)
}

/// RFC 7574 §7.10: peers who support only a proper subset of the messages MUST signal which.
fn supported_messages(pex: bool, live: bool) -> SupportedMessages {
    let all = SupportedMessages::ALL.without(MessageType::PexResCert);
    let all = if live { all } else { all.without(MessageType::SignedIntegrity) };
    if pex {
        all
    } else {
        all.without(MessageType::PexReq).without(MessageType::PexResV4).without(MessageType::PexResV6)
    }
}
