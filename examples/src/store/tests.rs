use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Read as _,
    os::unix::fs::FileExt,
    path::Path,
    time::{Duration, SystemTime},
};

use ppsp_core::{
    Bin, ChunkRange, ContentStore, Hash, HashAlg, Read, StoredSize, SwarmMetadata, Tree, TreeBuilder, peak_of, peaks,
    uncles,
};
use proptest::prelude::*;

use super::{FileError, FileStore, Notice, Opened, Places, SeedOptions};

/// Content with its true tree.
struct Sample {
    bytes: Vec<u8>,
    chunk_size: usize,
    nodes: BTreeMap<u64, Hash>,
    tree: Tree,
}

impl Sample {
    fn new(length: usize, chunk_size: usize) -> Self {
        let mut x = 1u32;
        let bytes: Vec<u8> = (0..length)
            .map(|_| {
                x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (x >> 24) as u8
            })
            .collect();
        let mut nodes = BTreeMap::new();
        let mut builder = TreeBuilder::new(HashAlg::Sha1, chunk_size as u32);
        builder.push(&bytes, &mut |node, hash| _ = nodes.insert(node.number(), *hash));
        let tree = builder.finish(&mut |node, hash| _ = nodes.insert(node.number(), *hash));
        Self { bytes, chunk_size, nodes, tree }
    }

    fn metadata(&self) -> SwarmMetadata {
        let mut metadata = SwarmMetadata::of_root(&self.tree.root);
        metadata.hash = HashAlg::Sha1;
        metadata.chunk_size = self.chunk_size as u32;
        metadata
    }

    fn chunk(&self, chunk: u64) -> &[u8] {
        let start = chunk as usize * self.chunk_size;
        &self.bytes[start..(start + self.chunk_size).min(self.bytes.len())]
    }

    fn options(&self) -> SeedOptions {
        SeedOptions { chunk_size: Some(self.chunk_size as u32), hash: Some(HashAlg::Sha1), ..SeedOptions::default() }
    }

    /// Stores a chunk as the endpoint does: what proves it first.
    fn give(&self, store: &mut FileStore, chunk: u64) {
        let chunks = self.tree.chunks;
        let last = chunk + 1 == chunks;
        store.set_size(chunks, last.then_some(self.bytes.len() as u64)).unwrap();
        let peak = peak_of(chunk, chunks).unwrap();
        let mut node = Bin::leaf(chunk);
        let own = std::iter::from_fn(|| {
            let here = node.filter(|node| peak.contains(*node))?;
            node = here.parent();
            Some(here)
        });
        for node in peaks(chunks).chain(uncles(chunk, peak)).chain(own) {
            store.write_hash(node, &self.nodes[&node.number()]).unwrap();
        }
        assert_eq!(store.write_chunk(chunk, self.chunk(chunk)).unwrap(), ppsp_core::Write::Done);
    }

    /// Nothing that the store claims is wrong. Returns what it claims.
    fn verify(&self, store: &mut FileStore) -> Vec<u64> {
        let mut runs: Vec<ChunkRange> = Vec::new();
        let StoredSize { chunks, content_length } = store.held(&mut |run| runs.push(run)).unwrap();
        assert!(chunks.is_none_or(|chunks| chunks == self.tree.chunks));
        assert!(content_length.is_none_or(|length| length == self.bytes.len() as u64));
        let held: Vec<u64> = runs.into_iter().flat_map(|run| run.chunks()).collect();
        let mut out = vec![0; self.chunk_size];
        for &chunk in &held {
            let Read::Ready(length) = store.read_chunk(chunk, &mut out).unwrap() else {
                panic!("chunk {chunk} is not there")
            };
            assert_eq!(&out[..length], self.chunk(chunk), "chunk {chunk}");
        }
        for (&number, hash) in &self.nodes {
            if let Some(found) = store.read_hash(Bin::new(number).unwrap()).unwrap() {
                assert_eq!(found, *hash, "node {number}");
            }
        }
        held
    }
}

