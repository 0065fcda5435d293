//! Tests that hold, and what is said of those that do not, on a policy whose every answer is known.

use std::sync::atomic::{AtomicU32, Ordering};

use policy_api::{Denial, Mode};
use policy_runtime::{Host, Level};

use super::*;
use crate::test::file::TestFile;

/// Places each call on the next replica, by its count; admits while fewer than `events` were heard than its count.
struct Counting {
    description: Description,
    host: Arc<VirtualHost>,
    calls: AtomicU32,
    events: AtomicU32,
}

impl Policy for Counting {
    fn describe(&self) -> &Description {
        &self.description
    }

    fn admit(&self, call: &Call<'_>) -> Result<Answer<Admission>, PolicyFault> {
        let heard = self.events.load(Ordering::Relaxed);
        let admission = match (call.facts.tenant.as_str(), heard) {
            ("nobody", _) => return Err(PolicyFault::Trapped { message: "unreachable".to_owned() }),
            (_, 0) => Admission::Pass,
            (_, 1) => Admission::Allow,
            _ => Admission::Deny(Denial { status: 429, retry_after_ms: None, message: "enough".to_owned() }),
        };
        Ok(Answer::bare(admission))
    }

    fn place(&self, call: &Call<'_>) -> Result<Answer<Placement>, PolicyFault> {
        let turn = self.calls.fetch_add(1, Ordering::Relaxed);
        self.host.log("test", Level::Info, &format!("turn {turn} at {} ms", call.now_ms));
        let reason = Some(format!("turn {turn}"));
        let headers = vec![("x-turn".to_owned(), turn.to_string())];
        Ok(Answer {
            verdict: Placement::Replica(ReplicaId(turn)),
            words: Words { reason, headers, ..Words::default() },
        })
    }

    fn observe(&self, _: u64, _: &Arc<FleetView>, events: &[Event]) -> Result<(), PolicyFault> {
        self.events.fetch_add(events.len() as u32, Ordering::Relaxed);
        Ok(())
    }
}

fn failure(rest: &str) -> Option<String> {
    let file = TestFile::parse(&format!("[[test]]\nname = \"n\"\n{rest}")).unwrap();
    let host = Arc::new(VirtualHost::default());
    let description = Description {
        name: "counting".to_owned(),
        version: "1".to_owned(),
        hooks: vec![Hook::Admit, Hook::Place, Hook::Observe],
        mode: Mode::Pooled,
        config_schema: String::new(),
    };
    let (calls, events) = (AtomicU32::new(0), AtomicU32::new(0));
    let policy = Counting { description, host: Arc::clone(&host), calls, events };
    failure_of(&file.tests[0], Arc::new(policy), &host)
}

const FLEET: &str = "fleet = [{ id = 0 }, { id = 1 }, { id = 2, draining = true }]";

#[test]
fn a_list_expects_of_each_call_its_own() {
    let calls =
        "expect = [{ replica = 0 }, { replica = 1 }, { fault = \"takes no work\" }, { fault = \"does not have\" }]";
    assert_eq!(failure(&format!("{FLEET}\n{calls}\nexpect_reason = \"turn\"")), None);
}

#[test]
fn a_failure_says_what_came_and_what_the_policy_said() {
    let failed = failure(&format!("{FLEET}\nrepeat = 2\nadvance_ms = 40\nexpect = {{ replica = 0 }}")).unwrap();
    assert_eq!(
        failed,
        "call 2: expected replica 0, got replica 1\nits reason: turn 1\nit logged info: turn 0 at 0 ms\nit logged info: turn 1 at 40 ms"
    );
}

#[test]
fn reasons_and_headers_are_expected_too() {
    let failed = |rest: &str| failure(&format!("{FLEET}\nexpect = {{ replica = 0 }}\n{rest}"));
    assert_eq!(failed("expect_headers = { x-turn = \"0\" }"), None);
    assert!(failed("expect_headers = { x-turn = \"1\" }").unwrap().contains("expected the header x-turn: 1, got 0"));
    assert!(failed("expect_headers = { x-other = \"1\" }").unwrap().contains("got none"));
    assert!(failed("expect_reason = \"least load\"").unwrap().contains("expected a reason with \"least load\""));
}

#[test]
fn events_are_told_before_and_between_calls() {
    assert_eq!(failure("hook = \"admit\"\nexpect = { pass = true }"), None);
    let events = "observe = [{ replica_up = 1 }]\nobserve_between = [{ ended = { outcome = \"finished\" } }]";
    assert_eq!(failure(&format!("{events}\nexpect = [{{ allow = true }}, {{ deny = 429 }}]")), None);
}

#[test]
fn a_trap_is_a_fault_and_no_denial() {
    let test = "request = { tenant = \"nobody\" }\n";
    assert_eq!(failure(&format!("{test}hook = \"admit\"\nexpect = {{ fault = \"unreachable\" }}")), None);
    let failed = failure(&format!("{test}expect = {{ deny = 503 }}")).unwrap();
    assert!(failed.starts_with("expected deny 503, got fault (policy trapped: unreachable)"), "{failed}");
}
