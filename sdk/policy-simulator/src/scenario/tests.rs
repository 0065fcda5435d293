//! The shipped scenarios are sound, and what is wrong in one is named.

use super::*;

const SHIPPED: [(&str, &str); 4] = [
    ("demo", include_str!("../../../../benches/scenarios/demo.toml")),
    ("shared-prefix", include_str!("../../../../benches/scenarios/shared-prefix.toml")),
    ("multi-turn", include_str!("../../../../benches/scenarios/multi-turn.toml")),
    ("mixed-tenants", include_str!("../../../../benches/scenarios/mixed-tenants.toml")),
];

#[track_caller]
fn check(from: &str, to: &str, wanted: &str) {
    let text = SHIPPED[3].1.replace(from, to);
    assert_ne!(text, SHIPPED[3].1, "the change must apply");
    let error = Scenario::parse(&text, "mixed-tenants.toml").expect_err("must be refused").to_string();
    assert!(error.contains(wanted), "{error}");
}

#[test]
fn the_shipped_scenarios_are_sound() {
    for (name, text) in SHIPPED {
        assert_eq!(Scenario::parse(text, name).unwrap().name, name);
    }
}

#[test]
fn a_scenario_without_the_simulators_table_has_its_defaults() {
    assert_eq!(Scenario::parse(SHIPPED[0].1, "demo").unwrap().simulate, Simulate::default());
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    check("conversations_per_s", "conversation_per_s", "unknown field `conversation_per_s`");
    check("conversations_per_s", "conversation_per_s", "line ");
}

#[test]
fn a_number_out_of_range_is_named() {
    check("share = 3", "share = 0", "simulate.tenants must be one or more, each with a share above 0");
    check("replicas = 4", "replicas = 0", "fleet.replicas must be 1 to 1024");
    check("[simulate]", "[simulate]\nturns = [3, 2]", "simulate.turns must be [from, to] with 1 <= from <= to");
    check("replica = 1, to = \"down\"", "replica = 9, to = \"down\"", "must be about a replica that the fleet has");
    check("region = \"eu\"", "region = \"asia\"", "must be about a replica that the fleet has");
}
