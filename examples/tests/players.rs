//! Players that know nothing of ppsp at a gateway, unchanged: each plays a DASH set by its manifest, and content of one file, to the end.
//! One that is missing is named and left out; in CI only VLC may be.

mod common;

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use common::{
    Ended, Ppsp, browser, has_ffmpeg,
    player::Player,
    system::{ALICE, System},
};
use serde_json::{Value, json};

/// Seconds that everything lasts.
const LENGTH: f64 = 4.0;

/// What there is to play, and who has it.
struct Show {
    system: System,
    /// URLs at the gateway of alice.
    manifest: String,
    file: String,
    _processes: [Ppsp; 3],
}

impl Show {
    fn start() -> Self {
        let system = System::start();
        system.log_in("alice", ALICE).succeeded();
        let dir = system.place.path("set");
        fs::create_dir(&dir).unwrap();
        make(
            &dir,
            "-map 0:v -map 0:v -map 1:a -s:v:1 160x90 -b:v:0 300k -b:v:1 90k -f dash -seg_duration 1 manifest.mpd",
        );
        make(&system.place.path(""), "-movflags +faststart film.mp4");
        let (set, set_id) = system.publish_set("set/manifest.mpd", "A set", "alice", &[]);
        let (film, film_id) = system.publish("film.mp4", &[]);
        let (gateway, addr) = system.gateway("alice", &[]);
        let url = |id: &str, what: &str| {
            let play: Value =
                serde_json::from_slice(&Player::to(addr).ask("GET", &format!("/play/{id}"), &[]).body).unwrap();
            format!("http://{addr}{}", play[what].as_str().unwrap())
        };
        let (manifest, file) = (url(&set_id, "mpd"), url(&film_id, "file"));
        Self { system, manifest, file, _processes: [set, film, gateway] }
    }

    /// Runs a player for each; what it says, and how long it takes.
    fn each(&self, command: impl Fn(&str) -> Command) -> [(Ended, Duration); 2] {
        [&self.manifest, &self.file].map(|url| {
            let begun = Instant::now();
            let ended = common::run(command(url));
            assert_eq!(ended.code, 0, "{url}: {ended:?}");
            (ended, begun.elapsed())
        })
    }
}

fn make(dir: &Path, how: &str) {
    let input = "-y -v error -f lavfi -i testsrc2=size=320x180:rate=24 -f lavfi -i sine=frequency=330 -c:v libx264 -preset ultrafast \
                 -pix_fmt yuv420p -g 24 -keyint_min 24 -sc_threshold 0 -c:a aac -b:a 48k";
    let mut command = Command::new("ffmpeg");
    command
        .args(input.split_whitespace())
        .args(["-t", &LENGTH.to_string()])
        .args(how.split_whitespace())
        .current_dir(dir);
    let made = common::run(command);
    assert_eq!(made.code, 0, "{made:?}");
}

/// Is this player here? In CI it has to be, where `.ci/run` installs it.
fn has(player: &str, in_ci: bool) -> bool {
    let there = Command::new(player).arg("--version").output().is_ok();
    assert!(there || !in_ci || std::env::var_os("CI").is_none(), "{player} is missing");
    if !there {
        eprintln!("skipped: {player} is missing");
    }
    there
}

/// The last number behind this word.
fn last(text: &str, word: &str) -> f64 {
    let rest = text.rsplit(word).next().unwrap().trim_start();
    let number: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    number.parse().unwrap_or_else(|_| panic!("no number behind {word}: {text}"))
}

#[test]
fn mpv_plays_to_the_end() {
    if !has_ffmpeg() || !has("mpv", true) {
        return;
    }
    let ended = Show::start().each(|url| {
        let mut mpv = Command::new("mpv");
        // Without windows and sounds there is no need to wait for the time.
        mpv.args("--no-config --vo=null --ao=null --ao-null-untimed --untimed".split(' '));
        mpv.args(["--term-status-msg=at ${=time-pos} width ${width}\n", url]);
        mpv
    });
    for (ended, _) in ended {
        assert!(ended.stdout.contains("End of file"), "{ended:?}");
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(last(&said, "at ") > LENGTH - 0.2 && last(&said, "width ") == 320.0, "{said}");
    }
}

#[test]
fn vlc_plays_to_the_end() {
    if !has_ffmpeg() || !has("cvlc", false) {
        return;
    }
    let show = Show::start();
    let home = show.system.place.path("vlc");
    fs::create_dir(&home).unwrap();
    let ended = show.each(|url| {
        // It does not run as root: then as nobody.
        let mut vlc = if rustix::process::getuid().is_root() {
            std::os::unix::fs::chown(&home, Some(65534), Some(65534)).unwrap();
            let mut vlc = Command::new("setpriv");
            vlc.args(["--reuid=65534", "--regid=65534", "--clear-groups", "cvlc"]);
            vlc
        } else {
            Command::new("cvlc")
        };
        vlc.args("-vv --intf dummy --vout vdummy --aout adummy --no-video-title-show --play-and-exit".split(' '));
        vlc.arg(url).current_dir("/").env("HOME", &home).env_remove("DISPLAY");
        vlc
    });
    for (ended, took) in ended {
        for word in
            ["using video decoder module", "using audio decoder module", "vdummy", "EOF reached", "end of playlist"]
        {
            assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
        }
        // It shows everything at its time.
        assert!(took.as_secs_f64() > LENGTH - 0.5, "{took:?}");
    }
}

#[test]
fn ffplay_plays_to_the_end() {
    if !has_ffmpeg() || !has("ffplay", true) {
        return;
    }
    let ended = Show::start().each(|url| {
        let mut ffplay = Command::new("ffplay");
        ffplay.args(["-v", "error", "-stats", "-autoexit", url]);
        ffplay.env("SDL_VIDEODRIVER", "dummy").env("SDL_AUDIODRIVER", "dummy");
        ffplay
    });
    for (ended, took) in ended {
        assert!(!ended.stderr.contains("rror"), "{}", ended.stderr);
        let clock = ended.stderr.rsplit('\r').find_map(|line| line.trim().split(' ').next()?.parse::<f64>().ok());
        assert!(clock > Some(LENGTH - 0.5) && took.as_secs_f64() > LENGTH - 0.5, "{clock:?}: {}", ended.stderr);
    }
}

#[test]
fn shaka_player_plays_to_the_end() {
    let shaka: browser::Needed = (
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser/node_modules/shaka-player").exists(),
        "Shaka Player (npm ci in examples/tests/browser)",
    );
    let Some(dir) = browser::ready(&[browser::TO_WATCH[1], shaka]) else { return };
    let show = Show::start();
    browser::walk(&dir, "shaka.mjs", &[], &json!({ "url": show.manifest, "seconds": LENGTH, "qualities": 2 }));
}
