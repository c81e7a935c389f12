use alloc::{collections::BTreeSet, vec};

use proptest::prelude::*;

use super::*;
use crate::{Context, Gate, Principal, Tracker, TrackerConfig, message::AddrKind};
use core::{cell::Cell, net::IpAddr};

fn participation(mode: PeerMode, swarms: &[&str]) -> Participation {
    let addr = PeerAddr {
        ip: [10, 0, 0, 1].into(),
        port: 7000,
        priority: 1,
        kind: Some(AddrKind::Host.into()),
        connection: None,
        asn: None,
        peer_protocol: None,
    };
    Participation { mode, swarms: swarms.iter().map(|&swarm| swarm.into()).collect(), addrs: vec![addr] }
}

fn tiers(of: &[&[&str]]) -> Vec<Vec<String>> {
    of.iter().map(|tier| tier.iter().map(|&url| url.into()).collect()).collect()
}

const CLIENT: Identifier = Identifier::from_bytes([5; 12]);
const START: Instant = Instant::from_micros(1_000_000);

fn client(of: &[&[&str]]) -> TrackerClient {
    let own = participation(PeerMode::Leech, &["s"]);
    TrackerClient::new(ClientConfig::default(), [3; 32], START, CLIENT, own, tiers(of))
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// An answer of a tracker to this request.
fn answer(to: &Outgoing, code: Code, peer_id: Option<&str>) -> Vec<u8> {
    let request = Request::read(&to.body).unwrap();
    let mut response = Response::empty(code, request.transaction_id.clone());
    response.peer_id = peer_id.map(Into::into);
    let mut out = Vec::new();
    response.write(&mut out);
    out
}

/// What happened since.
fn events(client: &mut TrackerClient) -> Vec<ClientEvent> {
    core::iter::from_fn(|| client.poll_event()).collect()
}

fn registered(of: &[&[&str]]) -> TrackerClient {
    let mut client = client(of);
    let request = client.poll_request(START).unwrap();
    client.handle_response(START, request.id, None, &answer(&request, Code::OK, Some("assigned")));
    assert!(matches!(client.poll_event(), Some(ClientEvent::Registered { .. })));
    client
}

#[test]
fn a_request_without_an_answer_is_repeated_as_it_was() {
    let mut client = client(&[&["https://a/"], &["https://b/"]]);
    assert!(client.poll_timeout().is_some_and(|at| at <= START));
    let first = client.poll_request(START).unwrap();
    assert_eq!(first.tracker, "https://a/");
    assert_eq!(client.poll_request(START), None, "one at a time");
    client.handle_failure(START, first.id);
    assert_eq!(client.poll_request(START), None, "not at once");
    let then = client.poll_timeout().unwrap();
    assert!((ms(750)..=ms(1250)).contains(&then.saturating_since(START)));
    let second = client.poll_request(then).unwrap();
    // RFC 7846 §4.3: the same request with identical content including the same transaction_id.
    assert_eq!((&second.body, &second.tracker), (&first.body, &first.tracker));
    assert_ne!(second.id, first.id);
    // An answer to the first, too late; then none to the second, and the next tier.
    client.handle_response(then, first.id, None, &answer(&first, Code::OK, None));
    assert_eq!(client.peer_id(), None);
    let late = client.poll_timeout().unwrap();
    assert_eq!(late.saturating_since(then), ClientConfig::default().patience);
    client.handle_timeout(late);
    let failed = ClientEvent::Failed { tracker: "https://a/".into(), why: Failure::Unreachable };
    assert_eq!(client.poll_event(), Some(failed));
    let third = client.poll_request(late).unwrap();
    assert_eq!((&third.body, third.tracker.as_str()), (&first.body, "https://b/"));
    client.handle_response(late, third.id, None, &answer(&third, Code::OK, Some("id")));
    assert_eq!(client.peer_id(), Some("id"));
}

#[test]
fn pauses_grow_while_nobody_answers_and_are_kept_when_asked_for() {
    let mut client = client(&[&["https://a/"]]);
    let (mut now, mut times) = (START, Vec::new());
    for _ in 0..24 {
        let request = client.poll_request(now).unwrap();
        times.push(now);
        client.handle_failure(now, request.id);
        events(&mut client);
        now = now.max(client.poll_timeout().unwrap());
    }
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1].saturating_since(pair[0])).collect();
    assert!(pauses.iter().all(|pause| *pause <= ms(75_000)));
    assert!(pauses.iter().any(|pause| *pause > ms(40_000)) && pauses[0] < ms(1300), "{pauses:?}");
    // 05 with Retry-After.
    let request = client.poll_request(now).unwrap();
    let busy = answer(&request, Code::UNAVAILABLE, None);
    client.handle_response(now, request.id, Some(Duration::from_secs(120)), &busy);
    events(&mut client);
    assert_eq!(client.poll_timeout(), Some(now + Duration::from_secs(120)));
}

