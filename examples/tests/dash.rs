//! DASH sets as ffmpeg writes them become swarms, and players play them from there.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    thread,
};

use percent_encoding::percent_decode_str;
use ppsp_core::descriptor::{Descriptor, Kind, Parts};
use ppsp_examples::{
    dash::{Package, Packaging},
    store::SeedOptions,
};

/// A film of 3 s, in `set/manifest.mpd` of a directory.
struct Film {
    directory: tempfile::TempDir,
}

impl Film {
    /// `None` where there is no ffmpeg.
    fn new() -> Option<Self> {
        for program in ["ffmpeg", "ffprobe"] {
            if Command::new(program).arg("-version").stdout(Stdio::null()).status().is_err() {
                assert!(std::env::var_os("CI").is_none(), "{program} is not installed");
                eprintln!("skipped: {program} is not installed");
                return None;
            }
        }
        let film = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(film.path("set")).unwrap();
        fs::create_dir(film.path("out")).unwrap();
        Some(film)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Pictures as input 0, a sound as input 1, another as input 2.
    fn ffmpeg(&self, arguments: &str) {
        let inputs = "-f lavfi -i testsrc=size=160x90:rate=10:duration=3 -f lavfi -i sine=frequency=440:duration=3 \
                      -f lavfi -i sine=frequency=880:duration=3";
        self.run("ffmpeg", &format!("-v error -y {inputs} {arguments}"), &[]);
    }

    /// Two qualities and two languages with these options of the muxer.
    fn dash(&self, codecs: &str, options: &str) {
        self.ffmpeg(&format!(
            "-map 0 -map 0 -map 1 -map 2 {codecs} -g 10 -keyint_min 10 -b:v:0 60k -b:v:1 30k -s:v:1 80x46 -b:a 32k \
             -metadata:s:a:0 language=eng -metadata:s:a:1 language=deu -fflags +bitexact -f dash -seg_duration 1 \
             -adaptation_sets id=0,streams=0,1|id=1,streams=2|id=2,streams=3 {options} manifest.mpd"
        ));
    }

    /// Adds an AdaptationSet by hand.
    fn add(&self, set: &str) {
        let path = self.path("set/manifest.mpd");
        let manifest = fs::read_to_string(&path).unwrap();
        fs::write(&path, manifest.replace("</Period>", &format!("{set}</Period>"))).unwrap();
    }

    /// What the program says on its standard output; it must not complain.
    fn run(&self, program: &str, arguments: &str, more: &[&str]) -> String {
        let words = arguments.split_whitespace().map(|word| word.replace('|', " "));
        let mut command = Command::new(program);
        command.args(words).args(more).current_dir(self.path("set")).stdin(Stdio::null());
        let output = command.output().unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.is_empty(), "{command:?}: {complaints}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn package(&self) -> Package {
        let (manifest, contents) = (self.path("set/manifest.mpd"), self.path("out"));
        let seed = SeedOptions::default();
        Packaging { manifest: &manifest, contents: &contents, state_dir: None, seed }.run(&mut |_| {}).unwrap()
    }

    /// Packages it, and looks whether each segment is where the descriptor says, whether what was joined can be decoded, and
    /// whether a player sees the same as of the files themselves. The kinds of its Representations.
    fn check(&self) -> Vec<Kind> {
        let (descriptor, served) = self.check_segments();
        self.check_player(&descriptor, served);
        descriptor.representations().into_iter().map(|one| one.kind).collect()
    }

    fn check_segments(&self) -> (Descriptor, HashMap<String, (Parts, Vec<u8>)>) {
        let package = self.package();
        let descriptor = Descriptor::parse(package.descriptor.to_xml().as_bytes()).unwrap();
        let mut served = HashMap::new();
        let resources = descriptor.resources().unwrap();
        for ((content, resources), one) in package.contents.iter().zip(resources).zip(descriptor.representations()) {
            assert_eq!((&content.representation, &resources.representation), (&one.id, &one.id));
            let bytes = fs::read(content.store.path()).unwrap();
            let parts = descriptor.parts(&one.id).unwrap();
            assert_eq!(parts.len(), bytes.len() as u64);
            let mut segments = 0;
            for reference in &resources.references {
                let Some(part) = parts.part(&reference.name) else { continue };
                let original = fs::read(self.path("set").join(&reference.name)).unwrap();
                let shared = &bytes[part.start as usize..part.end as usize];
                let whole = 0..original.len() as u64;
                let range = reference.range.clone().unwrap_or(whole);
                let range = range.start as usize..range.end as usize;
                assert!(shared[range.clone()] == original[range] && shared.len() == original.len(), "{reference:?}");
                segments += 1;
            }
            assert!(segments >= resources.certain, "{segments} of {}", resources.certain);
            if one.kind != Kind::Text {
                let path = content.store.path();
                self.run("ffmpeg", "-v error -xerror -i", &[path.to_str().unwrap(), "-f", "null", "-"]);
            }
            served.insert(one.swarm.unwrap().metadata.id.to_string(), (parts, bytes));
        }
        (descriptor, served)
    }

    fn check_player(&self, descriptor: &Descriptor, swarms: HashMap<String, (Parts, Vec<u8>)>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let playable = |subtitles: bool| {
            let url = |swarm: &ppsp_core::SwarmId| format!("{base}/{swarm}/");
            descriptor
                .to_playable(|one| {
                    (subtitles || one.kind != Kind::Text).then(|| url(&one.swarm.as_ref().unwrap().metadata.id))
                })
                .unwrap()
        };
        assert!(playable(true).contains("<BaseURL>http://127"));
        let server = Arc::new(Server { manifest: playable(false), swarms });
        thread::spawn(move || {
            for stream in listener.incoming() {
                let server = Arc::clone(&server);
                thread::spawn(move || server.serve(stream.unwrap()));
            }
        });
        // FFmpeg's player takes no subtitles in files of their own.
        let plain = fs::read_to_string(self.path("set/manifest.mpd")).unwrap();
        let plain = match plain.split_once("<AdaptationSet id=\"text\"") {
            Some((before, after)) => format!("{before}{}", after.split_once("</AdaptationSet>").unwrap().1),
            None => plain,
        };
        fs::write(self.path("set/plain.mpd"), plain).unwrap();
        // Where segments are counted it asks for one more than there is, and complains of that.
        let frames =
            |from: &str| self.run("ffmpeg", "-v fatal -i", &[from, "-map", "0", "-c", "copy", "-f", "framemd5", "-"]);
        let played = frames(&format!("{base}/mpd"));
        assert_eq!(played, frames("plain.mpd"));
        // Of lists FFmpeg 5.1 plays one segment less, of plain files too.
        assert!(played.lines().filter(|line| line.starts_with('0')).count() >= 20, "{played}");
    }
}

/// Serves a playable manifest and byte ranges of swarms, as a gateway does.
struct Server {
    manifest: String,
    swarms: HashMap<String, (Parts, Vec<u8>)>,
}

impl Server {
    fn serve(&self, mut stream: TcpStream) {
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        let Some(request) = lines.next() else { return };
        let path = percent_decode_str(request.split(' ').nth(1).unwrap()).decode_utf8().unwrap().into_owned();
        let range = lines.take_while(|line| !line.is_empty()).find_map(|line| {
            let line = line.to_ascii_lowercase();
            let (first, last) = line.strip_prefix("range: bytes=")?.split_once('-')?;
            Some((first.parse::<usize>().unwrap(), last.parse::<usize>().ok()))
        });
        let found = match path.as_str() {
            "/mpd" => Some(self.manifest.as_bytes()),
            path => path[1..].split_once('/').and_then(|(swarm, name)| {
                let (parts, bytes) = self.swarms.get(swarm)?;
                parts.part(name).map(|part| &bytes[part.start as usize..part.end as usize])
            }),
        };
        let (status, body, more) = match (found, range) {
            (None, _) => ("404 Not Found", &b""[..], String::new()),
            (Some(bytes), Some((first, last))) if first < bytes.len() => {
                let end = last.map_or(bytes.len(), |last| (last + 1).min(bytes.len()));
                let range = format!("Content-Range: bytes {first}-{}/{}\r\n", end - 1, bytes.len());
                ("206 Partial Content", &bytes[first..end], range)
            }
            (Some(bytes), None) => ("200 OK", bytes, String::new()),
            (Some(_), Some(_)) => ("416 Range Not Satisfiable", &b""[..], String::new()),
        };
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{more}Connection: close\r\n\r\n", body.len());
        // Who plays may have heard enough.
        _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body));
    }
}

