use http::Method;
use ppsp_auth::UserName;
use ppsp_core::{SwarmMetadata, descriptor::Descriptor};
use serde::Deserialize;
use serde_json::json;

use super::{
    at_portal::{account, origin, sign_in_at},
    catalogue,
    content::allow,
    membership::{Joining, check_flags},
    seed::open,
    session::Goal,
    signals::Signals,
};
use crate::{
    account::{Account, AccountError, Logins, path_part},
    cli::{
        args::{PortalAt, PublishArgs, RuleArgs},
        exit::{Exit, Failure},
        output::Output,
    },
    gateway::media_type,
};

/// `ppsp publish`.
pub(super) async fn run(args: PublishArgs, out: &mut Output) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    // What can be wrong with the file is better known before anybody types a password.
    let name = args.seed.file.file_name().and_then(|name| name.to_str());
    let name = name.ok_or_else(|| Failure::usage(format!("{}: not a file name", args.seed.file.display())))?.to_owned();
    check_flags(&args.seed.net)?;
    let account = signals.unless(publisher(&args, out)).await?;
    let opened = open(&args.seed, out, &mut signals).await?;
    let metadata = opened.metadata();

    let entering = enter(&args, &account, &name, &metadata, out);
    let joining = signals.unless(entering).await?;
    let mut session = opened.begin(&args.seed, joining, out, &mut signals)?;
    session.out.say("serving until Ctrl-C");
    session.run(Goal::Serve { until: None }).await
}

/// Puts the file into the catalogue, where it is not there yet, and returns the way to the trackers.
async fn enter(
    args: &PublishArgs,
    account: &Account,
    name: &str,
    metadata: &SwarmMetadata,
    out: &Output,
) -> Result<Option<Joining>, Failure> {
    let title = args.title.clone().unwrap_or_else(|| name.to_owned());
    let group = args.group.clone().unwrap_or_else(|| "videos".to_owned());
    let known = published(account, &title, metadata).await?;
    let is_new = known.is_none();
    let id = match known {
        Some(id) => id,
        None => {
            let mut descriptor = Descriptor::of_file(&title, name, media_type(name), metadata);
            if !args.seed.net.tracker.is_empty() {
                descriptor.set_trackers(std::slice::from_ref(&args.seed.net.tracker));
            }
            let body = json!({ "title": title, "group": group, "descriptor": descriptor.to_xml() });
            account.ask::<Named>(Method::POST, "/api/v1/content", Some(body)).await?.id
        }
    };
    for who in args.allow.iter().cloned() {
        let rule = RuleArgs { about: id.clone(), who, from: None, until: None, at: PortalAt::default() };
        allow(account, &rule, "allow").await?;
    }
    let descriptor = account.descriptor(&id).await?;
    let login = account.login().await;
    let url = format!("{}/content/{id}", login.portal);
    out.event("published", &json!({ "id": id, "title": title, "group": group, "url": url, "new": is_new }));
    let how = if is_new { "is in the catalogue now" } else { "was in the catalogue already" };
    out.say(format_args!("'{title}' {how}: {url}"));
    out.say(format_args!("others get it by: ppsp get {id}"));
    let joining = Joining::of_content(&args.seed.net, account, &id, &descriptor, Some(out)).await?;
    if joining.is_none() {
        out.warn("the Portal has no tracker: nobody will find this seed; start 'ppsp tracker', then this again");
    }
    Ok(joining)
}

/// The login that is kept where it is the right user's; else a new one.
async fn publisher(args: &PublishArgs, out: &Output) -> Result<Account, Failure> {
    let portal = args.at.portal.as_deref().map(origin).transpose()?;
    let Some(user) = &args.user else { return account(&PortalAt { portal }) };
    let user: UserName = user.parse().map_err(Failure::usage)?;
    if let Ok(account) = Account::open(Logins::of_user()?, portal.as_deref(), Some(user.as_str())) {
        // It may be over.
        match account.get::<serde_json::Value>("/api/v1/sessions").await {
            Ok(_) => return Ok(account),
            Err(AccountError::Ended { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let portal = portal.ok_or_else(|| Failure::new(Exit::Usage, "name the Portal to sign in at with --portal"))?;
    sign_in_at(out, &portal, user, args.pin, args.seed.net.insecure_http.unwrap_or(false)).await
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

/// The same content under the same title, from an earlier run.
async fn published(account: &Account, title: &str, metadata: &SwarmMetadata) -> Result<Option<String>, AccountError> {
    #[derive(Deserialize)]
    struct Details {
        swarms: Vec<String>,
    }
    let (own, swarm) = (account.login().await.user, metadata.id.to_string());
    // The catalogue is searched word by word, in at most 200 bytes.
    let words: String = title.chars().take(50).collect();
    for content in catalogue::search(account, &words, 200).await? {
        if content.title == title && content.publisher == own {
            let details: Details = account.get(&format!("/api/v1/content/{}", path_part(&content.id))).await?;
            if details.swarms.contains(&swarm) {
                return Ok(Some(content.id));
            }
        }
    }
    Ok(None)
}
