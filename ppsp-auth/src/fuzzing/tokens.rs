use alloc::{string::String, vec::Vec};
use core::time::Duration;

use ppsp_core::{Identifier, Instant};

use crate::{
    assertion::{Presented, ReplayTable},
    gatekeeper::{Decision, Denial, Gatekeeper, GatekeeperConfig, QuestionId},
    grant::{Action, Grant, Grants},
    introspection::{Active, Introspection, IntrospectionRequest, MAX_ANSWER},
    oauth::{Form, OauthError, RefreshRequest, RevocationRequest, TokenResponse},
    token::{Claims, Expectation, KeySet, RefreshToken, Role, SigningKey, TokenError, TokenText, VerifyingKey, jws},
};

/// Tokens and assertions: nothing passes that the key did not sign, and what passes is written so that it is read the same.
/// The first byte says whether the others are a token, or what a key signed.
pub fn jwt(data: &[u8]) {
    let Some((which, rest)) = data.split_first() else { return };
    let Ok(text) = core::str::from_utf8(rest) else { return };
    let (key, expected) = (key(), Expectation::new(ISSUER, TRACKERS));
    let keys: KeySet = [key.verifying_key()].into_iter().collect();
    match which % 3 {
        0 => {
            // The corpus has tokens of other keys only.
            assert!(expected.check(&keys, text, NOW).is_err(), "{text}");
            let _ = RefreshToken::parse(&TokenText::new(text)).map(|token| assert_eq!(token.to_text().as_str(), text));
            if let Ok(presented) = Presented::parse(TokenText::new(text)) {
                let mut replays = ReplayTable::default();
                assert!(presented.check(&key.verifying_key(), ISSUER, 60, NOW, &mut replays).is_err());
            }
        }
        1 => {
            if let Ok(token) = expected.check(&keys, &jws::sign(&key, "at+jwt", text), NOW) {
                match token.claims().sign(&key) {
                    Ok(again) => assert_eq!(expected.check(&keys, again.as_str(), NOW), Ok(token)),
                    // Escapes that were not needed before may be written, and names that were left out.
                    Err(error) => assert_eq!(error, TokenError::TooLong),
                }
            }
        }
        _ => {
            let mut replays = ReplayTable::new(1);
            if let Ok(presented) = Presented::parse(TokenText::new(jws::sign(&key, "JWT", text)))
                && presented.check(&key.verifying_key(), ISSUER, 60, NOW, &mut replays).is_ok()
            {
                assert!(presented.check(&key.verifying_key(), ISSUER, 60, NOW, &mut replays).is_err(), "twice");
            }
        }
    }
}

/// Keys and sets of keys: what was read is written so that it is read the same.
pub fn jwks(data: &[u8]) {
    if let Ok(set) = KeySet::from_jwks(data) {
        assert!(set.keys().len() <= KeySet::MAX_KEYS);
        assert_eq!(KeySet::from_jwks(set.to_jwks().as_bytes()), Ok(set));
    }
    let Ok(text) = core::str::from_utf8(data) else { return };
    if let Ok(key) = VerifyingKey::from_jwk(text) {
        assert_eq!(VerifyingKey::from_jwk(&key.to_jwk()), Ok(key));
    }
    if let Ok(key) = SigningKey::from_jwk(text) {
        assert_eq!(SigningKey::from_jwk(&key.to_jwk()).unwrap().id(), key.id());
        assert_eq!(key.verifying_key().verify(b"x", &key.sign(b"x")), Ok(()));
    }
}

/// Answers about tokens, and the forms and answers of the OAuth endpoints.
pub fn introspection(data: &[u8]) {
    if let Ok(answer) = Introspection::read(data) {
        let text = answer.write();
        assert!(text.len() > MAX_ANSWER || Introspection::read(text.as_bytes()) == Ok(answer), "{}", *text);
    }
    if let Some(response) = TokenResponse::read(data) {
        assert_eq!(TokenResponse::read(response.write().as_bytes()), Some(response));
    }
    if let Some(error) = OauthError::read(data) {
        assert_eq!(OauthError::read(error.write().as_bytes()), Some(error));
    }
    let Ok(form) = Form::parse(data) else { return };
    if let Ok(request) = RefreshRequest::read(&form) {
        assert_eq!(RefreshRequest::read(&Form::parse(request.write().as_bytes()).unwrap()), Ok(request));
    }
    if let Ok(request) = RevocationRequest::read(&form) {
        assert_eq!(RevocationRequest::read(&Form::parse(request.write().as_bytes()).unwrap()), Ok(request));
    }
    if let Ok(request) = IntrospectionRequest::read(&form) {
        let text = request.write().finish();
        // What is escaped may be three times as long.
        assert!(
            Form::parse(text.as_bytes()).is_err()
                || IntrospectionRequest::read(&Form::parse(text.as_bytes()).unwrap()) == Ok(request)
        );
    }
    let _ = Presented::read(&form);
}

