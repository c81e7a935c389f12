use alloc::string::ToString;

use data_encoding::BASE64URL_NOPAD;
use proptest::prelude::*;

use super::*;
use crate::{
    grant::{Action, Grant, tests::grants},
    token::{MAX_TOKEN, VerifyingKey},
};

pub(crate) const NOW: u64 = 1_800_000_000;
pub(crate) const ISSUER: &str = "https://portal.example";

pub(crate) fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

pub(crate) fn keys() -> KeySet {
    [key().verifying_key()].into_iter().collect()
}

/// A token of a session for a tracker, made now.
pub(crate) fn claims(session: u128) -> Claims {
    let news = Grant { groups: vec!["news".into()], actions: Action::ALL.to_vec(), ..Grant::default() };
    let film = Grant { swarms: vec!["a1b2".into()], actions: Action::ALL.to_vec(), ..Grant::default() };
    Claims {
        issuer: ISSUER.into(),
        client: Identifier::from_bytes([7; 12]),
        audience: vec![TRACKERS.into()],
        issued: NOW,
        not_before: NOW,
        expires: NOW + 600,
        id: session << 8,
        session,
        role: Role::Viewer,
        grants: Grants::new(vec![news, film]).unwrap(),
    }
}

pub(crate) fn expectation() -> Expectation {
    Expectation::new(ISSUER, TRACKERS)
}

fn check(token: &TokenText, now: u64) -> Result<AccessToken, TokenError> {
    expectation().check(&keys(), token.as_str(), now)
}

/// A token with this payload, which our writer would not write.
fn signed(payload: &str) -> TokenText {
    TokenText::new(jws::sign(&key(), ACCESS_TOKEN, payload))
}

fn payload() -> String {
    let token = claims(1).sign(&key()).unwrap();
    let part = token.as_str().split('.').nth(1).unwrap();
    String::from_utf8(BASE64URL_NOPAD.decode(part.as_bytes()).unwrap()).unwrap()
}

