//! Why a server has not answered, or not to the end.

use std::io;

use thiserror::Error as ThisError;

/// Why a server has not answered, or not to the end.
#[derive(Debug, ThisError)]
pub enum Error {
    /// The request's URL has no host, or another scheme than `http`.
    #[error("{0} is not the URL of a server; write it as http://host:port/path")]
    Address(String),
    /// No connection was made.
    #[error("cannot connect to {to}")]
    Connect {
        /// Host and port.
        to: String,
        /// Why not.
        source: io::Error,
    },
    /// The connection ended before a byte of the answer came.
    #[error("the connection closed before the answer began")]
    Unanswered(#[source] Option<io::Error>),
    /// The connection ended in mid-answer.
    #[error("the connection closed before the answer's end")]
    Short,
    /// The connection broke in mid-answer.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// What came is no answer.
    #[error("the answer is not HTTP/1.1: {0}")]
    Broken(&'static str),
}

impl Error {
    /// Whether no connection was made, so that the server has not seen the request.
    pub fn is_connect(&self) -> bool {
        matches!(self, Error::Connect { .. } | Error::Address(_))
    }
}
