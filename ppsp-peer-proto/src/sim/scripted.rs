//! Peers that are not ours: puppets on a test's strings, and characters that misbehave by themselves.

use alloc::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    vec,
    vec::Vec,
};
use core::{net::SocketAddr, time::Duration};

use ppsp_core::{Bin, ChunkId, ChunkRange, Instant, SwarmMetadata};

use super::{Access, Chance, Content, MAX_UDP, Node, NodeId, Outbox, World};
use crate::wire::{
    ChannelId, Format, Handshake, Message, MessageType, Options, Reader, SupportedMessages, Writer, split_channel,
};

/// The language of a swarm: what a test needs to speak and understand it without an endpoint.
#[derive(Clone, Debug)]
pub struct Speech {
    content: Arc<Content>,
    metadata: SwarmMetadata,
    format: Format,
}

impl Speech {
    /// The language of the swarm of this content.
    pub fn new(content: &Arc<Content>) -> Self {
        let metadata = content.metadata();
        let format = Format {
            addressing: metadata.addressing,
            chunk_size: metadata.chunk_size,
            hash_len: metadata.hash.len(),
            signature_len: None,
            content_length: Some(content.length()),
        };
        Self { content: Arc::clone(content), metadata, format }
    }

    /// The language of a live swarm with this content, and signatures of so many bytes.
    pub fn live(content: &Arc<Content>, metadata: SwarmMetadata, signature_len: usize) -> Self {
        let mut speech = Self::new(content);
        (speech.format.signature_len, speech.format.content_length) = (Some(signature_len), None);
        Self { metadata, ..speech }
    }

    /// How the swarm writes messages.
    pub fn format(&self) -> &Format {
        &self.format
    }

    /// The content.
    pub fn content(&self) -> &Arc<Content> {
        &self.content
    }

    /// All options that a good peer of the swarm names.
    pub fn options(&self) -> Options<'_> {
        let metadata = &self.metadata;
        let live = metadata.integrity.is_live();
        Options {
            version: Some(1),
            min_version: Some(1),
            swarm_id: Some(metadata.id.as_bytes()),
            integrity: Some(metadata.integrity.code()),
            hash: Some(metadata.hash.code()),
            addressing: Some(metadata.addressing.code()),
            supported: Some(SupportedMessages::ALL),
            chunk_size: Some(metadata.chunk_size),
            live_signature: metadata.id.as_bytes().first().copied().filter(|_| live),
            discard_window: live.then_some(Options::KEEPS_ALL),
        }
    }

    /// A good HANDSHAKE.
    pub fn hello(&self, source: ChannelId) -> Message<'_> {
        Message::Handshake(Handshake { source, options: self.options() })
    }

    /// A closing HANDSHAKE.
    pub fn goodbye(&self) -> Message<'static> {
        Message::Handshake(Handshake { source: ChannelId::NONE, options: Options::default() })
    }

    /// A datagram with these messages.
    ///
    /// # Panics
    ///
    /// Where they do not fit.
    pub fn datagram(&self, channel: ChannelId, messages: &[Message<'_>]) -> Vec<u8> {
        let mut buffer = vec![0; MAX_UDP];
        let mut writer = Writer::new(&mut buffer, channel);
        for message in messages {
            assert!(writer.put(message, &self.format).is_ok(), "cannot write {message:?}");
        }
        let len = writer.finish();
        buffer.truncate(len);
        buffer
    }

    /// The first datagram of a handshake.
    pub fn opening(&self, source: ChannelId) -> Vec<u8> {
        self.datagram(ChannelId::NONE, &[self.hello(source)])
    }

    /// Channel and messages of a datagram, as far as they can be read.
    pub fn parse<'a>(&self, datagram: &'a [u8]) -> (ChannelId, Vec<Message<'a>>) {
        let Some((channel, payload)) = split_channel(datagram) else { return (ChannelId::NONE, Vec::new()) };
        let mut reader = Reader::new(payload);
        let mut messages = Vec::new();
        while let Some(Ok(message)) = reader.next(&self.format) {
            messages.push(message);
        }
        (channel, messages)
    }

    /// HAVE of a range, in as many messages as the addressing needs.
    pub fn have(&self, range: ChunkRange) -> Vec<Message<'static>> {
        self.format.addressing.pieces(range).map(|range| Message::Have { range: Some(range) }).collect()
    }

    /// REQUEST of a range, in as many messages as the addressing needs.
    pub fn request(&self, range: ChunkRange) -> Vec<Message<'static>> {
        self.format.addressing.pieces(range).map(|range| Message::Request { range }).collect()
    }

    /// A datagram that carries a chunk and every hash that its receiver could lack: peaks, uncles, chunk.
    pub fn proven_chunk(&self, channel: ChannelId, chunk: ChunkId, timestamp: u64) -> Vec<u8> {
        self.chunk_with(channel, chunk, timestamp, self.content.chunk(chunk), |hash| hash)
    }

    /// The same with other bytes, and hashes as `forge` makes them.
    pub fn chunk_with(
        &self,
        channel: ChannelId,
        chunk: ChunkId,
        timestamp: u64,
        data: &[u8],
        forge: impl Fn(Vec<u8>) -> Vec<u8>,
    ) -> Vec<u8> {
        let mut nodes: Vec<Bin> = self.content.peaks();
        nodes.extend(self.content.uncles(chunk));
        let hashes: Vec<_> =
            nodes.iter().map(|node| (node.range(), forge(self.content.hash(*node).as_bytes().to_vec()))).collect();
        let mut messages: Vec<Message<'_>> =
            hashes.iter().map(|(range, hash)| Message::Integrity { range: *range, hash }).collect();
        messages.push(Message::Data { range: ChunkRange::single(chunk), timestamp, data });
        self.datagram(channel, &messages)
    }
}

