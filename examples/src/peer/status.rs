use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use ppsp_peer_proto::{Endpoint, SwarmKey};
use serde_json::{Value, json};

use super::OriginStatus;

/// Peers whose bytes are counted one by one.
const MAX_COUNTED: usize = 1024;

/// How a swarm stands.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// Bytes of content received from peers and accepted.
    pub downloaded: u64,
    /// Bytes of content that came from its origin and were accepted.
    pub from_origin: u64,
    /// Its origin, where it has one.
    pub origin: Option<OriginStatus>,
    /// Bytes of content sent.
    pub uploaded: u64,
    /// Peers, of now and before, by address.
    pub peers: BTreeMap<SocketAddr, Moved>,
}

/// What was moved between a peer and us.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moved {
    /// It is there now.
    pub up: bool,
    /// It had everything when we met.
    pub seed: bool,
    /// Bytes of content that it sent.
    pub downloaded: u64,
    /// Bytes of content that it was sent.
    pub uploaded: u64,
    /// Bytes a second from it, of late.
    pub download_rate: u64,
    /// Bytes a second to it, of late.
    pub upload_rate: u64,
    /// The round trip to it, once measured.
    pub rtt: Option<Duration>,
    /// What came by channels that are closed.
    earlier: (u64, u64),
    /// It has said what it holds.
    known: bool,
}

impl Status {
    /// Looks at the endpoint again.
    pub(crate) fn update(&mut self, endpoint: &Endpoint, swarm: SwarmKey) {
        let Some(swarm) = endpoint.swarm(swarm) else { return };
        (self.downloaded, self.uploaded) = (swarm.downloaded(), swarm.uploaded());
        self.from_origin = swarm.supplied();
        for moved in self.peers.values_mut() {
            (moved.up, moved.download_rate, moved.upload_rate) = (false, 0, 0);
        }
        for stats in swarm.peers().filter_map(|peer| endpoint.peer(peer)) {
            if self.peers.len() >= MAX_COUNTED && !self.peers.contains_key(&stats.remote) {
                continue;
            }
            let moved = self.peers.entry(stats.remote).or_default();
            moved.up = true;
            if !moved.known && stats.has_chunks > 0 {
                (moved.known, moved.seed) = (true, stats.complete);
            }
            if moved.earlier.0 + stats.downloaded < moved.downloaded
                || moved.earlier.1 + stats.uploaded < moved.uploaded
            {
                // Another channel to the same peer, which begins at zero.
                moved.earlier = (moved.downloaded, moved.uploaded);
            }
            moved.downloaded = moved.earlier.0 + stats.downloaded;
            moved.uploaded = moved.earlier.1 + stats.uploaded;
            (moved.download_rate, moved.upload_rate, moved.rtt) = (stats.download_rate, stats.upload_rate, stats.rtt);
        }
    }

    /// As programs read it.
    pub fn to_json(&self) -> Value {
        let (from_seeds, from_peers) = self.by_kind();
        let peers = self.peers.iter().map(|(addr, moved)| {
            json!({
                "addr": addr, "up": moved.up, "seed": moved.seed,
                "downloaded": moved.downloaded, "uploaded": moved.uploaded,
                "download_rate": moved.download_rate, "upload_rate": moved.upload_rate,
                "rtt_ms": moved.rtt.map(|rtt| rtt.as_secs_f64() * 1e3),
            })
        });
        json!({
            "downloaded": self.downloaded, "uploaded": self.uploaded,
            "from_seeds": from_seeds, "from_peers": from_peers, "from_origin": self.from_origin,
            "origin": self.origin.as_ref().map(|origin| json!({ "url": origin.url, "trouble": origin.trouble })),
            "peers": peers.collect::<Value>(),
        })
    }

    /// Bytes that came from seeds, and from those who were fetching themselves.
    pub fn by_kind(&self) -> (u64, u64) {
        let of =
            |seed: bool| self.peers.values().filter(|moved| moved.seed == seed).map(|moved| moved.downloaded).sum();
        (of(true), of(false))
    }
}