fn ignore(_: Notice<'_>) {}

fn download(places: &Places, sample: &Sample) -> Result<(FileStore, Opened), FileError> {
    FileStore::download(places, &sample.metadata(), &mut ignore)
}

/// Changes a file as something other than ppsp would: later, by the clock.
fn damage(path: &Path, change: impl FnOnce(&File, u64)) {
    if let Ok(file) = OpenOptions::new().read(true).write(true).open(path) {
        change(&file, file.metadata().unwrap().len());
        file.set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
    }
}

#[test]
fn a_seed_hashes_once() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(300_000, 1024);
    let places = Places::new(&dir.path().join("x"), None);
    fs::write(&places.content, &sample.bytes).unwrap();
    let (store, opened) = FileStore::seed(&places, &sample.options(), &mut ignore).unwrap();
    assert_eq!(opened, Opened::Hashed);
    assert_eq!(store.metadata().id.as_bytes(), sample.tree.root.as_bytes());
    assert!(matches!(FileStore::seed(&places, &sample.options(), &mut ignore), Err(FileError::Locked(_))));
    drop(store);
    let (mut store, opened) = FileStore::seed(&places, &SeedOptions::default(), &mut ignore).unwrap();
    assert_eq!(opened, Opened::Loaded);
    assert_eq!(sample.verify(&mut store).len() as u64, sample.tree.chunks);
    drop(store);
    // Other parameters make another swarm, and that is hashed.
    let other = SeedOptions { chunk_size: Some(4096), ..SeedOptions::default() };
    assert_eq!(FileStore::seed(&places, &other, &mut ignore).unwrap().1, Opened::Hashed);
}

#[test]
fn a_seed_survives_damage_to_its_own_files() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(300_000, 1024);
    let places = Places::new(&dir.path().join("x"), Some(&dir.path().join("state")));
    fs::write(&places.content, &sample.bytes).unwrap();
    drop(FileStore::seed(&places, &sample.options(), &mut ignore).unwrap());
    damage(&places.tree, |file, _| file.write_all_at(&[0xee; 100], 3000).unwrap());
    let (mut store, opened) = FileStore::seed(&places, &sample.options(), &mut ignore).unwrap();
    assert!(matches!(opened, Opened::Checked(bytes) if bytes < 300_000), "{opened:?}");
    assert_eq!(sample.verify(&mut store).len() as u64, sample.tree.chunks);
    drop(store);
    damage(&places.tree, |file, _| file.set_len(0).unwrap());
    let (mut store, opened) = FileStore::seed(&places, &sample.options(), &mut ignore).unwrap();
    assert_eq!(opened, Opened::Checked(300_000));
    assert_eq!(sample.verify(&mut store).len() as u64, sample.tree.chunks);
    drop(store);
    damage(&places.state, |file, len| file.set_len(len / 2).unwrap());
    let mut warnings = 0;
    let mut count = |notice: Notice<'_>| warnings += i32::from(matches!(notice, Notice::Warning(_)));
    assert_eq!(FileStore::seed(&places, &sample.options(), &mut count).unwrap().1, Opened::Hashed);
    assert_eq!(warnings, 1);
}

#[test]
fn changed_content_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(30_000, 1024);
    let places = Places::new(&dir.path().join("x"), None);
    fs::write(&places.content, &sample.bytes).unwrap();
    let (store, _) = FileStore::seed(&places, &sample.options(), &mut ignore).unwrap();
    store.check_unchanged().unwrap();
    // Touched, but the same: hashed again, and then not any more.
    damage(&places.content, |_, _| {});
    assert!(matches!(store.check_unchanged(), Err(FileError::Changed { .. })));
    drop(store);
    assert_eq!(FileStore::seed(&places, &sample.options(), &mut ignore).unwrap().1, Opened::Checked(30_000));
    assert_eq!(FileStore::seed(&places, &sample.options(), &mut ignore).unwrap().1, Opened::Loaded);
    damage(&places.content, |file, _| file.write_all_at(b"?", 20_000).unwrap());
    let error = FileStore::seed(&places, &sample.options(), &mut ignore).unwrap_err();
    assert!(error.to_string().contains("chunk 19 is not"), "{error}");
    damage(&places.content, |file, _| file.set_len(29_999).unwrap());
    let error = FileStore::seed(&places, &sample.options(), &mut ignore).unwrap_err();
    assert!(error.to_string().contains("it had 30000 bytes, it has 29999"), "{error}");
    let rehash = SeedOptions { rehash: true, ..sample.options() };
    assert_eq!(FileStore::seed(&places, &rehash, &mut ignore).unwrap().1, Opened::Hashed);
}

