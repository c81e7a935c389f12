//! Datagrams that other implementations have put on the wire. See `vectors/README.md` for where they are from.

use std::{fs, path::Path};

use ppsp_core::{ChunkAddressing, ChunkRange};
use ppsp_peer_proto::wire::{
    ChannelId, Format, Handshake, Message, Options, ParseError, Reader, SupportedMessages, Writer, split_channel,
};
use serde_json::Value;

const FORMAT: Format = Format {
    addressing: ChunkAddressing::Range32,
    chunk_size: 1024,
    hash_len: 20,
    signature_len: Some(64),
    content_length: None,
};

fn text(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors").join(name)).unwrap()
}

fn lines(name: &str) -> Vec<Value> {
    text(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn hex_of(value: &Value) -> Vec<u8> {
    unhex(value.as_str().unwrap())
}

fn r(first: u64, last: u64) -> ChunkRange {
    ChunkRange::new(first, last).unwrap()
}

fn range_of(value: &Value) -> ChunkRange {
    r(value[0].as_u64().unwrap(), value[1].as_u64().unwrap())
}

/// All messages, none of which may be bad.
fn messages(datagram: &[u8]) -> (ChannelId, Vec<Message<'_>>) {
    let (channel, payload) = split_channel(datagram).unwrap();
    let mut reader = Reader::new(payload);
    (channel, std::iter::from_fn(|| reader.next(&FORMAT)).map(Result::unwrap).collect())
}

fn write(channel: ChannelId, messages: &[Message<'_>]) -> Vec<u8> {
    let mut buf = vec![0; 2000];
    let mut writer = Writer::new(&mut buf, channel);
    messages.iter().for_each(|m| writer.put(m, &FORMAT).unwrap());
    let len = writer.finish();
    buf.truncate(len);
    buf
}

#[test]
fn libswift_is_written_back_byte_for_byte() {
    for file in ["v1_sha1_chunk32_f7162", "v1_sha1_chunk32_hello", "live_umt_p256_head"] {
        let datagrams = lines(&format!("libswift/{file}.jsonl"));
        assert!(datagrams.len() >= 18);
        for line in datagrams {
            let bytes = hex_of(&line["hex"]);
            assert_eq!(bytes.len() as u64, line["len"]);
            let (channel, messages) = messages(&bytes);
            assert_eq!(write(channel, &messages), bytes);
        }
    }
}

#[test]
fn libswift_static_content() {
    let datagrams: Vec<Vec<u8>> =
        lines("libswift/v1_sha1_chunk32_f7162.jsonl").iter().map(|line| hex_of(&line["hex"])).collect();
    let root = unhex("a9e006b754a16555f9bed9ee3879d26c49545d4c");
    let agreed =
        Options { version: Some(1), integrity: Some(1), hash: Some(0), addressing: Some(2), ..Options::default() };

    let (channel, first) = messages(&datagrams[0]);
    assert_eq!(channel, ChannelId::NONE);
    let opening = Options { min_version: Some(1), swarm_id: Some(&root), ..agreed };
    assert_eq!(first, [Message::Handshake(Handshake { source: ChannelId(0x52d9_3826), options: opening })]);

    let (channel, second) = messages(&datagrams[1]);
    assert_eq!(channel, ChannelId(0x52d9_3826));
    assert_eq!(
        second,
        [
            Message::Handshake(Handshake {
                source: ChannelId(0x52d8_ebaa),
                options: Options { min_version: Some(1), ..agreed },
            }),
            Message::Have { range: Some(r(0, 3)) },
            Message::Have { range: Some(r(4, 5)) },
            Message::Have { range: Some(r(6, 6)) },
        ]
    );
    assert_eq!(messages(&datagrams[2]).1, [Message::Request { range: r(0, 0) }, Message::PexReq]);

    // Peaks first, then uncles, then the chunk.
    let hashes: Vec<_> = messages(&datagrams[3])
        .1
        .iter()
        .map(|m| match m {
            Message::Integrity { range, hash } if hash.len() == 20 => *range,
            Message::Data { range, data, .. } if data.len() == 1024 => *range,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(hashes, [r(0, 3), r(4, 5), r(6, 6), r(2, 3), r(1, 1), r(0, 0)]);

    // The last chunk is shorter.
    assert!(
        matches!(messages(&datagrams[5]).1[..], [Message::Data { range, data, .. }] if range == r(6, 6) && data.len() == 1018)
    );
    assert_eq!(messages(&datagrams[6]).1, [], "a keep-alive");
    let (_, last) = messages(datagrams.last().unwrap());
    assert_eq!(last, [Message::Handshake(Handshake::default())], "closes");

    // Every chunk was sent, and is in the end acknowledged.
    let all: Vec<_> = datagrams.iter().flat_map(|d| messages(d).1).collect();
    for chunk in 0..7 {
        assert!(all.iter().any(|m| matches!(m, Message::Data { range, .. } if range.contains(chunk))));
        assert!(all.iter().any(|m| matches!(m, Message::Ack { range, .. } if range.contains(chunk))));
    }
}

#[test]
fn libswift_live() {
    let datagrams: Vec<Vec<u8>> =
        lines("libswift/live_umt_p256_head.jsonl").iter().map(|line| hex_of(&line["hex"])).collect();
    let first = messages(&datagrams[0]).1;
    let [Message::Handshake(Handshake { options, .. })] = first[..] else { panic!("{first:?}") };
    let key = options.swarm_id.unwrap();
    assert_eq!((key.len(), key[0]), (65, 13), "DNSSEC algorithm and key");
    assert_eq!((options.integrity, options.hash, options.live_signature), (Some(3), None, Some(13)));
    assert_eq!(options.discard_window, Some(Options::KEEPS_ALL));
    let munro = messages(&datagrams[3]).1;
    assert!(
        matches!(
            munro[..],
            [
                Message::PexReq,
                Message::Integrity { range: hashed, .. },
                Message::SignedIntegrity { range: signed, signature, .. },
            ] if hashed == r(0x20, 0x3f) && signed == hashed && signature.len() == 64
        ),
        "{munro:?}"
    );

    // The same bytes in a swarm of static content: the signature has no length there.
    let mut reader = Reader::new(&datagrams[3][4..]);
    let vod = Format { signature_len: None, ..FORMAT };
    assert!(reader.next(&vod).unwrap().is_ok() && reader.next(&vod).unwrap().is_ok());
    assert_eq!(reader.next(&vod), Some(Err(ParseError::Unsized(7))));
    assert_eq!(reader.next(&vod), None);
}

#[test]
fn libswift_answers_to_handshakes() {
    let cases = lines("libswift/handshake_replies.jsonl");
    assert_eq!(cases.len(), 6);
    for case in cases {
        let sent = hex_of(&case["sent"]);
        let (channel, first) = messages(&sent);
        assert_eq!(write(channel, &first), sent, "{}", case["case"]);
        let [Message::Handshake(handshake)] = first[..] else { panic!("{first:?}") };
        match case["case"].as_str().unwrap() {
            "sup+chunksize" => {
                assert_eq!(handshake.options.supported, Some(SupportedMessages::ALL));
                assert_eq!(handshake.options.chunk_size, Some(1024));
            }
            "version2" => assert_eq!(handshake.options.version, Some(2)),
            "mhf2" => assert_eq!(handshake.options.hash, Some(2)),
            "cam4" => assert_eq!(handshake.options.addressing, Some(4)),
            _ => {}
        }
        for reply in case["replies"].as_array().unwrap() {
            let reply = hex_of(reply);
            let (channel, answer) = messages(&reply);
            assert_eq!(write(channel, &answer), reply);
            if channel == ChannelId::NONE {
                assert_eq!(answer, [Message::Handshake(Handshake::default())], "refused");
            } else {
                assert_eq!((channel, answer.len()), (handshake.source, 4));
            }
        }
    }
}

#[test]
fn pyppspp() {
    let datagrams = lines("pyppspp/vod-7chunks-7162B.jsonl");
    assert_eq!(datagrams.len(), 15);
    for line in datagrams {
        let bytes = hex_of(&line["hex"]);
        assert_eq!(bytes.len() as u64, line["len"]);
        let expected = line["msgs"].as_array().unwrap();
        let mut reader = Reader::new(split_channel(&bytes).unwrap().1);
        for expected in expected {
            match (expected["t"].as_str().unwrap(), reader.next(&FORMAT)) {
                ("HANDSHAKE", Some(Err(error))) => {
                    // Its own option has no length: nothing behind it can be read, what stands before it can.
                    assert_eq!(error, ParseError::UnknownOption(10));
                    let handshake = *reader.cut_short().unwrap();
                    let listed = |i: usize, name: &str| &expected["opts"][i][name];
                    assert_eq!(format!("{}", handshake.source), expected["chan"].as_str().unwrap());
                    assert_eq!(handshake.options.version.unwrap(), listed(0, "version").as_u64().unwrap() as u8);
                    assert_eq!(handshake.options.min_version.unwrap(), listed(1, "minver").as_u64().unwrap() as u8);
                    assert_eq!(handshake.options.swarm_id.unwrap(), hex_of(listed(2, "swarm")));
                    assert_eq!(handshake.options.integrity.unwrap(), listed(3, "cipm").as_u64().unwrap() as u8);
                    assert_eq!(handshake.options.hash, None);
                    assert_eq!(handshake.options.addressing.unwrap(), listed(4, "cam").as_u64().unwrap() as u8);
                    assert_eq!(handshake.options.discard_window, listed(5, "discard").as_u64());
                    assert_eq!(handshake.options.supported.unwrap().bitmap(), [0xFF], "ff00, without the zeros");
                    assert_eq!(handshake.options.chunk_size.map(u64::from), listed(7, "chunksize").as_u64());
                    assert_eq!(reader.next(&FORMAT), None, "a HAVE behind it is lost");
                    break;
                }
                ("HANDSHAKE", Some(Ok(Message::Handshake(handshake)))) => {
                    assert_eq!(format!("{}", handshake.source), expected["chan"].as_str().unwrap());
                }
                ("HAVE", Some(Ok(Message::Have { range }))) => assert_eq!(range, Some(range_of(&expected["c"]))),
                ("REQUEST", Some(Ok(Message::Request { range }))) => assert_eq!(range, range_of(&expected["c"])),
                ("ACK", Some(Ok(Message::Ack { range, delay }))) => {
                    assert_eq!(range, range_of(&expected["c"]));
                    assert_eq!(delay, expected["owd"].as_u64().unwrap());
                }
                ("DATA", Some(Ok(Message::Data { range, timestamp, data }))) => {
                    assert_eq!(range, range_of(&expected["c"]));
                    assert_eq!(timestamp, expected["ts"].as_u64().unwrap());
                    assert_eq!(data.len() as u64, expected["n"].as_u64().unwrap());
                }
                (_, other) => panic!("{expected} but {other:?}"),
            }
        }
        assert_eq!(reader.next(&FORMAT), None);
    }
}

#[test]
fn swirl() {
    let vectors: Value = serde_json::from_str(&text("swirl/wire.json")).unwrap();
    let cases = |name: &str| vectors[name]["cases"].as_array().unwrap().clone();

    for case in cases("handshake_unpack") {
        let bytes = hex_of(&case["message_hex"]);
        let mut reader = Reader::new(&bytes);
        let handshake = reader.handshake().unwrap().unwrap();
        assert!(reader.rest().is_empty());
        assert_eq!(u64::from(handshake.source.0), case["source_channel"]);
        let options = handshake.options;
        assert_eq!(u64::from(options.version.unwrap()), case["version"]);
        assert_eq!(u64::from(options.min_version.unwrap()), case["min_version"]);
        assert_eq!(options.swarm_id.unwrap(), hex_of(&case["swarm_id"]));
        assert_eq!(u64::from(options.integrity.unwrap()), case["cipm"]);
        assert_eq!(u64::from(options.hash.unwrap()), case["mhf_code"]);
        assert_eq!(u64::from(options.addressing.unwrap()), case["cam"]);
    }

    for case in cases("chunk_spec_unpack") {
        let method = ChunkAddressing::from_code(case["cam"].as_u64().unwrap() as u8).unwrap();
        let range = r(case["start"].as_u64().unwrap(), case["end"].as_u64().unwrap());
        assert_eq!(method.read_spec(&hex_of(&case["hex"]), 1024), Ok(Some(range)));
    }

    for case in cases("have_messages") {
        let bytes = hex_of(&case["hex"]);
        let have = Message::Have { range: Some(r(case["start"].as_u64().unwrap(), case["end"].as_u64().unwrap())) };
        let mut reader = Reader::new(&bytes);
        assert_eq!((reader.next(&FORMAT), reader.next(&FORMAT)), (Some(Ok(have)), None));
        assert_eq!(write(ChannelId(0), &[have])[4..], bytes);
    }

    // A HAVE takes its own bytes and no more.
    let case = &vectors["have_does_not_overread"]["case"];
    let bytes = [vec![3], hex_of(&case["hex_prefix"]), vec![6; case["tail_bytes"].as_u64().unwrap() as usize]].concat();
    let mut reader = Reader::new(&bytes);
    assert!(reader.next(&FORMAT).unwrap().is_ok());
    assert_eq!(reader.rest().len() as u64, case["rest_len"]);

    // What it reads, and what it fails on although it is in the RFC.
    let options = |hex: &Value| {
        let bytes = [&[0, 0, 0, 0, 1][..], &hex_of(hex)].concat();
        let read = Reader::new(&bytes).handshake().unwrap().unwrap().options;
        (read.addressing, read.discard_window, read.live_signature, read.chunk_size, read.supported.is_some())
    };
    let decode = &vectors["option_decode"];
    assert_eq!(options(&decode["ok"][0]["hex"]), (Some(2), Some(Options::KEEPS_ALL), None, None, false));
    assert_eq!(options(&decode["swirl_fails"][0]["hex"]), (None, None, None, None, true));
    assert_eq!(options(&decode["swirl_fails"][1]["hex"]), (None, None, None, Some(1024), false));
    assert_eq!(options(&decode["swirl_fails"][2]["hex"]), (None, None, Some(13), None, false));
}
