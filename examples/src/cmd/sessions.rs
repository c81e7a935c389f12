use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{at_portal::account, table};
use crate::{
    account::path_part,
    cli::{args::SessionsCommand, exit::Failure, output::Output},
};

#[derive(Debug, Deserialize, Serialize)]
struct Session {
    id: String,
    user: String,
    client_id: String,
    created: u64,
    seen: u64,
    current: bool,
}

/// `ppsp sessions`.
pub(super) async fn run(mut command: SessionsCommand, out: &Output) -> Result<(), Failure> {
    let account = account(command.at())?;
    match command {
        SessionsCommand::List { user, all, .. } => {
            #[derive(Deserialize)]
            struct List {
                sessions: Vec<Session>,
            }
            let path = match (user, all) {
                (Some(user), _) => format!("/api/v1/sessions?user={}", path_part(&user)),
                (None, Some(true)) => "/api/v1/sessions?all=1".to_owned(),
                _ => "/api/v1/sessions".to_owned(),
            };
            let list: List = account.get(&path).await?;
            let row = |session: &Session| {
                let note = if session.current { "this one" } else { "" };
                let (since, seen) = (table::time(session.created), table::time(session.seen));
                (json!(session), [session.id.clone(), session.user.clone(), since, seen, note.to_owned()])
            };
            let rows: Vec<_> = list.sessions.iter().map(row).collect();
            table::show(out, "session", ["SESSION", "USER", "SIGNED IN", "LAST SEEN", ""], &rows);
        }
        SessionsCommand::Revoke { id, .. } => {
            let _: Value = account.ask(Method::DELETE, &format!("/api/v1/sessions/{}", path_part(&id)), None).await?;
            out.event("revoked", &json!({ "session": id }));
            out.say(format_args!("session {id} is over; trackers end its memberships within seconds"));
        }
    }
    Ok(())
}
