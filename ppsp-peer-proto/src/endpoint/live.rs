//! Live swarms (RFC 7574 §6): a source's chunks and munros, where the stream is, what is forgotten.

use alloc::{boxed::Box, collections::VecDeque, vec::Vec};
use core::time::Duration;

use ppsp_core::{
    Bin, ChunkId, ChunkRange, Claim, ContentStore, Hash, HashAlg, Instant, IntegrityMethod, RangeSet, StoreError,
    SwarmMetadata, Tree, Write, hash_pairs,
    live::{LiveConfig, LiveError, LiveSource, LiveVerifier, Munro, NtpTime, Offered, Refusal, SourceError},
    signature::PublicKey,
};

use super::{
    Endpoint, Event, Reason, SwarmKey,
    channel::Channel,
    download::take_back,
    swarm::{Store, Swarm, SwarmState},
};
use crate::wire::{Format, Full, Message, Options, Writer};

/// What a live swarm is told beside its metadata.
#[non_exhaustive]
#[derive(Debug, Default)]
pub struct LiveOptions {
    /// Which munros are believed. Its `window` is also the live discard window (RFC 7574 §6.2, §7.9): so many chunks
    /// before the last one held are kept and told to peers; `None`: all, as recorders do.
    pub config: LiveConfig,
    /// What to add to an [`Instant`] to have microseconds since the Unix epoch: zero, if that is the clock's epoch.
    pub unix_offset: i64,
    /// The source, where this is its peer.
    pub source: Option<LiveSource>,
}

/// Of a live swarm.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) verifier: LiveVerifier,
    source: Option<LiveSource>,
    /// This is, or was, the source's peer.
    pub(super) is_source: bool,
    pub(super) window: Option<u64>,
    /// Each chunk is signed (RFC 7574 §6.1.1).
    pub(super) sign_all: bool,
    unix_offset: i64,
    algorithm: u8,
    alg: HashAlg,
    /// With the store, and not signed yet.
    unsigned: RangeSet,
    /// Chunks before this one are discarded.
    floor: ChunkId,
    tuned_in: bool,
    /// In Sign All: when a peer was last asked for the end of the stream.
    sought_at: Option<Instant>,
    /// Events of these kinds wait to be taken.
    pub(super) told_edge: bool,
    told_two: bool,
}

impl Live {
    pub(super) fn new(metadata: &SwarmMetadata, options: LiveOptions) -> Result<Self, LiveError> {
        // Who is behind holds chunks that lie further back from the end of the stream, and is held to its window all
        // the same: munros are kept for longer.
        let window = options.config.window;
        let mut config = options.config;
        config.window = window.map(|window| window.saturating_mul(2));
        Ok(Self {
            verifier: LiveVerifier::new(metadata, config)?,
            is_source: options.source.is_some(),
            source: options.source,
            window,
            sign_all: metadata.integrity == IntegrityMethod::SignAll,
            unix_offset: options.unix_offset,
            algorithm: PublicKey::parse(metadata.id.as_bytes())?.algorithm().code(),
            alg: metadata.hash,
            unsigned: RangeSet::new(),
            floor: 0,
            tuned_in: false,
            sought_at: None,
            told_edge: false,
            told_two: false,
        })
    }

    fn time(&self, now: Instant) -> NtpTime {
        NtpTime::from_unix_micros(now.as_micros().saturating_add_signed(self.unix_offset))
    }

