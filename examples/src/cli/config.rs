//! The configuration file: the flags' names as keys, in TOML.

use std::{fs, path::Path};

use serde::Deserialize;

use super::{
    args::{
        AddressingName, CommonArgs, CongestionMode, GetArgs, HashName, LiveArgs, NetArgs, Pex, PlayingArgs, PortalAt,
        SeedArgs,
    },
    exit::Failure,
    units::{HostPort, Listen, Rate, SeedAfter, Size, Span},
};

/// What the file may say. A key that a command has no use for is left alone, so that one file serves all commands.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ConfigFile {
    json: Option<bool>,
    verbose: Option<bool>,
    quiet: Option<bool>,
    listen: Option<Listen>,
    peer: Vec<HostPort>,
    portal: Option<String>,
    tracker: Vec<String>,
    tracker_user: Option<String>,
    tracker_cert: Option<std::path::PathBuf>,
    tracker_key: Option<std::path::PathBuf>,
    insecure_http: Option<bool>,
    representation: Option<String>,
    upload_limit: Option<Rate>,
    download_limit: Option<Rate>,
    max_peers: Option<u32>,
    pex: Option<Pex>,
    congestion: Option<CongestionMode>,
    state_dir: Option<std::path::PathBuf>,
    chunk_size: Option<Size>,
    hash: Option<HashName>,
    addressing: Option<AddressingName>,
    rehash: Option<bool>,
    sockets: Option<u16>,
    metrics_listen: Option<Listen>,
    output: Option<std::path::PathBuf>,
    record: Option<std::path::PathBuf>,
    publish: Option<bool>,
    delay: Option<Span>,
    seed_after: Option<SeedAfter>,
    timeout: Option<Span>,
    cache: Option<std::path::PathBuf>,
    udp: Option<Listen>,
}

