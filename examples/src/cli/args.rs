//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, builder::BoolishValueParser};
use ppsp_auth::UserName;
use ppsp_core::{ChunkAddressing, HashAlg, IntegrityMethod};

use super::units::{Extent, HostPort, Listen, Moment, Rate, SeedAfter, Size, Span, from_toml};
use crate::{http::Pin, portal::names::EVERYONE};

const EXIT_CODES: &str = "\
Exit codes:
    0  done
    1  failure: a file that cannot be read or written, or is in the way
    2  usage: the command line, the configuration or the link makes no sense
    3  network: no peer, none that answers, or an address that cannot be used
    4  refused: nobody is signed in, the password is wrong, or it is not allowed
    5  integrity: content is not what it should be
  130  interrupted by SIGINT (Ctrl-C) or SIGTERM, also while seeding

Every flag has an environment variable, PPSP_ and the flag's name. Those of seed, get and publish can stand in the TOML
file named by --config too (run 'ppsp config' to see it). The command line goes before the environment, the environment
before the file.";

/// The environment variable, unless it is set to nothing: that counts as not set.
fn set(name: &'static str) -> Option<&'static str> {
    std::env::var_os(name).is_none_or(|value| !value.is_empty()).then_some(name)
}

/// Share files with the Peer-to-Peer Streaming Protocols (RFC 7574, RFC 7846).
///
/// 'ppsp seed FILE' prints a link; 'ppsp get LINK' fetches the file from the seed and from everyone else who fetches it. With a
/// Portal and a tracker nobody passes links on: 'ppsp publish FILE', 'ppsp login PORTAL', 'ppsp catalogue', 'ppsp get ID'.
#[derive(Debug, Parser)]
#[command(name = "ppsp", version, after_help = EXIT_CODES, max_term_width = 110)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub common: CommonArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Share a file: hash it once, print its link, serve it until Ctrl-C
    #[command(after_help = EXIT_CODES)]
    Seed(SeedArgs),
    /// Fetch the content of a link or of a Portal, every chunk verified
    #[command(after_help = EXIT_CODES)]
    Get(GetArgs),
    /// Sign in at a Portal
    #[command(after_help = EXIT_CODES)]
    Login(LoginArgs),
    /// Sign out at a Portal
    #[command(after_help = EXIT_CODES)]
    Logout(LogoutArgs),
    /// List what the Portal has for you
    #[command(after_help = EXIT_CODES)]
    Catalogue(CatalogueArgs),
    /// Put a file into the catalogue of a Portal and share it until Ctrl-C
    #[command(after_help = EXIT_CODES)]
    Publish(PublishArgs),
    /// Split the video of a DASH set into layers: a base, and the pictures that it can do without
    ///
    /// Writes layers.mpd and the directory layers beside the manifest; 'ppsp publish --dash layers.mpd' shares them. Who plays it through
    /// a gateway sees all pictures with any player, and where content comes too slowly those of the base. The video is H.264 with
    /// pictures that no other one is made of; with ffmpeg: -c:v libx264 -bf 1 -x264-params b-pyramid=none.
    #[command(after_help = EXIT_CODES)]
    Split {
        /// The manifest (MPD) of the set, its files beside it
        manifest: PathBuf,
    },
    /// Look after content at a Portal: who may watch what, and when
    #[command(subcommand)]
    Content(ContentCommand),
    /// Look after accounts at a Portal
    #[command(subcommand)]
    User(UserCommand),
    /// Look after sessions at a Portal
    #[command(subcommand)]
    Sessions(SessionsCommand),
    /// Look after the trackers of a Portal
    #[command(subcommand)]
    Trackers(TrackersCommand),
    /// Watch: fetch content and hand it to a player while it comes
    #[command(after_help = EXIT_CODES)]
    Play(PlayArgs),
    /// Serve content to players of this machine over HTTP, each piece as soon as it comes
    #[command(after_help = EXIT_CODES)]
    Gateway(GatewayArgs),
    /// Say what a link contains
    #[command(after_help = EXIT_CODES)]
    Info {
        /// The link: ppsp:…
        link: String,
    },
    /// Compare a file with a link
    #[command(after_help = EXIT_CODES)]
    Verify {
        /// The file.
        file: PathBuf,
        /// The link: ppsp:…
        link: String,
    },
    /// Broadcast a live stream: sign what comes in, print its link, share it until the input ends
    #[command(after_help = EXIT_CODES)]
    Live(LiveArgs),
    /// Make the key of a live channel, or say what one is
    #[command(subcommand)]
    Key(KeyCommand),
    /// Run a Portal: users, catalogue, tokens
    #[command(after_help = EXIT_CODES)]
    Portal(PortalArgs),
    /// Run a tracker: tell peers of a swarm about each other
    #[command(after_help = EXIT_CODES)]
    Tracker(TrackerArgs),
    /// Show all of it at work on this machine: Portal, tracker, media server, six peers, a gateway for your browser
    #[command(after_help = EXIT_CODES)]
    Demo(DemoArgs),
    /// Measure
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Print the configuration file with its defaults, every line explained
    Config,
}

