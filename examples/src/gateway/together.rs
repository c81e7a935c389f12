//! Layers as one: a segment of a base, and of what stands on it as far as that comes in time.

use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{timeout, timeout_at},
};

use super::{
    Answered, Content, Gateway, Inner, Item, ROOM_UNIT,
    answer::{Answer, insert, no_content, not_open, sentence},
    body::Source,
    merged::Merged,
    metrics::Metrics,
    range::promise,
    spool::Spooled,
    swarms::{NotOpen, Open, Swarms},
};
use crate::{
    layers::{Segment, Track, Unreadable, merge},
    peer::{ReadError, Reader},
};

impl Gateway {
    /// A segment of layers as one.
    pub(super) async fn segment(&self, merged: &Merged, name: &str, head: &Parts) -> Answer {
        let begun = Instant::now();
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        let (Some(top), Some(base), Some(number)) = (merged.top(), merged.base(), merged.number(&name)) else {
            return sentence(StatusCode::NOT_FOUND, "the content has no file of this name");
        };
        if number == 0 {
            // What a decoder has to know beforehand is the same for all layers.
            return match (self.0.swarms.open(base).await, base.parts().first()) {
                (Ok(swarm), Some(init)) => self.stream(base, swarm, init.range.clone(), begun, head).await,
                (Ok(_), None) => sentence(StatusCode::NOT_FOUND, "the content has no file of this name"),
                (Err(why), _) => not_open(&why),
            };
        }
        if head.method == Method::HEAD {
            return unmade(&top.mime);
        }
        let units = merged.room(number).div_ceil(ROOM_UNIT);
        let room = Arc::clone(&self.0.room).acquire_many_owned(u32::try_from(units).unwrap_or(u32::MAX));
        let Ok(Ok(room)) = timeout(self.0.patience, room).await else {
            let sorry = "more segments of layers are asked for than are put together at a time; try again";
            return sentence(StatusCode::SERVICE_UNAVAILABLE, sorry);
        };
        let together = match Together::of(merged.layers(), number, self, Arc::new(room)).await {
            Ok(together) => together,
            Err(Trouble::Open(why)) => return not_open(&why),
            Err(Trouble::Read(error)) => return no_content(&error),
        };
        self.0.metrics.merged(together.layers == merged.layers().len());
        // With other layers it is something else.
        let tag = format!("\"{}-{number}-{}\"", merged.name(), together.layers);
        // RFC 9110 §14.2 lets a range be ignored. Who does not say of what it is may have parts of this with other layers.
        let mut headers = head.headers.clone();
        if !headers.contains_key(header::IF_RANGE) {
            headers.remove(header::RANGE);
        }
        let (mut answer, part) = promise(&headers, together.made.len(), tag, &top.mime);
        if part.is_empty() {
            return answer;
        }
        self.0.metrics.first_byte.observe(begun.elapsed().as_secs_f64());
        let length = part.end - part.start;
        let content = Content::new(Source::Spooled(together.made.part(part)), length, self.0.metrics.clone());
        *answer.body_mut() = Answered::Content(content);
        answer
    }
}

/// What is known of a segment before it is made. RFC 9110 §9.3.2: how long it is, and which it is, may be left out then.
fn unmade(mime: &str) -> Answer {
    let mut answer = Response::new(Answered::from(String::new()));
    insert(&mut answer, header::CONTENT_TYPE, mime.to_owned());
    answer.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    answer
}

/// A segment for a player.
struct Together {
    made: Spooled,
    /// Of how many layers it is.
    layers: usize,
}

/// Why there is not even the base.
enum Trouble {
    Open(NotOpen),
    Read(ReadError),
}

/// What memory is taken of, until the last who holds it has given it back.
type Room = Arc<OwnedSemaphorePermit>;