    /// Adds what a live swarm's handshakes hold beside the others'.
    pub(super) fn put_options<'a>(&self, options: Options<'a>, metadata: &SwarmMetadata) -> Options<'a> {
        let unit =
            if metadata.addressing == ppsp_core::ChunkAddressing::Byte64 { metadata.chunk_size.into() } else { 1 };
        let window = self.window.map_or(Options::KEEPS_ALL, |chunks| chunks.saturating_mul(unit));
        Options { live_signature: Some(self.algorithm), discard_window: Some(window), ..options }
    }

    pub(super) fn fits(&self, options: &Options<'_>) -> bool {
        options.live_signature.is_none_or(|code| code == self.algorithm)
    }

    /// The part of a range of chunks that the store has taken which may be announced: munros are signed before (RFC
    /// 7574 §6.1.2.3).
    pub(super) fn announceable(&mut self, range: ChunkRange) -> Option<ChunkRange> {
        if !self.is_source {
            return Some(range);
        }
        let end = self.verifier.end();
        self.unsigned.extend(ChunkRange::new(range.first().max(end), range.last()));
        ChunkRange::new(range.first(), range.last().min(end.checked_sub(1)?))
    }

    /// What there is and was not discarded.
    fn bound(&self) -> Option<ChunkRange> {
        ChunkRange::new(self.floor, self.verifier.end().checked_sub(1)?)
    }

    /// The hash of a node below a munro. Those above the end of the stream are not filled, and no store need have them.
    pub(super) fn hash(&self, node: Bin, store: &mut dyn ContentStore) -> Result<Option<Hash>, StoreError> {
        if self.verifier.is_empty(node) {
            return Ok(Some(Hash::empty(self.alg)));
        }
        if let Some(munro) = self.verifier.munro_of(node.first_chunk()).filter(|munro| munro.node == node) {
            return Ok(Some(munro.hash));
        }
        let known = store.read_hash(node)?;
        let Some((left, right)) =
            node.children().filter(|_| known.is_none() && node.last_chunk() >= self.verifier.end())
        else {
            return Ok(known);
        };
        let (Some(left), Some(right)) = (self.hash(left, store)?, self.hash(right, store)?) else { return Ok(None) };
        let mut hash = [Hash::empty(self.alg)];
        hash_pairs(self.alg, &[[left, right]], &mut hash);
        Ok(Some(hash[0]))
    }

    /// The last munro, where a peer is to be told (RFC 7574 §6.1.2.4). In Sign All there is nothing to tell: a signature
    /// proves nothing without its chunk, which is asked for, see [`SwarmState::edge`].
    pub(super) fn untold(&self, now: Instant, have: &RangeSet, follower: &Follower) -> Option<&Munro> {
        let munro = self.verifier.rightmost().filter(|_| !self.sign_all)?;
        let first = munro.node.first_chunk();
        // Knowledge shows by HAVEs and ACKs of its chunks or later ones, and by the munro itself.
        let knows = follower.theirs.is_some_and(|theirs| theirs >= first) || have.next_set(first).is_some();
        let again = follower.ours.is_none_or(|(ours, at)| ours != first || now.saturating_since(at) >= AGAIN);
        (!knows && again).then_some(munro)
    }

    /// Writes a munro with its signature: both, or nothing. In Sign All the signature alone, for the chunk says the rest
    /// (§6.1.1).
    pub(super) fn write(&self, munro: &Munro, writer: &mut Writer<'_>, format: &Format) -> Result<(), Full> {
        let (range, start) = (munro.node.range(), writer.len());
        let timestamp = self.verifier.signing().write_time(munro.time);
        let signed = Message::SignedIntegrity { range, timestamp, signature: &munro.signature };
        if !self.sign_all {
            writer.put(&Message::Integrity { range, hash: munro.hash.as_bytes() }, format)?;
        }
        writer.put(&signed, format).inspect_err(|_| writer.truncate(start))
    }

    /// Bytes of a munro as it is written.
    pub(super) fn signed_len(&self, format: &Format) -> usize {
        if self.sign_all { signature_len(format) } else { munro_len(format) }
    }
}

/// A peer of a live swarm.
#[derive(Debug)]
pub(super) struct Follower {
    /// How many chunks before the last announced one it keeps (RFC 7574 §7.9); `None`: all.
    window: Option<u64>,
    /// First chunk of the munro it was told last, and when.
    ours: Option<(ChunkId, Instant)>,
    /// First chunk of the last munro that came from it.
    theirs: Option<ChunkId>,
    /// In Sign All: signatures that came from it, of chunks that follow.
    signatures: VecDeque<(ChunkId, u64, Box<[u8]>)>,
    /// In Sign All: when it was last asked for the end of the stream, in doubt.
    sought_at: Option<Instant>,
    /// Chunks that it came by of late.
    came: u64,
    /// How many of them came from us.
    from_us: u64,
}

