//! `headworks policy push`: hands a component to a running proxy, to a registry, or to the one through the other.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use oci_artifact::{Access, Artifact, Login, Reference};
use serde_json::json;

use crate::admin::{AdminArgs, Sent, slot_path};
use crate::{input, shown, sign};

/// A whole upload to a registry.
const UPLOAD_TIME_MAX: Duration = Duration::from_secs(120);
/// From here on a component takes a proxy long enough to compile that one wonders: it has an interpreter in it.
const SLOW_BYTES: usize = 4 << 20;

/// What to push where.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The component. A signature in FILE.wasm.sig goes with it
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// The slot whose active version it becomes
    #[arg(long, required_unless_present = "oci")]
    slot: Option<String>,
    /// Make it the slot's canary, with this share of the requests
    #[arg(long, value_name = "PERCENT", requires = "slot", value_parser = clap::value_parser!(u8).range(1..=99))]
    canary: Option<u8>,
    /// Push it to a registry; with --slot the proxy then pulls it from there. Credentials come from
    /// HEADWORKS_OCI_USERNAME and HEADWORKS_OCI_PASSWORD, or HEADWORKS_OCI_TOKEN
    #[arg(long, value_name = "REGISTRY/REPOSITORY:TAG")]
    oci: Option<Reference>,
    /// Speak plain http to the registry; one on this machine always gets that
    #[arg(long, requires = "oci")]
    plain_http: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let Args { file, slot, canary, oci, plain_http, admin } = args;
    let component = input::component(file)?;
    let signature = sign::beside(file)?;
    let pushed = match oci {
        Some(reference) => Some(to_registry(reference, *plain_http, file, &component, signature.as_deref())?),
        None => None,
    };
    let Some(slot) = slot else {
        let reference = pushed.context("clap wants --slot or --oci")?;
        match admin.json {
            true => println!("{:#}", json!({ "reference": reference.to_string() })),
            false => println!("pushed {reference}"),
        }
        return Ok(());
    };
    let proxy = admin.connect()?;
    if component.len() > SLOW_BYTES {
        let mebibytes = component.len() >> 20;
        eprintln!("the proxy compiles {mebibytes} MiB and tries them out; a busy one takes minutes");
    }
    let changed = match pushed {
        Some(reference) => {
            proxy.post(&slot_path(slot, "/pull", *canary), &json!({ "reference": reference.to_string() }))?
        }
        None => {
            let sent = Sent { body: &component, signature: signature.as_deref() };
            proxy.put(&slot_path(slot, "", *canary), &sent)?
        }
    };
    shown::slot(&changed, admin.json);
    Ok(())
}

fn to_registry(
    reference: &Reference,
    plain_http: bool,
    file: &Path,
    component: &[u8],
    signature: Option<&str>,
) -> anyhow::Result<Reference> {
    let access = Access { login: login(&|name| std::env::var(name).ok())?, plain_http, time_max: UPLOAD_TIME_MAX };
    let title = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let pushed = oci_artifact::push(reference, &access, &Artifact { component, signature, title: &title })?;
    Ok(pushed.reference)
}

/// Who pushes, as the environment says.
fn login(environment: &dyn Fn(&str) -> Option<String>) -> anyhow::Result<Login> {
    let set = |name| environment(name).filter(|value| !value.is_empty());
    Ok(match (set("HEADWORKS_OCI_USERNAME"), set("HEADWORKS_OCI_PASSWORD"), set("HEADWORKS_OCI_TOKEN")) {
        (None, None, None) => Login::Anonymous,
        (Some(user), Some(password), None) => Login::Password { user, password },
        (None, None, Some(token)) => Login::Token(token),
        _ => bail!("set HEADWORKS_OCI_USERNAME and HEADWORKS_OCI_PASSWORD, or HEADWORKS_OCI_TOKEN alone"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_login_is_refused() {
        let of = |set: &[(&str, &str)]| {
            let set: Vec<(String, String)> =
                set.iter().map(|(k, v)| (format!("HEADWORKS_OCI_{k}"), (*v).to_owned())).collect();
            login(&move |name| set.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()))
        };
        assert_eq!(of(&[]).unwrap(), Login::Anonymous);
        let (user, password) = ("robot".to_owned(), "x".to_owned());
        assert_eq!(of(&[("USERNAME", "robot"), ("PASSWORD", "x")]).unwrap(), Login::Password { user, password });
        assert_eq!(of(&[("TOKEN", "x")]).unwrap(), Login::Token("x".to_owned()));
        assert!(of(&[("USERNAME", "robot")]).is_err());
        assert!(of(&[("USERNAME", "robot"), ("PASSWORD", "x"), ("TOKEN", "y")]).is_err());
    }
}
