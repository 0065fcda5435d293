//! GETs of the Kubernetes API with the pod's own account, over connections of their own.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, HOST};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::config::Service;

/// Longest wait for a connection and for an answer's head.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// The API, as a pod reaches it.
pub(super) struct Api {
    url: Uri,
    tls: Option<TlsConnector>,
    /// Read anew for each list and watch: the cluster changes it every hour.
    token: Option<String>,
    pub namespace: String,
}

/// An answer that is being read.
pub(super) struct Answer {
    body: Incoming,
    /// Ends with the body, or with the server.
    connection: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    buffer: Vec<u8>,
}

impl Api {
    pub async fn of(service: &Service) -> Result<Api, String> {
        let url: Uri = match &service.api {
            Some(api) => api.parse().map_err(|error| format!("`discovery.api` is no URL: {error}"))?,
            None => in_cluster()?,
        };
        let file = |name: &str| service.account.join(name);
        let token = read(&file("token")).await;
        let namespace = match &service.namespace {
            Some(namespace) => namespace.clone(),
            None => read(&file("namespace")).await.map_err(|error| format!("{error}; set `discovery.namespace`"))?,
        };
        if url.scheme_str() != Some("https") {
            // A `kubectl proxy` beside us has an account of its own.
            return Ok(Api { url, tls: None, token: None, namespace });
        }
        Ok(Api { url, tls: Some(trusting(&file("ca.crt"))?), token: Some(token?), namespace })
    }

    /// Begins a GET. An answer that is no success is an error with what it says.
    pub async fn get(&self, path: &str) -> Result<Answer, String> {
        let answer = tokio::time::timeout(ANSWER_TIME_MAX, self.send(path)).await;
        answer.map_err(|_| format!("the API did not answer within {} s", ANSWER_TIME_MAX.as_secs()))?
    }

    async fn send(&self, path: &str) -> Result<Answer, String> {
        let host = self.url.host().ok_or("the API's URL has no host")?;
        let port = self.url.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let cannot = |error: std::io::Error| format!("the API at {host}:{port} cannot be reached: {error}");
        let stream = TcpStream::connect((host.trim_matches(['[', ']']), port)).await.map_err(cannot)?;
        let mut request = Request::get(path).header(ACCEPT, "application/json");
        request = request.header(HOST, self.url.authority().map_or(host, |authority| authority.as_str()));
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Empty::new()).map_err(|error| format!("the API cannot be asked: {error}"))?;
        match &self.tls {
            None => ask(stream, request).await,
            Some(tls) => {
                let name = ServerName::try_from(host.trim_matches(['[', ']']).to_owned());
                let name = name.map_err(|error| format!("the API's host {host:?} is none: {error}"))?;
                ask(tls.connect(name, stream).await.map_err(cannot)?, request).await
            }
        }
    }
}

async fn ask(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
) -> Result<Answer, String> {
    let wrong = |error: hyper::Error| format!("the API broke off: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(wrong)?;
    let mut connection: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
        // What breaks it off shows in the answer.
        let _ = connection.await;
    });
    let answer = tokio::select! {
        answer = sender.send_request(request) => answer.map_err(wrong)?,
        () = &mut connection => return Err("the API closed the connection".to_owned()),
    };
    let status = answer.status();
    let answer = Answer { body: answer.into_body(), connection: Some(connection), buffer: Vec::new() };
    if status.is_success() {
        return Ok(answer);
    }
    let said = answer.whole(4 << 10).await.unwrap_or_default();
    Err(format!("the API answered {status}: {}", String::from_utf8_lossy(&said).trim()))
}

impl Answer {
    /// All of it.
    pub async fn whole(mut self, bytes_max: usize) -> Result<Vec<u8>, String> {
        while self.more(bytes_max).await? {}
        Ok(self.buffer)
    }

    /// The next line, or `None` at the end.
    pub async fn line(&mut self, bytes_max: usize) -> Result<Option<Vec<u8>>, String> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let rest = self.buffer.split_off(end + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                return Ok(Some(line));
            }
            if !self.more(bytes_max).await? {
                return Ok(None);
            }
        }
    }

    /// Reads on; false at the end.
    async fn more(&mut self, bytes_max: usize) -> Result<bool, String> {
        let frame = match &mut self.connection {
            None => self.body.frame().await,
            Some(connection) => tokio::select! {
                frame = self.body.frame() => frame,
                () = connection => {
                    self.connection = None;
                    return Ok(true);
                }
            },
        };
        let Some(frame) = frame else { return Ok(false) };
        if let Ok(data) = frame.map_err(|error| format!("the API broke off: {error}"))?.into_data() {
            if self.buffer.len() + data.len() > bytes_max {
                return Err(format!("the API says more than {bytes_max} bytes at once"));
            }
            self.buffer.extend_from_slice(&data);
        }
        Ok(true)
    }
}

/// As Kubernetes tells every pod.
fn in_cluster() -> Result<Uri, String> {
    let variable = |name: &str| {
        std::env::var(name)
            .map_err(|_| format!("{name} is not set: this is no pod; set `discovery.api` to the API's URL"))
    };
    let (host, port) = (variable("KUBERNETES_SERVICE_HOST")?, variable("KUBERNETES_SERVICE_PORT")?);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    format!("https://{host}:{port}").parse().map_err(|error| format!("KUBERNETES_SERVICE_HOST is no host: {error}"))
}

async fn read(path: &Path) -> Result<String, String> {
    let text = tokio::fs::read_to_string(path).await;
    text.map(|text| text.trim().to_owned()).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn trusting(ca: &Path) -> Result<TlsConnector, String> {
    let cannot = |error: String| format!("cannot read certificates from {}: {error}", ca.display());
    let certificates = CertificateDer::pem_file_iter(ca).map_err(|error| cannot(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| cannot(error.to_string()))?;
        roots.add(certificate).map_err(|error| cannot(error.to_string()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}
