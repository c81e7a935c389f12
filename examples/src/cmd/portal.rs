use std::{net::SocketAddr, time::Duration};

use serde_json::json;

use super::{
    serving::{identity, listen, make_dir, metrics_listener, url},
    signals::Signals,
};
use crate::{
    cli::{args::PortalArgs, exit::Failure, output::Output},
    http::{Identity, Limits, Pin, Serving, Shutdown, serve, server_config, start_logging},
    portal::{
        self, FirstStart, Portal, PortalConfig, Refusal,
        db::{Db, DbError, Place},
    },
};

/// Where a Portal listens if nothing else is said.
const DEFAULT_PORT: u16 = 8443;

/// Between two rounds of housekeeping.
const HOUSE_EVERY: Duration = Duration::from_secs(5 * 60);

/// `ppsp portal`.
pub(super) async fn run(args: PortalArgs, out: &mut Output) -> Result<(), Failure> {
    start_logging(out.is_json(), out.is_verbose(), !out.talks() && !out.is_json());
    make_dir(&args.data_dir)?;
    let place = match &args.database {
        Some(url) => Place::server(url, args.database_pin).map_err(Failure::usage)?,
        None => Place::File(args.data_dir.join("portal.db")),
    };
    let db = Db::open(place).await.map_err(not_opened)?;
    let mut config = PortalConfig::new("");
    if args.reset_admin.unwrap_or(false) {
        let (admin, password) = portal::reset_admin(&db, config.iterations).await.map_err(refused)?;
        out.event("admin", &json!({ "admin": admin, "password": *password }));
        out.secret(format_args!("user {admin} has the password {}", *password));
        return Ok(());
    }

    let mut signals = Signals::new()?;
    let tls = !args.serve.insecure_http.unwrap_or(false);
    let listener = listen(&args.serve, DEFAULT_PORT).await?;
    let metrics = metrics_listener(&args.serve).await?;
    let addr = listener.local_addr().map_err(Failure::network)?;
    let address = url(tls, addr);
    config.address.clone_from(&address);
    config.public_url = args.public_url.as_deref().map(public_url).transpose()?;
    config.open_registration = args.open_registration.unwrap_or(false);
    let identity =
        if tls { Some(identity(&args.serve, &args.data_dir, addr, args.public_url.as_deref())?) } else { None };
    let pin = identity.as_ref().map(Identity::pin);
    let tls = identity.map(|identity| server_config(&identity, None)).transpose().map_err(Failure::other)?;
    let (portal, first) = Portal::open(db, config).await.map_err(refused)?;
    tell(out, &portal, &address, addr, pin, first);

    let shutdown = Shutdown::default();
    let limits = Limits { connections_per_address: 1024, ..Limits::default() };
    let serving = Serving { tls, limits, shutdown: shutdown.clone() };
    let mut served = tokio::spawn(serve(listener, serving, portal::service(portal.clone())));
    if let Some(listener) = metrics {
        let serving = Serving { shutdown: shutdown.clone(), ..Serving::default() };
        tokio::spawn(serve(listener, serving, portal::metrics(portal.clone())));
    }
    let mut house = tokio::time::interval(HOUSE_EVERY);
    house.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = signals.any() => break,
            _ = &mut served => return Err(Failure::other("the Portal ended by itself")),
            _ = house.tick() => {
                let portal = portal.clone();
                tokio::spawn(async move {
                    if let Err(refusal) = portal.keep_house().await {
                        tracing::error!("housekeeping: {}", refusal.inner().unwrap_or(refusal.code()));
                    }
                });
            }
        }
    }
    // What is under way is answered.
    shutdown.now();
    _ = served.await;
    Err(Failure::interrupted())
}

/// Says where the Portal is and, once, what only its operator may know.
fn tell(out: &Output, portal: &Portal, address: &str, addr: SocketAddr, pin: Option<Pin>, first: Option<FirstStart>) {
    let pin = pin.map(|pin| pin.to_string());
    if let Some(FirstStart { admin, password, enrol_code }) = first {
        let fields = json!({ "admin": admin, "password": *password, "enrol_code": *enrol_code });
        out.event("first_start", &fields);
        out.secret(format_args!(
            "This is a new Portal. Keep what follows; it is not shown again.\n  user {admin}, password   {}\n  \
             enrolment code of trackers {}",
            *password, *enrol_code
        ));
    }
    let fields = json!({ "url": portal.issuer(), "address": address, "addr": addr, "pin": pin });
    out.event("portal", &fields);
    out.say(format_args!("the Portal is at {}", portal.issuer()));
    if portal.issuer() != address {
        out.say(format_args!("it listens at {address}"));
    }
    if let Some(pin) = pin {
        out.say(format_args!("its fingerprint is {pin}"));
    }
}

/// A URL without anything behind the host, as it stands in tokens.
fn public_url(text: &str) -> Result<String, Failure> {
    let bad = || Failure::usage(format!("--public-url {text}: not a URL like https://portal.example"));
    let uri: http::Uri = text.parse().map_err(|_| bad())?;
    let good = matches!(uri.scheme_str(), Some("https" | "http"))
        && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
        && uri.path() == "/"
        && uri.query().is_none();
    if good { Ok(text.trim_end_matches('/').to_owned()) } else { Err(bad()) }
}

fn not_opened(error: DbError) -> Failure {
    match error {
        DbError::Away(_) => Failure::network(error),
        error => Failure::other(error),
    }
}

fn refused(refusal: Refusal) -> Failure {
    Failure::other(refusal.inner().unwrap_or(refusal.code()))
}
