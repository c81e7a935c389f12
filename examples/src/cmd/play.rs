use std::process::Stdio;

use serde_json::json;
use tokio::process::Command;

use super::{playing::Playing, serving::url, signals::Signals, source::Programme};
use crate::{
    cli::{
        args::{PlayArgs, Player},
        exit::Failure,
        output::Output,
    },
    gateway::Access,
    http::{bind, start_logging},
};

/// `ppsp play`.
pub(super) async fn run(args: PlayArgs, out: &mut Output) -> Result<(), Failure> {
    start_logging(out.is_json(), out.is_verbose(), true);
    let mut signals = Signals::new()?;
    let found = Programme::find(&args.source, &args.at, &args.fetch.net, Some(out));
    let programme = signals.unless(found).await?;
    let listener = bind(([127, 0, 0, 1], 0).into(), false).await?;
    let addr = listener.local_addr().map_err(Failure::network)?;
    let mut playing = Playing::start(&args.fetch, &args.at, listener, None, Access::default())?;
    let paths = signals.unless(playing.add(programme)).await?;
    let url = format!("{}{}", url(false, addr), paths.first().map_or("/", String::as_str));
    out.event("playable", &json!({ "url": url }));
    let done = tokio::select! {
        biased;
        () = signals.any() => Err(Failure::interrupted()),
        failure = playing.ended() => return Err(failure),
        shown = show(args.player, &url, out) => shown,
    };
    playing.close().await;
    done
}

/// Has a player show it, and waits until that is closed; without one, for ever.
async fn show(player: Option<Player>, url: &str, out: &Output) -> Result<(), Failure> {
    let candidates = match player {
        Some(Player::Mpv) => &["mpv"][..],
        Some(Player::Vlc) => &["vlc"],
        Some(Player::None) => &[],
        None => &["mpv", "vlc"],
    };
    for program in candidates {
        let mut command = Command::new(program);
        command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        match command.spawn() {
            Ok(mut child) => {
                out.event("player", &json!({ "program": program }));
                out.say(format_args!("{program} plays {url}"));
                let ended = child.wait().await.map_err(Failure::other)?;
                return if ended.success() { Ok(()) } else { Err(Failure::other(format!("{program} ended: {ended}"))) };
            }
            Err(error) if player.is_some() => {
                return Err(Failure::other(format!("cannot start {program}: {error}; another player can open {url}")));
            }
            Err(_) => {}
        }
    }
    let none = if candidates.is_empty() { "" } else { "there is neither mpv nor vlc here; " };
    out.say(format_args!("{none}open this in any player, until Ctrl-C:\n{url}"));
    std::future::pending().await
}
