//! `ppsp demo`: the whole system on this machine, each part a process.
//!
//! [`story`] tells it step by step. [`content`] is what is played, [`cast`] who takes part, [`crowd`] the processes while they run;
//! [`player`] plays from a gateway as a viewer would see it ([`tracks`], [`playback`]), and [`check`] judges the whole.

mod board;
mod cast;
mod check;
mod content;
mod crowd;
mod playback;
mod player;
mod standing;
mod story;
mod tracks;

use std::path::Path;

use serde_json::json;

use self::story::{Scene, Story};
use super::{child::remove_after_children, signals::Signals};
use crate::cli::{args::DemoArgs, exit::Failure, output::Output};

pub(super) use self::content::write_bytes;

/// `ppsp demo`.
pub(super) async fn run(args: DemoArgs, out: &mut Output) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let dir = tempfile::Builder::new()
        .prefix("ppsp-demo-")
        .tempdir()
        .map_err(|e| Failure::other(format!("cannot make a temporary directory: {e}")))?;
    // With every way out: the processes first, then their directory.
    let done = tokio::select! {
        biased;
        () = signals.any() => Err(Failure::interrupted()),
        done = play(&args, out, dir.path()) => done,
    };
    remove_after_children(dir).await;
    done
}

async fn play(args: &DemoArgs, out: &Output, dir: &Path) -> Result<(), Failure> {
    let mut story = Story::new(out);
    let scene = story.begin(args, dir).await?;
    if args.check() {
        let outcome = scene.check(&mut story).await?;
        let judged = story.step("that is as a viewer wants it", async { outcome.judge() }).await;
        story.crowd.clear();
        // What it was like is of more use still where it was not good.
        outcome.tell(&story);
        return judged;
    }
    scene.invite(&story);
    let failure = story.crowd.watch(out).await;
    story.crowd.clear();
    Err(failure)
}

impl Scene {
    /// What to open, and who to be.
    fn invite(&self, story: &Story<'_>) {
        let (portal, id) = (&self.services.portal, &self.published.id);
        let page = format!("{portal}/content/{id}/watch");
        let users = [&self.alice, &self.bob].map(|one| json!({ "name": one.name, "password": one.password }));
        story.out.event(
            "ready",
            &json!({ "portal": portal, "page": page, "id": id, "title": self.content.title, "gateway": self.gateway.url, "users": users }),
        );
        let elsewhere = if self.gateway.is_usual() {
            String::new()
        } else {
            format!("Port 8080 is taken here: the page asks for your gateway,\nwhich is at {}\n", self.gateway.url)
        };
        let browser = if self.content.is_set {
            "A browser may ask whether the page may reach programs on\nthis machine: that is your gateway. "
        } else {
            "A browser shows what it can of one file. "
        };
        story.crowd.say(
            story.out,
            &format!(
                "\nOpen      {portal}\n\
                 sign in   {:5}  {}   may watch it\n\
                 or as     {:5}  {}   may not\n\n\
                 {}\n{elsewhere}{browser}Ctrl-C ends all.\n",
                self.alice.name, self.alice.password, self.bob.name, self.bob.password, self.content,
            ),
        );
    }
}
