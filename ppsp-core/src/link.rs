use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, net::SocketAddr, str::FromStr};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::{ChunkAddressing, HashAlg, IntegrityMethod, MetadataError, SwarmId, SwarmMetadata};

/// A link to a swarm: all that a peer must know to join it, as text.
///
/// `ppsp:<swarm ID in hexadecimal>[/<file name>][?<key>=<value>&…]`, with libswift's keys:
///
/// | key | meaning | default |
/// |---|---|---|
/// | `v` | protocol version | 1 |
/// | `cp` | content integrity protection method, code of RFC 7574 Table 4 | 1, Merkle hash tree |
/// | `hf` | Merkle hash tree function, code of RFC 7574 Table 5 | 2, SHA-256 |
/// | `ca` | chunk addressing method, code of RFC 7574 Table 6 | 2, 32-bit chunk ranges |
/// | `cs` | chunk size in bytes | 1024 |
/// | `cl` | content length in bytes | not known |
/// | `ld` | live discard window in chunks | none |
/// | `ia` | address of a peer, `ip:port` or `[ip]:port`; repeatable | |
/// | `et` | URL of a tracker; repeatable | |
///
/// Unknown keys are ignored. Names and values are percent-encoded UTF-8. What is printed is canonical: defaults are left
/// out, keys stand in the order of the table.
///
/// ```
/// # use ppsp_core::Link;
/// let text = "ppsp:47a013e660d408619d894b20806b1d5086aab03b/hello%20world.txt?hf=0&cl=13&ia=192.0.2.1:6778";
/// let link: Link = text.parse()?;
/// assert_eq!(link.file_name(), Some("hello world.txt"));
/// assert_eq!(link.metadata.content_length, Some(13));
/// assert_eq!(link.to_string(), text);
/// # Ok::<(), ppsp_core::LinkError>(())
/// ```
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// What the swarm shares.
    pub metadata: SwarmMetadata,
    /// The name as it stands in the link; may be anything. [`file_name`](Self::file_name) is safe.
    pub name: Option<String>,
    /// Version of the peer protocol.
    pub version: u8,
    /// Peers to begin with.
    pub peers: Vec<SocketAddr>,
    /// URLs of trackers.
    pub trackers: Vec<String>,
    /// Live discard window in chunks (RFC 7574 §7.9).
    pub discard_window: Option<u64>,
}

impl Link {
    /// Longest link that is parsed, in bytes.
    pub const MAX_LEN: usize = 16 * 1024;
    /// Most peers that are parsed.
    pub const MAX_PEERS: usize = 64;
    /// Most trackers that are parsed.
    pub const MAX_TRACKERS: usize = 32;
    /// The version of the peer protocol that RFC 7574 defines.
    pub const VERSION: u8 = 1;

    /// A link without a name, peers and trackers.
    pub fn new(metadata: SwarmMetadata) -> Self {
        Self {
            metadata,
            name: None,
            version: Self::VERSION,
            peers: Vec::new(),
            trackers: Vec::new(),
            discard_window: None,
        }
    }

