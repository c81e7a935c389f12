//! Messages of RFC 7846 §3: the model, a liberal reader and a canonical writer.
//!
//! Texts are borrowed from the body where it holds them without escapes. What a message means for a peer or a swarm is
//! not decided here.

mod json;
mod read;
#[cfg(test)]
mod tests;
mod write;

use alloc::{borrow::Cow, vec::Vec};
use core::net::IpAddr;

pub use json::Fault;
pub use read::Unreadable;

/// RFC 7846 §4: the media type of requests and responses.
pub const MEDIA_TYPE: &str = "application/ppsp-tracker+json";
/// The one version of PPSTP there is (RFC 7846 §3.2.1).
pub const VERSION: u64 = 1;
/// Longest body of a request in bytes.
pub const MAX_REQUEST: usize = 64 << 10;
/// Longest body of a response in bytes.
pub const MAX_RESPONSE: usize = 1 << 20;
/// Objects and lists within each other, those of unknown members included.
pub const MAX_DEPTH: u8 = 16;
/// Longest `swarm_id` in bytes: room for the hexadecimal form of the longest key of a live swarm.
pub const MAX_SWARM_ID: usize = 1100;
/// Longest `peer_id` and `transaction_id` in bytes.
pub const MAX_ID: usize = 64;
/// Longest other text in bytes: names of modes, types and networks.
pub const MAX_TEXT: usize = 64;
/// Most elements of one list: swarm actions, stats, swarm results.
pub const MAX_SWARMS: usize = 256;
/// Most addresses of one peer.
pub const MAX_ADDRS: usize = 32;
/// Most peers of one peer group.
pub const MAX_PEERS: usize = 256;
/// Most unknown members that one element keeps; further ones are ignored.
pub const MAX_UNKNOWN: usize = 8;
/// Longest name and longest value, in bytes of JSON, of an unknown member that is kept.
pub const MAX_UNKNOWN_LEN: usize = 512;

/// A request of a peer (RFC 7846 §3.3.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Names the transaction; 1 to [`MAX_ID`] bytes.
    pub transaction_id: Cow<'a, str>,
    /// Who asks; 1 to [`MAX_ID`] bytes.
    pub peer_id: Cow<'a, str>,
    /// What is asked.
    pub data: RequestData<'a>,
    /// Members of the request element that RFC 7846 does not know.
    pub unknown: Unknown<'a>,
}

/// What is asked (RFC 7846 §3.3.3, Table 5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RequestData<'a> {
    /// Registers, joins and leaves swarms.
    Connect(Connect<'a>),
    /// Asks for peers.
    Find(Find<'a>),
    /// Says that the peer is alive, and what it did.
    StatReport(StatReport<'a>),
}

/// The data of a CONNECT request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connect<'a> {
    /// What peers are wanted.
    pub peer_num: Option<PeerNum<'a>>,
    /// Where the peer can be reached; at most [`MAX_ADDRS`].
    pub addrs: Vec<PeerAddr<'a>>,
    /// 1 to [`MAX_SWARMS`] actions.
    pub actions: Vec<SwarmAction<'a>>,
}

/// The data of a FIND request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Find<'a> {
    /// Whose peers are wanted; 1 to [`MAX_SWARM_ID`] bytes.
    pub swarm_id: Cow<'a, str>,
    /// What peers are wanted.
    pub peer_num: Option<PeerNum<'a>>,
}

/// The data of a STAT_REPORT request; without stats it only keeps the registration alive (RFC 7846 §4.1.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatReport<'a> {
    /// At most [`MAX_SWARMS`] elements.
    pub stats: Vec<Stat<'a>>,
}

/// Scope of a peer list (RFC 7846 §3.2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerNum<'a> {
    /// Most peers wanted.
    pub peer_count: Option<u64>,
    /// The NAT traversal that the asker prefers.
    pub ability_nat: Option<Word<'a, AbilityNat>>,
    /// Links to other peers.
    pub concurrent_links: Option<u64>,
    /// Seconds.
    pub online_time: Option<u64>,
    /// Kbit/s.
    pub upload_bandwidth: Option<u64>,
}

/// What to do in a swarm (RFC 7846 §3.2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwarmAction<'a> {
    /// 1 to [`MAX_SWARM_ID`] bytes.
    pub swarm_id: Cow<'a, str>,
    /// To join or to leave.
    pub action: Word<'a, Action>,
    /// How the peer takes part.
    pub peer_mode: Word<'a, PeerMode>,
}

/// An address of a peer (RFC 7846 §3.2.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerAddr<'a> {
    /// `ip_address`.
    pub ip: IpAddr,
    /// May be 0 as read.
    pub port: u16,
    /// The larger, the better.
    pub priority: u32,
    /// `type`; the RFC's own example of a response leaves it out.
    pub kind: Option<Word<'a, AddrKind>>,
    /// Access network.
    pub connection: Option<Word<'a, Connection>>,
    /// Number of the autonomous system.
    pub asn: Option<Cow<'a, str>>,
    /// The peer protocol spoken there.
    pub peer_protocol: Option<Cow<'a, str>>,
}

/// What a peer did in a swarm (RFC 7846 §3.2.5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stat<'a> {
    /// 1 to [`MAX_SWARM_ID`] bytes.
    pub swarm_id: Cow<'a, str>,
    /// Bytes sent to the swarm.
    pub uploaded_bytes: u64,
    /// Bytes received from the swarm.
    pub downloaded_bytes: u64,
    /// Upload bandwidth that is free now. The RFC names no unit; ours is Kbit/s as in [`PeerNum::upload_bandwidth`].
    pub available_bandwidth: u64,
    /// Links to other peers.
    pub concurrent_links: u64,
    /// Members that RFC 7846 does not know.
    pub unknown: Unknown<'a>,
}

