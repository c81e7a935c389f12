//! Parsing and writing of typical datagrams.
#![allow(missing_docs, reason = "criterion's macros")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ppsp_benches::noise;
use ppsp_core::{ChunkAddressing, ChunkRange};
use ppsp_peer_proto::wire::{
    ChannelId, Format, Handshake, Message, Options, Reader, SupportedMessages, Writer, split_channel,
};

const FORMAT: Format = Format {
    addressing: ChunkAddressing::Range32,
    chunk_size: 1024,
    hash_len: 32,
    signature_len: None,
    content_length: None,
};

fn wire(c: &mut Criterion) {
    let bytes = noise(1024, 1);
    let range = |first, last| ChunkRange::new(first, last).expect("a range");
    let data = vec![
        Message::Integrity { range: range(8, 15), hash: &bytes[..32] },
        Message::Integrity { range: range(5, 5), hash: &bytes[32..64] },
        Message::Data { range: range(4, 4), timestamp: 1 << 50, data: &bytes },
    ];
    let answer = vec![
        Message::Ack { range: range(0, 900), delay: 12_345 },
        Message::Have { range: Some(range(0, 900)) },
        Message::Request { range: range(901, 964) },
    ];
    let options = Options {
        version: Some(1),
        min_version: Some(1),
        swarm_id: Some(&bytes[..32]),
        integrity: Some(1),
        hash: Some(2),
        addressing: Some(2),
        supported: Some(SupportedMessages::ALL),
        chunk_size: Some(1024),
        ..Options::default()
    };
    let handshake = vec![Message::Handshake(Handshake { source: ChannelId(7), options })];
    let all = [("INTEGRITY INTEGRITY DATA", data), ("ACK HAVE REQUEST", answer), ("HANDSHAKE", handshake)];

    let mut group = c.benchmark_group("parse");
    group.throughput(Throughput::Elements(1));
    for (name, messages) in &all {
        let mut buf = [0; 1452];
        let len = encode(messages, &mut buf);
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let Some((_, payload)) = split_channel(black_box(&buf[..len])) else {
                    unreachable!("there is a channel")
                };
                let mut reader = Reader::new(payload);
                while let Some(message) = reader.next(&FORMAT) {
                    black_box(message.is_ok());
                }
            });
        });
    }
    group.finish();

    let mut group = c.benchmark_group("encode");
    group.throughput(Throughput::Elements(1));
    for (name, messages) in &all {
        let mut buf = [0; 1452];
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| encode(black_box(messages), black_box(&mut buf)));
        });
    }
    group.finish();
}

fn encode(messages: &[Message<'_>], buf: &mut [u8]) -> usize {
    let mut writer = Writer::new(buf, ChannelId(1));
    for message in messages {
        writer.put(message, &FORMAT).expect("there is room");
    }
    writer.finish()
}

criterion_group!(benches, wire);
criterion_main!(benches);
