//! A gateway that runs: what `play` and `gateway` have in common.

use std::{net::SocketAddr, path::PathBuf};

use tokio::{net::TcpListener, task::JoinHandle};

use super::{
    only_static,
    serving::make_dir,
    session::{bind, bind_any, endpoint_config, resolve},
    source::Source,
};
use crate::{
    account::Logins,
    cli::{args::PlayingArgs, exit::Failure, units::HostPort},
    gateway::{Access, Gateway, Item, PATIENCE},
    http::{Limits, Serving, Shutdown, serve},
    peer::{Peer, Sources},
};

/// A gateway, and the socket behind it.
pub(super) struct Playing {
    pub(super) gateway: Gateway,
    peer: Peer,
    shutdown: Shutdown,
    served: JoinHandle<()>,
}

impl Playing {
    /// Serves on this listener, for those that may ask.
    pub(super) fn start(
        args: &PlayingArgs,
        listener: TcpListener,
        tls: Option<std::sync::Arc<rustls::ServerConfig>>,
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
        let gateway = Gateway::new(peer.clone(), cache, access, patience);
        let shutdown = Shutdown::default();
        // Players open many, and all are on one machine. An answer begins when content comes, or when that takes too long; what
        // proves the length may take as long before.
        let limits = Limits {
            connections: 1024,
            connections_per_address: 1024,
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
        Ok(Self { gateway, peer, shutdown, served })
    }

    /// One more that can be played; returns the path of its URL.
    pub(super) async fn add(&self, source: Source, peers: &[HostPort]) -> Result<String, Failure> {
        let Source { link, mime, joining } = source;
        only_static(&link)?;
        let mut known: Vec<SocketAddr> = resolve(peers).await?;
        known.extend(&link.peers);
        if known.is_empty() && joining.is_none() {
            return Err(super::get::nobody_to_ask());
        }
        let metadata = link.metadata.clone();
        let trackers = joining.map(|joining| {
            let start = move |addr, complete| joining.start(&metadata, addr, complete);
            Box::new(start) as Box<dyn FnOnce(SocketAddr, bool) -> _ + Send>
        });
        Ok(self.gateway.add(Item::new(link, mime, Sources { peers: known, trackers })).path())
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

/// `ppsp` in the user's cache directory (XDG Base Directory Specification).
pub(super) fn cache_dir(args: &PlayingArgs) -> Result<PathBuf, Failure> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let usual = || set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    let found = args.cache.clone().or_else(|| Some(usual()?.join("ppsp")));
    found.ok_or_else(|| Failure::usage("there is no home directory here: give --cache"))
}
