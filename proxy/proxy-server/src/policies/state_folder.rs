//! A folder with the versions that outlast a restart: `policies/SLOT.json` says which, `components/SHA256.wasm` has them.
//!
//! Each file is written aside and renamed, a component before what names it: after a crash there is the old or the new.
//! What is damaged is found by its checksum.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::policies::keep::Kept;
use crate::policies::swap::digest_of;

/// Of a file that says what is kept.
const FORMAT: u32 = 1;
/// Bytes of one: a configuration, and little more.
const KEPT_BYTES_MAX: u64 = 1 << 20;
/// Files looked at.
const FILES_MAX: usize = 4096;

/// One folder.
#[derive(Debug)]
pub(super) struct StateFolder {
    policies: PathBuf,
    components: PathBuf,
    /// What is in it, by slot.
    known: Mutex<BTreeMap<String, Kept>>,
}

/// What was found under one name.
#[derive(Debug)]
pub(super) enum Found {
    Sound { kept: Box<Kept>, bytes: Bytes },
    Damaged { file: PathBuf, why: String },
}

/// A file that says what is kept.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptFile {
    format: u32,
    /// SHA-256 of the next field's text.
    checksum: String,
    kept: Box<RawValue>,
}

impl StateFolder {
    /// Makes it where there is none. What lies in it decides about requests: others must not be able to write there.
    pub fn open(path: &Path) -> io::Result<StateFolder> {
        let (policies, components) = (path.join("policies"), path.join("components"));
        for folder in [path, &policies, &components] {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            let mode = fs::metadata(folder)?.permissions().mode();
            if mode & 0o022 != 0 {
                let message =
                    format!("others may write to {} (mode {:o}); `chmod go-w` it", folder.display(), mode & 0o777);
                return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
            }
        }
        Ok(StateFolder { policies, components, known: Mutex::default() })
    }

    /// What is in it, in the chain's order, and what is damaged.
    pub fn read(&self, component_bytes_max: usize) -> Vec<Found> {
        let mut found: Vec<Found> = match files(&self.policies, ".json") {
            Ok(files) => files.into_iter().map(|file| self.read_one(file, component_bytes_max)).collect(),
            Err(error) => vec![Found::Damaged { file: self.policies.clone(), why: error.to_string() }],
        };
        found.sort_by_key(|found| match found {
            Found::Sound { kept, .. } => (kept.place, kept.slot.clone()),
            Found::Damaged { .. } => (usize::MAX, String::new()),
        });
        if found.iter().all(|found| matches!(found, Found::Sound { .. })) {
            self.remove_strays(&found);
        }
        found
    }

    /// Takes note of what of it is in use, or is to be removed.
    pub fn knows(&self, on_disk: Vec<Kept>) {
        *self.known() = on_disk.into_iter().map(|kept| (kept.slot.clone(), kept)).collect();
    }

    /// Makes the folder keep this and nothing else of what it is known to have. Says what went wrong.
    pub fn write(&self, wanted: Vec<(Kept, Bytes)>) -> Vec<String> {
        let mut known = self.known();
        let mut wrongs = Vec::new();
        for (kept, bytes) in &wanted {
            if known.get(&kept.slot) == Some(kept) {
                continue;
            }
            match self.write_one(kept, bytes) {
                Ok(()) => drop(known.insert(kept.slot.clone(), kept.clone())),
                Err(error) => wrongs.push(format!("keep slot {:?} in {}: {error}", kept.slot, self.policies.display())),
            }
        }
        let is_wanted = |slot: &String| wanted.iter().any(|(kept, _)| kept.slot == *slot);
        let gone: Vec<String> = known.keys().filter(|slot| !is_wanted(slot)).cloned().collect();
        for slot in gone {
            match removed(&self.file_of(&slot)) {
                Ok(()) => drop(known.remove(&slot)),
                Err(error) => wrongs.push(format!("forget slot {slot:?} in {}: {error}", self.policies.display())),
            }
        }
        if wrongs.is_empty()
            && let Err(error) = self.remove_unnamed()
        {
            wrongs.push(format!("tidy {}: {error}", self.components.display()));
        }
        wrongs
    }