/// Flags of every command.
#[derive(Args, Clone, Debug, Default)]
pub struct CommonArgs {
    /// One JSON object per line on standard output, for programs
    #[arg(long, global = true, env = set("PPSP_JSON"), overrides_with = "json", value_parser = BoolishValueParser::new(), num_args = 0..=1,
          require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    pub json: Option<bool>,
    /// Say more: peers that come and go
    #[arg(short, long, global = true, env = set("PPSP_VERBOSE"), overrides_with = "verbose", value_parser = BoolishValueParser::new(), num_args = 0..=1,
          require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    pub verbose: Option<bool>,
    /// Say nothing but errors (and the link, and JSON)
    #[arg(short, long, global = true, env = set("PPSP_QUIET"), overrides_with = "quiet", value_parser = BoolishValueParser::new(), num_args = 0..=1,
          require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    pub quiet: Option<bool>,
    /// Read settings from a TOML file
    #[arg(long, global = true, env = set("PPSP_CONFIG"), value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// Flags of commands that talk to peers.
#[derive(Args, Clone, Debug, Default)]
pub struct NetArgs {
    /// Peer to connect to, beside those of the link; may be given more than once
    #[arg(short, long = "peer", env = set("PPSP_PEER"), value_name = "ADDR", value_delimiter = ',')]
    pub peer: Vec<HostPort>,
    /// Tracker to ask for peers, beside those of the link; may be given more than once. The fingerprint of one that no authority
    /// vouches for stands behind its URL: https://192.0.2.8:8444/#sha256/…
    #[arg(long, env = set("PPSP_TRACKER"), value_name = "URL", value_delimiter = ',')]
    pub tracker: Vec<String>,
    /// Name to sign in with at trackers that ask for one; the password is asked for, or taken from PPSP_TRACKER_PASSWORD
    #[arg(long, env = set("PPSP_TRACKER_USER"), value_name = "NAME")]
    pub tracker_user: Option<String>,
    /// Certificate chain (PEM) to show to trackers that ask for one
    #[arg(long, env = set("PPSP_TRACKER_CERT"), value_name = "FILE")]
    pub tracker_cert: Option<PathBuf>,
    /// Its private key (PEM)
    #[arg(long, env = set("PPSP_TRACKER_KEY"), value_name = "FILE")]
    pub tracker_key: Option<PathBuf>,
    /// Speak HTTP without TLS to Portal and trackers, at loopback addresses only
    #[arg(long, env = set("PPSP_INSECURE_HTTP"), overrides_with = "insecure_http", value_parser = BoolishValueParser::new(),
          num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    pub insecure_http: Option<bool>,
    /// Most to send, over all peers, for example 5MiB/s [default: no limit]
    #[arg(long, env = set("PPSP_UPLOAD_LIMIT"), value_name = "RATE")]
    pub upload_limit: Option<Rate>,
    /// Most to receive, over all peers, for example 8Mbit/s [default: no limit]
    #[arg(long, env = set("PPSP_DOWNLOAD_LIMIT"), value_name = "RATE")]
    pub download_limit: Option<Rate>,
    /// Most peers at a time [default: 256]
    #[arg(long, env = set("PPSP_MAX_PEERS"), value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=65_535))]
    pub max_peers: Option<u32>,
    /// Peer exchange: with peers at private addresses (private), or none (off) [default: private]
    #[arg(long, env = set("PPSP_PEX"), value_name = "MODE")]
    pub pex: Option<Pex>,
    /// How what is sent gives way to other traffic: as a guest (background), or as its equal, undisturbed by some loss, for
    /// those who watch while they fetch (streaming) [default: background]
    #[arg(long, env = set("PPSP_CONGESTION"), value_name = "MODE")]
    pub congestion: Option<CongestionMode>,
    /// Directory for state and hash tree [default: beside the content]
    #[arg(long, env = set("PPSP_STATE_DIR"), value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

/// Flags of `seed`.
#[derive(Args, Clone, Debug)]
pub struct SeedArgs {
    /// The file to share
    pub file: PathBuf,
    /// Bytes in a chunk [default: what the file was hashed with before, else 1024]
    #[arg(long, env = set("PPSP_CHUNK_SIZE"), value_name = "SIZE")]
    pub chunk_size: Option<Size>,
    /// Hash function: sha1, sha224, sha256, sha384 or sha512 [default: what the file was hashed with before, else sha256]
    #[arg(long, env = set("PPSP_HASH"), value_name = "NAME")]
    pub hash: Option<HashName>,
    /// Chunk addressing: bin32, bin64, range32, range64 or byte64 [default: what the file was hashed
    /// with before, else range32]
    #[arg(long, env = set("PPSP_ADDRESSING"), value_name = "NAME")]
    pub addressing: Option<AddressingName>,
    /// Hash the file even though that has been done before: the file has changed, and is to be shared as it is now
    #[arg(long, env = set("PPSP_REHASH"), value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    pub rehash: Option<bool>,
    /// Sockets to serve from, each with a thread of its own; they share the port, and the limits in equal parts [default: 1]
    #[arg(long, env = set("PPSP_SOCKETS"), value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub sockets: Option<u16>,
    /// UDP address and port to listen on [default: port 6778 of all addresses, if it is free; else any free port]
    #[arg(short, long, env = set("PPSP_LISTEN"), value_name = "ADDR")]
    pub listen: Option<Listen>,
    /// TCP address and port to serve counters for Prometheus on, at /metrics, without TLS [default: nowhere]
    #[arg(long, env = set("PPSP_METRICS_LISTEN"), value_name = "ADDR")]
    pub metrics_listen: Option<Listen>,
    /// The network.
    #[command(flatten)]
    pub net: NetArgs,
}

/// Flags of `get`.
#[derive(Args, Clone, Debug)]
pub struct GetArgs {
    /// A link (ppsp:…), an identifier in the catalogue, or the URL of content at a Portal
    #[arg(value_name = "LINK|ID|URL")]
    pub link: String,
    /// Portal whose catalogue is meant
    #[command(flatten)]
    pub at: PortalAt,
    /// Which of several Representations, by its identifier in the descriptor [default: the first]
    #[arg(long, env = set("PPSP_REPRESENTATION"), value_name = "ID")]
    pub representation: Option<String>,
    /// File to write, or directory to write to [default: the name in the link]. Of a live stream: a file, or - for standard output
    #[arg(short, long, env = set("PPSP_OUTPUT"), value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Of a live stream: keep all that is there of it in this file. The whole of a stream that has ended is shared as on-demand
    /// content: its link is printed
    #[arg(long, env = set("PPSP_RECORD"), value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Of a live stream that is recorded whole: put it into the catalogue in the place of the live one, and share it until Ctrl-C
    #[arg(long, env = set("PPSP_PUBLISH"), value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    pub publish: Option<bool>,
    /// Of a live stream: how far behind the source it is shown, so that what is late has time to come [default: 3s]
    #[arg(long, env = set("PPSP_DELAY"), value_name = "TIME")]
    pub delay: Option<Span>,
    /// Go on sharing once all is there: until Ctrl-C, or for a time such as --seed-after=10m
    #[arg(long, env = set("PPSP_SEED_AFTER"), num_args = 0..=1, require_equals = true, default_missing_value = "forever",
          value_name = "TIME")]
    pub seed_after: Option<SeedAfter>,
    /// How long to go on while no peer answers [default: 30s]
    #[arg(long, env = set("PPSP_TIMEOUT"), value_name = "TIME")]
    pub timeout: Option<Span>,
    /// UDP address and port to listen on [default: any free port of all addresses]
    #[arg(short, long, env = set("PPSP_LISTEN"), value_name = "ADDR")]
    pub listen: Option<Listen>,
    /// TCP address and port to serve counters for Prometheus on, at /metrics, without TLS [default: nowhere]
    #[arg(long, env = set("PPSP_METRICS_LISTEN"), value_name = "ADDR")]
    pub metrics_listen: Option<Listen>,
    /// The network.
    #[command(flatten)]
    pub net: NetArgs,
}

