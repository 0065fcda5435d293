//! A stream whose replica dies goes on at another one, and its client sees nothing of it.

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::fixture::{Asked, Proxy, Replica};

fn chat_event(id: &str, delta: &str, finish: &str) -> String {
    format!(
        "data: {{\"id\":\"{id}\",\"created\":1,\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finish}}}]}}\n\n"
    )
}

fn role(id: &str) -> String {
    chat_event(id, "{\"role\":\"assistant\",\"content\":\"\"}", "null")
}

fn said(id: &str, text: &str) -> String {
    chat_event(id, &format!("{{\"content\":\"{text}\"}}"), "null")
}

fn end(id: &str) -> String {
    chat_event(id, "{}", "\"stop\"") + DONE
}

const DONE: &str = "data: [DONE]\n\n";
const CHAT: &str = "/v1/chat/completions";
const GREEDY: &str =
    r#"{"model":"tiny","stream":true,"temperature":0,"max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;

/// A proxy over replicas that go on by text.
async fn over_text(list: &[&Replica], more: &str) -> Proxy {
    let replica = |(index, replica): (usize, &&Replica)| {
        format!("[[replica]]\nname = \"r{index}\"\nurl = \"http://{}\"\ncontinues = \"text\"\n", replica.address)
    };
    let replicas: String = list.iter().enumerate().map(replica).collect();
    let proxy = Proxy::start(&format!("{more}\n{replicas}")).await;
    proxy.until_healthy(list.len()).await;
    proxy
}

async fn next(body: &mut Incoming) -> String {
    let frame = body.frame().await.expect("the stream goes on").expect("the stream is whole");
    String::from_utf8(frame.into_data().expect("data").to_vec()).unwrap()
}

async fn rest(body: Incoming) -> String {
    String::from_utf8(body.collect().await.expect("the stream is whole").to_bytes().to_vec()).unwrap()
}

async fn first_asked<'a>(one: &'a mut Replica, two: &'a mut Replica) -> (Asked, &'a mut Replica) {
    tokio::select! {
        asked = one.asked() => (asked, two),
        asked = two.asked() => (asked, one),
    }
}

fn body_of(asked: &Asked) -> Value {
    serde_json::from_slice(&asked.body).unwrap()
}

#[tokio::test]
async fn a_greedy_chat_goes_on_from_its_text() {
    let (mut one, mut two) = (Replica::start().await, Replica::start().await);
    let proxy = over_text(&[&one, &two], "").await;
    let (answer, (frames, other)) = tokio::join!(proxy.post(CHAT, GREEDY), async {
        let (asked, other) = first_asked(&mut one, &mut two).await;
        let frames = asked.stream();
        frames.send(&(role("a") + &said("a", "Hel")));
        (frames, other)
    });
    let mut body = answer.into_body();
    assert_eq!(next(&mut body).await, role("a") + &said("a", "Hel"));
    // Half an event is no event.
    frames.send("data: {\"id\":\"a\",\"choi");
    frames.break_off();
    let (text, ()) = tokio::join!(rest(body), async {
        let asked = other.asked().await;
        let body = body_of(&asked);
        assert_eq!(body["messages"][1], json!({ "role": "assistant", "content": "Hel" }));
        assert_eq!((&body["continue_final_message"], &body["max_tokens"]), (&json!(true), &json!(8)));
        asked.stream().send(&(role("b") + &said("b", "lo") + &end("b")));
    });
    assert_eq!(text, said("a", "lo") + &end("a"));
    assert_eq!(proxy.metric("headworks_proxy_resumes_total{result=\"resumed\"}").await, 1.0);
    let decisions = proxy.until("decisions", |all| all[0]["outcome"] == "finished").await;
    assert_eq!(decisions[0]["attempts"], 2);
    proxy.until_idle().await;
}

#[tokio::test]
async fn one_that_stalls_is_left_for_another() {
    let (mut one, mut two) = (Replica::start().await, Replica::start().await);
    let proxy = over_text(&[&one, &two], "limits.stall_ms_max = 1").await;
    let (answer, (frames, other)) = tokio::join!(proxy.post(CHAT, GREEDY), async {
        let (asked, other) = first_asked(&mut one, &mut two).await;
        let frames = asked.stream();
        frames.send(&said("a", "Hel"));
        (frames, other)
    });
    let (text, ()) = tokio::join!(rest(answer.into_body()), async {
        other.asked().await.stream().send(&(said("b", "lo") + &end("b")));
        frames.left().await;
    });
    assert_eq!(text, said("a", "Hel") + &said("a", "lo") + &end("a"));
}

