use super::*;
use proptest::prelude::*;
use std::{collections::BTreeSet, eprintln, format, string::String, sync::Mutex, vec, vec::Vec};

// FIPS 180-4 known answers for "abc".
#[test]
fn known_answers() {
    on_each_backend(|_| {
        assert_eq!(one(HashAlg::Sha1, b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(one(HashAlg::Sha224, b"abc"), "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7");
        assert_eq!(one(HashAlg::Sha256, b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert!(one(HashAlg::Sha384, b"abc").starts_with("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163"));
        assert!(one(HashAlg::Sha512, b"abc").starts_with("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea2"));
    });
}

// RFC 7574 §5.1: the parent of two empty hashes is empty; one empty child is hashed like any other.
#[test]
fn parents_of_empty_hashes() {
    on_each_backend(|_| {
        let zero = Hash::empty(HashAlg::Sha1);
        let mut leaf = [zero];
        hash_chunks(HashAlg::Sha1, &[b"abc"], &mut leaf);
        let mut out = [zero; 2];
        hash_pairs(HashAlg::Sha1, &[[zero, zero], [leaf[0], zero]], &mut out);
        assert!(out[0].is_empty());
        assert!(!out[1].is_empty());
    });
}

#[test]
fn codes_round_trip() {
    for alg in HashAlg::ALL {
        assert_eq!(HashAlg::from_code(alg.code()), Some(alg));
        assert_eq!(Hash::empty(alg).as_bytes().len(), alg.len());
    }
    assert_eq!(HashAlg::from_code(5), None);
    assert_eq!(Hash::from_bytes(&[0; 65]), None);
}

#[test]
fn one_byte_anywhere_makes_a_hash_not_empty() {
    for at in 0..64 {
        let mut bytes = [0; 64];
        assert!(Hash::from_bytes(&bytes).unwrap().is_empty());
        bytes[at] = 1;
        assert!(!Hash::from_bytes(&bytes).unwrap().is_empty());
    }
}

#[test]
fn every_length_and_count() {
    let content = noise(400 + 40 * 3);
    for alg in HashAlg::ALL {
        for len in 0..=300 {
            // Windows that differ in every message, and begin at any alignment.
            let messages: Vec<&[u8]> = (0..40).map(|i| &content[3 * i..3 * i + len]).collect();
            let expected: Vec<Hash> = messages.iter().map(|message| reference(alg, message)).collect();
            on_each_backend(|backend| {
                for count in 1..=40 {
                    let mut out = vec![other(); count];
                    hash_chunks(alg, &messages[..count], &mut out);
                    assert_eq!(out, expected[..count], "{backend:?} {alg:?}: {count} of {len} bytes");
                }
            });
        }
    }
}

#[test]
fn every_count_of_pairs() {
    for alg in HashAlg::ALL {
        let bytes = noise(2 * 40 * alg.len());
        let mut hashes: Vec<Hash> = bytes.chunks(alg.len()).map(|bytes| Hash::from_bytes(bytes).unwrap()).collect();
        // One child empty, both empty.
        for i in [3, 8, 9, 17, 40, 41, 42, 43, 78] {
            hashes[i] = Hash::empty(alg);
        }
        let pairs = hashes.as_chunks().0;
        let expected: Vec<Hash> = pairs.iter().map(|pair| parent(alg, pair)).collect();
        on_each_backend(|backend| {
            for count in 1..=40 {
                let mut out = vec![other(); count];
                hash_pairs(alg, &pairs[..count], &mut out);
                assert_eq!(out, expected[..count], "{backend:?} {alg:?}: {count}");
            }
        });
    }
}

/// A pair is what its bytes are, also where they are not the function's own.
#[test]
fn pairs_of_hashes_of_another_length() {
    let bytes = noise(128);
    let hashes = [0, 1, 19, 20, 21, 28, 32, 33, 48, 63, 64].map(|len| Hash::from_bytes(&bytes[..len]).unwrap());
    let pairs: Vec<[Hash; 2]> = hashes.into_iter().flat_map(|a| hashes.map(|b| [a, b])).collect();
    for alg in HashAlg::ALL {
        let expected: Vec<Hash> = pairs.iter().map(|pair| parent(alg, pair)).collect();
        on_each_backend(|backend| {
            let mut out = vec![other(); pairs.len()];
            hash_pairs(alg, &pairs, &mut out);
            assert_eq!(out, expected, "{backend:?} {alg:?}");
        });
    }
}

#[test]
fn stops_at_the_shorter() {
    let messages: Vec<&[u8]> = vec![b"a"; 20];
    let hash = reference(HashAlg::Sha256, b"a");
    on_each_backend(|_| {
        for (messages_len, out_len) in [(20, 0), (0, 20), (20, 17), (17, 20), (20, 1)] {
            let both = messages_len.min(out_len);
            let mut out = vec![other(); out_len];
            hash_chunks(HashAlg::Sha256, &messages[..messages_len], &mut out);
            assert_eq!(out[..both], vec![hash; both]);
            assert_eq!(out[both..], vec![other(); out_len - both]);

            let mut out = vec![other(); out_len];
            hash_pairs(HashAlg::Sha256, &vec![[hash; 2]; messages_len], &mut out);
            assert_eq!(out[..both], vec![parent(HashAlg::Sha256, &[hash; 2]); both]);
            assert_eq!(out[both..], vec![other(); out_len - both]);
        }
    });
}

#[test]
fn a_backend_that_is_not_available_is_not_selected() {
    let _alone = SELECTING.lock().unwrap();
    for backend in HashBackend::ALL {
        let before = HashBackend::current();
        assert_eq!(backend.select(), backend.is_available());
        assert_eq!(HashBackend::current(), if backend.is_available() { backend } else { before });
    }
    assert!(HashBackend::best().select());
}

proptest! {
    #[test]
    fn any_lengths_in_one_call(
        alg in prop::sample::select(&HashAlg::ALL[..]),
        runs in prop::collection::vec((prop_oneof![0_usize..300, Just(1024), 0_usize..5000], 1_usize..40), 0..8),
    ) {
        let content = noise(5000 + 400);
        let lens = runs.iter().flat_map(|&(len, count)| core::iter::repeat_n(len, count));
        let messages: Vec<&[u8]> = lens.enumerate().map(|(i, len)| &content[i..i + len]).collect();
        let expected: Vec<Hash> = messages.iter().map(|message| reference(alg, message)).collect();
        on_each_backend(|backend| {
            let mut out = vec![other(); messages.len()];
            hash_chunks(alg, &messages, &mut out);
            assert_eq!(out, expected, "{backend:?}");
        });
    }

    #[test]
    fn any_pairs(
        alg in prop::sample::select(&HashAlg::ALL[..]),
        seeds in prop::collection::vec((any::<Option<u8>>(), any::<Option<u8>>()), 0..70),
    ) {
        let content = noise(64 + 255);
        let hash = |seed: Option<u8>| match seed {
            Some(seed) => Hash::from_bytes(&content[usize::from(seed)..][..alg.len()]).unwrap(),
            None => Hash::empty(alg),
        };
        let pairs: Vec<[Hash; 2]> = seeds.into_iter().map(|(a, b)| [hash(a), hash(b)]).collect();
        let expected: Vec<Hash> = pairs.iter().map(|pair| parent(alg, pair)).collect();
        on_each_backend(|backend| {
            let mut out = vec![other(); pairs.len()];
            hash_pairs(alg, &pairs, &mut out);
            assert_eq!(out, expected, "{backend:?}");
        });
    }
}

/// Only one test at a time selects backends: so each has really hashed by the one it names.
static SELECTING: Mutex<()> = Mutex::new(());

/// Those that tests have passed over.
static SKIPPED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

fn on_each_backend(test: impl Fn(HashBackend)) {
    // A test that failed has not broken it.
    let _alone = SELECTING.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    for backend in HashBackend::ALL {
        if backend.select() {
            test(backend);
            assert_eq!(HashBackend::current(), backend);
        } else if SKIPPED.lock().unwrap().insert(format!("{backend:?}")) {
            eprintln!("skipped, this processor does not have it: {backend:?}");
        }
    }
    assert!(HashBackend::best().select());
}

fn one(alg: HashAlg, data: &[u8]) -> String {
    let mut out = [Hash::empty(alg)];
    hash_chunks(alg, &[data], &mut out);
    format!("{:?}", out[0])
}

fn reference(alg: HashAlg, message: &[u8]) -> Hash {
    let bytes = match alg {
        HashAlg::Sha1 => Sha1::digest(message).to_vec(),
        HashAlg::Sha224 => Sha224::digest(message).to_vec(),
        HashAlg::Sha256 => Sha256::digest(message).to_vec(),
        HashAlg::Sha384 => Sha384::digest(message).to_vec(),
        HashAlg::Sha512 => Sha512::digest(message).to_vec(),
    };
    Hash::from_bytes(&bytes).unwrap()
}

fn parent(alg: HashAlg, [left, right]: &[Hash; 2]) -> Hash {
    match [left, right].iter().all(|child| child.as_bytes().iter().all(|&byte| byte == 0)) {
        true => Hash::empty(alg),
        false => reference(alg, &[left.as_bytes(), right.as_bytes()].concat()),
    }
}

/// What is in no result: places are overwritten as a whole.
fn other() -> Hash {
    Hash::from_bytes(&[0xee; 64]).unwrap()
}

fn noise(len: usize) -> Vec<u8> {
    let mut state = 1_u64;
    core::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    })
    .take(len)
    .collect()
}
