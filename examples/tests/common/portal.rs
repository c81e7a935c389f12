//! A Portal for tests, and what a client says to it. In the process of the test ([`TestPortal`]), or as people run it
//! ([`start_process`]).

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use ppsp_auth::{
    Password, UserName,
    assertion::Assertion,
    introspection::{Introspection, IntrospectionRequest},
    oauth::RefreshRequest,
    scram::{AuthenticationInfo, Authorization, Challenge, Client, Verifier},
    token::{SigningKey, TRACKERS, TokenText},
};
use ppsp_core::{Hash, HashAlg, SwarmMetadata, descriptor::Descriptor, hash_chunks};
use ppsp_examples::{
    http::{HttpClient, Identity, Limits, Serving, Shutdown, Trust, bind, serve, server_config},
    portal::{
        self, Portal, PortalConfig,
        db::{Db, Place},
    },
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Ppsp;

/// Iterations of passwords at a [`TestPortal`]: the fewest that there are.
pub const ITERATIONS: u32 = 4096;

/// A Portal that is served over TLS by a task of the test's runtime.
pub struct TestPortal {
    /// The Portal itself.
    pub portal: Portal,
    /// The password of `admin`, where this Portal is a new one.
    pub password: String,
    /// The code by which trackers enrol, where this Portal is a new one.
    pub enrol_code: String,
    /// Where it listens.
    pub addr: SocketAddr,
    trust: Trust,
    shutdown: Shutdown,
    _dir: TempDir,
}

impl TestPortal {
    /// A new one on SQLite.
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// A new one on SQLite, with other choices.
    pub async fn start_with(choose: impl FnOnce(&mut PortalConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::File(dir.path().join("portal.db"));
        Self::start_on(place, dir, choose).await
    }

    /// One process of a Portal on this database.
    pub async fn start_at(place: Place, choose: impl FnOnce(&mut PortalConfig)) -> Self {
        Self::start_on(place, tempfile::tempdir().unwrap(), choose).await
    }

    async fn start_on(place: Place, dir: TempDir, choose: impl FnOnce(&mut PortalConfig)) -> Self {
        let identity = Identity::keep(dir.path(), &["localhost".into(), "127.0.0.1".into()]).unwrap();
        let listener = bind("127.0.0.1:0".parse().unwrap(), true).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mut config = PortalConfig::new(format!("https://{addr}"));
        config.iterations = ITERATIONS;
        choose(&mut config);
        let (portal, first) = Portal::open(Db::open(place).await.unwrap(), config).await.unwrap();
        let shutdown = Shutdown::default();
        let tls = Some(server_config(&identity, None).unwrap());
        let serving = Serving { tls, limits: Limits::default(), shutdown: shutdown.clone() };
        tokio::spawn(serve(listener, serving, portal::service(portal.clone())));
        let (password, enrol_code) =
            first.map(|first| (first.password.to_string(), first.enrol_code.to_string())).unwrap_or_default();
        Self { portal, password, enrol_code, addr, trust: Trust::Pin(identity.pin()), shutdown, _dir: dir }
    }

    /// A client of it.
    pub fn client(&self) -> PortalClient {
        PortalClient::new(&format!("https://{}", self.addr), self.trust)
    }

    /// A client that `admin` signed in with.
    pub async fn admin(&self) -> PortalClient {
        self.client().signed_in("admin", &self.password).await
    }

    /// Makes an account with the password `<name>'s password`, and signs in with it.
    pub async fn user(&self, admin: &PortalClient, name: &str, role: &str) -> PortalClient {
        admin.add_user(name, role).await;
        self.client().signed_in(name, &format!("{name}'s password")).await
    }
}

impl Drop for TestPortal {
    fn drop(&mut self) {
        self.shutdown.now();
    }
}

/// What somebody says to a Portal.
pub struct PortalClient {
    http: HttpClient,
    /// Set by signing in.
    pub login: Option<Login>,
}

/// What a login gives.
#[derive(Clone, Debug)]
pub struct Login {
    pub client_id: String,
    pub session: String,
    pub access_token: String,
    /// Empty where it came as a cookie.
    pub refresh_token: String,
    pub body: Value,
    pub headers: HeaderMap,
}

/// An answer: its status and its JSON, or text as a JSON string.
pub type Answer = (StatusCode, Value);

impl PortalClient {
    pub fn new(url: &str, trust: Trust) -> Self {
        Self { http: HttpClient::new(url, trust, true).unwrap(), login: None }
    }

    /// Signs in; panics where that fails.
    pub async fn signed_in(mut self, name: &str, password: &str) -> Self {
        self.login = Some(self.log_in(name, password, "").await.unwrap());
        self
    }

    /// The whole exchange of RFC 7804, with the Portal's proof checked. `query` is that of the last request.
    pub async fn log_in(&self, name: &str, password: &str, query: &str) -> Result<Login, Answer> {
        let (client, sid, message) = self.challenge(name, password).await?;
        let (sent, last) = client.prove(&message).unwrap();
        let answer = self.log_in_finally(&sid, last, query).await;
        if answer.status() != StatusCode::OK {
            return Err(read(&answer));
        }
        let info = answer.headers()["authentication-info"].to_str().unwrap();
        let info = AuthenticationInfo::read(info).unwrap();
        assert_eq!(info.sid, sid);
        sent.finish(&info.message).expect("the Portal's proof");
        let (_, body) = read(&answer);
        let text = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
        Ok(Login {
            client_id: text("client_id"),
            session: text("session"),
            access_token: text("access_token"),
            refresh_token: text("refresh_token"),
            headers: answer.headers().clone(),
            body,
        })
    }

    /// The first half of an exchange: the client that goes on, the `sid`, the server-first message.
    pub async fn challenge(&self, name: &str, password: &str) -> Result<(Client, String, String), Answer> {
        let name: UserName = name.parse().unwrap();
        let (client, first) = Client::new(name, Password::new(password).unwrap(), &chance());
        let header = Authorization::First { realm: None, message: first }.to_string();
        let answer = self.raw(Method::GET, "/api/v1/login", Some(&header), "", Bytes::new()).await;
        let challenge = answer.headers().get(header::WWW_AUTHENTICATE);
        match challenge.map(|challenge| Challenge::read(challenge.to_str().unwrap())) {
            Some(Ok(Challenge::First { sid, message })) => Ok((client, sid, message)),
            _ => Err(read(&answer)),
        }
    }

    /// The second half.
    pub async fn log_in_finally(&self, sid: &str, client_final: String, query: &str) -> Response<Bytes> {
        let header = Authorization::Final { sid: sid.into(), message: client_final }.to_string();
        self.raw(Method::GET, &format!("/api/v1/login{query}"), Some(&header), "", Bytes::new()).await
    }

    /// Asks with the access token and, where there is one, a body in JSON.
    pub async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Answer {
        let token = self.login.as_ref().map(|login| format!("Bearer {}", login.access_token));
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let method = method.parse().unwrap();
        read(&self.raw(method, path, token.as_deref(), "application/json", body.into()).await)
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, None).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.ask("POST", path, Some(body)).await
    }

    /// The status, where there is an answer.
    pub async fn try_post(&self, path: &str, body: Value) -> Option<StatusCode> {
        let login = self.login.as_ref().unwrap();
        let request = Request::post(path)
            .header(header::AUTHORIZATION, format!("Bearer {}", login.access_token))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.to_string().into());
        self.http.send(request.unwrap()).await.ok().map(|answer| answer.status())
    }

    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.ask("PUT", path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.ask("PATCH", path, Some(body)).await
    }

    pub async fn delete(&self, path: &str, body: Option<Value>) -> Answer {
        self.ask("DELETE", path, body).await
    }

    /// Sends a form to an endpoint of OAuth.
    pub async fn form(&self, path: &str, form: &str) -> Answer {
        let form = Bytes::copy_from_slice(form.as_bytes());
        read(&self.raw(Method::POST, path, None, ppsp_auth::oauth::FORM, form).await)
    }

    /// A request as it is.
    pub async fn raw(
        &self,
        method: Method,
        path: &str,
        authorization: Option<&str>,
        kind: &str,
        body: Bytes,
    ) -> Response<Bytes> {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        if !kind.is_empty() {
            request = request.header(header::CONTENT_TYPE, kind);
        }
        self.http.send(request.body(body).unwrap()).await.unwrap()
    }

    /// Refreshes the tokens of this client's login: for the Portal, or with `content` for trackers.
    pub async fn refresh(&mut self, audience: Option<&str>, content: &[&str]) -> Answer {
        let login = self.login.as_mut().unwrap();
        let request = RefreshRequest {
            refresh_token: TokenText::new(login.refresh_token.clone()),
            audience: audience.map(Into::into),
            content: content.iter().map(|&id| id.into()).collect(),
        };
        let answer = self.form("/oauth/token", &request.write()).await;
        if let Some(token) = answer.1["refresh_token"].as_str() {
            self.login.as_mut().unwrap().refresh_token = token.into();
        }
        answer
    }

    /// An access token for trackers that opens this content, or all that there is for this user.
    pub async fn tracker_token(&mut self, content: &[&str]) -> String {
        let (status, body) = self.refresh(Some(TRACKERS), content).await;
        assert_eq!(status, 200, "{body}");
        body["access_token"].as_str().unwrap().into()
    }

    /// Makes an account with the password `<name>'s password`.
    pub async fn add_user(&self, name: &str, role: &str) {
        let verifier = verifier(&format!("{name}'s password"), ITERATIONS);
        let (status, body) =
            self.post("/api/v1/users", json!({ "name": name, "role": role, "verifier": verifier })).await;
        assert_eq!(status, 201, "{body}");
    }

    /// Publishes content of one swarm; returns its identifier and its swarm.
    pub async fn publish(&self, title: &str, group: &str) -> (String, String) {
        let (status, body) = self.post("/api/v1/content", content(title, group)).await;
        assert_eq!(status, 201, "{body}");
        (body["id"].as_str().unwrap().into(), body["swarms"][0].as_str().unwrap().into())
    }
}

