//! What the demo shows: the argument, or what ffmpeg makes, or bytes.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufWriter, Write},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use ppsp_core::descriptor::Descriptor;
use tokio::process::Command;

use crate::{
    cli::{exit::Failure, output::Output, units},
    gateway::media_type,
};

/// What the media server shares.
pub(super) struct Content {
    /// A file, or the manifest of a DASH set.
    pub(super) path: PathBuf,
    pub(super) is_set: bool,
    pub(super) title: String,
    /// Its length in bytes, all Representations together.
    pub(super) bytes: u64,
    /// How long it plays.
    pub(super) duration: Duration,
}

impl Content {
    /// Bytes a second while all of it is played.
    pub(super) fn rate(&self) -> u64 {
        (self.bytes as f64 / self.duration.as_secs_f64().max(0.1)) as u64
    }

    /// In a directory of our own, where nothing of the caller's is touched.
    pub(super) async fn prepare(video: Option<&Path>, dir: &Path, out: &Output) -> Result<Self, Failure> {
        let set = dir.join("set");
        fs::create_dir(&set).map_err(|e| io_failure(&set, e))?;
        let Some(video) = video else { return Self::generated(&set, out).await };
        let meta = fs::metadata(video).map_err(|e| io_failure(video, e))?;
        if !meta.is_file() {
            return Err(Failure::usage(format!("{}: neither a video nor a manifest", video.display())));
        }
        let video = fs::canonicalize(video).map_err(|e| io_failure(video, e))?;
        let name = video.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if media_type(&name) == Descriptor::MEDIA_TYPE {
            return Self::of_set(&link_set(&video, &set)?, &title_of(&video));
        }
        if media_type(&name).starts_with("video/") {
            out.say(format_args!("Making a DASH set of {name} with ffmpeg,\nof three minutes at most …"));
            match encode_file(&video, &set).await {
                Ok(()) => return Self::of_set(&set.join(MANIFEST), &name),
                Err(Encoding::NoFfmpeg) => out.say("There is no ffmpeg here: it is shared as one file."),
                Err(Encoding::Failed(why)) => {
                    return Err(Failure::other(format!("ffmpeg makes no DASH set of {name}: {why}")));
                }
            }
        }
        Self::of_file(video, name)
    }

    async fn generated(set: &Path, out: &Output) -> Result<Self, Failure> {
        out.say("Making a test picture with ffmpeg …");
        match encode(TEST_PICTURE, None, set).await.and_then(|()| add_subtitles(set)) {
            Ok(()) => return Self::of_set(&set.join(MANIFEST), "A test picture"),
            Err(Encoding::NoFfmpeg) => out.say("There is no ffmpeg here: bytes are played instead."),
            Err(Encoding::Failed(why)) => {
                out.say(format_args!("ffmpeg cannot ({why}):\nbytes are played instead."));
            }
        }
        let path = set.join("bytes.bin");
        let written = File::create(&path).and_then(|file| write_bytes(file, GENERATED));
        written.map_err(|e| io_failure(&path, e))?;
        Self::of_file(path, "Bytes that look random".to_owned())
    }

    fn of_file(path: PathBuf, title: String) -> Result<Self, Failure> {
        let bytes = fs::metadata(&path).map_err(|e| io_failure(&path, e))?.len();
        if bytes == 0 {
            return Err(Failure::usage(format!("{title}: there is nothing in it")));
        }
        // Nobody says how long it plays.
        let duration = Duration::from_secs_f64((bytes as f64 / ASSUMED_RATE).max(1.0));
        Ok(Self { path, is_set: false, title, bytes, duration })
    }

