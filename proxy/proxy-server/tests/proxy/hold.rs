//! Held requests leave in order: the urgent first, tenants in turns, as many as there is room for.

use http::{Method, Response};
use hyper::body::Incoming;
use serde_json::json;

use crate::fixture::guest::{hold_while_first_is_busy, placing};
use crate::fixture::{CHAT, ONE_THREAD, Proxy, Replica, replicas, shown};

/// Tenants whose keys are their names.
const TENANTS: &str = "[[tenant]]\nname = \"urgent\"\npriority = 5\n\
     key_sha256 = [\"f9d37c23fcc0f03c15a86aba71dce01dd0baa7a1568180e60c2347a5863151bc\"]\n\
     [[tenant]]\nname = \"batch\"\nkey_sha256 = [\"4bb24efc9641afc5ded1ca77eabb6e2fcf062d2112ccd61bd8bd6acd89180bae\"]\n\
     [[tenant]]\nname = \"other\"\nkey_sha256 = [\"d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa\"]\n";

async fn ask(proxy: &Proxy, tenant: &str) -> Response<Incoming> {
    let mut request = proxy.request(Method::POST, "/v1/chat/completions", CHAT);
    request.headers_mut().insert("authorization", format!("Bearer {tenant}").parse().unwrap());
    request.headers_mut().insert("x-tenant", tenant.parse().unwrap());
    proxy.send(request).await
}

/// A proxy whose policy holds while its only replica is busy.
async fn holding(only: &Replica, more: &str) -> Proxy {
    let proxy = Proxy::start(&format!("{ONE_THREAD}{more}\n{TENANTS}{}", replicas([only]))).await;
    proxy.until_healthy(1).await;
    let put = proxy.admin(Method::PUT, "/admin/v1/policies/placement", placing("holds", &hold_while_first_is_busy()));
    assert_eq!(put.await.status(), 200);
    proxy
}

async fn until_held(proxy: &Proxy, count: u32) {
    proxy.until("fleet", |fleet| fleet["regions"][0]["queue"] == count).await;
}

#[tokio::test]
async fn the_urgent_leave_first_and_tenants_in_turns() {
    let mut only = Replica::start().await;
    let proxy = holding(&only, "").await;
    let ask = |tenant: &'static str| ask(&proxy, tenant);
    let held_after = async |tenant: &'static str, held: u32| {
        until_held(&proxy, held).await;
        ask(tenant).await
    };
    let asked = async {
        let first = only.asked().await;
        until_held(&proxy, 5).await;
        let queue = proxy.document("/admin/v1/queue").await;
        let shown: Vec<_> =
            queue["tenants"].as_array().unwrap().iter().map(|tenant| (&tenant["tenant"], &tenant["waiting"])).collect();
        assert_eq!(json!(shown), json!([["batch", 3], ["other", 1], ["urgent", 1]]));
        assert_eq!(proxy.metric("headworks_proxy_queue_waiting{tenant=\"batch\"}").await, 3.0);
        first.answer(200, "{}");
        let mut order = Vec::new();
        for _ in 0..5 {
            let asked = only.asked().await;
            assert!(only.is_idle(), "one leaves for each that ends");
            order.push(asked.header("x-tenant").unwrap().to_owned());
            asked.answer(200, "{}");
        }
        order
    };
    let (order, ..) = tokio::join!(
        asked,
        ask("batch"),
        held_after("batch", 0),
        held_after("batch", 1),
        held_after("batch", 2),
        held_after("other", 3),
        held_after("urgent", 4),
    );
    assert_eq!(order[0], "urgent");
    assert!(order[1..4].contains(&"other".to_owned()), "{order:?}");
}

#[tokio::test]
async fn a_client_that_leaves_gives_up_its_place() {
    let mut only = Replica::start().await;
    let proxy = holding(&only, "").await;
    let (_, ()) = tokio::join!(ask(&proxy, "batch"), async {
        let first = only.asked().await;
        tokio::select! {
            _ = ask(&proxy, "other") => panic!("it is held"),
            () = until_held(&proxy, 1) => {}
        }
        until_held(&proxy, 0).await;
        let decisions = proxy.metric("headworks_proxy_requests_total{outcome=\"cancelled\"}").await;
        assert_eq!(decisions, 1.0);
        first.answer(200, "{}");
    });
    assert!(only.is_idle());
}

#[tokio::test]
async fn a_full_queue_says_when_to_come_back() {
    let mut only = Replica::start().await;
    let proxy = holding(&only, "limits.queue_max = 1").await;
    let (_, _, ()) = tokio::join!(
        ask(&proxy, "batch"),
        async {
            until_held(&proxy, 0).await;
            ask(&proxy, "batch").await
        },
        async {
            let first = only.asked().await;
            until_held(&proxy, 1).await;
            insta::assert_snapshot!(shown(ask(&proxy, "other").await).await);
            first.answer(200, "{}");
            only.asked().await.answer(200, "{}");
        }
    );
}
