//! The Portal's database: the same tests on SQLite and on PostgreSQL.

mod common;

use common::{Place as Dir, postgres::Postgres};
use ppsp_auth::{
    Password, Secret, UserName,
    policy::{Effect, Policy, What, Who},
    scram::{Once, Verifier},
    token::{RefreshState, RefreshToken, Role},
};
use ppsp_core::Identifier;
use ppsp_examples::http::Pin;
use ppsp_examples::portal::db::{
    Db, DbError, Place, audit,
    content::{self, Content, Search},
    logins, policies,
    sessions::{self, Session},
    settings::{self, Setting},
    signing_keys,
    trackers::{self, State, Tracker},
    users,
};

/// Runs a test with an empty database of each kind.
fn with_both<F: Future<Output = ()>>(name: &str, test: impl Fn(Db) -> F) {
    let dir = Dir::new();
    let server = Postgres::shared();
    let on_server = server.as_ref().map(|server| Place::server(&server.database(name), None).unwrap());
    for place in [Some(Place::File(dir.path("db"))), on_server].into_iter().flatten() {
        runtime().block_on(async { test(Db::open(place).await.unwrap()).await });
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn name(text: &str) -> UserName {
    text.parse().unwrap()
}

fn verifier(salt: u8) -> Verifier {
    Verifier::new(&Password::new("correct horse").unwrap(), [salt; 16], 4096).unwrap()
}

fn piece(id: &str, title: &str, group: &str, publisher: &str) -> Content {
    Content {
        id: id.into(),
        title: title.into(),
        group: group.into(),
        publisher: publisher.into(),
        length: Some(7),
        created: 5,
    }
}

async fn with_users(db: &Db, names: &'static [&'static str]) {
    db.write(move |tx| {
        for user in names {
            assert!(users::add(tx, &name(user), Role::Viewer, &verifier(1), 5)?);
        }
        Ok::<_, DbError>(())
    })
    .await
    .unwrap();
}

#[test]
fn users_and_their_groups() {
    with_both("users", |db| async move {
        with_users(&db, &["alice", "bob", "z-last"]).await;
        let changed = db.write(|tx| {
            assert!(!users::add(tx, &name("alice"), Role::Admin, &verifier(2), 6)?);
            users::set_role(tx, &name("bob"), Role::Admin)?;
            users::set_groups(tx, &name("bob"), &["staff".into(), "night".into(), "staff".into()])?;
            users::set_banned(tx, &name("z-last"), true)?;
            users::set_verifier(tx, &name("alice"), &verifier(3))
        });
        changed.await.unwrap();
        let read = db.read(|tx| {
            assert_eq!(users::verifier(tx, &name("alice"))?, Some(verifier(3)));
            assert_eq!(users::verifier(tx, &name("nobody"))?, None);
            assert_eq!(users::find(tx, &name("nobody"))?, None);
            let bob = users::find(tx, &name("bob"))?.unwrap();
            assert_eq!((bob.role, bob.banned, bob.created), (Role::Admin, false, 5));
            assert_eq!(bob.groups, ["night", "staff"]);
            let names = |list: Vec<users::User>| list.into_iter().map(|user| user.name.to_string()).collect::<Vec<_>>();
            assert_eq!(names(users::list(tx, "", 2)?), ["alice", "bob"]);
            assert_eq!(names(users::list(tx, "bob", 2)?), ["z-last"]);
            assert_eq!(users::admins(tx)?, 1);
            Ok::<_, DbError>(())
        });
        read.await.unwrap();
    });
}

#[test]
fn a_transaction_that_fails_leaves_nothing() {
    with_both("transactions", |db| async move {
        let failed: Result<(), DbError> = db
            .write(|tx| {
                users::add(tx, &name("alice"), Role::Viewer, &verifier(1), 5)?;
                Err(DbError::Content)
            })
            .await;
        assert_eq!(failed, Err(DbError::Content));
        assert_eq!(db.read(|tx| users::find(tx, &name("alice"))).await, Ok(None));
        // Who only reads cannot write.
        let written = db.read(|tx| users::add(tx, &name("alice"), Role::Viewer, &verifier(1), 5)).await;
        assert!(written.is_err(), "{written:?}");
        assert_eq!(db.read(|tx| users::find(tx, &name("alice"))).await, Ok(None));
    });
}

#[test]
fn content_and_who_may_look_for_it() {
    with_both("content", |db| async move {
        with_users(&db, &["alice", "media"]).await;
        let made = db.write(|tx| {
            content::add(tx, &piece("01", "Über 100% snow", "winter", "media"), b"<a/>", &["aa".into(), "bb".into()])?;
            content::add(tx, &piece("02", "Sand_storm", "summer", "media"), b"<b/>", &["bb".into()])?;
            content::add(tx, &piece("03", "Snow again", "summer", "alice"), b"<c/>", &[])?;
            let policy = |who, what, effect| Policy { who, what, effect, from: Some(3), until: None };
            policies::put(tx, &policy(Who::User("alice".into()), What::Content("02".into()), Effect::Deny))?;
            policies::put(tx, &policy(Who::Group("skiers".into()), What::Group("winter".into()), Effect::Allow))
        });
        made.await.unwrap();
        let search = |words: &str, user: Option<&str>, groups: &[&str]| Search {
            words: words.into(),
            group: String::new(),
            user: user.map(name),
            groups: groups.iter().map(|&group| group.into()).collect(),
        };
        let found = async |what: Search, before: &'static str, most| {
            let found = db.read(move |tx| content::search(tx, &what, before, most)).await.unwrap();
            found.into_iter().map(|content| content.id).collect::<Vec<_>>()
        };
        assert_eq!(found(search("", None, &[]), "", 2).await, ["03", "02"]);
        assert_eq!(found(search("", None, &[]), "02", 2).await, ["01"]);
        assert_eq!(found(search("snow", None, &[]), "", 9).await, ["03", "01"]);
        assert_eq!(found(search("über", None, &[]), "", 9).await, ["01"]);
        assert_eq!(found(search("summer", None, &[]), "", 9).await, ["03", "02"]);
        // What has a meaning in patterns has none here.
        assert_eq!(found(search("0%", None, &[]), "", 9).await, ["01"]);
        assert_eq!(found(search("d_s", None, &[]), "", 9).await, ["02"]);
        assert_eq!(found(search("n_w", None, &[]), "", 9).await, [""; 0]);
        assert_eq!(found(search("!", None, &[]), "", 9).await, [""; 0]);
        let of_group = |user, groups: &[&str]| Search { group: "winter".into(), ..search("", user, groups) };
        assert_eq!(found(of_group(None, &[]), "", 9).await, ["01"]);
        assert_eq!(found(of_group(Some("alice"), &[]), "", 9).await, [""; 0]);
        assert_eq!(found(of_group(Some("alice"), &["skiers"]), "", 9).await, ["01"]);
        // Own content, and what is allowed to a group that is named in full.
        assert_eq!(found(search("", Some("alice"), &[]), "", 9).await, ["03"]);
        assert_eq!(found(search("", Some("alice"), &["ski", "ers"]), "", 9).await, ["03"]);
        assert_eq!(found(search("", Some("alice"), &["night", "skiers"]), "", 9).await, ["03", "01"]);

        let rest = db.write(|tx| {
            assert_eq!(content::swarms(tx, "01")?, ["aa", "bb"]);
            let with = content::with_swarm(tx, "bb")?;
            assert_eq!(with.iter().map(|content| &*content.id).collect::<Vec<_>>(), ["01", "02"]);
            assert_eq!(content::descriptor(tx, "01")?.as_deref(), Some(&b"<a/>"[..]));
            assert_eq!(content::groups(tx, 9)?, ["summer", "winter"]);
            assert_eq!(content::group_sizes(tx, 9)?, [("summer".into(), 2), ("winter".into(), 1)]);
            assert_eq!(content::groups_for(tx, &name("alice"), &[], 9)?, ["summer"]);
            assert_eq!(content::groups_for(tx, &name("alice"), &["skiers".into()], 9)?, ["summer", "winter"]);
            assert_eq!(policies::groups(tx, 9)?, [("winter".into(), 1)]);
            assert_eq!(content::published_by(tx, &name("media"))?, 2);
            let about = policies::about(tx, &What::Content("02".into()))?;
            assert_eq!((about.len(), about[0].effect, about[0].from), (1, Effect::Deny, Some(3)));
            // The same pair again replaces it.
            policies::put(tx, &Policy { effect: Effect::Allow, until: Some(9), ..about[0].clone() })?;
            let of = policies::of(tx, &Who::User("alice".into()))?;
            assert_eq!((of.len(), of[0].effect, of[0].until), (1, Effect::Allow, Some(9)));
            assert_eq!(policies::count(tx, &Who::User("alice".into()))?, 1);
            assert!(policies::remove(tx, &Who::Group("skiers".into()), &What::Group("winter".into()))?);
            assert!(!policies::remove(tx, &Who::Group("skiers".into()), &What::Group("winter".into()))?);
            // Content takes with it what was said about it.
            assert!(content::remove(tx, "02")? && !content::remove(tx, "02")?);
            assert_eq!(policies::count(tx, &Who::User("alice".into()))?, 0);
            assert_eq!(content::with_swarm(tx, "bb")?.len(), 1);
            assert_eq!((content::find(tx, "02")?, content::descriptor(tx, "02")?), (None, None));
            assert_eq!(content::find(tx, "01")?, Some(piece("01", "Über 100% snow", "winter", "media")));
            Ok::<_, DbError>(())
        });
        rest.await.unwrap();
    });
}