impl Follower {
    /// It came by so many chunks, it says.
    pub(super) fn on_holds(&mut self, chunks: u64) {
        self.came = self.came.saturating_add(chunks);
        // Of late, not ever.
        while self.came >= 8 * ENOUGH_TO_TELL {
            self.came /= 2;
            self.from_us /= 2;
        }
    }

    /// So many of them came from us.
    pub(super) fn on_ours(&mut self, chunks: u64) {
        self.from_us = self.from_us.saturating_add(chunks);
    }

    /// Does it have next to nothing from others? Then others have little from it, as far as we can see: it may also be one
    /// that passes on to peers who do not know us, or one that names nothing but what came from us (RFC 7574 §3.2 lets it).
    /// So it comes last, and is not left out.
    pub(super) fn only_takes(&self) -> bool {
        self.came >= ENOUGH_TO_TELL && self.came.saturating_sub(self.from_us) < self.came / 8
    }

    /// It was told this munro.
    pub(super) fn told(&mut self, now: Instant, munro: Bin) {
        self.ours = Some((munro.first_chunk(), now));
    }

    fn keep_signature(&mut self, chunk: ChunkId, timestamp: u64, signature: &[u8]) {
        if self.signatures.len() >= MAX_SIGNATURES {
            self.signatures.pop_front();
        }
        self.signatures.push_back((chunk, timestamp, signature.into()));
    }

    /// The latest signature of a chunk. Those that came before it are of no use any more: each stands before its chunk.
    fn take_signature(&mut self, chunk: ChunkId) -> Option<(u64, Box<[u8]>)> {
        let at = self.signatures.iter().rposition(|&(of, ..)| of == chunk)?;
        let (_, timestamp, signature) = self.signatures.drain(..=at).next_back()?;
        Some((timestamp, signature))
    }
}

/// How long a munro that the peer was told, and may have missed, is not told again. RFC 7574 §6.1.2.4 has it in every
/// datagram until the peer shows that it knows it; with many short datagrams that would be most of what goes over a
/// thin uplink.
const AGAIN: Duration = Duration::from_secs(1);

/// How long to wait in Sign All before a peer is asked again for the end of the stream. Viewers ask the same few for it,
/// who are the first to have it; the rest they give each other.
const SEEK: Duration = Duration::from_millis(200);

/// Chunks that a peer has to have come by before it can be told from whom it takes.
const ENOUGH_TO_TELL: u64 = 32;

/// Chunks by which two peers may differ about what is in a window: two ordinary munros.
const MARGIN: u64 = 64;

/// Signatures kept ahead of their chunks, for each peer; of more, the latest.
const MAX_SIGNATURES: usize = 16;

/// Bytes of a munro and its signature.
pub(super) fn munro_len(format: &Format) -> usize {
    crate::wire::integrity_len(format) + signature_len(format)
}

/// Bytes of SIGNED_INTEGRITY.
fn signature_len(format: &Format) -> usize {
    1 + format.addressing.spec_len() + 8 + format.signature_len.unwrap_or(0)
}

impl SwarmState {
    /// Of a peer that names these options; `None` where the swarm is not live.
    pub(super) fn follower(&self, options: &Options<'_>) -> Option<Box<Follower>> {
        self.integrity.live()?;
        // For byte ranges the window is in bytes.
        let bytes = self.metadata.addressing == ppsp_core::ChunkAddressing::Byte64;
        let unit = if bytes { u64::from(self.metadata.chunk_size.max(1)) } else { 1 };
        let window = options.discard_window.filter(|&window| window != Options::KEEPS_ALL);
        let window = window.map(|window| window / unit);
        Some(Box::new(Follower {
            window,
            ours: None,
            theirs: None,
            signatures: VecDeque::new(),
            sought_at: None,
            came: 0,
            from_us: 0,
        }))
    }