/// A datagram that a [`Puppet`] received.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Received {
    /// When.
    pub at: Instant,
    /// From whom.
    pub from: SocketAddr,
    /// UDP payload.
    pub bytes: Vec<u8>,
}

/// A node without a will of its own.
#[derive(Debug)]
pub struct Puppet {
    address: SocketAddr,
    outbox: Vec<(Option<SocketAddr>, SocketAddr, Vec<u8>)>,
    inbox: Vec<Received>,
}

impl Puppet {
    /// A puppet at an address.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, outbox: Vec::new(), inbox: Vec::new() }
    }

    /// What came since the last call.
    pub fn take(&mut self) -> Vec<Received> {
        core::mem::take(&mut self.inbox)
    }
}

impl Node for Puppet {
    fn address(&self) -> SocketAddr {
        self.address
    }
    fn handle(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        self.inbox.push(Received { at: now, from, bytes: datagram.to_vec() });
    }
    fn handle_timeout(&mut self, _: Instant) {}
    fn poll_transmit(&mut self, _: Instant, out: &mut Outbox) {
        for (source, destination, bytes) in self.outbox.drain(..) {
            match source {
                Some(source) => out.send_as(source, destination, &bytes),
                None => out.send(destination, &bytes),
            }
        }
    }
    fn poll_timeout(&self) -> Option<Instant> {
        None
    }
}

impl World {
    /// Adds a puppet.
    pub fn add_puppet(&mut self, address: SocketAddr) -> NodeId {
        self.add(Puppet::new(address), Access::UNLIMITED)
    }

    /// Lets a puppet send.
    pub fn puppet_send(&mut self, puppet: NodeId, to: SocketAddr, datagram: Vec<u8>) {
        self.act(puppet, |puppet: &mut Puppet, _| puppet.outbox.push((None, to, datagram)));
    }

    /// Lets a puppet send in another's name.
    pub fn puppet_spoof(&mut self, puppet: NodeId, source: SocketAddr, to: SocketAddr, datagram: Vec<u8>) {
        self.act(puppet, |puppet: &mut Puppet, _| puppet.outbox.push((Some(source), to, datagram)));
    }

    /// What a puppet received since the last call.
    pub fn puppet_take(&mut self, puppet: NodeId) -> Vec<Received> {
        self.act(puppet, |puppet: &mut Puppet, _| puppet.take())
    }
}

/// What a [`Character`] gives when it is asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Gives {
    /// What it was asked for.
    Truth,
    /// Chunks with a wrong byte.
    WrongBytes,
    /// Chunks with wrong hashes.
    WrongHashes,
    /// Chunks without hashes.
    NoHashes,
    /// Chunks nobody asked for.
    Unrequested,
    /// Nothing.
    Nothing,
}

/// What a [`Character`] does.
#[derive(Clone, Copy, Debug)]
pub struct Manners {
    /// Announces everything.
    pub announces: bool,
    /// What it gives when it is asked.
    pub gives: Gives,
    /// Chunks a second that it gives; `None`: all at once.
    pub rate: Option<u64>,
    /// Asks everybody for everything, whether choked or not.
    pub greedy: bool,
    /// Acknowledges what it gets.
    pub acknowledges: bool,
    /// Added to the delay in its ACKs.
    pub delay_lie: i64,
    /// Answers a handshake at all.
    pub answers: bool,
    /// Time between its keep-alives.
    pub keep_alive: Option<Duration>,
}

