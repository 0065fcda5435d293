//! Stories of a replica as tables, and what holds for all stories.

use proptest::prelude::*;

use super::*;

const RULES: BreakerRules = BreakerRules { failures_max: 3, open_ms: 100, open_ms_max: 400, busy_ms_max: 1000 };

/// Plays a story: `g`ood, `f`ailed, `b`usy, `u`nknown, each of a request that begins at once, `.` waits 100 ms.
fn played(story: &str) -> (Breaker, u64) {
    let (mut breaker, mut now_ms) = (Breaker::default(), 1000);
    for act in story.chars() {
        let conduct = match act {
            'g' => Conduct::Good,
            'f' => Conduct::Failed,
            'b' => Conduct::Busy { retry_after_ms: None },
            'B' => Conduct::Busy { retry_after_ms: Some(3_600_000) },
            'u' => Conduct::Unknown,
            't' => {
                breaker.begins(now_ms);
                continue;
            }
            _ => {
                now_ms += 100;
                continue;
            }
        };
        breaker.begins(now_ms);
        breaker.count(now_ms, conduct, &RULES);
    }
    (breaker, now_ms)
}

#[track_caller]
fn check(story: &str, expected: &str) {
    let (breaker, now_ms) = played(story);
    let word = match breaker.standing(now_ms) {
        Standing::Closed => "closed",
        Standing::Open { .. } => "open",
        Standing::HalfOpen => "half open",
        Standing::OnTrial => "on trial",
        Standing::Busy => "busy",
    };
    assert_eq!(word, expected, "{story}");
}

#[test]
fn failures_in_a_row_open_it() {
    check("ff", "closed");
    check("fff", "open");
    check("ffgff", "closed");
}

#[test]
fn half_of_many_calls_open_it() {
    check(&"fg".repeat(9), "closed");
    check(&("fg".repeat(9) + "ffg"), "open");
    check(&("fggg".repeat(9) + "ffg"), "closed");
}

#[test]
fn after_a_while_one_request_decides() {
    check("fff.", "half open");
    check("fff.t", "on trial");
    check("fff.tg", "closed");
    check("fff.tf", "open");
    check("fff.tu", "half open");
    check("fff.g", "closed");
}

#[test]
fn each_failed_trial_doubles_the_wait_up_to_a_bound() {
    check("fff.f.", "open");
    check("fff.f..", "half open");
    check("fff.f..f....", "half open");
    check("fff.f..f....f...", "open");
    check("fff.f..f....f....", "half open");
}

#[test]
fn a_late_answer_does_not_close_it() {
    check("fffg", "open");
    check("ffff.", "half open");
}

#[test]
fn back_pressure_passes_it_over_and_is_no_failure() {
    check("b", "busy");
    check("b.", "closed");
    check("B.........", "busy");
    check("B..........", "closed");
    check("ffbff", "busy");
    check("fff.b", "busy");
}

proptest! {
    /// Whatever happens, it opens for failures only, and never for ever.
    #[test]
    fn it_is_open_for_failures_only_and_a_while(story in "[gbBu.]{0,40}", all in "[gfbBut.]{0,60}") {
        let (breaker, now_ms) = played(&story);
        let standing = breaker.standing(now_ms);
        prop_assert!(standing == Standing::Closed || standing == Standing::Busy);
        let (mut breaker, now_ms) = played(&all);
        let later_ms = now_ms + RULES.open_ms_max.max(RULES.busy_ms_max);
        let is_out = matches!(breaker.standing(later_ms), Standing::Open { .. } | Standing::Busy);
        prop_assert!(!is_out);
        for _ in 0..WINDOW_CALLS {
            breaker.count(later_ms, Conduct::Good, &RULES);
        }
        prop_assert!(breaker.is_calm());
    }

    #[test]
    fn never_more_than_a_share_is_ejected(since in proptest::collection::vec(proptest::option::of(0..9_u64), 0..20), percent in 0..120_u32) {
        let standings: Vec<Standing> = since
            .iter()
            .map(|since| since.map_or(Standing::Closed, |since_ms| Standing::Open { since_ms }))
            .collect();
        let out = ejected(&standings, percent);
        let count = out.iter().filter(|out| **out).count();
        prop_assert!(count * 100 <= since.len() * percent as usize);
        prop_assert!(out.iter().zip(&since).all(|(out, since)| !out || since.is_some()));
    }
}

#[test]
fn the_longest_open_are_ejected_first() {
    let open = |since_ms| Standing::Open { since_ms };
    assert_eq!(ejected(&[open(9), Standing::Closed, open(3), Standing::HalfOpen], 25), [false, false, true, false]);
    assert_eq!(ejected(&[open(9)], 50), [false], "the only one stays");
}

#[test]
fn one_that_is_ten_times_slower_than_most_stands_out() {
    assert_eq!(slow_ones(&[10, 11, 12, 111], 10), [3]);
    assert_eq!(slow_ones(&[10, 11, 12, 110], 10), []);
    assert_eq!(slow_ones(&[10, 0, 500], 10), [], "two say nothing");
    assert_eq!(slow_ones(&[10, 10, 500], 0), [], "off");
    assert_eq!(slow_ones(&[0, 10, 10, u32::MAX], u32::MAX), []);
}
