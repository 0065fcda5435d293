//! The SDKs' sources, carried along so that a new policy builds anywhere and without a registry of ours.

use guest_build::{Language, WIT};

const RUST: [(&str, &str); 14] = [
    ("sdk/rust/Cargo.toml", include_str!("../../../rust/Cargo.toml")),
    ("sdk/rust/README.md", include_str!("../../../rust/README.md")),
    ("sdk/rust/src/bindings.rs", include_str!("../../../rust/src/bindings.rs")),
    ("sdk/rust/src/choose.rs", include_str!("../../../rust/src/choose.rs")),
    ("sdk/rust/src/export.rs", include_str!("../../../rust/src/export.rs")),
    ("sdk/rust/src/fleet.rs", include_str!("../../../rust/src/fleet.rs")),
    ("sdk/rust/src/hash.rs", include_str!("../../../rust/src/hash.rs")),
    ("sdk/rust/src/hooks.rs", include_str!("../../../rust/src/hooks.rs")),
    ("sdk/rust/src/lib.rs", include_str!("../../../rust/src/lib.rs")),
    ("sdk/rust/src/prefix.rs", include_str!("../../../rust/src/prefix.rs")),
    ("sdk/rust/src/reason.rs", include_str!("../../../rust/src/reason.rs")),
    ("sdk/rust/src/refuse.rs", include_str!("../../../rust/src/refuse.rs")),
    ("sdk/rust/src/request.rs", include_str!("../../../rust/src/request.rs")),
    ("sdk/rust/src/senses.rs", include_str!("../../../rust/src/senses.rs")),
];

const TS: [(&str, &str); 13] = [
    ("README.md", include_str!("../../../js/README.md")),
    ("package.json", include_str!("../../../js/package.json")),
    ("src/component.js", include_str!("../../../js/src/component.js")),
    ("src/define.js", include_str!("../../../js/src/define.js")),
    ("src/fleet.js", include_str!("../../../js/src/fleet.js")),
    ("src/globals.js", include_str!("../../../js/src/globals.js")),
    ("src/host/component.js", include_str!("../../../js/src/host/component.js")),
    ("src/host/none.js", include_str!("../../../js/src/host/none.js")),
    ("src/index.d.ts", include_str!("../../../js/src/index.d.ts")),
    ("src/index.js", include_str!("../../../js/src/index.js")),
    ("src/request.js", include_str!("../../../js/src/request.js")),
    ("src/senses.js", include_str!("../../../js/src/senses.js")),
    ("src/verdict.js", include_str!("../../../js/src/verdict.js")),
];

const PYTHON: [(&str, &str); 13] = [
    ("README.md", include_str!("../../../python/README.md")),
    ("pyproject.toml", include_str!("../../../python/pyproject.toml")),
    ("headworks_policy/__init__.py", include_str!("../../../python/headworks_policy/__init__.py")),
    ("headworks_policy/component.py", include_str!("../../../python/headworks_policy/component.py")),
    ("headworks_policy/events.py", include_str!("../../../python/headworks_policy/events.py")),
    ("headworks_policy/fleet.py", include_str!("../../../python/headworks_policy/fleet.py")),
    ("headworks_policy/host.py", include_str!("../../../python/headworks_policy/host.py")),
    ("headworks_policy/instead.py", include_str!("../../../python/headworks_policy/instead.py")),
    ("headworks_policy/policy.py", include_str!("../../../python/headworks_policy/policy.py")),
    ("headworks_policy/py.typed", include_str!("../../../python/headworks_policy/py.typed")),
    ("headworks_policy/request.py", include_str!("../../../python/headworks_policy/request.py")),
    ("headworks_policy/senses.py", include_str!("../../../python/headworks_policy/senses.py")),
    ("headworks_policy/verdict.py", include_str!("../../../python/headworks_policy/verdict.py")),
];

/// Each file of a language's SDK. The one for Rust reads the contract's text where it stands beside it.
pub(super) fn of(language: Language) -> Vec<(String, &'static str)> {
    let files: &[(&str, &'static str)] = match language {
        Language::Rust => &RUST,
        Language::Ts => &TS,
        Language::Python => &PYTHON,
    };
    let wit = WIT.iter().filter(|_| language == Language::Rust);
    let wit = wit.map(|(name, text)| (format!("policies-wasm/wit/policy@0.1.0/{name}"), *text));
    files.iter().map(|(path, text)| ((*path).to_owned(), *text)).chain(wit).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// Paths below `folder`, of files that an SDK is made of.
    fn sources(folder: &Path, prefix: &str) -> Vec<String> {
        let mut found = Vec::new();
        for entry in folder.read_dir().unwrap() {
            let entry = entry.unwrap();
            let name = format!("{prefix}/{}", entry.file_name().into_string().unwrap());
            if entry.path().is_dir() {
                found.extend(sources(&entry.path(), &name));
            } else {
                found.push(name);
            }
        }
        found.retain(|name| !name.contains("__pycache__"));
        found
    }

    #[track_caller]
    fn check(language: Language, root: &str, folder: &str, prefix: &str) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(root);
        let carried: Vec<String> = of(language).into_iter().map(|(path, _)| path).collect();
        for path in sources(&root.join(folder), folder) {
            assert!(carried.contains(&format!("{prefix}{path}")), "{path} is not carried along");
        }
    }

    #[test]
    fn no_file_of_an_sdk_is_left_out() {
        check(Language::Rust, "rust", "src", "sdk/rust/");
        check(Language::Ts, "js", "src", "");
        check(Language::Python, "python", "headworks_policy", "");
    }
}
