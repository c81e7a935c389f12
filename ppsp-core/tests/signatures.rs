//! Signatures of other implementations and of the RFCs (see `vectors/README.md`), and OpenSSL's opinion of ours.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use ppsp_core::{
    Bin, ChunkRange, Hash, HashAlg, SwarmMetadata,
    live::{LiveConfig, LiveVerifier, Munro, NtpTime, Offered, Refusal, Signing},
    signature::{BadSignature, PrivateKey, PublicKey, SignatureAlgorithm, Signer},
};
use serde_json::Value;

fn rows(name: &str) -> Vec<Value> {
    let rows: Vec<Value> = serde_json::from_value(json(name)).unwrap();
    assert!(!rows.is_empty());
    rows
}

fn json(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn bytes(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap();
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// The signature is good over the message, in one piece and in many, and over nothing else.
fn check(key: &PublicKey, message: &[u8], signature: &[u8]) {
    // RFC 7574 §8.9: the length of the digital signature can be derived from the algorithm and the swarm ID.
    assert_eq!(signature.len(), key.signature_len());
    let pieces: Vec<&[u8]> = message.chunks(7).collect();
    assert_eq!(key.verify(&[message], signature), Ok(()), "{key:?}");
    assert_eq!(key.verify(&pieces, signature), Ok(()));
    assert_eq!(key.verify(&[message, &[0]], signature), Err(BadSignature));
    assert_eq!(key.verify(&pieces[1..], signature), Err(BadSignature));
    for at in [0, signature.len() / 2, signature.len() - 1] {
        let mut wrong = signature.to_vec();
        wrong[at] ^= 1;
        assert_eq!(key.verify(&[message], &wrong), Err(BadSignature), "{key:?}, byte {at}");
    }
    assert_eq!(key.verify(&[message], &signature[1..]), Err(BadSignature));
    assert_eq!(key.verify(&[message], &[&[0], signature].concat()), Err(BadSignature));
    assert_eq!(key.verify(&[message], &[]), Err(BadSignature));
    assert_eq!(key.verify(&[message], &vec![0; signature.len()]), Err(BadSignature));
    assert_eq!(key.verify(&[message], &vec![0xff; signature.len()]), Err(BadSignature));
}

#[test]
fn dnssec_examples() {
    // RFC 7574 §8.9: encoded as a Signature field would be in an RRSIG record.
    for row in rows("signatures/rfc.json") {
        let key = PublicKey::parse(&bytes(&row["swarm_id"])).unwrap();
        check(&key, &bytes(&row["message"]), &bytes(&row["signature"]));
    }
}

#[test]
fn openssl_vectors() {
    for row in rows("signatures/openssl.json") {
        let id = bytes(&row["swarm_id"]);
        let key = PublicKey::parse(&id).unwrap();
        assert_eq!((u64::from(key.algorithm().code()), key.as_bytes()), (row["algorithm"].as_u64().unwrap(), &*id));
        let (message, signature) = (bytes(&row["message"]), bytes(&row["signature"]));
        check(&key, &message, &signature);

        let private = PrivateKey::from_pem(row["private_key"].as_str().unwrap()).unwrap();
        let Ok(mut private) = private.with_algorithm(key.algorithm()) else {
            assert_eq!(key.algorithm(), SignatureAlgorithm::RsaSha1);
            continue;
        };
        assert_eq!(private.public_key(), &key, "{}", row["name"]);
        let own = private.sign(&[&message[..20], &message[20..]]).unwrap();
        check(&key, &message, &own);
        // PKCS #1 v1.5 and Ed25519 leave no choice.
        let is_ecdsa =
            matches!(key.algorithm(), SignatureAlgorithm::EcdsaP256Sha256 | SignatureAlgorithm::EcdsaP384Sha384);
        assert!(is_ecdsa || own == signature, "{}", row["name"]);
    }
}

#[test]
fn munros_of_libswift() {
    let captured = json("libswift/munros.json");
    let key = PublicKey::parse(&bytes(&captured["swarm_id"])).unwrap();
    assert_eq!(key.algorithm(), SignatureAlgorithm::EcdsaP256Sha256);
    let munros = captured["munros"].as_array().unwrap();
    assert_eq!(munros.len(), 3);
    for munro in munros {
        let (hash, signature) = (bytes(&munro["hash"]), bytes(&munro["signature"]));
        // Its signatures cover the 20 bytes of the hash alone …
        check(&key, &hash, &signature);
        // … where RFC 7574 §6.1.2.2 has chunk specification, timestamp and hash.
        let number = |name: &str| munro[name].as_u64().unwrap();
        let range = [number("first") as u32, number("last") as u32].map(u32::to_be_bytes).concat();
        let as_the_rfc = [&range[..], &number("timestamp").to_be_bytes(), &hash];
        assert_eq!(key.verify(&as_the_rfc, &signature), Err(BadSignature));
    }
}

/// A viewer that is told so follows the stream that was captured; one that is not believes none of it.
#[test]
fn a_stream_of_libswift() {
    let captured = json("libswift/munros.json");
    let metadata = SwarmMetadata {
        hash: HashAlg::Sha1,
        ..SwarmMetadata::of_key(&PublicKey::parse(&bytes(&captured["swarm_id"])).unwrap())
    };
    let munro = |munro: &Value, signing: Signing| -> Munro {
        let number = |name: &str| munro[name].as_u64().unwrap();
        Munro {
            node: Bin::exactly(ChunkRange::new(number("first"), number("last")).unwrap()).unwrap(),
            time: signing.read_time(number("timestamp")),
            hash: Hash::from_bytes(&bytes(&munro["hash"])).unwrap(),
            signature: bytes(&munro["signature"]).into(),
        }
    };
    let munros = captured["munros"].as_array().unwrap();
    let last = munro(&munros[2], Signing::Libswift);
    let mut config = LiveConfig::default();
    config.signing = Signing::Libswift;
    let mut viewer = LiveVerifier::new(&metadata, config).unwrap();
    for one in munros {
        let munro = munro(one, Signing::Libswift);
        assert_eq!(Signing::Libswift.write_time(munro.time), one["timestamp"].as_u64().unwrap());
        assert_eq!(viewer.offer(last.time, &munro, &mut vec![]), Ok(Offered::New));
    }
    assert_eq!((viewer.chunks_per_signature(), viewer.end()), (Some(32), 128));
    let late = NtpTime::from_unix_micros(last.time.to_unix_micros() + 31_000_000);
    let mut another = LiveVerifier::new(&metadata, config).unwrap();
    assert_eq!(another.offer(late, &last, &mut vec![]), Err(Refusal::TooOld));

    let mut strict = LiveVerifier::new(&metadata, LiveConfig::default()).unwrap();
    let last = munro(&munros[2], Signing::Rfc);
    assert_eq!(strict.offer(last.time, &last, &mut vec![]), Err(Refusal::BadSignature));
}

/// OpenSSL reads keys of ours and verifies what they sign; we read keys of OpenSSL's and verify what it signs.
#[test]
fn openssl_agrees() {
    if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
        assert!(std::env::var_os("CI").is_none(), "openssl is not here");
        println!("skipped: openssl is not here");
        return;
    }
    for (at, algorithm) in SignatureAlgorithm::ALL.into_iter().enumerate() {
        let dir = Folder::new(algorithm.name());
        let message = b"chunk specification, timestamp, hash".repeat(at + 1);
        dir.write("message", &message);

        if let Ok(mut ours) = PrivateKey::generate(algorithm, &[at as u8; 32]) {
            dir.write("key", ours.to_pem().unwrap().as_bytes());
            dir.openssl(&["pkey", "-in", "key", "-pubout", "-out", "public"]);
            let signature = ours.sign(&[&message]).unwrap();
            dir.write("signature", &as_openssl(algorithm, &signature));
            dir.openssl(&match digest(algorithm) {
                Some(digest) => vec!["dgst", digest, "-verify", "public", "-signature", "signature", "message"],
                None => vec![
                    "pkeyutl",
                    "-verify",
                    "-pubin",
                    "-inkey",
                    "public",
                    "-rawin",
                    "-in",
                    "message",
                    "-sigfile",
                    "signature",
                ],
            });
        }

        let kind: &[&str] = match algorithm {
            SignatureAlgorithm::RsaSha1 | SignatureAlgorithm::RsaSha256 => &["-algorithm", "RSA"],
            SignatureAlgorithm::EcdsaP256Sha256 => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
            SignatureAlgorithm::EcdsaP384Sha384 => &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"],
            _ => &["-algorithm", "ED25519"],
        };
        dir.openssl(&[&["genpkey", "-out", "key"], kind].concat());
        let theirs = PrivateKey::from_pem(&String::from_utf8(dir.read("key")).unwrap()).unwrap();
        dir.openssl(&match digest(algorithm) {
            Some(digest) => vec!["dgst", digest, "-sign", "key", "-out", "signature", "message"],
            None => vec!["pkeyutl", "-sign", "-inkey", "key", "-rawin", "-in", "message", "-out", "signature"],
        });
        let mut id = theirs.public_key().as_bytes().to_vec();
        id[0] = algorithm.code();
        check(&PublicKey::parse(&id).unwrap(), &message, &from_openssl(algorithm, dir.read("signature")));
    }
}

fn digest(algorithm: SignatureAlgorithm) -> Option<&'static str> {
    match algorithm {
        SignatureAlgorithm::RsaSha1 => Some("-sha1"),
        SignatureAlgorithm::RsaSha256 | SignatureAlgorithm::EcdsaP256Sha256 => Some("-sha256"),
        SignatureAlgorithm::EcdsaP384Sha384 => Some("-sha384"),
        _ => None,
    }
}

