//! A folder of compiled components: one file each, checked when it is read, the least recently used removed.
//!
//! What is in these files runs as it stands, so the folder must be its owner's alone; a checksum finds damage, not malice.

use std::{
    fs::{self, DirBuilder, File},
    hash::{DefaultHasher, Hash, Hasher},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::SystemTime,
};

use sha2::{Digest as _, Sha256};
use wasmtime::{Engine, component::Component};

use super::{Digest, hex};

/// Begins each file.
const MAGIC: &[u8; 8] = b"hwcomp01";
const SUFFIX: &str = ".compiled";

/// One folder.
pub(super) struct Folder {
    path: PathBuf,
    bytes_max: u64,
    /// Stands in each file's name: compilers and settings that differ leave each other's files alone.
    engine_key: u64,
}

impl Folder {
    pub(super) fn new(engine: &Engine, path: PathBuf, bytes_max: u64) -> Folder {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Folder { path, bytes_max, engine_key: hasher.finish() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The component that was kept for these bytes. A file that is damaged is removed.
    pub(super) fn find(&self, engine: &Engine, digest: &Digest) -> wasmtime::Result<Option<Component>> {
        let path = self.file_of(digest);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        self.check_owner()?;
        let mut content = Vec::new();
        (&mut file).take(self.bytes_max.saturating_add(1)).read_to_end(&mut content)?;
        let found = checked(&content).and_then(|code| {
            // SAFETY: the code is what `keep` wrote, as its checksum says, in a folder that only this user can write to;
            // wasmtime itself refuses what another version or configuration of it has compiled.
            unsafe { Component::deserialize(engine, code) }
        });
        match found {
            // Says when it was last used; a file system that cannot is no reason to compile again.
            Ok(component) => {
                let _ = file.set_modified(SystemTime::now());
                Ok(Some(component))
            }
            Err(error) => {
                fs::remove_file(&path)?;
                Err(error)
            }
        }
    }

    /// Keeps a component's code, and removes what was not used for long when there is too much.
    pub(super) fn keep(&self, digest: &Digest, code: &[u8]) -> io::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        DirBuilder::new().recursive(true).mode(0o700).create(&self.path)?;
        self.check_owner()?;
        if code.len() as u64 > self.bytes_max {
            return Ok(());
        }
        // Written aside and renamed, so that nobody ever reads half of it.
        let aside = self.path.join(format!("{}-{}.new", process::id(), NEXT.fetch_add(1, Relaxed)));
        let written = write(&aside, code).and_then(|()| fs::rename(&aside, self.file_of(digest)));
        if written.is_err() {
            // The error that is told is the first one.
            let _ = fs::remove_file(&aside);
        }
        written?;
        self.make_room()
    }

    fn file_of(&self, digest: &Digest) -> PathBuf {
        self.path.join(format!("{}-{:016x}{SUFFIX}", hex(digest), self.engine_key))
    }

    /// Others than the owner must not be able to put code here.
    fn check_owner(&self) -> io::Result<()> {
        let mode = fs::metadata(&self.path)?.permissions().mode();
        if mode & 0o022 == 0 {
            return Ok(());
        }
        let message = format!("others may write to it (mode {:o}); `chmod go-w` it", mode & 0o777);
        Err(io::Error::new(io::ErrorKind::PermissionDenied, message))
    }

    fn make_room(&self) -> io::Result<()> {
        let mut kept: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let file = entry.metadata()?;
            if file.is_file() && entry.file_name().to_string_lossy().ends_with(SUFFIX) {
                kept.push((file.modified()?, file.len(), entry.path()));
            }
        }
        kept.sort();
        let mut bytes: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, file_bytes, path) in kept {
            if bytes <= self.bytes_max {
                break;
            }
            match fs::remove_file(path) {
                // Another process was faster.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => bytes -= file_bytes,
            }
        }
        Ok(())
    }
}

fn write(path: &Path, code: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(MAGIC)?;
    file.write_all(&Sha256::digest(code))?;
    file.write_all(code)
}

/// The code in a file, if it is what was written.
fn checked(content: &[u8]) -> wasmtime::Result<&[u8]> {
    let parts = content.strip_prefix(MAGIC).and_then(|rest| rest.split_at_checked(32));
    match parts {
        Some((checksum, code)) if *checksum == *Sha256::digest(code) => Ok(code),
        _ => Err(wasmtime::Error::msg("it is damaged; it is compiled anew")),
    }
}