/// Flags of `live`.
#[derive(Args, Clone, Debug)]
pub struct LiveArgs {
    /// What to broadcast, as fast as it comes: a pipe, a file, or - for standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub input: PathBuf,
    /// Key of the channel (PEM, PKCS #8), of 'ppsp key new'. How far the stream has come is kept beside it, in FILE.place
    /// [default: live.key in ppsp in the user's state directory, ~/.local/state, or in --state-dir; made if it is not there]
    #[arg(long, env = set("PPSP_KEY"), value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Chunks under a signature, a power of two: fewer come sooner and cost more [default: 32, or what --latency says]
    #[arg(long, env = set("PPSP_CHUNKS_PER_SIGNATURE"), value_name = "NUMBER", conflicts_with = "latency")]
    pub chunks_per_signature: Option<u32>,
    /// How viewers know what is the source's: unified-merkle-tree, or sign-all, where each chunk is signed, which needs no
    /// waiting for others and costs every viewer a check for each [default: unified-merkle-tree]
    #[arg(long, env = set("PPSP_INTEGRITY"), value_name = "METHOD")]
    pub integrity: Option<LiveIntegrity>,
    /// How fast the stream comes, for what else is said in time: 4Mbit/s
    #[arg(long, env = set("PPSP_BITRATE"), value_name = "RATE")]
    pub bitrate: Option<Rate>,
    /// How long a chunk may wait for its signature: with --bitrate it chooses how many chunks are under one
    #[arg(long, env = set("PPSP_LATENCY"), value_name = "TIME", requires = "bitrate")]
    pub latency: Option<Span>,
    /// How much of the stream is kept, in memory, for viewers who are behind: a size, or with --bitrate a time such as 10min [default:
    /// 64MiB]
    #[arg(long, env = set("PPSP_WINDOW"), value_name = "SIZE|TIME")]
    pub window: Option<Extent>,
    /// Keep all that is broadcast in this file. Where that is the whole stream it is on-demand content once it has ended: its link is
    /// printed, and where the channel is in a catalogue it takes its place there
    #[arg(long, env = set("PPSP_RECORD"), value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// Chunk addressing: bin32, bin64, range32, range64 or byte64. With 32 bits a channel ends after 4 TiB [default: range64]
    #[arg(long, env = set("PPSP_ADDRESSING"), value_name = "NAME")]
    pub addressing: Option<AddressingName>,
    /// UDP address and port to listen on [default: port 6778 of all addresses, if it is free; else any free port]
    #[arg(short, long, env = set("PPSP_LISTEN"), value_name = "ADDR")]
    pub listen: Option<Listen>,
    /// TCP address and port to serve counters for Prometheus on, at /metrics, and how the stream stands, at /status, without TLS
    /// [default: nowhere]
    #[arg(long, env = set("PPSP_METRICS_LISTEN"), value_name = "ADDR")]
    pub metrics_listen: Option<Listen>,
    /// The entry in the catalogue of a Portal, with --portal or --title.
    #[command(flatten)]
    pub entry: EntryArgs,
    /// The network.
    #[command(flatten)]
    pub net: NetArgs,
}

/// Flags of `play`.
#[derive(Args, Clone, Debug)]
pub struct PlayArgs {
    /// A link (ppsp:…), an identifier in the catalogue, or the URL of content at a Portal
    #[arg(value_name = "LINK|ID|URL")]
    pub source: String,
    /// Player to open [default: mpv or vlc, whichever is there; else none]
    #[arg(long, env = set("PPSP_PLAYER"), value_name = "PLAYER")]
    pub player: Option<Player>,
    /// Portal whose catalogue is meant
    #[command(flatten)]
    pub at: PortalAt,
    /// How content is fetched.
    #[command(flatten)]
    pub fetch: PlayingArgs,
}

