use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::{format, string::String, vec, vec::Vec};

use ppsp_core::{ChunkAddressing, ChunkRange};
use proptest::prelude::*;

use super::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn r(first: u64, last: u64) -> ChunkRange {
    ChunkRange::new(first, last).unwrap()
}

fn format(addressing: ChunkAddressing) -> Format {
    Format { addressing, chunk_size: 1024, hash_len: 20, signature_len: Some(64), content_length: None }
}

const RANGE32: Format = Format {
    addressing: ChunkAddressing::Range32,
    chunk_size: 1024,
    hash_len: 32,
    signature_len: None,
    content_length: None,
};

fn datagram(channel: u32, messages: &[Message<'_>], format: &Format) -> Vec<u8> {
    let mut buf = vec![0; 70_000];
    let mut writer = Writer::new(&mut buf, ChannelId(channel));
    for message in messages {
        let before = writer.len();
        writer.put(message, format).unwrap();
        assert_eq!(encoded_len(message, format), Some(writer.len() - before), "{message:?}");
    }
    let len = writer.finish();
    buf.truncate(len);
    buf
}

fn read<'a>(payload: &'a [u8], format: &Format) -> Vec<Result<Message<'a>, ParseError>> {
    let mut reader = Reader::new(payload);
    core::iter::from_fn(|| reader.next(format)).collect()
}

/// The only error of a payload that must have one, at its end.
fn error_of(payload: &[u8], format: &Format) -> ParseError {
    let mut reader = Reader::new(payload);
    loop {
        if let Err(error) = reader.next(format).expect("an error") {
            assert_eq!(reader.next(format), None, "nothing comes after an error");
            assert!(reader.rest().is_empty());
            return error;
        }
    }
}

// RFC 7574 §8.2: a HAVE of bin 1 is "0300000001".
#[test]
fn have_of_the_rfc() {
    let format = format(ChunkAddressing::Bin32);
    let have = Message::Have { range: Some(r(0, 1)) };
    assert_eq!(hex(&datagram(7, &[have], &format)), "000000070300000001");
}

