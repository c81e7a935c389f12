//! The Portal's pages in a real browser: Chromium, driven by `browser/walk.mjs`.

mod common;

use common::{
    Place, browser,
    portal::{PortalClient, PortalProcess, chance, start_process, verifier},
};
use http::StatusCode;
use ppsp_auth::{Password, scram::Verifier, token::SigningKey};
use serde_json::{Value, json};

#[test]
fn people_find_their_way_and_no_password_leaves_a_page() {
    let Some(dir) = browser::ready(&[]) else { return };
    let place = Place::new();
    let portal = start_process(&place, &["--open-registration"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let facts = runtime.block_on(furnish(&portal));
    let signed_in = facts["signed_in"].as_str().unwrap();
    let aged = rusqlite::Connection::open(place.path("portal/portal.db"))
        .unwrap()
        .execute("UPDATE sessions SET created = created - 3600 WHERE id = ?1", [signed_in]);
    assert_eq!(aged, Ok(1));
    for steps in [["light", "stranger", "long-ago"], ["dark", "phone", "phone-dark"]] {
        browser::walk(&dir, "walk.mjs", &steps, &facts);
    }
}

/// Puts something into a new Portal; what the walk has to know of it.
async fn furnish(portal: &PortalProcess) -> Value {
    let first = portal.first.as_ref().unwrap();
    let text = |name: &str| first[name].as_str().unwrap();
    let admin = portal.client().signed_in("admin", text("password")).await;

    let title = "A talk about swarms with a title that is long enough to be wrapped on a phone";
    let (films, _) = admin.publish(title, "films & series").await;
    admin.publish("Evening news, 25 November", "news").await;
    let (gone, _) = admin.publish("What nobody wants any more", "news").await;
    for number in 1..=60 {
        admin.publish(&format!("Lecture {number}"), "lectures").await;
    }
    // A log of more than one page.
    let rule = json!({ "group": "staff", "effect": "allow" });
    for _ in 0..140 {
        let (status, body) = admin.put("/api/v1/groups/lectures/policies", rule.clone()).await;
        assert!(status.is_success(), "{body}");
    }

    // One password, in three ways to type it: not composed, composed, and with other blanks.
    let typed =
        ["A\u{30A}ngstro\u{308}m und Brot", "\u{C5}ngstr\u{F6}m und Brot", "\u{C5}ngstr\u{F6}m\u{A0}und\u{3000}Brot"];
    let zoe = verifier(typed[0], Verifier::DEFAULT_ITERATIONS);
    let (status, body) = admin.post("/api/v1/users", json!({ "name": "zoe", "role": "viewer", "verifier": zoe })).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");

    enrol(&portal.client(), "the known one", Some(text("enrol_code"))).await;
    enrol(&portal.client(), "the new one", None).await;

    let old = portal.client().log_in("admin", text("password"), "?cookie=1").await.unwrap();
    json!({
        "url": portal.url,
        "pin": portal.pin,
        "shots": browser::shots("portal"),
        "admin": text("password"),
        "zoe": { "typed": typed },
        "films": { "id": films, "title": title },
        "gone": gone,
        "signed_in": old.session,
        "stale": old.headers["set-cookie"].to_str().unwrap(),
        "words": words(),
    })
}

async fn enrol(client: &PortalClient, name: &str, code: Option<&str>) {
    let key: Value = serde_json::from_str(&SigningKey::from_seed(&chance()).verifying_key().to_jwk()).unwrap();
    let tracker = json!({ "url": "https://tracker.example:8444", "name": name, "key": key, "code": code });
    let (status, body) = client.post("/api/v1/trackers", tracker).await;
    assert!(status.is_success(), "{body}");
}

/// Texts, and what is hashed of them where they are passwords (RFC 8265 §4.2). A unit test compares all characters, each by itself.
fn words() -> Vec<(&'static str, Option<&'static str>)> {
    let words = [
        ("", None),
        ("foo\u{1680}bar", Some("foo bar")),
        ("A\u{30A}", Some("\u{C5}")),
        ("½ ´", Some("½ ´")),
        ("a\tb", None),
        ("l·l·l", Some("l·l·l")),
        ("L·l", None),
        ("\u{375}α", Some("\u{375}α")),
        ("\u{375}a", None),
        ("א\u{5F3}", Some("א\u{5F3}")),
        ("a\u{5F4}", None),
        ("ア\u{30FB}", Some("ア\u{30FB}")),
        ("a\u{30FB}", None),
        ("\u{661}\u{662}", Some("\u{661}\u{662}")),
        ("\u{661}\u{6F2}", None),
        // Emoji of Unicode 6, and of Unicode 8.
        ("smile 😀", Some("smile 😀")),
        ("think 🤔", None),
        ("a\u{200B}b", None),
        ("a\u{200D}b", None),
        ("\u{2B740}", Some("\u{2B740}")),
        ("\u{2B820}", None),
        ("\u{E000}", None),
        ("\u{10FFFF}", None),
    ];
    for (typed, hashed) in words {
        assert_eq!(Password::new(typed).is_ok(), hashed.is_some(), "{typed}");
    }
    words.into()
}
