//! A sign-in by SCRAM as the Portal sees it, from the first header to the last, and a request with Digest as the
//! tracker does.
#![allow(missing_docs, reason = "criterion's macros")]

use std::{error::Error, hint::black_box};

use criterion::{Criterion, criterion_group, criterion_main};
use ppsp_auth::{
    Password, Secret,
    digest::{Accounts, DigestClient, DigestLimits, DigestServer, account_line},
    scram::{AuthenticationInfo, Authorization, Challenge, Client, Server, Verifier},
};
use ppsp_core::Instant;

fn login(c: &mut Criterion) {
    scram(c).expect("the exchange is right");
    digest(c).expect("the request is right");
}

/// Everything the server does for one login but the database.
fn scram(c: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let server = Server::new(&Secret::new([1; 32]), 4096);
    let password = Password::new("correct horse battery staple")?;
    let verifier = Verifier::new(&password, [2; 16], 4096)?;
    // The client stretches its password once, before the clock runs.
    let (client, message) = Client::new("alice".parse()?, password, &[3; 18]);
    let first = Authorization::First { realm: None, message: message.clone() }.to_string();
    let challenge = server.challenge(&server.hear(&message)?, Some(&verifier), &[4; 18], 1000);
    let (_, message) = client.prove(&challenge.message)?;
    let last = Authorization::Final { sid: challenge.sid, message }.to_string();

    let exchange = |verifier: Option<&Verifier>| -> Result<String, Box<dyn Error>> {
        let Authorization::First { message, .. } = Authorization::read(black_box(&first))? else {
            return Err("".into());
        };
        let challenge = server.challenge(&server.hear(&message)?, verifier, &[4; 18], 1000);
        black_box(Challenge::First { sid: challenge.sid, message: challenge.message }.to_string());
        let Authorization::Final { sid, message } = Authorization::read(black_box(&last))? else {
            return Err("".into());
        };
        let login = server.resume(&sid, 1001)?.verify(&message, verifier)?;
        Ok(AuthenticationInfo { sid, message: login.message }.to_string())
    };
    exchange(Some(&verifier))?;
    let mut group = c.benchmark_group("login");
    group.bench_function("SCRAM, whole server side", |b| b.iter(|| exchange(Some(&verifier))));
    group.bench_function("SCRAM, unknown user", |b| b.iter(|| exchange(None)));
    group.finish();
    Ok(())
}

fn digest(c: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let (now, password) = (Instant::from_micros(1), Password::new("correct horse battery staple")?);
    let accounts = Accounts::parse("tracker", &account_line("alice", "tracker", &password)?)?;
    let mut server = DigestServer::new(&Secret::new([1; 32]), accounts, DigestLimits::default());
    let mut client = DigestClient::new("alice", password)?;
    client.challenged(&server.challenge(now, &[2; 8], false))?;
    let header = client.authorization("POST", "/", &[3; 16]).ok_or("no challenge")?;
    server.verify(now, &header, "POST", "/")?;
    // The same request again does all the work, and is found to be a replay at the end of it.
    let mut group = c.benchmark_group("login");
    group.bench_function("Digest, one request", |b| {
        b.iter(|| server.verify(now, black_box(&header), "POST", "/").is_err());
    });
    group.finish();
    Ok(())
}

criterion_group!(benches, login);
criterion_main!(benches);
