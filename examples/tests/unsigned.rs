//! A descriptor that was changed on its way: nothing that it names is asked for, and whoever wants it is told why.

mod common;

use std::{net::SocketAddr, thread};

use bytes::Bytes;
use common::{
    player::Player,
    system::{ALICE, System},
};
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full};
use ppsp_examples::http::{HttpClient, Identity, Limits, Serving, Shutdown, Trust, bind, serve, server_config};

/// Somebody whom viewers take for the Portal, and who says what it says, but in descriptors "Lies!" for "Truth". Where he is, and the
/// fingerprint of his key.
fn liar(system: &System) -> (String, String, Shutdown) {
    let portal = HttpClient::new(&system.portal.url, Trust::Pin(system.portal.pin.parse().unwrap()), true).unwrap();
    let portal = std::sync::Arc::new(portal);
    let identity = Identity::keep(&system.place.path(""), &["127.0.0.1".into()]).unwrap();
    let (pin, shutdown) = (identity.pin().to_string(), Shutdown::default());
    let serving = Serving {
        tls: Some(server_config(&identity, None).unwrap()),
        limits: Limits::default(),
        shutdown: shutdown.clone(),
    };
    let (tell, told) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = bind("127.0.0.1:0".parse().unwrap(), true).await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            serve(listener, serving, move |request| {
                let portal = portal.clone();
                async move {
                    let (mut asked, body) = request.into_parts();
                    asked.headers = only(asked.headers, &[header::AUTHORIZATION, header::CONTENT_TYPE, header::ACCEPT]);
                    let is_descriptor = asked.uri.path().ends_with("/descriptor");
                    let request = Request::from_parts(asked, body.collect().await.unwrap().to_bytes());
                    let (mut head, mut body) = portal.send(request).await.unwrap().into_parts();
                    if is_descriptor {
                        body = Bytes::from(String::from_utf8(body.to_vec()).unwrap().replace("Truth", "Lies!"));
                    }
                    head.headers = only(
                        head.headers,
                        &[
                            header::CONTENT_TYPE,
                            header::WWW_AUTHENTICATE,
                            header::HeaderName::from_static("authentication-info"),
                        ],
                    );
                    Response::from_parts(head, Full::new(body))
                }
            })
            .await;
        });
    });
    let addr: SocketAddr = told.recv().unwrap();
    (format!("https://{addr}"), pin, shutdown)
}

fn only(headers: HeaderMap, names: &[header::HeaderName]) -> HeaderMap {
    headers.iter().filter(|(name, _)| names.contains(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[test]
fn a_descriptor_that_was_changed_is_not_believed() {
    let system = System::start();
    let bytes = system.place.content("film.mp4", 100_000);
    let (_server, truth) = system.publish("film.mp4", &["--title", "Truth"]);
    system.place.content("other.mp4", 100_000);
    let (_other, other) = system.publish("other.mp4", &["--title", "Another"]);
    let (url, pin, shutdown) = liar(&system);
    system.run("alice", &["login", &url, "--user", "alice", "--pin", &pin], ALICE).succeeded();

    let said = ["signature does not fit", "nothing in it was believed"];
    let play = ["play", &truth, "--player", "none", "--udp", "127.0.0.1:0", "--cache", "c"];
    let begun = ["gateway", &truth, "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0", "--cache", "c"];
    let get = ["get", &truth, "-o", "copy", "--listen", "127.0.0.1:0"];
    for args in [&play[..], &begun, &get] {
        let ended = system.run("alice", args, "");
        assert_eq!(ended.code, 5, "{ended:?}");
        let error = ended.event("error");
        assert!(said.iter().all(|word| error["message"].as_str().unwrap().contains(word)), "{error}");
    }
    let (_gateway, addr) = system.gateway("alice", &[]);
    let mut player = Player::to(addr);
    for path in
        [format!("/play/{truth}"), format!("/mpd/{truth}/manifest.mpd"), format!("/content/{truth}/ab/film.mp4")]
    {
        let answer = player.ask("GET", &path, &[]);
        assert!(answer.status == 502 && said.iter().all(|word| answer.text().contains(word)), "{path}: {answer:?}");
    }
    // What came as it was signed is played.
    assert_eq!(player.ask("GET", &format!("/play/{other}"), &[]).status, 200);
    // And by the Portal itself so is the other.
    shutdown.now();
    system.log_in("alice", ALICE).succeeded();
    let mut copy = system.get("alice", &truth, "copy", &[]);
    copy.event("complete");
    assert!(system.place.read("copy") == bytes);
}
