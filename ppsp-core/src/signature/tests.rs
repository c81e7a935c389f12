use alloc::{format, string::ToString, vec};

use ed25519_dalek::pkcs8::KeypairBytes;
use pkcs8::{EncodePrivateKey, LineEnding};

use super::*;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn parse(text: &str) -> Result<PublicKey, KeyError> {
    PublicKey::parse(&hex(text))
}

#[test]
fn numbers_are_those_of_dnssec() {
    let numbers = SignatureAlgorithm::ALL.map(SignatureAlgorithm::code);
    assert_eq!(numbers, [5, 8, 13, 14, 15]);
    for code in 0..=u8::MAX {
        let algorithm = SignatureAlgorithm::from_code(code);
        assert_eq!(algorithm.map(SignatureAlgorithm::code), numbers.contains(&code).then_some(code));
    }
    // RFC 7574 §7.7: default is ECDSAP256SHA256.
    assert_eq!(SignatureAlgorithm::default().to_string(), "ECDSAP256SHA256");
}

/// A number of this many bytes: the first one, zeros, and the last one.
fn number(first: u8, bytes: usize, last: u8) -> Vec<u8> {
    let mut number = vec![0; bytes];
    (number[0], number[bytes - 1]) = (first, last);
    number
}

#[test]
fn rsa_keys_in_one_form_only() {
    let key = |exponent: &[u8], modulus: &[u8]| {
        let length = exponent.len() as u8;
        PublicKey::parse(&[&[8, length], exponent, modulus].concat()).map(|key| key.signature_len())
    };
    let (e, n) = (&[1, 0, 1][..], number(0x80, 128, 1));
    assert_eq!(key(e, &n), Ok(128));
    // RFC 7574 §8.9: the signature is as long as the modulus, also where that is no whole number of bytes or words.
    assert_eq!(key(e, &number(0x01, 129, 1)), Ok(129));
    assert_eq!(key(e, &number(0xff, 512, 1)), Ok(512));
    // 1023 and 4097 bits; an even one; RFC 3110 §2: leading zero octets are prohibited.
    for wrong in [number(0x7f, 128, 1), number(1, 513, 1), number(0x80, 128, 2), number(0, 129, 1), vec![]] {
        assert_eq!(key(e, &wrong), Err(KeyError::Modulus));
    }
    for right in [&[3][..], &[1, 0, 0, 0, 1], &[1, 0xff, 0xff, 0xff, 0xff]] {
        assert_eq!(key(right, &n), Ok(128));
    }
    for wrong in [&[][..], &[1], &[2], &[1, 0, 0], &[0, 1, 0, 1], &[2, 0, 0, 0, 1], &[1; 6], &[1; 255]] {
        assert_eq!(key(wrong, &n), Err(KeyError::Exponent), "{wrong:?}");
    }
    // RFC 3110 §2: a zero octet and two of length, which are for more than 255 bytes.
    assert_eq!(PublicKey::parse(&[&[8, 0, 0, 3], e, &n].concat()), Err(KeyError::Exponent));
    assert_eq!(PublicKey::parse(&[&[8, 0, 1, 0][..], &[1; 256], &n].concat()), Err(KeyError::Exponent));
    for short in [&[8][..], &[8, 3], &[8, 3, 1, 0]] {
        assert_eq!(PublicKey::parse(short), Err(KeyError::Length));
    }
    assert_eq!(PublicKey::parse(&[8, 3, 1, 0, 1]), Err(KeyError::Modulus));
}

#[test]
fn points_in_one_form_only() {
    // RFC 6605 §6.1.
    let p256 = "0d1a88c88615d437fbb8bf9e1942a1929f28562706ae6c2bd399e7b1bfb6d1e9e7\
                5b92b4aa42917ae1c61b701ef035c3fe7be3009cbafe5a2f71316c902dcf0d00";
    let x_of_another = p256.replacen("0d1a", "0d1b", 1);
    let key = parse(p256).unwrap();
    assert_eq!((key.algorithm(), key.signature_len()), (SignatureAlgorithm::EcdsaP256Sha256, 64));
    assert_eq!(key.swarm_id().to_string(), *p256);
    assert_eq!(parse(&x_of_another), Err(KeyError::Point));
    assert_eq!(parse(&format!("0d{}", "00".repeat(64))), Err(KeyError::Point));
    assert_eq!(parse(&format!("0d{}", "ff".repeat(64))), Err(KeyError::Point));
    assert_eq!(parse(&format!("0e{}", "00".repeat(96))), Err(KeyError::Point));
    // Compressed, with the form's number before it, or cut short.
    assert_eq!(parse(&format!("0d02{}", &p256[2..66])), Err(KeyError::Length));
    assert_eq!(parse(&format!("0d04{}", &p256[2..])), Err(KeyError::Length));
    assert_eq!(parse(&p256[..128]), Err(KeyError::Length));
    // The same key of another algorithm.
    assert_eq!(parse(&p256.replacen("0d", "0e", 1)), Err(KeyError::Length));
    assert_eq!(parse(&p256.replacen("0d", "07", 1)), Err(KeyError::Algorithm(7)));
    assert_eq!(parse(""), Err(KeyError::Length));
    assert_eq!(parse("0d"), Err(KeyError::Length));
}

