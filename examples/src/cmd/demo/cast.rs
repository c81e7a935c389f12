//! Who takes part: a Portal, a tracker, accounts, a media server, gateways. Each is the command that a person would type, with a
//! directory of its own for what a person's home would keep.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use ppsp_auth::{Password, UserName};
use serde_json::Value;

use super::{content::Content, player::Player};
use crate::{
    cli::exit::{Exit, Failure},
    cmd::child::Child,
    http::{HttpClient, Pin, Trust},
};

/// Where the services are, and the secrets of the first start.
pub(super) struct Services {
    dir: PathBuf,
    /// The Portal's URL.
    pub(super) portal: String,
    pin: Option<String>,
    admin: Person,
    /// The tracker's URL, with its fingerprint.
    pub(super) tracker: String,
    clear: bool,
}

/// An account.
#[derive(Clone)]
pub(super) struct Person {
    pub(super) name: String,
    pub(super) password: String,
}

/// A gateway of somebody.
pub(super) struct Gateway {
    /// How people call it.
    pub(super) name: String,
    pub(super) url: String,
    pub(super) player: Player,
    /// Where it keeps content.
    pub(super) cache: PathBuf,
}

/// Content in the catalogue, and where its media server is.
pub(super) struct Published {
    pub(super) id: String,
    pub(super) server: String,
}

/// A peer's line, and how much its uplink carries: so many times what the content needs.
pub(super) const LINES: [(&str, f64); 6] =
    [("fibre 1", 8.0), ("fibre 2", 8.0), ("cable 1", 3.0), ("cable 2", 3.0), ("mobile 1", 1.0), ("mobile 2", 1.0)];

/// The media server's uplink, likewise.
pub(super) const SERVER_LINE: f64 = 4.0;

/// Where the Portal's pages look for a gateway.
const USUAL_GATEWAY: &str = "127.0.0.1:8080";
const ANY_PORT: &str = "127.0.0.1:0";

impl Services {
    /// Starts Portal and tracker. `clear`: without TLS, which a browser would have to be talked into where no authority vouches for
    /// the certificate.
    pub(super) async fn start(
        dir: &Path,
        listen: Option<SocketAddr>,
        clear: bool,
    ) -> Result<(Self, Child, Child), Failure> {
        let listen = listen.map_or(ANY_PORT.to_owned(), |listen| listen.to_string());
        let data = |name: &str| dir.join(name).into_os_string();
        let mut args: Vec<OsString> = words(&["portal", "--listen", &listen, "--data-dir"]);
        args.push(data("portal"));
        args.extend(clear.then(|| "--insecure-http".into()));
        let mut portal = Child::spawn("Portal", args)?;
        let first = portal.wait_for("first_start").await?;
        let said = portal.wait_for("portal").await?;
        let (url, pin) = (text(&said, "address"), said["pin"].as_str().map(str::to_owned));

        let mut args: Vec<OsString> = words(&["tracker", "--listen", ANY_PORT, "--portal", &url, "--data-dir"]);
        args.push(data("tracker"));
        match &pin {
            Some(pin) => args.extend(words(&["--pin", pin])),
            None => args.push("--insecure-http".into()),
        }
        let code = OsString::from(text(&first, "enrol_code"));
        let mut tracker = Child::spawn_with("tracker", args, [("PPSP_ENROL_CODE", code)])?;
        let said = tracker.wait_for("tracker").await?;
        tracker.wait_for("ready").await?;
        let admin = Person { name: text(&first, "admin"), password: text(&first, "password") };
        let tracker_url = text(&said, "tracker");
        Ok((Self { dir: dir.to_owned(), portal: url, pin, admin, tracker: tracker_url, clear }, portal, tracker))
    }

    /// Is all of it without TLS?
    pub(super) fn is_clear(&self) -> bool {
        self.clear
    }

