//! The configuration file as it is typed, and the checks that make a [`Config`] of it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use dispatch::ResumeMode;
use http::HeaderName;
use policy_api::RegionId;
use serde::Deserialize;

use crate::base_url::{BaseUrl, Scheme};
use crate::config::admin::AdminFile;
use crate::config::discovery::{self, DiscoveryFile};
use crate::config::oci::OciFile;
use crate::config::policies::{self, PoliciesFile, PolicyFile};
use crate::config::signing::SigningFile;
use crate::config::tenants::{TenantFile, TenantsFile};
use crate::config::tokens::JwtFile;
use crate::config::transport::{self, Http2File, Said, Transport, Transports, UpstreamTlsFile};
use crate::config::{Config, Limits, Region, RegionNames, ReplicaKind, Secret, Template, TlsFiles};
use crate::recorder::Recording;
use crate::tls::PortName;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ConfigFile {
    region: Option<String>,
    listen: SocketAddr,
    data_url: Option<BaseUrl>,
    #[serde(default)]
    policy_headers: Vec<String>,
    policy_cache_folder: Option<PathBuf>,
    state_folder: Option<PathBuf>,
    admin: AdminFile,
    tls: Option<TlsFile>,
    #[serde(default)]
    upstream_tls: UpstreamTlsFile,
    #[serde(default, rename = "replica")]
    replicas: Vec<ReplicaFile>,
    #[serde(default, rename = "discovery")]
    discoveries: Vec<DiscoveryFile>,
    #[serde(default, rename = "region_peer")]
    regions: Vec<RegionFile>,
    #[serde(default, rename = "policy")]
    policies: Vec<PolicyFile>,
    #[serde(default, rename = "policies")]
    all_policies: PoliciesFile,
    #[serde(default, rename = "tenant")]
    tenants: Vec<TenantFile>,
    #[serde(default, rename = "tenants")]
    all_tenants: TenantsFile,
    jwt: Option<JwtFile>,
    #[serde(default)]
    oci: OciFile,
    #[serde(default)]
    signing: SigningFile,
    #[serde(default)]
    limits: Limits,
    #[serde(default)]
    resume: ResumeFile,
    telemetry: Option<TelemetryFile>,
    recording: Option<RecordingFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TlsFile {
    cert: PathBuf,
    key: PathBuf,
    client_ca_file: Option<PathBuf>,
    #[serde(default)]
    client_ca_ports: ClientCaPorts,
}

/// The ports that ask clients for a certificate.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ClientCaPorts {
    #[default]
    Both,
    Data,
    Admin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplicaFile {
    pub name: String,
    pub url: BaseUrl,
    pub region: Option<String>,
    pub kind: Option<ReplicaKind>,
    pub continues: Option<ContinuesFile>,
    pub weight: Option<u32>,
    pub models: Option<Vec<String>>,
    pub tls: Option<transport::TlsFile>,
    pub http2: Option<Http2File>,
}

/// How a replica goes on with a stream that another one began.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ContinuesFile {
    Tokens,
    Text,
    Nothing,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ResumeFile {
    Off,
    #[default]
    Greedy,
    Always,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RegionFile {
    name: String,
    data_url: BaseUrl,
    admin_url: BaseUrl,
    admin_token_env: Option<String>,
    tls: Option<transport::TlsFile>,
    http2: Option<Http2File>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TelemetryFile {
    otlp_endpoint: BaseUrl,
    #[serde(default)]
    protocol: ProtocolFile,
    #[serde(default = "all")]
    sample_ratio: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RecordingFile {
    folder: PathBuf,
    #[serde(default = "recording_bytes")]
    bytes_max: u64,
    #[serde(default)]
    prompts: bool,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ProtocolFile {
    #[default]
    Http,
    Grpc,
}

fn recording_bytes() -> u64 {
    256 << 20
}

fn all() -> f64 {
    1.0
}

/// A key and what is wrong with it.
#[derive(Debug)]
pub(crate) struct Wrong {
    pub key: String,
    pub message: String,
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}` {}", self.key, self.message)
    }
}

pub(super) fn wrong<T>(key: impl Into<String>, message: impl Into<String>) -> Result<T, Wrong> {
    Err(Wrong { key: key.into(), message: message.into() })
}

/// Reads an environment variable; an argument so that checks can be tested.
pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Bytes of a region's or replica's name.
const NAME_BYTES_MAX: usize = 128;

/// Headers that carry credentials; policies never see them.
const CREDENTIALS: [&str; 5] = ["authorization", "proxy-authorization", "cookie", "x-api-key", "api-key"];

impl ConfigFile {
    pub(super) fn check(self, folder: &Path, environment: Environment<'_>) -> Result<Config, Wrong> {
        let ConfigFile {
            region,
            listen,
            data_url,
            policy_headers,
            policy_cache_folder,
            state_folder,
            admin,
            tls,
            upstream_tls,
            replicas,
            discoveries,
            regions,
            policies,
            all_policies: PoliciesFile { watch },
            tenants,
            all_tenants,
            jwt,
            oci,
            signing,
            limits,
            resume,
            telemetry,
            recording,
        } = self;
        let region = region.unwrap_or_else(|| "local".to_owned());
        check_name("region", &region)?;
        if is_one_port(listen, admin.listen) {
            return wrong(
                "admin.listen",
                format!("is {}, which `listen` has already; take another port", admin.listen),
            );
        }
        if let Some((key, message)) = limits.wrong() {
            return wrong(format!("limits.{key}"), message);
        }
        let transports = upstream_tls.check(folder)?;
        let regions = check_regions(regions, &region, &transports, folder, environment)?;
        let names = RegionNames::of(&region, &regions, transports.clone());
        let register_token = admin.register_token(environment)?;
        Ok(Config {
            data_listen: listen,
            data_url,
            admin_listen: admin.listen,
            admin_tokens: admin.check(folder, environment)?,
            tls: tls.map(|tls| tls.check(folder)),
            register_token,
            replicas: names.check_all(replicas, &Template::default(), folder)?,
            discoveries: discovery::check(discoveries, folder, &names)?,
            policies: policies::check(policies, folder, &limits)?,
            watch: watch.map(|watched| folder.join(watched)),
            policy_headers: check_headers(policy_headers)?,
            policy_cache_folder: policy_cache_folder
                .or_else(|| state_folder.as_ref().map(|state| state.join("compiled")))
                .map(|path| folder.join(path)),
            state_folder: state_folder.map(|path| folder.join(path)),
            tenancy: all_tenants.check(tenants, jwt.map(|jwt| jwt.check(folder)).transpose()?, folder)?,
            oci: oci.check(limits.pull_ms_max, environment)?,
            signing: signing.check()?,
            telemetry: telemetry.map(|file| file.check(&region, limits.spans_max)).transpose()?,
            resume: resume.mode(),
            recording: recording.map(|file| file.check(folder)).transpose()?,
            file: None,
            transports,
            region,
            regions,
            limits,
        })
    }
}

/// Whether two listeners want the same port. Port 0 is one of its own each time.
fn is_one_port(one: SocketAddr, other: SocketAddr) -> bool {
    let overlap = one.ip() == other.ip() || one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && one.port() != 0 && overlap
}

/// People read names in tables and metrics, and programs in headers.
pub(super) fn check_name(key: &str, name: &str) -> Result<(), Wrong> {
    match name.trim().is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        true => wrong(key, format!("{name:?} must be 1 to {NAME_BYTES_MAX} bytes that can be seen")),
        false => Ok(()),
    }
}

pub(super) fn token_from(name: &str, key: &str, environment: Environment<'_>) -> Result<Secret, Wrong> {
    match environment(name) {
        Some(token) if !token.trim().is_empty() => Ok(Secret(token.trim().to_owned())),
        _ => wrong(key, format!("names the environment variable {name}, which is not set; export it with a token")),
    }
}

impl TlsFile {
    fn check(self, folder: &Path) -> TlsFiles {
        let TlsFile { cert, key, client_ca_file, client_ca_ports } = self;
        TlsFiles {
            cert: folder.join(cert),
            key: folder.join(key),
            client_ca: client_ca_file.map(|path| folder.join(path)),
            client_ca_ports: match client_ca_ports {
                ClientCaPorts::Both => vec![PortName::Data, PortName::Admin],
                ClientCaPorts::Data => vec![PortName::Data],
                ClientCaPorts::Admin => vec![PortName::Admin],
            },
        }
    }
}

fn check_regions(
    files: Vec<RegionFile>,
    own: &str,
    transports: &Transports,
    folder: &Path,
    environment: Environment<'_>,
) -> Result<Vec<Region>, Wrong> {
    let mut names = BTreeSet::from([own.to_owned()]);
    let mut regions = Vec::new();
    for (index, file) in files.into_iter().enumerate() {
        let RegionFile { name, data_url, admin_url, admin_token_env, tls, http2 } = file;
        check_name("region_peer.name", &name)?;
        if !names.insert(name.clone()) {
            return wrong("region_peer.name", format!("{name:?} is used twice; every region needs a name of its own"));
        }
        let admin_token =
            admin_token_env.map(|env| token_from(&env, "region_peer.admin_token_env", environment)).transpose()?;
        let of = |url: &BaseUrl| {
            // One of its ports may be in the clear.
            let tls = tls.clone().filter(|_| url.scheme() == Scheme::Https || data_url.scheme() == admin_url.scheme());
            transports.of("region_peer", url, Said { tls, http2 }, &Transport::default(), Some(folder))
        };
        let transports = [of(&data_url)?, of(&admin_url)?];
        regions.push(Region { id: RegionId(index as u32 + 1), name, data_url, admin_url, admin_token, transports });
    }
    Ok(regions)
}

impl ResumeFile {
    fn mode(self) -> ResumeMode {
        match self {
            ResumeFile::Off => ResumeMode::Off,
            ResumeFile::Greedy => ResumeMode::Greedy,
            ResumeFile::Always => ResumeMode::Always,
        }
    }
}

fn check_headers(names: Vec<String>) -> Result<Vec<HeaderName>, Wrong> {
    names
        .into_iter()
        .map(|name| match HeaderName::try_from(name.to_lowercase()) {
            Ok(header) if CREDENTIALS.contains(&header.as_str()) => {
                wrong("policy_headers", format!("names {name:?}, which carries credentials; policies never see those"))
            }
            Ok(header) => Ok(header),
            Err(_) => wrong("policy_headers", format!("names {name:?}, which is not a header's name")),
        })
        .collect()
}

/// A smaller recording has no room for its components.
const RECORDING_BYTES_LEAST: u64 = 64 << 10;

impl RecordingFile {
    fn check(self, folder: &Path) -> Result<Recording, Wrong> {
        let RecordingFile { folder: to, bytes_max, prompts } = self;
        if bytes_max < RECORDING_BYTES_LEAST {
            return wrong("recording.bytes_max", format!("is {bytes_max}; the least is {RECORDING_BYTES_LEAST}"));
        }
        Ok(Recording { folder: folder.join(to), bytes_max, prompts })
    }
}

impl TelemetryFile {
    fn check(self, region: &str, queue_spans_max: usize) -> Result<telemetry::Config, Wrong> {
        let TelemetryFile { otlp_endpoint, protocol, sample_ratio } = self;
        if otlp_endpoint.scheme() == Scheme::Https {
            return wrong(
                "telemetry.otlp_endpoint",
                format!("is {otlp_endpoint}; https is not supported here yet: write http://, to a collector beside us"),
            );
        }
        if !(0.0..=1.0).contains(&sample_ratio) {
            return wrong("telemetry.sample_ratio", format!("is {sample_ratio}; it must be from 0 to 1"));
        }
        Ok(telemetry::Config {
            endpoint: otlp_endpoint.to_string(),
            protocol: match protocol {
                ProtocolFile::Http => telemetry::Protocol::Http,
                ProtocolFile::Grpc => telemetry::Protocol::Grpc,
            },
            sample_ratio,
            service: "headworks-proxy".to_owned(),
            attributes: vec![("cloud.region".to_owned(), region.to_owned())],
            queue_spans_max,
        })
    }
}
