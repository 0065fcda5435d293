//! Connections that leave HTTP: WebSocket, and whatever a client and a replica agree on.

use futures_util::{SinkExt, StreamExt};
use http::header::{CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{HeaderMap, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Message, Role};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::fixture::Proxy;

/// A replica that switches whoever asks; the test speaks for it from then on.
struct Switching {
    lines: String,
    switched: mpsc::UnboundedReceiver<(HeaderMap, TokioIo<Upgraded>)>,
}

impl Switching {
    async fn start() -> Switching {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (tell, switched) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let tell = tell.clone();
                let service = service_fn(move |request| {
                    let answer = answer(request, tell.clone());
                    async move { Ok::<_, std::convert::Infallible>(answer) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades());
            }
        });
        let lines = format!("[[replica]]\nname = \"r0\"\nurl = \"{url}\"\nkind = \"openai\"\n");
        Switching { lines, switched }
    }

    async fn proxy(&self, lines: &str) -> Proxy {
        let proxy = Proxy::start(&format!("{lines}{}", self.lines)).await;
        proxy.until_healthy(1).await;
        proxy
    }

    async fn switched(&mut self) -> (HeaderMap, TokioIo<Upgraded>) {
        self.switched.recv().await.unwrap()
    }
}

type Tell = mpsc::UnboundedSender<(HeaderMap, TokioIo<Upgraded>)>;

fn answer(mut request: Request<Incoming>, tell: Tell) -> Response<String> {
    if request.uri().path() == "/v1/models" {
        return Response::new(r#"{"object":"list","data":[{"id":"tiny","object":"model"}]}"#.to_owned());
    }
    let headers = request.headers().clone();
    let Some(protocol) = headers.get(UPGRADE) else {
        let mut plain = Response::new("switch first".to_owned());
        *plain.status_mut() = StatusCode::UPGRADE_REQUIRED;
        return plain;
    };
    let mut answer = Response::builder().status(101).header(CONNECTION, "upgrade").header(UPGRADE, protocol);
    if let Some(key) = headers.get(SEC_WEBSOCKET_KEY) {
        answer = answer.header(SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()));
    }
    let switched = hyper::upgrade::on(&mut request);
    tokio::spawn(async move { tell.send((headers, TokioIo::new(switched.await.unwrap()))) });
    answer.body(String::new()).unwrap()
}

async fn websocket(proxy: &Proxy) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(proxy.data()).await.unwrap();
    let (socket, answer) = client_async(format!("ws://{}/v1/realtime?model=tiny", proxy.data()), stream).await.unwrap();
    assert_eq!(answer.status(), 101);
    assert!(answer.headers().contains_key("x-request-id"));
    socket
}

async fn both(
    proxy: &Proxy,
    replica: &mut Switching,
) -> (WebSocketStream<TcpStream>, WebSocketStream<TokioIo<Upgraded>>) {
    let (client, (headers, io)) = tokio::join!(websocket(proxy), replica.switched());
    assert_eq!((&headers[CONNECTION], &headers[UPGRADE]), (&"upgrade".parse().unwrap(), &"websocket".parse().unwrap()));
    (client, WebSocketStream::from_raw_socket(io, Role::Server, None).await)
}

#[tokio::test]
async fn a_websocket_passes_both_ways() {
    let mut replica = Switching::start().await;
    let proxy = replica.proxy("").await;
    let (mut client, mut server) = both(&proxy, &mut replica).await;
    proxy.until("fleet", |fleet| fleet["regions"][0]["replicas"][0]["in_flight"] == 1).await;
    let long = "x".repeat(1 << 20);
    for text in ["hello", "", &long] {
        let (sent, heard) = tokio::join!(client.send(Message::text(text)), server.next());
        sent.unwrap();
        assert_eq!(heard.unwrap().unwrap(), Message::text(text));
        let (sent, heard) = tokio::join!(server.send(Message::text(format!("{text}!"))), client.next());
        sent.unwrap();
        assert_eq!(heard.unwrap().unwrap(), Message::text(format!("{text}!")));
    }
    client.close(None).await.unwrap();
    assert!(matches!(server.next().await, Some(Ok(Message::Close(_)))));
    while let Some(Ok(_)) = server.next().await {}
    // It is the server that closes the connection.
    drop(server);
    while let Some(Ok(_)) = client.next().await {}
    proxy.until_idle().await;
    let decisions = proxy.until("decisions", |all| all[0]["outcome"] == "finished").await;
    assert_eq!(decisions[0]["status"], 101);
}