impl Default for Manners {
    /// A seed of good manners.
    fn default() -> Self {
        Self {
            announces: true,
            gives: Gives::Truth,
            rate: None,
            greedy: false,
            acknowledges: true,
            delay_lie: 0,
            answers: true,
            keep_alive: Some(Duration::from_secs(20)),
        }
    }
}

/// A peer that shakes hands as it should and then does as its [`Manners`] say. Without congestion control.
#[derive(Debug)]
pub struct Character {
    address: SocketAddr,
    speech: Speech,
    manners: Manners,
    chance: Chance,
    channels: BTreeMap<u32, Talk>,
    outbox: Vec<(SocketAddr, Vec<u8>)>,
    next_service: Option<Instant>,
    not_before: Instant,
    next_hello: Option<Instant>,
    next_keep_alive: Option<Instant>,
    seen: Seen,
    got: BTreeSet<ChunkId>,
}

#[derive(Debug)]
struct Talk {
    remote: SocketAddr,
    theirs: ChannelId,
    queue: VecDeque<ChunkId>,
    hellos: u32,
    greeted: bool,
    next_unrequested: ChunkId,
}

/// What a [`Character`] saw.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Seen {
    /// Handshakes completed.
    pub channels: u64,
    /// Channels that others closed.
    pub closed: u64,
    /// Chunks it was asked for.
    pub requested: u64,
    /// Chunks it gave.
    pub given: u64,
    /// Chunks it got.
    pub got: u64,
    /// Bytes of content it got.
    pub got_bytes: u64,
    /// Different chunks it got.
    pub got_chunks: u64,
    /// CHOKEs it got.
    pub chokes: u64,
    /// UNCHOKEs it got.
    pub unchokes: u64,
    /// CANCELs it got.
    pub cancels: u64,
    /// ACKs it got.
    pub acks: u64,
    /// Keep-alives it got.
    pub keep_alives: u64,
}

impl Character {
    /// A character at an address.
    pub fn new(address: SocketAddr, content: &Arc<Content>, manners: Manners, chance: Chance) -> Self {
        Self {
            address,
            speech: Speech::new(content),
            manners,
            chance,
            channels: BTreeMap::new(),
            outbox: Vec::new(),
            next_service: None,
            not_before: Instant::from_micros(0),
            next_hello: None,
            next_keep_alive: None,
            seen: Seen::default(),
            got: BTreeSet::new(),
        }
    }

    /// Calls somebody.
    pub fn call(&mut self, now: Instant, remote: SocketAddr) {
        let own = self.new_channel(remote, ChannelId::NONE);
        self.say_hello(own, remote);
        self.next_hello = Some(now + Duration::from_secs(1));
    }

    /// What it saw.
    pub fn seen(&self) -> Seen {
        self.seen
    }

    /// From now on it behaves otherwise.
    pub fn set_manners(&mut self, now: Instant, manners: Manners) {
        self.manners = manners;
        if self.channels.values().any(|talk| !talk.queue.is_empty()) {
            self.next_service.get_or_insert(now.max(self.not_before));
        }
    }

    fn new_channel(&mut self, remote: SocketAddr, theirs: ChannelId) -> u32 {
        let own = (self.chance.next_u64() as u32) | 0x8000_0000;
        let talk = Talk { remote, theirs, queue: VecDeque::new(), hellos: 0, greeted: false, next_unrequested: 0 };
        self.channels.insert(own, talk);
        own
    }

    fn say_hello(&mut self, own: u32, remote: SocketAddr) {
        if let Some(talk) = self.channels.get_mut(&own) {
            talk.hellos += 1;
        }
        let opening = self.speech.opening(ChannelId(own));
        self.outbox.push((remote, opening));
    }