/// Flags of `gateway`.
#[derive(Args, Clone, Debug)]
pub struct GatewayArgs {
    /// What to play: links (ppsp:…), identifiers in the catalogue, URLs of content at a Portal
    #[arg(value_name = "LINK|ID|URL")]
    pub sources: Vec<String>,
    /// TCP address and port to serve HTTP on. Beyond loopback it is HTTPS, and players show a token, as the password of any user
    /// name: the one in PPSP_GATEWAY_TOKEN, else one that is made once and kept [default: 127.0.0.1:8080]
    #[arg(short, long, env = set("PPSP_LISTEN"), value_name = "ADDR")]
    pub listen: Option<Listen>,
    /// Certificate chain (PEM) to show where it is HTTPS [default: one that is made once and kept in --cache]
    #[arg(long, env = set("PPSP_TLS_CERT"), value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, env = set("PPSP_TLS_KEY"), value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Portal whose catalogue is meant
    #[command(flatten)]
    pub at: PortalAt,
    /// How content is fetched.
    #[command(flatten)]
    pub fetch: PlayingArgs,
}

/// Flags of commands that play.
#[derive(Args, Clone, Debug)]
pub struct PlayingArgs {
    /// Directory that content is kept in while it is played, and after [default: ppsp in the user's cache directory]
    #[arg(long, env = set("PPSP_CACHE"), value_name = "DIR")]
    pub cache: Option<PathBuf>,
    /// UDP address and port to listen on for peers [default: any free port of all addresses]
    #[arg(long, env = set("PPSP_UDP"), value_name = "ADDR")]
    pub udp: Option<Listen>,
    /// How long a player waits for content that does not come [default: 30s]
    #[arg(long, env = set("PPSP_TIMEOUT"), value_name = "TIME")]
    pub timeout: Option<Span>,
    /// The network.
    #[command(flatten)]
    pub net: NetArgs,
}

/// A program that shows videos.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Player {
    /// mpv.
    Mpv,
    /// VLC.
    Vlc,
    /// None: the URL is printed.
    None,
}

/// At which Portal.
#[derive(Args, Clone, Debug, Default)]
pub struct PortalAt {
    /// Portal, by its URL [default: where the last login was]
    #[arg(long, env = set("PPSP_PORTAL"), value_name = "URL")]
    pub portal: Option<String>,
}

/// Flags of `login`.
#[derive(Args, Clone, Debug)]
pub struct LoginArgs {
    /// The Portal: https://…
    #[arg(env = set("PPSP_PORTAL"), value_name = "URL")]
    pub portal: String,
    /// Who signs in; the password is asked for on a terminal, else read from standard input
    #[arg(short, long, env = set("PPSP_USER"), value_name = "NAME")]
    pub user: String,
    /// Fingerprint of the Portal's key, as the Portal prints it [default: the system's certification authorities decide, then you]
    #[arg(long, env = set("PPSP_PIN"), value_name = "sha256/…")]
    pub pin: Option<Pin>,
    /// Speak HTTP without TLS, to a loopback address only
    #[arg(long, env = set("PPSP_INSECURE_HTTP"), value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    pub insecure_http: Option<bool>,
}

/// Flags of `logout`.
#[derive(Args, Clone, Debug)]
pub struct LogoutArgs {
    /// Who signs out [default: who signed in last]
    #[arg(short, long, env = set("PPSP_USER"), value_name = "NAME")]
    pub user: Option<String>,
    /// Where.
    #[command(flatten)]
    pub at: PortalAt,
}

/// Flags of `catalogue`.
#[derive(Args, Clone, Debug)]
pub struct CatalogueArgs {
    /// Words to look for in titles and groups
    pub words: Vec<String>,
    /// Most to list
    #[arg(long, default_value_t = 50, value_name = "NUMBER", env = set("PPSP_MOST"), value_parser = clap::value_parser!(u16).range(1..))]
    pub most: u16,
    /// Where.
    #[command(flatten)]
    pub at: PortalAt,
}

/// How content enters the catalogue of a Portal, and who enters it.
#[derive(Args, Clone, Debug)]
pub struct EntryArgs {
    /// Where.
    #[command(flatten)]
    pub at: PortalAt,
    /// Who publishes: signs in where that has not been done [default: who is signed in]
    #[arg(short, long, env = set("PPSP_USER"), value_name = "NAME")]
    pub user: Option<String>,
    /// Fingerprint of the Portal's key, as the Portal prints it [default: the system's certification authorities decide, then you]
    #[arg(long, env = set("PPSP_PIN"), value_name = "sha256/…")]
    pub pin: Option<Pin>,
    /// What people call it [default: the file's name]
    #[arg(long, env = set("PPSP_TITLE"), value_name = "TEXT")]
    pub title: Option<String>,
    /// Its group in the catalogue [default: videos]
    #[arg(long, env = set("PPSP_GROUP"), value_name = "NAME")]
    pub group: Option<String>,
    /// Who may watch it: everyone, a user, or group:NAME; may be given more than once [default: as the rules of the group say]
    #[arg(long, env = set("PPSP_ALLOW"), value_name = "WHO", value_delimiter = ',')]
    pub allow: Vec<Who>,
}

/// Flags of `publish`.
#[derive(Args, Clone, Debug)]
pub struct PublishArgs {
    /// The entry in the catalogue.
    #[command(flatten)]
    pub entry: EntryArgs,
    /// The file is the manifest of a DASH set (MPD): each of its Representations gets a swarm. Where the segments are files of their
    /// own, they are joined in .ppsp beside the manifest
    #[arg(long, env = set("PPSP_DASH"), value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    pub dash: Option<bool>,
    /// URL of a web server's directory where the same files lie, below which each has its name: what peers do not give in time comes
    /// from there, verified like all else. A file with hashes is written beside FILE, and belongs there too
    #[arg(long, env = set("PPSP_ORIGIN"), value_name = "URL")]
    pub origin: Option<String>,
    /// How it is shared.
    #[command(flatten)]
    pub seed: SeedArgs,
}

/// Whom a rule is about.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Who {
    /// A user.
    User(String),
    /// A group of users; `everyone` is one.
    Group(String),
}

