//! What the proxy learns by looking: health, load, draining.

use http::Method;

use crate::fixture::{Proxy, Replica, replicas, shown};

#[tokio::test]
async fn nobody_healthy_is_a_503_that_says_when_to_come_back() {
    let replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    replica.set_healthy(false);
    proxy.until_healthy(0).await;
    insta::assert_snapshot!(shown(proxy.chat().await).await);
}

#[tokio::test]
async fn one_that_recovers_takes_traffic_again() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    replica.set_healthy(false);
    proxy.until_healthy(0).await;
    let fleet = proxy.document("/admin/v1/fleet").await;
    let said = &fleet["regions"][0]["replicas"][0]["health_error"];
    assert_eq!(said, "GET /health answered 503 Service Unavailable");
    replica.set_healthy(true);
    proxy.until_healthy(1).await;
    let (answer, ()) = tokio::join!(proxy.chat(), async { replica.asked().await.answer(200, "{}") });
    assert_eq!(answer.status(), 200);
}

#[tokio::test]
async fn one_that_comes_back_is_asked_for_its_models_anew() {
    let replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    replica.set_healthy(false);
    proxy.until_healthy(0).await;
    replica.set_models(&["other"]);
    replica.set_healthy(true);
    proxy.until_healthy(1).await;
    let other = proxy.send(proxy.request(Method::GET, "/v1/models/other", "")).await;
    assert_eq!(other.status(), 200);
    let answer = proxy.chat().await;
    assert_eq!(answer.status(), 404, "{}", shown(answer).await);
}

#[tokio::test]
async fn one_that_says_another_model_is_asked_for_its_models_anew() {
    let replica = Replica::start().await;
    replica.set_state(r#"{"model":"tiny"}"#);
    let proxy = Proxy::over(&[&replica]).await;
    replica.set_models(&["other"]);
    replica.set_state(r#"{"model":"other"}"#);
    // The first of these may have been under way, and the last may not have ended.
    replica.looked(3).await;
    let other = proxy.send(proxy.request(Method::GET, "/v1/models/other", "")).await;
    assert_eq!(other.status(), 200);
}

#[tokio::test]
async fn what_a_replica_says_of_itself_is_shown_and_counts() {
    let (mut busy, mut idle) = (Replica::start().await, Replica::start().await);
    busy.set_state(r#"{"running":7,"waiting":2,"kv_blocks_used":5,"kv_blocks_total":9,"from_the_future":true}"#);
    let proxy = Proxy::over(&[&busy, &idle]).await;
    let fleet = proxy.document("/admin/v1/fleet").await;
    let shown = &fleet["regions"][0]["replicas"][0];
    assert_eq!((&shown["running"], &shown["waiting"], &shown["kv_blocks_total"]), (&7.into(), &2.into(), &9.into()));
    for _ in 0..3 {
        let (_, ()) = tokio::join!(proxy.chat(), async { idle.asked().await.answer(200, "{}") });
    }
    assert!(busy.is_idle());
}

#[tokio::test]
async fn one_that_drains_takes_nothing_new() {
    let (mut draining, mut other) = (Replica::start().await, Replica::start().await);
    draining.set_state(r#"{"draining":true}"#);
    let proxy = Proxy::over(&[&draining, &other]).await;
    for _ in 0..3 {
        let (_, ()) = tokio::join!(proxy.chat(), async { other.asked().await.answer(200, "{}") });
    }
    assert!(draining.is_idle());
}

#[tokio::test]
async fn a_burst_between_two_looks_spreads() {
    let (mut one, mut two) = (Replica::start().await, Replica::start().await);
    let lines = replicas([&one, &two]);
    let proxy = Proxy::start_with(&format!("limits.poll_interval_ms = 3600000\n{lines}")).await;
    proxy.until_healthy(2).await;
    let burst = futures_util::future::join_all((0..8).map(|_| proxy.chat()));
    let answers = async {
        // Nobody answers before all have arrived.
        let (mut at_one, mut at_two) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            at_one.push(one.asked().await);
            at_two.push(two.asked().await);
        }
        at_one.into_iter().chain(at_two).for_each(|asked| asked.answer(200, "{}"));
    };
    let (served, ()) = tokio::join!(burst, answers);
    assert!(served.iter().all(|answer| answer.status() == 200));
}

#[tokio::test]
async fn one_that_hangs_holds_up_nobody() {
    // Accepts in its backlog and never answers.
    let hung = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut replica = Replica::start().await;
    let lines = format!(
        "[[replica]]\nname = \"hung\"\nurl = \"http://{}\"\n{}",
        hung.local_addr().unwrap(),
        replicas([&replica])
    );
    let proxy = Proxy::start(&lines).await;
    proxy.until_healthy(1).await;
    let (answer, ()) = tokio::join!(proxy.chat(), async { replica.asked().await.answer(200, "{}") });
    assert_eq!(answer.status(), 200);
}
