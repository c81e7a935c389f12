//! `ppsp tracker` as a process: its doors, its Portal, and what strangers may do to it.

mod common;

use std::{fs, sync::Arc};

use bytes::Bytes;
use common::{
    PATIENCE, Place, Ppsp,
    portal::{PortalClient, PortalProcess, chance, start_process, verifier},
};
use http::{Request, Response, header};
use ppsp_auth::{Password, digest::DigestClient, scram::Verifier};
use ppsp_core::Identifier;
use ppsp_examples::{
    http::{HttpClient, Pin, Trust},
    tracker::doors::{CLIENT_HEADER, Digest},
};
use ppsp_tracker_proto::message::{
    Action, AddrKind, Code, Connect, Find, MEDIA_TYPE, PeerAddr, PeerMode, PeerNum, RequestData, Response as Pptsp,
    SwarmAction,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// A tracker, and what it said: its address, its pin.
struct Tracker {
    process: Ppsp,
    url: String,
    pin: Option<String>,
    id: String,
}

impl Tracker {
    /// Starts one with its data in the directory `tracker` of this place.
    fn start(place: &Place, more: &[&str], enrol_code: Option<&str>) -> Self {
        let args = ["tracker", "--json", "--data-dir", "tracker", "--listen", "127.0.0.1:0"];
        let mut command = place.command(args.iter().chain(more));
        command.envs(enrol_code.map(|code| ("PPSP_ENROL_CODE", code)));
        let mut process = Ppsp::start(command);
        let said = process.event("tracker");
        let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
        Self { process, url: text("url"), pin: said["pin"].as_str().map(str::to_owned), id: text("id") }
    }

    /// One that asks this Portal, and is let in.
    fn of(portal: &PortalProcess, place: &Place) -> Self {
        let code = portal.first.as_ref().unwrap()["enrol_code"].as_str().unwrap();
        let mut tracker = Self::start(place, &["--portal", &portal.url, "--pin", &portal.pin], Some(code));
        tracker.process.event("ready");
        tracker
    }

    fn client(&self) -> HttpClient {
        let trust = self.pin.as_ref().map_or(Trust::System, |pin| Trust::Pin(pin.parse().unwrap()));
        HttpClient::new(&self.url, trust, true).unwrap()
    }

    async fn get(&self, path: &str) -> (u16, String) {
        let answer = self.client().send(Request::get(path).body(Bytes::new()).unwrap()).await.unwrap();
        (answer.status().as_u16(), String::from_utf8_lossy(answer.body()).into_owned())
    }

    /// The value of a counter.
    async fn count(&self, name: &str) -> u64 {
        let (_, page) = self.get("/metrics").await;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name}: {page}")).parse().unwrap()
    }
}