impl std::str::FromStr for Who {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == EVERYONE {
            return Ok(Self::Group(text.to_owned()));
        }
        match text.strip_prefix("group:") {
            Some("") => Err("a group has a name: group:NAME".to_owned()),
            Some(group) => Ok(Self::Group(group.to_owned())),
            None => text.parse::<UserName>().map(|name| Self::User(name.into())).map_err(|e| e.to_string()),
        }
    }
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::User(name) => f.write_str(name),
            Self::Group(name) if name == EVERYONE => f.write_str(name),
            Self::Group(name) => write!(f, "group:{name}"),
        }
    }
}

/// A rule about content.
#[derive(Args, Clone, Debug)]
pub struct RuleArgs {
    /// Content by its identifier, or group:NAME for all of a catalogue group
    #[arg(value_name = "ID|group:NAME")]
    pub about: String,
    /// everyone, a user, or group:NAME for the users of a group
    pub who: Who,
    /// From when: 2026-12-24, 2026-12-24T20:00:00Z, or a span from now such as 2h [default: from now on]
    #[arg(long, env = set("PPSP_FROM"), value_name = "TIME")]
    pub from: Option<Moment>,
    /// Until when [default: for ever]
    #[arg(long, env = set("PPSP_UNTIL"), value_name = "TIME")]
    pub until: Option<Moment>,
    /// Where.
    #[command(flatten)]
    pub at: PortalAt,
}

/// What can be done with content.
#[derive(Debug, Subcommand)]
pub enum ContentCommand {
    /// List what you have published; for admins, all there is
    #[command(after_help = EXIT_CODES)]
    List {
        /// Words to look for in titles and groups
        words: Vec<String>,
        /// Where.
        #[command(flatten)]
        at: PortalAt,
    },
    /// Let somebody watch it
    #[command(after_help = EXIT_CODES)]
    Allow(RuleArgs),
    /// Let somebody not watch it: that goes before what allows it
    #[command(after_help = EXIT_CODES)]
    Deny(RuleArgs),
    /// List the rules about it
    #[command(after_help = EXIT_CODES)]
    Rules {
        /// Content by its identifier, or group:NAME for a catalogue group
        #[arg(value_name = "ID|group:NAME")]
        about: String,
        /// Where.
        #[command(flatten)]
        at: PortalAt,
    },
    /// Take a rule back
    #[command(after_help = EXIT_CODES)]
    Forget {
        /// Content by its identifier, or group:NAME for a catalogue group
        #[arg(value_name = "ID|group:NAME")]
        about: String,
        /// Whom the rule is about
        who: Who,
        /// Where.
        #[command(flatten)]
        at: PortalAt,
    },
    /// Take content out of the catalogue
    #[command(after_help = EXIT_CODES)]
    Remove {
        /// Its identifier
        id: String,
        /// Where.
        #[command(flatten)]
        at: PortalAt,
    },
}

impl ContentCommand {
    /// At which Portal.
    pub fn at(&mut self) -> &mut PortalAt {
        match self {
            Self::Allow(rule) | Self::Deny(rule) => &mut rule.at,
            Self::List { at, .. } | Self::Rules { at, .. } | Self::Forget { at, .. } | Self::Remove { at, .. } => at,
        }
    }
}

/// What can be done with accounts.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make an account; its password is asked for, or read from standard input
    #[command(after_help = EXIT_CODES)]
    Add {
        /// Its name
        name: String,
        /// viewer, publisher or admin
        #[arg(long, default_value = "viewer", env = set("PPSP_ROLE"), value_name = "ROLE")]
        role: String,
        /// Where.
        #[command(flatten)]
        at: PortalAt,
    },
    /// Give an account a new password, one's own where none is named
    #[command(after_help = EXIT_CODES)]
    Passwd {
        /// Whose
        name: Option<String>,
        /// Where.
        #[command(flatten)]
        at: PortalAt,
    },
    /// Let a user sign in no more, and end what is under way
    #[command(after_help = EXIT_CODES)]
    Ban {
        /// Who
        name: String,
        /// Where.
        #[command(flatten)]
        at: PortalAt,
    },
    /// Let a user sign in again
    #[command(after_help = EXIT_CODES)]
    Unban {
        /// Who
        name: String,
        /// Where.
        #[command(flatten)]
        at: PortalAt,
    },
    /// Make a user viewer, publisher or admin
    #[command(after_help = EXIT_CODES)]
    Role {
        /// Who
        name: String,
        /// viewer, publisher or admin
        role: String,
        /// Where.
        #[command(flatten)]
        at: PortalAt,
    },
    /// Put a user into these groups, and out of all others
    #[command(after_help = EXIT_CODES)]
    Groups {
        /// Who
        name: String,
        /// Names of groups
        groups: Vec<String>,
        /// Where.
        #[command(flatten)]
        at: PortalAt,
    },
    /// List all accounts
    #[command(after_help = EXIT_CODES)]
    List {
        /// Where.
        #[command(flatten)]
        at: PortalAt,
    },
}

impl UserCommand {
    /// At which Portal.
    pub fn at(&mut self) -> &mut PortalAt {
        match self {
            Self::Add { at, .. }
            | Self::Passwd { at, .. }
            | Self::Ban { at, .. }
            | Self::Unban { at, .. }
            | Self::Role { at, .. }
            | Self::Groups { at, .. }
            | Self::List { at } => at,
        }
    }
}

/// What can be done with sessions.
#[derive(Debug, Subcommand)]
pub enum SessionsCommand {
    /// List your sessions
    #[command(after_help = EXIT_CODES)]
    List {
        /// Those of this user, for admins
        #[arg(long, env = set("PPSP_USER"), value_name = "NAME")]
        user: Option<String>,
        /// Those of all users, for admins
        #[arg(long, env = set("PPSP_ALL"), value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true,
              default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
        all: Option<bool>,
        /// Where.
        #[command(flatten)]
        at: PortalAt,
    },
    /// End a session
    #[command(after_help = EXIT_CODES)]
    Revoke {
        /// The session, as the list names it
        id: String,
        /// Where.
        #[command(flatten)]
        at: PortalAt,
    },
}

