//! What goes wrong while content is watched, in a real browser on the Portal's pages: Chromium, driven by `browser/watch.mjs`, with a
//! gateway that is a stand-in.

mod common;

use std::path::Path;

use common::{
    Place, browser,
    portal::{PortalProcess, start_process},
};
use serde_json::{Value, json};

#[test]
fn who_watches_is_told_what_is_wrong_and_goes_on() {
    let Some(dir) = browser::ready(&browser::TO_WATCH) else { return };
    let place = Place::new();
    let portal = start_process(&place, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let facts = runtime.block_on(furnish(&portal, &place.path("sets")));
    print!("{}", browser::walk(&dir, "watch.mjs", &[], &facts));
}

/// Puts something into a new Portal; what the walk has to know of it. What it is, its gateway decides.
async fn furnish(portal: &PortalProcess, dir: &Path) -> Value {
    let first = portal.first.as_ref().unwrap();
    let password = first["password"].as_str().unwrap();
    let admin = portal.client().signed_in("admin", password).await;
    let mut contents = json!({});
    for (name, title) in [
        ("adaptive", "A film in two qualities"),
        ("plain", "A short one in one file"),
        ("both", "One that is there in both ways"),
        ("refused", "What is for others"),
        ("nowhere", "What the gateway does not know"),
    ] {
        contents[name] = admin.publish(title, "films").await.0.into();
    }
    let shots = browser::shots("watch");
    json!({
        "url": portal.url, "pin": portal.pin, "user": "admin", "password": password, "dir": dir, "contents": contents,
        "shots": shots,
    })
}
