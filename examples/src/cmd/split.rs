use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::json;

use super::signals::Signals;
use crate::{
    cli::{exit::Failure, output::Output, units},
    dash::split,
};

/// `ppsp split`.
pub(super) async fn run(manifest: PathBuf, out: &mut Output) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let mut work = tokio::task::spawn_blocking(move || split(&manifest, &stopped));
    let done = tokio::select! {
        biased;
        () = signals.any() => {
            // It is waited for, so that it takes away what it has made so far.
            stop.store(true, Ordering::Relaxed);
            work.await
        }
        done = &mut work => done,
    };
    let set = done.map_err(|e| Failure::other(format!("work on files broke off: {e}")))??;
    for (id, why) in &set.left {
        out.warn(format_args!("Representation '{id}' stays as it is: {why}"));
    }
    for one in &set.layered {
        let [base, all] = &one.layers[..] else { continue };
        let id = &one.representation;
        let layers: Vec<_> = one.layers.iter().map(|layer| &layer.id).collect();
        out.event(
            "split",
            &json!({ "representation": id, "layers": layers, "pictures": all.pictures, "base_pictures": base.pictures,
                     "bytes": all.bytes, "base_bytes": base.bytes }),
        );
        out.say(format_args!(
            "Representation '{id}': {} of {} pictures and {} of {} are the base",
            base.pictures,
            all.pictures,
            units::bytes(base.bytes),
            units::bytes(all.bytes)
        ));
    }
    let path = set.manifest.display();
    out.event("layers", &json!({ "path": set.manifest }));
    out.say(format_args!("share it by: ppsp publish --dash {path}"));
    Ok(())
}
