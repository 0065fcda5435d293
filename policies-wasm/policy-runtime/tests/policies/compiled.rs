//! Compiled components: found again, and never in the way of a load.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use policy_runtime::{Limits, Runtime};
use tempfile::TempDir;

use crate::support::{Guest, Memory, fleet, patient, place, placing};

/// Names the first replica; each number makes other bytes.
fn guest(number: u32) -> Guest {
    placing(&format!("(i32.store (i32.const 1028) (i32.const 7)) (drop (i32.const {number})) (i32.const 0)"))
}

/// Loads a guest in a runtime of its own, asks it once, and answers what was logged.
fn load_once(folder: &Path, limits: Limits, guest: &Guest) -> Vec<String> {
    let memory = Arc::new(Memory::default());
    let runtime = Runtime::with_folder(limits, Arc::clone(&memory) as Arc<_>, 7, folder.to_owned()).unwrap();
    let policy = runtime.load("placement", &guest.bytes(), "", None).unwrap();
    place(&policy, 1, &fleet(1, &[7])).unwrap();
    let lines = memory.lines.lock().unwrap();
    lines.clone()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn only_file(folder: &Path) -> PathBuf {
    let [file] = files(folder).try_into().unwrap();
    file
}

#[test]
fn what_one_run_compiled_the_next_finds() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("made/by/the/runtime");
    assert_eq!(load_once(&path, patient(), &guest(1)), [""; 0]);
    let written = fs::metadata(only_file(&path)).unwrap().len();
    assert_eq!(load_once(&path, patient(), &guest(1)), [""; 0]);
    assert_eq!(fs::metadata(only_file(&path)).unwrap().len(), written);
}

#[test]
fn a_damaged_file_is_told_of_and_compiled_anew() {
    let folder = TempDir::new().unwrap();
    load_once(folder.path(), patient(), &guest(1));
    let sound = fs::read(only_file(folder.path())).unwrap();
    let mut flipped = sound.clone();
    flipped[sound.len() / 2] ^= 1;
    for damaged in [&flipped[..], &sound[..sound.len() / 2], &[]] {
        fs::write(only_file(folder.path()), damaged).unwrap();
        let [line] = load_once(folder.path(), patient(), &guest(1)).try_into().unwrap();
        assert!(line.starts_with("placement Warn: a compiled component in ") && line.contains("damaged"), "{line}");
        assert_eq!(load_once(folder.path(), patient(), &guest(1)), [""; 0], "it was replaced");
    }
}

#[test]
fn a_folder_that_others_may_write_to_is_not_used() {
    let folder = TempDir::new().unwrap();
    load_once(folder.path(), patient(), &guest(1));
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let lines = load_once(folder.path(), patient(), &guest(1));
    assert!(lines.iter().all(|line| line.contains("chmod go-w")) && !lines.is_empty(), "{lines:?}");
}

#[test]
fn a_folder_that_cannot_be_made_keeps_nothing_from_loading() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let lines = load_once(&file.join("below"), patient(), &guest(1));
    assert!(!lines.is_empty());
}

#[test]
fn the_least_recently_used_make_room() {
    let folder = TempDir::new().unwrap();
    load_once(folder.path(), patient(), &guest(1));
    let one = fs::metadata(only_file(folder.path())).unwrap().len();
    let limits = Limits { compiled_bytes_max: one * 2 + one / 2, ..patient() };
    for number in 2..6 {
        load_once(folder.path(), limits.clone(), &guest(number));
    }
    assert_eq!(files(folder.path()).len(), 2);
}

#[test]
fn what_is_in_use_is_not_compiled_again() {
    let folder = TempDir::new().unwrap();
    let memory = Arc::new(Memory::default());
    let runtime = Runtime::with_folder(patient(), memory, 7, folder.path().to_owned()).unwrap();
    let bytes = guest(1).bytes();
    let first = runtime.load("first", &bytes, "", None).unwrap();
    fs::remove_file(only_file(folder.path())).unwrap();
    let second = runtime.load("second", &bytes, "", None).unwrap();
    assert_eq!(files(folder.path()).len(), 0, "a second compilation would have been kept");
    assert_eq!(first.digest(), second.digest());
    drop((first, second));
    runtime.load("third", &bytes, "", None).unwrap();
    assert_eq!(files(folder.path()).len(), 1, "nobody used it any more");
}
