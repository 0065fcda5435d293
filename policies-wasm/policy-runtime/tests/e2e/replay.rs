//! The shipped policies, recorded and replayed: the same bit for bit, whatever they were asked and by how many threads.

use std::{
    io::Cursor,
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
};

use policy_api::{Call, Event, FleetView, Hook, Outcome, Placement, Policy, ReplicaId, RequestFacts, Subject, Usage};
use policy_runtime::{
    Component, Runtime,
    recording::{Ask, Look, ReadError, Recording, excerpt},
    replay::{Options, Other, Report, compare, explain, replay},
};
use proptest::prelude::*;

use crate::{
    recorder::{Recorder, read},
    shipped::{patient, row, shipped},
};

const RULES: &str = r#"{"rules":[{"tokens_per_minute":4000,"requests_per_minute":30,"concurrent":3}]}"#;

/// Slots, policies and their configurations.
const POLICIES: [(&str, &str, &str); 5] = [
    ("turns", "round-robin", ""),
    ("load", "least-load", ""),
    ("prefix", "prefix-tree", ""),
    ("limits", "rate-limit", RULES),
    ("sessions", "session-affinity", ""),
];

/// Policies that are recorded.
struct Theatre {
    recorder: Arc<Recorder>,
    runtime: Runtime,
    policies: Vec<Component>,
}

/// One thing that happens to all policies.
#[derive(Clone, Debug)]
struct Step {
    request: u64,
    tenant: u8,
    prompt: u8,
    blocks: usize,
    loads: [u32; 4],
    later_ms: u64,
    ends: bool,
}

fn step() -> impl Strategy<Value = Step> {
    (0_u64..40, 0_u8..3, 0_u8..4, 0_usize..6, [0_u32..9, 0..9, 0..9, 0..9], 0_u64..3000, any::<bool>()).prop_map(
        |(request, tenant, prompt, blocks, loads, later_ms, ends)| Step {
            request,
            tenant,
            prompt,
            blocks,
            loads,
            later_ms,
            ends,
        },
    )
}

impl Theatre {
    fn new() -> Theatre {
        let recorder = Arc::new(Recorder::default());
        let runtime = Runtime::new(patient(), Arc::clone(&recorder) as Arc<_>, 7).unwrap();
        let load = |(slot, name, config): (&str, &str, &str)| {
            runtime.load(slot, &shipped(name), config, None).unwrap_or_else(|error| panic!("{name}: {error}"))
        };
        Theatre { policies: POLICIES.map(load).into(), recorder, runtime }
    }

    fn record(&self) -> &Theatre {
        self.recorder.is_on.store(true, Relaxed);
        self
    }

    fn file(&self, prompts: bool) -> String {
        self.recorder.is_on.store(false, Relaxed);
        self.recorder.file(self.runtime.limits(), prompts)
    }

    /// Asks every policy, and tells it of the request's end where it has one.
    fn play(&self, steps: &[Step]) {
        let mut now_ms = 0;
        for (version, step) in (1..).zip(steps) {
            now_ms += step.later_ms;
            let (facts, fleet) = (step.facts(), step.fleet(version));
            let call = Call { now_ms, facts: &facts, fleet: &fleet };
            for policy in &self.policies {
                if policy.describe().has(Hook::Admit) {
                    policy.admit(&call).unwrap();
                }
                if policy.describe().has(Hook::Place) {
                    policy.place(&call).unwrap();
                }
                if policy.describe().has(Hook::Observe) && step.ends {
                    policy.observe(now_ms, &fleet, &[step.end()]).unwrap();
                }
            }
        }
    }
}

impl Step {
    fn facts(&self) -> Arc<RequestFacts> {
        let mut prompt = vec![self.prompt; self.blocks * policy_api::BLOCK_BYTES];
        prompt.extend(b"secret words");
        Arc::new(RequestFacts {
            id: self.request,
            endpoint: "/v1/chat/completions".to_owned(),
            model: "tiny".to_owned(),
            tenant: format!("tenant-{}", self.tenant),
            session: (self.tenant > 0).then(|| format!("session-{}", self.prompt)),
            prompt_tokens_estimate: 64 * self.blocks as u32,
            output_tokens_max: 100,
            prompt: prompt.into(),
            ..RequestFacts::default()
        })
    }

    fn fleet(&self, version: u64) -> Arc<FleetView> {
        let rows: Vec<_> = (0..).zip(self.loads).map(|(id, running)| row(id, running)).collect();
        Arc::new(FleetView::of(version, &rows, &[]))
    }

    fn end(&self) -> Event {
        let subject = Subject {
            request: self.request,
            tenant: format!("tenant-{}", self.tenant).into(),
            model: "tiny".into(),
            ..Subject::default()
        };
        let usage = Usage { prompt_tokens: 64, cached_tokens: 0, output_tokens: 10 };
        Event::Ended { subject, replica: Some(ReplicaId(0)), outcome: Outcome::Finished, usage }
    }
}