/// A tracker that is known to a Portal.
pub struct TestTracker {
    pub key: SigningKey,
    pub id: String,
    client: PortalClient,
    issuer: String,
}

impl TestTracker {
    /// Enrols one; with the code it is approved at once.
    pub async fn enrol(portal: &TestPortal, url: &str, code: Option<&str>) -> Self {
        let (key, client) = (SigningKey::from_seed(&chance()), portal.client());
        let jwk: Value = serde_json::from_str(&key.verifying_key().to_jwk()).unwrap();
        let (status, body) =
            client.post("/api/v1/trackers", json!({ "url": url, "name": "a tracker", "key": jwk, "code": code })).await;
        assert!(status.is_success(), "{body}");
        Self { key, id: body["id"].as_str().unwrap().into(), client, issuer: portal.portal.issuer().into() }
    }

    /// Another process of the same Portal is to be asked.
    pub fn at(mut self, portal: &TestPortal) -> Self {
        self.client = portal.client();
        self
    }

    /// Asks about a token.
    pub async fn introspect(&self, token: &str, swarms: &[&str]) -> Result<Introspection, Answer> {
        let form = self.question(token, swarms);
        let (status, body) = self.client.form("/oauth/introspect", &form).await;
        if status != 200 {
            return Err((status, body));
        }
        Ok(Introspection::read(body.to_string().as_bytes()).unwrap())
    }

