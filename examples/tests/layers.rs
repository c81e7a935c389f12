//! Temporal layers from the publisher to the player: `ppsp split`, and a gateway that puts them together.

mod common;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::AtomicBool,
    time::Instant,
};

use common::{
    PATIENCE, Place, Ppsp, has_ffmpeg,
    player::{Answer, Player},
    system::{ALICE, MEDIA, System},
};
use ppsp_core::descriptor::{Descriptor, Layer};
use ppsp_examples::{
    dash::split,
    layers::{Segment, Track, divide, merge, part},
};
use rustix::process::Signal;
use serde_json::Value;

/// So many seconds of 24 pictures each, with these options of the encoder and this form of manifest.
fn make_set(dir: &Path, seconds: u32, encoder: &str, form: &str) {
    fs::create_dir_all(dir).unwrap();
    let input = "-y -loglevel error -f lavfi -i testsrc2=size=160x90:rate=24 -f lavfi -i sine=frequency=330 -map 0:v -map 1:a \
                 -c:v libx264 -preset ultrafast -g 24 -keyint_min 24 -sc_threshold 0 -b:v 200k -c:a aac -b:a 48k";
    let mut command = Command::new("ffmpeg");
    command.args(input.split_whitespace()).args(encoder.split_whitespace()).args(form.split_whitespace());
    let made = command.args(["-t", &seconds.to_string(), "manifest.mpd"]).current_dir(dir).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

const LAYERED: &str = "-bf 1 -b_strategy 0 -x264-params b-pyramid=none";
const TIMELINE: &str = "-f dash -seg_duration 1 -use_timeline 1 -use_template 1";

/// The decoded pictures of a video, each with its time; of those of a manifest the one of this number. No decoder may complain.
fn pictures(input: &str, video: usize) -> Vec<String> {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i", input, "-map", &format!("0:v:{video}"), "-f", "framemd5", "-"]);
    let ended = common::run(command);
    assert!(ended.code == 0 && ended.stderr.trim().is_empty(), "{input}: {}", ended.stderr);
    ended.stdout.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// When each is shown, and what is seen.
fn shown(pictures: &[String]) -> Vec<(String, String)> {
    let field = |line: &String, at: usize| line.split(',').nth(at).unwrap().trim().to_owned();
    pictures.iter().map(|line| (field(line, 2), field(line, 5))).collect()
}

fn descriptor(path: &Path) -> Descriptor {
    Descriptor::parse(&fs::read(path).unwrap()).unwrap()
}

/// The files of a Representation.
fn files(manifest: &Path, id: &str) -> Vec<PathBuf> {
    let resources = descriptor(manifest).resources().unwrap();
    let one = resources.into_iter().find(|one| one.representation == id).unwrap();
    let all = one.references.iter().map(|reference| manifest.with_file_name(&reference.name));
    let mut all: Vec<_> = all.filter(|path| path.exists()).collect();
    // Of one file there may be many ranges.
    all.dedup();
    all
}

/// All files as one.
fn joined(files: &[PathBuf], path: &Path) -> String {
    fs::write(path, files.iter().flat_map(|file| fs::read(file).unwrap()).collect::<Vec<_>>()).unwrap();
    path.display().to_string()
}

#[test]
fn what_is_split_is_together_what_it_was() {
    if !has_ffmpeg() {
        return;
    }
    let place = Place::new();
    for (name, form) in [
        ("timeline", TIMELINE),
        ("counted", "-f dash -seg_duration 1 -use_timeline 0 -use_template 1"),
        ("list", "-f dash -seg_duration 1 -use_timeline 0 -use_template 0"),
        ("single", "-f dash -seg_duration 1 -single_file 1"),
    ] {
        let dir = place.path(name);
        make_set(&dir, 3, LAYERED, form);
        let ended = place.run(["split", &format!("{name}/manifest.mpd"), "--json"]);
        ended.succeeded();
        let told = ended.event("split");
        assert_eq!((&told["pictures"], &told["representation"]), (&72.into(), &"0".into()), "{name}: {told}");
        let base_pictures = told["base_pictures"].as_u64().unwrap();
        assert!((36..=40).contains(&base_pictures), "{name}: {told}");
        let manifest = dir.join("layers.mpd");
        let original = dir.join("manifest.mpd");
        let (base, more) = (files(&manifest, "0-base"), files(&manifest, "0-more"));
        assert_eq!((base.len(), more.len()), (4, 4), "{name}");

        // Merged they have each sample of the original, at its time.
        let read = |path: &PathBuf| fs::read(path).unwrap();
        let init = read(&base[0]);
        assert!(init == read(&more[0]));
        let track = Track::read(&init).unwrap();
        let mut merged = init.clone();
        for (at, (base, more)) in base.iter().zip(&more).enumerate().skip(1) {
            let layers = [read(base), read(more)];
            let layers = layers.each_ref().map(|bytes| Segment::read(bytes, &track).unwrap());
            let together = merge(&layers).unwrap();
            if name != "single" {
                let whole = read(&files(&original, "0")[at]);
                assert_eq!(together.samples(), Segment::read(&whole, &track).unwrap().samples(), "{name}");
            }
            merged.extend(together.write(&track).unwrap());
        }
        // And a decoder sees the same of them; of the base it sees each second picture, and does not complain.
        fs::write(dir.join("merged.mp4"), merged).unwrap();
        let whole = pictures(&joined(&files(&original, "0"), &dir.join("whole.mp4")), 0);
        assert_eq!(whole.len(), 72, "{name}");
        assert!(whole == pictures(&dir.join("merged.mp4").display().to_string(), 0), "{name}");
        let (whole, half) = (shown(&whole), shown(&pictures(&joined(&base, &dir.join("base.mp4")), 0)));
        assert_eq!(half.len() as u64, base_pictures, "{name}");
        assert!(half.iter().all(|picture| whole.contains(picture)), "{name}: {half:?}");

        let all = descriptor(&manifest).representations();
        let [low, high] = [&all[0], &all[1]];
        assert_eq!((&*low.id, &*high.id, &high.dependencies[..]), ("0-base", "0-more", &["0-base".to_owned()][..]));
        assert_eq!((high.bandwidth, &low.codecs), (descriptor(&original).representations()[0].bandwidth, &high.codecs));
        assert!(low.bandwidth > Some(100_000) && low.bandwidth < high.bandwidth, "{name}: {low:?}");
        let text = fs::read_to_string(&manifest).unwrap();
        assert!(text.contains("frameRate=\"24/1\"") || text.contains("frameRate=\"24\""), "{text}");
        assert_eq!(all.len(), 3, "the sound is as it was");
    }
    // It is not made twice, and nothing is half made.
    let again = place.run(["split", "timeline/manifest.mpd"]);
    again.failed(1, &["layers.mpd", "exists already"]);
}

#[test]
fn an_indexed_file_is_split() {
    if !has_ffmpeg() {
        return;
    }
    let place = Place::new();
    let dir = place.path("set");
    make_set(&dir, 3, LAYERED, TIMELINE);
    // The video of it as one file with an index.
    let inputs = files(&dir.join("manifest.mpd"), "0");
    let whole = joined(&inputs, &dir.join("whole.mp4"));
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i", &whole, "-c", "copy", "-movflags"]);
    command.args(["+dash+global_sidx+frag_keyframe+empty_moov+default_base_moof", "v.mp4"]).current_dir(&dir);
    assert_eq!(common::run(command).code, 0);
    let manifest = "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" mediaPresentationDuration=\"PT3S\"><Period>\
         <AdaptationSet mimeType=\"video/mp4\" frameRate=\"24\"><Representation id=\"v\" bandwidth=\"90000\" codecs=\"avc1.4d400b\">\
         <BaseURL>v.mp4</BaseURL></Representation></AdaptationSet></Period></MPD>";
    fs::write(dir.join("manifest.mpd"), manifest).unwrap();
    place.run(["split", "set/manifest.mpd"]).succeeded();
    let base = files(&dir.join("layers.mpd"), "v-base");
    assert_eq!(base.len(), 4);
    let half = pictures(&joined(&base, &dir.join("base.mp4")), 0);
    let whole = pictures(&whole, 0);
    assert!((36..=40).contains(&half.len()) && whole.len() == 72, "{} of {}", half.len(), whole.len());
    assert!(fs::read_to_string(dir.join("layers.mpd")).unwrap().contains("r=\"2\""), "three segments of a second");
}

#[test]
fn what_cannot_be_split_is_said() {
    if !has_ffmpeg() {
        return;
    }
    let place = Place::new();
    make_set(&place.path("set"), 3, "-bf 0", TIMELINE);
    let ended = place.run(["split", "set/manifest.mpd"]);
    ended.failed(
        2,
        &["Representation '0'", "no picture that others can do without", "-bf 1 -x264-params b-pyramid=none"],
    );
    let made = fs::read_dir(place.path("set")).unwrap().map(|entry| entry.unwrap().file_name());
    let made: Vec<_> =
        made.filter(|name| name.to_string_lossy().contains("lay") || name.to_string_lossy().contains("spl")).collect();
    assert!(made.is_empty(), "{made:?}");
    place.run(["split", "none.mpd"]).failed(1, &["none.mpd"]);
}

#[test]
fn what_is_stopped_leaves_nothing() {
    if !has_ffmpeg() {
        return;
    }
    let place = Place::new();
    let dir = place.path("set");
    make_set(&dir, 20, LAYERED, TIMELINE);
    let names = || {
        let names = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(".splitting") || name.starts_with("layers")).collect::<Vec<_>>()
    };
    let stopped = split(&dir.join("manifest.mpd"), &AtomicBool::new(true)).unwrap_err();
    assert_eq!((stopped.to_string(), names()), ("it was stopped".to_owned(), vec![]));
    // As soon as something is there it is interrupted. It may have been faster: then all is there.
    let mut splitting = place.start(["split", "set/manifest.mpd"]);
    let end = Instant::now() + PATIENCE;
    while names().is_empty() {
        assert!(Instant::now() < end, "it does not begin");
        std::thread::yield_now();
    }
    splitting.signal(Signal::INT);
    match splitting.end() {
        (Some(130), _) => assert!(names().is_empty(), "{:?}", names()),
        (Some(0), _) => assert_eq!(names().len(), 2, "{:?}", names()),
        ended => panic!("{ended:?}"),
    }
}

/// A media server with layers, and what they are called in the catalogue. Alice is signed in.
fn publish(system: &System, more: &[&str]) -> (Ppsp, String) {
    system.place.run(["split", "set/manifest.mpd"]).succeeded();
    let (url, pin) = (&system.portal.url, &system.portal.pin);
    let args = ["publish", "--dash", "set/layers.mpd", "--portal", url, "--user", "media", "--pin", pin];
    let args = args.iter().chain(&["--allow", "alice", "--listen", "127.0.0.1:0"]).chain(more);
    let mut server = system.begin("media", &args.copied().collect::<Vec<_>>(), MEDIA);
    let id = server.event("published")["id"].as_str().unwrap().to_owned();
    server.event("listening");
    system.log_in("alice", ALICE).succeeded();
    (server, id)
}

fn gateway(system: &System, more: &[&str]) -> (Ppsp, SocketAddr) {
    let args = ["gateway", "--listen", "127.0.0.1:0", "--udp", "127.0.0.1:0"];
    let args: Vec<&str> = args.iter().chain(more).copied().collect();
    let mut gateway = system.begin("alice", &args, "");
    let addr = gateway.event("gateway")["addr"].as_str().unwrap().parse().unwrap();
    gateway.event("ready");
    (gateway, addr)
}

/// The paths of the Representations in a manifest, each up to its last `/`.
fn bases(manifest: &Answer, addr: SocketAddr) -> Vec<String> {
    let here = format!("http://{addr}");
    let all = manifest.text().split("<BaseURL>").skip(1).filter_map(|rest| rest.split("</BaseURL>").next());
    all.map(|base| base.strip_prefix(&here).unwrap().to_owned()).collect()
}

/// Which swarms such a path is of, the base first.
fn swarms(path: &str) -> &str {
    path.trim_matches('/').rsplit('/').next().unwrap()
}

const MERGED_ALL: &str = "ppsp_gateway_merged_total{layers=\"all\"} ";
const BYTES: &str = "ppsp_gateway_bytes_total ";

/// What a gateway has counted of this.
fn counted(player: &mut Player, name: &str) -> u64 {
    let metrics = player.ask("GET", "/metrics", &[]);
    let line = metrics.text().lines().find_map(|line| line.strip_prefix(name));
    line.map_or(0, |count| count.parse().unwrap())
}

#[test]
fn who_does_not_read_what_is_put_together_is_in_nobodys_way() {
    if !has_ffmpeg() {
        return;
    }
    let system = System::start();
    let place = &system.place;
    // Noise that is kept takes megabytes.
    let form = "-f dash -seg_duration 8 -use_timeline 1 -use_template 1";
    make_set(&place.path("set"), 8, &format!("{LAYERED} -vf noise=alls=100:allf=t -b:v 0 -crf 1"), form);
    let (_server, id) = publish(&system, &[]);
    let (_gateway, addr) = gateway(&system, &["--cache", "cache"]);
    let mut player = Player::to(addr);
    let manifest = player.ask("GET", &format!("/mpd/{id}/manifest.mpd"), &[]);
    let [_, merged, _] = &bases(&manifest, addr)[..] else { panic!("{}", manifest.text()) };
    let path = format!("{merged}layers/0-more-1.m4s");
    let ask = |player: &mut Player| {
        let whole = player.ask("GET", &path, &[]);
        assert!(whole.status == 200 && !whole.broken, "{}", whole.status);
        whole.body
    };
    let length = ask(&mut player).len();
    // What they leave where it is, is more than a gateway has in memory.
    assert!(length > 2 << 20, "{length} bytes are less than lie in sockets");
    let lazy: Vec<Player> = (0..(64 << 20) / length + 1)
        .map(|_| {
            let mut player = Player::to(addr);
            player.send("GET", &path, &[]);
            assert_eq!(player.head().status, 200);
            player
        })
        .collect();
    ask(&mut player);
    assert!(counted(&mut player, "ppsp_gateway_readers ") >= lazy.len() as u64, "they were sent it all");
}

#[test]
fn any_player_sees_all_pictures_or_those_of_the_base() {
    if !has_ffmpeg() {
        return;
    }
    let system = System::start();
    let place = &system.place;
    make_set(&place.path("set"), 3, LAYERED, TIMELINE);
    let (server, id) = publish(&system, &[]);
    let (first, addr) = gateway(&system, &["--cache", "cache"]);
    let mut player = Player::to(addr);
    let manifest = player.ask("GET", &format!("/mpd/{id}/manifest.mpd"), &[]);
    assert!(manifest.status == 200 && !manifest.text().contains("dependencyId"), "{}", manifest.text());
    let [base, merged, _] = &bases(&manifest, addr)[..] else { panic!("{}", manifest.text()) };
    let at = |swarms: &str| format!("/content/{id}/{swarms}/");
    let more = &at(swarms(merged).rsplit('+').next().unwrap());
    // All of its layers are named: what a descriptor puts together is not what another one does with the same layer above.
    assert_eq!(*merged, at(&format!("{}+{}", swarms(base), swarms(more))));
    for other in [format!("{}+{}", swarms(more), swarms(base)), "abcd".to_owned()] {
        let answer = player.ask("GET", &format!("{}layers/0-more-1.m4s", at(&other)), &[]);
        assert!(answer.status == 404 && answer.text().contains("manifest"), "{}", answer.text());
    }

    // What does not come in time is not waited for, and is there when it is asked for again.
    let end = Instant::now() + PATIENCE;
    for number in 1..=3 {
        let path = format!("{merged}layers/0-more-{number}.m4s");
        loop {
            let served = player.ask("GET", &path, &[]);
            assert_eq!(served.status, 200, "{}", served.text());
            if served.body != place.read(&format!("set/layers/0-base-{number}.m4s")) {
                break;
            }
            assert!(Instant::now() < end, "{path} is never merged");
        }
    }
    // Each layer alone is as it was published.
    for (path, name) in [(base, "base"), (more, "more")] {
        for file in ["-1.m4s", "-2.m4s", "-3.m4s", ".mp4"].map(|end| format!("layers/0-{name}{end}")) {
            let served = player.ask("GET", &format!("{path}{file}"), &[]);
            assert!(served.status == 200 && served.body == place.read(&format!("set/{file}")), "{file}");
        }
    }
    let init = player.ask("GET", &format!("{merged}layers/0-more.mp4"), &[]);
    assert!(init.status == 200 && init.body == place.read("set/layers/0-base.mp4"));
    let path = format!("{merged}layers/0-more-2.m4s");
    let whole = player.ask("GET", &path, &[]);
    assert_eq!((whole.status, whole.header("content-type")), (200, "video/mp4"));
    let track = Track::read(&init.body).unwrap();
    let original = place.read("set/chunk-stream0-00002.m4s");
    let original = Segment::read(&original, &track).unwrap();
    assert_eq!(Segment::read(&whole.body, &track).unwrap().samples(), original.samples());

    // RFC 9110 §9.3.2: who asks for the head is told what is known before anything is put together.
    let length = whole.body.len();
    let before = counted(&mut player, MERGED_ALL);
    player.send("HEAD", &path, &[]);
    let head = player.head();
    assert_eq!((head.status, head.header("content-type"), head.has("content-length")), (200, "video/mp4", false));
    assert_eq!(counted(&mut player, MERGED_ALL), before);
    // RFC 9110 §13.1.5, §14.2: parts are of the segment that is named, with the layers that it had; else all of it is the answer.
    let range = ("Range", "bytes=100-199");
    let this = ("If-Range", whole.header("etag"));
    let bytes = counted(&mut player, BYTES);
    let part = player.ask("GET", &path, &[range, this]);
    assert_eq!((part.status, part.header("content-range")), (206, &*format!("bytes 100-199/{length}")));
    assert!(part.body == whole.body[100..200] && part.header("etag") == whole.header("etag"));
    let beyond = player.ask("GET", &path, &[("Range", &format!("bytes={length}-")), this]);
    assert_eq!((beyond.status, beyond.header("content-range")), (416, &*format!("bytes */{length}")));
    assert_eq!(counted(&mut player, BYTES) - bytes, 100, "what is handed out is counted");
    for headers in [&[range][..], &[range, ("If-Range", "\"other\"")]] {
        let all = player.ask("GET", &path, headers);
        assert!(all.status == 200 && all.body == whole.body, "{headers:?}");
    }
    assert_eq!(player.ask("GET", &format!("{merged}layers/0-more-4.m4s"), &[]).status, 404);

    // A player that knows nothing of layers.
    let url = format!("http://{addr}/mpd/{id}/manifest.mpd");
    let fewer = |player: &mut Player| counted(player, "ppsp_gateway_merged_total{layers=\"fewer\"} ");
    let before = fewer(&mut player);
    let expected = pictures(&place.path("set/manifest.mpd").display().to_string(), 0);
    assert_eq!(expected.len(), 72);
    assert!(pictures(&url, 1) == expected);
    let half = shown(&pictures(&url, 0));
    let whole = shown(&expected);
    assert!((36..=40).contains(&half.len()) && half.iter().all(|picture| whole.contains(picture)), "{half:?}");
    assert_eq!(fewer(&mut player), before);

    // Only the base is left in the world, and the sound.
    server.kill();
    first.kill();
    let seeds = ["set/.ppsp/layers-0.mp4", "set/.ppsp/layers-2.mp4"].map(|file| {
        let mut seed = place.start(["seed", file, "--listen", "127.0.0.1:0"]);
        let addr = seed.event("listening")["addr"].as_str().unwrap().to_owned();
        (seed, addr)
    });
    let peers = seeds.each_ref().map(|(_, addr)| addr.as_str()).join(",");
    let (_second, addr) = gateway(&system, &["--cache", "other", "--peer", &peers]);
    let url = format!("http://{addr}/mpd/{id}/manifest.mpd");
    let played = shown(&pictures(&url, 1));
    assert_eq!(played, half);
    let mut player = Player::to(addr);
    let alone = player.ask("GET", &path, &[]);
    assert!(alone.status == 200 && alone.body == place.read("set/layers/0-base-2.m4s"));
    assert_ne!(alone.header("etag"), part.header("etag"));
    assert!(fewer(&mut player) >= 4, "three segments that were played, and this one");
}

/// The pictures of a set in three layers, each as a file for each segment: those that others are made of, and of the rest every second.
fn split_in_three(dir: &Path) {
    let manifest = dir.join("manifest.mpd");
    let names = ["low", "mid", "top"];
    let mut layers = names.map(|name| Layer {
        id: name.to_owned(),
        bytes: 0,
        pictures: 0,
        initialization: format!("layers/{name}.mp4"),
        media: format!("layers/{name}-$Number$.m4s"),
    });
    fs::create_dir(dir.join("layers")).unwrap();
    let files = files(&manifest, "0");
    let init = fs::read(&files[0]).unwrap();
    let track = Track::read(&init).unwrap();
    names.iter().for_each(|name| fs::write(dir.join(format!("layers/{name}.mp4")), &init).unwrap());
    for (at, file) in files.iter().enumerate().skip(1) {
        let bytes = fs::read(file).unwrap();
        let whole = Segment::read(&bytes, &track).unwrap();
        let [low, rest] = divide(&whole, &track).unwrap();
        let evens: Vec<u64> = rest.samples().iter().step_by(2).map(|sample| sample.time).collect();
        let [mid, top] = part(&rest, |sample| Ok(evens.contains(&sample.time))).unwrap();
        let (mut bytes, mut pictures) = (0, 0);
        for (layer, segment) in layers.iter_mut().zip([low, mid, top]) {
            let written = segment.write(&track).unwrap();
            (bytes, pictures) = (bytes + written.len() as u64, pictures + segment.samples().len() as u64);
            (layer.bytes, layer.pictures) = (layer.bytes + bytes, layer.pictures + pictures);
            fs::write(dir.join(layer.media.replace("$Number$", &at.to_string())), written).unwrap();
        }
    }
    let mut set = descriptor(&manifest);
    set.set_layers("0", &layers, None).unwrap();
    fs::write(dir.join("layers.mpd"), set.to_xml()).unwrap();
}

#[test]
fn three_layers_are_as_many_qualities() {
    if !has_ffmpeg() {
        return;
    }
    let system = System::start();
    let place = &system.place;
    make_set(&place.path("set"), 3, LAYERED, TIMELINE);
    split_in_three(&place.path("set"));
    system.log_in("alice", ALICE).succeeded();
    let (server, id) = system.publish_set("set/layers.mpd", "Three layers", "alice", &[]);
    let (first, addr) = gateway(&system, &["--cache", "cache"]);
    let mut player = Player::to(addr);
    let manifest = player.ask("GET", &format!("/mpd/{id}/manifest.mpd"), &[]);
    assert!(manifest.status == 200 && !manifest.text().contains("dependencyId"), "{}", manifest.text());
    let [low, mid, top, _] = &bases(&manifest, addr)[..] else { panic!("{}", manifest.text()) };
    let [low, mid, top] = [low, mid, top].map(|path| swarms(path));
    let layers: Vec<&str> = top.split('+').collect();
    assert_eq!((layers.len(), layers[0], layers[..2].join("+")), (3, low, mid.to_owned()));
    // A chain with a hole in it is none of this content.
    let holed = format!("/content/{id}/{}+{}/layers/top-1.m4s", layers[0], layers[2]);
    assert_eq!(player.ask("GET", &holed, &[]).status, 404);

    // What does not come in time is there when it is asked for again.
    let end = Instant::now() + PATIENCE;
    for number in 1..=3 {
        let path = format!("/content/{id}/{top}/layers/top-{number}.m4s");
        while !player.ask("GET", &path, &[]).header("etag").ends_with("-3\"") {
            assert!(Instant::now() < end, "{path} is never whole");
        }
    }
    let url = format!("http://{addr}/mpd/{id}/manifest.mpd");
    let whole = pictures(&place.path("set/manifest.mpd").display().to_string(), 0);
    assert_eq!(pictures(&url, 2), whole);
    let whole = shown(&whole);
    let [few, some] = [0, 1].map(|quality| shown(&pictures(&url, quality)));
    assert!(few.len() < some.len() && some.len() < whole.len(), "{} {}", few.len(), some.len());
    assert!(few.iter().all(|picture| some.contains(picture)) && some.iter().all(|picture| whole.contains(picture)));

    // Without the uppermost layer there are those below it, and without the one between them the base alone.
    server.kill();
    first.kill();
    for (cache, there, seen) in [("two", &[0, 1, 3][..], &some), ("one", &[0, 2, 3], &few)] {
        let seeds: Vec<_> = there
            .iter()
            .map(|number| {
                let file = format!("set/.ppsp/layers-{number}.mp4");
                let mut seed = place.start(["seed", &file, "--listen", "127.0.0.1:0"]);
                let addr = seed.event("listening")["addr"].as_str().unwrap().to_owned();
                (seed, addr)
            })
            .collect();
        let peers = seeds.iter().map(|(_, addr)| addr.as_str()).collect::<Vec<_>>().join(",");
        let (_gateway, addr) = gateway(&system, &["--cache", cache, "--peer", &peers]);
        assert_eq!(shown(&pictures(&format!("http://{addr}/mpd/{id}/manifest.mpd"), 2)), *seen, "{cache}");
    }
}

#[test]
fn the_base_of_later_segments_comes_before_what_is_above() {
    if !has_ffmpeg() {
        return;
    }
    let system = System::start();
    let place = &system.place;
    make_set(&place.path("set"), 8, LAYERED, TIMELINE);
    let (_server, id) = publish(&system, &["--upload-limit", "64KiB/s"]);
    let (_gateway, addr) = gateway(&system, &["--cache", "cache"]);
    let mut player = Player::to(addr);
    let manifest = player.ask("GET", &format!("/mpd/{id}/manifest.mpd"), &[]);
    let [base, merged, _] = &bases(&manifest, addr)[..] else { panic!("{}", manifest.text()) };
    let layers: Vec<&str> = swarms(merged).split('+').collect();
    assert_eq!(layers[0], swarms(base));
    // Where segments end in each swarm, the initialization segment first.
    let ends = ["base", "more"].map(|name| {
        let files = files(&place.path("set/layers.mpd"), &format!("0-{name}"));
        let mut end = 0;
        let ends = files.iter().map(|file| {
            end += fs::metadata(file).unwrap().len();
            end
        });
        ends.collect::<Vec<_>>()
    });
    // Up to which byte a swarm has all, and which is the last that it has.
    let held = |player: &mut Player, swarm: &str| {
        let status: Value = serde_json::from_slice(&player.ask("GET", "/status", &[]).body).unwrap();
        let swarm = status["swarms"].as_array().unwrap().iter().find(|one| one["swarm"] == *swarm);
        let runs = swarm.map(|swarm| swarm["held"].clone()).unwrap_or_default();
        let runs: Vec<(u64, u64)> = serde_json::from_value(runs).unwrap_or_default();
        let whole = runs.first().filter(|run| run.0 == 0).map_or(0, |run| run.1);
        (whole, runs.last().map_or(0, |run| run.1))
    };
    let end = Instant::now() + PATIENCE;
    // The player stays where it is. What it needs now is the first segment, then the second.
    loop {
        let first = player.ask("GET", &format!("{merged}layers/0-more-1.m4s"), &[]);
        assert_eq!(first.status, 200, "{}", first.text());
        let (_, above) = held(&mut player, layers[1]);
        // This is as it was before, or more.
        let (below, _) = held(&mut player, layers[0]);
        // A chunk at the edge is of both segments.
        if above > ends[1][2] + 1024 {
            assert!(below >= ends[0][5], "{above} bytes of {:?} above {below} of {:?}", ends[1], ends[0]);
            break;
        }
        assert!(Instant::now() < end, "{above} bytes above {below}");
    }
}
