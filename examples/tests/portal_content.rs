//! The catalogue, policies, and what tokens and trackers make of them.

mod common;

use common::portal::{PortalClient, TestPortal, TestTracker, content, descriptor, unix_now};
use ppsp_auth::{
    grant::{Action, Grants, Refusal},
    introspection::Introspection,
    token::{Expectation, KeySet, TRACKERS},
};
use ppsp_core::descriptor::{Descriptor, SignatureError};
use serde_json::{Value, json};

/// What the catalogue shows this user, by title.
async fn titles(client: &PortalClient, query: &str) -> Vec<String> {
    let (status, body) = client.get(&format!("/api/v1/catalogue{query}")).await;
    assert_eq!(status, 200, "{body}");
    let mut titles: Vec<_> =
        body["content"].as_array().unwrap().iter().map(|one| one["title"].as_str().unwrap().to_owned()).collect();
    titles.sort();
    titles
}

/// What a token for trackers grants.
async fn granted(portal: &TestPortal, client: &PortalClient, token: &str) -> Grants {
    let (_, jwks) = client.get("/.well-known/jwks.json").await;
    let keys = KeySet::from_jwks(jwks.to_string().as_bytes()).unwrap();
    let token = Expectation::new(portal.portal.issuer(), TRACKERS).check(&keys, token, unix_now()).unwrap();
    token.claims().grants.clone()
}

fn active(answer: Introspection) -> ppsp_auth::introspection::Active {
    match answer {
        Introspection::Active(active) => active,
        Introspection::Inactive => panic!("the token does not count"),
    }
}

#[tokio::test]
async fn content_is_seen_by_whom_it_is_allowed_to_and_found_by_its_title() {
    let portal = TestPortal::start().await;
    let admin = portal.admin().await;
    let media = portal.user(&admin, "media", "publisher").await;
    let alice = portal.user(&admin, "alice", "viewer").await;
    assert_eq!(alice.post("/api/v1/content", content("x", "films")).await.0, 403);
    let (bunny, _) = media.publish("Big Buck Bunny", "films").await;
    let (news, _) = media.publish("Evening news", "news").await;
    assert_eq!(titles(&media, "").await, ["Big Buck Bunny", "Evening news"]);
    assert_eq!(titles(&admin, "?q=buck").await, ["Big Buck Bunny"]);
    assert_eq!(titles(&alice, "").await, [""; 0]);
    for path in [format!("/api/v1/content/{bunny}"), format!("/api/v1/content/{bunny}/descriptor")] {
        assert_eq!(alice.get(&path).await.0, 404);
    }

    let policies = |id: &str| format!("/api/v1/content/{id}/policies");
    assert_eq!(alice.put(&policies(&bunny), json!({ "user": "alice" })).await.0, 404);
    assert_eq!(media.put(&policies(&bunny), json!({ "user": "alice" })).await.0, 204);
    assert_eq!(titles(&alice, "").await, ["Big Buck Bunny"]);
    // Now it is seen, and still somebody else's.
    assert_eq!(alice.put(&policies(&bunny), json!({ "group": "everyone" })).await.0, 403);
    let (_, shown) = alice.get(&format!("/api/v1/content/{bunny}")).await;
    assert_eq!((shown["publisher"].as_str(), shown["length"].as_u64()), (Some("media"), Some(1024)));

    // All of a catalogue group to a user group; single content may be kept from somebody nevertheless.
    let of_news = "/api/v1/groups/news/policies";
    assert_eq!(media.put(of_news, json!({ "group": "staff" })).await.0, 403);
    assert_eq!(admin.put(of_news, json!({ "group": "staff" })).await.0, 204);
    admin.patch("/api/v1/users/alice", json!({ "groups": ["staff"] })).await;
    assert_eq!(titles(&alice, "").await, ["Big Buck Bunny", "Evening news"]);
    assert_eq!(media.put(&policies(&news), json!({ "user": "alice", "effect": "deny" })).await.0, 204);
    assert_eq!(titles(&alice, "").await, ["Big Buck Bunny"]);
    let (_, list) = media.get(&policies(&news)).await;
    assert_eq!(list["policies"], json!([{ "user": "alice", "effect": "deny" }]));
    assert_eq!(media.delete(&policies(&news), Some(json!({ "user": "alice" }))).await.0, 204);
    assert_eq!(media.delete(&policies(&news), Some(json!({ "user": "alice" }))).await.0, 404);
    assert_eq!(titles(&alice, "?q=NEWS").await, ["Evening news"]);

    // What was published for everybody.
    let bob = portal.user(&admin, "bob", "viewer").await;
    assert_eq!(titles(&bob, "").await, [""; 0]);
    media.put(&policies(&bunny), json!({ "group": "everyone" })).await;
    assert_eq!(titles(&bob, "").await, ["Big Buck Bunny"]);

    for bad in [
        json!({}),
        json!({ "user": "alice", "group": "staff" }),
        json!({ "user": "alice", "from": 2, "until": 2 }),
        json!({ "user": "alice", "effect": "perhaps" }),
        json!({ "user": "alice", "from": u64::MAX }),
        json!({ "group": "a/b" }),
    ] {
        assert_eq!(media.put(&policies(&bunny), bad.clone()).await.0, 400, "{bad}");
    }
    assert_eq!(media.put(&policies(&bunny), json!({ "user": "nobody" })).await.0, 404);

    assert_eq!(alice.delete(&format!("/api/v1/content/{bunny}"), None).await.0, 403);
    assert_eq!(bob.delete(&format!("/api/v1/content/{news}"), None).await.0, 404);
    assert_eq!(media.delete(&format!("/api/v1/content/{bunny}"), None).await.0, 204);
    assert_eq!(titles(&admin, "").await, ["Evening news"]);
}