    /// RFC 7574 §6.1.2.4, as far as it applies to Sign All: what a peer names as its last chunk is asked of it, whatever
    /// is wanted, where the stream would have moved on by it. Only the chunk itself shows that, by its signature.
    pub(super) fn edge(&mut self, now: Instant, channel: &mut Channel) -> Option<ChunkRange> {
        let live = self.integrity.live_mut().filter(|live| live.sign_all && !live.is_source)?;
        let follower = channel.follower.as_mut()?;
        let last = ChunkRange::single(channel.have.last()?);
        let exists = last.last() < self.metadata.addressing.max_chunks(self.metadata.chunk_size);
        if last.first() < live.verifier.end() || !exists || self.busy.intersects(last) {
            return None;
        }
        // Who names what it does not send must not take the turn of those who do.
        let sought_at = if channel.down.is_doubtful() { &mut follower.sought_at } else { &mut live.sought_at };
        let again = sought_at.map(|at| at + SEEK).filter(|&again| now < again);
        channel.down.look_at(again.unwrap_or(now + SEEK));
        if again.is_none() {
            *sought_at = Some(now);
        }
        again.is_none().then_some(last)
    }
}

impl Channel {
    /// RFC 7574 §6.2: peers SHOULD apply the discard window as a sliding window filter over the peer's availability.
    pub(super) fn slide(&mut self) {
        let window = self.follower.as_ref().and_then(|follower| follower.window);
        let Some((window, last)) = window.zip(self.have.last()) else { return };
        let gone = last.saturating_add(1).saturating_sub(window).checked_sub(1);
        if let Some(gone) = gone.and_then(|last| ChunkRange::new(0, last)) {
            self.have.remove(gone);
        }
    }

    /// The peer does not send what it was asked for. The oldest of what it should have in its window it may have discarded
    /// before we thought (RFC 7574 §6.2), for it knew sooner how far the stream has come; nobody says that something is gone.
    /// Until it announces that again it is not asked for it.
    pub(super) fn doubt_oldest(&mut self) {
        let window = self.follower.as_ref().and_then(|follower| follower.window);
        let (Some(window), Some(first), Some(last)) = (window, self.have.first(), self.have.last()) else { return };
        let oldest = ChunkRange::new(first, first.saturating_add(MARGIN - 1));
        let Some(oldest) = oldest.filter(|_| last - first >= window.saturating_sub(MARGIN)) else { return };
        let mut missing = RangeSet::new();
        self.down.asked.each_in(oldest, |entry| _ = missing.insert(ChunkRange::single(entry.chunk)));
        self.have.subtract(&missing);
    }
}

impl Endpoint {
    /// At the source: takes the next chunk of the stream, of the full chunk size unless it is the last. Its peers hear
    /// of it when the munro above it is complete and signed.
    ///
    /// # Errors
    ///
    /// [`PushError`]. The chunk was not taken, but where the signer failed: then its munro is signed with the next one.
    pub fn push_chunk(&mut self, now: Instant, swarm: SwarmKey, chunk: &[u8]) -> Result<(), PushError> {
        self.advance(now);
        let slot = self.swarm_slot(swarm).ok_or(PushError::NoSource)?;
        let swarm = self.swarms.get_mut(slot).filter(|swarm| !swarm.state.failed).ok_or(PushError::NoSource)?;
        let live = swarm.state.integrity.live_mut().ok_or(PushError::NoSource)?;
        let time = live.time(now);
        let source = live.source.as_mut().ok_or(PushError::NoSource)?;
        let number = source.next_chunk();
        source.check(chunk)?;
        let range = ChunkRange::single(number);
        match swarm.store.0.write_chunk(number, chunk)? {
            Write::Done => live.unsigned.insert(range),
            Write::Queued => swarm.state.writing.insert(range),
            Write::Busy => return Err(PushError::NoRoom),
        };
        self.proven.clear();
        let proven = &mut self.proven;
        let pushed = source.push(time, chunk, &mut |node, hash| proven.push(Claim { node, hash: *hash }));
        swarm.store.keep(proven)?;
        if let Some(munro) = pushed? {
            self.signed(now, slot, &munro, munro.node.range().len(), chunk.len())?;
        }
        Ok(())
    }