const H264: &str = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p -c:a aac";
const VP9: &str = "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -c:a libopus";
const FOUR: [Kind; 4] = [Kind::Video, Kind::Video, Kind::Audio, Kind::Audio];

#[test]
fn templates_with_a_timeline() {
    let Some(film) = Film::new() else { return };
    film.dash(H264, "-use_template 1 -use_timeline 1");
    // Subtitles beside it, and an origin for all of it.
    fs::write(film.path("set/sub titles.vtt"), "WEBVTT\n\n00:00.000 --> 00:02.000\nHello\n").unwrap();
    film.add(
        "<AdaptationSet id=\"text\" mimeType=\"text/vtt\" lang=\"eng\"><Representation id=\"s\" bandwidth=\"1\">\
         <BaseURL>sub%20titles.vtt</BaseURL></Representation></AdaptationSet>",
    );
    assert_eq!(film.check(), [&FOUR[..], &[Kind::Text]].concat());

    let package = film.package();
    let all = package.descriptor.representations();
    let languages: Vec<_> = all.iter().map(|one| one.language.as_deref().unwrap_or_default()).collect();
    assert_eq!(languages, ["", "", "eng", "deu", "eng"]);
    assert_eq!((all[1].width, all[1].height, all[1].bandwidth), (Some(80), Some(46), Some(30_000)));
    assert_eq!(package.descriptor.parts("s").unwrap().part("sub titles.vtt"), Some(0..38));
    let names: Vec<_> = package.contents.iter().map(|one| one.store.path()).collect();
    assert_eq!(names[1], film.path("out/manifest-1.mp4"));
    assert_eq!(names[4], film.path("set/sub titles.vtt"));
}

