//! `ppsp portal` as a process: its first start, its next one, its sudden end; and several processes as one Portal.

mod common;

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use common::{
    Place as Dir,
    portal::{PortalClient, PortalProcess, TestPortal, TestTracker, start_process, unix_now, verifier},
    postgres::Postgres,
};
use ppsp_auth::{introspection::Introspection, scram::Verifier, token::TRACKERS};
use ppsp_examples::portal::db::Place;
use rustix::process::Signal;
use serde_json::{Value, json};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

#[test]
fn secrets_are_told_once_and_an_admin_gets_in_again() {
    let dir = Dir::new();
    let mut portal = start_process(&dir, &[]);
    let first = portal.first.take().expect("the secrets");
    assert_eq!(first["admin"], "admin");
    assert_eq!(first["enrol_code"].as_str().unwrap().len(), 24);
    let password = first["password"].as_str().unwrap();
    runtime().block_on(async { portal.client().log_in("admin", password, "").await.unwrap() });
    portal.process.signal(Signal::TERM);
    let (code, said) = portal.process.end();
    assert_eq!(code, Some(130));
    assert!(!said.contains(password), "{said}");

    let again = start_process(&dir, &[]);
    assert_eq!((&again.first, &again.pin), (&None, &portal.pin));
    // Beside the running one.
    let reset = dir.run(["portal", "--data-dir", "portal", "--reset-admin", "--json"]);
    reset.succeeded();
    let new = reset.event("admin")["password"].as_str().unwrap().to_owned();
    runtime().block_on(async {
        assert_eq!(again.client().log_in("admin", password, "").await.unwrap_err().0, 401);
        again.client().log_in("admin", &new, "").await.unwrap();
    });
    let people = dir.run(["portal", "--data-dir", "portal", "--reset-admin"]);
    people.succeeded();
    assert!(people.stdout.is_empty() && people.stderr.contains("admin has the password"), "{people:?}");
}

#[test]
fn what_cannot_be_is_said() {
    let dir = Dir::new();
    std::fs::write(dir.path("file"), "").unwrap();
    let portal = |more: &[&str]| dir.run(["portal", "--listen", "127.0.0.1:0"].iter().chain(more));
    portal(&["--data-dir", "file"]).failed(1, &["file"]);
    portal(&["--data-dir", "d", "--tls-cert", "file"]).failed(2, &["--tls-key"]);
    portal(&["--data-dir", "d", "--public-url", "portal.example"]).failed(2, &["portal.example"]);
    portal(&["--data-dir", "d", "--public-url", "https://portal.example/path"]).failed(2, &["--public-url"]);
    portal(&["--data-dir", "d", "--database", "mysql://u:secret@localhost/d"]).failed(2, &["postgres://"]);
    let elsewhere = portal(&["--data-dir", "d", "--database", "postgres://u:secret@db.example/d?sslmode=disable"]);
    elsewhere.failed(2, &["with TLS"]);
    assert!(!elsewhere.stderr.contains("secret"));
    portal(&["--data-dir", "d", "--database", "postgres://u@%2Fno%2Fsuch/d"]).failed(3, &["database"]);
    let clear = dir.run(["portal", "--data-dir", "d", "--insecure-http", "--listen", "0.0.0.0:0"]);
    clear.failed(2, &["--insecure-http"]);
    // The file is somebody else's.
    std::fs::create_dir(dir.path("other")).unwrap();
    std::fs::write(dir.path("other/portal.db"), "not a database, but long enough to be one".repeat(99)).unwrap();
    portal(&["--data-dir", "other"]).failed(1, &["cannot be understood"]);
}

