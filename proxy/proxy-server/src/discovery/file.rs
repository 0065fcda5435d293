//! Finds replicas in a file that somebody else writes.

use std::path::PathBuf;

use crate::config::Template;
use crate::discovery::{Finder, WatchedFile};

/// Reads the file whenever it is another. One that cannot be used changes nothing.
pub(super) async fn find(finder: Finder, path: PathBuf, template: Template) {
    let mut watched = WatchedFile::new(&path);
    loop {
        let read =
            watched.changed().await.and_then(|text| finder.proxy.region_names.read_file(&path, &text, &template));
        match read {
            Ok(replicas) => finder.found(&replicas),
            Err(error) => finder.failed(error),
        }
    }
}
