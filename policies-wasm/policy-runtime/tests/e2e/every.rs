//! What holds of every shipped policy.

use std::sync::Arc;

use policy_api::{FleetView, Health, Hook, Placement, Policy, ReplicaRow};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::support::{SHIPPED, SLOT, bytes_of, load, place, prompt, region, row, runtime};

/// The schema of a policy that has a configuration.
fn schema_of(description: &policy_api::Description) -> Option<Value> {
    let has = description.has(Hook::Configure);
    assert_eq!(has, !description.config_schema.is_empty(), "{}", description.name);
    has.then(|| serde_json::from_str(&description.config_schema).unwrap())
}

/// An object of the defaults that a schema names.
fn defaults_of(schema: &Value) -> Value {
    let properties = schema["properties"].as_object().unwrap();
    let defaults =
        properties.iter().filter_map(|(name, property)| Some((name.clone(), property.get("default")?.clone())));
    Value::Object(defaults.collect::<Map<String, Value>>())
}

#[test]
fn each_loads_and_says_who_it_is() {
    let runtime = runtime();
    for name in SHIPPED {
        let policy = load(&runtime, name, "");
        assert_eq!(policy.describe().name, name);
        assert!(policy.describe().has(Hook::Admit) || policy.describe().has(Hook::Place), "{name} decides nothing");
        assert_eq!(policy.faults().total(), 0);
    }
}

#[test]
fn each_takes_the_defaults_that_its_schema_names() {
    let runtime = runtime();
    for name in SHIPPED {
        let Some(schema) = schema_of(load(&runtime, name, "").describe()) else { continue };
        assert_eq!(schema["title"], name);
        let validator = jsonschema::validator_for(&schema).unwrap();
        let defaults = defaults_of(&schema);
        assert!(validator.is_valid(&defaults) && validator.is_valid(&json!({})), "{name}: {defaults}");
        load(&runtime, name, &defaults.to_string());
        for (field, property) in schema["properties"].as_object().unwrap() {
            let is_described = property["description"].as_str().is_some_and(|text| text.ends_with('.'));
            assert!(is_described, "{name}: {field} is described");
        }
    }
}

#[test]
fn each_refuses_a_key_that_it_does_not_know_and_names_it() {
    let runtime = runtime();
    for name in SHIPPED {
        let error = runtime.load(SLOT, &bytes_of(name), r#"{"no_such_key":1}"#, None).unwrap_err().to_string();
        let takes_none = name == "round-robin";
        assert!(error.contains(if takes_none { "takes none" } else { "no_such_key" }), "{name}: {error}");
    }
}

#[test]
fn each_refuses_what_its_schema_refuses() {
    let runtime = runtime();
    for (name, config, field) in [
        ("session-affinity", r#"{"load_factor":0.5}"#, "load_factor"),
        ("prefix-tree", r#"{"cache_threshold":2}"#, "cache_threshold"),
        ("prefix-tree", r#"{"mode":"sglang","std_factor":1}"#, "std_factor"),
        ("rate-limit", r#"{"rules":[{},{"requests_per_minute":0}]}"#, "rules.1.requests_per_minute"),
        ("cross-region-push", r#"{"queue_max":-1}"#, "queue_max"),
        ("kv-cost", r#"{"temperature":-1}"#, "temperature"),
        ("lmetric", r#"{"batch_over_mean_max":"2"}"#, "batch_over_mean_max"),
        ("fair-share", r#"{"shares":{"acme":0}}"#, "shares.acme"),
        ("llumnix-dispatch", r#"{"high_priority_min":0}"#, "high_priority_min"),
    ] {
        let error = runtime.load(SLOT, &bytes_of(name), config, None).unwrap_err().to_string();
        assert!(error.contains(field), "{name}: {error}");
    }
}

/// Rows by chance, some of which take no work.
fn rows() -> impl Strategy<Value = Vec<ReplicaRow>> {
    let one = (0_u32..40, 0_u32..3, 0_u32..3, any::<bool>(), 0_u32..1200, 0_u32..5000);
    proptest::collection::vec(one, 0..12).prop_map(|rows| {
        let row_of = |(id, (running, waiting, health, draining, used, prefill_tokens))| ReplicaRow {
            waiting,
            health: [Health::Unknown, Health::Healthy, Health::Unhealthy][health as usize],
            draining,
            kv_blocks_used: used,
            prefill_tokens,
            ..row(id, running)
        };
        (0..).zip(rows).map(row_of).collect()
    })
}

#[test]
fn none_names_a_target_that_cannot_be_had() {
    let runtime = runtime();
    for name in SHIPPED {
        let policy = load(&runtime, name, "");
        if !policy.describe().has(Hook::Place) {
            continue;
        }
        let version = std::cell::Cell::new(0);
        let config = proptest::test_runner::Config { failure_persistence: None, ..ProptestConfig::with_cases(64) };
        proptest!(config, |(rows in rows(), id in 0_u64..50, letter in b'a'..b'e', blocks in 0_usize..6, hop in 0_u32..2)| {
            version.set(version.get() + 1);
            let regions = [region(0, 1, 0), region(1, 1, 90), region(2, 0, 10)];
            let fleet = Arc::new(FleetView::of(version.get(), &rows, &regions));
            let facts = policy_api::RequestFacts { hop, ..prompt(id, letter, blocks) };
            match place(&policy, facts, &fleet).verdict {
                Placement::Replica(id) => {
                    let row = fleet.row_of(id).expect("it is in the fleet");
                    prop_assert!(fleet.takes_work(row), "{name} chose {id:?}");
                }
                Placement::Region(id) => prop_assert!(hop == 0 && id.0 == 1, "{name} chose {id:?}"),
                Placement::Hold | Placement::Pass => {}
                Placement::Reject(denial) => panic!("{name}: {denial:?}"),
            }
        });
    }
}
