//! `ppsp live`: the source of a live stream.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use ppsp_core::{
    ChunkAddressing, ContentStore, IntegrityMethod, Link, SwarmMetadata, Tree, WindowStore,
    descriptor::Descriptor,
    live::{DEFAULT_CHUNKS_PER_SIGNATURE, LiveConfig, LiveSource, chunks_per_signature},
    signature::{PrivateKey, Signer},
};
use ppsp_peer_proto::LiveOptions;
use serde_json::json;
use tokio::{sync::mpsc, time::MissedTickBehavior};

use super::{
    entry::{Entered, Entry, publisher},
    key,
    membership::{Joining, check_flags},
    metrics::{self, Shown},
    recorded,
    seed::DEFAULT_PORT,
    serving::make_dir,
    session::{TICK, bind, bind_any, endpoint_config, resolve},
    signals::Signals,
    watch::{show, tell},
};
use crate::{
    cli::{
        args::LiveArgs,
        exit::Failure,
        output::Output,
        units::{self, Extent, SeedAfter},
    },
    live::{LivePeer, Place},
    net::local_addresses,
    store::{Places, Recording},
};

/// Bytes of a stream that are kept, and chunks under a signature at least in them.
const WINDOW: u64 = 64 << 20;
const MIN_MUNROS: u64 = 4;
/// Chunks that may wait to be pushed, and that are pushed at once.
const QUEUE: usize = 1024;
const AT_ONCE: usize = 64;
/// After so long without a byte that is said.
const SILENCE: Duration = Duration::from_secs(10);
/// Viewers are a few seconds behind: so long they can fetch the rest, but no longer than somebody is connected. Who was connected to a
/// source that was killed before notices that after eight seconds, and calls this one.
const LINGER: Duration = Duration::from_secs(30);
const ALONE: Duration = Duration::from_secs(15);