fn again(file: &str) -> Report {
    replay(&read(file), &Options::default()).unwrap()
}

#[track_caller]
fn check_exact(report: &Report) {
    assert!(report.is_exact(), "{report:#?}");
    assert_eq!((report.same, report.not_replayed.len()), (report.calls, 0), "{report:#?}");
}

fn some_steps() -> Vec<Step> {
    let step = |request: u64| Step {
        request,
        tenant: (request % 3) as u8,
        prompt: (request % 4) as u8,
        blocks: (request % 5) as usize,
        loads: [3, (request % 7) as u32, 5, (request * 3 % 8) as u32],
        later_ms: 100,
        ends: request.is_multiple_of(2),
    };
    (0..40).map(step).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, max_shrink_iters: 20, ..ProptestConfig::default() })]

    /// Recorded from the midst of their lives, with all that their slots held from before.
    #[test]
    fn whatever_they_were_asked_they_answer_again(
        before in proptest::collection::vec(step(), 0..10),
        steps in proptest::collection::vec(step(), 1..40),
        prompts in any::<bool>(),
    ) {
        static THEATRE: OnceLock<Theatre> = OnceLock::new();
        let theatre = THEATRE.get_or_init(Theatre::new);
        theatre.play(&before);
        theatre.record().play(&steps);
        let report = again(&theatre.file(prompts));
        prop_assert!(report.is_exact(), "{:#?}", report);
        // Where there is no session, session-affinity goes by the prompt.
        let withheld: u64 = report.not_replayed.values().sum();
        prop_assert_eq!(report.same + withheld, report.calls);
        prop_assert!(report.not_replayed.keys().all(|why| !prompts && why.starts_with("prompts were not recorded")));
    }
}

#[test]
fn eight_threads_at_once_are_replayed_bit_for_bit() {
    let theatre = Theatre::new();
    theatre.record();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| theatre.play(&some_steps()));
        }
    });
    let report = again(&theatre.file(true));
    check_exact(&report);
    assert!(report.calls >= 8 * 40 * 5, "{}", report.calls);
    assert!(report.fuel.unwrap().median > 0);
}

/// A recording of least-load alone, which is the shortest.
fn least_load() -> String {
    let theatre = Theatre::new();
    theatre.record();
    let [_, load, ..] = &theatre.policies[..] else { panic!("there are five") };
    for step in some_steps() {
        let (facts, fleet) = (step.facts(), step.fleet(step.request + 1));
        load.place(&Call { now_ms: 5, facts: &facts, fleet: &fleet }).unwrap();
    }
    theatre.file(false)
}

/// Changes the first line that has `from`.
fn tampered(file: &str, from: &str, to: &str) -> String {
    let at = file.lines().position(|line| line.contains(from)).unwrap_or_else(|| panic!("no {from} in {file}"));
    let lines = file.lines().enumerate().map(|(n, line)| match n == at {
        true => line.replacen(from, to, 1) + "\n",
        false => line.to_owned() + "\n",
    });
    lines.collect()
}

