//! Replicas that fail: before the first byte another one answers, and when there is none the client is told.

use http::Method;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::fixture::guest::{placing, region};
use crate::fixture::{Proxy, Replica, replicas, shown, text};

/// The replica among two that is asked, and the other.
async fn first_asked<'a>(one: &'a mut Replica, two: &'a mut Replica) -> (crate::fixture::Asked, &'a mut Replica) {
    tokio::select! {
        asked = one.asked() => (asked, two),
        asked = two.asked() => (asked, one),
    }
}

#[tokio::test]
async fn one_that_breaks_before_its_answer_is_replaced() {
    let (mut one, mut two) = (Replica::start().await, Replica::start().await);
    let proxy = Proxy::over(&[&one, &two]).await;
    let (answer, ()) = tokio::join!(proxy.chat(), async {
        let (asked, other) = first_asked(&mut one, &mut two).await;
        asked.break_off();
        other.asked().await.answer(200, "second");
    });
    assert_eq!(text(answer).await, "second");
    assert_eq!(proxy.metric("headworks_proxy_retries_total").await, 1.0);
    let decisions = proxy.document("/admin/v1/decisions").await;
    assert_eq!(decisions["decisions"][0]["attempts"], 2);
}

#[tokio::test]
async fn one_that_dies_between_head_and_first_byte_is_replaced() {
    let (mut one, mut two) = (Replica::start().await, Replica::start().await);
    let proxy = Proxy::over(&[&one, &two]).await;
    let (answer, ()) = tokio::join!(proxy.chat(), async {
        let (asked, other) = first_asked(&mut one, &mut two).await;
        asked.stream().break_off();
        other.asked().await.answer(200, "second");
    });
    assert_eq!(text(answer).await, "second");
}

#[tokio::test]
async fn one_that_has_no_room_is_left_for_another() {
    let (mut one, mut two) = (Replica::start().await, Replica::start().await);
    let proxy = Proxy::over(&[&one, &two]).await;
    let (answer, ()) = tokio::join!(proxy.chat(), async {
        let (asked, other) = first_asked(&mut one, &mut two).await;
        asked.answer(503, "full");
        other.asked().await.answer(200, "second");
    });
    assert_eq!(text(answer).await, "second");
    proxy.until_healthy(2).await;
}

#[tokio::test]
async fn when_all_have_no_room_the_last_ones_words_are_relayed() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let (answer, ()) = tokio::join!(proxy.chat(), async { replica.asked().await.answer(503, "full") });
    assert_eq!(shown(answer).await, "503 Service Unavailable\nfull");
}

#[tokio::test]
async fn when_all_break_the_client_is_told() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let (answer, ()) = tokio::join!(proxy.chat(), async { replica.asked().await.break_off() });
    insta::assert_snapshot!(shown(answer).await);
}

#[tokio::test]
async fn a_region_that_is_gone_is_told_as_a_region() {
    let here = Replica::start().await;
    let gone =
        "[[region_peer]]\nname = \"eu\"\ndata_url = \"http://127.0.0.1:1\"\nadmin_url = \"http://127.0.0.1:1\"\n";
    let proxy = Proxy::start(&format!("limits.tries_max = 1\n{gone}{}", replicas([&here]))).await;
    proxy.until_healthy(1).await;
    let put = proxy.admin(Method::PUT, "/admin/v1/policies/placement", placing("away", &region(1))).await;
    assert_eq!(put.status(), 200);
    insta::assert_snapshot!(shown(proxy.chat().await).await);
}

#[tokio::test]
async fn what_may_have_been_done_already_is_not_done_twice() {
    let (mut one, mut two) = (Replica::start().await, Replica::start().await);
    let proxy = Proxy::over(&[&one, &two]).await;
    let (answer, ()) = tokio::join!(proxy.post("/v1/files", "a file"), async {
        let (asked, _) = first_asked(&mut one, &mut two).await;
        asked.break_off();
    });
    assert_eq!(answer.status(), 502);
    assert!(one.is_idle() && two.is_idle());
}

#[tokio::test]
async fn one_that_is_gone_is_passed_over_without_a_failed_request() {
    let (gone, mut here) = (Replica::start().await, Replica::start().await);
    let lines = replicas([&gone, &here]);
    // It never looks again, so that only the failed request can tell.
    let proxy = Proxy::start_with(&format!("limits.poll_interval_ms = 3600000\n{lines}")).await;
    proxy.until_healthy(2).await;
    drop(gone);
    for _ in 0..3 {
        let (answer, ()) = tokio::join!(proxy.chat(), async { here.asked().await.answer(200, "here") });
        assert_eq!(text(answer).await, "here");
    }
    let fleet = proxy.document("/admin/v1/fleet").await;
    assert_eq!(fleet["regions"][0]["replicas"][0]["health"], "unhealthy");
}

#[tokio::test]
async fn a_replica_too_slow_to_begin_is_a_504() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::start(&format!("limits.answer_ms_max = 1\n{}", replicas([&replica]))).await;
    proxy.until_healthy(1).await;
    let (answer, mut asked) = tokio::join!(proxy.chat(), replica.asked());
    asked.left().await;
    insta::assert_snapshot!(shown(answer).await);
}

/// A replica whose completions all end before their length says, head and beginning and end in one piece.
async fn cutting_off() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut asked = vec![0; 4096];
            let count = stream.read(&mut asked).await.unwrap();
            let (length, text) = match asked[..count].starts_with(b"GET ") {
                true => (25, r#"{"data":[{"id":"tiny"}]} "#),
                false => (99, r#"{"choices":"#),
            };
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n");
            // Whoever asked may have left.
            let _ = stream.write_all(format!("{head}connection: close\r\n\r\n{text}").as_bytes()).await;
        }
    });
    address
}

#[tokio::test]
async fn a_whole_answer_that_breaks_off_has_a_head_and_no_end() {
    let address = cutting_off().await;
    let lines = format!("[[replica]]\nname = \"r0\"\nurl = \"http://{address}\"\nkind = \"openai\"\n");
    let proxy = Proxy::start(&lines).await;
    proxy.until_healthy(1).await;
    for _ in 0..20 {
        let answer = proxy.chat().await;
        assert_eq!(answer.status(), 200);
        assert!(answer.into_body().collect().await.is_err(), "nobody can take it for whole");
    }
}