#[test]
fn sessions_from_login_to_oblivion() {
    with_both("sessions", |db| async move {
        with_users(&db, &["alice", "bob"]).await;
        let (first, second) = (RefreshToken::first(&[1; 32]), RefreshToken::first(&[2; 32]));
        let session = |id: u128, user, created| Session {
            id,
            user: name(user),
            client: Identifier::from_bytes([id as u8; 12]),
            created,
            seen: created,
            revoked: None,
        };
        let test = db.write(move |tx| {
            let state = RefreshState::new(&first, 10);
            sessions::add(tx, &session(1, "alice", 10), &first.session_key(), &state)?;
            sessions::add(
                tx,
                &session(u128::MAX, "alice", 11),
                &second.session_key(),
                &RefreshState::new(&second, 11),
            )?;
            assert_eq!(sessions::find(tx, u128::MAX)?, Some(session(u128::MAX, "alice", 11)));
            assert_eq!(sessions::of_refresh_key(tx, &first.session_key())?, Some((session(1, "alice", 10), state)));
            assert_eq!(sessions::of_refresh_key(tx, "other")?, None);
            let next = RefreshState { previous: Some([9; 32]), repeated: true, rotated: 12, ..state };
            sessions::refresh(tx, 1, &next, 12)?;
            let (found, kept) = sessions::of_refresh_key(tx, &first.session_key())?.unwrap();
            assert_eq!((found.seen, kept), (12, next));
            let ids = |list: Vec<Session>| list.into_iter().map(|session| session.id).collect::<Vec<_>>();
            assert_eq!(ids(sessions::of_user(tx, &name("alice"), 9)?), [u128::MAX, 1]);
            assert_eq!(ids(sessions::of_user(tx, &name("alice"), 1)?), [u128::MAX]);
            assert!(sessions::revoke(tx, 1, 13)? && !sessions::revoke(tx, 1, 14)?);
            assert_eq!(sessions::find(tx, 1)?.unwrap().revoked, Some(13));
            assert_eq!(ids(sessions::all(tx, 9)?), [u128::MAX]);
            assert_eq!(sessions::revoke_all(tx, &name("alice"), 14)?, 1);
            assert_eq!(sessions::revoke_all(tx, &name("bob"), 14)?, 0);
            assert_eq!(sessions::forget(tx, 12)?, 1);
            assert!(sessions::find(tx, 1)?.is_some());
            let once = Once { id: [7; 16], expires_unix_s: 20 };
            assert!(logins::use_once(tx, &once)? && !logins::use_once(tx, &once)?);
            assert_eq!((logins::forget(tx, 20)?, logins::forget(tx, 21)?), (0, 1));
            assert!(logins::use_once(tx, &once)?);
            Ok::<_, DbError>(())
        });
        test.await.unwrap();
    });
}