/// Somebody who asks a tracker.
struct Peer {
    http: HttpClient,
    /// How it says who it is.
    shows: Option<(&'static str, String)>,
    /// How it is called: first the client identifier, then the one that was assigned.
    id: String,
    transactions: u32,
}

/// The HTTP status, the error code, the assigned identifier, and how many peers were told.
type Answer = (u16, Code, Option<String>, usize);

impl Peer {
    fn new(tracker: &Tracker, id: &str, shows: Option<(&'static str, String)>) -> Self {
        Self { http: tracker.client(), shows, id: id.to_owned(), transactions: 0 }
    }

    /// With a token for trackers that opens all that this user may see.
    async fn signed_in(tracker: &Tracker, portal: &mut PortalClient) -> Self {
        let token = portal.tracker_token(&[]).await;
        let id = portal.login.as_ref().unwrap().client_id.clone();
        Self::new(tracker, &id, Some(("authorization", format!("Bearer {token}"))))
    }

    async fn join(&mut self, swarm: &str, mode: PeerMode) -> Answer {
        let addr = PeerAddr {
            ip: [127, 0, 0, 1].into(),
            port: 6778,
            priority: 1,
            kind: Some(AddrKind::Host.into()),
            connection: None,
            asn: None,
            peer_protocol: None,
        };
        let action = SwarmAction { swarm_id: swarm.into(), action: Action::Join.into(), peer_mode: mode.into() };
        let peer_num = Some(PeerNum { peer_count: Some(5), ..PeerNum::default() });
        let answer =
            self.ask(RequestData::Connect(Connect { peer_num, addrs: vec![addr], actions: vec![action] })).await;
        if let Some(id) = &answer.2 {
            self.id.clone_from(id);
        }
        answer
    }

    async fn find(&mut self, swarm: &str) -> Answer {
        self.ask(RequestData::Find(Find { swarm_id: swarm.into(), peer_num: None })).await
    }

    async fn ask(&mut self, data: RequestData<'_>) -> Answer {
        let answer = self.send(data).await;
        let read = Pptsp::read(answer.body()).unwrap_or_else(|e| panic!("{e:?}: {answer:?}"));
        assert_eq!(answer.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
        let told = read.results.iter().map(|result| result.peers.as_ref().map_or(0, Vec::len)).sum();
        (answer.status().as_u16(), read.code, read.peer_id.map(|id| id.into_owned()), told)
    }

    async fn send(&mut self, data: RequestData<'_>) -> Response<Bytes> {
        self.transactions += 1;
        let request = ppsp_tracker_proto::message::Request {
            transaction_id: self.transactions.to_string().into(),
            peer_id: self.id.as_str().into(),
            data,
            unknown: Default::default(),
        };
        let mut body = Vec::new();
        request.write(&mut body);
        let mut request = Request::post("/video_1").header(header::CONTENT_TYPE, MEDIA_TYPE);
        if let Some((name, value)) = &self.shows {
            request = request.header(*name, value);
        }
        self.http.send(request.body(body.into()).unwrap()).await.unwrap()
    }
}

fn ok(answer: &Answer) -> bool {
    (answer.0, answer.1) == (200, Code::OK)
}

fn refused(answer: &Answer, status: u16, code: Code) -> bool {
    (answer.0, answer.1) == (status, code)
}

async fn until<F: Future<Output = bool>>(what: &str, mut is: impl FnMut() -> F) {
    let end = std::time::Instant::now() + PATIENCE;
    while !is().await {
        assert!(std::time::Instant::now() < end, "not in time: {what}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// A Portal with one content that everybody may see, and another one that nobody else may: their swarms.
async fn with_content(portal: &PortalProcess) -> (PortalClient, String, String) {
    let password = portal.first.as_ref().unwrap()["password"].as_str().unwrap();
    let admin = portal.client().signed_in("admin", password).await;
    let (open, swarm) = admin.publish("Big Buck Bunny", "films").await;
    let (_, other) = admin.publish("Rushes", "films").await;
    let (status, said) = admin.put(&format!("/api/v1/content/{open}/policies"), json!({ "group": "everyone" })).await;
    assert_eq!(status, 204, "{said}");
    (admin, swarm, other)
}

async fn user(portal: &PortalProcess, admin: &PortalClient, name: &str) -> PortalClient {
    let verifier = verifier(&format!("{name}'s password"), Verifier::DEFAULT_ITERATIONS);
    let (status, said) = admin.post("/api/v1/users", json!({ "name": name, "verifier": verifier })).await;
    assert_eq!(status, 201, "{said}");
    portal.client().signed_in(name, &format!("{name}'s password")).await
}

#[test]
fn a_token_opens_its_swarms_until_its_user_is_banned() {
    let place = Place::new();
    let portal = start_process(&place, &[]);
    let tracker = Tracker::of(&portal, &place);
    runtime().block_on(async {
        let (mut admin, swarm, other) = with_content(&portal).await;
        let (mut alice, mut bob) = (user(&portal, &admin, "alice").await, user(&portal, &admin, "bob").await);
        let mut seed = Peer::signed_in(&tracker, &mut admin).await;
        let client = seed.id.clone();
        let joined = seed.join(&swarm, PeerMode::Seeder).await;
        assert!(ok(&joined) && seed.id != client, "{joined:?}");
        assert!(seed.id.parse::<Identifier>().is_ok());

        // The media server is in the list of who comes next.
        let mut first = Peer::signed_in(&tracker, &mut alice).await;
        let joined = first.join(&swarm, PeerMode::Leech).await;
        assert!(ok(&joined) && joined.3 == 1, "{joined:?}");
        assert!(ok(&first.find(&swarm).await));
        // What the token does not grant; an identifier of one's own making; another client's.
        assert!(refused(&first.join(&other, PeerMode::Leech).await, 403, Code::FORBIDDEN));
        let mut second = Peer::signed_in(&tracker, &mut bob).await;
        let own = second.id.clone();
        for id in ["MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAw", "656164657221", &first.id, &client] {
            second.id = id.to_owned();
            assert!(refused(&second.join(&swarm, PeerMode::Leech).await, 403, Code::FORBIDDEN), "{id}");
        }
        second.id = own;
        let joined = second.join(&swarm, PeerMode::Leech).await;
        assert!(ok(&joined) && joined.3 == 2, "{joined:?}");

        // No token, a false one, one for the Portal.
        let shown = [
            None,
            Some("Bearer e30.e30.AAAA".to_owned()),
            Some(format!("Bearer {}", bob.login.as_ref().unwrap().access_token)),
        ];
        for shown in shown {
            let mut nobody = Peer::new(&tracker, &second.id, shown.clone().map(|shown| ("authorization", shown)));
            let answer = nobody.send(RequestData::Find(Find { swarm_id: swarm.as_str().into(), peer_num: None })).await;
            assert_eq!(answer.status(), 401);
            let challenge = answer.headers()[header::WWW_AUTHENTICATE].to_str().unwrap();
            assert!(challenge.starts_with("Bearer realm="), "{challenge}");
            assert_eq!(challenge.contains("invalid_token"), shown.is_some(), "{challenge}");
        }

        // The membership of a banned client ends, however silent it is.
        assert_eq!(tracker.count("ppsp_tracker_peers").await, 3);
        assert_eq!(admin.patch("/api/v1/users/bob", json!({ "banned": true })).await.0, 200);
        until("bob is out", || async { tracker.count("ppsp_tracker_peers").await == 2 }).await;
        assert!(refused(&second.find(&swarm).await, 401, Code::AUTHENTICATION_REQUIRED));
        assert!(ok(&first.find(&swarm).await));
    });
}

#[test]
fn without_the_portal_tokens_are_served_by_their_signatures() {
    let place = Place::new();
    let portal = start_process(&place, &[]);
    let tracker = Tracker::of(&portal, &place);
    runtime().block_on(async {
        let (mut admin, swarm, other) = with_content(&portal).await;
        let mut alice = user(&portal, &admin, "alice").await;
        let mut known = Peer::signed_in(&tracker, &mut admin).await;
        assert!(ok(&known.join(&swarm, PeerMode::Seeder).await));
        let mut fresh = Peer::signed_in(&tracker, &mut alice).await;
        portal.process.kill();

        assert!(ok(&known.find(&swarm).await));
        // A sound token that the tracker has never seen, and one that nobody signed.
        assert!(ok(&fresh.join(&swarm, PeerMode::Leech).await));
        assert!(refused(&fresh.join(&other, PeerMode::Leech).await, 403, Code::FORBIDDEN));
        let mut forged = fresh.shows.clone().unwrap();
        forged.1.truncate(forged.1.len() - 20);
        forged.1.push_str(&"A".repeat(20));
        let mut stranger = Peer::new(&tracker, &fresh.id, Some(forged));
        assert!(refused(&stranger.find(&swarm).await, 401, Code::AUTHENTICATION_REQUIRED));
        assert!(tracker.count("ppsp_tracker_introspections_failed_total").await > 0);
        assert_eq!(tracker.get("/readyz").await.0, 200);
    });
}

#[test]
fn a_tracker_waits_until_an_admin_lets_it_in() {
    let place = Place::new();
    let portal = start_process(&place, &[]);
    let mut tracker = Tracker::start(&place, &["--portal", &portal.url, "--pin", &portal.pin], None);
    let pending = tracker.process.event("pending");
    assert_eq!(pending["id"], *tracker.id);
    let rt = runtime();
    let (admin, swarm) = rt.block_on(async {
        let (mut admin, swarm, _) = with_content(&portal).await;
        let mut seed = Peer::signed_in(&tracker, &mut admin).await;
        assert!(refused(&seed.join(&swarm, PeerMode::Seeder).await, 503, Code::UNAVAILABLE));
        assert_eq!(tracker.get("/readyz").await.0, 503);
        assert_eq!(tracker.get("/healthz").await.0, 200);
        let approved = admin.patch(&format!("/api/v1/trackers/{}", tracker.id), json!({ "state": "approved" })).await;
        assert_eq!(approved.0, 200, "{approved:?}");
        (admin, swarm)
    });
    tracker.process.event("ready");
    // Let in once, it needs nobody at its next start.
    tracker.process.kill();
    let mut again = Tracker::start(&place, &["--portal", &portal.url, "--pin", &portal.pin], None);
    again.process.event("ready");
    rt.block_on(async {
        let mut admin = admin;
        assert!(ok(&Peer::signed_in(&again, &mut admin).await.join(&swarm, PeerMode::Seeder).await));
    });

    // A wrong code, and a Portal that is another one.
    let ended = |code: &str, pin: &str| {
        let data = format!("tracker-{}", code.len());
        let args = ["tracker", "--portal", &portal.url, "--pin", pin, "--data-dir", &data, "--listen", "127.0.0.1:0"];
        let mut command = place.command(args);
        command.env("PPSP_ENROL_CODE", code);
        common::run(command)
    };
    ended("wrong", &portal.pin).failed(1, &["enrolment code is wrong"]);
    ended("x", &format!("sha256/{}=", "A".repeat(43))).failed(3, &["another server answers there", &portal.pin]);
}

#[test]
fn names_and_passwords_open_the_door_too() {
    let place = Place::new();
    let hash = |text: &str| {
        use sha2::Digest as _;
        data_encoding::HEXLOWER.encode(&sha2::Sha256::digest(text))
    };
    let line = format!("alice:ppsp-tracker:{}\n", hash("alice:ppsp-tracker:correct horse"));
    fs::write(place.path("accounts"), line).unwrap();
    let tracker = Tracker::start(&place, &["--auth", "digest", "--digest-file", "accounts"], None);
    runtime().block_on(async {
        let id = Digest::principal("alice").client.to_string();
        let mut peer = Peer::new(&tracker, &id, None);
        let answer = peer.send(RequestData::Find(Find { swarm_id: "aa".into(), peer_num: None })).await;
        assert_eq!(answer.status(), 401);
        let challenge = answer.headers()[header::WWW_AUTHENTICATE].to_str().unwrap().to_owned();
        for (password, good) in [("correct horse", true), ("wrong", false)] {
            let mut digest = DigestClient::new("alice", Password::new(password).unwrap()).unwrap();
            digest.challenged(&challenge).unwrap();
            let mut authorize = || {
                let header = digest.authorization("POST", "/video_1", &chance()).unwrap();
                Some(("authorization", header))
            };
            let mut peer = Peer::new(&tracker, &id, authorize());
            let joined = peer.join("aa", PeerMode::Leech).await;
            assert!(
                if good { ok(&joined) } else { refused(&joined, 401, Code::AUTHENTICATION_REQUIRED) },
                "{joined:?}"
            );
            // The same header again is a replay; the next one is good.
            assert!(refused(&peer.find("aa").await, 401, Code::AUTHENTICATION_REQUIRED));
            peer.shows = authorize();
            assert_eq!(ok(&peer.find("aa").await), good);
        }
    });
}

#[test]
fn certificates_open_the_door_too() {
    let place = Place::new();
    let authority_key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&authority_key).unwrap();
    fs::write(place.path("ca.pem"), authority.pem()).unwrap();
    let issuer = rcgen::Issuer::new(params, authority_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["alice".to_owned()]).unwrap();
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    let shown = params.signed_by(&key, &issuer).unwrap();
    let client = Identifier::from_bytes(Pin::of(shown.der()).unwrap().as_bytes()[..12].try_into().unwrap());

    let tracker = Tracker::start(&place, &["--auth", "certificate", "--client-ca", "ca.pem"], None);
    runtime().block_on(async {
        // Whom to trust is tested elsewhere.
        let mut roots = rustls::RootCertStore::empty();
        let own = fs::read(place.path("tracker/tls-cert.pem")).unwrap();
        use rustls::pki_types::pem::PemObject as _;
        roots.add(rustls::pki_types::CertificateDer::from_pem_slice(&own).unwrap()).unwrap();
        let builder = || {
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_root_certificates(roots.clone())
        };
        let secret = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let with = builder().with_client_auth_cert(vec![shown.der().clone()], secret).unwrap();
        let without = builder().with_no_client_auth();
        for (config, status) in [(with, "200 OK"), (without, "401 Unauthorized")] {
            let addr = tracker.url.strip_prefix("https://").unwrap();
            let stream = tokio::net::TcpStream::connect(addr).await.unwrap();
            let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
            let mut stream = tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
            let action = SwarmAction {
                swarm_id: "aa".into(),
                action: Action::Join.into(),
                peer_mode: PeerMode::Leech.into(),
            };
            let request = ppsp_tracker_proto::message::Request {
                transaction_id: "1".into(),
                peer_id: client.to_string().into(),
                data: RequestData::Connect(Connect { actions: vec![action], ..Connect::default() }),
                unknown: Default::default(),
            };
            let mut body = Vec::new();
            request.write(&mut body);
            let head = format!(
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: {MEDIA_TYPE}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(&[head.as_bytes(), &body].concat()).await.unwrap();
            let mut said = Vec::new();
            _ = stream.read_to_end(&mut said).await;
            let said = String::from_utf8_lossy(&said);
            assert!(said.starts_with(&format!("HTTP/1.1 {status}")), "{said}");
        }
    });
}

#[test]
fn what_is_not_pptsp_is_turned_away() {
    let place = Place::new();
    let tracker = Tracker::start(&place, &["--auth", "none", "--insecure-http"], None);
    runtime().block_on(async {
        let http = tracker.client();
        let post = |kind: &str, body: &str| {
            let request = Request::post("/").header(header::CONTENT_TYPE, kind).body(body.to_owned().into()).unwrap();
            http.send(request)
        };
        assert_eq!(post("text/plain", "{}").await.unwrap().status(), 415);
        assert_eq!(http.send(Request::post("/").body(Bytes::new()).unwrap()).await.unwrap().status(), 415);
        assert_eq!(http.send(Request::put("/").body(Bytes::new()).unwrap()).await.unwrap().status(), 405);
        assert_eq!(http.send(Request::get("/").body(Bytes::new()).unwrap()).await.unwrap().status(), 405);
        for (kind, body, code) in [
            (MEDIA_TYPE, "", Code::BAD_REQUEST),
            ("application/json; charset=utf-8", "{", Code::BAD_REQUEST),
            (MEDIA_TYPE, r#"{"PPSPTrackerProtocol":{"version":7}}"#, Code::UNSUPPORTED_VERSION),
        ] {
            let answer = post(kind, body).await.unwrap();
            assert_eq!(answer.status(), 400);
            assert_eq!(Pptsp::read(answer.body()).unwrap().code, code, "{body}");
        }
        assert_eq!(post(MEDIA_TYPE, &" ".repeat(70_000)).await.unwrap().status(), 413);

        // Clients that say themselves who they are, and the operator's view.
        let me = Identifier::from_bytes([7; 12]).to_string();
        let mut peer = Peer::new(&tracker, &me, Some((CLIENT_HEADER, me.clone())));
        assert!(ok(&peer.join("aa", PeerMode::Leech).await));
        assert!(ok(&peer.find("aa").await));
        let stat = ppsp_tracker_proto::message::Stat {
            swarm_id: "aa".into(),
            downloaded_bytes: u64::MAX,
            ..Default::default()
        };
        let report = ppsp_tracker_proto::message::StatReport { stats: vec![stat] };
        peer.ask(RequestData::StatReport(report)).await;
        let (status, reports) = tracker.get("/operator/reports").await;
        let reports: Value = serde_json::from_str(&reports).unwrap();
        assert_eq!((status, &reports["flagged"], &reports["last"][0]["swarm"]), (200, &json!(1), &json!("aa")));
        assert_eq!(tracker.count("ppsp_tracker_inconsistent_reports_total").await, 1);
    });
}

#[test]
fn what_cannot_be_is_said() {
    let place = Place::new();
    let tracker = |more: &[&str]| place.run(["tracker", "--data-dir", "tracker"].iter().chain(more));
    tracker(&["--listen", "127.0.0.1:0"]).failed(2, &["--portal"]);
    tracker(&["--auth", "none", "--listen", "0.0.0.0:0"]).failed(2, &["loopback"]);
    tracker(&["--auth", "none", "--listen", "0.0.0.0:0", "--insecure-http"]).failed(2, &["--insecure-http"]);
    tracker(&["--auth", "digest"]).failed(2, &["--digest-file"]);
    tracker(&["--auth", "certificate"]).failed(2, &["--client-ca"]);
    tracker(&["--auth", "magic"]).failed(2, &["magic", "bearer"]);
    tracker(&["--portal", "http://192.0.2.1", "--listen", "127.0.0.1:0"]).failed(2, &["https"]);
}
