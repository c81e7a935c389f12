use http::Method;
use ppsp_auth::{UserName, scram::Verifier, token::Role};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{at_portal::account, table};
use crate::{
    account::{Account, AccountError, path_part},
    cli::{args::UserCommand, exit::Failure, output::Output, secret},
};

/// An account, as the Portal shows it.
#[derive(Debug, Deserialize, Serialize)]
struct User {
    name: String,
    role: String,
    banned: bool,
    groups: Vec<String>,
    created: u64,
}

/// `ppsp user`.
pub(super) async fn run(mut command: UserCommand, out: &Output) -> Result<(), Failure> {
    let account = account(command.at())?;
    match command {
        UserCommand::Add { name, role, .. } => {
            let role: Role = role.parse().map_err(Failure::usage)?;
            let name: UserName = name.parse().map_err(Failure::usage)?;
            let verifier = new_verifier(&account, &name).await?;
            let body = json!({ "name": name, "role": role, "verifier": verifier });
            let user: User = account.ask(Method::POST, "/api/v1/users", Some(body)).await?;
            out.event("user", &user);
            out.say(format_args!("{} has an account now, as {}", user.name, user.role));
        }
        UserCommand::Passwd { name, .. } => {
            let own = account.login().await.user;
            let name: UserName = name.unwrap_or(own).parse().map_err(Failure::usage)?;
            let verifier = new_verifier(&account, &name).await?;
            let path = format!("/api/v1/users/{}/verifier", path_part(name.as_str()));
            let _: Value = account.ask(Method::PUT, &path, Some(json!(verifier))).await?;
            out.event("password", &json!({ "name": name }));
            out.say(format_args!("{name} has a new password; the other sessions of {name} have ended"));
        }
        UserCommand::Ban { name, .. } => {
            let user = change(&account, &name, json!({ "banned": true })).await?;
            out.event("user", &user);
            out.say(format_args!("{} is banned: its sessions and memberships in swarms end", user.name));
        }
        UserCommand::Unban { name, .. } => {
            let user = change(&account, &name, json!({ "banned": false })).await?;
            out.event("user", &user);
            out.say(format_args!("{} may sign in again", user.name));
        }
        UserCommand::Role { name, role, .. } => {
            let role: Role = role.parse().map_err(Failure::usage)?;
            let user = change(&account, &name, json!({ "role": role })).await?;
            out.event("user", &user);
            out.say(format_args!("{} is {} now", user.name, user.role));
        }
        UserCommand::Groups { name, groups, .. } => {
            let user = change(&account, &name, json!({ "groups": groups })).await?;
            out.event("user", &user);
            out.say(format_args!("{} is in {}", user.name, groups_of(&user)));
        }
        UserCommand::List { .. } => {
            let users = all(&account).await?;
            let row = |user: &User| {
                let state = if user.banned { "banned" } else { "" };
                let cells =
                    [user.name.clone(), user.role.clone(), groups_of(user), table::time(user.created), state.into()];
                (json!(user), cells)
            };
            let rows: Vec<_> = users.iter().map(row).collect();
            table::show(out, "user", ["NAME", "ROLE", "GROUPS", "SINCE", ""], &rows);
        }
    }
    Ok(())
}

async fn change(account: &Account, name: &str, body: Value) -> Result<User, Failure> {
    let name: UserName = name.parse().map_err(Failure::usage)?;
    let path = format!("/api/v1/users/{}", path_part(name.as_str()));
    Ok(account.ask(Method::PATCH, &path, Some(body)).await?)
}

async fn all(account: &Account) -> Result<Vec<User>, AccountError> {
    #[derive(Deserialize)]
    struct Page {
        users: Vec<User>,
        after: Option<String>,
    }
    let (mut users, mut after) = (Vec::new(), String::new());
    loop {
        let page: Page = account.get(&format!("/api/v1/users?after={}", path_part(&after))).await?;
        users.extend(page.users);
        match page.after {
            Some(next) if next != after => after = next,
            _ => return Ok(users),
        }
    }
}

/// What the Portal gets of a new password (RFC 5802 §3): nobody can sign in with it.
async fn new_verifier(account: &Account, name: &UserName) -> Result<Verifier, Failure> {
    #[derive(Deserialize)]
    struct Metadata {
        ppsp_scram_iterations: u32,
    }
    let metadata: Metadata = account.get("/.well-known/oauth-authorization-server").await?;
    let password = secret::choose(format!("new password of {name}")).await?;
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(Failure::other)?;
    let stretching =
        tokio::task::spawn_blocking(move || Verifier::new(&password, salt, metadata.ppsp_scram_iterations));
    stretching.await.map_err(Failure::other)?.map_err(Failure::other)
}

fn groups_of(user: &User) -> String {
    if user.groups.is_empty() { "no group".into() } else { user.groups.join(", ") }
}
