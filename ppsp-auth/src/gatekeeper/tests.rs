use super::*;
use crate::{
    introspection::Active,
    token::{
        RefreshToken, SigningKey,
        access::tests::{NOW, claims, expectation, key, keys},
    },
};

fn at(millis: u64) -> Instant {
    Instant::from_micros(5_000_000 + millis * 1000)
}

fn gatekeeper() -> Gatekeeper {
    Gatekeeper::new(GatekeeperConfig::new(expectation()), keys(), at(0), NOW)
}

fn token(session: u128) -> TokenText {
    claims(session).sign(&key()).unwrap()
}

/// Another token of the session, that lives longer.
fn newer(session: u128) -> TokenText {
    Claims { expires: NOW + 700, ..claims(session) }.sign(&key()).unwrap()
}

fn yes(session: u128) -> Introspection {
    let swarm_groups = [("c3d4".into(), vec!["news".into()])].into();
    Introspection::Active(Active { claims: claims(session), swarm_groups })
}

fn asked(decision: Decision) -> QuestionId {
    match decision {
        Decision::Ask(id) => id,
        other => panic!("{other:?}"),
    }
}

fn allowed(decision: Decision) -> Access {
    match decision {
        Decision::Allowed(access) => access,
        other => panic!("{other:?}"),
    }
}

/// Asks and has the Portal say yes.
fn confirmed(gatekeeper: &mut Gatekeeper, millis: u64, session: u128) -> Access {
    let id = asked(gatekeeper.ask(at(millis), &token(session), &[]));
    gatekeeper.answer(at(millis), id, &yes(session));
    allowed(gatekeeper.ask(at(millis), &token(session), &[]))
}

const REVOKED: Decision = Decision::Refused(Denial::Revoked);
const BUSY: Decision = Decision::Refused(Denial::Busy);

fn refused(error: TokenError) -> Decision {
    Decision::Refused(Denial::Token(error))
}

#[test]
fn a_yes_counts_for_ten_seconds_and_one_question_serves_all() {
    let mut gatekeeper = gatekeeper();
    let token = token(1);
    let id = asked(gatekeeper.ask(at(0), &token, &["a1b2"]));
    assert_eq!(gatekeeper.question(id).unwrap().token, token);
    assert_eq!(gatekeeper.ask(at(1), &token, &["a1b2"]), Decision::Wait(id));
    gatekeeper.answer(at(2), id, &yes(1));
    assert_eq!(gatekeeper.question(id), None);
    let access = allowed(gatekeeper.ask(at(10_001), &token, &["a1b2"]));
    assert_eq!((access.session(), access.client(), access.role()), (1, claims(1).client, Role::Viewer));
    assert_eq!(access.may("a1b2", Action::Seeder), Ok(()));
    assert_eq!(access.may("ffff", Action::Leech), Err(Refusal::Swarm));
    let again = asked(gatekeeper.ask(at(10_002), &token, &["a1b2"]));
    assert_ne!(id, again);
    // An answer that nobody waits for.
    gatekeeper.answer(at(10_003), id, &Introspection::Inactive);
    assert_eq!(gatekeeper.ask(at(10_003), &token, &[]), Decision::Wait(again));
}

#[test]
fn groups_are_learned_from_answers() {
    let mut gatekeeper = gatekeeper();
    let shown = token(1);
    assert_eq!(confirmed(&mut gatekeeper, 0, 1).may("c3d4", Action::Leech), Err(Refusal::Swarm));
    // Named by itself: no question. In a group, perhaps: a question for this swarm alone.
    allowed(gatekeeper.ask(at(1), &shown, &["a1b2"]));
    let id = asked(gatekeeper.ask(at(1), &shown, &["a1b2", "c3d4", "e5f6"]));
    assert_eq!(gatekeeper.question(id).unwrap().swarms, ["c3d4", "e5f6"]);
    gatekeeper.answer(at(2), id, &yes(1));
    let access = allowed(gatekeeper.ask(at(3), &shown, &["c3d4", "e5f6"]));
    assert_eq!(access.may("c3d4", Action::Leech), Ok(()));
    assert_eq!(access.may("e5f6", Action::Leech), Err(Refusal::Swarm));
    // Known groups serve other clients, and the time when the Portal is away.
    let other = confirmed(&mut gatekeeper, 4, 2);
    assert_eq!(other.session(), 2);
    assert_eq!(allowed(gatekeeper.ask(at(5), &token(2), &["c3d4"])).may("c3d4", Action::Seeder), Ok(()));
    let id = asked(gatekeeper.ask(at(61_000), &shown, &["c3d4"]));
    gatekeeper.portal_away(at(61_000), id);
    assert_eq!(allowed(gatekeeper.ask(at(61_000), &shown, &["c3d4"])).may("c3d4", Action::Seeder), Ok(()));
}