// RFC 7574 §8.16. The swarm ID is as printed there, with its length of 20 bytes.
#[test]
fn example_of_operation() {
    let swarm_id = [
        0x47, 0xa0, 0x13, 0xe6, 0x60, 0xd4, 0x08, 0x61, 0x9d, 0x89, 0x4b, 0x20, 0x80, 0x6b, 0x1d, 0x50, 0x86, 0xaa,
        0xb0, 0x3b,
    ];
    let agreed = Options {
        version: Some(1),
        integrity: Some(1),
        hash: Some(2),
        addressing: Some(2),
        chunk_size: Some(1024),
        ..Options::default()
    };
    let opening = Options { min_version: Some(1), swarm_id: Some(&swarm_id), ..agreed };
    let first = ChunkRange::single(0);
    let datagrams: [(u32, &[Message<'_>], &str); 6] = [
        (
            0,
            &[Message::Handshake(Handshake { source: ChannelId(1), options: opening })],
            "00000000 00 00000001 0001 0101 020014 47a013e660d408619d894b20806b1d5086aab03b 0301 0402 0602 \
             0900000400 ff",
        ),
        (
            1,
            &[
                Message::Handshake(Handshake { source: ChannelId(8), options: agreed }),
                Message::Have { range: Some(first) },
            ],
            "00000001 00 00000008 0001 0301 0402 0602 0900000400 ff 03 00000000 00000000",
        ),
        (8, &[Message::Request { range: first }, Message::PexReq], "00000008 08 00000000 00000000 06"),
        (
            1,
            &[Message::Data { range: first, timestamp: 0x0004_e941_80b7_db44, data: b"Hello world!\n" }],
            "00000001 01 00000000 00000000 0004e94180b7db44 48656c6c6f20776f726c64210a",
        ),
        (
            8,
            &[Message::Ack { range: first, delay: 100 }, Message::Have { range: Some(first) }],
            "00000008 02 00000000 00000000 0000000000000064 03 00000000 00000000",
        ),
        (8, &[Message::Handshake(Handshake::default())], "00000008 00 00000000 ff"),
    ];
    for (channel, messages, expected) in datagrams {
        let bytes = datagram(channel, messages, &RANGE32);
        assert_eq!(hex(&bytes), expected.replace(' ', ""));
        let (to, payload) = split_channel(&bytes).unwrap();
        assert_eq!(to, ChannelId(channel));
        assert_eq!(read(payload, &RANGE32), messages.iter().copied().map(Ok).collect::<Vec<_>>());
    }
}

#[test]
fn channels() {
    assert_eq!(split_channel(&[1, 2, 3]), None);
    assert_eq!(split_channel(&[1, 2, 3, 4]), Some((ChannelId(0x0102_0304), &[][..])), "a keep-alive");
    assert_eq!(format!("{}", ChannelId(0xc0ffee)), "00c0ffee");
}

#[test]
fn the_lengths_that_are_known_beforehand() {
    for addressing in ChunkAddressing::ALL {
        let format = format(addressing);
        let first = ChunkRange::single(0);
        let data = Message::Data { range: first, timestamp: 0, data: &[] };
        assert_eq!(encoded_len(&data, &format), Some(data_overhead(&format)));
        let hash = Message::Integrity { range: first, hash: &[0; 20] };
        assert_eq!(encoded_len(&hash, &format), Some(integrity_len(&format)));
    }
}

#[test]
fn chunks_are_copied_straight_into_the_datagram() {
    let mut buf = [0xAA; 4 + 17 + 5 + 20];
    let mut writer = Writer::new(&mut buf, ChannelId(1));
    assert!(!writer.has_messages());
    writer.data_header(3, 9, &RANGE32).unwrap();
    writer.spare()[..5].copy_from_slice(b"chunk");
    writer.advance(5);
    let after = writer.len();
    writer.data_header(4, 9, &RANGE32).unwrap();
    writer.truncate(after);
    assert_eq!(writer.remaining(), 20);
    writer.advance(1000);
    assert_eq!(writer.remaining(), 0);
    writer.truncate(0);
    assert_eq!(writer.len(), 4, "the channel ID stays");
    writer.advance(17 + 5);
    let len = writer.finish();
    let message = Message::Data { range: r(3, 3), timestamp: 9, data: b"chunk" };
    assert_eq!(buf[..len], datagram(1, &[message], &RANGE32));
}

#[test]
fn whole_messages_or_nothing() {
    let ack = Message::Ack { range: r(0, 0), delay: 1 };
    for len in 0..4 + 17 {
        let mut buf = vec![0; len];
        let mut writer = Writer::new(&mut buf, ChannelId(1));
        assert_eq!(writer.put(&ack, &RANGE32), Err(Full));
        assert_eq!(writer.data_header(0, 0, &RANGE32), Err(Full));
        assert_eq!(writer.finish(), if len < 4 { 0 } else { 4 });
    }
    let mut buf = [0; 21];
    assert_eq!(Writer::new(&mut buf, ChannelId(1)).put(&ack, &RANGE32), Ok(()));
}

#[test]
fn what_cannot_be_written() {
    let bins = format(ChunkAddressing::Bin32);
    let window = |addressing| {
        Message::Handshake(Handshake {
            options: Options { addressing, discard_window: Some(9), ..Options::default() },
            ..Handshake::default()
        })
    };
    let id = |swarm_id| {
        Message::Handshake(Handshake {
            options: Options { swarm_id: Some(swarm_id), ..Options::default() },
            ..Handshake::default()
        })
    };
    for (message, format) in [
        (Message::Have { range: Some(r(0, 2)) }, &bins),
        (Message::Have { range: None }, &RANGE32),
        (Message::Data { range: r(0, 1), timestamp: 0, data: &[] }, &RANGE32),
        (Message::Data { range: r(0, 0), timestamp: 0, data: &[0; 1025] }, &RANGE32),
        (Message::Integrity { range: r(0, 0), hash: &[0; 20] }, &RANGE32),
        (Message::SignedIntegrity { range: r(0, 0), timestamp: 0, signature: &[0; 64] }, &RANGE32),
        (Message::PexResCert(&[0; 65_536]), &RANGE32),
        (window(None), &RANGE32),
        (window(Some(77)), &RANGE32),
        (id(&[]), &RANGE32),
        (id(&[0; 1025]), &RANGE32),
    ] {
        assert_eq!(encoded_len(&message, format), None, "{message:?}");
    }
    assert_eq!(encoded_len(&window(Some(2)), &RANGE32), Some(1 + 4 + 2 + 5 + 1));
    assert_eq!(encoded_len(&window(Some(4)), &RANGE32), Some(1 + 4 + 2 + 9 + 1));
}

// RFC 7574 §8.6: a datagram MAY contain multiple DATA messages.
#[test]
fn several_chunks_in_a_datagram() {
    let (a, b) = ([1; 1024], [2; 300]);
    let messages = [
        Message::Data { range: r(0, 0), timestamp: 1, data: &a },
        Message::Have { range: Some(r(0, 9)) },
        Message::Data { range: r(1, 1), timestamp: 2, data: &b },
    ];
    let bytes = datagram(1, &messages, &RANGE32);
    assert_eq!(read(&bytes[4..], &RANGE32), messages.map(Ok));
}

#[test]
fn data_names_one_chunk() {
    for (addressing, spec) in [
        (ChunkAddressing::Bin32, "00000001"),
        (ChunkAddressing::Bin32, "ffffffff"),
        (ChunkAddressing::Bin64, "0000000000000003"),
        (ChunkAddressing::Range32, "0000000000000001"),
        (ChunkAddressing::Byte64, "00000000000000000000000000000400"),
        (ChunkAddressing::Range64, "00000000000000010000000000000000"),
    ] {
        let bytes = unhex(&format!("01{spec}0000000000000000ff"));
        assert_eq!(error_of(&bytes, &format(addressing)), ParseError::BadSpec, "{addressing:?} {spec}");
    }
    // The last chunk by its true end.
    let bytes = unhex("01000000000000040000000000000004050000000000000000aabb");
    let data = Message::Data { range: r(1, 1), timestamp: 0, data: &[0xAA, 0xBB] };
    assert_eq!(read(&bytes, &format(ChunkAddressing::Byte64)), [Ok(data)]);
}

#[test]
fn nothing_is_had_but_not_asked_for() {
    for (addressing, none) in [(ChunkAddressing::Bin32, "ffffffff"), (ChunkAddressing::Bin64, "ffffffffffffffff")] {
        let format = format(addressing);
        let have = unhex(&format!("03{none}"));
        assert_eq!(read(&have, &format), [Ok(Message::Have { range: None })]);
        assert_eq!(datagram(0, &[Message::Have { range: None }], &format)[4..], have);
        for code in ["02", "04", "07", "08", "09"] {
            assert_eq!(error_of(&unhex(&format!("{code}{none}{}", "00".repeat(80))), &format), ParseError::BadSpec);
        }
    }
}

#[test]
fn what_cannot_be_understood_ends_the_datagram() {
    for code in 14..=255 {
        assert_eq!(error_of(&[6, code, 6, 6], &RANGE32), ParseError::UnknownMessage(code));
    }
    let signed = unhex(&format!("07{}", "00".repeat(100)));
    assert_eq!(error_of(&signed, &RANGE32), ParseError::Unsized(7));
    assert_eq!(error_of(&signed[..50], &format(ChunkAddressing::Range32)), ParseError::Truncated);
    assert_eq!(error_of(&[4; 100], &Format { hash_len: 0, ..RANGE32 }), ParseError::Unsized(4));
    assert_eq!(error_of(&unhex("080000000500000004"), &RANGE32), ParseError::BadSpec);
    assert_eq!(error_of(&unhex("0d0005aabbccdd"), &RANGE32), ParseError::Truncated);
}

#[test]
fn options_in_any_order_but_each_once() {
    let options = |options: &str| {
        let bytes = unhex(&format!("0000000001{options}"));
        let mut reader = Reader::new(&bytes);
        let result = reader.handshake().map(|h| {
            let options = h.unwrap().options;
            format!("{:?} {:?} {:?}", options.version, options.discard_window, options.chunk_size)
        });
        (result, reader.cut_short().map(|h| h.options.version))
    };
    let ok = |text: &str| (Ok(String::from(text)), None);
    let bad = |error| (Err(error), None);
    assert_eq!(options("ff"), ok("None None None"));
    assert_eq!(options("0900000400 0001 ff".replace(' ', "").as_str()), ok("Some(1) None Some(1024)"));
    assert_eq!(options("060207000003e8ff"), ok("None Some(1000) None"));
    assert_eq!(options("06040700000000000003e8ff"), ok("None Some(1000) None"));
    // RFC 7574 §7.9: 0xFFFFFFFF is special, in both widths.
    assert_eq!(options("060207ffffffffff"), ok("None Some(18446744073709551615) None"));
    assert_eq!(options("060407ffffffffffffffffff"), ok("None Some(18446744073709551615) None"));
    assert_eq!(options("07000003e80602ff"), bad(ParseError::BadOption(7)), "the width is not known yet");
    assert_eq!(options("06aa07000003e8ff"), bad(ParseError::BadOption(7)), "nor is it here");
    assert_eq!(options("00010001ff"), bad(ParseError::BadOption(0)), "twice");
    assert_eq!(options("020000ff"), bad(ParseError::BadOption(2)));
    assert_eq!(options("020401ff"), bad(ParseError::BadOption(2)), "1025 bytes");
    assert_eq!(options(&format!("0821{}ff", "00".repeat(33))), bad(ParseError::BadOption(8)));
    assert_eq!(options("0001"), bad(ParseError::Truncated), "no end option");
    assert_eq!(options(""), bad(ParseError::Truncated));
    for code in 10..=254 {
        let expected = (Err(ParseError::UnknownOption(code)), Some(Some(1)));
        assert_eq!(options(&format!("0001{code:02x}ff")), expected);
    }
}

#[test]
fn a_window_too_wide_to_say_is_not_everything() {
    let options = |window| Options { addressing: Some(2), discard_window: Some(window), ..Options::default() };
    for (window, read_back) in [(u64::MAX - 1, 0xFFFF_FFFE), (0xFFFF_FFFF, 0xFFFF_FFFE), (Options::KEEPS_ALL, u64::MAX)]
    {
        let handshake = Message::Handshake(Handshake { source: ChannelId(1), options: options(window) });
        let bytes = datagram(0, &[handshake], &RANGE32);
        let read = Reader::new(&bytes[4..]).handshake().unwrap().unwrap();
        assert_eq!(read.options.discard_window, Some(read_back));
    }
}

#[test]
fn a_handshake_needs_no_format() {
    let bytes = unhex("0000000001ff06");
    let mut reader = Reader::new(&bytes);
    assert_eq!(reader.handshake().unwrap().unwrap().source, ChannelId(1));
    assert_eq!(reader.handshake(), Ok(None), "what is no handshake stays");
    assert_eq!(reader.next(&RANGE32), Some(Ok(Message::PexReq)));
    assert_eq!(reader.handshake(), Ok(None));
    assert_eq!(reader.next(&RANGE32), None);
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

/// Numbers that a message is made of; a message borrows from it.
#[derive(Clone, Debug)]
struct Parts {
    kind: usize,
    present: [bool; 10],
    codes: [u8; 7],
    chunk: u64,
    height: u32,
    number: u64,
    bytes: Vec<u8>,
}

fn parts() -> impl Strategy<Value = Parts> {
    (0..14_usize, any::<[bool; 10]>(), any::<[u8; 7]>(), any::<u32>(), 0..8_u32, any::<u64>(), vec_of(1..1025))
        .prop_map(|(kind, present, codes, chunk, height, number, bytes)| Parts {
            kind,
            present,
            codes,
            chunk: u64::from(chunk >> 1),
            height,
            number,
            bytes,
        })
}

fn vec_of(len: core::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(any::<u8>(), len)
}

fn padded(bytes: &[u8], len: usize) -> Vec<u8> {
    bytes.iter().copied().chain(core::iter::repeat(7)).take(len).collect()
}

/// Calls `then` with the message that `parts` describe. All can be written in every format of `format`.
fn with_message(parts: &Parts, format: &Format, then: impl FnOnce(Message<'_>)) {
    let first = parts.chunk >> parts.height << parts.height;
    let range = ChunkRange::with_len(first, 1 << parts.height).unwrap();
    let hash = padded(&parts.bytes, format.hash_len);
    let signature = padded(&parts.bytes, format.signature_len.unwrap());
    let [v4, v6] = [parts.number as u32, parts.number as u32 ^ 1].map(u128::from);
    let port = parts.number as u16;
    let on = |i: usize| parts.present[i];
    then(match parts.kind {
        0 => Message::Handshake(Handshake {
            source: ChannelId(parts.number as u32),
            options: Options {
                version: on(0).then_some(parts.codes[0]),
                min_version: on(1).then_some(parts.codes[1]),
                swarm_id: on(2).then_some(&parts.bytes),
                integrity: on(3).then_some(parts.codes[2]),
                hash: on(4).then_some(parts.codes[3]),
                live_signature: on(5).then_some(parts.codes[4]),
                addressing: on(6).then_some(if on(7) { parts.codes[5] % 5 } else { parts.codes[5] }),
                discard_window: (on(6) && on(7)).then_some(parts.number >> 33),
                supported: on(8).then(|| SupportedMessages::from_bitmap(&parts.codes)),
                chunk_size: on(9).then_some(parts.number as u32),
            },
        }),
        1 => Message::Data { range: ChunkRange::single(first), timestamp: parts.number, data: &parts.bytes },
        2 => Message::Ack { range, delay: parts.number },
        3 => Message::Have { range: Some(range) },
        4 => Message::Integrity { range, hash: &hash },
        5 => Message::PexResV4(SocketAddrV4::new(Ipv4Addr::from_bits(v4 as u32), port)),
        6 => Message::PexReq,
        7 => Message::SignedIntegrity { range, timestamp: parts.number, signature: &signature },
        8 => Message::Request { range },
        9 => Message::Cancel { range },
        10 => Message::Choke,
        11 => Message::Unchoke,
        12 => Message::PexResV6(SocketAddrV6::new(Ipv6Addr::from_bits(v6 << 77 | v4), port, 0, 0)),
        _ => Message::PexResCert(&parts.bytes),
    });
}

proptest! {
    #[test]
    fn messages_round_trip(parts in parts(), method in prop::sample::select(&ChunkAddressing::ALL[..])) {
        let format = format(method);
        with_message(&parts, &format, |message| {
            let bytes = datagram(9, &[Message::PexReq, message], &format);
            assert_eq!(bytes[5], message.message_type().code());
            assert_eq!(read(&bytes[4..], &format), [Ok(Message::PexReq), Ok(message)]);
            // Every prefix is read without panic, and ends in an error or in a shorter chunk.
            for len in 5..bytes.len() - 1 {
                let read = read(&bytes[4..=len], &format);
                assert_eq!(read.len(), 2);
                assert!(read[1].is_err() || matches!(read[1], Ok(Message::Data { .. })), "{read:?}");
            }
        });
    }

    #[test]
    fn any_bytes_are_read_to_an_end(bytes in vec_of(0..200), method in prop::sample::select(&ChunkAddressing::ALL[..])) {
        let mut format = format(method);
        for chunk_size in [0, 16, u32::MAX] {
            format.chunk_size = chunk_size;
            let read = read(&bytes, &format);
            prop_assert!(read.len() <= bytes.len());
            prop_assert!(read.iter().rev().skip(1).all(Result::is_ok), "an error is the last");
        }
    }

    /// What is read in one format is written back as the same bytes, but for options out of order, bitmaps with
    /// zeros at the end and byte ranges by their true end.
    #[test]
    fn what_is_read_is_written_back(
        code in 1..14_u8,
        body in vec_of(80..140),
        method in prop::sample::select(&[ChunkAddressing::Bin32, ChunkAddressing::Bin64, ChunkAddressing::Range32][..]),
    ) {
        let format = format(method);
        let bytes = [&[code][..], &body].concat();
        let mut reader = Reader::new(&bytes);
        if let Some(Ok(message)) = reader.next(&format) {
            let len = bytes.len() - reader.rest().len();
            prop_assert_eq!(&datagram(0, &[message], &format)[4..], &bytes[..len]);
        }
    }
}