    /// The form with which it asks.
    pub fn question(&self, token: &str, swarms: &[&str]) -> String {
        let request = IntrospectionRequest {
            token: TokenText::new(token),
            swarms: swarms.iter().map(|&swarm| swarm.into()).collect(),
        };
        let assertion = Assertion {
            service: self.id.clone(),
            audience: self.issuer.clone(),
            issued: unix_now(),
            id: u128::from_be_bytes(chance()),
        };
        assertion.add_to(request.write(), &self.key).finish().to_string()
    }

    /// Sends such a form.
    pub async fn ask(&self, form: &str) -> Answer {
        self.client.form("/oauth/introspect", form).await
    }
}

/// `ppsp portal` as a process, and what it said: its address and pin, and at its first start the secrets.
pub struct PortalProcess {
    pub process: Ppsp,
    pub url: String,
    pub pin: String,
    pub first: Option<Value>,
}

impl PortalProcess {
    /// A client of it.
    pub fn client(&self) -> PortalClient {
        PortalClient::new(&self.url, Trust::Pin(self.pin.parse().unwrap()))
    }
}

/// Starts `ppsp portal` on loopback and a free port, with its data in the directory `portal` of this place.
pub fn start_process(place: &super::Place, more: &[&str]) -> PortalProcess {
    let args = ["portal", "--data-dir", "portal", "--listen", "127.0.0.1:0"];
    let mut process = place.start(args.iter().chain(more));
    let said = process.event("portal");
    let first = process.last("first_start").cloned();
    let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
    PortalProcess { process, url: text("address"), pin: text("pin"), first }
}

/// What is sent of a new password.
pub fn verifier(password: &str, iterations: u32) -> Value {
    let verifier = Verifier::new(&Password::new(password).unwrap(), [7; 16], iterations).unwrap();
    serde_json::to_value(verifier).unwrap()
}

/// New content of one swarm, which follows from the title.
pub fn content(title: &str, group: &str) -> Value {
    json!({ "title": title, "group": group, "descriptor": descriptor(title, &[]) })
}

/// A descriptor of one swarm, which follows from the title.
pub fn descriptor(title: &str, trackers: &[&str]) -> String {
    let mut root = [Hash::empty(HashAlg::Sha256)];
    hash_chunks(HashAlg::Sha256, &[title.as_bytes()], &mut root);
    let [root] = root;
    let metadata = SwarmMetadata { content_length: Some(1024), ..SwarmMetadata::of_root(&root) };
    let mut descriptor = Descriptor::of_file(title, "file.mp4", "video/mp4", &metadata);
    if !trackers.is_empty() {
        descriptor.set_trackers(&[trackers.to_vec()]);
    }
    descriptor.to_xml()
}

pub fn chance<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

pub fn unix_now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn read(answer: &Response<Bytes>) -> Answer {
    let text = String::from_utf8_lossy(answer.body());
    (answer.status(), serde_json::from_str(&text).unwrap_or_else(|_| Value::String(text.into_owned())))
}
