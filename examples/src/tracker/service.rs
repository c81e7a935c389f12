//! PPSTP in HTTP (RFC 7846 §4).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use hyper::body::Incoming;
use ppsp_tracker_proto::message::{self, Code, MAX_REQUEST, MEDIA_TYPE};

use super::{
    TrackerService,
    directory::{Answered, Asker},
    doors::Rejected,
};
use crate::http::{ReadError, Remote, read_body};

type Answer = Response<Full<Bytes>>;

impl TrackerService {
    /// Answers a request of a peer. To be served with [`serve`](crate::http::serve).
    pub async fn answer(&self, request: Request<Incoming>) -> Answer {
        // Any path will do: where the tracker is says the URL that was published.
        if request.method() == Method::POST {
            let (head, body) = request.into_parts();
            return match self.read(&head, body).await {
                Ok((remote, body)) => self.pptsp(&head, remote, &body).await,
                Err(refusal) => refusal,
            };
        }
        self.watched(&request).unwrap_or_else(|| {
            let mut answer = sentence(StatusCode::METHOD_NOT_ALLOWED, "peers ask a tracker with POST (RFC 7846)");
            answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
            answer
        })
    }

    async fn read(&self, head: &Parts, body: Incoming) -> Result<(Remote, Bytes), Answer> {
        if !is_pptsp(&head.headers) {
            let mut answer = sentence(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "a request has the media type application/ppsp-tracker+json",
            );
            answer.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(MEDIA_TYPE));
            return Err(answer);
        }
        let remote = head.extensions.get().copied();
        let remote =
            remote.ok_or_else(|| sentence(StatusCode::INTERNAL_SERVER_ERROR, "the connection has no address"))?;
        let body = read_body(body, MAX_REQUEST).await.map_err(|error| {
            let (status, words) = match error {
                ReadError::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "a request has 64 KiB at most"),
                ReadError::Broken => (StatusCode::BAD_REQUEST, "the body broke off"),
            };
            let mut answer = sentence(status, words);
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            answer
        })?;
        Ok((remote, body))
    }

    async fn pptsp(&self, head: &Parts, remote: Remote, body: &[u8]) -> Answer {
        let mut out = Vec::with_capacity(USUAL);
        let admitted = match self.0.doors.admit(head, body).await {
            Ok(admitted) => admitted,
            Err(Rejected { code, challenges }) => {
                self.0.rejected.count(code);
                let read = message::Request::read(body);
                // RFC 7846 §4.3: who is not known gets nothing but the error.
                let name = read.map_or_else(|e| e.transaction_id.unwrap_or_default(), |request| request.transaction_id);
                message::Response::empty(code, name).write(&mut out);
                let mut answer = written(code, out);
                for challenge in challenges {
                    answer.headers_mut().append(header::WWW_AUTHENTICATE, challenge);
                }
                return answer;
            }
        };
        let gate = self.0.assigner.gate(admitted.access.as_ref());
        let asker = Asker { remote: remote.ip(), principal: admitted.principal, gate: &gate };
        let Answered { code, registered } = self.0.directory.handle(self.0.clock.now(), asker, body, &mut out).await;
        // While it has a registration the Portal is asked about the session, however silent it is.
        if let (Some(_), Some(door)) = (&admitted.access, self.bearer()) {
            if registered { door.watch(admitted.principal.session) } else { door.unwatch(admitted.principal.session) }
        }
        written(code, out)
    }
}

/// RFC 7846 §4: the media type; that of any JSON counts too.
fn is_pptsp(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    [MEDIA_TYPE, "application/json"].iter().any(|known| kind.eq_ignore_ascii_case(known))
}

/// An answer of PPSTP with the HTTP status of its error code.
fn written(code: Code, body: Vec<u8>) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = match code {
        Code::OK => StatusCode::OK,
        Code::BAD_REQUEST | Code::UNSUPPORTED_VERSION => StatusCode::BAD_REQUEST,
        Code::FORBIDDEN => StatusCode::FORBIDDEN,
        Code::UNAVAILABLE => StatusCode::SERVICE_UNAVAILABLE,
        Code::AUTHENTICATION_REQUIRED => StatusCode::UNAUTHORIZED,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    if code == Code::UNAVAILABLE {
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    answer
}

/// An answer for people.
pub(super) fn sentence(status: StatusCode, words: &str) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(format!("{words}\n"))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

/// Room for most answers.
const USUAL: usize = 4096;
