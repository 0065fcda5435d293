//! Compiles a component, or finds it compiled: in use by another policy, or in a folder from a run before.

mod folder;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, Weak},
};

use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, component::Component};

use crate::{Host, Level, slot::lock};
use folder::Folder;

/// SHA-256 of a component's bytes.
pub(crate) type Digest = [u8; 32];

/// A compiled component. As long as one is in use, the same bytes are not compiled again.
pub(crate) struct Compiled {
    pub(crate) digest: Digest,
    pub(crate) component: Component,
    /// It was found compiled, in the folder.
    pub(crate) was_kept: bool,
}

/// What was compiled and is still of use.
pub(crate) struct CompiledComponents {
    engine: Engine,
    in_use: Mutex<HashMap<Digest, Weak<Compiled>>>,
    folder: Option<Folder>,
}

impl CompiledComponents {
    /// Without a folder, nothing outlives its last user.
    pub(crate) fn new(engine: &Engine, folder: Option<PathBuf>, folder_bytes_max: u64) -> CompiledComponents {
        let folder = folder.map(|path| Folder::new(engine, path, folder_bytes_max));
        CompiledComponents { engine: engine.clone(), in_use: Mutex::default(), folder }
    }

    /// The component of these bytes. What goes wrong with the folder is told to the slot's log and costs time only.
    pub(crate) fn get(&self, slot: &str, bytes: &[u8], host: &dyn Host) -> wasmtime::Result<Arc<Compiled>> {
        let digest = Sha256::digest(bytes).into();
        if let Some(compiled) = lock(&self.in_use).get(&digest).and_then(Weak::upgrade) {
            return Ok(compiled);
        }
        let found = self.found(slot, &digest, host);
        let was_kept = found.is_some();
        let component = found.map_or_else(|| self.compile(slot, &digest, bytes, host), Ok)?;
        let compiled = Arc::new(Compiled { digest, component, was_kept });
        let mut in_use = lock(&self.in_use);
        in_use.retain(|_, compiled| compiled.strong_count() > 0);
        in_use.insert(digest, Arc::downgrade(&compiled));
        Ok(compiled)
    }

    fn found(&self, slot: &str, digest: &Digest, host: &dyn Host) -> Option<Component> {
        let folder = self.folder.as_ref()?;
        match folder.find(&self.engine, digest) {
            Ok(found) => found,
            Err(error) => {
                let line = format!("a compiled component in {} is of no use: {error}", folder.path().display());
                host.log(slot, Level::Warn, &line);
                None
            }
        }
    }

    fn compile(&self, slot: &str, digest: &Digest, bytes: &[u8], host: &dyn Host) -> wasmtime::Result<Component> {
        let component = Component::from_binary(&self.engine, bytes)?;
        if let Some(folder) = &self.folder
            && let Err(error) = component.serialize().and_then(|code| Ok(folder.keep(digest, &code)?))
        {
            let line = format!("a compiled component could not be kept in {}: {error}", folder.path().display());
            host.log(slot, Level::Warn, &line);
        }
        Ok(component)
    }
}

/// As it is shown: `sha256:` and the digits.
pub(crate) fn shown(digest: &Digest) -> String {
    format!("sha256:{}", hex(digest))
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(b"0123456789abcdef"[usize::from(digit)]))
        .collect()
}
