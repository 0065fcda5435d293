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
    let chain = Chain::new(links, Arc::new(Fallback::default()));
    let (facts, fleet) = (Arc::new(RequestFacts::default()), Arc::new(fleet("up")));
    for _ in 0..3 {
        chain.admit(&Call { now_ms: 0, facts: &facts, fleet: &fleet });
    }
    let [trapping, allowing] = chain.links().collect::<Vec<_>>()[..] else { panic!("two links were given") };
    assert_eq!((trapping.tally.decisions_total(), trapping.tally.faults_total()), (0, 3));
    assert_eq!((allowing.tally.decisions_total(), allowing.tally.faults_total()), (3, 0));
    assert_eq!(trapping.tally.last_fault().as_deref(), Some("policy trapped: unreachable"));
}

#[test]
fn every_call_is_told_of_in_order_with_its_time() {
    /// Moves by one microsecond each time it is looked at.
    struct Ticking(std::sync::atomic::AtomicU64);
    impl crate::Stopwatch for Ticking {
        fn now_ns(&self) -> u64 {
            self.0.fetch_add(1000, std::sync::atomic::Ordering::Relaxed)
        }
    }
    let mut links = links("pass, trap, deny 429, allow");
    links.iter_mut().for_each(|link| link.on_admit_error = OnError::Fallback);
    let chain = Chain::new(links, Arc::new(Fallback::default())).timed_by(Arc::new(Ticking(0.into())));
    let (facts, fleet) = (Arc::new(RequestFacts::default()), Arc::new(fleet("up")));
    let decision = chain.admit(&Call { now_ms: 0, facts: &facts, fleet: &fleet });
    let told: Vec<(&str, &str, u64)> =
        decision.calls.iter().map(|call| (call.by.slot.as_str(), call.verdict, call.took_ns)).collect();
    assert_eq!(told, [("slot0", "pass", 1000), ("slot1", "fault", 1000), ("slot2", "deny", 1000)]);
    let asked: Vec<u64> = chain.links().map(|link| link.tally.calls_total()).collect();
    assert_eq!(asked, [1, 1, 1, 0]);
}

#[test]
fn a_quarantined_policy_is_not_asked_and_that_means_what_its_faults_do() {
    let decide = |on_error| {
        let mut links = links("trap, deny 429");
        (links[0].is_quarantined, links[0].on_admit_error) = (true, on_error);
        let chain = Chain::new(links, Arc::new(Fallback::default()));
        let (facts, fleet) = (Arc::new(RequestFacts::default()), Arc::new(fleet("up")));
        let decision = chain.admit(&Call { now_ms: 0, facts: &facts, fleet: &fleet });
        assert_eq!(chain.stages()[0].stable.tally.faults_total(), 0);
        in_words(&decision)
    };
    assert_eq!(decide(OnError::Reject), "slot0 denied 503, 1 faults");
    assert_eq!(decide(OnError::Fallback), "slot1 denied 429, 0 faults");
}