    /// The name, if it is a plain file name: no path, nothing that a file system or a terminal takes for more than a
    /// name, not hidden, and not like those of the files that stand beside content. A link comes from a stranger.
    pub fn file_name(&self) -> Option<&str> {
        let name = self.name.as_deref()?;
        let own = |suffix: &&str| {
            let at = name.len().checked_sub(suffix.len());
            at.and_then(|at| name.get(at..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        };
        let plain = !name.is_empty()
            && !name.starts_with('.')
            && name.len() <= 255
            && !name.chars().any(|c| c.is_control() || is_bidi_control(c) || matches!(c, '/' | '\\'))
            && !OWN_SUFFIXES.iter().any(own);
        plain.then_some(name)
    }
}

impl FromStr for Link {
    type Err = LinkError;

    fn from_str(text: &str) -> Result<Self, LinkError> {
        let text = text.trim();
        if text.len() > Self::MAX_LEN {
            return Err(LinkError::TooLong);
        }
        let (scheme, rest) = text.split_once(':').ok_or(LinkError::Scheme)?;
        if !scheme.eq_ignore_ascii_case("ppsp") {
            return Err(LinkError::Scheme);
        }
        // A fragment is for the one who shows the content.
        let rest = rest.split('#').next().unwrap_or_default();
        let rest = rest.strip_prefix("//").unwrap_or(rest);
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (id, name) = path.split_once('/').unwrap_or((path, ""));
        let id = parse_id(id)?;
        let name = decode("name", name)?;

        let query = Query::parse(query)?;
        let metadata = SwarmMetadata {
            id,
            chunk_size: query.number("cs")?.unwrap_or(SwarmMetadata::DEFAULT_CHUNK_SIZE),
            addressing: query.code("ca", ChunkAddressing::from_code)?.unwrap_or_default(),
            integrity: query.code("cp", IntegrityMethod::from_code)?.unwrap_or_default(),
            hash: query.code("hf", HashAlg::from_code)?.unwrap_or_default(),
            content_length: query.number("cl")?,
        };
        metadata.check().map_err(|error| match error {
            MetadataError::IdLength => LinkError::IdLength(IdLength {
                bytes: metadata.id.as_bytes().len(),
                hash: metadata.hash,
                given: query.has("hf"),
            }),
            error => LinkError::Metadata(error),
        })?;
        Ok(Self {
            metadata,
            name: (!name.is_empty()).then_some(name),
            version: query.number("v")?.unwrap_or(Self::VERSION),
            discard_window: query.number("ld")?,
            peers: query.peers,
            trackers: query.trackers,
        })
    }
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let metadata = &self.metadata;
        write!(f, "ppsp:{}", metadata.id)?;
        if let Some(name) = &self.name {
            write!(f, "/{}", utf8_percent_encode(name, NAME))?;
        }
        let mut separator = '?';
        let mut pair = |key: &str, value: &dyn fmt::Display| -> fmt::Result {
            write!(f, "{separator}{key}={value}")?;
            separator = '&';
            Ok(())
        };
        if self.version != Self::VERSION {
            pair("v", &self.version)?;
        }
        if metadata.integrity != IntegrityMethod::default() {
            pair("cp", &metadata.integrity.code())?;
        }
        if metadata.hash != HashAlg::default() {
            pair("hf", &metadata.hash.code())?;
        }
        if metadata.addressing != ChunkAddressing::default() {
            pair("ca", &metadata.addressing.code())?;
        }
        if metadata.chunk_size != SwarmMetadata::DEFAULT_CHUNK_SIZE {
            pair("cs", &metadata.chunk_size)?;
        }
        if let Some(length) = metadata.content_length {
            pair("cl", &length)?;
        }
        if let Some(window) = self.discard_window {
            pair("ld", &window)?;
        }
        for peer in &self.peers {
            pair("ia", &utf8_percent_encode(&peer.to_string(), VALUE))?;
        }
        for tracker in &self.trackers {
            pair("et", &utf8_percent_encode(tracker, VALUE))?;
        }
        Ok(())
    }
}

/// Why a text is no link that can be followed.
#[non_exhaustive]
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LinkError {
    /// Longer than [`Link::MAX_LEN`].
    #[error("link is longer than {} bytes", Link::MAX_LEN)]
    TooLong,
    /// It does not begin with `ppsp:`.
    #[error("link does not begin with \"ppsp:\"")]
    Scheme,
    /// The swarm ID is missing, or longer than any.
    #[error("swarm ID is missing or longer than {} bytes", SwarmId::MAX_LEN)]
    Id,
    /// The swarm ID is not hexadecimal.
    #[error("swarm ID is not an even number of hexadecimal digits")]
    IdDigits,
    /// The swarm ID of static content is not as long as a hash.
    #[error("{0}")]
    IdLength(IdLength),
    /// A value makes no sense for its key.
    #[error("value {value:?} of \"{key}\" is not {expected}")]
    Value {
        /// The key.
        key: &'static str,
        /// The value, shortened.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A key that may stand but once is there twice.
    #[error("\"{0}\" is given twice")]
    Duplicate(&'static str),
    /// A name or value is not UTF-8.
    #[error("{0:?} is not UTF-8")]
    NotUtf8(&'static str),
    /// More than [`Link::MAX_PEERS`].
    #[error("more than {} peers (\"ia\")", Link::MAX_PEERS)]
    TooManyPeers,
    /// More than [`Link::MAX_TRACKERS`].
    #[error("more than {} trackers (\"et\")", Link::MAX_TRACKERS)]
    TooManyTrackers,
    /// The values are impossible together.
    #[error("{0}")]
    Metadata(#[from] MetadataError),
}

/// A swarm ID that is not as long as a hash; says what to do about it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct IdLength {
    /// Length of the swarm ID in bytes.
    pub bytes: usize,
    /// The hash function of the link.
    pub hash: HashAlg,
    /// Did the link name the function?
    pub given: bool,
}

impl fmt::Display for IdLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bytes, hash, given } = *self;
        let source = if given { "the link asks for" } else { "the default is" };
        write!(f, "swarm ID has {bytes} bytes, but {source} {}, which has {}", hash.name(), hash.len())?;
        match HashAlg::ALL.into_iter().find(|alg| alg.len() == bytes) {
            Some(alg) => write!(f, "; for {} write hf={}", alg.name(), alg.code()),
            None => Ok(()),
        }
    }
}

/// The keys of a link, each value decoded.
#[derive(Default)]
struct Query {
    single: Vec<(&'static str, String)>,
    peers: Vec<SocketAddr>,
    trackers: Vec<String>,
}

impl Query {
    fn parse(text: &str) -> Result<Self, LinkError> {
        let mut query = Self::default();
        for pair in text.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(key) = KEYS.into_iter().find(|&known| known == key) else { continue };
            let value = decode(key, value)?;
            match key {
                "ia" if query.peers.len() == Link::MAX_PEERS => return Err(LinkError::TooManyPeers),
                "ia" => {
                    let peer = value.parse().map_err(|_| bad(key, &value, "an address ip:port or [ip]:port"))?;
                    query.peers.push(peer);
                }
                "et" if query.trackers.len() == Link::MAX_TRACKERS => return Err(LinkError::TooManyTrackers),
                "et" if value.is_empty() => return Err(bad(key, &value, "a URL")),
                "et" => query.trackers.push(value),
                _ if query.has(key) => return Err(LinkError::Duplicate(key)),
                _ => query.single.push((key, value)),
            }
        }
        Ok(query)
    }

