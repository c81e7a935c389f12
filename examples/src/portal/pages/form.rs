//! What browsers send: forms and the parameters of addresses, and what the page says of them afterwards.

use axum::{
    extract::{FromRequest, FromRequestParts, Query, Request},
    response::{IntoResponse, Redirect, Response},
};
use http::{HeaderMap, StatusCode, request::Parts};
use serde::{Deserialize, de::DeserializeOwned};

use super::frame::{Frame, failed, sentence, status};
use crate::portal::{Caller, Portal, Refusal};

/// A form that was sent, checked before anything else is done with it.
#[derive(Deserialize)]
pub(super) struct Form<T> {
    #[serde(default)]
    csrf: String,
    #[serde(flatten)]
    fields: T,
}

impl<T> Form<T> {
    pub(super) fn checked(self, portal: &Portal, caller: &Caller, headers: &HeaderMap) -> Result<T, Box<Response>> {
        match portal.check_form(caller, &self.csrf, headers) {
            Ok(()) => Ok(self.fields),
            Err(refusal) => Err(Box::new(failed(Frame::of(portal, caller, "", ""), &refusal))),
        }
    }
}

/// A form without fields.
#[derive(Deserialize)]
pub(super) struct Nothing {}

/// The fields of a form, or a page that says that they are not.
pub(super) struct Sent<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequest<Portal> for Sent<T> {
    type Rejection = Response;

    async fn from_request(request: Request, portal: &Portal) -> Result<Self, Response> {
        let headers = request.headers().clone();
        match axum::Form::from_request(request, portal).await {
            Ok(axum::Form(fields)) => Ok(Self(fields)),
            Err(_) => {
                let refusal = Refusal::invalid("the form did not arrive as it was sent: load its page again");
                Err(failed(Frame::of_visitor(portal, &headers).await, &refusal))
            }
        }
    }
}

/// The parameters of an address, or a page that says that they are not.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Portal> for Asked<T> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Response> {
        match Query::from_request_parts(parts, portal).await {
            Ok(Query(asked)) => Ok(Self(asked)),
            Err(_) => {
                let refusal = Refusal::invalid("there is something wrong with this address");
                Err(failed(Frame::of_visitor(portal, &parts.headers).await, &refusal))
            }
        }
    }
}

/// Why a form was not taken, and the field in which that can be mended (none, where it is empty): its page says it there.
pub(super) struct Problem {
    field: &'static str,
    refusal: Refusal,
}

impl Problem {
    /// For `map_err`.
    pub(super) fn at(field: &'static str) -> impl Fn(Refusal) -> Self {
        move |refusal| Self { field, refusal }
    }

    /// What the page of the form is to say.
    pub(super) fn said(&self) -> Said {
        if let Some(inner) = self.refusal.inner() {
            tracing::error!("{}: {inner}", self.refusal.code());
        }
        Said { field: self.field, sentence: sentence(&self.refusal) }
    }

    /// That page, with a status that tells programs the same.
    pub(super) fn on(&self, mut page: Response) -> Response {
        if page.status() == StatusCode::OK {
            *page.status_mut() = status(&self.refusal);
        }
        page
    }
}

/// What a page says of the form that was sent: nothing, by default.
#[derive(Default)]
pub(super) struct Said {
    field: &'static str,
    sentence: String,
}

impl Said {
    /// Whether it is about this field.
    pub(super) fn is_at(&self, field: &str) -> bool {
        self.field == field && !self.sentence.is_empty()
    }

    /// What there is to say beside this field.
    pub(super) fn at(&self, field: &str) -> &str {
        if self.field == field { &self.sentence } else { "" }
    }
}

/// To this page, which then says that it is done.
pub(super) fn done(page: &str) -> Response {
    Redirect::to(&format!("{page}?done=1")).into_response()
}

/// Whether a form was just taken.
#[derive(Deserialize)]
pub(super) struct Done {
    #[serde(default)]
    done: String,
}

impl Done {
    pub(super) fn is(&self) -> bool {
        self.done == "1"
    }
}
