//! How content gets into the catalogue of a Portal, and how what was recorded takes the place of a live stream there.

use http::{Method, StatusCode};
use ppsp_auth::UserName;
use ppsp_core::descriptor::{Descriptor, Representation};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    at_portal::{account, origin, sign_in_at},
    catalogue::{self, Content},
    content::{Rules, allow},
    membership::Joining,
};
use crate::{
    account::{Account, AccountError, Logins, path_part},
    cli::{
        args::{EntryArgs, NetArgs, PortalAt, RuleArgs, Who},
        exit::{Exit, Failure},
        output::Output,
    },
};

/// The group of content where nothing else is said.
const GROUP: &str = "videos";

/// How the catalogue shows content, and who may watch it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) title: String,
    group: String,
    allow: Vec<Who>,
    /// The command by which others fetch it.
    verb: &'static str,
}

impl Entry {
    /// As the flags say.
    pub(super) fn new(args: &EntryArgs, title: String, verb: &'static str) -> Self {
        Self { title, group: args.group.clone().unwrap_or_else(|| GROUP.to_owned()), allow: args.allow.clone(), verb }
    }

    /// Puts content into the catalogue, where it is not there yet.
    pub(super) async fn enter(
        &self,
        account: &Account,
        net: &NetArgs,
        mut descriptor: Descriptor,
        out: &Output,
    ) -> Result<Entered, Failure> {
        let Self { title, group, allow: whom, verb } = self;
        let known = published(account, title, &descriptor).await?;
        let is_new = known.is_none();
        let id = match known {
            Some(id) => id,
            None => {
                if !net.tracker.is_empty() {
                    descriptor.set_trackers(std::slice::from_ref(&net.tracker));
                }
                let body = json!({ "title": title, "group": group, "descriptor": descriptor.to_xml() });
                account.ask::<Named>(Method::POST, "/api/v1/content", Some(body)).await?.id
            }
        };
        for who in whom.iter().cloned() {
            let rule = RuleArgs { about: id.clone(), who, from: None, until: None, at: PortalAt::default() };
            allow(account, &rule, "allow").await?;
        }
        let descriptor = account.descriptor(&id).await?;
        let login = account.login().await;
        let url = format!("{}/content/{id}", login.portal);
        out.event("published", &json!({ "id": id, "title": title, "group": group, "url": url, "new": is_new }));
        let how = if is_new { "is in the catalogue now" } else { "was in the catalogue already" };
        out.say(format_args!("'{title}' {how}: {url}"));
        out.say(format_args!("others {verb} it by: ppsp {verb} {id}"));
        Ok(Entered { account: account.clone(), id, descriptor })
    }
}

/// Content in the catalogue.
pub(super) struct Entered {
    account: Account,
    id: String,
    /// As the Portal signed it.
    descriptor: Descriptor,
}

impl Entered {
    /// The way to the trackers.
    pub(super) async fn joining(&self, net: &NetArgs, out: &Output) -> Result<Option<Joining>, Failure> {
        let joining = Joining::of_content(net, &self.account, &self.id, &self.descriptor, Some(out)).await?;
        if joining.is_none() {
            out.warn("the Portal has no tracker: nobody will find this peer; start 'ppsp tracker', then this again");
        }
        Ok(joining)
    }

    /// Where a recording of this stream belongs.
    pub(super) fn succession(&self, entry: &Entry) -> Succession {
        let entry = Entry { verb: "get", ..entry.clone() };
        Succession { account: self.account.clone(), entry, live: Some(self.id.clone()) }
    }

    /// Takes it out of the catalogue.
    pub(super) async fn remove(&self, out: &Output) -> Result<(), Failure> {
        match remove(&self.account, &self.id, out).await {
            // A recorder may have been quicker.
            Err(AccountError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(()),
            removed => Ok(removed?),
        }
    }
}

/// What becomes of a recorded stream in the catalogue: it stands there under the title of the live one, for whom that was, and that is
/// taken out.
pub(super) struct Succession {
    account: Account,
    entry: Entry,
    /// The live one, where it came from a catalogue.
    live: Option<String>,
}

impl Succession {
    /// Of content in a catalogue, as it is shown there.
    pub(super) async fn of_content(account: Account, id: &str) -> Result<Self, Failure> {
        may_publish(&account).await?;
        let Content { title, group, .. } = account.get(&format!("/api/v1/content/{}", path_part(id))).await?;
        let entry = Entry { title, group, allow: Vec::new(), verb: "get" };
        Ok(Self { account, entry, live: Some(id.to_owned()) })
    }