#[test]
fn trackers_keys_settings_and_the_audit_log() {
    with_both("others", |db| async move {
        let tracker = |id: &str, state, created| Tracker {
            id: id.into(),
            url: format!("https://{id}"),
            name: "t".into(),
            jwk: "{}".into(),
            state,
            created,
        };
        let test = db.write(move |tx| {
            trackers::put(tx, &tracker("a", State::Pending, 5))?;
            trackers::put(tx, &tracker("b", State::Pending, 4))?;
            trackers::put(tx, &tracker("a", State::Approved, 9))?;
            assert_eq!(trackers::find(tx, "a")?, Some(tracker("a", State::Approved, 5)));
            assert_eq!(trackers::all(tx)?.len(), 2);
            assert_eq!(trackers::all(tx)?[0].id, "b");
            assert_eq!((trackers::count(tx, State::Pending)?, trackers::forget_pending(tx, 9)?), (1, 1));

            signing_keys::add(tx, &Secret::new([1; 32]), 0)?;
            signing_keys::add(tx, &Secret::new([2; 32]), 7)?;
            let keys = signing_keys::all(tx)?;
            assert_eq!(keys.iter().map(|(_, from)| *from).collect::<Vec<_>>(), [0, 7]);
            signing_keys::forget(tx, keys[0].0.id())?;
            assert_eq!(signing_keys::all(tx)?.len(), 1);

            assert_eq!(settings::find(tx, Setting::Key)?, None);
            settings::put(tx, Setting::Key, b"1")?;
            settings::put(tx, Setting::Key, b"2")?;
            assert_eq!(settings::find(tx, Setting::Key)?, Some(b"2".to_vec()));
            assert_eq!(settings::find(tx, Setting::EnrolCode)?, None);

            for at in 0..6 {
                audit::add(tx, at, "alice", "ban", &at.to_string())?;
            }
            let newest = audit::list(tx, "", "", "", 2)?;
            assert_eq!(newest.iter().map(|entry| entry.at).collect::<Vec<_>>(), [5, 4]);
            assert_eq!(audit::list(tx, "", "", &newest[1].id, 1)?[0].about, "3");
            let of = |tx: &mut _, who, what| {
                Ok::<_, DbError>(audit::list(tx, who, what, "", 9)?.iter().map(|entry| entry.at).collect::<Vec<_>>())
            };
            assert_eq!(of(tx, "alice", "ban")?, [5, 4, 3, 2, 1, 0]);
            assert_eq!((of(tx, "bob", "")?, of(tx, "", "unban")?), (vec![], vec![]));
            audit::forget(tx, 1, 3)?;
            assert_eq!(audit::list(tx, "", "", "", 9)?.iter().map(|entry| entry.at).collect::<Vec<_>>(), [5, 4, 3]);
            Ok::<_, DbError>(())
        });
        test.await.unwrap();
    });
}

