//! Replicas and regions behind TLS, over either HTTP: requests, looks, pushed states; and certificates that change.

use std::path::Path;

use rustls::RootCertStore;

use crate::fixture::guest::{placing, region};
use crate::fixture::{Proxy, Replica, Speaks, body, shown, text};
use crate::policies::put;
use crate::tls::{FOLDER, Far, acceptor};

async fn secured(far: Far<'_>) -> Replica {
    Replica::speaking(&["tiny"], Speaks { tls: Some(acceptor(far)), http2: false }).await
}

/// A replica of this address, and what is said of its TLS.
fn entry(replica: &Replica, lines: &str) -> String {
    format!("[[replica]]\nname = \"r0\"\nurl = \"https://{}\"\n{lines}\n", replica.address)
}

/// `[upstream_tls]` that trusts the tests' authority.
fn trusting() -> String {
    format!("[upstream_tls]\nca_file = \"{FOLDER}/ca.pem\"\n")
}

fn showing(name: &str) -> String {
    format!("{}client_certificate = \"{FOLDER}/{name}.pem\"\nclient_key = \"{FOLDER}/{name}.key\"\n", trusting())
}

const SERVER: Far<'_> = Far { shows: "server", clients: None, speaks: &[b"h2", b"http/1.1"] };
const OLD: Far<'_> = Far { speaks: &[], ..SERVER };

async fn asks_and_is_answered(proxy: &Proxy, replica: &mut Replica) -> http::Version {
    let chat = proxy.chat();
    tokio::pin!(chat);
    let asked = tokio::select! {
        answer = &mut chat => panic!("nobody was asked: {}", shown(answer).await),
        asked = replica.asked() => asked,
    };
    let version = asked.head.version;
    asked.answer(200, "{}");
    let answer = chat.await;
    assert_eq!(answer.status(), 200);
    assert_eq!(body(answer).await, "{}");
    version
}

#[tokio::test]
async fn requests_looks_and_pushed_states_go_by_tls() {
    for (far, version) in [(SERVER, http::Version::HTTP_2), (OLD, http::Version::HTTP_11)] {
        let mut replica = secured(far).await;
        let pushes = replica.pushes();
        let proxy = Proxy::start(&format!("{}{}", trusting(), entry(&replica, ""))).await;
        proxy.until_healthy(1).await;
        pushes.send("data: {\"running\":7}\n\n");
        proxy.until("fleet", |fleet| fleet["regions"][0]["replicas"][0]["running"] == 7).await;
        assert_eq!(asks_and_is_answered(&proxy, &mut replica).await, version);
    }
}

#[tokio::test]
async fn a_stream_passes_over_http_2_and_its_end_is_known_without_done() {
    let mut replica = secured(SERVER).await;
    let proxy = Proxy::start(&format!("{}{}", trusting(), entry(&replica, ""))).await;
    proxy.until_healthy(1).await;
    let stream = r#"{"model":"tiny","stream":true,"messages":[]}"#;
    let (answer, ()) = tokio::join!(proxy.post("/v1/chat/completions", stream), async {
        let frames = replica.asked().await.stream();
        frames.send("data: {}\n\n");
    });
    assert_eq!(text(answer).await, "data: {}\n\n");
    let before = replica.connections();
    for _ in 0..3 {
        asks_and_is_answered(&proxy, &mut replica).await;
    }
    assert_eq!(replica.connections(), before, "one connection for all");
}

#[tokio::test]
async fn prior_knowledge_and_never_are_meant() {
    let mut replica = Replica::speaking(&["tiny"], Speaks { tls: None, http2: true }).await;
    let url = format!("[[replica]]\nname = \"r0\"\nurl = \"http://{}\"\nhttp2 = \"always\"\n", replica.address);
    let proxy = Proxy::start(&url).await;
    proxy.until_healthy(1).await;
    assert_eq!(asks_and_is_answered(&proxy, &mut replica).await, http::Version::HTTP_2);
    let mut replica = secured(SERVER).await;
    let proxy = Proxy::start(&format!("{}{}", trusting(), entry(&replica, "http2 = \"never\""))).await;
    proxy.until_healthy(1).await;
    assert_eq!(asks_and_is_answered(&proxy, &mut replica).await, http::Version::HTTP_11);
}