#[test]
fn a_download_ends_under_its_final_name() {
    for (length, chunk_size) in [(0, 1024), (1, 1024), (1024, 1024), (5000, 1024), (8192, 1024), (200_000, 40_000)] {
        let dir = tempfile::tempdir().unwrap();
        let sample = Sample::new(length, chunk_size);
        let places = Places::new(&dir.path().join("x"), None);
        let (mut store, opened) = download(&places, &sample).unwrap();
        assert_eq!(opened, Opened::New);
        for chunk in (0..sample.tree.chunks).rev() {
            assert!(!places.content.exists());
            sample.give(&mut store, chunk);
        }
        assert_eq!(store.held_bytes(), length as u64);
        assert!(store.checkpoint().unwrap());
        assert!(!store.checkpoint().unwrap(), "nothing to do");
        assert!(store.is_finished() && !places.part.exists());
        assert_eq!(fs::read(&places.content).unwrap(), sample.bytes);
        sample.verify(&mut store);
        drop(store);
        assert_eq!(download(&places, &sample).unwrap().1, Opened::Loaded);
        assert_eq!(FileStore::seed(&places, &SeedOptions::default(), &mut ignore).unwrap().1, Opened::Loaded);
        // Without its state the file is hashed and recognised.
        fs::remove_file(&places.state).unwrap();
        assert_eq!(download(&places, &sample).unwrap().1, Opened::Hashed);
    }
}

#[test]
fn files_in_the_way_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (Sample::new(5000, 1024), Sample::new(7000, 1024));
    let places = Places::new(&dir.path().join("x"), None);
    fs::write(&places.content, &two.bytes).unwrap();
    assert!(matches!(download(&places, &one), Err(FileError::Exists { .. })));
    assert!(!places.tree.exists(), "no trace of the attempt");
    drop(FileStore::seed(&places, &two.options(), &mut ignore).unwrap());
    assert!(matches!(download(&places, &one), Err(FileError::OtherContent { .. })));
    assert_eq!(fs::read(&places.content).unwrap(), two.bytes);

    let places = Places::new(&dir.path().join("y"), None);
    fs::write(&places.part, b"a browser's").unwrap();
    let error = download(&places, &one).unwrap_err();
    assert!(matches!(error, FileError::Stray(_)) && error.to_string().contains("y.part to begin anew"), "{error}");
    assert_eq!(fs::read(&places.part).unwrap(), b"a browser's");
    assert!(!places.tree.exists(), "no trace of the attempt");

    let places = Places::new(&dir.path().join("z"), None);
    let (mut store, _) = download(&places, &one).unwrap();
    one.give(&mut store, 1);
    store.checkpoint().unwrap();
    drop(store);
    assert!(matches!(download(&places, &two), Err(FileError::OtherContent { .. })));
    assert!(matches!(FileStore::seed(&places, &one.options(), &mut ignore), Err(FileError::Unfinished(_))));
    assert_eq!(one.verify(&mut download(&places, &one).unwrap().0), [1]);
}

#[test]
fn a_download_killed_at_its_start_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(5000, 1024);
    let places = Places::new(&dir.path().join("x"), None);
    for (part, tree) in [(true, true), (true, false), (false, true)] {
        let made = [(part, &places.part), (tree, &places.tree)];
        made.iter().filter(|(make, _)| *make).for_each(|(_, path)| fs::write(path, b"").unwrap());
        let mut temporary = places.state.clone().into_os_string();
        temporary.push(".tmp");
        fs::write(&temporary, b"half a sta").unwrap();
        let (store, opened) = download(&places, &sample).unwrap();
        assert_eq!(opened, Opened::New);
        assert!(places.state.exists() && !Path::new(&temporary).exists());
        drop(store);
        // Killed before the first checkpoint: some bytes, but no chunk that is claimed.
        fs::write(&places.part, b"bytes").unwrap();
        let (store, _) = download(&places, &sample).unwrap();
        assert!(store.discard_if_empty());
    }
}

#[test]
fn a_link_with_a_wrong_length_leaves_nothing_behind() {
    for wrong in [4999, 5001, 9000] {
        let dir = tempfile::tempdir().unwrap();
        let sample = Sample::new(5000, 1024);
        let places = Places::new(&dir.path().join("x"), None);
        let open = |length: u64| {
            let metadata = SwarmMetadata { content_length: Some(length), ..sample.metadata() };
            FileStore::download(&places, &metadata, &mut ignore).unwrap().0
        };
        let store = open(wrong);
        assert_eq!(store.metadata().content_length, Some(wrong));
        drop(store);
        let mut store = open(wrong);
        if wrong < 9000 {
            // The number of chunks is right, and so all but the last can be proven.
            sample.give(&mut store, 1);
            store.set_size(5, Some(wrong)).unwrap();
            store.checkpoint().unwrap();
        }
        drop(store);
        let mut store = open(5000);
        assert_eq!(store.metadata().content_length, Some(5000));
        assert_eq!(sample.verify(&mut store), if wrong < 9000 { vec![1] } else { vec![] });
        sample.give(&mut store, 4);
        store.checkpoint().unwrap();
        drop(store);
        // What is proven is not given up for what a link says.
        let mut store = open(wrong);
        assert_eq!(store.metadata().content_length, Some(5000));
        for chunk in 0..5 {
            sample.give(&mut store, chunk);
        }
        store.checkpoint().unwrap();
        assert_eq!(fs::read(&places.content).unwrap(), sample.bytes);
    }
}