    /// Of a stream that no catalogue has.
    pub(super) async fn of_link(account: Account, title: String) -> Result<Self, Failure> {
        may_publish(&account).await?;
        let entry = Entry { title, group: GROUP.to_owned(), allow: Vec::new(), verb: "get" };
        Ok(Self { account, entry, live: None })
    }

    /// The title that it will have.
    pub(super) fn title(&self) -> &str {
        &self.entry.title
    }

    /// The recorded stream enters.
    pub(super) async fn enter(&self, net: &NetArgs, descriptor: Descriptor, out: &Output) -> Result<Entered, Failure> {
        let entered = self.entry.enter(&self.account, net, descriptor, out).await?;
        let Some(live) = &self.live else { return Ok(entered) };
        let succeeded = async {
            // Who may watch the one may watch the other.
            Rules::about(&self.account, live).await?.copy_to(&self.account, &entered.id).await?;
            remove(&self.account, live, out).await
        };
        match succeeded.await {
            // Its source may have been quicker.
            Ok(()) | Err(AccountError::Refused { status: StatusCode::NOT_FOUND, .. }) => {}
            Err(error) => out.warn(format_args!("the entry of the live stream stays as it is: {error}")),
        }
        Ok(entered)
    }
}

async fn may_publish(account: &Account) -> Result<(), Failure> {
    let login = account.login().await;
    match login.role.as_str() {
        "viewer" => {
            Err(Failure::refused(format!("--publish: {} may watch at {}, not publish", login.user, login.portal)))
        }
        _ => Ok(()),
    }
}

async fn remove(account: &Account, id: &str, out: &Output) -> Result<(), AccountError> {
    let _: Value = account.ask(Method::DELETE, &format!("/api/v1/content/{}", path_part(id)), None).await?;
    out.event("removed", &json!({ "id": id }));
    out.detail(format_args!("{id} is out of the catalogue"));
    Ok(())
}

/// The login that is kept where it is the right user's; else a new one, unless there is nobody to `ask`.
pub(super) async fn publisher(args: &EntryArgs, net: &NetArgs, ask: bool, out: &Output) -> Result<Account, Failure> {
    let portal = args.at.portal.as_deref().map(origin).transpose()?;
    let Some(user) = &args.user else { return account(&PortalAt { portal }) };
    let user: UserName = user.parse().map_err(Failure::usage)?;
    if let Ok(account) = Account::open(Logins::of_user()?, portal.as_deref(), Some(user.as_str())) {
        // It may be over.
        match account.get::<Value>("/api/v1/sessions").await {
            Ok(_) => return Ok(account),
            Err(AccountError::Ended { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let portal = portal.ok_or_else(|| Failure::new(Exit::Usage, "name the Portal to sign in at with --portal"))?;
    if !ask {
        return Err(Failure::refused(format!(
            "{user} is not signed in, and standard input is the stream: 'ppsp login {portal} --user {user}' comes first"
        )));
    }
    sign_in_at(out, &portal, user, args.pin, net.insecure_http.unwrap_or(false)).await
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

/// The same content under the same title, from an earlier run.
async fn published(account: &Account, title: &str, descriptor: &Descriptor) -> Result<Option<String>, AccountError> {
    // Where all of it can be had.
    let places = |descriptor: &Descriptor| {
        let place = |one: Representation| Some((one.swarm?.metadata, one.origin));
        descriptor.representations().into_iter().filter_map(place).collect::<Vec<_>>()
    };
    let own = account.login().await.user;
    // The catalogue is searched word by word, in at most 200 bytes.
    let words: String = title.chars().take(50).collect();
    for content in catalogue::search(account, &words, 200).await? {
        if content.title == title
            && content.publisher == own
            && places(&account.descriptor(&content.id).await?) == places(descriptor)
        {
            return Ok(Some(content.id));
        }
    }
    Ok(None)
}
