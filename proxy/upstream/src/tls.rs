//! Secures connections, and says what to change where that fails.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use http::uri::Authority;
use rustls::{AlertDescription, CertificateError, ClientConfig, InvalidMessage};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::origin::{Http2, Origin, Secure};

/// Whom we believe, and who we say that we are; may be renewed while connections are made.
pub struct Trust(Mutex<Arc<ClientConfig>>);

/// What TLS agrees on.
const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

impl Trust {
    /// By what a configuration of rustls says, but for the protocols it proposes.
    pub fn new(config: Arc<ClientConfig>) -> Trust {
        Trust(Mutex::new(config))
    }

    /// Connections from now on are made by this; those that are open stay.
    pub fn renew(&self, config: Arc<ClientConfig>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn now(&self) -> Arc<ClientConfig> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Secures a connection. Says whether HTTP/2 was agreed on.
pub(crate) async fn secured(
    secure: &Secure,
    authority: &Authority,
    http2: Http2,
    stream: TcpStream,
) -> io::Result<(TlsStream<TcpStream>, bool)> {
    let name = match &secure.name {
        Some(name) => name.clone(),
        None => name_of(authority)?,
    };
    let proposed: &[&[u8]] = match http2 {
        Http2::Auto => &[H2, HTTP1],
        Http2::Always => &[H2],
        Http2::Never => &[HTTP1],
    };
    let connector = TlsConnector::from(secure.trust.now());
    let proposed = proposed.iter().map(|protocol| protocol.to_vec()).collect();
    let stream = connector.with_alpn(proposed).connect(name, stream).await?;
    let agreed = stream.get_ref().1.alpn_protocol() == Some(H2);
    match http2 == Http2::Always && !agreed {
        false => Ok((stream, agreed)),
        true => Err(io::Error::other(NO_HTTP2)),
    }
}

const NO_HTTP2: &str = "it does not speak HTTP/2: write http2 = \"auto\"";

fn name_of(authority: &Authority) -> io::Result<ServerName<'static>> {
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let wrong = |_| io::Error::other(format!("{host:?} is no name of a certificate: set `server_name`"));
    ServerName::try_from(host.to_owned()).map_err(wrong)
}

/// What went wrong with TLS, in words that say what to change; `None`: it was something else.
pub(crate) fn tls_fault(error: &io::Error) -> Option<String> {
    let source = error.get_ref()?;
    match source.downcast_ref::<rustls::Error>() {
        Some(wrong) => Some(in_words(wrong)),
        None if source.to_string() == NO_HTTP2 => Some(NO_HTTP2.to_owned()),
        None => None,
    }
}

/// Whether the server has refused who we are. Under TLS 1.3 it says so when we believe to be connected already, and has
/// seen no request then.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    let wrong = error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>());
    matches!(wrong, Some(rustls::Error::AlertReceived(alert)) if refuses_us(*alert))
}

fn refuses_us(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRequired
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
    )
}

fn in_words(wrong: &rustls::Error) -> String {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage as NotTls, NoApplicationProtocol};
    match wrong {
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "its certificate has expired: renew it there".to_owned()
        }
        InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "its certificate is not valid yet: look at both machines' clocks".to_owned()
        }
        InvalidCertificate(CertificateError::UnknownIssuer) => {
            "its certificate is signed by nobody who is trusted here: set `ca_file` to its authority's certificate"
                .to_owned()
        }
        InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }) => format!(
            "its certificate is not for {}: set `server_name` to a name that it is for ({})",
            expected.to_str(),
            presented.join(", ")
        ),
        InvalidCertificate(other) => format!("its certificate cannot be trusted: {other:?}"),
        AlertReceived(AlertDescription::CertificateRequired | AlertDescription::NoCertificate) => {
            "it wants a certificate of ours: set `client_certificate` and `client_key`".to_owned()
        }
        AlertReceived(AlertDescription::HandshakeFailure) => {
            "it refuses the handshake: it may want a certificate of ours (`client_certificate`)".to_owned()
        }
        AlertReceived(AlertDescription::NoApplicationProtocol) | NoApplicationProtocol => NO_HTTP2.to_owned(),
        AlertReceived(alert) if refuses_us(*alert) => {
            format!("it refuses our certificate ({alert:?}): set `client_certificate` to one that it trusts")
        }
        AlertReceived(alert) => format!("it refuses the handshake ({alert:?})"),
        NotTls(InvalidMessage::InvalidContentType | InvalidMessage::UnexpectedMessage(_)) => {
            "it does not speak TLS: write http:// in its URL".to_owned()
        }
        other => other.to_string(),
    }
}

/// Whether what came in the clear is a record of TLS.
pub(crate) fn is_tls(read: &[u8]) -> bool {
    matches!(read, [0x15 | 0x16, 0x03, ..])
}

/// How a server is spoken to for this request: an upgrade is HTTP/1.1's.
pub(crate) fn spoken(origin: &Origin, switches: bool) -> Http2 {
    match (origin.http2, switches) {
        (Http2::Auto, true) => Http2::Never,
        (other, _) => other,
    }
}