#[test]
fn the_grants_are_those_of_the_last_answer() {
    let mut gatekeeper = gatekeeper();
    let id = asked(gatekeeper.ask(at(0), &token(1), &["a1b2"]));
    let narrower = Claims { grants: Default::default(), ..claims(1) };
    let answer = Introspection::Active(Active { claims: narrower, swarm_groups: BTreeMap::new() });
    gatekeeper.answer(at(0), id, &answer);
    let access = allowed(gatekeeper.ask(at(0), &token(1), &["a1b2"]));
    assert_eq!(access.may("a1b2", Action::Leech), Err(Refusal::Swarm));
}

#[test]
fn an_answer_about_another_token_is_a_no() {
    let mut gatekeeper = gatekeeper();
    let id = asked(gatekeeper.ask(at(0), &token(1), &[]));
    gatekeeper.answer(at(0), id, &yes(2));
    assert_eq!(gatekeeper.ask(at(0), &token(1), &[]), REVOKED);
}

#[test]
fn a_no_is_asked_again_and_never_forgotten() {
    let mut gatekeeper = gatekeeper();
    let token = token(1);
    let id = asked(gatekeeper.ask(at(0), &token, &[]));
    gatekeeper.answer(at(0), id, &Introspection::Inactive);
    assert_eq!(gatekeeper.ask(at(4999), &token, &[]), REVOKED);
    let id = asked(gatekeeper.ask(at(5000), &token, &[]));
    gatekeeper.portal_away(at(5001), id);
    assert_eq!(gatekeeper.ask(at(5002), &token, &[]), REVOKED);
    let id = asked(gatekeeper.ask(at(7001), &token, &[]));
    assert_eq!(gatekeeper.ask(at(7001), &token, &[]), REVOKED);
    gatekeeper.answer(at(7002), id, &yes(1));
    allowed(gatekeeper.ask(at(7003), &token, &[]));
}

#[test]
fn without_the_portal_tokens_count_until_they_expire() {
    let mut gatekeeper = gatekeeper();
    confirmed(&mut gatekeeper, 0, 1);
    let id = asked(gatekeeper.ask(at(10_000), &token(1), &[]));
    gatekeeper.portal_away(at(10_100), id);
    assert!(gatekeeper.is_portal_away());
    allowed(gatekeeper.ask(at(10_100), &token(1), &[]));
    // One that the Portal never saw, too, but none of which the key is not known.
    allowed(gatekeeper.ask(at(10_100), &token(2), &[]));
    let foreign = claims(3).sign(&SigningKey::from_seed(&[9; 32])).unwrap();
    assert!(!gatekeeper.key_missing());
    assert_eq!(gatekeeper.ask(at(10_100), &foreign, &[]), refused(TokenError::UnknownKey));
    assert!(gatekeeper.key_missing());
    let opaque = RefreshToken::first(&[1; 32]).to_text();
    assert_eq!(gatekeeper.ask(at(10_100), &opaque, &[]), refused(TokenError::Malformed));

    // After two seconds one question tries; the others do not wait for it.
    let probe = asked(gatekeeper.ask(at(12_100), &token(2), &[]));
    allowed(gatekeeper.ask(at(12_101), &token(1), &[]));
    allowed(gatekeeper.ask(at(12_101), &token(2), &[]));
    // Nobody answers: after five seconds that counts as away.
    allowed(gatekeeper.ask(at(17_100), &token(1), &[]));
    assert_eq!(gatekeeper.question(probe), None);
    // Expiry counts, with the leeway of a minute.
    for millis in (17_200..660_000).step_by(1000) {
        if let Decision::Ask(id) = gatekeeper.ask(at(millis), &token(1), &[]) {
            gatekeeper.portal_away(at(millis), id);
        }
    }
    allowed(gatekeeper.ask(at(659_999), &token(1), &[]));
    assert_eq!(gatekeeper.ask(at(660_000), &token(1), &[]), refused(TokenError::Expired));
    assert!(gatekeeper.is_empty());
}

