//! Content stores: what a chunk and a hash cost to read and to write, in memory and in files, without a protocol.
//!
//! Chunks are read as they are served, in bit-reversed order inside groups of 64, and written in runs. A temporary
//! directory in memory (`TMPDIR=/dev/shm`) leaves the disk out of it.
#![allow(missing_docs, reason = "criterion's macros")]

use std::{fs, path::Path, time::Duration, time::Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ppsp_benches::noise;
use ppsp_core::{Bin, Claim, ContentStore, HashAlg, MemoryStore, Read, SwarmMetadata, Tree, Write};
use ppsp_examples::store::{FileStore, Places, SeedOptions};

const CHUNKS: u64 = 64 << 10;
const SIZE: usize = 1024;
const ALG: HashAlg = HashAlg::Sha256;
const GROUP: u64 = 64;

fn store(c: &mut Criterion) {
    let content = noise(CHUNKS as usize * SIZE, 1);
    let dir = tempfile::tempdir().expect("a directory");
    let seeded = Places::new(&dir.path().join("seeded"), None);
    fs::write(&seeded.content, &content).expect("room");
    let (file, _) = FileStore::seed(&seeded, &SeedOptions::default(), &mut |_| {}).expect("seeds");
    let (memory, tree) = MemoryStore::from_content(ALG, SIZE as u32, content.clone());
    let mut stores: [(&str, Box<dyn ContentStore>); 2] = [("memory", Box::new(memory)), ("file", Box::new(file))];

    let mut group = c.benchmark_group("store of 64 MiB, 1 KiB chunks");
    group.throughput(Throughput::Elements(CHUNKS)).sample_size(10);
    for (name, store) in &mut stores {
        group.bench_function(BenchmarkId::new("read chunk", *name), |b| b.iter(|| read(&mut **store)));
        group.bench_function(BenchmarkId::new("read hash", *name), |b| b.iter(|| read_hashes(&mut **store)));
    }
    let claims: Vec<Claim> = (0..2 * CHUNKS - 1)
        .filter_map(Bin::new)
        .filter_map(|node| stores[0].1.read_hash(node).ok()?.map(|hash| Claim { node, hash }))
        .collect();
    let chunks: Vec<&[u8]> = content.chunks(SIZE).collect();
    for run in [1, 16, 64] {
        let id = |name| BenchmarkId::new(format!("write runs of {run}"), name);
        group.bench_function(id("memory"), |b| {
            b.iter_custom(|times| {
                (0..times).map(|_| write(&mut MemoryStore::new(ALG, SIZE as u32), &chunks, run)).sum()
            });
        });
        group.bench_function(id("file"), |b| {
            b.iter_custom(|times| (0..times).map(|_| write(&mut download(dir.path(), &tree), &chunks, run)).sum());
        });
    }
    group.bench_function(BenchmarkId::new("write hashes", "memory"), |b| {
        b.iter_custom(|times| (0..times).map(|_| write_hashes(&mut MemoryStore::new(ALG, SIZE as u32), &claims)).sum());
    });
    group.bench_function(BenchmarkId::new("write hashes", "file"), |b| {
        b.iter_custom(|times| (0..times).map(|_| write_hashes(&mut download(dir.path(), &tree), &claims)).sum());
    });
    group.finish();
}

/// An empty store of the content.
fn download(dir: &Path, tree: &Tree) -> FileStore {
    let places = Places::new(&dir.join("copy"), None);
    for path in [&places.part, &places.state, &places.tree] {
        _ = fs::remove_file(path);
    }
    FileStore::download(&places, &SwarmMetadata::of_root(&tree.root), &mut |_| {}).expect("opens").0
}

fn read(store: &mut dyn ContentStore) {
    let mut out = [0; SIZE];
    for n in 0..CHUNKS {
        let within = (n % GROUP).reverse_bits() >> (u64::BITS - GROUP.ilog2());
        assert_eq!(store.read_chunk(n - n % GROUP + within, &mut out).expect("reads"), Read::Ready(SIZE));
    }
}

/// The siblings of every second leaf, as uncles are read.
fn read_hashes(store: &mut dyn ContentStore) {
    for node in (0..2 * CHUNKS - 1).filter_map(Bin::new).step_by(2) {
        assert!(store.read_hash(node).expect("reads").is_some());
    }
}

fn write(store: &mut dyn ContentStore, chunks: &[&[u8]], run: usize) -> Duration {
    let start = Instant::now();
    let mut first = 0;
    while first < chunks.len() {
        let (count, answer) =
            store.write_run(first as u64, &chunks[first..(first + run).min(chunks.len())]).expect("writes");
        assert_eq!(answer, Write::Done);
        first += count;
    }
    start.elapsed()
}

fn write_hashes(store: &mut dyn ContentStore, claims: &[Claim]) -> Duration {
    let start = Instant::now();
    claims.chunks(64).for_each(|claims| store.write_hashes(claims).expect("writes"));
    start.elapsed()
}

criterion_group!(benches, store);
criterion_main!(benches);
