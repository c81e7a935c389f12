//! What is around every page, and what keeps it safe in a browser.

use askama::Template;
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{assets, visitor};
use crate::portal::{Caller, Portal, Refusal};

/// Title, navigation, and who is signed in.
pub(super) struct Frame {
    pub(super) title: String,
    /// The entry of the navigation that the page belongs to.
    pub(super) here: &'static str,
    /// Name and role of who is signed in.
    pub(super) user: Option<(String, &'static str)>,
    pub(super) csrf: String,
    /// Is self-registration open?
    pub(super) open: bool,
}

impl Frame {
    pub(super) fn of(portal: &Portal, caller: &Caller, here: &'static str, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            here,
            user: Some((caller.name().to_string(), caller.user.role.as_str())),
            csrf: portal.form_token(caller).to_string(),
            open: portal.open_registration(),
        }
    }

    pub(super) fn of_nobody(portal: &Portal, here: &'static str, title: impl Into<String>) -> Self {
        let (title, csrf) = (title.into(), String::new());
        Self { title, here, user: None, csrf, open: portal.open_registration() }
    }

    /// For whoever it is.
    pub(super) async fn of_visitor(portal: &Portal, headers: &HeaderMap) -> Self {
        match visitor(headers, portal).await {
            Ok(caller) => Self::of(portal, &caller, "", ""),
            Err(_) => Self::of_nobody(portal, "", ""),
        }
    }

    pub(super) fn is_admin(&self) -> bool {
        self.user.as_ref().is_some_and(|(_, role)| *role == "admin")
    }

    /// A script or style sheet of this page's, by a name that changes with it.
    pub(super) fn asset(&self, name: &str) -> String {
        assets::url(name)
    }

    /// What a link of the navigation says about itself.
    pub(super) fn mark(&self, link: &str) -> &'static str {
        if self.here == link { "page" } else { "false" }
    }
}

/// A page.
pub(super) fn page(template: &impl Template) -> Response {
    status_page(StatusCode::OK, template)
}

/// A page with another status than that all is well.
pub(super) fn status_page(status: StatusCode, template: &impl Template) -> Response {
    let mut response = match template.render() {
        Ok(html) => (status, Html(html)).into_response(),
        Err(error) => {
            tracing::error!("a page could not be made: {error}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// A page that may ask gateways on its visitor's own machine, play what they send, and ask nobody else. (A policy has no way to
/// write `[::1]`; that machine is also `localhost`.)
pub(super) fn reaching_gateways(mut page: Response) -> Response {
    let policy = HeaderValue::from_static(GATEWAY_POLICY);
    page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    page
}

/// Scripts and styles of our own files alone, forms to ourselves alone, and no frame around us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The same, but for whom it asks. `blob:` is what a script hands to the video.
const GATEWAY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                              connect-src http://127.0.0.1:* http://localhost:*; \
                              media-src blob: http://127.0.0.1:* http://localhost:*; \
                              form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: Frame,
    sentence: String,
}

/// A refusal as a page of its own.
pub(super) fn failed(mut frame: Frame, refusal: &Refusal) -> Response {
    if let Some(inner) = refusal.inner() {
        tracing::error!("{}: {inner}", refusal.code());
    }
    frame.title = match refusal.status() {
        401 => "Not signed in",
        403 => "Not allowed",
        404 => "Not found",
        429 => "Too many attempts",
        400 | 409 => "That cannot be done",
        _ => "Out of order",
    }
    .into();
    let mut response = status_page(status(refusal), &ErrorPage { frame, sentence: sentence(refusal) });
    if let Some(seconds) = refusal.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

pub(super) fn status(refusal: &Refusal) -> StatusCode {
    StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Its reason, as a sentence.
pub(super) fn sentence(refusal: &Refusal) -> String {
    let mut sentence = refusal.to_string();
    if let Some(first) = sentence.get(..1).map(str::to_uppercase) {
        sentence.replace_range(..1, &first);
    }
    sentence.push('.');
    sentence
}
