//! Waits until a file is another: written anew, moved into place, or reached by another link.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::stamp::{Stamp, stamp};

/// Between two looks. Looking at a file's stamp works on every file system and through links that are moved, as
/// Kubernetes does with what it mounts; being told works on some.
const INTERVAL: Duration = Duration::from_millis(250);
/// The most that is read of a file.
const BYTES_MAX: u64 = 16 << 20;

/// A file and what was last read of it.
pub(crate) struct WatchedFile {
    path: PathBuf,
    last: Option<String>,
}

impl WatchedFile {
    pub fn new(path: impl Into<PathBuf>) -> WatchedFile {
        WatchedFile { path: path.into(), last: None }
    }

    /// A file whose text is known: only another text counts as a change.
    pub fn known(path: impl Into<PathBuf>, text: String) -> WatchedFile {
        WatchedFile { path: path.into(), last: Some(text) }
    }

    /// The text when it is another than before; waits for that. A file that cannot be read is an error each time.
    pub async fn changed(&mut self) -> Result<String, String> {
        loop {
            let before = stamp_of(&self.path).await;
            let text = read(&self.path).await;
            // A file that is being written is looked at again.
            if stamp_of(&self.path).await == before {
                match text {
                    Ok(text) if self.last.as_ref() != Some(&text) => {
                        self.last = Some(text.clone());
                        return Ok(text);
                    }
                    Ok(_) => self.unlike(before).await,
                    Err(error) => {
                        self.last = None;
                        tokio::time::sleep(INTERVAL).await;
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Waits until the file's stamp is another.
    async fn unlike(&self, before: Option<Stamp>) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if stamp_of(&self.path).await != before {
                return;
            }
        }
    }
}

/// `None` of a file that is not there.
async fn stamp_of(path: &Path) -> Option<Stamp> {
    tokio::fs::metadata(path).await.ok().map(|file| stamp(&file))
}

async fn read(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let facts = tokio::fs::metadata(path).await.map_err(cannot)?;
    if facts.len() > BYTES_MAX {
        return Err(format!("{} has {} bytes; the most is {BYTES_MAX}", path.display(), facts.len()));
    }
    tokio::fs::read_to_string(path).await.map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_another_text_is_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let mut watched = WatchedFile::new(&path);
        assert!(watched.changed().await.is_err_and(|error| error.contains("cannot read")));
        std::fs::write(&path, "one").unwrap();
        assert_eq!(watched.changed().await.unwrap(), "one");
        // The same again, by another file, and then another: only that ends the wait.
        let rewrite = async {
            for text in ["one", "two"] {
                std::fs::write(folder.path().join("next"), text).unwrap();
                std::fs::rename(folder.path().join("next"), &path).unwrap();
                tokio::task::yield_now().await;
            }
        };
        let (text, ()) = tokio::join!(watched.changed(), rewrite);
        assert_eq!(text.unwrap(), "two");
    }
}