#[test]
fn a_tracker_that_forgot_us_gets_a_new_registration() {
    let mut client = registered(&[&["https://a/"]]);
    let now = client.poll_timeout().unwrap();
    assert!((ms(22_500)..=ms(37_500)).contains(&now.saturating_since(START)));
    client.count("s", Counters { uploaded: 1, downloaded: 2, bandwidth: 3, links: 4 });
    let report = client.poll_request(now).unwrap();
    let request = Request::read(&report.body).unwrap();
    assert_eq!(request.peer_id, "assigned");
    let RequestData::StatReport(StatReport { stats }) = &request.data else { panic!() };
    assert_eq!((stats[0].uploaded_bytes, stats[0].downloaded_bytes, stats[0].concurrent_links), (1, 2, 4));
    client.handle_response(now, report.id, None, &answer(&report, Code::FORBIDDEN, None));
    let connect = client.poll_request(now).unwrap();
    let again = Request::read(&connect.body).unwrap();
    assert!(matches!(again.data, RequestData::Connect(_)));
    assert_eq!(again.peer_id, CLIENT.to_string());
    assert_ne!(again.transaction_id, request.transaction_id);
    // Refused as a client too: said, and tried again later.
    client.handle_response(now, connect.id, None, &answer(&connect, Code::FORBIDDEN, None));
    let refused = ClientEvent::Failed { tracker: "https://a/".into(), why: Failure::Refused(Code::FORBIDDEN) };
    assert_eq!(client.poll_event(), Some(refused));
    assert!(client.poll_timeout().unwrap() > now);
}

#[test]
fn credentials_are_asked_for_and_waited_for() {
    let mut client = client(&[&["https://a/"]]);
    let request = client.poll_request(START).unwrap();
    client.handle_response(START, request.id, None, &answer(&request, Code::AUTHENTICATION_REQUIRED, None));
    assert_eq!(client.poll_event(), Some(ClientEvent::Unauthorized { tracker: "https://a/".into() }));
    assert_eq!((client.poll_timeout(), client.poll_request(START + ms(100_000))), (None, None));
    client.authorized(START + ms(5));
    assert_eq!(client.poll_timeout(), Some(START + ms(5)));
    assert_eq!(client.poll_request(START + ms(5)).unwrap().body, request.body);
}

#[test]
fn who_will_never_help_is_not_asked_again() {
    let mut client = client(&[&["https://a/"], &["https://b/"]]);
    let request = client.poll_request(START).unwrap();
    client.handle_response(START, request.id, None, &answer(&request, Code::UNSUPPORTED_VERSION, None));
    let request = client.poll_request(START).unwrap();
    assert_eq!(request.tracker, "https://b/");
    client.handle_response(START, request.id, None, &answer(&request, Code::BAD_REQUEST, None));
    events(&mut client);
    assert_eq!((client.poll_timeout(), client.poll_request(START)), (None, None));
    client.leave();
    assert!(core::iter::from_fn(|| client.poll_event()).any(|event| event == ClientEvent::Left));
}

