use super::*;
use crate::{
    Bin, ChunkAddressing, ChunkRange, Claim, Hash, HashAlg, IntegrityMethod, RangeSet, SwarmMetadata, Tree,
    TreeBuilder, Unverified, Verdict, hash_pairs, is_filled,
    signature::{PrivateKey, PublicKey, SignError, SignatureAlgorithm, Signer},
    tree::tests::{naive, noise},
    uncles,
};
use core::time::Duration;
use proptest::prelude::*;
use std::{
    boxed::Box,
    collections::BTreeMap,
    string::ToString,
    sync::{Arc, Mutex},
    vec,
    vec::Vec,
};

const SIZE: usize = 512;

fn key(seed: u8) -> PrivateKey {
    PrivateKey::generate(SignatureAlgorithm::Ed25519, &[seed; 32]).unwrap()
}

fn metadata() -> SwarmMetadata {
    SwarmMetadata { chunk_size: SIZE as u32, ..SwarmMetadata::of_key(key(1).public_key()) }
}

fn sign_all() -> SwarmMetadata {
    SwarmMetadata { integrity: IntegrityMethod::SignAll, ..metadata() }
}

fn at(seconds: u64) -> NtpTime {
    NtpTime::from_unix_micros((1_800_000_000 + seconds) * 1_000_000)
}

/// A stream that has ended: one munro a second.
struct Stream {
    content: Vec<u8>,
    width: u64,
    munros: Vec<Munro>,
    /// All nodes below and above munros, with those that are not filled and those that are empty.
    nodes: BTreeMap<Bin, Hash>,
    tree: Tree,
}

impl Stream {
    fn new(len: usize, width: u64) -> Self {
        Self::of(&metadata(), len, width)
    }

    fn of(metadata: &SwarmMetadata, len: usize, width: u64) -> Self {
        let content = noise(len, 3);
        let (mut munros, mut filled) = (vec![], BTreeMap::new());
        let mut sink = |node: Bin, hash: &Hash| assert!(filled.insert(node, *hash).is_none(), "{node:?} twice");
        let mut source = LiveSource::new(metadata, Signing::Rfc, width as u32, Box::new(key(1))).unwrap();
        for (i, chunk) in content.chunks(SIZE).enumerate() {
            munros.extend(source.push(at(i as u64 / width), chunk, &mut sink).unwrap());
        }
        let finished = source.finish(at((len / SIZE) as u64 / width), &mut sink).unwrap();
        munros.extend(finished.munro);
        let (root, mut nodes) = naive(metadata.hash, SIZE, &content);
        let tree = finished.tree.unwrap();
        assert_eq!(tree.root, root);
        let expected: BTreeMap<_, _> = nodes
            .iter()
            .filter(|(node, _)| is_filled(**node, tree.chunks))
            .map(|(node, hash)| (*node, *hash))
            .collect();
        assert_eq!(filled, expected, "each filled node once");
        // Up to munros that are wider than all there is.
        let empty = Hash::empty(metadata.hash);
        let mut top = crate::root_bin(tree.chunks);
        while top.range().len() < width {
            let mut hash = nodes[&top];
            hash_pairs(metadata.hash, &[[hash, empty]], core::slice::from_mut(&mut hash));
            top = top.parent().unwrap();
            nodes.insert(top, hash);
        }
        Self { content, width, munros, nodes, tree }
    }

    fn chunk(&self, chunk: u64) -> &[u8] {
        self.content.chunks(SIZE).nth(chunk as usize).unwrap()
    }

    /// The hashes from a chunk to its munro; behind the end they are zeros.
    fn uncles(&self, chunk: u64) -> Vec<Claim> {
        let munro = Bin::at(self.width.ilog2(), chunk).unwrap();
        let hash = |node| self.nodes.get(&node).copied().unwrap_or(Hash::empty(HashAlg::Sha256));
        uncles(chunk, munro).map(|node| Claim { node, hash: hash(node) }).collect()
    }

    fn viewer(&self) -> LiveVerifier {
        LiveVerifier::new(&metadata(), LiveConfig::default()).unwrap()
    }
}

fn verify(viewer: &mut LiveVerifier, chunk: u64, data: &[u8], claims: &[Claim]) -> (Verdict, Vec<Claim>) {
    let (mut verdicts, mut proven) = (vec![], vec![]);
    viewer.verify(&[Unverified { chunk, data, claims: [claims, &[]] }], &mut verdicts, &mut proven);
    (verdicts[0], proven)
}