#[tokio::test]
async fn a_long_catalogue_comes_in_parts() {
    let portal = TestPortal::start().await;
    let admin = portal.admin().await;
    for i in 0..60 {
        admin.publish(&format!("part {i}"), "all").await;
    }
    let (_, first) = admin.get("/api/v1/catalogue").await;
    assert_eq!(first["content"].as_array().unwrap().len(), 50);
    let after = first["after"].as_str().unwrap();
    let (_, second) = admin.get(&format!("/api/v1/catalogue?after={after}")).await;
    assert_eq!((second["content"].as_array().unwrap().len(), &second["after"]), (10, &Value::Null));
    let mut all: Vec<&str> = [&first, &second]
        .iter()
        .flat_map(|part| part["content"].as_array().unwrap())
        .map(|one| one["id"].as_str().unwrap())
        .collect();
    assert!(all.is_sorted_by(|a, b| a > b), "the newest first");
    all.dedup();
    assert_eq!(all.len(), 60);
}

#[tokio::test]
async fn descriptors_are_read_when_published_and_signed_when_fetched() {
    let portal = TestPortal::start().await;
    let admin = portal.admin().await;
    let media = portal.user(&admin, "media", "publisher").await;
    let other = portal.user(&admin, "other", "publisher").await;
    let publish = async |who: &PortalClient, descriptor: &str| {
        who.post("/api/v1/content", json!({ "title": "t", "group": "g", "descriptor": descriptor })).await
    };
    for bad in ["", "<", "<html/>", "<!DOCTYPE MPD [<!ENTITY a \"a\">]><MPD>&a;</MPD>", &"<a>".repeat(10_000)] {
        let (status, body) = publish(&media, bad).await;
        assert_eq!((status.as_u16(), body["error"].as_str()), (400, Some("invalid_request")), "{bad:.40}: {body}");
    }
    let without = r#"<MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period/></MPD>"#;
    assert_eq!(publish(&media, without).await.1["message"], "the descriptor names no swarm");
    for bad in [json!({ "title": "", "group": "g" }), json!({ "title": "t", "group": "a/b" })] {
        let mut new = content("a", "g");
        new.as_object_mut().unwrap().extend(bad.as_object().unwrap().clone());
        assert_eq!(media.post("/api/v1/content", new).await.0, 400, "{bad}");
    }

    // The first to publish a swarm has it; it may be published twice by the same user.
    let (status, _) = publish(&media, &descriptor("one", &[])).await;
    assert_eq!(status, 201);
    assert_eq!(publish(&other, &descriptor("one", &[])).await.0, 409);
    assert_eq!(publish(&admin, &descriptor("one", &[])).await.0, 409);
    let (status, twice) = publish(&media, &descriptor("one", &[])).await;
    assert_eq!(status, 201, "{twice}");

    // Trackers of now, where none is named.
    let fetch = async |id: &Value| {
        let path = format!("/api/v1/content/{}/descriptor", id.as_str().unwrap());
        let token = format!("Bearer {}", media.login.as_ref().unwrap().access_token);
        let answer = media.raw(http::Method::GET, &path, Some(&token), "", "".into()).await;
        assert_eq!(answer.headers()["content-type"], "application/dash+xml");
        answer.into_body()
    };
    let tracker = TestTracker::enrol(&portal, "https://tracker.example/", Some(&portal.enrol_code)).await;
    let pending = TestTracker::enrol(&portal, "https://pending.example/", None).await;
    assert_ne!(tracker.id, pending.id);
    let served = fetch(&twice["id"]).await;
    let (_, jwks) = media.get("/.well-known/jwks.json").await;
    let keys = KeySet::from_jwks(jwks.to_string().as_bytes()).unwrap();
    let check = |kid: &str, bytes: &[u8], signature: &[u8; 64]| {
        let key = kid.parse().ok().and_then(|kid| keys.key(kid)).ok_or(SignatureError::UnknownKey)?;
        key.verify(bytes, signature).map_err(|_| SignatureError::Wrong)
    };
    let read = Descriptor::parse_signed(&served, check).unwrap();
    assert_eq!(read.trackers(), [["https://tracker.example/"]]);
    assert_eq!(read.swarms()[0].to_string(), twice["swarms"][0].as_str().unwrap());
    let changed = String::from_utf8(served.to_vec()).unwrap().replace("tracker.example", "trucker.example");
    assert_eq!(Descriptor::parse_signed(changed.as_bytes(), check), Err(SignatureError::Wrong));
    // A publisher's own trackers stay.
    let (_, own) = publish(&media, &descriptor("two", &["https://own.example/"])).await;
    let read = Descriptor::parse_signed(&fetch(&own["id"]).await, check).unwrap();
    assert_eq!(read.trackers(), [["https://own.example/"]]);
}

