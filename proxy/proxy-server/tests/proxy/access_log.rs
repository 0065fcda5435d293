//! The access log: one line for each request that has ended.

use std::path::Path;

use http::{Method, StatusCode};
use serde_json::Value;

use crate::fixture::{CHAT, LISTEN, Proxy, Replica, replicas, text};

const CHATS: &str = "/v1/chat/completions";
/// Of the key `secret`.
const SECRET: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b";

fn lines_of(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect()
}

/// Without what differs each time.
fn shown(lines: &[Value]) -> String {
    let shown = |line: &Value| {
        let mut line = line.clone();
        for (key, value) in line.as_object_mut().unwrap() {
            if value.is_number() && ["time_ms", "decide_us", "ttft_ms", "duration_ms"].contains(&key.as_str()) {
                *value = Value::from(format!("[{key}]"));
            }
        }
        line.to_string()
    };
    lines.iter().map(shown).collect::<Vec<_>>().join("\n")
}

async fn ask(proxy: &Proxy, key: &str, method: Method, path: &str, body: &str) -> (StatusCode, String) {
    let mut request = proxy.request(method, path, body.to_owned());
    request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request.headers_mut().insert("x-request-id", format!("r-{}", body.len()).parse().unwrap());
    let answer = proxy.send(request).await;
    (answer.status(), text(answer).await)
}

#[tokio::test]
async fn each_request_that_has_ended_is_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("access.jsonl");
    let mut replica = Replica::start().await;
    let mut proxy = Proxy::start(&format!(
        "[access_log]\nfile = {path:?}\n[[tenant]]\nname = \"acme\"\nkey_sha256 = [\"{SECRET}\"]\n{}",
        replicas([&replica])
    ))
    .await;
    proxy.until_healthy(1).await;
    let (whole, ()) = tokio::join!(ask(&proxy, "secret", Method::POST, CHATS, CHAT), async {
        replica.asked().await.answer(200, r#"{"usage":{"prompt_tokens":3,"completion_tokens":4}}"#);
    });
    assert_eq!(whole.0, 200);
    let stream = CHAT.replace("]}", r#"],"stream":true}"#);
    let (streamed, ()) = tokio::join!(ask(&proxy, "secret", Method::POST, CHATS, &stream), async {
        let frames = replica.asked().await.stream();
        frames.send("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
        frames
            .send("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\ndata: [DONE]\n\n");
    });
    assert_eq!(streamed.0, 200);
    let (failed, ()) = tokio::join!(ask(&proxy, "secret", Method::POST, CHATS, CHAT), async {
        replica.asked().await.answer(400, r#"{"error":{"message":"no"}}"#);
    });
    assert_eq!(failed.0, 400);
    for (key, method, at, body, status) in [
        ("wrong-hunter2", Method::POST, CHATS, CHAT.to_owned(), 401),
        ("secret", Method::POST, "/v1/chat/completions?hunter2", CHAT.replace("tiny", "other"), 404),
        ("secret", Method::GET, CHATS, String::new(), 405),
        ("secret", Method::POST, CHATS, "{".to_owned(), 400),
    ] {
        assert_eq!(ask(&proxy, key, method, at, &body).await.0, status);
    }
    tokio::select! {
        _ = ask(&proxy, "secret", Method::POST, CHATS, CHAT) => panic!("it is answered"),
        _ = replica.asked() => {}
    }
    proxy.until_idle().await;
    // Its models are answered here, and are no line.
    assert_eq!(ask(&proxy, "secret", Method::GET, "/v1/models", "").await.0, 200);
    proxy.stop().await.unwrap().unwrap();
    let lines = lines_of(&path);
    insta::assert_snapshot!(shown(&lines));
    assert!(!std::fs::read_to_string(&path).unwrap().contains("hunter2"));
}

#[tokio::test]
async fn a_reload_goes_on_in_a_new_file_when_the_old_one_was_moved() {
    let folder = tempfile::tempdir().unwrap();
    let [config, path, old] = ["proxy.toml", "access.jsonl", "access.jsonl.1"].map(|name| folder.path().join(name));
    let mut replica = Replica::start().await;
    replica.answer_all("{}");
    let lines = format!("{LISTEN}\n[access_log]\nfile = \"access.jsonl\"\n{}", replicas([&replica]));
    std::fs::write(&config, lines).unwrap();
    let mut proxy = Proxy::of_file(&config).await;
    proxy.until_healthy(1).await;
    assert_eq!(ask(&proxy, "", Method::POST, CHATS, CHAT).await.0, 200);
    proxy.until("traffic", |traffic| traffic["requests_total"] == 1).await;
    // Until the writer has written it.
    while lines_of(&path).is_empty() {
        tokio::task::yield_now().await;
    }
    std::fs::rename(&path, &old).unwrap();
    assert_eq!(proxy.admin(Method::POST, "/admin/v1/reload", "").await.status(), 200);
    assert_eq!(ask(&proxy, "", Method::POST, CHATS, CHAT).await.0, 200);
    proxy.stop().await.unwrap().unwrap();
    assert_eq!((lines_of(&old).len(), lines_of(&path).len()), (1, 1));
}

#[tokio::test]
async fn a_log_that_cannot_be_written_is_told_at_the_start() {
    let error = Proxy::refused("[access_log]\nfile = \"/nowhere/access.jsonl\"").await;
    assert!(error.contains("the access log /nowhere/access.jsonl cannot be written"), "{error}");
}