/// OpenSSL writes signatures of ECDSA in DER.
fn as_openssl(algorithm: SignatureAlgorithm, signature: &[u8]) -> Vec<u8> {
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => {
            p256::ecdsa::Signature::from_slice(signature).unwrap().to_der().as_bytes().to_vec()
        }
        SignatureAlgorithm::EcdsaP384Sha384 => {
            p384::ecdsa::Signature::from_slice(signature).unwrap().to_der().as_bytes().to_vec()
        }
        _ => signature.to_vec(),
    }
}

fn from_openssl(algorithm: SignatureAlgorithm, signature: Vec<u8>) -> Vec<u8> {
    match algorithm {
        SignatureAlgorithm::EcdsaP256Sha256 => p256::ecdsa::Signature::from_der(&signature).unwrap().to_vec(),
        SignatureAlgorithm::EcdsaP384Sha384 => p384::ecdsa::Signature::from_der(&signature).unwrap().to_vec(),
        _ => signature,
    }
}

/// A directory in which openssl runs.
struct Folder(tempfile::TempDir);

impl Folder {
    fn new(name: &str) -> Self {
        Self(tempfile::Builder::new().prefix(name).tempdir().unwrap())
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.0.path().join(name), bytes).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.0.path().join(name)).unwrap()
    }

    fn openssl(&self, arguments: &[&str]) {
        let out = Command::new("openssl").args(arguments).current_dir(self.0.path()).output().unwrap();
        assert!(out.status.success(), "openssl {}: {}", arguments.join(" "), String::from_utf8_lossy(&out.stderr));
    }
}
