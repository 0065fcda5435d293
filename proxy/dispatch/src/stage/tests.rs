//! Tables of who is asked about which request.

use std::sync::Arc;

use policy_api::{Call, RequestFacts};
use proptest::prelude::*;

use crate::fakes::{fleet, links};
use crate::{By, Canary, Chain, Fallback, Pattern, Scope, Stage, Tried};

fn on_trial(words: &str, percent: u8) -> Stage {
    let [stable, mut canary]: [_; 2] = links(words).try_into().ok().expect("two links are given");
    canary.author = Arc::new(crate::Author { number: 2, slot: "slot0".to_owned(), ..(*canary.author).clone() });
    Stage { canary: Some(Canary { link: canary, percent }), ..Stage::from(stable) }
}

fn facts(id: u64, tenant: &str, session: Option<&str>) -> RequestFacts {
    RequestFacts { id, tenant: tenant.to_owned(), session: session.map(str::to_owned), ..RequestFacts::default() }
}

fn is_canary(stage: &Stage, facts: &RequestFacts) -> bool {
    stage.pick(facts).is_canary
}

/// How many of 10,000 requests the canary has.
fn had_of(percent: u8, request: impl Fn(u64) -> RequestFacts) -> usize {
    let stage = on_trial("pass, pass", percent);
    (0..10_000).filter(|index| is_canary(&stage, &request(*index))).count()
}

#[test]
fn a_canary_has_about_its_share() {
    for percent in [1, 10, 50, 99] {
        let expected = usize::from(percent) * 100;
        for had in [
            had_of(percent, |index| facts(0, &format!("tenant-{index}"), None)),
            had_of(percent, |index| facts(0, "anonymous", Some(&format!("{index}")))),
            had_of(percent, |index| facts(index, "anonymous", None)),
        ] {
            assert!(had.abs_diff(expected) < 150, "{had} of 10000 at {percent} %");
        }
    }
}

proptest! {
    #[test]
    fn a_tenant_meets_one_version_only(tenant in "[a-z]{1,8}", ids in prop::collection::vec(any::<u64>(), 2..8)) {
        let stage = on_trial("pass, pass", 50);
        let met: Vec<bool> = ids.iter().map(|id| is_canary(&stage, &facts(*id, &tenant, Some(&id.to_string())))).collect();
        prop_assert!(met.iter().all(|canary| *canary == met[0]));
    }

    #[test]
    fn a_session_of_no_tenants_meets_one_version_only(session in "[a-z]{1,8}", ids in prop::collection::vec(any::<u64>(), 2..8)) {
        let stage = on_trial("pass, pass", 50);
        let met: Vec<bool> = ids.iter().map(|id| is_canary(&stage, &facts(*id, "anonymous", Some(&session)))).collect();
        prop_assert!(met.iter().all(|canary| *canary == met[0]));
    }

    #[test]
    fn a_larger_share_has_all_of_a_smaller_one(id in any::<u64>(), few in 1..99_u8, more in 1..99_u8) {
        let (few, more) = (few.min(more), few.max(more));
        let request = facts(id, "", None);
        prop_assert!(!is_canary(&on_trial("pass, pass", few), &request) || is_canary(&on_trial("pass, pass", more), &request));
    }
}

#[test]
fn one_version_is_asked_by_admit_and_place_alike() {
    let chain = Chain::new([on_trial("allow, allow", 50)], Arc::new(Fallback::default()));
    let fleet = Arc::new(fleet("up"));
    let mut canaries = 0;
    for id in 0..100 {
        let facts = Arc::new(facts(id, "", None));
        let call = Call { now_ms: 0, facts: &facts, fleet: &fleet };
        let (entry, target) = (chain.admit(&call), chain.place(&call, &Tried::default()));
        let [asked, placed] = [&entry.calls[0], &target.calls[0]];
        assert_eq!((asked.is_canary, asked.by.number), (placed.is_canary, placed.by.number));
        assert_eq!(asked.by.number == 2, asked.is_canary);
        canaries += usize::from(asked.is_canary);
    }
    assert!((20..80).contains(&canaries), "{canaries} of 100");
}

#[test]
fn who_is_out_of_scope_passes_by() {
    let scoped = |word: &str, models: &[&str], endpoints: &[&str]| {
        let patterns = |words: &[&str]| words.iter().map(|word| Pattern::new(*word)).collect();
        let scope =
            Scope { models: patterns(models), tenants: Vec::new(), endpoints: patterns(endpoints), is_by_name: false };
        Stage { scope: Arc::new(scope), ..Stage::from(links(word).remove(0)) }
    };
    let chain = Chain::new(
        [scoped("deny 403", &["llama-*"], &[]), scoped("deny 429", &[], &["/v1/embeddings"])],
        Arc::new(Fallback::default()),
    );
    let fleet = Arc::new(fleet("up"));
    let verdict = |model: &str, endpoint: &str| {
        let facts = RequestFacts { model: model.to_owned(), endpoint: endpoint.to_owned(), ..RequestFacts::default() };
        let decision = chain.admit(&Call { now_ms: 0, facts: &Arc::new(facts), fleet: &fleet });
        (decision.by != By::Fallback, decision.calls.len())
    };
    assert_eq!(verdict("llama-3", "/v1/embeddings"), (true, 1));
    assert_eq!(verdict("tiny", "/v1/embeddings"), (true, 1));
    assert_eq!(verdict("tiny", "/v1/chat/completions"), (false, 0));
}