// RFC 7574 §6.1.2, last paragraph: the tree of the finished stream is the one of static content.
#[test]
fn a_finished_stream_is_static_content() {
    for width in [2_u64, 4, 8, 32] {
        for chunks in 1..=3 * width {
            for tail in [0, 1, SIZE - 1] {
                let stream = Stream::new((chunks as usize - 1) * SIZE + if tail == 0 { SIZE } else { tail }, width);
                let mut builder = TreeBuilder::new(HashAlg::Sha256, SIZE as u32);
                builder.push(&stream.content, &mut |_, _| ());
                assert_eq!(stream.tree, builder.finish(&mut |_, _| ()));
                assert_eq!(stream.munros.len() as u64, chunks.div_ceil(width));
                for (i, munro) in (0..).zip(&stream.munros) {
                    assert_eq!(munro.node.range(), ChunkRange::with_len(i * width, width).unwrap());
                    assert_eq!(munro.hash, stream.nodes[&munro.node], "{chunks} chunks, width {width}");
                }
                // A recorder comes to the same, with every hash of a filled node.
                let mut recorder = stream.viewer();
                let mut known = BTreeMap::new();
                let mut proven = vec![];
                for munro in stream.munros.iter().rev() {
                    recorder.offer(at(0), munro, &mut proven).unwrap();
                }
                assert_eq!(recorder.tree(&mut proven), None, "the last chunk is missing");
                for chunk in (0..chunks).rev() {
                    let (verdict, new) = verify(&mut recorder, chunk, stream.chunk(chunk), &stream.uncles(chunk));
                    assert_eq!(verdict, Verdict::Accepted);
                    known.extend(new.into_iter().map(|claim| (claim.node, claim.hash)));
                    recorder.forget(
                        &RangeSet::from(ChunkRange::new(chunk, chunks - 1).unwrap()),
                        ChunkRange::single(chunk),
                    );
                }
                assert_eq!(recorder.end(), chunks);
                assert_eq!(recorder.tree(&mut proven).as_ref(), Some(&stream.tree));
                known.extend(proven.into_iter().map(|claim| (claim.node, claim.hash)));
                for (node, hash) in &stream.nodes {
                    assert!(
                        !is_filled(*node, chunks) || known.get(node) == Some(hash),
                        "{node:?} of {chunks}, {width}"
                    );
                }
            }
        }
    }
}

#[test]
fn nothing_is_no_stream() {
    let source = LiveSource::new(&metadata(), Signing::Rfc, 2, Box::new(key(1))).unwrap();
    assert_eq!(source.finish(at(0), &mut |_, _| ()).unwrap(), Finished { munro: None, tree: None });
}

/// A signer that shows what it signs, and fails when it is told to.
#[derive(Clone, Debug)]
struct Recorder {
    key: PublicKey,
    seen: Arc<Mutex<Vec<Vec<u8>>>>,
    fails: Arc<Mutex<bool>>,
}

impl Recorder {
    fn new() -> Self {
        let key = key(1).public_key().clone();
        Self { key, seen: Arc::default(), fails: Arc::default() }
    }
}

impl Signer for Recorder {
    fn public_key(&self) -> &PublicKey {
        &self.key
    }

    fn sign(&mut self, message: &[&[u8]]) -> Result<Vec<u8>, SignError> {
        if *self.fails.lock().unwrap() {
            return Err(SignError("the token is not plugged in".into()));
        }
        self.seen.lock().unwrap().push(message.concat());
        Ok(vec![0; 64])
    }
}

