//! fair-share as built: who waits, and that a successor knows it.

use std::sync::Arc;

use policy_api::{Answer, FleetView, Placement, RequestFacts};
use policy_runtime::Component;

use crate::support::{ended, load, load_after, loaded, place, prompt, runtime, tell};

const CONFIG: &str = r#"{"outstanding_max":4,"quantum_tokens":100,"default_output_tokens":0}"#;

fn of(tenant: &str, id: u64) -> RequestFacts {
    RequestFacts { tenant: tenant.to_owned(), ..prompt(id, b'a', 4) }
}

fn asked(policy: &Component, tenant: &str, id: u64, fleet: &Arc<FleetView>) -> (Placement, String) {
    let Answer { verdict, words } = place(policy, of(tenant, id), fleet);
    (verdict, words.reason.unwrap_or_default())
}

#[test]
fn who_is_ahead_waits_and_a_successor_knows_it() {
    let runtime = runtime();
    let policy = load(&runtime, "fair-share", CONFIG);
    let (full, free) = (loaded(1, &[4]), loaded(2, &[3]));
    assert_eq!(asked(&policy, "acme", 1, &full), (Placement::Hold, "held: no replica has room".to_owned()));
    assert_eq!(asked(&policy, "beta", 2, &full).0, Placement::Hold);
    assert_eq!(asked(&policy, "acme", 1, &free).0, Placement::Pass);
    let ahead = (Placement::Hold, "held: acme is 256 tokens ahead of beta, who waits too".to_owned());
    assert_eq!(asked(&policy, "acme", 3, &free), ahead);
    let successor = load_after(&runtime, "fair-share", CONFIG, Some(&policy));
    assert_eq!(asked(&successor, "acme", 3, &free), ahead);
    assert_eq!(asked(&successor, "beta", 2, &free).0, Placement::Pass);
    assert_eq!(asked(&successor, "acme", 3, &free).0, Placement::Pass);
}

#[test]
fn what_a_request_really_cost_counts() {
    let policy = load(&runtime(), "fair-share", CONFIG);
    let (full, free) = (loaded(1, &[4]), loaded(2, &[0]));
    assert_eq!(asked(&policy, "acme", 1, &free).0, Placement::Pass);
    assert_eq!(asked(&policy, "beta", 2, &free).0, Placement::Pass);
    tell(&policy, ended(&of("acme", 1), None, 256, 1000));
    assert_eq!(asked(&policy, "beta", 3, &full).0, Placement::Hold);
    let (verdict, why) = asked(&policy, "acme", 4, &free);
    assert_eq!(verdict, Placement::Hold, "{why}");
    assert!(why.contains("ahead of beta"), "{why}");
}

#[test]
fn alone_nobody_waits() {
    let policy = load(&runtime(), "fair-share", CONFIG);
    for id in 0..50 {
        assert_eq!(asked(&policy, "acme", id, &loaded(1, &[0])).0, Placement::Pass);
    }
    assert_eq!(asked(&policy, "acme", 50, &loaded(2, &[])).0, Placement::Pass, "without a replica others decide");
}