/// Why a replica does not look well.
async fn health_error(lines: &str) -> String {
    let proxy = Proxy::start(lines).await;
    let fleet = proxy.until("fleet", |fleet| fleet["regions"][0]["replicas"][0]["health_error"].is_string()).await;
    fleet["regions"][0]["replicas"][0]["health_error"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_wrong_with_a_replicas_tls_is_said_where_its_health_is() {
    let expired = secured(Far { shows: "expired", ..SERVER }).await;
    let named = secured(Far { shows: "named", ..SERVER }).await;
    let wants = secured(Far { clients: Some("ca"), ..OLD }).await;
    let (valid, plain) = (secured(SERVER).await, Replica::start().await);
    let strangers = format!("tls = {{ ca_file = \"{FOLDER}/strangers.pem\" }}");
    for (lines, says) in [
        (entry(&expired, ""), "its certificate has expired: renew it there"),
        (entry(&named, ""), "its certificate is not for 127.0.0.1: set `server_name`"),
        (entry(&valid, &strangers), "set `ca_file` to its authority's certificate"),
        (entry(&wants, ""), "set `client_certificate` and `client_key`"),
        (entry(&plain, ""), "it does not speak TLS: write http:// in its URL"),
    ] {
        let said = health_error(&format!("{}{lines}", trusting())).await;
        assert!(said.contains(says), "{said}");
    }
    let mut wants = wants;
    let proxy = Proxy::start(&format!("{}{}", showing("client"), entry(&wants, ""))).await;
    proxy.until_healthy(1).await;
    asks_and_is_answered(&proxy, &mut wants).await;
    let lines = "tls = { server_name = \"replica.example\" }";
    let proxy = Proxy::start(&format!("{}{}", trusting(), entry(&named, lines))).await;
    proxy.until_healthy(1).await;
}

#[tokio::test]
async fn a_client_is_told_that_the_replica_cannot_be_reached() {
    let replica = secured(SERVER).await;
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::copy(Path::new(FOLDER).join("ca.pem"), &ca).unwrap();
    let limits = "[limits]\nunhealthy_after = 1000\npoll_interval_ms = 20\n";
    let trusting = format!("{limits}[upstream_tls]\nca_file = \"{}\"\n", ca.display());
    let proxy = Proxy::start_with(&format!("{trusting}{}", entry(&replica, ""))).await;
    proxy.until_healthy(1).await;
    // Whom we trust changes under it: connections from then on come to nothing, the one that is kept does not.
    std::fs::copy(Path::new(FOLDER).join("strangers.pem"), &ca).unwrap();
    let taken = "headworks_proxy_certificate_reloads_total{result=\"taken\"}";
    while proxy.metric(taken).await < 1.0 {
        replica.looked(1).await;
    }
    let said = shown(proxy.chat().await).await;
    assert!(said.starts_with("502 Bad Gateway") && said.contains("could not be reached"), "{said}");
}

#[tokio::test]
async fn a_region_is_reached_by_tls_and_shows_who_it_is() {
    let mut replica = Replica::start().await;
    let ports = format!(
        "[tls]\ncert = \"{FOLDER}/server.pem\"\nkey = \"{FOLDER}/server.key\"\nclient_ca_file = \"{FOLDER}/ca.pem\"\n\
         client_ca_ports = \"data\"\n"
    );
    let eu = Proxy::start(&format!("{ports}{}", crate::fixture::replicas([&replica]))).await;
    let peer = format!(
        "[[region_peer]]\nname = \"eu\"\ndata_url = \"https://{}\"\nadmin_url = \"https://{}\"\n",
        eu.bound.data, eu.bound.admin
    );
    let us = Proxy::start(&format!("{}{peer}", showing("client"))).await;
    us.until("fleet", |fleet| fleet["regions"][1]["available"] == 1).await;
    put(&us, "placement", placing("away", &region(1))).await;
    asks_and_is_answered(&us, &mut replica).await;
}

#[test]
fn the_system_has_authorities_or_says_that_it_has_none() {
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = RootCertStore::empty().add_parsable_certificates(found.certs);
    let config = proxy_server::Config::parse(
        "listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\n[[replica]]\nname = \"a\"\nurl = \"https://a\"\n",
        Path::new("test.toml"),
    );
    match added {
        0 => assert!(config.unwrap_err().to_string().contains("name some in `ca_file`")),
        _ => drop(config.unwrap()),
    }
}
