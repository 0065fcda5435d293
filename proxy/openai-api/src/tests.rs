//! What people see of the wire format, as snapshots: errors of bad requests, and the shapes of answers.

use insta::assert_snapshot;
use proptest::prelude::*;

use crate::*;

/// One line of answer for each line of request.
fn table(requests: &[&str], answer: impl Fn(&[u8]) -> String) -> String {
    requests.iter().map(|request| format!("{request}\n    {}\n", answer(request.as_bytes()))).collect()
}

fn chat(body: &[u8]) -> String {
    ChatRequest::from_json(body).map_or_else(|error| error.to_json(), |request| format!("{request:?}"))
}

fn completion(body: &[u8]) -> String {
    CompletionRequest::from_json(body).map_or_else(|error| error.to_json(), |request| format!("{request:?}"))
}

#[test]
fn chat_requests_that_pass() {
    let seen = table(
        &[
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#,
            r#"{"model":"m","messages":[{"role":"developer","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}]},{"role":"assistant","content":null,"tool_calls":[]}]}"#,
            r#"{"model":"m","messages":[{"role":"user","content":"hi","name":"ada"}],"max_tokens":5,"max_completion_tokens":7,"temperature":0,"top_p":0.5,"top_k":40,"seed":-1,"stop":"\n","stream":true,"stream_options":{"include_usage":true},"logprobs":true,"top_logprobs":2,"user":"x","n":1,"presence_penalty":0.0,"tools":[],"response_format":{"type":"text"}}"#,
        ],
        chat,
    );
    assert_snapshot!(seen);
}

#[test]
fn chat_requests_that_are_refused() {
    let seen = table(
        &[
            "",
            r#"{"model":"m","messages":[{"role":"user","content":"hi"}"#,
            "[]",
            r#"{"messages":[{"role":"user","content":"hi"}]}"#,
            r#"{"model":7,"messages":[{"role":"user","content":"hi"}]}"#,
            r#"{"model":"m"}"#,
            r#"{"model":"m","messages":null}"#,
            r#"{"model":"m","messages":[]}"#,
            r#"{"model":"m","messages":"hi"}"#,
            r#"{"model":"m","messages":["hi"]}"#,
            r#"{"model":"m","messages":[{"role":"robot","content":"hi"}]}"#,
            r#"{"model":"m","messages":[{"content":"hi"}]}"#,
            r#"{"model":"m","messages":[{"role":"user"}]}"#,
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{}}]}]}"#,
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text"}]}]}"#,
        ],
        chat,
    );
    assert_snapshot!(seen);
}

#[test]
fn model_names_are_bounded() {
    let asked = |bytes: usize| format!(r#"{{"model":"{}","prompt":"hi"}}"#, "m".repeat(bytes));
    assert_snapshot!(completion(asked(MODEL_BYTES_MAX + 1).as_bytes()), @r#"{"error":{"message":"'model' must be a name of at most 256 bytes (GET /v1/models lists them), not one of 257 bytes.","type":"invalid_request_error","param":"model","code":null}}"#);
    assert_eq!(CompletionRequest::from_json(asked(MODEL_BYTES_MAX).as_bytes()).unwrap().model.len(), MODEL_BYTES_MAX);
}

#[test]
fn options_that_are_refused() {
    let with = |option: &str| {
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"hi"}}],{option}}}"#);
        format!("{option}\n    {}\n", chat(body.as_bytes()))
    };
    let options = [
        r#""max_tokens":-1"#,
        r#""max_tokens":0"#,
        r#""max_tokens":1.5"#,
        r#""max_completion_tokens":"many""#,
        r#""temperature":-0.1"#,
        r#""temperature":3"#,
        r#""top_p":2"#,
        r#""top_k":-2"#,
        r#""seed":"x""#,
        r#""stop":["a","b","c","d","e"]"#,
        r#""stop":"""#,
        r#""stop":[1]"#,
        r#""stream":1"#,
        r#""stream_options":{"include_usage":true}"#,
        r#""stream":true,"stream_options":7"#,
        r#""stream":true,"stream_options":{"include_usage":7}"#,
        r#""n":2"#,
        r#""top_logprobs":2"#,
        r#""logprobs":true,"top_logprobs":21"#,
        r#""tools":[{}]"#,
        r#""response_format":{"type":"json_object"}"#,
        r#""frequency_penalty":0.5"#,
    ];
    let seen = options.map(with).concat();
    assert_snapshot!(seen);
}

