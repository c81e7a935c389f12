//! Asks a web server for ranges of files.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{Method, Request, StatusCode, header};
use ppsp_core::{SwarmMetadata, descriptor::Parts};

use super::hashes::hash_file_name;
use crate::{
    account::path_part,
    http::{HttpClient, HttpError},
};

/// For a range to come.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Parts of one range that are fetched, each with a request: segments are longer than that.
const MAX_PARTS: usize = 256;

/// A web server with the files of one swarm. Over HTTPS, or over HTTP in clear: whatever it sends is verified.
#[derive(Clone, Debug)]
pub struct Origin {
    url: String,
    http: Arc<HttpClient>,
    /// The path of its directory, with a slash at its end.
    path: String,
    parts: Parts,
    hash_file: String,
    /// Bits a second that a player needs, where that is known.
    pub(super) bandwidth: Option<u64>,
}

/// Why it gave nothing.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Trouble {
    /// There is no such file.
    #[error("it has no {0}")]
    Missing(String),
    #[error("{0}")]
    Other(String),
}

impl Origin {
    /// Files at their names below this URL, which together are the content of this swarm.
    ///
    /// # Errors
    ///
    /// [`HttpError`]: no URL that can be asked.
    pub fn new(url: &str, metadata: &SwarmMetadata, parts: Parts, bandwidth: Option<u64>) -> Result<Self, HttpError> {
        let mut http = HttpClient::in_clear_or_not(url)?;
        http.timeout = TIMEOUT;
        // A range is a block, which is at least a chunk.
        http.longest_answer = (512 << 10).max(metadata.chunk_size as usize);
        let uri: http::Uri = url.parse().map_err(|_| HttpError::Url(url.to_owned(), "it does not parse"))?;
        let path = uri.path().to_owned();
        let bandwidth = bandwidth.filter(|&bits| bits > 0);
        Ok(Self {
            url: url.to_owned(),
            http: Arc::new(http),
            path,
            parts,
            hash_file: hash_file_name(metadata),
            bandwidth,
        })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Bytes of the content, which is that of the swarm.
    pub(super) async fn content(&self, range: Range<u64>) -> Result<Bytes, Trouble> {
        let mut all = BytesMut::with_capacity((range.end - range.start) as usize);
        let mut at = range.start;
        for _ in 0..MAX_PARTS {
            let Some(part) = self.parts.at(at).filter(|_| at < range.end) else { break };
            let from = at - part.range.start;
            let end = range.end.min(part.range.end) - part.range.start;
            // A part is one file, which the server has whole where that is all there is of it.
            let bytes = self.file(&part.name, from..end).await?;
            at += bytes.len() as u64;
            if bytes.len() as u64 == range.end - range.start {
                return Ok(bytes);
            }
            all.extend_from_slice(&bytes);
        }
        if at == range.end {
            Ok(all.freeze())
        } else {
            Err(Trouble::Other("its files are too many, or too short".to_owned()))
        }
    }

    /// Bytes of the hash file.
    pub(super) async fn hashes(&self, range: Range<u64>) -> Result<Bytes, Trouble> {
        self.file(&self.hash_file, range).await
    }

    async fn file(&self, name: &str, range: Range<u64>) -> Result<Bytes, Trouble> {
        let other = |words: String| Trouble::Other(words);
        let path = name.split('/').map(path_part).collect::<Vec<_>>().join("/");
        let request = Request::builder()
            .method(Method::GET)
            .uri(format!("{}{path}", self.path))
            .header(header::RANGE, format!("bytes={}-{}", range.start, range.end - 1))
            // What is compressed has other bytes.
            .header(header::ACCEPT_ENCODING, "identity")
            .body(Bytes::new())
            .map_err(|e| other(e.to_string()))?;
        let answer = self.http.send(request).await.map_err(|error| match error {
            HttpError::TooLong(..) => other(format!("it sends more of {name} than it was asked for")),
            error => other(error.to_string()),
        })?;
        let wanted = range.end - range.start;
        match answer.status() {
            // RFC 9110 §14.2: a server may ignore Range. That is of use only where it is all of a file.
            StatusCode::OK if range.start == 0 && answer.body().len() as u64 == wanted => Ok(answer.into_body()),
            StatusCode::OK => Err(other(format!("it knows no ranges: it sends all of {name}"))),
            StatusCode::PARTIAL_CONTENT if answer.body().len() as u64 == wanted => Ok(answer.into_body()),
            StatusCode::PARTIAL_CONTENT => {
                Err(other(format!("it sends another range of {name} than it was asked for")))
            }
            StatusCode::NOT_FOUND | StatusCode::GONE => Err(Trouble::Missing(name.to_owned())),
            status if status.is_redirection() => {
                Err(other(format!("it sends us elsewhere for {name}, where nobody follows")))
            }
            status => Err(other(format!("it answers with {status} for {name}"))),
        }
    }
}
