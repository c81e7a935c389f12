use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{at_portal::account, table};
use crate::{
    account::{Account, path_part},
    cli::{args::TrackersCommand, exit::Failure, output::Output},
    trackers::plain,
};

#[derive(Debug, Deserialize, Serialize)]
struct Tracker {
    id: String,
    url: String,
    name: String,
    state: String,
    created: u64,
}

/// `ppsp trackers`.
pub(super) async fn run(mut command: TrackersCommand, out: &Output) -> Result<(), Failure> {
    let account = account(command.at())?;
    match command {
        TrackersCommand::List { .. } => {
            #[derive(Deserialize)]
            struct List {
                trackers: Vec<Tracker>,
            }
            let list: List = account.get("/api/v1/trackers").await?;
            let row = |tracker: &Tracker| {
                let cells = [
                    tracker.id.clone(),
                    tracker.name.clone(),
                    plain(&tracker.url),
                    tracker.state.clone(),
                    table::time(tracker.created),
                ];
                (json!(tracker), cells)
            };
            let rows: Vec<_> = list.trackers.iter().map(row).collect();
            table::show(out, "tracker", ["TRACKER", "NAME", "URL", "STATE", "SINCE"], &rows);
        }
        TrackersCommand::Approve { id, .. } => set(&account, &id, "approved", out).await?,
        TrackersCommand::Revoke { id, .. } => set(&account, &id, "revoked", out).await?,
    }
    Ok(())
}

async fn set(account: &Account, id: &str, state: &str, out: &Output) -> Result<(), Failure> {
    let path = format!("/api/v1/trackers/{}", path_part(id));
    let tracker: Tracker = account.ask(Method::PATCH, &path, Some(json!({ "state": state }))).await?;
    out.event("tracker", &tracker);
    out.say(format_args!("{} ({}) is {}", tracker.name, plain(&tracker.url), tracker.state));
    Ok(())
}
