use std::{
    io::IsTerminal,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use ppsp_auth::{Secret, token::TokenText};
use ppsp_tracker_proto::TrackerConfig;
use redis::{ErrorKind, ServerErrorKind};
use serde_json::json;

use super::{
    serving::{identity, listen, make_dir, metrics_listener, url},
    signals::Signals,
};
use crate::{
    cli::{
        args::{AuthWay, TrackerArgs},
        exit::Failure,
        output::{Output, on_terminal},
    },
    http::{HttpClient, HttpError, Identity, Limits, Serving, Shutdown, Trust, serve, server_config, start_logging},
    net::Clock,
    tracker::{
        TrackerService,
        directory::Directory,
        doors::{Bearer, Digest, Doors},
        gate::Assigner,
        kept,
        portal::{Portal, PortalError, Standing},
        redis::{RedisDirectory, RedisError},
    },
};

/// Where a tracker listens if nothing else is said.
const DEFAULT_PORT: u16 = 8444;

/// The enrolment code of the Portal. No flag: other users see those.
const ENROL_CODE: &str = "PPSP_ENROL_CODE";

/// `ppsp tracker`.
pub(super) async fn run(args: TrackerArgs, out: &mut Output) -> Result<(), Failure> {
    start_logging(out.is_json(), out.is_verbose(), !out.talks() && !out.is_json());
    check(&args)?;
    let dir = data_dir(&args)?;
    make_dir(&dir)?;
    let mut signals = Signals::new()?;
    let tls = !args.serve.insecure_http.unwrap_or(false);
    let listener = listen(&args.serve, DEFAULT_PORT).await?;
    let metrics = metrics_listener(&args.serve).await?;
    let addr = listener.local_addr().map_err(Failure::network)?;
    let open = |way| args.auth.contains(&way);
    if open(AuthWay::None) && !addr.ip().is_loopback() {
        return Err(Failure::usage(format!(
            "--auth none is for loopback addresses alone, and {addr} is not one: give --listen 127.0.0.1:{DEFAULT_PORT}"
        )));
    }
    let address = args.advertise.clone().unwrap_or_else(|| url(tls, addr));
    let identity = if tls { Some(identity(&args.serve, &dir, addr, args.advertise.as_deref())?) } else { None };
    let pin = identity.as_ref().map(Identity::pin);
    // Who gets the address from the Portal knows by the fingerprint whom to expect there, unless an authority vouches for it.
    let published = match pin.filter(|_| args.serve.tls_cert.is_none()) {
        Some(pin) => format!("{}/#{pin}", address.trim_end_matches('/')),
        None => address.clone(),
    };
    let tls = identity.map(|identity| server_config(&identity, args.client_ca.as_deref()));
    let tls = tls.transpose().map_err(Failure::other)?;

    let clock = Clock::new();
    let doors = Doors {
        bearer: open(AuthWay::Bearer).then(OnceLock::new),
        digest: args.digest_file.as_deref().map(|file| Digest::open(file, clock)).transpose()?,
        certificate: open(AuthWay::Certificate),
        nobody_proves: open(AuthWay::None),
    };
    let mut config = TrackerConfig::default();
    if open(AuthWay::None) {
        // All come from this machine.
        config.max_peers_per_address = config.max_peers;
    }
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(|e| Failure::other(format!("the system gives no random numbers: {e}")))?;
    let assigner = Assigner::new(kept::peer_key(&dir)?);
    let directory = match &args.redis {
        None => Directory::memory(config, &Secret::new(seed)),
        Some(url) => Directory::Redis(Box::new(shared(url, config, &assigner, out).await?)),
    };
    let tracker = TrackerService::new(directory, doors, assigner, clock);
    let key = kept::own_key(&dir)?;

    let shutdown = Shutdown::default();
    let limits = Limits { connections_per_address: 1024, ..Limits::default() };
    let serving = Serving { tls, limits, shutdown: shutdown.clone() };
    let answering = tracker.clone();
    let mut served = tokio::spawn(serve(listener, serving, move |request| {
        let tracker = answering.clone();
        async move { tracker.answer(request).await }
    }));
    if let Some(listener) = metrics {
        let serving = Serving { shutdown: shutdown.clone(), ..Serving::default() };
        let watched = tracker.clone();
        tokio::spawn(serve(listener, serving, move |request| {
            let tracker = watched.clone();
            async move { tracker.answer_operator(request).await }
        }));
    }
    tokio::spawn(tracker.clone().keep_house());
    out.event(
        "tracker",
        &json!({ "url": address, "addr": addr, "id": key.id().to_string(), "pin": pin.map(|pin| pin.to_string()),
                 "tracker": published }),
    );
    out.say(format_args!("the tracker listens at {address}"));
    out.say(format_args!("peers reach it by --tracker {published}"));

    let ready = async {
        if let Some(portal) = args.portal.as_deref().filter(|_| open(AuthWay::Bearer)) {
            tracker.open_bearer(let_in(portal, &args, &published, key, clock, out).await?);
        }
        out.event("ready", &json!({ "url": address }));
        out.say("ready");
        std::future::pending::<Result<(), Failure>>().await
    };
    let ended = tokio::select! {
        () = signals.any() => Err(Failure::interrupted()),
        _ = &mut served => return Err(Failure::other("the tracker ended by itself")),
        failed = ready => failed,
    };
    // What is under way is answered.
    shutdown.now();
    _ = served.await;
    ended
}

/// Registrations in Redis. One that is away may come later, and peers are told so meanwhile.
async fn shared(
    url: &str,
    config: TrackerConfig,
    assigner: &Assigner,
    out: &Output,
) -> Result<RedisDirectory, Failure> {
    // The URL may hold a password.
    let directory = RedisDirectory::new(url, config).map_err(|_| {
        Failure::usage("--redis: not the URL of a Redis on this machine, like redis://localhost/ or redis+unix:///run/redis/redis.sock; one \
             elsewhere is reached through a tunnel")
    })?;
    match directory.meet(assigner).await {
        Ok(()) => {}
        Err(error) if redis_may_come(&error) => out.warn(format_args!("Redis: {error}; trying again")),
        Err(error) => return Err(Failure::other(format!("Redis: {error}"))),
    }
    Ok(directory)
}

/// Is it away, or still reading what it had? A wrong password stays wrong.
fn redis_may_come(error: &RedisError) -> bool {
    error.is_io_error() || error.kind() == ErrorKind::Server(ServerErrorKind::BusyLoading)
}

/// Flags that need each other.
fn check(args: &TrackerArgs) -> Result<(), Failure> {
    let open = |way| args.auth.contains(&way);
    if open(AuthWay::Bearer) && args.portal.is_none() {
        return Err(Failure::usage(
            "tokens are made by a Portal: give its URL with --portal, or choose --auth digest, certificate or none",
        ));
    }
    if open(AuthWay::Digest) != args.digest_file.is_some() {
        return Err(Failure::usage("--auth digest and --digest-file belong together"));
    }
    if open(AuthWay::Certificate) != args.client_ca.is_some() {
        return Err(Failure::usage("--auth certificate and --client-ca belong together"));
    }
    if open(AuthWay::Certificate) && args.serve.insecure_http == Some(true) {
        return Err(Failure::usage("--auth certificate needs TLS: leave --insecure-http away"));
    }
    Ok(())
}

fn data_dir(args: &TrackerArgs) -> Result<PathBuf, Failure> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let usual = || set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")));
    let found = args.data_dir.clone().or_else(|| Some(usual()?.join("ppsp-tracker")));
    found.ok_or_else(|| Failure::usage("there is no home directory here: give --data-dir"))
}

