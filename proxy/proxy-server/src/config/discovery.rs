//! Where replicas are looked for at run time: `[[discovery]]`, and what a found one is given.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dispatch::{Continues, Pattern};
use policy_api::RegionId;
use rustls_pki_types::ServerName;
use serde::Deserialize;

use crate::base_url::{BaseUrl, Scheme};
use crate::config::file::{ContinuesFile, ReplicaFile, Wrong, check_name, wrong};
use crate::config::transport::{self, Http2File, Said, Transport, Transports};
use crate::config::{Region, Replica, ReplicaKind};

/// Milliseconds between two looks at a name server.
const DNS_INTERVAL_MS: u64 = 5000;
/// More often is no use: answers are cached on the way.
const INTERVAL_MS_LEAST: u64 = 100;
const INTERVAL_MS_MOST: u64 = 24 * 60 * 60 * 1000;

/// Where a pod has its account.
const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// `[[discovery]]`.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum DiscoveryFile {
    File {
        path: PathBuf,
        #[serde(default)]
        template: TemplateFile,
    },
    Dns {
        host: String,
        port: u16,
        interval_ms: Option<u64>,
        #[serde(default)]
        template: TemplateFile,
    },
    Kubernetes {
        service: String,
        namespace: Option<String>,
        port: Option<PortFile>,
        api: Option<String>,
        account: Option<PathBuf>,
        #[serde(default)]
        template: TemplateFile,
    },
}

/// A port as a number or by its name in the service.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum PortFile {
    Number(u16),
    Name(String),
}

/// `[discovery.template]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TemplateFile {
    kind: Option<ReplicaKind>,
    region: Option<String>,
    weight: Option<u32>,
    #[serde(default)]
    models: Vec<String>,
    scheme: Option<Scheme>,
    tls: Option<transport::TlsFile>,
    http2: Option<Http2File>,
}

/// A place where replicas are looked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Discovery {
    /// What logs and the admin API call it; no two alike.
    pub name: Arc<str>,
    pub place: Place,
    pub template: Template,
}

/// Where to look.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Place {
    /// TOML or JSON with a list `replica`.
    File(PathBuf),
    /// The addresses of a name.
    Dns { host: String, port: u16, interval_ms: u64 },
    /// The EndpointSlices of a service.
    Kubernetes(Service),
}

/// A Kubernetes service, and how its cluster's API is reached.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Service {
    pub name: String,
    /// The pod's own when none is named.
    pub namespace: Option<String>,
    pub port: PortOf,
    /// The one that pods are told of when none is named.
    pub api: Option<String>,
    /// The folder with `token`, `ca.crt` and `namespace`.
    pub account: PathBuf,
}

/// Which of a service's ports.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PortOf {
    First,
    Number(u16),
    Name(String),
}

/// What a found replica is where it does not say otherwise.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template {
    pub kind: ReplicaKind,
    pub region: RegionId,
    pub weight: u32,
    pub models: Arc<[Pattern]>,
    /// Of one of which only the address is known.
    pub scheme: Scheme,
    pub transport: Transport,
}

/// Turns what is typed of a replica into what the fleet takes in.
#[derive(Clone, Debug, Default)]
pub(crate) struct RegionNames {
    known: Vec<(String, RegionId)>,
    transports: Transports,
}

impl RegionNames {
    pub fn of(own: &str, others: &[Region], transports: Transports) -> RegionNames {
        let others = others.iter().map(|region| (region.name.clone(), region.id));
        let known = std::iter::once((own.to_owned(), RegionId(0))).chain(others).collect();
        RegionNames { known, transports }
    }

    fn id(&self, name: &str) -> Option<RegionId> {
        self.known.iter().find(|(known, _)| known == name).map(|(_, id)| *id)
    }