    /// Those who look at the counters of Portal and tracker.
    pub(super) fn clients(&self) -> Result<[HttpClient; 2], Failure> {
        let trust = |pin: Option<&str>| -> Result<Trust, Failure> {
            Ok(pin.map(str::parse::<Pin>).transpose().map_err(Failure::other)?.map_or(Trust::System, Trust::Pin))
        };
        let (tracker, tracker_pin) =
            self.tracker.split_once('#').map_or((&*self.tracker, None), |(url, pin)| (url, Some(pin)));
        let client = |url: &str, trust| HttpClient::new(url, trust, self.clear).map_err(Failure::network);
        Ok([client(&self.portal, trust(self.pin.as_deref())?)?, client(tracker, trust(tracker_pin)?)?])
    }

    /// Makes accounts, and signs in whoever is no person at a browser.
    pub(super) async fn people(&self) -> Result<[Person; 2], Failure> {
        self.sign_in(&self.admin).await?;
        let names = ["alice", "bob", MEDIA].map(str::to_owned).into_iter().chain(LINES.map(|(line, _)| user_of(line)));
        let people = names.map(Person::new).collect::<Result<Vec<_>, Failure>>()?;
        all(people.iter().map(|person| self.make(person))).await?;
        all(people.iter().skip(2).map(|person| self.sign_in(person))).await?;
        match <[Person; 2]>::try_from(people.into_iter().take(2).collect::<Vec<_>>()) {
            Ok(two) => Ok(two),
            Err(_) => Err(Failure::other("there are no accounts")),
        }
    }

    async fn make(&self, person: &Person) -> Result<(), Failure> {
        let role = if person.name == MEDIA { "publisher" } else { "viewer" };
        let args = ["user", "add", &person.name, "--role", role];
        self.run(&self.admin.name, &args, &person.password).await.map(drop)
    }

    /// Signs in for good.
    pub(super) async fn sign_in(&self, person: &Person) -> Result<(), Failure> {
        let mut args = vec!["login", &self.portal, "--user", &person.name];
        match &self.pin {
            Some(pin) => args.extend(["--pin", pin]),
            None => args.push("--insecure-http"),
        }
        self.run(&person.name, &args, &person.password).await.map(drop)
    }

    /// Has the media server share this with alice and the peers.
    pub(super) async fn publish(&self, content: &Content, rate: u64) -> Result<(Published, Child), Failure> {
        let audience = LINES.map(|(line, _)| user_of(line)).join(",") + ",alice";
        let rate = format!("{rate}B/s");
        let mut args: Vec<OsString> =
            words(&["publish", "--portal", &self.portal, "--listen", ANY_PORT, "--allow", &audience]);
        args.extend(words(&["--title", &content.title, "--upload-limit", &rate, "--state-dir"]));
        args.push(self.home(MEDIA).into_os_string());
        args.extend(content.is_set.then(|| "--dash".into()));
        args.push(content.path.clone().into_os_string());
        let mut child = Child::spawn_with("media server", args, [self.at_home(MEDIA)])?;
        let (mut id, mut server) = (None, None);
        while id.is_none() || server.is_none() {
            let Some(said) = child.next().await else { return Err(child.ended_by_itself().await) };
            match said["event"].as_str() {
                Some("published") => id = Some(text(&said, "id")),
                Some("listening") => server = Some(text(&said, "addr")),
                _ => {}
            }
        }
        Ok((Published { id: id.unwrap_or_default(), server: server.unwrap_or_default() }, child))
    }

    /// The gateway of a peer on this line.
    pub(super) async fn peer(&self, line: &'static str, rate: u64) -> Result<(Gateway, Child), Failure> {
        let rate = format!("{rate}B/s");
        self.gateway(line, &user_of(line), ANY_PORT, &["--upload-limit", &rate]).await
    }

