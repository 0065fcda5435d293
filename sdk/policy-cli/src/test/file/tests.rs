//! What may stand in a test file, and how what may not is refused.

use super::*;

fn refused(text: &str) -> String {
    format!("{:#}", TestFile::parse(text).expect_err("must be refused"))
}

const WHOLE: &str = r#"
[[test]]
name = "everything there is"
config = { scan = "all", depth = { a = [1, 2] } }
hook = "place"
fleet = [
    { id = 1, region = 0, running = 3, waiting = 1, kv_blocks_used = 5, kv_blocks_total = 9, prefix_hit_permille = 10,
      health = "unknown", draining = true, role = "decode", age_ms = 1, ttft_us = 2, tpot_us = 3, weight = 50,
      prefill_tokens = 7 },
    { id = 2 },
]
regions = [{ id = 0, local = true, available = 1, queue = 2, rtt_us = 0, age_ms = 4 }, { id = 1 }]
request = { id = 9, endpoint = "/v1/completions", model = "m", tenant = "a", session = "s", priority = 1, prompt = "abcd",
    prompt_repeat = 3, prompt_tokens_estimate = 5, output_tokens_max = 6, stream = true, hop = 1, tokens = [1, 2],
    headers = { X-Tier = "gold" } }
observe = [
    { replica_up = 1 }, { replica_down = 2 }, { started = { request = 1, replica = 1 } },
    { first_token = { request = 1, replica = 1, ttft_us = 5 } }, { failed = { request = 1, replica = 1, why = "cancelled" } },
    { ended = { request = 1, tenant = "a", model = "m", replica = 1, outcome = "refused", prompt_tokens = 5,
                cached_tokens = 2, output_tokens = 7 } },
]
observe_between = [{ ended = {} }]
expect = [{ replica = 1 }, { region = 2 }, { hold = true }, { pass = true }, { reject = 429 }, { fault = "unreachable" }]
expect_reason = "because"
expect_headers = { x-a = "1" }
advance_ms = 100
"#;

#[test]
fn everything_there_is_can_be_said() {
    let file = TestFile::parse(WHOLE).unwrap();
    let test = &file.tests[0];
    assert_eq!((test.calls().len(), test.hook()), (6, Some(AskedHook::Place)));
    let view = test.view();
    assert_eq!((view.id.as_slice(), view.weight.as_slice()), (&[1, 2][..], &[50, 100][..]));
    assert_eq!((view.health.as_slice(), view.regions.id.as_slice()), (&[0, 1][..], &[0, 1][..]));
    let facts = test.request.facts(2);
    assert_eq!((facts.id, facts.prompt.to_vec(), facts.prompt_tokens_estimate), (11, b"abcdabcdabcd".to_vec(), 5));
    assert_eq!(facts.header("x-tier"), Some("gold"));
}

#[test]
fn the_tests_of_a_new_policy_can_be_read() {
    assert_eq!(TestFile::parse(include_str!("../../../templates/example.toml")).unwrap().tests.len(), 3);
}

#[test]
fn a_test_needs_a_name_and_an_expectation_only() {
    let file = TestFile::parse("[[test]]\nname = \"n\"\nexpect = { allow = true }").unwrap();
    let test = &file.tests[0];
    assert_eq!((test.hook(), test.calls().len(), test.view().len()), (Some(AskedHook::Admit), 1, 0));
    assert_eq!((test.view().regions.id, test.view().regions.available), (vec![0], vec![0]));
}

#[test]
fn what_cannot_be_read_is_named_with_its_line_and_what_may_stand_there() {
    let refusals: Vec<String> = [
        "[[test]]\nname = \"n\"\nexpects = { hold = true }",
        "[[test]]\nname = \"n\"\nfleet = [{ id = 1, runing = 3 }]\nexpect = { hold = true }",
        "[[test]]\nname = \"n\"\nfleet = [{ id = 1, health = \"sick\" }]\nexpect = { hold = true }",
        "[[test]]\nname = \"n\"\nfleet = [{ running = 3 }]\nexpect = { hold = true }",
        "[[test]]\nname = \"n\"\nexpect = { replca = 1 }",
        "[[test]]\nname = \"n\"\nexpect = [{ replica = 1 }, { replica = \"two\" }]",
        "[[test]]\nname = \"n\"\nexpect = { hold = false }",
        "[[test]]\nname = \"n\"\nexpect = 7",
        "[[test]]\nname = \"n\"\nobserve = [{ endet = {} }]\nexpect = { hold = true }",
        "[[test]]\nname = \"n\"",
        "[[test]\n",
        "test = []",
    ]
    .into_iter()
    .map(refused)
    .collect();
    insta::assert_snapshot!(refusals.join("\n\n"));
}

#[test]
fn what_makes_no_sense_together_is_refused() {
    let test = |rest: &str| refused(&format!("[[test]]\nname = \"n\"\n{rest}"));
    assert!(test("repeat = 3\nexpect = [{ hold = true }]").contains("must be the same"));
    assert!(test("repeat = 0\nexpect = { hold = true }").contains("1 to 100000 calls"));
    assert!(test("expect = []").contains("1 to 100000 calls"));
    assert!(test("expect = [{ hold = true }, { allow = true }]").contains("the place hook never answers allow"));
    assert!(test("hook = \"admit\"\nexpect = { replica = 1 }").contains("the admit hook never answers replica 1"));
    assert!(test("fleet = [{ id = 1 }, { id = 1 }]\nexpect = { hold = true }").contains("same id"));
}
