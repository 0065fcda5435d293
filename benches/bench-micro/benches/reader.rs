//! `cargo xtask bench reader`: what it takes to read of a request what the proxy goes by, beside serde_json.
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot go on says so by panicking")]

// The reader's own sources: it is a room of the proxy, which hands out none of its rooms.
#[path = "../../../proxy/proxy-server/src/wire/endpoint.rs"]
#[expect(dead_code, reason = "what the proxy asks beside reading")]
mod endpoint;
#[path = "../../../proxy/proxy-server/src/wire/request.rs"]
mod request;
#[path = "../../../proxy/proxy-server/src/wire/scan.rs"]
mod scan;

/// What the sources know their neighbours by.
mod wire {
    pub(crate) use crate::{endpoint, scan};

    pub(crate) const NAME_BYTES_MAX: usize = 256;
}

use std::hint::black_box;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use serde::Deserialize;
use serde_json::{Value, json};

use endpoint::Endpoint;
use request::read_request_fields;

/// What serde_json reads without building a tree: the same fields, the texts copied out.
#[derive(Deserialize)]
struct Fields {
    model: Option<String>,
    #[serde(default)]
    stream: bool,
    max_tokens: Option<u32>,
    user: Option<String>,
    messages: Vec<Message>,
}

#[derive(Deserialize)]
struct Message {
    content: String,
}

/// A chat of so many bytes in so many messages; with line breaks every so many bytes, where lines break at all.
fn body(bytes: usize, messages: usize, line_bytes: Option<usize>) -> Bytes {
    let word = "lorem ipsum dolor sit amet ";
    let mut text: String = word.chars().cycle().take(bytes / messages).collect();
    if let Some(line_bytes) = line_bytes {
        let lines: Vec<&str> =
            text.as_bytes().chunks(line_bytes).map(|line| std::str::from_utf8(line).unwrap()).collect();
        text = lines.join("\n");
    }
    let messages: Vec<Value> = (0..messages).map(|_| json!({"role": "user", "content": text})).collect();
    json!({"model": "tiny", "messages": messages, "max_tokens": 64, "temperature": 0.0, "stream": true, "user": "u"})
        .to_string()
        .into()
}

fn reader(criterion: &mut Criterion) {
    let cases = [
        ("1 KB, one message", body(900, 1, None)),
        ("1 KB, four messages", body(800, 4, None)),
        ("8 KB, four messages", body(8 << 10, 4, None)),
        ("64 KB, one message", body(64 << 10, 1, None)),
        ("64 KB, 16 messages", body(64 << 10, 16, None)),
        ("64 KB, 16 messages, broken lines", body(64 << 10, 16, Some(60))),
        ("1 MB, 64 messages", body(1 << 20, 64, None)),
        ("1 MB, 64 messages, broken lines", body(1 << 20, 64, Some(60))),
    ];
    let mut group = criterion.benchmark_group("reader");
    for (name, body) in &cases {
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_with_input(BenchmarkId::new("ours", name), body, |bencher, body| {
            bencher.iter(|| read_request_fields(black_box(body), Endpoint::Chat).unwrap());
        });
        group.bench_with_input(BenchmarkId::new("serde_json", name), body, |bencher, body| {
            bencher.iter(|| {
                let Fields { model, stream, max_tokens, user, messages } =
                    serde_json::from_slice(black_box(body)).unwrap();
                let prompt: usize = messages.iter().map(|message| message.content.len()).sum();
                black_box((model, stream, max_tokens, user, prompt, messages))
            });
        });
        group.bench_with_input(BenchmarkId::new("serde_json, tree", name), body, |bencher, body| {
            bencher.iter(|| serde_json::from_slice::<Value>(black_box(body)).unwrap());
        });
    }
    group.finish();
}

criterion_group!(benches, reader);
criterion_main!(benches);
