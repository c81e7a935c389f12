//! What a gateway can play: swarms that it knows, each opened when somebody first asks for it.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use ppsp_core::{
    Link,
    descriptor::{Part, Parts},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    account::path_part,
    cli::exit::Failure,
    live::{Listener, Look, Station, Watching},
    peer::{Figures, Peer, Sources, Status, Swarm},
    store::{FileStore, Notice, Places},
};

/// Content of one swarm.
#[derive(Debug)]
pub struct Item {
    /// The swarm's identifier, as it stands in URLs.
    pub(super) id: String,
    /// How the content is called, where that is known.
    pub(super) name: Option<String>,
    /// Its media type.
    pub(super) mime: String,
    /// The files that it consists of, once that is known.
    parts: OnceLock<Parts>,
    link: Link,
    sources: Mutex<Option<Sources>>,
    swarm: OnceCell<Swarm>,
    /// Of a live stream, whoever watches it here.
    station: Mutex<Option<Station>>,
    /// What was counted by those who watched before.
    before: Mutex<Figures>,
}

impl Item {
    /// By its link, with the peers and trackers that know more.
    pub fn new(link: Link, mime: Option<String>, parts: Option<Parts>, sources: Sources) -> Self {
        let name = link.file_name().map(str::to_owned);
        let usual = match (&name, link.metadata.integrity.is_live()) {
            // What is sent live is a transport stream, mostly.
            (None, true) => "video/mp2t",
            (name, _) => media_type(name.as_deref().unwrap_or_default()),
        };
        let mime = mime.unwrap_or_else(|| usual.to_owned());
        let id = link.metadata.id.to_string();
        let parts = parts.map(OnceLock::from).unwrap_or_default();
        Self {
            id,
            name,
            mime,
            parts,
            link,
            sources: Mutex::new(Some(sources)),
            swarm: OnceCell::new(),
            station: Mutex::default(),
            before: Mutex::default(),
        }
    }

    /// The path of its URL.
    pub fn path(&self) -> String {
        match &self.name {
            Some(name) => format!("/{}/{}", self.id, path_part(name)),
            None => format!("/{}", self.id),
        }
    }

    /// As programs read it, with what its peers gave and got.
    pub(super) fn describe(&self, status: &Status) -> Value {
        let mut shown = status.to_json();
        (shown["swarm"], shown["name"], shown["path"]) = (json!(self.id), json!(self.name), json!(self.path()));
        shown
    }

    /// Takes from the same swarm, named by somebody else, of which files it consists, where that is not known yet: a link alone does not
    /// say it.
    pub(super) fn learn(&self, other: &Self) {
        if let Some(parts) = other.parts.get() {
            // Who was first stays: players have its names.
            _ = self.parts.set(parts.clone());
        }
    }

    /// Which bytes of content of this length are the file of this name; `None` where there is none. All of it has its own name, and
    /// content of a single file whatever name players like to see.
    pub(super) fn file(&self, name: &str, length: u64) -> Option<Range<u64>> {
        match self.parts.get() {
            Some(parts) if parts.list().len() > 1 && !name.is_empty() => {
                let whole = || (self.name.as_deref() == Some(name)).then_some(0..length);
                parts.part(name).or_else(whole).filter(|part| part.end <= length)
            }
            _ => Some(0..length),
        }
    }

    /// Is it a live stream?
    pub(super) fn is_live(&self) -> bool {
        self.link.metadata.integrity.is_live()
    }

    /// Listens to the live stream; has it watched from now on, or again where it had ended.
    pub(super) fn listen(&self, peer: &Peer, patience: Duration) -> Result<Listener, Failure> {
        let mut station = lock(&self.station);
        if let Some(listener) = station.as_ref().and_then(Station::listen) {
            return Ok(listener);
        }
        // They serve a second time, too.
        let sources = lock(&self.sources);
        let known = |sources: &Sources| (sources.peers.clone(), sources.trackers.clone());
        let (peers, trackers) = sources.as_ref().map(known).unwrap_or_default();
        let sources = Sources { peers, trackers, ..Sources::default() };
        let watching = Watching { patience, window: self.link.discard_window, ..Watching::default() };
        let (started, listener) =
            Station::start(peer.another_socket()?, peer.config(), self.link.metadata.clone(), watching, sources)?;
        if let Some(before) = station.replace(started) {
            lock(&self.before).merge(&before.look().figures.ended());
        }
        Ok(listener)
    }

    /// How the live stream stands, where somebody asked for it; counted is what was before as well.
    pub(super) fn look(&self) -> Option<Look> {
        let mut look = lock(&self.station).as_ref()?.look();
        look.figures.merge(&lock(&self.before));
        Some(look)
    }