#[test]
fn ed25519_keys_that_mean_nothing() {
    let y = |low: &str, middle: &str, high: &str| parse(&format!("0f{low}{}{high}", middle.repeat(30)));
    // RFC 8032 §5.1.7, test 1.
    assert!(parse("0fd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a").is_ok());
    // The neutral element, the point of order two, those of order four: anybody can sign with them.
    assert_eq!(y("01", "00", "00"), Err(KeyError::Point));
    assert_eq!(y("ec", "ff", "7f"), Err(KeyError::Point));
    assert_eq!(y("00", "00", "00"), Err(KeyError::Point));
    assert_eq!(y("00", "00", "80"), Err(KeyError::Point));
    // RFC 8032 §5.1.3: a y of p or more is no encoding: 3 is the y of a sound key, p + 3 another form of it.
    assert!(y("03", "00", "00").is_ok());
    assert_eq!(y("f0", "ff", "7f"), Err(KeyError::Point));
    assert_eq!(y("f0", "ff", "ff"), Err(KeyError::Point));
    assert_eq!(y("ff", "ff", "7f"), Err(KeyError::Point));
    // No point has this y.
    assert_eq!(y("02", "00", "00"), Err(KeyError::Point));
    assert_eq!(parse(&format!("0f{}", "03".repeat(31))), Err(KeyError::Length));
}