// RFC 7574 §6.1.2.2 and §6.1.1: chunk specification, timestamp, hash or chunk, in that order.
#[test]
fn what_is_signed() {
    let munro = |addressing, signing, integrity| {
        let signer = Recorder::new();
        let metadata = SwarmMetadata { addressing, integrity, ..metadata() };
        let mut source = LiveSource::new(&metadata, signing, 2, Box::new(signer.clone())).unwrap();
        let munros: Vec<Munro> =
            (0..4).filter_map(|i| source.push(at(7), &[i; SIZE], &mut |_, _| ()).unwrap()).collect();
        let last = munros.last().unwrap().clone();
        let seen = signer.seen.lock().unwrap().last().unwrap().clone();
        (last, seen)
    };
    let umt = IntegrityMethod::UnifiedMerkleTree;
    let time = at(7).to_bits().to_be_bytes();
    for (addressing, spec) in [
        (ChunkAddressing::Range32, vec![0, 0, 0, 2, 0, 0, 0, 3]),
        (ChunkAddressing::Bin32, vec![0, 0, 0, 5]),
        (ChunkAddressing::Bin64, vec![0, 0, 0, 0, 0, 0, 0, 5]),
        (ChunkAddressing::Range64, vec![0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3]),
        (ChunkAddressing::Byte64, vec![0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 7, 255]),
    ] {
        let (munro, message) = munro(addressing, Signing::Rfc, umt);
        assert_eq!(munro.node, Bin::new(5).unwrap());
        assert_eq!(message, [&spec[..], &time, munro.hash.as_bytes()].concat(), "{addressing:?}");
    }
    let (munro_of_libswift, message) = munro(ChunkAddressing::Range32, Signing::Libswift, umt);
    assert_eq!(message, munro_of_libswift.hash.as_bytes());
    let (one, message) = munro(ChunkAddressing::Range32, Signing::Rfc, IntegrityMethod::SignAll);
    assert_eq!(one.node, Bin::leaf(3).unwrap());
    assert_eq!(message, [&[0, 0, 0, 3, 0, 0, 0, 3][..], &time, &[3; SIZE]].concat());
}

#[test]
fn a_source_refuses_what_is_no_chunk_and_signs_later_what_it_could_not() {
    let signer = Recorder::new();
    let mut source = LiveSource::new(&metadata(), Signing::Rfc, 2, Box::new(signer.clone())).unwrap();
    let mut nothing = |_: Bin, _: &Hash| ();
    assert!(matches!(source.push(at(0), &[], &mut nothing), Err(SourceError::ChunkLength)));
    assert!(matches!(source.push(at(0), &[0; SIZE + 1], &mut nothing), Err(SourceError::ChunkLength)));
    assert!(source.push(at(0), &[0; SIZE], &mut nothing).unwrap().is_none());
    *signer.fails.lock().unwrap() = true;
    let error = source.push(at(1), &[1; SIZE], &mut nothing).unwrap_err();
    assert_eq!(error.to_string(), "cannot sign: the token is not plugged in");
    assert!(matches!(source.push(at(2), &[2; SIZE], &mut nothing), Err(SourceError::Sign(_))));
    assert_eq!(source.next_chunk(), 2);
    *signer.fails.lock().unwrap() = false;
    // A clock that was set back does not show.
    let late = source.push(at(9), &[2; SIZE], &mut nothing).unwrap().unwrap();
    assert_eq!((late.node, late.time), (Bin::new(1).unwrap(), at(9)));
    let next = source.push(at(4), &[3; 7], &mut nothing).unwrap();
    assert!(next.is_none(), "a short chunk ends the stream, its munro is signed then");
    assert!(matches!(source.push(at(4), &[3; 7], &mut nothing), Err(SourceError::Ended)));
    let finished = source.finish(at(4), &mut nothing).unwrap();
    assert_eq!(finished.munro.map(|munro| (munro.node, munro.time)), Some((Bin::new(5).unwrap(), at(9))));
    assert_eq!(finished.tree.unwrap().content_length, 3 * SIZE as u64 + 7);
}

#[test]
fn what_cannot_be_a_stream() {
    let source = |metadata: &SwarmMetadata, width, signer| {
        LiveSource::new(metadata, Signing::Rfc, width, Box::new(key(signer))).err()
    };
    for width in [0, 1, 3, 48, 8192] {
        assert_eq!(source(&metadata(), width, 1), Some(LiveError::ChunksPerSignature));
    }
    assert_eq!(source(&metadata(), 32, 2), Some(LiveError::OtherKey));
    let fixed = SwarmMetadata::of_root(&Hash::from_bytes(&[1; 32]).unwrap());
    assert_eq!(source(&fixed, 32, 1), Some(LiveError::Method));
    let no_key = SwarmMetadata { id: crate::SwarmId::new(vec![13, 1]).unwrap(), ..metadata() };
    assert!(matches!(source(&no_key, 32, 1), Some(LiveError::Key(_))));
    assert!(matches!(LiveVerifier::new(&no_key, LiveConfig::default()), Err(LiveError::Key(_))));
    let config = LiveConfig { chunks_per_signature: Some(3), ..LiveConfig::default() };
    assert!(matches!(LiveVerifier::new(&metadata(), config), Err(LiveError::ChunksPerSignature)));
}