    fn of_set(manifest: &Path, title: &str) -> Result<Self, Failure> {
        let descriptor = read_manifest(manifest)?;
        let resources = descriptor.resources().map_err(|e| no_set(manifest, &e))?;
        // Representations may share a file.
        let files: BTreeSet<&str> = resources.iter().flat_map(|one| one.files()).map(|file| file.name).collect();
        let metas = files.into_iter().filter_map(|name| fs::metadata(below(manifest, name)).ok());
        let bytes = metas.map(|meta| meta.len()).sum();
        let duration = descriptor.duration().filter(|duration| !duration.is_zero());
        let duration = duration.ok_or_else(|| no_set(manifest, &"it does not say how long it plays"))?;
        Ok(Self { path: manifest.to_owned(), is_set: true, title: title.to_owned(), bytes, duration })
    }
}

impl std::fmt::Display for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({}, {:.0} s)", self.title, units::bytes(self.bytes), self.duration.as_secs_f64())
    }
}

/// A set of the caller's, in a directory where more may be written: links to its files. Returns the manifest in there.
fn link_set(manifest: &Path, set: &Path) -> Result<PathBuf, Failure> {
    let descriptor = read_manifest(manifest)?;
    let linked = set.join(MANIFEST);
    symlink(manifest, &linked).map_err(|e| io_failure(&linked, e))?;
    for resources in descriptor.resources().map_err(|e| no_set(manifest, &e))? {
        for file in resources.files() {
            let (from, to) = (below(manifest, file.name), below(&linked, file.name));
            if !from.exists() && file.certain {
                let (file, whose) = (from.display(), &resources.representation);
                return Err(Failure::other(format!("{file}: no such file, and Representation '{whose}' needs it")));
            }
            if from.exists() && !to.exists() {
                let made = fs::create_dir_all(to.parent().unwrap_or(set)).and_then(|()| symlink(&from, &to));
                made.map_err(|e| io_failure(&to, e))?;
            }
        }
    }
    Ok(linked)
}

fn read_manifest(manifest: &Path) -> Result<Descriptor, Failure> {
    let length = fs::metadata(manifest).map_err(|e| io_failure(manifest, e))?.len();
    if length > Descriptor::MAX_LEN as u64 {
        return Err(no_set(manifest, &"it is too long"));
    }
    let xml = fs::read(manifest).map_err(|e| io_failure(manifest, e))?;
    Descriptor::parse(&xml).map_err(|e| no_set(manifest, &e))
}

/// A file of a set. The names of a manifest do not lead out of its directory.
fn below(manifest: &Path, name: &str) -> PathBuf {
    manifest.parent().unwrap_or(Path::new("")).join(name)
}

fn no_set(manifest: &Path, why: &dyn std::fmt::Display) -> Failure {
    Failure::other(format!("{}: not a set that can be shared: {why}", manifest.display()))
}

