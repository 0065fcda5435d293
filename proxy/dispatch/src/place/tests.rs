//! Tables of where requests go, and the property that a decision can always be carried out.

use std::sync::Arc;

use policy_api::{Call, RegionId, ReplicaId, RequestFacts};
use proptest::prelude::*;

use crate::fakes::{chain, fleet, links};
use crate::{By, Chain, Decision, Fallback, OnError, Target, Tried};

struct Case<'a> {
    fleet: &'a str,
    chain: &'a str,
    tried: &'a [u32],
    hop: u32,
}

const PLAIN: Case<'_> = Case { fleet: "up 3, up 1, down 0, draining 0", chain: "", tried: &[], hop: 0 };

fn decide(case: &Case<'_>) -> Decision<Target> {
    place(&chain(case.chain), case)
}

fn place(chain: &Chain, case: &Case<'_>) -> Decision<Target> {
    let facts = Arc::new(RequestFacts { hop: case.hop, ..RequestFacts::default() });
    let fleet = Arc::new(fleet(case.fleet));
    let tried = Tried { replicas: case.tried.iter().map(|id| ReplicaId(*id)).collect(), regions: Vec::new() };
    chain.place(&Call { now_ms: 0, facts: &facts, fleet: &fleet }, &tried)
}

fn in_words(decision: &Decision<Target>) -> String {
    let by = match &decision.by {
        By::Policy(author) => author.slot.clone(),
        By::Fallback => "fallback".to_owned(),
    };
    let target = match &decision.verdict {
        Target::Replica(ReplicaId(id)) => format!("replica {id}"),
        Target::Region(RegionId(id)) => format!("region {id}"),
        Target::Hold => "hold".to_owned(),
        Target::Rejected(denial) => format!("rejected {}", denial.status),
        Target::Nobody => "nobody".to_owned(),
    };
    let faults: Vec<String> = decision.faults.iter().map(ToString::to_string).collect();
    [format!("{by}: {target}"), faults.join("; ")].join(" | ").trim_end_matches([' ', '|']).to_owned()
}

#[track_caller]
fn check(case: Case<'_>, expected: &str) {
    assert_eq!(in_words(&decide(&case)), expected);
}

#[test]
fn an_empty_chain_leaves_it_to_the_fallback() {
    check(PLAIN, "fallback: replica 1");
}

#[test]
fn the_first_verdict_ends_the_chain() {
    check(Case { chain: "pass, replica 0, replica 1", ..PLAIN }, "slot1: replica 0");
    check(Case { chain: "hold, replica 1", ..PLAIN }, "slot0: hold");
    check(Case { chain: "reject 429", ..PLAIN }, "slot0: rejected 429");
    check(Case { chain: "region 1", ..PLAIN }, "slot0: region 1");
}

#[test]
fn a_trap_is_the_next_ones_turn() {
    check(Case { chain: "trap, replica 0", ..PLAIN }, "slot1: replica 0 | slot0 (trap 1): policy trapped: unreachable");
}

#[test]
fn a_replica_that_cannot_be_had_is_a_fault() {
    let named = |id| format!("slot0 (replica {id} 1): it named replica {id}, which");
    check(
        Case { chain: "replica 9", ..PLAIN },
        &format!("fallback: replica 1 | {} this fleet does not have", named(9)),
    );
    check(Case { chain: "replica 2", ..PLAIN }, &format!("fallback: replica 1 | {} takes no work now", named(2)));
    check(Case { chain: "replica 3", ..PLAIN }, &format!("fallback: replica 1 | {} takes no work now", named(3)));
    check(
        Case { chain: "replica 1", tried: &[1], ..PLAIN },
        &format!("fallback: replica 0 | {} has already failed this request", named(1)),
    );
}

#[test]
fn a_region_that_cannot_be_had_is_a_fault() {
    let fell = "fallback: replica 1 | slot0";
    check(
        Case { chain: "region 7", ..PLAIN },
        &format!("{fell} (region 7 1): it named region 7, which this mesh does not have"),
    );
    check(
        Case { chain: "region 0", ..PLAIN },
        &format!("{fell} (region 0 1): it named region 0, which is this proxy's own"),
    );
    check(
        Case { chain: "region 1", hop: 1, ..PLAIN },
        &format!("{fell} (region 1 1): it forwarded a request that another region had already forwarded"),
    );
}

#[test]
fn nobody_is_the_answer_when_nobody_takes_work() {
    check(Case { fleet: "down, draining", ..PLAIN }, "fallback: nobody");
    check(Case { fleet: "", ..PLAIN }, "fallback: nobody");
}

#[test]
fn a_fault_turns_the_request_away_where_configured_so() {
    let mut links = links("replica 9, replica 0");
    links[0].on_place_error = OnError::Reject;
    let chain = Chain::new(links, Arc::new(Fallback::default()));
    assert!(in_words(&place(&chain, &PLAIN)).starts_with("slot0: rejected 503"));
}

fn words() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        Just("pass".to_owned()),
        Just("hold".to_owned()),
        Just("trap".to_owned()),
        (0..6_u32).prop_map(|id| format!("replica {id}")),
        (0..3_u32).prop_map(|id| format!("region {id}")),
        (100..700_u32).prop_map(|status| format!("reject {status}")),
    ];
    prop::collection::vec(word, 0..5).prop_map(|words| words.join(", "))
}

fn fleets() -> impl Strategy<Value = String> {
    let word = (prop_oneof!["up", "down", "draining"], 0..4_u32, 1..300_u32);
    prop::collection::vec(word, 0..6)
        .prop_map(|rows| {
            rows.iter().map(|(state, running, weight)| format!("{state} {running} w{weight}")).collect::<Vec<_>>()
        })
        .prop_map(|rows| rows.join(", "))
}

proptest! {
    #[test]
    fn a_decision_can_always_be_carried_out(
        words in words(), rows in fleets(), tried in prop::collection::vec(0..6_u32, 0..3), hop in 0..2_u32,
    ) {
        let decision = decide(&Case { fleet: &rows, chain: &words, tried: &tried, hop });
        let view = fleet(&rows);
        let can_serve = |row: usize| view.takes_work(row) && !tried.contains(&view.id[row]);
        match decision.verdict {
            Target::Replica(id) => prop_assert!(can_serve(view.row_of(id).expect("a chosen replica is in the fleet"))),
            Target::Region(RegionId(id)) => prop_assert!(id == 1 && hop == 0),
            Target::Rejected(denial) => prop_assert!((400..600).contains(&denial.status)),
            Target::Hold => prop_assert!(words.contains("hold")),
            Target::Nobody => prop_assert!((0..view.len()).all(|row| !can_serve(row))),
        }
    }
}
