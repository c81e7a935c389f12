//! The RFC's example, and clients and servers with each other.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use ppsp_core::Instant;
use proptest::prelude::*;

use super::{
    header::{Challenge, Credentials, User},
    *,
};

fn at(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000)
}

fn password(text: &str) -> Password {
    Password::new(text).unwrap()
}

fn server(limits: DigestLimits) -> DigestServer {
    server_with(&Secret::new([1; 32]), limits)
}

fn server_with(key: &Secret, limits: DigestLimits) -> DigestServer {
    let line = |name, text| account_line(name, "here", &password(text)).unwrap().to_string();
    let text = format!("# a comment\n\n{}\n{}\n", line("alice", "pencil"), line("Bob Ä", "p:q"));
    DigestServer::new(key, Accounts::parse("here", &text).unwrap(), limits)
}

fn client(server: &DigestServer, name: &str, text: &str, salt: u8) -> DigestClient {
    let mut client = DigestClient::new(name, password(text)).unwrap();
    client.challenged(&server.challenge(at(u64::from(salt)), &[salt; 8], false)).unwrap();
    client
}

// RFC 7616 §3.9.1
#[test]
fn example() {
    let challenges = r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=SHA-256,
       nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS",
       Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5,
       nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#
        .replace('\n', "");
    let challenge = Challenge::read(&challenges).unwrap();
    assert_eq!((challenge.algorithm, challenge.stale, challenge.userhash), (Algorithm::Sha256, false, false));
    assert_eq!(challenge.opaque.as_deref(), Some("FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"));

    let header = r#"Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=SHA-256,
       nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001,
       cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth,
       response="753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
       opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#
        .replace('\n', "");
    let credentials = Credentials::read(&header).unwrap();
    assert_eq!(credentials.user, User::Name("Mufasa".into()));
    let Credentials { nonce, nc, cnonce, uri, .. } = &credentials;
    let signed = Signed { algorithm: Algorithm::Sha256, nonce, nc, cnonce, method: "GET", uri };
    let ha1 = ha1("Mufasa", &challenge.realm, &password("Circle of Life"));
    assert_eq!(signed.response(&ha1), credentials.response);
    // What is written is the same again, but for the order and the white space.
    let sorted = |header: &str| {
        let mut parts: Vec<_> =
            header.strip_prefix("Digest ").unwrap().split(',').map(|it| it.trim().to_string()).collect();
        parts.sort();
        parts
    };
    assert_eq!(sorted(&credentials.write()), sorted(&header));
}

// RFC 7616 §3.4.2, which has no example: its words step by step.
#[test]
fn session_variant() {
    let signed =
        Signed { algorithm: Algorithm::Sha256Sess, nonce: "n", nc: "00000001", cnonce: "c", method: "GET", uri: "/" };
    let hex = |parts: &[&str]| HEXLOWER.encode(&hash(parts));
    let a1 = hex(&["u", "r", "p"]);
    let expected = hex(&[&hex(&[&a1, "n", "c"]), "n", "00000001", "c", "auth", &hex(&["GET", "/"])]);
    assert_eq!(HEXLOWER.encode(&signed.response(&ha1("u", "r", &password("p")))), expected);
}

#[test]
fn right_and_wrong() {
    let mut server = server(DigestLimits::default());
    let mut request = |client: &mut DigestClient| {
        let header = client.authorization("POST", "/x?y", &[9; 16]).unwrap();
        server.verify(at(5), &header, "POST", "/x?y").map(String::from)
    };
    let new = |name, text, salt| client(&self::server(DigestLimits::default()), name, text, salt);
    assert_eq!(request(&mut new("alice", "pencil", 1)), Ok("alice".to_string()));
    assert_eq!(request(&mut new("Bob Ä", "p:q", 2)), Ok("Bob Ä".to_string()));
    for (name, text) in [("alice", "p:q"), ("Alice", "pencil"), ("carol", "pencil"), ("alice", "pencil ")] {
        assert_eq!(request(&mut new(name, text, 3)), Err(DigestError::WrongCredentials), "{name}");
    }
    // Many requests with one nonce; each count is another.
    let mut alice = new("alice", "pencil", 4);
    for _ in 0..100 {
        assert_eq!(request(&mut alice), Ok("alice".to_string()));
    }
    // A client that is told no does not try the same again.
    let challenge = server.challenge(at(5), &[5; 8], false);
    assert_eq!(alice.challenged(&challenge), Err(DigestError::WrongCredentials));
    assert_eq!(alice.authorization("GET", "/", &[0; 16]), None);
    assert_eq!(alice.challenged(&challenge), Ok(()));
}

