//! Leaf hashes and inner nodes, many at once, as tree builder and verifier ask for them.
#![allow(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ppsp_benches::noise;
use ppsp_core::{Hash, HashAlg, hash_chunks, hash_pairs};

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

criterion_group!(benches, leaves, pairs);
criterion_main!(benches);