    fn read_one(&self, file: PathBuf, component_bytes_max: usize) -> Found {
        match self.sound(&file, component_bytes_max) {
            Ok((kept, bytes)) => Found::Sound { kept: Box::new(kept), bytes },
            Err(why) => Found::Damaged { file, why },
        }
    }

    fn sound(&self, file: &Path, component_bytes_max: usize) -> Result<(Kept, Bytes), String> {
        let text = read(file, KEPT_BYTES_MAX).map_err(|error| error.to_string())?;
        let KeptFile { format, checksum, kept } = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
        if format != FORMAT {
            return Err(format!("it has format {format}, and what is read here is format {FORMAT}"));
        }
        if digest_of(kept.get().as_bytes()) != checksum {
            return Err("its checksum is another".to_owned());
        }
        let kept: Kept = serde_json::from_str(kept.get()).map_err(|error| error.to_string())?;
        if self.file_of(&kept.slot) != file {
            return Err(format!("it is about slot {:?}, as its name is not", kept.slot));
        }
        let component = self.component_of(&kept.digest);
        let bytes = read(&component, component_bytes_max as u64);
        let bytes = bytes.map_err(|error| format!("its component {}: {error}", component.display()))?;
        if digest_of(&bytes) != kept.digest {
            return Err(format!("its component {} is damaged", component.display()));
        }
        Ok((kept, bytes.into()))
    }

    fn write_one(&self, kept: &Kept, bytes: &Bytes) -> io::Result<()> {
        let component = self.component_of(&kept.digest);
        if !component.exists() {
            write(&component, bytes)?;
        }
        let kept_text = serde_json::value::to_raw_value(kept)?;
        let checksum = digest_of(kept_text.get().as_bytes());
        let text = serde_json::to_vec(&KeptFile { format: FORMAT, checksum, kept: kept_text })?;
        write(&self.file_of(&kept.slot), &text)
    }

    /// Components that nothing names: what a crash left.
    fn remove_strays(&self, found: &[Found]) {
        let named = |file: &Path| {
            found
                .iter()
                .any(|found| matches!(found, Found::Sound { kept, .. } if self.component_of(&kept.digest) == *file))
        };
        for file in files(&self.components, "").unwrap_or_default() {
            if !named(&file) {
                // The next start tries again.
                let _ = removed(&file);
            }
        }
    }

    /// Components that were needed before the last change. Nothing is removed where a file cannot be read that may name one.
    fn remove_unnamed(&self) -> io::Result<()> {
        let mut named = Vec::new();
        for file in files(&self.policies, ".json")? {
            let text = read(&file, KEPT_BYTES_MAX)?;
            let Ok(KeptFile { kept, .. }) = serde_json::from_slice(&text) else { return Ok(()) };
            let Ok(Kept { digest, .. }) = serde_json::from_str(kept.get()) else { return Ok(()) };
            named.push(self.component_of(&digest));
        }
        files(&self.components, "")?.iter().filter(|file| !named.contains(file)).try_for_each(|file| removed(file))
    }

    fn file_of(&self, slot: &str) -> PathBuf {
        self.policies.join(format!("{slot}.json"))
    }

    fn component_of(&self, digest: &str) -> PathBuf {
        let hex: String = digest.trim_start_matches("sha256:").chars().filter(char::is_ascii_hexdigit).collect();
        self.components.join(format!("{hex}.wasm"))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Kept>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The files of a folder whose names end so, but for those that are being written.
fn files(folder: &Path, end: &str) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)?.take(FILES_MAX) {
        let entry = entry?;
        let name = entry.file_name();
        let is_one = name.to_str().is_some_and(|name| name.ends_with(end));
        if is_one && entry.file_type()?.is_file() {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn read(file: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(file)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::other(format!("it is larger than {bytes_max} bytes")));
    }
    Ok(bytes)
}

/// Whole or not at all, and on the disk when this returns.
fn write(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = file.parent().ok_or_else(|| io::Error::other("it has no folder"))?;
    let mut aside = file.as_os_str().to_owned();
    aside.push(".new");
    let written = File::create(&aside).and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()));
    let renamed = written.and_then(|()| fs::rename(&aside, file));
    if renamed.is_err() {
        // The error that is told is the first one.
        let _ = fs::remove_file(&aside);
    }
    renamed.and_then(|()| File::open(folder)?.sync_all())
}

/// A file that is not there is removed already.
fn removed(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