#[test]
fn finds_are_rare_and_leaving_is_said() {
    let mut client = registered(&[&["https://a/"]]);
    client.find("s");
    client.find("another");
    assert_eq!(client.poll_request(START), None, "there was a list just now");
    let then = client.poll_timeout().unwrap();
    assert_eq!(then.saturating_since(START), ClientConfig::default().find_every);
    let find = client.poll_request(then).unwrap();
    assert!(
        matches!(Request::read(&find.body).unwrap().data, RequestData::Find(Find { swarm_id, .. }) if swarm_id == "s")
    );
    client.leave();
    let leave = client.poll_request(then).unwrap();
    let request = Request::read(&leave.body).unwrap();
    let RequestData::Connect(connect) = &request.data else { panic!() };
    assert_eq!(connect.actions[0].action.known(), Some(Action::Leave));
    client.handle_failure(then, leave.id);
    let again = client.poll_timeout().unwrap();
    let leave = client.poll_request(again).unwrap();
    client.handle_failure(again, leave.id);
    assert_eq!(client.poll_event(), Some(ClientEvent::Left));
    assert_eq!((client.poll_timeout(), client.poll_request(again + ms(1_000_000))), (None, None));
}

#[test]
fn a_better_tier_is_tried_again() {
    let mut client = client(&[&["https://a/"], &["https://b/"]]);
    let mut now = START;
    while client.peer_id().is_none() {
        let request = client.poll_request(now).unwrap();
        match request.tracker.as_str() {
            "https://a/" => client.handle_failure(now, request.id),
            _ => client.handle_response(now, request.id, None, &answer(&request, Code::OK, Some("b's"))),
        }
        events(&mut client);
        now = now.max(client.poll_timeout().unwrap());
    }
    let mut asked = BTreeSet::new();
    while now.saturating_since(START) < Duration::from_secs(700) {
        client.handle_timeout(now);
        if let Some(request) = client.poll_request(now) {
            asked.insert(request.tracker.clone());
            client.handle_response(now, request.id, None, &answer(&request, Code::OK, None));
        }
        events(&mut client);
        now = now.max(client.poll_timeout().unwrap());
    }
    assert!(asked.contains("https://a/"), "{asked:?}");
}

#[test]
fn leaving_ends_whatever_the_tracker_does() {
    // No tracker is left that would ever help.
    let mut client = registered(&[&["https://a/"]]);
    let now = client.poll_timeout().unwrap();
    let report = client.poll_request(now).unwrap();
    client.handle_response(now, report.id, None, &answer(&report, Code::BAD_REQUEST, None));
    client.leave();
    assert_eq!(events(&mut client).last(), Some(&ClientEvent::Left));
    // It wants credentials that nobody has; it is busy for minutes.
    for (code, retry_after) in [(Code::AUTHENTICATION_REQUIRED, None), (Code::UNAVAILABLE, Some(ms(300_000)))] {
        let mut client = registered(&[&["https://a/"]]);
        client.leave();
        let leave = client.poll_request(START).unwrap();
        client.handle_response(START, leave.id, retry_after, &answer(&leave, code, None));
        events(&mut client);
        let end = client.poll_timeout().unwrap();
        assert!(end.saturating_since(START) <= ClientConfig::default().leave_within, "{code:?}");
        client.handle_timeout(end);
        assert_eq!((events(&mut client).last(), client.poll_timeout()), (Some(&ClientEvent::Left), None));
    }
}

#[test]
fn who_leaves_while_it_registers_is_not_forgotten_there() {
    let mut client = client(&[&["https://a/"]]);
    let connect = client.poll_request(START).unwrap();
    client.leave();
    client.handle_response(START, connect.id, None, &answer(&connect, Code::OK, Some("assigned")));
    let leave = client.poll_request(START).unwrap();
    assert_eq!(Request::read(&leave.body).unwrap().peer_id, "assigned");
    client.handle_response(START, leave.id, None, &answer(&leave, Code::OK, None));
    assert_eq!(events(&mut client), [ClientEvent::Left]);
}