    /// One replica as somebody typed it, checked. The files that it names are relative to `folder`, without which it may
    /// name none.
    pub(super) fn check(
        &self,
        file: ReplicaFile,
        template: &Template,
        folder: Option<&Path>,
    ) -> Result<Replica, Wrong> {
        let ReplicaFile { name, url, region, kind, continues: said, weight, models, tls, http2 } = file;
        check_name("replica.name", &name)?;
        if weight == Some(0) {
            return wrong("replica.weight", format!("of {name:?} is 0; 100 is ordinary, 1 the least"));
        }
        let region = match region {
            None => template.region,
            Some(given) => match self.id(&given) {
                Some(id) => id,
                None => {
                    return wrong(
                        "replica.region",
                        format!("of {name:?} is {given:?}, which is neither `region` nor a [[region_peer]]"),
                    );
                }
            },
        };
        let models = match models {
            None => template.models.clone(),
            Some(models) => check_models("replica.models", models)?,
        };
        let (kind, weight) = (kind.unwrap_or(template.kind), weight.unwrap_or(template.weight));
        let transport = self.transports.of("replica", &url, Said { tls, http2 }, &template.transport, folder)?;
        Ok(Replica { name, url, region, kind, continues: continues(said, kind), weight, models, transport })
    }

    /// Replicas as somebody typed them, checked; every name once.
    pub(super) fn check_all(
        &self,
        files: Vec<ReplicaFile>,
        template: &Template,
        folder: &Path,
    ) -> Result<Vec<Replica>, Wrong> {
        let mut names = BTreeSet::new();
        let mut replicas = Vec::new();
        for file in files {
            let replica = self.check(file, template, Some(folder))?;
            if !names.insert(replica.name.clone()) {
                return wrong(
                    "replica.name",
                    format!("{:?} is used twice; every replica needs a name of its own", replica.name),
                );
            }
            replicas.push(replica);
        }
        Ok(replicas)
    }

    /// What a client of the admin API says of a replica.
    pub fn read_json(&self, body: serde_json::Value) -> Result<Replica, String> {
        let file: ReplicaFile = serde_json::from_value(body).map_err(|error| error.to_string())?;
        self.check(file, &Template::default(), None).map_err(|Wrong { key, message }| format!("`{key}` {message}"))
    }

    /// The text of a file of replicas.
    pub fn read_file(&self, path: &Path, text: &str, template: &Template) -> Result<Vec<Replica>, String> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Replicas {
            #[serde(default)]
            replica: Vec<ReplicaFile>,
        }
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        let file: Replicas = match is_json {
            true => serde_json::from_str(text).map_err(|error| error.to_string())?,
            false => toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?,
        };
        let folder = path.parent().unwrap_or(Path::new(""));
        self.check_all(file.replica, template, folder).map_err(|Wrong { key, message }| format!("`{key}` {message}"))
    }
}

impl Default for Template {
    fn default() -> Template {
        Template {
            kind: ReplicaKind::Headworks,
            region: RegionId(0),
            weight: 100,
            models: Arc::new([]),
            scheme: Scheme::Http,
            transport: Transport::default(),
        }
    }
}

impl Template {
    /// A replica of which only the address is known. By TLS its certificate must be for `host`, if no other name is
    /// configured.
    pub fn replica(&self, name: String, address: SocketAddr, host: &str) -> Replica {
        let Template { kind, region, weight, models, scheme, mut transport } = self.clone();
        if transport.server_name.is_none() && scheme == Scheme::Https {
            transport.server_name = ServerName::try_from(host.to_owned()).ok();
        }
        let url = BaseUrl::of(scheme, address);
        Replica { name, url, region, kind, continues: continues(None, kind), weight, models, transport }
    }
}

/// As is said of the replica, else what is known of its kind.
fn continues(said: Option<ContinuesFile>, kind: ReplicaKind) -> Continues {
    match (said, kind) {
        (Some(ContinuesFile::Tokens), _) | (None, ReplicaKind::Headworks) => Continues::Tokens,
        (Some(ContinuesFile::Text), _) | (None, ReplicaKind::Vllm | ReplicaKind::Sglang) => Continues::Text,
        (Some(ContinuesFile::Nothing) | None, _) => Continues::Nothing,
    }
}

fn check_models(key: &str, models: Vec<String>) -> Result<Arc<[Pattern]>, Wrong> {
    match models.iter().any(String::is_empty) {
        true => wrong(key, "has an empty pattern, which no model fits; leave it out, or write \"*\""),
        false => Ok(models.into_iter().map(Pattern::new).collect()),
    }
}

pub(super) fn check(files: Vec<DiscoveryFile>, folder: &Path, regions: &RegionNames) -> Result<Vec<Discovery>, Wrong> {
    let mut all: Vec<Discovery> = Vec::new();
    for file in files {
        let found = file.check(folder, regions)?;
        if all.iter().any(|other| other.name == found.name) {
            return wrong("discovery", format!("looks at {} twice; keep one", found.name));
        }
        all.push(found);
    }
    Ok(all)
}

