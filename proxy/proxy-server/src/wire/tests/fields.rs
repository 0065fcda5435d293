//! Every endpoint's fields, and the reader beside serde_json: what one takes, the other does, with the same meaning.

use super::*;

const ENDPOINTS: [Endpoint; 7] = [
    Endpoint::Chat,
    Endpoint::Completions,
    Endpoint::Embeddings,
    Endpoint::Responses,
    Endpoint::Messages,
    Endpoint::Rerank,
    Endpoint::Other,
];

#[track_caller]
fn check(endpoint: Endpoint, body: Value, prompt: &str, session: Option<&str>, output_tokens_max: u32) {
    let read = read_request_fields(&body.to_string().into(), endpoint).unwrap();
    assert_eq!(String::from_utf8(read.prompt.to_vec()).unwrap(), prompt);
    assert_eq!((read.session.as_deref(), read.output_tokens_max), (session, output_tokens_max));
}

#[test]
fn each_endpoint_has_its_own_fields() {
    let chat = json!({"messages": [{"role": "user", "content": "hi"}], "prompt": "not this", "user": "u"});
    check(Endpoint::Chat, chat, "hi", Some("u"), 0);
    check(Endpoint::Completions, json!({"prompt": "hi", "input": "no", "max_tokens": 3}), "hi", None, 3);
    check(Endpoint::Embeddings, json!({"input": ["a", "b"], "user": "u"}), "ab", Some("u"), 0);
    let messages = json!({
        "max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "text", "text": "two"}]}],
        "system": [{"type": "text", "text": "one "}], "metadata": {"user_id": "u"},
    });
    check(Endpoint::Messages, messages, "one two", Some("u"), 9);
    let responses = json!({
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "two"}]}], "instructions": "one ",
        "max_output_tokens": 7, "previous_response_id": "resp_1",
    });
    check(Endpoint::Responses, responses, "one two", Some("resp_1"), 7);
    check(Endpoint::Responses, json!({"conversation": {"id": "c"}, "previous_response_id": "r"}), "", Some("c"), 0);
    check(Endpoint::Responses, json!({"conversation": "c", "prompt_cache_key": "k"}), "", Some("k"), 0);
    check(Endpoint::Rerank, json!({"documents": ["b", {"text": "c"}], "query": "a"}), "abc", None, 0);
}

