//! HTTP/2 by prior knowledge, with a server of hyper's: connections are shared, streams are bounded, resets are told.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body::Frame;
use http_body_util::BodyExt;
use http_body_util::channel::Channel;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use upstream::{Again, Bounds, Error, Http2, Origin, Outgoing, Server};

use common::{BOUNDS, plain};

type Body = Channel<Bytes, &'static str>;

/// A request, and how it is answered.
struct Asked {
    request: Request<Incoming>,
    answer: oneshot::Sender<Response<Body>>,
}

/// A server whose requests the test answers.
struct Far {
    asked: mpsc::UnboundedReceiver<Asked>,
    connections: Arc<AtomicUsize>,
    /// Tells each connection to end in order.
    goodbye: watch::Sender<()>,
    server: Server,
}

impl Far {
    async fn start(bounds: Bounds, streams_let: u32) -> Far {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = Origin { http2: Http2::Always, ..plain(listener.local_addr().unwrap()) };
        let (tell, asked) = mpsc::unbounded_channel();
        let connections = Arc::new(AtomicUsize::new(0));
        let (counted, goodbye) = (connections.clone(), watch::Sender::new(()));
        let leaves = goodbye.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::SeqCst);
                let tell = tell.clone();
                let service = service_fn(move |request| {
                    let (answer, answered) = oneshot::channel();
                    let told = tell.send(Asked { request, answer });
                    async move {
                        told.map_err(|_| "the test is over")?;
                        answered.await.map_err(|_| "the test resets it")
                    }
                });
                let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                builder.max_concurrent_streams(streams_let);
                let connection = builder.serve_connection(TokioIo::new(stream), service);
                let mut leaves = leaves.subscribe();
                tokio::spawn(async move {
                    let mut connection = std::pin::pin!(connection);
                    tokio::select! {
                        ended = connection.as_mut() => return ended,
                        _ = leaves.changed() => connection.as_mut().graceful_shutdown(),
                    }
                    connection.await
                });
            }
        });
        Far { asked, connections, goodbye, server: Server::new(origin, bounds) }
    }

    async fn asked(&mut self) -> Asked {
        self.asked.recv().await.unwrap()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Asked {
    /// Answers with this body, in whole.
    fn answer(self, body: &'static str) {
        let (mut sender, channel) = Body::new(1);
        sender.try_send(Frame::data(Bytes::from_static(body.as_bytes()))).unwrap();
        self.answer.send(Response::new(channel)).unwrap();
    }
}

fn get(server: &Server) -> tokio::task::JoinHandle<Result<Response<upstream::Incoming>, Error>> {
    let request = Request::get("http://far/x").header("te", "trailers").body(Outgoing::default()).unwrap();
    let server = server.clone();
    tokio::spawn(async move { server.request(request, Again::Never).await })
}

async fn read(answer: Result<Response<upstream::Incoming>, Error>) -> Bytes {
    let answer = answer.unwrap();
    assert_eq!(answer.version(), Version::HTTP_2);
    answer.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn a_burst_shares_a_connection_and_what_is_more_opens_another() {
    let mut far = Far::start(BOUNDS, 100).await;
    let asks: Vec<_> = (0..6).map(|_| get(&far.server)).collect();
    let mut asked = Vec::new();
    for _ in 0..6 {
        asked.push(far.asked().await);
    }
    assert_eq!((far.connections(), far.server.connections(), far.server.streams()), (2, 2, 6), "four on the first");
    asked.into_iter().for_each(|asked| asked.answer("ok"));
    for ask in asks {
        assert_eq!(read(ask.await.unwrap()).await, "ok");
    }
    assert_eq!(far.server.streams(), 0);
    let ask = get(&far.server);
    far.asked().await.answer("again");
    assert_eq!(read(ask.await.unwrap()).await, "again");
    assert_eq!(far.connections(), 2, "they were kept");
}

#[tokio::test]
async fn who_finds_no_stream_waits_for_one() {
    let mut far = Far::start(Bounds { connections_max: 1, streams_max: 1, ..BOUNDS }, 100).await;
    let (first, second) = (get(&far.server), get(&far.server));
    let answers = async {
        for _ in 0..2 {
            far.asked().await.answer("ok");
        }
    };
    // Whichever came first: when its body was read the other one is sent.
    let read = async |ask: tokio::task::JoinHandle<_>| read(ask.await.unwrap()).await;
    let (first, second, ()) = tokio::join!(read(first), read(second), answers);
    assert_eq!([first, second], ["ok", "ok"]);
    assert_eq!(far.connections(), 1);
}

#[tokio::test]
async fn the_servers_own_bound_on_streams_counts() {
    let mut far = Far::start(Bounds { connections_max: 2, ..BOUNDS }, 1).await;
    // Its settings come with the first answer at the latest.
    let ask = get(&far.server);
    far.asked().await.answer("ok");
    read(ask.await.unwrap()).await;
    let (first, second) = (get(&far.server), get(&far.server));
    let asked = [far.asked().await, far.asked().await];
    assert_eq!(far.connections(), 2);
    asked.into_iter().for_each(|asked| asked.answer("ok"));
    assert_eq!([read(first.await.unwrap()).await, read(second.await.unwrap()).await], ["ok", "ok"]);
}

#[tokio::test]
async fn trailers_go_both_ways() {
    let mut far = Far::start(BOUNDS, 100).await;
    let trailers = |name: &'static str| HeaderMap::from_iter([(name.parse().unwrap(), HeaderValue::from_static("1"))]);
    let body = Outgoing { data: Bytes::from_static(b"hello"), trailers: Some(Box::new(trailers("x-sum"))) };
    let request = Request::post("http://far/x").body(body).unwrap();
    let server = far.server.clone();
    let ask = tokio::spawn(async move { server.request(request, Again::Never).await });
    let Asked { request, answer } = far.asked().await;
    let heard = request.into_body().collect().await.unwrap();
    assert_eq!(heard.trailers().unwrap(), &trailers("x-sum"));
    assert_eq!(heard.to_bytes(), "hello");
    let (mut sender, channel) = Body::new(2);
    sender.try_send(Frame::data(Bytes::from_static(b"ok"))).unwrap();
    sender.try_send(Frame::trailers(trailers("x-took"))).unwrap();
    answer.send(Response::new(channel)).unwrap();
    drop(sender);
    let body = ask.await.unwrap().unwrap().into_body().collect().await.unwrap();
    assert_eq!(body.trailers().unwrap(), &trailers("x-took"));
}

#[tokio::test]
async fn an_answer_that_is_dropped_resets_its_stream_alone() {
    let mut far = Far::start(BOUNDS, 100).await;
    let ask = get(&far.server);
    let (mut sender, channel) = Body::new(1);
    far.asked().await.answer.send(Response::new(channel)).unwrap();
    drop(ask.await.unwrap().unwrap());
    while sender.send(Frame::data(Bytes::from_static(b"x"))).await.is_ok() {}
    let ask = get(&far.server);
    far.asked().await.answer("ok");
    assert_eq!(read(ask.await.unwrap()).await, "ok");
    assert_eq!((far.connections(), far.server.streams()), (1, 0));
}

#[tokio::test]
async fn a_reset_is_a_broken_connection_of_that_request_alone() {
    let mut far = Far::start(BOUNDS, 100).await;
    let ask = get(&far.server);
    drop(far.asked().await.answer);
    let unanswered = ask.await.unwrap();
    assert!(matches!(unanswered, Err(Error::Unanswered(Some(_)))), "{unanswered:?}");
    let ask = get(&far.server);
    let (mut sender, channel) = Body::new(1);
    far.asked().await.answer.send(Response::new(channel)).unwrap();
    sender.send(Frame::data(Bytes::from_static(b"half"))).await.unwrap();
    let mut body = ask.await.unwrap().unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "half");
    sender.abort("the test resets it");
    let broken = body.frame().await.unwrap();
    assert!(matches!(broken, Err(Error::Io(_))), "{broken:?}");
    assert_eq!(far.connections(), 1);
}

#[tokio::test]
async fn an_orderly_end_lets_what_is_under_way_finish_and_costs_no_request() {
    let mut far = Far::start(BOUNDS, 100).await;
    let first = get(&far.server);
    let under_way = far.asked().await;
    far.goodbye.send_replace(());
    for _ in 0..20 {
        let ask = get(&far.server);
        far.asked().await.answer("ok");
        assert_eq!(read(ask.await.unwrap()).await, "ok");
    }
    under_way.answer("late");
    assert_eq!(read(first.await.unwrap()).await, "late");
    assert_eq!(far.connections(), 2);
}

#[tokio::test]
async fn a_server_that_speaks_only_http_1_is_told_from_one_that_died() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = Origin { http2: Http2::Always, ..plain(listener.local_addr().unwrap()) };
    let server = Server::new(origin, BOUNDS);
    let ask = get(&server);
    let (mut socket, _) = listener.accept().await.unwrap();
    socket.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    let error = ask.await.unwrap().unwrap_err();
    assert!(!error.is_connect() && !error.is_no_room(), "{error:?}");
}
