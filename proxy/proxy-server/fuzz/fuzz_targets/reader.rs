#![no_main]
//! The reader of requests: any bytes, held against serde_json's tree.

// The reader's own sources: it is a room of the proxy, and the proxy's other rooms would take minutes to build.
#[path = "../../src/wire/endpoint.rs"]
#[expect(dead_code, reason = "what the proxy asks beside reading")]
mod endpoint;
#[path = "../../src/wire/request.rs"]
mod request;
#[path = "../../src/wire/scan.rs"]
mod scan;
mod tree;

/// What the sources know their neighbours by.
mod wire {
    pub(crate) use crate::{endpoint, scan};

    pub(crate) const NAME_BYTES_MAX: usize = 256;
}

use bytes::Bytes;
use endpoint::Endpoint;
use request::{BadBody, RequestFields, read_request_fields};
use tree::Tree;

/// Where each endpoint's prompt stands.
const ENDPOINTS: [(Endpoint, &[&str]); 7] = [
    (Endpoint::Chat, &["messages"]),
    (Endpoint::Completions, &["prompt"]),
    (Endpoint::Embeddings, &["input"]),
    (Endpoint::Responses, &["instructions", "input"]),
    (Endpoint::Messages, &["system", "messages"]),
    (Endpoint::Rerank, &["query"]),
    (Endpoint::Other, &[]),
];

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let body = Bytes::copy_from_slice(input);
    let tree = Tree::read(input);
    for (endpoint, parts) in ENDPOINTS {
        let read = read_request_fields(&body, endpoint);
        let Tree::Plain(tree) = &tree else {
            // What no reader of JSON takes must not pass here: a replica could take it for something else.
            let passes =
                matches!(read, Ok(_) | Err(BadBody::NotAnObject | BadBody::ModelNotAString | BadBody::ModelTooLong));
            assert!(
                !(passes && matches!(tree, Tree::NotJson)),
                "{endpoint:?} takes {:?}",
                String::from_utf8_lossy(input)
            );
            continue;
        };
        match read {
            Ok(read) => check(endpoint, parts, &read, tree),
            Err(BadBody::NotAnObject) => assert!(!tree.is_object()),
            Err(BadBody::ModelNotAString) => assert!(!tree["model"].is_string() && !tree["model"].is_null()),
            Err(BadBody::ModelTooLong) => assert!(tree["model"].as_str().is_some_and(|model| model.len() > 256)),
            Err(other) => panic!("{endpoint:?} refuses {:?}: {other:?}", String::from_utf8_lossy(input)),
        }
    }
});

fn check(endpoint: Endpoint, parts: &[&str], read: &RequestFields, tree: &serde_json::Value) {
    let text = |key: &str| tree[key].as_str().map(str::to_owned);
    assert_eq!(read.model, text("model"));
    assert_eq!(read.stream, tree["stream"] == true);
    let count = |key: &str| tree[key].as_u64().map(|count| u32::try_from(count).unwrap_or(u32::MAX));
    let limits = ["max_completion_tokens", "max_output_tokens", "max_tokens"];
    assert_eq!(read.output_tokens_max, limits.into_iter().find_map(count).unwrap_or(0));
    assert_eq!(read.choices, count("n").max(count("best_of")).unwrap_or(0));
    let user =
        || if endpoint == Endpoint::Messages { tree["metadata"]["user_id"].as_str().map(str::to_owned) } else { None };
    let conversation = || text("conversation").or_else(|| tree["conversation"]["id"].as_str().map(str::to_owned));
    if endpoint != Endpoint::Messages || tree["metadata"].is_null() {
        let session = text("prompt_cache_key").or_else(conversation).or_else(|| user().or_else(|| text("user")));
        assert_eq!(read.session, session.or_else(|| text("previous_response_id")));
    }
    // In an endpoint without a shape of its own the parts may stand in any order.
    if !parts.is_empty() && endpoint != Endpoint::Rerank {
        let (mut prompt, mut tokens) = (String::new(), Vec::new());
        parts.iter().for_each(|part| tree::gather(&tree[*part], &mut prompt, &mut tokens));
        assert_eq!(read.prompt, prompt.as_str(), "{endpoint:?}");
        assert_eq!(read.tokens, tokens, "{endpoint:?}");
    }
}
