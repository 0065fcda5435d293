//! A request that waits too long is sent to a second replica, where that is wanted.

use crate::fixture::{Asked, Proxy, Replica, replicas, text};

/// The next request that somebody still waits for.
async fn asked(one: &mut Replica, two: &mut Replica) -> Asked {
    loop {
        let asked = tokio::select! {
            asked = one.asked() => asked,
            asked = two.asked() => asked,
        };
        if !asked.is_left() {
            return asked;
        }
    }
}

/// A proxy that has seen enough answers to know how long they take.
async fn hedging(one: &mut Replica, two: &mut Replica, percent_max: u32) -> Proxy {
    let lines = format!("limits.hedge_percent_max = {percent_max}\nlimits.hedge_ms_least = 1");
    let proxy = Proxy::start(&format!("{lines}\n{}", replicas([&*one, &*two]))).await;
    proxy.until_healthy(2).await;
    for _ in 0..30 {
        // A slow machine may hedge these too.
        tokio::select! {
            _ = proxy.chat() => {}
            () = async { loop { asked(one, two).await.answer(200, "{}") } } => {}
        }
    }
    proxy
}

#[tokio::test]
async fn the_second_answers_for_one_that_hangs_and_the_first_ones_work_is_dropped() {
    let (mut one, mut two) = (Replica::start().await, Replica::start().await);
    let proxy = hedging(&mut one, &mut two, 100).await;
    // A slow machine may have hedged one of those that made it known, too.
    let before = proxy.metric("headworks_proxy_hedges_total{first=\"second\"}").await;
    let (answer, ()) = tokio::join!(proxy.chat(), async {
        let mut first = asked(&mut one, &mut two).await;
        asked(&mut one, &mut two).await.answer(200, "second");
        first.left().await;
    });
    assert_eq!(text(answer).await, "second");
    assert_eq!(proxy.metric("headworks_proxy_hedges_total{first=\"second\"}").await, before + 1.0);
    proxy.until_idle().await;
}

#[tokio::test]
async fn the_first_may_still_win() {
    let (mut one, mut two) = (Replica::start().await, Replica::start().await);
    let proxy = hedging(&mut one, &mut two, 100).await;
    let (answer, ()) = tokio::join!(proxy.chat(), async {
        let first = asked(&mut one, &mut two).await;
        let mut second = asked(&mut one, &mut two).await;
        first.answer(200, "first");
        second.left().await;
    });
    assert_eq!(text(answer).await, "first");
}

#[tokio::test]
async fn a_first_that_breaks_is_waited_for_no_more() {
    let (mut one, mut two) = (Replica::start().await, Replica::start().await);
    let proxy = hedging(&mut one, &mut two, 100).await;
    let (answer, ()) = tokio::join!(proxy.chat(), async {
        let first = asked(&mut one, &mut two).await;
        let second = asked(&mut one, &mut two).await;
        first.break_off();
        second.answer(200, "second");
    });
    assert_eq!(text(answer).await, "second");
}