#[tokio::test]
async fn tokens_open_what_is_allowed_and_nothing_else() {
    let portal = TestPortal::start().await;
    let admin = portal.admin().await;
    let mut media = portal.user(&admin, "media", "publisher").await;
    let mut alice = portal.user(&admin, "alice", "viewer").await;
    let (film, film_swarm) = media.publish("film", "films").await;
    let (news, news_swarm) = media.publish("news", "news").await;
    let now = unix_now();
    let allows = |grants: &Grants, swarm: &str, groups: &[&str], at: u64| {
        let groups: Vec<_> = groups.iter().map(|&group| group.to_owned()).collect();
        grants.allows(swarm, &groups, Action::Leech, at)
    };

    // Nothing is allowed: there is a token, and it opens nothing. By name nothing is given at all.
    let token = alice.tracker_token(&[]).await;
    assert!(granted(&portal, &alice, &token).await.as_slice().is_empty());
    for id in [film.as_str(), "no such content"] {
        let (status, body) = alice.refresh(Some(TRACKERS), &[id]).await;
        assert_eq!((status.as_u16(), body["error"].as_str()), (400, Some("invalid_scope")));
    }
    assert_eq!(alice.refresh(Some("somebody"), &[]).await.1["error"], "invalid_target");

    // A window: from a minute ago until in a minute, and one that opens in a minute.
    let policies = format!("/api/v1/content/{film}/policies");
    media.put(&policies, json!({ "user": "alice", "from": now - 60, "until": now + 60 })).await;
    let token = alice.tracker_token(&[&film]).await;
    let grants = granted(&portal, &alice, &token).await;
    assert_eq!(allows(&grants, &film_swarm, &[], now), Ok(()));
    assert_eq!(allows(&grants, &film_swarm, &[], now + 60), Err(Refusal::NoLonger));
    assert_eq!(allows(&grants, &news_swarm, &[], now), Err(Refusal::Swarm));
    media.put(&policies, json!({ "user": "alice", "from": now + 60 })).await;
    assert_eq!(titles(&alice, "").await, [""; 0]);
    let token = alice.tracker_token(&[&film]).await;
    let grants = granted(&portal, &alice, &token).await;
    assert_eq!(allows(&grants, &film_swarm, &[], now), Err(Refusal::NotYet));
    assert_eq!(allows(&grants, &film_swarm, &[], now + 60), Ok(()));
    // What is over, and what is to come after the token's life, opens nothing.
    for window in [json!({ "user": "alice", "until": now - 1 }), json!({ "user": "alice", "from": now + 3600 })] {
        media.put(&policies, window).await;
        assert_eq!(alice.refresh(Some(TRACKERS), &[&film]).await.1["error"], "invalid_scope");
    }

    // Groups as a whole, unless something in them is denied.
    admin.put("/api/v1/groups/news/policies", json!({ "group": "everyone" })).await;
    let token = alice.tracker_token(&[]).await;
    let grants = granted(&portal, &alice, &token).await;
    assert_eq!(grants.as_slice().iter().flat_map(|grant| &grant.groups).collect::<Vec<_>>(), ["news"]);
    let (_, more_swarm) = media.publish("more news", "news").await;
    assert_eq!(allows(&grants, &more_swarm, &["news"], now), Ok(()));
    media.put(&format!("/api/v1/content/{news}/policies"), json!({ "user": "alice", "effect": "deny" })).await;
    let token = alice.tracker_token(&[]).await;
    let grants = granted(&portal, &alice, &token).await;
    assert_eq!(allows(&grants, &more_swarm, &["news"], now), Ok(()));
    assert_eq!(allows(&grants, &news_swarm, &["news"], now), Err(Refusal::Swarm));

    // Publishers have their own content, admins everything.
    let token = media.tracker_token(&[]).await;
    let grants = granted(&portal, &media, &token).await;
    for swarm in [&film_swarm, &news_swarm, &more_swarm] {
        assert_eq!(grants.allows(swarm, &["news".into()], Action::Seeder, now), Ok(()));
    }
    let mut admin = admin;
    let token = admin.tracker_token(&[]).await;
    let grants = granted(&portal, &admin, &token).await;
    assert_eq!(allows(&grants, &film_swarm, &["films"], now), Ok(()));
    // A token for trackers does not open the Portal.
    admin.login.as_mut().unwrap().access_token = token;
    assert_eq!(admin.get("/api/v1/users").await.0, 401);
}

