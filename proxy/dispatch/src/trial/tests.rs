//! Tables of calls, and what becomes of the version that made them.

use policy_api::PolicyFault;
use proptest::prelude::*;

use super::*;
use crate::{FaultKind, Tally};

fn fault() -> FaultKind {
    FaultKind::NoVerdict(PolicyFault::Trapped { message: "unreachable".to_owned() })
}

/// Counts calls from words such as `40 of 5`, `2 faults`, `3 of 2000`, `1 with 700`: how many, of how many microseconds,
/// or with how much fuel. Looks after each word.
fn judged(words: &str, budget: Budget) -> Judgement {
    let tally = Tally::default();
    let mut trial = Trial::new(budget, tally.reading());
    let mut last = Judgement::Keep;
    for word in words.split(", ") {
        let parts: Vec<&str> = word.split(' ').collect();
        let number = |index: usize| parts[index].parse::<u64>().expect("the word has a number");
        for _ in 0..number(0) {
            match parts[1] {
                "of" => tally.count_call(number(2) * 1000, None),
                "with" => tally.count_call(1000, Some(number(2))),
                _ => {
                    tally.count_call(1000, None);
                    tally.count_fault(&fault());
                }
            }
        }
        last = trial.judge(&tally.reading());
        if last != Judgement::Keep {
            break;
        }
    }
    last
}

#[track_caller]
fn check(words: &str, budget: Budget, expected: Option<&str>) {
    let found = match judged(words, budget) {
        Judgement::Keep => None,
        Judgement::RollBack(why) => Some(why),
    };
    match (&found, expected) {
        (None, None) => {}
        (Some(why), Some(part)) if why.contains(part) => {}
        _ => panic!("{words:?}: {found:?}"),
    }
}

const PLAIN: Budget = Budget {
    faults_permille_max: 10,
    call_us_p99_max: Some(1000),
    fuel_max: Some(500),
    requests_min: 50,
    window_calls: 1000,
};

#[test]
fn what_stays_within_its_budget_is_kept() {
    check("1000 of 5", PLAIN, None);
    check("990 of 5, 10 faults", PLAIN, None);
    check("1000 with 500", PLAIN, None);
    check("0 faults", PLAIN, None);
}

#[test]
fn too_many_faults_end_the_trial() {
    check("48 of 5, 2 faults", PLAIN, Some("2 faults in 50 calls"));
    check("10 faults", PLAIN, None);
}

#[test]
fn a_slow_version_ends_the_trial_and_a_slow_call_does_not() {
    check("97 of 5, 3 of 9000", PLAIN, Some("call_us_p99_max"));
    check("98 of 5, 2 of 9000", PLAIN, None);
    check("97 of 5, 3 of 9000", Budget { call_us_p99_max: None, ..PLAIN }, None);
}

#[test]
fn a_call_over_its_fuel_ends_the_trial() {
    check("60 with 10, 1 with 501", PLAIN, Some("501 fuel"));
}

#[test]
fn only_the_last_calls_count() {
    // Two faults in 50 are too many at first; among the thousand that follow they are long past.
    let budget = Budget { requests_min: 1000, ..PLAIN };
    check("15 faults, 500 of 5, 500 of 5, 500 of 5, 500 of 5", budget, Some("15 faults in 1015"));
    check("15 faults, 800 of 5, 100 of 5, 900 of 5, 11 faults, 900 of 5", Budget { requests_min: 1600, ..PLAIN }, None);
}

/// The call at which the version is over, when each is `true` for a fault.
fn over_at(calls: &[bool], rule: Quarantine) -> Option<usize> {
    let tally = Tally::new(rule);
    calls.iter().position(|is_fault| {
        tally.count_call(1000, None);
        if *is_fault {
            tally.count_fault(&fault());
        }
        tally.over().is_some()
    })
}

#[test]
fn faults_in_a_row_are_too_many_at_once() {
    let rule = Quarantine { faults_max: 3, window_calls: 10 };
    assert_eq!(over_at(&[true; 5], rule), Some(2));
    assert_eq!(over_at(&[true, false, true, false, false], rule), None);
}

#[test]
fn busy_instances_are_no_reason_to_go_back() {
    let tally = Tally::new(Quarantine { faults_max: 1, window_calls: 10 });
    tally.count_call(1000, None);
    tally.count_fault(&FaultKind::NoVerdict(PolicyFault::NoInstance));
    assert_eq!((tally.over(), tally.faults_total()), (None, 1));
}

#[test]
fn who_is_forgiven_begins_anew() {
    let tally = Tally::new(Quarantine { faults_max: 2, window_calls: 10 });
    let fail = || {
        tally.count_call(1000, None);
        tally.count_fault(&fault());
    };
    (0..2).for_each(|_| fail());
    assert_eq!(tally.over().as_deref(), Some("2 faults within 10 calls; the last: policy trapped: unreachable"));
    tally.forgive();
    fail();
    assert_eq!(tally.over(), None);
}

proptest! {
    #[test]
    fn a_version_is_over_exactly_when_a_window_has_too_many(
        calls in prop::collection::vec(prop::bool::weighted(0.3), 0..60), faults_max in 1..6_u32, window_calls in 1..12_u32,
    ) {
        let rule = Quarantine { faults_max, window_calls };
        let too_many = |end: &usize| {
            let begin = (end + 1).saturating_sub(window_calls as usize);
            calls[*end] && calls[begin..=*end].iter().filter(|fault| **fault).count() >= faults_max as usize
        };
        prop_assert_eq!(over_at(&calls, rule), (0..calls.len()).find(too_many));
    }
}
