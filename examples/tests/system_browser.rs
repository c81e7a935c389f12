//! The whole system, and people at a real browser: a Portal, a tracker, media servers, peers and a gateway, each a process, and
//! Chromium, driven by `browser/system.mjs`. Pictures of every page are kept in the directory that `SHOTS` names, else below
//! `CARGO_TARGET_TMPDIR`.

mod common;

use std::{fs, net::SocketAddr, path::Path, process::Command};

use common::{
    Ppsp, browser,
    system::{ALICE, System},
};
use serde_json::json;

#[test]
fn one_watches_and_another_is_refused() {
    let Some(dir) = browser::ready(&browser::TO_WATCH) else { return };
    let system = System::start();
    make_sets(&system.place.path(""));
    system.log_in("alice", ALICE).succeeded();
    for name in PEERS.into_iter().chain(["bob"]) {
        system.add_user(name, &password(name), "viewer");
    }
    let (film, film_id) = publish(&system, "film", FILM);
    let (_short, short_id) = publish(&system, "short", SHORT);
    let peers = PEERS.map(|name| peer(&system, name));
    let (_gateway, addr) = system.gateway("alice", &[]);

    let shots = browser::shots("system");
    let facts = json!({
        "url": system.portal.url,
        "pin": system.portal.pin,
        "gateway": format!("http://{addr}"),
        "alice": { "name": "alice", "password": ALICE },
        "bob": { "name": "bob", "password": password("bob") },
        "film": { "id": film_id, "title": FILM, "server": film.id() },
        "peers": peers.each_ref().map(|(_, addr)| format!("http://{addr}")),
        "short": { "id": short_id, "title": SHORT },
        "shots": shots,
    });
    let told = browser::walk(&dir, "system.mjs", &[], &facts);
    println!("{told}pictures are in {}", shots.display());
}

/// A media server whose line is not much better than one viewer needs.
fn publish(system: &System, set: &str, title: &str) -> (Ppsp, String) {
    let allowed = format!("alice,{}", PEERS.join(","));
    system.publish_set(&format!("{set}/manifest.mpd"), title, &allowed, &["--upload-limit", "384KiB/s"])
}

/// The gateway of a viewer on a thin line: all of the film takes it longer than the film lasts.
fn peer(system: &System, name: &str) -> (Ppsp, SocketAddr) {
    system.log_in(name, &password(name)).succeeded();
    system.gateway(name, &["--download-limit", "96KiB/s", "--upload-limit", "96KiB/s"])
}

fn password(name: &str) -> String {
    format!("{name}'s password")
}

/// `film`: H.264 and AAC in fragmented MP4, three qualities, two languages, subtitles in both. `short`: VP9 and Opus in WebM. So
/// small that decoding them is no work.
fn make_sets(dir: &Path) {
    let picture = "-y -v error -f lavfi -i testsrc2=size=384x216:rate=12 -f lavfi -i sine=frequency=330 -f lavfi -i sine=frequency=770";
    let film = "-t 20 -map 0:v -map 0:v -map 0:v -map 1:a -map 2:a -s:v:1 288x162 -s:v:2 192x108 -b:v:0 400k -b:v:1 150k \
                -b:v:2 60k -c:v libx264 -preset ultrafast -pix_fmt yuv420p -g 24 -keyint_min 24 -sc_threshold 0 -c:a aac -b:a 48k \
                -metadata:s:a:0 language=eng -metadata:s:a:1 language=deu -f dash -seg_duration 2 -adaptation_sets";
    let short = "-t 6 -map 0:v -map 0:v -map 1:a -s:v:1 192x108 -b:v:0 200k -b:v:1 60k -c:v libvpx-vp9 -deadline realtime \
                 -cpu-used 8 -g 24 -keyint_min 24 -c:a libopus -b:a 48k -dash_segment_type webm -f dash -seg_duration 2 -adaptation_sets";
    for (name, how, sets) in [
        ("film", film, "id=0,streams=v id=1,streams=3 id=2,streams=4"),
        ("short", short, "id=0,streams=v id=1,streams=a"),
    ] {
        let set = dir.join(name);
        fs::create_dir(&set).unwrap();
        let mut ffmpeg = Command::new("ffmpeg");
        ffmpeg.args(picture.split_whitespace()).args(how.split_whitespace()).args([sets, "manifest.mpd"]);
        let made = ffmpeg.current_dir(&set).output().unwrap();
        assert!(made.status.success(), "{name}: {}", String::from_utf8_lossy(&made.stderr));
    }
    add_subtitles(&dir.join("film"));
}

/// Which ffmpeg does not put into a set.
fn add_subtitles(set: &Path) {
    let mut sets = String::new();
    for (id, lang, [first, last]) in
        [(8, "en", ["First words", "Last words"]), (9, "de", ["Erste Worte", "Letzte Worte"])]
    {
        let cues = format!("WEBVTT\n\n00:00.000 --> 00:10.000\n{first}\n\n00:10.000 --> 00:20.000\n{last}\n");
        fs::write(set.join(format!("{lang}.vtt")), cues).unwrap();
        sets += &format!(
            "<AdaptationSet id='{id}' contentType='text' mimeType='text/vtt' lang='{lang}'><Representation id='{lang}' \
             bandwidth='100'><BaseURL>{lang}.vtt</BaseURL></Representation></AdaptationSet>"
        );
    }
    let manifest = set.join("manifest.mpd");
    let xml = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, xml.replacen("</Period>", &format!("{sets}</Period>"), 1)).unwrap();
}

const FILM: &str = "A film in three qualities and two languages";
const SHORT: &str = "A short one in open formats";
const PEERS: [&str; 2] = ["carol", "dave"];
