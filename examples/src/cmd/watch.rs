//! `ppsp get` of a live stream.

use std::{
    fs::OpenOptions,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    thread,
    time::Instant,
};

use bytes::Bytes;
use ppsp_core::{Link, signature::PublicKey};
use serde_json::json;
use tokio::{sync::mpsc, task::JoinHandle};

use super::{
    entry::Succession,
    membership::Joining,
    metrics::{self, Shown},
    recorded,
    session::{bind, bind_any, endpoint_config},
    signals::Signals,
};
use crate::{
    cli::{
        args::GetArgs,
        exit::Failure,
        output::{Output, one_line},
        units::{self, SeedAfter},
    },
    live::{LivePeer, LiveStatus, Seen, Told, Viewer, Watching},
    peer::book::{explain, name},
    store::{Places, Recording},
    trackers,
};

/// Pieces that wait to be written. When the reader stops reading, the stream waits for it as long as its window is.
const QUEUE: usize = 16;

/// Fetches a live stream until it ends.
pub(super) async fn run(
    args: &GetArgs,
    link: &Link,
    peers: &[std::net::SocketAddr],
    joining: Option<Joining>,
    succession: Option<Succession>,
    out: &mut Output,
    signals: &mut Signals,
) -> Result<(), Failure> {
    // What cannot be is better known before files are made.
    PublicKey::parse(link.metadata.id.as_bytes())
        .map_err(|e| Failure::usage(format!("the link is to no live stream: its swarm ID is no public key: {e}")))?;
    let socket = match args.listen {
        Some(listen) => bind(listen.0, 1)?,
        None => bind_any(0, 1)?,
    };
    let socket = socket.into_iter().next().ok_or_else(|| Failure::other("there is no socket"))?;
    let shown = metrics::show(args.metrics_listen, out).await?;
    let mut sink = Sink::open(args, out)?;
    let watching = Watching {
        delay: args.delay.map_or(Watching::DELAY, |span| span.0),
        patience: args.timeout.map_or(Watching::PATIENCE, |span| span.0),
        window: link.discard_window,
        recording: match &args.record {
            Some(path) => Some(Recording::create(Places::new(path, args.net.state_dir.as_deref()), &link.metadata)?),
            None => None,
        },
    };
    let recording = watching.recording.clone();
    let mut viewer = Viewer::open(socket, endpoint_config(&args.net, false), &link.metadata, watching)?;
    let addr = viewer.peer().addr().map_err(Failure::network)?;
    viewer.peer().give_peers(peers);
    if let Some(joining) = joining {
        viewer.peer().join(joining.start(&link.metadata, addr, false));
    }
    out.listening(addr);
    let started = Instant::now();
    let done = watch(&mut viewer, &mut sink, shown.as_ref(), out, signals).await;
    let (stalls, skipped) = viewer.losses();
    out.clear();
    out.event(
        "ended",
        &json!({ "bytes": sink.bytes, "seconds": started.elapsed().as_secs_f64(), "stalls": stalls, "skipped": skipped }),
    );
    if done.is_ok() {
        // Who does not wait for that has all the same.
        _ = signals.unless(viewer.linger()).await;
    }
    let tree = viewer.recorded();
    viewer.close().await;
    drop(viewer);
    let written = sink.close().await;
    let lacks = match skipped {
        0 => String::new(),
        _ => format!(", {skipped} chunks were left out"),
    };
    out.say(format_args!("{} shown, {stalls} stalls{lacks}", units::bytes(sink.bytes)));
    let Some(recording) = recording else { return done.and(written) };
    // Whatever ended it: what was recorded is kept.
    let recorded = recording.finish(tree?.as_ref())?;
    drop(recording);
    let path = args.record.as_deref().unwrap_or(Path::new(""));
    recorded::tell(path, &recorded, out);
    done.and(written)?;
    match recorded.whole {
        Some(_) => {
            let seed_after = args.seed_after.unwrap_or(SeedAfter::No);
            recorded::share(path, addr, &args.net, succession.as_ref(), seed_after, out, signals).await
        }
        None if succession.is_some() => Err(Failure::other(
            "--publish: what was recorded is not the whole stream; 'ppsp publish' hashes and publishes it",
        )),
        None => Ok(()),
    }
}

/// Shows what comes until it ends.
async fn watch(
    viewer: &mut Viewer,
    sink: &mut Sink,
    shown: Option<&Shown>,
    out: &mut Output,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let mut found = false;
    loop {
        let seen = tokio::select! {
            biased;
            () = signals.any() => return Err(Failure::interrupted()),
            () = sink.gone() => {
                out.say("nobody reads the output any more");
                return Ok(());
            }
            seen = async {
                // Room is waited for while all else goes on.
                match sink.has_room() {
                    true => viewer.next(true).await,
                    false => tokio::select! {
                        biased;
                        () = sink.room() => viewer.next(true).await,
                        seen = viewer.next(false) => seen,
                    },
                }
            } => seen?,
        };
        match seen {
            Seen::TunedIn(chunk) => {
                found = true;
                out.event("tuned_in", &json!({ "chunk": chunk }));
                out.detail(format_args!("tuned in at chunk {chunk}"));
            }
            Seen::Data(bytes) => sink.write(bytes),
            Seen::Skipped(gone) => {
                out.event("skipped", &json!({ "first": gone.first(), "chunks": gone.len() }));
                out.say(format_args!("left out: {} chunks from {} on did not come in time", gone.len(), gone.first()));
            }
            Seen::Told(told) => tell(out, told),
            Seen::Progress(progress) => {
                if found {
                    out.watching(&progress);
                } else {
                    out.progress(true, &progress);
                }
                if let Some(shown) = shown {
                    let status = viewer.status();
                    show(shown, viewer.peer(), &status);
                }
            }
            Seen::Ended(said) => {
                if !said {
                    out.say(
                        "nothing comes any more: the stream is over, or its source has been off the air for too long",
                    );
                }
                return Ok(());
            }
        }
    }
}

