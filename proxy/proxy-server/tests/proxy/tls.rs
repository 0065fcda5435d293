//! Both ports over TLS, with a certificate made for these tests.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::fixture::{LISTEN, Proxy};

/// Certificates; `make.sh` in there makes them.
pub const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proxy/tls");

pub fn lines() -> String {
    format!("[tls]\ncert = \"{FOLDER}/cert.pem\"\nkey = \"{FOLDER}/key.pem\"\n")
}

fn connector() -> TlsConnector {
    connector_of(&[])
}

/// A client that proposes these protocols.
pub fn connector_of(protocols: &[&[u8]]) -> TlsConnector {
    let cert = CertificateDer::from_pem_file(format!("{FOLDER}/cert.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(cert).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// A server's side of TLS: its certificate, whose clients it wants to know, and what it speaks.
#[derive(Clone, Copy)]
pub struct Far<'a> {
    pub shows: &'a str,
    pub clients: Option<&'a str>,
    pub speaks: &'a [&'a [u8]],
}

pub fn acceptor(far: Far<'_>) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match far.clients {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities(name)), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let mut config = builder.with_single_cert(certificates(far.shows), key(far.shows)).unwrap();
    config.alpn_protocols = far.speaks.iter().map(|protocol| protocol.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

fn certificates(name: &str) -> Vec<CertificateDer<'static>> {
    let found = CertificateDer::pem_file_iter(format!("{FOLDER}/{name}.pem")).unwrap();
    found.map(Result::unwrap).collect()
}

fn key(name: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(format!("{FOLDER}/{name}.key")).unwrap()
}

fn authorities(name: &str) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    certificates(name).into_iter().for_each(|certificate| roots.add(certificate).unwrap());
    roots
}

/// A client that trusts the tests' authority and shows this certificate.
async fn showing(name: Option<&str>, address: SocketAddr) -> std::io::Result<TlsStream<TcpStream>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(authorities("ca"));
    let config = match name {
        None => builder.with_no_client_auth(),
        Some(name) => builder.with_client_auth_cert(certificates(name), key(name)).unwrap(),
    };
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// Whether a client that shows this is served.
async fn is_served(name: Option<&str>, address: SocketAddr) -> bool {
    let Ok(mut stream) = showing(name, address).await else { return false };
    let mut answer = String::new();
    let asked = async {
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
        stream.read_to_string(&mut answer).await
    };
    // One that is refused may hear so when it believes to be connected already.
    asked.await.is_ok() && answer.starts_with("HTTP/1.1 200 OK")
}

#[tokio::test]
async fn clients_are_asked_who_they_are_on_the_ports_that_want_to_know() {
    let files = format!("[tls]\ncert = \"{FOLDER}/server.pem\"\nkey = \"{FOLDER}/server.key\"\n");
    for (ports, data, admin) in [("both", false, false), ("data", false, true), ("admin", true, false)] {
        let lines = format!("{files}client_ca_file = \"{FOLDER}/ca.pem\"\nclient_ca_ports = \"{ports}\"\n");
        let proxy = Proxy::start(&lines).await;
        for (address, is_open) in [(proxy.bound.data, data), (proxy.bound.admin, admin)] {
            assert!(is_served(Some("client"), address).await, "{ports}");
            assert_eq!(is_served(None, address).await, is_open, "{ports}");
            assert_eq!(is_served(Some("stranger"), address).await, is_open, "{ports}");
        }
        if ports == "data" {
            let text = metrics(&proxy).await;
            for why in ["no_certificate", "bad_certificate"] {
                let line = format!("headworks_proxy_tls_handshakes_refused_total{{port=\"data\",why=\"{why}\"}} 1");
                assert!(text.contains(&line), "{line} is not in: {text}");
            }
        }
    }
}

/// `/metrics` of a proxy whose ports speak TLS.
async fn metrics(proxy: &Proxy) -> String {
    let mut stream = showing(Some("client"), proxy.bound.admin).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

/// The certificate that the data port shows.
async fn shown(proxy: &Proxy) -> CertificateDer<'static> {
    let stream = showing(None, proxy.data()).await.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone().into_owned()
}

/// Puts a certificate and its key into place, as whoever renews them does.
fn put(folder: &TempDir, cert: &str, key: &str) {
    for (name, from) in [("cert.pem", format!("{cert}.pem")), ("key.pem", format!("{key}.key"))] {
        std::fs::copy(Path::new(FOLDER).join(from), folder.path().join("next")).unwrap();
        std::fs::rename(folder.path().join("next"), folder.path().join(name)).unwrap();
    }
}

#[tokio::test]
async fn a_new_certificate_is_taken_without_dropping_a_connection_and_a_bad_one_is_not() {
    let folder = TempDir::new().unwrap();
    put(&folder, "server", "server");
    let config = folder.path().join("proxy.toml");
    std::fs::write(&config, format!("{LISTEN}[tls]\ncert = \"cert.pem\"\nkey = \"key.pem\"\n")).unwrap();
    let proxy = Proxy::of_file(&config).await;
    let [old, new] = ["server", "renewed"].map(|name| certificates(name)[0].clone());
    assert_eq!(shown(&proxy).await, old);
    let mut kept = showing(None, proxy.data()).await.unwrap();
    put(&folder, "renewed", "renewed");
    while shown(&proxy).await != new {}
    // The key is another certificate's: the one before stays, and it is said.
    put(&folder, "server", "renewed");
    let refused = "headworks_proxy_certificate_reloads_total{result=\"refused\"}";
    while !metrics(&proxy).await.contains(refused) {}
    assert_eq!(shown(&proxy).await, new);
    put(&folder, "server", "server");
    while shown(&proxy).await != old {}
    kept.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    kept.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
}

#[tokio::test]
async fn both_ports_speak_tls() {
    let proxy = Proxy::start(&lines()).await;
    for (address, path, expected) in [(proxy.bound.data, "/health", "ok"), (proxy.bound.admin, "/healthz", "ok")] {
        let stream = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut stream = connector().connect(name, stream).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with(expected), "{answer}");
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_there_stops_the_start() {
    let error = Proxy::refused("[tls]\ncert = \"/no/cert.pem\"\nkey = \"/no/key.pem\"\n").await;
    assert!(error.starts_with("TLS: cannot read PEM from /no/cert.pem: "), "{error}");
}
