//! TLS of our own ports: their certificate, and who may connect.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use crate::config::TlsFiles;
use crate::listen::ALPN;
use crate::tls::files::{Renews, TlsError, Watched, authorities, certificates, private_key, provider};

/// One of our ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PortName {
    Data,
    Admin,
}

impl PortName {
    pub fn word(self) -> &'static str {
        match self {
            PortName::Data => "data",
            PortName::Admin => "admin",
        }
    }
}

/// A port's TLS.
pub(crate) struct PortTls {
    cert: PathBuf,
    key: PathBuf,
    /// Clients must show a certificate that one of these has signed.
    client_ca: Option<PathBuf>,
    watched: Watched,
    now: ArcSwap<ServerConfig>,
}

impl PortTls {
    pub fn load(files: &TlsFiles, port: PortName) -> Result<PortTls, TlsError> {
        let TlsFiles { cert, key, client_ca, client_ca_ports } = files.clone();
        let client_ca = client_ca.filter(|_| client_ca_ports.contains(&port));
        let watched = Watched::new([&cert, &key].into_iter().chain(&client_ca).cloned());
        let now = ArcSwap::new(read(&cert, &key, client_ca.as_deref())?);
        Ok(PortTls { cert, key, client_ca, watched, now })
    }

    /// Takes the next connection, by the certificate of this moment.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.now.load_full())
    }
}

impl Renews for PortTls {
    fn watched(&self) -> &Watched {
        &self.watched
    }

    fn read_again(&self) -> Result<(), TlsError> {
        self.now.store(read(&self.cert, &self.key, self.client_ca.as_deref())?);
        Ok(())
    }
}

fn read(cert: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Arc<ServerConfig>, TlsError> {
    let (chain, private) = (certificates(cert)?, private_key(key)?);
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring offers the default protocol versions");
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let roots = Arc::new(authorities(path)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
            let wrong = |source| TlsError::Clients { path: path.to_owned(), source };
            builder.with_client_cert_verifier(verifier.map_err(wrong)?)
        }
    };
    let unfit = |source| TlsError::Pair { cert: cert.to_owned(), key: key.to_owned(), source };
    let mut config = builder.with_single_cert(chain, private).map_err(unfit)?;
    config.alpn_protocols = ALPN.map(<[u8]>::to_vec).to_vec();
    Ok(Arc::new(config))
}
