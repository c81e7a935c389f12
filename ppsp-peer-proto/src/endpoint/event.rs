use core::net::SocketAddr;

use ppsp_core::ChunkId;

/// Names a swarm for as long as the endpoint lives; never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SwarmKey(pub(crate) u64);

/// Names a peer of one swarm for as long as the endpoint lives; never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PeerKey(pub(crate) u64);

/// What happened. Small, never carries content; `Progress` and the like are merged, so that the queue stays bounded.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Event {
    /// The handshake with a peer is complete.
    PeerUp {
        /// Its swarm.
        swarm: SwarmKey,
        /// The peer.
        peer: PeerKey,
        /// Its address.
        remote: SocketAddr,
    },
    /// A peer is gone, or never came; its key will not come back.
    PeerDown {
        /// Its swarm.
        swarm: SwarmKey,
        /// The peer.
        peer: PeerKey,
        /// Its address.
        remote: SocketAddr,
        /// Why.
        reason: Reason,
    },
    /// Addresses came by peer exchange; take them with [`SwarmMut::take_learned`](crate::SwarmMut::take_learned).
    PeersLearned {
        /// The swarm.
        swarm: SwarmKey,
    },
    /// The number of chunks is known. Where the length of the content was not known beforehand, the number may still be
    /// corrected downwards, by another event like this, until the last chunk is held.
    SizeKnown {
        /// The swarm.
        swarm: SwarmKey,
        /// Number of chunks.
        chunks: u64,
    },
    /// More is held than before; see [`Swarm::held`](crate::Swarm::held).
    Progress {
        /// The swarm.
        swarm: SwarmKey,
    },
    /// All content is held, or all that is wanted.
    Complete {
        /// The swarm.
        swarm: SwarmKey,
    },
    /// A live stream was found: there is a munro of its source that is not too old.
    TunedIn {
        /// The swarm.
        swarm: SwarmKey,
        /// The chunk behind the last one that is known to exist. Other peers may know of later ones.
        chunk: ChunkId,
    },
    /// A live stream has moved on; see [`Swarm::live_end`](crate::Swarm::live_end).
    LiveEdge {
        /// The swarm.
        swarm: SwarmKey,
    },
    /// Two sources sign with the key of a live stream. Told once.
    TwoSources {
        /// The swarm.
        swarm: SwarmKey,
    },
    /// The store failed and the swarm stands still; see [`SwarmMut::take_error`](crate::SwarmMut::take_error).
    SwarmFailed {
        /// The swarm.
        swarm: SwarmKey,
    },
}

/// Why a peer is gone.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Reason {
    /// It closed the channel.
    Closed,
    /// It never answered our handshake.
    Unanswered,
    /// It fell silent.
    TimedOut,
    /// It answered with other metadata or another protocol version.
    Incompatible,
    /// It sent content that does not verify.
    Corrupt,
    /// It broke the protocol.
    Misbehaved,
    /// Both of us hold everything, or another channel leads to the same peer.
    NotNeeded,
    /// Our own choice: `disconnect` or `close`.
    Local,
}
