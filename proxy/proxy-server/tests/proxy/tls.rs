//! Both ports over TLS, with a certificate made for these tests.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::fixture::Proxy;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/proxy/tls");

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
