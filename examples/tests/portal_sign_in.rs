//! Signing in at the Portal, and what becomes of sessions: over TLS, with the client's half of SCRAM.

mod common;

use common::portal::{ITERATIONS, PortalClient, TestPortal, chance, verifier};
use http::Method;
use ppsp_auth::{
    Password,
    bearer::BearerRefusal,
    oauth::{FormWriter, RevocationRequest},
    scram::Client,
    throttle::LoginLimits,
    token::{Expectation, KeySet, Role, TRACKERS, TokenText},
};
use ppsp_examples::portal::{Refusal, cookie};
use serde_json::{Value, json};

#[tokio::test]
async fn a_login_gives_a_client_identifier_and_tokens_that_others_can_check() {
    let portal = TestPortal::start().await;
    let admin = portal.admin().await;
    let alice = portal.user(&admin, "alice", "viewer").await;
    let login = alice.login.as_ref().unwrap();
    assert_eq!((login.body["name"].as_str(), login.body["role"].as_str()), (Some("alice"), Some("viewer")));
    assert_eq!((login.body["token_type"].as_str(), login.body["expires_in"].as_u64()), (Some("Bearer"), Some(600)));
    assert_eq!(login.headers["cache-control"], "no-store");

    let (status, jwks) = alice.get("/.well-known/jwks.json").await;
    assert_eq!(status, 200);
    let keys = KeySet::from_jwks(jwks.to_string().as_bytes()).unwrap();
    let issuer = portal.portal.issuer();
    let now = common::portal::unix_now();
    let token = Expectation::new(issuer, issuer).check(&keys, &login.access_token, now).unwrap();
    let claims = token.claims();
    assert_eq!(claims.client.to_string(), login.client_id);
    assert_eq!(format!("{:032x}", claims.session), login.session);
    assert_eq!(claims.role, Role::Viewer);
    // What is for the Portal is not for trackers.
    assert!(Expectation::new(issuer, TRACKERS).check(&keys, &login.access_token, now).is_err());

    // Another login of the same user is another client.
    let again = alice.log_in("ALICE", "alice's password", "").await.unwrap();
    assert_ne!(again.client_id, login.client_id);
    assert_ne!(again.session, login.session);
    let (_, metadata) = alice.get("/.well-known/oauth-authorization-server").await;
    assert_eq!(metadata["issuer"], issuer);
    assert_eq!(metadata["ppsp_scram_iterations"], ITERATIONS);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_told_the_same() {
    let portal = TestPortal::start().await;
    let client = portal.client();
    let wrong = client.log_in("admin", "not the password", "").await.unwrap_err();
    let unknown = client.log_in("nobody", "not the password", "").await.unwrap_err();
    assert_eq!(wrong, unknown);
    assert_eq!((wrong.0.as_u16(), wrong.1["error"].as_str()), (401, Some("not_signed_in")));
    // The challenges look the same too, and stay the same.
    let salt = async |name: &str| {
        let (_, sid, message) = client.challenge(name, "not the password").await.unwrap();
        let parts: Vec<_> = message.split(',').map(str::to_owned).collect();
        (sid.len() - name.len() * 4 / 3, parts[1].clone(), parts[2].clone())
    };
    let (admin, nobody) = (salt("admin").await, salt("nobody").await);
    assert_eq!((admin.1.len(), &admin.2), (nobody.1.len(), &nobody.2));
    assert_eq!(nobody.1, salt("nobody").await.1);
    assert_ne!(admin.1, nobody.1);
}

#[tokio::test]
async fn an_exchange_counts_once() {
    let portal = TestPortal::start().await;
    let client = portal.client();
    let (scram, sid, message) = client.challenge("admin", &portal.password).await.unwrap();
    let (_, last) = scram.prove(&message).unwrap();
    assert_eq!(client.log_in_finally(&sid, last.clone(), "").await.status(), 200);
    assert_eq!(client.log_in_finally(&sid, last.clone(), "").await.status(), 401);
    // Nor does it count with the state of another exchange, or with a changed one.
    let (_, other, _) = client.challenge("admin", &portal.password).await.unwrap();
    assert_eq!(client.log_in_finally(&other, last.clone(), "").await.status(), 400);
    let changed = format!("{}A", &sid[..sid.len() - 1]);
    assert_eq!(client.log_in_finally(&changed, last, "").await.status(), 401);
}

#[tokio::test]
async fn who_guesses_has_to_wait() {
    let limits = LoginLimits { free: 2, ..LoginLimits::default() };
    let portal = TestPortal::start_with(|config| config.logins = limits).await;
    let client = portal.client();
    for name in ["admin", "nobody"] {
        let mut answers = Vec::new();
        for _ in 0..4 {
            answers.push(client.log_in(name, "a guess, and wrong", "").await.unwrap_err().0.as_u16());
        }
        // The address has failures too, so that the second account is not asked as often.
        assert_eq!(answers.last(), Some(&429), "{name}: {answers:?}");
    }
    // Also with the right password now: it was not looked at.
    let (scram, sid, message) = client.challenge("admin", &portal.password).await.unwrap();
    let (_, last) = scram.prove(&message).unwrap();
    let answer = client.log_in_finally(&sid, last, "").await;
    assert_eq!(answer.status(), 429);
    let wait: u64 = answer.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!(wait >= 1);
}

#[tokio::test]
async fn who_is_banned_is_out_at_once() {
    let portal = TestPortal::start().await;
    let admin = portal.admin().await;
    let mut alice = portal.user(&admin, "alice", "viewer").await;
    assert_eq!(alice.get("/api/v1/sessions").await.0, 200);
    assert_eq!(admin.patch("/api/v1/users/alice", json!({ "banned": true })).await.1["banned"], true);
    let (status, body) = alice.get("/api/v1/sessions").await;
    assert_eq!((status.as_u16(), body["error"].as_str()), (401, Some("not_signed_in")));
    assert_eq!(alice.refresh(None, &[]).await.1["error"], "invalid_grant");
    // Who has proven the password is told why; others are not.
    let (status, body) = alice.log_in("alice", "alice's password", "").await.unwrap_err();
    assert_eq!((status.as_u16(), body["error"].as_str()), (403, Some("forbidden")));
    assert_eq!(alice.log_in("alice", "a wrong password", "").await.unwrap_err().0, 401);
    admin.patch("/api/v1/users/alice", json!({ "banned": false })).await;
    // Old sessions stay ended.
    assert_eq!(alice.get("/api/v1/sessions").await.0, 401);
    alice.log_in("alice", "alice's password", "").await.unwrap();
}

#[tokio::test]
async fn refresh_tokens_rotate_and_an_old_one_ends_the_session() {
    let portal = TestPortal::start().await;
    let mut client = portal.admin().await;
    let first = client.login.as_ref().unwrap().refresh_token.clone();
    for _ in 0..2 {
        let (status, body) = client.refresh(None, &[]).await;
        assert_eq!(status, 200, "{body}");
        client.login.as_mut().unwrap().access_token = body["access_token"].as_str().unwrap().into();
        assert_eq!(client.get("/api/v1/sessions").await.0, 200);
    }
    let last = client.login.as_ref().unwrap().refresh_token.clone();
    assert_ne!(first, last);
    client.login.as_mut().unwrap().refresh_token = first;
    assert_eq!(client.refresh(None, &[]).await.1["error"], "invalid_grant");
    client.login.as_mut().unwrap().refresh_token = last;
    assert_eq!(client.refresh(None, &[]).await.1["error"], "invalid_grant", "the session has ended");
    assert_eq!(client.get("/api/v1/sessions").await.0, 401);
    let client = portal.admin().await;
    let (_, log) = client.get("/api/v1/audit").await;
    let entries = log["entries"].as_array().unwrap();
    assert!(entries.iter().any(|entry| entry["what"] == "refresh token used twice"), "{log}");
}

#[tokio::test]
async fn either_token_ends_the_session_and_nobody_learns_more() {
    let portal = TestPortal::start().await;
    for by_refresh in [true, false] {
        let client = portal.admin().await;
        let login = client.login.clone().unwrap();
        let token = TokenText::new(if by_refresh { login.refresh_token } else { login.access_token });
        let form = RevocationRequest { token }.write();
        assert_eq!(client.form("/oauth/revoke", &form).await.0, 200);
        assert_eq!(client.get("/api/v1/sessions").await.0, 401);
        assert_eq!(client.form("/oauth/revoke", &form).await.0, 200);
    }
    let client = portal.client();
    assert_eq!(client.form("/oauth/revoke", "token=nothing").await.0, 200);
    assert_eq!(client.form("/oauth/revoke", "").await.1["error"], "invalid_request");
}

#[tokio::test]
async fn a_browser_keeps_its_session_in_a_cookie() {
    let portal = TestPortal::start().await;
    let client = portal.client();
    let login = client.log_in("admin", &portal.password, "?cookie=1").await.unwrap();
    assert_eq!(login.body.get("refresh_token"), None);
    let set = login.headers["set-cookie"].to_str().unwrap();
    assert!(set.starts_with("__Host-ppsp=") && set.contains("HttpOnly") && set.contains("SameSite=Strict"), "{set}");
    let token = cookie::token(set.split(';').next().unwrap()).unwrap();
    // Reading a page does not replace it.
    let caller = portal.portal.cookie_caller(&token).await.unwrap();
    assert_eq!(portal.portal.cookie_caller(&token).await.unwrap().session, caller.session);
    assert_eq!(caller.name().as_str(), "admin");

    let form = portal.portal.form_token(&caller);
    let mut headers = http::HeaderMap::new();
    let check = |headers: &http::HeaderMap, token: &str| portal.portal.check_form(&caller, token, headers);
    assert_eq!(check(&headers, &form), Ok(()));
    assert!(matches!(check(&headers, "made up"), Err(Refusal::Forbidden(_))));
    headers.insert("host", "portal.example".parse().unwrap());
    headers.insert("origin", "https://portal.example".parse().unwrap());
    assert_eq!(check(&headers, &form), Ok(()));
    headers.insert("origin", "https://evil.example".parse().unwrap());
    assert!(check(&headers, &form).is_err());
    headers.insert("sec-fetch-site", "same-origin".parse().unwrap());
    assert_eq!(check(&headers, &form), Ok(()));
    headers.insert("sec-fetch-site", "same-site".parse().unwrap());
    assert!(check(&headers, &form).is_err());

    let other = portal.admin().await.login.unwrap();
    let other = portal.portal.caller(&other.access_token).await.unwrap();
    assert_ne!(portal.portal.form_token(&other), form, "each session has its own");
    portal.portal.end_session(&caller, caller.session.id).await.unwrap();
    assert!(portal.portal.cookie_caller(&token).await.is_err());
}

#[tokio::test]
async fn sessions_are_seen_and_ended_by_their_user_and_by_admins() {
    let portal = TestPortal::start().await;
    let admin = portal.admin().await;
    let alice = portal.user(&admin, "alice", "viewer").await;
    let bob = portal.user(&admin, "bob", "viewer").await;
    let elsewhere = portal.client().signed_in("alice", "alice's password").await;
    let ids = |list: &Value| {
        let sessions = list["sessions"].as_array().unwrap();
        sessions.iter().map(|session| session["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (_, list) = alice.get("/api/v1/sessions").await;
    assert_eq!(ids(&list).len(), 2);
    let current: Vec<_> =
        list["sessions"].as_array().unwrap().iter().filter(|session| session["current"] == true).collect();
    assert_eq!(current.len(), 1);
    assert_eq!(current[0]["client_id"], alice.login.as_ref().unwrap().client_id);

    let id = &elsewhere.login.as_ref().unwrap().session;
    // Somebody else's session is not even there.
    assert_eq!(bob.delete(&format!("/api/v1/sessions/{id}"), None).await.0, 404);
    assert_eq!(bob.get("/api/v1/sessions?user=alice").await.0, 403);
    assert_eq!(bob.get("/api/v1/sessions?all=1").await.0, 403);
    assert_eq!(alice.delete(&format!("/api/v1/sessions/{id}"), None).await.0, 204);
    assert_eq!(elsewhere.get("/api/v1/sessions").await.0, 401);
    let id = &alice.login.as_ref().unwrap().session;
    assert_eq!(ids(&admin.get("/api/v1/sessions?user=alice").await.1), [id.as_str()]);
    assert_eq!(ids(&admin.get("/api/v1/sessions?all=1").await.1).len(), 3);
    assert_eq!(admin.delete(&format!("/api/v1/sessions/{id}"), None).await.0, 204);
    assert_eq!(alice.get("/api/v1/sessions").await.0, 401);
    assert_eq!(admin.delete("/api/v1/sessions/zz", None).await.0, 404);
}

#[tokio::test]
async fn the_oldest_of_too_many_sessions_ends() {
    use ppsp_examples::portal::sessions::MAX_SESSIONS;
    let limits = LoginLimits { free: u32::MAX, ..LoginLimits::default() };
    let portal = TestPortal::start_with(|config| config.logins = limits).await;
    let first = portal.admin().await;
    let mut last = None;
    for _ in 0..MAX_SESSIONS {
        last = Some(portal.admin().await);
    }
    let (_, list) = last.unwrap().get("/api/v1/sessions").await;
    assert_eq!(list["sessions"].as_array().unwrap().len() as u64, MAX_SESSIONS);
    // Those of the same second are as old as each other: which of them has ended is not said.
    let _ = first;
}

#[tokio::test]
async fn accounts_are_made_by_admins_or_by_anybody_where_that_is_open() {
    let portal = TestPortal::start().await;
    let (admin, stranger) = (portal.admin().await, portal.client());
    let new = |name: &str, role: &str, iterations| json!({ "name": name, "role": role, "verifier": verifier("a password", iterations) });
    assert_eq!(stranger.post("/api/v1/users", new("alice", "viewer", ITERATIONS)).await.0, 403);
    assert_eq!(admin.post("/api/v1/users", new("Alice", "publisher", ITERATIONS)).await.0, 201);
    assert_eq!(admin.post("/api/v1/users", new("alice", "viewer", ITERATIONS)).await.0, 409);
    // All have the same number of iterations.
    let (status, body) = admin.post("/api/v1/users", new("bob", "viewer", 10_000)).await;
    assert_eq!((status.as_u16(), body["message"].as_str()), (400, Some("passwords are hashed 4096 times here")));
    for bad in [new("b b", "viewer", ITERATIONS), new("bob", "king", ITERATIONS), json!({ "name": "bob" })] {
        assert_eq!(admin.post("/api/v1/users", bad).await.0, 400);
    }
    let mut more = new("bob", "viewer", ITERATIONS);
    more["password"] = "secret".into();
    assert_eq!(admin.post("/api/v1/users", more).await.0, 400, "an unknown member");

    let open = TestPortal::start_with(|config| {
        config.open_registration = true;
        config.registrations.address.burst = 2;
    })
    .await;
    let stranger = open.client();
    assert_eq!(stranger.post("/api/v1/users", new("alice", "publisher", ITERATIONS)).await.0, 403);
    assert_eq!(stranger.post("/api/v1/users", new("alice", "viewer", ITERATIONS)).await.0, 201);
    assert_eq!(stranger.post("/api/v1/users", new("bob", "viewer", ITERATIONS)).await.0, 201);
    let (status, body) = stranger.post("/api/v1/users", new("carol", "viewer", ITERATIONS)).await;
    assert_eq!((status.as_u16(), body["error"].as_str()), (429, Some("slow_down")));
    stranger.log_in("alice", "a password", "").await.unwrap();
}

#[tokio::test]
async fn admins_change_accounts_and_one_of_them_stays() {
    let portal = TestPortal::start().await;
    let admin = portal.admin().await;
    let alice = portal.user(&admin, "alice", "viewer").await;
    assert_eq!(alice.get("/api/v1/users").await.0, 403);
    assert_eq!(alice.patch("/api/v1/users/alice", json!({ "role": "admin" })).await.0, 403);
    for last in [json!({ "role": "viewer" }), json!({ "banned": true })] {
        assert_eq!(admin.patch("/api/v1/users/admin", last).await.0, 409);
    }
    let change = json!({ "role": "admin", "groups": ["staff", "night shift"] });
    let (_, changed) = admin.patch("/api/v1/users/alice", change).await;
    assert_eq!((&changed["role"], &changed["groups"]), (&json!("admin"), &json!(["night shift", "staff"])));
    // At once, with the token that said otherwise.
    let (_, list) = alice.get("/api/v1/users").await;
    let names: Vec<_> = list["users"].as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["admin", "alice"]);
    assert_eq!(list["after"], Value::Null);
    assert_eq!(alice.patch("/api/v1/users/admin", json!({ "role": "viewer" })).await.0, 200);
    assert_eq!(admin.get("/api/v1/users").await.0, 403);
    for bad in [json!({ "groups": ["a/b"] }), json!({ "groups": ["everyone"] }), json!({ "rôle": "admin" })] {
        assert_eq!(alice.patch("/api/v1/users/admin", bad).await.0, 400);
    }
    assert_eq!(alice.patch("/api/v1/users/nobody", json!({ "banned": true })).await.0, 404);
}

#[tokio::test]
async fn a_new_password_ends_the_sessions_of_the_old_one() {
    let portal = TestPortal::start().await;
    let admin = portal.admin().await;
    let alice = portal.user(&admin, "alice", "viewer").await;
    let elsewhere = portal.client().signed_in("alice", "alice's password").await;
    let new = verifier("another password", ITERATIONS);
    assert_eq!(elsewhere.put("/api/v1/users/admin/verifier", new.clone()).await.0, 403);
    assert_eq!(alice.put("/api/v1/users/alice/verifier", new).await.0, 204);
    assert_eq!(alice.get("/api/v1/sessions").await.0, 200);
    assert_eq!(elsewhere.get("/api/v1/sessions").await.0, 401);
    assert_eq!(alice.log_in("alice", "alice's password", "").await.unwrap_err().0, 401);
    alice.log_in("alice", "another password", "").await.unwrap();
    assert_eq!(admin.put("/api/v1/users/alice/verifier", verifier("a third one", ITERATIONS)).await.0, 204);
    assert_eq!(alice.get("/api/v1/sessions").await.0, 401);
}

#[tokio::test]
async fn nonsense_is_refused_with_a_sentence() {
    let portal = TestPortal::start().await;
    let admin = portal.admin().await;
    assert_eq!(admin.get("/api/v1/nothing").await.0, 404);
    assert_eq!(admin.delete("/api/v1/users", None).await.0, 405);
    let token = format!("Bearer {}", admin.login.as_ref().unwrap().access_token);
    let post = async |path: &str, authorization: Option<&str>, body: Vec<u8>| {
        let answer = admin.raw(Method::POST, path, authorization, "application/json", body.into()).await;
        (answer.status().as_u16(), answer)
    };
    for body in [&b""[..], b"{", b"[]", b"\xff", &[b'['; 10_000]] {
        let (status, answer) = post("/api/v1/users", Some(&token), body.to_vec()).await;
        assert_eq!(status, 400, "{answer:?}");
        let body: Value = serde_json::from_slice(answer.body()).unwrap();
        assert_eq!(body["error"], "invalid_request");
        assert!(body["message"].as_str().unwrap().starts_with("the body is not what is expected"));
    }
    assert_eq!(post("/api/v1/users", Some(&token), vec![b' '; 2 << 20]).await.0, 413);
    for form in ["%", "a", "grant_type=refresh_token&refresh_token=x", "grant_type=password&username=a&password=b"] {
        assert_eq!(admin.form("/oauth/token", form).await.0, 400, "{form}");
    }
    let form = FormWriter::default().with("token", "x").finish();
    assert_eq!(admin.form("/oauth/introspect", &form).await.0, 401);

    for path in ["/api/v1/sessions?all=yes", "/api/v1/login?cookie=yes"] {
        let (status, body) = admin.get(path).await;
        assert_eq!((status.as_u16(), body["error"].as_str()), (400, Some("invalid_request")), "{path}");
    }
    for bad in ["Bearer", "Bearer a b", "Bearer x.y.z", "Basic YTpi", "SCRAM-SHA-256 data=====", ""] {
        let answer = admin.raw(Method::GET, "/api/v1/sessions", Some(bad), "", "".into()).await;
        assert!([400, 401].contains(&answer.status().as_u16()), "{bad}");
        let answer = admin.raw(Method::GET, "/api/v1/login", Some(bad), "", "".into()).await;
        assert!([400, 401].contains(&answer.status().as_u16()), "{bad}");
    }
    // RFC 6750 §3.1: who shows a bad token is told so, who shows none is not.
    let answer = admin.raw(Method::GET, "/api/v1/sessions", Some("Bearer x.y.z"), "", "".into()).await;
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap().to_owned();
    assert_eq!(BearerRefusal::read(&challenge), Ok(Some(BearerRefusal::InvalidToken)));
    let answer = admin.raw(Method::GET, "/api/v1/sessions", None, "", "".into()).await;
    assert_eq!(BearerRefusal::read(answer.headers()["www-authenticate"].to_str().unwrap()), Ok(None));

    // A first message that asks for what there is not.
    let client: PortalClient = portal.client();
    let (_, first) = Client::new("a".parse().unwrap(), Password::new("b").unwrap(), &chance());
    for message in [first.replace("n,,", "p=tls-unique,,"), first.replace("n,,", "n,a=admin,"), "hello".into()] {
        let header = ppsp_auth::scram::Authorization::First { realm: None, message }.to_string();
        let answer = client.raw(Method::GET, "/api/v1/login", Some(&header), "", "".into()).await;
        assert_eq!(answer.status(), 400);
    }
    assert_eq!(client.get("/healthz").await, (http::StatusCode::OK, "alive\n".into()));
    assert_eq!(client.get("/readyz").await, (http::StatusCode::OK, "ready\n".into()));
    let (_, metrics) = client.get("/metrics").await;
    let metrics = metrics.as_str().unwrap();
    assert!(metrics.contains("ppsp_portal_logins_total{end=\"done\"} 1"), "{metrics}");
    assert!(!metrics.contains("admin"));
}

#[tokio::test]
async fn the_audit_log_knows_who_did_what_and_no_secrets() {
    let portal = TestPortal::start().await;
    let admin = portal.admin().await;
    let alice = portal.user(&admin, "alice", "publisher").await;
    assert_eq!(alice.get("/api/v1/audit").await.0, 403);
    admin.patch("/api/v1/users/alice", json!({ "banned": true })).await;
    let (_, log) = admin.get("/api/v1/audit").await;
    let entries = log["entries"].as_array().unwrap();
    let said: Vec<_> = entries
        .iter()
        .map(|entry| format!("{} {}", entry["who"].as_str().unwrap(), entry["what"].as_str().unwrap()))
        .collect();
    // The newest first; those of one second in whatever order.
    let mut all = said.clone();
    all.sort();
    let expected = ["(portal) first start", "admin add user", "admin ban", "admin sign in", "alice sign in"];
    assert_eq!(all, expected);
    assert!(!log.to_string().contains("password"), "{log}");
    let after = log["after"].as_str().unwrap();
    assert_eq!(admin.get(&format!("/api/v1/audit?after={after}")).await.1["entries"], json!([]));
}
