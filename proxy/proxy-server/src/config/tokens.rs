//! `[jwt]`: whose tokens count on the data port, as the operator typed it.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::file::{Wrong, wrong};
use crate::tenants::{Algorithm, KeySource, TokenRules};

/// Clocks that are further apart are wrong.
const LEEWAY_S_MAX: u64 = 300;
/// A day.
const REFRESH_S_MAX: u64 = 86_400;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JwtFile {
    issuer: String,
    audience: String,
    jwks_file: Option<PathBuf>,
    jwks_url: Option<String>,
    #[serde(default = "tenant")]
    tenant_claim: String,
    #[serde(default = "ordinary_algorithms")]
    algorithms: Vec<Algorithm>,
    #[serde(default = "ordinary_leeway")]
    leeway_s: u64,
    #[serde(default = "ordinary_refresh")]
    refresh_s: u64,
    #[serde(default)]
    any_tenant: bool,
}

fn tenant() -> String {
    "tenant".to_owned()
}

fn ordinary_algorithms() -> Vec<Algorithm> {
    vec![Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA]
}

fn ordinary_leeway() -> u64 {
    30
}

fn ordinary_refresh() -> u64 {
    300
}

impl JwtFile {
    pub(super) fn check(self, folder: &Path) -> Result<TokenRules, Wrong> {
        let JwtFile {
            issuer,
            audience,
            jwks_file,
            jwks_url,
            tenant_claim,
            algorithms,
            leeway_s,
            refresh_s,
            any_tenant,
        } = self;
        let keys = match (jwks_file, jwks_url) {
            (Some(file), None) => KeySource::File(folder.join(file)),
            (None, Some(url)) => url_of(url)?,
            _ => return wrong("jwt.jwks_url", "or `jwt.jwks_file` must be set, and not both"),
        };
        for (key, text) in [("issuer", &issuer), ("audience", &audience), ("tenant_claim", &tenant_claim)] {
            if text.trim().is_empty() {
                return wrong(format!("jwt.{key}"), "is empty; a token of anybody's would count");
            }
        }
        if algorithms.is_empty() {
            return wrong("jwt.algorithms", "is empty; no token could count");
        }
        if leeway_s > LEEWAY_S_MAX {
            return wrong("jwt.leeway_s", format!("is {leeway_s}; the most is {LEEWAY_S_MAX}"));
        }
        if !(1..=REFRESH_S_MAX).contains(&refresh_s) {
            return wrong("jwt.refresh_s", format!("is {refresh_s}; it must be from 1 to {REFRESH_S_MAX}"));
        }
        let refresh_ms = refresh_s * 1000;
        Ok(TokenRules { issuer, audience, algorithms, tenant_claim, leeway_s, any_tenant, keys, refresh_ms })
    }
}

/// Keys that come by plain http are whoever's is between; but nobody is on this machine.
fn url_of(url: String) -> Result<KeySource, Wrong> {
    let parsed: Result<http::Uri, _> = url.parse();
    let is_here = |host: &str| matches!(host, "127.0.0.1" | "[::1]" | "localhost");
    if parsed.as_ref().ok().and_then(http::Uri::authority).is_some_and(|authority| authority.as_str().contains('@')) {
        return wrong("jwt.jwks_url", "has a user or password, which logs would show; leave it out");
    }
    match parsed.as_ref().ok().and_then(|uri| Some((uri.scheme_str()?, uri.host()?))) {
        Some(("https", _)) => Ok(KeySource::Url { url, https_only: true }),
        Some(("http", host)) if is_here(host) => Ok(KeySource::Url { url, https_only: false }),
        _ => {
            wrong("jwt.jwks_url", format!("is {url:?}; it must begin with https://, or with http:// for this machine"))
        }
    }
}