#[test]
fn a_banned_client_that_is_silent_loses_its_memberships() {
    let mut gatekeeper = gatekeeper();
    confirmed(&mut gatekeeper, 0, 1);
    confirmed(&mut gatekeeper, 0, 2);
    gatekeeper.watch(at(100), 1);
    // Session 2 has no membership: nobody asks about it.
    let mut now = at(100);
    for round in 1..=5 {
        now = gatekeeper.poll_timeout().unwrap();
        assert_eq!(now, at(7500 * round));
        let id = gatekeeper.poll_question(now).unwrap();
        assert_eq!(gatekeeper.poll_question(now), None);
        assert_eq!(gatekeeper.question(id).unwrap().token, token(1));
        gatekeeper.answer(now, id, &yes(1));
        assert_eq!(gatekeeper.poll_ended(now), None);
    }
    // Banned now. Requests between are answered from the cache; within its time the sessions is over.
    let next = gatekeeper.poll_timeout().unwrap();
    assert!(next.saturating_since(now) <= Duration::from_secs(10));
    allowed(gatekeeper.ask(next, &token(1), &[]));
    let id = gatekeeper.poll_question(next).unwrap();
    gatekeeper.answer(next, id, &Introspection::Inactive);
    assert!(gatekeeper.poll_timeout().unwrap() <= next);
    assert_eq!(gatekeeper.poll_ended(next), Some(1));
    assert_eq!(gatekeeper.poll_ended(next), None);
    assert_eq!(gatekeeper.ask(next, &token(1), &[]), REVOKED);
    // A membership that began in the same moment ends as well.
    gatekeeper.watch(next, 1);
    assert_eq!(gatekeeper.poll_ended(next), Some(1));
}

#[test]
fn watching_while_the_portal_is_away() {
    let mut gatekeeper = gatekeeper();
    confirmed(&mut gatekeeper, 0, 1);
    gatekeeper.watch(at(0), 1);
    let id = gatekeeper.poll_question(at(7500)).unwrap();
    gatekeeper.portal_away(at(7600), id);
    assert_eq!(gatekeeper.poll_question(at(7600)), None);
    assert_eq!(gatekeeper.poll_timeout(), Some(at(9600)));
    let id = gatekeeper.poll_question(at(9600)).unwrap();
    // No answer comes. Time alone finds out.
    assert_eq!(gatekeeper.poll_timeout(), Some(at(14_600)));
    assert_eq!(gatekeeper.poll_question(at(14_600)), None);
    assert_eq!(gatekeeper.question(id), None);
    assert_eq!(gatekeeper.poll_ended(at(14_600)), None);
    let id = gatekeeper.poll_question(at(16_600)).unwrap();
    gatekeeper.answer(at(16_700), id, &Introspection::Inactive);
    assert_eq!(gatekeeper.poll_ended(at(16_700)), Some(1));
}

#[test]
fn the_newest_token_stands_for_the_session() {
    let mut gatekeeper = gatekeeper();
    confirmed(&mut gatekeeper, 0, 1);
    gatekeeper.watch(at(0), 1);
    let id = asked(gatekeeper.ask(at(100), &newer(1), &[]));
    gatekeeper.answer(at(100), id, &yes(1));
    // The older one is revoked: the session goes on.
    let id = asked(gatekeeper.ask(at(10_050), &token(1), &[]));
    gatekeeper.answer(at(10_050), id, &Introspection::Inactive);
    assert_eq!(gatekeeper.poll_ended(at(10_050)), None);
    let id = gatekeeper.poll_question(at(10_050)).unwrap();
    assert_eq!(gatekeeper.question(id).unwrap().token, newer(1));
    gatekeeper.answer(at(10_050), id, &Introspection::Inactive);
    assert_eq!(gatekeeper.poll_ended(at(10_050)), Some(1));
}