/// `ppsp live`.
pub(super) async fn run(args: LiveArgs, out: &mut Output) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    check_flags(&args.net)?;
    let input = open_input(&args.input)?;
    let (path, key) = key_of(&args, out)?;
    let mut metadata = SwarmMetadata::of_key(key.public_key());
    metadata.addressing = args.addressing.map_or(ChunkAddressing::Range64, |name| name.0);
    metadata.integrity = args.integrity.map_or(metadata.integrity, |method| method.0);
    if metadata.integrity == IntegrityMethod::SignAll && (args.chunks_per_signature.is_some() || args.latency.is_some())
    {
        return Err(Failure::usage(
            "with --integrity sign-all each chunk is signed: leave out --chunks-per-signature and --latency",
        ));
    }
    let per_signature = per_signature(&args, &metadata);
    let source =
        LiveSource::new(&metadata, Default::default(), per_signature, Box::new(key)).map_err(Failure::usage)?;
    let per_signature = source.chunks_per_signature();
    let window = window(&args, &metadata, per_signature)?;
    let place = Place::open(&path)?;
    let source = source.starting_at(place.chunks());
    let first = source.next_chunk();
    let socket = match args.listen {
        Some(listen) => bind(listen.0, 1)?,
        None => bind_any(DEFAULT_PORT, 1).or_else(|_| bind_any(0, 1))?,
    };
    let socket = socket.into_iter().next().ok_or_else(|| Failure::other("there is no socket"))?;
    let peers = signals.unless(resolve(&args.net.peer)).await?;

    let mut link = Link::new(metadata.clone());
    link.name = args.input.file_name().and_then(|name| name.to_str()).filter(|&name| name != "-").map(str::to_owned);
    link.trackers.clone_from(&args.net.tracker);
    link.discard_window = Some(window);
    let recording = match &args.record {
        Some(path) => Some(Recording::create(Places::new(path, args.net.state_dir.as_deref()), &metadata)?),
        None => None,
    };
    let entered = signals.unless(enter(&args, &link, out)).await?;
    let joining = async {
        match &entered {
            Some((_, entered)) => entered.joining(&args.net, out).await,
            None => Joining::of_link(&args.net, &link, Some(out)).await,
        }
    };
    let joining = signals.unless(joining).await?;
    let shown = metrics::show(args.metrics_listen, out).await?;
    let store: Box<dyn ContentStore> = match &recording {
        Some(recording) => {
            recording.begin(first);
            Box::new(recording.clone())
        }
        None => Box::new(WindowStore::new()),
    };
    let mut options = LiveOptions::default();
    options.config = LiveConfig::default();
    options.config.window = Some(window);
    options.source = Some(source);
    let config = endpoint_config(&args.net, true);
    let mut peer = LivePeer::open(socket, config, &metadata, options, store)?;
    let addr = peer.addr().map_err(Failure::network)?;
    peer.give_peers(&peers);
    if let Some(joining) = joining {
        peer.join(joining.start(&metadata, addr, true));
    }
    out.listening(addr);
    link.peers = local_addresses(addr);
    out.link(&link.to_string(), &json!({ "link": link.to_string(), "first_chunk": first }));
    if first > 0 {
        out.say(format_args!("the channel goes on with chunk {first}"));
    }
    out.say("on the air until the input ends, or Ctrl-C");
    let chunks = read(input, metadata.chunk_size as usize)?;
    let mut broadcast =
        Broadcast { peer, place, out, shown, recording, next: first, first, per_signature, bytes: 0, tree: None };
    let done = broadcast.run(chunks, &mut signals).await;
    let Broadcast { mut peer, place, tree, recording, .. } = broadcast;
    peer.close().await;
    drop(peer);
    out.clear();
    let left = place.leave();
    // Whatever ended it: what was recorded is kept.
    let kept = match (recording, &args.record) {
        (Some(recording), Some(path)) => {
            let recorded = recording.finish(tree.as_ref())?;
            recorded::tell(path, &recorded, out);
            recorded.whole.is_some().then_some(path)
        }
        _ => None,
    };
    done.and(left)?;
    match (kept, entered) {
        (Some(path), entered) => {
            let succession = entered.map(|(entry, entered)| entered.succession(&entry));
            recorded::share(path, addr, &args.net, succession.as_ref(), SeedAfter::No, out, &mut signals).await
        }
        // The channel stands in the catalogue while it is on the air.
        (None, Some((_, entered))) => signals.unless(entered.remove(out)).await,
        (None, None) => Ok(()),
    }
}

/// Puts the channel into the catalogue, where that was asked for.
async fn enter(args: &LiveArgs, link: &Link, out: &Output) -> Result<Option<(Entry, Entered)>, Failure> {
    if args.entry.title.is_none() && args.entry.at.portal.is_none() {
        return Ok(None);
    }
    let account = publisher(&args.entry, &args.net, args.input.as_os_str() != "-", out).await?;
    let title = args.entry.title.clone().or_else(|| link.name.clone()).unwrap_or_else(|| "Live".to_owned());
    let name = link.name.clone().unwrap_or_else(|| format!("{title}.ts"));
    let mut descriptor = Descriptor::of_file(&title, &name, "video/mp2t", &link.metadata);
    descriptor.set_swarm("file", &link.metadata, link.discard_window);
    let entry = Entry::new(&args.entry, title, "play");
    let entered = entry.enter(&account, &args.net, descriptor, out).await?;
    Ok(Some((entry, entered)))
}

/// A source on the air.
struct Broadcast<'a> {
    peer: LivePeer,
    place: Place,
    out: &'a mut Output,
    /// Where counters are shown.
    shown: Option<Shown>,
    recording: Option<Recording>,
    /// The chunk that comes next, and the one that came first.
    next: u64,
    first: u64,
    per_signature: u64,
    bytes: u64,
    /// Of the whole stream, once it has ended.
    tree: Option<Tree>,
}

type Chunks = mpsc::Receiver<io::Result<Vec<u8>>>;

