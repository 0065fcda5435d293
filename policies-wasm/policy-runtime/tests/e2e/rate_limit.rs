//! rate-limit as built: exact across reloads and threads, true to what requests cost, told in headers.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use policy_api::{Admission, Answer, Denial, RequestFacts};

use crate::support::{admit, ended, load, load_after, prompt, runtime, tell};

fn passes(answer: &Answer<Admission>) -> bool {
    match &answer.verdict {
        Admission::Pass => true,
        Admission::Deny(Denial { status: 429, .. }) => false,
        other => panic!("{other:?}"),
    }
}

fn header<'a>(answer: &'a Answer<Admission>, name: &str) -> Option<&'a str> {
    answer.words.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

fn headers(answer: &Answer<Admission>) -> Vec<String> {
    answer.words.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect()
}

#[test]
fn totals_are_exact_across_twenty_reloads_and_eight_threads() {
    const REQUESTS: u32 = 1000;
    let config = format!(r#"{{"rules":[{{"requests_per_minute":{REQUESTS}}}]}}"#);
    let runtime = runtime();
    let (passed, asked) = (AtomicU32::new(0), AtomicU32::new(0));
    let mut old = load(&runtime, "rate-limit", &config);
    let mut new = load_after(&runtime, "rate-limit", &config, Some(&old));
    for _ in 0..20 {
        // Both versions are asked while the next one is loaded.
        let next = std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for policy in [&old, &new].into_iter().cycle().take(16) {
                        let answer = admit(policy, 5, prompt(u64::from(asked.fetch_add(1, Relaxed)), b'x', 1));
                        passed.fetch_add(u32::from(passes(&answer)), Relaxed);
                    }
                });
            }
            load_after(&runtime, "rate-limit", &config, Some(&new))
        });
        (old, new) = (new, next);
    }
    assert!(asked.load(Relaxed) > 2 * REQUESTS);
    assert_eq!(passed.load(Relaxed), REQUESTS);
}

#[test]
fn headers_tell_what_is_left_whether_or_not_a_request_may_enter() {
    let runtime = runtime();
    let config = r#"{"rules":[{"requests_per_minute":2,"tokens_per_minute":1000}],"default_output_tokens":36}"#;
    let policy = load(&runtime, "rate-limit", config);
    let first = admit(&policy, 0, prompt(1, b'x', 1));
    assert!(passes(&first));
    assert_eq!(
        headers(&first),
        [
            "x-ratelimit-limit-requests: 2",
            "x-ratelimit-remaining-requests: 1",
            "x-ratelimit-reset-requests: 30s",
            "x-ratelimit-limit-tokens: 1000",
            "x-ratelimit-remaining-tokens: 900",
            "x-ratelimit-reset-tokens: 6s",
        ]
    );
    assert!(passes(&admit(&policy, 0, prompt(2, b'x', 1))));
    let third = admit(&policy, 1000, prompt(3, b'x', 1));
    let Admission::Deny(denial) = &third.verdict else { panic!("{third:?}") };
    assert_eq!((denial.status, denial.retry_after_ms), (429, Some(29_000)));
    assert_eq!(denial.message, "rate limit of 2 requests per minute reached; try again in 29s");
    assert_eq!(third.words.reason.as_deref(), Some("tenant acme: 2 requests per minute"));
    // The tokens that it would have used are there again: 800 and a second's 16.
    assert_eq!(header(&third, "x-ratelimit-remaining-requests"), Some("0"));
    assert_eq!(header(&third, "x-ratelimit-remaining-tokens"), Some("816"));
    assert!(passes(&admit(&policy, 30_000, prompt(3, b'x', 1))));
}

#[test]
fn tokens_are_put_right_when_a_request_ends() {
    let runtime = runtime();
    let config = r#"{"rules":[{"tokens_per_minute":1000}],"default_output_tokens":136}"#;
    let policy = load(&runtime, "rate-limit", config);
    let left = |id, expected: &str| {
        let answer = admit(&policy, 0, prompt(id, b'x', 1));
        assert_eq!(header(&answer, "x-ratelimit-remaining-tokens"), Some(expected));
        answer.words.note.expect("a note says what was taken")
    };
    let note = left(1, "800");
    tell(&policy, ended(&prompt(1, b'x', 1), Some(&note), 60, 40));
    // 100 of 200 are given back, and the next takes 200.
    let note = left(2, "700");
    // The version that hears of the end need not be the one that let the request in.
    let policy_2 = load_after(&runtime, "rate-limit", config, Some(&policy));
    tell(&policy_2, ended(&prompt(2, b'x', 1), Some(&note), 64, 636));
    // 500 more than taken are charged, which leaves 200.
    left(3, "0");
    assert!(!passes(&admit(&policy, 0, prompt(4, b'x', 1))));
    tell(&policy, ended(&prompt(4, b'x', 1), None, 64, 636));
    // What is owed is paid first: a whole bucket at most.
    assert!(passes(&admit(&policy, 12_000, prompt(5, b'x', 1))));
}

#[test]
fn a_request_larger_than_the_bucket_need_not_wait() {
    let policy = load(&runtime(), "rate-limit", r#"{"rules":[{"tokens_per_minute":100}]}"#);
    let Admission::Deny(denial) = admit(&policy, 0, prompt(1, b'x', 1)).verdict else { panic!("it is let in") };
    assert_eq!((denial.status, denial.retry_after_ms), (429, None));
    assert!(denial.message.contains("576 tokens, more than the 100"), "{}", denial.message);
}

#[test]
fn a_place_is_given_back_when_the_answer_is_dropped() {
    let runtime = runtime();
    let config = r#"{"rules":[{"concurrent":2,"requests_per_minute":100}]}"#;
    let policy = load(&runtime, "rate-limit", config);
    let mut running = vec![admit(&policy, 0, prompt(1, b'x', 1)), admit(&policy, 0, prompt(2, b'x', 1))];
    assert!(running.iter().all(passes));
    let denied = admit(&policy, 0, prompt(3, b'x', 1));
    assert!(!passes(&denied));
    assert_eq!(header(&denied, "x-ratelimit-remaining-requests"), Some("98"), "its request is given back");
    let successor = load_after(&runtime, "rate-limit", config, Some(&policy));
    assert!(!passes(&admit(&successor, 0, prompt(4, b'x', 1))), "a successor knows who runs");
    running.pop();
    let next = admit(&successor, 0, prompt(5, b'x', 1));
    assert!(passes(&next));
    assert!(!passes(&admit(&successor, 0, prompt(6, b'x', 1))));
}

#[test]
fn each_tenant_has_its_own_limit_and_a_rule_its_whom() {
    let config = r#"{"rules":[
        {"tenant":"free-*","per":"rule","requests_per_minute":1},
        {"tenant":"gold"},
        {"requests_per_minute":1}]}"#;
    let policy = load(&runtime(), "rate-limit", config);
    let asks = |tenant: &str| {
        let facts = RequestFacts { tenant: tenant.to_owned(), ..prompt(1, b'x', 1) };
        passes(&admit(&policy, 0, facts))
    };
    assert_eq!(["a", "b", "a"].map(asks), [true, true, false]);
    assert_eq!(["free-1", "free-2"].map(asks), [true, false], "they share one bucket");
    assert_eq!(["gold"; 5].map(asks), [true; 5], "a rule without a limit lets everything in");
}
