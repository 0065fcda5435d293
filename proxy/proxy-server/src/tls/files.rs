//! Reads PEM files, and says when they are others.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

use crate::stamp::{Stamp, stamp};

/// Why certificates cannot be used.
#[derive(Debug, Error)]
pub(crate) enum TlsError {
    #[error("cannot read PEM from {}: {source}", path.display())]
    Pem { path: PathBuf, source: rustls_pki_types::pem::Error },
    #[error("there is no certificate in {}", path.display())]
    Empty { path: PathBuf },
    #[error("the key {} does not fit the certificate {}: {source}", key.display(), cert.display())]
    Pair { cert: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("a certificate in {} is no authority's: {source}", path.display())]
    Authority { path: PathBuf, source: rustls::Error },
    #[error("clients cannot be judged by {}: {source}", path.display())]
    Clients { path: PathBuf, source: rustls::server::VerifierBuilderError },
    #[error("this system has no authorities' certificates to trust; name some in `ca_file`{found}")]
    NoSystemRoots { found: String },
}

pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates = CertificateDer::pem_file_iter(path).and_then(|found| found.collect::<Result<Vec<_>, _>>());
    match certificates {
        Ok(none) if none.is_empty() => Err(TlsError::Empty { path: path.to_owned() }),
        Ok(certificates) => Ok(certificates),
        Err(source) => Err(TlsError::Pem { path: path.to_owned(), source }),
    }
}

pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_file(path).map_err(|source| TlsError::Pem { path: path.to_owned(), source })
}

/// Those whose signatures count.
pub(super) fn authorities(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|source| TlsError::Authority { path: path.to_owned(), source })?;
    }
    Ok(roots)
}

/// Those whom this system trusts.
pub(super) fn system_authorities() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Old roots that cannot be read do no harm to the others.
    let (added, _) = roots.add_parsable_certificates(found.certs);
    match added {
        0 => Err(TlsError::NoSystemRoots {
            found: found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default(),
        }),
        _ => Ok(roots),
    }
}

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What has certificates from files, and can read them again.
pub(crate) trait Renews: Send + Sync {
    /// The files, and which of their contents are known.
    fn watched(&self) -> &Watched;

    /// Reads them again, and takes them for all connections from now on. An error changes nothing.
    fn read_again(&self) -> Result<(), TlsError>;
}

/// Files, and their stamps.
pub(crate) struct Watched {
    paths: Vec<PathBuf>,
    seen: Mutex<Seen>,
}

type Stamps = Vec<Option<Stamp>>;

struct Seen {
    /// When they were read last.
    read: Stamps,
    /// At the last look: files that are still being written are left alone until two looks agree.
    looked: Stamps,
}

impl Watched {
    /// Files that are about to be read.
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> Watched {
        let paths: Vec<PathBuf> = paths.into_iter().collect();
        let now = stamps(&paths);
        Watched { paths, seen: Mutex::new(Seen { read: now.clone(), looked: now }) }
    }

    /// Whether they are others than those that were read, and were at the last look, too.
    pub fn look(&self) -> bool {
        let now = stamps(&self.paths);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_settled = seen.looked == now;
        seen.looked = now;
        is_settled && seen.looked != seen.read
    }

    /// They are about to be read.
    pub fn begin_read(&self) {
        let now = stamps(&self.paths);
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).read = now;
    }

    /// As people are told of them.
    pub fn shown(&self) -> String {
        let shown: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
        if shown.is_empty() { "this system's authorities".to_owned() } else { shown.join(", ") }
    }
}

fn stamps(paths: &[PathBuf]) -> Stamps {
    paths.iter().map(|path| std::fs::metadata(path).ok().map(|file| stamp(&file))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_once_it_has_settled_and_only_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cert.pem");
        std::fs::write(&path, "one").unwrap();
        let watched = Watched::new([path.clone()]);
        assert!(!watched.look());
        std::fs::write(&path, "another").unwrap();
        assert!(!watched.look(), "it may still be being written");
        assert!(watched.look());
        watched.begin_read();
        assert!(!watched.look());
    }
}