impl SessionsCommand {
    /// At which Portal.
    pub fn at(&mut self) -> &mut PortalAt {
        let (Self::List { at, .. } | Self::Revoke { at, .. }) = self;
        at
    }
}

/// What can be done with keys of live channels.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make a key: who has the file can send in the channel, and nobody else
    #[command(after_help = EXIT_CODES)]
    New {
        /// With which it signs
        #[arg(short, long, env = set("PPSP_ALGORITHM"), value_enum, default_value_t, value_name = "ALGORITHM")]
        algorithm: KeyAlgorithm,
        /// File to write, which must not be there (PEM, PKCS #8, for its owner only)
        #[arg(short, long, env = set("PPSP_OUTPUT"), value_name = "FILE")]
        output: PathBuf,
    },
    /// Say which channel a key is for
    #[command(after_help = EXIT_CODES)]
    Show {
        /// The key (PEM, PKCS #8), of 'ppsp key new' or 'openssl genpkey'
        file: PathBuf,
    },
}

/// Keys that `key new` makes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, clap::ValueEnum)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256 with SHA-256, which every implementation of RFC 7574 verifies.
    #[default]
    P256,
    /// ECDSA on P-384 with SHA-384.
    P384,
    /// RSA of 2048 bits with SHA-256.
    Rsa2048,
    /// Ed25519: the cheapest.
    Ed25519,
}

/// What can be done with trackers.
#[derive(Debug, Subcommand)]
pub enum TrackersCommand {
    /// List the trackers that have made themselves known
    #[command(after_help = EXIT_CODES)]
    List {
        /// Where.
        #[command(flatten)]
        at: PortalAt,
    },
    /// Let a tracker in
    #[command(after_help = EXIT_CODES)]
    Approve {
        /// The tracker, as the list names it
        id: String,
        /// Where.
        #[command(flatten)]
        at: PortalAt,
    },
    /// Let a tracker in no more
    #[command(after_help = EXIT_CODES)]
    Revoke {
        /// The tracker, as the list names it
        id: String,
        /// Where.
        #[command(flatten)]
        at: PortalAt,
    },
}

impl TrackersCommand {
    /// At which Portal.
    pub fn at(&mut self) -> &mut PortalAt {
        let (Self::List { at } | Self::Approve { at, .. } | Self::Revoke { at, .. }) = self;
        at
    }
}

/// Flags of services.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// TCP address and port to listen on [default: all addresses; port 8443 for a Portal, 8444 for a tracker]
    #[arg(short, long, env = set("PPSP_LISTEN"), value_name = "ADDR")]
    pub listen: Option<Listen>,
    /// Certificate chain (PEM) to show [default: one that is made once and kept in --data-dir]
    #[arg(long, env = set("PPSP_TLS_CERT"), value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM)
    #[arg(long, env = set("PPSP_TLS_KEY"), value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Speak HTTP without TLS, on a loopback address only
    #[arg(long, env = set("PPSP_INSECURE_HTTP"), value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    pub insecure_http: Option<bool>,
    /// Serve counters for Prometheus there too, without TLS [default: at /metrics, for this machine]
    #[arg(long, env = set("PPSP_METRICS_LISTEN"), value_name = "ADDR")]
    pub metrics_listen: Option<Listen>,
}

