//! Where downloads are kept, and how one is made whole or not at all.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::{env, fs, process};

use anyhow::Context;

/// The user's cache. Outside `target`, so that a clean build does not fetch anything again.
pub(crate) fn folder() -> anyhow::Result<PathBuf> {
    let home = || Some(env::home_dir()?.join(".cache"));
    let base = env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()).map(PathBuf::from).or_else(home);
    Ok(base.context("neither XDG_CACHE_HOME nor HOME says where to keep downloads")?.join("headworks"))
}

/// The cache's folder for what `files` say, filled by `fill` when it is not there yet.
pub(crate) fn kept(
    name: &str,
    files: &[(&str, &str)],
    fill: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    kept_in(&folder()?, name, files, fill)
}

/// The same in a folder of one's own.
pub(crate) fn kept_in(
    folder: &Path,
    name: &str,
    files: &[(&str, &str)],
    fill: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<PathBuf> {
    let place = folder.join(format!("{name}-{:016x}", digest(files)));
    whole(&place, |partial| {
        for (name, text) in files {
            fs::write(partial.join(name), text).with_context(|| format!("write {name}"))?;
        }
        fill(partial)
    })?;
    Ok(place)
}

/// Fills a folder beside its place and then renames it: a call that was interrupted leaves nothing half.
pub(crate) fn whole(place: &Path, fill: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    if place.exists() {
        return Ok(());
    }
    let partial = place.with_extension(format!("partial-{}", process::id()));
    fs::create_dir_all(&partial).with_context(|| format!("make {}", partial.display()))?;
    let filled = fill(&partial);
    let renamed = filled.and_then(|()| fs::rename(&partial, place).context("put what was fetched in its place"));
    let left_over = if partial.exists() { fs::remove_dir_all(&partial) } else { Ok(()) };
    // Somebody else may have finished first; theirs is as good.
    if place.exists() {
        return Ok(());
    }
    renamed.and(left_over.context("tidy up"))
}

fn digest(files: &[(&str, &str)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    files.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_half_is_not_kept() {
        let room = tempfile::tempdir().unwrap();
        let place = room.path().join("tools");
        let fail = |partial: &Path| {
            fs::write(partial.join("half"), "")?;
            anyhow::bail!("no network")
        };
        assert_eq!(whole(&place, fail).unwrap_err().to_string(), "no network");
        assert_eq!(room.path().read_dir().unwrap().count(), 0, "nothing is left behind");
        whole(&place, |partial| Ok(fs::write(partial.join("whole"), "")?)).unwrap();
        whole(&place, |_| panic!("it is there already")).unwrap();
        assert!(place.join("whole").exists());
    }
}
