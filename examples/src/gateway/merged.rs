//! Layers as one: segments of a base and of what stands on it are put together, for players that know nothing of layers.
//!
//! Merged are layers whose segments are files of their own, in MP4 and of one codec. How long a merged segment is, is known only when
//! its layers are here: where segments are ranges of one file no manifest could say where they are, and `dependencyId` stays.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use ppsp_core::descriptor::{Descriptor, Part, Representation, Resources};
use tokio::time::{Instant, timeout_at};

use super::{Item, metrics::Metrics};
use crate::{
    cli::exit::Failure,
    layers::{Segment, Track, Unreadable, merge},
    peer::{Peer, ReadError, Reader},
};

/// The layers of one Representation.
#[derive(Debug)]
pub(super) struct Merged {
    /// The base first.
    layers: Vec<Arc<Item>>,
}

/// A segment for a player.
pub(super) struct Together {
    pub(super) bytes: Vec<u8>,
    /// Of how many layers it is.
    pub(super) layers: usize,
}

/// Why there is not even the base.
pub(super) enum Trouble {
    Open(Failure),
    Read(ReadError),
}

impl Merged {
    /// Which layers of these swarms are merged, by the swarm of the layer above all others.
    pub(super) fn all(descriptor: &Descriptor, items: &BTreeMap<String, Arc<Item>>) -> BTreeMap<String, Arc<Self>> {
        let resources = descriptor.resources().unwrap_or_default();
        let whole: BTreeSet<&str> =
            resources.iter().filter(|one| is_whole(one)).map(|one| &*one.representation).collect();
        let mut all = BTreeMap::new();
        for one in descriptor.representations().iter().filter(|one| !one.dependencies.is_empty()) {
            let Ok(chain) = descriptor.layers(&one.id) else { continue };
            let fits = |layer: &Representation| {
                layer.codecs == one.codecs
                    && layer.mime.as_deref().is_some_and(|mime| mime.ends_with("/mp4"))
                    && whole.contains(&*layer.id)
            };
            if !chain.iter().all(fits) {
                continue;
            }
            let swarms = chain.iter().map(|layer| layer.swarm.as_ref().map(|swarm| swarm.metadata.id.to_string()));
            let layers: Option<Vec<_>> = swarms.map(|id| items.get(&id?).cloned()).collect();
            if let Some(new) = layers.map(|layers| Self { layers }).filter(Self::is_held)
                && let Some(top) = new.layers.last()
            {
                all.insert(top.id.clone(), Arc::new(new));
            }
        }
        all
    }

    /// The layer that is of use with all others: its segments give theirs the names.
    pub(super) fn top(&self) -> Option<&Item> {
        self.layers.last().map(|item| &**item)
    }

    /// The layer that needs no other.
    pub(super) fn base(&self) -> Option<&Arc<Item>> {
        self.layers.first()
    }

    /// How many layers there are.
    pub(super) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Which segment has this name; 0 is the initialization segment.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.top()?.parts().iter().position(|part| part.name == name)
    }

    /// How many bytes of layers this segment is made of.
    pub(super) fn length(&self, number: usize) -> u64 {
        let parts = self.layers.iter().filter_map(|item| item.parts().get(number));
        parts.map(length).fold(0, u64::saturating_add)
    }

    /// A segment of what came in time: the base, for which a player waits as long as for anything, and what is above it, for which it waits
    /// half as long as the segment lasts, so that it never falls behind.
    pub(super) async fn segment(
        &self,
        number: usize,
        peer: &Peer,
        cache: &Path,
        patience: Duration,
        metrics: &Metrics,
    ) -> Result<Together, Trouble> {
        let mut layers = Vec::new();
        for item in &self.layers {
            // All are asked for at once. What is above waits for its base in the peer.
            match Layer::open(item, number, peer, cache, patience).await {
                Ok(layer) => layers.push(layer),
                Err(failure) if layers.is_empty() => return Err(Trouble::Open(failure)),
                Err(failure) => {
                    tracing::warn!("a layer cannot be opened: {}", failure.message);
                    break;
                }
            }
        }
        let mut layers = layers.into_iter();
        let mut came = Vec::new();
        if let Some(base) = layers.next() {
            came.push(base.read(metrics).await.map_err(Trouble::Read)?);
        }
        let lasts = came.first().map_or(Duration::ZERO, Bytes::duration);
        let until = Instant::now() + (lasts / 2).min(patience);
        for layer in layers {
            match timeout_at(until, layer.read(metrics)).await {
                Ok(Ok(bytes)) => came.push(bytes),
                Ok(Err(error)) => {
                    tracing::debug!("a layer does not come: {error}");
                    break;
                }
                Err(_) => break,
            }
        }
        Ok(together(came))
    }

    /// Is no segment longer than what is held in memory, and does each layer have all of them?
    fn is_held(&self) -> bool {
        let Some(base) = self.base() else { return false };
        let segments = base.parts().len();
        let same = self.layers.iter().all(|item| item.parts().len() == segments);
        let init =
            self.layers.iter().all(|item| item.parts().first().is_some_and(|part| length(part) <= Track::MAX_LEN));
        segments > 1 && same && init && (1..segments).all(|number| self.length(number) <= Segment::MAX_LEN)
    }
}

/// Is each segment a file?
fn is_whole(resources: &Resources) -> bool {
    let references = &resources.references;
    references.iter().all(|one| one.range.is_none()) && resources.files().len() == references.len()
}

fn length(part: &Part) -> u64 {
    part.range.end - part.range.start
}

/// A layer that is being read.
struct Layer {
    init: Reader,
    media: Reader,
}

/// What was read of a layer: its initialization segment, and a media segment.
struct Bytes {
    init: Vec<u8>,
    media: Vec<u8>,
}

impl Layer {
    async fn open(item: &Item, number: usize, peer: &Peer, cache: &Path, patience: Duration) -> Result<Self, Failure> {
        let swarm = item.open(peer, cache).await?;
        let reader = |number: usize| {
            let range = item.parts().get(number).map_or(0..0, |part| part.range.clone());
            swarm.reader(range.start, range.end, patience)
        };
        Ok(Self { init: reader(0), media: reader(number) })
    }

    async fn read(self, metrics: &Metrics) -> Result<Bytes, ReadError> {
        Ok(Bytes { init: all_of(self.init, metrics).await?, media: all_of(self.media, metrics).await? })
    }
}

async fn all_of(mut reader: Reader, metrics: &Metrics) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await? {
        metrics.read(&piece, true);
        bytes.extend_from_slice(&piece.bytes);
    }
    Ok(bytes)
}

impl Bytes {
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

/// What came as one segment; where it does not go together the base alone, which is one by itself.
fn together(came: Vec<Bytes>) -> Together {
    let layers = came.len();
    let merged = || {
        let parsed: Vec<_> = came.iter().map(Bytes::parse).collect::<Result<_, _>>()?;
        let Some((track, _)) = parsed.first() else { return Err(Unreadable::Missing("moof")) };
        if !parsed.iter().all(|(other, _)| other.is_like(track)) {
            return Err(Unreadable::Different);
        }
        let segments: Vec<_> = parsed.iter().map(|(_, segment)| segment.clone()).collect();
        merge(&segments)?.write(track)
    };
    if layers > 1 {
        match merged() {
            Ok(bytes) => return Together { bytes, layers },
            Err(error) => tracing::warn!("layers do not go together: {error}"),
        }
    }
    Together { bytes: came.into_iter().next().map(|base| base.media).unwrap_or_default(), layers: 1 }
}
