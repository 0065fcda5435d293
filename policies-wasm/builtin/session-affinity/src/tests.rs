//! What a request is kept together by.

use headworks_policy::Facts;

use super::*;

fn facts(session: Option<&str>, tenant: &str, prompt: &[u8]) -> Facts {
    Facts {
        session: session.map(str::to_owned),
        tenant: tenant.to_owned(),
        prompt: prompt.to_vec(),
        ..Facts::default()
    }
}

#[track_caller]
fn check(config: &str, one: &Facts, other: &Facts, kind: Option<&str>, together: bool) {
    let config = Config::parse(config).unwrap();
    let keys = [one, other].map(|facts| key_of(&Request::of(facts), &config));
    assert_eq!(keys[0].map(|key| key.kind), kind);
    assert_eq!(keys[0].map(|key| key.hash) == keys[1].map(|key| key.hash), together);
}

#[test]
fn a_session_counts_before_anything_else() {
    let (one, other) = (facts(Some("s"), "a", b"x"), facts(Some("s"), "b", b"y"));
    check("{}", &one, &other, Some("session"), true);
    check("{}", &one, &facts(Some("t"), "a", b"x"), Some("session"), false);
}

#[test]
fn without_one_the_first_blocks_of_the_prompt_count() {
    let long = |last: u8| facts(None, "a", &[vec![b'x'; 1024], vec![last; 100]].concat());
    check("{}", &long(b'y'), &long(b'z'), Some("prefix"), true);
    check(r#"{"prefix_blocks":5}"#, &long(b'y'), &long(b'z'), Some("prefix"), false);
}

#[test]
fn or_the_tenant_or_nothing() {
    let (one, other) = (facts(None, "a", b"x"), facts(None, "a", b"y"));
    check(r#"{"without_session":"tenant"}"#, &one, &other, Some("tenant"), true);
    check(r#"{"without_session":"none"}"#, &one, &other, None, true);
}

#[test]
fn a_tenant_and_a_session_of_one_name_are_two() {
    check(
        r#"{"without_session":"tenant"}"#,
        &facts(Some("a"), "", b""),
        &facts(None, "a", b""),
        Some("session"),
        false,
    );
}
