//! Sessions that stay, and urgent requests that keep others away.

use policy_api::{Placement, RequestFacts};

use crate::support::{load, loaded, place, prompt, runtime, target};

fn in_session(id: u64, session: usize) -> RequestFacts {
    RequestFacts { session: Some(format!("session-{session}")), ..prompt(id, b'a', 2) }
}

#[test]
fn only_the_sessions_of_a_replica_that_leaves_move() {
    let policy = load(&runtime(), "session-affinity", "");
    let all = loaded(1, &[0; 5]);
    let homes: Vec<u32> = (0..100).map(|session| target(&policy, in_session(1, session), &all).0).collect();
    assert!((0..5).all(|id| homes.contains(&id)), "{homes:?}");
    let rest: Vec<_> = (0..4).map(|id| crate::support::row(id, 0)).collect();
    let rest = crate::support::fleet(2, &rest);
    for (session, home) in homes.iter().enumerate() {
        let (now, why) = target(&policy, in_session(2, session), &rest);
        assert!(now == *home || *home == 4, "session {session} was on {home}: {why}");
    }
}

#[test]
fn a_session_leaves_a_home_that_is_full_and_comes_back() {
    let policy = load(&runtime(), "session-affinity", "");
    let (home, why) = target(&policy, in_session(1, 7), &loaded(1, &[1, 1, 1]));
    assert_eq!(why, format!("by session: its home {home}, load 1 below 2"));
    let mut loads = [1; 3];
    loads[home as usize] = 9;
    let (other, why) = target(&policy, in_session(2, 7), &loaded(2, &loads));
    assert_ne!(other, home);
    assert!(why.ends_with(&format!("its home {home} is full")), "{why}");
    assert_eq!(target(&policy, in_session(3, 7), &loaded(3, &[2, 2, 2])).0, home);
}

#[test]
fn without_a_session_it_may_leave_the_request_to_others() {
    let policy = load(&runtime(), "session-affinity", r#"{"without_session":"none"}"#);
    assert_eq!(place(&policy, prompt(1, b'a', 2), &loaded(1, &[0])).verdict, Placement::Pass);
}

#[test]
fn llumnix_keeps_room_where_urgent_requests_run_until_they_end() {
    let policy = load(&runtime(), "llumnix-dispatch", "");
    let fleet = loaded(1, &[4, 5]);
    let (id, why) = target(&policy, prompt(1, b'a', 0), &fleet);
    assert_eq!((id, why.as_str()), (0, "0 is the freest: 960 blocks for a batch of 4, 240.0 each"));
    let urgent = RequestFacts { priority: 1, ..prompt(2, b'a', 0) };
    let running = place(&policy, urgent, &fleet);
    assert_eq!(running.words.holds.len(), 2);
    let heavy = loaded(2, &[4, 4]);
    for id in 3..20 {
        assert_eq!(target(&policy, prompt(id, b'a', 0), &heavy).0, 1, "100 blocks of headroom are kept on 0");
    }
    drop(running);
    let targets: Vec<u32> = (20..60).map(|id| target(&policy, prompt(id, b'a', 0), &heavy).0).collect();
    assert!(targets.contains(&0), "{targets:?}");
}