#[test]
fn a_munro_is_refused_for_each_reason() {
    let stream = Stream::new(16 * SIZE, 4);
    let [first, second, third, last] = &stream.munros[..] else { panic!() };
    let mut proven = vec![];
    let mut offer = |viewer: &mut LiveVerifier, now, munro: &Munro| viewer.offer(now, munro, &mut proven);
    let mut viewer = stream.viewer();

    // RFC 7574 §6.1.2.4: too old, MUST discard. §12.6.5, threat INTEGRITY.2.
    assert_eq!(offer(&mut viewer, at(32), first), Err(Refusal::TooOld));
    assert_eq!(offer(&mut viewer, at(31), second), Ok(Offered::New));
    assert_eq!(viewer.rightmost(), Some(second));
    // What lies before the last one may be as old as it is; what is in the future is refused.
    assert_eq!(offer(&mut viewer, at(1000), first), Ok(Offered::New));
    let mut early = stream.viewer();
    assert_eq!(
        early.offer(NtpTime::from_unix_micros(at(2).to_unix_micros() - 10_000_001), third, &mut vec![]),
        Err(Refusal::TooNew)
    );
    assert_eq!(
        early.offer(NtpTime::from_unix_micros(at(2).to_unix_micros() - 10_000_000), third, &mut vec![]),
        Ok(Offered::New)
    );

    // Width, alignment, hash, signature.
    let node = Bin::at(3, 8).unwrap();
    assert_eq!(offer(&mut viewer, at(3), &Munro { node, ..third.clone() }), Err(Refusal::Misplaced));
    assert_eq!(offer(&mut viewer, at(3), &Munro { node: Bin::ALL, ..third.clone() }), Err(Refusal::Misplaced));
    let hash = Hash::from_bytes(&[1; 20]).unwrap();
    assert_eq!(offer(&mut viewer, at(3), &Munro { hash, ..third.clone() }), Err(Refusal::Misplaced));
    let hash = Hash::empty(HashAlg::Sha256);
    assert_eq!(offer(&mut viewer, at(3), &Munro { hash, ..third.clone() }), Err(Refusal::Misplaced));
    for spoiled in [
        Munro { node: last.node, ..third.clone() },
        Munro { time: at(3), ..third.clone() },
        Munro { hash: last.hash, ..third.clone() },
        Munro { signature: last.signature.clone(), ..third.clone() },
        Munro { signature: [].into(), ..third.clone() },
    ] {
        assert_eq!(offer(&mut viewer, at(3), &spoiled), Err(Refusal::BadSignature));
    }
    // What is known is not checked once more.
    let unsigned = Munro { signature: [].into(), ..second.clone() };
    assert_eq!(offer(&mut viewer, at(3), &unsigned), Ok(Offered::Known));
    assert_eq!(offer(&mut viewer, at(3), last), Ok(Offered::New));

    // Forgotten: by us, or by the window.
    viewer.forget_before(8);
    assert_eq!(offer(&mut viewer, at(3), second), Err(Refusal::Forgotten));
    viewer.forget_before(1000);
    assert_eq!(viewer.rightmost(), Some(last), "the last one stays");
    let config = LiveConfig { window: Some(8), ..LiveConfig::default() };
    let mut small = LiveVerifier::new(&metadata(), config).unwrap();
    for munro in &stream.munros {
        assert_eq!(small.offer(at(3), munro, &mut vec![]), Ok(Offered::New));
    }
    assert!(small.munro_of(0).is_none() && small.munro_of(7).is_none() && small.munro_of(8).is_some());
    assert_eq!(small.offer(at(3), second, &mut vec![]), Err(Refusal::Forgotten));
    assert_eq!(small.tree(&mut vec![]), None);
    // Without a window nothing is.
    let mut all = LiveVerifier::new(&metadata(), LiveConfig { window: None, ..LiveConfig::default() }).unwrap();
    all.offer(at(3), last, &mut vec![]).unwrap();
    assert_eq!(all.offer(at(3), first, &mut vec![]), Ok(Offered::New));
}