impl Together {
    /// A segment of what came in time: the base, for which a player waits as long as for anything, and what is above it, for which it waits
    /// no longer than half as long as the segment lasts, so that it never falls behind.
    async fn of(items: &[Arc<Item>], number: usize, gateway: &Gateway, room: Room) -> Result<Self, Trouble> {
        let begun = Instant::now();
        let Inner { swarms, metrics, patience, .. } = &*gateway.0;
        let mut came: Vec<Read> = Vec::new();
        let mut until = begun;
        for item in items {
            let layer = Layer::open(item, number, swarms, *patience).await;
            if came.is_empty() {
                let base = layer.map_err(Trouble::Open)?.read(metrics, &room).await.map_err(Trouble::Read)?;
                let (lasts, base) = aside(move || (base.duration(), base)).await?;
                until += (lasts / 2).min(*patience);
                came.push(base);
                continue;
            }
            let mut layer = match layer {
                Ok(layer) => layer,
                Err(why) => {
                    tracing::warn!("a layer is not open: {why:?}");
                    break;
                }
            };
            match timeout_at(until.into(), layer.read(metrics, &room)).await {
                Ok(Ok(read)) => came.push(read),
                failed => {
                    if let Ok(Err(error)) = failed {
                        tracing::debug!("a layer does not come: {error}");
                    }
                    // A line that has no time for this segment may have some for the next one.
                    layer.media.0.skip();
                    break;
                }
            }
        }
        let cache = swarms.cache().to_owned();
        let made = aside(move || Self::made_of(&came, &cache)).await?;
        made.map_err(|e| Trouble::Read(ReadError::Failed(format!("a segment cannot be kept until it is sent: {e}"))))
    }

    /// What came as one segment; where it does not go together the base alone, which is one by itself.
    fn made_of(came: &[Read], directory: &Path) -> io::Result<Self> {
        if came.len() > 1 {
            match merged(came) {
                Ok(bytes) => return Ok(Self { made: Spooled::new(directory, &bytes)?, layers: came.len() }),
                Err(error) => tracing::warn!("layers do not go together: {error}"),
            }
        }
        let base = came.first().map_or(&[][..], |base| &base.media);
        Ok(Self { made: Spooled::new(directory, base)?, layers: 1 })
    }
}

/// These layers as one segment.
fn merged(came: &[Read]) -> Result<Vec<u8>, Unreadable> {
    let mut base: Option<Track> = None;
    let (mut segments, mut samples) = (Vec::new(), 0);
    for read in came {
        let (track, segment) = read.parse()?;
        if base.as_ref().is_some_and(|base| !base.is_like(&track)) {
            return Err(Unreadable::Different);
        }
        base.get_or_insert(track);
        samples += segment.samples().len();
        // Before more of them are read.
        if samples > Segment::MAX_SAMPLES {
            return Err(Unreadable::Samples);
        }
        segments.push(segment);
    }
    merge(&segments)?.write(&base.ok_or(Unreadable::Missing("moof"))?)
}

/// Does what takes the processor or the disk a while where nobody else waits for it.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Trouble> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|e| Trouble::Read(ReadError::Failed(format!("putting layers together broke off: {e}"))))
}

/// A layer that is being read, and how many bytes that are.
struct Layer {
    init: (Reader, usize),
    media: (Reader, usize),
    // It stays open until nobody reads it any more.
    _swarm: Open,
}

/// What was read of a layer: its initialization segment, and a media segment.
struct Read {
    init: Vec<u8>,
    media: Vec<u8>,
    _room: Room,
}

impl Layer {
    async fn open(item: &Arc<Item>, number: usize, swarms: &Arc<Swarms>, patience: Duration) -> Result<Self, NotOpen> {
        let swarm = swarms.open(item).await?;
        let reader = |number: usize| {
            let range = item.parts().get(number).map_or(0..0, |part| part.range.clone());
            (swarm.reader(range.start, range.end, patience), (range.end - range.start) as usize)
        };
        Ok(Self { init: reader(0), media: reader(number), _swarm: swarm })
    }

    async fn read(&mut self, metrics: &Metrics, room: &Room) -> Result<Read, ReadError> {
        let init = all_of(&mut self.init, metrics).await?;
        Ok(Read { init, media: all_of(&mut self.media, metrics).await?, _room: Arc::clone(room) })
    }
}

async fn all_of((reader, length): &mut (Reader, usize), metrics: &Metrics) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::with_capacity(*length);
    while let Some(piece) = reader.next().await? {
        metrics.read(&piece, true);
        bytes.extend_from_slice(&piece.bytes);
    }
    Ok(bytes)
}

impl Read {
    fn parse(&self) -> Result<(Track, Segment<'_>), Unreadable> {
        let track = Track::read(&self.init)?;
        let segment = Segment::read(&self.media, &track)?;
        Ok((track, segment))
    }

    /// How long it is shown; none where that cannot be told.
    fn duration(&self) -> Duration {
        self.parse().map_or(Duration::ZERO, |(track, segment)| segment.duration(&track))
    }
}