    /// At the source: ends the stream. Its last munro is signed, over its full width. Returns the tree of the whole as
    /// static content, where the source made all of it (RFC 7574 §6.1.2, last paragraph). The swarm stays open, for
    /// those who still fetch the rest.
    ///
    /// # Errors
    ///
    /// [`PushError`].
    pub fn finish_stream(&mut self, now: Instant, swarm: SwarmKey) -> Result<Option<Tree>, PushError> {
        self.advance(now);
        let slot = self.swarm_slot(swarm).ok_or(PushError::NoSource)?;
        let swarm = self.swarms.get_mut(slot).ok_or(PushError::NoSource)?;
        let live = swarm.state.integrity.live_mut().ok_or(PushError::NoSource)?;
        let time = live.time(now);
        let source = live.source.take().ok_or(PushError::NoSource)?;
        let end = source.next_chunk();
        let last_len = source.last_len();
        self.proven.clear();
        let proven = &mut self.proven;
        let finished = source.finish(time, &mut |node, hash| proven.push(Claim { node, hash: *hash }))?;
        swarm.store.keep(proven)?;
        if let Some(tree) = &finished.tree {
            swarm.store.0.set_size(tree.chunks, Some(tree.content_length))?;
        }
        if let Some(munro) = &finished.munro {
            self.signed(now, slot, munro, end - munro.node.first_chunk(), last_len)?;
        }
        Ok(finished.tree)
    }

    /// The tree of a stream that has ended, as static content, for who has recorded all of it: no chunk is hashed
    /// again. `None` as long as something is missing. With the root hash as its swarm ID, the store can be opened as
    /// static content at once.
    ///
    /// # Errors
    ///
    /// [`StoreError`] where the store does not take the hashes that are new.
    pub fn recorded(&mut self, now: Instant, swarm: SwarmKey) -> Result<Option<Tree>, StoreError> {
        self.advance(now);
        let slot = self.swarm_slot(swarm);
        let Some(swarm) = slot.and_then(|slot| self.swarms.get_mut(slot)) else { return Ok(None) };
        let Some(live) = swarm.state.integrity.live() else { return Ok(None) };
        self.proven.clear();
        let tree = live.verifier.tree(&mut self.proven);
        let complete =
            |tree: &Tree| ChunkRange::with_len(0, tree.chunks).is_some_and(|all| swarm.state.held.covers(all));
        let Some(tree) = tree.filter(complete) else { return Ok(None) };
        swarm.store.keep(&self.proven)?;
        swarm.store.0.set_size(tree.chunks, Some(tree.content_length))?;
        Ok(Some(tree))
    }

    /// A munro of ours is signed: what is below it may be announced.
    fn signed(
        &mut self,
        now: Instant,
        slot: usize,
        munro: &Munro,
        chunks: u64,
        last_len: usize,
    ) -> Result<(), StoreError> {
        let Some(swarm) = self.swarms.get_mut(slot) else { return Ok(()) };
        let state = &mut swarm.state;
        let Some(live) = state.integrity.live_mut() else { return Ok(()) };
        self.proven.clear();
        live.verifier.admit(munro, chunks, last_len, &mut self.proven);
        swarm.store.keep(&self.proven)?;
        let mut ready = core::mem::take(&mut live.unsigned);
        ready.intersect_with(&RangeSet::from(munro.node.range()));
        state.held.union_with(&ready);
        state.fresh.union_with(&ready);
        // Nobody can have what has only now been signed. Who says so has it from another source with the same key, and is told
        // what this one signed, for only that shows that there are two.
        if let Some(new) = ready.first().and_then(|first| ChunkRange::new(first, ChunkId::MAX)) {
            for &i in &state.channels {
                if let Some(channel) = self.channels.get_mut(i) {
                    channel.have.remove(new);
                }
            }
        }
        self.on_edge(slot);
        self.push(now, slot, &ready);
        self.after_chunks(now, slot);
        Ok(())
    }

