//! The policies of the configuration file: each `[[policy]]` with its rules, and what `[policies]` says of all.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dispatch::{Budget, OnError, Pattern, Quarantine, Scope};
use serde::de::{MapAccess, Visitor, value::MapAccessDeserializer};
use serde::{Deserialize, Deserializer};

use crate::config::file::{Wrong, wrong};
use crate::config::{Limits, PolicySlot, SlotRules};
use crate::policies::Place;

/// Names or patterns in one list.
const PATTERNS_MAX: usize = 256;
/// Bytes of one of them.
const PATTERN_BYTES_MAX: usize = 256;

/// `[policies]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PoliciesFile {
    pub watch: Option<PathBuf>,
}

/// `[[policy]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PolicyFile {
    slot: String,
    component: String,
    #[serde(default)]
    config: toml::Table,
    #[serde(default)]
    on_error: OnErrorFile,
    #[serde(default)]
    models: Vec<String>,
    #[serde(default)]
    tenants: Vec<String>,
    #[serde(default)]
    endpoints: Vec<String>,
    #[serde(default)]
    routes_only: bool,
    #[serde(default)]
    budget: BudgetFile,
    #[serde(default)]
    quarantine: QuarantineFile,
}

/// One word for both hooks, or one for each.
#[derive(Default)]
struct OnErrorFile {
    admit: Option<OnErrorWord>,
    place: Option<OnErrorWord>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OnErrorWord {
    Fallback,
    Reject,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct OnErrorTable {
    admit: Option<OnErrorWord>,
    place: Option<OnErrorWord>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BudgetFile {
    faults_permille_max: Option<u32>,
    call_us_p99_max: Option<u32>,
    fuel_max: Option<u64>,
    requests_min: Option<u32>,
    window_calls: Option<u32>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct QuarantineFile {
    faults_max: Option<u32>,
    window_calls: Option<u32>,
}

impl<'de> Deserialize<'de> for OnErrorFile {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<OnErrorFile, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = OnErrorFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"fallback\", \"reject\", or a table with `admit` and `place`")
            }

            fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<OnErrorFile, E> {
                let word = match word {
                    "fallback" => OnErrorWord::Fallback,
                    "reject" => OnErrorWord::Reject,
                    other => return Err(E::unknown_variant(other, &["fallback", "reject"])),
                };
                Ok(OnErrorFile { admit: Some(word), place: Some(word) })
            }

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<OnErrorFile, M::Error> {
                let OnErrorTable { admit, place } = OnErrorTable::deserialize(MapAccessDeserializer::new(map))?;
                Ok(OnErrorFile { admit, place })
            }
        }
        from.deserialize_any(Either)
    }
}

impl Default for SlotRules {
    /// A policy that cannot say who may enter lets nobody in, one that cannot say where to go leaves it to the next.
    fn default() -> SlotRules {
        SlotRules {
            scope: Arc::default(),
            on_admit_error: OnError::Reject,
            on_place_error: OnError::Fallback,
            budget: Budget::default(),
            quarantine: Quarantine::default(),
        }
    }
}

/// Every `[[policy]]`, checked.
pub(super) fn check(files: Vec<PolicyFile>, folder: &Path, limits: &Limits) -> Result<Vec<PolicySlot>, Wrong> {
    let slots_max = limits.slots_max;
    if files.len() > slots_max {
        return wrong("policy", format!("has {} slots; `limits.slots_max` allows {slots_max}", files.len()));
    }
    let mut names = BTreeSet::new();
    files.into_iter().map(|file| file.check(folder, limits, &mut names)).collect()
}

