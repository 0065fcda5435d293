//! A client that leaves ends the work wherever its request is. (In the queue: `hold`; waiting for an answer and in
//! mid-stream: `streaming`; placed anew: `resume`.)

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};

use crate::fixture::guest::{hold_while_first_is_busy, placing};
use crate::fixture::{Proxy, Replica};

/// A replica that looks well over its first connection, and takes no other: a further one waits to be made.
async fn taking_one_connection() -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let service = service_fn(|request: http::Request<hyper::body::Incoming>| async move {
            let body = match request.uri().path() {
                "/v1/models" => r#"{"data":[{"id":"tiny"}]}"#,
                _ => "{}",
            };
            Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(body))))
        });
        // The proxy may close it when it has seen enough.
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        std::future::pending::<()>().await;
        drop(listener);
    });
    (address, task)
}

#[tokio::test]
async fn while_the_connection_is_being_made() {
    let (address, _task) = taking_one_connection().await;
    let lines = "limits.poll_interval_ms = 3600000\nlimits.connect_ms_max = 3600000";
    let proxy = Proxy::start_with(&format!("{lines}\n[[replica]]\nname = \"r0\"\nurl = \"http://{address}\"\n")).await;
    proxy.until_healthy(1).await;
    // Until nobody gets in any more.
    let mut waiting = Vec::new();
    while let Ok(made) = tokio::time::timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        waiting.push(made.unwrap());
    }
    let in_flight =
        |count: u32| proxy.until("fleet", move |fleet| fleet["regions"][0]["replicas"][0]["in_flight"] == count);
    tokio::select! {
        _ = proxy.chat() => panic!("nobody answers"),
        _ = in_flight(1) => {}
    }
    in_flight(0).await;
    proxy.until("decisions", |all| all[0]["outcome"] == "cancelled").await;
}

/// Times that clients left, in each place that a request may wait in.
const LEAVINGS: usize = 20;
/// Far beyond what is wanted, which is 100 ms: a machine at work has pauses of its own.
const LEAVING_TIME_MAX: Duration = Duration::from_secs(20);

/// Prints how soon work ended after its client had left: `cargo nextest run … --no-capture` shows it.
fn tell(place: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let (half, most) = (took[took.len() / 2], took[took.len() - 1]);
    println!("{place}: half of {LEAVINGS} within {half:?}, all within {most:?}");
    assert!(most < LEAVING_TIME_MAX, "{place}: {most:?}");
}

#[tokio::test]
async fn the_replicas_work_ends_soon_before_and_within_the_answer() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let (mut before, mut within) = (Vec::new(), Vec::new());
    for _ in 0..LEAVINGS {
        let mut asked = tokio::select! {
            _ = proxy.chat() => panic!("nobody answers"),
            asked = replica.asked() => asked,
        };
        let left = Instant::now();
        asked.left().await;
        before.push(left.elapsed());

        let (answer, frames) = tokio::join!(proxy.chat(), async {
            let frames = replica.asked().await.stream();
            frames.send("data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
            frames
        });
        drop(answer);
        let left = Instant::now();
        frames.left().await;
        within.push(left.elapsed());
    }
    tell("a replica that has not answered", before);
    tell("a replica in mid-stream", within);
    proxy.until_idle().await;
}

#[tokio::test]
async fn a_held_request_leaves_the_queue_soon() {
    let mut only = Replica::start().await;
    let proxy = Proxy::over(&[&only]).await;
    let holds = placing("holds", &hold_while_first_is_busy());
    assert_eq!(proxy.admin(Method::PUT, "/admin/v1/policies/placement", holds).await.status(), 200);
    let waiting = async || proxy.document("/admin/v1/queue").await["waiting"].as_u64().unwrap();
    let until = async |count: u64| while waiting().await != count {};
    let (_, took) = tokio::join!(proxy.chat(), async {
        let first = only.asked().await;
        let mut took = Vec::new();
        for _ in 0..LEAVINGS {
            tokio::select! {
                _ = proxy.chat() => panic!("it is held"),
                () = until(1) => {}
            }
            let left = Instant::now();
            until(0).await;
            took.push(left.elapsed());
        }
        first.answer(200, "{}");
        took
    });
    tell("the queue", took);
    assert!(only.is_idle(), "nothing of them has reached the replica");
}
