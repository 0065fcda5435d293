//! What a client may get wrong, through proxy and engine: each answer has OpenAI's error shape and says what to change.

use serde_json::{Value, json};

use crate::http::{self, Answer, chat};
use crate::processes::{MODEL, Server, engine, headworks, proxy};

const CHAT: &str = "/v1/chat/completions";

struct Row<'a> {
    path: &'a str,
    body: Vec<u8>,
    status: u16,
    param: Option<&'a str>,
    says: &'a str,
}

#[track_caller]
fn check(proxy: &Server, row: Row<'_>) {
    let Row { path, body, status, param, says } = row;
    let answer: Answer = http::post(&format!("{}{path}", proxy.url), &body);
    let text = answer.text();
    assert_eq!(answer.status, status, "{text}");
    let error = &answer.json()["error"];
    assert!(error["type"].is_string(), "{text}");
    assert_eq!(error["param"], param.map_or(Value::Null, Value::from), "{text}");
    assert!(error["message"].as_str().is_some_and(|message| message.contains(says)), "{text}");
}

fn with(key: &str, value: Value) -> Vec<u8> {
    let mut body = chat("hello", 4, false);
    body[key] = value;
    body.to_string().into_bytes()
}

#[test]
fn wrong_requests_are_answered_with_what_to_change() {
    let engine = engine(&[]);
    let proxy = proxy(&[&engine.url], "least-load", "");
    let mut broken = chat("hello", 4, false).to_string().into_bytes();
    broken.truncate(20);
    let mut not_utf8 = chat("hello", 4, false).to_string().into_bytes();
    let at = not_utf8.windows(5).position(|window| window == b"hello").unwrap();
    not_utf8[at] = 0xff;
    let absent = json!({"model": MODEL}).to_string().into_bytes();
    let rows = [
        Row { path: CHAT, body: broken, status: 400, param: None, says: "JSON" },
        Row { path: CHAT, body: not_utf8, status: 400, param: None, says: "UTF-8" },
        Row { path: CHAT, body: with("model", json!("nobody")), status: 404, param: Some("model"), says: "nobody" },
        Row { path: CHAT, body: absent, status: 400, param: Some("messages"), says: "messages" },
        Row { path: CHAT, body: with("messages", json!([])), status: 400, param: Some("messages"), says: "messages" },
        Row {
            path: CHAT,
            body: with("max_tokens", json!(-5)),
            status: 400,
            param: Some("max_tokens"),
            says: "max_tokens",
        },
        Row {
            path: CHAT,
            body: chat(&"water ".repeat(9000), 4, false).to_string().into_bytes(),
            status: 400,
            param: Some("messages"),
            says: "context",
        },
        Row { path: CHAT, body: vec![b'x'; 10 << 20], status: 413, param: None, says: "bytes" },
    ];
    for row in rows {
        check(&proxy, row);
    }
    let after = http::post(&format!("{}{CHAT}", proxy.url), &with("max_tokens", json!(2)));
    assert_eq!(after.status, 200, "a good request after all of these: {}", after.text());
}

#[track_caller]
fn check_config(text: &str, says: &[&str]) {
    let dir = crate::processes::folder();
    let file = dir.path().join("proxy.toml");
    std::fs::write(&file, text).unwrap();
    let output = headworks().arg("proxy").arg("--check").arg("--config").arg(&file).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    for wanted in says {
        assert!(said.contains(wanted), "{wanted:?} is not in: {said}");
    }
}

#[test]
fn an_unknown_key_in_the_configuration_is_named_with_its_line() {
    check_config("region = \"us\"\nlisten = \"127.0.0.1:0\"\nlisen = \"x\"\n", &["lisen", "line 3"]);
}

#[test]
fn a_wrong_type_in_the_configuration_is_named_with_its_line() {
    check_config("region = \"us\"\nlisten = 8080\n", &["listen", "line 2"]);
}

#[test]
fn an_admin_port_off_loopback_needs_a_credential() {
    check_config(
        "region = \"us\"\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"0.0.0.0:0\"\n\
         [[replica]]\nname = \"a\"\nurl = \"http://127.0.0.1:9\"\n",
        &["token"],
    );
}
