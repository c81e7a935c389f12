use std::{
    fs,
    path::{Path, PathBuf},
};

use ppsp_core::descriptor::Descriptor;

use super::*;

/// A directory with a set, and one for joined files.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    /// With this in the Period, and files that consist of their names.
    fn new(period: &str, files: &[&str]) -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir_all(place.path("set/v")).unwrap();
        fs::create_dir(place.path("out")).unwrap();
        place.manifest(period);
        files.iter().for_each(|name| fs::write(place.path("set").join(name), name).unwrap());
        place
    }

    fn manifest(&self, period: &str) {
        let xml = format!(
            "<MPD mediaPresentationDuration='PT2S'><Period><AdaptationSet>{period}</AdaptationSet></Period></MPD>"
        );
        fs::write(self.path("set/film.mpd"), xml).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn package(&self) -> Result<Package, PackageError> {
        self.package_told(&mut |_| {})
    }

    fn package_told(&self, observer: &mut Observer<'_>) -> Result<Package, PackageError> {
        let (manifest, contents) = (self.path("set/film.mpd"), self.path("out"));
        let seed = SeedOptions::default();
        Packaging { manifest: &manifest, contents: &contents, state_dir: None, seed }.run(observer)
    }

    fn in_out(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("out")).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

const SEGMENTS: &str = "<Representation id='a'><SegmentTemplate initialization='v/i' media='v/$Number$.m4s'>\
                        <SegmentTimeline><S d='1' r='1'/></SegmentTimeline></SegmentTemplate></Representation>";
const FILE: &str = "<Representation id='b'><BaseURL>v/f.mp4</BaseURL></Representation>";

#[test]
fn files_are_joined_and_single_ones_stay() {
    let place = Place::new(&format!("{SEGMENTS}{FILE}"), &["v/i", "v/1.m4s", "v/2.m4s", "v/f.mp4"]);
    let mut told = Vec::new();
    let package = place
        .package_told(&mut |notice| {
            if let Notice::Hashing { done, total } = notice {
                told.push((done, total));
            }
        })
        .unwrap();
    let paths: Vec<_> = package.contents.iter().map(|one| (one.representation.as_str(), one.store.path())).collect();
    assert_eq!(paths, [("a", place.path("out/film-0.mp4")), ("b", place.path("set/v/f.mp4"))]);
    assert_eq!(fs::read(place.path("out/film-0.mp4")).unwrap(), b"v/iv/1.m4sv/2.m4s");
    // 17 bytes are joined and hashed, 7 are hashed.
    assert!(told.is_sorted() && told.iter().all(|(_, total)| *total == 41) && told.last().unwrap().0 == 41, "{told:?}");

    let read = Descriptor::parse(package.descriptor.to_xml().as_bytes()).unwrap();
    assert_eq!(read.parts("a").unwrap().part("v/2.m4s"), Some(10..17));
    assert_eq!(read.parts("b").unwrap().part("v/f.mp4"), Some(0..7));
    let swarms: Vec<_> = package.contents.iter().map(|one| one.store.metadata().id).collect();
    assert_eq!(read.swarms(), swarms);

    // Again: nothing is written, nothing is hashed, the same comes of it.
    drop(package);
    let modified = |name: &str| fs::metadata(place.path(name)).unwrap().modified().unwrap();
    let before = modified("out/film-0.mp4");
    assert_eq!(place.package().unwrap().descriptor, read);
    assert_eq!(modified("out/film-0.mp4"), before);
    assert_eq!(place.in_out(), ["film-0.mp4", "film-0.mp4.ppsp", "film-0.mp4.ppsp-tree"]);
}

#[test]
fn what_is_missing_is_named_and_nothing_is_written() {
    let place = Place::new(&format!("{SEGMENTS}{FILE}"), &["v/i", "v/1.m4s", "v/2.m4s"]);
    let error = place.package().unwrap_err().to_string();
    let path = place.path("set/v/f.mp4");
    let path = path.display();
    assert_eq!(
        error,
        format!("{path}: no such file, and Representation 'b' of the manifest needs it; make manifest and files anew")
    );
    assert!(place.in_out().is_empty());

    fs::create_dir(place.path("set/v/f.mp4")).unwrap();
    assert!(matches!(place.package(), Err(PackageError::NotFile(_))));
    fs::remove_dir(place.path("set/v/f.mp4")).unwrap();
    place.manifest("<Representation id='b'><BaseURL>v/i</BaseURL><SegmentBase><Initialization range='0-3'/></SegmentBase></Representation>");
    let error = place.package().unwrap_err().to_string();
    assert!(error.contains("'v/i' has 3 bytes, and the manifest refers to 4"), "{error}");
    for (inside, wrong) in [("<BaseURL>../../secret</BaseURL>", "outside"), ("", "no file is named")] {
        place.manifest(&format!("<Representation id='b'>{inside}</Representation>"));
        let error = place.package().unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
    }
    fs::write(place.path("set/film.mpd"), "<html>").unwrap();
    assert!(matches!(place.package(), Err(PackageError::Manifest { .. })));
    fs::remove_file(place.path("set/film.mpd")).unwrap();
    assert!(matches!(place.package(), Err(PackageError::Io { .. })));
    assert!(place.in_out().is_empty());
}

#[test]
fn segments_that_are_counted_may_be_one_more_or_one_less() {
    let counted = "<Representation id='a'><SegmentTemplate duration='1' media='v/$Number$.m4s'/></Representation>";
    let place = Place::new(counted, &[]);
    let lengths = || place.package().map(|package| package.descriptor.parts("a").unwrap().list().len());
    let error = lengths().unwrap_err().to_string();
    assert!(error.contains("1.m4s: no such file") && error.contains("-use_timeline 1"), "{error}");
    for (number, parts) in [(1, 1), (2, 2), (3, 3), (4, 3)] {
        fs::write(place.path(&format!("set/v/{number}.m4s")), "x").unwrap();
        fs::remove_dir_all(place.path("out")).unwrap();
        fs::create_dir(place.path("out")).unwrap();
        assert_eq!(lengths().unwrap(), parts);
    }
}

#[test]
fn files_of_others_are_not_overwritten() {
    let place = Place::new(SEGMENTS, &["v/i", "v/1.m4s", "v/2.m4s"]);
    for other in ["other", "v/iv/1.m4sv/3.m4s"] {
        fs::write(place.path("out/film-0.mp4"), other).unwrap();
        assert!(matches!(place.package(), Err(PackageError::Exists(path)) if path == place.path("out/film-0.mp4")));
        assert_eq!(fs::read(place.path("out/film-0.mp4")).unwrap(), other.as_bytes());
    }
    assert_eq!(place.in_out(), ["film-0.mp4"]);

    // The set is made anew: what was joined is removed, what was known of it is forgotten.
    fs::remove_file(place.path("out/film-0.mp4")).unwrap();
    let before = place.package().unwrap().descriptor.swarms();
    fs::write(place.path("set/v/2.m4s"), "something else").unwrap();
    assert!(matches!(place.package(), Err(PackageError::Exists(_))));
    fs::remove_file(place.path("out/film-0.mp4")).unwrap();
    let after = place.package().unwrap().descriptor.swarms();
    assert!(before != after && after.len() == 1);
}

#[test]
fn what_breaks_off_leaves_nothing() {
    let place = Place::new(SEGMENTS, &["v/i", "v/1.m4s", "v/2.m4s"]);
    // The last file grows after it was looked at.
    let error = place.package_told(&mut |_| fs::write(place.path("set/v/2.m4s"), "much longer than before").unwrap());
    assert!(matches!(error, Err(PackageError::Changed(path)) if path == place.path("set/v/2.m4s")));
    assert!(place.in_out().is_empty());
    let place = Place::new(SEGMENTS, &["v/i", "v/1.m4s", "v/2.m4s"]);
    fs::remove_dir(place.path("out")).unwrap();
    assert!(matches!(place.package(), Err(PackageError::Io { .. })));
}

#[test]
fn one_file_of_two_representations_is_opened_once() {
    let both = format!("{FILE}{}", FILE.replace("'b'", "'c'"));
    let place = Place::new(&both, &["v/f.mp4"]);
    let package = place.package().unwrap();
    assert_eq!(package.contents.len(), 2);
    assert_eq!(package.contents[0].store.metadata(), package.contents[1].store.metadata());
}

#[test]
fn names_are_names_to_this_system() {
    let directory = Path::new("d");
    assert_eq!(below(directory, "a/b c.mp4"), Some(PathBuf::from("d/a/b c.mp4")));
    for bad in ["", "..", "a/../b", "/a", "a//b", "."] {
        assert_eq!(below(directory, bad), None, "{bad}");
    }
}
