//! What `replay` prints.

use std::collections::BTreeMap;

use policy_api::Hook;
use policy_runtime::replay::{Difference, Fuel, NotReplayed, Outcome, PolicyReport, Report};

use super::as_text;

fn report() -> Report {
    let outcome =
        |verdict: &str, reason: &str| Outcome { verdict: verdict.to_owned(), reason: Some(reason.to_owned()) };
    Report {
        calls: 120,
        same: 116,
        differ: 2,
        not_replayed: BTreeMap::from([(NotReplayed::DeadlinePassed.to_string(), 2)]),
        policies: vec![PolicyReport {
            slot: "placement".to_owned(),
            name: "least-load".to_owned(),
            version: "0.1.0".to_owned(),
            digest: "sha256:0123456789abcdef0123456789abcdef".to_owned(),
            calls: 120,
            same: 116,
            differ: 2,
        }],
        differences: vec![Difference {
            call: 12,
            request: Some("18f2".to_owned()),
            slot: "placement".to_owned(),
            hook: Hook::Place,
            now_ms: 1500,
            recorded: outcome("replica 4", "lowest load 1 of 4=1, 7=3"),
            replayed: outcome("replica 7", "next in turn: 2 of 2 that take work"),
            why: "its verdict differs".to_owned(),
        }],
        fuel: Some(Fuel { total: 480_000, median: 4000, max: 5000 }),
        remarks: vec!["its last line is cut short and was left out, after 120 calls".to_owned()],
    }
}

#[test]
fn a_report_says_how_many_and_which() {
    insta::assert_snapshot!("by_the_same_policy", as_text(&report(), false));
    insta::assert_snapshot!("by_another_policy", as_text(&report(), true));
}
