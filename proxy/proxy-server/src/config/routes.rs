//! `[[route]]`: which requests go to a part of the fleet, and to policies of their own, as the operator typed it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dispatch::Pattern;
use http::HeaderName;
use http::header::HOST;
use serde::Deserialize;

use super::file::{CREDENTIALS, Wrong, check_name, wrong};
use crate::config::PolicySlot;
use crate::routes::{PathRule, Route, Subset};

/// Routes of one proxy: each request is held against them in order.
const ROUTES_MAX: usize = 256;
/// Hosts, headers, names or labels of one route.
const RULES_MAX: usize = 64;
/// Bytes of a host, a header's value, a label, a path.
const TEXT_BYTES_MAX: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteFile {
    name: String,
    path: Option<String>,
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    model: Option<String>,
    #[serde(default)]
    replicas: SubsetFile,
    policies: Option<Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubsetFile {
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

/// Every `[[route]]`, checked, in order.
pub(super) fn check(files: Vec<RouteFile>, policies: &[PolicySlot]) -> Result<Vec<Arc<Route>>, Wrong> {
    if files.len() > ROUTES_MAX {
        return wrong("route", format!("there are {}; the most is {ROUTES_MAX}", files.len()));
    }
    let mut names = BTreeSet::new();
    let mut routes = Vec::new();
    for file in files {
        let route = file.check(policies)?;
        if !names.insert(route.name.clone()) {
            return wrong("route.name", format!("{:?} is used twice; every route needs a name of its own", route.name));
        }
        routes.push(Arc::new(route));
    }
    Ok(routes)
}

impl RouteFile {
    fn check(self, slots: &[PolicySlot]) -> Result<Route, Wrong> {
        let RouteFile { name, path, hosts, headers, model, replicas, policies } = self;
        check_name("route.name", &name)?;
        if path.is_none() && hosts.is_empty() && headers.is_empty() {
            let message = format!(
                "of {name:?} is not there, and neither are `hosts` or `headers`; say `path = \"/*\"` if it is for every request"
            );
            return wrong("route.path", message);
        }
        if let Some(model) = &model {
            check_text("route.model", model)?;
        }
        let SubsetFile { names, labels } = replicas;
        Ok(Route {
            path: path.map(|path| check_path(&name, path)).transpose()?,
            hosts: check_hosts(&name, hosts)?,
            headers: check_headers(&name, headers)?,
            model,
            subset: Subset::new(
                check_patterns("route.replicas.names", names)?,
                check_labels("route.replicas.labels", labels)?,
            ),
            slots: policies.map(|policies| check_slots(&name, policies, slots)).transpose()?,
            name: name.into(),
        })
    }
}

fn check_text(key: &str, text: &str) -> Result<(), Wrong> {
    match (1..=TEXT_BYTES_MAX).contains(&text.len()) && !text.chars().any(char::is_control) {
        true => Ok(()),
        false => wrong(key, format!("has {text:?}; it must be 1 to {TEXT_BYTES_MAX} bytes that can be seen")),
    }
}

fn check_count(key: &str, count: usize) -> Result<(), Wrong> {
    match count > RULES_MAX {
        true => wrong(key, format!("has {count} entries; the most is {RULES_MAX}")),
        false => Ok(()),
    }
}

/// An exact path, or one that ends in a star.
fn check_path(name: &str, path: String) -> Result<PathRule, Wrong> {
    let key = "route.path";
    check_text(key, &path)?;
    let (before, is_prefix) = match path.strip_suffix('*') {
        Some(before) => (before, true),
        None => (path.as_str(), false),
    };
    if !path.starts_with('/') || before.contains(['*', '?', '#']) {
        let message = format!("of {name:?} is {path:?}; it must begin with `/`, and may end in `*`: \"/v1/audio/*\"");
        return wrong(key, message);
    }
    if ["/healthz", "/readyz", "/health", "/v1/models"].contains(&path.as_str()) {
        return wrong(key, format!("of {name:?} is {path:?}, which the proxy answers itself"));
    }
    Ok(match is_prefix {
        true => PathRule::Prefix(before.to_owned()),
        false => PathRule::Exact(path),
    })
}

/// Names, in lower case, without a port.
fn check_hosts(name: &str, hosts: Vec<String>) -> Result<Vec<Pattern>, Wrong> {
    check_count("route.hosts", hosts.len())?;
    let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '*' | '[' | ']' | ':');
    hosts
        .into_iter()
        .map(|host| match (1..=TEXT_BYTES_MAX).contains(&host.len()) && host.chars().all(is_host) {
            true if host.contains(':') && !host.starts_with('[') => {
                wrong("route.hosts", format!("of {name:?} has {host:?}; leave its port out, which does not count"))
            }
            true => Ok(Pattern::new(host.to_ascii_lowercase())),
            false => wrong("route.hosts", format!("of {name:?} has {host:?}; write \"api.example\" or \"*.example\"")),
        })
        .collect()
}

fn check_headers(route: &str, headers: BTreeMap<String, String>) -> Result<Vec<(HeaderName, Pattern)>, Wrong> {
    let key = "route.headers";
    check_count(key, headers.len())?;
    headers
        .into_iter()
        .map(|(name, value)| {
            check_text(key, &value)?;
            match HeaderName::try_from(name.to_lowercase()) {
                // A key must not be in the configuration, and who asks is for the tenants to say.
                Ok(header) if CREDENTIALS.contains(&header.as_str()) => {
                    wrong(key, format!("of {route:?} names {name:?}, which carries credentials; use [[tenant]]s"))
                }
                Ok(header) if header == HOST => wrong(key, format!("of {route:?} names `host`; use `hosts`")),
                Ok(header) => Ok((header, Pattern::new(value))),
                Err(_) => wrong(key, format!("of {route:?} names {name:?}, which is not a header's name")),
            }
        })
        .collect()
}

fn check_patterns(key: &str, texts: Vec<String>) -> Result<Vec<Pattern>, Wrong> {
    check_count(key, texts.len())?;
    texts.iter().try_for_each(|text| check_text(key, text))?;
    Ok(texts.into_iter().map(Pattern::new).collect())
}

/// Labels of replicas, or those that a route wants.
pub(super) fn check_labels(
    key: &str,
    labels: BTreeMap<String, String>,
) -> Result<Arc<BTreeMap<String, String>>, Wrong> {
    check_count(key, labels.len())?;
    for (name, value) in &labels {
        check_text(key, name)?;
        check_text(key, value)?;
    }
    Ok(Arc::new(labels))
}

fn check_slots(name: &str, wanted: Vec<String>, slots: &[PolicySlot]) -> Result<Arc<[String]>, Wrong> {
    check_count("route.policies", wanted.len())?;
    if let Some(unknown) = wanted.iter().find(|wanted| slots.iter().all(|slot| slot.slot != **wanted)) {
        let message =
            format!("of {name:?} names the slot {unknown:?}, which no [[policy]] has; add one, or leave it out");
        return wrong("route.policies", message);
    }
    match wanted.iter().collect::<BTreeSet<_>>().len() < wanted.len() {
        true => wrong("route.policies", format!("of {name:?} names a slot twice; it is asked once")),
        false => Ok(wanted.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    #[track_caller]
    fn check(route: &str, expected: &str) {
        let text = format!(
            "listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\n[[policy]]\nslot = \"gold\"\ncomponent = \"x.wasm\"\n\
             [[route]]\nname = \"r\"\n{route}\n"
        );
        match Config::parse(&text, Path::new("test.toml")) {
            Ok(config) => assert_eq!(("", config.routes.len()), (expected, 1), "{route}"),
            Err(error) => {
                let said = error.to_string();
                assert!(!expected.is_empty() && said.contains(expected), "{route}: {said}");
            }
        }
    }

    #[test]
    fn a_route_says_whom_it_is_for_and_where_it_goes() {
        check("path = \"/v1/audio/*\"", "");
        check("path = \"/tokenize\"\nmodel = \"tiny\"\npolicies = []", "");
        check("hosts = [\"API.example\", \"*.example\", \"[::1]\"]", "");
        check("headers = { X-Tier = \"gold*\" }\nreplicas = { names = [\"gpu-*\"], labels = { tier = \"gold\" } }", "");
        check("path = \"/*\"\npolicies = [\"gold\"]", "");
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_what_to_change() {
        check("", "`route.path` of \"r\" is not there");
        check("path = \"v1/audio\"", "it must begin with `/`");
        check("path = \"/v1/*/speech\"", "may end in `*`");
        check("path = \"/v1/audio?x\"", "must begin with `/`");
        check("path = \"/healthz\"", "the proxy answers itself");
        check("path = \"\"", "1 to 256 bytes");
        check("hosts = [\"api.example:80\"]", "leave its port out");
        check("hosts = [\"a b\"]", "write \"api.example\"");
        check("headers = { authorization = \"Bearer x\" }", "carries credentials");
        check("headers = { host = \"x\" }", "use `hosts`");
        check("headers = { \"a b\" = \"x\" }", "not a header's name");
        check("headers = { x-tier = \"\" }", "1 to 256 bytes");
        check("path = \"/*\"\npolicies = [\"silver\"]", "the slot \"silver\", which no [[policy]] has");
        check("path = \"/*\"\npolicies = [\"gold\", \"gold\"]", "names a slot twice");
        check("path = \"/*\"\nmodel = \"\"", "`route.model`");
        check("path = \"/*\"\nreplicas = { label = { a = \"b\" } }", "unknown field `label`");
        check("path = \"/*\"\n[[route]]\nname = \"r\"\npath = \"/x\"", "is used twice");
    }
}
