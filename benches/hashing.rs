//! Leaf hashes and inner nodes, many at once, as tree builder and verifier ask for them.
#![allow(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ppsp_benches::noise;
use ppsp_core::{Hash, HashAlg, HashBackend, hash_chunks, hash_pairs};

/// Messages in a call.
const GROUP: usize = 64;

fn leaves(c: &mut Criterion) {
    let content = noise(GROUP * 1024, 1);
    let chunks: Vec<&[u8]> = content.chunks(1024).collect();
    let mut group = c.benchmark_group("leaf hashes of 64 chunks of 1 KiB");
    group.throughput(Throughput::Bytes(content.len() as u64));
    for alg in HashAlg::ALL {
        let mut out = [Hash::empty(alg); GROUP];
        group.bench_function(BenchmarkId::from_parameter(alg.name()), |b| {
            b.iter(|| hash_chunks(alg, black_box(&chunks), black_box(&mut out)));
        });
    }
    group.finish();
}

fn pairs(c: &mut Criterion) {
    let mut group = c.benchmark_group("inner nodes, 64 pairs");
    group.throughput(Throughput::Elements(GROUP as u64));
    for alg in HashAlg::ALL {
        let bytes = noise(GROUP * 2 * alg.len(), 2);
        let hashes: Vec<Hash> = bytes.chunks(alg.len()).filter_map(Hash::from_bytes).collect();
        let (pairs, _) = hashes.as_chunks::<2>();
        let mut out = [Hash::empty(alg); GROUP];
        group.bench_function(BenchmarkId::from_parameter(alg.name()), |b| {
            b.iter(|| hash_pairs(alg, black_box(pairs), black_box(&mut out)));
        });
    }
    group.finish();
}

/// Each backend against one message after the other, at the counts that callers have at hand.
fn backends(_: &mut Criterion) {
    for alg in [HashAlg::Sha1, HashAlg::Sha256, HashAlg::Sha512] {
        let content = noise(GROUP * 1024, 3);
        let chunks: Vec<&[u8]> = content.chunks(1024).collect();
        let hashes: Vec<Hash> = content.chunks(alg.len()).filter_map(Hash::from_bytes).take(2 * GROUP).collect();
        let (pairs, _) = hashes.as_chunks::<2>();
        for count in [1, 2, 3, 4, 8, 12, 16, GROUP] {
            let mut out = [Hash::empty(alg); GROUP];
            let out = &mut out[..count];
            compare(alg, "chunks of 1 KiB", count, || hash_chunks(alg, black_box(&chunks[..count]), black_box(out)));
            let mut out = [Hash::empty(alg); GROUP];
            let out = &mut out[..count];
            compare(alg, "pairs", count, || hash_pairs(alg, black_box(&pairs[..count]), black_box(out)));
        }
    }
}

/// Prints the time for a message by each backend: the shortest of many rounds, in which the backends take turns.
fn compare(alg: HashAlg, what: &str, count: usize, mut hash: impl FnMut()) {
    const ROUNDS: usize = 300;
    let calls = 1 + 2 * GROUP / count;
    let mut best = HashBackend::ALL.map(|_| f64::INFINITY);
    for _ in 0..ROUNDS {
        for (backend, best) in HashBackend::ALL.into_iter().zip(&mut best) {
            if backend.select() {
                let began = Instant::now();
                (0..calls).for_each(|_| hash());
                *best = best.min(began.elapsed().as_nanos() as f64 / (calls * count) as f64);
            }
        }
    }
    HashBackend::best().select();
    print!("{:6} {count:2} {what:15}", alg.name());
    for (backend, ns) in HashBackend::ALL.into_iter().zip(best).filter(|(backend, _)| backend.is_available()) {
        print!(" | {backend:?} {ns:6.1} ns, x {:.2}", best[0] / ns);
    }
    println!();
}

criterion_group!(benches, backends, leaves, pairs);
criterion_main!(benches);
