//! What goes through comes out as it went in: bodies, headers, fields nobody knows.

use http::{Method, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::fixture::{CHAT, Proxy, Replica, body, replicas, text};

#[tokio::test]
async fn a_body_arrives_byte_for_byte() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let odd = "{ \"zz\":1e2,\n\"user\":\"ü\\u00fc\",\"model\" : \"tiny\",\"messages\":[],\"a\":{\"z\":1,\"a\":2}, \"max_tokens\":-1}";
    let (answer, asked) = tokio::join!(proxy.post("/v1/chat/completions?x=%20y", odd), async {
        let asked = replica.asked().await;
        let seen = (asked.body.clone(), asked.head.uri.to_string());
        asked.answer(200, " {\"id\": \"x\",\n \"unknown\":[1.0]} ");
        seen
    });
    assert_eq!(asked.0, odd);
    assert_eq!(asked.1, "/v1/chat/completions?x=%20y");
    assert_eq!(text(answer).await, " {\"id\": \"x\",\n \"unknown\":[1.0]} ");
}

#[tokio::test]
async fn headers_about_the_message_pass_and_those_about_the_connection_do_not() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let mut request = proxy.request(Method::POST, "/v1/chat/completions", CHAT);
    let given = [
        ("authorization", "Bearer sk-1"),
        ("x-custom", "kept"),
        ("x-once", "dropped"),
        ("connection", "x-once"),
        ("te", "trailers"),
        ("x-request-id", "mine"),
    ];
    for (name, value) in given {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let (answer, ()) = tokio::join!(proxy.send(request), async {
        let asked = replica.asked().await;
        assert_eq!(asked.header("authorization"), Some("Bearer sk-1"));
        assert_eq!(asked.header("x-custom"), Some("kept"));
        assert_eq!(asked.header("x-request-id"), Some("mine"));
        assert_eq!(asked.header("host"), Some(replica.address.to_string().as_str()));
        // That trailers are welcome is said anew: they are passed on.
        assert_eq!((asked.header("x-once"), asked.header("te")), (None, Some("trailers")));
        let head = Response::builder()
            .header("x-replica-says", "kept")
            .header("keep-alive", "timeout=1")
            .header("content-type", "application/json");
        asked.begin(head).send("{}");
    });
    assert_eq!(answer.headers()["x-replica-says"], "kept");
    assert_eq!(answer.headers()["x-request-id"], "mine");
    assert!(!answer.headers().contains_key("keep-alive"));
}

#[tokio::test]
async fn a_request_without_an_id_gets_one_and_is_told_it() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let (answer, given) = tokio::join!(proxy.chat(), async {
        let asked = replica.asked().await;
        let given = asked.header("x-request-id").expect("an id was made").to_owned();
        asked.answer(200, "{}");
        given
    });
    assert_eq!(answer.headers()["x-request-id"], given.as_str());
}

#[tokio::test]
async fn a_clients_trace_goes_on_to_the_replica() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let mut request = proxy.request(Method::POST, "/v1/chat/completions", CHAT);
    let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request.headers_mut().insert("traceparent", parent.parse().unwrap());
    let (_, ()) = tokio::join!(proxy.send(request), async {
        let asked = replica.asked().await;
        assert!(asked.header("traceparent").expect("there is a trace").contains("0af7651916cd43dd8448eb211c80319c"));
        asked.answer(200, "{}");
    });
    let decisions = proxy.document("/admin/v1/decisions").await;
    assert_eq!(decisions["decisions"][0]["trace_id"], "0af7651916cd43dd8448eb211c80319c");
}

#[tokio::test]
async fn a_chunked_body_in_pieces_arrives_whole() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let mut client = TcpStream::connect(proxy.data()).await.unwrap();
    let head =
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    for piece in CHAT.as_bytes().chunks(7) {
        client.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.unwrap();
        client.write_all(piece).await.unwrap();
        client.write_all(b"\r\n").await.unwrap();
    }
    client.write_all(b"0\r\n\r\n").await.unwrap();
    let asked = replica.asked().await;
    assert_eq!(asked.body, CHAT);
    assert_eq!(asked.header("content-length"), Some(CHAT.len().to_string().as_str()));
    asked.answer(200, "{}");
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn a_path_nobody_knows_is_relayed_as_it_is() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let (answer, ()) = tokio::join!(proxy.send(proxy.request(Method::PUT, "/v1/some/thing?a=b", "not json")), async {
        let asked = replica.asked().await;
        assert_eq!((asked.head.method.as_str(), &asked.body[..]), ("PUT", &b"not json"[..]));
        asked.begin(Response::builder().status(418).header("content-type", "text/plain")).send("tea");
    });
    assert_eq!(answer.status(), 418);
    assert_eq!(body(answer).await, "tea");
}

