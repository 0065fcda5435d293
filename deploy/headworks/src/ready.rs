//! The one line a server prints on stdout once it listens, so that whoever started it learns its ports.

use std::io::Write;

use serde::{Deserialize, Serialize};

/// `{"event":"ready",…}`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename = "ready")]
pub(crate) struct Ready {
    /// The data port.
    pub(crate) listen: String,
    /// The admin port, of a proxy.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) admin: Option<String>,
}

impl Ready {
    pub(crate) fn print(&self) {
        let line = serde_json::to_string(self).expect("strings always serialise");
        let mut stdout = std::io::stdout().lock();
        // Nobody listening is no reason not to serve.
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }
}
