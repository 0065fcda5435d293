//! Which imports and exports a component may have, by name, before anything of it runs.

use policy_api::Hook;
use wasmtime::{Engine, component::Component};

use crate::{LoadError, state::bounded};

/// The package of the contract.
const PACKAGE: &str = "headworks:policy";
/// Its version.
const VERSION: &str = "0.1.0";
/// Both, as a component's description names them.
pub const CONTRACT: &str = "headworks:policy@0.1.0";

/// Bytes of a stranger's name that a refusal shows.
const NAME_BYTES_MAX: usize = 256;

/// The interface that every policy exports.
pub(crate) const DESCRIBE: &str = "describe";

/// The interfaces that a policy may export besides.
const HOOKS: [&str; 5] = ["configure", "admit", "place", "observe", "snapshot"];

/// Those of them that are asked while requests run; a policy without any has nothing to do.
const ASKED: [&str; 3] = ["admit", "place", "observe"];

const IMPORTS: [&str; 12] = [
    "types",
    "fleet",
    "regions",
    "request",
    "prefix-index",
    "buckets",
    "store",
    "chance",
    "clock",
    "log",
    "telemetry",
    "reply",
];

/// Checks a component's imports and exports by name; answers the hooks it exports, as interface names.
pub(crate) fn check(engine: &Engine, component: &Component) -> Result<Vec<&'static str>, LoadError> {
    let shape = component.component_type();
    for (name, _) in shape.imports(engine) {
        check_import(name)?;
    }
    let mut hooks = Vec::new();
    let (mut describes, mut is_ours) = (false, false);
    for (name, _) in shape.exports(engine) {
        let Some(interface) = ours(name)? else { continue };
        is_ours = true;
        describes |= interface == DESCRIBE;
        hooks.extend(HOOKS.iter().find(|hook| **hook == interface));
    }
    if !is_ours {
        return Err(LoadError::NothingExported { contract: CONTRACT.to_owned() });
    }
    if !describes {
        return Err(LoadError::NoDescribe { export: full_name(DESCRIBE) });
    }
    if !hooks.iter().any(|hook| ASKED.contains(hook)) {
        return Err(LoadError::NoHook);
    }
    Ok(hooks)
}

/// The names of a component's imports and of its exports.
pub(crate) fn names(engine: &Engine, component: &Component) -> [Vec<String>; 2] {
    let shape = component.component_type();
    let imports = shape.imports(engine).map(|(name, _)| name.to_owned()).collect();
    let exports = shape.exports(engine).map(|(name, _)| name.to_owned()).collect();
    [imports, exports]
}

/// A hook's name as the contract spells it, which is its interface's name too.
pub(crate) fn hook_name(hook: Hook) -> &'static str {
    match hook {
        Hook::Configure => "configure",
        Hook::Admit => "admit",
        Hook::Place => "place",
        Hook::Observe => "observe",
        Hook::Snapshot => "snapshot",
    }
}

/// An interface's name with package and version, as it stands in a component.
pub(crate) fn full_name(interface: &str) -> String {
    format!("{PACKAGE}/{interface}@{VERSION}")
}

fn check_import(name: &str) -> Result<(), LoadError> {
    match ours(name)? {
        Some(interface) if IMPORTS.contains(&interface) => Ok(()),
        _ => Err(LoadError::UnknownImport {
            name: bounded(name, NAME_BYTES_MAX).to_owned(),
            hint: hint_for(name).to_owned(),
        }),
    }
}

/// The interface's bare name when it is the contract's, `None` when it is someone else's, an error when the contract's
/// version is another.
fn ours(name: &str) -> Result<Option<&str>, LoadError> {
    let Some(interface) = name.strip_prefix(PACKAGE).and_then(|rest| rest.strip_prefix('/')) else { return Ok(None) };
    match interface.split_once('@') {
        Some((interface, VERSION)) => Ok(Some(interface)),
        Some((_, version)) => Err(wrong_version(&format!("{PACKAGE}@{version}"))),
        None => Err(wrong_version(&format!("{PACKAGE} without a version"))),
    }
}

/// The refusal of a component that was built against another contract.
pub(crate) fn wrong_version(wanted: &str) -> LoadError {
    LoadError::ContractVersion { wanted: bounded(wanted, NAME_BYTES_MAX).to_owned(), offered: CONTRACT.to_owned() }
}

fn hint_for(name: &str) -> &'static str {
    if name.starts_with("wasi:") {
        "; policies have no files, sockets, environment or WASI clocks: build for wasm32-unknown-unknown instead of a \
         WASI target, or stub WASI out"
    } else {
        "; the interfaces it may import are those of the world headworks:policy/senses@0.1.0"
    }
}
