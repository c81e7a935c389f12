//! Which swarms a gateway has open: few, and none for ever. And that each content is shown as its own descriptor has it.

mod common;

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::{PATIENCE, Place};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt;
use ppsp_core::{Link, SwarmMetadata, descriptor::Descriptor};
use ppsp_examples::{
    cli::exit::Failure,
    gateway::{Access, Answered, Find, Gateway, Item, Keeping, Programme},
    net::Socket,
    peer::{Peer, Sources},
    store::{FileStore, Places, SeedOptions},
};
use ppsp_peer_proto::EndpointConfig;
use serde_json::Value;

const LENGTH: usize = 50_000;

/// A peer on loopback.
fn peer() -> Peer {
    let socket = Socket::bind_group("127.0.0.1:0".parse().unwrap(), 1).unwrap().remove(0);
    Peer::start(socket, EndpointConfig::default()).unwrap()
}

/// Somebody who has files, each a swarm.
struct Seed {
    peer: Peer,
    files: Vec<(SwarmMetadata, Vec<u8>)>,
}

impl Seed {
    async fn of(place: &Place, count: usize) -> Self {
        let peer = peer();
        let mut files = Vec::new();
        for number in 0..count {
            let name = format!("{number}.mp4");
            let bytes = place.content(&name, LENGTH + number);
            let options = SeedOptions::default();
            let (store, _) = FileStore::seed(&Places::new(&place.path(&name), None), &options, &mut |_| ()).unwrap();
            files.push((store.metadata(), bytes));
            peer.join(store, Sources::default()).await.unwrap();
        }
        Self { peer, files }
    }

    fn sources(&self) -> Sources {
        Sources { peers: vec![self.peer.addr()], ..Sources::default() }
    }

    fn link(&self, number: usize) -> Link {
        Link::new(self.files[number].0.clone())
    }

    /// Each as content whose identifier is its number.
    fn catalogue(&self) -> Find {
        let of = |(metadata, _): &(SwarmMetadata, Vec<u8>)| metadata.clone();
        let all: Vec<SwarmMetadata> = self.files.iter().map(of).collect();
        let sources = self.sources();
        Box::new(move |id| {
            let metadata = id.parse().ok().and_then(|number: usize| all.get(number)).cloned();
            let sources = sources.clone();
            Box::pin(async move {
                let metadata = metadata.ok_or_else(|| Failure::refused("there is no such content"))?;
                let descriptor = Descriptor::of_file("A film", "film.mp4", "video/mp4", &metadata);
                let item = Item::new(Some(&id), Link::new(metadata), None, descriptor.parts("file").ok(), sources);
                Ok(Programme::new(Some((id, descriptor)), vec![item]))
            })
        })
    }

    /// The path of one in the catalogue.
    fn path(&self, number: usize) -> String {
        format!("/content/{number}/{}/film.mp4", self.files[number].0.id)
    }
}

/// A gateway that is asked without a socket.
struct Asked(Gateway);

impl Asked {
    fn new(place: &Place, cache: &str, peer: &Peer, keeping: Keeping, patience: Duration, find: Find) -> Self {
        let cache = place.path(cache);
        std::fs::create_dir_all(&cache).unwrap();
        Self(Gateway::new(peer.clone(), cache, Access::default(), patience, keeping, find))
    }

    async fn begin(&self, path: &str) -> Response<Answered> {
        let request = Request::get(path).header("host", "localhost").body(()).unwrap();
        tokio::time::timeout(PATIENCE, self.0.answer(request)).await.expect(path)
    }

    async fn get(&self, path: &str) -> (StatusCode, Bytes) {
        let answer = self.begin(path).await;
        (answer.status(), rest(answer).await)
    }

    async fn plays(&self, path: &str, bytes: &[u8]) {
        let (status, body) = self.get(path).await;
        let said = if status == 200 { "other bytes".into() } else { String::from_utf8_lossy(&body) };
        assert!(status == 200 && body == bytes, "{path}: {status}, {said}");
    }

