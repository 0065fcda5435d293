//! TLS to replicas and regions: whom we believe, and what we show.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ClientConfig;
use upstream::Trust;

use crate::tls::files::{
    Renews, TlsError, Watched, authorities, certificates, private_key, provider, system_authorities,
};

/// PEM files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServerTlsFiles {
    /// Whose signatures count; `None`: those of whom this system trusts.
    pub ca: Option<PathBuf>,
    /// What we show to servers that want to know who we are.
    pub identity: Option<Identity>,
}

/// A certificate of ours, and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What these files say.
pub(crate) struct ServerTls {
    pub files: ServerTlsFiles,
    pub trust: Arc<Trust>,
    watched: Watched,
}

impl ServerTls {
    pub fn load(files: ServerTlsFiles) -> Result<ServerTls, TlsError> {
        let identity = files.identity.iter().flat_map(|identity| [&identity.certificate, &identity.key]);
        let watched = Watched::new(files.ca.iter().chain(identity).cloned());
        let trust = Arc::new(Trust::new(read(&files)?));
        Ok(ServerTls { files, trust, watched })
    }
}

impl Renews for ServerTls {
    fn watched(&self) -> &Watched {
        &self.watched
    }

    fn read_again(&self) -> Result<(), TlsError> {
        self.trust.renew(read(&self.files)?);
        Ok(())
    }
}

fn read(files: &ServerTlsFiles) -> Result<Arc<ClientConfig>, TlsError> {
    let roots = match &files.ca {
        Some(path) => authorities(path)?,
        None => system_authorities()?,
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring offers the default protocol versions")
        .with_root_certificates(roots);
    let Some(Identity { certificate, key }) = &files.identity else {
        return Ok(Arc::new(builder.with_no_client_auth()));
    };
    let unfit = |source| TlsError::Pair { cert: certificate.clone(), key: key.clone(), source };
    let config = builder.with_client_auth_cert(certificates(certificate)?, private_key(key)?).map_err(unfit)?;
    Ok(Arc::new(config))
}

impl PartialEq for ServerTls {
    fn eq(&self, other: &ServerTls) -> bool {
        self.files == other.files
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.files.fmt(f)
    }
}
