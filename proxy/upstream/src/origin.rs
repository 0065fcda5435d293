//! Where a server is, and how it is spoken to.

use std::sync::Arc;

use http::uri::Authority;
use rustls_pki_types::ServerName;

use crate::tls::Trust;

/// A server's address, and how it is spoken to.
#[derive(Clone)]
pub struct Origin {
    /// Host, and the port where it is not the scheme's own.
    pub authority: Authority,
    /// By TLS; `None`: in the clear.
    pub secure: Option<Secure>,
    /// Which HTTP.
    pub http2: Http2,
}

/// How a connection is secured.
#[derive(Clone)]
pub struct Secure {
    /// Whom we believe, and who we say that we are.
    pub trust: Arc<Trust>,
    /// The name that the server's certificate must be for; `None`: the host's.
    pub name: Option<ServerName<'static>>,
}

/// Whether HTTP/2 is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http2 {
    /// Where TLS agrees on it; in the clear HTTP/1.1.
    #[default]
    Auto,
    /// Without asking; in the clear by prior knowledge.
    Always,
    /// HTTP/1.1 only.
    Never,
}

impl Origin {
    /// Host and port to connect to.
    pub(crate) fn address(&self) -> (&str, u16) {
        let host = self.authority.host().trim_start_matches('[').trim_end_matches(']');
        let default = if self.secure.is_some() { 443 } else { 80 };
        (host, self.authority.port_u16().unwrap_or(default))
    }
}
