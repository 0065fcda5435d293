//! From a policy's folder to its component, whatever it is written in.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::project::{Language, Project};
use crate::{python, rust, ts};

/// A component that was built.
#[derive(Debug)]
pub struct Built {
    /// Where it is.
    pub path: PathBuf,
    /// How large it is.
    pub bytes: u64,
}

/// Builds a policy and puts its component to `out`.
pub fn build(project: &Project, out: &Path) -> anyhow::Result<Built> {
    let out = std::path::absolute(out).context("find where the component goes")?;
    let folder = out.parent().context("the component needs a file's name")?;
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    match project.language {
        Language::Rust => rust::build(project, &out)?,
        Language::Ts => ts::build(project, &out)?,
        Language::Python => python::build(project, &out)?,
    }
    let bytes = fs::metadata(&out).with_context(|| format!("find {}", out.display()))?.len();
    Ok(Built { path: out, bytes })
}

/// Gets the tools of every language that needs some, so that a later build needs no network for them.
pub fn install() -> anyhow::Result<()> {
    ts::tools()?;
    python::tools()?;
    Ok(())
}
