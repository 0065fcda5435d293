//! How replicas and regions are spoken to: TLS, whom it trusts, and which HTTP.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use rustls_pki_types::ServerName;
use serde::Deserialize;
use upstream::Http2;

use crate::base_url::{BaseUrl, Scheme};
use crate::config::file::{Wrong, wrong};
use crate::tls::{Identity, ServerTls, ServerTlsFiles};

/// `[upstream_tls]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct UpstreamTlsFile {
    ca_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
}

/// `tls` of a replica, a template or a region.
#[derive(Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsFile {
    ca_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_key: Option<PathBuf>,
    server_name: Option<String>,
}

/// `http2` of the same.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Http2File {
    Auto,
    Always,
    Never,
}

/// What somebody says of how a server is spoken to.
#[derive(Clone, Default)]
pub(super) struct Said {
    pub tls: Option<TlsFile>,
    pub http2: Option<Http2File>,
}

/// How a server is spoken to.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Transport {
    /// `None`: in the clear.
    pub tls: Option<Arc<ServerTls>>,
    /// The name that its certificate must be for; `None`: its host's.
    pub server_name: Option<ServerName<'static>>,
    pub http2: Http2,
}

/// Turns what is typed into transports; each set of files is read once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Transports {
    default: ServerTlsFiles,
    loaded: Arc<Mutex<Vec<Weak<ServerTls>>>>,
}

impl UpstreamTlsFile {
    pub(super) fn check(self, folder: &Path) -> Result<Transports, Wrong> {
        let UpstreamTlsFile { ca_file, client_certificate, client_key } = self;
        let identity = identity("upstream_tls", client_certificate, client_key, folder)?;
        let default = ServerTlsFiles { ca: ca_file.map(|path| folder.join(path)), identity };
        let transports = Transports { default, loaded: Arc::default() };
        // What is named must be there, though nobody needs it yet.
        if transports.default != ServerTlsFiles::default() {
            transports.load("upstream_tls", transports.default.clone())?;
        }
        Ok(transports)
    }
}

fn identity(
    key: &str,
    certificate: Option<PathBuf>,
    private: Option<PathBuf>,
    folder: &Path,
) -> Result<Option<Identity>, Wrong> {
    match (certificate, private) {
        (None, None) => Ok(None),
        (Some(certificate), Some(private)) => {
            Ok(Some(Identity { certificate: folder.join(certificate), key: folder.join(private) }))
        }
        (Some(_), None) => wrong(format!("{key}.client_certificate"), "needs its key; set `client_key` too"),
        (None, Some(_)) => wrong(format!("{key}.client_key"), "needs its certificate; set `client_certificate` too"),
    }
}

impl Transports {
    /// How the server at `url` is spoken to; what is not said of it is as it is said of `others`, and of all. Paths
    /// are relative to `folder`; without one no files may be named.
    pub(super) fn of(
        &self,
        key: &str,
        url: &BaseUrl,
        said: Said,
        others: &Transport,
        folder: Option<&Path>,
    ) -> Result<Transport, Wrong> {
        let Said { tls, http2 } = said;
        let http2 = http2.map_or(others.http2, Http2File::meant);
        match (url.scheme(), tls) {
            (Scheme::Http, None) => Ok(Transport { http2, ..Transport::default() }),
            (Scheme::Http, Some(_)) => wrong(
                format!("{key}.tls"),
                format!("is set, but {url} is in the clear; write https:// in its URL, or leave `tls` out"),
            ),
            (Scheme::Https, None) if others.tls.is_some() => Ok(Transport { http2, ..others.clone() }),
            (Scheme::Https, None) => {
                Ok(Transport { tls: Some(self.load(key, self.default.clone())?), http2, ..others.clone() })
            }
            (Scheme::Https, Some(tls)) => {
                let Some(folder) = folder else {
                    return wrong(
                        format!("{key}.tls"),
                        "names files of the proxy's machine; write it into the proxy's configuration, in [upstream_tls]",
                    );
                };
                let default = others.tls.as_ref().map_or(&self.default, |tls| &tls.files);
                let files = tls.files(key, default, folder)?;
                let server_name = tls.name(key)?.or_else(|| others.server_name.clone());
                Ok(Transport { tls: Some(self.load(key, files)?), server_name, http2 })
            }
        }
    }

    fn load(&self, key: &str, files: ServerTlsFiles) -> Result<Arc<ServerTls>, Wrong> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|tls| tls.strong_count() > 0);
        if let Some(known) = loaded.iter().filter_map(Weak::upgrade).find(|tls| tls.files == files) {
            return Ok(known);
        }
        let tls = ServerTls::load(files)
            .map_err(|error| Wrong { key: key.to_owned(), message: format!("cannot speak TLS: {error}") })?;
        let tls = Arc::new(tls);
        loaded.push(Arc::downgrade(&tls));
        Ok(tls)
    }
}

impl PartialEq for Transports {
    fn eq(&self, other: &Transports) -> bool {
        self.default == other.default
    }
}

impl TlsFile {
    fn files(&self, key: &str, default: &ServerTlsFiles, folder: &Path) -> Result<ServerTlsFiles, Wrong> {
        let TlsFile { ca_file, client_certificate, client_key, server_name: _ } = self.clone();
        let identity = identity(&format!("{key}.tls"), client_certificate, client_key, folder)?;
        let default = default.clone();
        Ok(ServerTlsFiles {
            ca: ca_file.map(|path| folder.join(path)).or(default.ca),
            identity: identity.or(default.identity),
        })
    }

    fn name(&self, key: &str) -> Result<Option<ServerName<'static>>, Wrong> {
        let Some(name) = &self.server_name else { return Ok(None) };
        match ServerName::try_from(name.clone()) {
            Ok(name) => Ok(Some(name)),
            Err(_) => wrong(
                format!("{key}.tls.server_name"),
                format!("is {name:?}, which is neither a host's name nor an address; write \"replica.example\""),
            ),
        }
    }
}

impl Http2File {
    fn meant(self) -> Http2 {
        match self {
            Http2File::Auto => Http2::Auto,
            Http2File::Always => Http2::Always,
            Http2File::Never => Http2::Never,
        }
    }
}
