//! Why a server has not answered, or not to the end.

use std::io;

use thiserror::Error as ThisError;

/// Why a server has not answered, or not to the end.
#[derive(Debug, ThisError)]
pub enum Error {
    /// No connection was made.
    #[error("cannot connect to {to}")]
    Connect {
        /// Host and port.
        to: String,
        /// Why not.
        source: io::Error,
    },
    /// A connection was made, and could not be secured.
    #[error("cannot connect to {to} by TLS: {fault}")]
    Tls {
        /// Host and port.
        to: String,
        /// What to change.
        fault: String,
    },
    /// As many connections as there may be are in use, or the server takes no further stream of HTTP/2.
    #[error("no connection to {to} came free: {why}")]
    NoRoom {
        /// Host and port.
        to: String,
        /// Which bound was met.
        why: String,
    },
    /// The connection ended before a byte of the answer came.
    #[error("the connection closed before the answer began")]
    Unanswered(#[source] Option<io::Error>),
    /// The connection ended in mid-answer.
    #[error("the connection closed before the answer's end")]
    Short,
    /// The connection, or this stream of it, broke in mid-answer.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// What came is no answer.
    #[error("the answer is not HTTP: {0}")]
    Broken(&'static str),
}

impl Error {
    /// Whether no connection was made, so that the server has not seen the request.
    pub fn is_connect(&self) -> bool {
        matches!(self, Error::Connect { .. } | Error::Tls { .. })
    }

    /// Whether it was not sent for lack of room; the server is well.
    pub fn is_no_room(&self) -> bool {
        matches!(self, Error::NoRoom { .. })
    }
}