impl ConfigFile {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// One that names the file, and the line in it.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let text = fs::read_to_string(path)
            .map_err(|e| Failure::usage(format!("{}: cannot read the configuration: {e}", path.display())))?;
        let config: Self = toml::from_str(&text)
            .map_err(|e| Failure::usage(format!("{}: {}", path.display(), e.to_string().trim_end())))?;
        if config.max_peers.is_some_and(|peers| !(1..=65_535).contains(&peers)) {
            return Err(Failure::usage(format!("{}: max-peers is not between 1 and 65535", path.display())));
        }
        if config.sockets.is_some_and(|sockets| !(1..=64).contains(&sockets)) {
            return Err(Failure::usage(format!("{}: sockets is not between 1 and 64", path.display())));
        }
        Ok(config)
    }

    /// Fills in what neither flag nor environment says.
    pub fn fill_common(&self, args: &mut CommonArgs) {
        args.json = args.json.or(self.json);
        // The two contradict each other: what was said closer to the command counts.
        if args.verbose.is_none() && args.quiet.is_none() {
            (args.verbose, args.quiet) = (self.verbose, self.quiet);
        }
    }

    /// Fills in what neither flag nor environment says.
    pub fn fill_portal(&self, at: &mut PortalAt) {
        at.portal = at.portal.take().or_else(|| self.portal.clone());
    }

    /// Fills in what neither flag nor environment says.
    pub fn fill_seed(self, args: &mut SeedArgs) {
        args.chunk_size = args.chunk_size.or(self.chunk_size);
        args.hash = args.hash.or(self.hash);
        args.addressing = args.addressing.or(self.addressing);
        args.rehash = args.rehash.or(self.rehash);
        args.sockets = args.sockets.or(self.sockets);
        args.metrics_listen = args.metrics_listen.or(self.metrics_listen);
        args.listen = args.listen.or(self.listen);
        self.fill_net(&mut args.net);
    }

    /// Fills in what neither flag nor environment says.
    pub fn fill_get(mut self, args: &mut GetArgs) {
        args.representation = args.representation.take().or(self.representation.take());
        args.output = args.output.take().or(self.output.take());
        args.record = args.record.take().or(self.record.take());
        args.publish = args.publish.or(self.publish);
        args.delay = args.delay.or(self.delay);
        args.seed_after = args.seed_after.or(self.seed_after);
        args.metrics_listen = args.metrics_listen.or(self.metrics_listen);
        args.timeout = args.timeout.or(self.timeout);
        args.listen = args.listen.or(self.listen);
        self.fill_net(&mut args.net);
    }

    /// Fills in what neither flag nor environment says.
    pub fn fill_live(self, args: &mut LiveArgs) {
        // That the channel is to be in a catalogue is for no file to say.
        if args.entry.title.is_some() {
            self.fill_portal(&mut args.entry.at);
        }
        args.metrics_listen = args.metrics_listen.or(self.metrics_listen);
        args.addressing = args.addressing.or(self.addressing);
        args.listen = args.listen.or(self.listen);
        self.fill_net(&mut args.net);
    }

    /// Fills in what neither flag nor environment says. Where players come in is for no other command to say.
    pub fn fill_playing(mut self, args: &mut PlayingArgs) {
        args.cache = args.cache.take().or(self.cache.take());
        args.udp = args.udp.or(self.udp);
        args.timeout = args.timeout.or(self.timeout);
        self.fill_net(&mut args.net);
    }

    fn fill_net(self, args: &mut NetArgs) {
        if args.peer.is_empty() {
            args.peer = self.peer;
        }
        if args.tracker.is_empty() {
            args.tracker = self.tracker;
        }
        args.tracker_user = args.tracker_user.take().or(self.tracker_user);
        args.tracker_cert = args.tracker_cert.take().or(self.tracker_cert);
        args.tracker_key = args.tracker_key.take().or(self.tracker_key);
        args.insecure_http = args.insecure_http.or(self.insecure_http);
        args.upload_limit = args.upload_limit.or(self.upload_limit);
        args.download_limit = args.download_limit.or(self.download_limit);
        args.max_peers = args.max_peers.or(self.max_peers);
        args.pex = args.pex.or(self.pex);
        args.congestion = args.congestion.or(self.congestion);
        args.state_dir = args.state_dir.take().or(self.state_dir);
    }
}

/// The file as it would be with the defaults: each key commented out, under its explanation.
pub const DEFAULTS: &str = r#"# Settings of ppsp, for 'ppsp --config FILE' or PPSP_CONFIG. Keys are the names of the flags; a flag on the command
# line or an environment variable (PPSP_LISTEN, …) goes before what stands here.

# UDP address and port to listen on. Without it: any free port, for a seed 6778 if that is free.
#listen = "[::]:0"

# Peers to connect to, beside those of the link.
#peer = ["192.0.2.7:6778"]

# Portal that get, publish, catalogue, content, user, sessions, trackers and logout mean. Without it: where the last login was.
#portal = "https://portal.example:8443"

# Trackers to ask for peers, beside those of the link; a name to sign in with at those that ask for one, the password is
# taken from PPSP_TRACKER_PASSWORD; or a certificate and its key (PEM); HTTP without TLS, at loopback addresses only.
#tracker = ["https://192.0.2.8:8444/"]
#tracker-user = "alice"
#tracker-cert = "/etc/ppsp/peer.pem"
#tracker-key = "/etc/ppsp/peer.key"
#insecure-http = false

# Which of several Representations of content to get. Without it: the first.
#representation = "1080p"

# Most to send and to receive, over all peers, with a unit: KB/s, KiB/s, MB/s, MiB/s, Mbit/s. Without it: no limit.
#upload-limit = "5MiB/s"
#download-limit = "50MiB/s"

# Most peers at a time.
#max-peers = 256

# Peer exchange: "private" with peers at private addresses only, "off" with nobody.
#pex = "private"