#[tokio::test]
async fn a_replicas_error_is_the_clients_to_read() {
    let mut replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    let error = r#"{"error":{"message":"max_tokens must be positive","type":"invalid_request_error","param":"max_tokens","code":null}}"#;
    let (answer, ()) = tokio::join!(proxy.chat(), async { replica.asked().await.answer(400, error) });
    assert_eq!(answer.status(), 400);
    assert_eq!(text(answer).await, error);
}

#[tokio::test]
async fn models_are_merged_over_the_healthy_replicas() {
    let one = Replica::serving(&["a", "b"]).await;
    let two = Replica::serving(&["b", "c"]).await;
    let proxy = Proxy::over(&[&one, &two]).await;
    let listed = text(proxy.send(proxy.request(Method::GET, "/v1/models", "")).await).await;
    let model = |id: &str| format!(r#"{{"id":"{id}","object":"model","owned_by":"test"}}"#);
    assert_eq!(listed, format!(r#"{{"object":"list","data":[{},{},{}]}}"#, model("a"), model("b"), model("c")));
    let one = text(proxy.send(proxy.request(Method::GET, "/v1/models/c", "")).await).await;
    assert_eq!(one, model("c"));
    let none = proxy.send(proxy.request(Method::GET, "/v1/models/d", "")).await;
    assert_eq!(none.status(), 404);
}

#[tokio::test]
async fn a_models_slash_is_read_however_it_is_written() {
    let replica = Replica::serving(&["org/näme"]).await;
    let proxy = Proxy::over(&[&replica]).await;
    for path in ["/v1/models/org/n%C3%A4me", "/v1/models/org%2Fn%C3%A4me", "/v1/models/org%2fn%c3%a4me"] {
        let answer = proxy.send(proxy.request(Method::GET, path, "")).await;
        assert_eq!(answer.status(), 200, "{path}");
        assert_eq!(text(answer).await, r#"{"id":"org/näme","object":"model","owned_by":"test"}"#);
    }
    let none = proxy.send(proxy.request(Method::GET, "/v1/models/org%252Fn%C3%A4me", "")).await;
    assert_eq!(none.status(), 404, "what is decoded is not decoded again");
}

#[tokio::test]
async fn what_can_be_got_can_be_asked_for_its_head() {
    let replica = Replica::start().await;
    let proxy = Proxy::over(&[&replica]).await;
    for path in ["/health", "/v1/models", "/v1/models/tiny"] {
        let got = proxy.send(proxy.request(Method::GET, path, "")).await;
        let head = proxy.send(proxy.request(Method::HEAD, path, "")).await;
        assert_eq!(head.status(), 200, "{path}");
        assert_eq!(head.headers().get("content-length"), got.headers().get("content-length"), "{path}");
        assert!(body(head).await.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_request_goes_where_its_model_is() {
    let (mut one, mut two) = (Replica::serving(&["a"]).await, Replica::serving(&["b"]).await);
    let proxy = Proxy::over(&[&one, &two]).await;
    for _ in 0..4 {
        let (_, ()) = tokio::join!(proxy.post("/v1/completions", r#"{"model":"b","prompt":"x"}"#), async {
            two.asked().await.answer(200, "{}");
        });
    }
    assert!(one.is_idle());
}

#[tokio::test]
async fn models_that_only_another_region_serves_are_listed_too() {
    let (here, there) = (Replica::serving(&["tiny"]).await, Replica::serving(&["tiny", "huge"]).await);
    let eu = Proxy::over(&[&there]).await;
    let peer = format!(
        "[[region_peer]]\nname = \"eu\"\ndata_url = \"http://{}\"\nadmin_url = \"http://{}\"\n",
        eu.bound.data, eu.bound.admin
    );
    let us = Proxy::start(&format!("{peer}{}", replicas([&here]))).await;
    us.until_healthy(1).await;
    us.until("fleet", |fleet| fleet["regions"][1]["reachable"] == true).await;
    let list = text(us.send(us.request(Method::GET, "/v1/models", "")).await).await;
    let list: serde_json::Value = serde_json::from_str(&list).unwrap();
    let ids: Vec<&str> = list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["tiny", "huge"]);
    assert_eq!(list["data"][1]["object"], "model");
}
