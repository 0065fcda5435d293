//! Where another server is: `http://host:port` or `https://host:port`, perhaps with a path before the endpoints' own.

use std::fmt;

use http::Uri;
use http::uri::{Authority, PathAndQuery};
use serde::Deserialize;

/// Bytes of a request's path and query. With [`PREFIX_BYTES_MAX`] more they are below the 65,534 of the `http` crate.
pub(crate) const PATH_BYTES_MAX: usize = 32 << 10;
/// Bytes of a path before the endpoints' own.
const PREFIX_BYTES_MAX: usize = 1 << 10;

/// A server's base URL, checked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct BaseUrl {
    scheme: Scheme,
    authority: Authority,
    /// Begins with a slash, or is empty.
    prefix: String,
}

/// Whether a server is spoken to by TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Scheme {
    #[default]
    Http,
    Https,
}

impl BaseUrl {
    /// A socket's address.
    pub fn of(scheme: Scheme, address: std::net::SocketAddr) -> BaseUrl {
        let authority = address.to_string().parse().expect("a socket's address is an authority");
        BaseUrl { scheme, authority, prefix: String::new() }
    }

    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The URL of an endpoint, whose path is within [`PATH_BYTES_MAX`].
    pub fn join(&self, path: &PathAndQuery) -> Uri {
        debug_assert!(path.as_str().len() <= PATH_BYTES_MAX, "the door lets no longer one in");
        let path = match self.prefix.is_empty() {
            true => path.clone(),
            false => {
                format!("{}{path}", self.prefix).parse().expect("two checked paths within their bounds make a path")
            }
        };
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(match self.scheme {
            Scheme::Http => http::uri::Scheme::HTTP,
            Scheme::Https => http::uri::Scheme::HTTPS,
        });
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path);
        Uri::from_parts(parts).expect("scheme, authority and path make a URL")
    }

    /// The URL of a fixed endpoint such as `/health`.
    pub fn endpoint(&self, path: &'static str) -> Uri {
        self.join(&PathAndQuery::from_static(path))
    }

    /// Host and port.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = String;

    fn try_from(text: String) -> Result<BaseUrl, String> {
        let example = "write it as \"http://host:port\" or \"https://host:port\"";
        let uri: Uri = text.parse().map_err(|error| format!("{text:?} is not a URL ({error}); {example}"))?;
        let parts = uri.into_parts();
        let scheme = match parts.scheme.as_ref().map(http::uri::Scheme::as_str) {
            Some("http") => Scheme::Http,
            Some("https") => Scheme::Https,
            None => return Err(format!("{text:?} has no scheme; {example}")),
            Some(_) => return Err(format!("{text:?} has another scheme; {example}")),
        };
        let authority = parts.authority.ok_or_else(|| format!("{text:?} has no host; {example}"))?;
        check_authority(&authority).map_err(|wrong| format!("{text:?} {wrong}; {example}"))?;
        let path = parts.path_and_query.unwrap_or(PathAndQuery::from_static("/"));
        if path.query().is_some() {
            return Err(format!("{text:?} has a query; {example}"));
        }
        let prefix = path.path().trim_end_matches('/').to_owned();
        if prefix.len() > PREFIX_BYTES_MAX {
            return Err(format!("{text:?} has a path of more than {PREFIX_BYTES_MAX} bytes; {example}"));
        }
        match prefix.ends_with("/v1") {
            true => Err(format!("{text:?} ends with /v1, which the endpoints add themselves; leave it out")),
            false => Ok(BaseUrl { scheme, authority, prefix }),
        }
    }
}

/// What the parser lets through and no connection can be made to.
fn check_authority(authority: &Authority) -> Result<(), &'static str> {
    if authority.as_str().contains('@') {
        return Err("has a user before the host, which is not sent");
    }
    if authority.host().is_empty() {
        return Err("has no host");
    }
    match authority.as_str()[authority.host().len()..].strip_prefix(':').map(str::parse::<u16>) {
        None | Some(Ok(1..)) => Ok(()),
        Some(Ok(0) | Err(_)) => Err("has a port that is not from 1 to 65535"),
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        write!(f, "{scheme}://{}{}", self.authority, self.prefix)
    }
}
