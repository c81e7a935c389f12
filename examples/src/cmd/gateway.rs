use std::{net::SocketAddr, path::Path};

use serde_json::json;
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use super::{
    playing::Playing,
    serving::{self, url},
    signals::Signals,
    source::Programme,
};
use crate::{
    cli::{
        args::{GatewayArgs, ServeArgs},
        exit::Failure,
        output::Output,
    },
    gateway::Access,
    http::{bind, server_config, start_logging, write_private},
};

/// Where a gateway listens if nothing else is said.
const DEFAULT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// The token that players show. No flag: other users see those.
const TOKEN: &str = "PPSP_GATEWAY_TOKEN";

/// `ppsp gateway`.
pub(super) async fn run(args: GatewayArgs, out: &mut Output) -> Result<(), Failure> {
    start_logging(out.is_json(), out.is_verbose(), !out.talks() && !out.is_json());
    let mut signals = Signals::new()?;
    // What cannot be played is better known before anything is served.
    let mut programmes = Vec::new();
    for text in &args.sources {
        let found = Programme::find(text, &args.at, &args.fetch.net, Some(out));
        programmes.push(signals.unless(found).await?);
    }
    let addr = args.listen.map_or(DEFAULT, |listen| listen.0);
    let elsewhere = !addr.ip().is_loopback();
    let listener: TcpListener = bind(addr, elsewhere).await?;
    let addr = listener.local_addr().map_err(Failure::network)?;
    let mut access = Access::default();
    let mut tls = None;
    let mut pin = None;
    if elsewhere {
        let cache = super::playing::cache_dir(&args.fetch)?;
        serving::make_dir(&cache)?;
        let serve = ServeArgs { tls_cert: args.tls_cert, tls_key: args.tls_key, ..ServeArgs::default() };
        let identity = serving::identity(&serve, &cache, addr, None)?;
        pin = Some(identity.pin().to_string());
        tls = Some(server_config(&identity, None).map_err(Failure::other)?);
        access.token = Some(token(&cache, out)?);
    }
    let mut playing = Playing::start(&args.fetch, &args.at, listener, tls, access)?;
    let url = url(elsewhere, addr);
    out.event("gateway", &json!({ "url": url, "addr": addr, "pin": pin }));
    out.say(format_args!("the gateway listens at {url}"));
    for programme in programmes {
        for path in signals.unless(playing.add(programme)).await? {
            out.event("playable", &json!({ "url": format!("{url}{path}") }));
            out.say(format_args!("{url}{path}"));
        }
    }
    out.event("ready", &json!({ "url": url }));
    out.say("serving until Ctrl-C");
    tokio::select! {
        () = signals.any() => {}
        failure = playing.ended() => return Err(failure),
    }
    playing.close().await;
    Err(Failure::interrupted())
}

/// The token by the environment, else the one that is kept, else a new one, which is shown once.
fn token(cache: &Path, out: &Output) -> Result<Zeroizing<String>, Failure> {
    if let Some(token) = std::env::var(TOKEN).ok().filter(|token| !token.is_empty()) {
        return Ok(token.into());
    }
    let path = cache.join("gateway-token");
    if let Ok(kept) = std::fs::read_to_string(&path).map(Zeroizing::new)
        && !kept.trim().is_empty()
    {
        return Ok(kept.trim().to_owned().into());
    }
    let mut bytes = Zeroizing::new([0; 20]);
    getrandom::fill(&mut *bytes).map_err(|e| Failure::other(format!("the system gives no random numbers: {e}")))?;
    let token = Zeroizing::new(data_encoding::BASE32_NOPAD.encode(&*bytes).to_lowercase());
    write_private(&path, token.as_bytes()).map_err(|e| Failure::other(format!("{}: {e}", path.display())))?;
    out.event("token", &json!({ "token": *token }));
    out.secret(format_args!(
        "players show this token as the password of any user name; it is kept in {}:\n{}",
        path.display(),
        *token
    ));
    Ok(token)
}