/// The directory says more than `manifest.mpd`.
fn title_of(manifest: &Path) -> String {
    let name = manifest.parent().and_then(Path::file_name).or(manifest.file_stem()).unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn io_failure(path: &Path, error: io::Error) -> Failure {
    let what = if error.kind() == io::ErrorKind::NotFound { "no such file".to_owned() } else { error.to_string() };
    Failure::other(format!("{}: {what}", path.display()))
}

/// Why there is no set.
enum Encoding {
    NoFfmpeg,
    Failed(String),
}

/// A video of the caller's, with its sound where there is some.
async fn encode_file(video: &Path, set: &Path) -> Result<(), Encoding> {
    match encode(WITH_SOUND, Some(video), set).await {
        Err(Encoding::Failed(_)) => encode(WITHOUT_SOUND, Some(video), set).await,
        done => done,
    }
}

/// Has ffmpeg make a set of its own input, or of this one.
async fn encode(how: &str, input: Option<&Path>, set: &Path) -> Result<(), Encoding> {
    let (how, sets) = how.split_once('|').unwrap_or((how, ""));
    let mut command = Command::new("ffmpeg");
    command.args(["-nostdin", "-y", "-loglevel", "error"]);
    if let Some(input) = input {
        command.arg("-i").arg(input);
    }
    command.args(how.split_whitespace()).args(FORM.split_whitespace()).args([
        "-adaptation_sets",
        sets.trim(),
        MANIFEST,
    ]);
    command.current_dir(set).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    // Ctrl-C comes to this process only.
    command.process_group(0);
    let ffmpeg = command.spawn().map_err(|_| Encoding::NoFfmpeg)?;
    let ended = ffmpeg.wait_with_output().await.map_err(|e| Encoding::Failed(e.to_string()))?;
    let words = String::from_utf8_lossy(&ended.stderr);
    let words = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it does not say why");
    if ended.status.success() && set.join(MANIFEST).exists() {
        return Ok(());
    }
    Err(Encoding::Failed(words.trim().chars().take(200).collect()))
}

/// Subtitles, which ffmpeg does not put into a set.
fn add_subtitles(set: &Path) -> Result<(), Encoding> {
    let manifest = set.join(MANIFEST);
    let add = || {
        let xml = fs::read_to_string(&manifest)?;
        fs::write(set.join("subtitles.vtt"), SUBTITLES)?;
        fs::write(&manifest, xml.replacen("</Period>", SUBTITLES_SET, 1))
    };
    add().map_err(|e| Encoding::Failed(e.to_string()))
}

/// Bytes that look random and are the same every time.
pub(in crate::cmd) fn write_bytes(file: impl Write, length: u64) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let mut x = 0x9e37_79b9_7f4a_7c15_u64;
    let mut left = length;
    while left > 0 {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        let take = left.min(8) as usize;
        file.write_all(&x.to_le_bytes()[..take])?;
        left -= take as u64;
    }
    file.flush()
}

/// Bytes where there is no ffmpeg, and how many of a file without a duration are played in a second.
const GENERATED: u64 = 4_000_000;
const ASSUMED_RATE: f64 = 250_000.0;

const MANIFEST: &str = "manifest.mpd";

/// Behind the bar: what belongs together.
const TEST_PICTURE: &str = "\
    -f lavfi -i testsrc2=size=640x360:rate=24 -f lavfi -i sine=frequency=330,volume=0.2 -t 24 \
    -map 0:v -map 0:v -map 0:v -map 1:a -b:v:0 600k -b:v:1 250k -b:v:2 100k \
    -s:v:0 640x360 -s:v:1 426x240 -s:v:2 256x144 -metadata:s:a:0 language=eng \
    | id=0,streams=v id=1,streams=a";
const WITH_SOUND: &str = "\
    -t 180 -map 0:V:0 -map 0:V:0 -map 0:a:0 -b:v:0 900k -b:v:1 300k \
    -filter:v:0 scale=-2:360 -filter:v:1 scale=-2:240 | id=0,streams=v id=1,streams=a";
const WITHOUT_SOUND: &str = "\
    -t 180 -map 0:V:0 -map 0:V:0 -b:v:0 900k -b:v:1 300k \
    -filter:v:0 scale=-2:360 -filter:v:1 scale=-2:240 | id=0,streams=v";
/// Segments of two seconds, each of which can be decoded by itself.
const FORM: &str = "\
    -c:v libx264 -preset ultrafast -pix_fmt yuv420p -force_key_frames expr:gte(t,n_forced*2) -sc_threshold 0 -g 600 \
    -c:a aac -ac 2 -b:a 64k -f dash -seg_duration 2 -use_timeline 1 -use_template 1";

const SUBTITLES_SET: &str = r#"<AdaptationSet id="9" contentType="text" mimeType="text/vtt" lang="en">
      <Representation id="subtitles" bandwidth="100"><BaseURL>subtitles.vtt</BaseURL></Representation>
    </AdaptationSet>
  </Period>"#;
const SUBTITLES: &str = "WEBVTT

00:00.500 --> 00:05.500
This picture comes from a media server and six peers.

00:06.000 --> 00:11.500
Each chunk of it is checked when it arrives, whoever sent it.

00:12.000 --> 00:17.500
The peers fetch it too, and pass on what they have.

00:18.000 --> 00:23.500
Whoever may not watch gets neither a descriptor nor a token.
";