#[tokio::test]
async fn a_silent_one_ends_after_its_bound() {
    let mut replica = Switching::start().await;
    let proxy = replica.proxy("limits.upgrade_idle_ms_max = 50\n").await;
    let (mut client, mut server) = both(&proxy, &mut replica).await;
    assert!(!matches!(client.next().await, Some(Ok(_))));
    assert!(!matches!(server.next().await, Some(Ok(_))));
    proxy.until_idle().await;
}

#[tokio::test]
async fn a_replica_that_breaks_ends_the_client_and_a_client_that_leaves_ends_the_replica() {
    let mut replica = Switching::start().await;
    let proxy = replica.proxy("").await;
    let (mut client, server) = both(&proxy, &mut replica).await;
    drop(server);
    assert!(!matches!(client.next().await, Some(Ok(_))));
    let (client, mut server) = both(&proxy, &mut replica).await;
    drop(client);
    assert!(!matches!(server.next().await, Some(Ok(_))));
    drop(server);
    proxy.until_idle().await;
}

#[tokio::test]
async fn a_stop_waits_for_it_within_the_bound() {
    let mut replica = Switching::start().await;
    let mut proxy = replica.proxy("limits.drain_ms_max = 600000\n").await;
    let (mut client, mut server) = both(&proxy, &mut replica).await;
    let stopped = proxy.stop();
    client.send(Message::text("still here")).await.unwrap();
    assert_eq!(server.next().await.unwrap().unwrap(), Message::text("still here"));
    drop((client, server));
    stopped.await.unwrap().unwrap();
    let mut proxy = replica.proxy("limits.drain_ms_max = 50\n").await;
    let (mut client, _server) = both(&proxy, &mut replica).await;
    proxy.stop().await.unwrap().unwrap();
    assert!(!matches!(client.next().await, Some(Ok(_))));
}

/// The first line of the answer to a request with these lines, and what follows the head.
async fn switched(proxy: &Proxy, lines: &str, first: &[u8]) -> (String, TcpStream) {
    let mut client = TcpStream::connect(proxy.data()).await.unwrap();
    client.write_all(format!("GET /v1/shell HTTP/1.1\r\nhost: a\r\n{lines}\r\n").as_bytes()).await.unwrap();
    client.write_all(first).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(client.read_u8().await.unwrap());
    }
    (String::from_utf8(head).unwrap().lines().next().unwrap().to_owned(), client)
}

#[tokio::test]
async fn any_protocol_passes_and_what_is_said_early_is_not_lost() {
    let mut replica = Switching::start().await;
    let proxy = replica.proxy("").await;
    let asks = switched(&proxy, "connection: Upgrade\r\nupgrade: echo/1\r\n", b"early");
    let ((line, mut client), (headers, mut server)) = tokio::join!(asks, replica.switched());
    assert_eq!((line.as_str(), &headers[UPGRADE]), ("HTTP/1.1 101 Switching Protocols", &"echo/1".parse().unwrap()));
    let mut heard = [0; 5];
    server.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"early");
    server.write_all(b"late!").await.unwrap();
    client.read_exact(&mut heard).await.unwrap();
    assert_eq!(&heard, b"late!");
}

/// HTTP/2 in the clear would carry requests that nobody here looks at.
#[tokio::test]
async fn what_is_no_upgrade_of_ours_is_a_plain_request() {
    let mut replica = Switching::start().await;
    let proxy = replica.proxy("").await;
    for lines in [
        "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n",
        "upgrade: websocket\r\n",
        "connection: upgrade\r\nupgrade: a\r\nupgrade: b\r\n",
    ] {
        let (line, _) = switched(&proxy, lines, b"").await;
        assert_eq!(line, "HTTP/1.1 426 Upgrade Required", "{lines}");
    }
    assert!(replica.switched.try_recv().is_err());
}
