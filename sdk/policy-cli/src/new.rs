//! `headworks policy new`: a folder with a policy that builds at once, its SDK and its tests in it.

mod files;
mod sdk;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use guest_build::Language;

/// What to make.
#[derive(Debug, clap::Args)]
#[command(after_help = "The folder holds the policy, its SDK and a table of tests. Then, in it:\n\n  \
    headworks policy build\n  headworks policy check policy.wasm\n  headworks policy test --policy policy.wasm")]
pub struct Args {
    /// The policy's name, and its folder's: lower-case letters, digits and `-`
    name: String,
    /// What to write it in
    #[arg(long, value_enum, default_value_t = Lang::Rust)]
    lang: Lang,
    /// The folder to make [default: NAME]
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// A language by its short name.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Lang {
    Rust,
    Ts,
    Python,
}

/// Letters of a name, as the contract bounds it.
const NAME_CHARS_MAX: usize = 64;

/// Names that no crate may have, and the SDK's own.
const TAKEN: &str = "headworks-policy alloc async const core enum match mod move proc-macro self std struct test type";

/// Makes the folder and says what comes next.
pub fn run(args: Args) -> anyhow::Result<()> {
    let Args { name, lang, folder } = args;
    check_name(&name)?;
    let language = match lang {
        Lang::Rust => Language::Rust,
        Lang::Ts => Language::Ts,
        Lang::Python => Language::Python,
    };
    let folder = folder.unwrap_or_else(|| PathBuf::from(&name));
    if folder.exists() {
        bail!("{} is there already; choose another name, or another folder with --folder", folder.display());
    }
    write(&folder, &files::of(&name, language))?;
    let shown = folder.display();
    println!("made {shown}, a policy in {language}; build it with `headworks policy build {shown}`");
    Ok(())
}

fn check_name(name: &str) -> anyhow::Result<()> {
    let letters = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let starts_well = name.starts_with(|char: char| char.is_ascii_lowercase());
    let joined_well = !name.ends_with('-') && !name.contains("--");
    if !letters || !starts_well || !joined_well || name.len() > NAME_CHARS_MAX {
        bail!(
            "{name:?} cannot be a policy's name; use lower-case letters, digits and single `-` between them, beginning \
             with a letter, at most {NAME_CHARS_MAX}"
        );
    }
    if TAKEN.split(' ').any(|taken| taken == name) {
        bail!("{name:?} is a name with a meaning of its own; choose another");
    }
    Ok(())
}

fn write(folder: &Path, files: &[(String, String)]) -> anyhow::Result<()> {
    for (name, text) in files {
        let path = folder.join(name);
        let parent = path.parent().context("a file has a folder")?;
        fs::create_dir_all(parent).with_context(|| format!("make {}", parent.display()))?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for good in ["first-fit", "a", "p2c"] {
            check_name(good).unwrap();
        }
        for bad in ["", "First", "2fit", "first_fit", "-fit", "fit-", "a--b", "../fit", "test", &"a".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_folder_that_is_there_is_left_alone() {
        let room = tempfile::tempdir().unwrap();
        let args = Args { name: "fit".to_owned(), lang: Lang::Ts, folder: Some(room.path().to_owned()) };
        let error = run(args).unwrap_err().to_string();
        assert!(error.contains("is there already; choose another name"), "{error}");
        assert_eq!(room.path().read_dir().unwrap().count(), 0);
    }
}
