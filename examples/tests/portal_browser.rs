//! The Portal's pages in a real browser: Chromium, driven by `browser/walk.mjs`.

mod common;

use std::path::Path;

use common::{Place, portal::start_process};
use serde_json::json;

/// Whether Node, its packages and Chromium are there. In CI they have to be.
fn ready(dir: &Path) -> bool {
    let node = std::process::Command::new("node").arg("--version").output().is_ok();
    let missing = [
        (node, "Node (Debian: nodejs)"),
        (dir.join("node_modules/playwright-core").exists(), "the packages (npm ci in examples/tests/browser)"),
        (
            std::env::var_os("CHROMIUM").is_some() || Path::new("/usr/bin/chromium").exists(),
            "Chromium (Debian: chromium)",
        ),
    ];
    let missing: Vec<_> = missing.iter().filter(|(there, _)| !there).map(|(_, what)| *what).collect();
    if !missing.is_empty() {
        assert!(std::env::var_os("CI").is_none(), "missing: {missing:?}");
        eprintln!("skipped: missing are {}", missing.join(", "));
    }
    missing.is_empty()
}

#[test]
fn people_find_their_way_and_no_password_leaves_a_page() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser");
    if !ready(&dir) {
        return;
    }
    let place = Place::new();
    let portal = start_process(&place, &[]);
    let password = portal.first.as_ref().unwrap()["password"].as_str().unwrap().to_owned();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let title = "A talk about swarms with a title that is long enough to be wrapped on a phone";
    let id = runtime.block_on(async {
        let admin = portal.client().signed_in("admin", &password).await;
        admin.publish("Evening news, 25 November", "news").await;
        admin.publish(title, "films").await.0
    });
    let facts = json!({ "url": portal.url, "password": password, "content": { "id": id, "title": title } });
    let mut command = std::process::Command::new("node");
    command.arg("walk.mjs").current_dir(dir);
    let ended = common::run_with(command, &facts.to_string());
    assert_eq!((ended.code, ended.stdout.trim()), (0, "all is well"), "{}", ended.stderr);
}