impl Broadcast<'_> {
    async fn run(&mut self, mut chunks: Chunks, signals: &mut Signals) -> Result<(), Failure> {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let started = Instant::now();
        let (mut kept, mut silent, mut connected) = (started, false, started);
        let mut waiting = Vec::with_capacity(AT_ONCE);
        // When the stream ended, and why.
        let mut ended: Option<(Instant, Result<(), Failure>)> = None;
        loop {
            tokio::select! {
                biased;
                () = signals.any() => {
                    self.out.clear();
                    self.out.say(format_args!("stopped; {} were broadcast", units::bytes(self.bytes)));
                    return Err(Failure::interrupted());
                }
                _ = tick.tick() => {
                    let now = Instant::now();
                    if self.tell() > 0 {
                        connected = now;
                    }
                    if now.duration_since(kept) >= Duration::from_secs(1) {
                        kept = now;
                        self.place.keep();
                    }
                    if self.bytes == 0 && ended.is_none() && !silent && now.duration_since(started) >= SILENCE {
                        silent = true;
                        self.out.warn("nothing has come from the input yet");
                    }
                    if let Some((since, done)) = &ended {
                        let alone = now.duration_since(connected.max(*since)) >= ALONE;
                        if alone || now.duration_since(*since) >= LINGER {
                            return done.clone();
                        }
                    }
                }
                count = chunks.recv_many(&mut waiting, AT_ONCE), if ended.is_none() => {
                    let mut taken = waiting.drain(..).try_for_each(|chunk| self.take(chunk));
                    if count == 0 && self.bytes == 0 {
                        taken = Err(Failure::other("the input ended before its first byte: there is nothing to broadcast"));
                    }
                    if count == 0 || taken.is_err() {
                        if self.next == self.first {
                            return taken;
                        }
                        // What is signed by now is still good for those who watch.
                        if let Err(failure) = &taken {
                            self.out.warn(&failure.message);
                        }
                        self.finish()?;
                        ended = Some((Instant::now(), taken));
                    }
                }
                turned = self.peer.turn() => turned?,
            }
            while let Some(told) = self.peer.told() {
                tell(self.out, told);
            }
        }
    }

    /// Takes the next chunk.
    fn take(&mut self, chunk: io::Result<Vec<u8>>) -> Result<(), Failure> {
        let chunk = chunk.map_err(|e| Failure::other(format!("the input cannot be read: {e}")))?;
        if (self.next + 1).is_multiple_of(self.per_signature) {
            self.place.advance(self.next + 1)?;
        }
        self.peer.push(&chunk).map_err(Failure::other)?;
        self.next += 1;
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    /// Signs what is left.
    fn finish(&mut self) -> Result<(), Failure> {
        self.place.advance(self.next.next_multiple_of(self.per_signature))?;
        self.tree = self.peer.finish().map_err(Failure::other)?;
        let root = self.tree.as_ref().map(|tree| ppsp_core::SwarmId::from_root(&tree.root).to_string());
        self.out.clear();
        self.out.event("ended", &json!({ "bytes": self.bytes, "chunks": self.next - self.first, "root": root }));
        self.out.say(format_args!(
            "the input has ended: {} were broadcast; viewers have up to {} s for the rest",
            units::bytes(self.bytes),
            LINGER.as_secs()
        ));
        Ok(())
    }

    /// Says how it stands; how many viewers are connected.
    fn tell(&mut self) -> usize {
        let mut progress = self.peer.tick();
        progress.bytes = self.bytes;
        self.out.progress(false, &progress);
        if let Some(shown) = &self.shown {
            let mut status = self.peer.live_status();
            status.first = Some(self.first);
            status.recorded_bytes = self.recording.as_ref().map(Recording::bytes);
            show(shown, &self.peer, &status);
        }
        progress.peers
    }
}

