//! Accounts, for admins.

use askama::Template;
use axum::{
    Extension,
    extract::{Path, State},
    response::Response,
};
use http::HeaderMap;
use ppsp_auth::{UserName, token::Role};
use serde::Deserialize;

use super::{
    Visitor, encode,
    form::{Asked, Done, Form, Problem, Said, Sent, done},
    frame::{Frame, failed, page},
    password::NewPassword,
    sign_in::NewAccount,
    view::Time,
};
use crate::{
    http::Remote,
    portal::{
        Caller, Portal, Refusal,
        accounts::{Change, User},
    },
};

/// A user as a page shows it.
struct Person {
    name: String,
    role: &'static str,
    banned: bool,
    groups: String,
    created: Time,
}

impl From<User> for Person {
    fn from(user: User) -> Self {
        Self {
            name: user.name.to_string(),
            role: user.role.as_str(),
            banned: user.banned,
            groups: user.groups.join(", "),
            created: Time::of(user.created),
        }
    }
}

#[derive(Template)]
#[template(path = "users.html")]
struct UsersPage {
    frame: Frame,
    users: Vec<Person>,
    next: Option<String>,
    iterations: u32,
    done: bool,
    typed: NewAccount,
    said: Said,
}

#[derive(Deserialize)]
pub(super) struct After {
    #[serde(default)]
    after: String,
}

/// `GET /admin/users`.
pub(super) async fn users(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Asked(After { after }): Asked<After>,
    Asked(done): Asked<Done>,
) -> Response {
    list(&portal, &caller, &after, done.is(), NewAccount::default(), Said::default()).await
}

async fn list(portal: &Portal, caller: &Caller, after: &str, done: bool, typed: NewAccount, said: Said) -> Response {
    let frame = Frame::of(portal, caller, "users", "Users");
    match portal.users(caller, after, PAGE).await {
        Ok(found) => {
            let next = (found.len() as u64 == PAGE).then(|| found.last().map(|user| user.name.to_string())).flatten();
            let users = found.into_iter().map(Into::into).collect();
            page(&UsersPage { frame, users, next, iterations: portal.iterations(), done, typed, said })
        }
        Err(refusal) => failed(frame, &refusal),
    }
}

/// `POST /admin/users`: a new one.
pub(super) async fn add(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Extension(remote): Extension<Remote>,
    headers: HeaderMap,
    Sent(form): Sent<Form<NewAccount>>,
) -> Response {
    let new = match form.checked(&portal, &caller, &headers) {
        Ok(new) => new,
        Err(response) => return *response,
    };
    let added = async {
        let (name, verifier, role) = new.read()?;
        portal.add_user(Some(&caller), name, role, verifier, remote.ip()).await.map_err(Problem::at("name"))
    };
    match added.await {
        Ok(_) => done("/admin/users"),
        Err(problem) => problem.on(list(&portal, &caller, "", false, new, problem.said()).await),
    }
}

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage {
    frame: Frame,
    person: Person,
    iterations: u32,
    done: bool,
    /// What its form shows.
    changes: Changes,
    said: Said,
}

/// `GET /admin/users/{name}`.
pub(super) async fn user(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Path(name): Path<String>,
    Asked(done): Asked<Done>,
) -> Response {
    show(&portal, &caller, &name, done.is(), None, Said::default()).await
}

async fn show(
    portal: &Portal,
    caller: &Caller,
    name: &str,
    done: bool,
    typed: Option<Changes>,
    said: Said,
) -> Response {
    let frame = Frame::of(portal, caller, "users", name);
    let found = async {
        // A change of nothing tells what there is.
        portal.change_user(caller, parse(name)?, Change::default()).await
    };
    match found.await {
        Ok(user) => {
            let person = Person::from(user);
            let changes = typed.unwrap_or_else(|| Changes {
                role: person.role.to_owned(),
                groups: person.groups.clone(),
                banned: if person.banned { ON } else { "" }.to_owned(),
            });
            page(&UserPage { frame, person, iterations: portal.iterations(), done, changes, said })
        }
        Err(refusal) => failed(frame, &refusal),
    }
}

#[derive(Deserialize)]
pub(super) struct Changes {
    role: String,
    groups: String,
    #[serde(default)]
    banned: String,
}

/// What a browser sends for a checked box.
const ON: &str = "on";

/// `POST /admin/users/{name}`.
pub(super) async fn change(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Path(name): Path<String>,
    headers: HeaderMap,
    Sent(form): Sent<Form<Changes>>,
) -> Response {
    let changes = match form.checked(&portal, &caller, &headers) {
        Ok(changes) => changes,
        Err(response) => return *response,
    };
    match changes.make(&portal, &caller, &name).await {
        Ok(()) => done(&address(&name)),
        Err(problem) => problem.on(show(&portal, &caller, &name, false, Some(changes), problem.said()).await),
    }
}

impl Changes {
    async fn make(&self, portal: &Portal, caller: &Caller, name: &str) -> Result<(), Problem> {
        let name = parse(name).map_err(Problem::at(""))?;
        let groups = self.groups.split(',').map(str::trim).filter(|group| !group.is_empty());
        let change = Change {
            banned: Some(self.banned == ON),
            role: Some(role(&self.role).map_err(Problem::at("role"))?),
            groups: Some(groups.map(str::to_owned).collect()),
        };
        let made = portal.change_user(caller, name, change).await;
        // All that is left to be invalid are groups.
        made.map(drop).map_err(|refusal| match refusal {
            Refusal::Invalid(_) => Problem::at("groups")(refusal),
            Refusal::Conflict(_) if self.banned == ON => Problem::at("banned")(refusal),
            Refusal::Conflict(_) => Problem::at("role")(refusal),
            _ => Problem::at("")(refusal),
        })
    }
}

/// `POST /admin/users/{name}/password`.
pub(super) async fn set_password(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Path(name): Path<String>,
    headers: HeaderMap,
    Sent(form): Sent<Form<NewPassword>>,
) -> Response {
    let new = match form.checked(&portal, &caller, &headers) {
        Ok(new) => new,
        Err(response) => return *response,
    };
    let set = async { portal.set_verifier(&caller, parse(&name)?, new.read()?).await };
    match set.await.map_err(Problem::at("password")) {
        Ok(()) => done(&address(&name)),
        Err(problem) => problem.on(show(&portal, &caller, &name, false, None, problem.said()).await),
    }
}

/// A role as forms name it.
pub(super) fn role(name: &str) -> Result<Role, Refusal> {
    name.parse().map_err(|_| Refusal::invalid("there is no such role"))
}

fn parse(name: &str) -> Result<UserName, Refusal> {
    name.parse().map_err(|_| Refusal::NotFound("there is no such user"))
}

fn address(name: &str) -> String {
    format!("/admin/users/{}", encode(name))
}

/// Users on a page.
const PAGE: u64 = 100;
