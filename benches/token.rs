//! What a tracker does for a bearer token: the whole check without the Portal, and the look at what is known already.
#![allow(missing_docs, reason = "criterion's macros")]

use std::{error::Error, hint::black_box};

use criterion::{Criterion, criterion_group, criterion_main};
use ppsp_auth::{
    Secret,
    gatekeeper::{Decision, Gatekeeper, GatekeeperConfig},
    grant::{Action, Grant, Grants},
    identity::{PeerIdentifierKey, RegistrationCounter},
    introspection::{Active, Introspection},
    token::{Claims, Expectation, KeySet, Role, SigningKey, TRACKERS},
};
use ppsp_core::{Identifier, Instant};

fn token(c: &mut Criterion) {
    tokens(c).expect("the token is right");
    identifiers(c).expect("the identifier is right");
}

fn tokens(c: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let key = SigningKey::from_seed(&[1; 32]);
    let keys: KeySet = [key.verifying_key()].into_iter().collect();
    let swarm = "5a".repeat(32);
    let grant = Grant {
        swarms: vec![swarm.clone()],
        groups: vec!["news".into(), "films".into()],
        actions: Action::ALL.into(),
        ..Grant::default()
    };
    let claims = Claims {
        issuer: "https://portal.example".into(),
        client: Identifier::from_bytes([7; 12]),
        audience: vec![TRACKERS.into()],
        issued: NOW,
        not_before: NOW,
        expires: NOW + 900,
        id: 1,
        session: 2,
        role: Role::Viewer,
        grants: Grants::new(vec![grant])?,
    };
    let token = claims.sign(&key)?;
    let expectation = Expectation::new(claims.issuer.clone(), TRACKERS);

    let mut group = c.benchmark_group("token");
    group.bench_function("sign", |b| b.iter(|| black_box(&claims).sign(&key)));
    group.bench_function("check", |b| b.iter(|| expectation.check(&keys, black_box(token.as_str()), NOW)));

    let start = Instant::from_micros(1);
    let mut gatekeeper = Gatekeeper::new(GatekeeperConfig::new(expectation), keys, start, NOW);
    let Decision::Ask(question) = gatekeeper.ask(start, &token, &[&swarm]) else { return Err("no question".into()) };
    gatekeeper.answer(start, question, &Introspection::Active(Active { claims, swarm_groups: Default::default() }));
    group.bench_function("known", |b| {
        b.iter(|| match gatekeeper.ask(start, black_box(&token), &[&swarm]) {
            Decision::Allowed(access) => access.may(&swarm, Action::Leech),
            _ => unreachable!("the Portal said yes"),
        });
    });
    group.finish();
    Ok(())
}

fn identifiers(c: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let key = PeerIdentifierKey::new(Secret::new([1; 32]));
    let (client, address) = (Identifier::from_bytes([7; 12]), [192, 0, 2, 1].into());
    let registration = RegistrationCounter::default().register(NOW * 1000).ok_or("no number")?;
    let peer = key.assign(client, address, 2, registration);
    c.bench_function("token/peer identifier", |b| b.iter(|| key.check(black_box(peer), client, address, 2)));
    Ok(())
}

const NOW: u64 = 1_800_000_000;

criterion_group!(benches, token);
criterion_main!(benches);