    /// The swarms that are open.
    async fn open(&self) -> Vec<String> {
        let status: Value = serde_json::from_slice(&self.get("/status").await.1).unwrap();
        let swarms = status["swarms"].as_array().unwrap();
        swarms.iter().map(|swarm| swarm["swarm"].as_str().unwrap().to_owned()).collect()
    }

    /// What it counts by this name.
    async fn counted(&self, name: &str) -> u64 {
        let page = self.get("/metrics").await.1;
        let line = std::str::from_utf8(&page).unwrap().lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    }
}

async fn rest(answer: Response<Answered>) -> Bytes {
    tokio::time::timeout(PATIENCE, answer.into_body().collect()).await.unwrap().unwrap().to_bytes()
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test);
}

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(3600);

#[test]
fn few_swarms_are_open_and_nothing_is_lost() {
    run(async {
        let place = Place::new();
        let seed = Seed::of(&place, 6).await;
        let viewer = peer();
        let keeping = Keeping { idle: LONG, most: 2 };
        let gateway = Asked::new(&place, "cache", &viewer, keeping, PATIENCE / 2, seed.catalogue());
        let mut given = seed.link(0);
        given.name = Some("given.mp4".to_owned());
        gateway.0.add(Programme::new(None, vec![Item::new(None, given, None, None, seed.sources())]));
        let given = seed.files[0].0.id.to_string();
        gateway.plays(&format!("/{given}/given.mp4"), &seed.files[0].1).await;
        let mut received = 0;
        for number in 1..6 {
            gateway.plays(&seed.path(number), &seed.files[number].1).await;
            let open = gateway.open().await;
            assert!(open.len() <= 3 && open.contains(&given), "{open:?}");
            assert!(open.contains(&seed.files[number].0.id.to_string()), "{open:?}");
            // What is counted never becomes less.
            let now = gateway.counted("ppsp_content_bytes_total{direction=\"in\"}").await;
            assert!(now >= received, "{now} after {received}");
            received = now;
        }
        // Least recently read is not what was opened first.
        gateway.plays(&seed.path(4), &seed.files[4].1).await;
        gateway.plays(&seed.path(1), &seed.files[1].1).await;
        assert!(gateway.open().await.contains(&seed.files[4].0.id.to_string()));

        // Nobody has them any more but this gateway.
        seed.peer.close().await;
        for number in (1..6).rev() {
            gateway.plays(&seed.path(number), &seed.files[number].1).await;
        }
        viewer.close().await;
    });
}

#[test]
fn a_swarm_is_left_when_nobody_has_read_it_for_a_while() {
    run(async {
        let place = Place::new();
        let seed = Seed::of(&place, 3).await;
        let viewer = peer();
        let keeping = Keeping { idle: Duration::from_millis(1), most: 64 };
        let gateway = Asked::new(&place, "cache", &viewer, keeping, PATIENCE / 2, seed.catalogue());
        gateway.0.add(Programme::new(None, vec![Item::new(None, seed.link(0), None, None, seed.sources())]));
        let id = |number: usize| seed.files[number].0.id.to_string();
        gateway.plays(&format!("/{}", id(0)), &seed.files[0].1).await;
        // This one is being read all the time.
        let reading = gateway.begin(&seed.path(1)).await;
        gateway.plays(&seed.path(2), &seed.files[2].1).await;
        let end = Instant::now() + PATIENCE;
        while gateway.open().await.contains(&id(2)) {
            assert!(Instant::now() < end, "it stays");
            tokio::task::yield_now().await;
        }
        let mut open = gateway.open().await;
        open.sort();
        let mut expected = vec![id(0), id(1)];
        expected.sort();
        assert_eq!(open, expected);
        assert!(rest(reading).await == seed.files[1].1);
        seed.peer.close().await;
        gateway.plays(&seed.path(2), &seed.files[2].1).await;
        viewer.close().await;
    });
}

