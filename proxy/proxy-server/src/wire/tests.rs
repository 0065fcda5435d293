//! The needed fields are read whatever stands around them, and nothing else is minded.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

mod fields;

fn read(body: &str) -> Result<RequestFields, BadBody> {
    read_request_fields(&Bytes::copy_from_slice(body.as_bytes()), Endpoint::Other)
}

#[track_caller]
fn check_prompt(body: Value, expected: &str) {
    assert_eq!(read(&body.to_string()).unwrap().prompt, expected);
}

#[test]
fn the_fields_are_read() {
    let body = json!({
        "model": "tiny", "stream": true, "max_tokens": 5, "max_completion_tokens": 7, "temperature": 0.5, "n": 2,
        "user": "u", "prompt": "hello",
    });
    let expected = RequestFields {
        model: Some("tiny".to_owned()),
        stream: true,
        output_tokens_max: 7,
        choices: 2,
        temperature: Some(0.5),
        session: Some("u".to_owned()),
        prompt: "hello".to_owned().into(),
        tokens: Vec::new(),
    };
    assert_eq!(read(&body.to_string()), Ok(expected));
}

#[test]
fn the_prompt_is_all_texts_in_order() {
    let messages = json!([
        {"role": "system", "content": "one "},
        {"role": "user", "name": "x", "content": [
            {"type": "text", "text": "two "}, {"type": "image_url", "image_url": {"url": "data:"}},
            {"type": "text", "text": "three"},
        ]},
        {"role": "assistant", "content": null, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
    ]);
    check_prompt(json!({"messages": messages}), "one two three");
    check_prompt(json!({"prompt": "one\ntwo"}), "one\ntwo");
    check_prompt(json!({"prompt": ["one", "two"]}), "onetwo");
    check_prompt(json!({"input": "text"}), "text");
    check_prompt(json!({"messages": 5}), "");
}

#[test]
fn token_ids_are_read_as_such() {
    assert_eq!(read(r#"{"prompt":[1,2,3]}"#).unwrap().tokens, [1, 2, 3]);
    assert_eq!(read(r#"{"prompt":[[1,2],[3]]}"#).unwrap().tokens, [1, 2, 3]);
}

#[test]
fn one_plain_prompt_is_not_copied() {
    let body = Bytes::from(r#"{"prompt":"hello"}"#);
    let prompt = read_request_fields(&body, Endpoint::Other).unwrap().prompt;
    assert_eq!(prompt.pieces()[0].as_ptr(), body[11..].as_ptr());
}

#[test]
fn a_field_of_another_type_is_the_replicas_to_judge() {
    let expected = RequestFields { model: Some("m".to_owned()), ..RequestFields::default() };
    let body = r#"{"model":"m","stream":"yes","max_tokens":-1,"temperature":[],"user":{},"n":1e400}"#;
    assert_eq!(read(body), Ok(expected));
}

#[test]
fn a_text_is_cut_between_characters() {
    assert_eq!(cut("/v1/x"), "/v1/x");
    assert_eq!(cut(&"x".repeat(300)).len(), 256);
    assert_eq!(cut(&format!("x{}", "é".repeat(200))).len(), 255);
}

#[test]
fn the_last_of_two_equal_keys_counts() {
    assert_eq!(read(r#"{"model":"a","model":"b"}"#).unwrap().model.as_deref(), Some("b"));
    assert_eq!(read(r#"{"prompt":"a","prompt":"b"}"#).unwrap().prompt, "b");
}

#[test]
fn an_escaped_key_is_the_key_it_spells() {
    assert_eq!(read("{\"\\u006dodel\":\"a\"}").unwrap().model.as_deref(), Some("a"));
}

#[test]
fn what_cannot_be_read_is_told_apart() {
    assert!(matches!(read("{"), Err(BadBody::NotJson(_))));
    assert!(matches!(read("{} x"), Err(BadBody::NotJson(_))));
    assert_eq!(read("[]"), Err(BadBody::NotAnObject));
    assert_eq!(read("3"), Err(BadBody::NotAnObject));
    assert_eq!(read(r#"{"model":["a"]}"#), Err(BadBody::ModelNotAString));
    assert!(read(&json!({"model": "x".repeat(256)}).to_string()).is_ok());
    assert_eq!(read(&json!({"model": "x".repeat(257)}).to_string()), Err(BadBody::ModelTooLong));
    assert_eq!(
        read_request_fields(&Bytes::from_static(b"{\"a\":\"\xff\"}"), Endpoint::Other),
        Err(BadBody::NotUtf8 { at: 6 })
    );
}

#[test]
fn usage_and_output_are_read_from_answers() {
    let answer = br#"{"id":"c","choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":{"cached_tokens":2}},"x":1}"#;
    let fields = read_answer(answer).unwrap();
    let usage = fields.usage().unwrap();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens), (3, 4, 2));
    assert_eq!((fields.id(), fields.finish_reason()), (Some("c"), Some("stop")));
}

#[track_caller]
fn check_output(event: &str, expected: bool) {
    assert_eq!(read_event(event.as_bytes()).unwrap().has_output(), expected, "{event}");
}

#[test]
fn an_event_has_output_when_something_in_it_is_said() {
    check_output(r#"{"choices":[{"delta":{"content":"x"}}]}"#, true);
    check_output(r#"{"choices":[{"text":"x"}]}"#, true);
    check_output(r#"{"choices":[{"delta":{"reasoning_content":"x","content":null}}]}"#, true);
    check_output(r#"{"choices":[{"delta":{"tool_calls":[{}]}}]}"#, true);
    check_output(r#"{"choices":[{"delta":{"role":"assistant","content":""}}]}"#, false);
    check_output(r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#, false);
    check_output(r#"{"choices":[],"usage":{"completion_tokens":3}}"#, false);
    check_output(r#"{"error":{"message":"x"}}"#, false);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::num::f64::NORMAL.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..6)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

proptest! {
    #[test]
    fn the_fields_are_found_among_any_others_in_any_order(
        model in any::<String>(),
        text in any::<String>(),
        max in any::<u32>(),
        stream in any::<bool>(),
        mut others in prop::collection::vec(("x_[a-z]{1,8}", any_json()), 0..6),
        at in any::<prop::sample::Index>(),
        pretty in any::<bool>(),
    ) {
        let ours = [
            ("model".to_owned(), json!(model)),
            ("messages".to_owned(), json!([{"content": text}])),
            ("max_tokens".to_owned(), json!(max)),
            ("stream".to_owned(), json!(stream)),
        ];
        let at = at.index(others.len() + 1);
        others.splice(at..at, ours);
        let body = Value::Object(others.into_iter().collect::<Map<_, _>>());
        let body = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) };
        let body = Bytes::from(body.unwrap());
        let kept = body.clone();
        let fields = read_request_fields(&body, Endpoint::Other).unwrap();
        prop_assert_eq!(fields.model, Some(model));
        prop_assert_eq!(fields.prompt, text.as_str());
        prop_assert_eq!(fields.output_tokens_max, max);
        prop_assert_eq!(fields.stream, stream);
        prop_assert_eq!(kept, body);
    }

    #[test]
    fn no_json_whatever_breaks_the_reader(body in any_json()) {
        let object = body.is_object();
        let read = read_request_fields(&Bytes::from(body.to_string()), Endpoint::Other);
        prop_assert!(read.is_ok() == object || matches!(read, Err(BadBody::ModelNotAString)));
    }

    #[test]
    fn no_bytes_whatever_break_the_reader(body in prop::collection::vec(any::<u8>(), 0..200)) {
        // The result is of no interest; that there is one is.
        let _ = read_request_fields(&Bytes::from(body), Endpoint::Other);
    }
}
