//! What becomes of a recorded stream: a file, and where that is all of it on-demand content that others fetch.

use std::{net::SocketAddr, path::Path, time::Instant};

use ppsp_core::{Link, descriptor::Descriptor};
use serde_json::json;

use super::{
    entry::Succession,
    membership::Joining,
    opening::watched,
    seed::tell_opened,
    session::{Goal, Session, bind},
    signals::Signals,
};
use crate::{
    cli::{
        args::NetArgs,
        exit::Failure,
        output::Output,
        units::{self, SeedAfter},
    },
    gateway::media_type,
    net::local_addresses,
    store::{FileStore, Places, Recorded, SeedOptions},
};

/// Says what was kept.
pub(super) fn tell(path: &Path, recorded: &Recorded, out: &Output) {
    let Recorded { bytes, base, missing, whole } = recorded;
    let swarm = whole.as_ref().map(|metadata| metadata.id.to_string());
    out.event("recorded", &json!({ "path": path.to_string_lossy(), "bytes": bytes, "first_chunk": base, "missing": missing, "swarm": swarm }));
    let (name, size) = (path.display(), units::bytes(*bytes));
    if *bytes == 0 {
        out.say(format_args!("{name}: nothing was there to record"));
    } else if *missing > 0 {
        out.say(format_args!("{name}: {size} recorded; {missing} chunks did not come, and there are zeros for them"));
    } else if whole.is_some() {
        out.say(format_args!("{name}: {size} recorded, the whole stream"));
    } else if *base > 0 {
        out.say(format_args!(
            "{name}: {size} recorded, from chunk {base} on; the beginning of the stream is not in it, so 'ppsp seed' has to hash it"
        ));
    } else {
        out.say(format_args!("{name}: {size} recorded; the stream has no end in it, so 'ppsp seed' has to hash it"));
    }
}

/// The recorded stream is on-demand content now: prints its link, has it take the place of the live one in the catalogue, and goes on
/// sharing it at this address.
pub(super) async fn share(
    path: &Path,
    addr: SocketAddr,
    net: &NetArgs,
    succession: Option<&Succession>,
    seed_after: SeedAfter,
    out: &mut Output,
    signals: &mut Signals,
) -> Result<(), Failure> {
    let places = Places::new(path, net.state_dir.as_deref());
    let opening = watched(out, signals, move |observer| FileStore::seed(&places, &SeedOptions::default(), observer));
    let (store, opened) = opening.await??;
    tell_opened(out, opened, &store);
    let metadata = store.metadata();
    let mut link = Link::new(metadata.clone());
    link.name = path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    link.trackers.clone_from(&net.tracker);
    let until = match seed_after {
        SeedAfter::No if succession.is_none() => {
            out.link(&link.to_string(), &json!({ "link": link.to_string() }));
            out.say(format_args!("'ppsp seed {}' shares it", path.display()));
            return Ok(());
        }
        // In the catalogue it is of use only while somebody has it.
        SeedAfter::No | SeedAfter::Forever => None,
        SeedAfter::For(span) => Instant::now().checked_add(span),
    };
    let joining = match succession {
        Some(succession) => {
            let name = link.name.as_deref().unwrap_or_default();
            let descriptor = Descriptor::of_file(succession.title(), name, media_type(name), &metadata);
            let entering = async { succession.enter(net, descriptor, out).await?.joining(net, out).await };
            signals.unless(entering).await?
        }
        None => signals.unless(Joining::of_link(net, &link, Some(out))).await?,
    };
    let mut session = Session::open(out, signals, net, store, bind(addr, 1)?)?;
    link.peers = local_addresses(addr);
    if let Some(joining) = joining {
        session.join(joining.start(&metadata, addr, true));
    }
    session.out.link(&link.to_string(), &json!({ "link": link.to_string() }));
    session.out.say("serving until Ctrl-C");
    session.run(Goal::Serve { until }).await?;
    session.close().await
}