#[test]
fn plain_names_and_sessions_are_understood() {
    let mut server = server(DigestLimits::default());
    let challenge = server.challenge(at(0), &[1; 8], false);
    assert!(challenge.ends_with("charset=UTF-8, userhash=true"), "{challenge}");
    for (i, (from, to)) in [("userhash=true", "userhash=false"), ("SHA-256", "SHA-256-sess")].into_iter().enumerate() {
        let mut client = DigestClient::new("Bob Ä", password("p:q")).unwrap();
        client.challenged(&challenge.replace(from, to)).unwrap();
        let mut header = client.authorization("GET", "/", &[7; 16]).unwrap();
        if i == 1 {
            header = client.authorization("GET", "/", &[7; 16]).unwrap();
        }
        assert_eq!(header.contains("username=\"Bob Ä\""), i == 0, "{header}");
        assert_eq!(header.contains("SHA-256-sess"), i == 1, "{header}");
        assert_eq!(server.verify(at(0), &header, "GET", "/"), Ok("Bob Ä"));
    }
}

#[test]
fn replays_and_old_nonces() {
    let mut server = server(DigestLimits::default());
    let mut alice = client(&server, "alice", "pencil", 0);
    let mut next = || alice.authorization("GET", "/", &[7; 16]).unwrap();
    let (first, second) = (next(), next());
    // They may overtake each other, but come once.
    for (header, expected) in [
        (&second, Ok("alice")),
        (&second, Err(DigestError::Replayed)),
        (&first, Ok("alice")),
        (&first, Err(DigestError::Replayed)),
    ] {
        assert_eq!(server.verify(at(1), header, "GET", "/"), expected);
    }
    let third = next();
    assert_eq!(server.verify(at(3600), &third, "GET", "/"), Ok("alice"));
    let fourth = next();
    assert_eq!(server.verify(at(3601), &fourth, "GET", "/"), Err(DigestError::Stale));
    assert!(server.counted() == 0);
    // The client goes on with a new nonce, and asks nobody.
    alice.challenged(&server.challenge(at(3601), &[8; 8], true)).unwrap();
    let header = alice.authorization("GET", "/", &[7; 16]).unwrap();
    assert_eq!(server.verify(at(3601), &header, "GET", "/"), Ok("alice"));
    // Another process, or this one after a restart: stale, where the password is right.
    let mut other = server_with(&Secret::new([2; 32]), DigestLimits::default());
    assert_eq!(other.verify(at(3601), &header, "GET", "/"), Err(DigestError::Stale));
    let mut wrong = client(&server, "alice", "pen", 3);
    let header = wrong.authorization("GET", "/", &[7; 16]).unwrap();
    assert_eq!(other.verify(at(3601), &header, "GET", "/"), Err(DigestError::WrongCredentials));
}

#[test]
fn the_table_of_nonces_is_bounded() {
    let mut server = server(DigestLimits { nonces: 3, ..DigestLimits::default() });
    let mut clients: Vec<_> = (0..6).map(|i| client(&server, "alice", "pencil", i)).collect();
    let late = clients.remove(1);
    let mut seen = Vec::new();
    for client in &mut clients {
        let header = client.authorization("GET", "/", &[7; 16]).unwrap();
        assert_eq!(server.verify(at(9), &header, "GET", "/"), Ok("alice"));
        assert!(server.counted() <= 3);
        seen.push(header);
    }
    // What the table forgot is stale and no second time good, and so is what could have been in it.
    for (i, header) in seen.iter().enumerate() {
        let expected = if i < 2 { DigestError::Stale } else { DigestError::Replayed };
        assert_eq!(server.verify(at(9), header, "GET", "/"), Err(expected), "{i}");
    }
    let mut late = late;
    let header = late.authorization("GET", "/", &[7; 16]).unwrap();
    assert_eq!(server.verify(at(9), &header, "GET", "/"), Err(DigestError::Stale));
    // Strangers leave nothing behind.
    for i in 0..100 {
        let header = client(&server, "alice", "wrong", i).authorization("GET", "/", &[7; 16]).unwrap();
        assert!(server.verify(at(9), &header, "GET", "/").is_err());
    }
    assert_eq!(server.counted(), 3);
}

