use std::{collections::BTreeSet, path::Path};

use ppsp_core::descriptor::Descriptor;
use serde_json::json;

use super::{
    entry::{Entry, publisher},
    membership::check_flags,
    metrics,
    opening::watched,
    playing::start_later,
    seed::{open, options, sockets},
    serving::make_dir,
    session::{Goal, TICK, endpoint_config, resolve},
    signals::Signals,
};
use crate::{
    cli::{
        args::PublishArgs,
        exit::Failure,
        output::{Output, Progress},
        units,
    },
    dash::{Package, Packaging},
    gateway::media_type,
    peer::{Figures, Peer, Sources, Status, Swarm, hash_file_name, write_hash_file},
    store::{FileStore, Observer},
};

/// `ppsp publish`.
pub(super) async fn run(args: PublishArgs, out: &mut Output) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    // What can be wrong with the file is better known before anybody types a password.
    let name = args.seed.file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::usage(format!("{}: not a file name", args.seed.file.display())))?.to_owned();
    check_flags(&args.seed.net)?;
    if args.dash.unwrap_or(false) {
        return publish_set(&args, out, &mut signals).await;
    }
    let account = signals.unless(publisher(&args.entry, &args.seed.net, true, out)).await?;
    let opened = open(&args.seed, out, &mut signals).await?;
    let metadata = opened.metadata();

    let entering = async {
        let title = args.entry.title.clone().unwrap_or_else(|| name.clone());
        let mut descriptor = Descriptor::of_file(&title, &name, media_type(&name), &metadata);
        name_origin(&args, &mut descriptor, std::slice::from_ref(opened.store()), out)?;
        let entry = Entry::new(&args.entry, title, "get");
        entry.enter(&account, &args.seed.net, descriptor, out).await?.joining(&args.seed.net, out).await
    };
    let joining = signals.unless(entering).await?;
    let shown = metrics::show(args.seed.metrics_listen, out).await?;
    let mut session = opened.begin(&args.seed, joining, out, &mut signals)?;
    session.show(shown);
    session.out.say("serving until Ctrl-C");
    session.run(Goal::Serve { until: None }).await
}

/// A DASH set: a swarm for each Representation, all on one socket.
async fn publish_set(args: &PublishArgs, out: &mut Output, signals: &mut Signals) -> Result<(), Failure> {
    let seed = &args.seed;
    if seed.sockets.is_some_and(|sockets| sockets > 1) {
        return Err(Failure::usage("--sockets: a set has one socket for all of its swarms"));
    }
    let socket = sockets(seed)?.into_iter().next().ok_or_else(|| Failure::other("there is no socket"))?;
    let peers = signals.unless(resolve(&seed.net.peer)).await?;
    let mut package = package(args, out, signals).await?;
    let account = signals.unless(publisher(&args.entry, &args.seed.net, true, out)).await?;
    let stem = seed.file.parent().and_then(Path::file_name).or(seed.file.file_stem()).unwrap_or_default();
    let title = args.entry.title.clone().unwrap_or_else(|| stem.to_string_lossy().into_owned());
    package.descriptor.set_title(&title);
    let stores: Vec<FileStore> = package.contents.iter().map(|content| content.store.clone()).collect();
    name_origin(args, &mut package.descriptor, &stores, out)?;
    let entry = Entry::new(&args.entry, title, "play");
    let entered = signals.unless(entry.enter(&account, &seed.net, package.descriptor, out)).await?;

    let shown = metrics::show(seed.metrics_listen, out).await?;
    let peer = Peer::start(socket, endpoint_config(&seed.net, true))?;
    out.listening(peer.addr());
    let mut swarms: Vec<Swarm> = Vec::new();
    for content in package.contents {
        let metadata = content.store.metadata();
        if swarms.iter().any(|swarm| swarm.metadata().id == metadata.id) {
            continue;
        }
        let joining = signals.unless(entered.joining(&seed.net, out)).await?;
        let trackers = joining.map(|joining| start_later(joining, metadata));
        swarms.push(peer.join(content.store, Sources { peers: peers.clone(), trackers, ..Sources::default() }).await?);
    }
    out.say("serving until Ctrl-C");
    let mut tick = tokio::time::interval(TICK);
    let mut sent = 0;
    loop {
        tokio::select! {
            () = signals.any() => break,
            _ = tick.tick() => {
                if let Some(shown) = &shown {
                    shown.update(Figures::of(&peer, &swarms));
                }
                let all: Vec<Status> = swarms.iter().map(Swarm::status).collect();
                let links: BTreeSet<_> =
                    all.iter().flat_map(|one| one.peers.iter()).filter(|(_, peer)| peer.up).map(|(addr, _)| addr).collect();
                let uploaded: u64 = all.iter().map(|one| one.uploaded).sum();
                let up = all.iter().flat_map(|one| one.peers.values()).map(|peer| peer.upload_rate).sum();
                sent = uploaded;
                out.progress(false, &Progress { peers: links.len(), up, uploaded, ..Progress::default() });
            }
        }
    }
    peer.close().await;
    out.clear();
    out.say(format_args!("stopped; {} sent", units::bytes(sent)));
    Err(Failure::interrupted())
}

/// Joins and hashes the files of a set.
async fn package(args: &PublishArgs, out: &mut Output, signals: &mut Signals) -> Result<Package, Failure> {
    let manifest = args.seed.file.clone();
    let state_dir = args.seed.net.state_dir.clone();
    let seed = options(&args.seed)?;
    // Beside the manifest, whose files they are made of.
    let contents = manifest.parent().unwrap_or(Path::new("")).join(".ppsp");
    make_dir(&contents)?;
    let packaging = move |observer: &mut Observer<'_>| {
        let packaging = Packaging { manifest: &manifest, contents: &contents, state_dir: state_dir.as_deref(), seed };
        packaging.run(observer)
    };
    Ok(watched(out, signals, packaging).await??)
}

/// Says in the descriptor where the files lie on a web server, and writes the hashes that belong there.
fn name_origin(
    args: &PublishArgs,
    descriptor: &mut Descriptor,
    stores: &[FileStore],
    out: &Output,
) -> Result<(), Failure> {
    let Some(url) = &args.origin else { return Ok(()) };
    let url = if url.ends_with('/') { url.clone() } else { format!("{url}/") };
    for one in descriptor.representations() {
        descriptor.set_origin(&one.id, Some(&url)).map_err(|e| Failure::usage(format!("--origin: {e}")))?;
    }
    let directory = args.seed.file.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for store in stores {
        let written = write_hash_file(store, directory);
        let path = written.map_err(|e| Failure::other(format!("{}: the hash file: {e}", directory.display())))?;
        out.event("hashes", &json!({ "path": path, "url": format!("{url}{}", hash_file_name(&store.metadata())) }));
        out.say(format_args!("{} belongs at {url}, beside the files", path.display()));
    }
    Ok(())
}