/// Shows how a live stream stands, at `/metrics` and `/status`.
pub(super) fn show(shown: &Shown, peer: &LivePeer, live: &LiveStatus) {
    shown.update(peer.figures(live));
    let mut swarm = peer.status().to_json();
    swarm["swarm"] = json!(peer.swarm().map(|swarm| swarm.metadata().id.to_string()));
    swarm["live"] = json!(live);
    shown.update_status(swarm);
}

/// What happens among peers.
pub(super) fn tell(out: &Output, told: Told) {
    match told {
        Told::Up(addr) => out.peer_up(addr),
        Told::Down(addr, reason) => out.peer_down(addr, name(reason), explain(reason)),
        Told::TwoSources => {
            out.warn("two sources broadcast with the key of this channel: what they send contradicts each other");
        }
        Told::Tracker(trackers::Told::Registered { tracker, peer_id, reflexive }) => {
            out.registered(&tracker, &peer_id, reflexive);
        }
        Told::Tracker(trackers::Told::Peers(peers)) => out.detail_event("tracker_peers", &json!({ "peers": peers })),
        Told::Tracker(trackers::Told::Failed { tracker, why }) => out.tracker_failed(&tracker, &why, false),
        Told::Tracker(trackers::Told::Refused(why)) => {
            out.warn(format_args!("no tracker is asked any more: {}", one_line(&why)));
        }
        Told::Edge => {}
    }
}

/// Where the bytes go: written by a thread that may wait for whoever reads them.
struct Sink {
    pieces: Option<mpsc::Sender<Bytes>>,
    writing: Option<JoinHandle<io::Result<()>>>,
    path: PathBuf,
    bytes: u64,
}

impl Sink {
    fn open(args: &GetArgs, out: &Output) -> Result<Self, Failure> {
        let path = args.output.clone().unwrap_or_default();
        let mut sink = Self { pieces: None, writing: None, path, bytes: 0 };
        let mut to: Box<dyn Write + Send> = match sink.path.as_os_str().to_str() {
            Some("") if args.record.is_some() => return Ok(sink),
            Some("") => {
                return Err(Failure::usage(
                    "a live stream has no end: say where it goes, '-o - | mpv -', '-o FILE', or '--record FILE' to share it later",
                ));
            }
            Some("-") if out.is_json() => {
                return Err(Failure::usage("-o - and --json: both want standard output; name a file with --output"));
            }
            Some("-") if io::stdout().is_terminal() => {
                return Err(Failure::usage(
                    "-o -: standard output is a terminal; pipe it into a player, as in '… -o - | mpv -'",
                ));
            }
            Some("-") => Box::new(io::stdout()),
            _ => {
                let file = OpenOptions::new().write(true).create_new(true).open(&sink.path);
                Box::new(file.map_err(|e| sink.failed(&e))?)
            }
        };
        let (send, mut pieces) = mpsc::channel::<Bytes>(QUEUE);
        sink.pieces = Some(send);
        let (done, written) = tokio::sync::oneshot::channel();
        let work = move || {
            let mut write = || {
                while let Some(bytes) = pieces.blocking_recv() {
                    to.write_all(&bytes)?;
                    to.flush()?;
                }
                Ok(())
            };
            _ = done.send(write());
        };
        let started = thread::Builder::new().name("output".to_owned()).spawn(work);
        started.map_err(|e| Failure::other(format!("cannot start a thread: {e}")))?;
        sink.writing = Some(tokio::spawn(async { written.await.unwrap_or(Ok(())) }));
        Ok(sink)
    }

    fn has_room(&self) -> bool {
        self.pieces.as_ref().is_none_or(|pieces| pieces.capacity() > 0)
    }

    /// Waits for room.
    async fn room(&self) {
        if let Some(pieces) = &self.pieces {
            _ = pieces.reserve().await;
        }
    }

    /// Waits until nobody reads any more.
    async fn gone(&self) {
        match &self.pieces {
            Some(pieces) => pieces.closed().await,
            None => std::future::pending().await,
        }
    }

    /// Only while there is room.
    fn write(&mut self, bytes: Bytes) {
        self.bytes += bytes.len() as u64;
        if let Some(pieces) = &self.pieces {
            _ = pieces.try_send(bytes);
        }
    }

    /// Waits until all is written.
    async fn close(&mut self) -> Result<(), Failure> {
        self.pieces = None;
        let Some(writing) = self.writing.take() else { return Ok(()) };
        let patience = std::time::Duration::from_secs(2);
        match tokio::time::timeout(patience, writing).await {
            // Who closes the player has seen enough.
            Ok(Ok(Err(error))) if error.kind() != io::ErrorKind::BrokenPipe => Err(self.failed(&error)),
            _ => Ok(()),
        }
    }

    fn failed(&self, error: &io::Error) -> Failure {
        let name = self.path.display();
        Failure::other(match error.kind() {
            io::ErrorKind::AlreadyExists => {
                format!("{name}: exists already, and is not written over; choose another name with --output")
            }
            _ => format!("{name}: cannot write: {error}"),
        })
    }
}