#[test]
fn two_sources_with_one_key_are_told() {
    let stream = Stream::new(16 * SIZE, 4);
    let other = |seconds, chunks: u64| {
        let source = LiveSource::new(&metadata(), Signing::Rfc, 4, Box::new(key(1))).unwrap();
        let mut source = source.starting_at(chunks);
        let mut push = || source.push(at(seconds), &[9; SIZE], &mut |_, _| ()).unwrap();
        [push(), push(), push(), push()].into_iter().flatten().next().unwrap()
    };
    let mut viewer = stream.viewer();
    let mut proven = vec![];
    for munro in &stream.munros[..3] {
        viewer.offer(at(3), munro, &mut proven).unwrap();
    }
    // Another hash for a munro that is known.
    let twin = other(2, 8);
    let spoiled = Munro { signature: stream.munros[0].signature.clone(), ..twin.clone() };
    assert_eq!(viewer.offer(at(3), &spoiled, &mut proven), Err(Refusal::BadSignature));
    assert_eq!(viewer.offer(at(3), &twin, &mut proven), Err(Refusal::TwoSources));
    // Signed much later, for a place before.
    viewer.offer(at(3), &stream.munros[3], &mut proven).unwrap();
    let mut viewer = stream.viewer();
    viewer.offer(at(3), &stream.munros[3], &mut proven).unwrap();
    assert_eq!(viewer.offer(at(20), &other(20, 0), &mut proven), Err(Refusal::TwoSources));
    assert_eq!(viewer.offer(at(20), &stream.munros[2], &mut proven), Ok(Offered::New));

    // A source that starts again goes on where a munro begins, with a clock that is a little behind.
    let again = other(1, 14);
    assert_eq!(again.node.range(), ChunkRange::with_len(16, 4).unwrap());
    assert_eq!(viewer.offer(at(3), &again, &mut proven), Ok(Offered::New));
    assert_eq!(viewer.rightmost(), Some(&again));
}

#[test]
fn a_source_that_started_again_has_no_root() {
    let whole = Stream::new(23 * SIZE, 4);
    let source = LiveSource::new(&metadata(), Signing::Rfc, 4, Box::new(key(1))).unwrap();
    let mut source = source.starting_at(12);
    let mut nodes = BTreeMap::new();
    let mut sink = |node: Bin, hash: &Hash| assert!(nodes.insert(node, *hash).is_none());
    let mut munros = vec![];
    for chunk in 12..23 {
        munros.extend(source.push(at(chunk / 4), whole.chunk(chunk), &mut sink).unwrap());
    }
    let finished = source.finish(at(5), &mut sink).unwrap();
    munros.extend(finished.munro);
    assert_eq!(finished.tree, None);
    let hashes = |munros: &[Munro]| munros.iter().map(|munro| (munro.node, munro.hash)).collect::<Vec<_>>();
    assert_eq!(hashes(&munros), hashes(&whole.munros[3..]));
    assert!(nodes.iter().all(|(node, hash)| whole.nodes.get(node) == Some(hash)));
}

// RFC 7574 §5.1: leaves behind the end are empty. That they are can be proven, and nothing else.
#[test]
fn the_end_is_proven_by_empty_uncles() {
    let stream = Stream::new(10 * SIZE + 7, 8);
    let mut proven = vec![];
    let mut viewer = stream.viewer();
    for munro in &stream.munros {
        viewer.offer(at(2), munro, &mut proven).unwrap();
    }
    assert_eq!((viewer.end(), viewer.is_ended()), (16, false));
    let (verdict, new) = verify(&mut viewer, 8, stream.chunk(8), &stream.uncles(8));
    assert_eq!((verdict, viewer.end()), (Verdict::Accepted, 12), "whether chunk 11 is there cannot be told yet");
    assert!(new.iter().all(|claim| !claim.hash.is_empty()));
    // A short chunk is the last one, so nobody has to say what follows it.
    let mut spoiled = stream.chunk(10).to_vec();
    spoiled[0] ^= 1;
    assert_eq!(verify(&mut viewer, 10, &spoiled, &[]).0, Verdict::Corrupt);
    assert_eq!(verify(&mut viewer, 10, stream.chunk(10), &[]).0, Verdict::Accepted);
    assert_eq!(viewer.end(), 11);
    assert!(viewer.is_empty(Bin::leaf(11).unwrap()) && viewer.is_empty(Bin::at(2, 12).unwrap()));
    assert!(!viewer.is_empty(Bin::leaf(10).unwrap()) && !viewer.is_empty(Bin::at(2, 8).unwrap()));
    assert_eq!(verify(&mut viewer, 11, stream.chunk(10), &[]).0, Verdict::Corrupt, "behind the end");
    // A munro behind it is a source that started again.
    assert_eq!(verify(&mut viewer, 7, &stream.chunk(7)[1..], &stream.uncles(7)).0, Verdict::Corrupt);

    let stream = Stream::new(9 * SIZE, 8);
    let mut viewer = stream.viewer();
    viewer.offer(at(1), &stream.munros[1], &mut proven).unwrap();
    assert_eq!(verify(&mut viewer, 8, stream.chunk(8), &[]).0, Verdict::Unproven);
    let mut claims = stream.uncles(8);
    claims[0].hash = stream.munros[0].hash;
    assert_eq!(verify(&mut viewer, 8, stream.chunk(8), &claims).0, Verdict::Corrupt);
    assert_eq!(viewer.end(), 16);
    assert_eq!(verify(&mut viewer, 8, stream.chunk(8), &stream.uncles(8)).0, Verdict::Accepted);
    // Of a stream of whole chunks, too.
    assert_eq!((viewer.end(), viewer.is_ended()), (9, true));
}

