use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};

use super::{metrics::Metrics, spool::Spooled, swarms::Open};
use crate::{
    live::{Heard, Listener},
    peer::{Piece, ReadError, Reader},
};

/// The body of an answer: something short, or content while it comes. Whoever drops it wishes nothing any more.
pub enum Answered {
    /// All there is.
    Full(Full<Bytes>),
    /// Content.
    Content(Content),
    /// A live stream.
    Live(Broadcast),
}

impl From<Full<Bytes>> for Answered {
    fn from(body: Full<Bytes>) -> Self {
        Self::Full(body)
    }
}

impl From<Bytes> for Answered {
    fn from(bytes: Bytes) -> Self {
        Self::Full(Full::new(bytes))
    }
}

impl From<String> for Answered {
    fn from(text: String) -> Self {
        Self::Full(Full::new(text.into()))
    }
}

impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "Full",
            Self::Content(_) => "Content",
            Self::Live(_) => "Live",
        })
    }
}

type Hearing = Pin<Box<dyn Future<Output = (Listener, Heard)> + Send>>;

/// A live stream, from the piece on that was heard first. It has no length.
pub struct Broadcast {
    first: Option<Bytes>,
    listener: Option<Listener>,
    hearing: Option<Hearing>,
    metrics: Arc<Metrics>,
}

impl Broadcast {
    /// What this listener hears, behind what it has heard already.
    pub(super) fn new(first: Bytes, listener: Listener, metrics: Arc<Metrics>) -> Self {
        metrics.readers.inc();
        Self { first: Some(first), listener: Some(listener), hearing: None, metrics }
    }

    fn piece(&self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
        self.metrics.bytes.inc_by(bytes.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
        if let Some(first) = self.first.take() {
            return self.piece(first);
        }
        if self.hearing.is_none() {
            let Some(mut listener) = self.listener.take() else { return Poll::Ready(None) };
            self.hearing = Some(Box::pin(async move {
                let heard = listener.next().await;
                (listener, heard)
            }));
        }
        let Some(hearing) = &mut self.hearing else { return Poll::Ready(None) };
        let Poll::Ready((listener, heard)) = hearing.as_mut().poll(cx) else { return Poll::Pending };
        self.hearing = None;
        match heard {
            Heard::Data(bytes) => {
                self.listener = Some(listener);
                self.piece(bytes)
            }
            Heard::End(Ok(())) => Poll::Ready(None),
            Heard::End(Err(failure)) => {
                self.metrics.broken.inc();
                Poll::Ready(Some(Err(ReadError::Failed(failure.message))))
            }
        }
    }
}

impl Drop for Broadcast {
    fn drop(&mut self) {
        self.metrics.readers.dec();
    }
}

/// Where content is read.
pub(super) enum Source {
    /// In a swarm, while it comes.
    Swarm(Reader, #[expect(dead_code, reason = "the swarm stays open as long as it is read")] Open),
    /// In a file that was made for this answer.
    Spooled(Spooled),
}

impl Source {
    async fn next(&mut self) -> Result<Option<Piece>, ReadError> {
        match self {
            Self::Swarm(reader, _) => reader.next().await,
            Self::Spooled(spooled) => spooled.next().await,
        }
    }
}

type Reading = Pin<Box<dyn Future<Output = (Source, Result<Option<Piece>, ReadError>)> + Send>>;

/// Content, a piece at a time: the next one is read when the one before is sent.
pub struct Content {
    source: Option<Source>,
    reading: Option<Reading>,
    left: u64,
    /// Nothing was sent yet.
    first: bool,
    metrics: Arc<Metrics>,
}

impl Content {
    /// All that there is to read, of so many bytes.
    pub(super) fn new(source: Source, length: u64, metrics: Arc<Metrics>) -> Self {
        metrics.readers.inc();
        Self { source: Some(source), reading: None, left: length, first: true, metrics }
    }
}

impl Drop for Content {
    fn drop(&mut self) {
        self.metrics.readers.dec();
    }
}

impl Body for Answered {
    type Data = Bytes;
    type Error = ReadError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReadError>>> {
        let content = match self.get_mut() {
            Self::Full(full) => return Pin::new(full).poll_frame(cx).map_err(|never| match never {}),
            Self::Live(broadcast) => return broadcast.poll_piece(cx),
            Self::Content(content) => content,
        };
        if content.reading.is_none() {
            let Some(mut source) = content.source.take() else { return Poll::Ready(None) };
            content.reading = Some(Box::pin(async move {
                let read = source.next().await;
                (source, read)
            }));
        }
        let Some(reading) = &mut content.reading else { return Poll::Ready(None) };
        let Poll::Ready((source, read)) = reading.as_mut().poll(cx) else { return Poll::Pending };
        content.reading = None;
        match read {
            Ok(Some(piece)) => {
                content.left -= piece.bytes.len() as u64;
                content.metrics.bytes.inc_by(piece.bytes.len() as u64);
                content.metrics.read(&piece, std::mem::take(&mut content.first));
                if content.left > 0 {
                    content.source = Some(source);
                }
                Poll::Ready(Some(Ok(Frame::data(piece.bytes))))
            }
            Ok(None) => Poll::Ready(None),
            Err(error) => {
                // The connection breaks off: that is how HTTP/1.1 says that there should be more.
                content.metrics.broken.inc();
                tracing::warn!("content breaks off: {error}");
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(full) => full.is_end_stream(),
            Self::Content(content) => content.left == 0,
            Self::Live(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(full) => full.size_hint(),
            Self::Content(content) => SizeHint::with_exact(content.left),
            Self::Live(_) => SizeHint::default(),
        }
    }
}
