use alloc::{boxed::Box, sync::Arc};
use core::time::Duration;

use ppsp_core::{Instant, SwarmMetadata};

use super::LiveOptions;
use crate::{
    congestion::{Controller, ControllerFactory, LedbatFactory, StreamingFactory},
    policy::{Choker, Picker, RarestFirst, Reciprocal},
};

/// Limits, timers and policies of an [`Endpoint`](crate::Endpoint). Everything in it that a stranger can grow is
/// bounded by one of these values; what happens at the limit stands beside each.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct EndpointConfig {
    /// Congestion control in the background: LEDBAT (RFC 7574 §8.15). [`Congestion`] says which swarms have it.
    pub controller: Arc<dyn ControllerFactory>,
    /// Congestion control of what is being watched.
    pub streaming: Arc<dyn ControllerFactory>,
    /// Channels over all swarms. At the limit `connect` fails and handshakes of others stay unanswered.
    pub max_peers: usize,
    /// Channels that others opened. Less than `max_peers`, so that nobody can fill all slots from outside
    /// (RFC 7574 §12.6.1, threat HS.1). At the limit a newcomer takes the place of a channel that has been silent for a
    /// while; where there is none, its handshake stays unanswered.
    pub max_inbound: usize,
    /// Channels that others opened from one public address (of IPv6: one network of 64 bits), over all swarms. At the
    /// limit further handshakes from there stay unanswered. Private addresses are counted with their ports.
    pub max_inbound_per_address: usize,
    /// Handshakes answered whose third datagram has not come. At the limit one of them, by lot, is forgotten for each
    /// that comes: in a flood the oldest would always be the one that is about to be completed.
    pub max_half_open: usize,
    /// How long a handshake that was answered may wait for its third datagram.
    pub half_open_timeout: Duration,
    /// How long to go on asking a peer that does not answer our handshake.
    pub handshake_timeout: Duration,
    /// Bytes asked for and not received, over all peers. At the limit no more is asked. They take no memory of their
    /// own; the account of them takes about a tenth of the memory that chunks of 1 KiB would.
    pub max_requested: usize,
    /// Bytes asked of one peer and not received. The default fills a path of 1 Gbit/s and 100 ms, of which a round trip
    /// and LEDBAT's queue hold 22 MB.
    pub max_requested_per_peer: usize,
    /// Ranges of chunks remembered of what a peer asked for. At the limit further REQUESTs are dropped.
    pub max_queued_requests: usize,
    /// Parts of the set of chunks that a peer announced. At the limit HAVEs that would add parts are dropped.
    pub max_have_parts: usize,
    /// Largest datagram sent, in bytes of UDP payload. A chunk that does not fit is sent in a larger one all the same.
    pub max_datagram: usize,
    /// Largest datagram tried on the way to a peer, with several chunks in it (RFC 7574 §8.1); no more than
    /// `max_datagram` is sent unless the peer acknowledged one as large. At most what UDP carries, 65 507 bytes.
    pub max_probed_datagram: usize,
    /// Silence after which a peer is sent a keep-alive (RFC 7574 §3.12). Short enough for the NATs on the way.
    pub keep_alive: Duration,
    /// Silence after which a peer is dead, if three datagrams went unanswered meanwhile (RFC 7574 §3.12: three
    /// minutes).
    pub idle_timeout: Duration,
    /// How long HAVEs may wait for company (RFC 7574 §3.2).
    pub have_delay: Duration,
    /// Channels kept per swarm to peers that neither ask nor are asked for anything, once we hold everything.
    pub max_idle_peers: usize,
    /// Bytes of content sent a second over all peers; `None`: no limit but what the uplink is seen to let pass.
    pub upload_limit: Option<u64>,
    /// Bytes of content asked for a second over all peers; `None`: no limit.
    pub download_limit: Option<u64>,
    /// Exchange plain peer addresses (PEX_RESv4, PEX_RESv6) with peers at private addresses (RFC 7574 §3.10, §8.13).
    /// Only for benign networks, hence off.
    pub pex: bool,
    /// How long a peer that sent corrupt content or broke the protocol stays out.
    pub ban_time: Duration,
    /// Addresses that stay out at a time. At the limit the oldest is forgiven.
    pub max_bans: usize,
    /// Addresses learned by PEX that wait in a swarm to be taken. At the limit further ones are dropped.
    pub max_learned: usize,
    /// Events that wait to be taken. At the limit `PeerUp` and `PeerDown` are dropped and counted.
    pub max_events: usize,
}

impl EndpointConfig {
    /// The controller of a channel.
    pub(super) fn build_controller(&self, now: Instant, streams: bool) -> Box<dyn Controller> {
        let factory = if streams { &self.streaming } else { &self.controller };
        factory.build(now, self.max_datagram)
    }
}

impl Default for EndpointConfig {
    /// Fit for an internet peer.
    fn default() -> Self {
        Self {
            controller: Arc::new(LedbatFactory::default()),
            streaming: Arc::new(StreamingFactory::default()),
            max_peers: 256,
            max_inbound: 192,
            max_inbound_per_address: 16,
            max_half_open: 1024,
            half_open_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(30),
            max_requested: 64 << 20,
            max_requested_per_peer: 32 << 20,
            max_queued_requests: 1024,
            max_have_parts: 16 * 1024,
            max_datagram: 1452,
            max_probed_datagram: 65_487,
            keep_alive: Duration::from_secs(25),
            idle_timeout: Duration::from_secs(180),
            have_delay: Duration::from_millis(20),
            max_idle_peers: 32,
            upload_limit: None,
            download_limit: None,
            pex: false,
            ban_time: Duration::from_secs(600),
            max_bans: 1024,
            max_learned: 64,
            max_events: 4096,
        }
    }
}

/// How what a swarm sends gives way to other traffic. The sender decides that for itself: a receiver's choice changes
/// nothing about what it is sent, and no peer is told.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Congestion {
    /// As in `Streaming` while somebody reads ([`SwarmMut::set_windows`](crate::SwarmMut::set_windows)): those who
    /// watch the same feed each other in time. As in `Background` otherwise.
    #[default]
    Automatic,
    /// [`EndpointConfig::controller`]: for seeds that must not be in anybody's way.
    Background,
    /// [`EndpointConfig::streaming`]: for seeds of a service whose viewers wait for them.
    Streaming,
}

/// What a swarm is, and who decides in it.
#[non_exhaustive]
#[derive(Debug)]
pub struct SwarmConfig {
    /// What every peer of the swarm must know.
    pub metadata: SwarmMetadata,
    /// Decides which chunks to ask of whom.
    pub picker: Box<dyn Picker>,
    /// Decides whom to serve.
    pub choker: Box<dyn Choker>,
    /// Which congestion control its channels have.
    pub congestion: Congestion,
    /// What a live swarm is told besides; without it, a viewer's defaults.
    pub live: Option<LiveOptions>,
}

impl SwarmConfig {
    /// With the default policies.
    pub fn new(metadata: SwarmMetadata) -> Self {
        Self {
            metadata,
            picker: Box::new(RarestFirst::default()),
            choker: Box::new(Reciprocal::default()),
            congestion: Congestion::default(),
            live: None,
        }
    }
}
