//! Whole exchanges: right, wrong, and changed on the way.

use alloc::{
    format,
    string::{String, ToString},
};

use proptest::prelude::*;

use super::{
    message::{ClientFinal, auth_message},
    verifier::base64,
    *,
};
use crate::{Password, Secret, UserName};

const NOW: u64 = 1_700_000_000;

fn server() -> Server {
    Server::new(&Secret::new([1; 32]), 4096)
}

fn account(password: &str) -> Verifier {
    Verifier::new(&Password::new(password).unwrap(), [5; 16], 4096).unwrap()
}

fn client(name: &str, password: &str) -> (Client, String) {
    Client::new(name.parse().unwrap(), Password::new(password).unwrap(), &[3; 18])
}

/// An exchange up to the client's proof.
fn proven(server: &Server, password: &str, verifier: Option<&Verifier>) -> (ServerChallenge, ProofSent, String) {
    let (client, first) = client("user", password);
    let challenge = server.challenge(&server.hear(&first).unwrap(), verifier, &[4; 18], NOW);
    let (client, last) = client.prove(&challenge.message).unwrap();
    (challenge, client, last)
}

// RFC 7677 §3: the client byte for byte.
#[test]
fn example_client() {
    let name: UserName = "user".parse().unwrap();
    let password = Password::new("pencil").unwrap();
    let (client, first) = Client::with_nonce_text(&name, password, "rOprNGfwEbeRWgbNEkqO".to_string());
    assert_eq!(first, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let (client, last) =
        client.prove("r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096").unwrap();
    assert_eq!(
        last,
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    assert_eq!(client.finish("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Ok(()));
}

// RFC 7677 §3: what the server computes. Its nonce is no base64 of 18 bytes, so that it cannot come out of `Server`
// itself.
#[test]
fn example_server() {
    let salt = base64("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    let verifier = Verifier::new(&Password::new("pencil").unwrap(), salt, 4096).unwrap();
    let last = ClientFinal::read(
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    )
    .unwrap();
    let signed = auth_message(
        "n=user,r=rOprNGfwEbeRWgbNEkqO",
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        last.without_proof,
    );
    let signature: [u8; 32] = base64("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").unwrap();
    assert_eq!(verifier.check(&signed, &last.proof), Some(signature));
    assert_eq!(verifier.check(&signed, &[0; 32]), None);
}

#[test]
fn right_password() {
    let (server, verifier) = (server(), account("pencil"));
    let (challenge, client, last) = proven(&server, "pencil", Some(&verifier));
    // Another process of the same Portal goes on, at the last moment.
    let other = server.clone();
    let until = NOW + Server::LIFETIME.as_secs();
    let exchange = other.resume(&challenge.sid, until).unwrap();
    assert_eq!(exchange.name().as_str(), "user");
    let login = exchange.verify(&last, Some(&verifier)).unwrap();
    assert_eq!((login.name.as_str(), login.once.expires_unix_s), ("user", until));
    assert_eq!(client.finish(&login.message), Ok(()));
    assert_eq!(server.resume(&challenge.sid, until + 1).err(), Some(ScramError::Expired));
    // A strange key means nothing here.
    let stranger = Server::new(&Secret::new([2; 32]), 4096);
    assert_eq!(stranger.resume(&challenge.sid, NOW).err(), Some(ScramError::Sid));
}

#[test]
fn wrong_password_and_unknown_user_look_the_same() {
    let (server, verifier) = (server(), account("pencil"));
    let (known, _, last) = proven(&server, "pencils", Some(&verifier));
    let refusal = server.resume(&known.sid, NOW).unwrap().verify(&last, Some(&verifier));
    assert_eq!(refusal, Err(ScramError::WrongCredentials));

    let (unknown, _, last) = proven(&server, "pencil", None);
    assert_eq!(server.resume(&unknown.sid, NOW).unwrap().verify(&last, None), Err(ScramError::WrongCredentials));
    // The same form, and the same answer each time.
    assert_eq!((known.sid.len(), known.message.len()), (unknown.sid.len(), unknown.message.len()));
    assert_eq!(proven(&server, "other", None).0, unknown);
    // But not for another name, nor at another Portal.
    let salt = |server: &Server, name: &str| {
        let hello = server.hear(&client(name, "x").1).unwrap();
        let message = server.challenge(&hello, None, &[4; 18], NOW).message;
        message.split(',').nth(1).unwrap().to_string()
    };
    assert_eq!(salt(&server, "user"), salt(&server, "USER"));
    assert_ne!(salt(&server, "user"), salt(&server, "user2"));
    assert_ne!(salt(&server, "user"), salt(&Server::new(&Secret::new([2; 32]), 4096), "user"));
    // An account that appears or vanishes in between is no way in.
    let (challenge, _, last) = proven(&server, "pencil", None);
    assert!(server.resume(&challenge.sid, NOW).unwrap().verify(&last, Some(&verifier)).is_err());
    let (challenge, _, last) = proven(&server, "pencil", Some(&verifier));
    assert!(server.resume(&challenge.sid, NOW).unwrap().verify(&last, None).is_err());
}

#[test]
fn a_proof_is_for_one_exchange() {
    let (server, verifier) = (server(), account("pencil"));
    let (first, _, last) = proven(&server, "pencil", Some(&verifier));
    let hello = server.hear(&client("user", "pencil").1).unwrap();
    let second = server.challenge(&hello, Some(&verifier), &[9; 18], NOW);
    let verify = |sid: &str| server.resume(sid, NOW).unwrap().verify(&last, Some(&verifier));
    assert_eq!(verify(&second.sid), Err(ScramError::Nonce));
    // Sent again it would pass: this is what `Once` is for, which names the exchange and not the moment.
    let once = verify(&first.sid).unwrap().once;
    assert_eq!(verify(&first.sid).unwrap().once, once);
    let (again, _, last) = {
        let (client, first) = client("user", "pencil");
        let challenge = server.challenge(&server.hear(&first).unwrap(), Some(&verifier), &[9; 18], NOW);
        let (client, last) = client.prove(&challenge.message).unwrap();
        (challenge, client, last)
    };
    let other = server.resume(&again.sid, NOW).unwrap().verify(&last, Some(&verifier)).unwrap();
    assert_ne!(other.once.id, once.id);
}

#[test]
fn channel_binding_cannot_be_taken_away() {
    let (server, verifier) = (server(), account("pencil"));
    // The client said `y`; somebody made an `n` of it, which the client's `c=` does not say.
    let (client, first) = client("user", "pencil");
    let hello = server.hear(&first.replacen('n', "y", 1)).unwrap();
    let challenge = server.challenge(&hello, Some(&verifier), &[4; 18], NOW);
    let (_, last) = client.prove(&challenge.message).unwrap();
    let refusal = server.resume(&challenge.sid, NOW).unwrap().verify(&last, Some(&verifier));
    assert_eq!(refusal, Err(ScramError::ChannelBinding));
}

#[test]
fn a_client_checks_its_server() {
    let refusal = |message: &str| client("user", "pencil").0.prove(message).err();
    let nonce = "AwMDAwMDAwMDAwMDAwMDAwMDAwMD";
    assert_eq!(client("user", "x").1, format!("n,,n=user,r={}", &nonce[..24]));
    let nonce = &nonce[..24];
    let s = "s=BQUFBQUFBQUFBQUFBQUFBQ==";
    // RFC 7804 §8: neither a cheap test of the password nor minutes of work.
    for count in [1, 4095, 10_000_001, u32::MAX] {
        assert_eq!(refusal(&format!("r={nonce}x,{s},i={count}")), Some(ScramError::Iterations(count)));
    }
    // RFC 5802 §5.1: the nonce goes on from the client's.
    for wrong in [nonce, "x", &nonce[1..], &format!("x{nonce}")] {
        assert_eq!(refusal(&format!("r={wrong},{s},i=4096")), Some(ScramError::Nonce), "{wrong}");
    }
    assert_eq!(refusal(&format!("m=x,r={nonce}x,{s},i=4096")), Some(ScramError::Extension));
    assert_eq!(refusal("e=other-error"), Some(ScramError::Malformed));

    let finish = |message: &str| proven(&server(), "pencil", Some(&account("pencil"))).1.finish(message);
    assert_eq!(finish("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), Err(ScramError::ServerNotProven));
    assert_eq!(finish("e=invalid-proof"), Err(ScramError::Refused));
}

/// Every byte of every message changed, and every message cut: nobody is signed in, nothing panics.
#[test]
fn changed_on_the_way() {
    let (server, verifier) = (server(), account("pencil"));
    let (challenge, _, last) = proven(&server, "pencil", Some(&verifier));
    let login = server.resume(&challenge.sid, NOW).unwrap().verify(&last, Some(&verifier)).unwrap();

    for sid in damaged(&challenge.sid) {
        assert_eq!(server.resume(&sid, NOW).err(), Some(ScramError::Sid), "{sid}");
    }
    for bad in damaged(&last) {
        assert!(server.resume(&challenge.sid, NOW).unwrap().verify(&bad, Some(&verifier)).is_err(), "{bad}");
    }
    for bad in damaged(&login.message) {
        let (_, client, _) = proven(&server, "pencil", Some(&verifier));
        assert!(client.finish(&bad).is_err(), "{bad}");
    }
    for bad in damaged(&challenge.message) {
        let Ok((_, last)) = client("user", "pencil").0.prove(&bad) else { continue };
        assert!(server.resume(&challenge.sid, NOW).unwrap().verify(&last, Some(&verifier)).is_err(), "{bad}");
    }
    let (_, first) = client("user", "pencil");
    for bad in damaged(&first) {
        let Ok(hello) = server.hear(&bad) else { continue };
        let challenge = server.challenge(&hello, Some(&verifier), &[4; 18], NOW);
        let Ok((_, last)) = client("user", "pencil").0.prove(&challenge.message) else { continue };
        assert!(server.resume(&challenge.sid, NOW).unwrap().verify(&last, Some(&verifier)).is_err(), "{bad}");
    }
}

/// A text with a bit of each byte turned, and each of its beginnings.
fn damaged(text: &str) -> impl Iterator<Item = String> {
    let turned = (0..text.len()).flat_map(move |at| {
        [1, 4, 32].into_iter().filter_map(move |bit| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= bit;
            String::from_utf8(bytes).ok()
        })
    });
    turned.chain((0..text.len()).map(|end| text[..end].to_string()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_name_and_password(
        name in "[A-Za-z0-9._@-]{1,64}", password in "[ -~äßπ♦]{1,40}", salt: [u8; 16], nonces: ([u8; 18], [u8; 18]),
    ) {
        let server = server();
        let password = Password::new(&password).unwrap();
        let verifier = Verifier::new(&password, salt, 4096).unwrap();
        let (client, first) = Client::new(name.parse().unwrap(), password, &nonces.0);
        let challenge = server.challenge(&server.hear(&first).unwrap(), Some(&verifier), &nonces.1, NOW);
        let (client, last) = client.prove(&challenge.message).unwrap();
        let login = server.resume(&challenge.sid, NOW).unwrap().verify(&last, Some(&verifier)).unwrap();
        prop_assert_eq!(login.name.as_str(), name.to_lowercase());
        prop_assert_eq!(client.finish(&login.message), Ok(()));
    }
}
