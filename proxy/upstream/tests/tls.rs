//! TLS: whom we believe, what we show, and what is said where that does not go together.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod common;

use std::sync::Arc;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use upstream::{Again, Error, Http2, Origin, Outgoing, Secure, Server, Trust};

use common::{BOUNDS, plain};

/// Made by `make.sh` in there.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proxy-server/tests/proxy/tls");

fn certificates(name: &str) -> Vec<CertificateDer<'static>> {
    let found = CertificateDer::pem_file_iter(format!("{FOLDER}/{name}.pem")).unwrap();
    found.map(Result::unwrap).collect()
}

fn key(name: &str) -> PrivateKeyDer<'static> {
    PrivateKeyDer::from_pem_file(format!("{FOLDER}/{name}.key")).unwrap()
}

fn authorities(name: &str) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    certificates(name).into_iter().for_each(|certificate| roots.add(certificate).unwrap());
    Arc::new(roots)
}

/// A server that answers with the version it is asked in, shows this certificate, and wants to see one of `clients`.
async fn far(shows: &str, clients: Option<&str>, speaks: &[&[u8]]) -> std::net::SocketAddr {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(authorities(name), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let mut config = builder.with_single_cert(certificates(shows), key(shows)).unwrap();
    config.alpn_protocols = speaks.iter().map(|protocol| protocol.to_vec()).collect();
    let (acceptor, listener) = (TlsAcceptor::from(Arc::new(config)), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let is_two = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                let service = service_fn(|request: Request<hyper::body::Incoming>| {
                    let said = Full::new(Bytes::from(format!("{:?}", request.version())));
                    async move { Ok::<_, std::convert::Infallible>(http::Response::new(said)) }
                });
                // A client that leaves is no concern of the server's.
                let _ = match is_two {
                    true => {
                        hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                            .serve_connection(TokioIo::new(stream), service)
                            .await
                    }
                    false => {
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await
                    }
                };
            });
        }
    });
    address
}

/// What we believe, and who we say that we are.
#[derive(Clone, Copy)]
struct Near<'a> {
    trusts: &'a str,
    shows: Option<&'a str>,
    name: Option<&'static str>,
    http2: Http2,
}

const NEAR: Near<'_> = Near { trusts: "ca", shows: None, name: None, http2: Http2::Auto };

fn config(near: Near<'_>) -> Arc<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(authorities(near.trusts));
    Arc::new(match near.shows {
        None => builder.with_no_client_auth(),
        Some(name) => builder.with_client_auth_cert(certificates(name), key(name)).unwrap(),
    })
}

fn server(address: std::net::SocketAddr, near: Near<'_>) -> (Server, Arc<Trust>) {
    let trust = Arc::new(Trust::new(config(near)));
    let name = near.name.map(|name| ServerName::try_from(name).unwrap());
    let secure = Some(Secure { trust: trust.clone(), name });
    (Server::new(Origin { secure, http2: near.http2, ..plain(address) }, BOUNDS), trust)
}

async fn ask(server: &Server) -> Result<String, Error> {
    let request = Request::post("https://far/x").body(Outgoing::from(Bytes::from_static(b"hello"))).unwrap();
    let body = server.request(request, Again::Never).await?.into_body().collect().await?;
    Ok(String::from_utf8(body.to_bytes().to_vec()).unwrap())
}

async fn check(address: std::net::SocketAddr, near: Near<'_>, expected: &str) {
    let (server, _) = server(address, near);
    // Twice: the second time over a connection that was kept.
    for _ in 0..2 {
        match ask(&server).await {
            Ok(said) => assert_eq!(said, expected),
            Err(error) => {
                assert!(error.is_connect(), "{error:?}");
                let said = error.to_string();
                let (_, said) = said.split_once(": ").unwrap();
                assert_eq!(said, expected);
            }
        }
    }
    assert!(server.connections() <= 1);
}

#[tokio::test]
async fn whom_we_believe_and_what_is_wrong_are_said() {
    let at = async |shows| far(shows, None, &[]).await;
    check(at("server").await, NEAR, "HTTP/1.1").await;
    check(at("renewed").await, NEAR, "HTTP/1.1").await;
    check(at("expired").await, NEAR, "its certificate has expired: renew it there").await;
    let stranger =
        "its certificate is signed by nobody who is trusted here: set `ca_file` to its authority's certificate";
    check(at("server").await, Near { trusts: "strangers", ..NEAR }, stranger).await;
    let other = at("named").await;
    let misnamed = "its certificate is not for 127.0.0.1: set `server_name` to a name that it is for \
        (DnsName(\"replica.example\"))";
    check(other, NEAR, misnamed).await;
    check(other, Near { name: Some("replica.example"), ..NEAR }, "HTTP/1.1").await;
}

#[tokio::test]
async fn who_wants_to_know_us_is_shown_who_we_are() {
    let address = far("server", Some("ca"), &[]).await;
    check(address, Near { shows: Some("client"), ..NEAR }, "HTTP/1.1").await;
    check(address, NEAR, "it wants a certificate of ours: set `client_certificate` and `client_key`").await;
    let refused = "it refuses our certificate (UnknownCA): set `client_certificate` to one that it trusts";
    check(address, Near { shows: Some("stranger"), ..NEAR }, refused).await;
}

#[tokio::test]
async fn http_2_is_spoken_where_both_agree_on_it() {
    let (both, old, new) = (
        far("server", None, &[b"h2", b"http/1.1"]).await,
        far("server", None, &[b"http/1.1"]).await,
        far("server", None, &[b"h2"]).await,
    );
    check(both, NEAR, "HTTP/2.0").await;
    check(both, Near { http2: Http2::Always, ..NEAR }, "HTTP/2.0").await;
    check(both, Near { http2: Http2::Never, ..NEAR }, "HTTP/1.1").await;
    check(old, NEAR, "HTTP/1.1").await;
    check(new, NEAR, "HTTP/2.0").await;
    let unagreed = "it does not speak HTTP/2: write http2 = \"auto\"";
    check(old, Near { http2: Http2::Always, ..NEAR }, unagreed).await;
    let mute = far("server", None, &[]).await;
    check(mute, Near { http2: Http2::Always, ..NEAR }, unagreed).await;
}

#[tokio::test]
async fn a_server_in_the_clear_is_told_from_one_of_tls_both_ways() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service =
                service_fn(|_| async { Ok::<_, std::convert::Infallible>(http::Response::new(String::new())) });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    check(address, NEAR, "it does not speak TLS: write http:// in its URL").await;
    let plain = Server::new(plain(far("server", None, &[]).await), BOUNDS);
    let error = ask(&plain).await.unwrap_err();
    assert_eq!(error.to_string(), "the answer is not HTTP: it speaks TLS; write https:// in its URL");
}

#[tokio::test]
async fn renewed_trust_counts_for_new_connections_and_ends_none() {
    let address = far("server", None, &[]).await;
    let (server, trust) = server(address, NEAR);
    assert_eq!(ask(&server).await.unwrap(), "HTTP/1.1");
    trust.renew(config(Near { trusts: "strangers", ..NEAR }));
    assert_eq!(ask(&server).await.unwrap(), "HTTP/1.1", "over the connection that was kept");
    // Two at a time need a second one.
    let (one, two) = tokio::join!(ask(&server), ask(&server));
    assert_eq!([one, two].into_iter().filter(|answer| matches!(answer, Err(Error::Tls { .. }))).count(), 1);
}
