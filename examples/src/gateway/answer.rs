//! What the gateway answers.

use std::{collections::BTreeMap, fmt::Display, ops::Range, sync::Arc, time::Instant};

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use ppsp_core::descriptor::{Descriptor, Representation};
use serde_json::{Value, json};

use super::{
    Answered, Broadcast, Content, Gateway, Item,
    access::Refused,
    body::Source,
    merged::Merged,
    range::promise,
    swarms::{NotOpen, Open},
};
use crate::{
    account::path_part,
    cli::exit::{Exit, Failure},
    http::metrics_page,
    live::Heard,
    peer::ReadError,
};

pub(super) type Answer = Response<Answered>;

impl Gateway {
    /// Answers a request.
    pub async fn answer<B>(&self, request: Request<B>) -> Answer {
        let (head, _) = request.into_parts();
        let mut answer = match self.0.access.check(&head.headers, &head.uri) {
            Err(refused) => refuse(refused),
            Ok(origin) => {
                let mut answer = match head.method {
                    Method::OPTIONS => preflight(),
                    Method::GET | Method::HEAD => self.look(&head).await,
                    _ => {
                        let mut answer = sentence(StatusCode::METHOD_NOT_ALLOWED, "there is only GET and HEAD here");
                        answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, OPTIONS"));
                        answer
                    }
                };
                if let Some(origin) = origin {
                    let headers = answer.headers_mut();
                    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                    let shown = HeaderValue::from_static("Accept-Ranges, Content-Length, Content-Range, ETag");
                    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, shown);
                }
                answer
            }
        };
        let headers = answer.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        self.0.metrics.request(answer.status().as_u16());
        if head.method == Method::HEAD {
            // What there would be is said, and stays.
            return answer.map(|_| Answered::from(String::new()));
        }
        answer
    }

    async fn look(&self, head: &http::request::Parts) -> Answer {
        let path = head.uri.path().trim_start_matches('/');
        let (first, rest) = path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)));
        match (first, rest) {
            ("", None) => self.list(),
            ("metrics", None) => {
                let page = metrics_page(&self.0.metrics.registry(self));
                let (head, body) = page.into_parts();
                Response::from_parts(head, Answered::from(body))
            }
            ("status", None) => json_of(&self.status()),
            ("play", Some(id)) => self.play(id).await,
            ("mpd", Some(rest)) => self.manifest(rest.split('/').next().unwrap_or_default(), head).await,
            ("content", Some(rest)) => {
                let (id, rest) = rest.split_once('/').unwrap_or((rest, ""));
                let (swarms, name) = rest.split_once('/').unwrap_or((rest, ""));
                self.of_catalogue(id, swarms, name, head).await
            }
            (id, name) => {
                let known = self.known().item(id);
                match known {
                    Some(item) => self.content(&item, name.unwrap_or_default(), head).await,
                    None => sentence(
                        StatusCode::NOT_FOUND,
                        "this gateway knows no such content: what it was started with is listed at /",
                    ),
                }
            }
        }
    }

    /// A file of content in the catalogue, as its descriptor has it: of one swarm, or of several that are layers.
    async fn of_catalogue(&self, id: &str, swarms: &str, name: &str, head: &http::request::Parts) -> Answer {
        let programme = match self.programme(id).await {
            Ok(programme) => programme,
            Err(failure) => return refuse_for(&failure),
        };
        match (programme.merged(swarms), programme.item(swarms)) {
            (Some(merged), _) => self.segment(merged, name, head).await,
            (None, Some(item)) => self.content(item, name, head).await,
            (None, None) => sentence(
                StatusCode::NOT_FOUND,
                "the content has no such swarm, or none that are merged so; its manifest names what there is",
            ),
        }
    }

    /// What there is, for people.
    fn list(&self) -> Answer {
        let mut text = String::from("A ppsp gateway. It plays:\n");
        for item in self.known().items() {
            text += &format!("{}\n", item.path());
        }
        sentence(StatusCode::OK, text.trim_end())
    }

    /// What there is to play of content in the catalogue, for pages.
    async fn play(&self, id: &str) -> Answer {
        let programme = match self.find(id).await {
            Ok(programme) => programme,
            Err(failure) => return refuse_for(&failure),
        };
        let title = programme.descriptor().and_then(|descriptor| descriptor.title());
        let one = programme.items().first().filter(|_| programme.items().len() == 1);
        json_of(&json!({
            "title": title,
            "mpd": programme.manifest(),
            "file": one.map(|item| item.path()),
            "mime": one.map(|item| &item.mime),
            "picture": programme.picture().map(Item::path),
            "swarms": programme.items().iter().map(|item| &item.id).collect::<Vec<_>>(),
        }))
    }

    /// The manifest of content in the catalogue, for players: what it refers to is here.
    async fn manifest(&self, id: &str, head: &http::request::Parts) -> Answer {
        let programme = match self.programme(id).await {
            Ok(programme) => programme,
            Err(failure) => return refuse_for(&failure),
        };
        let Some(descriptor) = programme.descriptor() else {
            return sentence(StatusCode::NOT_FOUND, "this content has no manifest");
        };
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
        let scheme = if self.0.access.is_https() { "https" } else { "http" };
        // Layers that are merged here need no others: players that know nothing of layers take them like any quality.
        let mut shown = descriptor.clone();
        let mut merged = BTreeMap::new();
        for one in descriptor.representations().iter().filter(|one| !one.dependencies.is_empty()) {
            if let Some(layers) = Merged::id(descriptor, &one.id).filter(|id| programme.merged(id).is_some()) {
                shown.set_independent(&one.id);
                merged.insert(one.id.clone(), layers);
            }
        }
        let url = |one: &Representation| {
            let swarms = match merged.get(&one.id) {
                Some(layers) => layers.clone(),
                None => one.swarm.as_ref()?.metadata.id.to_string(),
            };
            Some(format!("{scheme}://{host}/content/{}/{swarms}/", path_part(id)))
        };
        match shown.to_playable(url) {
            Ok(xml) => {
                let mut answer = Response::new(Answered::from(xml));
                insert(&mut answer, header::CONTENT_TYPE, Descriptor::MEDIA_TYPE.to_owned());
                answer
            }
            Err(error) => sentence(StatusCode::BAD_GATEWAY, error),
        }
    }

    /// A file of content, while it comes.
    async fn content(&self, item: &Arc<Item>, name: &str, head: &http::request::Parts) -> Answer {
        let begun = Instant::now();
        if item.is_live() {
            return self.live(item, head, begun).await;
        }
        let swarm = match self.0.swarms.open(item).await {
            Ok(swarm) => swarm,
            Err(why) => return not_open(&why),
        };
        let length = match swarm.learn_length(self.0.patience).await {
            Ok(length) => length,
            Err(error) => return no_content(&error),
        };
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        let Some(file) = item.file(&name, length) else {
            return sentence(StatusCode::NOT_FOUND, "the content has no file of this name");
        };
        self.stream(item, swarm, file, begun, head).await
    }

    /// These bytes of content, while they come.
    pub(super) async fn stream(
        &self,
        item: &Item,
        swarm: Open,
        file: Range<u64>,
        begun: Instant,
        head: &http::request::Parts,
    ) -> Answer {
        let start = file.start;
        // A swarm has one content for ever.
        let tag = format!("\"{}-{start}\"", item.id);
        let (mut answer, part) = promise(&head.headers, file.end - start, tag, &item.mime);
        if head.method == Method::HEAD || part.is_empty() {
            return answer;
        }
        let mut reader = swarm.reader(start + part.start, start + part.end, self.0.patience);
        // Only now it is certain that there is something to promise.
        if let Err(error) = reader.ready().await {
            return no_content(&error);
        }
        self.0.metrics.first_byte.observe(begun.elapsed().as_secs_f64());
        *answer.body_mut() = Answered::Content(Content::new(
            Source::Swarm(reader, swarm),
            part.end - part.start,
            self.0.metrics.clone(),
        ));
        answer
    }

    /// A live stream: an answer without an end, from now on.
    async fn live(&self, item: &Arc<Item>, head: &http::request::Parts, begun: Instant) -> Answer {
        if head.headers.contains_key(header::RANGE) && !is_from_start(&head.headers) {
            return sentence(
                StatusCode::RANGE_NOT_SATISFIABLE,
                "this is a live stream: it has no length and no parts; ask for it without Range",
            );
        }
        let mut answer = Response::new(Answered::from(String::new()));
        insert(&mut answer, header::CONTENT_TYPE, item.mime.clone());
        answer.headers_mut().insert(header::ACCEPT_RANGES, HeaderValue::from_static("none"));
        if head.method == Method::HEAD {
            return answer;
        }
        let mut listener = match self.0.stations.listen(item) {
            Ok(listener) => listener,
            Err(failure) => return refuse_for(&failure),
        };
        // Only now it is certain that there is something to promise.
        match listener.next().await {
            Heard::Data(first) => {
                self.0.metrics.first_byte.observe(begun.elapsed().as_secs_f64());
                *answer.body_mut() = Answered::Live(Broadcast::new(first, listener, self.0.metrics.clone()));
                answer
            }
            Heard::End(Ok(())) => sentence(StatusCode::GATEWAY_TIMEOUT, "the live stream has ended"),
            Heard::End(Err(failure)) => refuse_for(&failure),
        }
    }

    /// How the swarms stand, for pages and programs.
    fn status(&self) -> Value {
        let swarms = self.0.swarms.all().into_iter().map(|swarm| {
            let chunk_size = u64::from(swarm.metadata().chunk_size);
            let held = swarm.store().held();
            let runs = held
                .runs()
                .take(MOST_RUNS)
                .map(|run| json!([run.first() * chunk_size, (run.last() + 1).saturating_mul(chunk_size)]));
            let mut shown = swarm.item().describe(&swarm.status());
            shown["length"] = json!(swarm.length());
            shown["held_bytes"] = json!(swarm.store().held_bytes());
            shown["held"] = runs.collect();
            shown["reading"] = json!(swarm.places());
            shown
        });
        let streams = self.0.stations.all().into_iter().map(|(item, look)| {
            let mut shown = item.describe(&look.status);
            shown["live"] = json!(look.live);
            shown
        });
        json!({ "swarms": swarms.chain(streams).collect::<Value>() })
    }
}

