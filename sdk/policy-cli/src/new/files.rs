//! The files of a new policy: its language's template, its tests and its SDK.

use guest_build::Language;

use super::sdk;

const README: &str = include_str!("../../templates/README.md");
const GITIGNORE: &str = include_str!("../../templates/gitignore");
const EXAMPLE: &str = include_str!("../../templates/example.toml");
const SCENARIO: &str = include_str!("../../templates/scenario.toml");
const PROXY: &str = include_str!("../../templates/proxy.toml");

const RUST: [(&str, &str); 3] = [
    ("Cargo.toml", include_str!("../../templates/rust/Cargo.toml.in")),
    ("src/lib.rs", include_str!("../../templates/rust/lib.rs.in")),
    ("policy.toml", include_str!("../../templates/rust/policy.toml")),
];

const TS: [(&str, &str); 4] = [
    ("policy.ts", include_str!("../../templates/ts/policy.ts")),
    ("policy.toml", include_str!("../../templates/ts/policy.toml")),
    ("tests/policy.test.ts", include_str!("../../templates/ts/policy.test.ts")),
    ("tsconfig.json", include_str!("../../templates/ts/tsconfig.json")),
];

const PYTHON: [(&str, &str); 4] = [
    ("policy.py", include_str!("../../templates/python/policy.py")),
    ("policy.toml", include_str!("../../templates/python/policy.toml")),
    ("tests/test_policy.py", include_str!("../../templates/python/test_policy.py")),
    ("pyrightconfig.json", include_str!("../../templates/python/pyrightconfig.json")),
];

/// Each file's path in the policy's folder, and its text.
pub(super) fn of(name: &str, language: Language) -> Vec<(String, String)> {
    let (own, entry) = match language {
        Language::Rust => (&RUST[..], "src/lib.rs"),
        Language::Ts => (&TS[..], "policy.ts"),
        Language::Python => (&PYTHON[..], "policy.py"),
    };
    let words = [
        ("{{name}}", name.to_owned()),
        ("{{Type}}", type_name(name)),
        ("{{language}}", language.to_string()),
        ("{{entry}}", entry.to_owned()),
    ];
    let filled = |text: &str| words.iter().fold(text.to_owned(), |text, (mark, word)| text.replace(mark, word));
    let common = [
        ("README.md", README),
        (".gitignore", GITIGNORE),
        ("tests/example.toml", EXAMPLE),
        ("scenario.toml", SCENARIO),
        ("proxy.toml", PROXY),
    ];
    let files = own.iter().copied().chain(common).map(|(path, text)| (path.to_owned(), filled(text)));
    let vendored =
        sdk::of(language).into_iter().map(|(path, text)| (format!("vendor/headworks-policy/{path}"), text.to_owned()));
    files.chain(vendored).collect()
}

/// `first-fit` as a type: `FirstFit`.
fn type_name(name: &str) -> String {
    let capital = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase().to_string() + letters.as_str()).unwrap_or_default()
    };
    name.split('-').map(capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_to_fill_in() {
        for language in [Language::Rust, Language::Ts, Language::Python] {
            for (path, text) in of("first-fit", language) {
                assert!(!text.contains("{{"), "{path}");
            }
        }
    }

    #[test]
    fn a_type_is_named_after_the_policy() {
        assert_eq!(["first-fit", "p2c", "a-2b"].map(type_name), ["FirstFit", "P2c", "A2b"]);
    }
}
