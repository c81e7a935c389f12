//! A signed munro: what its signature costs who sends and who receives it, for each algorithm.
#![allow(missing_docs, reason = "criterion's macros")]

use std::{error::Error, hint::black_box};

use criterion::{Criterion, criterion_group, criterion_main};
use p256::ecdsa::{Signature, VerifyingKey, signature::MultipartVerifier};
use ppsp_core::signature::{PrivateKey, SignatureAlgorithm, Signer};

/// Chunk specification, timestamp and hash: what a signature covers (RFC 7574 §6.1.2.2).
const MUNRO: [&[u8]; 3] = [&[1; 8], &[2; 8], &[3; 32]];

fn signature(c: &mut Criterion) {
    each_algorithm(c).expect("keys sign");
    without_ring(c).expect("the key signs");
}

fn each_algorithm(c: &mut Criterion) -> Result<(), Box<dyn Error>> {
    // RSASHA1 is not signed with, and verified as RSASHA256 is.
    for algorithm in SignatureAlgorithm::ALL.into_iter().filter(|algorithm| *algorithm != SignatureAlgorithm::RsaSha1) {
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

criterion_group!(benches, signature);
criterion_main!(benches);
