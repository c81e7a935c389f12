use alloc::{boxed::Box, sync::Arc, vec, vec::Vec};
use core::{net::SocketAddr, num::NonZeroUsize, time::Duration};

use ppsp_core::{ChunkAddressing, HashAlg, Instant};

use super::{Chance, Content, SimStore, Speech, node_address};
use crate::{
    Datagrams, Endpoint, EndpointConfig, SwarmConfig, SwarmKey,
    wire::{ChannelId, Message},
};

/// One endpoint, without a network around it, and any number of peers that are no more than an address and a channel:
/// for measuring what a peer costs. Each has shaken hands as it should, and says only what it is told to.
#[derive(Debug)]
pub struct Crowd {
    endpoint: Endpoint,
    now: Instant,
    chance: Chance,
    swarms: Vec<(SwarmKey, Speech)>,
    peers: Vec<Member>,
    buffer: Vec<u8>,
}

/// A peer of a [`Crowd`].
#[derive(Clone, Copy, Debug)]
struct Member {
    swarm: u32,
    /// The endpoint's channel.
    theirs: ChannelId,
}

impl Crowd {
    /// An endpoint without swarms and peers. Limits are lifted where they would keep a crowd out.
    pub fn new(seed: u64, config: EndpointConfig) -> Self {
        let mut config = config;
        (config.max_peers, config.max_inbound) = (1 << 22, 1 << 22);
        // Not at time zero, where no clock ever is.
        let now = Instant::from_micros(1_700_000_000_000_000);
        Self {
            endpoint: Endpoint::new(config, Chance::bytes(seed, "endpoint", 0), now),
            now,
            chance: Chance::new(seed, "crowd", 0),
            swarms: Vec::new(),
            peers: Vec::new(),
            buffer: vec![0; 1 << 16],
        }
    }

    /// Content of its own, of so many chunks of 1 KiB.
    pub fn content(&mut self, chunks: usize) -> Arc<Content> {
        Content::new(self.chance.next_u64(), chunks * 1024, 1024, HashAlg::Sha256, ChunkAddressing::Range32)
    }

    /// Opens a swarm whose content the endpoint has, or of which it has nothing.
    ///
    /// # Panics
    ///
    /// Where it cannot be opened.
    pub fn open(&mut self, content: &Arc<Content>, seed: bool) {
        let store = if seed { SimStore::complete(content) } else { SimStore::empty(content) };
        let speech = Speech::new(content);
        let config = SwarmConfig::new(content.metadata());
        let key = self.endpoint.open(self.now, config, Box::new(store)).expect("a swarm");
        self.swarms.push((key, speech));
    }

    /// Room for so many more peers here, so that what a peer costs there can be told from it.
    pub fn reserve(&mut self, peers: usize) {
        self.peers.reserve_exact(peers);
    }

    /// So many more peers shake hands, in the swarms in turn.
    ///
    /// # Panics
    ///
    /// Where one is refused.
    pub fn join(&mut self, peers: usize) {
        for _ in 0..peers {
            let n = self.peers.len();
            let swarm = n % self.swarms.len();
            let ours = ChannelId(n as u32 | 1 << 31);
            let opening = self.swarms[swarm].1.opening(ours);
            self.endpoint.handle(self.now, [Datagrams::one(node_address(n as u64), &opening)]);
            let mut theirs = ChannelId::NONE;
            let speech = self.swarms[swarm].1.clone();
            self.drain(|_, datagram| {
                let (channel, messages) = speech.parse(datagram);
                if let Some(Message::Handshake(hello)) = messages.first().filter(|_| channel == ours) {
                    theirs = hello.source;
                }
            });
            assert_ne!(theirs, ChannelId::NONE, "peer {n} got no answer");
            self.peers.push(Member { swarm: swarm as u32, theirs });
            self.say(n, &[]);
            self.drain(|_, _| {});
            self.pass(Duration::from_micros(100));
        }
    }

    /// The endpoint.
    pub fn endpoint(&mut self) -> &mut Endpoint {
        &mut self.endpoint
    }

    /// How many peers there are.
    pub fn peers(&self) -> usize {
        self.peers.len()
    }

    /// Peers whose handshake is complete, in the endpoint's eyes.
    pub fn established(&self) -> usize {
        self.swarms.iter().filter_map(|(key, _)| self.endpoint.swarm(*key)).map(|swarm| swarm.peers().count()).sum()
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Lets time pass, with all that is due in it.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.pass_to(until, |_, _| {});
    }

    /// Lets time pass up to a moment. `each` sees what is sent meanwhile.
    pub fn pass_to(&mut self, until: Instant, mut each: impl FnMut(SocketAddr, &[u8])) {
        while let Some(at) = self.endpoint.poll_timeout().filter(|&at| at <= until) {
            self.now = self.now.max(at);
            self.endpoint.handle_timeout(self.now);
            self.drain(&mut each);
        }
        self.now = self.now.max(until);
    }

    /// The datagram with which a peer says something, and where it comes from.
    ///
    /// # Panics
    ///
    /// Where there is no such peer.
    pub fn speak(&self, peer: usize, messages: &[Message<'_>]) -> (SocketAddr, Vec<u8>) {
        let Member { swarm, theirs } = self.peers[peer];
        (node_address(peer as u64), self.swarms[swarm as usize].1.datagram(theirs, messages))
    }

    /// A peer says something; none for a keep-alive.
    pub fn say(&mut self, peer: usize, messages: &[Message<'_>]) {
        let (remote, datagram) = self.speak(peer, messages);
        self.endpoint.handle(self.now, [Datagrams::one(remote, &datagram)]);
    }

    /// Takes all that the endpoint has to send, and its events. How many datagrams there were.
    pub fn drain(&mut self, mut each: impl FnMut(SocketAddr, &[u8])) -> usize {
        let mut datagrams = 0;
        let segments = NonZeroUsize::MIN;
        while let Some(transmit) = self.endpoint.poll_transmit(self.now, segments, &mut self.buffer) {
            datagrams += 1;
            each(transmit.destination, &self.buffer[..transmit.len]);
        }
        while self.endpoint.poll_event().is_some() {}
        datagrams
    }
}