impl PolicyFile {
    fn check(self, folder: &Path, limits: &Limits, names: &mut BTreeSet<String>) -> Result<PolicySlot, Wrong> {
        let PolicyFile {
            slot,
            component,
            config,
            on_error,
            models,
            tenants,
            endpoints,
            routes_only,
            budget,
            quarantine,
        } = self;
        if !is_slot_name(&slot) {
            return wrong("policy.slot", format!("{slot:?} must be {SLOT_NAME}"));
        }
        if !names.insert(slot.clone()) {
            return wrong("policy.slot", format!("{slot:?} is used twice; every slot needs a name of its own"));
        }
        let config_json = match config.is_empty() {
            true => String::new(),
            false => serde_json::to_string(&config).expect("a TOML table has string keys"),
        };
        let scope = Scope {
            models: patterns("policy.models", models)?,
            tenants: patterns("policy.tenants", tenants)?,
            endpoints: patterns("policy.endpoints", endpoints)?,
            is_by_name: routes_only,
        };
        let default = SlotRules::default();
        let meant = |word: Option<OnErrorWord>, default| match word {
            Some(OnErrorWord::Fallback) => OnError::Fallback,
            Some(OnErrorWord::Reject) => OnError::Reject,
            None => default,
        };
        let rules = SlotRules {
            scope: Arc::new(scope),
            on_admit_error: meant(on_error.admit, default.on_admit_error),
            on_place_error: meant(on_error.place, default.on_place_error),
            budget: budget.check(limits)?,
            quarantine: quarantine.check()?,
        };
        Ok(PolicySlot { slot, component: place(&component, folder)?, config_json, rules })
    }
}

/// A file, or `oci://` and a reference.
fn place(component: &str, folder: &Path) -> Result<Place, Wrong> {
    if !component.starts_with("oci://") {
        return Ok(Place::File(folder.join(component)));
    }
    match component.parse() {
        Ok(reference) => Ok(Place::Oci(Box::new(reference))),
        Err(error) => wrong("policy.component", format!("cannot be used: {error}")),
    }
}

fn patterns(key: &str, words: Vec<String>) -> Result<Vec<Pattern>, Wrong> {
    if words.len() > PATTERNS_MAX {
        return wrong(key, format!("has {} entries; the most is {PATTERNS_MAX}", words.len()));
    }
    let fits = |word: &String| (1..=PATTERN_BYTES_MAX).contains(&word.len());
    if let Some(word) = words.iter().find(|word| !fits(word)) {
        return wrong(key, format!("has {word:?}; each must be 1 to {PATTERN_BYTES_MAX} bytes, with `*` for any text"));
    }
    Ok(words.into_iter().map(Pattern::new).collect())
}

impl BudgetFile {
    fn check(self, limits: &Limits) -> Result<Budget, Wrong> {
        let default = Budget::default();
        let BudgetFile { faults_permille_max, call_us_p99_max, fuel_max, requests_min, window_calls } = self;
        let budget = Budget {
            faults_permille_max: faults_permille_max.unwrap_or(default.faults_permille_max),
            call_us_p99_max: call_us_p99_max.or(default.call_us_p99_max),
            fuel_max,
            requests_min: requests_min.unwrap_or(default.requests_min),
            window_calls: window_calls.unwrap_or(default.window_calls),
        };
        if fuel_max.is_some() && limits.policy_fuel_max.is_none() {
            return wrong("policy.budget.fuel_max", "needs fuel to be metered: set `limits.policy_fuel_max`");
        }
        if budget.requests_min == 0 || budget.window_calls < budget.requests_min {
            return wrong(
                "policy.budget.window_calls",
                format!(
                    "is {}; it must be at least `requests_min`, which is {} and at least 1",
                    budget.window_calls, budget.requests_min
                ),
            );
        }
        Ok(budget)
    }
}

impl QuarantineFile {
    fn check(self) -> Result<Quarantine, Wrong> {
        let default = Quarantine::default();
        let QuarantineFile { faults_max, window_calls } = self;
        let faults_max = faults_max.unwrap_or(default.faults_max);
        let window_calls = window_calls.unwrap_or(default.window_calls.max(faults_max));
        // The faults are remembered one by one.
        if !(1..=10_000).contains(&faults_max) {
            return wrong("policy.quarantine.faults_max", format!("is {faults_max}; it must be 1 to 10000"));
        }
        if window_calls < faults_max {
            let message = format!("is {window_calls}, in which {faults_max} faults (`faults_max`) cannot happen");
            return wrong("policy.quarantine.window_calls", message);
        }
        Ok(Quarantine { faults_max, window_calls })
    }
}

/// What may name a slot.
pub(crate) const SLOT_NAME: &str = "1 to 64 of a-z, A-Z, 0-9, `-`, `_` and `.`, and not `.` or `..`";

/// Whether a slot may have this name.
pub(crate) fn is_slot_name(name: &str) -> bool {
    // Clients take those two for steps in a path, and ask for another one.
    let is_a_step = matches!(name, "." | "..");
    !is_a_step
        && (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}