#[test]
fn signing_takes_no_chance() {
    // RFC 6979 appendix A.2.5, SHA-256; A.2.6, SHA-384; RFC 8032 §5.1.7, test 2.
    let p256 = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
    let p256 = p256::ecdsa::SigningKey::from_slice(&hex(p256)).unwrap().to_pkcs8_der().unwrap();
    let p384 = "6b9d3dad2e1b8c1c05b19875b6659f4de23c3b667bf297ba9aa47740787137d8\
                96d5724e4c70a825f872c9ea60d2edf5";
    let p384 = p384::ecdsa::SigningKey::from_slice(&hex(p384)).unwrap().to_pkcs8_der().unwrap();
    let ed25519 = hex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
    let ed25519 = KeypairBytes { secret_key: ed25519.try_into().unwrap(), public_key: None }.to_pkcs8_der().unwrap();
    let answers: [(_, &[&[u8]], _); 3] = [
        (
            p256,
            &[b"sam", b"", b"ple"],
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716\
             f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8",
        ),
        (
            p384,
            &[b"sample"],
            "94edbb92a5ecb8aad4736e56c691916b3f88140666ce9fa73d64c4ea95ad133c\
             81a648152e44acf96e36dd1e80fabe46\
             99ef4aeb15f178cea1fe40db2603138f130e740a19624526203b6351d0a3a94f\
             a329c145786e679e7b82c71a38628ac8",
        ),
        (
            ed25519,
            &[&[0x72]],
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
    ];
    for (der, message, signature) in answers {
        let mut key = PrivateKey::from_der(der.as_bytes()).unwrap();
        assert_eq!(key.sign(message).unwrap(), hex(signature));
        assert_eq!(key.public_key().verify(message, &hex(signature)), Ok(()));
    }
}

#[test]
fn keys_are_written_and_read() {
    for algorithm in SignatureAlgorithm::ALL {
        let Ok(mut key) = PrivateKey::generate(algorithm, &[3; 32]) else {
            assert_eq!(algorithm, SignatureAlgorithm::RsaSha1);
            continue;
        };
        let pem = key.to_pem().unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n") && pem.len() < PrivateKey::MAX_PEM_LEN);
        let mut again = PrivateKey::from_pem(&pem).unwrap().with_algorithm(algorithm).unwrap();
        assert_eq!(again.public_key(), key.public_key());
        assert_eq!(key.public_key().algorithm(), algorithm);
        let signature = key.sign(&[b"a", b"b"]).unwrap();
        assert_eq!(again.sign(&[b"ab"]).unwrap(), signature);
        assert_eq!(again.public_key().verify(&[b"ab"], &signature), Ok(()));
        // The same seed makes the same key, another one another.
        let same = PrivateKey::generate(algorithm, &[3; 32]).unwrap();
        assert_eq!(same.public_key(), key.public_key());
        let other = PrivateKey::generate(algorithm, &[4; 32]).unwrap();
        assert_eq!(other.public_key().verify(&[b"ab"], &signature), Err(BadSignature));
        // Nothing private is shown.
        assert_eq!(
            format!("{key:?}"),
            format!("PrivateKey(PublicKey({algorithm}, {}), …)", key.public_key().swarm_id())
        );
    }
}

#[test]
fn rsasha1_signs_for_old_receivers_only() {
    let rsa = || PrivateKey::generate(SignatureAlgorithm::RsaSha256, &[3; 32]).unwrap();
    if cfg!(feature = "rsasha1-signing") {
        let mut key = rsa().with_algorithm(SignatureAlgorithm::RsaSha1).unwrap();
        let signature = key.sign(&[b"x"]).unwrap();
        assert_eq!(key.public_key().verify(&[b"x"], &signature), Ok(()));
        // The hash is part of what is signed.
        assert_eq!(rsa().public_key().verify(&[b"x"], &signature), Err(BadSignature));
    } else {
        let refused =
            |made: Result<PrivateKey, PrivateKeyError>| assert_eq!(made.err(), Some(PrivateKeyError::NotSigning));
        refused(rsa().with_algorithm(SignatureAlgorithm::RsaSha1));
        refused(PrivateKey::generate(SignatureAlgorithm::RsaSha1, &[3; 32]));
    }
    let wrong = rsa().with_algorithm(SignatureAlgorithm::Ed25519).err();
    assert_eq!(wrong, Some(PrivateKeyError::Algorithm(SignatureAlgorithm::Ed25519)));
}

#[test]
fn what_is_no_private_key() {
    let refused = |pem: &str| PrivateKey::from_pem(pem).unwrap_err();
    let labelled = |label: &str, base64: &str| format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n");
    assert_eq!(refused(""), PrivateKeyError::NoPem);
    assert_eq!(refused("ppsp:0d/"), PrivateKeyError::NoPem);
    assert_eq!(refused(&labelled("PRIVATE KEY", "????")), PrivateKeyError::Malformed);
    assert_eq!(refused(&" ".repeat(PrivateKey::MAX_PEM_LEN + 1)), PrivateKeyError::NoPem);
    assert_eq!(refused(&labelled("PRIVATE KEY", "MAAA")), PrivateKeyError::Malformed);
    assert_eq!(refused(&labelled("ENCRYPTED PRIVATE KEY", "MAAA")), PrivateKeyError::Encrypted);
    assert_eq!(refused(&labelled("EC PRIVATE KEY", "MAAA")), PrivateKeyError::Traditional);
    assert_eq!(refused(&labelled("PUBLIC KEY", "MAAA")), PrivateKeyError::NotPrivate("PUBLIC KEY".into()));
    // X25519, which is no key for signatures.
    let x25519 =
        hex("302e020100300506032b656e042204200707070707070707070707070707070707070707070707070707070707070707");
    let kind = PrivateKey::from_der(&x25519).unwrap_err();
    assert!(matches!(kind, PrivateKeyError::Kind(_)) && kind.to_string().contains("1.3.101.110"), "{kind}");
    // RSA with a modulus that nobody takes, and RSA for PSS alone.
    let small = rsa::PrivateKey::from_p_q(4_294_967_291_u64.into(), 4_294_967_279_u64.into(), 3_u64.into());
    let small = small.unwrap().to_pkcs8_der().unwrap();
    assert_eq!(PrivateKey::from_der(small.as_bytes()).unwrap_err(), PrivateKeyError::Public(KeyError::Modulus));
    let (mut pss, oid) = (small.as_bytes().to_vec(), rsa::pkcs1::ALGORITHM_OID.as_bytes());
    let at = pss.windows(oid.len()).position(|bytes| bytes == oid).unwrap();
    pss[at + oid.len() - 1] = 10;
    assert!(matches!(PrivateKey::from_der(&pss), Err(PrivateKeyError::Kind(_))));
    // A public part that belongs to another key.
    let key = p256::ecdsa::SigningKey::from_slice(&[1; 32]).unwrap().to_pkcs8_der().unwrap();
    let mut other = key.as_bytes().to_vec();
    let last = other.len() - 1;
    other[last] ^= 1;
    assert_eq!(PrivateKey::from_der(&other).unwrap_err(), PrivateKeyError::Malformed);
    for end in 0..key.as_bytes().len() {
        assert!(PrivateKey::from_der(&key.as_bytes()[..end]).is_err());
    }
    // Line ends of other systems are read.
    let pem = key.to_pem("PRIVATE KEY", LineEnding::CRLF).unwrap();
    assert!(PrivateKey::from_pem(&pem).is_ok());
}

#[test]
fn a_signer_says_why_it_does_not_sign() {
    let error = SignError(Box::new(BadSignature));
    assert_eq!(error.to_string(), "cannot sign: the signature is not one of this key over this message");
    assert!(error.source().is_some());
}
