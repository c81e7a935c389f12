use alloc::{rc::Rc, vec::Vec};
use core::{cell::Cell, time::Duration};

use ppsp_core::Instant;

use super::{Access, Acquaintance, LinkConfig, Speech, Swarm, Verdict};
use crate::wire::{Message, Reader, split_channel};

/// What a swarm of one seed and many equal peers costs. Counts are by chunk and peer: what a peer needs for each chunk
/// that it fetches, with its share of what the seed sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Growth {
    /// When half of the peers had everything.
    pub median: Instant,
    /// When all had.
    pub all: Instant,
    /// Datagrams sent.
    pub datagrams: f64,
    /// Messages in them.
    pub messages: f64,
    /// HAVE messages.
    pub haves: f64,
    /// ACK messages.
    pub acks: f64,
    /// REQUEST messages.
    pub requests: f64,
    /// DATA messages.
    pub data: f64,
    /// Part of the chunks received that were held already.
    pub duplicates: f64,
    /// Bytes of content that the seed sent, in copies of the content.
    pub copies: f64,
}

impl Growth {
    /// How many others each peer is told of. It knows about as many more, which were told of it.
    pub const NEIGHBOURS: usize = 25;

    /// Runs such a swarm: 20 Mbit/s each way and 20 ms for everybody, all there within two seconds.
    ///
    /// # Panics
    ///
    /// Where not all have everything after `limit`.
    pub fn measure(seed: u64, peers: usize, length: usize, limit: Duration) -> Self {
        let build = Swarm::builder(seed).content(length).leechers(peers).access(Access::both(2_500_000));
        let build = build.link(LinkConfig::perfect(Duration::from_millis(20))).join_over(Duration::from_secs(2));
        let mut swarm = build.acquaintance(Acquaintance::Neighbours(Self::NEIGHBOURS)).build();
        let speech = Speech::new(&swarm.content);
        let counts = Rc::new(Cell::new([0_u64; 6]));
        let tapped = Rc::clone(&counts);
        swarm.world.tap(move |sight| {
            let mut n = tapped.get();
            n[0] += 1;
            let mut reader = Reader::new(split_channel(sight.bytes).map_or(&[][..], |(_, payload)| payload));
            while let Some(Ok(message)) = reader.next(speech.format()) {
                n[1] += 1;
                match message {
                    Message::Have { .. } => n[2] += 1,
                    Message::Ack { .. } => n[3] += 1,
                    Message::Request { .. } => n[4] += 1,
                    Message::Data { .. } => n[5] += 1,
                    _ => {}
                }
            }
            tapped.set(n);
            Verdict::Pass
        });
        let all = swarm.run(limit);
        let mut completed: Vec<Instant> =
            swarm.leechers.iter().filter_map(|id| swarm.world.peer(*id).completed()).collect();
        completed.sort_unstable();
        let needed = (swarm.content.chunks() * peers as u64) as f64;
        let each = counts.get().map(|n| n as f64 / needed);
        let duplicates: u64 = swarm.leechers.iter().map(|id| swarm.world.peer(*id).stats().dropped_duplicate).sum();
        Self {
            median: completed.get(completed.len() / 2).copied().unwrap_or(all),
            all,
            datagrams: each[0],
            messages: each[1],
            haves: each[2],
            acks: each[3],
            requests: each[4],
            data: each[5],
            duplicates: duplicates as f64 / needed,
            copies: swarm.copies_from_seeds(),
        }
    }
}