#[test]
fn who_asks_for_thousands_of_swarms_opens_none_and_spoils_nothing() {
    run(async {
        let place = Place::new();
        let seed = Seed::of(&place, 2).await;
        let viewer = peer();
        let gateway =
            Arc::new(Asked::new(&place, "cache", &viewer, Keeping::default(), PATIENCE / 2, seed.catalogue()));
        let watching = gateway.begin(&seed.path(0)).await;
        let asking: Vec<_> = (0..4)
            .map(|n| {
                let (gateway, other) = (Arc::clone(&gateway), seed.files[1].0.id.to_string());
                tokio::spawn(async move {
                    for number in 0..1000 {
                        let id = format!("{:064x}", number * 4 + n);
                        // Known content opens its own swarms and no others, not even those that there are.
                        for path in [
                            format!("/{id}"),
                            format!("/{other}/film.mp4"),
                            format!("/content/0/{id}/film.mp4"),
                            format!("/content/0/{other}/film.mp4"),
                            format!("/content/0/{other}+{id}/film.mp4"),
                        ] {
                            assert_eq!(gateway.get(&path).await.0, 404, "{path}");
                        }
                        for path in [format!("/content/x{id}/{id}/a"), format!("/mpd/x{id}/manifest.mpd")] {
                            assert_eq!(gateway.get(&path).await.0, 403, "{path}");
                        }
                    }
                })
            })
            .collect();
        for one in asking {
            one.await.unwrap();
        }
        assert_eq!(gateway.open().await, [seed.files[0].0.id.to_string()]);
        assert_eq!(
            std::fs::read_dir(place.path("cache"))
                .unwrap()
                .filter(|file| {
                    !file
                        .as_ref()
                        .unwrap()
                        .file_name()
                        .to_string_lossy()
                        .starts_with(&seed.files[0].0.id.to_string()[..32])
                })
                .count(),
            0
        );
        assert!(rest(watching).await == seed.files[0].1);
        viewer.close().await;
    });
}

#[test]
fn what_may_be_opened_is_opened_in_turns() {
    run(async {
        let place = Place::new();
        let seed = Seed::of(&place, 8).await;
        let viewer = peer();
        let keeping = Keeping { idle: LONG, most: 3 };
        let gateway = Arc::new(Asked::new(&place, "cache", &viewer, keeping, PATIENCE / 2, seed.catalogue()));
        let seed = Arc::new(seed);
        // More of them at the same time than may be open.
        let asking: Vec<_> = (0..8)
            .map(|n| {
                let (gateway, seed) = (Arc::clone(&gateway), Arc::clone(&seed));
                tokio::spawn(async move {
                    for round in 0..5 {
                        let number = (n * 3 + round) % 8;
                        gateway.plays(&seed.path(number), &seed.files[number].1).await;
                        assert!(gateway.open().await.len() <= 3);
                    }
                })
            })
            .collect();
        for one in asking {
            one.await.unwrap();
        }
        viewer.close().await;
    });
}

#[test]
fn where_all_are_being_read_the_next_one_waits_and_is_told_so() {
    run(async {
        let place = Place::new();
        let seed = Seed::of(&place, 2).await;
        let viewer = peer();
        let keeping = Keeping { idle: LONG, most: 1 };
        let gateway = Asked::new(&place, "cache", &viewer, keeping, Duration::from_secs(2), seed.catalogue());
        let reading = gateway.begin(&seed.path(0)).await;
        assert_eq!(reading.status(), 200);
        let (status, text) = gateway.get(&seed.path(1)).await;
        assert_eq!(status, 503);
        assert!(text.starts_with(b"as many swarms are being read"), "{text:?}");
        let path = seed.path(1);
        let (waiting, read) = tokio::join!(gateway.get(&path), rest(reading));
        assert!(read == seed.files[0].1 && waiting.1 == seed.files[1].1, "{}", waiting.0);
        viewer.close().await;
    });
}

