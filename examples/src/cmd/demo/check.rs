//! The whole story without a person: one is refused, one watches to the end, all copies are what they should be.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::json;
use tokio::time::sleep;

use super::{
    cast::Gateway,
    player::Watched,
    standing::Standing,
    story::{PATIENCE, Scene, Story},
};
use crate::{
    cli::{
        exit::{Exit, Failure},
        units,
    },
    cmd::parse_link,
    store::compare,
};

/// Between two looks at what is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What has to come of it for a viewer to be content.
struct Wanted {
    first_frame: Duration,
    /// All stalls together.
    stalled: Duration,
    /// Of what alice got, in percent.
    from_peers: u64,
}

impl Wanted {
    /// Of programs as people use them; and of those without optimisation, on a machine that does much else.
    const HERE: Self = if cfg!(debug_assertions) {
        Self { first_frame: Duration::from_secs(10), stalled: Duration::from_secs(5), from_peers: 10 }
    } else {
        Self { first_frame: Duration::from_secs(1), stalled: Duration::ZERO, from_peers: 50 }
    };
}

/// What came of it.
pub(super) struct Outcome {
    /// Where bob was refused.
    refused: Vec<&'static str>,
    watched: Watched,
    /// Bytes that alice got from the media server, and from peers.
    origins: (u64, u64),
    /// Bytes of each copy that was verified.
    copies: Vec<u64>,
}

impl Scene {
    /// Does it all.
    pub(super) async fn check(&self, story: &mut Story<'_>) -> Result<Outcome, Failure> {
        let patience = self.content.duration * 3 + PATIENCE;
        let refused = story.step("bob is refused", self.refuse()).await?;
        story.step_within("six peers fetch it", patience, self.spread()).await?;
        let watching = self.gateway.player.watch(&self.published.id, self.content.duration);
        let watched = story.step_within("alice watches to the end", patience, watching).await?;
        let status = Standing::read(&self.gateway.player.json("/status").await?);
        let origins = status.origins(&self.published.server);
        let copies = story.step_within("all copies of the peers are verified", patience, self.verify()).await?;
        Ok(Outcome { refused, watched, origins, copies })
    }