/// Requests, answers, silence and time in any order: no token counts that the Portal called invalid, none without a yes of
/// the last seconds unless the Portal is away, none after its end; and nothing is asked twice at a time.
pub fn gatekeeper(data: &[u8]) {
    let key = key();
    let config = GatekeeperConfig {
        max_tokens: 7,
        max_questions: 3,
        max_swarms: 2,
        ..GatekeeperConfig::new(Expectation::new(ISSUER, TRACKERS))
    };
    let positive = config.positive;
    let keys = [key.verifying_key()].into_iter().collect();
    let mut now = Instant::from_micros(1_000_000);
    let mut gatekeeper = Gatekeeper::new(config, keys, now, NOW);
    // Two for each of four sessions; the second one lives longer.
    let claims: Vec<Claims> = (0..8).map(|n| claims(n / 2, NOW + 600 + n % 2 * 100)).collect();
    let tokens: Vec<TokenText> = claims.iter().map(|claims| claims.sign(&key).unwrap()).collect();
    // The Portal's last word on each, and when it was.
    let mut words: Vec<Option<(bool, Instant)>> = alloc::vec![None; 8];
    let mut watched = [false; 4];
    let mut open: Vec<(QuestionId, usize)> = Vec::new();
    let token_of = |gatekeeper: &Gatekeeper, id| {
        let request = gatekeeper.question(id).unwrap();
        tokens.iter().position(|token| *token == request.token).unwrap()
    };
    for pair in data.chunks_exact(2).take(500) {
        let (op, choice) = (pair[0], usize::from(pair[1]));
        match op % 8 {
            0..=2 => {
                let swarms = [["a"], ["b"], ["c"], ["d"]];
                let swarms = if choice & 8 == 0 { &[][..] } else { &swarms[choice >> 4 & 3] };
                match gatekeeper.ask(now, &tokens[choice % 8], swarms) {
                    Decision::Allowed(access) => {
                        assert_eq!(access.session(), (choice % 8 / 2) as u128);
                        let word = words[choice % 8];
                        assert!(word.is_none_or(|(active, _)| active), "a revoked token counts");
                        let fresh = word.is_some_and(|(_, at)| now.saturating_since(at) < positive);
                        assert!(fresh || gatekeeper.is_portal_away(), "an old yes counts");
                        let age = now.as_micros() / 1_000_000 - 1;
                        assert!(NOW + age < claims[choice % 8].expires + 60, "an expired token counts");
                        for swarm in ["a", "b", "c", "d"] {
                            let asked = swarms.contains(&swarm);
                            let granted = access.may(swarm, Action::Leech).is_ok();
                            assert!(!granted || swarm == "b" || asked && swarm == "a", "more is granted than was said");
                        }
                    }
                    Decision::Ask(id) => open.push((id, choice % 8)),
                    Decision::Wait(id) => assert!(open.contains(&(id, choice % 8)), "nobody asks this"),
                    Decision::Refused(Denial::Revoked) => {
                        assert_eq!(words[choice % 8].map(|(yes, _)| yes), Some(false));
                    }
                    Decision::Refused(_) => {}
                }
            }
            3 | 4 if !open.is_empty() => {
                let (id, token) = open.remove(choice % open.len());
                let counts = gatekeeper.question(id).is_some();
                let yes = op % 8 == 3;
                let swarm_groups = [("a".into(), [String::from("g")].into()), ("c".into(), Vec::new())].into();
                let answer = Introspection::Active(Active { claims: claims[token].clone(), swarm_groups });
                gatekeeper.answer(now, id, if yes { &answer } else { &Introspection::Inactive });
                if counts {
                    words[token] = Some((yes, now));
                    assert!(!gatekeeper.is_portal_away());
                    let ended = core::iter::from_fn(|| gatekeeper.poll_ended(now)).collect::<Vec<_>>();
                    // The second token of a session is its newest.
                    if !yes && token % 2 == 1 && watched[token / 2] {
                        assert!(ended.contains(&(token as u128 / 2)), "a membership goes on");
                    }
                    ended.iter().for_each(|session| watched[*session as usize] = false);
                }
            }
            5 if !open.is_empty() => {
                let (id, _) = open.remove(choice % open.len());
                gatekeeper.portal_away(now, id);
            }
            6 if choice & 16 == 0 => {
                gatekeeper.watch(now, choice as u128 % 4);
                watched[choice % 4] = true;
            }
            6 => {
                gatekeeper.unwatch(choice as u128 % 4);
                watched[choice % 4] = false;
            }
            _ => now = now + Duration::from_millis(1 << (choice % 18)),
        }
        while let Some(id) = gatekeeper.poll_question(now) {
            let token = token_of(&gatekeeper, id);
            assert!(watched[token / 2], "nobody watches this session");
            open.push((id, token));
        }
        while let Some(session) = gatekeeper.poll_ended(now) {
            watched[session as usize] = false;
        }
        open.retain(|(id, _)| gatekeeper.question(*id).is_some());
        assert!(open.len() <= 3 && gatekeeper.len() <= 7);
        for (i, (id, token)) in open.iter().enumerate() {
            assert!(open[..i].iter().all(|other| other.0 != *id && other.1 != *token), "asked twice");
        }
        assert!(gatekeeper.poll_timeout().is_none_or(|at| at > now), "it does not rest");
    }
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32])
}

