//! The Portal's pages, for people with a browser. They are made here and work as links and forms; only where a password is
//! typed does a script run, because the password never leaves the page: the browser itself runs SCRAM and computes verifiers.
//!
//! Who is signed in is known by a cookie. Every form carries a token of its session.

mod admin;
mod assets;
mod catalogue;
mod own;
mod sign_in;
mod view;

use askama::Template;
use axum::{
    Router,
    extract::FromRequestParts,
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts};

use super::{Caller, Portal, Refusal, cookie};

/// All routes.
pub(super) fn routes() -> Router<Portal> {
    Router::new()
        .route("/", get(async || Redirect::to("/catalogue")))
        .route("/login", get(sign_in::login))
        .route("/logout", post(sign_in::logout))
        .route("/register", get(sign_in::register).post(sign_in::registered))
        .route("/catalogue", get(catalogue::catalogue))
        .route("/content/{id}", get(catalogue::content))
        .route("/content/{id}/descriptor.mpd", get(catalogue::descriptor))
        .route("/content/{id}/rule", post(catalogue::rule))
        .route("/content/{id}/remove", get(catalogue::remove).post(catalogue::removed))
        .route("/groups/{group}", get(catalogue::group))
        .route("/groups/{group}/rule", post(catalogue::group_rule))
        .route("/sessions", get(own::sessions).post(own::end_session))
        .route("/password", get(own::password).post(own::changed))
        .route("/admin/users", get(admin::users).post(admin::add_user))
        .route("/admin/users/{name}", get(admin::user).post(admin::change_user))
        .route("/admin/users/{name}/password", post(admin::set_password))
        .route("/admin/trackers", get(admin::trackers).post(admin::set_tracker))
        .route("/admin/sessions", get(admin::sessions).post(admin::end_session))
        .route("/admin/audit", get(admin::audit_log))
        .route("/assets/{name}", get(assets::asset))
}

/// What is at no address, for who reads pages.
pub(super) async fn missing(portal: Portal, headers: HeaderMap) -> Response {
    let caller = visitor(&headers, &portal).await.ok();
    let frame = caller.map_or_else(|| Frame::of_nobody(&portal, ""), |caller| Frame::of(&portal, &caller, ""));
    failed(Some(frame), Refusal::NotFound("there is nothing at this address"))
}

/// Who looks at a page.
struct Visitor(Caller);

impl FromRequestParts<Portal> for Visitor {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, portal: &Portal) -> Result<Self, Response> {
        match visitor(&parts.headers, portal).await {
            Ok(caller) => Ok(Self(caller)),
            Err(Refusal::NotSignedIn(_)) if parts.method == http::Method::GET => {
                let there = parts.uri.path_and_query().map_or("/", |path| path.as_str());
                let next = percent_encoding::utf8_percent_encode(there, percent_encoding::NON_ALPHANUMERIC);
                Err(Redirect::to(&format!("/login?next={next}")).into_response())
            }
            Err(refusal) => Err(failed(None, refusal)),
        }
    }
}

async fn visitor(headers: &HeaderMap, portal: &Portal) -> Result<Caller, Refusal> {
    const NOBODY: Refusal = Refusal::NotSignedIn("sign in first");
    let header = headers.get(header::COOKIE).and_then(|value| value.to_str().ok()).ok_or(NOBODY)?;
    portal.cookie_caller(&cookie::token(header).ok_or(NOBODY)?).await
}

/// What is around every page.
struct Frame {
    title: String,
    /// Name and role of who is signed in.
    user: Option<(String, &'static str)>,
    csrf: String,
    /// Is self-registration open?
    open: bool,
}

impl Frame {
    fn of(portal: &Portal, caller: &Caller, title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            user: Some((caller.name().to_string(), caller.user.role.as_str())),
            csrf: portal.form_token(caller).to_string(),
            open: portal.open_registration(),
        }
    }

    fn of_nobody(portal: &Portal, title: impl Into<String>) -> Self {
        Self { title: title.into(), user: None, csrf: String::new(), open: portal.open_registration() }
    }

    fn is_admin(&self) -> bool {
        self.user.as_ref().is_some_and(|(_, role)| *role == "admin")
    }

    /// A script or style sheet of this page's, by a name that changes with it.
    fn asset(&self, name: &str) -> String {
        assets::url(name)
    }
}

/// A page, with what keeps it safe in a browser.
fn page(template: &impl Template) -> Response {
    status_page(StatusCode::OK, template)
}

fn status_page(status: StatusCode, template: &impl Template) -> Response {
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

/// Scripts and styles of our own files alone, forms to ourselves alone, and no frame around us.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    frame: Frame,
    sentence: String,
}

/// A refusal as a page.
fn failed(frame: Option<Frame>, refusal: Refusal) -> Response {
    if let Some(inner) = refusal.inner() {
        tracing::error!("{}: {inner}", refusal.code());
    }
    let title = match refusal.status() {
        401 => "Signed out",
        403 => "Not allowed",
        404 => "Not here",
        409 => "It contradicts what is there",
        429 => "Too fast",
        400 => "That makes no sense",
        _ => "Something is wrong",
    };
    let mut frame = frame.unwrap_or(Frame { title: String::new(), user: None, csrf: String::new(), open: false });
    frame.title = title.into();
    let mut sentence = refusal.to_string();
    if let Some(first) = sentence.get(..1).map(str::to_uppercase) {
        sentence.replace_range(..1, &first);
    }
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = status_page(status, &ErrorPage { frame, sentence });
    if let Some(seconds) = refusal.retry_after() {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// A form that was sent, checked before anything else is done with it.
#[derive(serde::Deserialize)]
struct Form<T> {
    #[serde(default)]
    csrf: String,
    #[serde(flatten)]
    fields: T,
}

impl<T> Form<T> {
    fn checked(self, portal: &Portal, caller: &Caller, headers: &HeaderMap) -> Result<T, Box<Response>> {
        match portal.check_form(caller, &self.csrf, headers) {
            Ok(()) => Ok(self.fields),
            Err(refusal) => Err(Box::new(failed(Some(Frame::of(portal, caller, "")), refusal))),
        }
    }
}

/// After a form: a page to look at, or what went wrong.
fn then(portal: &Portal, caller: &Caller, done: Result<(), Refusal>, next: &str) -> Response {
    match done {
        Ok(()) => Redirect::to(next).into_response(),
        Err(refusal) => failed(Some(Frame::of(portal, caller, "")), refusal),
    }
}