    /// Bob tries what he can, and is told no everywhere.
    async fn refuse(&self) -> Result<Vec<&'static str>, Failure> {
        let (bob, id) = (self.bob.name.as_str(), self.published.id.as_str());
        let listed = self.services.run(bob, &["catalogue"], "").await?;
        if listed.iter().any(|said| said["event"] == "content") {
            return Err(Failure::other("his catalogue shows it"));
        }
        let cache = self.services.home(bob).join("cache");
        let cache = cache.to_string_lossy();
        let play = ["play", id, "--player", "none", "--udp", "127.0.0.1:0", "--cache", &cache];
        refused(self.services.begin(bob, &play)?.wait_for("playable").await, "the Portal gives him its descriptor")?;
        // Somebody told him the swarm and the tracker; a token nobody can give him.
        let swarm = self.swarms().await?.into_iter().next().unwrap_or_default();
        let (link, copy) = (format!("ppsp:{swarm}"), format!("{cache}-copy"));
        let mut get =
            vec!["get", &link, "--tracker", &self.services.tracker, "--output", &copy, "--listen", "127.0.0.1:0"];
        if self.services.is_clear() {
            get.push("--insecure-http");
        }
        refused(
            self.services.begin(bob, &get)?.wait_for("registered").await,
            "the tracker lets him in without a token",
        )?;
        Ok(vec!["the catalogue does not show it", "the Portal gives no descriptor", "the tracker wants a token"])
    }

    async fn swarms(&self) -> Result<Vec<String>, Failure> {
        self.gateway.player.swarms(&self.published.id).await
    }

    /// Waits until the peers hold all of it: the media server's uplink is too thin to give it to each of them.
    async fn spread(&self) -> Result<(), Failure> {
        let swarms = self.swarms().await?.len();
        for peer in &self.peers {
            while !Standing::read(&peer.player.json("/status").await?).has_all(swarms) {
                sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// Every copy of every Representation, byte by byte against the root hash of its swarm.
    async fn verify(&self) -> Result<Vec<u64>, Failure> {
        let swarms = self.swarms().await?;
        let mut copies = Vec::new();
        for peer in &self.peers {
            let mut bytes = 0;
            for swarm in &swarms {
                let path = complete(peer, swarm).await;
                let metadata = parse_link(&format!("ppsp:{swarm}"))?.metadata;
                let comparing = tokio::task::spawn_blocking(move || compare(&path, &metadata, &mut |_| {}));
                let compared = comparing.await.map_err(Failure::other)?;
                bytes += compared.map_err(|error| {
                    let failure = Failure::from(error);
                    Failure::new(failure.exit, format!("the copy of '{}' is wrong: {}", peer.name, failure.message))
                })?;
            }
            copies.push(bytes);
        }
        Ok(copies)
    }
}

/// That it is refused is what is wanted.
fn refused<T>(done: Result<T, Failure>, what: &str) -> Result<(), Failure> {
    match done {
        Ok(_) => Err(Failure::other(what)),
        Err(failure) if failure.exit == Exit::Refused => Ok(()),
        Err(failure) => Err(Failure::new(failure.exit, format!("nobody says no to him: {}", failure.message))),
    }
}

/// Waits until a peer has all of a swarm under its final name.
async fn complete(peer: &Gateway, swarm: &str) -> PathBuf {
    loop {
        if let Some(path) = find(&peer.cache, swarm.get(..32).unwrap_or(swarm)) {
            return path;
        }
        sleep(LOOK_EVERY).await;
    }
}

fn find(cache: &Path, prefix: &str) -> Option<PathBuf> {
    const UNFINISHED: [&str; 4] = [".part", ".ppsp", ".ppsp-tree", ".tmp"];
    let entries = std::fs::read_dir(cache).ok()?.filter_map(Result::ok);
    let is_it = |name: &str| name.starts_with(prefix) && !UNFINISHED.iter().any(|end| name.ends_with(end));
    entries.into_iter().find(|entry| entry.file_name().to_str().is_some_and(is_it)).map(|entry| entry.path())
}

impl Outcome {
    /// Is that as it should be?
    pub(super) fn judge(&self) -> Result<(), Failure> {
        self.judge_by(&Wanted::HERE).map_err(Failure::other)
    }

    fn judge_by(&self, wanted: &Wanted) -> Result<(), String> {
        let mut wrong = Vec::new();
        let first = self.watched.first_frame;
        if first > wanted.first_frame {
            let (first, most) = (first.as_secs_f64(), wanted.first_frame.as_secs_f64());
            wrong.push(format!("the first frame came after {first:.2} s, and {most} s is the most"));
        }
        let stalled = self.stalled();
        if stalled > wanted.stalled {
            let (count, most) = (self.watched.stalls.len(), wanted.stalled.as_secs_f64());
            wrong.push(format!(
                "the picture stood still {count} times, {:.2} s in all, and {most} s is the most",
                stalled.as_secs_f64()
            ));
        }
        if self.peers_share() < wanted.from_peers {
            wrong.push(format!("{} % came from peers, and {} % is the least", self.peers_share(), wanted.from_peers));
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    }

    fn stalled(&self) -> Duration {
        self.watched.stalls.iter().sum()
    }

    /// Of what alice got, in percent.
    fn peers_share(&self) -> u64 {
        let (server, peers) = self.origins;
        (peers * 100).checked_div(server + peers).unwrap_or(0)
    }

    /// The table.
    pub(super) fn tell(&self, story: &Story<'_>) {
        let out = story.out;
        let stood = self.stalled().as_secs_f64();
        let all = self.origins.0 + self.origins.1;
        let share = self.peers_share();
        let seconds: f64 = story.steps.iter().map(|(_, took)| took.as_secs_f64()).sum();
        let rows = [
            ("bob is refused", self.refused.join(&format!("\n{:20} ", ""))),
            ("alice watched", self.watched.tracks.join(", ")),
            ("time to first frame", format!("{:.2} s", self.watched.first_frame.as_secs_f64())),
            ("stalls", format!("{} ({stood:.1} s)", self.watched.stalls.len())),
            ("from peers", format!("{share} % ({} of {})", units::bytes(self.origins.1), units::bytes(all))),
            (
                "copies verified",
                format!("{} of {}, {} each", self.copies.len(), self.copies.len(), {
                    units::bytes(self.copies.first().copied().unwrap_or(0))
                }),
            ),
            ("all steps", format!("{seconds:.1} s")),
        ];
        out.say("");
        for (name, value) in &rows {
            out.say(format_args!("{name:20} {value}"));
        }
        out.event(
            "demo",
            &json!({
                "refused": self.refused,
                "tracks": self.watched.tracks,
                "first_frame_seconds": self.watched.first_frame.as_secs_f64(),
                "stalls": self.watched.stalls.len(),
                "stalled_seconds": stood,
                "watched_bytes": self.watched.bytes,
                "from_server": self.origins.0,
                "from_peers": self.origins.1,
                "verified": self.copies.len(),
                "bytes": self.copies,
                "seconds": seconds,
            }),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_wants_no_wait_and_peers_that_give() {
        let wanted = Wanted { first_frame: Duration::from_secs(1), stalled: Duration::ZERO, from_peers: 50 };
        let judged = |first_frame: u64, stalls: &[u64], origins| {
            let watched = Watched {
                first_frame: Duration::from_millis(first_frame),
                stalls: stalls.iter().map(|&millis| Duration::from_millis(millis)).collect(),
                bytes: 0,
                tracks: vec![],
            };
            Outcome { refused: vec![], watched, origins, copies: vec![] }.judge_by(&wanted)
        };
        assert_eq!(judged(1000, &[], (50, 50)), Ok(()));
        let late = judged(1010, &[], (0, 9)).unwrap_err();
        assert_eq!(late, "the first frame came after 1.01 s, and 1 s is the most");
        let stood = judged(1, &[20, 30], (0, 9)).unwrap_err();
        assert_eq!(stood, "the picture stood still 2 times, 0.05 s in all, and 0 s is the most");
        assert_eq!(judged(1, &[], (51, 49)).unwrap_err(), "49 % came from peers, and 50 % is the least");
        assert!(judged(1, &[], (0, 0)).is_err());
        assert_eq!(judged(2000, &[1], (1, 0)).unwrap_err().matches("; ").count(), 2);
    }
}