/// Flags of `portal`.
#[derive(Args, Clone, Debug)]
pub struct PortalArgs {
    /// Directory for the database and the certificate; it is made where it is not there
    #[arg(long, env = set("PPSP_DATA_DIR"), value_name = "DIR")]
    pub data_dir: PathBuf,
    /// PostgreSQL server to use in place of SQLite: postgres://user@localhost/ppsp. Several Portals may share it. A
    /// password is better given in the environment, where other users do not see it
    #[arg(long, env = set("PPSP_DATABASE"), hide_env_values = true, value_name = "URL")]
    pub database: Option<String>,
    /// Fingerprint of the PostgreSQL server's key [default: the system's certification authorities decide, where the server is not
    /// on this machine]
    #[arg(long, env = set("PPSP_DATABASE_PIN"), value_name = "sha256/…")]
    pub database_pin: Option<Pin>,
    /// URL by which clients and trackers know the Portal [default: the one last given, else from --listen]
    #[arg(long, env = set("PPSP_PUBLIC_URL"), value_name = "URL")]
    pub public_url: Option<String>,
    /// Let strangers make accounts for themselves, as viewers
    #[arg(long, env = set("PPSP_OPEN_REGISTRATION"), value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    pub open_registration: Option<bool>,
    /// Give the user admin a new password, print it, and end
    #[arg(long, env = set("PPSP_RESET_ADMIN"), value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    pub reset_admin: Option<bool>,
    /// How it is served.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Flags of `tracker`.
#[derive(Args, Clone, Debug)]
pub struct TrackerArgs {
    /// The Portal whose users may ask; the tracker registers itself there. Its enrolment code, in PPSP_ENROL_CODE, lets it in
    /// at once; without it an admin approves it
    #[arg(long, env = set("PPSP_PORTAL"), value_name = "URL")]
    pub portal: Option<String>,
    /// Fingerprint of the Portal's key, as the Portal prints it [default: the system's certification authorities decide]
    #[arg(long, env = set("PPSP_PIN"), value_name = "sha256/…")]
    pub pin: Option<Pin>,
    /// Directory for keys and certificate; it is made where it is not there [default: ppsp-tracker in the user's data directory]
    #[arg(long, env = set("PPSP_DATA_DIR"), value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// How peers may prove who they are: bearer (tokens of the Portal), digest, certificate, or none, which needs a loopback
    /// address; several with commas between them
    #[arg(long, env = set("PPSP_AUTH"), value_name = "WAYS", value_delimiter = ',', default_value = "bearer")]
    pub auth: Vec<AuthWay>,
    /// Accounts for --auth digest: lines name:ppsp-tracker:HASH, the SHA-256 of name:ppsp-tracker:password in hexadecimal digits
    #[arg(long, env = set("PPSP_DIGEST_FILE"), value_name = "FILE")]
    pub digest_file: Option<PathBuf>,
    /// Authorities (PEM) that vouch for clients, for --auth certificate
    #[arg(long, env = set("PPSP_CLIENT_CA"), value_name = "FILE")]
    pub client_ca: Option<PathBuf>,
    /// URL under which peers find the tracker [default: from --listen]
    #[arg(long, env = set("PPSP_ADVERTISE"), value_name = "URL")]
    pub advertise: Option<String>,
    /// Redis that keeps the registrations, for several nodes that answer as one: redis://localhost/, or redis+unix:///path of a socket; one
    /// elsewhere through a tunnel, for it is spoken to in clear. They need the same doors and one
    /// time of day. A password is better given in the environment, where other users do not see it [default: this process's memory]
    #[arg(long, env = set("PPSP_REDIS"), hide_env_values = true, value_name = "URL")]
    pub redis: Option<String>,
    /// What admins of the Portal see it called [default: the host in its URL]
    #[arg(long, env = set("PPSP_NAME"), value_name = "NAME")]
    pub name: Option<String>,
    /// How it is served.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// Flags of `demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// What to play: a video, any other file, or the manifest of a DASH set [default: a test picture made by ffmpeg where that is
    /// installed, else bytes]
    #[arg(value_name = "VIDEO|DIR/manifest.mpd")]
    pub video: Option<PathBuf>,
    /// Tell the whole story without a person, judge it, and end: one user is refused, one watches to the end, all copies verify
    #[arg(long, env = set("PPSP_CHECK"), value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true,
          default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    pub check: Option<bool>,
    /// Address of this machine, and port, for the Portal's pages [default: any free port of 127.0.0.1]
    #[arg(short, long, env = set("PPSP_LISTEN"), value_name = "ADDR")]
    pub listen: Option<Listen>,
    /// Most that the media server sends, for example 4MiB/s [default: as much as all qualities of
    /// it need four times]
    #[arg(long, value_name = "RATE", env = set("PPSP_UPLOAD_LIMIT"))]
    pub upload_limit: Option<Rate>,
}

impl DemoArgs {
    /// Without a person?
    pub fn check(&self) -> bool {
        self.check.unwrap_or(false)
    }
}

/// What to measure.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Move generated content from a seed to leechers over UDP on the loopback interface
    #[command(after_help = EXIT_CODES)]
    Loopback(LoopbackArgs),
    /// Ask a tracker of this machine for peers, over connections that stay open
    #[command(after_help = EXIT_CODES)]
    Tracker(TrackerBenchArgs),
    /// Play generated content through a gateway: while it comes from a seed, and once it is held
    #[command(after_help = EXIT_CODES)]
    Gateway(GatewayBenchArgs),
}

/// Flags of `bench gateway`.
#[derive(Args, Clone, Debug)]
pub struct GatewayBenchArgs {
    /// How much to play
    #[arg(long, default_value = "256MiB", value_name = "SIZE", env = set("PPSP_SIZE"))]
    pub size: Size,
    /// Processor cores to use: the gateway is pinned to the first, seed and player to the second [default: as the system likes]
    #[arg(long, value_name = "NUMBER", env = set("PPSP_CORES"), value_parser = clap::value_parser!(u16).range(1..))]
    pub cores: Option<u16>,
    /// How many times it is played once it is held; the median is told
    #[arg(long, default_value_t = 5, value_name = "NUMBER", env = set("PPSP_REPEAT"), value_parser = clap::value_parser!(u16).range(1..))]
    pub repeat: u16,
    /// Directory for the content [default: /dev/shm where it is, else the temporary directory]
    #[arg(long, value_name = "DIR", env = set("PPSP_DIR"))]
    pub dir: Option<PathBuf>,
}

/// Flags of `bench tracker`.
#[derive(Args, Clone, Debug)]
pub struct TrackerBenchArgs {
    /// Registered peers, of the second of two measurements; the first is of few
    #[arg(long, default_value_t = 100_000, value_name = "NUMBER", env = set("PPSP_PEERS"), value_parser = clap::value_parser!(u64).range(1..=4_000_000))]
    pub peers: u64,
    /// Connections at a time
    #[arg(long, default_value_t = 32, value_name = "NUMBER", env = set("PPSP_CONNECTIONS"), value_parser = clap::value_parser!(u16).range(1..=512))]
    pub connections: u16,
    /// Seconds that each measurement takes
    #[arg(long, default_value_t = 5, value_name = "NUMBER", env = set("PPSP_SECONDS"), value_parser = clap::value_parser!(u16).range(1..=60))]
    pub seconds: u16,
    /// With TLS
    #[arg(long, env = set("PPSP_TLS"), value_parser = BoolishValueParser::new(), num_args = 0..=1, require_equals = true,
          default_value_t = false, default_missing_value = "true", hide_possible_values = true, value_name = "BOOL")]
    pub tls: bool,
    /// Processor cores to use: the tracker is pinned to the first, who asks to the second [default: as the system likes]
    #[arg(long, value_name = "NUMBER", env = set("PPSP_CORES"), value_parser = clap::value_parser!(u16).range(1..))]
    pub cores: Option<u16>,
}

