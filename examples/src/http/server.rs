//! Serves HTTP/1.1 to strangers: over TLS, or in clear on loopback, within limits.

use std::{
    collections::HashMap,
    convert::Infallible,
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{
    body::{Body, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use super::Pin;
use crate::cli::exit::Failure;

/// What one stranger, and all of them together, may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time. More are closed at once.
    pub connections: usize,
    /// Connections of one address at a time. More are closed at once.
    pub connections_per_address: usize,
    /// For the TLS handshake.
    pub handshake: Duration,
    /// For the head of a request, from the answer to the one before: a connection that asks nothing for so long is closed.
    pub head: Duration,
    /// For a whole request, body and answer: then 408.
    pub request: Duration,
    /// Bytes in the body of a request: more is refused with 413, unread where its length is told.
    pub body: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_per_address: 256,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            request: Duration::from_secs(30),
            body: 1 << 20,
        }
    }
}

/// Where a request comes from. Stands in its extensions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Remote(pub SocketAddr);

impl Remote {
    /// The address, an IPv4 one as such also where the socket speaks IPv6.
    pub fn ip(&self) -> IpAddr {
        self.0.ip().to_canonical()
    }
}

/// The key of the certificate that the client has shown, which an authority vouches for. Stands in the extensions of requests
/// where there is one.
#[derive(Clone, Copy, Debug)]
pub struct ClientCertificate(pub Pin);

/// Ends what [`serve`] serves: requests under way are answered, then connections are closed.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Sender<bool>);

impl Default for Shutdown {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Shutdown {
    /// No more connections, no more requests.
    pub fn now(&self) {
        self.0.send_replace(true);
    }
}

/// How to serve.
#[derive(Clone, Default)]
pub struct Serving {
    /// TLS; without it in clear.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// What strangers may take.
    pub limits: Limits,
    /// Who ends it.
    pub shutdown: Shutdown,
}

/// Listens. In clear only on loopback: nothing else is ever spoken there for others to hear.
///
/// # Errors
///
/// An address that cannot be used, with exit code 3; one that is not loopback where there is no TLS, with 2.
pub async fn bind(addr: SocketAddr, tls: bool) -> Result<TcpListener, Failure> {
    if !tls && !addr.ip().is_loopback() {
        return Err(Failure::usage(format!(
            "--insecure-http is for loopback addresses alone, and {addr} is not one; leave it away to serve https"
        )));
    }
    TcpListener::bind(addr).await.map_err(|e| {
        Failure::network(match e.kind() {
            io::ErrorKind::AddrInUse => format!("cannot listen on {addr}: another program uses this port"),
            _ => format!("cannot listen on {addr}: {e}"),
        })
    })
}

/// Serves until it is told to end, and then for two seconds more at most.
pub async fn serve<S, F, B>(listener: TcpListener, serving: Serving, service: S)
where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + From<Full<Bytes>> + Send + 'static,
{
    let Serving { tls, limits, shutdown } = serving;
    let acceptor = tls.map(TlsAcceptor::from);
    let open = Arc::new(Mutex::new(Open::default()));
    let mut ended = shutdown.0.subscribe();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = ended.wait_for(|ended| *ended) => break,
        };
        let Ok((stream, remote)) = accepted else {
            // Mostly too many open files: some will be closed.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        let Some(place) = Place::take(&open, Remote(remote).ip(), &limits) else { continue };
        let (acceptor, service, ended) = (acceptor.clone(), service.clone(), ended.clone());
        tokio::spawn(async move {
            _ = stream.set_nodelay(true);
            connection(stream, remote, acceptor, limits, ended, service).await;
            drop(place);
        });
    }
    let all_closed = async {
        while open.lock().unwrap_or_else(PoisonError::into_inner).all > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    _ = timeout(Duration::from_secs(2), all_closed).await;
}

async fn connection<S, F, B>(
    stream: TcpStream,
    remote: SocketAddr,
    acceptor: Option<TlsAcceptor>,
    limits: Limits,
    ended: watch::Receiver<bool>,
    service: S,
) where
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + From<Full<Bytes>> + Send + 'static,
{
    let Some(acceptor) = acceptor else { return requests(stream, remote, None, limits, ended, service).await };
    // Who speaks no TLS is not answered.
    let Ok(Ok(stream)) = timeout(limits.handshake, acceptor.accept(stream)).await else { return };
    let shown = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
    let shown = shown.and_then(Pin::of).map(ClientCertificate);
    requests(stream, remote, shown, limits, ended, service).await;
}

async fn requests<T, S, F, B>(
    stream: T,
    remote: SocketAddr,
    shown: Option<ClientCertificate>,
    limits: Limits,
    mut ended: watch::Receiver<bool>,
    service: S,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + From<Full<Bytes>> + Send + 'static,
{
    let answer = service_fn(|mut request: Request<Incoming>| {
        request.extensions_mut().insert(Remote(remote));
        if let Some(shown) = shown {
            request.extensions_mut().insert(shown);
        }
        let too_long = request.body().size_hint().lower() > limits.body;
        let answered = (!too_long).then(|| timeout(limits.request, service(request)));
        async move {
            Ok::<_, Infallible>(match answered {
                None => {
                    refusal(StatusCode::PAYLOAD_TOO_LARGE, format!("a body has {} bytes at most here", limits.body))
                }
                Some(answered) => answered.await.unwrap_or_else(|_late| {
                    refusal(StatusCode::REQUEST_TIMEOUT, "the request took too long".to_owned())
                }),
            })
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(32 * 1024)
        .serve_connection(TokioIo::new(stream), answer);
    tokio::pin!(served);
    tokio::select! {
        _ = served.as_mut() => return,
        _ = ended.wait_for(|ended| *ended) => served.as_mut().graceful_shutdown(),
    }
    _ = served.await;
}

/// A sentence, after which the connection is closed.
fn refusal<B: From<Full<Bytes>>>(status: StatusCode, sentence: String) -> Response<B> {
    let mut response = Response::new(Full::new(Bytes::from(sentence + "\n")).into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Connections that are open.
#[derive(Debug, Default)]
struct Open {
    all: usize,
    of: HashMap<IpAddr, usize>,
}

/// One of them.
struct Place(Arc<Mutex<Open>>, IpAddr);

impl Place {
    fn take(open: &Arc<Mutex<Open>>, ip: IpAddr, limits: &Limits) -> Option<Self> {
        let mut counts = open.lock().unwrap_or_else(PoisonError::into_inner);
        let of = counts.of.get(&ip).copied().unwrap_or(0);
        if counts.all >= limits.connections || of >= limits.connections_per_address {
            return None;
        }
        counts.all += 1;
        counts.of.insert(ip, of + 1);
        drop(counts);
        Some(Self(Arc::clone(open), ip))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        match counts.of.get_mut(&self.1) {
            Some(of) if *of > 1 => *of -= 1,
            _ => _ = counts.of.remove(&self.1),
        }
    }
}