/// Runs of held bytes that a status tells.
const MOST_RUNS: usize = 1000;

/// For pages of other origins (Fetch standard, CORS): they may ask for ranges, and may ask here at all.
fn preflight() -> Answer {
    let mut answer = Response::new(Answered::from(String::new()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    let headers = answer.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD"));
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Range, If-Range, Authorization"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    headers.insert("access-control-allow-private-network", HeaderValue::from_static("true"));
    answer
}

fn refuse(refused: Refused) -> Answer {
    let mut answer = match refused {
        Refused::Token => sentence(
            StatusCode::UNAUTHORIZED,
            "the token of this gateway is wanted: as a bearer token, or as the password of any user name",
        ),
        Refused::Host => sentence(
            StatusCode::MISDIRECTED_REQUEST,
            "this gateway is for this machine, by the name localhost or a loopback address",
        ),
        Refused::Page => sentence(StatusCode::FORBIDDEN, "this web site may not look at what is played here"),
    };
    if refused == Refused::Token {
        let basic = HeaderValue::from_static("Basic realm=\"ppsp gateway\", charset=\"UTF-8\"");
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, basic);
    }
    answer
}

/// What came of asking the Portal, or of opening a swarm.
pub(super) fn refuse_for(failure: &Failure) -> Answer {
    let status = match failure.exit {
        Exit::Usage => StatusCode::NOT_FOUND,
        Exit::Refused => StatusCode::FORBIDDEN,
        Exit::Network | Exit::Integrity => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    sentence(status, &failure.message)
}

/// A swarm that is not open.
pub(super) fn not_open(why: &NotOpen) -> Answer {
    match why {
        NotOpen::Full => {
            let sorry = "as many swarms are being read as this gateway has open at a time; try again";
            sentence(StatusCode::SERVICE_UNAVAILABLE, sorry)
        }
        NotOpen::Failed(failure) => refuse_for(failure),
    }
}

/// Players ask so for all there is.
fn is_from_start(headers: &HeaderMap) -> bool {
    headers.get(header::RANGE).is_some_and(|range| range == "bytes=0-")
}

/// RFC 9110 §15.6.3: those behind us did not give what was asked for.
pub(super) fn no_content(error: &ReadError) -> Answer {
    let status = match error {
        ReadError::Nobody { .. } => StatusCode::BAD_GATEWAY,
        ReadError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    sentence(status, error)
}

pub(super) fn sentence(status: StatusCode, text: impl Display) -> Answer {
    let mut answer = Response::new(Answered::from(format!("{text}\n")));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

fn json_of(value: &Value) -> Answer {
    let mut answer = Response::new(Answered::from(value.to_string()));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

pub(super) fn insert(answer: &mut Answer, name: header::HeaderName, value: String) {
    if let Ok(value) = value.parse() {
        answer.headers_mut().insert(name, value);
    }
}