/// Kills a Portal while several clients write, again and again. What it had acknowledged is there afterwards.
#[test]
fn nothing_that_was_acknowledged_is_lost_when_the_process_is_killed() {
    const ROUNDS: usize = 6;
    let dir = Dir::new();
    // Tokens are good after a restart on another port as long as the Portal's name is the same.
    let url = ["--public-url", "https://portal.example"];
    let mut portal = start_process(&dir, &url);
    let password = portal.first.take().unwrap()["password"].as_str().unwrap().to_owned();
    // One verifier for all: to compute it takes longer than to write it a hundred times.
    let verifier = verifier("a password", Verifier::DEFAULT_ITERATIONS);
    let mut acknowledged = BTreeSet::new();
    let mut login = None;
    for round in 0..ROUNDS {
        runtime().block_on(async {
            if login.is_none() {
                login = Some(portal.client().log_in("admin", &password, "").await.unwrap());
            }
            let done = Arc::new(AtomicUsize::new(0));
            let tasks: Vec<_> = (0..4)
                .map(|task| {
                    let (mut client, verifier, done) = (portal.client(), verifier.clone(), Arc::clone(&done));
                    client.login = login.clone();
                    tokio::spawn(async move { write_until_it_dies(&client, round, task, &verifier, &done).await })
                })
                .collect();
            // At another moment each time: after so many answers, and somewhere in the writes that follow.
            let enough = 3 + round * 7;
            while done.load(Ordering::Relaxed) < enough {
                tokio::task::yield_now().await;
                tokio::time::sleep(std::time::Duration::from_micros(200)).await;
            }
            portal.process.signal(Signal::KILL);
            for task in tasks {
                acknowledged.extend(task.await.unwrap());
            }
        });
        assert!(acknowledged.len() >= 3, "somebody was answered");
        // As SQLite itself sees it, before the Portal looks at it again.
        let file = rusqlite::Connection::open(dir.path("portal/portal.db")).unwrap();
        let sound: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(sound, "ok");
        drop(file);
        portal = start_process(&dir, &url);
        assert_eq!(portal.first, None);
        let there = runtime().block_on(all_users(&portal, login.clone()));
        let lost: Vec<_> = acknowledged.difference(&there).collect();
        assert!(lost.is_empty(), "round {round}: {lost:?}");
    }
}

/// Makes accounts until nobody answers; those of which that was said.
async fn write_until_it_dies(
    client: &PortalClient,
    round: usize,
    task: usize,
    verifier: &Value,
    done: &AtomicUsize,
) -> Vec<String> {
    let mut acknowledged = Vec::new();
    for i in 0.. {
        let name = format!("user-{round}-{task}-{i}");
        let Some(status) = client.try_post("/api/v1/users", json!({ "name": name, "verifier": verifier })).await else {
            break;
        };
        assert_eq!(status, 201);
        acknowledged.push(name);
        done.fetch_add(1, Ordering::Relaxed);
    }
    acknowledged
}

async fn all_users(portal: &PortalProcess, login: Option<common::portal::Login>) -> BTreeSet<String> {
    let mut client = portal.client();
    client.login = login;
    let (mut all, mut after) = (BTreeSet::new(), String::new());
    loop {
        let (status, list) = client.get(&format!("/api/v1/users?after={after}")).await;
        assert_eq!(status, 200, "{list}");
        let names = list["users"].as_array().unwrap().iter().map(|user| user["name"].as_str().unwrap().to_owned());
        all.extend(names);
        match list["after"].as_str() {
            Some(name) => after = name.to_owned(),
            None => return all,
        }
    }
}