#[tokio::test]
async fn one_that_cannot_go_on_and_a_busy_one_are_passed_over() {
    let (mut one, mut two, mut three) = (Replica::start().await, Replica::start().await, Replica::start().await);
    let proxy = over_text(&[&one, &two, &three], "").await;
    let asked = async |one: &mut Replica, two: &mut Replica, three: &mut Replica| {
        tokio::select! {
            asked = one.asked() => asked,
            asked = two.asked() => asked,
            asked = three.asked() => asked,
        }
    };
    let (answer, frames) = tokio::join!(proxy.post(CHAT, GREEDY), async {
        let frames = asked(&mut one, &mut two, &mut three).await.stream();
        frames.send(&said("a", "Hel"));
        frames
    });
    let mut body = answer.into_body();
    assert_eq!(next(&mut body).await, said("a", "Hel"));
    frames.break_off();
    let (text, ()) = tokio::join!(rest(body), async {
        asked(&mut one, &mut two, &mut three).await.answer(400, "what is continue_final_message?");
        asked(&mut one, &mut two, &mut three).await.stream().send(&(said("c", "lo") + &end("c")));
    });
    assert_eq!(text, said("a", "lo") + &end("a"));
}

#[track_caller]
fn ends_in_error(text: &str) {
    assert!(text.ends_with("}\n\n") && text.contains("\"code\":\"replica_failed\""), "{text}");
}

/// What the client reads of a stream that breaks after a text, and how it is counted.
async fn broken(request: &str, more: &str, why: &str) {
    let (mut one, mut two) = (Replica::start().await, Replica::start().await);
    let proxy = over_text(&[&one, &two], more).await;
    let (answer, frames) = tokio::join!(proxy.post(CHAT, request.to_owned()), async {
        let (asked, _) = first_asked(&mut one, &mut two).await;
        let frames = asked.stream();
        frames.send(&said("a", "Hel"));
        frames
    });
    let mut body = answer.into_body();
    assert_eq!(next(&mut body).await, said("a", "Hel"));
    frames.break_off();
    ends_in_error(&rest(body).await);
    assert!(one.is_idle() && two.is_idle());
    let counted = if why.is_empty() { 0.0 } else { 1.0 };
    assert_eq!(proxy.metric(&format!("headworks_proxy_resumes_total{{result=\"{why}\"}}")).await, counted);
}

#[tokio::test]
async fn what_cannot_go_on_ends_in_a_clear_error() {
    broken(&GREEDY.replace("\"temperature\":0", "\"temperature\":1"), "", "").await;
    broken(GREEDY, "resume = \"off\"", "").await;
    broken(&GREEDY.replace("\"stream\"", "\"logprobs\":true,\"stream\""), "", "shape").await;
    broken(GREEDY, "limits.resume_bytes_max = 2", "too_large").await;
    broken(GREEDY, "limits.resumes_max = 0", "too_often").await;
}

#[tokio::test]
async fn a_client_that_leaves_while_its_stream_is_placed_anew_ends_the_work() {
    let (mut one, mut two) = (Replica::start().await, Replica::start().await);
    let proxy = over_text(&[&one, &two], "").await;
    let (answer, (frames, other)) = tokio::join!(proxy.post(CHAT, GREEDY), async {
        let (asked, other) = first_asked(&mut one, &mut two).await;
        let frames = asked.stream();
        frames.send(&said("a", "Hel"));
        (frames, other)
    });
    let mut body = answer.into_body();
    assert_eq!(next(&mut body).await, said("a", "Hel"));
    frames.break_off();
    let mut asked = {
        tokio::select! {
            _ = body.frame() => panic!("nobody has said anything"),
            asked = other.asked() => asked,
        }
    };
    drop(body);
    asked.left().await;
    let decisions = proxy.until("decisions", |all| all[0]["outcome"] == "cancelled").await;
    assert_eq!(decisions[0]["output_tokens"], 1);
}