    fn has(&self, key: &str) -> bool {
        self.single.iter().any(|(k, _)| *k == key)
    }

    fn number<T: FromStr>(&self, key: &'static str) -> Result<Option<T>, LinkError> {
        let Some((_, value)) = self.single.iter().find(|(k, _)| *k == key) else { return Ok(None) };
        // Digits only: the integers' own parser takes a sign too.
        let digits = value.bytes().all(|b| b.is_ascii_digit());
        let number = value.parse().ok().filter(|_| digits);
        number.map(Some).ok_or_else(|| bad(key, value, "a number, or is too large"))
    }

    fn code<T>(&self, key: &'static str, from_code: fn(u8) -> Option<T>) -> Result<Option<T>, LinkError> {
        let Some(code) = self.number::<u8>(key)? else { return Ok(None) };
        from_code(code).map(Some).ok_or_else(|| bad(key, &code.to_string(), "a code that RFC 7574 assigns"))
    }
}

fn bad(key: &'static str, value: &str, expected: &'static str) -> LinkError {
    LinkError::Value { key, value: value.chars().take(64).collect(), expected }
}

fn parse_id(text: &str) -> Result<SwarmId, LinkError> {
    if text.is_empty() || text.len() > 2 * SwarmId::MAX_LEN {
        return Err(LinkError::Id);
    }
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    let digit = |b: u8| char::from(b).to_digit(16).map(|digit| digit as u8);
    let bytes: Option<Vec<u8>> = pairs.iter().map(|&[high, low]| Some(digit(high)? << 4 | digit(low)?)).collect();
    let bytes = bytes.filter(|_| odd.is_empty()).ok_or(LinkError::IdDigits)?;
    SwarmId::new(bytes).ok_or(LinkError::Id)
}

fn decode(what: &'static str, text: &str) -> Result<String, LinkError> {
    percent_decode_str(text).decode_utf8().map(|text| text.as_ref().to_owned()).map_err(|_| LinkError::NotUtf8(what))
}

const KEYS: [&str; 9] = ["v", "cp", "hf", "ca", "cs", "cl", "ld", "ia", "et"];

/// Names of files that hold state, hash tree and content of a download.
const OWN_SUFFIXES: [&str; 3] = [".ppsp", ".ppsp-tree", ".part"];

/// Does the character change the direction of text? Names can look like other names with these.
fn is_bidi_control(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Encoded in a value: what would end it, and what does not survive being pasted.
const VALUE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'&')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}')
    .add(b'\'');
