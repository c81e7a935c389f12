//! What the services have in common: a directory, an address, a certificate, a URL.

use std::{
    fs,
    net::{Ipv6Addr, SocketAddr},
    os::unix::fs::DirBuilderExt,
    path::Path,
};

use tokio::net::TcpListener;

use crate::{
    cli::{args::ServeArgs, exit::Failure},
    http::{Identity, bind},
    net::local_addresses,
};

/// The directory, for nobody else to look into.
pub(super) fn make_dir(dir: &Path) -> Result<(), Failure> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| Failure::other(format!("{}: {error}", dir.display())))
}

/// Listens where it was said, else on this port of all addresses.
pub(super) async fn listen(args: &ServeArgs, port: u16) -> Result<TcpListener, Failure> {
    let tls = !args.insecure_http.unwrap_or(false);
    let addr = args.listen.map_or(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), |listen| listen.0);
    bind(addr, tls).await
}

/// Listens for those who look at counters, where that was said.
pub(super) async fn metrics_listener(args: &ServeArgs) -> Result<Option<TcpListener>, Failure> {
    match args.metrics_listen {
        // Nothing in it is worth listening to; who lets others see it says so.
        Some(listen) => Ok(Some(bind(listen.0, true).await?)),
        None => Ok(None),
    }
}

/// The certificate that was given, or one that is made once, for the addresses of this machine and the host of the public URL.
pub(super) fn identity(
    args: &ServeArgs,
    data_dir: &Path,
    addr: SocketAddr,
    public_url: Option<&str>,
) -> Result<Identity, Failure> {
    match (&args.tls_cert, &args.tls_key) {
        (Some(chain), Some(key)) => Identity::read(chain, key).map_err(Failure::other),
        (None, None) => {
            let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
            names.extend(local_addresses(addr).iter().map(|addr| addr.ip().to_canonical().to_string()));
            let url = public_url.and_then(|url| url.parse::<http::Uri>().ok());
            names.extend(url.and_then(|url| url.host().map(|host| host.trim_matches(['[', ']']).to_owned())));
            names.sort_unstable();
            names.dedup();
            Identity::keep(data_dir, &names).map_err(Failure::other)
        }
        _ => Err(Failure::usage("--tls-cert and --tls-key belong together")),
    }
}

/// The URL that follows from where it listens.
pub(super) fn url(tls: bool, addr: SocketAddr) -> String {
    let reached = local_addresses(addr).first().copied().unwrap_or(addr);
    let reached = SocketAddr::new(reached.ip().to_canonical(), reached.port());
    format!("{}://{reached}", if tls { "https" } else { "http" })
}