/// The key by the flag, else the one that is kept, else a new one that is kept from now on.
fn key_of(args: &LiveArgs, out: &Output) -> Result<(PathBuf, PrivateKey), Failure> {
    if let Some(path) = &args.key {
        return Ok((path.clone(), key::read(path)?));
    }
    let dir = state_dir(args)?;
    make_dir(&dir)?;
    let path = dir.join("live.key");
    if !path.exists() {
        key::write(&path, &key::make(Default::default())?)?;
        out.say(format_args!("made the key of a channel: {}; who has this file can send in it", path.display()));
    }
    let key = key::read(&path)?;
    Ok((path, key))
}

/// `ppsp` in the user's state directory (XDG Base Directory Specification).
fn state_dir(args: &LiveArgs) -> Result<PathBuf, Failure> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let usual = || set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")));
    let found = args.net.state_dir.clone().or_else(|| Some(usual()?.join("ppsp")));
    found.ok_or_else(|| Failure::usage("there is no home directory to keep a key in: give one with --key"))
}

/// Chunks under a signature: as many as it is said, or as come in the time that one of them may wait for it.
fn per_signature(args: &LiveArgs, metadata: &SwarmMetadata) -> u32 {
    let chosen = args.bitrate.zip(args.latency);
    let chosen = chosen.map(|(rate, latency)| chunks_per_signature(rate.0, metadata.chunk_size, latency.0));
    args.chunks_per_signature.or(chosen).unwrap_or(DEFAULT_CHUNKS_PER_SIGNATURE)
}

/// Chunks that are kept.
fn window(args: &LiveArgs, metadata: &SwarmMetadata, per_signature: u64) -> Result<u64, Failure> {
    let bytes = match (args.window, args.bitrate) {
        (None, _) => WINDOW,
        (Some(Extent::Size(bytes)), _) => bytes,
        (Some(Extent::Span(span)), Some(rate)) => (span.as_secs_f64() * rate.0 as f64) as u64,
        (Some(Extent::Span(_)), None) => {
            return Err(Failure::usage(
                "--window: how much comes in that time is not known; say how fast the stream is, as in --bitrate 4Mbit/s",
            ));
        }
    };
    let chunks = bytes / u64::from(metadata.chunk_size);
    let least = MIN_MUNROS * per_signature;
    if chunks < least {
        let least = units::bytes(least * u64::from(metadata.chunk_size));
        return Err(Failure::usage(format!(
            "--window: {} is too little; at least {least} with so many chunks under a signature",
            units::bytes(bytes)
        )));
    }
    Ok(chunks)
}

fn open_input(path: &Path) -> Result<Box<dyn Read + Send>, Failure> {
    if path.as_os_str() == "-" {
        if io::stdin().is_terminal() {
            return Err(Failure::usage(
                "standard input is a terminal: pipe a stream in, as in 'ffmpeg -re … -f mpegts - | ppsp live -'",
            ));
        }
        return Ok(Box::new(io::stdin()));
    }
    let file = File::open(path).map_err(|e| Failure::other(format!("{}: cannot read: {e}", path.display())))?;
    Ok(Box::new(file))
}

/// Reads in a thread of its own, in whole chunks but for the last one.
fn read(mut input: Box<dyn Read + Send>, chunk_size: usize) -> Result<Chunks, Failure> {
    let (send, chunks) = mpsc::channel(QUEUE);
    let work = move || {
        loop {
            let mut chunk = Vec::with_capacity(chunk_size);
            let read = input.by_ref().take(chunk_size as u64).read_to_end(&mut chunk);
            let end = chunk.len() < chunk_size;
            let sent = match read {
                Err(error) => send.blocking_send(Err(error)).and(Err(mpsc::error::SendError(Ok(Vec::new())))),
                Ok(0) => break,
                Ok(_) => send.blocking_send(Ok(chunk)),
            };
            if end || sent.is_err() {
                break;
            }
        }
    };
    let started = thread::Builder::new().name("input".to_owned()).spawn(work);
    started.map_err(|e| Failure::other(format!("cannot start a thread: {e}")))?;
    Ok(chunks)
}
