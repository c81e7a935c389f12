//! Layers as one: a segment of a base, and of what stands on it as far as that comes in time.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{StatusCode, request::Parts};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{timeout, timeout_at},
};

use super::{
    Answered, Gateway, Inner, Item, Merged, ROOM_UNIT,
    answer::{Answer, no_content, refuse_for, sentence},
    metrics::Metrics,
    range::promise,
};
use crate::{
    cli::exit::Failure,
    layers::{Segment, Track, Unreadable, merge},
    peer::{Peer, ReadError, Reader},
};

impl Gateway {
    /// A segment of layers as one.
    pub(super) async fn segment(&self, merged: &Merged, name: &str, head: &Parts) -> Answer {
        let begun = Instant::now();
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        let (Some(top), Some(base), Some(number)) = (merged.top(), merged.base(), merged.number(&name)) else {
            return sentence(StatusCode::NOT_FOUND, "the content has no file of this name");
        };
        let (peer, cache, patience) = (&self.0.peer, &self.0.cache, self.0.patience);
        if number == 0 {
            // What a decoder has to know beforehand is the same for all layers.
            return match (base.open(peer, cache).await, base.parts().first()) {
                (Ok(swarm), Some(init)) => self.stream(base, &swarm, init.range.clone(), begun, head).await,
                (Ok(_), None) => sentence(StatusCode::NOT_FOUND, "the content has no file of this name"),
                (Err(failure), _) => refuse_for(&failure),
            };
        }
        // The layers, and as much again for what is made of them.
        let units = (merged.length(number) * 2).div_ceil(ROOM_UNIT);
        let room = Arc::clone(&self.0.room).acquire_many_owned(u32::try_from(units).unwrap_or(u32::MAX));
        let Ok(Ok(room)) = timeout(patience, room).await else {
            let sorry = "more segments of layers are asked for than are put together at a time; try again";
            return sentence(StatusCode::SERVICE_UNAVAILABLE, sorry);
        };
        let together = match Together::of(merged.layers(), number, self).await {
            Ok(together) => together,
            Err(Trouble::Open(failure)) => return refuse_for(&failure),
            Err(Trouble::Read(error)) => return no_content(&error),
        };
        self.0.metrics.merged(together.layers == merged.layers().len());
        self.0.metrics.first_byte.observe(begun.elapsed().as_secs_f64());
        // With other layers it is something else.
        let tag = format!("\"{}-{number}-{}\"", top.id, together.layers);
        let (mut answer, part) = promise(head, together.bytes.len() as u64, tag, &top.mime);
        if part.is_empty() {
            return answer;
        }
        let bytes = Bytes::from_owner(Held { bytes: together.bytes, _room: room });
        *answer.body_mut() = Answered::from(bytes.slice(part.start as usize..part.end as usize));
        answer
    }
}

/// A segment for a player.
struct Together {
    bytes: Vec<u8>,
    /// Of how many layers it is.
    layers: usize,
}

/// Why there is not even the base.
enum Trouble {
    Open(Failure),
    Read(ReadError),
}

impl Together {
    /// A segment of what came in time: the base, for which a player waits as long as for anything, and what is above it, for which it waits
    /// no longer than half as long as the segment lasts, so that it never falls behind.
    async fn of(items: &[Arc<Item>], number: usize, gateway: &Gateway) -> Result<Self, Trouble> {
        let begun = Instant::now();
        let Inner { peer, cache, metrics, patience, .. } = &*gateway.0;
        let mut came: Vec<Read> = Vec::new();
        let mut until = begun;
        for item in items {
            let layer = Layer::open(item, number, peer, cache, *patience).await;
            if came.is_empty() {
                let base = layer.map_err(Trouble::Open)?.read(metrics).await.map_err(Trouble::Read)?;
                until += (base.duration() / 2).min(*patience);
                came.push(base);
                continue;
            }
            let mut layer = match layer {
                Ok(layer) => layer,
                Err(failure) => {
                    tracing::warn!("a layer cannot be opened: {}", failure.message);
                    break;
                }
            };
            match timeout_at(until.into(), layer.read(metrics)).await {
                Ok(Ok(read)) => came.push(read),
                failed => {
                    if let Ok(Err(error)) = failed {
                        tracing::debug!("a layer does not come: {error}");
                    }
                    // A line that has no time for this segment may have some for the next one.
                    layer.media.skip();
                    break;
                }
            }
        }
        Ok(Self::made_of(came))
    }

    /// What came as one segment; where it does not go together the base alone, which is one by itself.
    fn made_of(came: Vec<Read>) -> Self {
        let layers = came.len();
        let merged = || {
            let parsed: Vec<_> = came.iter().map(Read::parse).collect::<Result<_, _>>()?;
            let Some((track, _)) = parsed.first() else { return Err(Unreadable::Missing("moof")) };
            if !parsed.iter().all(|(other, _)| other.is_like(track)) {
                return Err(Unreadable::Different);
            }
            let segments: Vec<_> = parsed.iter().map(|(_, segment)| segment.clone()).collect();
            merge(&segments)?.write(track)
        };
        if layers > 1 {
            match merged() {
                Ok(bytes) => return Self { bytes, layers },
                Err(error) => tracing::warn!("layers do not go together: {error}"),
            }
        }
        Self { bytes: came.into_iter().next().map(|base| base.media).unwrap_or_default(), layers: 1 }
    }
}

/// A layer that is being read.
struct Layer {
    init: Reader,
    media: Reader,
}

/// What was read of a layer: its initialization segment, and a media segment.
struct Read {
    init: Vec<u8>,
    media: Vec<u8>,
}

impl Layer {
    async fn open(
        item: &Arc<Item>,
        number: usize,
        peer: &Peer,
        cache: &Path,
        patience: Duration,
    ) -> Result<Self, Failure> {
        let swarm = item.open(peer, cache).await?;
        let reader = |number: usize| {
            let range = item.parts().get(number).map_or(0..0, |part| part.range.clone());
            swarm.reader(range.start, range.end, patience)
        };
        Ok(Self { init: reader(0), media: reader(number) })
    }

    async fn read(&mut self, metrics: &Metrics) -> Result<Read, ReadError> {
        Ok(Read { init: all_of(&mut self.init, metrics).await?, media: all_of(&mut self.media, metrics).await? })
    }
}

async fn all_of(reader: &mut Reader, metrics: &Metrics) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
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

/// A segment in memory, as long as somebody is sent it.
struct Held {
    bytes: Vec<u8>,
    _room: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}
