//! One's own password.

use askama::Template;
use axum::{extract::State, response::Response};
use http::HeaderMap;
use ppsp_auth::scram::Verifier;
use serde::Deserialize;

use super::{
    Visitor,
    form::{Asked, Done, Form, Problem, Said, Sent, done},
    frame::{Frame, page},
};
use crate::portal::{Caller, Portal, Refusal, accounts::FRESH};

#[derive(Template)]
#[template(path = "password.html")]
struct PasswordPage {
    frame: Frame,
    iterations: u32,
    /// Whether it may be changed in this session.
    fresh: bool,
    /// For so many minutes after signing in it may.
    minutes: u64,
    done: bool,
    said: Said,
}

/// `GET /password`.
pub(super) async fn password(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    Asked(done): Asked<Done>,
) -> Response {
    show(&portal, &caller, done.is(), Said::default())
}

fn show(portal: &Portal, caller: &Caller, done: bool, said: Said) -> Response {
    let frame = Frame::of(portal, caller, "password", "Your password");
    let (iterations, fresh) = (portal.iterations(), caller.is_fresh());
    page(&PasswordPage { frame, iterations, fresh, minutes: FRESH / 60, done, said })
}

/// A new password as forms send it: the script in the page computes the verifier.
#[derive(Deserialize)]
pub(super) struct NewPassword {
    verifier: String,
}

impl NewPassword {
    pub(super) fn read(&self) -> Result<Verifier, Refusal> {
        verifier(&self.verifier)
    }
}

/// A verifier as the script writes it.
pub(super) fn verifier(json: &str) -> Result<Verifier, Refusal> {
    serde_json::from_str(json)
        .map_err(|_| Refusal::invalid("the password could not be taken: the page's script did not run"))
}

/// `POST /password`.
pub(super) async fn changed(
    State(portal): State<Portal>,
    Visitor(caller): Visitor,
    headers: HeaderMap,
    Sent(form): Sent<Form<NewPassword>>,
) -> Response {
    let new = match form.checked(&portal, &caller, &headers) {
        Ok(new) => new,
        Err(response) => return *response,
    };
    let set = async { portal.set_verifier(&caller, caller.name().clone(), new.read()?).await };
    match set.await.map_err(Problem::at("password")) {
        Ok(()) => done("/password"),
        Err(problem) => problem.on(show(&portal, &caller, false, problem.said())),
    }
}
