//! The bound on all connections to one replica, and who waits at it.

use crate::fixture::{Proxy, Replica, body, replicas, shown};

async fn proxy_of_one(replica: &Replica, wait_ms: u32) -> Proxy {
    let limits = format!("limits.replica_connections_max = 1\nlimits.replica_wait_ms_max = {wait_ms}\n");
    let proxy = Proxy::start(&format!("{limits}{}", replicas([replica]))).await;
    proxy.until_healthy(1).await;
    proxy
}

#[tokio::test]
async fn requests_wait_for_the_connection_that_there_may_be() {
    let mut replica = Replica::start().await;
    let proxy = proxy_of_one(&replica, 60_000).await;
    let answers = async {
        for _ in 0..3 {
            replica.asked().await.answer(200, "{}");
        }
    };
    let chat = async || body(proxy.chat().await).await;
    let (one, two, three, ()) = tokio::join!(chat(), chat(), chat(), answers);
    assert_eq!([one, two, three], ["{}", "{}", "{}"]);
    assert_eq!(proxy.metric("headworks_proxy_replica_connections{replica=\"r0\"}").await, 1.0);
    assert_eq!(proxy.metric("headworks_proxy_replica_connections_max").await, 1.0);
    assert_eq!(proxy.metric("headworks_proxy_replica_waiting{replica=\"r0\"}").await, 0.0);
}

#[tokio::test]
async fn who_waits_too_long_is_told_and_the_replica_is_not_blamed() {
    let mut replica = Replica::start().await;
    let proxy = proxy_of_one(&replica, 20).await;
    let (first, said) = tokio::join!(proxy.chat(), async {
        let asked = replica.asked().await;
        let said = shown(proxy.chat().await).await;
        asked.answer(200, "{}");
        said
    });
    assert!(said.starts_with("503 Service Unavailable"), "{said}");
    assert_eq!(body(first).await, "{}");
    assert_eq!(proxy.metric("headworks_proxy_breakers{state=\"closed\"}").await, 1.0);
    let fleet = proxy.until("fleet", |_| true).await;
    assert_eq!(fleet["regions"][0]["replicas"][0]["failures_total"], 0);
}
