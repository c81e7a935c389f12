//! What the swarm tests share: seeds, and puppets on a line.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]

use std::{net::SocketAddr, time::Duration};

use ppsp_core::ChunkRange;
use ppsp_peer_proto::{
    sim::{NodeId, Speech, World},
    wire::{ChannelId, Message, split_channel},
};

/// Seeds of a test: a fixed few; `PPSP_SEED=7` for one, `PPSP_SEEDS=100` for the first hundred.
pub fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().expect("a seed is a number"));
    match (number("PPSP_SEED"), number("PPSP_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, Some(count)) => (1..=count).collect(),
        (None, None) => vec![1, 2, 3],
    }
}

/// Runs a test with each seed. Where one fails, says how to replay it.
pub fn each_seed(test: impl Fn(u64)) {
    for seed in seeds() {
        with_seed(seed, &test);
    }
}

/// Runs a test that takes long with the first seed only.
pub fn one_seed(test: impl Fn(u64)) {
    let many = std::env::var_os("PPSP_SEEDS").is_some();
    for seed in seeds().into_iter().take(if many { usize::MAX } else { 1 }) {
        with_seed(seed, &test);
    }
}

/// Runs a test with one seed. Where it fails, says how to replay it.
pub fn with_seed(seed: u64, test: impl FnOnce(u64)) {
    struct Replay(u64);
    impl Drop for Replay {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let thread = std::thread::current();
                let (binary, test) = (env!("CARGO_CRATE_NAME"), thread.name().unwrap_or(""));
                eprintln!(
                    "replay: PPSP_SEED={} cargo test -p ppsp-peer-proto --test {binary} {test} -- --nocapture",
                    self.0
                );
            }
        }
    }
    let _replay = Replay(seed);
    test(seed);
}

pub fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn range(first: u64, last: u64) -> ChunkRange {
    ChunkRange::new(first, last).expect("a range")
}

pub fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A puppet's channel to a peer.
#[derive(Clone, Debug)]
pub struct Line {
    pub puppet: NodeId,
    pub remote: SocketAddr,
    pub speech: Speech,
    /// Before datagrams to us.
    pub ours: ChannelId,
    /// Before datagrams to the peer.
    pub theirs: ChannelId,
}

impl Line {
    /// Sends an opening handshake with `extra` messages; `None` where nothing comes back. Stays half open.
    pub fn open(
        world: &mut World,
        puppet: NodeId,
        remote: SocketAddr,
        speech: &Speech,
        ours: u32,
        extra: &[Message<'_>],
    ) -> Option<Self> {
        let mut messages = vec![speech.hello(ChannelId(ours))];
        messages.extend_from_slice(extra);
        let opening = speech.datagram(ChannelId::NONE, &messages);
        world.puppet_send(puppet, remote, opening);
        // As long as a full queue on the way may take.
        let theirs = (0..10).find_map(|_| {
            world.run_for(ms(100));
            let answers = world.puppet_take(puppet);
            answers.iter().find_map(|answer| match speech.parse(&answer.bytes) {
                (channel, messages) if channel == ChannelId(ours) => match messages.first() {
                    Some(Message::Handshake(hello)) => Some(hello.source),
                    _ => None,
                },
                _ => None,
            })
        })?;
        Some(Self { puppet, remote, speech: speech.clone(), ours: ChannelId(ours), theirs })
    }

    /// A complete handshake; says `first` in the third datagram.
    ///
    /// Panics where nobody answers.
    pub fn dial(
        world: &mut World,
        puppet: NodeId,
        remote: SocketAddr,
        speech: &Speech,
        ours: u32,
        first: &[Message<'_>],
    ) -> Self {
        let line = Self::open(world, puppet, remote, speech, ours, &[]).expect("an answer to the handshake");
        line.say(world, first);
        line
    }

    /// A puppet picks up: waits for an opening handshake, answers it with `extra` messages.
    pub fn pick_up(world: &mut World, puppet: NodeId, speech: &Speech, ours: u32, extra: &[Message<'_>]) -> Self {
        world.run_for(ms(50));
        let opening = world.puppet_take(puppet).into_iter().next().expect("an opening handshake");
        let (channel, messages) = speech.parse(&opening.bytes);
        assert_eq!(channel, ChannelId::NONE);
        let Some(Message::Handshake(hello)) = messages.first() else { panic!("no handshake: {messages:?}") };
        let line =
            Self { puppet, remote: opening.from, speech: speech.clone(), ours: ChannelId(ours), theirs: hello.source };
        let mut answer = vec![speech.hello(line.ours)];
        answer.extend_from_slice(extra);
        line.say(world, &answer);
        line
    }

    /// Sends a datagram with these messages, none for a keep-alive, and lets it arrive.
    pub fn say(&self, world: &mut World, messages: &[Message<'_>]) {
        self.say_now(world, messages);
        world.run_for(ms(15));
    }

    /// The same, and no time passes.
    pub fn say_now(&self, world: &mut World, messages: &[Message<'_>]) {
        let datagram = self.speech.datagram(self.theirs, messages);
        world.puppet_send(self.puppet, self.remote, datagram);
    }

    /// Sends bytes after the channel ID.
    pub fn say_bytes(&self, world: &mut World, bytes: &[u8]) {
        let mut datagram = self.theirs.0.to_be_bytes().to_vec();
        datagram.extend_from_slice(bytes);
        world.puppet_send(self.puppet, self.remote, datagram);
        world.run_for(ms(15));
    }

    /// What `pick` makes of the messages that came on the channel since the last call, for a time from now.
    pub fn hear<T>(
        &self,
        world: &mut World,
        time: Duration,
        mut pick: impl FnMut(&Message<'_>) -> Option<T>,
    ) -> Vec<T> {
        world.run_for(time);
        let mut heard = Vec::new();
        for received in world.puppet_take(self.puppet) {
            let (channel, messages) = self.speech.parse(&received.bytes);
            if channel == self.ours {
                heard.extend(messages.iter().filter_map(&mut pick));
            }
        }
        heard
    }

    /// How many such messages came on the channel.
    pub fn count(&self, world: &mut World, time: Duration, mut is: impl FnMut(&Message<'_>) -> bool) -> usize {
        self.hear(world, time, |message| is(message).then_some(())).len()
    }

    /// Chunks whose DATA came.
    pub fn chunks(&self, world: &mut World, time: Duration) -> Vec<u64> {
        self.hear(world, time, |message| match message {
            Message::Data { range, .. } => Some(range.first()),
            _ => None,
        })
    }

    /// Chunks that were asked for.
    pub fn asked(&self, world: &mut World, time: Duration) -> Vec<ChunkRange> {
        self.hear(world, time, |message| match message {
            Message::Request { range } => Some(*range),
            _ => None,
        })
    }

    pub fn is_closed(&self, world: &mut World, time: Duration) -> bool {
        self.count(world, time, |m| matches!(m, Message::Handshake(hello) if hello.source == ChannelId::NONE)) > 0
    }
}

/// The DATA messages of a datagram, without knowing anything else of it.
pub fn data_of(speech: &Speech, datagram: &[u8]) -> Vec<u64> {
    if split_channel(datagram).is_none_or(|(channel, _)| channel == ChannelId::NONE) {
        return Vec::new();
    }
    let (_, messages) = speech.parse(datagram);
    let chunk = |m: &Message<'_>| match m {
        Message::Data { range, .. } => Some(range.first()),
        _ => None,
    };
    messages.iter().filter_map(chunk).collect()
}