#[test]
fn templates_without_a_timeline() {
    let Some(film) = Film::new() else { return };
    film.dash(H264, "-use_template 1 -use_timeline 0");
    assert_eq!(film.check(), FOUR);
}

#[test]
fn lists_of_files() {
    let Some(film) = Film::new() else { return };
    film.dash(H264, "-use_template 0");
    assert_eq!(film.check(), FOUR);
}

#[test]
fn lists_of_ranges() {
    let Some(film) = Film::new() else { return };
    film.dash(H264, "-single_file 1");
    // FFmpeg 5.1 as a player never comes to the end of such a list, of plain files neither.
    assert_eq!(film.check_segments().1.len(), 4);
    // Nothing is joined.
    assert_eq!(fs::read_dir(film.path("out")).unwrap().count(), 0);
}

#[test]
fn webm() {
    let Some(film) = Film::new() else { return };
    film.dash(VP9, "-dash_segment_type webm -use_timeline 1");
    assert_eq!(film.check(), FOUR);
    assert_eq!(film.package().contents[0].store.path(), film.path("out/manifest-0.webm"));
}

#[test]
fn one_indexed_file() {
    let Some(film) = Film::new() else { return };
    film.ffmpeg(&format!(
        "-map 0 {H264} -g 10 -movflags +dash+global_sidx+frag_keyframe+empty_moov+default_base_moof v.mp4"
    ));
    let bytes = fs::read(film.path("set/v.mp4")).unwrap();
    let (start, end) = sidx(&bytes);
    let manifest = format!(
        "<MPD xmlns=\"urn:mpeg:dash:schema:mpd:2011\" type=\"static\" mediaPresentationDuration=\"PT3S\" \
         profiles=\"urn:mpeg:dash:profile:isoff-on-demand:2011\"><Period>\
         <AdaptationSet mimeType=\"video/mp4\"><Representation id=\"v\" bandwidth=\"90000\"><BaseURL>v.mp4</BaseURL>\
         <SegmentBase indexRange=\"{start}-{}\"><Initialization range=\"0-{}\"/></SegmentBase>\
         </Representation></AdaptationSet></Period></MPD>",
        end - 1,
        start - 1,
    );
    fs::write(film.path("set/manifest.mpd"), manifest).unwrap();
    assert_eq!(film.check(), [Kind::Video]);
}

#[test]
fn one_indexed_webm() {
    let Some(film) = Film::new() else { return };
    film.ffmpeg("-map 0 -c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 10 -dash 1 v.webm");
    film.run(
        "ffmpeg",
        "-v error -f webm_dash_manifest -i v.webm -map 0 -c copy -f webm_dash_manifest -adaptation_sets id=0,streams=0 manifest.mpd",
        &[],
    );
    assert!(fs::read_to_string(film.path("set/manifest.mpd")).unwrap().contains("<SegmentBase"));
    assert_eq!(film.check(), [Kind::Video]);
}

/// Where the segment index of an MP4 file begins and ends (ISO/IEC 14496-12 §8.16.3).
fn sidx(bytes: &[u8]) -> (usize, usize) {
    let mut at = 0;
    loop {
        let len = u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        if &bytes[at + 4..at + 8] == b"sidx" {
            return (at, at + len);
        }
        at += len;
    }
}

#[test]
fn a_film_whose_files_are_gone_is_refused() {
    let Some(film) = Film::new() else { return };
    film.dash(H264, "-use_timeline 1");
    fs::remove_file(film.path("set/chunk-stream1-00002.m4s")).unwrap();
    let (manifest, contents) = (film.path("set/manifest.mpd"), film.path("out"));
    let packaging =
        Packaging { manifest: &manifest, contents: &contents, state_dir: None, seed: SeedOptions::default() };
    let error = packaging.run(&mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("chunk-stream1-00002.m4s") && error.contains("Representation '1'"), "{error}");
    assert!(is_empty(&contents));
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).unwrap().next().is_none()
}
