//! Loads what authors write into the watched folder: `SLOT.wasm`, whenever it is another.
//!
//! A file may be written in pieces or moved into place: the folder is looked at once it has been quiet for a moment.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::{self, Receiver};

use crate::config::is_slot_name;
use crate::policies::{Policies, Share, Slot, Sources, SwapError, Turn, Upload};
use crate::stamp::{Stamp, stamp};

/// How long nothing may happen before the folder is looked at.
const QUIET: Duration = Duration::from_millis(100);
/// How often it may be disturbed meanwhile: a folder that never comes to rest is looked at all the same.
const DISTURBANCES_MAX: usize = 20;
/// Who puts what lies there, and where from.
const BY: &str = "watch";
/// Files looked at.
const FILES_MAX: usize = 1024;

/// A folder that is watched.
pub(crate) struct Folder {
    path: PathBuf,
    changes: Receiver<()>,
    /// Dropped, it watches no more.
    _watcher: RecommendedWatcher,
}

impl Folder {
    /// Begins to watch; or says why it cannot.
    pub fn watch(path: &Path) -> Result<Folder, notify::Error> {
        // One note is as good as many: each look is at the whole folder.
        let (sender, changes) = mpsc::channel(1);
        let told = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !is_a_look(&event.kind)) {
                // An error means that a note is there already.
                let _ = sender.try_send(());
            }
        };
        let mut watcher = notify::recommended_watcher(told)?;
        watcher.watch(path, RecursiveMode::NonRecursive)?;
        Ok(Folder { path: path.to_owned(), changes, _watcher: watcher })
    }

    async fn is_quiet(&mut self) {
        for _ in 0..DISTURBANCES_MAX {
            if tokio::time::timeout(QUIET, self.changes.recv()).await.is_err() {
                return;
            }
        }
    }
}

/// Reading a file is no change of it.
fn is_a_look(kind: &EventKind) -> bool {
    kind.is_access() && *kind != EventKind::Access(AccessKind::Close(AccessMode::Write))
}

/// Puts what lies in the folder, and again what changes.
pub(crate) async fn watch_folder(policies: Arc<Policies>, sources: Arc<Sources>, mut folder: Folder) {
    let mut known = BTreeMap::new();
    loop {
        for (slot, path) in changed(&folder.path, &mut known) {
            let turn = policies.turn().await;
            let sources = sources.clone();
            let put = move |policies: &Policies| {
                if let Err(error) = put(policies, &sources, &turn, &slot, &path) {
                    tracing::warn!(slot, path = %path.display(), %error, "what lies in the watched folder is not used");
                }
            };
            if let Err(error) = policies.clone().change_blocking(put).await {
                tracing::error!(%error, "loading from the watched folder broke");
            }
        }
        if folder.changes.recv().await.is_none() {
            return;
        }
        folder.is_quiet().await;
    }
}

/// The files that are new or others than they were, by slot.
fn changed(folder: &Path, known: &mut BTreeMap<PathBuf, Stamp>) -> Vec<(String, PathBuf)> {
    let found: BTreeMap<PathBuf, Stamp> = match std::fs::read_dir(folder) {
        Ok(entries) => entries
            .take(FILES_MAX)
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter_map(|path| {
                let file = path.metadata().ok()?;
                (file.is_file() && slot_of(&path).is_some()).then(|| (path, stamp(&file)))
            })
            .collect(),
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "cannot look into the watched folder");
            return Vec::new();
        }
    };
    let is_new = |(path, stamp): &(&PathBuf, &Stamp)| known.get(*path) != Some(*stamp);
    let changed = found.iter().filter(is_new);
    let changed = changed.filter_map(|(path, _)| Some((slot_of(path)?, path.clone()))).collect();
    *known = found;
    changed
}

fn slot_of(path: &Path) -> Option<String> {
    let is_wasm = path.extension().is_some_and(|extension| extension == "wasm");
    let name = path.file_stem()?.to_str()?;
    (is_wasm && is_slot_name(name)).then(|| name.to_owned())
}

fn put(policies: &Policies, sources: &Sources, turn: &Turn, slot: &str, path: &Path) -> Result<(), SwapError> {
    let fetched = sources.read(path, BY).map_err(SwapError::from);
    let fetched = fetched.inspect_err(|refused| policies.refused(slot, BY, None, refused))?;
    let is_active = |known: Slot| known.active_version().is_some_and(|active| active.bytes == fetched.bytes);
    if policies.slot(slot).is_some_and(is_active) {
        return Ok(());
    }
    let upload = Upload { slot: slot.to_owned(), fetched, share: Share::All, by: BY.to_owned() };
    policies.put(turn, upload).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(changed: &[(String, PathBuf)]) -> Vec<&str> {
        changed.iter().map(|(slot, _)| slot.as_str()).collect()
    }

    #[test]
    fn only_components_named_as_a_slot_count_and_only_when_they_are_others() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let mut known = BTreeMap::new();
        for name in ["placement.wasm", "limits.wasm", "notes.txt", "not a slot.wasm", ".wasm"] {
            write(name, "x");
        }
        std::fs::create_dir(folder.path().join("folder.wasm")).unwrap();
        assert_eq!(names(&changed(folder.path(), &mut known)), ["limits", "placement"]);
        assert_eq!(names(&changed(folder.path(), &mut known)), [""; 0]);
        write("limits.wasm", "another");
        assert_eq!(names(&changed(folder.path(), &mut known)), ["limits"]);
        // An editor's way: write beside it, and move into place.
        write("limits.wasm.tmp", "another");
        std::fs::rename(folder.path().join("limits.wasm.tmp"), folder.path().join("limits.wasm")).unwrap();
        assert_eq!(names(&changed(folder.path(), &mut known)), ["limits"]);
    }

    #[test]
    fn a_folder_that_is_not_there_cannot_be_watched() {
        assert!(Folder::watch(Path::new("/no/such/folder")).is_err());
    }
}
