//! What the next replica is asked, and what cannot be asked of it.

use bytes::Bytes;
use dispatch::Continues;

use super::*;
use crate::exchange::resume::seam::{Bounds, Form, Seam};

/// The body that continues this one after two texts, as people see it.
fn continued(continues: Continues, endpoint: Endpoint, body: &str) -> String {
    let form = if endpoint == Endpoint::Chat { Form::Chat } else { Form::Completion };
    let mut seam = Seam::new(continues, form, Bounds { kept_bytes_max: 1 << 16, event_bytes_max: 1 << 16 });
    for (token, text) in ["a\\\"b", "c"].into_iter().enumerate() {
        let choice = match form {
            Form::Chat => format!("{{\"delta\":{{\"content\":\"{text}\"}}}}"),
            Form::Completion => format!("{{\"text\":\"{text}\"}}"),
        };
        let told = format!(": headworks {{\"tokens\":[{token}],\"seed\":7,\"cached_tokens\":3}}\n");
        seam.pass(Bytes::from(format!("{told}data: {{\"id\":\"x\",\"created\":5,\"choices\":[{choice}]}}\n\n")));
    }
    let fields = RawFields::of(body.as_bytes()).unwrap();
    match continuing(endpoint, &fields, seam.kept().expect("events have passed")) {
        Ok(body) => String::from_utf8(body).unwrap(),
        Err(why) => why.word().to_owned(),
    }
}

#[test]
fn bodies() {
    let chat = |continues, body| continued(continues, Endpoint::Chat, body);
    let completion = |continues, body| continued(continues, Endpoint::Completions, body);
    let hi = r#"{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":9,"temperature":0}"#;
    insta::assert_snapshot!(
        [
            chat(Continues::Tokens, hi),
            chat(Continues::Text, hi),
            completion(Continues::Tokens, r#"{"prompt":"hi","stop":["x"]}"#),
            completion(Continues::Text, r#"{"prompt":"hi","x":1}"#),
            completion(Continues::Text, r#"{"prompt":"hi","max_tokens":3}"#),
            completion(Continues::Text, r#"{"prompt":"hi","max_tokens":2}"#),
            completion(Continues::Text, r#"{"prompt":[1,2],"max_tokens":3}"#),
            completion(Continues::Text, r#"{"prompt":"hi","n":2}"#),
            completion(Continues::Tokens, r#"{"prompt":"hi","logprobs":0}"#),
            completion(Continues::Tokens, r#"{"prompt":"hi","logprobs":null,"n":1,"tools":[]}"#),
            chat(Continues::Text, r#"{"messages":[],"tools":[{}]}"#),
        ]
        .join("\n")
    );
}

#[track_caller]
fn check(body: &str, expected: Sampling) {
    assert_eq!(sampling(&RawFields::of(body.as_bytes()).unwrap()), expected, "{body}");
}

#[test]
fn only_what_says_so_is_greedy() {
    check(r#"{"temperature":0}"#, Sampling::Greedy);
    check(r#"{"temperature":0.0,"presence_penalty":0}"#, Sampling::Greedy);
    check(r#"{"top_k":1}"#, Sampling::Greedy);
    check("{}", Sampling::Drawn);
    check(r#"{"temperature":0.1,"seed":1}"#, Sampling::Drawn);
    check(r#"{"temperature":0,"presence_penalty":1}"#, Sampling::Drawn);
    check(r#"{"temperature":0,"repetition_penalty":1.1}"#, Sampling::Drawn);
}
