//! A client that leaves ends the work wherever its request is. (In the queue: `hold`; waiting for an answer and in
//! mid-stream: `streaming`; placed anew: `resume`.)

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};

use crate::fixture::Proxy;

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