/// The same bytes as ever: other libraries read this token (`tests/interoperability.rs`).
#[test]
fn the_written_form() {
    let token = claims(1).sign(&key()).unwrap();
    assert_eq!(token.as_str(), include_str!("../../tests/vectors/access_token.jwt").trim_end());
    assert_eq!(keys().to_jwks(), include_str!("../../tests/vectors/jwks.json").trim_end());
    assert!(payload().starts_with(r#"{"iss":"https://portal.example","sub":"MDcwN"#), "{}", payload());
}

proptest! {
    #[test]
    fn what_is_signed_is_read(
        grants in grants(), issuer in "[ -~]{0,20}", audience in proptest::collection::vec("\\PC{0,8}", 1..3),
        client: [u8; 12], id: u128, session: u128, lifetime in 1..=MAX_LIFETIME, issued in 0..u64::MAX / 2,
    ) {
        let claims = Claims {
            issuer, client: Identifier::from_bytes(client), audience, issued, not_before: issued,
            expires: issued + lifetime, id, session, role: Role::Publisher, grants,
        };
        let token = claims.sign(&key()).unwrap();
        let expected = Expectation::new(claims.issuer.clone(), claims.audience[0].clone());
        prop_assert_eq!(expected.check(&keys(), token.as_str(), issued).map(AccessToken::into_claims), Ok(claims));
    }

    #[test]
    fn no_byte_can_be_changed(at: prop::sample::Index, to in 0..=127u8) {
        let token = claims(1).sign(&key()).unwrap();
        let mut text = token.as_str().as_bytes().to_vec();
        let at = at.index(text.len());
        prop_assume!(text[at] != to);
        text[at] = to;
        prop_assert!(check(&TokenText::new(String::from_utf8(text).unwrap()), NOW).is_err());
    }
}

#[test]
fn times_and_leeway() {
    let token = claims(1).sign(&key()).unwrap();
    assert!(check(&token, NOW - 60).is_ok());
    assert_eq!(check(&token, NOW - 61), Err(TokenError::NotYet));
    // RFC 7519 §4.1.4: not on or after the expiration time.
    assert!(check(&token, NOW + 659).is_ok());
    assert_eq!(check(&token, NOW + 660), Err(TokenError::Expired));
    // A tracker whose clock is five minutes slow needs as much leeway; then it serves expired tokens so much longer.
    let patient = Expectation { leeway: 300, ..expectation() };
    assert!(patient.check(&keys(), token.as_str(), NOW - 300).is_ok());
    assert!(patient.check(&keys(), token.as_str(), NOW + 899).is_ok());
    let exact = Expectation { leeway: 0, ..expectation() };
    assert_eq!(exact.check(&keys(), token.as_str(), NOW - 1), Err(TokenError::NotYet));
    assert_eq!(exact.check(&keys(), token.as_str(), NOW + 600), Err(TokenError::Expired));
}

#[test]
fn nothing_lives_longer_than_a_quarter_of_an_hour() {
    let lifetime =
        |issued, not_before, expires| Claims { issued, not_before, expires, ..claims(1) }.sign(&key()).map(drop);
    assert_eq!(lifetime(NOW, NOW, NOW + 900), Ok(()));
    assert_eq!(lifetime(NOW, NOW, NOW + 901), Err(TokenError::Lifetime));
    assert_eq!(lifetime(NOW, NOW, NOW), Err(TokenError::Lifetime));
    assert_eq!(lifetime(NOW + 1, NOW, NOW), Err(TokenError::Lifetime));
    assert_eq!(lifetime(NOW, NOW + 900, NOW + 900), Err(TokenError::Lifetime));
    let long = signed(&payload().replace("1800000600", "1800000901"));
    assert_eq!(check(&long, NOW), Err(TokenError::Lifetime));
    // Made long ago, and not yet: "iat" counts.
    let early = signed(&payload().replace("\"iat\":1800000000", "\"iat\":1700000000"));
    assert_eq!(check(&early, NOW), Err(TokenError::Lifetime));
    let extreme = signed(&payload().replace("1800000600", &u64::MAX.to_string()));
    assert_eq!(check(&extreme, NOW), Err(TokenError::Lifetime));
}

#[test]
fn for_whom_from_whom() {
    let other = Claims { issuer: "https://portal.example/".into(), ..claims(1) }.sign(&key()).unwrap();
    assert_eq!(check(&other, NOW), Err(TokenError::Issuer));
    // What a tracker is shown is of no use at the Portal, and the other way round.
    let portal = Claims { audience: vec![ISSUER.into()], ..claims(1) }.sign(&key()).unwrap();
    assert_eq!(check(&portal, NOW), Err(TokenError::Audience));
    let token = claims(1).sign(&key()).unwrap();
    assert_eq!(Expectation::new(ISSUER, ISSUER).check(&keys(), token.as_str(), NOW), Err(TokenError::Audience));
    // RFC 7519 §4.1.3: a single audience may stand without a list.
    assert!(check(&signed(&payload().replace("[\"ppsp-tracker\"]", "\"ppsp-tracker\"")), NOW).is_ok());
    let none = Claims { audience: vec![], ..claims(1) }.sign(&key()).unwrap();
    assert_eq!(check(&none, NOW), Err(TokenError::Audience));
}

#[test]
fn whose_key_and_which_type() {
    let token = claims(1).sign(&SigningKey::from_seed(&[2; 32])).unwrap();
    assert_eq!(check(&token, NOW), Err(TokenError::UnknownKey));
    // The right name and the wrong key.
    let [other, ours] = [&token, &claims(1).sign(&key()).unwrap()].map(|text| text.as_str().to_string());
    let (header, _) = ours.split_once('.').unwrap();
    let (_, rest) = other.split_once('.').unwrap();
    assert_eq!(check(&TokenText::new(format!("{header}.{rest}")), NOW), Err(TokenError::Signature));
    let no_kid = BASE64URL_NOPAD.encode(br#"{"alg":"EdDSA","typ":"at+jwt"}"#);
    assert_eq!(check(&TokenText::new(format!("{no_kid}.{rest}")), NOW), Err(TokenError::UnknownKey));
    let no_type = BASE64URL_NOPAD.encode(br#"{"alg":"EdDSA"}"#);
    assert_eq!(check(&TokenText::new(format!("{no_type}.{rest}")), NOW), Err(TokenError::Type));
    assert_eq!(check(&TokenText::new(jws::sign(&key(), "JWT", &payload())), NOW), Err(TokenError::Type));
    // What has "alg": "none" has no signature to check.
    let none = BASE64URL_NOPAD.encode(br#"{"alg":"none","typ":"at+jwt"}"#);
    let (_, payload) = ours.split_once('.').unwrap();
    let (payload, _) = payload.split_once('.').unwrap();
    assert_eq!(check(&TokenText::new(format!("{none}.{payload}.")), NOW), Err(TokenError::Algorithm));
    assert!(VerifyingKey::from_jwk(&key().verifying_key().to_jwk()).is_ok());
}

#[test]
fn claims_are_there_and_of_their_form() {
    assert!(check(&signed(&payload()), NOW).is_ok());
    let changed = |from: &str, to: &str| {
        assert!(payload().contains(from), "{from}");
        check(&signed(&payload().replacen(from, to, 1)), NOW)
    };
    for name in ["iss", "sub", "aud", "iat", "exp", "jti", "sid", "role"] {
        assert_eq!(changed(&format!("\"{name}\":"), "\"other\":"), Err(TokenError::Malformed), "{name}");
    }
    for (from, to) in [
        ("\"iat\":1800000000", "\"iat\":-1"),
        ("\"iat\":1800000000", "\"iat\":1800000000.5"),
        ("\"iat\":1800000000", "\"iat\":\"1800000000\""),
        ("viewer", "owner"),
        ("\"sub\":\"M", "\"sub\":\"!"),
        ("\"sid\":\"0", "\"sid\":\"+"),
        ("\"sid\":\"0", "\"sid\":\""),
        ("}]}", "}],\"exp\":1}"),
        ("LEECH", "leech"),
    ] {
        assert_eq!(changed(from, to), Err(TokenError::Malformed), "{to}");
    }
    // RFC 7519 §4: claims that are not understood are ignored.
    assert!(changed("{\"iss\"", "{\"cnf\":{\"jkt\":\"x\"},\"iss\"").is_ok());
    assert!(changed("\"nbf\":1800000000,", "").is_ok());
    assert_eq!(check(&signed(&format!("[{}]", payload())), NOW), Err(TokenError::Malformed));
}

#[test]
fn what_does_not_fit_is_not_made() {
    let grant = Grant { swarms: vec!["a".repeat(1000)], actions: Action::ALL.to_vec(), ..Grant::default() };
    let sign = |n| Claims { grants: Grants::new(vec![grant.clone(); n]).unwrap(), ..claims(1) }.sign(&key());
    assert!(sign(5).unwrap().as_str().len() <= MAX_TOKEN);
    assert_eq!(sign(6), Err(TokenError::TooLong));
}