# How what is sent gives way to other traffic: "background" as a guest, "streaming" as its equal, for those who watch while
# they fetch.
#congestion = "background"

# Directory for state and hash tree. Without it they lie beside the content.
#state-dir = "/var/lib/ppsp"

# How content is hashed. Without these: as before, by what is kept beside the file; else as here. Bytes in a
# chunk; sha1, sha224, sha256, sha384 or sha512; bin32, bin64, range32, range64 or byte64.
#chunk-size = 1024
#hash = "sha256"
#addressing = "range32"

# Hash files again although that has been done before.
#rehash = false

# Sockets that 'ppsp seed' serves from, each with a thread of its own. They share the port; each has an equal part of the
# limits above, and a peer has to do with one of them.
#sockets = 1

# Serve counters for Prometheus at /metrics of this TCP address, without TLS. Default: nowhere.
#metrics-listen = "127.0.0.1:9184"

# File or directory that 'ppsp get' writes to. Without it: the name in the link.
#output = "/srv/video/"

# Go on sharing once a download is complete: false, true (until Ctrl-C) or a time such as "10m".
#seed-after = false

# File that 'ppsp get' keeps a live stream in, beside what it shows. Without it: nowhere. Where all of a stream is recorded: put it
# into the catalogue in the place of the live one.
#record = "show.ts"
#publish = false

# How far behind its source 'ppsp get' shows a live stream.
#delay = "3s"

# How long 'ppsp get' goes on while no peer answers, and how long players wait for content that does not come.
#timeout = "30s"

# Directory that 'ppsp play' and 'ppsp gateway' keep content in, and the UDP address they listen on for peers. Without these:
# ppsp in the user's cache directory, and any free port.
#cache = "/var/cache/ppsp"
#udp = "[::]:0"

# One JSON object per line on standard output; more words; no words.
#json = false
#verbose = false
#quiet = false
"#;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(text: &str) -> Result<ConfigFile, String> {
        toml::from_str(text).map_err(|e| e.to_string())
    }

    #[test]
    fn the_printed_defaults_can_be_read_and_name_every_flag() {
        let text: String = DEFAULTS
            .lines()
            .map(|l| format!("{}\n", l.strip_prefix('#').filter(|l| !l.starts_with(' ')).unwrap_or("")))
            .collect();
        parse(&text).unwrap();
        let keys: Vec<&str> = text.lines().filter_map(|l| l.split(" = ").next()).collect();
        let cli = super::super::args::Cli::command();
        for command in ["seed", "get"] {
            let command = cli.find_subcommand(command).unwrap();
            for long in command.get_arguments().chain(cli.get_arguments()).filter_map(|arg| arg.get_long()) {
                assert!(["help", "version", "config"].contains(&long) || keys.contains(&long), "{long}");
            }
        }
    }

    #[test]
    fn unknown_keys_and_bare_numbers_are_refused() {
        let error = parse("max-peers = 3\nuplode-limit = \"5MiB/s\"").unwrap_err();
        assert!(error.contains("uplode-limit") && error.contains("line 2"), "{error}");
        let error = parse("upload-limit = 5").unwrap_err();
        assert!(error.contains("no unit"), "{error}");
        assert!(parse("hash = \"md5\"").unwrap_err().contains("sha256"));
    }

    #[test]
    fn flags_go_before_the_file() {
        let file = parse("upload-limit = \"1MiB/s\"\nmax-peers = 7\npeer = [\"a:1\"]\nverbose = true").unwrap();
        let mut net = NetArgs { upload_limit: Some(Rate(5)), ..NetArgs::default() };
        file.clone().fill_net(&mut net);
        assert_eq!((net.upload_limit, net.max_peers, net.peer.len()), (Some(Rate(5)), Some(7), 1));
        let mut common = CommonArgs { quiet: Some(true), ..CommonArgs::default() };
        file.fill_common(&mut common);
        assert_eq!((common.quiet, common.verbose), (Some(true), None));
    }
}
