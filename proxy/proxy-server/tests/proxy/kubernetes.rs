//! The endpoints of a Kubernetes service, told by an API server that the test scripts.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::fixture::{Proxy, Replica};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proxy/tls");

fn slice(replicas: &[(&str, &Replica)]) -> Value {
    let endpoint = |(pod, replica): &(&str, &Replica)| {
        let ip = replica.address.ip().to_string();
        json!({"addresses": [ip], "conditions": {"ready": true}, "targetRef": {"kind": "Pod", "name": pod}})
    };
    // Each in a slice of its own: their ports differ, as those of pods do not.
    let slices = replicas.iter().map(|replica| {
        json!({"metadata": {"name": replica.0}, "ports": [{"name": "http", "port": replica.1.address.port()}],
               "endpoints": [endpoint(replica)]})
    });
    json!({"metadata": {"resourceVersion": "7"}, "items": slices.collect::<Vec<_>>()})
}

/// Reads one request's head and answers it.
async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), head_has: &[&str], begin: &str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    for wanted in head_has {
        assert!(head.contains(wanted), "{wanted} is in {head}");
    }
    stream.write_all(begin.as_bytes()).await.unwrap();
}

fn whole(body: &Value) -> String {
    let body = body.to_string();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";

fn chunk(event: &Value) -> String {
    let line = format!("{event}\n");
    format!("{:x}\r\n{line}\r\n", line.len())
}

const PATH: &str =
    "GET /apis/discovery.k8s.io/v1/namespaces/pool/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Dvllm";

fn names(fleet: &Value) -> Vec<&str> {
    let all = fleet["regions"][0]["replicas"].as_array().unwrap();
    all.iter().map(|replica| replica["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn endpoints_are_listed_and_then_watched() {
    let (one, two) = (Replica::start().await, Replica::start().await);
    let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lines = format!(
        "[[discovery]]\nkind = \"kubernetes\"\nservice = \"vllm\"\nnamespace = \"pool\"\nport = \"http\"\napi = \"http://{}\"\n",
        api.local_addr().unwrap()
    );
    let proxy = Proxy::start(&lines).await;
    let (mut list, _) = api.accept().await.unwrap();
    answer(&mut list, &[PATH], &whole(&slice(&[("vllm-0", &one)]))).await;
    let (mut watch, _) = api.accept().await.unwrap();
    answer(&mut watch, &[PATH, "&watch=1&resourceVersion=7"], STREAM).await;
    proxy.until_healthy(1).await;
    let added = json!({"type": "ADDED", "object": slice(&[("vllm-1", &two)])["items"][0]});
    watch.write_all(chunk(&added).as_bytes()).await.unwrap();
    proxy.until_healthy(2).await;
    let gone = json!({"type": "DELETED", "object": slice(&[("vllm-0", &one)])["items"][0]});
    watch.write_all(chunk(&gone).as_bytes()).await.unwrap();
    proxy.until("fleet", |fleet| names(fleet) == ["vllm-1"]).await;
    // An API that goes away takes nobody with it.
    drop((watch, list, api));
    let failed =
        |said: &Value| said["discovery"][0]["error"].as_str().is_some_and(|error| error.contains("cannot be reached"));
    while !failed(&proxy.document("/admin/v1/discovery").await) {}
    assert_eq!(names(&proxy.document("/admin/v1/fleet").await), ["vllm-1"]);
}

#[tokio::test]
async fn a_pods_account_is_shown_to_the_api_over_tls() {
    let replica = Replica::start().await;
    let account = tempfile::tempdir().unwrap();
    std::fs::copy(format!("{FOLDER}/cert.pem"), account.path().join("ca.crt")).unwrap();
    std::fs::write(account.path().join("token"), "secret\n").unwrap();
    std::fs::write(account.path().join("namespace"), "pool").unwrap();
    let certificate = CertificateDer::from_pem_file(format!("{FOLDER}/cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(format!("{FOLDER}/key.pem")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let api = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let lines = format!(
        "[[discovery]]\nkind = \"kubernetes\"\nservice = \"vllm\"\napi = \"https://localhost:{}\"\naccount = {:?}\n",
        api.local_addr().unwrap().port(),
        account.path()
    );
    let proxy = Proxy::start(&lines).await;
    let mut list = acceptor.accept(api.accept().await.unwrap().0).await.unwrap();
    answer(&mut list, &[PATH, "authorization: Bearer secret"], &whole(&slice(&[("vllm-0", &replica)]))).await;
    proxy.until_healthy(1).await;
}
