//! What `explain` prints.

use std::collections::BTreeMap;
use std::sync::Arc;

use policy_api::{
    FleetView, Health, Hook, Mode, Placement, RegionId, ReplicaId, ReplicaRole, ReplicaRow, RequestFacts,
};
use policy_runtime::Level;
use policy_runtime::recording::{Answer, Ask, CallLine, Heard, Looked, PolicyLine, Prefix, Said, Told, Track};
use policy_runtime::replay::{Explained, NotReplayed};

use super::{Names, as_text};

fn row(id: u32, running: u32) -> ReplicaRow {
    ReplicaRow {
        id: ReplicaId(id),
        region: RegionId(0),
        running,
        waiting: 0,
        kv_blocks_used: 0,
        kv_blocks_total: 100,
        prefix_hit_permille: 0,
        health: Health::Healthy,
        draining: false,
        role: ReplicaRole::Mixed,
        age_ms: 0,
        ttft_us: 0,
        tpot_us: 0,
        weight: 100,
        prefill_tokens: 0,
    }
}

fn looked(names: &str) -> Looked {
    serde_json::from_str(names).unwrap()
}

fn placed(outcome: Result<Option<String>, NotReplayed>) -> Explained {
    let heard = |ask, told| Heard { ask, told };
    let track = Track {
        looked: looked(r#"["request.tenant","request.prompt","request.block_hashes","fleet.id","fleet.running"]"#),
        heard: vec![
            heard(Ask::FleetVersion, Told::Version(3)),
            heard(Ask::MatchReplicas(Prefix::Request), Told::Matches(vec![(4, 2), (7, 1)])),
            heard(Ask::Get { key: "share".to_owned() }, Told::Entry(None)),
            heard(Ask::Log { level: Level::Info, line: "a long prefix".to_owned() }, Told::Nothing),
        ],
        is_cut: false,
    };
    let answer = Answer {
        reason: Some("longest prefix, 2 blocks".to_owned()),
        attributes: vec![("blocks".to_owned(), "2".to_owned())],
        headers: vec![("x-prefix".to_owned(), "2".to_owned())],
        ..Answer::bare(Said::Place(Placement::Replica(ReplicaId(4))))
    };
    let facts = RequestFacts { tenant: "acme".to_owned(), prompt: vec![b'x'; 600].into(), ..RequestFacts::default() };
    Explained {
        policy: PolicyLine {
            policy: 0,
            slot: "placement".to_owned(),
            name: "prefix-tree".to_owned(),
            version: "0.1.0".to_owned(),
            digest: "sha256:0123456789abcdef0123456789abcdef".to_owned(),
            config: r#"{"mode":"sglang"}"#.to_owned(),
            mode: Mode::Pooled,
        },
        call: CallLine {
            policy: 0,
            instance: Some(3),
            turn: 9,
            hook: Hook::Place,
            request: Some(0x1f),
            now_ms: 1500,
            chance: 1,
            facts: Some(0),
            fleet: Some(0),
            events: Vec::new(),
            answer,
            ns: 812,
            track: track.clone(),
        },
        facts: Arc::new(facts),
        has_prompt: false,
        fleet: Arc::new(FleetView::of(3, &[row(4, 1), row(7, 12)], &[])),
        track,
        fuel: Some(4021),
        outcome,
    }
}

#[test]
fn a_decision_is_told_from_what_was_seen_to_what_was_said() {
    let calls = [placed(Ok(None)), placed(Err(NotReplayed::StateUnknown))];
    insta::assert_snapshot!(as_text("1f", &calls, &Names::default()));
}

#[test]
fn replicas_have_their_names_beside_their_rows() {
    let replicas = BTreeMap::from([(4, "us-0".to_owned()), (7, "a-longer-name".to_owned())]);
    let text = as_text("1f", &[placed(Ok(None))], &Names { replicas, regions: BTreeMap::new() });
    let shown: Vec<&str> = text.lines().filter(|line| line.contains("us-0") || line.contains("longer")).collect();
    insta::assert_snapshot!(shown.join("\n"));
}
