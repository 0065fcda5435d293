//! What tells one content of a file from another, without reading it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

/// Inode, length, and when it was written last: in seconds, and nanoseconds within them.
pub(crate) type Stamp = (u64, u64, i64, i64);

/// The stamp of a file that was looked at.
pub(crate) fn stamp(file: &Metadata) -> Stamp {
    (file.ino(), file.len(), file.mtime(), file.mtime_nsec())
}
