//! HTTP and TLS between real sockets on loopback: what strangers may do to a server, and whom a client believes.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use ppsp_examples::{
    cli::exit::Exit,
    http::{
        HttpClient, HttpError, Identity, Limits, Pin, Remote, Serving, Shutdown, Trust, bind, read_body, serve,
        server_config,
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

struct Server {
    addr: SocketAddr,
    pin: Pin,
    shutdown: Shutdown,
    task: JoinHandle<()>,
}

async fn echo(request: Request<Incoming>) -> Response<Full<Bytes>> {
    let remote = request.extensions().get::<Remote>().unwrap().ip();
    assert!(remote.is_loopback());
    match read_body(request.into_body(), 1 << 20).await {
        Ok(body) => Response::new(Full::new(body)),
        Err(error) => Response::new(Full::new(format!("{error:?}").into())),
    }
}

async fn start(tls: bool, limits: Limits) -> Server {
    let dir = tempfile::tempdir().unwrap();
    let identity = Identity::keep(dir.path(), &["localhost".to_owned()]).unwrap();
    let listener = bind("127.0.0.1:0".parse().unwrap(), tls).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let shutdown = Shutdown::default();
    let tls = tls.then(|| server_config(&identity, None).unwrap());
    let serving = Serving { tls, limits, shutdown: shutdown.clone() };
    let task = tokio::spawn(serve(listener, serving, echo));
    Server { addr, pin: identity.pin(), shutdown, task }
}

fn post(body: &'static str) -> Request<Bytes> {
    Request::post("/").body(body.into()).unwrap()
}

/// All that a server says until it closes.
async fn says(addr: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    _ = stream.write_all(request).await;
    let mut said = Vec::new();
    _ = stream.read_to_end(&mut said).await;
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn who_has_the_pin_talks_to_the_server_and_nobody_else_does() {
    let server = start(true, Limits::default()).await;
    let url = format!("https://localhost:{}/", server.addr.port());
    let client = HttpClient::new(&url, Trust::Pin(server.pin), false).unwrap();
    for _ in 0..3 {
        assert_eq!(client.send(post("hello")).await.unwrap().into_body(), "hello");
    }
    // Another key, and no authority that knows this one.
    let other: Pin = format!("sha256/{}=", "A".repeat(43)).parse().unwrap();
    let refused = HttpClient::new(&url, Trust::Pin(other), false).unwrap().send(post("")).await.unwrap_err();
    assert!(
        matches!(&refused, HttpError::WrongPin { known, seen, .. } if *known == other && *seen == server.pin),
        "{refused}"
    );
    match HttpClient::new(&url, Trust::System, false) {
        Ok(client) => {
            let refused = client.send(post("")).await.unwrap_err();
            assert!(matches!(&refused, HttpError::Untrusted { pin, .. } if *pin == server.pin), "{refused}");
        }
        // A system without authorities.
        Err(error) => assert!(matches!(error, HttpError::Setup(_)), "{error}"),
    }
    // A kept connection that the server closed is no error.
    server.shutdown.now();
    server.task.await.unwrap();
    assert!(matches!(client.send(post("")).await.unwrap_err(), HttpError::Connect(..)));
}

#[tokio::test]
async fn nothing_is_spoken_in_clear_unless_asked_for_and_on_loopback() {
    let refused = bind("192.0.2.1:80".parse().unwrap(), false).await.unwrap_err();
    assert_eq!(refused.exit, Exit::Usage);
    for (url, insecure) in [("http://127.0.0.1:1/", false), ("http://192.0.2.1/", true), ("http://example.org/", true)]
    {
        assert!(matches!(HttpClient::new(url, Trust::System, insecure), Err(HttpError::Plain(_))), "{url}");
    }
    for url in ["ftp://127.0.0.1/", "127.0.0.1", "https://user:secret@example.org/", ""] {
        assert!(matches!(HttpClient::new(url, Trust::System, true), Err(HttpError::Url(..))), "{url}");
    }
    let server = start(false, Limits::default()).await;
    let client = HttpClient::new(&format!("http://{}", server.addr), Trust::System, true).unwrap();
    assert_eq!(client.send(post("plain")).await.unwrap().into_body(), "plain");
}

#[tokio::test]
async fn a_body_too_long_is_refused_before_it_is_read() {
    let server = start(false, Limits { body: 1000, ..Limits::default() }).await;
    let said = says(server.addr, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 104857600\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 413") && said.contains("1000 bytes at most"), "{said}");
}

#[tokio::test]
async fn who_is_slow_is_cut_off() {
    let quick = Duration::from_millis(50);
    let limits = Limits { head: quick, request: quick, handshake: quick, ..Limits::default() };
    let server = start(false, limits).await;
    // A head that never ends; no head at all; a body that never comes.
    assert_eq!(says(server.addr, b"POST / HTTP/1.1\r\nHost: x\r\n").await, "");
    assert_eq!(says(server.addr, b"").await, "");
    let said = says(server.addr, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    // A TLS handshake that never comes.
    let secure = start(true, limits).await;
    assert_eq!(says(secure.addr, b"").await, "");
}

#[tokio::test]
async fn garbage_and_crowds_are_turned_away() {
    let secure = start(true, Limits::default()).await;
    let said = says(secure.addr, b"GET / HTTP/1.1\r\n\r\n").await;
    assert!(!said.contains("HTTP"), "{said}");

    let plain = start(false, Limits { connections_per_address: 1, ..Limits::default() }).await;
    let client = HttpClient::new(&format!("http://{}", plain.addr), Trust::System, true).unwrap();
    client.send(post("first")).await.unwrap();
    // The client's connection is kept: there is no place for a second one.
    assert_eq!(says(plain.addr, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await, "");
    assert_eq!(client.send(post("still")).await.unwrap().into_body(), "still");
    drop(client);
}

#[tokio::test]
async fn two_requests_at_once_and_the_old_version_are_answered() {
    let server = start(false, Limits::default()).await;
    let one = "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab";
    let last = "POST / HTTP/1.0\r\nHost: x\r\nContent-Length: 2\r\n\r\ncd";
    let said = says(server.addr, format!("{one}{last}").as_bytes()).await;
    assert!(said.contains("ab") && said.ends_with("cd"), "{said}");
    assert!(says(server.addr, b"nonsense\r\n\r\n").await.starts_with("HTTP/1.1 400"));
}
