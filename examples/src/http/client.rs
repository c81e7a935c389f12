//! Asks a server: one origin, connections that are used again, an answer within bounds.

use std::{
    io,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Uri, header, uri::Scheme};
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{HttpError, Identity, ReadError, Trust, read_body, tls::Seen};

/// A client of one server. Follows no redirects, keeps no cookies. Cheap requests: connections stay open.
pub struct HttpClient {
    origin: Uri,
    host: String,
    port: u16,
    trust: Trust,
    tls: Option<(TlsConnector, ServerName<'static>, Seen)>,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
    /// For a request and its answer.
    pub timeout: Duration,
    /// Most bytes in an answer.
    pub longest_answer: usize,
}

impl std::fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpClient").field("origin", &self.origin).finish_non_exhaustive()
    }
}

impl HttpClient {
    /// A client of the server of this URL. `insecure` allows `http` on loopback.
    ///
    /// # Errors
    ///
    /// [`HttpError::Url`], [`HttpError::Plain`], [`HttpError::Setup`].
    pub fn new(url: &str, trust: Trust, insecure: bool) -> Result<Self, HttpError> {
        Self::with_certificate(url, trust, insecure, None)
    }

    /// A client of whatever server, in clear where the URL says so: for what is not secret, and verified by other means.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn in_clear_or_not(url: &str) -> Result<Self, HttpError> {
        Self::build(url, Trust::System, Clear::Anywhere, None)
    }

    /// The same, with a certificate for a server that asks who we are.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new).
    pub fn with_certificate(
        url: &str,
        trust: Trust,
        insecure: bool,
        shown: Option<&Identity>,
    ) -> Result<Self, HttpError> {
        Self::build(url, trust, if insecure { Clear::Loopback } else { Clear::Nowhere }, shown)
    }

    fn build(url: &str, trust: Trust, clear: Clear, shown: Option<&Identity>) -> Result<Self, HttpError> {
        let bad = |what| HttpError::Url(url.to_owned(), what);
        let uri: Uri = url.parse().map_err(|_| bad("it does not parse"))?;
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad("it holds credentials"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let secure = if uri.scheme() == Some(&Scheme::HTTPS) {
            true
        } else if uri.scheme() == Some(&Scheme::HTTP) {
            let loopback = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
            if !(clear == Clear::Anywhere || clear == Clear::Loopback && loopback) {
                return Err(HttpError::Plain(url.to_owned()));
            }
            false
        } else {
            return Err(bad("it does not begin with https://"));
        };
        let port = authority.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let tls = if secure {
            let name = ServerName::try_from(host.clone()).map_err(|_| bad("its host is no name"))?;
            let (config, seen) = trust.client(shown)?;
            Some((TlsConnector::from(config), name, seen))
        } else {
            None
        };
        let origin = Uri::builder().scheme(if secure { "https" } else { "http" }).authority(authority.as_str());
        let origin = origin.path_and_query("/").build().map_err(|_| bad("it does not parse"))?;
        Ok(Self {
            origin,
            host,
            port,
            trust,
            tls,
            idle: Mutex::new(Vec::new()),
            timeout: Duration::from_secs(20),
            longest_answer: 8 << 20,
        })
    }

    /// The server's URL without a path, as `https://host:port`.
    pub fn origin(&self) -> String {
        self.origin.to_string().trim_end_matches('/').to_owned()
    }

    /// Asks. The request's URI is a path; the answer of whatever status is returned with its whole body.
    ///
    /// # Errors
    ///
    /// [`HttpError`]: no answer at all.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        match timeout(self.timeout, self.exchange(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(HttpError::Timeout(self.origin())),
        }
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let mut request = request.map(Full::new);
        if let Some(host) = self.origin.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
            request.headers_mut().insert(header::HOST, host);
        }
        loop {
            let kept = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match kept {
                Some(kept) if kept.is_closed() => continue,
                Some(kept) => kept,
                None => self.connect().await?,
            };
            if connection.ready().await.is_err() {
                continue;
            }
            match connection.try_send_request(request).await {
                Ok(answer) => {
                    let (head, body) = answer.into_parts();
                    let body = read_body(body, self.longest_answer).await.map_err(|e| match e {
                        ReadError::TooLong => HttpError::TooLong(self.origin(), self.longest_answer),
                        ReadError::Broken => HttpError::Broken(self.origin(), "the answer broke off".to_owned()),
                    })?;
                    let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                    if idle.len() < MAX_IDLE {
                        idle.push(connection);
                    }
                    return Ok(Response::from_parts(head, body));
                }
                // The server closed it before it saw the request: that is not lost.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(HttpError::Broken(self.origin(), error.into_error().to_string())),
                },
            }
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, HttpError> {
        let failed = |e: io::Error| HttpError::Connect(self.origin(), e);
        let stream = timeout(CONNECT, TcpStream::connect((self.host.as_str(), self.port)));
        let stream = stream.await.map_err(|_| failed(io::ErrorKind::TimedOut.into()))?.map_err(failed)?;
        _ = stream.set_nodelay(true);
        let Some((connector, name, seen)) = &self.tls else { return self.start(stream).await };
        match timeout(CONNECT, connector.connect(name.clone(), stream)).await {
            Ok(Ok(stream)) => self.start(stream).await,
            Ok(Err(error)) => Err(self.explain(&error, *seen.lock().unwrap_or_else(PoisonError::into_inner))),
            Err(_) => Err(HttpError::Timeout(self.origin())),
        }
    }

    async fn start<T>(&self, stream: T) -> Result<SendRequest<Full<Bytes>>, HttpError>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| HttpError::Broken(self.origin(), e.to_string()))?;
        tokio::spawn(connection);
        Ok(sender)
    }

    fn explain(&self, error: &io::Error, seen: Option<Pin>) -> HttpError {
        let inner = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
        let host = self.origin();
        match (inner, self.trust, seen) {
            (Some(rustls::Error::InvalidCertificate(_)), Trust::Pin(known), Some(seen)) if known != seen => {
                HttpError::WrongPin { host, known, seen }
            }
            (Some(rustls::Error::InvalidCertificate(reason)), Trust::System, Some(pin)) => {
                HttpError::Untrusted { host, pin, reason: in_words(reason) }
            }
            _ => HttpError::Tls(host, error.to_string()),
        }
    }
}

fn in_words(reason: &rustls::CertificateError) -> String {
    use rustls::CertificateError as E;
    match reason {
        E::Expired | E::ExpiredContext { .. } => "it has expired".to_owned(),
        E::NotValidYet | E::NotValidYetContext { .. } => "it is not valid yet: is the clock right?".to_owned(),
        E::UnknownIssuer => "no authority vouches for it".to_owned(),
        E::NotValidForName | E::NotValidForNameContext { .. } => "it is of another name".to_owned(),
        other => format!("{other}"),
    }
}

/// Where HTTP without TLS is spoken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Clear {
    Nowhere,
    Loopback,
    Anywhere,
}

use super::Pin;

const CONNECT: Duration = Duration::from_secs(10);
/// Connections that are kept for later.
const MAX_IDLE: usize = 4;
