//! Replicas that fail again and again are left out for a while, and clients' time is kept.

use http::{Method, StatusCode};
use http_body_util::BodyExt;

use crate::fixture::{Asked, CHAT, Proxy, Replica, replicas, shown, text};

const CHATS: &str = "/v1/chat/completions";

async fn asked(one: &mut Replica, two: &mut Replica) -> Asked {
    tokio::select! {
        asked = one.asked() => asked,
        asked = two.asked() => asked,
    }
}

fn breaker_is(fleet: &serde_json::Value, replica: usize, word: &str) -> bool {
    fleet["regions"][0]["replicas"][replica]["breaker"] == word
}

/// One request that the first replica fails with this status; whoever is asked then answers well.
async fn failed_once(proxy: &Proxy, bad: &mut Replica, good: &mut Replica, status: u16) {
    let (answer, ()) = tokio::join!(proxy.chat(), async {
        loop {
            tokio::select! {
                asked = bad.asked() => asked.answer(status, "{}"),
                asked = good.asked() => break asked.answer(200, "{}"),
            }
        }
    });
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn one_that_is_at_fault_is_replaced_and_then_left_out() {
    let (mut bad, mut good) = (Replica::start().await, Replica::start().await);
    let lines =
        "limits.breaker_failures_max = 2\nlimits.breaker_open_ms = 3600000\nlimits.breaker_open_ms_max = 3600000";
    let proxy = Proxy::start(&format!("{lines}\n{}", replicas([&bad, &good]))).await;
    proxy.until_healthy(2).await;
    for _ in 0..20 {
        failed_once(&proxy, &mut bad, &mut good, 500).await;
    }
    proxy.until("fleet", |fleet| breaker_is(fleet, 0, "open")).await;
    assert_eq!(proxy.metric("headworks_proxy_breakers{state=\"open\"}").await, 1.0);
    for _ in 0..5 {
        let (answer, ()) = tokio::join!(proxy.chat(), async { good.asked().await.answer(200, "{}") });
        assert_eq!(answer.status(), 200);
    }
    assert!(bad.is_idle());
    // Its first good look after an illness is worth more than what it did before.
    bad.set_healthy(false);
    proxy.until_healthy(1).await;
    bad.set_healthy(true);
    proxy.until("fleet", |fleet| breaker_is(fleet, 0, "closed")).await;
}

#[tokio::test]
async fn the_only_replica_is_never_left_out() {
    let mut only = Replica::start().await;
    let proxy = Proxy::start(&format!("limits.breaker_failures_max = 1\n{}", replicas([&only]))).await;
    proxy.until_healthy(1).await;
    for _ in 0..3 {
        let (answer, ()) = tokio::join!(proxy.chat(), async { only.asked().await.answer(500, "sorry") });
        assert_eq!(shown(answer).await, "500 Internal Server Error\nsorry");
    }
}

#[tokio::test]
async fn a_refusal_is_the_clients_and_opens_nothing() {
    let mut only = Replica::start().await;
    let proxy = Proxy::start(&format!("limits.breaker_failures_max = 1\n{}", replicas([&only]))).await;
    proxy.until_healthy(1).await;
    let (answer, ()) = tokio::join!(proxy.chat(), async { only.asked().await.answer(400, "no") });
    assert_eq!(answer.status(), 400);
    assert!(breaker_is(&proxy.document("/admin/v1/fleet").await, 0, "closed"));
}

#[tokio::test]
async fn a_busy_one_is_passed_over_while_another_has_room() {
    let (mut one, mut two) = (Replica::start().await, Replica::start().await);
    let proxy = Proxy::start(&format!("limits.busy_ms_max = 3600000\n{}", replicas([&one, &two]))).await;
    proxy.until_healthy(2).await;
    let (answer, ()) = tokio::join!(proxy.chat(), async {
        asked(&mut one, &mut two).await.answer(429, "full");
        asked(&mut one, &mut two).await.answer(200, "{}");
    });
    assert_eq!(answer.status(), 200);
    let fleet = proxy.until("fleet", |fleet| breaker_is(fleet, 0, "busy") || breaker_is(fleet, 1, "busy")).await;
    let (busy, free) = if breaker_is(&fleet, 0, "busy") { (&mut one, &mut two) } else { (&mut two, &mut one) };
    for _ in 0..4 {
        let (answer, ()) = tokio::join!(proxy.chat(), async { free.asked().await.answer(200, "{}") });
        assert_eq!(answer.status(), 200);
    }
    assert!(busy.is_idle());
}

#[tokio::test]
async fn tries_after_the_first_are_paid_from_a_budget() {
    let (mut one, mut two) = (Replica::start().await, Replica::start().await);
    let lines = "limits.retry_percent_max = 0\nlimits.retry_per_second_least = 0";
    let proxy = Proxy::start(&format!("{lines}\n{}", replicas([&one, &two]))).await;
    proxy.until_healthy(2).await;
    let (answer, ()) = tokio::join!(proxy.chat(), async { asked(&mut one, &mut two).await.answer(500, "sorry") });
    assert_eq!(text(answer).await, "sorry");
    assert_eq!(proxy.metric("headworks_proxy_retries_denied_total").await, 1.0);
}

#[tokio::test]
async fn a_clients_time_is_kept_and_told() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let mut request = proxy.request(Method::POST, CHATS, CHAT);
    request.headers_mut().insert("x-request-timeout-ms", "80".parse().unwrap());
    let (answer, mut asked) = tokio::join!(proxy.send(request), replica.asked());
    let told: u64 = asked.header("x-request-timeout-ms").unwrap().parse().unwrap();
    assert!((1..=80).contains(&told), "{told}");
    asked.left().await;
    insta::assert_snapshot!(shown(answer).await);
    assert!(breaker_is(&proxy.document("/admin/v1/fleet").await, 0, "closed"));
}

#[tokio::test]
async fn a_stream_ends_when_its_time_does() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let stream = r#"{"model":"tiny","stream":true,"messages":[]}"#;
    let mut request = proxy.request(Method::POST, CHATS, stream);
    request.headers_mut().insert("x-request-timeout-ms", "200".parse().unwrap());
    let (answer, frames) = tokio::join!(proxy.send(request), async {
        let frames = replica.asked().await.stream();
        frames.send("data: {\"choices\":[{\"delta\":{\"content\":\"Hello\"}}]}\n\n");
        frames
    });
    assert_eq!(answer.status(), StatusCode::OK);
    let all = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(String::from_utf8_lossy(&all).contains("\"code\":\"deadline_exceeded\""), "{all:?}");
    frames.left().await;
    assert_eq!(proxy.metric("headworks_proxy_midstream_deaths_total").await, 0.0);
}

#[tokio::test]
async fn a_time_that_is_none_is_refused() {
    let replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let mut request = proxy.request(Method::POST, CHATS, CHAT);
    request.headers_mut().insert("x-request-timeout-ms", "soon".parse().unwrap());
    insta::assert_snapshot!(shown(proxy.send(request).await).await);
}
