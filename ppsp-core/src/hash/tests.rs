use super::*;
use std::format;

fn one(alg: HashAlg, data: &[u8]) -> std::string::String {
    let mut out = [Hash::empty(alg)];
    hash_chunks(alg, &[data], &mut out);
    format!("{:?}", out[0])
}

// FIPS 180-4 known answers for "abc".
#[test]
fn known_answers() {
    assert_eq!(one(HashAlg::Sha1, b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    assert_eq!(one(HashAlg::Sha224, b"abc"), "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7");
    assert_eq!(one(HashAlg::Sha256, b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert!(one(HashAlg::Sha384, b"abc").starts_with("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded163"));
    assert!(one(HashAlg::Sha512, b"abc").starts_with("ddaf35a193617abacc417349ae20413112e6fa4e89a97ea2"));
}

// RFC 7574 §5.1: the parent of two empty hashes is empty; one empty child is hashed like any other.
#[test]
fn parents_of_empty_hashes() {
    let zero = Hash::empty(HashAlg::Sha1);
    let mut leaf = [zero];
    hash_chunks(HashAlg::Sha1, &[b"abc"], &mut leaf);
    let mut out = [zero; 2];
    hash_pairs(HashAlg::Sha1, &[[zero, zero], [leaf[0], zero]], &mut out);
    assert!(out[0].is_empty());
    assert!(!out[1].is_empty());
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