/// Encoded in a name.
const NAME: &AsciiSet = &VALUE.add(b'/').add(b'?').add(b'[').add(b']');

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{format, vec};

    const SHA1: &str = "47a013e660d408619d894b20806b1d5086aab03b";
    const SHA256: &str = "0ba904eae8773b70c75333db4de2f3ac45a8ad4ddba1b242f0b3cfc199391dd8";

    fn error(text: &str) -> String {
        text.parse::<Link>().unwrap_err().to_string()
    }

    #[test]
    fn defaults_are_left_out() {
        let link: Link = format!("ppsp:{SHA256}?v=1&cp=1&hf=2&ca=2&cs=1024").parse().unwrap();
        assert_eq!(link.to_string(), format!("ppsp:{SHA256}"));
        assert_eq!(link, Link::new(SwarmMetadata { id: link.metadata.id.clone(), ..link.metadata.clone() }));
        assert_eq!((link.version, link.file_name(), link.discard_window), (1, None, None));
    }

    #[test]
    fn all_keys() {
        let text = format!(
            "ppsp:{SHA1}/a%20b%2Fc+d.mkv?v=2&hf=0&ca=0&cs=8192&cl=77&ld=9&ia=192.0.2.1:1&ia=[2001:db8::1]:2&et=https://t.example/%3Fa?x=1%26y=%C3%A9"
        );
        let link: Link = text.parse().unwrap();
        assert_eq!(link.name.as_deref(), Some("a b/c+d.mkv"), "plus stays plus");
        assert_eq!(link.trackers, ["https://t.example/?a?x=1&y=é"]);
        assert_eq!(link.peers, ["192.0.2.1:1".parse().unwrap(), "[2001:db8::1]:2".parse().unwrap()]);
        assert_eq!((link.version, link.discard_window), (2, Some(9)));
        assert_eq!((link.metadata.hash, link.metadata.addressing), (HashAlg::Sha1, ChunkAddressing::Bin32));
        assert_eq!((link.metadata.chunk_size, link.metadata.content_length), (8192, Some(77)));
        let again: Link = link.to_string().parse().unwrap();
        assert_eq!(again, link);
    }

    #[test]
    fn is_liberal_in_form() {
        let plain: Link = format!("ppsp:{SHA256}").parse().unwrap();
        for text in [
            format!(" ppsp://{SHA256}\n"),
            format!("PPSP:{}", SHA256.to_uppercase()),
            format!("ppsp:{SHA256}/"),
            format!("ppsp:{SHA256}/?"),
            format!("ppsp:{SHA256}?unknown=1&&=&flag&%ff=%ff"),
            format!("ppsp:{SHA256}#part"),
        ] {
            assert_eq!(text.parse::<Link>().as_ref(), Ok(&plain), "{text}");
        }
        // A live stream's ID is a key of any length.
        let live: Link = "ppsp:0d0102030405?cp=3&ld=100&cs=1200".parse().unwrap();
        assert_eq!(live.metadata.integrity, IntegrityMethod::UnifiedMerkleTree);
        assert_eq!(live.to_string(), "ppsp:0d0102030405?cp=3&cs=1200&ld=100");
    }

    #[test]
    fn errors_say_what_is_wrong() {
        assert_eq!(
            error(&format!("ppsp:{SHA1}")),
            "swarm ID has 20 bytes, but the default is sha256, which has 32; for sha1 write hf=0"
        );
        assert_eq!(error("ppsp:00?hf=4"), "swarm ID has 1 bytes, but the link asks for sha512, which has 64");
        assert_eq!(error(&format!("ppsp:{SHA256}?cs=big")), "value \"big\" of \"cs\" is not a number, or is too large");
        assert_eq!(error(&format!("ppsp:{SHA256}?hf=9")), "value \"9\" of \"hf\" is not a code that RFC 7574 assigns");
        assert_eq!(error(&format!("ppsp:{SHA256}?cs=1024&cs=1024")), "\"cs\" is given twice");
        assert_eq!(error(&format!("ppsp:{SHA256}/%ff")), "\"name\" is not UTF-8");
        assert_eq!(error("http://example.org"), "link does not begin with \"ppsp:\"");
        assert_eq!(error(&format!("ppsp:{SHA256}?cs=4294967295")), "variable chunk sizes are not supported");
        for (text, expected) in [
            ("", LinkError::Scheme),
            ("ppsp:", LinkError::Id),
            ("ppsp:abc", LinkError::IdDigits),
            ("ppsp:0g", LinkError::IdDigits),
            ("ppsp:+1", LinkError::IdDigits),
        ] {
            assert_eq!(text.parse::<Link>(), Err(expected));
        }
        for value in ["ia=192.0.2.1", "ia=example.org:1", "ia=", "cl=-1", "cl=+1", "cl=99999999999999999999", "et="] {
            let text = format!("ppsp:{SHA256}?{value}");
            assert!(matches!(text.parse::<Link>(), Err(LinkError::Value { .. })), "{value}");
        }
    }

    #[test]
    fn bounds() {
        let many = |pair: &str, n| format!("ppsp:{SHA256}?{}", vec![pair; n].join("&")).parse::<Link>();
        assert_eq!(many("ia=192.0.2.1:1", 64).unwrap().peers.len(), 64);
        assert_eq!(many("ia=192.0.2.1:1", 65), Err(LinkError::TooManyPeers));
        assert_eq!(many("et=a", 33), Err(LinkError::TooManyTrackers));
        assert_eq!(many("xx=aaaaaaaaaaaaaaaaaaaaaa", 1000), Err(LinkError::TooLong));
        assert_eq!(format!("ppsp:{}?cp=3", "00".repeat(1025)).parse::<Link>(), Err(LinkError::Id));
    }

    #[test]
    fn file_names_are_plain() {
        let named = |name: &str| Link { name: Some(name.to_owned()), ..format!("ppsp:{SHA256}").parse().unwrap() };
        for name in ["a", "a b.mkv", "a..", "part", "a.parts", "ünï.mp4", "é.mp4"] {
            assert_eq!(named(name).file_name(), Some(name));
        }
        let long = "x".repeat(256);
        for name in ["", ".", "..", "a/b", "/etc/passwd", "..\\x", "a\0b", "a\nb", "\u{1b}[2J", "\u{85}", &long] {
            assert_eq!(named(name).file_name(), None, "{name:?}");
        }
        for name in
            ["..a", "...", ".bashrc", "a.ppsp", "a.ppsp-tree", "a.PART", "\u{202e}4pm.exe", "a\u{2066}", "\u{200f}a"]
        {
            assert_eq!(named(name).file_name(), None, "{name:?}");
        }
    }

    fn links() -> impl Strategy<Value = Link> {
        let alg = (0u8..5).prop_map(|code| HashAlg::from_code(code).unwrap());
        let metadata = (alg, 0u8..5, 512u32..60_000, proptest::option::of(0u64..1 << 31), any::<[u8; 64]>(), 0u8..4)
            .prop_map(|(hash, ca, chunk_size, content_length, id, cp)| SwarmMetadata {
                id: SwarmId::new(&id[..hash.len()]).unwrap(),
                chunk_size,
                addressing: ChunkAddressing::from_code(ca).unwrap(),
                integrity: IntegrityMethod::from_code(cp).unwrap(),
                hash,
                content_length,
            });
        let peer = any::<(core::net::IpAddr, u16)>().prop_map(SocketAddr::from);
        let peers = proptest::collection::vec(peer, 0..4);
        let trackers = proptest::collection::vec("\\PC{1,20}|(?s).{1,9}", 0..4);
        let name = proptest::option::of("(?s).{1,20}");
        (metadata, name, any::<u8>(), peers, trackers, proptest::option::of(any::<u64>())).prop_map(
            |(metadata, name, version, peers, trackers, discard_window)| Link {
                metadata,
                name,
                version,
                peers,
                trackers,
                discard_window,
            },
        )
    }

    proptest! {
        #[test]
        fn parse_undoes_print(link in links()) {
            let text = link.to_string();
            prop_assert!(text.is_ascii() && !text.contains(char::is_whitespace));
            prop_assert_eq!(text.parse::<Link>(), Ok(link), "{}", text);
        }

        #[test]
        fn any_text(text in "(ppsp:)?[0-9a-f]{0,64}(?s).{0,60}") {
            if let Ok(link) = text.parse::<Link>() {
                prop_assert_eq!(link.to_string().parse::<Link>(), Ok(link));
            }
        }
    }
}
