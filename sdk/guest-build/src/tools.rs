//! What builds a language's policies: packages of a registry, and beside them our programs that use them.

use std::path::{Path, PathBuf};

use crate::{cache, contract};

/// A language's tools, in the user's cache.
pub(crate) struct Tools {
    /// Where the packages are.
    pub(crate) packages: PathBuf,
    programs: PathBuf,
}

/// Files by their names.
pub(crate) type Files<'a> = [(&'a str, &'a str)];

impl Tools {
    /// Finds them; what `packages` name is installed by `install` when it is not there yet. Another program is no reason
    /// to install packages again.
    pub(crate) fn kept(
        name: &str,
        packages: &Files<'_>,
        programs: &Files<'_>,
        install: impl FnOnce(&Path) -> anyhow::Result<()>,
    ) -> anyhow::Result<Tools> {
        let packages = cache::kept(name, packages, install)?;
        let files = [programs, &contract::WIT[..]].concat();
        let programs = cache::kept_in(&packages, "programs", &files, |folder| contract::write(&folder.join("wit")))?;
        Ok(Tools { packages, programs })
    }

    /// One of the programs.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// The folder with the contract.
    pub(crate) fn wit(&self) -> PathBuf {
        self.programs.join("wit")
    }
}
