//! Tables of who may enter.

use std::sync::Arc;

use policy_api::{Call, RequestFacts};

use crate::fakes::{fleet, links};
use crate::{By, Chain, Decision, Entry, Fallback, OnError};

fn admit(words: &str, on_error: OnError) -> Decision<Entry> {
    let mut links = links(words);
    links.iter_mut().for_each(|link| link.on_admit_error = on_error);
    let chain = Chain::new(links, Arc::new(Fallback::default()));
    let (facts, fleet) = (Arc::new(RequestFacts::default()), Arc::new(fleet("up")));
    chain.admit(&Call { now_ms: 0, facts: &facts, fleet: &fleet })
}

fn in_words(decision: &Decision<Entry>) -> String {
    let by = match &decision.by {
        By::Policy(author) => author.slot.clone(),
        By::Fallback => "fallback".to_owned(),
    };
    let verdict = match &decision.verdict {
        Entry::Allowed => "allowed".to_owned(),
        Entry::Denied(denial) => format!("denied {}", denial.status),
    };
    format!("{by} {verdict}, {} faults", decision.faults.len())
}

#[track_caller]
fn check(words: &str, expected: &str) {
    assert_eq!(in_words(&admit(words, OnError::Reject)), expected);
}

#[test]
fn an_empty_chain_lets_everybody_in() {
    check("", "fallback allowed, 0 faults");
}

#[test]
fn a_pass_asks_the_next() {
    check("pass, pass, deny 429", "slot2 denied 429, 0 faults");
    check("pass, pass", "fallback allowed, 0 faults");
}

#[test]
fn the_first_verdict_ends_the_chain() {
    check("allow, deny 429", "slot0 allowed, 0 faults");
    check("deny 403, allow", "slot0 denied 403, 0 faults");
}

#[test]
fn a_fault_lets_nobody_in_by_default() {
    check("trap, allow", "slot0 denied 503, 1 faults");
}

#[test]
fn a_fault_asks_the_next_where_configured_so() {
    assert_eq!(in_words(&admit("trap, deny 429", OnError::Fallback)), "slot1 denied 429, 1 faults");
}

#[test]
fn a_denial_that_is_no_error_is_a_fault() {
    check("deny 200", "slot0 denied 503, 1 faults");
}

#[test]
fn verdicts_and_faults_are_counted_apart_and_the_last_fault_is_kept() {
    let links = links("trap, allow").into_iter().map(|link| crate::Link { on_admit_error: OnError::Fallback, ..link });
    let chain = Chain::new(links.collect(), Arc::new(Fallback::default()));
    let (facts, fleet) = (Arc::new(RequestFacts::default()), Arc::new(fleet("up")));
    for _ in 0..3 {
        chain.admit(&Call { now_ms: 0, facts: &facts, fleet: &fleet });
    }
    let [trapping, allowing] = chain.links() else { panic!("two links were given") };
    assert_eq!((trapping.tally.decisions_total(), trapping.tally.faults_total()), (0, 3));
    assert_eq!((allowing.tally.decisions_total(), allowing.tally.faults_total()), (3, 0));
    assert_eq!(trapping.tally.last_fault().as_deref(), Some("policy trapped: unreachable"));
}
