use std::net::{SocketAddr, UdpSocket};

use ppsp_core::{Link, SwarmMetadata};
use serde_json::json;

use super::{
    membership::{Joining, check_flags},
    metrics,
    opening::watched,
    session::{Goal, Session, add_usage, bind, bind_any, resolve},
    signals::Signals,
};
use crate::{
    cli::{args::SeedArgs, exit::Failure, output::Output, units},
    net::local_addresses,
    store::{FileStore, Opened, Places, SeedOptions},
};

/// The port of the RFC's examples; what a seed listens on if nothing else is said.
pub(super) const DEFAULT_PORT: u16 = 6778;

/// `ppsp seed`.
pub(super) async fn run(args: SeedArgs, out: &mut Output) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    check_flags(&args.net)?;
    let ready = open(&args, out, &mut signals).await?;
    let mut link = Link::new(ready.metadata());
    link.name = args.file.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    link.trackers.clone_from(&args.net.tracker);
    let joining = signals.unless(Joining::of_link(&args.net, &link, Some(out))).await?;
    link.peers = local_addresses(ready.addr);
    let shown = metrics::show(args.metrics_listen, out).await?;
    let mut session = ready.begin(&args, joining, out, &mut signals)?;
    session.show(shown);
    let mut fields = json!({ "link": link.to_string() });
    add_usage(&mut fields);
    session.out.link(&link.to_string(), &fields);
    session.out.say("serving until Ctrl-C");
    session.run(Goal::Serve { until: None }).await
}

/// Content that is hashed, and sockets to serve it from.
pub(super) struct Ready {
    store: FileStore,
    sockets: Vec<UdpSocket>,
    peers: Vec<SocketAddr>,
    addr: SocketAddr,
}

impl Ready {
    /// What the swarm shares.
    pub(super) fn metadata(&self) -> SwarmMetadata {
        self.store.metadata()
    }

    /// The content.
    pub(super) fn store(&self) -> &FileStore {
        &self.store
    }

    /// Opens its swarm, and registers at the trackers.
    pub(super) fn begin<'a>(
        self,
        args: &SeedArgs,
        joining: Option<Joining>,
        out: &'a mut Output,
        signals: &'a mut Signals,
    ) -> Result<Session<'a>, Failure> {
        let metadata = self.metadata();
        let mut session = Session::open(out, signals, &args.net, self.store, self.sockets)?;
        if let Some(joining) = joining {
            session.join(joining.start(&metadata, self.addr, true));
        }
        session.give_peers(&self.peers);
        Ok(session)
    }
}

/// Opens a file to share: hashes it where that has not been done.
pub(super) async fn open(args: &SeedArgs, out: &mut Output, signals: &mut Signals) -> Result<Ready, Failure> {
    let options = options(args)?;
    // An address that cannot be used is better known before an hour of hashing.
    let sockets = sockets(args)?;
    let addr = sockets.first().ok_or_else(|| Failure::other("there is no socket"))?.local_addr();
    let addr = addr.map_err(Failure::other)?;
    let peers = signals.unless(resolve(&args.net.peer)).await?;
    let places = Places::new(&args.file, args.net.state_dir.as_deref());
    let (store, opened) = watched(out, signals, move |observer| FileStore::seed(&places, &options, observer)).await??;
    tell_opened(out, opened, &store);
    warn_of_big_chunks(out, &store.metadata(), addr);
    Ok(Ready { store, sockets, peers, addr })
}

/// How to hash.
pub(super) fn options(args: &SeedArgs) -> Result<SeedOptions, Failure> {
    Ok(SeedOptions {
        chunk_size: args.chunk_size.map(chunk_size).transpose()?,
        hash: args.hash.map(|name| name.0),
        addressing: args.addressing.map(|name| name.0),
        rehash: args.rehash.unwrap_or(false),
    })
}

/// Where to serve from.
pub(super) fn sockets(args: &SeedArgs) -> Result<Vec<UdpSocket>, Failure> {
    let sockets = usize::from(args.sockets.unwrap_or(1));
    match args.listen {
        Some(listen) => bind(listen.0, sockets),
        None => bind_any(DEFAULT_PORT, sockets).or_else(|_| bind_any(0, sockets)),
    }
}

/// Says what it took to open the content.
pub(super) fn tell_opened(out: &Output, opened: Opened, store: &FileStore) {
    let path = store.path();
    let (how, hashed) = match opened {
        Opened::New => ("new", 0),
        Opened::Loaded => ("loaded", 0),
        Opened::Checked(bytes) => ("checked", bytes),
        Opened::Hashed => ("hashed", store.held_bytes()),
    };
    out.event(
        "opened",
        &json!({ "how": how, "hashed": hashed, "bytes": store.held_bytes(), "path": path.to_string_lossy() }),
    );
    match opened {
        Opened::New => {}
        Opened::Loaded => out.detail(format_args!("{}: known already, nothing to hash", path.display())),
        Opened::Checked(bytes) => out.detail(format_args!("{}: checked {}", path.display(), units::bytes(bytes))),
        Opened::Hashed => out.detail(format_args!("{}: hashed {}", path.display(), units::bytes(hashed))),
    }
}

fn chunk_size(size: units::Size) -> Result<u32, Failure> {
    u32::try_from(size.0).map_err(|_| Failure::usage(ppsp_core::MetadataError::ChunkSize))
}

/// Datagrams are never cut up on the way, so big chunks do not pass most links.
fn warn_of_big_chunks(out: &Output, metadata: &SwarmMetadata, addr: SocketAddr) {
    if metadata.chunk_size > 1400 && !addr.ip().is_loopback() {
        out.warn(format_args!(
            "chunks of {} bytes do not fit the datagrams of most networks; 1024 bytes do",
            metadata.chunk_size
        ));
    }
}
