//! Reads what the verbs are given: components and configurations.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// A component and its configuration.
#[derive(Debug, clap::Args)]
pub struct ComponentArgs {
    /// The component, e.g. target/policy.wasm
    #[arg(value_name = "FILE.wasm")]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) config: ConfigArg,
}

/// A policy's configuration.
#[derive(Debug, clap::Args)]
pub struct ConfigArg {
    /// Its configuration: a JSON object, or @FILE with one
    #[arg(long = "config", value_name = "JSON|@FILE", default_value = "{}")]
    text: String,
}

impl ConfigArg {
    /// The JSON text.
    pub(crate) fn json(&self) -> anyhow::Result<String> {
        config_json(&self.text)
    }
}

/// A configuration as it was given: JSON, or `@` and a file with it.
pub(crate) fn config_json(text: &str) -> anyhow::Result<String> {
    match text.strip_prefix('@') {
        Some(path) => fs::read_to_string(path).with_context(|| format!("read the configuration {path}")),
        None => Ok(text.to_owned()),
    }
}

/// A component's bytes.
pub(crate) fn component(path: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("read the component {}", path.display()))
}