#[test]
fn as_many_chunks_under_a_signature_as_the_latency_allows() {
    let chosen = |rate, size, micros| chunks_per_signature(rate, size, Duration::from_micros(micros));
    // 4 Mbit/s are 488 chunks a second.
    assert_eq!(chosen(500_000, 1024, 1_000_000), 256);
    assert_eq!(chosen(500_000, 1024, 100_000), 32);
    assert_eq!(chosen(500_000, 8192, 1_000_000), 32);
    // Exactly, and a microsecond less.
    assert_eq!(chosen(64 * 1024, 1024, 1_000_000), 64);
    assert_eq!(chosen(64 * 1024, 1024, 999_999), 32);
    for (rate, micros) in [(0, 0), (1, 1_000_000), (1 << 20, 0), (3 * 1024, 1_000_000)] {
        assert_eq!(chosen(rate, 1024, micros), 2, "RFC 7574 §6.1.2.1: larger than 1");
    }
    assert_eq!(chosen(u64::MAX, 512, 1_000_000), MAX_CHUNKS_PER_SIGNATURE);
    assert_eq!(chunks_per_signature(u64::MAX, 0, Duration::MAX), MAX_CHUNKS_PER_SIGNATURE);
}

#[test]
fn a_chunk_without_its_munro_proves_nothing() {
    let stream = Stream::new(16 * SIZE, 4);
    let mut viewer = stream.viewer();
    assert_eq!(verify(&mut viewer, 5, stream.chunk(5), &stream.uncles(5)).0, Verdict::Unproven);
    viewer.offer(at(0), &stream.munros[0], &mut vec![]).unwrap();
    // The munro's hash as a claim does not make it one.
    let mut claims = stream.uncles(5);
    claims.push(Claim { node: stream.munros[1].node, hash: stream.munros[1].hash });
    assert_eq!(verify(&mut viewer, 5, stream.chunk(5), &claims).0, Verdict::Unproven);
    let long = [stream.chunk(0), &[0]].concat();
    assert_eq!(verify(&mut viewer, 0, &long, &stream.uncles(0)).0, Verdict::Corrupt);
    assert_eq!(verify(&mut viewer, 0, &[], &stream.uncles(0)).0, Verdict::Corrupt);
}

// RFC 7574 §6.1.1.
#[test]
fn sign_all_takes_each_chunk_by_its_signature() {
    let stream = Stream::of(&sign_all(), 6 * SIZE + 5, 1);
    let mut viewer = LiveVerifier::new(&sign_all(), LiveConfig::default()).unwrap();
    let mut proven = vec![];
    let Some(one) = stream.munros.get(3).cloned() else { panic!() };
    assert_eq!(viewer.offer(at(3), &one, &mut proven), Err(Refusal::Misplaced), "a hash proves nothing here");
    let mut take = |chunk: u64, data: &[u8], munro: &Munro| {
        viewer.offer_signed(at(6), chunk, data, munro.time, &munro.signature, &mut proven)
    };
    assert_eq!(take(4, stream.chunk(3), &one), Err(Refusal::BadSignature));
    assert_eq!(take(3, stream.chunk(4), &one), Err(Refusal::BadSignature));
    assert_eq!(take(3, &[], &one), Err(Refusal::BadSignature));
    assert_eq!(take(3, stream.chunk(3), &one), Ok(Offered::New));
    assert_eq!(take(3, stream.chunk(3), &one), Ok(Offered::Known));
    for (chunk, munro) in (0..).zip(&stream.munros) {
        assert!(take(chunk, stream.chunk(chunk), munro).is_ok());
    }
    assert_eq!(viewer.tree(&mut proven).as_ref(), Some(&stream.tree));
    assert_eq!(viewer.munro_of(3), Some(&one));
    let tree = Stream::new(2 * SIZE, 2);
    let answer = tree.viewer().offer_signed(at(0), 0, tree.chunk(0), at(0), &one.signature, &mut proven);
    assert_eq!(answer, Err(Refusal::Misplaced));
}