/// Content whose swarm is this one, in files of these names and a type.
fn set(
    id: &str,
    metadata: &SwarmMetadata,
    names: [&str; 2],
    lengths: [u64; 2],
    mime: &str,
    seed: SocketAddr,
) -> Programme {
    let [init, media] = names;
    let xml = format!(
        "<MPD xmlns='urn:mpeg:dash:schema:mpd:2011' type='static' mediaPresentationDuration='PT1S'><Period><AdaptationSet \
         mimeType='{mime}'><Representation id='v' codecs='avc1.4d400b'><SegmentList duration='1'><Initialization sourceURL='{init}'/>\
         <SegmentURL media='{media}'/></SegmentList></Representation></AdaptationSet></Period></MPD>"
    );
    let mut descriptor = Descriptor::parse(xml.as_bytes()).unwrap();
    descriptor.set_swarm("v", metadata, None);
    descriptor.set_parts("v", &lengths).unwrap();
    let one = &descriptor.representations()[0];
    let (link, mime) = (descriptor.link(one).unwrap(), one.mime.clone());
    let sources = Sources { peers: vec![seed], ..Sources::default() };
    let item = Item::new(Some(id), link, mime, descriptor.parts("v").ok(), sources);
    Programme::new(Some((id.to_owned(), descriptor)), vec![item])
}

#[test]
fn each_content_is_shown_as_its_own_descriptor_has_it() {
    run(async {
        let place = Place::new();
        let seed = Seed::of(&place, 1).await;
        let (metadata, bytes) = seed.files[0].clone();
        let (swarm, from) = (metadata.id.to_string(), seed.peer.addr());
        let all = LENGTH as u64;
        let found = Mutex::new(HashMap::from([
            ("one", set("one", &metadata, ["i", "s"], [1000, all - 1000], "video/mp4", from)),
            // The same names for other bytes, and another type.
            ("two", set("two", &metadata, ["s", "i"], [300, all - 300], "audio/mp4", from)),
        ]));
        let find: Find = Box::new(move |id| {
            let programme = found.lock().unwrap().remove(&*id);
            Box::pin(async move { programme.ok_or_else(|| Failure::refused("it is found once")) })
        });
        let viewer = peer();
        let gateway = Asked::new(&place, "cache", &viewer, Keeping::default(), PATIENCE / 2, find);
        let mut link = seed.link(0);
        link.name = Some("film.webm".to_owned());
        gateway.0.add(Programme::new(None, vec![Item::new(None, link, None, None, seed.sources())]));
        for id in ["one", "two"] {
            let (status, mpd) = gateway.get(&format!("/mpd/{id}/manifest.mpd")).await;
            let base = format!("<BaseURL>http://localhost/content/{id}/{swarm}/</BaseURL>");
            assert!(status == 200 && String::from_utf8_lossy(&mpd).contains(&base), "{mpd:?}");
        }
        for (path, mime, range) in [
            (format!("/content/one/{swarm}/i"), "video/mp4", 0..1000),
            (format!("/content/two/{swarm}/i"), "audio/mp4", 300..LENGTH),
            (format!("/content/one/{swarm}/s"), "video/mp4", 1000..LENGTH),
            (format!("/content/two/{swarm}/s"), "audio/mp4", 0..300),
            // A link says nothing of files.
            (format!("/{swarm}/s"), "video/webm", 0..LENGTH),
            (format!("/{swarm}/film.webm"), "video/webm", 0..LENGTH),
        ] {
            let answer = gateway.begin(&path).await;
            assert_eq!((answer.status(), &answer.headers()["content-type"]), (StatusCode::OK, &mime.parse().unwrap()));
            assert!(rest(answer).await == bytes[range], "{path}");
        }
        assert_eq!(gateway.get(&format!("/content/one/{swarm}/film.webm")).await.0, 404);
        assert_eq!(gateway.open().await.len(), 1, "it is one swarm");
        viewer.close().await;
    });
}
