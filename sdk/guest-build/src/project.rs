//! A policy's folder, as its policy.toml describes it.

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use anyhow::{Context, bail};
use serde::Deserialize;

/// The file that makes a folder a policy.
pub const MANIFEST: &str = "policy.toml";

/// A policy's folder, checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Project {
    /// The folder, absolute.
    pub folder: PathBuf,
    /// What the policy is written in.
    pub language: Language,
    /// Its module, below the folder; for Rust the crate itself says.
    pub entry: String,
    /// Where the SDK is; for Rust the crate itself says.
    pub sdk: PathBuf,
}

/// What a policy is written in.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// A crate.
    Rust,
    /// A module in TypeScript or JavaScript.
    Ts,
    /// A module in Python.
    Python,
}

/// The file as typed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    language: Language,
    entry: Option<String>,
    #[serde(default = "vendored")]
    sdk: PathBuf,
}

/// Where `headworks policy new` puts the SDK.
fn vendored() -> PathBuf {
    "vendor/headworks-policy".into()
}

impl Project {
    /// Reads the folder's policy.toml.
    pub fn read(folder: &Path) -> anyhow::Result<Project> {
        let path = folder.join(MANIFEST);
        if !path.exists() {
            bail!("{} has no {MANIFEST}; `headworks policy new NAME` makes a policy's folder", folder.display());
        }
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let file = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or(1, |span| text[..span.start].matches('\n').count() + 1);
            anyhow::anyhow!("{}:{line}: {}", path.display(), error.message().trim())
        })?;
        Project::of(&folder.canonicalize().with_context(|| format!("open {}", folder.display()))?, file)
    }

    fn of(folder: &Path, File { language, entry, sdk }: File) -> anyhow::Result<Project> {
        let entry = match language {
            Language::Rust => String::new(),
            Language::Ts => entry.unwrap_or_else(|| "policy.ts".to_owned()),
            Language::Python => entry.unwrap_or_else(|| "policy.py".to_owned()),
        };
        if language == Language::Python && !is_module(&entry) {
            bail!("{MANIFEST}: entry must be a Python file in the folder itself, such as policy.py, not {entry:?}");
        }
        if language != Language::Rust && !folder.join(&entry).is_file() {
            bail!("{} is not there; entry in {MANIFEST} names the policy's module", folder.join(&entry).display());
        }
        Ok(Project { folder: folder.to_owned(), language, entry, sdk: folder.join(sdk) })
    }

    /// A file of the SDK, or a sentence that says what to change.
    pub(crate) fn sdk_file(&self, name: &str) -> anyhow::Result<PathBuf> {
        let path = self.sdk.join(name);
        if !path.exists() {
            bail!("the SDK has no {name} in {}; sdk in {MANIFEST} names its folder", self.sdk.display());
        }
        path.canonicalize().with_context(|| format!("open {}", path.display()))
    }
}

fn is_module(entry: &str) -> bool {
    let name = entry.strip_suffix(".py").unwrap_or_default();
    !name.is_empty()
        && name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
        && !name.starts_with(|char: char| char.is_ascii_digit())
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Language::Rust => "Rust",
            Language::Ts => "TypeScript",
            Language::Python => "Python",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(manifest: &str, expected: Result<(Language, &str), &str>) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(MANIFEST), manifest).unwrap();
        for module in ["policy.ts", "policy.py", "other.py", "a-b.py"] {
            fs::write(folder.path().join(module), "").unwrap();
        }
        match (Project::read(folder.path()), expected) {
            (Ok(project), expected) => assert_eq!(Ok((project.language, project.entry.as_str())), expected),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (Err(error), Ok(_)) => panic!("{error}"),
        }
    }

    #[test]
    fn a_folder_says_what_it_is_written_in() {
        check("language = \"rust\"", Ok((Language::Rust, "")));
        check("language = \"ts\"", Ok((Language::Ts, "policy.ts")));
        check("language = \"python\"\nentry = \"other.py\"", Ok((Language::Python, "other.py")));
    }

    #[test]
    fn what_cannot_be_built_is_told() {
        check("", Err("policy.toml:1: missing field `language`"));
        check("\nlanguage = \"cobol\"", Err("policy.toml:2: unknown variant `cobol`"));
        check("language = \"ts\"\nentri = \"policy.ts\"", Err("policy.toml:2: unknown field `entri`"));
        check("language = \"ts\"\nentry = \"none.ts\"", Err("none.ts is not there"));
        check("language = \"python\"\nentry = \"a-b.py\"", Err("entry must be a Python file"));
    }

    #[test]
    fn a_folder_that_is_no_policy_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let error = Project::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("has no policy.toml; `headworks policy new NAME`"), "{error}");
    }
}
