//! Certificates: our ports' own, those that we show, and whom we believe; read from PEM files, and anew when these change.

mod files;
mod keep;
mod ports;
mod servers;

pub(crate) use keep::{keep_certificates, renew_certificates};
pub(crate) use ports::{PortName, PortTls};
pub(crate) use servers::{Identity, ServerTls, ServerTlsFiles};
