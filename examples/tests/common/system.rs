//! A whole system: a Portal, a tracker, accounts, each program a process, over TLS.

use std::net::SocketAddr;

use super::{
    Ended, Place, Ppsp,
    portal::{PortalProcess, start_process},
};

pub const ALICE: &str = "alice's password";
pub const MEDIA: &str = "media's password";

/// A Portal with a tracker, and the accounts alice (a viewer) and media (a publisher).
pub struct System {
    pub place: Place,
    pub portal: PortalProcess,
    pub tracker: Ppsp,
    /// As the Portal publishes it.
    pub tracker_url: String,
}

impl System {
    pub fn start() -> Self {
        let place = Place::new();
        let portal = start_process(&place, &[]);
        let (tracker, tracker_url) = start_tracker(&place, &portal, "127.0.0.1:0");
        let system = Self { place, portal, tracker, tracker_url };
        system.log_in("admin", &system.admin_password()).succeeded();
        system.add_user("alice", ALICE, "viewer");
        system.add_user("media", MEDIA, "publisher");
        system
    }

    pub fn add_user(&self, name: &str, password: &str, role: &str) {
        self.run("admin", &["user", "add", name, "--role", role], password).succeeded();
    }

    pub fn admin_password(&self) -> String {
        self.portal.first.as_ref().unwrap()["password"].as_str().unwrap().to_owned()
    }

    /// Runs a command of somebody to its end.
    pub fn run(&self, user: &str, args: &[&str], say: &str) -> Ended {
        self.place.run_as(user, args.iter().copied(), say)
    }

    /// Starts one that goes on.
    pub fn begin(&self, user: &str, args: &[&str], say: &str) -> Ppsp {
        self.place.start_as(user, args.iter().copied(), say)
    }

    pub fn log_in(&self, user: &str, password: &str) -> Ended {
        self.run(user, &["login", &self.portal.url, "--user", user, "--pin", &self.portal.pin], password)
    }

    /// A media server that is known to the tracker, and the identifier of what it shares, which everyone may watch.
    pub fn publish(&self, file: &str, more: &[&str]) -> (Ppsp, String) {
        let (url, pin) = (&self.portal.url, &self.portal.pin);
        let args = ["publish", file, "--portal", url, "--user", "media", "--pin", pin, "--allow", "everyone"];
        let listen = ["--listen", "127.0.0.1:0"];
        let args: Vec<&str> = args.iter().chain(&listen).chain(more).copied().collect();
        let mut server = self.begin("media", &args, MEDIA);
        let id = server.event("published")["id"].as_str().unwrap().to_owned();
        server.event("registered");
        (server, id)
    }

    /// A media server that shares a DASH set with these, and the set's identifier in the catalogue.
    pub fn publish_set(&self, manifest: &str, title: &str, allow: &str, more: &[&str]) -> (Ppsp, String) {
        let (url, pin) = (&self.portal.url, &self.portal.pin);
        let args = ["publish", "--dash", manifest, "--portal", url, "--user", "media", "--pin", pin, "--title", title];
        let args: Vec<&str> =
            args.iter().chain(&["--allow", allow, "--listen", "127.0.0.1:0"]).chain(more).copied().collect();
        let mut server = self.begin("media", &args, MEDIA);
        let id = server.event("published")["id"].as_str().unwrap().to_owned();
        server.event("listening");
        (server, id)
    }

    /// The gateway of somebody who is signed in, and where it listens.
    pub fn gateway(&self, user: &str, more: &[&str]) -> (Ppsp, SocketAddr) {
        let cache = format!("cache-{user}");
        let args = ["gateway", "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--cache", &cache];
        let mut gateway = self.begin(user, &args.iter().chain(more).copied().collect::<Vec<_>>(), "");
        let addr = gateway.event("gateway")["addr"].as_str().unwrap().parse().unwrap();
        gateway.event("ready");
        (gateway, addr)
    }

    /// What a viewer types.
    pub fn get(&self, user: &str, id: &str, to: &str, more: &[&str]) -> Ppsp {
        let args = ["get", id, "-o", to, "--listen", "127.0.0.1:0", "--verbose"];
        self.begin(user, &args.iter().chain(more).copied().collect::<Vec<_>>(), "")
    }
}

pub fn start_tracker(place: &Place, portal: &PortalProcess, listen: &str) -> (Ppsp, String) {
    let args = ["tracker", "--json", "--data-dir", "tracker", "--listen", listen, "--portal", &portal.url];
    let mut command = place.command(args.iter().chain(&["--pin", &portal.pin]));
    if let Some(first) = &portal.first {
        command.env("PPSP_ENROL_CODE", first["enrol_code"].as_str().unwrap());
    }
    let mut tracker = Ppsp::start(command);
    let url = tracker.event("tracker")["tracker"].as_str().unwrap().to_owned();
    tracker.event("ready");
    (tracker, url)
}