/// A response of a tracker (RFC 7846 §3.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response<'a> {
    /// That of the request; empty where the request was too broken to have one.
    pub transaction_id: Cow<'a, str>,
    /// The `error_code`; the `response_type` follows from it.
    pub code: Code,
    /// Our additional member: the peer identifier assigned by the tracker.
    pub peer_id: Option<Cow<'a, str>>,
    /// The address under which the tracker sees the peer.
    pub peer_addr: Option<PeerAddr<'a>>,
    /// One for each action; at most [`MAX_SWARMS`].
    pub results: Vec<SwarmResult<'a>>,
    /// Members of the response element that RFC 7846 does not know.
    pub unknown: Unknown<'a>,
}

/// The result of an action in a swarm (RFC 7846 §3.3.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SwarmResult<'a> {
    /// 1 to [`MAX_SWARM_ID`] bytes.
    pub swarm_id: Cow<'a, str>,
    /// True when the action failed (`result` is not 0).
    pub failed: bool,
    /// The peer group; at most [`MAX_PEERS`].
    pub peers: Option<Vec<PeerInfo<'a>>>,
}

/// A peer of a list (RFC 7846 §3.2.4).
///
/// A `peer_info` of the wire has one address: a peer with several is written as neighbouring elements with the same
/// identifier, and read back as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerInfo<'a> {
    /// 1 to [`MAX_ID`] bytes.
    pub peer_id: Cow<'a, str>,
    /// At most [`MAX_ADDRS`]. A peer without any is not written.
    pub addrs: Vec<PeerAddr<'a>>,
}

/// The `error_code` of a response (RFC 7846 §4.3). Codes that this crate does not know survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Code(pub u8);

impl Code {
    /// 00: no error.
    pub const OK: Self = Self(0);
    /// 01: the message is incorrectly formed.
    pub const BAD_REQUEST: Self = Self(1);
    /// 02: the version is not supported.
    pub const UNSUPPORTED_VERSION: Self = Self(2);
    /// 03: the peer may not do this, or not in its state.
    pub const FORBIDDEN: Self = Self(3);
    /// 04: an unexpected condition at the tracker.
    pub const INTERNAL: Self = Self(4);
    /// 05: the tracker is overloaded.
    pub const UNAVAILABLE: Self = Self(5);
    /// 06: authentication is required.
    pub const AUTHENTICATION_REQUIRED: Self = Self(6);
}

impl<'a> Response<'a> {
    /// A response without `peer_addr` and results, as errors must be (RFC 7846 §4.3).
    pub const fn empty(code: Code, transaction_id: Cow<'a, str>) -> Self {
        Self { transaction_id, code, peer_id: None, peer_addr: None, results: Vec::new(), unknown: Unknown(Vec::new()) }
    }
}

/// Members that RFC 7846 does not know (§4.4): names, and values as they stood in the body.
///
/// At most [`MAX_UNKNOWN`] of at most [`MAX_UNKNOWN_LEN`] bytes are kept; a message that is written again has them again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Unknown<'a> {
    /// Name and JSON value of each, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.0.iter().map(|(name, value)| (&**name, *value))
    }
}

/// A word with a fixed set of values; other values survive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word<'a, T> {
    /// A value of RFC 7846.
    Known(T),
    /// Any other text of at most [`MAX_TEXT`] bytes.
    Other(Cow<'a, str>),
}

impl<T: Copy> Word<'_, T> {
    /// The value, if RFC 7846 knows it.
    pub const fn known(&self) -> Option<T> {
        match self {
            Self::Known(value) => Some(*value),
            Self::Other(_) => None,
        }
    }
}

impl<T> From<T> for Word<'_, T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

/// A set of words.
trait Words: Copy + 'static {
    const ALL: &'static [(Self, &'static str)];
}

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident { $($(#[$value_doc:meta])* $value:ident = $text:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$value_doc])* $value),* }

        impl Words for $name {
            const ALL: &'static [(Self, &'static str)] = &[$((Self::$value, $text)),*];
        }
    )*};
}

words! {
    /// What a CONNECT does in a swarm (RFC 7846 §3.2.3).
    Action {
        /// Takes part from now on.
        Join = "JOIN",
        /// Takes part no more.
        Leave = "LEAVE",
    }
    /// How a peer takes part in a swarm (RFC 7846 §3.2.3).
    PeerMode {
        /// Has the content and gives it.
        Seeder = "SEEDER",
        /// Wants the content.
        Leech = "LEECH",
    }
    /// NAT traversal (RFC 7846 §3.2.2).
    AbilityNat {
        /// Not behind a NAT.
        NoNat = "NO_NAT",
        /// By STUN.
        Stun = "STUN",
        /// By TURN.
        Turn = "TURN",
    }
    /// What an address is for NAT traversal (RFC 7846 §3.2.4).
    AddrKind {
        /// An address of the peer's own interface.
        Host = "HOST",
        /// The public address that a NAT gives.
        Reflexive = "REFLEXIVE",
        /// An address of a relay.
        Proxy = "PROXY",
    }
    /// Access network of an address (RFC 7846 §3.2.4).
    Connection {
        /// By radio.
        Wireless = "wireless",
        /// By cable.
        Wired = "wired",
    }
}