    fn greeting(&self) -> Vec<Message<'static>> {
        let everything = self.speech.content.everything();
        let mut messages = Vec::new();
        if self.manners.announces {
            messages.extend(self.speech.have(everything));
        }
        if self.manners.greedy {
            messages.extend(self.speech.request(everything));
        }
        messages
    }

    fn on_opening(&mut self, from: SocketAddr, hello: &Handshake<'_>) {
        if !self.manners.answers || hello.options.swarm_id != Some(self.speech.metadata.id.as_bytes()) {
            return;
        }
        let known = self.channels.iter().find(|(_, talk)| talk.remote == from && talk.theirs == hello.source);
        let own = known.map(|(own, _)| *own).unwrap_or_else(|| self.new_channel(from, hello.source));
        let mut messages = vec![self.speech.hello(ChannelId(own))];
        messages.extend(self.greeting());
        let answer = self.speech.datagram(hello.source, &messages);
        self.outbox.push((from, answer));
    }

    fn on_message(&mut self, now: Instant, own: u32, message: &Message<'_>) {
        let Some(talk) = self.channels.get_mut(&own) else { return };
        if !talk.greeted {
            talk.greeted = true;
            self.seen.channels += 1;
        }
        match *message {
            Message::Handshake(hello) if hello.source == ChannelId::NONE => {
                self.seen.closed += 1;
                self.channels.remove(&own);
            }
            // The answer to ours.
            Message::Handshake(hello) if talk.theirs == ChannelId::NONE => {
                talk.theirs = hello.source;
                let (remote, theirs) = (talk.remote, talk.theirs);
                let datagram = self.speech.datagram(theirs, &self.greeting());
                self.outbox.push((remote, datagram));
            }
            Message::Request { range } => {
                self.seen.requested += range.len();
                if self.manners.gives != Gives::Nothing {
                    talk.queue.extend(range.chunks().take(1 << 20));
                    self.next_service.get_or_insert(now.max(self.not_before));
                }
            }
            Message::Cancel { range } => {
                self.seen.cancels += 1;
                talk.queue.retain(|chunk| !range.contains(*chunk));
            }
            Message::Have { range: Some(range) } => talk.queue.retain(|chunk| !range.contains(*chunk)),
            Message::Data { range, timestamp, data } => {
                self.seen.got += 1;
                self.seen.got_bytes += data.len() as u64;
                self.seen.got_chunks += u64::from(self.got.insert(range.first()));
                if self.manners.acknowledges {
                    let delay = now.as_micros().wrapping_sub(timestamp).wrapping_add_signed(self.manners.delay_lie);
                    let (remote, theirs) = (talk.remote, talk.theirs);
                    let ack = Message::Ack { range: ChunkRange::single(range.first()), delay };
                    let datagram = self.speech.datagram(theirs, &[ack]);
                    self.outbox.push((remote, datagram));
                }
            }
            Message::Ack { .. } => self.seen.acks += 1,
            Message::Choke => self.seen.chokes += 1,
            Message::Unchoke => {
                self.seen.unchokes += 1;
                if self.manners.greedy {
                    let (remote, theirs) = (talk.remote, talk.theirs);
                    let everything = self.speech.content.everything();
                    let datagram = self.speech.datagram(theirs, &self.speech.request(everything));
                    self.outbox.push((remote, datagram));
                }
            }
            _ => {}
        }
    }

    /// Gives one chunk to each that waits.
    fn serve(&mut self, now: Instant) -> bool {
        let chunks = self.speech.content.chunks();
        let mut any = false;
        let timestamp = now.as_micros();
        for talk in self.channels.values_mut() {
            let Some(asked) = talk.queue.pop_front() else { continue };
            any |= !talk.queue.is_empty();
            let speech = &self.speech;
            let chunk = asked.min(chunks - 1);
            let truth = speech.content.chunk(chunk);
            let wrong = || {
                let mut bytes = truth.to_vec();
                let at = self.chance.clone().below(bytes.len() as u64) as usize;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 0x40;
                }
                bytes
            };
            let datagram = match self.manners.gives {
                Gives::Truth => speech.proven_chunk(talk.theirs, chunk, timestamp),
                Gives::WrongBytes => speech.chunk_with(talk.theirs, chunk, timestamp, &wrong(), |hash| hash),
                Gives::WrongHashes => speech.chunk_with(talk.theirs, chunk, timestamp, truth, |mut hash| {
                    hash[0] ^= 1;
                    hash
                }),
                Gives::NoHashes => {
                    let data = Message::Data { range: ChunkRange::single(chunk), timestamp, data: truth };
                    speech.datagram(talk.theirs, &[data])
                }
                Gives::Unrequested => {
                    talk.next_unrequested = (talk.next_unrequested + 7) % chunks;
                    speech.proven_chunk(talk.theirs, talk.next_unrequested, timestamp)
                }
                Gives::Nothing => continue,
            };
            self.seen.given += 1;
            self.outbox.push((talk.remote, datagram));
        }
        any
    }
}