#[test]
fn a_file_of_the_users_is_not_taken_for_a_state() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(5000, 1024);
    let places = Places::new(&dir.path().join("x"), None);
    fs::write(&places.state, b"a powerpoint").unwrap();
    assert!(matches!(download(&places, &sample), Err(FileError::NotState(_))));
    fs::write(&places.content, &sample.bytes).unwrap();
    for rehash in [false, true] {
        let options = SeedOptions { rehash, ..sample.options() };
        assert!(matches!(FileStore::seed(&places, &options, &mut ignore), Err(FileError::NotState(_))));
    }
    assert_eq!(fs::read(&places.state).unwrap(), b"a powerpoint");
    for torn in [&b""[..], b"PPSP", b"PPSPSTAT?"] {
        fs::write(&places.state, torn).unwrap();
        assert_eq!(FileStore::seed(&places, &sample.options(), &mut ignore).unwrap().1, Opened::Hashed);
    }
}

#[test]
fn names_that_no_download_could_end_under() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(5000, 1024);
    let get = |name: &str| download(&Places::new(&dir.path().join(name), None), &sample).unwrap_err();
    assert!(matches!(get("nodir/"), FileError::NoDirectory(_)));
    assert!(matches!(get("nodir/."), FileError::NoDirectory(_)));
    std::os::unix::fs::symlink("nowhere", dir.path().join("link")).unwrap();
    assert!(matches!(get("link"), FileError::Dangling(_)));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was made");
}

#[test]
fn what_fails_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let files = || -> Vec<_> {
        let mut names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let (one, two) = (Sample::new(5000, 1024), Sample::new(7000, 1024));
    let places = Places::new(&dir.path().join("x"), None);
    fs::write(&places.content, &two.bytes).unwrap();
    let tiny = SeedOptions { chunk_size: Some(5), ..SeedOptions::default() };
    assert!(matches!(FileStore::seed(&places, &tiny, &mut ignore), Err(FileError::Metadata(_))));
    let mut sized = one.metadata();
    sized.content_length = Some(5000);
    for metadata in [one.metadata(), sized] {
        let opened = FileStore::download(&places, &metadata, &mut ignore);
        assert!(matches!(opened, Err(FileError::Exists { .. })));
    }
    assert_eq!(files(), ["x"]);
    // What was there before stays, also where it is empty.
    File::create(&places.tree).unwrap();
    assert!(FileStore::seed(&places, &tiny, &mut ignore).is_err());
    assert_eq!(files(), ["x", "x.ppsp-tree"]);
    fs::remove_file(&places.tree).unwrap();
    // The state cannot be written: not the first part of a download stays, and no tree.
    let places = Places::new(&dir.path().join("y"), None);
    fs::create_dir(dir.path().join("y.ppsp.tmp")).unwrap();
    assert!(matches!(download(&places, &one), Err(FileError::Io { .. })));
    assert_eq!(files(), ["x", "y.ppsp.tmp"]);
    fs::remove_dir(dir.path().join("y.ppsp.tmp")).unwrap();
    assert_eq!(download(&places, &one).unwrap().1, Opened::New);
    // What is used is kept.
    assert_eq!(files(), ["x", "y.part", "y.ppsp", "y.ppsp-tree"]);
    let places = Places::new(&dir.path().join("x"), None);
    drop(FileStore::seed(&places, &two.options(), &mut ignore).unwrap());
    assert!(places.tree.exists());
}

#[test]
fn impossible_places() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(5000, 1024);
    let seed = |path: &Path| FileStore::seed(&Places::new(path, None), &sample.options(), &mut ignore);
    assert!(matches!(seed(&dir.path().join("missing")), Err(FileError::NotFound(_))));
    assert!(matches!(seed(dir.path()), Err(FileError::NotFile(_))));
    let nowhere = Places::new(&dir.path().join("no/such/place"), None);
    let error = download(&nowhere, &sample).unwrap_err().to_string();
    assert!(error.contains("no/such"), "{error}");
}