impl DiscoveryFile {
    fn check(self, folder: &Path, regions: &RegionNames) -> Result<Discovery, Wrong> {
        let (name, place, template) = match self {
            DiscoveryFile::File { path, template } => {
                let name = format!("file:{}", path.display());
                (name, Place::File(folder.join(path)), template)
            }
            DiscoveryFile::Dns { host, port, interval_ms, template } => {
                let interval_ms = interval_ms.unwrap_or(DNS_INTERVAL_MS);
                check_dns(&host, port, interval_ms)?;
                (format!("dns:{host}:{port}"), Place::Dns { host, port, interval_ms }, template)
            }
            DiscoveryFile::Kubernetes { service, namespace, port, api, account, template } => {
                check_object("discovery.service", &service)?;
                namespace.iter().try_for_each(|name| check_object("discovery.namespace", name))?;
                let shown = namespace.as_deref().map_or(String::new(), |namespace| format!("{namespace}/"));
                let port = match port {
                    None => PortOf::First,
                    Some(PortFile::Number(0)) => {
                        return wrong("discovery.port", "is 0; leave it out for the first one");
                    }
                    Some(PortFile::Number(number)) => PortOf::Number(number),
                    Some(PortFile::Name(name)) => PortOf::Name(name),
                };
                let account = account.map_or_else(|| PathBuf::from(ACCOUNT), |account| folder.join(account));
                let name = format!("kubernetes:{shown}{service}");
                (name, Place::Kubernetes(Service { name: service, namespace, port, api, account }), template)
            }
        };
        Ok(Discovery { name: name.into(), place, template: template.check(regions, folder)? })
    }
}

/// Kubernetes' names stand in paths and queries as they are.
fn check_object(key: &str, name: &str) -> Result<(), Wrong> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match !name.is_empty() && name.len() <= 63 && name.chars().all(fits) {
        true => Ok(()),
        false => wrong(key, format!("is {name:?}; Kubernetes' names are 1 to 63 of a-z, 0-9 and -")),
    }
}

fn check_dns(host: &str, port: u16, interval_ms: u64) -> Result<(), Wrong> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || host.len() > 253 || !host.chars().all(is_name) {
        return wrong("discovery.host", format!("is {host:?}, which is no host's name; write \"pool.example\""));
    }
    if port == 0 {
        return wrong("discovery.port", "is 0; it must be the port that the replicas listen on");
    }
    if !(INTERVAL_MS_LEAST..=INTERVAL_MS_MOST).contains(&interval_ms) {
        let bounds = format!("it must be from {INTERVAL_MS_LEAST} to {INTERVAL_MS_MOST}");
        return wrong("discovery.interval_ms", format!("is {interval_ms}; {bounds}"));
    }
    Ok(())
}

impl TemplateFile {
    fn check(self, regions: &RegionNames, folder: &Path) -> Result<Template, Wrong> {
        let TemplateFile { kind, region, weight, models, scheme, tls, http2 } = self;
        let plain = Template::default();
        if weight == Some(0) {
            return wrong("discovery.template.weight", "is 0; 100 is ordinary, 1 the least");
        }
        let region = match region {
            None => plain.region,
            Some(given) => regions.id(&given).ok_or_else(|| Wrong {
                key: "discovery.template.region".to_owned(),
                message: format!("is {given:?}, which is neither `region` nor a [[region_peer]]"),
            })?,
        };
        Ok(Template {
            kind: kind.unwrap_or(plain.kind),
            region,
            weight: weight.unwrap_or(plain.weight),
            models: check_models("discovery.template.models", models)?,
            transport: check_transport(regions, scheme.unwrap_or_default(), Said { tls, http2 }, folder)?,
            scheme: scheme.unwrap_or_default(),
        })
    }
}

fn check_transport(regions: &RegionNames, scheme: Scheme, said: Said, folder: &Path) -> Result<Transport, Wrong> {
    if scheme == Scheme::Http && said.tls.is_some() {
        return wrong("discovery.template.tls", "needs `scheme = \"https\"`; set that too, or leave `tls` out");
    }
    // Any address will do: what is found has another each time.
    let url = BaseUrl::of(scheme, (Ipv4Addr::LOCALHOST, 1).into());
    regions.transports.of("discovery.template", &url, said, &Transport::default(), Some(folder))
}