#[tokio::test]
async fn trackers_enrol_with_the_code_or_wait_for_an_admin() {
    let portal = TestPortal::start().await;
    let admin = portal.admin().await;
    let mut alice = portal.user(&admin, "alice", "viewer").await;
    let token = alice.tracker_token(&[]).await;
    let tracker = TestTracker::enrol(&portal, "https://one.example/", None).await;
    assert_eq!(tracker.introspect(&token, &[]).await.unwrap_err().0, 401);
    assert_eq!(alice.get("/api/v1/trackers").await.0, 403);
    let state = async || {
        let (_, list) = admin.get("/api/v1/trackers").await;
        list["trackers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["state"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(state().await, ["pending"]);
    let path = format!("/api/v1/trackers/{}", tracker.id);
    assert_eq!(alice.patch(&path, json!({ "state": "approved" })).await.0, 403);
    assert_eq!(admin.patch(&path, json!({ "state": "approved" })).await.0, 200);
    active(tracker.introspect(&token, &[]).await.unwrap());

    // Who knows the public key alone can change nothing; with the code a tracker may move.
    let jwk: Value = serde_json::from_str(&tracker.key.verifying_key().to_jwk()).unwrap();
    let again = async |url: &str, code: Option<&str>| {
        let body = json!({ "url": url, "name": "again", "key": jwk, "code": code });
        alice.post("/api/v1/trackers", body).await
    };
    let (status, same) = again("https://evil.example/", None).await;
    assert_eq!((status.as_u16(), same["url"].as_str()), (201, Some("https://one.example/")));
    assert_eq!(again("https://evil.example/", Some("guessed")).await.0, 403);
    let (_, moved) = again("https://two.example/", Some(&portal.enrol_code)).await;
    assert_eq!((moved["url"].as_str(), moved["name"].as_str()), (Some("https://two.example/"), Some("again")));

    // Out at once; and the code does not bring it back.
    assert_eq!(admin.patch(&path, json!({ "state": "revoked" })).await.0, 200);
    assert_eq!(tracker.introspect(&token, &[]).await.unwrap_err().0, 401);
    let (_, still) = again("https://two.example/", Some(&portal.enrol_code)).await;
    assert_eq!(still["state"], "revoked");
    for (url, key) in [
        ("ftp://a.example/", jwk.clone()),
        ("https://u:p@a.example/", jwk.clone()),
        ("nonsense", jwk.clone()),
        ("https://a.example/", json!({ "kty": "RSA" })),
        ("https://a.example/", json!("key")),
    ] {
        let (status, body) = alice.post("/api/v1/trackers", json!({ "url": url, "name": "n", "key": key })).await;
        assert_eq!(status, 400, "{url} {key} {body}");
    }
    assert_eq!(admin.patch("/api/v1/trackers/none", json!({ "state": "revoked" })).await.0, 404);
    assert_eq!(admin.patch(&path, json!({ "state": "pending" })).await.0, 400);
}

#[tokio::test]
async fn strangers_cannot_fill_the_list_of_trackers() {
    let portal = TestPortal::start_with(|config| config.registrations.address.burst = 2).await;
    TestTracker::enrol(&portal, "https://one.example/", None).await;
    let known = TestTracker::enrol(&portal, "https://two.example/", None).await;
    let jwk: Value =
        serde_json::from_str(&ppsp_auth::token::SigningKey::from_seed(&[1; 32]).verifying_key().to_jwk()).unwrap();
    let body = json!({ "url": "https://three.example/", "name": "n", "key": jwk });
    assert_eq!(portal.client().post("/api/v1/trackers", body.clone()).await.0, 429);
    // A guess at the code is one of a stranger too. Who is known, or has the code, is none.
    let with = |name: &str, value: Value| {
        let mut body = body.clone();
        body[name] = value;
        body
    };
    assert_eq!(portal.client().post("/api/v1/trackers", with("code", "a guess".into())).await.0, 429);
    let jwk: Value = serde_json::from_str(&known.key.verifying_key().to_jwk()).unwrap();
    for _ in 0..3 {
        assert_eq!(portal.client().post("/api/v1/trackers", with("key", jwk.clone())).await.0, 202);
    }
    let code = portal.enrol_code.as_str();
    assert_eq!(portal.client().post("/api/v1/trackers", with("code", code.into())).await.0, 201);
}

#[tokio::test]
async fn a_tracker_is_told_what_is_true_now() {
    let portal = TestPortal::start().await;
    let admin = portal.admin().await;
    let media = portal.user(&admin, "media", "publisher").await;
    let mut alice = portal.user(&admin, "alice", "viewer").await;
    let tracker = TestTracker::enrol(&portal, "https://tracker.example/", Some(&portal.enrol_code)).await;
    let (film, film_swarm) = media.publish("film", "films").await;
    let (news, news_swarm) = media.publish("news", "news").await;
    let of_film = format!("/api/v1/content/{film}/policies");
    media.put(&of_film, json!({ "user": "alice" })).await;
    admin.put("/api/v1/groups/news/policies", json!({ "group": "everyone" })).await;
    let now = unix_now();
    let may = |answer: &Introspection, swarm: &str| match answer {
        Introspection::Active(active) => {
            let groups = active.swarm_groups.get(swarm).cloned().unwrap_or_default();
            active.claims.grants.allows(swarm, &groups, Action::Leech, now).is_ok()
        }
        Introspection::Inactive => false,
    };

    let all = alice.tracker_token(&[]).await;
    let one = alice.tracker_token(&[&film]).await;
    let answer = tracker.introspect(&all, &[&news_swarm, "00ff"]).await.unwrap();
    let told = active(answer.clone());
    assert_eq!(told.claims.client.to_string(), alice.login.as_ref().unwrap().client_id);
    assert_eq!(told.swarm_groups.into_iter().collect::<Vec<_>>(), [(news_swarm.clone(), vec!["news".to_owned()])]);
    assert!(may(&answer, &news_swarm) && may(&answer, &film_swarm));
    // A token for one piece of content does not grow.
    let answer = tracker.introspect(&one, &[&news_swarm]).await.unwrap();
    assert!(may(&answer, &film_swarm) && !may(&answer, &news_swarm));

    // Policies that changed since.
    media.delete(&of_film, Some(json!({ "user": "alice" }))).await;
    media.put(&format!("/api/v1/content/{news}/policies"), json!({ "user": "alice", "effect": "deny" })).await;
    let answer = tracker.introspect(&all, &[&film_swarm, &news_swarm]).await.unwrap();
    assert!(!may(&answer, &film_swarm) && !may(&answer, &news_swarm));
    let (_, more_swarm) = media.publish("more", "news").await;
    let answer = tracker.introspect(&all, &[&more_swarm]).await.unwrap();
    assert!(may(&answer, &more_swarm), "the rest of the group");

    // Tokens for others, and made up ones.
    let own = alice.login.as_ref().unwrap().access_token.clone();
    for token in [own.as_str(), "made.up.token", "x", &one[..one.len() - 4]] {
        assert_eq!(tracker.introspect(token, &[]).await, Ok(Introspection::Inactive));
    }
    // An assertion counts once, and is needed.
    let form = tracker.question(&all, &[]);
    assert_eq!(tracker.ask(&form).await.1["active"], true);
    assert_eq!(tracker.ask(&form).await.1["error"], "invalid_client");
    assert_eq!(tracker.ask("token=x").await.1["error"], "invalid_client");

    // A session that was ended, and a user that was banned, count no more at once.
    let mut bob = portal.user(&admin, "bob", "viewer").await;
    let of_bob = bob.tracker_token(&[]).await;
    let id = alice.login.as_ref().unwrap().session.clone();
    active(tracker.introspect(&all, &[]).await.unwrap());
    assert_eq!(admin.delete(&format!("/api/v1/sessions/{id}"), None).await.0, 204);
    assert_eq!(tracker.introspect(&all, &[]).await, Ok(Introspection::Inactive));
    active(tracker.introspect(&of_bob, &[]).await.unwrap());
    admin.patch("/api/v1/users/bob", json!({ "banned": true })).await;
    assert_eq!(tracker.introspect(&of_bob, &[]).await, Ok(Introspection::Inactive));
}