fn claims(session: u64, expires: u64) -> Claims {
    let grant = |groups: &[&str], swarms: &[&str]| Grant {
        groups: groups.iter().map(|&group| group.into()).collect(),
        swarms: swarms.iter().map(|&swarm| swarm.into()).collect(),
        actions: Action::ALL.into(),
        ..Grant::default()
    };
    Claims {
        issuer: ISSUER.into(),
        client: Identifier::from_bytes([session as u8; 12]),
        audience: [TRACKERS.into()].into(),
        issued: NOW,
        not_before: NOW,
        expires,
        id: expires.into(),
        session: session.into(),
        role: Role::Viewer,
        grants: Grants::new([grant(&["g"], &[]), grant(&[], &["b"])].into()).unwrap(),
    }
}

const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://portal.example";
const TRACKERS: &str = crate::token::TRACKERS;

#[cfg(test)]
mod tests {
    use super::{super::tests::corpus, *};
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn seeds() {
        corpus("jwt", jwt);
        corpus("jwks", jwks);
        corpus("introspection", introspection);
        corpus("gatekeeper", gatekeeper);
    }

    /// Pieces of JSON and forms in any order.
    fn pieces(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
        let piece = prop_oneof![5 => prop::sample::select(pieces).prop_map(String::from), 1 => "\\PC{0,3}"];
        vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_jwt(which in 0..3u8, text in pieces(&[
            "{", "}", "\"iss\":", "\"sub\":", "\"aud\":", "\"exp\":1800000600", "\"iat\":1800000000", "\"jti\":", "\"sid\":",
            "\"00000000000000000000000000000001\"", "\"https://portal.example\"", "\"role\":\"viewer\"", ",", ".", "[", "]",
            "\"authorization_details\":", "{\"type\":\"ppsp\",\"actions\":[\"LEECH\"]}", "eyJhbGciOiJFZERTQSJ9.", "e30",
        ])) {
            jwt(format!("{}{text}", char::from(which)).as_bytes());
        }

        #[test]
        fn any_jwks(text in pieces(&[
            "{\"keys\":[", "]}", "{\"kty\":\"OKP\"", ",\"crv\":\"Ed25519\"", "}", ",", ",\"d\":", ",\"x\":",
            "\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"", "\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\"",
        ])) {
            jwks(text.as_bytes());
        }

        #[test]
        fn any_introspection(text in pieces(&[
            "{\"active\":", "true", "false", ",\"swarm_groups\":{\"a\":[\"g\"]}", "}", "grant_type=refresh_token", "&refresh_token=a",
            "&token=", "&swarm_id=", "%41", "+", "&content=x", "{\"error\":\"invalid_grant\"", ",\"error_description\":\"x\"",
        ])) {
            introspection(text.as_bytes());
        }

        #[test]
        fn any_gatekeeper(data in vec(any::<u8>(), 0..600)) {
            gatekeeper(&data);
        }
    }
}