#[test]
fn a_crash_between_state_and_final_name_is_mended() {
    let dir = tempfile::tempdir().unwrap();
    let sample = Sample::new(5000, 1024);
    let places = Places::new(&dir.path().join("x"), None);
    let (mut store, _) = download(&places, &sample).unwrap();
    (0..sample.tree.chunks).for_each(|chunk| sample.give(&mut store, chunk));
    store.checkpoint().unwrap();
    drop(store);
    fs::rename(&places.content, &places.part).unwrap();
    let (store, opened) = download(&places, &sample).unwrap();
    assert_eq!((opened, store.is_finished()), (Opened::Loaded, true));
    assert!(places.content.exists() && !places.part.exists());
}

#[derive(Clone, Copy, Debug)]
enum Blow {
    Truncate,
    Flip,
    Zero,
    Remove,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 64 } else { 256 }))]

    /// A process that dies at any moment, on a disk that loses or changes any part of any file: what is claimed
    /// afterwards is right, and the download can be completed.
    #[test]
    fn a_crash_never_yields_a_wrong_byte(
        length in 0usize..90_000,
        order in any::<prop::sample::Index>(),
        share in 0.0f64..=1.0,
        checkpoint_at in 0.0f64..=1.0,
        link_has_length: bool,
        blows in prop::collection::vec((
            0usize..3,
            prop_oneof![Just(Blow::Truncate), Just(Blow::Flip), Just(Blow::Zero), Just(Blow::Remove)],
            0.0f64..1.0,
        ), 0..3),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let sample = Sample::new(length, 1024);
        let mut metadata = sample.metadata();
        metadata.content_length = link_has_length.then_some(length as u64);
        let places = Places::new(&dir.path().join("x"), None);
        let chunks = sample.tree.chunks;
        let stride = [1, 3, 5, 7, 11, 13][order.index(6)];
        let order: Vec<u64> = (0..chunks).map(|i| (i * stride) % chunks).collect();
        let given = (share * chunks as f64) as usize;
        let before = (checkpoint_at * given as f64) as usize;

        let (mut store, _) = FileStore::download(&places, &metadata, &mut ignore).unwrap();
        order[..before].iter().for_each(|&chunk| sample.give(&mut store, chunk));
        store.checkpoint().unwrap();
        order[before..given].iter().for_each(|&chunk| sample.give(&mut store, chunk));
        drop(store); // what was not flushed is lost

        for (file, blow, at) in &blows {
            let path = [&places.state, &places.tree, if places.part.exists() { &places.part } else { &places.content }][*file];
            damage(path, |file, len| {
                let at = (at * len as f64) as u64;
                let mut byte = [0];
                match blow {
                    Blow::Truncate => file.set_len(at).unwrap(),
                    Blow::Flip if len > 0 => {
                        file.read_exact_at(&mut byte, at).unwrap();
                        file.write_all_at(&[byte[0] ^ 0x40], at).unwrap();
                    }
                    Blow::Zero => file.write_all_at(&vec![0; ((len - at) as usize).min(4096)], at).unwrap(),
                    _ => {}
                }
            });
            if matches!(blow, Blow::Remove) {
                _ = fs::remove_file(path);
            }
        }

        let (mut store, _) = match FileStore::download(&places, &metadata, &mut ignore) {
            Ok(opened) => opened,
            // Complete content that was damaged, or a part that nothing tells about: said, and left alone.
            Err(
                FileError::Changed { .. } | FileError::Exists { .. } | FileError::Stray(_) | FileError::NotState(_),
            ) if !blows.is_empty() => return Ok(()),
            Err(error) => panic!("{error}"),
        };
        let held = sample.verify(&mut store);
        if blows.is_empty() {
            prop_assert!(order[..before].iter().all(|chunk| held.contains(chunk)), "what was made durable is there");
        }
        (0..chunks).filter(|chunk| !held.contains(chunk)).for_each(|chunk| sample.give(&mut store, chunk));
        store.checkpoint().unwrap();
        prop_assert!(store.is_finished());
        let mut found = Vec::new();
        File::open(&places.content).unwrap().read_to_end(&mut found).unwrap();
        prop_assert!(found == sample.bytes);
    }
}
