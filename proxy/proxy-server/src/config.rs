//! What the operator wrote, checked: replicas, regions, policies, listeners and every bound by name.

mod admin;
mod differs;
mod discovery;
mod file;
mod limits;
mod oci;
mod policies;
mod signing;
mod tenants;
mod tokens;
mod transport;

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dispatch::{Budget, Continues, OnError, Pattern, Quarantine, ResumeMode, Scope};
use http::HeaderName;
use policy_api::RegionId;
use thiserror::Error;

use crate::base_url::BaseUrl;
use crate::policies::{self as loaded, Signing};
use crate::recorder::Recording;
use crate::tls::PortName;
use file::ConfigFile;

pub(crate) use admin::{AdminToken, Role};
pub(crate) use discovery::{Discovery, Place, PortOf, RegionNames, Service, Template};
pub(crate) use oci::Oci;
pub(crate) use policies::{SLOT_NAME, is_slot_name};
pub(crate) use tenants::{Allowance, Tenancy, Tenant, TenantFile, Tenants, hex, key_id};
pub(crate) use transport::{Transport, Transports};

pub use limits::Limits;

/// The proxy's configuration, complete and checked.
#[derive(Clone, Debug)]
pub struct Config {
    pub(crate) region: String,
    pub(crate) data_listen: SocketAddr,
    pub(crate) data_url: Option<BaseUrl>,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) admin_tokens: Vec<AdminToken>,
    pub(crate) tls: Option<TlsFiles>,
    /// Shown by replicas that register themselves; good for nothing else.
    pub(crate) register_token: Option<Secret>,
    pub(crate) replicas: Vec<Replica>,
    pub(crate) discoveries: Vec<Discovery>,
    pub(crate) regions: Vec<Region>,
    pub(crate) policies: Vec<PolicySlot>,
    /// A folder whose components are loaded as they change.
    pub(crate) watch: Option<PathBuf>,
    pub(crate) policy_headers: Vec<HeaderName>,
    /// Where compiled components are kept for the next start.
    pub(crate) policy_cache_folder: Option<PathBuf>,
    /// Where what operators put into slots outlasts a restart.
    pub(crate) state_folder: Option<PathBuf>,
    pub(crate) tenancy: Tenancy,
    /// Which streams go on at another replica when theirs dies.
    pub(crate) resume: ResumeMode,
    pub(crate) recording: Option<Recording>,
    pub(crate) oci: Oci,
    pub(crate) signing: Signing,
    pub(crate) transports: Transports,
    pub(crate) limits: Limits,
    telemetry: Option<telemetry::Config>,
    /// The file and its text, where it was read from one.
    file: Option<(PathBuf, String)>,
}

/// A replica, as somebody says it is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Replica {
    pub name: String,
    pub url: BaseUrl,
    pub region: RegionId,
    pub kind: ReplicaKind,
    /// How it goes on with a stream that another replica began.
    pub continues: Continues,
    pub weight: u32,
    /// Of the models that it lists, these are served here; empty: all.
    pub models: Arc<[Pattern]>,
    pub transport: Transport,
}

/// What a replica speaks beside the OpenAI endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ReplicaKind {
    /// `/health` and `/state`.
    Headworks,
    /// `/health`, and `vllm:*` at `/metrics`.
    Vllm,
    /// `/health`, and `sglang:*` at `/metrics`.
    Sglang,
    /// llama.cpp's server: `/health`, and `llamacpp:*` at `/metrics` or `/slots`.
    Llamacpp,
    /// Text Generation Inference: `/health`, and `tgi_*` at `/metrics`.
    Tgi,
    /// Nothing more.
    Openai,
}

impl ReplicaKind {
    pub fn word(self) -> &'static str {
        match self {
            ReplicaKind::Headworks => "headworks",
            ReplicaKind::Vllm => "vllm",
            ReplicaKind::Sglang => "sglang",
            ReplicaKind::Llamacpp => "llamacpp",
            ReplicaKind::Tgi => "tgi",
            ReplicaKind::Openai => "openai",
        }
    }
}

/// Another region's proxy. The regions' ids are their places in the list, from 1; 0 is this proxy's own.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Region {
    pub id: RegionId,
    pub name: String,
    pub data_url: BaseUrl,
    pub admin_url: BaseUrl,
    pub admin_token: Option<Secret>,
    /// Of its data port, and of its admin port.
    pub transports: [Transport; 2],
}

/// A policy in its slot.
#[derive(Clone, Debug)]
pub(crate) struct PolicySlot {
    pub slot: String,
    pub component: loaded::Place,
    pub config_json: String,
    pub rules: SlotRules,
}

/// What holds for all versions of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SlotRules {
    pub scope: Arc<Scope>,
    pub on_admit_error: OnError,
    pub on_place_error: OnError,
    pub budget: Budget,
    pub quarantine: Quarantine,
}

/// PEM files of the listeners' TLS.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
    /// Clients must show a certificate of one of these authorities…
    pub client_ca: Option<PathBuf>,
    /// …on these ports.
    pub client_ca_ports: Vec<PortName>,
}

/// A word that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A key is unknown, or a value has the wrong type or form: the message names the key and the line.
    #[error("the configuration {} cannot be used\n{message}", path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// Where and why.
        message: String,
    },
    /// Values that do not go together.
    #[error("the configuration {} cannot be used: `{key}` {message}", path.display())]
    Check {
        /// The file.
        path: PathBuf,
        /// The key to change.
        key: String,
        /// What to change.
        message: String,
    },
}

impl Config {
    /// Reads a TOML file. Paths in it are relative to its folder.
    pub fn load(path: impl AsRef<Path>) -> Result<Config, ConfigError> {
        let path = path.as_ref();
        let text =
            std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let config = Config::parse(&text, path)?;
        Ok(Config { file: Some((path.to_owned(), text)), ..config })
    }

    /// The same from text; `path` is what errors name and what paths are relative to.
    pub fn parse(text: &str, path: &Path) -> Result<Config, ConfigError> {
        let file: ConfigFile = toml::from_str(text).map_err(|error| ConfigError::Parse {
            path: path.to_owned(),
            message: error.to_string().trim_end().to_owned(),
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        file.check(folder, &|name| std::env::var(name).ok())
            .map_err(|file::Wrong { key, message }| ConfigError::Check { path: path.to_owned(), key, message })
    }

    /// Where traces go, if anywhere.
    pub fn telemetry(&self) -> Option<&telemetry::Config> {
        self.telemetry.as_ref()
    }

    /// The file that it was read from.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.file.as_ref().map(|(path, _)| path.as_path())
    }

    /// The file's text.
    pub(crate) fn text(&self) -> Option<&str> {
        self.file.as_ref().map(|(_, text)| text.as_str())
    }

    /// This proxy's region.
    pub fn region(&self) -> &str {
        &self.region
    }
}

#[cfg(test)]
mod tests;
