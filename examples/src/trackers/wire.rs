//! Requests to trackers over HTTP (RFC 7846 §4).

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Uri, header};
use ppsp_core::Identifier;
use ppsp_tracker_proto::message::{MAX_RESPONSE, MEDIA_TYPE};

use super::{Credentials, CredentialsError};
use crate::{
    http::{HttpClient, HttpError, Identity, Pin, Trust},
    tracker::doors::CLIENT_HEADER,
};

/// The way to all trackers of a peer. A clone is the same one.
#[derive(Clone, Debug)]
pub(super) struct Wire(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    client: Identifier,
    credentials: Arc<Credentials>,
    insecure: bool,
    /// By URL.
    clients: Mutex<HashMap<String, Arc<HttpClient>>>,
    /// The last challenge.
    challenge: Mutex<String>,
    /// What went wrong last, in words.
    trouble: Mutex<Option<String>>,
}

/// What became of a request.
pub(super) enum Sent {
    /// An answer, whatever it says.
    Answered(Answer),
    /// None.
    Lost,
    /// It was not sent: nobody proves any more who we are.
    Refused(String),
}

/// An answer of a tracker.
pub(super) struct Answer {
    pub(super) retry_after: Option<Duration>,
    pub(super) body: Bytes,
}

impl Wire {
    pub(super) fn new(client: Identifier, credentials: Arc<Credentials>, insecure: bool) -> Self {
        let (clients, challenge, trouble) = Default::default();
        Self(Arc::new(Inner { client, credentials, insecure, clients, challenge, trouble }))
    }

    /// Sends a request.
    pub(super) async fn send(&self, tracker: &str, body: Vec<u8>) -> Sent {
        match self.exchange(tracker, body).await {
            Ok(answer) => {
                lock(&self.0.trouble).take();
                Sent::Answered(answer)
            }
            Err(CredentialsError::Away(why)) => {
                self.trouble(why);
                Sent::Lost
            }
            Err(CredentialsError::Refused(why)) => Sent::Refused(why),
        }
    }

    async fn exchange(&self, tracker: &str, body: Vec<u8>) -> Result<Answer, CredentialsError> {
        let away = |why: &dyn std::fmt::Display| CredentialsError::Away(why.to_string());
        let uri: Uri = tracker.parse().map_err(|_| away(&format_args!("{tracker}: not a URL")))?;
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let mut request = Request::post(target).header(header::CONTENT_TYPE, MEDIA_TYPE);
        request = request.header(header::ACCEPT, MEDIA_TYPE);
        let shown = self.0.credentials.authorization(target).await?;
        request = match shown {
            Some(shown) => request.header(header::AUTHORIZATION, shown),
            // Where nobody has to prove anything, a name will do.
            None => request.header(CLIENT_HEADER, self.0.client.to_string()),
        };
        let request = request.body(Bytes::from(body)).map_err(|e| away(&e))?;
        let client = self.client(tracker).map_err(|e| away(&e))?;
        let answer = client.send(request).await.map_err(|e| away(&e))?;
        let challenges: Vec<&str> =
            answer.headers().get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()).collect();
        // RFC 9110 §5.3: several lines are one list.
        *lock(&self.0.challenge) = challenges.join(", ");
        Ok(Answer { retry_after: retry_after(answer.headers()), body: answer.into_body() })
    }

    /// Gets better credentials, after a challenge.
    pub(super) async fn renew(&self) -> Result<(), CredentialsError> {
        let challenge = lock(&self.0.challenge).clone();
        self.0.credentials.renew(&challenge).await
    }

    /// Whether what the Portal gives is all there is to show: then its no is the last word.
    pub(super) fn shows_tokens(&self) -> bool {
        matches!(*self.0.credentials, Credentials::Tokens { .. })
    }

    /// Says what went wrong.
    pub(super) fn trouble(&self, why: String) {
        *lock(&self.0.trouble) = Some(why);
    }

    /// What went wrong since the last answer.
    pub(super) fn take_trouble(&self) -> Option<String> {
        lock(&self.0.trouble).take()
    }

    fn client(&self, tracker: &str) -> Result<Arc<HttpClient>, HttpError> {
        let mut clients = lock(&self.0.clients);
        if let Some(client) = clients.get(tracker) {
            return Ok(Arc::clone(client));
        }
        let mut client = open(tracker, self.0.insecure, self.0.credentials.certificate())?;
        client.timeout = PATIENCE;
        client.longest_answer = MAX_RESPONSE;
        let client = Arc::new(client);
        clients.insert(tracker.to_owned(), Arc::clone(&client));
        Ok(client)
    }
}

/// Whether a tracker at this URL can be asked.
///
/// # Errors
///
/// [`HttpError::Url`], and [`HttpError::Plain`] for one without TLS that is not `insecure`, or not on loopback.
pub fn check(tracker: &str, insecure: bool) -> Result<(), HttpError> {
    open(tracker, insecure, None).map(|_| ())
}

/// A tracker that no authority vouches for has its fingerprint in its URL: whoever gave the URL vouches for both.
fn open(tracker: &str, insecure: bool, shown: Option<&Identity>) -> Result<HttpClient, HttpError> {
    let pin = tracker.split_once('#').map(|(_, pin)| pin.parse::<Pin>());
    let pin = pin.transpose().map_err(|_| HttpError::Url(tracker.to_owned(), "what follows # is no fingerprint"))?;
    HttpClient::with_certificate(tracker, pin.map_or(Trust::System, Trust::Pin), insecure, shown)
}

/// Seconds; a date is not read.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Shorter than that of the client of the protocol, so that the words of the failure are known.
const PATIENCE: Duration = Duration::from_secs(9);
