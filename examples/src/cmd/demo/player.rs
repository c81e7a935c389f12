//! A player at a gateway: it reads what the gateway has of some content, and plays it as it would be seen.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use serde_json::Value;
use tokio::{task::JoinSet, time::sleep};

use super::{
    playback::Playback,
    tracks::{Chosen, Piece, Track},
};
use crate::{
    cli::exit::Failure,
    http::{HttpClient, Trust},
};

/// As much is fetched ahead of the picture.
const AHEAD: Duration = Duration::from_secs(12);
/// Most bytes in a piece.
const LONGEST: usize = 64 << 20;
/// For one answer of a gateway, which itself waits for peers for a while.
const PATIENCE: Duration = Duration::from_secs(90);

/// How it was to watch.
#[derive(Debug)]
pub(super) struct Watched {
    /// From "play" to the first picture.
    pub(super) first_frame: Duration,
    /// How long the picture stood still each time.
    pub(super) stalls: Vec<Duration>,
    /// Bytes that were asked for and came.
    pub(super) bytes: u64,
    /// What was played.
    pub(super) tracks: Vec<String>,
}

/// A gateway, as players see it.
#[derive(Clone)]
pub(super) struct Player {
    http: Arc<HttpClient>,
    url: String,
}

impl Player {
    pub(super) fn at(url: &str) -> Result<Self, Failure> {
        let mut http = HttpClient::new(url, Trust::System, true).map_err(Failure::network)?;
        (http.timeout, http.longest_answer) = (PATIENCE, LONGEST);
        Ok(Self { http: Arc::new(http), url: url.to_owned() })
    }

    /// What the gateway says of this path.
    pub(super) async fn json(&self, path: &str) -> Result<Value, Failure> {
        let (_, body) = self.ask(Method::GET, path, None).await?;
        serde_json::from_slice(&body).map_err(|e| Failure::other(format!("{}{path}: {e}", self.url)))
    }

    /// The swarms of content, each once.
    pub(super) async fn swarms(&self, content: &str) -> Result<Vec<String>, Failure> {
        let play = self.json(&format!("/play/{content}")).await?;
        let ids = play["swarms"].as_array().map_or(&[][..], Vec::as_slice);
        let ids: BTreeSet<String> = ids.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect();
        Ok(ids.into_iter().collect())
    }

    /// Plays content to its end, in the time that this takes.
    pub(super) async fn watch(&self, content: &str, duration: Duration) -> Result<Watched, Failure> {
        let begun = Instant::now();
        let tracks = self.tracks(content, duration).await?;
        let playback = Arc::new(Mutex::new(Playback::new(duration, tracks.len())));
        let names = tracks.iter().map(|track| track.name.clone()).collect();
        let mut fetching = JoinSet::new();
        for (number, track) in tracks.into_iter().enumerate() {
            let (player, playback) = (self.clone(), Arc::clone(&playback));
            fetching.spawn(async move { player.fetch(number, track.pieces, begun, &playback).await });
        }
        let mut bytes = 0;
        while let Some(fetched) = fetching.join_next().await {
            bytes += fetched.map_err(Failure::other)??;
        }
        // All is there; what is left is to be seen.
        let left = lock(&playback).left(begun.elapsed());
        sleep(left).await;
        let mut playback = lock(&playback);
        let over = playback.is_over(begun.elapsed());
        let first_frame = playback.first_frame().filter(|_| over);
        let first_frame = first_frame.ok_or_else(|| Failure::other("the content is over before its end was shown"))?;
        Ok(Watched { first_frame, stalls: playback.stalls().to_vec(), bytes, tracks: names })
    }

    /// What to play in so much time: of the manifest, or the one file.
    async fn tracks(&self, content: &str, duration: Duration) -> Result<Vec<Track>, Failure> {
        let play = self.json(&format!("/play/{content}")).await?;
        let Some(manifest) = play["mpd"].as_str() else {
            let path = play["file"].as_str().ok_or_else(|| Failure::other("the gateway names nothing to play"))?;
            let length = self.length(path).await?;
            return Ok(vec![Track::of_file("one file".to_owned(), path, length, duration)]);
        };
        let (_, xml) = self.ask(Method::GET, manifest, None).await?;
        let mut tracks = Vec::new();
        for chosen in Track::choose(&String::from_utf8_lossy(&xml), &self.url, duration)? {
            tracks.push(match chosen {
                Chosen::Pieces(track) => track,
                Chosen::Long { name, path } => Track::of_file(name, &path, self.length(&path).await?, duration),
            });
        }
        Ok(tracks)
    }

    /// Reads the last byte at this path, as players do that look for an index there.
    pub(super) async fn look_at_end(&self, path: &str) -> Result<(), Failure> {
        let length = self.length(path).await?;
        let range = Some(length.saturating_sub(1)..length);
        self.ask(Method::GET, path, Some(&Piece { path: path.to_owned(), range, end: Duration::ZERO })).await.map(drop)
    }

    async fn length(&self, path: &str) -> Result<u64, Failure> {
        let (headers, _) = self.ask(Method::HEAD, path, None).await?;
        let length = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        length.ok_or_else(|| Failure::other(format!("{}{path} has no length", self.url)))
    }

    /// One track, piece by piece, some way ahead of the picture. Returns how much came.
    async fn fetch(
        &self,
        number: usize,
        pieces: Vec<Piece>,
        begun: Instant,
        playback: &Mutex<Playback>,
    ) -> Result<u64, Failure> {
        let (mut bytes, mut fetched) = (0, Duration::ZERO);
        for piece in pieces {
            loop {
                let position = lock(playback).look(begun.elapsed());
                let early = fetched.saturating_sub(position + AHEAD);
                if early.is_zero() {
                    break;
                }
                sleep(early).await;
            }
            let (_, body) = self.ask(Method::GET, &piece.path, Some(&piece)).await?;
            bytes += body.len() as u64;
            fetched = piece.end;
            lock(playback).arrived(begun.elapsed(), number, piece.end);
        }
        Ok(bytes)
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        piece: Option<&Piece>,
    ) -> Result<(http::HeaderMap, Bytes), Failure> {
        let mut request = Request::builder().method(method).uri(path);
        let range = piece.and_then(|piece| piece.range.clone());
        if let Some(range) = &range {
            request = request.header(header::RANGE, format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        }
        let answer = self.http.send(request.body(Bytes::new()).map_err(Failure::other)?).await;
        let (head, body) = answer.map_err(Failure::network)?.into_parts();
        match head.status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
            status => {
                let why = String::from_utf8_lossy(&body);
                return Err(Failure::network(format!("the gateway answers {status} for {path}: {}", why.trim())));
            }
        }
        if range.is_some_and(|range| range.end - range.start != body.len() as u64) {
            return Err(Failure::network(format!("the gateway sends another part of {path} than was asked for")));
        }
        Ok((head.headers, body))
    }
}

fn lock(playback: &Mutex<Playback>) -> std::sync::MutexGuard<'_, Playback> {
    playback.lock().unwrap_or_else(PoisonError::into_inner)
}
