//! An author's mistakes, as `policy build` tells them: where, and what to change.

use crate::author::{Room, edit, policy, text};

#[track_caller]
fn check(lang: &str, entry: &str, [from, to]: [&str; 2], told: &[&str]) {
    let room = Room::new();
    let folder = room.scaffold("slip", lang);
    edit(&folder.join(entry), from, to);
    let error = format!("{:#}", room.build(&folder).unwrap_err());
    for part in told {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn in_typescript() {
    check(
        "ts",
        "policy.ts",
        ["fleet.id[idlest]", "fleet.ids[idlest]"],
        &["policy.ts(17,", "Property 'ids' does not exist"],
    );
    check("ts", "policy.ts", ["name: 'slip'", "name: 'two words'"], &["definePolicy: `name` must be 1 to 64 letters"]);
    check(
        "ts",
        "policy.ts",
        ["export default definePolicy", "export const policy = definePolicy"],
        &["policy.ts must `export default definePolicy"],
    );
}

#[test]
fn in_python() {
    check("python", "policy.py", ["return Placement.PASS", "retrun Placement.PASS"], &["policy.py", "SyntaxError"]);
    check("python", "policy.py", ["mode = \"pooled\"", "mode = \"solo\""], &["policy.py:24: ValueError", "not 'solo'"]);
    check("python", "policy.py", ["\nexport(Slip)", ""], &["the module must call `export(YourPolicy)`"]);
}

/// A component without a policy in it, and one whose configuration nobody would take.
#[test]
fn in_rust() {
    let room = Room::new();
    let folder = room.scaffold("slip", "rust");
    let entry = folder.join("src/lib.rs");
    edit(&entry, "headworks_policy::export!(Slip: place);", "");
    room.build(&folder).unwrap();
    let refused = format!("{:#}", policy(&["check", text(&room.path("built.wasm"))]).unwrap_err());
    assert!(refused.contains("exports nothing of headworks:policy@0.1.0") && refused.contains("export!"), "{refused}");
}

#[test]
fn in_the_folder() {
    check("ts", "policy.toml", ["language = \"ts\"", "language = \"go\""], &["unknown variant `go`"]);
    check(
        "ts",
        "policy.toml",
        ["vendor/headworks-policy", "nowhere"],
        &["the SDK has no src/component.js in", "sdk in policy.toml"],
    );
}
