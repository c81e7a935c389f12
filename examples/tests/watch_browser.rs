//! Content is watched in a real browser on the Portal's pages: Chromium, driven by `browser/watch.mjs`, with a gateway that is a
//! stand-in. With `SHOTS=<directory>` in the environment it takes pictures.

mod common;

use std::path::Path;

use common::{
    Place, browser,
    portal::{PortalProcess, start_process},
};
use serde_json::{Value, json};

#[test]
#[ignore = "some of its steps wait for what dash.js does too late on a busy machine; run it by itself, with --ignored"]
fn people_watch_what_their_gateway_brings() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let player = manifest.join("player/node_modules/dashjs").exists();
    let ffmpeg = std::process::Command::new("ffmpeg").arg("-version").output().is_ok();
    let needed = [(player, "dash.js (npm ci in examples/player)"), (ffmpeg, "ffmpeg (Debian: ffmpeg)")];
    let Some(dir) = browser::ready(&needed) else { return };
    let place = Place::new();
    let portal = start_process(&place, &[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let facts = runtime.block_on(furnish(&portal, &place.path("sets")));
    for step in ["light", "open", "file", "trouble", "without", "keys", "dark", "phone", "phone-dark"] {
        let mut command = std::process::Command::new("node");
        command.args(["watch.mjs", step]).current_dir(&dir);
        let ended = common::run_with(command, &facts.to_string());
        assert_eq!((ended.code, ended.stdout.trim()), (0, "all is well"), "{}", ended.stderr);
    }
}

/// Puts something into a new Portal; what the walk has to know of it. What it is, its gateway decides.
async fn furnish(portal: &PortalProcess, dir: &Path) -> Value {
    let first = portal.first.as_ref().unwrap();
    let password = first["password"].as_str().unwrap();
    let admin = portal.client().signed_in("admin", password).await;
    let titles = json!({
        "adaptive": "A film in two qualities and two languages",
        "open": "The same film in formats that are everybody's",
        "plain": "A short one in one file",
        "both": "One that is there in both ways",
        "refused": "What is for others",
        "nowhere": "What the gateway does not know",
    });
    let mut contents = json!({});
    for (name, title) in titles.as_object().unwrap() {
        let (id, _) = admin.publish(title.as_str().unwrap(), "films").await;
        contents[name] = id.into();
    }
    json!({ "url": portal.url, "pin": portal.pin, "user": "admin", "password": password, "dir": dir, "titles": titles, "contents": contents })
}
