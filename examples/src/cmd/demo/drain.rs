//! Reads all that is at a URL, and keeps nothing.

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};

use crate::cli::exit::Failure;

/// Reads this path of a server in clear to its end, however long that takes; returns how many bytes there were.
pub(super) async fn drain(server: &str, path: &str) -> Result<u64, Failure> {
    let uri: Uri = server.parse().map_err(Failure::other)?;
    let host = uri.authority().ok_or_else(|| Failure::other(format!("{server}: not a server")))?.as_str().to_owned();
    let stream = TcpStream::connect(&*host).await.map_err(Failure::network)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(Failure::network)?;
    // It ends with this future, whatever comes.
    let mut task = JoinSet::new();
    task.spawn(connection);
    let request = Request::get(path).header(header::HOST, host).body(Empty::<Bytes>::new()).map_err(Failure::other)?;
    let mut answer = sender.send_request(request).await.map_err(Failure::network)?;
    if answer.status() != StatusCode::OK {
        let status = answer.status();
        let why = answer.into_body().collect().await.map_err(Failure::network)?.to_bytes();
        return Err(Failure::network(format!("{status}: {}", String::from_utf8_lossy(&why).trim())));
    }
    let mut read = 0;
    while let Some(frame) = answer.frame().await {
        read += frame.map_err(Failure::network)?.data_ref().map_or(0, Bytes::len) as u64;
    }
    Ok(read)
}