async fn count(node: &Db) -> Result<(), DbError> {
    let write = node.write(|tx| {
        let count = settings::find(tx, Setting::PublicUrl)?.map_or(0, |bytes| bytes[0]);
        settings::put(tx, Setting::PublicUrl, &[count + 1])
    });
    write.await
}

#[test]
fn several_may_open_an_empty_database_and_write_at_the_same_time() {
    let dir = Dir::new();
    let server = Postgres::shared();
    let on_server = server.as_ref().map(|server| Place::server(&server.database("together"), None).unwrap());
    for place in [Some(Place::File(dir.path("db"))), on_server].into_iter().flatten() {
        runtime().block_on(async {
            let (a, b, c) = tokio::join!(Db::open(place.clone()), Db::open(place.clone()), Db::open(place));
            let nodes = [a.unwrap(), b.unwrap(), c.unwrap()];
            // Each adds one to what it read. None of that is lost, whoever was in the way of whom.
            for _ in 0..5 {
                let (a, b, c) = tokio::join!(count(&nodes[0]), count(&nodes[1]), count(&nodes[2]));
                a.and(b).and(c).unwrap();
            }
            let count = nodes[0].read(|tx| settings::find(tx, Setting::PublicUrl)).await;
            assert_eq!(count, Ok(Some(vec![15])));
        });
    }
}

#[test]
fn connections_that_died_are_replaced() {
    let Some(server) = Postgres::shared() else { return };
    let url = server.database("dying");
    let place = Place::server(&url, None).unwrap();
    runtime().block_on(async {
        let db = Db::open(place).await.unwrap();
        db.write(|tx| settings::put(tx, Setting::Key, b"1")).await.unwrap();
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()";
        client.batch_execute(others).await.unwrap();
        assert_eq!(db.read(|tx| settings::find(tx, Setting::Key)).await, Ok(Some(b"1".to_vec())));
    });
}

/// As on another machine: with TLS, and with nobody else.
#[test]
fn a_server_that_is_far_away_proves_itself() {
    let Some((server, url, pin)) = Postgres::start_with_tls() else { return };
    runtime().block_on(async {
        let open = |pin: Option<Pin>| Db::open(Place::server(&url, pin).unwrap());
        let db = open(Some(pin)).await.unwrap();
        db.write(|tx| settings::put(tx, Setting::Key, b"1")).await.unwrap();
        for other in [None, Some(Pin::NONE)] {
            assert!(matches!(open(other).await, Err(DbError::Away(_))), "{other:?}");
        }
    });
    drop(server);
}

#[test]
fn a_database_of_the_future_is_refused() {
    let dir = Dir::new();
    let path = dir.path("db");
    runtime().block_on(async {
        drop(Db::open(Place::File(path.clone())).await.unwrap());
        let file = rusqlite::Connection::open(&path).unwrap();
        file.execute("INSERT INTO schema_steps (step) VALUES (1000)", []).unwrap();
        assert_eq!(Db::open(Place::File(path)).await.err(), Some(DbError::Newer));
        assert!(matches!(Db::open(Place::File(dir.path("no/such/dir"))).await, Err(DbError::Away(_))));
        std::fs::write(dir.path("text"), "not a database, but long enough to be looked at".repeat(99)).unwrap();
        assert_eq!(Db::open(Place::File(dir.path("text"))).await.err(), Some(DbError::Content));
    });
}