    /// The files that it consists of, where that is known.
    pub(super) fn parts(&self) -> &[Part] {
        self.parts.get().map_or(&[], Parts::list)
    }

    /// The swarm, where somebody asked for it already.
    pub(super) fn opened(&self) -> Option<&Swarm> {
        self.swarm.get()
    }

    /// The swarm; takes part in it from now on. A player that breaks off while that goes on ends nothing half done: the next one
    /// finds it done.
    pub(super) async fn open(self: &Arc<Self>, peer: &Peer, cache: &Path) -> Result<Swarm, Failure> {
        if let Some(swarm) = self.opened() {
            return Ok(swarm.clone());
        }
        let (item, peer, cache) = (Arc::clone(self), peer.clone(), cache.to_owned());
        tokio::spawn(async move { item.join(&peer, &cache).await.cloned() }).await.map_err(Failure::other)?
    }

    async fn join(&self, peer: &Peer, cache: &Path) -> Result<&Swarm, Failure> {
        let opening = self.swarm.get_or_try_init(|| async {
            let metadata = self.link.metadata.clone();
            let places = Places::new(&self.place(cache), None);
            let opening = tokio::task::spawn_blocking(move || {
                FileStore::download(&places, &metadata, &mut |notice| {
                    if let Notice::Warning(text) = notice {
                        tracing::warn!("{text}");
                    }
                })
            });
            let (store, _) = opening.await.map_err(Failure::other)??;
            let sources = lock(&self.sources).take().unwrap_or_default();
            peer.join(store, sources).await
        });
        opening.await
    }

    /// Where its content is kept.
    fn place(&self, cache: &Path) -> PathBuf {
        let id = self.id.get(..32).unwrap_or(&self.id);
        cache.join(match &self.name {
            // File systems take 255 bytes, and more is appended.
            Some(name) if name.len() <= 180 => format!("{id}-{name}"),
            _ => id.to_owned(),
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// By the end of the name; what else players find out for themselves.
pub fn media_type(name: &str) -> &'static str {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    match extension.as_str() {
        "mp4" | "m4v" | "m4s" => "video/mp4",
        "webm" => "video/webm",
        "mkv" => "video/x-matroska",
        "mov" => "video/quicktime",
        "ts" | "m2ts" => "video/mp2t",
        "ogv" => "video/ogg",
        "mp3" => "audio/mpeg",
        "m4a" => "audio/mp4",
        "ogg" | "opus" => "audio/ogg",
        "flac" => "audio/flac",
        "wav" => "audio/wav",
        "vtt" => "text/vtt",
        "mpd" => "application/dash+xml",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: Option<&str>) -> Item {
        let mut link: Link = format!("ppsp:{}", "ab".repeat(32)).parse().unwrap();
        link.name = name.map(str::to_owned);
        Item::new(link, None, None, Sources::default())
    }

    #[test]
    fn of_which_files_it_consists_is_learned_once() {
        let manifest = |name: &str| {
            let list = "<SegmentList duration='1'><Initialization sourceURL='init'/>";
            let xml = format!(
                "<MPD type='static' mediaPresentationDuration='PT1S'><Period><AdaptationSet><Representation id='v'>{list}\
                 <SegmentURL media='{name}'/></SegmentList></Representation></AdaptationSet></Period></MPD>"
            );
            let mut set = ppsp_core::descriptor::Descriptor::parse(xml.as_bytes()).unwrap();
            set.set_parts("v", &[40, 60]).unwrap();
            let link: Link = format!("ppsp:{}", "ab".repeat(32)).parse().unwrap();
            Item::new(link, None, Some(set.parts("v").unwrap()), Sources::default())
        };
        let plain = item(Some("film.mp4"));
        assert_eq!(plain.file("one", 100), Some(0..100));
        plain.learn(&item(None));
        plain.learn(&manifest("one"));
        plain.learn(&manifest("two"));
        let all = ["init", "one", "two", "film.mp4", ""].map(|name| plain.file(name, 100));
        assert_eq!(all, [Some(0..40), Some(40..100), None, Some(0..100), Some(0..100)]);
    }

    #[test]
    fn names_do_not_lead_elsewhere() {
        let named = item(Some("a film & more.mp4"));
        assert_eq!(named.path(), format!("/{}/a%20film%20%26%20more.mp4", "ab".repeat(32)));
        assert_eq!(named.mime, "video/mp4");
        assert!(named.place("/c".as_ref()).to_str().unwrap().ends_with("abab-a film & more.mp4"));
        for bad in [None, Some("../x"), Some("/etc/passwd"), Some("..")] {
            let item = item(bad);
            assert_eq!(item.place("/c".as_ref()), Path::new("/c").join("ab".repeat(16)), "{bad:?}");
            assert_eq!(item.path(), format!("/{}", "ab".repeat(32)));
        }
    }
}
