//! Turns uploaded bytes into a component that is ready to take its predecessor's place, or into a sentence that says
//! why not.

use std::sync::Arc;

use policy_api::{Description, Hook, Mode};

use crate::{
    LoadError, Prepared,
    blueprint::Blueprint,
    compiled::{self, Compiled},
    contract,
    instance::{Instance, Scene},
    recording::Who,
    runtime::Core,
    schema, self_check,
    slot::Slot,
    state::bounded,
    wit::{Described, Hooks},
};

/// What an uploader gives.
pub(crate) struct Upload<'a> {
    pub(crate) slot: &'a str,
    pub(crate) component: &'a [u8],
    pub(crate) config_json: &'a str,
}

/// Characters of a policy's name and of its version.
const NAME_CHARS_MAX: usize = 64;
/// Bytes of a configuration's schema.
const SCHEMA_BYTES_MAX: usize = 64 << 10;

/// Each step refuses what no later step should see.
pub(crate) fn prepare(core: &Arc<Core>, upload: &Upload<'_>) -> Result<Prepared, LoadError> {
    let compiled = compiled(core, upload.slot, upload.component)?;
    let exported = contract::check(&core.engine, &compiled.component)?;
    let mut blueprint = blueprint(core, upload, &compiled, &exported)?;
    let description = describe(core, &blueprint.quiet())?;
    blueprint.mode = description.mode;
    checked_config(&blueprint)?;
    schema::check(&description.config_schema, &blueprint.config_json)?;
    self_check::run(core, &blueprint.quiet(), &description)?;
    Ok(Prepared {
        core: Arc::clone(core),
        slot: upload.slot.to_owned(),
        blueprint,
        description,
        digest: compiled::shown(&compiled.digest),
        bytes: upload.component.len(),
    })
}

/// Bytes that are a component, compiled.
pub(crate) fn compiled(core: &Core, slot: &str, bytes: &[u8]) -> Result<Arc<Compiled>, LoadError> {
    check_kind(core, bytes)?;
    core.compiled.get(slot, bytes, &*core.host).map_err(|error| {
        let message = bounded(&error.root_cause().to_string(), core.limits.message_bytes_max).to_owned();
        LoadError::NotWasm { message }
    })
}

fn check_kind(core: &Core, bytes: &[u8]) -> Result<(), LoadError> {
    let bytes_max = core.limits.component_bytes_max;
    if bytes.len() > bytes_max {
        return Err(LoadError::TooLarge { bytes: bytes.len(), bytes_max });
    }
    let not_wasm = |message: &str| Err(LoadError::NotWasm { message: message.to_owned() });
    match bytes {
        [] => not_wasm("there are no bytes at all"),
        [0, b'a', b's', b'm', _, _, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', _, _, 0, 0, ..] => Err(LoadError::CoreModule),
        [0, b'a', b's', b'm', ..] => not_wasm("its header is cut short or of an unknown kind"),
        _ => not_wasm("it does not begin with WebAssembly's magic number \\0asm"),
    }
}

/// Links the component, for now with a slot of its own, so that trying it out leaves no trace.
fn blueprint(
    core: &Core,
    upload: &Upload<'_>,
    compiled: &Arc<Compiled>,
    exported: &[&str],
) -> Result<Blueprint, LoadError> {
    let pre = core.linker.instantiate_pre(&compiled.component).map_err(|error| LoadError::WrongImport {
        contract: contract::CONTRACT.to_owned(),
        message: bounded(&format!("{error:#}"), core.limits.message_bytes_max).to_owned(),
    })?;
    let hooks = Hooks::find(&pre, exported).map_err(|error| error.into_load_error())?;
    Ok(Blueprint {
        compiled: Arc::clone(compiled),
        pre,
        hooks: Arc::new(hooks),
        slot: Arc::new(Slot::new(upload.slot, &core.limits)),
        host: Arc::clone(&core.host),
        config_json: checked_json(upload.config_json)?,
        who: Arc::new(Who {
            slot: upload.slot.to_owned(),
            name: String::new(),
            version: String::new(),
            digest: String::new(),
            config_json: String::new(),
            mode: Mode::Pooled,
            component: upload.component.into(),
        }),
        mode: Mode::Pooled,
        inherited: None,
        memory_bytes: Arc::default(),
    })
}

pub(crate) fn checked_json(json: &str) -> Result<String, LoadError> {
    if json.trim().is_empty() {
        return Ok("{}".to_owned());
    }
    match serde_json::from_str::<serde_json::Value>(json) {
        Ok(serde_json::Value::Object(_)) => Ok(json.to_owned()),
        Ok(_) => Err(LoadError::BadConfig { message: "it must be a JSON object".to_owned() }),
        Err(error) => Err(LoadError::BadConfig { message: format!("it is not JSON: {error}") }),
    }
}

const TAKES_NONE: &str = "the policy takes none, for it has no configure hook; remove the configuration, or add configure to \
                          what the policy exports";

/// A configuration for a policy that reads none is a mistake that would go unnoticed.
pub(crate) fn checked_config(blueprint: &Blueprint) -> Result<(), LoadError> {
    let takes_one = blueprint.hooks.list().contains(&Hook::Configure);
    if takes_one || blueprint.config_json.chars().all(|char| char.is_whitespace() || "{}".contains(char)) {
        return Ok(());
    }
    Err(LoadError::BadConfig { message: TAKES_NONE.to_owned() })
}

fn describe(core: &Arc<Core>, blueprint: &Blueprint) -> Result<Description, LoadError> {
    let budget = core.load_budget();
    let mut instance = Instance::bare(core, blueprint, budget).map_err(|error| error.into_load_error())?;
    let described = instance
        .call(budget, Scene::of_host(core), |exports, store| exports.describe(store))
        .map_err(|stop| stop.into_load_error(contract::DESCRIBE))?;
    check_description(described, &blueprint.hooks)
}

fn check_description(described: Described, hooks: &Hooks) -> Result<Description, LoadError> {
    let Described { name, version, contract, hooks: claimed, mode, config_schema } = described;
    if contract != contract::CONTRACT {
        return Err(contract::wrong_version(bounded(&contract, NAME_CHARS_MAX)));
    }
    check_word("name", &name)?;
    check_word("version", &version)?;
    let there = hooks.list();
    if let Some(missing) = claimed.iter().find(|hook| !there.contains(hook)) {
        let hook = contract::hook_name(*missing);
        return Err(LoadError::HookMissing { hook, export: contract::full_name(hook) });
    }
    let schema_is_json =
        config_schema.is_empty() || serde_json::from_str::<serde::de::IgnoredAny>(&config_schema).is_ok();
    if config_schema.len() > SCHEMA_BYTES_MAX || !schema_is_json {
        let message = format!("config-schema must be JSON of at most {SCHEMA_BYTES_MAX} bytes, or empty");
        return Err(LoadError::BadDescription { message });
    }
    if !config_schema.is_empty() && !there.contains(&Hook::Configure) {
        return Err(LoadError::SchemaWithoutConfigure);
    }
    Ok(Description { name, version, hooks: there, mode, config_schema })
}

fn check_word(field: &str, word: &str) -> Result<(), LoadError> {
    let fits = (1..=NAME_CHARS_MAX).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.+".contains(&byte));
    if fits {
        return Ok(());
    }
    let message = format!("{field} must be 1 to {NAME_CHARS_MAX} letters, digits, `-`, `_`, `.` or `+`");
    Err(LoadError::BadDescription { message })
}
