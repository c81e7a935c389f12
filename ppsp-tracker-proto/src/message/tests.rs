use super::*;
use alloc::{format, string::String, vec};
use proptest::prelude::*;

macro_rules! example {
    ($name:literal) => {
        include_bytes!(concat!("../../tests/corpus/", $name, ".json"))
    };
}

fn request(body: &[u8]) -> Request<'_> {
    Request::read(body).unwrap()
}

fn written(request: &Request<'_>) -> String {
    let mut out = vec![];
    request.write(&mut out);
    assert_eq!(Request::read(&out).as_ref(), Ok(request));
    String::from_utf8(out).unwrap()
}

fn written_response(response: &Response<'_>) -> String {
    let mut out = vec![];
    response.write(&mut out);
    String::from_utf8(out).unwrap()
}

fn scope() -> Option<PeerNum<'static>> {
    Some(PeerNum {
        peer_count: Some(5),
        ability_nat: Some(AbilityNat::Stun.into()),
        concurrent_links: Some(5),
        online_time: Some(200),
        upload_bandwidth: Some(600),
    })
}

/// RFC 7846 §4.1.1.1: `peer_addr` is an object where a list is meant.
#[test]
fn example_of_a_seeder() {
    let request = request(example!("tracker_request/connect_seeder"));
    assert_eq!((&*request.transaction_id, &*request.peer_id), ("12345", "656164657220"));
    let RequestData::Connect(connect) = &request.data else { panic!() };
    let addr = &connect.addrs[0];
    assert_eq!((addr.ip, addr.port, addr.priority), ([192, 0, 2, 2].into(), 80, 1));
    assert_eq!((addr.kind.clone(), addr.asn.as_deref()), (Some(AddrKind::Host.into()), Some("45645")));
    let actions: Vec<_> = connect.actions.iter().map(|action| (&*action.swarm_id, action.peer_mode.known())).collect();
    assert_eq!(actions, [("1111", Some(PeerMode::Seeder)), ("2222", Some(PeerMode::Seeder))]);
    written(&request);
}

/// RFC 7846 §4.1.1.1: integers are written as strings, `swarm_action` is an object.
#[test]
fn example_of_a_leech() {
    let request = request(example!("tracker_request/connect_leech"));
    let RequestData::Connect(connect) = &request.data else { panic!() };
    assert_eq!(connect.peer_num, scope());
    assert_eq!(connect.addrs.len(), 2);
    assert!(connect.addrs[1].ip.is_ipv6());
    assert_eq!(connect.addrs[1].peer_protocol.as_deref(), Some("PPSP-PP"));
    assert_eq!(connect.actions.len(), 1);
    written(&request);
}

#[test]
fn example_of_another_channel() {
    let request = request(example!("tracker_request/connect_switch"));
    let RequestData::Connect(connect) = &request.data else { panic!() };
    let actions: Vec<_> = connect.actions.iter().map(|action| action.action.known()).collect();
    assert_eq!(actions, [Some(Action::Leave), Some(Action::Join)]);
    written(&request);
}

/// RFC 7846 §4.1.2.1: the members of `find` are at the top level.
#[test]
fn example_of_a_find() {
    let request = request(example!("tracker_request/find"));
    assert_eq!(request.data, RequestData::Find(Find { swarm_id: "1111".into(), peer_num: scope() }));
    assert_eq!(
        written(&request),
        "{\"PPSPTrackerProtocol\":{\"version\":1,\"request_type\":\"FIND\",\"transaction_id\":\"12345\",\
         \"peer_id\":\"656164657221\",\"find\":{\"swarm_id\":\"1111\",\"peer_num\":{\"peer_count\":5,\
         \"ability_nat\":\"STUN\",\"concurrent_links\":5,\"online_time\":200,\"upload_bandwidth\":600}}}}"
    );
}