#[test]
fn a_verdict_that_was_tampered_with_is_found() {
    let file = least_load();
    check_exact(&again(&file));
    let verdict = |file: &str| {
        let call = file.lines().find(|line| line.starts_with(r#"{"call":"#)).unwrap();
        let at = call.find(r#""place":{"replica":"#).unwrap();
        call[at..at + r#""place":{"replica":N"#.len()].to_owned()
    };
    let report = again(&tampered(&file, &verdict(&file), r#""place":{"replica":9"#));
    assert_eq!((report.differ, report.same), (1, report.calls - 1));
    let difference = &report.differences[0];
    assert_eq!((difference.call, difference.recorded.verdict.as_str()), (1, "replica 9"));
    assert_eq!(difference.why, "its verdict differs");
}

#[test]
fn an_answer_of_the_host_that_was_tampered_with_is_found() {
    let theatre = Theatre::new();
    theatre.record();
    let step = &some_steps()[0];
    let (facts, fleet) = (step.facts(), step.fleet(1));
    for _ in 0..3 {
        theatre.policies[0].place(&Call { now_ms: 5, facts: &facts, fleet: &fleet }).unwrap();
    }
    let file = theatre.file(false);
    check_exact(&again(&file));
    let report = again(&tampered(&file, r#""told":{"number":1}"#, r#""told":{"number":2}"#));
    assert_eq!((report.differ, report.differences[0].call), (1, 2), "{report:#?}");
    // The question is another where the recorded one was changed.
    let report = again(&tampered(&file, r#""delta":1"#, r#""delta":7"#));
    assert!(report.differences[0].why.contains("the recording has buckets.count"), "{report:#?}");
}

#[test]
fn another_policy_shows_where_it_decides_otherwise() {
    let recording = read(&least_load());
    let (turns, load) = (shipped("round-robin"), shipped("least-load"));
    let other = Other { component: &turns, config_json: "", slot: None };
    let report = compare(&recording, &other, &Options { differences_max: 3, ..Options::default() }).unwrap();
    assert_eq!(report.same + report.differ, report.calls);
    assert!(report.differ > 5, "{report:#?}");
    assert_eq!(report.differences.len(), 3);
    assert!(report.differences[0].replayed.reason.as_ref().unwrap().starts_with("next in turn"));
    // The same component in its own place, with its recorded chance, decides the same.
    let itself = Other { component: &load, config_json: "{}", slot: Some("load") };
    assert_eq!(compare(&recording, &itself, &Options::default()).unwrap().differ, 0);
    let wrong = Other { component: &load, config_json: "", slot: Some("gate") };
    let error = compare(&recording, &wrong, &Options::default()).unwrap_err();
    assert_eq!(error.to_string(), "the recording has no decisions of the slot gate; it has those of load");
}

#[test]
fn what_is_kept_for_requests_is_given_back_when_they_end() {
    let theatre = Theatre::new();
    theatre.record().play(&some_steps());
    let recording = read(&theatre.file(false));
    let limits = shipped("rate-limit");
    let other = Other { component: &limits, config_json: RULES, slot: Some("limits") };
    let report = compare(&recording, &other, &Options::default()).unwrap();
    assert_eq!((report.calls, report.same + report.differ), (40, 40));
    assert!(report.same > 0, "{report:#?}");
}

#[test]
fn a_recording_that_is_cut_short_is_replayed_as_far_as_it_goes() {
    let file = least_load();
    let report = again(&file[..file.len() - 200]);
    assert!(report.is_exact() && report.calls == 39, "{report:#?}");
    assert!(report.remarks[0].contains("cut short"), "{:?}", report.remarks);
}

#[test]
fn what_is_no_recording_of_ours_is_refused_with_the_reason() {
    let file = least_load();
    let error = |file: &str| Recording::read(Cursor::new(file)).unwrap_err();
    assert!(matches!(error(""), ReadError::Empty));
    assert!(error("hello\n").to_string().contains("is no recording"));
    let newer = tampered(&file, r#""format":1"#, r#""format":2"#);
    assert_eq!(
        error(&newer).to_string(),
        "the recording has format 2; this headworks reads format 1: use the version that wrote it"
    );
    let foreign = tampered(&file, "headworks:policy@0.1.0", "headworks:policy@0.9.0");
    assert!(error(&foreign).to_string().contains("policies of headworks:policy@0.9.0"));
    let garbled = tampered(&file, r#"{"fleet":"#, r#"{"fleet"#);
    assert!(matches!(error(&garbled), ReadError::BadLine { .. }));
    let missing: String =
        file.lines().filter(|line| !line.starts_with(r#"{"facts":"#)).map(|line| line.to_owned() + "\n").collect();
    assert!(error(&missing).to_string().contains("names facts 0, which is not there"));
}

#[test]
fn prompts_are_in_a_recording_only_where_they_are_wanted() {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let theatre = Theatre::new();
    // Divides by three, so that base64 has one form of it.
    let secret = BASE64_STANDARD.encode("secret words");
    theatre.record().play(&some_steps()[..1]);
    let without = theatre.file(false);
    theatre.record().play(&some_steps()[..1]);
    let with = theatre.file(true);
    assert!(!without.contains(&secret) && !without.contains("secret"));
    assert!(with.contains(&secret));
}

#[test]
fn an_explanation_says_what_a_policy_saw_and_was_told() {
    let theatre = Theatre::new();
    theatre.record().play(&some_steps());
    let file = theatre.file(false);
    let mut part = Vec::new();
    assert_eq!(excerpt(Cursor::new(&file), 77, &mut part).unwrap(), 0);
    assert!(part.is_empty());
    assert_eq!(excerpt(Cursor::new(&file), 7, &mut part).unwrap(), 5);
    let part = String::from_utf8(part).unwrap();
    assert!(part.len() < file.len(), "a part is less than the whole");
    let recording = read(&part);
    assert_eq!(recording.remarks, Vec::<String>::new());
    let calls = explain(&recording, 7, &Options::default()).unwrap();
    let load = calls.iter().find(|call| call.policy.name == "least-load").unwrap();
    assert_eq!(load.outcome, Ok(None));
    assert!(load.track.looked.has(Look::FleetRunning) && !load.track.looked.has(Look::Prompt));
    let turns = calls.iter().find(|call| call.policy.name == "round-robin").unwrap();
    assert!(turns.track.heard.iter().any(|heard| matches!(heard.ask, Ask::Count { .. })));
    assert!(matches!(turns.call.answer.said, policy_runtime::recording::Said::Place(Placement::Replica(_))));
    assert!(turns.fuel.unwrap() > 0);
}

#[test]
fn nothing_is_recorded_where_nobody_records() {
    let theatre = Theatre::new();
    theatre.play(&some_steps());
    assert_eq!(theatre.file(false).lines().count(), 2, "a beginning and an end");
    assert_eq!(again(&theatre.file(false)).calls, 0);
}
