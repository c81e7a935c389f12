//! Another JWT library reads our tokens and keys, and we read its: PyJWT with the `cryptography` package.

use std::{env, path::Path, process::Command};

use ppsp_auth::{
    assertion::{Assertion, Presented, ReplayTable},
    token::{KeySet, SigningKey, TokenError, TokenText, VerifyingKey},
};

/// Runs a script that prints one line. `None`, with a message, where there is no PyJWT.
fn python(script: &str, arguments: &[&str]) -> Option<String> {
    // Debian's packages are for Debian's interpreter, which need not be the first one in the path.
    let works = |python: &&str| {
        let output = Command::new(python).args(["-c", "import jwt, cryptography"]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let Some(python) = ["/usr/bin/python3", "python3"].into_iter().find(works) else {
        assert!(env::var_os("CI").is_none(), "python3-jwt and python3-cryptography are needed");
        eprintln!("skipped: there is no python3 with PyJWT and cryptography (python3-jwt, python3-cryptography)");
        return None;
    };
    let output = Command::new(python).args(["-c", script]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap().trim_end().to_string())
}

fn vector(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)).unwrap()
}

#[test]
fn another_library_reads_our_tokens() {
    let script = r#"
import json, sys, jwt
token, keys = sys.argv[1], jwt.PyJWKSet.from_json(sys.argv[2])
header = jwt.get_unverified_header(token)
assert header["typ"] == "at+jwt", header
key = next(key for key in keys.keys if key.key_id == header["kid"]).key
claims = jwt.decode(token, key, algorithms=["EdDSA"], audience="ppsp-tracker", issuer="https://portal.example",
    options={"require": ["exp", "iat", "nbf", "iss", "aud", "jti"], "verify_exp": False, "verify_iat": False, "verify_nbf": False})
print(claims["sub"], claims["sid"], claims["role"], claims["exp"] - claims["iat"], claims["authorization_details"][1]["swarms"])
"#;
    let token = vector("access_token.jwt");
    if let Some(line) = python(script, &[token.trim_end(), &vector("jwks.json")]) {
        let sid = "00000000000000000000000000000001";
        assert_eq!(line, format!("MDcwNzA3MDcwNzA3MDcwNzA3MDcwNzA3 {sid} viewer 600 ['a1b2']"));
    }
}

#[test]
fn another_library_reads_our_private_keys_and_we_its_tokens() {
    let script = r#"
import json, sys, jwt
key = jwt.algorithms.OKPAlgorithm.from_jwk(sys.argv[1])
now = 1800000000
claims = {"iss": "tracker", "sub": "tracker", "aud": "https://portal.example", "iat": now, "exp": now + 60, "jti": "one"}
print(jwt.encode(claims, key, algorithm="EdDSA"), jwt.algorithms.OKPAlgorithm.to_jwk(key.public_key()))
"#;
    let key = SigningKey::from_seed(&[5; 32]);
    let Some(line) = python(script, &[&key.to_jwk()]) else { return };
    let (token, public) = line.split_once(' ').unwrap();
    let public = VerifyingKey::from_jwk(public).unwrap();
    assert_eq!(public, key.verifying_key());
    let presented = Presented::parse(TokenText::new(token)).unwrap();
    let mut replays = ReplayTable::default();
    assert_eq!(presented.service(), "tracker");
    assert_eq!(presented.check(&public, "https://portal.example", 0, 1_800_000_000, &mut replays), Ok(()));
}

#[test]
fn another_library_reads_our_assertions() {
    let script = r#"
import sys, jwt
keys = jwt.PyJWKSet.from_json(sys.argv[2])
claims = jwt.decode(sys.argv[1], keys.keys[0].key, algorithms=["EdDSA"], audience="https://portal.example",
    options={"verify_exp": False, "verify_iat": False})
print(claims["iss"], claims["sub"], claims["exp"] - claims["iat"])
"#;
    let key = SigningKey::from_seed(&[5; 32]);
    let assertion = Assertion {
        service: "tracker".into(),
        audience: "https://portal.example".into(),
        issued: 1_800_000_000,
        id: 1,
    };
    let keys: KeySet = [key.verifying_key()].into_iter().collect();
    if let Some(line) = python(script, &[assertion.sign(&key).as_str(), &keys.to_jwks()]) {
        assert_eq!(line, "tracker tracker 60");
    }
    assert_eq!(Presented::parse(TokenText::new("no token")), Err(TokenError::Malformed));
}