// RFC 7574 §6.1.1: a chunk that was not signed is not kept, and so not part of the stream.
#[test]
fn in_sign_all_nothing_is_signed_in_place_of_a_chunk() {
    let signer = Recorder::new();
    let mut source = LiveSource::new(&sign_all(), Signing::Rfc, 1, Box::new(signer.clone())).unwrap();
    *signer.fails.lock().unwrap() = true;
    assert!(matches!(source.push(at(0), &[1; SIZE], &mut |_, _| ()), Err(SourceError::Sign(_))));
    *signer.fails.lock().unwrap() = false;
    assert!(matches!(source.push(at(0), &[2; SIZE], &mut |_, _| ()), Err(SourceError::Unsigned)));
    assert!(matches!(source.finish(at(0), &mut |_, _| ()), Err(SourceError::Unsigned)));
}

/// A source ends with a short chunk, and one with the same key goes on behind it: the short one is no less the source's.
#[test]
fn a_short_chunk_is_good_before_a_source_that_started_again() {
    for (metadata, width) in [(metadata(), 4), (sign_all(), 1)] {
        let stream = Stream::of(&metadata, 2 * SIZE + 5, width);
        let source = LiveSource::new(&metadata, Signing::Rfc, width as u32, Box::new(key(1))).unwrap();
        let mut source = source.starting_at(3);
        let mut viewer = LiveVerifier::new(&metadata, LiveConfig::default()).unwrap();
        let (mut next, mut proven) = (None, vec![]);
        let first = source.next_chunk();
        while next.is_none() {
            next = source.push(at(5), &[1; SIZE], &mut |_, _| ()).unwrap();
        }
        let next = next.unwrap();
        if width == 1 {
            let munro = &stream.munros[2];
            viewer.offer_signed(at(5), first, &[1; SIZE], next.time, &next.signature, &mut proven).unwrap();
            viewer.offer_signed(at(5), 2, stream.chunk(2), munro.time, &munro.signature, &mut proven).unwrap();
        } else {
            viewer.offer(at(5), &next, &mut proven).unwrap();
            viewer.offer(at(5), &stream.munros[0], &mut proven).unwrap();
        }
        assert_eq!(verify(&mut viewer, 2, stream.chunk(2), &stream.uncles(2)).0, Verdict::Accepted);
        assert_eq!((viewer.chunk_len(2), viewer.chunk_len(first)), (5, SIZE));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// In any order, with munros and chunks from anybody: what is accepted is the stream's, and in the end all of it is
    /// there.
    #[test]
    fn behaves_like_the_stream(ops in proptest::collection::vec(any::<u8>(), 0..600)) {
        crate::fuzzing::live(&ops);
    }

    #[test]
    fn memory_is_bounded_by_the_window(window in 0u64..40, jumps in proptest::collection::vec(0u64..200, 1..12)) {
        let config = LiveConfig { window: Some(window), max_age: Duration::MAX, ..LiveConfig::default() };
        let mut viewer = LiveVerifier::new(&metadata(), config).unwrap();
        let mut proven = vec![];
        let mut known = 0;
        for place in jumps {
            let source = LiveSource::new(&metadata(), Signing::Rfc, 2, Box::new(key(1))).unwrap().starting_at(place);
            let mut source = source;
            let mut push = || source.push(at(0), &[1; SIZE], &mut |_, _| ()).unwrap();
            let munro = [push(), push()].into_iter().flatten().next().unwrap();
            _ = viewer.offer(at(0), &munro, &mut proven);
            known = (0..250).step_by(2).filter(|&chunk| viewer.munro_of(chunk).is_some()).count() as u64;
            prop_assert!(known <= window.div_ceil(2).max(1) + 1);
        }
        prop_assert!(known > 0);
    }
}
