//! The demo step by step: each has a name and takes some time, and what fails is said with the step that it failed in.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{
    cast::{Gateway, LINES, Person, Published, SERVER_LINE, Services, all},
    content::Content,
    crowd::{Crowd, Probe},
    player::Player,
    standing::Standing,
};
use crate::cli::{args::DemoArgs, exit::Failure, output::Output};

/// Longer than any step takes.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);

/// The processes, and what was done until now.
pub(super) struct Story<'a> {
    pub(super) out: &'a Output,
    pub(super) crowd: Crowd,
    pub(super) steps: Vec<(String, Duration)>,
}

/// All that runs.
pub(super) struct Scene {
    pub(super) content: Content,
    pub(super) services: Services,
    pub(super) alice: Person,
    pub(super) bob: Person,
    pub(super) published: Published,
    pub(super) peers: Vec<Gateway>,
    pub(super) gateway: Gateway,
}

impl<'a> Story<'a> {
    pub(super) fn new(out: &'a Output) -> Self {
        Self { out, crowd: Crowd::new(out), steps: Vec::new() }
    }

    /// Does it, while all processes are looked at.
    pub(super) async fn step<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        self.step_within(name, PATIENCE, work).await
    }

    /// The same, for what may take another time.
    pub(super) async fn step_within<T>(
        &mut self,
        name: &str,
        patience: Duration,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        let done = tokio::select! {
            biased;
            failure = self.crowd.watch(self.out) => Err(failure),
            done = timeout(patience, work) => {
                done.unwrap_or_else(|_| Err(Failure::other(format!("it takes more than {} s", patience.as_secs()))))
            }
        };
        let took = begun.elapsed();
        match done {
            Ok(done) => {
                self.out.event("step", &json!({ "name": name, "seconds": took.as_secs_f64() }));
                self.crowd.say(self.out, &format!("{:5.1} s  {name}", took.as_secs_f64()));
                self.steps.push((name.to_owned(), took));
                Ok(done)
            }
            Err(failure) => {
                self.crowd.clear();
                Err(Failure::new(failure.exit, format!("the step '{name}' failed: {}", failure.message)))
            }
        }
    }

    /// Starts everything; in the end the peers fetch.
    pub(super) async fn begin(&mut self, args: &DemoArgs, dir: &Path) -> Result<Scene, Failure> {
        let out = self.out;
        let content = self.step("what is played", Content::prepare(args.video.as_deref(), dir, out)).await?;
        let rate = content.rate();
        let line = |times: f64| ((rate as f64 * times) as u64).max(LEAST_LINE);
        let listen = args.listen.map(|listen| listen.0);
        let starting = Services::start(dir, listen, !args.check());
        let (services, portal, tracker) = self.step("a Portal and a tracker", starting).await?;
        let [portal_client, tracker_client] = services.clients()?;
        let portal_probe = Probe::Counter(portal_client.into(), "ppsp_portal_tokens_total", "tokens given out");
        self.crowd.add("Portal", portal, portal_probe, out);
        let tracker_probe = Probe::Counter(tracker_client.into(), "ppsp_tracker_peers", "peers in its lists");
        self.crowd.add("tracker", tracker, tracker_probe, out);

        let [alice, bob] = self.step("accounts", services.people()).await?;
        let both = all([&alice, &bob].into_iter().map(|person| services.sign_in(person)));
        self.step("alice and bob sign in", both).await?;
        let limit = args.upload_limit.map_or_else(|| line(SERVER_LINE), |limit| limit.0);
        let publishing = services.publish(&content, limit);
        let (published, server) = self.step("a media server publishes it", publishing).await?;
        self.crowd.add("media server", server, Probe::Said, out);

        let joining = async {
            let peers = all(LINES.iter().map(|(name, times)| services.peer(name, line(*times)))).await?;
            Ok((peers, services.gateway_of_alice(!args.check()).await?))
        };
        let (started, (gateway, own)) = self.step("six peers and a gateway for alice", joining).await?;
        let mut peers = Vec::new();
        for (peer, child) in started {
            self.crowd.add(&peer.name, child, Probe::Status(peer.player.clone(), content.bytes), out);
            self.crowd.on_behalf(&peer.name, fetch_all(peer.player.clone(), published.id.clone()));
            peers.push(peer);
        }
        self.crowd.add(&gateway.name, own, Probe::Watched(gateway.player.clone(), content.bytes), out);
        Ok(Scene { content, services, alice, bob, published, peers, gateway })
    }
}

/// Somebody who wants all of it. Where a player reads from is what a gateway fetches first, the rest in the order in which it
/// is rarest, so that others are to be had from, too: this one looks at the end of each Representation, until all is there.
async fn fetch_all(player: Player, content: String) -> Result<(), Failure> {
    let swarms = player.swarms(&content).await?;
    let paths: Vec<String> = swarms.iter().map(|id| format!("/content/{content}/{id}")).collect();
    loop {
        all(paths.iter().map(|path| player.look_at_end(path))).await?;
        if Standing::read(&player.json("/status").await?).has_all(swarms.len()) {
            return Ok(());
        }
        sleep(AGAIN).await;
    }
}

/// A gateway goes on for some seconds after somebody has read.
const AGAIN: Duration = Duration::from_secs(3);
/// Least of an uplink: where content is tiny, that of a slow modem would do.
const LEAST_LINE: u64 = 16 << 10;
