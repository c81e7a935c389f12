use http::Method;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    at_portal::account,
    catalogue::{self, Content},
    table,
};
use crate::{
    account::{Account, AccountError, path_part},
    cli::{
        args::{ContentCommand, RuleArgs, Who},
        exit::Failure,
        output::Output,
    },
};

/// A rule about content or a catalogue group, as the Portal shows it.
#[derive(Debug, Deserialize, Serialize)]
struct Rule {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<String>,
    effect: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
}

/// All rules about something.
#[derive(Debug, Deserialize)]
pub(super) struct Rules {
    policies: Vec<Rule>,
}

impl Rules {
    /// Those about content, or about `group:NAME`.
    pub(super) async fn about(account: &Account, about: &str) -> Result<Self, AccountError> {
        account.get(&place(about)).await
    }

    /// Has them hold for this content, too.
    pub(super) async fn copy_to(&self, account: &Account, content: &str) -> Result<(), AccountError> {
        for rule in &self.policies {
            account.ask::<Value>(Method::PUT, &place(content), Some(json!(rule))).await?;
        }
        Ok(())
    }
}

/// `ppsp content`.
pub(super) async fn run(mut command: ContentCommand, out: &Output) -> Result<(), Failure> {
    let account = account(command.at())?;
    match command {
        ContentCommand::List { words, .. } => {
            let found = catalogue::search(&account, &words.join(" "), 1000).await?;
            let own = account.login().await;
            let mine = |content: &Content| own.role == "admin" || content.publisher == own.user;
            catalogue::show(out, &found.into_iter().filter(mine).collect::<Vec<_>>());
        }
        ContentCommand::Allow(rule) => set(&account, &rule, "allow", out).await?,
        ContentCommand::Deny(rule) => set(&account, &rule, "deny", out).await?,
        ContentCommand::Rules { about, .. } => {
            let rules = Rules::about(&account, &about).await?;
            let row = |rule: &Rule| {
                let who = rule.user.clone().or_else(|| rule.group.as_ref().map(|group| format!("group:{group}")));
                let when = |at: Option<u64>| at.map(table::time).unwrap_or_default();
                (json!(rule), [who.unwrap_or_default(), rule.effect.clone(), when(rule.from), when(rule.until)])
            };
            let rows: Vec<_> = rules.policies.iter().map(row).collect();
            table::show(out, "rule", ["WHO", "MAY", "FROM", "UNTIL"], &rows);
        }
        ContentCommand::Forget { about, who, .. } => {
            let body = about_whom(&who);
            let _: Value = account.ask(Method::DELETE, &place(&about), Some(body)).await?;
            out.say(format_args!("the rule about {about} for {who} is gone"));
        }
        ContentCommand::Remove { id, .. } => {
            let path = format!("/api/v1/content/{}", path_part(&id));
            let _: Value = account.ask(Method::DELETE, &path, None).await?;
            out.event("removed", &json!({ "id": id }));
            out.say(format_args!("{id} is out of the catalogue; tokens do not open it any more"));
        }
    }
    Ok(())
}

async fn set(account: &Account, rule: &RuleArgs, effect: &str, out: &Output) -> Result<(), Failure> {
    allow(account, rule, effect).await?;
    out.event("rule", &json!({ "about": rule.about, "who": rule.who.to_string(), "effect": effect }));
    let word = if effect == "allow" { "may" } else { "may not" };
    out.say(format_args!("{} {word} watch {}", rule.who, rule.about));
    Ok(())
}

/// Sets a rule.
pub(super) async fn allow(account: &Account, rule: &RuleArgs, effect: &str) -> Result<(), AccountError> {
    let mut body = about_whom(&rule.who);
    body["effect"] = effect.into();
    for (name, at) in [("from", &rule.from), ("until", &rule.until)] {
        if let Some(at) = at {
            body[name] = at.unix().into();
        }
    }
    account.ask::<Value>(Method::PUT, &place(&rule.about), Some(body)).await.map(|_| ())
}

fn about_whom(who: &Who) -> Value {
    match who {
        Who::User(name) => json!({ "user": name }),
        Who::Group(name) => json!({ "group": name }),
    }
}

/// Content, or `group:NAME` for all of a catalogue group.
fn place(about: &str) -> String {
    match about.strip_prefix("group:") {
        Some(group) => format!("/api/v1/groups/{}/policies", path_part(group)),
        None => format!("/api/v1/content/{}/policies", path_part(about)),
    }
}