#[test]
fn completion_requests() {
    let seen = table(
        &[
            r#"{"model":"m","prompt":"hi","logprobs":0}"#,
            r#"{"model":"m","prompt":["hi"],"echo":false}"#,
            r#"{"model":"m","prompt":[1,2,3]}"#,
            r#"{"model":"m","prompt":[[1,2,3]]}"#,
            r#"{"model":"m"}"#,
            r#"{"model":"m","prompt":[]}"#,
            r#"{"model":"m","prompt":[[]]}"#,
            r#"{"model":"m","prompt":["a","b"]}"#,
            r#"{"model":"m","prompt":[1,"b"]}"#,
            r#"{"model":"m","prompt":[-1]}"#,
            r#"{"model":"m","prompt":{}}"#,
            r#"{"model":"m","prompt":"hi","echo":true}"#,
            r#"{"model":"m","prompt":"hi","logprobs":6}"#,
            r#"{"model":"m","prompt":"hi","best_of":3}"#,
        ],
        completion,
    );
    assert_snapshot!(seen);
}

#[test]
fn invalid_utf8_is_named_by_its_byte() {
    assert_snapshot!(chat(b"{\"model\":\"\xff\"}"), @r#"{"error":{"message":"The request body must be UTF-8; byte 10 is not.","type":"invalid_request_error","param":null,"code":null}}"#);
}

fn token(text: &str, logprob: f32) -> TokenLogprob {
    TokenLogprob { token: text.to_owned(), logprob, bytes: Some(text.as_bytes().to_vec()) }
}

fn token_with_top() -> ChatTokenLogprob {
    ChatTokenLogprob { chosen: token("b", -1.5), top_logprobs: vec![token("a", -0.5), token("b", -1.5)] }
}

fn text_of(frame: Vec<u8>) -> String {
    String::from_utf8(frame).unwrap()
}

#[test]
fn chat_answers() {
    let whole = ChatResponse {
        id: "chatcmpl-1".to_owned(),
        object: "chat.completion".to_owned(),
        created: 1,
        model: "m".to_owned(),
        choices: vec![ChatChoice {
            index: 0,
            message: ChatReply { role: Role::Assistant, content: "b".to_owned(), refusal: None },
            logprobs: Some(ChatLogprobs { content: vec![token_with_top()], refusal: None }),
            finish_reason: FinishReason::Length,
        }],
        usage: Usage::of(3, 2, 1),
    };
    assert_snapshot!("chat_whole", serde_json::to_string_pretty(&whole).unwrap());
    let chunk = ChatChunk {
        id: "chatcmpl-1".to_owned(),
        object: "chat.completion.chunk".to_owned(),
        created: 1,
        model: "m".to_owned(),
        choices: vec![ChatChunkChoice {
            index: 0,
            delta: ChatDelta { role: Some(Role::Assistant), content: Some(String::new()) },
            logprobs: None,
            finish_reason: None,
        }],
        usage: None,
    };
    let last = ChatChunk { choices: Vec::new(), usage: Some(Some(Usage::of(3, 2, 1))), ..chunk.clone() };
    let with_null_usage = ChatChunk { usage: Some(None), ..chunk.clone() };
    let frames = [frame(&chunk), frame(&with_null_usage), frame(&last), DONE_FRAME.to_vec()];
    assert_snapshot!("chat_frames", frames.map(text_of).concat());
}

#[test]
fn completion_answers() {
    let mut logprobs = CompletionLogprobs::default();
    logprobs.push(0, token_with_top());
    logprobs.push(1, ChatTokenLogprob { chosen: token("c", -2.0), top_logprobs: Vec::new() });
    let whole = CompletionResponse {
        id: "cmpl-1".to_owned(),
        object: "text_completion".to_owned(),
        created: 1,
        model: "m".to_owned(),
        choices: vec![CompletionChoice {
            index: 0,
            text: "bc".to_owned(),
            logprobs: Some(logprobs),
            finish_reason: Some(FinishReason::Stop),
        }],
        usage: Some(Some(Usage::of(3, 0, 2))),
    };
    assert_snapshot!("completion_whole", serde_json::to_string_pretty(&whole).unwrap());
    let models = ModelList::of(vec![ModelCard {
        id: "m".to_owned(),
        object: "model".to_owned(),
        created: 1,
        owned_by: "headworks".to_owned(),
        max_model_len: Some(2048),
    }]);
    assert_snapshot!("models", serde_json::to_string_pretty(&models).unwrap());
}

proptest! {
    /// Whatever arrives is answered, and a refusal is always the client's fault.
    #[test]
    fn any_bytes_are_answered(body in proptest::collection::vec(any::<u8>(), 0..64)) {
        for error in [ChatRequest::from_json(&body).err(), CompletionRequest::from_json(&body).err()].into_iter().flatten() {
            prop_assert_eq!(error.error.kind, "invalid_request_error");
        }
    }

    /// A frame is one event, whatever its text holds: no line break of the text may end it early.
    #[test]
    fn a_frame_is_one_event(text in any::<String>()) {
        let delta = ChatDelta { role: None, content: Some(text.clone()) };
        let frame = text_of(frame(&delta));
        let body = frame.strip_prefix("data: ").and_then(|rest| rest.strip_suffix("\n\n")).unwrap();
        prop_assert!(!body.contains(['\n', '\r']));
        prop_assert_eq!(serde_json::from_str::<ChatDelta>(body).unwrap().content, Some(text));
    }
}