    /// A munro came, with its hash before it in the same datagram (RFC 7574 §6.1.2.3). In Sign All, the signature of a
    /// chunk that follows.
    pub(super) fn on_munro(
        &mut self,
        now: Instant,
        i: usize,
        (range, timestamp, signature): (ChunkRange, u64, &[u8]),
        claims: &mut Vec<Claim>,
        from: usize,
    ) {
        let Some(channel) = self.channels.get_mut(i) else { return };
        let slot = channel.swarm;
        let Some(swarm) = self.swarms.get_mut(slot) else { return };
        let (Some(live), Some(follower)) = (swarm.state.integrity.live_mut(), channel.follower.as_mut()) else {
            return;
        };
        if live.sign_all {
            return follower.keep_signature(range.first(), timestamp, signature);
        }
        let ours = claims.get(from..).unwrap_or_default();
        let hash = ours.iter().rfind(|claim| claim.node.range() == range).copied();
        let Some(Claim { node, hash }) = hash else {
            return self.shared.stats.dropped_malformed += 1;
        };
        // It is no uncle.
        if claims.last().is_some_and(|claim| claim.node == node) {
            claims.pop();
        }
        let munro = Munro { node, time: live.verifier.signing().read_time(timestamp), hash, signature };
        self.proven.clear();
        match live.verifier.offer(live.time(now), &munro, &mut self.proven) {
            Ok(offered) => {
                follower.theirs = follower.theirs.max(Some(node.first_chunk()));
                if offered == Offered::New {
                    match swarm.store.keep(&self.proven) {
                        Ok(()) => self.on_edge(slot),
                        Err(error) => self.fail(slot, error),
                    }
                }
            }
            Err(refusal) => self.on_refusal(now, i, refusal),
        }
    }

    /// A chunk came that was expected. In Sign All it is taken by its signature, which came with it or before it (RFC 7574
    /// §6.1.1); `false`: it is not the source's, as far as can be told, or too old to be the end of the stream.
    pub(super) fn is_signed(&mut self, now: Instant, i: usize, chunk: ChunkId, data: &[u8]) -> bool {
        let Some(channel) = self.channels.get_mut(i) else { return false };
        let slot = channel.swarm;
        // Of static content there are no followers.
        let Some(follower) = &mut channel.follower else { return true };
        let Some(swarm) = self.swarms.get_mut(slot) else { return false };
        let Some(live) = swarm.state.integrity.live_mut().filter(|live| live.sign_all) else { return true };
        let Some((timestamp, signature)) = follower.take_signature(chunk) else {
            self.shared.stats.dropped_unproven += 1;
            self.ask_again(now, slot, i, chunk);
            return false;
        };
        let time = live.verifier.signing().read_time(timestamp);
        let end = live.verifier.end();
        self.proven.clear();
        let offered = live.verifier.offer_signed(live.time(now), chunk, data, time, &signature, &mut self.proven);
        if let Err(refusal) = offered {
            self.on_refusal(now, i, refusal);
            self.ask_again(now, slot, i, chunk);
            return false;
        }
        let moved = live.verifier.end() > end;
        match swarm.store.keep(&self.proven) {
            Ok(()) if moved => self.on_edge(slot),
            Ok(()) => {}
            Err(error) => self.fail(slot, error),
        }
        true
    }

    /// What a peer sent as the source's is not taken for it.
    fn on_refusal(&mut self, now: Instant, i: usize, refusal: Refusal) {
        self.shared.stats.refused_munros += 1;
        match refusal {
            // RFC 7574 §12.6.5, threat INTEGRITY.1: who sends what does not check is not listened to.
            Refusal::BadSignature => self.drop_channel(now, i, Reason::Corrupt, true),
            Refusal::TwoSources => {
                let slot = self.channels.get(i).map(|channel| channel.swarm);
                let Some(swarm) = slot.and_then(|slot| self.swarms.get_mut(slot)) else { return };
                let Some(live) = swarm.state.integrity.live_mut() else { return };
                if !core::mem::replace(&mut live.told_two, true) {
                    self.shared.tell(Event::TwoSources { swarm: swarm.state.key });
                }
            }
            _ => {}
        }
    }