    /// The gateway of alice; where the usual port is taken, on another one.
    pub(super) async fn gateway_of_alice(&self, usual: bool) -> Result<(Gateway, Child), Failure> {
        let at = |listen| self.gateway("your gateway", "alice", listen, &[]);
        match at(if usual { USUAL_GATEWAY } else { ANY_PORT }).await {
            Err(failure) if usual && failure.exit == Exit::Network => at(ANY_PORT).await,
            done => done,
        }
    }

    async fn gateway(&self, name: &str, user: &str, listen: &str, more: &[&str]) -> Result<(Gateway, Child), Failure> {
        let cache = self.home(user).join("cache");
        let mut args: Vec<OsString> =
            words(&["gateway", "--portal", &self.portal, "--listen", listen, "--udp", ANY_PORT]);
        args.extend(words(more));
        args.extend(["--cache".into(), cache.clone().into_os_string()]);
        let mut child = Child::spawn_with(name, args, [self.at_home(user)])?;
        let url = text(&child.wait_for("gateway").await?, "url");
        child.wait_for("ready").await?;
        Ok((Gateway { name: name.to_owned(), player: Player::at(&url)?, url, cache }, child))
    }

    /// Runs a command of somebody to its end.
    pub(super) async fn run(&self, user: &str, args: &[&str], say: &str) -> Result<Vec<Value>, Failure> {
        Child::run(args.first().copied().unwrap_or_default(), args, [self.at_home(user)], say).await
    }

    /// Starts a command of somebody that goes on.
    pub(super) fn begin(&self, user: &str, args: &[&str]) -> Result<Child, Failure> {
        Child::spawn_with(args.first().copied().unwrap_or_default(), args, [self.at_home(user)])
    }

    /// What somebody's home keeps.
    pub(super) fn home(&self, user: &str) -> PathBuf {
        self.dir.join("homes").join(user)
    }

    fn at_home(&self, user: &str) -> (&'static str, OsString) {
        ("XDG_DATA_HOME", self.home(user).into_os_string())
    }
}

impl Gateway {
    /// Is it where the Portal's pages look for it?
    pub(super) fn is_usual(&self) -> bool {
        self.url.ends_with(USUAL_GATEWAY)
    }
}

impl Person {
    /// With a password that can be typed.
    fn new(name: String) -> Result<Self, Failure> {
        name.parse::<UserName>().map_err(Failure::other)?;
        let mut bytes = [0; 10];
        getrandom::fill(&mut bytes).map_err(|e| Failure::other(format!("the system gives no random numbers: {e}")))?;
        let text = data_encoding::BASE32_NOPAD.encode(&bytes).to_lowercase();
        let groups: Vec<String> =
            text.as_bytes().chunks(4).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
        let password = groups.join("-");
        Password::choose(&password).map_err(Failure::other)?;
        Ok(Self { name, password })
    }
}

/// All of these at once.
pub(super) async fn all<T>(
    work: impl Iterator<Item = impl Future<Output = Result<T, Failure>>>,
) -> Result<Vec<T>, Failure> {
    let mut waiting: Vec<_> = work.map(|one| (Box::pin(one), None)).collect();
    std::future::poll_fn(|cx| {
        let mut pending = false;
        for (one, done) in &mut waiting {
            if done.is_some() {
                continue;
            }
            match one.as_mut().poll(cx) {
                std::task::Poll::Ready(Ok(value)) => *done = Some(value),
                std::task::Poll::Ready(Err(failure)) => return std::task::Poll::Ready(Err(failure)),
                std::task::Poll::Pending => pending = true,
            }
        }
        if pending { std::task::Poll::Pending } else { std::task::Poll::Ready(Ok(())) }
    })
    .await?;
    Ok(waiting.into_iter().filter_map(|(_, done)| done).collect())
}

/// `fibre 1` is the line of the user `fibre1`.
fn user_of(line: &str) -> String {
    line.replace(' ', "")
}

fn words(args: &[&str]) -> Vec<OsString> {
    args.iter().map(Into::into).collect()
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

const MEDIA: &str = "media";
