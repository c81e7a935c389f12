//! The verifier: chunks with just the hashes that an honest peer sends with them, in order and at random, in batches.
#![allow(missing_docs, reason = "criterion's macros")]

use std::collections::HashSet;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ppsp_benches::{noise, shuffled};
use ppsp_core::{
    Bin, ChunkRange, Claim, ContentStore, HashAlg, MemoryStore, RangeSet, SwarmMetadata, Tree, Unverified, Verdict,
    Verifier, peak_of,
};

const CHUNKS: u64 = 16 * 1024;
const SIZE: usize = 1024;
const ALG: HashAlg = HashAlg::Sha256;

/// A chunk and the hashes that its receiver lacks.
type Sent<'a> = (u64, &'a [u8], Vec<Claim>);

fn verify(c: &mut Criterion) {
    let content = noise(CHUNKS as usize * SIZE, 1);
    let (mut store, tree) = MemoryStore::from_content(ALG, SIZE as u32, content.clone());
    let mut group = c.benchmark_group("verify 16 MiB of 1 KiB chunks, SHA-256");
    group.throughput(Throughput::Elements(CHUNKS)).sample_size(20);
    for (name, order) in [("in order", (0..CHUNKS).collect()), ("at random", shuffled(CHUNKS, 2))] {
        let sent = datagrams(&mut store, &tree, &content, &order);
        for batch in [1, 16, 64] {
            group.bench_function(BenchmarkId::new(name, format!("batches of {batch}")), |b| {
                b.iter_batched(|| start(&tree), |verifier| run(verifier, &sent, batch), BatchSize::LargeInput);
            });
        }
    }
    group.finish();
}

/// A verifier that has the peaks.
fn start(tree: &Tree) -> Verifier {
    let mut verifier = Verifier::new(&SwarmMetadata::of_root(&tree.root)).expect("metadata is sound");
    assert!(verifier.offer_peaks(&tree.peaks, &mut Vec::new()));
    verifier
}

/// What the endpoint does with chunks that arrive, without the endpoint.
fn run(mut verifier: Verifier, sent: &[Sent<'_>], batch: usize) -> Verifier {
    let (mut verdicts, mut proven, mut held) = (Vec::new(), Vec::new(), RangeSet::new());
    let mut unverified = Vec::with_capacity(batch);
    for sent in sent.chunks(batch) {
        unverified.clear();
        unverified.extend(sent.iter().map(|(chunk, data, claims)| Unverified {
            chunk: *chunk,
            data,
            claims: [claims, &[]],
        }));
        verifier.verify(&unverified, &mut verdicts, &mut proven);
        assert!(verdicts.iter().all(|&verdict| verdict == Verdict::Accepted));
        proven.clear();
        for &(chunk, ..) in sent {
            let one = ChunkRange::single(chunk);
            held.insert(one);
            verifier.forget(&held, one);
        }
    }
    verifier
}

/// What a peer sends that remembers what it has sent: the uncles that the receiver can neither have nor compute.
fn datagrams<'a>(store: &mut MemoryStore, tree: &Tree, content: &'a [u8], order: &[u64]) -> Vec<Sent<'a>> {
    let mut known: HashSet<Bin> = tree.peaks.iter().map(|peak| peak.node).collect();
    let mut one = |chunk: u64| {
        let mut claims = Vec::new();
        let (peak, mut node) = (peak_of(chunk, tree.chunks)?, Bin::leaf(chunk)?);
        while node != peak && known.insert(node) {
            let uncle = node.sibling()?;
            if known.insert(uncle) {
                claims.push(Claim { node: uncle, hash: store.read_hash(uncle).ok()?? });
            }
            node = node.parent()?;
        }
        claims.reverse();
        Some((chunk, content.chunks(SIZE).nth(chunk as usize)?, claims))
    };
    order.iter().map(|&chunk| one(chunk).expect("the chunk is there")).collect()
}

criterion_group!(benches, verify);
criterion_main!(benches);
