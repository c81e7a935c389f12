//! A gateway that runs: what `play` and `gateway` have in common.

use std::{path::PathBuf, sync::Arc};

use ppsp_core::SwarmMetadata;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    membership::Joining,
    only_static,
    serving::make_dir,
    session::{bind, bind_any, endpoint_config, resolve},
    source::{Programme, Source},
};
use crate::{
    account::Logins,
    cli::{
        args::{NetArgs, PlayingArgs, PortalAt},
        exit::Failure,
    },
    gateway::{self, Access, Find, Gateway, Item, Keeping, PATIENCE},
    http::{Limits, Serving, Shutdown, serve},
    peer::{Peer, Sources, StartTrackers},
};

/// A gateway, and the socket behind it.
pub(super) struct Playing {
    gateway: Gateway,
    net: NetArgs,
    peer: Peer,
    shutdown: Shutdown,
    served: JoinHandle<()>,
}

impl Playing {
    /// Serves on this listener, for those that may ask.
    pub(super) fn start(
        args: &PlayingArgs,
        at: &PortalAt,
        listener: TcpListener,
        tls: Option<Arc<rustls::ServerConfig>>,
        mut access: Access,
    ) -> Result<Self, Failure> {
        let cache = cache_dir(args)?;
        make_dir(&cache)?;
        // The pages of Portals where somebody is signed in may show what is played here.
        access.origins.extend(Logins::of_user()?.all()?.into_iter().map(|login| login.portal));
        let socket = match args.udp {
            Some(udp) => bind(udp.0, 1)?,
            None => bind_any(0, 1)?,
        };
        let socket = socket.into_iter().next().ok_or_else(|| Failure::other("there is no socket"))?;
        let peer = Peer::start(socket, endpoint_config(&args.net, false))?;
        let patience = args.timeout.map_or(PATIENCE, |span| span.0);
        let find: Find = {
            let (at, net) = (at.clone(), args.net.clone());
            Box::new(move |id| {
                let (at, net) = (at.clone(), net.clone());
                Box::pin(async move { playable(Programme::find(&id, &at, &net, None).await?, &net).await })
            })
        };
        let gateway = Gateway::new(peer.clone(), cache, access, patience, Keeping::default(), find);
        let shutdown = Shutdown::default();
        // Players open many, and all are on one machine. An answer begins when content comes, or when that takes too long; what
        // proves the length may take as long before.
        let connections = connections();
        let limits = Limits {
            connections,
            connections_per_address: connections,
            request: patience * 3,
            body: 4096,
            ..Limits::default()
        };
        let serving = Serving { tls, limits, shutdown: shutdown.clone() };
        let answering = gateway.clone();
        let served = tokio::spawn(serve(listener, serving, move |request| {
            let gateway = answering.clone();
            async move { gateway.answer(request).await }
        }));
        Ok(Self { gateway, net: args.net.clone(), peer, shutdown, served })
    }

    /// More that can be played; returns the paths of its URLs.
    pub(super) async fn add(&self, programme: Programme) -> Result<Vec<String>, Failure> {
        let programme = playable(programme, &self.net).await?;
        let paths = programme.paths();
        self.gateway.add(programme);
        Ok(paths)
    }

    /// Returns when it has ended by itself, which it does not.
    pub(super) async fn ended(&mut self) -> Failure {
        _ = (&mut self.served).await;
        Failure::other("the gateway ended by itself")
    }

    /// Ends: players first, then peers and trackers are told.
    pub(super) async fn close(self) {
        self.shutdown.now();
        self.peer.close().await;
        // Players that read nothing would be waited for.
        self.served.abort();
    }
}

/// Most connections of players: so many that files for content can be opened still. Many systems let a program have 1024 files unless it
/// asks for more.
fn connections() -> usize {
    const MOST: u64 = 1024;
    let limit = getrlimit(Resource::Nofile);
    let wanted = (MOST * 4).min(limit.maximum.unwrap_or(u64::MAX));
    if limit.current.is_some_and(|current| current < wanted) {
        // Without it there are fewer.
        _ = setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum });
    }
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    MOST.min(files / 2) as usize
}

/// As the gateway knows it.
async fn playable(programme: Programme, net: &NetArgs) -> Result<gateway::Programme, Failure> {
    let given = resolve(&net.peer).await?;
    let Programme { content, sources } = programme;
    let id = content.as_ref().map(|(id, _)| &**id);
    let mut items = Vec::new();
    for Source { link, mime, parts, joining, origin, above, .. } in sources {
        if !link.metadata.integrity.is_live() {
            only_static(&link)?;
        }
        let mut peers = given.clone();
        peers.extend(&link.peers);
        if peers.is_empty() && joining.is_none() && origin.is_none() {
            return Err(super::get::nobody_to_ask());
        }
        let trackers = joining.map(|joining| start_later(joining, link.metadata.clone()));
        items.push(Item::new(id, link, mime, parts, Sources { peers, trackers, origin, above }));
    }
    Ok(gateway::Programme::new(content, items))
}

/// Registers at the trackers once the swarm is open.
pub(super) fn start_later(joining: Joining, metadata: SwarmMetadata) -> StartTrackers {
    Arc::new(move |addr, complete| joining.start(&metadata, addr, complete))
}

/// `ppsp` in the user's cache directory (XDG Base Directory Specification).
pub(super) fn cache_dir(args: &PlayingArgs) -> Result<PathBuf, Failure> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let usual = || set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let found = args.cache.clone().or_else(|| Some(usual()?.join("ppsp")));
    found.ok_or_else(|| Failure::usage("there is no home directory here: give --cache"))
}
