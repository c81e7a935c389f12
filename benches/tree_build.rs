//! The hash tree of content that streams by, as `ppsp seed` builds it the first time.
#![allow(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ppsp_benches::noise;
use ppsp_core::{HashAlg, TreeBuilder};

const LENGTH: usize = 64 << 20;
/// What is read from a file at a time.
const SLICE: usize = 1 << 20;

fn build(c: &mut Criterion) {
    let content = noise(LENGTH, 1);
    let mut group = c.benchmark_group("tree of 64 MiB");
    group.throughput(Throughput::Bytes(LENGTH as u64)).sample_size(10);
    for (alg, chunk_size) in [(HashAlg::Sha256, 1024), (HashAlg::Sha256, 8192), (HashAlg::Sha1, 1024)] {
        group.bench_function(BenchmarkId::new(alg.name(), chunk_size), |b| {
            b.iter(|| {
                let mut nodes = 0u64;
                let mut builder = TreeBuilder::new(alg, chunk_size);
                for slice in content.chunks(SLICE) {
                    builder.push(black_box(slice), &mut |_, hash| nodes += u64::from(hash.as_bytes()[0]));
                }
                (builder.finish(&mut |_, _| {}), nodes)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, build);
criterion_main!(benches);