/// Registers at the Portal, and waits until it lets this tracker in.
async fn let_in(
    url: &str,
    args: &TrackerArgs,
    address: &str,
    key: ppsp_auth::token::SigningKey,
    clock: Clock,
    out: &Output,
) -> Result<Arc<Bearer>, Failure> {
    let name = match &args.name {
        Some(name) => name.clone(),
        None => address.parse::<http::Uri>().ok().and_then(|uri| Some(uri.host()?.to_owned())).unwrap_or_default(),
    };
    let trust = args.pin.map_or(Trust::System, Trust::Pin);
    let mut client = HttpClient::new(url, trust, args.serve.insecure_http.unwrap_or(false)).map_err(unreachable)?;
    client.timeout = PATIENCE;
    let portal = Arc::new(Portal::new(client, key));
    patiently(out, || portal.meet()).await?;
    let code = std::env::var(ENROL_CODE).ok().filter(|code| !code.is_empty()).map(TokenText::new);
    // Known from before? Whoever has the code may have moved, and says so.
    let mut standing = Standing::Pending;
    if code.is_none() {
        standing = patiently(out, || portal.standing()).await?;
    }
    if standing == Standing::Pending {
        standing = patiently(out, || portal.enrol(address, &name, code.as_ref())).await?;
    }
    if standing == Standing::Pending
        && on_terminal()
        && std::io::stdin().is_terminal()
        && let Some(code) = ask_for_code().await?
    {
        standing = patiently(out, || portal.enrol(address, &name, Some(&code))).await?;
    }
    if standing == Standing::Pending {
        out.event("pending", &json!({ "id": portal.id() }));
        out.say(format_args!(
            "the Portal has to let this tracker in: an admin approves {} at {}/admin/trackers; or start it again with the \
             Portal's enrolment code in {ENROL_CODE}",
            portal.id(),
            portal.issuer()
        ));
    }
    while standing == Standing::Pending {
        tokio::time::sleep(AGAIN).await;
        standing = patiently(out, || portal.standing()).await?;
    }
    let keys = patiently(out, || portal.keys()).await?;
    Ok(Bearer::new(portal, keys, clock))
}

/// A code from the terminal; `None` for an empty line.
async fn ask_for_code() -> Result<Option<TokenText>, Failure> {
    let asked =
        tokio::task::spawn_blocking(|| rpassword::prompt_password("enrolment code (Enter to wait for an admin): "));
    let code = asked.await.map_err(Failure::other)?.map_err(Failure::other)?;
    Ok(Some(TokenText::new(code.trim())).filter(|code| !code.as_str().is_empty()))
}

/// Tries until there is an answer. Only what no waiting helps against is a failure.
async fn patiently<T, F: Future<Output = Result<T, PortalError>>>(
    out: &Output,
    ask: impl Fn() -> F,
) -> Result<T, Failure> {
    let mut told = false;
    loop {
        match ask().await {
            Ok(done) => return Ok(done),
            Err(PortalError::Refused(why)) => return Err(Failure::other(format!("the Portal refuses: {why}"))),
            Err(PortalError::Away(error)) if !may_pass(&error) => return Err(unreachable(error)),
            Err(error) => {
                if !told {
                    out.warn(format_args!("{error}; trying again"));
                    told = true;
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

fn may_pass(error: &HttpError) -> bool {
    !matches!(
        error,
        HttpError::Untrusted { .. }
            | HttpError::WrongPin { .. }
            | HttpError::Url(..)
            | HttpError::Plain(_)
            | HttpError::Setup(_)
    )
}

fn unreachable(error: HttpError) -> Failure {
    match error {
        HttpError::Url(..) | HttpError::Plain(_) => Failure::usage(error),
        error => Failure::network(error),
    }
}

/// For an answer of the Portal; as long as a question about a token is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two attempts.
const AGAIN: Duration = Duration::from_secs(2);
