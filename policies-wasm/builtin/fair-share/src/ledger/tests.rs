//! Whose turn it is, what is charged, what is bounded, and that nobody falls behind.

use headworks_policy::{Subject, Usage};
use proptest::prelude::*;

use super::*;

fn asking(request: u64, tenant: &str, tokens: u32) -> Asking<'_> {
    Asking { request, tenant, prompt_tokens: tokens, cost: u64::from(tokens) * PARTS_PER_TOKEN, now_ms: 0 }
}

fn ended(request: u64, outcome: Outcome, prompt_tokens: u32, output_tokens: u32) -> Ended {
    let subject = Subject { request, tenant: String::new(), model: String::new(), note: vec![] };
    let replica = (outcome != Outcome::Refused).then_some(0);
    Ended { subject, replica, outcome, usage: Usage { prompt_tokens, cached_tokens: 0, output_tokens } }
}

fn config(quantum_tokens: u32) -> Config {
    Config::parse(&format!(r#"{{"quantum_tokens":{quantum_tokens}}}"#)).unwrap()
}

fn served(ledger: &Ledger, tenant: &str) -> u64 {
    ledger.tenants[ledger.by_name[tenant] as usize].served / PARTS_PER_TOKEN
}

#[track_caller]
fn waits(turn: &Turn, why: &str) {
    let Turn::Wait(found) = turn else { panic!("{turn:?}") };
    assert_eq!(found.to_string(), why);
}

#[test]
fn alone_a_tenant_goes_as_long_as_there_is_room() {
    let mut ledger = Ledger::default();
    for request in 0..5 {
        assert_eq!(ledger.ask(&asking(request, "a", 1000), Room::Free, &config(0)), Turn::Go);
    }
    waits(&ledger.ask(&asking(5, "a", 1000), Room::Full, &config(0)), "held: no replica has room");
    assert_eq!(ledger.ask(&asking(5, "a", 1000), Room::Free, &config(0)), Turn::Go);
    assert_eq!(served(&ledger, "a"), 6000);
}

#[test]
fn who_is_ahead_waits_for_who_is_behind() {
    let (mut ledger, config) = (Ledger::default(), config(100));
    ledger.ask(&asking(1, "a", 10), Room::Full, &config);
    ledger.ask(&asking(2, "b", 10), Room::Full, &config);
    assert_eq!(ledger.ask(&asking(3, "a", 500), Room::Free, &config), Turn::Go);
    waits(&ledger.ask(&asking(1, "a", 10), Room::Free, &config), "held: a is 500 tokens ahead of b, who waits too");
    assert_eq!(ledger.ask(&asking(2, "b", 10), Room::Free, &config), Turn::Go);
    assert_eq!(ledger.ask(&asking(1, "a", 10), Room::Free, &config), Turn::Go, "b does not wait any more");
}

#[test]
fn within_the_quantum_nobody_waits() {
    let (mut ledger, config) = (Ledger::default(), config(500));
    ledger.ask(&asking(1, "b", 10), Room::Full, &config);
    assert_eq!(ledger.ask(&asking(2, "a", 500), Room::Free, &config), Turn::Go);
    assert_eq!(ledger.ask(&asking(3, "a", 1), Room::Free, &config), Turn::Go);
    waits(&ledger.ask(&asking(4, "a", 1), Room::Free, &config), "held: a is 501 tokens ahead of b, who waits too");
}

#[test]
fn a_request_is_charged_once_however_often_it_is_tried() {
    let mut ledger = Ledger::default();
    ledger.ask(&asking(1, "a", 100), Room::Free, &config(0));
    assert_eq!(ledger.ask(&asking(1, "a", 100), Room::Full, &config(0)), Turn::Go);
    assert_eq!(served(&ledger, "a"), 100);
}

#[test]
fn what_it_really_cost_counts_in_the_end() {
    let mut ledger = Ledger::default();
    for (request, outcome, prompt, output, expected) in [
        (1, Outcome::Finished, 40, 10, 60),
        (2, Outcome::Finished, 0, 10, 60 + 120),
        (3, Outcome::Refused, 0, 0, 180),
        (4, Outcome::Failed, 0, 0, 180),
        (5, Outcome::Cancelled, 0, 0, 280),
    ] {
        ledger.ask(&asking(request, "a", 100), Room::Free, &config(0));
        ledger.ended(&ended(request, outcome, prompt, output), &config(0));
        assert_eq!(served(&ledger, "a"), expected, "request {request}");
    }
    assert_eq!(ledger.requests_now(), 0);
    ledger.ended(&ended(9, Outcome::Finished, 1, 1), &config(0));
}

#[test]
fn who_comes_back_is_lifted_to_those_that_wait() {
    let (mut ledger, config) = (Ledger::default(), config(0));
    ledger.ask(&asking(1, "a", 5000), Room::Free, &config);
    ledger.ask(&asking(2, "a", 10), Room::Full, &config);
    ledger.ask(&asking(3, "new", 10), Room::Full, &config);
    assert_eq!(served(&ledger, "new"), 5000);
    // Nobody waits: the last that did counts.
    let mut ledger = Ledger::default();
    ledger.ask(&asking(1, "a", 5000), Room::Free, &config);
    ledger.ask(&asking(2, "new", 10), Room::Free, &config);
    assert_eq!(served(&ledger, "new"), 5010);
}

#[test]
fn a_tenant_whose_requests_are_gone_without_a_word_holds_up_nobody_for_long() {
    let (mut ledger, config) = (Ledger::default(), config(0));
    ledger.ask(&asking(1, "gone", 10), Room::Full, &config);
    ledger.ask(&asking(2, "a", 100), Room::Free, &config);
    let late = |now_ms| Asking { now_ms, ..asking(3, "a", 100) };
    waits(
        &ledger.ask(&late(WAITING_MS_MAX), Room::Free, &config),
        "held: a is 100 tokens ahead of gone, who waits too",
    );
    assert_eq!(ledger.ask(&late(WAITING_MS_MAX + 1), Room::Free, &config), Turn::Go);
}

#[test]
fn tenants_are_bounded_and_the_least_served_idle_one_is_forgotten() {
    let config = Config::parse(r#"{"tenants_max":2}"#).unwrap();
    let mut ledger = Ledger::default();
    for (request, tenant) in [(1, "a"), (2, "b")] {
        ledger.ask(&asking(request, tenant, 10), Room::Free, &config);
    }
    assert_eq!(ledger.ask(&asking(3, "c", 10), Room::Free, &config), Turn::Uncounted);
    ledger.ended(&ended(2, Outcome::Finished, 10, 0), &config);
    assert_eq!(ledger.ask(&asking(4, "c", 10), Room::Free, &config), Turn::Go);
    assert_eq!(ledger.by_name.keys().collect::<Vec<_>>(), ["a", "c"]);
}

#[test]
fn requests_are_bounded_and_the_oldest_is_forgotten() {
    let (mut ledger, config) = (Ledger::default(), config(0));
    for request in 0..REQUESTS_MAX as u64 + 10 {
        ledger.ask(&asking(request, "a", 1), Room::Free, &config);
    }
    assert_eq!(ledger.requests_now(), REQUESTS_MAX);
    assert_eq!(ledger.tenants[0].running as usize, REQUESTS_MAX);
    assert!(!ledger.requests.contains_key(&9) && ledger.requests.contains_key(&10));
}

#[test]
fn a_snapshot_of_another_form_or_cut_short_is_refused() {
    let mut ledger = Ledger::default();
    ledger.ask(&asking(1, "a", 10), Room::Free, &config(0));
    let bytes = ledger.write();
    assert_eq!(Ledger::read(&[]), Err("the snapshot is empty".to_owned()));
    assert_eq!(Ledger::read(&[9]), Err("the snapshot has form 9; this version reads 1".to_owned()));
    for cut in 1..bytes.len() {
        assert!(Ledger::read(&bytes[..cut]).is_err());
    }
    let longer = [&bytes[..], &[0]].concat();
    assert_eq!(Ledger::read(&longer), Err("the snapshot has 1 bytes too many".to_owned()));
}

/// One thing that happens to the ledger.
#[derive(Clone, Debug)]
enum Act {
    Ask { request: u64, tenant: u8, tokens: u32, room: bool },
    End { request: u64, prompt: u32, output: u32 },
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let ask = (0_u64..30, 0_u8..6, 0_u32..3000, any::<bool>()).prop_map(|(request, tenant, tokens, room)| Act::Ask {
        request,
        tenant,
        tokens,
        room,
    });
    let end =
        (0_u64..30, 0_u32..3000, 0_u32..500).prop_map(|(request, prompt, output)| Act::End { request, prompt, output });
    proptest::collection::vec(prop_oneof![ask, end], 0..80)
}

fn play(acts: &[Act], config: &Config) -> Ledger {
    let mut ledger = Ledger::default();
    for act in acts {
        match act {
            Act::Ask { request, tenant, tokens, room } => {
                let room = if *room { Room::Free } else { Room::Full };
                ledger.ask(&asking(*request, &format!("t{tenant}"), *tokens), room, config);
            }
            Act::End { request, prompt, output } => {
                ledger.ended(&ended(*request, Outcome::Finished, *prompt, *output), config);
            }
        }
    }
    ledger
}

proptest! {
    #[test]
    fn a_successor_knows_what_its_predecessor_knew(acts in acts()) {
        let ledger = play(&acts, &Config::parse(r#"{"tenants_max":4}"#).unwrap());
        prop_assert!(ledger.tenants.len() <= 4);
        prop_assert_eq!(Ledger::read(&ledger.write()), Ok(ledger));
    }

    #[test]
    fn bytes_that_are_no_snapshot_do_no_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(ledger) = Ledger::read(&[&[1][..], &bytes].concat()) {
            prop_assert_eq!(Ledger::read(&ledger.write()), Ok(ledger));
        }
    }

    /// Tenants that always have requests waiting stay together: nobody is ahead by more than the quantum, what one request
    /// costs, and what the requests that run now may still turn out to cost.
    #[test]
    fn backlogged_tenants_are_served_alike(
        seed in proptest::collection::vec((any::<u32>(), 1_u32..1000, 0_u32..1000), 200),
        quantum in 0_u32..2000,
        slots in 1_usize..6,
    ) {
        const COST_MAX: u64 = 1000;
        let (mut ledger, config) = (Ledger::default(), config(quantum));
        let (mut next, mut running, mut waiting) = (0_u64, Vec::new(), Vec::<(&str, u64, u32)>::new());
        for (chance, estimate, actual) in seed {
            for tenant in ["a", "b", "c"] {
                while waiting.iter().filter(|(name, ..)| *name == tenant).count() < 2 {
                    ledger.ask(&asking(next, tenant, estimate), Room::Full, &config);
                    waiting.push((tenant, next, estimate));
                    next += 1;
                }
            }
            if running.len() == slots {
                let request = running.swap_remove(chance as usize % slots);
                ledger.ended(&ended(request, Outcome::Finished, actual, 0), &config);
            }
            // Held requests are asked again in any order.
            let turn = chance as usize % waiting.len();
            waiting.rotate_left(turn);
            while running.len() < slots {
                let going = waiting.iter().position(|(tenant, request, estimate)| {
                    ledger.ask(&asking(*request, tenant, *estimate), Room::Free, &config) == Turn::Go
                });
                let Some(at) = going else { break };
                running.push(waiting.remove(at).1);
            }
            prop_assert!(!running.is_empty(), "somebody always goes");
            let counts: Vec<u64> = ledger.tenants.iter().map(|tenant| tenant.served / PARTS_PER_TOKEN).collect();
            let apart = counts.iter().max().unwrap() - counts.iter().min().unwrap();
            prop_assert!(apart <= u64::from(quantum) + (2 * slots as u64 + 1) * COST_MAX, "{counts:?}");
        }
    }
}
