//! Budgets bound what tenants use, however many of their requests are under way.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;

const NOON: u64 = 20_000 * DAY_MS + DAY_MS / 2;
const NOTHING: Wants = Wants { least: 0, most: 0 };

fn budget(requests_per_day: Option<u64>, tokens_per_day: Option<u64>, tokens_total: Option<u64>) -> Allowance {
    Allowance { requests_per_day, tokens_per_day, tokens_total }
}

/// A request that says how many tokens it may use.
fn of(tokens: u64) -> Wants {
    Wants { least: tokens, most: tokens }
}

fn begin(account: &Arc<Account>, budget: &Allowance, wants: Wants, now: u64) -> Result<Reserved, (&'static str, Why)> {
    account.begin(budget, wants, now).map_err(|spent| (spent.bound, spent.why))
}

#[test]
fn a_days_requests_are_bounded_and_begin_anew_at_midnight() {
    let (account, budget) = (Arc::default(), budget(Some(2), None, None));
    let _two = [begin(&account, &budget, NOTHING, NOON).unwrap(), begin(&account, &budget, NOTHING, NOON).unwrap()];
    let spent = Spent {
        bound: "requests_per_day",
        max: 2,
        why: Why::UsedUp,
        resets_in_ms: Some(DAY_MS / 2),
        resets_at_unix_ms: Some(20_001 * DAY_MS),
    };
    assert_eq!(account.begin(&budget, NOTHING, NOON).unwrap_err(), spent);
    assert!(begin(&account, &budget, NOTHING, NOON + DAY_MS / 2).is_ok());
    assert_eq!(account.used(NOON + DAY_MS / 2).requests_today, 1);
}

#[test]
fn tokens_that_were_used_bound_those_that_follow() {
    let (account, budget) = (Arc::default(), budget(None, Some(100), Some(150)));
    begin(&account, &budget, of(90), NOON).unwrap().end(120, NOON);
    assert_eq!(begin(&account, &budget, of(1), NOON).unwrap_err(), ("tokens_per_day", Why::UsedUp));
    let tomorrow = NOON + DAY_MS;
    let too_large = Why::TooLarge { wants: 31, left: 30 };
    assert_eq!(begin(&account, &budget, of(31), tomorrow).unwrap_err(), ("tokens_total", too_large));
    begin(&account, &budget, of(30), tomorrow).unwrap().end(30, tomorrow);
    let spent = account.begin(&budget, of(1), NOON + 9 * DAY_MS).unwrap_err();
    assert_eq!((spent.bound, spent.resets_in_ms), ("tokens_total", None));
}

#[test]
fn what_requests_under_way_may_use_is_not_given_twice() {
    let (account, budget) = (Arc::default(), budget(None, None, Some(100)));
    let first = begin(&account, &budget, of(60), NOON).unwrap();
    let refused = account.begin(&budget, of(50), NOON).unwrap_err();
    assert_eq!(refused.why, Why::Reserved { wants: 50, left: 40 });
    assert_eq!(refused.retry_after_ms(), Some(IN_FLIGHT_RETRY_MS));
    let second = begin(&account, &budget, of(40), NOON).unwrap();
    assert_eq!(account.reserved(), 100);
    first.end(10, NOON);
    drop(second);
    assert_eq!((account.reserved(), account.used(NOON).tokens_total), (0, 10));
    assert!(begin(&account, &budget, of(90), NOON).is_ok());
}

#[test]
fn a_request_without_a_bound_speaks_for_what_there_is() {
    let (account, budget) = (Arc::default(), budget(None, None, Some(100)));
    let open = Wants { least: 5, most: 1029 };
    let first = begin(&account, &budget, open, NOON).unwrap();
    assert_eq!(account.reserved(), 100);
    let full = Why::Reserved { wants: 5, left: 0 };
    assert_eq!(begin(&account, &budget, open, NOON).unwrap_err(), ("tokens_total", full));
    first.end(20, NOON);
    assert!(begin(&account, &budget, open, NOON).is_ok());
}

/// What happens to an account.
#[derive(Clone, Debug)]
enum Act {
    Begin {
        tokens: u64,
    },
    /// One of those under way ends, having used this share of its tokens.
    End {
        which: prop::sample::Index,
        percent: u64,
    },
    /// One of those under way is dropped.
    Drop {
        which: prop::sample::Index,
    },
    Pass {
        ms: u64,
    },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let which = any::<prop::sample::Index>;
    let act = prop_oneof![
        3 => (1_u64..200).prop_map(|tokens| Act::Begin { tokens }),
        2 => (which(), 0_u64..=100).prop_map(|(which, percent)| Act::End { which, percent }),
        1 => which().prop_map(|which| Act::Drop { which }),
        1 => (0..DAY_MS).prop_map(|ms| Act::Pass { ms }),
    ];
    prop::collection::vec(act, 0..200)
}

proptest! {
    /// Whatever begins and ends in whatever order: as long as none uses more than it said, none of the bounds is passed,
    /// nothing that fits is turned away, and what is spoken for is given back.
    #[test]
    fn requests_together_keep_the_budget(acts in acts(), per_day in 1_u64..400, total in 1_u64..2000) {
        let (account, budget) = (Arc::new(Account::default()), budget(None, Some(per_day), Some(total)));
        let (mut under_way, mut now) = (Vec::<(Reserved, u64)>::new(), NOON);
        for act in acts {
            match act {
                Act::Begin { tokens } => {
                    let (used, reserved) = (account.used(now), account.reserved());
                    let fits = used.tokens_today + reserved + tokens <= per_day && used.tokens_total + reserved + tokens <= total;
                    let begun = account.begin(&budget, of(tokens), now);
                    prop_assert_eq!(begun.is_ok(), fits);
                    under_way.extend(begun.ok().map(|begun| (begun, tokens)));
                }
                Act::End { which, percent } if !under_way.is_empty() => {
                    let (reserved, tokens) = under_way.swap_remove(which.index(under_way.len()));
                    reserved.end(tokens * percent / 100, now);
                }
                Act::Drop { which } if !under_way.is_empty() => drop(under_way.swap_remove(which.index(under_way.len()))),
                Act::Pass { ms } => now += ms,
                Act::End { .. } | Act::Drop { .. } => {}
            }
            let used = account.used(now);
            prop_assert!(used.tokens_today + account.reserved() <= per_day);
            prop_assert!(used.tokens_total + account.reserved() <= total);
            prop_assert_eq!(account.reserved(), under_way.iter().map(|(_, tokens)| tokens).sum::<u64>());
        }
        drop(under_way);
        prop_assert_eq!(account.reserved(), 0);
    }
}