#[test]
fn a_session_ends_with_its_last_token() {
    let mut gatekeeper = gatekeeper();
    confirmed(&mut gatekeeper, 0, 1);
    gatekeeper.watch(at(0), 1);
    let mut ended = None;
    while let Some(now) = gatekeeper.poll_timeout() {
        if let Some(id) = gatekeeper.poll_question(now) {
            gatekeeper.answer(now, id, &yes(1));
        }
        if let Some(session) = gatekeeper.poll_ended(now) {
            ended = Some((session, now));
        }
    }
    assert_eq!(ended, Some((1, at(660_000))));
    assert!(gatekeeper.is_empty() && gatekeeper.sessions.is_empty() && gatekeeper.due.is_empty());
    gatekeeper.watch(at(660_001), 1);
    assert_eq!(gatekeeper.poll_ended(at(660_001)), Some(1));
}

#[test]
fn unwatched_sessions_are_left_alone() {
    let mut gatekeeper = gatekeeper();
    confirmed(&mut gatekeeper, 0, 1);
    gatekeeper.watch(at(0), 1);
    gatekeeper.unwatch(1);
    assert_eq!(gatekeeper.poll_question(at(600_000)), None);
    assert_eq!(gatekeeper.poll_timeout(), Some(at(660_000)));
    assert_eq!(gatekeeper.poll_ended(at(660_000)), None);
}

#[test]
fn a_clock_that_is_off_by_minutes_is_set_right_by_the_portals() {
    // Five minutes slow: a fresh token seems to come from the future.
    let mut gatekeeper = Gatekeeper::new(GatekeeperConfig::new(expectation()), keys(), at(0), NOW - 300);
    assert_eq!(gatekeeper.ask(at(0), &token(1), &[]), refused(TokenError::NotYet));
    gatekeeper.set_clock(at(1), NOW);
    confirmed(&mut gatekeeper, 2, 1);
    // Fifteen minutes fast: it seems to have expired.
    let mut gatekeeper = Gatekeeper::new(GatekeeperConfig::new(expectation()), keys(), at(0), NOW + 900);
    assert_eq!(gatekeeper.ask(at(0), &token(1), &[]), refused(TokenError::Expired));
    gatekeeper.set_clock(at(1), NOW);
    confirmed(&mut gatekeeper, 2, 1);
    // Monotonic from here on, whatever the wall clock of the machine does.
    assert_eq!(gatekeeper.ask(at(660_001), &token(1), &[]), refused(TokenError::Expired));
}

#[test]
fn at_the_limits() {
    let config = GatekeeperConfig { max_tokens: 40, max_questions: 3, ..GatekeeperConfig::new(expectation()) };
    let mut gatekeeper = Gatekeeper::new(config, keys(), at(0), NOW);
    let ids: Vec<_> = (0..3).map(|n| asked(gatekeeper.ask(at(0), &token(n), &[]))).collect();
    assert_eq!(gatekeeper.ask(at(0), &token(3), &[]), BUSY);
    for (n, id) in (0..).zip(ids) {
        gatekeeper.answer(at(1), id, &yes(n));
    }
    confirmed(&mut gatekeeper, 1, 3);
    for n in 4..40 {
        confirmed(&mut gatekeeper, 1, n);
    }
    assert_eq!(gatekeeper.ask(at(2), &token(40), &[]), BUSY);
    allowed(gatekeeper.ask(at(2), &token(0), &[]));
    assert_eq!(gatekeeper.len(), 40);
    assert_eq!(gatekeeper.poll_ended(at(660_000)), None);
    assert!(gatekeeper.is_empty());
}

#[test]
fn one_session_cannot_use_up_the_room_of_all() {
    let mut gatekeeper = gatekeeper();
    let of_one = |n: u64| Claims { id: n.into(), ..claims(1) }.sign(&key()).unwrap();
    for n in 0..GatekeeperConfig::MAX_SESSION_TOKENS as u64 {
        asked(gatekeeper.ask(at(0), &of_one(n), &[]));
    }
    assert_eq!(gatekeeper.ask(at(0), &of_one(1000), &[]), BUSY);
    asked(gatekeeper.ask(at(0), &token(2), &[]));
}