#[track_caller]
fn check_text(written: &str, expected: Result<&str, &str>) {
    let read = read(&format!(r#"{{"prompt":{written}}}"#));
    match (read, expected) {
        (Ok(fields), Ok(text)) => assert_eq!(String::from_utf8(fields.prompt.to_vec()).unwrap(), text, "{written}"),
        (Err(BadBody::NotJson(why)), Err(part)) => assert!(why.contains(part), "{written}: {why}"),
        (read, expected) => panic!("{written}: {read:?}, and not {expected:?}"),
    }
}

#[test]
fn strings_are_what_they_spell() {
    check_text(r#""a\n\t\"\\\/\b\f\r""#, Ok("a\n\t\"\\/\u{8}\u{c}\r"));
    check_text(r#""\u00e9\u20AC""#, Ok("é€"));
    check_text(r#""\ud83d\ude00""#, Ok("😀"));
    check_text(r#""é€😀""#, Ok("é€😀"));
    check_text(r#""x\ud83d""#, Ok("x\u{fffd}"));
    check_text(r#""\ud83dx""#, Ok("\u{fffd}x"));
    check_text(r#""\ude00\ud83d\ude00""#, Ok("\u{fffd}😀"));
    check_text(r#""\ud83d\u0041""#, Ok("\u{fffd}A"));
    check_text(r#""\x""#, Err("an escape is none that JSON has at line 1 column 12"));
    check_text(r#""\u12g4""#, Err("an escape"));
    check_text("\"a\u{1}\"", Err("a control character"));
    check_text("\"a", Err("it ends within a string"));
    check_text("\"\u{7f}\u{2028}\"", Ok("\u{7f}\u{2028}"));
}

#[track_caller]
fn check_whole(body: &str, expected: Result<(), &str>) {
    match (read(body), expected) {
        (Ok(_), Ok(())) => {}
        (Err(BadBody::NotJson(why)), Err(part)) => assert!(why.contains(part), "{body}: {why}"),
        (read, expected) => panic!("{body}: {read:?}, and not {expected:?}"),
    }
    assert_eq!(serde_json::from_str::<serde::de::IgnoredAny>(body).is_ok(), expected.is_ok(), "serde_json: {body}");
}

#[test]
fn what_json_is_not_is_refused() {
    check_whole(" {\t}\r\n", Ok(()));
    check_whole("\u{feff}{}", Err("a value was expected at line 1 column 1"));
    check_whole("{} {}", Err("something follows"));
    check_whole("{,}", Err("a key or `}`"));
    check_whole(r#"{"a":1,}"#, Err("a key was expected"));
    check_whole(r#"{"a" 1}"#, Err("`:`"));
    check_whole(r#"{"a":1 "b":2}"#, Err("`,` or `}`"));
    check_whole(r#"{"a":[1,]}"#, Err("a value was expected"));
    check_whole(r#"{"a":[,1]}"#, Err("a value was expected"));
    check_whole(r#"{"a":[1 2]}"#, Err("`,` or `]`"));
    check_whole(r#"{'a':1}"#, Err("a key"));
    check_whole("{\"a\":\n nul}", Err("a value was expected at line 2 column 2"));
    check_whole("", Err("it ends"));
    for number in ["0", "-0", "10", "1.5e-3", "1E+9", "123456789012345678901234567890", "1e99999"] {
        check_whole(&format!(r#"{{"a":{number}}}"#), Ok(()));
    }
    for number in ["01", "1.", ".5", "-", "+1", "1e", "1e+", "NaN", "-Infinity", "0x1"] {
        let read = read(&format!(r#"{{"a":{number}}}"#));
        assert!(matches!(read, Err(BadBody::NotJson(_))), "{number}: {read:?}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(read(&nested(126)).is_ok() && serde_json::from_str::<Value>(&nested(126)).is_ok());
    assert!(matches!(read(&nested(127)), Err(BadBody::NotJson(why)) if why.contains("nested too deeply")));
    assert!(serde_json::from_str::<Value>(&nested(127)).is_err());
    let prompt = |depth: usize| format!(r#"{{"prompt":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(matches!(read(&prompt(200_000)), Err(BadBody::NotJson(_))));
}

#[test]
fn numbers_that_are_too_large_are_not_taken_for_others() {
    assert_eq!(read(r#"{"max_tokens":4294967296}"#).unwrap().output_tokens_max, u32::MAX);
    assert_eq!(read(r#"{"max_tokens":99999999999999999999999}"#).unwrap().output_tokens_max, 0);
    assert_eq!(read(r#"{"max_tokens":1.5,"temperature":1e999}"#).unwrap(), RequestFields::default());
}

#[test]
fn a_prompt_of_very_many_pieces_is_one_text() {
    let pieces: Vec<String> = (0..1000).map(|piece| format!("{piece} ")).collect();
    let fields = read(&json!({"prompt": pieces}).to_string()).unwrap();
    assert_eq!(fields.prompt, pieces.concat().as_str());
    assert!(fields.prompt.pieces().len() <= 256);
}

/// The prompt as the tree tells it.
fn gathered(value: &Value, text: &mut String, tokens: &mut Vec<u32>) {
    match value {
        Value::String(piece) => text.push_str(piece),
        Value::Number(number) => tokens.extend(number.as_u64().and_then(|token| u32::try_from(token).ok())),
        Value::Array(values) => values.iter().for_each(|value| gathered(value, text, tokens)),
        Value::Object(entries) => {
            for value in entries.iter().filter(|entry| ["content", "text"].contains(&entry.0.as_str())) {
                gathered(value.1, text, tokens);
            }
        }
        Value::Null | Value::Bool(_) => {}
    }
}

fn of_tree(body: &Value, parts: &[&str]) -> RequestFields {
    let count = |key: &str| body[key].as_u64().map(|count| count.try_into().unwrap_or(u32::MAX));
    let text = |key: &str| body[key].as_str().map(str::to_owned);
    let (mut prompt, mut tokens) = (String::new(), Vec::new());
    parts.iter().for_each(|part| gathered(&body[*part], &mut prompt, &mut tokens));
    RequestFields {
        model: text("model"),
        stream: body["stream"] == true,
        output_tokens_max: count("max_completion_tokens").or(count("max_tokens")).unwrap_or(0),
        choices: count("n").max(count("best_of")).unwrap_or(0),
        temperature: body["temperature"].as_f64(),
        session: text("prompt_cache_key").or(text("user")),
        prompt: prompt.into(),
        tokens,
    }
}

fn any_body() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        Just("model".to_owned()),
        Just("messages".to_owned()),
        Just("system".to_owned()),
        Just("stream".to_owned()),
        Just("max_tokens".to_owned()),
        Just("max_completion_tokens".to_owned()),
        Just("temperature".to_owned()),
        Just("n".to_owned()),
        Just("best_of".to_owned()),
        Just("prompt_cache_key".to_owned()),
        Just("user".to_owned()),
        any::<String>(),
    ];
    let inner = prop_oneof![
        any_json(),
        any::<String>().prop_map(Value::from),
        prop::collection::vec((any_json(), any::<String>()), 0..4).prop_map(|messages| {
            messages.into_iter().map(|(other, text)| json!({"role": other, "content": text, "text": [other]})).collect()
        }),
    ];
    prop::collection::vec((key, inner), 0..8).prop_map(|entries| Value::Object(entries.into_iter().collect()))
}

proptest! {
    #[test]
    fn the_fields_are_those_of_the_tree(body in any_body(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&body) } else { serde_json::to_string(&body) }.unwrap();
        for (endpoint, parts) in [(Endpoint::Chat, &["messages"][..]), (Endpoint::Messages, &["system", "messages"])] {
            let mut body = body.clone();
            if endpoint == Endpoint::Messages {
                body["user"] = body["metadata"]["user_id"].as_str().map_or(body["user"].clone(), Value::from);
            }
            match read_request_fields(&text.clone().into(), endpoint) {
                Ok(fields) => prop_assert_eq!(fields, of_tree(&body, parts)),
                Err(BadBody::ModelNotAString) => prop_assert!(!body["model"].is_string() && !body["model"].is_null()),
                Err(BadBody::ModelTooLong) => prop_assert!(body["model"].as_str().unwrap().len() > 256),
                Err(other) => prop_assert!(false, "{:?}", other),
            }
        }
    }

    #[test]
    fn what_serde_takes_is_taken_and_what_it_refuses_is_refused(
        body in any_body(),
        at in any::<prop::sample::Index>(),
        byte in prop_oneof![any::<u8>(), prop::sample::select(&b"{}[]\",:\\u0123eE+-.tfn \n"[..])],
        cut in any::<prop::sample::Index>(),
        does_cut in any::<bool>(),
    ) {
        let mut text = body.to_string().into_bytes();
        let place = at.index(text.len());
        text[place] = byte;
        if does_cut {
            text.truncate(cut.index(text.len() + 1));
        }
        let taken = serde_json::from_slice::<Value>(&text).is_ok();
        let text = Bytes::from(text);
        for endpoint in ENDPOINTS {
            let read = read_request_fields(&text, endpoint);
            let refused = matches!(read, Err(BadBody::NotJson(_) | BadBody::NotUtf8 { .. }));
            // Half a surrogate pair is the replica's to judge, and so is a number that no float holds.
            let is_odd = text.windows(3).any(|part| part == b"\\ud" || part == b"\\uD")
                || text.windows(2).any(|part| matches!(part, [b'0'..=b'9', b'e' | b'E']));
            prop_assert!(refused != taken || is_odd, "{:?}", read);
        }
    }
}