#[test]
fn credentials_that_are_refused_are_not_shown_again_and_again() {
    let mut client = client(&[&["https://a/"]]);
    let mut requests = 0;
    while let Some(request) = client.poll_request(START) {
        requests += 1;
        client.handle_response(START, request.id, None, &answer(&request, Code::AUTHENTICATION_REQUIRED, None));
        client.authorized(START);
    }
    assert!((2..10).contains(&requests), "{requests} at one instant");
}

#[test]
fn reports_go_on_while_peers_are_short() {
    let mut client = registered(&[&["https://a/"]]);
    let (mut now, mut heard, mut silence) = (START, START, Duration::ZERO);
    while now.saturating_since(START) < ms(3_600_000) {
        client.find("s");
        now = now.max(client.poll_timeout().unwrap());
        let Some(request) = client.poll_request(now) else { continue };
        if matches!(Request::read(&request.body).unwrap().data, RequestData::StatReport(_)) {
            silence = silence.max(now.saturating_since(heard));
            heard = now;
        }
        client.handle_response(now, request.id, None, &answer(&request, Code::OK, None));
    }
    assert!(heard > START && silence <= ms(60_000), "{silence:?}");
}

#[test]
fn an_answer_that_says_when_is_heeded_at_every_tracker() {
    let mut client = registered(&[&["https://a/"]]);
    let mut now = client.poll_timeout().unwrap();
    for _ in 0..4 {
        let request = client.poll_request(now).unwrap();
        client.handle_response(now, request.id, Some(ms(120_000)), &answer(&request, Code::UNAVAILABLE, None));
        events(&mut client);
        let then = client.poll_timeout().unwrap();
        assert!(then.saturating_since(now) >= ms(120_000));
        now = then;
    }
}

#[test]
fn a_swarm_has_one_list_however_often_it_is_named() {
    let mut client = client(&[&["https://a/"]]);
    let request = client.poll_request(START).unwrap();
    let read = Request::read(&request.body).unwrap();
    let mut response = Response::empty(Code::OK, read.transaction_id.clone());
    let one = crate::message::SwarmResult { swarm_id: "s".into(), peers: Some(vec![]), ..Default::default() };
    response.results = vec![one; 200];
    let mut body = Vec::new();
    response.write(&mut body);
    client.handle_response(START, request.id, None, &body);
    assert_eq!(client.poll_timeout(), Some(Instant::default()), "events wait");
    let happened = events(&mut client);
    assert!(matches!(happened[..], [ClientEvent::Registered { .. }, ClientEvent::Peers { .. }]), "{happened:?}");
}

/// To look whether a better tracker is back must not cost the registration at the one that helps.
#[test]
fn looking_up_is_never_long_silence() {
    let mut client = client(&[&["https://a1/", "https://a2/", "https://a3/"], &["https://b/"]]);
    let (mut now, mut last, mut silence) = (START, None, Duration::ZERO);
    let mut tried = BTreeSet::new();
    while now.saturating_since(START) < ms(4_000_000) {
        client.handle_timeout(now);
        if let Some(request) = client.poll_request(now) {
            if request.tracker == "https://b/" {
                silence = silence.max(last.map_or(Duration::ZERO, |last| now.saturating_since(last)));
                last = Some(now);
                client.handle_response(now, request.id, None, &answer(&request, Code::OK, Some("b's")));
            } else if last.is_some() {
                tried.insert(request.tracker);
            }
        }
        events(&mut client);
        now = now.max(client.poll_timeout().unwrap());
    }
    assert!(silence < ms(90_000), "{silence:?}");
    assert_eq!(tried.len(), 3, "each in its turn");
}

