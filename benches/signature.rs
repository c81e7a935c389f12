//! What signatures cost who sends and who receives a live stream, for each algorithm: a munro's, and by the chunk.
#![allow(missing_docs, reason = "criterion's macros")]

use std::{error::Error, hint::black_box, time::Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use p256::ecdsa::{Signature, VerifyingKey, signature::MultipartVerifier};
use ppsp_benches::noise;
use ppsp_core::{
    Bin, Claim, Hash, IntegrityMethod, SwarmMetadata, Unverified, Verdict,
    live::{DEFAULT_CHUNKS_PER_SIGNATURE, LiveConfig, LiveSource, LiveVerifier, Munro, NtpTime},
    signature::{PrivateKey, SignatureAlgorithm, Signer},
    uncles,
};

/// Chunk specification, timestamp and hash: what a signature covers (RFC 7574 §6.1.2.2).
const MUNRO: [&[u8]; 3] = [&[1; 8], &[2; 8], &[3; 32]];

fn signature(c: &mut Criterion) {
    each_algorithm(c).expect("keys sign");
    without_ring(c).expect("the key signs");
    each_chunk(c).expect("keys sign");
}

fn each_algorithm(c: &mut Criterion) -> Result<(), Box<dyn Error>> {
    for algorithm in SignatureAlgorithm::ALL {
        let mut key = PrivateKey::generate(algorithm, &[1; 32])?;
        let signature = key.sign(&MUNRO)?;
        let public = key.public_key().clone();
        c.bench_function(&format!("signature/verify/{algorithm}"), |b| {
            b.iter(|| public.verify(black_box(&MUNRO), black_box(&signature)));
        });
        c.bench_function(&format!("signature/sign/{algorithm}"), |b| {
            b.iter(|| key.sign(black_box(&MUNRO)));
        });
    }
    Ok(())
}

/// The default algorithm as it is verified where the feature `ring` is off; here the command has turned it on.
fn without_ring(c: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let mut key = PrivateKey::generate(SignatureAlgorithm::EcdsaP256Sha256, &[1; 32])?;
    let signature = Signature::from_slice(&key.sign(&MUNRO)?)?;
    let point = [&[4], &key.public_key().as_bytes()[1..]].concat();
    let public = VerifyingKey::from_sec1_bytes(&point)?;
    c.bench_function("signature/verify/ECDSAP256SHA256 without ring", |b| {
        b.iter(|| public.multipart_verify(black_box(&MUNRO), black_box(&signature)));
    });
    Ok(())
}

/// Chunks under a signature, as many as by default.
const CHUNKS: usize = DEFAULT_CHUNKS_PER_SIGNATURE as usize;
const CHUNK_SIZE: usize = 1024;

/// So many chunks of a stream, with all that proves them.
struct Stretch {
    metadata: SwarmMetadata,
    content: Vec<u8>,
    munros: Vec<Munro>,
    /// The uncles of each chunk that those before it did not bring.
    claims: Vec<Vec<Claim>>,
}

impl Stretch {
    const NOW: NtpTime = NtpTime::from_unix_micros(1_800_000_000_000_000);

    fn new(integrity: IntegrityMethod, algorithm: SignatureAlgorithm) -> Result<Self, Box<dyn Error>> {
        let key = PrivateKey::generate(algorithm, &[1; 32])?;
        let metadata = SwarmMetadata { integrity, ..SwarmMetadata::of_key(key.public_key()) };
        let content = noise(CHUNKS * CHUNK_SIZE, 1);
        let mut source = LiveSource::new(&metadata, Default::default(), CHUNKS as u32, Box::new(key))?;
        let (mut munros, mut nodes) = (vec![], vec![]);
        for chunk in content.chunks(CHUNK_SIZE) {
            let mut sink = |node: Bin, hash: &Hash| nodes.push(Claim { node, hash: *hash });
            munros.extend(source.push(Self::NOW, chunk, &mut sink)?);
        }
        let top = Bin::at(CHUNKS.ilog2(), 0).ok_or("no such node")?;
        let new = |chunk: u64, node: &Bin| chunk == 0 || !uncles(chunk - 1, top).any(|known| known == *node);
        let claims = (0..CHUNKS as u64).map(|chunk| {
            let missing = uncles(chunk, top).filter(|node| new(chunk, node));
            missing.filter_map(|node| nodes.iter().find(|claim| claim.node == node).copied()).collect()
        });
        Ok(Self { claims: claims.collect(), metadata, content, munros })
    }

    /// What a viewer does with it.
    fn verify(&self) {
        let mut viewer = LiveVerifier::new(&self.metadata, LiveConfig::default()).expect("a key");
        let (mut verdicts, mut proven) = (vec![], vec![]);
        let chunks = (0..).zip(self.content.chunks(CHUNK_SIZE));
        if self.metadata.integrity == IntegrityMethod::SignAll {
            for ((chunk, data), munro) in chunks.zip(&self.munros) {
                let (time, signature) = (munro.time, &munro.signature);
                assert!(viewer.offer_signed(Self::NOW, chunk, data, time, signature, &mut proven).is_ok());
            }
        } else {
            assert!(viewer.offer(Self::NOW, &self.munros[0], &mut proven).is_ok());
            let unverified = chunks.zip(&self.claims).map(|((chunk, data), claims)| Unverified {
                chunk,
                data,
                claims: [claims, &[]],
            });
            viewer.verify(&unverified.collect::<Vec<_>>(), &mut verdicts, &mut proven);
            assert!(verdicts.iter().all(|verdict| *verdict == Verdict::Accepted));
        }
    }
}

/// All that is verified for a chunk: its part of a munro with the hashes below it, or its own signature. Says what part of
/// a core that is for a stream of 10 Mbit/s.
fn each_chunk(c: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let mut group = c.benchmark_group("live verifier, 32 chunks of 1 KiB");
    group.throughput(Throughput::Elements(CHUNKS as u64));
    for (name, integrity) in [("munro", IntegrityMethod::UnifiedMerkleTree), ("sign all", IntegrityMethod::SignAll)] {
        for algorithm in SignatureAlgorithm::ALL {
            let stretch = Stretch::new(integrity, algorithm)?;
            let took = |_| {
                let begun = Instant::now();
                stretch.verify();
                begun.elapsed().as_secs_f64()
            };
            let best = (0..50).map(took).fold(f64::INFINITY, f64::min);
            let part = best * 10e6 / 8.0 / (CHUNKS * CHUNK_SIZE) as f64;
            println!(
                "{name}, {algorithm}: {:.2} µs a chunk, {:.2} % of a core at 10 Mbit/s",
                best * 1e6 / CHUNKS as f64,
                part * 100.0
            );
            group.bench_function(format!("{name}/{algorithm}"), |b| b.iter(|| stretch.verify()));
        }
    }
    group.finish();
    Ok(())
}

criterion_group!(benches, signature);
criterion_main!(benches);