/// RFC 7846 §4.1.3.1: `Stat` for `stat`.
#[test]
fn example_of_a_report() {
    let request = request(example!("tracker_request/stat_report"));
    let RequestData::StatReport(report) = &request.data else { panic!() };
    let stat = Stat {
        swarm_id: "1111".into(),
        uploaded_bytes: 512,
        downloaded_bytes: 768,
        available_bandwidth: 1_024_000,
        concurrent_links: 5,
        unknown: Unknown::default(),
    };
    assert_eq!(report.stats, [stat]);
    assert!(written(&request).contains("\"stat\":[{"));
}

/// RFC 7846 §4.1.1.1: `swarm_result` is an object, `peer_addr` has no type.
#[test]
fn example_of_the_response_to_connect() {
    let body = example!("tracker_response/connect_response");
    let response = Response::read(body).unwrap();
    assert_eq!((response.code, &*response.transaction_id), (Code::OK, "12345"));
    let seen = response.peer_addr.as_ref().unwrap();
    assert_eq!((seen.ip, seen.kind.as_ref()), ([198, 51, 100, 1].into(), None));
    let peers = response.results[0].peers.as_ref().unwrap();
    let ids: Vec<_> = peers.iter().map(|peer| &*peer.peer_id).collect();
    assert_eq!(ids, ["956264622298", "3332001256741"]);
}

#[test]
fn examples_of_other_responses() {
    for (body, peers) in [
        (&example!("tracker_response/find_response")[..], Some(3)),
        (&example!("tracker_response/stat_report_response")[..], None),
    ] {
        let response = Response::read(body).unwrap();
        assert_eq!(response.results[0].swarm_id, "1111");
        assert_eq!(response.results[0].peers.as_ref().map(Vec::len), peers);
        assert_eq!(Response::read(written_response(&response).as_bytes()), Ok(response));
    }
}

#[test]
fn several_addresses_of_a_peer_are_neighbouring_elements() {
    let addr = |port| PeerAddr {
        ip: [192, 0, 2, 1].into(),
        port,
        priority: 1,
        kind: Some(AddrKind::Host.into()),
        connection: None,
        asn: None,
        peer_protocol: None,
    };
    let mut response = Response::empty(Code::OK, "1".into());
    let peers = Some(vec![PeerInfo { peer_id: "a".into(), addrs: vec![addr(1), addr(2)] }]);
    response.results.push(SwarmResult { swarm_id: "s".into(), failed: false, peers });
    let text = written_response(&response);
    assert_eq!(text.matches("\"peer_id\":\"a\"").count(), 2);
    assert_eq!(Response::read(text.as_bytes()), Ok(response));
}

fn keep_alive(members: &str) -> String {
    format!(
        "{{\"PPSPTrackerProtocol\":{{\"version\":1,\"request_type\":\"STAT_REPORT\",\"peer_id\":\"p\",\
         \"transaction_id\":\"t\"{members}}}}}"
    )
}

/// RFC 7846 §4.4.
#[test]
fn unknown_members_are_ignored_and_kept_within_bounds() {
    let body = keep_alive(",\"x\\u0041\":{\"a\":[1,null,\"}\"]}");
    assert!(written(&request(body.as_bytes())).ends_with(",\"xA\":{\"a\":[1,null,\"}\"]}}}"));
    let many: String = (0..100).map(|i| format!(",\"m{i}\":{i}")).collect();
    assert_eq!(request(keep_alive(&many).as_bytes()).unknown.iter().count(), MAX_UNKNOWN);
    let long = format!(",\"m\":\"{}\"", "a".repeat(MAX_UNKNOWN_LEN));
    assert_eq!(request(keep_alive(&long).as_bytes()).unknown, Unknown::default());
}

