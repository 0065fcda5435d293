//! Two shipped policies in one chain: who may enter, then where to.

use std::sync::Arc;

use dispatch::{Author, By, Chain, Decision, Entry, Fallback, Link, Target, Tried};
use policy_api::{Call, FleetView, Policy, ReplicaId};
use policy_runtime::Component;

use crate::support::{bytes_of, loaded, prompt, runtime};

fn link(slot: &str, policy: Component) -> Link {
    let author = Author {
        slot: slot.to_owned(),
        number: 1,
        name: policy.describe().name.clone(),
        version: policy.describe().version.clone(),
        digest: policy.digest().to_owned(),
    };
    Link::new(author, Arc::new(policy))
}

fn admitted(chain: &Chain, id: u64, fleet: &Arc<FleetView>) -> Decision<Entry> {
    chain.admit(&Call { now_ms: 0, facts: &Arc::new(prompt(id, b'a', 8)), fleet })
}

fn placed(chain: &Chain, id: u64, fleet: &Arc<FleetView>) -> Decision<Target> {
    chain.place(&Call { now_ms: 0, facts: &Arc::new(prompt(id, b'a', 8)), fleet }, &Tried::default())
}

#[test]
fn limits_are_kept_first_and_prefixes_second() {
    let runtime = runtime();
    let load = |slot, name, config| runtime.load(slot, &bytes_of(name), config, None).unwrap();
    let limits = load("limits", "rate-limit", r#"{"rules":[{"requests_per_minute":3,"tokens_per_minute":10000}]}"#);
    let placement = load("placement", "prefix-tree", "");
    let chain = Chain::new([link("limits", limits), link("placement", placement)], Arc::new(Fallback::default()));
    let fleet = loaded(1, &[1, 1, 1]);
    let mut homes = Vec::new();
    for id in 0..3 {
        let entry = admitted(&chain, id, &fleet);
        assert_eq!((&entry.verdict, &entry.by), (&Entry::Allowed, &By::Fallback), "it passes, and nobody denies");
        assert_eq!(entry.words.headers.len(), 6, "a policy that passes is heard");
        assert_eq!(entry.notes.of("limits").len(), "tokens 4:acme/tiny".len() + 9);
        let decision = placed(&chain, id, &fleet);
        assert!(matches!(&decision.by, By::Policy(author) if author.slot == "placement"), "{:?}", decision.by);
        homes.push(decision.verdict);
    }
    assert!(matches!(homes[0], Target::Replica(ReplicaId(_))) && homes.iter().all(|home| *home == homes[0]));
    let denied = admitted(&chain, 3, &fleet);
    assert!(matches!(&denied.by, By::Policy(author) if author.slot == "limits"), "{:?}", denied.by);
    let Entry::Denied(denial) = denied.verdict else { panic!("{:?}", denied.verdict) };
    assert_eq!((denial.status, denial.retry_after_ms), (429, Some(20_000)));
    assert!(denied.faults.is_empty());
}
