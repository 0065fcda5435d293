//! The guide's code is what it says: it builds as it stands, and its tables hold.

use std::fs;
use std::path::Path;

use crate::author::{Room, edit, policy, text};

const GUIDE: &str = include_str!("../../../../docs/write-a-policy.md");

/// The guide's blocks of code in a language, in their order.
fn blocks(language: &str) -> Vec<&'static str> {
    let after_fence = |part: &'static str| part.split_once("\n```").map(|(code, _)| code);
    GUIDE.split(&format!("\n```{language}\n")).skip(1).filter_map(after_fence).collect()
}

#[track_caller]
fn block(language: &str, part: &str) -> &'static str {
    let mut found = blocks(language).into_iter().filter(|block| block.contains(part));
    match (found.next(), found.next()) {
        (Some(block), None) => block,
        _ => panic!("the guide must have one block of {language} with {part:?} in it"),
    }
}

/// The gate with a configuration, in the place of the policy that `new` writes.
#[track_caller]
fn check_gate(lang: &str, entry: &str, fence: &str) {
    let room = Room::new();
    let folder = room.scaffold("gate", lang);
    if lang == "rust" {
        let crates = "[dependencies]\nserde = { version = \"1\", features = [\"derive\"] }\nserde_json = \"1\"\n";
        assert!(GUIDE.contains("`serde = { version = \"1\", features = [\"derive\"] }` and `serde_json = \"1\"`"));
        edit(&folder.join("Cargo.toml"), "[dependencies]\n", crates);
    }
    fs::write(folder.join(entry), block(fence, "send at most")).unwrap();
    fs::write(folder.join("tests/example.toml"), block("toml", "a longer one is turned away")).unwrap();
    room.build(&folder).unwrap_or_else(|error| panic!("{error:#}"));
    let component = room.path("built.wasm");
    policy(&["test", text(&folder.join("tests")), "--policy", text(&component)]).unwrap();
    policy(&["check", text(&component), "--config", r#"{"prompt_tokens_max":100}"#]).unwrap();
    let refused = policy(&["check", text(&component), "--config", r#"{"prompt_tokens_max":"many"}"#]).unwrap_err();
    assert!(format!("{refused:#}").contains("prompt_tokens_max"), "{refused:#}");
}

#[test]
fn the_gate_in_rust() {
    check_gate("rust", "src/lib.rs", "rust");
}

#[test]
fn the_gate_in_typescript() {
    check_gate("ts", "policy.ts", "ts");
}

#[test]
fn the_gate_in_python() {
    check_gate("python", "policy.py", "python");
}

#[test]
fn the_policy_that_new_writes_is_the_one_that_is_shown() {
    let room = Room::new();
    for (lang, entry, fence) in [("ts", "policy.ts", "ts"), ("python", "policy.py", "python")] {
        let folder = room.scaffold("first-idle", lang);
        let written = fs::read_to_string(Path::new(&folder).join(entry)).unwrap();
        let shown = block(fence, "lowest load");
        assert!(written.contains(shown), "{written}");
        fs::remove_dir_all(folder).unwrap();
    }
}