/// RFC 7846 §1.2.2: tier by tier.
#[test]
fn a_tier_is_asked_whole_before_the_next() {
    let mut client = client(&[&["https://a1/", "https://a2/"], &["https://b/"]]);
    let mut now = START;
    let lose = |client: &mut TrackerClient, now: &mut Instant| {
        let first = client.poll_request(*now).unwrap();
        let mut request = first.clone();
        while request.tracker == first.tracker {
            client.handle_failure(*now, request.id);
            events(client);
            *now = (*now).max(client.poll_timeout().unwrap());
            request = client.poll_request(*now).unwrap();
        }
        client.handle_response(*now, request.id, None, &answer(&request, Code::OK, Some("id")));
        events(client);
        *now = client.poll_timeout().unwrap();
        (first.tracker, request.tracker)
    };
    let (first, second) = lose(&mut client, &mut now);
    let (again, third) = lose(&mut client, &mut now);
    assert_eq!((second, first), (again, third), "both of the first tier");
}

/// Allows everything.
struct Open(Cell<u64>);

impl Gate for Open {
    fn may(&self, _: &Principal, _: &str, _: PeerMode) -> bool {
        true
    }
    fn assign(&self, _: &Principal, _: IpAddr) -> Identifier {
        self.0.set(self.0.get() + 1);
        let mut bytes = [1; 12];
        bytes[..8].copy_from_slice(&self.0.get().to_be_bytes());
        Identifier::from_bytes(bytes)
    }
    fn assigned(&self, _: Identifier, _: &Principal, _: IpAddr) -> bool {
        true
    }
}

proptest! {
    /// With the real tracker, requests and answers that are lost, and restarts: whoever is registered stays so, and the promise
    /// about `poll_timeout` holds.
    #[test]
    fn a_client_stays_registered_whatever_is_lost(fates in prop::collection::vec(0..10u8, 20..120)) {
        let gate = Open(Cell::new(0));
        let mut tracker = Tracker::new(TrackerConfig::default(), [1; 32]);
        let mut client = client(&[&["https://a/", "https://b/"]]);
        let mut now = START;
        let mut last_heard = None;
        for fate in fates.iter().copied().chain([9; 10]) {
            events(&mut client);
            now = now.max(client.poll_timeout().unwrap());
            client.handle_timeout(now);
            tracker.handle_timeout(now);
            let Some(request) = client.poll_request(now) else { continue };
            prop_assert!(client.poll_timeout().is_some());
            if fate == 0 {
                tracker = Tracker::new(TrackerConfig::default(), [1; 32]);
            }
            if fate < 3 {
                client.handle_failure(now, request.id); // lost on the way there
                continue;
            }
            let principal = Some(Principal { client: CLIENT, session: 7 });
            let mut body = Vec::new();
            let context = Context { remote: [192, 0, 2, 1].into(), principal, gate: &gate };
            let code = tracker.handle(now, &context, &request.body, &mut body);
            if code == Code::OK {
                last_heard = Some(now);
            }
            if fate < 5 {
                client.handle_failure(now, request.id); // lost on the way back
            } else {
                client.handle_response(now, request.id, None, &body);
            }
        }
        // The last ten went through.
        prop_assert!(client.peer_id().is_some());
        prop_assert!(now.saturating_since(last_heard.unwrap()) <= Duration::from_secs(38));
        prop_assert_eq!(tracker.peer_count() >= 1, true);
    }

    #[test]
    fn whatever_a_tracker_answers(bytes: Vec<u8>, code in 0..9u8, id in 0..3u64) {
        let mut client = client(&[&["https://a/"]]);
        let request = client.poll_request(START).unwrap();
        client.handle_response(START, id, None, &bytes);
        client.handle_response(START, request.id, None, &answer(&request, Code(code), Some("x")));
        client.handle_response(START, request.id, None, &bytes);
        while client.poll_event().is_some() {}
    }

    #[test]
    fn whatever_happens(script in prop::collection::vec(any::<u8>(), 0..400)) {
        crate::fuzzing::tracker_client(&script);
    }
}
