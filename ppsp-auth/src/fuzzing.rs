//! Bodies of the fuzz targets: each takes any bytes, and panics where a promise is broken. No part of the public API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a panic is how a fuzz target reports")]

mod tokens;

use alloc::{format, string::ToString};

use ppsp_core::Instant;

use crate::{
    Password, Secret,
    bearer::{self, BearerRefusal},
    digest::{Accounts, DigestClient, DigestError, DigestLimits, DigestServer},
    http_auth::{Auth, Params},
    scram::{AuthenticationInfo, Authorization, Challenge, Client, Server, Verifier},
};

pub use tokens::{gatekeeper, introspection, jwks, jwt};

/// Challenges, credentials and parameters: what was read is written so that it is read the same.
pub fn http_auth(data: &[u8]) {
    let Ok(header) = core::str::from_utf8(data) else { return };
    if let Ok(list) = Auth::read_list(header) {
        assert!(list.len() <= Auth::MAX_CHALLENGES);
        for auth in list {
            let text = auth.to_string();
            // Escapes and quotes that were not needed before may be written.
            if text.len() <= Auth::MAX_LEN {
                assert_eq!(Auth::read(&text).as_ref(), Ok(&auth), "{text}");
            }
        }
    }
    if let Ok(params) = Params::read(header) {
        let text = params.to_string();
        assert!(text.len() > Auth::MAX_LEN || Params::read(&text) == Ok(params), "{text}");
    }
    if let Ok(token) = bearer::token(header) {
        let again = bearer::authorization(token);
        assert!(again.is_err() || bearer::token(&again.unwrap()) == Ok(token));
    }
    let _ = BearerRefusal::read(header);
}

/// Messages of SCRAM in both directions, each in an exchange that is otherwise right, and its headers. The first byte
/// says which message the others are.
pub fn scram(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    let Ok(text) = core::str::from_utf8(rest) else { return };
    let verifier = Verifier::from_text(PENCIL).unwrap();
    let server = Server::new(&Secret::new([1; 32]), 4096);
    let client = || Client::new("user".parse().unwrap(), Password::new("pencil").unwrap(), &[3; 18]);
    let challenge = || server.challenge(&server.hear(&client().1).unwrap(), Some(&verifier), &[4; 18], 1000);
    match which % 8 {
        0 => {
            if let Ok(hello) = server.hear(text) {
                let challenge = server.challenge(&hello, None, &[4; 18], 1000);
                assert_eq!(server.resume(&challenge.sid, 1000).unwrap().name(), hello.name());
            }
        }
        // Long numbers would be iterations, which a client does for seconds.
        1 if !text.as_bytes().windows(5).any(|five| five.iter().all(u8::is_ascii_digit)) => {
            if let Ok((_, last)) = client().0.prove(text) {
                let right = text == challenge().message;
                let exchange = server.resume(&challenge().sid, 1000).unwrap();
                assert!(exchange.verify(&last, Some(&verifier)).is_err() || right, "{text}");
            }
        }
        2 => {
            // The true proof is left out of the corpus: it is the only one that may pass.
            let exchange = server.resume(&challenge().sid, 1000).unwrap();
            assert!(exchange.verify(text, Some(&verifier)).is_err(), "{text}");
        }
        3 => {
            let (client, _) = client().0.prove(&challenge().message).unwrap();
            assert!(client.finish(text).is_err(), "{text}");
        }
        4 => assert!(server.resume(text, 1000).is_err() || text == challenge().sid),
        5 => {
            if let Ok(header) = Authorization::read(text) {
                assert_eq!(Authorization::read(&header.to_string()), Ok(header));
            }
        }
        6 => {
            if let Ok(header) = Challenge::read(text) {
                assert_eq!(Challenge::read(&header.to_string()), Ok(header));
            }
        }
        7 => {
            if let Ok(header) = AuthenticationInfo::read(text) {
                assert_eq!(AuthenticationInfo::read(&header.to_string()), Ok(header));
            }
            if let Ok(verifier) = Verifier::from_text(text) {
                assert_eq!(Verifier::from_text(&verifier.to_text()), Ok(verifier));
            }
        }
        _ => {}
    }
}

/// Both headers of Digest, and the file of passwords. The first byte says which the others are.
pub fn digest(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    let Ok(text) = core::str::from_utf8(rest) else { return };
    let accounts = Accounts::parse("here", &format!("alice:here:{}", "5a".repeat(32))).unwrap();
    let mut server = DigestServer::new(&Secret::new([1; 32]), accounts, DigestLimits::default());
    let now = Instant::from_micros(1);
    match which % 3 {
        0 => assert!(server.verify(now, text, "GET", "/").is_err(), "{text}"),
        1 => {
            let mut client = DigestClient::new("alice", Password::new("pencil").unwrap()).unwrap();
            if client.challenged(text).is_ok() {
                // Whatever was asked for, the answer is one that a server can read.
                let header = client.authorization("GET", "/", &[2; 16]).unwrap();
                let refusal = server.verify(now, &header, "GET", "/").unwrap_err();
                let read = matches!(refusal, DigestError::Realm | DigestError::WrongCredentials);
                assert!(read || header.len() > Auth::MAX_LEN, "{header}: {refusal}");
            }
        }
        _ => {
            if let Ok(accounts) = Accounts::parse("here", text) {
                assert!(accounts.len() <= text.lines().count());
            }
        }
    }
}

/// Of the password `pencil`.
const PENCIL: &str = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
    WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use std::{fs, path::Path};

    /// Runs a body over the seeds of its corpus.
    pub(super) fn corpus(target: &str, body: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(target);
        let mut seeds = 0;
        for entry in fs::read_dir(folder).unwrap() {
            body(&fs::read(entry.unwrap().path()).unwrap());
            seeds += 1;
        }
        assert!(seeds > 0);
    }

    #[test]
    fn seeds() {
        corpus("http_auth", http_auth);
        corpus("scram", scram);
        corpus("digest", digest);
    }

    /// A byte that chooses, and text that is made of what such headers are made of.
    fn nearly(pieces: &'static [&'static str]) -> impl Strategy<Value = alloc::vec::Vec<u8>> {
        let piece = prop_oneof![4 => prop::sample::select(pieces).prop_map(str::to_string), 1 => "\\PC{0,3}"];
        (any::<u8>(), vec(piece, 0..16)).prop_map(|(which, text)| [&[which], text.concat().as_bytes()].concat())
    }

    proptest! {
        #[test]
        fn any_http_auth(data in nearly(&["X", " ", "a=", ",", "\"", "\\", "=", "realm", "b=c", "Bearer "])) {
            http_auth(&data[1..]);
        }

        #[test]
        fn any_scram(data in nearly(&[
            "n,,", "n=user", ",r=", "AwMDAwMDAwMDAwMDAwMDAwMDAwMD", ",s=W22ZaJ0SNY7soEsUEjb6gQ==", ",i=4096",
            "c=biws", ",p=", "v=",
            "SCRAM-SHA-256 ", "data=biws", ",sid=A", "realm=\"x\"",
        ])) {
            scram(&data);
        }

        #[test]
        fn any_digest(data in nearly(&[
            "Digest realm=\"here\"", ",qop=\"auth\"", ",nonce=\"n\"", ",algorithm=SHA-256", ",userhash=true", ",stale=true",
            ",uri=\"/\"",
            ",nc=00000001", ",cnonce=\"c\"", ",username=\"alice\"", ",qop=auth", "alice:here:", "\n", "5a",
        ])) {
            digest(&data);
        }
    }
}