#[test]
fn changed_on_the_way() {
    let server = server(DigestLimits::default());
    let header = client(&server, "alice", "pencil", 1).authorization("GET", "/", &[7; 16]).unwrap();
    let verify = |header: &str, method, target| server.clone().verify(at(1), header, method, target).map(String::from);
    assert_eq!(verify(&header, "GET", "/"), Ok("alice".to_string()));
    assert_eq!(verify(&header, "POST", "/"), Err(DigestError::WrongCredentials));
    assert_eq!(verify(&header, "GET", "/x"), Err(DigestError::Target));
    assert_eq!(verify(&header.replace("here", "there"), "GET", "/"), Err(DigestError::Realm));
    assert_eq!(verify(&header.replace("qop=auth", "qop=auth-int"), "GET", "/"), Err(DigestError::Unsupported));
    assert_eq!(verify(&header.replace("SHA-256", "MD5"), "GET", "/"), Err(DigestError::Unsupported));
    assert_eq!(verify("Basic eA==", "GET", "/"), Err(DigestError::Unsupported));
    let malformed = Err(HttpAuthError::Malformed.into());
    for nc in ["nc=0000000", "nc=000000001", "nc=+0000001", "nc=00000000", "nc=0000000g", "x=1"] {
        assert_eq!(verify(&header.replace("nc=00000001", nc), "GET", "/"), malformed, "{nc}");
    }
    assert_eq!(verify(&format!("{header}, username*=UTF-8''alice"), "GET", "/"), malformed);
    for at in 0..header.len() {
        for bit in [1, 4] {
            let mut bytes = header.clone().into_bytes();
            bytes[at] ^= bit;
            let Ok(changed) = String::from_utf8(bytes) else { continue };
            assert!(verify(&changed, "GET", "/").is_err(), "{changed}");
        }
        assert!(verify(&header[..at], "GET", "/").is_err());
    }
}

#[test]
fn account_lines() {
    let hex = "00".repeat(32);
    let parse = |text: &str| Accounts::parse("a:b", text).map(|accounts| accounts.len());
    assert_eq!(parse(""), Ok(0));
    assert_eq!(parse(&format!("# x\r\n\r\nu:a:b:{hex}\r\nv:a:b:{}", hex.replace('0', "A"))), Ok(2));
    assert_eq!(parse(&format!("u:a:b:{hex}\n\nu:a:b:{hex}")), Err(AccountError::Repeated { line: 3 }));
    assert_eq!(parse(&format!("u:c:{hex}")), Err(AccountError::Realm { line: 1 }));
    for bad in
        ["u", "u:a:b", "u:a:b:", "u:a:b:00", &format!(":a:b:{hex}"), &format!("u:{hex}"), &format!("u:a:b:{hex}00")]
    {
        assert_eq!(parse(&format!("#\n{bad}")), Err(AccountError::Malformed { line: 2 }), "{bad}");
    }
    let password = password("pencil");
    assert_eq!(account_line("a:b", "r", &password).err(), Some(DigestError::Name));
    assert_eq!(account_line("a\n", "r", &password).err(), Some(DigestError::Name));
    assert_eq!(account_line("a", "r\n", &password).err(), Some(DigestError::Realm));
    assert!(!format!("{:?}", Accounts::parse("a:b", &format!("u:a:b:{hex}")).unwrap()).contains("00"));
}

proptest! {
    #[test]
    fn headers_round_trip(
        text in prop::array::uniform5("[^\\x00-\\x1F\\x7F-\\u{9F}]{1,20}"), opaque: bool, sess: bool, hashed: bool,
        count in 1_u32.., response: [u8; 32],
    ) {
        let [name, realm, nonce, cnonce, uri] = text;
        let algorithm = if sess { Algorithm::Sha256Sess } else { Algorithm::Sha256 };
        let opaque = opaque.then(|| nonce.clone());
        let user = if hashed { User::Hash(response) } else { User::Name(name) };
        let nc = header::nc_text(count);
        let challenge = Challenge {
            realm: realm.clone(),
            nonce: nonce.clone(),
            opaque: opaque.clone(),
            algorithm,
            stale: sess,
            userhash: hashed,
        };
        prop_assert_eq!(Challenge::read(&format!("Bearer, {}", challenge.write())), Ok(challenge));
        let credentials = Credentials { user, realm, nonce, opaque, uri, algorithm, nc, count, cnonce, response };
        prop_assert_eq!(Credentials::read(&credentials.write()), Ok(credentials));
    }
}
