//! Runs an author's own unit tests, which need no component.

use std::path::Path;

use anyhow::{Context, bail};

use crate::project::{Language, Project};
use crate::{python, rust, ts};

/// Runs them with the language's own runner, whose output is shown.
pub fn unit(project: &Project) -> anyhow::Result<()> {
    match project.language {
        Language::Rust => rust::unit(project),
        Language::Ts => {
            expect_tests(&project.folder, "*.test.ts", |name| {
                [".test.ts", ".test.js", ".test.mjs"].iter().any(|end| name.ends_with(end))
            })?;
            ts::unit(project)
        }
        Language::Python => {
            expect_tests(&project.folder, "test_*.py", |name| name.starts_with("test_") && name.ends_with(".py"))?;
            python::unit(project)
        }
    }
}

/// Runners differ in what they think of no tests at all.
fn expect_tests(folder: &Path, pattern: &str, is_test: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let tests = folder.join("tests");
    let entries = tests.read_dir().with_context(|| format!("read the folder {}", tests.display()))?;
    if entries.flatten().any(|entry| is_test(&entry.file_name().to_string_lossy())) {
        return Ok(());
    }
    bail!("{} has no {pattern}; a unit test is a file of that name", tests.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_without_unit_tests_says_what_they_are_called() {
        let folder = tempfile::tempdir().unwrap();
        let check = || expect_tests(folder.path(), "test_*.py", |name| name.starts_with("test_"));
        assert!(format!("{:#}", check().unwrap_err()).contains("read the folder"));
        std::fs::create_dir(folder.path().join("tests")).unwrap();
        assert!(check().unwrap_err().to_string().contains("has no test_*.py"));
        std::fs::write(folder.path().join("tests/test_policy.py"), "").unwrap();
        check().unwrap();
    }
}
