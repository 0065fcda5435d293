//! What is kept is found again; what is damaged is told of, and harms nothing beside it.

use super::*;

fn kept(slot: &str, place: usize, bytes: &[u8]) -> (Kept, Bytes) {
    let kept = Kept {
        slot: slot.to_owned(),
        place,
        digest: digest_of(bytes),
        config_json: r#"{"limit":3}"#.to_owned(),
        by: "alice".to_owned(),
        source: "admin".to_owned(),
        source_detail: None,
        signature: None,
        loaded_unix_ms: 7,
        activated_unix_ms: 8,
        configured: None,
    };
    (kept, Bytes::copy_from_slice(bytes))
}

/// What a start finds: each slot with its bytes, each damage with its reason.
fn found(folder: &Path) -> Vec<String> {
    let found = StateFolder::open(folder).unwrap().read(1000);
    let shown = |found: &Found| match found {
        Found::Sound { kept, bytes } => format!("{} {}", kept.slot, String::from_utf8_lossy(bytes)),
        Found::Damaged { file, why } => format!("{}: {why}", file.file_name().unwrap().display()),
    };
    found.iter().map(shown).collect()
}

fn components(folder: &Path) -> usize {
    fs::read_dir(folder.join("components")).unwrap().count()
}

#[test]
fn what_is_written_is_found_in_the_chains_order() {
    let room = tempfile::tempdir().unwrap();
    let folder = room.path().join("made/by/us");
    let state = StateFolder::open(&folder).unwrap();
    let (a, b) = (kept("b", 0, b"one"), kept("a", 1, b"two"));
    assert_eq!(state.write(vec![b.clone(), a.clone()]), [""; 0]);
    assert_eq!(found(&folder), ["b one", "a two"]);
    let Some(Found::Sound { kept, .. }) = StateFolder::open(&folder).unwrap().read(1000).into_iter().next() else {
        panic!("it is there")
    };
    assert_eq!(*kept, a.0);
}

#[test]
fn what_is_no_longer_wanted_goes_with_its_component() {
    let room = tempfile::tempdir().unwrap();
    let state = StateFolder::open(room.path()).unwrap();
    state.write(vec![kept("a", 0, b"one"), kept("b", 1, b"one"), kept("c", 2, b"two")]);
    assert_eq!(components(room.path()), 2);
    assert_eq!(state.write(vec![kept("b", 0, b"one"), kept("c", 1, b"three")]), [""; 0]);
    assert_eq!(found(room.path()), ["b one", "c three"]);
    assert_eq!(components(room.path()), 2);
    assert_eq!(state.write(Vec::new()), [""; 0]);
    assert_eq!((found(room.path()), components(room.path())), (Vec::new(), 0));
}

#[test]
fn damage_is_told_of_and_harms_nothing_beside_it() {
    let room = tempfile::tempdir().unwrap();
    let state = StateFolder::open(room.path()).unwrap();
    state.write(vec![kept("a", 0, b"one"), kept("b", 1, b"two"), kept("c", 2, b"three"), kept("d", 3, b"four")]);
    let file = |slot: &str| room.path().join("policies").join(format!("{slot}.json"));
    let text = fs::read_to_string(file("a")).unwrap();
    fs::write(file("a"), text.replace("alice", "malory")).unwrap();
    fs::write(file("b"), &fs::read(file("b")).unwrap()[..40]).unwrap();
    let component = room.path().join("components").join(format!("{}.wasm", &digest_of(b"three")["sha256:".len()..]));
    fs::write(component, b"thr").unwrap();
    fs::copy(file("d"), file("e")).unwrap();
    let found = found(room.path());
    assert_eq!(found[0], "d four");
    for part in
        ["a.json: its checksum is another", "b.json: EOF", "c.json: its component", "e.json: it is about slot \"d\""]
    {
        assert!(found.iter().any(|found| found.starts_with(part)), "{part} is not in {found:?}");
    }
    assert_eq!(components(room.path()), 4, "nothing is tidied away while something is damaged");
}

#[test]
fn what_a_crash_left_is_removed_at_the_next_start() {
    let room = tempfile::tempdir().unwrap();
    let state = StateFolder::open(room.path()).unwrap();
    state.write(vec![kept("a", 0, b"one")]);
    fs::write(room.path().join("components/0abc.wasm"), "nobody names it").unwrap();
    fs::write(room.path().join("components/0def.wasm.new"), "half").unwrap();
    fs::write(room.path().join("policies/a.json.new"), "half").unwrap();
    assert_eq!((found(room.path()), components(room.path())), (vec!["a one".to_owned()], 1));
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    let room = tempfile::tempdir().unwrap();
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let refused = StateFolder::open(room.path()).unwrap_err().to_string();
    assert!(refused.contains("chmod go-w"), "{refused}");
}
