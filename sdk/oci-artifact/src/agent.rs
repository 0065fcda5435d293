//! The way out: an HTTP client with the system's certificates, or one authority of one's own.

use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// Time to connect to a server.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// Redirects of one request: registries send to where their blobs lie.
const REDIRECTS_MAX: u32 = 4;

/// How an agent behaves.
#[derive(Clone, Copy, Debug)]
pub struct AgentSettings<'a> {
    /// One request, from its name's look-up to its answer's last byte.
    pub time_max: Duration,
    /// Refuse plain http, after a redirect too.
    pub https_only: bool,
    /// PEM certificates that are trusted instead of the system's.
    pub authority_pem: Option<&'a [u8]>,
}

/// An HTTP client. An answer's status is the caller's to read; credentials do not follow a redirect.
pub fn agent(settings: AgentSettings<'_>) -> Result<Agent, String> {
    let AgentSettings { time_max, https_only, authority_pem } = settings;
    let roots = match authority_pem {
        None => RootCerts::PlatformVerifier,
        Some(pem) => authorities(pem)?,
    };
    let tls = TlsConfig::builder()
        .root_certs(roots)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    let config = Agent::config_builder()
        .http_status_as_error(false)
        .https_only(https_only)
        .max_redirects(REDIRECTS_MAX)
        .tls_config(tls)
        .timeout_connect(Some(CONNECT_TIME_MAX.min(time_max)))
        .timeout_global(Some(time_max))
        .user_agent(concat!("headworks/", env!("CARGO_PKG_VERSION")));
    Ok(config.build().into())
}

fn authorities(pem: &[u8]) -> Result<RootCerts, String> {
    let mut certificates = Vec::new();
    for item in parse_pem(pem) {
        match item.map_err(|error| format!("the authority's PEM cannot be read: {error}"))? {
            PemItem::Certificate(certificate) => certificates.push(certificate),
            _ => return Err("the authority's PEM holds something that is no certificate".to_owned()),
        }
    }
    match certificates.is_empty() {
        true => Err("the authority's PEM holds no certificate".to_owned()),
        false => Ok(RootCerts::new_with_certs(&certificates)),
    }
}