#[test]
fn two_processes_over_one_postgresql_are_one_portal() {
    let Some(server) = Postgres::shared() else { return };
    let place = Place::server(&server.database("one_portal"), None).unwrap();
    runtime().block_on(async {
        let choose = |config: &mut ppsp_examples::portal::PortalConfig| {
            config.public_url = Some("https://portal.example".into());
        };
        // Both find an empty database, and one of them makes the Portal.
        let (mut a, mut b) =
            tokio::join!(TestPortal::start_at(place.clone(), choose), TestPortal::start_at(place, choose));
        assert!(a.password.is_empty() != b.password.is_empty());
        if a.password.is_empty() {
            std::mem::swap(&mut a, &mut b);
        }
        assert_eq!(a.portal.issuer(), "https://portal.example");
        assert_eq!(a.client().get("/.well-known/jwks.json").await, b.client().get("/.well-known/jwks.json").await);

        // An exchange that begins at one ends at the other, once.
        let (scram, sid, message) = a.client().challenge("admin", &a.password).await.unwrap();
        let (_, last) = scram.prove(&message).unwrap();
        assert_eq!(b.client().log_in_finally(&sid, last.clone(), "").await.status(), 200);
        assert_eq!(a.client().log_in_finally(&sid, last, "").await.status(), 401);

        // Accounts, content and policies of one are those of the other.
        let admin = a.admin().await;
        let mut alice = a.user(&admin, "alice", "viewer").await;
        let mut elsewhere = b.client();
        elsewhere.login = alice.login.clone();
        assert_eq!(elsewhere.get("/api/v1/sessions").await.0, 200);
        let (film, swarm) = admin.publish("film", "films").await;
        admin.put(&format!("/api/v1/content/{film}/policies"), json!({ "user": "alice" })).await;
        assert_eq!(elsewhere.get(&format!("/api/v1/content/{film}")).await.0, 200);

        // A refresh token that was replaced at one is old at the other.
        let first = alice.login.as_ref().unwrap().refresh_token.clone();
        let token = elsewhere.tracker_token(&[&film]).await;
        alice.login.as_mut().unwrap().refresh_token = elsewhere.login.as_ref().unwrap().refresh_token.clone();
        assert_eq!(alice.refresh(None, &[]).await.0, 200);

        // A tracker that enrolled at one asks the other, and learns at once of what happened at the first.
        let tracker = TestTracker::enrol(&a, "https://tracker.example/", Some(&a.enrol_code)).await.at(&b);
        assert!(matches!(tracker.introspect(&token, &[&swarm]).await, Ok(Introspection::Active(_))));
        alice.login.as_mut().unwrap().refresh_token = first;
        assert_eq!(alice.refresh(Some(TRACKERS), &[]).await.1["error"], "invalid_grant");
        assert_eq!(tracker.introspect(&token, &[&swarm]).await, Ok(Introspection::Inactive));
        assert_eq!(elsewhere.get("/api/v1/sessions").await.0, 401);

        // All at the same time: nothing is in anybody's way for long.
        let made: Vec<_> = (0..12)
            .map(|i| {
                let mut client = if i % 2 == 0 { a.client() } else { b.client() };
                client.login = admin.login.clone();
                tokio::spawn(async move { client.add_user(&format!("user-{i}"), "viewer").await })
            })
            .collect();
        for one in made {
            one.await.unwrap();
        }
        let (_, list) = admin.get("/api/v1/users").await;
        assert_eq!(list["users"].as_array().unwrap().len(), 14);
        a.portal.keep_house().await.unwrap();
        b.portal.keep_house().await.unwrap();
        assert!(admin.get("/api/v1/audit").await.1["entries"][0]["at"].as_u64().unwrap() <= unix_now());
    });
}

#[test]
fn a_database_that_is_away_is_waited_for() {
    let Some(mut server) = Postgres::start() else { return };
    let place = Place::server(&server.database("away"), None).unwrap();
    runtime().block_on(async {
        let portal = TestPortal::start_at(place, |_| {}).await;
        let admin = portal.admin().await;
        server.kill();
        // Its other processes go on until they notice.
        let begun = std::time::Instant::now();
        let (status, body) = loop {
            match admin.get("/api/v1/users").await {
                (status, _) if status == 200 && begun.elapsed() < common::PATIENCE => {}
                other => break other,
            }
        };
        assert_eq!((status.as_u16(), body["error"].as_str()), (503, Some("temporarily_unavailable")));
        assert_eq!(admin.get("/readyz").await.0, 503);
        assert_eq!(admin.get("/healthz").await.0, 200);
        let (status, body) = admin.form("/oauth/token", "grant_type=refresh_token&refresh_token=x").await;
        assert_eq!((status.as_u16(), body["error"].as_str()), (400, Some("invalid_grant")), "no database is needed");
        let form = format!("grant_type=refresh_token&refresh_token={}", admin.login.as_ref().unwrap().refresh_token);
        let (status, body) = admin.form("/oauth/token", &form).await;
        assert_eq!((status.as_u16(), body["error"].as_str()), (503, Some("temporarily_unavailable")));
        server.start_again();
        assert_eq!(admin.get("/readyz").await.0, 200);
        assert_eq!(admin.get("/api/v1/users").await.0, 200);
        assert_eq!(admin.form("/oauth/token", &form).await.0, 200);
    });
}
