use core::{net::SocketAddr, time::Duration};

/// Counters of an endpoint, since it began.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Stats {
    /// Datagrams in.
    pub datagrams_in: u64,
    /// Datagrams out.
    pub datagrams_out: u64,
    /// Bytes of UDP payload in.
    pub bytes_in: u64,
    /// Bytes of UDP payload out.
    pub bytes_out: u64,
    /// Munros, and in Sign All chunks, that were not taken: signed by somebody else, too old, misplaced.
    pub refused_munros: u64,
    /// Chunks received, verified and stored.
    pub chunks_accepted: u64,
    /// Chunks that the embedder supplied from elsewhere, verified and stored.
    pub chunks_supplied: u64,
    /// Bytes of content sent.
    pub content_sent: u64,
    /// DATA messages sent.
    pub chunks_sent: u64,
    /// Datagrams for no channel of ours, or not from its peer.
    pub dropped_unknown_channel: u64,
    /// Datagrams with a message that does not parse, or that its place forbids.
    pub dropped_malformed: u64,
    /// Datagrams that stopped at a message or option nobody here knows.
    pub dropped_unknown_message: u64,
    /// Handshakes left unanswered: another swarm, metadata or version, no room, a banned address.
    pub dropped_handshakes: u64,
    /// Chunks that do not verify.
    pub dropped_corrupt: u64,
    /// Chunks that came without the hashes to verify them.
    pub dropped_unproven: u64,
    /// Chunks that are held already.
    pub dropped_duplicate: u64,
    /// Chunks that nobody asked for.
    pub dropped_unrequested: u64,
    /// Chunks the store had no room for.
    pub dropped_busy: u64,
    /// HAVEs, REQUESTs and addresses beyond a limit.
    pub dropped_over_limit: u64,
    /// ACKs and CANCELs for what was never sent or asked.
    pub ignored_unfounded: u64,
    /// Chunks asked for that did not come in time.
    pub requests_lapsed: u64,
    /// Chunks sent whose acknowledgement did not come.
    pub chunks_lost: u64,
    /// Events dropped because nobody took them.
    pub dropped_events: u64,
}

/// What is known of one peer.
#[non_exhaustive]
#[derive(Clone, Copy, Debug)]
pub struct PeerStats {
    /// Its address.
    pub remote: SocketAddr,
    /// We opened the channel.
    pub outbound: bool,
    /// The handshake is complete.
    pub up: bool,
    /// Chunks it announced.
    pub has_chunks: u64,
    /// It holds everything.
    pub complete: bool,
    /// Bytes of content that it sent and that were accepted.
    pub downloaded: u64,
    /// Bytes of content sent to it.
    pub uploaded: u64,
    /// Bytes of content a second from it, of late.
    pub download_rate: u64,
    /// Bytes of content a second to it, of late.
    pub upload_rate: u64,
    /// Smoothed round-trip time, once measured.
    pub rtt: Option<Duration>,
    /// It does not serve us at present.
    pub chokes_us: bool,
    /// We do not serve it at present.
    pub choked: bool,
    /// Chunks asked of it and not received.
    pub requested: usize,
}