/// RFC 7846 §4.3: 02 when only the version can be understood, 01 else; the transaction is named where it can be.
#[test]
fn faults_say_how_to_answer() {
    let fault = |body: &str| {
        let unreadable = Request::read(body.as_bytes()).unwrap_err();
        (unreadable.code(), unreadable.transaction_id.map(Cow::into_owned))
    };
    let root = |inner: &str| format!("{{\"PPSPTrackerProtocol\":{{{inner}}}}}");
    let t = Some(String::from("t"));
    assert_eq!(
        fault(&root("\"peer_id\":[],\"transaction_id\":\"t\",\"version\":2")),
        (Code::UNSUPPORTED_VERSION, t.clone())
    );
    assert_eq!(fault(&root("\"version\":0")), (Code::UNSUPPORTED_VERSION, None));
    assert_eq!(fault(&root("\"version\":1,\"transaction_id\":\"t\",\"peer_id\":{}")), (Code::BAD_REQUEST, t.clone()));
    assert_eq!(fault("{\"PPSPTrackerProtocol\":{\"version\":1,\"transaction_id\":\"t\","), (Code::BAD_REQUEST, t));
    for body in ["", "[]", "{}", "nonsense", "{\"PPSPTrackerProtocol\":1}", &keep_alive(",\"connect\":{}")] {
        assert_eq!(fault(body).0, Code::BAD_REQUEST, "{body}");
    }
}

#[test]
fn limits() {
    let fault = |body: &str| Request::read(body.as_bytes()).unwrap_err().fault;
    assert_eq!(fault(&" ".repeat(MAX_REQUEST + 1)), Fault::TooLong);
    let lists = |depth: usize| keep_alive(&format!(",\"x\":{}{}", "[".repeat(depth), "]".repeat(depth)));
    assert!(Request::read(lists(usize::from(MAX_DEPTH) - 2).as_bytes()).is_ok());
    assert_eq!(fault(&lists(usize::from(MAX_DEPTH) - 1)), Fault::TooDeep);
    assert_eq!(fault(&lists(20_000)), Fault::TooDeep);
    let stats =
        |count| keep_alive(&format!(",\"stat_report\":{{\"stat\":[{}]}}", vec!["{\"swarm_id\":1}"; count].join(",")));
    assert!(Request::read(stats(MAX_SWARMS).as_bytes()).is_ok());
    assert_eq!(fault(&stats(MAX_SWARMS + 1)), Fault::TooMany("stat"));
    let id = |length| keep_alive(&format!(",\"swarm_id\":\"{}\"", "a".repeat(length)));
    assert!(Request::read(id(MAX_SWARM_ID).as_bytes()).is_ok());
    assert_eq!(fault(&id(MAX_SWARM_ID + 1)), Fault::Value("swarm_id"));
}

#[test]
fn unknown_words_and_reports_of_other_types_survive() {
    let body = "{\"PPSPTrackerProtocol\":{\"version\":1,\"request_type\":\"CONNECT\",\"peer_id\":1,\"transaction_id\":2,\
                \"connect\":{\"swarm_action\":{\"swarm_id\":3,\"action\":\"WATCH\",\"peer_mode\":\"RELAY\"}}}}";
    let request = request(body.as_bytes());
    let RequestData::Connect(connect) = &request.data else { panic!() };
    assert_eq!(connect.actions[0].action, Word::Other("WATCH".into()));
    written(&request);
    let other = keep_alive(",\"stat_report\":{\"stat\":{\"online\":1},\"type\":\"PEER_STATS\"}");
    assert_eq!(Request::read(other.as_bytes()).unwrap().data, RequestData::StatReport(StatReport::default()));
}

proptest! {
    #[test]
    fn any_text_survives(text in "\\PC{1,16}|[\\x00-\\x1f\"\\\\]{1,16}") {
        let data = RequestData::Find(Find { swarm_id: Cow::Borrowed(&*text), peer_num: None });
        written(&Request { transaction_id: "t".into(), peer_id: "p".into(), data, unknown: Unknown::default() });
    }

    /// One byte of an example is another: no panic, and what is read is written as it was read.
    #[test]
    fn spoiled_examples(at: prop::sample::Index, byte: u8) {
        let mut body = example!("tracker_request/connect_leech").to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        if let Ok(request) = Request::read(&body) {
            let mut out = vec![];
            request.write(&mut out);
            prop_assert!(Request::read(&out).is_ok());
        }
    }
}
