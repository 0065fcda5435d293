//! The policy slots as documents: their versions, the canary, and what was done with them.

use std::sync::Arc;

use dispatch::{Budget, FALLBACK_NAME, OnError, Pattern};
use policy_api::{Hook, Mode, Policy};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::policies::{Entry, Origin, Slot, SlotTrial, Version};
use crate::proxy::Proxy;

#[derive(Serialize)]
pub(in crate::admin) struct PoliciesDoc {
    chain: Vec<SlotDoc>,
    fallback: &'static str,
}

#[derive(Serialize)]
pub(in crate::admin) struct SlotDoc {
    slot: String,
    scope: ScopeDoc,
    on_error: OnErrorDoc,
    config: Arc<RawValue>,
    config_schema: Option<Arc<RawValue>>,
    canary: Option<CanaryDoc>,
    versions: Vec<VersionDoc>,
    history: Vec<EntryDoc>,
}

#[derive(Serialize)]
struct ScopeDoc {
    models: Vec<String>,
    tenants: Vec<String>,
    endpoints: Vec<String>,
}

#[derive(Serialize)]
struct OnErrorDoc {
    admit: &'static str,
    place: &'static str,
}

#[derive(Serialize)]
struct CanaryDoc {
    version: u32,
    percent: u8,
    since_unix_ms: u64,
    requests: u64,
    faults: u64,
    budget: BudgetDoc,
}

#[derive(Serialize)]
struct BudgetDoc {
    faults_permille_max: u32,
    call_us_p99_max: Option<u32>,
    fuel_max: Option<u64>,
    requests_min: u32,
    window_calls: u32,
}

#[derive(Serialize)]
struct VersionDoc {
    number: u32,
    state: &'static str,
    name: String,
    version: String,
    digest: String,
    bytes: usize,
    hooks: Vec<&'static str>,
    mode: &'static str,
    config: Arc<RawValue>,
    signed_by: Option<String>,
    source: &'static str,
    source_detail: Option<String>,
    by: String,
    loaded_unix_ms: u64,
    activated_unix_ms: u64,
    decisions_total: u64,
    faults_total: u64,
    last_fault: Option<String>,
    call_us: CallTimesDoc,
    memory_bytes: u64,
}

#[derive(Serialize)]
struct CallTimesDoc {
    p50: Option<f64>,
    p99: Option<f64>,
}

#[derive(Serialize)]
struct EntryDoc {
    time_ms: u64,
    what: &'static str,
    by: String,
    from: Option<u32>,
    to: Option<u32>,
    digest: Option<String>,
    why: Option<String>,
}

impl PoliciesDoc {
    pub fn of(proxy: &Proxy) -> PoliciesDoc {
        let slots = proxy.policies.list();
        let shown = slots.iter().filter(|slot| !slot.versions.is_empty());
        PoliciesDoc { chain: shown.map(SlotDoc::of).collect(), fallback: FALLBACK_NAME }
    }
}

impl SlotDoc {
    pub fn of(slot: &Slot) -> SlotDoc {
        let (rules, active) = (&slot.rules, slot.active_version());
        let scope = &rules.scope;
        let texts = |patterns: &[Pattern]| patterns.iter().map(|pattern| pattern.as_str().to_owned()).collect();
        let canary = slot.trial.as_ref().zip(slot.canary_version());
        SlotDoc {
            slot: slot.name.clone(),
            scope: ScopeDoc {
                models: texts(&scope.models),
                tenants: texts(&scope.tenants),
                endpoints: texts(&scope.endpoints),
            },
            on_error: OnErrorDoc { admit: on_error(rules.on_admit_error), place: on_error(rules.on_place_error) },
            config: active.map_or_else(nothing, |version| version.config.clone()),
            config_schema: active.and_then(|version| version.config_schema.clone()),
            canary: canary.map(|(trial, version)| CanaryDoc::of(trial, version, &rules.budget)),
            versions: slot.versions.iter().rev().map(VersionDoc::of).collect(),
            history: slot.history.iter().map(EntryDoc::of).collect(),
        }
    }
}

fn nothing() -> Arc<RawValue> {
    RawValue::from_string("{}".to_owned()).expect("it is JSON").into()
}

fn on_error(meaning: OnError) -> &'static str {
    match meaning {
        OnError::Fallback => "fallback",
        OnError::Reject => "reject",
    }
}

impl CanaryDoc {
    fn of(trial: &SlotTrial, version: &Version, budget: &Budget) -> CanaryDoc {
        let Budget { faults_permille_max, call_us_p99_max, fuel_max, requests_min, window_calls } = *budget;
        CanaryDoc {
            version: trial.version,
            percent: trial.percent,
            since_unix_ms: trial.since_unix_ms,
            requests: version.tally.calls_total(),
            faults: version.tally.faults_total(),
            budget: BudgetDoc { faults_permille_max, call_us_p99_max, fuel_max, requests_min, window_calls },
        }
    }
}

impl VersionDoc {
    fn of(version: &Version) -> VersionDoc {
        let description = version.component.describe();
        let Origin { source, detail, signed_by, signature: _ } = version.origin.clone();
        let times = version.tally.reading().times;
        VersionDoc {
            number: version.number,
            state: version.standing.word(),
            name: description.name.clone(),
            version: description.version.clone(),
            digest: version.component.digest().to_owned(),
            bytes: version.component.bytes(),
            hooks: description.hooks.iter().map(hook_name).collect(),
            mode: match description.mode {
                Mode::Pooled => "pooled",
                Mode::Single => "single",
            },
            config: version.config.clone(),
            signed_by,
            source,
            source_detail: detail,
            by: version.by.clone(),
            loaded_unix_ms: version.loaded_unix_ms,
            activated_unix_ms: version.activated_unix_ms,
            decisions_total: version.tally.decisions_total(),
            faults_total: version.tally.faults_total(),
            last_fault: version.tally.last_fault(),
            call_us: CallTimesDoc { p50: times.quantile_us(0.5), p99: times.quantile_us(0.99) },
            memory_bytes: version.component.memory_bytes(),
        }
    }
}

impl EntryDoc {
    fn of(entry: &Entry) -> EntryDoc {
        let Entry { time_ms, what, by, from, to, digest, why } = entry.clone();
        EntryDoc { time_ms, what: what.word(), by, from, to, digest, why }
    }
}

pub(in crate::admin) fn hook_name(hook: &Hook) -> &'static str {
    match hook {
        Hook::Configure => "configure",
        Hook::Admit => "admit",
        Hook::Place => "place",
        Hook::Observe => "observe",
        Hook::Snapshot => "snapshot",
    }
}
