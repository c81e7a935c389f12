//! A set whose videos become layers: a base, and the pictures that it can do without.
//!
//! What is made lies in [`DIRECTORY`] beside the manifest, and the manifest of it is [`MANIFEST`]. A Representation that cannot be split
//! stays as it is.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use mp4_atom::{Decode, Sidx};
use ppsp_core::descriptor::{Descriptor, Kind, Layer, Representation, Resources, Timeline};
use tempfile::TempDir;

use super::{PackageError, Source, below, placing::Placing, read_manifest};
use crate::layers::{Segment, Track, Unreadable, boxes, divide};

/// Where layers are put.
const DIRECTORY: &str = "layers";
/// Their manifest.
const MANIFEST: &str = "layers.mpd";

/// A set that was split.
#[derive(Debug)]
pub struct SplitSet {
    /// The manifest with the layers.
    pub manifest: PathBuf,
    /// What was split.
    pub layered: Vec<Layered>,
    /// Video that stays as it is, and why.
    pub left: Vec<(String, String)>,
}

/// A Representation that became layers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Layered {
    /// Its `id`, as it was.
    pub representation: String,
    /// The base, then the layer above it, which counts what is below it too.
    pub layers: Vec<Layer>,
}

/// Splits the video of a set, unless it is told to stop.
///
/// # Errors
///
/// [`PackageError`]: files that are missing, or in the way, or nothing that could be split; or it was stopped. Then nothing was made.
pub fn split(manifest: &Path, stop: &AtomicBool) -> Result<SplitSet, PackageError> {
    let mut descriptor = read_manifest(manifest)?;
    let directory = manifest.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let target = directory.join(MANIFEST);
    if target.exists() {
        return Err(PackageError::Made(target));
    }
    let staged = tempfile::Builder::new().prefix(".splitting-").tempdir_in(directory);
    let staged = staged.map_err(|e| PackageError::io(directory, "write", e))?;
    let (mut layered, mut left, mut made) = (Vec::new(), Vec::new(), Vec::new());
    let all = descriptor.representations().into_iter().zip(descriptor.resources()?).enumerate();
    for (number, (one, resources)) in all.filter(|(_, (one, _))| one.kind == Kind::Video) {
        let splitting = Splitting { directory, staged: &staged, number, one: &one, stop };
        match splitting.run(&mut descriptor, resources) {
            Ok((layers, files)) => {
                layered.push(Layered { representation: one.id, layers });
                made.extend(files);
            }
            // Such a set is shared as it is; what its files are is no reason not to split the others.
            Err(error @ (PackageError::Dash(_) | PackageError::Media { .. } | PackageError::NotSplit(_))) => {
                left.push((one.id, error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    if layered.is_empty() {
        let reasons: Vec<String> = left.iter().map(|(id, why)| format!("Representation '{id}': {why}")).collect();
        let why = if reasons.is_empty() { "there is no video".to_owned() } else { reasons.join("; ") };
        return Err(PackageError::NotSplit(why));
    }
    let path = staged.path().join(MANIFEST);
    fs::write(&path, descriptor.to_xml()).map_err(|e| PackageError::io(&path, "write", e))?;
    // Who sees the manifest finds all that it names.
    made.push((path, target.clone()));
    let mut placing = Placing::default();
    for (staged, path) in made {
        placing.place(staged, &path)?;
    }
    placing.keep();
    Ok(SplitSet { manifest: target, layered, left })
}

/// The splitting of one Representation.
struct Splitting<'a> {
    directory: &'a Path,
    staged: &'a TempDir,
    /// Which of the manifest it is.
    number: usize,
    one: &'a Representation,
    stop: &'a AtomicBool,
}

/// Files under their names for now, and what they will be.
type Made = Vec<(PathBuf, PathBuf)>;

impl Splitting<'_> {
    fn run(&self, descriptor: &mut Descriptor, resources: Resources) -> Result<(Vec<Layer>, Made), PackageError> {
        let source = Source::find(self.directory, resources.clone())?;
        let content = Content::of(&source, &resources)?;
        let mut layers = ["base", "more"].map(|name| Layer {
            id: format!("{}-{name}", self.one.id),
            bytes: 0,
            pictures: 0,
            initialization: format!("{DIRECTORY}/{}-{name}.mp4", self.number),
            media: format!("{DIRECTORY}/{}-{name}-$Number$.m4s", self.number),
        });
        // Whether the manifest can say it is better known before anything is read.
        let mut trial = descriptor.clone();
        trial.set_layers(&self.one.id, &layers, content.timeline.as_ref())?;

        let init = content.init.read(Track::MAX_LEN)?;
        let track = Track::read(&init).map_err(|error| content.init.media(error))?;
        let mut staged = [vec![self.stage("base", 0, &init)?], vec![self.stage("more", 0, &init)?]];
        let (mut base, mut more) = (Sums::default(), Sums::default());
        for (at, piece) in content.segments.iter().enumerate() {
            if self.stop.load(Ordering::Relaxed) {
                return Err(PackageError::Stopped);
            }
            let bytes = piece.read(Segment::MAX_LEN)?;
            let wrong = |error| piece.media(error);
            let segment = Segment::read(&bytes, &track).map_err(wrong)?;
            let layers = divide(&segment, &track).map_err(wrong)?;
            let names = ["base", "more"];
            for (((layer, name), staged), sums) in layers.iter().zip(names).zip(&mut staged).zip([&mut base, &mut more])
            {
                let bytes = layer.write(&track).map_err(wrong)?;
                sums.bytes += bytes.len() as u64;
                sums.pictures += layer.samples().len() as u64;
                staged.push(self.stage(name, at + 1, &bytes)?);
            }
        }
        if more.pictures == 0 || base.pictures == 0 {
            let how = "no picture that others can do without; ffmpeg makes some with -bf 1 -x264-params b-pyramid=none";
            return Err(PackageError::NotSplit(how.to_owned()));
        }
        let [first, second] = &mut layers;
        (first.bytes, first.pictures) = (base.bytes, base.pictures);
        (second.bytes, second.pictures) = (base.bytes + more.bytes, base.pictures + more.pictures);
        descriptor.set_layers(&self.one.id, &layers, content.timeline.as_ref())?;
        let mut made = Made::new();
        let all = descriptor.resources()?;
        for (layer, staged) in layers.iter().zip(staged) {
            let resources = all.iter().find(|one| one.representation == layer.id);
            let names = resources.into_iter().flat_map(|one| &one.references);
            for (staged, reference) in staged.into_iter().zip(names) {
                let path = below(self.directory, &reference.name);
                made.push((staged, path.ok_or_else(|| PackageError::Name(reference.name.clone()))?));
            }
        }
        Ok((layers.into(), made))
    }

    /// Writes a file under a name for now.
    fn stage(&self, layer: &str, at: usize, bytes: &[u8]) -> Result<PathBuf, PackageError> {
        let path = self.staged.path().join(format!("{}-{layer}-{at}", self.number));
        fs::write(&path, bytes).map_err(|e| PackageError::io(&path, "write", e))?;
        Ok(path)
    }
}

#[derive(Default)]
struct Sums {
    bytes: u64,
    pictures: u64,
}

/// Where the segments of a Representation are.
struct Content {
    init: Place,
    segments: Vec<Place>,
    /// When they are, where the manifest does not tell.
    timeline: Option<Timeline>,
}

/// Some bytes of a file.
struct Place {
    path: PathBuf,
    range: Range<u64>,
}

impl Content {
    fn of(source: &Source, resources: &Resources) -> Result<Self, PackageError> {
        if let ([only], Some(last)) = (&source.files[..], resources.references.last())
            && last.range.is_none()
        {
            return Self::indexed(&only.path, only.len);
        }
        let names: Vec<&str> = resources.files().iter().map(|file| file.name).collect();
        let mut places = Vec::new();
        for reference in &resources.references {
            let at = names.iter().position(|name| *name == reference.name);
            // Those at the end may be missing.
            let Some(file) = at.and_then(|at| source.files.get(at)) else { break };
            places.push(Place { path: file.path.clone(), range: reference.range.clone().unwrap_or(0..file.len) });
        }
        let mut places = places.into_iter();
        let init = places.next().ok_or_else(|| PackageError::NotSplit("it has no segments".to_owned()))?;
        Ok(Self { init, segments: places.collect(), timeline: None })
    }

    /// A file with an index of its segments (ISO/IEC 14496-12 §8.16.3).
    fn indexed(path: &Path, len: u64) -> Result<Self, PackageError> {
        let place = |range| Place { path: path.to_owned(), range };
        let head = place(0..len.min(Track::MAX_LEN));
        let bytes = head.read(Track::MAX_LEN)?;
        let missing = |name| head.media(Unreadable::Missing(name));
        let mut init = None;
        let mut index = None;
        // The last of what was read may be cut.
        for child in boxes(&bytes).map_while(Result::ok) {
            let end = (child.at + child.whole.len()) as u64;
            match &child.kind {
                b"moov" => init = Some(end),
                b"sidx" => {
                    let read = Sidx::decode(&mut &child.whole[..]);
                    index = Some((end, read.map_err(|e| head.media(Unreadable::fields("sidx", e)))?));
                    break;
                }
                _ => {}
            }
        }
        let (end, index) = index.ok_or_else(|| missing("sidx"))?;
        let mut timeline =
            Timeline { timescale: index.timescale.into(), start: index.earliest_presentation_time, durations: vec![] };
        let mut segments = Vec::new();
        let mut at = end.saturating_add(index.first_offset);
        for reference in &index.references {
            if reference.reference_type {
                return Err(head.media(Unreadable::fields("sidx", "it is an index of others")));
            }
            let end = at.saturating_add(reference.referenced_size.into());
            segments.push(place(at..end));
            timeline.durations.push(reference.subsegment_duration.into());
            at = end;
        }
        Ok(Self { init: place(0..init.ok_or_else(|| missing("moov"))?), segments, timeline: Some(timeline) })
    }
}

impl Place {
    fn read(&self, most: u64) -> Result<Vec<u8>, PackageError> {
        let length = self.range.end.saturating_sub(self.range.start);
        if length > most {
            return Err(PackageError::Long { path: self.path.clone(), length });
        }
        let reading = || {
            let mut bytes = vec![0; length as usize];
            let mut file = File::open(&self.path)?;
            file.seek(SeekFrom::Start(self.range.start))?;
            file.read_exact(&mut bytes).map(|()| bytes)
        };
        reading().map_err(|e| PackageError::io(&self.path, "read", e))
    }

    fn media(&self, error: Unreadable) -> PackageError {
        PackageError::Media { path: self.path.clone(), error }
    }
}
