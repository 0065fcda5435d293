//! The contract's text, carried along so that a policy is built anywhere.

use std::fs;
use std::path::Path;

use anyhow::Context;

/// Each file of the contract: its name and its text.
pub const WIT: [(&str, &str); 6] = [
    ("fleet.wit", include_str!("../../../policies-wasm/wit/policy@0.1.0/fleet.wit")),
    ("hooks.wit", include_str!("../../../policies-wasm/wit/policy@0.1.0/hooks.wit")),
    ("request.wit", include_str!("../../../policies-wasm/wit/policy@0.1.0/request.wit")),
    ("senses.wit", include_str!("../../../policies-wasm/wit/policy@0.1.0/senses.wit")),
    ("state.wit", include_str!("../../../policies-wasm/wit/policy@0.1.0/state.wit")),
    ("types.wit", include_str!("../../../policies-wasm/wit/policy@0.1.0/types.wit")),
];

/// Writes them to a folder that holds nothing else.
pub(crate) fn write(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    for (name, text) in WIT {
        fs::write(folder.join(name), text).with_context(|| format!("write {name} into {}", folder.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_of_the_contract_is_left_out() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../policies-wasm/wit/policy@0.1.0");
        let entries = folder.read_dir().unwrap();
        let mut there: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        there.retain(|name| name.ends_with(".wit"));
        there.sort();
        assert_eq!(there, WIT.map(|(name, _)| name));
    }
}