/// Flags of `bench loopback`.
#[derive(Args, Clone, Debug)]
pub struct LoopbackArgs {
    /// How much, to each leecher
    #[arg(long, default_value = "256MiB", value_name = "SIZE", env = set("PPSP_SIZE"))]
    pub size: Size,
    /// Bytes in a chunk
    #[arg(long, default_value = "1024", value_name = "SIZE", env = set("PPSP_CHUNK_SIZE"))]
    pub chunk_size: Size,
    /// Hash function
    #[arg(long, default_value = "sha256", value_name = "NAME", env = set("PPSP_HASH"))]
    pub hash: HashName,
    /// How many leechers at the same time
    #[arg(long, default_value_t = 1, value_name = "NUMBER", env = set("PPSP_LEECHERS"), value_parser = clap::value_parser!(u16).range(1..=64))]
    pub leechers: u16,
    /// Where content lies: in files of 'ppsp seed' and 'ppsp get', a process each (file), or in the memory of threads (memory)
    #[arg(long, default_value = "file", value_name = "KIND", env = set("PPSP_STORE"))]
    pub store: StoreKind,
    /// Sockets of the seed, each with a thread of its own; only with --store file
    #[arg(long, default_value_t = 1, value_name = "NUMBER", env = set("PPSP_SOCKETS"), value_parser = clap::value_parser!(u16).range(1..=64))]
    pub sockets: u16,
    /// Processor cores to use: seed and leechers are pinned to one each, in turn [default: as the system likes]
    #[arg(long, value_name = "NUMBER", env = set("PPSP_CORES"), value_parser = clap::value_parser!(u16).range(1..))]
    pub cores: Option<u16>,
    /// How many times
    #[arg(long, default_value_t = 1, value_name = "NUMBER", env = set("PPSP_REPEAT"), value_parser = clap::value_parser!(u16).range(1..))]
    pub repeat: u16,
    /// Directory for the content [default: /dev/shm where it is, else the temporary directory]
    #[arg(long, value_name = "DIR", env = set("PPSP_DIR"))]
    pub dir: Option<PathBuf>,
}

/// Where the content of a measurement lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StoreKind {
    /// In files.
    File,
    /// In memory.
    Memory,
}

/// How peers prove to a tracker who they are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthWay {
    /// By an access token of the Portal.
    Bearer,
    /// By name and password.
    Digest,
    /// By a TLS client certificate.
    Certificate,
    /// Not at all.
    None,
}

impl std::str::FromStr for AuthWay {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "bearer" => Ok(Self::Bearer),
            "digest" => Ok(Self::Digest),
            "certificate" => Ok(Self::Certificate),
            "none" => Ok(Self::None),
            _ => Err(format!("'{text}' is not one of bearer, digest, certificate, none")),
        }
    }
}

/// A hash function by its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct HashName(pub HashAlg);

/// A chunk addressing method by its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AddressingName(pub ChunkAddressing);

/// A content integrity protection method of live content, by its name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LiveIntegrity(pub IntegrityMethod);

/// Peer exchange.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Pex {
    /// None.
    Off,
    /// With peers at private addresses.
    Private,
}

/// Congestion control.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CongestionMode {
    /// LEDBAT (RFC 6817).
    Background,
    /// By bandwidth and round-trip time.
    Streaming,
}

impl std::str::FromStr for CongestionMode {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "background" => Ok(Self::Background),
            "streaming" => Ok(Self::Streaming),
            _ => Err(format!("'{text}' is not one of background, streaming")),
        }
    }
}

impl std::str::FromStr for HashName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let found = HashAlg::ALL.into_iter().find(|alg| alg.name() == text);
        found.map(Self).ok_or_else(|| format!("'{text}' is not one of {}", HashAlg::ALL.map(HashAlg::name).join(", ")))
    }
}

impl std::str::FromStr for AddressingName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let all = ChunkAddressing::ALL;
        let found = all.into_iter().find(|method| method.name() == text);
        found.map(Self).ok_or_else(|| format!("'{text}' is not one of {}", all.map(ChunkAddressing::name).join(", ")))
    }
}

impl std::str::FromStr for LiveIntegrity {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "unified-merkle-tree" => Ok(Self(IntegrityMethod::UnifiedMerkleTree)),
            "sign-all" => Ok(Self(IntegrityMethod::SignAll)),
            _ => Err(format!("'{text}' is not one of unified-merkle-tree, sign-all")),
        }
    }
}

impl std::str::FromStr for Pex {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            "private" => Ok(Self::Private),
            _ => Err(format!("'{text}' is not one of off, private")),
        }
    }
}

impl std::str::FromStr for StoreKind {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "file" => Ok(Self::File),
            "memory" => Ok(Self::Memory),
            _ => Err(format!("'{text}' is not one of file, memory")),
        }
    }
}

impl std::fmt::Display for HashName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.name())
    }
}

from_toml! { HashName AddressingName Pex CongestionMode }

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_an_environment_variable() {
        fn look(command: &clap::Command) {
            for arg in command.get_arguments().filter(|arg| !arg.is_positional()) {
                let Some(long) = arg.get_long().filter(|long| !["help", "version"].contains(long)) else { continue };
                let env = arg.get_env().unwrap_or_else(|| panic!("--{long} has none")).to_str().unwrap().to_owned();
                assert_eq!(env, format!("PPSP_{}", long.to_uppercase().replace('-', "_")));
            }
            command.get_subcommands().for_each(look);
        }
        look(&Cli::command());
    }

    #[test]
    fn flags_without_a_value_are_switches() {
        let cli = Cli::parse_from(["ppsp", "get", "--json", "--seed-after", "ppsp:00", "-v", "-v"]);
        assert_eq!((cli.common.json, cli.common.verbose, cli.common.quiet), (Some(true), Some(true), None));
        let Command::Get(get) = cli.command else { panic!() };
        assert_eq!((get.seed_after, get.link.as_str()), (Some(SeedAfter::Forever), "ppsp:00"));
        assert!(Cli::try_parse_from(["ppsp", "get", "x", "--upload-limit", "5"]).is_err());
    }
}
