//! Who goes when, as stories, and what holds for all of them.

use proptest::prelude::*;

use super::*;

fn held(tenant: &str, model: &str, priority: u32, tokens: u32) -> Held {
    Held { tenant: tenant.into(), model: model.into(), priority, tokens, since_ms: 0 }
}

/// A queue of requests, each as `TENANT/MODEL*TOKENS^PRIORITY`, without what is ordinary.
fn queue(requests: &str) -> HoldQueue {
    let mut queue = HoldQueue::default();
    for request in requests.split_whitespace() {
        let (rest, priority) = request.split_once('^').unwrap_or((request, "0"));
        let (rest, tokens) = rest.split_once('*').unwrap_or((rest, "1000"));
        let (tenant, model) = rest.split_once('/').unwrap_or((rest, "m"));
        queue.push(held(tenant, model, priority.parse().unwrap(), tokens.parse().unwrap()));
    }
    queue
}

/// The order in which all are placed, by tenant, after a change that makes room for so many.
fn placed(queue: &mut HoldQueue, room: usize) -> String {
    queue.changed();
    let mut order = Vec::new();
    let mut left = room;
    while let Some(id) = queue.ask_next() {
        let tenant = queue.held[&id].tenant.to_string();
        match left {
            0 => queue.settle(id, Asked::StillHeld, 0),
            _ => {
                queue.settle(id, Asked::Placed, 0);
                order.push(tenant);
                left -= 1;
            }
        }
    }
    order.join("")
}

#[track_caller]
fn check(requests: &str, room: usize, expected: &str) {
    assert_eq!(placed(&mut queue(requests), room), expected, "{requests}");
}

#[test]
fn tenants_take_turns_by_tokens() {
    check("a a a a b b", 9, "aabbaa");
    check("a*2000 a*2000 a*2000 b*1000 b*1000 b*1000", 9, "abbaba");
    check("a*9000 b b", 9, "bba");
}

#[test]
fn the_urgent_go_first() {
    check("a a b^5 c^9", 9, "cbaa");
    check("a^1 a b^1 b", 2, "ab");
}

#[test]
fn only_as_many_go_as_there_is_room_for() {
    check("a a a b", 2, "aa");
    check("a a a b", 0, "");
}

#[test]
fn one_that_finds_no_room_holds_up_no_other_tenant_or_model() {
    let mut queue = queue("a/full a/free b/full");
    queue.changed();
    let mut asked = Vec::new();
    while let Some(id) = queue.ask_next() {
        let Held { tenant, model, .. } = queue.held[&id].clone();
        asked.push(format!("{tenant}/{model}"));
        let became = if &*model == "free" { Asked::Placed } else { Asked::StillHeld };
        queue.settle(id, became, 0);
    }
    assert_eq!(asked, ["a/full", "a/free", "b/full"]);
    assert_eq!(queue.ask_next(), None, "nobody is asked again before a change");
}

#[test]
fn without_a_change_nobody_is_asked() {
    let mut queue = queue("a");
    assert_eq!(queue.ask_next(), None);
    queue.changed();
    let id = queue.ask_next().expect("it is its turn");
    assert_eq!(queue.ask_next(), None, "one at a time");
    queue.settle(id, Asked::Gone, 0);
    assert!(queue.is_empty());
}

#[test]
fn who_comes_later_waits_behind_its_like() {
    let queue = queue("a/m^2");
    assert!(queue.is_behind("a", "m", 2) && queue.is_behind("a", "m", 1));
    assert!(!queue.is_behind("a", "m", 3) && !queue.is_behind("a", "n", 0) && !queue.is_behind("b", "m", 0));
}

#[test]
fn the_wait_that_clients_are_told_follows_the_drain() {
    let mut queue = queue(&"a ".repeat(30));
    assert_eq!(queue.retry_after_s(5000), RETRY_S_UNKNOWN);
    queue.changed();
    for second in 0..10 {
        let id = queue.ask_next().unwrap();
        queue.settle(id, Asked::Placed, second * 1000);
    }
    assert_eq!(queue.retry_after_s(10_000), 21, "20 wait, one leaves each second");
    assert_eq!(queue.tenants()[0].waiting, 20);
}

proptest! {
    /// Whoever waits is asked at each change that has room for all, exactly once, and nothing is kept of them.
    #[test]
    fn everybody_goes_once(requests in proptest::collection::vec((0..4_u8, 0..3_u8, 0..3_u32, 0..9000_u32), 0..40), leave in 0..10_usize) {
        let mut queue = HoldQueue::default();
        let mut ids: Vec<HeldId> = requests
            .iter()
            .map(|(tenant, model, priority, tokens)| queue.push(held(&tenant.to_string(), &model.to_string(), *priority, *tokens)))
            .collect();
        for id in ids.drain(..leave.min(ids.len())) {
            queue.settle(id, Asked::Gone, 0);
        }
        queue.changed();
        let mut placed = Vec::new();
        while let Some(id) = queue.ask_next() {
            queue.settle(id, Asked::Placed, 0);
            placed.push(id);
        }
        placed.sort_unstable();
        prop_assert_eq!(placed, ids);
        prop_assert!(queue.is_empty() && queue.levels.is_empty());
    }

    /// Tenants that always have something to send get about the same tokens, whatever the sizes of their requests.
    #[test]
    fn shares_are_fair(sizes in proptest::collection::vec(1..4000_u32, 2..5)) {
        let mut queue = HoldQueue::default();
        let mut spent = vec![0_u64; sizes.len()];
        let add = |queue: &mut HoldQueue, tenant: usize| queue.push(held(&tenant.to_string(), "m", 0, sizes[tenant]));
        (0..sizes.len()).for_each(|tenant| (0..2).for_each(|_| {
            add(&mut queue, tenant);
        }));
        queue.changed();
        while spent.iter().sum::<u64>() < 400_000 {
            queue.changed();
            let id = queue.ask_next().expect("all wait");
            let tenant: usize = queue.held[&id].tenant.parse().unwrap();
            queue.settle(id, Asked::Placed, 0);
            spent[tenant] += u64::from(sizes[tenant]);
            add(&mut queue, tenant);
        }
        let (least, most) = (spent.iter().min().unwrap(), spent.iter().max().unwrap());
        prop_assert!(most - least <= 4 * QUANTUM_TOKENS + 8000, "{spent:?}");
    }
}
