//! Checks that crates import only what ARCHITECTURE.md lets them, and that each heavy library has its one door.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, bail};
use serde::Deserialize;

use guest_build::shell::{cargo, read};

/// Who may import which of our crates, as ARCHITECTURE.md draws it. Tests may import more.
const ARROWS: &[(&str, &[&str])] = &[
    ("openai-api", &[]),
    ("upstream", &[]),
    ("policy-api", &[]),
    ("engine-kv", &[]),
    ("engine-backend", &[]),
    ("web-ui", &[]),
    ("telemetry", &[]),
    ("bench-load", &[]),
    ("bench-proxy", &[]),
    ("guest-build", &[]),
    ("xtask", &["guest-build"]),
    ("oci-artifact", &[]),
    ("dispatch", &["policy-api"]),
    ("policy-runtime", &["policy-api"]),
    ("policy-simulator", &["dispatch", "policy-api", "policy-runtime", "engine-scheduler", "engine-kv"]),
    ("policy-cli", &["guest-build", "dispatch", "policy-simulator", "policy-runtime", "policy-api", "oci-artifact"]),
    ("bench-micro", &["dispatch", "policy-api", "policy-runtime"]),
    ("bench-engine", &["engine-backend", "engine-cpu", "engine-model"]),
    ("engine-scheduler", &["engine-kv"]),
    ("engine-cpu", &["engine-backend"]),
    ("engine-model", &["engine-backend"]),
    (
        "proxy-server",
        &["openai-api", "dispatch", "upstream", "policy-api", "policy-runtime", "oci-artifact", "web-ui", "telemetry"],
    ),
    (
        "engine-server",
        &["openai-api", "engine-kv", "engine-scheduler", "engine-backend", "engine-cpu", "engine-model", "telemetry"],
    ),
    (
        "headworks",
        &["proxy-server", "engine-server", "engine-model", "policy-cli", "bench-engine", "bench-load", "telemetry"],
    ),
];

/// Libraries that only these crates may import.
const DOORS: &[(&str, &[&str])] = &[
    ("wasmtime", &["policy-runtime"]),
    ("cudarc", &["engine-cuda"]),
    ("rustls", &["proxy-server", "upstream", "telemetry", "oci-artifact"]),
    ("ureq", &["oci-artifact", "policy-cli"]),
    ("tokio-rustls", &["proxy-server", "upstream"]),
    ("opentelemetry", &["telemetry"]),
    ("opentelemetry_sdk", &["telemetry"]),
    ("opentelemetry-otlp", &["telemetry"]),
    ("hyper", &["proxy-server", "upstream", "engine-server", "bench-load"]),
    ("h2", &["upstream"]),
    ("axum", &["proxy-server", "engine-server"]),
    ("tokio", &["proxy-server", "upstream", "engine-server", "bench-load", "headworks"]),
];

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// Every crate's imports, by its name.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// Fails with every forbidden arrow.
pub(crate) fn check(root: &Path) -> anyhow::Result<()> {
    let text = read(cargo(root).args(["metadata", "--no-deps", "--format-version", "1", "--offline"]))?;
    let metadata: Metadata = serde_json::from_str(&text).context("read cargo metadata")?;
    let wrong = forbidden(&imports(metadata));
    if !wrong.is_empty() {
        bail!("{}; change the crate, or ARCHITECTURE.md and arrows.rs together", wrong.join("; "));
    }
    Ok(())
}

fn imports(metadata: Metadata) -> Imports {
    let of = |package: Package| {
        let real = package.dependencies.into_iter().filter(|dependency| dependency.kind.is_none());
        (package.name, real.map(|dependency| dependency.name).collect())
    };
    metadata.packages.into_iter().map(of).collect()
}

fn forbidden(imports: &Imports) -> Vec<String> {
    let ours: BTreeSet<&str> = imports.keys().map(String::as_str).collect();
    let mut wrong = Vec::new();
    for (name, imported) in imports {
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| known == name) else {
            wrong.push(format!("{name} is not in the arrows' table"));
            continue;
        };
        for dependency in imported {
            if ours.contains(dependency.as_str()) && !allowed.contains(&dependency.as_str()) {
                wrong.push(format!("{name} may not import {dependency}"));
            }
            let door = DOORS.iter().find(|(library, _)| library == dependency);
            if door.is_some_and(|(_, doors)| !doors.contains(&name.as_str())) {
                wrong.push(format!("{name} is no door to {dependency}"));
            }
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_arrows(rows: &[(&str, &[&str])], wanted: &[&str]) {
        let row = |(name, imported): &(&str, &[&str])| {
            ((*name).to_owned(), imported.iter().map(|one| (*one).to_owned()).collect())
        };
        assert_eq!(forbidden(&rows.iter().map(row).collect()), wanted);
    }

    #[test]
    fn the_workspace_keeps_its_arrows() {
        check(&crate::root()).unwrap();
    }

    #[test]
    fn an_arrow_the_wrong_way_is_named() {
        check_arrows(
            &[("dispatch", &["policy-api", "policy-runtime"]), ("policy-api", &[]), ("policy-runtime", &[])],
            &["dispatch may not import policy-runtime"],
        );
    }

    #[test]
    fn a_second_door_to_wasmtime_is_named() {
        check_arrows(&[("dispatch", &["wasmtime"])], &["dispatch is no door to wasmtime"]);
    }

    #[test]
    fn a_crate_outside_the_table_is_named() {
        check_arrows(&[("stranger", &[])], &["stranger is not in the arrows' table"]);
    }
}
