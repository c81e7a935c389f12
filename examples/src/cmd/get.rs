use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use ppsp_core::Link;
use serde_json::json;

use super::{
    at_portal::account,
    entry::Succession,
    metrics, only_static,
    opening::watched,
    seed::tell_opened,
    session::{Goal, Session, add_usage, bind, bind_any, resolve},
    signals::Signals,
    source::Source,
    watch,
};
use crate::{
    account::Account,
    cli::{args::GetArgs, exit::Failure, output::Output, units::SeedAfter},
    store::{FileStore, Places},
};

const DEFAULT_PATIENCE: Duration = Duration::from_secs(30);

/// `ppsp get`.
pub(super) async fn run(args: GetArgs, out: &mut Output) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let Source { link, joining, content, .. } = signals
        .unless(Source::find(&args.link, args.representation.as_deref(), &args.at, &args.net, Some(out)))
        .await?;
    if link.metadata.integrity.is_live() {
        let mut peers = signals.unless(resolve(&args.net.peer)).await?;
        peers.extend(&link.peers);
        if peers.is_empty() && joining.is_none() {
            return Err(nobody_to_ask());
        }
        let succession = match args.publish.unwrap_or(false) {
            true => Some(signals.unless(succession(&args, &link, content)).await?),
            false => None,
        };
        return watch::run(&args, &link, &peers, joining, succession, out, &mut signals).await;
    }
    only_static(&link)?;
    if args.record.is_some() || args.delay.is_some() || args.publish.unwrap_or(false) {
        return Err(Failure::usage(
            "--record, --publish and --delay are for live streams; this link is to a file, which --output names",
        ));
    }
    let path = output_path(args.output.as_deref(), &link)?;
    let places = Places::new(&path, args.net.state_dir.as_deref());
    let mut peers = signals.unless(resolve(&args.net.peer)).await?;
    peers.extend(&link.peers);
    let nobody = peers.is_empty() && joining.is_none();
    if nobody && !places.content.exists() {
        return Err(nobody_to_ask());
    }
    let sockets = match args.listen {
        Some(listen) => bind(listen.0, 1)?,
        None => bind_any(0, 1)?,
    };
    let metadata = link.metadata.clone();
    let opening = watched(out, &mut signals, move |observer| FileStore::download(&places, &metadata, observer));
    let (store, opened) = opening.await??;
    tell_opened(out, opened, &store);
    let seed_after = args.seed_after.unwrap_or(SeedAfter::No);

    let fetch = !store.is_finished();
    if !fetch {
        let mut fields = json!({ "bytes": store.held_bytes(), "seconds": 0.0, "downloaded": 0, "uploaded": 0, "path": path.to_string_lossy() });
        add_usage(&mut fields);
        out.event("complete", &fields);
        out.say(format_args!("{}: complete and verified already", path.display()));
        if seed_after == SeedAfter::No {
            return Ok(());
        }
    } else if nobody {
        return Err(nobody_to_ask());
    }
    let shown = metrics::show(args.metrics_listen, out).await?;
    let mut session = Session::open(out, &mut signals, &args.net, store, sockets)?;
    session.show(shown);
    session.give_peers(&peers);
    if let Some(joining) = joining {
        let addr = session.local_addr().map_err(Failure::other)?;
        session.join(joining.start(&link.metadata, addr, !fetch));
    }
    if fetch {
        let patience = args.timeout.map_or(DEFAULT_PATIENCE, |span| span.0);
        if let Err(failure) = session.run(Goal::Fetch { patience }).await {
            if session.store().discard_if_empty() {
                session.out.detail("nothing was received, nothing was kept");
            }
            return Err(failure);
        }
    }
    let until = match seed_after {
        SeedAfter::No => return session.close().await,
        SeedAfter::Forever => None,
        SeedAfter::For(span) => Instant::now().checked_add(span),
    };
    if fetch {
        session.seed();
    }
    session.out.say("serving until Ctrl-C");
    session.run(Goal::Serve { until }).await?;
    session.close().await
}

/// What a recording becomes in the catalogue. That it cannot is better known before hours of recording.
async fn succession(args: &GetArgs, link: &Link, content: Option<(Account, String)>) -> Result<Succession, Failure> {
    let Some(path) = &args.record else {
        return Err(Failure::usage("--publish: what is to be published is recorded; name a file with --record"));
    };
    match content {
        Some((account, id)) => Succession::of_content(account, &id).await,
        None => {
            let name = link.name.clone().or_else(|| Some(path.file_name()?.to_str()?.to_owned()));
            Succession::of_link(account(&args.at)?, name.unwrap_or_default()).await
        }
    }
}

/// Where to write to: a file, a directory, or nothing was said.
fn output_path(output: Option<&Path>, link: &Link) -> Result<PathBuf, Failure> {
    let named = || {
        link.file_name().map(PathBuf::from).ok_or_else(|| {
            Failure::usage("the link names no file, or none that is safe to write to; give a name with --output")
        })
    };
    match output {
        None => named(),
        Some(path) if path.is_dir() => Ok(path.join(named()?)),
        Some(path) if path.file_name().is_none() => Err(Failure::usage(format!("{}: not a file name", path.display()))),
        Some(path) => Ok(path.to_owned()),
    }
}

pub(super) fn nobody_to_ask() -> Failure {
    Failure::network("nobody is known who has it: there is no peer and no tracker to ask; name a peer with --peer ADDR")
}