impl Node for Character {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn handle(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let speech = self.speech.clone();
        let (channel, messages) = speech.parse(datagram);
        if channel == ChannelId::NONE {
            if let Some(Message::Handshake(hello)) = messages.first()
                && hello.source != ChannelId::NONE
            {
                self.on_opening(from, hello);
            }
            return;
        }
        if messages.is_empty() {
            self.seen.keep_alives += 1;
        }
        for message in &messages {
            self.on_message(now, channel.0, message);
        }
        if let Some(every) = self.manners.keep_alive {
            self.next_keep_alive.get_or_insert(now + every);
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        if self.next_hello.is_some_and(|at| at <= now) {
            let waiting: Vec<(u32, SocketAddr)> = self
                .channels
                .iter()
                .filter(|(_, talk)| talk.theirs == ChannelId::NONE && talk.hellos < 20)
                .map(|(own, talk)| (*own, talk.remote))
                .collect();
            self.next_hello = (!waiting.is_empty()).then(|| now + Duration::from_secs(1));
            for (own, remote) in waiting {
                self.say_hello(own, remote);
            }
        }
        if self.next_service.is_some_and(|at| at <= now) {
            self.next_service = None;
            loop {
                let more = self.serve(now);
                if let Some(rate) = self.manners.rate {
                    self.not_before = now + Duration::from_micros(1_000_000 / rate.max(1));
                    self.next_service = more.then_some(self.not_before);
                    break;
                }
                if !more {
                    break;
                }
            }
        }
        if self.next_keep_alive.is_some_and(|at| at <= now) {
            self.next_keep_alive = None;
            for talk in self.channels.values().filter(|talk| talk.theirs != ChannelId::NONE) {
                self.outbox.push((talk.remote, self.speech.datagram(talk.theirs, &[])));
            }
            if let Some(every) = self.manners.keep_alive.filter(|_| !self.channels.is_empty()) {
                self.next_keep_alive = Some(now + every);
            }
        }
    }

    fn poll_transmit(&mut self, _: Instant, out: &mut Outbox) {
        for (destination, bytes) in self.outbox.drain(..) {
            out.send(destination, &bytes);
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        [self.next_service, self.next_hello, self.next_keep_alive].into_iter().flatten().min()
    }
}

/// Opens channels without end, each in the name of another address, as fast as it can.
#[derive(Debug)]
pub struct Flooder {
    address: SocketAddr,
    speech: Speech,
    victim: SocketAddr,
    every: Duration,
    next: Option<Instant>,
    due: bool,
    left: u64,
    chance: Chance,
    have: bool,
}

impl Flooder {
    /// Opens `count` channels at `victim`, one in each `every`.
    pub fn new(
        address: SocketAddr,
        content: &Arc<Content>,
        victim: SocketAddr,
        every: Duration,
        count: u64,
        chance: Chance,
    ) -> Self {
        let next = Some(Instant::from_micros(0));
        Self { address, speech: Speech::new(content), victim, every, next, due: false, left: count, chance, have: true }
    }
}

impl Node for Flooder {
    fn address(&self) -> SocketAddr {
        self.address
    }
    fn handle(&mut self, _: Instant, _: SocketAddr, _: &[u8]) {}
    fn handle_timeout(&mut self, now: Instant) {
        self.left = self.left.saturating_sub(1);
        self.due = true;
        self.next = (self.left > 0).then(|| now + self.every);
    }
    fn poll_transmit(&mut self, _: Instant, out: &mut Outbox) {
        if !core::mem::take(&mut self.due) {
            return;
        }
        // Addresses of a private network that nobody else uses.
        let ip = 0xC0A8_0000 | (self.chance.next_u64() as u32 & 0xFFFF);
        let port = 1024 + self.chance.below(60_000) as u16;
        let source = SocketAddr::from((core::net::Ipv4Addr::from_bits(ip), port));
        let channel = ChannelId(self.chance.next_u64() as u32 | 1);
        let mut messages = vec![self.speech.hello(channel)];
        if self.have {
            messages.extend(self.speech.have(self.speech.content.everything()));
            messages.extend(self.speech.request(self.speech.content.everything()));
        }
        let datagram = self.speech.datagram(ChannelId::NONE, &messages);
        out.send_as(source, self.victim, &datagram);
    }
    fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }
}

/// Does any message of a datagram have this type?
pub fn has_message(messages: &[Message<'_>], kind: MessageType) -> bool {
    messages.iter().any(|message| message.message_type() == kind)
}