    /// The stream may have moved on: what there is now may be asked for, what is too old is forgotten.
    fn on_edge(&mut self, slot: usize) {
        self.discard(slot);
        let Self { channels, swarms, shared, .. } = self;
        let Some(swarm) = swarms.get_mut(slot) else { return };
        let key = swarm.state.key;
        let Some(live) = swarm.state.integrity.live_mut() else { return };
        if !core::mem::replace(&mut live.tuned_in, true) {
            shared.tell(Event::TunedIn { swarm: key, chunk: live.verifier.end() });
        }
        if !core::mem::replace(&mut live.told_edge, true) {
            shared.tell(Event::LiveEdge { swarm: key });
        }
        let bound = live.bound();
        swarm.state.windows.bound(bound);
        for &i in &swarm.state.channels {
            let Some(channel) = channels.get_mut(i).filter(|channel| channel.is_up()) else { continue };
            channel.down.look_again();
            shared.wake(i, channel);
        }
    }

    /// RFC 7574 §6.2: what lies before the window is discarded. Whoever serves it no more does not fetch it any more
    /// either.
    pub(super) fn discard(&mut self, slot: usize) {
        let Self { channels, swarms, shared, .. } = self;
        let Some(swarm) = swarms.get_mut(slot) else { return };
        let state = &mut swarm.state;
        let last = state.held.last();
        let Some(live) = state.integrity.live_mut() else { return };
        // The window ends at the last chunk held, or begins where no munros are kept any more.
        let Some(window) = live.window else { return };
        let edge = live.verifier.rightmost().map_or(0, |munro| munro.node.last_chunk() + 1);
        let edge = edge.saturating_sub(window.saturating_mul(2));
        let floor = last.map_or(0, |last| last.saturating_add(1).saturating_sub(window)).max(edge);
        let floor = floor.max(live.floor);
        // What was asked for when it lay in the window may come behind it.
        if floor == live.floor && state.held.first().is_none_or(|first| first >= floor) {
            return;
        }
        live.floor = floor;
        let Some(gone) = ChunkRange::new(0, floor - 1) else { return };
        for set in [&mut state.held, &mut state.fresh, &mut state.writing] {
            set.remove(gone);
        }
        let asked: Vec<_> = state.asked_of.iter(gone).collect();
        for (chunk, owner) in asked {
            if let Some(channel) = channels.get_mut(owner as usize) {
                take_back(channel, state, chunk, &mut shared.requested);
                shared.wake(owner as usize, channel);
            }
        }
        state.busy.remove(gone);
        let bound = state.integrity.live().and_then(Live::bound);
        state.windows.bound(bound);
        for &i in &state.channels {
            if let Some(channel) = channels.get_mut(i) {
                channel.announce.remove(gone);
            }
        }
        if let Err(error) = swarm.store.0.discard_before(floor) {
            self.fail(slot, error);
        }
    }
}

/// Why a source's chunk was not taken.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// There is no such swarm, or it has no source here, or not any more.
    #[error("this peer is not the source of a live stream")]
    NoSource,
    /// The source did not take it.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store has no room; try again when it has.
    #[error("the store has no room for the next chunk now")]
    NoRoom,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Swarm {
    /// The hash of a node.
    pub(super) fn hash(&mut self, node: Bin) -> Result<Option<Hash>, StoreError> {
        let Store(store) = &mut self.store;
        match self.state.integrity.live() {
            Some(live) => live.hash(node, &mut **store),
            None => store.read_hash(node),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What counts is what came of late, in all and from us.
    #[test]
    fn who_has_next_to_nothing_from_others_only_takes() {
        let mut follower = Follower {
            window: None,
            ours: None,
            theirs: None,
            signatures: VecDeque::new(),
            sought_at: None,
            came: 0,
            from_us: 0,
        };
        let mut come = |all: u64, ours: u64| {
            follower.on_ours(ours);
            follower.on_holds(all);
            follower.only_takes()
        };
        assert!(!come(ENOUGH_TO_TELL - 1, ENOUGH_TO_TELL - 1), "too few to tell");
        assert!(come(1, 1));
        assert!(!come(32, 16), "a quarter from others");
        assert!((0..100).map(|_| come(8, 8)).last() == Some(true), "it changed");
        assert!((0..20).any(|_| !come(8, 4)), "and back");
        assert!(!come(u64::MAX, 0), "claims count as what came from others");
    }
}
