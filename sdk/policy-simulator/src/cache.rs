//! An author's runtimes: components are compiled once, whatever number of tests and runs they are loaded for.

use std::{env, path::PathBuf, sync::Arc};

use policy_runtime::{Host, Limits, LoadError, Runtime};

/// A runtime that keeps compiled components in the user's cache: `$XDG_CACHE_HOME/headworks/compiled`, by default
/// `~/.cache/headworks/compiled`. Where there is no such place, it compiles each time.
pub fn cached_runtime(limits: Limits, host: Arc<dyn Host>, seed: u64) -> Result<Runtime, LoadError> {
    match folder(|name| env::var_os(name).map(PathBuf::from)) {
        Some(folder) => Runtime::with_folder(limits, host, seed, folder),
        None => Runtime::new(limits, host, seed),
    }
}

fn folder(variable: impl Fn(&str) -> Option<PathBuf>) -> Option<PathBuf> {
    // A relative path there is to be ignored, says the XDG Base Directory Specification.
    let absolute = |name: &str| variable(name).filter(|path| path.is_absolute());
    let cache = absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))?;
    Some(cache.join("headworks/compiled"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variables: &[(&str, &str)], expected: Option<&str>) {
        let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
        assert_eq!(folder(variable), expected.map(PathBuf::from));
    }

    #[test]
    fn the_folder_is_where_the_user_keeps_caches() {
        check(&[("XDG_CACHE_HOME", "/c"), ("HOME", "/h")], Some("/c/headworks/compiled"));
        check(&[("HOME", "/h")], Some("/h/.cache/headworks/compiled"));
        check(&[("XDG_CACHE_HOME", "c"), ("HOME", "/h")], Some("/h/.cache/headworks/compiled"));
        check(&[("HOME", "")], None);
        check(&[], None);
    }
}
